/* heap.c - to allocate and free a small block, many of them, in two processes, in one what another has allocated */
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

/* Two processes, each for itself. */
static void crew_side(void *shared, unsigned number)
{
	(void)shared;
	(void)number;
	for (unsigned i = 0; i < TIMES; i++) {
		void *volatile block;
		must(crew_alloc(64, (void **)&block));
		crew_free(block);
	}
}

static double crew_two(void)
{
	return bench_two(crew_side, crew_side, NULL) / (2 * TIMES);
}

/* One allocates, the other frees: through a ring of pointers. */
enum { RING = 256 };
struct ring { void *place[RING]; };

static void produce(void *shared, unsigned number)
{
	struct ring *ring = shared;
	(void)number;
	for (unsigned i = 0; i < TIMES; i++) {
		void *block;
		must(crew_alloc(64, &block));
		while (__atomic_load_n(&ring->place[i % RING], __ATOMIC_ACQUIRE))
			;
		__atomic_store_n(&ring->place[i % RING], block, __ATOMIC_RELEASE);
	}
}

static void consume(void *shared, unsigned number)
{
	struct ring *ring = shared;
	(void)number;
	for (unsigned i = 0; i < TIMES; i++) {
		void *block;
		while (!(block = __atomic_load_n(&ring->place[i % RING], __ATOMIC_ACQUIRE)))
			;
		__atomic_store_n(&ring->place[i % RING], NULL, __ATOMIC_RELEASE);
		crew_free(block);
	}
}

static double crew_across(void)
{
	static struct ring *ring;
	if (!ring)
		ring = bench_shared(sizeof *ring);
	return bench_two(produce, consume, ring) / TIMES;
}

#ifdef CREW_WITH_BOOST
extern double boost_heap(void), boost_heap_many(void), boost_heap_two(void);
#else
#define boost_heap NULL
#define boost_heap_many NULL
#define boost_heap_two NULL
#endif
#define BOOST "Boost.Interprocess, shared memory"

const struct measure bench_heap[] = {
	{ "heap: allocate and free 64 B", crew, {
		{ "malloc, free (one process's)", plain, .most = 2 },
		{ BOOST, boost_heap, .package = "libboost-dev", .most = 0.2 } } },
	{ "heap: the same, 1000 at a time", crew_many, {
		{ "malloc, free (one process's)", plain_many },
		{ BOOST, boost_heap_many, .package = "libboost-dev" } } },
	{ "heap: the same, two processes", crew_two, { { BOOST, boost_heap_two, .package = "libboost-dev" } }, .two = true },
	{ "heap: freed by another process", crew_across, { { BOOST " (for itself)", boost_heap_two, .package = "libboost-dev" } },
		.two = true },
	{ 0 }
};
