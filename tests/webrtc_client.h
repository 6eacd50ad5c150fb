/* SPDX-License-Identifier: Apache-2.0
 *
 * What every WebRTC client of the tests says: its offer, its connectivity check, and how it reads an
 * answer. The unit tests' client (tests/unit/webrtc_worker.h) and the simulator's use it.
 */
#ifndef MILLRACE_WEBRTC_CLIENT_H
#define MILLRACE_WEBRTC_CLIENT_H

#include "actors/webrtc/fingerprint.h"
#include "actors/webrtc/stun.h"

#include <stdio.h>
#include <string.h>

enum {
	WEBRTC_CLIENT_VIDEO = 96, /* payload types */
	WEBRTC_CLIENT_VIDEO_RTX = 97,
	WEBRTC_CLIENT_AUDIO = 111,
	WEBRTC_CLIENT_EXT_SEND_TIME = 2, /* extension ids */
	WEBRTC_CLIENT_EXT_TRANSPORT = 3,
};

struct webrtc_client_offer {
	bool play;
	const char *codec; /* of the picture */
	const char *setup; /* "actpass" … */
	const char *ufrag, *pwd;
	const struct fingerprint *fingerprint;
	bool rtx;
	bool extensions;			   /* transport-wide numbers and their feedback */
	uint32_t video_ssrc, rtx_ssrc, audio_ssrc; /* publisher: 0 = not said */
};

/* Returns the offer's size; `size` bytes of room, 4096 are plenty. */
static inline size_t webrtc_client_offer(
	char *out, size_t size, const struct webrtc_client_offer *offer)
{
	static const char transport[] =
		"a=extmap:3 http://www.ietf.org/id/"
		"draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n"
		"a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n";
	const char *direction = offer->play ? "recvonly" : "sendonly";
	char text[FINGERPRINT_TEXT_MAX], ssrcs[160] = "", audio[64] = "";

	const char *fmtp = strcmp(offer->codec, "H264")
				   ? ""
				   : "a=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\n";

	fingerprint_print(offer->fingerprint, text);
	if (offer->video_ssrc && offer->rtx)
		snprintf(ssrcs, sizeof(ssrcs),
			"a=ssrc-group:FID %u %u\r\na=ssrc:%u cname:c\r\na=ssrc:%u cname:c\r\n",
			offer->video_ssrc, offer->rtx_ssrc, offer->video_ssrc, offer->rtx_ssrc);
	else if (offer->video_ssrc)
		snprintf(ssrcs, sizeof(ssrcs), "a=ssrc:%u cname:c\r\n", offer->video_ssrc);
	if (offer->audio_ssrc)
		snprintf(audio, sizeof(audio), "a=ssrc:%u cname:c\r\n", offer->audio_ssrc);
	int used = snprintf(out, size,
		"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n"
		"a=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=fingerprint:%s\r\na=setup:%s\r\n"
		"m=video 9 UDP/TLS/RTP/SAVPF 96%s\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n"
		"a=rtcp-mux\r\na=%s\r\na=rtpmap:96 %s/90000\r\n%sa=rtcp-fb:96 nack\r\n"
		"a=rtcp-fb:96 nack pli\r\n%s%s%s%s"
		"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=rtcp-mux\r\n"
		"a=%s\r\na=rtpmap:111 opus/48000/2\r\n%s%s%s",
		offer->ufrag, offer->pwd, text, offer->setup, offer->rtx ? " 97" : "", direction,
		offer->codec, fmtp,
		offer->rtx ? "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n" : "",
		offer->extensions ? "a=rtcp-fb:96 transport-cc\r\n" : "",
		offer->extensions ? transport : "", ssrcs, direction,
		offer->extensions ? "a=rtcp-fb:111 transport-cc\r\n" : "",
		offer->extensions ? transport : "", audio);

	return used > 0 && (size_t)used < size ? (size_t)used : 0;
}

/* The rest of the first line that has `name` in it ("a=ice-pwd:"); false when there is none. */
static inline bool webrtc_client_value(const char *sdp, const char *name, char *value, size_t size)
{
	const char *at = strstr(sdp, name);

	if (!at)
		return false;
	at += strlen(name);
	snprintf(value, size, "%.*s", (int)strcspn(at, "\r\n"), at);
	return true;
}

/* A check that nominates, from the client with `own` ufrag; ERR_NO_SPACE. */
static inline enum err webrtc_client_check(struct writer *w, const char *ufrag, const char *pwd,
	const char *own, const uint8_t transaction[STUN_TRANSACTION_SIZE])
{
	char user[160];
	int size = snprintf(user, sizeof(user), "%s:%s", ufrag, own);

	stun_begin(w, STUN_REQUEST, transaction);
	stun_add_username(w, user, (size_t)size);
	stun_add_priority(w, 1);
	stun_add_use_candidate(w);
	stun_add_role(w, true, 99);
	return stun_finish(w, pwd);
}

#endif
