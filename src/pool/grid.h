/*
 * grid.h - many tasks of one kind, put and collected in order: what map and the layer parallel are made of
 */
#ifndef CREW_POOL_GRID_H
#define CREW_POOL_GRID_H

#include "pool/pool.h"

/* One task of a grid: its argument is task.argument followed by `body`. */
struct crew__piece {
	struct crew_task task;
	const void *body;
	size_t body_size;
};

struct crew__grid {
	size_t count;
	/* What task i is; the argument must stay until the next call. */
	void (*make)(struct crew__grid *grid, size_t i, struct crew__piece *ret);
	/* Where the result of task i goes. NULL: nowhere. */
	void *(*place)(struct crew__grid *grid, size_t i);
	/* Task i has ended well and its result is in its place; called in order. NULL: nothing to do. */
	void (*done)(struct crew__grid *grid, size_t i);

	/* Of the first that failed, by index: */
	size_t failed;
	uint64_t element;
	struct crew_failure failure;
};

/*
 * Run all tasks, also after a failure. Returns 0 or the error of the first that failed, by index, as crew_pool_wait; or
 * why no more could be put: -ENOMEM -EPIPE -ECANCELED. All that were put have ended then.
 */
int crew__grid_run(struct crew_pool *pool, struct crew__grid *grid);

/* Whether workers can use the caller's memory as it is: shared, or a pool without processes. */
bool crew__reaches(const struct crew_pool *pool, const void *memory, size_t size);

#endif
