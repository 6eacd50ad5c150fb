/* SPDX-License-Identifier: Apache-2.0
 *
 * Actors and their sockets: what happens at a socket runs its owner, what an actor does with one goes to
 * the backend below the runtime. Owns nothing.
 */
#include "runtime/kernel.h"

void runtime_net_datagrams(
	struct runtime *rt, uint64_t owner, const struct datagram *datagrams, size_t count)
{
	struct actor *actor = idmap_get(&rt->actors, owner);
	struct actor *outer;

	if (!actor || !actor->type->datagrams || actor->stopping)
		return;
	int64_t since_us = kernel_enter(actor, &outer);

	actor->type->datagrams(actor, actor->data, datagrams, count);
	kernel_leave(actor, outer, since_us);
}

void runtime_net_tcp(struct runtime *rt, uint64_t owner, uint32_t socket, unsigned events)
{
	struct actor *actor = idmap_get(&rt->actors, owner);
	struct actor *outer;

	if (!actor || !actor->type->tcp || actor->stopping)
		return;
	int64_t since_us = kernel_enter(actor, &outer);

	actor->type->tcp(actor, actor->data, socket, events);
	kernel_leave(actor, outer, since_us);
}

void runtime_net_accepted(struct runtime *rt, uint64_t owner, uint32_t listener, uint32_t socket,
	const struct net_addr *peer)
{
	struct actor *actor = idmap_get(&rt->actors, owner);
	struct actor *outer;

	if (!actor || !actor->type->accepted || actor->stopping) {
		rt->options.ops->net_close(rt->options.context, socket);
		return;
	}
	int64_t since_us = kernel_enter(actor, &outer);

	actor->type->accepted(actor, actor->data, listener, socket, peer);
	kernel_leave(actor, outer, since_us);
}

uint32_t net_take(struct actor *self, enum net_given what)
{
	const struct runtime_options *o = &self->rt->options;

	return o->ops->net_take ? o->ops->net_take(o->context, self->id, what) : 0;
}

uint32_t net_open_udp(struct actor *self, uint8_t family)
{
	const struct runtime_options *o = &self->rt->options;

	return o->ops->net_open_udp ? o->ops->net_open_udp(o->context, self->id, family) : 0;
}

uint32_t net_open_beside(
	struct actor *self, const struct net_addr *local, const struct net_addr *peer)
{
	const struct runtime_options *o = &self->rt->options;

	return o->ops->net_open_beside ? o->ops->net_open_beside(o->context, self->id, local, peer)
				       : 0;
}

uint32_t net_connect(struct actor *self, const struct net_addr *to, const struct net_tls *tls)
{
	const struct runtime_options *o = &self->rt->options;

	return o->ops->net_connect ? o->ops->net_connect(o->context, self->id, to, tls) : 0;
}

const char *net_broken_reason(struct actor *self, uint32_t socket)
{
	const struct runtime_options *o = &self->rt->options;

	return o->ops->net_broken_reason ? o->ops->net_broken_reason(o->context, socket) : "";
}

void net_listen_pause(struct actor *self, uint32_t listener, bool paused)
{
	self->rt->options.ops->net_listen_pause(self->rt->options.context, listener, paused);
}

size_t net_send(struct actor *self, uint32_t socket, const struct net_addr *to,
	const struct iovec *packets, size_t count)
{
	return self->rt->options.ops->net_send(
		self->rt->options.context, socket, to, packets, count);
}

size_t net_send_from(struct actor *self, uint32_t socket, const struct net_addr *local,
	const struct net_addr *to, const struct iovec *packets, size_t count)
{
	const struct runtime_options *o = &self->rt->options;

	return local->family && o->ops->net_send_from
		       ? o->ops->net_send_from(o->context, socket, local, to, packets, count)
		       : o->ops->net_send(o->context, socket, to, packets, count);
}

bool net_is_local(struct actor *self, const struct net_addr *addr)
{
	const struct runtime_options *o = &self->rt->options;

	return o->ops->net_is_local && o->ops->net_is_local(o->context, addr);
}

void net_give(struct actor *self, uint32_t socket, struct addr local_actor)
{
	self->rt->options.ops->net_give(self->rt->options.context, socket, local_actor.id);
}

long net_read(struct actor *self, uint32_t socket, void *buffer, size_t size)
{
	return self->rt->options.ops->net_read(self->rt->options.context, socket, buffer, size);
}

long net_write(struct actor *self, uint32_t socket, const struct iovec *parts, size_t count)
{
	return self->rt->options.ops->net_write(self->rt->options.context, socket, parts, count);
}

void net_want(struct actor *self, uint32_t socket, unsigned events)
{
	self->rt->options.ops->net_want(self->rt->options.context, socket, events);
}

void net_close(struct actor *self, uint32_t socket)
{
	self->rt->options.ops->net_close(self->rt->options.context, socket);
}

bool net_claim(struct actor *self, uint32_t socket)
{
	const struct runtime_options *o = &self->rt->options;

	return o->ops->net_claim && o->ops->net_claim(o->context, self->id, socket);
}

bool net_progress(struct actor *self, uint32_t socket, struct net_progress *progress)
{
	const struct runtime_options *o = &self->rt->options;

	return o->ops->net_progress && o->ops->net_progress(o->context, socket, progress);
}

void net_local_addr(struct actor *self, uint32_t socket, struct net_addr *addr)
{
	self->rt->options.ops->net_local_addr(self->rt->options.context, socket, addr);
}
