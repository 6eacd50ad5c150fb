/* SPDX-License-Identifier: Apache-2.0
 *
 * Repeatable pseudo-random numbers for the simulator and the tests: xoshiro256** (Blackman and
 * Vigna, "Scrambled Linear Pseudorandom Number Generators", 2021), its state filled by splitmix64.
 * The same seed gives the same numbers on every machine. Never for keys, tokens or passwords.
 *
 * Thread: one at a time per struct rng. No allocation. Plain data: may be copied and stored.
 */
#ifndef MILLRACE_RANDOM_H
#define MILLRACE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rng {
	uint64_t state[4]; /* never all zero once seeded */
};

/* Any seed is a good seed, zero included. */
struct rng rng_of(uint64_t seed);

/* All 64 bits uniform. */
uint64_t rng_u64(struct rng *rng);

/* Uniform in 0 .. n-1, without bias; 0 when n is 0. */
uint64_t rng_below(struct rng *rng, uint64_t n);

/* Uniform in low .. high, both included; low when high < low. */
int64_t rng_between(struct rng *rng, int64_t low, int64_t high);

/* True in `ppm` of a million draws; draws always, so a changed rate does not shift the rest. */
bool rng_chance_ppm(struct rng *rng, uint32_t ppm);

void rng_fill(struct rng *rng, void *bytes, size_t size);

/* A generator of its own for a part of a run, so that one part's draws do not move another's. */
struct rng rng_fork(struct rng *rng);

#endif
