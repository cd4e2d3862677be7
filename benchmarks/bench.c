/*
 * bench.c - run the measures and compare: ./bench [NAME...] [--json]
 *
 * Medians of several rounds, crew and each rival in turn within a round, so that a
 * machine that gets slower or faster does so for all. Absolute times say
 * little about another machine; ratios say more: crew's time over the rival's, and what was set out to be reached.
 */
#include "bench.h"

#include <argp.h>
#include <err.h>
#include <jansson.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 5, RIVALS = sizeof ((struct measure *)NULL)->rivals / sizeof(struct rival), NAMES_MAX = 32 };

static struct { const char *names[NAMES_MAX]; unsigned count; bool json; } wanted;

static error_t parse(int key, char *argument, struct argp_state *state)
{
	switch (key) {
	case 'j':
		wanted.json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (wanted.count == NAMES_MAX)
			argp_error(state, "at most %d names", NAMES_MAX);
		wanted.names[wanted.count++] = argument;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static bool is_wanted(const char *name)
{
	for (unsigned i = 0; i < wanted.count; i++)
		if (strstr(name, wanted.names[i]))
			return true;
	return wanted.count == 0;
}

void bench_must(int result, const char *call)
{
	if (result != 0)
		errx(1, "%s: %s", call, crew_strerror(result));
}

void *bench_shared(size_t size)
{
	void *memory;
	must(crew_alloc_aligned((size + 127) & ~(size_t)127, 128, &memory));
	memset(memory, 0, size);
	return memory;
}

static cpu_set_t usable; /* before anything was pinned */

void bench_pin(unsigned nth)
{
	cpu_set_t one;
	CPU_ZERO(&one);
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &usable) && nth-- == 0)
			CPU_SET(cpu, &one);
	must(sched_setaffinity(0, sizeof one, &one) < 0 ? -errno : 0);
}

struct two { void (*there)(void *, unsigned); void *shared; uint32_t *ready; };

/* Both have come here `times` times. */
static void meet(uint32_t *ready, uint32_t times)
{
	__atomic_add_fetch(ready, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(ready, __ATOMIC_SEQ_CST) < 2 * times)
		;
}

static int run_there(void *argument, size_t size)
{
	struct two *two = argument;
	(void)size;
	bench_pin(1);
	meet(two->ready, 1);
	two->there(two->shared, 1);
	meet(two->ready, 2);
	return 0;
}

double bench_two(void (*here)(void *, unsigned), void (*there)(void *, unsigned), void *shared)
{
	static uint32_t *ready;
	struct crew_process *process;
	struct crew_status status;
	if (!ready)
		ready = bench_shared(sizeof *ready);
	*ready = 0;
	bench_pin(0);
	must(crew_process_start(&process, &(struct crew_process_options){ .function = run_there,
		.argument = &(struct two){ there, shared, ready }, .argument_size = sizeof(struct two) }));
	meet(ready, 1);
	crew_time from = crew_now();
	here(shared, 0);
	meet(ready, 2);
	crew_time taken = crew_now() - from;
	must(crew_process_join(process, CREW_FOREVER, &status));
	must(status.state == CREW_EXITED && status.code == 0 ? 0 : -EREMOTEIO);
	must(crew_process_close(process));
	sched_setaffinity(0, sizeof usable, &usable);
	return (double)taken / 1e9;
}

double bench_python(const char *command)
{
	char line[4096];
	double seconds;
	snprintf(line, sizeof line, "exec python3 '" CREW_SOURCE "/benchmarks/'%s", command);
	FILE *script = popen(line, "r");
	if (!script || fscanf(script, "%lf", &seconds) != 1 || pclose(script) != 0)
		errx(1, "benchmarks/%s failed", command);
	return seconds;
}

static bool in_path(const char *program)
{
	char *path = strdup(getenv("PATH") ? getenv("PATH") : "/bin:/usr/bin"), file[4096];
	bool found = false;
	for (char *save, *dir = strtok_r(path, ":", &save); dir && !found; dir = strtok_r(NULL, ":", &save)) {
		snprintf(file, sizeof file, "%s/%s", dir, program);
		found = access(file, X_OK) == 0;
	}
	free(path);
	return found;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *values)
{
	qsort(values, ROUNDS, sizeof *values, by_value);
	return values[ROUNDS / 2];
}

/* 1.23 us, and the like. */
static const char *seconds_text(double seconds, char *text, size_t size)
{
	static const char *const units[] = { "s", "ms", "us", "ns" };
	unsigned unit = 0;
	for (; seconds < 1 && unit < 3; unit++)
		seconds *= 1000;
	snprintf(text, size, "%.*f %s", seconds < 10 ? 2 : seconds < 100 ? 1 : 0, seconds, units[unit]);
	return text;
}

/* Whether that rival can run; if not, why goes into `missing`. */
static bool is_present(const struct measure *measure, const struct rival *rival, json_t *missing)
{
	if (!rival->name)
		return false;
	if (rival->run && (!rival->program || in_path(rival->program)))
		return true;
	json_array_append_new(missing, json_sprintf("%s: %s: not installed, it comes with the package %s",
		measure->name, rival->name, rival->package));
	return false;
}

static void run(const struct measure *measure, json_t *rows, json_t *missing)
{
	double crew[ROUNDS], other[RIVALS][ROUNDS];
	bool present[RIVALS];
	if (measure->two && crew_cpus() < 2) {
		json_array_append_new(missing, json_sprintf("%s: needs two CPUs", measure->name));
		return;
	}
	for (unsigned i = 0; i < RIVALS; i++)
		present[i] = is_present(measure, &measure->rivals[i], missing);
	for (unsigned round = 0; round < ROUNDS; round++) {
		crew[round] = measure->crew();
		for (unsigned i = 0; i < RIVALS; i++)
			if (present[i])
				other[i][round] = measure->rivals[i].run();
	}
	double ours = median(crew);
	for (unsigned i = 0; i < RIVALS; i++) {
		const struct rival *rival = &measure->rivals[i];
		if (!present[i])
			continue;
		double theirs = median(other[i]), ratio = ours / theirs;
		char a[32], b[32], most[32] = "";
		if (rival->most > 0)
			snprintf(most, sizeof most, "%.2f %s", rival->most, ratio <= rival->most ? "yes" : "no");
		if (!wanted.json) {
			printf("%-34s %10s  %-34s %10s %8.3f  %s\n", measure->name, seconds_text(ours, a, sizeof a),
				rival->name, seconds_text(theirs, b, sizeof b), ratio, most);
			fflush(stdout);
		}
		json_array_append_new(rows, json_pack("{s:s, s:f, s:s, s:f, s:f, s:o}", "measure", measure->name,
			"crew_seconds", ours, "rival", rival->name, "rival_seconds", theirs, "ratio", ratio,
			"at_most", rival->most > 0 ? json_real(rival->most) : json_null()));
	}
}

int main(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "json", 'j', NULL, 0, "Print one JSON object instead of a table", 0 }, { 0 } };
	static const struct argp argp = { options, parse, "[NAME...]",
		"Compare crew with its rivals: all measures, or those whose names contain a NAME.", NULL, NULL, NULL };
	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	must(sched_getaffinity(0, sizeof usable, &usable) < 0 ? -errno : 0);
	must(crew_init(NULL));

	const struct measure *const lists[] = { bench_lock, bench_sync, bench_heap, bench_start, bench_message, bench_queue, bench_stream,
		bench_map, bench_pool };
	json_t *rows = json_array(), *missing = json_array(), *text;
	bool any = false;
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		for (const struct measure *measure = lists[i]; measure->name; measure++) {
			if (!is_wanted(measure->name))
				continue;
			if (!any && !wanted.json)
				printf("%-34s %10s  %-34s %10s %8s  %s\n", "measure", "crew", "rival", "", "ratio", "to reach");
			any = true;
			run(measure, rows, missing);
		}
	crew_fini();
	if (!any)
		errx(2, "no measure has such a name");
	size_t i;
	if (wanted.json) {
		json_t *top = json_pack("{s:s, s:s, s:O, s:O}", "program", "bench", "version", crew_version(),
			"rows", rows, "missing", missing);
		json_dumpf(top, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
		puts("");
		json_decref(top);
	} else {
		json_array_foreach(missing, i, text)
			printf("%s\n", json_string_value(text));
		puts("ratio: crew's time over the rival's; below 1, crew is faster");
	}
	json_decref(rows);
	json_decref(missing);
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
