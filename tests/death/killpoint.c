/* killpoint.c - see killpoint.h: what is done with a row, and how much of it */
#include "death/killpoint.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <crew/crew.h>
#include "death/memory.h"
#include "death/victim.h"
#include "region/lane.h"

#define LONG 20.0 /* seconds for each script, with CREW_TEST_LONG: enough for all of nearly all rows */

/* What has been done with a row. */
struct tally {
	int points, classes;                /* of the operation */
	int killed, frozen, resumed, doubled;
	int held_up;                        /* times that others had to wait for the frozen one */
};

struct row {
	const struct killpoint *point;
	void *shared;
	struct way way;
	struct tally tally;
	bool all;
};

/* ---- a part of many, evenly ---- */

struct stride {
	int count, at, done, by, least; /* ... done however slow the machine is */
	crew_time until;
};

static int common_divisor(int a, int b)
{
	return b ? common_divisor(b, a % b) : a;
}

/* A stride near the golden section, without a common divisor with count, visits all, evenly at any time. */
static struct stride stride(const struct row *row, int count, int least, double seconds)
{
	struct stride stride = { .count = count, .least = least, .by = 1 + (int)((int64_t)count * 618 / 1000),
		.until = crew_after((crew_time)((row->all ? LONG : seconds) * (double)CREW_SECOND)) };
	while (common_divisor(stride.by, count) > 1)
		stride.by++;
	stride.at = (int)((uint64_t)crew_now() / 1000 % (uint64_t)count);
	return stride;
}

static bool next(struct stride *stride, int *ret)
{
	if (stride->done == stride->count || (stride->done >= stride->least && crew_now() >= stride->until))
		return false;
	*ret = stride->at;
	stride->at = (int)(((int64_t)stride->at + stride->by) % stride->count);
	stride->done++;
	return true;
}

/* ---- victims ---- */

static void prepare(struct row *row, struct victim *victim)
{
	*victim = (struct victim){ .prepare = row->point->prepare, .operation = row->point->operation, .shared = row->shared };
}

static int start(struct row *row, struct victim *victim)
{
	prepare(row, victim);
	if (row->point->before)
		row->point->before(row->shared);
	return victim_start(victim);
}

/* Start it and lead it to point `at`; whether it came there, rather than to the end. */
static bool lead(struct row *row, struct victim *victim, int at, const char *what)
{
	harness_context("%s at instruction %d of %d", what, at, row->tally.points);
	ck_assert_int_eq(start(row, victim), 0);
	return victim_go_to(victim, &row->way, at);
}

static int record(struct row *row)
{
	struct victim victim;
	int r = start(row, &victim);
	if (r < 0)
		return r;
	harness_context("at the end");
	victim_record(&victim, &row->way, row->point->watch);
	row->tally.points = row->way.count;
	row->tally.classes = row->way.classes;
	victim_kill(&victim);
	victim_bury(&victim);
	row->point->check(row->shared, true);
	return 0;
}

/*
 * Unless the dead are swept already, those who sleep may find out at the end of a slice, and see that the word had changed before: for the
 * library that looks like a wake-up lost, but it is not.
 */
static void check(struct row *row, bool completed, bool swept)
{
	uint64_t late = crew__family.region->late;
	row->point->check(row->shared, completed);
	if (!swept)
		crew__family.region->late = late;
}

/* Look at what it left: buried first, or, now and then, still a zombie that nobody has swept. */
static void kill_at(struct row *row, int at)
{
	struct victim victim;
	bool completed = !lead(row, &victim, at, "killed"), buried = row->tally.killed % 8 != 0;
	victim_kill(&victim);
	if (buried)
		victim_bury(&victim);
	check(row, completed, buried);
	if (!buried)
		victim_bury(&victim);
	row->tally.killed++;
}

/* ---- others, in a thread ---- */

static struct {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	int order;            /* what it shall do: 0, 1; -1: nothing; -2: end */
	bool done;
	struct crew__lane *lane;
} other = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void *be_other(void *argument)
{
	struct row *row = argument;
	ck_assert_int_eq(crew__lane_self(&other.lane), 0);
	pthread_mutex_lock(&other.mutex);
	for (;;) {
		while (other.order == -1)
			pthread_cond_wait(&other.changed, &other.mutex);
		int order = other.order;
		if (order == -2)
			break;
		pthread_mutex_unlock(&other.mutex);
		row->point->others(row->shared, order);
		pthread_mutex_lock(&other.mutex);
		other.order = -1;
		__atomic_store_n(&other.done, true, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&other.mutex);
	return NULL;
}

static void tell_other(int order)
{
	pthread_mutex_lock(&other.mutex);
	other.order = order;
	other.done = false;
	pthread_cond_signal(&other.changed);
	pthread_mutex_unlock(&other.mutex);
}

static bool other_is_done(void)
{
	return __atomic_load_n(&other.done, __ATOMIC_ACQUIRE);
}

/* Give it time to do its work, or to go to sleep for what the victim holds. */
static void watch_other(bool shall_end)
{
	for (int turn = 0; !other_is_done() && turn < 300; turn++)
		sched_yield();
	for (int turn = 0; !other_is_done() && turn < 30; turn++) {
		harness_pause();
		if (!shall_end && other.lane && __atomic_load_n(&other.lane->asleep_on, __ATOMIC_ACQUIRE))
			break;
	}
	if (shall_end)
		await(other_is_done());
}

/* Whether those who look for the dead take it for one. (Sweep nobody else: that might wait for what it holds.) */
static bool is_reaped(const struct victim *victim)
{
	struct crew__lane *lane;
	for (uint32_t n = 1; (lane = crew__lane_at(n)); n++)
		if (lane->tid == (uint32_t)victim->pid && crew__lane_reap(crew__lane_id(lane)))
			return true;
	return false;
}

static void freeze_at(struct row *row, int at, int order, bool resume)
{
	struct victim victim;
	bool completed = !lead(row, &victim, at, resume ? "resumed" : "frozen, then killed,");
	tell_other(order);
	watch_other(row->point->lock_free);
	row->tally.held_up += !other_is_done();
	ck_assert_msg(!is_reaped(&victim), "whoever is stopped was taken for dead");
	if (resume && !completed) {
		ck_assert_msg(victim_go_on(&victim), "it does not come to its end");
		completed = true;
	}
	victim_kill(&victim);
	int *count = resume ? &row->tally.resumed : &row->tally.frozen;
	bool swept = ++*count % 4; /* else they find out themselves */
	uint64_t late = crew__family.region->late;
	if (swept)
		crew__lane_reap_all();
	await(other_is_done());
	check(row, completed, swept);
	if (!swept)
		crew__family.region->late = late;
	victim_bury(&victim);
}

static void freeze(struct row *row, double seconds)
{
	if (!row->point->others)
		return;
	ck_assert_int_eq(pthread_create(&other.thread, NULL, be_other, (other.order = -1, row)), 0);
	int n;
	for (struct stride s = stride(row, row->way.classes * 2, 4, seconds / 2); next(&s, &n);)
		freeze_at(row, row->way.class[n / 2], n % 2, false);
	for (struct stride s = stride(row, row->way.count * 2, 4, seconds / 2); next(&s, &n);)
		freeze_at(row, n / 2, n % 2, true);
	tell_other(-2);
	pthread_join(other.thread, NULL);
}

/* ---- the sweeper is killed ---- */

static void join_family(void *shared)
{
	struct crew__lane *lane;
	(void)shared;
	if (crew__lane_self(&lane) < 0)
		_exit(9);
}

static void sweep(void *shared)
{
	(void)shared;
	crew__lane_reap_all();
}

/*
 * A sweeper, started and standing before the sweep, and a victim, killed at point `at`. The next who sweeps meets first the one that was
 * started first, so with every other point this is the victim.
 */
static bool prepare_double(struct row *row, struct victim *victim, struct victim *sweeper, int at)
{
	*sweeper = (struct victim){ .prepare = join_family, .operation = sweep };
	prepare(row, victim);
	if (row->point->before)
		row->point->before(row->shared);
	ck_assert_int_eq(victim_start(at % 2 ? sweeper : victim), 0);
	ck_assert_int_eq(victim_start(at % 2 ? victim : sweeper), 0);
	bool completed = !victim_go_to(victim, &row->way, at);
	victim_kill(victim);
	return completed;
}

/* Both are dead. */
static void check_double(struct row *row, struct victim *victim, struct victim *sweeper, bool completed)
{
	bool swept = row->tally.doubled % 4;
	if (swept) {
		crew__lane_reap_all();
		crew__lane_reap_all(); /* the first may have met the victim before its sweeper */
	}
	check(row, completed, swept);
	victim_bury(victim);
	victim_bury(sweeper);
}

static void kill_sweeper_at(struct row *row, int at, const struct way *way, int index)
{
	struct victim victim, sweeper;
	harness_context("killed at instruction %d of %d, its sweeper at %d of %d", at, row->way.count, index, way->count);
	bool completed = prepare_double(row, &victim, &sweeper, at);
	victim_go_to(&sweeper, way, index);
	victim_kill(&sweeper);
	row->tally.doubled++;
	check_double(row, &victim, &sweeper, completed);
}

static void double_kill(struct row *row, double seconds)
{
	if (row->point->single)
		return;
	int n, m;
	for (struct stride s = stride(row, row->way.classes, 1, seconds); next(&s, &n);) {
		int at = row->way.class[n];
		struct victim victim, sweeper;
		struct way way;
		harness_context("killed at instruction %d of %d, its sweeper behind the sweep", at, row->way.count);
		bool completed = prepare_double(row, &victim, &sweeper, at);
		victim_record(&sweeper, &way, NULL);
		victim_kill(&sweeper);
		check_double(row, &victim, &sweeper, completed);
		for (struct stride t = stride(row, way.classes, 1, seconds / 8); next(&t, &m);)
			kill_sweeper_at(row, at, &way, way.class[m]);
		way_free(&way);
	}
}

/* ---- */

int killpoint(const struct killpoint *point, void *shared)
{
	struct row row = { .point = point, .shared = shared, .all = getenv("CREW_TEST_LONG") };
	double seconds = point->seconds > 0 ? point->seconds : 0.4;
	int r = record(&row), n;
	if (r < 0)
		return r;
	for (struct stride s = stride(&row, row.way.count, 12, seconds / 3); next(&s, &n);)
		kill_at(&row, n);
	freeze(&row, seconds / 3);
	double_kill(&row, seconds / 3);
	harness_context("%s", "");
	way_free(&row.way);
	memory_forget();
	const struct tally *t = &row.tally;
	printf("# killed %s: %d points, %d classes: %d kills, %d frozen, %d resumed, %d double kills, %d held up\n",
		point->name ? point->name : "?", t->points, t->classes, t->killed, t->frozen, t->resumed, t->doubled, t->held_up);
	return row.tally.killed;
}
