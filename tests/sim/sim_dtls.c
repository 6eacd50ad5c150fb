/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: DTLS as the shipped sessions see it (actors/webrtc/dtls.h, certificate.h), in place of
 * OpenSSL's: four flights of two datagrams each, with the real one's retransmission, alerts and
 * failures, but without its randomness and sizes that differ from run to run.
 *
 *   client  1 hello -->          <-- 2 hello          3 finish -->          <-- 4 finished
 *           random                   random, identity   identity, proof         proof
 *
 * A side sends its flight again when its timer says so, or when the other's last one comes again.
 * The keys come from both randoms; those from the side's identity, a count and the time. A
 * certificate is nothing but its fingerprint, made of the time it was made at.
 *
 * The proof stands for all that makes the real handshake safe: who has both randoms can make it.
 */
#include "schemas/random.h"
#include "tests/sim/sim_rtc.h"

#include <stdlib.h>
#include <string.h>

enum {
	RECORD_HANDSHAKE = 22, /* first byte, so that the port takes it for DTLS (RFC 7983) */
	RECORD_ALERT = 21,
	RANDOM_SIZE = 16,
	FRAGMENTS = 2,
	FLIGHT_HELLO = 1, /* odd ones are the client's */
	FLIGHT_HELLO_BACK = 2,
	FLIGHT_FINISH = 3,
	FLIGHT_FINISHED = 4,
	FLIGHT_ALERT = 5,
};

enum label { LABEL_CLIENT, LABEL_SERVER, LABEL_PROFILE, LABEL_PROOF };

/* What a flight says, cut into FRAGMENTS equal parts on its way. */
struct message {
	uint8_t random[RANDOM_SIZE];
	uint8_t identity[FINGERPRINT_BYTES_MAX];
	uint64_t proof;
};

_Static_assert(sizeof(struct message) % FRAGMENTS == 0, "equal parts");

struct record {
	uint8_t type, flight, fragment;
	uint8_t bytes[sizeof(struct message) / FRAGMENTS];
};

/* The types that dtls.h only names: here they are ours. */
struct ssl_ctx_st {
	struct fingerprint identity;
	uint64_t sessions;
};

struct ssl_st {
	struct fingerprint identity;
	uint8_t random[RANDOM_SIZE];
	uint8_t expected;  /* the peer's flight that is being waited for */
	uint8_t last;	   /* ours that was sent last; 0 = none */
	uint8_t fragments; /* bits of `expected` that are here */
	struct message peer;
	int64_t interval_us;
	int64_t again_us;
};

struct dtls_flight {
	uint32_t first, count; /* a ring */
	struct record records[DTLS_FLIGHT_MAX];
};

/* ---- numbers ----------------------------------------------------------------------------------- */

static uint64_t hash(uint64_t seed, const void *bytes_, size_t size)
{
	const uint8_t *bytes = bytes_;

	for (size_t i = 0; i < size; i++)
		seed = (seed ^ bytes[i]) * UINT64_C(0x100000001b3);
	return seed ^ seed >> 32;
}

/* The same on both sides, once both randoms are known. */
static struct rng shared(const struct dtls *dtls, enum label label)
{
	const struct ssl_st *ssl = dtls->ssl;
	bool client = dtls->role == DTLS_CLIENT;
	uint64_t seed = hash(label, client ? ssl->random : ssl->peer.random, RANDOM_SIZE);

	return rng_of(hash(seed, client ? ssl->peer.random : ssl->random, RANDOM_SIZE));
}

static uint64_t proof(const struct dtls *dtls)
{
	struct rng rng = shared(dtls, LABEL_PROOF);

	return rng_u64(&rng);
}

uint16_t sim_dtls_profile(const struct dtls *dtls)
{
	struct rng rng;

	if (!dtls->ssl)
		return SEAL_NONE;
	rng = shared(dtls, LABEL_PROFILE);
	return rng_below(&rng, 3) ? SEAL_AEAD_AES_128_GCM : SEAL_AES128_CM_SHA1_80;
}

static void make_keys(const struct dtls *dtls, struct seal_keys *keys, bool client)
{
	struct rng rng = shared(dtls, client ? LABEL_CLIENT : LABEL_SERVER);

	*keys = (struct seal_keys){.profile = sim_dtls_profile(dtls)};
	rng_fill(&rng, keys->key, seal_key_size(keys->profile));
	rng_fill(&rng, keys->salt, seal_salt_size(keys->profile));
}

/* ---- certificates ------------------------------------------------------------------------------ */

enum err certificate_create(struct certificate *certificate, int64_t unix_s)
{
	struct rng rng = rng_of((uint64_t)unix_s);

	*certificate = (struct certificate){.expires_s = INT64_MAX};
	certificate->fingerprint.hash = CERTIFICATE_SHA_256;
	rng_fill(&rng, certificate->fingerprint.bytes, 32);
	return ERR_OK;
}

enum err certificate_load(
	struct certificate *certificate, const char *directory, int64_t unix_s, char *problem)
{
	(void)directory;
	problem[0] = 0;
	return certificate_create(certificate, unix_s);
}

bool certificate_is_due(const struct certificate *certificate, int64_t unix_s)
{
	return certificate->expires_s <= unix_s;
}

void certificate_fini(struct certificate *certificate)
{
	if (certificate)
		*certificate = (struct certificate){0};
}

/* ---- context ----------------------------------------------------------------------------------- */

enum err dtls_context_init(struct dtls_context *context, const struct certificate *certificate)
{
	*context = (struct dtls_context){.ssl = calloc(1, sizeof(*context->ssl))};
	MUST(context->ssl);
	context->ssl->identity = certificate->fingerprint;
	return ERR_OK;
}

void dtls_context_fini(struct dtls_context *context)
{
	if (!context)
		return;
	free(context->ssl);
	*context = (struct dtls_context){0};
}

/* ---- out --------------------------------------------------------------------------------------- */

static void queue(struct dtls *dtls, const struct record *record)
{
	struct dtls_flight *f = dtls->flight;

	if (!f || f->count == DTLS_FLIGHT_MAX)
		dtls->dropped++;
	else
		f->records[(f->first + f->count++) % DTLS_FLIGHT_MAX] = *record;
}

static void send_flight(struct dtls *dtls, uint8_t flight)
{
	struct ssl_st *ssl = dtls->ssl;
	struct message message = {
		.proof = flight >= FLIGHT_FINISH || ssl->peer.proof ? proof(dtls) : 0};

	memcpy(message.random, ssl->random, RANDOM_SIZE);
	memcpy(message.identity, ssl->identity.bytes, sizeof(message.identity));
	for (uint8_t i = 0; i < FRAGMENTS; i++) {
		struct record record = {
			.type = flight == FLIGHT_ALERT ? RECORD_ALERT : RECORD_HANDSHAKE,
			.flight = flight,
			.fragment = i,
		};

		memcpy(record.bytes, (const uint8_t *)&message + i * sizeof(record.bytes),
			sizeof(record.bytes));
		queue(dtls, &record);
	}
	if (flight != FLIGHT_ALERT)
		ssl->last = flight;
}

static void schedule(struct dtls *dtls)
{
	dtls->deadline_us = DTLS_NEVER;
	if (dtls->phase == DTLS_HANDSHAKING)
		dtls->deadline_us = dtls->ssl->again_us < dtls->give_up_us ? dtls->ssl->again_us
									   : dtls->give_up_us;
}

static void answer(struct dtls *dtls, uint8_t flight, int64_t now_us)
{
	send_flight(dtls, flight);
	dtls->ssl->interval_us = DTLS_RETRANSMIT_MIN_US;
	dtls->ssl->again_us = now_us + DTLS_RETRANSMIT_MIN_US;
	dtls->ssl->expected = flight + 1;
	dtls->ssl->fragments = 0;
}

/* ---- the handshake ----------------------------------------------------------------------------- */

static enum err fail(struct dtls *dtls, enum dtls_phase phase, enum err err)
{
	dtls->phase = (uint8_t)phase;
	dtls->failure = (uint8_t)err;
	dtls->deadline_us = DTLS_NEVER;
	return err;
}

static enum err establish(struct dtls *dtls)
{
	make_keys(dtls, &dtls->send, dtls->role == DTLS_CLIENT);
	make_keys(dtls, &dtls->receive, dtls->role == DTLS_SERVER);
	dtls->phase = DTLS_ESTABLISHED;
	return ERR_OK;
}

static enum err check_peer(struct dtls *dtls, bool with_proof)
{
	enum err err = ERR_OK;

	if (memcmp(dtls->ssl->peer.identity, dtls->expected.bytes, FINGERPRINT_BYTES_MAX))
		err = ERR_AUTH;
	else if (with_proof && dtls->ssl->peer.proof != proof(dtls))
		err = ERR_CRYPTO;
	if (!err)
		return ERR_OK;
	send_flight(dtls, FLIGHT_ALERT);
	return fail(dtls, DTLS_FAILED, err);
}

/* The flight that was expected is whole. */
static enum err take_flight(struct dtls *dtls, int64_t now_us)
{
	enum err err;

	switch (dtls->ssl->expected) {
	case FLIGHT_HELLO: answer(dtls, FLIGHT_HELLO_BACK, now_us); return ERR_OK;
	case FLIGHT_HELLO_BACK:
		err = check_peer(dtls, false);
		if (!err)
			answer(dtls, FLIGHT_FINISH, now_us);
		return err;
	case FLIGHT_FINISH:
		err = check_peer(dtls, true);
		if (err)
			return err;
		answer(dtls, FLIGHT_FINISHED, now_us);
		return establish(dtls);
	default: err = check_peer(dtls, true); return err ? err : establish(dtls);
	}
}

/* Told by the peer; once both randoms are known, only with its proof. */
static enum err take_alert(struct dtls *dtls, const struct record *record)
{
	struct message message = {0};

	memcpy((uint8_t *)&message + record->fragment * sizeof(record->bytes), record->bytes,
		sizeof(record->bytes));
	if (record->fragment != FRAGMENTS - 1 ||
		(dtls->phase == DTLS_ESTABLISHED && message.proof != proof(dtls)))
		return ERR_OK;
	return fail(dtls, DTLS_CLOSED, ERR_CLOSED);
}

static enum err take_record(struct dtls *dtls, const struct record *record, int64_t now_us)
{
	struct ssl_st *ssl = dtls->ssl;

	if (record->type == RECORD_ALERT)
		return take_alert(dtls, record);
	if (record->flight + 2 == ssl->expected && ssl->last && record->fragment == FRAGMENTS - 1)
		send_flight(dtls, ssl->last); /* the peer says again what we have answered */
	if (record->flight != ssl->expected || dtls->phase != DTLS_HANDSHAKING)
		return ERR_OK;
	memcpy((uint8_t *)&ssl->peer + record->fragment * sizeof(record->bytes), record->bytes,
		sizeof(record->bytes));
	ssl->fragments |= (uint8_t)(1u << record->fragment);
	return ssl->fragments == (1u << FRAGMENTS) - 1 ? take_flight(dtls, now_us) : ERR_OK;
}

enum err dtls_init(struct dtls *dtls, const struct dtls_context *context, enum dtls_role role,
	const struct fingerprint *expected, int64_t now_us)
{
	struct ssl_ctx_st *shared_by_all = context->ssl;
	struct rng rng;

	*dtls = (struct dtls){.role = (uint8_t)role,
		.expected = *expected,
		.deadline_us = DTLS_NEVER,
		.give_up_us = now_us + DTLS_HANDSHAKE_MAX_US};
	if (expected->hash == CERTIFICATE_HASH_NONE) {
		dtls_fini(dtls);
		return ERR_FORMAT;
	}
	dtls->ssl = calloc(1, sizeof(*dtls->ssl));
	dtls->flight = calloc(1, sizeof(*dtls->flight));
	MUST(dtls->ssl && dtls->flight);
	dtls->ssl->identity = shared_by_all->identity;
	rng = rng_of(hash(++shared_by_all->sessions ^ (uint64_t)now_us << 16,
		shared_by_all->identity.bytes, FINGERPRINT_BYTES_MAX));
	rng_fill(&rng, dtls->ssl->random, RANDOM_SIZE);
	dtls->ssl->again_us = DTLS_NEVER;
	dtls->ssl->expected = FLIGHT_HELLO;
	if (role == DTLS_CLIENT)
		answer(dtls, FLIGHT_HELLO, now_us);
	schedule(dtls);
	return ERR_OK;
}

void dtls_fini(struct dtls *dtls)
{
	if (!dtls)
		return;
	free(dtls->ssl);
	free(dtls->flight);
	*dtls = (struct dtls){.phase = DTLS_CLOSED, .deadline_us = DTLS_NEVER};
}

static bool is_over(const struct dtls *dtls)
{
	return !dtls->ssl || dtls->phase >= DTLS_FAILED;
}

static enum err verdict(const struct dtls *dtls)
{
	return dtls->ssl ? (enum err)dtls->failure : ERR_PHASE;
}

enum err dtls_input(struct dtls *dtls, const uint8_t *bytes, size_t size, int64_t now_us)
{
	struct record record;
	enum err err = ERR_OK;

	if (is_over(dtls))
		return verdict(dtls);
	dtls->datagrams_in++;
	if (dtls->phase == DTLS_HANDSHAKING && now_us >= dtls->give_up_us)
		return fail(dtls, DTLS_FAILED, ERR_TIMEOUT);
	if (dtls->phase == DTLS_HANDSHAKING && dtls->datagrams_in > DTLS_DATAGRAMS_MAX)
		return fail(dtls, DTLS_FAILED, ERR_LIMIT);
	if (size == sizeof(record)) {
		memcpy(&record, bytes, sizeof(record));
		if (record.fragment < FRAGMENTS &&
			(record.type == RECORD_ALERT || record.type == RECORD_HANDSHAKE))
			err = take_record(dtls, &record, now_us);
	}
	schedule(dtls);
	return err;
}

size_t dtls_output(struct dtls *dtls, uint8_t *buffer, size_t capacity)
{
	struct dtls_flight *f = dtls->flight;

	if (!f || !f->count)
		return 0;
	MUST(sizeof(struct record) <= capacity);
	memcpy(buffer, &f->records[f->first], sizeof(struct record));
	f->first = (f->first + 1) % DTLS_FLIGHT_MAX;
	f->count--;
	dtls->datagrams_out++;
	return sizeof(struct record);
}

int64_t dtls_deadline(const struct dtls *dtls)
{
	return dtls->deadline_us;
}

enum err dtls_on_timer(struct dtls *dtls, int64_t now_us)
{
	if (is_over(dtls))
		return verdict(dtls);
	if (dtls->phase == DTLS_HANDSHAKING && now_us >= dtls->give_up_us)
		return fail(dtls, DTLS_FAILED, ERR_TIMEOUT);
	if (now_us < dtls->deadline_us)
		return ERR_OK;
	send_flight(dtls, dtls->ssl->last);
	dtls->retransmits++;
	if (dtls->ssl->interval_us < DTLS_RETRANSMIT_MAX_US / 2)
		dtls->ssl->interval_us *= 2;
	dtls->ssl->again_us = now_us + dtls->ssl->interval_us;
	schedule(dtls);
	return ERR_OK;
}

void dtls_close(struct dtls *dtls)
{
	if (is_over(dtls))
		return;
	send_flight(dtls, FLIGHT_ALERT);
	fail(dtls, DTLS_CLOSED, ERR_CLOSED);
}
