/* counters.c - one number that all raise: lost, protected, and apart */
#include "shared_mem.h"
#include "stats.h"

#include <inttypes.h>
#include <unistd.h>

struct counters {
	uint64_t rounds; /* for each process */
	void (*raise)(struct counters *counters, unsigned number);
	struct crew_lock lock;
	_Alignas(LINE) uint64_t one;              /* that all raise */
	_Alignas(LINE) uint64_t close[4096];      /* one each, eight in a cache line */
	struct { _Alignas(LINE) uint64_t count; } apart[4096]; /* one each, a line each */
	struct span span[4096];
};

/* Loads, adds, stores. What another process has stored in between is lost. */
static void raise_carelessly(struct counters *c, unsigned number)
{
	(void)number;
	__atomic_store_n(&c->one, __atomic_load_n(&c->one, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
}

static void raise_locked(struct counters *c, unsigned number)
{
	(void)number;
	if (crew_lock_acquire(&c->lock, CREW_FOREVER) < 0)
		_exit(1);
	c->one++;
	crew_lock_release(&c->lock);
}

static void raise_atomically(struct counters *c, unsigned number)
{
	(void)number;
	__atomic_fetch_add(&c->one, 1, __ATOMIC_RELAXED);
}

/* Each its own, so nothing is ever contended; but caches move lines, not words, and this line is wanted by all. */
static void raise_close(struct counters *c, unsigned number)
{
	__atomic_fetch_add(&c->close[number], 1, __ATOMIC_RELAXED);
}

static void raise_apart(struct counters *c, unsigned number)
{
	__atomic_fetch_add(&c->apart[number].count, 1, __ATOMIC_RELAXED);
}

static int counter_member(void *memory, unsigned number)
{
	struct counters *c = memory;
	c->span[number].begin = stats_clock();
	for (uint64_t i = 0; i < c->rounds; i++)
		c->raise(c, number);
	c->span[number].end = stats_clock();
	return 0;
}

/* One run: seconds; ret_lost is how much less than expected the counters say in the end. */
static double run_counters(void (*raise)(struct counters *, unsigned), unsigned workers, uint64_t rounds, uint64_t *ret_lost)
{
	struct counters *c = shared(1, sizeof *c);
	c->raise = raise;
	c->rounds = rounds;
	join(team_start(workers, "counter", counter_member, c), "counters");
	double seconds = span_of_all(c->span, workers);
	uint64_t sum = c->one;
	for (unsigned i = 0; i < workers; i++)
		sum += c->close[i] + c->apart[i].count;
	*ret_lost = workers * rounds - sum;
	crew_free(c);
	return seconds;
}

static struct json_t *counter_row(const char *name, unsigned workers, uint64_t rounds, double seconds, uint64_t lost)
{
	struct json_t *r = row(name, workers * rounds * sizeof(uint64_t), seconds);
	report_real(r, "operation_ns", seconds * 1e9 / (double)rounds);
	report_uint(r, "lost", lost);
	return r;
}

static void count(const char *name, void (*raise)(struct counters *, unsigned), unsigned workers, uint64_t rounds)
{
	uint64_t lost;
	double seconds = run_counters(raise, workers, rounds, &lost);
	counter_row(name, workers, rounds, seconds, lost);
	report_check(report, lost == 0, "%s: %" PRIu64 " are lost", name, lost);
}

/* A mistake need not show at once: again, until it does. */
static void count_carelessly(const char *name, unsigned workers, uint64_t rounds)
{
	uint64_t lost, runs = 0;
	double seconds = 0;
	do {
		seconds += run_counters(raise_carelessly, workers, rounds, &lost);
		runs++;
	} while (lost == 0 && seconds < RACE_SECONDS);
	struct json_t *r = counter_row(name, workers, rounds * runs, seconds, lost);
	if (lost == 0)
		report_bool(r, "not_observed", true);
}

/* The same work twice, in turn, so that what the machine does in between hits both. */
static double count_twins(unsigned workers, uint64_t rounds)
{
	enum { TURNS = 5 };
	double close[TURNS], apart[TURNS];
	uint64_t lost, lost_close = 0, lost_apart = 0;
	for (int i = 0; i < TURNS; i++) {
		close[i] = run_counters(raise_close, workers, rounds, &lost);
		lost_close += lost;
		apart[i] = run_counters(raise_apart, workers, rounds, &lost);
		lost_apart += lost;
	}
	double ratio = stats_ratio(apart, close, TURNS);
	counter_row("counters, one each, in one line", workers, rounds, stats_median(close, TURNS), lost_close);
	counter_row("counters, one each, a line each", workers, rounds, stats_median(apart, TURNS), lost_apart);
	report_check(report, lost_close + lost_apart == 0, "counters, one each: %" PRIu64 " are lost", lost_close + lost_apart);
	return ratio;
}

void show_counters(uint64_t all_rounds)
{
	unsigned workers = cli.workers < 2 ? 2 : cli.workers; /* a race needs two */
	uint64_t rounds = all_rounds / workers;
	report_say(report, "Counters: %u processes raise a number\n", workers);
	count_carelessly("counter, no protection", workers, rounds);
	count("counter, lock", raise_locked, workers, rounds / 4);
	count("counter, atomic", raise_atomically, workers, rounds);
	double ratio = count_twins(workers, rounds);
	report_table(report);
	report_say(report, "Neighbours in a cache line take %.1f times as long as strangers: false sharing. (Only processes that\n"
		"run at the same time on different cores are in each other's way.)\n\n", ratio);
}
