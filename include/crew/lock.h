/*
 * crew/lock.h - a lock that lives in shared memory and outlives its owner
 *
 * A crew_lock guards data that several processes map. Place it next to that
 * data. All zero bytes is a valid, free lock: fresh memory needs no set-up.
 *
 *     struct tally { struct crew_lock lock; uint64_t hits; } *t = ...;
 *
 *     int r = crew_lock_acquire(&t->lock, CREW_FOREVER);
 *     if (r < 0)
 *         return r;
 *     if (r == CREW_OWNER_DIED) {        // we hold it; *t may be half written
 *         tally_recount(t);
 *         crew_lock_repaired(&t->lock);
 *     }
 *     t->hits++;
 *     crew_lock_release(&t->lock);
 *
 * The owner is a thread. Death. A process may be killed at any instruction:
 *
 *     while waiting    nothing changes; nobody waits for the dead.
 *     while holding    the next acquire returns CREW_OWNER_DIED, holding it.
 *     inside a call    as if it died just before or just after that call.
 *
 * Any live process that waits sees to this within CREW_NOTICE; no daemon is needed.
 * If the one that got CREW_OWNER_DIED dies too, or releases without
 * crew_lock_repaired, the next one gets CREW_OWNER_DIED again.
 *
 * Order. A release happens before the acquire that takes the lock next, in
 * whichever process. After a death, every store of the dead owner is visible.
 *
 * Fork. A child does not own what its parent holds.
 */
#ifndef CREW_LOCK_H
#define CREW_LOCK_H

#include <crew/base.h>
#include <crew/error.h>

CREW_BEGIN

/* Private but not opaque: you embed it, so its size is shared-memory format. */
struct crew_lock {
	uint32_t word_;  /* 0: free; else the owner's lane, bit 31: sleepers, bit 30: not repaired */
	uint32_t flags_; /* set by crew_lock_init, then constant */
	uint32_t depth_; /* written by the owner alone: times acquired again */
	uint32_t spare_;
};
static_assert(sizeof(struct crew_lock) == 16, "shared-memory format");

enum {
	CREW_LOCK_RECURSIVE = 1, /* the owner may acquire it again; release as often */
	CREW_LOCK_CHECK = 2      /* an acquire that would close a circle of waiting threads fails: crew/deadlock.h */
};

/* Longest time, in ns, from an owner's death until a waiter takes notice. */
#define CREW_NOTICE (100 * CREW_MILLISECOND)

/* Make a free lock with flags (0, or some of the above). Zeroed memory needs no call. */
CREW_API void crew_lock_init(struct crew_lock *lock, unsigned flags);

/*
 * Take the lock, sleeping until it is free or the deadline has passed.
 *
 * Returns  0                held; the data is as the last owner left it.
 *          CREW_OWNER_DIED  held; the last owner died holding it. Repair the
 *                           data and call crew_lock_repaired() before release.
 * Errors   -ETIMEDOUT       not held; the deadline passed.
 *          -EDEADLK         not held; the calling thread owns it already, or, with CREW_LOCK_CHECK, would
 *                           wait for itself by way of others. Give back what you hold and try again.
 *          -ENOLCK          not held; this thread holds 64 locks already.
 *          -ENOTCONN        not a member.   -EAGAIN  no lane left for this thread.
 */
CREW_API CREW_CHECKED int crew_lock_acquire(struct crew_lock *lock, crew_time deadline);

/* Give the lock back and wake one waiter. Aborts with a message if the caller is not the owner. */
CREW_API void crew_lock_release(struct crew_lock *lock);

/* Declare the data whole again. Only the holder that got CREW_OWNER_DIED may. */
CREW_API void crew_lock_repaired(struct crew_lock *lock);

/* Whether anybody holds the lock; whether the calling thread does. For assertions and reports. */
CREW_API bool crew_lock_is_held(const struct crew_lock *lock);
CREW_API bool crew_lock_is_mine(const struct crew_lock *lock);

CREW_END
#endif
