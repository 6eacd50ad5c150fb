/* SPDX-License-Identifier: Apache-2.0
 *
 * What each process counts for /metrics. The numbers lie in the status page, so that any worker can
 * answer for all processes, without asking them and without the control process. Whoever owns a
 * number stores it now and then; readers treat it as untrusted.
 */
#ifndef MILLRACE_PROCESS_METRICS_H
#define MILLRACE_PROCESS_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

struct process_env;

/* Rows of one name stand together. `label`: beside role and index, "" = none. */
#define PROCESS_METRICS(X)                                                                        \
	/* id, name, label, type, help */                                                         \
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
	X(RTMP_REFUSED, "rtmp_refused_connections_total", "", "counter", "RTMP connections refused")

enum process_metric {
#define PROCESS_METRIC_ID(id, name, label, type, help) PROCESS_METRIC_##id,
	PROCESS_METRICS(PROCESS_METRIC_ID)
#undef PROCESS_METRIC_ID
		PROCESS_METRIC_COUNT
};

struct process_metrics {
	_Atomic uint64_t value[PROCESS_METRIC_COUNT];
};

struct process_metric_info {
	const char *name; /* without "millrace_" */
	const char *label;
	const char *type;
	const char *help;
};

extern const struct process_metric_info process_metric_infos[PROCESS_METRIC_COUNT];

/* Of this process. env NULL (no node around us): nothing happens. */
void process_metric_set(const struct process_env *env, enum process_metric metric, uint64_t value);

#endif
