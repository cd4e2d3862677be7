/* map.c - eight processes read and write a map of 10,000 keys; keys as in YCSB: Zipf, 0.99 */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PROCESSES = 8, KEYS = 10000, SAMPLES = 1 << 16, TIMES = 20000 };

static struct shared {
	struct crew_map map;
	struct crew_counter ready, go, done;
	uint32_t samples[SAMPLES];
	char value[100];
} *shared;

static void prepare(void)
{
	static double until[KEYS];
	double sum = 0;
	shared = bench_shared(sizeof *shared);
	for (unsigned i = 0; i < KEYS; i++)
		until[i] = sum += 1 / pow(i + 1, 0.99);
	srand48(1);
	for (unsigned i = 0; i < SAMPLES; i++) {
		double x = drand48() * sum;
		unsigned low = 0, high = KEYS - 1;
		while (low < high) {
			unsigned middle = (low + high) / 2;
			if (until[middle] < x)
				low = middle + 1;
			else
				high = middle;
		}
		shared->samples[i] = low;
	}
	for (uint64_t key = 0; key < KEYS; key++)
		must(crew_map_put(&shared->map, &key, sizeof key, shared->value, sizeof shared->value));
}

struct order { struct shared *shared; unsigned number, reads; };

static int work(void *argument, size_t size)
{
	const struct order *order = argument;
	struct shared *s = order->shared;
	char value[100];
	(void)size;
	if (crew_counter_post(&s->ready, 1) < 0 || crew_counter_wait(&s->go, CREW_FOREVER) < 0)
		return 1;
	for (unsigned i = 0; i < TIMES; i++) {
		unsigned at = (i + order->number * (SAMPLES / PROCESSES)) % SAMPLES;
		uint64_t key = s->samples[at];
		int r = (at * 2654435761u >> 8) % 100 < order->reads ?
			crew_map_get(&s->map, &key, sizeof key, value, sizeof value, NULL, NULL) :
			crew_map_put(&s->map, &key, sizeof key, s->value, sizeof s->value);
		if (r != 0)
			return 1;
	}
	return crew_counter_post(&s->done, 1) < 0;
}

static double crew(unsigned reads)
{
	struct crew_process *process[PROCESSES];
	if (!shared)
		prepare();
	for (unsigned i = 0; i < PROCESSES; i++)
		must(crew_process_start(&process[i], &(struct crew_process_options){ .function = work,
			.argument = &(struct order){ shared, i, reads }, .argument_size = sizeof(struct order) }));
	for (unsigned i = 0; i < PROCESSES; i++)
		must(crew_counter_wait(&shared->ready, CREW_FOREVER));
	crew_time from = crew_now();
	must(crew_counter_post(&shared->go, PROCESSES));
	for (unsigned i = 0; i < PROCESSES; i++)
		must(crew_counter_wait(&shared->done, CREW_FOREVER));
	double seconds = per_one(from, PROCESSES * TIMES);
	for (unsigned i = 0; i < PROCESSES; i++) {
		struct crew_status status;
		must(crew_process_join(process[i], CREW_FOREVER, &status));
		must(status.state == CREW_EXITED && status.code == 0 ? 0 : -EREMOTEIO);
		must(crew_process_close(process[i]));
	}
	return seconds;
}

static double crew_mostly_get(void) { return crew(95); }
static double crew_half_put(void) { return crew(50); }
static double python_mostly_get(void) { return bench_python("map.py 95"); }
static double python_half_put(void) { return bench_python("map.py 50"); }

const struct measure bench_map[] = {
	{ "map: 95 % get, 5 % put, 8 processes", crew_mostly_get, {
		{ "Python Manager().dict()", python_mostly_get, "python3", "python3", .most = 0.01 } } },
	{ "map: half get, half put, 8 processes", crew_half_put, {
		{ "Python Manager().dict()", python_half_put, "python3", "python3", .most = 0.01 } } },
	{ 0 }
};
