/* SPDX-License-Identifier: Apache-2.0
 *
 * store_etcd: the coordination store of a cluster, kept by etcd (cluster/store.h). This half takes what
 * actors ask; store_etcd_sync.c keeps the copy and knows whether etcd is there.
 *
 *   put, delete     wait in line --> under way --> held until the copy shows it --> answered
 *   lease_*         wait in line --> under way --> answered
 *   get, range      answered from the copy
 *   watch           told what happens to the copy
 *
 * So a watcher hears of a change before whoever made it has its answer, as at the built-in store, and
 * reading costs etcd nothing. Calls for one key or lease are under way one after the other, in their
 * order. A call that is not answered within ETCD_CALL_MS fails, and may have taken place; when nobody
 * answers at any endpoint, calls fail at once (ERR_DEAD) until somebody does.
 *
 * Speaks to one endpoint at a time, through runtime/net_http.h. Keeps no file, opens no socket.
 */
#include "cluster/cluster.h"
#include "cluster/store.h"
#include "cluster/store_etcd_internal.h"
#include "runtime/config.h"
#include "runtime/net_http.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdio.h>
#include <stdlib.h>

enum { MS = 1000, URL_SIZE = 320, HEADER_SIZE = ETCD_TOKEN_MAX + 32 };

static const char dead_text[] = "the coordination store does not answer";

/* ---- lines of calls ---------------------------------------------------------------------------- */

static void line_begin(struct etcd_line *line)
{
	line->first = NULL;
	line->end = &line->first;
}

static void line_add(struct etcd_line *line, struct etcd_call *call)
{
	call->next = NULL;
	*line->end = call;
	line->end = &call->next;
}

/* Takes out the call that *at points to. */
static struct etcd_call *line_take(struct etcd_line *line, struct etcd_call **at)
{
	struct etcd_call *call = *at;

	*at = call->next;
	if (!call->next)
		line->end = at;
	return call;
}

static void line_put_first(struct etcd_line *line, struct etcd_call *call)
{
	call->next = line->first;
	line->first = call;
	if (!call->next)
		line->end = &call->next;
}

static void set_call_timer(struct actor *self, const struct store_etcd *s)
{
	int64_t next_us = INT64_MAX;

	for (const struct etcd_call *call = s->waiting.first; call; call = call->next)
		next_us = call->until_us < next_us ? call->until_us : next_us;
	for (const struct etcd_call *call = s->held.first; call; call = call->next)
		next_us = call->until_us < next_us ? call->until_us : next_us;
	if (next_us < INT64_MAX)
		actor_timer_at(self, STORE_ETCD_TIMER_CALLS, next_us);
	else
		actor_timer_off(self, STORE_ETCD_TIMER_CALLS);
}

static void end_call(struct store_etcd *s, struct etcd_call *call)
{
	s->calls--;
	free(call);
}

/* It was asked in another mail than the one that is being read: what it was is said from the call. */
static void say_failed(
	struct actor *self, const struct etcd_call *call, enum err err, const char *text)
{
	struct msg_failed failed = {
		.err = (uint8_t)err, .type = call->type, .to = actor_addr(self)};

	text_copy(failed.text, sizeof(failed.text), text);
	actor_answer_mail(self, call->asker, MSG_failed, &schema_failed, &failed);
}

static void refuse(struct actor *self, struct store_etcd *s, struct etcd_call *call, enum err err,
	const char *text)
{
	s->st.unanswered += err == ERR_TIMEOUT || err == ERR_DEAD;
	say_failed(self, call, err, text);
	end_call(s, call);
}

void store_etcd_count(struct actor *self, const struct store_etcd *s)
{
	const struct process_env *env = runtime_env(actor_runtime(self));

	process_metric_set(env, PROCESS_METRIC_STORE_UP, s->st.up);
	process_metric_set(env, PROCESS_METRIC_STORE_OUTAGES, s->st.outages);
	process_metric_set(env, PROCESS_METRIC_STORE_UNANSWERED, s->st.unanswered);
	process_metric_set(env, PROCESS_METRIC_STORE_DIFFERENCES, s->st.differences);
	process_metric_set(env, PROCESS_METRIC_STORE_KEYS, s->st.pairs_count);
}

/* ---- to etcd ----------------------------------------------------------------------------------- */

uint64_t store_etcd_post(struct actor *self, struct store_etcd *s, const char *path,
	const struct slice body, int64_t until_us, bool stream)
{
	const struct config *config = actor_config(self);
	int64_t left_ms = (until_us - actor_now_us(self)) / MS;
	char url[URL_SIZE], authorization[HEADER_SIZE];
	struct net_http_request request = {
		.method = "POST",
		.url = url,
		.headers = {"Content-Type: application/json"},
		.body = body.data,
		.body_size = body.size,
		.timeout_ms = left_ms > 0 ? (uint32_t)left_ms : 1,
		.body_max = ETCD_ANSWER_MAX,
		.stream = stream,
		.ca_file = config->etcd_ca[0] ? config->etcd_ca : NULL,
		.cert_file = config->etcd_cert[0] ? config->etcd_cert : NULL,
		.key_file = config->etcd_key[0] ? config->etcd_key : NULL,
	};
	uint64_t id;

	snprintf(url, sizeof(url), "http%s://%s%s", config->etcd_ca[0] ? "s" : "", s->st.endpoint,
		path);
	if (s->token[0]) {
		snprintf(authorization, sizeof(authorization), "Authorization: %s", s->token);
		request.headers[1] = authorization;
	}
	id = net_http(self, &request);
	explicit_bzero(authorization, sizeof(authorization));
	return id;
}

static bool is_under_way(const struct store_etcd *s, uint64_t serial)
{
	for (int i = 0; i < ETCD_FLIGHTS_MAX; i++)
		if (s->flights[i].request && s->flights[i].call->serial == serial)
			return true;
	return false;
}

static struct etcd_flight *find_flight(struct store_etcd *s, uint64_t request)
{
	for (int i = 0; i < ETCD_FLIGHTS_MAX; i++)
		if (s->flights[i].request == request)
			return &s->flights[i];
	return NULL;
}

void store_etcd_fly(struct actor *self, struct store_etcd *s)
{
	bool has_token = !actor_config(self)->etcd_user[0] || s->token[0];
	struct etcd_call **at = &s->waiting.first;
	struct etcd_flight *flight = find_flight(s, 0);

	while (s->st.up && has_token && flight && *at) {
		if (is_under_way(s, (*at)->serial)) {
			at = &(*at)->next;
			continue;
		}
		flight->call = line_take(&s->waiting, at);
		flight->endpoint = s->endpoint;
		flight->request = store_etcd_post(self, s, flight->call->path,
			(struct slice){flight->call->body, flight->call->size},
			flight->call->until_us, false);
		flight = find_flight(s, 0);
	}
	set_call_timer(self, s);
}

void store_etcd_fail_calls(struct actor *self, struct store_etcd *s)
{
	for (int i = 0; i < ETCD_FLIGHTS_MAX; i++) {
		struct etcd_flight flight = s->flights[i];

		s->flights[i] = (struct etcd_flight){0};
		if (!flight.request)
			continue;
		net_http_cancel(self, flight.request);
		refuse(self, s, flight.call, ERR_TIMEOUT, dead_text);
	}
	while (s->held.first)
		refuse(self, s, line_take(&s->held, &s->held.first), ERR_TIMEOUT, dead_text);
	while (s->waiting.first)
		refuse(self, s, line_take(&s->waiting, &s->waiting.first), ERR_DEAD, dead_text);
	set_call_timer(self, s);
}

void store_etcd_announce(struct actor *self, struct store_etcd *s)
{
	for (int i = 0; i < s->st.watchers_count; i++) {
		if (s->st.up)
			actor_send(self, s->st.watchers[i].who, store_up,
				{.revision = s->st.revision});
		else
			actor_send(self, s->st.watchers[i].who, store_down, {});
	}
}

/* ---- answers ----------------------------------------------------------------------------------- */

static void answer_done(struct actor *self, struct store_etcd *s, struct etcd_call *call)
{
	if (call->answer)
		say_failed(self, call, (enum err)call->answer, "");
	else
		actor_answer(self, call->asker, store_done, {.revision = call->revision});
	end_call(s, call);
}

static void hold(struct actor *self, struct store_etcd *s, struct etcd_call *call, enum err err,
	uint64_t revision)
{
	call->answer = (uint8_t)err;
	call->revision = revision;
	if (revision <= s->st.revision)
		answer_done(self, s, call);
	else
		line_add(&s->held, call);
}

void store_etcd_release(struct actor *self, struct store_etcd *s)
{
	struct etcd_call **at = &s->held.first;

	while (*at) {
		if ((*at)->revision <= s->st.revision)
			answer_done(self, s, line_take(&s->held, at));
		else
			at = &(*at)->next;
	}
	set_call_timer(self, s);
	store_etcd_count(self, s);
}

static void take_txn(struct actor *self, struct store_etcd *s, struct etcd_call *call,
	const struct etcd_answer *answer)
{
	if (!answer->succeeded && answer->modified)
		hold(self, s, call, call->compare == STORE_CREATE ? ERR_EXISTS : ERR_PHASE,
			answer->modified);
	else if (!answer->succeeded)
		refuse(self, s, call, call->type == MSG_store_put ? ERR_PHASE : ERR_NOT_FOUND, "");
	else if (call->type == MSG_store_delete && !answer->deleted)
		refuse(self, s, call, ERR_NOT_FOUND, "");
	else
		hold(self, s, call, ERR_OK, answer->revision);
}

static void take_answer(struct actor *self, struct store_etcd *s, struct etcd_call *call,
	const struct msg_http_response *m)
{
	struct etcd_answer answer;
	enum err err = etcd_read(m->body.data, m->body.size, &answer);

	if (err) {
		refuse(self, s, call, ERR_TIMEOUT, "etcd's answer makes no sense");
		return;
	}
	switch (call->type) {
	case MSG_store_put:
	case MSG_store_delete: take_txn(self, s, call, &answer); break;
	case MSG_store_lease_revoke:
		actor_answer(self, call->asker, store_done, {.revision = answer.revision});
		end_call(s, call);
		break;
	default:
		if (!answer.lease || !answer.ttl_ms) {
			refuse(self, s, call, ERR_NOT_FOUND, "");
			break;
		}
		actor_answer(self, call->asker, store_leased,
			{.lease = answer.lease, .ttl_ms = answer.ttl_ms});
		end_call(s, call);
	}
}

static void take_error(struct actor *self, struct store_etcd *s, const struct etcd_flight *flight,
	const struct msg_http_response *m)
{
	struct etcd_call *call = flight->call;
	char text[ETCD_TEXT_SIZE];
	enum err err = etcd_read_error(m->status, m->body.data, m->body.size, text);

	if (err == ERR_AUTH && !call->renewed) {
		call->renewed = true;
		line_put_first(&s->waiting, call);
		store_etcd_renew_token(self, s);
		return;
	}
	if (err == ERR_FORBIDDEN || err == ERR_FORMAT || err == ERR_OVERLOAD)
		log_warn(actor_log(self), "store_refused", "endpoint", s->st.endpoint, "why", text);
	refuse(self, s, call, err, text);
	if (err == ERR_TIMEOUT && flight->endpoint == s->endpoint)
		store_etcd_give_up(self, s, text);
}

/* Takes the flight that the answer is of out of the table; false: it is of none. */
static bool land(struct store_etcd *s, const struct mail *mail, struct etcd_flight *landed)
{
	struct etcd_flight *flight = mail->request ? find_flight(s, mail->request) : NULL;

	if (!flight)
		return false;
	*landed = *flight;
	*flight = (struct etcd_flight){0};
	return true;
}

/* Is it of the step under way? Then nothing is asked any more. */
static bool is_of_step(struct store_etcd *s, const struct mail *mail)
{
	if (!mail->request || mail->request != s->request)
		return false;
	s->request = 0;
	return true;
}

ON(store_etcd, http_response)
{
	struct etcd_flight flight;

	if (is_of_step(s, mail)) {
		store_etcd_sync_response(self, s, m);
	} else if (land(s, mail, &flight)) {
		process_observe(runtime_env(actor_runtime(self)), PROCESS_HISTOGRAM_STORE,
			actor_now_us(self) - flight.call->until_us + (int64_t)ETCD_CALL_MS * MS);
		if (m->status == 200)
			take_answer(self, s, flight.call, m);
		else
			take_error(self, s, &flight, m);
		store_etcd_fly(self, s);
	}
	return ERR_OK;
}

ON(store_etcd, http_piece)
{
	if (is_of_step(s, mail))
		store_etcd_sync_piece(self, s, m);
	return ERR_OK;
}

/* Nobody listens there: it has not been asked, and may be asked elsewhere. */
static void call_failed(struct actor *self, struct store_etcd *s, const struct etcd_flight *flight,
	const struct msg_failed *m)
{
	struct etcd_call *call = flight->call;
	bool unasked = m->err == ERR_DEAD || m->err == ERR_NOT_FOUND;
	bool again = unasked && ++call->refusals < s->endpoint_count &&
		     call->until_us > actor_now_us(self);

	if (again)
		line_put_first(&s->waiting, call);
	else
		refuse(self, s, call, unasked ? ERR_DEAD : ERR_TIMEOUT, dead_text);
	if (flight->endpoint == s->endpoint)
		store_etcd_give_up(self, s, m->text[0] ? m->text : err_text((enum err)m->err));
}

ON(store_etcd, failed)
{
	struct etcd_flight flight;

	if (is_of_step(s, mail)) {
		store_etcd_sync_failed(self, s, m);
	} else if (land(s, mail, &flight)) {
		call_failed(self, s, &flight, m);
		store_etcd_fly(self, s);
		store_etcd_count(self, s);
	}
	return ERR_OK;
}

/* ---- what actors ask --------------------------------------------------------------------------- */

/* FNV-1a */
static uint64_t hash_of(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	uint64_t hash = UINT64_C(0xCBF29CE484222325);

	while (size--)
		hash = (hash ^ *at++) * UINT64_C(0x100000001B3);
	return hash;
}

static enum err call(struct actor *self, struct store_etcd *s, const char *path, uint16_t type,
	uint8_t compare, uint64_t serial, const struct writer *body)
{
	size_t size = writer_used(body);
	struct etcd_call *new;

	if (!s->st.up) {
		s->st.unanswered++;
		store_etcd_count(self, s);
		return actor_refuse(self, actor_asker(self), ERR_DEAD, dead_text);
	}
	if (body->bad)
		return ERR_TOO_LARGE;
	if (s->calls == ETCD_CALLS_MAX) {
		s->st.refused++;
		return ERR_OVERLOAD;
	}
	new = malloc(sizeof(*new) + size);
	if (!new)
		return ERR_NO_MEMORY;
	*new = (struct etcd_call){
		.asker = actor_asker(self),
		.type = type,
		.compare = compare,
		.serial = serial,
		.until_us = actor_now_us(self) + (int64_t)ETCD_CALL_MS * MS,
		.path = path,
		.size = (uint32_t)size,
	};
	memcpy(new->body, body->begin, size);
	s->calls++;
	s->st.asked++;
	line_add(&s->waiting, new);
	store_etcd_fly(self, s);
	return ERR_OK;
}

ON(store_etcd, store_put)
{
	char body[ETCD_REQUEST_MAX];
	struct writer out = writer_of(body, sizeof(body));

	if (m->compare > STORE_AT_REVISION)
		return ERR_UNSUPPORTED;
	if (!m->key[0])
		return ERR_FORMAT;
	if (m->compare == STORE_AT_REVISION && !m->revision)
		return ERR_PHASE; /* to etcd, a key that is not there was modified at 0 */
	etcd_write_put(&out, s->prefix, m);
	return call(self, s, ETCD_PATH_TXN, mail->type, m->compare, hash_of(m->key, strlen(m->key)),
		&out);
}

ON(store_etcd, store_delete)
{
	char body[ETCD_REQUEST_MAX];
	struct writer out = writer_of(body, sizeof(body));

	if (m->compare > STORE_AT_REVISION)
		return ERR_UNSUPPORTED;
	if (!m->key[0])
		return ERR_NOT_FOUND;
	etcd_write_delete(&out, s->prefix, m);
	return call(self, s, ETCD_PATH_TXN, mail->type, m->compare, hash_of(m->key, strlen(m->key)),
		&out);
}

ON(store_etcd, store_lease_grant)
{
	char body[ETCD_REQUEST_MAX];
	struct writer out = writer_of(body, sizeof(body));

	etcd_write_grant(&out, m->ttl_ms);
	return call(self, s, ETCD_PATH_GRANT, mail->type, 0, actor_random_u64(self), &out);
}

static enum err call_lease(
	struct actor *self, struct store_etcd *s, const char *path, uint16_t type, uint64_t lease)
{
	char body[ETCD_REQUEST_MAX];
	struct writer out = writer_of(body, sizeof(body));

	etcd_write_lease(&out, lease);
	return call(self, s, path, type, 0, hash_of(&lease, sizeof(lease)), &out);
}

ON(store_etcd, store_lease_keep)
{
	return call_lease(self, s, ETCD_PATH_KEEP, mail->type, m->lease);
}

ON(store_etcd, store_lease_revoke)
{
	return call_lease(self, s, ETCD_PATH_REVOKE, mail->type, m->lease);
}

/* Nothing is known before everything was read once. */
ON(store_etcd, store_get)
{
	return s->st.revision ? store_table_answer_get(self, &s->table, m, s->st.revision)
			      : ERR_DEAD;
}

ON(store_etcd, store_range)
{
	return s->st.revision ? store_table_answer_range(self, &s->table, m, s->st.revision)
			      : ERR_DEAD;
}

ON(store_etcd, store_watch)
{
	enum err err = store_feed_watch(self, &s->feed, m, s->st.revision);

	s->st.refused += err == ERR_LIMIT;
	if (!err && !s->st.up && !m->off)
		actor_send(self, mail->from, store_down, {});
	return err;
}

ON(store_etcd, down)
{
	store_feed_forget(self, &s->feed, m->who);
	return ERR_OK;
}

/* ---- time -------------------------------------------------------------------------------------- */

static void end_late_calls(struct actor *self, struct store_etcd *s)
{
	int64_t now_us = actor_now_us(self);
	struct etcd_call **at = &s->waiting.first;
	bool watch_is_late = false;

	while (*at) {
		if ((*at)->until_us <= now_us)
			refuse(self, s, line_take(&s->waiting, at), ERR_DEAD, dead_text);
		else
			at = &(*at)->next;
	}
	for (at = &s->held.first; *at;) {
		if ((*at)->until_us > now_us) {
			at = &(*at)->next;
			continue;
		}
		watch_is_late = true;
		refuse(self, s, line_take(&s->held, at), ERR_TIMEOUT, dead_text);
	}
	set_call_timer(self, s);
	/* a change took place, and the watch does not show it */
	if (watch_is_late && s->step == ETCD_STEP_WATCH)
		store_etcd_sync(self, s);
}

static void store_etcd_timer(struct actor *self, void *data, unsigned timer)
{
	switch ((enum store_etcd_timer)timer) {
	case STORE_ETCD_TIMER_CALLS: end_late_calls(self, data); break;
	case STORE_ETCD_TIMER_SYNC: store_etcd_sync(self, data); break;
	}
}

/* ---- life -------------------------------------------------------------------------------------- */

/* Counts the endpoints, and finds the one that a predecessor spoke to. Else any: nodes that start
 * together, or lose a member together, are not all to be at the same one. */
static void choose_endpoint(struct actor *self, struct store_etcd *s)
{
	const char *list = actor_config(self)->coord + sizeof("etcd://") - 1;
	char item[sizeof(s->st.endpoint)];
	bool known = false;
	size_t at = 0;

	while (s->endpoint_count < ETCD_ENDPOINTS_MAX &&
		config_list_next(list, &at, item, sizeof(item))) {
		if (!strcmp(item, s->st.endpoint)) {
			s->endpoint = s->endpoint_count;
			known = true;
		}
		s->endpoint_count++;
	}
	if (known)
		return;
	s->endpoint = (uint8_t)(actor_random_u64(self) % s->endpoint_count);
	s->st.endpoint[0] = 0;
}

static void store_etcd_stop(struct actor *self, void *data, enum err reason)
{
	struct store_etcd *s = data;

	(void)reason;
	store_etcd_fail_calls(self, s);
	store_feed_destroy(&s->feed);
	store_table_destroy(&s->table);
	free(s->seen);
	free(s->text);
	s->seen = NULL;
	s->text = NULL;
	explicit_bzero(s->token, sizeof(s->token));
}

static enum err begin(struct actor *self, struct store_etcd *s)
{
	const struct config *config = actor_config(self);
	enum err err;

	if (!config || strncmp(config->coord, "etcd://", 7))
		return ERR_CONFIG;
	actor_set_name(self, "office/store");
	etcd_prefix(s->prefix, config->cluster_name);
	choose_endpoint(self, s);
	line_begin(&s->waiting);
	line_begin(&s->held);
	s->seen = calloc(STORE_PAIRS_MAX, sizeof(*s->seen));
	err = store_table_create(&s->table, s->st.pairs, &s->st.pairs_count);
	if (!err)
		err = store_feed_create(
			&s->feed, s->st.watchers, &s->st.watchers_count, s->st.revision);
	if (!err && s->seen)
		return ERR_OK;
	store_etcd_stop(self, s, ERR_NO_MEMORY);
	return err ? err : ERR_NO_MEMORY;
}

static enum err store_etcd_init(struct actor *self, void *data, const void *args)
{
	struct store_etcd *s = data;
	enum err err = begin(self, s);

	(void)args;
	if (err)
		return err;
	store_etcd_sync(self, s);
	return ERR_OK;
}

/* The copy is what watchers were told: what has happened since is told when it is compared. Whoever
 * waited is answered by the kernel. */
static enum err store_etcd_restore(struct actor *self, void *data)
{
	struct store_etcd *s = data;
	enum err err = begin(self, s);

	if (!err)
		actor_timer_in_ms(self, STORE_ETCD_TIMER_SYNC, 0);
	return err;
}

static const struct handler store_etcd_handlers[] = {
	HANDLER(store_etcd, store_lease_grant, 0),
	HANDLER(store_etcd, store_lease_keep, 0),
	HANDLER(store_etcd, store_lease_revoke, 0),
	HANDLER(store_etcd, store_put, 0),
	HANDLER(store_etcd, store_delete, 0),
	HANDLER(store_etcd, store_get, 0),
	HANDLER(store_etcd, store_range, 0),
	HANDLER(store_etcd, store_watch, 0),
	HANDLER(store_etcd, http_response, 0),
	HANDLER(store_etcd, http_piece, 0),
	HANDLER(store_etcd, failed, 0),
	HANDLER(store_etcd, down, 0),
};

const struct actor_type store_etcd_actor = {
	.name = "store_etcd",
	.size = sizeof(struct store_etcd),
	.state = &schema_store_etcd_state,
	.mailbox_max = 16384,
	HANDLER_TABLE(store_etcd_handlers),
	.init = store_etcd_init,
	.restore = store_etcd_restore,
	.stop = store_etcd_stop,
	.timer = store_etcd_timer,
};
