/* SPDX-License-Identifier: Apache-2.0
 *
 * OpenSSL reads and writes through a BIO of our own. It lends nothing and keeps nothing: a read
 * goes to the wire for just what OpenSSL asks for (a record's head, then its body), so that what
 * was not asked for stays in the socket and the loop tells of it again. A memory BIO would take
 * everything that comes, with no bound.
 */
#include "runtime/tls.h"

#include "runtime/tls_internal.h"

#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

/* ---- the BIO --------------------------------------------------------------------------------- */

static bool keep(struct tls *tls, const char *bytes, size_t size)
{
	if (size > TLS_PENDING_MAX - tls->pending_end)
		return false;
	if (!tls->pending)
		tls->pending = malloc(TLS_PENDING_MAX);
	if (!tls->pending)
		return false;
	memcpy(tls->pending + tls->pending_end, bytes, size);
	tls->pending_end += (uint32_t)size;
	return true;
}

static int wire_write(BIO *bio, const char *bytes, int size)
{
	struct tls *tls = BIO_get_data(bio);
	long sent = 0;

	BIO_clear_retry_flags(bio);
	if (!tls_has_pending(tls)) {
		sent = tls->wire->write(tls->wire->context, bytes, (size_t)size);
		if (sent == -2)
			return -1;
		sent = sent < 0 ? 0 : sent;
	}
	if (sent < size && !keep(tls, bytes + sent, (size_t)(size - sent)))
		return -1;
	return size;
}

static int wire_read(BIO *bio, char *bytes, int capacity)
{
	struct tls *tls = BIO_get_data(bio);
	long got = tls->wire->read(tls->wire->context, bytes, (size_t)capacity);

	BIO_clear_retry_flags(bio);
	if (got == -1)
		BIO_set_retry_read(bio);
	return got < 0 ? -1 : (int)got;
}

static long wire_control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio, (void)number, (void)pointer;
	return command == BIO_CTRL_FLUSH;
}

static int wire_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

BIO_METHOD *tls_bio_method_create(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "wire");

	if (method && BIO_meth_set_write(method, wire_write) == 1 &&
		BIO_meth_set_read(method, wire_read) == 1 &&
		BIO_meth_set_ctrl(method, wire_control) == 1 &&
		BIO_meth_set_create(method, wire_create) == 1)
		return method;
	BIO_meth_free(method);
	return NULL;
}

/* ---- what OpenSSL asks of us ----------------------------------------------------------------- */

/* RFC 7301 3.2: who speaks nothing that we do is told so. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_size,
	const unsigned char *offered, unsigned int offered_size, void *unused)
{
	static const unsigned char http[] = "\x08http/1.1";
	const struct tls *tls = SSL_get_app_data(ssl);
	unsigned char *chosen;

	(void)unused;
	if (tls->use != TLS_HTTP)
		return SSL_TLSEXT_ERR_NOACK;
	if (SSL_select_next_proto(&chosen, out_size, http, sizeof(http) - 1, offered,
		    offered_size) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

void tls_set_callbacks(SSL_CTX *ssl)
{
	SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, NULL);
}

/* ---- phases ---------------------------------------------------------------------------------- */

static const char in_the_clear[] =
	"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 32\r\n"
	"Connection: close\r\n\r\nthis port speaks HTTPS, not HTTP";

static long break_off(struct tls *tls, const char *reason)
{
	tls->phase = TLS_BROKEN;
	tls->reason = reason ? reason : "the connection broke";
	tls->deadline_us = INT64_MAX;
	return -2;
}

/* What a call that gave no bytes means; the wire is still lent. */
static long outcome(struct tls *tls, int result)
{
	unsigned long error = ERR_peek_error();
	const char *reason = ERR_reason_error_string(error);

	switch (SSL_get_error(tls->ssl, result)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE: return -1;
	case SSL_ERROR_ZERO_RETURN: tls->phase = TLS_ENDED; return 0;
	}
	if (tls->use == TLS_HTTP && tls->phase == TLS_HANDSHAKE && !tls_has_pending(tls) &&
		ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_HTTP_REQUEST)
		tls->wire->write(tls->wire->context, in_the_clear, sizeof(in_the_clear) - 1);
	if (ERR_GET_LIB(error) == ERR_LIB_SSL &&
		ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED)
		reason = X509_verify_cert_error_string(SSL_get_verify_result(tls->ssl));
	ERR_clear_error();
	return break_off(tls, reason);
}

static void begin_call(struct tls *tls, const struct tls_wire *wire)
{
	tls->wire = wire;
	ERR_clear_error();
}

static void end_call(struct tls *tls)
{
	tls->wire = NULL;
	if (tls->phase == TLS_HANDSHAKE && SSL_is_init_finished(tls->ssl)) {
		tls->phase = TLS_OPEN;
		tls->deadline_us = INT64_MAX;
	}
}

void tls_handshake(struct tls *tls, const struct tls_wire *wire)
{
	if (tls->phase != TLS_HANDSHAKE)
		return;
	begin_call(tls, wire);
	int result = SSL_do_handshake(tls->ssl);

	if (result != 1 && outcome(tls, result) == 0)
		break_off(tls, "closed by the peer");
	end_call(tls);
}

void tls_give_up(struct tls *tls)
{
	break_off(tls, "the handshake took too long");
}

/* ---- reading --------------------------------------------------------------------------------- */

long tls_read(struct tls *tls, const struct tls_wire *wire, void *buffer, size_t size)
{
	if (tls->phase == TLS_HANDSHAKE)
		tls_handshake(tls, wire);
	if (tls->phase != TLS_OPEN)
		return tls->phase == TLS_HANDSHAKE ? -1 : tls->phase == TLS_ENDED ? 0 : -2;
	begin_call(tls, wire);
	int got = SSL_read(tls->ssl, buffer, size < INT32_MAX ? (int)size : INT32_MAX);
	long result = got > 0 ? got : outcome(tls, got);

	end_call(tls);
	return result;
}

bool tls_has_plain(const struct tls *tls)
{
	return tls->phase == TLS_OPEN && SSL_pending(tls->ssl) > 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

bool tls_has_pending(const struct tls *tls)
{
	return tls->pending_at < tls->pending_end;
}

long tls_flush(struct tls *tls, const struct tls_wire *wire)
{
	while (tls_has_pending(tls)) {
		long sent = wire->write(wire->context, tls->pending + tls->pending_at,
			tls->pending_end - tls->pending_at);

		if (sent == -2)
			return break_off(tls, NULL);
		if (sent <= 0)
			return -1;
		tls->pending_at += (uint32_t)sent;
	}
	tls->pending_at = tls->pending_end = 0;
	free(tls->pending);
	tls->pending = NULL;
	return 1;
}

/* A place in the parts of a write. */
struct cursor {
	const struct iovec *part, *end;
	size_t offset;
};

/* The next plain bytes for a record: where they lie, or together in `chunk`. */
static const uint8_t *gather(struct cursor *at, uint8_t *chunk, size_t *size)
{
	*size = 0;
	while (at->part < at->end && *size < TLS_RECORD_MAX) {
		const uint8_t *from = (const uint8_t *)at->part->iov_base + at->offset;
		size_t left = at->part->iov_len - at->offset;
		size_t room = TLS_RECORD_MAX - *size;
		size_t taken = left < room ? left : room;
		bool alone = !*size && (taken == room || at->part + 1 == at->end);

		if (!alone && taken)
			memcpy(chunk + *size, from, taken);
		*size += taken;
		at->offset += taken;
		if (taken == left) {
			at->part++;
			at->offset = 0;
		}
		if (alone)
			return from;
	}
	return chunk;
}

long tls_write(
	struct tls *tls, const struct tls_wire *wire, const struct iovec *parts, size_t count)
{
	struct cursor at = {parts, parts + count, 0};
	uint8_t chunk[TLS_RECORD_MAX];
	long total = 0, flushed;
	size_t size;

	if (tls->phase == TLS_HANDSHAKE)
		return -1;
	if (tls->phase == TLS_BROKEN || tls->said_goodbye)
		return -2;
	flushed = tls_flush(tls, wire);
	if (flushed < 0)
		return flushed;
	while (!tls_has_pending(tls)) {
		const uint8_t *bytes = gather(&at, chunk, &size);

		if (!size)
			break;
		begin_call(tls, wire);
		/* all or nothing: what the wire does not take the BIO keeps */
		int sent = SSL_write(tls->ssl, bytes, (int)size);

		if (sent <= 0) {
			outcome(tls, sent);
			break_off(tls, tls->reason);
		}
		end_call(tls);
		if (sent <= 0)
			return -2;
		total += sent;
	}
	return total;
}

void tls_goodbye(struct tls *tls, const struct tls_wire *wire)
{
	if (tls->said_goodbye || (tls->phase != TLS_OPEN && tls->phase != TLS_ENDED))
		return;
	tls->said_goodbye = true;
	begin_call(tls, wire);
	SSL_shutdown(tls->ssl);
	ERR_clear_error();
	end_call(tls);
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum err make(struct tls *tls, struct tls_context *context, enum tls_use use, int64_t now_us)
{
	SSL *ssl = SSL_new(context->ssl);
	BIO *bio = BIO_new(context->bio_method);

	if (!ssl || !bio) {
		SSL_free(ssl);
		BIO_free(bio);
		ERR_clear_error();
		return ERR_NO_MEMORY;
	}
	*tls = (struct tls){
		.ssl = ssl,
		.context = context,
		.deadline_us = now_us + TLS_HANDSHAKE_US,
		.use = (uint8_t)use,
	};
	context->users++;
	BIO_set_data(bio, tls);
	SSL_set_bio(ssl, bio, bio);
	SSL_set_app_data(ssl, tls);
	return ERR_OK;
}

enum err tls_init(struct tls *tls, struct tls_context *context, enum tls_use use, int64_t now_us)
{
	enum err err = make(tls, context, use, now_us);

	if (!err)
		SSL_set_accept_state(tls->ssl);
	return err;
}

/* RFC 6125 6.4: an address must be among the certificate's addresses, a name among its names. */
static bool expect(SSL *ssl, const char *name)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

	SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1 ||
	       X509_VERIFY_PARAM_set1_host(param, name, 0) == 1;
}

static bool is_address(const char *name)
{
	ASN1_OCTET_STRING *address = a2i_IPADDRESS(name);

	ASN1_OCTET_STRING_free(address);
	return address != NULL;
}

enum err tls_init_client(struct tls *tls, struct tls_context *context, const char *verified,
	const char *asked, int64_t now_us)
{
	enum err err = make(tls, context, TLS_RTMP, now_us);

	if (err)
		return err;
	SSL_set_connect_state(tls->ssl);
	/* (an address is no host name, RFC 6066 3) */
	if ((is_address(asked) || SSL_set_tlsext_host_name(tls->ssl, asked) == 1) &&
		(!verified || expect(tls->ssl, verified))) {
		ERR_clear_error();
		return ERR_OK;
	}
	ERR_clear_error();
	tls_fini(tls);
	return ERR_NO_MEMORY;
}

void tls_fini(struct tls *tls)
{
	SSL_free(tls->ssl);
	tls_context_release(&tls->context);
	free(tls->pending);
	*tls = (struct tls){0};
}
