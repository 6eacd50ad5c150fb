/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the callbacks: callback_office.c (who may tell when, what is counted), callback_actor.c
 * (one session), callback_ask.c (the sessions' side), callback_ticket.c (what is kept there).
 */
#ifndef MILLRACE_CALLBACK_INTERNAL_H
#define MILLRACE_CALLBACK_INTERNAL_H

#include "actors/callback/callback.h"
#include "actors/callback/callback_text.h"
#include "actors/callback/callback_ticket.h"
#include "runtime/config.h"

enum {
	CALLBACK_RETRY_MS = 1000, /* Retry-After for a client whose question nobody answered */
	CALLBACK_MARGIN_MS = 100, /* the server's time is that much less than the session's */
};

struct callback_args {
	const struct msg_callback_ask *ask;
	struct asker asker;
	uint32_t timeout_ms;
};

enum callback_event {
	CALLBACK_ALLOWED,
	CALLBACK_REFUSED,
	CALLBACK_UNANSWERED,
	CALLBACK_TOLD,
	CALLBACK_RETRIED,
	CALLBACK_GIVEN_UP,
};

extern const char callback_silent_text[];

/* NULL: this action has no URL. */
const char *callback_url(const struct config *config, enum callback_action action);

static inline enum callback_action callback_begin_action(bool play)
{
	return play ? CALLBACK_ON_PLAY : CALLBACK_ON_PUBLISH;
}

static inline enum callback_action callback_end_action(bool play)
{
	return play ? CALLBACK_ON_STOP : CALLBACK_ON_UNPUBLISH;
}

/* A callback tells its office what has happened. */
void callback_office_note(struct actor *self, enum callback_event event);

#endif
