/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: more requests at once than anybody takes. Each of them must end.
 */
#include "runtime/kernel.h"
#include "tests/sim/sim_clients.h"

#include <string.h>

enum { REQUEST_MS = 3000 };

struct flood_state {
	uint64_t open; /* requests */
};

struct sim_flood {
	struct flood_state st;
};

static const struct field flood_fields[] = {
	{.name = "open", .tag = 1, .kind = FIELD_U64, .offset = 0},
};
static const struct schema schema_flood = {
	.name = "sim_flood_state",
	.id = 0xf803,
	.size = sizeof(struct flood_state),
	.fields = flood_fields,
	.field_count = 1,
	.use = SCHEMA_STATE,
};

static enum err flood_init(struct actor *self, void *data, const void *args)
{
	const struct sim_flood_args *flood = args;
	struct sim *sim = sim_of(actor_runtime(self));
	struct sim_flood *s = data;

	for (uint32_t i = 0; i < flood->requests; i++) {
		struct msg_subscribe subscribe = {0};

		memcpy(subscribe.stream_name, "live/nobody", sizeof("live/nobody"));
		actor_request_mail(self, actor_office(self, OFFICE_MEDIA), REQUEST_MS,
			MSG_subscribe, &schema_subscribe, &subscribe);
		sim->requests_sent++;
		s->st.open++;
	}
	return ERR_OK;
}

static enum err flood_restore(struct actor *self, void *data)
{
	struct sim *sim = sim_of(actor_runtime(self));

	if (sim)
		sim->requests_sent += ((struct sim_flood *)data)->st.open;
	return ERR_OK;
}

ON(sim_flood, failed)
{
	if (!mail->request)
		return ERR_OK;
	sim_of(actor_runtime(self))->requests_ended++;
	if (--s->st.open == 0)
		actor_stop(self, ERR_OK);
	return ERR_OK;
}

static void flood_stop(struct actor *self, void *data, enum err reason)
{
	(void)reason;
	sim_of(actor_runtime(self))->requests_ended += ((struct sim_flood *)data)->st.open;
}

static const struct handler flood_handlers[] = {
	HANDLER(sim_flood, failed, 0),
};

const struct actor_type sim_flood = {
	.name = "sim_flood",
	.size = sizeof(struct sim_flood),
	.state = &schema_flood,
	HANDLER_TABLE(flood_handlers),
	.init = flood_init,
	.restore = flood_restore,
	.stop = flood_stop,
};

static const struct actor_type nobody = {.name = "nobody", .state = &schema_flood};

void sim_silence_clients(struct runtime *rt)
{
	for (struct actor *actor = rt->oldest; actor; actor = actor->next)
		if (actor->type == &sim_publisher || actor->type == &sim_viewer ||
			actor->type == &sim_flood)
			actor->type = &nobody;
}
