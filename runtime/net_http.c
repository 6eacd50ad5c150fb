/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel's half of net_http.h: a call of an actor is an open request like any other, so that its
 * deadline, its end and a takeover need nothing of their own; the backend has the bytes.
 */
#include "runtime/net_http.h"
#include "runtime/kernel.h"

#include <strings.h>

static void fail(struct runtime *rt, uint64_t request, enum err err)
{
	runtime_http_failed(rt, request, err, "");
}

uint64_t net_http(struct actor *self, const struct net_http_request *request)
{
	struct runtime *rt = self->rt;
	const struct runtime_ops *ops = rt->options.ops;
	uint64_t id = kernel_open_request(self, MSG_http_response, request->timeout_ms);
	enum err err = ERR_OK;

	if (!idmap_get(&rt->pending, id)) /* no memory: it has failed already */
		return id;
	if (!ops->http_start)
		err = ERR_UNSUPPORTED;
	else if (!request->url || strlen(request->url) > NET_HTTP_URL_MAX ||
		 request->body_max > NET_HTTP_BODY_MAX || request->body_size > NET_HTTP_BODY_MAX)
		err = ERR_TOO_LARGE;
	else
		err = ops->http_start(rt->options.context, id, self->id, request);
	if (err)
		fail(rt, id, err);
	return id;
}

uint64_t net_http_read(struct actor *self, uint64_t stream, uint32_t timeout_ms)
{
	struct runtime *rt = self->rt;
	const struct runtime_ops *ops = rt->options.ops;
	uint64_t id = kernel_open_request(self, MSG_http_piece, timeout_ms);
	enum err err = ops->http_read ? ops->http_read(rt->options.context, stream, self->id, id)
				      : ERR_NOT_FOUND;

	if (err)
		fail(rt, id, err);
	return id;
}

void net_http_cancel(struct actor *self, uint64_t id)
{
	const struct runtime_ops *ops = self->rt->options.ops;

	actor_forget_request(self, id);
	if (ops->http_cancel)
		ops->http_cancel(self->rt->options.context, self->id, id);
}

struct slice net_http_header(const struct msg_http_response *response, const char *name)
{
	const char *at = response->headers.data, *end = at + response->headers.size;
	size_t length = strlen(name);

	while (at < end) {
		const char *next = memchr(at, '\n', (size_t)(end - at));
		const char *last = next ? next : end;

		if ((size_t)(last - at) > length && at[length] == ':' &&
			!strncasecmp(at, name, length)) {
			at += length + 1;
			while (at < last && (*at == ' ' || *at == '\t'))
				at++;
			while (last > at &&
				(last[-1] == '\r' || last[-1] == ' ' || last[-1] == '\t'))
				last--;
			return (struct slice){at, (uint32_t)(last - at)};
		}
		at = last + 1;
	}
	return (struct slice){0};
}

/* ---- from the backend ---------------------------------------------------------------------- */

static void answer(struct runtime *rt, uint64_t request, uint16_t type, const struct schema *schema,
	const void *body)
{
	const struct pending *pending = idmap_get(&rt->pending, request);

	if (!pending)
		return;
	kernel_deliver(rt, &(struct kernel_letter){
				   .to = {.node = rt->options.node, .id = pending->actor},
				   .type = type,
				   .is_reply = true,
				   .request = request,
				   .schema = schema,
				   .body = body,
	   });
}

void runtime_http_response(
	struct runtime *rt, uint64_t request, const struct msg_http_response *response)
{
	answer(rt, request, MSG_http_response, &schema_http_response, response);
}

void runtime_http_piece(struct runtime *rt, uint64_t request, const struct msg_http_piece *piece)
{
	answer(rt, request, MSG_http_piece, &schema_http_piece, piece);
}

void runtime_http_failed(struct runtime *rt, uint64_t request, enum err err, const char *text)
{
	const struct pending *pending = idmap_get(&rt->pending, request);
	struct msg_failed failed = {.err = (uint8_t)err, .type = pending ? pending->type : 0};

	text_copy(failed.text, sizeof(failed.text), text);
	answer(rt, request, MSG_failed, &schema_failed, &failed);
}
