/* tour.h - what the steps of the tour have in common */
#ifndef TOUR_H
#define TOUR_H

#include <crew/crew.h>

#define SOON crew_after(20 * CREW_SECOND) /* nothing here takes long, unless something is wrong */

/* A step returns NULL, or the claim that did not hold. */
#define claim(condition) do { if (!(condition)) return #condition; } while (0)

struct step {
	const char *crew, *python; /* what it is called in either */
	const char *(*run)(void);
};

/* The chapters; each ends with a step of zeroes. */
extern const struct step tour_processes[], tour_messages[], tour_synchronization[], tour_sharing[], tour_pools[],
	tour_deaths[];

/* What the processes of the tour share; all zero when a step begins, which is valid for each of these. */
extern struct board {
	struct crew_pipe pipe;
	struct crew_queue queue;
	struct crew_lock lock;
	struct crew_rwlock rwlock;
	struct crew_semaphore semaphore;
	struct crew_condition changed;
	struct crew_event event, other_event;
	struct crew_barrier barrier;
	int64_t value, array[16];
	uint64_t inside, most; /* processes in a place at once: now, at most */
	struct link { int64_t number; struct link *next; } *list;
} *board;

/* A child that is given the board. */
struct crew_process *start(crew_process_fn *function);

/* Wait for its end: its exit code; minus the signal, as Python has it; -1000 if it does not end. */
int exitcode(struct crew_process *child);

struct crew_pool *pool_of(const struct crew_pool_options *options);

/* For children: nothing, for ever. */
int sleeps(void *argument, size_t size);

/* For workers: x * x of an int64_t, -EDOM below 0; and a task of it. */
int square(const void *argument, void *result, void *context);
struct crew_task squaring(const int64_t *x);

/* For workers whose context is the board: set its event, then wait for ever. */
int hangs(const void *argument, void *result, void *context);

#endif
