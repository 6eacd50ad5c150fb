/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream goes where its publisher goes (decision 18): to another process of the node, with its id, its
 * name, its readers elsewhere, and the numbers of its log; not with the packets in it. Copies of it have
 * theirs, and go on without noticing.
 *
 *   stream_move --nobody reads the log here--> actor_move ==> a log that begins where that one ended
 *        \-- somebody does, it is a copy, it is not settled: failed
 *
 * From a worker that takes nothing new it goes by itself where its publisher is, should that be elsewhere.
 * A copy in the process that it has come to stays one: its readers know no other.
 */
#include "actors/stream/stream_internal.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdlib.h>

enum { GOP_SECONDS = 10, GOP_BYTES = 16 << 20 };

struct slot_ref stream_make_log(struct actor *self, uint64_t next)
{
	const struct config *config = actor_config(self);
	struct media_log_limits limits = {
		.age_us = (config ? config->stream_gop_seconds_max : GOP_SECONDS) * 1000000,
		.bytes = config ? (uint64_t)config->stream_gop_bytes_max : GOP_BYTES,
	};

	return media_log_create(actor_arena(self), actor_addr(self).id, &limits, next);
}

/* The port of this process, which keeps streams for those who may come, reads none. */
static bool reads_log(struct actor *self, const struct subscriber *subscriber)
{
	return !subscriber->feed && !addr_equal(subscriber->who, actor_office(self, OFFICE_RTC));
}

static const char *what_holds_it(
	struct actor *self, const struct stream *s, struct addr asker, enum err *err)
{
	*err = ERR_PHASE;
	if (s->st.replica || !addr_equal(asker, s->st.source))
		return "only its publisher takes a stream along";
	if (s->claim_request || s->publisher_waits || s->waiting_count || s->transcode_request)
		return "the stream is not settled yet";
	*err = ERR_BUSY;
	for (int i = 0; i < s->st.subscribers_count; i++)
		if (reads_log(self, &s->st.subscribers[i]))
			return "there are viewers on that worker who read its stream";
	return NULL;
}

enum err stream_begin_move(struct actor *self, struct stream *s, uint32_t process)
{
	struct asker asker = actor_asker(self);
	enum err err;
	const char *why = what_holds_it(self, s, asker.from, &err);

	if (why)
		return actor_refuse(self, asker, err, why);
	err = actor_move(self, process);
	s->leaves = !err;
	return err ? err : actor_reply(self, done, {});
}

void stream_follow_source(struct actor *self, struct stream *s)
{
	const struct process_env *env = runtime_env(actor_runtime(self));
	uint32_t process = actor_process_of(self, s->st.source);
	enum err err;

	if (!env || !process_worker_is_closed(env->page, env->index) || s->leaves ||
		actor_phase(self) != STREAM_LIVE || !process ||
		s->st.source.node != actor_addr(self).node || process == actor_own_process(self))
		return;
	if (!what_holds_it(self, s, s->st.source, &err))
		s->leaves = !actor_move(self, process);
}

size_t stream_slots(void *data, struct actor_slot *slots)
{
	(void)data;
	(void)slots;
	return 0;
}

void stream_left(struct actor *self, void *data)
{
	struct stream *s = data;

	media_office_forget(self);
	media_log_destroy(actor_arena(self), stream_log_ref(s));
	stream_forget_trace(s);
	stream_early_drop(self, s);
	free(s->waiting); /* they hear of it as of any answer that nobody owes any more */
}

/* Without room for a log its restore fails. */
void stream_arrived(struct actor *self, void *data)
{
	struct stream *s = data;
	struct slot_ref log = stream_make_log(self, s->st.log_next ? s->st.log_next : 1);

	s->st.log_index = log.index;
	s->st.log_generation = log.generation;
	/* its pictures have stayed behind: who comes next would wait for the next keyframe */
	if (!s->st.replica)
		actor_timer_in_ms(self, STREAM_TIMER_KEYFRAME, 1);
}
