/*
 * worker.c - take a task, run it, say how it ended
 *
 * The same code runs in worker processes, in worker threads and, serially, inside submit. What a
 * death at each step leaves is told in move.c; here nothing is shared but through it.
 *
 * An attempt begins after the task is taken. It ends well in the very section that makes the task DONE (crew__task_finish),
 * so the blocks that the task has allocated belong to the family exactly if its result stands.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <crew/trace.h>
#include "base/sys.h"
#include "memory/heap.h"
#include "pool/move.h"
#include "pool/worker.h"

static _Thread_local struct running {
	struct crew_pool *pool;
	struct crew__task *task; /* NULL: none */
	struct crew_task_self self;
} running;

struct crew_pool *crew__running_pool(void)
{
	return running.pool;
}

void crew__running_element(uint64_t index, uint64_t element)
{
	running.self.index = index;
	running.task->element = element;
}

const struct crew_task_self *crew_task_self(void)
{
	return running.task ? &running.self : NULL;
}

int crew_task_error(int error, const char *format, ...)
{
	if (running.task) {
		va_list arguments;
		va_start(arguments, format);
		vsnprintf(running.task->message, sizeof running.task->message, format, arguments);
		va_end(arguments);
	}
	return error;
}

static int call(struct crew_pool *pool, struct crew__task *task)
{
	const void *argument = task->argument;
	void *result = task->result;
	unsigned char copy[CREW__INLINE] __attribute__((aligned(16)));
	if (task->argument_block)
		argument = crew__at(task->argument_block);
	else
		argument = memcpy(copy, task->argument, sizeof copy); /* whatever happens to it, the next attempt finds the original */
	if (task->result_block)
		result = crew__at(task->result_block);
	memset(result, 0, task->result_size);
	return task->function(argument, result, pool->context);
}

static int run_one(struct crew_pool *pool, unsigned number, uint32_t life, struct crew__task *task, struct crew__task **ret_next)
{
	struct crew__lane *lane;
	int r = crew__lane_self(&lane);
	if (r < 0)
		return r;
	struct running before = running; /* a serial pool inside a task */
	bool outermost = !lane->attempt;
	running = (struct running){ pool, task, { task->index, number, task->starts } };
	task->message[0] = '\0';
	task->element = 0;
	if (outermost)
		crew__attempt_begin(lane);
	bool tracing = crew_trace_on();
	char name[40];
	if (tracing) {
		snprintf(name, sizeof name, "task %llu", (unsigned long long)task->index);
		crew_trace_begin("pool", name);
	}
	int error = call(pool, task);
	if (tracing)
		crew_trace_end("pool", name);
	running = before;
	if (outermost && error < 0)
		crew__attempt_end(lane, false);
	return crew__task_finish(pool, number, life, task, error, outermost, ret_next);
}

int crew__worker_run(struct crew_pool *pool, unsigned number, uint32_t life, struct crew__task *task)
{
	int r = 0;
	while (r == 0 && task)
		r = run_one(pool, number, life, task, &task);
	return r;
}

static void work(struct crew_pool *pool, unsigned number, uint32_t life)
{
	struct crew__lane *lane;
	uint32_t *bell = &pool->worker[number].bell;
	if (crew__lane_self(&lane) < 0)
		return;
	for (bool warm = false;;) {
		struct crew__task *task;
		uint32_t seen;
		if (crew__task_take(pool, number, life, &task, &seen) < 0)
			return;
		if (task && crew__worker_run(pool, number, life, task) < 0)
			return;
		if (!task)
			(void)(warm ? crew__linger : crew__bell_wait)(lane, bell, seen, CREW_FOREVER);
		warm = task != NULL; /* after a slice of idle sleep it does not spin again */
	}
}

int crew__worker_live(struct crew_pool *pool, unsigned number, uint32_t life)
{
	int r = pool->initialize ? pool->initialize(pool->context) : 0;
	if (crew__worker_begin(pool, number, life, r) < 0 || r < 0)
		return 1;
	work(pool, number, life);
	return 0;
}

int crew__worker_main(void *argument, size_t size)
{
	struct crew__birth birth;
	if (size != sizeof birth)
		return 1;
	memcpy(&birth, argument, size);
	int r = crew__worker_live(birth.pool, birth.number, birth.life);
	/* Doomed: it is about to be killed, and for that reason; an end of its own would look like another. */
	while (crew__peek32(&birth.pool->worker[birth.number].doom))
		pause();
	return r;
}
