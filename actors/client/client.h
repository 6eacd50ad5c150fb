/* SPDX-License-Identifier: Apache-2.0
 *
 * What all sessions of the load generator share: how they begin, fail and come back, what they
 * measure, and who hears of it.
 *
 *   connecting --client_up--> up --client_fail--> waiting --back-off--> connecting …
 *       |                      '--client_end--> ended
 *       '--client_fail, never up before--> failed
 *
 * A session type's struct begins with struct client_session and has a function that makes one
 * attempt. There is no successor to a generator: what it measures is this process' own.
 */
#ifndef MILLRACE_CLIENT_H
#define MILLRACE_CLIENT_H

#include "actors/client/load_report.h"
#include "runtime/actor.h"
#include "runtime/net.h"
#include "runtime/net_http.h"

struct dtls_context;
struct certificate;
struct clip;

enum {
	CLIENT_REPORT_MS = 1000,
	CLIENT_HTTP_MS = 10000,	   /* for an answer to POST or GET */
	CLIENT_CONNECT_MS = 20000, /* from an attempt's begin until media can flow */
	CLIENT_END_MS = 2000,	   /* for a DELETE at the end */
	CLIENT_BACKOFF_MIN_MS = 250,
	CLIENT_BACKOFF_MAX_MS = 8000,
	CLIENT_URL_MAX = 1023, /* bytes, as in client_state */
};

/* Timers 0 to 3 are common, those behind them a type's own. */
enum client_timer {
	CLIENT_TIMER_REPORT,
	CLIENT_TIMER_RETRY,
	CLIENT_TIMER_CONNECT,
	CLIENT_TIMER_OWN
};

/* What the process gives to its office and sessions; outlives them. */
struct client_shared {
	const struct load_options *options;
	struct load_result *result;	       /* written by the office */
	struct net_addr server;		       /* RTMP: looked up at the start */
	char host[256];			       /* RTMPS: whose certificate is expected */
	struct net_addr local;		       /* this host as the server sees it; port 0 */
	const struct certificate *certificate; /* WebRTC */
	const struct dtls_context *dtls;
	const struct clip *clip; /* what publishers send; NULL: viewers */
	int64_t (*cpu_us)(void); /* of this process */
	void (*progress)(const struct load_summary *summary);
	uint32_t progress_ms;
	void (*finish)(void); /* asks the process to end as a signal does */
};

struct client_args {
	const struct client_shared *shared;
	uint32_t number; /* from 1 */
};

struct client_session {
	struct client_state st; /* first */

	const struct client_shared *shared;
	enum err (*attempt)(struct actor *self, struct client_session *s);
	int64_t attempt_us; /* when it began */
	int64_t media_us;   /* last packet of media; 0 = none of this connection */
	int64_t transit_us; /* of the packet before: arrival - its time */
	uint32_t backoff_ms;
	bool has_transit;
	bool ending; /* told to end */
};

extern const struct actor_type client_office_actor, flv_client_actor, rtc_client_actor,
	rtmp_client_actor;

/* Of init: the first attempt begins at once. */
enum err client_begin(struct actor *self, struct client_session *s, const struct client_args *args,
	enum err (*attempt)(struct actor *self, struct client_session *s));
/* Of timer; true when it was one of the common ones (and perhaps the session has failed by it). */
bool client_on_timer(struct actor *self, struct client_session *s, unsigned timer);

void client_agreed(struct actor *self, struct client_session *s);
void client_up(struct actor *self, struct client_session *s);
/* The attempt or the connection is over: another one later if it ever stood, else the session has
 * failed and its actor ends. `status` 0 = not by HTTP. The type has closed what it had open. */
void client_fail(struct actor *self, struct client_session *s, enum err err, uint16_t status,
	const char *text);
/* Ended as it should: reports and stops the actor. */
void client_end(struct actor *self, struct client_session *s);
void client_report(struct actor *self, struct client_session *s);

/* Media came or went: a pause since the last is a gap when it is long. */
void client_media(struct client_session *s, int64_t now_us, size_t bytes);
/* A whole keyframe. */
void client_keyframe(struct client_session *s, int64_t now_us);
/* Jitter of arrivals against the media's own time, as RFC 3550 6.4.1. */
void client_jitter(struct client_session *s, int64_t now_us, int64_t media_us);

/* "Authorization: Bearer …" when there is a token, else NULL; `line` has CLIENT_TOKEN_LINE bytes. */
enum { CLIENT_TOKEN_LINE = LOAD_TOKEN_MAX + 32 };
const char *client_authorization(const struct client_session *s, char line[CLIENT_TOKEN_LINE]);

/* What a server's refusal says for people: "detail" of a JSON body, else its beginning. */
void client_problem(const struct msg_http_response *response, char *text, size_t size);

#endif
