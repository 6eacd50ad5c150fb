/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the actor kernel, shared by actor.c, watch.c, mail.c, observe.c, channel.c, bus.c, nodes.c,
 * node_bus.c, media_bus.c, keep.c, shape.c, owed.c, restore.c, takeover.c and move.c only.
 */
#ifndef MILLRACE_KERNEL_H
#define MILLRACE_KERNEL_H

#include "runtime/idmap.h"
#include "runtime/near.h"
#include "runtime/runtime.h"
#include "runtime/timers.h"
#include "runtime/wheel.h"

enum {
	MAIL_SIZE_CLASSES = 4,
	MAIL_POOL_MAX = 4096, /* free nodes kept of each size */
	MAILBOX_ALARM_FIRST = 64,
	HOPS_MAX = 4,
	MEDIA_BATCH_PACKETS = 16,
	MEDIA_BATCH_BYTES = MEDIA_BATCH_PACKETS * (sizeof(struct media_header) + 1400) + 256,
	MEDIA_BATCHES_OPEN = 32,
	NUMBERS_STRIDE = 4096, /* ids of actors reserved at once */
	MESSAGE_STRUCT_MAX = 64 * 1024,
};

/* A mail in a mailbox: the struct and its texts follow in one block. */
struct mail_node {
	struct mail_node *next;
	const struct schema *schema;
	struct mail mail;
	uint8_t size_class; /* MAIL_SIZE_CLASSES = from malloc */
	_Alignas(16) uint8_t body[];
};

/* An actor that watches, or one that is watched. */
struct watch_entry {
	struct addr who;
	bool link; /* of a watched one: its end by an error is ours */
};

struct watch_list {
	struct watch_entry *entries;
	uint32_t count;
	uint32_t capacity;
};

struct actor_timer {
	int64_t at_us;	   /* 0 = off */
	int64_t queued_us; /* the heap entry that is ours; 0 = none */
};

/* Of a state, and of what else is written down of an actor (shape.c, keep.c). */
struct state_sum {
	uint64_t hot, rest;
};

struct actor {
	struct runtime *rt;
	const struct actor_type *type;
	uint64_t id;
	uint64_t parent; /* 0 = the process */
	uint32_t phase;
	bool ready; /* in the run queue */
	bool kicked;
	bool stopping;
	bool ended;
	bool watches_peers;
	bool watches_nodes;
	bool unfinished;  /* its restore failed: stop does not run */
	uint8_t observed; /* enum runtime_observed: what somebody looks at; mostly nothing */
	uint8_t stop_reason;
	bool changed;	/* in the list of those to look at when the turn is kept */
	bool unchanged; /* its function on the stack has said so */
	uint16_t depth; /* its functions on the stack */
	uint32_t children;
	uint32_t mail_count;
	uint32_t mail_alarm;
	struct watch_list watchers; /* who is told when this one ends */
	struct watch_list watching; /* whom this one watches, in any process */
	struct mail_node *mail_first;
	struct mail_node *mail_last;
	struct actor *next_ready;
	uint64_t ran_in; /* turn in which it ran last, ready */
	struct actor *next_changed;
	uint32_t escrow_entry;	 /* 0 = none */
	uint32_t hot_entry;	 /* of what is hot of its state; 0 = none */
	uint32_t record_changes; /* of its watches and requests */
	const struct state_shape *shape;
	struct state_sum kept_sum;     /* of what the escrow has */
	struct actor *next, *previous; /* all actors of the runtime, in order of id */
	uint32_t moves;		       /* from process to process, since it began */
	uint32_t moves_to; /* process that it leaves for at the end of the turn; 0 = none */
	struct actor *next_leaving;
	uint64_t runs; /* times one of its functions was called, since it began */
	uint64_t handled;
	uint64_t refused;
	int64_t born_us;
	int64_t busy_us;
	struct actor_timer timers[ACTOR_TIMERS_MAX];
	struct wheel_entry pump_later;
	char name[ACTOR_NAME_MAX + 1];
	_Alignas(16) uint8_t data[];
};

struct run_queue {
	struct actor *first, *last;
};

struct pending {
	uint64_t request;
	uint64_t actor;
	struct addr to;
	uint16_t type;
	uint32_t process; /* of `to`; 0 = the backend answers (kernel_open_request) */
	int64_t deadline_us;
};

/* A mail on its way to another process, kept until acknowledged. */
struct outgoing {
	struct outgoing *next;
	uint64_t seq;
	uint64_t request;
	struct addr from;
	struct addr to;
	uint16_t type;
	bool is_reply;
	uint32_t size;
	uint32_t escrow_entry; /* 0 = none */
	uint8_t bytes[];
};

/* Numbered mail one way and the other (channel.c). */
struct mail_channel {
	uint64_t out_seq;  /* of the last mail given a number */
	uint64_t out_kept; /* of those that are in the escrow: what may leave */
	uint64_t out_acked;
	uint64_t in_seq;  /* of the last mail taken */
	uint64_t in_kept; /* of those whose taking is in the escrow: what may be acknowledged */
	bool ack_due;
	int64_t ack_at_us;
	int64_t resend_at_us;	/* 0 = nothing waits for an acknowledgement */
	struct outgoing *first; /* oldest unacknowledged */
	struct outgoing *last;
	struct outgoing *unsent; /* first that the transport has not taken yet */
	uint32_t out_count;
	size_t out_bytes;
};

struct peer {
	struct runtime_peer_info info;
	bool used;
	bool restored; /* by a takeover, and not seen since */
	uint32_t escrow_entry;
	struct mail_channel mail;
};

/* Another node as this process knows it (nodes.c); in the gateway with the channel to its gateway. */
struct far_node {
	uint64_t id;
	uint64_t boot;	  /* 0 = not up */
	struct addr link; /* who takes media for it; nobody: nobody does */
	/* in the gateway (node_bus.c) */
	uint32_t number; /* of our end of the channel: another with every time that we gave it up */
	uint32_t theirs; /* of theirs, the highest heard of; 0 = none yet */
	bool wanted;	 /* the backend was asked for it */
	bool broken;	 /* something that had to be said had no room */
	int64_t wanted_until_us;
	bool active; /* something is due: in rt->active_nodes */
	struct far_node *next_active;
	struct mail_channel mail;
};

struct media_batch {
	bool used;
	uint16_t count;
	uint32_t process;
	struct addr to;
	struct addr from;
	size_t size;
	uint8_t bytes[MEDIA_BATCH_BYTES];
};

/* A state in parts: what is hot, the rest, and lists, which have room for many and few filled. */
enum { SHAPES_MAX = 32, SHAPE_PARTS_MAX = 24 };
struct state_part {
	uint32_t from, end;
	uint32_t item, count_at; /* of a list; 0 = none */
	bool hot;
};
struct state_shape {
	const struct schema *schema; /* NULL = free */
	bool has_hot;
	uint32_t parts;
	struct state_part part[SHAPE_PARTS_MAX]; /* in order, none inside another */
};

struct block_owner {
	uint64_t block;
	uint32_t process;
};

/* An actor that comes from another process, while it is restored (move.c). */
struct arrival {
	const struct msg_arrive *message;
	struct slot_ref refs[ACTOR_SLOTS_MAX]; /* taken here */
};

struct runtime {
	struct runtime_options options;
	int64_t now_us;
	int64_t wall_us;
	int64_t wall_ahead_us;		   /* by so much of now_us; read … */
	int64_t wall_again_us;		   /* … again then */
	int64_t read_us;		   /* when the clock was read last, in this turn */
	uint64_t next_serial, serials_end; /* the end of what is reserved in the escrow */
	struct secret_numbers *requests;   /* what the next ones are called */
	int64_t absolve_at_us; /* who was restored has lived for long enough; 0 = nobody was */

	struct idmap actors;
	struct actor *oldest, *newest; /* lowest and highest id */
	struct actor *lined_up;	       /* the one that came last */
	struct run_queue ready, later; /* later: for the next turn, while actors run in this one */
	uint64_t turn;
	bool runs_ready;
	struct actor *graveyard;
	struct actor *changed; /* since the last turn was kept */
	struct state_shape shapes[SHAPES_MAX];
	struct timers timers;
	struct wheel wheel; /* of actors, by pump_later */
	struct actor *running;
	const struct mail *running_mail;
	const struct mail_node *running_node;
	struct actor *mail_reader; /* whose mail running_mail is */

	struct idmap pending;
	struct idmap owed;
	bool mail_answered; /* running_mail: or passed on */
	struct mail_node *pool[MAIL_SIZE_CLASSES];
	uint32_t pooled[MAIL_SIZE_CLASSES];

	struct peer peers[RUNTIME_PEERS_MAX];
	int peers_end; /* beyond the last one ever used */
	struct block_owner blocks[RUNTIME_PEERS_MAX * 2];
	uint32_t block_count;
	struct idmap moved; /* actors that have moved to another process: move.c */
	struct actor *leaving;
	struct arrival *arrival; /* NULL = none is under way */

	struct idmap nodes; /* struct far_node by id */
	struct far_node *active_nodes;
	uint32_t node_numbers; /* given to ends of channels so far */

	struct media_batch *batches; /* MEDIA_BATCHES_OPEN of them */
	int batches_used;
	uint8_t *scratch; /* RUNTIME_FRAME_MAX bytes: frames are encoded and read here */
	_Alignas(16) uint8_t body[MESSAGE_STRUCT_MAX]; /* a mail from another process, decoded */
	struct runtime_counters counters;
	struct runtime_observer observer;
};

/* A message on its way, borrowed from its sender. */
struct kernel_letter {
	struct addr to, from;
	uint16_t type;
	bool is_reply;
	uint8_t hops;
	uint64_t request;
	int64_t deadline_us;
	const struct schema *schema;
	const void *body;
};

/* Key of heap entries that are request deadlines, not actor timers. */
#define TIMER_SUB_REQUEST UINT32_MAX

/* actor.c */
void kernel_end_if_stopping(struct actor *actor);
void kernel_bury(struct actor *actor);
/* At the end of a turn: nobody has one of the ended in hand. */
void kernel_empty_graveyard(struct runtime *rt);
struct actor *kernel_new_actor(struct runtime *rt, const struct actor_type *type, uint64_t id);

/* turn.c */
void kernel_make_ready(struct actor *actor);
/* Nobody is to run. */
void kernel_forget_ready(struct runtime *rt);
/* The time now, not that of the turn. */
int64_t kernel_read_clock(struct runtime *rt);
int64_t kernel_enter(struct actor *actor, struct actor **outer);
void kernel_leave(struct actor *actor, struct actor *outer, int64_t since_us);

/* observe.c: called only for an actor that is observed */
void kernel_observe_in(struct actor *actor, const struct mail *mail, const struct schema *schema,
	const void *body);
void kernel_observe_out(struct actor *actor, const struct kernel_letter *letter);
void kernel_observe_ran(struct actor *actor);

/* watch.c */
enum err kernel_watch_put(struct watch_list *list, struct addr who, bool link);
bool kernel_watch_remove(struct watch_list *list, struct addr who, struct watch_entry *removed);
bool kernel_watches(const struct actor *actor, struct addr who);
void kernel_tell_down(
	struct runtime *rt, struct addr who, const char *type, enum err reason, struct addr to);
void kernel_watches_end(struct actor *actor, struct addr parent);
void kernel_watches_of_dead(struct runtime *rt, uint32_t process);
void kernel_watches_renew(struct actor *actor);
/* On actors of that node, or (0) of any other: they fire, or are asked for anew. */
void kernel_watches_of_node(struct runtime *rt, uint64_t node, bool lost);
bool kernel_follows_into_death(struct actor *actor, const struct msg_down *down);

/* mail.c */
const struct handler *kernel_find_handler(const struct actor_type *type, uint16_t message);
enum err kernel_route(struct runtime *rt, const struct kernel_letter *letter);
void kernel_deliver(struct runtime *rt, const struct kernel_letter *letter);
void kernel_bounce(struct runtime *rt, struct addr to, struct addr from, uint16_t type,
	uint64_t request, bool is_reply, enum err err);
void kernel_run_mail(struct actor *actor, struct mail_node *node);
void kernel_drop_mail(struct actor *actor);
void kernel_free_node(struct runtime *rt, struct mail_node *node);
void kernel_request_due(struct runtime *rt, uint64_t request);
void kernel_fail_requests_to(struct runtime *rt, uint32_t process);
/* Those to that node; or only those to one of its processes. */
void kernel_fail_requests_to_node(struct runtime *rt, const struct msg_node_gone *gone);
/* A number that nobody can guess who has not seen it, and that no open request has. */
uint64_t kernel_next_request(struct runtime *rt);
/* Notes that an actor waits for an answer. */
enum err kernel_open_pending(struct runtime *rt, const struct pending *wanted);
/* After a takeover: of those that nobody will answer. */
void kernel_fail_lost_requests(struct runtime *rt);
/* A mail written down by a predecessor; the body is copied. */
enum err kernel_mail_again(struct actor *actor, const struct mail *mail,
	const struct schema *schema, const void *body);
void kernel_forget_requests_of(struct runtime *rt, uint64_t actor);
void kernel_pools_fini(struct runtime *rt);
/* A request that the backend answers (net_http.c): its id. Without memory for it, it fails at once. */
uint64_t kernel_open_request(struct actor *self, uint16_t type, uint32_t timeout_ms);

/* keep.c: no effect without an escrow */
void kernel_changed(struct actor *actor);
void kernel_record_changed(struct actor *actor); /* its watches or requests */
void kernel_asked_changed(struct runtime *rt, uint64_t actor);
void kernel_keep_ended(struct actor *actor);
void kernel_keep_turn(struct runtime *rt);
/* An actor's state has been decoded from the escrow, its restore has not run. has_mail: mails wait in its
 * record. */
void kernel_keep_found(struct actor *actor, bool has_mail);
/* When a runtime with an escrow is created. */
void kernel_keep_begin(struct runtime *rt);
/* The next id of an actor; numbers that a predecessor may have used are never used again. */
uint64_t kernel_next_serial(struct runtime *rt);
/* What entries of the escrow are of, in the order in which a successor takes them: records `channel`;
 * `channel_mail` and the mail; `owed_answer`; `kept_hot` and what is hot of that actor; `kept_move`; actors. */
enum kept_class { KEPT_CHANNEL = 1, KEPT_MAIL, KEPT_OWED, KEPT_HOT, KEPT_MOVE, KEPT_ACTOR };
enum kept_class kernel_kept_class(uint64_t owner);
/* Bytes that count from the next commit on; 0 = no room. `process`: that they are about. */
uint32_t kernel_keep_bytes(struct runtime *rt, enum kept_class class, uint32_t process,
	const void *bytes, size_t size);
void kernel_keep_not(struct runtime *rt, uint32_t *entry);

/* owed.c: that mail was handled and not answered; an answer to that request leaves. */
void kernel_owe(struct actor *actor, const struct mail *mail);
void kernel_answered(struct runtime *rt, uint64_t request);
void kernel_owed_fini(struct runtime *rt);

/* shape.c */
const struct state_shape *kernel_shape_of(struct runtime *rt, const struct schema *schema);
struct state_sum kernel_state_sum(
	const struct state_shape *shape, const uint8_t *state, struct state_sum sum);

/* restore.c: an actor's record is what is hot of its state (a map), then all else. */
enum err kernel_encode_cold(struct actor *actor, struct writer *out);
/* Steps over what is hot, and gives it. */
struct reader kernel_hot_of(struct reader *in);
/* `hot` = NULL: nothing is hot of it. `poisoned` = its restore function is not called, and it ends.
 * *restored is NULL when not even that could be done. */
enum err kernel_restore_actor(struct runtime *rt, struct reader *hot, struct reader *in,
	bool poisoned, struct actor **restored);

/* channel.c */
enum { BUS_MAGIC = 0x724d, BUS_VERSION = 1 };
enum bus_kind { BUS_MAIL = 1, BUS_MEDIA = 2, BUS_ACK = 3 };
/* Gives one frame of a channel to the backend; acknowledges with it all that may be. */
typedef enum err channel_send(struct runtime *rt, struct mail_channel *channel, enum bus_kind kind,
	uint64_t seq, const void *bytes, size_t size);
enum err kernel_write_letter(
	struct runtime *rt, const struct kernel_letter *letter, struct writer *out);
/* The body lies in rt->body. On an error the envelope is there as far as it was understood. */
enum err kernel_read_letter(struct runtime *rt, struct reader *in, struct kernel_letter *letter);
/* A mail to line up, without a number; NULL = no memory. */
struct outgoing *kernel_new_outgoing(
	const struct kernel_letter *letter, const void *bytes, size_t size);
void kernel_channel_line_up(struct mail_channel *channel, struct outgoing *mail);
/* Hands what the transport will take to it, in order. */
void kernel_channel_push(struct runtime *rt, struct mail_channel *channel, channel_send *send);
/* The way is a new one: what may have been lost on the old one is sent again. */
void kernel_channel_again(struct runtime *rt, struct mail_channel *channel, channel_send *send);
void kernel_channel_acked(struct runtime *rt, struct mail_channel *channel, uint64_t ack);
/* A mail of that number has come; true when it is the next one. */
bool kernel_channel_takes(struct runtime *rt, struct mail_channel *channel, uint64_t seq);
/* What is due; when it wants to be asked again. */
int64_t kernel_channel_turn(struct runtime *rt, struct mail_channel *channel, channel_send *send);
/* Mails whose taking nobody will acknowledge: back to their senders. `but_monitors`: those are asked
 * for anew, or have fired. */
void kernel_bounce_unacknowledged(struct runtime *rt, struct outgoing *first, bool but_monitors);
void kernel_channel_fini(struct mail_channel *channel);

/* bus.c */
bool kernel_is_ours(const struct runtime *rt, struct addr who);
/* NULL = it is not here. */
struct actor *kernel_local(const struct runtime *rt, struct addr who);
/* That runs it, or that is the way to it: of another node the gateway. 0 = unknown. */
uint32_t kernel_process_of(const struct runtime *rt, struct addr who);
struct peer *kernel_peer(struct runtime *rt, uint32_t process);
enum err kernel_bus_mail(struct runtime *rt, uint32_t process, const struct kernel_letter *letter);
/* Of the process office of a peer: what kernels say to each other goes there. */
struct addr kernel_peer_office(const struct runtime *rt, const struct runtime_peer_info *info);
int64_t kernel_bus_turn(struct runtime *rt);
/* After a takeover. */
enum err kernel_bus_restore_peer(
	struct runtime *rt, const struct channel *channel, uint32_t escrow_entry);
enum err kernel_bus_restore_mail(struct runtime *rt, const struct channel_mail *mail,
	struct reader *in, uint32_t escrow_entry);
/* Whether the mails restored are all that had not been acknowledged. */
bool kernel_bus_is_whole(const struct runtime *rt);
void kernel_bus_fini(struct runtime *rt);

/* move.c */
/* The process that an actor which is not here has moved to; 0 = it is not known to have moved. */
uint32_t kernel_moved_to(const struct runtime *rt, uint64_t id);
/* An actor is there after so many moves; process 0: it has ended. What is older than known is nothing. */
void kernel_note_move(struct runtime *rt, uint64_t id, uint32_t process, uint32_t moves);
/* That process is no more: whoever is still there is found where it was born. */
void kernel_forget_moves_to(struct runtime *rt, uint32_t process);
/* After a takeover: a note of the escrow. */
enum err kernel_restore_note(struct runtime *rt, struct reader *in, uint32_t escrow_entry);
void kernel_say_moved(
	struct runtime *rt, const struct peer *peer, struct addr who, uint32_t process);
void kernel_tell_newcomer(struct runtime *rt, const struct peer *peer);
void kernel_moved_ended(struct actor *actor);
void kernel_moved_fini(struct runtime *rt);
/* At the end of a turn, before it is kept: whoever called actor_move leaves. */
void kernel_move_out(struct runtime *rt);
void kernel_move_in(struct runtime *rt, const struct msg_arrive *m);
enum err kernel_arrive(struct actor *actor);

/* nodes.c: what a process knows of other nodes */
/* The process that mail to other nodes goes to; 0 = there is none now. */
uint32_t kernel_gateway(const struct runtime *rt);
bool kernel_is_gateway(const struct runtime *rt);
/* As known here; NULL. */
struct far_node *kernel_node(const struct runtime *rt, uint64_t id);
/* The same, made when it is not known. NULL: too many, or no memory. */
struct far_node *kernel_node_note(struct runtime *rt, uint64_t id);
/* Forgets it, when nothing of it is known any more. */
void kernel_node_tidy(struct runtime *rt, struct far_node *node);
/* Its boot has changed (0 = it is lost), or it is barred: whoever watches nodes here hears so. */
void kernel_node_tell_watchers(struct runtime *rt, const struct msg_node_seen *seen);
/* The other processes of this node. */
void kernel_tell_processes(
	struct runtime *rt, uint16_t type, const struct schema *schema, const void *message);
/* Requests to it fail, watches fire or are asked for anew. */
void kernel_node_gone(struct runtime *rt, const struct msg_node_gone *gone);
/* What gateway and processes tell each other about nodes; false when the letter is none of that. */
bool kernel_take_node_news(struct runtime *rt, const struct runtime_peer_info *from,
	const struct kernel_letter *letter);
/* That process is a new one; it may have missed what nodes are up. */
void kernel_meet_process(struct runtime *rt, const struct runtime_peer_info *peer);
void kernel_tell_of_nodes(struct runtime *rt, const struct runtime_peer_info *peer);
/* Addresses of offices whose processes the sender does not know, and what they mean in this node (the
 * alias itself: nobody). */
bool kernel_is_alias(struct addr who);
struct addr kernel_of_alias(const struct runtime *rt, struct addr alias);
void kernel_nodes_fini(struct runtime *rt);

/* node_bus.c: only in the gateway, except kernel_node_mail */
struct node_header { /* little endian, in front of every frame between gateways */
	uint16_t magic;
	uint8_t version;
	uint8_t kind;	  /* enum bus_kind: mail or acknowledgement */
	uint32_t number;  /* of the sender's end of the channel */
	uint64_t boot;	  /* of the sender */
	uint64_t to_boot; /* whom it takes for the receiver; 0 = it does not know */
	uint32_t to_number;
	uint32_t reserved;
	uint64_t seq; /* BUS_MAIL */
	uint64_t ack; /* cumulative */
};
/* To another node, here or by the gateway. */
enum err kernel_node_mail(struct runtime *rt, const struct kernel_letter *letter);
/* Something is to be said to it. */
void kernel_node_want(struct runtime *rt, uint64_t id);
/* Another process of this node takes it to be up: our predecessor did. */
void kernel_node_want_again(struct runtime *rt, uint64_t id);
/* A process of this node has ended: the other nodes hear so. */
void kernel_nodes_hear_of_end(struct runtime *rt, const struct runtime_peer_info *info);
int64_t kernel_node_turn(struct runtime *rt);

/* media_bus.c */
struct bus_header { /* little endian, in front of every frame between processes */
	uint16_t magic;
	uint8_t version;
	uint8_t kind;
	uint32_t from; /* incarnation */
	uint64_t seq;  /* BUS_MAIL */
	uint64_t ack;  /* cumulative */
};
/* Handles what waits in its mailbox now, within its budget: before media that was sent later. */
void kernel_handle_mail(struct actor *actor);
void kernel_media_flush(struct runtime *rt);
void kernel_media_frame(struct runtime *rt, const uint8_t *bytes, size_t size);

#endif
