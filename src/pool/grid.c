/*
 * grid.c - a window of tasks in flight moves over a grid
 *
 * The window is wide enough to keep all workers busy while the caller sleeps; it sleeps until half of it is done, so
 * that one wake-up serves many tasks. What is in flight is bounded, so is the memory, whatever the count.
 */
#include <stdlib.h>
#include "base/sys.h"
#include "pool/grid.h"
#include "region/region.h"

#define WIDTH_PER_WORKER 32u
#define LEAST_WIDTH 64u

struct place { struct crew__task *task; uint32_t generation; };

static uint32_t width_of(const struct crew_pool *pool, size_t count)
{
	size_t width = pool->workers * WIDTH_PER_WORKER;
	width = width < LEAST_WIDTH ? LEAST_WIDTH : width;
	return (uint32_t)(width < count ? width : count);
}

static int collect(struct crew_pool *pool, struct crew__grid *grid, size_t i, const struct place *at)
{
	struct crew_failure failure;
	uint64_t element;
	void *place = grid->place ? grid->place(grid, i) : NULL;
	int r = crew__task_collect(pool, at->task, at->generation, place, CREW_FOREVER, &failure, &element);
	if (r == 0 && grid->done)
		grid->done(grid, i);
	if (r < 0 && grid->failed == SIZE_MAX) {
		grid->failed = i;
		if (r != -ECANCELED) {
			grid->failure = failure;
			grid->element = element;
		}
	}
	return r;
}

static int run(struct crew_pool *pool, struct crew__grid *grid, struct crew__batch *batch, struct place *window, size_t width)
{
	int result = 0, r = 0;
	size_t put = 0, got = 0;
	for (;;) {
		while (r == 0 && put < grid->count && put - got < width) {
			struct crew__piece piece = { .body = NULL };
			struct place *at = &window[put % width];
			grid->make(grid, put, &piece);
			r = crew__pool_put(pool, batch, &piece.task, piece.body, piece.body_size, CREW_FOREVER, &at->task, &at->generation);
			put += r == 0;
		}
		if (got == put)
			break;
		size_t until = r == 0 && put < grid->count ? got + (put - got) / 2 + 1 : put;
		const struct place *last = &window[(until - 1) % width];
		if (crew__task_await(pool, last->task, last->generation, CREW_FOREVER) < 0)
			return -ECANCELED; /* the pool is over */
		for (; got < until; got++) {
			int ended = collect(pool, grid, got, &window[got % width]);
			result = result ? result : ended;
		}
	}
	if (r < 0 && result == 0)
		grid->failed = put;
	return result ? result : r;
}

int crew__grid_run(struct crew_pool *pool, struct crew__grid *grid)
{
	grid->failed = SIZE_MAX;
	grid->failure = (struct crew_failure){ .exit_code = -1 };
	grid->element = 0;
	int r = crew__pool_use(pool);
	if (r < 0 || grid->count == 0) {
		if (r == 0)
			crew__pool_done(pool);
		return r;
	}
	uint32_t width = width_of(pool, grid->count);
	struct crew__batch *batch;
	struct place *window = crew__malloc(width * sizeof *window);
	r = window ? crew__batch_open(pool, width, false, &batch) : -ENOMEM;
	if (r == 0) {
		r = run(pool, grid, batch, window, width);
		crew__batch_drop(pool, batch);
	}
	free(window);
	crew__pool_done(pool);
	return r;
}

bool crew__reaches(const struct crew_pool *pool, const void *memory, size_t size)
{
	return pool->mode != CREW_POOL_PROCESSES || size == 0 || crew__in_region(memory, size);
}
