/* SPDX-License-Identifier: Apache-2.0
 *
 * RTMP at the edge of a worker: the office that owns the listener, and one session a connection.
 */
#ifndef MILLRACE_RTMP_ACTOR_H
#define MILLRACE_RTMP_ACTOR_H

#include "runtime/actor.h"
#include "runtime/limits.h"
#include "runtime/token.h"

extern const struct actor_type rtmp_office_actor;
extern const struct actor_type rtmp_session_actor;

struct rtmp_session_args {
	uint32_t socket; /* given to the session once it lives */
	struct net_addr peer;
	struct limits_ticket ticket;
	bool tls;
};

/* A question to the office of the own worker, which keeps the key. */
struct rtmp_token_question {
	const char *app;
	const char *stream;
	const char *query; /* of the stream key; the token is its field `token` */
	enum token_action action;
	enum err err;	 /* the answer: ERR_OK, ERR_AUTH, ERR_FORBIDDEN */
	const char *why; /* static text for people */
	struct token_claims claims;
};

/* May the bearer do that? ERR_OK with empty claims when no token is asked for. */
void rtmp_office_check_token(struct actor *self, struct rtmp_token_question *question);

/* The connection counted by this ticket is over. */
void rtmp_office_give_back(struct actor *self, struct limits_ticket ticket);

#endif
