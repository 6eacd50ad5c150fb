/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: the media helper. Its transcoder "makes Opus of AAC" by copying: subscribes to the
 * source track, sends every packet back as the made track. Ends with its stream, by a link.
 */
#include "runtime/kernel.h"
#include "tests/sim/sim_clients.h"

#include <string.h>

enum { REQUEST_MS = 3000 };

struct office_state {
	uint64_t started;
};

struct coder_state {
	struct addr stream;
	uint64_t seq;
	uint32_t source, track;
};

struct sim_office {
	struct office_state st;
};

struct sim_coder {
	struct coder_state st;

	uint64_t request;
};

// clang-format off
static const struct field office_fields[] = {
	{.name = "started", .tag = 1, .kind = FIELD_U64, .offset = 0},
};
static const struct schema schema_office = {
	.name = "sim_transcode_office_state", .id = 0xf803, .size = sizeof(struct office_state),
	.fields = office_fields, .field_count = 1, .use = SCHEMA_STATE,
};
static const struct field coder_fields[] = {
	{.name = "stream", .tag = 1, .kind = FIELD_ADDR, .offset = 0},
	{.name = "seq", .tag = 2, .kind = FIELD_U64, .offset = offsetof(struct coder_state, seq)},
	{.name = "source", .tag = 3, .kind = FIELD_U32, .offset = offsetof(struct coder_state, source)},
	{.name = "track", .tag = 4, .kind = FIELD_U32, .offset = offsetof(struct coder_state, track)},
};
static const struct schema schema_coder = {
	.name = "sim_transcoder_state", .id = 0xf804, .size = sizeof(struct coder_state),
	.fields = coder_fields, .field_count = 4, .use = SCHEMA_STATE,
};
// clang-format on

ON(sim_office, transcode_start)
{
	struct msg_transcode_started answer = {.track = m->source};
	enum err err =
		actor_spawn(actor_runtime(self), self, &sim_transcoder, m, &answer.transcoder);

	if (err)
		return err;
	s->st.started++;
	answer.track.id = m->track;
	answer.track.codec = m->codec;
	return actor_answer_mail(
		self, actor_asker(self), MSG_transcode_started, &schema_transcode_started, &answer);
}

static enum err office_init(struct actor *self, void *data, const void *args)
{
	(void)data;
	(void)args;
	actor_set_name(self, "office/transcode");
	return ERR_OK;
}

static enum err office_restore(struct actor *self, void *data)
{
	return office_init(self, data, NULL);
}

ON(sim_coder, subscribed)
{
	if (mail->request == s->request)
		s->request = 0;
	return ERR_OK;
}

ON(sim_coder, failed)
{
	if (mail->request && mail->request == s->request)
		actor_stop(self, m->err);
	return ERR_OK;
}

static void coder_media(struct actor *self, void *data, struct addr from,
	const struct slot_ref *packets, size_t count)
{
	struct sim_coder *s = data;
	struct arena *arena = actor_arena(self);

	for (size_t i = 0; i < count; i++) {
		const struct packet *in = arena_packet(arena, packets[i]);
		struct slot_ref ref = arena_alloc(arena, ARENA_PACKET, actor_addr(self).id);
		struct packet *out = arena_packet(arena, ref);

		if (in && out && in->header.track == s->st.source &&
			addr_equal(from, s->st.stream)) {
			memcpy(out, in, sizeof(in->header) + in->header.size);
			out->header.track = (uint8_t)s->st.track;
			out->header.track_seq = ++s->st.seq;
			out->header.flags &= (uint8_t)~MEDIA_LATE;
			actor_media(self, s->st.stream, ref);
		}
		arena_release(arena, ARENA_PACKET, ref);
	}
}

static enum err coder_init(struct actor *self, void *data, const void *args)
{
	const struct msg_transcode_start *start = args;
	struct msg_subscribe subscribe = {.feed = true};
	struct sim_coder *s = data;

	s->st.stream = start->stream;
	s->st.source = start->source.id;
	s->st.track = start->track;
	subscribe.tracks = (uint8_t)(1u << start->source.id);
	memcpy(subscribe.stream_name, start->stream_name, sizeof(subscribe.stream_name));
	s->request = actor_request_mail(
		self, start->stream, REQUEST_MS, MSG_subscribe, &schema_subscribe, &subscribe);
	return actor_link(self, start->stream);
}

static enum err coder_restore(struct actor *self, void *data)
{
	(void)self;
	return ((struct sim_coder *)data)->st.track < MEDIA_TRACKS_MAX ? ERR_OK : ERR_FORMAT;
}

/* ---- flood: more requests than anybody takes ----------------------------------------------------- */

struct sim_flood {
	struct office_state st; /* open requests */
};

static enum err flood_init(struct actor *self, void *data, const void *args)
{
	const struct sim_flood_args *flood = args;
	struct sim *sim = sim_of(actor_runtime(self));
	struct sim_flood *s = data;

	for (uint32_t i = 0; i < flood->requests; i++) {
		struct msg_subscribe subscribe = {0};

		memcpy(subscribe.stream_name, "live/nobody", sizeof("live/nobody"));
		actor_request_mail(self, actor_office(self, OFFICE_MEDIA), REQUEST_MS,
			MSG_subscribe, &schema_subscribe, &subscribe);
		sim->requests_sent++;
		s->st.started++;
	}
	return ERR_OK;
}

static enum err flood_restore(struct actor *self, void *data)
{
	(void)self;
	(void)data;
	return ERR_OK;
}

ON(sim_flood, failed)
{
	if (!mail->request)
		return ERR_OK;
	sim_of(actor_runtime(self))->requests_ended++;
	if (--s->st.started == 0)
		actor_stop(self, ERR_OK);
	return ERR_OK;
}

static void flood_stop(struct actor *self, void *data, enum err reason)
{
	(void)reason;
	sim_of(actor_runtime(self))->requests_ended += ((struct sim_flood *)data)->st.started;
}

static const struct handler flood_handlers[] = {
	HANDLER(sim_flood, failed, 0),
};

const struct actor_type sim_flood = {
	.name = "sim_flood",
	.size = sizeof(struct sim_flood),
	.state = &schema_office,
	HANDLER_TABLE(flood_handlers),
	.init = flood_init,
	.restore = flood_restore,
	.stop = flood_stop,
};

static const struct actor_type nobody = {.name = "nobody", .state = &schema_office};

void sim_silence_clients(struct runtime *rt)
{
	for (struct actor *actor = rt->oldest; actor; actor = actor->next)
		if (actor->type == &sim_publisher || actor->type == &sim_viewer ||
			actor->type == &sim_flood)
			actor->type = &nobody;
}

static const struct handler office_handlers[] = {
	HANDLER(sim_office, transcode_start, 0),
};

static const struct handler coder_handlers[] = {
	HANDLER(sim_coder, subscribed, 0),
	HANDLER(sim_coder, failed, 0),
};

const struct actor_type sim_transcode_office = {
	.name = "sim_transcode_office",
	.size = sizeof(struct sim_office),
	.state = &schema_office,
	HANDLER_TABLE(office_handlers),
	.init = office_init,
	.restore = office_restore,
};

const struct actor_type sim_transcoder = {
	.name = "sim_transcoder",
	.size = sizeof(struct sim_coder),
	.state = &schema_coder,
	HANDLER_TABLE(coder_handlers),
	.init = coder_init,
	.restore = coder_restore,
	.media = coder_media,
};
