/*
 * death_undo.c - processes killed at every instruction of sections with an undo log, of the sweep that plays it back,
 * of an acquire that looks for deadlocks, of once and latch
 */
#include "family.h"

#include <string.h>
#include <unistd.h>
#include <crew/crew.h>
#include "death/killpoint.h"
#include "sync/section.h"

#define SOON crew_after(8 * CREW_SECOND)

static struct shared {
	struct crew_lock a_lock, b_lock;
	struct crew_rwlock rwlock;
	struct crew_once once;
	struct crew_latch latch;
	int64_t a, b; /* a + b is 0, and b the number of transfers, whenever the locks are free */
	int64_t audited, bad_audits, stop;
	unsigned char large[4000];
} *s;

static int64_t before;

static void kill_everywhere(const struct killpoint *points, unsigned count)
{
	s = family_begin(sizeof *s);
	for (unsigned i = 0; i < count; i++) {
		int killed = killpoint(&points[i], s);
		if (killed < 0)
			SKIP("ptrace is refused here");
		ck_assert_int_gt(killed, 0);
	}
	crew__lane_reap_all();
	family_end(s);
}

static void note_before(void *shared)
{
	(void)shared;
	before = s->b;
}

static void have_both(void)
{
	do_or_exit(crew_lock_acquire(&s->a_lock, CREW_FOREVER));
	do_or_exit(crew_lock_acquire(&s->b_lock, CREW_FOREVER));
}

static void give_both(void)
{
	crew_lock_release(&s->a_lock);
	crew_lock_release(&s->b_lock);
}

static void change_both(void)
{
	do_or_exit(crew_save(&s->a_lock, &s->a, sizeof s->a));
	s->a--;
	do_or_exit(crew_save(&s->b_lock, &s->b, sizeof s->b));
	s->b++;
}

static void warm(void *shared)
{
	(void)shared;
	have_both();
	change_both();
	crew_save_abandon();
	give_both();
}

static void transfer(void *shared)
{
	(void)shared;
	have_both();
	change_both();
	give_both();
}

static void transfer_and_commit(void *shared)
{
	(void)shared;
	have_both();
	change_both();
	crew_save_commit();
	change_both();
	crew_save_abandon();
	give_both();
}

/* Died within acquire, before any save: broken, as without a log. Else whole; and all or nothing in any case. */
static void check_transfer(void *shared, bool completed)
{
	(void)shared;
	int first = crew_lock_acquire(&s->a_lock, SOON), second = crew_lock_acquire(&s->b_lock, SOON);
	ck_assert_int_ge(first, 0);
	ck_assert_int_ge(second, 0);
	ck_assert_int_eq(s->a + s->b, 0);
	ck_assert(s->b == before + 1 || (s->b == before && !completed));
	if (s->b == before + 1) {
		ck_assert_int_eq(first, 0);
		ck_assert_int_eq(second, 0);
	}
	if (first)
		crew_lock_repaired(&s->a_lock);
	if (second)
		crew_lock_repaired(&s->b_lock);
	give_both();
	must(crew_lock_acquire(&s->a_lock, CREW_POLL));
	must(crew_lock_acquire(&s->b_lock, CREW_POLL));
	give_both();
	crew__lane_reap_all();
	ck_assert_uint_eq(blocks(), blocks_before);
}

/* The same once both locks are named: nothing is ever said to be broken. */
static void name_both(void *shared)
{
	warm(shared);
	have_both();
	do_or_exit(crew_save(&s->a_lock, NULL, 0));
	do_or_exit(crew_save(&s->b_lock, NULL, 0));
}

static void change_and_give(void *shared)
{
	(void)shared;
	change_both();
	give_both();
}

static void check_named(void *shared, bool completed)
{
	must(crew_lock_acquire(&s->a_lock, SOON));
	must(crew_lock_acquire(&s->b_lock, SOON));
	give_both();
	check_transfer(shared, completed);
}

TEST(a_transfer_under_two_locks_is_whole_or_never_was, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .before = note_before, .prepare = name_both, .operation = change_and_give, .check = check_named },
		{ .before = note_before, .prepare = warm, .operation = transfer, .check = check_transfer },
		{ .before = note_before, .prepare = warm, .operation = transfer_and_commit, .check = check_transfer },
	};
	kill_everywhere(points, 3);
}

/* ---- the log grows ---- */

static void scribble(void *shared)
{
	(void)shared;
	do_or_exit(crew_save(&s->a_lock, s->large, sizeof s->large));
	memset(s->large, 7, sizeof s->large);
	do_or_exit(crew_save(&s->a_lock, s->large + 1, sizeof s->large - 2));
	memset(s->large, 8, sizeof s->large);
	crew_save_abandon();
}

static void change_scribble_give(void *shared)
{
	do_or_exit(crew_save(&s->b_lock, &s->b, sizeof s->b));
	s->b += 5;
	scribble(shared); /* abandons that, too */
	change_and_give(shared);
}

static void check_grown(void *shared, bool completed)
{
	check_named(shared, completed);
	for (size_t i = 0; i < sizeof s->large; i++)
		ck_assert_uint_eq(s->large[i], 0);
}

TEST(a_log_that_grows_is_the_old_one_or_the_new_one, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .before = note_before, .prepare = name_both, .operation = change_scribble_give, .check = check_grown,
			.seconds = 1 },
	};
	kill_everywhere(points, 1);
}

/* ---- rwlock ---- */

static void write_both(void)
{
	do_or_exit(crew_rwlock_save(&s->rwlock, &s->a, sizeof s->a));
	do_or_exit(crew_rwlock_save(&s->rwlock, &s->b, sizeof s->b));
	s->a--;
	s->b++;
}

static void warm_writer(void *shared)
{
	(void)shared;
	do_or_exit(crew_rwlock_write(&s->rwlock, CREW_FOREVER));
	write_both();
	crew_save_abandon();
}

static void write_and_release(void *shared)
{
	(void)shared;
	write_both();
	crew_rwlock_release(&s->rwlock);
}

static void check_rwlock(void *shared, bool completed)
{
	(void)shared;
	must(crew_rwlock_read(&s->rwlock, SOON));
	ck_assert_int_eq(s->a + s->b, 0);
	ck_assert(s->b == before + 1 || (s->b == before && !completed));
	crew_rwlock_release(&s->rwlock);
	must(crew_rwlock_write(&s->rwlock, SOON));
	crew_rwlock_release(&s->rwlock);
}

TEST(readers_never_see_half_of_what_a_writer_had_saved, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .before = note_before, .prepare = warm_writer, .operation = write_and_release, .check = check_rwlock },
	};
	kill_everywhere(points, 1);
}

/* ---- who looks for deadlocks ---- */

static struct crew_lock *checked(void)
{
	return &s->a_lock;
}

static void hold_checked(void *shared)
{
	(void)shared;
	crew_lock_init(checked(), CREW_LOCK_CHECK);
	must(crew_lock_acquire(checked(), CREW_POLL));
}

static void warm_checked(void *shared)
{
	struct crew__lane *lane;
	(void)shared;
	do_or_exit(crew__lane_self(&lane));
}

static void want_checked(void *shared)
{
	(void)shared;
	int r = crew_lock_acquire(checked(), crew_after(CREW_MILLISECOND));
	do_or_exit(r == -ETIMEDOUT ? 0 : -1);
}

static void *want_it_too(void *unused)
{
	must_be(-ETIMEDOUT, crew_lock_acquire(checked(), crew_after(CREW_MILLISECOND)));
	return unused;
}

/* The next one can look, too. */
static void check_checked(void *shared, bool completed)
{
	(void)shared;
	(void)completed;
	run(want_it_too, NULL);
	ck_assert_uint_eq(crew__family.region->circle_guard & CREW__OWNER, 0);
	crew_lock_release(checked());
	crew_lock_init(checked(), 0);
}

TEST(whoever_looks_for_deadlocks_may_die_of_it, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .before = hold_checked, .prepare = warm_checked, .operation = want_checked, .check = check_checked },
	};
	kill_everywhere(points, 1);
}

/* ---- once, latch ---- */

static int count_run(void *unused, bool again)
{
	(void)unused;
	(void)again;
	__atomic_fetch_add(&s->a, 1, __ATOMIC_RELAXED);
	return 0;
}

static void fresh_once(void *shared)
{
	(void)shared;
	s->once = (struct crew_once){ 0 };
	s->a = 0;
}

static void run_once(void *shared)
{
	(void)shared;
	do_or_exit(crew_once(&s->once, count_run, NULL, CREW_FOREVER));
}

static void check_once(void *shared, bool completed)
{
	(void)shared;
	must(crew_once(&s->once, count_run, NULL, SOON));
	ck_assert(s->a == 1 || (s->a == 2 && !completed));
	ck_assert(crew_once_is_done(&s->once));
	s->a = s->b = 0;
}

static pthread_t waiter;
static int waited;

static void *wait_for_latch(void *unused)
{
	waited = crew_latch_wait(&s->latch, SOON);
	return unused;
}

static void latch_and_waiter(void *shared)
{
	(void)shared;
	crew_latch_init(&s->latch, 1);
	waiter = start(wait_for_latch, NULL);
}

static void owe(void *shared)
{
	(void)shared;
	do_or_exit(crew_latch_owe(&s->latch));
}

static void pay(void *shared)
{
	(void)shared;
	do_or_exit(crew_latch_down(&s->latch, 1));
}

static void check_latch(void *shared, bool completed)
{
	(void)shared;
	crew__lane_reap_all();
	pthread_join(waiter, NULL);
	ck_assert(waited == 0 || (waited == CREW_OWNER_DIED && !completed));
	ck_assert_uint_eq(crew_latch_count(&s->latch), 0);
}

TEST(once_is_once_and_what_is_owed_is_counted_once, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .before = fresh_once, .prepare = warm_checked, .operation = run_once, .check = check_once },
		{ .before = latch_and_waiter, .prepare = owe, .operation = pay, .check = check_latch },
	};
	kill_everywhere(points, 2);
}

/* ---- the sweeper is killed ---- */

static void *change_and_end(void *unused)
{
	have_both();
	change_both();
	s->a = s->b = 12345;
	return unused;
}

static void leave_half_a_section(void *shared)
{
	note_before(shared);
	run(change_and_end, NULL);
}

static void join_family(void *shared)
{
	struct crew__lane *lane;
	(void)shared;
	do_or_exit(crew__lane_self(&lane));
}

static void sweep(void *shared)
{
	(void)shared;
	crew__lane_reap_all();
}

static void take_over(void *shared)
{
	transfer(shared);
}

static void check_sweep(void *shared, bool completed)
{
	(void)completed;
	crew__lane_reap_all();
	crew__lane_reap_all(); /* the first may have met the dead while another still swept */
	check_named(shared, false);
}

static void check_take_over(void *shared, bool completed)
{
	check_transfer(shared, completed);
	crew__lane_reap_all();
}

TEST(a_log_half_played_back_is_played_again, .timeout = 300)
{
	static const struct killpoint points[] = {
		{ .before = leave_half_a_section, .prepare = join_family, .operation = sweep, .check = check_sweep },
		{ .before = leave_half_a_section, .prepare = join_family, .operation = take_over, .check = check_take_over },
	};
	kill_everywhere(points, 2);
}
