/*
 * once.c - a lock and a word that is set once
 *
 * Death    running: the lock is broken, and the next who gets it runs the function again. Between done_ and the
 *          release: the lock is broken, but done_ is looked at first.
 */
#include <crew/once.h>
#include "base/sys.h"
#include "sync/internal.h"

bool crew_once_is_done(const struct crew_once *once)
{
	return __atomic_load_n(&once->done_, __ATOMIC_ACQUIRE);
}

int crew_once(struct crew_once *once, int (*function)(void *argument, bool again), void *argument, crew_time deadline)
{
	int r = crew__check_place(once, sizeof *once);
	if (r < 0 || crew_once_is_done(once))
		return r;
	int held = crew_lock_acquire(&once->lock_, deadline);
	if (held < 0)
		return held;
	if (!crew_once_is_done(once))
		r = function(argument, held == CREW_OWNER_DIED);
	if (r >= 0)
		__atomic_store_n(&once->done_, 1, __ATOMIC_RELEASE);
	if (held == CREW_OWNER_DIED)
		crew_lock_repaired(&once->lock_);
	crew_lock_release(&once->lock_);
	return r < 0 ? r : 0;
}
