/* SPDX-License-Identifier: Apache-2.0
 *
 * store_etcd: the copy of what etcd has below the cluster's prefix, kept up to date by one watch.
 *
 *   rest --timer--> authenticate --> read (page after page) --> open --> watch --broken--> read …
 *    ^                   '-----------------'--- no answer ---'---'
 *    '-- every endpoint was tried: down, tried again every RETRY_MS
 *
 * Whenever the watch has been interrupted everything is read again: the data may be older than what we
 * have seen (a backup, an empty disk), or history forgotten (compaction), and no number tells all of
 * these cases from a harmless one. What differs from the copy is told as if it had been watched. The
 * pages are of one revision, the watch begins with the next: nothing is missed between them.
 */
#include "cluster/store_etcd_internal.h"
#include "runtime/config.h"
#include "runtime/net_http.h"

#include <stdlib.h>

enum {
	RETRY_MS = 500,
	STEP_MS = 1000, /* to the answer at one endpoint: then it is asked at the next */
	WATCH_IDLE_MS = 11 * 60000, /* etcd says every 10 min that nothing has happened */
	SAY_AGAIN_US = 5000000,
	TEXT_FIRST = 4096, /* bytes; doubles */
};

/* Of one handler's run, for the callbacks of the engine. */
struct change {
	struct actor *self;
	struct store_etcd *s;
};

/* ---- the copy ---------------------------------------------------------------------------------- */

static void put_pair(struct actor *self, struct store_etcd *s, const struct store_pair *pair)
{
	struct store_pair *known = store_table_find(&s->table, pair->key);

	if (!known)
		known = store_table_add(&s->table, pair->key);
	if (!known) {
		s->skipped++;
		return;
	}
	*known = *pair;
	store_feed_tell(self, &s->feed,
		&(const struct msg_store_event){.revision = pair->modified, .pair = *pair});
}

static void remove_pair(
	struct actor *self, struct store_etcd *s, struct store_pair *pair, uint64_t revision)
{
	struct msg_store_event event = {.deleted = true, .revision = revision, .pair = *pair};

	store_table_remove(&s->table, pair);
	store_feed_tell(self, &s->feed, &event);
}

static void take_change(void *context, const struct msg_store_event *event)
{
	const struct change *change = context;
	struct store_etcd *s = change->s;
	struct store_pair *known = store_table_find(&s->table, event->pair.key);

	s->st.events++;
	if (event->revision > s->st.revision)
		s->st.revision = event->revision;
	if (!event->deleted)
		put_pair(change->self, s, &event->pair);
	else if (known)
		remove_pair(change->self, s, known, event->revision);
}

static bool same_pair(const struct store_pair *a, const struct store_pair *b)
{
	return a->created == b->created && a->modified == b->modified && a->lease == b->lease &&
	       a->value.size == b->value.size &&
	       !memcmp(a->value.data, b->value.data, a->value.size);
}

static void compare_pair(void *context, const struct store_pair *pair)
{
	const struct change *change = context;
	struct store_etcd *s = change->s;
	const struct store_pair *known = store_table_find(&s->table, pair->key);

	if (s->keys_only) {
		s->skipped++;
		return;
	}
	if (!known || !same_pair(known, pair)) {
		s->st.differences++;
		put_pair(change->self, s, pair);
		known = store_table_find(&s->table, pair->key);
	}
	if (known)
		s->seen[known - s->st.pairs] = true;
}

static void remove_unseen(struct actor *self, struct store_etcd *s)
{
	for (size_t i = s->st.pairs_count; i-- > 0;) {
		if (s->seen[i])
			continue;
		s->st.differences++;
		remove_pair(self, s, &s->st.pairs[i], s->read_revision);
		s->seen[i] = s->seen[s->st.pairs_count]; /* the last one has come here */
	}
}

/* ---- whether anybody answers ------------------------------------------------------------------- */

static void let_go(struct actor *self, struct store_etcd *s)
{
	if (s->request)
		net_http_cancel(self, s->request);
	if (s->stream)
		net_http_cancel(self, s->stream);
	s->request = s->stream = 0;
	s->text_size = 0;
	s->step = ETCD_STEP_REST;
}

static void go_down(struct actor *self, struct store_etcd *s, const char *why)
{
	/* once, and again when it is for another reason */
	if (!s->why[0] || (strcmp(s->why, why) && actor_now_us(self) - s->said_us > SAY_AGAIN_US)) {
		log_warn(actor_log(self), "store_down", "etcd", actor_config(self)->coord, "why",
			why);
		text_copy(s->why, sizeof(s->why), why);
		s->said_us = actor_now_us(self);
	}
	if (!s->st.up)
		return;
	s->st.up = false;
	s->st.outages++;
	store_etcd_fail_calls(self, s);
	store_etcd_announce(self, s);
	store_etcd_count(self, s);
}

static void go_up(struct actor *self, struct store_etcd *s)
{
	bool was = s->st.up;

	s->failures = 0;
	s->st.up = true;
	store_etcd_release(self, s);
	store_etcd_fly(self, s);
	if (was)
		return;
	s->why[0] = 0;
	log_info(actor_log(self), "store_up", "endpoint", s->st.endpoint, "revision",
		s->st.revision, "pairs", s->st.pairs_count);
	store_etcd_announce(self, s);
}

static void use_endpoint(struct actor *self, struct store_etcd *s)
{
	const char *list = actor_config(self)->coord + sizeof("etcd://") - 1;
	size_t at = 0;

	for (int i = 0; i <= s->endpoint; i++)
		if (!config_list_next(list, &at, s->st.endpoint, sizeof(s->st.endpoint)))
			break;
}

void store_etcd_give_up(struct actor *self, struct store_etcd *s, const char *why)
{
	let_go(self, s);
	log_debug(actor_log(self), "store_endpoint_failed", "endpoint", s->st.endpoint, "why", why);
	s->endpoint = (uint8_t)((s->endpoint + 1) % s->endpoint_count);
	use_endpoint(self, s);
	if (++s->failures < s->endpoint_count) {
		actor_timer_in_ms(self, STORE_ETCD_TIMER_SYNC, 0);
		return;
	}
	s->failures = 0;
	actor_timer_in_ms(self, STORE_ETCD_TIMER_SYNC, RETRY_MS);
	go_down(self, s, why);
}

/* ---- reading ----------------------------------------------------------------------------------- */

static void ask(struct actor *self, struct store_etcd *s, const char *path,
	const struct writer *body, bool stream)
{
	MUST(!body->bad);
	s->request = store_etcd_post(self, s, path,
		(struct slice){(const char *)body->begin, (uint32_t)writer_used(body)},
		actor_now_us(self) + (int64_t)STEP_MS * 1000, stream);
}

static void read_page(struct actor *self, struct store_etcd *s)
{
	char body[ETCD_REQUEST_MAX];
	struct writer out = writer_of(body, sizeof(body));

	s->step = ETCD_STEP_READ;
	etcd_write_range(&out, s->prefix, s->after, s->read_revision, s->page, s->keys_only);
	ask(self, s, ETCD_PATH_RANGE, &out, false);
}

static void read_everything(struct actor *self, struct store_etcd *s)
{
	s->st.reads++;
	s->read_revision = 0;
	s->page = ETCD_PAGE;
	s->keys_only = false;
	s->after[0] = 0;
	s->skipped = 0;
	memset(s->seen, 0, STORE_PAIRS_MAX * sizeof(*s->seen));
	read_page(self, s);
}

static void authenticate(struct actor *self, struct store_etcd *s)
{
	const struct config *config = actor_config(self);
	char body[ETCD_REQUEST_MAX];
	struct writer out = writer_of(body, sizeof(body));
	enum err err = etcd_write_authenticate(&out, config->etcd_user, config->etcd_password);

	s->step = ETCD_STEP_AUTHENTICATE;
	if (err)
		store_etcd_give_up(self, s, "etcd.user and etcd.password cannot be sent as JSON");
	else
		ask(self, s, ETCD_PATH_AUTHENTICATE, &out, false);
	explicit_bzero(body, sizeof(body));
}

void store_etcd_sync(struct actor *self, struct store_etcd *s)
{
	let_go(self, s);
	actor_timer_off(self, STORE_ETCD_TIMER_SYNC);
	if (!s->st.endpoint[0])
		use_endpoint(self, s);
	if (actor_config(self)->etcd_user[0] && !s->token[0])
		authenticate(self, s);
	else
		read_everything(self, s);
}

void store_etcd_renew_token(struct actor *self, struct store_etcd *s)
{
	s->token[0] = 0;
	if (s->step != ETCD_STEP_AUTHENTICATE)
		store_etcd_sync(self, s);
}

static void open_watch(struct actor *self, struct store_etcd *s)
{
	char body[ETCD_REQUEST_MAX];
	struct writer out = writer_of(body, sizeof(body));

	s->step = ETCD_STEP_OPEN;
	etcd_write_watch(&out, s->prefix, s->st.revision + 1);
	ask(self, s, ETCD_PATH_WATCH, &out, true);
}

/* The copy is what etcd had at read_revision. */
static void end_reading(struct actor *self, struct store_etcd *s)
{
	remove_unseen(self, s);
	s->st.revision = s->read_revision;
	store_feed_skip(&s->feed, s->st.revision);
	if (s->skipped && s->skipped != s->st.skipped)
		log_warn(actor_log(self), "store_pairs_skipped", "pairs", s->skipped);
	s->st.skipped = s->skipped;
	open_watch(self, s);
}

static void take_page(struct actor *self, struct store_etcd *s, const struct msg_http_response *m)
{
	struct change change = {self, s};
	struct etcd_answer answer;
	enum err err;

	store_feed_renew(&s->feed, s->st.revision);
	err = etcd_read_range(
		m->body.data, m->body.size, s->prefix, &answer, compare_pair, &change);

	if (err) {
		store_etcd_give_up(self, s, err_text(err));
		return;
	}
	if (!s->read_revision) {
		s->read_revision = answer.revision;
		s->st.cluster = answer.cluster;
	}
	s->skipped += answer.skipped;
	if (s->keys_only)
		s->page = ETCD_PAGE;
	s->keys_only = false;
	if (!answer.more || !answer.last[0] || strcmp(answer.last, s->after) <= 0) {
		end_reading(self, s);
		return;
	}
	memcpy(s->after, answer.last, sizeof(s->after));
	read_page(self, s);
}

/* A page is larger than an answer may be: smaller ones, down to the pair that is it, which is left out. */
static void take_less(struct actor *self, struct store_etcd *s)
{
	s->keys_only = s->page == 1;
	if (s->page > 1)
		s->page /= 4;
	read_page(self, s);
}

/* ---- watching ---------------------------------------------------------------------------------- */

static void take_line(struct actor *self, struct store_etcd *s, const char *line, size_t size)
{
	struct change change = {self, s};
	struct etcd_answer answer;
	enum err err = etcd_read_watch(line, size, s->prefix, &answer, take_change, &change);

	if (err || answer.canceled) { /* compacted, or its member has no leader: read again */
		log_info(actor_log(self), "store_watch_ended", "compacted", answer.compacted,
			"error", err_name(err));
		store_etcd_sync(self, s);
		return;
	}
	s->st.skipped += answer.skipped;
	if (answer.created)
		go_up(self, s);
	store_etcd_release(self, s);
}

static bool make_room(struct store_etcd *s, size_t size)
{
	size_t capacity = s->text_capacity ? s->text_capacity : TEXT_FIRST;
	char *text;

	if (size > ETCD_ANSWER_MAX)
		return false;
	while (capacity < size)
		capacity *= 2;
	if (capacity == s->text_capacity)
		return true;
	text = realloc(s->text, capacity);
	if (!text)
		return false;
	s->text = text;
	s->text_capacity = capacity;
	return true;
}

static void read_on(struct actor *self, struct store_etcd *s)
{
	s->request = net_http_read(self, s->stream, WATCH_IDLE_MS);
}

void store_etcd_sync_piece(struct actor *self, struct store_etcd *s, const struct msg_http_piece *m)
{
	uint64_t stream = s->stream;
	size_t from = 0;

	if (m->end || !make_room(s, s->text_size + m->bytes.size)) {
		store_etcd_sync(self, s);
		return;
	}
	memcpy(s->text + s->text_size, m->bytes.data, m->bytes.size);
	s->text_size += m->bytes.size;
	for (;;) {
		char *end = memchr(s->text + from, '\n', s->text_size - from);

		if (!end)
			break;
		take_line(self, s, s->text + from, (size_t)(end - s->text) - from);
		if (s->stream != stream)
			return; /* another has been begun */
		from = (size_t)(end - s->text) + 1;
	}
	memmove(s->text, s->text + from, s->text_size - from);
	s->text_size -= from;
	read_on(self, s);
}

/* ---- answers ----------------------------------------------------------------------------------- */

static void take_token(struct actor *self, struct store_etcd *s, const struct msg_http_response *m)
{
	struct etcd_answer answer;

	if (etcd_read(m->body.data, m->body.size, &answer) || !answer.token[0]) {
		store_etcd_give_up(self, s, "no token came");
		return;
	}
	memcpy(s->token, answer.token, sizeof(s->token));
	explicit_bzero(answer.token, sizeof(answer.token));
	read_everything(self, s);
}

static void take_refusal(
	struct actor *self, struct store_etcd *s, const struct msg_http_response *m)
{
	char text[ETCD_TEXT_SIZE];
	enum err err = etcd_read_error(m->status, m->body.data, m->body.size, text);

	if (err == ERR_REPLAY && s->step == ETCD_STEP_READ && s->read_revision)
		read_everything(self, s); /* compacted while it was read */
	else if (err == ERR_AUTH && s->token[0])
		store_etcd_renew_token(self, s);
	else
		store_etcd_give_up(self, s, text);
}

void store_etcd_sync_response(
	struct actor *self, struct store_etcd *s, const struct msg_http_response *m)
{
	s->stream = m->stream;
	if (m->status != 200) {
		take_refusal(self, s, m);
		return;
	}
	switch (s->step) {
	case ETCD_STEP_AUTHENTICATE: take_token(self, s, m); break;
	case ETCD_STEP_READ: take_page(self, s, m); break;
	case ETCD_STEP_OPEN:
		s->step = ETCD_STEP_WATCH;
		read_on(self, s);
		break;
	case ETCD_STEP_REST:
	case ETCD_STEP_WATCH: break; /* nothing of theirs is answered so */
	}
}

void store_etcd_sync_failed(struct actor *self, struct store_etcd *s, const struct msg_failed *m)
{
	if (s->step == ETCD_STEP_READ && m->err == ERR_TOO_LARGE && !s->keys_only)
		take_less(self, s);
	else if (s->step == ETCD_STEP_WATCH)
		store_etcd_sync(
			self, s); /* it has answered: perhaps only this connection has ended */
	else
		store_etcd_give_up(self, s, m->text[0] ? m->text : err_text((enum err)m->err));
}
