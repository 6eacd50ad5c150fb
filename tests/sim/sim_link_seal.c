/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: the shipped sealing of links, which also tells by which key a datagram was sealed: whether a
 * nonce is used twice can only be said of a key. It stands before the links' own (as sim_codec.c does
 * before its actors').
 */
#include "tests/sim/sim.h"

#define link_seal_batch shipped_seal_batch
#include "actors/link/link_seal.c"
#undef link_seal_batch

enum { LAST_MAX = 64 };

/* What was sealed last, by whom; of the program, as one process runs at a time, and sends at once what it
 * has sealed. */
static const uint8_t *last[LAST_MAX];
static size_t last_count;
static uint64_t last_key;

enum err link_seal_batch(struct link_seal *seal, struct link_sealing *datagrams, size_t count);

enum err link_seal_batch(struct link_seal *seal, struct link_sealing *datagrams, size_t count)
{
	MUST(count <= LAST_MAX);
	memcpy(&last_key, seal->salt, sizeof(last_key)); /* each key comes with a salt of its own */
	for (last_count = 0; last_count < count; last_count++)
		last[last_count] = datagrams[last_count].bytes;
	return shipped_seal_batch(seal, datagrams, count);
}

bool sim_link_key(const void *datagram, uint64_t *key)
{
	*key = last_key;
	for (size_t i = 0; i < last_count; i++)
		if (last[i] == datagram)
			return true;
	return false;
}
