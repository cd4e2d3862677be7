/* death_heap.c - processes killed at every instruction of alloc, free, publish */
#include "death/rows.h"
#include "memory/heap.h"

static struct shared {
	void *block;
} *s;

static void begin(void)
{
	s = family_begin(sizeof *s);
}

static void end(void)
{
	family_end(s);
}

static struct crew__lane *my_lane(void)
{
	struct crew__lane *lane;
	do_or_exit(crew__lane_self(&lane));
	return lane;
}

static void warm_heap(void *shared)
{
	void *p;
	(void)shared;
	do_or_exit(crew_alloc(100, &p));
	crew_free(p);
	crew__attempt_begin(my_lane()); /* what is allocated from here on dies with the victim */
}

static void alloc_small(void *shared)
{
	void *p;
	(void)shared;
	do_or_exit(crew_alloc(100, &p));
	do_or_exit(crew_alloc(5000, &p));
}

static void alloc_and_free(void *shared)
{
	void *p;
	(void)shared;
	do_or_exit(crew_alloc(100, &p));
	crew_free(p);
}

static void alloc_and_free_large(void *shared)
{
	void *p;
	(void)shared;
	do_or_exit(crew_alloc_aligned(200000, 65536, &p));
	crew_free(p);
}

static void alloc_in_hand(void *shared)
{
	void *p;
	(void)shared;
	do_or_exit(crew__alloc_mine(my_lane(), 0, 300, &p));
}

static void others_alloc(void *shared, int order)
{
	void *p, *q;
	(void)shared;
	must(crew_alloc(order ? 100000 : 100, &p));
	must(crew_alloc(order ? 100 : 5000, &q));
	crew_free(order ? p : q);
	crew_free(order ? q : p);
}

static void check_no_block(void *shared, bool completed)
{
	(void)completed;
	others_alloc(shared, 0);
	check_heap(0);
}

static void a_block(void *shared)
{
	(void)shared;
	must(crew_alloc(100, &s->block));
}

static void a_large_block(void *shared)
{
	(void)shared;
	must(crew_alloc(300000, &s->block));
}

static void free_it(void *shared)
{
	(void)shared;
	crew_free(s->block);
}

static void check_freed(void *shared, bool completed)
{
	others_alloc(shared, 0);
	sweep_all();
	uint64_t now = blocks();
	ck_assert(now == blocks_before || (now == blocks_before + 1 && !completed));
	if (now != blocks_before)
		crew_free(s->block);
	check_heap(0);
}

static void alloc_to_publish(void *shared)
{
	warm_heap(shared);
	do_or_exit(crew_alloc(100, &s->block));
}

static void publish(void *shared)
{
	(void)shared;
	crew_publish(s->block);
}

static void check_published(void *shared, bool completed)
{
	others_alloc(shared, 1);
	sweep_all();
	uint64_t now = blocks();
	ck_assert(now == blocks_before + 1 || (now == blocks_before && !completed));
	if (now != blocks_before)
		crew_free(s->block);
	check_heap(0);
}

static const struct killpoint operations[] = {
	{ "heap_alloc", .prepare = warm_heap, .operation = alloc_small, .others = others_alloc, .check = check_no_block },
	{ "heap_alloc_and_free", .prepare = warm_heap, .operation = alloc_and_free, .others = others_alloc, .check = check_no_block },
	{ "heap_alloc_and_free_large", .prepare = warm_heap, .operation = alloc_and_free_large, .others = others_alloc,
		.check = check_no_block },
	{ "heap_alloc_in_hand", .prepare = warm_heap, .operation = alloc_in_hand, .others = others_alloc, .check = check_no_block },
	{ "heap_free", .before = a_block, .prepare = warm_heap, .operation = free_it, .others = others_alloc, .lock_free = true,
		.check = check_freed },
	{ "heap_free_large", .before = a_large_block, .prepare = warm_heap, .operation = free_it, .others = others_alloc,
		.check = check_freed },
	{ "heap_publish", .prepare = alloc_to_publish, .operation = publish, .others = others_alloc, .lock_free = true,
		.check = check_published },
};
KILL_EVERYWHERE(operations, begin, s, end)
