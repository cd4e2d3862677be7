/* batch.c - rooms for tasks, and the moves of the opener about all of them */
#include <string.h>
#include "base/sys.h"
#include "memory/heap.h"
#include "pool/move.h"

void crew__pool_advance(struct crew_pool *pool, enum crew__phase phase)
{
	struct crew__lane *lane;
	if (crew__lane_self(&lane) < 0)
		return;
	if (crew__peek32(&pool->phase) < (uint32_t)phase)
		__atomic_store_n(&pool->phase, phase, __ATOMIC_SEQ_CST);
	if (phase == CREW__POOL_LEAVING)
		for (unsigned i = 0; i < pool->workers; i++)
			crew__ring(lane, &pool->worker[i].bell, UINT32_MAX);
}

int64_t crew__pool_unfinished(struct crew_pool *pool, crew_time deadline)
{
	struct crew__move move;
	int r = crew__move_begin(&move, pool, crew__patience(deadline));
	if (r < 0)
		return r;
	int64_t unfinished = (int64_t)pool->unfinished;
	crew__move_end(&move);
	return unfinished;
}

void crew__pool_wake_users(struct crew_pool *pool, crew_time deadline)
{
	struct crew__move move;
	if (crew__move_begin(&move, pool, crew__patience(deadline)) < 0)
		return;
	for (struct crew__batch *batch = crew__batch_at(pool->batches); batch; batch = crew__batch_at(batch->next)) {
		if (batch->dropped)
			continue;
		crew__ring(move.lane, &batch->room, UINT32_MAX);
		crew__ring(move.lane, &batch->finished, UINT32_MAX);
		for (uint32_t i = 0; i < batch->fresh; i++)
			crew__ring(move.lane, &crew__task_number(batch, i)->bell, UINT32_MAX);
	}
	crew__move_end(&move);
}

/* ── batches ── */

static uint32_t segment_of(uint32_t number)
{
	return 31u - (uint32_t)__builtin_clz(number / CREW__SEGMENT + 1);
}

static uint32_t first_of(uint32_t segment)
{
	return CREW__SEGMENT * ((1u << segment) - 1);
}

int crew__batch_open(struct crew_pool *pool, uint32_t limit, bool streams, struct crew__batch **ret)
{
	struct crew__lane *lane;
	struct crew__move move;
	void *block = NULL;
	int r = crew__lane_self(&lane);
	if (r == 0)
		r = crew__alloc_mine(lane, 2, sizeof(struct crew__batch), &block);
	if (r < 0)
		return r;
	struct crew__batch *batch = block;
	*batch = (struct crew__batch){ .limit = limit, .streams = streams };
	r = crew__move_begin(&move, pool, CREW_FOREVER);
	if (r == 0) {
		batch->next = pool->batches;
		crew__set64(lane, &pool->batches, crew__offset(batch));
		crew__set64(lane, &lane->mine[2], 0);
		crew__move_end(&move);
		*ret = batch;
	}
	crew__free_mine(lane, 2);
	return r;
}

int crew__batch_grow(struct crew_pool *pool, struct crew__batch *batch)
{
	struct crew__lane *lane;
	struct crew__move move;
	void *block = NULL;
	uint32_t fresh = crew__peek32(&batch->fresh), k = segment_of(fresh), length = CREW__SEGMENT << k;
	if (fresh >= batch->limit || crew__peek64(&batch->segment[k]))
		return 0;
	if (length > batch->limit - first_of(k))
		length = batch->limit - first_of(k);
	int r = crew__lane_self(&lane);
	if (r == 0)
		r = crew__alloc_mine(lane, 2, length * sizeof(struct crew__task), &block);
	if (r == 0)
		r = crew__move_begin(&move, pool, CREW_FOREVER);
	if (r < 0)
		return r;
	if (!batch->segment[k]) {
		crew__set64(lane, &batch->segment[k], crew__offset(block));
		crew__set64(lane, &lane->mine[2], 0);
	}
	crew__move_end_holding(&move); /* hands 0 and 1 are put's */
	crew__free_mine(lane, 2);
	return 1;
}

struct crew__task *crew__take_free(struct crew__move *move, struct crew__batch *batch)
{
	struct crew__task *task = crew__task_at(batch->free);
	if (task) {
		crew__set64(move->lane, &batch->free, task->next);
	} else if (batch->fresh < batch->limit && batch->segment[segment_of(batch->fresh)]) {
		task = crew__task_number(batch, batch->fresh);
		memset(task, 0, offsetof(struct crew__task, message));
		task->generation = 1;
		task->number = batch->fresh;
		task->batch = crew__offset(batch);
		crew__set32(move->lane, &batch->fresh, batch->fresh + 1);
	} else {
		return NULL;
	}
	crew__set32(move->lane, &batch->live, batch->live + 1);
	return task;
}

/* Make a task nobody's: whatever state it is in, it becomes FREE now or when it ends. */
static void abandon(struct crew__move *move, struct crew__batch *batch, struct crew__task *task)
{
	struct crew_pool *pool = move->pool;
	task->orphan = 1;
	if (task->state == CREW__TASK_READY) {
		crew__take_out(move, &pool->ready_first, &pool->ready_last, task);
		crew__settle(move, task, -ECANCELED);
	} else if (task->state == CREW__TASK_DONE) {
		if (batch->streams)
			crew__take_out(move, &batch->finished_first, &batch->finished_last, task);
		crew__release(move, task);
	}
}

void crew__batch_drop(struct crew_pool *pool, struct crew__batch *batch)
{
	struct crew__move move;
	for (uint32_t i = 0; !batch->dropped && i < batch->fresh; i++) {
		if (crew__move_begin(&move, pool, CREW_FOREVER) < 0)
			return;
		abandon(&move, batch, crew__task_number(batch, i));
		crew__move_end(&move);
	}
	if (crew__move_begin(&move, pool, CREW_FOREVER) < 0)
		return;
	crew__set32(move.lane, &batch->dropped, 1);
	if (batch->live == 0)
		move.empty = batch;
	crew__move_end(&move);
}

/* One block from where it hangs into hand 2, and from there to the heap; ends the move. */
static void free_block(struct crew__move *move, uint64_t *link, uint64_t next)
{
	crew__set64(move->lane, &move->lane->mine[2], *link);
	crew__set64(move->lane, link, next);
	crew__move_end_holding(move);
	crew__free_mine(move->lane, 2);
}

void crew__batch_free(struct crew_pool *pool, struct crew__batch *batch)
{
	struct crew__move move;
	for (unsigned k = 0; k < CREW__SEGMENTS && batch->segment[k]; k++) {
		if (crew__move_begin(&move, pool, CREW_FOREVER) < 0)
			return;
		free_block(&move, &batch->segment[k], 0);
	}
	if (crew__move_begin(&move, pool, CREW_FOREVER) < 0)
		return;
	uint64_t at = crew__offset(batch), *link = &pool->batches;
	while (*link != at)
		link = &crew__batch_at(*link)->next;
	free_block(&move, link, batch->next);
}
