/* SPDX-License-Identifier: Apache-2.0
 *
 * media office: the streams of one worker, by name.
 *
 *   publish    known here -> that stream; known to the directory -> its owner in this node. One of
 *              another node is asked whether it yields the name (decision 24): then, and when nobody has
 *              it, the copy that is known here or a new origin claims it
 *   subscribe  known here -> that stream; else (looked up, with patience) a replica of the owner's
 *   relay_host the same without a lookup: the relay office wants a copy that other nodes can have
 *
 * The stream answers the asker directly. Sends no media, opens no socket.
 */
#include "actors/stream/stream_actor.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	OPERATIONS_MAX = 512,
	LOOKUP_MS = 3000,
	WAIT_MAX_MS = 120000,
	YIELD_MS = 4000, /* longer than the mesh takes to lose a node (cluster.node_lost_ms) */
	OWNERS_MAX = 3,	 /* asked for one publisher: each knew a newer one, or had just ended */
	RETRY_MS = 1000,
};

/* A publish or subscribe that waits for the directory, or for the owner of the name. */
struct operation {
	uint64_t request;  /* of the lookup, or to the owner; 0 = free */
	struct addr owner; /* of another node, that is asked; nobody: it is the directory */
	uint8_t owners;	   /* that have been asked */
	struct asker asker;
	bool publishes;
	union {
		struct msg_publish publish;
		struct msg_subscribe subscribe;
	};
};

struct media_office {
	struct media_office_state st;

	struct operation *operations; /* OPERATIONS_MAX; those under way die with the process: their
	                               * askers hear so (owed.c), and ask again */
};

static struct hosted_stream *find_stream(struct media_office *s, const char *name)
{
	for (int i = 0; i < s->st.streams_count; i++)
		if (!strcmp(s->st.streams[i].name, name))
			return &s->st.streams[i];
	return NULL;
}

static enum err host(struct actor *self, struct media_office *s, const char *name,
	const struct stream_args *args, struct addr *addr)
{
	struct hosted_stream *row;
	enum err err;

	if (s->st.streams_count == STREAMS_MAX)
		return ERR_LIMIT;
	err = actor_spawn(actor_runtime(self), self, &stream_actor, args, addr);
	if (err)
		return err;
	row = &s->st.streams[s->st.streams_count++];
	*row = (struct hosted_stream){.addr = *addr, .replica = args->replica};
	memcpy(row->name, name, strnlen(name, sizeof(row->name) - 1));
	return ERR_OK;
}

static void look_up(
	struct actor *self, struct operation *operation, const char *name, uint32_t wait_ms)
{
	struct msg_name_lookup lookup = {.wait_ms = wait_ms < WAIT_MAX_MS ? wait_ms : WAIT_MAX_MS};

	snprintf(lookup.name, sizeof(lookup.name), "stream/%.120s", name);
	operation->owner = (struct addr){0};
	operation->request = actor_request_mail(self, actor_office(self, OFFICE_DIRECTORY),
		lookup.wait_ms + LOOKUP_MS, MSG_name_lookup, &schema_name_lookup, &lookup);
}

static struct operation *free_operation(struct media_office *s)
{
	for (int i = 0; i < OPERATIONS_MAX; i++)
		if (!s->operations[i].request)
			return &s->operations[i];
	return NULL;
}

static struct operation *find_operation(struct media_office *s, uint64_t request)
{
	for (int i = 0; i < OPERATIONS_MAX; i++)
		if (request && s->operations[i].request == request)
			return &s->operations[i];
	return NULL;
}

/* For the mail at hand; NULL: too many are under way. */
static struct operation *new_operation(struct actor *self, struct media_office *s)
{
	struct operation *operation = free_operation(s);

	if (operation)
		*operation = (struct operation){.asker = actor_asker(self)};
	else
		s->st.refused++;
	return operation;
}

ON(media_office, publish)
{
	struct hosted_stream *known = find_stream(s, m->stream_name);
	struct operation *operation;

	s->st.publishes++;
	if (known && !known->replica)
		return actor_forward(self, known->addr);
	operation = new_operation(self, s);
	if (!operation)
		return ERR_OVERLOAD;
	operation->publishes = true;
	operation->publish = *m;
	operation->publish.takes_over = false; /* that is said here alone */
	actor_monitor(self, operation->asker.from);
	look_up(self, operation, m->stream_name, 0);
	return ERR_OK;
}

ON(media_office, subscribe)
{
	struct hosted_stream *known = find_stream(s, m->stream_name);
	struct operation *operation;

	s->st.subscribes++;
	if (known)
		return actor_forward(self, known->addr);
	operation = new_operation(self, s);
	if (!operation)
		return ERR_OVERLOAD;
	operation->subscribe = *m;
	look_up(self, operation, m->stream_name, m->wait_ms);
	return ERR_OK;
}

static void pass_on(struct actor *self, const struct operation *operation, struct addr to)
{
	if (operation->publishes)
		actor_pass_mail(self, operation->asker, to, MSG_publish, &schema_publish,
			&operation->publish);
	else
		actor_pass_mail(self, operation->asker, to, MSG_subscribe, &schema_subscribe,
			&operation->subscribe);
}

static const char *operation_name(const struct operation *operation)
{
	return operation->publishes ? operation->publish.stream_name
				    : operation->subscribe.stream_name;
}

/* ---- publishers of a name that another node has ------------------------------------------------- */

static void ask_owner(struct actor *self, struct operation *operation, struct addr owner)
{
	const struct msg_publish *publish = &operation->publish;
	struct msg_stream_yield yield = {.standby = publish->standby};

	operation->request = 0;
	if (operation->owners++ == OWNERS_MAX) {
		actor_refuse_later(self, operation->asker, ERR_OVERLOAD,
			"the owner of this stream does not answer, try again", RETRY_MS);
		return;
	}
	memcpy(yield.stream_name, publish->stream_name, sizeof(yield.stream_name));
	memcpy(yield.resume, publish->resume, sizeof(yield.resume));
	memcpy(yield.subject, publish->subject, sizeof(yield.subject));
	operation->owner = owner;
	operation->request = actor_request_mail(
		self, owner, YIELD_MS, MSG_stream_yield, &schema_stream_yield, &yield);
}

/* The publisher gets the stream here: the copy that there is, or a new one. */
static void take_over(struct actor *self, struct media_office *s, struct operation *operation)
{
	struct msg_publish *publish = &operation->publish;
	struct hosted_stream *known = find_stream(s, publish->stream_name);
	struct stream_args args = {
		.name = publish->stream_name, .over = publish->over, .former = publish->former};
	struct addr addr = known ? known->addr : (struct addr){0};
	enum err err = known ? ERR_OK : host(self, s, publish->stream_name, &args, &addr);

	publish->takes_over = true;
	if (err)
		actor_refuse(self, operation->asker, err, "");
	else
		pass_on(self, operation, addr);
}

ON(media_office, stream_yielded)
{
	struct operation *operation = find_operation(s, mail->request);

	if (!operation)
		return ERR_OK;
	operation->request = 0;
	if (!addr_is_nobody(m->owner) && m->owner.node != actor_addr(self).node) {
		ask_owner(self, operation, m->owner);
	} else if (!addr_is_nobody(m->owner)) {
		pass_on(self, operation, m->owner);
	} else if (m->standby) {
		pass_on(self, operation, operation->owner);
	} else {
		operation->publish.former = operation->owner;
		operation->publish.over = m->epoch;
		take_over(self, s, operation);
	}
	return ERR_OK;
}

/* BUSY and the like are for the publisher. One that is dead may be no owner any more, or it was of a node
 * that has been lost: the directory knows. */
static void owner_failed(
	struct actor *self, struct operation *operation, const struct msg_failed *m)
{
	if (m->err == ERR_DEAD || m->err == ERR_TIMEOUT || m->err == ERR_NOT_FOUND)
		look_up(self, operation, operation->publish.stream_name, 0);
	else
		actor_refuse(self, operation->asker, (enum err)m->err, m->text);
}

/* ---- what the directory says -------------------------------------------------------------------- */

/* Somebody owns the name: publishers go there; subscribers get a replica here. */
ON(media_office, name_found)
{
	struct operation *operation = find_operation(s, mail->request);
	const char *name;
	struct hosted_stream *known;
	struct addr addr = m->owner;
	enum err err = ERR_OK;

	if (!operation)
		return ERR_OK;
	name = operation_name(operation);
	known = find_stream(s, name);
	if (operation->publishes && m->owner.node != actor_addr(self).node) {
		ask_owner(self, operation, m->owner);
		return ERR_OK;
	}
	if (!operation->publishes && known) {
		addr = known->addr;
	} else if (!operation->publishes) {
		struct stream_args args = {
			.name = name, .source = m->owner, .epoch = m->epoch, .replica = true};

		err = host(self, s, name, &args, &addr);
	}
	if (err)
		actor_refuse(self, operation->asker, err, "");
	else
		pass_on(self, operation, addr);
	operation->request = 0;
	return ERR_OK;
}

/* Other nodes are to copy it from here: a replica that finds its own source, as any of another node's. */
ON(media_office, relay_host)
{
	const struct hosted_stream *known = find_stream(s, m->stream_name);
	struct stream_args args = {.name = m->stream_name,
		.source = m->owner,
		.epoch = m->epoch,
		.replica = true,
		.lost_ms = m->lost_ms};
	struct addr addr = known ? known->addr : (struct addr){0};
	enum err err = ERR_OK;

	s->st.relayed++;
	if (!known)
		err = host(self, s, m->stream_name, &args, &addr);
	if (err)
		return err;
	return actor_reply(
		self, relay_hosted, {.stream = addr, .origin = known && !known->replica});
}

/* Nobody owns the name: a publisher gets a new origin here. */
static void nobody_owns(struct actor *self, struct media_office *s, struct operation *operation)
{
	if (operation->publishes)
		take_over(self, s, operation);
	else
		actor_refuse(self, operation->asker, ERR_NOT_FOUND, "nobody publishes this stream");
}

ON(media_office, failed)
{
	struct operation *operation = find_operation(s, mail->request);

	if (!operation)
		return ERR_OK;
	operation->request = 0;
	if (!addr_is_nobody(operation->owner))
		owner_failed(self, operation, m);
	else if (m->err == ERR_NOT_FOUND)
		nobody_owns(self, s, operation);
	else
		actor_refuse_later(self, operation->asker, ERR_OVERLOAD,
			"the directory does not answer, try again", RETRY_MS);
	return ERR_OK;
}

static void forget(struct media_office *s, struct addr stream)
{
	for (int i = 0; i < s->st.streams_count; i++) {
		if (addr_equal(s->st.streams[i].addr, stream)) {
			s->st.streams[i] = s->st.streams[--s->st.streams_count];
			return;
		}
	}
}

/* No name is taken for a publisher that has gone. */
static void give_up(struct actor *self, struct media_office *s, struct addr publisher)
{
	for (int i = 0; i < OPERATIONS_MAX; i++) {
		struct operation *operation = &s->operations[i];

		if (!operation->request || !operation->publishes ||
			!addr_equal(operation->asker.from, publisher))
			continue;
		actor_forget_request(self, operation->request);
		operation->request = 0;
	}
}

ON(media_office, down)
{
	forget(s, m->who);
	give_up(self, s, m->who);
	return ERR_OK;
}

struct note {
	struct addr stream;
	bool replica;
};

static void note_it(struct actor *self, void *data, void *context)
{
	struct media_office *s = data;
	const struct note *note = context;

	(void)self;
	for (int i = 0; i < s->st.streams_count; i++)
		if (addr_equal(s->st.streams[i].addr, note->stream))
			s->st.streams[i].replica = note->replica;
}

void media_office_note(struct actor *stream, bool replica)
{
	struct note note = {.stream = actor_addr(stream), .replica = replica};

	actor_call(actor_runtime(stream), actor_office(stream, OFFICE_MEDIA), &media_office_actor,
		note_it, &note);
}

static void forget_it(struct actor *self, void *data, void *stream)
{
	(void)self;
	forget(data, actor_addr(stream));
}

void media_office_forget(struct actor *stream)
{
	actor_call(actor_runtime(stream), actor_office(stream, OFFICE_MEDIA), &media_office_actor,
		forget_it, stream);
}

static enum err media_office_init(struct actor *self, void *data, const void *args)
{
	struct media_office *s = data;

	(void)args;
	actor_set_name(self, "office/media");
	s->operations = calloc(OPERATIONS_MAX, sizeof(*s->operations));
	return s->operations ? ERR_OK : ERR_NO_MEMORY;
}

static enum err media_office_restore(struct actor *self, void *data)
{
	(void)self;
	return media_office_init(self, data, NULL);
}

static void media_office_stop(struct actor *self, void *data, enum err reason)
{
	struct media_office *s = data;

	(void)self;
	(void)reason;
	free(s->operations);
}

static const struct handler media_office_handlers[] = {
	HANDLER(media_office, publish, 0),
	HANDLER(media_office, subscribe, 0),
	HANDLER(media_office, name_found, 0),
	HANDLER(media_office, stream_yielded, 0),
	HANDLER(media_office, relay_host, 0),
	HANDLER(media_office, failed, 0),
	HANDLER(media_office, down, 0),
};

const struct actor_type media_office_actor = {
	.name = "media_office",
	.size = sizeof(struct media_office),
	.state = &schema_media_office_state,
	.mailbox_max = 8192,
	HANDLER_TABLE(media_office_handlers),
	.init = media_office_init,
	.restore = media_office_restore,
	.stop = media_office_stop,
};
