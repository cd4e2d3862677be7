/* stats.c - see stats.h */
#include "stats.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

double stats_clock(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double stats_percentile(double *values, size_t count, double p)
{
	if (!count)
		return NAN;
	qsort(values, count, sizeof *values, ascending);
	double place = p / 100 * (double)(count - 1);
	size_t below = (size_t)place;
	if (below + 1 >= count)
		return values[count - 1];
	return values[below] + (place - (double)below) * (values[below + 1] - values[below]);
}

double stats_median(double *values, size_t count)
{
	return stats_percentile(values, count, 50);
}

double stats_ratio(const double *ours, const double *rival, size_t count)
{
	double *ratios = calloc(count + 1, sizeof *ratios);
	if (!ratios)
		return NAN;
	for (size_t i = 0; i < count; i++)
		ratios[i] = rival[i] / ours[i];
	double median = stats_median(ratios, count);
	free(ratios);
	return median;
}
