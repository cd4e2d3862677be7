/*
 * death_runs.c - processes killed at every instruction of allocating and freeing, where runs of blocks change hands
 *
 * What must hold after each: the heap is whole, nothing is half freed or half allocated, and there are exactly the blocks that the
 * operation may have left. The runs that the dead had to itself are the others' again.
 */
#include "family.h"

#include <string.h>
#include <unistd.h>
#include <crew/crew.h>
#include "death/killpoint.h"
#include "memory/desk.h"

enum { MANY = 2000 };

static struct shared {
	void *block;          /* what is freed, moved, published */
	void *kept[MANY];
	unsigned count;
} *s;

static void begin(void)
{
	s = family_begin(sizeof *s);
}

static void end(void)
{
	family_end(s);
}

/* So many blocks of 64 bytes are this thread's, of whichever runs. */
static void keep(unsigned count)
{
	for (s->count = 0; s->count < count; s->count++)
		do_or_exit(crew_alloc(64, &s->kept[s->count]));
}

static void alloc_64(void *shared)
{
	(void)shared;
	do_or_exit(crew_alloc(64, &s->block));
}

static void free_64(void *shared)
{
	(void)shared;
	crew_free(s->block);
	s->block = NULL;
}

/* A lane that allocates from a run of its own. */
static void warm_up(void *shared)
{
	(void)shared;
	for (int i = 0; i < 40; i++) {
		void *p;
		do_or_exit(crew_alloc(64, &p));
		crew_free(p);
	}
}

/* ... that has just become full. */
static void fill_run(void *shared)
{
	struct crew__lane *lane;
	struct crew__desk *desk;
	warm_up(shared);
	do_or_exit(crew__lane_self(&lane));
	desk = desk_of(lane);
	struct crew__bin *bin = &desk->bin[crew__class_of(64)];
	uint32_t run = bin->run, count = crew__classes[crew__class_of(64)].count;
	for (s->count = 0; s->count < count; s->count++) {
		do_or_exit(crew_alloc(64, &s->kept[s->count]));
		if (bin->run != run)
			_exit(9);
	}
}

/* Others allocate and free what they like meanwhile. */
static void others(void *shared, int order)
{
	void *p[60];
	(void)shared;
	for (int i = 0; i < 60; i++)
		must(crew_alloc(order ? 64 : (size_t)(16 << i % 9), &p[i]));
	for (int i = 0; i < 60; i++)
		crew_free(p[order ? i : 59 - i]);
	must(crew_heap_check());
}

static void others_fast(void *shared, int order)
{
	void *p[200];
	(void)shared;
	for (int i = 0; i < 200; i++)
		must(crew_alloc(64, &p[i]));
	for (int i = 0; i < 200; i++)
		crew_free(p[order ? i : 199 - i]);
}

/* This thread has a run of its own, so that it needs no guard. */
static void be_warm(void *shared)
{
	warm_up(shared);
}

/* All blocks but `least` to `most` are gone again; no lane that is dead owns a run. */
static void check_blocks(uint64_t least, uint64_t most)
{
	crew__lane_reap_all();
	crew__lane_reap_all(); /* the first may have met the dead while another still swept */
	uint64_t now = blocks();
	ck_assert_uint_ge(now, blocks_before + least);
	ck_assert_uint_le(now, blocks_before + most);
	for (uint32_t i = 0; i < heap_of_family()->high; i = crew__span_next(heap_of_family(), i + 1)) {
		const struct span *span = span_at(i);
		if (span->kind != SPAN_SMALL || span->place == PLACE_FULL || span->place == PLACE_LISTED)
			continue;
		ck_assert_uint_eq(crew__lane_at(span->place)->state, CREW__LANE_LIVE);
	}
}

/* The only blocks that a test may leave behind are its own: give everything back, whoever has it. */
static void give_all_back(void)
{
	struct crew__heap *heap = heap_of_family();
	for (uint32_t at = crew__span_next(heap, 0); at < heap->high; at = crew__span_next(heap, at + 1)) {
		const struct span *span = span_at(at);
		if (span->kind != SPAN_SMALL || span->class != crew__class_of(64))
			continue;
		const struct crew__class *class = &crew__classes[span->class];
		for (uint32_t i = 0; i < class->count; i++)
			if (headers_of(at)[i] & 1)
				crew_free(block_at(at, class, i));
	}
}

static void check_alloc(void *shared, bool completed)
{
	(void)shared;
	check_blocks(s->count + completed, s->count + 1);
	give_all_back(); /* one that the dead did not come to tell of is nobody's */
	s->count = 0;
	s->block = NULL;
	check_blocks(0, 0);
}

static void check_free(void *shared, bool completed)
{
	(void)shared;
	check_blocks(s->count, s->count + !completed);
	give_all_back();
	s->count = 0;
	s->block = NULL;
	check_blocks(0, 0);
}

static void have_one_of_others(void *shared)
{
	(void)shared;
	must(crew_alloc(64, &s->block));
}

static void have_own(void *shared)
{
	warm_up(shared);
	alloc_64(shared);
}

/* A run that is full and nobody's: the next free lists it. */
static void have_full_run(void *shared)
{
	(void)shared;
	warm_up(shared);
	keep(MANY - 1);
	s->block = s->kept[--s->count / 2]; /* of one that has been left behind */
	s->kept[s->count / 2] = s->kept[s->count];
}

/* ... or the last block of one, and another one is listed. */
static void have_last_of_run(void *shared)
{
	(void)shared;
	warm_up(shared);
	keep(MANY);
	s->block = s->kept[400];
	uintptr_t run = ((uintptr_t)s->block - (uintptr_t)crew__heap_view.data) / SPAN_BYTES;
	unsigned left = 0;
	for (unsigned i = 0; i < MANY; i++) {
		if (s->kept[i] == s->block)
			continue;
		if (((uintptr_t)s->kept[i] - (uintptr_t)crew__heap_view.data) / SPAN_BYTES == run || i == MANY / 2)
			crew_free(s->kept[i]);
		else
			s->kept[left++] = s->kept[i];
	}
	s->count = left;
}

/* ---- in a hand ---- */

static void take_and_give_back(void *shared)
{
	struct crew__lane *lane;
	void *p;
	(void)shared;
	do_or_exit(crew__lane_self(&lane));
	do_or_exit(crew__alloc_mine(lane, 0, 64, &p));
	crew__free_mine(lane, 0);
}

/* A block of others comes into the hand, and is freed there: as with each message. */
static void free_in_hand(void *shared)
{
	struct crew__lane *lane;
	(void)shared;
	do_or_exit(crew__lane_self(&lane));
	__atomic_store_n(&lane->mine[0], crew__offset(s->block), __ATOMIC_RELEASE);
	crew__free_mine(lane, 0);
}

static void check_nothing_left(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	check_blocks(s->count, s->count);
	give_all_back();
	s->count = 0;
	s->block = NULL;
}

static void check_maybe_left(void *shared, bool completed)
{
	check_free(shared, completed);
}

/* ---- realloc ---- */

static void have_text(void *shared)
{
	warm_up(shared);
	do_or_exit(crew_alloc(50, &s->block));
	memcpy(s->block, "what was there", 15);
}

static void grow(void *shared)
{
	(void)shared;
	do_or_exit(crew_realloc(s->block, 5000, &s->block));
}

static void check_moved(void *shared, bool completed)
{
	(void)shared;
	check_blocks(1, 1);
	ck_assert_str_eq(s->block, "what was there");
	ck_assert(crew_usable_size(s->block) >= (completed ? 5000 : 50));
	crew_free(s->block);
	s->block = NULL;
	check_blocks(0, 0);
}

/* ---- large ---- */

static void large(void *shared)
{
	void *p;
	(void)shared;
	do_or_exit(crew_alloc(3 << 20, &p));
	s->block = p;
	crew_free(p);
	s->block = NULL;
}

static void check_large(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	crew__lane_reap_all();
	struct crew__heap *heap = heap_of_family();
	for (uint32_t at = crew__span_next(heap, 0); at < heap->high; at = crew__span_next(heap, at + 1))
		if (span_at(at)->kind == SPAN_LARGE)
			crew_free(span_base(at));
	check_blocks(0, 0);
}

/* ---- an attempt ---- */

static void attempt(void *shared)
{
	struct crew__lane *lane;
	void *p[12];
	(void)shared;
	do_or_exit(crew__lane_self(&lane));
	crew__attempt_begin(lane);
	for (int i = 0; i < 12; i++)
		do_or_exit(crew_alloc(i % 4 ? 64 : 300, &p[i]));
	crew_free(p[3]);
	crew__attempt_end(lane, false);
}

static void attempt_publishes(void *shared)
{
	struct crew__lane *lane;
	void *p;
	(void)shared;
	do_or_exit(crew__lane_self(&lane));
	crew__attempt_begin(lane);
	for (int i = 0; i < 3; i++)
		do_or_exit(crew_alloc(64, &p));
	crew_publish(p);
	crew__attempt_end(lane, false);
}

static const struct killpoint operations[] = {
	{ "an alloc from a run of one's own", .prepare = warm_up, .operation = alloc_64, .others = others_fast, .lock_free = true,
		.before = be_warm, .check = check_alloc },
	{ "a free into it", .prepare = have_own, .operation = free_64, .others = others_fast, .lock_free = true, .before = be_warm,
		.check = check_free },
	{ "a free of another's block", .before = have_one_of_others, .prepare = warm_up, .operation = free_64, .others = others,
		.check = check_free },
	{ "an alloc when the own run is full", .prepare = fill_run, .operation = alloc_64, .others = others, .check = check_alloc },
	{ "a free in a full run that is nobody's", .before = have_full_run, .operation = free_64, .others = others, .check = check_free },
	{ "a free of the last block of a run", .before = have_last_of_run, .operation = free_64, .others = others, .check = check_free },
	{ "the first allocs", .operation = warm_up, .others = others, .check = check_maybe_left },
	{ "a block in hand", .prepare = warm_up, .operation = take_and_give_back, .others = others, .check = check_nothing_left },
	{ "another's block in hand", .before = have_one_of_others, .prepare = warm_up, .operation = free_in_hand, .others = others,
		.check = check_maybe_left },
	{ "another's last block in hand", .before = have_last_of_run, .prepare = warm_up, .operation = free_in_hand, .others = others,
		.check = check_maybe_left },
	{ "a realloc that moves", .prepare = have_text, .operation = grow, .others = others, .check = check_moved },
	{ "a large block", .operation = large, .others = others, .check = check_large },
	{ "an attempt that fails", .prepare = warm_up, .operation = attempt, .others = others, .check = check_nothing_left },
	{ "a publish", .prepare = warm_up, .operation = attempt_publishes, .others = others, .check = check_alloc },
};

KILL_EVERYWHERE(operations, begin, s, end)
