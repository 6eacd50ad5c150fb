/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/limits.h"

enum { COUNT_MAX = 0xffff };

#define TIME_MAX_NS (INT64_MAX / 2)
#define APART_NS    INT64_C(1000000000) /* by which turns of two workers may be, at most */

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
	for (int bucket = 0; kind == LIMITS_HTTP && bucket < LIMITS_BUCKETS; bucket++)
		for (int way = 0; way < LIMITS_WAYS; way++)
			atomic_store(&workers[own].asked[bucket][way].fingerprint, 0);
}

static uint32_t workers_of(const struct limits *limits)
{
	uint32_t count = limits->workers
				 ? atomic_load_explicit(limits->worker_count, memory_order_relaxed)
				 : 0;

	return count < LIMITS_WORKERS_MAX ? count : LIMITS_WORKERS_MAX;
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
	uint32_t sessions = 0, count = workers_of(limits);

	for (uint32_t i = 0; i < count; i++) {
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

/* After each request that was taken. Who reads a place meanwhile that changes hands sees so. */
static void show_asked(const struct limits *limits, const struct limits_entry *entry)
{
	size_t place = (size_t)(entry - &limits->entries[0][0]);
	uint64_t fingerprint = fingerprint_of(hash_of(limits, entry->key));
	struct limits_asked *asked;

	if (!limits->workers || limits->kind != LIMITS_HTTP)
		return;
	asked = &limits->workers[limits->own].asked[place / LIMITS_WAYS][place % LIMITS_WAYS];
	if (atomic_load_explicit(&asked->fingerprint, memory_order_relaxed) != fingerprint) {
		atomic_store(&asked->fingerprint, 0);
		atomic_store(&asked->full_ns, 0);
		atomic_store(&asked->fingerprint, fingerprint);
	}
	atomic_store_explicit(&asked->full_ns, entry->full_ns, memory_order_release);
}

/* The latest that others say; 0 = nothing. What cannot be is not believed. */
static int64_t full_elsewhere_ns(
	const struct limits *limits, const struct limits_entry *entry, int64_t most_ns)
{
	uint64_t hash = hash_of(limits, entry->key), fingerprint = fingerprint_of(hash);
	uint32_t count = limits->kind == LIMITS_HTTP ? workers_of(limits) : 0;
	int64_t latest_ns = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct limits_asked *asked = limits->workers[i].asked[bucket_of(hash)];

		for (int way = 0; i != limits->own && way < LIMITS_WAYS; way++) {
			if (atomic_load(&asked[way].fingerprint) != fingerprint)
				continue;
			int64_t full_ns = atomic_load(&asked[way].full_ns);

			if (atomic_load(&asked[way].fingerprint) != fingerprint)
				continue;
			if (full_ns > latest_ns && full_ns - most_ns <= APART_NS)
				latest_ns = full_ns;
		}
	}
	return latest_ns;
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
	*victim = (struct limits_entry){.used_us = now_us, .generation = victim->generation + 1};
	memcpy(victim->key, key, sizeof(key));
	return victim;
}

/* A bucket of `burst` that fills by one each 1/rate s: each request puts off the time at which it is
 * full, which may be no further away than it takes to fill all of it (the generic cell rate algorithm of
 * ITU-T I.371 in its virtual scheduling form). */
enum err limits_request(
	struct limits *limits, const struct net_addr *peer, int64_t now_us, int64_t *wait_us)
{
	struct limits_entry *entry = limits->rate ? find(limits, peer, now_us) : NULL;

	*wait_us = 0;
	if (!entry)
		return ERR_OK;
	int64_t now_ns = now_us < TIME_MAX_NS / 1000 ? now_us * 1000 : TIME_MAX_NS;
	int64_t step_ns = INT64_C(1000000000) / limits->rate;
	int64_t most_ns = now_ns + limits->burst * step_ns; /* empty; later is nonsense */
	int64_t full_ns = full_elsewhere_ns(limits, entry, most_ns);

	full_ns = full_ns > entry->full_ns ? full_ns : entry->full_ns;
	full_ns = full_ns < most_ns ? full_ns : most_ns;
	full_ns = (full_ns > now_ns ? full_ns : now_ns) + step_ns;
	if (full_ns > most_ns) {
		*wait_us = (full_ns - most_ns) / 1000 + 1;
		limits->refused_rate++;
		return ERR_LIMIT;
	}
	entry->full_ns = full_ns;
	show_asked(limits, entry);
	return ERR_OK;
}

static void count_in(
	struct limits *limits, struct limits_entry *entry, struct limits_ticket *ticket)
{
	entry->sessions++;
	show(limits, entry);
	ticket->place = (uint32_t)(entry - &limits->entries[0][0]) + 1;
	ticket->generation = entry->generation;
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
	count_in(limits, entry, ticket);
	return ERR_OK;
}

void limits_session_keep(struct limits *limits, const struct net_addr *peer, int64_t now_us,
	struct limits_ticket *ticket)
{
	struct limits_entry *entry = limits->sessions_max ? find(limits, peer, now_us) : NULL;

	*ticket = (struct limits_ticket){0};
	if (entry)
		count_in(limits, entry, ticket);
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
