/* SPDX-License-Identifier: Apache-2.0
 *
 * FLV tag bodies and framing. See flv.h.
 *
 * A body's first byte tells which form it has. Classic video: frame type (4 bits), codec id (4).
 * Enhanced video: 1 (1 bit), frame type (3), packet type (4), then a FourCC. Classic audio: format
 * (4), rate, size, channels. Enhanced audio: format 9 (4), packet type (4), then a FourCC.
 */
#include "actors/rtmp/flv.h"

#include "actors/rtmp/amf.h"

#define FOURCC(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (d))

enum {
	ENHANCED_VIDEO = 0x80,
	ENHANCED_AUDIO = 9, /* in the place of the sound format */
	FRAME_KEY = 1,
	FRAME_INTER = 2,
	FRAME_DISPOSABLE = 3,
	FRAME_COMMAND = 5,
	AAC_HEADER = 0xaf, /* AAC, 44 kHz, 16 bit, stereo: constants that decoders ignore for AAC */
	AAC_FORMAT = 10,
	COMPOSITION_MAX = 0x7fffff,
	FILE_HAS_AUDIO = 4,
	FILE_HAS_VIDEO = 1,
	TAG_ENCRYPTED = 0x20,
};

/* Packet types of Enhanced RTMP; the first three are those of classic H.264 and AAC too. */
enum packet_type {
	PACKET_SEQUENCE_START = 0,
	PACKET_CODED_FRAMES = 1,
	PACKET_SEQUENCE_END = 2,
	PACKET_CODED_FRAMES_X = 3, /* video: composition time is zero and left out */
	PACKET_METADATA = 4,	   /* audio: channel layout */
	PACKET_MULTITRACK_AUDIO = 5,
	PACKET_MULTITRACK_VIDEO = 6,
	PACKET_MOD_EX = 7,
};

/* legacy_id: what FLV, or for H265 and AV1 wide usage, has as codec id; -1 none. */
static const struct codec_row {
	enum media_codec codec;
	enum media_kind kind;
	int legacy_id;
	uint32_t fourcc;
	const char *name; /* as some encoders put it into onMetaData */
	bool has_composition;
} codec_rows[] = {
	{MEDIA_H264, MEDIA_VIDEO, 7,  FOURCC('a', 'v', 'c', '1'), "avc1", true },
	{MEDIA_H265, MEDIA_VIDEO, 12, FOURCC('h', 'v', 'c', '1'), "hvc1", true },
	{MEDIA_AV1,  MEDIA_VIDEO, -1, FOURCC('a', 'v', '0', '1'), "av01", false},
	{MEDIA_VP9,  MEDIA_VIDEO, -1, FOURCC('v', 'p', '0', '9'), "vp09", false},
	{MEDIA_VP8,  MEDIA_VIDEO, -1, FOURCC('v', 'p', '0', '8'), "vp08", false},
	{MEDIA_AAC,  MEDIA_AUDIO, 10, FOURCC('m', 'p', '4', 'a'), "mp4a", false},
	{MEDIA_OPUS, MEDIA_AUDIO, -1, FOURCC('O', 'p', 'u', 's'), "Opus", false},
};
enum { CODEC_ROWS = sizeof(codec_rows) / sizeof(codec_rows[0]) };

static const struct codec_row *row_by_legacy_id(enum media_kind kind, int id)
{
	for (size_t i = 0; i < CODEC_ROWS; i++) {
		if (codec_rows[i].kind == kind && codec_rows[i].legacy_id == id)
			return &codec_rows[i];
	}
	return NULL;
}

static const struct codec_row *row_by_fourcc(enum media_kind kind, uint32_t fourcc)
{
	for (size_t i = 0; i < CODEC_ROWS; i++) {
		if (codec_rows[i].kind == kind && codec_rows[i].fourcc == fourcc)
			return &codec_rows[i];
	}
	return NULL;
}

static const struct codec_row *row_by_codec(enum media_codec codec)
{
	for (size_t i = 0; i < CODEC_ROWS; i++) {
		if (codec_rows[i].codec == codec)
			return &codec_rows[i];
	}
	return NULL;
}

enum media_codec flv_video_fourcc(const char *text, size_t size)
{
	for (size_t i = 0; i < CODEC_ROWS && size == 4; i++) {
		if (codec_rows[i].kind == MEDIA_VIDEO && !memcmp(codec_rows[i].name, text, size))
			return codec_rows[i].codec;
	}
	return MEDIA_CODEC_NONE;
}

static int32_t read_i24(struct reader *r)
{
	uint32_t value = read_u24(r);

	return value & 0x800000 ? (int32_t)value - 0x1000000 : (int32_t)value;
}

/* Steps over ModEx prefixes: each a size, that many bytes, and a byte whose lower half is the next
 * packet type. */
static uint8_t skip_mod_ex(struct reader *r, uint8_t type)
{
	while (type == PACKET_MOD_EX && !r->bad) {
		size_t size = read_u8(r) + 1u;

		if (size == 256)
			size = read_u16(r) + 1u;
		read_bytes(r, size);
		type = read_u8(r) & 0x0f;
	}
	return type;
}

static enum err parse_enhanced_video(struct reader *r, uint8_t first, struct flv_video *out)
{
	uint8_t frame_type = first >> 4 & 7;
	uint8_t type = skip_mod_ex(r, first & 0x0f);

	if (r->bad)
		return ERR_FORMAT;
	if (type != PACKET_METADATA && frame_type == FRAME_COMMAND)
		return ERR_OK;
	if (type > PACKET_METADATA)
		return ERR_UNSUPPORTED;
	const struct codec_row *row = row_by_fourcc(MEDIA_VIDEO, read_u32(r));
	if (!row)
		return r->bad ? ERR_FORMAT : ERR_CODEC;
	out->codec = row->codec;
	out->keyframe = frame_type == FRAME_KEY;
	out->discardable = frame_type == FRAME_DISPOSABLE;
	switch (type) {
	case PACKET_SEQUENCE_START: out->packet = FLV_SEQUENCE_START; break;
	case PACKET_SEQUENCE_END: out->packet = FLV_SEQUENCE_END; break;
	case PACKET_METADATA: out->packet = FLV_OTHER; break;
	default:
		out->packet = FLV_FRAMES;
		if (type == PACKET_CODED_FRAMES && row->has_composition)
			out->composition_ms = read_i24(r);
	}
	return ERR_OK;
}

static enum err parse_classic_video(struct reader *r, uint8_t first, struct flv_video *out)
{
	uint8_t frame_type = first >> 4;

	if (frame_type == FRAME_COMMAND)
		return ERR_OK;
	const struct codec_row *row = row_by_legacy_id(MEDIA_VIDEO, first & 0x0f);
	if (!row)
		return ERR_CODEC;
	uint8_t type = read_u8(r);
	if (type > PACKET_SEQUENCE_END)
		return ERR_UNSUPPORTED;
	out->codec = row->codec;
	out->packet = (enum flv_packet)type;
	out->keyframe = frame_type == FRAME_KEY;
	out->discardable = frame_type == FRAME_DISPOSABLE;
	out->composition_ms = read_i24(r);
	return ERR_OK;
}

enum err flv_video_parse(const uint8_t *body, size_t size, struct flv_video *out)
{
	struct reader r = reader_of(body, size);
	uint8_t first = read_u8(&r);
	enum err err;

	*out = (struct flv_video){.packet = FLV_OTHER};
	if (r.bad)
		return ERR_FORMAT;
	if (first & ENHANCED_VIDEO)
		err = parse_enhanced_video(&r, first, out);
	else
		err = parse_classic_video(&r, first, out);
	/* Some encoders end a classic sequence with a body cut short. */
	if (!err && r.bad && out->packet != FLV_SEQUENCE_END)
		err = ERR_FORMAT;
	if (err)
		return err;
	out->data = r.at;
	out->size = reader_left(&r);
	return ERR_OK;
}

static enum err parse_enhanced_audio(struct reader *r, uint8_t first, struct flv_audio *out)
{
	uint8_t type = skip_mod_ex(r, first & 0x0f);

	if (r->bad)
		return ERR_FORMAT;
	if (type > PACKET_METADATA || type == PACKET_CODED_FRAMES_X)
		return ERR_UNSUPPORTED;
	const struct codec_row *row = row_by_fourcc(MEDIA_AUDIO, read_u32(r));
	if (!row)
		return r->bad ? ERR_FORMAT : ERR_CODEC;
	out->codec = row->codec;
	out->packet = type == PACKET_METADATA ? FLV_OTHER : (enum flv_packet)type;
	return ERR_OK;
}

enum err flv_audio_parse(const uint8_t *body, size_t size, struct flv_audio *out)
{
	struct reader r = reader_of(body, size);
	uint8_t first = read_u8(&r);

	*out = (struct flv_audio){.packet = FLV_OTHER};
	if (r.bad)
		return ERR_FORMAT;
	if (first >> 4 == ENHANCED_AUDIO) {
		enum err err = parse_enhanced_audio(&r, first, out);
		if (err)
			return err;
	} else {
		const struct codec_row *row = row_by_legacy_id(MEDIA_AUDIO, first >> 4);

		if (!row)
			return ERR_CODEC;
		uint8_t type = read_u8(&r);
		if (type > PACKET_CODED_FRAMES)
			return ERR_UNSUPPORTED;
		out->codec = row->codec;
		out->packet = (enum flv_packet)type;
	}
	if (r.bad)
		return ERR_FORMAT;
	out->data = r.at;
	out->size = reader_left(&r);
	return ERR_OK;
}

/* Sizes here are known beforehand, so plain stores do instead of a writer. */
static size_t put_composition(uint8_t *out, int32_t composition_ms)
{
	out[0] = (uint8_t)(composition_ms >> 16);
	out[1] = (uint8_t)(composition_ms >> 8);
	out[2] = (uint8_t)composition_ms;
	return 3;
}

static size_t put_enhanced(uint8_t *out, uint8_t first, uint32_t fourcc)
{
	uint32_t big_endian = __builtin_bswap32(fourcc);

	out[0] = first;
	memcpy(out + 1, &big_endian, sizeof(big_endian));
	return 1 + sizeof(big_endian);
}

size_t flv_video_header(const struct flv_video *video, uint8_t out[FLV_BODY_HEADER_MAX])
{
	const struct codec_row *row = row_by_codec(video->codec);
	uint8_t frame_type = FRAME_INTER;
	uint8_t type = (uint8_t)video->packet;

	MUST(row && row->kind == MEDIA_VIDEO && video->packet <= FLV_SEQUENCE_END);
	MUST(video->composition_ms >= -COMPOSITION_MAX - 1 &&
		video->composition_ms <= COMPOSITION_MAX);
	if (video->keyframe || video->packet != FLV_FRAMES)
		frame_type = FRAME_KEY;
	else if (video->discardable && video->codec != MEDIA_H264)
		frame_type = FRAME_DISPOSABLE; /* classic: for H.263 only */

	if (video->codec == MEDIA_H264) {
		out[0] = (uint8_t)(frame_type << 4 | row->legacy_id);
		out[1] = type;
		return 2 + put_composition(out + 2, video->composition_ms);
	}
	bool composed = video->packet == FLV_FRAMES && row->has_composition;
	if (composed && video->composition_ms == 0)
		type = PACKET_CODED_FRAMES_X;
	size_t size =
		put_enhanced(out, (uint8_t)(ENHANCED_VIDEO | frame_type << 4 | type), row->fourcc);
	if (type == PACKET_CODED_FRAMES && composed)
		size += put_composition(out + size, video->composition_ms);
	return size;
}

size_t flv_audio_header(const struct flv_audio *audio, uint8_t out[FLV_BODY_HEADER_MAX])
{
	const struct codec_row *row = row_by_codec(audio->codec);

	MUST(row && row->kind == MEDIA_AUDIO && audio->packet <= FLV_SEQUENCE_END);
	if (audio->codec == MEDIA_AAC && audio->packet != FLV_SEQUENCE_END) {
		out[0] = AAC_HEADER;
		out[1] = (uint8_t)audio->packet;
		return 2;
	}
	return put_enhanced(out, (uint8_t)(ENHANCED_AUDIO << 4 | audio->packet), row->fourcc);
}

/* A codec in onMetaData is a number (codec id, or a FourCC's value), or its text. */
static uint8_t metadata_codec(const struct amf_item *item, enum media_kind kind)
{
	const struct codec_row *row = NULL;

	if (item->kind == AMF_NUMBER) {
		uint32_t value = amf_to_u32(item, UINT32_MAX, 0);

		row = row_by_legacy_id(kind, value < 16 ? (int)value : -2);
		if (!row)
			row = row_by_fourcc(kind, value);
	}
	for (size_t i = 0; i < CODEC_ROWS && !row; i++) {
		if (codec_rows[i].kind == kind && amf_text_is(item, codec_rows[i].name))
			row = &codec_rows[i];
	}
	return row ? (uint8_t)row->codec : MEDIA_CODEC_NONE;
}

/* The numbers of onMetaData: name, largest value taken, what to multiply with, where it goes. */
static const struct number_row {
	const char *name;
	uint32_t max;
	uint32_t scale;
	size_t offset;
} number_rows[] = {
	/* clang-format off */
	{"width", 65535, 1, offsetof(struct flv_metadata, width)},
	{"height", 65535, 1, offsetof(struct flv_metadata, height)},
	{"framerate", 1000, 1000, offsetof(struct flv_metadata, frame_rate_milli)},
	{"videodatarate", 4000000, 1000, offsetof(struct flv_metadata, video_rate_bps)},
	{"audiodatarate", 4000000, 1000, offsetof(struct flv_metadata, audio_rate_bps)},
	{"audiosamplerate", 768000, 1, offsetof(struct flv_metadata, sample_rate)},
	/* clang-format on */
};
enum { NUMBER_ROWS = sizeof(number_rows) / sizeof(number_rows[0]) };

static void take_member(struct flv_metadata *m, const struct amf_item *item)
{
	for (size_t i = 0; i < NUMBER_ROWS; i++) {
		const struct number_row *row = &number_rows[i];

		if (!amf_name_is(item, row->name))
			continue;
		if (item->kind == AMF_NUMBER && item->number > 0 && item->number <= row->max) {
			uint32_t value = (uint32_t)(item->number * row->scale + 0.5);
			memcpy((char *)m + row->offset, &value, sizeof(value));
		}
		return;
	}
	if (amf_name_is(item, "videocodecid"))
		m->video_codec = metadata_codec(item, MEDIA_VIDEO);
	else if (amf_name_is(item, "audiocodecid"))
		m->audio_codec = metadata_codec(item, MEDIA_AUDIO);
	else if (amf_name_is(item, "audiochannels"))
		m->channels = (uint8_t)amf_to_u32(item, UINT8_MAX, 0);
	else if (amf_name_is(item, "stereo") && item->kind == AMF_BOOLEAN && !m->channels)
		m->channels = item->number ? 2 : 1;
	else if (amf_name_is(item, "encoder"))
		amf_copy_text(item, m->encoder, sizeof(m->encoder));
}

enum err flv_metadata_parse(const uint8_t *body, size_t size, struct flv_metadata *out)
{
	struct amf_cursor values = amf_cursor_of(body, size);
	struct amf_item item;
	bool found = amf_next(&values, &item);

	*out = (struct flv_metadata){0};
	if (found && amf_text_is(&item, "@setDataFrame"))
		found = amf_next(&values, &item);
	if (!found)
		return values.err ? values.err : ERR_FORMAT;
	if (!amf_text_is(&item, "onMetaData"))
		return ERR_NOT_FOUND;
	unsigned argument = item.argument + 1;
	while (amf_next(&values, &item)) {
		if (item.argument == argument && item.depth == 1)
			take_member(out, &item);
	}
	return values.err;
}

static void write_codec(struct writer *w, const char *key, uint8_t codec)
{
	const struct codec_row *row = row_by_codec((enum media_codec)codec);

	MUST(row);
	bool classic = codec == MEDIA_H264 || codec == MEDIA_AAC;
	amf_write_number_member(w, key, classic ? row->legacy_id : (double)row->fourcc);
}

void flv_metadata_write(struct writer *w, const struct flv_metadata *m)
{
	uint32_t count = 0;

	amf_write_string(w, "onMetaData");
	amf_write_map(w, 0);
	uint8_t *count_at = w->bad ? NULL : w->at - 4;
	for (size_t i = 0; i < NUMBER_ROWS; i++) {
		uint32_t value;

		memcpy(&value, (const char *)m + number_rows[i].offset, sizeof(value));
		if (value == 0)
			continue;
		amf_write_number_member(
			w, number_rows[i].name, (double)value / number_rows[i].scale);
		count++;
	}
	if (m->video_codec != MEDIA_CODEC_NONE) {
		write_codec(w, "videocodecid", m->video_codec);
		count++;
	}
	if (m->audio_codec != MEDIA_CODEC_NONE) {
		write_codec(w, "audiocodecid", m->audio_codec);
		count++;
	}
	if (m->channels) {
		amf_write_key(w, "stereo");
		amf_write_boolean(w, m->channels > 1);
		amf_write_number_member(w, "audiochannels", m->channels);
		count += 2;
	}
	if (m->encoder[0]) {
		amf_write_string_member(w, "encoder", m->encoder);
		count++;
	}
	amf_write_end(w);
	if (count_at)
		count_at[3] = (uint8_t)count;
}

void flv_file_header(uint8_t out[FLV_FILE_HEADER_SIZE], bool has_audio, bool has_video)
{
	/* signature and version, what it holds, size of this header, size of the previous tag */
	static const uint8_t header[FLV_FILE_HEADER_SIZE] = {
		'F', 'L', 'V', 1, 0, 0, 0, 0, FLV_FILE_HEADER_SIZE - 4, 0, 0, 0, 0};

	memcpy(out, header, sizeof(header));
	out[4] = (uint8_t)((has_audio ? FILE_HAS_AUDIO : 0) | (has_video ? FILE_HAS_VIDEO : 0));
}

void flv_tag_make(struct flv_tag *tag, enum flv_tag_type type, uint32_t time_ms,
	const uint8_t *body_header, size_t body_header_size, size_t payload_size)
{
	struct writer head = writer_of(tag->head, sizeof(tag->head));
	struct writer tail = writer_of(tag->tail, sizeof(tag->tail));
	size_t size = body_header_size + payload_size;

	MUST(body_header_size <= FLV_BODY_HEADER_MAX && payload_size <= FLV_TAG_SIZE_MAX &&
		size <= FLV_TAG_SIZE_MAX);
	write_u8(&head, (uint8_t)type);
	write_u24(&head, (uint32_t)size);
	write_u24(&head, time_ms & 0xffffff);
	write_u8(&head, (uint8_t)(time_ms >> 24));
	write_u24(&head, 0); /* stream id, always 0 */
	write_bytes(&head, body_header, body_header_size);
	write_u32(&tail, (uint32_t)(FLV_TAG_HEADER_SIZE + size));
	tag->head_size = (uint8_t)writer_used(&head);
}

enum err flv_read_file_header(struct reader *in)
{
	struct reader r = *in;
	const uint8_t *signature = read_bytes(&r, 3);

	if (signature && memcmp(signature, "FLV", 3) != 0)
		return ERR_FORMAT;
	read_u16(&r); /* version, what it holds */
	uint32_t header_size = read_u32(&r);
	if (r.bad)
		return ERR_AGAIN;
	if (header_size != FLV_FILE_HEADER_SIZE - 4)
		return ERR_FORMAT;
	if (read_u32(&r) != 0)
		return ERR_FORMAT;
	if (r.bad)
		return ERR_AGAIN;
	*in = r;
	return ERR_OK;
}

enum err flv_read_tag(struct reader *in, struct flv_tag_view *out)
{
	struct reader r = *in;
	uint8_t type = read_u8(&r);
	uint32_t size = read_u24(&r);
	uint32_t time_low = read_u24(&r);
	uint32_t time_high = read_u8(&r);

	read_u24(&r); /* stream id */
	if (!r.bad && type & TAG_ENCRYPTED)
		return ERR_FORMAT;
	const uint8_t *body = read_bytes(&r, size);
	uint32_t trailer = read_u32(&r);
	if (r.bad)
		return ERR_AGAIN;
	if (trailer != FLV_TAG_HEADER_SIZE + size)
		return ERR_FORMAT;
	*out = (struct flv_tag_view){
		.type = type & 0x1f,
		.time_ms = time_high << 24 | time_low,
		.body = body,
		.size = size,
	};
	*in = r;
	return ERR_OK;
}

int64_t flv_time_unwrap(int64_t last_ms, uint32_t time_ms)
{
	return last_ms + (int32_t)(time_ms - (uint32_t)last_ms);
}
