/*
 * readers_writers.c - many read a record, now and then somebody writes it
 *
 * Each party reads seven times, then writes once. The record has eight words that a write raises by one, one after the
 * other, so between two writes they are all the same.
 *
 * The checker is in the data: a reader that sees two different words has read a half written record, and in the end every
 * word must be the number of writes.
 */
#include "stage.h"

#define WORDS 8

struct record {
	uint64_t word[WORDS];
	struct crew_lock lock;
	struct crew_rwlock rwlock;
	uint64_t sequence; /* odd while somebody writes */
};

/* Whether the words are all the same. Each is loaded atomically, the record is not. */
static bool record_read(const struct record *record)
{
	uint64_t first = __atomic_load_n(&record->word[0], __ATOMIC_ACQUIRE);
	bool same = true;
	for (int i = 1; i < WORDS; i++)
		same = same && __atomic_load_n(&record->word[i], __ATOMIC_ACQUIRE) == first;
	return same;
}

static void record_write(struct record *record)
{
	uint64_t next = __atomic_load_n(&record->word[0], __ATOMIC_RELAXED) + 1;
	for (int i = 0; i < WORDS; i++)
		__atomic_store_n(&record->word[i], next, __ATOMIC_RELEASE);
}

typedef int turn_fn(struct stage *stage, struct record *record, bool write, bool *torn);

static int use(struct stage *stage, turn_fn *turn)
{
	for (uint64_t i = 0; i < stage->rounds; i++) {
		bool torn = false;
		int r = turn(stage, stage->state, i % 8 == 7, &torn);
		if (r < 0)
			return r;
		stage_saw(stage, torn);
	}
	stage_did(stage, stage->rounds);
	return 0;
}

static void inspect(struct stage *stage)
{
	const struct record *record = stage->state;
	uint64_t written = stage->parties * (stage->rounds / 8);
	if (record->word[0] != written)
		stage_saw(stage, written - record->word[0]); /* lost: two writers began with the same number */
}

/* Wrong: nobody waits for anybody. */
static int unlocked_turn(struct stage *stage, struct record *record, bool write, bool *torn)
{
	(void)stage;
	if (!write) {
		*torn = !record_read(record);
		return 0;
	}
	for (int i = 0; i < WORDS; i++) {
		uint64_t next = __atomic_load_n(&record->word[i], __ATOMIC_RELAXED) + 1;
		if (i == WORDS / 2)
			bad_moment();
		__atomic_store_n(&record->word[i], next, __ATOMIC_RELEASE);
	}
	return 0;
}

/* One lock for all: right, but readers wait for each other though they need not. */
static int lock_turn(struct stage *stage, struct record *record, bool write, bool *torn)
{
	int r = crew_lock_acquire(&record->lock, stage->deadline);
	if (r < 0)
		return r;
	if (write)
		record_write(record);
	else
		*torn = !record_read(record);
	crew_lock_release(&record->lock);
	return 0;
}

/* Any number of readers, or one writer. */
static int rwlock_turn(struct stage *stage, struct record *record, bool write, bool *torn)
{
	int r = write ? crew_rwlock_write(&record->rwlock, stage->deadline)
		: crew_rwlock_read(&record->rwlock, stage->deadline);
	if (r < 0)
		return r;
	if (write)
		record_write(record);
	else
		*torn = !record_read(record);
	crew_rwlock_release(&record->rwlock);
	return 0;
}

/* A sequence lock: readers take nothing and write nothing; they read again if a writer was there meanwhile. */
static int sequence_turn(struct stage *stage, struct record *record, bool write, bool *torn)
{
	if (write) {
		int r = crew_lock_acquire(&record->lock, stage->deadline);
		if (r < 0)
			return r;
		__atomic_fetch_add(&record->sequence, 1, __ATOMIC_ACQ_REL); /* odd, before any word changes */
		record_write(record);
		__atomic_fetch_add(&record->sequence, 1, __ATOMIC_RELEASE); /* even, after all have */
		crew_lock_release(&record->lock);
		return 0;
	}
	uint64_t before;
	do {
		if (!stage_await(stage, (before = __atomic_load_n(&record->sequence, __ATOMIC_ACQUIRE)) % 2 == 0))
			return -ETIMEDOUT;
		*torn = !record_read(record);
	} while (__atomic_load_n(&record->sequence, __ATOMIC_RELAXED) != before);
	return 0;
}

static int unlocked(struct stage *stage, unsigned number) { (void)number; return use(stage, unlocked_turn); }
static int by_lock(struct stage *stage, unsigned number) { (void)number; return use(stage, lock_turn); }
static int by_rwlock(struct stage *stage, unsigned number) { (void)number; return use(stage, rwlock_turn); }
static int by_sequence(struct stage *stage, unsigned number) { (void)number; return use(stage, sequence_turn); }

const struct problem readers_writers = {
	.name = "readers-writers",
	.lesson = "nobody sees half a record: readers may be many, a writer is alone",
	.parties = 4, .rounds = 40000, .size = sizeof(struct record), .inspect = inspect,
	.versions = {
		{ "no lock", unlocked, true },
		{ "lock", by_lock, false },
		{ "rwlock", by_rwlock, false },
		{ "sequence lock", by_sequence, false },
	},
};
