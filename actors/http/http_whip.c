/* SPDX-License-Identifier: Apache-2.0
 *
 * WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): a POST finds a worker and makes a session there;
 * PATCH and DELETE of its Location go to that session, wherever it runs.
 *
 *   POST --place--> placement --placed--> session_create --> RTC office of that worker --> 201
 *
 * Location: /whip/{app}/{stream}/{actor id, hexadecimal}-{secret}. The id finds the session, the
 * secret (128 bits or more) makes the address unguessable; a wrong one is answered like no session.
 */
#include "actors/http/http_internal.h"
#include "runtime/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { PLACE_MS = 3000, LOCATION_SIZE = 512, LINK_SIZE = 2048 };

bool http_plays(const struct http_call *call)
{
	enum http_handler handler = call->match.route->handler;

	return handler == HTTP_HANDLER_WHEP || handler == HTTP_HANDLER_WHEP_SESSION ||
	       handler == HTTP_HANDLER_SRS_PLAY || handler == HTTP_HANDLER_SRS_WHEP;
}

/* ---- who may, and for how long --------------------------------------------------------------- */

enum err http_token_check(struct actor *self, struct http_text token, const struct name_path *name,
	enum token_action action, struct http_permit *permit, const char **why)
{
	const struct http_office *office = http_office_of(self);
	struct token_claims claims;
	enum err err;

	*permit = (struct http_permit){.standby = NAME_STANDBY_UNSAID};
	*why = "";
	if (!office)
		return ERR_DEAD;
	if (!office->token_wanted)
		return ERR_OK;
	err = token_check(&office->token_key, token.at, token.size, name->app, name->stream, action,
		actor_wall_us(self) / 1000000, &claims, why);
	if (err)
		return err;
	permit->standby = claims.standby;
	if (strlen(claims.sub) < sizeof(permit->subject)) /* cut, two of them might look like one */
		text_copy(permit->subject, sizeof(permit->subject), claims.sub);
	return ERR_OK;
}

static enum err check_token(struct actor *self, struct http_connection *s,
	const struct http_call *call, enum token_action action, const char **why)
{
	const struct http_office *office = http_office_of(self);
	const struct http_request *request = &call->request;
	struct http_text bearer = http_bearer(request);
	struct http_permit permit;
	char query[TOKEN_SIZE_MAX + 1];
	enum err err = ERR_OK;

	if (!bearer.at && office && office->token_wanted) {
		/* players and <video> cannot set headers */
		err = name_query_get(
			request->query.at, request->query.size, "token", query, sizeof(query));
		if (err == ERR_OK)
			bearer = (struct http_text){query, strlen(query)};
	}
	if (err == ERR_FORMAT || err == ERR_TOO_LARGE) {
		*why = "the token in the query is malformed";
		return ERR_AUTH;
	}
	err = http_token_check(self, bearer, &call->match.name, action, &permit, why);
	if (err)
		return err;
	memcpy(s->st.subject, permit.subject, sizeof(s->st.subject));
	s->st.may_stand_by =
		name_standby_of(permit.standby, request->query.at, request->query.size);
	return ERR_OK;
}

bool http_may(struct actor *self, struct http_connection *s, const struct http_call *call,
	enum token_action action)
{
	const char *why = "";
	enum err err = check_token(self, s, call, action, &why);

	if (err)
		http_fail(self, s, err, why, 0);
	return !err;
}

bool http_param(struct actor *self, struct http_connection *s, const struct http_call *call,
	char param[CALLBACK_PARAM_SIZE])
{
	struct http_text query = call->request.query;

	if (!callback_param(query.at, query.size, param))
		return true;
	http_fail(self, s, ERR_TOO_LARGE, "the query is longer than a callback can carry", 0);
	return false;
}

uint32_t http_wait_ms(struct actor *self, const struct http_call *call)
{
	const struct config *config = actor_config(self);
	char value[8];

	if (!call->request.query.at ||
		name_query_get(call->request.query.at, call->request.query.size, "wait", value,
			sizeof(value)) ||
		strcmp(value, "1") != 0)
		return 0;
	return config ? (uint32_t)config->webrtc_wait_max_ms : HTTP_WAIT_MAX_MS;
}

/* ---- POST ------------------------------------------------------------------------------------ */

/* Nobody but this cluster's nodes can tell whether a permit is good: placement is asked. */
static bool may_ask(struct actor *self, struct http_connection *s, const struct http_call *call,
	struct msg_place *place)
{
	const char *why = "";
	enum err err =
		check_token(self, s, call, http_plays(call) ? TOKEN_PLAY : TOKEN_PUBLISH, &why);

	s->st.unproved = err == ERR_AUTH && http_is_in_cluster(self) &&
			 http_permit_of(&call->request, call->request.query, place->permit);
	if (err && !s->st.unproved)
		http_fail(self, s, err, why, 0);
	return !err || s->st.unproved;
}

void http_whip_post(struct actor *self, struct http_connection *s, const struct http_call *call)
{
	const struct http_office *office = http_office_of(self);
	bool play = http_plays(call);
	struct msg_place place = {.closed = office && !http_takes_sessions(office, false)};
	struct http_call asked; /* SRS' words may stand in another query than its own */

	if (!may_ask(self, s, call, &place))
		return;
	if (!call->request.body.size) {
		http_fail(self, s, ERR_FORMAT, "the body must be an SDP offer", 0);
		return;
	}
	snprintf(s->st.stream, sizeof(s->st.stream), "%s/%s", call->match.name.app,
		call->match.name.stream);
	text_copy(place.purpose, sizeof(place.purpose), play ? "play" : "publish");
	memcpy(place.stream_name, s->st.stream, sizeof(place.stream_name));
	memcpy(place.client, s->st.peer, sizeof(place.client));
	place.follows = http_call_of(self, s, &asked) && !http_was_sent_here(&asked.request);
	http_ask(self, s, HTTP_ASK_PLACE,
		actor_request_mail(self, actor_office(self, OFFICE_PLACEMENT), PLACE_MS, MSG_place,
			&schema_place, &place));
}

/* Millrace-Resume, or ?resume= where headers are impossible: a publisher's. A viewer's is a permit, which
 * placement has seen. False: malformed. */
static bool take_resume(const struct http_request *request, bool play, char out[64])
{
	struct http_text header = request->headers[HTTP_HEADER_RESUME];
	char text[PERMIT_TEXT_MAX + 1] = "";
	enum err err = ERR_OK;

	if (header.at && header.size > PERMIT_TEXT_MAX)
		return false;
	if (header.at)
		memcpy(text, header.at, header.size);
	else if (request->query.at)
		err = name_query_get(
			request->query.at, request->query.size, "resume", text, sizeof(text));
	text_copy(out, 64, play ? "" : text);
	return (!err || err == ERR_NOT_FOUND) && (play || strlen(text) < 64);
}

static void create_session(struct actor *self, struct http_connection *s,
	const struct http_call *call, struct addr office)
{
	struct msg_session_create create = {
		.play = http_plays(call), .standby = s->st.may_stand_by};

	create.wait_ms = create.play ? http_wait_ms(self, call) : 0;
	create.offer = (struct slice){call->request.body.at, (uint32_t)call->request.body.size};
	memcpy(create.stream_name, s->st.stream, sizeof(create.stream_name));
	memcpy(create.client, s->st.peer, sizeof(create.client));
	memcpy(create.subject, s->st.subject, sizeof(create.subject));
	if (!take_resume(&call->request, create.play, create.resume)) {
		http_fail(self, s, ERR_FORMAT, "this is no resume token", 0);
		return;
	}
	uint32_t callback_ms = callback_wait_ms(actor_config(self), create.play);

	if (callback_ms && !http_param(self, s, call, create.param))
		return;
	if (addr_is_nobody(office)) {
		http_fail(self, s, ERR_OVERLOAD, "the worker chosen has just gone, try again", 0);
		return;
	}
	http_ask(self, s, HTTP_ASK_CREATE,
		actor_request_mail(self, office, callback_ms + create.wait_ms + HTTP_REQUEST_MS,
			MSG_session_create, &schema_session_create, &create));
}

/* What the permit says, where there was one. False: it ought to be there. */
static bool take_permit(
	struct http_connection *s, const struct http_call *call, const struct msg_placed *placed)
{
	struct http_text query = call->request.query;

	s->st.permit = placed->permit;
	if (!s->st.unproved)
		return true;
	memcpy(s->st.subject, placed->subject, sizeof(s->st.subject));
	s->st.may_stand_by = name_standby_of(placed->standby, query.at, query.size);
	s->st.unproved = false;
	return placed->permitted;
}

static void create_at(struct actor *self, struct http_connection *s, uint32_t process)
{
	struct http_call call;
	struct http_srs srs;

	if (!http_call_of(self, s, &call) || !call.match.route) {
		actor_stop(self, ERR_INTERNAL);
		return;
	}
	if (http_srs_read(&srs, &call)) /* it could be read before */
		http_fail(self, s, ERR_NO_MEMORY, "", 0);
	else
		create_session(self, s, &srs.call, actor_office_in(self, OFFICE_RTC, process));
	http_srs_forget(&srs);
}

void http_whip_placed(
	struct actor *self, struct http_connection *s, const struct msg_placed *placed)
{
	struct http_call call;

	if (!http_call_of(self, s, &call))
		actor_stop(self, ERR_INTERNAL);
	else if (!take_permit(s, &call, placed))
		http_fail(self, s, ERR_AUTH, "", 0);
	else if (placed->url[0])
		http_send_elsewhere(self, s, placed);
	else
		create_at(self, s, placed->process);
}

static void quote(const char *etag, char out[68])
{
	/* strong (RFC 9725 4.3.1); sessions may say it with or without its quotes */
	if (*etag == '"')
		snprintf(out, 68, "%.63s", etag);
	else
		snprintf(out, 68, "\"%.63s\"", etag);
}

void http_whip_created(
	struct actor *self, struct http_connection *s, const struct msg_session_created *m)
{
	const struct config *config = actor_config(self);
	struct http_reply reply = {.status = 201, .type = "application/sdp"};
	char location[LOCATION_SIZE], etag[68], path[NAME_PATH_SIZE_MAX + 8], link[LINK_SIZE];
	char resume[PERMIT_TEXT_MAX + 1];
	struct http_permit_order order = {.stream = s->st.stream,
		.subject = s->st.subject,
		.standby = s->st.may_stand_by,
		.for_s = PERMIT_RESUME_S,
		.play = true};
	struct http_call call;

	if (!http_call_of(self, s, &call) || !call.match.route) {
		actor_stop(self, ERR_INTERNAL);
		return;
	}
	http_permit_used(self, s->st.permit, s->st.peer);
	s->st.permit = 0;
	if (http_is_srs(&call)) {
		http_srs_created(self, s, m);
		return;
	}
	snprintf(location, sizeof(location), "%s/%s/%s/%" PRIx64 "-%s",
		config ? config->public_url : "", http_plays(&call) ? "whep" : "whip", s->st.stream,
		m->session.id, m->secret);
	quote(m->etag, etag);
	reply.body = m->answer.data;
	reply.size = m->answer.size;
	http_add_field(&reply, "Location", location);
	http_add_field(&reply, "ETag", etag);
	http_add_field(&reply, "Cache-Control", "no-store");
	if (!http_plays(&call))
		text_copy(resume, sizeof(resume), m->resume);
	else
		http_permit_write(self, &order, resume);
	if (resume[0])
		http_add_field(&reply, "Millrace-Resume", resume);
	snprintf(path, sizeof(path), "/%s/%s", http_plays(&call) ? "whep" : "whip", s->st.stream);
	if (http_alternates_link(self, path, link, sizeof(link)))
		http_add_field(&reply, "Link", link);
	http_send(self, s, &reply);
}

/* ---- the session's own address --------------------------------------------------------------- */

bool http_session_parse(const char *text, struct addr *session, char secret[64])
{
	char *dash;

	*session = (struct addr){.id = strtoull(text, &dash, 16)};
	if (dash == text || dash - text > 16 || *dash != '-' || strlen(dash + 1) > 63 ||
		!session->id)
		return false;
	text_copy(secret, 64, dash + 1);
	return secret[0] != 0;
}

static void no_such_session(struct actor *self, struct http_connection *s)
{
	http_problem(self, s, 404, NULL, "there is no such session, or it has ended", 0);
}

static void patch_session(struct actor *self, struct http_connection *s,
	const struct http_call *call, struct addr session, const char *secret)
{
	struct http_text if_match = call->request.headers[HTTP_HEADER_IF_MATCH];
	struct msg_session_patch patch = {
		.fragment = {call->request.body.at, (uint32_t)call->request.body.size},
	};

	if (if_match.size >= sizeof(patch.if_match)) {
		http_problem(self, s, 412, NULL, "If-Match does not name this session's tag", 0);
		return;
	}
	if (if_match.at)
		memcpy(patch.if_match, if_match.at, if_match.size);
	text_copy(patch.secret, sizeof(patch.secret), secret);
	http_ask(self, s, HTTP_ASK_PATCH,
		actor_request_mail(self, session, HTTP_REQUEST_MS, MSG_session_patch,
			&schema_session_patch, &patch));
}

void http_whip_session(struct actor *self, struct http_connection *s, const struct http_call *call)
{
	struct msg_session_delete delete = {0};
	struct addr session;
	char secret[64];

	if (!http_session_parse(call->match.session, &session, secret)) {
		no_such_session(self, s);
		return;
	}
	if (call->request.verb == HTTP_VERB_PATCH) {
		patch_session(self, s, call, session, secret);
		return;
	}
	text_copy(delete.secret, sizeof(delete.secret), secret);
	http_ask(self, s, HTTP_ASK_DELETE,
		actor_request_mail(self, session, HTTP_REQUEST_MS, MSG_session_delete,
			&schema_session_delete, &delete));
}

void http_whip_patched(
	struct actor *self, struct http_connection *s, const struct msg_session_patched *m)
{
	struct http_reply reply = {.status = m->status};
	char etag[68], path[NAME_PATH_SIZE_MAX + 8], link[LINK_SIZE], sent[16];
	struct http_call call;

	if (m->status >= 400) {
		http_problem(self, s, m->status <= 599 ? m->status : 500, NULL,
			m->text[0] ? m->text : http_status_text(m->status), 0);
		return;
	}
	if (m->fragment.size) {
		reply.type = "application/trickle-ice-sdpfrag";
		reply.body = m->fragment.data;
		reply.size = m->fragment.size;
	}
	if (m->etag[0]) {
		quote(m->etag, etag);
		http_add_field(&reply, "ETag", etag);
	}
	if (m->sent_ms) {
		snprintf(sent, sizeof(sent), "%u", m->sent_ms - 1);
		http_add_field(&reply, "Millrace-Sent", sent);
	}
	if (http_call_of(self, s, &call)) {
		snprintf(path, sizeof(path), "/%s/%s/%s", http_plays(&call) ? "whep" : "whip",
			call.match.name.app, call.match.name.stream);
		http_add_elsewhere(self, path, link, sizeof(link), &reply);
	}
	http_send(self, s, &reply);
}

void http_whip_deleted(struct actor *self, struct http_connection *s)
{
	http_send(self, s, &(struct http_reply){.status = 200});
}

/* ---- what went wrong ------------------------------------------------------------------------- */

bool http_nobody_is_there(enum err err)
{
	return err == ERR_DEAD || err == ERR_NOT_FOUND || err == ERR_TIMEOUT;
}

bool http_session_is_gone(enum err err)
{
	switch (err) {
	case ERR_NOT_FOUND:
	case ERR_DEAD:
	case ERR_UNSUPPORTED: /* an actor, but no session */
	case ERR_AUTH:
	case ERR_FORBIDDEN: /* a wrong secret is no news for whoever tries */
	case ERR_CLOSED: return true;
	default: return false;
	}
}

static void session_failed(
	struct actor *self, struct http_connection *s, const struct msg_failed *m)
{
	if (http_session_is_gone(m->err))
		no_such_session(self, s);
	else
		http_fail(self, s, m->err, m->text, m->retry_after_ms);
}

void http_whip_failed(struct actor *self, struct http_connection *s, enum http_ask ask,
	const struct msg_failed *m)
{
	switch (ask) {
	case HTTP_ASK_PLACE:
		/* what can be done without the control process is done without it: here */
		if (http_nobody_is_there(m->err) && !s->st.unproved)
			create_at(self, s, actor_own_process(self));
		else if (http_nobody_is_there(m->err))
			http_fail(self, s, ERR_OVERLOAD, "nobody can look at the permit now", 0);
		else
			http_fail(self, s, m->err, m->text, m->retry_after_ms);
		break;
	case HTTP_ASK_CREATE:
		if (m->err == ERR_NOT_FOUND) /* DESIGN: to play without a publisher is 409 */
			http_problem(self, s, 409, "not_found",
				m->text[0] ? m->text : "nobody publishes this stream",
				m->retry_after_ms ? m->retry_after_ms : HTTP_RETRY_MS);
		else
			http_fail(self, s, m->err, m->text, m->retry_after_ms);
		break;
	default: session_failed(self, s, m);
	}
}
