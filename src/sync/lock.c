/* lock.c - the lock of crew/lock.h: an owner-tagged word (word.c) and a depth */
#include <crew/lock.h>
#include "base/sys.h"
#include "sync/internal.h"
#include "sync/undo.h"

void crew_lock_init(struct crew_lock *lock, unsigned flags)
{
	*lock = (struct crew_lock){ .flags_ = flags };
}

/* Whether this thread may use the lock, without a call: it has a lane, and the lock is where sweeps find it. */
static inline struct crew__lane *lane_at_once(const struct crew_lock *lock)
{
	/* No object lies across the region's beginning, so one comparison is enough. */
	return __builtin_expect(crew__offset(lock) + sizeof *lock - 1 < crew__family.bytes, 1) ? crew__mine.lane : NULL;
}

/* What a first try did not settle: no lane yet, no room, somebody holds it, it is broken. */
static __attribute__((noinline)) int acquire(struct crew_lock *lock, crew_time deadline)
{
	struct crew__lane *lane;
	int r = crew__lane_for(lock, sizeof *lock, &lane);
	if (r < 0)
		return r;
	lane->checks = lock->flags_ & CREW_LOCK_CHECK ? crew__offset(&lock->word_) : 0;
	r = crew__word_acquire(lane, &lock->word_, CREW__HOLD_LOCK, deadline);
	lane->checks = 0;
	if (r >= 0) {
		lock->depth_ = 0; /* a dead owner's depth means nothing */
	} else if (r == -EDEADLK && (lock->flags_ & CREW_LOCK_RECURSIVE) && crew_lock_is_mine(lock)) {
		lock->depth_++;
		r = 0;
	}
	return r;
}

int crew_lock_acquire(struct crew_lock *lock, crew_time deadline)
{
	struct crew__lane *lane = lane_at_once(lock);
	if (!lane || !crew__word_try(&lock->word_, CREW__HOLD_LOCK))
		return acquire(lock, deadline);
	if (__builtin_expect(lock->depth_ != 0, 0))
		lock->depth_ = 0; /* as above */
	return 0;
}

static __attribute__((noinline, noreturn)) void not_mine(const struct crew_lock *lock, const char *call)
{
	crew__panic("%s: lock %p is not held by this thread (its word is %#x)", call, (const void *)lock,
		__atomic_load_n(&lock->word_, __ATOMIC_RELAXED));
}

/* A release that is more than one exchange: of a lock held again, broken, with an undo log, or not ours. */
static __attribute__((noinline)) void release(struct crew_lock *lock, struct crew__lane *lane)
{
	uint32_t word = __atomic_load_n(&lock->word_, __ATOMIC_RELAXED);
	if (!lane || (word & CREW__OWNER) != crew__lane_id(lane))
		not_mine(lock, "crew_lock_release");
	if (lock->depth_) {
		lock->depth_--;
		return;
	}
	bool logged = lane->logged != 0;
	if (logged)
		crew__undo_end(lane, &lock->word_);
	crew__word_release(lane, &lock->word_, CREW__HOLD_LOCK, word & CREW__BROKEN);
	if (logged)
		crew__undo_forget(lane, &lock->word_);
}

void crew_lock_release(struct crew_lock *lock)
{
	struct crew__lane *lane = crew__mine.lane;
	if (lane && lock->depth_ == 0 && lane->logged == 0 &&
			(__atomic_load_n(&lock->word_, __ATOMIC_RELAXED) & ~CREW__SLEEPERS) == crew__mine.id)
		crew__word_release(lane, &lock->word_, CREW__HOLD_LOCK, false);
	else
		release(lock, lane);
}

void crew_lock_repaired(struct crew_lock *lock)
{
	if (!crew_lock_is_mine(lock))
		not_mine(lock, "crew_lock_repaired");
	__atomic_fetch_and(&lock->word_, ~CREW__BROKEN, __ATOMIC_RELAXED); /* ordered by the release to come */
}

bool crew_lock_is_held(const struct crew_lock *lock)
{
	return __atomic_load_n(&lock->word_, __ATOMIC_RELAXED) & CREW__OWNER;
}

bool crew_lock_is_mine(const struct crew_lock *lock)
{
	struct crew__lane *lane;
	return crew__family.self && crew__lane_self(&lane) == 0 &&
		(__atomic_load_n(&lock->word_, __ATOMIC_RELAXED) & CREW__OWNER) == crew__lane_id(lane);
}
