/* SPDX-License-Identifier: Apache-2.0
 *
 * rtc port: sessions that have moved (decision 18). Their client goes on sending to the port of the
 * worker that it was told of, their *home*.
 *
 *   at home: a row without a ticket leads what still comes there (before the other worker's socket is
 *            connected, from a new address) to the port that the session lives at, so much a second
 *   there:   a socket of the home's address, connected to the client, owned by this port
 */
#include "actors/webrtc/rtc_port_internal.h"
#include "actors/webrtc/session.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

enum { FORWARD_PER_S = 5000 };

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
		usage.used[ARENA_SESSION] >= usage.count[ARENA_SESSION])
		return ERR_OVERLOAD;
	if (net_addr_equal(&home, &s->facts.local))
		return ERR_OK;
	socket = net_open_beside(self, &home, &remote);
	if (!socket)
		return ERR_UNSUPPORTED;
	net_close(self, socket);
	return ERR_OK;
}

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
	actor_monitor(self, session);
}

void rtc_port_sweep_away(struct actor *self, struct rtc_port *s)
{
	struct runtime *rt = actor_runtime(self);

	for (uint32_t row = 1; row <= s->table.sessions_max; row++) {
		struct addr who = {.node = actor_addr(self).node, .id = s->table.rows[row].session};

		if (who.id && !runtime_find(rt, who.id) &&
			actor_process_of(self, who) == actor_own_process(self))
			rtc_port_drop_row(self, s, who.id);
	}
}

struct telling {
	uint32_t process;
};

static void tell_if_there(struct actor *self, void *data, void *context)
{
	const struct telling *telling = context;
	struct session *s = data;

	if (session_is_away(self, s) && s->st.home_process == telling->process)
		session_tell_home(self, s, session_slot(self, s));
}

void rtc_port_tell_home(struct actor *self, struct rtc_port *s, uint32_t home_process)
{
	struct telling telling = {home_process};

	for (uint32_t row = 1; row <= s->table.sessions_max; row++)
		if (s->table.rows[row].session)
			actor_call(actor_runtime(self),
				(struct addr){.node = actor_addr(self).node,
					.id = s->table.rows[row].session},
				&session_actor, tell_if_there, &telling);
}

static void ask_worker(void *context, const struct runtime_peer_info *info)
{
	struct actor *self = context;

	if (info->role == PROCESS_MEDIA)
		actor_send(self, actor_office_in(self, OFFICE_RTC, info->process), rtc_back, {});
}

void rtc_port_ask_back(struct actor *self)
{
	runtime_each_peer(actor_runtime(self), ask_worker, self);
}
