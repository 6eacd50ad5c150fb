/* SPDX-License-Identifier: Apache-2.0 */
#include "schemas/err.h"
#include "schemas/media.h"
#include "tests/test.h"

TEST(err_texts_are_total)
{
	CHECK_STR(err_name(ERR_NOT_FOUND), "not_found");
	CHECK_EQ(err_http_status(ERR_AUTH), 401);
	CHECK_STR(err_text((enum err)9999), "unknown error");
	for (int i = 0; i < ERR_COUNT; i++)
		CHECK(err_name(i)[0] >= 'a' && err_name(i)[0] <= 'z');
}

TEST(codec_names_round_trip)
{
	for (int i = 1; i < MEDIA_CODEC_COUNT; i++)
		CHECK_EQ(media_codec_from_name(media_codec_name(i)), i);
	CHECK_EQ(media_codec_from_name("h264"), MEDIA_H264);
	CHECK_EQ(media_codec_from_name("PCMU"), MEDIA_CODEC_NONE);
}
