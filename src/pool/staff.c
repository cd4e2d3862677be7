/* staff.c - threads and serial pools, and the choice between the three modes; see staff.h */
#include <signal.h>
#include <stdlib.h>
#include "base/sys.h"
#include "pool/staff.h"
#include "pool/worker.h"
#include "sync/section.h"

int crew__thread_start(pthread_t *ret, size_t stack, void *(*run)(void *), void *argument)
{
	int r = crew__fault(CREW__CALL_pthread_create);
	if (r < 0)
		return r;
	pthread_attr_t attributes;
	sigset_t all, before;
	pthread_attr_init(&attributes);
	if (stack)
		pthread_attr_setstacksize(&attributes, stack);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before); /* the program's handlers run in the program's threads */
	r = -pthread_create(ret, &attributes, run, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return r;
}

struct crew__thread {
	pthread_t thread;
	struct crew__birth birth;
};

static void *live(void *argument)
{
	const struct crew__birth *birth = argument;
	(void)crew__worker_live(birth->pool, birth->number, birth->life);
	return NULL;
}

static int open_threads(struct crew_pool *pool, struct crew__staff *staff)
{
	staff->threads = crew__calloc(pool->workers, sizeof *staff->threads);
	if (!staff->threads)
		return -ENOMEM;
	int r = 0;
	for (; r == 0 && staff->thread_count < pool->workers; staff->thread_count += r == 0) {
		struct crew__thread *thread = &staff->threads[staff->thread_count];
		thread->birth = (struct crew__birth){ pool, staff->thread_count, 0 };
		r = crew__thread_start(&thread->thread, 0, live, &thread->birth);
	}
	return r;
}

/* Wait until one worker can work, or it is known that none can. */
static int await_one(struct crew_pool *pool)
{
	struct crew__lane *lane;
	int r = crew__lane_self(&lane);
	while (r == 0) {
		uint32_t seen = crew__bell_look(&pool->news);
		unsigned ready = 0, failed = 0;
		for (unsigned i = 0; i < pool->workers; i++) {
			uint32_t state = crew__peek32(&pool->worker[i].state);
			ready += state >= CREW__WORKER_READY && state != CREW__WORKER_FAILED;
			failed += state == CREW__WORKER_FAILED;
		}
		int started = pool->staff->supervisor ? crew__supervisor_state(pool->staff->supervisor) : 1;
		if (started < 0)
			return started;
		if (failed == pool->workers)
			return pool->worker[0].error;
		if (started && (ready || !pool->initialize))
			return 0;
		(void)crew__bell_wait(lane, &pool->news, seen, CREW_FOREVER);
	}
	return r;
}

int crew__staff_open(struct crew_pool *pool, const struct crew_pool_options *options)
{
	struct crew__staff *staff = crew__calloc(1, sizeof *staff);
	if (!staff)
		return -ENOMEM;
	pool->staff = staff;
	pthread_mutex_init(&staff->serial, NULL);
	int r = 0;
	switch (pool->mode) {
	case CREW_POOL_PROCESSES:
		r = crew__supervisor_open(&staff->supervisor, pool, options);
		break;
	case CREW_POOL_THREADS:
		r = open_threads(pool, staff);
		break;
	case CREW_POOL_SERIAL:
		r = pool->initialize ? pool->initialize(pool->context) : 0;
		return r < 0 ? r : 0;
	}
	return r < 0 ? r : await_one(pool);
}

void crew__staff_close(struct crew_pool *pool, bool kill)
{
	struct crew__staff *staff = pool->staff;
	if (!staff)
		return;
	if (staff->supervisor)
		crew__supervisor_close(staff->supervisor, kill);
	for (unsigned i = 0; i < staff->thread_count; i++)
		pthread_join(staff->threads[i].thread, NULL);
}

void crew__staff_free(struct crew_pool *pool)
{
	struct crew__staff *staff = pool->staff;
	if (!staff)
		return;
	if (staff->supervisor)
		crew__supervisor_free(staff->supervisor);
	pthread_mutex_destroy(&staff->serial);
	free(staff->threads);
	free(staff);
	pool->staff = NULL;
}

void crew__staff_expect(struct crew_pool *pool, crew_time timeout)
{
	if (pool->staff->supervisor && timeout)
		crew__supervisor_expect(pool->staff->supervisor, timeout);
}

void crew__staff_hurry(struct crew_pool *pool, crew_time timeout)
{
	if (pool->staff->supervisor && timeout)
		crew__supervisor_hurry(pool->staff->supervisor, timeout);
}

void crew__staff_tell(struct crew_pool *pool)
{
	if (pool->staff->supervisor)
		crew__supervisor_tell(pool->staff->supervisor);
}

void crew__serial_enter(struct crew_pool *pool)
{
	if (pool->mode == CREW_POOL_SERIAL)
		pthread_mutex_lock(&pool->staff->serial);
}

void crew__serial_leave(struct crew_pool *pool)
{
	struct crew__task *task;
	uint32_t seen;
	if (pool->mode != CREW_POOL_SERIAL)
		return;
	while (crew__task_take(pool, 0, 0, &task, &seen) == 0 && task)
		if (crew__worker_run(pool, 0, 0, task) < 0)
			break;
	pthread_mutex_unlock(&pool->staff->serial);
}
