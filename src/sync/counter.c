/*
 * counter.c - one word that counts units; post adds, wait takes
 *
 * State    value_: bits 0-30 units; bit 31 SLEEPERS: somebody may sleep on it. Kept by post and wait.
 * Quiet    A post that finds fewer sleepers than it may wake clears SLEEPERS, and then wakes all: whoever had set it and slept
 *          by then looks again, whoever had not slept yet does not, as the word is another. From then on a post costs
 *          no system call, until somebody sleeps again.
 * Death    post takes effect at its CAS, wait at its CAS; lane->bell names the word until the wake-up is done.
 *          A waiter that was woken and dies before it takes the unit: its sweep wakes all (waited_on).
 */
#include <crew/counter.h>
#include "base/sys.h"
#include "sync/internal.h"

#define MOST 0x7fffffffu
#define SLEEPERS 0x80000000u

int crew_counter_post(struct crew_counter *counter, uint32_t units)
{
	struct crew__lane *lane;
	int r = crew__lane_for(counter, sizeof *counter, &lane);
	if (r < 0)
		return r;
	__atomic_store_n(&lane->bell, crew__offset(&counter->value_), __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	uint32_t v = __atomic_load_n(&counter->value_, __ATOMIC_RELAXED);
	do {
		if (units > MOST - (v & MOST)) {
			__atomic_store_n(&lane->bell, 0, __ATOMIC_RELAXED);
			return -EINVAL;
		}
	} while (!__atomic_compare_exchange_n(&counter->value_, &v, v + units, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	if (v & SLEEPERS && crew__wake(&counter->value_, units) < units) {
		__atomic_fetch_and(&counter->value_, ~SLEEPERS, __ATOMIC_SEQ_CST);
		crew__wake(&counter->value_, UINT32_MAX);
	}
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&lane->bell, 0, __ATOMIC_RELAXED);
	return 0;
}

int crew_counter_wait(struct crew_counter *counter, crew_time deadline)
{
	struct crew__lane *lane;
	int r = crew__lane_for(counter, sizeof *counter, &lane);
	if (r < 0)
		return r;
	for (unsigned turn = 0;;) {
		uint32_t v = __atomic_load_n(&counter->value_, __ATOMIC_SEQ_CST);
		if (v & MOST) {
			if (__atomic_compare_exchange_n(&counter->value_, &v, v - 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
				return 0;
			continue;
		}
		if (crew__spin(turn++))
			continue;
		if (!(v & SLEEPERS) && deadline > CREW_POLL &&
				!__atomic_compare_exchange_n(&counter->value_, &v, SLEEPERS, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			continue;
		if (crew__sleep(lane, &counter->value_, deadline <= CREW_POLL ? v : SLEEPERS, 0, deadline) < 0)
			return -ETIMEDOUT;
	}
}

uint32_t crew_counter_value(const struct crew_counter *counter)
{
	return __atomic_load_n(&counter->value_, __ATOMIC_ACQUIRE) & MOST;
}
