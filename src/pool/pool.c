/*
 * pool.c - open and close a pool; submit, wait, cancel
 *
 * A ticket is the number of a task in the batch of tickets (+ 1) and its generation, so that a spent one is found out.
 *
 * pool.users counts threads of the opener that are in a call; bit 31: somebody closes the pool and sleeps on the word. The
 * one who counts down does not touch the pool after that, for it may be freed.
 */
#include <stdlib.h>
#include <string.h>
#include <crew/probe.h>
#include "base/sys.h"
#include "pool/pool.h"
#include "pool/staff.h"
#include "pool/worker.h"
#include "sync/section.h"

#define MOST_WORKERS 4096u
#define MOST_CAPACITY (1u << 20)
#define CLOSING 0x80000000u

/* May this thread use the pool? */
static int check(struct crew_pool *pool, struct crew__lane **ret)
{
	if (!pool)
		return -EINVAL;
	int r = crew__lane_self(ret);
	if (r < 0)
		return r;
	if (crew__running_pool() == pool)
		return -EDEADLK;
	return crew__peek32(&pool->opener) == crew__family.self ? 0 : -EPERM;
}

int crew__pool_use(struct crew_pool *pool)
{
	struct crew__lane *lane;
	int r = check(pool, &lane);
	if (r == 0)
		__atomic_fetch_add(&pool->users, 1, __ATOMIC_SEQ_CST);
	return r;
}

void crew__pool_done(struct crew_pool *pool)
{
	struct crew__lane *lane;
	if (crew__lane_self(&lane) < 0) /* who uses it has one */
		crew__panic("a pool's user without a lane");
	__atomic_store_n(&lane->bell, crew__offset(&pool->users), __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (__atomic_fetch_sub(&pool->users, 1, __ATOMIC_SEQ_CST) & CLOSING)
		crew__wake(&pool->users, UINT32_MAX);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&lane->bell, 0, __ATOMIC_RELAXED);
}

static void await_users(struct crew__lane *lane, struct crew_pool *pool)
{
	uint32_t users = __atomic_or_fetch(&pool->users, CLOSING, __ATOMIC_SEQ_CST);
	while (users != CLOSING) {
		(void)crew__sleep(lane, &pool->users, users, 0, CREW_FOREVER);
		users = crew__peek32(&pool->users);
	}
}

/* ── open, close ── */

static int check_options(const struct crew_pool_options *o)
{
	bool good = o->workers <= MOST_WORKERS && (unsigned)o->mode <= CREW_POOL_SERIAL && o->capacity <= MOST_CAPACITY &&
			o->attempts >= -1 && o->retries >= -1 && o->timeout >= -1 && o->limit_count <= 16 &&
			(o->limits || !o->limit_count) && (o->context || !o->context_size) && o->chaos >= 0 && o->chaos <= 1e6;
	return good ? 0 : -EINVAL;
}

/* End the staff, send users away, free. Returns how many tasks were not finished. */
static int64_t end(struct crew__lane *lane, struct crew_pool *pool, bool kill)
{
	crew__pool_advance(pool, CREW__POOL_LEAVING);
	crew__staff_close(pool, kill);
	int64_t left = crew__pool_unfinished(pool, CREW_FOREVER);
	crew__pool_advance(pool, CREW__POOL_OVER);
	crew__pool_wake_users(pool, CREW_FOREVER);
	await_users(lane, pool);
	crew__staff_free(pool);
	crew__ledger_free(pool);
	crew__ledger_clear(crew_after(CREW_SECOND)); /* pools that its tasks had opened, if they died in them */
	return left;
}

int crew_pool_open_sized(struct crew_pool **ret, const struct crew_pool_options *given, size_t size)
{
	struct crew_pool_options options;
	struct crew__lane *lane;
	struct crew__batch *tickets;
	struct crew_pool *pool;
	int r = crew__options(&options, sizeof options, given, size);
	if (r == 0)
		r = check_options(&options);
	if (r == 0)
		r = crew__lane_self(&lane);
	if (r < 0)
		return r;
	unsigned workers = options.mode == CREW_POOL_SERIAL ? 1 : options.workers ? options.workers : crew_cpus();
	crew__ledger_clear(CREW_POLL);
	r = crew__ledger_open(&options, workers, &pool);
	if (r < 0)
		return r;
	r = crew__batch_open(pool, options.capacity ? options.capacity : 4096, false, &tickets);
	if (r == 0) {
		pool->tickets = crew__offset(tickets);
		r = crew__staff_open(pool, &options);
	}
	if (r < 0)
		end(lane, pool, true);
	else
		*ret = pool;
	return r;
}

int crew_pool_close(struct crew_pool *pool, crew_time deadline)
{
	struct crew__lane *lane;
	if (!pool)
		return 0;
	int r = check(pool, &lane);
	if (r < 0)
		return r;
	crew__pool_advance(pool, CREW__POOL_CLOSING);
	crew__pool_wake_users(pool, deadline); /* those who wait for room wait in vain */
	int64_t left;
	for (;;) {
		uint32_t seen = crew__bell_look(&pool->news);
		left = crew__pool_unfinished(pool, deadline);
		if (left == 0 || crew__bell_wait(lane, &pool->news, seen, deadline) < 0)
			break;
	}
	return (int)end(lane, pool, left != 0);
}

void crew_pool_terminate(struct crew_pool *pool)
{
	struct crew__lane *lane;
	if (pool && check(pool, &lane) == 0)
		(void)end(lane, pool, true);
}

void crew__pool_fini(void)
{
	struct crew_pool *pool;
	while ((pool = crew__ledger_mine()))
		crew_pool_terminate(pool);
}

void crew_pool_stats(struct crew_pool *pool, struct crew_pool_stats *ret)
{
	*ret = (struct crew_pool_stats){ .workers = pool->workers, .submitted = crew__peek64(&pool->submitted),
		.finished = crew__peek64(&pool->finished), .failed = crew__peek64(&pool->failed),
		.reruns = crew__peek64(&pool->reruns), .deaths = crew__peek64(&pool->deaths),
		.chaos_kills = crew__peek64(&pool->chaos_kills) };
}

pid_t crew_pool_worker_pid(struct crew_pool *pool, unsigned index)
{
	return index < pool->workers ? __atomic_load_n(&pool->worker[index].pid, __ATOMIC_ACQUIRE) : 0;
}

/* ── submit, wait, cancel ── */

int crew__pool_put(struct crew_pool *pool, struct crew__batch *batch, const struct crew_task *task, const void *body,
		size_t body_size, crew_time deadline, struct crew__task **ret, uint32_t *ret_generation)
{
	crew_time timeout = crew__timeout_of(pool, task);
	crew__staff_expect(pool, timeout);
	crew__serial_enter(pool);
	int r = crew__task_put(pool, batch, task, body, body_size, deadline, ret, ret_generation);
	crew__serial_leave(pool);
	if (r == 0)
		crew__staff_hurry(pool, timeout);
	return r;
}

int crew_pool_submit(struct crew_pool *pool, const struct crew_task *task, crew_ticket *ret, crew_time deadline)
{
	int r = crew__pool_use(pool);
	if (r < 0)
		return r;
	struct crew__batch *tickets = crew__batch_at(pool->tickets);
	struct crew__task *put;
	uint32_t generation;
	r = crew__pool_put(pool, tickets, task, NULL, 0, deadline, &put, &generation);
	if (r == 0)
		*ret = (crew_ticket)generation << 32 | (put->number + 1);
	crew__pool_done(pool);
	return r;
}

/* The task of a ticket, or NULL: there never was such a one. */
static struct crew__task *find(struct crew_pool *pool, crew_ticket ticket)
{
	struct crew__batch *tickets = crew__batch_at(pool->tickets);
	uint32_t number = (uint32_t)ticket;
	return number >= 1 && number <= crew__peek32(&tickets->fresh) ? crew__task_number(tickets, number - 1) : NULL;
}

int crew_pool_wait(struct crew_pool *pool, crew_ticket ticket, void *result, crew_time deadline, struct crew_failure *reterr)
{
	int r = crew__pool_use(pool);
	if (r < 0)
		return r;
	struct crew__task *task = find(pool, ticket);
	r = task ? crew__task_collect(pool, task, (uint32_t)(ticket >> 32), result, deadline, reterr, NULL) : -ESRCH;
	crew__pool_done(pool);
	return r;
}

int crew_pool_cancel(struct crew_pool *pool, crew_ticket ticket, bool force)
{
	int r = crew__pool_use(pool);
	if (r < 0)
		return r;
	struct crew__task *task = find(pool, ticket);
	r = task ? crew__task_cancel(pool, task, (uint32_t)(ticket >> 32), force) : -ESRCH;
	if (r == 1)
		crew__staff_tell(pool);
	crew__pool_done(pool);
	return r == 1 ? 0 : r;
}
