/* SPDX-License-Identifier: Apache-2.0
 *
 * Payloads from the network: inspection, then assembly; and frames from a container: cutting, whose
 * payloads must assemble again without complaint.
 *
 * Input: codec byte, then packets: u8 control (bit 0 marker, 1 skip a sequence number, 2 new frame,
 * 3 step back), u16 size, payload. With bit 7 of the codec byte set: a record (u16 size), then
 * frames (u16 size).
 */
#include "actors/stream/assembler.h"
#include "actors/stream/payload.h"

enum { BUFFER_SIZE = 8192, FRAMED = 0x80 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t buffer[BUFFER_SIZE];

static void fuzz_packets(enum media_codec codec, struct reader r)
{
	struct payload_inspector s;
	struct payload_info info;
	struct assembler a;
	struct assembler_frame frame;
	uint64_t seq = 1000, time = 90000;

	payload_inspector_init(&s, codec);
	assembler_init(&a, codec);
	while (reader_left(&r) >= 3) {
		uint8_t control = read_u8(&r);
		size_t size = read_u16(&r);
		size = size < reader_left(&r) ? size : reader_left(&r);
		const uint8_t *payload = read_bytes(&r, size);
		seq += 1u + (control >> 1 & 1) - (control >> 2 & 2);
		time += control & 4 ? 3000 : 0;
		enum err err = payload_inspect(&s,
			&(struct payload_arrival){.payload = payload,
				.size = size,
				.track_seq = seq,
				.rtp_time = time,
				.marker = control & 1},
			&info);
		MUST(payload_inspector_is_valid(&s));
		if (err)
			continue;
		struct media_header header = {.track_seq = seq,
			.rtp_time = time,
			.frame = info.frame,
			.size = (uint16_t)size,
			.flags = info.flags};
		err = assembler_push(&a, &header, payload, buffer, sizeof(buffer), &frame);
		MUST(assembler_is_valid(&a));
		MUST(err || (frame.size && frame.size <= sizeof(buffer)));
	}
}

static void fuzz_frame(struct payload_packetiser *p, const uint8_t *data, size_t size, size_t goal,
	uint32_t number)
{
	static struct payload_cut cut;
	struct payload_packet packet;
	struct assembler a;
	struct assembler_frame frame;
	uint8_t payload[MEDIA_PAYLOAD_MAX];
	enum err err = ERR_AGAIN;
	uint64_t seq = 1;

	if (payload_cut_begin(&cut, p, data, size, number * 3000u, goal))
		return;
	assembler_init(&a, (enum media_codec)p->codec);
	while (payload_cut_next(&cut, payload, sizeof(payload), &packet)) {
		struct media_header header = {.track_seq = seq++,
			.frame = number,
			.size = packet.size,
			.flags = packet.flags};
		MUST(err == ERR_AGAIN || err == ERR_TOO_LARGE);
		err = assembler_push(&a, &header, payload, buffer, sizeof(buffer), &frame);
	}
	/* only a buffer that is too small may stand between a frame and its return */
	MUST(err == ERR_OK || (a.frames_broken == 1 && size + 1100 > sizeof(buffer) / 3));
}

static void fuzz_frames(enum media_codec codec, struct reader r)
{
	static struct payload_packetiser p;
	size_t goal = PAYLOAD_GOAL_MIN + read_u8(&r) * 5u;

	payload_packetiser_init(&p, codec);
	size_t size = read_u16(&r);
	const uint8_t *record = read_bytes(&r, size);
	if (record)
		payload_packetiser_configure(&p, record, size);
	MUST(payload_packetiser_is_valid(&p));
	for (uint32_t number = 1; !r.bad && reader_left(&r) >= 2; number++) {
		size = read_u16(&r);
		size = size < reader_left(&r) ? size : reader_left(&r);
		fuzz_frame(&p, read_bytes(&r, size), size, goal, number);
		MUST(payload_packetiser_is_valid(&p));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_of(data, size);
	uint8_t head = read_u8(&r);
	enum media_codec codec = (enum media_codec)(1 + (head & 0x7f) % (MEDIA_CODEC_COUNT - 1));

	if (head & FRAMED)
		fuzz_frames(codec, r);
	else
		fuzz_packets(codec, r);
	return 0;
}
