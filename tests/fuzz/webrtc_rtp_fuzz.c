/* SPDX-License-Identifier: Apache-2.0
 *
 * RTP header and extensions from any bytes: no read outside them, what was read can be written and
 * reads the same again, and a receiver that takes it stays sound.
 */
#include "actors/webrtc/rtp.h"
#include "actors/webrtc/rtp_ext.h"
#include "actors/webrtc/rtp_receiver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const struct rtp_packet *p)
{
	static uint8_t buffer[RTP_PACKET_MAX];
	struct writer w = writer_of(buffer, sizeof(buffer));
	struct rtp_packet again;

	MUST(rtp_write(&w, p) == ERR_OK);
	MUST(rtp_parse(&again, buffer, writer_used(&w)) == ERR_OK);
	MUST(again.ssrc == p->ssrc && again.sequence == p->sequence && again.marker == p->marker);
	MUST(again.payload_size == p->payload_size && again.ext_size == p->ext_size);
	MUST(!p->payload_size || !memcmp(again.payload, p->payload, p->payload_size));
}

/* The bytes as a series of packets of one track: two bytes of length each. */
static void feed_receiver(const uint8_t *data, size_t size)
{
	static struct rtp_receiver r;
	struct rtp_timeline timeline;
	struct reader left = reader_of(data, size);
	uint16_t asked[64];
	int64_t now = 1000000;

	rtp_timeline_init(&timeline, INT64_C(1790000000000000));
	rtp_receiver_init(&r, &(struct rtp_receiver_options){1, 2, 96, 97, 90000, true, true});
	while (reader_left(&left) >= 2) {
		size_t length = read_u16(&left);
		now += (int64_t)(length >> 8) * 1000;
		length &= 0xFF;
		if (length > reader_left(&left))
			length = reader_left(&left);
		struct rtp_packet p;
		struct rtp_receipt receipt;
		if (rtp_parse(&p, read_bytes(&left, length), length))
			continue;
		bool rtx = p.payload_type == 97;
		if (rtx && rtp_receiver_unwrap_rtx(&r, &p, now))
			continue;
		rtp_receiver_take(&r, &timeline, &p, rtx, now, &receipt);
		rtp_receiver_poll_nacks(&r, now, asked, 64);
		MUST(rtp_receiver_is_valid(&r));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rtp_packet p;
	struct rtp_ext_map map = {0};
	struct rtp_ext_values values;
	uint32_t ssrc;

	for (int kind = RTP_EXT_NONE + 1; kind < RTP_EXT_COUNT; kind++)
		rtp_ext_map_set(&map, (enum rtp_ext_kind)kind, kind);
	rtp_classify_packet(data, size);
	rtp_peek_ssrc(data, size, &ssrc);
	if (rtp_parse(&p, data, size) == ERR_OK) {
		rtp_ext_parse(&values, &map, &p);
		if (values.present & RTP_EXT_BIT(DEPENDENCY))
			MUST(values.dependency >= data &&
				values.dependency + values.dependency_size <= data + size);
		check_round_trip(&p);
	}
	feed_receiver(data, size);
	return 0;
}
