/*
 * section.c - a guard and an undo log: several stores that happen together or not at all
 *
 * State    lane->undo[0 ... undo_count): old values of what this section has set, oldest first.
 * Writers  its thread; after its death the sweeper.
 * Moves    set: entry, then undo_count + 1, then the store. commit: undo_count = 0. leave: commit, then free the guard.
 * Invariant  While the guard names a lane with undo_count > 0, playing its log backwards gives the state
 *          before the section.
 * Death    before commit: the sweep plays the log, then frees the guard: nothing has happened.
 *          after commit: the sweep makes the store in lane->publish, changes the bells in lane->owed, frees the guard, and wakes all: all of it has happened.
 *          after the release: the bells have changed and may be freed memory by now: the sweep only wakes.
 *          Stores of one processor reach the sweeper in order, because the kernel stands between death and sweep;
 *          only the compiler must be kept from reordering (signal fences).
 */
#include "base/sys.h"
#include "sync/section.h"

int crew__hold_set(struct crew__lane *lane, enum crew__hold kind, const void *object)
{
	int i = crew__hold_free(lane, kind);
	if (i >= 0) {
		crew__set32(lane, &lane->hold_count[i], 1);
		crew__set64(lane, &lane->hold[i], crew__hold_word(kind, object));
	}
	return i;
}

void crew__publish_owed(struct crew__lane *lane)
{
	uint64_t where = __atomic_load_n(&lane->publish[0], __ATOMIC_ACQUIRE);
	if (where)
		__atomic_store_n((uint64_t *)crew__at(where), __atomic_load_n(&lane->publish[1], __ATOMIC_RELAXED), __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&lane->publish[0], 0, __ATOMIC_RELEASE); /* before the guard is free: then the word may be changed again */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

void crew__leave_and_publish(struct crew__lane *lane, uint32_t *guard, uint64_t *where, uint64_t value)
{
	crew__owe_store(lane, where, value);
	crew__commit(lane);
	crew__publish_owed(lane);
	crew__leave(lane, guard);
}

void crew__abandon(struct crew__lane *lane, uint32_t *guard)
{
	crew__roll_back(lane);
	crew__leave(lane, guard);
}

void crew__leave_and_ring_each(struct crew__lane *lane, uint32_t *guard, uint32_t *const *bells, const uint32_t *counts,
		unsigned n)
{
	uint32_t sleepers[CREW__BELLS];
	for (unsigned i = 0; i < n; i++)
		__atomic_store_n(&lane->owed[i], crew__offset(bells[i]), __ATOMIC_RELAXED); /* from the commit on */
	crew__commit(lane);
	if (lane->publish[0])
		crew__publish_owed(lane);
	for (unsigned i = 0; i < n; i++)
		sleepers[i] = crew__bell_change(bells[i], counts ? counts[i] : UINT32_MAX);
	crew__leave(lane, guard);
	for (unsigned i = 0; i < n; i++)
		if (sleepers[i])
			crew__wake(bells[i], sleepers[i]);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < n; i++)
		__atomic_store_n(&lane->owed[i], 0, __ATOMIC_RELAXED);
}

void crew__leave_and_ring(struct crew__lane *lane, uint32_t *guard, uint32_t *bell, uint32_t count)
{
	crew__leave_and_ring_each(lane, guard, &bell, &count, 1);
}

void crew__leave_and_ring_all(struct crew__lane *lane, uint32_t *guard, uint32_t *const *bells, unsigned n)
{
	crew__leave_and_ring_each(lane, guard, bells, NULL, n);
}
