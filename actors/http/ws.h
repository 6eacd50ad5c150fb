/* SPDX-License-Identifier: Apache-2.0
 *
 * The server's side of one WebSocket (RFC 6455, version 13, no extensions) as an engine: bytes in,
 * messages and control frames out, and the heads of frames to send.
 *
 * What a client sends is gathered whole, in the room that the caller gives. The state is plain data: a
 * successor process that finds it (ws_is_valid() first) goes on in the middle of a frame. What the
 * server sends is not gathered at all: a frame is a head in front of
 * bytes that lie elsewhere.
 *
 *   while (size && ws_is_open) {
 *           used = ws_take(ws, &room, bytes, size, &event);
 *           switch (event) …
 *   }
 *
 * Thread: one at a time. No allocation, no clock.
 */
#ifndef MILLRACE_WS_H
#define MILLRACE_WS_H

#include "actors/http/http_head.h"
#include "schemas/err.h"

enum {
	WS_CONTROL_MAX = 125, /* bytes of a ping, pong or close (RFC 6455 5.5) */
	WS_HEAD_MAX = 10,     /* bytes of the head of a frame that a server sends (5.2) */
	WS_ACCEPT_SIZE = 29,  /* Sec-WebSocket-Accept and its terminator */
	WS_KEY_SIZE = 24,     /* characters of a Sec-WebSocket-Key: 16 bytes in base64 */
	WS_CLIENT_HEAD_MAX = 14,
};

enum ws_opcode {
	WS_CONTINUATION = 0x0,
	WS_TEXT = 0x1,
	WS_BINARY = 0x2,
	WS_CLOSE = 0x8,
	WS_PING = 0x9,
	WS_PONG = 0xa,
};

/* Status codes of a close (RFC 6455 7.4.1). */
enum ws_status {
	WS_STATUS_NORMAL = 1000,
	WS_STATUS_GOING_AWAY = 1001,
	WS_STATUS_PROTOCOL = 1002,
	WS_STATUS_UNSUPPORTED = 1003,
	WS_STATUS_NONE = 1005, /* never sent: the close frame had none */
	WS_STATUS_BAD_DATA = 1007,
	WS_STATUS_POLICY = 1008,
	WS_STATUS_TOO_LARGE = 1009,
	WS_STATUS_INTERNAL = 1011,
	WS_STATUS_TRY_LATER = 1013,
};

enum ws_event {
	WS_EVENT_MORE,	  /* all was taken; nothing is complete */
	WS_EVENT_MESSAGE, /* ws->message_size bytes; ws->text says whether it is UTF-8 text */
	WS_EVENT_PING,	  /* ws->control, ws->control_size: to be sent back as a pong */
	WS_EVENT_PONG,
	WS_EVENT_CLOSE, /* the peer closes: ws->status; answer with the same, then nothing more */
	WS_EVENT_FAULT, /* the peer broke the rules: close with ws->status */
};

struct ws {
	uint64_t left;	 /* payload bytes of the present frame that have not come */
	uint32_t masked; /* payload bytes of it that have: where in the mask we are */
	uint32_t message_size;
	uint16_t status; /* after CLOSE and FAULT */
	uint8_t head_size;
	uint8_t control_size;
	uint8_t opcode; /* of the present frame */
	/* truth values, as bytes: any value of a byte is a legal one to read back */
	uint8_t fin;
	uint8_t in_payload;
	uint8_t gathering; /* a message has begun and its last fragment has not come */
	uint8_t given;	   /* the message was given to the caller: the next frame begins anew */
	uint8_t text;
	uint8_t closed; /* after CLOSE or FAULT: whatever comes is dropped */
	uint8_t head[WS_CLIENT_HEAD_MAX];
	uint8_t mask[4];
	uint8_t control[WS_CONTROL_MAX];
};

/* Where a message is gathered, the same at each call: all its fragments; a longer one is closed with
 * 1009. */
struct ws_room {
	uint8_t *message;
	size_t max; /* bytes */
};

/* A zeroed struct ws is one that has just been opened. */

/* Of a state found in memory somebody else wrote: every size in it is inside its array. */
bool ws_is_valid(const struct ws *ws, size_t message_max);

/* Takes bytes until something is complete or none are left; returns how many. */
size_t ws_take(struct ws *ws, const struct ws_room *room, const uint8_t *bytes, size_t size,
	enum ws_event *event);

/* The head of an unfragmented, unmasked frame of `size` payload bytes; returns its length. */
size_t ws_head(enum ws_opcode opcode, uint64_t size, uint8_t out[WS_HEAD_MAX]);

/* A whole close frame; WS_STATUS_NONE: without a code. Returns its length. */
size_t ws_close_frame(uint16_t status, uint8_t out[4]);

/* Is this an opening handshake (RFC 6455 4.2.1)? 101, else 400 or 426 with *why for people. */
int ws_check_handshake(const struct http_request *request, const char **why);

/* Sec-WebSocket-Accept of a handshake that was checked (4.2.2). */
void ws_accept(const struct http_request *request, char out[WS_ACCEPT_SIZE]);

/* Is it valid UTF-8 (RFC 3629: shortest form, no surrogates, up to U+10FFFF)? */
bool ws_is_utf8(const uint8_t *bytes, size_t size);

#endif
