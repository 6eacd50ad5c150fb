/* SPDX-License-Identifier: Apache-2.0
 *
 * Outgoing SRTP: the vectors of RFC 3711 and RFC 7714 through our path, then every profile byte for
 * byte against libsrtp2.
 */
#include "actors/webrtc/openssl.h"
#include "actors/webrtc/openssl_ciphers.h"
#include "actors/webrtc/seal.h"
#include "tests/test.h"

#include <srtp2/srtp.h>
#include <stdlib.h>

/* OpenSSL allocates inside its own library; routed through here its allocations can fail, too. */
static void *hook_malloc(size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return malloc(size);
}
static void *hook_realloc(void *old, size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return realloc(old, size);
}
static void hook_free(void *old, const char *file, int line)
{
	(void)file, (void)line;
	free(old);
}
__attribute__((constructor)) static void hook_openssl(void)
{
	if (CRYPTO_set_mem_functions(hook_malloc, hook_realloc, hook_free) != 1)
		abort();
}

static size_t unhex(const char *text, uint8_t *out)
{
	size_t size = 0;
	unsigned int byte;

	for (; sscanf(text, "%2x", &byte) == 1; text += 2)
		out[size++] = (uint8_t)byte;
	return size;
}

static struct seal_keys keys_of(uint16_t profile, int seed)
{
	struct seal_keys keys = {.profile = profile};

	for (size_t i = 0; i < sizeof(keys.key); i++)
		keys.key[i] = (uint8_t)(seed + (int)i * 7);
	for (size_t i = 0; i < sizeof(keys.salt); i++)
		keys.salt[i] = (uint8_t)(seed * 3 + (int)i * 11);
	return keys;
}

static const uint16_t profiles[] = {
	SEAL_AEAD_AES_128_GCM, SEAL_AES128_CM_SHA1_80, SEAL_AEAD_AES_256_GCM};
enum { PROFILES = sizeof(profiles) / sizeof(*profiles) };

/* What OpenSSL does once a process must not fail: it would not try again. */
static void fetch_ciphers(void)
{
	const EVP_CIPHER *ciphers[] = {
		EVP_aes_128_gcm(), EVP_aes_128_ctr(), EVP_aes_256_gcm(), EVP_aes_256_ctr()};
	static const uint8_t zeros[SEAL_KEY_MAX];

	for (size_t i = 0; i < sizeof(ciphers) / sizeof(*ciphers); i++) {
		EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

		CHECK(context && EVP_EncryptInit_ex2(context, ciphers[i], zeros, zeros, NULL) == 1);
		EVP_CIPHER_CTX_free(context);
	}
}

/* First of all: the contexts that keys are derived by are made in it. */
TEST(out_of_memory_is_an_error)
{
	fetch_ciphers();
	for (size_t p = 0; p < PROFILES; p++) {
		struct seal_keys keys = keys_of(profiles[p], 4);
		struct seal seal;
		size_t failures = 0;

		for (size_t n = 1;; n++) {
			test_fail_allocation(n);
			enum err err = seal_init(&seal, &keys);
			size_t seen = test_fail_allocation(0);

			seal_fini(&seal);
			if (seen < n) {
				CHECK_OK(err);
				break;
			}
			/* OpenSSL can do without some, such as those for its error texts */
			failures += err == ERR_NO_MEMORY;
			CHECK(!err || err == ERR_NO_MEMORY);
		}
		CHECK_OK(seal_init(&seal, &keys));
		CHECK_GE(failures, 1);

		/* and nothing is allocated afterwards */
		uint8_t out[64] = {0x80}, payload[20] = {0};
		struct seal_packet packet = {out, payload, 0, 64, 12, 0, 20, 0};
		size_t size = 8;
		test_fail_allocation(0);
		CHECK_OK(seal_rtp_batch(&seal, &packet, 1));
		CHECK_OK(seal_rtcp(&seal, 1, out, &size, sizeof(out)));
		CHECK_OK(seal_rtcp(&seal, 2, out, (size = 8, &size), sizeof(out)));
		CHECK_EQ(test_fail_allocation(0), 0);
		seal_fini(&seal);
	}
}

TEST(derives_session_keys_of_rfc3711_b3)
{
	static const struct {
		uint8_t label;
		const char *expected;
	} rows[] = {
		{0, "C61E7A93744F39EE10734AFE3FF7A087"   },
		{2, "30CBBC08863D8C85D49DB34A9AE1"	  },
		{1, "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D932"
		    "7AD1755"
		    "78EF72270986371C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B6"
		    "8642C59BB"
		    "FC2F34DB60DBDFB2"},
	};
	struct seal_keys keys = {.profile = SEAL_AES128_CM_SHA1_80};
	uint8_t expected[128], derived[128];

	unhex("E1F97A0D3E018BE0D64FA32C06DE4139", keys.key);
	unhex("0EC675AD498AFEEBB6960B3AABE6", keys.salt);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		size_t size = unhex(rows[i].expected, expected);

		CHECK_OK(seal_derive(&keys, rows[i].label, derived, size));
		CHECK_MEM(derived, expected, size);
	}
}

/* RFC 3711 B.2: SSRC, ROC and sequence number 0; zeros encrypt to the key stream */
TEST(counter_mode_key_stream_of_rfc3711_b2)
{
	struct seal_flow flow = {0};
	uint8_t expected[48], out[128] = {0x80}, payload[48] = {0};
	struct seal seal;

	unhex("2B7E151628AED2A6ABF7158809CF4F3C", flow.key);
	unhex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD", flow.salt);
	unhex("E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB"
	      "41E95B3BB0A2E8DD477901E4FCA894C0",
		expected);
	CHECK_OK(seal_init_flows(&seal, SEAL_AES128_CM_SHA1_80, &flow, &flow));
	struct seal_packet packet = {.out = out,
		.out_capacity = sizeof(out),
		.header_size = 12,
		.payload = payload,
		.payload_size = sizeof(payload)};
	CHECK_OK(seal_rtp_batch(&seal, &packet, 1));
	CHECK_EQ(packet.size, 12 + 48 + 10);
	CHECK_MEM(out + 12, expected, sizeof(expected));
	seal_fini(&seal);
}

#define RFC7714_KEY_128 "000102030405060708090a0b0c0d0e0f"
#define RFC7714_KEY_256 RFC7714_KEY_128 "101112131415161718191a1b1c1d1e1f"
#define RFC7714_SALT	"517569642070726f2071756f"
#define RFC7714_RTP                \
	"8040f17b8041f8d35501a0b2" \
	"47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573"
#define RFC7714_RTCP                                                       \
	"81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61" \
	"deadbeefdeadbeefdeadbeefdeadbeefdeadbeef"

TEST(seals_the_packets_of_rfc7714)
{
	static const struct {
		uint16_t profile;
		const char *key, *srtp, *srtcp;
	} rows[] = {
	/* 16.1.1 and 17.1 */
		{SEAL_AEAD_AES_128_GCM, RFC7714_KEY_128,
			"8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42"
			"a5f47a51c7"
			"d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce", "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f173"
			"0d6fda4ce0"
			"9b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4"},
 /* 16.2.1 and 17.2 */
		{SEAL_AEAD_AES_256_GCM, RFC7714_KEY_256,
			"8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b5"
			"0b2a0276ff"
			"ae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13", "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c111"
			"0555be8415"
			"f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint8_t expected[128], plain[128], out[128];
		struct seal_flow flow = {0};
		struct seal seal;

		unhex(rows[i].key, flow.key);
		unhex(RFC7714_SALT, flow.salt);
		CHECK_OK(seal_init_flows(&seal, rows[i].profile, &flow, &flow));
		/* SRTCP first: the context has to change its key and back */
		size_t size = unhex(RFC7714_RTCP, out);
		CHECK_OK(seal_rtcp(&seal, 0x5d4, out, &size, sizeof(out)));
		CHECK_EQ(unhex(rows[i].srtcp, expected), size);
		CHECK_MEM(out, expected, size);

		size = unhex(RFC7714_RTP, plain);
		memcpy(out, plain, 12);
		struct seal_packet packet = {.out = out,
			.out_capacity = sizeof(out),
			.header_size = 12,
			.index = 0xf17b,
			.payload = plain + 12,
			.payload_size = (uint16_t)(size - 12)};
		CHECK_OK(seal_rtp_batch(&seal, &packet, 1));
		CHECK_EQ(unhex(rows[i].srtp, expected), packet.size);
		CHECK_MEM(out, expected, packet.size);
		seal_fini(&seal);
	}
}

/* ---- against libsrtp2 ---- */

static srtp_t reference_create(const struct seal_keys *keys)
{
	uint8_t key_and_salt[SEAL_KEY_MAX + SEAL_SALT_MAX];
	size_t key_size = seal_key_size(keys->profile);
	srtp_policy_t policy = {
		.ssrc.type = ssrc_any_outbound, .key = key_and_salt, .window_size = 1024};
	srtp_t session;

	CHECK_OK(openssl_ciphers_install());
	memcpy(key_and_salt, keys->key, key_size);
	memcpy(key_and_salt + key_size, keys->salt, seal_salt_size(keys->profile));
	CHECK_OK(srtp_crypto_policy_set_from_profile_for_rtp(
		&policy.rtp, (srtp_profile_t)keys->profile));
	CHECK_OK(srtp_crypto_policy_set_from_profile_for_rtcp(
		&policy.rtcp, (srtp_profile_t)keys->profile));
	CHECK_OK(srtp_create(&session, &policy));
	return session;
}

/* CSRC count, bytes of extension with its header (0: none), bytes of prefix, bytes of payload */
static const struct shape {
	uint8_t csrcs, extension, prefix;
	uint16_t payload;
} shapes[] = {
	{0,  0,  0,  1160},
	{0,  8,  0,  1160},
	{0,  24, 2,  1158},
	{2,  12, 0,  17  },
	{15, 4,	1,  15  },
	{0,  0,  0,  0   },
	{0,  0,  2,  0   },
	{0,  8,  3,  16  },
	{0,  0,  0,  1   },
	{0,  0,  16, 1   },
	{0,  0,  2,  1200},
};
enum { SHAPES = sizeof(shapes) / sizeof(*shapes) };

static size_t header_write(uint8_t *out, const struct shape *shape, uint64_t index, uint32_t ssrc)
{
	struct writer {
		uint8_t *at;
	} w = {out};

	*w.at++ = (uint8_t)(0x80 | (shape->extension ? 0x10 : 0) | shape->csrcs);
	*w.at++ = 0x60;
	*w.at++ = (uint8_t)(index >> 8);
	*w.at++ = (uint8_t)index;
	for (int i = 0; i < 4; i++)
		*w.at++ = (uint8_t)(0x11 * i);
	for (int i = 24; i >= 0; i -= 8)
		*w.at++ = (uint8_t)(ssrc >> i);
	for (int i = 0; i < shape->csrcs * 4; i++)
		*w.at++ = (uint8_t)i;
	if (shape->extension) {
		memcpy(w.at, (uint8_t[4]){0xbe, 0xde, 0, (uint8_t)(shape->extension / 4 - 1)}, 4);
		memset(w.at + 4, 0x21, shape->extension - 4u);
		w.at += shape->extension;
	}
	return (size_t)(w.at - out);
}

/* With what the processor has, or by EVP all the same. */
static void open_seal(struct seal *seal, const struct seal_keys *keys, int by_evp)
{
	CHECK_OK(seal_init(seal, keys));
	if (by_evp)
		CHECK_OK(seal_use_evp(seal));
	CHECK(!by_evp || seal->cipher);
}

static void compare_stream(
	const struct seal_keys *keys, uint64_t first_index, size_t count, int by_evp)
{
	static uint8_t payload[1400], out[SHAPES][1500];
	struct seal_packet packets[SHAPES];
	srtp_t reference = reference_create(keys);
	struct seal seal;

	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 31);
	open_seal(&seal, keys, by_evp);
	for (size_t n = 0; n < count; n += SHAPES) {
		for (size_t i = 0; i < SHAPES; i++) {
			uint64_t index = first_index + n + i;
			size_t header = header_write(out[i], &shapes[i], index, 0xcafe0001);

			memset(out[i] + header, 0xa5, shapes[i].prefix);
			packets[i] = (struct seal_packet){.out = out[i],
				.out_capacity = sizeof(out[i]),
				.payload = payload,
				.index = index,
				.header_size = (uint16_t)header,
				.prefix_size = shapes[i].prefix,
				.payload_size = shapes[i].payload};
		}
		CHECK_OK(seal_rtp_batch(&seal, packets, SHAPES));
		for (size_t i = 0; i < SHAPES; i++) {
			uint8_t expected[1500];
			size_t header =
				header_write(expected, &shapes[i], first_index + n + i, 0xcafe0001);

			memset(expected + header, 0xa5, shapes[i].prefix);
			memcpy(expected + header + shapes[i].prefix, payload, shapes[i].payload);
			int size = (int)(header + shapes[i].prefix + shapes[i].payload);
			CHECK_OK(srtp_protect(reference, expected, &size));
			CHECK_EQ(packets[i].size, size);
			CHECK_MEM(out[i], expected, (size_t)size);
		}
	}
	CHECK_EQ(seal.failures, 0);
	seal_fini(&seal);
	srtp_dealloc(reference);
}

TEST(every_profile_equals_libsrtp2_over_a_wrap_of_the_sequence)
{
	for (size_t i = 0; i < 2 * PROFILES; i++) {
		struct seal_keys keys = keys_of(profiles[i / 2], 5);

		/* the ROC becomes 1 on the way */
		compare_stream(&keys, 65500, SHAPES * 8, i % 2);
		compare_stream(&keys, 7, SHAPES, i % 2);
	}
}

TEST(rtcp_of_every_profile_equals_libsrtp2)
{
	for (size_t i = 0; i < 2 * PROFILES; i++) {
		struct seal_keys keys = keys_of(profiles[i / 2], 9);
		srtp_t reference = reference_create(&keys);
		struct seal seal;

		open_seal(&seal, &keys, i % 2);
		for (uint32_t index = 1; index < 60; index++) {
			uint8_t ours[512] = {0x80, 200, 0, 6, 1, 2, 3, 4}, theirs[512];
			size_t size = 8 + (index % 7) * 4;
			int expected = (int)size;

			memset(ours + 8, (int)index, size - 8);
			memcpy(theirs, ours, sizeof(ours));
			CHECK_OK(srtp_protect_rtcp(reference, theirs, &expected));
			CHECK_OK(seal_rtcp(&seal, index, ours, &size, sizeof(ours)));
			CHECK_EQ(size, expected);
			CHECK_MEM(ours, theirs, size);
		}
		seal_fini(&seal);
		srtp_dealloc(reference);
	}
}

TEST(payload_may_lie_in_the_output)
{
	for (size_t i = 0; i < PROFILES; i++) {
		struct seal_keys keys = keys_of(profiles[i], 2);
		uint8_t apart[128], inside[128], payload[50];
		struct seal seal;

		memset(payload, 0x77, sizeof(payload));
		memset(inside + 12, 0x77, sizeof(payload));
		header_write(apart, &shapes[0], 99, 1);
		header_write(inside, &shapes[0], 99, 1);
		CHECK_OK(seal_init(&seal, &keys));
		struct seal_packet packets[] = {
			{.out = apart,
				.out_capacity = 128,
				.header_size = 12,
				.index = 99,
				.payload = payload,
				.payload_size = 50},
			{.out = inside,
				.out_capacity = 128,
				.header_size = 12,
				.index = 99,
				.payload = inside + 12,
				.payload_size = 50},
		};
		CHECK_OK(seal_rtp_batch(&seal, packets, 2));
		CHECK_MEM(apart, inside, packets[0].size);
		seal_fini(&seal);
	}
}

TEST(one_counter_gives_sequence_and_rollover)
{
	static const struct {
		uint16_t first;
		uint64_t committed;
		uint16_t sequence;
		uint32_t roc;
	} rows[] = {
		{0,	    0,			0,	  0	   },
		{65535, 0,			   65535, 0	   },
		{65535, 1,			   0,     1	       },
		{1000,  65536,		      1000,  1	     },
		{1,	    UINT64_C(0xfffffffffffe), 65535, UINT32_MAX},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint64_t index = seal_index(rows[i].first, rows[i].committed);

		CHECK_EQ(seal_index_sequence(index), rows[i].sequence);
		CHECK_EQ(seal_index_roc(index), rows[i].roc);
	}
}

TEST(refuses_what_cannot_be_sealed_and_goes_on)
{
	struct seal_keys keys = keys_of(SEAL_AEAD_AES_128_GCM, 1);
	uint8_t out[5][64] = {{0x80}, {0x80}, {0x40}, {0x80}, {0x80}}, payload[20] = {0};
	struct seal seal;

	CHECK_OK(seal_init(&seal, &keys));
	struct seal_packet packets[] = {
		{out[0], payload, 0,		     47, 12, 0, 20, 9}, /* one byte short */
		{out[1], payload, 1,		     64, 12, 0, 20, 9}, /* index is not the sequence number */
		{out[2], payload, 0,		     64, 12, 0, 20, 9}, /* version 1 */
		{out[3], payload, UINT64_C(1) << 48, 64, 12, 0, 20, 9}, /* index exhausted */
		{out[4], payload, 0,		     48, 12, 0, 20, 9},
	};
	static const enum err expected[] = {
		ERR_NO_SPACE, ERR_FORMAT, ERR_FORMAT, ERR_LIMIT, ERR_OK};
	CHECK_EQ(seal_rtp_batch(&seal, packets, 5), ERR_NO_SPACE);
	for (size_t i = 0; i < 5; i++) {
		CHECK_EQ(packets[i].size, expected[i] ? 0 : 48);
		CHECK_EQ(seal_rtp_batch(&seal, &packets[i], 1), expected[i]);
	}
	for (uint16_t header = 0; header < 12; header++) {
		packets[4].header_size = header;
		CHECK_EQ(seal_rtp_batch(&seal, &packets[4], 1), ERR_FORMAT);
	}
	static const uint8_t lies[][20] = {
		{0x81}, /* a CSRC that is not in the header */
		{0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xbe, 0xde, 0, 2}, /* a longer extension */
		{0x90,   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xbe, 0xde, 0, 0}, /* a shorter one */
		{0x80  }, /* none at all */
	};
	for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		memcpy(out[4], lies[i], sizeof(lies[i]));
		packets[4].header_size = i ? 20 : 12;
		packets[4].payload_size = 4;
		CHECK_EQ(seal_rtp_batch(&seal, &packets[4], 1), ERR_FORMAT);
	}
	CHECK_EQ(seal.failures, 4 + 4 + 12 + 4);

	uint8_t report[64] = {0x80, 201};
	for (size_t size = 0; size < 8; size++) {
		size_t in_out = size;

		CHECK_EQ(seal_rtcp(&seal, 1, report, &in_out, sizeof(report)), ERR_FORMAT);
		CHECK_EQ(in_out, size);
	}
	size_t size = 8;
	CHECK_EQ(seal_rtcp(&seal, 1, report, &size, 27), ERR_NO_SPACE);
	CHECK_EQ(seal_rtcp(&seal, 0x80000000, report, &size, sizeof(report)), ERR_LIMIT);
	CHECK_OK(seal_rtcp(&seal, 0x7fffffff, report, &size, 28));
	seal_fini(&seal);
	seal_fini(&seal);

	keys.profile = SEAL_NONE;
	CHECK(!seal_keys_are_valid(&keys));
	CHECK_EQ(seal_init(&seal, &keys), ERR_UNSUPPORTED);
	seal_fini(&seal);
	CHECK_STR(seal_profile_name(SEAL_NONE), "none");
	CHECK_STR(seal_profile_name(SEAL_AEAD_AES_256_GCM), "AEAD_AES_256_GCM");
}
