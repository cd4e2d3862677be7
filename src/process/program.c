/*
 * program.c - the slots of programs in a named region that are gone
 *
 * Each program there reaps its own processes. When its founder dies its processes end by their lifelines, and its keeper gives
 * up their slots, then the founder's, then its own. If the keeper is killed too, the next program that attaches does it.
 * Whether a program lives the kernel tells: crew__program_lives.
 *
 * Death  at any step: what is left names a program that is gone, so the next census finds it.
 */
#include "process/internal.h"
#include "process/process.h"
#include "region/lane.h"

static uint32_t state_of(const struct crew__slot *slot)
{
	return __atomic_load_n(&slot->state, __ATOMIC_SEQ_CST);
}

static bool is_founder(uint32_t number, const struct crew__slot *slot)
{
	return crew__number(__atomic_load_n(&slot->parent, __ATOMIC_ACQUIRE)) == number;
}

static void look_at_founders(bool arriving)
{
	struct crew__slot *slot;
	for (uint32_t number = 1; (slot = crew__slot_at(number)); number++) {
		uint32_t id = crew__id(number, __atomic_load_n(&slot->generation, __ATOMIC_ACQUIRE)), state = state_of(slot);
		if (id == crew__family.self || !is_founder(number, slot) || crew__program_lives(number))
			continue;
		if (state == CREW__SLOT_RUNNING)
			crew__ended(id, NULL, NULL);
		else if (state == CREW__SLOT_ENDED || arriving) /* it died in crew_fini; or on its way in, but may also be just there */
			crew__slot_abandon(number, __atomic_load_n(&slot->parent, __ATOMIC_ACQUIRE));
	}
}

/* Those of dead programs that have ended; what still runs there crew__orphans ends, but for helpers, which end by themselves. */
static void look_at_members(void)
{
	struct crew__slot *slot;
	for (uint32_t number = 1; (slot = crew__slot_at(number)); number++) {
		uint32_t id = crew__id(number, __atomic_load_n(&slot->generation, __ATOMIC_ACQUIRE));
		if (state_of(slot) != CREW__SLOT_RUNNING || id == crew__family.self || is_founder(number, slot) ||
				crew__process_lives(slot->program))
			continue;
		int fd = crew__slot_pidfd(id);
		struct pollfd end = { .fd = fd, .events = POLLIN };
		if (fd == -ESRCH || (fd >= 0 && crew__poll(&end, 1, CREW_POLL) > 0))
			crew__ended(id, NULL, NULL);
		crew__close(&fd);
	}
}

void crew__census(bool arriving)
{
	look_at_founders(arriving);
	look_at_members();
	crew__orphans();
	crew__lane_reap_all();
}

void crew__program_over(void)
{
	const struct crew__slot *founder = crew__slot_get(crew__family.program);
	if (!crew__family.named || !founder || state_of(founder) != CREW__SLOT_RUNNING)
		return; /* in crew_fini it clears up by itself */
	crew_time patience = crew_after(CREW_SECOND);
	while (crew__program_lives(crew__number(crew__family.program)) && crew_now() < patience)
		(void)crew__poll(NULL, 0, crew_after(CREW_MILLISECOND)); /* the lifeline is cut a moment before the lock goes */
	crew__census(false);
	crew__lane_leave();
	crew__slot_move(crew__family.self, CREW__SLOT_RUNNING, CREW__SLOT_ENDED);
	crew__slot_release(crew__family.self);
}

void crew__program_leave(void)
{
	if (!crew__family.named)
		return;
	look_at_members();
	crew__orphans();
}
