/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading an offer. The table of attributes at the end is the list of what is understood; all else
 * is skipped. An attribute that is understood but cannot be read is an error with its line.
 */
#include "actors/webrtc/sdp_string.h"

enum level { IN_SESSION = 1, IN_MEDIA = 2, IN_BOTH = 3 };

enum { WORD_MAX = 64 }; /* bytes of what a refused m-line repeats: kind, protocol, first format */

struct parser {
	struct sdp_offer *offer;
	struct sdp_media *media;	 /* NULL in the session part */
	struct sdp_transport *transport; /* that of the part we are in */
	uint8_t direction;		 /* of the session part: default for the m-lines */
};

/* Reads the value of one attribute; false when it is malformed. */
typedef bool attribute_parse(struct parser *p, struct sdp_string value);

static struct sdp_format *find_format(struct sdp_media *media, struct sdp_string payload_type)
{
	uint32_t number;

	if (!sdp_number(payload_type, 127, &number))
		return NULL;
	for (int i = 0; i < media->format_count; i++)
		if (media->formats[i].payload_type == number)
			return &media->formats[i];
	return NULL;
}

/* NULL when there are SDP_SOURCES_MAX of others. */
static struct sdp_source *take_source(struct sdp_media *media, uint32_t ssrc)
{
	for (int i = 0; i < media->source_count; i++)
		if (media->sources[i].ssrc == ssrc)
			return &media->sources[i];
	if (media->source_count == SDP_SOURCES_MAX)
		return NULL;
	media->sources[media->source_count] = (struct sdp_source){.ssrc = ssrc};
	return &media->sources[media->source_count++];
}

static bool parse_group(struct parser *p, struct sdp_string value)
{
	if (sdp_is(sdp_word(&value), "BUNDLE") && !p->offer->has_bundle) {
		p->offer->has_bundle = true;
		p->offer->bundle = sdp_trim(value);
	}
	return true;
}

static bool parse_ice_options(struct parser *p, struct sdp_string value)
{
	while (value.size)
		if (sdp_is(sdp_word(&value), "trickle"))
			p->offer->trickle = true;
	return true;
}

static bool parse_ice_lite(struct parser *p, __attribute__((unused)) struct sdp_string value)
{
	p->offer->ice_lite = true;
	return true;
}

static bool parse_extmap_allow_mixed(
	struct parser *p, __attribute__((unused)) struct sdp_string value)
{
	p->offer->extmap_allow_mixed = true;
	return true;
}

static bool parse_ufrag(struct parser *p, struct sdp_string value)
{
	p->transport->ufrag = value;
	return true;
}

static bool parse_pwd(struct parser *p, struct sdp_string value)
{
	p->transport->pwd = value;
	return true;
}

static bool parse_setup(struct parser *p, struct sdp_string value)
{
	static const char *const names[] = {
		[SDP_ACTPASS] = "actpass",
		[SDP_ACTIVE] = "active",
		[SDP_PASSIVE] = "passive",
		[SDP_HOLDCONN] = "holdconn",
	};

	for (uint8_t i = SDP_ACTPASS; i <= SDP_HOLDCONN; i++) {
		if (sdp_is(value, names[i])) {
			p->transport->setup = i;
			return true;
		}
	}
	return false;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 8122 5. Of several the first that we can check is taken. */
static bool parse_fingerprint(struct parser *p, struct sdp_string value)
{
	static const struct {
		const char *name;
		uint8_t size;
	} hashes[] = {
		[SDP_SHA256] = {"sha-256", 32},
		[SDP_SHA384] = {"sha-384", 48},
		[SDP_SHA512] = {"sha-512", 64},
	};
	struct sdp_transport *t = p->transport;
	struct sdp_string name = sdp_word(&value);
	struct sdp_string hex = sdp_trim(value);
	uint8_t hash = SDP_SHA256;

	while (hash <= SDP_SHA512 && !sdp_is(name, hashes[hash].name))
		hash++;
	if (hash > SDP_SHA512 || t->hash) {
		t->has_unknown_hash |= hash > SDP_SHA512;
		return true;
	}
	if (hex.size != (size_t)hashes[hash].size * 3 - 1)
		return false;
	for (size_t i = 0; i < hashes[hash].size; i++) {
		int high = hex_digit(hex.at[i * 3]);
		int low = hex_digit(hex.at[i * 3 + 1]);

		if (high < 0 || low < 0 || (i && hex.at[i * 3 - 1] != ':'))
			return false;
		t->fingerprint[i] = (uint8_t)(high << 4 | low);
	}
	t->hash = hash;
	t->fingerprint_size = hashes[hash].size;
	return true;
}

static bool set_direction(struct parser *p, enum sdp_direction direction)
{
	if (p->media)
		p->media->direction = (uint8_t)direction;
	else
		p->direction = (uint8_t)direction;
	return true;
}

static bool parse_sendrecv(struct parser *p, __attribute__((unused)) struct sdp_string value)
{
	return set_direction(p, SDP_SENDRECV);
}

static bool parse_sendonly(struct parser *p, __attribute__((unused)) struct sdp_string value)
{
	return set_direction(p, SDP_SENDONLY);
}

static bool parse_recvonly(struct parser *p, __attribute__((unused)) struct sdp_string value)
{
	return set_direction(p, SDP_RECVONLY);
}

static bool parse_inactive(struct parser *p, __attribute__((unused)) struct sdp_string value)
{
	return set_direction(p, SDP_INACTIVE);
}

static bool parse_mid(struct parser *p, struct sdp_string value)
{
	p->media->mid = value;
	return value.size > 0 && value.size <= SDP_MID_MAX && !memchr(value.at, ' ', value.size);
}

static bool parse_msid(struct parser *p, struct sdp_string value)
{
	p->media->stream_id = sdp_word(&value);
	return true;
}

static bool parse_rtcp_mux(struct parser *p, __attribute__((unused)) struct sdp_string value)
{
	p->media->rtcp_mux = true;
	return true;
}

static bool parse_rtcp_rsize(struct parser *p, __attribute__((unused)) struct sdp_string value)
{
	p->media->rtcp_rsize = true;
	return true;
}

static bool parse_bundle_only(struct parser *p, __attribute__((unused)) struct sdp_string value)
{
	p->media->bundle_only = true;
	return true;
}

static bool parse_candidate(struct parser *p, __attribute__((unused)) struct sdp_string value)
{
	if (p->media->candidate_count < UINT16_MAX)
		p->media->candidate_count++;
	return true;
}

static bool parse_end_of_candidates(
	struct parser *p, __attribute__((unused)) struct sdp_string value)
{
	if (p->media)
		p->media->end_of_candidates = true;
	return true;
}

/* "96 H264/90000", "111 opus/48000/2" */
static bool parse_rtpmap(struct parser *p, struct sdp_string value)
{
	struct sdp_format *format = find_format(p->media, sdp_word(&value));
	struct sdp_string rest = sdp_trim(value);
	struct sdp_string name = sdp_cut(&rest, '/');
	struct sdp_string rate = sdp_cut(&rest, '/');
	uint32_t channels = 1;
	char text[16];

	if (!format)
		return true; /* of a payload type that the m-line does not list */
	if (!name.size || !sdp_number(rate, INT32_MAX, &format->clock_rate))
		return false;
	if (rest.size && !sdp_number(rest, 255, &channels))
		return false;
	format->name = name;
	format->channels = (uint8_t)channels;
	if (sdp_is(name, "rtx"))
		format->use = SDP_FORMAT_RTX;
	else if (sdp_copy(text, sizeof(text), name))
		format->codec = (uint8_t)media_codec_from_name(text);
	if (format->codec)
		format->use = SDP_FORMAT_CODEC;
	return true;
}

static bool parse_fmtp(struct parser *p, struct sdp_string value)
{
	struct sdp_format *format = find_format(p->media, sdp_word(&value));

	if (format)
		format->fmtp = sdp_trim(value);
	return true;
}

static bool parse_rtcp_fb(struct parser *p, struct sdp_string value)
{
	static const struct {
		const char *name, *parameter;
		uint16_t bit;
	} rows[] = {
		{"nack",	 "",    SDP_NACK	     },
		{"nack",	 "pli", SDP_PLI	       },
		{"ccm",		"fir", SDP_FIR	      },
		{"transport-cc", "",    SDP_TRANSPORT_CC},
		{"goog-remb",    "",	  SDP_REMB	  },
	};
	struct sdp_string payload_type = sdp_word(&value);
	struct sdp_string name = sdp_word(&value);
	struct sdp_string parameter = sdp_word(&value);
	struct sdp_format *format = find_format(p->media, payload_type);
	uint16_t bit = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (sdp_is(name, rows[i].name) && sdp_is(parameter, rows[i].parameter))
			bit = rows[i].bit;
	if (sdp_is(payload_type, "*"))
		p->media->feedback_all |= bit;
	else if (format)
		format->feedback |= bit;
	return true;
}

/* SDP_SENDRECV when it is none of the four words. */
static enum sdp_direction direction_of(struct sdp_string word)
{
	if (sdp_is(word, "sendonly"))
		return SDP_SENDONLY;
	if (sdp_is(word, "recvonly"))
		return SDP_RECVONLY;
	return sdp_is(word, "inactive") ? SDP_INACTIVE : SDP_SENDRECV;
}

/* "3 URI", "3/sendonly URI attributes" (RFC 8285 8) */
static bool parse_extmap(struct parser *p, struct sdp_string value)
{
	static const char *const uris[] = {
#define X(name, uri, kinds, whip, whep) uri,
		SDP_EXTENSION_TABLE(X)
#undef X
	};
	struct sdp_string entry = sdp_word(&value);
	struct sdp_string uri = sdp_word(&value);
	struct sdp_string number = sdp_cut(&entry, '/');
	uint32_t id;

	if (!sdp_number(number, 65535, &id) || id == 0)
		return false;
	if (id == 15 || id > 255) /* RFC 8285 4.2, 4.3: no id in a packet */
		return true;
	for (int i = 0; i < SDP_EXTENSION_COUNT; i++) {
		if (!sdp_is(uri, uris[i]) || p->media->extensions[i])
			continue;
		p->media->extensions[i] = (uint8_t)id;
		p->media->extension_directions[i] = (uint8_t)direction_of(entry);
	}
	return true;
}

/* "1584405416 cname:text" (RFC 5576 4.1) */
static bool parse_ssrc(struct parser *p, struct sdp_string value)
{
	struct sdp_source *source;
	uint32_t ssrc;

	if (!sdp_number(sdp_word(&value), UINT32_MAX, &ssrc))
		return false;
	value = sdp_trim(value);
	source = take_source(p->media, ssrc);
	if (source && sdp_is(sdp_cut(&value, ':'), "cname"))
		source->cname = value;
	return true;
}

/* "FID 1584405416 182672769": the second retransmits the first (RFC 5576 4.2, RFC 4588 8.5) */
static bool parse_ssrc_group(struct parser *p, struct sdp_string value)
{
	struct sdp_source *primary, *rtx;
	uint32_t first, second;

	if (!sdp_is(sdp_word(&value), "FID"))
		return true;
	if (!sdp_number(sdp_word(&value), UINT32_MAX, &first) ||
		!sdp_number(sdp_word(&value), UINT32_MAX, &second))
		return false;
	primary = take_source(p->media, first);
	rtx = take_source(p->media, second);
	if (primary && rtx && primary != rtx) {
		primary->rtx_ssrc = second;
		rtx->is_rtx = true;
	}
	return true;
}

static bool parse_rid(struct parser *p, struct sdp_string value)
{
	struct sdp_string id = sdp_word(&value);

	if (sdp_is(sdp_word(&value), "send") && p->media->rid_count < SDP_RIDS_MAX)
		p->media->rids[p->media->rid_count++] = id;
	return id.size > 0;
}

static bool parse_simulcast(struct parser *p, struct sdp_string value)
{
	while (value.size)
		if (sdp_is(sdp_word(&value), "send"))
			p->media->simulcast = true;
	return true;
}

static const struct attribute {
	const char *name;
	enum level level;
	attribute_parse *parse;
} attributes[] = {
	/* clang-format off */
	/* name                 level       read by                     specified in */
	{"group",               IN_SESSION, parse_group},            /* RFC 8843 */
	{"ice-lite",            IN_SESSION, parse_ice_lite},         /* RFC 8839 5.3 */
	{"ice-options",         IN_BOTH,    parse_ice_options},      /* RFC 8839 5.6 */
	{"extmap-allow-mixed",  IN_BOTH,    parse_extmap_allow_mixed}, /* RFC 8285 6 */
	{"ice-ufrag",           IN_BOTH,    parse_ufrag},            /* RFC 8839 5.4 */
	{"ice-pwd",             IN_BOTH,    parse_pwd},              /* RFC 8839 5.4 */
	{"fingerprint",         IN_BOTH,    parse_fingerprint},      /* RFC 8122 5 */
	{"setup",               IN_BOTH,    parse_setup},            /* RFC 8842 5 */
	{"sendrecv",            IN_BOTH,    parse_sendrecv},         /* RFC 8866 6.7 */
	{"sendonly",            IN_BOTH,    parse_sendonly},
	{"recvonly",            IN_BOTH,    parse_recvonly},
	{"inactive",            IN_BOTH,    parse_inactive},
	{"end-of-candidates",   IN_BOTH,    parse_end_of_candidates}, /* RFC 8840 8.2 */
	{"mid",                 IN_MEDIA,   parse_mid},              /* RFC 5888 4 */
	{"msid",                IN_MEDIA,   parse_msid},             /* RFC 8830 */
	{"rtcp-mux",            IN_MEDIA,   parse_rtcp_mux},         /* RFC 5761 5.1 */
	{"rtcp-mux-only",       IN_MEDIA,   parse_rtcp_mux},         /* RFC 8858 */
	{"rtcp-rsize",          IN_MEDIA,   parse_rtcp_rsize},       /* RFC 5506 5.1 */
	{"bundle-only",         IN_MEDIA,   parse_bundle_only},      /* RFC 8843 6 */
	{"candidate",           IN_MEDIA,   parse_candidate},        /* RFC 8839 5.1 */
	{"rtpmap",              IN_MEDIA,   parse_rtpmap},           /* RFC 8866 6.6 */
	{"fmtp",                IN_MEDIA,   parse_fmtp},             /* RFC 8866 6.15 */
	{"rtcp-fb",             IN_MEDIA,   parse_rtcp_fb},          /* RFC 4585 4.2 */
	{"extmap",              IN_MEDIA,   parse_extmap},           /* RFC 8285 5 */
	{"ssrc",                IN_MEDIA,   parse_ssrc},             /* RFC 5576 4.1 */
	{"ssrc-group",          IN_MEDIA,   parse_ssrc_group},       /* RFC 5576 4.2 */
	{"rid",                 IN_MEDIA,   parse_rid},              /* RFC 8851 4 */
	{"simulcast",           IN_MEDIA,   parse_simulcast},        /* RFC 8853 5.1 */
	/* clang-format on */
};

static bool parse_attribute(struct parser *p, struct sdp_string line)
{
	struct sdp_string name = sdp_cut(&line, ':');
	enum level level = p->media ? IN_MEDIA : IN_SESSION;

	for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++)
		if ((attributes[i].level & level) && sdp_is(name, attributes[i].name))
			return attributes[i].parse(p, sdp_trim(line));
	return true;
}

/* Payload types of an RTP m-line. Others (a data channel) have words here, kept as they are. */
static bool parse_formats(struct sdp_media *media, struct sdp_string words)
{
	media->first_format = sdp_word(&(struct sdp_string){words.at, words.size});
	if (!media->kind)
		return true;
	while (sdp_trim(words).size) {
		struct sdp_string word = sdp_word(&words);
		uint32_t payload_type;

		if (!sdp_number(word, 127, &payload_type))
			return false;
		if (media->format_count < SDP_FORMATS_MAX && !find_format(media, word))
			media->formats[media->format_count++] = (struct sdp_format){
				.payload_type = (uint8_t)payload_type, .channels = 1};
	}
	return true;
}

/* "audio 9 UDP/TLS/RTP/SAVPF 111 63" */
static bool parse_media(struct parser *p, struct sdp_string line)
{
	struct sdp_media *media = &p->offer->media[p->offer->media_count++];
	uint32_t port;

	*media = (struct sdp_media){.direction = p->direction};
	p->media = media;
	p->transport = &media->transport;
	media->kind_text = sdp_word(&line);

	struct sdp_string port_text = sdp_word(&line);

	if (!sdp_number(sdp_cut(&port_text, '/'), 65535, &port))
		return false;
	media->port_zero = port == 0;
	media->protocol = sdp_word(&line);
	if (sdp_is(media->kind_text, "audio"))
		media->kind = SDP_AUDIO;
	else if (sdp_is(media->kind_text, "video"))
		media->kind = SDP_VIDEO;
	return parse_formats(media, line) && media->first_format.size > 0 &&
	       media->kind_text.size <= WORD_MAX && media->protocol.size <= WORD_MAX &&
	       media->first_format.size <= WORD_MAX;
}

static bool is_printable(struct sdp_string line)
{
	for (size_t i = 0; i < line.size; i++)
		if ((unsigned char)line.at[i] < ' ' && line.at[i] != '\t')
			return false;
	return true;
}

static bool in_bundle(const struct sdp_offer *offer, struct sdp_string mid)
{
	struct sdp_string mids = offer->bundle;

	while (mid.size && mids.size)
		if (sdp_equal(sdp_word(&mids), mid))
			return true;
	return false;
}

/* What can only be said when all lines are read. */
static enum err finish(struct sdp_offer *offer, char *why)
{
	if (!offer->media_count)
		return sdp_fail(why, ERR_FORMAT, "offer has no m= line");
	for (int i = 0; i < offer->media_count; i++) {
		struct sdp_media *media = &offer->media[i];

		media->bundled = in_bundle(offer, media->mid);
		for (int j = 0; j < i; j++)
			if (media->mid.size && sdp_equal(media->mid, offer->media[j].mid))
				return sdp_fail(why, ERR_FORMAT,
					"two m-lines have the same a=mid:%.*s",
					SDP_ARG(media->mid));
		for (int j = 0; j < media->format_count; j++) {
			struct sdp_format *format = &media->formats[j];
			struct sdp_string apt;
			uint32_t payload_type;

			format->feedback |= media->feedback_all;
			if (format->use != SDP_FORMAT_RTX ||
				!sdp_parameter(format->fmtp, "apt", &apt))
				continue;
			format->has_apt = sdp_number(apt, 127, &payload_type);
			format->apt = format->has_apt ? (uint8_t)payload_type : 0;
		}
	}
	return ERR_OK;
}

static enum err parse_line(struct parser *p, struct sdp_string line, unsigned number, char *why)
{
	struct sdp_string value = {line.at + 2, line.size - 2};
	struct sdp_string name;

	switch (line.at[0]) {
	case 'm':
		if (p->offer->media_count == SDP_MEDIA_MAX)
			return sdp_fail(why, ERR_UNPROCESSABLE, "offer has more than %d m-lines",
				SDP_MEDIA_MAX);
		if (!parse_media(p, value))
			return sdp_fail(why, ERR_FORMAT, "line %u: malformed m= line", number);
		return ERR_OK;
	case 'a':
		if (parse_attribute(p, value))
			return ERR_OK;
		name = sdp_cut(&value, ':');
		return sdp_fail(
			why, ERR_FORMAT, "line %u: malformed a=%.*s", number, SDP_ARG(name));
	default: return ERR_OK;
	}
}

enum err sdp_offer_parse(struct sdp_offer *offer, const char *text, size_t size, char *why)
{
	struct parser p = {.offer = offer, .direction = SDP_SENDRECV};
	struct sdp_string rest = {text, size};

	why[0] = '\0';
	*offer = (struct sdp_offer){0};
	p.transport = &offer->transport;
	if (size > SDP_TEXT_MAX)
		return sdp_fail(why, ERR_TOO_LARGE, "offer is larger than %d bytes", SDP_TEXT_MAX);
	if (size < 3 || memcmp(text, "v=0", 3))
		return sdp_fail(why, ERR_FORMAT, "not an SDP: the first line is not v=0");
	for (unsigned number = 1; rest.size; number++) {
		struct sdp_string line = sdp_line(&rest);
		enum err err;

		if (!line.size)
			continue;
		if (line.size < 2 || line.at[1] != '=' || !is_printable(line))
			return sdp_fail(
				why, ERR_FORMAT, "line %u is not of the form x=text", number);
		err = parse_line(&p, line, number, why);
		if (err)
			return err;
	}
	return finish(offer, why);
}
