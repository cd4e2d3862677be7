/* memory_death.c - the shared heap among processes that are killed: whose blocks wait, whose come back */
#include "harness.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <crew/init.h>
#include <crew/memory.h>
#include <crew/process.h>
#include "memory/heap.h"
#include "sync/section.h"

static struct crew_memory_stats stats(void)
{
	struct crew_memory_stats s;
	must(crew_memory_stats(&s));
	must(crew_heap_check());
	return s;
}

/* ---- a task dies, and with it, a moment later, what it has started ---- */

static struct nest { unsigned char *block; pid_t pid; uint32_t slot; } *nest;

static int write_on(void *argument, size_t size)
{
	(void)size;
	struct nest *n = *(struct nest **)argument;
	enum { LARGE = 32 << 20 };
	memset(malloc(LARGE), 1, LARGE); /* so that its end takes a while */
	__atomic_store_n(&n->slot, crew__family.self, __ATOMIC_RELEASE);
	for (unsigned i = 0;; i = (i + 1) % 1000)
		__atomic_add_fetch(&n->block[i], 1, __ATOMIC_RELAXED);
	return 0;
}

static int start_and_be_killed(void *argument, size_t size)
{
	(void)size;
	struct nest *n = *(struct nest **)argument;
	struct crew__lane *lane;
	struct crew_process *process;
	if (crew__lane_self(&lane) < 0)
		return 1;
	crew__attempt_begin(lane);
	if (crew_alloc(1000, (void **)&n->block) < 0)
		return 1;
	if (crew_process_start(&process, &(struct crew_process_options){ .function = write_on, .argument = &n, .argument_size = sizeof n }) < 0)
		return 1;
	for (;;)
		pause();
}

TEST(blocks_of_a_dead_attempt_wait_for_what_it_has_started, .timeout = 60)
{
	must(crew_init(NULL));
	must(crew_alloc_zeroed(sizeof *nest, (void **)&nest));
	for (int round = 0; round < 3; round++) {
		struct crew_process *process;
		*nest = (struct nest){ 0 };
		must(crew_process_start(&process, &(struct crew_process_options){ .function = start_and_be_killed, .argument = &nest,
			.argument_size = sizeof nest }));
		await(__atomic_load_n(&nest->slot, __ATOMIC_ACQUIRE));
		must(crew_process_signal(process, SIGKILL));
		bool freed = false;
		for (crew_time until = crew_after(20 * CREW_SECOND); !freed && crew_now() < until;) {
			crew__lane_reap_all();
			freed = crew_usable_size(nest->block) == 0;
			ck_assert_msg(!freed || !crew__process_lives(nest->slot), "freed under the hands of who still writes there");
		}
		ck_assert(freed);
		must(crew_process_join(process, CREW_FOREVER, NULL));
		must(crew_process_close(process));
	}
	ck_assert_uint_eq(stats().blocks, 1);
	crew_free(nest);
	crew_fini();
}

/* ---- many processes free each other's blocks, and are killed ---- */

enum { PLACES = 48, ROGUES = 4 };

static struct bazaar {
	struct { uint32_t guard; uint32_t spare; uint64_t block; } place[PLACES];
	uint64_t torn, traded;
} *bazaar;

static int trade(void *argument, size_t size)
{
	(void)size;
	struct bazaar *b = *(struct bazaar **)argument;
	unsigned state = (unsigned)getpid() * 2654435761u;
	struct crew__lane *lane;
	if (crew__lane_self(&lane) < 0)
		return 1;
	for (;;) {
		uint64_t *block;
		state = state * 1664525 + 1013904223;
		uint64_t words = (state >> 20) % 32 ? 1 + (state >> 24) % 40 : 1 + (state >> 12) % 20000;
		if (crew__alloc_mine(lane, 0, (words + 1) * 8, (void **)&block) < 0)
			return 2;
		block[0] = words;
		for (uint64_t i = 1; i <= words; i++)
			block[i] = state;
		unsigned at = (state >> 8) % PLACES;
		if (crew__enter(&lane, &b->place[at].guard, CREW_FOREVER) < 0)
			return 3;
		uint64_t old = b->place[at].block;
		crew__set64(lane, &b->place[at].block, lane->mine[0]);
		crew__set64(lane, &lane->mine[0], old);
		crew__leave(lane, &b->place[at].guard);
		const uint64_t *theirs = old ? crew__at(old) : NULL;
		for (uint64_t i = 2; theirs && i <= theirs[0]; i++)
			if (theirs[i] != theirs[1])
				__atomic_add_fetch(&b->torn, 1, __ATOMIC_RELAXED);
		crew__free_mine(lane, 0);
		__atomic_add_fetch(&b->traded, 1, __ATOMIC_RELAXED);
	}
	return 0;
}

TEST(a_storm_of_kills_over_each_others_blocks_leaks_nothing, .timeout = 120)
{
	must(crew_init(NULL));
	must(crew_alloc_zeroed(sizeof *bazaar, (void **)&bazaar));
	struct crew_process *rogue[ROGUES] = { NULL };
	unsigned random = (unsigned)crew_now(), kills = 0;
	crew_time until = crew_after(getenv("CREW_TEST_LONG") ? 20 * CREW_SECOND : CREW_SECOND);
	while (crew_now() < until || !kills || !__atomic_load_n(&bazaar->traded, __ATOMIC_RELAXED)) {
		random = random * 1664525 + 1013904223;
		struct crew_process **victim = &rogue[(random >> 16) % ROGUES];
		if (*victim) {
			must(crew_process_signal(*victim, SIGKILL));
			must(crew_process_join(*victim, CREW_FOREVER, NULL));
			must(crew_process_close(*victim));
			kills++;
		}
		must(crew_process_start(victim, &(struct crew_process_options){ .function = trade, .argument = &bazaar,
			.argument_size = sizeof bazaar }));
		must(crew_heap_check());
		usleep((random >> 8) % 3000);
	}
	for (int i = 0; i < ROGUES; i++) {
		if (!rogue[i])
			continue;
		must(crew_process_signal(rogue[i], SIGKILL));
		must(crew_process_join(rogue[i], CREW_FOREVER, NULL));
		must(crew_process_close(rogue[i]));
	}
	crew__lane_reap_all();
	ck_assert_uint_eq(bazaar->torn, 0);
	for (int i = 0; i < PLACES; i++)
		if (bazaar->place[i].block)
			crew_free(crew__at(bazaar->place[i].block));
	ck_assert_uint_eq(stats().blocks, 1);
	crew_free(bazaar);
	crew_fini();
}
