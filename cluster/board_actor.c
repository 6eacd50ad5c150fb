/* SPDX-License-Identifier: Apache-2.0
 *
 * board: what the node looks like now, for pages that are kept open.
 *
 *   step  (timer) --streams, sessions of every worker--> gathering --last answer, or its deadline--> state
 *         state --differs from the one before--> patch, events --> to all pages that wait
 *
 * One step serves all pages: a worker is asked once a second however many look, and every
 * IDLE_MS while nobody does, so that the list of events has a past. A page asks for what is newer
 * than what it has (board_next) and hears of it once: the patch when it is only one step behind, else
 * the whole state. So there is nothing to queue, and a page that is slow misses what it was too slow
 * for.
 *
 * A worker that does not answer in time stands as it was; one that has died is gone at once.
 */
#include "cluster/board.h"
#include "cluster/cluster.h"
#include "runtime/process.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	MS = 1000,
	STEP_MS = 1000,
	IDLE_MS = 5000,
	ASK_MS = 900,
	PAGES_MAX = 64,	     /* that wait at a time */
	WAIT_MS = 6000,	     /* a page waits no longer */
	WATCHED_MS = 8000,   /* a page that does not wait is sending what it got */
	UPDATE_MAX = 400000, /* msg_board_update.json */
	TIMER_STEP = 0,
};

struct page {
	struct asker asker;
	uint64_t epoch, seen;
	int64_t until_us; /* it has given up then */
};

_Static_assert(BOARD_STATE_MAX + BOARD_EVENTS_MAX * 500 < UPDATE_MAX, "a state fits an update");

/* What every worker is asked; it makes such a list in pieces, and this much of it costs next to
 * nothing. */
enum thing { STREAMS, SESSIONS, THINGS };

static const char *const commands[THINGS] = {"streams limit 200", "sessions limit 200"};

/* A worker, as it answered last. */
struct heard {
	uint32_t process;	  /* incarnation, 0 = free */
	uint64_t request[THINGS]; /* under way */
	json_t *answer[THINGS];
};

struct board {
	struct board_state st;

	struct page *pages;  /* PAGES_MAX; st.waiting of them */
	struct heard *heard; /* RUNTIME_PEERS_MAX */
	json_t *state;	     /* NULL: nothing known yet */
	json_t *events;	     /* the last BOARD_EVENTS_MAX */
	char *patch;	     /* what led to the state, as text; NULL: too long */
	size_t patch_size;
	int64_t watched_us; /* when a page has asked last */
};

/* ---- pages ----------------------------------------------------------------------------------- */

/* {"type":…,"seq":N,"at":MS,KEY:document,"events":[…]}; NULL: too long, or no memory. Takes `events`. */
static char *write_update(struct actor *self, const struct board *s, const char *type,
	json_t *content, json_t *events, size_t *size)
{
	json_t *document = json_pack("{s:s, s:I, s:I, s:O?, s:o?}", "type", type, "seq",
		(json_int_t)s->st.seq, "at", (json_int_t)(actor_wall_us(self) / MS), type, content,
		"events", events);
	char *text = malloc(UPDATE_MAX);

	*size = document && text ? json_dumpb(document, text, UPDATE_MAX, BOARD_JSON) : 0;
	json_decref(document);
	if (*size && *size <= UPDATE_MAX)
		return text;
	free(text);
	return NULL;
}

/* The whole state; without what has happened when it is too long with it. */
static char *write_snapshot(struct actor *self, struct board *s, size_t *size)
{
	char *text = write_update(self, s, "state", s->state, json_incref(s->events), size);

	s->st.snapshots++;
	return text ? text : write_update(self, s, "state", s->state, json_array(), size);
}

static void answer(struct actor *self, const struct board *s, struct asker asker, const char *text,
	size_t size)
{
	if (!text)
		actor_refuse(self, asker, ERR_TOO_LARGE, "there is too much to tell");
	else
		actor_answer(self, asker, board_update,
			{
				.epoch = s->st.epoch,
				.seq = s->st.seq,
				.json = {text, (uint32_t)size}
		      });
}

static void answer_pages(struct actor *self, struct board *s)
{
	char *snapshot = NULL;
	size_t size = 0;

	for (uint32_t i = 0; i < s->st.waiting; i++) {
		const struct page *page = &s->pages[i];

		if (s->patch && page->epoch == s->st.epoch && page->seen + 1 == s->st.seq) {
			s->st.patches++;
			answer(self, s, page->asker, s->patch, s->patch_size);
			continue;
		}
		if (!snapshot)
			snapshot = write_snapshot(self, s, &size);
		answer(self, s, page->asker, snapshot, size);
	}
	s->st.waiting = 0;
	free(snapshot);
}

/* Nothing has changed for so long that they ask again, or they are gone. */
static void drop_late_pages(struct actor *self, struct board *s)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < s->st.waiting; i++)
		if (s->pages[i].until_us > actor_now_us(self))
			s->pages[kept++] = s->pages[i];
	s->st.waiting = kept;
}

static void step(struct actor *self, struct board *s);

ON(board, board_next)
{
	bool idle = actor_now_us(self) - s->watched_us > WATCHED_MS * MS;
	size_t size;
	char *text;

	s->watched_us = actor_now_us(self);
	if (s->state && (m->epoch != s->st.epoch || m->seen != s->st.seq)) {
		text = write_snapshot(self, s, &size);
		answer(self, s, actor_asker(self), text, size);
		free(text);
	} else if (s->st.waiting == PAGES_MAX) {
		s->st.refused++;
		return ERR_OVERLOAD;
	} else {
		s->pages[s->st.waiting++] = (struct page){.asker = actor_asker(self),
			.epoch = m->epoch,
			.seen = m->seen,
			.until_us = actor_now_us(self) + WAIT_MS * MS};
	}
	if (idle) /* what was known may be seconds old */
		step(self, s);
	return ERR_OK;
}

/* ---- a step ---------------------------------------------------------------------------------- */

static void keep_events(struct board *s, json_t *events)
{
	s->st.events += json_array_size(events);
	json_array_extend(s->events, events);
	while (json_array_size(s->events) > BOARD_EVENTS_MAX)
		json_array_remove(s->events, 0);
}

static void take_state(struct actor *self, struct board *s, json_t *state)
{
	int64_t wall_ms = actor_wall_us(self) / MS;
	json_t *patch = board_patch(s->state, state);
	json_t *events = board_events(s->state, state, wall_ms);

	json_decref(s->state);
	s->state = state;
	if (patch) {
		s->st.seq++;
		keep_events(s, events);
		free(s->patch);
		s->patch =
			write_update(self, s, "patch", patch, json_incref(events), &s->patch_size);
		answer_pages(self, s);
	}
	json_decref(patch);
	json_decref(events);
}

/* All that the workers have said of one thing, NULL: not all have answered. */
static json_t *gathered(const struct board *s, enum thing thing)
{
	json_t *answers = json_array();

	for (int i = 0; i < RUNTIME_PEERS_MAX; i++) {
		if (s->heard[i].request[thing]) {
			json_decref(answers);
			return NULL;
		}
		if (s->heard[i].answer[thing])
			json_array_append(answers, s->heard[i].answer[thing]);
	}
	return answers;
}

static void end_step(struct actor *self, struct board *s)
{
	json_t *streams = gathered(s, STREAMS), *sessions = gathered(s, SESSIONS);
	json_t *state = NULL;

	if (streams && sessions)
		state = board_state(actor_runtime(self), streams, sessions, s->state);
	json_decref(streams);
	json_decref(sessions);
	if (state)
		take_state(self, s, state);
}

static struct heard *find_heard(struct board *s, uint32_t process)
{
	for (int i = 0; i < RUNTIME_PEERS_MAX; i++)
		if (s->heard[i].process == process)
			return &s->heard[i];
	return NULL;
}

static void forget(struct heard *heard)
{
	for (int thing = 0; thing < THINGS; thing++)
		json_decref(heard->answer[thing]);
	*heard = (struct heard){0};
}

struct asking {
	struct actor *self;
	struct board *s;
};

static void ask_worker(void *context, const struct runtime_peer_info *info)
{
	struct asking *all = context;
	struct heard *heard = find_heard(all->s, info->process);
	struct addr office = actor_office_in(all->self, OFFICE_PROCESS, info->process);

	if (info->role != PROCESS_MEDIA)
		return;
	if (!heard)
		heard = find_heard(all->s, 0);
	if (!heard)
		return;
	heard->process = info->process;
	for (int thing = 0; thing < THINGS; thing++) {
		const char *command = commands[thing];

		if (heard->request[thing])
			continue;
		heard->request[thing] = actor_request(all->self, office, ASK_MS, console_query,
			{
				.command = {command, (uint32_t)strlen(command)}
		       });
	}
}

static void step(struct actor *self, struct board *s)
{
	struct asking all = {self, s};
	bool watched = actor_now_us(self) - s->watched_us <= WATCHED_MS * MS;

	drop_late_pages(self, s);
	for (int i = 0; i < RUNTIME_PEERS_MAX; i++)
		if (s->heard[i].process &&
			!runtime_peer_known(actor_runtime(self), s->heard[i].process))
			forget(&s->heard[i]);
	runtime_each_peer(actor_runtime(self), ask_worker, &all);
	actor_timer_in_ms(self, TIMER_STEP, watched ? STEP_MS : IDLE_MS);
	end_step(self, s); /* there may be nobody to ask */
}

static void board_timer(struct actor *self, void *data, unsigned timer)
{
	(void)timer;
	step(self, data);
}

/* Whose answer this is, and to which question. */
static struct heard *find_request(struct board *s, uint64_t request, enum thing *thing)
{
	for (int i = 0; request && i < RUNTIME_PEERS_MAX; i++)
		for (*thing = 0; *thing < THINGS; ++*thing)
			if (s->heard[i].request[*thing] == request)
				return &s->heard[i];
	return NULL;
}

ON(board, console_answer)
{
	enum thing thing;
	struct heard *heard = find_request(s, mail->request, &thing);
	json_t *document = NULL;

	if (!heard)
		return ERR_OK;
	heard->request[thing] = 0;
	if (!m->err)
		document = json_loadb(m->json.data, m->json.size, 0, NULL);
	if (document) {
		board_stamp(document, actor_wall_us(self) / MS);
		json_decref(heard->answer[thing]);
		heard->answer[thing] = document;
	}
	end_step(self, s);
	return ERR_OK;
}

ON(board, failed)
{
	enum thing thing;
	struct heard *heard = find_request(s, mail->request, &thing);

	if (!heard)
		return ERR_OK;
	heard->request[thing] = 0;
	if (m->err == ERR_DEAD || m->err == ERR_NOT_FOUND)
		forget(heard);
	end_step(self, s);
	return ERR_OK;
}

/* A worker that dies is seen at once, not at the next step. */
ON(board, peer)
{
	if (m->role == PROCESS_MEDIA)
		actor_timer_in_ms(self, TIMER_STEP, 1);
	return ERR_OK;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void board_stop(struct actor *self, void *data, enum err reason)
{
	struct board *s = data;

	(void)self, (void)reason;
	for (int i = 0; s->heard && i < RUNTIME_PEERS_MAX; i++)
		forget(&s->heard[i]);
	json_decref(s->state);
	json_decref(s->events);
	free(s->heard);
	free(s->pages);
	free(s->patch);
}

static enum err board_init(struct actor *self, void *data, const void *args)
{
	struct board *s = data;

	(void)args;
	actor_set_name(self, "office/board");
	s->pages = calloc(PAGES_MAX, sizeof(*s->pages));
	s->heard = calloc(RUNTIME_PEERS_MAX, sizeof(*s->heard));
	s->events = json_array();
	if (!s->pages || !s->heard || !s->events) {
		board_stop(self, s, ERR_NO_MEMORY);
		return ERR_NO_MEMORY;
	}
	s->st.epoch = actor_random_u64(self) >> 12 | 1;
	s->watched_us = actor_now_us(self) - (WATCHED_MS + 1) * MS;
	actor_watch_peers(self);
	actor_timer_in_ms(self, TIMER_STEP, STEP_MS);
	return ERR_OK;
}

/* What was known is of the process before: it is gathered anew, and pages begin anew with it. */
static enum err board_restore(struct actor *self, void *data)
{
	struct board *s = data;

	s->st.waiting = 0;
	s->st.seq = 0;
	return board_init(self, data, NULL);
}

static const struct handler board_handlers[] = {
	HANDLER(board, board_next, 0),
	HANDLER(board, console_answer, 0),
	HANDLER(board, failed, 0),
	HANDLER(board, peer, 0),
};

const struct actor_type board_actor = {
	.name = "board",
	.size = sizeof(struct board),
	.state = &schema_board_state,
	HANDLER_TABLE(board_handlers),
	.init = board_init,
	.restore = board_restore,
	.stop = board_stop,
	.timer = board_timer,
};
