/*
 * supervisor.c - start workers, watch them, bury and replace them
 *
 * A thread of the opener. It alone has the handles of the worker processes, so they need no lock. It sleeps in poll(2) on
 * their pidfds and on an eventfd, until the next thing that it knows of: a task's time-out, a restart, a chaos kill.
 *
 * State    watch[i]: the process that is worker i, or when to start one. The ledger says what it does.
 *          wakes_at: until when the thread sleeps at most; CREW_FOREVER while it makes up its mind.
 *
 * Order    (A) wakes_at = CREW_FOREVER, then look at pool.timed   pairs with  (B) pool.timed + 1 (in put), then
 *              look at wakes_at.
 *              impossible: the thread sleeps without a time-out and nobody tells it that a task has one.
 *          shortest is lowered before put, so it is known by whoever sees pool.timed.
 *
 * Time-outs    A READY task cannot be over its time before now + the shortest time-out, so the thread may sleep until then
 *          and look again; no worker has to report that it has begun.
 *
 * Kills    A worker whose task is over its time, or cancelled by force, is doomed in the ledger first, in a section. So it
 *          is exact: the task was finished before, and stands; or its worker dies for it and no other.
 *          Chaos kills are blind, that is their point; one is charged to nobody if it was it that ended the worker.
 *
 * Death    of a worker: its pidfd; the ledger says what it ran. Of a worker that is stopped (SIGSTOP) inside
 *          a section: it is not dead, and holds the guard; if a task is over its time meanwhile, it is killed (unstick).
 *          Of the opener: the workers by their lifeline.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <crew/trace.h>
#include "base/sys.h"
#include "pool/staff.h"
#include "pool/worker.h"
#include "process/process.h"
#include "sync/section.h"

#define STACK ((size_t)256 << 10)
#define PATIENCE (100 * CREW_MILLISECOND)  /* with a guard that does not become free */
#define BACK_OFF (10 * CREW_MILLISECOND)   /* after the first failure; doubled after each, up to 1 s */
#define MOST_FAILURES 6u                   /* in a row; of all workers: then the pool gives up */
#define LEAVE_TIME CREW_SECOND             /* for a worker that was told to leave */
#define KILL_TIME (5 * CREW_SECOND)        /* for the kernel to end one */

enum command { WORK, LEAVE, KILL };

struct watch {
	struct crew_process *process; /* NULL: between two lives */
	crew_time start_at;           /* then: when to start the next one */
	uint32_t failures;            /* starts and initialisations that failed, in a row */
	bool chaos;                   /* a chaos kill has been sent */
	bool killed;                  /* its doom has been carried out */
};

struct crew__supervisor {
	struct crew_pool *pool;
	pthread_t thread;
	int wake;                     /* eventfd */
	uint32_t command;
	int32_t state;                /* see crew__supervisor_state */
	int last_error;               /* of a start or an initialiser */
	crew_time wakes_at;
	crew_time shortest;           /* time-out of all tasks put so far */
	double chaos;
	crew_time next_chaos;
	uint64_t random;
	char name[24];
	struct crew_rlimit limits[16];
	unsigned limit_count;
	struct watch *watch;
	struct pollfd *fds;           /* [0] is `wake`, [i + 1] worker i */
};

/* It and its group: what its task has forked. It leads that group, and while it has not ended no other can be called so. */
static bool kill_one(struct watch *watch)
{
	if (crew_process_signal(watch->process, 0) < 0)
		return false;
	kill(-crew_process_pid(watch->process), SIGKILL);
	int r = crew_process_signal(watch->process, SIGKILL); /* in case that it has left its group */
	(void)r;
	return true;
}

/* Wait for its end until the deadline, or make it end; forget it. */
static void finish(struct crew__supervisor *s, unsigned i, crew_time deadline, struct crew_status *ret)
{
	struct watch *watch = &s->watch[i];
	int r = crew_process_join(watch->process, deadline, ret);
	if (r < 0) { /* also where it has ended, and its reaper is late: else its handle would stay */
		kill_one(watch);
		r = crew_process_join(watch->process, crew_after(KILL_TIME), ret);
	}
	r = crew_process_close(watch->process);
	(void)r; /* it hangs in the kernel: it ends with us at the latest */
	watch->process = NULL;
	s->fds[i + 1].fd = -1;
}

/* A worker of ours that is stopped while it holds the guard keeps everybody from everything; let it if no task is overdue. */
static void unstick(struct crew__supervisor *s)
{
	struct crew_pool *pool = s->pool;
	bool overdue = __atomic_load_n(&s->command, __ATOMIC_ACQUIRE) == KILL;
	crew_time now = crew_now();
	for (unsigned i = 0; i < pool->workers; i++) {
		crew_time deadline = __atomic_load_n(&pool->worker[i].deadline, __ATOMIC_ACQUIRE);
		overdue |= deadline && deadline <= now;
	}
	struct crew__lane *lane = crew__lane_at(crew__number(crew__peek32(&pool->guard) & CREW__OWNER));
	for (unsigned i = 0; overdue && lane && i < pool->workers; i++)
		if (s->watch[i].process && crew__process_id(s->watch[i].process) == crew__peek32(&lane->process))
			kill_one(&s->watch[i]);
}

/* A move of the ledger, however long its guard takes. */
#define INSIST(r, move) while (((r) = (move)) == -ETIMEDOUT) unstick(s)

static crew_time back_off(uint32_t failures)
{
	crew_time length = BACK_OFF << (failures < 7 ? failures - 1 : 6);
	return crew_after(length < CREW_SECOND ? length : CREW_SECOND);
}

static void note_failure(struct crew__supervisor *s, struct watch *watch, int error)
{
	watch->failures++;
	watch->start_at = back_off(watch->failures);
	s->last_error = error;
	crew_trace_event("pool", "worker cannot start", error);
}

static int start(struct crew__supervisor *s, unsigned i)
{
	struct watch *watch = &s->watch[i];
	struct crew__birth birth = { .pool = s->pool, .number = i };
	char name[40];
	int r;
	INSIST(r, crew__worker_start(s->pool, i, &birth.life, crew_after(PATIENCE)));
	if (r < 0)
		return r;
	snprintf(name, sizeof name, "%s/%u", s->name, i);
	r = crew_process_start(&watch->process, &(struct crew_process_options){ .function = crew__worker_main,
			.argument = &birth, .argument_size = sizeof birth, .name = name, .limits = s->limits,
			.limit_count = s->limit_count });
	if (r < 0) {
		note_failure(s, watch, r);
		return r;
	}
	watch->chaos = watch->killed = false;
	__atomic_store_n(&s->pool->worker[i].pid, crew_process_pid(watch->process), __ATOMIC_RELEASE);
	s->fds[i + 1] = (struct pollfd){ .fd = crew_process_fd(watch->process), .events = POLLIN };
	return 0;
}

static void start_missing(struct crew__supervisor *s, crew_time now)
{
	bool leaving = crew__peek32(&s->pool->phase) >= CREW__POOL_LEAVING;
	for (unsigned i = 0; !leaving && i < s->pool->workers; i++)
		if (!s->watch[i].process && s->watch[i].start_at <= now)
			(void)start(s, i);
}

static void bury(struct crew__supervisor *s, unsigned i)
{
	struct watch *watch = &s->watch[i];
	struct crew_status status = { .state = CREW_ENDED_UNKNOWN };
	struct crew__death death = { .exit_code = -1, .chaos = watch->chaos };
	struct crew__life life;
	int r;
	finish(s, i, crew_after(LEAVE_TIME), &status);
	if (status.state == CREW_KILLED)
		death.signal = status.signal;
	if (status.state == CREW_EXITED)
		death.exit_code = status.code;
	INSIST(r, crew__worker_end(s->pool, i, &death, crew_after(PATIENCE), &life));
	if (r < 0)
		return;
	bool failed = life.state == CREW__WORKER_FAILED, stillborn = life.state == CREW__WORKER_STARTING && !watch->chaos;
	if (failed || stillborn) {
		note_failure(s, watch, failed ? life.error : -EOWNERDEAD);
		if (watch->failures >= MOST_FAILURES) /* a start that fails may succeed later; this would fail again */
			watch->start_at = CREW_FOREVER;
	} else {
		watch->failures = 0;
		watch->start_at = life.idle && !watch->chaos ? crew_after(BACK_OFF) : CREW_POLL; /* not as fast as somebody kills it */
	}
	if (!failed && life.state != CREW__WORKER_LEAVING)
		crew_trace_event("pool", "worker died", i);
}

static void kill_doomed(struct crew__supervisor *s, crew_time now)
{
	for (unsigned i = 0; i < s->pool->workers; i++) {
		struct watch *watch = &s->watch[i];
		struct crew__worker *worker = &s->pool->worker[i];
		crew_time deadline = __atomic_load_n(&worker->deadline, __ATOMIC_ACQUIRE);
		int r = 0;
		if (!watch->process || watch->killed)
			continue;
		if (deadline && deadline <= now)
			INSIST(r, crew__worker_overdue(s->pool, i, now, crew_after(PATIENCE)));
		if (r == 1 || crew__peek32(&worker->doom))
			watch->killed = kill_one(watch);
	}
}

static uint64_t next_random(struct crew__supervisor *s)
{
	s->random ^= s->random >> 12; /* xorshift64*, Vigna 2016 */
	s->random ^= s->random << 25;
	s->random ^= s->random >> 27;
	return s->random * UINT64_C(2685821657736338717);
}

static void kill_at_random(struct crew__supervisor *s, crew_time now)
{
	if (s->chaos <= 0 || now < s->next_chaos)
		return;
	struct watch *watch = &s->watch[next_random(s) % s->pool->workers];
	if (s->next_chaos && watch->process && kill_one(watch))
		watch->chaos = true;
	double even = (double)(next_random(s) >> 11) / (double)(UINT64_C(1) << 52); /* 0 ... 2, 1 on average */
	double pause = even * 1e9 / s->chaos;
	s->next_chaos = pause < 1e18 ? now + 1 + (crew_time)pause : CREW_FOREVER; /* a rate near 0 has no next kill */
}

static crew_time earlier(crew_time a, crew_time b)
{
	return a < b ? a : b;
}

static crew_time next_event(struct crew__supervisor *s)
{
	crew_time next = s->chaos > 0 ? s->next_chaos : CREW_FOREVER;
	for (unsigned i = 0; i < s->pool->workers; i++) {
		crew_time deadline = __atomic_load_n(&s->pool->worker[i].deadline, __ATOMIC_ACQUIRE);
		if (!s->watch[i].process)
			next = earlier(next, s->watch[i].start_at);
		else if (deadline && !s->watch[i].killed)
			next = earlier(next, deadline);
	}
	if (__atomic_load_n(&s->pool->timed, __ATOMIC_SEQ_CST))
		next = earlier(next, crew_after(__atomic_load_n(&s->shortest, __ATOMIC_SEQ_CST))); /* of a READY one, at least */
	return next;
}

/* Nobody lives, and nobody will. */
static bool hopeless(const struct crew__supervisor *s, uint32_t failures)
{
	for (unsigned i = 0; i < s->pool->workers; i++)
		if (s->watch[i].process || s->watch[i].failures < failures)
			return false;
	return true;
}

static void announce(struct crew__supervisor *s, int state)
{
	struct crew__lane *lane;
	__atomic_store_n(&s->state, state, __ATOMIC_RELEASE);
	if (crew__lane_self(&lane) == 0)
		crew__ring(lane, &s->pool->news, UINT32_MAX);
}

static void end_all(struct crew__supervisor *s, bool kill)
{
	for (unsigned i = 0; kill && i < s->pool->workers; i++)
		if (s->watch[i].process)
			kill_one(&s->watch[i]);
	crew_time deadline = crew_after(LEAVE_TIME);
	for (unsigned i = 0; i < s->pool->workers; i++)
		if (s->watch[i].process)
			finish(s, i, deadline, NULL);
	crew__lane_reap_all();
}

static void *supervise(void *argument)
{
	struct crew__supervisor *s = argument;
	struct crew_pool *pool = s->pool;
	int r = 0;
	for (unsigned i = 0; r == 0 && i < pool->workers; i++)
		r = start(s, i);
	for (unsigned i = 0; r < 0 && i < pool->workers; i++) /* crew_pool_open gives up: no more */
		s->watch[i].start_at = CREW_FOREVER;
	announce(s, r < 0 ? r : 1);
	bool broken = false;
	uint32_t command;
	while ((command = __atomic_load_n(&s->command, __ATOMIC_ACQUIRE)) == WORK) {
		__atomic_store_n(&s->wakes_at, CREW_FOREVER, __ATOMIC_SEQ_CST); /* (A) */
		crew_time now = crew_now();
		start_missing(s, now);
		kill_doomed(s, now);
		kill_at_random(s, now);
		crew_time next = next_event(s);
		__atomic_store_n(&s->wakes_at, next, __ATOMIC_SEQ_CST);
		(void)crew__poll(s->fds, pool->workers + 1, next);
		uint64_t drained;
		if (s->fds[0].revents && read(s->wake, &drained, sizeof drained) < 0)
			continue;
		for (unsigned i = 0; i < pool->workers; i++)
			if (s->fds[i + 1].fd >= 0 && s->fds[i + 1].revents)
				bury(s, i);
		if (hopeless(s, 1))
			announce(s, s->last_error); /* of interest while the pool is being opened */
		if (!broken && hopeless(s, MOST_FAILURES)) {
			INSIST(r, crew__pool_break(pool, s->last_error, crew_after(PATIENCE)));
			broken = true;
		}
	}
	end_all(s, command == KILL);
	return NULL;
}

int crew__supervisor_state(struct crew__supervisor *s)
{
	return __atomic_load_n(&s->state, __ATOMIC_ACQUIRE);
}

void crew__supervisor_tell(struct crew__supervisor *s)
{
	uint64_t one = 1;
	while (write(s->wake, &one, sizeof one) < 0 && errno == EINTR)
		;
}

void crew__supervisor_expect(struct crew__supervisor *s, crew_time timeout)
{
	crew_time known = __atomic_load_n(&s->shortest, __ATOMIC_RELAXED); /* only ever lowered, by CAS */
	while (timeout < known && !__atomic_compare_exchange_n(&s->shortest, &known, timeout, false, __ATOMIC_SEQ_CST,
			__ATOMIC_RELAXED))
		;
}

void crew__supervisor_hurry(struct crew__supervisor *s, crew_time timeout)
{
	if (__atomic_load_n(&s->wakes_at, __ATOMIC_SEQ_CST) > crew_after(timeout)) /* (B) */
		crew__supervisor_tell(s);
}

void crew__supervisor_free(struct crew__supervisor *s)
{
	if (s->wake >= 0)
		close(s->wake);
	free(s->watch);
	free(s->fds);
	free(s);
}

int crew__supervisor_open(struct crew__supervisor **ret, struct crew_pool *pool, const struct crew_pool_options *options)
{
	struct crew__supervisor *s = crew__calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	s->pool = pool;
	s->shortest = CREW_FOREVER;
	s->chaos = options->chaos;
	s->random = options->chaos_seed * 2 + 1;
	s->limit_count = options->limit_count;
	if (options->limit_count)
		memcpy(s->limits, options->limits, options->limit_count * sizeof s->limits[0]);
	snprintf(s->name, sizeof s->name, "%s", options->name ? options->name : "pool");
	s->watch = crew__calloc(pool->workers, sizeof *s->watch);
	s->fds = crew__calloc(pool->workers + 1, sizeof *s->fds);
	s->wake = crew__eventfd(0, EFD_NONBLOCK);
	int r = s->wake < 0 ? s->wake : !s->watch || !s->fds ? -ENOMEM : 0;
	if (r == 0) {
		s->fds[0] = (struct pollfd){ .fd = s->wake, .events = POLLIN };
		for (unsigned i = 0; i < pool->workers; i++)
			s->fds[i + 1].fd = -1;
		r = crew__thread_start(&s->thread, STACK, supervise, s);
	}
	if (r < 0)
		crew__supervisor_free(s);
	else
		*ret = s;
	return r;
}

void crew__supervisor_close(struct crew__supervisor *s, bool kill)
{
	__atomic_store_n(&s->command, kill ? KILL : LEAVE, __ATOMIC_RELEASE);
	crew__supervisor_tell(s);
	pthread_join(s->thread, NULL);
}
