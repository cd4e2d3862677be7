/*
 * save.c - the log of crew/undo.h: append to it, make it larger
 *
 * State    the log is a block in one of two hands of the lane, lane->log says which. It grows by a copy in the other hand.
 * Death    lane->log is 0 or names a whole log at every instruction. The sweep of sync plays it; then that of this layer
 *          frees what the hands hold.
 */
#include <string.h>
#include <crew/undo.h>
#include "base/sys.h"
#include "memory/heap.h"
#include "sync/undo.h"

enum { HAND = 4, FIRST = 4096 }; /* and HAND + 1 */
static_assert(sizeof ((struct crew__lane *)0)->mine / sizeof (uint64_t) >= HAND + 2, "two hands for the log");

/* Room for `more` bytes behind what the log holds. -ENOSPC, -ENOMEM. */
static int reserve(struct crew__lane *lane, uint64_t more)
{
	struct crew__log *old = lane->log ? crew__at(lane->log) : NULL, *new;
	uint64_t used = old ? old->used : 0, size = old ? sizeof *old + old->room : FIRST / 2;
	if (more > CREW_SAVE_MOST || used + more > CREW_SAVE_MOST)
		return -ENOSPC;
	if (old && more <= old->room - used)
		return 0;
	unsigned hand = old && lane->mine[HAND] == lane->log ? HAND + 1 : HAND;
	crew__free_mine(lane, hand); /* where an earlier call was ended by an error */
	do
		size *= 2;
	while (size < sizeof *new + used + more);
	int r = crew__alloc_mine(lane, hand, size, (void **)&new);
	if (r < 0)
		return r;
	if (old)
		memcpy(new, old, sizeof *old + used);
	else
		memset(new, 0, sizeof *new);
	new->room = size - sizeof *new;
	__atomic_store_n(&lane->log, crew__offset(new), __ATOMIC_RELEASE);
	if (old)
		crew__free_mine(lane, hand ^ 1);
	return 0;
}

static int save(struct crew__lane *lane, uint32_t *word, void *where, size_t size)
{
	uint64_t padded = crew__log_padded(size), more = padded + sizeof(struct crew__log_end);
	if (size > CREW_SAVE_MOST)
		return -ENOSPC;
	int r = reserve(lane, more);
	if (r < 0)
		return r;
	crew__undo_name(lane, word);
	if (!size)
		return 0;
	struct crew__log *log = crew__at(lane->log);
	unsigned char *entry = log->entry + log->used;
	memcpy(entry, where, size);
	memcpy(entry + padded, &(struct crew__log_end){ crew__offset(where), size }, sizeof(struct crew__log_end));
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&log->used, log->used + more, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return 0;
}

static bool overlap(const void *a, size_t a_size, const void *b, size_t b_size)
{
	return (uintptr_t)a < (uintptr_t)b + b_size && (uintptr_t)b < (uintptr_t)a + a_size;
}

static int save_under(void *lock, size_t lock_size, uint32_t *word, void *where, size_t size)
{
	struct crew__lane *lane;
	int r = crew__lane_for(lock, lock_size, &lane);
	if (r < 0)
		return r;
	if ((__atomic_load_n(word, __ATOMIC_RELAXED) & CREW__OWNER) != crew__lane_id(lane))
		return -EPERM;
	if (size && (!crew__in_region(where, size) || overlap(lock, lock_size, where, size)))
		return -EINVAL;
	return save(lane, word, where, size);
}

int crew_save(struct crew_lock *lock, void *where, size_t size)
{
	return save_under(lock, sizeof *lock, &lock->word_, where, size);
}

int crew_rwlock_save(struct crew_rwlock *lock, void *where, size_t size)
{
	return save_under(lock, sizeof *lock, &lock->writers_.word_, where, size);
}

void crew_save_commit(void)
{
	struct crew__lane *lane;
	if (crew__family.self && crew__lane_self(&lane) == 0)
		crew__undo_commit(lane);
}

void crew_save_abandon(void)
{
	struct crew__lane *lane;
	if (crew__family.self && crew__lane_self(&lane) == 0)
		crew__undo_roll_back(lane);
}
