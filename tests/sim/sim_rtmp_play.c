/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: a player by RTMP. What it is sent are the tags of FLV, checked as a reader's of HTTP-FLV are
 * (sim_http.c); and every byte between them must be a message that can be read, also when the worker of its
 * connection has been gone on with.
 *
 *   shaking --S2--> asking --first tag--> playing --the stream ends, or there is none--> (hangs up)
 */
#include "tests/rtmp_talk.h"
#include "tests/sim/sim_edges.h"

#include <stdio.h>

enum {
	MESSAGE_MAX = 65536,
	ARENA_BYTES = MESSAGE_MAX + MESSAGE_MAX / 4,
	RETRY_MS = 200,
	ANSWER_US = 40000000, /* longest a wish to play may be held */
};

static void play_begin(struct sim *sim, struct sim_edge *edge)
{
	uint8_t bytes[RTMP_TALK_ASK_MAX];
	struct writer w = writer_of(bytes, sizeof(bytes));
	char name[32], key[48];

	edge->flv = (struct sim_flv){.last_us = sim->now_us, .heard_us = sim->now_us};
	chunk_reader_init(&edge->flv.chunks, MESSAGE_MAX);
	sim_edge_name(edge, name, sizeof(name));
	snprintf(key, sizeof(key), "%s?wait=1", strchr(name, '/') + 1);
	rtmp_talk_ask(&w, "play", key);
	sim_edge_write(sim, edge, bytes, writer_used(&w));
}

/* It was refused, or the stream has ended. */
static bool says_end(const struct chunk_message *message)
{
	static const char *const ends[] = {"NetStream.Play.StreamNotFound", "NetStream.Play.Failed",
		"NetStream.Play.UnpublishNotify", "NetStream.Play.Stop"};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (message->type == CHUNK_COMMAND_AMF0 &&
			memmem(message->payload, message->size, ends[i], strlen(ends[i])))
			return true;
	return false;
}

static void take_message(
	struct sim *sim, struct sim_edge *edge, const struct chunk_message *message)
{
	struct flv_tag_view tag = {.type = message->type,
		.time_ms = message->time_ms,
		.body = message->payload,
		.size = message->size};

	if (message->type == CHUNK_VIDEO || message->type == CHUNK_AUDIO) {
		edge->flv.begun = true;
		sim_flv_take(sim, edge, &tag);
	}
}

static size_t hang_up(struct sim *sim, struct sim_edge *edge)
{
	edge->retry_us = sim->now_us + RETRY_MS * SIM_MS;
	sim->edges->refused++;
	sim_client_close(sim, edge->client);
	edge->client = 0;
	return edge->in_size;
}

static size_t play_input(struct sim *sim, struct sim_edge *edge)
{
	static uint8_t arena[ARENA_BYTES]; /* whole messages come and are used within a call … */
	struct sim_flv *s = &edge->flv;
	struct reader in = reader_of(edge->in, edge->in_size);
	struct chunk_message message;
	struct chunk_reader before;
	size_t used = 0;
	enum err err = ERR_OK;

	if (!s->headed) {
		if (edge->in_size < HANDSHAKE_ANSWER_SIZE)
			return 0;
		SIM_CHECK(sim, edge->in[0] == 3, "RTMP answer of version %u", edge->in[0]);
		s->headed = true;
		return HANDSHAKE_ANSWER_SIZE;
	}
	while (!sim->failed) {
		before = s->chunks;
		err = chunk_read(&s->chunks, arena, sizeof(arena), &in, &message);
		if (err)
			break;
		used = edge->in_size - reader_left(&in);
		take_message(sim, edge, &message);
		if (says_end(&message))
			return hang_up(sim, edge);
	}
	SIM_CHECK(sim, err == ERR_AGAIN || sim->failed, "what a player is sent cannot be read: %s",
		err_name(err));
	s->chunks = before; /* … a part of one is read again when there is more */
	return used;
}

static void play_tick(struct sim *sim, struct sim_edge *edge)
{
	SIM_CHECK(sim, edge->flv.begun || sim->now_us - edge->connected_us < ANSWER_US,
		"a player of live/e%u was never answered", edge->stream);
}

const struct sim_edge_kind sim_player_kind = {
	.name = "player",
	.listener = NET_RTMP,
	.watches = true,
	.begin = play_begin,
	.input = play_input,
	.tick = play_tick,
};
