/*
 * across.c - what one process does to a shared object, another sees; nobody dies here
 *
 * Much of it is what CPython's tests of multiprocessing check: behaviours.md says where which of them is.
 */
#include "process_common.h"

#include <sys/time.h>
#include "memory/heap.h"

#define SOON crew_after(10 * CREW_SECOND)

enum { PARTIES = 5, PASSES = 200, ITEMS = 40 };

static struct shared {
	struct crew_lock lock;
	struct crew_queue queue;
	struct crew_event event, other;
	struct crew_condition condition;
	struct crew_counter counter;
	struct crew_semaphore semaphore;
	struct crew_barrier barrier, after;
	struct crew_pipe pipe;
	struct crew_latch latch;
	uint32_t done, zeros, places, acts, wrong;
	long state;
	void *block[100];
} *s;

static uint64_t blocks(void)
{
	struct crew_memory_stats stats;
	must(crew_memory_stats(&stats));
	must(crew_heap_check());
	return stats.blocks;
}

static uint64_t blocks_before;

static void begin(void)
{
	must(crew_init(NULL));
	must(crew_alloc_zeroed(sizeof *s, (void **)&s));
	blocks_before = blocks();
}

static void finish(void)
{
	crew_queue_fini(&s->queue);
	crew_pipe_fini(&s->pipe);
	ck_assert_uint_eq(blocks(), blocks_before);
	crew_free(s);
	crew_fini();
}

/* A child that is shown the shared struct. What it finds wrong is its exit code: the number of the step. */
static struct crew_process *child(crew_process_fn *function, int index)
{
	return start(options(.function = function, .argument = s, METHOD));
}

#define STEP(number, condition) do { if (!(condition)) return number; } while (0)

/* ---- queue ---- */

static int finds_two_and_adds_one(void *argument, size_t size)
{
	s = argument;
	(void)size;
	int n = 0;
	STEP(1, crew_queue_length(&s->queue) == 2);
	STEP(2, crew_queue_get(&s->queue, &n, sizeof n, NULL, CREW_POLL) == 0 && n == 2);
	STEP(3, crew_queue_get(&s->queue, &n, sizeof n, NULL, CREW_POLL) == 0 && n == 3);
	STEP(4, crew_queue_get(&s->queue, &n, sizeof n, NULL, CREW_POLL) == -ETIMEDOUT);
	n = 4;
	STEP(5, crew_queue_put(&s->queue, &n, sizeof n, CREW_POLL) == 0);
	return 0;
}

TEST(a_queue_in_use_goes_on_in_a_child, .count = 2)
{
	begin();
	int n;
	for (int i = 1; i <= 3; i++)
		must(crew_queue_put(&s->queue, &i, sizeof i, CREW_POLL));
	must(crew_queue_get(&s->queue, &n, sizeof n, NULL, CREW_POLL));
	must_exit(0, child(finds_two_and_adds_one, index));
	ck_assert_uint_eq(crew_queue_length(&s->queue), 1);
	must(crew_queue_get(&s->queue, &n, sizeof n, NULL, CREW_POLL));
	ck_assert_int_eq(n, 4);
	ck_assert_uint_eq(crew_queue_length(&s->queue), 0);
	finish();
}

static int deals_with_what_comes(void *argument, size_t size)
{
	s = argument;
	(void)size;
	struct crew_message message;
	int r;
	while ((r = crew_queue_take(&s->queue, &message, SOON)) == 0) {
		harness_pause();
		__atomic_fetch_add(&s->done, 1, __ATOMIC_SEQ_CST);
		STEP(1, crew_queue_done(&s->queue, &message) == 0);
	}
	return r == CREW_END_OF_DATA ? 0 : 2;
}

TEST(join_returns_when_four_processes_have_done_all)
{
	begin();
	struct crew_process *worker[4];
	for (int i = 0; i < 4; i++)
		worker[i] = child(deals_with_what_comes, i & 1);
	for (int i = 0; i < ITEMS; i++)
		must(crew_queue_put(&s->queue, &i, sizeof i, SOON));
	must(crew_queue_join(&s->queue, SOON));
	ck_assert_uint_eq(__atomic_load_n(&s->done, __ATOMIC_SEQ_CST), ITEMS);
	must(crew_queue_close(&s->queue, true));
	for (int i = 0; i < 4; i++)
		must_exit(0, worker[i]);
	finish();
}

/* ---- lock ---- */

static int holds_the_lock(void *argument, size_t size)
{
	s = argument;
	(void)size;
	STEP(1, crew_lock_acquire(&s->lock, CREW_POLL) == 0 && crew_lock_is_mine(&s->lock));
	if (s->state)
		STEP(2, crew_lock_acquire(&s->lock, CREW_POLL) == 0);
	STEP(3, crew_event_set(&s->event) == 0 && crew_event_wait(&s->other, SOON) == 0);
	if (s->state)
		crew_lock_release(&s->lock);
	crew_lock_release(&s->lock);
	return 0;
}

/* A plain one and a recursive one. */
TEST(a_lock_held_by_one_process_is_seen_held_by_another, .count = 2)
{
	begin();
	s->state = index;
	crew_lock_init(&s->lock, index ? CREW_LOCK_RECURSIVE : 0);
	struct crew_process *holder = child(holds_the_lock, index);
	must(crew_event_wait(&s->event, SOON));
	ck_assert(crew_lock_is_held(&s->lock));
	ck_assert(!crew_lock_is_mine(&s->lock));
	must_be(-ETIMEDOUT, crew_lock_acquire(&s->lock, CREW_POLL));
	must(crew_event_set(&s->other));
	must_exit(0, holder);
	ck_assert(!crew_lock_is_held(&s->lock));
	must(crew_lock_acquire(&s->lock, CREW_POLL));
	crew_lock_release(&s->lock);
	finish();
}

static int releases(void *argument, size_t size)
{
	s = argument;
	(void)size;
	if (s->state == 2) {
		STEP(1, crew_lock_acquire(&s->lock, CREW_POLL) == 0 && crew_lock_acquire(&s->lock, CREW_POLL) == 0);
		crew_lock_release(&s->lock);
		crew_lock_release(&s->lock);
	}
	crew_lock_release(&s->lock);
	return 2;
}

static const char *const not_owned[] = {
	"a_release_of_a_free_lock_aborts", "a_release_of_what_another_holds_aborts", "a_release_once_too_often_aborts" };
static const char *not_owned_label(int i) { return not_owned[i]; }

TEST(a_release_by_who_does_not_hold_the_lock_aborts, .count = 3, .label = not_owned_label)
{
	begin();
	s->state = index;
	crew_lock_init(&s->lock, index == 2 ? CREW_LOCK_RECURSIVE : 0);
	if (index == 1)
		must(crew_lock_acquire(&s->lock, CREW_POLL));
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC); /* for what it says about it */
	must_be_killed(SIGABRT, start(options(.function = releases, .argument = s, .err = null + 1)));
	close(null);
	if (index == 1)
		crew_lock_release(&s->lock); /* still ours */
	must(crew_lock_acquire(&s->lock, SOON));
	crew_lock_release(&s->lock);
	finish();
}

/* ---- condition, event, barrier ---- */

static int changes_the_state_four_times(void *argument, size_t size)
{
	s = argument;
	(void)size;
	for (int i = 0; i < 4; i++) {
		harness_pause();
		STEP(1, crew_lock_acquire(&s->lock, SOON) == 0);
		s->state++;
		STEP(2, crew_condition_notify(&s->condition, 1) == 0);
		crew_lock_release(&s->lock);
	}
	return 0;
}

TEST(whoever_waits_for_a_condition_sees_what_another_process_does, .count = 2)
{
	begin();
	must(crew_lock_acquire(&s->lock, CREW_POLL));
	struct crew_process *other = child(changes_the_state_four_times, index);
	int r = 0;
	while (s->state < 4 && r == 0)
		r = crew_condition_wait(&s->condition, &s->lock, SOON);
	must(r);
	ck_assert_int_eq(s->state, 4);
	/* What never comes is waited for up to the deadline, however often there is a notify. */
	crew_time deadline = crew_after(30 * CREW_MILLISECOND);
	while (s->state < 5 && r == 0)
		r = crew_condition_wait(&s->condition, &s->lock, deadline);
	must_be(-ETIMEDOUT, r);
	ck_assert_int_ge(crew_now(), deadline);
	ck_assert(crew_lock_is_mine(&s->lock));
	crew_lock_release(&s->lock);
	must_exit(0, other);
	finish();
}

static int waits_and_answers(void *argument, size_t size)
{
	s = argument;
	(void)size;
	STEP(1, !crew_event_is_set(&s->event) && crew_event_wait(&s->event, CREW_POLL) == -ETIMEDOUT);
	STEP(2, crew_event_set(&s->other) == 0);
	STEP(3, crew_event_wait(&s->event, SOON) == 0);
	STEP(4, crew_event_clear(&s->event) == 0 && crew_event_set(&s->other) == 0);
	return 0;
}

TEST(an_event_set_in_one_process_wakes_another, .count = 2)
{
	begin();
	struct crew_process *other = child(waits_and_answers, index);
	must(crew_event_wait(&s->other, SOON));
	must(crew_event_clear(&s->other));
	must(crew_event_set(&s->event));
	must(crew_event_wait(&s->other, SOON));
	ck_assert(!crew_event_is_set(&s->event)); /* cleared over there */
	must_exit(0, other);
	finish();
}

static int meets(void *argument, size_t size)
{
	s = argument;
	(void)size;
	for (uint32_t pass = 0; pass < PASSES; pass++) {
		unsigned place = 99;
		STEP(1, crew_barrier_wait(&s->barrier, &place, SOON) == 0);
		__atomic_fetch_add(&s->places, place, __ATOMIC_SEQ_CST);
		if (place == 0)
			s->acts++; /* who has place 0 acts; the others meet it again when that is done */
		STEP(2, crew_barrier_wait(&s->after, NULL, SOON) == 0);
		STEP(3, s->acts == pass + 1);
	}
	return crew_barrier_leave(&s->barrier) < 0 || crew_barrier_leave(&s->after) < 0 ? 4 : 0;
}

TEST(five_processes_meet_in_step_and_one_of_each_phase_acts_for_all, .timeout = 60)
{
	begin();
	struct crew_process *party[PARTIES];
	crew_barrier_init(&s->barrier, PARTIES, 0);
	crew_barrier_init(&s->after, PARTIES, 0);
	for (int i = 0; i < PARTIES; i++)
		party[i] = child(meets, i & 1);
	for (int i = 0; i < PARTIES; i++)
		must_exit(0, party[i]);
	ck_assert_uint_eq(s->acts, PASSES);
	ck_assert_uint_eq(s->places, PASSES * (0 + 1 + 2 + 3 + 4));
	ck_assert_uint_eq(crew_barrier_waiting(&s->barrier), 0);
	ck_assert(!crew_barrier_is_broken(&s->barrier));
	finish();
}

/* ---- memory ---- */

static int doubles_and_frees(void *argument, size_t size)
{
	s = argument;
	(void)size;
	for (int i = 1; i < 100; i++) {
		const unsigned char *byte = s->block[i];
		for (size_t k = 0; k < (size_t)i * (size_t)i; k++)
			STEP(1, byte[k] == i);
		crew_free(s->block[i]);
	}
	*(long *)s->block[0] *= 2;
	return 0;
}

TEST(a_block_is_written_and_freed_by_another_process, .count = 2)
{
	begin();
	for (int i = 0; i < 100; i++) {
		must(crew_alloc((size_t)i * (size_t)i + 8, &s->block[i]));
		memset(s->block[i], i, (size_t)i * (size_t)i + 8);
	}
	*(long *)s->block[0] = 21;
	must_exit(0, child(doubles_and_frees, index));
	ck_assert_int_eq(*(long *)s->block[0], 42);
	crew_free(s->block[0]);
	finish();
}

/* ---- pipe ---- */

static int sends_when_told(void *argument, size_t size)
{
	s = argument;
	(void)size;
	static const char *const texts[] = { "one", "", "three and more" };
	for (int i = 0; i < 3; i++) {
		STEP(1, crew_counter_wait(&s->counter, SOON) == 0);
		STEP(2, crew_pipe_send(&s->pipe, CREW_END_B, texts[i], strlen(texts[i]), SOON) == 0);
	}
	return crew_counter_wait(&s->counter, SOON);
}

TEST(poll_sees_each_message_of_another_process_and_takes_nothing_of_it, .count = 2)
{
	begin();
	struct crew_process *sender = child(sends_when_told, index);
	must_be(-ETIMEDOUT, crew_pipe_poll(&s->pipe, CREW_END_A, CREW_POLL));
	static const size_t sizes[] = { 3, 0, 14 };
	char text[20];
	size_t size;
	for (int i = 0; i < 3; i++) {
		must(crew_counter_post(&s->counter, 1));
		must(crew_pipe_poll(&s->pipe, CREW_END_A, SOON));
		must(crew_pipe_poll(&s->pipe, CREW_END_A, CREW_POLL));
		must(crew_pipe_receive(&s->pipe, CREW_END_A, text, sizeof text, &size, CREW_POLL));
		ck_assert_uint_eq(size, sizes[i]);
		must_be(-ETIMEDOUT, crew_pipe_poll(&s->pipe, CREW_END_A, CREW_POLL));
	}
	must(crew_counter_post(&s->counter, 1));
	must_exit(0, sender);
	finish();
}

/* ---- signals ---- */

static volatile sig_atomic_t signals;
static void count_signal(int number) { (void)number; signals++; }

static struct crew_process *holder;

/* Each of them would have to wait for somebody. */
static int wait_for(int what, crew_time until)
{
	struct crew_wait_item item = { .kind = CREW_WAIT_QUEUE, .object = &s->queue };
	int n;
	switch (what) {
	case 0: return crew_queue_get(&s->queue, &n, sizeof n, NULL, until);
	case 1: return crew_process_join(holder, until, NULL);
	case 2: return crew_pipe_poll(&s->pipe, CREW_END_A, until);
	case 3: return crew_pipe_receive(&s->pipe, CREW_END_A, &n, sizeof n, NULL, until);
	case 4: return crew_event_wait(&s->event, until);
	case 5: return crew_counter_wait(&s->counter, until);
	case 6: return crew_semaphore_acquire(&s->semaphore, until);
	case 7: return crew_lock_acquire(&s->lock, until);
	case 8: return crew_latch_wait(&s->latch, until);
	case 9: return crew_wait_any(&item, 1, until);
	default: return crew_barrier_wait(&s->barrier, NULL, until);
	}
}

TEST(signals_cut_no_wait_short)
{
	begin();
	crew_lock_init(&s->lock, CREW_LOCK_RECURSIVE);
	crew_barrier_init(&s->barrier, 2, 0);
	crew_latch_init(&s->latch, 1);
	holder = child(holds_the_lock, 0);
	must(crew_event_wait(&s->event, SOON));
	must(crew_event_clear(&s->event));
	struct sigaction action = { .sa_handler = count_signal };
	ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } };
	ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
	for (int what = 0; what <= 10; what++) {
		harness_context("wait %d", what);
		int before = signals;
		crew_time until = crew_after(15 * CREW_MILLISECOND);
		must_be(-ETIMEDOUT, wait_for(what, until));
		ck_assert_int_ge(crew_now(), until);
		ck_assert_int_gt(signals, before);
	}
	must(crew_event_set(&s->other));
	struct crew_status status;
	must(crew_process_join(holder, SOON, &status)); /* that, too */
	ck_assert(status.state == CREW_EXITED && status.code == 0);
	often = (struct itimerval){ 0 };
	setitimer(ITIMER_REAL, &often, NULL);
	must(crew_process_close(holder));
	finish();
}
