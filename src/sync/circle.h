/*
 * circle.h - who waits for whom: the edges between lanes, and circles of them
 *
 * An edge is there while lane->asleep_on and lane->wants are set; lane->sleeps numbers the sleeps. Inside one sleep a thread
 * neither takes nor gives anything.
 */
#ifndef CREW_SYNC_CIRCLE_H
#define CREW_SYNC_CIRCLE_H

#include "sync/section.h"

#define CREW__CIRCLE 1024 /* larger ones are not seen: it lies on the stack */

/* A set of lanes, in the order in which they were found. */
struct crew__circle {
	uint32_t count;
	bool whole;    /* the first one waits for itself, by way of others that all wait */
	uint32_t lane[CREW__CIRCLE], sleep[CREW__CIRCLE];
};

/* Whether a lane waits for somebody; for what (a hold word), in which sleep. */
bool crew__waits(const struct crew__lane *lane, uint64_t *ret_wants, uint32_t *ret_sleep);

/* The next lane, from number `from` on, that holds what is wanted; 0: none. */
uint32_t crew__next_holder(uint64_t wants, uint32_t from);

/* All that lane number so and so waits for, directly or not: circle->whole. */
bool crew__circle_find(struct crew__circle *circle, uint32_t number);

/*
 * About to sleep on a lock that checks: enter the sleep (as crew__sleep does), look, and take it back if it closes a
 * circle: true. One thread at a time does this, so one of a circle gives way, not all.
 */
bool crew__sleep_closes_circle(struct crew__lane *lane, const uint32_t *word);

/* What a sleep begins with. wants: a hold word, or 0. */
static inline void crew__sleep_begin(struct crew__lane *lane, const uint32_t *word, uint64_t wants)
{
	__atomic_store_n(&lane->sleeps, lane->sleeps + 1, __ATOMIC_SEQ_CST);
	if (wants)
		__atomic_store_n(&lane->wants, wants, __ATOMIC_SEQ_CST);
	__atomic_store_n(&lane->asleep_on, crew__offset(word), __ATOMIC_SEQ_CST);
}

#endif
