/*
 * move.c - how the ledger changes; see ledger.h for the picture
 *
 * The steps are here; the moves made of them are in submitter.c (put, collect, cancel), labour.c (take, finish, end) and batch.c.
 *
 * State    task.state is the truth about a task, worker.task about who runs it; both change in one section.
 *          A task is in exactly one list, by its state: FREE and used before: batch.free; READY:
 *          pool.ready; DONE, of a stream: batch.finished; else in none.
 *
 * Writers  links, states, counts: whoever is in a section of pool.guard, by crew__set32/64 only.
 *          payload of a task: FREE, the submitter in its section; RUNNING, the worker; then who makes it DONE.
 *
 * Moves    put      FREE -> READY      the submitter; wakes one idle worker
 *          take     READY -> RUNNING   a worker; without a READY task it goes on the idle list
 *          finish   RUNNING -> DONE    its worker; an error with retries left: -> READY, at the end
 *          end      RUNNING -> READY   the supervisor, when the worker is known to be dead, at the end of
 *                                      the list, so that a poison task does not hold up the others;
 *                   RUNNING -> DONE    when its attempts are used up
 *          cancel   READY -> DONE      anybody in the opener
 *          doom     of a worker: what it does from now on does not count; it is killed next
 *          collect  DONE -> FREE       the waiter; blocks go into its hands and are freed after
 *
 * Invariants
 *          1  task.state is RUNNING <=> exactly one worker.task names it, and task.worker that worker
 *          2  pool.unfinished = number of READY and RUNNING tasks; pool.timed those with a time-out
 *          3  batch.live = number of its tasks that are not FREE
 *          4  a block named by a task that is not FREE, or by a batch, is in nobody's hands
 *
 * Order    All by the guard. Bare looks (crew__peek*) may see what is undone later; nobody acts on them without looking
 *          again in a section. Bells change at the very end of the section, their sleepers are woken after it: by then
 *          the batch that holds the bell may be gone, and must not be written any more. pool.phase alone is stored without the guard, so
 *          that a pool can be ended whoever holds it.
 *
 * Death    in a section: undone, whoever died. After it, before its bells: lane->bell names the first,
 *          the sweep rings it; the others are rung by the next move or found by a slice.
 *          of a worker while it runs a task: worker.task names it; `end` decides.
 *          of a worker that was rung to take a task: `end` wakes another.
 *          of a doomed worker before the kill: the same; its doom says why.
 *          of the opener: its workers die by their lifeline; registry.c frees the ledger.
 *          A worker is ended only once it is known to be dead, so no run of a task overlaps the next, and
 *          no late result finds its task RUNNING by somebody else: that (life, task) check is a second fence.
 */
#include "base/sys.h"
#include "memory/heap.h"
#include "pool/move.h"

#define PATIENCE (100 * CREW_MILLISECOND)
#define LINGER 4 /* times the usual spin: together longer than a wake-up takes */

int crew__move_begin(struct crew__move *move, struct crew_pool *pool, crew_time deadline)
{
	move->pool = pool;
	move->bells = 0;
	move->empty = NULL;
	return crew__enter(&move->lane, &pool->guard, deadline);
}

crew_time crew__patience(crew_time deadline)
{
	if (deadline == CREW_FOREVER)
		return deadline;
	crew_time least = crew_after(PATIENCE);
	return deadline > least ? deadline : least;
}

void crew__ring_at_end(struct crew__move *move, uint32_t *bell)
{
	move->bell[move->bells++] = bell;
}

void crew__move_end_holding(struct crew__move *move)
{
	crew__leave_and_ring_all(move->lane, &move->pool->guard, move->bell, move->bells);
}

void crew__move_let_go(struct crew__move *move)
{
	crew__free_mine(move->lane, 0);
	crew__free_mine(move->lane, 1);
	if (move->empty)
		crew__batch_free(move->pool, move->empty);
}

void crew__move_end(struct crew__move *move)
{
	crew__move_end_holding(move);
	crew__move_let_go(move);
}

void crew__append(struct crew__move *move, uint64_t *first, uint64_t *last, struct crew__task *task)
{
	uint64_t at = crew__offset(task);
	crew__set64(move->lane, &task->next, 0);
	crew__set64(move->lane, &task->previous, *last);
	crew__set64(move->lane, *last ? &crew__task_at(*last)->next : first, at);
	crew__set64(move->lane, last, at);
}

void crew__take_out(struct crew__move *move, uint64_t *first, uint64_t *last, struct crew__task *task)
{
	crew__set64(move->lane, task->previous ? &crew__task_at(task->previous)->next : first, task->next);
	crew__set64(move->lane, task->next ? &crew__task_at(task->next)->previous : last, task->previous);
}

void crew__wake_one(struct crew__move *move)
{
	struct crew_pool *pool = move->pool;
	if (!pool->idle)
		return;
	struct crew__worker *worker = &pool->worker[pool->idle - 1];
	crew__set32(move->lane, &pool->idle, worker->next_idle);
	crew__set32(move->lane, &worker->idle, 0);
	crew__ring_at_end(move, &worker->bell);
}

void crew__rest(struct crew__move *move, struct crew__worker *worker)
{
	crew__set32(move->lane, &worker->next_idle, move->pool->idle);
	crew__set32(move->lane, &move->pool->idle, (uint32_t)(worker - move->pool->worker) + 1);
	crew__set32(move->lane, &worker->idle, 1);
}

void crew__rest_no_more(struct crew__move *move, struct crew__worker *worker)
{
	if (!worker->idle)
		return;
	uint32_t number = (uint32_t)(worker - move->pool->worker) + 1;
	uint32_t *link = &move->pool->idle;
	while (*link != number)
		link = &move->pool->worker[*link - 1].next_idle;
	crew__set32(move->lane, link, worker->next_idle);
	crew__set32(move->lane, &worker->idle, 0);
}

void crew__make_ready(struct crew__move *move, struct crew__task *task)
{
	crew__set32(move->lane, &task->state, CREW__TASK_READY);
	crew__append(move, &move->pool->ready_first, &move->pool->ready_last, task);
	crew__wake_one(move);
}

void crew__release(struct crew__move *move, struct crew__task *task)
{
	struct crew__batch *batch = crew__batch_of(task);
	crew__set64(move->lane, &move->lane->mine[0], task->argument_block);
	crew__set64(move->lane, &move->lane->mine[1], task->result_block);
	crew__set32(move->lane, &task->state, CREW__TASK_FREE);
	crew__set32(move->lane, &task->generation, task->generation + 1);
	crew__set64(move->lane, &task->next, batch->free);
	crew__set64(move->lane, &batch->free, crew__offset(task));
	crew__set32(move->lane, &batch->live, batch->live - 1);
	if (batch->dropped && batch->live == 0)
		move->empty = batch;
	else
		crew__ring_at_end(move, &batch->room);
}

void crew__settle(struct crew__move *move, struct crew__task *task, int outcome)
{
	struct crew_pool *pool = move->pool;
	task->outcome = outcome;
	crew__add(move, &pool->unfinished, -1);
	if (task->timeout)
		crew__add(move, &pool->timed, -1);
	crew__add(move, &pool->finished, 1);
	if (outcome != 0 && outcome != -ECANCELED)
		crew__add(move, &pool->failed, 1);
	if (task->orphan) {
		crew__release(move, task);
	} else {
		struct crew__batch *batch = crew__batch_of(task);
		crew__set32(move->lane, &task->state, CREW__TASK_DONE);
		if (batch->streams)
			crew__append(move, &batch->finished_first, &batch->finished_last, task);
		crew__ring_at_end(move, batch->streams ? &batch->finished : &task->bell);
	}
	if (pool->unfinished == 0)
		crew__ring_at_end(move, &pool->news);
}

int crew__linger(struct crew__lane *lane, uint32_t *bell, uint32_t seen, crew_time deadline)
{
	for (unsigned round = 0; deadline > CREW_POLL && round < LINGER; round++)
		for (unsigned turn = 0; crew__spin(turn); turn++)
			if (crew__bell_look(bell) >> 1 != seen >> 1)
				return 0;
	return crew__bell_wait(lane, bell, seen, deadline);
}
