/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/permit.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <string.h>

enum {
	NODE_SIZE = 8,
	UNTIL_SIZE = 5,
	FLAGS_AT = NODE_SIZE + UNTIL_SIZE,
	NUMBER_AT = FLAGS_AT + 1,
	NUMBER_SIZE = 8,
	HEAD_SIZE = NUMBER_AT + NUMBER_SIZE,
	MAC_SIZE = 16,
	BYTES_MAX = HEAD_SIZE + PERMIT_SUBJECT_MAX + MAC_SIZE,
	FLAG_PLAY = 1,
	STANDBY_SHIFT = 1,
	STANDBY_MASK = 3,
	FLAGS_KNOWN = FLAG_PLAY | STANDBY_MASK << STANDBY_SHIFT,
};

static const char prefix[] = "p2.";

enum { PREFIX_SIZE = sizeof(prefix) - 1 };

_Static_assert(PREFIX_SIZE + (BYTES_MAX * 8 + 5) / 6 <= PERMIT_TEXT_MAX, "the text fits");

void permit_key_derive(uint8_t key[PERMIT_KEY_SIZE], const uint8_t *secret, size_t secret_size)
{
	static const char purpose[] = "millrace permits";
	unsigned size = 0;

	MUST(HMAC(EVP_sha256(), secret, (int)secret_size, (const uint8_t *)purpose,
		     sizeof(purpose) - 1, key, &size) &&
		size == PERMIT_KEY_SIZE);
}

/* Where the name begins is clear: a subject has no NUL. */
static void sign(const uint8_t key[PERMIT_KEY_SIZE], const uint8_t *bytes, size_t size,
	const char *stream, uint8_t mac[MAC_SIZE])
{
	uint8_t said[BYTES_MAX + 1 + NAME_PATH_SIZE_MAX], whole[EVP_MAX_MD_SIZE];
	size_t name_size = strlen(stream);
	unsigned whole_size = 0;

	MUST(size <= HEAD_SIZE + PERMIT_SUBJECT_MAX && name_size <= NAME_PATH_SIZE_MAX);
	memcpy(said, bytes, size);
	said[size] = 0;
	memcpy(said + size + 1, stream, name_size);
	MUST(HMAC(EVP_sha256(), key, PERMIT_KEY_SIZE, said, size + 1 + name_size, whole,
		&whole_size));
	memcpy(mac, whole, MAC_SIZE);
	OPENSSL_cleanse(whole, sizeof(whole));
}

static void put_number(uint8_t *bytes, int size, uint64_t number)
{
	for (int i = 0; i < size; i++)
		bytes[i] = (uint8_t)(number >> (8 * (size - 1 - i)));
}

void permit_write(const uint8_t key[PERMIT_KEY_SIZE], const struct permit *permit,
	const char *stream, char text[PERMIT_TEXT_MAX + 1])
{
	uint8_t bytes[BYTES_MAX];
	size_t subject_size = strlen(permit->subject), size = HEAD_SIZE + subject_size;

	MUST(subject_size <= PERMIT_SUBJECT_MAX);
	put_number(bytes, NODE_SIZE, permit->node);
	put_number(bytes + NODE_SIZE, UNTIL_SIZE, (uint64_t)permit->until_s);
	put_number(bytes + NUMBER_AT, NUMBER_SIZE, permit->number);
	bytes[FLAGS_AT] = (uint8_t)((permit->action == TOKEN_PLAY ? FLAG_PLAY : 0) |
				    (unsigned)permit->standby << STANDBY_SHIFT);
	memcpy(bytes + HEAD_SIZE, permit->subject, subject_size);
	sign(key, bytes, size, stream, bytes + size);
	memcpy(text, prefix, PREFIX_SIZE);
	token_from_random(TOKEN_BASE64URL, bytes, size + MAC_SIZE, text + PREFIX_SIZE,
		PERMIT_TEXT_MAX + 1 - PREFIX_SIZE);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* -1: no letter of base64url (RFC 4648 5). */
static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* How many bytes it has; 0: it is no permit. */
static size_t permit_bytes(const char *text, size_t text_size, uint8_t bytes[BYTES_MAX])
{
	size_t size = 0;
	uint32_t bits = 0;
	unsigned held = 0;

	if (text_size <= PREFIX_SIZE || text_size > PERMIT_TEXT_MAX ||
		memcmp(text, prefix, PREFIX_SIZE) != 0)
		return 0;
	for (size_t i = PREFIX_SIZE; i < text_size; i++) {
		int value = value_of(text[i]);

		if (value < 0 || (held >= 2 && size == BYTES_MAX))
			return 0;
		bits = (bits << 6 | (uint32_t)value) & 0xffff;
		held += 6;
		if (held >= 8) {
			held -= 8;
			bytes[size++] = (uint8_t)(bits >> held);
		}
	}
	/* what is left over is no bit of anything: there is one text for each permit */
	if (held >= 6 || bits & ((1U << held) - 1))
		return 0;
	return size < HEAD_SIZE + MAC_SIZE ? 0 : size;
}

static uint64_t number_at(const uint8_t *bytes, int size)
{
	uint64_t number = 0;

	for (int i = 0; i < size; i++)
		number = number << 8 | bytes[i];
	return number;
}

bool permit_is_one(const char *text, size_t size)
{
	uint8_t bytes[BYTES_MAX];

	return permit_bytes(text, size, bytes) > 0;
}

uint64_t permit_issuer(const char *text)
{
	uint8_t bytes[BYTES_MAX];

	return permit_bytes(text, strlen(text), bytes) ? number_at(bytes, NODE_SIZE) : 0;
}

enum err permit_check(const uint8_t key[PERMIT_KEY_SIZE], const char *text, const char *stream,
	enum token_action action, int64_t now_s, struct permit *out)
{
	uint8_t bytes[BYTES_MAX], mac[MAC_SIZE], flags;
	size_t size = permit_bytes(text, strlen(text), bytes), subject_size;
	struct permit permit = {0};

	if (!size || strlen(stream) > NAME_PATH_SIZE_MAX)
		return ERR_AUTH;
	size -= MAC_SIZE;
	sign(key, bytes, size, stream, mac);
	if (!token_equal(mac, bytes + size, MAC_SIZE))
		return ERR_AUTH;
	flags = bytes[FLAGS_AT];
	subject_size = size - HEAD_SIZE;
	permit.node = number_at(bytes, NODE_SIZE);
	permit.until_s = (int64_t)number_at(bytes + NODE_SIZE, UNTIL_SIZE);
	permit.number = number_at(bytes + NUMBER_AT, NUMBER_SIZE);
	permit.action = flags & FLAG_PLAY ? TOKEN_PLAY : TOKEN_PUBLISH;
	permit.standby = flags >> STANDBY_SHIFT & STANDBY_MASK;
	memcpy(permit.subject, bytes + HEAD_SIZE, subject_size);
	if (flags & ~FLAGS_KNOWN || permit.standby > NAME_STANDBY_NO ||
		memchr(permit.subject, 0, subject_size) || permit.action != action ||
		permit.until_s <= now_s)
		return ERR_AUTH;
	*out = permit;
	return ERR_OK;
}
