/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing the answer (RFC 8829 5.3.1): the m-lines of the offer in their order, each as the plan
 * says or refused.
 */
#include "actors/webrtc/sdp_string.h"

enum {
	TYPE_HOST_UDP = 126, /* RFC 8445 5.1.2.2 */
	TYPE_HOST_TCP = 90,  /* below every UDP candidate (RFC 6544 4.2), as browsers have it */
	TCP_PASSIVE = 4,     /* direction preference of RFC 6544 4.2 */
};

uint32_t sdp_candidate_priority(const struct net_addr *address, unsigned index)
{
	uint32_t type = TYPE_HOST_UDP;
	uint32_t local = 0xffff - (index & 0x1fff);

	if (address->transport == NET_TCP) {
		type = TYPE_HOST_TCP;
		local = TCP_PASSIVE << 13 | (0x1fff - (index & 0x1fff));
	}
	return type << 24 | local << 8 | (256 - 1);
}

/* RFC 8445 5.1.1.3: equal for candidates of one IP and one transport. */
static unsigned foundation_of(const struct net_addr *candidates, unsigned index)
{
	for (unsigned i = 0; i < index; i++)
		if (candidates[i].transport == candidates[index].transport &&
			net_addr_same_ip(&candidates[i], &candidates[index]))
			return i + 1;
	return index + 1;
}

void sdp_write_candidates(
	struct writer *w, const struct net_addr *candidates, uint8_t candidate_count)
{
	MUST(candidate_count <= SDP_CANDIDATES_MAX);
	for (unsigned i = 0; i < candidate_count; i++) {
		bool tcp = candidates[i].transport == NET_TCP;
		char ip[NET_ADDR_TEXT_SIZE];

		sdp_print(w, "a=candidate:%u 1 %s %u %s %u typ host%s\r\n",
			foundation_of(candidates, i), tcp ? "tcp" : "udp",
			sdp_candidate_priority(&candidates[i], i),
			net_addr_ip_text(&candidates[i], ip), candidates[i].port,
			tcp ? " tcptype passive" : "");
	}
	sdp_print(w, "a=end-of-candidates\r\n");
}

static void write_string(struct writer *w, struct sdp_string s)
{
	write_bytes(w, s.at, s.size);
}

static void write_session(
	struct writer *w, const struct sdp_plan *plan, const struct sdp_answer_options *options)
{
	sdp_print(w, "v=0\r\no=- %llu 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n",
		(unsigned long long)options->session_id);
	if (plan->bundled) {
		sdp_print(w, "a=group:BUNDLE");
		for (int i = 0; i < plan->media_count; i++)
			sdp_print(w, " %s", plan->media[i].mid);
		sdp_print(w, "\r\n");
	}
	if (plan->extmap_allow_mixed)
		sdp_print(w, "a=extmap-allow-mixed\r\n");
	if (plan->role == SDP_WHEP)
		sdp_print(w, "a=msid-semantic: WMS %s\r\n", plan->stream_id);
	sdp_print(w, "a=ice-lite\r\n");
}

/* A refused m-line: port 0, the rest as offered (RFC 3264 6). */
static void write_refused(struct writer *w, const struct sdp_media *media)
{
	sdp_print(w, "m=");
	write_string(w, media->kind_text);
	sdp_print(w, " 0 ");
	write_string(w, media->protocol);
	sdp_print(w, " ");
	write_string(w, media->first_format);
	sdp_print(w, "\r\nc=IN IP4 0.0.0.0\r\n");
	if (media->mid.size)
		sdp_print(w, "a=mid:%.*s\r\n", SDP_ARG(media->mid));
	sdp_print(w, "a=inactive\r\n");
}

/* Address and port of the first UDP candidate (RFC 8839 4.2.1.2), or those that say "none yet". */
static const struct net_addr *default_candidate(const struct sdp_answer_options *options)
{
	for (int i = 0; i < options->candidate_count; i++)
		if (options->candidates[i].transport == NET_UDP)
			return &options->candidates[i];
	return NULL;
}

static void write_transport(struct writer *w, const struct sdp_plan *plan,
	const struct sdp_answer_options *options, bool first)
{
	sdp_print(
		w, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", options->local.ufrag, options->local.pwd);
	sdp_print(w, "a=fingerprint:sha-256 ");
	for (size_t i = 0; i < sizeof(options->fingerprint); i++)
		sdp_print(w, "%s%02X", i ? ":" : "", options->fingerprint[i]);
	sdp_print(w, "\r\na=setup:%s\r\n", plan->dtls_active ? "active" : "passive");
	if (first || !plan->bundled) /* the others of the group share them (RFC 8843 9.3) */
		sdp_write_candidates(w, options->candidates, options->candidate_count);
}

/* A direction is said only where the offer said one (RFC 8285 6). */
static void write_extensions(
	struct writer *w, const struct sdp_plan_media *media, const struct sdp_media *offered)
{
	static const char *const directions[] = {
		[SDP_INACTIVE] = "/inactive",
		[SDP_SENDONLY] = "/recvonly",
		[SDP_RECVONLY] = "/sendonly",
		[SDP_SENDRECV] = "",
	};
	static const char *const uris[] = {
#define X(name, uri, kinds, whip, whep) uri,
		SDP_EXTENSION_TABLE(X)
#undef X
	};

	for (int i = 0; i < SDP_EXTENSION_COUNT; i++)
		if (media->extensions[i])
			sdp_print(w, "a=extmap:%u%s %s\r\n", media->extensions[i],
				directions[offered->extension_directions[i]], uris[i]);
}

static void write_formats(struct writer *w, const struct sdp_plan_media *media)
{
	static const struct {
		uint16_t bit;
		const char *text;
	} feedback[] = {
		{SDP_REMB,	   "goog-remb"   },
		{SDP_TRANSPORT_CC, "transport-cc"},
		{SDP_FIR,	  "ccm fir"	   },
		{SDP_NACK,	   "nack"	 },
		{SDP_PLI,	  "nack pli"    },
	};
	unsigned payload_type = media->payload_type;

	sdp_print(w, "a=rtpmap:%u %s/%u", payload_type,
		media->codec == MEDIA_OPUS ? "opus"
					   : media_codec_name((enum media_codec)media->codec),
		media->clock_rate);
	if (media->kind == MEDIA_AUDIO && media->channels > 1)
		sdp_print(w, "/%u", media->channels);
	sdp_print(w, "\r\n");
	for (size_t i = 0; i < sizeof(feedback) / sizeof(feedback[0]); i++)
		if (media->feedback & feedback[i].bit)
			sdp_print(w, "a=rtcp-fb:%u %s\r\n", payload_type, feedback[i].text);
	if (media->fmtp[0])
		sdp_print(w, "a=fmtp:%u %s\r\n", payload_type, media->fmtp);
	if (media->rtx_payload_type)
		sdp_print(w, "a=rtpmap:%u rtx/%u\r\na=fmtp:%u apt=%u\r\n", media->rtx_payload_type,
			media->clock_rate, media->rtx_payload_type, payload_type);
}

/* What we send: RFC 5576 for who reads SSRCs, RFC 8830 msid for who reads streams. */
static void write_sources(
	struct writer *w, const struct sdp_plan *plan, const struct sdp_plan_media *media)
{
	const char *kind = media->kind == MEDIA_AUDIO ? "audio" : "video";
	uint32_t ssrcs[2] = {media->local_ssrc, media->local_rtx_ssrc};

	if (ssrcs[1])
		sdp_print(w, "a=ssrc-group:FID %u %u\r\n", ssrcs[0], ssrcs[1]);
	for (int i = 0; i < 2; i++) {
		if (!ssrcs[i])
			continue;
		sdp_print(w, "a=ssrc:%u cname:%s\r\n", ssrcs[i], plan->cname);
		sdp_print(w, "a=ssrc:%u msid:%s %s%u\r\n", ssrcs[i], plan->stream_id, kind,
			media->track);
	}
}

static void write_live(struct writer *w, const struct sdp_plan *plan, int index,
	const struct sdp_media *offered, const struct sdp_answer_options *options)
{
	const struct sdp_plan_media *media = &plan->media[index];
	const struct net_addr *address = default_candidate(options);
	const char *kind = media->kind == MEDIA_AUDIO ? "audio" : "video";
	char ip[NET_ADDR_TEXT_SIZE] = "0.0.0.0";

	if (address)
		net_addr_ip_text(address, ip);
	sdp_print(w, "m=%s %u ", kind, address ? address->port : 9);
	write_string(w, offered->protocol);
	sdp_print(w, " %u", media->payload_type);
	if (media->rtx_payload_type)
		sdp_print(w, " %u", media->rtx_payload_type);
	sdp_print(w, "\r\nc=IN IP%d %s\r\n", address && address->family == 6 ? 6 : 4, ip);
	if (media->mid[0])
		sdp_print(w, "a=mid:%s\r\n", media->mid);
	write_transport(w, plan, options, index == 0);
	write_extensions(w, media, offered);
	if (plan->role == SDP_WHEP)
		sdp_print(
			w, "a=sendonly\r\na=msid:%s %s%u\r\n", plan->stream_id, kind, media->track);
	else
		sdp_print(w, "a=recvonly\r\n");
	sdp_print(w, "a=rtcp-mux\r\n");
	if (media->rtcp_rsize)
		sdp_print(w, "a=rtcp-rsize\r\n");
	write_formats(w, media);
	if (media->rid[0])
		sdp_print(w, "a=rid:%s recv\r\na=simulcast:recv %s\r\n", media->rid, media->rid);
	if (plan->role == SDP_WHEP)
		write_sources(w, plan, media);
}

enum err sdp_answer_write(struct writer *w, const struct sdp_plan *plan,
	const struct sdp_offer *offer, const struct sdp_answer_options *options)
{
	int next = 0; /* the plan has its m-lines in the order of the offer */

	write_session(w, plan, options);
	for (int i = 0; i < offer->media_count; i++) {
		if (next < plan->media_count && plan->media[next].line == i) {
			write_live(w, plan, next, &offer->media[i], options);
			next++;
		} else {
			write_refused(w, &offer->media[i]);
		}
	}
	return w->bad ? ERR_NO_SPACE : ERR_OK;
}
