/* SPDX-License-Identifier: Apache-2.0
 *
 * application/trickle-ice-sdpfrag: the bodies of PATCH (RFC 8840 9, RFC 9725 4.3). The peer's
 * candidates are only counted: an ICE-lite agent learns addresses from checks.
 */
#include "actors/webrtc/sdp_string.h"

struct credentials_text {
	struct sdp_string ufrag;
	struct sdp_string pwd;
};

static bool take_attribute(
	struct sdp_frag *frag, struct credentials_text *credentials, struct sdp_string line)
{
	struct sdp_string name = sdp_cut(&line, ':');
	struct sdp_string value = sdp_trim(line);

	/* in a BUNDLE all m-lines have the same credentials: the first ones count */
	if (sdp_is(name, "ice-ufrag") && !credentials->ufrag.size) {
		credentials->ufrag = value;
	} else if (sdp_is(name, "ice-pwd") && !credentials->pwd.size) {
		credentials->pwd = value;
	} else if (sdp_is(name, "mid") && !frag->mid[0]) {
		return value.size > 0 && sdp_copy(frag->mid, sizeof(frag->mid), value);
	} else if (sdp_is(name, "candidate")) {
		if (frag->candidate_count < UINT16_MAX)
			frag->candidate_count++;
	} else if (sdp_is(name, "end-of-candidates")) {
		frag->end_of_candidates = true;
	}
	return true;
}

static enum err take_credentials(
	struct sdp_frag *frag, const struct credentials_text *credentials, char *why)
{
	struct sdp_string ufrag = credentials->ufrag, pwd = credentials->pwd;

	if (!ufrag.size && !pwd.size)
		return ERR_OK;
	if (!ufrag.size || !pwd.size)
		return sdp_fail(why, ERR_FORMAT, "fragment has a=%s but no a=%s",
			ufrag.size ? "ice-ufrag" : "ice-pwd", ufrag.size ? "ice-pwd" : "ice-ufrag");
	if (ice_credentials_set(&frag->credentials, ufrag.at, ufrag.size, pwd.at, pwd.size))
		return sdp_fail(why, ERR_FORMAT, "a=ice-ufrag or a=ice-pwd is malformed");
	frag->has_credentials = true;
	return ERR_OK;
}

enum err sdp_frag_parse(struct sdp_frag *frag, const char *text, size_t size, char *why)
{
	struct credentials_text credentials = {{0}, {0}};
	struct sdp_string rest = {text, size};

	why[0] = '\0';
	*frag = (struct sdp_frag){0};
	if (size > SDP_TEXT_MAX)
		return sdp_fail(
			why, ERR_TOO_LARGE, "fragment is larger than %d bytes", SDP_TEXT_MAX);
	for (unsigned number = 1; rest.size; number++) {
		struct sdp_string line = sdp_line(&rest);

		if (!line.size)
			continue;
		if (line.size < 2 || line.at[1] != '=')
			return sdp_fail(
				why, ERR_FORMAT, "line %u is not of the form x=text", number);
		if (line.at[0] != 'a')
			continue;
		line = (struct sdp_string){line.at + 2, line.size - 2};
		if (!take_attribute(frag, &credentials, line))
			return sdp_fail(why, ERR_FORMAT, "line %u: malformed a=mid", number);
	}
	if (!credentials.ufrag.size && !credentials.pwd.size && !frag->candidate_count &&
		!frag->end_of_candidates)
		return sdp_fail(why, ERR_FORMAT, "fragment has neither candidates nor credentials");
	return take_credentials(frag, &credentials, why);
}

bool sdp_frag_is_restart(const struct sdp_frag *frag, const struct ice_credentials *remote)
{
	return frag->has_credentials && !ice_credentials_equal(&frag->credentials, remote);
}

enum err sdp_frag_write(struct writer *w, const struct sdp_plan *plan,
	const struct ice_credentials *local, const struct net_addr *candidates,
	uint8_t candidate_count)
{
	const struct sdp_plan_media *first = &plan->media[0];

	MUST(plan->media_count > 0);
	sdp_print(w, "a=ice-lite\r\n");
	if (plan->bundled) {
		sdp_print(w, "a=group:BUNDLE");
		for (int i = 0; i < plan->media_count; i++)
			sdp_print(w, " %s", plan->media[i].mid);
		sdp_print(w, "\r\n");
	}
	sdp_print(w, "m=%s 9 UDP/TLS/RTP/SAVPF %u\r\n",
		first->kind == MEDIA_AUDIO ? "audio" : "video", first->payload_type);
	if (first->mid[0])
		sdp_print(w, "a=mid:%s\r\n", first->mid);
	sdp_print(w, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", local->ufrag, local->pwd);
	sdp_write_candidates(w, candidates, candidate_count);
	return w->bad ? ERR_NO_SPACE : ERR_OK;
}
