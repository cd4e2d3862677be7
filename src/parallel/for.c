/* for.c - crew_for, and what the other algorithms share with it */
#include <string.h>
#include "base/sys.h"
#include "parallel/parallel.h"

int crew__context(const struct crew_range_options *options, void **ret, void **block)
{
	*ret = options ? (void *)(uintptr_t)options->context : NULL;
	*block = NULL;
	if (!options || !options->context_size)
		return 0;
	int r = crew_alloc(options->context_size, block);
	if (r == 0)
		*ret = memcpy(*block, options->context, options->context_size);
	return r;
}

int crew__parallel_run(struct crew_pool *pool, struct crew__grid *grid, const struct crew_range_options *options)
{
	int r = crew__grid_run(pool, grid);
	if (r < 0 && options && options->failure)
		*options->failure = grid->failure;
	return r;
}

struct loop { crew_for_fn *body; size_t begin, end; void *context; };

struct for_grid {
	struct crew__grid grid;
	struct crew__cut cut;
	struct loop loop;
};

static int run_loop(const void *argument, void *result, void *pool_context)
{
	const struct loop *loop = argument;
	(void)result;
	(void)pool_context;
	return loop->body(loop->begin, loop->end, loop->context);
}

static void make(struct crew__grid *grid, size_t i, struct crew__piece *ret)
{
	struct for_grid *f = (struct for_grid *)grid;
	f->loop.begin = crew__cut_begin(&f->cut, i);
	f->loop.end = crew__cut_end(&f->cut, i);
	ret->task = (struct crew_task){ .function = run_loop, .argument = &f->loop, .argument_size = sizeof f->loop, .index = i };
}

int crew_for(struct crew_pool *pool, size_t begin, size_t end, crew_for_fn *body, const struct crew_range_options *options)
{
	void *context, *block;
	if (!pool || !body || end < begin)
		return -EINVAL;
	int r = crew__context(options, &context, &block);
	if (r < 0)
		return r;
	struct for_grid f = { .cut = crew__cut(begin, end, crew__cut_length(end - begin, options ? options->grain : 0, 1)),
		.loop = { .body = body, .context = context } };
	f.grid = (struct crew__grid){ .count = f.cut.count, .make = make };
	r = crew__parallel_run(pool, &f.grid, options);
	crew_free(block);
	return r;
}
