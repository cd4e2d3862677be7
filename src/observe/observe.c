/*
 * observe.c - read the tables of a live family
 *
 * Nothing is locked and nothing changed (but for the heap's figures, read in a section): a process may come or go while
 * we look, so what is printed was true, thing by thing, not all at one moment.
 */
#include <inttypes.h>
#include <string.h>
#include <crew/deadlock.h>
#include <crew/observe.h>
#include "base/sys.h"
#include "region/lane.h"
#include "sync/board.h"

static bool lane_lives(const struct crew__lane *lane)
{
	return __atomic_load_n(&lane->state, __ATOMIC_ACQUIRE) == CREW__LANE_LIVE;
}

static uint64_t hold_of(const struct crew__lane *lane, int i)
{
	return __atomic_load_n(&lane->hold[i], __ATOMIC_RELAXED);
}

/* Programs, by the slots of their founders. */
static unsigned count_programs(void)
{
	const struct crew__slot *slot;
	unsigned count = 0;
	for (uint32_t number = 1; (slot = crew__slot_at(number)); number++)
		count += __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) == CREW__SLOT_RUNNING &&
			crew__number(slot->parent) == number;
	return count;
}

int crew_observe(struct crew_observation *ret)
{
	const struct crew__region *region = crew__family.region;
	if (!crew__family.self)
		return -ENOTCONN;
	*ret = (struct crew_observation){ .deaths = __atomic_load_n(&region->deaths, __ATOMIC_RELAXED),
		.healed_by_slice = __atomic_load_n(&region->healed, __ATOMIC_RELAXED) };
	ret->programs = count_programs();
	memcpy(ret->name, region->name, sizeof ret->name - 1);
	int members = crew_process_list(NULL, 0);
	if (members < 0)
		return members;
	ret->processes = (unsigned)members;
	for (unsigned kind = 0; kind < CREW_NEWS_KINDS; kind++)
		ret->news[kind] = __atomic_load_n(&crew__board()->told[kind], __ATOMIC_RELAXED);
	ret->news_dropped = __atomic_load_n(&crew__board()->dropped, __ATOMIC_RELAXED);
	const struct crew__lane *lane;
	for (uint32_t number = 1; (lane = crew__lane_at(number)); number++) {
		if (!lane_lives(lane))
			continue;
		ret->lanes++;
		ret->sleepers += __atomic_load_n(&lane->asleep_on, __ATOMIC_RELAXED) != 0;
		for (int i = 0; i < CREW__HOLDS; i++)
			ret->locks_held += hold_of(lane, i) != 0;
	}
	return crew_memory_stats(&ret->memory);
}

static const char *const hold_names[] = { "nothing", "lock", "section", "read lock", "permits", "barrier", "messages of queue",
	"counts owed to latch" };

static void print_lane(FILE *stream, const struct crew__lane *lane)
{
	fprintf(stream, "    thread %" PRIu32, __atomic_load_n(&lane->tid, __ATOMIC_RELAXED));
	for (int i = 0; i < CREW__HOLDS; i++) {
		uint64_t hold = hold_of(lane, i);
		unsigned kind = crew__hold_kind(hold);
		if (hold && kind < sizeof hold_names / sizeof hold_names[0])
			fprintf(stream, ", %s %p", hold_names[kind], crew__hold_object(hold));
	}
	uint64_t asleep_on = __atomic_load_n(&lane->asleep_on, __ATOMIC_RELAXED);
	if (asleep_on)
		fprintf(stream, ", asleep on %p", crew__at(asleep_on));
	fputc('\n', stream);
}

int crew_observe_print(FILE *stream)
{
	struct crew_member members[256];
	int count = crew_process_list(members, 256);
	if (count < 0)
		return count;
	if (crew__family.named)
		fprintf(stream, "region %.*s, in %u programs\n", CREW_NAME_MAX, crew__family.region->name, count_programs());
	for (int i = 0; i < count && i < 256; i++) {
		fprintf(stream, "process %d %s%s, started by %d\n", (int)members[i].pid,
			members[i].name[0] ? members[i].name : "(unnamed)", members[i].helper ? " (helper)" : "",
			(int)members[i].parent);
		const struct crew__lane *lane;
		for (uint32_t number = 1; (lane = crew__lane_at(number)); number++)
			if (lane_lives(lane) && __atomic_load_n(&lane->process, __ATOMIC_RELAXED) == members[i].id)
				print_lane(stream, lane);
	}
	if (count > 256)
		fprintf(stream, "... and %d more\n", count - 256);
	struct crew_memory_stats memory;
	int r = crew_memory_stats(&memory);
	if (r < 0)
		return r;
	fprintf(stream, "memory: %" PRIu64 " bytes in %" PRIu64 " blocks, %" PRIu64 " at the most, %" PRIu64
		" committed of %" PRIu64 " allowed\n", memory.used, memory.blocks, memory.peak, memory.committed, memory.cap);
	r = crew_deadlock_report(stream);
	return r < 0 ? r : 0;
}
