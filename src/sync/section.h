/*
 * section.h - change several shared words as one, whoever dies
 *
 *     struct crew__lane *lane;
 *     int r = crew__enter(&lane, &q->guard_, deadline);
 *     if (r < 0)
 *         return r;
 *     crew__set32(lane, &q->count_, q->count_ + 1);
 *     crew__set64(lane, &q->last_, block);
 *     crew__leave_and_ring(lane, &q->guard_, &q->filled_, 1);   // takes effect here, all of it; sleepers learn of it
 *
 * A section is a lock on `guard` plus an undo log in the lane: each set first saves the old value.
 * If the thread dies inside, the sweep puts the old values back and releases the guard:
 * nobody sees half a section. Up to CREW__UNDO sets of 4 or 8 bytes. Sections do not
 * nest, and nothing inside sleeps. Also lane fields may be set, so that "it is in the queue" and
 * "it is no longer mine" are one step.
 *
 * Commit is the store undo_count = 0; death before it undoes all, after it nothing. Whoever reads such words outside a
 * section may see what will be undone: good for a hint, not for a decision.
 */
#ifndef CREW_SYNC_SECTION_H
#define CREW_SYNC_SECTION_H

#include <crew/error.h>
#include <crew/lock.h>
#include "base/sys.h"
#include "region/lane.h"

/* Whether an object lies where sweeps can find it: 0; -EINVAL: not in shared memory; -ENOTCONN: no member. */
static inline int crew__check_place(const void *object, size_t size)
{
	return !crew__family.self ? -ENOTCONN : crew__in_region(object, size) ? 0 : -EINVAL;
}

/* This thread's lane, to work on such an object: how every call begins. Also -EAGAIN: no lane left. */
static inline int crew__lane_for(const void *object, size_t size, struct crew__lane **ret)
{
	int r = crew__check_place(object, size);
	return r < 0 ? r : crew__lane_self(ret);
}

/* Owner-tagged lock words: what locks and guards are made of. kind: CREW__HOLD_LOCK or CREW__HOLD_GUARD. See word.c. */
#define CREW__SLEEPERS 0x80000000u /* somebody may sleep on the word; may stay set, never missing */
#define CREW__BROKEN 0x40000000u   /* the last owner died and nobody has said "repaired" */
#define CREW__OWNER 0x3fffffffu
int crew__word_wait(struct crew__lane *lane, uint32_t *word, enum crew__hold kind, crew_time deadline);
/* A name in a word whose life is over already, so that no sweep will look there: a hostile peer's. Nobody shall wait for it for ever. */
void crew__word_disown(uint32_t *word, uint32_t owner, uint32_t mark);
void crew__word_released(struct crew__lane *lane, uint32_t *word, uint64_t hold, uint32_t before);

/* Take it, for this thread, if that takes no more than one CAS; else nothing has happened. */
static inline bool crew__word_try(uint32_t *word, enum crew__hold kind)
{
	uint32_t nobody = 0;
	uint64_t *hold = crew__mine.hold;
	if (__builtin_expect(__atomic_load_n(hold, __ATOMIC_RELAXED) != 0, 0))
		return false;
	__atomic_store_n(hold, crew__hold_word(kind, word), __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (__builtin_expect(__atomic_compare_exchange_n(word, &nobody, crew__mine.id, false, __ATOMIC_ACQUIRE,
			__ATOMIC_RELAXED), 1)) /* (A) */
		return true;
	__atomic_store_n(hold, 0, __ATOMIC_RELEASE);
	return false;
}

static inline int crew__word_acquire(struct crew__lane *lane, uint32_t *word, enum crew__hold kind, crew_time deadline)
{
	return crew__word_try(word, kind) ? 0 : crew__word_wait(lane, word, kind, deadline);
}

static inline void crew__word_release(struct crew__lane *lane, uint32_t *word, enum crew__hold kind, bool keep_broken)
{
	uint64_t wanted = crew__hold_word(kind, word), *hold = crew__mine.hold;
	uint32_t before = __atomic_exchange_n(word, keep_broken ? CREW__BROKEN : 0, __ATOMIC_SEQ_CST); /* (B) */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (__builtin_expect(!(before & CREW__SLEEPERS) && __atomic_load_n(hold, __ATOMIC_RELAXED) == wanted, 1))
		__atomic_store_n(hold, 0, __ATOMIC_RELEASE);
	else
		crew__word_released(lane, word, wanted, before);
}

/* Enter: 0, -ETIMEDOUT, -ENOTCONN, -EAGAIN, -ENOLCK. Waits are bounded by other sections' length, so mostly CREW_FOREVER is right. */
static inline int crew__enter(struct crew__lane **ret, uint32_t *guard, crew_time deadline)
{
	int r = crew__lane_self(ret);
	if (__builtin_expect(r < 0, 0))
		return r;
	if (__builtin_expect((*ret)->depth, 0))
		crew__panic("a section inside a section");
	r = crew__word_acquire(*ret, guard, CREW__HOLD_GUARD, deadline);
	if (__builtin_expect(r == 0, 1))
		(*ret)->depth = 1;
	return r;
}

/* The old value, before it changes: entry, then count. */
static inline void crew__save(struct crew__lane *lane, const void *where, uint64_t size, uint64_t old)
{
	uint32_t n = lane->undo_count;
	if (__builtin_expect(n == CREW__UNDO, 0))
		crew__panic("a section sets more than %d words", CREW__UNDO);
	__atomic_store_n(&lane->undo[n].where, crew__offset(where) | size << 56, __ATOMIC_RELAXED);
	__atomic_store_n(&lane->undo[n].old, old, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&lane->undo_count, n + 1, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void crew__set32(struct crew__lane *lane, uint32_t *where, uint32_t value)
{
	crew__save(lane, where, 4, __atomic_load_n(where, __ATOMIC_RELAXED));
	__atomic_store_n(where, value, __ATOMIC_RELEASE);
}

static inline void crew__set64(struct crew__lane *lane, uint64_t *where, uint64_t value)
{
	crew__save(lane, where, 8, __atomic_load_n(where, __ATOMIC_RELAXED));
	__atomic_store_n(where, value, __ATOMIC_RELEASE);
}

/* Record a hold, as crew__hold_add, but as part of the section. */
int crew__hold_set(struct crew__lane *lane, enum crew__hold kind, const void *object);

/* Everything set so far stays, also if the thread dies; the guard is still held. */
static inline void crew__commit(struct crew__lane *lane)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&lane->undo_count, 0, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Commit and release. */
static inline void crew__leave(struct crew__lane *lane, uint32_t *guard)
{
	crew__commit(lane);
	lane->depth = 0;
	crew__word_release(lane, guard, CREW__HOLD_GUARD, false);
}

/*
 * A store that the end of this section makes once all is committed (leave_and_publish, leave_and_ring); at most one, before the
 * section's last set. For words that are read outside sections: they are not saved
 * in the log, so nobody sees what will be undone. Once committed the store is made, by the sweep if the thread dies.
 */
static inline void crew__owe_store(struct crew__lane *lane, uint64_t *where, uint64_t value)
{
	__atomic_store_n(&lane->publish[1], value, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&lane->publish[0], crew__offset(where), __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Publish, commit, release. */
void crew__leave_and_publish(struct crew__lane *lane, uint32_t *guard, uint64_t *where, uint64_t value);

/* In a sweep, while the guard still names the dead: the store that it owes. */
void crew__publish_owed(struct crew__lane *dead);

/* Put the old values back and release. */
void crew__abandon(struct crew__lane *lane, uint32_t *guard);

/*
 * Sleep while *word is `expected`, but at most a time slice (CREW_NOTICE), after which the dead are looked for:
 * the lane `owner`, or with 0 all of them. Returns 0 to try again, -ETIMEDOUT at the deadline, or -EDEADLK where
 * lane->checks names the word and this sleep would close a circle (circle.h).
 */
int crew__sleep(struct crew__lane *lane, uint32_t *word, uint32_t expected, uint32_t owner, crew_time deadline);

/*
 * Wake those who sleep in crew__sleep; wakes: how many such calls there have been there. Whoever has changed the word before names it in
 * lane->bell or lane->owed until then. slice_over: it has changed, but a slice, begun at `wakes`, was what ended the sleep on it.
 */
uint32_t crew__wake(uint32_t *word, uint32_t count);
uint32_t crew__wakes(const uint32_t *word);
void crew__slice_over(const struct crew__lane *lane, const uint32_t *word, uint32_t wakes);

/* A slice of a sleep that watches no owner; and what is done at its end: look at all lanes, unless somebody has just done so. */
#define CREW__SLICE (CREW_NOTICE * 4 / 5)
void crew__scan(crew_time now);

/*
 * Bells: words that change when there is news, for those who sleep until then. Bit 0 says "somebody may sleep"
 * and spares the system call when nobody does; it may stay set, never missing. The rest counts.
 *
 *     seen = crew__bell_look(&q->filled_);
 *     if (there is nothing)                                   // look after looking at the bell
 *         r = crew__bell_wait(lane, &q->filled_, seen, deadline);   // 0: look again; -ETIMEDOUT
 *
 * crew__ring changes the bell and wakes up to `count` sleepers; if the thread dies in between, the sweep wakes all.
 * crew__bell_arm makes sure that the next ring wakes (for crew__futex_wait_any): returns the value to
 * expect, or `seen` + 2 or so (which makes the wait return at once) when the bell has rung since.
 */
#define CREW__ARMED 1u
static inline uint32_t crew__bell_look(const uint32_t *bell)
{
	return __atomic_load_n(bell, __ATOMIC_SEQ_CST); /* (B) in bell.c */
}
uint32_t crew__bell_arm(uint32_t *bell, uint32_t seen);
int crew__bell_sleep(struct crew__lane *lane, uint32_t *bell, uint32_t seen, crew_time deadline); /* without spinning first */
int crew__bell_wait(struct crew__lane *lane, uint32_t *bell, uint32_t seen, crew_time deadline);
/* The same for who waits until others give back what they hold: a hold word, as in their lanes. */
int crew__bell_wait_for(struct crew__lane *lane, uint32_t *bell, uint32_t seen, uint64_t wants, crew_time deadline);
void crew__ring(struct crew__lane *lane, uint32_t *bell, uint32_t count);

/* The first half of a ring: how many sleepers are to be woken, by crew__wake. */
uint32_t crew__bell_change(uint32_t *bell, uint32_t count);

/*
 * The end of a section with news: commit, change the bells (up to CREW__BELLS), release the guard, wake. If the thread dies in
 * between, the sweep does the rest. Nothing is written once the guard is free, so whoever hears the news in
 * a section of its own may free guard and bells at once.
 */
void crew__leave_and_ring(struct crew__lane *lane, uint32_t *guard, uint32_t *bell, uint32_t count);
void crew__leave_and_ring_all(struct crew__lane *lane, uint32_t *guard, uint32_t *const *bells, unsigned n);
/* The same with how many sleepers to wake for each bell. */
void crew__leave_and_ring_each(struct crew__lane *lane, uint32_t *guard, uint32_t *const *bells, const uint32_t *counts,
		unsigned n);

#endif
