/* SPDX-License-Identifier: Apache-2.0
 *
 * Incoming SRTP and SRTCP: our mirror of the replay windows, then libsrtp2. See unseal.h.
 */
#include "actors/webrtc/unseal.h"

#include "actors/webrtc/openssl.h"
#include "schemas/bytes.h"
#include "schemas/replay.h"

#include <srtp2/srtp.h>
#include <stdatomic.h>

enum {
	PACKET_MAX = 65535,
	SEQUENCE_HALF = 0x8000,
	RTP_TAG_CM = 10,
	RTP_TAG_GCM = 16,
};

/* ---- the windows ---- */

/* The order is for a reader that finds the memory after a death: with `highest` raised first, a bit
 * not yet cleared refuses a packet that was never seen; the other way round old ones would pass.
 */
static void rtp_accept(struct unseal_stream *s, uint64_t index)
{
	uint64_t before = s->has_rtp ? s->rtp_highest : 0;

	if (!s->has_rtp) {
		memset(s->rtp_seen, 0, sizeof(s->rtp_seen));
		s->rtp_highest = index;
	} else if (index > before) {
		s->rtp_highest = index;
		atomic_signal_fence(memory_order_seq_cst);
		replay_clear(s->rtp_seen, UNSEAL_RTP_WINDOW, before, index);
	}
	replay_mark(s->rtp_seen, UNSEAL_RTP_WINDOW, index);
	atomic_signal_fence(memory_order_seq_cst);
	s->has_rtp = 1;
}

static void rtcp_accept(struct unseal_stream *s, uint32_t index)
{
	uint32_t before = s->has_rtcp ? s->rtcp_highest : 0;

	if (!s->has_rtcp) {
		memset(s->rtcp_seen, 0, sizeof(s->rtcp_seen));
		s->rtcp_highest = index;
	} else if (index > before) {
		s->rtcp_highest = index;
		atomic_signal_fence(memory_order_seq_cst);
		replay_clear(s->rtcp_seen, UNSEAL_RTCP_WINDOW, before, index);
	}
	replay_mark(s->rtcp_seen, UNSEAL_RTCP_WINDOW, index);
	atomic_signal_fence(memory_order_seq_cst);
	s->has_rtcp = 1;
}

/* RFC 3711 3.3.1, and like libsrtp2 without a step back or forward while no more than half of the
 * sequence space has been used: the two must agree on every packet.
 */
static uint64_t rtp_estimate(const struct unseal_stream *s, uint16_t sequence)
{
	if (!s || !s->has_rtp || s->rtp_highest <= SEQUENCE_HALF)
		return sequence;
	uint32_t last = s->rtp_highest & 0xffff;
	uint64_t same = (s->rtp_highest & ~UINT64_C(0xffff)) | sequence;
	if (last < SEQUENCE_HALF)
		return (int32_t)sequence - (int32_t)last > SEQUENCE_HALF ? same - 0x10000 : same;
	return last - SEQUENCE_HALF > sequence ? same + 0x10000 : same;
}

/* ---- streams ---- */

static struct unseal_stream *stream_find(struct unseal_window *window, uint32_t ssrc)
{
	for (uint32_t i = 0; i < window->stream_count; i++)
		if (window->streams[i].ssrc == ssrc)
			return &window->streams[i];
	return NULL;
}

/* After authentication only: an attacker without the key cannot use up the table. */
static struct unseal_stream *stream_add(struct unseal_window *window, uint32_t ssrc)
{
	struct unseal_stream *s = &window->streams[window->stream_count];

	*s = (struct unseal_stream){.ssrc = ssrc};
	atomic_signal_fence(memory_order_seq_cst);
	window->stream_count++;
	return s;
}

bool unseal_window_is_valid(const struct unseal_window *window)
{
	if (window->stream_count > UNSEAL_STREAMS_MAX)
		return false;
	for (uint32_t i = 0; i < window->stream_count; i++) {
		const struct unseal_stream *s = &window->streams[i];

		if (s->has_rtp > 1 || s->has_rtcp > 1 || s->rtp_highest > SEAL_RTP_INDEX_MAX ||
			s->rtcp_highest > SEAL_RTCP_INDEX_MAX)
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (window->streams[j].ssrc == s->ssrc)
				return false;
	}
	return true;
}

/* ---- libsrtp2 ---- */

static bool policy_fill(srtp_policy_t *policy, const struct seal_keys *keys, uint8_t *key_and_salt)
{
	srtp_profile_t profile = (srtp_profile_t)keys->profile; /* both are the IANA numbers */
	size_t key_size = seal_key_size(keys->profile);

	*policy = (srtp_policy_t){.ssrc.type = ssrc_any_inbound,
		.key = key_and_salt,
		.window_size = UNSEAL_RTP_WINDOW};
	memcpy(key_and_salt, keys->key, key_size);
	memcpy(key_and_salt + key_size, keys->salt, seal_salt_size(keys->profile));
	return srtp_crypto_policy_set_from_profile_for_rtp(&policy->rtp, profile) ==
		       srtp_err_status_ok &&
	       srtp_crypto_policy_set_from_profile_for_rtcp(&policy->rtcp, profile) ==
		       srtp_err_status_ok;
}

enum err unseal_init(
	struct unseal *unseal, const struct seal_keys *keys, const struct unseal_window *window)
{
	*unseal = (struct unseal){0};
	if (!unseal_window_is_valid(window))
		return ERR_FORMAT;
	if (!seal_keys_are_valid(keys))
		return ERR_UNSUPPORTED;
	unseal->profile = keys->profile;
	unseal->keys = *keys;
	return ERR_OK;
}

static void close_session(struct unseal *unseal)
{
	if (unseal->session)
		srtp_dealloc(unseal->session);
	unseal->session = NULL;
	unseal->behind = 0;
}

/* With the streams that the window knows. */
static bool fill_session(
	struct unseal *unseal, const struct unseal_window *window, srtp_policy_t *policy)
{
	if (srtp_create(&unseal->session, policy) != srtp_err_status_ok) {
		unseal->session = NULL;
		return false;
	}
	policy->ssrc.type = ssrc_specific;
	for (uint32_t i = 0; i < window->stream_count; i++) {
		policy->ssrc.value = window->streams[i].ssrc;
		if (srtp_add_stream(unseal->session, policy) != srtp_err_status_ok)
			return false;
		if (window->streams[i].has_rtp)
			unseal->behind |= 1u << i;
	}
	return true;
}

static enum err open_session(struct unseal *unseal, const struct unseal_window *window)
{
	uint8_t key_and_salt[SEAL_KEY_MAX + SEAL_SALT_MAX];
	enum err err = ERR_CRYPTO;
	srtp_policy_t policy;

	if (unseal->session)
		return ERR_OK;
	if (policy_fill(&policy, &unseal->keys, key_and_salt))
		err = fill_session(unseal, window, &policy) ? ERR_OK : ERR_NO_MEMORY;
	OPENSSL_cleanse(key_and_salt, sizeof(key_and_salt));
	if (err)
		close_session(unseal);
	else
		seal_keys_clear(&unseal->keys);
	return err;
}

void unseal_fini(struct unseal *unseal)
{
	if (!unseal)
		return;
	close_session(unseal);
	OPENSSL_cleanse(unseal, sizeof(*unseal));
}

static enum err err_of(srtp_err_status_t status)
{
	switch (status) {
	case srtp_err_status_ok: return ERR_OK;
	case srtp_err_status_cant_check: /* SRTCP in the clear where encryption is agreed */
	case srtp_err_status_auth_fail: return ERR_AUTH;
	case srtp_err_status_replay_fail:
	case srtp_err_status_replay_old:
	case srtp_err_status_pkt_idx_old: return ERR_REPLAY;
	case srtp_err_status_bad_param:
	case srtp_err_status_parse_err: return ERR_FORMAT;
	case srtp_err_status_alloc_fail: return ERR_NO_MEMORY;
	case srtp_err_status_key_expired: return ERR_LIMIT;
	default: return ERR_CRYPTO;
	}
}

static enum err count_error(struct unseal_window *window, enum err err)
{
	switch (err) {
	case ERR_OK: break;
	case ERR_FORMAT: window->malformed++; break;
	case ERR_REPLAY: window->replayed++; break;
	case ERR_AUTH: window->unauthentic++; break;
	case ERR_LIMIT: window->refused++; break;
	default: window->failed++; break;
	}
	return err;
}

/* Whether the packet has room for what libsrtp2 will look at: header with CSRCs and extension,
 * tag.
 */
static bool rtp_is_well_formed(const uint8_t *packet, size_t size, size_t tag_size)
{
	struct reader r = reader_of(packet, size);
	uint8_t first = read_u8(&r);

	read_bytes(&r, SEAL_RTP_HEADER_MIN - 1 + (size_t)(first & 0x0f) * 4);
	if (first & 0x10) {
		read_u16(&r);
		read_bytes(&r, (size_t)read_u16(&r) * 4);
	}
	read_bytes(&r, tag_size);
	return !r.bad && first >> 6 == 2 && size <= PACKET_MAX;
}

static enum err rtp_check(const struct unseal *unseal, struct unseal_window *window,
	const uint8_t *packet, size_t size, struct unseal_stream **stream, uint64_t *index)
{
	size_t tag_size = unseal->profile == SEAL_AES128_CM_SHA1_80 ? RTP_TAG_CM : RTP_TAG_GCM;
	struct reader r = reader_of(packet, size);

	if (!rtp_is_well_formed(packet, size, tag_size))
		return ERR_FORMAT;
	read_u16(&r);
	uint16_t sequence = read_u16(&r);
	read_u32(&r);
	*stream = stream_find(window, read_u32(&r));
	if (!*stream && window->stream_count == UNSEAL_STREAMS_MAX)
		return ERR_LIMIT;
	*index = rtp_estimate(*stream, sequence);
	if (*index > SEAL_RTP_INDEX_MAX)
		return ERR_LIMIT;
	if (*stream && (*stream)->has_rtp &&
		!replay_admits(
			(*stream)->rtp_seen, UNSEAL_RTP_WINDOW, (*stream)->rtp_highest, *index))
		return ERR_REPLAY;
	return ERR_OK;
}

static uint32_t ssrc_at(const uint8_t *packet)
{
	struct reader r = reader_of(packet, 4);

	return read_u32(&r);
}

enum err unseal_rtp(
	struct unseal *unseal, struct unseal_window *window, uint8_t *packet, size_t *size)
{
	struct unseal_stream *stream;
	uint64_t index;
	uint32_t behind = 0;
	int length = (int)*size;

	MUST(unseal->profile);
	enum err err = rtp_check(unseal, window, packet, *size, &stream, &index);
	err = err ? err : open_session(unseal, window);
	if (err)
		return count_error(window, err);
	uint32_t ssrc = ssrc_at(packet + 8);
	if (stream)
		behind = unseal->behind & 1u << (stream - window->streams);
	/* A restored libsrtp2 stream knows no index yet: it is told the rollover counter that the
	 * mirror computed for this very packet, until it is as far as the mirror. */
	if (behind && srtp_set_stream_roc(unseal->session, ssrc, seal_index_roc(index)) !=
			      srtp_err_status_ok)
		return count_error(window, ERR_CRYPTO);
	err = err_of(srtp_unprotect(unseal->session, packet, &length));
	if (err)
		return count_error(window, err);
	if (!stream)
		stream = stream_add(window, ssrc);
	if (behind && index > stream->rtp_highest) {
		unseal->behind &= ~behind;
		srtp_set_stream_roc(
			unseal->session, ssrc, 0); /* 0: no longer told, it counts itself */
	}
	rtp_accept(stream, index);
	window->rtp_packets++;
	*size = (size_t)length;
	return ERR_OK;
}

/* The index lies in clear text, before the tag (RFC 3711 3.4) or behind it (RFC 7714 9.2). */
static enum err rtcp_check(const struct unseal *unseal, struct unseal_window *window,
	const uint8_t *packet, size_t size, struct unseal_stream **stream, uint32_t *index)
{
	bool cm = unseal->profile == SEAL_AES128_CM_SHA1_80;
	size_t trailer_size = 4 + (cm ? RTP_TAG_CM : RTP_TAG_GCM);

	if (size > PACKET_MAX || size < SEAL_RTCP_HEADER + trailer_size || packet[0] >> 6 != 2)
		return ERR_FORMAT;
	*index = ssrc_at(packet + size - (cm ? trailer_size : 4)) & SEAL_RTCP_INDEX_MAX;
	*stream = stream_find(window, ssrc_at(packet + 4));
	if (!*stream && window->stream_count == UNSEAL_STREAMS_MAX)
		return ERR_LIMIT;
	if (*stream && (*stream)->has_rtcp &&
		!replay_admits(
			(*stream)->rtcp_seen, UNSEAL_RTCP_WINDOW, (*stream)->rtcp_highest, *index))
		return ERR_REPLAY;
	return ERR_OK;
}

enum err unseal_rtcp(
	struct unseal *unseal, struct unseal_window *window, uint8_t *packet, size_t *size)
{
	struct unseal_stream *stream;
	int length = (int)*size;
	uint32_t index;

	MUST(unseal->profile);
	enum err err = rtcp_check(unseal, window, packet, *size, &stream, &index);
	err = err ? err : open_session(unseal, window);
	if (err)
		return count_error(window, err);
	uint32_t ssrc = ssrc_at(packet + 4);
	err = err_of(srtp_unprotect_rtcp(unseal->session, packet, &length));
	if (err)
		return count_error(window, err);
	if (!stream)
		stream = stream_add(window, ssrc);
	rtcp_accept(stream, index);
	window->rtcp_packets++;
	*size = (size_t)length;
	return ERR_OK;
}
