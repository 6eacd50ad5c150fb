/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client says of its session later (RFC 9725 4.3): a candidate, which needs no answer, or that
 * ICE begins anew.
 */
#include "actors/http/precondition.h"
#include "actors/webrtc/session.h"

static void answer_restart(struct actor *self, const struct session *s,
	const struct session_slot *slot, const struct ice_credentials *local)
{
	struct msg_session_patched patched = {.status = 200};
	uint8_t text[4096];
	struct writer w = writer_of(text, sizeof(text));

	if (sdp_frag_write(&w, &slot->plan, local, s->port->candidates, s->port->candidate_count)) {
		actor_refuse(self, actor_asker(self), ERR_NO_SPACE, "");
		return;
	}
	text_copy(patched.etag, sizeof(patched.etag), s->st.etag);
	patched.fragment = (struct slice){(const char *)text, (uint32_t)writer_used(&w)};
	actor_answer_mail(
		self, actor_asker(self), MSG_session_patched, &schema_session_patched, &patched);
}

/* New credentials lie beside the old ones until a check proves them. */
static void restart_ice(struct actor *self, struct session *s, struct session_slot *slot,
	const struct sdp_frag *frag)
{
	struct ice_credentials local;
	uint8_t random[ICE_RANDOM_SIZE];

	actor_random(self, random, sizeof(random));
	ice_credentials_make(&local, random);
	ice_restart(&slot->ice, &local, &frag->credentials);
	rtc_port_know_ufrag(self, local.ufrag);
	if (session_is_away(self, s))
		session_tell_home(self, s, slot);
	s->st.generation++;
	etag_format(s->st.number, s->st.generation, s->st.etag);
	answer_restart(self, s, slot, &local);
}

/* Whose answer was lost with a worker asks again: what it asked for has been done. */
static bool is_asked_again(const struct session_slot *slot, struct http_text if_match)
{
	return if_match.size == 1 && *if_match.at == '*' && ice_is_restarting(&slot->ice);
}

/* A viewer that gets nothing can tell from it whether its way is broken, or nobody publishes. */
static uint32_t sent_ms(struct actor *self, const struct session *s)
{
	int64_t ms = (actor_now_us(self) - s->sent_us) / 1000;

	if (!s->sent_us)
		return 0;
	return ms < UINT32_MAX ? 1 + (uint32_t)ms : UINT32_MAX;
}

enum err session_patch(struct actor *self, struct session *s, struct session_slot *slot,
	const struct msg_session_patch *m)
{
	struct msg_session_patched patched = {0};
	struct sdp_frag frag;
	char why[SDP_WHY_MAX];
	const char *expected = "";
	enum err err = sdp_frag_parse(&frag, m->fragment.data, m->fragment.size, why);

	if (err)
		return actor_refuse(self, actor_asker(self), err, why);
	bool restart = sdp_frag_is_restart(&frag, ice_remote(&slot->ice));
	struct http_text if_match = {
		.at = m->if_match[0] ? m->if_match : NULL, .size = (uint32_t)strlen(m->if_match)};
	int status = patch_precondition(
		restart ? PATCH_ICE_RESTART : PATCH_TRICKLE, if_match, s->st.etag, &expected);

	if (status == 200 && restart) {
		restart_ice(self, s, slot, &frag);
		return ERR_OK;
	}
	if (status == 200 && is_asked_again(slot, if_match)) {
		answer_restart(self, s, slot, ice_local(&slot->ice));
		return ERR_OK;
	}
	/* trickled candidates are not needed: an ICE-lite agent learns them from checks */
	patched.status = status == 200 ? 204 : (uint16_t)status;
	patched.sent_ms = status == 200 ? sent_ms(self, s) : 0;
	text_copy(patched.text, sizeof(patched.text), status == 200 ? "" : expected);
	text_copy(patched.etag, sizeof(patched.etag), s->st.etag);
	return actor_answer_mail(
		self, actor_asker(self), MSG_session_patched, &schema_session_patched, &patched);
}
