/*
 * crew/latch.h - a number of things to be done; whoever waits goes on when all are
 *
 *     crew_latch_init(&l, 3);                   // three parts
 *     ...
 *     r = crew_latch_down(&l, 1);               // in whoever has done one
 *     ...
 *     r = crew_latch_wait(&l, deadline);        // all done
 *
 * All zero bytes is a latch that is open: nothing to wait for. It opens once, until the next crew_latch_init.
 *
 * Death. A down has happened or not. By itself a latch knows nobody: a count that will never come is waited for up to
 * the deadline. A thread that has said crew_latch_owe is known: if it ends, in any way, before its down, that
 * is counted in its place, and waits return CREW_OWNER_DIED.
 */
#ifndef CREW_LATCH_H
#define CREW_LATCH_H

#include <crew/base.h>
#include <crew/error.h>

CREW_BEGIN

struct crew_latch {
	uint32_t guard_; /* lane inside a section on this latch */
	uint32_t count_; /* still to come */
	uint32_t bell_;  /* rings when it opens */
	uint32_t dead_;  /* counted for threads that ended owing */
};
static_assert(sizeof(struct crew_latch) == 16, "shared-memory format");

/* Nobody may be waiting. */
CREW_API void crew_latch_init(struct crew_latch *latch, uint32_t count);

/* Count n of them as done. n of what this thread owes is paid by it. Errors: -EINVAL (so many are not to come)  -ENOTCONN  -EAGAIN */
CREW_API CREW_CHECKED int crew_latch_down(struct crew_latch *latch, uint32_t n);

/* One of the counts is this thread's to make; as often as you like. Errors: -EINVAL (it is open)  -ENOLCK  -ENOTCONN  -EAGAIN */
CREW_API CREW_CHECKED int crew_latch_owe(struct crew_latch *latch);

/*
 * Wait until all are counted. A latch may be freed once this has returned.
 * Returns  0, or CREW_OWNER_DIED: some of them by death.
 * Errors   -ETIMEDOUT  -ENOTCONN  -EAGAIN
 */
CREW_API CREW_CHECKED int crew_latch_wait(struct crew_latch *latch, crew_time deadline);

/* How many are still to come, at this moment. */
CREW_API uint32_t crew_latch_count(const struct crew_latch *latch);

CREW_END
#endif
