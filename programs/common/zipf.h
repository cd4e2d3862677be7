/*
 * zipf.h - ranks with Zipf's law: rank k of n comes with probability proportional to k^-skew
 *
 * By rejection-inversion (W. Hörmann, G. Derflinger: Rejection-inversion to
 * generate variates from monotone discrete distributions, ACM TOMACS 6(3), 1996):
 * constant time per draw and no table, whatever n.
 */
#ifndef ZIPF_H
#define ZIPF_H

#include "random.h"

struct zipf {
	uint64_t n;
	double skew, low, high, shortcut;
};

/* n ≥ 1, skew ≥ 0; skew 0 is uniform. */
struct zipf zipf_of(uint64_t n, double skew);

/* A rank from 0 (the most frequent) to n - 1. */
uint64_t zipf_next(const struct zipf *zipf, struct rng *rng);

#endif
