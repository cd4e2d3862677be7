/* heap.c - to allocate and free a small block, and many of them */
#include "bench.h"

#include <stdlib.h>

enum { TIMES = 200000, MANY = 1000 };

static double crew(void)
{
	crew_time from = crew_now();
	for (unsigned i = 0; i < TIMES; i++) {
		void *volatile block;
		must(crew_alloc(64, (void **)&block));
		crew_free(block);
	}
	return per_one(from, TIMES);
}

static double plain(void)
{
	crew_time from = crew_now();
	for (unsigned i = 0; i < TIMES; i++) {
		void *volatile block = malloc(64);
		free(block);
	}
	return per_one(from, TIMES);
}

static void *blocks[MANY];

static double crew_many(void)
{
	crew_time from = crew_now();
	for (unsigned round = 0; round < TIMES / MANY; round++) {
		for (unsigned i = 0; i < MANY; i++)
			must(crew_alloc(64, &blocks[i]));
		for (unsigned i = 0; i < MANY; i++)
			crew_free(blocks[i]);
	}
	return per_one(from, TIMES);
}

static double plain_many(void)
{
	crew_time from = crew_now();
	for (unsigned round = 0; round < TIMES / MANY; round++) {
		for (unsigned i = 0; i < MANY; i++)
			blocks[i] = malloc(64);
		for (unsigned i = 0; i < MANY; i++)
			free(blocks[i]);
	}
	return per_one(from, TIMES);
}

const struct measure bench_heap[] = {
	{ "heap: allocate and free 64 B", crew, { { "malloc, free (one process's)", plain, NULL, NULL } } },
	{ "heap: the same, 1000 at a time", crew_many, { { "malloc, free (one process's)", plain_many, NULL, NULL } } },
	{ 0 }
};
