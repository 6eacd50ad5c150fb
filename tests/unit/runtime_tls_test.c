/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS: our end against OpenSSL's client over a wire that carries a byte at a time, stops, breaks or
 * brings garbage; certificates that may not be used; memory.
 */
#include "tests/unit/tls_rig.h"

#include "tests/test.h"

/* ---- OpenSSL's memory: fails where a test says, and is counted ------------------------------- */

static size_t allocations, fails_at;

static bool fails(void)
{
	return rig_memory_fails && ++allocations == fails_at;
}

static void *hook_malloc(size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return fails() ? NULL : malloc(size);
}

static void *hook_realloc(void *old, size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return fails() ? NULL : realloc(old, size);
}

static void hook_free(void *old, const char *file, int line)
{
	(void)file, (void)line;
	free(old);
}

__attribute__((constructor)) static void hook_openssl(void)
{
	MUST(CRYPTO_set_mem_functions(hook_malloc, hook_realloc, hook_free) == 1);
}

/* ---- what both sides say --------------------------------------------------------------------- */

static const char question[] = "what the client asks";
static const char answer[] = "what the server says to that";

static void converse(struct rig *rig)
{
	char text[64] = "";
	struct iovec parts[3] = {
		{(void *)(uintptr_t)answer,	    4		     },
		{NULL,			       0			},
		{(void *)(uintptr_t)(answer + 4), sizeof(answer) - 4}
	     };
	long got = -1;

	CHECK_EQ(SSL_write(rig->client, question, sizeof(question)), sizeof(question));
	for (int i = 0; i < 200 && got == -1; i++)
		got = tls_read(&rig->tls, &rig->wire, text, sizeof(text));
	CHECK_EQ(got, sizeof(question));
	CHECK_STR(text, question);
	CHECK_EQ(tls_write(&rig->tls, &rig->wire, parts, 3), sizeof(answer));
	while (tls_flush(&rig->tls, &rig->wire) == -1)
		;
	CHECK_EQ(SSL_read(rig->client, text, sizeof(text)), sizeof(answer));
	CHECK_STR(text, answer);
}

TEST(handshakes)
{
	static const struct {
		bool rsa;
		int version;
		size_t at_once;
	} rows[] = {
		{false, TLS1_3_VERSION, SIZE_MAX},
		{false, TLS1_3_VERSION, 1	 },
		{false, TLS1_2_VERSION, SIZE_MAX},
		{false, TLS1_2_VERSION, 1	 },
		{true,  TLS1_3_VERSION, SIZE_MAX},
		{true,  TLS1_2_VERSION, 1	},
		{true,  TLS1_2_VERSION, 7	},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig rig;

		rig_open(&rig, rig_context(rows[i].rsa), TLS_HTTP, rows[i].version);
		rig.at_once = rows[i].at_once;
		CHECK(rig.tls.deadline_us == TLS_HANDSHAKE_US);
		CHECK(rig_handshake(&rig));
		CHECK(rig.tls.deadline_us == INT64_MAX);
		CHECK_EQ(SSL_version(rig.client), rows[i].version);
		converse(&rig);
		converse(&rig);
		rig_close(&rig);
	}
}

TEST(what_is_too_old_or_weak_is_refused)
{
	struct rig rig;

	rig_open(&rig, rig_context(false), TLS_HTTP, TLS1_1_VERSION);
	CHECK(!rig_handshake(&rig));
	CHECK_EQ(rig.tls.phase, TLS_BROKEN);
	rig_close(&rig);
	rig_open(&rig, rig_context(false), TLS_HTTP, TLS1_2_VERSION);
	CHECK(SSL_set_cipher_list(rig.client, "ECDHE-ECDSA-AES128-SHA256"));
	CHECK(!rig_handshake(&rig));
	CHECK_EQ(rig.tls.phase, TLS_BROKEN);
	rig_close(&rig);
}

TEST(alpn)
{
	static const struct {
		enum tls_use use;
		const char *offered;
		const char *chosen; /* NULL: refused */
	} rows[] = {
		{TLS_HTTP, "\x08http/1.1",	   "http/1.1"},
		{TLS_HTTP, "\x02h2\x08http/1.1", "http/1.1"},
		{TLS_HTTP, "\x02h2",	     NULL	 },
		{TLS_HTTP, "",		       ""	 },
		{TLS_RTMP, "\x02h2",	     ""	       },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const unsigned char *chosen = NULL;
		unsigned size = 0;
		struct rig rig;

		rig_open(&rig, rig_context(false), rows[i].use, 0);
		SSL_set_alpn_protos(rig.client, (const unsigned char *)rows[i].offered,
			(unsigned)strlen(rows[i].offered));
		CHECK_EQ(rig_handshake(&rig), rows[i].chosen != NULL);
		SSL_get0_alpn_selected(rig.client, &chosen, &size);
		if (rows[i].chosen) {
			CHECK_EQ(size, strlen(rows[i].chosen));
			CHECK(!size || !memcmp(chosen, rows[i].chosen, size));
		} else {
			CHECK_EQ(rig.tls.phase, TLS_BROKEN);
		}
		rig_close(&rig);
	}
}

/* ---- reading --------------------------------------------------------------------------------- */

TEST(a_record_read_in_parts_is_told_of)
{
	struct rig rig;
	char text[8];

	rig_open(&rig, rig_context(false), TLS_HTTP, 0);
	CHECK(rig_handshake(&rig));
	CHECK(!tls_has_plain(&rig.tls));
	SSL_write(rig.client, question, sizeof(question));
	SSL_write(rig.client, answer, sizeof(answer));
	CHECK_EQ(tls_read(&rig.tls, &rig.wire, text, sizeof(text)), sizeof(text));
	CHECK(tls_has_plain(&rig.tls));
	CHECK_EQ(tls_read(&rig.tls, &rig.wire, text, sizeof(text)), sizeof(text));
	CHECK_EQ(tls_read(&rig.tls, &rig.wire, text, sizeof(text)), sizeof(question) - 16);
	CHECK(!tls_has_plain(&rig.tls));
	CHECK(BIO_pending(rig.to_server) > 0); /* the next record was left to the socket */
	rig_close(&rig);
}

TEST(the_end_of_a_stream)
{
	struct rig rig;
	char text[64];
	struct iovec part = {(void *)(uintptr_t)answer, sizeof(answer)};

	/* close_notify: what was said before is read, and there is still somebody to answer */
	rig_open(&rig, rig_context(false), TLS_HTTP, 0);
	CHECK(rig_handshake(&rig));
	SSL_write(rig.client, question, sizeof(question));
	SSL_shutdown(rig.client);
	rig.cut = true;
	CHECK_EQ(tls_read(&rig.tls, &rig.wire, text, sizeof(text)), sizeof(question));
	CHECK_EQ(tls_read(&rig.tls, &rig.wire, text, sizeof(text)), 0);
	CHECK_EQ(tls_read(&rig.tls, &rig.wire, text, sizeof(text)), 0);
	CHECK_EQ(tls_write(&rig.tls, &rig.wire, &part, 1), sizeof(answer));
	CHECK_EQ(SSL_read(rig.client, text, sizeof(text)), sizeof(answer));
	rig_close(&rig);

	/* none: somebody may have cut it short */
	rig_open(&rig, rig_context(false), TLS_HTTP, 0);
	CHECK(rig_handshake(&rig));
	SSL_write(rig.client, question, sizeof(question));
	rig.cut = true;
	CHECK_EQ(tls_read(&rig.tls, &rig.wire, text, sizeof(text)), sizeof(question));
	CHECK_EQ(tls_read(&rig.tls, &rig.wire, text, sizeof(text)), -2);
	CHECK_EQ(tls_write(&rig.tls, &rig.wire, &part, 1), -2);
	rig_close(&rig);

	/* in the middle of the handshake */
	rig_open(&rig, rig_context(false), TLS_HTTP, 0);
	SSL_do_handshake(rig.client);
	tls_handshake(&rig.tls, &rig.wire);
	rig.cut = true;
	CHECK_EQ(tls_read(&rig.tls, &rig.wire, text, sizeof(text)), -2);
	CHECK_EQ(rig.tls.phase, TLS_BROKEN);
	rig_close(&rig);
}

TEST(garbage)
{
	static const struct {
		const char *bytes;
		size_t size;
	} rows[] = {
		{"\0\0\0\0\0\0\0\0",			     8 },
		{"\x16\x03\x01\xff\xff\x01\x00\x00",	     8 }, /* longer than a record may be */
		{"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", 10}, /* a ClientHello of one byte */
		{"\x15\x03\x01\x00\x02\x02\x28",		 7 }, /* an alert for a greeting */
		{"\x17\x03\x03\x00\x01x",			  6 }, /* data before the handshake */
		{"\x03\x00\x00\x00\x00\x00\x00\x00\x00",	 9 }, /* RTMP */
		{"SSH-2.0-nobody\r\n",		       16},
	};
	char text[8];

	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		bool open = i % 2;
		struct rig rig;

		rig_open(&rig, rig_context(false), TLS_HTTP, 0);
		if (open)
			CHECK(rig_handshake(&rig));
		BIO_write(rig.to_server, rows[i / 2].bytes, (int)rows[i / 2].size);
		CHECK_EQ(tls_read(&rig.tls, &rig.wire, text, sizeof(text)), -2);
		CHECK_EQ(rig.tls.phase, TLS_BROKEN);
		CHECK(rig.tls.reason != NULL);
		CHECK_EQ(tls_read(&rig.tls, &rig.wire, text, sizeof(text)), -2);
		rig_close(&rig);
	}
}

/* A byte changed anywhere in a record is noticed. */
TEST(forged_records)
{
	struct tls_context *context = rig_context(false);
	int size = 0;

	for (int at = 0; at == 0 || at < size; at++) {
		struct rig rig;
		char *bytes, text[64];

		context->users++;
		rig_open(&rig, context, TLS_HTTP, 0);
		CHECK(rig_handshake(&rig));
		SSL_write(rig.client, question, sizeof(question));
		size = (int)BIO_get_mem_data(rig.to_server, &bytes);
		bytes[at] ^= 0x10;
		long got = tls_read(&rig.tls, &rig.wire, text, sizeof(text));
		/* a length that grew waits for what never comes */
		CHECK(got == -2 || ((at == 3 || at == 4) && got == -1));
		rig_close(&rig);
	}
	tls_context_release(&context);
}

TEST(plain_http_is_told_so)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	char text[256] = "";
	struct rig rig;

	rig_open(&rig, rig_context(false), TLS_HTTP, 0);
	BIO_write(rig.to_server, request, sizeof(request) - 1);
	CHECK_EQ(tls_read(&rig.tls, &rig.wire, text, sizeof(text)), -2);
	CHECK(BIO_read(rig.to_client, text, sizeof(text) - 1) > 0);
	CHECK(!strncmp(text, "HTTP/1.1 400 ", 13));
	rig_close(&rig);
	rig_open(&rig, rig_context(false), TLS_RTMP, 0);
	BIO_write(rig.to_server, request, sizeof(request) - 1);
	CHECK_EQ(tls_read(&rig.tls, &rig.wire, text, sizeof(text)), -2);
	text[0] = '\0';
	BIO_read(rig.to_client, text, sizeof(text) - 1);
	CHECK(text[0] != 'H');
	rig_close(&rig);
}

TEST(renegotiation_is_refused)
{
	struct rig rig;
	char text[64];

	rig_open(&rig, rig_context(false), TLS_HTTP, TLS1_2_VERSION);
	CHECK(rig_handshake(&rig));
	CHECK(SSL_renegotiate(rig.client));
	SSL_do_handshake(rig.client);
	long got = tls_read(&rig.tls, &rig.wire, text, sizeof(text));
	CHECK(got == -1 || got == -2);
	CHECK(SSL_do_handshake(rig.client) != 1); /* and it heard no */
	CHECK_EQ(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
	rig_close(&rig);
}

/* Each asks for an answer that it does not take. */
TEST(a_flood_of_key_updates_is_bounded)
{
	struct rig rig;
	char text[64];
	long got = -1;

	rig_open(&rig, rig_context(false), TLS_HTTP, TLS1_3_VERSION);
	CHECK(rig_handshake(&rig));
	rig.room = 0;
	for (int i = 0; i < 5000 && got == -1; i++) {
		CHECK(SSL_key_update(rig.client, SSL_KEY_UPDATE_REQUESTED));
		CHECK_EQ(SSL_do_handshake(rig.client), 1);
		got = tls_read(&rig.tls, &rig.wire, text, sizeof(text));
		CHECK_LE(rig.tls.pending_end, TLS_PENDING_MAX);
	}
	CHECK_EQ(got, -2);
	rig_close(&rig);
}

/* ---- writing --------------------------------------------------------------------------------- */

TEST(a_slow_peer_costs_one_record)
{
	enum { SIZE = 200000 };
	static uint8_t sent[SIZE], seen[SIZE];
	static const size_t rooms[] = {1, 100, 16000, 16384, 20000, 50000};

	for (size_t i = 0; i < SIZE; i++)
		sent[i] = (uint8_t)(i * 31 + i / 251);
	for (size_t row = 0; row < sizeof(rooms) / sizeof(rooms[0]); row++) {
		size_t taken = 0, got = 0;
		struct rig rig;

		rig_open(&rig, rig_context(false), TLS_HTTP, 0);
		CHECK(rig_handshake(&rig));
		while (taken < SIZE || tls_has_pending(&rig.tls)) {
			/* pieces of all sizes, as tags are */
			struct iovec parts[3] = {
				{sent + taken,		       0			},
				{sent + taken,		       (SIZE - taken) / 3},
				{sent + taken + (SIZE - taken) / 3,
					SIZE - taken - (SIZE - taken) / 3			 },
			};
			uint8_t bytes[4096];
			int more;

			rig.room = rooms[row];
			long size = tls_write(&rig.tls, &rig.wire, parts, 3);
			CHECK(size != -2);
			taken += size > 0 ? (size_t)size : 0;
			CHECK_LE(rig.tls.pending_end - rig.tls.pending_at, TLS_RECORD_MAX + 64);
			if (rooms[row] == 1) /* bytes trickle: enough of them in a row */
				rig.room = 7777;
			tls_flush(&rig.tls, &rig.wire);
			while ((more = SSL_read(rig.client, bytes, sizeof(bytes))) > 0) {
				CHECK(got + (size_t)more <= SIZE);
				memcpy(seen + got, bytes, (size_t)more);
				got += (size_t)more;
			}
		}
		CHECK_EQ(got, SIZE);
		CHECK_MEM(sent, seen, SIZE);
		CHECK(rig.tls.pending == NULL); /* a viewer that keeps up holds nothing */
		rig_close(&rig);
	}
}

TEST(goodbye)
{
	struct iovec part = {(void *)(uintptr_t)answer, sizeof(answer)};
	char text[64];
	struct rig rig;

	rig_open(&rig, rig_context(false), TLS_HTTP, 0);
	CHECK(rig_handshake(&rig));
	rig.room = 3;
	CHECK_EQ(tls_write(&rig.tls, &rig.wire, &part, 1), sizeof(answer));
	tls_goodbye(&rig.tls, &rig.wire);
	tls_goodbye(&rig.tls, &rig.wire);
	CHECK(tls_has_pending(&rig.tls));
	CHECK_EQ(tls_write(&rig.tls, &rig.wire, &part, 1), -2);
	CHECK_EQ(tls_flush(&rig.tls, &rig.wire), -1);
	rig.room = SIZE_MAX;
	CHECK_EQ(tls_flush(&rig.tls, &rig.wire), 1);
	CHECK_EQ(SSL_read(rig.client, text, sizeof(text)), sizeof(answer));
	CHECK_EQ(SSL_read(rig.client, text, sizeof(text)), 0);
	CHECK_EQ(SSL_get_shutdown(rig.client), SSL_RECEIVED_SHUTDOWN);
	rig_close(&rig);
}

TEST(a_torn_wire)
{
	struct iovec part = {(void *)(uintptr_t)answer, sizeof(answer)};
	struct rig rig;

	for (int pending = 0; pending < 2; pending++) {
		rig_open(&rig, rig_context(false), TLS_HTTP, 0);
		CHECK(rig_handshake(&rig));
		rig.room = pending ? 3 : SIZE_MAX;
		if (pending)
			CHECK_EQ(tls_write(&rig.tls, &rig.wire, &part, 1), sizeof(answer));
		rig.torn = true;
		CHECK_EQ(tls_write(&rig.tls, &rig.wire, &part, 1), -2);
		CHECK_EQ(rig.tls.phase, TLS_BROKEN);
		rig_close(&rig);
	}
}

TEST(a_late_handshake_is_given_up)
{
	struct rig rig;
	char text[8];

	rig_open(&rig, rig_context(false), TLS_HTTP, 0);
	CHECK_EQ(tls_read(&rig.tls, &rig.wire, text, sizeof(text)), -1);
	tls_give_up(&rig.tls);
	CHECK_EQ(tls_read(&rig.tls, &rig.wire, text, sizeof(text)), -2);
	CHECK_STR(rig.tls.reason, "the handshake took too long");
	rig_close(&rig);
}

/* ---- tickets --------------------------------------------------------------------------------- */

TEST(tickets_hold_in_all_workers_and_no_longer_than_the_certificate)
{
	struct {
		const char *pair;
		const uint8_t *secret;
		bool resumed;
	} rows[] = {
		{"one", rig_secret,					 true },
		{"one", (const uint8_t *)"another node's secret, 32 bytes", false},
		{"two", rig_secret,					 false},
	};
	char problem[TLS_PROBLEM_MAX], text[64], cert[PATH_SIZE], key[PATH_SIZE], name[16];

	rig_make("one", (struct rig_pair){0});
	rig_make("two", (struct rig_pair){0});
	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		int version = i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION;
		struct tls_context *context;
		struct rig first, second;

		CHECK_OK(rig_load_files(&context, "one.pem", "one.key", NOW_S, problem));
		rig_open(&first, context, TLS_HTTP, version);
		CHECK(rig_handshake(&first));
		converse(&first);
		SSL_SESSION *session = SSL_get1_session(first.client);
		CHECK(SSL_SESSION_is_resumable(session));

		snprintf(name, sizeof(name), "%s.pem", rows[i / 2].pair);
		rig_path(name, cert);
		snprintf(name, sizeof(name), "%s.key", rows[i / 2].pair);
		CHECK_OK(tls_context_load(&context, &(struct tls_files){cert, rig_path(name, key)},
			rows[i / 2].secret, NOW_S, problem));
		rig_open(&second, context, TLS_HTTP, version);
		SSL_set_session(second.client, session);
		CHECK(rig_handshake(&second));
		CHECK_EQ(SSL_session_reused(second.client), rows[i / 2].resumed);
		SSL_read(second.client, text, sizeof(text));
		SSL_SESSION_free(session);
		rig_close(&first);
		rig_close(&second);
	}
	rig_remove_pair("one");
	rig_remove_pair("two");
}

/* ---- certificates ---------------------------------------------------------------------------- */

TEST(files_that_cannot_be_used)
{
	static const struct {
		const char *certificate, *key;
		int64_t unix_s;
		const char *problem; /* part of it; "" = it can */
	} rows[] = {
		{"one.pem",    "one.key",    NOW_S,	      ""					},
		{"chain.pem",  "chain.key",  NOW_S,		  ""				    },
		{"both.pem",   "both.pem",	 NOW_S,		""				  },
		{"none.pem",   "one.key",	NOW_S,	       "No such file"			     },
		{"one.pem",    "none.key",	NOW_S,	       "No such file"			     },
		{"empty",	  "one.key",    NOW_S,		    "is empty"			      },
		{"large",	  "one.key",    NOW_S,		    "is larger than"		    },
		{".",	      "one.key",	 NOW_S,		"is not a file"		       },
		{"garbage",    "one.key",    NOW_S,	      "expected a certificate in PEM form"},
		{"one.key",    "one.key",    NOW_S,	      "expected a certificate in PEM form"},
		{"one.pem",    "garbage",    NOW_S,	      "expected a private key in PEM form"},
		{"one.pem",    "one.pem",    NOW_S,	      "expected a private key in PEM form"},
		{"one.pem",    "two.key",    NOW_S,	      "is not that of the certificate"    },
		{"locked.pem", "locked.key", NOW_S,		    "the key is encrypted"		  },
		{"one.pem",    "one.key",    NOW_S + 31 * DAY_S, "expired on 20"			  },
		{"broken.pem", "one.key",	  NOW_S,		 "the chain is damaged"	       },
		{"long.pem",   "long.key",	 NOW_S,		"too many"			  },
	};
	static char large[TLS_FILE_MAX + 1];
	char problem[TLS_PROBLEM_MAX], path[PATH_SIZE], text[8192];
	struct tls_context *context;

	rig_make("one", (struct rig_pair){0});
	rig_make("two", (struct rig_pair){.rsa = true});
	rig_make("chain", (struct rig_pair){.rsa = true, .chain = 2});
	rig_make("long", (struct rig_pair){.chain = TLS_CHAIN_MAX + 1});
	rig_make("locked", (struct rig_pair){.password = "password"});
	rig_write("empty", "", 0, 0600);
	rig_write("large", large, sizeof(large), 0600);
	rig_write("garbage", "no certificate\n", 15, 0600);
	FILE *file = fopen(rig_path("one.pem", path), "r");
	size_t size = fread(text, 1, sizeof(text) / 4, file);
	fclose(file);
	memcpy(text + size, text, size - 60); /* a second one, cut short */
	rig_write("broken.pem", text, 2 * size - 60, 0600);
	file = fopen(rig_path("one.key", path), "r");
	size += fread(text + size, 1, sizeof(text) / 4, file);
	fclose(file);
	rig_write("both.pem", text, size, 0600);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum err err = rig_load_files(
			&context, rows[i].certificate, rows[i].key, rows[i].unix_s, problem);

		if (!rows[i].problem[0]) {
			CHECK_OK(err);
			CHECK_STR(problem, "");
			CHECK_EQ(context->expires_s, NOW_S + 30 * DAY_S);
			CHECK(!context->is_early && !context->key_is_open);
			tls_context_release(&context);
			continue;
		}
		CHECK_EQ(err, ERR_CONFIG);
		CHECK(context == NULL);
		if (!strstr(problem, rows[i].problem))
			fail_msg("row %zu: %s", i, problem);
	}
	rig_path("one.key", path);
	chmod(path, 0640);
	CHECK_OK(rig_load_files(&context, "one.pem", "one.key", NOW_S - 2 * DAY_S, problem));
	CHECK(context->key_is_open);
	CHECK(context->is_early);
	tls_context_release(&context);
	static const char *const pairs[] = {"one", "two", "chain", "long", "locked"};
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		rig_remove_pair(pairs[i]);
	static const char *const files[] = {"empty", "large", "garbage", "broken.pem", "both.pem"};
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		rig_remove(files[i]);
}

TEST(a_connection_outlives_its_context)
{
	struct rig rig;

	rig_open(&rig, rig_context(false), TLS_HTTP, 0);
	CHECK(rig_handshake(&rig));
	tls_context_release(&rig.context);
	converse(&rig);
	rig_close(&rig);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static size_t try_to_load(size_t fail_at)
{
	struct tls_context *context;
	char problem[TLS_PROBLEM_MAX];

	allocations = 0;
	fails_at = fail_at;
	rig_memory_fails = true;
	enum err err = rig_load_files(&context, "pair.pem", "pair.key", NOW_S, problem);
	rig_memory_fails = false;
	CHECK(err || context);
	CHECK(!err == !problem[0]);
	tls_context_release(&context);
	return allocations;
}

/* A handshake and a record each way: whatever is missing breaks the connection at most. */
static size_t try_to_talk(struct tls_context *context, size_t fail_at)
{
	struct iovec part = {(void *)(uintptr_t)answer, sizeof(answer)};
	struct rig rig;
	char text[64];

	context->users++;
	rig_open(&rig, context, TLS_HTTP, 0);
	tls_fini(&rig.tls); /* once more, where memory counts */
	allocations = 0;
	fails_at = fail_at;
	rig_memory_fails = true;
	enum err err = tls_init(&rig.tls, context, TLS_HTTP, 0);
	rig_memory_fails = false;
	for (int i = 0; !err && i < 4; i++) {
		SSL_do_handshake(rig.client);
		rig_memory_fails = true;
		tls_handshake(&rig.tls, &rig.wire);
		rig_memory_fails = false;
	}
	if (!err && SSL_is_init_finished(rig.client))
		SSL_write(rig.client, question, sizeof(question));
	rig_memory_fails = !err;
	if (!err) {
		tls_read(&rig.tls, &rig.wire, text, sizeof(text));
		tls_write(&rig.tls, &rig.wire, &part, 1);
		tls_goodbye(&rig.tls, &rig.wire);
	}
	rig_memory_fails = false;
	bool heard = !err && SSL_read(rig.client, text, sizeof(text)) == sizeof(answer);
	CHECK(err || rig.tls.phase == TLS_BROKEN || heard);
	CHECK(fail_at || heard);
	rig_close(&rig);
	return allocations;
}

TEST(without_memory)
{
	struct tls_context *context;
	char problem[TLS_PROBLEM_MAX];

	rig_make("pair", (struct rig_pair){.chain = 1});
	size_t count = try_to_load(0);
	CHECK_GE(count, 100);
	for (size_t i = 1; i <= count; i += 1 + i / 50)
		try_to_load(i);
	for (size_t i = 1; i < 4; i++) {
		test_fail_allocation(i);
		rig_load_files(&context, "pair.pem", "pair.key", NOW_S, problem);
		test_fail_allocation(0);
		tls_context_release(&context);
	}
	CHECK_OK(rig_load_files(&context, "pair.pem", "pair.key", NOW_S, problem));
	count = try_to_talk(context, 0);
	CHECK_GE(count, 50);
	for (size_t i = 1; i <= count; i++)
		try_to_talk(context, i);
	tls_context_release(&context);
	rig_remove_pair("pair");
}

TEST(no_memory_for_what_the_wire_does_not_take)
{
	struct iovec part = {(void *)(uintptr_t)answer, sizeof(answer)};
	struct rig rig;

	rig_open(&rig, rig_context(false), TLS_HTTP, 0);
	CHECK(rig_handshake(&rig));
	rig.room = 0;
	test_fail_allocation(1);
	CHECK_EQ(tls_write(&rig.tls, &rig.wire, &part, 1), -2);
	test_fail_allocation(0);
	CHECK_EQ(rig.tls.phase, TLS_BROKEN);
	rig_close(&rig);
}
