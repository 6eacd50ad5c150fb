/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking over an actor's shoulder: its mail in and out, and that it ran. An actor that nobody
 * observes pays one test of a byte; this code runs only for those that are.
 */
#include "runtime/kernel.h"

void runtime_observe(struct runtime *rt, const struct runtime_observer *observer)
{
	rt->observer = observer ? *observer : (struct runtime_observer){0};
	if (observer)
		return;
	for (struct actor *actor = rt->oldest; actor; actor = actor->next)
		actor->observed = 0;
}

void runtime_observe_actor(struct runtime *rt, uint64_t id, unsigned what)
{
	struct actor *actor = idmap_get(&rt->actors, id);

	if (actor)
		actor->observed = (uint8_t)what;
}

void kernel_observe_in(
	struct actor *actor, const struct mail *mail, const struct schema *schema, const void *body)
{
	const struct runtime_observer *observer = &actor->rt->observer;

	if (observer->mail && actor->observed & OBSERVED_MAIL)
		observer->mail(observer->context, &(struct runtime_seen){
							  .actor = actor_addr(actor),
							  .peer = mail->from,
							  .is_reply = mail->is_reply,
							  .type = mail->type,
							  .request = mail->request,
							  .schema = schema,
							  .message = body,
						  });
}

void kernel_observe_out(struct actor *actor, const struct kernel_letter *letter)
{
	const struct runtime_observer *observer = &actor->rt->observer;

	if (observer->mail && actor->observed & OBSERVED_MAIL)
		observer->mail(observer->context, &(struct runtime_seen){
							  .actor = actor_addr(actor),
							  .peer = letter->to,
							  .out = true,
							  .is_reply = letter->is_reply,
							  .type = letter->type,
							  .request = letter->request,
							  .schema = letter->schema,
							  .message = letter->body,
						  });
}

void kernel_observe_ran(struct actor *actor)
{
	const struct runtime_observer *observer = &actor->rt->observer;

	if (observer->ran && actor->observed & OBSERVED_STATE)
		observer->ran(observer->context, actor_addr(actor));
}
