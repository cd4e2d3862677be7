/* internal.h - between the files of this layer */
#ifndef CREW_REGION_INTERNAL_H
#define CREW_REGION_INTERNAL_H

#include "region/lane.h"
#include "region/region.h"

/* The table of lanes and slots: set up in the founder; grown under one robust mutex in the region's front. */
int crew__table_create(void);

/* Commit entries of a table up to and including `number`, run `make` on each new one, then raise *high. -ENOMEM, -EAGAIN (full). */
int crew__table_grow(uint32_t *high, uint32_t limit, uint64_t table, size_t size, uint32_t seen, void (*make)(void *entry));

/* Repair what `lane` left. The caller has its `alive` by EOWNERDEAD. Afterwards the lane is FREE, with a new
 * generation; or still as it was, but with less in it, where the caller can have no lane and so no sections. */
void crew__sweep(struct crew__lane *lane);

/* Whether a lane names nothing that a sweep would have to give back. */
bool crew__lane_is_empty(const struct crew__lane *lane);

/* The end of a sweep: empty, with a new generation, FREE. */
void crew__lane_free(struct crew__lane *lane);

/* After a fork, in the child: no lane. */
void crew__lane_forget(void);

/* In crew_fini: unlock all lanes, ours too. Whether no thread's robust list leads through the table any more. */
bool crew__lane_dissolve(void);

/* Register the handlers of fork.c; twice is fine. */
void crew__fork_init(void);

#endif
