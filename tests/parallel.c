/*
 * parallel.c - for, reduce, scan and sort: right, the same bit for bit in all modes and under chaos
 */
#include "pool_tasks.h"

#define COUNT (UNDER_TSAN ? 5000u : 20000u)

/* In all modes, and once more in processes that are killed at random. */
#define TEST_ALSO_UNDER_CHAOS(name, ...) \
	static const char *name##_label(int i) { return i == 3 ? UNDER_TSAN ? NULL : #name ", chaos" : mode_label("threads serial processes", #name, i); } \
	TEST(name, .count = 4, .label = name##_label, .timeout = 60, __VA_ARGS__)

static struct crew_pool *open_for(int index)
{
	struct crew_pool *pool = NULL;
	must(crew_pool_open(&pool, &(struct crew_pool_options){ .workers = 3, .mode = index == 3 ? CREW_POOL_PROCESSES : mode_of(index),
			.chaos = index == 3 ? 100 : 0, .chaos_seed = 11 }));
	return pool;
}

static void close_all(struct crew_pool *pool)
{
	must(crew_pool_close(pool, CREW_FOREVER));
	end();
}

/* With chaos: again, until somebody has been killed. */
static bool again(struct crew_pool *pool, int index, int round)
{
	struct crew_pool_stats stats;
	crew_pool_stats(pool, &stats);
	return round == 0 || (index == 3 && stats.chaos_kills < 5);
}

static uint64_t random_state = 88172645463325252u;
static uint64_t random_number(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	return random_state ^= random_state << 17;
}

/* ── for ── */

static int mark(size_t from, size_t to, void *context)
{
	uint32_t *marks = *(uint32_t **)context;
	for (size_t i = from; i < to; i++)
		count_one(&marks[i]);
	return 0;
}

TEST_IN_ALL_MODES(for_visits_each_index_once)
{
	begin();
	struct crew_pool *pool = open_for(index);
	uint32_t *marks;
	size_t grains[] = { 0, 1, 7, 999, 1000, 5000 };
	for (size_t g = 0; g < sizeof grains / sizeof *grains; g++) {
		must(crew_array(1000, sizeof *marks, (void **)&marks));
		must(crew_for(pool, 100, 900, mark, &(struct crew_range_options){ .grain = grains[g], .context = &marks,
				.context_size = sizeof marks }));
		for (int i = 0; i < 1000; i++)
			ck_assert_uint_eq(marks[i], i >= 100 && i < 900);
		crew_free(marks);
	}
	must(crew_for(pool, 5, 5, mark, NULL));
	must_be(-EINVAL, crew_for(pool, 6, 5, mark, NULL));
	must_be(-EINVAL, crew_for(pool, 0, 5, NULL, NULL));
	must_be(-EINVAL, crew_for(NULL, 0, 5, mark, NULL));
	close_all(pool);
}

static int fail_from_50(size_t from, size_t to, void *context UNUSED)
{
	return to > 50 ? crew_task_error(-EDOM, "chunk %zu of [%zu, %zu)", (size_t)crew_task_self()->index, from, to) : 0;
}

TEST_IN_ALL_MODES(for_tells_the_first_chunk_that_failed)
{
	begin();
	struct crew_pool *pool = open_for(index);
	struct crew_failure failure;
	must_be(-EREMOTEIO, crew_for(pool, 0, 100, fail_from_50, &(struct crew_range_options){ .grain = 20, .failure = &failure }));
	ck_assert_int_eq(failure.error, -EDOM);
	ck_assert_str_eq(failure.message, "chunk 2 of [40, 60)");
	close_all(pool);
}

static int crash_in_the_middle(size_t from, size_t to, void *context UNUSED)
{
	return from <= 500 && 500 < to ? crash(NULL, NULL, NULL) : 0;
}

TEST(a_body_that_crashes_is_an_error)
{
	begin();
	struct crew_pool *pool = open_for(2);
	struct crew_failure failure;
	must_be(-EOWNERDEAD, crew_for(pool, 0, 1000, crash_in_the_middle, &(struct crew_range_options){ .failure = &failure }));
	ck_assert_int_eq(failure.signal, SIGSEGV);
	ck_assert_uint_eq(failure.attempts, 3);
	close_all(pool);
}

/* ── reduce ── */

static int add_up(size_t from, size_t to, void *value, void *context)
{
	const double *in = *(const double **)context;
	for (size_t i = from; i < to; i++)
		*(double *)value += in[i];
	return 0;
}

static void add(void *left, const void *right, void *context UNUSED)
{
	*(double *)left += *(const double *)right;
}

/* The same computation, serially, on the same grid. */
static double add_in_chunks(const double *in, size_t count, size_t grain)
{
	double sum = 0;
	for (size_t from = 0; from < count; from += grain) {
		double part = 0;
		for (size_t i = from; i < count && i < from + grain; i++)
			part += in[i];
		sum += part;
	}
	return sum;
}

TEST_ALSO_UNDER_CHAOS(reduce_gives_the_same_bits_always)
{
	begin();
	struct crew_pool *pool = open_for(index);
	double *in, zero = 0, sum;
	must(crew_array(COUNT, sizeof *in, (void **)&in));
	for (size_t i = 0; i < COUNT; i++)
		in[i] = 1.0 / (double)(i + 1);
	for (int round = 0; again(pool, index, round); round++) {
		struct crew_range_options options = { .context = &in, .context_size = sizeof in, .grain = 77 };
		sum = -1;
		must(crew_reduce(pool, 0, COUNT, &zero, sizeof zero, add_up, add, &sum, &options));
		ck_assert(sum == add_in_chunks(in, COUNT, 77));
		options.grain = 0;
		must(crew_reduce(pool, 0, COUNT, &zero, sizeof zero, add_up, add, &sum, &options));
		ck_assert(sum == add_in_chunks(in, COUNT, (COUNT + 255) / 256));
	}
	zero = 5;
	must(crew_reduce(pool, 3, 3, &zero, sizeof zero, add_up, add, &sum, NULL));
	ck_assert(sum == 5);
	crew_free(in);
	close_all(pool);
}

/* x -> a x + b modulo 2^64: composition is associative and does not commute. */
struct affine { uint64_t a, b; };

static void compose(void *left, const void *right, void *context UNUSED)
{
	struct affine *f = left;
	const struct affine *g = right;
	*f = (struct affine){ g->a * f->a, g->a * f->b + g->b };
}

static struct affine affine_at(size_t i)
{
	return (struct affine){ 2 * i + 1, i * i + 3 };
}

static int compose_range(size_t from, size_t to, void *value, void *context UNUSED)
{
	for (size_t i = from; i < to; i++) {
		struct affine f = affine_at(i);
		compose(value, &f, NULL);
	}
	return 0;
}

TEST_ALSO_UNDER_CHAOS(reduce_combines_in_order)
{
	begin();
	struct crew_pool *pool = open_for(index);
	struct affine one = { 1, 0 }, wanted = one, got;
	compose_range(0, COUNT, &wanted, NULL);
	size_t grains[] = { 0, 1000, 33, COUNT };
	for (int round = 0; again(pool, index, round); round++) {
		for (size_t g = 0; g < sizeof grains / sizeof *grains; g++) {
			must(crew_reduce(pool, 0, COUNT, &one, sizeof one, compose_range, compose, &got,
					&(struct crew_range_options){ .grain = grains[g] }));
			ck_assert(got.a == wanted.a && got.b == wanted.b);
		}
	}
	close_all(pool);
}

/* ── scan ── */

TEST_ALSO_UNDER_CHAOS(scan_is_the_prefix_in_order)
{
	begin();
	struct crew_pool *pool = open_for(index);
	struct affine *in, *out, *wanted = malloc(COUNT * sizeof *wanted), *mine = malloc(COUNT * sizeof *mine), start = { 3, 4 };
	must(crew_array(COUNT, sizeof *in, (void **)&in));
	must(crew_array(COUNT, sizeof *out, (void **)&out));
	struct { size_t count, grain; } cases[] = { { 0, 0 }, { 1, 0 }, { 2, 1 }, { 100, 0 }, { 101, 10 }, { COUNT, 0 }, { COUNT, 333 } };
	for (int round = 0; again(pool, index, round); round++) {
		for (size_t c = 0; c < 2 * sizeof cases / sizeof *cases; c++) {
			bool exclusive = c % 2;
			size_t count = cases[c / 2].count;
			struct crew_range_options options = { .grain = cases[c / 2].grain };
			struct affine sum = start;
			for (size_t i = 0; i < count; i++) {
				in[i] = mine[i] = affine_at(i);
				if (exclusive)
					wanted[i] = sum;
				if (i == 0 && !exclusive)
					sum = in[i];
				else
					compose(&sum, &in[i], NULL);
				if (!exclusive)
					wanted[i] = sum;
			}
			must(crew_scan(pool, in, out, count, sizeof *in, &start, compose, exclusive, &options));
			ck_assert_msg(memcmp(out, wanted, count * sizeof *in) == 0, "shared, case %zu", c);
			must(crew_scan(pool, mine, out, count, sizeof *in, &start, compose, exclusive, &options));
			ck_assert_msg(memcmp(out, wanted, count * sizeof *in) == 0, "private to shared, case %zu", c);
			must(crew_scan(pool, in, in, count, sizeof *in, &start, compose, exclusive, &options));
			ck_assert_msg(memcmp(in, wanted, count * sizeof *in) == 0, "in place, case %zu", c);
			must(crew_scan(pool, mine, mine, count, sizeof *in, &start, compose, exclusive, &options));
			ck_assert_msg(memcmp(mine, wanted, count * sizeof *in) == 0, "private, in place, case %zu", c);
		}
	}
	crew_free(in);
	crew_free(out);
	free(wanted);
	free(mine);
	close_all(pool);
}

TEST_ALSO_UNDER_CHAOS(scan_gives_the_same_bits_always)
{
	begin();
	struct crew_pool *pool = open_for(index);
	double *in, *out, zero = 0, before = 0;
	must(crew_array(COUNT, sizeof *in, (void **)&in));
	must(crew_array(COUNT, sizeof *out, (void **)&out));
	for (size_t i = 0; i < COUNT; i++)
		in[i] = 1.0 / (double)(i + 1);
	for (int round = 0; again(pool, index, round); round++) {
		must(crew_scan(pool, in, out, COUNT, sizeof *in, &zero, add, false, &(struct crew_range_options){ .grain = 500 }));
		size_t wrong = 0;
		before = 0;
		for (size_t from = 0; from < COUNT; from += 500) {
			double sum = before, part = in[from];
			for (size_t i = from; i < from + 500; i++) {
				sum = i ? sum + in[i] : in[i];
				wrong += out[i] != sum;
				if (i > from)
					part += in[i];
			}
			before = from ? before + part : part;
		}
		ck_assert_uint_eq(wrong, 0);
	}
	crew_free(in);
	crew_free(out);
	close_all(pool);
}

/* ── sort ── */

struct element { uint32_t key, at; unsigned char more[16]; };

static int by_key(const void *a, const void *b)
{
	uint32_t x, y; /* elements of odd sizes are not aligned */
	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return x < y ? -1 : x > y;
}

static int by_byte(const void *a, const void *b)
{
	return *(const unsigned char *)a - *(const unsigned char *)b;
}

/* Elements of `size` bytes, of which the first 8 are key and place; sorted and checked. */
static void check_sort(struct crew_pool *pool, char *array, size_t count, size_t size, int keys, size_t grain)
{
	uint64_t sum = 0, sorted_sum = 0;
	for (size_t i = 0; i < count; i++) {
		struct element e = { .at = (uint32_t)i };
		e.key = keys > 0 ? (uint32_t)(random_number() % (uint64_t)keys) : keys == 0 ? e.at : (uint32_t)count - e.at;
		memset(e.more, (int)(e.key % 251), sizeof e.more);
		memcpy(array + i * size, &e, size);
		sum += e.key * (uint64_t)31 + e.at;
	}
	must(crew_sort(pool, array, count, size, by_key, &(struct crew_range_options){ .grain = grain }));
	struct element before = { 0 };
	size_t wrong = SIZE_MAX; /* an assertion for each element would be most of the time */
	for (size_t i = 0; i < count; i++) {
		struct element e = { 0 };
		memcpy(&e, array + i * size, size);
		if (i > 0 && (before.key > e.key || (before.key == e.key && before.at >= e.at)))
			wrong = i;
		for (size_t k = 0; k + 8 < size; k++)
			if (e.more[k] != e.key % 251)
				wrong = i;
		sorted_sum += e.key * (uint64_t)31 + e.at;
		before = e;
	}
	ck_assert_msg(wrong == SIZE_MAX, "%zu elements of %zu bytes, %d keys, grain %zu: wrong at %zu", count, size, keys, grain, wrong);
	ck_assert_uint_eq(sum, sorted_sum);
}

TEST_ALSO_UNDER_CHAOS(sort_is_right_and_stable)
{
	begin();
	struct crew_pool *pool = open_for(index);
	char *shared, *private = malloc(COUNT * sizeof(struct element));
	must(crew_array(COUNT, sizeof(struct element), (void **)&shared));
	size_t counts[] = { 0, 1, 2, 3, 100, 1001, COUNT }, grains[] = { 0, 50, 999 }, sizes[] = { 8, 11, 16, 24 };
	int keys[] = { 1, 10, 1000000, 0, -1 };
	for (int round = 0; again(pool, index, round); round++)
		for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
			for (size_t g = 0; g < sizeof grains / sizeof *grains; g++)
				for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
					size_t size = sizes[(c + g + k) % 4];
					check_sort(pool, shared, counts[c], size, keys[k], grains[g]);
					check_sort(pool, private, counts[c], size, keys[k], grains[g]);
				}
	check_sort(pool, shared, 30, 8, 5, 1);
	crew_free(shared);
	free(private);
	close_all(pool);
}

TEST_IN_ALL_MODES(single_bytes_can_be_sorted)
{
	begin();
	struct crew_pool *pool = open_for(index);
	unsigned char bytes[5000];
	uint32_t counts[256] = { 0 };
	for (size_t i = 0; i < sizeof bytes; i++)
		counts[bytes[i] = (unsigned char)random_number()]++;
	must(crew_sort(pool, bytes, sizeof bytes, 1, by_byte, &(struct crew_range_options){ .grain = 64 }));
	for (size_t i = 0; i < sizeof bytes; i++) {
		ck_assert(i == 0 || bytes[i - 1] <= bytes[i]);
		counts[bytes[i]]--;
	}
	for (int i = 0; i < 256; i++)
		ck_assert_uint_eq(counts[i], 0);
	must_be(-EINVAL, crew_sort(pool, bytes, 5, 0, by_byte, NULL));
	must_be(-EINVAL, crew_sort(pool, bytes, SIZE_MAX, 2, by_byte, NULL));
	must_be(-EINVAL, crew_sort(pool, NULL, 1, 1, by_byte, NULL));
	close_all(pool);
}

TEST(no_room_is_an_error_and_changes_nothing)
{
	must(crew_init(&(struct crew_init_options){ .memory_cap = 16 << 20 }));
	struct crew_pool *pool = open_for(2);
	size_t count = (12 << 20) / sizeof(uint64_t);
	uint64_t *array, before;
	must(crew_array(count, sizeof *array, (void **)&array)); /* no room for as much again */
	for (size_t i = 0; i < count; i++)
		array[i] = count - i;
	before = array[0];
	must_be(-ENOMEM, crew_sort(pool, array, count, sizeof *array, by_key, NULL));
	ck_assert_uint_eq(array[0], before);
	crew_free(array);
	must(crew_pool_close(pool, CREW_FOREVER));
	must(crew_heap_check());
	crew_fini();
}
