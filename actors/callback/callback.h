/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP callbacks: a server of the operator's is asked before somebody publishes or plays (on_publish,
 * on_play) and told when they have gone (on_unpublish, on_stop). Which URLs there are, and what
 * silence means, says the configuration (callback.*); without URLs nothing here is ever called.
 *
 *   session --callback_ask--> callback office --spawns--> callback --POST--> server
 *      ^-----callback_allowed | failed----------------------'  '--session ends: POST, until told
 *
 * A session asks once its token is good and before it touches its stream; it says nothing at its end,
 * which its callback notices by itself. The office and the callbacks are the control process's, so
 * that they outlive a worker: whose sessions were its are told of. Each session's worker keeps a ticket
 * of it, so that it outlives the control process, too.
 */
#ifndef MILLRACE_CALLBACK_H
#define MILLRACE_CALLBACK_H

#include "runtime/actor.h"

/* OFFICE_CALLBACK. No arguments. */
extern const struct actor_type callback_office_actor;
/* Its children, one a session. */
extern const struct actor_type callback_actor;
/* In a worker: what the next control process is to know of a session. */
extern const struct actor_type callback_ticket_actor;

/* How long callback_ask may take, in ms; 0 = sessions of this kind have nothing to ask or tell.
 * `config` may be NULL. */
uint32_t callback_wait_ms(const struct config *config, bool play);

/* Asks in the name of the session `self`, whose stream, client, protocol and parameters are filled in.
 * Returns the request: answered by callback_allowed, or by failed, which callback_failed judges.
 * *ticket: who is to hear callback_end and callback_moved; nobody when there is nothing to tell. */
uint64_t callback_ask(struct actor *self, struct msg_callback_ask *ask, struct addr *ticket);

/* What a failed callback_ask means: ERR_OK = begin all the same (callback.fail is open), ERR_AUTH and
 * ERR_FORBIDDEN = refused by the server, ERR_OVERLOAD = it does not answer. *why: a sentence for the
 * client, lives as long as `failed`; silence has one too, whoever noticed it. */
enum err callback_failed(struct actor *self, const struct msg_failed *failed, const char **why);

/* What was asked for is over while self lives on (a connection that may ask again). Forgets *ticket;
 * nobody is fine. */
void callback_end(struct actor *self, struct addr *ticket);

/* Self may have come to another worker: the ticket follows. Nobody is fine. */
void callback_moved(struct actor *self, struct addr ticket);

/* The parameters a server gets to see: the query without `token` and `resume`; bytes that have no
 * place in a query are percent-encoded. `param` has CALLBACK_PARAM_SIZE bytes. ERR_TOO_LARGE. */
enum { CALLBACK_PARAM_SIZE = sizeof(((struct msg_callback_ask *)0)->param) };
enum err callback_param(const char *query, size_t size, char *param);

#endif
