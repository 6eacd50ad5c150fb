/* SPDX-License-Identifier: Apache-2.0
 *
 * The node's certificate: fingerprint rows, and its file in all the states it can be found in.
 */
#include "actors/webrtc/certificate.h"
#include "actors/webrtc/openssl.h"
#include "tests/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHA256_TEXT                                                                               \
	"12:34:56:78:9A:BC:DE:F0:12:34:56:78:9A:BC:DE:F0:12:34:56:78:9A:BC:DE:F0:12:34:56:78:9A:" \
	"BC:DE"

TEST(reads_fingerprints)
{
	static const struct {
		const char *text;
		enum err expected;
	} rows[] = {
		{"sha-256 " SHA256_TEXT ":F0",				       ERR_OK	     },
		{"SHA-256 " SHA256_TEXT ":f0",				       ERR_OK	     },
		{"sha-256 " SHA256_TEXT,					     ERR_FORMAT	   },
		{"sha-256 " SHA256_TEXT ":F0:",					ERR_FORMAT	  },
		{"sha-256 " SHA256_TEXT ":F0:00",					  ERR_FORMAT	    },
		{"sha-256 " SHA256_TEXT ":G0",				       ERR_FORMAT	 },
		{"sha-256 " SHA256_TEXT ":F ",				       ERR_FORMAT	 },
		{"sha-256 " SHA256_TEXT "-F0",				       ERR_FORMAT	 },
		{"sha-256  " SHA256_TEXT ":F",				       ERR_FORMAT	 },
		{"sha-384 " SHA256_TEXT ":F0",				       ERR_FORMAT	 },
		{"sha-384 " SHA256_TEXT ":F0:" /* 32 and 16 bytes */
		 "00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F", ERR_OK	      },
		{"sha-512 " SHA256_TEXT ":F0:" SHA256_TEXT ":F0",			  ERR_OK		},
		{"sha-1 00:01:02",						   ERR_UNSUPPORTED},
		{"sha-25 00:01:02",						  ERR_UNSUPPORTED},
		{" 00:01:02",							ERR_UNSUPPORTED},
		{"sha-256",							  ERR_FORMAT     },
		{"",								 ERR_FORMAT     },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char text[FINGERPRINT_TEXT_MAX];
		struct fingerprint fingerprint;
		enum err err = fingerprint_parse(&fingerprint, rows[i].text, strlen(rows[i].text));

		if (err != rows[i].expected)
			print_message("row %zu: %s\n", i, err_name(err));
		CHECK_EQ(err, rows[i].expected);
		fingerprint_print(&fingerprint, text);
		CHECK_EQ(strlen(text), err ? 0 : strlen(rows[i].text));
		if (!err)
			CHECK(!strcasecmp(text, rows[i].text));
	}
	/* no byte behind the text is read */
	const char *whole = rows[0].text;
	for (size_t size = 0; size < strlen(whole); size++) {
		struct fingerprint fingerprint;
		char *exact = test_malloc(size ? size : 1);

		memcpy(exact, whole, size);
		CHECK_EQ(fingerprint_parse(&fingerprint, exact, size), ERR_FORMAT);
		CHECK_EQ(fingerprint.hash, CERTIFICATE_HASH_NONE);
		test_free(exact);
	}
}

TEST(an_empty_fingerprint_matches_nothing)
{
	struct fingerprint none = {0}, odd = {.hash = 77};
	struct certificate certificate;

	CHECK_OK(certificate_create(&certificate, 1800000000));
	CHECK(fingerprint_matches(&certificate.fingerprint, certificate.x509));
	CHECK(!fingerprint_matches(&none, certificate.x509));
	CHECK(!fingerprint_matches(&odd, certificate.x509));
	certificate_fini(&certificate);
	certificate_fini(&certificate);
	certificate_fini(NULL);
}

/* ---- the file ---- */

enum { NOW = 1800000000, DAY = 86400 };

static char directory[64], problem[CERTIFICATE_PROBLEM_MAX];

static const char *in_directory(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static const char *temporary_path(void)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s.new", directory, CERTIFICATE_FILE);
	return path;
}

static void directory_make(void)
{
	strcpy(directory, "/tmp/millrace-certificate-XXXXXX");
	CHECK(mkdtemp(directory) != NULL);
}

static void directory_remove(void)
{
	unlink(in_directory(CERTIFICATE_FILE));
	unlink(temporary_path());
	CHECK_EQ(rmdir(directory), 0);
}

static void file_write(const char *text, mode_t mode)
{
	unlink(in_directory(CERTIFICATE_FILE));
	int fd = open(in_directory(CERTIFICATE_FILE), O_WRONLY | O_CREAT | O_TRUNC, mode);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
	CHECK_EQ(fchmod(fd, mode), 0);
	close(fd);
}

TEST(is_the_same_after_a_restart_and_renewed_in_time)
{
	struct certificate first, again;
	struct stat status;

	directory_make();
	/* what a process that died while writing left behind is in nobody's way */
	file_write("half a k", 0644);
	CHECK_EQ(link(in_directory(CERTIFICATE_FILE), temporary_path()), 0);
	unlink(in_directory(CERTIFICATE_FILE));
	CHECK_OK(certificate_load(&first, directory, NOW, problem));
	CHECK_STR(problem, "");
	CHECK_EQ(stat(in_directory(CERTIFICATE_FILE), &status), 0);
	CHECK_EQ(status.st_mode & 07777, 0600);
	CHECK_EQ(first.expires_s, NOW + (int64_t)CERTIFICATE_VALID_DAYS * DAY);

	static const struct {
		int64_t days;
		bool renewed;
	} rows[] = {
		{0,						   false},
		    {-400,						false},
		{CERTIFICATE_VALID_DAYS - CERTIFICATE_RENEW_DAYS - 1, false},
		{CERTIFICATE_VALID_DAYS - CERTIFICATE_RENEW_DAYS,	  true }
	       };
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		int64_t then = NOW + rows[i].days * DAY;

		CHECK_OK(certificate_load(&again, directory, then, problem));
		CHECK_EQ(memcmp(&again.fingerprint, &first.fingerprint,
				 sizeof(again.fingerprint)) != 0,
			rows[i].renewed);
		CHECK(!certificate_is_due(&again, then));
		certificate_fini(&again);
	}
	certificate_fini(&first);
	directory_remove();
}

TEST(says_what_is_wrong_with_the_file)
{
	static const char key_only[] =
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
	static char large[CERTIFICATE_FILE_MAX + 2];
	static const struct {
		const char *content;
		mode_t mode;
		const char *says;
	} rows[] = {
		{"",			    0600, "is not a private key"},
		{"rubbish",			    0600, "is not a private key"},
		{key_only,			   0600, "is not a private key"},
		{"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE "
		 "KEY-----\n", 0600, "is not a private key"},
		{key_only,			   0640, "mode 0600"	    },
		{key_only,			   0604, "mode 0600"	    },
		{large,			 0600, "too large"		 },
	};
	struct certificate certificate;

	memset(large, 'x', sizeof(large) - 1);
	directory_make();
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		file_write(rows[i].content, rows[i].mode);
		CHECK_EQ(certificate_load(&certificate, directory, NOW, problem), ERR_CONFIG);
		CHECK(strstr(problem, rows[i].says) != NULL);
		CHECK(strstr(problem, directory) == problem);
		CHECK(certificate.key == NULL);
	}
	directory_remove();
	CHECK_EQ(certificate_load(&certificate, directory, NOW, problem), ERR_IO);
	CHECK(strstr(problem, "cannot open the directory: No such file") != NULL);
}

TEST(key_and_certificate_must_belong_together)
{
	struct certificate one, two, loaded;
	char *pem;

	directory_make();
	CHECK_OK(certificate_create(&one, NOW));
	CHECK_OK(certificate_create(&two, NOW));
	BIO *bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(bio, one.key, NULL, NULL, 0, NULL, NULL);
	PEM_write_bio_X509(bio, two.x509);
	BIO_write(bio, "", 1);
	BIO_get_mem_data(bio, &pem);
	file_write(pem, 0600);
	CHECK_EQ(certificate_load(&loaded, directory, NOW, problem), ERR_CONFIG);
	BIO_free(bio);
	certificate_fini(&one);
	certificate_fini(&two);
	directory_remove();
}

TEST(processes_that_start_at_once_get_the_same_one)
{
	enum { PROCESSES = 6 };
	struct fingerprint seen[PROCESSES];
	int pipes[2];

	directory_make();
	CHECK_EQ(pipe(pipes), 0);
	for (int i = 0; i < PROCESSES; i++) {
		pid_t pid = test_fork();

		CHECK(pid >= 0);
		if (pid == 0) {
			struct certificate certificate;
			enum err err = certificate_load(&certificate, directory, NOW, problem);

			if (!err && write(pipes[1], &certificate.fingerprint, sizeof(*seen)) !=
					    (ssize_t)sizeof(*seen))
				err = ERR_IO;
			_exit(err);
		}
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status = -1;

		CHECK(wait(&status) > 0);
		CHECK_EQ(status, 0);
	}
	for (int i = 0; i < PROCESSES; i++) {
		CHECK_EQ(read(pipes[0], &seen[i], sizeof(*seen)), sizeof(*seen));
		CHECK_MEM(&seen[i], &seen[0], sizeof(*seen));
	}
	close(pipes[0]);
	close(pipes[1]);
	directory_remove();
}
