/* lock.c - the lock of crew/lock.h: an owner-tagged word (word.c) and a depth */
#include <crew/lock.h>
#include "base/sys.h"
#include "sync/internal.h"
#include "sync/undo.h"

void crew_lock_init(struct crew_lock *lock, unsigned flags)
{
	*lock = (struct crew_lock){ .flags_ = flags };
}

int crew_lock_acquire(struct crew_lock *lock, crew_time deadline)
{
	struct crew__lane *lane;
	int r = crew__lane_for(lock, sizeof *lock, &lane);
	if (r < 0)
		return r;
	r = crew__word_acquire(lane, &lock->word_, CREW__HOLD_LOCK, deadline);
	if (r >= 0) {
		lock->depth_ = 0; /* a dead owner's depth means nothing */
	} else if (r == -EDEADLK && (lock->flags_ & CREW_LOCK_RECURSIVE)) {
		lock->depth_++;
		r = 0;
	}
	return r;
}

static struct crew__lane *owner(const struct crew_lock *lock, const char *call)
{
	struct crew__lane *lane;
	uint32_t word = __atomic_load_n(&lock->word_, __ATOMIC_RELAXED);
	if (crew__lane_self(&lane) < 0 || (word & CREW__OWNER) != crew__lane_id(lane))
		crew__panic("%s: lock %p is not held by this thread (its word is %#x)", call, (const void *)lock, word);
	return lane;
}

void crew_lock_release(struct crew_lock *lock)
{
	struct crew__lane *lane = owner(lock, "crew_lock_release");
	if (lock->depth_) {
		lock->depth_--;
		return;
	}
	bool broken = __atomic_load_n(&lock->word_, __ATOMIC_RELAXED) & CREW__BROKEN;
	if (__builtin_expect(lane->logged != 0, 0)) {
		crew__undo_end(lane, &lock->word_);
		crew__word_release(lane, &lock->word_, CREW__HOLD_LOCK, broken);
		crew__undo_forget(lane, &lock->word_);
		return;
	}
	crew__word_release(lane, &lock->word_, CREW__HOLD_LOCK, broken);
}

void crew_lock_repaired(struct crew_lock *lock)
{
	owner(lock, "crew_lock_repaired");
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
