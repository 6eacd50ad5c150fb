/* SPDX-License-Identifier: Apache-2.0
 *
 * The load generator's pure parts: its command line, its URLs, its percentiles, exit status and
 * documents, the FLV probe.
 */
#include "actors/client/flv_probe.h"
#include "actors/client/load_report.h"
#include "tests/test.h"

#include <jansson.h>
#include <stdlib.h>

enum { WORDS_MAX = 8 };

static enum err read_words(struct load_options *o, const char *const words[WORDS_MAX], char *why)
{
	int count = 0;

	while (count < WORDS_MAX && words[count])
		count++;
	return load_options_read(o, count, (char *const *)(uintptr_t)words, why);
}

TEST(command_lines_that_are_right)
{
	static const struct {
		const char *words[WORDS_MAX];
		enum load_kind kind;
		uint32_t count, ramp, duration_s, rate_bps;
	} rows[] = {
		{{"whep", "http://h/x"},					 LOAD_WHEP, 1,   50, 0,    1000000},
		{{"whip", "https://h/x", "--rate", "2.5M"},		    LOAD_WHIP, 1,	  50, 0,	 2500000},
		{{"whip", "--rate=64k", "https://h/x"},			LOAD_WHIP, 1,   50, 0,    64000  },
		{{"flv", "http://h/x.flv", "--count", "500", "--ramp=10"}, LOAD_FLV,  500, 10, 0,
			1000000										    },
		{{"rtmp", "rtmp://h/a/b", "--duration", "90"},	       LOAD_RTMP, 1,   50, 90,   1000000},
		{{"rtmp", "rtmp://h:1/a/b?x=1", "--duration", "5m"},	     LOAD_RTMP, 1,   50, 300,
			1000000										    },
		{{"rtmp", "rtmp://h/a/b", "--play", "--duration=1.5h"},	LOAD_RTMP, 1,   50, 5400,
			1000000										    },
		{{"rtmp", "rtmps://h:1936/a/b", "--insecure"},	       LOAD_RTMP, 1,   50, 0,    1000000},
	};
	struct load_options o;
	char why[LOAD_WHY_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_OK(read_words(&o, rows[i].words, why));
		CHECK_STR(why, "");
		CHECK_EQ(o.kind, rows[i].kind);
		CHECK_EQ(o.count, rows[i].count);
		CHECK_EQ(o.ramp, rows[i].ramp);
		CHECK_EQ(o.duration_s, rows[i].duration_s);
		CHECK_EQ(o.rate_bps, rows[i].rate_bps);
	}
	CHECK_OK(read_words(&o, (const char *const[WORDS_MAX]){"--help"}, why));
	CHECK(o.help);
}

TEST(command_lines_that_are_wrong_say_why)
{
	static const struct {
		const char *words[WORDS_MAX];
		const char *why;
	} rows[] = {
		{{NULL},				     "expected whip, whep, rtmp or flv"},
		{{"http://h/x"},				 "got \"http://h/x\""		     },
		{{"whep"},				   "expected an URL"		    },
		{{"whep", "ftp://h/x"},			"http:// or https://"	     },
		{{"whep", "http://"},			      "http:// or https://"		   },
		{{"whep", "http:///x"},			"http:// or https://"	     },
		{{"whep", "http://h/a b"},		   "http:// or https://"		},
		{{"rtmp", "rtmp://h/a"},			 "rtmps://HOST/APP/STREAM"	  },
		{{"rtmp", "rtmp://h//a"},			  "rtmps://HOST/APP/STREAM"	   },
		{{"rtmp", "rtmps://h/a"},			  "rtmps://HOST/APP/STREAM"	   },
		{{"whep", "rtmps://h/a/b"},		    "http:// or https://"		 },
		{{"rtmp", "http://h/a/b"},		   "rtmps://HOST/APP/STREAM"	    },
		{{"whep", "http://h/x", "http://h/y"},       "unexpected \"http://h/y\""	  },
		{{"whep", "http://h/x", "--count"},	    "--count needs a value"	   },
		{{"whep", "http://h/x", "--count", "0"},	 "1 to 10000"			     },
		{{"whep", "http://h/x", "--count", "10001"}, "1 to 10000"			 },
		{{"whep", "http://h/x", "--count", "1.5"},   "1 to 10000"		       },
		{{"whep", "http://h/x", "--count", "nan"},   "1 to 10000"		       },
		{{"whep", "http://h/x", "--ramp", "-1"},	 "--ramp"				 },
		{{"whep", "http://h/x", "--duration", "0"},  "--duration"			},
		{{"whep", "http://h/x", "--duration", "5d"}, "--duration"			 },
		{{"whip", "http://h/x", "--rate", "1k"},	 "64k to 50M"			     },
		{{"whip", "http://h/x", "--rate", "inf"},	  "64k to 50M"		      },
		{{"whip", "http://h/x", "--token", ""},	"--token: expected a token"	   },
		{{"whip", "http://h/x", "--play"},	   "--play goes with rtmp"		  },
		{{"whip", "http://h/x", "--json=1"},	     "unknown flag --json"		  },
		{{"whip", "http://h/x", "-c"},	       "unknown flag -c"			},
	};
	struct load_options o;
	char why[LOAD_WHY_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_EQ(read_words(&o, rows[i].words, why), ERR_CONFIG);
		CHECK(strstr(why, rows[i].why));
	}
	CHECK_EQ(read_words(&o,
			 (const char *const[WORDS_MAX]){"whip", "http://h/x", "--token", "se cret"},
			 why),
		ERR_CONFIG);
	CHECK(!strstr(why, "se cret"));
}

TEST(urls_of_sessions)
{
	static const struct {
		enum load_kind kind;
		uint32_t count;
		const char *url, *expected; /* of session 7 */
	} rows[] = {
		{LOAD_WHEP, 9, "http://h/a",	     "http://h/a"	 },
		{LOAD_WHEP, 9, "http://h/a{n}b",	 "http://h/a7b"    },
		{LOAD_WHIP, 9, "http://h/a",	     "http://h/a-7"	   },
		{LOAD_WHIP, 9, "http://h/a?x=1",	 "http://h/a-7?x=1"},
		{LOAD_WHIP, 9, "http://h/{n}?x=1", "http://h/7?x=1"  },
		{LOAD_WHIP, 1, "http://h/a",	     "http://h/a"	 },
		{LOAD_RTMP, 9, "rtmp://h/a/b",     "rtmp://h/a/b-7"  },
	};
	char url[64], small[8];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct load_options o = {
			.kind = rows[i].kind, .count = rows[i].count, .url = rows[i].url};

		CHECK_OK(load_url(&o, 7, url, sizeof(url)));
		CHECK_STR(url, rows[i].expected);
		CHECK_EQ(load_url(&o, 7, small, sizeof(small)), ERR_TOO_LARGE);
	}
}

/* ---- report ---------------------------------------------------------------------------------- */

static struct client_figures figures[100];
static struct load_options options;
static struct load_result result;

static void begin(uint32_t count)
{
	memset(figures, 0, sizeof(figures));
	options = (struct load_options){.kind = LOAD_WHEP, .count = count, .url = "http://h/x"};
	result = (struct load_result){
		.options = &options, .figures = figures, .ended_us = 2000000, .cpu_us = 500000};
	for (uint32_t i = 0; i < count; i++)
		figures[i] = (struct client_figures){.phase = CLIENT_ENDED,
			.answered = true,
			.setup_us = (count - i) * 1000, /* 1 … count ms, not in order */
			.connected_us = 5000,
			.packets = 10,
			.bytes = 1000,
			.expected = 10};
}

TEST(percentiles_are_nearest_ranks)
{
	static const struct {
		uint32_t count;
		double p50, p95, p99, max;
	} rows[] = {
		{1,   1,  1,  1,  1  },
		 {2,   1,	2,  2,  2  },
		  {20,  10, 19, 20, 20 },
		{100, 50, 95, 99, 100}
	      };
	struct load_summary s;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin(rows[i].count);
		CHECK_OK(load_summarise(&result, &s));
		CHECK_EQ(s.setup_ms.count, rows[i].count);
		CHECK(s.setup_ms.p50 == rows[i].p50 && s.setup_ms.p95 == rows[i].p95);
		CHECK(s.setup_ms.p99 == rows[i].p99 && s.setup_ms.max == rows[i].max);
		CHECK_EQ(s.first_keyframe_ms.count, 0); /* nobody has seen one */
		CHECK(s.rate_bps == rows[i].count * 1000 * 8 / 2.0);
	}
}

TEST(exit_status)
{
	static const struct {
		struct client_figures figures; /* of one of three sessions */
		int status;
	} rows[] = {
		{{.phase = CLIENT_ENDED, .connected_us = 1, .answered = true},		       0},
		{{.phase = CLIENT_UP, .connected_us = 1, .answered = true},			    0},
		{{.phase = CLIENT_FAILED, .err = ERR_DEAD},					    1},
		{{.phase = CLIENT_FAILED, .err = ERR_IO, .status = 404, .answered = true},	   1},
		{{.phase = CLIENT_ENDED, .connected_us = 1, .answered = true, .reconnects = 1}, 1},
		{{.phase = CLIENT_WAITING, .connected_us = 1, .answered = true},		 1},
		{{.phase = CLIENT_IDLE},							1}, /* never begun */
	};
	struct load_summary s;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin(3);
		figures[1] = rows[i].figures;
		CHECK_OK(load_summarise(&result, &s));
		CHECK_EQ(load_status(&s), rows[i].status);
	}
	begin(3);
	for (int i = 0; i < 3; i++)
		figures[i] = (struct client_figures){.phase = CLIENT_FAILED, .err = ERR_DEAD};
	CHECK_OK(load_summarise(&result, &s));
	CHECK_EQ(load_status(&s), 3);
	CHECK_EQ(s.failed, 3);
	CHECK_EQ(s.reason_count, 1);
	CHECK_EQ(s.reasons[0].count, 3);
}

TEST(documents)
{
	struct load_summary s;
	char *text, line[256];

	begin(20);
	figures[3] = (struct client_figures){.phase = CLIENT_FAILED,
		.err = ERR_IO,
		.status = 409,
		.answered = true,
		.text = "nobody \"publishes\" this"};
	for (int i = 4; i < 20; i++) /* more reasons than are told */
		snprintf(figures[i].text, sizeof(figures[i].text), "reason %d", i),
			figures[i].err = ERR_IO;
	CHECK_OK(load_summarise(&result, &s));
	CHECK_EQ(s.reason_count, LOAD_REASONS_MAX);
	CHECK_OK(load_report_text(&result, &s, &text));
	CHECK(strstr(text, "19 of 20 connected, 1 failed"));
	CHECK(strstr(text, "1 x HTTP 409: nobody \"publishes\" this"));
	free(text);
	CHECK_OK(load_report_json(&result, &s, &text));
	json_t *root = json_loads(text, 0, NULL);

	CHECK(root);
	CHECK_EQ(json_integer_value(json_object_get(json_object_get(root, "sessions"), "failed")),
		1);
	CHECK_EQ(json_array_size(json_object_get(root, "errors")), LOAD_REASONS_MAX);
	CHECK(json_number_value(json_object_get(json_object_get(root, "setup_ms"), "p50")) > 0);
	json_decref(root);
	free(text);
	load_progress(&s, line, sizeof(line));
	CHECK(strstr(line, "of 20 up, 1 failed"));
	test_fail_allocation(1);
	CHECK_EQ(load_summarise(&result, &s), ERR_NO_MEMORY);
	test_fail_allocation(0);
}

/* ---- FLV ------------------------------------------------------------------------------------- */

static size_t put_tag(
	uint8_t *at, enum flv_tag_type type, uint32_t ms, const uint8_t *body, size_t size)
{
	struct flv_tag tag;
	size_t used;

	flv_tag_make(&tag, type, ms, NULL, 0, size);
	memcpy(at, tag.head, tag.head_size);
	used = tag.head_size;
	memcpy(at + used, body, size);
	used += size;
	memcpy(at + used, tag.tail, sizeof(tag.tail));
	return used + sizeof(tag.tail);
}

TEST(the_probe_finds_tags_however_they_are_cut)
{
	static const uint8_t config[] = {0x17, 0, 0, 0, 0, 1, 2, 3};
	static const uint8_t key[300] = {0x17, 1, 0, 0, 0, 9};
	static const uint8_t delta[] = {0x27, 1, 0, 0, 0};
	static const uint8_t sound[] = {0xaf, 1};
	static uint8_t bytes[2000];
	size_t size = FLV_FILE_HEADER_SIZE;

	flv_file_header(bytes, true, true);
	size += put_tag(bytes + size, FLV_SCRIPT, 0, sound, 0);
	size += put_tag(bytes + size, FLV_VIDEO, 0, config, sizeof(config));
	size += put_tag(bytes + size, FLV_VIDEO, 0x1234567, key, sizeof(key));
	size += put_tag(bytes + size, FLV_AUDIO, 5, sound, sizeof(sound));
	size += put_tag(bytes + size, FLV_VIDEO, 40, delta, sizeof(delta));
	for (size_t piece = 1; piece <= size; piece++) {
		struct flv_probe probe = {0};
		struct flv_probe_tag tags[8];
		size_t count = 0;

		for (size_t at = 0; at < size; at += piece) {
			struct reader in =
				reader_of(bytes + at, piece < size - at ? piece : size - at);

			while (!flv_probe_take(&probe, &in, &tags[count]))
				count++;
			CHECK_EQ(reader_left(&in), 0);
		}
		CHECK_EQ(count, 5);
		CHECK(!tags[0].frame && !tags[1].frame);
		CHECK(tags[2].frame && tags[2].keyframe && tags[2].time_ms == 0x1234567);
		CHECK(tags[3].frame && !tags[3].keyframe && tags[3].type == FLV_AUDIO);
		CHECK(tags[4].frame && !tags[4].keyframe && tags[4].time_ms == 40);
		CHECK_EQ(tags[2].size, sizeof(key) + 15);
	}
}

TEST(what_is_no_flv_is_said_to_be_none)
{
	uint8_t bytes[64] = "<html> this is not what you are looking for </html>";
	struct flv_probe probe = {0};
	struct flv_probe_tag tag;
	struct reader in = reader_of(bytes, sizeof(bytes));

	CHECK_EQ(flv_probe_take(&probe, &in, &tag), ERR_FORMAT);
	flv_file_header(bytes, true, true);
	memset(bytes + FLV_FILE_HEADER_SIZE, 0xff, sizeof(bytes) - FLV_FILE_HEADER_SIZE);
	probe = (struct flv_probe){0};
	in = reader_of(bytes, sizeof(bytes)); /* an encrypted tag */
	CHECK_EQ(flv_probe_take(&probe, &in, &tag), ERR_FORMAT);
}
