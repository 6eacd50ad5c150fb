/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/tls_context.h"

#include "runtime/tls_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DATE_SIZE = 32, TICKET_KEYS = 80 };

__attribute__((format(printf, 2, 3))) static enum err refuse(char *problem, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(problem, TLS_PROBLEM_MAX, format, arguments);
	va_end(arguments);
	ERR_clear_error();
	return ERR_CONFIG;
}

static const char *openssl_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	return reason ? reason : "unknown reason";
}

/* ---- files ----------------------------------------------------------------------------------- */

struct file {
	char *bytes;  /* TLS_FILE_MAX, cleared when freed: it may be a key */
	BIO *bio;     /* over them */
	bool is_open; /* others than its owner may read it */
};

static void close_file(struct file *file)
{
	BIO_free(file->bio);
	if (file->bytes)
		explicit_bzero(file->bytes, TLS_FILE_MAX);
	free(file->bytes);
	*file = (struct file){0};
}

static enum err read_all(struct file *file, const char *path, int fd, char *problem)
{
	struct stat status;

	if (fstat(fd, &status) || !S_ISREG(status.st_mode))
		return refuse(problem, "%.200s is not a file", path);
	if (status.st_size > TLS_FILE_MAX)
		return refuse(problem, "%.200s is larger than %d bytes", path, TLS_FILE_MAX);
	file->is_open = status.st_mode & (S_IRGRP | S_IROTH);
	file->bytes = malloc(TLS_FILE_MAX);
	if (!file->bytes)
		return ERR_NO_MEMORY;
	ssize_t size = read(fd, file->bytes, TLS_FILE_MAX);

	if (size < 0)
		return refuse(problem, "%.200s cannot be read: %s", path, strerror(errno));
	if (size == 0)
		return refuse(problem, "%.200s is empty", path);
	file->bio = BIO_new_mem_buf(file->bytes, (int)size);
	return file->bio ? ERR_OK : ERR_NO_MEMORY;
}

/* After an error nothing is left to close. */
static enum err open_file(struct file *file, const char *path, char *problem)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would hang the process */

	*file = (struct file){0};
	if (fd < 0)
		return refuse(problem, "%.200s cannot be read: %s", path, strerror(errno));
	enum err err = read_all(file, path, fd, problem);

	close(fd);
	if (err)
		close_file(file);
	return err;
}

static const char *date_of(const ASN1_TIME *time, char text[DATE_SIZE])
{
	struct tm tm = {0};

	if (ASN1_TIME_to_tm(time, &tm) != 1 ||
		!strftime(text, DATE_SIZE, "%Y-%m-%d %H:%M UTC", &tm))
		snprintf(text, DATE_SIZE, "an unreadable date");
	return text;
}

static int64_t seconds_of(const ASN1_TIME *time)
{
	struct tm tm = {0};

	return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* ---- the pair -------------------------------------------------------------------------------- */

static enum err take_certificate(
	struct tls_context *context, const char *path, X509 *x509, int64_t unix_s, char *problem)
{
	const ASN1_TIME *end = X509_get0_notAfter(x509);
	char date[DATE_SIZE];

	context->expires_s = seconds_of(end);
	context->is_early = seconds_of(X509_get0_notBefore(x509)) > unix_s;
	if (context->expires_s <= unix_s)
		return refuse(problem, "the certificate in %.200s expired on %s", path,
			date_of(end, date));
	if (SSL_CTX_use_certificate(context->ssl, x509) != 1)
		return refuse(problem, "the certificate in %.200s cannot be used: %s", path,
			openssl_reason());
	return ERR_OK;
}

static enum err load_chain(struct tls_context *context, const char *path, BIO *bio, char *problem)
{
	X509 *x509;

	for (int i = 0; (x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL)); i++) {
		/* the context takes it */
		if (i == TLS_CHAIN_MAX || SSL_CTX_add0_chain_cert(context->ssl, x509) != 1) {
			X509_free(x509);
			return refuse(problem, "%.200s: certificate %d of the chain: %s", path,
				i + 2, i == TLS_CHAIN_MAX ? "too many" : openssl_reason());
		}
	}
	unsigned long last = ERR_peek_last_error();

	if (ERR_GET_LIB(last) != ERR_LIB_PEM || ERR_GET_REASON(last) != PEM_R_NO_START_LINE)
		return refuse(problem, "%.200s: the chain is damaged: %s", path, openssl_reason());
	ERR_clear_error();
	return ERR_OK;
}

static enum err load_certificates(
	struct tls_context *context, const char *path, int64_t unix_s, char *problem)
{
	struct file file;
	enum err err = open_file(&file, path, problem);

	if (err)
		return err;
	X509 *x509 = PEM_read_bio_X509_AUX(file.bio, NULL, NULL, NULL);

	if (!x509)
		err = refuse(problem, "%.200s: expected a certificate in PEM form", path);
	if (!err)
		err = take_certificate(context, path, x509, unix_s, problem);
	if (!err)
		err = load_chain(context, path, file.bio, problem);
	X509_free(x509);
	close_file(&file);
	return err;
}

static int no_password(char *buffer, int size, int writes, void *asked)
{
	(void)buffer, (void)size, (void)writes;
	*(bool *)asked = true;
	return -1;
}

static enum err load_key(struct tls_context *context, const struct tls_files *files, char *problem)
{
	bool asked = false;
	struct file file;
	enum err err = open_file(&file, files->key, problem);

	if (err)
		return err;
	EVP_PKEY *key = PEM_read_bio_PrivateKey(file.bio, NULL, no_password, &asked);

	if (!key)
		err = refuse(problem, "%.200s: %s", files->key,
			asked ? "the key is encrypted; expected one without a password"
			      : "expected a private key in PEM form");
	else if (X509_check_private_key(SSL_CTX_get0_certificate(context->ssl), key) != 1)
		err = refuse(problem, "the key in %.160s is not that of the certificate in %.160s",
			files->key, files->certificate);
	else if (SSL_CTX_use_PrivateKey(context->ssl, key) != 1)
		err = refuse(problem, "the key in %.200s cannot be used: %s", files->key,
			openssl_reason());
	context->key_is_open = file.is_open;
	EVP_PKEY_free(key);
	close_file(&file);
	return err;
}

/* ---- what the connections have in common ----------------------------------------------------- */

static bool set_ticket_keys(struct tls_context *context, const uint8_t *secret)
{
	uint8_t seed[1 + EVP_MAX_MD_SIZE], keys[2 * EVP_MAX_MD_SIZE];
	unsigned size = 0, half = 0;
	bool done = X509_digest(SSL_CTX_get0_certificate(context->ssl), EVP_sha256(), seed + 1,
			    &size) == 1;

	for (uint8_t i = 0; done && i < 2; i++) {
		seed[0] = i;
		done = HMAC(EVP_sha512(), secret, TLS_TICKET_SECRET, seed, 1 + size,
			       keys + (size_t)i * 64, &half) &&
		       half == 64;
	}
	done = done && SSL_CTX_set_tlsext_ticket_keys(context->ssl, keys, TICKET_KEYS) == 1;
	OPENSSL_cleanse(keys, sizeof(keys));
	return done;
}

static bool configure(struct tls_context *context)
{
	const uint64_t options = SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
				 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA;

	SSL_CTX_set_options(context->ssl, options);
	/* a record's buffers are there while it is read or written: 34 kB a viewer otherwise */
	SSL_CTX_set_mode(context->ssl, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(context->ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(context->ssl, 1);
	tls_set_callbacks(context->ssl);
	return SSL_CTX_set_min_proto_version(context->ssl, TLS1_2_VERSION) == 1 &&
	       SSL_CTX_set_cipher_list(context->ssl, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
	       /* the default begins with AES-256: a third dearer, for every byte of every viewer */
	       SSL_CTX_set_ciphersuites(context->ssl,
		       "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
		       "TLS_CHACHA20_POLY1305_SHA256") == 1 &&
	       SSL_CTX_set1_groups_list(context->ssl, "X25519:P-256:P-384") == 1;
}

static enum err load(struct tls_context *context, const struct tls_files *files,
	const uint8_t *secret, int64_t unix_s, char *problem)
{
	enum err err;

	context->ssl = SSL_CTX_new(TLS_server_method());
	context->bio_method = tls_bio_method_create();
	if (!context->ssl || !context->bio_method || !configure(context))
		return ERR_NO_MEMORY;
	err = load_certificates(context, files->certificate, unix_s, problem);
	if (!err)
		err = load_key(context, files, problem);
	if (!err && !set_ticket_keys(context, secret))
		err = ERR_NO_MEMORY;
	return err;
}

enum err tls_context_load(struct tls_context **context, const struct tls_files *files,
	const uint8_t secret[TLS_TICKET_SECRET], int64_t unix_s, char *problem)
{
	struct tls_context *fresh = calloc(1, sizeof(*fresh));
	enum err err = ERR_NO_MEMORY;

	*context = NULL;
	problem[0] = '\0';
	ERR_clear_error();
	if (fresh) {
		fresh->users = 1;
		err = load(fresh, files, secret, unix_s, problem);
	}
	ERR_clear_error();
	if (err == ERR_NO_MEMORY)
		snprintf(problem, TLS_PROBLEM_MAX, "%s", err_text(err));
	if (err)
		tls_context_release(&fresh);
	*context = fresh;
	return err;
}

static enum err trust(struct tls_context *context, const char *ca_file, char *problem)
{
	context->ssl = SSL_CTX_new(TLS_client_method());
	context->bio_method = tls_bio_method_create();
	if (!context->ssl || !context->bio_method ||
		SSL_CTX_set_min_proto_version(context->ssl, TLS1_2_VERSION) != 1)
		return ERR_NO_MEMORY;
	SSL_CTX_set_options(context->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(context->ssl, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(context->ssl, SSL_SESS_CACHE_OFF);
	if (ca_file && SSL_CTX_load_verify_file(context->ssl, ca_file) != 1)
		return refuse(problem, "%.200s: expected certificates in PEM form (%s)", ca_file,
			openssl_reason());
	return ca_file || SSL_CTX_set_default_verify_paths(context->ssl) == 1 ? ERR_OK
									      : ERR_NO_MEMORY;
}

enum err tls_context_trust(struct tls_context **context, const char *ca_file, char *problem)
{
	struct tls_context *fresh = calloc(1, sizeof(*fresh));
	enum err err = ERR_NO_MEMORY;

	*context = NULL;
	ERR_clear_error();
	if (fresh) {
		fresh->users = 1;
		err = trust(fresh, ca_file, problem);
	}
	ERR_clear_error();
	if (err == ERR_NO_MEMORY)
		snprintf(problem, TLS_PROBLEM_MAX, "%s", err_text(err));
	if (err)
		tls_context_release(&fresh);
	*context = fresh;
	return err;
}

void tls_context_release(struct tls_context **context)
{
	struct tls_context *done = *context;

	*context = NULL;
	if (!done || --done->users)
		return;
	SSL_CTX_free(done->ssl);
	BIO_meth_free(done->bio_method);
	free(done);
}
