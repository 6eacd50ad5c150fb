/* SPDX-License-Identifier: Apache-2.0
 *
 * Gateways of nodes: who may come in, who is there, and a channel to each (docs/decisions/020). A pure
 * engine: frames and time in, frames and deadlines out; what carries them is live_mesh.c (ZeroMQ over
 * TCP with CURVE) or a test.
 *
 *   known --wanted, a path is made--> connecting --hello both ways--> up
 *   up --1 s of silence (MESH_DOUBTFUL_MS)--> doubtful --hello--> up
 *   doubtful --lost_us of silence--> down
 *   down --hello both ways--> up
 *   any --its key is revoked--> revoked --another key of its own--> known
 *
 * Frames: a byte of kind, then
 *   hello   record mesh_hello: identity and heartbeat in one, so that there is no state in which one
 *           side takes the other for greeted and is wrong
 *   mail    a frame of the kernel's, which has its own numbering (runtime/node_bus.c)
 *   bye     boot of the sender (8 bytes, big-endian): the node stops
 *   operator  no node's, and none of this engine's business: runtime/operator.h
 *
 * Identity: a frame comes with the CURVE key that its connection proved to have. The key belongs to a
 * node by a certificate of the cluster, or it is listed. Of two with one node id the one that started
 * later (boot) is taken, unless the other has been silent; the loser is counted.
 *
 * Once made, a way is kept while the other side answers: who watches whom over it no gateway knows.
 *
 * Thread: one. Allocates a node when it becomes known, nothing for a frame.
 */
#ifndef MILLRACE_MESH_H
#define MILLRACE_MESH_H

#include "runtime/mesh_certificate.h"
#include "schemas/schema.h"

#include <sys/uio.h>

enum {
	MESH_PROTOCOL = 1,
	MESH_LISTED_MAX = 11, /* what mesh.peers has room for */
	MESH_EAGER_MAX = 64,  /* in a cluster of up to so many nodes all keep a channel to all */
	MESH_BEAT_MS = 200,
	MESH_BEATS_PER_S = 80, /* to all together: with more than 16 others beats become rarer … */
	MESH_BEAT_MAX_MS = 600,
	MESH_LOST_BEATS = 5, /* … but so many are missing before a node is down */
	MESH_NEAR = 8, /* of more others than these the nearest on a ring watch each other … */
	MESH_NEAR_MS = 300,   /* … by beats so often, and tell the others of who is silent; … */
	MESH_FAR_MS = 3900,   /* … to those a beat is enough; a multiple of MESH_NEAR_MS */
	MESH_ASK_MS = 200,    /* who is in doubt is asked so often whether it lives … */
	MESH_ANSWER_MS = 300, /* … and has so long to answer */
	MESH_UNHEARD_MS = 500,	 /* a beat that is so late, mail without an answer: a doubt */
	MESH_DOUBTFUL_MS = 1000, /* or two and a half of its beats */
	MESH_RETRY_MS = 2000,	 /* a path that brings nothing is made anew */
	MESH_TOLD_MS = 1000,
	MESH_LEARN_MS = 3000, /* from its beginning: who is not known yet may be soon */
	MESH_AWAITED_MAX = 64,
	MESH_MAIL_HEAD = 1,
	MESH_FRAME_OPERATOR = 4, /* the kinds below it are mesh.c's */
	MESH_HELLO_MAX = 640,	 /* bytes of a hello, encoded */
};

struct mesh_time {
	int64_t now_us;	 /* monotonic */
	int64_t wall_us; /* Unix time */
};

/* What is to be known of a node outside. */
struct mesh_view {
	uint64_t node, boot;
	enum mesh_state state;
	const char *name, *version;
	int64_t rtt_us, offset_us; /* 0 = not known */
};

/* None blocks. `up`, `again`, `down` and `frame` are the kernel's: runtime_node_… of runtime.h. */
struct mesh_ops {
	/* A way to a node, which must prove to have that key; there is none yet. */
	enum err (*open)(void *context, uint64_t node, const char *endpoint,
		const uint8_t key[MESH_KEY_SIZE]);
	void (*close)(void *context, uint64_t node);
	/* ERR_AGAIN: the way does not stand, or is full. */
	enum err (*send)(void *context, uint64_t node, const struct iovec *parts, size_t count);
	void (*up)(void *context, uint64_t node, uint64_t boot);
	void (*again)(void *context, uint64_t node);
	void (*down)(void *context, uint64_t node);
	/* Its key was revoked: whatever there is of it is to end. In the place of `down`. */
	void (*barred)(void *context, uint64_t node);
	void (*frame)(void *context, uint64_t node, const uint8_t *bytes, size_t size);
	/* A change of state, and now and then. */
	void (*told)(void *context, const struct mesh_view *view);
};

struct mesh_options {
	uint64_t node, boot;
	const char *name, *version, *endpoint; /* copied */
	const uint8_t *cluster_key;	       /* NULL: no certificate counts; copied */
	const uint8_t (*listed)[MESH_KEY_SIZE];
	size_t listed_count;
	int64_t lost_us;
	int64_t began_us; /* monotonic */
	const struct mesh_ops *ops;
	void *context;
};

/* What the store says of a node. */
struct mesh_hint {
	uint64_t node;
	const char *name, *endpoint;
	const uint8_t *key; /* MESH_KEY_SIZE */
	const uint8_t *certificate;
	size_t certificate_size; /* 0 = none */
};

struct mesh_counters {
	uint64_t hellos_in, mails_in, mails_out;
	uint64_t refused_key;	/* neither a certificate nor listed */
	uint64_t refused_twice; /* of two with one node id the other */
	uint64_t refused_room;	/* too many nodes */
	uint64_t bad_frames;
	uint64_t stale;	   /* mail of or for somebody who is no more */
	uint64_t downs;	   /* nodes that were up and went silent */
	uint64_t doubts;   /* nodes that were asked whether they live, or silent for a second */
	uint64_t warnings; /* the others were told of one */
	uint32_t nodes, open;
};

struct mesh;

/* NULL: no memory. */
struct mesh *mesh_create(const struct mesh_options *options);
/* `leaving`: the node stops, and says so to those who listen. */
void mesh_destroy(struct mesh **mesh, bool leaving);

/* The certificate that hellos carry from now on; size 0 = none. */
void mesh_set_certificate(struct mesh *mesh, const uint8_t *certificate, size_t size);
/* All ways are closed: they are made anew with the next turn (another key of ours). */
void mesh_close_all(struct mesh *mesh);

/* ERR_AUTH, ERR_TIMEOUT (past its time), ERR_FORBIDDEN (a certificate of something else, a key that was
 * revoked), ERR_FORMAT,
 * ERR_LIMIT, ERR_NO_MEMORY: it is not taken, and what was known before stays. */
enum err mesh_learn(struct mesh *mesh, const struct mesh_hint *hint, struct mesh_time at);
/* Its record is gone. */
void mesh_forget(struct mesh *mesh, uint64_t node);

/* That key is let in no more; a node that has it is barred. Taken back by nothing: who is to come again
 * gets another key. ERR_EXISTS; ERR_LIMIT: MESH_REVOKED_MAX are. */
enum err mesh_revoke(struct mesh *mesh, const uint8_t key[MESH_KEY_SIZE], struct mesh_time at);
bool mesh_is_revoked(const struct mesh *mesh, const uint8_t key[MESH_KEY_SIZE]);

/* Might somebody with this key be let in? Whether he is, his first hello decides. */
bool mesh_admits(const struct mesh *mesh, const uint8_t key[MESH_KEY_SIZE]);

/* Is it one of the keys that need no certificate? */
bool mesh_is_listed(const struct mesh *mesh, const uint8_t key[MESH_KEY_SIZE]);

/* A frame from a connection that proved to have `key`. An error: it may not be here (ERR_AUTH,
 * ERR_TIMEOUT, ERR_FORBIDDEN) or does not speak as we do (ERR_FORMAT, ERR_VERSION): best ended. */
enum err mesh_frame(struct mesh *mesh, const uint8_t key[MESH_KEY_SIZE], const uint8_t *bytes,
	size_t size, struct mesh_time at);

/* A frame of the kernel's. ERR_AGAIN: not now; ERR_DEAD: nobody knows such a node. */
enum err mesh_send(struct mesh *mesh, uint64_t node, const struct iovec *parts, size_t count,
	struct mesh_time at);
/* Something is to be said to it soon. ERR_NOT_FOUND: nobody knows such a node. A mesh that has just begun
 * (of a control process that was replaced) does not say so: who spoke to it before is about to. */
enum err mesh_want(struct mesh *mesh, uint64_t node, struct mesh_time at);

/* Does what is due; returns when it wants to be called again (monotonic). */
int64_t mesh_turn(struct mesh *mesh, struct mesh_time at);

const struct mesh_counters *mesh_counters(const struct mesh *mesh);

#endif
