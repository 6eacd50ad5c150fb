/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/mesh_internal.h"

#include <stdlib.h>

enum frame_kind { FRAME_HELLO = 1, FRAME_MAIL = 2, FRAME_BYE = 3 };

/* ---- nodes ----------------------------------------------------------------------------------- */

static uint64_t key_id(const uint8_t key[MESH_KEY_SIZE])
{
	uint64_t id;

	memcpy(&id, key, sizeof(id));
	return id ? id : 1;
}

static struct node *node_of_key(const struct mesh *mesh, const uint8_t key[MESH_KEY_SIZE])
{
	struct node *node = idmap_get(&mesh->by_key, key_id(key));

	return node && !memcmp(node->identity.key, key, MESH_KEY_SIZE) ? node : NULL;
}

bool mesh_is_listed(const struct mesh *mesh, const uint8_t key[MESH_KEY_SIZE])
{
	for (size_t i = 0; i < mesh->options.listed_count; i++)
		if (!memcmp(mesh->listed[i], key, MESH_KEY_SIZE))
			return true;
	return false;
}

static enum err add_node(struct mesh *mesh, uint64_t id, struct node **node)
{
	struct node *fresh;

	if (mesh->by_id.count >= NODES_MAX) {
		mesh->counters.refused_room++;
		return ERR_LIMIT;
	}
	fresh = calloc(1, sizeof(*fresh));
	if (!fresh || idmap_put(&mesh->by_id, id, fresh)) {
		free(fresh);
		return ERR_NO_MEMORY;
	}
	fresh->id = id;
	mesh->ring_is_stale = true;
	fresh->next = mesh->nodes;
	mesh->nodes = fresh;
	mesh->counters.nodes++;
	*node = fresh;
	return ERR_OK;
}

static void close_way(struct mesh *mesh, struct node *node)
{
	if (!node->open)
		return;
	node->open = false;
	mesh->counters.open--;
	mesh->options.ops->close(mesh->options.context, node->id);
}

static void remove_node(struct mesh *mesh, struct node *node)
{
	struct node **at = &mesh->nodes;

	close_way(mesh, node);
	if (node->identity.known && node_of_key(mesh, node->identity.key) == node)
		idmap_remove(&mesh->by_key, key_id(node->identity.key));
	idmap_remove(&mesh->by_id, node->id);
	while (*at != node)
		at = &(*at)->next;
	*at = node->next;
	mesh->counters.nodes--;
	mesh->ring_is_stale = true;
	free(node);
}

/* Rather few nodes: everybody keeps a way to everybody, so that who has gone is noticed at once. */
static bool is_used(const struct mesh *mesh, const struct node *node)
{
	return node->wanted || node->near ||
	       (node->in_store && mesh->by_id.count <= MESH_EAGER_MAX);
}

/* The best of the last few: what a crowded machine adds is in the others. */
static const struct round_trip *best_trip(const struct node *node)
{
	uint32_t count = node->trip_count < ROUND_TRIPS ? node->trip_count : ROUND_TRIPS;
	const struct round_trip *best = NULL;

	for (uint32_t i = 0; i < count; i++)
		if (!best || node->trips[i].rtt_us < best->rtt_us)
			best = &node->trips[i];
	return best;
}

static void tell(struct mesh *mesh, struct node *node, int64_t now_us)
{
	const struct round_trip *best = best_trip(node);

	node->told_us = now_us;
	mesh->options.ops->told(
		mesh->options.context, &(struct mesh_view){
					       .node = node->id,
					       .boot = node->boot,
					       .state = node->state,
					       .name = node->name,
					       .version = node->version,
					       .rtt_us = best ? best->rtt_us : 0,
					       .offset_us = best ? best->offset_us : 0,
				       });
}

void mesh_become(struct mesh *mesh, struct node *node, enum mesh_state state, int64_t now_us)
{
	if (node->state == state)
		return;
	node->state = (uint8_t)state;
	mesh->ring_is_stale = true;
	tell(mesh, node, now_us);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct mesh *mesh_create(const struct mesh_options *options)
{
	struct mesh *mesh = calloc(1, sizeof(*mesh));

	if (!mesh)
		return NULL;
	mesh->options = *options;
	text_copy(mesh->endpoint, sizeof(mesh->endpoint), options->endpoint);
	text_copy(mesh->name, sizeof(mesh->name), options->name);
	text_copy(mesh->version, sizeof(mesh->version), options->version);
	mesh->has_cluster_key = options->cluster_key != NULL;
	if (options->cluster_key)
		memcpy(mesh->cluster_key, options->cluster_key, MESH_KEY_SIZE);
	MUST(options->listed_count <= MESH_LISTED_MAX);
	for (size_t i = 0; i < options->listed_count; i++)
		memcpy(mesh->listed[i], options->listed[i], MESH_KEY_SIZE);
	return mesh;
}

void mesh_destroy(struct mesh **mesh_, bool leaving)
{
	struct mesh *mesh = *mesh_;
	struct node *next;

	if (!mesh)
		return;
	for (struct node *node = mesh->nodes; node; node = next) {
		uint8_t bye[1 + sizeof(uint64_t)] = {FRAME_BYE};
		struct writer out = writer_of(bye + 1, sizeof(bye) - 1);
		struct iovec part = {.iov_base = bye, .iov_len = sizeof(bye)};

		next = node->next;
		write_u64(&out, mesh->options.boot);
		if (leaving && node->open)
			(void)mesh->options.ops->send(mesh->options.context, node->id, &part, 1);
		close_way(mesh, node);
		free(node);
	}
	idmap_fini(&mesh->by_id);
	idmap_fini(&mesh->by_key);
	free(mesh);
	*mesh_ = NULL;
}

void mesh_set_certificate(struct mesh *mesh, const uint8_t *certificate, size_t size)
{
	MUST(size <= sizeof(mesh->certificate));
	mesh->certificate_size = size;
	if (size)
		memcpy(mesh->certificate, certificate, size);
	mesh->due_us = 0;
}

void mesh_close_all(struct mesh *mesh)
{
	for (struct node *node = mesh->nodes; node; node = node->next)
		close_way(mesh, node);
	mesh->due_us = 0;
}

const struct mesh_counters *mesh_counters(const struct mesh *mesh)
{
	return &mesh->counters;
}

/* ---- who may --------------------------------------------------------------------------------- */

/* Whether a node may say that this key is its own. `was`: what is known already, so that a certificate
 * is verified once, not with each hello. */
static enum err identify(const struct mesh *mesh, uint64_t node, const uint8_t key[MESH_KEY_SIZE],
	const uint8_t *certificate, size_t size, int64_t now_s, const struct identity *was,
	struct identity *identity)
{
	struct mesh_certificate says;
	enum err err;

	if (mesh_is_revoked(mesh, key))
		return ERR_FORBIDDEN;
	if (was && was->known && was->certificate_size == size &&
		!memcmp(was->key, key, MESH_KEY_SIZE) &&
		!memcmp(was->certificate, certificate, size)) {
		*identity = *was;
		return size && was->not_after_s < now_s ? ERR_TIMEOUT : ERR_OK;
	}
	*identity = (struct identity){.known = true};
	memcpy(identity->key, key, MESH_KEY_SIZE);
	if (mesh_is_listed(mesh, key))
		return ERR_OK;
	if (!mesh->has_cluster_key || !size)
		return ERR_AUTH;
	err = mesh_certificate_verify(certificate, size, mesh->cluster_key, now_s, &says);
	if (err)
		return err;
	if (says.node != node || memcmp(says.key, key, MESH_KEY_SIZE))
		return ERR_FORBIDDEN;
	identity->certificate_size = size;
	memcpy(identity->certificate, certificate, size);
	identity->not_after_s = says.not_after_s;
	identity->serial = says.serial;
	return ERR_OK;
}

/* A newer certificate takes the older one's place; of keys that are merely listed the one in use stays
 * while its node lives. */
static bool may_replace(const struct node *node, const struct identity *fresh, int64_t now_us)
{
	const struct identity *was = &node->identity;

	if (!was->known || !memcmp(was->key, fresh->key, MESH_KEY_SIZE))
		return true;
	if (was->certificate_size && fresh->certificate_size)
		return fresh->serial > was->serial;
	return !mesh_is_alive(node, now_us);
}

static enum err take_identity(struct mesh *mesh, struct node *node, const struct identity *fresh)
{
	bool same = node->identity.known && !memcmp(node->identity.key, fresh->key, MESH_KEY_SIZE);

	if (!same) {
		struct node *other = node_of_key(mesh, fresh->key);
		enum err err;

		if (other && other != node) /* one key, one node */
			return ERR_FORBIDDEN;
		err = idmap_put(&mesh->by_key, key_id(fresh->key), node);
		if (err)
			return err;
		if (node->identity.known)
			idmap_remove(&mesh->by_key, key_id(node->identity.key));
		close_way(mesh, node); /* it must prove the new one */
	}
	node->identity = *fresh;
	return ERR_OK;
}

static void take_place(struct mesh *mesh, struct node *node, const char *endpoint, const char *name)
{
	if (endpoint[0] && strcmp(node->endpoint, endpoint)) {
		text_copy(node->endpoint, sizeof(node->endpoint), endpoint);
		close_way(mesh, node);
	}
	text_copy(node->name, sizeof(node->name), name);
}

bool mesh_admits(const struct mesh *mesh, const uint8_t key[MESH_KEY_SIZE])
{
	return (mesh->has_cluster_key || mesh_is_listed(mesh, key)) && !mesh_is_revoked(mesh, key);
}

/* ---- keys that are let in no more ------------------------------------------------------------- */

bool mesh_is_revoked(const struct mesh *mesh, const uint8_t key[MESH_KEY_SIZE])
{
	for (unsigned i = 0; i < mesh->revoked_count; i++)
		if (!memcmp(mesh->revoked[i], key, MESH_KEY_SIZE))
			return true;
	return false;
}

/* Unless it has another key by now. */
static void bar(struct mesh *mesh, struct node *node, int64_t now_us)
{
	if (node->identity.known || node->state == MESH_REVOKED)
		return;
	close_way(mesh, node);
	mesh->counters.downs += node->is_up;
	node->is_up = node->wanted = false;
	node->boot = node->your_boot = 0;
	node->trip_count = 0;
	mesh->options.ops->barred(mesh->options.context, node->id);
	mesh_become(mesh, node, MESH_REVOKED, now_us);
}

enum err mesh_revoke(struct mesh *mesh, const uint8_t key[MESH_KEY_SIZE], struct mesh_time at)
{
	struct node *node = node_of_key(mesh, key);

	if (mesh_is_revoked(mesh, key))
		return ERR_EXISTS;
	if (mesh->revoked_count == MESH_REVOKED_MAX)
		return ERR_LIMIT;
	memcpy(mesh->revoked[mesh->revoked_count++], key, MESH_KEY_SIZE);
	if (node) {
		idmap_remove(&mesh->by_key, key_id(key));
		node->identity = (struct identity){0};
		bar(mesh, node, at.now_us);
	}
	return ERR_OK;
}

/* Its record has a key that was revoked: what there is of it was perhaps there before we were. */
static enum err learn_revoked(
	struct mesh *mesh, struct node *node, const struct mesh_hint *hint, struct mesh_time at)
{
	enum err err = node ? ERR_OK : add_node(mesh, hint->node, &node);

	if (err)
		return err;
	node->in_store = true;
	if (!node->name[0])
		text_copy(node->name, sizeof(node->name), hint->name);
	bar(mesh, node, at.now_us);
	return ERR_FORBIDDEN;
}

/* Something was to be said to it before it was known. */
static bool is_awaited(const struct mesh *mesh, uint64_t id)
{
	for (unsigned i = 0; i < mesh->awaited_count; i++)
		if (mesh->awaited[i] == id)
			return true;
	return false;
}

enum err mesh_learn(struct mesh *mesh, const struct mesh_hint *hint, struct mesh_time at)
{
	struct node *node = idmap_get(&mesh->by_id, hint->node);
	struct identity identity;
	enum err err;

	if (!hint->node || hint->node == mesh->options.node)
		return ERR_FORMAT;
	if (mesh_is_revoked(mesh, hint->key))
		return learn_revoked(mesh, node, hint, at);
	err = identify(mesh, hint->node, hint->key, hint->certificate, hint->certificate_size,
		at.wall_us / 1000000, node ? &node->identity : NULL, &identity);
	if (err)
		return err;
	if (!node && node_of_key(mesh, identity.key))
		return ERR_FORBIDDEN;
	if (!node)
		err = add_node(mesh, hint->node, &node);
	if (err)
		return err;
	mesh->ring_is_stale |= !node->in_store;
	node->in_store = true;
	node->wanted |= is_awaited(mesh, node->id);
	mesh->due_us = 0;
	/* what it says itself while it lives is newer than what the store says */
	if (may_replace(node, &identity, at.now_us) &&
		(!mesh_is_alive(node, at.now_us) || identity.serial > node->identity.serial)) {
		err = take_identity(mesh, node, &identity);
		if (!err)
			take_place(mesh, node, hint->endpoint, hint->name);
		if (!err && node->state == MESH_REVOKED)
			mesh_become(mesh, node, MESH_KNOWN, at.now_us);
	}
	return err;
}

void mesh_forget(struct mesh *mesh, uint64_t id)
{
	struct node *node = idmap_get(&mesh->by_id, id);

	if (!node)
		return;
	node->in_store = false;
	mesh->ring_is_stale = true;
	mesh->due_us = 0;
}

/* ---- up and down ----------------------------------------------------------------------------- */

/* Both sides know of each other: mail may go. */
static void come_up(struct mesh *mesh, struct node *node, int64_t now_us)
{
	const struct mesh_ops *ops = mesh->options.ops;

	if (!node->is_up || node->up_boot != node->boot) {
		node->is_up = true;
		node->up_boot = node->boot;
		ops->up(mesh->options.context, node->id, node->boot);
	} else if (node->state != MESH_UP) {
		ops->again(mesh->options.context, node->id);
	}
	mesh_become(mesh, node, MESH_UP, now_us);
}

void mesh_go_down(struct mesh *mesh, struct node *node, int64_t now_us)
{
	bool was_up = node->is_up;

	node->is_up = node->wanted = false;
	node->your_boot = 0;
	node->trip_count = 0;
	node->their_beat_ms = 0;
	mesh_watch_heard(node, node->heard_us);
	if (was_up) {
		mesh->counters.downs++;
		mesh->options.ops->down(mesh->options.context, node->id);
	}
	mesh_become(mesh, node, MESH_DOWN, now_us);
}

/* ---- frames out ------------------------------------------------------------------------------ */

enum err mesh_send_hello(
	struct mesh *mesh, struct node *node, const struct node *suspect, struct mesh_time at)
{
	struct mesh_hello hello = {
		.protocol = MESH_PROTOCOL,
		.node = mesh->options.node,
		.boot = mesh->options.boot,
		.your_boot = node->boot,
		.sent_us = at.now_us,
		.echo_us = node->their_sent_us,
		.held_us = node->their_sent_us ? at.now_us - node->their_sent_at_us : 0,
		.wall_us = at.wall_us,
		.beat_ms = mesh_beat_ms(mesh, node),
		.ask = node->silent_us != 0,
		.suspect = suspect ? suspect->id : 0,
		.silent_ms = suspect ? (uint32_t)((at.now_us - suspect->silent_us) / MS) : 0,
	};
	uint8_t bytes[MESH_HELLO_MAX];
	struct writer out = writer_of(bytes, sizeof(bytes));

	text_copy(hello.endpoint, sizeof(hello.endpoint), mesh->endpoint);
	text_copy(hello.name, sizeof(hello.name), mesh->name);
	text_copy(hello.version, sizeof(hello.version), mesh->version);
	hello.certificate.size = (uint16_t)mesh->certificate_size;
	memcpy(hello.certificate.data, mesh->certificate, mesh->certificate_size);
	write_u8(&out, FRAME_HELLO);
	MUST(schema_encode(&schema_mesh_hello, &hello, &out) == ERR_OK);
	struct iovec part = {.iov_base = bytes, .iov_len = writer_used(&out)};
	enum err err = mesh->options.ops->send(mesh->options.context, node->id, &part, 1);

	if (!err) {
		node->said_beat_ms = hello.beat_ms;
		node->hello_us = at.now_us;
	}
	return err;
}

enum err mesh_want(struct mesh *mesh, uint64_t id, struct mesh_time at)
{
	struct node *node = idmap_get(&mesh->by_id, id);

	if (!node || !node->identity.known || !node->endpoint[0]) {
		if (at.now_us - mesh->options.began_us > MESH_LEARN_MS * MS)
			return ERR_NOT_FOUND;
		if (!is_awaited(mesh, id) && mesh->awaited_count < MESH_AWAITED_MAX)
			mesh->awaited[mesh->awaited_count++] = id;
		return ERR_OK;
	}
	if (!node->wanted)
		mesh->due_us = 0;
	node->wanted = true;
	return ERR_OK;
}

enum err mesh_send(struct mesh *mesh, uint64_t id, const struct iovec *parts, size_t count,
	struct mesh_time at)
{
	enum { PARTS_MAX = 8 };
	struct node *node = idmap_get(&mesh->by_id, id);
	uint8_t head[MESH_MAIL_HEAD] = {FRAME_MAIL};
	struct iovec all[PARTS_MAX];
	enum err err;

	MUST(count < PARTS_MAX);
	if (!node)
		return ERR_DEAD;
	if (!node->open || !node->is_up || node->up_boot != node->boot) {
		(void)mesh_want(mesh, id, at);
		return ERR_AGAIN;
	}
	node->wanted = true;
	all[0] = (struct iovec){.iov_base = head, .iov_len = sizeof(head)};
	memcpy(all + 1, parts, count * sizeof(*parts));
	err = mesh->options.ops->send(mesh->options.context, id, all, count + 1);
	mesh->counters.mails_out += !err;
	if (!err)
		mesh_watch_mailed(mesh, node, at.now_us);
	return err;
}

/* ---- frames in ------------------------------------------------------------------------------- */

static void note_round_trip(struct node *node, const struct mesh_hello *hello, struct mesh_time at)
{
	int64_t rtt_us = at.now_us - hello->echo_us - hello->held_us;

	node->their_sent_us = hello->sent_us;
	node->their_sent_at_us = at.now_us;
	if (!hello->echo_us || hello->held_us < 0 || rtt_us < 0 || rtt_us > MESH_DOUBTFUL_MS * MS)
		return;
	node->trips[node->trip_count++ % ROUND_TRIPS] = (struct round_trip){
		.rtt_us = rtt_us,
		.offset_us = hello->wall_us + rtt_us / 2 - at.wall_us,
	};
	if (node->trip_count == 2 * ROUND_TRIPS)
		node->trip_count = ROUND_TRIPS;
}

/* Of two that say to be one node this is the other. */
static bool is_twin(const struct node *node, const struct mesh_hello *hello,
	const struct identity *identity, int64_t now_us)
{
	return (hello->boot < node->boot && mesh_is_alive(node, now_us)) ||
	       !may_replace(node, identity, now_us);
}

static enum err meet(struct mesh *mesh, const uint8_t key[MESH_KEY_SIZE],
	const struct mesh_hello *hello, struct mesh_time at, struct node **node)
{
	struct identity identity;
	enum err err;

	*node = idmap_get(&mesh->by_id, hello->node);
	err = identify(mesh, hello->node, key, hello->certificate.data, hello->certificate.size,
		at.wall_us / 1000000, *node ? &(*node)->identity : NULL, &identity);
	if (err) {
		mesh->counters.refused_key++;
		return err;
	}
	if (hello->node == mesh->options.node ||
		(*node && is_twin(*node, hello, &identity, at.now_us))) {
		mesh->counters.refused_twice++;
		return ERR_EXISTS;
	}
	if (!*node && node_of_key(mesh, key)) {
		mesh->counters.refused_key++;
		return ERR_FORBIDDEN;
	}
	if (!*node)
		err = add_node(mesh, hello->node, node);
	return err ? err : take_identity(mesh, *node, &identity);
}

static enum err take_hello(struct mesh *mesh, const uint8_t key[MESH_KEY_SIZE],
	const uint8_t *bytes, size_t size, struct mesh_time at)
{
	struct reader in = reader_of(bytes, size);
	struct mesh_hello hello;
	struct node *node;
	enum err err = schema_decode(&schema_mesh_hello, &in, &hello);

	if (err || !hello.node || !hello.boot) {
		mesh->counters.bad_frames++;
		return ERR_FORMAT;
	}
	if (hello.protocol != MESH_PROTOCOL) {
		mesh->counters.bad_frames++;
		return ERR_VERSION;
	}
	err = meet(mesh, key, &hello, at, &node);
	if (err)
		return err;
	mesh->counters.hellos_in++;
	take_place(mesh, node, hello.endpoint, hello.name);
	text_copy(node->version, sizeof(node->version), hello.version);
	node->wanted = true;
	if (node->boot != hello.boot || hello.your_boot != mesh->options.boot)
		mesh->due_us = node->beat_us =
			0; /* it does not know how things stand: say it now */
	if (node->boot != hello.boot)
		node->trip_count = 0;
	node->boot = hello.boot;
	node->your_boot = hello.your_boot;
	mesh_watch_heard(node, at.now_us);
	node->their_beat_ms = hello.beat_ms < MESH_FAR_MS ? hello.beat_ms : MESH_FAR_MS;
	if (hello.ask && at.now_us - node->hello_us >= SOON_MS * MS)
		mesh->due_us = node->beat_us = 0;
	note_round_trip(node, &hello, at);
	if (node->your_boot == mesh->options.boot)
		come_up(mesh, node, at.now_us);
	if (at.now_us - node->told_us >= MESH_TOLD_MS * MS)
		tell(mesh, node, at.now_us);
	if (hello.suspect && node->is_up)
		mesh_watch_told(mesh, hello.suspect, hello.silent_ms, at);
	return ERR_OK;
}

/* Who sends mail has heard us; if he has not said so yet, it proves as much as a hello. */
static enum err take_mail(struct mesh *mesh, const uint8_t key[MESH_KEY_SIZE], const uint8_t *bytes,
	size_t size, struct mesh_time at)
{
	struct node *node = node_of_key(mesh, key);

	if (!node || !node->boot || (node->your_boot && node->your_boot != mesh->options.boot)) {
		mesh->counters.stale++;
		return ERR_OK;
	}
	mesh_watch_heard(node, at.now_us);
	node->your_boot = mesh->options.boot;
	come_up(mesh, node, at.now_us);
	mesh->counters.mails_in++;
	mesh->options.ops->frame(mesh->options.context, node->id, bytes, size);
	return ERR_OK;
}

static enum err take_bye(struct mesh *mesh, const uint8_t key[MESH_KEY_SIZE], const uint8_t *bytes,
	size_t size, struct mesh_time at)
{
	struct node *node = node_of_key(mesh, key);
	struct reader in = reader_of(bytes, size);
	uint64_t from = read_u64(&in);

	if (in.bad) {
		mesh->counters.bad_frames++;
		return ERR_FORMAT;
	}
	if (node && node->boot && from == node->boot) {
		node->heard_us = at.now_us - mesh->options.lost_us;
		mesh_go_down(mesh, node, at.now_us);
	}
	return ERR_OK;
}

enum err mesh_frame(struct mesh *mesh, const uint8_t key[MESH_KEY_SIZE], const uint8_t *bytes,
	size_t size, struct mesh_time at)
{
	switch (size ? bytes[0] : 0) {
	case FRAME_HELLO: return take_hello(mesh, key, bytes + 1, size - 1, at);
	case FRAME_MAIL: return take_mail(mesh, key, bytes + 1, size - 1, at);
	case FRAME_BYE: return take_bye(mesh, key, bytes + 1, size - 1, at);
	default: mesh->counters.bad_frames++; return ERR_FORMAT;
	}
}

/* ---- time ------------------------------------------------------------------------------------ */

static void make_way(struct mesh *mesh, struct node *node, int64_t now_us)
{
	if (mesh->options.ops->open(
		    mesh->options.context, node->id, node->endpoint, node->identity.key))
		return;
	node->open = true;
	node->opened_us = now_us;
	node->beat_us = 0;
	mesh->counters.open++;
	if (node->state == MESH_KNOWN)
		mesh_become(mesh, node, MESH_CONNECTING, now_us);
}

/* A way that stands but brings nothing may lead to somebody who was there before. */
static int64_t tend_way(struct mesh *mesh, struct node *node, struct mesh_time at)
{
	int64_t retry_us, silent_since_us;

	if (!is_used(mesh, node) || !node->identity.known || !node->endpoint[0])
		return INT64_MAX;
	silent_since_us = mesh_silent_since_us(node);
	if (silent_since_us < node->opened_us)
		silent_since_us = node->opened_us;
	retry_us = silent_since_us + MESH_RETRY_MS * MS;
	if (node->open && at.now_us >= retry_us)
		close_way(mesh, node);
	if (!node->open)
		make_way(mesh, node, at.now_us);
	if (!node->open)
		return at.now_us + MESH_BEAT_MS * MS;
	bool is_news = node->is_up && node->said_beat_ms != mesh_beat_ms(mesh, node);

	if (node->beat_us <= at.now_us || is_news) {
		bool young = at.now_us - node->opened_us < MESH_DOUBTFUL_MS * MS;
		enum err err = mesh_send_hello(mesh, node, NULL, at);

		node->beat_us = err && young ? at.now_us + SOON_MS * MS
					     : mesh_next_beat_us(mesh, node, at.now_us);
	}
	return sooner(node->beat_us, retry_us > at.now_us ? retry_us : node->beat_us);
}

int64_t mesh_turn(struct mesh *mesh, struct mesh_time at)
{
	struct node *next;

	if (at.now_us < mesh->due_us)
		return mesh->due_us;
	mesh->due_us = INT64_MAX;
	mesh_watch_ring(mesh);
	for (struct node *node = mesh->nodes; node; node = next) {
		int64_t due_us = mesh_watch_judge(mesh, node, at);

		next = node->next;
		due_us = sooner(due_us, tend_way(mesh, node, at));
		mesh->due_us = sooner(mesh->due_us, due_us);
		if (!node->is_up && !is_used(mesh, node) && !node->in_store &&
			!mesh_is_alive(node, at.now_us))
			remove_node(mesh, node);
	}
	return mesh->due_us;
}
