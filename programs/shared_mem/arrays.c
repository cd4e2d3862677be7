/* arrays.c - shared memory is memory: what reading and writing it costs */
#include "shared_mem.h"
#include "stats.h"

#include <stdlib.h>
#include <string.h>

struct array {
	uint64_t *words;
	uint64_t count;
	unsigned workers;
	uint64_t sum[4096];
	struct span span[4096];
};

/* Fill a part of the array, then add it up. */
static uint64_t fill_and_sum(uint64_t *words, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		words[i] = i;
	__asm__ volatile("" ::: "memory"); /* or the compiler would compute the sum and not look */
	uint64_t sum = 0;
	for (uint64_t i = from; i < to; i++)
		sum += words[i];
	return sum;
}

static int array_member(void *memory, unsigned number)
{
	struct array *a = memory;
	uint64_t from = a->count * number / a->workers, to = a->count * (number + 1) / a->workers;
	for (uint64_t i = from; i < to; i += 4096 / sizeof *a->words)
		a->words[i] = 0; /* every process maps a page when it first touches it: that is not what we measure */
	a->span[number].begin = stats_clock();
	a->sum[number] = fill_and_sum(a->words, from, to);
	a->span[number].end = stats_clock();
	return 0;
}

void show_arrays(size_t bytes)
{
	struct array *a = shared(1, sizeof *a);
	uint64_t words = bytes / sizeof *a->words, wanted = words * (words - 1) / 2;
	report_say(report, "Arrays: written and read, once each\n");

	uint64_t *private = cli_need(calloc(words, sizeof *private));
	memset(private, 1, bytes); /* as shared memory below, so that all pages are there */
	double begin = stats_clock();
	uint64_t sum = fill_and_sum(private, 0, words);
	row("array, private memory", 2 * bytes, stats_clock() - begin);
	report_check(report, sum == wanted, "private array: wrong sum");
	free(private);

	a->words = shared(words, sizeof *a->words);
	a->count = words;
	memset(a->words, 1, bytes);
	begin = stats_clock();
	sum = fill_and_sum(a->words, 0, words);
	row("array, shared memory", 2 * bytes, stats_clock() - begin);
	report_check(report, sum == wanted, "shared array: wrong sum");

	a->workers = cli.workers;
	join(team_start(a->workers, "array", array_member, a), "array");
	row("array, shared, all processes", 2 * bytes, span_of_all(a->span, a->workers));
	sum = 0;
	for (unsigned i = 0; i < a->workers; i++)
		sum += a->sum[i];
	report_check(report, sum == wanted, "array of all: wrong sum");
	crew_free(a->words);
	crew_free(a);
	report_table(report);
	report_say(report, "\n");
}
