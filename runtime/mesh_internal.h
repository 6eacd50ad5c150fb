/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the mesh engine: mesh.c (who may come in, who is there, frames) and mesh_watch.c (who watches
 * whom, how often, and what silence means).
 */
#ifndef MILLRACE_MESH_INTERNAL_H
#define MILLRACE_MESH_INTERNAL_H

#include "runtime/idmap.h"
#include "runtime/mesh.h"

enum {
	MS = 1000,
	NODES_MAX = MESH_NODES_MAX,
	SOON_MS = 20, /* a way that has just been made is tried again so soon */
	ROUND_TRIPS = 8,
	ENDPOINT_SIZE = sizeof(((struct mesh_hello *)0)->endpoint),
	NAME_SIZE = sizeof(((struct mesh_hello *)0)->name),
	VERSION_SIZE = sizeof(((struct mesh_hello *)0)->version),
};

/* A key that is proved to be of a node: by a certificate, or because it is listed. */
struct identity {
	bool known;
	uint8_t key[MESH_KEY_SIZE];
	size_t certificate_size; /* 0 = listed */
	uint8_t certificate[MESH_CERTIFICATE_SIZE];
	int64_t not_after_s;
	uint64_t serial;
};

struct round_trip {
	int64_t rtt_us;
	int64_t offset_us;
};

struct node {
	uint64_t id;
	uint64_t boot; /* 0 = never heard */
	uint8_t state; /* enum mesh_state */
	bool in_store; /* its record is there */
	bool wanted;   /* a mail was sent, or it greets us */
	bool open;     /* the transport has a way */
	bool is_up;    /* for the kernel, with `up_boot` */
	struct identity identity;
	char endpoint[ENDPOINT_SIZE], name[NAME_SIZE], version[VERSION_SIZE];
	int64_t opened_us, heard_us, beat_us, told_us;
	uint32_t their_beat_ms; /* it says hello so often */
	uint32_t said_beat_ms;	/* we do, as it was told last */
	bool near;		/* it watches us, and we it (mesh_watch.c) */
	uint8_t rank;		/* among those: the first tells the others first */
	int64_t silent_us; /* in doubt: silent since then; 0 = it is not, or everybody is near */
	int64_t asked_us;  /* since when it has been asked whether it lives */
	bool is_told;	   /* the others have heard that it is silent */
	int64_t hello_us;  /* of our last hello */
	int64_t mailed_us; /* mail left, and nothing was heard since; 0 = none */
	uint64_t up_boot;
	uint64_t your_boot;			 /* as which it knows us; 0 = not yet */
	int64_t their_sent_us, their_sent_at_us; /* of its last hello: its clock, and ours */
	struct round_trip trips[ROUND_TRIPS];
	uint32_t trip_count;
	struct node *next;
};

struct mesh {
	struct mesh_options options;
	char endpoint[ENDPOINT_SIZE], name[NAME_SIZE], version[VERSION_SIZE];
	bool has_cluster_key;
	uint8_t cluster_key[MESH_KEY_SIZE];
	uint8_t listed[MESH_LISTED_MAX][MESH_KEY_SIZE];
	size_t certificate_size;
	uint8_t certificate[MESH_CERTIFICATE_SIZE];
	uint8_t revoked[MESH_REVOKED_MAX][MESH_KEY_SIZE];
	unsigned revoked_count;
	struct idmap by_id, by_key; /* the latter by the key's first eight bytes */
	struct node *nodes;
	uint64_t awaited[MESH_AWAITED_MAX]; /* wanted before they were known */
	unsigned awaited_count;
	int64_t due_us; /* nothing is due before */
	bool ring_is_stale;
	bool is_large; /* not everybody is near */
	struct mesh_counters counters;
};

static inline int64_t sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* mesh.c */
void mesh_become(struct mesh *mesh, struct node *node, enum mesh_state state, int64_t now_us);
void mesh_go_down(struct mesh *mesh, struct node *node, int64_t now_us);
/* `suspect`: of whom it is told that it is silent, since `silent_us`; NULL = nobody. */
enum err mesh_send_hello(
	struct mesh *mesh, struct node *node, const struct node *suspect, struct mesh_time at);

/* mesh_watch.c */
/* Those that are near are chosen anew, if it is time. */
void mesh_watch_ring(struct mesh *mesh);
/* How often it is said hello to, and when that is next. */
uint32_t mesh_beat_ms(const struct mesh *mesh, const struct node *node);
int64_t mesh_next_beat_us(const struct mesh *mesh, const struct node *node, int64_t now_us);
/* Heard of lately enough that it is who it says it is. */
bool mesh_is_alive(const struct node *node, int64_t now_us);
/* Since when it has been silent, as far as that means anything. */
int64_t mesh_silent_since_us(const struct node *node);
/* Something has come from it. */
void mesh_watch_heard(struct node *node, int64_t now_us);
/* Mail has left for it. */
void mesh_watch_mailed(struct mesh *mesh, struct node *node, int64_t now_us);
/* It is said of that node that it has been silent for so long. */
void mesh_watch_told(struct mesh *mesh, uint64_t node, uint32_t silent_ms, struct mesh_time at);
/* What its silence means; when it means something next. */
int64_t mesh_watch_judge(struct mesh *mesh, struct node *node, struct mesh_time at);

#endif
