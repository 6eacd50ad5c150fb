/* SPDX-License-Identifier: Apache-2.0
 *
 * rtmp office: takes RTMP connections of one worker and makes a session actor of each.
 *
 *   accepting <--another worker has clearly less load--> resting; drain: resting for good
 *
 * Owns the listeners, the count of connections (all, and of each client address) and the key that
 * tokens are checked with. Never reads a connection. A connection beyond a limit is closed at once:
 * RTMP has no word for "try later" before its handshake.
 *
 * A successor reads the key again and counts addresses anew from zero; sessions it takes over are
 * in `connections`, but no longer in the count of their address.
 */
#include "actors/rtmp/rtmp_actor.h"
#include "actors/rtmp/rtmp_server.h"
#include "runtime/balance.h"
#include "runtime/config.h"
#include "runtime/net.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <string.h>

enum { CONNECTIONS_DEFAULT = 500, PER_ADDRESS_DEFAULT = 100 };
enum rtmp_office_timer { TIMER_BALANCE };

struct rtmp_office {
	struct rtmp_office_state st;

	/* rebuilt by a successor */
	uint32_t listeners[2]; /* RTMP, RTMPS; 0 = there is none */
	bool asks_token;
	struct token_key key;
	struct limits limits;
};

static uint32_t connections_max(struct actor *self)
{
	const struct config *config = actor_config(self);

	return config ? (uint32_t)config->rtmp_connections_max : CONNECTIONS_DEFAULT;
}

/* ---- connections ----------------------------------------------------------------------------- */

static enum err admit(struct actor *self, struct rtmp_office *s, struct rtmp_session_args args)
{
	struct addr session;
	enum err err;

	if (s->st.connections >= connections_max(self)) {
		s->st.refused_full++;
		return ERR_OVERLOAD;
	}
	if (limits_session_open(&s->limits, &args.peer, actor_now_us(self), &args.ticket)) {
		s->st.refused_address++;
		return ERR_LIMIT;
	}
	err = actor_spawn(actor_runtime(self), self, &rtmp_session_actor, &args, &session);
	if (err) {
		limits_session_close(&s->limits, &args.ticket);
		s->st.refused_no_buffer++;
		return err;
	}
	net_give(self, args.socket, session);
	s->st.connections++;
	s->st.accepted++;
	return ERR_OK;
}

static void rtmp_office_accepted(struct actor *self, void *data, uint32_t listener, uint32_t socket,
	const struct net_addr *peer)
{
	struct rtmp_office *s = data;
	char text[NET_ADDR_TEXT_SIZE];
	enum err err = admit(self, s,
		(struct rtmp_session_args){
			.socket = socket, .peer = *peer, .tls = listener == s->listeners[1]});

	if (!err)
		return;
	log_warn(actor_log(self), "rtmp_connection_refused", "client", net_addr_text(peer, text),
		"error", err_name(err));
	net_close(self, socket);
}

ON(rtmp_office, down)
{
	s->st.gone++;
	if (s->st.connections > 0)
		s->st.connections--;
	return ERR_OK;
}

static void give_back(struct actor *self, void *data, void *context)
{
	struct rtmp_office *s = data;
	const struct limits_ticket *ticket = context;

	(void)self;
	limits_session_close(&s->limits, ticket);
}

void rtmp_office_give_back(struct actor *self, struct limits_ticket ticket)
{
	actor_call(actor_runtime(self), actor_office(self, OFFICE_RTMP), &rtmp_office_actor,
		give_back, &ticket);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static void check_token(struct actor *self, void *data, void *context)
{
	struct rtmp_office *s = data;
	struct rtmp_token_question *q = context;
	char token[RTMP_QUERY_MAX + 1];
	int64_t now_s = actor_wall_us(self) / 1000000;

	q->err = ERR_OK;
	q->why = "";
	if (s->st.closed) {
		s->st.refused_closed++;
		q->err = ERR_OVERLOAD;
		q->why = "no new sessions are taken";
		return;
	}
	if (!s->asks_token)
		return;
	q->err = name_query_get(q->query, strlen(q->query), "token", token, sizeof(token));
	if (q->err) {
		q->why = q->err == ERR_NOT_FOUND ? "a token is required" : "the token is malformed";
		q->err = ERR_AUTH;
	} else {
		q->err = token_check(&s->key, token, strlen(token), q->app, q->stream, q->action,
			now_s, &q->claims, &q->why);
	}
	if (q->err)
		s->st.refused_token++;
	explicit_bzero(token, sizeof(token));
}

void rtmp_office_check_token(struct actor *self, struct rtmp_token_question *question)
{
	if (actor_call(actor_runtime(self), actor_office(self, OFFICE_RTMP), &rtmp_office_actor,
		    check_token, question))
		return;
	question->err = ERR_OVERLOAD; /* nobody who could check: nobody gets in */
	question->why = "try again";
}

/* ---- load ------------------------------------------------------------------------------------ */

static void pause_listeners(struct actor *self, const struct rtmp_office *s, bool paused)
{
	for (int i = 0; i < 2; i++)
		if (s->listeners[i])
			net_listen_pause(self, s->listeners[i], paused);
}

static void look_at_load(struct actor *self, struct rtmp_office *s)
{
	bool accepts =
		!s->st.draining && balance_should_accept(actor_runtime(self), !s->st.paused,
					   PROCESS_METRIC_RTMP_CONNECTIONS, connections_max(self));

	if (accepts == s->st.paused) {
		s->st.paused = !accepts;
		s->st.pauses += !accepts;
		pause_listeners(self, s, !accepts);
		log_debug(actor_log(self), "rtmp_listener", "paused", !accepts);
	}
	process_metric_set(runtime_env(actor_runtime(self)), PROCESS_METRIC_RTMP_CONNECTIONS,
		s->st.connections);
	process_metric_set(runtime_env(actor_runtime(self)), PROCESS_METRIC_RTMP_REFUSED,
		s->st.refused_full + s->st.refused_address + s->st.refused_no_buffer);
	actor_timer_in_ms(self, TIMER_BALANCE, BALANCE_LOOK_MS);
}

static void rtmp_office_timer(struct actor *self, void *data, unsigned timer)
{
	if (timer == TIMER_BALANCE)
		look_at_load(self, data);
}

/* Sessions hear of it themselves. */
ON(rtmp_office, drain)
{
	s->st.draining = true;
	if (s->listeners[0])
		look_at_load(self, s);
	return ERR_OK;
}

/* Connections come in all the same: they are told why they may not publish or play. In a cluster a node
 * that drains serves them: RTMP knows no other address to send them to. */
ON(rtmp_office, intake)
{
	const struct config *config = actor_config(self);
	bool alone = m->alone || !config || !strcmp(config->coord, "local");

	s->st.closed = m->closed && alone;
	return ERR_OK;
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum err open_office(struct actor *self, struct rtmp_office *s)
{
	const struct config *config = actor_config(self);
	uint32_t per_address =
		config ? (uint32_t)config->rtmp_connections_per_address_max : PER_ADDRESS_DEFAULT;
	const char *why;
	enum err err = token_key_load(&s->key, config, &why);

	if (err && err != ERR_NOT_FOUND) {
		log_error(actor_log(self), "token_key_unusable", "why", why);
		return err;
	}
	s->asks_token = !err;
	limits_init(&s->limits, per_address, 0, 0, actor_random_u64(self));
	process_limits_join(runtime_env(actor_runtime(self)), &s->limits, LIMITS_RTMP);
	s->listeners[0] = net_take(self, NET_RTMP);
	s->listeners[1] = net_take(self, NET_RTMPS);
	if (s->st.paused) /* as before it, until it has looked itself */
		pause_listeners(self, s, true);
	if (s->listeners[0])
		actor_timer_in_ms(self, TIMER_BALANCE, BALANCE_LOOK_MS);
	return ERR_OK;
}

static enum err rtmp_office_init(struct actor *self, void *data, const void *args)
{
	(void)args;
	actor_set_name(self, "office/rtmp");
	return open_office(self, data);
}

static enum err rtmp_office_restore(struct actor *self, void *data)
{
	return open_office(self, data);
}

static void rtmp_office_stop(struct actor *self, void *data, enum err reason)
{
	struct rtmp_office *s = data;

	(void)self;
	(void)reason;
	explicit_bzero(&s->key, sizeof(s->key));
}

static const struct handler rtmp_office_handlers[] = {
	HANDLER(rtmp_office, down, 0),
	HANDLER(rtmp_office, drain, 0),
	HANDLER(rtmp_office, intake, 0),
};

const struct actor_type rtmp_office_actor = {
	.name = "rtmp_office",
	.size = sizeof(struct rtmp_office),
	.state = &schema_rtmp_office_state,
	.mailbox_max = 8192,
	HANDLER_TABLE(rtmp_office_handlers),
	.init = rtmp_office_init,
	.restore = rtmp_office_restore,
	.stop = rtmp_office_stop,
	.timer = rtmp_office_timer,
	.accepted = rtmp_office_accepted,
};
