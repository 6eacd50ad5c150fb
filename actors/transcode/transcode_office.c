/* SPDX-License-Identifier: Apache-2.0
 *
 * transcode office: see transcode_actor.h. A stream has at most one transcoder here: a second
 * request of it means that the answer to the first was lost.
 */
#include "actors/transcode/transcode_actor.h"

enum { TRANSCODES_MAX = 256, RETRY_MS = 1000 };

struct transcode_office {
	struct transcode_office_state st;
};

_Static_assert(sizeof(((struct transcode_office_state *)0)->rows) ==
		       TRANSCODES_MAX * sizeof(struct transcode_row),
	"the schema's bound is the limit");

static void stop_transcoder_of(struct actor *self, struct transcode_office *s, struct addr stream)
{
	for (int i = 0; i < s->st.rows_count; i++)
		if (addr_equal(s->st.rows[i].stream, stream))
			actor_send(self, s->st.rows[i].transcoder, stop, {.reason = ERR_OK});
}

ON(transcode_office, transcode_start)
{
	struct media_track made = {0};
	struct transcoder_args args = {.start = m, .made = &made};
	struct addr transcoder;
	enum err err;

	if (mail->deadline_us && actor_now_us(self) >= mail->deadline_us) {
		s->st.refused++;
		return ERR_TIMEOUT; /* the answer would not be heard */
	}
	stop_transcoder_of(self, s, m->stream);
	if (s->st.rows_count == TRANSCODES_MAX) {
		s->st.refused++;
		return actor_refuse_later(self, actor_asker(self), ERR_OVERLOAD,
			"this helper has all the transcoders it takes", RETRY_MS);
	}
	err = actor_spawn(actor_runtime(self), self, &transcoder_actor, &args, &transcoder);
	if (err) {
		s->st.failed++;
		return err;
	}
	s->st.started++;
	struct transcode_row *row = &s->st.rows[s->st.rows_count++];

	*row = (struct transcode_row){
		.stream = m->stream, .transcoder = transcoder, .codec = m->codec};
	memcpy(row->stream_name, m->stream_name, sizeof(row->stream_name));
	return actor_reply(self, transcode_started, {.transcoder = transcoder, .track = made});
}

ON(transcode_office, down)
{
	for (int i = 0; i < s->st.rows_count; i++) {
		if (addr_equal(s->st.rows[i].transcoder, m->who)) {
			s->st.rows[i] = s->st.rows[--s->st.rows_count];
			s->st.ended++;
			return ERR_OK;
		}
	}
	return ERR_OK;
}

static enum err transcode_office_init(struct actor *self, void *data, const void *args)
{
	(void)data;
	(void)args;
	actor_set_name(self, "office/transcode");
	return ERR_OK;
}

/* The transcoders are restored by themselves; one that is not is reported by `down`. */
static enum err transcode_office_restore(struct actor *self, void *data)
{
	return transcode_office_init(self, data, NULL);
}

static const struct handler transcode_office_handlers[] = {
	HANDLER(transcode_office, transcode_start, 0),
	HANDLER(transcode_office, down, 0),
};

const struct actor_type transcode_office_actor = {
	.name = "transcode_office",
	.size = sizeof(struct transcode_office),
	.state = &schema_transcode_office_state,
	HANDLER_TABLE(transcode_office_handlers),
	.init = transcode_office_init,
	.restore = transcode_office_restore,
};
