/* heap.h - what the layers above ask of the heap beyond crew/memory.h */
#ifndef CREW_MEMORY_HEAP_H
#define CREW_MEMORY_HEAP_H

#include <crew/memory.h>
#include "region/lane.h"

/*
 * Allocate a block that is in this thread's hands: lane->mine[hand] (0 ... 3, must be 0 now) names it, in the
 * same step. If the thread dies the block is freed, until a section sets lane->mine[hand] to 0
 * beside the word that takes the block over:
 *
 *     crew__set64(lane, &q->last_, lane->mine[0]);
 *     crew__set64(lane, &lane->mine[0], 0);
 */
int crew__alloc_mine(struct crew__lane *lane, unsigned hand, size_t size, void **ret);

/* Free the block in that hand; the other way round: a section has put it there. 0 in the hand is fine. */
void crew__free_mine(struct crew__lane *lane, unsigned hand);

/* The running task attempt of this lane begins / ends well (its blocks now belong to the family) / has failed (they are freed). */
void crew__attempt_begin(struct crew__lane *lane);
void crew__attempt_end(struct crew__lane *lane, bool keep);

/* In crew_init, founder: lay out the heap, register the sweep. */
int crew__heap_create(void);

/* The same in a named region that is there already: look whether its heap is where it must be. -EBADMSG. */
int crew__heap_attach(void);

#endif
