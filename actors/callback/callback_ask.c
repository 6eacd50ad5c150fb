/* SPDX-License-Identifier: Apache-2.0
 *
 * The sessions' side of callbacks.
 */
#include "actors/callback/callback_internal.h"

const char callback_silent_text[] = "the callback server does not answer";

const char *callback_url(const struct config *config, enum callback_action action)
{
	const char *url = "";

	if (!config)
		return NULL;
	switch (action) {
	case CALLBACK_ON_PUBLISH: url = config->callback_on_publish; break;
	case CALLBACK_ON_PLAY: url = config->callback_on_play; break;
	case CALLBACK_ON_UNPUBLISH: url = config->callback_on_unpublish; break;
	case CALLBACK_ON_STOP: url = config->callback_on_stop; break;
	}
	return *url ? url : NULL;
}

uint32_t callback_wait_ms(const struct config *config, bool play)
{
	if (!callback_url(config, callback_begin_action(play)) &&
		!callback_url(config, callback_end_action(play)))
		return 0;
	return (uint32_t)config->callback_timeout_ms;
}

uint64_t callback_ask(struct actor *self, struct msg_callback_ask *ask, struct addr *ticket)
{
	*ticket = (struct addr){0};
	if (callback_url(actor_config(self), callback_end_action(ask->play)))
		*ticket = callback_ticket_keep(self, ask);
	ask->ticket = *ticket;
	return actor_request_mail(self, actor_office(self, OFFICE_CALLBACK),
		callback_wait_ms(actor_config(self), ask->play), MSG_callback_ask,
		&schema_callback_ask, ask);
}

enum err callback_failed(struct actor *self, const struct msg_failed *failed, const char **why)
{
	const struct config *config = actor_config(self);

	*why = failed->text[0] ? failed->text : callback_silent_text;
	if (failed->err == ERR_AUTH || failed->err == ERR_FORBIDDEN)
		return failed->err;
	return config && config->callback_fail == CONFIG_CALLBACK_OPEN ? ERR_OK : ERR_OVERLOAD;
}

void callback_end(struct actor *self, struct addr *ticket)
{
	if (!addr_is_nobody(*ticket))
		actor_send(self, *ticket, callback_over, {});
	*ticket = (struct addr){0};
}

void callback_moved(struct actor *self, struct addr ticket)
{
	if (!addr_is_nobody(ticket))
		actor_send(self, ticket, callback_follow, {});
}
