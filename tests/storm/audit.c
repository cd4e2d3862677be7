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
	crew_latch_init(&world->latch, TO_DO);
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
	r = crew_rwlock_write(&world->saved_rwlock, CREW_POLL);
	CHECK(r == 0 || r == CREW_OWNER_DIED, "at rest: the rwlock with undo: %s", crew_errname(r));
	if (r >= 0) {
		for (int i = 1; i < 32; i++)
			CHECK(world->saved_page[i] == world->saved_page[0], "at rest: half of a section");
		if (r == CREW_OWNER_DIED)
			crew_rwlock_repaired(&world->saved_rwlock);
		crew_rwlock_release(&world->saved_rwlock);
	}
}

static void audit_job(void)
{
	CHECK(!crew_once_is_done(&world->job) || world->runs, "at rest: what was done once was never done");
	world->job = (struct crew_once){ 0 };
	world->half = world->runs = 0;
}

static uint32_t at_most(uint32_t value, uint32_t most) { return value < most ? value : most; }

static void audit_latch(void)
{
	uint32_t counted = TO_DO - crew_latch_count(&world->latch), begun = notes->latch.begun - notes->latch.failed;
	CHECK(counted >= at_most(notes->latch.done + notes->owed, TO_DO) && counted <= at_most(begun, TO_DO),
		"at rest: the latch has counted %u, after %u that were told, %u owed, %u begun", counted, notes->latch.done, notes->owed, begun);
	crew_latch_init(&world->latch, TO_DO);
}

static int check_entry(void *count, const void *key_data, size_t key_size, const void *value, size_t size)
{
	uint32_t key, number;
	memcpy(&key, key_data, sizeof key);
	memcpy(&number, (const uint8_t *)value + offsetof(struct entry, number), sizeof number);
	CHECK(key_size == sizeof key && entry_is_whole(value, key, size), "at rest: key %u of the map is torn", key);
	CHECK(key < KEYS || number <= notes->strangers, "at rest: key %u of the map is %u, which nobody put", key, number);
	++*(uint64_t *)count;
	return 0;
}

static void audit_map(void)
{
	for (uint32_t key = 0; key < KEYS; key++) {
		struct entry entry = { 0 };
		const struct tries *tries = &notes->key[key];
		int r = crew_map_get(&world->map, &key, sizeof key, &entry, sizeof entry, NULL, NULL);
		CHECK(r == 0 || r == -ENOENT, "at rest: the map: %s", crew_errname(r));
		CHECK(entry.number >= tries->done && entry.number <= tries->begun - tries->failed,
			"at rest: key %u of the map is %u, after %u changes of %u", key, entry.number, tries->done, tries->begun - tries->failed);
	}
	uint64_t count = 0;
	int r = crew_map_each(&world->map, check_entry, &count);
	CHECK(r == 0 && count == crew_map_count(&world->map), "at rest: the map has %lu keys, and says %lu: %s",
		(unsigned long)count, (unsigned long)crew_map_count(&world->map), crew_errname(r));
	crew_map_fini(&world->map);
	memset(notes->key, 0, sizeof notes->key);
	notes->strangers = 0;
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
		CHECK(!fate->more || !fate->done == !fate[1].done, "messages %u and %u were put in one step, one came", id, id + 1);
	}
}

static void audit_once(void)
{
	uint8_t text[8192];
	struct letter letter;
	unsigned lost = 0;
	bool came = false;
	while (crew_queue_get(&world->once, text, sizeof text, NULL, CREW_POLL) == 0) {
		memcpy(&letter, text, sizeof letter);
		CHECK(letter.id < IDS && notes->fate[1][letter.id].got++ == 0, "at rest: message %u came twice", letter.id);
	}
	uint32_t count = notes->next_id[1] < IDS ? notes->next_id[1] : IDS;
	for (uint32_t id = 0; id < count; id++) {
		const struct fate *fate = &notes->fate[1][id];
		if (id == 0 || !fate[-1].more) { /* a batch begins */
			came = false;
			for (unsigned i = 0; i <= fate->more; i++)
				came |= fate[i].got > 0;
		}
		lost += (came || fate->put == DID) && !fate->got;
		CHECK(fate->put != FAILED || !fate->got, "message %u came, though its put had failed", id);
	}
	CHECK(lost <= notes->doubt[OP_GET] + notes->doubt[OP_GET_MANY] * MANY, "%u messages are lost, %u getters died, %u of many", lost,
		notes->doubt[OP_GET], notes->doubt[OP_GET_MANY]);
}

static bool holds_something(struct crew__lane *lane)
{
	bool held = __atomic_load_n(&lane->leases, __ATOMIC_ACQUIRE) || __atomic_load_n(&lane->depth, __ATOMIC_ACQUIRE) ||
		__atomic_load_n(&lane->undo_count, __ATOMIC_ACQUIRE);
	for (int i = 0; i < CREW__HOLDS; i++)
		held |= __atomic_load_n(&lane->hold[i], __ATOMIC_ACQUIRE) != 0;
	for (size_t i = 0; i < sizeof lane->mine / sizeof *lane->mine; i++)
		held |= __atomic_load_n(&lane->mine[i], __ATOMIC_ACQUIRE) != 0;
	return held;
}

static void audit_lanes(void)
{
	struct crew__lane *lane, *self;
	if (crew__lane_self(&self) < 0)
		wrong("no lane");
	for (uint32_t n = 1; (lane = crew__lane_at(n)); n++) {
		const struct crew__slot *slot = crew__slot_get(lane->process);
		bool helps = slot && slot->helper;
		CHECK(lane == self || lane->state == CREW__LANE_FREE || helps,
			"at rest: lane %u of process %x is in state %u", n, lane->process, lane->state);
		/* The zygote may just be sweeping who died last. */
		for (crew_time until = crew_after(10 * CREW_SECOND); helps && holds_something(lane) && crew_now() < until;)
			sched_yield();
		CHECK(!holds_something(lane), "at rest: lane %u%s holds something: %lx leases, depth %u, %u to undo, first %lx, in hand %lx", n,
			helps ? " of a helper" : "", (unsigned long)lane->leases, lane->depth, lane->undo_count, (unsigned long)lane->hold[0],
			(unsigned long)lane->mine[0]);
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
	for (unsigned i = 0; i < WAYS; i++) {
		crew_pipe_fini(&world->way[i].pipe);
		crew_tube_fini(&world->way[i].tube);
		world->way[i].in_use = 0;
	}
	crew__lane_reap_all();
	audit_locks();
	audit_job();
	audit_latch();
	audit_map();
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
	notes->posts = notes->counts = notes->owed = 0;
	notes->latch = (struct tries){ 0 };
	return !notes->is_wrong;
}
