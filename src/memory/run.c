/*
 * run.c - runs of small blocks: whose they are, in which list
 *
 * Moves    provide: fresh -> LISTED.  own: LISTED -> OWNED.  disown: OWNED -> where it belongs.  place: FULL -> LISTED, if there is
 *          a free block; LISTED -> given back, if there is no other block and other runs are listed.
 *          Blocks are freed meanwhile by anybody without the guard.
 * Order    (A) place = FULL, then look at all headers     pairs with  (B) header = 0, then look at place
 *          impossible: a free block in a FULL run of which nobody knows.
 * Death    of who has done (B): its `freeing` names the run from before (B) until it has been placed.
 *          in a section: undone; whoever has seen the run FULL meanwhile waits for the guard and then looks again.
 * Hints    hint, witness; whether a block is the last of its run is looked at before it is freed, because
 *          afterwards the run may go any moment. So of two who free the last two at once, neither may notice; the run then stays listed.
 */
#include <string.h>
#include "base/sys.h"
#include "memory/desk.h"

static void list_remove(struct crew__lane *lane, struct crew__heap *heap, uint32_t number)
{
	struct span *span = span_at(number);
	crew__set32(lane, span->prev ? &span_at(span->prev - 1)->next : &heap->first[span->class], span->next);
	crew__set32(lane, span->next ? &span_at(span->next - 1)->prev : &heap->last[span->class], span->prev);
}

/* At the end: so that blocks freed one by one in full runs have time to become more. */
static void list_add(struct crew__lane *lane, struct crew__heap *heap, uint32_t number)
{
	struct span *span = span_at(number);
	uint32_t last = heap->last[span->class];
	crew__set32(lane, &span->next, 0);
	crew__set32(lane, &span->prev, last);
	crew__set32(lane, last ? &span_at(last - 1)->next : &heap->first[span->class], number + 1);
	crew__set32(lane, &heap->last[span->class], number + 1);
	crew__set32(lane, &span->place, PLACE_LISTED);
}

/* A free block, the first at or after `from`, around the end; its count of blocks: none. */
static uint32_t find_free(uint32_t number, uint32_t from)
{
	uint32_t count = crew__classes[span_at(number)->class].count;
	const uint64_t *headers = headers_of(number);
	for (uint32_t k = 0, i = from < count ? from : 0; k < count; k++, i = i + 1 < count ? i + 1 : 0)
		if (is_free(&headers[i]))
			return i;
	return count;
}

static bool is_empty(uint32_t number)
{
	uint32_t count = crew__classes[span_at(number)->class].count, i = 0;
	while (i < count && is_free(&headers_of(number)[i]))
		i++;
	return i == count;
}

static void set_full(struct crew__lane *lane, struct span *span)
{
	crew__set32(lane, &span->place, PLACE_FULL);
	__atomic_exchange_n(&span->place, PLACE_FULL, __ATOMIC_SEQ_CST); /* (A): for its order */
}

void crew__run_drop(struct crew__lane *lane, struct crew__heap *heap, uint32_t number)
{
	if (!is_empty(number))
		return;
	list_remove(lane, heap, number);
	crew__span_give(lane, heap, number);
}

void crew__run_place(struct crew__lane *lane, struct crew__heap *heap, uint32_t number, uint32_t index)
{
	if (!crew__span_is_small(heap, number))
		return; /* somebody else has found it empty */
	struct span *span = span_at(number);
	if (span->place == PLACE_FULL) {
		uint32_t i = find_free(number, index);
		if (i == crew__classes[span->class].count)
			return;
		__atomic_store_n(&span->hint, i, __ATOMIC_RELAXED);
		list_add(lane, heap, number);
	}
	if (span->place == PLACE_LISTED && heap->first[span->class] != heap->last[span->class]) {
		crew__run_drop(lane, heap, number);
		crew__span_trim(lane, heap, crew__span_kept(heap));
	}
}

int crew__run_settle(struct crew__lane *of, uint32_t index)
{
	struct crew__lane *lane;
	struct crew__heap *heap = heap_of_family();
	if (!of->freeing)
		return 0;
	int r = crew__enter(&lane, &heap->guard, CREW_FOREVER);
	if (r < 0 && crew__sweep_deadline(CREW_FOREVER) == CREW_POLL)
		return r; /* somebody is stopped in a section: `freeing` stays for a later sweep */
	if (r < 0)
		crew__panic("a block cannot be freed: %s", crew_strerror(r));
	crew__run_place(lane, heap, of->freeing - 1, index);
	crew__leave(lane, &heap->guard);
	return 0;
}

int crew__run_provide(struct crew__lane *lane, struct crew__heap *heap, uint32_t class)
{
	uint32_t number;
	bool fresh;
	if (heap->first[class])
		return 0;
	int r = crew__span_take(lane, heap, crew__classes[class].run, 1, SPAN_SMALL, &number, &fresh);
	if (r < 0)
		return r;
	struct span *span = span_at(number);
	if (!fresh)
		memset(span_base(number), 0, crew__classes[class].count * 8); /* bare: nobody reads headers of a run that is not there yet */
	crew__set32(lane, &span->class, class);
	crew__set64(lane, &span->attempt, 0);
	__atomic_store_n(&span->hint, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&span->witness, 0, __ATOMIC_RELAXED);
	list_add(lane, heap, number);
	return 0;
}

void *crew__run_take(struct crew__lane *lane, struct crew__heap *heap, uint32_t class, uint64_t header, uint64_t *hand)
{
	uint32_t number = heap->first[class] - 1;
	struct span *span = span_at(number);
	uint32_t i = find_free(number, peek32(&span->hint));
	void *block = block_at(number, &crew__classes[class], i);
	uint64_t attempt = header >> 1;
	if (attempt > span->attempt && (header & 1))
		crew__set64(lane, &span->attempt, attempt);
	if (hand)
		crew__set64(lane, hand, crew__offset(block));
	crew__set64(lane, &headers_of(number)[i], header);
	uint32_t next = find_free(number, i + 1);
	if (next == crew__classes[class].count) {
		list_remove(lane, heap, number);
		set_full(lane, span);
		crew__run_place(lane, heap, number, i + 1);
	} else {
		__atomic_store_n(&span->hint, next, __ATOMIC_RELAXED);
	}
	return block;
}

void crew__run_own(struct crew__lane *lane, struct crew__heap *heap, uint32_t class, struct crew__desk *desk)
{
	uint32_t number = heap->first[class] - 1;
	struct crew__bin *bin = &desk->bin[class];
	list_remove(lane, heap, number);
	crew__set32(lane, &span_at(number)->place, desk->lane);
	crew__set32(lane, &bin->run, number + 1);
	bin->cursor = (uint16_t)peek32(&span_at(number)->hint);
	bin->count = 0;
}

void crew__run_disown(struct crew__lane *lane, struct crew__heap *heap, struct crew__bin *bin)
{
	uint32_t number = bin->run - 1;
	crew__set32(lane, &bin->run, 0);
	set_full(lane, span_at(number));
	crew__run_place(lane, heap, number, 0);
}
