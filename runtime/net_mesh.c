/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/net_mesh.h"

#include "runtime/kernel.h"

enum err net_mesh_open(struct actor *self)
{
	const struct runtime_ops *ops = self->rt->options.ops;

	return ops->mesh_open ? ops->mesh_open(self->rt->options.context, self->id)
			      : ERR_UNSUPPORTED;
}

enum err net_mesh_learn(struct actor *self, const struct mesh_hint *hint)
{
	const struct runtime_ops *ops = self->rt->options.ops;

	return ops->mesh_learn ? ops->mesh_learn(self->rt->options.context, hint) : ERR_UNSUPPORTED;
}

enum err net_mesh_revoke(struct actor *self, const uint8_t key[MESH_KEY_SIZE])
{
	const struct runtime_ops *ops = self->rt->options.ops;

	return ops->mesh_revoke ? ops->mesh_revoke(self->rt->options.context, key)
				: ERR_UNSUPPORTED;
}

void net_mesh_forget(struct actor *self, uint64_t node)
{
	const struct runtime_ops *ops = self->rt->options.ops;

	if (ops->mesh_forget)
		ops->mesh_forget(self->rt->options.context, node);
}

/* ---- from the backend ---------------------------------------------------------------------- */

static void tell(struct runtime *rt, uint64_t owner, uint16_t type, const struct schema *schema,
	const void *body)
{
	struct addr to = {.node = rt->options.node, .id = owner};

	kernel_deliver(
		rt, &(struct kernel_letter){
			    .to = to, .from = to, .type = type, .schema = schema, .body = body});
}

void runtime_mesh_node(struct runtime *rt, uint64_t owner, const struct msg_mesh_node *node)
{
	tell(rt, owner, MSG_mesh_node, &schema_mesh_node, node);
}

void runtime_mesh_revoked(
	struct runtime *rt, uint64_t owner, const struct msg_mesh_revoked *revoked)
{
	tell(rt, owner, MSG_mesh_revoked, &schema_mesh_revoked, revoked);
}

void runtime_mesh_self(struct runtime *rt, uint64_t owner, const struct msg_mesh_self *self)
{
	tell(rt, owner, MSG_mesh_self, &schema_mesh_self, self);
}
