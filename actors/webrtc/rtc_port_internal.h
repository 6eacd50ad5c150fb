/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the rtc port: rtc_port_actor.c (datagrams, sessions, life), rtc_port_tcp.c (connections of ICE-TCP)
 * and rtc_port_away.c (sessions whose client sends to another worker's port than that of where they live).
 */
#ifndef MILLRACE_RTC_PORT_INTERNAL_H
#define MILLRACE_RTC_PORT_INTERNAL_H

#include "actors/webrtc/certificate.h"
#include "actors/webrtc/rtc_port.h"
#include "actors/webrtc/rtc_table.h"
#include "runtime/idmap.h"
#include "runtime/limits.h"

struct rtc_port {
	struct rtc_port_state st; /* first: the schema'd state */

	/* rebuilt by a successor */
	struct rtc_facts facts;
	struct certificate certificate;
	bool has_certificate;
	struct rtc_table table;
	struct limits *limits;
	struct limits_ticket *tickets; /* by row */
	uint32_t *away;		       /* by row: socket of a session from elsewhere; 0 = none */
	struct idmap by_socket, by_peer;
	uint64_t seed;
	uint32_t listener;
	int64_t moved_second;
	uint32_t moved_count;
	uint32_t shed_row; /* where the next look for who may go begins */
	int64_t forward_second;
	uint32_t forward_count;
	bool sent_again;
	uint32_t fill_permille; /* result of the last send over TCP */
};

/* rtc_port_actor.c */
/* Datagrams to a session of this process; false: it is not here. */
bool rtc_port_hand_over(struct actor *self, struct rtc_port *s, uint64_t session,
	const struct datagram *const *datagrams, size_t count);
void rtc_port_drop_row(struct actor *self, struct rtc_port *s, uint64_t session);
/* Whose this datagram is; 0 = nobody's, counted. */
uint64_t rtc_port_find_session(struct actor *self, struct rtc_port *s, const struct datagram *d);
/* To it here, or to where it lives. */
void rtc_port_pass_on(struct actor *self, struct rtc_port *s, uint64_t session,
	const struct datagram *const *datagrams, size_t count);

static inline struct addr rtc_port_session(struct actor *self, uint64_t id)
{
	return (struct addr){.node = actor_addr(self).node, .id = id};
}

/* rtc_port_tcp.c */
void rtc_port_accepted(struct actor *self, void *data, uint32_t listener, uint32_t socket,
	const struct net_addr *peer);
void rtc_port_tcp(struct actor *self, void *data, uint32_t socket, unsigned events);
/* How many the connection to that peer took, and how full it is then. */
size_t rtc_port_send_tcp(struct actor *self, struct rtc_port *s, const struct net_addr *to,
	const struct iovec *packets, size_t count, uint32_t *fill_permille);
/* It has shown whose it is. */
void rtc_port_know_connection(struct rtc_port *s, const struct net_addr *peer, uint64_t session);
/* Its session has ended. */
void rtc_port_hang_up(struct actor *self, struct rtc_port *s, const struct net_addr *peer);
void rtc_port_close_unknown(struct actor *self, struct rtc_port *s);
/* And frees what knew them. */
void rtc_port_close_all(struct actor *self, struct rtc_port *s);

/* rtc_port_away.c */
void rtc_port_forward(
	struct actor *self, struct rtc_port *s, uint64_t session, const struct datagram *d);
uint32_t rtc_port_away_socket(struct actor *self, struct rtc_port *s, uint32_t row,
	const struct net_addr *home, const struct net_addr *peer);
/* After a takeover: whoever has moved away says so again. From one process, too: our line may be a new one. */
void rtc_port_ask_back(struct actor *self);
void rtc_port_ask_back_from(struct actor *self, const struct rtc_port *s, uint32_t process);
/* Whether enough of that stream is here for viewers to come; it is fetched if not: ERR_AGAIN. */
enum err rtc_port_warm(struct actor *self, struct rtc_port *s, const char *name);
void rtc_port_warmed(
	struct actor *self, struct rtc_port *s, uint64_t request, const struct msg_subscribed *m);
void rtc_port_not_warmed(struct actor *self, struct rtc_port *s, uint64_t request);
void rtc_port_shed(struct actor *self, struct rtc_port *s, const struct msg_shed *m);
/* To the process office, for its next report: who could go. */
void rtc_port_tell_movable(struct actor *self, const struct rtc_port *s);
/* Rows of sessions that are nowhere any more go; those here are counted. */
void rtc_port_sweep_away(struct actor *self, struct rtc_port *s);
enum err rtc_port_has_room(
	struct actor *self, const struct rtc_port *s, const struct msg_rtc_room *m);
void rtc_port_take_away(
	struct actor *self, struct rtc_port *s, const struct msg_rtc_away *m, struct addr session);
void rtc_port_take_forward(struct actor *self, struct rtc_port *s, const struct msg_rtc_forward *m);
void rtc_port_tell_home(
	struct actor *self, struct rtc_port *s, const char *home, uint32_t home_process);

#endif
