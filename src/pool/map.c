/*
 * map.c - crew_pool_map: a function over contiguous arrays, a task for each chunk
 *
 * Arrays that workers can reach are used in place. The others travel: a chunk's elements behind its argument, its results
 * as the task's result. An input that overlaps the output travels too, since a chunk that is run again must find it
 * unchanged.
 */
#include <string.h>
#include "base/sys.h"
#include "pool/grid.h"
#include "pool/worker.h"

#define CHUNKS_PER_WORKER 4u
#define TRAVEL_BYTES ((size_t)1 << 20) /* the most that a chunk of the default size carries with it */

struct chunk {
	crew_task_fn *function;
	const char *in;  /* NULL: behind this struct */
	char *out;       /* NULL: the task's result */
	size_t in_size, out_size, count;
	uint64_t first;  /* index of its first element */
	uint64_t begin;  /* the same, counted from 0 */
};
static_assert(sizeof(struct chunk) == CREW__INLINE, "needs no block where nothing travels; what travels is aligned");

struct map {
	struct crew__grid grid;
	struct chunk chunk; /* the one being put; .in, .out of the whole arrays or NULL */
	const char *in;
	char *out;
	size_t count, chunk_length;
	uint64_t first;
};

static int run_chunk(const void *argument, void *result, void *context)
{
	const struct chunk *c = argument;
	const char *in = c->in ? c->in : (const char *)(c + 1);
	char *out = c->out ? c->out : result;
	if (c->out)
		memset(out, 0, c->count * c->out_size);
	for (size_t i = 0; i < c->count; i++) {
		crew__running_element(c->first + i, c->begin + i);
		int r = c->function(in + i * c->in_size, out + i * c->out_size, context);
		if (r < 0)
			return r;
	}
	return 0;
}

static size_t begin_of(const struct map *map, size_t i)
{
	return i * map->chunk_length;
}

static void make(struct crew__grid *grid, size_t i, struct crew__piece *ret)
{
	struct map *map = (struct map *)grid;
	struct chunk *c = &map->chunk;
	size_t begin = begin_of(map, i), left = map->count - begin;
	bool in_travels = !c->in, out_travels = !c->out;
	c->count = left < map->chunk_length ? left : map->chunk_length;
	c->begin = begin;
	c->first = map->first + begin;
	if (!in_travels)
		c->in = map->in + begin * c->in_size;
	if (!out_travels)
		c->out = map->out + begin * c->out_size;
	ret->task = (struct crew_task){ .function = run_chunk, .argument = c, .argument_size = sizeof *c, .index = c->first,
		.result_size = out_travels ? c->count * c->out_size : 0 };
	ret->body = in_travels ? map->in + begin * c->in_size : NULL;
	ret->body_size = in_travels ? c->count * c->in_size : 0;
}

static void *place(struct crew__grid *grid, size_t i)
{
	struct map *map = (struct map *)grid;
	return map->chunk.out ? NULL : map->out + begin_of(map, i) * map->chunk.out_size;
}

static bool overlap(const char *a, size_t a_size, const char *b, size_t b_size)
{
	return (uintptr_t)a < (uintptr_t)b + b_size && (uintptr_t)b < (uintptr_t)a + a_size;
}

/* Some chunks for each worker, so that uneven ones even out; not more to carry than fits well. */
static size_t default_length(const struct crew_pool *pool, size_t count, size_t travels)
{
	size_t chunks = (size_t)pool->workers * CHUNKS_PER_WORKER;
	size_t length = count / chunks + (count % chunks != 0);
	size_t most = travels ? TRAVEL_BYTES / travels : length;
	return length > most ? (most ? most : 1) : length;
}

int crew_pool_map(struct crew_pool *pool, crew_task_fn *function, const void *in, size_t in_size, void *out, size_t out_size,
		size_t count, const struct crew_map_options *options)
{
	struct crew_map_options none = { .chunk = 0 };
	size_t in_bytes, out_bytes;
	options = options ? options : &none;
	if (!pool || !function || (count && ((!in && in_size) || (!out && out_size))))
		return -EINVAL;
	if (__builtin_mul_overflow(count, in_size, &in_bytes) || __builtin_mul_overflow(count, out_size, &out_bytes))
		return -EINVAL;
	bool in_stays = crew__reaches(pool, in, in_bytes) && !overlap(in, in_bytes, out, out_bytes);
	bool out_stays = crew__reaches(pool, out, out_bytes);
	size_t travels = (in_stays ? 0 : in_size) + (out_stays ? 0 : out_size);
	size_t length = options->chunk ? options->chunk : default_length(pool, count, travels);
	struct map map = {
		.grid = { .count = count ? (count - 1) / length + 1 : 0, .make = make, .place = place },
		.chunk = { .function = function, .in = in_stays ? in : NULL, .out = out_stays ? out : NULL,
			.in_size = in_size, .out_size = out_size },
		.in = in, .out = out, .count = count, .chunk_length = length, .first = options->first,
	};
	int r = crew__grid_run(pool, &map.grid);
	if (r < 0 && options->failure)
		*options->failure = map.grid.failure;
	if (r < 0 && options->failed_at) {
		size_t begin = map.grid.failed == SIZE_MAX ? 0 : begin_of(&map, map.grid.failed);
		*options->failed_at = map.grid.element > begin ? map.grid.element : begin;
	}
	return r;
}
