/*
 * event.c - a flag in a word: bit 0 set, bit 1 somebody may sleep
 *
 * Death    set takes effect at its exchange; lane->bell names the word until the wake-up is done. An automatic event is
 *          taken by one CAS; a waiter woken for it that dies before that CAS: its sweep wakes all.
 */
#include <crew/event.h>
#include "base/sys.h"
#include "sync/internal.h"

#define SET 1u
#define SLEEPERS 2u

void crew_event_init(struct crew_event *event, unsigned flags)
{
	*event = (struct crew_event){ .flags_ = flags };
}

int crew_event_set(struct crew_event *event)
{
	struct crew__lane *lane;
	int r = crew__lane_for(event, sizeof *event, &lane);
	if (r < 0)
		return r;
	__atomic_store_n(&lane->bell, crew__offset(&event->word_), __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (__atomic_exchange_n(&event->word_, SET, __ATOMIC_SEQ_CST) & SLEEPERS)
		crew__wake(&event->word_, UINT32_MAX); /* of an automatic one the first takes it, the others sleep again */
	__atomic_store_n(&lane->bell, 0, __ATOMIC_RELAXED);
	return 0;
}

int crew_event_clear(struct crew_event *event)
{
	int r = crew__check_place(event, sizeof *event);
	if (r == 0)
		__atomic_fetch_and(&event->word_, ~SET, __ATOMIC_SEQ_CST);
	return r;
}

int crew_event_wait(struct crew_event *event, crew_time deadline)
{
	struct crew__lane *lane;
	int r = crew__lane_for(event, sizeof *event, &lane);
	if (r < 0)
		return r;
	for (unsigned turn = 0;;) {
		uint32_t v = __atomic_load_n(&event->word_, __ATOMIC_SEQ_CST);
		if (v & SET) {
			if (!(event->flags_ & CREW_EVENT_AUTO) ||
					__atomic_compare_exchange_n(&event->word_, &v, v & ~SET, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
				return 0;
			continue;
		}
		if (crew__spin(turn++))
			continue;
		if (!(v & SLEEPERS) && deadline > CREW_POLL &&
				!__atomic_compare_exchange_n(&event->word_, &v, v | SLEEPERS, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			continue;
		if (crew__sleep(lane, &event->word_, deadline <= CREW_POLL ? v : v | SLEEPERS, 0, deadline) < 0)
			return -ETIMEDOUT;
	}
}

bool crew_event_is_set(const struct crew_event *event)
{
	return __atomic_load_n(&event->word_, __ATOMIC_ACQUIRE) & SET;
}
