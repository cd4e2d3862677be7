/*
 * rivals.c - what a lock, a permit, a read, a phase cost: crew beside pthread and CPython, for --baseline
 *
 * Two processes do the same many times, at the same time, on the same object: one of crew, one of pthread (process-shared, in the
 * same shared memory), one of multiprocessing. The three take turns, so that what else the machine does hits all of them.
 */
#include "rival.h"
#include "report.h"
#include "stage.h"
#include "stats.h"
#include "team.h"

#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 3
#define PAIR 2
#define PATIENCE (60 * CREW_SECOND)

struct duel {
	uint64_t turns;
	int (*turn)(struct duel *duel); /* the program's own functions: at the same address in all processes */
	struct crew_lock lock;
	struct crew_rwlock rwlock;
	struct crew_semaphore semaphore;
	struct crew_barrier barrier;
	pthread_mutex_t their_lock;
	pthread_rwlock_t their_rwlock;
	sem_t their_semaphore;
	pthread_barrier_t their_barrier;
	double begin[PAIR], end[PAIR];
};

static int lock_turn(struct duel *d)
{
	int r = crew_lock_acquire(&d->lock, CREW_FOREVER);
	if (r == 0)
		crew_lock_release(&d->lock);
	return r;
}

static int their_lock_turn(struct duel *d)
{
	return pthread_mutex_lock(&d->their_lock) || pthread_mutex_unlock(&d->their_lock);
}

static int read_turn(struct duel *d)
{
	int r = crew_rwlock_read(&d->rwlock, CREW_FOREVER);
	if (r == 0)
		crew_rwlock_release(&d->rwlock);
	return r;
}

static int their_read_turn(struct duel *d)
{
	return pthread_rwlock_rdlock(&d->their_rwlock) || pthread_rwlock_unlock(&d->their_rwlock);
}

static int permit_turn(struct duel *d)
{
	int r = crew_semaphore_acquire(&d->semaphore, CREW_FOREVER);
	return r < 0 ? r : crew_semaphore_release(&d->semaphore);
}

static int their_permit_turn(struct duel *d)
{
	return sem_wait(&d->their_semaphore) || sem_post(&d->their_semaphore);
}

static int phase_turn(struct duel *d)
{
	return crew_barrier_wait(&d->barrier, NULL, CREW_FOREVER);
}

static int their_phase_turn(struct duel *d)
{
	int r = pthread_barrier_wait(&d->their_barrier);
	return r && r != PTHREAD_BARRIER_SERIAL_THREAD;
}

static const struct discipline {
	const char *name;
	int (*ours)(struct duel *duel), (*theirs)(struct duel *duel);
	uint64_t turns;
} disciplines[] = {
	{ "lock, two at it", lock_turn, their_lock_turn, 400000 },
	{ "read lock, two readers", read_turn, their_read_turn, 400000 },
	{ "permit, one for two", permit_turn, their_permit_turn, 100000 },
	{ "phase of two", phase_turn, their_phase_turn, 5000 },
};
enum { DISCIPLINES = sizeof disciplines / sizeof *disciplines };

static int fight(void *shared, unsigned number)
{
	struct duel *duel = shared;
	duel->begin[number] = stats_clock();
	for (uint64_t i = 0; i < duel->turns; i++)
		if (duel->turn(duel) != 0)
			return 1;
	duel->end[number] = stats_clock();
	return 0;
}

static void prepare(struct duel *duel)
{
	pthread_mutexattr_t mutex;
	pthread_rwlockattr_t rwlock;
	pthread_barrierattr_t barrier;
	crew_semaphore_init(&duel->semaphore, 1);
	crew_barrier_init(&duel->barrier, PAIR, 0);
	pthread_mutexattr_init(&mutex);
	pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&duel->their_lock, &mutex);
	pthread_rwlockattr_init(&rwlock);
	pthread_rwlockattr_setpshared(&rwlock, PTHREAD_PROCESS_SHARED);
	pthread_rwlock_init(&duel->their_rwlock, &rwlock);
	pthread_barrierattr_init(&barrier);
	pthread_barrierattr_setpshared(&barrier, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&duel->their_barrier, &barrier, PAIR);
	sem_init(&duel->their_semaphore, 1, 1);
}

/* Seconds for one turn of each, all objects new: their members are gone. */
static double seconds_for(struct report *report, const char *name, int (*turn)(struct duel *duel), uint64_t turns)
{
	struct duel *duel;
	int r = crew_alloc_zeroed(sizeof *duel, (void **)&duel);
	if (r < 0)
		cli_lack("crew_alloc: %s", crew_strerror(r));
	prepare(duel);
	duel->turn = turn;
	duel->turns = turns;
	unsigned failed = team_join(team_start(PAIR, "duellist", fight, duel), crew_after(PATIENCE));
	report_check(report, failed == 0, "%s: %u of %u gave up", name, failed, PAIR);
	double begin = duel->begin[0] < duel->begin[1] ? duel->begin[0] : duel->begin[1];
	double end = duel->end[0] > duel->end[1] ? duel->end[0] : duel->end[1];
	crew_free(duel);
	return (end - begin) / (double)turns / PAIR;
}

/* The same with CPython; it has no read lock. False: not to be had. */
static bool python_seconds(double ret[DISCIPLINES])
{
	static const char script[] =
		"import time, multiprocessing as mp\n"
		"def locked(x, n):\n"
		"    for i in range(n):\n"
		"        x.acquire(); x.release()\n"
		"def phases(x, n):\n"
		"    for i in range(n): x.wait()\n"
		"def measure(work, x, n):\n"
		"    team = [mp.Process(target=work, args=(x, n)) for i in range(2)]\n"
		"    begin = time.monotonic()\n"
		"    for p in team: p.start()\n"
		"    for p in team: p.join()\n"
		"    print((time.monotonic() - begin) / n / 2)\n"
		"mp.set_start_method('fork')\n"
		"measure(locked, mp.Lock(), 100000)\n"
		"measure(locked, mp.Semaphore(1), 100000)\n"
		"measure(phases, mp.Barrier(2), 500)\n";
	char *text = rival_run((const char *const[]){ "python3", "-c", script, NULL });
	ret[1] = NAN;
	bool good = text && sscanf(text, "%lf %lf %lf", &ret[0], &ret[2], &ret[3]) == 3;
	free(text);
	return good;
}

void show_rivals(struct report *report)
{
	double ours[DISCIPLINES][ROUNDS], theirs[DISCIPLINES][ROUNDS], python[DISCIPLINES][ROUNDS];
	bool have_python = true;
	for (unsigned round = 0; round < ROUNDS; round++) {
		double turn[DISCIPLINES];
		for (unsigned i = 0; i < DISCIPLINES; i++) {
			const struct discipline *d = &disciplines[i];
			ours[i][round] = seconds_for(report, d->name, d->ours, d->turns);
			theirs[i][round] = seconds_for(report, d->name, d->theirs, d->turns);
		}
		have_python = have_python && python_seconds(turn);
		for (unsigned i = 0; i < DISCIPLINES && have_python; i++)
			python[i][round] = turn[i];
	}
	for (unsigned i = 0; i < DISCIPLINES; i++) {
		struct json_t *row = report_row(report);
		report_str(row, "problem", "price");
		report_str(row, "version", disciplines[i].name);
		report_uint(row, "operations", disciplines[i].turns * PAIR);
		report_uint(row, "violations", 0);
		report_real(row, "seconds", stats_median(ours[i], ROUNDS) * (double)disciplines[i].turns * PAIR);
		report_real(row, "operation_ns", stats_median(ours[i], ROUNDS) * 1e9);
		report_real(row, "pthread_ratio", stats_ratio(ours[i], theirs[i], ROUNDS));
		report_real(row, "cpython_ratio", have_python ? stats_ratio(ours[i], python[i], ROUNDS) : NAN);
	}
}
