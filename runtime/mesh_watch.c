/* SPDX-License-Identifier: Apache-2.0
 *
 * The mesh engine: who watches whom, and what silence means (docs/decisions/020).
 *
 * Up to MESH_NEAR others: all beat for all, and each judges by what it hears itself. Of more, those MESH_NEAR
 * that are nearest on a ring (by a hash of their ids, which is the same everywhere) beat for each other as
 * often; for all others a beat now and then is enough.
 *
 *   a near one misses two beats, a far one is late, or does not answer mail
 *     --> in doubt: asked each MESH_ASK_MS --says anything--> no more
 *                   --a near one, and no answer--> the others are told, who ask it themselves
 *                   --silent for MESH_DOUBTFUL_MS--> doubtful --for lost_us--> down
 *
 * Nobody is doubtful, or down, for a gateway that has not asked it and waited: what cannot be reached from
 * one side only is so for that side only.
 */
#include "runtime/mesh_internal.h"

enum {
	SIDE = MESH_NEAR / 2, /* near ones on either side of the ring */
	TURN_MS =
		30, /* between those that tell the others: the next one only if the first did not */
	JUST_HEARD_MS = 50, /* mail that leaves so soon after is an answer */
};

/* ---- the ring --------------------------------------------------------------------------------- */

/* splitmix64: ids that differ little lie far apart. */
static uint64_t place_of(uint64_t id)
{
	id += UINT64_C(0x9e3779b97f4a7c15);
	id = (id ^ (id >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	id = (id ^ (id >> 27)) * UINT64_C(0x94d049bb133111eb);
	return id ^ (id >> 31);
}

/* The SIDE nearest, the nearest first. */
struct side {
	struct node *nodes[SIDE];
	uint64_t distances[SIDE];
	unsigned count;
};

static void offer(struct side *side, struct node *node, uint64_t distance)
{
	unsigned at = side->count;

	while (at && distance < side->distances[at - 1])
		at--;
	if (at == SIDE)
		return;
	side->count += side->count < SIDE;
	for (unsigned i = side->count - 1; i > at; i--) {
		side->nodes[i] = side->nodes[i - 1];
		side->distances[i] = side->distances[i - 1];
	}
	side->nodes[at] = node;
	side->distances[at] = distance;
}

void mesh_watch_ring(struct mesh *mesh)
{
	uint64_t here = place_of(mesh->options.node);
	struct side after = {0}, before = {0};
	unsigned others = 0;

	if (!mesh->ring_is_stale)
		return;
	mesh->ring_is_stale = false;
	for (struct node *node = mesh->nodes; node; node = node->next) {
		uint64_t distance = place_of(node->id) - here;

		node->near = false;
		if (!node->identity.known || !(node->in_store || node->is_up))
			continue;
		others++;
		offer(&after, node, distance);
		offer(&before, node, 0 - distance);
	}
	mesh->is_large = others > MESH_NEAR;
	for (unsigned i = 0; mesh->is_large && i < SIDE; i++) {
		after.nodes[i]->near = before.nodes[i]->near = true;
		after.nodes[i]->rank = (uint8_t)(2 * i);
		before.nodes[i]->rank = (uint8_t)(2 * i + 1);
	}
}

/* ---- beats ------------------------------------------------------------------------------------ */

/* What may be missing of them before a node is down bounds all beats by which one is noticed. */
static uint32_t at_most_ms(const struct mesh *mesh, uint32_t beat_ms)
{
	uint32_t most_ms = (uint32_t)(mesh->options.lost_us / MS / MESH_LOST_BEATS);

	return beat_ms < most_ms ? beat_ms : most_ms;
}

/* To those that are not up, and while all are near: what a beat costs is the others' number times that of
 * others. */
static uint32_t common_beat_ms(const struct mesh *mesh)
{
	uint32_t beat_ms = mesh->counters.open * 1000 / MESH_BEATS_PER_S;

	beat_ms = at_most_ms(mesh, beat_ms < MESH_BEAT_MAX_MS ? beat_ms : MESH_BEAT_MAX_MS);
	return beat_ms > MESH_BEAT_MS ? beat_ms : MESH_BEAT_MS;
}

static uint32_t near_beat_ms(const struct mesh *mesh)
{
	uint32_t beat_ms = at_most_ms(mesh, MESH_NEAR_MS);

	return beat_ms > MESH_BEAT_MS ? beat_ms : MESH_BEAT_MS;
}

uint32_t mesh_beat_ms(const struct mesh *mesh, const struct node *node)
{
	if (!mesh->is_large || !node->is_up)
		return common_beat_ms(mesh);
	return node->near ? near_beat_ms(mesh) : MESH_FAR_MS;
}

/* Beats leave together, so that we wake up once for them; other nodes have times of their own. Those to far
 * ones are spread over those to near ones. */
int64_t mesh_next_beat_us(const struct mesh *mesh, const struct node *node, int64_t now_us)
{
	bool far = mesh->is_large && node->is_up && !node->near;
	int64_t beat_us = (int64_t)(far ? near_beat_ms(mesh) : mesh_beat_ms(mesh, node)) * MS;
	int64_t phase_us = (int64_t)(mesh->options.node % (uint64_t)beat_us);
	int64_t turn = (now_us + phase_us) / beat_us + 1;
	int64_t every = MESH_FAR_MS * MS / beat_us;

	if (node->silent_us)
		return now_us + MESH_ASK_MS * MS;
	if (far)
		turn += (int64_t)(place_of(node->id) % (uint64_t)every + (uint64_t)every -
				  (uint64_t)turn % (uint64_t)every) %
			every;
	return turn * beat_us - phase_us;
}

/* ---- silence ---------------------------------------------------------------------------------- */

static bool is_rare(const struct node *node)
{
	return node->their_beat_ms > MESH_BEAT_MAX_MS;
}

static int64_t doubtful_after_us(const struct node *node)
{
	int64_t beats_ms = is_rare(node) ? 0 : (int64_t)node->their_beat_ms * 5 / 2;

	return (beats_ms > MESH_DOUBTFUL_MS ? beats_ms : MESH_DOUBTFUL_MS) * MS;
}

int64_t mesh_silent_since_us(const struct node *node)
{
	if (node->silent_us)
		return node->silent_us;
	return node->heard_us + (is_rare(node) ? (int64_t)node->their_beat_ms * MS : 0);
}

bool mesh_is_alive(const struct node *node, int64_t now_us)
{
	return node->boot && now_us - mesh_silent_since_us(node) < doubtful_after_us(node);
}

void mesh_watch_heard(struct node *node, int64_t now_us)
{
	node->heard_us = now_us;
	node->silent_us = node->asked_us = node->mailed_us = 0;
	node->is_told = false;
}

void mesh_watch_mailed(struct mesh *mesh, struct node *node, int64_t now_us)
{
	if (!is_rare(node) || node->mailed_us || node->silent_us ||
		now_us - node->heard_us < JUST_HEARD_MS * MS)
		return;
	node->mailed_us = now_us;
	mesh->due_us = sooner(mesh->due_us, now_us + MESH_UNHEARD_MS * MS);
}

/* It is asked with the next hello, which is due now. */
static void doubt(struct mesh *mesh, struct node *node, int64_t silent_us, int64_t now_us)
{
	node->silent_us = silent_us;
	node->asked_us = now_us;
	node->beat_us = 0;
	mesh->due_us = 0;
	mesh->counters.doubts++;
}

/* When its silence is a reason to ask, and since when it is silent then. */
static int64_t doubt_us(const struct node *node, int64_t *since_us)
{
	int64_t late_ms = is_rare(node) ? MESH_UNHEARD_MS : 2 * (int64_t)node->their_beat_ms;
	int64_t at_us;

	*since_us = mesh_silent_since_us(node);
	at_us = *since_us + (late_ms > MESH_UNHEARD_MS ? late_ms : MESH_UNHEARD_MS) * MS;
	if (node->mailed_us && node->mailed_us + MESH_UNHEARD_MS * MS < at_us) {
		*since_us = node->mailed_us;
		at_us = node->mailed_us + MESH_UNHEARD_MS * MS;
	}
	return at_us;
}

static void warn_others(struct mesh *mesh, struct node *node, struct mesh_time at)
{
	node->is_told = true;
	mesh->counters.warnings++;
	for (struct node *other = mesh->nodes; other; other = other->next)
		if (other != node && other->open && other->is_up)
			(void)mesh_send_hello(mesh, other, node, at);
}

/* Whoever has heard it since then knows better. */
void mesh_watch_told(struct mesh *mesh, uint64_t id, uint32_t silent_ms, struct mesh_time at)
{
	struct node *node = idmap_get(&mesh->by_id, id);
	int64_t lost_ms = mesh->options.lost_us / MS;
	int64_t silent_us = at.now_us - (silent_ms < lost_ms ? silent_ms : lost_ms) * MS;

	if (!node || !node->is_up || node->heard_us > silent_us)
		return;
	if (!node->silent_us)
		doubt(mesh, node, silent_us, at.now_us);
	node->is_told = true;
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

int64_t mesh_watch_judge(struct mesh *mesh, struct node *node, struct mesh_time at)
{
	int64_t since_us, due_us, warn_us, doubtful_us, down_us;

	if (node->state != MESH_UP && node->state != MESH_DOUBTFUL)
		return INT64_MAX;
	if (mesh->is_large && !node->silent_us) {
		due_us = doubt_us(node, &since_us);
		if (at.now_us < due_us)
			return due_us;
		doubt(mesh, node, since_us, at.now_us);
	}
	warn_us = node->silent_us && node->near && !node->is_told
			  ? node->asked_us + (MESH_ANSWER_MS + TURN_MS * node->rank) * MS
			  : INT64_MAX;
	if (at.now_us >= warn_us) {
		warn_others(mesh, node, at);
		warn_us = INT64_MAX;
	}
	doubtful_us = mesh_silent_since_us(node) + doubtful_after_us(node);
	down_us = mesh_silent_since_us(node) + mesh->options.lost_us;
	if (node->silent_us) {
		doubtful_us = later(doubtful_us, node->asked_us + MESH_ANSWER_MS * MS);
		down_us = later(down_us, node->asked_us + 2 * MESH_ANSWER_MS * MS);
	}
	if (node->state == MESH_UP && at.now_us >= doubtful_us) {
		mesh->counters.doubts += !node->silent_us; /* else it has been counted */
		mesh_become(mesh, node, MESH_DOUBTFUL, at.now_us);
	}
	if (node->state == MESH_DOUBTFUL && at.now_us >= down_us)
		mesh_go_down(mesh, node, at.now_us);
	due_us = node->state == MESH_UP		? doubtful_us
		 : node->state == MESH_DOUBTFUL ? down_us
						: INT64_MAX;
	return sooner(due_us, warn_us);
}
