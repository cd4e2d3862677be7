/*
 * word.c - a lock in one word that names its owner
 *
 * State    word: bits 0-29 the owner's lane id, 0: free; bit 31 SLEEPERS: somebody may sleep on it (may stay
 *          set, never missing); bit 30 BROKEN: an owner died and nobody has said "repaired".
 * Writers  anybody, free -> own id, by CAS; anybody, SLEEPERS, by CAS; the owner, -> free, by exchange;
 *          the sweeper of a dead owner, -> free, by CAS from that owner's id.
 * Moves    acquire takes effect at the CAS (A), release at the exchange (B).
 * Order    (B) releases, (A) acquires: impossible: to see the lock free and an old value of what it guards.
 * Death    The lane's hold names the word from before (A) until after the wake-up that (B) owes, so
 *          before (A): the hold is too many; the word does not name us, and is left alone.
 *          (A) to (B): the sweep frees the word, and marks it BROKEN if it is a lock.
 *          after (B): the sweep wakes all sleepers.
 *          a sleeper, woken or not: its sweep wakes all others.
 * Source   The owner id in the word and the recovery from it: robust futexes (Linux, robust-futex-ABI),
 *          without their race between the release and the wake-up, which the hold closes.
 */
#include "base/sys.h"
#include "sync/section.h"

void crew__word_disown(uint32_t *word, uint32_t owner, uint32_t mark)
{
	uint32_t v = __atomic_load_n(word, __ATOMIC_ACQUIRE);
	if ((v & CREW__OWNER) == owner && crew__lane_reap(owner)) /* then it is freed, unless the name is forged */
		__atomic_compare_exchange_n(word, &v, mark | (v & CREW__SLEEPERS), false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* The way of who did not get it at once. */
int crew__word_wait(struct crew__lane *lane, uint32_t *word, enum crew__hold kind, crew_time deadline)
{
	uint32_t me = crew__lane_id(lane), slept = 0, v = __atomic_load_n(word, __ATOMIC_RELAXED); /* a guess; the CAS decides */
	if ((v & CREW__OWNER) == me)
		return -EDEADLK;
	int hold = crew__hold_add(lane, kind, word);
	if (hold < 0)
		return hold;
	if (kind == CREW__HOLD_GUARD)
		deadline = crew__sweep_deadline(deadline);
	for (unsigned turn = 0;;) {
		uint32_t owner = v & CREW__OWNER;
		if (owner == 0) {
			if (__atomic_compare_exchange_n(word, &v, me | (v & (CREW__BROKEN | CREW__SLEEPERS)) | slept, false,
					__ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) /* (A) */
				return v & CREW__BROKEN ? CREW_OWNER_DIED : 0;
			continue;
		}
		if (crew__spin(turn++)) {
			v = __atomic_load_n(word, __ATOMIC_RELAXED);
			continue;
		}
		if (!(v & CREW__SLEEPERS) && deadline > CREW_POLL) {
			if (!__atomic_compare_exchange_n(word, &v, v | CREW__SLEEPERS, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
				continue;
			v |= CREW__SLEEPERS;
		}
		int r = crew__sleep(lane, word, v, owner, deadline);
		if (r == 0 && kind == CREW__HOLD_GUARD && (__atomic_load_n(word, __ATOMIC_ACQUIRE) & CREW__OWNER) == owner)
			r = crew__sweep_waits_for(owner);
		if (r < 0) {
			crew__hold_drop(lane, hold);
			return r;
		}
		crew__word_disown(word, owner, kind == CREW__HOLD_LOCK ? CREW__BROKEN : 0);
		slept = CREW__SLEEPERS; /* others may sleep too: the next release must wake */
		v = __atomic_load_n(word, __ATOMIC_RELAXED);
	}
}

/* What is left to do after the exchange, but for who met nobody and holds nothing else. */
void crew__word_released(struct crew__lane *lane, uint32_t *word, uint64_t hold, uint32_t before)
{
	if (before & CREW__SLEEPERS)
		crew__wake(word, 1);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	int i = crew__hold_search(lane, hold);
	if (i < 0)
		return;
	crew__hold_drop(lane, i);
	if (&lane->hold[i] < crew__mine.hold)
		crew__mine.hold = &lane->hold[i];
}
