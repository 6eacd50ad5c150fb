/* SPDX-License-Identifier: Apache-2.0
 *
 * STUN and the ICE agent. The first byte chooses: the rest is one datagram as it is; or the first
 * byte's bits describe a well-formed check around the rest (so that what lies behind the HMAC is
 * reached); or a TCP stream of frames; or the memory of a session that another process left.
 */
#include "actors/webrtc/ice.h"
#include "actors/webrtc/ice_tcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ice_credentials ours = {"ours", "our-password-is-22-char"};
static const struct ice_credentials theirs = {"them", "their-password-22-chars"};

static void feed(struct ice_session *ice, const uint8_t *bytes, size_t size, int64_t now_us)
{
	uint8_t response[STUN_RESPONSE_MAX];
	struct writer w = writer_of(response, sizeof(response));
	struct net_addr from = {.family = 4, .port = (uint16_t)(1 + now_us % 11)};
	struct stun_message answer;
	const char *ufrag;
	unsigned events;

	stun_peek_username(bytes, size, &ufrag);
	ice_input(ice, &from, bytes, size, now_us, &w, &events);
	MUST(!w.bad && ice_is_valid(ice));
	MUST(!writer_used(&w) || stun_parse(&answer, response, writer_used(&w)) == ERR_OK);
	ice_deadline_us(ice);
}

/* Raw attribute bytes between a header and a MESSAGE-INTEGRITY that is right. */
static void feed_signed(struct ice_session *ice, const uint8_t *data, size_t size, int64_t now_us)
{
	static const uint8_t transaction[STUN_TRANSACTION_SIZE] = {1};
	uint8_t message[STUN_MESSAGE_MAX];
	struct writer w = writer_of(message, sizeof(message));

	stun_begin(&w, STUN_REQUEST, transaction);
	stun_add_username(&w, "ours:them", 9);
	write_bytes(&w, data, size & ~(size_t)3);
	if (stun_finish(&w, ours.pwd) == ERR_OK)
		feed(ice, message, writer_used(&w), now_us);
}

static void feed_stream(struct ice_session *ice, const uint8_t *data, size_t size)
{
	struct ice_tcp tcp = {0};
	size_t cut = size / 3;
	struct reader parts[2] = {reader_of(data, cut), reader_of(data + cut, size - cut)};

	for (int i = 0; i < 2; i++) {
		const uint8_t *packet;
		size_t packet_size;

		while (ice_tcp_next(&tcp, &parts[i], &packet, &packet_size) == ERR_OK)
			feed(ice, packet, packet_size, i);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ice_session ice;

	if (!size)
		return 0;
	ice_init(&ice, &ours, &theirs, 0);
	switch (data[0] & 3) {
	case 0: feed(&ice, data + 1, size - 1, 1); break;
	case 1:
		for (int i = 0; i < 16; i++)
			feed_signed(&ice, data + 1, size - 1, i * 1000000);
		break;
	case 2: feed_stream(&ice, data + 1, size - 1); break;
	default:
		if (size - 1 < sizeof(ice))
			break;
		memcpy(&ice, data + 1, sizeof(ice));
		if (ice_is_valid(&ice))
			feed_signed(&ice, NULL, 0, 5);
	}
	return 0;
}
