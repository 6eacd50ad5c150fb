/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the HTTP actors: http_connection.c (bytes, life), http_serve.c (who answers a request),
 * http_reply.c (responses), http_whip.c (WHIP, WHEP), http_srs.c (the same in SRS' words),
 * http_srs_api.c (lists in SRS' words), http_api.c (operators, health, console page),
 * http_flv.c (a connection that became a viewer), http_socket.c (one that became a WebSocket),
 * http_repl.c (with the console behind it), http_signal.c (with a signal_channel behind it),
 * http_elsewhere.c (other nodes: 307, alternatives, permits), http_office.c.
 */
#ifndef MILLRACE_HTTP_INTERNAL_H
#define MILLRACE_HTTP_INTERNAL_H

#include "actors/callback/callback.h"
#include "actors/http/http_actor.h"
#include "actors/http/http_conn.h"
#include "actors/http/http_route.h"
#include "actors/http/problem.h"
#include "actors/http/ws.h"
#include "actors/rtmp/flv_view.h"
#include "runtime/limits.h"
#include "runtime/net.h"
#include "runtime/permit.h"
#include "runtime/token.h"

#include <jansson.h>

enum {
	/* of a response: /metrics of the largest node. Pages that nothing is written to cost nothing,
	 * and a connection that rests has no buffer. */
	HTTP_OUTPUT_MAX = 832 * 1024,
	HTTP_REPLY_FIELDS_MAX = 20,
	HTTP_REFUSAL_MAX = 191,
	HTTP_STUCK_MS = 30000,	/* a peer that takes nothing for so long is let go */
	HTTP_REQUEST_MS = 5000, /* for another actor's answer */
	HTTP_HEALTH_MS = 1000,
	HTTP_RETRY_MS = 1000,		/* Retry-After when nobody knows better */
	HTTP_WAIT_MAX_MS = 30000,	/* for a publisher, where nothing is configured */
	HTTP_SOCKET_RAW = 2048,		/* bytes read from a WebSocket at once */
	HTTP_SOCKET_MESSAGE_MAX = 4096, /* bytes of a message of the console page */
};

enum http_connection_phase {
	HTTP_OPEN = 1 << 0,	 /* reads requests, writes responses */
	HTTP_ASKING = 1 << 1,	 /* another actor owes an answer */
	HTTP_STREAMING = 1 << 2, /* is an FLV viewer */
	HTTP_ABANDONED = 1 << 3, /* the client is gone; what was made for it must be undone */
	HTTP_SOCKET = 1 << 4,	 /* is a WebSocket of the console page, or one of signalling */
};

/* What was asked of another actor. */
enum http_ask {
	HTTP_ASK_NOTHING,
	HTTP_ASK_PLACE,
	HTTP_ASK_CREATE,
	HTTP_ASK_PATCH,
	HTTP_ASK_DELETE,
	HTTP_ASK_FLV,
	HTTP_ASK_CONSOLE,
	HTTP_ASK_HEALTH,
	HTTP_ASK_BOARD,
	HTTP_ASK_CALLBACK, /* may this viewer begin? */
	HTTP_ASK_CHANNEL,
};

enum http_connection_timer {
	HTTP_TIMER_DEADLINE,
	HTTP_TIMER_STUCK,
	HTTP_TIMER_STATISTICS,
	HTTP_TIMER_PING,
	HTTP_TIMER_ASK,
};

enum http_socket_use {
	HTTP_SOCKET_NONE,
	HTTP_SOCKET_FLV,
	HTTP_SOCKET_LIVE,
	HTTP_SOCKET_REPL,
	HTTP_SOCKET_SIGNAL,
	HTTP_SOCKET_USES
};

/* The protocol that a page offers, beside its token (http_access_check()), and gets. */
#define HTTP_SOCKET_PROTOCOL "millrace"

/* watch and trace over a WebSocket. */
struct http_repl {
	uint64_t follow;    /* our number for it */
	struct addr source; /* where it is followed; nobody = nothing is */
	uint64_t events;
	uint64_t left_out;	  /* by us, because the page is slow … */
	uint64_t source_left_out; /* … and before they came here */
	uint64_t told_left_out;
};

/* Signalling; its channel is in the state. */
struct http_signal {
	char secret[64]; /* of the channel */
	uint8_t resumes; /* a channel that there was */
	uint8_t attached;
};

/* A WebSocket. Plain data. */
struct http_socket {
	struct ws ws;
	uint64_t epoch; /* live: of the board, and … */
	uint64_t seen;	/* … its last update that was sent on */
	struct http_repl repl;
	struct http_signal signal;
	uint64_t used; /* bytes of the connection up to what `ws` has taken, of slot->taken; … */
	uint64_t raw_from; /* … of those the first that is in `raw` */
	struct ws ws_was;  /* `ws` and `used` before what is being taken */
	uint64_t used_was;
	uint8_t taking;
	uint8_t use;   /* enum http_socket_use */
	uint8_t heard; /* something came since the last ping */
	uint8_t ping_owed;
	uint8_t pong_owed;
	uint8_t pong_size;
	uint8_t resting; /* live: the office did not answer, it is asked again soon */
	uint8_t pong[WS_CONTROL_MAX];
	uint8_t frame[WS_HEAD_MAX + WS_CONTROL_MAX]; /* FLV: output once the view has begun */
	uint8_t raw[HTTP_SOCKET_RAW];
	uint8_t message[HTTP_SOCKET_MESSAGE_MAX]; /* signalling: in the buffer's input */
};

enum http_turn { HTTP_TURN_IDLE, HTTP_TURN_WROTE, HTTP_TURN_ENDED };

/* Decided when the head was complete, sent when the body is. */
struct http_refusal {
	uint16_t status; /* 0 = the request is fine */
	uint32_t retry_ms;
	char text[HTTP_REFUSAL_MAX + 1];
};

/* ARENA_SESSION: all that changes with every byte. */
struct http_slot {
	struct http_conn conn;
	struct http_refusal refusal;
	uint64_t taken;	   /* bytes read from the connection, in all */
	uint64_t said;	   /* bytes of output that are out, in all; … */
	uint64_t out_from; /* … before those in the buffer's output … */
	uint32_t out_size; /* … which has so many */
	uint8_t out_frame; /* they are in socket.frame instead */
	struct http_socket socket;
	struct flv_view view;
};

/* ARENA_BUFFER: held while a request or a response is in it. */
struct http_buffer {
	uint8_t input[HTTP_BUFFER_SIZE];
	uint8_t output[HTTP_OUTPUT_MAX];
};

_Static_assert(sizeof(struct http_slot) <= ARENA_SESSION_SIZE, "the slot fits");
_Static_assert(sizeof(struct http_buffer) <= ARENA_BUFFER_SIZE, "the buffer fits");

struct http_connection {
	struct http_connection_state st; /* first: the schema'd state */

	/* rebuilt by a successor */
	struct net_addr peer;
	bool orphaned;	    /* restored: the connection does not come back */
	bool awaited;	    /* restored: it is to come back, and is blocked until then */
	bool retried;	    /* the muxer asked for had just ended */
	bool blocked;	    /* the socket took less than there was */
	bool readable;	    /* WebSocket: there may be something to read */
	int64_t asked_us;   /* FLV viewer: when */
	int64_t request_us; /* the request at hand was whole; 0 = answered */
	int64_t statistics_us;
	uint64_t statistics_bytes;
	bool ending; /* the process is about to end: streaming stops after this tag */
};

enum http_listener { HTTP_LISTENER_PLAIN, HTTP_LISTENER_TLS, HTTP_LISTENER_API, HTTP_LISTENERS };

struct http_office {
	struct http_office_state st; /* first: the schema'd state */

	uint32_t listeners[HTTP_LISTENERS]; /* 0 = there is none */
	bool token_wanted;
	struct token_key token_key;
	bool signs_permits; /* in a cluster */
	uint8_t permit_key[PERMIT_KEY_SIZE];
	char own_host[256];
	struct limits limits;
};

struct http_connection_args {
	uint32_t socket;
	struct net_addr peer;
	struct limits_ticket ticket;
	bool api_port;
	bool tls;
};

/* The request at hand and where it leads. */
struct http_call {
	struct http_request request;
	struct http_match match;
};

struct http_reply {
	int status;
	enum http_response_kind kind;
	const char *type;
	const void *body;
	size_t size;
	size_t field_count;
	struct http_field fields[HTTP_REPLY_FIELDS_MAX];
};

/* Bytes of output that are not out. */
static inline uint32_t http_unsent(const struct http_slot *slot)
{
	return slot->out_size - (uint32_t)(slot->said - slot->out_from);
}

/* All of it is out. */
static inline void http_output_end(struct http_slot *slot)
{
	slot->out_size = 0;
	arena_step();
	slot->out_from = slot->said;
	slot->out_frame = false;
}

/* http_connection.c */
struct http_slot *http_slot_of(struct actor *self, const struct http_connection *s);
struct http_buffer *http_buffer_of(struct actor *self, const struct http_connection *s);
/* NULL: there is none left. */
struct http_buffer *http_need_buffer(struct actor *self, struct http_connection *s);
/* Goes on after an answer: reads, writes, serves what is there. */
void http_go_on(struct actor *self, struct http_connection *s);
/* By what it is used for. */
void http_take_name(
	struct actor *self, const struct http_connection *s, const struct http_slot *slot);
/* Remembers what was asked; the phase becomes HTTP_ASKING. */
void http_ask(struct actor *self, struct http_connection *s, enum http_ask ask, uint64_t request);

/* http_serve.c */
/* The request whose answer is owed. False: there is none (any more). */
bool http_call_of(struct actor *self, struct http_connection *s, struct http_call *call);
/* A head is there: what of its body is read, and by when. */
void http_take_head(struct actor *self, struct http_connection *s, struct http_slot *slot,
	struct http_buffer *buffer, const struct http_request *request);
/* A whole request: it is answered, or somebody is asked. */
void http_serve(struct actor *self, struct http_connection *s, const struct http_slot *slot,
	const struct http_request *request);

/* http_reply.c */
void http_add_field(struct http_reply *reply, const char *name, const char *value);
/* Writes a response into the output, CORS and Date included. */
void http_send(struct actor *self, struct http_connection *s, struct http_reply *reply);
/* An error document. `code` NULL: by status. `retry_ms` 0: no Retry-After. */
void http_problem(struct actor *self, struct http_connection *s, int status, const char *code,
	const char *text, uint32_t retry_ms);
/* The same for a typed error, as another actor has sent it. */
void http_fail(struct actor *self, struct http_connection *s, enum err err, const char *text,
	uint32_t retry_ms);

/* http_whip.c */
void http_whip_post(struct actor *self, struct http_connection *s, const struct http_call *call);
void http_whip_session(struct actor *self, struct http_connection *s, const struct http_call *call);
/* Does the request, or what it says in SRS' words, play? */
bool http_plays(const struct http_call *call);
void http_whip_placed(
	struct actor *self, struct http_connection *s, const struct msg_placed *placed);
void http_whip_created(
	struct actor *self, struct http_connection *s, const struct msg_session_created *m);
void http_whip_patched(
	struct actor *self, struct http_connection *s, const struct msg_session_patched *m);
void http_whip_deleted(struct actor *self, struct http_connection *s);
void http_whip_failed(struct actor *self, struct http_connection *s, enum http_ask ask,
	const struct msg_failed *m);
/* Does the request carry a token for this? Otherwise it has been answered. Whose it is (`sub`), and
 * whether a publisher may stand by, is in the state then. */
bool http_may(struct actor *self, struct http_connection *s, const struct http_call *call,
	enum token_action action);
/* What a token says of its bearer, beside that it may. */
struct http_permit {
	char subject[64];
	enum name_standby standby; /* its claim */
};
/* The same, of a token that came another way. */
enum err http_token_check(struct actor *self, struct http_text token, const struct name_path *name,
	enum token_action action, struct http_permit *permit, const char **why);
/* "{actor id, hexadecimal}-{secret}": who has such a name is a session, or a channel. */
bool http_session_parse(const char *text, struct addr *session, char secret[64]);
/* Does an error say that nobody is there to ask; that the session asked is not there? */
bool http_nobody_is_there(enum err err);
bool http_session_is_gone(enum err err);
/* The query, as callbacks show it. Otherwise the request has been answered. */
bool http_param(struct actor *self, struct http_connection *s, const struct http_call *call,
	char param[CALLBACK_PARAM_SIZE]);
/* How long ?wait=1 of this request may hold it; 0 = it does not ask for that. */
uint32_t http_wait_ms(struct actor *self, const struct http_call *call);

/* http_elsewhere.c */
bool http_is_in_cluster(struct actor *self);
/* The permit of a request: permit=, or what it resumes with, where that is one. */
bool http_permit_of(const struct http_request *request, struct http_text query,
	char permit[PERMIT_TEXT_MAX + 1]);
struct http_permit_order {
	bool play;
	const char *stream, *subject;
	enum name_standby standby;
	int64_t for_s;
	uint64_t number; /* of the one that it comes instead of; 0 = of none */
};
/* A session was made by the permit with that number (0 = by none). */
void http_permit_used(struct actor *self, uint64_t number, const char *client);
/* One of ours. False: this node is by itself. */
bool http_permit_write(struct actor *self, const struct http_permit_order *order,
	char permit[PERMIT_TEXT_MAX + 1]);
/* Has another node sent it here? */
bool http_was_sent_here(const struct http_request *request);
/* 307 to the node that was found. */
void http_send_elsewhere(
	struct actor *self, struct http_connection *s, const struct msg_placed *placed);
/* URLs of other nodes, separated by spaces, the best first; "" = there are none. */
const char *http_alternatives(struct actor *self);
/* They, as a Link header has them (RFC 8288), each with `path` behind it. False: there are none. */
bool http_alternates_link(struct actor *self, const char *path, char *link, size_t link_size);
/* The same of a session that is there, beginning with any of them; and whether it is to go on at one of
 * them, because this node takes none any more. `link` is borrowed. */
void http_add_elsewhere(struct actor *self, const char *path, char *link, size_t link_size,
	struct http_reply *reply);
/* The same for the same URLs in any order; 0 = there are none. */
uint64_t http_alternatives_mark(const char *urls);
/* Begins with another one, so that not all go to the first. */
void http_alternatives_turned(const char *urls, uint32_t by, char out[ALTERNATIVES_SIZE + 1]);

/* http_srs.c */
/* A request of another wording, as WHIP or WHEP would say it. */
struct http_srs {
	struct http_call call; /* borrows from the document and the request */
	json_t *document;      /* NULL: there is none */
};
/* Is it answered as SRS does? */
bool http_is_srs(const struct http_call *call);
/* Any other request stays as it is. Whatever is returned: http_srs_forget() afterwards. */
enum err http_srs_read(struct http_srs *srs, const struct http_call *call);
void http_srs_forget(struct http_srs *srs);
void http_srs_post(struct actor *self, struct http_connection *s, const struct http_call *call);
void http_srs_created(
	struct actor *self, struct http_connection *s, const struct msg_session_created *m);
void http_srs_problem(struct actor *self, struct http_connection *s, int status, const char *code,
	const char *text);

/* A document of SRS with `code` and the members of `more`, which it takes over; to be freed. NULL:
 * out of memory, as where `more` is NULL. */
char *http_srs_text(struct actor *self, int code, json_t *more);
/* The same, sent with status 200; out of memory ends the connection. */
void http_srs_send(struct actor *self, struct http_connection *s, int code, json_t *more);
/* The same of an error: what api.port answers besides the status. */
char *http_srs_error(struct actor *self, int status, const char *code, const char *text);

/* http_srs_api.c */
void http_srs_api(struct actor *self, struct http_connection *s, const struct http_call *call);
/* The console's list that was asked for. */
void http_srs_api_answered(struct actor *self, struct http_connection *s,
	const struct http_call *call, struct slice json);

/* http_api.c */
/* Asks the console for a list as the API has it: "streams", "sessions". */
void http_api_ask(
	struct actor *self, struct http_connection *s, const char *command, const char *argument);
void http_api(struct actor *self, struct http_connection *s, const struct http_call *call);
void http_api_answered(
	struct actor *self, struct http_connection *s, const struct msg_console_answer *m);
void http_api_failed(struct actor *self, struct http_connection *s, const struct msg_failed *m);
void http_health_answered(struct actor *self, struct http_connection *s, enum err err);
void http_asset(struct actor *self, struct http_connection *s, const struct http_call *call);

/* http_flv.c */
extern const struct flv_framing flv_as_messages; /* WebSocket: one binary message a tag */
void http_flv_get(struct actor *self, struct http_connection *s, const struct http_call *call);
/* A callback allows it, or there is none. */
void http_flv_open(struct actor *self, struct http_connection *s);
void http_flv_refused(struct actor *self, struct http_connection *s, const struct msg_failed *m);
void http_flv_opened(struct actor *self, struct http_connection *s, const struct msg_flv_opened *m);
void http_flv_failed(struct actor *self, struct http_connection *s, const struct msg_failed *m);
/* What people see of a viewer, once a second. */
void http_flv_report(struct actor *self, struct http_connection *s, const struct http_slot *slot);
/* What was sent since it was counted last counts as the stream's. */
void http_flv_count(struct actor *self, struct http_connection *s, const struct http_slot *slot);
void http_flv_pump(struct actor *self, struct http_connection *s);
/* What a pump touches of the slot (may be NULL) comes near. */
void http_flv_ahead(const struct http_slot *slot);
/* A successor has the connection again. False: where it stands cannot be told. */
bool http_flv_resume(struct actor *self, struct http_connection *s, struct http_slot *slot);

/* http_socket.c */
bool http_socket_is_asked(const struct http_call *call);
/* Is the handshake right? Otherwise it has been answered. */
bool http_socket_check(struct actor *self, struct http_connection *s, const struct http_call *call);
/* Answers a handshake that was checked. False: it was refused after all. */
bool http_socket_open(struct actor *self, struct http_connection *s, const struct http_call *call,
	enum http_socket_use use);
/* The same, and the connection is nothing else from now on. */
void http_socket_begin(struct actor *self, struct http_connection *s, const struct http_call *call,
	enum http_socket_use use);
void http_socket_get(struct actor *self, struct http_connection *s, const struct http_call *call);
/* Reads what has come and writes what is owed; the output is empty. */
enum http_turn http_socket_turn(
	struct actor *self, struct http_connection *s, struct http_slot *slot);
void http_socket_ping(struct actor *self, struct http_connection *s);
void http_socket_updated(
	struct actor *self, struct http_connection *s, const struct msg_board_update *m);
/* Whoever was asked does not answer. */
void http_socket_failed(struct actor *self, struct http_connection *s);
/* A message into the output; where there is no room the connection ends. */
void http_socket_write(struct actor *self, struct http_connection *s, enum ws_opcode opcode,
	const void *bytes, size_t size);
size_t http_socket_unsent(struct actor *self, const struct http_connection *s);
/* The close frame of a connection that is about to end, where one may stand. */
void http_socket_farewell(struct actor *self, struct http_connection *s, enum err reason);
/* A successor: as it was when what its predecessor died at was begun. */
void http_socket_recover(struct http_socket *socket);
bool http_socket_is_valid(const struct http_slot *slot);

/* Is there a message in the buffer that is not whole? */
bool http_socket_needs_buffer(const struct http_socket *socket);

/* http_signal.c */
void http_signal_get(struct actor *self, struct http_connection *s, const struct http_call *call);
void http_signal_message(struct actor *self, struct http_connection *s, struct http_signal *signal,
	const uint8_t *bytes, size_t size, bool text);
void http_signal_attached(struct actor *self, struct http_connection *s, struct addr from,
	const struct msg_signal_attached *m);
/* The channel asked for does not answer, or is not there. */
void http_signal_failed(struct actor *self, struct http_connection *s);

/* http_repl.c: a message of the client, and what the console and those followed say. */
void http_repl_message(struct actor *self, struct http_connection *s, struct http_repl *repl,
	const uint8_t *bytes, size_t size);
void http_repl_answered(struct actor *self, struct http_connection *s, struct http_repl *repl,
	const struct msg_console_answer *m);
void http_repl_failed(struct actor *self, struct http_connection *s);
void http_repl_event(struct actor *self, struct http_connection *s, struct http_repl *repl,
	struct addr from, const struct msg_console_event *m);
void http_repl_ended(struct actor *self, struct http_connection *s, struct http_repl *repl,
	struct addr from, const struct msg_console_end *m);
void http_repl_down(
	struct actor *self, struct http_connection *s, struct http_repl *repl, struct addr who);
/* Nothing is followed any more, and the source hears so. */
void http_repl_end(struct actor *self, struct http_repl *repl);

/* http_office.c: called by connections of the same process. */
struct http_office *http_office_of(struct actor *self); /* NULL: it has ended */
struct addr http_office_addr(struct actor *self);
/* Are requests for sessions taken? A worker that drains alone takes those that are placed elsewhere,
 * but none that would live here. */
bool http_takes_sessions(const struct http_office *s, bool here);
/* What can be said of a request by its head alone: into slot->refusal. */
void http_judge_head(struct actor *self, struct http_connection *s, struct http_slot *slot,
	const struct http_call *call);

#endif
