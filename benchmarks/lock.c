/* lock.c - locks: free ones, and ones that two processes want at once */
#include "bench.h"

#include <pthread.h>
#include <semaphore.h>

enum { TIMES = 1000000, EACH = 200000 };

static struct objects {
	struct crew_lock lock;
	char apart1[128 - sizeof(struct crew_lock)];
	struct crew_rwlock rwlock;
	char apart2[128 - sizeof(struct crew_rwlock)];
	pthread_mutex_t mutex, robust;
	char apart3[128];
	sem_t sem;
	char apart4[128];
	pthread_rwlock_t plain;
} *all;

/* In shared memory, made once. */
static struct objects *objects(void)
{
	pthread_mutexattr_t attributes;
	pthread_rwlockattr_t shared;
	if (all)
		return all;
	all = bench_shared(sizeof *all);
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&all->mutex, &attributes);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&all->robust, &attributes);
	pthread_mutexattr_destroy(&attributes);
	sem_init(&all->sem, 1, 1);
	pthread_rwlockattr_init(&shared);
	pthread_rwlockattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
	pthread_rwlock_init(&all->plain, &shared);
	pthread_rwlockattr_destroy(&shared);
	return all;
}

/* One loop each: with a function pointer the call would be measured too. */
#define LOOP(name, take, give) \
	static void name##_loop(struct objects *o, unsigned times) \
	{ \
		while (times--) { \
			must(take); \
			give; \
		} \
	} \
	static void name##_side(void *shared, unsigned number) { (void)number; name##_loop(shared, EACH); } \
	static double name##_two(void) { return bench_two(name##_side, name##_side, objects()) / (2 * EACH); } \
	static double name(void) \
	{ \
		struct objects *o = objects(); \
		crew_time from = crew_now(); \
		name##_loop(o, TIMES); \
		return per_one(from, TIMES); \
	}

LOOP(crew, crew_lock_acquire(&o->lock, CREW_FOREVER), crew_lock_release(&o->lock))
LOOP(mutex, -pthread_mutex_lock(&o->mutex), pthread_mutex_unlock(&o->mutex))
LOOP(robust, -pthread_mutex_lock(&o->robust), pthread_mutex_unlock(&o->robust))
LOOP(sem, sem_wait(&o->sem), sem_post(&o->sem))
LOOP(crew_read, crew_rwlock_read(&o->rwlock, CREW_FOREVER), crew_rwlock_release(&o->rwlock))
LOOP(plain_read, -pthread_rwlock_rdlock(&o->plain), pthread_rwlock_unlock(&o->plain))
LOOP(crew_write, crew_rwlock_write(&o->rwlock, CREW_FOREVER), crew_rwlock_release(&o->rwlock))
LOOP(plain_write, -pthread_rwlock_wrlock(&o->plain), pthread_rwlock_unlock(&o->plain))

#ifdef CREW_WITH_BOOST
extern double boost_mutex(void), boost_mutex_two(void);
#else
#define boost_mutex NULL
#define boost_mutex_two NULL
#endif

const struct measure bench_lock[] = {
	{ "lock: free", crew, {
		{ "pthread mutex, shared", mutex, .most = 0.9 },
		{ "pthread mutex, robust and shared", robust, .most = 0.9 },
		{ "sem_t", sem },
		{ "Boost.Interprocess mutex", boost_mutex, .package = "libboost-dev", .most = 0.9 } } },
	{ "lock: two processes want it", crew_two, {
		{ "pthread mutex, shared", mutex_two, .most = 1 },
		{ "pthread mutex, robust and shared", robust_two, .most = 1 },
		{ "sem_t", sem_two, .most = 1 },
		{ "Boost.Interprocess mutex", boost_mutex_two, .package = "libboost-dev", .most = 1 } }, .two = true },
	{ "rwlock: to read, alone", crew_read, { { "pthread_rwlock", plain_read } } },
	{ "rwlock: to read, two processes", crew_read_two, { { "pthread_rwlock", plain_read_two, .most = 0.3 } }, .two = true },
	{ "rwlock: to write, alone", crew_write, { { "pthread_rwlock", plain_write } } },
	{ "rwlock: to write, two processes", crew_write_two, { { "pthread_rwlock", plain_write_two } }, .two = true },
	{ 0 }
};
