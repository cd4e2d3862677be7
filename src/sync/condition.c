/*
 * condition.c - a bell beside a lock
 *
 * A waiter looks at the bell while it holds the lock, so a notify that follows its release of the lock rings
 * after that look and ends its sleep. No waiter is counted, so a dead one is missed by nobody.
 */
#include <crew/condition.h>
#include "base/sys.h"
#include "sync/internal.h"

int crew_condition_wait(struct crew_condition *condition, struct crew_lock *lock, crew_time deadline)
{
	struct crew__lane *lane;
	int r = crew__lane_for(condition, sizeof *condition, &lane);
	if (r < 0)
		return r;
	if (!crew_lock_is_mine(lock) || lock->depth_)
		return -EPERM;
	uint32_t seen = crew__bell_look(&condition->sequence_);
	crew_lock_release(lock);
	int waited = crew__bell_wait(lane, &condition->sequence_, seen, deadline);
	r = crew_lock_acquire(lock, CREW_FOREVER);
	return r == 0 ? waited : r;
}

int crew_condition_notify(struct crew_condition *condition, uint32_t count)
{
	struct crew__lane *lane;
	int r = crew__lane_for(condition, sizeof *condition, &lane);
	if (r < 0)
		return r;
	if (count)
		crew__ring(lane, &condition->sequence_, count);
	return 0;
}
