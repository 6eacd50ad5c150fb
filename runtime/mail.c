/* SPDX-License-Identifier: Apache-2.0
 *
 * Mail: routing, mailboxes, requests and their answers, bounces.
 *
 * A letter is a message on its way, borrowed from its sender. Delivered here it is cloned once into
 * a mailbox node; bound for another process it is encoded once (bus.c). Whatever cannot be
 * delivered comes back as `failed`, except answers, `failed` and `down` themselves.
 */
#include "runtime/kernel.h"
#include "runtime/process.h"

#include <stdlib.h>

static const size_t class_size[MAIL_SIZE_CLASSES] = {128, 512, 2048, 16384};

/* ---- nodes ------------------------------------------------------------------------------------ */

static struct mail_node *new_node(struct runtime *rt, size_t body_size)
{
	struct mail_node *node;
	uint8_t class = 0;

	while (class < MAIL_SIZE_CLASSES && class_size[class] < body_size)
		class ++;
	if (class < MAIL_SIZE_CLASSES && rt->pool[class]) {
		node = rt->pool[class];
		rt->pool[class] = node->next;
		rt->pooled[class]--;
	} else {
		size_t size = class < MAIL_SIZE_CLASSES ? class_size[class] : body_size;

		node = malloc(sizeof(*node) + size);
		if (!node)
			return NULL;
		node->size_class = class;
	}
	node->next = NULL;
	return node;
}

void kernel_free_node(struct runtime *rt, struct mail_node *node)
{
	uint8_t class = node->size_class;

	if (class == MAIL_SIZE_CLASSES || rt->pooled[class] >= MAIL_POOL_MAX) {
		free(node);
		return;
	}
	node->next = rt->pool[class];
	rt->pool[class] = node;
	rt->pooled[class]++;
}

void kernel_pools_fini(struct runtime *rt)
{
	for (int class = 0; class < MAIL_SIZE_CLASSES; class ++) {
		while (rt->pool[class]) {
			struct mail_node *node = rt->pool[class];

			rt->pool[class] = node->next;
			free(node);
		}
	}
}

/* ---- requests ---------------------------------------------------------------------------------- */

static void put_in_mailbox(struct actor *actor, const struct kernel_letter *letter);

static void deliver_failure(struct runtime *rt, const struct pending *pending, enum err err)
{
	struct msg_failed failed = {.err = (uint8_t)err, .type = pending->type, .to = pending->to};
	struct actor *actor = idmap_get(&rt->actors, pending->actor);

	/* straight into the mailbox: the request is closed, nothing else could answer it */
	if (actor && !actor->stopping)
		put_in_mailbox(actor, &(struct kernel_letter){
					      .to = actor_addr(actor),
					      .from = pending->to,
					      .type = MSG_failed,
					      .is_reply = true,
					      .request = pending->request,
					      .schema = &schema_failed,
					      .body = &failed,
				      });
}

static void end_request(struct runtime *rt, uint64_t request, enum err err)
{
	struct pending *pending = idmap_remove(&rt->pending, request);

	if (!pending)
		return;
	kernel_asked_changed(rt, pending->actor);
	if ((pending->type == MSG_http_response || pending->type == MSG_http_piece) &&
		rt->options.ops->http_cancel)
		rt->options.ops->http_cancel(rt->options.context, pending->actor, request);
	if (err)
		deliver_failure(rt, pending, err);
	free(pending);
}

void kernel_request_due(struct runtime *rt, uint64_t request)
{
	if (idmap_get(&rt->pending, request))
		rt->counters.requests_timed_out++;
	end_request(rt, request, ERR_TIMEOUT);
}

/* Calls end_request for every request that matches; `err` ERR_OK = silently. */
static void end_requests(struct runtime *rt, uint32_t process, uint64_t actor, enum err err)
{
	for (size_t i = 0; i < rt->pending.capacity; i++) {
		struct pending *pending = rt->pending.entries[i].value;

		if (!pending || (process && pending->process != process) ||
			(actor && pending->actor != actor))
			continue;
		end_request(rt, pending->request, err);
		i--; /* removal shifts later entries back into this place */
	}
}

void kernel_fail_requests_to(struct runtime *rt, uint32_t process)
{
	end_requests(rt, process, 0, ERR_DEAD);
}

static bool is_of_process(const struct pending *pending, const struct msg_node_gone *gone)
{
	if (!gone->block)
		return true;
	return kernel_is_alias(pending->to)
		       ? gone->worker && pending->to.id / OFFICE_SERIALS == gone->worker
		       : pending->to.id >> RUNTIME_BLOCK_SHIFT == gone->block;
}

void kernel_fail_requests_to_node(struct runtime *rt, const struct msg_node_gone *gone)
{
	for (size_t i = 0; i < rt->pending.capacity; i++) {
		struct pending *pending = rt->pending.entries[i].value;

		if (pending && pending->to.node == gone->node && is_of_process(pending, gone)) {
			end_request(rt, pending->request, ERR_DEAD);
			i--; /* removal shifts later entries back into this place */
		}
	}
}

/* Those that the dead process itself was to answer; those to actors and processes that are no more. */
static bool is_lost(struct runtime *rt, const struct pending *pending)
{
	if (pending->process == rt->options.process)
		return !idmap_get(&rt->actors, pending->to.id) &&
		       !kernel_moved_to(rt, pending->to.id);
	return !pending->process || !kernel_peer(rt, pending->process);
}

void kernel_fail_lost_requests(struct runtime *rt)
{
	for (size_t i = 0; i < rt->pending.capacity; i++) {
		struct pending *pending = rt->pending.entries[i].value;

		if (pending && is_lost(rt, pending)) {
			end_request(rt, pending->request, ERR_DEAD);
			i--; /* removal shifts later entries back into this place */
		}
	}
}

void kernel_forget_requests_of(struct runtime *rt, uint64_t actor)
{
	end_requests(rt, 0, actor, ERR_OK);
	if (rt->options.ops->http_cancel)
		rt->options.ops->http_cancel(rt->options.context, actor, 0);
}

void actor_forget_request(struct actor *self, uint64_t request)
{
	struct pending *pending = idmap_get(&self->rt->pending, request);

	if (pending && pending->actor == self->id)
		end_request(self->rt, request, ERR_OK);
}

/* ---- bounces ----------------------------------------------------------------------------------- */

void kernel_bounce(struct runtime *rt, struct addr to, struct addr from, uint16_t type,
	uint64_t request, bool is_reply, enum err err)
{
	struct msg_failed failed = {.err = (uint8_t)err, .type = type, .to = to};

	if (is_reply || type == MSG_failed || type == MSG_down || type == MSG_moved ||
		type == MSG_arrive || addr_is_nobody(from))
		return;
	/* our gateway has died with it, or there is none: the next one is asked for all watches anew */
	if (type == MSG_monitor && err == ERR_DEAD && !kernel_is_ours(rt, to) &&
		!kernel_is_gateway(rt))
		return;
	rt->counters.bounced++;
	kernel_route(rt, &(struct kernel_letter){
				 .to = from,
				 .from = to,
				 .type = MSG_failed,
				 .is_reply = request != 0,
				 .request = request,
				 .schema = &schema_failed,
				 .body = &failed,
			 });
}

static void bounce_letter(struct runtime *rt, const struct kernel_letter *letter, enum err err)
{
	kernel_bounce(
		rt, letter->to, letter->from, letter->type, letter->request, letter->is_reply, err);
}

/* ---- delivery ---------------------------------------------------------------------------------- */

static uint32_t mailbox_max(const struct actor *actor)
{
	uint32_t max = actor->type->mailbox_max ? actor->type->mailbox_max : ACTOR_MAILBOX_DEFAULT;
	uint32_t most = actor->rt->options.mailbox_max;

	return most && most < max ? most : max;
}

static void sound_alarm(struct actor *actor)
{
	if (actor->mail_count < actor->mail_alarm)
		return;
	log_warn(actor->rt->options.log, "mailbox_grows", "type", actor->type->name, "actor",
		actor->name, "waiting", actor->mail_count);
	actor->mail_alarm *= 2;
}

static void put_in_mailbox(struct actor *actor, const struct kernel_letter *letter)
{
	struct runtime *rt = actor->rt;
	size_t size = schema_clone_size(letter->schema, letter->body);
	struct mail_node *node = new_node(rt, size);

	if (!node) {
		/* who cannot be told of an answer or a death would wait for it for ever */
		if (letter->is_reply || letter->type == MSG_failed || letter->type == MSG_down)
			actor_stop(actor, ERR_NO_MEMORY);
		else
			bounce_letter(rt, letter, ERR_NO_MEMORY);
		return;
	}
	node->schema = letter->schema;
	node->mail = (struct mail){
		.from = letter->from,
		.request = letter->request,
		.is_reply = letter->is_reply,
		.type = letter->type,
		.deadline_us = letter->deadline_us,
	};
	schema_clone(letter->schema, letter->body, node->body, size);
	*(actor->mail_last ? &actor->mail_last->next : &actor->mail_first) = node;
	actor->mail_last = node;
	actor->mail_count++;
	kernel_changed(actor);
	sound_alarm(actor);
	kernel_make_ready(actor);
}

enum err kernel_mail_again(
	struct actor *actor, const struct mail *mail, const struct schema *schema, const void *body)
{
	uint32_t before = actor->mail_count;

	put_in_mailbox(actor, &(struct kernel_letter){
				      .to = actor_addr(actor),
				      .from = mail->from,
				      .type = mail->type,
				      .is_reply = mail->is_reply,
				      .request = mail->request,
				      .deadline_us = mail->deadline_us,
				      .schema = schema,
				      .body = body,
			      });
	return actor->mail_count > before ? ERR_OK : ERR_NO_MEMORY;
}

/* monitor and stop are the kernel's own, and the death that a link follows; true when the letter
 * was one. */
static bool deliver_to_kernel(struct actor *actor, const struct kernel_letter *letter)
{
	if (letter->type == MSG_monitor) {
		const struct msg_monitor *monitor = letter->body;
		struct watch_entry removed;

		kernel_record_changed(actor);
		if (monitor->off)
			kernel_watch_remove(&actor->watchers, letter->from, &removed);
		else if (kernel_watch_put(&actor->watchers, letter->from, false))
			bounce_letter(actor->rt, letter, ERR_NO_MEMORY);
		return true;
	}
	if (letter->type == MSG_stop) {
		const struct msg_stop *stop = letter->body;

		actor_stop(actor, stop->reason);
		return true;
	}
	if (letter->type == MSG_failed && !letter->is_reply) {
		const struct msg_failed *failed = letter->body;

		/* a watch that could not be begun is over */
		if (failed->type != MSG_monitor || !kernel_watches(actor, failed->to))
			return false;
		kernel_tell_down(actor->rt, failed->to, "", failed->err, letter->to);
		return true;
	}
	if (letter->type == MSG_down) {
		const struct msg_down *down = letter->body;
		bool follows = kernel_follows_into_death(actor, down);

		kernel_record_changed(actor);
		if (follows)
			actor_stop(actor, down->reason);
		return follows;
	}
	return false;
}

static void deliver_to_nobody(struct runtime *rt, const struct kernel_letter *letter)
{
	if (letter->type == MSG_monitor) {
		const struct msg_monitor *monitor = letter->body;
		struct msg_down down = {.who = letter->to, .reason = ERR_DEAD};

		if (monitor->off)
			return;

		kernel_route(rt, &(struct kernel_letter){.to = letter->from,
					 .from = letter->to,
					 .type = MSG_down,
					 .schema = &schema_down,
					 .body = &down});
		return;
	}
	bounce_letter(rt, letter, ERR_DEAD);
}

/* An answer counts only while its request is open; it closes it. One from another node counts when that
 * node was asked, or somebody of this one who may have passed it on: to whom, nobody else knows, but the
 * number of the request is known to those alone who have seen it. */
static bool answer_is_awaited(struct runtime *rt, const struct kernel_letter *letter)
{
	struct pending *pending = idmap_get(&rt->pending, letter->request);
	bool ours = kernel_is_ours(rt, letter->from);

	if (!pending || pending->actor != letter->to.id) {
		rt->counters.answers_unawaited += !ours;
		return false;
	}
	if (!ours && !kernel_is_ours(rt, pending->to) && pending->to.node != letter->from.node) {
		rt->counters.node_refused++;
		return false;
	}
	free(idmap_remove(&rt->pending, letter->request));
	kernel_asked_changed(rt, letter->to.id);
	return true;
}

void kernel_deliver(struct runtime *rt, const struct kernel_letter *letter)
{
	struct actor *actor = idmap_get(&rt->actors, letter->to.id);

	if (letter->is_reply && !answer_is_awaited(rt, letter))
		return;
	if (!actor || (actor->stopping && letter->type != MSG_monitor)) {
		deliver_to_nobody(rt, letter);
		return;
	}
	if (deliver_to_kernel(actor, letter)) {
		if (actor->observed)
			kernel_observe_in(actor,
				&(struct mail){.from = letter->from,
					.request = letter->request,
					.type = letter->type},
				letter->schema, letter->body);
		return;
	}
	if (actor->mail_count < mailbox_max(actor) || letter->is_reply ||
		letter->type == MSG_down || letter->type == MSG_failed) {
		/* answers and deaths are bounded by what the actor itself asked for */
		put_in_mailbox(actor, letter);
		return;
	}
	actor->refused++;
	if (schema_is_note(letter->schema)) {
		rt->counters.dropped++;
		return;
	}
	rt->counters.refused++;
	bounce_letter(rt, letter, ERR_OVERLOAD);
}

enum err kernel_route(struct runtime *rt, const struct kernel_letter *letter)
{
	uint32_t process;
	enum err err;

	if (addr_is_nobody(letter->to))
		return ERR_NOT_FOUND;
	if (kernel_local(rt, letter->to)) {
		rt->counters.mails_local++;
		kernel_deliver(rt, letter);
		return ERR_OK;
	}
	process = kernel_process_of(rt, letter->to);
	if (kernel_is_ours(rt, letter->to) && (!process || process == rt->options.process)) {
		deliver_to_nobody(rt, letter);
		return ERR_OK;
	}
	if (!kernel_is_ours(rt, letter->to))
		err = kernel_node_mail(rt, letter);
	else
		err = letter->hops < HOPS_MAX ? kernel_bus_mail(rt, process, letter) : ERR_DEAD;
	if (err)
		bounce_letter(rt, letter, err);
	return err == ERR_OVERLOAD ? err : ERR_OK;
}

/* ---- handling ---------------------------------------------------------------------------------- */

const struct handler *kernel_find_handler(const struct actor_type *type, uint16_t message)
{
	for (size_t i = 0; i < type->handler_count; i++)
		if (type->handlers[i].type == message)
			return &type->handlers[i];
	return NULL;
}

void kernel_run_mail(struct actor *actor, struct mail_node *node)
{
	struct runtime *rt = actor->rt;
	const struct handler *handler = kernel_find_handler(actor->type, node->mail.type);
	const struct mail *outer_mail = rt->running_mail;
	const struct mail_node *outer_node = rt->running_node;
	struct actor *outer_reader = rt->mail_reader;
	bool outer_answered = rt->mail_answered;
	bool is_question = node->mail.request && !node->mail.is_reply;
	enum err err = ERR_UNSUPPORTED;

	actor->handled++;
	kernel_changed(actor); /* whatever its pump says of itself afterwards */
	if (actor->observed)
		kernel_observe_in(actor, &node->mail, node->schema, node->body);
	rt->running_mail = &node->mail;
	rt->running_node = node;
	rt->mail_reader = actor;
	rt->mail_answered = false;
	if (handler && handler->phases && !(handler->phases & actor->phase))
		err = ERR_PHASE;
	else if (handler)
		err = handler->run(actor, actor->data, node->body, &node->mail);
	else if (actor->type->any)
		err = actor->type->any(actor, actor->data, node->body, &node->mail);
	if (err && is_question)
		actor_refuse(actor, actor_asker(actor), err, "");
	if (is_question && !rt->mail_answered)
		kernel_owe(actor, &node->mail);
	rt->mail_answered = outer_answered;
	rt->running_mail = outer_mail;
	rt->running_node = outer_node;
	rt->mail_reader = outer_reader;
}

void kernel_drop_mail(struct actor *actor)
{
	while (actor->mail_first) {
		struct mail_node *node = actor->mail_first;

		actor->mail_first = node->next;
		kernel_bounce(actor->rt, actor_addr(actor), node->mail.from, node->mail.type,
			node->mail.request, node->mail.is_reply, ERR_DEAD);
		kernel_free_node(actor->rt, node);
	}
	actor->mail_last = NULL;
	actor->mail_count = 0;
}

/* ---- what actors call -------------------------------------------------------------------------- */

/* Everything an actor says leaves here. */
static enum err route_out(struct actor *self, const struct kernel_letter *letter)
{
	if (self->observed)
		kernel_observe_out(self, letter);
	return kernel_route(self->rt, letter);
}

enum err actor_send_mail(struct actor *self, struct addr to, uint16_t type,
	const struct schema *schema, const void *message)
{
	return route_out(self, &(struct kernel_letter){.to = to,
				       .from = actor_addr(self),
				       .type = type,
				       .schema = schema,
				       .body = message});
}

uint64_t kernel_next_request(struct runtime *rt)
{
	uint64_t request = secret_numbers_next(rt->requests);

	while (idmap_get(&rt->pending, request))
		request = secret_numbers_next(rt->requests);
	return request;
}

/* Notes that the actor waits for an answer. */
enum err kernel_open_pending(struct runtime *rt, const struct pending *wanted)
{
	struct pending *pending = malloc(sizeof(*pending));
	enum err err = ERR_NO_MEMORY;

	if (!pending)
		return err;
	*pending = *wanted;
	if (!idmap_put(&rt->pending, pending->request, pending)) {
		err = timers_push(
			&rt->timers, pending->deadline_us, pending->request, TIMER_SUB_REQUEST);
		if (err)
			idmap_remove(&rt->pending, pending->request);
	}
	if (err)
		free(pending);
	kernel_asked_changed(rt, wanted->actor);
	return err;
}

uint64_t kernel_open_request(struct actor *self, uint16_t type, uint32_t timeout_ms)
{
	struct runtime *rt = self->rt;
	struct pending pending = {.request = kernel_next_request(rt),
		.actor = self->id,
		.type = type,
		.deadline_us = rt->now_us + (int64_t)timeout_ms * 1000};

	if (kernel_open_pending(rt, &pending))
		deliver_failure(rt, &pending, ERR_NO_MEMORY);
	return pending.request;
}

uint64_t actor_request_mail(struct actor *self, struct addr to, uint32_t timeout_ms, uint16_t type,
	const struct schema *schema, const void *message)
{
	struct runtime *rt = self->rt;
	int64_t deadline_us = rt->now_us + (int64_t)timeout_ms * 1000;
	struct pending pending = {
		.request = kernel_next_request(rt),
		.actor = self->id,
		.to = to,
		.type = type,
		.process = actor_process_of(self, to),
		.deadline_us = deadline_us,
	};
	struct kernel_letter letter = {
		.to = to,
		.from = actor_addr(self),
		.type = type,
		.request = pending.request,
		.deadline_us = deadline_us,
		.schema = schema,
		.body = message,
	};

	if (kernel_open_pending(rt, &pending))
		deliver_failure(rt, &pending, ERR_NO_MEMORY);
	else if (route_out(self, &letter) == ERR_NOT_FOUND)
		end_request(rt, pending.request, ERR_NOT_FOUND);
	return pending.request;
}

enum err actor_answer_mail(struct actor *self, struct asker asker, uint16_t type,
	const struct schema *schema, const void *message)
{
	if (asker.request == 0)
		return ERR_OK;
	kernel_answered(self->rt, asker.request);
	route_out(self, &(struct kernel_letter){
				.to = asker.from,
				.from = actor_addr(self),
				.type = type,
				.is_reply = true,
				.request = asker.request,
				.schema = schema,
				.body = message,
			});
	return ERR_OK;
}

enum err actor_refuse_later(struct actor *self, struct asker asker, enum err err, const char *text,
	uint32_t retry_after_ms)
{
	struct msg_failed failed = {
		.err = (uint8_t)err, .to = actor_addr(self), .retry_after_ms = retry_after_ms};

	if (self->rt->running_mail)
		failed.type = self->rt->running_mail->type;
	text_copy(failed.text, sizeof(failed.text), text);
	return actor_answer_mail(self, asker, MSG_failed, &schema_failed, &failed);
}

enum err actor_refuse(struct actor *self, struct asker asker, enum err err, const char *text)
{
	return actor_refuse_later(self, asker, err, text, 0);
}

struct asker actor_asker(const struct actor *self)
{
	const struct mail *mail = self->rt->running_mail;

	/* (another actor's function may be running on behalf of the mail's reader) */
	if (!mail || self->rt->running != self || self->rt->mail_reader != self || mail->is_reply)
		return (struct asker){0};
	return (struct asker){.from = mail->from, .request = mail->request};
}

enum err actor_forward(struct actor *self, struct addr to)
{
	struct runtime *rt = self->rt;
	const struct mail *mail = rt->running_mail;

	MUST(mail && rt->running == self && rt->mail_reader == self);
	kernel_answered(rt, mail->request);
	return route_out(self, &(struct kernel_letter){
				       .to = to,
				       .from = mail->from,
				       .type = mail->type,
				       .is_reply = mail->is_reply,
				       .request = mail->request,
				       .deadline_us = mail->deadline_us,
				       .schema = rt->running_node->schema,
				       .body = rt->running_node->body,
			       });
}

enum err actor_pass_mail(struct actor *self, struct asker asker, struct addr to, uint16_t type,
	const struct schema *schema, const void *message)
{
	kernel_answered(self->rt, asker.request);
	return route_out(self, &(struct kernel_letter){
				       .to = to,
				       .from = asker.from,
				       .type = type,
				       .request = asker.request,
				       .schema = schema,
				       .body = message,
			       });
}

/* ---- offices ----------------------------------------------------------------------------------- */

static struct addr office_of(const struct runtime *rt, uint64_t block, enum office office)
{
	return (struct addr){.node = rt->options.node, .id = block << RUNTIME_BLOCK_SHIFT | office};
}

struct addr actor_office_in(struct actor *self, enum office office, uint32_t process)
{
	struct runtime *rt = self->rt;

	if (process == rt->options.process)
		return office_of(rt, rt->options.block, office);
	struct peer *peer = kernel_peer(rt, process);

	return peer ? office_of(rt, peer->info.block, office) : (struct addr){0};
}

static uint8_t role_of(enum office office)
{
	return office == OFFICE_TRANSCODE ? PROCESS_HELPER : PROCESS_CONTROL;
}

struct addr actor_office_of_many(struct actor *self, enum office office, uint64_t key)
{
	struct runtime *rt = self->rt;
	const struct peer *found[RUNTIME_PEERS_MAX];
	uint64_t count = 0;

	for (int i = 0; i < rt->peers_end; i++)
		if (rt->peers[i].used && rt->peers[i].info.role == role_of(office))
			found[count++] = &rt->peers[i];
	return count ? office_of(rt, found[key % count]->info.block, office)
		     : actor_office(self, office);
}

struct addr actor_office(struct actor *self, enum office office)
{
	struct runtime *rt = self->rt;
	uint8_t role = role_of(office);

	if (office == OFFICE_PROCESS || office == OFFICE_MEDIA || office == OFFICE_RTC ||
		office == OFFICE_LINK || office == OFFICE_HTTP || office == OFFICE_RTMP ||
		rt->options.role == role)
		return office_of(rt, rt->options.block, office);
	for (int i = 0; i < rt->peers_end; i++)
		if (rt->peers[i].used && rt->peers[i].info.role == role)
			return office_of(rt, rt->peers[i].info.block, office);
	return (struct addr){0};
}
