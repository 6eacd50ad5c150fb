/* SPDX-License-Identifier: Apache-2.0
 *
 * xoshiro256** and splitmix64.
 */
#include "schemas/random.h"

#include <string.h>

static uint64_t rotate_left(uint64_t value, int bits)
{
	return value << bits | value >> (64 - bits);
}

static uint64_t splitmix64(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

struct rng rng_of(uint64_t seed)
{
	struct rng rng;

	for (int i = 0; i < 4; i++)
		rng.state[i] = splitmix64(&seed);
	return rng;
}

uint64_t rng_u64(struct rng *rng)
{
	uint64_t *s = rng->state;
	uint64_t result = rotate_left(s[1] * 5, 7) * 9;
	uint64_t shifted = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= shifted;
	s[3] = rotate_left(s[3], 45);
	return result;
}

uint64_t rng_below(struct rng *rng, uint64_t n)
{
	if (n == 0)
		return 0;
	/* draws below 2^64 mod n would make the low results likelier: throw them away */
	uint64_t uneven = -n % n;
	uint64_t draw;
	do
		draw = rng_u64(rng);
	while (draw < uneven);
	return draw % n;
}

int64_t rng_between(struct rng *rng, int64_t low, int64_t high)
{
	if (high < low)
		return low;
	uint64_t span = (uint64_t)high - (uint64_t)low + 1;
	uint64_t step = span ? rng_below(rng, span) : rng_u64(rng);
	return (int64_t)((uint64_t)low + step);
}

bool rng_chance_ppm(struct rng *rng, uint32_t ppm)
{
	return rng_below(rng, 1000000) < ppm;
}

void rng_fill(struct rng *rng, void *bytes, size_t size)
{
	uint8_t *at = bytes;

	while (size) {
		uint64_t draw = rng_u64(rng);
		size_t part = size < sizeof(draw) ? size : sizeof(draw);

		memcpy(at, &draw, part);
		at += part;
		size -= part;
	}
}

struct rng rng_fork(struct rng *rng)
{
	return rng_of(rng_u64(rng));
}
