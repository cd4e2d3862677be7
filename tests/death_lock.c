/* death_lock.c - processes killed at every instruction of lock and rwlock */
#include "death/rows.h"

static struct shared {
	struct crew_lock lock;
	struct crew_rwlock rwlock;
	uint64_t a, b; /* equal, whenever the lock is free and whole */
} *s;

static void begin(void)
{
	s = family_begin(sizeof *s);
}

static void end(void)
{
	family_end(s);
}

static void add(void)
{
	__atomic_fetch_add(&s->a, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&s->b, 1, __ATOMIC_RELAXED);
}

/* ---- lock ---- */

static void warm_lock(void *shared)
{
	(void)shared;
	int r = crew_lock_acquire(&s->lock, CREW_FOREVER);
	do_or_exit(r);
	if (r == 0)
		crew_lock_release(&s->lock);
}

static void plain(void *shared)
{
	(void)shared;
	crew_lock_init(&s->lock, 0);
}

static void recursive(void *shared)
{
	(void)shared;
	crew_lock_init(&s->lock, CREW_LOCK_RECURSIVE);
}

static void *acquire_and_end(void *unused)
{
	must(crew_lock_acquire(&s->lock, SOON));
	s->a++;
	return unused;
}

static void broken(void *shared)
{
	plain(shared);
	run(acquire_and_end, NULL);
	crew__lane_reap_all();
}

static void add_under_lock(void *shared)
{
	(void)shared;
	do_or_exit(crew_lock_acquire(&s->lock, CREW_FOREVER));
	add();
	crew_lock_release(&s->lock);
}

static void add_under_lock_twice(void *shared)
{
	do_or_exit(crew_lock_acquire(&s->lock, CREW_FOREVER));
	add_under_lock(shared);
	crew_lock_release(&s->lock);
}

static void repair(void *shared)
{
	(void)shared;
	int r = crew_lock_acquire(&s->lock, CREW_FOREVER);
	do_or_exit(r);
	if (r == CREW_OWNER_DIED) {
		__atomic_store_n(&s->a, s->b, __ATOMIC_RELAXED);
		crew_lock_repaired(&s->lock);
	}
	crew_lock_release(&s->lock);
}

static void try_lock(void)
{
	int r = crew_lock_acquire(&s->lock, CREW_POLL);
	ck_assert(r >= 0 || r == -ETIMEDOUT);
	if (r >= 0)
		crew_lock_release(&s->lock);
}

/* What a lock said to be whole guards is whole; if it is said to be broken it is repaired here. Whether it was said. */
static bool use_lock(void)
{
	int r = crew_lock_acquire(&s->lock, SOON);
	ck_assert_int_ge(r, 0);
	if (r == CREW_OWNER_DIED) {
		s->a = s->b;
		crew_lock_repaired(&s->lock);
	}
	ck_assert_uint_eq(s->a, s->b);
	add();
	crew_lock_release(&s->lock);
	return r;
}

static void others_lock(void *shared, int order)
{
	(void)shared;
	if (order == 1)
		try_lock();
	use_lock();
	if (order == 0)
		try_lock();
}

static void check_lock(void *shared, bool completed)
{
	(void)shared;
	bool told = use_lock();
	ck_assert(!told || !completed);
	must(crew_lock_acquire(&s->lock, CREW_POLL));
	crew_lock_release(&s->lock);
}

static void *acquire_once_held(void *unused)
{
	while (!crew_lock_is_held(&s->lock))
		;
	slept = crew_lock_acquire(&s->lock, SOON);
	if (slept >= 0)
		crew_lock_release(&s->lock);
	return unused;
}

static void lock_sleeper(void *shared)
{
	plain(shared);
	start_sleeper(acquire_once_held);
}

static void hold_until_it_sleeps(void *shared)
{
	(void)shared;
	do_or_exit(crew_lock_acquire(&s->lock, CREW_FOREVER));
	await_sleeper();
}

static void release_lock(void *shared)
{
	(void)shared;
	crew_lock_release(&s->lock);
}

static void check_lock_sleeper(void *shared, bool completed)
{
	ck_assert_int_ge(end_sleeper(), 0);
	check_lock(shared, completed);
}

/* ---- rwlock ---- */

static void warm_rwlock(void *shared)
{
	(void)shared;
	do_or_exit(crew_rwlock_read(&s->rwlock, CREW_FOREVER));
	crew_rwlock_release(&s->rwlock);
	do_or_exit(crew_rwlock_write(&s->rwlock, CREW_FOREVER));
	crew_rwlock_release(&s->rwlock);
}

static void read_once(void *shared)
{
	(void)shared;
	do_or_exit(crew_rwlock_read(&s->rwlock, CREW_FOREVER));
	crew_rwlock_release(&s->rwlock);
}

static void write_once(void *shared)
{
	(void)shared;
	do_or_exit(crew_rwlock_write(&s->rwlock, CREW_FOREVER));
	add();
	crew_rwlock_release(&s->rwlock);
}

static int use_to_read(void)
{
	int r = crew_rwlock_read(&s->rwlock, SOON);
	ck_assert_int_ge(r, 0);
	if (r == 0)
		ck_assert_uint_eq(s->a, s->b);
	crew_rwlock_release(&s->rwlock);
	return r;
}

static int use_to_write(void)
{
	int r = crew_rwlock_write(&s->rwlock, SOON);
	ck_assert_int_ge(r, 0);
	if (r == CREW_OWNER_DIED) {
		s->a = s->b;
		crew_rwlock_repaired(&s->rwlock);
	}
	ck_assert_uint_eq(s->a, s->b);
	add();
	crew_rwlock_release(&s->rwlock);
	return r;
}

static void others_read(void *shared, int order)
{
	(void)shared;
	if (order == 1)
		must(crew_rwlock_read(&s->rwlock, SOON));
	use_to_read();
	if (order == 1)
		crew_rwlock_release(&s->rwlock);
}

static void others_write(void *shared, int order)
{
	(void)shared;
	if (order == 0)
		use_to_read();
	use_to_write();
}

static void check_read(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	must(use_to_write());
}

/* One that died on its way in or out has touched nothing: a reader may pass while writers are still warned. */
static void check_write(void *shared, bool completed)
{
	(void)shared;
	int r = use_to_read(), w = use_to_write();
	ck_assert_int_ge(w, r);
	ck_assert(w == 0 || !completed);
	must(use_to_read());
}

static void *read_once_written(void *unused)
{
	await(crew_rwlock_read(&s->rwlock, CREW_POLL) != 0 || (crew_rwlock_release(&s->rwlock), false));
	slept = crew_rwlock_read(&s->rwlock, SOON);
	if (slept >= 0)
		crew_rwlock_release(&s->rwlock);
	return unused;
}

static void *write_once_read(void *unused)
{
	await(crew_rwlock_write(&s->rwlock, CREW_POLL) != 0 || (crew_rwlock_release(&s->rwlock), false));
	slept = crew_rwlock_write(&s->rwlock, SOON);
	if (slept >= 0)
		crew_rwlock_release(&s->rwlock);
	return unused;
}

static void sleeping_reader(void *shared)
{
	(void)shared;
	start_sleeper(read_once_written);
}

static void sleeping_writer(void *shared)
{
	(void)shared;
	start_sleeper(write_once_read);
}

static void write_until_it_sleeps(void *shared)
{
	(void)shared;
	do_or_exit(crew_rwlock_write(&s->rwlock, CREW_FOREVER));
	await_sleeper();
}

static void read_until_it_sleeps(void *shared)
{
	(void)shared;
	do_or_exit(crew_rwlock_read(&s->rwlock, CREW_FOREVER));
	await_sleeper();
}

static void release_rwlock(void *shared)
{
	(void)shared;
	crew_rwlock_release(&s->rwlock);
}

static void check_sleeping_reader(void *shared, bool completed)
{
	ck_assert_int_ge(end_sleeper(), 0);
	check_write(shared, completed);
}

static void check_sleeping_writer(void *shared, bool completed)
{
	must(end_sleeper());
	check_read(shared, completed);
}

static const struct killpoint operations[] = {
	{ "lock_acquire_and_release", .before = plain, .prepare = warm_lock, .operation = add_under_lock, .others = others_lock,
		.check = check_lock },
	{ "lock_acquire_and_release_recursively", .before = recursive, .prepare = warm_lock, .operation = add_under_lock_twice,
		.others = others_lock, .check = check_lock },
	{ "lock_repair", .before = broken, .prepare = warm_rwlock, .operation = repair, .others = others_lock, .check = check_lock },
	{ "lock_release_to_a_sleeper", .before = lock_sleeper, .prepare = hold_until_it_sleeps, .operation = release_lock,
		.check = check_lock_sleeper },
	{ "rwlock_read", .prepare = warm_rwlock, .operation = read_once, .others = others_read, .lock_free = true, .check = check_read },
	{ "rwlock_read_before_a_writer", .prepare = warm_rwlock, .operation = read_once, .others = others_write, .check = check_read },
	{ "rwlock_write", .prepare = warm_rwlock, .operation = write_once, .others = others_write, .check = check_write },
	{ "rwlock_release_to_a_reader", .before = sleeping_reader, .prepare = write_until_it_sleeps, .operation = release_rwlock,
		.check = check_sleeping_reader },
	{ "rwlock_release_to_a_writer", .before = sleeping_writer, .prepare = read_until_it_sleeps, .operation = release_rwlock,
		.check = check_sleeping_writer },
};
KILL_EVERYWHERE(operations, begin, s, end)
