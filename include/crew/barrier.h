/*
 * crew/barrier.h - a number of parties meet, phase after phase
 *
 *     struct crew_barrier *b = ...;              // shared
 *     crew_barrier_init(b, 4, 0);
 *     ...
 *     unsigned index;
 *     r = crew_barrier_wait(b, &index, deadline); // in each of the 4, as often as they like
 *
 * All zero bytes is a barrier without parties: wait returns -EINVAL.
 *
 * Death. A thread becomes a party with its first wait. A party that dies breaks the barrier: all others
 * get -ECANCELED, and so does every later wait until crew_barrier_reset. So do a time-out and
 * crew_barrier_abort. A party that ends in good order, without crew_barrier_leave, breaks it for the other
 * parties; once the last of them is gone it is whole again. Nobody waits for those who will not come.
 *
 * With CREW_BARRIER_SHRINK whoever goes, by death, by its end, or by crew_barrier_leave, makes the barrier smaller by one
 * instead, and the others meet without it, at once if it was the last they waited for. Still, time-outs and
 * crew_barrier_abort break it. Who dies before its first wait is no party yet, and is waited for.
 */
#ifndef CREW_BARRIER_H
#define CREW_BARRIER_H

#include <crew/base.h>

CREW_BEGIN

struct crew_barrier {
	uint32_t guard_;   /* lane inside a section on this barrier */
	uint32_t parties_; /* constant after init; or fewer and fewer, with CREW_BARRIER_SHRINK */
	uint32_t arrived_; /* in this phase; changed inside the section */
	uint32_t bell_;    /* rings when a phase ends or breaks: what waiters sleep on */
	uint32_t phase_;   /* phases that have ended or broken so far */
	uint32_t history_; /* bit i: whether phase phase_ - 1 - i broke */
	uint32_t broken_;  /* 0; or no phase can start: 1 until reset, 2 until the last party is gone */
	uint32_t members_; /* threads that are parties */
	uint32_t flags_;   /* set by crew_barrier_init, then constant */
	uint32_t places_;  /* that have been given out in this phase */
	uint64_t apart_[8];
	uint64_t ended_;   /* 1 + the last phase that ended well; on a cache line of its own */
};
static_assert(sizeof(struct crew_barrier) == 112, "shared-memory format");

enum { CREW_BARRIER_SHRINK = 1 }; /* a party that goes makes it smaller, and does not break it */

/* Make a barrier for `parties` parties with flags (0 or CREW_BARRIER_SHRINK). Nobody may be waiting, nor be
 * left as a party of what the barrier was before. */
CREW_API void crew_barrier_init(struct crew_barrier *barrier, uint32_t parties, unsigned flags);

/*
 * Wait until all parties have arrived. index (may be NULL) gets 0 ... parties - 1, in
 * order of arrival; exactly one gets 0, or, if that one dies before the end of the phase, none.
 *
 * Errors  -ECANCELED  the barrier is broken.    -ETIMEDOUT  the deadline passed: now it is broken.
 *         -EINVAL     no parties.               -ENOLCK  -ENOTCONN  -EAGAIN
 */
CREW_API CREW_CHECKED int crew_barrier_wait(struct crew_barrier *barrier, unsigned *index, crew_time deadline);

/* Break the barrier for everyone who waits or will wait. */
CREW_API CREW_CHECKED int crew_barrier_abort(struct crew_barrier *barrier);

/* Make a broken barrier whole, with no party arrived; whoever waits gets -ECANCELED. */
CREW_API CREW_CHECKED int crew_barrier_reset(struct crew_barrier *barrier);

/* Stop being a party, so that the calling thread's end breaks nothing. */
CREW_API CREW_CHECKED int crew_barrier_leave(struct crew_barrier *barrier);

CREW_API uint32_t crew_barrier_waiting(const struct crew_barrier *barrier);
CREW_API bool crew_barrier_is_broken(const struct crew_barrier *barrier);

CREW_END
#endif
