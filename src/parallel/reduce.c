/* reduce.c - a value for each chunk, combined in order as they come in */
#include <stdlib.h>
#include <string.h>
#include "base/sys.h"
#include "parallel/parallel.h"

/* The identity follows it. */
struct fold { crew_reduce_fn *body; size_t begin, end, size; void *context; };

struct reduce_grid {
	struct crew__grid grid;
	struct crew__cut cut;
	struct fold fold;
	const void *identity;
	crew_combine_fn *combine;
	void *value; /* of the chunk that has just come in */
	void *sum;   /* of all before it */
};

static int run_fold(const void *argument, void *result, void *pool_context)
{
	const struct fold *fold = argument;
	(void)pool_context;
	memcpy(result, fold + 1, fold->size);
	return fold->body(fold->begin, fold->end, result, fold->context);
}

static void make(struct crew__grid *grid, size_t i, struct crew__piece *ret)
{
	struct reduce_grid *g = (struct reduce_grid *)grid;
	g->fold.begin = crew__cut_begin(&g->cut, i);
	g->fold.end = crew__cut_end(&g->cut, i);
	ret->task = (struct crew_task){ .function = run_fold, .argument = &g->fold, .argument_size = sizeof g->fold,
		.result_size = g->fold.size, .index = i };
	ret->body = g->identity;
	ret->body_size = g->fold.size;
}

static void *place(struct crew__grid *grid, size_t i)
{
	(void)i;
	return ((struct reduce_grid *)grid)->value;
}

static void done(struct crew__grid *grid, size_t i)
{
	struct reduce_grid *g = (struct reduce_grid *)grid;
	(void)i;
	g->combine(g->sum, g->value, g->fold.context);
}

int crew_reduce(struct crew_pool *pool, size_t begin, size_t end, const void *identity, size_t size, crew_reduce_fn *body,
		crew_combine_fn *combine, void *ret, const struct crew_range_options *options)
{
	void *context, *block;
	if (!pool || !body || !combine || !ret || !identity || !size || end < begin)
		return -EINVAL;
	int r = crew__context(options, &context, &block);
	if (r < 0)
		return r;
	struct reduce_grid g = {
		.cut = crew__cut(begin, end, crew__cut_length(end - begin, options ? options->grain : 0, 1)),
		.fold = { .body = body, .size = size, .context = context },
		.identity = identity, .combine = combine, .value = crew__malloc(size), .sum = crew__malloc(size),
	};
	g.grid = (struct crew__grid){ .count = g.cut.count, .make = make, .place = place, .done = done };
	r = -ENOMEM;
	if (g.value && g.sum) {
		memcpy(g.sum, identity, size);
		r = crew__parallel_run(pool, &g.grid, options);
		if (r == 0)
			memcpy(ret, g.sum, size);
	}
	free(g.value);
	free(g.sum);
	crew_free(block);
	return r;
}
