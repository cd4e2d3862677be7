/* operation.h - what operations of a random program (program.h) have in common, and all of them */
#ifndef STORM_OPERATION_H
#define STORM_OPERATION_H

#include "storm/program.h"

uint32_t draw(struct program *program, uint32_t below);
crew_time deadline(struct program *program); /* now, or soon */
void linger(struct program *program);        /* now and then, so that others come between */

/* The result is 0 or one of the two others that the call may have here (0: none); whether it did what it should. */
bool expect(const char *call, int result, int also, int or_also);

/* objects.c */
void do_lock(struct program *p);
void do_transfer(struct program *p);
void do_read(struct program *p);
void do_write(struct program *p);
void do_save(struct program *p);
void do_semaphore(struct program *p);
void do_post(struct program *p);
void do_count(struct program *p);
void do_event(struct program *p);
void do_condition(struct program *p);
void do_barrier(struct program *p);
void do_once(struct program *p);
void do_latch(struct program *p);
void do_allocate(struct program *p);

/* map.c */
void do_map(struct program *p);
void do_map_other(struct program *p);
void do_map_each(struct program *p);

/* messages.c */
void do_put(struct program *p);
void do_put_once(struct program *p);
void do_put_many(struct program *p);
void do_loan(struct program *p);
void do_take(struct program *p);
void do_get(struct program *p);
void do_get_many(struct program *p);

/* children.c */
void do_pipe(struct program *p);
void do_tube(struct program *p);
void do_child(struct program *p);
void do_fork(struct program *p);
void do_thread(struct program *p);
void do_exec(struct program *p);

#endif
