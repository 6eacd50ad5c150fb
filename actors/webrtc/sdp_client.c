/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/webrtc/sdp_client.h"
#include "actors/webrtc/sdp_string.h"

#include <stdio.h>

enum {
	EXT_MID = 1,
	EXT_ABS_SEND_TIME = 2,
	EXT_TRANSPORT_CC = 3,
	FEEDBACK = SDP_NACK | SDP_PLI | SDP_FIR | SDP_TRANSPORT_CC,
};

/* What we offer; each video format is followed by its RTX, one number higher. */
static const struct offered {
	uint8_t payload_type;
	uint8_t codec;
	bool publish; /* offered by publishers too */
	const char *fmtp;
} table[] = {
	{96,  MEDIA_H264, true,
		"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"	},
	{98,  MEDIA_H264, false,
		"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f"	},
	{100, MEDIA_H264, false,
		"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f"	},
	{102, MEDIA_VP8,	 false, NULL						},
	{104, MEDIA_VP9,	 false, "profile-id=0"				      },
	{106, MEDIA_AV1,	 false, NULL						},
	{108, MEDIA_H265, false, NULL						},
	{111, MEDIA_OPUS, true,	"minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1"},
};

enum { TABLE_SIZE = sizeof(table) / sizeof(table[0]) };

static bool is_offered(const struct offered *row, enum media_kind kind, bool publish)
{
	return media_codec_kind((enum media_codec)row->codec) == kind && (row->publish || !publish);
}

/* ---- the offer ----------------------------------------------------------------------------- */

static void write_formats(struct writer *w, const struct offered *row)
{
	unsigned type = row->payload_type;

	if (row->codec == MEDIA_OPUS) {
		sdp_print(w,
			"a=rtpmap:%u opus/48000/2\r\na=rtcp-fb:%u nack\r\n"
			"a=rtcp-fb:%u transport-cc\r\n",
			type, type, type);
	} else {
		sdp_print(w, "a=rtpmap:%u %s/90000\r\n", type,
			media_codec_name((enum media_codec)row->codec));
		sdp_print(w,
			"a=rtcp-fb:%u nack\r\na=rtcp-fb:%u nack pli\r\n"
			"a=rtcp-fb:%u ccm fir\r\na=rtcp-fb:%u transport-cc\r\n",
			type, type, type, type);
	}
	if (row->fmtp)
		sdp_print(w, "a=fmtp:%u %s\r\n", type, row->fmtp);
	if (row->codec != MEDIA_OPUS)
		sdp_print(w, "a=rtpmap:%u rtx/90000\r\na=fmtp:%u apt=%u\r\n", type + 1, type + 1,
			type);
}

static void write_transport(struct writer *w, const struct sdp_client_options *options)
{
	sdp_print(w, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=fingerprint:sha-256 ",
		options->local.ufrag, options->local.pwd);
	for (int i = 0; i < 32; i++)
		sdp_print(w, "%s%02X", i ? ":" : "", options->fingerprint[i]);
	sdp_print(w, "\r\na=setup:actpass\r\n");
}

static void write_sources(struct writer *w, const struct sdp_client_options *options, int line)
{
	const char *kind = line ? "audio" : "video";
	uint32_t ssrcs[2] = {options->ssrc[line], line ? 0 : options->rtx_ssrc};

	sdp_print(w, "a=msid:%s %s\r\n", options->cname, kind);
	if (ssrcs[1])
		sdp_print(w, "a=ssrc-group:FID %u %u\r\n", ssrcs[0], ssrcs[1]);
	for (int i = 0; i < 2 && ssrcs[i]; i++)
		sdp_print(w, "a=ssrc:%u cname:%s\r\na=ssrc:%u msid:%s %s\r\n", ssrcs[i],
			options->cname, ssrcs[i], options->cname, kind);
}

static void write_media(struct writer *w, const struct sdp_client_options *options, int line)
{
	enum media_kind kind = line ? MEDIA_AUDIO : MEDIA_VIDEO;

	sdp_print(w, "m=%s 9 UDP/TLS/RTP/SAVPF", line ? "audio" : "video");
	for (int i = 0; i < TABLE_SIZE; i++) {
		if (!is_offered(&table[i], kind, options->publish))
			continue;
		sdp_print(w, " %u", table[i].payload_type);
		if (kind == MEDIA_VIDEO)
			sdp_print(w, " %u", table[i].payload_type + 1);
	}
	sdp_print(w, "\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=mid:%d\r\n", line);
	write_transport(w, options);
	sdp_write_candidates(w, &options->candidate, options->candidate.family ? 1 : 0);
	sdp_print(w, "a=extmap:%d urn:ietf:params:rtp-hdrext:sdes:mid\r\n", EXT_MID);
	sdp_print(w, "a=extmap:%d http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n",
		EXT_ABS_SEND_TIME);
	sdp_print(w,
		"a=extmap:%d http://www.ietf.org/id/"
		"draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n",
		EXT_TRANSPORT_CC);
	sdp_print(w, "a=%s\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
		options->publish ? "sendonly" : "recvonly");
	for (int i = 0; i < TABLE_SIZE; i++)
		if (is_offered(&table[i], kind, options->publish))
			write_formats(w, &table[i]);
	if (options->publish)
		write_sources(w, options, line);
}

enum err sdp_client_offer(struct writer *w, const struct sdp_client_options *options)
{
	sdp_print(w, "v=0\r\no=- %llu 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n",
		(unsigned long long)options->session_id);
	sdp_print(w, "a=msid-semantic: WMS *\r\n");
	write_media(w, options, 0);
	write_media(w, options, 1);
	return w->bad ? ERR_NO_SPACE : ERR_OK;
}

/* ---- the answer ---------------------------------------------------------------------------- */

enum err sdp_candidate_parse(struct sdp_candidate *candidate, struct sdp_string value)
{
	struct sdp_string foundation = sdp_word(&value), component = sdp_word(&value);
	struct sdp_string transport = sdp_word(&value), priority = sdp_word(&value);
	struct sdp_string address = sdp_word(&value), port = sdp_word(&value);
	char text[NET_ADDR_TEXT_SIZE];
	uint32_t number;

	*candidate = (struct sdp_candidate){0};
	if (!foundation.size || !sdp_number(priority, UINT32_MAX, &candidate->priority) ||
		!sdp_number(port, 65535, &number) || !sdp_is(sdp_word(&value), "typ"))
		return ERR_FORMAT;
	if (!sdp_is(component, "1"))
		return ERR_UNSUPPORTED;
	snprintf(text, sizeof(text), memchr(address.at, ':', address.size) ? "[%.*s]" : "%.*s",
		SDP_ARG(address));
	if (address.size + 3 > sizeof(text) || net_addr_parse(text, &candidate->address))
		return ERR_UNSUPPORTED; /* mDNS and other names */
	candidate->address.port = (uint16_t)number;
	candidate->address.transport = sdp_is(transport, "udp") ? NET_UDP : NET_TCP;
	return ERR_OK;
}

static void read_candidates(struct sdp_client_answer *answer, struct sdp_string rest)
{
	while (rest.size && answer->candidate_count < SDP_CANDIDATES_MAX) {
		struct sdp_string line = sdp_line(&rest);
		struct sdp_string name = sdp_cut(&line, ':');
		struct sdp_candidate candidate;
		bool known = false;

		if (!sdp_is(name, "a=candidate") || sdp_candidate_parse(&candidate, line))
			continue;
		/* bundled m-lines repeat them */
		for (int i = 0; i < answer->candidate_count; i++)
			known |= net_addr_equal(&answer->candidates[i].address, &candidate.address);
		if (!known)
			answer->candidates[answer->candidate_count++] = candidate;
	}
}

static const struct offered *offered_as(uint8_t payload_type, uint8_t kind, bool publish)
{
	for (int i = 0; i < TABLE_SIZE; i++)
		if (table[i].payload_type == payload_type &&
			is_offered(&table[i], (enum media_kind)kind, publish))
			return &table[i];
	return NULL;
}

static void add_format(
	struct sdp_client_answer *answer, uint8_t payload_type, uint8_t codec, uint8_t repairs)
{
	if (answer->format_count == SDP_CLIENT_FORMATS_MAX)
		return;
	answer->formats[answer->format_count++] = (struct sdp_client_format){
		.payload_type = payload_type,
		.media = answer->plan.media_count,
		.codec = codec,
		.repairs = repairs,
	};
}

/* The first format that is one of ours is the one that is meant (RFC 3264 6.1). */
static void read_formats(struct sdp_client_answer *answer, struct sdp_plan_media *out,
	const struct sdp_media *media, bool publish)
{
	for (int i = 0; i < media->format_count; i++) {
		const struct sdp_format *format = &media->formats[i];
		const struct offered *row;

		if (format->use == SDP_FORMAT_RTX && format->has_apt) {
			row = offered_as(format->apt, media->kind, publish);
			if (row)
				add_format(answer, format->payload_type, row->codec, format->apt);
			if (row && out->codec && format->apt == out->payload_type)
				out->rtx_payload_type = format->payload_type;
			continue;
		}
		row = offered_as(format->payload_type, media->kind, publish);
		if (!row)
			continue;
		add_format(answer, format->payload_type, row->codec, 0);
		if (out->codec)
			continue;
		out->codec = row->codec;
		out->payload_type = row->payload_type;
		out->clock_rate = media->kind == SDP_AUDIO ? 48000 : 90000;
		out->channels = media->kind == SDP_AUDIO ? 2 : 0;
		out->feedback = format->feedback & FEEDBACK;
	}
}

static void read_media(struct sdp_client_answer *answer, const struct sdp_client_options *options,
	const struct sdp_media *media, int line)
{
	const uint8_t needed = options->publish ? SDP_RECVONLY : SDP_SENDONLY;
	struct sdp_plan_media *out = &answer->plan.media[answer->plan.media_count];

	*out = (struct sdp_plan_media){.line = (uint8_t)line, .kind = media->kind};
	if (line > 1 || media->kind != (line ? SDP_AUDIO : SDP_VIDEO) || media->port_zero ||
		!(media->direction & needed) || !sdp_copy(out->mid, sizeof(out->mid), media->mid))
		return;
	read_formats(answer, out, media, options->publish);
	if (!out->codec)
		return;
	out->extensions[SDP_EXT_MID] = media->extensions[SDP_EXT_MID];
	out->extensions[SDP_EXT_ABS_SEND_TIME] = media->extensions[SDP_EXT_ABS_SEND_TIME];
	out->extensions[SDP_EXT_TRANSPORT_CC] = media->extensions[SDP_EXT_TRANSPORT_CC];
	if (!out->extensions[SDP_EXT_TRANSPORT_CC])
		out->feedback &= (uint16_t)~SDP_TRANSPORT_CC;
	out->rtcp_rsize = media->rtcp_rsize;
	out->local_ssrc = options->ssrc[line];
	out->local_rtx_ssrc = line == 0 && out->rtx_payload_type ? options->rtx_ssrc : 0;
	for (int i = 0; i < media->source_count && !out->remote_ssrc; i++) {
		if (media->sources[i].is_rtx)
			continue;
		out->remote_ssrc = media->sources[i].ssrc;
		out->remote_rtx_ssrc = media->sources[i].rtx_ssrc;
	}
	answer->plan.media_count++;
}

enum err sdp_client_read(struct sdp_client_answer *answer, const struct sdp_client_options *options,
	struct sdp_offer *scratch, const char *text, size_t size, char *why)
{
	enum err err = sdp_offer_parse(scratch, text, size, why);

	*answer = (struct sdp_client_answer){0};
	if (err)
		return err;
	answer->plan.role = options->publish ? SDP_WHEP : SDP_WHIP; /* who sends: as its server's */
	for (int i = 0; i < scratch->media_count; i++)
		read_media(answer, options, &scratch->media[i], i);
	if (!answer->plan.media_count)
		return sdp_fail(why, ERR_CODEC, "the answer has no m-line that we can use");
	read_candidates(answer, (struct sdp_string){text, size});
	return sdp_plan_transport(&answer->plan, scratch, true, why);
}
