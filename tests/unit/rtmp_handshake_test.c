/* SPDX-License-Identifier: Apache-2.0
 *
 * The RTMP handshake from the client's side: simple, and both digest layouts, verified as a client
 * does; in any fragmentation; and what is no handshake.
 */
#include "tests/test.h"

#include "actors/rtmp/handshake.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { CLIENT_SIZE = HANDSHAKE_ASK_SIZE + HANDSHAKE_PART_SIZE };

static void make_client(uint8_t bytes[CLIENT_SIZE], enum handshake_schema schema, unsigned seed)
{
	uint8_t *c1 = bytes + 1;

	for (size_t i = 0; i < CLIENT_SIZE; i++)
		bytes[i] = (uint8_t)(seed = seed * 1103515245 + 12345, seed >> 16);
	bytes[0] = 3;
	memset(c1 + 4, schema == HANDSHAKE_SIMPLE ? 0 : 9, 4);
	if (schema == HANDSHAKE_SIMPLE)
		return;
	size_t offset = handshake_digest_offset(c1, schema);
	CHECK_OK(handshake_digest(
		c1, offset, handshake_client_key, HANDSHAKE_CLIENT_KEY_SIZE, c1 + offset));
}

static void check_answer(const uint8_t *client, const uint8_t *answer, enum handshake_schema schema)
{
	const uint8_t *s1 = answer + 1;
	const uint8_t *s2 = s1 + HANDSHAKE_PART_SIZE;
	uint8_t digest[HANDSHAKE_DIGEST_SIZE];

	CHECK_EQ(answer[0], 3);
	CHECK_MEM(s1, "\0\0\x04\xd2", 4);
	if (schema == HANDSHAKE_SIMPLE) {
		CHECK_MEM(s2, client + 1, HANDSHAKE_PART_SIZE);
		CHECK_MEM(s1 + 4, "\0\0\0\0", 4);
		return;
	}
	size_t offset = handshake_digest_offset(s1, schema);
	CHECK_OK(handshake_digest(
		s1, offset, handshake_server_key, HANDSHAKE_SERVER_TEXT_SIZE, digest));
	CHECK_MEM(digest, s1 + offset, sizeof(digest));

	/* S2: the last 32 bytes sign the others with a key made from the client's digest. */
	uint8_t key[HANDSHAKE_DIGEST_SIZE];
	HMAC(EVP_sha256(), handshake_server_key, HANDSHAKE_SERVER_KEY_SIZE,
		client + 1 + handshake_digest_offset(client + 1, schema), sizeof(digest), key,
		NULL);
	HMAC(EVP_sha256(), key, sizeof(key), s2, HANDSHAKE_PART_SIZE - sizeof(digest), digest,
		NULL);
	CHECK_MEM(digest, s2 + HANDSHAKE_PART_SIZE - sizeof(digest), sizeof(digest));
}

TEST(every_kind_of_client_is_answered_in_any_fragmentation)
{
	static const size_t steps[] = {1, 2, 7, 1535, 1536, 1537, 1538, CLIENT_SIZE};

	for (int schema = HANDSHAKE_SIMPLE; schema < HANDSHAKE_SCHEMA_COUNT; schema++) {
		for (size_t k = 0; k < sizeof(steps) / sizeof(steps[0]); k++) {
			uint8_t client[CLIENT_SIZE + 3], scratch[HANDSHAKE_ASK_SIZE];
			uint8_t answer[HANDSHAKE_ANSWER_SIZE];
			struct handshake h = {0};
			struct writer out = writer_of(answer, sizeof(answer));
			enum err err = ERR_AGAIN;

			make_client(client, (enum handshake_schema)schema, (unsigned)k);
			for (size_t at = 0; at < CLIENT_SIZE && err == ERR_AGAIN; at += steps[k]) {
				size_t size =
					CLIENT_SIZE - at < steps[k] ? CLIENT_SIZE - at : steps[k];
				struct reader in = reader_of(client + at, size);
				err = handshake_read(&h, scratch, &in, &out, k, 1234);
				CHECK_EQ(reader_left(&in), 0);
				CHECK(handshake_is_valid(&h));
			}
			CHECK_OK(err);
			CHECK_EQ(h.schema, schema);
			CHECK_EQ(writer_used(&out), HANDSHAKE_ANSWER_SIZE);
			check_answer(client, answer, (enum handshake_schema)schema);
		}
	}
}

TEST(a_wrong_digest_means_a_simple_client)
{
	uint8_t client[CLIENT_SIZE], scratch[HANDSHAKE_ASK_SIZE], answer[HANDSHAKE_ANSWER_SIZE];
	struct handshake h = {0};
	struct writer out = writer_of(answer, sizeof(answer));

	make_client(client, HANDSHAKE_DIGEST_FIRST, 5);
	client[1 + handshake_digest_offset(client + 1, HANDSHAKE_DIGEST_FIRST)] ^= 1;
	struct reader in = reader_of(client, sizeof(client));
	CHECK_OK(handshake_read(&h, scratch, &in, &out, 1, 1234));
	CHECK_EQ(h.schema, HANDSHAKE_SIMPLE);
	check_answer(client, answer, HANDSHAKE_SIMPLE);
}

TEST(what_follows_is_left_and_what_is_wrong_is_refused)
{
	uint8_t client[CLIENT_SIZE + 3], scratch[HANDSHAKE_ASK_SIZE], answer[HANDSHAKE_ANSWER_SIZE];
	struct handshake h = {0};
	struct writer small = writer_of(answer, sizeof(answer) - 1);
	struct writer out = writer_of(answer, sizeof(answer));

	make_client(client, HANDSHAKE_SIMPLE, 1);
	struct reader in = reader_of(client, sizeof(client));
	CHECK_EQ(handshake_read(&h, scratch, &in, &small, 1, 1234), ERR_NO_SPACE);
	CHECK_EQ(reader_left(&in), sizeof(client));
	CHECK_OK(handshake_read(&h, scratch, &in, &out, 1, 1234));
	CHECK_EQ(reader_left(&in), 3);

	static const uint8_t versions[] = {0, 2, 4, 6, 'G', 0x16, 0xff};
	for (size_t i = 0; i < sizeof(versions); i++) {
		h = (struct handshake){0};
		in = reader_of(&versions[i], 1);
		CHECK_EQ(handshake_read(&h, scratch, &in, &out, 1, 1234), ERR_UNSUPPORTED);
	}
	CHECK(!handshake_is_valid(&(struct handshake){.taken = CLIENT_SIZE + 1}));
	CHECK(!handshake_is_valid(&(struct handshake){.schema = HANDSHAKE_SCHEMA_COUNT}));
}
