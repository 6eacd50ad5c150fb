/* SPDX-License-Identifier: Apache-2.0
 *
 * client office: begins the sessions of a load one after the other, hears what they measure, says
 * how it goes, and asks the process to end when the time is over or nobody is left.
 *
 * Owns nothing but the order of things: the figures lie in the process' result.
 */
#include "actors/client/client.h"

enum { TIMER_BEGIN, TIMER_PROGRESS, TIMER_END };

struct client_office {
	struct client_office_state st; /* first */

	const struct client_shared *shared;
	int64_t began_us;
	bool ending;
};

static const struct actor_type *session_type(const struct load_options *options)
{
	switch (options->kind) {
	case LOAD_WHIP:
	case LOAD_WHEP: return &rtc_client_actor;
	case LOAD_RTMP: return &rtmp_client_actor;
	case LOAD_FLV: return &flv_client_actor;
	case LOAD_KIND_COUNT: break;
	}
	return NULL;
}

static void finish(struct client_office *s)
{
	if (!s->ending)
		s->shared->finish();
	s->ending = true;
}

static void count_ended(struct client_office *s)
{
	if (++s->st.ended == s->shared->options->count)
		finish(s);
}

static void begin_one(struct actor *self, struct client_office *s)
{
	struct client_args args = {.shared = s->shared, .number = s->st.begun + 1};
	struct client_figures *figures = &s->shared->result->figures[s->st.begun++];
	enum err err = actor_spawn(
		actor_runtime(self), self, session_type(s->shared->options), &args, NULL);

	if (!err)
		return;
	figures->phase = CLIENT_FAILED;
	figures->err = (uint8_t)err;
	count_ended(s);
}

static void begin_due(struct actor *self, struct client_office *s)
{
	const struct load_options *options = s->shared->options;
	int64_t passed_us = actor_now_us(self) - s->began_us;

	while (s->st.begun < options->count &&
		(int64_t)s->st.begun * 1000000 <= passed_us * options->ramp)
		begin_one(self, s);
	if (s->st.begun < options->count)
		actor_timer_at(self, TIMER_BEGIN,
			s->began_us + (int64_t)s->st.begun * 1000000 / options->ramp);
}

static void say_progress(struct actor *self, struct client_office *s)
{
	struct load_result *result = s->shared->result;
	struct load_summary summary;

	result->ended_us = actor_now_us(self);
	result->cpu_us = s->shared->cpu_us();
	if (!load_summarise(result, &summary))
		s->shared->progress(&summary);
}

ON(client_office, client_report)
{
	if (m->number && m->number <= s->st.begun)
		s->shared->result->figures[m->number - 1] = m->figures;
	return ERR_OK;
}

ON(client_office, down)
{
	count_ended(s);
	return ERR_OK;
}

/* Sessions get it too, and end by themselves; none is begun any more. */
ON(client_office, drain)
{
	s->ending = true;
	s->shared->result->ended_us = actor_now_us(self);
	for (unsigned timer = TIMER_BEGIN; timer <= TIMER_END; timer++)
		actor_timer_off(self, timer);
	return ERR_OK;
}

static enum err client_office_init(struct actor *self, void *data, const void *args)
{
	struct client_office *s = data;
	struct load_result *result;

	s->shared = args;
	result = s->shared->result;
	s->began_us = result->began_us = result->ended_us = actor_now_us(self);
	actor_timer_at(self, TIMER_BEGIN, s->began_us);
	if (s->shared->progress_ms)
		actor_timer_in_ms(self, TIMER_PROGRESS, s->shared->progress_ms);
	if (s->shared->options->duration_s)
		actor_timer_in_ms(self, TIMER_END, (int64_t)s->shared->options->duration_s * 1000);
	return ERR_OK;
}

static void client_office_timer(struct actor *self, void *data, unsigned timer)
{
	struct client_office *s = data;

	switch (timer) {
	case TIMER_BEGIN: begin_due(self, s); break;
	case TIMER_PROGRESS:
		say_progress(self, s);
		actor_timer_in_ms(self, TIMER_PROGRESS, s->shared->progress_ms);
		break;
	case TIMER_END: finish(s); break;
	default: break;
	}
}

static const struct handler client_office_handlers[] = {
	HANDLER(client_office, client_report, 0),
	HANDLER(client_office, down, 0),
	HANDLER(client_office, drain, 0),
};

const struct actor_type client_office_actor = {
	.name = "client_office",
	.size = sizeof(struct client_office),
	.state = &schema_client_office_state,
	.mailbox_max = 2 * LOAD_COUNT_MAX,
	HANDLER_TABLE(client_office_handlers),
	.init = client_office_init,
	.timer = client_office_timer,
};
