/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes into both decoders through the whole engine. Layout: one byte of choices (bit 0 direction,
 * bit 1 mono), AAC only: one byte of config size and the AudioSpecificConfig; then packets, each with
 * a 2-byte size and a signed 2-byte step of its time from where the one before should have ended.
 */
#include "actors/transcode/transcode_engine.h"
#include "schemas/bytes.h"

#include <libavutil/log.h>
#include <stdlib.h>
#include <string.h>

enum { PACKETS_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Everything a caller may rely on. */
static void take_all(struct transcode *t, const struct transcode_state *state)
{
	struct transcode_packet packet, last = {0};

	while (transcode_take(t, &packet)) {
		MUST(packet.size >= 1 && packet.size <= TRANSCODE_OUTPUT_MAX);
		MUST(packet.samples == (state->to == MEDIA_OPUS ? 960 : 1024));
		MUST(!last.bytes || packet.discontinuity || packet.pts == last.pts + last.samples);
		last = packet;
	}
	MUST(transcode_state_is_valid(state));
}

static void read_packets(struct reader *r, struct transcode *t, const struct transcode_state *state)
{
	int64_t pts = 0;

	for (int i = 0; i < PACKETS_MAX && reader_left(r) > 4; i++) {
		size_t size = read_u16(r);
		pts += (int16_t)read_u16(r) + 960;
		if (size > reader_left(r))
			size = reader_left(r);
		/* an exact copy, so that reading beyond it is seen */
		uint8_t *copy = malloc(size ? size : 1);
		if (!copy)
			return;
		memcpy(copy, r->at, size);
		r->at += size;
		transcode_put(t, copy, size, pts, pts * 21);
		free(copy);
		take_all(t, state);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_of(data, size);
	uint8_t choices = read_u8(&r);
	bool is_aac = choices & 1;
	struct transcode_state state = {.from = is_aac ? MEDIA_AAC : MEDIA_OPUS,
		.to = is_aac ? MEDIA_OPUS : MEDIA_AAC,
		.channels = choices & 2 ? 1 : 2,
		.clock_rate = AUDIO_RATE};
	struct transcode *t;

	av_log_set_level(AV_LOG_QUIET);
	if (is_aac) {
		state.config_size = read_u8(&r) % (TRANSCODE_CONFIG_MAX + 1);
		const uint8_t *config = read_bytes(&r, state.config_size);
		if (!config)
			return 0;
		memcpy(state.config, config, state.config_size);
	}
	if (r.bad || transcode_create(&t, &state))
		return 0;
	read_packets(&r, t, &state);
	transcode_destroy(&t);
	return 0;
}
