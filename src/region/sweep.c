/*
 * sweep.c - repair what a dead lane left; the caller holds its `alive`
 *
 * Order    undo log (while the words still name the dead) -> upper layers, in their order -> generation + 1
 *          -> FREE. Every step may be repeated: a log is played backwards from its unchanged length, a
 *          word is changed only while it names the dead.
 * Sections What the layers give back they move in sections of the sweeper's own. If it dies in one, the next sweeper of
 *          this lane might find "nothing here any more" before that section is undone: so dead->sweeper says
 *          who it was, and the next one first sees that one swept (crew__sweep_settle).
 * Stopped  A sweep does not wait for a guard whose owner is stopped (/proc tells): it leaves the rest, the lane is not empty, and whoever
 *          sweeps next goes on. Blocks in the sweeper's own hands it waits for, as nobody else could free them.
 * Why the generation comes last: once it has changed nobody looks for this lane again, so by then no
 * word may name it.
 */
#include <sched.h>
#include "base/sys.h"
#include "region/internal.h"

static crew__sweep_fn *layers[8];
static unsigned count;

void crew__sweep_register(crew__sweep_fn *sweep)
{
	for (unsigned i = 0; i < count; i++)
		if (layers[i] == sweep)
			return;
	if (count == sizeof layers / sizeof layers[0])
		crew__panic("more layers to sweep than there is room for");
	layers[count++] = sweep;
}

void crew__roll_back(struct crew__lane *lane)
{
	uint32_t i = __atomic_load_n(&lane->undo_count, __ATOMIC_ACQUIRE);
	if (i > 0) /* not committed, so not to be published either */
		__atomic_store_n(&lane->publish[0], 0, __ATOMIC_RELEASE);
	i = i < CREW__UNDO ? i : CREW__UNDO;
	while (i-- > 0) {
		uint64_t where = __atomic_load_n(&lane->undo[i].where, __ATOMIC_RELAXED);
		uint64_t old = __atomic_load_n(&lane->undo[i].old, __ATOMIC_RELAXED);
		void *at = crew__inside(where & ~(UINT64_C(0xff) << 56), where >> 56 == 8 ? 8 : 4);
		if (!at)
			continue; /* scribbled over */
		if (where >> 56 == 8)
			__atomic_store_n((uint64_t *)at, old, __ATOMIC_RELEASE);
		else
			__atomic_store_n((uint32_t *)at, (uint32_t)old, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&lane->undo_count, 0, __ATOMIC_RELEASE);
}

static _Thread_local enum crew__pace pace;

enum crew__pace crew__sweep_pace(enum crew__pace wanted)
{
	enum crew__pace was = pace;
	pace = wanted;
	return was;
}

crew_time crew__sweep_deadline(crew_time deadline)
{
	return pace == CREW__HASTY ? CREW_POLL : deadline;
}

int crew__sweep_waits_for(uint32_t owner)
{
	const struct crew__lane *lane = pace == CREW__NO_SWEEP ? NULL : crew__lane_at(crew__number(owner));
	const struct crew__slot *slot = lane ? crew__slot_get(__atomic_load_n(&lane->process, __ATOMIC_ACQUIRE)) : NULL;
	struct crew__stat stat;
	if (slot && crew__slot_pid(slot) && crew__stat(crew__slot_pid(slot), &stat) && stat.stopped)
		pace = CREW__HASTY;
	return pace == CREW__HASTY ? -EAGAIN : 0;
}

/*
 * No circle: the former sweeper died after this lane did, so chains of them lead forward in time; and nobody who sweeps one
 * of them waits for words that name `dead`.
 */
void crew__sweep_settle(struct crew__lane *dead)
{
	struct crew__lane *self;
	uint32_t former = __atomic_load_n(&dead->sweeper, __ATOMIC_ACQUIRE);
	while (former && !crew__lane_reap(former))
		sched_yield(); /* the kernel is about to mark it, or somebody is sweeping it */
	__atomic_store_n(&dead->sweeper, crew__lane_self(&self) == 0 ? crew__lane_id(self) : 0, __ATOMIC_SEQ_CST);
}

void crew__sweep(struct crew__lane *lane)
{
	uint32_t id = crew__lane_id(lane);
	bool clean = __atomic_load_n(&lane->state, __ATOMIC_ACQUIRE) == CREW__LANE_LEFT;
	enum crew__pace was = crew__sweep_pace(pace == CREW__NO_SWEEP ? CREW__PATIENT : pace);
	crew__roll_back(lane);
	for (unsigned i = 0; i < count; i++)
		layers[i](lane, id, clean);
	if (was == CREW__NO_SWEEP)
		crew__sweep_pace(was);
	if (!crew__lane_is_empty(lane)) { /* we are no member, or have no lane, or somebody is stopped in a section: for the next who sweeps */
		__atomic_store_n(&lane->sweeper, 0, __ATOMIC_RELEASE);
		return;
	}
	if (!clean)
		__atomic_fetch_add(&crew__family.region->deaths, 1, __ATOMIC_RELAXED);
	crew__lane_free(lane);
}
