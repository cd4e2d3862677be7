/* histogram.c - see histogram.h; buckets as in HdrHistogram (G. Tene): exponent, then the leading bits */
#include "histogram.h"

#include <math.h>

#define BITS 4 /* of the mantissa */

static unsigned bucket_of(uint64_t ns)
{
	unsigned exponent = 63 - (unsigned)__builtin_clzll(ns | 1);
	unsigned bucket = exponent < BITS ? (unsigned)ns
		: ((exponent - BITS + 1) << BITS) + (unsigned)(ns >> (exponent - BITS) & ((1u << BITS) - 1));
	return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static double middle_of(unsigned bucket)
{
	if (bucket < 1u << BITS)
		return bucket;
	double width = ldexp(1, (int)(bucket >> BITS) - 1);
	return ((1u << BITS) + (bucket & ((1u << BITS) - 1)) + 0.5) * width;
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
	uint32_t *count = &histogram->count[bucket_of(ns)];
	__atomic_store_n(count, *count + 1, __ATOMIC_RELAXED);
}

void histogram_merge(struct histogram *histogram, const struct histogram *other)
{
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		histogram->count[i] += __atomic_load_n(&other->count[i], __ATOMIC_RELAXED);
}

double histogram_percentile(const struct histogram *histogram, double p)
{
	uint64_t all = 0, seen = 0;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		all += histogram->count[i];
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->count[i];
		if (seen && (double)seen >= p / 100 * (double)all)
			return middle_of(i);
	}
	return NAN;
}
