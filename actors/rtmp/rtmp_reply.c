/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages of an RTMP server. See rtmp_reply.h.
 *
 * A message's length stands in its header and is known only afterwards: message_begin() writes the
 * header with length zero, message_end() puts it right.
 */
#include "actors/rtmp/rtmp_reply.h"

#include "actors/rtmp/amf.h"

enum {
	CONTROL_CHUNK_STREAM = 2,
	LENGTH_OFFSET = 4, /* in the first header, after basic header and time */
	BANDWIDTH_DYNAMIC = 2,
	CAPABILITIES = 31, /* what Flash Media Server says: all of its features */
};

/* FourCCs that a publisher may send us, for an enhanced connect. */
static const char *const fourccs[] = {"avc1", "hvc1", "av01", "vp09", "vp08", "mp4a", "Opus"};
enum { FOURCCS = sizeof(fourccs) / sizeof(fourccs[0]), FOURCC_CAN_FORWARD = 4 };

static size_t message_begin(
	struct writer *out, unsigned chunk_stream, enum chunk_type type, uint32_t stream)
{
	size_t begin = writer_used(out);
	struct chunk_headers headers;

	chunk_headers_make(&headers, chunk_stream, (uint8_t)type, stream, 0, 0);
	write_bytes(out, headers.first, headers.first_size);
	return begin;
}

static void message_end(struct writer *out, size_t begin)
{
	const size_t header_size = 12;

	if (out->bad)
		return;
	size_t size = writer_used(out) - begin - header_size;
	MUST(size <= RTMP_REPLY_CHUNK_SIZE);
	struct writer length = writer_of(out->begin + begin + LENGTH_OFFSET, 3);
	write_u24(&length, (uint32_t)size);
}

void rtmp_reply_control(struct writer *out, enum chunk_type type, uint32_t value)
{
	size_t begin = message_begin(out, CONTROL_CHUNK_STREAM, type, 0);

	write_u32(out, value);
	message_end(out, begin);
}

void rtmp_reply_bandwidth(struct writer *out, uint32_t window_size)
{
	size_t begin = message_begin(out, CONTROL_CHUNK_STREAM, CHUNK_SET_PEER_BANDWIDTH, 0);

	write_u32(out, window_size);
	write_u8(out, BANDWIDTH_DYNAMIC);
	message_end(out, begin);
}

void rtmp_reply_user(struct writer *out, enum rtmp_user_event event, uint32_t value)
{
	size_t begin = message_begin(out, CONTROL_CHUNK_STREAM, CHUNK_USER_CONTROL, 0);

	write_u16(out, (uint16_t)event);
	write_u32(out, value);
	message_end(out, begin);
}

/* AMF strings take a NUL-terminated text; a description may come from anywhere, so it is
 * bounded. */
static void write_text_member(struct writer *out, const char *key, const char *text)
{
	char bounded[RTMP_REPLY_TEXT_MAX + 1];
	size_t size = strnlen(text, RTMP_REPLY_TEXT_MAX);

	memcpy(bounded, text, size);
	bounded[size] = 0;
	amf_write_string_member(out, key, bounded);
}

static void write_information(
	struct writer *out, const char *level, const char *code, const char *text)
{
	amf_write_string_member(out, "level", level);
	amf_write_string_member(out, "code", code);
	write_text_member(out, "description", text);
}

static size_t command_begin(struct writer *out, const char *name, double transaction)
{
	size_t begin = message_begin(out, RTMP_REPLY_CHUNK_STREAM, CHUNK_COMMAND_AMF0, 0);

	amf_write_string(out, name);
	amf_write_number(out, transaction);
	return begin;
}

/* Enhanced RTMP v2, "Enhancing NetConnection connect command". */
static void write_enhanced_abilities(struct writer *out)
{
	amf_write_key(out, "fourCcList");
	amf_write_array(out, FOURCCS);
	for (size_t i = 0; i < FOURCCS; i++)
		amf_write_string(out, fourccs[i]);
	amf_write_number_member(out, "capsEx", 0);
	for (int audio = 0; audio < 2; audio++) {
		amf_write_key(out, audio ? "audioFourCcInfoMap" : "videoFourCcInfoMap");
		amf_write_object(out);
		for (size_t i = audio ? 5 : 0; i < (audio ? FOURCCS : 5); i++)
			amf_write_number_member(out, fourccs[i], FOURCC_CAN_FORWARD);
		amf_write_end(out);
	}
}

void rtmp_reply_connected(struct writer *out, double transaction, bool enhanced)
{
	size_t begin = command_begin(out, "_result", transaction);

	amf_write_object(out);
	/* Clients compare the version with those of Flash Media Server to see what may be sent. */
	amf_write_string_member(out, "fmsVer", "FMS/3,5,7,7009");
	amf_write_number_member(out, "capabilities", CAPABILITIES);
	amf_write_number_member(out, "mode", 1);
	amf_write_end(out);
	amf_write_object(out);
	write_information(out, "status", "NetConnection.Connect.Success", "Connection succeeded.");
	amf_write_number_member(out, "objectEncoding", 0);
	if (enhanced)
		write_enhanced_abilities(out);
	amf_write_end(out);
	message_end(out, begin);
}

void rtmp_reply_number(struct writer *out, double transaction, double number)
{
	size_t begin = command_begin(out, "_result", transaction);

	amf_write_null(out);
	amf_write_number(out, number);
	message_end(out, begin);
}

void rtmp_reply_done(struct writer *out, double transaction)
{
	size_t begin = command_begin(out, "_result", transaction);

	amf_write_null(out);
	amf_write_undefined(out);
	message_end(out, begin);
}

void rtmp_reply_error(struct writer *out, double transaction, const char *code, const char *text)
{
	size_t begin = command_begin(out, "_error", transaction);

	amf_write_null(out);
	amf_write_object(out);
	write_information(out, "error", code, text);
	amf_write_end(out);
	message_end(out, begin);
}

/* The information object is left open. */
static size_t status_begin(
	struct writer *out, uint32_t stream, const char *level, const char *code, const char *text)
{
	size_t begin =
		message_begin(out, RTMP_REPLY_STATUS_CHUNK_STREAM, CHUNK_COMMAND_AMF0, stream);

	amf_write_string(out, "onStatus");
	amf_write_number(out, 0);
	amf_write_null(out);
	amf_write_object(out);
	write_information(out, level, code, text);
	return begin;
}

void rtmp_reply_status(
	struct writer *out, uint32_t stream, const char *level, const char *code, const char *text)
{
	size_t begin = status_begin(out, stream, level, code, text);

	amf_write_end(out);
	message_end(out, begin);
}

void rtmp_reply_published(struct writer *out, uint32_t stream, const char *resume)
{
	size_t begin = status_begin(
		out, stream, "status", "NetStream.Publish.Start", "Publishing has started.");

	if (*resume)
		write_text_member(out, "resume", resume);
	amf_write_end(out);
	message_end(out, begin);
}

void rtmp_reply_notice(struct writer *out, const char *command, const char *code, const char *text)
{
	size_t begin = command_begin(out, command, 0);

	amf_write_null(out);
	amf_write_object(out);
	amf_write_string_member(out, "code", code);
	write_text_member(out, "description", text);
	amf_write_end(out);
	message_end(out, begin);
}

void rtmp_reply_sample_access(struct writer *out, uint32_t stream)
{
	size_t begin = message_begin(out, RTMP_REPLY_STATUS_CHUNK_STREAM, CHUNK_DATA_AMF0, stream);

	amf_write_string(out, "|RtmpSampleAccess");
	amf_write_boolean(out, true);
	amf_write_boolean(out, true);
	message_end(out, begin);
}
