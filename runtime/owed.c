/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers that are owed: requests that were handled and not answered yet. Who asked is mostly known to
 * nobody but the actor that keeps it back, in no state. Each such request has an entry in the escrow; a
 * successor fails all of them, so that the asker need not wait for its deadline.
 *
 *   handled, not answered --> owed --answered, passed on--> (gone)
 *                                \--the process dies--> failed by the successor (takeover.c)
 *
 * Nothing is noted without an escrow, nor of types that have askers in their state.
 */
#include "runtime/kernel.h"

#include <stdlib.h>

enum { OWED_MAX = 8192, OWED_SIZE_MAX = 96 };

struct owed {
	uint64_t request;
	int64_t deadline_us;
	uint32_t escrow_entry;
};

void kernel_answered(struct runtime *rt, uint64_t request)
{
	struct owed *owed;

	if (rt->running_mail && rt->running_mail->request == request)
		rt->mail_answered = true;
	owed = rt->owed.count ? idmap_remove(&rt->owed, request) : NULL;
	if (owed)
		kernel_keep_not(rt, &owed->escrow_entry);
	free(owed);
}

/* Nobody waits for these any more. */
static void drop_late(struct runtime *rt)
{
	for (size_t i = 0; i < rt->owed.capacity; i++) {
		struct owed *owed = rt->owed.entries[i].value;

		if (!owed || owed->deadline_us > rt->now_us)
			continue;
		kernel_answered(rt, owed->request);
		i--; /* removal shifts later entries back into this place */
	}
}

/* A mail from another process has its deadline in its envelope; without one nobody waits. */
void kernel_owe(struct actor *actor, const struct mail *mail)
{
	struct runtime *rt = actor->rt;
	struct owed_answer answer = {
		.asker = mail->from, .request = mail->request, .type = mail->type};
	uint8_t bytes[OWED_SIZE_MAX];
	struct writer out = writer_of(bytes, sizeof(bytes));
	struct owed *owed;

	if (!rt->options.escrow || actor->type->keeps_askers || idmap_get(&rt->owed, mail->request))
		return;
	if (rt->owed.count >= OWED_MAX)
		drop_late(rt);
	if (rt->owed.count >= OWED_MAX || schema_encode(&schema_owed_answer, &answer, &out))
		return;
	owed = malloc(sizeof(*owed));
	if (!owed)
		return;
	*owed = (struct owed){.request = mail->request,
		.deadline_us = mail->deadline_us,
		.escrow_entry = kernel_keep_bytes(rt, KEPT_OWED, 0, bytes, writer_used(&out))};
	if (idmap_put(&rt->owed, mail->request, owed)) {
		kernel_keep_not(rt, &owed->escrow_entry);
		free(owed);
	}
}

void kernel_owed_fini(struct runtime *rt)
{
	for (size_t i = 0; i < rt->owed.capacity; i++)
		free(rt->owed.entries[i].value);
	idmap_fini(&rt->owed);
}
