/* SPDX-License-Identifier: Apache-2.0
 *
 * The node's certificate: making, loading and storing it. See certificate.h.
 */
#include "actors/webrtc/certificate.h"

#include "actors/webrtc/openssl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DAY_S = 86400 };

/* ---- making one ---- */

static bool certificate_fill(X509 *x509, EVP_PKEY *key, int64_t unix_s)
{
	X509_NAME *name = X509_get_subject_name(x509);
	uint64_t serial;

	/* positive and not guessable; the name is of no use to anyone, so it says nothing */
	return RAND_bytes((unsigned char *)&serial, sizeof(serial)) == 1 &&
	       X509_set_version(x509, X509_VERSION_3) == 1 &&
	       ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509), serial >> 1 | 1) == 1 &&
	       ASN1_TIME_set(X509_getm_notBefore(x509), unix_s - DAY_S) &&
	       ASN1_TIME_set(X509_getm_notAfter(x509),
		       unix_s + (int64_t)CERTIFICATE_VALID_DAYS * DAY_S) &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
		       (const unsigned char *)"millrace", -1, -1, 0) == 1 &&
	       X509_set_issuer_name(x509, name) == 1 && X509_set_pubkey(x509, key) == 1 &&
	       X509_sign(x509, key, EVP_sha256()) > 0;
}

/* Takes over key and x509, whatever comes of it. */
static enum err certificate_take(struct certificate *certificate, EVP_PKEY *key, X509 *x509)
{
	struct tm end;

	*certificate = (struct certificate){.key = key, .x509 = x509};
	if (fingerprint_of(&certificate->fingerprint, CERTIFICATE_SHA_256, x509) &&
		ASN1_TIME_to_tm(X509_get0_notAfter(x509), &end) == 1) {
		certificate->expires_s = timegm(&end);
		return ERR_OK;
	}
	certificate_fini(certificate);
	return ERR_CRYPTO;
}

enum err certificate_create(struct certificate *certificate, int64_t unix_s)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x509 = X509_new();

	*certificate = (struct certificate){0};
	if (key && x509 && certificate_fill(x509, key, unix_s))
		return certificate_take(certificate, key, x509);
	EVP_PKEY_free(key);
	X509_free(x509);
	ERR_clear_error();
	return ERR_CRYPTO;
}

bool certificate_is_due(const struct certificate *certificate, int64_t unix_s)
{
	return certificate->expires_s - unix_s <= (int64_t)CERTIFICATE_RENEW_DAYS * DAY_S;
}

void certificate_fini(struct certificate *certificate)
{
	if (!certificate)
		return;
	EVP_PKEY_free(certificate->key);
	X509_free(certificate->x509);
	*certificate = (struct certificate){0};
}

/* ---- the file ---- */

static enum err explain(char *problem, enum err err, const char *directory, const char *what)
{
	snprintf(problem, CERTIFICATE_PROBLEM_MAX, "%s/%s: %s", directory, CERTIFICATE_FILE, what);
	return err;
}

static enum err explain_errno(char *problem, const char *directory, const char *what)
{
	char text[96];

	snprintf(text, sizeof(text), "%s: %s", what, strerror(errno));
	return explain(problem, ERR_IO, directory, text);
}

/* Our file has no password; without this callback OpenSSL would ask the terminal for one. */
static int no_password(char *buffer, int size, int writing, void *context)
{
	(void)buffer, (void)size, (void)writing, (void)context;
	return -1;
}

static enum err certificate_decode(struct certificate *certificate, const char *pem, int size)
{
	BIO *bio = BIO_new_mem_buf(pem, size);
	enum err err = ERR_CONFIG;

	if (!bio)
		return ERR_CRYPTO;
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	X509 *x509 = PEM_read_bio_X509(bio, NULL, no_password, NULL);
	BIO_free(bio);
	if (key && x509 && X509_check_private_key(x509, key) == 1) {
		err = certificate_take(certificate, key, x509);
	} else {
		EVP_PKEY_free(key);
		X509_free(x509);
	}
	ERR_clear_error();
	return err;
}

/* ERR_NOT_FOUND: there is no file yet. */
static enum err certificate_read(
	struct certificate *certificate, int directory_fd, const char *directory, char *problem)
{
	char pem[CERTIFICATE_FILE_MAX];
	struct stat status;
	ssize_t size;

	int fd = openat(directory_fd, CERTIFICATE_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND
				       : explain_errno(problem, directory, "cannot open");
	if (fstat(fd, &status) < 0 || (size = read(fd, pem, sizeof(pem))) < 0) {
		explain_errno(problem, directory, "cannot read");
		close(fd);
		return ERR_IO;
	}
	close(fd);
	enum err err;
	if (!S_ISREG(status.st_mode) || status.st_mode & (S_IRWXG | S_IRWXO))
		err = explain(problem, ERR_CONFIG, directory,
			"holds a private key and must be a file of mode 0600; others may have read "
			"it: "
			"remove it to get a new one");
	else if (status.st_size >= CERTIFICATE_FILE_MAX)
		err = explain(problem, ERR_CONFIG, directory, "is too large");
	else if ((err = certificate_decode(certificate, pem, (int)size)))
		explain(problem, err, directory,
			"is not a private key followed by its certificate; remove it to get a new "
			"one");
	OPENSSL_cleanse(pem, sizeof(pem));
	return err;
}

static bool write_all(int fd, const char *bytes, size_t size)
{
	while (size) {
		ssize_t written = write(fd, bytes, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return false;
		bytes += written;
		size -= (size_t)written;
	}
	return true;
}

/* Replaces the file in one step: whoever reads sees the old one or the new one, whole. */
static enum err certificate_store(const struct certificate *certificate, int directory_fd,
	const char *directory, char *problem)
{
	static const char temporary[] = CERTIFICATE_FILE ".new";
	BIO *bio = BIO_new(BIO_s_secmem());
	enum err err = ERR_OK;
	char *pem;
	int fd = -1;

	if (!bio ||
		PEM_write_bio_PrivateKey(bio, certificate->key, NULL, NULL, 0, NULL, NULL) != 1 ||
		PEM_write_bio_X509(bio, certificate->x509) != 1) {
		err = explain(problem, ERR_CRYPTO, directory, "cannot encode");
		goto out;
	}
	size_t size = (size_t)BIO_get_mem_data(bio, &pem);
	/* one left behind by a process that died; nobody else has it while we hold the lock */
	unlinkat(directory_fd, temporary, 0);
	fd = openat(directory_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || !write_all(fd, pem, size) || fsync(fd) < 0 ||
		renameat(directory_fd, temporary, directory_fd, CERTIFICATE_FILE) < 0 ||
		fsync(directory_fd) < 0)
		err = explain_errno(problem, directory, "cannot write");
out:
	if (fd >= 0)
		close(fd);
	BIO_free(bio);
	return err;
}

enum err certificate_load(
	struct certificate *certificate, const char *directory, int64_t unix_s, char *problem)
{
	*certificate = (struct certificate){0};
	problem[0] = '\0';
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return explain_errno(problem, directory, "cannot open the directory");
	if (flock(fd, LOCK_EX) < 0) {
		explain_errno(problem, directory, "cannot lock the directory");
		close(fd);
		return ERR_IO;
	}
	enum err err = certificate_read(certificate, fd, directory, problem);
	if (err == ERR_NOT_FOUND || (!err && certificate_is_due(certificate, unix_s))) {
		certificate_fini(certificate);
		err = certificate_create(certificate, unix_s);
		if (err)
			explain(problem, err, directory, "cannot make a certificate");
		else
			err = certificate_store(certificate, fd, directory, problem);
	}
	if (err)
		certificate_fini(certificate);
	close(fd); /* unlocks */
	return err;
}
