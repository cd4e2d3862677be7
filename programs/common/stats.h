/* stats.h - the clock of measurements, and what is made of them */
#ifndef STATS_H
#define STATS_H

#include <stddef.h>

/* Seconds on the monotonic clock. */
double stats_clock(void);

/* The p-th percentile (0…100) of count values, linear between neighbours; NaN for none. Sorts them. */
double stats_percentile(double *values, size_t count, double p);

/* The 50th percentile. Sorts the values. */
double stats_median(double *values, size_t count);

/*
 * How many times ours the rival takes: the median of rival[i] / ours[i], where
 * the two were run in turn, so that what the machine did in between hits both.
 * Above 1: ours is faster. NaN for no pair. Changes neither.
 */
double stats_ratio(const double *ours, const double *rival, size_t count);

#endif
