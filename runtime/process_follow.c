/* SPDX-License-Identifier: Apache-2.0
 *
 * process office: watch (what changes in an actor's state) and trace (its mail in and out), for
 * somebody at a console.
 *
 *   (watch, trace) followed --console_unfollow, or the follower ends--> (gone)
 *                           --the actor ends: console_end--> (gone)
 *
 * The kernel tells of observed actors only. What it tells is noted and leaves in this office's own
 * turn: a watched state is compared at most every WATCH_MS, traced mail is at most TRACE_PER_S lines
 * a second and TRACE_ROOM bytes a turn; what is beyond is counted, and the follower hears how many
 * were left out. Mail that carries such events is never traced: it would be about itself.
 */
#include "runtime/process_office_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	WATCH_MS = 100,
	WATCH_ROOM = 60000, /* of a document; console_event.json takes 65535 */
	WATCH_FIELD_MAX = 16384,
	FIRST_MS = 20, /* events are held so long after the beginning */
	TRACE_ROOM = 60000,
	TRACE_LINE_MAX = 4096, /* a message that is larger is named, not shown */
	TRACE_HEAD_MAX = 300,  /* what stands before the message */
	TRACE_PER_S = 1000,
	SECOND_US = 1000000,
};

static int find_follow(const struct process_office *s, uint64_t id, struct addr follower)
{
	for (int i = 0; i < s->st.follows_count; i++)
		if (s->st.follows[i].id == id && addr_equal(s->st.follows[i].follower, follower))
			return i;
	return -1;
}

/* ---- what the kernel is asked to tell ---------------------------------------------------------- */

static void observe(struct actor *self, const struct process_office *s, struct addr who)
{
	unsigned what = 0;

	for (int i = 0; i < s->st.follows_count; i++)
		if (addr_equal(s->st.follows[i].who, who))
			what |= s->st.follows[i].trace ? OBSERVED_MAIL : OBSERVED_STATE;
	runtime_observe_actor(actor_runtime(self), who.id, what);
}

static void actor_ran(void *self_, struct addr who)
{
	struct actor *self = self_;
	struct process_office *s = actor_data(self);

	for (int i = 0; i < s->st.follows_count; i++) {
		struct follow_work *work = &s->follows[i];

		if (s->st.follows[i].trace || work->ran || !addr_equal(s->st.follows[i].who, who))
			continue;
		work->ran = true;
		actor_timer_at(self, OFFICE_TIMER_FOLLOW, work->looked_us + WATCH_MS * OFFICE_MS);
	}
}

/* Whether the name stands in the filter; "" takes all. */
static bool is_wanted(const char *names, const char *name)
{
	size_t length = strlen(name);

	if (!names[0])
		return true;
	for (const char *at = names; *at;) {
		size_t word = strcspn(at, " ");

		if (word == length && !memcmp(at, name, length))
			return true;
		at += word;
		at += strspn(at, " ");
	}
	return false;
}

static bool may_write(struct actor *self, struct follow_work *work)
{
	if (actor_now_us(self) - work->second_us >= SECOND_US) {
		work->second_us = actor_now_us(self);
		work->in_second = 0;
	}
	return work->text && work->in_second < TRACE_PER_S &&
	       TRACE_ROOM - work->used >= TRACE_LINE_MAX + TRACE_HEAD_MAX;
}

static void write_seen(
	struct actor *self, struct follow_work *work, const struct runtime_seen *seen)
{
	struct writer out = writer_of(work->text + work->used, TRACE_HEAD_MAX + TRACE_LINE_MAX);
	char head[TRACE_HEAD_MAX], peer[ADDR_TEXT_SIZE];

	snprintf(head, sizeof(head),
		"{\"at_us\":%lld,\"direction\":\"%s\",\"peer\":\"%s\",\"message\":\"%s\",\"kind\":"
		"\"%s\",\"request\":\"%llx\",\"fields\":",
		(long long)actor_wall_us(self), seen->out ? "out" : "in",
		addr_text(seen->peer, peer), seen->schema->name,
		seen->is_reply	? "answer"
		: seen->request ? "request"
				: "mail",
		(unsigned long long)seen->request);
	write_bytes(&out, head, strlen(head));
	out.end -= 2; /* for what follows */
	if (schema_print_json(seen->schema, seen->message, &out)) {
		out.bad = false;
		write_bytes(&out, "\"(large)\"", 9);
	}
	out.end += 2;
	write_bytes(&out, "}\n", 2);
	work->used += writer_used(&out);
	work->in_second++;
}

static void mail_seen(void *self_, const struct runtime_seen *seen)
{
	struct actor *self = self_;
	struct process_office *s = actor_data(self);

	if (seen->type == MSG_console_event)
		return;
	for (int i = 0; i < s->st.follows_count; i++) {
		struct follow *follow = &s->st.follows[i];

		if (!follow->trace || !addr_equal(follow->who, seen->actor) ||
			!is_wanted(follow->messages, seen->schema->name))
			continue;
		if (!may_write(self, &s->follows[i])) {
			follow->left_out++;
			continue;
		}
		write_seen(self, &s->follows[i], seen);
		actor_kick(actor_runtime(self), actor_addr(self));
	}
}

/* ---- telling ----------------------------------------------------------------------------------- */

static void send_event(
	struct actor *self, const struct follow *follow, const void *text, size_t size)
{
	actor_send(self, follow->follower, console_event,
		{
			.follow = follow->id,
			.json = {text, (uint32_t)size},
			.left_out = follow->left_out,
	});
}

static bool remember(
	struct follow_work *work, const struct actor *actor, const struct actor_facts *facts)
{
	size_t size = schema_clone_size(facts->schema, facts->state);
	void *before = realloc(work->before, size);

	if (!before)
		return false;
	work->before = schema_clone(facts->schema, facts->state, before, size);
	work->phase = actor_phase(actor);
	return true;
}

static void tell_changes(struct actor *self, struct follow *follow, struct follow_work *work)
{
	struct actor *actor = runtime_find(actor_runtime(self), follow->who.id);
	struct actor_facts facts;
	char head[192], address[ADDR_TEXT_SIZE];
	uint8_t *text;

	if (!actor)
		return; /* `down` is on its way */
	runtime_facts(actor, &facts);
	bool moved = actor_phase(actor) != work->phase;
	text = malloc(WATCH_ROOM);
	if (!text)
		return;
	struct writer out = writer_of(text, WATCH_ROOM);
	snprintf(head, sizeof(head),
		"{\"addr\":\"%s\",\"at_us\":%lld,\"state_name\":\"%s\",\"changed\":",
		addr_text(follow->who, address), (long long)actor_wall_us(self), facts.phase);
	write_bytes(&out, head, strlen(head));
	uint32_t changed = schema_print_changes(
		facts.schema, work->before, facts.state, WATCH_FIELD_MAX, &out);
	write_bytes(&out, "}\n", 2);
	if (out.bad)
		follow->left_out++;
	else if (changed || moved)
		send_event(self, follow, text, writer_used(&out));
	free(text);
	if ((changed || moved) && !remember(work, actor, &facts))
		follow->left_out++;
}

static void look(struct actor *self, struct follow *follow, struct follow_work *work)
{
	int64_t due_us = work->looked_us + WATCH_MS * OFFICE_MS;

	if (!work->ran)
		return;
	if (actor_now_us(self) < due_us) {
		actor_timer_at(self, OFFICE_TIMER_FOLLOW, due_us);
		return;
	}
	work->ran = false;
	work->looked_us = actor_now_us(self);
	tell_changes(self, follow, work);
}

/* Not at once: the answer that says it begins goes another way and must come first. */
static void tell_mail(struct actor *self, const struct follow *follow, struct follow_work *work)
{
	int64_t begins_us = work->looked_us + FIRST_MS * OFFICE_MS;

	if (actor_now_us(self) < begins_us) {
		actor_timer_at(self, OFFICE_TIMER_FOLLOW, begins_us);
		return;
	}
	send_event(self, follow, work->text, work->used);
	work->used = 0;
}

static bool begin_work(struct actor *self, struct follow *follow, struct follow_work *work)
{
	struct actor *actor = runtime_find(actor_runtime(self), follow->who.id);
	struct actor_facts facts;

	if (!actor)
		return false;
	runtime_facts(actor, &facts);
	work->begun = true;
	work->looked_us = actor_now_us(self);
	if (!follow->trace)
		return remember(work, actor, &facts);
	work->text = malloc(TRACE_ROOM);
	return work->text != NULL;
}

/* ---- beginning and end ------------------------------------------------------------------------- */

static void remove_follow(struct actor *self, struct process_office *s, int i)
{
	struct follow follow = s->st.follows[i];
	bool has_more = false, watches_more = false;

	free(s->follows[i].before);
	free(s->follows[i].text);
	s->st.follows[i] = s->st.follows[--s->st.follows_count];
	s->follows[i] = s->follows[s->st.follows_count];
	s->follows[s->st.follows_count] = (struct follow_work){0};
	observe(self, s, follow.who);
	for (int k = 0; k < s->st.follows_count; k++) {
		has_more |= addr_equal(s->st.follows[k].follower, follow.follower);
		watches_more |= addr_equal(s->st.follows[k].who, follow.who);
	}
	if (!has_more)
		actor_unmonitor(self, follow.follower);
	if (!watches_more)
		actor_unmonitor(self, follow.who);
	if (!s->st.follows_count)
		runtime_observe(actor_runtime(self), NULL);
}

static void tell_end(struct actor *self, const struct follow *follow, const char *reason)
{
	char text[160], address[ADDR_TEXT_SIZE];
	int size =
		snprintf(text, sizeof(text), "{\"addr\":\"%s\",\"ended\":true,\"reason\":\"%s\"}",
			addr_text(follow->who, address), reason);

	actor_send(self, follow->follower, console_end,
		{
			.follow = follow->id, .json = {text, (uint32_t)size}
	    });
}

static void start_observing(struct actor *self, const struct process_office *s)
{
	runtime_observe(actor_runtime(self),
		&(struct runtime_observer){.context = self, .mail = mail_seen, .ran = actor_ran});
	for (int i = 0; i < s->st.follows_count; i++)
		observe(self, s, s->st.follows[i].who);
}

static enum err begin(struct query *q, const struct follow *wanted)
{
	struct process_office *s = q->s;
	int i = s->st.follows_count;

	if (!q->follow || addr_is_nobody(q->follower))
		return process_query_fail(
			q, ERR_UNSUPPORTED, "only a console connection can follow an actor");
	if (i == OFFICE_FOLLOWS_MAX)
		return process_query_fail(
			q, ERR_OVERLOAD, "too many actors of this process are followed");
	s->st.follows[i] = *wanted;
	s->st.follows[i].id = q->follow;
	s->st.follows[i].follower = q->follower;
	s->follows[i] = (struct follow_work){0};
	s->st.follows_count++;
	/* one that could not be told of the end of either would stay for ever */
	if (!begin_work(q->self, &s->st.follows[i], &s->follows[i]) ||
		actor_monitor(q->self, wanted->who) || actor_monitor(q->self, q->follower)) {
		remove_follow(q->self, s, i);
		return process_query_fail(q, ERR_NO_MEMORY, "no memory to follow it");
	}
	start_observing(q->self, s);
	q->follows = true;
	return ERR_OK;
}

enum err process_follow_watch(struct query *q)
{
	struct actor_facts facts;
	enum err err = process_query_find(q, &facts);
	struct follow wanted = {.who = facts.addr};

	if (!err)
		err = begin(q, &wanted);
	return err ? err : process_query_inspect(q);
}

/* "ADDR [message …]": names are checked, so that a wrong one does not wait for ever. */
static enum err read_names(struct query *q, const char *names, struct follow *wanted)
{
	char name[64];

	names += strspn(names, " ");
	if (strlen(names) >= sizeof(wanted->messages))
		return process_query_fail(q, ERR_TOO_LARGE, "too many names of messages");
	text_copy(wanted->messages, sizeof(wanted->messages), names);
	while (*names) {
		size_t length = strcspn(names, " ");
		const struct schema *schema;

		snprintf(name, sizeof(name), "%.*s", (int)length, names);
		schema = schema_by_name(name);
		if (length >= sizeof(name) || !schema || schema->use != SCHEMA_MESSAGE)
			return process_query_fail(q, ERR_NOT_FOUND,
				"no such message; `help trace` and Tab show what there is");
		names += length;
		names += strspn(names, " ");
	}
	return ERR_OK;
}

enum err process_follow_trace(struct query *q)
{
	const char *word = q->arguments + strspn(q->arguments, " ");
	size_t length = strcspn(word, " ");
	struct follow wanted = {.trace = true};
	struct actor_facts facts;
	char address[ADDR_TEXT_SIZE];
	const char *names = word + length;
	enum err err;

	snprintf(address, sizeof(address), "%.*s", (int)length, word);
	q->arguments = address;
	err = process_query_find(q, &facts);
	if (!err)
		err = read_names(q, names, &wanted);
	wanted.who = facts.addr;
	if (!err)
		err = begin(q, &wanted);
	if (err)
		return err;
	process_query_put(q, "{\"addr\":\"");
	process_query_put(q, address);
	process_query_put(q, "\",\"type\":\"");
	process_query_put(q, facts.type);
	process_query_put(q, "\",\"messages\":\"");
	process_query_put(q, wanted.messages[0] ? wanted.messages : "all");
	process_query_put(q, "\"}");
	return ERR_OK;
}

void process_follow_end(
	struct actor *self, struct process_office *s, uint64_t id, struct addr follower)
{
	int i = find_follow(s, id, follower);

	if (i >= 0)
		remove_follow(self, s, i);
}

void process_follow_down(struct actor *self, struct process_office *s, const struct msg_down *down)
{
	process_follow_work(self, s); /* what it said last */
	for (int i = s->st.follows_count - 1; i >= 0; i--) {
		struct follow follow = s->st.follows[i];
		bool ended = addr_equal(follow.who, down->who);

		if (!ended && !addr_equal(follow.follower, down->who))
			continue;
		remove_follow(self, s, i);
		if (ended)
			tell_end(self, &follow, err_name((enum err)down->reason));
	}
}

/* In the office's own turn. */
void process_follow_work(struct actor *self, struct process_office *s)
{
	for (int i = s->st.follows_count - 1; i >= 0; i--) {
		struct follow *follow = &s->st.follows[i];
		struct follow_work *work = &s->follows[i];

		if (!work->begun && !begin_work(self, follow, work)) { /* restored, it was not */
			struct follow gone = *follow;

			remove_follow(self, s, i);
			tell_end(self, &gone, err_name(ERR_DEAD));
			continue;
		}
		if (!follow->trace)
			look(self, follow, work);
		else if (work->used)
			tell_mail(self, follow, work);
	}
	if (s->st.follows_count)
		start_observing(self, s);
}

void process_follow_restore(struct actor *self, struct process_office *s)
{
	if (s->st.follows_count) /* the actors themselves may come back later than this one */
		actor_timer_in_ms(self, OFFICE_TIMER_FOLLOW, 1);
}

void process_follow_stop(struct actor *self, struct process_office *s)
{
	for (int i = 0; i < s->st.follows_count; i++) {
		free(s->follows[i].before);
		free(s->follows[i].text);
	}
	if (s->st.follows_count)
		runtime_observe(actor_runtime(self), NULL);
}
