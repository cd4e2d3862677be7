/* labour.c - the moves of workers: take, finish; and of the supervisor about them: start, doom, end */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/sys.h"
#include "pool/move.h"

static bool may_work(const struct crew_pool *pool, const struct crew__worker *worker, uint32_t life)
{
	return worker->life == life && worker->doom == CREW__DOOM_NONE && crew__peek32(&pool->phase) < CREW__POOL_LEAVING;
}

int crew__worker_begin(struct crew_pool *pool, unsigned number, uint32_t life, int error)
{
	struct crew__move move;
	struct crew__worker *worker = &pool->worker[number];
	int r = crew__move_begin(&move, pool, CREW_FOREVER);
	if (r < 0)
		return r;
	if (!may_work(pool, worker, life))
		r = -EPIPE;
	worker->error = error;
	crew__set32(move.lane, &worker->state, error < 0 ? CREW__WORKER_FAILED : CREW__WORKER_READY);
	crew__ring_at_end(&move, &pool->news);
	crew__move_end(&move);
	return r;
}

/* READY -> RUNNING, if there is one, and this worker has not run its share. */
static struct crew__task *take(struct crew__move *move, struct crew__worker *worker)
{
	struct crew_pool *pool = move->pool;
	struct crew__task *task = crew__task_at(pool->ready_first);
	if (!task || (pool->tasks_per_worker && worker->ran >= pool->tasks_per_worker))
		return NULL;
	crew__rest_no_more(move, worker);
	crew__take_out(move, &pool->ready_first, &pool->ready_last, task);
	crew__set32(move->lane, &task->state, CREW__TASK_RUNNING);
	crew__set32(move->lane, &task->worker, (uint32_t)(worker - pool->worker));
	crew__set32(move->lane, &task->starts, task->starts + 1);
	crew__set64(move->lane, &worker->task, crew__offset(task));
	if (task->timeout)
		crew__set64(move->lane, (uint64_t *)&worker->deadline, (uint64_t)crew_after(task->timeout));
	return task;
}

int crew__task_take(struct crew_pool *pool, unsigned number, uint32_t life, struct crew__task **ret, uint32_t *seen)
{
	struct crew__move move;
	struct crew__worker *worker = &pool->worker[number];
	*ret = NULL;
	*seen = crew__bell_look(&worker->bell);
	int r = crew__move_begin(&move, pool, CREW_FOREVER);
	if (r < 0)
		return r;
	if (!may_work(pool, worker, life)) {
		r = -EPIPE;
	} else if (pool->tasks_per_worker && worker->ran >= pool->tasks_per_worker) {
		crew__rest_no_more(&move, worker);
		crew__set32(move.lane, &worker->state, CREW__WORKER_LEAVING);
		r = -EPIPE;
	} else {
		*ret = take(&move, worker);
		if (!*ret && !worker->idle)
			crew__rest(&move, worker);
	}
	crew__move_end(&move);
	return r;
}

static uint32_t count_used(const struct crew__task *task)
{
	uint32_t used = task->deaths + task->errors;
	return used ? used : 1;
}

int crew__task_finish(struct crew_pool *pool, unsigned number, uint32_t life, struct crew__task *task, int error,
		bool ends_attempt, struct crew__task **ret_next)
{
	struct crew__move move;
	*ret_next = NULL;
	struct crew__worker *worker = &pool->worker[number];
	int r = crew__move_begin(&move, pool, CREW_FOREVER);
	if (r < 0)
		return r;
	bool counts = worker->life == life && worker->doom == CREW__DOOM_NONE && worker->task == crew__offset(task);
	if (counts) {
		crew__set64(move.lane, &worker->task, 0);
		crew__set64(move.lane, (uint64_t *)&worker->deadline, 0);
		crew__set32(move.lane, &worker->ran, worker->ran + 1);
		if (ends_attempt) /* its blocks are the family's from the commit on */
			crew__set64(move.lane, &move.lane->attempt, 0);
		if (error < 0)
			crew__set32(move.lane, &task->errors, task->errors + 1);
		if (error < 0 && task->errors <= (uint32_t)task->retries && !task->orphan) {
			crew__add(&move, &pool->reruns, 1);
			crew__make_ready(&move, task);
		} else {
			task->error = error < 0 ? error : 0;
			task->signal = 0;
			task->exit_code = -1;
			task->pid = getpid();
			task->used = count_used(task);
			if (error < 0 && !task->message[0])
				snprintf(task->message, sizeof task->message, "the task returned %d: %s", error, crew_strerror(error));
			crew__settle(&move, task, error < 0 ? -EREMOTEIO : 0);
		}
		if (may_work(pool, worker, life))
			*ret_next = take(&move, worker);
	}
	crew__move_end(&move);
	return counts ? 0 : -EPIPE;
}

/* ── the supervisor ── */

int crew__worker_start(struct crew_pool *pool, unsigned number, uint32_t *ret_life, crew_time deadline)
{
	struct crew__move move;
	int r = crew__move_begin(&move, pool, deadline);
	if (r < 0)
		return r;
	*ret_life = pool->worker[number].life;
	crew__set32(move.lane, &pool->worker[number].state, CREW__WORKER_STARTING);
	crew__move_end(&move);
	return 0;
}

int crew__worker_overdue(struct crew_pool *pool, unsigned number, crew_time now, crew_time deadline)
{
	struct crew__move move;
	struct crew__worker *worker = &pool->worker[number];
	int r = crew__move_begin(&move, pool, deadline);
	if (r < 0)
		return r;
	bool overdue = worker->task && worker->deadline && worker->deadline <= now && worker->doom == CREW__DOOM_NONE;
	if (overdue)
		crew__set32(move.lane, &worker->doom, CREW__DOOM_TIMEOUT);
	crew__move_end(&move);
	return overdue;
}

static void describe_death(struct crew__task *task, const struct crew__worker *worker, const struct crew__death *death,
		enum crew__doom doom)
{
	char how[100];
	task->error = doom == CREW__DOOM_TIMEOUT ? -ETIMEDOUT : 0;
	task->signal = death->signal;
	task->exit_code = death->exit_code;
	task->pid = worker->pid;
	task->used = count_used(task);
	if (doom == CREW__DOOM_TIMEOUT)
		snprintf(how, sizeof how, "was killed because the task ran longer than %.3g s", (double)task->timeout / 1e9);
	else if (death->signal)
		snprintf(how, sizeof how, "was killed by signal %d (%s)", death->signal,
				sigdescr_np(death->signal) ? sigdescr_np(death->signal) : "unknown");
	else if (death->exit_code >= 0)
		snprintf(how, sizeof how, "exited with code %d", death->exit_code);
	else
		snprintf(how, sizeof how, "ended, it is not known how");
	snprintf(task->message, sizeof task->message, "worker %u (pid %d) %s, in attempt %u", task->worker,
			(int)worker->pid, how, task->starts);
}

static void end_run(struct crew__move *move, struct crew__task *task, const struct crew__death *death, bool counts)
{
	struct crew_pool *pool = move->pool;
	const struct crew__worker *worker = &pool->worker[task->worker];
	if (worker->doom == CREW__DOOM_CANCEL) {
		crew__settle(move, task, -ECANCELED);
		return;
	}
	if (counts)
		crew__set32(move->lane, &task->deaths, task->deaths + 1);
	if (!task->orphan && task->attempts > 0 && task->deaths < (uint32_t)task->attempts) {
		crew__add(move, &pool->reruns, 1);
		crew__make_ready(move, task);
		return;
	}
	describe_death(task, worker, death, worker->doom);
	crew__settle(move, task, -EOWNERDEAD);
}

int crew__worker_end(struct crew_pool *pool, unsigned number, const struct crew__death *death, crew_time deadline,
		struct crew__life *ret)
{
	struct crew__move move;
	struct crew__worker *worker = &pool->worker[number];
	int r = crew__move_begin(&move, pool, deadline);
	if (r < 0)
		return r;
	*ret = (struct crew__life){ worker->state, !worker->task && !worker->ran, worker->error };
	bool chaos = death->chaos && death->signal == SIGKILL && worker->doom == CREW__DOOM_NONE;
	bool has_left = worker->state == CREW__WORKER_LEAVING || worker->state == CREW__WORKER_FAILED ||
			crew__peek32(&pool->phase) >= CREW__POOL_LEAVING;
	crew__rest_no_more(&move, worker);
	if (worker->task)
		end_run(&move, crew__task_at(worker->task), death, !chaos);
	if (worker->task || death->signal || !has_left)
		crew__add(&move, &pool->deaths, 1);
	if (chaos)
		crew__add(&move, &pool->chaos_kills, 1);
	crew__set32(move.lane, &worker->life, worker->life + 1);
	crew__set32(move.lane, &worker->state, CREW__WORKER_NONE);
	crew__set32(move.lane, (uint32_t *)&worker->pid, 0);
	crew__set32(move.lane, &worker->doom, CREW__DOOM_NONE);
	crew__set64(move.lane, &worker->task, 0);
	crew__set64(move.lane, (uint64_t *)&worker->deadline, 0);
	crew__set32(move.lane, &worker->ran, 0);
	if (pool->ready_first) /* it may have been woken for that */
		crew__wake_one(&move);
	crew__move_end(&move);
	return 0;
}

int crew__pool_break(struct crew_pool *pool, int error, crew_time deadline)
{
	for (;;) {
		struct crew__move move;
		int r = crew__move_begin(&move, pool, deadline);
		if (r < 0)
			return r;
		crew__set32(move.lane, (uint32_t *)&pool->broken, (uint32_t)error);
		struct crew__task *task = crew__task_at(pool->ready_first);
		if (task) {
			crew__take_out(&move, &pool->ready_first, &pool->ready_last, task);
			task->error = error;
			task->signal = 0;
			task->exit_code = -1;
			task->pid = 0;
			task->used = task->deaths + task->errors;
			snprintf(task->message, sizeof task->message, "no worker could be started: %s", crew_strerror(error));
			crew__settle(&move, task, -EPIPE);
		} else {
			crew__ring_at_end(&move, &pool->news);
		}
		crew__move_end(&move);
		if (!task)
			return 0;
	}
}
