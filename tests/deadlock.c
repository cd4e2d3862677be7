/*
 * deadlock.c - circles of threads and processes that wait for each other: seen, told, refused
 */
#include "family.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <crew/crew.h>

enum { SEATS = 5 };

static struct shared {
	struct crew_lock lock[SEATS];
	struct crew_rwlock rwlock;
	struct crew_semaphore semaphore;
	uint32_t have;    /* who has the first of its two */
	uint32_t refused; /* -EDEADLK */
	uint32_t done;
	uint32_t go;
} *s;

#define LONG crew_after(10 * CREW_SECOND)

static void begin(unsigned flags)
{
	s = family_begin(sizeof *s);
	for (int i = 0; i < SEATS; i++)
		crew_lock_init(&s->lock[i], flags);
	must(crew_name(s->lock, sizeof s->lock[0], SEATS, "fork"));
}

static void end(void)
{
	ck_assert_int_eq(crew_deadlock_report(stderr), 0);
	must(crew_name(s->lock, 0, 0, NULL));
	family_end(s);
}

static uint32_t look(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void add(uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_ACQ_REL);
}

static unsigned circles(void)
{
	struct crew_waiting list[64];
	unsigned most = 0;
	int n = crew_waiting_list(list, 64);
	ck_assert_int_ge(n, 0);
	for (int i = 0; i < n; i++)
		most = list[i].circle > most ? list[i].circle : most;
	return most;
}

static char *report(int *ret_circles)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	*ret_circles = crew_deadlock_report(stream);
	fclose(stream);
	return text;
}

/* Takes its own lock, waits until `count` have theirs, then wants the next one's. */
static int dine(unsigned seat, uint32_t count, crew_time deadline)
{
	int r = crew_lock_acquire(&s->lock[seat], CREW_FOREVER);
	if (r < 0)
		return r;
	add(&s->have);
	while (look(&s->have) < count)
		harness_pause();
	r = crew_lock_acquire(&s->lock[(seat + 1) % count], deadline);
	if (r == 0)
		crew_lock_release(&s->lock[(seat + 1) % count]);
	else if (r == -EDEADLK)
		add(&s->refused);
	crew_lock_release(&s->lock[seat]);
	add(&s->done);
	return r;
}

static void *dine_5(void *seat)
{
	int r = dine((unsigned)(uintptr_t)seat, SEATS, LONG);
	ck_assert(r == 0 || r == -EDEADLK);
	return NULL;
}

TEST(one_of_a_circle_is_refused_and_the_others_get_on)
{
	pthread_t thread[SEATS];
	begin(CREW_LOCK_CHECK);
	for (unsigned round = 1; round <= 10; round++) {
		s->have = 0;
		for (uintptr_t i = 0; i < SEATS; i++)
			thread[i] = start(dine_5, (void *)i);
		for (int i = 0; i < SEATS; i++)
			pthread_join(thread[i], NULL);
		ck_assert_uint_eq(s->refused, round); /* exactly one each time */
	}
	end();
}

static void *dine_until_told(void *seat)
{
	unsigned i = (unsigned)(uintptr_t)seat;
	must(crew_lock_acquire(&s->lock[i], CREW_FOREVER));
	add(&s->have);
	while (look(&s->have) < 3)
		harness_pause();
	int r;
	do
		r = crew_lock_acquire(&s->lock[(i + 1) % 3], crew_after(200 * MS));
	while (r == -ETIMEDOUT && !look(&s->go));
	if (r == 0)
		crew_lock_release(&s->lock[(i + 1) % 3]);
	crew_lock_release(&s->lock[i]);
	return NULL;
}

static bool report_has_circle(char **ret)
{
	int n;
	free(*ret);
	*ret = report(&n);
	return n == 1 && strstr(*ret, "deadlock: 3 threads wait for each other");
}

TEST(a_circle_of_locks_that_do_not_check_is_reported_by_name)
{
	pthread_t thread[3];
	char *text = NULL;
	begin(0);
	for (uintptr_t i = 0; i < 3; i++)
		thread[i] = start(dine_until_told, (void *)i);
	await(report_has_circle(&text));
	for (int i = 0; i < 3; i++) {
		char wanted[40];
		snprintf(wanted, sizeof wanted, "waits for lock fork[%d], held by", i);
		ck_assert_msg(strstr(text, wanted), "%s", text);
	}
	free(text);
	char *all = NULL;
	size_t size;
	FILE *stream = open_memstream(&all, &size);
	must(crew_observe_print(stream));
	fclose(stream);
	free(all);
	__atomic_store_n(&s->go, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	end();
}

/* ---- processes ---- */

static int dine_process(void *seat, size_t size)
{
	(void)size;
	int r = dine(*(unsigned *)seat, 2, LONG);
	return r == 0 || r == -EDEADLK ? 0 : 1;
}

TEST(circles_across_processes_are_refused_too)
{
	begin(CREW_LOCK_CHECK);
	struct crew_process *process[2];
	struct crew_status status;
	for (unsigned i = 0; i < 2; i++)
		must(crew_process_start(&process[i], &(struct crew_process_options){ .function = dine_process,
			.argument = &i, .argument_size = sizeof i, .method = CREW_FORK }));
	for (unsigned i = 0; i < 2; i++) {
		must(crew_process_join(process[i], LONG, &status));
		ck_assert_int_eq(status.state, CREW_EXITED);
		ck_assert_int_eq(status.code, 0);
		must(crew_process_close(process[i]));
	}
	ck_assert_uint_eq(s->refused, 1);
	end();
}

static int hold_first(void *unused, size_t size)
{
	(void)unused;
	(void)size;
	if (crew_lock_acquire(&s->lock[0], CREW_FOREVER) < 0)
		return 1;
	add(&s->have);
	while (!look(&s->go))
		harness_pause();
	crew_lock_release(&s->lock[0]);
	return 0;
}

static void *want_first(void *unused)
{
	must(crew_lock_acquire(&s->lock[0], LONG));
	crew_lock_release(&s->lock[0]);
	return unused;
}

static bool report_tells(const char *what, char **ret)
{
	int n;
	free(*ret);
	*ret = report(&n);
	ck_assert_int_eq(n, 0);
	return strstr(*ret, what);
}

TEST(a_stopped_holder_is_no_deadlock_and_told)
{
	begin(CREW_LOCK_CHECK);
	struct crew_process *process;
	char *text = NULL;
	must(crew_process_start(&process, &(struct crew_process_options){ .function = hold_first, .name = "holder",
		.method = CREW_FORK }));
	await(look(&s->have) == 1);
	pthread_t thread = start(want_first, NULL);
	await(report_tells("waits for lock fork[0], held by process", &text));
	ck_assert_msg(strstr(text, "holder"), "%s", text);
	must(crew_process_signal(process, SIGSTOP));
	await(report_tells("(stopped)", &text));
	must(crew_process_signal(process, SIGCONT));
	add(&s->go);
	pthread_join(thread, NULL);
	must(crew_process_join(process, LONG, NULL));
	must(crew_process_close(process));
	free(text);
	end();
}

/* ---- other objects on the way round ---- */

static void *read_then_lock(void *unused)
{
	must(crew_rwlock_read(&s->rwlock, CREW_FOREVER));
	add(&s->have);
	while (look(&s->have) < 3)
		harness_pause();
	int r = crew_lock_acquire(&s->lock[0], LONG); /* that one wants a permit, whose holder wants to write here */
	ck_assert(r == 0 || r == -EDEADLK);
	if (r == 0)
		crew_lock_release(&s->lock[0]);
	else
		add(&s->refused);
	crew_rwlock_release(&s->rwlock);
	return unused;
}

static void *lock_then_permit(void *unused)
{
	must(crew_lock_acquire(&s->lock[0], CREW_FOREVER));
	add(&s->have);
	while (look(&s->have) < 3)
		harness_pause();
	must(crew_semaphore_acquire(&s->semaphore, LONG));
	must(crew_semaphore_release(&s->semaphore));
	crew_lock_release(&s->lock[0]);
	return unused;
}

static void *permit_then_write(void *unused)
{
	must(crew_semaphore_acquire(&s->semaphore, CREW_FOREVER));
	add(&s->have);
	while (look(&s->have) < 3)
		harness_pause();
	must(crew_rwlock_write(&s->rwlock, LONG));
	crew_rwlock_release(&s->rwlock);
	must(crew_semaphore_release(&s->semaphore));
	return unused;
}

TEST(a_circle_through_readers_and_permits_is_seen)
{
	begin(CREW_LOCK_CHECK);
	crew_semaphore_init(&s->semaphore, 1);
	pthread_t thread[3] = { start(read_then_lock, NULL), start(lock_then_permit, NULL), start(permit_then_write, NULL) };
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(s->refused, 1);
	end();
}

static void *permit_then_lock(void *unused)
{
	must(crew_semaphore_acquire(&s->semaphore, CREW_FOREVER));
	add(&s->have);
	while (look(&s->have) < 3)
		harness_pause();
	must(crew_lock_acquire(&s->lock[0], LONG));
	crew_lock_release(&s->lock[0]);
	must(crew_semaphore_release(&s->semaphore));
	return unused;
}

static void *permit_until_told(void *unused)
{
	must(crew_semaphore_acquire(&s->semaphore, CREW_FOREVER));
	add(&s->have);
	while (!look(&s->go))
		harness_pause();
	must(crew_semaphore_release(&s->semaphore));
	return unused;
}

TEST(who_waits_for_a_permit_that_somebody_else_may_give_is_in_no_circle)
{
	begin(CREW_LOCK_CHECK);
	crew_semaphore_init(&s->semaphore, 2);
	pthread_t thread[3] = { start(permit_then_lock, NULL), start(permit_until_told, NULL) };
	await(look(&s->have) == 2);
	thread[2] = start(lock_then_permit, NULL);
	await(asleep() == 2);
	for (int i = 0; i < 20; i++) {
		ck_assert_uint_eq(circles(), 0);
		harness_pause();
	}
	add(&s->go);
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	end();
}

/* ---- no false alarm ---- */

static void *in_order(void *seed)
{
	unsigned x = (unsigned)(uintptr_t)seed;
	for (int i = 0; i < 400; i++) {
		x = x * 1103515245 + 12345;
		unsigned a = (x >> 16) % (SEATS - 1), b = a + 1 + (x >> 24) % (SEATS - 1 - a);
		must(crew_lock_acquire(&s->lock[a], CREW_FOREVER));
		must(crew_lock_acquire(&s->lock[b], CREW_FOREVER));
		if (i % 50 == 0)
			harness_pause(); /* others come to sleep */
		crew_lock_release(&s->lock[x % 2 ? a : b]);
		crew_lock_release(&s->lock[x % 2 ? b : a]);
	}
	add(&s->done);
	return NULL;
}

TEST(locks_taken_in_order_are_never_refused)
{
	enum { THREADS = 6 };
	pthread_t thread[THREADS];
	begin(CREW_LOCK_CHECK);
	for (uintptr_t i = 0; i < THREADS; i++)
		thread[i] = start(in_order, (void *)i);
	while (look(&s->done) < THREADS) {
		ck_assert_uint_eq(circles(), 0);
		harness_pause();
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	end();
}

static void *hold_and_end(void *unused)
{
	must(crew_lock_acquire(&s->lock[0], CREW_FOREVER));
	add(&s->have);
	while (look(&s->have) < 2)
		harness_pause();
	return unused;
}

TEST(the_dead_are_in_no_circle)
{
	begin(CREW_LOCK_CHECK | CREW_LOCK_RECURSIVE);
	pthread_t thread = start(hold_and_end, NULL);
	must(crew_lock_acquire(&s->lock[1], CREW_FOREVER));
	must(crew_lock_acquire(&s->lock[1], CREW_FOREVER)); /* both flags */
	await(look(&s->have) == 1);
	add(&s->have);
	must_be(CREW_OWNER_DIED, crew_lock_acquire(&s->lock[0], LONG));
	pthread_join(thread, NULL);
	crew_lock_repaired(&s->lock[0]);
	crew_lock_release(&s->lock[0]);
	crew_lock_release(&s->lock[1]);
	crew_lock_release(&s->lock[1]);
	end();
}

TEST(names_are_given_and_taken_away)
{
	begin(0);
	int private;
	must_be(-EINVAL, crew_name(&private, 4, 1, "private"));
	must_be(-EINVAL, crew_name(s, 0, 1, "nothing"));
	for (int i = 1; i < 64; i++)
		must(crew_name((char *)s + i, 1, 1, "x"));
	must_be(-ENOSPC, crew_name((char *)s + 64, 1, 1, "x"));
	must(crew_name((char *)s + 63, 1, 1, NULL));
	must(crew_name((char *)s + 64, 1, 1, "a name that is longer than thirty-one bytes"));
	end();
}
