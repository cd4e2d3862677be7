/* check.c - the invariants of move.c, as a check for tests */
#include <stdio.h>
#include "pool/move.h"

/* What one walk over the ledger has counted. */
struct tally { uint64_t unfinished, timed, ready, running, live, on_finished; };

#define TRUE_OR(condition, number) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "crew: ledger: invariant %d: not so: %s\n", number, #condition); \
			return -EINVAL; \
		} \
	} while (0)

static int check_task(struct crew_pool *pool, const struct crew__task *task, struct tally *tally)
{
	bool ready = task->state == CREW__TASK_READY, running = task->state == CREW__TASK_RUNNING;
	tally->live += task->state != CREW__TASK_FREE;
	tally->unfinished += ready || running;
	tally->timed += (ready || running) && task->timeout;
	tally->ready += ready;
	tally->running += running;
	tally->on_finished += task->state == CREW__TASK_DONE && crew__batch_of(task)->streams;
	if (running)
		TRUE_OR(task->worker < pool->workers && pool->worker[task->worker].task == crew__offset(task), 1);
	return 0;
}

/* A list links both ways and holds tasks of that state alone; their number. */
static int64_t walk(uint64_t first, uint64_t last, uint32_t state)
{
	int64_t count = 0;
	uint64_t previous = 0;
	for (uint64_t at = first; at; at = crew__task_at(at)->next, count++) {
		TRUE_OR(crew__task_at(at)->state == state, 2);
		TRUE_OR(crew__task_at(at)->previous == previous, 2);
		previous = at;
	}
	TRUE_OR(last == previous, 2);
	return count;
}

static int check_batch(struct crew_pool *pool, const struct crew__batch *batch, struct tally *all)
{
	struct tally tally = { 0 };
	uint64_t free = 0;
	for (uint32_t i = 0; i < batch->fresh; i++) {
		int r = check_task(pool, crew__task_number(batch, i), &tally);
		if (r < 0)
			return r;
	}
	for (uint64_t at = batch->free; at; at = crew__task_at(at)->next, free++)
		TRUE_OR(crew__task_at(at)->state == CREW__TASK_FREE, 3);
	TRUE_OR(batch->live == tally.live && batch->live + free == batch->fresh && batch->fresh <= batch->limit, 3);
	TRUE_OR(walk(batch->finished_first, batch->finished_last, CREW__TASK_DONE) == (int64_t)tally.on_finished, 3);
	all->unfinished += tally.unfinished;
	all->timed += tally.timed;
	all->ready += tally.ready;
	all->running += tally.running;
	return 0;
}

static int check(struct crew_pool *pool)
{
	struct tally tally = { 0 };
	uint64_t running = 0, idle = 0, marked = 0;
	for (struct crew__batch *batch = crew__batch_at(pool->batches); batch; batch = crew__batch_at(batch->next)) {
		int r = batch->dropped && batch->live == 0 ? 0 : check_batch(pool, batch, &tally); /* or it is half freed */
		if (r < 0)
			return r;
	}
	for (uint32_t i = 0; i < pool->workers; i++) {
		running += pool->worker[i].task != 0;
		marked += pool->worker[i].idle;
	}
	for (uint32_t at = pool->idle; at && idle <= pool->workers; at = pool->worker[at - 1].next_idle, idle++)
		TRUE_OR(pool->worker[at - 1].idle, 1);
	TRUE_OR(idle == marked, 1);
	TRUE_OR(running == tally.running, 1);
	TRUE_OR(pool->unfinished == tally.unfinished && pool->timed == tally.timed, 2);
	TRUE_OR(walk(pool->ready_first, pool->ready_last, CREW__TASK_READY) == (int64_t)tally.ready, 2);
	return 0;
}

int crew__ledger_check(struct crew_pool *pool)
{
	struct crew__move move;
	int r = crew__move_begin(&move, pool, CREW_FOREVER);
	if (r < 0)
		return r;
	r = check(pool);
	crew__move_end(&move);
	return r;
}
