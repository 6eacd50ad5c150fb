/* SPDX-License-Identifier: Apache-2.0
 *
 * What each process counts for /metrics. The numbers lie in the status page, so that any worker can
 * answer for all processes, without asking them and without the control process. Whoever owns a
 * number stores it now and then; readers treat it as untrusted.
 */
#ifndef MILLRACE_PROCESS_METRICS_H
#define MILLRACE_PROCESS_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct process_env;

/* Rows of one name stand together. `label`: beside role and index, "" = none. What is named
 * …_seconds_total is stored in microseconds. */
#define PROCESS_METRICS(X)                                                                        \
	/* id, name, label, type, help */                                                         \
	X(CPU, "process_cpu_seconds_total", "", "counter", "Processor time used")                 \
	X(MEMORY, "process_resident_memory_bytes", "", "gauge",                                   \
		"Memory in use, pages that are shared with other processes included")             \
	X(SLOTS_PACKET, "slots_used", "table=\"packet\"", "gauge",                                \
		"Slots of shared memory in use")                                                  \
	X(SLOTS_LOG, "slots_used", "table=\"log\"", "gauge", "")                                  \
	X(SLOTS_SESSION, "slots_used", "table=\"session\"", "gauge", "")                          \
	X(SLOTS_BUFFER, "slots_used", "table=\"buffer\"", "gauge", "")                            \
	X(MAILS_LOCAL, "mails_local_total", "", "counter", "Mails inside the process")            \
	X(MAILS_OUT, "mails_out_total", "", "counter", "Mails to other processes")                \
	X(MAILS_IN, "mails_in_total", "", "counter", "Mails from other processes")                \
	X(MAILS_REFUSED, "mails_refused_total", "", "counter", "Mails refused by full mailboxes") \
	X(REQUESTS_LATE, "requests_timed_out_total", "", "counter",                               \
		"Requests without an answer in time")                                             \
	X(MEDIA_OUT, "media_out_total", "", "counter", "Media packets to other processes")        \
	X(MEDIA_IN, "media_in_total", "", "counter", "Media packets from other processes")        \
	X(MEDIA_DROPPED, "media_dropped_total", "", "counter",                                    \
		"Media packets lost between processes")                                           \
	X(SLOW_RUNS, "slow_runs_total", "", "counter", "Handlers that ran too long")              \
	X(KEEP, "keep_seconds_total", "", "counter", "Time spent writing actors into the escrow") \
	X(NOT_KEPT, "not_kept_total", "", "counter", "Times the escrow had no room for an actor") \
	X(MOVES_IN, "moves_in_total", "", "counter", "Actors that came from other workers")       \
	X(MOVES_OUT, "moves_out_total", "", "counter", "Actors that left for other workers")      \
	X(MOVES_FAILED, "moves_failed_total", "", "counter",                                      \
		"Actors that stayed, or could not go on where they went")                         \
	X(NODE_REFUSED, "node_mails_refused_total", "", "counter",                                \
		"Mails from other nodes that were not theirs to say, or not for this one")        \
	X(RESENT, "mails_resent_total", "", "counter",                                            \
		"Frames of mail to other processes and nodes that were sent again")               \
	X(ACCEPTS_FAILED, "accepts_failed_total", "", "counter",                                  \
		"Times no connection could be accepted: no descriptor, no memory, no number")     \
	X(SOCKETS_HELD, "sockets_held", "", "gauge", "Connections that a holder keeps")           \
	X(SOCKETS_NOT_HELD, "sockets_not_held_total", "", "counter",                              \
		"Connections that a holder had no room or descriptor for")                        \
	X(HOLDER_WAITS, "holder_waits_total", "", "counter",                                      \
		"Times a holder did not take what its worker sent")                               \
	X(UNCLAIMED, "sockets_unclaimed_total", "", "counter",                                    \
		"Connections of a dead worker that were closed by its successor")                 \
	X(TLS_HANDSHAKES, "tls_handshakes_total", "", "counter", "TLS handshakes completed")      \
	X(TLS_FAILED, "tls_handshakes_failed_total", "", "counter",                               \
		"TLS handshakes refused, given up or late")                                       \
	X(TLS_ENDED, "tls_sessions_ended_total", "", "counter",                                   \
		"RTMP sessions and HTTP-FLV viewers that ended with their worker: over TLS")      \
	X(TLS_EXPIRES, "tls_certificate_expires_seconds", "", "gauge",                            \
		"Unix time at which the certificate in use expires; 0 = there is none")           \
	X(HTTP_REQUESTS, "http_requests_total", "", "counter", "HTTP requests")                   \
	X(HTTP_REFUSED_RATE, "http_refused_rate_total", "", "counter",                            \
		"HTTP requests refused by rate")                                                  \
	X(HTTP_REFUSED, "http_refused_connections_total", "", "counter",                          \
		"HTTP connections refused")                                                       \
	X(HTTP_4XX, "http_client_errors_total", "", "counter", "HTTP answers of 400 to 499")      \
	X(HTTP_5XX, "http_server_errors_total", "", "counter", "HTTP answers of 500 and up")      \
	X(HTTP_CONNECTIONS, "http_connections", "", "gauge", "HTTP connections open")             \
	X(RTC_SESSIONS, "webrtc_sessions", "", "gauge", "WebRTC sessions")                        \
	X(RTC_REFUSED, "webrtc_sessions_refused_total", "", "counter", "WebRTC sessions refused") \
	X(RTC_DATAGRAMS, "webrtc_datagrams_total", "", "counter", "Datagrams at the WebRTC port") \
	X(RTC_UNKNOWN, "webrtc_datagrams_unknown_total", "", "counter",                           \
		"Datagrams at the WebRTC port that are nobody's")                                 \
	X(RTMP_CONNECTIONS, "rtmp_connections", "", "gauge", "RTMP connections open")             \
	X(RTMP_REFUSED, "rtmp_refused_connections_total", "", "counter",                          \
		"RTMP connections refused")                                                       \
	X(CALLBACKS_ALLOWED, "callback_questions_total", "answer=\"allowed\"", "counter",         \
		"Callbacks that asked whether somebody may publish or play")                      \
	X(CALLBACKS_REFUSED, "callback_questions_total", "answer=\"refused\"", "counter", "")     \
	X(CALLBACKS_UNANSWERED, "callback_questions_total", "answer=\"none\"", "counter", "")     \
	X(CALLBACKS_TOLD, "callback_notifications_total", "result=\"told\"", "counter",           \
		"Callbacks that told that somebody has gone")                                     \
	X(CALLBACKS_GIVEN_UP, "callback_notifications_total", "result=\"given_up\"", "counter",   \
		"")                                                                               \
	X(CALLBACKS_DROPPED, "callback_notifications_total", "result=\"dropped\"", "counter", "") \
	X(CALLBACKS_RETRIED, "callback_retries_total", "", "counter",                             \
		"Callbacks that told and were to be tried again")                                 \
	X(CALLBACKS_QUEUED, "callback_notifications_queued", "", "gauge",                         \
		"Callbacks that wait to tell")                                                    \
	X(LINKS, "links", "", "gauge", "Links to other nodes")                                    \
	X(LINK_PACKETS_OUT, "link_packets_total", "direction=\"out\"", "counter",                 \
		"Packets of media between this node and others, each once")                       \
	X(LINK_PACKETS_IN, "link_packets_total", "direction=\"in\"", "counter", "")               \
	X(LINK_BYTES, "link_bytes_total", "kind=\"media\"", "counter",                            \
		"Bytes sent to other nodes: media, each packet once, and what is sent beside it") \
	X(LINK_BYTES_EXTRA, "link_bytes_total", "kind=\"extra\"", "counter", "")                  \
	X(LINK_DUPLICATED, "link_extra_packets_total", "kind=\"copy\"", "counter",                \
		"Packets sent to other nodes beside each once: on a second path, when asked "     \
		"for, to restore others")                                                         \
	X(LINK_RESENT, "link_extra_packets_total", "kind=\"retransmission\"", "counter", "")      \
	X(LINK_FEC, "link_extra_packets_total", "kind=\"fec\"", "counter", "")                    \
	X(LINK_RECOVERED, "link_lost_packets_total", "result=\"recovered\"", "counter",           \
		"Packets from other nodes that did not come the first time")                      \
	X(LINK_RESTORED, "link_lost_packets_total", "result=\"restored\"", "counter", "")         \
	X(LINK_GIVEN_UP, "link_lost_packets_total", "result=\"given_up\"", "counter", "")         \
	X(LINK_SWITCHES, "link_switches_total", "", "counter",                                    \
		"Times that a link went to another of its paths")                                 \
	X(LINK_UNKNOWN, "link_datagrams_unknown_total", "", "counter",                            \
		"Datagrams at the link port that are of no link")                                 \
	X(LINK_DROPPED, "link_packets_dropped_total", "", "counter",                              \
		"Packets for nodes that no link could be opened to")                              \
	X(LINK_RELAYED, "link_relayed_datagrams_total", "", "counter",                            \
		"Datagrams handed on for links between other nodes")                              \
	X(LINK_RELAY_REFUSED, "link_relay_refused_total", "", "counter",                          \
		"Datagrams of relayed links that were not handed on")                             \
	X(LINK_GAVE_WAY, "link_gave_way_total", "", "counter",                                    \
		"Links without media that ended because one with media wanted their place")       \
	X(TAKEOVERS, "takeovers_total", "", "counter",                                            \
		"Times a worker went on with what its predecessor left")                          \
	X(TAKEOVER_TIME, "takeover_seconds_total", "", "counter",                                 \
		"Time from a worker's death, as its successor saw it, until that served")         \
	X(TAKEOVER_RESTORED, "takeover_actors_total", "result=\"restored\"", "counter",           \
		"Actors that a successor found")                                                  \
	X(TAKEOVER_ENDED, "takeover_actors_total", "result=\"ended\"", "counter", "")             \
	X(TAKEOVER_DAMAGED, "takeover_actors_total", "result=\"damaged\"", "counter", "")         \
	X(TAKEOVER_POISONED, "takeover_actors_total", "result=\"poisoned\"", "counter", "")       \
	X(MESH_NODES, "mesh_nodes", "", "gauge", "Other nodes that the mesh knows")               \
	X(MESH_CONNECTIONS, "mesh_connections", "", "gauge", "Connections at the mesh's port")    \
	X(MESH_ENDED, "mesh_connections_ended_total", "", "counter",                              \
		"Connections at the mesh's port that were ended: refused, or silent")             \
	X(MESH_LEFT_EARLY, "mesh_connections_left_early_total", "", "counter",                    \
		"Connections at the mesh's port that went without a greeting: no CURVE, no node") \
	X(MESH_MAILS_IN, "mesh_mails_total", "direction=\"in\"", "counter",                       \
		"Frames of mail between this node and others")                                    \
	X(MESH_MAILS_OUT, "mesh_mails_total", "direction=\"out\"", "counter", "")                 \
	X(MESH_REFUSED_KEY, "mesh_refused_total", "reason=\"key\"", "counter",                    \
		"Greetings of nodes that were refused: no good certificate, or two of one id")    \
	X(MESH_REFUSED_TWICE, "mesh_refused_total", "reason=\"twice\"", "counter", "")            \
	X(MESH_REFUSED_OPERATOR, "mesh_refused_total", "reason=\"operator\"", "counter", "")      \
	X(MESH_OPERATORS, "mesh_operators", "", "gauge", "Operators on the console from afar")    \
	X(MESH_BAD_FRAMES, "mesh_bad_frames_total", "", "counter", "Frames that made no sense")   \
	X(MESH_STALE, "mesh_stale_mails_total", "", "counter",                                    \
		"Frames of mail that were for, or of, who is no more; they are sent again")       \
	X(MESH_DOWNS, "mesh_downs_total", "", "counter",                                          \
		"Times that a node was silent for too long, or said that it stops")               \
	X(MESH_DOUBTS, "mesh_doubts_total", "", "counter",                                        \
		"Times that a node was late, and asked whether it lives, or silent for a second") \
	X(MESH_WARNINGS, "mesh_warnings_total", "", "counter",                                    \
		"Times that other nodes were told of one that is silent")                         \
	X(MESH_EXPIRES, "mesh_certificate_expires_seconds", "", "gauge",                          \
		"Unix time at which this node's certificate expires; 0 = there is none")          \
	X(SENT_AWAY, "sessions_sent_away_total", "", "counter",                                   \
		"Sessions that were sent to other nodes")                                         \
	X(PERMITS, "permits_total", "result=\"good\"", "counter",                                 \
		"Clients that came with another node's word in place of a token")                 \
	X(PERMITS_REFUSED, "permits_total", "result=\"refused\"", "counter", "")                  \
	X(NODE_FULL, "node_full", "", "gauge", "Whether this node sends sessions to others")      \
	X(NODE_DRAINING, "node_draining", "", "gauge", "Whether this node takes no new sessions") \
	X(STORE_UP, "store_up", "", "gauge", "Whether etcd answers; 0 also where there is none")  \
	X(STORE_OUTAGES, "store_outages_total", "", "counter", "Times etcd stopped answering")    \
	X(STORE_UNANSWERED, "store_requests_failed_total", "", "counter",                         \
		"Requests to etcd that had no answer")                                            \
	X(STORE_DIFFERENCES, "store_differences_total", "", "counter",                            \
		"Keys that had changed while etcd could not tell")                                \
	X(STORE_KEYS, "store_keys", "", "gauge", "Keys of the cluster that this node knows")      \
	X(BRAIN_PLANS, "brain_plans", "", "gauge", "Whether this node plans the cluster's paths") \
	X(BRAIN_TERM, "brain_term", "", "gauge", "Who plans: grows with each that takes over")    \
	X(BRAIN_BUSY, "brain_busy_seconds_total", "", "counter",                                  \
		"Time that the brain's office took, planning most of it")                         \
	X(BRAIN_MEMORY, "brain_memory_bytes", "", "gauge", "Memory of the graph and its ways")    \
	X(BRAIN_NODES, "brain_nodes", "", "gauge", "Nodes that report to this brain")             \
	X(BRAIN_LINKS, "brain_links", "", "gauge", "Links between them")                          \
	X(BRAIN_PAIRS, "brain_pairs_planned_total", "", "counter", "Pairs of nodes planned")      \
	X(BRAIN_TABLES, "brain_tables_sent_total", "", "counter", "Tables sent to nodes")         \
	X(BRAIN_ROWS, "brain_rows_sent_total", "", "counter", "Rows of those tables")             \
	X(BRAIN_DETOURS, "brain_detours", "", "gauge", "Ways that nodes do not take as planned")  \
	X(RELAY_STREAMS, "relay_streams", "", "gauge", "Streams of other nodes that are here")    \
	X(RELAY_DIRECT, "relay_answers_total", "source=\"origin\"", "counter",                    \
		"Copies that were told from whom to copy")                                        \
	X(RELAY_RELAYED, "relay_answers_total", "source=\"relay\"", "counter", "")                \
	X(RELAY_NONE, "relay_answers_total", "source=\"none\"", "counter", "")                    \
	X(RELAY_PULLED, "relay_pulls_total", "", "counter", "Nodes that asked for our copy")      \
	X(RELAY_HOSTED, "relay_copies_made_total", "", "counter", "Copies made for other nodes")  \
	X(RELAY_SWITCHED, "relay_switches_total", "result=\"done\"", "counter",                   \
		"Copies that changed over to a better source while they played")                  \
	X(RELAY_NOT_SWITCHED, "relay_switches_total", "result=\"failed\"", "counter", "")         \
	X(RELAY_LOOPS, "relay_loops_total", "", "counter",                                        \
		"Ways refused, or left, because they led back here")                              \
	X(RELAY_OVERFLOW, "relay_overflow_total", "", "counter",                                  \
		"Copies that copy the origin because there are too many streams")

/* Rows from here on are the control process's own: others say nothing of them. */
#define PROCESS_METRIC_CONTROL_FIRST PROCESS_METRIC_MESH_NODES

enum process_metric {
#define PROCESS_METRIC_ID(id, name, label, type, help) PROCESS_METRIC_##id,
	PROCESS_METRICS(PROCESS_METRIC_ID)
#undef PROCESS_METRIC_ID
		PROCESS_METRIC_COUNT
};

/* Times, of all processes of the node together: what an old process counted stays when its successor
 * counts on. `label`: "" = none. */
#define PROCESS_HISTOGRAMS(X)                                                                   \
	/* id, name, label, help */                                                             \
	X(FIRST_WEBRTC, "first_picture_seconds", "protocol=\"webrtc\"",                         \
		"From the answer to a viewer (FLV, RTMP: from its request) to the first media " \
		"sent to it")                                                                   \
	X(FIRST_FLV, "first_picture_seconds", "protocol=\"flv\"", "")                           \
	X(FIRST_RTMP, "first_picture_seconds", "protocol=\"rtmp\"", "")                         \
	X(CONNECT, "webrtc_connect_seconds", "",                                                \
		"From the answer to a WebRTC client to the end of its handshakes")              \
	X(RTT, "webrtc_round_trip_seconds", "",                                                 \
		"Round trip to a WebRTC client, once a second of each")                         \
	X(LAG_WEBRTC, "viewer_lag_seconds", "protocol=\"webrtc\"",                              \
		"How far a viewer is behind the newest media of its stream, once a second of "  \
		"each")                                                                         \
	X(LAG_FLV, "viewer_lag_seconds", "protocol=\"flv\"", "")                                \
	X(LAG_RTMP, "viewer_lag_seconds", "protocol=\"rtmp\"", "")                              \
	X(HTTP, "http_request_seconds", "", "From a whole HTTP request to its answer")          \
	X(HOP, "media_hop_seconds", "",                                                         \
		"A batch of media from one process of the node to another")                     \
	X(LINK_HOP, "link_hop_seconds", "",                                                     \
		"From the arrival of a packet of another node until it has left for the next "  \
		"one; one in 64 is measured")                                                   \
	X(MESH, "mesh_round_trip_seconds", "",                                                  \
		"Round trip to another node over the mesh, once a second of each")              \
	X(STORE, "store_request_seconds", "", "From a request to etcd to its answer")           \
	X(CALLBACK, "callback_seconds", "", "From a callback to the answer of its server")      \
	X(SWITCH, "stream_switch_seconds", "",                                                  \
		"From the last packet of a publisher to the first of one that stood by for it")

enum process_histogram {
#define PROCESS_HISTOGRAM_ID(id, name, label, help) PROCESS_HISTOGRAM_##id,
	PROCESS_HISTOGRAMS(PROCESS_HISTOGRAM_ID)
#undef PROCESS_HISTOGRAM_ID
		PROCESS_HISTOGRAM_COUNT
};

/* Upper bounds of the buckets in seconds, as text and in microseconds. */
// clang-format off
#define PROCESS_BUCKETS(X)                                                                     \
	X("0.0001", 100)  X("0.00025", 250)  X("0.0005", 500)  X("0.001", 1000)                \
	X("0.0025", 2500) X("0.005", 5000)   X("0.01", 10000)  X("0.025", 25000)               \
	X("0.05", 50000)  X("0.1", 100000)   X("0.25", 250000) X("0.5", 500000)                \
	X("1", 1000000)   X("2.5", 2500000)  X("5", 5000000)   X("10", 10000000)               \
	X("30", 30000000)
// clang-format on

enum process_bucket {
#define PROCESS_BUCKET_ID(text, us) PROCESS_BUCKET_##us,
	PROCESS_BUCKETS(PROCESS_BUCKET_ID)
#undef PROCESS_BUCKET_ID
		PROCESS_BUCKET_BEYOND,
	PROCESS_BUCKET_COUNT
};

struct process_times {
	_Atomic uint64_t bucket[PROCESS_BUCKET_COUNT]; /* each by itself, not cumulative */
	_Atomic uint64_t sum_us;
};

/* Room for those of later releases: the status page keeps its size, and an upgrade goes on with it. */
enum { PROCESS_METRICS_ROOM = 256, PROCESS_HISTOGRAMS_ROOM = 24 };

struct process_metrics {
	/* Which release's numbers these are: a sum over its rows, 0 = nobody's yet. Another one's are not
	 * read, and begin anew with the first process that is of this one (process_metrics_begin). */
	_Atomic uint64_t rows;
	_Atomic uint64_t value[PROCESS_METRICS_ROOM];
	struct process_times times[PROCESS_HISTOGRAMS_ROOM];
};

_Static_assert(
	(int)PROCESS_METRIC_COUNT <= (int)PROCESS_METRICS_ROOM, "they have room in the page");
_Static_assert((int)PROCESS_HISTOGRAM_COUNT <= (int)PROCESS_HISTOGRAMS_ROOM, "so have times");

/* ---- neighbours: the nodes at the other ends of links --------------------------------------- */

enum { PROCESS_NEIGHBOURS_MAX = 16, PROCESS_NEIGHBOUR_NAME = 64, PROCESS_LINK_MODES = 3 };

/* One of them, or all that are not named: then the sums, and the worst round trip and loss. */
struct process_neighbour {
	char name[PROCESS_NEIGHBOUR_NAME]; /* a label's value as it is */
	uint32_t up;			   /* how many are */
	uint32_t round_trip_us, lost_ppm;
	uint64_t bytes_per_s;			 /* sent there, all of it */
	uint64_t repaired_per_s, given_up_per_s; /* packets from there */
	uint32_t modes[PROCESS_LINK_MODES];	 /* how many have that enum link_mode */
};

struct process_neighbours {
	uint32_t total, count;
	struct process_neighbour named[PROCESS_NEIGHBOURS_MAX], other;
};

enum { PROCESS_PATHS_MAX = 23, PROCESS_NEIGHBOUR_PATHS = 5 };

/* One path to one of the neighbours that are named, or all others: the worst of each, and what is sent. */
struct process_path {
	uint32_t round_trip_us;
	uint32_t sent_kbps;
	uint16_t lost_share; /* of 65535 */
	uint16_t jitter_16us;
	uint8_t neighbour; /* place in process_neighbours.named */
	uint8_t path;	   /* below PROCESS_NEIGHBOUR_PATHS */
	uint8_t relayed;   /* through a third node */
	uint8_t state;	   /* enum link_state; of the others: how many are up, 255 = that or more */
};

/* Its size is fixed, in what was reserved of the status page; all zero = nobody has said anything. */
struct process_paths {
	uint32_t count, reserved;
	struct process_path named[PROCESS_PATHS_MAX], other;
};

_Static_assert(sizeof(struct process_paths) == 49 * 8, "what process.h takes off its reserve");

/* In the status page: the control process writes it, everybody reads. */
struct process_neighbours_page {
	_Atomic uint32_t version; /* odd: it is being written */
	struct process_neighbours rows;
};

struct process_page;

/* Of the processes in a slot; all zero where another release's are. */
const struct process_metrics *process_metrics_of(const struct process_page *page, uint32_t slot);
/* Before a process counts: what another release has counted in its slot makes room. */
void process_metrics_begin(struct process_metrics *metrics);

/* env NULL: nothing happens. */
void process_neighbours_set(const struct process_env *env, const struct process_neighbours *rows,
	const struct process_paths *paths);
/* A copy. False: it is being written, by one who has died meanwhile perhaps; or it makes no sense. */
bool process_neighbours_get(const struct process_page *page, struct process_neighbours *rows,
	struct process_paths *paths);

struct process_metric_info {
	const char *name; /* without "millrace_" */
	const char *label;
	const char *type;
	const char *help;
};

extern const struct process_metric_info process_metric_infos[PROCESS_METRIC_COUNT];
extern const struct process_metric_info process_histogram_infos[PROCESS_HISTOGRAM_COUNT];

struct process_bucket_info {
	const char *text;
	int64_t below_us;
};

extern const struct process_bucket_info process_bucket_infos[PROCESS_BUCKET_BEYOND];

/* Of this process. env NULL (no node around us): nothing happens. */
void process_metric_set(const struct process_env *env, enum process_metric metric, uint64_t value);
/* The same, on what the processes before it in its place have counted. */
void process_metric_add(const struct process_env *env, enum process_metric metric, uint64_t more);

/* One more time for a histogram; below 0 counts as 0. env NULL: nothing happens. */
void process_observe(const struct process_env *env, enum process_histogram histogram, int64_t us);

#endif
