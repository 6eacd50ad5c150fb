/* SPDX-License-Identifier: Apache-2.0
 *
 * Incoming SRTP: what our sealing engine and libsrtp2 send is read back; replay, tampering,
 * truncation, and a successor that goes on at any rollover counter.
 */
#include "actors/webrtc/openssl.h"
#include "actors/webrtc/openssl_ciphers.h"
#include "actors/webrtc/seal.h"
#include "actors/webrtc/unseal.h"
#include "tests/test.h"

#include <srtp2/srtp.h>

static const uint16_t profiles[] = {
	SEAL_AEAD_AES_128_GCM, SEAL_AES128_CM_SHA1_80, SEAL_AEAD_AES_256_GCM};
enum { PROFILES = sizeof(profiles) / sizeof(*profiles), PACKET = 256 };

struct pair {
	struct seal_keys keys;
	struct seal seal;
	struct unseal unseal;
	struct unseal_window window;
};

static void pair_start(struct pair *pair, uint16_t profile)
{
	CHECK_OK(openssl_ciphers_install());
	memset(pair, 0, sizeof(*pair));
	pair->keys.profile = profile;
	memset(pair->keys.key, 0x3c, sizeof(pair->keys.key));
	memset(pair->keys.salt, 0x5a, sizeof(pair->keys.salt));
	CHECK_OK(seal_init(&pair->seal, &pair->keys));
	CHECK_OK(unseal_init(&pair->unseal, &pair->keys, &pair->window));
}

static void pair_stop(struct pair *pair)
{
	seal_fini(&pair->seal);
	unseal_fini(&pair->unseal);
	unseal_fini(&pair->unseal);
}

/* As a new process would: nothing is left but keys and window, at another address. */
static void pair_restore(struct pair *pair)
{
	struct unseal_window copy = pair->window;

	unseal_fini(&pair->unseal);
	CHECK(unseal_window_is_valid(&copy));
	CHECK_OK(unseal_init(&pair->unseal, &pair->keys, &copy));
	pair->window = copy;
}

/* A packet with a one-byte header extension whose payload depends on the index. */
static size_t plain_rtp(uint8_t out[PACKET], uint32_t ssrc, uint64_t index)
{
	static const uint8_t extension[] = {0xbe, 0xde, 0, 1, 0x10, 'a', 0, 0};
	uint8_t header[12] = {0x90, 96, (uint8_t)(index >> 8), (uint8_t)index, 1, 2, 3, 4,
		(uint8_t)(ssrc >> 24), (uint8_t)(ssrc >> 16), (uint8_t)(ssrc >> 8), (uint8_t)ssrc};

	memcpy(out, header, 12);
	memcpy(out + 12, extension, 8);
	memset(out + 20, (uint8_t)index, 100);
	return 120;
}

static size_t sealed_rtp(struct pair *pair, uint8_t out[PACKET], uint32_t ssrc, uint64_t index)
{
	plain_rtp(out, ssrc, index);
	struct seal_packet packet = {.out = out,
		.payload = out + 20,
		.index = index,
		.out_capacity = PACKET,
		.header_size = 20,
		.payload_size = 100};
	CHECK_OK(seal_rtp_batch(&pair->seal, &packet, 1));
	return packet.size;
}

static size_t sealed_rtcp(struct pair *pair, uint8_t out[PACKET], uint32_t ssrc, uint32_t index)
{
	const uint8_t header[8] = {0x80, 201, 0, 1, (uint8_t)(ssrc >> 24), (uint8_t)(ssrc >> 16),
		(uint8_t)(ssrc >> 8), (uint8_t)ssrc};
	size_t size = 32;

	memcpy(out, header, 8);
	memset(out + 8, 0x42, 24);
	CHECK_OK(seal_rtcp(&pair->seal, index, out, &size, PACKET));
	return size;
}

/* Sends the packet with this index and returns what came of it; when taken, it must be whole. */
static enum err receive(struct pair *pair, uint32_t ssrc, uint64_t index)
{
	uint8_t bytes[PACKET], plain[PACKET];
	size_t size = sealed_rtp(pair, bytes, ssrc, index);
	enum err err = unseal_rtp(&pair->unseal, &pair->window, bytes, &size);

	if (!err) {
		CHECK_EQ(size, plain_rtp(plain, ssrc, index));
		CHECK_MEM(bytes, plain, size);
	}
	return err;
}

static enum err receive_rtcp(struct pair *pair, uint32_t ssrc, uint32_t index)
{
	uint8_t bytes[PACKET];
	size_t size = sealed_rtcp(pair, bytes, ssrc, index);
	enum err err = unseal_rtcp(&pair->unseal, &pair->window, bytes, &size);

	if (!err)
		CHECK_EQ(size, 32);
	return err;
}

TEST(takes_each_packet_once)
{
	enum { RESTORE = -1 };
	static const struct {
		int64_t index; /* or RESTORE: a successor takes over here */
		enum err expected;
	} rows[] = {
		{65000,			ERR_OK    },
		{65000,			ERR_REPLAY},
		{64999,			ERR_OK    }, /* late */
		{64999,			ERR_REPLAY},
		{65530,			ERR_OK    },
		{65537,			ERR_OK    }, /* over the wrap */
		{65535,			ERR_OK    }, /* late, from before it */
		{65535,			ERR_REPLAY},
		{65536,			ERR_OK    },
		{RESTORE,		  ERR_OK	},
		{65535,			ERR_REPLAY}, /* also to the successor */
		{65537,			ERR_REPLAY},
		{65534,			ERR_OK    }, /* its first packet is late and from before the wrap */
		{65534,			ERR_REPLAY},
		{65538,			ERR_OK    },
		{65538 - 1023,	       ERR_OK    }, /* the oldest that the window holds */
		{65538 - 1024,	       ERR_REPLAY},
		{131070,		 ERR_REPLAY}, /* half of the sequence space on: taken for an old one */
		{65538 + 30000,		ERR_OK    },
		{65538 + 60000,		ERR_OK    },
		{RESTORE,		  ERR_OK	},
		{65538 + 60000 + 30000, ERR_OK    }, /* the ROC becomes 2 while nobody was there */
		{RESTORE,		  ERR_OK	},
		{RESTORE,		  ERR_OK	},
		{65538 + 60000 + 30000, ERR_REPLAY},
		{65538 + 60000 + 30001, ERR_OK    },
	};

	for (size_t p = 0; p < PROFILES; p++) {
		struct pair pair;

		pair_start(&pair, profiles[p]);
		for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
			if (rows[i].index == RESTORE) {
				pair_restore(&pair);
				continue;
			}
			enum err err = receive(&pair, 0x01020304, (uint64_t)rows[i].index);

			if (err != rows[i].expected)
				print_message(
					"profile %u row %zu: %s\n", profiles[p], i, err_name(err));
			CHECK_EQ(err, rows[i].expected);
		}
		CHECK_EQ(pair.window.streams[0].rtp_highest, 65538 + 90001);
		CHECK_EQ(pair.window.unauthentic, 0);
		pair_stop(&pair);
	}
}

TEST(the_mirror_agrees_with_libsrtp2_over_many_wraps)
{
	struct pair pair;
	uint64_t index = 12345;
	uint32_t random = 1, roc;

	pair_start(&pair, SEAL_AEAD_AES_128_GCM);
	for (int i = 0; i < 3000; i++) {
		random = random * 1664525 + 1013904223;
		index += 1 + (random >> 24 ? random >> 20 & 0x1ff : 30000);
		CHECK_OK(receive(&pair, 7, index));
		if (i % 5 == 0 && index > 40)
			CHECK(receive(&pair, 7, index - (random >> 27)) != ERR_AUTH);
		if (i % 97 == 0)
			pair_restore(&pair);
		CHECK_EQ(pair.window.streams[0].rtp_highest, index);
		if (i % 97) {
			CHECK_OK(srtp_get_stream_roc(pair.unseal.session, 7, &roc));
			CHECK_EQ(roc, index >> 16);
		}
	}
	CHECK_GE(index >> 16, 10);
	CHECK_EQ(pair.window.unauthentic, 0);
	pair_stop(&pair);
}

TEST(a_forged_first_packet_does_not_mislead_a_successor)
{
	for (size_t p = 0; p < PROFILES; p++) {
		uint8_t bytes[PACKET];
		struct pair pair;

		pair_start(&pair, profiles[p]);
		CHECK_OK(receive(&pair, 1, 65530));
		CHECK_OK(receive(&pair, 1, 65540));
		pair_restore(&pair);
		size_t size =
			sealed_rtp(&pair, bytes, 1, 65529 + 65536); /* estimated with another ROC */
		bytes[40] ^= 1;
		CHECK_EQ(unseal_rtp(&pair.unseal, &pair.window, bytes, &size), ERR_AUTH);
		CHECK_OK(receive(&pair, 1, 65541));
		CHECK_OK(receive(&pair, 1, 65535));
		CHECK_OK(receive(&pair, 1, 65542));
		pair_stop(&pair);
	}
}

TEST(rtcp_each_once_and_restored)
{
	for (size_t p = 0; p < PROFILES; p++) {
		struct pair pair;

		pair_start(&pair, profiles[p]);
		CHECK_OK(receive_rtcp(&pair, 5, 1));
		CHECK_OK(receive_rtcp(&pair, 5, 3));
		CHECK_EQ(receive_rtcp(&pair, 5, 3), ERR_REPLAY);
		CHECK_OK(receive_rtcp(&pair, 5, 2));
		CHECK_OK(receive_rtcp(&pair, 5, 100000));
		CHECK_OK(receive_rtcp(&pair, 5, 100000 - 127));
		CHECK_EQ(receive_rtcp(&pair, 5, 100000 - 128), ERR_REPLAY);
		pair_restore(&pair);
		CHECK_EQ(receive_rtcp(&pair, 5, 100000), ERR_REPLAY);
		CHECK_OK(receive_rtcp(&pair, 5, 100000 - 1));
		CHECK_OK(receive_rtcp(&pair, 5, 100001));
		CHECK_OK(receive(&pair, 5, 7)); /* RTP of the same SSRC */
		CHECK_OK(receive_rtcp(&pair, 5, SEAL_RTCP_INDEX_MAX));
		CHECK_EQ(pair.window.stream_count, 1);
		CHECK_EQ(pair.window.rtcp_packets, 8);
		pair_stop(&pair);
	}
}

/* RFC 7714 9.3: a report that is authenticated and not encrypted is legal, too */
TEST(takes_rtcp_in_the_clear)
{
	struct pair pair;
	uint8_t packet[PACKET] = {0x81, 200, 0, 1, 0, 0, 0, 9}, reference[PACKET];
	struct seal_keys *keys = &pair.keys;
	uint8_t key_and_salt[SEAL_KEY_MAX + SEAL_SALT_MAX];
	srtp_policy_t policy = {.ssrc.type = ssrc_any_outbound, .key = key_and_salt};
	srtp_t sender;
	int length = 28;

	pair_start(&pair, SEAL_AEAD_AES_128_GCM);
	memcpy(key_and_salt, keys->key, 16);
	memcpy(key_and_salt + 16, keys->salt, 12);
	srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtp);
	srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtcp);
	policy.rtcp.sec_serv = sec_serv_auth;
	memcpy(reference, packet, sizeof(packet));
	CHECK_OK(srtp_create(&sender, &policy));
	CHECK_OK(srtp_protect_rtcp(sender, packet, &length));
	CHECK_MEM(packet, reference, 28);
	size_t size = (size_t)length;
	CHECK_OK(unseal_rtcp(&pair.unseal, &pair.window, packet, &size));
	CHECK_EQ(size, 28);
	srtp_dealloc(sender);
	pair_stop(&pair);
}

TEST(every_flipped_bit_and_every_truncation_is_refused)
{
	for (size_t p = 0; p < PROFILES; p++) {
		uint8_t good[PACKET], bad[PACKET];
		struct pair pair;

		pair_start(&pair, profiles[p]);
		for (int rtcp = 0; rtcp < 2; rtcp++) {
			size_t size = rtcp ? sealed_rtcp(&pair, good, 8, 77)
					   : sealed_rtp(&pair, good, 8, 77);
			enum err (*take)(struct unseal *, struct unseal_window *, uint8_t *,
				size_t *) = rtcp ? unseal_rtcp : unseal_rtp;

			for (size_t bit = 0; bit < size * 8; bit++) {
				size_t in_out = size;

				memcpy(bad, good, size);
				bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
				CHECK(take(&pair.unseal, &pair.window, bad, &in_out) != ERR_OK);
				CHECK_EQ(in_out, size);
			}
			for (size_t cut = 0; cut < size; cut++) {
				uint8_t *exact = test_malloc(cut ? cut : 1);
				size_t in_out = cut;

				memcpy(exact, good, cut);
				CHECK(take(&pair.unseal, &pair.window, exact, &in_out) != ERR_OK);
				test_free(exact);
			}
			CHECK_EQ(pair.window.stream_count, rtcp);
			CHECK_OK(take(&pair.unseal, &pair.window, good, &size));
		}
		CHECK_EQ(pair.window.failed, 0);
		CHECK_GE(pair.window.unauthentic, 500);
		CHECK_GE(pair.window.malformed, 50);
		pair_stop(&pair);
	}
}

TEST(the_number_of_ssrcs_is_bounded)
{
	struct pair pair;
	uint8_t bytes[PACKET];

	pair_start(&pair, SEAL_AEAD_AES_128_GCM);
	for (uint32_t ssrc = 0; ssrc < 100; ssrc++) { /* forged ones take no place */
		size_t size = sealed_rtp(&pair, bytes, ssrc, 1);

		bytes[size - 1] ^= 1;
		CHECK_EQ(unseal_rtp(&pair.unseal, &pair.window, bytes, &size), ERR_AUTH);
	}
	for (uint32_t ssrc = 0; ssrc < UNSEAL_STREAMS_MAX; ssrc++)
		CHECK_OK(receive(&pair, ssrc, 1));
	CHECK_EQ(receive(&pair, 99, 1), ERR_LIMIT);
	CHECK_EQ(receive_rtcp(&pair, 99, 1), ERR_LIMIT);
	CHECK_OK(receive_rtcp(&pair, 3, 1));
	pair_restore(&pair);
	CHECK_EQ(receive(&pair, 99, 1), ERR_LIMIT);
	for (uint32_t ssrc = 0; ssrc < UNSEAL_STREAMS_MAX; ssrc++)
		CHECK_OK(receive(&pair, ssrc, 2));
	CHECK_EQ(pair.window.refused, 3);
	pair_stop(&pair);
}

TEST(a_window_from_elsewhere_is_checked)
{
	struct pair pair;
	struct unseal unseal;

	pair_start(&pair, SEAL_AEAD_AES_128_GCM);
	CHECK_OK(receive(&pair, 1, 1));
	CHECK_OK(receive(&pair, 2, 1));
	CHECK(unseal_window_is_valid(&pair.window));
	for (int i = 0; i < 6; i++) {
		struct unseal_window bad = pair.window;

		switch (i) {
		case 0: bad.stream_count = UNSEAL_STREAMS_MAX + 1; break;
		case 1: bad.stream_count = UINT32_MAX; break;
		case 2: bad.streams[1].has_rtp = 2; break;
		case 3: bad.streams[1].rtp_highest = UINT64_C(1) << 48; break;
		case 4: bad.streams[0].rtcp_highest = 0x80000000; break;
		default: bad.streams[0].ssrc = 2; break;
		}
		CHECK(!unseal_window_is_valid(&bad));
		CHECK_EQ(unseal_init(&unseal, &pair.keys, &bad), ERR_FORMAT);
	}
	pair.keys.profile = 3;
	CHECK_EQ(unseal_init(&unseal, &pair.keys, &pair.window), ERR_UNSUPPORTED);
	pair_stop(&pair);
}

TEST(a_session_is_made_by_the_first_packet_that_may_be_one)
{
	struct pair pair;
	uint8_t nonsense[PACKET] = {0x80};
	size_t size = 20;

	pair_start(&pair, SEAL_AEAD_AES_128_GCM);
	CHECK_OK(receive(&pair, 1, 5));
	pair_restore(&pair);
	CHECK(!pair.unseal.session);
	CHECK_EQ(unseal_rtp(&pair.unseal, &pair.window, nonsense, &size), ERR_FORMAT);
	CHECK_EQ(receive(&pair, 1, 5), ERR_REPLAY);
	CHECK(!pair.unseal.session);
	CHECK_OK(receive_rtcp(&pair, 1, 1));
	CHECK(pair.unseal.session != NULL);
	CHECK_OK(receive(&pair, 1, 300));
	CHECK_EQ(receive(&pair, 1, 5), ERR_REPLAY);
	pair_stop(&pair);
}

TEST(the_window_is_plain_and_small)
{
	CHECK_LE(sizeof(struct unseal_window), 3072);
}

TEST(out_of_memory_is_an_error)
{
	for (size_t p = 0; p < PROFILES; p++) {
		size_t failures = 0;
		struct pair pair;

		pair_start(&pair, profiles[p]);
		CHECK_OK(receive(&pair, 1, 60000));
		CHECK_OK(receive(&pair, 1, 70000));
		CHECK_OK(receive(&pair, 2, 60000));
		for (size_t n = 1;; n++) {
			uint8_t bytes[PACKET];
			size_t size = sealed_rtp(&pair, bytes, 1, 70000 + n);

			pair_restore(&pair);
			test_fail_allocation(n);
			enum err err = unseal_rtp(&pair.unseal, &pair.window, bytes, &size);
			size_t seen = test_fail_allocation(0);

			if (seen < n) {
				CHECK_OK(err);
				break;
			}
			CHECK_EQ(err, ERR_NO_MEMORY);
			CHECK(!pair.unseal.session);
			CHECK_OK(receive(&pair, 1, 70000 + n));
			failures++;
		}
		CHECK_GE(failures, 2);
		CHECK_EQ(pair.window.failed, failures);
		pair_stop(&pair);
	}
}

/* The mirror of a process that died after raising the highest index, before clearing bits. */
TEST(death_in_the_middle_of_an_update_readmits_nothing)
{
	struct pair pair;

	pair_start(&pair, SEAL_AEAD_AES_128_GCM);
	for (uint64_t index = 1000; index < 1000 + UNSEAL_RTP_WINDOW; index++)
		CHECK_OK(receive(&pair, 6, index));
	pair.window.streams[0].rtp_highest += 5;
	pair_restore(&pair);
	for (uint64_t index = 1000; index < 1000 + UNSEAL_RTP_WINDOW; index++)
		CHECK_EQ(receive(&pair, 6, index), ERR_REPLAY);
	CHECK_OK(receive(&pair, 6, 1000 + UNSEAL_RTP_WINDOW + 5));
	pair_stop(&pair);
}
