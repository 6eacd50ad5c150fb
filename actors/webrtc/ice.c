/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/webrtc/ice.h"

enum { UFRAG_SIZE = 8, PWD_SIZE = 24, METHOD_BINDING = 1 };

/* RFC 8839 5.4 allows ALPHA, DIGIT, "+" and "/": the first 64, which our own are made of. "-", "_"
 * and "=" are taken as well: there are clients that use base64url, and neither SDP nor a user name
 * is harmed by them. */
static const char ice_chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
				"-_=";

void ice_credentials_make(
	struct ice_credentials *credentials, const uint8_t random[ICE_RANDOM_SIZE])
{
	char text[UFRAG_SIZE + PWD_SIZE];

	_Static_assert(
		sizeof(text) * 6 == ICE_RANDOM_SIZE * 8, "six bits of randomness a character");
	for (size_t i = 0; i < sizeof(text); i++) {
		size_t bit = i * 6;
		unsigned pair = (unsigned)random[bit / 8] << 8;

		if (bit / 8 + 1 < ICE_RANDOM_SIZE)
			pair |= random[bit / 8 + 1];
		text[i] = ice_chars[pair >> (10 - bit % 8) & 63];
	}
	*credentials = (struct ice_credentials){0};
	memcpy(credentials->ufrag, text, UFRAG_SIZE);
	memcpy(credentials->pwd, text + UFRAG_SIZE, PWD_SIZE);
}

static bool is_ice_text(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (!memchr(ice_chars, text[i], sizeof(ice_chars) - 1))
			return false;
	return true;
}

enum err ice_credentials_set(struct ice_credentials *credentials, const char *ufrag,
	size_t ufrag_size, const char *pwd, size_t pwd_size)
{
	if (ufrag_size < ICE_UFRAG_MIN || ufrag_size > ICE_UFRAG_MAX || pwd_size < ICE_PWD_MIN ||
		pwd_size > ICE_PWD_MAX)
		return ERR_FORMAT;
	if (!is_ice_text(ufrag, ufrag_size) || !is_ice_text(pwd, pwd_size))
		return ERR_FORMAT;
	*credentials = (struct ice_credentials){0};
	memcpy(credentials->ufrag, ufrag, ufrag_size);
	memcpy(credentials->pwd, pwd, pwd_size);
	return ERR_OK;
}

bool ice_credentials_equal(const struct ice_credentials *a, const struct ice_credentials *b)
{
	return !strcmp(a->ufrag, b->ufrag) && !strcmp(a->pwd, b->pwd);
}

bool ice_credentials_are_valid(const struct ice_credentials *c)
{
	size_t ufrag_size = strnlen(c->ufrag, sizeof(c->ufrag));
	size_t pwd_size = strnlen(c->pwd, sizeof(c->pwd));

	return ufrag_size <= ICE_UFRAG_MAX && pwd_size <= ICE_PWD_MAX &&
	       is_ice_text(c->ufrag, ufrag_size) && is_ice_text(c->pwd, pwd_size);
}

void ice_init(struct ice_session *ice, const struct ice_credentials *local,
	const struct ice_credentials *remote, int64_t now_us)
{
	*ice = (struct ice_session){.created_us = now_us, .selected = -1};
	ice->local[0] = *local;
	ice->remote[0] = *remote;
}

static bool address_is_valid(const struct net_addr *address)
{
	return (address->family == 4 || address->family == 6) && address->transport <= NET_TCP;
}

bool ice_is_valid(const struct ice_session *ice)
{
	if (ice->active > 1 || ice->other > ICE_OTHER_OLD || ice->pair_count > ICE_PAIRS_MAX)
		return false;
	if (ice->selected < -1 || ice->selected >= ice->pair_count)
		return false;
	if (!ice->local[ice->active].ufrag[0])
		return false;
	for (int i = 0; i < 2; i++)
		if (!ice_credentials_are_valid(&ice->local[i]) ||
			!ice_credentials_are_valid(&ice->remote[i]))
			return false;
	for (int i = 0; i < ice->pair_count; i++)
		if (!address_is_valid(&ice->pairs[i].remote))
			return false;
	return true;
}

const struct ice_credentials *ice_local(const struct ice_session *ice)
{
	return &ice->local[ice->other == ICE_OTHER_PENDING ? !ice->active : ice->active];
}

bool ice_is_restarting(const struct ice_session *ice)
{
	return ice->other == ICE_OTHER_PENDING;
}

const struct ice_credentials *ice_remote(const struct ice_session *ice)
{
	return &ice->remote[ice->other == ICE_OTHER_PENDING ? !ice->active : ice->active];
}

const struct net_addr *ice_selected(const struct ice_session *ice)
{
	return ice->selected < 0 ? NULL : &ice->pairs[ice->selected].remote;
}

void ice_restart(struct ice_session *ice, const struct ice_credentials *local,
	const struct ice_credentials *remote)
{
	ice->local[!ice->active] = *local;
	ice->remote[!ice->active] = *remote;
	ice->other = ICE_OTHER_PENDING;
}

/* A session that lost its only address (a closed TCP connection) still has the rest of its consent
 * to come back in. */
int64_t ice_deadline_us(const struct ice_session *ice)
{
	return ice->consent_us ? ice->consent_us + ICE_CONSENT_US
			       : ice->created_us + ICE_CONNECT_US;
}

bool ice_is_expired(const struct ice_session *ice, int64_t now_us)
{
	return now_us >= ice_deadline_us(ice);
}

static int find_pair(const struct ice_session *ice, const struct net_addr *remote)
{
	for (int i = 0; i < ice->pair_count; i++)
		if (net_addr_equal(&ice->pairs[i].remote, remote))
			return i;
	return -1;
}

/* The pair of this address; a new one takes the place of the pair checked longest ago when all are
 * in use, but never that of the selected one. */
static int take_pair(struct ice_session *ice, const struct net_addr *remote)
{
	int index = find_pair(ice, remote);

	if (index >= 0)
		return index;
	if (ice->pair_count < ICE_PAIRS_MAX) {
		index = ice->pair_count++;
	} else {
		for (int i = 0; i < ICE_PAIRS_MAX; i++)
			if (i != ice->selected &&
				(index < 0 ||
					ice->pairs[i].checked_us < ice->pairs[index].checked_us))
				index = i;
		ice->counters.pairs_displaced++;
	}
	ice->pairs[index] = (struct ice_pair){.remote = *remote};
	return index;
}

static void drop_pair(struct ice_session *ice, int index)
{
	int last = --ice->pair_count;

	ice->pairs[index] = ice->pairs[last];
	if (ice->selected == last)
		ice->selected = (int8_t)index;
}

unsigned ice_forget(struct ice_session *ice, const struct net_addr *remote)
{
	int index = find_pair(ice, remote);
	int next = -1;

	if (index < 0)
		return 0;
	if (index != ice->selected) {
		drop_pair(ice, index);
		return 0;
	}
	ice->selected = -1;
	drop_pair(ice, index);
	for (int i = 0; i < ice->pair_count; i++)
		if (ice->pairs[i].nominated_us &&
			(next < 0 || ice->pairs[i].nominated_us > ice->pairs[next].nominated_us))
			next = i;
	ice->selected = (int8_t)next;
	if (next < 0)
		return 0;
	ice->counters.address_changes++;
	return ICE_ADDRESS_CHANGED;
}

/* Whose local credentials a user name "ours:theirs" belongs to: index, or -1. Their part is not
 * compared: the password proves the sender (RFC 8445 7.3). */
static int find_credentials(
	const struct ice_session *ice, const struct stun_message *check, int64_t now_us)
{
	const char *colon = memchr(check->username, ':', check->username_size);
	size_t size = colon ? (size_t)(colon - check->username) : 0;

	for (int i = 0; colon && i < 2; i++) {
		const char *ufrag = ice->local[i].ufrag;
		bool usable =
			i == ice->active || ice->other == ICE_OTHER_PENDING ||
			(ice->other == ICE_OTHER_OLD && now_us < ice->restarted_us + ICE_OLD_US);

		if (usable && size && strlen(ufrag) == size &&
			!memcmp(ufrag, check->username, size))
			return i;
	}
	return -1;
}

static void respond_error(struct writer *response, const struct stun_message *check,
	enum stun_error_code code, const char *password)
{
	stun_begin(response, STUN_ERROR, check->transaction);
	stun_add_error(response, code, check);
	stun_finish(response, password);
}

/* The first check with the credentials of a restart: they replace the old ones. Media goes on to the
 * selected address until the new ones nominate one. */
static unsigned complete_restart(struct ice_session *ice, int64_t now_us)
{
	ice->active = !ice->active;
	ice->other = ICE_OTHER_OLD;
	ice->restarted_us = now_us;
	ice->first_nominated_us = 0;
	ice->counters.restarts++;
	return ICE_RESTARTED;
}

static unsigned nominate(struct ice_session *ice, int index, int64_t now_us)
{
	struct ice_pair *pair = &ice->pairs[index];
	bool first = !ice->first_nominated_us;
	bool settling = !first && now_us < ice->first_nominated_us + ICE_SETTLE_US;

	pair->nominated_us = now_us;
	if (first)
		ice->first_nominated_us = now_us;
	if (ice->selected == index)
		return 0;
	if (ice->selected >= 0 && settling && pair->priority < ice->pairs[ice->selected].priority)
		return 0;

	ice->selected = (int8_t)index;
	if (!ice->connected) {
		ice->connected = 1;
		return ICE_NOMINATED;
	}
	ice->counters.address_changes++;
	return ICE_ADDRESS_CHANGED;
}

static unsigned accept_check(struct ice_session *ice, const struct net_addr *from,
	const struct stun_message *check, int credentials, int64_t now_us)
{
	unsigned events = ICE_CONSENT_REFRESHED;

	ice->counters.checks++;
	if (credentials != ice->active && ice->other == ICE_OTHER_OLD)
		return 0;
	if (credentials != ice->active)
		events |= complete_restart(ice, now_us);
	ice->consent_us = now_us;

	int index = take_pair(ice, from);

	ice->pairs[index].checked_us = now_us;
	ice->pairs[index].priority = check->priority;
	if (check->has & STUN_HAS_USE_CANDIDATE)
		events |= nominate(ice, index, now_us);
	return events;
}

/* RFC 8489 9.1.3: what a request must have before anything else is looked at. Returns the index of
 * its credentials, or -1 with the error answered. */
static int authenticate(struct ice_session *ice, const struct stun_message *check,
	const void *bytes, size_t size, int64_t now_us, struct writer *response, enum err *err)
{
	const uint32_t needed = STUN_HAS_USERNAME | STUN_HAS_INTEGRITY;
	int index;

	if ((check->has & needed) != needed) {
		ice->counters.malformed++;
		respond_error(response, check, STUN_400_BAD_REQUEST, NULL);
		*err = ERR_FORMAT;
		return -1;
	}
	index = find_credentials(ice, check, now_us);
	if (index < 0 || !stun_check_integrity(check, bytes, size, ice->local[index].pwd)) {
		ice->counters.unauthenticated++;
		respond_error(response, check, STUN_401_UNAUTHENTICATED, NULL);
		*err = ERR_AUTH;
		return -1;
	}
	return index;
}

enum err ice_input(struct ice_session *ice, const struct net_addr *from, const void *bytes,
	size_t size, int64_t now_us, struct writer *response, unsigned *events)
{
	struct stun_message check;
	enum err err = stun_parse(&check, bytes, size);

	*events = 0;
	if (err) {
		ice->counters.malformed++;
		return ERR_FORMAT;
	}
	if (check.class != STUN_REQUEST || check.method != METHOD_BINDING) {
		ice->counters.ignored++;
		return ERR_AGAIN;
	}

	int index = authenticate(ice, &check, bytes, size, now_us, response, &err);

	if (index < 0)
		return err;

	const char *password = ice->local[index].pwd;

	if (check.unknown_count) {
		ice->counters.unknown_attributes++;
		respond_error(response, &check, STUN_420_UNKNOWN_ATTRIBUTE, password);
		return ERR_UNSUPPORTED;
	}
	/* RFC 8445 6.1.1: of a full and a lite agent the full one controls, so a peer that thinks
	 * itself controlled is told to switch, whatever its tie-breaker. */
	if (check.has & STUN_HAS_CONTROLLED) {
		ice->counters.role_conflicts++;
		respond_error(response, &check, STUN_487_ROLE_CONFLICT, password);
		return ERR_PHASE;
	}
	*events = accept_check(ice, from, &check, index, now_us);
	stun_begin(response, STUN_SUCCESS, check.transaction);
	stun_add_xor_mapped_address(response, from);
	stun_finish(response, password);
	return ERR_OK;
}
