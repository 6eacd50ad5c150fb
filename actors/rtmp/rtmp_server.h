/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine of one RTMP connection, server side (Adobe RTMP 1.0; Enhanced RTMP v2 FourCCs): bytes
 * and time in; events, bytes and the next deadline out. It owns no socket, no clock and no buffer.
 *
 *	handshake --C2--> connect --connect--> idle --publish--> asked --accept--> publishing
 *	                                         \--play-->      asked --accept--> playing
 *	idle <--deleteStream, closeStream, reject-- (asked, publishing, playing)
 *	closed <--error, deadline-- (any)
 *
 * How an actor uses it:
 *
 *	struct reader in = reader_of(bytes, size);
 *	while ((err = rtmp_server_input(s, arena, arena_size, &in, &out, now_us, &event)) == ERR_OK)
 *		act on event;
 *	send what is in `out`; then by err:
 *		ERR_AGAIN     all input is used: read on
 *		ERR_NO_SPACE  `out` is full: send it, then call again with the rest of `in`
 *		ERR_BUSY      a publish or play event waits for an answer: keep the rest of `in`,
 *		              stop reading, call again after rtmp_server_accept() or _reject()
 *		other         the connection is over: send `out`, close; s->error says why
 *	at rtmp_server_deadline() call rtmp_server_tick()
 *
 * One publish or play at a time on a connection. Names follow schemas/names.h; a request with a bad
 * name is refused here and makes no event.
 *
 * Thread: one at a time. No allocation (the digest handshake calls OpenSSL's HMAC).
 */
#ifndef MILLRACE_RTMP_SERVER_H
#define MILLRACE_RTMP_SERVER_H

#include "actors/rtmp/chunk.h"
#include "actors/rtmp/flv.h"
#include "actors/rtmp/handshake.h"
#include "schemas/names.h"

enum {
	RTMP_QUERY_MAX = 1023,	    /* bytes after '?' in app or stream key; a token is 300-600 */
	RTMP_ERROR_MAX = 127,	    /* bytes of the text that says why a connection ended */
	RTMP_AMF_MAX = 65536,	    /* bytes of a command or data message */
	RTMP_MESSAGE_MAX = 4 << 20, /* bytes of a message, by default: the largest keyframe */
	RTMP_STREAMS_MAX = 8,	    /* createStream calls in a connection's life */
	RTMP_ARENA_MIN = 4096,	    /* bytes */
	RTMP_OUT_MIN = 4096,	    /* bytes of room in `out` that a call may use */
	RTMP_WINDOW_SIZE = 2500000, /* bytes between acknowledgements, either way */
	RTMP_HANDSHAKE_MS = 5000,   /* from accept to the connect command, by default */
	RTMP_REQUEST_MS = 10000,    /* from connect to publish or play, by default */
	RTMP_SILENCE_MS = 30000,    /* of a publisher that sends nothing, by default */
};

#define RTMP_NO_DEADLINE INT64_MAX

/* Zero: the default. */
struct rtmp_config {
	uint32_t message_max; /* bytes, at most CHUNK_MESSAGE_MAX */
	uint32_t handshake_ms;
	uint32_t request_ms;
	uint32_t silence_ms;
};

enum rtmp_phase {
	RTMP_HANDSHAKE,
	RTMP_CONNECT, /* waits for the connect command */
	RTMP_IDLE,
	RTMP_PUBLISH_ASKED,
	RTMP_PUBLISHING,
	RTMP_PLAY_ASKED,
	RTMP_PLAYING,
	RTMP_CLOSED,
	RTMP_PHASE_COUNT
};

/* The whole state. Plain, pointer-free, valid at any address. `query` is a secret (tokens). */
struct rtmp_server {
	struct rtmp_config config; /* filled in */
	uint8_t phase;		   /* enum rtmp_phase */
	uint8_t failure;	   /* enum err of a closed connection */
	uint8_t streams_created;
	uint8_t time_known;  /* media_ms is set */
	uint8_t paused;	     /* a player asked for a pause */
	uint16_t fourccs;    /* the client decodes these (1 << enum media_codec) by FourCC */
	uint32_t stream;     /* message stream id of publish or play */
	uint32_t ack_window; /* bytes after which the peer wants an acknowledgement */
	uint64_t seed;
	uint64_t bytes_in;
	uint64_t bytes_acknowledged;
	int64_t media_ms;      /* time of the last media message, unwrapped */
	int64_t deadline_us;   /* of the phases before publishing or playing */
	int64_t last_input_us; /* when bytes last came in */
	struct handshake handshake;
	struct chunk_reader chunks;
	char app[NAME_SIZE_MAX + 1];
	char name[NAME_SIZE_MAX + 1];	    /* of the stream asked for, published or played */
	char query[RTMP_QUERY_MAX + 1];	    /* of the stream key, else of the app */
	char app_query[RTMP_QUERY_MAX + 1]; /* of the app */
	char error[RTMP_ERROR_MAX + 1];
	/* what went by */
	uint64_t video_messages;
	uint64_t audio_messages;
	uint64_t unsupported; /* media or commands that we do not know */
	uint64_t malformed;   /* media bodies that did not parse */
	uint64_t dropped;     /* messages not legal in their phase */
};

enum rtmp_event_type {
	RTMP_EVENT_CONNECT, /* app is known and was accepted */
	RTMP_EVENT_PUBLISH, /* app, name, query: answer by accept or reject */
	RTMP_EVENT_PLAY,    /* the same */
	RTMP_EVENT_METADATA,
	RTMP_EVENT_VIDEO,
	RTMP_EVENT_AUDIO,
	RTMP_EVENT_UNSUPPORTED, /* the publisher sends media that is not carried: err, is_video */
	RTMP_EVENT_PAUSE,	/* s->paused has changed (playing) */
	RTMP_EVENT_STOP,	/* deleteStream or closeStream ended publishing or playing */
};

/* Borrows from the state, the arena and the input; stands until the next call. */
struct rtmp_event {
	enum rtmp_event_type type;
	const char *app;
	const char *name;
	const char *query;
	int64_t time_ms;     /* media: decoding time on the publisher's clock, unwrapped */
	const uint8_t *body; /* media: what video or audio was parsed from */
	size_t body_size;
	struct flv_metadata metadata;
	struct flv_video video;
	struct flv_audio audio;
	enum err err;
	bool is_video;
};

/* `seed`: any random number. `config` NULL or with zeros: defaults. */
void rtmp_server_init(
	struct rtmp_server *s, const struct rtmp_config *config, uint64_t seed, int64_t now_us);

/* Whether every field is in range for an arena of `arena_size` bytes. */
bool rtmp_server_is_valid(const struct rtmp_server *s, size_t arena_size);

/* See above. The arena (at least RTMP_ARENA_MIN bytes; message_max and a quarter is right) must
 * keep its place in the connection's state: it holds partial messages between calls. */
enum err rtmp_server_input(struct rtmp_server *s, uint8_t *arena, size_t arena_size,
	struct reader *in, struct writer *out, int64_t now_us, struct rtmp_event *event);

/* The event of a body that was one before. False: it is none. */
bool rtmp_server_media_again(const struct rtmp_server *s, enum rtmp_event_type type,
	int64_t time_ms, const uint8_t *body, size_t size, struct rtmp_event *event);

/* Answers the publish or play that was asked for. ERR_PHASE: nothing was. ERR_NO_SPACE: fewer than
 * RTMP_OUT_MIN bytes of room in out, nothing changed. `code` is the part after "NetStream.Publish."
 * or "NetStream.Play.", such as "BadName", "Denied", "StreamNotFound"; `text` is for people. After
 * a rejection the client may ask again until the request deadline. `resume`: what a publisher is
 * given to come back with, "" = nothing. */
enum err rtmp_server_accept(struct rtmp_server *s, struct writer *out, const char *resume);
enum err rtmp_server_reject(struct rtmp_server *s, struct writer *out, int64_t now_us,
	const char *code, const char *text);

/* The server ends publishing or playing: the player hears that the stream has ended, the publisher
 * that it was closed (`text` says why). ERR_PHASE, ERR_NO_SPACE. */
enum err rtmp_server_stop(
	struct rtmp_server *s, struct writer *out, int64_t now_us, const char *text);

/* Can the client be sent this video? H.264 always, others if it has announced their FourCC. */
bool rtmp_server_takes_video(const struct rtmp_server *s, enum media_codec codec);

/* Asks the peer for a sign of life. ERR_PHASE before connect, ERR_NO_SPACE. */
enum err rtmp_server_ping(struct rtmp_server *s, struct writer *out, int64_t now_us);

/* When rtmp_server_tick() must be called, on the clock of now_us, or RTMP_NO_DEADLINE. */
int64_t rtmp_server_deadline(const struct rtmp_server *s);

/* ERR_OK, or ERR_TIMEOUT when the deadline is over: close. */
enum err rtmp_server_tick(struct rtmp_server *s, int64_t now_us);

#endif
