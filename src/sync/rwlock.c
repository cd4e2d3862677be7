/*
 * rwlock.c - readers are present in their own lanes, a writer looks through all of them
 *
 * State    writers_: a lock that writers take; BROKEN in it is the rwlock's "not repaired".
 *          writer_: the writer's id from before it looks for readers until it is done; bit 31: readers may sleep on it.
 *          hold READ in a reader's lane: it reads, or is about to find that it may not yet.
 *          lane->gone: a bell in each reader's lane; a writer that waits for it arms it, and then it rings when it stops
 *          reading. There, because the lock may be freed as soon as its last reader is gone.
 * Writers  writer_: who holds writers_; SLEEPERS by readers, by CAS; the sweep of a dead writer.
 * Order    reader: (A) store the hold, (B) look at writer_.   writer: (C) store writer_, (D) look at the holds.
 *          reader: (E) clear the hold, (F) look whether gone is armed.   writer: (G) arm it, (H) look at the hold.
 *          All sequentially consistent: impossible that both miss each other.
 * Death    a reader: its hold goes with the sweep, which rings for it. A writer: writers_ becomes BROKEN, then writer_ 0.
 */
#include <crew/rwlock.h>
#include "base/sys.h"
#include "sync/internal.h"
#include "sync/undo.h"

static int reader_result(const struct crew_rwlock *lock)
{
	return __atomic_load_n(&lock->writers_.word_, __ATOMIC_ACQUIRE) & CREW__BROKEN ? CREW_OWNER_DIED : 0;
}

/* Forget a hold for reading; tell a writer that waits for it. A death after the first line: the sweep rings. */
static void stop_reading(struct crew__lane *lane, int hold)
{
	__atomic_store_n(&lane->hold[hold], 0, __ATOMIC_SEQ_CST); /* (E) */
	if (__builtin_expect(crew__bell_look(&lane->gone) & CREW__ARMED, 0)) /* (F) */
		crew__ring(lane, &lane->gone, UINT32_MAX);
}

/* Record a hold for reading. Index, or -ENOLCK. */
static int start_reading(struct crew__lane *lane, const struct crew_rwlock *lock)
{
	int hold = crew__hold_free(lane, CREW__HOLD_READ);
	if (hold >= 0) {
		lane->hold_count[hold] = 1;
		__atomic_store_n(&lane->hold[hold], crew__hold_word(CREW__HOLD_READ, lock), __ATOMIC_SEQ_CST); /* (A) */
	}
	return hold;
}

int crew_rwlock_read(struct crew_rwlock *lock, crew_time deadline)
{
	struct crew__lane *lane;
	int r = crew__lane_for(lock, sizeof *lock, &lane);
	if (r < 0)
		return r;
	int hold = crew__hold_find(lane, CREW__HOLD_READ, lock);
	if (hold >= 0) {
		lane->hold_count[hold]++;
		return reader_result(lock);
	}
	uint32_t me = crew__lane_id(lane);
	for (unsigned turn = 0;;) {
		hold = start_reading(lane, lock);
		if (hold < 0)
			return hold;
		uint32_t writer = __atomic_load_n(&lock->writer_, __ATOMIC_SEQ_CST); /* (B) */
		if (!(writer & CREW__OWNER))
			return reader_result(lock);
		stop_reading(lane, hold);
		if ((writer & CREW__OWNER) == me)
			return -EDEADLK;
		if (crew__spin(turn++))
			continue;
		if (!(writer & CREW__SLEEPERS) && deadline > CREW_POLL &&
				!__atomic_compare_exchange_n(&lock->writer_, &writer, writer | CREW__SLEEPERS, false,
					__ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			continue;
		uint32_t expected = deadline <= CREW_POLL ? writer : writer | CREW__SLEEPERS;
		if (crew__sleep(lane, &lock->writer_, expected, writer & CREW__OWNER, deadline) < 0)
			return -ETIMEDOUT;
		crew__word_disown(&lock->writer_, writer & CREW__OWNER, 0);
	}
}

static bool reads(const struct crew__lane *lane, const struct crew_rwlock *lock)
{
	return crew__hold_search(lane, crew__hold_word(CREW__HOLD_READ, lock)) >= 0; /* (D), (H) */
}

/* A lane that reads this lock, or NULL. Dead or alive: a dead one's hold goes with its sweep. */
static struct crew__lane *find_reader(const struct crew_rwlock *lock)
{
	struct crew__lane *lane;
	for (uint32_t number = 1; (lane = crew__lane_at(number)); number++)
		if (reads(lane, lock))
			return lane;
	return NULL;
}

/* Wait until this lane has stopped reading, or is dead and swept. -ETIMEDOUT. */
static int await_reader(const struct crew_rwlock *lock, struct crew__lane *lane, struct crew__lane *reader, crew_time deadline)
{
	for (unsigned turn = 0;;) {
		uint32_t id = crew__lane_id(reader), seen = crew__bell_look(&reader->gone), armed = seen | CREW__ARMED;
		if (!reads(reader, lock))
			return 0;
		if (crew__spin(turn++))
			continue;
		if (crew__bell_arm(&reader->gone, seen) != armed || !reads(reader, lock)) /* (G), (H) */
			continue;
		__atomic_store_n(&lane->wants, crew__hold_word(CREW__HOLD_READ, lock), __ATOMIC_RELAXED);
		if (crew__sleep(lane, &reader->gone, armed, id, deadline) < 0 && reads(reader, lock))
			return -ETIMEDOUT;
	}
}

static void stop_writing(struct crew_rwlock *lock, struct crew__lane *lane, bool keep_broken)
{
	if (lane->logged)
		crew__undo_end(lane, &lock->writers_.word_);
	if (__atomic_exchange_n(&lock->writer_, 0, __ATOMIC_SEQ_CST) & CREW__SLEEPERS)
		crew__wake(&lock->writer_, UINT32_MAX);
	int hold = crew__hold_find(lane, CREW__HOLD_GUARD, &lock->writer_);
	if (hold >= 0)
		crew__hold_drop(lane, hold);
	crew__word_release(lane, &lock->writers_.word_, CREW__HOLD_LOCK, keep_broken);
	if (lane->logged)
		crew__undo_forget(lane, &lock->writers_.word_);
}

int crew_rwlock_write(struct crew_rwlock *lock, crew_time deadline)
{
	struct crew__lane *lane;
	int r = crew__lane_for(lock, sizeof *lock, &lane);
	if (r < 0)
		return r;
	if (crew__hold_find(lane, CREW__HOLD_READ, lock) >= 0)
		return -EDEADLK;
	r = crew__word_acquire(lane, &lock->writers_.word_, CREW__HOLD_LOCK, deadline);
	if (r < 0)
		return r;
	if (crew__hold_add(lane, CREW__HOLD_GUARD, &lock->writer_) < 0) {
		crew__word_release(lane, &lock->writers_.word_, CREW__HOLD_LOCK, r == CREW_OWNER_DIED);
		return -ENOLCK;
	}
	__atomic_store_n(&lock->writer_, crew__lane_id(lane), __ATOMIC_SEQ_CST); /* (C) */
	for (struct crew__lane *reader; (reader = find_reader(lock));) {
		if (await_reader(lock, lane, reader, deadline) < 0) {
			stop_writing(lock, lane, r == CREW_OWNER_DIED);
			return -ETIMEDOUT;
		}
	}
	return r;
}

void crew_rwlock_release(struct crew_rwlock *lock)
{
	struct crew__lane *lane;
	if (crew__lane_self(&lane) < 0)
		crew__panic("crew_rwlock_release: not a member");
	if ((__atomic_load_n(&lock->writer_, __ATOMIC_RELAXED) & CREW__OWNER) == crew__lane_id(lane)) {
		stop_writing(lock, lane, __atomic_load_n(&lock->writers_.word_, __ATOMIC_RELAXED) & CREW__BROKEN);
		return;
	}
	int hold = crew__hold_find(lane, CREW__HOLD_READ, lock);
	if (hold < 0)
		crew__panic("crew_rwlock_release: lock %p is not held by this thread", (void *)lock);
	if (--lane->hold_count[hold] == 0)
		stop_reading(lane, hold);
}

void crew_rwlock_repaired(struct crew_rwlock *lock)
{
	struct crew__lane *lane;
	if (crew__lane_self(&lane) < 0 ||
			(__atomic_load_n(&lock->writer_, __ATOMIC_RELAXED) & CREW__OWNER) != crew__lane_id(lane))
		crew__panic("crew_rwlock_repaired: lock %p is not held for writing by this thread", (void *)lock);
	__atomic_fetch_and(&lock->writers_.word_, ~CREW__BROKEN, __ATOMIC_RELAXED); /* ordered by the release to come */
}
