/* SPDX-License-Identifier: Apache-2.0
 *
 * Outgoing SRTP and SRTCP. See seal.h for the contract, RFC 3711 and RFC 7714 for the formats.
 *
 * HMAC-SHA1 uses the SHA-1 block functions directly, from midstates computed once: EVP_MAC copies
 * its digest contexts for every packet, which allocates.
 */
#include "actors/webrtc/seal.h"

#include "actors/webrtc/openssl.h"
#include "runtime/gcm.h"
#include "schemas/bytes.h"

enum {
	GCM_TAG = GCM_TAG_SIZE, /* RFC 7714 13.1 */
	GCM_IV = GCM_IV_SIZE,
	CM_IV = 16,
	CM_TAG = 10,	   /* RFC 3711 5.2: 80 bits */
	RTCP_TRAILER = 4,  /* E bit and index */
	DERIVED_MAX = 256, /* bytes of one derivation */
	LABEL_CIPHER = 0,
	LABEL_AUTH = 1,
	LABEL_SALT = 2,
	LABEL_RTCP = 3, /* added to the three above */
};

static const struct profile {
	uint16_t id;
	uint8_t key_size, salt_size, tag_size;
	bool aead;
	const char *name;
	const EVP_CIPHER *(*cipher)(void);
	const EVP_CIPHER *(*derivation)(void); /* the PRF is AES-CM of the same key size */
} profiles[] = {
	/* clang-format off */
	{SEAL_AEAD_AES_128_GCM, 16, 12, GCM_TAG, true, "AEAD_AES_128_GCM",
		EVP_aes_128_gcm, EVP_aes_128_ctr},
	{SEAL_AES128_CM_SHA1_80, 16, 14, CM_TAG, false, "AES128_CM_HMAC_SHA1_80",
		EVP_aes_128_ctr, EVP_aes_128_ctr},
	{SEAL_AEAD_AES_256_GCM, 32, 12, GCM_TAG, true, "AEAD_AES_256_GCM",
		EVP_aes_256_gcm, EVP_aes_256_ctr},
	/* clang-format on */
};

static const struct profile *profile_of(uint16_t id)
{
	for (size_t i = 0; i < sizeof(profiles) / sizeof(*profiles); i++)
		if (profiles[i].id == id)
			return &profiles[i];
	return NULL;
}

size_t seal_key_size(uint16_t profile)
{
	const struct profile *p = profile_of(profile);

	return p ? p->key_size : 0;
}

size_t seal_salt_size(uint16_t profile)
{
	const struct profile *p = profile_of(profile);

	return p ? p->salt_size : 0;
}

const char *seal_profile_name(uint16_t profile)
{
	const struct profile *p = profile_of(profile);

	return p ? p->name : "none";
}

bool seal_keys_are_valid(const struct seal_keys *keys)
{
	return profile_of(keys->profile) != NULL;
}

void seal_keys_clear(struct seal_keys *keys)
{
	if (keys)
		OPENSSL_cleanse(keys, sizeof(*keys));
}

/* ---- key derivation ---- */

/* The PRF of RFC 3711 4.1.1: one context for each key size, made once. It holds no key between two
 * uses. */
static EVP_CIPHER_CTX *prf_of(const struct profile *p)
{
	static _Thread_local EVP_CIPHER_CTX *contexts[2];
	EVP_CIPHER_CTX **context = &contexts[p->key_size != 16];

	if (*context)
		return *context;
	*context = EVP_CIPHER_CTX_new();
	if (*context && EVP_EncryptInit_ex2(*context, p->derivation(), NULL, NULL, NULL) != 1) {
		EVP_CIPHER_CTX_free(*context);
		*context = NULL;
	}
	return *context;
}

/* One key of the context's; x = (label || 0^48 XOR salt) * 2^16, a GCM salt is padded at its end (RFC
 * 7714 11). */
static bool derive(EVP_CIPHER_CTX *prf, const struct seal_keys *keys, const struct profile *p,
	uint8_t label, uint8_t *out, size_t size)
{
	static const uint8_t zeros[DERIVED_MAX];
	uint8_t iv[CM_IV] = {0};
	int written;

	memcpy(iv, keys->salt, p->salt_size);
	iv[7] ^= label;
	return EVP_EncryptInit_ex2(prf, NULL, NULL, iv, NULL) == 1 &&
	       EVP_EncryptUpdate(prf, out, &written, zeros, (int)size) == 1;
}

static EVP_CIPHER_CTX *prf_begin(const struct seal_keys *keys, const struct profile *p)
{
	EVP_CIPHER_CTX *prf = prf_of(p);

	return prf && EVP_EncryptInit_ex2(prf, NULL, keys->key, NULL, NULL) == 1 ? prf : NULL;
}

static void prf_end(EVP_CIPHER_CTX *prf)
{
	static const uint8_t no_key[SEAL_KEY_MAX];

	EVP_EncryptInit_ex2(prf, NULL, no_key, no_key, NULL);
}

enum err seal_derive(const struct seal_keys *keys, uint8_t label, uint8_t *out, size_t size)
{
	const struct profile *p = profile_of(keys->profile);

	MUST(size <= DERIVED_MAX);
	if (!p)
		return ERR_UNSUPPORTED;
	EVP_CIPHER_CTX *prf = prf_begin(keys, p);
	if (!prf)
		return ERR_NO_MEMORY;
	bool derived = derive(prf, keys, p, label, out, size);
	prf_end(prf);
	return derived ? ERR_OK : ERR_NO_MEMORY;
}

static enum err derive_flow(const struct seal_keys *keys, const struct profile *p, uint8_t labels,
	struct seal_flow *flow)
{
	EVP_CIPHER_CTX *prf = prf_begin(keys, p);
	bool derived = prf && derive(prf, keys, p, labels + LABEL_CIPHER, flow->key, p->key_size) &&
		       derive(prf, keys, p, labels + LABEL_SALT, flow->salt, p->salt_size) &&
		       (p->aead || derive(prf, keys, p, labels + LABEL_AUTH, flow->auth_key,
					   SEAL_AUTH_KEY));

	if (prf)
		prf_end(prf);
	return derived ? ERR_OK : ERR_NO_MEMORY;
}

/* ---- HMAC-SHA1 from midstates (RFC 2104) ---- */

static void sha1_midstate(const uint8_t *key, uint8_t pad, uint32_t state[5])
{
	uint8_t block[SHA_CBLOCK];
	SHA_CTX sha;

	memset(block, pad, sizeof(block));
	for (int i = 0; i < SEAL_AUTH_KEY; i++)
		block[i] ^= key[i];
	SHA1_Init(&sha);
	SHA1_Update(&sha, block, sizeof(block));
	memcpy(state, (uint32_t[5]){sha.h0, sha.h1, sha.h2, sha.h3, sha.h4}, 5 * sizeof(*state));
	OPENSSL_cleanse(block, sizeof(block));
	OPENSSL_cleanse(&sha, sizeof(sha));
}

static void sha1_resume(SHA_CTX *sha, const uint32_t state[5])
{
	/* one block of 512 bits is in; the data buffer needs no clearing while `num` is 0 */
	sha->h0 = state[0];
	sha->h1 = state[1];
	sha->h2 = state[2];
	sha->h3 = state[3];
	sha->h4 = state[4];
	sha->Nl = SHA_CBLOCK * 8;
	sha->Nh = 0;
	sha->num = 0;
}

static void cm_midstates(struct seal_flow *flow)
{
	sha1_midstate(flow->auth_key, 0x36, flow->auth_inner);
	sha1_midstate(flow->auth_key, 0x5c, flow->auth_outer);
}

/* The tag over `size` bytes followed by the 4 bytes of `word`, or over `size` bytes alone. */
static void cm_authenticate(const struct seal_flow *flow, const uint8_t *bytes, size_t size,
	const uint8_t *word, uint8_t tag[CM_TAG])
{
	uint8_t digest[SHA_DIGEST_LENGTH];
	SHA_CTX sha;

	sha1_resume(&sha, flow->auth_inner);
	SHA1_Update(&sha, bytes, size);
	if (word)
		SHA1_Update(&sha, word, 4);
	SHA1_Final(digest, &sha);
	sha1_resume(&sha, flow->auth_outer);
	SHA1_Update(&sha, digest, sizeof(digest));
	SHA1_Final(digest, &sha);
	memcpy(tag, digest, CM_TAG);
}

/* ---- life ---- */

static enum err open_cipher(struct seal *seal, const struct profile *p)
{
	seal->keyed_for_rtcp = false;
	seal->cipher = EVP_CIPHER_CTX_new();
	return seal->cipher && EVP_EncryptInit_ex2(
				       seal->cipher, p->cipher(), seal->rtp.key, NULL, NULL) == 1
		       ? ERR_OK
		       : ERR_NO_MEMORY;
}

enum err seal_use_evp(struct seal *seal)
{
	gcm_key_destroy(&seal->gcm);
	return seal->cipher ? ERR_OK : open_cipher(seal, profile_of(seal->profile));
}

enum err seal_init_flows(struct seal *seal, uint16_t profile, const struct seal_flow *rtp,
	const struct seal_flow *rtcp)
{
	const struct profile *p = profile_of(profile);

	*seal = (struct seal){.profile = profile, .rtp = *rtp, .rtcp = *rtcp};
	if (!p) {
		seal_fini(seal);
		return ERR_UNSUPPORTED;
	}
	seal->gcm = p->aead ? gcm_key_create() : NULL;
	if (seal->gcm) {
		gcm_key_set(seal->gcm, seal->rtp.key, p->key_size);
	} else if (open_cipher(seal, p)) {
		seal_fini(seal);
		return ERR_NO_MEMORY;
	}
	if (!p->aead) {
		cm_midstates(&seal->rtp);
		cm_midstates(&seal->rtcp);
	}
	return ERR_OK;
}

enum err seal_init(struct seal *seal, const struct seal_keys *keys)
{
	const struct profile *p = profile_of(keys->profile);
	static const struct seal_flow later;
	struct seal_flow rtp = {0};

	*seal = (struct seal){0};
	if (!p)
		return ERR_UNSUPPORTED;
	enum err err = derive_flow(keys, p, 0, &rtp);
	if (!err)
		err = seal_init_flows(seal, keys->profile, &rtp, &later);
	if (!err)
		seal->master = *keys;
	OPENSSL_cleanse(&rtp, sizeof(rtp));
	return err;
}

static enum err make_rtcp_keys(struct seal *seal)
{
	const struct profile *p = profile_of(seal->profile);

	if (seal->master.profile == SEAL_NONE)
		return ERR_OK;
	if (derive_flow(&seal->master, p, LABEL_RTCP, &seal->rtcp))
		return ERR_CRYPTO;
	if (!p->aead)
		cm_midstates(&seal->rtcp);
	seal_keys_clear(&seal->master);
	return ERR_OK;
}

void seal_fini(struct seal *seal)
{
	if (!seal)
		return;
	EVP_CIPHER_CTX_free(seal->cipher);
	gcm_key_destroy(&seal->gcm);
	OPENSSL_cleanse(seal, sizeof(*seal));
}

void seal_ahead(const struct seal *seal)
{
	if (seal->gcm)
		gcm_key_ahead(seal->gcm);
}

/* Has the context carry the key of the flow that is to be sealed. */
static enum err seal_rekey(struct seal *seal, bool for_rtcp)
{
	if (seal->keyed_for_rtcp == for_rtcp)
		return ERR_OK;
	if (for_rtcp && make_rtcp_keys(seal))
		return ERR_CRYPTO;
	const struct seal_flow *flow = for_rtcp ? &seal->rtcp : &seal->rtp;
	if (seal->gcm)
		gcm_key_set(seal->gcm, flow->key, seal_key_size(seal->profile));
	else if (EVP_EncryptInit_ex2(seal->cipher, NULL, flow->key, NULL, NULL) != 1)
		return ERR_CRYPTO;
	seal->keyed_for_rtcp = for_rtcp;
	return ERR_OK;
}

/* ---- initialisation vectors ---- */

static void xor_be(uint8_t *at, uint64_t value, int size)
{
	for (int i = size - 1; i >= 0; i--, value >>= 8)
		at[i] ^= (uint8_t)value;
}

/* RFC 3711 4.1.1: (salt * 2^16) XOR (SSRC * 2^64) XOR (index * 2^16) */
static void cm_iv(const struct seal_flow *flow, uint32_t ssrc, uint64_t index, uint8_t iv[CM_IV])
{
	memcpy(iv, flow->salt, 14);
	iv[14] = iv[15] = 0;
	xor_be(iv + 4, ssrc, 4);
	xor_be(iv + 8, index, 6);
}

/* RFC 7714 8.1 and 9.1: 0^16, SSRC, 48 bits of index (SRTCP: 31, zero-extended), XOR salt */
static void gcm_iv(const struct seal_flow *flow, uint32_t ssrc, uint64_t index, uint8_t iv[GCM_IV])
{
	memcpy(iv, flow->salt, GCM_IV);
	xor_be(iv + 2, ssrc, 4);
	xor_be(iv + 6, index, 6);
}

/* ---- SRTP ---- */

/* Encrypts prefix and payload behind the header, so that they lie in `out` contiguously. */
static bool encrypt_payload(EVP_CIPHER_CTX *cipher, const struct seal_packet *packet)
{
	uint8_t *at = packet->out + packet->header_size;
	int written;

	if (packet->prefix_size &&
		EVP_EncryptUpdate(cipher, at, &written, at, packet->prefix_size) != 1)
		return false;
	at += packet->prefix_size;
	return !packet->payload_size ||
	       EVP_EncryptUpdate(cipher, at, &written, packet->payload, packet->payload_size) == 1;
}

static bool gcm_finish(EVP_CIPHER_CTX *cipher, uint8_t *tag)
{
	int written;

	return EVP_EncryptFinal_ex(cipher, tag, &written) == 1 &&
	       EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, GCM_TAG, tag) == 1;
}

static bool gcm_seal_rtp(
	struct seal *seal, const struct seal_packet *packet, uint32_t ssrc, size_t clear_size)
{
	uint8_t iv[GCM_IV];
	int written;

	gcm_iv(&seal->rtp, ssrc, packet->index, iv);
	if (seal->gcm) {
		uint8_t *at = packet->out + packet->header_size;
		const struct gcm_piece pieces[] = {
			{at,		     at,			 packet->prefix_size },
			{packet->payload, at + packet->prefix_size, packet->payload_size},
		};
		int first = !packet->prefix_size;

		gcm_seal(seal->gcm, iv, packet->out, packet->header_size, pieces + first,
			(size_t)(2 - first), packet->out + clear_size);
		return true;
	}
	return EVP_EncryptInit_ex2(seal->cipher, NULL, NULL, iv, NULL) == 1 &&
	       EVP_EncryptUpdate(seal->cipher, NULL, &written, packet->out, packet->header_size) ==
		       1 &&
	       encrypt_payload(seal->cipher, packet) &&
	       gcm_finish(seal->cipher, packet->out + clear_size);
}

static bool cm_seal_rtp(
	struct seal *seal, const struct seal_packet *packet, uint32_t ssrc, size_t clear_size)
{
	uint8_t iv[CM_IV], roc[4] = {0};

	cm_iv(&seal->rtp, ssrc, packet->index, iv);
	if (EVP_EncryptInit_ex2(seal->cipher, NULL, NULL, iv, NULL) != 1 ||
		!encrypt_payload(seal->cipher, packet))
		return false;
	xor_be(roc, seal_index_roc(packet->index), 4);
	cm_authenticate(&seal->rtp, packet->out, clear_size, roc, packet->out + clear_size);
	return true;
}

/* Reads what sealing needs of the header. False unless it is RTP of exactly `header_size` bytes
 * with the sequence number of the index: the receiver finds the payload and the index by it (RFC
 * 3550 5.1).
 */
static bool header_read(const struct seal_packet *packet, uint32_t *ssrc)
{
	struct reader r = reader_of(packet->out, packet->header_size);
	uint8_t first = read_u8(&r);

	read_u8(&r);
	uint16_t sequence = read_u16(&r);
	read_u32(&r);
	*ssrc = read_u32(&r);
	read_bytes(&r, (size_t)(first & 0x0f) * 4);
	if (first & 0x10) {
		read_u16(&r);
		read_bytes(&r, (size_t)read_u16(&r) * 4);
	}
	return !r.bad && !reader_left(&r) && first >> 6 == 2 &&
	       sequence == seal_index_sequence(packet->index);
}

static enum err seal_rtp_one(struct seal *seal, const struct profile *p, struct seal_packet *packet)
{
	size_t clear_size =
		(size_t)packet->header_size + packet->prefix_size + packet->payload_size;
	uint32_t ssrc;

	if (packet->out_capacity < clear_size + p->tag_size)
		return ERR_NO_SPACE;
	if (!header_read(packet, &ssrc))
		return ERR_FORMAT;
	if (packet->index > SEAL_RTP_INDEX_MAX)
		return ERR_LIMIT;
	if (!(p->aead ? gcm_seal_rtp : cm_seal_rtp)(seal, packet, ssrc, clear_size))
		return ERR_CRYPTO;
	packet->size = (uint16_t)(clear_size + p->tag_size);
	return ERR_OK;
}

enum err seal_rtp_batch(struct seal *seal, struct seal_packet *packets, size_t count)
{
	const struct profile *p = profile_of(seal->profile);

	MUST(p && (seal->cipher || seal->gcm));
	enum err first_error = seal_rekey(seal, false);
	for (size_t i = 0; i < count; i++) {
		packets[i].size = 0;
		enum err err =
			seal->keyed_for_rtcp ? ERR_CRYPTO : seal_rtp_one(seal, p, &packets[i]);

		if (err) {
			seal->failures++;
			first_error = first_error ? first_error : err;
		} else {
			seal->packets++;
		}
	}
	return first_error;
}

/* ---- SRTCP ---- */

/* RFC 7714 9.2: header and trailer are associated data; the trailer follows the tag. */
static bool gcm_seal_rtcp(struct seal *seal, uint32_t ssrc, uint32_t index, const uint8_t *trailer,
	uint8_t *packet, size_t size)
{
	uint8_t iv[GCM_IV], *body = packet + SEAL_RTCP_HEADER;
	int written, body_size = (int)(size - SEAL_RTCP_HEADER);

	gcm_iv(&seal->rtcp, ssrc, index, iv);
	if (seal->gcm) {
		const struct gcm_piece piece = {body, body, (size_t)body_size};
		uint8_t clear[SEAL_RTCP_HEADER + RTCP_TRAILER];

		memcpy(clear, packet, SEAL_RTCP_HEADER);
		memcpy(clear + SEAL_RTCP_HEADER, trailer, RTCP_TRAILER);
		gcm_seal(seal->gcm, iv, clear, sizeof(clear), &piece, 1, packet + size);
		memcpy(packet + size + GCM_TAG, trailer, RTCP_TRAILER);
		return true;
	}
	if (EVP_EncryptInit_ex2(seal->cipher, NULL, NULL, iv, NULL) != 1 ||
		EVP_EncryptUpdate(seal->cipher, NULL, &written, packet, SEAL_RTCP_HEADER) != 1 ||
		EVP_EncryptUpdate(seal->cipher, NULL, &written, trailer, RTCP_TRAILER) != 1)
		return false;
	if (body_size && EVP_EncryptUpdate(seal->cipher, body, &written, body, body_size) != 1)
		return false;
	if (!gcm_finish(seal->cipher, packet + size))
		return false;
	memcpy(packet + size + GCM_TAG, trailer, RTCP_TRAILER);
	return true;
}

/* RFC 3711 3.4: the trailer is authenticated and precedes the tag. */
static bool cm_seal_rtcp(struct seal *seal, uint32_t ssrc, uint32_t index, const uint8_t *trailer,
	uint8_t *packet, size_t size)
{
	uint8_t iv[CM_IV], *body = packet + SEAL_RTCP_HEADER;
	int written, body_size = (int)(size - SEAL_RTCP_HEADER);

	cm_iv(&seal->rtcp, ssrc, index, iv);
	if (EVP_EncryptInit_ex2(seal->cipher, NULL, NULL, iv, NULL) != 1)
		return false;
	if (body_size && EVP_EncryptUpdate(seal->cipher, body, &written, body, body_size) != 1)
		return false;
	memcpy(packet + size, trailer, RTCP_TRAILER);
	cm_authenticate(
		&seal->rtcp, packet, size + RTCP_TRAILER, NULL, packet + size + RTCP_TRAILER);
	return true;
}

enum err seal_rtcp(
	struct seal *seal, uint32_t index, uint8_t *packet, size_t *size, size_t capacity)
{
	const struct profile *p = profile_of(seal->profile);
	struct reader r = reader_of(packet, *size);
	uint8_t trailer[RTCP_TRAILER] = {0x80};
	enum err err = ERR_OK;

	MUST(p && (seal->cipher || seal->gcm));
	uint8_t first = read_u8(&r);
	read_u24(&r);
	uint32_t ssrc = read_u32(&r);
	if (r.bad || first >> 6 != 2 || *size > SEAL_RTCP_PACKET_MAX)
		err = ERR_FORMAT;
	else if (capacity < *size + p->tag_size + RTCP_TRAILER)
		err = ERR_NO_SPACE;
	else if (index > SEAL_RTCP_INDEX_MAX)
		err = ERR_LIMIT;
	else
		err = seal_rekey(seal, true);
	xor_be(trailer, index, RTCP_TRAILER);
	if (!err && !(p->aead ? gcm_seal_rtcp : cm_seal_rtcp)(
			    seal, ssrc, index, trailer, packet, *size))
		err = ERR_CRYPTO;
	if (err) {
		seal->failures++;
		return err;
	}
	*size += (size_t)p->tag_size + RTCP_TRAILER;
	seal->rtcp_packets++;
	return ERR_OK;
}
