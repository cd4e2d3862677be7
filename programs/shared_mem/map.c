/*
 * map.c - a map that all read and write: the workloads A, B and C of YCSB
 *
 * Records of 104 bytes; which one is wanted next follows Zipf's law with skew 0.99, so a few are wanted by everybody (Cooper
 * and others: Benchmarking Cloud Serving Systems with YCSB, SoCC 2010). A changes every second record that it
 * wants, B one of twenty, C none. A change raises a number in the record. In the end the numbers must add up to
 * the changes that were made, also if workers were killed while they made them (--chaos): one that dies inside
 * crew_map_update has made its change or has not, and no reader ever sees half a record.
 */
#include "random.h"
#include "rival.h"
#include "shared_mem.h"
#include "start.h"
#include "stats.h"
#include "zipf.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SKEW 0.99
#define MOST 4096u

struct record {
	uint64_t key, changes;
	unsigned char filler[88]; /* made from the two: a torn record does not go unseen */
};

struct store {
	struct crew_map map;
	struct zipf keys;
	uint64_t operations, seed; /* operations of each worker */
	unsigned changes_percent;
	struct worker {
		_Alignas(LINE) uint64_t done; /* operations: the next life goes on from here */
		uint64_t changes, wrong;
		struct span span;
	} worker[MOST];
};

static void fill(struct record *record)
{
	memset(record->filler, (int)((record->key * 31 + record->changes) & 0xff), sizeof record->filler);
}

static bool is_whole(const struct record *record, uint64_t key)
{
	struct record wanted = { .key = key, .changes = record->changes };
	fill(&wanted);
	return memcmp(&wanted, record, sizeof wanted) == 0;
}

static int raise_changes(void *context, struct crew_map_change *change)
{
	(void)context;
	struct record *record = change->value;
	if (change->old_size != sizeof *record)
		return -EINVAL;
	record->changes++;
	fill(record);
	change->size = sizeof *record;
	return CREW_MAP_STORE;
}

static int work(const void *argument, void *result, void *context)
{
	(void)result;
	struct store *store = context;
	uint32_t number = *(const uint32_t *)argument;
	struct worker *me = &store->worker[number];
	if (me->span.begin == 0)
		me->span.begin = stats_clock();
	for (; me->done < store->operations; me->done++) {
		struct rng rng = rng_of(store->seed + number, me->done);
		uint64_t key = rng_mix(zipf_next(&store->keys, &rng)) % store->keys.n; /* the popular ones are no neighbours */
		int r;
		if (rng_below(&rng, 100) < store->changes_percent) {
			r = crew_map_update(&store->map, &key, sizeof key, sizeof(struct record), raise_changes, NULL);
			me->changes += r == 0;
		} else {
			struct record record;
			size_t size;
			r = crew_map_get(&store->map, &key, sizeof key, &record, sizeof record, &size, NULL);
			me->wrong += r == 0 && (size != sizeof record || !is_whole(&record, key));
		}
		if (r < 0)
			return r;
	}
	me->span.end = stats_clock();
	return 0;
}

static int add_changes(void *context, const void *key, size_t key_size, const void *value, size_t size)
{
	struct { uint64_t records, changes, wrong; } *sum = context;
	const struct record *record = value;
	sum->records++;
	sum->changes += record->changes;
	sum->wrong += key_size != sizeof(uint64_t) || size != sizeof *record || !is_whole(record, *(const uint64_t *)key);
	return 0;
}

static double play(struct store *store, const char *name, unsigned changes_percent, uint64_t operations)
{
	unsigned workers = cli.workers < MOST ? cli.workers : MOST;
	crew_ticket ticket[MOST];
	memset(store->worker, 0, sizeof store->worker);
	struct { uint64_t records, changes, wrong; } before = { 0 }, after = { 0 };
	must("crew_map_each", crew_map_each(&store->map, add_changes, &before));
	store->operations = operations / workers;
	store->changes_percent = changes_percent;
	struct crew_pool *pool = start_pool(&cli, &(struct crew_pool_options){ .workers = workers, .context = store, .name = "worker" });
	for (uint32_t i = 0; i < workers; i++)
		must("crew_pool_submit", crew_pool_submit(pool, &(struct crew_task){ .function = work, .argument = &i,
			.argument_size = sizeof i, .index = i, .attempts = 1000000 }, &ticket[i], CREW_FOREVER));
	for (uint32_t i = 0; i < workers; i++) {
		int r = crew_pool_wait(pool, ticket[i], NULL, crew_after(PATIENCE), NULL);
		report_check(report, r == 0, "%s: %s", name, crew_strerror(r));
	}
	struct crew_pool_stats stats;
	crew_pool_stats(pool, &stats);
	crew_pool_terminate(pool);

	must("crew_map_each", crew_map_each(&store->map, add_changes, &after));
	uint64_t changes = 0, wrong = 0, made = after.changes - before.changes;
	double begin = store->worker[0].span.begin, end = store->worker[0].span.end;
	for (unsigned i = 0; i < workers; i++) {
		const struct worker *w = &store->worker[i];
		changes += w->changes;
		wrong += w->wrong;
		begin = w->span.begin < begin ? w->span.begin : begin;
		end = w->span.end > end ? w->span.end : end;
	}
	operations = store->operations * workers;
	struct json_t *line = row(name, operations * sizeof(struct record), end - begin);
	report_real(line, "operation_ns", (end - begin) / (double)operations * 1e9);
	report_uint(line, "changes", changes);
	report_uint(line, "deaths", stats.deaths);
	report_check(report, wrong + after.wrong == 0, "%s: %" PRIu64 " records were torn", name, wrong + after.wrong);
	report_check(report, after.records == store->keys.n, "%s: %" PRIu64 " records instead of %" PRIu64, name, after.records,
		store->keys.n);
	/* Who dies between its change and its own note of it has made one more. */
	report_check(report, made >= changes && made <= changes + stats.deaths, "%s: %" PRIu64 " changes were noted, %" PRIu64
		" are in the map, %" PRIu64 " workers died", name, changes, made, stats.deaths);
	return (end - begin) / (double)operations;
}

/* Seconds for an operation of CPython's Manager().dict(), half of them reads, by as many processes. NaN: not to be had. */
static double python_dict(void)
{
	static const char script[] =
		"import sys, time, random, multiprocessing as mp\n"
		"def work(d, n, i):\n"
		"    r = random.Random(i)\n"
		"    for j in range(n):\n"
		"        k = r.randrange(1000)\n"
		"        if j % 2: d[k] = bytes(104)\n"
		"        else: d[k]\n"
		"if __name__ == '__main__':\n"
		"    workers, n = int(sys.argv[1]), 2000\n"
		"    mp.set_start_method('fork')\n"
		"    with mp.Manager() as m:\n"
		"        d = m.dict({k: bytes(104) for k in range(1000)})\n"
		"        team = [mp.Process(target=work, args=(d, n, i)) for i in range(workers)]\n"
		"        begin = time.monotonic()\n"
		"        for p in team: p.start()\n"
		"        for p in team: p.join()\n"
		"        print((time.monotonic() - begin) / n / workers)\n";
	char workers[16];
	snprintf(workers, sizeof workers, "%u", cli.workers);
	char *text = rival_run((const char *const[]){ "python3", "-c", script, workers, NULL });
	double seconds = text ? strtod(text, NULL) : NAN;
	free(text);
	return seconds;
}

void show_map(uint64_t records, uint64_t operations)
{
	struct store *store = shared(1, sizeof *store);
	store->keys = zipf_of(records, SKEW);
	store->seed = cli.seed;
	report_say(report, "A map of %" PRIu64 " records, read and changed by %u processes\n", records, cli.workers);
	for (uint64_t key = 0; key < records; key++) {
		struct record record = { .key = key };
		fill(&record);
		must("crew_map_put", crew_map_put(&store->map, &key, sizeof key, &record, sizeof record));
	}
	double ours = play(store, "map, YCSB A: half are changes", 50, operations);
	play(store, "map, YCSB B: one of twenty", 5, operations);
	play(store, "map, YCSB C: reads alone", 0, operations);
	if (cli.baseline) {
		double theirs = python_dict();
		if (theirs > 0) {
			struct json_t *line = row("map, CPython Manager dict", sizeof(struct record), theirs);
			report_real(line, "operation_ns", theirs * 1e9);
			report_real(line, "ratio", theirs / ours);
		}
	}
	crew_map_fini(&store->map);
	crew_free(store);
	report_table(report);
	report_say(report, "\n");
}
