/* sync.c - semaphores, barriers, and how soon the other side hears of something */
#include "bench.h"

#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef CREW_WITH_OPENMP
#include <omp.h>
#endif

enum { TIMES = 500000, PHASES = 50000, TRIPS = 50000, PARKED = 500 };

static struct objects {
	struct crew_semaphore semaphore;
	char apart1[112];
	struct crew_counter counter[2][16]; /* the first of each: on lines apart */
	struct crew_event event[2][16];
	struct crew_barrier barrier;
	char apart3[128];
	sem_t sem;
	char apart4[128];
	pthread_barrier_t plain;
	char apart5[128];
	uint32_t line[2][32];
	crew_time at, sum;
} *all;

static struct objects *objects(void)
{
	pthread_barrierattr_t shared;
	if (all)
		return all;
	all = bench_shared(sizeof *all);
	crew_semaphore_init(&all->semaphore, 1);
	sem_init(&all->sem, 1, 1);
	pthread_barrierattr_init(&shared);
	pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&all->plain, &shared, 2);
	pthread_barrierattr_destroy(&shared);
	return all;
}

/* ---- alone ---- */

#define LOOP(name, take, give) \
	static double name(void) \
	{ \
		struct objects *o = objects(); \
		crew_time from = crew_now(); \
		for (unsigned i = 0; i < TIMES; i++) { \
			must(take); \
			must(give); \
		} \
		return per_one(from, TIMES); \
	}

LOOP(crew_permits, crew_semaphore_acquire(&o->semaphore, CREW_FOREVER), crew_semaphore_release(&o->semaphore))
LOOP(crew_units, crew_counter_post(&o->counter[0][0], 1), crew_counter_wait(&o->counter[0][0], CREW_FOREVER))
LOOP(sem, sem_wait(&o->sem), sem_post(&o->sem))

/* ---- barrier ---- */

static void crew_party(void *shared, unsigned number)
{
	struct objects *o = shared;
	(void)number;
	for (unsigned i = 0; i < PHASES; i++)
		must(crew_barrier_wait(&o->barrier, NULL, CREW_FOREVER));
	must(crew_barrier_leave(&o->barrier));
}

static double crew_meets(void)
{
	crew_barrier_init(&objects()->barrier, 2, 0);
	return bench_two(crew_party, crew_party, all) / PHASES;
}

static void plain_party(void *shared, unsigned number)
{
	struct objects *o = shared;
	(void)number;
	for (unsigned i = 0; i < PHASES / 50; i++) /* it sleeps in each */
		pthread_barrier_wait(&o->plain);
}

static double plain_meets(void)
{
	return bench_two(plain_party, plain_party, objects()) / (PHASES / 50);
}

#ifdef CREW_WITH_OPENMP
/* In a process of its own, as its threads would stay and spin. */
static int openmp(void *argument, size_t size)
{
	(void)size;
	#pragma omp parallel num_threads(2)
	{
		bench_pin((unsigned)omp_get_thread_num());
		#pragma omp barrier
		crew_time from = crew_now();
		for (unsigned i = 0; i < PHASES; i++) {
			#pragma omp barrier
		}
		#pragma omp master
		**(double **)argument = per_one(from, PHASES);
	}
	return 0;
}

static double openmp_barrier(void)
{
	static double *seconds;
	struct crew_process *process;
	if (!seconds)
		seconds = bench_shared(sizeof *seconds);
	must(crew_process_start(&process, &(struct crew_process_options){ .function = openmp, .argument = &seconds,
		.argument_size = sizeof seconds }));
	must(crew_process_join(process, CREW_FOREVER, NULL));
	must(crew_process_close(process));
	return *seconds;
}
#else
#define openmp_barrier NULL
#endif

/* ---- there and back, both spinning: half of it is one way ---- */

#define TRIPS(name, tell, await) \
	static void name##_side(void *shared, unsigned me) \
	{ \
		struct objects *o = shared; \
		unsigned other = !me; \
		for (unsigned i = 1; i <= TRIPS; i++) { \
			if (me == 0) { \
				tell; \
			} \
			await; \
			if (me == 1) { \
				tell; \
			} \
		} \
	} \
	static double name(void) \
	{ \
		struct objects *o = objects(); \
		for (unsigned i = 0; i < 2; i++) { \
			o->line[i][0] = 0; \
			crew_event_init(&o->event[i][0], CREW_EVENT_AUTO); \
		} \
		return bench_two(name##_side, name##_side, o) / (2 * TRIPS); \
	}

TRIPS(line, __atomic_store_n(&o->line[other][0], i, __ATOMIC_RELEASE),
	while (__atomic_load_n(&o->line[me][0], __ATOMIC_ACQUIRE) != i))
TRIPS(crew_counters, must(crew_counter_post(&o->counter[other][0], 1)), must(crew_counter_wait(&o->counter[me][0], CREW_FOREVER)))
TRIPS(crew_events, must(crew_event_set(&o->event[other][0])), must(crew_event_wait(&o->event[me][0], CREW_FOREVER)))

/* ---- one way, to somebody who sleeps ---- */

static void let_it_sleep(void)
{
	for (crew_time until = crew_now() + 60 * CREW_MICROSECOND; crew_now() < until;)
		;
}

static void futex(uint32_t *word, int what, uint32_t value)
{
	syscall(SYS_futex, word, what, value, NULL, NULL, 0);
}

#define PARKED(name, tell, await) \
	static void name##_teller(void *shared, unsigned me) \
	{ \
		struct objects *o = shared; \
		for (unsigned i = 1; i <= PARKED; i++) { \
			while (__atomic_load_n(&o->line[1][0], __ATOMIC_ACQUIRE) != i - 1) \
				; \
			let_it_sleep(); \
			o->at = crew_now(); \
			tell; \
		} \
		(void)me; \
	} \
	static void name##_sleeper(void *shared, unsigned me) \
	{ \
		struct objects *o = shared; \
		o->sum = 0; \
		for (unsigned i = 1; i <= PARKED; i++) { \
			await; \
			o->sum += crew_now() - o->at; \
			__atomic_store_n(&o->line[1][0], i, __ATOMIC_RELEASE); \
		} \
		(void)me; \
	} \
	static double name(void) \
	{ \
		struct objects *o = objects(); \
		o->line[0][0] = o->line[1][0] = 0; \
		bench_two(name##_teller, name##_sleeper, o); \
		return (double)o->sum / 1e9 / PARKED; \
	}

PARKED(parked_futex, __atomic_store_n(&o->line[0][0], i, __ATOMIC_SEQ_CST); futex(&o->line[0][0], FUTEX_WAKE, 1),
	while (__atomic_load_n(&o->line[0][0], __ATOMIC_SEQ_CST) != i) futex(&o->line[0][0], FUTEX_WAIT, i - 1))
PARKED(parked_counter, must(crew_counter_post(&o->counter[0][0], 1)), must(crew_counter_wait(&o->counter[0][0], CREW_FOREVER)))

const struct measure bench_sync[] = {
	{ "semaphore: free", crew_permits, { { "sem_t", sem } } },
	{ "counter: post and wait", crew_units, { { "sem_t", sem } } },
	{ "barrier: two processes", crew_meets, {
		{ "OpenMP, two threads", openmp_barrier, .package = "libgomp", .most = 1 },
		{ "pthread_barrier", plain_meets, .most = 1 } }, .two = true },
	{ "counter: one way, both spinning", crew_counters, { { "a cache line to and fro", line, .most = 2 } }, .two = true },
	{ "event: one way, both spinning", crew_events, { { "a cache line to and fro", line, .most = 2 } }, .two = true },
	{ "counter: one way, to a sleeper", parked_counter, { { "futex", parked_futex, .most = 1.1 } }, .two = true },
	{ 0 }
};
