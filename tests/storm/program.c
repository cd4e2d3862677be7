/* program.c - see program.h */
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "region/lane.h"
#include "memory/heap.h"
#include "storm/operation.h"

struct notes *notes;
struct world *world;

void notes_create(void)
{
	notes = mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (notes == MAP_FAILED)
		abort();
}

void wrong(const char *format, ...)
{
	va_list args;
	if (__atomic_exchange_n(&notes->is_wrong, 1, __ATOMIC_SEQ_CST))
		return;
	va_start(args, format);
	vsnprintf(notes->wrong, sizeof notes->wrong, format, args);
	va_end(args);
}

void note_end(unsigned thread)
{
	__atomic_fetch_add(&notes->doubt[notes->doing[thread]], 1, __ATOMIC_RELAXED);
	notes->doing[thread] = OP_NONE;
}

uint32_t draw(struct program *p, uint32_t below)
{
	if (p->bytes) {
		p->over = p->bytes == p->end;
		return p->over ? 0 : *p->bytes++ % below;
	}
	p->random ^= p->random << 13;
	p->random ^= p->random >> 7;
	p->random ^= p->random << 17;
	return (uint32_t)(p->random >> 32) % below;
}

crew_time deadline(struct program *p)
{
	uint32_t kind = draw(p, 4);
	return kind == 0 ? CREW_POLL : kind == 1 ? crew_after(20 * CREW_MILLISECOND) : crew_after(CREW_MILLISECOND);
}

void linger(struct program *p)
{
	if (draw(p, 8) == 0)
		sched_yield();
}

bool expect(const char *call, int r, int also, int or_also)
{
	if (r != 0 && r != also && r != or_also)
		wrong("%s: %s", call, crew_errname(r));
	return r >= 0;
}

static const struct { enum operation operation; void (*run)(struct program *); unsigned weight; bool starts; } operations[] = {
	{ OP_LOCK, do_lock, 60, false }, { OP_TRANSFER, do_transfer, 60, false }, { OP_READ, do_read, 60, false },
	{ OP_WRITE, do_write, 40, false }, { OP_SEMAPHORE, do_semaphore, 40, false }, { OP_POST, do_post, 40, false },
	{ OP_COUNT, do_count, 40, false }, { OP_EVENT, do_event, 40, false }, { OP_CONDITION, do_condition, 40, false },
	{ OP_BARRIER, do_barrier, 10, false }, { OP_ALLOCATE, do_allocate, 60, false }, { OP_PUT, do_put, 100, false },
	{ OP_TAKE, do_take, 100, false }, { OP_PUT_ONCE, do_put_once, 80, false }, { OP_GET, do_get, 80, false },
	{ OP_PIPE, do_pipe, 2, true }, { OP_CHILD, do_child, 2, true }, { OP_FORK, do_fork, 2, true },
	{ OP_THREAD, do_thread, 8, true }, { OP_EXEC, do_exec, 1, true },
	{ OP_SAVE, do_save, 40, false }, { OP_RUN_ONCE, do_once, 20, false }, { OP_LATCH, do_latch, 30, false },
	{ OP_MAP, do_map, 100, false }, { OP_MAP_OTHER, do_map_other, 60, false }, { OP_MAP_EACH, do_map_each, 10, false },
	{ OP_LOAN, do_loan, 60, false }, { OP_PUT_MANY, do_put_many, 40, false }, { OP_GET_MANY, do_get_many, 30, false },
	{ OP_TUBE, do_tube, 2, true },
};
enum { KINDS = sizeof operations / sizeof *operations };

static unsigned choose(struct program *p)
{
	if (p->bytes)
		return draw(p, KINDS);
	static unsigned all;
	if (!all)
		for (unsigned i = 0; i < KINDS; i++)
			all += operations[i].weight;
	uint32_t at = draw(p, all);
	unsigned i = 0;
	for (; at >= operations[i].weight; i++)
		at -= operations[i].weight;
	return i;
}

void program_run(struct program *p, unsigned most)
{
	struct crew__lane *lane;
	if (!expect("lane", crew__lane_self(&lane), 0, 0))
		return;
	bool nested = notes->doing[p->thread] == OP_THREAD;
	uint32_t *doing = &notes->doing[p->thread], before = *doing;
	if (!nested)
		crew__attempt_begin(lane);
	while (most-- > 0 && !p->over && !__atomic_load_n(&notes->rest, __ATOMIC_RELAXED) && !notes->is_wrong) {
		unsigned i = choose(p);
		if (operations[i].starts && !p->may_start)
			continue;
		__atomic_store_n(doing, operations[i].operation, __ATOMIC_RELEASE);
		operations[i].run(p);
		__atomic_store_n(doing, before, __ATOMIC_RELEASE);
		__atomic_fetch_add(&notes->total[operations[i].operation], 1, __ATOMIC_RELAXED);
	}
	if (!nested)
		crew__attempt_end(lane, false);
}
