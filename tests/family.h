/*
 * family.h - what suites on shared objects have in common: a family with one shared struct, threads, a look at the heap
 *
 *     static struct shared { struct crew_lock lock; } *s;
 *
 *     s = family_begin(sizeof *s);        // zeroed, in shared memory
 *     pthread_t thread = start(function, argument);
 *     await(asleep() == 1);               // it has come to where it sleeps
 *     ...
 *     family_end(s);                      // no block more than in the beginning, no wake-up lost, the heap whole
 */
#ifndef FAMILY_H
#define FAMILY_H

#include "harness.h"

#include <pthread.h>
#include <unistd.h>
#include <crew/init.h>
#include <crew/memory.h>
#include "region/lane.h"

#define MS CREW_MILLISECOND

static uint64_t blocks_before;

/* Blocks of the heap that are allocated; the heap is whole. */
static inline uint64_t blocks(void)
{
	struct crew_memory_stats stats;
	must(crew_memory_stats(&stats));
	must(crew_heap_check());
	return stats.blocks;
}

static inline void *family_begin(size_t size)
{
	void *shared;
	must(crew_init(NULL));
	must(crew_alloc_zeroed(size, &shared));
	blocks_before = blocks();
	return shared;
}

static inline void family_end(void *shared)
{
	crew__lane_reap_all();
	ck_assert_uint_eq(blocks(), blocks_before);
	ck_assert_uint_eq(crew__family.region->healed, 0);
	ck_assert_uint_le(crew__family.region->late, 2); /* a slice may end just as the wake-up comes */
	crew_free(shared);
	crew_fini();
}

static inline pthread_t start(void *(*function)(void *), void *argument)
{
	pthread_t thread;
	ck_assert_int_eq(pthread_create(&thread, NULL, function, argument), 0);
	return thread;
}

static inline void run(void *(*function)(void *), void *argument)
{
	pthread_join(start(function, argument), NULL);
}

/* Threads of the whole family that sleep on a shared object. */
static inline unsigned asleep(void)
{
	struct crew__lane *lane;
	unsigned count = 0;
	for (uint32_t n = 1; (lane = crew__lane_at(n)); n++)
		count += __atomic_load_n(&lane->asleep_on, __ATOMIC_ACQUIRE) != 0;
	return count;
}

/* In a process that is to be killed, where nobody sees an assertion fail. */
#define do_or_exit(call) do { if ((call) < 0) _exit(9); } while (0)

#endif
