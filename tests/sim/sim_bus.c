/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: the bus between processes. As ZeroMQ's: whole frames, in order between two processes,
 * a bounded queue; and what ZeroMQ does not promise is made to happen: frames lost, doubled,
 * refused, connections that break with everything under way. Media between streams may also change
 * its order and come twice.
 *
 * Every media packet on it is accounted to the stream it is for.
 */
#include "runtime/kernel.h"
#include "tests/sim/sim.h"

#include <stdlib.h>

struct sim_frame {
	uint32_t from, to; /* incarnations */
	uint32_t from_slot, to_slot;
	uint32_t line;	  /* of the connection it was sent on */
	uint32_t packets; /* media */
	uint64_t stream;  /* media: for whom */
	bool is_media;
	uint32_t size;
	uint8_t bytes[];
};

enum {
	MEDIA_TO_ID = sizeof(struct bus_header) + 8,
	MEDIA_COUNT = sizeof(struct bus_header) + 32,
	MEDIA_FROM_ID = sizeof(struct bus_header) + 24
};

static uint64_t read_le(const uint8_t *bytes, int size)
{
	uint64_t value = 0;

	for (int i = size - 1; i >= 0; i--)
		value = value << 8 | bytes[i];
	return value;
}

static struct sim_frame *make_frame(
	struct sim_process *from, struct sim_process *to, const struct iovec *parts, size_t count)
{
	size_t size = 0;

	for (size_t i = 0; i < count; i++)
		size += parts[i].iov_len;
	struct sim_frame *frame = malloc(sizeof(*frame) + size);

	MUST(frame);
	*frame = (struct sim_frame){
		.from = from->incarnation,
		.to = to->incarnation,
		.from_slot = (uint32_t)(from - from->sim->processes),
		.to_slot = (uint32_t)(to - to->sim->processes),
		.size = (uint32_t)size,
	};
	frame->line = from->sim->line[frame->from_slot][frame->to_slot];
	size = 0;
	for (size_t i = 0; i < count; i++) {
		memcpy(frame->bytes + size, parts[i].iov_base, parts[i].iov_len);
		size += parts[i].iov_len;
	}
	frame->is_media = frame->size > MEDIA_COUNT && frame->bytes[3] == BUS_MEDIA;
	if (frame->is_media) {
		frame->packets = (uint32_t)read_le(frame->bytes + MEDIA_COUNT, 2);
		frame->stream = read_le(frame->bytes + MEDIA_TO_ID, 8);
	}
	return frame;
}

/* Media from stream to stream is asked for again; what a publisher sends is not. */
static bool between_streams(struct sim_process *from, const struct sim_frame *frame)
{
	struct actor_facts facts;
	struct actor *actor;

	if (!frame->is_media)
		return false;
	actor = runtime_find(from->rt, read_le(frame->bytes + MEDIA_FROM_ID, 8));
	if (!actor)
		return false;
	runtime_facts(actor, &facts);
	return !strcmp(facts.type, "stream");
}

static const struct sim_carrier frames_carrier;

static void schedule(struct sim *sim, struct sim_frame *frame, bool may_overtake)
{
	int64_t *last_us = &sim->arrival_us[frame->from_slot][frame->to_slot];
	int64_t at_us = sim->now_us + rng_between(&sim->rng, 10, sim->faults.delay_us + 20);

	if (may_overtake)
		at_us += rng_between(&sim->rng, 0, 15 * SIM_MS);
	else if (at_us < *last_us)
		at_us = *last_us;
	if (!may_overtake)
		*last_us = at_us;
	sim->under_way[frame->from_slot][frame->to_slot]++;
	if (frame->is_media)
		sim_account(sim, frame->stream)->flying += frame->packets;
	sim_carry(sim, at_us, &frames_carrier, frame);
}

static void lose(struct sim *sim, struct sim_frame *frame)
{
	if (frame->is_media)
		sim_account(sim, frame->stream)->lost += frame->packets;
	free(frame);
}

/* The planted bug: the receiver counts a mail that never came. */
static void pretend_received(struct sim_process *to, const struct sim_frame *frame)
{
	struct peer *peer = kernel_peer(to->rt, frame->from);

	if (peer && frame->bytes[3] == BUS_MAIL &&
		read_le(frame->bytes + 8, 8) == peer->mail.in_seq + 1)
		peer->mail.in_seq++;
}

static bool happens(struct sim *sim, uint32_t ppm)
{
	return rng_chance_ppm(&sim->rng, sim->faults_on ? ppm : 0);
}

enum err sim_bus_send(void *context, uint32_t process, const struct iovec *parts, size_t count)
{
	struct sim_process *from = context;
	struct sim *sim = from->sim;
	struct sim_process *to = sim_process_of(sim, process);
	const struct sim_faults *faults = &sim->faults;

	if (from->alive)
		sim_takeover_step(from); /* killed before it leaves … */
	if (!from->alive)
		return ERR_DEAD;
	if (!to) /* dead, and nobody knows yet: the frame goes nowhere */
		return ERR_OK;
	struct sim_frame *frame = make_frame(from, to, parts, count);

	from->packets += frame->packets;
	if (sim->under_way[frame->from_slot][frame->to_slot] >= SIM_QUEUE_FRAMES ||
		happens(sim, faults->full_ppm)) {
		free(frame);
		return ERR_AGAIN;
	}
	bool streams = between_streams(from, frame);
	uint32_t loss =
		frame->is_media ? (streams ? faults->media_loss_ppm : 0) : faults->mail_loss_ppm;

	if (frame->is_media)
		sim_account(sim, frame->stream)->sent += frame->packets;
	if (happens(sim, faults->cut_ppm)) {
		sim_note(sim, "cut", frame->from, frame->to);
		sim->line[frame->from_slot][frame->to_slot]++;
	}
	if (happens(sim, loss)) {
		sim_note(sim, "lost", frame->from, frame->to);
		if (sim->options.plant == SIM_PLANT_RESEND)
			pretend_received(to, frame);
		lose(sim, frame);
		return ERR_OK;
	}
	if (!frame->is_media && happens(sim, faults->duplicate_ppm))
		schedule(sim, make_frame(from, to, parts, count), false);
	if (streams && happens(sim, faults->media_double_ppm)) {
		sim_account(sim, frame->stream)->sent += frame->packets;
		schedule(sim, make_frame(from, to, parts, count), true);
	}
	schedule(sim, frame, streams && happens(sim, faults->media_reorder_ppm));
	return ERR_OK;
}

/* Counts what is lost when the frame is thrown away with the run or its receiver. */
static void drop_frame(struct sim *sim, void *carried)
{
	struct sim_frame *frame = carried;

	sim->under_way[frame->from_slot][frame->to_slot]--;
	if (frame->is_media)
		sim_account(sim, frame->stream)->flying -= frame->packets;
	lose(sim, frame);
}

static void deliver_frame(struct sim *sim, void *carried)
{
	struct sim_frame *frame = carried;
	struct sim_process *to = sim_process_of(sim, frame->to);
	struct sim_account *account = frame->is_media ? sim_account(sim, frame->stream) : NULL;

	if (to && to->paused_until_us > sim->now_us) {
		sim_carry(sim, to->paused_until_us, &frames_carrier, frame);
		return;
	}
	if (!to || frame->line != sim->line[frame->from_slot][frame->to_slot]) {
		drop_frame(sim, frame);
		return;
	}
	sim_note(sim, frame->is_media ? "media" : "frame", (uint64_t)frame->from << 32 | frame->to,
		(uint64_t)frame->bytes[3] << 32 | frame->size);
	uint64_t dropped = runtime_counters(to->rt)->media_dropped_in;
	uint64_t bad = runtime_counters(to->rt)->bad_frames;

	sim_takeover_step(to);
	runtime_tick(to->rt);
	const struct peer *peer = kernel_peer(to->rt, frame->from);
	uint64_t taken = peer ? peer->mail.in_seq : 0;

	runtime_bus_frame(to->rt, frame->bytes, frame->size);
	/* (not of one that has been replaced: its successor's mails are counted now) */
	if (peer && sim->processes[frame->from_slot].incarnation == frame->from)
		sim->mails[frame->from_slot][frame->to_slot] += peer->mail.in_seq != taken;
	sim->under_way[frame->from_slot][frame->to_slot]--;
	if (account) {
		to->packets += frame->packets;
		dropped = runtime_counters(to->rt)->media_dropped_in - dropped;
		/* from a process that is not known yet, or any more */
		if (runtime_counters(to->rt)->bad_frames != bad)
			dropped = frame->packets;
		account->flying -= frame->packets;
		account->refused_in += dropped;
	}
	sim_wake(sim, to);
	free(frame);
}

static const struct sim_carrier frames_carrier = {.deliver = deliver_frame, .drop = drop_frame};
