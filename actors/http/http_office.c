/* SPDX-License-Identifier: Apache-2.0
 *
 * http office: accepts the HTTP connections of a worker and keeps what they share: limits an
 * address, the key of media tokens, the FLV muxers by name (RTMP players ask for one here too).
 *
 * The listeners are shared with the other workers; they rest while this one has clearly more load
 * than the least loaded (runtime/balance.h), when it has as many connections as it may, and for
 * good once the worker drains; while all of the node does, clients hear a 503 instead of nothing.
 */
#include "actors/http/http_internal.h"
#include "actors/rtmp/flv_mux.h"
#include "runtime/balance.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdio.h>

enum {
	CONNECTIONS_DEFAULT = 2000,
	RATE_DEFAULT = 100,
	BURST_SECONDS = 5, /* an address may ask at once for what it may ask in so many seconds */
};

enum office_timer { OFFICE_TIMER_LOOK };

static void take_data(struct actor *office, void *data, void *context)
{
	(void)office;
	*(void **)context = data;
}

struct addr http_office_addr(struct actor *self)
{
	return actor_office(self, OFFICE_HTTP);
}

struct http_office *http_office_of(struct actor *self)
{
	void *data = NULL;

	actor_call(
		actor_runtime(self), http_office_addr(self), &http_office_actor, take_data, &data);
	return data;
}

/* ---- connections ----------------------------------------------------------------------------- */

static uint32_t connections_max(struct actor *self)
{
	const struct config *config = actor_config(self);

	return config ? (uint32_t)config->http_connections_max : CONNECTIONS_DEFAULT;
}

static bool node_is_stopping(struct actor *self)
{
	const struct process_env *env = runtime_env(actor_runtime(self));

	return env && atomic_load_explicit(&env->page->node_state, memory_order_relaxed) ==
			      PROCESS_NODE_STOPPING;
}

static bool should_accept(struct actor *self, const struct http_office *s)
{
	if (s->st.draining && !node_is_stopping(self))
		return false;
	return balance_should_accept(actor_runtime(self), !s->st.paused,
		PROCESS_METRIC_HTTP_CONNECTIONS, connections_max(self));
}

static void publish_metrics(struct actor *self, const struct http_office *s)
{
	const struct process_env *env = runtime_env(actor_runtime(self));

	process_metric_set(env, PROCESS_METRIC_HTTP_REQUESTS, s->st.requests);
	process_metric_set(env, PROCESS_METRIC_HTTP_REFUSED_RATE, s->st.refused_rate);
	process_metric_set(env, PROCESS_METRIC_HTTP_REFUSED, s->st.refused_connections);
	process_metric_set(env, PROCESS_METRIC_HTTP_4XX, s->st.status_4xx);
	process_metric_set(env, PROCESS_METRIC_HTTP_5XX, s->st.status_5xx);
	process_metric_set(env, PROCESS_METRIC_HTTP_CONNECTIONS, s->st.connections);
}

static void pause_listeners(struct actor *self, const struct http_office *s, bool paused)
{
	for (int i = 0; i < HTTP_LISTENERS; i++)
		if (s->listeners[i])
			net_listen_pause(self, s->listeners[i], paused);
}

static void look_around(struct actor *self, struct http_office *s)
{
	bool paused = !should_accept(self, s);

	if (paused != s->st.paused) {
		s->st.paused = paused;
		pause_listeners(self, s, paused);
	}
	publish_metrics(self, s);
	actor_timer_in_ms(self, OFFICE_TIMER_LOOK, BALANCE_LOOK_MS);
}

#define TURNED_AWAY(status) \
	"HTTP/1.1 " status "\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

static void turn_away(struct actor *self, struct http_office *s, uint32_t socket, enum err err)
{
	static const char busy[] = TURNED_AWAY("503 Service Unavailable");
	static const char many[] = TURNED_AWAY("429 Too Many Requests");
	const char *text = err == ERR_LIMIT ? many : busy;
	struct iovec part = {(void *)(uintptr_t)text, strlen(text)};

	s->st.refused_connections++;
	s->st.refused_address += err == ERR_LIMIT;
	net_write(self, socket, &part, 1);
	net_close(self, socket);
}

static enum err admit(struct actor *self, struct http_office *s, struct http_connection_args args)
{
	struct addr connection;

	if (s->st.connections >= connections_max(self))
		return ERR_OVERLOAD;
	if (limits_session_open(&s->limits, &args.peer, actor_now_us(self), &args.ticket))
		return ERR_LIMIT;
	if (actor_spawn(actor_runtime(self), self, &http_connection_actor, &args, &connection)) {
		limits_session_close(&s->limits, &args.ticket);
		return ERR_OVERLOAD;
	}
	s->st.accepted++;
	s->st.connections++;
	net_give(self, args.socket, connection);
	return ERR_OK;
}

static void http_office_accepted(struct actor *self, void *data, uint32_t listener, uint32_t socket,
	const struct net_addr *peer)
{
	struct http_office *s = data;
	enum err err = admit(self, s,
		(struct http_connection_args){
			.socket = socket,
			.peer = *peer,
			.api_port = listener == s->listeners[HTTP_LISTENER_API],
			.tls = listener == s->listeners[HTTP_LISTENER_TLS],
		});

	if (err)
		turn_away(self, s, socket, err);
}

/* ---- requests ------------------------------------------------------------------------------- */

static void refuse(struct http_slot *slot, int status, const char *text, uint32_t retry_ms)
{
	slot->refusal.status = (uint16_t)status;
	slot->refusal.retry_ms = retry_ms;
	text_copy(slot->refusal.text, sizeof(slot->refusal.text), text);
}

bool http_takes_sessions(const struct http_office *s, bool here)
{
	return !s->st.draining && (!s->st.closed || (s->st.alone && !here));
}

/* In a cluster placement knows who takes it instead; an FLV viewer is served all the same, over the links,
 * until the process ends. */
static bool others_may_take(
	struct actor *self, const struct http_office *s, const struct http_route *route)
{
	return http_is_in_cluster(self) &&
	       (!http_route_begins_here(route) || (!s->st.draining && !s->st.alone));
}

void http_judge_head(struct actor *self, struct http_connection *s, struct http_slot *slot,
	const struct http_call *call)
{
	struct http_office *office = http_office_of(self);
	const struct config *config = actor_config(self);
	const char *why = "";
	int64_t wait_us = 0;
	int status = 200;

	slot->refusal.status = 0;
	s->st.requests++;
	if (office)
		office->st.requests++;
	if (office && limits_request(&office->limits, &s->peer, actor_now_us(self), &wait_us)) {
		office->st.refused_rate++;
		refuse(slot, 429, "too many requests from this address",
			(uint32_t)(wait_us / 1000 + 1));
		return;
	}
	if (call->match.status != 200) {
		/* a path without a row is a file of the console page, or nothing */
		refuse(slot, call->match.status, call->match.text, 0);
		return;
	}
	if (call->match.route->access == HTTP_OPERATOR) {
		struct http_operator rules = {
			.admin_token = config ? config->admin_token : NULL,
			.own_host = office ? office->own_host : NULL,
		};

		status = http_access_check(&call->request, &s->peer, &rules, &why);
	}
	if (status == 200 && office && call->request.verb != HTTP_VERB_OPTIONS &&
		http_route_begins_session(call->match.route) &&
		!http_takes_sessions(office, http_route_begins_here(call->match.route)) &&
		!others_may_take(self, office, call->match.route)) {
		status = 503;
		why = office->st.draining ? "this server is about to stop"
					  : "this server takes no new sessions";
	}
	if (status != 200)
		refuse(slot, status, why, 0);
	else if (!http_route_accepts(call->match.route, &call->request))
		refuse(slot, 415, "this is not the content type that this path takes", 0);
}

/* ---- muxers ---------------------------------------------------------------------------------- */

static struct flv_muxer *find_muxer(struct http_office *s, const char *name)
{
	for (int i = 0; i < s->st.muxers_count; i++)
		if (!strcmp(s->st.muxers[i].name, name))
			return &s->st.muxers[i];
	return NULL;
}

ON(http_office, flv_open)
{
	struct flv_muxer *muxer = find_muxer(s, m->stream_name);
	struct flv_mux_args args = {.name = m->stream_name};
	struct addr addr;
	enum err err;

	if (muxer)
		return actor_forward(self, muxer->addr);
	if (s->st.muxers_count == STREAMS_MAX)
		return ERR_LIMIT;
	err = actor_spawn(actor_runtime(self), self, &flv_mux_actor, &args, &addr);
	if (err)
		return err;
	muxer = &s->st.muxers[s->st.muxers_count++];
	*muxer = (struct flv_muxer){.addr = addr};
	memcpy(muxer->name, m->stream_name, sizeof(muxer->name));
	return actor_forward(self, addr);
}

ON(http_office, down)
{
	for (int i = 0; i < s->st.muxers_count; i++) {
		if (addr_equal(s->st.muxers[i].addr, m->who)) {
			s->st.muxers[i] = s->st.muxers[--s->st.muxers_count];
			return ERR_OK;
		}
	}
	if (s->st.connections)
		s->st.connections--;
	if (s->st.paused)
		look_around(self, s);
	return ERR_OK;
}

/* Connections hear of it themselves. */
ON(http_office, drain)
{
	s->st.draining = true;
	look_around(self, s);
	return ERR_OK;
}

/* Connections go on: who asks for a session hears a 503. */
ON(http_office, intake)
{
	s->st.closed = m->closed;
	s->st.alone = m->alone;
	return ERR_OK;
}

ON(http_office, alternatives)
{
	(void)self;
	memcpy(s->st.alternatives, m->urls, sizeof(s->st.alternatives));
	return ERR_OK;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* The host in --public-url, by which operators may call besides localhost. */
static void take_own_host(struct http_office *s, const char *url)
{
	const char *host = strstr(url, "://");

	host = host ? host + 3 : url;
	size_t size = strcspn(host, *host == '[' ? "]" : ":/");

	if (*host == '[') {
		host++;
		size = size ? size - 1 : 0;
	}
	if (size < sizeof(s->own_host))
		memcpy(s->own_host, host, size);
}

static enum err start(struct actor *self, struct http_office *s)
{
	const struct config *config = actor_config(self);
	uint32_t rate = config ? (uint32_t)config->http_requests_per_s_max : RATE_DEFAULT;
	uint32_t burst = rate * BURST_SECONDS;
	const struct process_env *env = runtime_env(actor_runtime(self));
	const char *why;
	enum err err = token_key_load(&s->token_key, config, &why);

	actor_set_name(self, "office/http");
	if (err && err != ERR_NOT_FOUND) {
		log_error(actor_log(self), "token_key_unusable", "error", why);
		return err;
	}
	s->token_wanted = err == ERR_OK;
	if (s->token_wanted && token_key_is_weak(&s->token_key))
		log_warn(actor_log(self), "token_key_weak", "bytes", s->token_key.size);
	if (config)
		take_own_host(s, config->public_url);
	s->signs_permits = env && http_is_in_cluster(self);
	if (s->signs_permits)
		permit_key_derive(s->permit_key, env->secret, sizeof(env->secret));
	limits_init(&s->limits, config ? (uint32_t)config->http_connections_per_address_max : 0,
		rate, burst < LIMITS_RATE_MAX ? burst : LIMITS_RATE_MAX, actor_random_u64(self));
	process_limits_join(runtime_env(actor_runtime(self)), &s->limits, LIMITS_HTTP);
	s->listeners[HTTP_LISTENER_PLAIN] = net_take(self, NET_HTTP);
	s->listeners[HTTP_LISTENER_TLS] = net_take(self, NET_HTTPS);
	s->listeners[HTTP_LISTENER_API] = net_take(self, NET_API);
	if (s->st.paused) /* as before it, until it has looked itself */
		pause_listeners(self, s, true);
	actor_timer_in_ms(self, OFFICE_TIMER_LOOK, BALANCE_LOOK_MS);
	return ERR_OK;
}

static enum err http_office_init(struct actor *self, void *data, const void *args)
{
	(void)args;
	return start(self, data);
}

/* The allowances of addresses begin anew. */
static enum err http_office_restore(struct actor *self, void *data)
{
	return start(self, data);
}

static void http_office_timer(struct actor *self, void *data, unsigned timer)
{
	if (timer == OFFICE_TIMER_LOOK)
		look_around(self, data);
}

static const struct handler http_office_handlers[] = {
	HANDLER(http_office, flv_open, 0),
	HANDLER(http_office, down, 0),
	HANDLER(http_office, drain, 0),
	HANDLER(http_office, intake, 0),
	HANDLER(http_office, alternatives, 0),
};

const struct actor_type http_office_actor = {
	.name = "http_office",
	.size = sizeof(struct http_office),
	.state = &schema_http_office_state,
	.mailbox_max = 8192,
	HANDLER_TABLE(http_office_handlers),
	.init = http_office_init,
	.restore = http_office_restore,
	.timer = http_office_timer,
	.accepted = http_office_accepted,
};
