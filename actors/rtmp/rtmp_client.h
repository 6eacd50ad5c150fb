/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's side of RTMP (Adobe RTMP 1.0), as far as an encoder or a player needs it: handshake
 * without digests, connect, createStream, then publish or play.
 *
 *   shaking --S0 S1 S2--> connecting --_result--> creating --_result--> asking --Start--> running
 *                                any answer that says no --> refused
 *
 * Bytes in, bytes out. The struct is plain; the arena for partial messages is the caller's.
 * Thread: any, one at a time. No allocation.
 */
#ifndef MILLRACE_RTMP_CLIENT_H
#define MILLRACE_RTMP_CLIENT_H

#include "actors/rtmp/chunk.h"
#include "actors/rtmp/handshake.h"

enum {
	RTMP_CLIENT_CHUNK = 60000,	   /* bytes of the chunks that we send after connect */
	RTMP_CLIENT_MESSAGE_MAX = 4 << 20, /* bytes of a message that we take */
	RTMP_CLIENT_ARENA_SIZE = RTMP_CLIENT_MESSAGE_MAX + RTMP_CLIENT_MESSAGE_MAX / 4,
	RTMP_CLIENT_URL_MAX = 1023,
	RTMP_CLIENT_OUT_MIN = 8192, /* bytes of room that rtmp_client_input wants in `out` */
	RTMP_CLIENT_CODE_MAX = 63,
	RTMP_CLIENT_TEXT_MAX = 127,
};

enum rtmp_client_phase {
	RTMP_CLIENT_SHAKING,
	RTMP_CLIENT_CONNECTING,
	RTMP_CLIENT_CREATING,
	RTMP_CLIENT_ASKING,
	RTMP_CLIENT_RUNNING,
	RTMP_CLIENT_REFUSED,
};

struct rtmp_client {
	bool publish;
	uint8_t phase; /* enum rtmp_client_phase */
	uint32_t stream;
	uint32_t window, acknowledged;	    /* bytes; window 0 = no acknowledgements wanted */
	uint32_t taken;			    /* bytes that came, modulo 2^32 */
	uint16_t shaken;		    /* bytes of S0 S1 S2 so far */
	uint8_t answer[HANDSHAKE_ASK_SIZE]; /* S0 S1 */
	char url[RTMP_CLIENT_URL_MAX + 1];  /* rtmp://host[:port]/app */
	char app[RTMP_CLIENT_URL_MAX + 1];
	char name[RTMP_CLIENT_URL_MAX + 1];  /* of the stream, with its query */
	char code[RTMP_CLIENT_CODE_MAX + 1]; /* of the last status */
	char text[RTMP_CLIENT_TEXT_MAX + 1];
	struct chunk_reader chunks;
};

/* "rtmp://host[:port]/app/stream[?query]"; the app has no slash in it. `token` (NULL = none) becomes
 * a parameter of the stream's name. Writes C0 C1. ERR_FORMAT, ERR_TOO_LARGE, ERR_NO_SPACE. */
enum err rtmp_client_begin(struct rtmp_client *c, const char *url, const char *token, bool publish,
	struct writer *out);

/* Takes bytes; answers go to `out`. ERR_OK: a message of audio, video or data (in *message, which
 * borrows), call again. ERR_AGAIN: all was taken. ERR_CLOSED: the stream has ended. ERR_FORBIDDEN:
 * refused, see code and text. Others as chunk_read: the connection is of no more use. */
enum err rtmp_client_input(struct rtmp_client *c, uint8_t *arena, struct reader *in,
	struct writer *out, struct chunk_message *message);

/* Appends one message of the published stream: `head` (a body header of flv.h), then `data`.
 * ERR_NO_SPACE: nothing was written. */
enum err rtmp_client_put(const struct rtmp_client *c, struct writer *out, uint8_t type,
	uint32_t time_ms, const uint8_t *head, size_t head_size, const void *data, size_t size);

/* Says that publishing ends. */
void rtmp_client_end(const struct rtmp_client *c, struct writer *out);

#endif
