/*
 * scan.c - prefix combination in two passes: the totals of the chunks, then each chunk from the total before it
 *
 * A chunk reads `from` and writes `to`, which never overlap, so it may be run again. A single chunk is done by the
 * caller itself: handing it over would cost more.
 */
#include <stdlib.h>
#include <string.h>
#include "base/sys.h"
#include "parallel/parallel.h"

#define LEAST 4096 /* elements in a chunk whose length is not given */

/* What a chunk starts from follows it: the total before it, or the identity. */
struct sweep {
	const char *from;
	char *to;
	size_t count, size;
	crew_combine_fn *combine;
	void *context;
	uint32_t exclusive;
	uint32_t first; /* and inclusive: it starts from its own first element */
};

struct scan_grid {
	struct crew__grid grid;
	struct crew__cut cut;
	struct sweep sweep; /* of chunk 0, then the one being put */
	const char *from;
	char *to;
	char *totals;       /* of chunk i; after the first pass: of all before it */
};

static int run_total(const void *argument, void *result, void *pool_context)
{
	const struct sweep *s = argument;
	(void)pool_context;
	memcpy(result, s->from, s->size);
	for (size_t i = 1; i < s->count; i++)
		s->combine(result, s->from + i * s->size, s->context);
	return 0;
}

static int run_sweep(const void *argument, void *result, void *pool_context)
{
	const struct sweep *s = argument;
	char *sum = crew__malloc(s->size);
	(void)result;
	(void)pool_context;
	if (!sum)
		return -ENOMEM;
	memcpy(sum, s + 1, s->size);
	for (size_t i = 0; i < s->count; i++) {
		const char *from = s->from + i * s->size;
		char *to = s->to + i * s->size;
		if (s->exclusive)
			crew__put(to, sum, s->size);
		if (s->first && i == 0)
			crew__put(sum, from, s->size);
		else
			s->combine(sum, from, s->context);
		if (!s->exclusive)
			crew__put(to, sum, s->size);
	}
	free(sum);
	return 0;
}

static void cut_sweep(struct scan_grid *g, size_t i)
{
	size_t begin = crew__cut_begin(&g->cut, i);
	g->sweep.from = g->from + begin * g->sweep.size;
	g->sweep.to = g->to + begin * g->sweep.size;
	g->sweep.count = crew__cut_end(&g->cut, i) - begin;
	g->sweep.first = i == 0 && !g->sweep.exclusive;
}

static void *total_of(struct crew__grid *grid, size_t i)
{
	struct scan_grid *g = (struct scan_grid *)grid;
	return g->totals + i * g->sweep.size;
}

static void make_total(struct crew__grid *grid, size_t i, struct crew__piece *ret)
{
	struct scan_grid *g = (struct scan_grid *)grid;
	cut_sweep(g, i);
	ret->task = (struct crew_task){ .function = run_total, .argument = &g->sweep, .argument_size = sizeof g->sweep,
		.result_size = g->sweep.size, .index = i };
}

static void make_sweep(struct crew__grid *grid, size_t i, struct crew__piece *ret)
{
	struct scan_grid *g = (struct scan_grid *)grid;
	cut_sweep(g, i);
	ret->task = (struct crew_task){ .function = run_sweep, .argument = &g->sweep, .argument_size = sizeof g->sweep, .index = i };
	ret->body = total_of(grid, i);
	ret->body_size = g->sweep.size;
}

/* From the total of each chunk to that of all before it. `sum` is room for one element. */
static void add_up(struct scan_grid *g, const void *identity, char *sum)
{
	size_t size = g->sweep.size;
	bool nothing = !g->sweep.exclusive; /* inclusive: no identity takes part */
	memcpy(sum, identity, size);
	for (size_t i = 0; i < g->cut.count; i++) {
		char *total = total_of(&g->grid, i), *next = sum + size;
		memcpy(next, sum, size);
		if (nothing)
			memcpy(next, total, size);
		else if (i + 1 < g->cut.count)
			g->sweep.combine(next, total, g->sweep.context);
		memcpy(total, sum, size);
		memcpy(sum, next, size);
		nothing = false;
	}
}

static int two_passes(struct crew_pool *pool, struct scan_grid *g, const void *identity, const struct crew_range_options *options)
{
	g->totals = crew__malloc((g->cut.count + 2) * g->sweep.size);
	if (!g->totals)
		return -ENOMEM;
	g->grid = (struct crew__grid){ .count = g->cut.count - 1, .make = make_total, .place = total_of };
	int r = crew__parallel_run(pool, &g->grid, options);
	if (r == 0) {
		add_up(g, identity, g->totals + g->cut.count * g->sweep.size);
		g->grid = (struct crew__grid){ .count = g->cut.count, .make = make_sweep };
		r = crew__parallel_run(pool, &g->grid, options);
	}
	free(g->totals);
	return r;
}

static int one_chunk(struct scan_grid *g, const void *identity)
{
	struct { struct sweep sweep; char start[]; } *argument = crew__malloc(sizeof *argument + g->sweep.size);
	if (!argument)
		return -ENOMEM;
	cut_sweep(g, 0);
	argument->sweep = g->sweep;
	memcpy(argument->start, identity, g->sweep.size);
	int r = run_sweep(argument, NULL, NULL);
	free(argument);
	return r;
}

static bool overlap(const void *a, const void *b, size_t size)
{
	return (uintptr_t)a < (uintptr_t)b + size && (uintptr_t)b < (uintptr_t)a + size;
}

int crew_scan(struct crew_pool *pool, const void *in, void *out, size_t count, size_t size, const void *identity,
		crew_combine_fn *combine, bool exclusive, const struct crew_range_options *options)
{
	void *context, *block, *copy = NULL, *made = NULL;
	size_t bytes;
	if (!pool || !size || !identity || !combine || (count && (!in || !out)) || __builtin_mul_overflow(count, size, &bytes))
		return -EINVAL;
	int r = crew__context(options, &context, &block);
	if (r < 0)
		return r;
	struct scan_grid g = {
		.cut = crew__cut(0, count, crew__cut_length(count, options ? options->grain : 0, LEAST)),
		.sweep = { .size = size, .combine = combine, .context = context, .exclusive = exclusive },
	};
	bool alone = g.cut.count <= 1;
	if (overlap(in, out, bytes) || (!alone && !crew__reaches(pool, in, bytes))) {
		r = crew_alloc(bytes, &copy);
		if (r == 0)
			in = memcpy(copy, in, bytes);
	}
	if (r == 0 && !alone && !crew__reaches(pool, out, bytes))
		r = crew_alloc(bytes, &made);
	g.from = in;
	g.to = made ? made : out;
	if (r == 0 && count)
		r = alone ? one_chunk(&g, identity) : two_passes(pool, &g, identity, options);
	if (r == 0 && made)
		memcpy(out, made, bytes);
	crew_free(made);
	crew_free(copy);
	crew_free(block);
	return r;
}
