/* SPDX-License-Identifier: Apache-2.0
 *
 * RTMP handshake, server side. See handshake.h.
 *
 * A part (C1, S1) is: time (4), version (4, zero in the simple form), then two blocks of 764 bytes.
 * The digest block begins with 4 bytes whose sum modulo 728 says where after them the 32 bytes of
 * digest lie; the key block (for encrypted RTMP, not spoken here) is filling to us. The digest is
 * an HMAC over the part without those 32 bytes. S2 ends with an HMAC over its filling, keyed with
 * an HMAC of the client's digest: this proves that C1 was understood.
 */
#include "actors/rtmp/handshake.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

enum {
	VERSION = 3,
	BLOCK_SIZE = 764,
	DIGEST_SPREAD = 728, /* 764 - 4 bytes of offset - 32 bytes of digest */
	SIGNED_SIZE = HANDSHAKE_PART_SIZE - HANDSHAKE_DIGEST_SIZE,
};

const uint8_t handshake_client_key[HANDSHAKE_CLIENT_KEY_SIZE] = "Genuine Adobe Flash Player 001";
const uint8_t handshake_server_key[HANDSHAKE_SERVER_KEY_SIZE] =
	"Genuine Adobe Flash Media Server 001"
	"\xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57"
	"\x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";

size_t handshake_digest_offset(
	const uint8_t part[HANDSHAKE_PART_SIZE], enum handshake_schema schema)
{
	size_t block = schema == HANDSHAKE_KEY_FIRST ? 8 + BLOCK_SIZE : 8;
	const uint8_t *p = part + block;

	return block + 4 + (size_t)(p[0] + p[1] + p[2] + p[3]) % DIGEST_SPREAD;
}

static enum err hmac(const uint8_t *key, size_t key_size, const uint8_t *bytes, size_t size,
	uint8_t out[HANDSHAKE_DIGEST_SIZE])
{
	return HMAC(EVP_sha256(), key, (int)key_size, bytes, size, out, NULL) ? ERR_OK : ERR_CRYPTO;
}

enum err handshake_digest(const uint8_t part[HANDSHAKE_PART_SIZE], size_t offset,
	const uint8_t *key, size_t key_size, uint8_t digest[HANDSHAKE_DIGEST_SIZE])
{
	uint8_t joined[SIGNED_SIZE];

	MUST(offset <= SIGNED_SIZE);
	memcpy(joined, part, offset);
	memcpy(joined + offset, part + offset + HANDSHAKE_DIGEST_SIZE, SIGNED_SIZE - offset);
	return hmac(key, key_size, joined, sizeof(joined), digest);
}

static enum err detect_schema(const uint8_t *c1, enum handshake_schema *schema)
{
	static const enum handshake_schema order[] = {HANDSHAKE_DIGEST_FIRST, HANDSHAKE_KEY_FIRST};
	static const uint8_t no_version[4];

	*schema = HANDSHAKE_SIMPLE;
	if (memcmp(c1 + 4, no_version, sizeof(no_version)) == 0)
		return ERR_OK;
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		size_t offset = handshake_digest_offset(c1, order[i]);
		uint8_t digest[HANDSHAKE_DIGEST_SIZE];
		enum err err = handshake_digest(
			c1, offset, handshake_client_key, sizeof(handshake_client_key), digest);

		if (err)
			return err;
		if (memcmp(digest, c1 + offset, sizeof(digest)) == 0) {
			*schema = order[i];
			return ERR_OK;
		}
	}
	return ERR_OK;
}

/* splitmix64: filling only. */
static void fill(uint8_t *out, size_t size, uint64_t *seed)
{
	for (size_t i = 0; i < size; i += 8) {
		uint64_t z = *seed += 0x9e3779b97f4a7c15u;

		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
		z = (z ^ z >> 27) * 0x94d049bb133111ebu;
		z ^= z >> 31;
		memcpy(out + i, &z, size - i < 8 ? size - i : 8);
	}
}

static enum err sign_answer(
	uint8_t *s1, uint8_t *s2, const uint8_t *c1, enum handshake_schema schema)
{
	static const uint8_t version[4] = {4, 5, 0, 1}; /* a server that signs */
	uint8_t key[HANDSHAKE_DIGEST_SIZE];
	enum err err;

	memcpy(s1 + 4, version, sizeof(version));
	size_t offset = handshake_digest_offset(s1, schema);
	err = handshake_digest(
		s1, offset, handshake_server_key, HANDSHAKE_SERVER_TEXT_SIZE, s1 + offset);
	if (err)
		return err;
	err = hmac(handshake_server_key, sizeof(handshake_server_key),
		c1 + handshake_digest_offset(c1, schema), HANDSHAKE_DIGEST_SIZE, key);
	if (err)
		return err;
	return hmac(key, sizeof(key), s2, SIGNED_SIZE, s2 + SIGNED_SIZE);
}

static enum err answer(
	struct handshake *h, const uint8_t *c1, struct writer *out, uint64_t seed, uint32_t now_ms)
{
	enum handshake_schema schema;
	enum err err = detect_schema(c1, &schema);
	uint8_t s1[HANDSHAKE_PART_SIZE], s2[HANDSHAKE_PART_SIZE];
	struct writer times = writer_of(s1, 8);

	if (err)
		return err;
	fill(s1 + 8, sizeof(s1) - 8, &seed);
	write_u32(&times, now_ms);
	write_u32(&times, 0);
	if (schema == HANDSHAKE_SIMPLE) {
		/* The specification would let the second time field differ; clients compare all. */
		memcpy(s2, c1, sizeof(s2));
	} else {
		fill(s2, SIGNED_SIZE, &seed);
		err = sign_answer(s1, s2, c1, schema);
		if (err)
			return err;
	}
	h->schema = (uint8_t)schema;
	write_u8(out, VERSION);
	write_bytes(out, s1, sizeof(s1));
	write_bytes(out, s2, sizeof(s2));
	return ERR_OK;
}

enum err handshake_read(struct handshake *h, uint8_t *scratch, struct reader *in,
	struct writer *out, uint64_t seed, uint32_t now_ms)
{
	const uint32_t whole = HANDSHAKE_ASK_SIZE + HANDSHAKE_PART_SIZE;

	if (h->taken < HANDSHAKE_ASK_SIZE) {
		size_t wanted = HANDSHAKE_ASK_SIZE - h->taken;
		size_t size = reader_left(in) < wanted ? reader_left(in) : wanted;

		if (size == 0)
			return ERR_AGAIN;
		if (h->taken == 0 && *in->at != VERSION)
			return ERR_UNSUPPORTED;
		if (size == wanted && writer_left(out) < HANDSHAKE_ANSWER_SIZE)
			return ERR_NO_SPACE;
		memcpy(scratch + h->taken, read_bytes(in, size), size);
		h->taken += (uint32_t)size;
		if (size < wanted)
			return ERR_AGAIN;
		enum err err = answer(h, scratch + 1, out, seed, now_ms);
		if (err)
			return err;
	}
	/* C2 proves nothing that we rely on, and clients fill it as they like. */
	size_t skip = whole - h->taken;
	if (reader_left(in) < skip)
		skip = reader_left(in);
	read_bytes(in, skip);
	h->taken += (uint32_t)skip;
	return h->taken == whole ? ERR_OK : ERR_AGAIN;
}

bool handshake_is_valid(const struct handshake *h)
{
	return h->taken <= HANDSHAKE_ASK_SIZE + HANDSHAKE_PART_SIZE &&
	       h->schema < HANDSHAKE_SCHEMA_COUNT;
}
