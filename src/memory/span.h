/*
 * span.h - the heap's layout: spans of 64 KiB, a table that says what each run of them is
 *
 * The heap begins with struct crew__heap; then the span table; then the spans, aligned to 2 MiB by address.
 *
 *     span table:  [S:1][L:3][ ][ ][free][S:4][ ][ ][ ] ...      heads; what a head covers is not looked at
 *
 * Invariants (crew_heap_check looks at them)
 *   1  Heads and free entries tile [0, high): from a head go on by its run, from a free entry by one.
 *   2  hint is such a place, and nothing below it is free.
 *   3  entry.head of every span inside a run names the run's head; of others it means nothing.
 *   4  entry.pages is THERE => they are. Set after they are, changed before they go. NONE => they would be zero.
 *   5  A small run is in one place: OWNED by a lane whose desk names it; LISTED, with a free block; or FULL, without one,
 *      but for those that a lane is just giving back: its `freeing` names the run.
 *   6  in_runs, committed: sums over all entries.
 *
 * Writers
 *   span.hint, witness          anybody, bare: hints
 *   span.attempt                who may allocate from the run, before it does
 *   headers of small blocks     see block.c
 *   all else                    in sections on `guard`
 */
#ifndef CREW_MEMORY_SPAN_H
#define CREW_MEMORY_SPAN_H

#include "memory/class.h"
#include "memory/heap.h"
#include "sync/section.h"

enum span_kind { SPAN_FREE, SPAN_SMALL, SPAN_LARGE };

struct span {
	uint32_t kind;
	uint32_t run;       /* head: spans covered */
	uint32_t head;      /* number of the head that covers this span */
	uint32_t pages;     /* PAGES_* */
	uint32_t class;     /* small: index of the block size */
	uint32_t place;     /* small: PLACE_*, or the number of the lane that owns it */
	uint32_t next, prev;/* small, LISTED: neighbours in the class's list, number + 1; 0: none */
	uint32_t hint;      /* small: where to look for a free block first */
	uint32_t witness;   /* small: a block that was allocated when last looked at */
	uint64_t attempt;   /* small: no attempt with a higher number has allocated here */
	uint64_t owner;     /* large: as a block's header */
	uint64_t spare;
};

enum span_pages { PAGES_NONE, PAGES_THERE, PAGES_GOING /* some may be, and not zero */ };

#define PLACE_FULL 0u
#define PLACE_LISTED UINT32_MAX

struct crew__heap {
	uint32_t guard;
	uint32_t high;      /* spans whose table entries are committed */
	uint32_t limit;     /* spans that fit into the region */
	uint32_t hint;
	uint32_t first[CLASSES], last[CLASSES]; /* lists of small runs with free blocks: number + 1 */
	uint64_t in_runs;   /* bytes of all runs */
	uint64_t peak;      /* the highest in_runs so far */
	uint64_t committed;
	uint64_t attempts;  /* last attempt number given */
	uint64_t table, data; /* offsets */
	/* How many free pages stay, of large blocks: see crew__span_return_pages. */
	uint64_t keep;      /* bytes; up to KEEP means KEEP */
	uint64_t returned;  /* bytes that have gone back since `since`, and have not been wanted again */
	uint64_t low;       /* the fewest bytes of free pages since then */
	crew_time since;
};

/* Where the heap is in this process: the same in all of the family, set by its founder. */
struct crew__heap_view { struct crew__heap *heap; struct span *table; char *data; };
extern struct crew__heap_view crew__heap_view;

static inline struct crew__heap *heap_of_family(void)
{
	return crew__heap_view.heap;
}
static inline struct span *span_at(uint32_t number)
{
	return crew__heap_view.table + number;
}
static inline char *span_base(uint32_t number)
{
	return crew__heap_view.data + number * SPAN_BYTES;
}
static inline uint32_t peek32(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/* All below: inside a section on heap->guard. */

/*
 * Find `run` free spans at an address aligned to `alignment`, commit them, make them the head of kind `kind`. *ret_fresh: no page
 * of them has been used, so they are zero. Commits what the section has set so far. -ENOMEM.
 */
int crew__span_take(struct crew__lane *lane, struct crew__heap *heap, uint32_t run, uint64_t alignment,
		enum span_kind kind, uint32_t *ret, bool *ret_fresh);
/* Make a run free. */
void crew__span_give(struct crew__lane *lane, struct crew__heap *heap, uint32_t number);
/*
 * Give the pages of free spans [number, number + run) back to the system, unless few are free. Commits what the section has set so far.
 *
 * Few is KEEP. If pages are wanted again within TIDE (crew__span_take), that many more stay from then on, up to KEEP_MOST: a stream of
 * large messages has its pages committed once. What was not needed in all of a TIDE (the ebb) goes: looked at when a large block
 * is freed, and when a thread ends.
 */
#define KEEP (UINT64_C(16) << 20)
#define KEEP_MOST (UINT64_C(64) << 20)
#define TIDE CREW_SECOND
void crew__span_return_pages(struct crew__lane *lane, struct crew__heap *heap, uint32_t number, uint32_t run);
void crew__span_ebb(struct crew__lane *lane, struct crew__heap *heap); /* the same; if a TIDE is over */
static inline uint64_t crew__span_kept(const struct crew__heap *heap)
{
	return heap->keep > KEEP ? heap->keep : KEEP;
}
/* If free spans have more than twice `keep` bytes of pages: all but `keep` of them. Commits, if it is so. */
void crew__span_trim(struct crew__lane *lane, struct crew__heap *heap, uint64_t keep);
/* The first head at or after a place in the table; heap->high: none. */
uint32_t crew__span_next(const struct crew__heap *heap, uint32_t from);
/* The same from a place where a head or a free entry is. */
uint32_t crew__span_skip_free(const struct crew__heap *heap, uint32_t from);
/* Whether there is the head of a run of small blocks. */
bool crew__span_is_small(const struct crew__heap *heap, uint32_t number);

#endif
