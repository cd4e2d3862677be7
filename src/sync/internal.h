/* internal.h - the parts of a sweep that belong to one kind of object */
#ifndef CREW_SYNC_INTERNAL_H
#define CREW_SYNC_INTERNAL_H

#include <crew/barrier.h>
#include <crew/latch.h>
#include <crew/semaphore.h>
#include "sync/section.h"

/* Give back what hold number `index` of the dead lane says, and forget the hold, in one section. */
void crew__semaphore_sweep(struct crew_semaphore *semaphore, struct crew__lane *dead, int index);
void crew__barrier_sweep(struct crew_barrier *barrier, struct crew__lane *dead, int index, bool clean);
void crew__latch_sweep(struct crew_latch *latch, struct crew__lane *dead, int index);

#endif
