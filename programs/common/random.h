/*
 * random.h - random numbers that depend on (seed, task) alone
 *
 *     struct rng rng = rng_of(cli.seed, task_index);
 *     uint64_t account = rng_below(&rng, accounts);
 *
 * A task draws from its own stream, so the answer is the same for any number of
 * workers, in any order, and after a re-run. The generator is xoshiro256** by
 * Blackman and Vigna, its state filled by splitmix64 as they advise. Not for secrets.
 */
#ifndef RANDOM_H
#define RANDOM_H

#include <stdint.h>

struct rng {
	uint64_t s[4];
};

/* The finaliser of splitmix64: a bijection that scatters neighbouring numbers. */
static inline uint64_t rng_mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* The stream of one task. Mixing the seed first keeps (1, 2) and (2, 1) apart. */
static inline struct rng rng_of(uint64_t seed, uint64_t task)
{
	const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
	uint64_t x = rng_mix(seed + golden) ^ task;
	struct rng rng;
	for (int i = 0; i < 4; i++)
		rng.s[i] = rng_mix(x += golden);
	return rng;
}

static inline uint64_t rng_rotate(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}

/* 64 random bits. */
static inline uint64_t rng_next(struct rng *rng)
{
	uint64_t *s = rng->s, result = rng_rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rng_rotate(s[3], 45);
	return result;
}

/*
 * Uniform in [0, n), n > 0, without bias: the high half of a 128-bit product,
 * drawn again while the low half falls into the 2^64 mod n values that are one
 * too many (Lemire 2019). The division is needed only when that is possible.
 */
static inline uint64_t rng_below(struct rng *rng, uint64_t n)
{
	unsigned __int128 product = (unsigned __int128)rng_next(rng) * n;
	if ((uint64_t)product < n) {
		uint64_t surplus = -n % n;
		while ((uint64_t)product < surplus)
			product = (unsigned __int128)rng_next(rng) * n;
	}
	return (uint64_t)(product >> 64);
}

/* Uniform in [0, 1), 53 bits. */
static inline double rng_real(struct rng *rng)
{
	return (double)(rng_next(rng) >> 11) * 0x1p-53;
}

#endif
