/* SPDX-License-Identifier: Apache-2.0
 *
 * process office: see process_office.h. Looks at all actors of its process, changes none: what is
 * to end is told so by mail. Looking walks the list of actors; twice a second is cheap, and a question
 * ends with its page.
 */
#include "runtime/process_office.h"

#include "runtime/process.h"
#include "runtime/process_office_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	KINDS_MAX = sizeof(((struct process_office_state *)0)->kinds) / sizeof(struct session_kind)
};

static const char stream_type[] = "stream";

/* ---- load ------------------------------------------------------------------------------------ */

bool process_office_is_session(const struct process_office *s, const struct actor_facts *facts)
{
	for (int i = 0; i < s->st.kinds_count; i++)
		if (!strcmp(s->st.kinds[i].type, facts->type) &&
			(!s->st.kinds[i].phase[0] || !strcmp(s->st.kinds[i].phase, facts->phase)))
			return true;
	return false;
}

static void count_actors(struct actor *self, struct process_office *s)
{
	struct actor_facts facts;

	s->st.sessions = s->st.streams = 0;
	for (struct actor *a = runtime_next_actor(actor_runtime(self), NULL); a;
		a = runtime_next_actor(actor_runtime(self), a)) {
		runtime_facts(a, &facts);
		s->st.sessions += process_office_is_session(s, &facts);
		s->st.streams += !strcmp(facts.type, stream_type);
	}
}

static void publish_metrics(struct actor *self)
{
	const struct process_env *env = runtime_env(actor_runtime(self));
	const struct runtime_counters *kernel = runtime_counters(actor_runtime(self));
	const uint64_t values[] = {kernel->mails_local, kernel->mails_out, kernel->mails_in,
		kernel->refused, kernel->requests_timed_out, kernel->media_out, kernel->media_in,
		kernel->media_dropped_out + kernel->media_dropped_in, kernel->slow_runs,
		(uint64_t)kernel->keep_us, kernel->not_kept, kernel->moves_in, kernel->moves_out,
		kernel->moves_failed, kernel->node_refused, kernel->resent_frames};
	struct arena_usage usage = {0};

	_Static_assert(PROCESS_METRIC_RESENT - PROCESS_METRIC_MAILS_LOCAL + 1 ==
			       sizeof(values) / sizeof(values[0]),
		"the kernel's rows, in their order");
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		process_metric_set(
			env, PROCESS_METRIC_MAILS_LOCAL + (enum process_metric)i, values[i]);
	if (actor_arena(self))
		arena_usage(actor_arena(self), &usage);
	for (int i = 0; i < ARENA_TABLE_COUNT; i++)
		process_metric_set(
			env, PROCESS_METRIC_SLOTS_PACKET + (enum process_metric)i, usage.used[i]);
}

/* The supervisor may have closed this worker; and what was said of both may be older than this
 * process. */
static void follow_page(struct actor *self, struct process_office *s)
{
	const struct process_env *env = runtime_env(actor_runtime(self));
	bool closed, worker_closed;

	if (!env)
		return;
	closed = atomic_load(&env->page->closed);
	worker_closed = env->role == PROCESS_MEDIA &&
			atomic_load(&env->page->closed_workers) >> env->index & 1;
	if (closed == s->st.closed && worker_closed == s->st.worker_closed)
		return;
	s->st.closed = closed;
	s->st.worker_closed = worker_closed;
	process_office_tell_intake(self, s);
}

static void report(struct actor *self, struct process_office *s)
{
	const struct runtime_options *options = runtime_options(actor_runtime(self));
	const struct process_env *env = runtime_env(actor_runtime(self));
	struct process_status *own = env ? process_own_status(env) : NULL;
	struct msg_load_report load = {.process = options->process, .index = options->index};

	follow_page(self, s);
	count_actors(self, s);
	load.draining = s->st.closed || s->st.worker_closed;
	load.sessions = s->st.sessions;
	load.streams = s->st.streams;
	load.viewers = s->st.viewers;
	load.publishers = s->st.publishers;
	if (own) {
		atomic_store_explicit(&own->sessions, load.sessions, memory_order_relaxed);
		atomic_store_explicit(&own->streams, load.streams, memory_order_relaxed);
		load.cpu_permille = atomic_load_explicit(&own->cpu_permille, memory_order_relaxed);
		load.packets_per_s =
			atomic_load_explicit(&own->packets_per_s, memory_order_relaxed);
		load.egress_kbps = atomic_load_explicit(&own->egress_kbps, memory_order_relaxed);
		load.draining |= atomic_load(&own->state) != PROCESS_READY;
	}
	if (options->role == PROCESS_MEDIA)
		actor_send_mail(self, actor_office(self, OFFICE_PLACEMENT), MSG_load_report,
			&schema_load_report, &load);
	publish_metrics(self);
	s->st.reports++;
	actor_timer_in_ms(self, OFFICE_TIMER_REPORT, PROCESS_OFFICE_REPORT_MS);
}

void process_office_tell_intake(struct actor *self, const struct process_office *s)
{
	static const enum office offices[] = {OFFICE_HTTP, OFFICE_RTMP, OFFICE_RTC};

	for (size_t i = 0; i < sizeof(offices) / sizeof(offices[0]); i++) {
		struct addr office = actor_office(self, offices[i]);

		if (runtime_find(actor_runtime(self), office.id))
			actor_send(self, office, intake,
				{.closed = s->st.closed || s->st.worker_closed,
					.alone = !s->st.closed});
	}
}

/* At once, so that nothing more is placed here. */
ON(process_office, drain)
{
	report(self, s);
	return ERR_OK;
}

ON(process_office, movable)
{
	(void)self;
	s->st.viewers = m->viewers;
	s->st.publishers = m->publishers;
	return ERR_OK;
}

static void process_office_timer(struct actor *self, void *data, unsigned timer)
{
	switch ((enum office_timer)timer) {
	case OFFICE_TIMER_REPORT: report(self, data); break;
	case OFFICE_TIMER_FOLLOW: process_follow_work(self, data); break;
	case OFFICE_TIMER_TOP: process_top_timer(self, data); break;
	}
}

ON(process_office, console_query)
{
	uint8_t *page = malloc(PROCESS_OFFICE_PAGE);
	struct query q = {
		.self = self, .s = s, .follow = m->follow, .follower = m->follower, .problem = ""};
	char command[512];
	enum err err = ERR_NO_MEMORY;

	s->st.queries++;
	snprintf(command, sizeof(command), "%.*s", (int)m->command.size, m->command.data);
	q.out = writer_of(page, page ? PROCESS_OFFICE_PAGE : 0);
	if (page)
		err = process_query_run(&q, command);
	if (err != ERR_AGAIN)
		process_query_answer(&q, actor_asker(self), err);
	free(page);
	return ERR_OK;
}

/* ---- sessions that an operator ends ---------------------------------------------------------- */

static void end_session(
	struct actor *self, struct process_office *s, uint64_t request, enum err err)
{
	uint8_t text[64];
	struct query q = {.self = self, .s = s, .problem = err_text(err)};

	for (int i = 0; i < s->st.endings_count; i++) {
		struct session_ending ending = s->st.endings[i];
		struct asker asker = {.from = ending.asker, .request = ending.asked};

		if (!request || ending.request != request)
			continue;
		s->st.endings[i] = s->st.endings[--s->st.endings_count];
		if (err == ERR_UNSUPPORTED || err == ERR_PHASE || err == ERR_TIMEOUT) {
			actor_send(self, ending.session, stop, {.reason = ERR_CLOSED});
			err = ERR_OK;
		}
		if (err == ERR_DEAD) /* that is what was wanted */
			err = ERR_OK;
		q.out = writer_of(text, sizeof(text));
		process_query_put(&q, "{\"id\":\"");
		char id[24];
		snprintf(id, sizeof(id), "%016" PRIx64 "\"}", ending.session.id);
		process_query_put(&q, id);
		process_query_answer(&q, asker, err);
		return;
	}
}

ON(process_office, done)
{
	end_session(self, s, mail->request, ERR_OK);
	return ERR_OK;
}

ON(process_office, failed)
{
	end_session(self, s, mail->request, m->err);
	return ERR_OK;
}

/* ---- watch and trace, pieces of lists -------------------------------------------------------- */

ON(process_office, console_unfollow)
{
	process_follow_end(self, s, m->follow, mail->from);
	return ERR_OK;
}

ON(process_office, down)
{
	process_follow_down(self, s, m);
	return ERR_OK;
}

static void process_office_pump(struct actor *self, void *data)
{
	process_task_work(self, data);
	process_top_work(self, data);
	process_follow_work(self, data);
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum err process_office_init(struct actor *self, void *data, const void *args_)
{
	const struct process_office_args *args = args_;
	struct process_office *s = data;

	actor_set_name(self, "office/process");
	follow_page(self, s);
	for (size_t i = 0; args && i < args->session_count && i < KINDS_MAX; i++) {
		struct session_kind *kind = &s->st.kinds[s->st.kinds_count++];

		text_copy(kind->type, sizeof(kind->type), args->sessions[i].type);
		if (args->sessions[i].phase)
			text_copy(kind->phase, sizeof(kind->phase), args->sessions[i].phase);
	}
	actor_timer_in_ms(self, OFFICE_TIMER_REPORT, 1);
	return ERR_OK;
}

/* Lists that were being made ended with the process: who asked hears so. */
static enum err process_office_restore(struct actor *self, void *data)
{
	process_follow_restore(self, data);
	return process_office_init(self, data, NULL);
}

static void process_office_stop(struct actor *self, void *data, enum err reason)
{
	(void)reason;
	process_task_stop(data);
	process_top_stop(data);
	process_follow_stop(self, data);
}

static const struct handler process_office_handlers[] = {
	HANDLER(process_office, console_query, 0),
	HANDLER(process_office, done, 0),
	HANDLER(process_office, failed, 0),
	HANDLER(process_office, drain, 0),
	HANDLER(process_office, movable, 0),
	HANDLER(process_office, console_unfollow, 0),
	HANDLER(process_office, down, 0),
};

const struct actor_type process_office_actor = {
	.name = "process_office",
	.size = sizeof(struct process_office),
	.state = &schema_process_office_state,
	.keeps_askers = true,
	HANDLER_TABLE(process_office_handlers),
	.init = process_office_init,
	.restore = process_office_restore,
	.stop = process_office_stop,
	.pump = process_office_pump,
	.timer = process_office_timer,
};
