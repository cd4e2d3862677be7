/*
 * hash.c - SipHash: short inputs, under a secret key
 *
 * Source  J.-P. Aumasson, D. J. Bernstein: SipHash: a fast short-input PRF, INDOCRYPT 2012. Words are read in the
 *         machine's order: a hash never leaves it. Maps use SipHash-1-3, as Python and Rust do: whoever does
 *         not know the key cannot choose keys that collide.
 */
#include <string.h>
#include "memory/map.h"

struct state { uint64_t v0, v1, v2, v3; };

static inline uint64_t rotate(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

static inline void rounds(struct state *s, unsigned count)
{
	while (count-- > 0) {
		s->v0 += s->v1; s->v1 = rotate(s->v1, 13) ^ s->v0; s->v0 = rotate(s->v0, 32);
		s->v2 += s->v3; s->v3 = rotate(s->v3, 16) ^ s->v2;
		s->v0 += s->v3; s->v3 = rotate(s->v3, 21) ^ s->v0;
		s->v2 += s->v1; s->v1 = rotate(s->v1, 17) ^ s->v2; s->v2 = rotate(s->v2, 32);
	}
}

static inline void absorb(struct state *s, unsigned c, uint64_t word)
{
	s->v3 ^= word;
	rounds(s, c);
	s->v0 ^= word;
}

uint64_t crew__siphash(unsigned c, unsigned d, const uint64_t key[2], const void *data, size_t size)
{
	struct state s = { key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
		key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573) };
	const unsigned char *bytes = data;
	uint64_t word, last = (uint64_t)size << 56;
	size_t i = 0;
	for (; i + 8 <= size; i += 8) {
		memcpy(&word, bytes + i, 8);
		absorb(&s, c, word);
	}
	for (unsigned shift = 0; i < size; i++, shift += 8)
		last |= (uint64_t)bytes[i] << shift;
	absorb(&s, c, last);
	s.v2 ^= 0xff;
	rounds(&s, d);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
