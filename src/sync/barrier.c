/*
 * barrier.c - phases: the last party to arrive ends the phase
 *
 * State    arrived_: parties that wait in this phase; places_: parties that have come in it, the dead among them. phase_:
 *          number of this phase; an end and a break both start the next. history_: how the last 32 went, so a waiter
 *          finds out about its own however many have broken before it looks. broken_: no phase can start. members_: lanes
 *          with a hold PARTY on it, from their first arrival on; its count is 1 + the phase in which it arrived last.
 * Moves    every change is a section on guard_; then bell_ rings. ended_ is stored once the end of a phase is committed
 *          (crew__owe_store), so whoever finds its phase there is through without a section of its own. On a cache line
 *          of its own: those who spin on it do not slow down the one who is about to store it.
 * Death    inside a section: undone. Arrived, or between phases: the sweep breaks the barrier, or makes it smaller by one
 *          (barrier_sweep); where all others have arrived that ends the phase.
 *          Between the section that ends a phase and the ring: crew__leave_and_ring.
 */
#include <crew/barrier.h>
#include <stddef.h>
#include "base/sys.h"
#include "sync/internal.h"

static_assert(offsetof(struct crew_barrier, ended_) >= offsetof(struct crew_barrier, places_) + sizeof(uint32_t) + 60,
	"ended_ is on another cache line than the rest, wherever the barrier begins");

void crew_barrier_init(struct crew_barrier *barrier, uint32_t parties, unsigned flags)
{
	*barrier = (struct crew_barrier){ .parties_ = parties, .flags_ = flags };
}

enum { WHOLE, BROKEN, LEFT_BY_ONE };

/* Inside a section: on to the next phase; whoever waits finds out. */
static void next_phase(struct crew__lane *lane, struct crew_barrier *barrier, bool broke)
{
	crew__set32(lane, &barrier->history_, barrier->history_ << 1 | broke);
	crew__set32(lane, &barrier->arrived_, 0);
	if (barrier->places_)
		crew__set32(lane, &barrier->places_, 0);
	crew__set32(lane, &barrier->phase_, barrier->phase_ + 1);
}

/* Inside a section, its last change: the phase ends well. */
static void end_well(struct crew__lane *lane, struct crew_barrier *barrier)
{
	crew__owe_store(lane, &barrier->ended_, (uint64_t)barrier->phase_ + 1);
	next_phase(lane, barrier, false);
}

/* Without a section: whether that phase is known to have ended well. */
static bool has_ended(const struct crew_barrier *barrier, uint32_t phase)
{
	return __atomic_load_n(&barrier->ended_, __ATOMIC_ACQUIRE) == (uint64_t)phase + 1;
}

/* Inside a section: whether that phase, which is over, broke. Who is 32 phases late cannot have been a party of them: yes. */
static bool phase_broke(const struct crew_barrier *barrier, uint32_t phase)
{
	uint32_t since = barrier->phase_ - phase - 1;
	return since >= 32 || barrier->history_ >> since & 1;
}

/* Inside a section: break it. Nobody waits at one that is broken already, so its phase goes on only once. */
static void break_it(struct crew__lane *lane, struct crew_barrier *barrier, uint32_t how)
{
	if (barrier->broken_ == WHOLE)
		next_phase(lane, barrier, true);
	if (barrier->broken_ != BROKEN)
		crew__set32(lane, &barrier->broken_, how);
}

/* Inside a section: the calling thread is a party from here on. Its hold, or -ENOLCK. */
static int be_a_party(struct crew__lane *lane, struct crew_barrier *barrier)
{
	int hold = crew__hold_find(lane, CREW__HOLD_PARTY, barrier);
	if (hold >= 0)
		return hold;
	hold = crew__hold_set(lane, CREW__HOLD_PARTY, barrier);
	if (hold >= 0)
		crew__set32(lane, &barrier->members_, barrier->members_ + 1);
	return hold;
}

/* Inside a section: `of` (this thread, or a dead one) is no party any more. The last one leaves a whole barrier, unless it is to be reset. */
static void be_none(struct crew__lane *lane, struct crew_barrier *barrier, struct crew__lane *of, int hold)
{
	crew__set64(lane, &of->hold[hold], 0);
	crew__set32(lane, &barrier->members_, barrier->members_ - 1);
	if (barrier->members_ == 0 && barrier->broken_ == LEFT_BY_ONE)
		crew__set32(lane, &barrier->broken_, WHOLE);
}

/* The same where that makes the barrier smaller, which may end the phase. */
static void shrink(struct crew__lane *lane, struct crew_barrier *barrier, struct crew__lane *of, int hold)
{
	if (barrier->arrived_ && of->hold_count[hold] == barrier->phase_ + 1)
		crew__set32(lane, &barrier->arrived_, barrier->arrived_ - 1);
	be_none(lane, barrier, of, hold);
	if (barrier->parties_)
		crew__set32(lane, &barrier->parties_, barrier->parties_ - 1);
	if (barrier->parties_ && barrier->arrived_ == barrier->parties_)
		end_well(lane, barrier);
}

/* Whether a party has ended and is not swept yet: somebody else may be at it right now. */
static bool awaits_sweep(const struct crew_barrier *barrier)
{
	struct crew__lane *lane;
	for (uint32_t number = 1; (lane = crew__lane_at(number)); number++)
		if (crew__lane_is_over(lane) && crew__hold_search(lane, crew__hold_word(CREW__HOLD_PARTY, barrier)) >= 0)
			return true;
	return false;
}

/*
 * Enter. Parties that have ended are swept first, if it is broken because of one, or if the caller would be one party too many:
 * else they would break the phase that is to begin. The sweep of each rings.
 */
static int enter_swept(struct crew__lane **lane, struct crew_barrier *barrier, crew_time deadline)
{
	for (bool reaped = false;; reaped = true) {
		uint32_t seen = crew__bell_look(&barrier->bell_);
		int r = crew__enter(lane, &barrier->guard_, CREW_FOREVER);
		if (r < 0)
			return r;
		bool crowded = barrier->members_ >= barrier->parties_ && crew__hold_find(*lane, CREW__HOLD_PARTY, barrier) < 0;
		if ((!crowded && barrier->broken_ != LEFT_BY_ONE) || (reaped && !awaits_sweep(barrier)))
			return 0;
		crew__leave(*lane, &barrier->guard_);
		crew__lane_reap_all();
		if (awaits_sweep(barrier) && (r = crew__bell_wait(*lane, &barrier->bell_, seen, deadline)) < 0)
			return r;
	}
}

/* Having arrived in this phase, wait until it is over. */
static int await_end(struct crew__lane *lane, struct crew_barrier *barrier, uint32_t phase, crew_time deadline)
{
	for (unsigned turn = 0;;) {
		if (has_ended(barrier, phase))
			return 0;
		if (crew__spin(turn++))
			continue;
		uint32_t seen = crew__bell_look(&barrier->bell_);
		if (has_ended(barrier, phase))
			return 0;
		/* A bare look may see what a section has not committed yet; only a look inside one counts. */
		bool over = __atomic_load_n(&barrier->phase_, __ATOMIC_ACQUIRE) != phase;
		bool late = !over && crew__bell_sleep(lane, &barrier->bell_, seen, deadline) < 0;
		if (!over && !late)
			continue;
		int r = crew__enter(&lane, &barrier->guard_, CREW_FOREVER);
		if (r < 0)
			return r;
		over = barrier->phase_ != phase;
		bool broke = over && phase_broke(barrier, phase);
		if (!over && late) {
			break_it(lane, barrier, BROKEN);
			crew__leave_and_ring(lane, &barrier->guard_, &barrier->bell_, UINT32_MAX);
			return -ETIMEDOUT;
		}
		crew__leave(lane, &barrier->guard_);
		if (over)
			return broke ? -ECANCELED : 0;
	}
}

int crew_barrier_wait(struct crew_barrier *barrier, unsigned *index, crew_time deadline)
{
	struct crew__lane *lane;
	int r = crew__check_place(barrier, sizeof *barrier);
	if (r < 0)
		return r;
	r = enter_swept(&lane, barrier, deadline);
	if (r < 0)
		return r;
	if (barrier->parties_ == 0)
		r = -EINVAL;
	else if (barrier->broken_)
		r = -ECANCELED;
	else
		r = be_a_party(lane, barrier);
	if (r < 0) {
		crew__leave(lane, &barrier->guard_);
		return r;
	}
	uint32_t place = barrier->places_, phase = barrier->phase_;
	bool last = barrier->arrived_ + 1 == barrier->parties_;
	crew__set32(lane, &lane->hold_count[r], phase + 1);
	if (last) {
		end_well(lane, barrier);
		crew__leave_and_ring(lane, &barrier->guard_, &barrier->bell_, UINT32_MAX);
	} else {
		crew__set32(lane, &barrier->arrived_, barrier->arrived_ + 1);
		crew__set32(lane, &barrier->places_, place + 1);
		crew__leave(lane, &barrier->guard_);
	}
	if (index)
		*index = place;
	return last ? 0 : await_end(lane, barrier, phase, deadline);
}

/* Break it, or make it whole; either way whoever waits gets -ECANCELED. */
static int end_phase(struct crew_barrier *barrier, bool broken)
{
	struct crew__lane *lane;
	int r = crew__check_place(barrier, sizeof *barrier);
	if (r == 0)
		r = crew__enter(&lane, &barrier->guard_, CREW_FOREVER);
	if (r < 0)
		return r;
	break_it(lane, barrier, BROKEN);
	crew__set32(lane, &barrier->broken_, broken ? BROKEN : WHOLE);
	crew__leave_and_ring(lane, &barrier->guard_, &barrier->bell_, UINT32_MAX);
	return 0;
}

int crew_barrier_abort(struct crew_barrier *barrier)
{
	return end_phase(barrier, true);
}

int crew_barrier_reset(struct crew_barrier *barrier)
{
	return end_phase(barrier, false);
}

int crew_barrier_leave(struct crew_barrier *barrier)
{
	struct crew__lane *lane;
	int r = crew__lane_for(barrier, sizeof *barrier, &lane);
	if (r < 0)
		return r;
	int hold = crew__hold_find(lane, CREW__HOLD_PARTY, barrier);
	if (hold < 0)
		return -EPERM;
	r = crew__enter(&lane, &barrier->guard_, CREW_FOREVER);
	if (r < 0)
		return r;
	if (barrier->flags_ & CREW_BARRIER_SHRINK)
		shrink(lane, barrier, lane, hold);
	else
		be_none(lane, barrier, lane, hold);
	crew__leave_and_ring(lane, &barrier->guard_, &barrier->bell_, UINT32_MAX);
	return 0;
}

uint32_t crew_barrier_waiting(const struct crew_barrier *barrier)
{
	return __atomic_load_n(&barrier->arrived_, __ATOMIC_ACQUIRE);
}

bool crew_barrier_is_broken(const struct crew_barrier *barrier)
{
	return __atomic_load_n(&barrier->broken_, __ATOMIC_ACQUIRE);
}

void crew__barrier_sweep(struct crew_barrier *barrier, struct crew__lane *dead, int index, bool clean)
{
	struct crew__lane *lane;
	if (crew__enter(&lane, &barrier->guard_, CREW_FOREVER) < 0)
		return;
	if (!dead->hold[index]) {
		crew__leave(lane, &barrier->guard_);
		return;
	}
	if (barrier->flags_ & CREW_BARRIER_SHRINK) {
		shrink(lane, barrier, dead, index);
	} else {
		break_it(lane, barrier, clean ? LEFT_BY_ONE : BROKEN);
		be_none(lane, barrier, dead, index);
	}
	crew__leave_and_ring(lane, &barrier->guard_, &barrier->bell_, UINT32_MAX);
}
