// boost_heap.cpp - Boost.Interprocess as a rival: its heap in shared memory (managed_shared_memory's, here on memory that is there already)
#include "bench.h"

#include <boost/interprocess/indexes/iset_index.hpp>
#include <boost/interprocess/managed_external_buffer.hpp>
#include <boost/interprocess/mem_algo/rbtree_best_fit.hpp>
#include <boost/interprocess/sync/mutex_family.hpp>

using namespace boost::interprocess;
using heap = basic_managed_external_buffer<char, rbtree_best_fit<mutex_family>, iset_index>;

static const unsigned times = 100000, each = 50000, many = 1000;
static const std::size_t room = 1 << 20;

static void *place()
{
	static void *made;
	if (!made) {
		made = bench_shared(room);
		heap first(create_only, made, room);
	}
	return made;
}

static void loop(heap &h, unsigned n)
{
	while (n--)
		h.deallocate(h.allocate(64));
}

static void side(void *shared, unsigned)
{
	heap h(open_only, shared, room);
	loop(h, each);
}

extern "C" double boost_heap(void)
{
	heap h(open_only, place(), room);
	crew_time from = crew_now();
	loop(h, times);
	return per_one(from, times);
}

extern "C" double boost_heap_many(void)
{
	static void *blocks[many];
	heap h(open_only, place(), room);
	crew_time from = crew_now();
	for (unsigned round = 0; round < times / many; round++) {
		for (unsigned i = 0; i < many; i++)
			blocks[i] = h.allocate(64);
		for (unsigned i = 0; i < many; i++)
			h.deallocate(blocks[i]);
	}
	return per_one(from, times);
}

extern "C" double boost_heap_two(void)
{
	return bench_two(side, side, place()) / (2 * each);
}
