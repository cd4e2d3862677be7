/*
 * counter.c - one word that counts units; post adds, wait takes
 *
 * Death    post takes effect at its CAS, wait at its CAS; lane->bell names the word until the wake-up is done.
 *          A waiter that was woken and dies before it takes the unit: its sweep wakes all (asleep_on).
 */
#include <crew/counter.h>
#include "base/sys.h"
#include "sync/internal.h"

#define MOST 0x80000000u

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
		if (units > MOST - v) {
			__atomic_store_n(&lane->bell, 0, __ATOMIC_RELAXED);
			return -EINVAL;
		}
	} while (!__atomic_compare_exchange_n(&counter->value_, &v, v + units, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
	if (__atomic_load_n(&counter->waiters_, __ATOMIC_SEQ_CST))
		crew__futex_wake(&counter->value_, units);
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
		if (v > 0) {
			if (__atomic_compare_exchange_n(&counter->value_, &v, v - 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
				return 0;
			continue;
		}
		if (crew__spin(turn++))
			continue;
		__atomic_store_n(&counter->waiters_, 1, __ATOMIC_SEQ_CST); /* never cleared: a post then costs a system call */
		if (crew__sleep(lane, &counter->value_, 0, 0, deadline) < 0)
			return -ETIMEDOUT;
	}
}

uint32_t crew_counter_value(const struct crew_counter *counter)
{
	return __atomic_load_n(&counter->value_, __ATOMIC_ACQUIRE);
}
