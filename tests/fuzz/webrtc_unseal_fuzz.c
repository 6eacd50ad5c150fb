/* SPDX-License-Identifier: Apache-2.0
 *
 * Incoming SRTP under a script: authentic packets at any index, the same damaged, bytes of any
 * kind, takeovers, and windows that somebody else wrote. Whatever comes, a packet that was taken
 * is a replay from then on, also to a successor.
 *
 * First byte: profile. Then steps: kind, argument (16 bits), and for raw bytes and windows as many
 * bytes as the argument says.
 */
#include "actors/webrtc/openssl_ciphers.h"
#include "actors/webrtc/seal.h"
#include "actors/webrtc/unseal.h"
#include "schemas/bytes.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PACKET_MAX = 2048, PLAIN_RTP = 60, PLAIN_RTCP = 32, STEPS_MAX = 200 };

struct bench {
	struct seal_keys keys;
	struct seal seal;
	struct unseal unseal;
	struct unseal_window window;
	uint64_t index;
};

typedef enum err unseal_function(struct unseal *, struct unseal_window *, uint8_t *, size_t *);

static size_t authentic(struct bench *b, bool rtcp, uint16_t argument, uint8_t *out)
{
	uint8_t ssrc = argument & 7;

	if (rtcp) {
		size_t size = PLAIN_RTCP;

		memset(out, 0x55, size);
		memcpy(out, (uint8_t[8]){0x81, 200, 0, 7, 0, 0, 0, ssrc}, 8);
		MUST(!seal_rtcp(&b->seal, argument >> 3, out, &size, PACKET_MAX));
		return size;
	}
	/* forward or back from where the script is, in steps that reach over a wrap */
	int64_t index = (int64_t)b->index + (int16_t)argument;
	b->index = index < 0 ? 0 : (uint64_t)index;
	memset(out, 0xaa, PLAIN_RTP);
	memcpy(out,
		(uint8_t[12]){0x80, 96, (uint8_t)(b->index >> 8), (uint8_t)b->index, 0, 0, 0, 0, 0,
			0, 0, ssrc},
		12);
	struct seal_packet packet = {.out = out,
		.payload = out + 12,
		.index = b->index,
		.out_capacity = PACKET_MAX,
		.header_size = 12,
		.payload_size = PLAIN_RTP - 12};
	MUST(!seal_rtp_batch(&b->seal, &packet, 1));
	return packet.size;
}

static void restore(struct bench *b)
{
	unseal_fini(&b->unseal);
	MUST(unseal_window_is_valid(&b->window));
	MUST(!unseal_init(&b->unseal, &b->keys, &b->window));
}

/* The packet twice, from blocks of its exact size so that a sanitizer sees the end. */
static void offer(
	struct bench *b, unseal_function *take, const uint8_t *bytes, size_t size, bool takeover)
{
	bool taken = false;

	for (int i = 0; i < 2; i++) {
		uint8_t *copy = malloc(size ? size : 1);
		size_t plain = size;

		if (!copy)
			abort();
		memcpy(copy, bytes, size);
		enum err err = take(&b->unseal, &b->window, copy, &plain);
		MUST(err || plain < size);
		MUST(!err || plain == size);
		MUST(!(taken && err != ERR_REPLAY));
		taken = !err;
		free(copy);
		if (takeover)
			restore(b);
	}
}

static void foreign_window(struct bench *b, const uint8_t *bytes, size_t size)
{
	struct unseal_window window = b->window;
	struct unseal unseal;

	for (size_t i = 0; i < size; i++)
		((uint8_t *)&window)[i * 7 % sizeof(window)] ^= bytes[i];
	enum err err = unseal_init(&unseal, &b->keys, &window);
	MUST(!err == unseal_window_is_valid(&window));
	if (err)
		return;
	uint8_t packet[PACKET_MAX];
	size_t packet_size = authentic(b, false, 1, packet);
	unseal_rtp(&unseal, &window, packet, &packet_size);
	MUST(unseal_window_is_valid(&window));
	unseal_fini(&unseal);
}

static void step(struct bench *b, struct reader *r)
{
	uint8_t packet[PACKET_MAX], kind = read_u8(r);
	uint16_t argument = read_u16(r);
	bool rtcp = kind & 1;
	unseal_function *take = rtcp ? unseal_rtcp : unseal_rtp;

	switch (kind >> 1 & 3) {
	case 0: {
		size_t size = authentic(b, rtcp, argument, packet);

		offer(b, take, packet, size, kind & 0x80);
		break;
	}
	case 1: {
		size_t size = authentic(b, rtcp, argument, packet);

		packet[(kind >> 3) * 3 % size] ^= (uint8_t)(argument | 1);
		size -= argument >> 12;
		offer(b, take, packet, size, kind & 0x80);
		break;
	}
	case 2: {
		size_t size = argument % PACKET_MAX;
		const uint8_t *bytes = read_bytes(r, size < reader_left(r) ? size : reader_left(r));

		if (bytes)
			offer(b, take, bytes, (size_t)(r->at - bytes), kind & 0x80);
		break;
	}
	default: {
		size_t size = argument % PACKET_MAX;
		const uint8_t *bytes = read_bytes(r, size < reader_left(r) ? size : reader_left(r));

		if (bytes)
			foreign_window(b, bytes, (size_t)(r->at - bytes));
		restore(b);
		break;
	}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t profiles[] = {
		SEAL_AEAD_AES_128_GCM, SEAL_AES128_CM_SHA1_80, SEAL_AEAD_AES_256_GCM};
	struct reader r = reader_of(data, size);
	struct bench b = {.index = 65000};

	MUST(!openssl_ciphers_install());
	b.keys.profile = profiles[read_u8(&r) % 3];
	MUST(!seal_init(&b.seal, &b.keys));
	MUST(!unseal_init(&b.unseal, &b.keys, &b.window));
	for (int i = 0; i < STEPS_MAX && reader_left(&r) >= 3; i++) {
		step(&b, &r);
		MUST(unseal_window_is_valid(&b.window));
		MUST(b.window.failed == 0);
	}
	seal_fini(&b.seal);
	unseal_fini(&b.unseal);
	return 0;
}
