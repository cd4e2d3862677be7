/*
 * zipf.c - see zipf.h
 *
 * h(x) = x^-skew is the weight drawn as a curve, H its integral from 1. Points u
 * under H are uniform; x = H^-1(u) lies in the bar of rank k = round(x). Bars are
 * a little higher than the curve is wide there, so some u are drawn again; those
 * near the left edge of a bar (`shortcut`) need no test.
 */
#include "zipf.h"

#include <math.h>

/* (e^x - 1) / x and log(1 + x) / x, continued through x = 0, where skew is 1. */
static double expm1_over(double x)
{
	return fabs(x) > 1e-8 ? expm1(x) / x : 1 + x / 2;
}

static double log1p_over(double x)
{
	return fabs(x) > 1e-8 ? log1p(x) / x : 1 - x / 2;
}

static double weight(double skew, double x)
{
	return exp(-skew * log(x));
}

static double integral(double skew, double x)
{
	return expm1_over((1 - skew) * log(x)) * log(x);
}

static double inverse(double skew, double y)
{
	double t = y * (1 - skew);
	if (t < -1)
		t = -1; /* only by rounding */
	return exp(log1p_over(t) * y);
}

struct zipf zipf_of(uint64_t n, double skew)
{
	return (struct zipf){
		.n = n,
		.skew = skew,
		.low = integral(skew, 1.5) - 1,
		.high = integral(skew, (double)n + 0.5),
		.shortcut = 2 - inverse(skew, integral(skew, 2.5) - weight(skew, 2)),
	};
}

uint64_t zipf_next(const struct zipf *zipf, struct rng *rng)
{
	for (;;) {
		double u = zipf->high + rng_real(rng) * (zipf->low - zipf->high);
		double x = inverse(zipf->skew, u);
		double k = floor(x + 0.5);
		if (!(k >= 1))
			k = 1;
		if (k > (double)zipf->n)
			k = (double)zipf->n;
		if (k - x <= zipf->shortcut || u >= integral(zipf->skew, k + 0.5) - weight(zipf->skew, k))
			return (uint64_t)k - 1;
	}
}
