/*
 * section.h - change several shared words as one, whoever dies
 *
 *     struct crew__lane *lane;
 *     int r = crew__enter(&lane, &q->guard_, deadline);
 *     if (r < 0)
 *         return r;
 *     crew__set32(lane, &q->count_, q->count_ + 1);
 *     crew__set64(lane, &q->last_, block);
 *     crew__leave(lane, &q->guard_);           // takes effect here, all of it
 *     crew__ring(lane, &q->filled_, 1);       // and the sleepers learn of it
 *
 * A section is a lock on `guard` plus an undo log in the lane: each set first saves the old value.
 * If the thread dies inside, the sweep puts the old values back and releases the guard:
 * nobody sees half a section. Up to CREW__UNDO sets of 4 or 8 bytes. Sections do not
 * nest, and nothing inside sleeps. Also lane fields may be set, so that "it is in the queue" and
 * "it is no longer mine" are one step.
 *
 * Commit is the store undo_count = 0; death before it undoes all, after it nothing.
 */
#ifndef CREW_SYNC_SECTION_H
#define CREW_SYNC_SECTION_H

#include "region/lane.h"

/* Enter: 0, -ETIMEDOUT, -ENOTCONN, -EAGAIN, -ENOLCK. Waits are bounded by other sections' length, so mostly CREW_FOREVER is right. */
int crew__enter(struct crew__lane **ret, uint32_t *guard, crew_time deadline);
void crew__set32(struct crew__lane *lane, uint32_t *where, uint32_t value);
void crew__set64(struct crew__lane *lane, uint64_t *where, uint64_t value);
/* Everything set so far stays, also if the thread dies; the guard is still held. */
void crew__commit(struct crew__lane *lane);
/* Commit and release. */
void crew__leave(struct crew__lane *lane, uint32_t *guard);
/* Put the old values back and release. */
void crew__abandon(struct crew__lane *lane, uint32_t *guard);

/* Owner-tagged lock words: what locks and guards are made of. kind: CREW__HOLD_LOCK or CREW__HOLD_GUARD. */
#define CREW__SLEEPERS 0x80000000u /* somebody may sleep on the word; may stay set, never missing */
#define CREW__BROKEN 0x40000000u   /* the last owner died and nobody has said "repaired" */
#define CREW__OWNER 0x3fffffffu
int crew__word_acquire(struct crew__lane *lane, uint32_t *word, enum crew__hold kind, crew_time deadline);
void crew__word_release(struct crew__lane *lane, uint32_t *word, enum crew__hold kind, bool keep_broken);

/*
 * Sleep while *word is `expected`, but at most a time slice (CREW_NOTICE), after which the dead are looked for:
 * the lane `owner`, or with 0 all of them. Returns 0 to try again, or -ETIMEDOUT at the deadline.
 */
int crew__sleep(struct crew__lane *lane, uint32_t *word, uint32_t expected, uint32_t owner, crew_time deadline);

/*
 * Change a futex word that others sleep on and wake up to `count` of them. If the thread dies in
 * between, the sweep wakes all.   bell: set *word + 1.
 */
void crew__ring(struct crew__lane *lane, uint32_t *word, uint32_t count);

#endif
