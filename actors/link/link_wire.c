/* SPDX-License-Identifier: Apache-2.0
 *
 * The datagrams of a link, written and read. See link_wire.h for the layout.
 */
#include "actors/link/link_wire.h"

#include <string.h>

enum {
	KEY_BIT = 0x10,
	COVERED_BIT = 0x20,
	HURRY_BIT = 0x40,
	AUDIO_LEVEL_BITS = 9,
	TRACK_BITS = 3,
	PRIORITY_BITS = 2,
};

/* Little endian is the only byte order we run on (media.h asserts it). */
static void put(uint8_t *at, uint64_t value, int size)
{
	memcpy(at, &value, (size_t)size);
}

static uint64_t get(const uint8_t *at, int size)
{
	uint64_t value = 0;

	memcpy(&value, at, (size_t)size);
	return value;
}

static int64_t get_signed(const uint8_t *at, int size)
{
	int shift = 64 - 8 * size;

	return (int64_t)(get(at, size) << shift) >> shift;
}

static bool fits(uint64_t value, int bits)
{
	return !(value >> bits);
}

static bool fits_signed(int64_t value, int bits)
{
	int64_t half = INT64_C(1) << (bits - 1);

	return value >= -half && value < half;
}

/* ---- head ---- */

void link_head_write(const struct link_head *head, uint8_t bytes[LINK_HEAD])
{
	bytes[0] = (uint8_t)(LINK_VERSION << 4 | head->kind);
	bytes[1] = (uint8_t)(head->path | (head->key ? KEY_BIT : 0) |
			     (head->covered ? COVERED_BIT : 0) | (head->hurry ? HURRY_BIT : 0));
	put(bytes + 2, head->path_seq, 2);
	put(bytes + 4, head->session, 4);
	put(bytes + 8, head->counter, 8);
}

enum err link_head_read(const uint8_t *bytes, size_t size, struct link_head *head)
{
	if (size < LINK_HEAD + LINK_TAG)
		return ERR_FORMAT;
	if (bytes[0] >> 4 != LINK_VERSION)
		return ERR_VERSION;
	*head = (struct link_head){
		.kind = bytes[0] & 0x0f,
		.path = bytes[1] & 0x0f,
		.key = bytes[1] & KEY_BIT ? 1 : 0,
		.covered = bytes[1] & COVERED_BIT,
		.hurry = bytes[1] & HURRY_BIT,
		.path_seq = (uint16_t)get(bytes + 2, 2),
		.session = (uint32_t)get(bytes + 4, 4),
		.counter = get(bytes + 8, 8),
	};
	if (head->kind < LINK_MEDIA || head->kind > LINK_FEC || head->path >= LINK_PATHS_MAX ||
		bytes[1] >> 7)
		return ERR_FORMAT;
	return ERR_OK;
}

/* ---- media ---- */

enum err link_media_write(const struct link_media *media, uint8_t *body, size_t *size)
{
	const struct media_header *h = &media->header;
	int64_t ahead = (int64_t)(h->rtp_time - h->decode_time);

	if (!fits(h->position, 48) || !fits_signed(h->capture_us, 56) || !fits(h->track_seq, 48) ||
		!fits(h->rtp_time, 48) || !fits_signed(ahead, 24) ||
		!fits(h->audio_level, AUDIO_LEVEL_BITS) || !fits(h->track, TRACK_BITS) ||
		!fits(h->priority, PRIORITY_BITS) || h->size > MEDIA_PAYLOAD_MAX)
		return ERR_LIMIT;
	put(body, media->seq, 4);
	put(body + 4, media->sent_us, 4);
	put(body + 8, media->to, 8);
	put(body + 16, media->from, 8);
	put(body + 24, h->position, 6);
	put(body + 30, (uint64_t)h->capture_us, 7);
	put(body + 37, h->track_seq, 6);
	put(body + 43, h->rtp_time, 6);
	put(body + 49, (uint64_t)ahead, 3);
	put(body + 52, h->frame, 4);
	put(body + 56,
		h->audio_level | (unsigned)h->track << AUDIO_LEVEL_BITS |
			(unsigned)h->priority << (AUDIO_LEVEL_BITS + TRACK_BITS),
		2);
	body[58] = h->flags;
	body[59] = h->layer;
	memcpy(body + LINK_MEDIA_HEAD, media->payload, h->size);
	*size = LINK_MEDIA_HEAD + h->size;
	return ERR_OK;
}

enum err link_media_read(const uint8_t *body, size_t size, struct link_media *media)
{
	unsigned packed;
	uint64_t rtp_time;

	if (size < LINK_MEDIA_HEAD || size > LINK_BODY_MAX)
		return ERR_FORMAT;
	packed = (unsigned)get(body + 56, 2);
	if (packed >> (AUDIO_LEVEL_BITS + TRACK_BITS + PRIORITY_BITS))
		return ERR_FORMAT;
	rtp_time = get(body + 43, 6);
	*media = (struct link_media){
		.seq = (uint32_t)get(body, 4),
		.sent_us = (uint32_t)get(body + 4, 4),
		.to = get(body + 8, 8),
		.from = get(body + 16, 8),
		.header =
			{
				 .position = get(body + 24, 6),
				 .capture_us = get_signed(body + 30, 7),
				 .track_seq = get(body + 37, 6),
				 .rtp_time = rtp_time,
				 .decode_time = rtp_time - (uint64_t)get_signed(body + 49, 3),
				 .frame = (uint32_t)get(body + 52, 4),
				 .audio_level = packed & ((1u << AUDIO_LEVEL_BITS) - 1),
				 .size = (uint16_t)(size - LINK_MEDIA_HEAD),
				 .track = packed >> AUDIO_LEVEL_BITS & ((1u << TRACK_BITS) - 1),
				 .priority = (uint8_t)(packed >> (AUDIO_LEVEL_BITS + TRACK_BITS)),
				 .flags = body[58],
				 .layer = body[59],
				 },
		.payload = body + LINK_MEDIA_HEAD,
	};
	return ERR_OK;
}

/* ---- report ---- */

static void put_path(uint8_t *at, const struct link_path_report *p)
{
	at[0] = p->path;
	at[1] = 0;
	put(at + 2, p->highest, 2);
	put(at + 4, p->received, 4);
	put(at + 8, p->expected, 4);
	put(at + 12, p->burst, 2);
	put(at + 14, p->jitter_us >> 4 > UINT16_MAX ? UINT16_MAX : p->jitter_us >> 4, 2);
	put(at + 16, p->queue_us, 4);
	put(at + 20, (uint32_t)p->gradient_us, 4);
	put(at + 24, p->rate_bps, 4);
	put(at + 28, p->age_us, 4);
}

static void get_path(const uint8_t *at, struct link_path_report *p)
{
	*p = (struct link_path_report){
		.path = at[0],
		.highest = (uint16_t)get(at + 2, 2),
		.received = (uint32_t)get(at + 4, 4),
		.expected = (uint32_t)get(at + 8, 4),
		.burst = (uint16_t)get(at + 12, 2),
		.jitter_us = (uint32_t)get(at + 14, 2) << 4,
		.queue_us = (uint32_t)get(at + 16, 4),
		.gradient_us = (int32_t)get(at + 20, 4),
		.rate_bps = (uint32_t)get(at + 24, 4),
		.age_us = (uint32_t)get(at + 28, 4),
	};
}

size_t link_report_write(const struct link_report *report, uint8_t *body)
{
	uint8_t *at = body + LINK_REPORT_HEAD;

	MUST(report->path_count <= LINK_PATHS_MAX && report->nack_count <= LINK_NACK_RANGES_MAX);
	put(body, report->number, 4);
	put(body + 4, report->highest, 4);
	body[8] = report->path_count;
	body[9] = report->nack_count;
	put(body + 10, 0, 2);
	for (unsigned i = 0; i < report->path_count; i++, at += LINK_REPORT_PATH)
		put_path(at, &report->paths[i]);
	for (unsigned i = 0; i < report->nack_count; i++, at += LINK_NACK_RANGE) {
		put(at, report->nacks[i].first, 4);
		put(at + 4, report->nacks[i].count, 2);
	}
	return (size_t)(at - body);
}

enum err link_report_read(const uint8_t *body, size_t size, struct link_report *report)
{
	const uint8_t *at = body + LINK_REPORT_HEAD;

	if (size < LINK_REPORT_HEAD || body[8] > LINK_PATHS_MAX || body[9] > LINK_NACK_RANGES_MAX ||
		size != LINK_REPORT_HEAD + (size_t)body[8] * LINK_REPORT_PATH +
				(size_t)body[9] * LINK_NACK_RANGE)
		return ERR_FORMAT;
	report->number = (uint32_t)get(body, 4);
	report->highest = (uint32_t)get(body + 4, 4);
	report->path_count = body[8];
	report->nack_count = body[9];
	for (unsigned i = 0; i < report->path_count; i++, at += LINK_REPORT_PATH) {
		get_path(at, &report->paths[i]);
		if (report->paths[i].path >= LINK_PATHS_MAX)
			return ERR_FORMAT;
	}
	for (unsigned i = 0; i < report->nack_count; i++, at += LINK_NACK_RANGE) {
		report->nacks[i].first = (uint32_t)get(at, 4);
		report->nacks[i].count = (uint16_t)get(at + 4, 2);
		if (!report->nacks[i].count)
			return ERR_FORMAT;
	}
	return ERR_OK;
}

/* ---- probes ---- */

void link_probe_write(const struct link_probe *probe, uint8_t body[LINK_PROBE_SIZE])
{
	put(body, probe->number, 4);
	put(body + 4, probe->next_seq, 4);
	put(body + 8, probe->sent_us, 8);
}

enum err link_probe_read(const uint8_t *body, size_t size, struct link_probe *probe)
{
	if (size != LINK_PROBE_SIZE)
		return ERR_FORMAT;
	*probe = (struct link_probe){
		.number = (uint32_t)get(body, 4),
		.next_seq = (uint32_t)get(body + 4, 4),
		.sent_us = get(body + 8, 8),
	};
	return ERR_OK;
}

/* ---- FEC ---- */

void link_fec_write(const struct link_fec_row *row, uint8_t body[LINK_FEC_HEAD])
{
	put(body, row->first, 4);
	body[4] = row->count;
	body[5] = row->step;
	put(body + 6, row->size_xor, 2);
}

enum err link_fec_read(const uint8_t *body, size_t size, struct link_fec_row *row)
{
	if (size < LINK_FEC_HEAD + LINK_MEDIA_HEAD - LINK_MEDIA_UNCOVERED || size > LINK_BODY_MAX ||
		body[4] < 2 || !body[5])
		return ERR_FORMAT;
	*row = (struct link_fec_row){
		.first = (uint32_t)get(body, 4),
		.count = body[4],
		.step = body[5],
		.size_xor = (uint16_t)get(body + 6, 2),
		.size = (uint16_t)(size - LINK_FEC_HEAD),
		.bytes = body + LINK_FEC_HEAD,
	};
	return ERR_OK;
}
