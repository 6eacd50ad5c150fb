/* SPDX-License-Identifier: Apache-2.0
 *
 * What the console says of what it has gathered: why, paths, pages of lists. Pure functions of JSON.
 */
#include "cluster/console_view.h"
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

static json_t *parsed(const char *text)
{
	json_error_t error;
	json_t *document = json_loads(text, 0, &error);

	if (!document)
		fail_msg("%s: %s", text, error.text);
	return document;
}

/* All of a list's texts, or of its members' "what". */
static bool says(const json_t *list, const char *part)
{
	json_t *item;
	size_t i;

	json_array_foreach((json_t *)list, i, item)
	{
		const char *text = json_string_value(
			json_is_object(item) ? json_object_get(item, "what") : item);

		if (text && strstr(text, part))
			return true;
	}
	return false;
}

TEST(why)
{
	static const struct {
		const char *subject, *stream; /* as `inspect` shows them; stream NULL = none */
		const char *waits, *drops,
			*notes; /* a part; NULL = nothing at all, "" = not looked at */
	} rows[] = {
	// clang-format off
		{"{'type':'session','state_name':'starting','state':{'play':true,'stream_name':'live/x'}}", NULL,
			"publisher: nobody publishes live/x", NULL, NULL},
		{"{'type':'session','state_name':'starting','state':{'play':false,'stream_name':'live/x'}}", NULL,
			"stream: whether live/x may be published", NULL, NULL},
		{"{'type':'session','state_name':'connecting','state':{'stun_checks':0,'remote':''}}", NULL,
			"ICE: no connectivity check", NULL, NULL},
		{"{'type':'session','state_name':'connecting','state':{'stun_checks':3,'remote':''}}", NULL,
			"ICE: 3 checks", NULL, NULL},
		{"{'type':'session','state_name':'connecting','state':{'stun_checks':3,'remote':'1.2.3.4:5'}}", NULL,
			"DTLS: the handshake with 1.2.3.4:5", NULL, NULL},
		{"{'type':'session','state_name':'up','state':{'play':true,'tracks':[{'codec':'VP8','packets':0}]}}", NULL,
			"keyframe: nothing of the VP8 track", NULL, "plays"},
		{"{'type':'session','state_name':'up','state':{'play':true,'tracks':[{'codec':'VP8','packets':5,'late':2}],'dropped_slow':7}}",
			NULL, NULL, "takes less than the stream", "plays"},
		{"{'type':'session','state_name':'up','state':{'play':true,'tracks':[{'packets':5,'stopped':true}]}}", NULL,
			"codec: ", NULL, "plays"},
		{"{'type':'session','state_name':'up','state':{'play':false,'remote':'r','tracks':[{'codec':'VP8','packets':0}]}}", NULL,
			"media: no packet of the VP8", NULL, "publishes"},
		{"{'type':'session','state_name':'up','state':{'play':true,'tracks':[]}}",
			"{'state_name':'orphaned','state':{'name':'live/x'}}", "publisher: nobody publishes live/x", NULL, "plays"},
		{"{'type':'session','state_name':'up','state':{'play':true,'tracks':[]}}",
			"{'state_name':'live','state':{'name':'live/x','transcode_wanted':'OPUS','transcoder':'0/0'}}",
			"transcoder: no helper makes the OPUS", NULL, "plays"},
		{"{'type':'stream','state_name':'live','state':{'name':'live/x','transcode_wanted':'OPUS','transcoder':'1/2'}}", NULL,
			NULL, NULL, "the origin"},
		{"{'type':'stream','state_name':'live','state':{'name':'live/x','maps':[{'wants_keyframe':true,'last_seq':9}]}}", NULL,
			"keyframe: track 0 of live/x", NULL, "the origin"},
		{"{'type':'stream','state_name':'live','state':{'replica':true,'source_live':false,'holes':4}}", NULL,
			"publisher: ", "positions that never came", "a copy"},
		{"{'type':'stream','state_name':'claiming','state':{}}", NULL, "directory: ", NULL, ""},
		{"{'type':'stream','state_name':'joining','state':{}}", NULL, "origin: ", NULL, ""},
		{"{'type':'rtmp_session','state_name':'connected','state':{}}", NULL, "client: ", NULL, NULL},
		{"{'type':'rtmp_session','state_name':'publishing','state':{'dropped_codec':1}}", NULL, "media: ", "a codec that is not", "publishes"},
		{"{'type':'flv_mux','state_name':'waiting','state':{'viewers':[]}}", NULL, "keyframe: ", NULL, "0 viewers"},
		{"{'type':'http_connection','state_name':'streaming','state':{'tags_dropped':2}}", NULL, NULL, "more slowly", "plays"},
		{"{'type':'transcoder','state_name':'running','state':{'frames_in':1}}", NULL, NULL, NULL, "1 frames in"},
		{"{'type':'rtc_port','state_name':'','state':{'closed':true,'unknown_rtp':3}}", NULL, NULL, "RTP packets of no session", "drains"},
		{"{'type':'unheard_of','state_name':'','mailbox':3,'refused':2,'state':{'dropped_by_rain':4,'dropped':'x'}}", NULL,
			NULL, "dropped by rain", "3 mails wait"},
		{"{'type':'unheard_of','state_name':'','state':{}}", NULL, NULL, NULL, NULL},
		{"{}", NULL, NULL, NULL, NULL},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[2][1000] = {"", ""};
		struct console_reply reply = {0};

		for (int k = 0; k < 2; k++) {
			const char *from = k ? rows[i].stream : rows[i].subject;

			snprintf(text[k], sizeof(text[k]), "%s", from ? from : "null");
			for (char *at = text[k]; *at; at++)
				*at = *at == '\'' ? '"' : *at;
		}
		reply.subject = parsed(text[0]);
		reply.document = rows[i].stream ? parsed(text[1]) : NULL;
		json_t *why = console_view_why(&reply);
		const struct {
			const char *list, *part;
		} looks[] = {
			{"waits", rows[i].waits},
			  {"drops", rows[i].drops},
			{"notes", rows[i].notes}
		};

		for (int k = 0; k < 3; k++) {
			const json_t *list = json_object_get(why, looks[k].list);

			if (looks[k].part ? *looks[k].part && !says(list, looks[k].part)
					  : json_array_size(list) != 0)
				fail_msg("%s: %s is %s", rows[i].subject, looks[k].list,
					json_dumps(list, 0));
		}
		json_decref(why);
		json_decref(reply.subject);
		json_decref(reply.document);
	}
}

TEST(paths)
{
	struct console_reply reply = {
		.rows = parsed(
			"[{\"addr\":\"1/1\",\"type\":\"stream\",\"upstream\":\"1/9\"},"
			"{\"addr\":\"1/2\",\"type\":\"stream\",\"replica\":true,\"upstream\":\"1/"
			"1\"},"
			"{\"addr\":\"1/3\",\"type\":\"session\",\"upstream\":\"1/2\"},"
			"{\"addr\":\"1/4\",\"type\":\"flv_mux\",\"upstream\":\"1/1\"},"
			"{\"addr\":\"1/5\",\"type\":\"http_connection\",\"upstream\":\"1/4\"},"
			"{\"addr\":\"1/9\",\"type\":\"session\",\"upstream\":\"1/1\"},"
			"{\"addr\":\"1/7\",\"type\":\"http_connection\",\"state\":\"open\","
			"\"upstream\":\"0/0\"},"
			"{\"addr\":\"1/6\",\"type\":\"session\",\"upstream\":\"0/0\"},"
			"{\"addr\":\"1/8\",\"type\":\"http_connection\",\"state\":\"asking\","
			"\"upstream\":\"0/0\"}]")};
	json_t *result = console_view_paths(&reply);
	char *text = json_dumps(result, JSON_COMPACT);

	CHECK_EQ(json_array_size(result), 3); /* 1/7 waits for nothing */
	json_t *root = json_array_get(result, 0);
	CHECK_STR(json_string_value(json_object_get(root, "part")), "publisher");
	CHECK_STR(json_string_value(json_object_get(root, "addr")), "1/9");
	json_t *origin = json_array_get(json_object_get(root, "children"), 0);
	CHECK_STR(json_string_value(json_object_get(origin, "part")), "origin");
	CHECK_EQ(json_array_size(json_object_get(origin, "children")), 2); /* the copy, the muxer */
	CHECK(strstr(text, "\"part\":\"copy\"") && strstr(text, "\"part\":\"muxer\""));
	CHECK_STR(json_string_value(json_object_get(json_array_get(result, 1), "part")), "waiting");
	CHECK_STR(json_string_value(json_object_get(json_array_get(result, 2), "addr")), "1/8");
	free(text);
	json_decref(result);
	json_decref(reply.rows);
}

/* Rows come from running actors: two that name each other end all the same, each told once. */
TEST(paths_in_a_circle)
{
	struct console_reply reply = {
		.rows = parsed("[{\"addr\":\"1/"
			       "1\",\"type\":\"stream\",\"replica\":true,\"upstream\":\"1/2\"},"
			       "{\"addr\":\"1/"
			       "2\",\"type\":\"stream\",\"replica\":true,\"upstream\":\"1/1\"},"
			       "{\"addr\":\"1/3\",\"type\":\"stream\",\"upstream\":\"1/3\"}]")};
	json_t *result = console_view_paths(&reply);

	CHECK_EQ(json_array_size(result), 2);
	json_decref(result);
	json_decref(reply.rows);
}

static json_t *row_list(const char *ids)
{
	json_t *rows = json_array();

	for (; *ids; ids++) {
		char text[16];

		snprintf(text, sizeof(text), "1/%c", *ids);
		json_array_append_new(rows, json_pack("{s:s}", "addr", text));
	}
	return rows;
}

TEST(pages_of_a_list)
{
	static const struct {
		const char *have;
		uint32_t limit;
		const char *ends[3];  /* "next" of the processes */
		const char *left_out; /* rows of one that found no room */
		const char *kept;
		const char *next; /* NULL = that was all */
	} rows[] = {
	// clang-format off
		{"", 0, {NULL}, "", "", NULL},
		{"135", 0, {NULL}, "", "135", NULL},
		{"315", 0, {NULL}, "", "135", NULL},
		{"315", 2, {NULL}, "", "13", "1/3"},
		{"315", 3, {NULL}, "", "135", NULL},
		{"135246", 0, {"1/5", NULL}, "", "12345", "1/5"}, /* the first goes on behind 5 */
		{"135246", 0, {"1/5", "1/4"}, "", "1234", "1/4"},
		{"135246", 3, {"1/5", "1/4"}, "", "123", "1/3"},
		{"135", 0, {NULL}, "468", "13", "1/3"}, /* of the other nothing is shown */
		{"567", 0, {NULL}, "123", "", NULL},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct console_page page = {.limit = rows[i].limit};
		json_t *have = row_list(rows[i].have), *left_out = row_list(rows[i].left_out);
		char kept[16] = "";

		for (int k = 0; k < 3; k++) {
			json_t *next = rows[i].ends[k] ? json_string(rows[i].ends[k]) : json_null();

			console_page_ends_at(&page, next);
			json_decref(next);
		}
		console_page_left_out(&page, left_out);
		json_t *cut = console_page_cut(&page, have);
		for (size_t k = 0; k < json_array_size(cut); k++)
			kept[k] = json_string_value(
				json_object_get(json_array_get(cut, k), "addr"))[2];
		CHECK_STR(kept, rows[i].kept);
		CHECK(!page.next == !rows[i].next);
		if (page.next)
			CHECK_STR(json_string_value(page.next), rows[i].next);
		json_decref(cut);
		json_decref(have);
		json_decref(left_out);
		json_decref(page.next);
	}
}
