/*
 * circle.c - find out that a thread waits for itself, while all others run
 *
 * Method   From the lane on, all that it waits for, and what those wait for: if everybody in that set waits, for somebody
 *          in that set, and the first is reached again, nobody in it can go on.
 * Proof    (A) note each lane's sleep; (B) for each look again who holds what it wants; (C) see that each is in the sleep noted.
 *          At every moment between (A) and (C) all of them were asleep, so none took or gave anything; hence what was found
 *          held at (B) was held all that time, and there is a moment at which all edges were there. Anything else is no
 *          circle now; who asked asks again after its next slice.
 * Guard    Who looks has the guard, and counts as asleep; others that come to look wait for it, and hold what they hold. That is
 *          no circle: they wait for the end of this very look.
 * Dead     The dead wait for nothing: what they hold will be given back. The kernel's mark says it, no sweep is made here.
 */
#include <crew/semaphore.h>
#include "base/sys.h"
#include "sync/circle.h"

bool crew__waits(const struct crew__lane *lane, uint64_t *ret_wants, uint32_t *ret_sleep)
{
	uint32_t sleep = __atomic_load_n(&lane->sleeps, __ATOMIC_SEQ_CST);
	*ret_wants = __atomic_load_n(&lane->wants, __ATOMIC_SEQ_CST);
	*ret_sleep = sleep;
	return *ret_wants && crew__hold_object(*ret_wants) != &crew__family.region->circle_guard && __atomic_load_n(&lane->asleep_on, __ATOMIC_SEQ_CST) &&
		__atomic_load_n(&lane->state, __ATOMIC_SEQ_CST) == CREW__LANE_LIVE && !crew__lane_is_marked(lane) &&
		__atomic_load_n(&lane->sleeps, __ATOMIC_SEQ_CST) == sleep;
}

/* In the word itself, for all that names its owner. */
static uint32_t owner_number(uint64_t wants)
{
	if (!crew__in_region(crew__hold_object(wants), sizeof(uint32_t)))
		return 0;
	uint32_t id = __atomic_load_n((uint32_t *)crew__hold_object(wants), __ATOMIC_SEQ_CST) & CREW__OWNER;
	struct crew__lane *lane = id ? crew__lane_at(crew__number(id)) : NULL;
	return lane && crew__lane_id(lane) == id ? crew__number(id) : 0;
}

uint32_t crew__next_holder(uint64_t wants, uint32_t from)
{
	enum crew__hold kind = crew__hold_kind(wants);
	if (kind == CREW__HOLD_LOCK || kind == CREW__HOLD_GUARD) {
		uint32_t number = owner_number(wants);
		return number >= from ? number : 0;
	}
	if (!crew__in_region(crew__hold_object(wants), sizeof(struct crew_semaphore)) ||
			(kind == CREW__HOLD_PERMIT && crew_semaphore_free(crew__hold_object(wants))))
		return 0;
	const struct crew__lane *lane;
	for (; (lane = crew__lane_at(from)); from++)
		if (crew__hold_search(lane, wants) >= 0)
			return from;
	return 0;
}

/* Whether the lane is in the set. */
static bool has(const struct crew__circle *circle, uint32_t number)
{
	for (uint32_t i = 0; i < circle->count; i++)
		if (circle->lane[i] == number)
			return true;
	return false;
}

/* Put into the set what this one waits for; with `only`, see that it is there already. False: it waits for nobody there. */
static bool follow(struct crew__circle *circle, uint64_t wants, bool only)
{
	uint32_t holder = crew__next_holder(wants, 1);
	bool any = holder;
	for (; holder; holder = crew__next_holder(wants, holder + 1)) {
		if (holder == circle->lane[0])
			circle->whole = true;
		if (has(circle, holder))
			continue;
		if (only || circle->count == CREW__CIRCLE)
			return false;
		circle->lane[circle->count++] = holder;
	}
	return any;
}

static bool find(struct crew__circle *circle)
{
	uint64_t wants;
	uint32_t sleep;
	for (uint32_t i = 0; i < circle->count; i++) /* (A) */
		if (!crew__waits(crew__lane_at(circle->lane[i]), &wants, &circle->sleep[i]) || !follow(circle, wants, false))
			return false;
	if (!circle->whole)
		return false;
	circle->whole = false;
	for (uint32_t i = 0; i < circle->count; i++) /* (B) */
		if (!crew__waits(crew__lane_at(circle->lane[i]), &wants, &sleep) || !follow(circle, wants, true))
			return false;
	for (uint32_t i = 0; i < circle->count; i++) /* (C) */
		if (!crew__waits(crew__lane_at(circle->lane[i]), &wants, &sleep) || sleep != circle->sleep[i])
			return false;
	return circle->whole;
}

bool crew__circle_find(struct crew__circle *circle, uint32_t number)
{
	circle->count = 1;
	circle->whole = false;
	circle->lane[0] = number;
	return circle->whole = find(circle);
}

bool crew__sleep_closes_circle(struct crew__lane *lane, const uint32_t *word)
{
	struct crew__circle circle;
	uint32_t *guard = &crew__family.region->circle_guard;
	uint64_t wants = crew__hold_word(CREW__HOLD_LOCK, word);
	int r = crew__enter(&lane, guard, crew_after(CREW_NOTICE / 5));
	crew__sleep_begin(lane, word, wants);
	if (r < 0)
		return false; /* somebody is stopped in there: the next slice looks */
	bool closes = crew__circle_find(&circle, crew__number(crew__lane_id(lane)));
	if (closes)
		__atomic_store_n(&lane->asleep_on, 0, __ATOMIC_SEQ_CST);
	crew__leave(lane, guard);
	return closes;
}
