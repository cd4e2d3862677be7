/* submitter.c - the moves of whoever has work: put, await, collect, cancel */
#include <string.h>
#include "base/sys.h"
#include "memory/heap.h"
#include "pool/move.h"

static int allocate(struct crew__lane *lane, unsigned hand, size_t size, unsigned char **ret)
{
	return size > CREW__INLINE ? crew__alloc_mine(lane, hand, size, (void **)ret) : 0;
}

static void copy_argument(unsigned char *to, const struct crew_task *task, const void *body, size_t body_size)
{
	if (task->argument_size)
		memcpy(to, task->argument, task->argument_size);
	if (body_size)
		memcpy(to + task->argument_size, body, body_size);
}

static void fill(const struct crew_pool *pool, struct crew__task *to, const struct crew_task *task)
{
	to->orphan = to->starts = to->deaths = to->errors = 0;
	to->function = task->function;
	to->index = task->index;
	to->attempts = task->attempts ? task->attempts : pool->attempts;
	to->retries = task->retries < 0 ? 0 : task->retries ? task->retries : pool->retries;
	to->timeout = crew__timeout_of(pool, task);
	to->argument_block = to->result_block = 0;
	to->result_size = task->result_size;
}

int crew__task_put(struct crew_pool *pool, struct crew__batch *batch, const struct crew_task *task, const void *body,
		size_t body_size, crew_time deadline, struct crew__task **ret, uint32_t *ret_generation)
{
	if (!task->function || (task->argument_size && !task->argument) || task->attempts < -1)
		return -EINVAL;
	size_t size;
	if (__builtin_add_overflow(task->argument_size, body_size, &size))
		return -ENOMEM;
	struct crew__lane *lane;
	unsigned char *argument = NULL, *result = NULL;
	int r = crew__lane_self(&lane);
	if (r < 0)
		return r;
	r = allocate(lane, 0, size, &argument);
	if (r == 0)
		r = allocate(lane, 1, task->result_size, &result);
	if (r == 0 && argument)
		copy_argument(argument, task, body, body_size);
	while (r == 0) {
		uint32_t seen = crew__bell_look(&batch->room);
		struct crew__move move;
		r = crew__move_begin(&move, pool, crew__patience(deadline));
		if (r < 0)
			break;
		struct crew__task *taken = NULL;
		if (crew__peek32(&pool->phase) != CREW__POOL_OPEN || pool->broken)
			r = -EPIPE;
		else
			taken = crew__take_free(&move, batch);
		if (taken) {
			fill(pool, taken, task);
			taken->argument_size = size;
			if (argument)
				taken->argument_block = crew__offset(argument);
			else
				copy_argument(taken->argument, task, body, body_size);
			if (result)
				taken->result_block = crew__offset(result);
			crew__set64(lane, &lane->mine[0], 0);
			crew__set64(lane, &lane->mine[1], 0);
			crew__add(&move, &pool->submitted, 1);
			crew__add(&move, &pool->unfinished, 1);
			if (taken->timeout)
				crew__add(&move, &pool->timed, 1);
			crew__make_ready(&move, taken);
			*ret = taken;
			*ret_generation = taken->generation;
		}
		crew__move_end_holding(&move);
		if (taken)
			return 0;
		if (r == 0)
			r = crew__batch_grow(pool, batch);
		if (r == 0)
			r = crew__bell_wait(lane, &batch->room, seen, deadline);
		r = r > 0 ? 0 : r; /* it has grown */
	}
	crew__free_mine(lane, 0);
	crew__free_mine(lane, 1);
	return r;
}

static void report(const struct crew__task *task, struct crew_failure *ret)
{
	*ret = (struct crew_failure){ .error = task->error, .signal = task->signal, .exit_code = task->exit_code,
		.pid = task->pid, .worker = task->worker, .attempts = task->used };
	memcpy(ret->message, task->message, sizeof ret->message);
}

/* Ends the section: DONE -> FREE. A large result is copied after it, out of this thread's hands. */
static int hand_over(struct crew__move *move, struct crew__task *task, void *result, struct crew_failure *failure, uint64_t *element)
{
	struct crew__batch *batch = crew__batch_of(task);
	int outcome = task->outcome;
	size_t size = outcome == 0 && result ? task->result_size : 0;
	const void *block = task->result_block ? crew__at(task->result_block) : NULL;
	if (size && !block)
		memcpy(result, task->result, size);
	if (outcome != 0 && failure)
		report(task, failure);
	if (outcome != 0 && element)
		*element = task->element;
	if (batch->streams)
		crew__take_out(move, &batch->finished_first, &batch->finished_last, task);
	crew__release(move, task);
	crew__move_end_holding(move);
	if (size && block)
		memcpy(result, block, size);
	crew__move_let_go(move);
	return outcome;
}

int crew__task_collect(struct crew_pool *pool, struct crew__task *task, uint32_t generation, void *result,
		crew_time deadline, struct crew_failure *failure, uint64_t *element)
{
	struct crew__lane *lane;
	int r = crew__lane_self(&lane);
	while (r == 0) {
		uint32_t seen = crew__bell_look(&task->bell);
		bool over = crew__peek32(&pool->phase) == CREW__POOL_OVER;
		if (crew__peek32(&task->state) == CREW__TASK_DONE || crew__peek32(&task->generation) != generation) {
			struct crew__move move;
			r = crew__move_begin(&move, pool, crew__patience(deadline));
			if (r < 0)
				return r;
			if (task->generation == generation && task->state == CREW__TASK_DONE)
				return hand_over(&move, task, result, failure, element);
			bool gone = task->generation != generation;
			crew__move_end(&move);
			if (gone)
				return -ESRCH;
		}
		r = over ? -ECANCELED : crew__linger(lane, &task->bell, seen, deadline);
	}
	return r;
}

int crew__task_await(struct crew_pool *pool, struct crew__task *task, uint32_t generation, crew_time deadline)
{
	struct crew__lane *lane;
	int r = crew__lane_self(&lane);
	while (r == 0) {
		uint32_t seen = crew__bell_look(&task->bell);
		if (crew__peek32(&task->state) == CREW__TASK_DONE || crew__peek32(&task->generation) != generation)
			return 0; /* only a hint: crew__task_collect makes sure */
		r = crew__peek32(&pool->phase) == CREW__POOL_OVER ? -ECANCELED : crew__linger(lane, &task->bell, seen, deadline);
	}
	return r;
}

struct crew__task *crew__task_finished(struct crew_pool *pool, struct crew__batch *batch)
{
	struct crew__move move;
	if (!crew__peek64(&batch->finished_first) || crew__move_begin(&move, pool, CREW_FOREVER) < 0)
		return NULL;
	struct crew__task *task = crew__task_at(batch->finished_first);
	crew__move_end(&move);
	return task;
}

int crew__task_cancel(struct crew_pool *pool, struct crew__task *task, uint32_t generation, bool force)
{
	struct crew__move move;
	int r = crew__move_begin(&move, pool, CREW_FOREVER);
	if (r < 0)
		return r;
	if (task->generation != generation) {
		r = -ESRCH;
	} else if (task->state == CREW__TASK_READY) {
		crew__take_out(&move, &pool->ready_first, &pool->ready_last, task);
		crew__settle(&move, task, -ECANCELED);
	} else if (task->state == CREW__TASK_DONE) {
		r = -EALREADY;
	} else if (!force || pool->mode != CREW_POOL_PROCESSES) {
		r = -EBUSY;
	} else {
		crew__set32(move.lane, &pool->worker[task->worker].doom, CREW__DOOM_CANCEL);
		r = 1;
	}
	crew__move_end(&move);
	return r;
}
