/* worker.h - the life of a worker, in a process, a thread, or inside submit */
#ifndef CREW_POOL_WORKER_H
#define CREW_POOL_WORKER_H

#include "pool/ledger.h"

struct crew__birth { struct crew_pool *pool; uint32_t number, life; };

/* What a worker process runs; the argument is a struct crew__birth. */
int crew__worker_main(void *argument, size_t size);

/* The same in this thread: initialise, then run tasks until there is no more to do here. */
int crew__worker_live(struct crew_pool *pool, unsigned number, uint32_t life);

/* Run the task that has been taken, and all that are taken with the ends of those before. 0, or -EPIPE when an end did not count. */
int crew__worker_run(struct crew_pool *pool, unsigned number, uint32_t life, struct crew__task *task);

/* The pool whose task this thread runs, or NULL. */
struct crew_pool *crew__running_pool(void);

/* Inside a task that does several elements: which one it is at. */
void crew__running_element(uint64_t index, uint64_t element);

#endif
