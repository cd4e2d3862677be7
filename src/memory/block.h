/*
 * block.h - blocks: small ones in runs of equal size with a header each, large ones a run of their own
 *
 * A header says whether a block is allocated and whose it is: that one word is the truth, whatever else is looked at
 * only shortens searches. Nothing is linked through the blocks themselves.
 *
 *     header   0                 free
 *              odd               allocated: HEADER_FAMILY, or 2 * attempt + 1
 *              HEADER_DESK       allocated, for the heap itself
 *              multiple of 4     being freed out of a hand of the lane with id header / 4
 *
 * Writers  0 -> allocated    who may allocate from the run: the lane that owns it, by one store; if it is LISTED, a section
 *          allocated -> 0    anybody, by CAS; the run's owner by a store
 *          odd -> odd        crew_publish, by CAS
 */
#ifndef CREW_MEMORY_BLOCK_H
#define CREW_MEMORY_BLOCK_H

#include "memory/span.h"

#define HEADER_FAMILY UINT64_C(1)
#define HEADER_DESK UINT64_C(2)
#define BEING_FREED (UINT64_C(1) << 63) /* in a word that names a block: see block.c */

static inline uint64_t header_of_attempt(uint64_t attempt)
{
	return 2 * attempt + 1;
}

/* A place where a block may be. */
struct crew__found {
	struct span *span;
	uint32_t number;  /* of its run's head */
	uint32_t index;   /* small: of the block in the run */
	uint64_t *header;
	uint64_t size;    /* usable */
};

/* Where the block at an address has its header; false: no block can begin there. Bare: for an address that is no block, it may err. */
bool crew__block_find(const void *block, struct crew__found *ret);

/* Allocate under the guard, when crew__desk_take has said NULL. class CLASSES: a large block. *ret_fresh: the block is zero. */
int crew__block_take(struct crew__lane *lane, uint32_t class, uint64_t size, uint64_t alignment, uint64_t header, uint64_t *hand,
		void **ret, bool *ret_fresh);

/* Free a block; NULL, or what is wrong with the address. */
const char *crew__block_give(struct crew__lane *lane, void *block);

/*
 * Free the block that a word of a lane names (a hand, or its desk) and make the word 0, in that lane's name: it is our own, or dead
 * and swept by us. 0 in the word is fine.
 */
void crew__block_give_named(struct crew__lane *of, uint64_t *word);

/* Free all blocks with that header; in the name of `of`. False: not all, in a sweep that somebody stopped holds up. */
bool crew__block_give_all(struct crew__lane *of, uint64_t attempt);

/* In a sweep: crew__attempt_end, failed; but if processes that it has started may still work on its blocks, a later sweep does it. */
void crew__attempt_died(struct crew__lane *dead);

/* Give back what is empty, when memory runs out. */
void crew__heap_gather(struct crew__lane *lane);

#endif
