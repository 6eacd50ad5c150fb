/* SPDX-License-Identifier: Apache-2.0
 *
 * The RTMP chunk stream (Adobe RTMP 1.0, sections 5.3 and 5.4): messages cut into chunks, several
 * chunk streams interleaved on one connection.
 *
 * Reading: bytes in any fragmentation in, whole messages out. A message that lies whole in the
 * input as one chunk is returned where it lies; others are put together in an arena that the caller
 * provides and that all partial messages share, each in a region of its own (its header says how
 * long it will be). Set Chunk Size and Abort are obeyed here and not shown.
 *
 * Writing keeps no state: every message begins with a full header (type 0), so that the same header
 * bytes serve any number of receivers, and payload is sent from where it lies, as an iovec.
 *
 * Thread: any. No allocation.
 */
#ifndef MILLRACE_RTMP_CHUNK_H
#define MILLRACE_RTMP_CHUNK_H

#include "schemas/bytes.h"
#include "schemas/err.h"

#include <sys/uio.h>

enum {
	CHUNK_STREAMS_MAX = 16,	   /* chunk streams in use on a connection; encoders use 3 to 6 */
	CHUNK_SIZE_INITIAL = 128,  /* bytes, section 5.4.1 */
	CHUNK_SIZE_MAX = 0xffffff, /* larger means the same: no message is longer */
	CHUNK_HEADER_MAX = 3 + 11 + 4, /* basic, message, extended timestamp */
	CHUNK_MESSAGE_MAX = 0xffffff,  /* the length field has 24 bits */
	CHUNK_FIRST_HEADER_SIZE = 16,  /* what we write: one byte of basic header */
	CHUNK_NEXT_HEADER_SIZE = 5,
};

/* Message type ids, sections 5.4, 7.1. */
enum chunk_type {
	CHUNK_SET_CHUNK_SIZE = 1,
	CHUNK_ABORT = 2,
	CHUNK_ACKNOWLEDGEMENT = 3,
	CHUNK_USER_CONTROL = 4,
	CHUNK_WINDOW_ACK_SIZE = 5,
	CHUNK_SET_PEER_BANDWIDTH = 6,
	CHUNK_AUDIO = 8,
	CHUNK_VIDEO = 9,
	CHUNK_DATA_AMF3 = 15,
	CHUNK_COMMAND_AMF3 = 17,
	CHUNK_DATA_AMF0 = 18,
	CHUNK_COMMAND_AMF0 = 20,
	CHUNK_AGGREGATE = 22,
};

/* A whole message. The payload is borrowed and stands until the next call or the end of the input
 * buffer's life, whichever comes first. */
struct chunk_message {
	uint8_t type;
	uint32_t stream;  /* message stream id */
	uint32_t time_ms; /* absolute, modulo 2^32 */
	uint32_t size;	  /* bytes */
	const uint8_t *payload;
};

/* What is remembered of a chunk stream, and its partial message. */
struct chunk_stream {
	uint32_t id;	     /* 2 .. 65599; 0 = unused entry */
	uint32_t time_ms;    /* of the current or last message */
	uint32_t time_field; /* last timestamp or delta as it was sent, extension included */
	uint32_t length;     /* bytes of the message */
	uint32_t stream;
	uint32_t place; /* where its region begins in the arena */
	uint32_t taken; /* bytes received of a partial message */
	uint8_t type;
	uint8_t extended; /* the last full header had an extended timestamp */
	uint8_t partial;  /* a message has begun and is not complete */
	uint8_t placed;	  /* it has its region */
};

/* Whether a peer repeats the extended timestamp in chunks of type 3: the specification says so,
 * some do not, and only the bytes tell. */
enum chunk_repeat {
	CHUNK_REPEAT_UNKNOWN,
	CHUNK_REPEAT_ALWAYS,
	CHUNK_REPEAT_NEVER,
	CHUNK_REPEAT_COUNT
};

/* The reading side of a connection. Plain and pointer-free. */
struct chunk_reader {
	uint32_t chunk_size;	     /* bytes, as the peer last set it */
	uint32_t message_max;	     /* bytes: a longer message is ERR_TOO_LARGE */
	uint32_t chunk_left;	     /* payload bytes to come of the current chunk */
	uint8_t current;	     /* 0 between chunks, else 1 + index of the chunk's stream */
	uint8_t repeat;		     /* enum chunk_repeat */
	uint32_t held_from, held_to; /* of the arena: nothing new may lie there */
	uint8_t ahead_size;
	uint8_t ahead[CHUNK_HEADER_MAX]; /* bytes taken that are not used yet: a partial header */
	struct chunk_stream streams[CHUNK_STREAMS_MAX];
	uint64_t aborted; /* messages that the peer gave up */
};

/* `message_max`: bytes, at most CHUNK_MESSAGE_MAX. */
void chunk_reader_init(struct chunk_reader *c, uint32_t message_max);

/* Whether every field is in range for an arena of `arena_size` bytes. */
bool chunk_reader_is_valid(const struct chunk_reader *c, size_t arena_size);

/* What lies in the arena now is not written over before the next call of this, so that an older copy
 * of the reader could go on in it. */
void chunk_reader_hold(struct chunk_reader *c);

/* Takes bytes from `in` until a message is whole: ERR_OK and *out. ERR_AGAIN: all was taken, more
 * is needed; or what is left has to wait for the next chunk_reader_hold(). Anything else ends the
 * connection: ERR_FORMAT, ERR_TOO_LARGE (a message over message_max), ERR_LIMIT (more than
 * CHUNK_STREAMS_MAX chunk streams, or partial messages that do not fit the arena together). The
 * same arena with its content must be given each time; its size should be message_max and a quarter,
 * so that audio fits beside the largest picture. */
enum err chunk_read(struct chunk_reader *c, uint8_t *arena, size_t arena_size, struct reader *in,
	struct chunk_message *out);

/* The two headers of a message to send: of its first chunk and of each further one. */
struct chunk_headers {
	uint8_t first_size;
	uint8_t next_size;
	uint8_t first[CHUNK_FIRST_HEADER_SIZE];
	uint8_t next[CHUNK_NEXT_HEADER_SIZE];
};

/* `chunk_stream`: 2 .. 63. `size`: bytes of the payload, at most CHUNK_MESSAGE_MAX. */
void chunk_headers_make(struct chunk_headers *h, unsigned chunk_stream, uint8_t type,
	uint32_t stream, uint32_t time_ms, uint32_t size);

/* Lays headers between payload pieces: out[] is what to send, in order, and points into *h and the
 * pieces (which must outlive it). Empty pieces are skipped. Returns the number of entries, or 0
 * when `out_max` is too small; piece_count + 2 × (payload / chunk_size + 1) is always enough. */
size_t chunk_frame(const struct chunk_headers *h, uint32_t chunk_size, const struct iovec *pieces,
	size_t piece_count, struct iovec *out, size_t out_max);

#endif
