/* SPDX-License-Identifier: Apache-2.0
 *
 * What sealing costs beside the limit and the reference: a packet of 1,200 bytes through our
 * engine, through a bare EVP loop that does nothing else, and through libsrtp2 with OpenSSL's
 * ciphers; with one session and with many in turn, in bursts of 9. Each figure is the best of
 * several rounds.
 *
 * usage: seal_bench [sessions]
 */
#include "actors/webrtc/openssl.h"
#include "actors/webrtc/openssl_ciphers.h"
#include "actors/webrtc/seal.h"
#include "actors/webrtc/unseal.h"

#include <malloc.h>
#include <srtp2/srtp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	PACKET_SIZE = 1200,
	HEADER_SIZE = 20,
	PAYLOAD_SIZE = PACKET_SIZE - HEADER_SIZE,
	BURST = 9,
	ROUNDS = 12,
	PACKETS_A_ROUND = 36000,
	WAYS = 3,
	SESSIONS_MAX = 10000,
};

struct session {
	struct seal seal;
	EVP_CIPHER_CTX *bare;
	srtp_t reference;
	uint64_t index;
};

static struct session *sessions;
static size_t session_count;
static uint8_t payload[PAYLOAD_SIZE];
static uint8_t out[BURST][PACKET_SIZE + SEAL_RTP_OVERHEAD_MAX];
static uint16_t profile;
static uint64_t reference_index;

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void header_write(uint8_t *at, uint64_t index)
{
	static const uint8_t header[HEADER_SIZE] = {
		0x90, 96, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0xbe, 0xde, 0, 1, 0x22, 1, 2, 3};

	memcpy(at, header, sizeof(header));
	at[2] = (uint8_t)(index >> 8);
	at[3] = (uint8_t)index;
}

static void burst_by_seal(struct session *s)
{
	struct seal_packet packets[BURST];

	for (int i = 0; i < BURST; i++, s->index++) {
		header_write(out[i], s->index);
		packets[i] = (struct seal_packet){.out = out[i],
			.payload = payload,
			.index = s->index,
			.out_capacity = sizeof(out[i]),
			.header_size = HEADER_SIZE,
			.payload_size = PAYLOAD_SIZE};
	}
	MUST(seal_rtp_batch(&s->seal, packets, BURST) == ERR_OK);
}

/* Nothing but what OpenSSL has to be told for a packet; with AES-CM one SHA-1 of the packet. */
static void burst_by_evp(struct session *s)
{
	bool aead = profile != SEAL_AES128_CM_SHA1_80;
	uint8_t digest[SHA_DIGEST_LENGTH];
	int written;

	for (int i = 0; i < BURST; i++, s->index++) {
		uint8_t iv[16] = {0};

		header_write(out[i], s->index);
		memcpy(iv, &s->index, sizeof(s->index));
		EVP_EncryptInit_ex2(s->bare, NULL, NULL, iv, NULL);
		if (aead)
			EVP_EncryptUpdate(s->bare, NULL, &written, out[i], HEADER_SIZE);
		EVP_EncryptUpdate(s->bare, out[i] + HEADER_SIZE, &written, payload, PAYLOAD_SIZE);
		if (aead) {
			EVP_EncryptFinal_ex(s->bare, out[i] + PACKET_SIZE, &written);
			EVP_CIPHER_CTX_ctrl(
				s->bare, EVP_CTRL_AEAD_GET_TAG, 16, out[i] + PACKET_SIZE);
		} else {
			SHA1(out[i], PACKET_SIZE, digest);
		}
	}
}

static void burst_by_libsrtp(struct session *s)
{
	for (int i = 0; i < BURST; i++) {
		int size = PACKET_SIZE;

		header_write(out[i], reference_index / session_count);
		reference_index++;
		memcpy(out[i] + HEADER_SIZE, payload, PAYLOAD_SIZE);
		/* sessions take turns by burst, so a sequence number may skip; never repeats */
		srtp_protect(s->reference, out[i], &size);
	}
}

/* Best CPU time a packet of each way; they take turns, so that all see the same machine. */
static void measure(void (*const ways[WAYS])(struct session *), double best[WAYS])
{
	for (int way = 0; way < WAYS; way++)
		best[way] = 1e9;
	for (int round = 0; round < ROUNDS * WAYS; round++) {
		int64_t start = now_ns();
		size_t bursts = PACKETS_A_ROUND / BURST;

		for (size_t i = 0; i < bursts; i++)
			ways[round % WAYS](&sessions[i % session_count]);
		double each = (double)(now_ns() - start) / (double)(bursts * BURST);
		if (each < best[round % WAYS])
			best[round % WAYS] = each;
	}
}

static void session_open(struct session *s, const struct seal_keys *keys)
{
	uint8_t key_and_salt[SEAL_KEY_MAX + SEAL_SALT_MAX];
	srtp_policy_t policy = {.ssrc.type = ssrc_any_outbound, .key = key_and_salt};
	const EVP_CIPHER *cipher = profile == SEAL_AEAD_AES_128_GCM   ? EVP_aes_128_gcm()
				   : profile == SEAL_AEAD_AES_256_GCM ? EVP_aes_256_gcm()
								      : EVP_aes_128_ctr();

	memcpy(key_and_salt, keys->key, seal_key_size(profile));
	memcpy(key_and_salt + seal_key_size(profile), keys->salt, seal_salt_size(profile));
	srtp_crypto_policy_set_from_profile_for_rtp(&policy.rtp, (srtp_profile_t)profile);
	srtp_crypto_policy_set_from_profile_for_rtcp(&policy.rtcp, (srtp_profile_t)profile);
	policy.allow_repeat_tx = 1;
	s->bare = EVP_CIPHER_CTX_new();
	MUST(EVP_EncryptInit_ex2(s->bare, cipher, keys->key, NULL, NULL) == 1);
	MUST(srtp_create(&s->reference, &policy) == srtp_err_status_ok);
	MUST(seal_init(&s->seal, keys) == ERR_OK);
}

/* Heap bytes of one more object, allocator overhead included. */
static void report_memory(const struct seal_keys *keys)
{
	enum { COUNT = 200 };
	static struct seal seals[COUNT];
	static struct unseal unseals[COUNT];
	struct unseal_window window = {0};
	size_t before = mallinfo2().uordblks;

	for (int i = 0; i < COUNT; i++)
		MUST(seal_init(&seals[i], keys) == ERR_OK);
	size_t sealed = mallinfo2().uordblks;
	for (int i = 0; i < COUNT; i++)
		MUST(unseal_init(&unseals[i], keys, &window) == ERR_OK);
	size_t unsealed = mallinfo2().uordblks;
	printf("  memory: seal %zu + %zu heap, unseal %zu + %zu heap, window %zu bytes\n",
		sizeof(struct seal), (sealed - before) / COUNT, sizeof(struct unseal),
		(unsealed - sealed) / COUNT, sizeof(struct unseal_window));
	for (int i = 0; i < COUNT; i++) {
		seal_fini(&seals[i]);
		unseal_fini(&unseals[i]);
	}
}

int main(int argc, char **argv)
{
	static const uint16_t profiles[] = {
		SEAL_AEAD_AES_128_GCM, SEAL_AES128_CM_SHA1_80, SEAL_AEAD_AES_256_GCM};
	long many = argc > 1 ? atol(argv[1]) : 300;

	if (many < 1 || many > SESSIONS_MAX || openssl_ciphers_install()) {
		fprintf(stderr, "usage: seal_bench [sessions, at most %d]\n", SESSIONS_MAX);
		return 2;
	}
	for (size_t p = 0; p < sizeof(profiles) / sizeof(*profiles); p++) {
		profile = profiles[p];
		struct seal_keys keys = {
			.profile = profile, .key = {1, 2, 3},
			      .salt = {4, 5, 6}
		       };

		printf("%s, %d bytes\n", seal_profile_name(profile), PACKET_SIZE);
		report_memory(&keys);
		for (int round = 0; round < 2; round++) {
			session_count = round ? (size_t)many : 1;
			sessions = calloc(session_count, sizeof(*sessions));
			MUST(sessions);
			for (size_t i = 0; i < session_count; i++) {
				keys.key[8] = (uint8_t)i;
				session_open(&sessions[i], &keys);
			}
			double ns[WAYS];
			measure((void (*const[WAYS])(struct session *)){burst_by_seal, burst_by_evp,
					burst_by_libsrtp},
				ns);
			printf("  %5zu sessions: seal %4.0f ns a packet, bare EVP %4.0f (%.2f), "
			       "libsrtp2 %4.0f "
			       "(%.2f)\n",
				session_count, ns[0], ns[1], ns[0] / ns[1], ns[2], ns[0] / ns[2]);
			for (size_t i = 0; i < session_count; i++) {
				seal_fini(&sessions[i].seal);
				EVP_CIPHER_CTX_free(sessions[i].bare);
				srtp_dealloc(sessions[i].reference);
			}
			free(sessions);
		}
	}
	return 0;
}
