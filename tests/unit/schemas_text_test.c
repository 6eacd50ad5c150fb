/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages as people type them, and what has changed between two values.
 */
#include "schemas/schema.h"
#include "tests/test.h"

#include <stdlib.h>

enum { VALUE_MAX = 65536 };

static uint64_t value[VALUE_MAX / 8], other[VALUE_MAX / 8];
static char pool[8192], json[VALUE_MAX];

static const char *printed(const struct schema *schema, const void *what)
{
	struct writer out = writer_of(json, sizeof(json) - 1);

	CHECK_OK(schema_print_json(schema, what, &out));
	*out.at = 0;
	return json;
}

TEST(words_become_a_message)
{
	static const struct {
		const struct schema *schema;
		const char *words;
		enum err err;
		const char *shows; /* a part of the message as JSON, or of the problem */
	} rows[] = {
	// clang-format off
		{&schema_done, "", ERR_OK, "{}"},
		{&schema_done, " \t ", ERR_OK, "{}"},
		{&schema_done, "x=1", ERR_FORMAT, "done has no fields"},
		{&schema_subscribe, "stream_name=live/demo wait_ms=100 feed=true tracks=3", ERR_OK,
			"\"stream_name\":\"live/demo\",\"wait_ms\":100,\"feed\":true,\"tracks\":3"},
		{&schema_subscribe, "  stream_name=\"with space\"\tfeed=false ", ERR_OK, "\"with space\""},
		{&schema_subscribe, "stream_name=\"a \\\"b\\\" \\\\ c\"", ERR_OK, "a \\\"b\\\" \\\\ c"},
		{&schema_subscribe, "stream_name=", ERR_OK, "\"stream_name\":\"\""},
		{&schema_subscribe, "stream_name=a=b", ERR_OK, "\"a=b\""},
		{&schema_subscribe, "wait_ms=4294967295", ERR_OK, "4294967295"},
		{&schema_subscribe, "wait_ms=4294967296", ERR_FORMAT, "0 to 4294967295"},
		{&schema_subscribe, "wait_ms=-1", ERR_FORMAT, "wait_ms"},
		{&schema_subscribe, "wait_ms=", ERR_FORMAT, "wait_ms"},
		{&schema_subscribe, "wait_ms=1x", ERR_FORMAT, "wait_ms"},
		{&schema_subscribe, "tracks=256", ERR_FORMAT, "0 to 255"},
		{&schema_subscribe, "from_position=18446744073709551615", ERR_OK, "18446744073709551615"},
		{&schema_subscribe, "from_position=18446744073709551616", ERR_FORMAT, "from_position"},
		{&schema_subscribe, "feed=yes", ERR_FORMAT, "true or false"},
		{&schema_subscribe, "nothing=1", ERR_FORMAT, "no field nothing in subscribe: stream_name"},
		{&schema_subscribe, "feed", ERR_FORMAT, "field=value"},
		{&schema_subscribe, "=1", ERR_FORMAT, "no field"},
		{&schema_subscribe, "feed.x=1", ERR_FORMAT, "no members"},
		{&schema_subscribe, "stream_name=\"open", ERR_FORMAT, "quote"},
		{&schema_failed, "err=timeout to=7/1f", ERR_OK, "\"err\":\"timeout\""},
		{&schema_failed, "err=3", ERR_OK, "\"err\":"},
		{&schema_failed, "err=no_such_error", ERR_FORMAT, "a name such as"},
		{&schema_failed, "to=nobody", ERR_FORMAT, "address"},
		{&schema_name_claim, "start_us=-5", ERR_OK, "\"start_us\":-5"},
		{&schema_name_claim, "start_us=5-", ERR_FORMAT, "a number"},
		{&schema_name_claim, "start_us=abc", ERR_FORMAT, "a number"},
		{&schema_store_put, "key=a value=00ff10", ERR_OK, "\"value\":\"00ff10\""},
		{&schema_store_put, "value=0", ERR_FORMAT, "hex"},
		{&schema_store_put, "value=zz", ERR_FORMAT, "hex"},
		{&schema_publish, "tracks.1.codec=OPUS tracks.0.id=4", ERR_OK, "\"codec\":\"OPUS\""},
		{&schema_publish, "tracks.99.codec=OPUS", ERR_FORMAT, "tracks.N.field"},
		{&schema_publish, "tracks.codec=OPUS", ERR_FORMAT, "tracks.N.field"},
		{&schema_publish, "tracks=1", ERR_FORMAT, "tracks.0.id"},
		{&schema_publish, "tracks.0.nothing=1", ERR_FORMAT, "no field nothing in media_track"},
		{&schema_publish, "resume=secret", ERR_OK, "\"resume\":\"***\""},
		{&schema_store_event, "pair.key=name deleted=true", ERR_OK, "\"key\":\"name\""},
		{&schema_console_query, "command=\"actors stream\"", ERR_OK, "\"actors stream\""},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char problem[SCHEMA_PROBLEM_SIZE];
		enum err err =
			schema_parse_words(rows[i].schema, rows[i].words, value, pool, problem);

		if (err != rows[i].err)
			fail_msg("%s: %s (%s)", rows[i].words, err_name(err), problem);
		const char *shown = err ? problem : printed(rows[i].schema, value);
		if (!strstr(shown, rows[i].shows))
			fail_msg("%s: %s", rows[i].words, shown);
	}
}

TEST(words_that_do_not_fit)
{
	char words[5000], problem[SCHEMA_PROBLEM_SIZE];

	snprintf(words, sizeof(words), "stream_name=%0128d", 0);
	CHECK_EQ(schema_parse_words(&schema_subscribe, words, value, pool, problem), ERR_TOO_LARGE);
	snprintf(words, sizeof(words), "stream_name=%0127d", 0);
	CHECK_OK(schema_parse_words(&schema_subscribe, words, value, pool, problem));
	snprintf(words, sizeof(words), "value=%0*d", 2 * STORE_VALUE_MAX + 2, 0);
	CHECK_EQ(schema_parse_words(&schema_store_put, words, value, pool, problem), ERR_TOO_LARGE);
	memset(words + 12, 'x', sizeof(words) - 13);
	words[sizeof(words) - 1] = 0;
	CHECK_EQ(schema_parse_words(&schema_subscribe, words, value, pool, problem), ERR_FORMAT);
}

static const char *changes(const struct schema *schema, size_t field_max, uint32_t *count)
{
	struct writer out = writer_of(json, sizeof(json) - 1);

	*count = schema_print_changes(schema, other, value, field_max, &out);
	CHECK(!out.bad);
	*out.at = 0;
	return json;
}

TEST(changes_between_two_values)
{
	char problem[SCHEMA_PROBLEM_SIZE];
	uint32_t count;

	memset(other, 0, sizeof(other));
	memset(value, 0, sizeof(value));
	CHECK_STR(changes(&schema_publish, 1000, &count), "{}");
	CHECK_EQ(count, 0);
	CHECK_OK(schema_parse_words(&schema_publish,
		"protocol=whip resume=hidden tracks.0.id=1 tracks.1.id=2", value, pool, problem));
	const char *text = changes(&schema_publish, 10000, &count);
	CHECK_EQ(count, 3);
	CHECK(strstr(text, "\"protocol\":\"whip\""));
	CHECK(strstr(text, "\"resume\":\"***\"") && !strstr(text, "hidden"));
	CHECK(strstr(text, "\"tracks\":[{"));
	/* a list as long as before: the item that changed, and of it what changed */
	memcpy(other, value, sizeof(other));
	struct msg_publish *publish = (void *)value;
	publish->tracks[1].width = 640;
	CHECK_STR(changes(&schema_publish, 1000, &count), "{\"tracks\":{\"1\":{\"width\":640}}}");
	CHECK_EQ(count, 1);
	CHECK_STR(changes(&schema_publish, 8, &count), "{\"tracks\":\"(large)\"}");
}
