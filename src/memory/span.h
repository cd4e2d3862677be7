/*
 * span.h - the heap's layout: spans of 64 KiB, a table that says what each run of them is
 *
 * The heap begins with struct crew__heap; then the span table; then the spans, aligned to 2 MiB by address.
 *
 *     span table:  [S:1][L:3][ ][ ][free][S:4][ ][ ][ ] ...      heads; what a head covers is not looked at
 *
 * Invariants (crew_heap_check looks at them; all changes are sections on `guard`)
 *   1  Heads and free entries tile [0, high): from a head go on by its run, from a free entry by one.
 *   2  hint is such a place, and nothing below it is free.
 *   3  entry.head of every span inside a run names the run's head; of others it means nothing.
 *   4  entry.committed set => the span's pages are there. Set after they are, cleared before they go.
 *   5  A small run is in its class's list exactly if it has a free block.
 *   6  used, blocks: sums over all runs; committed: over all entries.
 */
#ifndef CREW_MEMORY_SPAN_H
#define CREW_MEMORY_SPAN_H

#include "memory/heap.h"
#include "sync/section.h"

#define SPAN_BYTES UINT64_C(65536)
#define CLASSES 41 /* sizes of small blocks, four for each doubling: 32 ... 32768 */

enum span_kind { SPAN_FREE, SPAN_SMALL, SPAN_LARGE };

struct span {
	uint32_t kind;
	uint32_t run;       /* head: spans covered */
	uint32_t head;      /* number of the head that covers this span */
	uint32_t committed;
	uint32_t class;     /* small: index of the block size */
	uint32_t used;      /* small: allocated blocks */
	uint32_t hint;      /* small: no block below is free */
	uint32_t next, prev;/* small, with free blocks: neighbours in the class's list, number + 1; 0: none */
	uint32_t spare;
	uint64_t owner;     /* large: as a block's header */
};

struct crew__heap {
	uint32_t guard;
	uint32_t high;      /* spans whose table entries are committed */
	uint32_t limit;     /* spans that fit into the region */
	uint32_t hint;
	uint32_t first[CLASSES]; /* lists of small runs with free blocks: number + 1 */
	uint64_t used, peak, blocks, committed;
	uint64_t attempts;  /* last attempt number given */
	uint64_t table, data; /* offsets */
};

/* Headers of blocks: 0 free, 1 the family's, else 2 * attempt + 1. */
#define HEADER_FAMILY UINT64_C(1)

static inline struct crew__heap *heap_of_family(void)
{
	return (struct crew__heap *)crew__at(crew__family.region->heap);
}
static inline struct span *span_at(struct crew__heap *heap, uint32_t number)
{
	return (struct span *)crew__at(heap->table) + number;
}
static inline char *span_base(struct crew__heap *heap, uint32_t number)
{
	return (char *)crew__at(heap->data) + number * SPAN_BYTES;
}

/* The block sizes. class_of: the smallest class for a size and alignment, or CLASSES. */
uint32_t crew__class_size(uint32_t class);
uint32_t crew__class_of(uint64_t size, uint64_t alignment);
uint32_t crew__class_run(uint32_t class); /* spans in one run */
/* Where the blocks of a small run begin (after the headers), and how many there are. */
uint32_t crew__class_layout(uint32_t class, uint32_t *ret_count);

/* All below: inside a section on heap->guard. */

/* Find `run` free spans at an address aligned to `alignment`, commit them, make them the head of kind `kind`. -ENOMEM. */
int crew__span_take(struct crew__lane *lane, struct crew__heap *heap, uint32_t run, uint64_t alignment,
		enum span_kind kind, uint32_t *ret);
/* Make a run free. */
void crew__span_give(struct crew__lane *lane, struct crew__heap *heap, uint32_t number);
/* Give the pages of free spans back to the system. Commits what the section has set so far. */
void crew__span_return_pages(struct crew__lane *lane, struct crew__heap *heap, uint32_t number, uint32_t run);

/* Allocate a block with that header; free one. free: NULL, or what is wrong with the address. */
int crew__block_take(struct crew__lane *lane, struct crew__heap *heap, uint64_t size, uint64_t alignment,
		uint64_t header, void **ret);
const char *crew__block_give(struct crew__lane *lane, struct crew__heap *heap, void *block);
/* The header of an allocated block, its usable size and its head; NULL if there is no block at that address. */
uint64_t *crew__block_header(struct crew__heap *heap, const void *block, uint64_t *ret_size, uint32_t *ret_head);

#endif
