/*
 * bell.c - sleep in slices, and words that ring
 *
 * State    bell: bit 0 ARMED: somebody may sleep; the rest counts rings.
 * Moves    ring: add 2, keep ARMED unless all are woken; then wake. wait: arm by CAS, then sleep on that very value.
 * Order    (A) ring adds, after its news is stored     pairs with  (B) the look at the bell, before the news is read
 *          impossible: a sleeper that saw the old bell, missed the news, and is not woken: either its arming
 *          CAS or its futex wait sees another value.
 * Death    lane->bell names the word from before (A) until after the wake-up: the sweep wakes all.
 *          lane->waited_on names what a sleeper slept on last: its sweep wakes the others, so a wake-up that the dead had
 *          been given, and did not come to use, is not lost. It is never cleared: a wake-up too many is harmless.
 * Lost     A sleep that only its slice has ended although the word had changed. Mostly nothing was lost: of several sleepers the ring
 *          woke another, or it came at that very moment, or is under way. But if nobody was woken there since this sleep began (C), and
 *          no lane names the word as one that it is about to wake at (D), this sleeper was forgotten. A ring adds to the count
 *          of wake-ups after it has woken and before its lane forgets the word, so it is seen at (D), or at (C) after it.
 * Slices   Every sleep ends after a slice to look for the dead, so without any supervisor no death stops anybody for
 *          longer than CREW_NOTICE. Holders of locks are looked at sooner. All lanes are looked at by one sleeper at a
 *          time, and not again for a while: else thousands of sleepers would do nothing but look at each other.
 */
#include <crew/lock.h>
#include "base/sys.h"
#include "sync/board.h"
#include "sync/circle.h"
#include "sync/news.h"

#define OWNER_SLICE (CREW_NOTICE / 5)
#define BETWEEN_SCANS (CREW_NOTICE - CREW__SLICE)
#define WAKE_ALL_EVERY 64u /* rings; clears ARMED now and then, so that a bell nobody sleeps on gets quiet */

/* If the one who is about to look dies, the next slice does it. */
void crew__scan(crew_time now)
{
	uint64_t *scanned = &crew__family.region->scanned, last = __atomic_load_n(scanned, __ATOMIC_RELAXED);
	if (now - (crew_time)last >= BETWEEN_SCANS &&
			__atomic_compare_exchange_n(scanned, &last, (uint64_t)now, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		crew__lane_reap_all();
}

/* Wake-ups at this word, and at some others. */
static uint32_t *woken_at(const uint32_t *word)
{
	return &crew__board()->woken[(crew__offset(word) >> 2) * 0x9e3779b1u % (UINT64_C(1) << 32) >> 22];
}
static_assert(CREW__WOKEN == 1 << 10, "32 - 22 bits");

uint32_t crew__wake(uint32_t *word, uint32_t count)
{
	uint32_t woken = crew__futex_wake(word, count);
	__atomic_fetch_add(woken_at(word), 1, __ATOMIC_SEQ_CST);
	return woken;
}

uint32_t crew__wakes(const uint32_t *word)
{
	return __atomic_load_n(woken_at(word), __ATOMIC_SEQ_CST);
}

/* (D) Whether somebody is between a change of the word and the wake-up, or has died there. */
static bool is_about_to_wake(const uint32_t *word)
{
	uint64_t offset = crew__offset(word);
	struct crew__lane *lane;
	for (uint32_t number = 1; (lane = crew__lane_at(number)); number++) {
		if (__atomic_load_n(&lane->bell, __ATOMIC_SEQ_CST) == offset)
			return true;
		for (unsigned i = 0; i < CREW__BELLS; i++)
			if (__atomic_load_n(&lane->owed[i], __ATOMIC_SEQ_CST) == offset)
				return true;
	}
	return false;
}

void crew__slice_over(const struct crew__lane *lane, const uint32_t *word, uint32_t wakes)
{
	__atomic_fetch_add(&crew__family.region->late, 1, __ATOMIC_RELAXED);
	if (is_about_to_wake(word) || crew__wakes(word) != wakes) /* (D), then (C) */
		return;
	__atomic_fetch_add(&crew__family.region->healed, 1, __ATOMIC_RELAXED);
	crew__tell(&(struct crew_news){ .kind = CREW_NEWS_HEALED, .object = word, .tid = (pid_t)lane->tid }, NULL);
}

int crew__sleep(struct crew__lane *lane, uint32_t *word, uint32_t expected, uint32_t owner, crew_time deadline)
{
	uint64_t wants = __atomic_load_n(&lane->wants, __ATOMIC_RELAXED);
	if (deadline <= CREW_POLL) { /* no sleep, but a dead owner shall not look alive */
		__atomic_store_n(&lane->wants, 0, __ATOMIC_RELAXED);
		if (owner && crew__lane_reap(owner) && __atomic_load_n(word, __ATOMIC_ACQUIRE) != expected)
			return 0;
		return -ETIMEDOUT;
	}
	crew_time slice = crew_now() + (owner ? OWNER_SLICE : CREW__SLICE);
	if (lane->checks != crew__offset(word))
		crew__sleep_begin(lane, word, wants || !owner ? wants : crew__hold_word(CREW__HOLD_LOCK, word));
	else if (crew__sleep_closes_circle(lane, word))
		return -EDEADLK;
	if (!owner)
		__atomic_store_n(&lane->waited_on, crew__offset(word), __ATOMIC_RELAXED);
	uint32_t wakes = crew__wakes(word);
	int r = crew__futex_wait(word, expected, slice < deadline ? slice : deadline);
	__atomic_store_n(&lane->asleep_on, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&lane->wants, 0, __ATOMIC_RELAXED);
	if (r == 0)
		return 0;
	if (!owner && slice < deadline && __atomic_load_n(word, __ATOMIC_SEQ_CST) != expected)
		crew__slice_over(lane, word, wakes);
	crew_time now = crew_now();
	if (owner)
		crew__lane_reap(owner);
	else
		crew__scan(now);
	return now >= deadline && __atomic_load_n(word, __ATOMIC_ACQUIRE) == expected ? -ETIMEDOUT : 0;
}

uint32_t crew__bell_arm(uint32_t *bell, uint32_t seen)
{
	uint32_t v = seen;
	if (!(v & CREW__ARMED) && !__atomic_compare_exchange_n(bell, &v, seen | CREW__ARMED, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) &&
			v != (seen | CREW__ARMED))
		return seen + 4; /* it has rung: a value that it does not have, so that no wait starts */
	return seen | CREW__ARMED;
}

int crew__bell_sleep(struct crew__lane *lane, uint32_t *bell, uint32_t seen, crew_time deadline)
{
	uint32_t armed = seen | CREW__ARMED;
	if (deadline <= CREW_POLL)
		return crew__bell_look(bell) == seen ? -ETIMEDOUT : 0;
	return crew__bell_arm(bell, seen) == armed ? crew__sleep(lane, bell, armed, 0, deadline) : 0;
}

int crew__bell_wait(struct crew__lane *lane, uint32_t *bell, uint32_t seen, crew_time deadline)
{
	for (unsigned turn = 0; deadline > CREW_POLL && crew__spin(turn); turn++)
		if ((__atomic_load_n(bell, __ATOMIC_RELAXED) | CREW__ARMED) != (seen | CREW__ARMED))
			return 0;
	return crew__bell_sleep(lane, bell, seen, deadline);
}

int crew__bell_wait_for(struct crew__lane *lane, uint32_t *bell, uint32_t seen, uint64_t wants, crew_time deadline)
{
	__atomic_store_n(&lane->wants, wants, __ATOMIC_RELAXED);
	int r = crew__bell_wait(lane, bell, seen, deadline);
	__atomic_store_n(&lane->wants, 0, __ATOMIC_RELAXED);
	return r;
}

uint32_t crew__bell_change(uint32_t *bell, uint32_t count)
{
	uint32_t v = __atomic_load_n(bell, __ATOMIC_RELAXED), all;
	do
		all = count == UINT32_MAX || (v >> 1) % WAKE_ALL_EVERY == 0;
	while (!__atomic_compare_exchange_n(bell, &v, (v + 2) & ~(all ? CREW__ARMED : 0u), false, __ATOMIC_SEQ_CST,
			__ATOMIC_RELAXED)); /* (A) */
	return !(v & CREW__ARMED) ? 0 : all ? UINT32_MAX : count;
}

void crew__ring(struct crew__lane *lane, uint32_t *bell, uint32_t count)
{
	__atomic_store_n(&lane->bell, crew__offset(bell), __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	uint32_t sleepers = crew__bell_change(bell, count);
	/* Armed, and nobody there: make it quiet, so that the next ring costs no system call, and wake who has come meanwhile. */
	if (sleepers && crew__wake(bell, sleepers) == 0 && sleepers != UINT32_MAX && crew__bell_change(bell, UINT32_MAX))
		crew__wake(bell, UINT32_MAX);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&lane->bell, 0, __ATOMIC_RELAXED);
}
