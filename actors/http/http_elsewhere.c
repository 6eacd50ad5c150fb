/* SPDX-License-Identifier: Apache-2.0
 *
 * Other nodes of the cluster, as clients hear of them: a session that this node does not take (307), where to
 * go should this node be lost, and permits, by which the others know that we have looked at a token
 * (docs/decisions/025).
 *
 *   POST --placed with a url--> 307, Location there: the query as it was, redirected=1, and a permit where
 *   tokens are asked for and none is in the query: browsers and curl send Authorization to no other host
 *
 * Who comes with redirected=1 is served or refused, never sent on.
 */
#include "actors/http/http_internal.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdio.h>

enum { LOCATION_SIZE = 8192 };

static const char mark[] = "redirected=1";

bool http_is_in_cluster(struct actor *self)
{
	const struct config *config = actor_config(self);

	return config && strcmp(config->coord, "local") != 0;
}

/* ---- permits --------------------------------------------------------------------------------- */

bool http_permit_of(const struct http_request *request, struct http_text query,
	char permit[PERMIT_TEXT_MAX + 1])
{
	static const char *const names[] = {"permit", "resume"};
	struct http_text header = request->headers[HTTP_HEADER_RESUME];

	permit[0] = 0;
	for (size_t i = 0; query.at && i < sizeof(names) / sizeof(names[0]); i++)
		if (!name_query_get(query.at, query.size, names[i], permit, PERMIT_TEXT_MAX + 1) &&
			permit_is_one(permit, strlen(permit)))
			return true;
	permit[0] = 0;
	if (!header.at || !permit_is_one(header.at, header.size))
		return false;
	memcpy(permit, header.at, header.size);
	permit[header.size] = 0;
	return true;
}

bool http_permit_write(
	struct actor *self, const struct http_permit_order *order, char permit[PERMIT_TEXT_MAX + 1])
{
	const struct http_office *office = http_office_of(self);
	struct permit said = {
		.node = actor_addr(self).node,
		.until_s = actor_wall_us(self) / 1000000 + order->for_s,
		.number = order->number ? order->number : actor_random_u64(self),
		.action = order->play ? TOKEN_PLAY : TOKEN_PUBLISH,
		.standby = order->standby,
	};

	permit[0] = 0;
	if (!office || !office->signs_permits)
		return false;
	text_copy(said.subject, sizeof(said.subject), order->subject);
	permit_write(office->permit_key, &said, order->stream, permit);
	return true;
}

void http_permit_used(struct actor *self, uint64_t number, const char *client)
{
	struct msg_permit_used used = {.number = number};

	if (!number)
		return;
	text_copy(used.client, sizeof(used.client), client);
	actor_send_mail(self, actor_office(self, OFFICE_PLACEMENT), MSG_permit_used,
		&schema_permit_used, &used);
}

/* ---- 307 ------------------------------------------------------------------------------------- */

bool http_was_sent_here(const struct http_request *request)
{
	char value[4];

	return request->query.at && !name_query_get(request->query.at, request->query.size,
					    "redirected", value, sizeof(value));
}

static bool is_part(const char *part, size_t size, const char *name)
{
	size_t length = strlen(name);

	return size >= length && !memcmp(part, name, length) &&
	       (size == length || part[length] == '=');
}

/* The query without what a node before this one has said in it. True: there is a token in it. */
static bool copy_query(struct writer *out, struct http_text query)
{
	bool has_token = false;

	for (size_t begin = 0; query.at && begin < query.size;) {
		const char *part = query.at + begin;
		const char *ampersand = memchr(part, '&', query.size - begin);
		size_t size = ampersand ? (size_t)(ampersand - part) : query.size - begin;

		begin += size + 1;
		if (!size || is_part(part, size, "permit") || is_part(part, size, "redirected"))
			continue;
		has_token |= is_part(part, size, "token");
		write_bytes(out, part, size);
		write_bytes(out, "&", 1);
	}
	return has_token;
}

void http_send_elsewhere(
	struct actor *self, struct http_connection *s, const struct msg_placed *placed)
{
	const struct http_office *office = http_office_of(self);
	struct http_reply reply = {.status = 307};
	char location[LOCATION_SIZE], permit[PERMIT_TEXT_MAX + 1];
	struct writer out = writer_of(location, sizeof(location) - 1);
	struct http_call call;

	if (!http_call_of(self, s, &call) || !call.match.route) {
		actor_stop(self, ERR_INTERNAL);
		return;
	}
	struct http_permit_order order = {
		.play = http_plays(&call),
		.stream = s->st.stream,
		.subject = placed->permitted ? placed->subject : s->st.subject,
		.standby = placed->permitted ? placed->standby : s->st.may_stand_by,
		.for_s = PERMIT_REDIRECT_S,
		.number = placed->permit,
	};

	write_bytes(&out, placed->url, strlen(placed->url));
	write_bytes(&out, call.request.path, strlen(call.request.path));
	write_bytes(&out, "?", 1);
	bool has_token = copy_query(&out, call.request.query);

	write_bytes(&out, mark, sizeof(mark) - 1);
	if (office && office->token_wanted && !has_token &&
		http_permit_write(self, &order, permit)) {
		write_bytes(&out, "&permit=", 8);
		write_bytes(&out, permit, strlen(permit));
	}
	if (out.bad) {
		http_fail(self, s, ERR_OVERLOAD, "the query is too long to be sent on", 0);
		return;
	}
	location[writer_used(&out)] = 0;
	http_add_field(&reply, "Location", location);
	http_add_field(&reply, "Cache-Control", "no-store");
	http_send(self, s, &reply);
}

/* ---- alternatives ---------------------------------------------------------------------------- */

const char *http_alternatives(struct actor *self)
{
	const struct config *config = actor_config(self);
	const struct http_office *office = http_office_of(self);

	if (config && config->http_alternatives[0])
		return config->http_alternatives;
	return office ? office->st.alternatives : "";
}

/* How they are told of (RFC 8288), each with the end-point's path; what does not fit is left out. */
static bool write_link(const char *at, const char *path, char *link, size_t link_size)
{
	size_t used = 0;

	link[0] = 0;
	while (*(at += strspn(at, " "))) {
		size_t size = strcspn(at, " ");
		int slash = at[size - 1] == '/'; /* as an operator may have written it */
		int length =
			snprintf(link + used, link_size - used, "%s<%.*s%s>; rel=\"alternate\"",
				used ? ", " : "", (int)size - slash, at, path);

		if (length < 0 || (size_t)length >= link_size - used) {
			link[used] = 0;
			break;
		}
		used += (size_t)length;
		at += size;
	}
	return used > 0;
}

bool http_alternates_link(struct actor *self, const char *path, char *link, size_t link_size)
{
	return write_link(http_alternatives(self), path, link, link_size);
}

void http_add_elsewhere(struct actor *self, const char *path, char *link, size_t link_size,
	struct http_reply *reply)
{
	const struct http_office *office = http_office_of(self);
	char urls[ALTERNATIVES_SIZE + 1];

	/* each hears of another one first: those who leave spread */
	http_alternatives_turned(http_alternatives(self), (uint32_t)actor_random_u64(self), urls);
	if (!write_link(urls, path, link, link_size))
		return;
	http_add_field(reply, "Link", link);
	if (office && !http_takes_sessions(office, false))
		http_add_field(reply, "Millrace-Reconnect", "1");
}

/* A sum of FNV-1a. */
uint64_t http_alternatives_mark(const char *urls)
{
	uint64_t sum = 0;

	while (*(urls += strspn(urls, " "))) {
		uint64_t hash = UINT64_C(0xCBF29CE484222325);

		for (; *urls && *urls != ' '; urls++)
			hash = (hash ^ (uint8_t)*urls) * UINT64_C(0x100000001B3);
		sum += hash;
	}
	return sum;
}

void http_alternatives_turned(const char *urls, uint32_t by, char out[ALTERNATIVES_SIZE + 1])
{
	size_t size = strlen(urls), begin = 0;
	uint32_t count = size > 0;

	for (size_t i = 0; i < size; i++)
		count += urls[i] == ' ';
	for (uint32_t left = count ? by % count : 0; left; left--)
		begin += strcspn(urls + begin, " ") + 1;
	snprintf(out, ALTERNATIVES_SIZE + 1, "%s%s%.*s", urls + begin, begin ? " " : "",
		begin ? (int)begin - 1 : 0, urls);
}
