/*
 * sort.c - stable merge sort in rounds, each of which reads one array and writes the other
 *
 *     base ──chunks──> other ──merge──> base ──merge──> other ──merge──> base
 *
 * No round writes what it reads, so any piece of it may be run again. A merge of two runs is cut into pieces of a
 * chunk's length by co-ranking: how many of its first k elements come from either run (Siebert and Traeff, 2013). So
 * all rounds have the same grid, however few runs are left.
 *
 * By default the number of rounds is odd where there is more than one chunk: then with the first one the
 * result ends up in base and nothing has to be copied back.
 */
#include <stdlib.h>
#include <string.h>
#include "base/sys.h"
#include "parallel/parallel.h"

#define ALONE 4096      /* elements that the caller sorts itself */
#define CHUNK 65536     /* a chunk of the default length is not longer, up to 2^MOST_ROUNDS chunks */
#define MOST_ROUNDS 9
#define SMALL 8         /* elements sorted by insertion */

typedef int compare_fn(const void *, const void *);

/* Merge two runs: of equal elements those of `a` go first. */
static void merge(char *to, const char *a, const char *a_end, const char *b, const char *b_end, size_t size, compare_fn *compare)
{
	while (a < a_end && b < b_end) {
		if (compare(a, b) <= 0) {
			crew__put(to, a, size);
			a += size;
		} else {
			crew__put(to, b, size);
			b += size;
		}
		to += size;
	}
	memmove(to, a, (size_t)(a_end - a));
	memmove(to + (a_end - a), b, (size_t)(b_end - b)); /* may lie there already */
}

/* spare: room for half of it, and one element. */
static void sort(char *base, size_t count, size_t size, compare_fn *compare, char *spare)
{
	if (count <= SMALL) {
		for (size_t i = 1; i < count; i++) {
			size_t to = i;
			while (to > 0 && compare(base + (to - 1) * size, base + i * size) > 0)
				to--;
			if (to == i)
				continue;
			crew__put(spare, base + i * size, size);
			memmove(base + (to + 1) * size, base + to * size, (i - to) * size);
			crew__put(base + to * size, spare, size);
		}
		return;
	}
	size_t half = count / 2;
	char *middle = base + half * size;
	sort(base, half, size, compare, spare);
	sort(middle, count - half, size, compare, spare);
	if (compare(middle - size, middle) <= 0)
		return;
	memcpy(spare, base, half * size);
	merge(base, spare, spare + half * size, middle, base + count * size, size, compare);
}

/* How many of the first k of the merged runs a[0 ... m) and b[0 ... n) come from a. */
static size_t co_rank(size_t k, const char *a, size_t m, const char *b, size_t n, size_t size, compare_fn *compare)
{
	size_t low = k > n ? k - n : 0, high = k < m ? k : m;
	while (low < high) { /* the least i for which a[i] comes after b[k - i - 1] */
		size_t i = low + (high - low) / 2;
		if (compare(a + i * size, b + (k - i - 1) * size) <= 0)
			low = i + 1;
		else
			high = i;
	}
	return low;
}

struct round {
	const char *from;
	char *to;
	size_t count, begin, end, size;
	size_t width; /* of the runs in `from`; 0: unsorted, sort [begin, end) */
	compare_fn *compare;
};
static_assert(sizeof(struct round) <= CREW__INLINE, "needs no block");

struct sort_grid {
	struct crew__grid grid;
	struct crew__cut cut;
	struct round round;
};

/* In private memory: `from` stays as it is, and `to` is written when the order is known. */
static int sort_chunk(const struct round *r)
{
	size_t count = r->end - r->begin, bytes = count * r->size;
	char *mine = crew__malloc(bytes + (count / 2 + 1) * r->size);
	if (!mine)
		return -ENOMEM;
	memcpy(mine, r->from + r->begin * r->size, bytes);
	sort(mine, count, r->size, r->compare, mine + bytes);
	memcpy(r->to + r->begin * r->size, mine, bytes);
	free(mine);
	return 0;
}

static int run_round(const void *argument, void *result, void *context)
{
	const struct round *r = argument;
	(void)result;
	(void)context;
	if (r->width == 0)
		return sort_chunk(r);
	size_t left = r->begin / (2 * r->width) * (2 * r->width), rest = r->count - left;
	size_t m = rest < r->width ? rest : r->width, n = rest - m < r->width ? rest - m : r->width;
	const char *a = r->from + left * r->size, *b = a + m * r->size;
	size_t k = r->begin - left, k_end = r->end - left;
	size_t i = co_rank(k, a, m, b, n, r->size, r->compare), i_end = co_rank(k_end, a, m, b, n, r->size, r->compare);
	merge(r->to + r->begin * r->size, a + i * r->size, a + i_end * r->size, b + (k - i) * r->size, b + (k_end - i_end) * r->size,
			r->size, r->compare);
	return 0;
}

static void make(struct crew__grid *grid, size_t i, struct crew__piece *ret)
{
	struct sort_grid *g = (struct sort_grid *)grid;
	g->round.begin = crew__cut_begin(&g->cut, i);
	g->round.end = crew__cut_end(&g->cut, i);
	ret->task = (struct crew_task){ .function = run_round, .argument = &g->round, .argument_size = sizeof g->round, .index = i };
}

static size_t default_length(size_t count)
{
	unsigned rounds = 1;
	if (count <= ALONE)
		return count ? count : 1;
	while (rounds < MOST_ROUNDS && count >> rounds > CHUNK)
		rounds += 2;
	return (count - 1) / ((size_t)1 << rounds) + 1;
}

static int alone(void *base, size_t count, size_t size, compare_fn *compare)
{
	char *spare = crew__malloc((count / 2 + 1) * size);
	if (!spare)
		return -ENOMEM;
	sort(base, count, size, compare, spare);
	free(spare);
	return 0;
}

/* base, other: within the workers' reach. *ret: the one that holds the result. */
static int rounds(struct crew_pool *pool, struct sort_grid *g, void *base, void *other, void **ret,
		const struct crew_range_options *options)
{
	int r = 0;
	for (size_t width = 0; r == 0 && width < g->round.count; width = width ? 2 * width : g->cut.length) {
		g->round.width = width;
		g->round.from = base;
		g->round.to = other;
		g->grid = (struct crew__grid){ .count = g->cut.count, .make = make };
		r = crew__parallel_run(pool, &g->grid, options);
		*ret = other;
		other = base;
		base = *ret;
	}
	return r;
}

int crew_sort(struct crew_pool *pool, void *base, size_t count, size_t size, int (*compare)(const void *, const void *),
		const struct crew_range_options *options)
{
	size_t bytes;
	if (!pool || !compare || !size || (count && !base) || __builtin_mul_overflow(count, size, &bytes))
		return -EINVAL;
	size_t length = options && options->grain ? options->grain : default_length(count);
	if (count <= length)
		return alone(base, count, size, compare);
	struct sort_grid g = { .cut = crew__cut(0, count, length),
		.round = { .count = count, .size = size, .compare = compare } };
	void *reached = base, *copy = NULL, *other = NULL, *sorted = NULL;
	int r = 0;
	if (!crew__reaches(pool, base, bytes)) {
		r = crew_alloc(bytes, &copy);
		if (r == 0)
			reached = memcpy(copy, base, bytes);
	}
	if (r == 0)
		r = crew_alloc(bytes, &other);
	if (r == 0)
		r = rounds(pool, &g, reached, other, &sorted, options);
	if (r == 0 && sorted != base)
		memcpy(base, sorted, bytes);
	crew_free(other);
	crew_free(copy);
	return r;
}
