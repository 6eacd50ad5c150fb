/* SPDX-License-Identifier: Apache-2.0
 *
 * rtc_port: a worker's WebRTC port (OFFICE_RTC), and what its sessions ask of it. The calls below
 * run at once in the port of the session's own process; no mail is sent.
 */
#ifndef MILLRACE_RTC_PORT_H
#define MILLRACE_RTC_PORT_H

#include "actors/webrtc/dtls.h"
#include "actors/webrtc/sdp.h"
#include "runtime/net.h"

extern const struct actor_type rtc_port_actor;

/* What all sessions of the worker share; lives as long as the port, whose children they are. */
struct rtc_facts {
	uint32_t socket;       /* UDP; 0 = this process has none */
	struct net_addr local; /* of that socket */
	struct dtls_context dtls;
	uint8_t fingerprint[32]; /* SHA-256 of the certificate */
	struct net_addr candidates[SDP_CANDIDATES_MAX];
	uint8_t candidate_count;
};

/* Datagrams of one session, as the port hands them over. */
struct rtc_input {
	const struct datagram *const *datagrams;
	size_t count;
	uint64_t authentic; /* result: bit i: datagram i proved that its sender is the peer */
};

/* Counts the session in and finds it by this ufrag. ERR_OVERLOAD: the table is full; ERR_LIMIT: too
 * many sessions of one client ("ip:port"; "" = not counted). NULL facts: no port here. */
enum err rtc_port_join(struct actor *session, const char *client, const struct rtc_facts **facts);
/* One that was let in by another port, or by this one's predecessor: it counts, beyond the limit, too. Never
 * ERR_LIMIT. */
enum err rtc_port_rejoin(struct actor *session, const char *client, const struct rtc_facts **facts);
void rtc_port_leave(struct actor *session);
/* It moves to another worker: what its client sends here still leads to it. */
void rtc_port_move_away(struct actor *session);
/* For a session whose client sends to the port `home` of another worker: a socket there, connected to
 * `peer`, in the place of the one that it had; 0: none could be opened. The port closes it when the
 * session leaves. */
uint32_t rtc_port_open_away(
	struct actor *session, const struct net_addr *home, const struct net_addr *peer);
/* Further ways to find it. */
void rtc_port_know_ufrag(struct actor *session, const char *ufrag);
void rtc_port_know_ssrc(struct actor *session, uint32_t ssrc);
void rtc_port_know_address(struct actor *session, const struct net_addr *address);

/* Sends packets to an address: UDP in one call, ICE-TCP framed. Returns how many left, as net_send.
 * `fill_permille`, if not NULL, gets how full the buffer of a TCP connection is (UDP: 0). */
size_t rtc_port_send(struct actor *session, const struct rtc_facts *facts,
	const struct net_addr *to, const struct iovec *packets, size_t count,
	uint32_t *fill_permille);

#endif
