/*
 * watch.c - sleep on several words at once
 *
 * State    the watched words belong to others; here they are only armed ("somebody may sleep").
 * Order    (A) the word is read   before (B) the object is looked at   before (C) arm and sleep, expecting (A)'s value.
 *          Whoever makes an object ready changes the word after that, and then wakes if it is armed, so
 *          impossible: (B) misses the news, and (C) sleeps on.
 * Death    of a sleeper: its process may have been given a wake-up meant for one (BELL_ONE, COUNTER) and died before passing it on.
 *          Others then sleep until their slice ends (CREW_NOTICE); crew_wait_any alone has this window, because a
 *          lane names one word (lane->waited_on), not many.
 */
#include <crew/lock.h>
#include "base/sys.h"
#include "channel/watch.h"

#define EVENT_SLEEPERS 2u            /* in crew_event.word_ */
#define COUNTER_SLEEPERS 0x80000000u /* in crew_counter.value_ */
#define NO_WAITV_SLICE CREW_MILLISECOND

static uint32_t load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

/* Make sure that the next change wakes. Sets *expected to the value to sleep on; false if it has changed already. */
static bool arm(const struct crew__watch *watch, uint32_t *expected)
{
	uint32_t v = watch->seen;
	switch (watch->kind) {
	case CREW__WATCH_BELL:
	case CREW__WATCH_BELL_ONE:
		*expected = crew__bell_arm(watch->word, v);
		return *expected == (v | 1);
	case CREW__WATCH_EVENT:
	case CREW__WATCH_COUNTER:
		*expected = v | (watch->kind == CREW__WATCH_EVENT ? EVENT_SLEEPERS : COUNTER_SLEEPERS);
		return v == *expected || __atomic_compare_exchange_n(watch->word, &v, *expected, false, __ATOMIC_SEQ_CST,
				__ATOMIC_SEQ_CST) || v == *expected;
	case CREW__WATCH_STATE:
		break;
	}
	*expected = v;
	return load(watch->word) == v;
}

static bool changed(const struct crew__watch *watch)
{
	bool bell = watch->kind == CREW__WATCH_BELL || watch->kind == CREW__WATCH_BELL_ONE;
	uint32_t mask = bell ? ~1u : watch->kind == CREW__WATCH_EVENT ? ~EVENT_SLEEPERS :
		watch->kind == CREW__WATCH_COUNTER ? ~COUNTER_SLEEPERS : ~0u;
	return (load(watch->word) & mask) != (watch->seen & mask);
}

static bool any_changed(const struct crew__watch *watches, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (changed(&watches[i]))
			return true;
	return false;
}

/* Without futex_waitv: on the first word, and a look at the others every millisecond. */
static int sleep_by_turns(const struct crew__watch *watches, uint32_t expected, unsigned count, crew_time until)
{
	for (;;) {
		crew_time slice = crew_after(NO_WAITV_SLICE);
		if (crew__futex_wait(watches[0].word, expected, slice < until ? slice : until) == 0 || any_changed(watches, count))
			return 0;
		if (crew_now() >= until)
			return -ETIMEDOUT;
	}
}

int crew__watch_wait(struct crew__lane *lane, const struct crew__watch *watches, unsigned count, crew_time slice,
		crew_time deadline)
{
	if (deadline <= CREW_POLL)
		return any_changed(watches, count) ? 0 : -ETIMEDOUT;
	for (unsigned turn = 0; crew__spin(turn); turn++)
		if (any_changed(watches, count))
			return 0;
	const uint32_t *words[CREW__WATCHES];
	uint32_t expected[CREW__WATCHES], wakes[CREW__WATCHES];
	for (unsigned i = 0; i < count; i++) {
		words[i] = watches[i].word;
		wakes[i] = watches[i].kind == CREW__WATCH_STATE ? 0 : crew__wakes(words[i]);
		if (!arm(&watches[i], &expected[i]))
			return 0;
	}
	crew_time slice_end = crew_after(slice), until = slice_end < deadline ? slice_end : deadline;
	__atomic_store_n(&lane->asleep_on, crew__offset(words[0]), __ATOMIC_RELAXED);
	__atomic_store_n(&lane->waited_on, crew__offset(words[0]), __ATOMIC_RELAXED);
	int r = crew__futex_wait_any(words, expected, count, until);
	if (r == -ENOSYS)
		r = sleep_by_turns(watches, expected[0], count, until);
	__atomic_store_n(&lane->asleep_on, 0, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < count; i++) {
		if (!changed(&watches[i]))
			continue;
		if (r < 0 && slice_end < deadline && watches[i].kind != CREW__WATCH_STATE) /* which is not rung from lanes */
			crew__slice_over(lane, words[i], wakes[i]);
		if (watches[i].kind == CREW__WATCH_BELL_ONE || watches[i].kind == CREW__WATCH_COUNTER)
			crew__wake(watches[i].word, 1);
	}
	if (r == 0)
		return 0;
	crew_time now = crew_now();
	crew__scan(now);
	return any_changed(watches, count) ? 0 : now >= deadline ? -ETIMEDOUT : CREW__SLICE_OVER;
}
