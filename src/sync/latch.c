/*
 * latch.c - a number that goes down to 0, and in lanes who owes how many of it
 *
 * Every change is a section on guard_; the last one rings. A hold OWED goes with the count it stands for, in one section: by
 * its thread (down) or by its sweep, never by both.
 */
#include <crew/latch.h>
#include "base/sys.h"
#include "sync/internal.h"

void crew_latch_init(struct crew_latch *latch, uint32_t count)
{
	*latch = (struct crew_latch){ .count_ = count };
}

/* Inside a section: n of what the lane's hold stands for are settled. */
static void pay(struct crew__lane *lane, struct crew__lane *debtor, int hold, uint32_t n)
{
	if (debtor->hold_count[hold] > n)
		crew__set32(lane, &debtor->hold_count[hold], debtor->hold_count[hold] - n);
	else
		crew__set64(lane, &debtor->hold[hold], 0);
}

/* Inside a section: n less to come; leave, and ring if that opens it. */
static void count_down(struct crew__lane *lane, struct crew_latch *latch, uint32_t n)
{
	crew__set32(lane, &latch->count_, latch->count_ - n);
	if (latch->count_ == 0)
		crew__leave_and_ring(lane, &latch->guard_, &latch->bell_, UINT32_MAX);
	else
		crew__leave(lane, &latch->guard_);
}

int crew_latch_down(struct crew_latch *latch, uint32_t n)
{
	struct crew__lane *lane;
	int r = crew__check_place(latch, sizeof *latch);
	if (r == 0)
		r = crew__enter(&lane, &latch->guard_, CREW_FOREVER);
	if (r < 0)
		return r;
	if (n > latch->count_) {
		crew__leave(lane, &latch->guard_);
		return -EINVAL;
	}
	int hold = crew__hold_find(lane, CREW__HOLD_OWED, latch);
	if (hold >= 0 && n)
		pay(lane, lane, hold, n);
	count_down(lane, latch, n);
	return 0;
}

int crew_latch_owe(struct crew_latch *latch)
{
	struct crew__lane *lane;
	int r = crew__check_place(latch, sizeof *latch);
	if (r == 0)
		r = crew__enter(&lane, &latch->guard_, CREW_FOREVER);
	if (r < 0)
		return r;
	int hold = crew__hold_find(lane, CREW__HOLD_OWED, latch);
	uint32_t owed = hold < 0 ? 0 : lane->hold_count[hold];
	if (owed >= latch->count_)
		r = -EINVAL;
	else if (hold >= 0)
		crew__set32(lane, &lane->hold_count[hold], owed + 1);
	else if ((hold = crew__hold_set(lane, CREW__HOLD_OWED, latch)) < 0)
		r = hold;
	crew__leave(lane, &latch->guard_);
	return r;
}

int crew_latch_wait(struct crew_latch *latch, crew_time deadline)
{
	int r = crew__check_place(latch, sizeof *latch);
	while (r == 0) {
		struct crew__lane *lane;
		uint32_t seen = crew__bell_look(&latch->bell_);
		r = crew__enter(&lane, &latch->guard_, CREW_FOREVER);
		if (r < 0)
			return r;
		bool open = latch->count_ == 0, died = latch->dead_ != 0;
		crew__leave(lane, &latch->guard_);
		if (open)
			return died ? CREW_OWNER_DIED : 0;
		r = crew__bell_wait(lane, &latch->bell_, seen, deadline);
	}
	return r;
}

uint32_t crew_latch_count(const struct crew_latch *latch)
{
	return __atomic_load_n(&latch->count_, __ATOMIC_ACQUIRE);
}

void crew__latch_sweep(struct crew_latch *latch, struct crew__lane *dead, int index)
{
	struct crew__lane *lane;
	if (crew__enter(&lane, &latch->guard_, CREW_FOREVER) < 0)
		return; /* no lane left for the sweeper: the hold stays, the next sweep has it */
	uint32_t n = dead->hold[index] ? dead->hold_count[index] : 0;
	n = n < latch->count_ ? n : latch->count_; /* others may have counted for it */
	if (dead->hold[index]) {
		crew__set64(lane, &dead->hold[index], 0);
		crew__set32(lane, &latch->dead_, latch->dead_ + n);
	}
	count_down(lane, latch, n);
}
