/* SPDX-License-Identifier: Apache-2.0
 *
 * Deciding what an offer becomes: which m-lines live, with which payload type, and how to reach and
 * trust the peer. Choosing is ranking: 0 = cannot be used, higher = better.
 */
#include "actors/webrtc/sdp_string.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { NAMES_MAX = 100 }; /* bytes of a list of codecs in an error */

static const enum media_codec default_order[] = {
	MEDIA_H264, MEDIA_VP8, MEDIA_VP9, MEDIA_AV1, MEDIA_H265};

/* ---- ranks of formats ---- */

/* RFC 6184 8.1, table 5: what decoders tell apart. */
enum h264_profile { H264_CONSTRAINED_BASELINE, H264_BASELINE, H264_MAIN, H264_HIGH, H264_OTHER };

static int hex_pair(const char *at)
{
	char text[3] = {at[0], at[1], '\0'};
	char *end;
	long value = strtol(text, &end, 16);

	return end == text + 2 && text[0] != '-' && text[0] != '+' && text[0] != ' ' ? (int)value
										     : -1;
}

/* Of a=fmtp with profile-level-id; H264_OTHER when it cannot be read. Without one it is Baseline
 * (RFC 6184 8.1: 420010). */
static enum h264_profile h264_profile_of(struct sdp_string fmtp)
{
	struct sdp_string id;

	if (!sdp_parameter(fmtp, "profile-level-id", &id))
		return H264_BASELINE;
	if (id.size != 6)
		return H264_OTHER;

	int idc = hex_pair(id.at);
	int constraints = hex_pair(id.at + 2);

	if (idc < 0 || constraints < 0)
		return H264_OTHER;
	switch (idc) {
	case 0x42: return constraints & 0x40 ? H264_CONSTRAINED_BASELINE : H264_BASELINE;
	case 0x4d: return constraints & 0x80 ? H264_CONSTRAINED_BASELINE : H264_MAIN;
	case 0x64: return H264_HIGH;
	default: return H264_OTHER;
	}
}

/* Parameter `name` as a number, `absent` when it is not there, -1 when it is no number. */
static int number_parameter(struct sdp_string fmtp, const char *name, int absent)
{
	struct sdp_string value;
	uint32_t number;

	if (!sdp_parameter(fmtp, name, &value))
		return absent;
	return sdp_number(value, 255, &number) ? (int)number : -1;
}

/* The number by which two streams of a codec are told apart, for codecs that have one. */
static int profile_number(enum media_codec codec, struct sdp_string fmtp)
{
	switch (codec) {
	case MEDIA_VP9: return number_parameter(fmtp, "profile-id", 0);	 /* RFC 9628 6.1 */
	case MEDIA_AV1: return number_parameter(fmtp, "profile", 0);	 /* AV1 RTP 7.2.1 */
	case MEDIA_H265: return number_parameter(fmtp, "profile-id", 1); /* RFC 7798 7.1 */
	default: return 0;
	}
}

/* What holds for receiving and for sending. */
static bool is_usable(const struct sdp_format *format, enum media_codec codec)
{
	if (format->use != SDP_FORMAT_CODEC || format->codec != codec)
		return false;
	if (format->fmtp.size > MEDIA_FMTP_MAX)
		return false;
	if (codec == MEDIA_OPUS)
		return format->clock_rate == 48000 && format->channels == 2; /* RFC 7587 7 */
	if (media_codec_kind(codec) != MEDIA_VIDEO || format->clock_rate != 90000)
		return false;
	return codec != MEDIA_H264 || sdp_parameter_is(format->fmtp, "packetization-mode", "1");
}

/* Of the profiles of H.264 those that every viewer can decode are best; 4:4:4 and the like, which
 * browsers do not play, are not taken. */
static int whip_rank(const struct sdp_format *format, enum media_codec codec)
{
	static const int h264_ranks[] = {5, 4, 3, 2, 0};
	int profile = profile_number(codec, format->fmtp);

	if (!is_usable(format, codec))
		return 0;
	switch (codec) {
	case MEDIA_H264: return h264_ranks[h264_profile_of(format->fmtp)];
	case MEDIA_VP9: return profile == 0 ? 2 : profile == 2 ? 1 : 0;
	case MEDIA_AV1: return profile == 0;
	case MEDIA_H265: return profile == 1 ? 2 : profile == 2 ? 1 : 0;
	default: return 1;
	}
}

/* A player is sent what the stream is. H.264 fits any payload type of packetization-mode 1: browsers
 * decode every profile they have a decoder for, whatever was negotiated, so the nearest is taken.
 * A source that did not say its profile counts as Constrained Baseline, which every offer has. */
static int whep_rank(const struct sdp_format *format, const struct media_track *track)
{
	/* offered:     CBP  BP  MP  HP  other */
	static const int h264_ranks[4][5] = {
		[H264_CONSTRAINED_BASELINE] = {10, 9,  8,	 7,  2},
		[H264_BASELINE] = {9,  10, 8,  7,	2},
		[H264_MAIN] = {4,  3,  10, 9,  2},
		[H264_HIGH] = {4,  3,  5,	10, 2},
	};
	enum media_codec codec = (enum media_codec)track->codec;
	struct sdp_string fmtp = {track->fmtp, strnlen(track->fmtp, MEDIA_FMTP_MAX)};
	struct sdp_string id;

	if (!is_usable(format, codec))
		return 0;
	if (codec != MEDIA_H264)
		return profile_number(codec, fmtp) == profile_number(codec, format->fmtp);

	enum h264_profile have = sdp_parameter(fmtp, "profile-level-id", &id)
					 ? h264_profile_of(fmtp)
					 : H264_CONSTRAINED_BASELINE;

	return have == H264_OTHER ? 1 : h264_ranks[have][h264_profile_of(format->fmtp)];
}

static const struct sdp_format *best_for_codec(
	const struct sdp_media *media, enum media_codec codec)
{
	const struct sdp_format *best = NULL;
	int best_rank = 0;

	for (int i = 0; i < media->format_count; i++) {
		int rank = whip_rank(&media->formats[i], codec);

		if (rank > best_rank) {
			best_rank = rank;
			best = &media->formats[i];
		}
	}
	return best;
}

static const struct sdp_format *best_for_track(
	const struct sdp_media *media, const struct media_track *track)
{
	const struct sdp_format *best = NULL;
	int best_rank = 0;

	for (int i = 0; i < media->format_count; i++) {
		int rank = whep_rank(&media->formats[i], track);

		if (rank > best_rank) {
			best_rank = rank;
			best = &media->formats[i];
		}
	}
	return best;
}

/* ---- one m-line ---- */

/* Can this m-line live at all, whatever its codecs? Refused ones are no error. */
static bool is_live_candidate(const struct sdp_offer *offer, const struct sdp_media *media)
{
	if (!media->kind || (media->port_zero && !media->bundle_only))
		return false;
	return !offer->has_bundle || media->bundled;
}

static void plan_extensions(struct sdp_plan_media *out, const struct sdp_offer *offer,
	const struct sdp_media *media, const struct sdp_answer_options *options)
{
	static const struct {
		uint8_t kinds;
		bool in_role[2];
	} rows[] = {
	/* clang-format off */
#define X(name, uri, kinds, whip, whep) {kinds, {[SDP_WHIP] = whip, [SDP_WHEP] = whep}},
		SDP_EXTENSION_TABLE(X)
#undef X
		/* clang-format on */
	};

	/* what the offerer must be able to do with an extension for it to be of use */
	const uint8_t needed = options->role == SDP_WHIP ? SDP_SENDONLY : SDP_RECVONLY;

	for (int i = 0; i < SDP_EXTENSION_COUNT; i++) {
		uint8_t id = media->extensions[i];

		if (!(media->extension_directions[i] & needed))
			continue;
		if (!(rows[i].kinds & media->kind) || !rows[i].in_role[options->role])
			continue;
		if (id > 14 && !offer->extmap_allow_mixed) /* needs the two-byte form */
			continue;
		if (i == SDP_EXT_DEPENDENCY_DESCRIPTOR && !options->dependency_descriptor)
			continue;
		out->extensions[i] = id;
	}
}

static void plan_feedback(struct sdp_plan_media *out, const struct sdp_format *format)
{
	uint16_t wanted = SDP_NACK | SDP_TRANSPORT_CC;

	if (out->kind == MEDIA_VIDEO)
		wanted |= SDP_PLI | SDP_FIR | SDP_REMB;
	out->feedback = format->feedback & wanted;
	if (!out->extensions[SDP_EXT_TRANSPORT_CC]) /* nothing to report on */
		out->feedback &= (uint16_t)~SDP_TRANSPORT_CC;
}

static void plan_rtx(struct sdp_plan_media *out, const struct sdp_media *media)
{
	if (!(out->feedback & SDP_NACK)) /* nothing would ask for it */
		return;
	for (int i = 0; i < media->format_count; i++) {
		const struct sdp_format *format = &media->formats[i];

		if (format->use == SDP_FORMAT_RTX && format->has_apt &&
			format->apt == out->payload_type && format->payload_type != 0) {
			out->rtx_payload_type = format->payload_type;
			return;
		}
	}
}

static void plan_fmtp(struct sdp_plan_media *out, const struct sdp_format *format,
	enum sdp_role role, bool send_stereo)
{
	struct sdp_string id;

	switch (out->codec) {
	case MEDIA_OPUS: /* RFC 7587 6.1: stereo = wanted from the other side, sprop-stereo = sent */
		out->stereo = sdp_parameter_is(format->fmtp, "stereo", "1") ||
			      sdp_parameter_is(format->fmtp, "sprop-stereo", "1");
		snprintf(out->fmtp, sizeof(out->fmtp), "minptime=10;useinbandfec=1%s%s",
			out->stereo ? ";stereo=1" : "",
			role == SDP_WHEP && send_stereo ? ";sprop-stereo=1" : "");
		break;
	case MEDIA_H264:
		if (sdp_parameter(format->fmtp, "profile-level-id", &id))
			snprintf(out->fmtp, sizeof(out->fmtp),
				"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=%."
				"*s",
				(int)(id.size < 6 ? id.size : 6), id.at);
		else
			snprintf(out->fmtp, sizeof(out->fmtp),
				"level-asymmetry-allowed=1;packetization-mode=1");
		break;
	default: MUST(sdp_copy(out->fmtp, sizeof(out->fmtp), format->fmtp));
	}
}

static void plan_sources(struct sdp_plan_media *out, const struct sdp_media *media, int index,
	const struct sdp_answer_options *options)
{
	out->local_ssrc = options->ssrc[index];
	if (options->role == SDP_WHEP) {
		out->local_rtx_ssrc = out->rtx_payload_type ? options->rtx_ssrc[index] : 0;
		return;
	}
	for (int i = 0; i < media->source_count; i++) {
		if (media->sources[i].is_rtx)
			continue;
		out->remote_ssrc = media->sources[i].ssrc;
		out->remote_rtx_ssrc = out->rtx_payload_type ? media->sources[i].rtx_ssrc : 0;
		return;
	}
}

/* RFC 8853 5.3: an answer may accept any part of what is offered; we take one stream. */
static void plan_rid(struct sdp_plan_media *out, const struct sdp_media *media,
	const struct sdp_answer_options *options)
{
	struct sdp_string rid;

	if (options->role != SDP_WHIP || !options->simulcast_last || !media->simulcast ||
		!media->rid_count || !out->extensions[SDP_EXT_RID])
		return;
	rid = media->rids[media->rid_count - 1];
	if (rid.size > SDP_RID_MAX)
		return;
	for (size_t i = 0; i < rid.size; i++)
		if (!isalnum((unsigned char)rid.at[i]) && !strchr("-_", rid.at[i]))
			return;
	MUST(sdp_copy(out->rid, sizeof(out->rid), rid));
}

/* RFC 8834 4.5 and 8829 5.1.3: without it RTCP would need a port of its own, which we have not. */
static enum err check_live(const struct sdp_media *media, int line, char *why)
{
	static const char wanted[] = "RTP/SAVPF";
	size_t size = sizeof(wanted) - 1;

	if (media->protocol.size < size ||
		strncasecmp(media->protocol.at + media->protocol.size - size, wanted, size) != 0)
		return sdp_fail(why, ERR_FORMAT,
			"m-line %d (%.*s): protocol %.*s is not UDP/TLS/RTP/SAVPF", line,
			SDP_ARG(media->kind_text), SDP_ARG(media->protocol));
	if (!media->rtcp_mux)
		return sdp_fail(why, ERR_FORMAT, "m-line %d (%.*s) has no a=rtcp-mux", line,
			SDP_ARG(media->kind_text));
	return ERR_OK;
}

/* Adds m-line `line` with this format to the plan; there is room. */
static enum err plan_media(struct sdp_plan *plan, const struct sdp_offer *offer, int line,
	const struct sdp_format *format, const struct media_track *track,
	const struct sdp_answer_options *options, char *why)
{
	const struct sdp_media *media = &offer->media[line];
	int index = plan->media_count;
	struct sdp_plan_media *out = &plan->media[index];
	enum err err = check_live(media, line, why);

	if (err)
		return err;
	MUST(index < SDP_LIVE_MAX && sdp_copy(out->mid, sizeof(out->mid), media->mid));
	plan->media_count++;
	out->line = (uint8_t)line;
	out->kind = media->kind;
	out->codec = format->codec;
	out->track = track ? track->id : (uint8_t)index;
	out->transcode = track && track->codec != format->codec;
	out->payload_type = format->payload_type;
	out->channels = media->kind == SDP_AUDIO ? format->channels : 0;
	out->clock_rate = format->clock_rate;
	out->rtcp_rsize = media->rtcp_rsize;
	plan_extensions(out, offer, media, options);
	plan_feedback(out, format);
	plan_rtx(out, media);
	plan_fmtp(out, format, options->role, track && track->channels == 2);
	plan_sources(out, media, index, options);
	plan_rid(out, media, options);
	return ERR_OK;
}

/* ---- WHIP ---- */

/* Names of the codecs that an m-line offers, each once, for an error. */
static void name_offered(char names[NAMES_MAX], const struct sdp_media *media)
{
	size_t used = 0;

	snprintf(names, NAMES_MAX, "none");
	for (int i = 0; i < media->format_count; i++) {
		const struct sdp_format *format = &media->formats[i];
		bool repeated = format->use == SDP_FORMAT_RTX || !format->name.size;

		for (int j = 0; j < i && !repeated; j++)
			repeated = sdp_equal(format->name, media->formats[j].name);
		if (repeated || used + format->name.size + 3 > NAMES_MAX)
			continue;
		used += (size_t)snprintf(names + used, NAMES_MAX - used, "%s%.*s", used ? ", " : "",
			SDP_ARG(format->name));
	}
}

static enum err plan_whip_line(struct sdp_plan *plan, const struct sdp_offer *offer, int line,
	const struct sdp_answer_options *options, char *why)
{
	const struct sdp_media *media = &offer->media[line];
	const enum media_codec *order = default_order;
	size_t count = sizeof(default_order) / sizeof(default_order[0]);
	static const enum media_codec audio[] = {MEDIA_OPUS};
	char names[NAMES_MAX];

	if (options->codec_order_count) {
		order = options->codec_order;
		count = options->codec_order_count;
	}
	if (media->kind == SDP_AUDIO) {
		order = audio;
		count = 1;
	}
	for (size_t i = 0; i < count && i < SDP_CODEC_ORDER_MAX; i++) {
		const struct sdp_format *format = best_for_codec(media, order[i]);

		if (format && media_codec_kind(order[i]) == (enum media_kind)media->kind)
			return plan_media(plan, offer, line, format, NULL, options, why);
	}
	name_offered(names, media);
	return sdp_fail(why, ERR_CODEC, "m-line %d: no %.*s codec in common, offered: %s", line,
		SDP_ARG(media->kind_text), names);
}

static enum err plan_whip(struct sdp_plan *plan, const struct sdp_offer *offer,
	const struct sdp_answer_options *options, char *why)
{
	unsigned left[3] = {0};

	left[SDP_AUDIO] = options->audio_max ? options->audio_max : 1;
	left[SDP_VIDEO] = options->video_max ? options->video_max : 1;
	for (int i = 0; i < offer->media_count; i++) {
		const struct sdp_media *media = &offer->media[i];
		enum err err;

		if (!is_live_candidate(offer, media) || !(media->direction & SDP_SENDONLY))
			continue;
		if (!left[media->kind]-- || plan->media_count == SDP_LIVE_MAX)
			return sdp_fail(why, ERR_UNPROCESSABLE,
				"offer sends more %.*s tracks than allowed",
				SDP_ARG(media->kind_text));
		err = plan_whip_line(plan, offer, i, options, why);
		if (err)
			return err;
	}
	if (!plan->media_count)
		return sdp_fail(why, ERR_UNPROCESSABLE,
			"offer sends nothing: no sendonly or sendrecv m-line of audio or video");
	return ERR_OK;
}

/* ---- WHEP ---- */

/* A format for a codec that the track can be turned into. */
static const struct sdp_format *best_transcoded(
	const struct sdp_media *media, const struct media_track *track, uint32_t transcodable)
{
	for (int codec = 1; codec < MEDIA_CODEC_COUNT; codec++) {
		struct media_track turned = {.codec = (uint8_t)codec};
		const struct sdp_format *format;

		if (!(transcodable & 1u << codec) || codec == track->codec ||
			media_codec_kind((enum media_codec)codec) != (enum media_kind)track->kind)
			continue;
		format = best_for_track(media, &turned);
		if (format)
			return format;
	}
	return NULL;
}

/* The first track that no m-line has yet and that this one can carry; untouched before transcoded. */
static const struct sdp_format *choose_track(const struct sdp_media *media,
	const struct sdp_answer_options *options, uint32_t taken, uint8_t *chosen)
{
	for (int transcoded = 0; transcoded < 2; transcoded++) {
		for (uint8_t i = 0; i < options->track_count; i++) {
			const struct media_track *track = &options->tracks[i];
			const struct sdp_format *format;

			if (taken & 1u << i || track->kind != media->kind)
				continue;
			format = transcoded ? best_transcoded(media, track, options->transcodable)
					    : best_for_track(media, track);
			if (format) {
				*chosen = i;
				return format;
			}
		}
	}
	return NULL;
}

static enum err fail_whep(const struct sdp_answer_options *options, bool asked, char *why)
{
	char names[NAMES_MAX];
	size_t used = 0;

	if (!asked)
		return sdp_fail(why, ERR_UNPROCESSABLE,
			"offer asks for nothing: no recvonly or sendrecv m-line of audio or video");
	for (uint8_t i = 0; i < options->track_count; i++)
		used += (size_t)snprintf(names + used, NAMES_MAX - used, "%s%s", i ? ", " : "",
			media_codec_name((enum media_codec)options->tracks[i].codec));
	return sdp_fail(why, ERR_CODEC,
		"the offer has no payload type for a codec of the stream (%s)", names);
}

static enum err plan_whep(struct sdp_plan *plan, const struct sdp_offer *offer,
	const struct sdp_answer_options *options, char *why)
{
	uint32_t taken = 0; /* tracks, by bit */
	bool asked = false;

	if (!options->track_count)
		return sdp_fail(why, ERR_PHASE, "the stream has no tracks yet");
	for (int i = 0; i < offer->media_count && plan->media_count < SDP_LIVE_MAX; i++) {
		const struct sdp_media *media = &offer->media[i];
		const struct sdp_format *format;
		uint8_t chosen;
		enum err err;

		if (!is_live_candidate(offer, media) || !(media->direction & SDP_RECVONLY))
			continue;
		asked = true;
		format = choose_track(media, options, taken, &chosen);
		if (!format)
			continue;
		taken |= 1u << chosen;
		err = plan_media(plan, offer, i, format, &options->tracks[chosen], options, why);
		if (err)
			return err;
	}
	return plan->media_count ? ERR_OK : fail_whep(options, asked, why);
}

/* ---- transport ---- */

static void merge_transport(struct sdp_transport *into, const struct sdp_transport *from)
{
	if (!into->ufrag.size && !into->pwd.size) {
		into->ufrag = from->ufrag;
		into->pwd = from->pwd;
	}
	if (into->setup == SDP_SETUP_NONE)
		into->setup = from->setup;
	into->has_unknown_hash |= from->has_unknown_hash;
	if (into->hash == SDP_HASH_NONE) {
		into->hash = from->hash;
		into->fingerprint_size = from->fingerprint_size;
		memcpy(into->fingerprint, from->fingerprint, sizeof(into->fingerprint));
	}
}

/* Where the offer says how to reach it: the first live m-line, else the one that its BUNDLE group is
 * tagged with (RFC 8843 7.2), else the session part. */
static struct sdp_transport find_transport(
	const struct sdp_offer *offer, const struct sdp_plan *plan)
{
	struct sdp_transport merged = offer->media[plan->media[0].line].transport;
	struct sdp_string mids = offer->bundle;
	struct sdp_string tag = sdp_word(&mids);

	for (int i = 0; i < offer->media_count; i++)
		if (tag.size && sdp_equal(offer->media[i].mid, tag))
			merge_transport(&merged, &offer->media[i].transport);
	merge_transport(&merged, &offer->transport);
	return merged;
}

enum err sdp_plan_transport(
	struct sdp_plan *plan, const struct sdp_offer *offer, bool lite_is_fine, char *why)
{
	struct sdp_transport t = find_transport(offer, plan);

	if (plan->media_count > 1 && !offer->has_bundle)
		return sdp_fail(why, ERR_FORMAT, "offer has no a=group:BUNDLE");
	if (offer->ice_lite && !lite_is_fine)
		return sdp_fail(why, ERR_UNPROCESSABLE,
			"offer is from an ICE-lite agent, as we are: nobody would send checks");
	if (!t.ufrag.size)
		return sdp_fail(why, ERR_FORMAT, "offer has no a=ice-ufrag");
	if (!t.pwd.size)
		return sdp_fail(why, ERR_FORMAT, "offer has no a=ice-pwd");
	if (ice_credentials_set(&plan->remote, t.ufrag.at, t.ufrag.size, t.pwd.at, t.pwd.size))
		return sdp_fail(why, ERR_FORMAT, "a=ice-ufrag or a=ice-pwd is malformed");
	if (!t.hash && t.has_unknown_hash)
		return sdp_fail(
			why, ERR_FORMAT, "a=fingerprint is by none of sha-256, sha-384, sha-512");
	if (!t.hash)
		return sdp_fail(why, ERR_FORMAT, "offer has no a=fingerprint");
	if (t.setup == SDP_HOLDCONN)
		return sdp_fail(why, ERR_FORMAT, "a=setup:holdconn cannot be answered");
	plan->dtls_active = t.setup == SDP_PASSIVE; /* RFC 8842 5.3; absent means active */
	plan->bundled = offer->has_bundle;
	plan->extmap_allow_mixed = offer->extmap_allow_mixed;
	plan->fingerprint_hash = t.hash;
	plan->fingerprint_size = t.fingerprint_size;
	memcpy(plan->fingerprint, t.fingerprint, t.fingerprint_size);
	return ERR_OK;
}

enum err sdp_answer_plan(struct sdp_plan *plan, const struct sdp_offer *offer,
	const struct sdp_answer_options *options, char *why)
{
	const char *stream_id =
		options->stream_id && *options->stream_id ? options->stream_id : "millrace";
	const char *cname = options->cname && *options->cname ? options->cname : "millrace";
	enum err err;

	MUST(options->track_count <= MEDIA_TRACKS_MAX);
	why[0] = '\0';
	*plan = (struct sdp_plan){.role = (uint8_t)options->role};
	MUST(sdp_copy(plan->cname, sizeof(plan->cname), sdp_string_of(cname)));
	MUST(sdp_copy(plan->stream_id, sizeof(plan->stream_id), sdp_string_of(stream_id)));
	err = options->role == SDP_WHIP ? plan_whip(plan, offer, options, why)
					: plan_whep(plan, offer, options, why);
	return err ? err : sdp_plan_transport(plan, offer, false, why);
}

static bool media_is_valid(const struct sdp_plan_media *media)
{
	return memchr(media->mid, 0, sizeof(media->mid)) &&
	       memchr(media->rid, 0, sizeof(media->rid)) &&
	       memchr(media->fmtp, 0, sizeof(media->fmtp)) && media->line < SDP_MEDIA_MAX &&
	       media->codec > MEDIA_CODEC_NONE && media->codec < MEDIA_CODEC_COUNT &&
	       media->kind == media_codec_kind((enum media_codec)media->codec) &&
	       media->track < MEDIA_TRACKS_MAX && media->payload_type <= 127 &&
	       media->rtx_payload_type <= 127 && media->clock_rate > 0;
}

bool sdp_plan_is_valid(const struct sdp_plan *plan)
{
	if (plan->role > SDP_WHEP || !plan->media_count || plan->media_count > SDP_LIVE_MAX)
		return false;
	if (plan->fingerprint_hash > SDP_SHA512 || plan->fingerprint_size > SDP_FINGERPRINT_MAX)
		return false;
	if (!memchr(plan->cname, 0, sizeof(plan->cname)) ||
		!memchr(plan->stream_id, 0, sizeof(plan->stream_id)))
		return false;
	for (int i = 0; i < plan->media_count; i++)
		if (!media_is_valid(&plan->media[i]))
			return false;
	return ice_credentials_are_valid(&plan->remote);
}
