/* SPDX-License-Identifier: Apache-2.0
 *
 * One process of a node as the actors' machine: created by a backend (live: runtime/live.c; or the
 * simulator: tests/sim), which gives it time, randomness, sockets and a way to other processes, and
 * calls runtime_turn. Several may live in one program.
 *
 * Thread: one thread a runtime.
 */
#ifndef MILLRACE_RUNTIME_H
#define MILLRACE_RUNTIME_H

#include "runtime/actor.h"
#include "runtime/net.h"
#include "runtime/net_http.h"
#include "runtime/net_mesh.h"
#include "runtime/secret_numbers.h"

#include <sys/uio.h>

struct process_command;
struct process_env;
struct process_reply;

/* What a backend provides. All calls are non-blocking. */
struct runtime_ops {
	int64_t (*now_us)(void *context);  /* monotonic */
	int64_t (*wall_us)(void *context); /* Unix time */
	void (*random)(void *context, void *bytes, size_t size);
	/* One frame to another process, in order. ERR_AGAIN: its queue is full; try again later. */
	enum err (*bus_send)(
		void *context, uint32_t process, const struct iovec *parts, size_t count);
	/* Other nodes, of the process that is its node's gateway (control); NULL members = there are
	 * none. One frame to a node that is up, in order, whole or not at all; what it is of is nobody's
	 * business but the kernel's (node_bus.c). ERR_AGAIN: its queue is full; the kernel tries again
	 * within a millisecond. */
	enum err (*node_send)(
		void *context, uint64_t node, const struct iovec *parts, size_t count);
	/* Mail waits for a node that is not up: connect to it. Said once, in the middle of a turn;
	 * runtime_node_up answers, later than this call, or runtime_node_down (nobody knows where it
	 * is). When neither does within RUNTIME_NODE_WAIT_MS it counts as down (RUNTIME_NODE_AGAIN_MS
	 * when other processes of this node have taken it to be up: that is as good as known). */
	void (*node_wanted)(void *context, uint64_t node);
	/* The mesh: see runtime/net_mesh.h; NULL members = none here. */
	enum err (*mesh_open)(void *context, uint64_t owner);
	enum err (*mesh_learn)(void *context, const struct mesh_hint *hint);
	void (*mesh_forget)(void *context, uint64_t node);
	enum err (*mesh_revoke)(void *context, const uint8_t key[MESH_KEY_SIZE]);
	/* Sockets: see runtime/net.h; NULL members = none in this process. */
	uint32_t (*net_take)(void *context, uint64_t owner, enum net_given what);
	uint32_t (*net_open_udp)(void *context, uint64_t owner, uint8_t family);
	uint32_t (*net_open_beside)(void *context, uint64_t owner, const struct net_addr *local,
		const struct net_addr *peer);
	uint32_t (*net_connect)(void *context, uint64_t owner, const struct net_addr *to,
		const struct net_tls *tls);
	const char *(*net_broken_reason)(void *context, uint32_t socket);
	void (*net_listen_pause)(void *context, uint32_t listener, bool paused);
	size_t (*net_send)(void *context, uint32_t socket, const struct net_addr *to,
		const struct iovec *packets, size_t count);
	/* `local` has a family; NULL = all leave from where the routing table says */
	size_t (*net_send_from)(void *context, uint32_t socket, const struct net_addr *local,
		const struct net_addr *to, const struct iovec *packets, size_t count);
	bool (*net_is_local)(void *context, const struct net_addr *addr);
	void (*net_give)(void *context, uint32_t socket, uint64_t owner);
	long (*net_read)(void *context, uint32_t socket, void *buffer, size_t size);
	long (*net_write)(void *context, uint32_t socket, const struct iovec *parts, size_t count);
	void (*net_want)(void *context, uint32_t socket, unsigned events);
	void (*net_close)(void *context, uint32_t socket);
	bool (*net_claim)(void *context, uint64_t owner, uint32_t socket);
	bool (*net_progress)(void *context, uint32_t socket, struct net_progress *progress);
	void (*net_local_addr)(void *context, uint32_t socket, struct net_addr *addr);
	/* The control process asks its supervisor, and looks for the answer: as process_command_send
	 * and _take. NULL members = nobody to ask. */
	enum err (*supervisor_tell)(void *context, const struct process_command *command);
	enum err (*supervisor_hear)(void *context, struct process_reply *reply);
	/* HTTP as a client (runtime/net_http.h); NULL = none in this process. Answers come by
	 * runtime_http_response, _piece and _failed; `owner` may read and cancel only
	 * what is its own. */
	enum err (*http_start)(void *context, uint64_t request, uint64_t owner,
		const struct net_http_request *what);
	/* The next piece of `stream` answers `request`. NOT_FOUND, PHASE. */
	enum err (*http_read)(void *context, uint64_t stream, uint64_t owner, uint64_t request);
	/* Ends what `id` is: a request, a stream, or the stream that this read is of; id 0: all of
	 * that owner. */
	void (*http_cancel)(void *context, uint64_t owner, uint64_t id);
};

enum {
	RUNTIME_PEERS_MAX = 96,
	RUNTIME_BLOCK_SHIFT = 40,  /* actor id = block of its first process << 40 | serial */
	RUNTIME_OUTBOX_MAX = 8192, /* unacknowledged mails to one process */
	RUNTIME_OUTBOX_BYTES_MAX = 16 << 20,
	RUNTIME_FRAME_MAX = 512 * 1024, /* largest frame between processes, in bytes */
	RUNTIME_NODES_MAX = 1024,	/* other nodes with a channel */
	RUNTIME_NODE_WAIT_MS = 3000,	/* mail waits so long for a node to come up */
	RUNTIME_NODE_AGAIN_MS = 8000,	/* a gateway that begins anew, for one that was up */
	RUNTIME_RESEND_MS = 200,
	RUNTIME_ACK_MS = 5,
	RUNTIME_SLOW_MS = 20, /* an actor that runs longer in one go is reported */
};

struct runtime_options {
	const struct runtime_ops *ops;
	void *context;
	const struct config *config;
	const struct process_env *env; /* NULL: no node around this process (unit tests) */
	struct log *log;
	struct arena *arena; /* NULL: a process without media; borrowed */
	/* Actors are kept here at the end of every turn, before anything that was said in it leaves
	 * by the bus (keep.c). NULL: they are not; borrowed. */
	struct escrow *escrow;
	uint64_t node;
	uint64_t boot; /* of the node: when its gateway began; 0 = now, Unix time in microseconds */
	uint64_t block;
	/* Of this process alone: numbers that others must not guess come of it. Taken away when it has
	 * been used: runtime_options() does not have it. */
	uint8_t secret[SECRET_NUMBERS_KEY_SIZE];
	uint32_t process; /* of the line: the incarnation of its first process */
	uint8_t role;	  /* enum process_role */
	uint32_t index;
	uint32_t mailbox_max; /* no mailbox takes more, whatever its type says; 0 = by type */
	/* every type that can be restored or is an office of its own, NULL-terminated */
	const struct actor_type *const *types;
};

enum err runtime_create(const struct runtime_options *options, struct runtime **rt);
/* Stops all actors (their stop functions run), then frees everything. */
void runtime_destroy(struct runtime **rt);

/* Runs timers, mail and pumps that are due, once round; sends what has gathered. Returns the
 * monotonic time at which it wants to run again (now or earlier = at once). */
int64_t runtime_turn(struct runtime *rt);

/* The configuration has changed (keys that may while a node runs): told to who wants to know. */
void runtime_configured(struct runtime *rt);

/* The process is to end within so many ms: `drain` goes to every actor that handles it. It is drained
 * when all of these are gone, the offices (which stay to refuse what is new) excepted. */
void runtime_drain(struct runtime *rt, uint32_t within_ms);
bool runtime_is_drained(const struct runtime *rt);

/* Reads the clock again (after a wait); handlers see the same time until the next call. */
void runtime_tick(struct runtime *rt);

/* ---- from the backend ------------------------------------------------------------------------ */

struct runtime_peer_info {
	uint32_t process; /* of its line, never 0 */
	uint64_t block;
	uint8_t role;
	uint32_t index;
};

enum err runtime_peer_up(struct runtime *rt, const struct runtime_peer_info *info);
/* Its line has ended: everything unacknowledged bounces, requests to it fail, monitors fire. */
void runtime_peer_down(struct runtime *rt, uint32_t process);
/* The way to it was made anew (its line has another process now, or we have): what it has not
 * acknowledged is sent again at once. */
void runtime_peer_again(struct runtime *rt, uint32_t process);
bool runtime_peer_known(const struct runtime *rt, uint32_t process);
/* A successor took over all actors with ids of this block. */
void runtime_block_moved(struct runtime *rt, uint64_t block, uint32_t process);

/* A frame that a peer's bus_send gave away. Untrusted: bounded, checked, counted. */
void runtime_bus_frame(struct runtime *rt, const uint8_t *bytes, size_t size);

/* ---- other nodes: only in the gateway (node_bus.c, decision 20) --------------------------------- */

/* That node has greeted, and frames can be sent to it: a new one, or one whose gateway began anew
 * (another `boot`: what it had not acknowledged bounces, requests to it fail; watches stay and are
 * asked for again). With a boot that is known it is runtime_node_again. Once up it stays so until
 * runtime_node_down: who watches whom over it no gateway knows, so an idle channel is not taken down.
 * ERR_LIMIT: RUNTIME_NODES_MAX are; ERR_FORMAT: our own id, 0, or no boot. */
enum err runtime_node_up(struct runtime *rt, uint64_t node, uint64_t boot);
/* The way to it was made anew: what it has not acknowledged is sent again at once. */
void runtime_node_again(struct runtime *rt, uint64_t node);
/* It is lost (silent for cluster.node_lost_ms), or cannot be found: everything unacknowledged bounces,
 * requests fail, watches fire, in all processes of this node. */
void runtime_node_down(struct runtime *rt, uint64_t node);
/* The same of one that may not be here any more: who watches nodes ends what still flows there. */
void runtime_node_barred(struct runtime *rt, uint64_t node);
/* A frame that the other gateway's node_send gave away; `node`: as the transport has proved (its
 * key), not as anybody says. Untrusted: bounded, checked, counted. */
void runtime_node_frame(struct runtime *rt, uint64_t node, const uint8_t *bytes, size_t size);
/* Nodes that are up, as far as known in this process. */
void runtime_each_node(
	struct runtime *rt, void (*fn)(void *context, uint64_t node, uint64_t boot), void *context);

/* What the mesh has to say to its office. */
void runtime_mesh_node(struct runtime *rt, uint64_t owner, const struct msg_mesh_node *node);
void runtime_mesh_self(struct runtime *rt, uint64_t owner, const struct msg_mesh_self *self);
void runtime_mesh_revoked(
	struct runtime *rt, uint64_t owner, const struct msg_mesh_revoked *revoked);

/* Packets for actors of that node go to `link`, an actor of this process, by its type's outbound();
 * nobody: they are dropped and counted, as before. A later call replaces it. ERR_NO_MEMORY. */
enum err runtime_media_route(struct runtime *rt, uint64_t node, struct addr link);

void runtime_net_datagrams(
	struct runtime *rt, uint64_t owner, const struct datagram *datagrams, size_t count);
void runtime_net_tcp(struct runtime *rt, uint64_t owner, uint32_t socket, unsigned events);
void runtime_net_accepted(struct runtime *rt, uint64_t owner, uint32_t listener, uint32_t socket,
	const struct net_addr *peer);

/* Answers to http_start and http_read; ids that nobody waits for any more are ignored. */
void runtime_http_response(
	struct runtime *rt, uint64_t request, const struct msg_http_response *response);
void runtime_http_piece(struct runtime *rt, uint64_t request, const struct msg_http_piece *piece);
void runtime_http_failed(struct runtime *rt, uint64_t request, enum err err, const char *text);

/* ---- takeover: takeover.c ---------------------------------------------------------------------- */

struct runtime_takeover_report {
	uint32_t restored;
	uint32_t ended_by_restore; /* their restore function would not go on with them */
	uint32_t left_out;	   /* damaged, or of no type that is known */
	uint32_t poisoned;	   /* died with them too often … */
	char poisoned_name[ACTOR_NAME_MAX + 1]; /* … the last of them */
	uint32_t mails;				/* to other processes, not acknowledged yet */
	uint64_t slots_freed;			/* that nobody named */
	int64_t took_us;
};

/* Right after runtime_create, with arena and escrow as the line's last process left them, and before
 * anything else: brings back peers, mails and actors (the offices are among them: actor_spawn_office
 * of one that came back is ERR_EXISTS). On fresh ones ERR_OK, and nothing happens.
 *
 * Peers that were known are known again: when the backend has connected one, runtime_peer_up or
 * runtime_peer_again; when it finds that a line has ended, runtime_peer_down.
 *
 * ERR_FORMAT, ERR_NO_MEMORY: the line cannot go on, and no actor has been restored. */
enum err runtime_takeover(struct runtime *rt, struct runtime_takeover_report *report);

/* From the handler of a fatal signal: notes the actor that runs. Async-signal-safe. */
void runtime_note_fatal(const struct runtime *rt);

/* ---- looking in (REPL, takeover, simulator) -------------------------------------------------- */

/* Next actor after `after` (NULL = first), in order of id; NULL at the end. */
struct actor *runtime_next_actor(struct runtime *rt, const struct actor *after);
struct actor *runtime_find(struct runtime *rt, uint64_t id);
size_t runtime_actor_count(const struct runtime *rt);

struct actor_facts {
	struct addr addr;
	struct addr parent;
	const char *type;
	const char *name;
	const char *phase; /* "" when the type has no phases */
	uint32_t mailbox;  /* mails waiting */
	uint64_t handled;  /* mails ever handled */
	uint64_t refused;  /* mails refused because the mailbox was full */
	int64_t age_us;
	int64_t busy_us; /* time spent running */
	const struct schema *schema;
	const void *state;
};
void runtime_facts(const struct actor *actor, struct actor_facts *facts);

/* Everything of an actor but its slots. ERR_NO_SPACE. */
enum err runtime_encode_actor(struct actor *actor, struct writer *out);
/* The opposite, in a successor (the arena is attached, recounting has begun). Reads one actor. */
enum err runtime_restore_actor(struct runtime *rt, struct reader *in);
/* After the last one, when the other processes are known: renews watches (on processes that are not
 * known: `down`), fails the requests that were under way, wakes everybody. */
void runtime_restore_end(struct runtime *rt);

/* What the escrow has of an actor (runtime_encode_actor's bytes as of the last commit). False when it
 * has nothing, or the actor may have changed since. */
bool runtime_kept_actor(const struct actor *actor, void *bytes, size_t capacity, size_t *size);

/* Somebody who looks over an actor's shoulder (watch, trace). One in a process; called in the middle
 * of the actor's turn, so it notes what it wants and is quick. */
enum runtime_observed { OBSERVED_MAIL = 1, OBSERVED_STATE = 2 };

struct runtime_seen {
	struct addr actor, peer;
	bool out;
	bool is_reply;
	uint16_t type;
	uint64_t request; /* 0 = no answer is wanted */
	const struct schema *schema;
	const void *message; /* borrowed */
};

struct runtime_observer {
	void *context;
	void (*mail)(void *context, const struct runtime_seen *seen); /* OBSERVED_MAIL */
	void (*ran)(void *context, struct addr who);		      /* OBSERVED_STATE */
};

/* NULL = nobody looks any more. */
void runtime_observe(struct runtime *rt, const struct runtime_observer *observer);
/* Bits of enum runtime_observed, 0 = none; no effect when it is not here. */
void runtime_observe_actor(struct runtime *rt, uint64_t id, unsigned what);

struct runtime_counters {
	uint64_t mails_local;
	uint64_t mails_out; /* to other processes */
	uint64_t mails_in;
	uint64_t bounced;
	uint64_t refused; /* mailbox or outbox full */
	uint64_t dropped; /* notes dropped because the mailbox was full */
	uint64_t bad_frames;
	uint64_t resent_frames;
	uint64_t duplicate_frames;
	uint64_t requests_timed_out;
	uint64_t node_mails_out; /* to other nodes, of the gateway */
	uint64_t node_mails_in;
	uint64_t
		node_refused; /* from other nodes: not theirs to say (no REMOTE, another's answer), or
				* not for us */
	uint64_t answers_unawaited; /* of other nodes: nobody waits for them, or not any more */
	uint64_t media_out;	    /* packets to other processes */
	uint64_t media_in;
	uint64_t media_dropped_out; /* bus full */
	uint64_t media_dropped_in;  /* no slot free, or nobody there */
	uint64_t slow_runs;
	uint64_t kept; /* actors written into the escrow */
	uint64_t kept_bytes;
	uint64_t kept_same;	      /* ran, but are what they were */
	uint64_t not_kept;	      /* the escrow was full */
	int64_t keep_us;	      /* time that all of it took */
	uint64_t moves_in, moves_out; /* actors that came from other processes, or left for them */
	uint64_t moves_failed;	      /* that stayed, or could not go on here */
	int64_t busy_us;
};
const struct runtime_counters *runtime_counters(const struct runtime *rt);
const struct runtime_options *runtime_options(const struct runtime *rt);

/* ---- the node around it ------------------------------------------------------------------------ */

/* What the process was started with: ports, paths, the status page. NULL: no node (unit tests). */
const struct process_env *runtime_env(const struct runtime *rt);
/* ERR_UNSUPPORTED: this process has no supervisor to ask; else as runtime/process_command.h. */
enum err runtime_supervisor_tell(struct runtime *rt, const struct process_command *command);
enum err runtime_supervisor_hear(struct runtime *rt, struct process_reply *reply);

/* Every office that serves this process, see enum office. */
void runtime_each_peer(struct runtime *rt,
	void (*fn)(void *context, const struct runtime_peer_info *info), void *context);

#endif
