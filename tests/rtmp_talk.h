/* SPDX-License-Identifier: Apache-2.0
 *
 * What an RTMP client says, all at once and without waiting for answers, as some encoders do.
 * (actors/rtmp/rtmp_client.h is a client that listens.)
 */
#ifndef MILLRACE_RTMP_TALK_H
#define MILLRACE_RTMP_TALK_H

#include "actors/rtmp/amf.h"
#include "actors/rtmp/chunk.h"
#include "actors/rtmp/handshake.h"

enum {
	RTMP_TALK_CHUNK = 60000, /* bytes of the chunks after the first message */
	RTMP_TALK_PARTS_MAX = 64,
	RTMP_TALK_COMMAND_MAX = 2048,
	RTMP_TALK_ASK_MAX = HANDSHAKE_ASK_SIZE + HANDSHAKE_PART_SIZE + 2 * RTMP_TALK_COMMAND_MAX,
};

/* One message of stream 1; `pieces` joined are its payload. */
static inline void rtmp_talk_message(struct writer *out, uint8_t type, uint32_t time_ms,
	const struct iovec *pieces, size_t count)
{
	struct chunk_headers headers;
	struct iovec parts[RTMP_TALK_PARTS_MAX];
	size_t size = 0;

	for (size_t i = 0; i < count; i++)
		size += pieces[i].iov_len;
	chunk_headers_make(&headers,
		type == CHUNK_VIDEO   ? 6
		: type == CHUNK_AUDIO ? 4
				      : 3,
		type, 1, time_ms, (uint32_t)size);
	count = chunk_frame(&headers, RTMP_TALK_CHUNK, pieces, count, parts, RTMP_TALK_PARTS_MAX);
	MUST(count > 0);
	for (size_t i = 0; i < count; i++)
		write_bytes(out, parts[i].iov_base, parts[i].iov_len);
	MUST(!out->bad);
}

/* A command with an object that names `app`, or NULL: null; then `argument`, unless NULL. */
static inline void rtmp_talk_command(
	struct writer *out, const char *name, const char *app, const char *argument)
{
	uint8_t bytes[RTMP_TALK_COMMAND_MAX];
	struct writer w = writer_of(bytes, sizeof(bytes));

	amf_write_string(&w, name);
	amf_write_number(&w, 1);
	if (app) {
		amf_write_object(&w);
		amf_write_string_member(&w, "app", app);
		amf_write_end(&w);
	} else {
		amf_write_null(&w);
	}
	if (argument)
		amf_write_string(&w, argument);
	MUST(!w.bad);
	rtmp_talk_message(out, CHUNK_COMMAND_AMF0, 0, &(struct iovec){bytes, writer_used(&w)}, 1);
}

/* From the first byte to a publish or play of app `live`: RTMP_TALK_ASK_MAX bytes at most. */
static inline void rtmp_talk_ask(struct writer *out, const char *command, const char *key)
{
	static const uint8_t zeros[HANDSHAKE_PART_SIZE];
	static const uint8_t size[] = {0, 0, RTMP_TALK_CHUNK >> 8, RTMP_TALK_CHUNK & 255};

	write_u8(out, 3);
	write_bytes(out, zeros, sizeof(zeros));
	write_bytes(out, zeros, sizeof(zeros));
	rtmp_talk_message(out, CHUNK_SET_CHUNK_SIZE, 0,
		&(struct iovec){(void *)(uintptr_t)size, sizeof(size)}, 1);
	rtmp_talk_command(out, "connect", "live", NULL);
	rtmp_talk_command(out, "createStream", NULL, NULL);
	rtmp_talk_command(out, command, NULL, key);
}

#endif
