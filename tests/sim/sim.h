/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator: a node or several, the processes of each in one program and one thread, under virtual
 * time. The actor kernel and the actors are the shipped code; what is modelled is what lies below
 * runtime_ops: clock, randomness, the bus between processes, sockets, the death of processes.
 *
 *   event heap ──> clock jumps to the earliest ──> frame, datagram, death, script … of that moment
 *                                              └─> runtime_turn of every process that is due
 *
 * Everything random comes from one seed, every decision in a fixed order: the same seed gives the
 * same run, whose events are folded into a trace hash. See docs/simulator.md.
 */
#ifndef MILLRACE_SIM_H
#define MILLRACE_SIM_H

#include "runtime/config.h"
#include "runtime/idmap.h"
#include "runtime/net_http.h"
#include "runtime/net_mesh.h"
#include "runtime/process.h"
#include "runtime/runtime.h"
#include "schemas/random.h"

enum {
	SIM_NODES_MAX = 30,
	SIM_SLOTS = 8,	       /* of a node: control, workers, helper … */
	SIM_CLUSTER_SLOTS = 3, /* … and of one of a cluster, which has no helper */
	SIM_PROCESSES_MAX = SIM_NODES_MAX * SIM_CLUSTER_SLOTS,
	SIM_INCARNATIONS_MAX = 4096, /* processes ever started in one run */
	SIM_WORKERS_MAX = 4,
	SIM_QUEUE_FRAMES =
		4000,		/* frames under way between two processes, as ZeroMQ's high water */
	SIM_STREAMS_MAX = 4,	/* names published in one run */
	SIM_NUMBERS_MAX = 4096, /* publishers of the simulator in one run */
	SIM_CLIENTS_MAX = 32,	/* publishers and viewers that a scenario keeps alive */
	SIM_LIVED_MAX = 1024,	/* actors of a worker that are looked for in its successor */
	SIM_EPOCHS_MAX = 512,	/* grants of names remembered in one run */
	SIM_FAILURE_SIZE = 240,
	SIM_NODE = 1,
	SIM_MS = 1000,
};

/* Where WebRTC clients reach a worker. */
enum {
	SIM_RTC_PORT = 8000
}; /* of the first node's first worker; the others' follow by their slots */

/* Of a node of a cluster: what follows is its number, from 0. */
#define SIM_NODE_URL "http://n"

/* Unix time minus the simulator's. */
#define SIM_WALL_SHIFT_US (1700000000ll * 1000000)

struct sim;

/* What can go wrong between processes; parts per million of frames unless the name says more. */
struct sim_faults {
	uint32_t mail_loss_ppm;
	uint32_t duplicate_ppm;
	uint32_t media_loss_ppm;    /* of frames between streams */
	uint32_t media_reorder_ppm; /* of frames between streams */
	uint32_t media_double_ppm;  /* of frames between streams */
	uint32_t full_ppm;	    /* sends refused with ERR_AGAIN */
	uint32_t cut_ppm;	    /* the connection breaks: everything under way is lost */
	int64_t delay_us;	    /* most of one frame's way */
};

/* A bug put in on purpose, to show that the checks find it. */
enum sim_plant {
	SIM_PLANT_NONE,
	SIM_PLANT_HOLD,	   /* packets that a log holds are now and then released once too often */
	SIM_PLANT_DEATH,   /* nobody is told that a process has died */
	SIM_PLANT_RESEND,  /* a lost mail counts as received and is never sent again */
	SIM_PLANT_PACKET,  /* one packet of some hundred vanishes between publisher and stream */
	SIM_PLANT_RESTORE, /* a publisher does not write down the packet that it keeps back */
	SIM_PLANT_INDEX,   /* a successor seals its first report under the last index once more */
	SIM_PLANT_ESCROW,  /* an actor that has changed is now and then not looked at */
	SIM_PLANT_FORGET,  /* a successor overlooks somebody */
	SIM_PLANT_PARCEL,  /* a mail that is lost between gateways counts as received */
	SIM_PLANT_NONCE,   /* a successor seals under the nonce that a link used last once more */
	SIM_PLANTS
};

struct sim_truth;

struct sim_process {
	/* what the loop looks at for every event */
	int64_t wake_us;
	int64_t paused_until_us;
	uint32_t incarnation;
	bool alive;
	bool used;
	bool falling;	   /* killed in the middle of this event: it runs on, and nobody hears it */
	bool line_goes_on; /* not alive; a successor will be */
	bool taking_over;  /* alive, and not all are back */
	uint32_t doom_steps; /* until it falls; 0 = it does not */
	uint32_t node;	     /* from 0 */
	uint8_t role;	     /* enum process_role */
	uint32_t index;
	uint64_t block;
	int64_t ahead_us; /* its clock is before the simulator's: a successor that is tried out */
	struct runtime *rt;
	struct arena *arena;
	struct escrow *escrow; /* of a worker */
	void *memory;
	size_t memory_size;
	struct log log;
	struct sim *sim;
	struct process_env env;
	/* since reported_us: what its processor is taken to have done */
	uint64_t turns, packets;
	int64_t reported_us;
	int64_t busy_until_us;	   /* its processor has no time left */
	int64_t drain_until_us;	   /* 0 = nobody told it to end */
	struct sim_mirror *mirror; /* its actors as last restored elsewhere; NULL = not yet */
	struct sim_truth *truth;   /* of its publishers when it fell; SIM_CLIENTS_MAX of them */
	uint32_t truths;
	uint64_t *lived; /* its actors of the last turn kept, when it fell; SIM_LIVED_MAX of them */
	uint32_t lived_count;
};

/* Packets on their way to one stream, by reason: what is sent must be found again. */
struct sim_account {
	uint64_t stream;     /* actor id */
	uint64_t given;	     /* handed over in the stream's own process */
	uint64_t sent;	     /* taken by the bus */
	uint64_t lost;	     /* by the simulated bus, or with its receiver's process */
	uint64_t refused_in; /* counted by the receiving kernel */
	uint64_t flying;
};

/* One publisher or viewer that the scenario wants to exist. */
struct sim_client {
	bool wanted;
	bool publishes;
	bool other_audio; /* viewer: needs Opus where AAC is published, AAC where Opus is */
	uint8_t stream;	  /* index of its name */
	uint32_t worker;
	uint32_t incarnation; /* of the process it was started in */
	struct addr addr;
};

/* A name was once granted with this epoch to this owner: never to another one. */
struct sim_grant {
	uint64_t name; /* hash */
	uint64_t epoch;
	struct addr owner;
};

struct sim_options {
	uint64_t seed;
	const char *scenario; /* NULL = by seed */
	bool trace;	      /* every event on stderr */
	bool thorough;	      /* who ran is restored after every event */
	uint32_t etcd_away_s; /* cluster: for so long, when all is well; 0 = by seed */
	bool settings;	      /* cluster: somebody changes how media travels, again and again */
	enum sim_plant plant;
};

/* "none", "hold" … */
extern const char *const sim_plant_names[SIM_PLANTS];

struct sim_event;

struct sim {
	struct sim_options options;
	struct rng rng;	      /* of the world */
	struct rng check_rng; /* of when and what to check */
	struct rng settings_rng;
	uint64_t settings_taken; /* values that changed at a node */
	int64_t now_us;
	uint64_t trace; /* hash of everything that happened */
	uint64_t events_run;
	bool failed;
	char failure[SIM_FAILURE_SIZE];

	struct sim_event **heap;
	size_t heap_count, heap_capacity;
	uint64_t next_order;

	struct sim_process processes[SIM_PROCESSES_MAX];
	uint32_t next_incarnation;
	uint8_t slot_of[SIM_INCARNATIONS_MAX];
	uint32_t nodes, slots; /* slots: of all nodes; node n's begin at n * node_slots */
	uint32_t node_slots;
	uint32_t workers;				/* of a node, at most */
	uint32_t helpers;				/* of a node */
	uint32_t media[SIM_PROCESSES_MAX], media_count; /* slots of all workers */
	bool node_is_down[SIM_NODES_MAX];
	struct sim_faults faults;
	bool faults_on;
	/* between two slots: frames under way, when the last arrives, how often the line was cut */
	uint32_t under_way[SIM_PROCESSES_MAX][SIM_PROCESSES_MAX];
	int64_t arrival_us[SIM_PROCESSES_MAX][SIM_PROCESSES_MAX];
	uint32_t line[SIM_PROCESSES_MAX][SIM_PROCESSES_MAX];
	/* mails that the receiver's kernel has taken from its peer */
	uint64_t mails[SIM_PROCESSES_MAX][SIM_PROCESSES_MAX];

	struct arena_layout layout;
	struct sim_grant grants[SIM_EPOCHS_MAX];
	size_t grant_count;

	struct config config;
	struct idmap accounts; /* struct sim_account by stream */
	struct sim_supervisor *supervisor;
	struct sim_net *net;
	struct sim_web *web;
	struct sim_ways *ways; /* between nodes */
	struct sim_wide *wide; /* the network between the nodes of a cluster; NULL: there is none */
	struct sim_mesh *mesh; /* their gateways */
	struct sim_etcd *etcd; /* and what they agree by … */
	unsigned
		disk; /* … which came back, when all was well, with this (enum sim_etcd_disk) + 1 */
	struct sim_far *far; /* actors that have to do with those of other nodes; NULL: none */
	struct sim_callbacks *callbacks; /* NULL: none in this scenario */
	struct sim_edges *edges;	 /* clients outside; NULL: none in this scenario */
	const struct sim_scenario *scenario;
	struct sim_client clients[SIM_CLIENTS_MAX];
	size_t client_count;
	uint32_t streams; /* names in use */
	int64_t chaos_until_us;
	int64_t poisoned_us; /* a successor has left out somebody who had killed two before it; 0 = never */
	bool leaving;
	uint64_t steps; /* checks so far, one after every event */
	bool restoring; /* who ran is restored after every event */
	uint64_t
		stirred[SIM_PROCESSES_MAX / 64 + 1]; /* bit a process: it ran since the last step */
	uint64_t publishers;			     /* ever started: number them */
	uint8_t stream_of[SIM_NUMBERS_MAX];	     /* which name the simulator's publisher has */

	struct mail_mark *marks; /* mails that are to be acknowledged (sim_check_mail) */
	size_t mark_count;

	/* what happened, for the report */
	uint64_t packets_sent, packets_read, restores, deaths, takeovers;
	uint64_t switches;			/* of publishers, as simulated viewers saw them */
	uint64_t moves;				/* of sessions, asked for */
	uint64_t requests_sent, requests_ended; /* by simulated clients */
	uint64_t datagrams;			/* between nodes */
	int64_t converged_ms;			/* from the last fault to the end of all trouble */
};

/* ---- sim.c ------------------------------------------------------------------------------------- */

/* Every type that runs in the simulator; NULL-terminated. */
extern const struct actor_type *const sim_types[];

struct sim *sim_create(const struct sim_options *options);
/* Stops everything that still runs. */
void sim_destroy(struct sim **sim);

/* The first failure is kept; printf-like. */
void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define SIM_CHECK(sim, condition, ...)              \
	do {                                        \
		if (!(condition))                   \
			sim_fail(sim, __VA_ARGS__); \
	} while (0)

/* Folds into the trace hash, and prints with options.trace. */
void sim_note(struct sim *sim, const char *what, uint64_t a, uint64_t b);

/* Runs fn(sim, argument) at a virtual time. */
void sim_at(struct sim *sim, int64_t at_us, void (*fn)(struct sim *sim, uint64_t argument),
	uint64_t argument);

/* Until that virtual time, or the first failure. */
void sim_run_until(struct sim *sim, int64_t until_us);

/* ---- sim_process.c ------------------------------------------------------------------------------- */

struct arena_layout sim_layout_of(const struct sim_scenario *scenario);
/* Those of all nodes, as the scenario says. */
void sim_start_all(struct sim *sim);
void sim_start_process(struct sim *sim, uint32_t slot);
/* A runtime on the process' memory, as its options say. */
void sim_stand_up(struct sim_process *process);
/* Those of the shipped programs that it does not have yet. */
void sim_start_offices(struct sim_process *process);
/* kill -9: nothing of it runs on, its arena is gone; the others see it after a while; with
 * `restart` it is replaced by a new incarnation. */
void sim_kill_process(struct sim *sim, uint32_t slot, bool restart);
/* SIGTERM to a worker: it ends what it has, or its time ends; then it is replaced. */
void sim_drain_process(struct sim *sim, uint32_t slot);
/* Has it ended what it has? Then it goes. */
void sim_end_if_drained(struct sim *sim, struct sim_process *process);
void sim_pause_process(struct sim *sim, uint32_t slot, int64_t for_us);
/* SIGTERM: every actor's stop runs. */
void sim_stop_process(struct sim *sim, uint32_t slot);
void sim_wake(struct sim *sim, struct sim_process *process);
uint16_t sim_rtc_port(const struct sim_process *process);
struct sim_process *sim_process_of(struct sim *sim, uint32_t incarnation);
/* All of a node's processes are killed at once; started again after a while. */
void sim_kill_node(struct sim *sim, uint32_t node, int64_t for_us);
/* Of its process, or of the one that is to go on with it. */
bool sim_line_exists(const struct sim *sim, uint32_t incarnation);
/* In which process an actor began, by the block of its id. */
enum { SIM_BLOCK_FIRST = 100 };
static inline uint32_t sim_birth_of(uint64_t id)
{
	return (uint32_t)((id >> RUNTIME_BLOCK_SHIFT) - SIM_BLOCK_FIRST);
}
/* `who` finds that the way to `about` is a new one, or that there is such a process. */
void sim_meet_again(struct sim *sim, const struct sim_process *who, const struct sim_process *about,
	int64_t within_us);
struct sim *sim_of(const struct runtime *rt);

struct sim_account *sim_account(struct sim *sim, uint64_t stream);

/* ---- sim_takeover.c ---------------------------------------------------------------------------- */

/* A worker is killed, at once or at some step of what it does next. Mostly its line goes on. */
void sim_fall(struct sim *sim, uint32_t slot, bool at_once);
/* Something of this process runs: it may fall here. */
void sim_takeover_step(struct sim_process *process);
void *sim_escrow_store(void *to, const void *from, size_t size);
/* After every event. */
void sim_bury_fallen(struct sim *sim);
/* What a publisher had numbered when its worker fell; NULL = none did. */
const struct sim_truth *sim_truth_of(const struct runtime *rt, uint64_t id);

/* ---- sim_supervisor.c: status page, processor, commands of the console --------------------------- */

struct sim_supervisor *sim_supervisor_create(void);
void sim_supervisor_destroy(struct sim_supervisor **supervisor);
/* Its environment and its row of the page are made, before its actors. */
void sim_supervisor_started(struct sim *sim, struct sim_process *process);
void sim_supervisor_gone(struct sim *sim, const struct sim_process *process);
/* For so long that node takes no new sessions; those it has stay. */
void sim_supervisor_drain(struct sim *sim, uint32_t node, int64_t for_us);
void sim_supervisor_heal(struct sim *sim);
/* After every turn. */
void sim_supervisor_measure(struct sim *sim, struct sim_process *process);
enum err sim_supervisor_tell(void *context, const struct process_command *command);
enum err sim_supervisor_hear(void *context, struct process_reply *reply);

/* ---- sim_memory.c ------------------------------------------------------------------------------ */

/* Memory for an arena, page-aligned and zero (`size`: whole pages). */
void *sim_map(size_t size);
void sim_unmap(void **memory, size_t size);
/* The memory stays as it is; what is written at its address from now on is a copy's … */
void sim_memory_freeze(void *memory);
/* … which is thrown away. */
void sim_memory_thaw(void *memory);
/* The same memory at another address. What is written to a view stays its own; a page that was not
 * written to shows what is in the memory now. */
void *sim_view(void *memory, size_t size);
/* That part of the view (whole pages) is the memory itself from now on, to write or only to read. */
void sim_view_join(void *view, void *memory, size_t offset, size_t size, bool writable);
/* What was written to that part (whole pages) of the view is forgotten. */
void sim_view_renew(void *view, size_t offset, size_t size);
void sim_view_end(void **view, size_t size);

/* ---- sim_moves.c ------------------------------------------------------------------------------- */

/* Some WebRTC session, if there is one, is told to go on at another worker. */
void sim_move_somebody(struct sim *sim);
/* How many have, as far as those processes know that run now. */
uint64_t sim_count_moved(const struct sim *sim);
/* Nobody lives in two processes. */
void sim_check_moved(struct sim *sim, const struct sim_process *process);

/* ---- sim_bus.c --------------------------------------------------------------------------------- */

enum err sim_bus_send(void *context, uint32_t process, const struct iovec *parts, size_t count);

/* ---- sim_ways.c: between gateways ------------------------------------------------------------------ */

struct sim_ways *sim_ways_create(struct sim *sim);
void sim_ways_destroy(struct sim_ways **ways);
enum err sim_ways_send(void *context, uint64_t node, const struct iovec *parts, size_t count);
void sim_ways_wanted(void *context, uint64_t node);
/* Its connections break. */
void sim_ways_gateway_gone(struct sim *sim, uint32_t node);
/* A connection breaks, or two nodes cannot reach each other for so long. */
void sim_ways_cut(struct sim *sim);
void sim_ways_part(struct sim *sim, int64_t for_us);
/* Everybody can reach everybody from now on. */
void sim_ways_heal(struct sim *sim);

/* ---- sim_mesh.c: the mesh of a cluster ----------------------------------------------------------------- */

struct sim_mesh *sim_mesh_create(struct sim *sim);
void sim_mesh_destroy(struct sim_mesh **mesh);
void sim_mesh_gateway_gone(struct sim *sim, uint32_t node);
/* A connection between two gateways breaks. */
void sim_mesh_cut(struct sim *sim);
/* runtime/net_mesh.h, and what the kernel sends to other nodes: without a cluster, sim_ways.c has it */
enum err sim_mesh_open(void *context, uint64_t owner);
enum err sim_mesh_learn(void *context, const struct mesh_hint *hint);
void sim_mesh_forget(void *context, uint64_t node);
enum err sim_mesh_send(void *context, uint64_t node, const struct iovec *parts, size_t count);
void sim_mesh_wanted(void *context, uint64_t node);

/* ---- sim_wide.c: the network between the nodes of a cluster ---------------------------------------- */

enum {
	SIM_LINK_SOCKET = 100000, /* its number in every worker */
	SIM_LINK_PORT = 7500,	  /* of a node's first worker */
};

struct sim_wide *sim_wide_create(struct sim *sim);
void sim_wide_destroy(struct sim_wide **wide);
/* One way between two nodes, over the better of their networks. */
int64_t sim_wide_delay_us(const struct sim *sim, uint32_t a, uint32_t b);
/* Of that node: its place, its addresses. */
struct config *sim_config_of(struct sim *sim, uint32_t node);
/* As the node's file has it. */
const struct config *sim_config_at_first(const struct sim *sim, uint32_t node);
void sim_wide_take(struct sim_process *process, uint64_t owner);
void sim_wide_local_addr(const struct sim_process *process, struct net_addr *addr);
/* `local`: which of its addresses they leave from. */
size_t sim_wide_send(struct sim_process *process, uint32_t local, const struct net_addr *to,
	const struct iovec *packets, size_t count);
size_t sim_wide_send_from(void *context, uint32_t socket, const struct net_addr *local,
	const struct net_addr *to, const struct iovec *packets, size_t count);
bool sim_wide_is_local(void *context, const struct net_addr *addr);
/* No nonce of a link has two contents; `trial`: it has not left. */
void sim_wide_look(struct sim *sim, const void *bytes, size_t size, bool trial);
/* By which key (64 bits of its salt) the process that runs has sealed that datagram; false: it has not. */
bool sim_link_key(const void *datagram, uint64_t *key);
/* A path between two nodes loses packets, is slow, or nothing comes through, for a while. */
void sim_wide_trouble(struct sim *sim);
/* Two nodes cannot reach each other for so long. */
void sim_wide_part(struct sim *sim, int64_t for_us);
/* 0 = they are not. */
int64_t sim_wide_parted_until_us(const struct sim *sim, uint32_t a, uint32_t b);
/* The network falls in two, and etcd is on one side of it. */
void sim_wide_split(struct sim *sim);
bool sim_wide_reaches_etcd(const struct sim *sim, uint32_t node);
void sim_wide_heal(struct sim *sim);

/* ---- sim_etcd.c: what the nodes of a cluster agree by ----------------------------------------------- */

struct sim_etcd *sim_etcd_create(struct sim *sim);
void sim_etcd_destroy(struct sim_etcd **etcd);
void sim_etcd_process_gone(struct sim *sim, const struct runtime *rt);
/* It is gone, or answers nobody, for a while. */
void sim_etcd_outage(struct sim *sim);
void sim_etcd_heal(struct sim *sim);
/* With which disk it begins again. */
enum sim_etcd_disk { SIM_ETCD_SAME, SIM_ETCD_EMPTY, SIM_ETCD_OLDER, SIM_ETCD_DISKS };
/* What it will have when it comes back older. */
void sim_etcd_save(struct sim *sim);
/* It is gone until it returns. */
void sim_etcd_leave(struct sim *sim);
void sim_etcd_return(struct sim *sim, enum sim_etcd_disk disk);
/* Who owns that name is written there. */
bool sim_etcd_knows(const struct sim *sim, const char *name);
/* A pair of the cluster is put there, as an operator does (value NULL: deleted), or read; key without what
 * all have in front. */
void sim_etcd_set(struct sim *sim, const char *key, const char *value);
bool sim_etcd_get(const struct sim *sim, const char *key, char *value, size_t size);
/* HTTP of a process: to etcd, where there is one, else to the scenario's server (sim_web.c). */
enum err sim_http_start(
	void *context, uint64_t request, uint64_t owner, const struct net_http_request *what);
enum err sim_http_read(void *context, uint64_t stream, uint64_t owner, uint64_t request);
void sim_http_cancel(void *context, uint64_t owner, uint64_t id);

/* ---- sim_settings.c: configuration that changes while a cluster runs --------------------------------- */

/* PROCESS_SET. */
enum err sim_settings_obey(struct sim *sim, uint32_t node, const char *setting);
/* From now on, while faults last, some value in etcd becomes another, a wrong one perhaps, or goes. */
void sim_settings_begin(struct sim *sim);
/* One does now. */
void sim_settings_change(struct sim *sim);
/* All nodes have what etcd has. */
void sim_settings_check(struct sim *sim);

/* ---- sim_cluster.c: what must hold in a cluster ------------------------------------------------------ */

/* Every copy's way leads to the owner, and there is one. */
void sim_cluster_check_ways(struct sim *sim);
/* Runs until all has come together, for so long at most. */
void sim_cluster_settle(struct sim *sim, int64_t within_ms);
/* When all is well etcd goes away: whoever plays notices nothing, who comes now is served; and all is
 * known there again when it is back. */
void sim_cluster_without_etcd(struct sim *sim);
/* Links of a successor that is only tried out say what they have to say, which no nonce may forbid. */
void sim_cluster_try(struct sim_process *elsewhere);
/* Packets that a link holds for as long as they may be asked for again. */
uint64_t sim_cluster_kept(const struct actor *actor);
/* SIM_PLANT_NONCE, in the successor's memory. */
void sim_cluster_plant_nonce(const struct sim_process *process, struct arena *copy);
/* All streams, on stderr. */
void sim_cluster_show(const struct sim *sim);
/* Until nothing is left of streams, and so long at least. */
void sim_cluster_empty(struct sim *sim, int64_t within_ms, int64_t least_ms);

/* ---- sim_far.c: actors that have to do with those of other nodes ------------------------------------ */

void sim_far_begin(struct sim *sim);
void sim_far_end(struct sim *sim);
/* No misfortune any more: nothing new is begun. */
void sim_far_calm(struct sim *sim);
void sim_far_check_converged(struct sim *sim);
extern const struct actor_type sim_far_actor;

/* ---- events, for sim_process.c, sim_bus.c, sim_net.c --------------------------------------------------------- */

enum sim_peer_event { SIM_PEER_UP, SIM_PEER_DOWN, SIM_PEER_AGAIN };
void sim_push_peer(struct sim *sim, int64_t at_us, enum sim_peer_event what,
	const struct sim_process *who, const struct sim_process *about);
/* Something is on its way until then. */
struct sim_carrier {
	void (*deliver)(struct sim *sim, void *carried);
	void (*drop)(struct sim *sim, void *carried); /* the run is over */
};
void sim_carry(struct sim *sim, int64_t at_us, const struct sim_carrier *carrier, void *carried);

/* ---- sim_net.c: sockets of actors, and clients outside the node ------------------------------------ */

struct sim_net *sim_net_create(struct sim *sim);
void sim_net_destroy(struct sim_net **net);
/* Sockets of a dead process close. */
void sim_net_process_gone(struct sim_net *net, uint32_t incarnation);
/* Connections that a successor has claimed are there again; the others close. */
void sim_net_taken_over(struct sim *sim, struct sim_process *process);
/* Its line goes on, but sockets that it had opened itself are gone. */
void sim_net_fallen(struct sim_net *net, uint32_t incarnation);
bool sim_net_claim(void *context, uint64_t owner, uint32_t socket);
bool sim_net_progress(void *context, uint32_t socket, struct net_progress *progress);

uint32_t sim_net_take(void *context, uint64_t owner, enum net_given what);
uint32_t sim_net_open_beside(
	void *context, uint64_t owner, const struct net_addr *local, const struct net_addr *peer);
void sim_net_listen_pause(void *context, uint32_t listener, bool paused);
size_t sim_net_send(void *context, uint32_t socket, const struct net_addr *to,
	const struct iovec *packets, size_t count);
void sim_net_give(void *context, uint32_t socket, uint64_t owner);
long sim_net_read(void *context, uint32_t socket, void *buffer, size_t size);
long sim_net_write(void *context, uint32_t socket, const struct iovec *parts, size_t count);
void sim_net_want(void *context, uint32_t socket, unsigned events);
void sim_net_close(void *context, uint32_t socket);
void sim_net_local_addr(void *context, uint32_t socket, struct net_addr *addr);

/* A client connects to a process's listener; its end's number, 0 = refused. */
uint32_t sim_client_connect(struct sim *sim, uint32_t slot, enum net_given listener);
/* Takes bytes into the client's buffer; they arrive cut at random, in order. */
void sim_client_write(struct sim *sim, uint32_t client, const void *bytes, size_t size);
/* What came back so far and was not read yet; bytes copied. */
size_t sim_client_read(struct sim *sim, uint32_t client, void *buffer, size_t size);
void sim_client_close(struct sim *sim, uint32_t client);
bool sim_client_is_open(struct sim *sim, uint32_t client);
/* A datagram from a client's address to the UDP socket of a worker. */
void sim_client_send_datagram(struct sim *sim, uint32_t slot, const struct net_addr *from,
	const void *bytes, size_t size);
/* Told of datagrams to the outside: those that arrive, and before that of all that are sent. */
void sim_net_on_datagram(struct sim *sim,
	void (*arrived)(struct sim *sim, const struct net_addr *to, const void *bytes, size_t size),
	void (*sent)(struct sim *sim, const struct net_addr *to, const void *bytes, size_t size));

/* ---- sim_web.c: web servers outside the node -------------------------------------------------------- */

struct sim_web_request {
	char *method, *url, *body;
	uint64_t stream; /* 0 = the whole body at once */
	uint32_t incarnation;
};

struct sim_web_answer {
	enum err
		err; /* not OK: what the asker is failed with; DEAD at first; AGAIN: nothing comes */
	uint16_t status;
	const char *headers, *body; /* NULL = none; headers as lines */
};

typedef void sim_web_server(
	struct sim *sim, const struct sim_web_request *request, struct sim_web_answer *answer);

struct sim_web *sim_web_create(void);
void sim_web_destroy(struct sim_web **web);
/* Who answers all requests; NULL: nobody (DEAD). */
void sim_web_serve(struct sim *sim, sim_web_server *server);
/* More of a stream's body; false when its reader has left. `request`: a copy of what was asked. */
bool sim_web_push(
	struct sim *sim, const struct sim_web_request *request, const char *text, bool end);
void sim_web_process_gone(struct sim_web *web, uint32_t incarnation);

enum err sim_web_start(
	void *context, uint64_t request, uint64_t owner, const struct net_http_request *what);
enum err sim_web_read(void *context, uint64_t stream, uint64_t owner, uint64_t request);
void sim_web_cancel(void *context, uint64_t owner, uint64_t id);

/* ---- sim_callback.c: the server of HTTP callbacks --------------------------------------------- */

void sim_callbacks_begin(struct sim *sim);
/* All have left: their ends were told. */
void sim_callbacks_check_empty(struct sim *sim);
void sim_callbacks_end(struct sim *sim);

/* ---- sim_actors.c, sim_flood.c --------------------------------------------------------------------- */

struct sim_publisher_args {
	const char *stream_name;
	uint64_t number; /* of this publisher, in the run */
	uint8_t audio;	 /* codec */
};
struct sim_viewer_args {
	const char *stream_name;
	uint8_t audio;	   /* codec it needs; 0 = any */
	uint8_t published; /* codec that it knows to be published */
};
/* Asks for so many names at once, and ends when all have been answered. */
struct sim_flood_args {
	uint32_t requests;
};
extern const struct actor_type sim_flood;
/* In a runtime that is no simulator's: its simulated clients end without a word. */
void sim_silence_clients(struct runtime *rt);
extern const struct actor_type sim_publisher;
extern const struct actor_type sim_viewer;

enum sim_publisher_phase { SIM_PUB_ASKING = 1, SIM_PUB_LIVE = 2, SIM_PUB_REPLACED = 4 };
enum sim_viewer_phase { SIM_VIEW_ASKING = 1, SIM_VIEW_WATCHING = 2 };

struct sim_publisher_state {
	char name[128];
	struct addr stream;
	uint64_t epoch;
	uint64_t number;
	uint64_t video_seq, audio_seq;
	uint32_t video_frame, audio_frame;
	uint32_t since_key;
	uint64_t sent;
	uint64_t audio_codec;
	char resume[64];
	uint32_t held_index, held_generation; /* a packet that goes out after the next one */
	uint64_t request;		      /* 0 = none under way */
	int64_t asked_us;
};

struct sim_truth {
	uint64_t id;
	struct sim_publisher_state st;
};

struct sim_viewer_state {
	char name[128];
	struct addr stream;
	uint64_t epoch;
	uint32_t log_index, log_generation;
	uint64_t position, started_at;
	uint64_t read, forgotten, holes, waited_key;
	uint64_t seq_high[MEDIA_TRACKS_MAX];
	uint64_t seq_window[MEDIA_TRACKS_MAX];
	int64_t last_packet_us;
	uint64_t last_publisher;
	uint64_t audio_codec, published_codec;
	int64_t last_audio_us;
	bool started;
	uint64_t request;
	int64_t asked_us;
	uint64_t slow_ms;
};

/* ---- sim_checks.c ---------------------------------------------------------------------------------- */

/* Packets sent to a stream that nobody has accounted for; false when it is none that is counted. */
bool sim_account_missing(struct sim *sim, const struct actor *actor, int64_t *missing);
/* Cheap: after every event. */
void sim_check_step(struct sim *sim);
/* After every turn of a process: no epoch of a name has two owners. */
void sim_check_owners(struct sim *sim, struct sim_process *process);
/* One process: bounds, logs, accounts. */
void sim_check_process(struct sim *sim, struct sim_process *process, bool closely);
/* Each name has an owner who is live, and all viewers what he publishes. */
void sim_check_clients(struct sim *sim);
/* When all is quiet: owners, viewers, what is held. */
void sim_check_converged(struct sim *sim);
/* When nobody publishes or watches any more. */
void sim_check_empty(struct sim *sim);
/* Runs a little: what is under way now is acknowledged then. */
void sim_check_mail(struct sim *sim);

/* ---- sim_restore.c --------------------------------------------------------------------------------- */

/* Every actor of a process is written down and brought back elsewhere, and the slots are swept. */
void sim_restore_all(struct sim *sim, struct sim_process *process);
/* Whether a successor may do without this one: it ends, or has nobody to serve yet. */
bool sim_restore_leaves_out(const struct actor *actor);
/* The actors that have run since the last call are written down and brought back elsewhere. */
void sim_restore_changed(struct sim *sim, struct sim_process *process);
/* SIM_PLANT_ESCROW: before a turn. */
void sim_restore_plant(struct sim *sim, struct sim_process *process);
void sim_mirror_destroy(struct sim_mirror **mirror);
/* An arena in which whatever an actor names is stale. */
struct arena *sim_empty_arena(void);

/* ---- sim_scenarios.c ------------------------------------------------------------------------------- */

struct sim_scenario {
	const char *name;
	uint32_t workers; /* of a node */
	uint32_t streams;
	uint32_t viewers;
	struct sim_faults faults;
	int64_t chaos_ms;    /* from start; then faults stop … */
	int64_t quiet_ms;    /* … and after this everything must have converged */
	uint32_t action_ms;  /* one random action about every so often */
	uint16_t weight[18]; /* of enum sim_action */
	bool flood;	     /* with every action, many requests at once */
	uint32_t packets;    /* slots of every arena; 0 = plenty */
	uint32_t logs;
	uint32_t mailbox_max;  /* 0 = by type */
	uint32_t edge_streams; /* published by RTMP, besides */
	uint32_t edge_readers; /* of HTTP-FLV */
	uint32_t edge_players; /* by RTMP, of streams published by RTMP and by WebRTC */
	uint32_t edge_askers;
	uint32_t consoles;
	uint32_t rtc_streams; /* published by WebRTC, besides */
	uint32_t rtc_viewers;
	uint32_t rtmp_viewers; /* by WebRTC, of streams published by RTMP */
	uint32_t rtc_readers; /* by HTTP-FLV, of those streams published by WebRTC that are H.264 */
	const char
		*standby; /* names whose further publishers stand by (stream.standby); NULL: none */
	bool callbacks;	  /* a server is asked who may begin, and told who has gone */
	uint32_t nodes;	  /* 0 = one */
	bool cluster;	  /* nodes, at most so many, that have streams of each other */
	bool by_name;	  /* no seed chooses it */
	bool scarce; /* not everybody can be served: what is refused must be refused in order */
	bool keeps; /* whoever is killed is gone on with, and publishers stay: no viewer's session ends */
};

enum sim_action {
	SIM_ACT_PUBLISHER_LEAVES,
	SIM_ACT_PUBLISHER_MOVES,
	SIM_ACT_RIVAL,
	SIM_ACT_VIEWER_LEAVES,
	SIM_ACT_WORKER_DIES,
	SIM_ACT_CONTROL_DIES,
	SIM_ACT_HELPER_DIES,
	SIM_ACT_PAUSE,
	SIM_ACT_EDGE, /* a client outside */
	SIM_ACT_BUSY, /* a worker's processor has no time left for newcomers */
	SIM_ACT_MOVE, /* a WebRTC session goes on at another worker */
	SIM_ACT_CUT,  /* a connection between two gateways breaks */
	SIM_ACT_PART, /* two nodes cannot reach each other */
	SIM_ACT_NODE, /* one is killed */
	SIM_ACT_PATH, /* the network between two has a path that is bad */
	SIM_ACT_SPLIT,
	SIM_ACT_STORE,
	SIM_ACT_DRAIN, /* a node takes no new sessions for a while */
	SIM_ACTIONS
};

/* NULL past the end. */
const struct sim_scenario *sim_scenario_at(size_t index);
const struct sim_scenario *sim_scenario_find(const char *name);
const struct sim_scenario *sim_scenario_of(uint64_t seed);
/* Clients outside. */
bool sim_scenario_has_edges(const struct sim_scenario *scenario);
/* "live/s0" … */
void sim_stream_name(uint32_t stream, char *name, size_t size);

/* Somebody leaves and another comes to watch; somebody publishes anew what he did, at his worker. */
void sim_change_clients(struct sim *sim);

/* A worker by number, of all nodes. */
struct sim_process *sim_worker(struct sim *sim, uint32_t number);

/* Starts the scenario's clients and misfortunes; then sim_run_until. */
void sim_begin(struct sim *sim);

/* One whole run of a seed. True = nothing was found; else sim->failure says what. */
bool sim_run(struct sim *sim);

/* Runs and forgets; a copy of the failure's text when it fails. */
struct sim_result {
	bool ok;
	uint64_t trace;
	uint64_t events, packets_sent, packets_read, restores, deaths, takeovers, switches, moves,
		moved;
	uint64_t frames_sent, tags_read, answers, console_answers; /* of clients outside */
	uint64_t rtc_sessions, rtp_sent, rtp_read, rtp_asked, sent_on;
	uint64_t nodes, datagrams, converged_ms; /* of a cluster */
	unsigned
		disk; /* with which etcd came back (enum sim_etcd_disk) + 1; 0 = it did not leave */
	uint64_t settings_taken;
	const char *scenario;
	char failure[SIM_FAILURE_SIZE];
};
struct sim_result sim_run_seed(const struct sim_options *options);

#endif
