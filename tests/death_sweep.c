/* death_sweep.c - processes killed at every instruction of a section, of the claim of a slot, and of the sweep of another dead one */
#include "death/rows.h"
#include "memory/heap.h"
#include "channel/ring.h"
#include "region/region.h"
#include "sync/section.h"

static struct shared {
	uint32_t guard, bell, news; /* of a section */
	struct crew_lock lock;
	struct crew_rwlock rwlock;
	struct crew_semaphore semaphore;
	struct crew_barrier barrier;
	struct crew_queue queue, late;
	struct crew_counter ready;
} *s;

static void begin(void)
{
	s = family_begin(sizeof *s);
}

static void end(void)
{
	crew_queue_fini(&s->queue);
	family_end(s);
}

static void join_in(void *shared)
{
	struct crew__lane *lane;
	(void)shared;
	do_or_exit(crew__lane_self(&lane));
}

/* ---- the end of a section ---- */

static uint32_t bell_before;

static void no_news(void *shared)
{
	(void)shared;
	s->news = 0;
	bell_before = s->bell;
}

static void tell_news(void *shared)
{
	struct crew__lane *lane;
	(void)shared;
	do_or_exit(crew__enter(&lane, &s->guard, CREW_FOREVER));
	crew__set32(lane, &s->news, 1);
	crew__leave_and_ring(lane, &s->guard, &s->bell, 1);
}

/* Whoever enters the moment that the guard is free may free the memory, so the bell must have changed by then. */
static void watch_news(void *shared)
{
	(void)shared;
	ck_assert(!s->news || s->guard & CREW__OWNER || s->bell != bell_before);
}

static void check_news(void *shared, bool completed)
{
	(void)shared;
	sweep_all();
	ck_assert_uint_eq(s->guard & CREW__OWNER, 0);
	ck_assert(s->news || !completed);
	ck_assert(!s->news || s->bell != bell_before); /* or who is about to sleep on it would */
}

/* ---- slots of processes ---- */

static unsigned slots_taken(void)
{
	unsigned count = 0;
	for (uint32_t n = 1; n < crew__family.region->slots_high; n++)
		count += __atomic_load_n(&crew__slot_at(n)->state, __ATOMIC_ACQUIRE) != CREW__SLOT_FREE;
	return count;
}

/* Until its starter's death is known to all, a slot is taken: so look before the next. */
static void no_slot_lost(void *shared)
{
	static unsigned slots;
	(void)shared;
	if (!slots)
		slots = slots_taken();
	await(slots_taken() == slots);
}

/* As one that has started processes: so whoever reaps it looks for what it had claimed. */
static void be_a_starter(void *shared)
{
	join_in(shared);
	__atomic_store_n(&crew__slot_get(crew__family.self)->has_started, 1, __ATOMIC_SEQ_CST);
}

static void claim_and_release(void *shared)
{
	(void)shared;
	uint32_t id = crew__slot_claim(crew__family.self);
	do_or_exit(id ? 0 : -1);
	crew__slot_release(id);
}

static void check_nothing(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
}

/* ---- sweeps ---- */

static void *take_two_and_end(void *unused)
{
	struct crew_message m;
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	return unused;
}

/* Leases of a dead thread, whose lane comes before the victim's. */
static void leave_leases(void *shared)
{
	(void)shared;
	for (uint32_t n = 1; n <= 3; n++)
		must(crew_queue_put(&s->queue, &n, sizeof n, CREW_POLL));
	run(take_two_and_end, NULL);
}

static void sweep(void *shared)
{
	(void)shared;
	crew__lane_reap_all();
}

static void check_no_block_lost(void)
{
	struct crew__ring *ring = crew__ring_of(&s->queue);
	check_heap(ring ? crew__ring_blocks(ring) : 0);
}

static void check_leases(void)
{
	sweep_all();
	unsigned seen = 0;
	for (int i = 0; i < 3; i++) {
		struct crew_message m;
		must(crew_queue_take(&s->queue, &m, SOON));
		uint32_t n = *(const uint32_t *)m.data;
		seen |= 1u << n;
		ck_assert_uint_eq(m.attempt, n == 3 ? 1 : 2);
		must(crew_queue_done(&s->queue, &m));
	}
	ck_assert_uint_eq(seen, 14);
	must(crew_queue_join(&s->queue, SOON));
}

static void check_lease_sweep(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	check_leases();
	check_no_block_lost();
}

/* A lease that its taker's death makes a dead letter, in a block. */
static void *take_the_letter_and_end(void *unused)
{
	struct crew_message m;
	must(crew_queue_take(&s->queue, &m, CREW_POLL));
	return unused;
}

static void leave_a_letter(void *shared)
{
	static const char letter[100] = "a letter";
	(void)shared;
	crew_queue_fini(&s->queue);
	must(crew_queue_init_with(&s->queue, &(struct crew_queue_options){ .max_attempts = 1, .dead_letters = &s->late }));
	must(crew_queue_put(&s->late, letter, 50, CREW_POLL)); /* one is there; its node has a block */
	must(crew_queue_put(&s->queue, letter, sizeof letter, CREW_POLL));
	run(take_the_letter_and_end, NULL);
}

/* It has moved, once and whole. */
static void check_letter(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	sweep_all();
	for (unsigned i = 0; i < 2; i++) {
		struct crew_message m;
		must(crew_queue_take(&s->late, &m, SOON));
		ck_assert_uint_eq(m.size, i ? 50 : 100); /* what has come back goes first */
		ck_assert_uint_eq(m.attempt, 1);
		ck_assert_str_eq(m.data, "a letter");
		must(crew_queue_done(&s->late, &m));
	}
	ck_assert_uint_eq(crew_queue_length(&s->late), 0);
	ck_assert_uint_eq(crew_queue_length(&s->queue), 0);
	must(crew_queue_join(&s->queue, SOON));
	must(crew_queue_join(&s->late, SOON));
	ck_assert_uint_eq(crew__nodes_in(crew__ring_of(&s->late), 1u << CREW__ALLOC), 0);
	check_heap(crew__ring_blocks(crew__ring_of(&s->queue)) + crew__ring_blocks(crew__ring_of(&s->late)));
	crew_queue_fini(&s->late);
}

static void *hold_everything(void *unused)
{
	struct crew__lane *lane;
	void *p;
	must(crew__lane_self(&lane));
	must(crew_lock_acquire(&s->lock, SOON));
	must(crew_rwlock_write(&s->rwlock, SOON));
	must(crew_semaphore_acquire(&s->semaphore, SOON));
	must(crew_semaphore_acquire(&s->semaphore, SOON));
	take_two_and_end(NULL);
	must_be(-ETIMEDOUT, crew_barrier_wait(&s->barrier, NULL, CREW_POLL));
	must(crew__alloc_mine(lane, 0, 300, &p));
	crew__attempt_begin(lane);
	must(crew_alloc(100, &p));
	must(crew_alloc(100000, &p));
	return unused;
}

/* Blocks of a dead attempt wait until no process lives that its own has started: for the last victim's burial. So look before the next. */
static void leave_everything(void *shared)
{
	(void)shared;
	check_no_block_lost();
	for (uint32_t n = 1; n <= 3; n++)
		must(crew_queue_put(&s->queue, &n, sizeof n, CREW_POLL));
	crew_semaphore_init(&s->semaphore, 2);
	crew_barrier_init(&s->barrier, 2, 0);
	run(hold_everything, NULL);
}

static void check_everything(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	must_be(CREW_OWNER_DIED, crew_lock_acquire(&s->lock, SOON));
	crew_lock_repaired(&s->lock);
	crew_lock_release(&s->lock);
	must_be(CREW_OWNER_DIED, crew_rwlock_write(&s->rwlock, SOON));
	crew_rwlock_repaired(&s->rwlock);
	crew_rwlock_release(&s->rwlock);
	for (int i = 0; i < 2; i++)
		must(crew_semaphore_acquire(&s->semaphore, SOON));
	for (int i = 0; i < 2; i++)
		must(crew_semaphore_release(&s->semaphore));
	must_be(-ECANCELED, crew_barrier_wait(&s->barrier, NULL, SOON));
	must(crew_barrier_reset(&s->barrier));
	check_leases();
	ck_assert_uint_eq(crew_semaphore_free(&s->semaphore), 2);
	ck_assert_uint_eq(s->barrier.members_, 0);
}

static const struct killpoint operations[] = {
	{ "section_with_news", .before = no_news, .prepare = join_in, .operation = tell_news, .watch = watch_news, .check = check_news },
	{ "slot_claim_and_release", .before = no_slot_lost, .prepare = be_a_starter, .operation = claim_and_release, .check = check_nothing },
	{ "sweep_of_leases", .before = leave_leases, .prepare = join_in, .operation = sweep, .check = check_lease_sweep },
	{ "sweep_of_a_dead_letter", .before = leave_a_letter, .prepare = join_in, .operation = sweep, .check = check_letter },
	{ "sweep_of_all_that_can_be_held", .before = leave_everything, .prepare = join_in, .operation = sweep, .check = check_everything,
		.seconds = 1 },
};
KILL_EVERYWHERE(operations, begin, s, end)
