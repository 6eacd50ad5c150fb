/* SPDX-License-Identifier: Apache-2.0
 *
 * media office: the streams of one worker, by name.
 *
 *   publish    known here -> that stream; known to the directory -> its owner, wherever; else a new
 *              origin stream, which claims the name
 *   subscribe  known here -> that stream; else (looked up, with patience) a replica of the owner's
 *   relay_host the same without a lookup: the relay office wants a copy that other nodes can have
 *
 * The stream answers the asker directly. Sends no media, opens no socket.
 */
#include "actors/stream/stream_actor.h"

#include <stdio.h>
#include <stdlib.h>

enum { OPERATIONS_MAX = 512, LOOKUP_MS = 3000, WAIT_MAX_MS = 120000 };

/* A publish or subscribe that waits for the directory. */
struct operation {
	uint64_t request; /* of the lookup; 0 = free */
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
	                               * askers hear of it by their deadline */
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
	struct stream_args args = {
		.name = m->stream_name, .source = m->owner, .epoch = m->epoch, .replica = true};
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
	const char *name = operation_name(operation);
	struct hosted_stream *known = find_stream(s, name);
	struct addr addr = {0};
	enum err err = ERR_OK;

	if (!operation->publishes) {
		actor_refuse(self, operation->asker, ERR_NOT_FOUND, "nobody publishes this stream");
		return;
	}
	if (known) {
		addr = known->addr;
	} else {
		struct stream_args args = {.name = name};

		err = host(self, s, name, &args, &addr);
	}
	if (err)
		actor_refuse(self, operation->asker, err, "");
	else
		pass_on(self, operation, addr);
}

ON(media_office, failed)
{
	struct operation *operation = find_operation(s, mail->request);

	if (!operation)
		return ERR_OK;
	if (m->err == ERR_NOT_FOUND)
		nobody_owns(self, s, operation);
	else
		actor_refuse_later(self, operation->asker, ERR_OVERLOAD,
			"the directory does not answer, try again", 1000);
	operation->request = 0;
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

ON(media_office, down)
{
	forget(s, m->who);
	return ERR_OK;
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
