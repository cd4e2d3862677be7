/* run.h - between the files that know how small runs work */
#ifndef CREW_MEMORY_RUN_H
#define CREW_MEMORY_RUN_H

#include "memory/block.h"

static inline uint64_t *headers_of(uint32_t number)
{
	return (uint64_t *)(void *)span_base(number);
}

/* Seen free => whatever its last user did with the block has been seen too. */
static inline bool is_free(const uint64_t *header)
{
	return __atomic_load_n(header, __ATOMIC_SEQ_CST) == 0;
}

static inline char *block_at(uint32_t number, const struct crew__class *class, uint32_t index)
{
	return span_base(number) + class->start + (uint64_t)index * class->size;
}

/* After blocks of a run have been freed in the name of `of`, whose `freeing` names it: put it where it belongs now. */
int crew__run_settle(struct crew__lane *of, uint32_t index);

/* All below: inside a section. place may commit it at its end. */

/* The run, if it is nobody's own, goes where it belongs. `index`: where to look for a free block first. */
void crew__run_place(struct crew__lane *lane, struct crew__heap *heap, uint32_t number, uint32_t index);
/* A listed run becomes free spans if it is empty. */
void crew__run_drop(struct crew__lane *lane, struct crew__heap *heap, uint32_t number);
/* See that there is a listed run of that class. Commits what the section has set so far. -ENOMEM. */
int crew__run_provide(struct crew__lane *lane, struct crew__heap *heap, uint32_t class);
/* Allocate from the first listed run of that class, which there must be. */
void *crew__run_take(struct crew__lane *lane, struct crew__heap *heap, uint32_t class, uint64_t header, uint64_t *hand);

#endif
