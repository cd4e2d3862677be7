/*
 * crew/parallel.h - loops, reductions, scans and sorting on a pool
 *
 * The range is cut into chunks; workers take them. Chunks depend on the range and
 * .grain alone and are combined in order, so the answer is the same, bit for bit, for
 * any number of workers and after any number of worker deaths. A chunk whose worker dies is
 * run again: a body must compute what it writes from what it does not write.
 *
 * context: .context_size bytes are copied into shared memory; with size 0 the pointer is
 * passed as it is and must be into shared memory (or used with threads, serially). Combine functions get it too.
 * Errors are those of crew_pool_wait: the first failing chunk by index; reterr may be NULL.
 */
#ifndef CREW_PARALLEL_H
#define CREW_PARALLEL_H

#include <crew/task.h>

CREW_BEGIN

struct crew_range_options {
	size_t grain;          /* elements per chunk. 0: chosen from the length alone */
	const void *context;
	size_t context_size;
	struct crew_failure *failure;
};

/* Run body(begin, end, context) over all chunks of [begin, end). */
typedef int crew_for_fn(size_t begin, size_t end, void *context);
CREW_API CREW_CHECKED int crew_for(struct crew_pool *pool, size_t begin, size_t end, crew_for_fn *body,
		const struct crew_range_options *options);

/*
 * Reduce [begin, end) to one value of `size` bytes. body folds a chunk into *value, which starts as a
 * copy of *identity; combine folds the value of the next chunk into *left, in order of the
 * range, so it need be associative only. ret starts as identity and may be anywhere.
 */
typedef int crew_reduce_fn(size_t begin, size_t end, void *value, void *context);
typedef void crew_combine_fn(void *left, const void *right, void *context);
CREW_API CREW_CHECKED int crew_reduce(struct crew_pool *pool, size_t begin, size_t end,
		const void *identity, size_t size, crew_reduce_fn *body, crew_combine_fn *combine,
		void *ret, const struct crew_range_options *options);

/*
 * Prefix combination: out[i] = in[0] + ... + in[i] (inclusive), or identity + in[0] + ... + in[i-1] (exclusive), for
 * `count` elements of `size` bytes with combine as +. in == out is fine. Arrays outside shared
 * memory are copied in and out. Blelloch, "Prefix sums and their applications" (1990), two passes.
 */
CREW_API CREW_CHECKED int crew_scan(struct crew_pool *pool, const void *in, void *out, size_t count, size_t size,
		const void *identity, crew_combine_fn *combine, bool exclusive,
		const struct crew_range_options *options);

/*
 * Sort `count` elements of `size` bytes in place, stable: equal elements keep their order. compare as in qsort(3).
 * Merge sort with the merges cut by co-ranking (Siebert and Traeff, "Perfectly load-balanced, stable, synchronization-free
 * parallel merge", 2013). Needs as much shared memory again; twice as much if base is not in shared memory.
 * After an error (but -ENOMEM) the order and content of base are undefined. A single chunk is sorted, as crew_scan
 * scans it, by the caller itself.
 */
CREW_API CREW_CHECKED int crew_sort(struct crew_pool *pool, void *base, size_t count, size_t size,
		int (*compare)(const void *, const void *), const struct crew_range_options *options);

CREW_END
#endif
