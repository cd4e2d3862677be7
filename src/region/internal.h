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

/* In crew_fini: unlock the lanes of this process, ours too. Whether none of its threads' robust lists leads through the table any more. */
bool crew__lane_dissolve(void);

/*
 * Between region.c and named.c. map: give the file its size and map it, at `address` or (0) anywhere; *bytes, the least 256 MiB,
 * 0 for the default, is what it got. lay_out: front and tables of a new region, which is the family's from then on. enter: be
 * a founder in it. drop: the opposite of map, and no family any more.
 */
#define CREW__MAGIC UINT64_C(0x0077657263006d66) /* "fm" "crew" */
#define CREW__FORMAT 2u
int crew__region_map(int fd, uint64_t address, uint64_t *bytes, struct crew__region **ret);
int crew__region_lay_out(int fd, struct crew__region *region, uint64_t bytes, uint64_t memory_cap);
int crew__region_enter(void);
void crew__region_drop(int fd, struct crew__region *region, uint64_t bytes);
struct crew__region crew__region_geometry(uint64_t bytes); /* bytes and the offsets; the rest 0 */

/* named.c: this program lives, for all to see, from now until its process ends or closes the file. */
int crew__program_begin(uint32_t number);
void crew__program_end(uint32_t number);

/* Register the handlers of fork.c; twice is fine. */
void crew__fork_init(void);

#endif
