/* SPDX-License-Identifier: Apache-2.0
 *
 * What a brain does, without the actor around it: reports come in, paths are planned, each node's table
 * goes out (decision 22).
 *
 * A node's table is sent as rows that have changed, at most each BRAIN_PUSH_MS, or anew: when the node has
 * another digest than what was sent to it, when it is behind, and to begin with, unless it has from the
 * brain before what it would be sent.
 *
 * Pure: time comes in, messages go out by a call. Thread: any one.
 */
#ifndef MILLRACE_BRAIN_H
#define MILLRACE_BRAIN_H

#include "cluster/path_table.h"
#include "cluster/topology.h"

enum {
	BRAIN_PUSH_MS = 200,
	BRAIN_BEHIND_MS = 3000, /* a node that has not taken its table by then gets it anew */
	BRAIN_NODE_US = 10000000,
	BRAIN_CORE_NEIGHBOURS = 8, /* times as many as an edge's */
};

/* As a node's table was sent last. */
struct brain_node {
	uint64_t id; /* whose place this was then */
	uint64_t version, digest;
	uint64_t had; /* digest of what it had when it was first heard */
	int64_t sent_us;
	bool anew;
	uint64_t probes; /* digest of the neighbours that it was told, 0 = none */
	int64_t probes_us;
	uint32_t detours; /* reported */
};

struct brain {
	uint64_t term, term_heard; /* its own; the highest that a report came with */
	struct topology *topology;
	struct brain_node *nodes;	/* by place of the topology */
	uint32_t push_next, probe_next; /* places to go on at */
	uint32_t probe_neighbours;
	struct path_pack *pack;
	uint64_t version; /* highest of all tables */
	uint64_t tables_sent, rows_sent, reports;
};

struct brain_options {
	uint64_t term;
	uint32_t probe_neighbours;
	struct topology_options topology;
};

enum err brain_create(const struct brain_options *options, struct brain **brain);
void brain_destroy(struct brain **brain);

/* ERR_FORMAT: makes no sense; ERR_LIMIT: too many nodes or links; ERR_NO_MEMORY. What could be taken has
 * been. */
enum err brain_hear(
	struct brain *brain, uint64_t node, const struct msg_node_report *report, int64_t now_us);

/* It is known to be the brain now, and has been since before `heard` was: a term that is higher than its own
 * is of a store that has begun anew since. It takes the next one, and sends all tables again. */
void brain_raise(struct brain *brain, uint64_t heard);

/* The mesh has lost it. */
void brain_lost(struct brain *brain, uint64_t node);

/* As paths_step. */
bool brain_step(struct brain *brain, uint32_t pairs);

typedef void brain_send(void *context, uint64_t node, const struct msg_path_table *table);

/* Sends tables to nodes that are due, until about so many rows are out. True: more are due now. */
bool brain_push(
	struct brain *brain, int64_t now_us, uint32_t rows, brain_send *send, void *context);

/* True when somebody has a table that is not what was planned. */
bool brain_is_behind(const struct brain *brain);

/* Looks at one node after the other: true when the one looked at is to be told whom to measure. */
bool brain_next_probes(
	struct brain *brain, int64_t now_us, uint64_t *node, struct msg_probe_plan *plan);

/* For people. */
enum err brain_explain(const struct brain *brain, const struct msg_path_query *query,
	struct msg_path_answer *answer);

uint32_t brain_detours(const struct brain *brain);

#endif
