/* SPDX-License-Identifier: Apache-2.0
 *
 * The messages that an RTMP server sends besides media: protocol control, user control, command
 * results and status. Each call appends one whole message, cut for a peer that still reads with our
 * RTMP_REPLY_CHUNK_SIZE (control messages are short enough for any chunk size).
 *
 * Thread: any. No allocation. A writer without room gets `bad` set.
 */
#ifndef MILLRACE_RTMP_REPLY_H
#define MILLRACE_RTMP_REPLY_H

#include "actors/rtmp/chunk.h"

enum {
	RTMP_REPLY_CHUNK_SIZE = 60000, /* bytes; some clients refuse 65536 and more */
	RTMP_REPLY_TEXT_MAX = 255,     /* of a description; longer is cut */
	RTMP_REPLY_CHUNK_STREAM = 3,   /* commands that answer */
	RTMP_REPLY_STATUS_CHUNK_STREAM = 5,
};

/* User control events, section 6.2 of RTMP 1.0. */
enum rtmp_user_event {
	RTMP_USER_STREAM_BEGIN = 0,
	RTMP_USER_STREAM_EOF = 1,
	RTMP_USER_PING_REQUEST = 6,
	RTMP_USER_PING_RESPONSE = 7,
};

/* A protocol control message with one 32-bit number. */
void rtmp_reply_control(struct writer *out, enum chunk_type type, uint32_t value);
/* Set Peer Bandwidth, limit type dynamic; bytes. */
void rtmp_reply_bandwidth(struct writer *out, uint32_t window_size);
/* `value`: a stream id, or the time of a ping. */
void rtmp_reply_user(struct writer *out, enum rtmp_user_event event, uint32_t value);

/* _result of connect: NetConnection.Connect.Success. `enhanced`: the client said which FourCCs it
 * knows, so it is told ours. */
void rtmp_reply_connected(struct writer *out, double transaction, bool enhanced);
/* _result with null and `number` (createStream's stream id, getStreamLength's seconds). */
void rtmp_reply_number(struct writer *out, double transaction, double number);
/* _result with null and undefined. */
void rtmp_reply_done(struct writer *out, double transaction);
/* _error with null and an information object. */
void rtmp_reply_error(struct writer *out, double transaction, const char *code, const char *text);

/* onStatus on a message stream. `level`: "status" or "error". */
void rtmp_reply_status(
	struct writer *out, uint32_t stream, const char *level, const char *code, const char *text);
/* onStatus that publishing has started. `resume`, if not "": the token that takes the stream over from
 * another connection, as member "resume" of the information object. */
void rtmp_reply_published(struct writer *out, uint32_t stream, const char *resume);
/* onFCPublish, onFCUnpublish and their like: a command with an information object. */
void rtmp_reply_notice(struct writer *out, const char *command, const char *code, const char *text);
/* What players expect before media: |RtmpSampleAccess. (NetStream.Data.Start, which some servers
 * send as well, is a stream of data to ffmpeg.) */
void rtmp_reply_sample_access(struct writer *out, uint32_t stream);

#endif
