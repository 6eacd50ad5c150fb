/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/webrtc/ice_client.h"

#include <stdio.h>

enum {
	PRFLX = 110, /* type preference of a peer-reflexive candidate, RFC 8445 5.1.2.2 */
};

void ice_client_init(struct ice_client *ice, const struct ice_credentials *local,
	const struct ice_credentials *remote, uint64_t tie_breaker, int64_t now_us)
{
	*ice = (struct ice_client){
		.local = *local,
		.remote = *remote,
		.tie_breaker = tie_breaker,
		.priority = (uint32_t)PRFLX << 24 | 0xffffu << 8 | 255,
		.selected = -1,
		.began_us = now_us,
		.rtt_us = -1,
	};
}

static struct ice_client_pair *find_pair(struct ice_client *ice, const struct net_addr *remote)
{
	for (int i = 0; i < ice->pair_count; i++)
		if (net_addr_equal(&ice->pairs[i].remote, remote))
			return &ice->pairs[i];
	return NULL;
}

/* Kept by falling priority. */
void ice_client_add(
	struct ice_client *ice, const struct net_addr *remote, uint32_t priority, int64_t now_us)
{
	int at = ice->pair_count;

	if (remote->transport != NET_UDP || !remote->family || !remote->port ||
		find_pair(ice, remote))
		return;
	if (ice->selected >= 0) /* the order must not change under a selected pair */
		return;
	while (at > 0 && ice->pairs[at - 1].priority < priority)
		at--;
	if (at == ICE_CLIENT_PAIRS_MAX)
		return;
	if (ice->pair_count < ICE_CLIENT_PAIRS_MAX)
		ice->pair_count++;
	for (int i = ice->pair_count - 1; i > at; i--)
		ice->pairs[i] = ice->pairs[i - 1];
	ice->pairs[at] =
		(struct ice_client_pair){.remote = *remote, .priority = priority, .due_us = now_us};
}

const struct net_addr *ice_client_selected(const struct ice_client *ice)
{
	return ice->selected < 0 || ice->phase != ICE_CONNECTED ? NULL
								: &ice->pairs[ice->selected].remote;
}

/* ---- checks out ---------------------------------------------------------------------------- */

static void expire(struct ice_client *ice, int64_t now_us)
{
	if (ice->phase == ICE_CONNECTED ? now_us - ice->consent_us >= ICE_CONSENT_US
					: now_us - ice->began_us >= ICE_CLIENT_CONNECT_US)
		ice->phase = ICE_FAILED;
}

/* A pair that works waits a little for one of higher priority, then is nominated. */
static void nominate(struct ice_client *ice, int64_t now_us)
{
	int best = 0;

	if (ice->phase != ICE_CHECKING || !ice->answered_us)
		return;
	while (!ice->pairs[best].answered)
		best++;
	if (best > 0 && now_us < ice->answered_us + ICE_CLIENT_SETTLE_US)
		return;
	ice->phase = ICE_NOMINATING;
	ice->selected = (int8_t)best;
	for (int i = 0; i < ice->pair_count; i++)
		ice->pairs[i].due_us = i == best ? now_us : INT64_MAX;
	ice->pairs[best].tries = 0;
}

static size_t write_check(struct ice_client *ice, struct ice_client_pair *pair, uint8_t *out)
{
	char user[2 * ICE_UFRAG_MAX + 2];
	int length = snprintf(user, sizeof(user), "%s:%s", ice->remote.ufrag, ice->local.ufrag);
	struct writer w = writer_of(out, ICE_CLIENT_CHECK_MAX);

	stun_begin(&w, STUN_REQUEST, pair->transaction);
	stun_add_username(&w, user, (size_t)length);
	stun_add_priority(&w, ice->priority);
	stun_add_role(&w, true, ice->tie_breaker);
	if (ice->selected >= 0)
		stun_add_use_candidate(&w);
	return stun_finish(&w, ice->remote.pwd) ? 0 : writer_used(&w);
}

size_t ice_client_poll(struct ice_client *ice, int64_t now_us,
	const uint8_t random[STUN_TRANSACTION_SIZE], uint8_t *out, struct net_addr *to)
{
	expire(ice, now_us);
	nominate(ice, now_us);
	if (ice->phase == ICE_FAILED)
		return 0;
	for (int i = 0; i < ice->pair_count; i++) {
		struct ice_client_pair *pair = &ice->pairs[i];
		int64_t wait_us = ICE_CLIENT_RETRY_US;

		if (now_us < pair->due_us)
			continue;
		if (!pair->tries && now_us < ice->paced_us)
			continue;
		if (!pair->tries)
			memcpy(pair->transaction, random, sizeof(pair->transaction));
		for (int try = 0; try < pair->tries && wait_us < ICE_CLIENT_RETRY_MAX_US; try++)
			wait_us *= 2;
		pair->tries++;
		pair->sent_us = now_us;
		pair->due_us = pair->tries < ICE_CLIENT_TRIES_MAX || ice->phase == ICE_CONNECTED
				       ? now_us + wait_us
				       : INT64_MAX;
		if (pair->tries == UINT8_MAX)
			pair->tries = ICE_CLIENT_TRIES_MAX;
		ice->paced_us = now_us + ICE_CLIENT_PACE_US;
		*to = pair->remote;
		return write_check(ice, pair, out);
	}
	return 0;
}

int64_t ice_client_deadline_us(const struct ice_client *ice)
{
	int64_t due_us = ice->phase == ICE_CONNECTED ? ice->consent_us + ICE_CONSENT_US
						     : ice->began_us + ICE_CLIENT_CONNECT_US;

	if (ice->phase == ICE_FAILED)
		return INT64_MAX;
	if (ice->phase == ICE_CHECKING && ice->answered_us &&
		ice->answered_us + ICE_CLIENT_SETTLE_US < due_us)
		due_us = ice->answered_us + ICE_CLIENT_SETTLE_US;
	for (int i = 0; i < ice->pair_count; i++) {
		const struct ice_client_pair *pair = &ice->pairs[i];
		int64_t pair_us = pair->due_us;

		if (!pair->tries && pair_us < ice->paced_us)
			pair_us = ice->paced_us;
		if (pair_us < due_us)
			due_us = pair_us;
	}
	return due_us;
}

/* ---- what comes ---------------------------------------------------------------------------- */

static enum err take_answer(struct ice_client *ice, const struct stun_message *message,
	const void *bytes, size_t size, int64_t now_us)
{
	for (int i = 0; i < ice->pair_count; i++) {
		struct ice_client_pair *pair = &ice->pairs[i];

		if (!pair->tries ||
			memcmp(pair->transaction, message->transaction, sizeof(pair->transaction)))
			continue;
		if (!stun_check_integrity(message, bytes, size, ice->remote.pwd))
			return ERR_AUTH;
		pair->due_us = INT64_MAX;
		if (message->class == STUN_ERROR)
			return ERR_AGAIN;
		ice->rtt_us = now_us - pair->sent_us;
		pair->answered = true;
		if (!ice->answered_us)
			ice->answered_us = now_us;
		if (i == ice->selected && ice->phase != ICE_FAILED) {
			ice->phase = ICE_CONNECTED;
			ice->consent_us = now_us;
			pair->tries = 0;
			pair->due_us = now_us + ICE_CLIENT_CONSENT_US;
		}
		return ERR_OK;
	}
	return ERR_AGAIN;
}

/* A check of a full agent: answered, and its address is one more candidate (7.3.1.3, 7.3.1.4). */
static enum err take_check(struct ice_client *ice, const struct net_addr *from,
	const struct stun_message *message, const void *bytes, size_t size, int64_t now_us,
	struct writer *response)
{
	size_t own = strlen(ice->local.ufrag);

	if (!(message->has & STUN_HAS_USERNAME) || message->username_size <= own ||
		message->username[own] != ':' || memcmp(message->username, ice->local.ufrag, own) ||
		!stun_check_integrity(message, bytes, size, ice->local.pwd))
		return ERR_AUTH;
	if (message->unknown_count) {
		stun_begin(response, STUN_ERROR, message->transaction);
		stun_add_error(response, STUN_420_UNKNOWN_ATTRIBUTE, message);
		stun_finish(response, ice->local.pwd);
		return ERR_UNSUPPORTED;
	}
	stun_begin(response, STUN_SUCCESS, message->transaction);
	stun_add_xor_mapped_address(response, from);
	stun_finish(response, ice->local.pwd);
	ice_client_add(ice, from, message->priority, now_us);
	return ERR_OK;
}

enum err ice_client_input(struct ice_client *ice, const struct net_addr *from, const void *bytes,
	size_t size, int64_t now_us, struct writer *response)
{
	struct stun_message message;
	enum err err = stun_parse(&message, bytes, size);

	if (err)
		return err;
	if (message.method != 1 || message.class == STUN_INDICATION)
		return ERR_AGAIN;
	if (message.class == STUN_REQUEST)
		return take_check(ice, from, &message, bytes, size, now_us, response);
	return take_answer(ice, &message, bytes, size, now_us);
}
