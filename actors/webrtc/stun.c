/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/webrtc/stun.h"

#include "actors/webrtc/openssl.h"

enum {
	MAGIC_COOKIE = 0x2112a442,
	FINGERPRINT_XOR = 0x5354554e, /* RFC 8489 14.7 */
	METHOD_BINDING = 1,
	INTEGRITY_SIZE = 20, /* HMAC-SHA1 */
	ATTRIBUTE_HEADER_SIZE = 4,
	FAMILY_IPV4 = 1, /* RFC 8489 14.1 */
	FAMILY_IPV6 = 2,
};

enum attribute { /* RFC 8489 18.3, RFC 8445 16.1 */
	ATTRIBUTE_MAPPED_ADDRESS = 0x0001,
	ATTRIBUTE_USERNAME = 0x0006,
	ATTRIBUTE_MESSAGE_INTEGRITY = 0x0008,
	ATTRIBUTE_ERROR_CODE = 0x0009,
	ATTRIBUTE_UNKNOWN_ATTRIBUTES = 0x000a,
	ATTRIBUTE_REALM = 0x0014,
	ATTRIBUTE_NONCE = 0x0015,
	ATTRIBUTE_MESSAGE_INTEGRITY_SHA256 = 0x001c,
	ATTRIBUTE_XOR_MAPPED_ADDRESS = 0x0020,
	ATTRIBUTE_PRIORITY = 0x0024,
	ATTRIBUTE_USE_CANDIDATE = 0x0025,
	ATTRIBUTE_FINGERPRINT = 0x8028,
	ATTRIBUTE_ICE_CONTROLLED = 0x8029,
	ATTRIBUTE_ICE_CONTROLLING = 0x802a,
	COMPREHENSION_OPTIONAL = 0x8000, /* types from here on may be ignored */
};

struct attribute_value {
	const uint8_t *at;
	uint16_t size; /* bytes, without padding */
};

static size_t padded(size_t size)
{
	return (size + 3) & ~(size_t)3;
}

/* CRC-32 of ITU-T V.42 (as zlib's), four bits a step: small table, and checks are rare and short. */
static uint32_t crc32_of(const uint8_t *bytes, size_t size)
{
	static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
		0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8,
		0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
	uint32_t crc = ~0u;

	for (size_t i = 0; i < size; i++) {
		crc ^= bytes[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

/* One pass of HMAC (RFC 2104) is begun: the key, padded to a block, XORed with `pad`. */
static void hmac_begin(SHA_CTX *sha, const char *password, uint8_t pad)
{
	uint8_t block[SHA_CBLOCK] = {0};
	size_t size = strlen(password);

	if (size > sizeof(block))
		SHA1((const uint8_t *)password, size, block);
	else
		memcpy(block, password, size);
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] ^= pad;
	SHA1_Init(sha);
	SHA1_Update(sha, block, sizeof(block));
	OPENSSL_cleanse(block, sizeof(block));
}

/* HMAC-SHA1 over the first `size` bytes with the header's length made to end right after the
 * MESSAGE-INTEGRITY attribute, whatever follows it (RFC 8489 14.5). By SHA-1's block functions:
 * OpenSSL's HMAC allocates and is four times slower on messages this short. */
static void integrity_of(
	uint8_t mac[INTEGRITY_SIZE], const uint8_t *bytes, size_t size, const char *password)
{
	size_t length = size + ATTRIBUTE_HEADER_SIZE + INTEGRITY_SIZE - STUN_HEADER_SIZE;
	SHA_CTX sha;

	MUST(size >= STUN_HEADER_SIZE);
	hmac_begin(&sha, password, 0x36);
	SHA1_Update(&sha, bytes, 2);
	SHA1_Update(&sha, (uint8_t[2]){(uint8_t)(length >> 8), (uint8_t)length}, 2);
	SHA1_Update(&sha, bytes + 4, size - 4);
	SHA1_Final(mac, &sha);
	hmac_begin(&sha, password, 0x5c);
	SHA1_Update(&sha, mac, INTEGRITY_SIZE);
	SHA1_Final(mac, &sha);
}

/* IPv4: XOR with the cookie; IPv6: with cookie and transaction id, which follow each other in the
 * header (RFC 8489 14.2). `key` points at the cookie in the message. */
static void xor_ip(uint8_t *ip, const uint8_t *key, size_t size)
{
	for (size_t i = 0; i < size; i++)
		ip[i] ^= key[i];
}

static bool parse_xor_address(
	struct net_addr *address, struct attribute_value value, const uint8_t *header)
{
	struct reader r = reader_of(value.at, value.size);
	size_t ip_size;

	read_u8(&r);
	uint8_t family = read_u8(&r);
	uint16_t port = read_u16(&r) ^ (MAGIC_COOKIE >> 16);

	if (family != FAMILY_IPV4 && family != FAMILY_IPV6)
		return false;
	ip_size = family == FAMILY_IPV4 ? 4 : 16;
	const uint8_t *ip = read_bytes(&r, ip_size);
	if (!ip || reader_left(&r))
		return false;
	*address = (struct net_addr){.family = family == FAMILY_IPV4 ? 4 : 6, .port = port};
	memcpy(address->ip, ip, ip_size);
	xor_ip(address->ip, header + 4, ip_size);
	return true;
}

static bool parse_error(uint16_t *code, struct attribute_value value)
{
	if (value.size < 4)
		return false;

	unsigned hundreds = value.at[2] & 7;
	unsigned rest = value.at[3];

	*code = (uint16_t)(hundreds * 100 + rest);
	return hundreds >= 3 && hundreds <= 6 && rest <= 99;
}

static uint64_t number_of(struct attribute_value value)
{
	struct reader r = reader_of(value.at, value.size);

	return read_be(&r, value.size);
}

static void note_unknown(struct stun_message *message, uint16_t type)
{
	if (type >= COMPREHENSION_OPTIONAL)
		return;
	if (message->unknown_count < STUN_UNKNOWN_MAX)
		message->unknown[message->unknown_count++] = type;
}

static uint32_t has_bit_of(uint16_t type)
{
	switch (type) {
	case ATTRIBUTE_USERNAME: return STUN_HAS_USERNAME;
	case ATTRIBUTE_PRIORITY: return STUN_HAS_PRIORITY;
	case ATTRIBUTE_USE_CANDIDATE: return STUN_HAS_USE_CANDIDATE;
	case ATTRIBUTE_ICE_CONTROLLED: return STUN_HAS_CONTROLLED;
	case ATTRIBUTE_ICE_CONTROLLING: return STUN_HAS_CONTROLLING;
	case ATTRIBUTE_XOR_MAPPED_ADDRESS: return STUN_HAS_MAPPED;
	case ATTRIBUTE_ERROR_CODE: return STUN_HAS_ERROR;
	default: return 0;
	}
}

/* Everything but MESSAGE-INTEGRITY and FINGERPRINT, which depend on their place. */
static bool parse_attribute(struct stun_message *message, uint16_t type,
	struct attribute_value value, const uint8_t *header)
{
	uint32_t bit = has_bit_of(type);

	if (message->has & bit)
		return true; /* RFC 8489 14: only the first counts */
	message->has |= bit;
	switch (type) {
	case ATTRIBUTE_USERNAME:
		message->username = (const char *)value.at;
		message->username_size = value.size;
		return value.size > 0 && value.size <= STUN_USERNAME_MAX;
	case ATTRIBUTE_PRIORITY:
		message->priority = (uint32_t)number_of(value);
		return value.size == 4;
	case ATTRIBUTE_USE_CANDIDATE: return value.size == 0;
	case ATTRIBUTE_ICE_CONTROLLED:
	case ATTRIBUTE_ICE_CONTROLLING:
		if (value.size != 8)
			return false;
		message->tie_breaker = number_of(value);
		return true;
	case ATTRIBUTE_XOR_MAPPED_ADDRESS:
		return parse_xor_address(&message->mapped, value, header);
	case ATTRIBUTE_ERROR_CODE: return parse_error(&message->error_code, value);
	case ATTRIBUTE_MAPPED_ADDRESS:
	case ATTRIBUTE_UNKNOWN_ATTRIBUTES:
	case ATTRIBUTE_REALM: /* understood, and of no use to short-term credentials */
	case ATTRIBUTE_NONCE:
	case ATTRIBUTE_MESSAGE_INTEGRITY_SHA256: return true;
	default: note_unknown(message, type); return true;
	}
}

static bool parse_header(struct stun_message *message, struct reader *r, size_t size)
{
	uint16_t type = read_u16(r);
	uint16_t length = read_u16(r);
	uint32_t cookie = read_u32(r);
	const uint8_t *transaction = read_bytes(r, STUN_TRANSACTION_SIZE);

	if (!transaction || type & 0xc000 || cookie != MAGIC_COOKIE)
		return false;
	if (length % 4 || (size_t)length + STUN_HEADER_SIZE != size)
		return false;
	memcpy(message->transaction, transaction, STUN_TRANSACTION_SIZE);
	/* RFC 8489 5: the two class bits lie in the middle of the method */
	message->class = (uint8_t)((type >> 4 & 1) | (type >> 7 & 2));
	message->method = (uint16_t)((type & 0x000f) | (type & 0x00e0) >> 1 | (type & 0x3e00) >> 2);
	return true;
}

bool stun_is_message(const void *bytes, size_t size)
{
	struct reader r = reader_of(bytes, size);
	uint8_t first = read_u8(&r);

	read_bytes(&r, 3);
	return size >= STUN_HEADER_SIZE && first <= 3 && read_u32(&r) == MAGIC_COOKIE;
}

enum err stun_parse(struct stun_message *message, const void *bytes, size_t size)
{
	struct reader r = reader_of(bytes, size);
	const uint8_t *header = bytes;

	*message = (struct stun_message){0};
	if (size > STUN_MESSAGE_MAX)
		return ERR_TOO_LARGE;
	if (!parse_header(message, &r, size))
		return ERR_FORMAT;
	for (int count = 0; reader_left(&r); count++) {
		size_t offset = (size_t)(r.at - header);
		uint16_t type = read_u16(&r);
		struct attribute_value value = {.size = read_u16(&r)};

		value.at = read_bytes(&r, padded(value.size));
		if (!value.at || count == STUN_ATTRIBUTES_MAX)
			return ERR_FORMAT;
		if (type == ATTRIBUTE_FINGERPRINT) {
			/* RFC 8489 14.7: always the last, over all before it */
			uint32_t crc = crc32_of(header, offset) ^ FINGERPRINT_XOR;

			if (value.size != 4 || number_of(value) != crc || reader_left(&r))
				return ERR_FORMAT;
			message->has |= STUN_HAS_FINGERPRINT;
		} else if (message->has & STUN_HAS_INTEGRITY) {
			continue; /* not covered by the HMAC: anyone may have added it */
		} else if (type == ATTRIBUTE_MESSAGE_INTEGRITY) {
			if (value.size != INTEGRITY_SIZE)
				return ERR_FORMAT;
			message->has |= STUN_HAS_INTEGRITY;
			message->integrity_offset = (uint16_t)offset;
		} else if (!parse_attribute(message, type, value, header)) {
			return ERR_FORMAT;
		}
	}
	return ERR_OK;
}

bool stun_check_integrity(
	const struct stun_message *message, const void *bytes, size_t size, const char *password)
{
	const uint8_t *at = (const uint8_t *)bytes + message->integrity_offset;
	uint8_t mac[INTEGRITY_SIZE];

	if (!(message->has & STUN_HAS_INTEGRITY) ||
		(size_t)message->integrity_offset + ATTRIBUTE_HEADER_SIZE + INTEGRITY_SIZE > size)
		return false;
	integrity_of(mac, bytes, message->integrity_offset, password);
	return !CRYPTO_memcmp(mac, at + ATTRIBUTE_HEADER_SIZE, INTEGRITY_SIZE);
}

size_t stun_peek_username(const void *bytes, size_t size, const char **ufrag)
{
	struct reader r = reader_of(bytes, size);

	*ufrag = NULL;
	if (!stun_is_message(bytes, size) || size > STUN_MESSAGE_MAX ||
		read_u16(&r) != METHOD_BINDING)
		return 0;
	read_bytes(&r, STUN_HEADER_SIZE - 2);
	for (int count = 0; count < STUN_ATTRIBUTES_MAX && reader_left(&r); count++) {
		uint16_t type = read_u16(&r);
		uint16_t value_size = read_u16(&r);
		const uint8_t *value = read_bytes(&r, padded(value_size));
		const uint8_t *colon;

		if (!value)
			return 0;
		if (type != ATTRIBUTE_USERNAME)
			continue;
		colon = memchr(value, ':', value_size);
		if (!colon)
			return 0;
		*ufrag = (const char *)value;
		return (size_t)(colon - value);
	}
	return 0;
}

static void add_attribute(struct writer *w, uint16_t type, const void *value, size_t size)
{
	static const uint8_t zeros[4];

	write_u16(w, type);
	write_u16(w, (uint16_t)size);
	write_bytes(w, value, size);
	write_bytes(w, zeros, padded(size) - size);
}

static void add_number(struct writer *w, uint16_t type, uint64_t value, int size)
{
	write_u16(w, type);
	write_u16(w, (uint16_t)size);
	write_be(w, value, size);
}

static void set_length(struct writer *w, size_t message_size)
{
	size_t length = message_size - STUN_HEADER_SIZE;

	w->begin[2] = (uint8_t)(length >> 8);
	w->begin[3] = (uint8_t)length;
}

void stun_begin(
	struct writer *w, enum stun_class class, const uint8_t transaction[STUN_TRANSACTION_SIZE])
{
	MUST(w->at == w->begin);
	write_u16(w, (uint16_t)(METHOD_BINDING | (class & 1) << 4 | (class & 2) << 7));
	write_u16(w, 0);
	write_u32(w, MAGIC_COOKIE);
	write_bytes(w, transaction, STUN_TRANSACTION_SIZE);
}

void stun_add_username(struct writer *w, const char *username, size_t size)
{
	add_attribute(w, ATTRIBUTE_USERNAME, username, size);
}

void stun_add_priority(struct writer *w, uint32_t priority)
{
	add_number(w, ATTRIBUTE_PRIORITY, priority, 4);
}

void stun_add_use_candidate(struct writer *w)
{
	add_attribute(w, ATTRIBUTE_USE_CANDIDATE, NULL, 0);
}

void stun_add_role(struct writer *w, bool controlling, uint64_t tie_breaker)
{
	uint16_t type = controlling ? ATTRIBUTE_ICE_CONTROLLING : ATTRIBUTE_ICE_CONTROLLED;

	add_number(w, type, tie_breaker, 8);
}

void stun_add_xor_mapped_address(struct writer *w, const struct net_addr *address)
{
	size_t ip_size = address->family == 6 ? 16 : 4;
	uint8_t value[20] = {0, address->family == 6 ? FAMILY_IPV6 : FAMILY_IPV4};
	uint16_t port = address->port ^ (MAGIC_COOKIE >> 16);

	if (w->bad)
		return;
	value[2] = (uint8_t)(port >> 8);
	value[3] = (uint8_t)port;
	memcpy(value + 4, address->ip, ip_size);
	xor_ip(value + 4, w->begin + 4, ip_size);
	add_attribute(w, ATTRIBUTE_XOR_MAPPED_ADDRESS, value, 4 + ip_size);
}

void stun_add_error(struct writer *w, enum stun_error_code code, const struct stun_message *request)
{
	const char *reason = code == STUN_400_BAD_REQUEST	  ? "Bad Request"
			     : code == STUN_401_UNAUTHENTICATED	  ? "Unauthenticated"
			     : code == STUN_420_UNKNOWN_ATTRIBUTE ? "Unknown Attribute"
								  : "Role Conflict";
	uint8_t value[4 + 20] = {0, 0, (uint8_t)(code / 100), (uint8_t)(code % 100)};
	size_t size = strlen(reason);

	memcpy(value + 4, reason, size);
	add_attribute(w, ATTRIBUTE_ERROR_CODE, value, 4 + size);
	if (code != STUN_420_UNKNOWN_ATTRIBUTE)
		return;

	struct writer list = writer_of((uint8_t[2 *STUN_UNKNOWN_MAX]){0}, 2 * STUN_UNKNOWN_MAX);

	for (int i = 0; i < request->unknown_count; i++)
		write_u16(&list, request->unknown[i]);
	add_attribute(w, ATTRIBUTE_UNKNOWN_ATTRIBUTES, list.begin, writer_used(&list));
}

enum err stun_finish(struct writer *w, const char *password)
{
	uint8_t mac[INTEGRITY_SIZE];

	if (w->bad)
		return ERR_NO_SPACE;
	if (password) {
		integrity_of(mac, w->begin, writer_used(w), password);
		add_attribute(w, ATTRIBUTE_MESSAGE_INTEGRITY, mac, sizeof(mac));
	}

	size_t covered = writer_used(w);

	if (w->bad || writer_left(w) < ATTRIBUTE_HEADER_SIZE + 4)
		return ERR_NO_SPACE;
	set_length(w, covered + ATTRIBUTE_HEADER_SIZE + 4);
	add_number(w, ATTRIBUTE_FINGERPRINT, crc32_of(w->begin, covered) ^ FINGERPRINT_XOR, 4);
	return ERR_OK;
}
