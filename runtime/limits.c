/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/limits.h"

enum { THOUSANDTHS = 1000, COUNT_MAX = 0xffff };

void limits_init(
	struct limits *limits, uint32_t sessions_max, uint32_t rate, uint32_t burst, uint64_t seed)
{
	MUST(rate <= LIMITS_RATE_MAX && burst <= LIMITS_RATE_MAX);
	memset(limits, 0, sizeof(*limits));
	limits->seed = seed;
	limits->sessions_max = sessions_max;
	limits->rate = rate;
	limits->burst = burst ? burst : 1;
}

/* IPv4 as ::ffff:a.b.c.d (so that it is never all zero), IPv6 as its /64. */
static void key_of(const struct net_addr *peer, uint8_t key[16])
{
	memset(key, 0, 16);
	if (peer->family == 4) {
		key[10] = key[11] = 0xff;
		memcpy(key + 12, peer->ip, 4);
	} else {
		memcpy(key, peer->ip, 8);
		key[15] = 1; /* ::/64, loopback's, must not look free */
	}
}

/* Mixes by multiplication and shift (the finaliser of MurmurHash3, a well-known mixer), twice with
 * the seed: enough against somebody who chooses addresses but sees no result. */
static uint64_t hash_of(const struct limits *limits, const uint8_t key[16])
{
	uint64_t word[2], hash = limits->seed;

	memcpy(word, key, sizeof(word));
	for (int i = 0; i < 2; i++) {
		hash ^= word[i];
		hash ^= hash >> 33;
		hash *= UINT64_C(0xff51afd7ed558ccd);
		hash ^= hash >> 33;
		hash *= UINT64_C(0xc4ceb9fe1a85ec53);
		hash ^= hash >> 33;
		hash += limits->seed;
	}
	return hash;
}

static uint32_t bucket_of(uint64_t hash)
{
	return (uint32_t)(hash % LIMITS_BUCKETS);
}

/* ---- the node ---------------------------------------------------------------------------------- */

/* The upper 48 bits, above the count; never 0, which is a place without sessions. */
static uint64_t fingerprint_of(uint64_t hash)
{
	return (hash & ~(uint64_t)COUNT_MAX) | (uint64_t)1 << 63;
}

void limits_join(struct limits *limits, struct limits_shares *workers,
	const _Atomic uint32_t *worker_count, uint32_t own, enum limits_kind kind, uint64_t seed)
{
	MUST(own < LIMITS_WORKERS_MAX && (unsigned)kind < LIMITS_KIND_COUNT);
	limits->workers = workers;
	limits->worker_count = worker_count;
	limits->own = own;
	limits->kind = kind;
	limits->seed = seed;
	for (int bucket = 0; bucket < LIMITS_BUCKETS; bucket++)
		for (int way = 0; way < LIMITS_WAYS; way++)
			atomic_store_explicit(&workers[own].kind[kind].cells[bucket][way], 0,
				memory_order_relaxed);
}

/* After each change of an entry's sessions. */
static void show(const struct limits *limits, const struct limits_entry *entry)
{
	size_t place = (size_t)(entry - &limits->entries[0][0]);
	uint64_t count = entry->sessions < COUNT_MAX ? entry->sessions : COUNT_MAX;

	if (!limits->workers)
		return;
	atomic_store_explicit(&limits->workers[limits->own]
				       .kind[limits->kind]
				       .cells[place / LIMITS_WAYS][place % LIMITS_WAYS],
		count ? fingerprint_of(hash_of(limits, entry->key)) | count : 0,
		memory_order_relaxed);
}

static uint32_t sessions_elsewhere(const struct limits *limits, const struct limits_entry *entry)
{
	uint64_t hash = hash_of(limits, entry->key), fingerprint = fingerprint_of(hash);
	uint32_t sessions = 0, count = 0;

	if (limits->workers)
		count = atomic_load_explicit(limits->worker_count, memory_order_relaxed);
	for (uint32_t i = 0; i < count && i < LIMITS_WORKERS_MAX; i++) {
		_Atomic uint64_t *cells =
			limits->workers[i].kind[limits->kind].cells[bucket_of(hash)];

		for (int way = 0; i != limits->own && way < LIMITS_WAYS; way++) {
			uint64_t cell = atomic_load_explicit(&cells[way], memory_order_relaxed);

			if ((cell & ~(uint64_t)COUNT_MAX) == fingerprint)
				sessions += (uint32_t)(cell & COUNT_MAX);
		}
	}
	return sessions;
}

/* ---- one worker -------------------------------------------------------------------------------- */

/* The address's entry; a new one when it has none; NULL when there is no place. */
static struct limits_entry *find(struct limits *limits, const struct net_addr *peer, int64_t now_us)
{
	static const uint8_t free_key[16];
	struct limits_entry *victim = NULL;
	uint8_t key[16];

	key_of(peer, key);
	struct limits_entry *bucket = limits->entries[bucket_of(hash_of(limits, key))];
	for (int i = 0; i < LIMITS_WAYS; i++) {
		if (!memcmp(bucket[i].key, key, sizeof(key))) {
			bucket[i].used_us = now_us;
			return &bucket[i];
		}
		if (!bucket[i].sessions && (!victim || bucket[i].used_us < victim->used_us))
			victim = &bucket[i];
	}
	if (!victim) {
		limits->untracked++;
		return NULL;
	}
	limits->evicted += memcmp(victim->key, free_key, sizeof(free_key)) != 0;
	*victim = (struct limits_entry){.filled_us = now_us,
		.used_us = now_us,
		.allowance = limits->burst * THOUSANDTHS,
		.generation = victim->generation + 1};
	memcpy(victim->key, key, sizeof(key));
	return victim;
}

static void refill(const struct limits *limits, struct limits_entry *entry, int64_t now_us)
{
	uint32_t full = limits->burst * THOUSANDTHS;
	int64_t passed_us = now_us > entry->filled_us ? now_us - entry->filled_us : 0;
	/* a thousandth of a request takes 1000/rate microseconds */
	int64_t earned =
		passed_us > INT64_C(1000000000000) ? full : passed_us * limits->rate / 1000;

	/* only what was earned is booked: the fraction goes on growing */
	entry->filled_us =
		earned >= full ? now_us : entry->filled_us + earned * 1000 / limits->rate;
	entry->allowance = earned >= (int64_t)full - entry->allowance
				   ? full
				   : entry->allowance + (uint32_t)earned;
}

enum err limits_request(
	struct limits *limits, const struct net_addr *peer, int64_t now_us, int64_t *wait_us)
{
	struct limits_entry *entry = limits->rate ? find(limits, peer, now_us) : NULL;

	*wait_us = 0;
	if (!entry)
		return ERR_OK;
	refill(limits, entry, now_us);
	if (entry->allowance >= THOUSANDTHS) {
		entry->allowance -= THOUSANDTHS;
		return ERR_OK;
	}
	*wait_us = (int64_t)(THOUSANDTHS - entry->allowance) * 1000 / limits->rate + 1;
	limits->refused_rate++;
	return ERR_LIMIT;
}

enum err limits_session_open(struct limits *limits, const struct net_addr *peer, int64_t now_us,
	struct limits_ticket *ticket)
{
	struct limits_entry *entry = limits->sessions_max ? find(limits, peer, now_us) : NULL;

	*ticket = (struct limits_ticket){0};
	if (!entry)
		return ERR_OK;
	if (entry->sessions + sessions_elsewhere(limits, entry) >= limits->sessions_max) {
		limits->refused_sessions++;
		return ERR_LIMIT;
	}
	entry->sessions++;
	show(limits, entry);
	ticket->place = (uint32_t)(entry - &limits->entries[0][0]) + 1;
	ticket->generation = entry->generation;
	return ERR_OK;
}

void limits_session_close(struct limits *limits, const struct limits_ticket *ticket)
{
	uint32_t index = ticket->place - 1;

	if (!ticket->place || index >= LIMITS_BUCKETS * LIMITS_WAYS)
		return;
	struct limits_entry *entry = &limits->entries[index / LIMITS_WAYS][index % LIMITS_WAYS];
	if (entry->generation != ticket->generation || !entry->sessions)
		return;
	entry->sessions--;
	show(limits, entry);
}
