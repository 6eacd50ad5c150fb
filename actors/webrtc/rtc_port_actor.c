/* SPDX-License-Identifier: Apache-2.0
 *
 * rtc_port: the UDP socket and the ICE-TCP listener of one worker, and the parent of its sessions.
 *
 *   datagram -> STUN: by our ufrag in it -> session --authentic--> its address is learnt
 *            -> else: by the address it came from -> session
 *            -> SRTP of nobody's address: by its SSRC, so many a second -> session
 *            -> else: counted
 *
 * A connection of ICE-TCP is an address like any other (rtc_port_tcp.c). Sessions are called directly, with
 * all datagrams of a batch that are theirs; no mail is sent for a packet.
 *
 * Owns the certificate and the table. Knows nothing of media.
 */
#include "actors/webrtc/openssl_ciphers.h"
#include "actors/webrtc/rtc_port_internal.h"
#include "actors/webrtc/session.h"
#include "runtime/config.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

#include <stdlib.h>

enum {
	SESSIONS_MAX_DEFAULT = 2000,
	PER_ADDRESS_DEFAULT = 500,
	SWEEP_MS = 2000,
	MOVED_PER_S = 2000, /* SRTP from unknown addresses that is looked at */
	PORT_TIMER_SWEEP = 0,
};

/* ---- sending ------------------------------------------------------------------------------- */

struct tcp_send {
	const struct net_addr *to;
	const struct iovec *packets;
	size_t count;
	size_t sent;
	uint32_t fill_permille;
};

static void send_tcp(struct actor *self, void *data, void *context)
{
	struct tcp_send *send = context;

	send->sent = rtc_port_send_tcp(
		self, data, send->to, send->packets, send->count, &send->fill_permille);
}

size_t rtc_port_send(struct actor *session, const struct rtc_facts *facts,
	const struct net_addr *to, const struct iovec *packets, size_t count,
	uint32_t *fill_permille)
{
	struct tcp_send send = {.to = to, .packets = packets, .count = count};

	if (fill_permille)
		*fill_permille = 0;
	if (to->transport == NET_UDP)
		return net_send(session, facts->socket, to, packets, count);
	actor_call(actor_runtime(session), actor_office(session, OFFICE_RTC), &rtc_port_actor,
		send_tcp, &send);
	if (fill_permille)
		*fill_permille = send.fill_permille;
	return send.sent;
}

/* ---- datagrams to sessions ----------------------------------------------------------------- */

/* The address of an authentic packet leads to its session from now on. */
static void learn_address(struct rtc_port *s, uint64_t session, const struct net_addr *from)
{
	if (rtc_table_find(&s->table, RTC_KEY_ADDRESS, from, sizeof(*from)) == session)
		return;
	rtc_table_put(&s->table, rtc_table_row_of(&s->table, session), RTC_KEY_ADDRESS, from,
		sizeof(*from));
	if (from->transport == NET_TCP)
		rtc_port_know_connection(s, from, session);
}

/* SRTP from an address that nobody is known at: a publisher whose address has changed, perhaps. */
static uint64_t find_moved(struct actor *self, struct rtc_port *s, const struct datagram *d)
{
	int64_t second = actor_now_us(self) / 1000000;
	uint32_t ssrc;
	uint64_t session;

	if (!rtp_peek_ssrc(d->bytes, d->size, &ssrc))
		return 0;
	session = rtc_table_find(&s->table, RTC_KEY_SSRC, &ssrc, sizeof(ssrc));
	if (!session)
		return 0;
	if (second != s->moved_second) {
		s->moved_second = second;
		s->moved_count = 0;
	}
	if (s->moved_count++ >= MOVED_PER_S) {
		s->st.moved_limited++;
		return 0;
	}
	s->st.moved_rtp++;
	return session;
}

uint64_t rtc_port_find_session(struct actor *self, struct rtc_port *s, const struct datagram *d)
{
	enum rtp_class class = rtp_classify_packet(d->bytes, d->size);
	const char *ufrag;
	size_t size = class == RTP_CLASS_STUN ? stun_peek_username(d->bytes, d->size, &ufrag) : 0;
	uint64_t session = size ? rtc_table_find(&s->table, RTC_KEY_UFRAG, ufrag, size) : 0;

	if (!session)
		session = rtc_table_find(&s->table, RTC_KEY_ADDRESS, &d->from, sizeof(d->from));
	if (!session && class == RTP_CLASS_RTP)
		session = find_moved(self, s, d);
	if (session)
		return session;
	s->st.unknown_stun += class == RTP_CLASS_STUN;
	s->st.unknown_dtls += class == RTP_CLASS_DTLS;
	s->st.unknown_rtp += class == RTP_CLASS_RTP || class == RTP_CLASS_RTCP;
	s->st.unknown_other += class == RTP_CLASS_UNKNOWN;
	return 0;
}

bool rtc_port_hand_over(struct actor *self, struct rtc_port *s, uint64_t session,
	const struct datagram *const *datagrams, size_t count)
{
	struct rtc_input input = {.datagrams = datagrams, .count = count};
	bool is_here = actor_call(actor_runtime(self), rtc_port_session(self, session),
		&session_actor, session_take_datagrams, &input);

	for (size_t i = 0; i < count; i++)
		if (input.authentic >> i & 1)
			learn_address(s, session, &datagrams[i]->from);
	return is_here;
}

void rtc_port_pass_on(struct actor *self, struct rtc_port *s, uint64_t session,
	const struct datagram *const *datagrams, size_t count)
{
	if (rtc_port_hand_over(self, s, session, datagrams, count))
		return;
	for (size_t i = 0; i < count; i++)
		rtc_port_forward(self, s, session, datagrams[i]);
}

static void rtc_port_datagrams(
	struct actor *self, void *data, const struct datagram *datagrams, size_t count)
{
	struct rtc_port *s = data;
	const struct datagram *group[NET_BATCH_MAX];
	uint64_t sessions[NET_BATCH_MAX];

	MUST(count <= NET_BATCH_MAX);
	s->st.datagrams += count;
	for (size_t i = 0; i < count; i++)
		sessions[i] = rtc_port_find_session(self, s, &datagrams[i]);
	for (size_t i = 0; i < count; i++) {
		uint64_t session = sessions[i];
		size_t size = 0;

		for (size_t j = i; session && j < count; j++) {
			if (sessions[j] != session)
				continue;
			group[size++] = &datagrams[j];
			sessions[j] = 0;
		}
		if (size)
			rtc_port_pass_on(self, s, session, group, size);
	}
}

/* ---- what sessions ask --------------------------------------------------------------------- */

enum ask { ASK_JOIN, ASK_REJOIN, ASK_LEAVE, ASK_MOVE_AWAY, ASK_KNOW, ASK_OPEN_AWAY };

struct asking {
	enum ask what;
	struct actor *session;
	const char *client;
	enum rtc_key_kind kind;
	const void *key;
	size_t key_size;
	const struct rtc_facts *facts;
	const struct net_addr *home, *peer;
	uint32_t socket;
	enum err err;
};

/* Of all sessions that come back after a takeover the one whose send was cut short goes first. */
static void send_again_once(struct actor *self, struct rtc_port *s)
{
	struct arena_send *area = arena_send_area(actor_arena(self));

	if (s->sent_again)
		return;
	s->sent_again = true;
	if (area->owner)
		actor_call(actor_runtime(self), rtc_port_session(self, area->owner), &session_actor,
			session_send_again, &s->facts);
	area->owner = 0;
}

static void join(struct actor *self, struct rtc_port *s, struct asking *asking)
{
	struct limits_ticket ticket = {0};
	struct net_addr client;
	uint32_t row;

	send_again_once(self, s);
	if (asking->client[0] && !net_addr_parse(asking->client, &client)) {
		if (asking->what == ASK_REJOIN)
			limits_session_keep(s->limits, &client, actor_now_us(self), &ticket);
		else
			asking->err = limits_session_open(
				s->limits, &client, actor_now_us(self), &ticket);
	}
	if (asking->err)
		return;
	row = rtc_table_row_of(&s->table, actor_addr(asking->session).id);
	if (!row) /* (it has one if it has been away) */
		row = rtc_table_add(&s->table, actor_addr(asking->session).id);
	if (!row) {
		limits_session_close(s->limits, &ticket);
		asking->err = ERR_OVERLOAD;
		return;
	}
	s->tickets[row] = ticket;
	asking->facts = &s->facts;
	s->st.sessions = s->table.session_count;
}

/* It does not count here, nor has it a socket. */
static void count_out(struct actor *self, struct rtc_port *s, uint32_t row)
{
	limits_session_close(s->limits, &s->tickets[row]);
	s->tickets[row] = (struct limits_ticket){0};
	if (s->away[row])
		net_close(self, s->away[row]);
	s->away[row] = 0;
}

void rtc_port_drop_row(struct actor *self, struct rtc_port *s, uint64_t session)
{
	uint32_t row = rtc_table_row_of(&s->table, session);
	const struct rtc_key *key;

	if (!row)
		return;
	for (uint32_t at = s->table.rows[row].keys; at;) {
		key = &s->table.keys[at];
		at = key->next_of_row;
		if (key->kind != RTC_KEY_ADDRESS)
			continue;
		struct net_addr peer;

		memcpy(&peer, key->bytes, sizeof(peer));
		if (peer.transport == NET_TCP)
			rtc_port_hang_up(self, s, &peer);
	}
	count_out(self, s, row);
	rtc_table_remove(&s->table, row);
	s->st.sessions = s->table.session_count;
}

static void answer_session(struct actor *self, void *data, void *context)
{
	struct rtc_port *s = data;
	struct asking *asking = context;
	uint64_t session = actor_addr(asking->session).id;

	asking->err = ERR_OK;
	if (asking->what == ASK_JOIN || asking->what == ASK_REJOIN)
		join(self, s, asking);
	else if (asking->what == ASK_LEAVE)
		rtc_port_drop_row(self, s, session);
	else if (asking->what == ASK_MOVE_AWAY)
		count_out(self, s, rtc_table_row_of(&s->table, session));
	else if (asking->what == ASK_OPEN_AWAY)
		asking->socket = rtc_port_away_socket(
			self, s, rtc_table_row_of(&s->table, session), asking->home, asking->peer);
	else
		rtc_table_put(&s->table, rtc_table_row_of(&s->table, session), asking->kind,
			asking->key, asking->key_size);
}

static bool ask(struct asking *asking)
{
	return actor_call(actor_runtime(asking->session), actor_office(asking->session, OFFICE_RTC),
		&rtc_port_actor, answer_session, asking);
}

static enum err ask_to_join(struct asking asking, const struct rtc_facts **facts)
{
	if (!ask(&asking))
		asking.err = ERR_NOT_FOUND;
	*facts = asking.facts;
	return asking.err;
}

enum err rtc_port_join(struct actor *session, const char *client, const struct rtc_facts **facts)
{
	return ask_to_join(
		(struct asking){.what = ASK_JOIN, .session = session, .client = client}, facts);
}

enum err rtc_port_rejoin(struct actor *session, const char *client, const struct rtc_facts **facts)
{
	return ask_to_join(
		(struct asking){.what = ASK_REJOIN, .session = session, .client = client}, facts);
}

void rtc_port_leave(struct actor *session)
{
	ask(&(struct asking){.what = ASK_LEAVE, .session = session});
}

void rtc_port_move_away(struct actor *session)
{
	ask(&(struct asking){.what = ASK_MOVE_AWAY, .session = session});
}

uint32_t rtc_port_open_away(
	struct actor *session, const struct net_addr *home, const struct net_addr *peer)
{
	struct asking asking = {
		.what = ASK_OPEN_AWAY, .session = session, .home = home, .peer = peer};

	return ask(&asking) ? asking.socket : 0;
}

static void know(struct actor *session, enum rtc_key_kind kind, const void *key, size_t size)
{
	ask(&(struct asking){
		.what = ASK_KNOW, .session = session, .kind = kind, .key = key, .key_size = size});
}

void rtc_port_know_ufrag(struct actor *session, const char *ufrag)
{
	know(session, RTC_KEY_UFRAG, ufrag, strlen(ufrag));
}

void rtc_port_know_ssrc(struct actor *session, uint32_t ssrc)
{
	know(session, RTC_KEY_SSRC, &ssrc, sizeof(ssrc));
}

void rtc_port_know_address(struct actor *session, const struct net_addr *address)
{
	know(session, RTC_KEY_ADDRESS, address, sizeof(*address));
}

/* ---- the certificate ----------------------------------------------------------------------- */

static enum err load_certificate(struct actor *self, struct rtc_port *s)
{
	const struct process_env *env = runtime_env(actor_runtime(self));
	int64_t unix_s = actor_wall_us(self) / 1000000;
	char problem[CERTIFICATE_PROBLEM_MAX] = "", text[FINGERPRINT_TEXT_MAX];
	enum err err = env && env->data_dir[0]
			       ? certificate_load(&s->certificate, env->data_dir, unix_s, problem)
			       : certificate_create(&s->certificate, unix_s);

	if (err) {
		log_error(actor_log(self), "certificate_unusable", "error", err_name(err),
			"problem", problem);
		return err;
	}
	memcpy(s->facts.fingerprint, s->certificate.fingerprint.bytes,
		sizeof(s->facts.fingerprint));
	fingerprint_print(&s->certificate.fingerprint, text);
	text_copy(s->st.fingerprint, sizeof(s->st.fingerprint), text);
	return dtls_context_init(&s->facts.dtls, &s->certificate);
}

/* Who has been restored has its handshake behind it: a successor reads the certificate for the first
 * newcomer. */
static enum err have_certificate(struct actor *self, struct rtc_port *s)
{
	enum err err = s->has_certificate ? ERR_OK : load_certificate(self, s);

	if (err) {
		dtls_context_fini(&s->facts.dtls);
		certificate_fini(&s->certificate);
	}
	s->has_certificate = !err;
	return err;
}

/* ---- mail and timer ------------------------------------------------------------------------ */

ON(rtc_port, session_create)
{
	char why[SDP_WHY_MAX] = "";
	struct session_args args = {.create = m, .asker = actor_asker(self), .why = why};
	enum err err = s->st.draining || s->st.closed ? ERR_OVERLOAD : have_certificate(self, s);

	if (!err)
		err = actor_spawn(actor_runtime(self), self, &session_actor, &args, NULL);
	if (!err) {
		s->st.created++;
		return ERR_OK;
	}
	s->st.refused++;
	if (err == ERR_LIMIT || err == ERR_OVERLOAD || err == ERR_NO_MEMORY)
		return actor_refuse_later(self, args.asker, err, why, 2000);
	return actor_refuse(self, args.asker, err, why);
}

ON(rtc_port, down)
{
	rtc_port_drop_row(self, s, m->who.id);
	return ERR_OK;
}

/* Sessions hear of it themselves. */
ON(rtc_port, drain)
{
	s->st.draining = true;
	return ERR_OK;
}

ON(rtc_port, intake)
{
	s->st.closed = m->closed;
	return ERR_OK;
}

ON(rtc_port, rtc_room)
{
	enum err err = rtc_port_has_room(self, s, m);

	if (!err && m->stream_name[0])
		err = rtc_port_warm(self, s, m->stream_name);
	return err ? err : actor_reply(self, done, {});
}

ON(rtc_port, subscribed)
{
	rtc_port_warmed(self, s, mail->request, m);
	return ERR_OK;
}

ON(rtc_port, failed)
{
	rtc_port_not_warmed(self, s, mail->request);
	return ERR_OK;
}

ON(rtc_port, rtc_away)
{
	rtc_port_take_away(self, s, m, mail->from);
	return ERR_OK;
}

ON(rtc_port, rtc_back)
{
	rtc_port_tell_home(self, s, m->home, actor_process_of(self, mail->from));
	return ERR_OK;
}

ON(rtc_port, peer)
{
	if (m->up && m->role == PROCESS_MEDIA)
		rtc_port_ask_back_from(self, s, m->process);
	return ERR_OK;
}

ON(rtc_port, rtc_forward)
{
	rtc_port_take_forward(self, s, m);
	return ERR_OK;
}

ON(rtc_port, shed)
{
	rtc_port_shed(self, s, m);
	return ERR_OK;
}

static void publish_metrics(struct actor *self, const struct rtc_port *s)
{
	const struct process_env *env = runtime_env(actor_runtime(self));

	process_metric_set(env, PROCESS_METRIC_RTC_SESSIONS, s->st.sessions);
	process_metric_set(env, PROCESS_METRIC_RTC_REFUSED, s->st.refused);
	process_metric_set(env, PROCESS_METRIC_RTC_DATAGRAMS, s->st.datagrams);
	process_metric_set(env, PROCESS_METRIC_RTC_UNKNOWN,
		s->st.unknown_stun + s->st.unknown_dtls + s->st.unknown_rtp + s->st.unknown_other);
}

static void rtc_port_timer(struct actor *self, void *data, unsigned timer)
{
	struct rtc_port *s = data;

	(void)timer;
	rtc_port_close_unknown(self, s);
	rtc_port_sweep_away(self, s);
	rtc_port_tell_movable(self, s);
	publish_metrics(self, s);
	actor_timer_in_ms(self, PORT_TIMER_SWEEP, SWEEP_MS);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void add_candidate(struct rtc_port *s, struct net_addr address)
{
	if (s->facts.candidate_count == SDP_CANDIDATES_MAX)
		return;
	s->facts.candidates[s->facts.candidate_count++] = address;
}

/* UDP of every advertised address, then TCP of every one. */
static void gather_candidates(struct actor *self, struct rtc_port *s)
{
	const struct process_env *env = runtime_env(actor_runtime(self));
	struct net_addr address;

	if (!env) {
		net_local_addr(self, s->facts.socket, &address);
		address.transport = NET_UDP;
		add_candidate(s, address);
		return;
	}
	for (int transport = NET_UDP; transport <= NET_TCP; transport++) {
		for (uint32_t i = 0; i < env->advertise_count; i++) {
			if (i == SDP_CANDIDATES_MAX / 2 ||
				net_addr_parse(env->advertise[i], &address))
				continue;
			address.port = env->rtc_port;
			address.transport = (uint8_t)transport;
			if (transport == NET_UDP ? s->facts.socket : s->listener)
				add_candidate(s, address);
		}
	}
}

static enum err make_tables(struct actor *self, struct rtc_port *s)
{
	const struct config *config = actor_config(self);
	uint32_t sessions_max =
		config ? (uint32_t)config->webrtc_sessions_max : SESSIONS_MAX_DEFAULT;
	uint32_t per_address =
		config ? (uint32_t)config->webrtc_sessions_per_address_max : PER_ADDRESS_DEFAULT;

	s->seed = actor_random_u64(self);
	s->limits = malloc(sizeof(*s->limits));
	s->tickets = calloc((size_t)sessions_max + 1, sizeof(*s->tickets));
	s->away = calloc((size_t)sessions_max + 1, sizeof(*s->away));
	if (!s->limits || !s->tickets || !s->away)
		return ERR_NO_MEMORY;
	limits_init(s->limits, per_address, 0, 0, actor_random_u64(self));
	process_limits_join(runtime_env(actor_runtime(self)), s->limits, LIMITS_WEBRTC);
	return rtc_table_init(&s->table, sessions_max, s->seed);
}

static void rtc_port_stop(struct actor *self, void *data, enum err reason)
{
	struct rtc_port *s = data;

	(void)reason;
	rtc_port_close_all(self, s);
	rtc_table_fini(&s->table);
	free(s->limits);
	free(s->tickets);
	free(s->away);
	dtls_context_fini(&s->facts.dtls);
	certificate_fini(&s->certificate);
}

static enum err rtc_port_restore(struct actor *self, void *data)
{
	struct rtc_port *s = data;
	enum err err = openssl_ciphers_install();

	actor_set_name(self, "office/rtc");
	if (!err)
		err = make_tables(self, s);
	if (err)
		return err;
	s->facts.socket = net_take(self, NET_RTC_UDP);
	s->listener = net_take(self, NET_RTC_TCP);
	net_local_addr(self, s->facts.socket, &s->facts.local);
	if (!s->sent_again)
		rtc_port_ask_back(self);
	s->st.sessions = s->st.connections = 0;
	gather_candidates(self, s);
	actor_timer_in_ms(self, PORT_TIMER_SWEEP, SWEEP_MS);
	return ERR_OK;
}

static enum err rtc_port_init(struct actor *self, void *data, const void *args)
{
	struct rtc_port *s = data;

	(void)args;
	s->sent_again = true; /* there was nobody before us */
	enum err err = rtc_port_restore(self, data);

	if (!err)
		err = have_certificate(self, s);
	if (err)
		rtc_port_stop(self, data, err);
	else
		actor_watch_peers(self);
	return err;
}

static const struct handler rtc_port_handlers[] = {
	HANDLER(rtc_port, session_create, 0),
	HANDLER(rtc_port, down, 0),
	HANDLER(rtc_port, drain, 0),
	HANDLER(rtc_port, intake, 0),
	HANDLER(rtc_port, shed, 0),
	HANDLER(rtc_port, rtc_room, 0),
	HANDLER(rtc_port, subscribed, 0),
	HANDLER(rtc_port, failed, 0),
	HANDLER(rtc_port, rtc_away, 0),
	HANDLER(rtc_port, rtc_back, 0),
	HANDLER(rtc_port, peer, 0),
	HANDLER(rtc_port, rtc_forward, 0),
};

const struct actor_type rtc_port_actor = {
	.name = "rtc_port",
	.size = sizeof(struct rtc_port),
	.state = &schema_rtc_port_state,
	HANDLER_TABLE(rtc_port_handlers),
	.init = rtc_port_init,
	.restore = rtc_port_restore,
	.stop = rtc_port_stop,
	.timer = rtc_port_timer,
	.datagrams = rtc_port_datagrams,
	.tcp = rtc_port_tcp,
	.accepted = rtc_port_accepted,
};
