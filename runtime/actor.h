/* SPDX-License-Identifier: Apache-2.0
 *
 * What an actor sees of the runtime. Everything is an actor: it has an address, a bounded mailbox,
 * a state described by a schema, a table of handlers and a parent that is told of its death. The
 * clock, randomness, sockets and other actors are reached only through this header (and
 * runtime/net.h), so that the same code runs live and under the seeded simulator.
 *
 * Thread: all functions belong to the thread of the actor's process. Handlers never block.
 *
 * Ownership: a message passed to a send is copied before the call returns. A message a handler gets
 * is borrowed until the handler returns, the slices in it included.
 */
#ifndef MILLRACE_ACTOR_H
#define MILLRACE_ACTOR_H

#include "runtime/arena.h"
#include "runtime/log.h"
#include "schemas/net_addr.h"
#include "schemas/schema.h"

struct actor;
struct runtime;
struct config;
struct datagram;

enum {
	ACTOR_TIMERS_MAX = 10, /* timer ids of an actor: 0 .. 9 */
	ACTOR_MAILBOX_DEFAULT = 1024,
	ACTOR_BUDGET = 64,	 /* mails an actor handles in one turn before others have theirs */
	ACTOR_REQUEST_MS = 5000, /* a sensible deadline for a request inside a node */
	ACTOR_NAME_MAX = 127,
	ACTOR_SLOTS_MAX = 4, /* of one that moves */
};

/* A slot of the arena that an actor's state names: it moves with its actor. */
struct actor_slot {
	enum arena_table table; /* not packets */
	uint32_t *index, *generation;
};

/* The envelope, as the handler sees it. */
struct mail {
	struct addr from;
	uint64_t request; /* not 0: an answer is wanted, or (is_reply) this is it */
	bool is_reply;
	uint16_t type;	     /* enum message_id */
	int64_t deadline_us; /* of the request, on actor_now's clock; 0 = none */
};

/* Who asked, kept to answer later. Plain data: may lie in an actor's state. */
struct asker {
	struct addr from;
	uint64_t request;
};

typedef enum err (*mail_handler)(
	struct actor *self, void *data, const void *message, const struct mail *mail);

struct handler {
	uint16_t type;	 /* enum message_id */
	uint32_t phases; /* bits of the phases it is legal in; 0 = all */
	mail_handler run;
};

/* An actor type: one exported const struct a file. Functions may be NULL except init.
 *
 * A handler that returns an error answers a request with `failed` (and otherwise counts); it does
 * not end the actor. To end: actor_stop(self, reason).
 */
struct actor_type {
	const char *name; /* lower case, at most 31 characters */
	size_t size;	  /* of the actor's struct, whose first member is its schema'd state */
	const struct schema *state;
	const char *const *phases; /* names of the phases, by bit number; NULL-terminated */
	uint32_t mailbox_max;	   /* 0 = ACTOR_MAILBOX_DEFAULT */
	const struct handler *handlers;
	size_t handler_count;
	mail_handler any; /* of what no row is for; NULL = it is refused as unsupported */

	/* Askers whom it answers later lie in its state: a successor goes on to owe them an answer.
	 * Else the kernel fails their requests (owed.c). */
	bool keeps_askers;

	/* A new actor: its struct is zeroed. An error ends it at once (stop is not called); the
	 * spawner gets that error. */
	enum err (*init)(struct actor *self, void *data, const void *args);
	/* A successor: the state has been decoded into the struct (untrusted: check it), everything
	 * else is zero. Re-take arena slots with arena_hold_again, re-arm timers, rebuild caches.
	 * No other actor may be assumed to exist yet; sends are delivered once all are restored. An
	 * error leaves the actor out and is reported; stop is not called: check first, take then. */
	enum err (*restore)(struct actor *self, void *data);
	/* Moving to another process of the node (actor_move); NULL: it cannot. Says which slots its
	 * state names, in one order; returns how many. */
	size_t (*slots)(void *data, struct actor_slot slots[ACTOR_SLOTS_MAX]);
	/* It lives elsewhere now: lets go of slots, sockets and offices of this process, unheard. Does
	 * not change the bytes of a slot: until the turn is kept it may come back to them. */
	void (*left)(struct actor *self, void *data);
	/* Before restore(), where it lives now: its slots are here, what else the state names of the
	 * process that it came from is not. */
	void (*arrived)(struct actor *self, void *data);
	/* The last call: release slots, close sockets, say goodbye. */
	void (*stop)(struct actor *self, void *data, enum err reason);
	void (*timer)(struct actor *self, void *data, unsigned timer);
	/* What may change of actor_config while it runs has, perhaps: what was derived from it is derived
	 * again. Ends nobody. */
	void (*configured)(struct actor *self, void *data);
	/* Since the last pump actor_kick was called (any number of times) or actor_pump_at fell due:
	 * read your log, write your socket. Runs once a turn. */
	void (*pump)(struct actor *self, void *data);
	/* It is the next to run: what its pump will touch in slots may be brought near (near.h). Reads
	 * its state, changes nothing; may be called for nothing. Its state is near already. */
	void (*ahead)(struct actor *self, const void *data);
	/* Media from actor_media or another process; the references are borrowed (hold to keep). */
	void (*media)(struct actor *self, void *data, struct addr from,
		const struct slot_ref *packets, size_t count);
	/* Media that actors of this process have for `to`, an actor of the node that this one is the
	 * link to (runtime_media_route); the references are borrowed. */
	void (*outbound)(struct actor *self, void *data, struct addr to, struct addr from,
		const struct slot_ref *packets, size_t count);
	/* With outbound(), or NULL (any number): how many packets that need not leave now, such as what
	 * is cached for a reader that begins, may leave beside what flows. */
	uint32_t (*room)(struct actor *self, void *data);
	/* With outbound(), or NULL (all): of what is sent to that node the thousandths that get through;
	 * more than 1000: so much more would. UINT32_MAX: it has not been too much. */
	uint32_t (*carries)(struct actor *self, void *data);
	/* A socket of this actor (runtime/net.h): datagrams came / it is readable or writable /
	 * somebody connected. */
	void (*datagrams)(
		struct actor *self, void *data, const struct datagram *datagrams, size_t count);
	void (*tcp)(struct actor *self, void *data, uint32_t socket, unsigned events);
	void (*accepted)(struct actor *self, void *data, uint32_t listener, uint32_t socket,
		const struct net_addr *peer);
};

/* ---- typed handlers and tables --------------------------------------------------------------- */

/* ON(stream, subscribe) { … return ERR_OK; } sees: self, s (struct stream *), m (const struct
 * msg_subscribe *), mail. */
#define ON(type_, message)                                                                 \
	static enum err type_##_on_##message(struct actor *self, struct type_ *s,          \
		const struct msg_##message *m, const struct mail *mail);                   \
	static enum err type_##_mail_##message(                                            \
		struct actor *self, void *data, const void *body, const struct mail *mail) \
	{                                                                                  \
		return type_##_on_##message(self, data, body, mail);                       \
	}                                                                                  \
	static enum err type_##_on_##message(__attribute__((unused)) struct actor *self,   \
		__attribute__((unused)) struct type_ *s,                                   \
		__attribute__((unused)) const struct msg_##message *m,                     \
		__attribute__((unused)) const struct mail *mail)

#define HANDLER(type_, message, legal_in)                                                  \
	{                                                                                  \
		.type = MSG_##message, .phases = (legal_in), .run = type_##_mail_##message \
	}

#define HANDLER_TABLE(table) \
	.handlers = (table), .handler_count = sizeof(table) / sizeof((table)[0])

/* ---- life ------------------------------------------------------------------------------------ */

/* Starts an actor. parent NULL = child of the process itself. `addr` may be NULL.
 * When the child ends, the parent gets `down` (if it has a handler for it); when the parent ends,
 * its children are stopped first. */
enum err actor_spawn(struct runtime *rt, struct actor *parent, const struct actor_type *type,
	const void *args, struct addr *addr);

/* Ends this actor once the current handler has returned. */
void actor_stop(struct actor *self, enum err reason);

/* Self moves to another process of the node at the end of this turn, with all that it was sent, waits
 * for and is watched by (decision 18); its parent is an office, there as here, and it has no children.
 * ERR_UNSUPPORTED: it cannot move; ERR_NOT_FOUND: no such process; ERR_EXISTS: it is there already;
 * ERR_BUSY: it is about to. Should it turn out at the end of the turn that it must stay, `failed` of
 * `arrive` comes; otherwise nothing of it runs here any more. */
enum err actor_move(struct actor *self, uint32_t process);

/* `down` comes when `who` ends, or its process does, or at once when it is dead already. */
enum err actor_monitor(struct actor *self, struct addr who);
enum err actor_unmonitor(struct actor *self, struct addr who);

/* Like monitor, but the end of `who` by an error ends this actor too (unless it handles `down`). */
enum err actor_link(struct actor *self, struct addr who);

/* Phase as one bit; handlers say in which they are legal. */
void actor_become(struct actor *self, uint32_t phase_bit);
uint32_t actor_phase(const struct actor *self);

/* Said at the end of a function that runs for every packet: nothing that it did shows in the state,
 * only in arena slots. The kernel then need not look (keep.c); nobody has to say it. */
void actor_unchanged(struct actor *self);

/* Number of the turn under way: one more with each that is kept (keep.c). 0: nothing is kept here. What
 * was written into a slot under the number that restore() sees was not kept: who wants such slots to
 * go back with their state keeps a copy of what they were when the turn began. */
uint64_t actor_turn(const struct actor *self);

/* A name for people (REPL, log), such as "stream/live/demo"; copied, cut at ACTOR_NAME_MAX. */
void actor_set_name(struct actor *self, const char *name);
const char *actor_name(const struct actor *self);

struct addr actor_addr(const struct actor *self);
struct runtime *actor_runtime(struct actor *self);
void *actor_data(struct actor *self);

/* ---- mail ------------------------------------------------------------------------------------ */

/* At most once, in order between two actors. Errors are only for what is known at once
 * (ERR_OVERLOAD: own outbox is full); everything else comes back as `failed`. */
#define actor_send(self, to, message, ...)                          \
	actor_send_mail(self, to, MSG_##message, &schema_##message, \
		&(const struct msg_##message)__VA_ARGS__)

/* Returns the request's id (never 0). The answer arrives as a mail with is_reply and this id; if
 * nothing came within timeout_ms, the addressee died, or no memory was left to ask, `failed` does. */
#define actor_request(self, to, timeout_ms, message, ...)                          \
	actor_request_mail(self, to, timeout_ms, MSG_##message, &schema_##message, \
		&(const struct msg_##message)__VA_ARGS__)

/* Answers the mail being handled (no effect when it asked for nothing). Returns ERR_OK. */
#define actor_reply(self, message, ...)                                              \
	actor_answer_mail(self, actor_asker(self), MSG_##message, &schema_##message, \
		&(const struct msg_##message)__VA_ARGS__)

/* Answers later. */
#define actor_answer(self, asker, message, ...)                          \
	actor_answer_mail(self, asker, MSG_##message, &schema_##message, \
		&(const struct msg_##message)__VA_ARGS__)

enum err actor_send_mail(struct actor *self, struct addr to, uint16_t type,
	const struct schema *schema, const void *message);
uint64_t actor_request_mail(struct actor *self, struct addr to, uint32_t timeout_ms, uint16_t type,
	const struct schema *schema, const void *message);
enum err actor_answer_mail(struct actor *self, struct asker asker, uint16_t type,
	const struct schema *schema, const void *message);

/* `failed` to an asker, with a text for people ("" = the error's own). */
enum err actor_refuse(struct actor *self, struct asker asker, enum err err, const char *text);
enum err actor_refuse_later(struct actor *self, struct asker asker, enum err err, const char *text,
	uint32_t retry_after_ms);

/* Who sent the mail being handled; {nobody, 0} outside a handler. */
struct asker actor_asker(const struct actor *self);

/* Hands the mail being handled to another actor, which then answers the original asker. */
enum err actor_forward(struct actor *self, struct addr to);

/* Asks `to` on behalf of an asker kept from before; the answer goes straight to that asker. */
#define actor_pass(self, asker, to, message, ...)                          \
	actor_pass_mail(self, asker, to, MSG_##message, &schema_##message, \
		&(const struct msg_##message)__VA_ARGS__)
enum err actor_pass_mail(struct actor *self, struct asker asker, struct addr to, uint16_t type,
	const struct schema *schema, const void *message);

/* A request of this actor is no longer of interest: no answer and no failure will come. */
void actor_forget_request(struct actor *self, uint64_t request);

/* ---- time, randomness, surroundings ---------------------------------------------------------- */

/* Monotonic, constant within a turn; wall clock is Unix time. Microseconds. */
int64_t actor_now_us(const struct actor *self);
int64_t actor_wall_us(const struct actor *self);
/* The monotonic clock itself, read now: to measure what a turn takes. Nothing is decided by it. */
int64_t actor_clock_us(struct actor *self);

/* timer() runs at or after `at_us`; setting again moves it (cheap when moved later). */
void actor_timer_at(struct actor *self, unsigned timer, int64_t at_us);
void actor_timer_in_ms(struct actor *self, unsigned timer, int64_t ms);
void actor_timer_off(struct actor *self, unsigned timer);

/* Cryptographic randomness live; seeded in the simulator. */
void actor_random(struct actor *self, void *bytes, size_t size);
uint64_t actor_random_u64(struct actor *self);

struct log *actor_log(struct actor *self);
struct arena *actor_arena(struct actor *self);
/* Keys that may change while a node runs do between two turns (configured). */
const struct config *actor_config(struct actor *self);

/* ---- media ------------------------------------------------------------------------------------ */

/* Gives a packet to `to`: its media() runs at once when it lives here (the packet is shared by
 * reference), else a copy leaves with the next batch to its process (dropped and counted when that
 * process does not keep up: the receiver asks again by position). The reference stays the caller's. */
void actor_media(struct actor *self, struct addr to, struct slot_ref packet);
/* How many packets that need not leave now may, for an actor of another node, by the link to it; what flows
 * does not ask. UINT32_MAX: any number, as within a node. */
uint32_t actor_media_room(struct actor *self, struct addr to);
/* Of what is sent to that one's node, the thousandths that the link to it carries now; UINT32_MAX: all, as
 * within a node. */
uint32_t actor_media_carries(struct actor *self, struct addr to);
/* As actor_media on behalf of `from`, an actor of another node whose packet this is: what a link says of
 * what it has opened. `to` is an actor of this node. */
void actor_media_from(struct actor *self, struct addr from, struct addr to, struct slot_ref packet);

/* Marks a local actor so that its pump runs in this turn. False when it is not here. */
bool actor_kick(struct runtime *rt, struct addr who);

/* Its own pump will run at `at_us`, rounded up to a millisecond (INT64_MAX: not again by itself). A
 * later call moves it; no heap is involved, so pacing packets by it is cheap. What is further ahead
 * than the wheel reaches (wheel.h) runs early: a pump looks at the time. */
void actor_pump_at(struct actor *self, int64_t at_us);

/* Calls fn(actor, data) on a local actor of that type as if one of its handlers ran (a session
 * that gets its datagrams from the port that owns the socket). False when it is not here. */
bool actor_call(struct runtime *rt, struct addr who, const struct actor_type *type,
	void (*fn)(struct actor *self, void *data, void *context), void *context);

/* ---- offices: actors found by what they do, not by address ----------------------------------- */

enum office {
	OFFICE_DIRECTORY = 2, /* control: names */
	OFFICE_PLACEMENT = 3, /* control: which worker */
	OFFICE_CONSOLE = 4,   /* control: REPL and API */
	OFFICE_PROCESS = 1,   /* every process: tells about its actors, restarts offices */
	OFFICE_MEDIA = 5,     /* every worker: sessions and streams of this worker */
	OFFICE_TRANSCODE = 6, /* every helper */
	OFFICE_RTC = 7,	      /* every worker: the WebRTC port, makes sessions (session_create) */
	OFFICE_HTTP = 8,      /* every worker: HTTP connections, FLV muxers */
	OFFICE_RTMP = 9,      /* every worker: RTMP connections */
	OFFICE_STORE = 10,    /* control: coordination store */
	OFFICE_REPL = 11,     /* control: console connections */
	OFFICE_BOARD = 12,    /* control: updates for pages */
	OFFICE_CLIENTS = 13,  /* load generator: its sessions */
	OFFICE_CALLBACK = 14, /* control: HTTP callbacks */
	OFFICE_SETTINGS = 15, /* control: what the cluster says of the configuration */
	OFFICE_MESH = 16,     /* control: nodes of the cluster; none with coord local */
	OFFICE_BRAIN = 17,    /* control: plans paths between nodes, when it is elected */
	OFFICE_ROUTES = 18,   /* control: over which nodes another one is reached */
	OFFICE_LINK = 19,     /* every worker of a cluster: media to and from other nodes */
	OFFICE_RELAY = 20,    /* control: from whom the node gets a foreign stream */
};

enum { OFFICE_SERIALS = 64 }; /* ids of ordinary actors of a process start here */

/* Address of an office in this node: of the control process, or of this process (OFFICE_PROCESS,
 * and in a worker its MEDIA, RTC, HTTP, RTMP), or of any helper. Nobody when no such process is up. Ask anew each
 * time: it changes when that process is replaced. */
struct addr actor_office(struct actor *self, enum office office);
/* One of several of its kind (OFFICE_TRANSCODE), the same one for the same key while no process comes
 * or goes; whoever was refused tries the next key. */
struct addr actor_office_of_many(struct actor *self, enum office office, uint64_t key);
/* The same in a given process (by incarnation). */
struct addr actor_office_in(struct actor *self, enum office office, uint32_t incarnation);

/* Offices of another node, though their processes are not known here: addresses that its gateway
 * resolves, of an office of its control process, or of worker `index` (from 0). Answers and `down` come
 * from the actor itself: monitor the one who answers, not these (ERR_UNSUPPORTED). Of the own node:
 * as actor_office; nobody when there is no such worker. */
struct addr actor_office_at(struct actor *self, enum office office, uint64_t node);
struct addr actor_office_at_worker(
	struct actor *self, enum office office, uint64_t node, uint32_t index);

/* Spawns an actor under an office's well-known address (at the start of a process). ERR_EXISTS: there is
 * one, which goes on. One that a successor has left out (poison) ends first, with its children. */
enum err actor_spawn_office(
	struct runtime *rt, enum office office, const struct actor_type *type, const void *args);

/* Processes of this node. `peer` mail comes on every change to whoever called actor_watch_peers,
 * and once for each process that is up now. */
void actor_watch_peers(struct actor *self);

/* Other nodes: `node_seen` mail comes when one comes up, is lost, or began anew (up, another boot), to
 * whoever called actor_watch_nodes, in any process, and once for each that is up now. */
void actor_watch_nodes(struct actor *self);

/* Incarnation that runs an actor, as far as known here; 0 = unknown. Own process: own incarnation. Of
 * another node: the gateway's. */
uint32_t actor_process_of(struct actor *self, struct addr who);
uint32_t actor_own_process(struct actor *self);

#endif
