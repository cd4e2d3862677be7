/*
 * crew/condition.h - wait until something guarded by a lock has changed
 *
 *     crew_lock_acquire(&q->lock, CREW_FOREVER);
 *     while (q->length == 0)                        // always in a loop
 *         crew_condition_wait(&q->not_empty, &q->lock, deadline);
 *     ...
 *     crew_lock_release(&q->lock);
 *
 * All zero bytes is valid. A wait may return without a notify, so test in a loop.
 *
 * Death. A waiter that dies swallows no wake-up: after a death all waiters wake and test
 * again. A notifier is never held up by dead waiters.
 */
#ifndef CREW_CONDITION_H
#define CREW_CONDITION_H

#include <crew/lock.h>

CREW_BEGIN

struct crew_condition {
	uint32_t sequence_; /* changes with every notify */
	uint32_t waiters_;  /* 1: somebody may sleep; may stay set, never missing */
};
static_assert(sizeof(struct crew_condition) == 8, "shared-memory format");

/*
 * Release the lock, sleep until notified, take the lock again. The lock is held on
 * every return but -EPERM, -ENOTCONN; it must be held once, not recursively.
 *
 * Returns  0                notified, or woken for no reason.
 *          CREW_OWNER_DIED  as crew_lock_acquire; wins over a time-out.
 * Errors   -ETIMEDOUT       the deadline passed; the lock is held.
 *          -EPERM           the calling thread does not own the lock, or owns it twice.
 */
CREW_API CREW_CHECKED int crew_condition_wait(struct crew_condition *condition, struct crew_lock *lock,
		crew_time deadline);

/* Wake up to `count` waiters; UINT32_MAX: all. With or without the lock. Errors: -ENOTCONN  -EAGAIN */
CREW_API CREW_CHECKED int crew_condition_notify(struct crew_condition *condition, uint32_t count);

CREW_END
#endif
