/*
 * undo.c - commit and play back the log of crew/undo.h
 *
 * State    lane->log: offset of the log, 0: this thread has never saved. log->used: entries in force.
 *          lane->logged, log->lock[]: locks that saves have named and this thread has not yet released.
 * Writers  its thread; after its death the sweeper.
 * Moves    save: entry, then used, then the caller's store. commit: used = 0. A release of a named lock: commit,
 *          release the word, forget the name.
 * Invariant  While used > 0, all named words name the lane, and playing the log backwards gives the state before the
 *          section. While a name stands, what its lock guards is whole: as before the section, or as it was committed.
 * Death    before the commit: the sweep plays the log back, and makes "not repaired" what was not repaired when it was
 *          named; then used = 0: the section never was. It may be killed before that and plays the same log again: all
 *          words still name the dead, so nobody else has seen the places.
 *          after the commit: all of it has happened. The sweep frees the named words that name the dead, as whole
 *          as they are; that, too, may be repeated.
 *          after the word's release: its name is one too many; the word does not name the dead and is left alone.
 */
#include "base/sys.h"
#include "sync/undo.h"

#define WAS_BROKEN (UINT64_C(1) << 63) /* when it was named, or at the last commit */

static struct crew__log *log_of(const struct crew__lane *lane)
{
	uint64_t at = __atomic_load_n(&lane->log, __ATOMIC_ACQUIRE);
	struct crew__log *log = at ? crew__at(at) : NULL;
	return log && crew__in_region(log, sizeof *log) && crew__in_region(log, sizeof *log + log->room) ? log : NULL;
}

static uint32_t *word_of(uint64_t name)
{
	return crew__at(name & ~WAS_BROKEN);
}

static uint64_t name_of(const uint32_t *word)
{
	return crew__offset(word) | (__atomic_load_n(word, __ATOMIC_RELAXED) & CREW__BROKEN ? WAS_BROKEN : 0);
}

void crew__undo_name(struct crew__lane *lane, uint32_t *word)
{
	struct crew__log *log = log_of(lane);
	uint32_t free = lane->logged;
	for (uint32_t i = lane->logged; i-- > 0;) {
		if (log->lock[i] && word_of(log->lock[i]) == word)
			return;
		if (!log->lock[i])
			free = i;
	}
	if (free == CREW__LOG_LOCKS)
		crew__panic("more locks named than held");
	__atomic_store_n(&log->lock[free], name_of(word), __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (free == lane->logged)
		__atomic_store_n(&lane->logged, free + 1, __ATOMIC_RELEASE);
}

void crew__undo_commit(struct crew__lane *lane)
{
	struct crew__log *log = log_of(lane);
	if (!log || !log->used)
		return;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&log->used, 0, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < lane->logged; i++) /* of use to the next section only */
		if (log->lock[i])
			__atomic_store_n(&log->lock[i], name_of(word_of(log->lock[i])), __ATOMIC_RELAXED);
}

/* Word by word where it can be: whoever looks without the lock sees no torn words. */
static void put_back(unsigned char *to, const unsigned char *from, uint64_t size)
{
	while (size) {
		if ((uintptr_t)to % 8 == 0 && size >= 8) {
			uint64_t whole;
			__builtin_memcpy(&whole, from, 8);
			__atomic_store_n((uint64_t *)(void *)to, whole, __ATOMIC_RELEASE);
			to += 8, from += 8, size -= 8;
		} else {
			__atomic_store_n(to++, *from++, __ATOMIC_RELEASE);
			size--;
		}
	}
}

void crew__undo_roll_back(struct crew__lane *lane)
{
	struct crew__log *log = log_of(lane);
	uint32_t id = crew__lane_id(lane);
	uint64_t used = log ? __atomic_load_n(&log->used, __ATOMIC_ACQUIRE) : 0;
	if (!used)
		return;
	while (used >= sizeof(struct crew__log_end) && used <= log->room) {
		struct crew__log_end end;
		used -= sizeof end;
		__builtin_memcpy(&end, log->entry + used, sizeof end);
		uint64_t padded = crew__log_padded(end.size);
		if (padded < end.size || padded > used || !crew__in_region(crew__at(end.where), end.size))
			break; /* somebody has written over it: nothing outside may suffer */
		used -= padded;
		put_back(crew__at(end.where), log->entry + used, end.size);
	}
	for (uint32_t i = 0; i < lane->logged; i++) {
		uint32_t *word = log->lock[i] & WAS_BROKEN ? word_of(log->lock[i]) : NULL;
		if (word && (__atomic_load_n(word, __ATOMIC_ACQUIRE) & CREW__OWNER) == id)
			__atomic_fetch_or(word, CREW__BROKEN, __ATOMIC_RELEASE);
	}
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&log->used, 0, __ATOMIC_RELEASE);
}

static int find(const struct crew__lane *lane, const struct crew__log *log, const uint32_t *word)
{
	for (uint32_t i = 0; i < lane->logged; i++)
		if (log->lock[i] && word_of(log->lock[i]) == word)
			return (int)i;
	return -1;
}

void crew__undo_end(struct crew__lane *lane, const uint32_t *word)
{
	if (find(lane, log_of(lane), word) >= 0)
		crew__undo_commit(lane);
}

void crew__undo_forget(struct crew__lane *lane, const uint32_t *word)
{
	struct crew__log *log = log_of(lane);
	int i = find(lane, log, word);
	if (i < 0)
		return;
	__atomic_store_n(&log->lock[i], 0, __ATOMIC_RELAXED);
	uint32_t logged = lane->logged;
	while (logged && !log->lock[logged - 1])
		logged--;
	__atomic_store_n(&lane->logged, logged, __ATOMIC_RELAXED);
}

bool crew__undo_sweep(struct crew__lane *dead, uint32_t id)
{
	struct crew__log *log = log_of(dead);
	uint32_t logged = __atomic_load_n(&dead->logged, __ATOMIC_ACQUIRE);
	if (!log)
		return false;
	bool undone = __atomic_load_n(&log->used, __ATOMIC_ACQUIRE) > 0;
	crew__undo_roll_back(dead);
	for (uint32_t i = 0; i < logged && i < CREW__LOG_LOCKS; i++)
		if (log->lock[i])
			crew__word_free_as_is(word_of(log->lock[i]), id);
	__atomic_store_n(&dead->logged, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&dead->log, 0, __ATOMIC_RELEASE); /* its block is in a hand, which the heap empties */
	return undone;
}
