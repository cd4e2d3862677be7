/*
 * desk.h - allocate and free without the guard: from and to runs that are this lane's own
 *
 * Only the owner makes a free block of its run an allocated one, so for that a plain store is enough; anybody may free it
 * meanwhile. What the owner has freed last it uses first; else a cursor goes round, and finds what others have freed.
 *
 * Order    (A) header = 0 (release: by who frees)    pairs with  (B) header is seen 0 (acquire)
 *          impossible: a store of the last user to the block after the next one has it.
 * Death    before the store of the header: nothing but hints has changed; a hand that names the block names a free one.
 *          after: the block is allocated: the attempt's, the hand's, or the family's.
 *          The sweep empties the hands before the run becomes anybody else's, so what is free there stays free till then.
 */
#ifndef CREW_MEMORY_DESK_H
#define CREW_MEMORY_DESK_H

#include "memory/run.h"

/*
 * A lane's desk: for each size, the run that only this lane allocates from; the truth is span.place. In a heap block, from when
 * the lane has allocated some blocks until it is swept.
 *
 * Writers  run: its lane, and who sweeps it, in sections; all else: its lane, bare.
 */
struct crew__bin {
	uint32_t run;       /* number + 1; 0: none */
	uint16_t cursor;    /* look for a free block from here on */
	uint8_t slow;       /* blocks allocated without a run of its own, until there are enough */
	uint8_t count;      /* blocks freed here last, the newest last: looked at first */
	uint16_t recent[4];
};
struct crew__desk {
	uint32_t lane;      /* its number */
	uint32_t spare;
	struct crew__bin bin[OWN_CLASSES];
};

static inline struct crew__desk *desk_of(const struct crew__lane *lane)
{
	return lane->desk ? crew__at(lane->desk) : NULL;
}

/* A free block of the lane's own run; `count` if there is none. */
uint32_t crew__desk_search(struct crew__bin *bin, const uint64_t *headers, uint32_t count);

/* Allocate from the lane's own run: NULL if it has none, or it is full. `hand` (NULL: none) names the block first. */
static inline void *crew__desk_take(struct crew__lane *lane, uint32_t class, uint64_t header, uint64_t *hand)
{
	struct crew__desk *desk = desk_of(lane);
	struct crew__bin *bin = desk ? &desk->bin[class] : NULL;
	if (!bin || !bin->run)
		return NULL;
	const struct crew__class *layout = &crew__classes[class];
	uint32_t number = bin->run - 1, i = layout->count;
	uint64_t *headers = headers_of(number);
	if (bin->count)
		i = bin->recent[--bin->count];
	if (i >= layout->count || !is_free(&headers[i]))
		i = crew__desk_search(bin, headers, layout->count);
	if (i == layout->count)
		return NULL;
	void *block = block_at(number, layout, i);
	if (header != HEADER_FAMILY) {
		struct span *span = span_at(number);
		if (span->attempt < header >> 1)
			__atomic_store_n(&span->attempt, header >> 1, __ATOMIC_RELAXED);
		__atomic_store_n(&lane->attempt_blocks, lane->attempt_blocks + 1, __ATOMIC_RELAXED);
	}
	if (hand)
		__atomic_store_n(hand, crew__offset(block), __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&headers[i], header, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return block;
}

/* Where an own block of this lane has its header; false: it is none. A run's place is a lane's number only while it is that lane's own. */
static inline bool crew__desk_find(struct crew__desk *desk, const void *block, struct crew__found *ret)
{
	uint64_t offset = (uint64_t)((uintptr_t)block - (uintptr_t)crew__heap_view.data), number = offset / SPAN_BYTES;
	if (!desk || number >= peek32(&heap_of_family()->high))
		return false;
	static_assert(OWN_CLASSES <= CLASSES, "own runs are of one span");
	ret->span = span_at((uint32_t)number);
	ret->number = (uint32_t)number;
	if (peek32(&ret->span->place) != desk->lane ||
			!crew__class_index(&crew__classes[ret->span->class], offset % SPAN_BYTES, &ret->index))
		return false;
	ret->header = &headers_of(ret->number)[ret->index];
	return true;
}

/* Free such a block, allocated as it is. */
static inline void crew__desk_give(struct crew__desk *desk, const struct crew__found *at)
{
	struct crew__bin *bin = &desk->bin[at->span->class];
	__atomic_store_n(at->header, 0, __ATOMIC_RELEASE);
	if (bin->count < sizeof bin->recent / sizeof bin->recent[0])
		bin->recent[bin->count++] = (uint16_t)at->index;
}

/* The lane's bin for a class, if it is to have a run of its own, else NULL. Opens the desk when it is time. Outside sections. */
struct crew__bin *crew__desk_bin(struct crew__lane *lane, struct crew__heap *heap, uint32_t class);

/* In a sweep: give back the runs and the desk. */
void crew__desk_close(struct crew__lane *dead);

/* Inside a section: the first listed run of that class becomes a lane's own. */
void crew__run_own(struct crew__lane *lane, struct crew__heap *heap, uint32_t class, struct crew__desk *desk);
/* A lane's own run becomes nobody's; may commit the section at its end. */
void crew__run_disown(struct crew__lane *lane, struct crew__heap *heap, struct crew__bin *bin);

#endif
