/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process of a node is given when it starts, and how it and the supervisor see each other.
 *
 *   supervisor --fork, exec /proc/self/exe--> child
 *        |  boot memfd (sealed): struct process_env and the resolved configuration, as lines
 *        |  descriptors, inherited by number: sockets, memfds, eventfd, lifeline
 *        '- status page (shared memory): one cache line a process, both sides write atomics
 *
 * A child reads process_env once, sets its state to PROCESS_READY when it serves, beats at least
 * every PROCESS_BEAT_MS, and looks at its `order` whenever its wake eventfd is readable. It exits
 * with status 0 when told to stop. It never handles signals: INT, TERM and HUP are ignored in
 * children (the supervisor alone decides), KILL is the supervisor's last word.
 *
 * The control process asks the supervisor for things by fixed-size structs over a socketpair.
 * Nothing in here allocates except process_env_load, which maps the status page.
 */
#ifndef MILLRACE_PROCESS_H
#define MILLRACE_PROCESS_H

#include "runtime/config.h"
#include "runtime/limits.h"
#include "runtime/log.h"
#include "runtime/process_metrics.h"
#include "runtime/process_operation.h"
#include "schemas/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PROCESS_WORKERS_MAX = 64, /* media workers of a node: rtc.port + 63 is the last port */
	PROCESS_HELPERS_MAX = 15,
	PROCESS_PEERS_MAX = 1 + PROCESS_WORKERS_MAX + PROCESS_HELPERS_MAX, /* mail reaches them */
	PROCESS_SLOTS_MAX = PROCESS_PEERS_MAX + 2 * PROCESS_WORKERS_MAX,   /* holders, spares */
	PROCESS_ADDRESSES_MAX = 16,
	PROCESS_ADDRESS_SIZE = 46, /* longest IPv6 text and its NUL (INET6_ADDRSTRLEN) */
	PROCESS_PATH_SIZE = 256,
	PROCESS_NAME_SIZE = 64,
	PROCESS_TEXT_SIZE = 64 + CONFIG_VALUE_MAX + 1, /* a key, '=' and its value */
	PROCESS_SECRET_SIZE = 32,		       /* bytes */
	PROCESS_BEAT_MS = 50, /* a child beats at least this often; worker.stuck_ms judges it */
	/* Packets that are worth a thousandth of a core: 2 us each (docs/performance.md). */
	PROCESS_PACKETS_PER_PERMILLE = 500,
};

enum process_role {
	PROCESS_CONTROL, /* directory, placement, REPL, operator HTTP */
	PROCESS_MEDIA,	 /* a worker: sessions and streams */
	PROCESS_HELPER,	 /* codec work */
	PROCESS_SPARE,	 /* exec'd beforehand to take over from the worker of its index */
	PROCESS_HOLDER,	 /* keeps the connections of the worker of its index (runtime/holder.h) */
	PROCESS_ROLE_COUNT
};

/* "control", "media", "helper", "spare", "holder"; "unknown" for a value out of range. */
const char *process_role_name(enum process_role role);

/* Of one process; the supervisor writes EMPTY, STARTING and DEAD, the child the others. While a
 * worker has a spare nobody but the two writes its row: its death leaves it as it is, until the spare
 * has written itself in or has gone, too. */
enum process_state {
	PROCESS_EMPTY,	  /* nothing was ever started in this slot */
	PROCESS_STARTING, /* forked, not yet serving; not judged by its beat */
	PROCESS_READY,
	PROCESS_DRAINING, /* takes nothing new, finishes what it has */
	PROCESS_DRAINED,  /* has nothing left and is about to exit */
	PROCESS_DEAD,	  /* exited; its successor is not started yet */
	PROCESS_RESTORING, /* was a spare: goes on with what its worker has left, reachable already */
	PROCESS_STATE_COUNT
};

/* "empty", "starting", "ready" …; "unknown" for a value out of range. */
const char *process_state_name(enum process_state state);

/* What the supervisor wants of a child. Orders only grow. */
enum process_order {
	PROCESS_RUN,
	PROCESS_HAND_OVER, /* media: keep all as it is and die, the line's next process goes on. Taken
	                    * back by the one that obeys it */
	PROCESS_DRAIN, /* media: refuse new sessions, end the present ones in order, then exit 0 */
	PROCESS_STOP,  /* exit 0 as soon as what is written can be sent */
};

/* Of the node as a whole. */
enum process_node_state { PROCESS_NODE_STARTING, PROCESS_NODE_READY, PROCESS_NODE_STOPPING };

/* One cache line a process. Every reader treats every number as untrusted. */
struct process_status {
	_Alignas(64) _Atomic int64_t beat_us; /* child: CLOCK_MONOTONIC of the last turn */
	_Atomic uint32_t state;		      /* enum process_state */
	_Atomic uint32_t order;		      /* supervisor: enum process_order */
	_Atomic uint32_t pid;		      /* supervisor, or a spare: 0 = none */
	_Atomic uint32_t incarnation;	      /* supervisor, or a spare */
	_Atomic uint32_t restarts;	      /* supervisor: times this slot was started again */
	_Atomic uint32_t cpu_permille;	      /* child: of one core, over the last second or so */
	_Atomic uint32_t packets_per_s;	      /* child: in and out */
	_Atomic uint32_t sessions;	      /* child */
	_Atomic uint32_t streams;	      /* child */
	_Atomic uint32_t role;		      /* supervisor: enum process_role */
	_Atomic uint32_t index;		      /* supervisor */
	_Atomic uint32_t block;		      /* supervisor: its actor id block (24 bits) */
	_Atomic uint32_t line; /* supervisor: what this process goes on with, 0 = it has ended */
	_Atomic uint32_t egress_kbps; /* child: sent to anybody, over the last second or so */
};

_Static_assert(sizeof(struct process_status) == 64, "one cache line a process");

enum {
	PROCESS_PAGE_MAGIC = 0x4d725034,
	PROCESS_POISONED_SIZE = 128, /* an actor's name */
	PROCESS_SETTINGS_SIZE = 4088,
};

/* What may change of the configuration while the node runs, as it is now; the supervisor writes it and
 * wakes all. */
struct process_settings {
	_Atomic uint32_t version; /* odd: it is being written; 0 = as each process was started */
	uint32_t size;
	char lines[PROCESS_SETTINGS_SIZE]; /* config_encode_reloadable */
};

/* Releases that go on with each other by an upgrade share it: a change of its layout is another magic. */
struct process_page {
	uint32_t magic;		     /* PROCESS_PAGE_MAGIC */
	uint32_t slots;		     /* PROCESS_SLOTS_MAX of the supervisor's build */
	_Atomic uint32_t node_state; /* enum process_node_state; supervisor */
	_Atomic uint32_t reloads;    /* counts SIGHUPs taken; supervisor */
	_Atomic uint32_t
		closed; /* 1 = no new sessions (drain); process offices, at the console's word */
	_Atomic uint32_t worker_count;	 /* media workers of the node now; supervisor */
	_Atomic uint64_t closed_workers; /* a bit each: this one takes none; its process office at
	                                  * the console's word, or the supervisor */
	struct process_status slot[PROCESS_SLOTS_MAX];
	struct process_metrics metrics[PROCESS_SLOTS_MAX];
	char poisoned[PROCESS_SLOTS_MAX][PROCESS_POISONED_SIZE]; /* child: whom it left out last */
	struct process_neighbours_page neighbours;
	struct process_operation operation;
	struct process_paths paths; /* by the version of neighbours */
	struct process_settings settings;
	uint64_t reserved[16]; /* 0; what a later release has to say */
};

/* Slot of a process in the page: control 0, then media workers, helpers, holders, spares. MUST be in
 * range. */
uint32_t process_slot(enum process_role role, uint32_t index);

/* -1 = this process was not given one. All are non-blocking where that means something, and
 * close-on-exec again once process_env_load has run. */
struct process_fds {
	int lifeline; /* pipe, read end: readable (end of file) = the supervisor is gone */
	int wake;     /* eventfd: an order, a log level or a reload changed */
	int status;   /* memfd of process_page_size() bytes */
	int arena;    /* media: memfd of env.arena_size bytes, sealed against resizing. What is
	               * for media its spare has as well */
	int rtc_udp;  /* media: bound to env.rtc_port, SO_REUSEPORT with a filter to socket 0 */
	int rtc_tcp;  /* media: listening on env.rtc_port */
	int http;     /* media and control: the shared HTTP listener (use EPOLLEXCLUSIVE) */
	int repl;     /* control: unix stream listener RUN_DIR/repl.sock, mode 0600 */
	int rtmp;     /* media: the shared RTMP listener (use EPOLLEXCLUSIVE) */
	int command;  /* control: SOCK_SEQPACKET to the supervisor, struct process_command */
	int https;    /* media: the shared HTTPS listener; -1 without a certificate, as rtmps */
	int rtmps;    /* media: the shared RTMPS listener */
	int api;      /* media: the shared listener of api.port; -1 = off */
	int link_udp; /* media: bound to env.link_ports[index]; -1 = this node is alone */
	int mesh;     /* control: listens at mesh.port; -1 with coord local */
	int holder;   /* media and holder: SOCK_SEQPACKET to each other, struct holder_message */
};

struct process_env {
	enum process_role role;
	uint32_t index;	      /* within the role, from 0 */
	uint32_t incarnation; /* of this process, from 1, never reused within a run of the node */
	/* incarnation of the first process of its line: the other processes know it by this number
	 * (docs/decisions/014-takeover.md). A process without a predecessor has its own. */
	uint32_t line;
	uint64_t block;	     /* actor id block of this line; never reused, restarts of the node
	                   * included */
	uint64_t node_id;    /* random, kept in the data directory, never 0 */
	uint64_t started_us; /* Unix time at which the node started, microseconds */
	int32_t supervisor_pid;
	uint32_t worker_count; /* media workers when this process was started; page->worker_count
	                        * says how many there are */
	uint32_t helper_count; /* helpers started with the node (more may come by command) */
	size_t arena_size;     /* bytes; 0 when there is no arena */
	uint16_t http_port;    /* as bound: port 0 of the configuration is resolved */
	uint16_t rtmp_port;
	uint16_t https_port; /* 0 = off, as rtmps_port */
	uint16_t rtmps_port;
	uint16_t api_port;			  /* 0 = off */
	uint16_t mesh_port;			  /* 0 = off */
	uint16_t rtc_port;			  /* media: this worker's */
	uint16_t rtc_ports[PROCESS_WORKERS_MAX];  /* of every worker */
	uint16_t link_ports[PROCESS_WORKERS_MAX]; /* of every worker; 0 = this node is alone */
	uint32_t advertise_count;
	char advertise[PROCESS_ADDRESSES_MAX][PROCESS_ADDRESS_SIZE]; /* WebRTC candidates */
	char node_name[PROCESS_NAME_SIZE];
	char run_dir[PROCESS_PATH_SIZE];  /* absolute, 0700, short enough for sockets in it */
	char data_dir[PROCESS_PATH_SIZE]; /* absolute */
	struct process_fds fd;
	uint64_t limits_seed;		     /* of what the workers count together */
	uint8_t secret[PROCESS_SECRET_SIZE]; /* media, control: what they seal for each other (TLS
	                                * tickets), and sign for the cluster (permits) */
	struct process_page *page;	     /* mapped shared and writable by process_env_load */
	struct limits_shares *shares; /* of each worker, behind the page; NULL: no other worker */
	struct config *config; /* resolved; lives as long as the process, and changes with the
	                        * settings (process_settings_follow) */
	char *title; /* its name as people see it in the list of processes; NULL = not to be changed */
};

/* Bytes of the status page's memory: the page, and what each worker counts. For all workers that a
 * node can have: what is not used costs nothing. */
size_t process_page_size(void);
/* A new one, empty and of its size for ever, mapped and as a memfd (close-on-exec); NULL with errno. */
struct process_page *process_page_create(uint32_t worker_count, int *fd);
/* Takes part in the one that another process has created; NULL with errno, ERR_VERSION as EPROTO. */
struct process_page *process_page_map(int fd);
/* Takes this worker no new sessions? Those of a node that drains take none either. */
bool process_worker_is_closed(const struct process_page *page, uint32_t index);
/* Where in it the workers' counts lie. */
struct limits_shares *process_page_shares(struct process_page *page);

/* Where clients reach this node's HTTP: public_url, else the first address that WebRTC offers. No slash at
 * its end; "" = nobody knows. env may be NULL. */
void process_public_url(const struct process_env *env, const struct config *config, char url[256]);

/* Sessions of an address are counted together with the other workers, where there are any. env may
 * be NULL: no node around us. */
void process_limits_join(
	const struct process_env *env, struct limits *limits, enum limits_kind kind);

/* Own cache line in the status page. Never NULL. */
struct process_status *process_own_status(const struct process_env *env);

/* This process has left an actor out that its predecessors have died of. */
void process_note_poisoned(const struct process_env *env, const char *name);
/* The last one that the processes of a slot have; "" = none. Who reads at that moment may get a mixture. */
void process_read_poisoned(
	const struct process_page *page, uint32_t slot, char name[PROCESS_POISONED_SIZE]);

/* This process' log: real time, standard error, a name such as "media.0". */
void process_log_init(const struct process_env *env, struct log *log);

/* Level and format of the log as the configuration has them now. */
void process_log_follow(const struct process_env *env, struct log *log);

/* Into the page, by the supervisor alone. */
void process_settings_publish(struct process_page *page, const struct config *config);
/* From the page into `config`, if they are others than those of version *seen (0: as it was started).
 * ERR_AGAIN: there are none; ERR_FORMAT: nothing has changed. */
enum err process_settings_read(
	const struct process_page *page, uint32_t *seen, struct config *config);
/* The same for a child, into env->config, and its log follows; call when `wake` was readable. True: something
 * may have changed. */
bool process_settings_follow(const struct process_env *env, uint32_t *seen, struct log *log);

/* Says that this process lives. Call once a loop turn, at least every PROCESS_BEAT_MS.
 * now_us: CLOCK_MONOTONIC in microseconds. */
static inline void process_beat(struct process_status *own, int64_t now_us)
{
	atomic_store_explicit(&own->beat_us, now_us, memory_order_relaxed);
}

/* Control to supervisor: one struct a packet, one reply a command that wants it, in order. */
enum process_command_op {
	PROCESS_KILL,	      /* SIGKILL process {role, index}; it is restarted, and not counted
	                       * against the restart intensity */
	PROCESS_DRAIN_WORKER, /* media {index}: drain, exit, start again */
	PROCESS_START_HELPER, /* index ignored; the reply carries the index given */
	PROCESS_STOP_HELPER,  /* helper {index}: ordered stop, not restarted */
	PROCESS_STOP_NODE,    /* as if SIGTERM had come */
	/* These begin an operation, one at a time (runtime/process_operation.h) */
	PROCESS_SCALE,	 /* to `index` media workers; those too many are waited for `wait_s` */
	PROCESS_UPGRADE, /* to the program at `text`; "" = where this one was started from */
	/* What the cluster says of a key that may change while the node runs: `text` is "key=value"; "key":
	 * nothing (any more), the node's own value holds. ERR_NOT_FOUND, ERR_CONFIG. */
	PROCESS_SET,
};

struct process_command {
	uint32_t id; /* chosen by the sender, repeated in the reply; 0 = there is none */
	uint32_t op; /* enum process_command_op */
	uint32_t role;
	uint32_t index;
	uint32_t wait_s;
	char text[PROCESS_TEXT_SIZE]; /* NUL-terminated */
};

struct process_reply {
	uint32_t id;
	uint32_t err;	/* enum err: ERR_NOT_FOUND no such process, ERR_LIMIT no free helper slot,
	                 * ERR_UNSUPPORTED unknown op, ERR_PHASE the node is stopping,
	                 * ERR_BUSY another operation is under way */
	uint32_t index; /* of the process meant or started */
	uint32_t pid;	/* 0 when there is none */
};

/* A spare whose worker is known dead (it has the fence) writes itself in its worker's row, and is the
 * worker from now on. */
void process_take_place(struct process_env *env);

/* The programs in the binary. Each returns the exit status of its process. */
int control_main(const struct process_env *env);
int worker_main(const struct process_env *env);
int spare_main(const struct process_env *env);
int helper_main(const struct process_env *env);
int holder_main(const struct process_env *env);

/* `millrace load` (main_load.c): a process by itself. The words behind the command. */
int load_main(int argc, char **argv);

struct process_programs {
	int (*run[PROCESS_ROLE_COUNT])(const struct process_env *env);
};

/* argv[1] of a child; the number of its boot memfd follows as argv[2]. */
#define PROCESS_CHILD_ARGUMENT "--child-of-supervisor"

/* True when this process was started as a child by a supervisor. */
bool process_is_child(int argc, char **argv);

/* False when the supervisor is gone: the child must exit at once, whatever it holds. The kernel
 * kills it in nearly every case (PR_SET_PDEATHSIG); the lifeline is for the rest. */
bool process_supervisor_is_alive(const struct process_env *env);

/* main() of a child: ties its life to the supervisor's, loads the environment, runs the program of
 * its role. Returns the exit status: 1 when it was not started by a supervisor after all. */
int process_child_main(int argc, char **argv, const struct process_programs *programs);

/* Writes env (without page, config) and the configuration into a new sealed memfd.
 * Returns the descriptor (close-on-exec), or -1 with errno. */
int process_env_save(const struct process_env *env);

/* Reads what process_env_save wrote, checks all of it, maps the status page. `config` receives the
 * configuration and must outlive env. ERR_FORMAT, ERR_VERSION, ERR_IO. */
enum err process_env_load(int boot_fd, struct process_env *env, struct config *config);

#endif
