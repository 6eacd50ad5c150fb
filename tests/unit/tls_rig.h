/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of TLS: certificates in files of a directory of their own, and OpenSSL's client at the
 * other end of a wire that carries as much at a time as a row says.
 */
#ifndef MILLRACE_TLS_RIG_H
#define MILLRACE_TLS_RIG_H

#include "runtime/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 128, NOW_S = 1800000000, DAY_S = 86400 };

static const uint8_t rig_secret[TLS_TICKET_SECRET] = "a secret of the node";

/* A test that makes OpenSSL's memory fail does so while this is set. */
static bool rig_memory_fails;

/* ---- files ----------------------------------------------------------------------------------- */

static char rig_directory[64];

static inline const char *rig_path(const char *name, char path[PATH_SIZE])
{
	if (!rig_directory[0]) {
		snprintf(rig_directory, sizeof(rig_directory), "/tmp/millrace-tls-XXXXXX");
		MUST(mkdtemp(rig_directory));
	}
	snprintf(path, PATH_SIZE, "%s/%s", rig_directory, name);
	return path;
}

static inline void rig_remove(const char *name)
{
	char path[PATH_SIZE];

	unlink(rig_path(name, path));
}

__attribute__((destructor)) static void rig_remove_directory(void)
{
	if (rig_directory[0])
		rmdir(rig_directory);
}

static inline void rig_write(const char *name, const void *bytes, size_t size, mode_t mode)
{
	char path[PATH_SIZE];
	FILE *file = fopen(rig_path(name, path), "w");

	MUST(file && fwrite(bytes, 1, size, file) == size && !fclose(file) && !chmod(path, mode));
}

static inline X509 *rig_certificate(EVP_PKEY *key, const char *name, int64_t now_s)
{
	X509 *x509 = X509_new();

	MUST(x509 && X509_set_version(x509, 2) && X509_set_pubkey(x509, key));
	ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
	ASN1_TIME_set(X509_getm_notBefore(x509), now_s - DAY_S);
	ASN1_TIME_set(X509_getm_notAfter(x509), now_s + 30 * DAY_S);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC,
		(const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(x509, X509_get_subject_name(x509));
	MUST(X509_sign(x509, key, EVP_sha256()));
	return x509;
}

struct rig_pair {
	bool rsa;
	int chain;	      /* more certificates behind the first */
	const char *password; /* of the key; NULL = none */
	int64_t now_s;	      /* it is valid from a day before that for 31 days; 0 = NOW_S */
};

/* NAME.pem and NAME.key. */
static inline void rig_make(const char *name, struct rig_pair how)
{
	EVP_PKEY *key = how.rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
	X509 *x509 = rig_certificate(key, name, how.now_s ? how.now_s : NOW_S);
	char file[64], path[PATH_SIZE];

	snprintf(file, sizeof(file), "%s.pem", name);
	FILE *out = fopen(rig_path(file, path), "w");

	MUST(out);
	for (int i = 0; i <= how.chain; i++)
		MUST(PEM_write_X509(out, x509));
	fclose(out);
	snprintf(file, sizeof(file), "%s.key", name);
	out = fopen(rig_path(file, path), "w");
	MUST(out && PEM_write_PKCS8PrivateKey(out, key, how.password ? EVP_aes_128_cbc() : NULL,
			    NULL, 0, NULL, (void *)(uintptr_t)how.password));
	fclose(out);
	chmod(path, 0600);
	X509_free(x509);
	EVP_PKEY_free(key);
}

static inline void rig_remove_pair(const char *name)
{
	char file[64];

	snprintf(file, sizeof(file), "%s.pem", name);
	rig_remove(file);
	snprintf(file, sizeof(file), "%s.key", name);
	rig_remove(file);
}

static inline enum err rig_load_files(struct tls_context **context, const char *certificate,
	const char *key, int64_t unix_s, char *problem)
{
	char certificate_path[PATH_SIZE], key_path[PATH_SIZE];

	return tls_context_load(context,
		&(struct tls_files){
			rig_path(certificate, certificate_path), rig_path(key, key_path)},
		rig_secret, unix_s, problem);
}

/* Made, loaded, removed again. */
static inline struct tls_context *rig_context(bool rsa)
{
	struct tls_context *context;
	char problem[TLS_PROBLEM_MAX];

	rig_make("pair", (struct rig_pair){.rsa = rsa});
	MUST(!rig_load_files(&context, "pair.pem", "pair.key", NOW_S, problem));
	rig_remove_pair("pair");
	return context;
}

/* ---- both ends ------------------------------------------------------------------------------- */

struct rig {
	struct tls_context *context;
	struct tls tls;
	struct tls_wire wire;
	SSL_CTX *client_context;
	SSL *client;
	BIO *to_client, *to_server; /* what is on its way */
	size_t at_once;		    /* bytes a read or write of the wire carries at most */
	size_t room;		    /* bytes that the wire still takes */
	bool cut;		    /* after the last byte to the server there is nothing more */
	bool torn;		    /* writes fail */
};

static inline long rig_wire_read(void *context, void *buffer, size_t size)
{
	struct rig *rig = context;
	size_t wanted = size < rig->at_once ? size : rig->at_once;
	int got = BIO_read(rig->to_server, buffer, (int)wanted);

	return got > 0 ? got : rig->cut ? 0 : -1;
}

static inline long rig_wire_write(void *context, const void *bytes, size_t size)
{
	struct rig *rig = context;
	size_t sent = size < rig->at_once ? size : rig->at_once;

	if (rig->torn)
		return -2;
	sent = sent < rig->room ? sent : rig->room;
	if (!sent)
		return -1;
	bool watched = rig_memory_fails;

	rig_memory_fails = false; /* the wire's own has no end */
	MUST(BIO_write(rig->to_client, bytes, (int)sent) == (int)sent);
	rig_memory_fails = watched;
	rig->room -= rig->room == SIZE_MAX ? 0 : sent;
	return (long)sent;
}

/* `context` is given away; `version` 0 = what the client likes best. */
static inline void rig_open(
	struct rig *rig, struct tls_context *context, enum tls_use use, int version)
{
	*rig = (struct rig){.context = context, .at_once = SIZE_MAX, .room = SIZE_MAX};
	rig->wire = (struct tls_wire){rig, rig_wire_read, rig_wire_write};
	MUST(!tls_init(&rig->tls, context, use, 0));
	rig->client_context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_security_level(rig->client_context, 0);
	SSL_CTX_set_session_cache_mode(rig->client_context, SSL_SESS_CACHE_CLIENT);
	if (version) {
		SSL_CTX_set_min_proto_version(rig->client_context, version);
		SSL_CTX_set_max_proto_version(rig->client_context, version);
	}
	rig->client = SSL_new(rig->client_context);
	rig->to_client = BIO_new(BIO_s_mem());
	rig->to_server = BIO_new(BIO_s_mem());
	BIO_set_mem_eof_return(rig->to_client, -1);
	SSL_set_bio(rig->client, rig->to_client, rig->to_server);
	SSL_set_connect_state(rig->client);
}

static inline void rig_close(struct rig *rig)
{
	tls_fini(&rig->tls);
	SSL_free(rig->client);
	SSL_CTX_free(rig->client_context);
	tls_context_release(&rig->context);
	ERR_clear_error();
}

/* Both go on until nothing moves; true when both have completed the handshake. */
static inline bool rig_handshake(struct rig *rig)
{
	for (int still = 0; still < 3;) {
		int before = BIO_pending(rig->to_client) + BIO_pending(rig->to_server);

		SSL_do_handshake(rig->client);
		tls_flush(&rig->tls, &rig->wire);
		tls_handshake(&rig->tls, &rig->wire);
		still = before == BIO_pending(rig->to_client) + BIO_pending(rig->to_server)
				? still + 1
				: 0;
	}
	ERR_clear_error();
	return SSL_is_init_finished(rig->client) && rig->tls.phase == TLS_OPEN;
}

#endif
