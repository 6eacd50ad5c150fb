/* SPDX-License-Identifier: Apache-2.0
 *
 * A session moves to another worker of the node, and its client does not notice (decision 18).
 *
 *   session_move --> rtc_room? --> actor_move ==> arrived, restored: port, socket beside its home's
 *        \-- cannot, no room: failed                 viewer --> subscribe here --> the packet sent
 *                                                       last is found in the log --> session_moved
 *                                                     publisher --> session_moved
 *
 * A publisher has its stream go first, if that lives where it does: stream_move, and what follows begins
 * again until the stream has left.
 *
 * Where copies of a stream have a packet differs; which packet it is does not: its place in the log here
 * is found by the number and time of the one sent last; the other worker has some of the stream before
 * it says that there is room. If that packet is not there, it goes on with what was captured later, the
 * picture at a keyframe. Sessions over TCP or whose handshake has just ended stay.
 */
#include "actors/webrtc/session.h"
#include "runtime/process.h"
#include "runtime/runtime.h"

enum {
	ROOM_MS = 1000,
	ROOM_AGAIN_MS = 100,	/* the stream is on its way there: asks again … */
	ROOM_WAIT_US = 3000000, /* … for so long */
	STREAM_LEAVES_MS = 2,	/* it is about to, when it says so */
	FIND_MAX_US = 500000,	/* for the packet sent last to come by the stream's copy */
	FIND_LOOK_US = 2000,
	REJOIN_RETRY_MS = 200,
};

/* ---- its way out ------------------------------------------------------------------------------- */

bool session_is_away(struct actor *self, const struct session *s)
{
	return s->st.home[0] && s->st.home_process != actor_own_process(self);
}

size_t session_send(struct actor *self, struct session *s, const struct net_addr *to,
	const struct iovec *packets, size_t count, uint32_t *fill_permille)
{
	if (!session_is_away(self, s))
		return rtc_port_send(self, s->port, to, packets, count, fill_permille);
	if (fill_permille)
		*fill_permille = 0;
	return s->away_socket ? net_send(self, s->away_socket, to, packets, count) : 0;
}

void session_open_away(struct actor *self, struct session *s, const struct session_slot *slot)
{
	const struct net_addr *peer = session_path(slot);
	struct net_addr home;

	if (!peer || peer->transport != NET_UDP || net_addr_parse(s->st.home, &home))
		return;
	home.transport = NET_UDP;
	s->away_socket = rtc_port_open_away(self, &home, peer);
}

_Static_assert(sizeof(((struct msg_rtc_away *)NULL)->ssrcs) / sizeof(struct rtc_ssrc) ==
		       UNSEAL_STREAMS_MAX,
	"all of them fit");

void session_tell_home(struct actor *self, struct session *s, const struct session_slot *slot)
{
	struct msg_rtc_away away = {0};

	if (!slot)
		return;
	text_copy(away.ufrag, sizeof(away.ufrag), ice_local(&slot->ice)->ufrag);
	text_copy(away.other_ufrag, sizeof(away.other_ufrag),
		slot->ice.local[slot->ice.active].ufrag);
	text_copy(away.remote, sizeof(away.remote), s->st.remote);
	for (uint32_t i = 0; !s->st.play && i < slot->window.stream_count; i++)
		away.ssrcs[away.ssrcs_count++].ssrc = slot->window.streams[i].ssrc;
	actor_send_mail(self, actor_office_in(self, OFFICE_RTC, s->st.home_process), MSG_rtc_away,
		&schema_rtc_away, &away);
}

/* ---- away -------------------------------------------------------------------------------------- */

struct wanted {
	uint32_t worker, process;
};

static void look_for_worker(void *context, const struct runtime_peer_info *info)
{
	struct wanted *wanted = context;

	if (info->role == PROCESS_MEDIA && info->index == wanted->worker)
		wanted->process = info->process;
}

/* Why it cannot move now; NULL: it can. */
static const char *what_holds_it(
	struct actor *self, const struct session *s, const struct session_slot *slot, enum err *err)
{
	const struct net_addr *path = slot ? session_path(slot) : NULL;

	*err = ERR_UNSUPPORTED;
	if (path && path->transport != NET_UDP)
		return "its client came over TCP";
	*err = ERR_PHASE;
	if (actor_phase(self) != SESSION_UP || !path || !s->port || s->dtls_started ||
		s->st.lost_place || s->stream_request)
		return "it is not settled yet";
	*err = ERR_BUSY;
	return s->room_request || s->waits_for_room || s->stream_move_request
		       ? "it is about to move"
		       : NULL;
}

enum err session_begin_move(struct actor *self, struct session *s, const struct session_slot *slot,
	const struct msg_session_move *m)
{
	struct wanted wanted = {.worker = m->worker};
	enum err err;
	const char *why = what_holds_it(self, s, slot, &err);

	if (why)
		return actor_refuse(self, actor_asker(self), err, why);
	runtime_each_peer(actor_runtime(self), look_for_worker, &wanted);
	if (!wanted.process) {
		const struct runtime_options *own = runtime_options(actor_runtime(self));
		bool here = own->index == m->worker;

		return actor_refuse(self, actor_asker(self), here ? ERR_EXISTS : ERR_NOT_FOUND,
			here ? "it is there already" : "no such worker");
	}
	s->mover = actor_asker(self);
	s->room_process = wanted.process;
	s->st.move_began_us = actor_now_us(self);
	session_ask_room(self, s, slot);
	return ERR_OK;
}

void session_ask_room(struct actor *self, struct session *s, const struct session_slot *slot)
{
	const struct net_addr *path = session_path(slot);
	struct msg_rtc_room room = {0};
	char text[NET_ADDR_TEXT_SIZE];

	s->waits_for_room = false;
	text_copy(room.home, sizeof(room.home),
		s->st.home[0] ? s->st.home : net_addr_text(&s->port->local, text));
	if (path)
		net_addr_text(path, room.remote);
	if (s->st.play) /* a publisher's comes with it */
		text_copy(room.stream_name, sizeof(room.stream_name), s->st.stream_name);
	s->room_request =
		actor_request_mail(self, actor_office_in(self, OFFICE_RTC, s->room_process),
			ROOM_MS, MSG_rtc_room, &schema_rtc_room, &room);
}

static void forget_move(struct session *s)
{
	s->room_request = s->stream_move_request = 0;
	s->st.mover = (struct addr){0};
	s->st.move_request = 0;
	s->st.move_began_us = 0;
}

static void refuse_move(struct actor *self, struct session *s, enum err err, const char *text)
{
	forget_move(s);
	actor_refuse(self, s->mover, err, text);
}

static bool must_take_stream(struct actor *self, const struct session *s)
{
	return !s->st.play && !s->st.standby &&
	       actor_process_of(self, s->st.stream) == actor_own_process(self);
}

static void leave(struct actor *self, struct session *s, const struct session_slot *slot)
{
	enum err err = ERR_OK;
	const char *why = what_holds_it(self, s, slot, &err);

	s->st.mover = s->mover.from;
	s->st.move_request = s->mover.request;
	if (!s->st.home[0]) {
		char text[NET_ADDR_TEXT_SIZE];

		text_copy(s->st.home, sizeof(s->st.home), net_addr_text(&s->port->local, text));
		s->st.home_process = actor_own_process(self);
	}
	s->st.move_began_us = actor_now_us(self);
	if (!why)
		err = actor_move(self, s->room_process);
	if (why || err)
		refuse_move(self, s, err, why ? why : "");
}

static void ask_room_in_ms(struct actor *self, struct session *s, int64_t ms)
{
	s->waits_for_room = true;
	actor_timer_in_ms(self, SESSION_TIMER_ROOM, ms);
}

static bool may_wait(struct actor *self, const struct session *s)
{
	return actor_now_us(self) - s->st.move_began_us < ROOM_WAIT_US;
}

bool session_move_answered(struct actor *self, struct session *s, const struct session_slot *slot,
	const struct mail *mail)
{
	if (s->stream_move_request && mail->request == s->stream_move_request) {
		s->stream_move_request = 0;
		ask_room_in_ms(self, s, STREAM_LEAVES_MS);
		return true;
	}
	if (!s->room_request || mail->request != s->room_request)
		return false;
	s->room_request = 0;
	if (!must_take_stream(self, s))
		leave(self, s, slot);
	else if (may_wait(self, s))
		s->stream_move_request = actor_request(
			self, s->st.stream, ROOM_MS, stream_move, {.process = s->room_process});
	else
		refuse_move(self, s, ERR_TIMEOUT, "its stream stays");
	return true;
}

bool session_must_stay(
	struct actor *self, struct session *s, const struct mail *mail, const struct msg_failed *m)
{
	bool no_room = s->room_request && mail->request == s->room_request;
	bool stream_stays = s->stream_move_request && mail->request == s->stream_move_request;
	bool stays = m->type == MSG_arrive && addr_equal(mail->from, actor_addr(self));

	if (no_room && m->err == ERR_AGAIN && may_wait(self, s)) {
		s->room_request = 0;
		ask_room_in_ms(self, s, ROOM_AGAIN_MS);
	} else if (no_room) {
		refuse_move(self, s, m->err,
			m->err == ERR_OVERLOAD ? "that worker has no room" : m->text);
	}
	if (stream_stays)
		refuse_move(self, s, m->err, m->text);
	if (stays)
		refuse_move(self, s, m->err, "it could not leave");
	return no_room || stream_stays || stays;
}

size_t session_slots(void *data, struct actor_slot *slots)
{
	struct session *s = data;

	slots[0] = (struct actor_slot){ARENA_SESSION, &s->st.slot_index, &s->st.slot_generation};
	return 1;
}

/* ---- here -------------------------------------------------------------------------------------- */

/* The log that it read is the other worker's. */
void session_arrived(struct actor *self, void *data)
{
	struct session *s = data;

	(void)self;
	s->st.log_index = s->st.log_generation = 0;
	s->st.lost_place = true;
	s->st.moves++;
}

void session_settle(struct actor *self, struct session *s, const struct session_slot *slot)
{
	if (!session_is_away(self, s))
		return;
	session_open_away(self, s, slot);
	session_tell_home(self, s, slot);
}

void session_stream_failed(struct actor *self, const struct msg_failed *m)
{
	if (m->err == ERR_NOT_FOUND)
		actor_stop(self, ERR_CLOSED);
	else
		actor_timer_in_ms(self, SESSION_TIMER_REJOIN, REJOIN_RETRY_MS);
}

void session_rejoined(struct actor *self, struct session *s, struct session_slot *slot,
	const struct msg_subscribed *m)
{
	if (!addr_is_nobody(s->st.stream) && !addr_equal(s->st.stream, m->stream)) {
		actor_send(self, s->st.stream, unsubscribe, {});
		actor_unmonitor(self, s->st.stream);
	}
	s->st.stream = m->stream;
	s->st.log_index = m->log_index;
	s->st.log_generation = m->log_generation;
	s->rejoined_us = actor_now_us(self);
	actor_monitor(self, m->stream);
	play_tracks_changed(self, s, slot, m->tracks, m->tracks_count);
	actor_kick(actor_runtime(self), actor_addr(self));
}

void session_say_moved(struct actor *self, struct session *s)
{
	struct asker asker = {.from = s->st.mover, .request = s->st.move_request};
	int64_t took_us = actor_now_us(self) - s->st.move_began_us;

	s->st.lost_place = false;
	log_info(actor_log(self), "session_moved_here", "session", actor_name(self), "took_us",
		took_us);
	actor_answer(self, asker, session_moved,
		{.worker = runtime_options(actor_runtime(self))->index, .took_us = took_us});
	forget_move(s);
}

/* Where track i goes on in a log: behind `position`, 0 = at its beginning. */
struct place {
	uint64_t position;
	bool exact; /* the packet that was sent last lies there */
	bool later; /* there are packets that were captured after it */
};

static struct place find_place(
	struct actor *self, const struct session_slot *slot, const struct media_log *log, int i)
{
	const struct session_out *out = &slot->play.tracks[i];
	int64_t newest_us = rtp_sender_head(&out->sender)->capture_us;
	struct place place = {0};

	for (uint64_t position = log->ready; position-- > log->first;) {
		const struct packet *packet = media_log_packet(actor_arena(self), log, position);

		if (!packet || packet->header.track != out->track)
			continue;
		if (rtp_sender_is_newest(&out->sender, &packet->header))
			return (struct place){.position = position, .exact = true};
		if (packet->header.capture_us > newest_us)
			place.later = true;
		else if (!place.position)
			place.position = position;
	}
	return place;
}

static void go_on(struct actor *self, struct session *s, struct session_slot *slot,
	const struct media_log *log, struct place *places)
{
	struct session_sending *p = &slot->play;
	uint64_t picture = 0, rest = 0;

	for (int i = 0; i < slot->plan.media_count; i++) {
		struct place *place = &places[i];
		uint64_t *last = slot->plan.media[i].kind == MEDIA_VIDEO ? &picture : &rest;

		if (p->tracks[i].stopped || !rtp_sender_has_sent(&p->tracks[i].sender))
			continue;
		if (place->exact)
			rtp_sender_renumber(&p->tracks[i].sender, place->position);
		else
			play_go_on_later(self, s, slot, i);
		if (!place->position)
			place->position = (place->later ? log->first : log->ready) - 1;
		*last = place->position > *last ? place->position : *last;
	}
	p->position = picture ? picture + 1 : rest ? rest + 1 : log->ready;
	p->ahead = rest > picture ? rest + 1 : p->position;
}

/* A copy may lack the packet for good: then it goes on with later ones at once. Where there are none yet,
 * the copy is behind what was sent, and it waits. */
bool play_find_place(struct actor *self, struct session *s, struct session_slot *slot,
	const struct media_log *log)
{
	struct session_sending *p = &slot->play;
	struct place places[SESSION_TRACKS_MAX] = {0};
	bool waits = false;

	for (int i = 0; p->begun && i < slot->plan.media_count; i++) {
		if (p->tracks[i].stopped || !rtp_sender_has_sent(&p->tracks[i].sender))
			continue;
		places[i] = find_place(self, slot, log, i);
		waits |= !places[i].exact && !places[i].later;
	}
	if (waits && actor_now_us(self) - s->rejoined_us < FIND_MAX_US) {
		actor_pump_at(self, actor_now_us(self) + FIND_LOOK_US);
		return false;
	}
	if (p->begun)
		go_on(self, s, slot, log, places);
	session_say_moved(self, s);
	return true;
}
