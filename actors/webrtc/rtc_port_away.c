/* SPDX-License-Identifier: Apache-2.0
 *
 * rtc port: sessions that have moved (decision 18). Their client goes on sending to the port of the
 * worker that it was told of, their *home*.
 *
 *   at home: a row without a ticket leads what still comes there (before the other worker's socket is
 *            connected, from a new address) to the port that the session lives at, so much a second
 *   there:   a socket of the home's address, connected to the client, owned by this port; and before one
 *            comes its stream, subscribed to until enough of it is here for everybody to find his place
 */
#include "actors/webrtc/rtc_port_internal.h"
#include "actors/webrtc/session.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

enum {
	FORWARD_PER_S = 5000,
	WARM_US = 10 * 1000000,	   /* a stream is kept for so long after somebody asked for room */
	WARM_SPAN_US = 300000,	   /* of it that is here: more than any viewer's pace puts off */
	SETTLED_US = 10 * 1000000, /* younger sessions are not asked to go */
};

void rtc_port_forward(
	struct actor *self, struct rtc_port *s, uint64_t session, const struct datagram *d)
{
	struct addr who = {.node = actor_addr(self).node, .id = session};
	uint32_t process = actor_process_of(self, who);
	int64_t second = actor_now_us(self) / 1000000;
	struct msg_rtc_forward forward = {
		.session = session,
		.arrival_us = d->arrival_us,
		.datagram = {(const char *)d->bytes, d->size}
	     };

	if (!process || process == actor_own_process(self) || d->from.transport != NET_UDP)
		return;
	if (second != s->forward_second) {
		s->forward_second = second;
		s->forward_count = 0;
	}
	if (s->forward_count++ >= FORWARD_PER_S) {
		s->st.forward_limited++;
		return;
	}
	s->st.forwarded++;
	net_addr_text(&d->from, forward.remote);
	actor_send_mail(self, actor_office_in(self, OFFICE_RTC, process), MSG_rtc_forward,
		&schema_rtc_forward, &forward);
}

void rtc_port_take_forward(struct actor *self, struct rtc_port *s, const struct msg_rtc_forward *m)
{
	struct datagram datagram = {.bytes = (const uint8_t *)m->datagram.data,
		.size = (uint16_t)m->datagram.size,
		.arrival_us = m->arrival_us};
	const struct datagram *one = &datagram;

	if (!m->datagram.size || net_addr_parse(m->remote, &datagram.from))
		return;
	datagram.from.transport = NET_UDP;
	if (datagram.arrival_us > actor_now_us(self))
		datagram.arrival_us = actor_now_us(self);
	rtc_port_hand_over(self, s, m->session, &one, 1);
}

uint32_t rtc_port_away_socket(struct actor *self, struct rtc_port *s, uint32_t row,
	const struct net_addr *home, const struct net_addr *peer)
{
	if (!row)
		return 0;
	if (s->away[row])
		net_close(self, s->away[row]);
	s->away[row] = net_open_beside(self, home, peer);
	return s->away[row];
}

/* A socket is opened and closed again: whether this process may is not known otherwise. */
enum err rtc_port_has_room(
	struct actor *self, const struct rtc_port *s, const struct msg_rtc_room *m)
{
	struct arena_usage usage;
	struct net_addr home, remote;
	uint32_t socket;

	if (net_addr_parse(m->home, &home) || net_addr_parse(m->remote, &remote))
		return ERR_FORMAT;
	arena_usage(actor_arena(self), &usage);
	if (s->st.draining || s->st.closed || !s->facts.socket ||
		s->table.session_count >= s->table.sessions_max ||
		usage.used[ARENA_SESSION] >= usage.count[ARENA_SESSION] ||
		usage.used[ARENA_LOG] >= usage.count[ARENA_LOG])
		return ERR_OVERLOAD;
	if (net_addr_equal(&home, &s->facts.local))
		return ERR_OK;
	socket = net_open_beside(self, &home, &remote);
	if (!socket)
		return ERR_UNSUPPORTED;
	net_close(self, socket);
	return ERR_OK;
}

/* ---- the stream -------------------------------------------------------------------------------- */

static struct rtc_warm *find_warm(struct rtc_port *s, const char *name)
{
	for (int i = 0; i < s->st.warm_count; i++)
		if (!strcmp(s->st.warm[i].stream_name, name))
			return &s->st.warm[i];
	return NULL;
}

static struct rtc_warm *begin_warm(struct actor *self, struct rtc_port *s, const char *name)
{
	const size_t max = sizeof(s->st.warm) / sizeof(s->st.warm[0]);
	struct msg_subscribe subscribe = {.protocol = "move", .audio = MEDIA_OPUS, .rejoins = true};
	struct rtc_warm *warm;

	if (s->st.warm_count == max)
		return NULL;
	warm = &s->st.warm[s->st.warm_count++];
	*warm = (struct rtc_warm){0};
	text_copy(warm->stream_name, sizeof(warm->stream_name), name);
	text_copy(subscribe.stream_name, sizeof(subscribe.stream_name), name);
	warm->request = actor_request_mail(self, actor_office(self, OFFICE_MEDIA), ACTOR_REQUEST_MS,
		MSG_subscribe, &schema_subscribe, &subscribe);
	return warm;
}

static void end_warm(struct actor *self, struct rtc_port *s, struct rtc_warm *warm)
{
	if (!addr_is_nobody(warm->stream))
		actor_send(self, warm->stream, unsubscribe, {});
	*warm = s->st.warm[--s->st.warm_count];
}

static const struct media_log *log_of(struct actor *self, const struct rtc_warm *warm)
{
	return media_log_get(
		actor_arena(self), (struct slot_ref){warm->log_index, warm->log_generation});
}

static bool has_enough(struct actor *self, const struct rtc_warm *warm)
{
	const struct media_log *log = log_of(self, warm);

	for (uint64_t position = log ? log->first : 0; log && position < log->ready; position++) {
		const struct packet *packet = media_log_packet(actor_arena(self), log, position);

		if (packet)
			return log->newest_us - packet->header.capture_us >= WARM_SPAN_US;
	}
	return false;
}

/* ERR_AGAIN: it is on its way. */
enum err rtc_port_warm(struct actor *self, struct rtc_port *s, const char *name)
{
	struct rtc_warm *warm = find_warm(s, name);

	if (warm && !addr_is_nobody(warm->stream) && !log_of(self, warm)) { /* it has ended */
		end_warm(self, s, warm);
		warm = NULL;
	}
	if (!warm)
		warm = begin_warm(self, s, name);
	if (!warm)
		return ERR_OVERLOAD;
	warm->until_us = actor_now_us(self) + WARM_US;
	return has_enough(self, warm) ? ERR_OK : ERR_AGAIN;
}

void rtc_port_warmed(
	struct actor *self, struct rtc_port *s, uint64_t request, const struct msg_subscribed *m)
{
	for (int i = 0; i < s->st.warm_count; i++) {
		struct rtc_warm *warm = &s->st.warm[i];

		if (warm->request != request)
			continue;
		warm->stream = m->stream;
		warm->log_index = m->log_index;
		warm->log_generation = m->log_generation;
		return;
	}
	actor_send(self, m->stream, unsubscribe, {});
}

void rtc_port_not_warmed(struct actor *self, struct rtc_port *s, uint64_t request)
{
	for (int i = 0; i < s->st.warm_count; i++)
		if (request && s->st.warm[i].request == request &&
			addr_is_nobody(s->st.warm[i].stream)) {
			end_warm(self, s, &s->st.warm[i]);
			return;
		}
}

static void sweep_warm(struct actor *self, struct rtc_port *s)
{
	for (int i = s->st.warm_count; i-- > 0;)
		if (actor_now_us(self) >= s->st.warm[i].until_us)
			end_warm(self, s, &s->st.warm[i]);
}

/* ---- at home ----------------------------------------------------------------------------------- */

static void lead(struct rtc_port *s, uint32_t row, enum rtc_key_kind kind, const char *text)
{
	struct net_addr remote;

	if (kind != RTC_KEY_ADDRESS)
		rtc_table_put(&s->table, row, kind, text, strlen(text));
	else if (!net_addr_parse(text, &remote))
		rtc_table_put(&s->table, row, kind, &remote, sizeof(remote));
}

void rtc_port_take_away(
	struct actor *self, struct rtc_port *s, const struct msg_rtc_away *m, struct addr session)
{
	uint32_t row = rtc_table_row_of(&s->table, session.id);

	if (runtime_find(actor_runtime(self), session.id))
		return; /* it has come back meanwhile */
	if (!row)
		row = rtc_table_add(&s->table, session.id);
	if (!row)
		return;
	lead(s, row, RTC_KEY_UFRAG, m->ufrag);
	lead(s, row, RTC_KEY_UFRAG, m->other_ufrag);
	lead(s, row, RTC_KEY_ADDRESS, m->remote);
	for (int i = 0; i < m->ssrcs_count; i++)
		rtc_table_put(
			&s->table, row, RTC_KEY_SSRC, &m->ssrcs[i].ssrc, sizeof(m->ssrcs[i].ssrc));
	actor_monitor(self, session);
}

void rtc_port_sweep_away(struct actor *self, struct rtc_port *s)
{
	struct runtime *rt = actor_runtime(self);
	uint32_t away = 0;

	sweep_warm(self, s);

	for (uint32_t row = 1; row <= s->table.sessions_max; row++) {
		struct addr who = {.node = actor_addr(self).node, .id = s->table.rows[row].session};

		if (who.id && !runtime_find(rt, who.id) &&
			actor_process_of(self, who) == actor_own_process(self))
			rtc_port_drop_row(self, s, who.id);
		away += s->table.rows[row].session && !runtime_find(rt, who.id);
	}
	s->st.sessions = s->table.session_count - away;
}

static bool may_go(struct actor *self, const struct session *s)
{
	return !s->st.remote_tcp && actor_phase(self) == SESSION_UP &&
	       actor_wall_us(self) - s->st.up_us >= SETTLED_US;
}

static void count_movable(struct actor *self, void *data, void *context)
{
	const struct session *s = data;
	struct msg_movable *movable = context;

	if (may_go(self, s))
		++*(s->st.play ? &movable->viewers : &movable->publishers);
	actor_unchanged(
		self); /* all are asked each time: who was only counted is not written down */
}

void rtc_port_tell_movable(struct actor *self, const struct rtc_port *s)
{
	struct runtime *rt = actor_runtime(self);
	struct addr office = actor_office(self, OFFICE_PROCESS);
	struct msg_movable movable = {0};

	for (uint32_t row = 1; row <= s->table.sessions_max; row++)
		if (s->table.rows[row].session)
			actor_call(rt, rtc_port_session(self, s->table.rows[row].session),
				&session_actor, count_movable, &movable);
	if (runtime_find(rt, office.id))
		actor_send_mail(self, office, MSG_movable, &schema_movable, &movable);
}

struct shedding {
	uint32_t worker, left;
	bool publishers;
};

/* Who was asked a moment ago refuses; who cannot says so to nobody. Publishers go when all have to. */
static void ask_to_go(struct actor *self, void *data, void *context)
{
	const struct session *s = data;
	struct shedding *shedding = context;

	if ((!s->st.play && !shedding->publishers) || !may_go(self, s))
		return;
	actor_send(self, actor_addr(self), session_move, {.worker = shedding->worker});
	shedding->left--;
}

/* Each time others begin: one that cannot go is not asked for ever. */
void rtc_port_shed(struct actor *self, struct rtc_port *s, const struct msg_shed *m)
{
	struct shedding shedding = {
		.worker = m->worker, .left = m->count, .publishers = s->st.closed};
	uint32_t rows = s->table.sessions_max;

	for (uint32_t i = 0; i < rows && shedding.left; i++) {
		uint32_t row = 1 + s->shed_row++ % rows;
		struct addr who = {.node = actor_addr(self).node, .id = s->table.rows[row].session};

		if (who.id)
			actor_call(actor_runtime(self), who, &session_actor, ask_to_go, &shedding);
	}
}

struct telling {
	const char *home;
	uint32_t process;
};

/* (A worker whose line has ended is another process, at the same port.) */
static void tell_if_there(struct actor *self, void *data, void *context)
{
	const struct telling *telling = context;
	struct session *s = data;

	if (!session_is_away(self, s) || strcmp(s->st.home, telling->home) != 0)
		return;
	s->st.home_process = telling->process;
	session_tell_home(self, s, session_slot(self, s));
}

void rtc_port_tell_home(
	struct actor *self, struct rtc_port *s, const char *home, uint32_t home_process)
{
	struct telling telling = {home, home_process};

	for (uint32_t row = 1; row <= s->table.sessions_max; row++)
		if (s->table.rows[row].session)
			actor_call(actor_runtime(self),
				(struct addr){.node = actor_addr(self).node,
					.id = s->table.rows[row].session},
				&session_actor, tell_if_there, &telling);
}

void rtc_port_ask_back_from(struct actor *self, const struct rtc_port *s, uint32_t process)
{
	struct msg_rtc_back back = {0};
	char text[NET_ADDR_TEXT_SIZE];

	text_copy(back.home, sizeof(back.home), net_addr_text(&s->facts.local, text));
	actor_send_mail(self, actor_office_in(self, OFFICE_RTC, process), MSG_rtc_back,
		&schema_rtc_back, &back);
}

static void ask_worker(void *context, const struct runtime_peer_info *info)
{
	struct actor *self = context;

	if (info->role == PROCESS_MEDIA)
		rtc_port_ask_back_from(self, actor_data(self), info->process);
}

void rtc_port_ask_back(struct actor *self)
{
	runtime_each_peer(actor_runtime(self), ask_worker, self);
}
