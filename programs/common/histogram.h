/*
 * histogram.h - how often which duration: fixed size, good in shared memory, zero is empty
 *
 * Sixteen buckets for each doubling, so a percentile is right to 6 %. One writer; others may read at any time.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS 640

struct histogram {
	uint32_t count[HISTOGRAM_BUCKETS];
};

/* One more of that many ns (beyond 2^43: as 2^43). */
void histogram_add(struct histogram *histogram, uint64_t ns);

/* All that `other` counts, too. */
void histogram_merge(struct histogram *histogram, const struct histogram *other);

/* The p-th percentile (0...100), ns; NaN if it is empty. */
double histogram_percentile(const struct histogram *histogram, double p);

#endif
