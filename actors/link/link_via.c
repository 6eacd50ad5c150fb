/* SPDX-License-Identifier: Apache-2.0
 *
 * The path of a link that leads through a third node. The end that opened the link chooses the relay while
 * media flows; each end then tells the relay, over the mesh, which of its sessions is to be handed on to
 * whom, and says it again every few seconds (link_relay.c is the other side of that).
 *
 *   opener --link_via_ask--> routes: through whom?      opener --link_go_via--> other end
 *   both ends --link_relay--> link office of the relay --link_relayed: where it listens--> there is a path
 */
#include "actors/link/link_internal.h"
#include "runtime/runtime.h"

enum {
	VIA_ASK_MS = 3000,
	VIA_EACH_US = 5000000,	  /* it is looked for, and announced again, each … */
	VIA_UNUSED_US = 60000000, /* no media for so long: it is not needed */
	VIA_DEAD_US = 10000000,	  /* nothing gets through: another one */
};

static void go_via(struct actor *self, struct media_link *s)
{
	actor_send(self, s->st.peer, link_go_via, {.relay = s->st.via, .worker = s->st.via_worker});
}

static void announce(struct actor *self, struct media_link *s)
{
	struct msg_link_relay relay = {
		.session = s->st.session,
		.peer_session = s->st.peer_session,
		.peer = s->st.node,
		.port = s->facts->port,
	};
	size_t first = strcspn(s->facts->addresses, ",");

	text_copy(relay.address,
		first + 1 < sizeof(relay.address) ? first + 1 : sizeof(relay.address),
		s->facts->addresses);
	s->via_next_us = actor_now_us(self) + VIA_EACH_US;
	s->via_request = actor_request_mail(self,
		actor_office_at_worker(self, OFFICE_LINK, s->st.via, s->st.via_worker), VIA_ASK_MS,
		MSG_link_relay, &schema_link_relay, &relay);
}

static void leave(struct actor *self, struct media_link *s)
{
	if (s->via_request)
		actor_forget_request(self, s->via_request);
	s->via_request = 0;
	s->st.via = 0;
	s->st.via_worker = 0;
	s->via_next_us = actor_now_us(self) + VIA_EACH_US;
	link_ways_remove_relayed(self, s);
}

static void give_up(struct actor *self, struct media_link *s)
{
	leave(self, s);
	if (s->st.opener)
		go_via(self, s);
}

static bool is_dead(const struct media_link *s, int64_t now_us)
{
	unsigned path = link_ways_direct(s);
	const struct link_path *p = &s->engine->paths[path];

	return path < s->path_count && p->state == LINK_PATH_DEAD &&
	       now_us - p->heard_us > VIA_DEAD_US;
}

void link_via_tend(struct actor *self, struct media_link *s)
{
	int64_t now_us = actor_now_us(self);
	bool flows = s->media_us && now_us - s->media_us < VIA_EACH_US;

	if (s->via_request)
		return;
	if (s->st.opener && s->st.via &&
		(is_dead(s, now_us) || now_us - s->media_us > VIA_UNUSED_US)) {
		give_up(self, s);
	} else if (now_us < s->via_next_us) {
		return;
	} else if (s->st.via) {
		announce(self, s);
	} else if (s->st.opener && flows) {
		s->via_next_us = now_us + VIA_EACH_US;
		s->via_request = actor_request(self, actor_office(self, OFFICE_ROUTES), VIA_ASK_MS,
			link_via_ask, {.node = s->st.node});
	}
}

void link_via_found(struct actor *self, struct media_link *s, uint64_t relay, uint64_t request)
{
	if (!request || request != s->via_request || s->st.via)
		return;
	s->via_request = 0;
	if (!relay || relay == s->st.node || relay == actor_addr(self).node)
		return;
	s->st.via = relay;
	s->st.via_worker = runtime_options(actor_runtime(self))->index;
	announce(self, s);
}

enum err link_via_relayed(struct actor *self, struct media_link *s,
	const struct msg_link_relayed *m, uint64_t request)
{
	struct net_addr remote;

	if (!request || request != s->via_request || !s->st.via)
		return ERR_OK;
	s->via_request = 0;
	if (net_addr_parse(m->address, &remote) || !m->port) {
		give_up(self, s);
		return ERR_FORMAT;
	}
	remote.port = m->port;
	remote.transport = NET_UDP;
	link_ways_add_relayed(self, s, s->st.via, &remote);
	if (s->st.opener)
		go_via(self, s);
	return ERR_OK;
}

bool link_via_failed(struct actor *self, struct media_link *s, uint64_t request)
{
	if (!request || request != s->via_request)
		return false;
	s->via_request = 0;
	if (s->st.via && s->st.via_worker) {
		s->st.via_worker = 0; /* there may be fewer workers than here */
		announce(self, s);
	} else if (s->st.via) {
		give_up(self, s);
	}
	return true;
}

/* The opener has chosen; 0 = nobody any more. */
enum err link_via_go(struct actor *self, struct media_link *s, const struct msg_link_go_via *m)
{
	if (s->st.opener || m->relay == actor_addr(self).node || m->relay == s->st.node)
		return ERR_FORBIDDEN;
	if (m->relay == s->st.via && (!m->relay || m->worker == s->st.via_worker))
		return ERR_OK;
	leave(self, s);
	s->st.via = m->relay;
	s->st.via_worker = m->worker;
	if (m->relay)
		announce(self, s);
	return ERR_OK;
}
