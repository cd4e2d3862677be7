/* memory.c - the shared heap */
#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <crew/init.h>
#include <crew/memory.h>
#include "base/sys.h"
#include "memory/heap.h"

static struct crew_memory_stats stats(void)
{
	struct crew_memory_stats s;
	must(crew_memory_stats(&s));
	must(crew_heap_check());
	return s;
}

TEST(blocks_are_aligned_apart_and_counted)
{
	must(crew_init(NULL));
	struct crew_memory_stats before = stats();
	for (size_t size = 0; size < 200000; size = size * 5 / 4 + 1) {
		unsigned char *a, *b;
		must(crew_alloc(size, (void **)&a));
		must(crew_alloc_zeroed(size, (void **)&b));
		ck_assert_uint_eq((uintptr_t)a % 16, 0);
		ck_assert_uint_ge(crew_usable_size(a), size);
		ck_assert(a + crew_usable_size(a) <= b || b + crew_usable_size(b) <= a);
		ck_assert(crew_is_shared(a));
		memset(a, 0xff, crew_usable_size(a));
		for (size_t i = 0; i < size; i++)
			ck_assert_uint_eq(b[i], 0);
		ck_assert_uint_eq(stats().blocks, before.blocks + 2);
		crew_free(a);
		crew_free(b);
	}
	struct crew_memory_stats after = stats();
	ck_assert_uint_eq(after.blocks, before.blocks);
	ck_assert_uint_eq(after.used, before.used);
	ck_assert_uint_gt(after.peak, after.used);
	crew_free(NULL);
	ck_assert_uint_eq(crew_usable_size(NULL), 0);
	ck_assert(!crew_is_shared(&after));
	crew_fini();
}

TEST(any_power_of_two_is_an_alignment)
{
	must(crew_init(NULL));
	for (size_t alignment = 1; alignment <= (size_t)1 << 28; alignment *= 2) {
		void *p;
		must(crew_alloc_aligned(100, alignment, &p));
		ck_assert_uint_eq((uintptr_t)p % alignment, 0);
		crew_free(p);
	}
	must_be(-EINVAL, crew_alloc_aligned(100, 0, &(void *){ NULL }));
	must_be(-EINVAL, crew_alloc_aligned(100, 48, &(void *){ NULL }));
	must_be(-EINVAL, crew_alloc_aligned(100, (size_t)1 << 40, &(void *){ NULL }));
	ck_assert_uint_eq(stats().blocks, 0);
	crew_fini();
}

TEST(an_array_is_zeroed_and_its_size_cannot_overflow)
{
	must(crew_init(NULL));
	long *numbers;
	must(crew_array(1000, sizeof *numbers, (void **)&numbers));
	ck_assert_uint_eq((uintptr_t)numbers % 64, 0);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(numbers[i], 0);
	crew_free(numbers);
	must_be(-ENOMEM, crew_array(SIZE_MAX / 4, 8, (void **)&numbers));
	crew_fini();
}

/* CPython's TestHeap: random blocks, and everything comes back. */
TEST(thousands_of_random_blocks_all_come_back)
{
	must(crew_init(NULL));
	enum { COUNT = 3000 };
	static unsigned char *blocks[COUNT];
	static size_t sizes[COUNT];
	srand(4711);
	for (int step = 0; step < 40000; step++) {
		int i = rand() % COUNT;
		if (blocks[i]) {
			for (size_t k = 0; k < sizes[i]; k += 97)
				ck_assert_uint_eq(blocks[i][k], i & 0xff);
			crew_free(blocks[i]);
			blocks[i] = NULL;
		} else {
			sizes[i] = (size_t)(rand() % 100 == 0 ? rand() % 400000 : rand() % 2000);
			must(crew_alloc(sizes[i], (void **)&blocks[i]));
			memset(blocks[i], i & 0xff, sizes[i]);
		}
		if (step % 5000 == 0)
			stats();
	}
	for (int i = 0; i < COUNT; i++)
		crew_free(blocks[i]);
	struct crew_memory_stats s = stats();
	ck_assert_uint_eq(s.blocks, 0);
	ck_assert_uint_eq(s.used, 0);
	crew_fini();
}

TEST(beyond_the_cap_is_enomem_and_what_is_there_stays_good)
{
	must(crew_init(&(struct crew_init_options){ .memory_cap = 32 << 20 }));
	unsigned char *p;
	must(crew_alloc(16 << 20, (void **)&p));
	memset(p, 1, 16 << 20);
	must_be(-ENOMEM, crew_alloc(20 << 20, &(void *){ NULL }));
	must_be(-ENOMEM, crew_alloc(SIZE_MAX - 100, &(void *){ NULL }));
	int small = 0;
	for (void *q; crew_alloc(1000, &q) == 0; small++)
		memset(q, 2, 1000);
	ck_assert_int_gt(small, 1000);
	ck_assert_uint_le(stats().committed, 32 << 20);
	for (int i = 0; i < 16 << 20; i += 4096)
		ck_assert_uint_eq(p[i], 1);
	crew_free(p);
	must(crew_alloc(15 << 20, (void **)&p)); /* its memory went back to the system and comes again */
	crew_fini();
}

TEST(a_large_block_goes_back_to_the_system)
{
	must(crew_init(NULL));
	uint64_t before = stats().committed;
	void *p;
	must(crew_alloc(64 << 20, &p));
	memset(p, 1, 64 << 20);
	ck_assert_uint_ge(stats().committed, before + (64 << 20));
	crew_free(p);
	ck_assert_uint_eq(stats().committed, before);
	crew_fini();
}

enum { STREAM = 3, LARGE = 16 << 20 };

/* As messages on their way. */
static uint64_t stream(int rounds)
{
	uint64_t most = 0;
	for (int i = 0; i < rounds; i++) {
		char *p[STREAM];
		for (int n = 0; n < STREAM; n++) {
			must(crew_alloc(LARGE, (void **)&p[n]));
			p[n][LARGE / 2] = 1;
		}
		most = stats().committed;
		for (int n = 0; n < STREAM; n++)
			crew_free(p[n]);
	}
	return most;
}

TEST(a_stream_of_large_blocks_does_not_go_to_the_system_again_and_again)
{
	must(crew_init(NULL));
	stream(6);
	for (int i = 0; i < 10; i++)
		ck_assert_uint_eq(stream(1), stats().committed);
	must(crew_heap_check());
	crew_fini();
}

static void *end_at_once(void *unused)
{
	(void)unused;
	crew_free(NULL);
	must(crew_alloc(100, &unused));
	crew_free(unused);
	return NULL;
}

/* index: whoever looks frees something large, or ends. */
TEST(what_a_stream_had_goes_back_when_it_is_over, .count = 2)
{
	must(crew_init(NULL));
	uint64_t most = stream(6);
	ck_assert_uint_ge(stats().committed, most);
	void *p;
	do {
		harness_pause();
		if (index) {
			pthread_t thread;
			ck_assert_int_eq(pthread_create(&thread, NULL, end_at_once, NULL), 0);
			pthread_join(thread, NULL);
			crew__lane_reap_all();
		} else {
			must(crew_alloc(2 << 20, &p));
			crew_free(p);
		}
	} while (stats().committed > 18 << 20);
	must(crew_heap_check());
	crew_fini();
}

TEST(no_space_is_an_error_not_a_sigbus)
{
	must(crew_init(NULL));
	ck_assert_uint_eq(stats().blocks, 0); /* this thread has its lane, so the next call is the heap's */
	crew__fault_set(CREW__CALL_fallocate, 1, ENOSPC, 2); /* it is tried again once what is empty has been given back */
	must_be(-ENOMEM, crew_alloc(1 << 20, &(void *){ NULL }));
	ck_assert_uint_eq(stats().blocks, 0);
	void *p;
	must(crew_alloc(1 << 20, &p));
	crew_free(p);
	crew_fini();
}

/* Misuse aborts, with one line that names the address. */
static const char *const misuses[] = { "twice", "inside", "private", "unaligned" };
static const char *misuse_label(int i) { return misuses[i]; }

static void misuse(int which)
{
	char *a, *b;
	if (crew_init(NULL) < 0 || crew_alloc(100, (void **)&a) < 0 || crew_alloc(100000, (void **)&b) < 0)
		_exit(1);
	switch (which) {
	case 0: crew_free(a); crew_free(a); break;
	case 1: crew_free(b + 65536); break;
	case 2: crew_free(&a); break;
	case 3: crew_free(a + 8); break;
	}
	_exit(2);
}

TEST(freeing_what_is_no_block_aborts, .count = 4, .label = misuse_label)
{
	int told[2];
	ck_assert_int_eq(pipe(told), 0);
	pid_t child = fork();
	if (child == 0) {
		dup2(told[1], STDERR_FILENO);
		misuse(index);
	}
	close(told[1]);
	char line[300] = "";
	ssize_t n = read(told[0], line, sizeof line - 1);
	close(told[0]);
	int status;
	waitpid(child, &status, 0);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %#x", status);
	ck_assert_int_gt(n, 0);
	ck_assert_ptr_nonnull(strstr(line, "crew: crew_free(0x"));
	ck_assert_ptr_eq(strchr(line, '\n'), line + n - 1);
}

/* Many threads, one heap: runs under TSan. */
static void *churn(void *seed)
{
	void *blocks[64] = { NULL };
	unsigned state = *(unsigned *)seed;
	for (int i = 0; i < 3000; i++) {
		state = state * 1664525 + 1013904223;
		unsigned at = state >> 26;
		crew_free(blocks[at]);
		blocks[at] = NULL;
		size_t size = (state >> 8) % 5000;
		if (crew_alloc(size, &blocks[at]) == 0)
			memset(blocks[at], (int)at, size);
	}
	for (int i = 0; i < 64; i++)
		crew_free(blocks[i]);
	return NULL;
}

TEST(threads_share_the_heap, .timeout = 60)
{
	must(crew_init(NULL));
	pthread_t threads[4];
	unsigned seeds[4] = { 1, 2, 3, 4 };
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, churn, &seeds[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(stats().blocks, 0);
	crew_fini();
}

/* An attempt with blocks of many sizes, over many runs, some of them freed again, and all of it failed. */
TEST(a_failed_attempt_leaves_no_block_of_any_size)
{
	must(crew_init(NULL));
	struct crew__lane *lane;
	must(crew__lane_self(&lane));
	for (int round = 0; round < 3; round++) {
		void *mine[50], *p;
		for (int i = 0; i < 50; i++)
			must(crew_alloc((size_t)(40 + i * 120), &mine[i])); /* the family's, between the attempt's */
		crew__attempt_begin(lane);
		for (int i = 0; i < 3000; i++) {
			must(crew_alloc((size_t)(1 + i * 37 % 9000), &p));
			if (i % 5 == 0)
				crew_free(p);
		}
		crew__attempt_end(lane, false);
		ck_assert_uint_eq(stats().blocks, 50);
		for (int i = 0; i < 50; i++)
			crew_free(mine[i]);
	}
	ck_assert_uint_eq(stats().blocks, 0);
	crew_fini();
}

struct hand { void *block; int how; };

static void *die_with_full_hands(void *argument)
{
	struct hand *hand = argument;
	struct crew__lane *lane;
	must(crew__lane_self(&lane));
	if (hand->how == 0) {
		must(crew__alloc_mine(lane, 0, 1000, &hand->block));
		must(crew__alloc_mine(lane, 3, 100000, &hand->block));
	} else {
		void *p;
		crew__attempt_begin(lane);
		for (int i = 0; i < 10; i++)
			must(crew_alloc((size_t)(100 << i), &p));
		must(crew_alloc(500, &hand->block));
		crew_publish(hand->block);
		if (hand->how == 2)
			crew__attempt_end(lane, true);
		if (hand->how == 3)
			crew__attempt_end(lane, false);
	}
	return NULL;
}

/* Blocks left: in hand: none; dead attempt: the published one; good attempt: all; failed attempt: the published one. */
static const uint64_t left[] = { 0, 1, 11, 1 };

TEST(what_a_dead_thread_had_in_hand_comes_back, .count = 4)
{
	must(crew_init(NULL));
	struct hand hand = { NULL, index };
	pthread_t thread;
	ck_assert_int_eq(pthread_create(&thread, NULL, die_with_full_hands, &hand), 0);
	pthread_join(thread, NULL);
	await((crew__lane_reap_all(), stats().blocks == left[index]));
	crew_fini();
}

TEST(a_block_grows_and_shrinks_with_what_it_holds)
{
	must(crew_init(NULL));
	unsigned char **shared, *own = NULL;
	must(crew_alloc(sizeof *shared, (void **)&shared));
	must(crew_realloc(NULL, 10, (void **)shared)); /* *shared is set in the same step as the block moves */
	must(crew_realloc(NULL, 10, (void **)&own));
	memset(*shared, 7, 10);
	memset(own, 7, 10);
	for (size_t size = 10, was = 10; size < 300000; was = size, size = size * 3 / 2) {
		must(crew_realloc(*shared, size, (void **)shared));
		must(crew_realloc(own, size, (void **)&own));
		ck_assert_uint_ge(crew_usable_size(*shared), size);
		for (size_t i = 0; i < was; i++)
			ck_assert(own[i] == 7 && (*shared)[i] == 7);
		memset(*shared, 7, size);
		memset(own, 7, size);
		ck_assert_uint_eq(stats().blocks, 3);
	}
	must(crew_realloc(own, 20, (void **)&own));
	ck_assert_uint_lt(crew_usable_size(own), 1000);
	ck_assert_uint_eq(own[19], 7);
	must_be(-ENOMEM, crew_realloc(own, SIZE_MAX / 2, (void **)&own));
	ck_assert_uint_eq(own[19], 7);
	crew_free(own);
	crew_free(*shared);
	crew_free(shared);
	ck_assert_uint_eq(stats().blocks, 0);
	crew_fini();
}

/* Pages that have been used and given back are zero again, whatever is known of them. */
TEST(zeroed_is_zero_also_where_memory_has_been_used)
{
	must(crew_init(&(struct crew_init_options){ .memory_cap = 64 << 20 }));
	for (int round = 0; round < 6; round++) {
		size_t size = (size_t)(round % 2 ? 20 : 9) << 20;
		unsigned char *p;
		must(crew_alloc_zeroed(size, (void **)&p));
		for (size_t i = 0; i < size; i += 511)
			ck_assert_uint_eq(p[i], 0);
		memset(p, 0xee, size);
		if (round == 3)
			crew__fault_set(CREW__CALL_fallocate, 1, EIO, 1); /* of the hole that is to be punched: the pages stay */
		crew_free(p);
		crew__fault_set(CREW__CALL_fallocate, 0, 0, 0);
	}
	crew_fini();
}

/* What is allocated here and there, and freed again; how many calls said -ENOMEM. */
static int use_all_ways(void)
{
	void *p[12] = { NULL };
	int refused = 0, n = 0, r;
	for (size_t size = 20; n < 8; size *= 5, n++)
		refused += (r = crew_alloc(size, &p[n])) < 0, ck_assert(r == 0 || r == -ENOMEM);
	refused += (r = crew_alloc_aligned(100, 1 << 20, &p[n++])) < 0, ck_assert(r == 0 || r == -ENOMEM);
	refused += (r = crew_array(1000, 1000, &p[n++])) < 0, ck_assert(r == 0 || r == -ENOMEM);
	refused += (r = crew_realloc(p[0], 100000, &p[0])) < 0, ck_assert(r == 0 || r == -ENOMEM);
	for (int i = 0; i < n; i++)
		if (p[i])
			memset(p[i], 1, crew_usable_size(p[i]));
	for (int i = 0; i < n; i++)
		crew_free(p[i]);
	return refused;
}

TEST(memory_that_is_refused_at_any_point_is_enomem)
{
	for (unsigned n = 1, refused = 1; refused; n++) {
		must(crew_init(NULL));
		ck_assert_uint_eq(stats().blocks, 0);
		crew__fault_set(CREW__CALL_fallocate, n, ENOSPC, 1000000);
		refused = (unsigned)use_all_ways();
		crew__fault_set(CREW__CALL_fallocate, 0, 0, 0);
		ck_assert_uint_eq(stats().blocks, 0);
		ck_assert_int_eq(use_all_ways(), 0);
		ck_assert_uint_eq(stats().blocks, 0);
		crew_fini();
		ck_assert_uint_lt(n, 100);
	}
}

TEST(a_limit_on_file_size_kills_nobody)
{
	struct rlimit limit;
	must(crew_init(NULL));
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = 1 << 20;
	setrlimit(RLIMIT_FSIZE, &limit);
	use_all_ways();
	ck_assert_uint_eq(stats().blocks, 0);
	crew_fini();
}

TEST(memory_of_small_blocks_goes_back_to_the_system)
{
	enum { COUNT = 100000 };
	static void *blocks[COUNT];
	must(crew_init(NULL));
	for (int i = 0; i < COUNT; i++)
		must(crew_alloc(1000, &blocks[i]));
	ck_assert_uint_gt(stats().committed, 90 << 20);
	for (int i = 0; i < COUNT; i++)
		crew_free(blocks[(i * 7919L) % COUNT]);
	ck_assert_uint_lt(stats().committed, 40 << 20);
	ck_assert_uint_eq(stats().blocks, 0);
	crew_fini();
}

/* What a thread had to itself is the others' when it has ended. */
static void *use_and_end(void *unused)
{
	void *p[100];
	(void)unused;
	for (int i = 0; i < 100; i++)
		must(crew_alloc((size_t)i * 40, &p[i]));
	for (int i = 0; i < 100; i++)
		crew_free(p[i]);
	return NULL;
}

TEST(ended_threads_leave_no_memory_behind)
{
	must(crew_init(NULL));
	uint64_t after[6]; /* until there are as many lanes as are swept at once */
	for (int round = 0; round < 6; round++) {
		for (int i = 0; i < 50; i++) {
			pthread_t thread;
			ck_assert_int_eq(pthread_create(&thread, NULL, use_and_end, NULL), 0);
			pthread_join(thread, NULL);
		}
		crew__lane_reap_all();
		after[round] = stats().committed;
	}
	ck_assert_uint_le(after[5], after[3]);
	ck_assert_uint_eq(stats().blocks, 0);
	crew_fini();
}
