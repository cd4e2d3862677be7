/*
 * semaphore.c - permits: how many are free, and in each holder's lane how many it has
 *
 * Invariant  free_ + all holds of this semaphore = total_, outside sections. Both sides change in one section,
 *            so a death anywhere leaves it true; the sweep moves a dead lane's permits back in one section too.
 */
#include <crew/semaphore.h>
#include "base/sys.h"
#include "sync/internal.h"

void crew_semaphore_init(struct crew_semaphore *semaphore, uint32_t permits)
{
	*semaphore = (struct crew_semaphore){ .free_ = permits, .total_ = permits };
}

/* Inside a section: the lane has one permit more, in hold `index` (-1: it has none yet). -ENOLCK. */
static int hold_more(struct crew__lane *lane, struct crew_semaphore *semaphore, int index)
{
	if (index < 0)
		index = crew__hold_set(lane, CREW__HOLD_PERMIT, semaphore);
	else
		crew__set32(lane, &lane->hold_count[index], lane->hold_count[index] + 1);
	return index < 0 ? index : 0;
}

int crew_semaphore_acquire(struct crew_semaphore *semaphore, crew_time deadline)
{
	int r = crew__check_place(semaphore, sizeof *semaphore);
	if (r < 0)
		return r;
	for (;;) {
		struct crew__lane *lane;
		uint32_t seen = crew__bell_look(&semaphore->bell_);
		r = crew__enter(&lane, &semaphore->guard_, CREW_FOREVER);
		if (r < 0)
			return r;
		bool got = semaphore->free_ > 0;
		if (got) {
			r = hold_more(lane, semaphore, crew__hold_find(lane, CREW__HOLD_PERMIT, semaphore));
			if (r == 0)
				crew__set32(lane, &semaphore->free_, semaphore->free_ - 1);
		}
		crew__leave(lane, &semaphore->guard_);
		if (got)
			return r;
		r = crew__bell_wait_for(lane, &semaphore->bell_, seen,
			crew__hold_word(CREW__HOLD_PERMIT, semaphore), deadline);
		if (r < 0)
			return r;
	}
}

int crew_semaphore_release(struct crew_semaphore *semaphore)
{
	struct crew__lane *lane;
	int r = crew__lane_for(semaphore, sizeof *semaphore, &lane);
	if (r < 0)
		return r;
	int hold = crew__hold_find(lane, CREW__HOLD_PERMIT, semaphore);
	if (hold < 0)
		return -EPERM;
	r = crew__enter(&lane, &semaphore->guard_, CREW_FOREVER);
	if (r < 0)
		return r;
	if (lane->hold_count[hold] > 1)
		crew__set32(lane, &lane->hold_count[hold], lane->hold_count[hold] - 1);
	else
		crew__set64(lane, &lane->hold[hold], 0);
	crew__set32(lane, &semaphore->free_, semaphore->free_ + 1);
	crew__leave_and_ring(lane, &semaphore->guard_, &semaphore->bell_, 1);
	return 0;
}

uint32_t crew_semaphore_free(const struct crew_semaphore *semaphore)
{
	return __atomic_load_n(&semaphore->free_, __ATOMIC_ACQUIRE);
}

void crew__semaphore_sweep(struct crew_semaphore *semaphore, struct crew__lane *dead, int index)
{
	struct crew__lane *lane;
	if (crew__enter(&lane, &semaphore->guard_, CREW_FOREVER) < 0)
		return; /* no lane left for the sweeper: the hold stays, the next sweep has it */
	if (dead->hold[index]) {
		crew__set32(lane, &semaphore->free_, semaphore->free_ + dead->hold_count[index]);
		crew__set64(lane, &dead->hold[index], 0);
	}
	crew__leave_and_ring(lane, &semaphore->guard_, &semaphore->bell_, UINT32_MAX);
}
