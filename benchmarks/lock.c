/* lock.c - to take a free lock and give it back */
#include "bench.h"

#include <pthread.h>

enum { TIMES = 1000000 };

static double crew(void)
{
	static struct crew_lock *lock;
	if (!lock)
		must(crew_alloc_zeroed(sizeof *lock, (void **)&lock));
	crew_time from = crew_now();
	for (unsigned i = 0; i < TIMES; i++) {
		must(crew_lock_acquire(lock, CREW_FOREVER));
		crew_lock_release(lock);
	}
	return per_one(from, TIMES);
}

static double mutex(bool robust)
{
	pthread_mutexattr_t attributes;
	pthread_mutex_t lock;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attributes, robust ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED);
	pthread_mutex_init(&lock, &attributes);
	crew_time from = crew_now();
	for (unsigned i = 0; i < TIMES; i++) {
		must(-pthread_mutex_lock(&lock));
		pthread_mutex_unlock(&lock);
	}
	double seconds = per_one(from, TIMES);
	pthread_mutex_destroy(&lock);
	pthread_mutexattr_destroy(&attributes);
	return seconds;
}

static double shared_mutex(void) { return mutex(false); }
static double robust_mutex(void) { return mutex(true); }

const struct measure bench_lock[] = {
	{ "lock: acquire and release, free", crew, {
		{ "pthread mutex, robust and shared", robust_mutex, NULL, NULL },
		{ "pthread mutex, shared", shared_mutex, NULL, NULL } } },
	{ 0 }
};
