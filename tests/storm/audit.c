/* audit.c - what must hold when nobody runs; see program.h */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "region/lane.h"
#include "storm/program.h"

#define CHECK(condition, ...) do { if (!(condition)) wrong(__VA_ARGS__); } while (0)

static uint64_t blocks(void)
{
	struct crew_memory_stats stats;
	if (crew_memory_stats(&stats) < 0 || crew_heap_check() < 0)
		wrong("the heap is not whole");
	return stats.blocks;
}

void world_create(void)
{
	if (crew_alloc_zeroed(sizeof *world, (void **)&world) < 0)
		abort();
	crew_semaphore_init(&world->semaphore, PERMITS);
	crew_barrier_init(&world->barrier, 2, 0);
	crew_queue_init(&world->leased, 32);
	crew_queue_init(&world->once, 4);
	world->blocks = blocks();
}

static void audit_lock(struct crew_lock *lock, const char *name)
{
	int r = crew_lock_acquire(lock, CREW_POLL);
	CHECK(r == 0 || (r == CREW_OWNER_DIED), "at rest: %s: %s", name, crew_errname(r));
	if (r == CREW_OWNER_DIED)
		crew_lock_repaired(lock);
	if (r >= 0)
		crew_lock_release(lock);
}

static void audit_locks(void)
{
	audit_lock(&world->lock, "the lock");
	audit_lock(&world->turn_lock, "the condition's lock");
	int64_t sum = 0;
	for (int i = 0; i < ACCOUNTS; i++) {
		audit_lock(&world->account_lock[i], "an account's lock");
		sum += world->account[i];
	}
	CHECK(sum == 0, "at rest: the accounts' sum is %ld", (long)sum);
	int r = crew_rwlock_write(&world->rwlock, CREW_POLL);
	CHECK(r == 0 || r == CREW_OWNER_DIED, "at rest: the rwlock: %s", crew_errname(r));
	if (r >= 0) {
		for (int i = 1; i < 8; i++)
			CHECK(r == CREW_OWNER_DIED || world->page[i] == world->page[0], "at rest: a torn page");
		memset(world->page, 0, sizeof world->page);
		crew_rwlock_repaired(&world->rwlock);
		crew_rwlock_release(&world->rwlock);
	}
	world->pair[1] = world->pair[0];
	world->inside = 0;
}

static void audit_counts(void)
{
	CHECK(crew_semaphore_free(&world->semaphore) == PERMITS, "at rest: %u permits", crew_semaphore_free(&world->semaphore));
	uint32_t value = crew_counter_value(&world->counter);
	uint32_t most = notes->posts + notes->doubt[OP_POST] - notes->counts;
	CHECK(value <= most && value + notes->doubt[OP_COUNT] + notes->counts >= notes->posts,
		"at rest: the counter is %u after %u (+%u) posts and %u (+%u) waits", value, notes->posts, notes->doubt[OP_POST],
		notes->counts, notes->doubt[OP_COUNT]);
	while (crew_counter_wait(&world->counter, CREW_POLL) == 0)
		;
	CHECK(crew_barrier_waiting(&world->barrier) == 0, "at rest: somebody waits at the barrier");
	if (crew_barrier_reset(&world->barrier) < 0)
		wrong("at rest: the barrier");
}

/* What is still inside comes out, and every id has its fate. */
static void audit_leased(void)
{
	struct crew_message message;
	struct letter letter;
	int r;
	while ((r = crew_queue_take(&world->leased, &message, CREW_POLL)) == 0) {
		memcpy(&letter, message.data, sizeof letter);
		struct fate *fate = letter.id < IDS ? &notes->fate[0][letter.id] : NULL;
		CHECK(fate && fate->put && fate->put != FAILED && fate->done != DID, "at rest: message %u should not be there", letter.id);
		CHECK(!fate || fate->takes <= message.attempt - 1 + fate->returns, "at rest: message %u is not said to come again", letter.id);
		if (fate)
			fate->done = fate->done == DID ? FAILED : DID;
		if (crew_queue_done(&world->leased, &message) < 0)
			wrong("at rest: done");
	}
	CHECK(r == -ETIMEDOUT, "at rest: take: %s", crew_errname(r));
	CHECK(crew_queue_join(&world->leased, CREW_POLL) == 0, "at rest: somebody has a lease");
	uint32_t count = notes->next_id[0] < IDS ? notes->next_id[0] : IDS;
	for (uint32_t id = 0; id < count; id++) {
		const struct fate *fate = &notes->fate[0][id];
		CHECK(fate->put != DID || fate->done, "message %u of %u is lost (%u takes, %u returns)", id, count, fate->takes, fate->returns);
		CHECK(fate->put != FAILED || !fate->takes, "message %u came, though its put had failed", id);
	}
}

static void audit_once(void)
{
	uint8_t text[8192];
	struct letter letter;
	unsigned lost = 0;
	while (crew_queue_get(&world->once, text, sizeof text, NULL, CREW_POLL) == 0) {
		memcpy(&letter, text, sizeof letter);
		CHECK(letter.id < IDS && notes->fate[1][letter.id].got++ == 0, "at rest: message %u came twice", letter.id);
	}
	uint32_t count = notes->next_id[1] < IDS ? notes->next_id[1] : IDS;
	for (uint32_t id = 0; id < count; id++) {
		const struct fate *fate = &notes->fate[1][id];
		lost += fate->put == DID && !fate->got;
		CHECK(fate->put != FAILED || !fate->got, "message %u came, though its put had failed", id);
	}
	CHECK(lost <= notes->doubt[OP_GET], "%u messages are lost, %u getters died", lost, notes->doubt[OP_GET]);
}

static void audit_lanes(void)
{
	struct crew__lane *lane, *self;
	if (crew__lane_self(&self) < 0)
		wrong("no lane");
	for (uint32_t n = 1; (lane = crew__lane_at(n)); n++) {
		unsigned held = lane->leases || lane->depth || lane->undo_count;
		for (int i = 0; i < CREW__HOLDS; i++)
			held += lane->hold[i] != 0;
		for (int i = 0; i < 4; i++)
			held += lane->mine[i] != 0;
		const struct crew__slot *slot = crew__slot_get(lane->process);
		CHECK(lane == self || lane->state == CREW__LANE_FREE || (slot && slot->helper),
			"at rest: lane %u of process %x is in state %u", n, lane->process, lane->state);
		CHECK(!held, "at rest: lane %u holds something", n);
	}
}

/* Children of the killed end with them, a moment later. */
static void await_orphans(void)
{
	for (crew_time until = crew_after(10 * CREW_SECOND); crew_now() < until; sched_yield()) {
		struct crew__slot *slot;
		unsigned others = 0;
		for (uint32_t number = 1; (slot = crew__slot_at(number)); number++)
			others += __atomic_load_n(&slot->parent, __ATOMIC_ACQUIRE) && !slot->helper;
		if (others == 1)
			return;
	}
	wrong("at rest: others still run");
}

bool audit(void)
{
	await_orphans();
	for (unsigned thread = 0; thread < THREADS; thread++)
		crew_pipe_fini(&world->pipe[thread]);
	crew__lane_reap_all();
	audit_locks();
	audit_counts();
	audit_leased();
	audit_once();
	crew_queue_fini(&world->leased); /* what it keeps for later messages */
	crew_queue_fini(&world->once);
	audit_lanes();
	CHECK(blocks() == world->blocks, "at rest: %lu blocks, not %lu", (unsigned long)blocks(), (unsigned long)world->blocks);
	memset(notes->fate[0], 0, sizeof notes->fate[0][0] * (notes->next_id[0] < IDS ? notes->next_id[0] : IDS));
	memset(notes->fate[1], 0, sizeof notes->fate[1][0] * (notes->next_id[1] < IDS ? notes->next_id[1] : IDS));
	memset(notes->next_id, 0, sizeof notes->next_id);
	memset(notes->doubt, 0, sizeof notes->doubt);
	notes->posts = notes->counts = 0;
	return !notes->is_wrong;
}
