/*
 * bench.c - run the measures and compare: ./bench [NAME...] [--json]
 *
 * Medians of several rounds, crew and each rival in turn within a round, so that a
 * machine that gets slower or faster does so for all. Absolute times say
 * little about another machine; ratios say more.
 */
#include "bench.h"

#include <argp.h>
#include <err.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 5, RIVALS = 4, NAMES_MAX = 32 };

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

static void run(const struct measure *measure, json_t *rows, json_t *missing)
{
	double crew[ROUNDS], other[RIVALS][ROUNDS];
	bool present[RIVALS];
	for (unsigned i = 0; i < RIVALS; i++) {
		const struct rival *rival = &measure->rivals[i];
		present[i] = rival->name && (!rival->program || in_path(rival->program));
		if (rival->name && !present[i])
			json_array_append_new(missing, json_sprintf("%s: %s: not installed, it comes with the package %s",
				measure->name, rival->name, rival->package));
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		crew[round] = measure->crew();
		for (unsigned i = 0; i < RIVALS; i++)
			if (present[i])
				other[i][round] = measure->rivals[i].run();
	}
	double ours = median(crew);
	for (unsigned i = 0; i < RIVALS; i++) {
		if (!present[i])
			continue;
		double theirs = median(other[i]);
		char a[32], b[32];
		if (!wanted.json) {
			printf("%-34s %10s  %-34s %10s %8.2f\n", measure->name, seconds_text(ours, a, sizeof a),
				measure->rivals[i].name, seconds_text(theirs, b, sizeof b), theirs / ours);
			fflush(stdout);
		}
		json_array_append_new(rows, json_pack("{s:s, s:f, s:s, s:f, s:f}", "measure", measure->name,
			"crew_seconds", ours, "rival", measure->rivals[i].name, "rival_seconds", theirs,
			"ratio", theirs / ours));
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
	must(crew_init(NULL));

	const struct measure *const lists[] = { bench_lock, bench_heap, bench_start, bench_message, bench_pool };
	json_t *rows = json_array(), *missing = json_array(), *text;
	bool any = false;
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		for (const struct measure *measure = lists[i]; measure->name; measure++) {
			if (!is_wanted(measure->name))
				continue;
			if (!any && !wanted.json)
				printf("%-34s %10s  %-34s %10s %8s\n", "measure", "crew", "rival", "", "ratio");
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
		puts("ratio: the rival's time over crew's; above 1, crew is faster");
	}
	json_decref(rows);
	json_decref(missing);
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
