/*
 * crew/counter.h - a counting signal: anybody posts, whoever waits takes one
 *
 * All zero bytes is a counter at zero. Units have no owner: what a waiter has taken
 * is consumed. For permits that must come back see crew/semaphore.h.
 *
 * Death. Inside post: the unit is there or it is not. Inside wait: taken or not.
 * Nobody else is held up, and no wake-up is lost.
 */
#ifndef CREW_COUNTER_H
#define CREW_COUNTER_H

#include <crew/base.h>

CREW_BEGIN

struct crew_counter {
	uint32_t value_; /* bit 31: somebody may sleep on it; may stay set, never missing */
	uint32_t spare_;
};
static_assert(sizeof(struct crew_counter) == 8, "shared-memory format");

/* Add `units` (up to 2^31 - 1 in all) and wake as many waiters. Errors: -EINVAL (it would overflow)  -ENOTCONN  -EAGAIN */
CREW_API CREW_CHECKED int crew_counter_post(struct crew_counter *counter, uint32_t units);

/* Take one unit. Errors: -ETIMEDOUT  -ENOTCONN  -EAGAIN */
CREW_API CREW_CHECKED int crew_counter_wait(struct crew_counter *counter, crew_time deadline);

/* Units there at this moment. */
CREW_API uint32_t crew_counter_value(const struct crew_counter *counter);

CREW_END
#endif
