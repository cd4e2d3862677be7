/*
 * undo.c - stores under locks that are undone if their thread dies: crew/undo.h
 *
 * With threads as lanes (under TSan too); processes killed at every instruction: tests/death_undo.c.
 */
#include "family.h"

#include <string.h>
#include <crew/crew.h>

static struct shared {
	struct account { struct crew_lock lock; int64_t cents; } a, b;
	struct crew_rwlock rwlock;
	struct crew_condition condition;
	uint64_t word;
	unsigned char text[40];
	unsigned char large[200000];
} *s;

static void begin(void)
{
	s = family_begin(sizeof *s);
	must(crew_lock_acquire(&s->a.lock, CREW_POLL));
	must(crew_save(&s->a.lock, NULL, 0)); /* this thread's own 4 KiB */
	crew_lock_release(&s->a.lock);
	blocks_before = blocks();
}

static void end(void)
{
	must(crew_lock_acquire(&s->a.lock, CREW_FOREVER));
	must(crew_lock_acquire(&s->b.lock, CREW_FOREVER));
	crew_lock_release(&s->a.lock);
	crew_lock_release(&s->b.lock);
	family_end(s);
}

static void have_both(void)
{
	must(crew_lock_acquire(&s->a.lock, CREW_FOREVER));
	must(crew_lock_acquire(&s->b.lock, CREW_FOREVER));
}

static void change_both(int64_t by)
{
	must(crew_save(&s->a.lock, &s->a.cents, sizeof s->a.cents));
	must(crew_save(&s->b.lock, &s->b.cents, sizeof s->b.cents));
	s->a.cents -= by;
	s->b.cents += by;
}

static void give_both(void)
{
	crew_lock_release(&s->b.lock);
	crew_lock_release(&s->a.lock);
}

TEST(a_save_needs_the_lock_and_shared_memory)
{
	begin();
	int64_t private = 0;
	must_be(-EPERM, crew_save(&s->a.lock, &s->a.cents, 8));
	must_be(-EPERM, crew_rwlock_save(&s->rwlock, &s->word, 8));
	must(crew_rwlock_read(&s->rwlock, CREW_POLL));
	must_be(-EPERM, crew_rwlock_save(&s->rwlock, &s->word, 8));
	crew_rwlock_release(&s->rwlock);
	have_both();
	must_be(-EINVAL, crew_save(&s->a.lock, &private, sizeof private));
	must_be(-EINVAL, crew_save(&s->a.lock, &s->a, sizeof s->a)); /* the lock is in there */
	give_both();
	crew_save_commit(); /* nothing to do */
	crew_save_abandon();
	end();
	must_be(-ENOTCONN, crew_save(&s->a.lock, NULL, 0));
}

TEST(an_abandoned_section_never_was)
{
	begin();
	have_both();
	change_both(5);
	change_both(6);
	crew_save_abandon();
	ck_assert_int_eq(s->a.cents, 0);
	ck_assert_int_eq(s->b.cents, 0);
	change_both(7); /* the next section */
	crew_save_commit();
	change_both(1);
	crew_save_abandon();
	ck_assert_int_eq(s->b.cents, 7);
	change_both(2);
	crew_lock_release(&s->b.lock); /* final with the first release */
	crew_save_abandon();
	ck_assert_int_eq(s->b.cents, 9);
	crew_lock_release(&s->a.lock);
	end();
}

/* ---- threads that end inside ---- */

static void *change_and_end(void *unused)
{
	have_both();
	change_both(5);
	s->a.cents = 1000;
	return unused;
}

TEST(what_a_dead_thread_had_changed_under_two_locks_is_undone)
{
	begin();
	for (int i = 0; i < 20; i++) {
		have_both();
		change_both(1);
		give_both();
		run(change_and_end, NULL);
		have_both(); /* 0: whole */
		ck_assert_int_eq(s->a.cents, -i - 1);
		ck_assert_int_eq(s->b.cents, i + 1);
		give_both();
	}
	end();
}

static void *commit_and_end(void *unused)
{
	have_both();
	change_both(5);
	crew_save_commit();
	return unused;
}

static void *release_one_and_end(void *unused)
{
	have_both();
	change_both(5);
	crew_lock_release(&s->a.lock);
	return unused;
}

TEST(what_is_committed_stays)
{
	begin();
	run(commit_and_end, NULL);
	have_both();
	ck_assert_int_eq(s->b.cents, 5);
	give_both();
	run(release_one_and_end, NULL);
	have_both();
	ck_assert_int_eq(s->a.cents, -10);
	ck_assert_int_eq(s->b.cents, 10);
	give_both();
	end();
}

static void *name_one_of_two(void *unused)
{
	have_both();
	must(crew_save(&s->b.lock, &s->b.cents, 8));
	s->b.cents = 77;
	s->a.cents = 77;
	return unused;
}

TEST(a_lock_that_no_save_named_is_said_to_be_broken)
{
	begin();
	run(name_one_of_two, NULL);
	must(crew_lock_acquire(&s->b.lock, CREW_FOREVER));
	must_be(CREW_OWNER_DIED, crew_lock_acquire(&s->a.lock, CREW_FOREVER));
	crew_lock_repaired(&s->a.lock);
	ck_assert_int_eq(s->b.cents, 0);
	ck_assert_int_eq(s->a.cents, 77);
	give_both();
	end();
}

static void *inner_release_then_end(void *unused)
{
	must(crew_lock_acquire(&s->a.lock, CREW_FOREVER));
	must(crew_save(&s->a.lock, &s->a.cents, 8));
	s->a.cents = 5;
	must(crew_lock_acquire(&s->b.lock, CREW_FOREVER)); /* no save names it: what happens under it stands by itself */
	s->b.cents++;
	crew_lock_release(&s->b.lock);
	return unused;
}

TEST(the_release_of_another_lock_ends_no_section)
{
	begin();
	run(inner_release_then_end, NULL);
	have_both();
	ck_assert_int_eq(s->a.cents, 0);
	ck_assert_int_eq(s->b.cents, 1);
	give_both();
	end();
}

static void *end_with_a(void *unused)
{
	must(crew_lock_acquire(&s->a.lock, CREW_FOREVER));
	return unused;
}

/* The repair itself as a section: half of it is undone, so the data are as broken as they were. */
static void *repair_half(void *said_so)
{
	must_be(CREW_OWNER_DIED, crew_lock_acquire(&s->a.lock, CREW_FOREVER));
	must(crew_save(&s->a.lock, &s->a.cents, 8));
	s->a.cents = 1;
	if (said_so)
		crew_lock_repaired(&s->a.lock);
	return NULL;
}

static void *repair_whole(void *unused)
{
	repair_half(s);
	crew_save_commit();
	must(crew_save(&s->a.lock, &s->a.cents, 8));
	s->a.cents = 2;
	return unused;
}

TEST(a_repair_that_dies_has_not_been)
{
	begin();
	run(end_with_a, NULL);
	run(repair_half, NULL);
	run(repair_half, s);
	must_be(CREW_OWNER_DIED, crew_lock_acquire(&s->a.lock, CREW_FOREVER));
	ck_assert_int_eq(s->a.cents, 0);
	crew_lock_release(&s->a.lock);
	run(repair_whole, NULL);
	must(crew_lock_acquire(&s->a.lock, CREW_FOREVER));
	ck_assert_int_eq(s->a.cents, 1);
	crew_lock_release(&s->a.lock);
	end();
}

static void *write_and_end(void *unused)
{
	must(crew_rwlock_write(&s->rwlock, CREW_FOREVER));
	must(crew_rwlock_save(&s->rwlock, &s->word, 8));
	s->word = 5;
	crew_rwlock_release(&s->rwlock);
	must(crew_rwlock_write(&s->rwlock, CREW_FOREVER));
	must(crew_rwlock_save(&s->rwlock, &s->word, 8));
	s->word = 6;
	return unused;
}

TEST(a_dead_writer_is_undone_before_readers_come)
{
	begin();
	run(write_and_end, NULL);
	must(crew_rwlock_read(&s->rwlock, CREW_FOREVER));
	ck_assert_uint_eq(s->word, 5);
	crew_rwlock_release(&s->rwlock);
	must(crew_rwlock_write(&s->rwlock, CREW_FOREVER));
	crew_rwlock_release(&s->rwlock);
	end();
}

static void *wait_and_end(void *unused)
{
	must(crew_lock_acquire(&s->a.lock, CREW_FOREVER));
	must(crew_save(&s->a.lock, &s->a.cents, 8));
	s->a.cents = 1;
	must_be(-ETIMEDOUT, crew_condition_wait(&s->condition, &s->a.lock, crew_after(MS)));
	must(crew_save(&s->a.lock, &s->a.cents, 8));
	s->a.cents = 2;
	return unused;
}

TEST(waiting_for_a_condition_ends_the_section)
{
	begin();
	run(wait_and_end, NULL);
	must(crew_lock_acquire(&s->a.lock, CREW_FOREVER));
	ck_assert_int_eq(s->a.cents, 1);
	crew_lock_release(&s->a.lock);
	end();
}

/* ---- sizes ---- */

static unsigned char byte_at(size_t i)
{
	return (unsigned char)(i * 31 % 251);
}

static void *scribble_and_end(void *unused)
{
	have_both();
	for (size_t size = 1, at = 3; at + size < sizeof s->text; at += size, size = size % 9 + 1) {
		must(crew_save(&s->a.lock, s->text + at, size));
		memset(s->text + at, 0xff, size);
	}
	for (size_t at = 0; at < sizeof s->large; at += 1000) {
		must(crew_save(&s->b.lock, s->large + at, 1000));
		memset(s->large + at, 0xee, 1000);
	}
	must(crew_save(&s->b.lock, s->large, sizeof s->large)); /* again, all at once: the oldest bytes count */
	memset(s->large, 0xdd, sizeof s->large);
	return unused;
}

TEST(any_size_and_number_of_saves_is_undone)
{
	begin();
	for (size_t i = 0; i < sizeof s->text; i++)
		s->text[i] = byte_at(i);
	for (size_t i = 0; i < sizeof s->large; i++)
		s->large[i] = byte_at(i);
	run(scribble_and_end, NULL);
	have_both();
	for (size_t i = 0; i < sizeof s->text; i++)
		ck_assert_uint_eq(s->text[i], byte_at(i));
	for (size_t i = 0; i < sizeof s->large; i++)
		ck_assert_uint_eq(s->large[i], byte_at(i));
	give_both();
	end();
}

static void *save_too_much(void *block)
{
	have_both();
	s->a.cents = 1;
	must(crew_save(&s->a.lock, &s->a.cents, 8));
	s->a.cents = 2;
	must_be(-ENOSPC, crew_save(&s->a.lock, block, CREW_SAVE_MOST - 16));
	must(crew_save(&s->a.lock, block, CREW_SAVE_MOST / 4));
	memset(block, 1, CREW_SAVE_MOST / 4);
	crew_save_abandon(); /* what was refused has changed nothing */
	ck_assert_int_eq(s->a.cents, 1);
	for (size_t i = 0; i < CREW_SAVE_MOST / 4; i += 4096)
		ck_assert_uint_eq(((unsigned char *)block)[i], 0);
	give_both();
	return NULL;
}

TEST(too_large_a_section_is_refused)
{
	void *block;
	begin();
	must(crew_alloc_zeroed(CREW_SAVE_MOST, &block));
	run(save_too_much, block);
	crew_free(block);
	end();
}

static void *recursive(void *lock)
{
	must(crew_lock_acquire(lock, CREW_FOREVER));
	must(crew_save(lock, &s->word, 8));
	s->word = 1;
	must(crew_lock_acquire(lock, CREW_FOREVER));
	crew_lock_release(lock); /* not the release that counts */
	return NULL;
}

TEST(a_recursive_lock_ends_the_section_with_its_last_release)
{
	begin();
	crew_lock_init(&s->b.lock, CREW_LOCK_RECURSIVE);
	run(recursive, &s->b.lock);
	must(crew_lock_acquire(&s->b.lock, CREW_FOREVER));
	ck_assert_uint_eq(s->word, 0);
	crew_lock_release(&s->b.lock);
	end();
}

/* ---- many at once ---- */

static void *transfer_and_end(void *unused)
{
	for (int i = 0; i < 200; i++) {
		have_both();
		ck_assert_int_eq(s->a.cents + s->b.cents, 0);
		change_both(i);
		if (i % 3 == 0)
			crew_save_abandon();
		if (i < 199)
			give_both();
	}
	return unused;
}

TEST(nobody_ever_sees_half_a_section)
{
	pthread_t threads[4];
	begin();
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 4; i++)
			threads[i] = start(transfer_and_end, NULL);
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
	}
	end();
}
