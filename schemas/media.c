/* SPDX-License-Identifier: Apache-2.0 */
#include "schemas/media.h"

#include <strings.h>

static const struct {
	const char *name;
	const char *sdp;
	enum media_kind kind;
} codec_rows[] = {
	{"none", "none", 0},
#define X(name, sdp, kind) {#name, sdp, kind},
	MEDIA_CODEC_TABLE(X)
#undef X
};

const char *media_codec_name(enum media_codec codec)
{
	return (unsigned)codec < MEDIA_CODEC_COUNT ? codec_rows[codec].name : "none";
}

enum media_codec media_codec_from_name(const char *name)
{
	for (int i = 1; i < MEDIA_CODEC_COUNT; i++)
		if (!strcasecmp(name, codec_rows[i].name) || !strcasecmp(name, codec_rows[i].sdp))
			return (enum media_codec)i;
	return MEDIA_CODEC_NONE;
}

enum media_kind media_codec_kind(enum media_codec codec)
{
	return (unsigned)codec < MEDIA_CODEC_COUNT ? codec_rows[codec].kind : 0;
}
