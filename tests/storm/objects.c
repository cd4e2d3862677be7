/* objects.c - locks, what they guard, and the heap; see operation.h */
#include <sched.h>
#include <string.h>
#include "storm/operation.h"

void do_lock(struct program *p)
{
	int r = crew_lock_acquire(&world->lock, deadline(p));
	if (!expect("lock", r, -ETIMEDOUT, CREW_OWNER_DIED))
		return;
	if (r == CREW_OWNER_DIED) {
		if (draw(p, 4) == 0) {
			crew_lock_release(&world->lock); /* somebody else shall repair it */
			return;
		}
		world->pair[1] = world->pair[0];
		crew_lock_repaired(&world->lock);
	} else if (world->inside || world->pair[0] != world->pair[1]) {
		wrong("lock: inside %u, %lu != %lu", world->inside, world->pair[0], world->pair[1]);
	}
	world->inside = p->thread + 1;
	world->pair[0]++;
	linger(p);
	if (world->inside != p->thread + 1)
		wrong("lock: two inside");
	world->pair[1]++;
	world->inside = 0;
	crew_lock_release(&world->lock);
}

/* Who dies between this and the first save has changed nothing. */
static bool lock_account(struct program *p, unsigned i)
{
	int r = crew_lock_acquire(&world->account_lock[i], deadline(p));
	if (r == CREW_OWNER_DIED)
		crew_lock_repaired(&world->account_lock[i]);
	return expect("account", r, -ETIMEDOUT, CREW_OWNER_DIED);
}

void do_transfer(struct program *p)
{
	unsigned from = draw(p, ACCOUNTS - 1), to = from + 1 + draw(p, ACCOUNTS - 1 - from);
	if (!lock_account(p, from))
		return;
	if (lock_account(p, to)) {
		int r = crew_save(&world->account_lock[from], &world->account[from], sizeof world->account[from]);
		if (r == 0)
			r = crew_save(&world->account_lock[to], &world->account[to], sizeof world->account[to]);
		if (expect("save", r, 0, 0)) {
			world->account[from] -= 100;
			linger(p);
			world->account[to] += 100;
			if (draw(p, 4) == 0)
				crew_save_abandon();
		}
		crew_lock_release(&world->account_lock[to]);
	}
	crew_lock_release(&world->account_lock[from]);
}

static bool page_is_whole(void)
{
	for (int i = 1; i < 8; i++)
		if (world->page[i] != world->page[0])
			return false;
	return true;
}

void do_read(struct program *p)
{
	int r = crew_rwlock_read(&world->rwlock, deadline(p));
	if (!expect("read", r, -ETIMEDOUT, CREW_OWNER_DIED))
		return;
	uint64_t before = world->page[7];
	if (r == 0 && !page_is_whole())
		wrong("read: a torn page");
	linger(p);
	if (world->page[7] != before)
		wrong("read: written meanwhile");
	crew_rwlock_release(&world->rwlock);
}

void do_write(struct program *p)
{
	int r = crew_rwlock_write(&world->rwlock, deadline(p));
	if (!expect("write", r, -ETIMEDOUT, CREW_OWNER_DIED))
		return;
	if (r == 0 && !page_is_whole())
		wrong("write: a torn page");
	uint64_t value = world->page[0] + 1;
	for (int i = 0; i < 8; i++) {
		world->page[i] = value;
		if (i == 3)
			linger(p);
	}
	if (r == CREW_OWNER_DIED)
		crew_rwlock_repaired(&world->rwlock);
	crew_rwlock_release(&world->rwlock);
}

static void check_saved_page(const char *what)
{
	for (int i = 1; i < 32; i++)
		if (world->saved_page[i] != world->saved_page[0])
			wrong("%s: half of a section", what);
}

/* Who dies between the lock and the first save has changed nothing: no repair can be needed. */
void do_save(struct program *p)
{
	bool writes = draw(p, 2);
	int r = writes ? crew_rwlock_write(&world->saved_rwlock, deadline(p)) : crew_rwlock_read(&world->saved_rwlock, deadline(p));
	if (!expect("saved", r, -ETIMEDOUT, CREW_OWNER_DIED))
		return;
	check_saved_page(writes ? "write" : "read");
	if (writes && r == CREW_OWNER_DIED)
		crew_rwlock_repaired(&world->saved_rwlock);
	for (unsigned turn = 0, turns = writes ? 1 + draw(p, 3) : 0; turn < turns; turn++) {
		unsigned half = draw(p, 31) + 1; /* in two saves */
		if (!expect("save", crew_rwlock_save(&world->saved_rwlock, world->saved_page, half * 8), 0, 0))
			break;
		for (unsigned i = 0; i < half; i++)
			world->saved_page[i]++;
		linger(p);
		if (!expect("save", crew_rwlock_save(&world->saved_rwlock, world->saved_page + half, (32 - half) * 8), 0, 0)) {
			crew_save_abandon();
			break;
		}
		for (unsigned i = half; i < 32; i++)
			world->saved_page[i]++;
		switch (draw(p, 3)) {
		case 0: crew_save_abandon(); break;
		case 1: crew_save_commit(); break;
		}
		check_saved_page("saved");
	}
	crew_rwlock_release(&world->saved_rwlock);
}

void do_semaphore(struct program *p)
{
	if (!expect("acquire", crew_semaphore_acquire(&world->semaphore, deadline(p)), -ETIMEDOUT, 0))
		return;
	linger(p);
	expect("release", crew_semaphore_release(&world->semaphore), 0, 0);
}

void do_post(struct program *p)
{
	(void)p;
	if (expect("post", crew_counter_post(&world->counter, 1), 0, 0))
		__atomic_fetch_add(&notes->posts, 1, __ATOMIC_RELAXED);
}

void do_count(struct program *p)
{
	if (expect("count", crew_counter_wait(&world->counter, deadline(p)), -ETIMEDOUT, 0))
		__atomic_fetch_add(&notes->counts, 1, __ATOMIC_RELAXED);
}

void do_event(struct program *p)
{
	switch (draw(p, 3)) {
	case 0: expect("set", crew_event_set(&world->event), 0, 0); break;
	case 1: expect("clear", crew_event_clear(&world->event), 0, 0); break;
	default: expect("see", crew_event_wait(&world->event, deadline(p)), -ETIMEDOUT, 0);
	}
}

void do_condition(struct program *p)
{
	int r = crew_lock_acquire(&world->turn_lock, deadline(p));
	if (!expect("turn", r, -ETIMEDOUT, CREW_OWNER_DIED))
		return;
	if (r == CREW_OWNER_DIED)
		crew_lock_repaired(&world->turn_lock);
	if (draw(p, 2)) {
		world->turn++;
		expect("notify", crew_condition_notify(&world->turned, draw(p, 2) ? 1 : UINT32_MAX), 0, 0);
	} else {
		r = crew_condition_wait(&world->turned, &world->turn_lock, deadline(p));
		expect("condition", r, -ETIMEDOUT, CREW_OWNER_DIED);
		if (!crew_lock_is_mine(&world->turn_lock))
			wrong("condition: back without the lock");
	}
	crew_lock_release(&world->turn_lock);
}

void do_barrier(struct program *p)
{
	int r = crew_barrier_wait(&world->barrier, NULL, deadline(p));
	expect("barrier", r, -ETIMEDOUT, -ECANCELED);
	if (r < 0)
		expect("reset", crew_barrier_reset(&world->barrier), 0, 0);
	if (draw(p, 4))
		expect("leave", crew_barrier_leave(&world->barrier), 0, -EPERM);
}

static int do_the_job(void *argument, bool again)
{
	struct program *p = argument;
	if (world->half && !again)
		wrong("once: begun twice, and nobody died");
	world->half = 1;
	linger(p);
	if (draw(p, 4) == 0) {
		world->half = 0;
		return -ECANCELED;
	}
	world->runs++;
	linger(p);
	return 0;
}

void do_once(struct program *p)
{
	bool done = crew_once_is_done(&world->job);
	uint32_t runs = world->runs;
	int r = crew_once(&world->job, do_the_job, p, deadline(p));
	expect("once", r, -ETIMEDOUT, -ECANCELED);
	if (done && (r != 0 || world->runs != runs))
		wrong("once: after it was done: %s, %u runs, %u before", crew_errname(r), world->runs, runs);
	if (r == 0 && (!world->runs || !world->half))
		wrong("once: not done");
}

/* A count, or one that is owed first; threads of threads go with their debts. */
void do_latch(struct program *p)
{
	if (draw(p, 3) == 0) {
		int r = crew_latch_wait(&world->latch, deadline(p));
		if (expect("latch", r, -ETIMEDOUT, CREW_OWNER_DIED) && crew_latch_count(&world->latch))
			wrong("latch: through before it was open");
		return;
	}
	/* Of who has a debt left every count pays one: such threads make no others. */
	bool owes = draw(p, 2) || p->thread >= THREADS / 2;
	int r = 0;
	__atomic_fetch_add(&notes->latch.begun, 1, __ATOMIC_SEQ_CST);
	if (owes) {
		r = crew_latch_owe(&world->latch);
		expect("owe", r, -EINVAL, 0);
		if (r == 0) {
			__atomic_fetch_add(&notes->owed, 1, __ATOMIC_SEQ_CST);
			linger(p);
			if (p->thread >= THREADS / 2 && draw(p, 2))
				return;
		}
	}
	if (r == 0) { /* also of what is owed: others may have opened it */
		r = crew_latch_down(&world->latch, 1);
		expect("down", r, -EINVAL, 0);
	}
	if (r != 0 || !owes)
		__atomic_fetch_add(r == 0 ? &notes->latch.done : &notes->latch.failed, 1, __ATOMIC_SEQ_CST);
}

/* Blocks of this thread's attempt: they go with it. */
void do_allocate(struct program *p)
{
	void *block[6];
	size_t size[6];
	unsigned count = 1 + draw(p, 6), got = 0;
	for (; got < count; got++) {
		size[got] = draw(p, 20) == 0 ? (size_t)100000 + draw(p, 256) * 1000 : (size_t)1 + draw(p, 256) * (1 + draw(p, 8));
		if (!expect("alloc", crew_alloc(size[got], &block[got]), 0, 0))
			break;
		memset(block[got], (int)(p->thread * 16 + got), size[got]);
	}
	linger(p);
	while (got-- > 0) {
		const uint8_t *byte = block[got];
		for (size_t i = 0; i < size[got]; i += i < 64 ? 1 : 977)
			if (byte[i] != (uint8_t)(p->thread * 16 + got))
				wrong("heap: a block of %zu bytes is somebody else's, too", size[got]);
		crew_free(block[got]);
	}
}
