/* SPDX-License-Identifier: Apache-2.0
 *
 * The DTLS handshake over OpenSSL. See dtls.h.
 *
 * OpenSSL reads and writes through a BIO of our own: a write is a datagram of the flight, a read
 * takes the datagram that dtls_input lends. OpenSSL's memory BIO would join datagrams into a
 * stream.
 */
#include "actors/webrtc/dtls.h"

#include "actors/webrtc/openssl.h"
#include "actors/webrtc/openssl_narrow.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

enum { EXPORTED_MAX = 2 * (SEAL_KEY_MAX + SEAL_SALT_MAX) };

struct dtls_flight {
	uint32_t first, count; /* a ring */
	struct {
		uint16_t size;
		uint8_t bytes[DTLS_DATAGRAM_MAX];
	} datagrams[DTLS_FLIGHT_MAX];
};

/* ---- the BIO ---- */

static int flight_write(BIO *bio, const char *bytes, int size)
{
	struct dtls *dtls = BIO_get_data(bio);
	struct dtls_flight *f = dtls->flight;

	/* What does not fit is lost, which DTLS survives; failing would end the handshake. */
	if (f->count == DTLS_FLIGHT_MAX || size > DTLS_DATAGRAM_MAX) {
		dtls->dropped++;
		return size;
	}
	uint32_t slot = (f->first + f->count++) % DTLS_FLIGHT_MAX;
	f->datagrams[slot].size = (uint16_t)size;
	memcpy(f->datagrams[slot].bytes, bytes, (size_t)size);
	return size;
}

static int flight_read(BIO *bio, char *bytes, int capacity)
{
	struct dtls *dtls = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (!dtls->input) {
		BIO_set_retry_read(bio);
		return -1;
	}
	size_t size = dtls->input_size < (size_t)capacity ? dtls->input_size : (size_t)capacity;
	memcpy(bytes, dtls->input, size);
	dtls->input = NULL; /* the rest of a datagram that is too long is gone, as with recv() */
	return (int)size;
}

static long flight_control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio, (void)number, (void)pointer;
	return command == BIO_CTRL_FLUSH;
}

static int flight_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

static BIO_METHOD *flight_method_create(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "datagrams");

	if (method && BIO_meth_set_write(method, flight_write) == 1 &&
		BIO_meth_set_read(method, flight_read) == 1 &&
		BIO_meth_set_ctrl(method, flight_control) == 1 &&
		BIO_meth_set_create(method, flight_create) == 1)
		return method;
	BIO_meth_free(method);
	return NULL;
}

/* ---- what OpenSSL asks of us ---- */

/* Any certificate will do whose fingerprint was promised (RFC 8827 6.5): no chain is built, no
 * calendar looked at. OpenSSL has checked by the signature that the peer owns its key.
 */
static int verify_certificate(X509_STORE_CTX *store, void *unused)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct dtls *dtls = SSL_get_app_data(ssl);
	X509 *x509 = X509_STORE_CTX_get0_cert(store);

	(void)unused;
	if (x509 && fingerprint_matches(&dtls->expected, x509))
		return 1;
	dtls->failure = ERR_AUTH;
	X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
	return 0;
}

static unsigned int retransmit_after(SSL *ssl, unsigned int last_us)
{
	(void)ssl;
	if (!last_us)
		return DTLS_RETRANSMIT_MIN_US;
	return last_us < DTLS_RETRANSMIT_MAX_US / 2 ? last_us * 2 : DTLS_RETRANSMIT_MAX_US;
}

/* ---- context ---- */

static bool context_configure(SSL_CTX *ssl, const struct certificate *certificate)
{
	const uint64_t options = SSL_OP_NO_QUERY_MTU | SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
				 SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE;

	SSL_CTX_set_options(ssl, options);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_cert_list(ssl, DTLS_PEER_CERTIFICATES_MAX);
	SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(ssl, verify_certificate, NULL);
	/* ECDHE only; RSA for servers that have such a certificate. AES-128 first: it protects
	 * nothing but the export of keys as long, and SHA-256 has instructions of its own. */
	return SSL_CTX_set_min_proto_version(ssl, DTLS1_2_VERSION) == 1 &&
	       SSL_CTX_set_cipher_list(ssl, "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20") ==
		       1 &&
	       SSL_CTX_set1_groups_list(ssl, "X25519:P-256:P-384") == 1 &&
	       SSL_CTX_use_certificate(ssl, certificate->x509) == 1 &&
	       SSL_CTX_use_PrivateKey(ssl, certificate->key) == 1 &&
	       /* in our order of preference; the one function here that returns 0 for success */
	       SSL_CTX_set_tlsext_use_srtp(ssl, "SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80:"
						"SRTP_AEAD_AES_256_GCM") == 0;
}

enum err dtls_context_init(struct dtls_context *context, const struct certificate *certificate)
{
	*context = (struct dtls_context){
		.ssl = SSL_CTX_new_ex(openssl_narrow_context(), NULL, DTLS_method()),
		.bio_method = flight_method_create()};
	if (context->ssl && context->bio_method && context_configure(context->ssl, certificate))
		return ERR_OK;
	ERR_clear_error();
	dtls_context_fini(context);
	return ERR_CRYPTO;
}

void dtls_context_fini(struct dtls_context *context)
{
	if (!context)
		return;
	SSL_CTX_free(context->ssl);
	BIO_meth_free(context->bio_method);
	*context = (struct dtls_context){0};
}

/* ---- the handshake ---- */

static enum err dtls_fail(struct dtls *dtls, enum dtls_phase phase, enum err err)
{
	dtls->phase = (uint8_t)phase;
	dtls->failure = (uint8_t)err;
	dtls->deadline_us = DTLS_NEVER;
	return err;
}

/* After a call that failed for good: what to tell the session. */
static enum err dtls_fail_from_openssl(struct dtls *dtls)
{
	int reason = ERR_GET_REASON(ERR_peek_error());

	ERR_clear_error();
	if (dtls->failure == ERR_AUTH)
		return dtls_fail(dtls, DTLS_FAILED, ERR_AUTH);
	if (reason == SSL_R_NO_SHARED_CIPHER || reason == SSL_R_UNSUPPORTED_PROTOCOL)
		return dtls_fail(dtls, DTLS_FAILED, ERR_UNSUPPORTED);
	if (reason >= SSL_AD_REASON_OFFSET && reason <= SSL_AD_REASON_OFFSET + UINT8_MAX)
		return dtls_fail(dtls, DTLS_CLOSED, ERR_CLOSED); /* a fatal alert of the peer */
	return dtls_fail(dtls, DTLS_FAILED, ERR_CRYPTO);
}

/* RFC 5764 4.2: client key, server key, client salt, server salt */
static enum err dtls_export(struct dtls *dtls)
{
	static const char label[] = "EXTRACTOR-dtls_srtp";
	const SRTP_PROTECTION_PROFILE *profile = SSL_get_selected_srtp_profile(dtls->ssl);
	struct seal_keys client = {0}, server = {0};
	uint8_t exported[EXPORTED_MAX];

	size_t key = profile ? seal_key_size((uint16_t)profile->id) : 0;
	if (!key)
		return ERR_UNSUPPORTED;
	client.profile = server.profile = (uint16_t)profile->id;
	size_t salt = seal_salt_size(client.profile);
	if (SSL_export_keying_material(dtls->ssl, exported, 2 * (key + salt), label,
		    sizeof(label) - 1, NULL, 0, 0) != 1)
		return ERR_CRYPTO;
	memcpy(client.key, exported, key);
	memcpy(server.key, exported + key, key);
	memcpy(client.salt, exported + 2 * key, salt);
	memcpy(server.salt, exported + 2 * key + salt, salt);
	dtls->send = dtls->role == DTLS_CLIENT ? client : server;
	dtls->receive = dtls->role == DTLS_CLIENT ? server : client;
	OPENSSL_cleanse(exported, sizeof(exported));
	seal_keys_clear(&client);
	seal_keys_clear(&server);
	return ERR_OK;
}

static enum err dtls_complete(struct dtls *dtls)
{
	const X509 *peer = SSL_get0_peer_certificate(dtls->ssl);
	enum err err = ERR_AUTH;

	/* the callback saw the same certificate; this is for a change that forgets it */
	if (peer && fingerprint_matches(&dtls->expected, peer))
		err = dtls_export(dtls);
	if (err) {
		SSL_shutdown(dtls->ssl);
		ERR_clear_error();
		return dtls_fail(dtls, DTLS_FAILED, err);
	}
	dtls->phase = DTLS_ESTABLISHED;
	return ERR_OK;
}

static enum err dtls_handshake(struct dtls *dtls)
{
	ERR_clear_error();
	int result = SSL_do_handshake(dtls->ssl);
	if (result == 1)
		return dtls_complete(dtls);
	if (SSL_get_error(dtls->ssl, result) == SSL_ERROR_WANT_READ)
		return ERR_OK;
	return dtls_fail_from_openssl(dtls);
}

/* Repeated flights are answered and alerts noticed inside SSL_read; application data is not ours
 * (nobody negotiates data channels with us) and falls on the floor.
 */
static enum err dtls_drain(struct dtls *dtls)
{
	uint8_t ignored[512];
	int result;

	ERR_clear_error();
	do {
		result = SSL_read(dtls->ssl, ignored, sizeof(ignored));
	} while (result > 0);
	switch (SSL_get_error(dtls->ssl, result)) {
	case SSL_ERROR_WANT_READ: return ERR_OK;
	case SSL_ERROR_ZERO_RETURN: return dtls_fail(dtls, DTLS_CLOSED, ERR_CLOSED);
	default: return dtls_fail_from_openssl(dtls);
	}
}

/* OpenSSL knows how long until it retransmits, on its own clock; see dtls.h. */
static void dtls_schedule(struct dtls *dtls, int64_t now_us)
{
	struct timeval left;

	dtls->deadline_us = dtls->phase == DTLS_HANDSHAKING ? dtls->give_up_us : DTLS_NEVER;
	if (dtls->phase > DTLS_ESTABLISHED || !DTLSv1_get_timeout(dtls->ssl, &left))
		return;
	int64_t left_us = left.tv_sec >= DTLS_RETRANSMIT_MAX_US / 1000000
				  ? DTLS_RETRANSMIT_MAX_US
				  : (int64_t)left.tv_sec * 1000000 + left.tv_usec;
	if (now_us + left_us < dtls->deadline_us)
		dtls->deadline_us = now_us + left_us;
}

enum err dtls_init(struct dtls *dtls, const struct dtls_context *context, enum dtls_role role,
	const struct fingerprint *expected, int64_t now_us)
{
	*dtls = (struct dtls){.role = (uint8_t)role,
		.expected = *expected,
		.deadline_us = DTLS_NEVER,
		.give_up_us = now_us + DTLS_HANDSHAKE_MAX_US};
	if (expected->hash == CERTIFICATE_HASH_NONE) {
		dtls_fini(dtls);
		return ERR_FORMAT;
	}
	BIO *bio = BIO_new(context->bio_method);
	dtls->ssl = SSL_new(context->ssl);
	dtls->flight = calloc(1, sizeof(*dtls->flight));
	if (!bio || !dtls->ssl || !dtls->flight || SSL_set_app_data(dtls->ssl, dtls) != 1) {
		BIO_free(bio);
		ERR_clear_error();
		dtls_fini(dtls);
		return ERR_NO_MEMORY;
	}
	BIO_set_data(bio, dtls);
	SSL_set_bio(dtls->ssl, bio, bio);
	SSL_set_mtu(dtls->ssl, DTLS_MTU);
	DTLS_set_timer_cb(dtls->ssl, retransmit_after);
	if (role == DTLS_SERVER) {
		SSL_set_accept_state(dtls->ssl);
	} else {
		SSL_set_connect_state(dtls->ssl);
		if (dtls_handshake(dtls)) {
			dtls_fini(dtls);
			return ERR_NO_MEMORY; /* nothing has come in that could be at fault */
		}
	}
	dtls_schedule(dtls, now_us);
	return ERR_OK;
}

void dtls_fini(struct dtls *dtls)
{
	if (!dtls)
		return;
	SSL_free(dtls->ssl); /* and its BIO */
	free(dtls->flight);
	OPENSSL_cleanse(dtls, sizeof(*dtls));
	dtls->phase = DTLS_CLOSED;
	dtls->deadline_us = DTLS_NEVER;
}

/* Whether nothing can happen any more. */
static bool dtls_is_over(const struct dtls *dtls)
{
	return !dtls->ssl || dtls->phase >= DTLS_FAILED;
}

static enum err dtls_verdict(const struct dtls *dtls)
{
	return dtls->ssl ? (enum err)dtls->failure : ERR_PHASE;
}

enum err dtls_input(struct dtls *dtls, const uint8_t *bytes, size_t size, int64_t now_us)
{
	if (dtls_is_over(dtls))
		return dtls_verdict(dtls);
	dtls->datagrams_in++;
	if (dtls->phase == DTLS_HANDSHAKING && now_us >= dtls->give_up_us)
		return dtls_fail(dtls, DTLS_FAILED, ERR_TIMEOUT);
	if (dtls->phase == DTLS_HANDSHAKING && dtls->datagrams_in > DTLS_DATAGRAMS_MAX)
		return dtls_fail(dtls, DTLS_FAILED, ERR_LIMIT);
	if (size == 0 || size > DTLS_INPUT_MAX) { /* reading nothing would be the end of a stream */
		dtls->dropped++;
		return ERR_OK;
	}
	dtls->input = bytes;
	dtls->input_size = size;
	enum err err = dtls->phase == DTLS_HANDSHAKING ? dtls_handshake(dtls) : ERR_OK;
	if (!err && dtls->phase == DTLS_ESTABLISHED)
		err = dtls_drain(dtls);
	dtls->input = NULL;
	dtls_schedule(dtls, now_us);
	return err;
}

size_t dtls_output(struct dtls *dtls, uint8_t *buffer, size_t capacity)
{
	struct dtls_flight *f = dtls->flight;

	if (!f || !f->count)
		return 0;
	size_t size = f->datagrams[f->first].size;
	MUST(size <= capacity);
	memcpy(buffer, f->datagrams[f->first].bytes, size);
	f->first = (f->first + 1) % DTLS_FLIGHT_MAX;
	f->count--;
	dtls->datagrams_out++;
	return size;
}

int64_t dtls_deadline(const struct dtls *dtls)
{
	return dtls->deadline_us;
}

enum err dtls_on_timer(struct dtls *dtls, int64_t now_us)
{
	if (dtls_is_over(dtls))
		return dtls_verdict(dtls);
	if (dtls->phase == DTLS_HANDSHAKING && now_us >= dtls->give_up_us)
		return dtls_fail(dtls, DTLS_FAILED, ERR_TIMEOUT);
	if (now_us < dtls->deadline_us)
		return ERR_OK;
	ERR_clear_error();
	int result = DTLSv1_handle_timeout(dtls->ssl);
	if (result < 0) {
		ERR_clear_error();
		return dtls_fail(dtls, DTLS_FAILED, ERR_TIMEOUT);
	}
	dtls->retransmits += result > 0;
	dtls_schedule(dtls, now_us);
	return ERR_OK;
}

void dtls_close(struct dtls *dtls)
{
	if (dtls_is_over(dtls))
		return;
	ERR_clear_error();
	SSL_shutdown(dtls->ssl);
	ERR_clear_error();
	dtls_fail(dtls, DTLS_CLOSED, ERR_CLOSED);
}
