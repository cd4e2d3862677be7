/*
 * ledger.c - the moves of tasks and workers; see ledger.h for the picture
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
 *          4  a block named by a task that is not FREE is in nobody's hands
 *
 * Order    All by the guard. Bare looks (crew__peek*) may see what is undone later; nobody acts on them without looking
 *          again in a section. Bells change with the section (crew__leave_and_ring_all): the collector may free the batch next.
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
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/sys.h"
#include "memory/heap.h"
#include "pool/ledger.h"
#include "sync/section.h"

static_assert(sizeof(struct crew__task) <= 576, "4,096 tasks are 2 MiB or so");

/* A section of the pool, and the bells to ring after it. */
struct section {
	struct crew_pool *pool;
	struct crew__lane *lane;
	uint32_t *bell[CREW__BELLS];
	unsigned bells;
};

static int enter(struct section *s, struct crew_pool *pool, crew_time deadline)
{
	s->pool = pool;
	s->bells = 0;
	return crew__enter(&s->lane, &pool->guard, deadline);
}

static void ring_after(struct section *s, uint32_t *bell)
{
	s->bell[s->bells++] = bell;
}

static void free_hands(struct crew__lane *lane) /* what release() has put there */
{
	for (unsigned hand = 0; hand < 3; hand++)
		crew__free_mine(lane, hand);
}

static void leave_holding(struct section *s)
{
	crew__leave_and_ring_all(s->lane, &s->pool->guard, s->bell, s->bells);
}

static void leave(struct section *s)
{
	leave_holding(s);
	free_hands(s->lane);
}

static void set(struct section *s, uint32_t *where, uint32_t value)
{
	crew__set32(s->lane, where, value);
}

static void set_long(struct section *s, uint64_t *where, uint64_t value)
{
	crew__set64(s->lane, where, value);
}

static void add(struct section *s, uint64_t *where, int64_t n)
{
	crew__set64(s->lane, where, *where + (uint64_t)n);
}

/* ── lists ── */

static void append(struct section *s, uint64_t *first, uint64_t *last, struct crew__task *task)
{
	uint64_t at = crew__offset(task);
	set_long(s, &task->next, 0);
	set_long(s, &task->previous, *last);
	set_long(s, *last ? &crew__task_at(*last)->next : first, at);
	set_long(s, last, at);
}

static void take_out(struct section *s, uint64_t *first, uint64_t *last, struct crew__task *task)
{
	set_long(s, task->previous ? &crew__task_at(task->previous)->next : first, task->next);
	set_long(s, task->next ? &crew__task_at(task->next)->previous : last, task->previous);
}

static void wake_one(struct section *s)
{
	struct crew_pool *pool = s->pool;
	if (!pool->idle)
		return;
	struct crew__worker *worker = &pool->worker[pool->idle - 1];
	set(s, &pool->idle, worker->next_idle);
	set(s, &worker->idle, 0);
	ring_after(s, &worker->bell);
}

static void rest(struct section *s, struct crew__worker *worker)
{
	set(s, &worker->next_idle, s->pool->idle);
	set(s, &s->pool->idle, (uint32_t)(worker - s->pool->worker) + 1);
	set(s, &worker->idle, 1);
}

static void rest_no_more(struct section *s, struct crew__worker *worker)
{
	if (!worker->idle)
		return;
	uint32_t number = (uint32_t)(worker - s->pool->worker) + 1;
	uint32_t *link = &s->pool->idle;
	while (*link != number)
		link = &s->pool->worker[*link - 1].next_idle;
	set(s, link, worker->next_idle);
	set(s, &worker->idle, 0);
}

/* ── parts of moves ── */

static void make_ready(struct section *s, struct crew__task *task)
{
	set(s, &task->state, CREW__TASK_READY);
	append(s, &s->pool->ready_first, &s->pool->ready_last, task);
	wake_one(s);
}

static struct crew__task *take_free(struct section *s, struct crew__batch *batch)
{
	struct crew__task *task = crew__task_at(batch->free);
	if (task) {
		set_long(s, &batch->free, task->next);
	} else if (batch->fresh < batch->count) {
		task = &batch->task[batch->fresh];
		memset(task, 0, offsetof(struct crew__task, message));
		task->generation = 1;
		task->batch = crew__offset(batch);
		set(s, &batch->fresh, batch->fresh + 1);
	} else {
		return NULL;
	}
	set(s, &batch->live, batch->live + 1);
	return task;
}

static void unlink_batch(struct section *s, struct crew__batch *batch)
{
	uint64_t at = crew__offset(batch), *link = &s->pool->batches;
	while (*link != at)
		link = &crew__batch_at(*link)->next;
	set_long(s, link, batch->next);
	set_long(s, &s->lane->mine[2], at);
}

/* DONE or about to be -> FREE; at most once in a section: its blocks go into this thread's hands, and leave() frees them. */
static void release(struct section *s, struct crew__task *task)
{
	struct crew__batch *batch = crew__batch_of(task);
	set_long(s, &s->lane->mine[0], task->argument_block);
	set_long(s, &s->lane->mine[1], task->result_block);
	set(s, &task->state, CREW__TASK_FREE);
	set(s, &task->generation, task->generation + 1);
	set_long(s, &task->next, batch->free);
	set_long(s, &batch->free, crew__offset(task));
	set(s, &batch->live, batch->live - 1);
	ring_after(s, &batch->room);
	if (batch->dropped && batch->live == 0)
		unlink_batch(s, batch);
}

/* READY (already taken out) or RUNNING -> DONE. */
static void settle(struct section *s, struct crew__task *task, int outcome)
{
	struct crew_pool *pool = s->pool;
	task->outcome = outcome;
	add(s, &pool->unfinished, -1);
	if (task->timeout)
		add(s, &pool->timed, -1);
	add(s, &pool->finished, 1);
	if (outcome != 0 && outcome != -ECANCELED)
		add(s, &pool->failed, 1);
	if (task->orphan) {
		release(s, task);
	} else {
		struct crew__batch *batch = crew__batch_of(task);
		set(s, &task->state, CREW__TASK_DONE);
		if (batch->streams)
			append(s, &batch->finished_first, &batch->finished_last, task);
		ring_after(s, batch->streams ? &batch->finished : &task->bell);
	}
	if (pool->unfinished == 0)
		ring_after(s, &pool->news);
}

static bool may_work(const struct crew_pool *pool, const struct crew__worker *worker, uint32_t life)
{
	return worker->life == life && worker->doom == CREW__DOOM_NONE && crew__peek32(&pool->phase) < CREW__POOL_LEAVING;
}

/* ── the submitter ── */

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
		struct section s;
		r = enter(&s, pool, CREW_FOREVER);
		if (r < 0)
			break;
		struct crew__task *taken = NULL;
		if (crew__peek32(&pool->phase) != CREW__POOL_OPEN || pool->broken)
			r = -EPIPE;
		else
			taken = take_free(&s, batch);
		if (taken) {
			fill(pool, taken, task);
			taken->argument_size = size;
			if (argument)
				taken->argument_block = crew__offset(argument);
			else
				copy_argument(taken->argument, task, body, body_size);
			if (result)
				taken->result_block = crew__offset(result);
			set_long(&s, &lane->mine[0], 0);
			set_long(&s, &lane->mine[1], 0);
			add(&s, &pool->submitted, 1);
			add(&s, &pool->unfinished, 1);
			if (taken->timeout)
				add(&s, &pool->timed, 1);
			make_ready(&s, taken);
			*ret = taken;
			*ret_generation = taken->generation;
			leave(&s);
			return 0;
		}
		crew__leave(lane, &pool->guard);
		if (r == 0)
			r = crew__bell_wait(lane, &batch->room, seen, deadline);
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
static int hand_over(struct section *s, struct crew__task *task, void *result, struct crew_failure *failure, uint64_t *element)
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
		take_out(s, &batch->finished_first, &batch->finished_last, task);
	release(s, task);
	leave_holding(s);
	if (size && block)
		memcpy(result, block, size);
	free_hands(s->lane);
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
			struct section s;
			r = enter(&s, pool, CREW_FOREVER);
			if (r < 0)
				return r;
			if (task->generation == generation && task->state == CREW__TASK_DONE)
				return hand_over(&s, task, result, failure, element);
			bool gone = task->generation != generation;
			leave(&s);
			if (gone)
				return -ESRCH;
		}
		r = over ? -ECANCELED : crew__bell_wait(lane, &task->bell, seen, deadline);
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
		r = crew__peek32(&pool->phase) == CREW__POOL_OVER ? -ECANCELED : crew__bell_wait(lane, &task->bell, seen, deadline);
	}
	return r;
}

struct crew__task *crew__task_finished(struct crew_pool *pool, struct crew__batch *batch)
{
	struct section s;
	if (!crew__peek64(&batch->finished_first) || enter(&s, pool, CREW_FOREVER) < 0)
		return NULL;
	struct crew__task *task = crew__task_at(batch->finished_first);
	leave(&s);
	return task;
}

int crew__task_cancel(struct crew_pool *pool, struct crew__task *task, uint32_t generation, bool force)
{
	struct section s;
	int r = enter(&s, pool, CREW_FOREVER);
	if (r < 0)
		return r;
	if (task->generation != generation) {
		r = -ESRCH;
	} else if (task->state == CREW__TASK_READY) {
		take_out(&s, &pool->ready_first, &pool->ready_last, task);
		settle(&s, task, -ECANCELED);
	} else if (task->state == CREW__TASK_DONE) {
		r = -EALREADY;
	} else if (!force || pool->mode != CREW_POOL_PROCESSES) {
		r = -EBUSY;
	} else {
		set(&s, &pool->worker[task->worker].doom, CREW__DOOM_CANCEL);
		r = 1;
	}
	leave(&s);
	return r;
}

/* ── the worker ── */

int crew__worker_begin(struct crew_pool *pool, unsigned number, uint32_t life, int error)
{
	struct section s;
	struct crew__worker *worker = &pool->worker[number];
	int r = enter(&s, pool, CREW_FOREVER);
	if (r < 0)
		return r;
	if (!may_work(pool, worker, life))
		r = -EPIPE;
	worker->error = error;
	set(&s, &worker->state, error < 0 ? CREW__WORKER_FAILED : CREW__WORKER_READY);
	ring_after(&s, &pool->news);
	leave(&s);
	return r;
}

int crew__task_take(struct crew_pool *pool, unsigned number, uint32_t life, struct crew__task **ret, uint32_t *seen)
{
	struct section s;
	struct crew__worker *worker = &pool->worker[number];
	*ret = NULL;
	*seen = crew__bell_look(&worker->bell);
	int r = enter(&s, pool, CREW_FOREVER);
	if (r < 0)
		return r;
	struct crew__task *task = crew__task_at(pool->ready_first);
	if (!may_work(pool, worker, life)) {
		r = -EPIPE;
	} else if (pool->tasks_per_worker && worker->ran >= pool->tasks_per_worker) {
		rest_no_more(&s, worker);
		set(&s, &worker->state, CREW__WORKER_LEAVING);
		r = -EPIPE;
	} else if (task) {
		rest_no_more(&s, worker);
		take_out(&s, &pool->ready_first, &pool->ready_last, task);
		set(&s, &task->state, CREW__TASK_RUNNING);
		set(&s, &task->worker, number);
		set(&s, &task->starts, task->starts + 1);
		set_long(&s, &worker->task, crew__offset(task));
		if (task->timeout)
			set_long(&s, (uint64_t *)&worker->deadline, (uint64_t)crew_after(task->timeout));
		*ret = task;
	} else if (!worker->idle) {
		rest(&s, worker);
	}
	leave(&s);
	return r;
}

static uint32_t count_used(const struct crew__task *task)
{
	uint32_t used = task->deaths + task->errors;
	return used ? used : 1;
}

int crew__task_finish(struct crew_pool *pool, unsigned number, uint32_t life, struct crew__task *task, int error,
		bool ends_attempt)
{
	struct section s;
	struct crew__worker *worker = &pool->worker[number];
	int r = enter(&s, pool, CREW_FOREVER);
	if (r < 0)
		return r;
	bool counts = worker->life == life && worker->doom == CREW__DOOM_NONE && worker->task == crew__offset(task);
	if (counts) {
		set_long(&s, &worker->task, 0);
		set_long(&s, (uint64_t *)&worker->deadline, 0);
		set(&s, &worker->ran, worker->ran + 1);
		if (ends_attempt) /* its blocks are the family's from the commit on */
			set_long(&s, &s.lane->attempt, 0);
		if (error < 0)
			set(&s, &task->errors, task->errors + 1);
		if (error < 0 && task->errors <= (uint32_t)task->retries && !task->orphan) {
			add(&s, &pool->reruns, 1);
			make_ready(&s, task);
		} else {
			task->error = error < 0 ? error : 0;
			task->signal = 0;
			task->exit_code = -1;
			task->pid = getpid();
			task->used = count_used(task);
			if (error < 0 && !task->message[0])
				snprintf(task->message, sizeof task->message, "the task returned %d: %s", error, crew_strerror(error));
			settle(&s, task, error < 0 ? -EREMOTEIO : 0);
		}
	}
	leave(&s);
	return counts ? 0 : -EPIPE;
}

/* ── the supervisor ── */

int crew__worker_start(struct crew_pool *pool, unsigned number, uint32_t *ret_life, crew_time deadline)
{
	struct section s;
	int r = enter(&s, pool, deadline);
	if (r < 0)
		return r;
	*ret_life = pool->worker[number].life;
	set(&s, &pool->worker[number].state, CREW__WORKER_STARTING);
	leave(&s);
	return 0;
}

int crew__worker_overdue(struct crew_pool *pool, unsigned number, crew_time now, crew_time deadline)
{
	struct section s;
	struct crew__worker *worker = &pool->worker[number];
	int r = enter(&s, pool, deadline);
	if (r < 0)
		return r;
	bool overdue = worker->task && worker->deadline && worker->deadline <= now && worker->doom == CREW__DOOM_NONE;
	if (overdue)
		set(&s, &worker->doom, CREW__DOOM_TIMEOUT);
	leave(&s);
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
	snprintf(task->message, sizeof task->message, "worker %u (pid %d) %s; attempt %u of %d", task->worker,
			(int)worker->pid, how, task->used, task->attempts > 0 ? task->attempts : 1);
}

static void end_run(struct section *s, struct crew__task *task, const struct crew__death *death)
{
	struct crew_pool *pool = s->pool;
	const struct crew__worker *worker = &pool->worker[task->worker];
	if (worker->doom == CREW__DOOM_CANCEL) {
		settle(s, task, -ECANCELED);
		return;
	}
	if (death->counts)
		set(s, &task->deaths, task->deaths + 1);
	if (!task->orphan && task->attempts > 0 && task->deaths < (uint32_t)task->attempts) {
		add(s, &pool->reruns, 1);
		make_ready(s, task);
		return;
	}
	describe_death(task, worker, death, worker->doom);
	settle(s, task, -EOWNERDEAD);
}

int crew__worker_end(struct crew_pool *pool, unsigned number, const struct crew__death *death, crew_time deadline)
{
	struct section s;
	struct crew__worker *worker = &pool->worker[number];
	int r = enter(&s, pool, deadline);
	if (r < 0)
		return r;
	rest_no_more(&s, worker);
	if (worker->task)
		end_run(&s, crew__task_at(worker->task), death);
	if (!death->orderly)
		add(&s, &pool->deaths, 1);
	if (death->chaos)
		add(&s, &pool->chaos_kills, 1);
	set(&s, &worker->life, worker->life + 1);
	set(&s, &worker->state, CREW__WORKER_NONE);
	set(&s, (uint32_t *)&worker->pid, 0);
	set(&s, &worker->doom, CREW__DOOM_NONE);
	set_long(&s, &worker->task, 0);
	set_long(&s, (uint64_t *)&worker->deadline, 0);
	set(&s, &worker->ran, 0);
	if (pool->ready_first) /* it may have been woken for that */
		wake_one(&s);
	leave(&s);
	return 0;
}

int crew__pool_break(struct crew_pool *pool, int error, crew_time deadline)
{
	for (;;) {
		struct section s;
		int r = enter(&s, pool, deadline);
		if (r < 0)
			return r;
		set(&s, (uint32_t *)&pool->broken, (uint32_t)error);
		struct crew__task *task = crew__task_at(pool->ready_first);
		if (task) {
			take_out(&s, &pool->ready_first, &pool->ready_last, task);
			task->error = error;
			task->signal = 0;
			task->exit_code = -1;
			task->pid = 0;
			task->used = task->deaths + task->errors;
			snprintf(task->message, sizeof task->message, "no worker could be started: %s", crew_strerror(error));
			settle(&s, task, -EPIPE);
		} else {
			ring_after(&s, &pool->news);
		}
		leave(&s);
		if (!task)
			return 0;
	}
}

/* ── the opener ── */

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

uint64_t crew__pool_unfinished(struct crew_pool *pool)
{
	struct section s;
	if (enter(&s, pool, CREW_FOREVER) < 0)
		return 0;
	uint64_t unfinished = pool->unfinished;
	leave(&s);
	return unfinished;
}

void crew__pool_wake_users(struct crew_pool *pool)
{
	struct section s;
	if (enter(&s, pool, CREW_FOREVER) < 0)
		return;
	for (struct crew__batch *batch = crew__batch_at(pool->batches); batch; batch = crew__batch_at(batch->next)) {
		crew__ring(s.lane, &batch->room, UINT32_MAX);
		crew__ring(s.lane, &batch->finished, UINT32_MAX);
		for (uint32_t i = 0; i < batch->fresh; i++)
			crew__ring(s.lane, &batch->task[i].bell, UINT32_MAX);
	}
	leave(&s);
}

/* ── batches ── */

int crew__batch_open(struct crew_pool *pool, uint32_t count, bool streams, struct crew__batch **ret)
{
	struct crew__lane *lane;
	struct section s;
	void *block = NULL;
	int r = crew__lane_self(&lane);
	if (r == 0)
		r = crew__alloc_mine(lane, 0, sizeof(struct crew__batch) + count * sizeof(struct crew__task), &block);
	if (r < 0)
		return r;
	struct crew__batch *batch = block;
	*batch = (struct crew__batch){ .count = count, .streams = streams };
	r = enter(&s, pool, CREW_FOREVER);
	if (r == 0) {
		batch->next = pool->batches;
		set_long(&s, &pool->batches, crew__offset(batch));
		set_long(&s, &lane->mine[0], 0);
		leave(&s);
		*ret = batch;
	}
	crew__free_mine(lane, 0);
	return r;
}

void crew__batch_drop(struct crew_pool *pool, struct crew__batch *batch)
{
	struct section s;
	for (uint32_t i = 0; i < batch->fresh; i++) {
		struct crew__task *task = &batch->task[i];
		if (enter(&s, pool, CREW_FOREVER) < 0)
			return;
		task->orphan = 1;
		if (task->state == CREW__TASK_READY) {
			take_out(&s, &pool->ready_first, &pool->ready_last, task);
			settle(&s, task, -ECANCELED);
		} else if (task->state == CREW__TASK_DONE) {
			if (batch->streams)
				take_out(&s, &batch->finished_first, &batch->finished_last, task);
			release(&s, task);
		}
		leave(&s);
	}
	if (enter(&s, pool, CREW_FOREVER) < 0)
		return;
	set(&s, &batch->dropped, 1);
	if (batch->live == 0)
		unlink_batch(&s, batch);
	leave(&s);
}
