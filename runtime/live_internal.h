/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the live backend: live.c (loop), live_peers.c, live_bus.c (ZeroMQ), live_spare.c,
 * live_fatal.c, live_udp.c, live_tcp.c, live_tls.c, live_http.c, live_mesh.c.
 */
#ifndef MILLRACE_LIVE_INTERNAL_H
#define MILLRACE_LIVE_INTERNAL_H

#include "runtime/live.h"
#include "runtime/live_mesh.h"
#include "runtime/tls.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/queue.h>

enum {
	LIVE_SOCKETS_MAX = 16384,
	LIVE_EVENTS = 256,
	LIVE_ACCEPTS = 16,     /* connections taken a listener and wake-up */
	LIVE_UDP_ROUNDS = 4,   /* recvmmsg calls a wake-up */
	LIVE_BUS_FRAMES = 256, /* frames taken from the bus a turn */
	LIVE_ROUTES = 1024,    /* routes remembered to refuse GSO */
	LIVE_YOUNG_US = 20000, /* a connection that ends sooner (a plain request) is not held */
};

enum live_socket_kind {
	LIVE_FREE,
	LIVE_UDP,
	LIVE_LISTENER,
	LIVE_CONNECTION,
	LIVE_LINGERING, /* TLS, closed by its actor: the last record is not out yet */
};

struct live_socket {
	int fd;
	uint8_t kind;
	uint8_t wanted; /* enum net_event */
	bool paused;	/* listener: its owner takes nothing now */
	bool resting;	/* listener: the system has nothing to accept into */
	bool v6;	/* UDP: speaks IPv6 and mapped IPv4 */
	bool is_listed; /* stands in the list of free numbers, whatever its kind */
	bool claimed;	/* its owner waits for the connection that had this number */
	uint32_t generation;
	uint32_t next_free;
	uint64_t owner;
	/* connections */
	uint64_t held_as; /* its id at the holder, 0 = the holder is not meant to have it */
	bool held;	  /* a holder was sent it */
	bool waits;	  /* it stands in the queue of those to be sent, perhaps again */
	uint8_t listener; /* enum net_given: where it came in */
	int64_t young_until_us;
	TAILQ_ENTRY(live_socket) queue;
	struct live_tls_end *tls; /* NULL: bytes are as they come */
};

TAILQ_HEAD(live_socket_queue, live_socket);

/* The worker's side of its holder (runtime/holder.h). Never blocks: what the holder does not take
 * now waits here, a connection once in `queue`, a release in `released`. */
struct live_holder {
	uint32_t serial; /* of the connection accepted last */
	bool asked;	 /* the list was asked for */
	bool listed;	 /* all that the predecessor left has come, or nobody is there to send it */
	int64_t listed_by_us;		/* 0 = nobody has looked yet what has come of it */
	int64_t retry_us;		/* nothing is sent before: the holder took nothing */
	struct live_socket_queue queue; /* by young_until_us */
	uint64_t *released;		/* ring of HOLDER_HELD_MAX ids */
	uint32_t released_first, released_count;
	uint32_t held;	    /* connections that it has, as far as we know */
	uint64_t waits;	    /* times it took nothing */
	uint64_t unclaimed; /* a predecessor's connections that no actor here claimed */
};

struct live_tls_end; /* of a connection; live_tls.c */
TAILQ_HEAD(live_tls_queue, live_tls_end);

struct live_tls_stamp; /* of the two files */

/* Certificate, key, and the connections that need more than their descriptor's events. */
struct live_tls {
	bool wanted;			/* a listener of this process speaks TLS */
	struct tls_context *context;	/* NULL: no pair could be loaded yet */
	struct tls_context *trusted;	/* of connections begun here; NULL: none yet */
	struct live_tls_stamp *stamps;	/* NULL: nothing is wanted */
	struct live_tls_queue hurried;	/* with a deadline, the earliest first */
	struct live_tls_queue readable; /* with plain bytes that no descriptor tells of */
	uint32_t readable_count;
	uint32_t lingering;
	int64_t looked_us;
	uint64_t handshakes, failed;
};

/* A line of processes elsewhere in the node: the same peer, whichever of them runs. */
struct live_peer {
	uint32_t process;     /* its line, 0 = none */
	uint32_t incarnation; /* that `socket` is connected to */
	void *socket; /* DEALER; NULL: its process is dead, and the next one not there yet */
};

struct live_http;	 /* clients of web servers */
struct live_udp_buffers; /* receive buffers of the process */

struct live {
	struct process_env own_env; /* a spare becomes a worker */
	const struct process_env *env;
	const struct live_program *program;
	struct runtime *rt;
	struct log log;
	struct arena *arena;
	struct escrow *escrow; /* of a worker */
	struct process_status *own;
	int epoll;
	int listeners; /* an epoll of its own inside: EPOLLEXCLUSIVE on shared listeners */
	struct live_socket *sockets; /* LIVE_SOCKETS_MAX; 0 is never used */
	uint32_t socket_free;
	uint32_t socket_fresh;
	uint32_t given[NET_GIVEN_COUNT];
	int64_t listeners_rest_until_us; /* 0 = none rests */
	uint64_t accepts_failed;
	struct live_holder holder;
	struct live_tls tls;
	struct live_udp_buffers *udp;
	struct live_http *http; /* NULL: nobody has asked yet */
	struct live_mesh *mesh; /* NULL: no gateway */
	uint64_t boot;		/* start of this process, us of Unix time */
	uint32_t no_gso[LIVE_ROUTES];
	uint64_t packets;   /* in and out since the last report */
	uint64_t bytes_out; /* the same */

	void *zmq;
	void *router;
	int router_fd;
	bool bus_waits; /* something has come, or there was more than a turn takes */
	struct live_peer peers[PROCESS_PEERS_MAX];
	int64_t peers_looked_us;

	int64_t reported_us;
	int64_t reported_cpu_us;
	uint32_t reloads_seen, settings_seen;
	int64_t drain_until_us;	 /* 0 = no drain was ordered */
	int64_t hand_over_at_us; /* 0 = not ordered */
	int64_t fenced_us;	 /* when the arena became ours */
	bool quit;
	int status;
};

/* Numbers in epoll data: sockets by number and generation; these for the rest. */
enum {
	LIVE_TAG_WAKE = 1,
	LIVE_TAG_LIFELINE,
	LIVE_TAG_BUS,
	LIVE_TAG_LISTENERS,
	LIVE_TAG_HTTP, /* the descriptor lies in the upper half */
	LIVE_TAG_HOLDER,
	LIVE_TAG_MESH,
	LIVE_TAG_SOCKETS,
};

/* live.c; live_add_socket gives 0 when there are too many, the descriptor stays the caller's */
int64_t live_now_us(void);
int64_t live_real_us(void);
uint32_t live_add_socket(struct live *live, int fd, enum live_socket_kind kind, uint64_t owner);
/* Under a number that must be free, as an owner from another process knows it; or false. */
bool live_add_socket_at(
	struct live *live, uint32_t number, int fd, enum live_socket_kind kind, uint64_t owner);
struct live_socket *live_socket(struct live *live, uint32_t number);
enum err live_watch(struct live *live, int fd, uint64_t tag);
void live_free_socket(struct live *live, uint32_t number);
uint64_t live_tag(const struct live *live, uint32_t number);

/* live_peers.c */
/* Looks who has come, gone or been succeeded: now if `now_us` is 0, else if it was long ago. */
void live_look_at_peers(struct live *live, int64_t now_us);
/* After a takeover: those that our predecessor knew, and those that have ended since. */
void live_meet_peers_again(struct live *live);

/* live_spare.c */
/* A spare, open and warm, waits until its worker is dead, and is it then. ERR_CLOSED: it is not
 * needed any more; ERR_INTERNAL: its self-test has failed, and said so. */
enum err live_spare_wait(struct live *live);
/* Goes on with what a predecessor has left in the arena. */
enum err live_take_over(struct live *live);
/* Serves from now on. */
void live_is_ready(struct live *live);

/* live_fatal.c */
/* What kills this process by a signal of its own making is noted against the actor that ran. */
void live_watch_fatal(const struct runtime *rt);

/* live_bus.c */
enum err live_bus_open(struct live *live);
void live_bus_close(struct live *live);
enum err live_bus_send(void *context, uint32_t process, const struct iovec *parts, size_t count);
/* Takes what the descriptor told of; `bus_waits` says whether there may be more. */
void live_bus_receive(struct live *live);
enum err live_bus_connect(struct live *live, struct live_peer *peer);
void live_bus_disconnect(struct live_peer *peer);

/* live_udp.c */
enum err live_udp_open(struct live *live);
void live_udp_close(struct live *live);
uint32_t live_udp_open_socket(void *context, uint64_t owner, uint8_t family);
uint32_t live_udp_open_beside(
	void *context, uint64_t owner, const struct net_addr *local, const struct net_addr *peer);
size_t live_udp_send_from(void *context, uint32_t socket, const struct net_addr *local,
	const struct net_addr *to, const struct iovec *packets, size_t count);
bool live_udp_is_local(void *context, const struct net_addr *addr);
void live_udp_receive(struct live *live, uint32_t number);
size_t live_udp_send(void *context, uint32_t socket, const struct net_addr *to,
	const struct iovec *packets, size_t count);

/* live_tcp.c */
void live_tcp_accept(struct live *live, uint32_t number);
/* Those whose rest is over accept again. */
void live_tcp_wake_listeners(struct live *live, int64_t now_us);
void live_tcp_event(struct live *live, uint32_t number, uint32_t events);
uint32_t live_tcp_connect(
	void *context, uint64_t owner, const struct net_addr *to, const struct net_tls *tls);
void live_listen_pause(void *context, uint32_t listener, bool paused);
void live_tcp_give(void *context, uint32_t socket, uint64_t owner);
long live_tcp_read(void *context, uint32_t socket, void *buffer, size_t size);
long live_tcp_write(void *context, uint32_t socket, const struct iovec *parts, size_t count);
void live_tcp_want(void *context, uint32_t socket, unsigned events);
void live_tcp_close(void *context, uint32_t socket);
bool live_tcp_progress(void *context, uint32_t socket, struct net_progress *progress);
void live_local_addr(void *context, uint32_t socket, struct net_addr *addr);
/* recv and send with the results of net_read and net_write. */
long live_tcp_receive(struct live *live, int fd, void *buffer, size_t size);
long live_tcp_transmit(struct live *live, int fd, const struct iovec *parts, size_t count);
/* Its wants, or those of TLS, have changed. */
void live_tcp_arm(struct live *live, uint32_t number);
/* A listener that rests is taken up again; one rests. */
void live_tcp_wake_listener(struct live *live, uint32_t number);
void live_tcp_rest_listener(struct live *live, uint32_t number);

/* live_tls.c: between the sockets of live_tcp.c and their actors, where a listener speaks TLS */
void live_tls_init(struct live *live);
void live_tls_close(struct live *live);
/* A listener was taken that needs the certificate: it rests while there is none. */
void live_tls_open(struct live *live);
/* enum tls_use of what is accepted there, or -1: it is plain. */
int live_tls_use(enum net_given what);
/* SIGHUP: the files are read again. */
void live_tls_reload(struct live *live);
/* Now and then: have the files changed? */
void live_tls_look(struct live *live, int64_t now_us);
void live_tls_report(struct live *live);
/* Somebody has plain bytes to read. */
bool live_tls_is_ready(const struct live *live);
/* After every wait: tells those, and ends what is late. */
void live_tls_run(struct live *live, int64_t now_us);
enum err live_tls_accept(struct live *live, uint32_t number, enum tls_use use);
/* The client's end, on a connection that has only just begun. */
enum err live_tls_connect(struct live *live, uint32_t number, const struct net_tls *how);
const char *live_tls_reason(void *context, uint32_t number);
/* Its actor is told nothing yet. */
bool live_tls_is_shaking(const struct live_socket *socket);
/* enum net_event that TLS itself waits for. */
unsigned live_tls_wants(const struct live_socket *socket);
/* Does its own work first; false: nothing in `events` (EPOLL…) is for the actor. */
bool live_tls_event(struct live *live, uint32_t number, uint32_t *events);
long live_tls_read(struct live *live, uint32_t number, void *buffer, size_t size);
long live_tls_write(struct live *live, uint32_t number, const struct iovec *parts, size_t count);
/* The actor's wants have changed. */
void live_tls_wanted(struct live *live, uint32_t number);
/* The actor closes it. True: something is still to be sent, it will be closed when that is out. */
bool live_tls_lingers(struct live *live, uint32_t number);
void live_tls_free(struct live *live, struct live_socket *socket);

/* live_http.c */
void live_http_close(struct live *live);
void live_http_event(struct live *live, int fd, uint32_t events);
/* After every wait. */
void live_http_run(struct live *live);
/* When it wants to run though no descriptor says so; INT64_MAX = never. */
int64_t live_http_due_us(const struct live *live);
enum err live_http_start(
	void *context, uint64_t request, uint64_t owner, const struct net_http_request *what);
enum err live_http_read(void *context, uint64_t stream, uint64_t owner, uint64_t request);
void live_http_cancel(void *context, uint64_t owner, uint64_t id);

/* live_holder.c; in a process without a holder all of it does nothing */
enum err live_holder_open(struct live *live);
void live_holder_close(struct live *live);
/* A connection was accepted: it goes to the holder when it is LIVE_YOUNG_US old. */
void live_holder_keep(struct live *live, uint32_t number, enum net_given listener);
/* The connection of a predecessor, should the holder have it, is this actor's. */
bool live_holder_claim(void *context, uint64_t owner, uint32_t number);
/* It has another owner. */
void live_holder_changed(struct live *live, struct live_socket *socket);
/* It is closed here: the holder lets go of it. */
void live_holder_release(struct live *live, struct live_socket *socket);
/* Sends what is due; once a turn. */
void live_holder_flush(struct live *live, int64_t now_us);
/* Takes what the holder has sent. */
void live_holder_receive(struct live *live);

#endif
