/* SPDX-License-Identifier: Apache-2.0
 *
 * Which paths a link has: from each address of this node to each of the other's, up to
 * LINK_DIRECT_MAX, and one through a relay (link_via.c). Both ends number them alike.
 */
#include "actors/link/link_internal.h"
#include "runtime/config.h"

_Static_assert((int)LINK_PATHS_MAX == (int)LINK_WAYS_MAX, "each path is shown");
_Static_assert((int)LINK_DIRECT_MAX < (int)LINK_PATHS_MAX, "one is left for the relay");

/* ---- direct ---- */

/* Both ends count their addresses up, so that the first paths share none. When the pairs begin to come
 * again, the end that was asked to open goes one further. */
static void pair_of(bool opener, unsigned path, unsigned locals, unsigned remotes, unsigned *local,
	unsigned *remote)
{
	unsigned a = locals, b = remotes;

	while (b) {
		unsigned rest = a % b;

		a = b;
		b = rest;
	}
	unsigned lap = path / (locals / a * remotes);

	*local = (path + (opener ? 0 : lap)) % locals;
	*remote = (path + (opener ? lap : 0)) % remotes;
}

static void show(struct media_link *s, unsigned path)
{
	char text[NET_ADDR_TEXT_SIZE];
	struct link_way *way = &s->st.ways[path];

	*way = (struct link_way){.rtt_us = -1};
	net_addr_text(&s->remotes[path], way->remote);
	if (s->locals[path].family)
		text_copy(way->local, sizeof(way->local), net_addr_ip_text(&s->locals[path], text));
}

bool link_ways_take(struct media_link *s, const char *addresses, uint16_t port)
{
	const struct link_facts *facts = s->facts;
	struct net_addr found[LINK_ADDRESSES_MAX];
	char one[NET_ADDR_TEXT_SIZE];
	size_t at = 0;
	unsigned count = 0;

	while (count < LINK_ADDRESSES_MAX && config_list_next(addresses, &at, one, sizeof(one))) {
		if (net_addr_parse(one, &found[count]))
			return false;
		found[count].port = port;
		found[count++].transport = NET_UDP;
	}
	if (!count || !port || !facts->address_count)
		return false;
	s->path_count = count * facts->address_count;
	if (s->path_count > LINK_DIRECT_MAX)
		s->path_count = LINK_DIRECT_MAX;
	for (unsigned i = 0; i < s->path_count; i++) {
		unsigned local, remote;

		pair_of(s->st.opener, i, facts->address_count, count, &local, &remote);
		s->locals[i] = facts->locals[local];
		s->remotes[i] = found[remote];
		show(s, i);
	}
	s->st.ways_count = (uint16_t)s->path_count;
	s->st.peer_port = port;
	return true;
}

static bool same_local(const struct media_link *s, unsigned a, unsigned b)
{
	return net_addr_same_ip(&s->locals[a], &s->locals[b]);
}

/* Numbers of its two addresses among those of the paths before it. */
static uint8_t route_of(const struct media_link *s, unsigned path)
{
	unsigned local = 0, remote = 0;

	if (s->st.ways[path].relay)
		return LINK_ROUTE_RELAYED;
	while (!same_local(s, local, path))
		local++;
	while (!net_addr_same_ip(&s->remotes[remote], &s->remotes[path]))
		remote++;
	return link_route(local, remote);
}

void link_ways_begin(struct actor *self, struct media_link *s)
{
	for (unsigned i = 0; i < s->path_count; i++)
		link_engine_add_path(s->engine, i, route_of(s, i), actor_now_us(self));
}

bool link_ways_restore(struct media_link *s)
{
	s->path_count = s->st.ways_count;
	for (unsigned i = 0; i < s->path_count; i++) {
		const struct link_way *way = &s->st.ways[i];

		if (net_addr_parse(way->remote, &s->remotes[i]) || !s->remotes[i].port ||
			(way->local[0] && net_addr_parse(way->local, &s->locals[i])))
			return false;
		s->remotes[i].transport = NET_UDP;
	}
	return s->path_count > 0;
}

/* ---- through a relay: always the last ---- */

unsigned link_ways_direct(const struct media_link *s)
{
	return s->path_count && s->st.ways[s->path_count - 1].relay ? s->path_count - 1
								    : s->path_count;
}

void link_ways_add_relayed(
	struct actor *self, struct media_link *s, uint64_t relay, const struct net_addr *remote)
{
	unsigned path = link_ways_direct(s);
	bool is_new = path == s->path_count;

	s->remotes[path] = *remote;
	s->locals[path] = s->facts->locals[0];
	if (!is_new)
		return;
	s->path_count++;
	s->st.ways_count = (uint16_t)s->path_count;
	show(s, path);
	s->st.ways[path].relay = relay;
	s->bytes_seen[path] = 0;
	s->narrow[path] = (struct link_narrow){0};
	link_engine_add_path(s->engine, path, LINK_ROUTE_RELAYED, actor_now_us(self));
	s->due_us = actor_now_us(self);
	actor_kick(actor_runtime(self), actor_addr(self));
}

void link_ways_remove_relayed(struct actor *self, struct media_link *s)
{
	unsigned path = link_ways_direct(s);

	if (path == s->path_count)
		return;
	link_engine_flush(s->engine);
	link_engine_remove_path(s->engine, path);
	link_view_close_path(self, s, path);
	s->path_count--;
	s->st.ways_count = (uint16_t)s->path_count;
	s->st.ways[path] = (struct link_way){0};
}
