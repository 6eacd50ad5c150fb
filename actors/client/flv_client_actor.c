/* SPDX-License-Identifier: Apache-2.0
 *
 * flv client: a viewer of HTTP-FLV of the load generator (client.h has its life). One GET whose body
 * never ends, read piece by piece.
 */
#include "actors/client/client.h"
#include "actors/client/flv_probe.h"

enum { READ_MS = 10000 }; /* a stream that says nothing for so long is dead */

struct flv_client {
	struct client_session session; /* first */

	uint64_t request; /* the GET or a read of it; 0 = none */
	uint64_t stream;
	struct flv_probe probe;
};

static struct client_session *base(struct flv_client *s)
{
	return &s->session;
}

static void hang_up(struct actor *self, struct flv_client *s)
{
	net_http_cancel(self, s->request);
	net_http_cancel(self, s->stream);
	s->request = s->stream = 0;
}

static enum err attempt(struct actor *self, struct client_session *session)
{
	struct flv_client *s = (struct flv_client *)session;
	const struct load_options *options = session->shared->options;
	char line[CLIENT_TOKEN_LINE];
	struct net_http_request request = {
		.url = session->st.url,
		.headers = {client_authorization(session, line)},
		.timeout_ms = CLIENT_HTTP_MS,
		.stream = true,
		.redirects = true,
		.insecure = options->insecure,
		.ca_file = options->ca_file,
	};

	s->probe = (struct flv_probe){0};
	s->stream = 0;
	s->request = net_http(self, &request);
	return ERR_OK;
}

ON(flv_client, http_response)
{
	if (mail->request != s->request)
		return ERR_OK;
	s->stream = m->stream;
	if (m->status != 200) {
		hang_up(self, s);
		client_fail(self, base(s), ERR_IO, m->status, "");
		return ERR_OK;
	}
	client_agreed(self, base(s));
	client_up(self, base(s));
	s->request = net_http_read(self, s->stream, READ_MS);
	return ERR_OK;
}

static enum err take(struct actor *self, struct flv_client *s, struct slice bytes)
{
	struct reader in = reader_of(bytes.data, bytes.size);
	int64_t now_us = actor_now_us(self);
	struct flv_probe_tag tag;
	enum err err;

	while (!(err = flv_probe_take(&s->probe, &in, &tag))) {
		if (!tag.frame)
			continue;
		client_media(base(s), now_us, tag.size);
		if (tag.keyframe)
			client_keyframe(base(s), now_us);
		if (tag.type == FLV_VIDEO)
			client_jitter(base(s), now_us, (int64_t)tag.time_ms * 1000);
	}
	return err == ERR_AGAIN ? ERR_OK : err;
}

ON(flv_client, http_piece)
{
	enum err err;

	if (mail->request != s->request)
		return ERR_OK;
	err = take(self, s, m->bytes);
	if (m->end || err) {
		hang_up(self, s);
		client_fail(self, base(s), err ? err : ERR_CLOSED, 0,
			err ? "what came is no FLV" : "the server has ended the stream");
		return ERR_OK;
	}
	s->request = net_http_read(self, s->stream, READ_MS);
	return ERR_OK;
}

ON(flv_client, failed)
{
	if (mail->request != s->request)
		return ERR_OK;
	hang_up(self, s);
	client_fail(self, base(s), (enum err)m->err, 0, m->text);
	return ERR_OK;
}

ON(flv_client, drain)
{
	hang_up(self, s);
	client_end(self, base(s));
	return ERR_OK;
}

static enum err flv_client_init(struct actor *self, void *data, const void *args)
{
	return client_begin(self, data, args, attempt);
}

static void flv_client_timer(struct actor *self, void *data, unsigned timer)
{
	/* (the request has a deadline of its own: TIMER_CONNECT is for the others) */
	client_on_timer(self, data, timer);
}

static const struct handler flv_client_handlers[] = {
	HANDLER(flv_client, http_response, 0),
	HANDLER(flv_client, http_piece, 0),
	HANDLER(flv_client, failed, 0),
	HANDLER(flv_client, drain, 0),
};

const struct actor_type flv_client_actor = {
	.name = "flv_client",
	.size = sizeof(struct flv_client),
	.state = &schema_client_state,
	HANDLER_TABLE(flv_client_handlers),
	.init = flv_client_init,
	.timer = flv_client_timer,
};
