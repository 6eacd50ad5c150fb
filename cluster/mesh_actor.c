/* SPDX-License-Identifier: Apache-2.0
 *
 * mesh: the office of the control process that knows the nodes of the cluster. It writes this node's
 * record into the store under a lease, watches the records of the others, tells the transport
 * (runtime/net_mesh.h) where they may be, and keeps what that tells of them.
 *
 *   mesh_self, a lease --> own record is put        record of another --> net_mesh_learn
 *   lease expired, record gone, store back --> put again                  mesh_node --> its row
 *   a worker's state on the status page ------> its record, under the same lease
 *
 * The store is a hint where somebody may be: who may come in, and who lives, the transport says. Another
 * node that writes our own id with a later boot displaces us: said in the log, and we write no more.
 * With coord local there is no such office. Owns nothing but its state; the keys never come here.
 */
#include "cluster/cluster.h"
#include "cluster/store.h"
#include "cluster/worker_records.h"
#include "runtime/config.h"
#include "runtime/net_mesh.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	TICK_MS = 1000,
	LEASE_MS = 10000,
	KEEP_TICKS = 3, /* the lease is kept each third tick */
	STORE_MS = 4000,
	KEY_DIGITS = 16,
	ROWS_MAX = sizeof(((struct mesh_office_state *)0)->nodes) / sizeof(struct node_row),
};

static const char prefix[] = "node/", revoked_prefix[] = "node/revoked/";

struct mesh_office {
	struct mesh_office_state st;
	uint64_t lease_request, keep_request, put_request, load_request, revoke_request,
		worker_request;
	struct worker_records told, telling; /* the workers', in the store and on the way there */
	int telling_of;
	int revoking;  /* whose record is being put, of st.revoked */
	bool has_self; /* the transport has said what others are to know */
	bool written;  /* the record lies in the store, under the present lease */
	bool watching; /* the others' are known and followed */
	uint32_t ticks;
};

/* ---- rows ------------------------------------------------------------------------------------ */

/* Where that node's row is, or would be. */
static int place_of(const struct mesh_office *s, uint64_t node)
{
	int low = 0, high = s->st.nodes_count;

	while (low < high) {
		int middle = (low + high) / 2;

		if (s->st.nodes[middle].node < node)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct node_row *find_row(struct mesh_office *s, uint64_t node)
{
	int at = place_of(s, node);

	return at < s->st.nodes_count && s->st.nodes[at].node == node ? &s->st.nodes[at] : NULL;
}

/* NULL: there are too many. */
static struct node_row *add_row(struct actor *self, struct mesh_office *s, uint64_t node)
{
	int at = place_of(s, node);
	struct node_row *row = find_row(s, node);

	if (row || s->st.nodes_count == ROWS_MAX)
		return row;
	row = &s->st.nodes[at];
	memmove(row + 1, row, (size_t)(s->st.nodes_count++ - at) * sizeof(*row));
	*row = (struct node_row){.node = node, .since_us = actor_wall_us(self)};
	return row;
}

static void remove_row(struct mesh_office *s, struct node_row *row)
{
	size_t behind = (size_t)(s->st.nodes + s->st.nodes_count - (row + 1));

	memmove(row, row + 1, behind * sizeof(*row));
	s->st.nodes_count--;
}

static bool is_there(const struct node_row *row)
{
	return row->in_store || row->state == MESH_UP || row->state == MESH_DOUBTFUL;
}

/* ---- the own record -------------------------------------------------------------------------- */

static uint64_t own_node(struct actor *self)
{
	return actor_addr(self).node;
}

static void fill_own(struct actor *self, struct mesh_office *s)
{
	const struct process_env *env = runtime_env(actor_runtime(self));
	const struct config *config = actor_config(self);
	struct node_record *own = &s->st.own;

	text_copy(own->version, sizeof(own->version), MILLRACE_VERSION);
	if (env)
		text_copy(own->name, sizeof(own->name), env->node_name);
	if (!config)
		return;
	text_copy(own->region, sizeof(own->region), config->region);
	process_public_url(env, config, own->public_url);
	own->tier = (uint8_t)config->tier;
	own->cost = (uint32_t)config->node_cost;
	own->capacity_bps = (uint64_t)config->node_capacity_bps;
}

static void show_own(struct actor *self, struct mesh_office *s)
{
	struct node_row *row = add_row(self, s, own_node(self));

	if (!row)
		return;
	row->record = s->st.own;
	row->state = MESH_UP;
	row->in_store = s->written;
}

static const char *id_text(uint64_t node, char text[KEY_DIGITS + 1])
{
	snprintf(text, KEY_DIGITS + 1, "%" PRIx64, node);
	return text;
}

static void key_of(uint64_t node, char *key, size_t size)
{
	snprintf(key, size, "%s%0*" PRIx64, prefix, KEY_DIGITS, node);
}

/* 0 = not a key of ours. */
static uint64_t node_of(const char *key)
{
	const char *digits = key + sizeof(prefix) - 1;

	if (strncmp(key, prefix, sizeof(prefix) - 1) || strlen(digits) != KEY_DIGITS ||
		digits[strspn(digits, "0123456789abcdef")])
		return 0;
	return strtoull(digits, NULL, 16);
}

static void put_own(struct actor *self, struct mesh_office *s)
{
	struct msg_store_put put = {.lease = s->st.lease, .compare = STORE_ANY};
	struct writer out = writer_of(put.value.data, sizeof(put.value.data));

	if (!s->has_self || !s->st.lease || s->written || s->put_request || s->st.displaced)
		return;
	if (schema_encode(&schema_node_record, &s->st.own, &out)) {
		log_error(
			actor_log(self), "node_record_too_large", "remedy", "a shorter public_url");
		s->st.displaced = true; /* it stays too large */
		return;
	}
	key_of(own_node(self), put.key, sizeof(put.key));
	put.value.size = (uint16_t)writer_used(&out);
	s->put_request = actor_request_mail(self, actor_office(self, OFFICE_STORE), STORE_MS,
		MSG_store_put, &schema_store_put, &put);
}

ON(mesh_office, mesh_self)
{
	struct node_record *own = &s->st.own;

	own->boot = m->boot;
	text_copy(own->endpoint, sizeof(own->endpoint), m->endpoint);
	own->key.size = m->key.size;
	memcpy(own->key.data, m->key.data, m->key.size);
	own->certificate.size = m->certificate.size;
	memcpy(own->certificate.data, m->certificate.data, m->certificate.size);
	s->has_self = true;
	s->written = false;
	show_own(self, s);
	put_own(self, s);
	return ERR_OK;
}

/* ---- keys that are let in no more -------------------------------------------------------------- */

/* NULL: there are too many. */
static struct revoked_key *note_revoked(struct mesh_office *s, const uint8_t key[MESH_KEY_SIZE])
{
	struct revoked_key *row;

	for (int i = 0; i < s->st.revoked_count; i++)
		if (!memcmp(s->st.revoked[i].key.data, key, MESH_KEY_SIZE))
			return &s->st.revoked[i];
	if (s->st.revoked_count == MESH_REVOKED_MAX)
		return NULL;
	row = &s->st.revoked[s->st.revoked_count++];
	*row = (struct revoked_key){.key.size = MESH_KEY_SIZE};
	memcpy(row->key.data, key, MESH_KEY_SIZE);
	return row;
}

/* The others are to know: one record at a time. It stays: who deletes it gets it back from each node. */
static void put_revoked(struct actor *self, struct mesh_office *s)
{
	struct msg_store_put put = {
		.compare = STORE_ANY, .value = {.size = 1, .data = "1"}
	       };
	char digits[MESH_KEY_TEXT_SIZE];
	int at = 0;

	while (at < s->st.revoked_count && s->st.revoked[at].in_store)
		at++;
	if (s->revoke_request || !s->watching || at == s->st.revoked_count)
		return;
	snprintf(put.key, sizeof(put.key), "%s%s", revoked_prefix,
		mesh_hex_write(s->st.revoked[at].key.data, MESH_KEY_SIZE, digits));
	s->revoking = at;
	s->revoke_request = actor_request_mail(self, actor_office(self, OFFICE_STORE), STORE_MS,
		MSG_store_put, &schema_store_put, &put);
}

ON(mesh_office, mesh_revoked)
{
	if (m->key.size == MESH_KEY_SIZE && note_revoked(s, m->key.data))
		put_revoked(self, s);
	return ERR_OK;
}

/* False: the pair is no such record. */
static bool take_revoked(
	struct actor *self, struct mesh_office *s, const struct store_pair *pair, bool there)
{
	const char *digits = pair->key + sizeof(revoked_prefix) - 1;
	uint8_t key[MESH_KEY_SIZE];
	struct revoked_key *row;

	if (strncmp(pair->key, revoked_prefix, sizeof(revoked_prefix) - 1) != 0)
		return false;
	row = mesh_hex_read(digits, strlen(digits), key, sizeof(key)) ? note_revoked(s, key) : NULL;
	if (!row) {
		s->st.refused++;
		return true;
	}
	row->in_store = there;
	if (there)
		(void)net_mesh_revoke(self, key);
	else
		put_revoked(self, s);
	return true;
}

/* ---- the own workers ---------------------------------------------------------------------------- */

static uint64_t request_worker_put(
	struct actor *self, const struct mesh_office *s, const char *key, int index)
{
	struct msg_store_put put = {.lease = s->st.lease, .compare = STORE_ANY};
	struct writer out = writer_of(put.value.data, sizeof(put.value.data));

	if (schema_encode(&schema_worker_record, &s->telling.row[index], &out))
		return 0;
	text_copy(put.key, sizeof(put.key), key);
	put.value.size = (uint16_t)writer_used(&out);
	return actor_request_mail(self, actor_office(self, OFFICE_STORE), STORE_MS, MSG_store_put,
		&schema_store_put, &put);
}

/* One record at a time, once the node's own lies there. */
static void put_workers(struct actor *self, struct mesh_office *s)
{
	const struct process_env *env = runtime_env(actor_runtime(self));
	struct msg_store_delete delete = {.compare = STORE_ANY};
	char key[WORKER_KEY_SIZE];

	if (!env || !env->page || !s->written || !s->watching || s->worker_request)
		return;
	worker_records_read(&s->telling, env->page);
	s->telling_of = worker_records_differ(&s->telling, &s->told);
	if (s->telling_of < 0)
		return;
	worker_key_write(own_node(self), s->telling_of, key);
	if (s->telling.there >> s->telling_of & 1) {
		s->worker_request = request_worker_put(self, s, key, s->telling_of);
		return;
	}
	text_copy(delete.key, sizeof(delete.key), key);
	s->worker_request = actor_request_mail(self, actor_office(self, OFFICE_STORE), STORE_MS,
		MSG_store_delete, &schema_store_delete, &delete);
}

static void worker_is_told(struct actor *self, struct mesh_office *s)
{
	s->worker_request = 0;
	worker_records_copy(&s->told, &s->telling, s->telling_of);
	put_workers(self, s);
}

/* False: the pair is no worker's. */
static bool take_worker(
	struct actor *self, struct mesh_office *s, const struct store_pair *pair, bool there)
{
	struct reader in = reader_of(pair->value.data, pair->value.size);
	struct worker_record record = {0};
	struct node_row *row;
	uint64_t node, bit;
	int index;

	if (!worker_key_read(pair->key, &node, &index))
		return false;
	bit = 1ull << index;
	row = find_row(s, node);
	if (there && schema_decode(&schema_worker_record, &in, &record)) {
		s->st.refused++;
		return true;
	}
	if (row) {
		bool ready = there && !strcmp(record.state, process_state_name(PROCESS_READY));

		row->workers = there ? row->workers | bit : row->workers & ~bit;
		row->ready = ready ? row->ready | bit : row->ready & ~bit;
	}
	if (node == own_node(self) && !there) {
		s->told.there &= ~bit; /* put again, if it was not our doing */
		put_workers(self, s);
	}
	return true;
}

/* ---- the lease ------------------------------------------------------------------------------- */

static void tend_lease(struct actor *self, struct mesh_office *s)
{
	struct addr store = actor_office(self, OFFICE_STORE);

	if (s->lease_request || s->keep_request)
		return;
	if (!s->st.lease)
		s->lease_request = actor_request(
			self, store, STORE_MS, store_lease_grant, {.ttl_ms = LEASE_MS});
	else if (s->ticks % KEEP_TICKS == 0)
		s->keep_request = actor_request(
			self, store, STORE_MS, store_lease_keep, {.lease = s->st.lease});
}

static void lose_lease(struct actor *self, struct mesh_office *s)
{
	s->st.lease = 0;
	s->written = false;
	s->told.there = 0;
	show_own(self, s);
	tend_lease(self, s);
}

ON(mesh_office, store_leased)
{
	if (mail->request == s->lease_request) {
		s->lease_request = 0;
		s->st.lease = m->lease;
		put_own(self, s);
	} else if (mail->request == s->keep_request) {
		s->keep_request = 0;
	}
	return ERR_OK;
}

ON(mesh_office, store_done)
{
	if (mail->request && mail->request == s->revoke_request) {
		s->revoke_request = 0;
		s->st.revoked[s->revoking].in_store = true;
		put_revoked(self, s);
		return ERR_OK;
	}
	if (mail->request && mail->request == s->worker_request) {
		worker_is_told(self, s);
		return ERR_OK;
	}
	if (mail->request != s->put_request)
		return ERR_OK;
	s->put_request = 0;
	s->written = true;
	s->st.written++;
	show_own(self, s);
	put_workers(self, s);
	return ERR_OK;
}

/* ---- the others' records --------------------------------------------------------------------- */

/* Somebody wrote what is ours: an earlier start of this node, whose lease has not ended, or a second
 * node with a copy of our data directory. */
static void see_own(struct actor *self, struct mesh_office *s, const struct node_record *record)
{
	if (!s->has_self || record->boot == s->st.own.boot)
		return;
	if (record->boot < s->st.own.boot) {
		s->written = false;
		put_own(self, s);
		return;
	}
	if (!s->st.displaced)
		log_error(actor_log(self), "node_id_taken", "by", record->endpoint, "remedy",
			"each node needs a data directory of its own");
	s->st.displaced = true;
	s->written = false;
	show_own(self, s);
}

static enum err learn(struct actor *self, uint64_t node, const struct node_record *record)
{
	if (record->key.size != MESH_KEY_SIZE)
		return ERR_FORMAT;
	return net_mesh_learn(self, &(struct mesh_hint){
					    .node = node,
					    .name = record->name,
					    .endpoint = record->endpoint,
					    .key = record->key.data,
					    .certificate = record->certificate.data,
					    .certificate_size = record->certificate.size,
				    });
}

static void take_record(
	struct actor *self, struct mesh_office *s, uint64_t node, const struct node_record *record)
{
	enum err err = learn(self, node, record);
	struct node_row *row;

	row = err ? find_row(s, node) : add_row(self, s, node);
	if (err) {
		char id[KEY_DIGITS + 1];

		s->st.refused++;
		log_warn(actor_log(self), "node_refused", "node", id_text(node, id), "name",
			record->name, "error", err_name(err));
	}
	if (!row)
		return;
	row->in_store = !err;
	if (!err)
		row->record = *record;
}

static void take_pair(struct actor *self, struct mesh_office *s, const struct store_pair *pair)
{
	struct reader in = reader_of(pair->value.data, pair->value.size);
	uint64_t node = node_of(pair->key);
	struct node_record record;

	if (take_revoked(self, s, pair, true) || take_worker(self, s, pair, true))
		return;
	if (!node || schema_decode(&schema_node_record, &in, &record)) {
		s->st.refused++;
		return;
	}
	if (node == own_node(self))
		see_own(self, s, &record);
	else
		take_record(self, s, node, &record);
}

static void lose_pair(struct actor *self, struct mesh_office *s, const struct store_pair *pair)
{
	uint64_t node = node_of(pair->key);
	struct node_row *row = node ? find_row(s, node) : NULL;

	if (take_revoked(self, s, pair, false) || take_worker(self, s, pair, false))
		return;
	if (node == own_node(self)) {
		s->written = false;
		s->told.there = 0;
		s->st.displaced = false;
		put_own(self, s);
		return;
	}
	if (!row)
		return;
	row->in_store = false;
	net_mesh_forget(self, node);
	if (!is_there(row))
		remove_row(s, row);
}

ON(mesh_office, store_event)
{
	if (m->revision > s->st.revision)
		s->st.revision = m->revision;
	if (m->deleted)
		lose_pair(self, s, &m->pair);
	else
		take_pair(self, s, &m->pair);
	return ERR_OK;
}

static void load(struct actor *self, struct mesh_office *s, const char *after)
{
	struct msg_store_range range = {0};

	memcpy(range.prefix, prefix, sizeof(prefix));
	text_copy(range.after, sizeof(range.after), after);
	if (!after[0]) {
		s->st.revision = 0;
		for (int i = 0; i < s->st.revoked_count; i++)
			s->st.revoked[i].in_store = false;
	}
	s->load_request = actor_request_mail(self, actor_office(self, OFFICE_STORE), STORE_MS,
		MSG_store_range, &schema_store_range, &range);
}

ON(mesh_office, store_pairs)
{
	struct msg_store_watch watch = {0};

	if (mail->request != s->load_request)
		return ERR_OK;
	if (!s->st.revision)
		s->st.revision = m->revision;
	for (int i = 0; i < m->pairs_count; i++)
		take_pair(self, s, &m->pairs[i]);
	if (m->more && m->pairs_count) {
		load(self, s, m->pairs[m->pairs_count - 1].key);
		return ERR_OK;
	}
	memcpy(watch.prefix, prefix, sizeof(prefix));
	watch.from_revision = s->st.revision + 1;
	s->load_request = actor_request_mail(self, actor_office(self, OFFICE_STORE), STORE_MS,
		MSG_store_watch, &schema_store_watch, &watch);
	return ERR_OK;
}

ON(mesh_office, store_watching)
{
	if (mail->request != s->load_request)
		return ERR_OK;
	s->load_request = 0;
	if (m->compacted)
		load(self, s, "");
	else
		s->watching = true;
	return ERR_OK;
}

ON(mesh_office, failed)
{
	if (mail->request == s->lease_request) {
		s->lease_request = 0;
	} else if (mail->request == s->keep_request) {
		s->keep_request = 0;
		if (m->err == ERR_NOT_FOUND)
			lose_lease(self, s);
	} else if (mail->request == s->put_request) {
		s->put_request = 0;
		if (m->err == ERR_NOT_FOUND) /* the lease has expired */
			lose_lease(self, s);
	} else if (mail->request == s->load_request) {
		s->load_request = 0;
	} else if (mail->request == s->revoke_request) {
		s->revoke_request = 0;
	} else if (mail->request == s->worker_request) {
		s->worker_request = 0;
		if (m->err == ERR_NOT_FOUND) { /* the lease has expired, or it is deleted already */
			s->told.there &= ~(1ull << s->telling_of);
			s->told.row[s->telling_of] = (struct worker_record){0};
		}
	}
	return ERR_OK;
}

static void tend(struct actor *self, struct mesh_office *s)
{
	tend_lease(self, s);
	put_own(self, s);
	put_revoked(self, s);
	put_workers(self, s);
	if (!s->watching && !s->load_request)
		load(self, s, "");
}

/* What it knew of us may be gone, and the lease with it: both are looked at now. */
ON(mesh_office, store_up)
{
	s->ticks = 0;
	tend(self, s);
	return ERR_OK;
}

ON(mesh_office, store_down)
{
	return ERR_OK; /* what is known stays: the transport says who lives */
}

static void mesh_office_timer(struct actor *self, void *data, unsigned timer)
{
	struct mesh_office *s = data;

	s->ticks++;
	tend(self, s);
	actor_timer_in_ms(self, timer, TICK_MS);
}

/* ---- what the transport says, and who asks --------------------------------------------------- */

ON(mesh_office, mesh_node)
{
	struct node_row *row = add_row(self, s, m->node);

	if (!row)
		return ERR_LIMIT;
	if (row->state != m->state) {
		char id[KEY_DIGITS + 1];

		row->since_us = actor_wall_us(self);
		log_info(actor_log(self), "node_is", "node", id_text(m->node, id), "name", m->name,
			"state", schema_mesh_state_name(m->state));
		/* while it seemed to live the transport did not believe what the store says: that it
		 * has come back elsewhere (mesh_learn) */
		if (m->state == MESH_DOWN && row->in_store)
			(void)learn(self, m->node, &row->record);
	}
	row->state = m->state;
	row->rtt_us = m->rtt_us;
	if (m->state == MESH_UP && m->rtt_us > 0)
		process_observe(
			runtime_env(actor_runtime(self)), PROCESS_HISTOGRAM_MESH, m->rtt_us);
	row->offset_us = m->offset_us;
	row->record.boot = m->boot ? m->boot : row->record.boot;
	if (m->name[0])
		text_copy(row->record.name, sizeof(row->record.name), m->name);
	if (m->version[0])
		text_copy(row->record.version, sizeof(row->record.version), m->version);
	if (!is_there(row) && row->state == MESH_DOWN)
		remove_row(s, row);
	return ERR_OK;
}

ON(mesh_office, nodes_ask)
{
	struct msg_nodes_told *told = calloc(1, sizeof(*told));
	int at = m->after ? place_of(s, m->after + 1) : 0;
	enum err err;

	if (!told)
		return ERR_NO_MEMORY;
	while (at < s->st.nodes_count && told->nodes_count < NODES_PAGE_MAX)
		told->nodes[told->nodes_count++] = s->st.nodes[at++];
	told->more = at < s->st.nodes_count;
	err = actor_answer_mail(self, actor_asker(self), MSG_nodes_told, &schema_nodes_told, told);
	free(told);
	return err;
}

static enum err mesh_office_init(struct actor *self, void *data, const void *args)
{
	struct mesh_office *s = data;

	(void)args;
	actor_set_name(self, "office/mesh");
	fill_own(self, s);
	actor_timer_in_ms(self, 0, 0);
	(void)net_mesh_open(self); /* without a transport the records alone are known */
	return ERR_OK;
}

/* Everything is asked for anew: the lease was this process' own. */
static enum err mesh_office_restore(struct actor *self, void *data)
{
	struct mesh_office *s = data;

	s->st = (struct mesh_office_state){.written = s->st.written, .refused = s->st.refused};
	return mesh_office_init(self, data, NULL);
}

static const struct handler mesh_office_handlers[] = {
	HANDLER(mesh_office, mesh_self, 0),
	HANDLER(mesh_office, mesh_node, 0),
	HANDLER(mesh_office, mesh_revoked, 0),
	HANDLER(mesh_office, nodes_ask, 0),
	HANDLER(mesh_office, store_leased, 0),
	HANDLER(mesh_office, store_done, 0),
	HANDLER(mesh_office, store_event, 0),
	HANDLER(mesh_office, store_pairs, 0),
	HANDLER(mesh_office, store_watching, 0),
	HANDLER(mesh_office, store_up, 0),
	HANDLER(mesh_office, store_down, 0),
	HANDLER(mesh_office, failed, 0),
};

const struct actor_type mesh_actor = {
	.name = "mesh",
	.size = sizeof(struct mesh_office),
	.state = &schema_mesh_office_state,
	.mailbox_max = 8192,
	HANDLER_TABLE(mesh_office_handlers),
	.init = mesh_office_init,
	.restore = mesh_office_restore,
	.timer = mesh_office_timer,
};
