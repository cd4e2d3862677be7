/*
 * sync.c - locks, semaphores, counters, conditions, events, barriers, with threads as lanes
 *
 * A thread that ends without giving back is dead to the others, just as a killed process: the
 * suite runs under TSan too. Deaths of processes, at every instruction: tests/death.c.
 */
#include "family.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <crew/crew.h>
#include "base/sys.h"
#include "region/lane.h"
#include "sync/section.h"

/* Everything that a test shares. */
static struct shared {
	struct crew_lock lock, other;
	struct crew_rwlock rwlock;
	struct crew_semaphore semaphore;
	struct crew_counter counter;
	struct crew_condition condition;
	struct crew_event event;
	struct crew_barrier barrier;
	uint32_t guard, bell;
	uint64_t a, b;
	long sum;
	int result[8];
} *s;

static void begin(void)
{
	s = family_begin(sizeof *s);
}

static void end(void)
{
	family_end(s);
}

/* ---- wake-ups that are lost ---- */

static void *sleep_until_it_rings(void *unused)
{
	struct crew__lane *lane;
	(void)unused;
	must(crew__lane_self(&lane));
	for (uint32_t seen; (seen = crew__bell_look(&s->bell)) >> 1 == 0;)
		must(crew__bell_sleep(lane, &s->bell, seen, CREW_FOREVER));
	return NULL;
}

TEST(a_forgotten_wake_up_is_counted)
{
	begin();
	for (int round = 0; crew__family.region->healed == 0 && round < 100; round++) { /* it may not be quite asleep */
		s->bell = 0;
		pthread_t thread = start(sleep_until_it_rings, NULL);
		await(asleep() == 1);
		harness_pause();
		(void)crew__bell_change(&s->bell, UINT32_MAX); /* and nobody is woken */
		pthread_join(thread, NULL);
	}
	ck_assert_uint_eq(crew__family.region->healed, 1);
	crew__family.region->healed = crew__family.region->late = 0;
	end();
}

TEST(a_wake_up_for_another_is_not_counted)
{
	struct crew__lane *lane;
	begin();
	must(crew__lane_self(&lane));
	for (int round = 0; round < 5; round++) {
		s->bell = 0;
		pthread_t a = start(sleep_until_it_rings, NULL), b = start(sleep_until_it_rings, NULL);
		await(asleep() == 2);
		crew__ring(lane, &s->bell, 1);
		pthread_join(a, NULL);
		pthread_join(b, NULL);
		ck_assert_uint_eq(crew__family.region->healed, 0);
	}
	crew__family.region->late = 0;
	end();
}

/* ---- lock ---- */

static void *add_under_lock(void *count)
{
	for (long i = 0; i < *(long *)count; i++) {
		must(crew_lock_acquire(&s->lock, CREW_FOREVER));
		s->sum++;
		crew_lock_release(&s->lock);
	}
	return NULL;
}

TEST(a_lock_excludes, .timeout = 60)
{
	begin();
	long count = 20000;
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		threads[i] = start(add_under_lock, &count);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(s->sum, 4 * count);
	ck_assert(!crew_lock_is_held(&s->lock));
	end();
}

static void *hold_and_execute(void *unused)
{
	(void)unused;
	if (crew_lock_acquire(&s->lock, CREW_FOREVER) == 0 && crew_semaphore_acquire(&s->semaphore, CREW_FOREVER) == 0) {
		__atomic_store_n(&s->sum, 1, __ATOMIC_RELEASE);
		execlp("sleep", "sleep", "1000", NULL);
	}
	_exit(1);
}

static int in_a_thread(void *argument, size_t size)
{
	(void)size;
	pthread_t thread;
	s = *(struct shared **)argument;
	if (pthread_create(&thread, NULL, hold_and_execute, NULL) == 0)
		pause();
	return 1;
}

TEST(a_thread_that_executes_a_program_is_gone)
{
	begin();
	crew_semaphore_init(&s->semaphore, 1);
	struct crew_process *p;
	must(crew_process_start(&p, &(struct crew_process_options){ .function = in_a_thread, .argument = &s,
			.argument_size = sizeof s }));
	await(__atomic_load_n(&s->sum, __ATOMIC_ACQUIRE) == 1);
	must_be(CREW_OWNER_DIED, crew_lock_acquire(&s->lock, crew_after(5000 * MS)));
	crew_lock_release(&s->lock);
	must(crew_semaphore_acquire(&s->semaphore, crew_after(5000 * MS)));
	must(crew_semaphore_release(&s->semaphore));
	must(crew_process_stop(p, 0, NULL));
	must(crew_process_close(p));
	end();
}

static void *try_lock(void *unused)
{
	(void)unused;
	ck_assert(!crew_lock_is_mine(&s->lock));
	s->result[0] = crew_lock_acquire(&s->lock, CREW_POLL);
	s->result[1] = crew_lock_acquire(&s->lock, crew_after(30 * MS));
	return NULL;
}

TEST(a_held_lock_times_out_for_others_and_is_a_deadlock_for_its_owner)
{
	begin();
	must(crew_lock_acquire(&s->lock, CREW_POLL));
	ck_assert(crew_lock_is_mine(&s->lock));
	must_be(-EDEADLK, crew_lock_acquire(&s->lock, CREW_FOREVER));
	crew_time before = crew_now();
	run(try_lock, NULL);
	must_be(-ETIMEDOUT, s->result[0]);
	must_be(-ETIMEDOUT, s->result[1]);
	ck_assert_int_ge(crew_now() - before, 30 * MS);
	crew_lock_release(&s->lock);
	end();
}

TEST(a_recursive_lock_is_released_as_often_as_acquired)
{
	begin();
	crew_lock_init(&s->lock, CREW_LOCK_RECURSIVE);
	for (int i = 0; i < 3; i++)
		must(crew_lock_acquire(&s->lock, CREW_FOREVER));
	for (int i = 0; i < 3; i++) {
		ck_assert(crew_lock_is_mine(&s->lock));
		crew_lock_release(&s->lock);
	}
	ck_assert(!crew_lock_is_held(&s->lock));
	end();
}

TEST(a_thread_can_hold_64_locks)
{
	begin();
	struct crew_lock *locks;
	must(crew_array(65, sizeof *locks, (void **)&locks));
	for (int i = 0; i < 64; i++)
		must(crew_lock_acquire(&locks[i], CREW_FOREVER));
	must_be(-ENOLCK, crew_lock_acquire(&locks[64], CREW_FOREVER));
	for (int i = 0; i < 64; i++)
		crew_lock_release(&locks[i]);
	crew_free(locks);
	end();
}

TEST(objects_outside_shared_memory_are_refused)
{
	begin();
	struct crew_lock lock = { 0 };
	struct crew_semaphore semaphore = { 0 };
	must_be(-EINVAL, crew_lock_acquire(&lock, CREW_FOREVER));
	must_be(-EINVAL, crew_semaphore_acquire(&semaphore, CREW_FOREVER));
	end();
}

static void *die_holding(void *how)
{
	int n = *(int *)how;
	must_be(n ? CREW_OWNER_DIED : 0, crew_lock_acquire(&s->lock, CREW_FOREVER));
	if (n == 2) /* releases, but does not repair */
		crew_lock_release(&s->lock);
	return NULL;
}

TEST(after_a_death_everybody_hears_of_it_until_it_is_repaired)
{
	begin();
	for (int how = 0; how < 3; how++)
		run(die_holding, &how);
	must_be(CREW_OWNER_DIED, crew_lock_acquire(&s->lock, CREW_FOREVER));
	crew_lock_repaired(&s->lock);
	crew_lock_release(&s->lock);
	must(crew_lock_acquire(&s->lock, CREW_POLL));
	crew_lock_release(&s->lock);
	end();
}

TEST(even_a_poll_gets_the_lock_of_a_dead_owner)
{
	begin();
	run(die_holding, &(int){ 0 });
	must_be(CREW_OWNER_DIED, crew_lock_acquire(&s->lock, CREW_POLL));
	crew_lock_release(&s->lock);
	end();
}

/* ---- rwlock ---- */

static void *read_lock(void *result)
{
	int r = crew_rwlock_read(&s->rwlock, crew_after(2000 * MS));
	*(int *)result = r;
	if (r >= 0)
		crew_rwlock_release(&s->rwlock);
	return NULL;
}

static void *write_lock(void *result)
{
	int r = crew_rwlock_write(&s->rwlock, crew_after(30 * MS));
	*(int *)result = r;
	if (r >= 0)
		crew_rwlock_release(&s->rwlock);
	return NULL;
}

TEST(readers_share_and_writers_do_not)
{
	begin();
	must(crew_rwlock_read(&s->rwlock, CREW_FOREVER));
	must(crew_rwlock_read(&s->rwlock, CREW_FOREVER)); /* again: it has it already */
	must_be(-EDEADLK, crew_rwlock_write(&s->rwlock, CREW_FOREVER));
	run(read_lock, &s->result[0]);
	must(s->result[0]);
	run(write_lock, &s->result[0]);
	must_be(-ETIMEDOUT, s->result[0]);
	run(read_lock, &s->result[0]); /* a writer that gave up is in nobody's way */
	must(s->result[0]);
	crew_rwlock_release(&s->rwlock);
	crew_rwlock_release(&s->rwlock);
	must(crew_rwlock_write(&s->rwlock, CREW_POLL));
	must_be(-EDEADLK, crew_rwlock_read(&s->rwlock, CREW_FOREVER));
	run(write_lock, &s->result[0]);
	must_be(-ETIMEDOUT, s->result[0]);
	crew_rwlock_release(&s->rwlock);
	end();
}

static void *write_pairs(void *unused)
{
	(void)unused;
	for (int i = 0; i < 2000; i++) {
		must(crew_rwlock_write(&s->rwlock, CREW_FOREVER));
		s->a++;
		s->b++;
		crew_rwlock_release(&s->rwlock);
	}
	return NULL;
}

static void *read_pairs(void *torn)
{
	for (int i = 0; i < 2000; i++) {
		must(crew_rwlock_read(&s->rwlock, CREW_FOREVER));
		*(int *)torn += s->a != s->b;
		crew_rwlock_release(&s->rwlock);
	}
	return NULL;
}

TEST(no_reader_sees_half_a_write, .timeout = 60)
{
	begin();
	pthread_t threads[4] = { start(write_pairs, NULL), start(write_pairs, NULL), start(read_pairs, &s->result[0]),
		start(read_pairs, &s->result[1]) };
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(s->a, 4000);
	ck_assert_int_eq(s->result[0] + s->result[1], 0);
	end();
}

static void *die_reading(void *unused) { must(crew_rwlock_read(&s->rwlock, CREW_FOREVER)); return unused; }
static void *die_writing(void *unused) { must(crew_rwlock_write(&s->rwlock, CREW_FOREVER)); return unused; }

TEST(a_dead_reader_is_in_nobodys_way)
{
	begin();
	run(die_reading, NULL);
	must(crew_rwlock_write(&s->rwlock, crew_after(2000 * MS)));
	crew_rwlock_release(&s->rwlock);
	end();
}

TEST(a_dead_writer_is_told_to_all_until_a_writer_repairs)
{
	begin();
	run(die_writing, NULL);
	run(read_lock, &s->result[0]);
	must_be(CREW_OWNER_DIED, s->result[0]);
	run(read_lock, &s->result[0]);
	must_be(CREW_OWNER_DIED, s->result[0]);
	must_be(CREW_OWNER_DIED, crew_rwlock_write(&s->rwlock, CREW_FOREVER));
	crew_rwlock_repaired(&s->rwlock);
	crew_rwlock_release(&s->rwlock);
	must(crew_rwlock_read(&s->rwlock, CREW_FOREVER));
	crew_rwlock_release(&s->rwlock);
	end();
}

/* ---- semaphore ---- */

static void *take_and_die(void *permits)
{
	for (int i = 0; i < *(int *)permits; i++)
		must(crew_semaphore_acquire(&s->semaphore, CREW_FOREVER));
	return NULL;
}

/* CPython's TestSemaphore: the value follows. */
TEST(permits_are_counted_and_only_a_holder_may_release)
{
	begin();
	must_be(-ETIMEDOUT, crew_semaphore_acquire(&s->semaphore, CREW_POLL)); /* all zero: no permits */
	crew_semaphore_init(&s->semaphore, 2);
	must_be(-EPERM, crew_semaphore_release(&s->semaphore));
	must(crew_semaphore_acquire(&s->semaphore, CREW_FOREVER));
	must(crew_semaphore_acquire(&s->semaphore, CREW_FOREVER));
	ck_assert_uint_eq(crew_semaphore_free(&s->semaphore), 0);
	crew_time before = crew_now();
	must_be(-ETIMEDOUT, crew_semaphore_acquire(&s->semaphore, crew_after(20 * MS)));
	ck_assert_int_ge(crew_now() - before, 20 * MS);
	must(crew_semaphore_release(&s->semaphore));
	must(crew_semaphore_release(&s->semaphore));
	must_be(-EPERM, crew_semaphore_release(&s->semaphore));
	ck_assert_uint_eq(crew_semaphore_free(&s->semaphore), 2);
	end();
}

TEST(permits_of_the_dead_come_back)
{
	begin();
	crew_semaphore_init(&s->semaphore, 3);
	run(take_and_die, &(int){ 3 });
	for (int i = 0; i < 3; i++)
		must(crew_semaphore_acquire(&s->semaphore, crew_after(2000 * MS)));
	ck_assert_uint_eq(crew_semaphore_free(&s->semaphore), 0);
	for (int i = 0; i < 3; i++)
		must(crew_semaphore_release(&s->semaphore));
	ck_assert_uint_eq(crew_semaphore_free(&s->semaphore), 3);
	end();
}

TEST(a_sweep_by_who_is_no_member_loses_nothing)
{
	if (CREW__TSAN)
		SKIP("TSan takes a mutex that the parent holds for one that its child holds");
	begin();
	crew_semaphore_init(&s->semaphore, 3);
	run(take_and_die, &(int){ 3 });
	pid_t child = fork();
	if (child == 0) {
		crew__lane_reap_all(); /* has no lane, so enters no section */
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	crew__lane_reap_all();
	ck_assert_uint_eq(crew_semaphore_free(&s->semaphore), 3);
	end();
}

static void *in_and_out(void *unused)
{
	(void)unused;
	for (int i = 0; i < 1000; i++) {
		must(crew_semaphore_acquire(&s->semaphore, CREW_FOREVER));
		long inside = __atomic_add_fetch(&s->sum, 1, __ATOMIC_SEQ_CST);
		if (inside > 2)
			__atomic_store_n(&s->result[0], 1, __ATOMIC_RELAXED);
		__atomic_sub_fetch(&s->sum, 1, __ATOMIC_SEQ_CST);
		must(crew_semaphore_release(&s->semaphore));
	}
	return NULL;
}

TEST(no_more_are_inside_than_there_are_permits, .timeout = 60)
{
	begin();
	crew_semaphore_init(&s->semaphore, 2);
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		threads[i] = start(in_and_out, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(s->result[0], 0);
	ck_assert_uint_eq(crew_semaphore_free(&s->semaphore), 2);
	end();
}

/* ---- counter, event, condition ---- */

static void *take_units(void *count)
{
	for (int i = 0; i < *(int *)count; i++)
		must(crew_counter_wait(&s->counter, CREW_FOREVER));
	return NULL;
}

TEST(every_unit_posted_is_taken_once, .timeout = 60)
{
	begin();
	must_be(-ETIMEDOUT, crew_counter_wait(&s->counter, CREW_POLL));
	int each = 3000;
	pthread_t a = start(take_units, &each), b = start(take_units, &each);
	for (int i = 0; i < 3000; i++)
		must(crew_counter_post(&s->counter, 2));
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	ck_assert_uint_eq(crew_counter_value(&s->counter), 0);
	must(crew_counter_post(&s->counter, 0x7fffffff));
	must_be(-EINVAL, crew_counter_post(&s->counter, 2));
	end();
}

static void *wait_for_event(void *result)
{
	__atomic_store_n((int *)result, crew_event_wait(&s->event, crew_after(5000 * MS)), __ATOMIC_RELEASE);
	return NULL;
}

TEST(a_counter_that_nobody_sleeps_on_gets_quiet)
{
	begin();
	pthread_t thread = start(take_units, &(int){ 1 });
	await(asleep() == 1);
	must(crew_counter_post(&s->counter, 1)); /* wakes one, as many as it may: there could be more */
	pthread_join(thread, NULL);
	must(crew_counter_post(&s->counter, 1));
	ck_assert_uint_eq(s->counter.value_, 1);
	must(crew_counter_wait(&s->counter, CREW_POLL));
	end();
}

TEST(an_event_lets_all_through_until_it_is_cleared)
{
	begin();
	must_be(-ETIMEDOUT, crew_event_wait(&s->event, crew_after(5 * MS)));
	s->result[0] = s->result[1] = 1;
	pthread_t a = start(wait_for_event, &s->result[0]), b = start(wait_for_event, &s->result[1]);
	await(asleep() == 2);
	must(crew_event_set(&s->event));
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	must(s->result[0]);
	must(s->result[1]);
	ck_assert(crew_event_is_set(&s->event));
	must(crew_event_wait(&s->event, CREW_POLL));
	must(crew_event_clear(&s->event));
	must_be(-ETIMEDOUT, crew_event_wait(&s->event, CREW_POLL));
	end();
}

TEST(an_automatic_event_lets_one_through)
{
	begin();
	crew_event_init(&s->event, CREW_EVENT_AUTO);
	s->result[0] = s->result[1] = 1;
	pthread_t a = start(wait_for_event, &s->result[0]), b = start(wait_for_event, &s->result[1]);
	await(asleep() == 2);
	must(crew_event_set(&s->event));
	await(__atomic_load_n(&s->result[0], __ATOMIC_ACQUIRE) + __atomic_load_n(&s->result[1], __ATOMIC_ACQUIRE) == 1);
	ck_assert(!crew_event_is_set(&s->event));
	must(crew_event_set(&s->event));
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	end();
}

static void *wait_for_sum(void *result)
{
	must(crew_lock_acquire(&s->lock, CREW_FOREVER));
	while (s->sum == 0) {
		int r = crew_condition_wait(&s->condition, &s->lock, crew_after(5000 * MS));
		if (r < 0)
			break;
	}
	int fine = crew_lock_is_mine(&s->lock) && s->sum-- > 0;
	__atomic_store_n((int *)result, fine, __ATOMIC_RELEASE);
	crew_lock_release(&s->lock);
	return NULL;
}

/* CPython's TestCondition: notify wakes one at a time, all of them in the end. */
TEST(a_notify_is_never_lost)
{
	begin();
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		threads[i] = start(wait_for_sum, &s->result[i]);
	await(asleep() == 4);
	for (int i = 0; i < 4; i++) {
		must(crew_lock_acquire(&s->lock, CREW_FOREVER));
		s->sum++;
		crew_lock_release(&s->lock);
		must(crew_condition_notify(&s->condition, 1));
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_int_eq(s->result[i], 1);
	}
	ck_assert_int_eq(s->sum, 0);
	end();
}

TEST(a_condition_wait_holds_the_lock_on_return)
{
	begin();
	must_be(-EPERM, crew_condition_wait(&s->condition, &s->lock, CREW_POLL));
	must(crew_lock_acquire(&s->lock, CREW_FOREVER));
	crew_time before = crew_now();
	must_be(-ETIMEDOUT, crew_condition_wait(&s->condition, &s->lock, crew_after(10 * MS)));
	ck_assert_int_ge(crew_now() - before, 10 * MS);
	ck_assert(crew_lock_is_mine(&s->lock));
	crew_lock_release(&s->lock);
	must(crew_condition_notify(&s->condition, UINT32_MAX));
	end();
}

static int done(const int *result) { return __atomic_load_n(result, __ATOMIC_ACQUIRE); }

/* Wake `count` of those who wait, when so many may go. */
static void let_go(long may_go, uint32_t count)
{
	must(crew_lock_acquire(&s->lock, CREW_FOREVER));
	s->sum += may_go;
	must(crew_condition_notify(&s->condition, count));
	crew_lock_release(&s->lock);
}

TEST(a_notify_of_three_lets_three_of_five_go_and_what_is_too_much_is_not_kept)
{
	begin();
	pthread_t threads[5];
	for (int i = 0; i < 5; i++)
		threads[i] = start(wait_for_sum, &s->result[i]);
	await(asleep() == 5);
	let_go(3, 3);
	await(done(&s->result[0]) + done(&s->result[1]) + done(&s->result[2]) + done(&s->result[3]) + done(&s->result[4]) == 3);
	await(asleep() == 2);
	ck_assert_int_eq(s->sum, 0);
	let_go(2, 100);
	for (int i = 0; i < 5; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_int_eq(s->result[i], 1);
	}
	must(crew_lock_acquire(&s->lock, CREW_POLL));
	must_be(-ETIMEDOUT, crew_condition_wait(&s->condition, &s->lock, crew_after(20 * MS)));
	crew_lock_release(&s->lock);
	end();
}

static void *wait_in_vain_for_sum(void *unused)
{
	must(crew_lock_acquire(&s->lock, CREW_FOREVER));
	must_be(-ETIMEDOUT, crew_condition_wait(&s->condition, &s->lock, crew_after(5 * MS)));
	crew_lock_release(&s->lock);
	return unused;
}

TEST(waits_that_timed_out_leave_nothing_behind)
{
	begin();
	pthread_t early[3], threads[3];
	for (int i = 0; i < 3; i++)
		early[i] = start(wait_in_vain_for_sum, NULL);
	for (int i = 0; i < 3; i++)
		pthread_join(early[i], NULL);
	for (int i = 0; i < 3; i++)
		threads[i] = start(wait_for_sum, &s->result[i]);
	await(asleep() == 3);
	let_go(3, UINT32_MAX);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_int_eq(s->result[i], 1);
	}
	end();
}

/* ---- barrier ---- */

struct party { int phases; int result; unsigned zeros; int leaves; };

static void *meet(void *argument)
{
	struct party *party = argument;
	for (int i = 0; i < party->phases && party->result == 0; i++) {
		unsigned place = 99;
		long before = __atomic_add_fetch(&s->sum, 1, __ATOMIC_SEQ_CST);
		party->result = crew_barrier_wait(&s->barrier, &place, crew_after(8000 * MS));
		party->zeros += place == 0;
		if (party->result == 0 && __atomic_load_n(&s->sum, __ATOMIC_SEQ_CST) < (before - 1) / 3 * 3 + 3)
			party->result = 1; /* through before all had arrived */
	}
	if (party->leaves)
		must(crew_barrier_leave(&s->barrier));
	return NULL;
}

/* CPython's TestBarrier: phases stay in step, one party gets 0 in each. */
TEST(phases_stay_in_step, .timeout = 60)
{
	begin();
	must_be(-EINVAL, crew_barrier_wait(&s->barrier, NULL, CREW_FOREVER));
	crew_barrier_init(&s->barrier, 3, 0);
	struct party parties[3];
	pthread_t threads[3];
	for (int i = 0; i < 3; i++) {
		parties[i] = (struct party){ 500, 0, 0, 1 };
		threads[i] = start(meet, &parties[i]);
	}
	unsigned zeros = 0;
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		must(parties[i].result);
		zeros += parties[i].zeros;
	}
	ck_assert_uint_eq(zeros, 500);
	end();
}

TEST(a_timeout_breaks_the_barrier_for_all_until_reset)
{
	begin();
	crew_barrier_init(&s->barrier, 3, 0);
	struct party other = { 1, 0, 0, 0 };
	pthread_t thread = start(meet, &other);
	await(crew_barrier_waiting(&s->barrier) == 1);
	must_be(-ETIMEDOUT, crew_barrier_wait(&s->barrier, NULL, crew_after(10 * MS)));
	pthread_join(thread, NULL);
	must_be(-ECANCELED, other.result);
	ck_assert(crew_barrier_is_broken(&s->barrier));
	must_be(-ECANCELED, crew_barrier_wait(&s->barrier, NULL, CREW_FOREVER));
	must(crew_barrier_reset(&s->barrier));
	ck_assert(!crew_barrier_is_broken(&s->barrier));
	end();
}

static const char *const breakers[] = { "abort", "reset", "a party ends between phases" };
static const char *breaker_label(int i) { return breakers[i]; }

TEST(whoever_waits_hears_that_it_broke, .count = 3, .label = breaker_label)
{
	begin();
	crew_barrier_init(&s->barrier, 2, 0);
	if (index == 2) { /* both become parties; one of them then ends */
		struct party first = { 1, 0, 0, 0 };
		pthread_t thread = start(meet, &first);
		must(crew_barrier_wait(&s->barrier, NULL, crew_after(5000 * MS)));
		pthread_join(thread, NULL);
		must_be(-ECANCELED, crew_barrier_wait(&s->barrier, NULL, crew_after(5000 * MS)));
		end();
		return;
	}
	struct party other = { 1, 0, 0, 0 };
	pthread_t thread = start(meet, &other);
	await(crew_barrier_waiting(&s->barrier) == 1);
	if (index == 0)
		must(crew_barrier_abort(&s->barrier));
	else
		must(crew_barrier_reset(&s->barrier));
	pthread_join(thread, NULL);
	must_be(-ECANCELED, other.result);
	end();
}

/* Whoever waits may come to look only after more of them. */
TEST(a_break_is_heard_though_others_follow)
{
	begin();
	for (int round = 0; round < 50; round++) {
		crew_barrier_init(&s->barrier, 2, 0);
		struct party other = { 1, 0, 0, 1 };
		pthread_t thread = start(meet, &other);
		await(crew_barrier_waiting(&s->barrier) == 1);
		must(crew_barrier_abort(&s->barrier));
		must(crew_barrier_abort(&s->barrier));
		must(crew_barrier_reset(&s->barrier));
		pthread_join(thread, NULL);
		must_be(-ECANCELED, other.result);
	}
	end();
}

TEST(a_barrier_for_one_never_waits)
{
	begin();
	crew_barrier_init(&s->barrier, 1, 0);
	for (int i = 0; i < 1000; i++) {
		unsigned place = 99;
		must(crew_barrier_wait(&s->barrier, &place, CREW_POLL));
		ck_assert_uint_eq(place, 0);
	}
	must(crew_barrier_leave(&s->barrier));
	end();
}

static void *wait_at_barrier(void *result)
{
	*(int *)result = crew_barrier_wait(&s->barrier, NULL, crew_after(8000 * MS));
	if (*(int *)result == -ECANCELED) { /* and again, when it is whole */
		await(!crew_barrier_is_broken(&s->barrier));
		*(int *)result = crew_barrier_wait(&s->barrier, NULL, crew_after(8000 * MS));
	}
	must(crew_barrier_leave(&s->barrier));
	return NULL;
}

TEST(all_meet_again_at_a_barrier_that_was_broken_and_reset)
{
	begin();
	crew_barrier_init(&s->barrier, 3, 0);
	pthread_t a = start(wait_at_barrier, &s->result[0]), b = start(wait_at_barrier, &s->result[1]);
	await(crew_barrier_waiting(&s->barrier) == 2);
	must(crew_barrier_abort(&s->barrier));
	must_be(-ECANCELED, crew_barrier_wait(&s->barrier, NULL, CREW_FOREVER));
	must(crew_barrier_reset(&s->barrier));
	must(crew_barrier_wait(&s->barrier, NULL, crew_after(8000 * MS)));
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	must(s->result[0]);
	must(s->result[1]);
	must(crew_barrier_leave(&s->barrier));
	end();
}

static void *meet_once(void *unused)
{
	must(crew_barrier_wait(&s->barrier, NULL, crew_after(5000 * MS)));
	return unused;
}

TEST(parties_that_have_all_ended_leave_a_whole_barrier)
{
	begin();
	crew_barrier_init(&s->barrier, 2, 0);
	for (int round = 0; round < 20; round++) {
		pthread_t a = start(meet_once, NULL), b = start(meet_once, NULL);
		pthread_join(a, NULL);
		pthread_join(b, NULL);
	}
	end();
}

static void *meet_and_leave(void *how)
{
	must(crew_barrier_wait(&s->barrier, NULL, crew_after(5000 * MS)));
	if (*(int *)how)
		must(crew_barrier_leave(&s->barrier));
	return NULL;
}

TEST(a_barrier_that_shrinks_is_smaller_by_each_who_goes)
{
	begin();
	crew_barrier_init(&s->barrier, 3, CREW_BARRIER_SHRINK);
	pthread_t ends = start(meet_and_leave, &(int){ 0 }), leaves = start(meet_and_leave, &(int){ 1 });
	must(crew_barrier_wait(&s->barrier, NULL, crew_after(5000 * MS)));
	pthread_join(ends, NULL);
	pthread_join(leaves, NULL);
	for (int i = 0; i < 3; i++) { /* now alone */
		unsigned place = 99;
		must(crew_barrier_wait(&s->barrier, &place, crew_after(5000 * MS)));
		ck_assert_uint_eq(place, 0);
	}
	ck_assert(!crew_barrier_is_broken(&s->barrier));
	must(crew_barrier_leave(&s->barrier));
	must_be(-EINVAL, crew_barrier_wait(&s->barrier, NULL, CREW_POLL));
	end();
}

static int wait_in_vain(void *argument, size_t size)
{
	(void)size;
	return crew_barrier_wait(*(struct crew_barrier **)argument, NULL, CREW_FOREVER);
}

TEST(who_dies_waiting_at_a_barrier_that_shrinks_is_not_waited_for)
{
	begin();
	crew_barrier_init(&s->barrier, 3, CREW_BARRIER_SHRINK);
	struct crew_barrier *barrier = &s->barrier;
	struct crew_process *p;
	must(crew_process_start(&p, &(struct crew_process_options){ .function = wait_in_vain, .argument = &barrier,
			.argument_size = sizeof barrier }));
	await(crew_barrier_waiting(&s->barrier) == 1);
	struct party other = { 1, 0, 0, 0 };
	pthread_t thread = start(meet, &other);
	await(crew_barrier_waiting(&s->barrier) == 2);
	must(crew_process_signal(p, SIGKILL));
	must(crew_process_join(p, CREW_FOREVER, NULL));
	must(crew_process_close(p));
	crew__lane_reap_all();
	ck_assert_uint_eq(crew_barrier_waiting(&s->barrier), 1);
	unsigned place = 99;
	must(crew_barrier_wait(&s->barrier, &place, crew_after(5000 * MS)));
	ck_assert_uint_eq(place, 2); /* places are not given out twice */
	pthread_join(thread, NULL);
	ck_assert_int_ge(other.result, 0);
	end();
}

/* ---- sections and bells: what all of the above and the layers above stand on ---- */

static void *die_in_a_section(void *how)
{
	struct crew__lane *lane;
	must(crew__enter(&lane, &s->guard, CREW_FOREVER));
	crew__set64(lane, &s->a, 100);
	if (*(int *)how == 1)
		crew__commit(lane);
	crew__set64(lane, &s->b, 200);
	crew__set64(lane, &s->a, 300);
	if (*(int *)how == 2)
		crew__leave(lane, &s->guard);
	if (*(int *)how == 3)
		crew__abandon(lane, &s->guard);
	return NULL;
}

TEST(a_section_happens_as_a_whole_or_not_at_all)
{
	static const uint64_t a[] = { 1, 100, 300, 1 }, b[] = { 2, 2, 200, 2 };
	for (int how = 0; how < 4; how++) {
		struct crew__lane *lane;
		begin();
		s->a = 1;
		s->b = 2;
		run(die_in_a_section, &how);
		must(crew__enter(&lane, &s->guard, crew_after(5000 * MS)));
		ck_assert_uint_eq(s->a, a[how]);
		ck_assert_uint_eq(s->b, b[how]);
		crew__leave(lane, &s->guard);
		end();
	}
}

static void *consume(void *count)
{
	struct crew__lane *lane;
	must(crew__lane_self(&lane));
	for (int got = 0; got < *(int *)count;) {
		uint32_t seen = crew__bell_look(&s->bell);
		uint64_t there = __atomic_load_n(&s->a, __ATOMIC_SEQ_CST);
		if (there && __atomic_compare_exchange_n(&s->a, &there, there - 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			got++;
		else if (!there)
			must(crew__bell_wait(lane, &s->bell, seen, crew_after(5000 * MS)));
	}
	return NULL;
}

TEST(no_ring_is_lost_and_no_sleep_needs_its_slice, .timeout = 60)
{
	begin();
	int each = 5000;
	struct crew__lane *lane;
	must(crew__lane_self(&lane));
	pthread_t x = start(consume, &each), y = start(consume, &each);
	for (int i = 0; i < 2 * each; i++) {
		__atomic_add_fetch(&s->a, 1, __ATOMIC_SEQ_CST);
		crew__ring(lane, &s->bell, 1);
	}
	pthread_join(x, NULL);
	pthread_join(y, NULL);
	ck_assert_uint_eq(s->a, 0);
	end();
}

/* ---- deadlines ---- */

static void *poll_lock_long_ago(void *unused)
{
	(void)unused;
	s->result[0] = crew_lock_acquire(&s->lock, -1);
	s->result[1] = crew_rwlock_read(&s->rwlock, -1);
	s->result[2] = crew_rwlock_write(&s->rwlock, -1);
	return NULL;
}

TEST(a_deadline_before_time_began_is_a_poll)
{
	begin();
	crew_barrier_init(&s->barrier, 2, 0);
	must_be(-ETIMEDOUT, crew_counter_wait(&s->counter, -1));
	must_be(-ETIMEDOUT, crew_event_wait(&s->event, INT64_MIN));
	must_be(-ETIMEDOUT, crew_semaphore_acquire(&s->semaphore, -1));
	must_be(-ETIMEDOUT, crew_barrier_wait(&s->barrier, NULL, -1));
	must(crew_lock_acquire(&s->lock, -1));
	must_be(-ETIMEDOUT, crew_condition_wait(&s->condition, &s->lock, -1));
	must(crew_rwlock_write(&s->rwlock, -1));
	run(poll_lock_long_ago, NULL);
	for (int i = 0; i < 3; i++)
		must_be(-ETIMEDOUT, s->result[i]);
	crew_rwlock_release(&s->rwlock);
	crew_lock_release(&s->lock);
	end();
}
