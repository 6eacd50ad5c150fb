/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/log.h"
#include "tests/test.h"

#include <jansson.h>
#include <math.h>

struct capture {
	int64_t now_us;
	bool refuse;
	size_t lines;
	char last[LOG_LINE_MAX + 1];
};

static int64_t capture_now(void *context)
{
	return ((struct capture *)context)->now_us;
}

static bool capture_write(void *context, const char *line, size_t size)
{
	struct capture *capture = context;

	CHECK_LE(size, LOG_LINE_MAX);
	CHECK_EQ(line[size - 1], '\n');
	if (capture->refuse)
		return false;
	memcpy(capture->last, line, size);
	capture->last[size] = '\0';
	capture->lines++;
	return true;
}

static void log_to(struct log *log, struct capture *capture, enum log_format format)
{
	*capture = (struct capture){.now_us = 1700000000123456};
	log_init(log, "media.0", LOG_LEVEL_INFO, format,
		&(struct log_sink){capture_now, capture_write, capture});
}

#define HEAD "2023-11-14T22:13:20.123456Z info  media.0 "
#define JSON_HEAD \
	"{\"time\":\"2023-11-14T22:13:20.123456Z\",\"level\":\"info\",\"process\":\"media.0\","

TEST(lines_have_one_form)
{
	static const struct {
		struct log_field field;
		const char *text;
		const char *json;
	} rows[] = {
		{{"n", LOG_I64, {.i64 = INT64_MIN}},	     "-9223372036854775808",	     NULL		 },
		{{"n", LOG_U64, {.u64 = UINT64_MAX}},	      "18446744073709551615",      NULL		  },
		{{"n", LOG_F64, {.f64 = 0.25}},			"0.25",			NULL	    },
		{{"n", LOG_F64, {.f64 = NAN}},		       "null",		       NULL	   },
		{{"n", LOG_F64, {.f64 = -INFINITY}},	     "null",			     NULL		 },
		{{"n", LOG_F64, {.f64 = 1e300}},		 "1e+300",			   NULL	       },
		{{"n", LOG_BOOL, {.u64 = 1}},		      "true",		      NULL		  },
		{{"n", LOG_STRING, {.string = "live/demo"}},    "live/demo",		  "\"live/demo\""},
		{{"n", LOG_STRING, {.string = NULL}},	      "null",		      NULL		  },
		{{"n", LOG_STRING, {.string = ""}},		    "\"\"",			    NULL		},
		{{"n", LOG_STRING, {.string = "a b"}},	       "\"a b\"",			  NULL	      },
		{{"n", LOG_STRING, {.string = "a\"b\\"}},	  "\"a\\\"b\\\\\"",	    NULL		},
		{{"n", LOG_STRING, {.string = "x\ny\x01"}},	    "\"x\\u000ay\\u0001\"",	    NULL		},
		{{"n", LOG_STRING, {.string = "\xc3\xa9"}},	    "\"\xc3\xa9\"",		    NULL		},
		{{"n", LOG_STRING, {.string = "\xed\xa0\x80"}}, "\"\\u00ed\\u00a0\\u0080\"", NULL		 },
		{{"n", LOG_STRING, {.string = "\xf0\x9f"}},	    "\"\\u00f0\\u009f\"",	  NULL	      },
		{{"n", LOG_STRING, {.string = "a=b"}},	       "\"a=b\"",			  NULL	      },
		{{"n", LOG_STRING, {.string = "\x1b[31m"}},	    "\"\\u001b[31m\"",	       NULL	   },
	};
	char line[LOG_LINE_MAX + 1], expected[LOG_LINE_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *json = rows[i].json ? rows[i].json : rows[i].text;
		size_t size = log_format_line(line, LOG_FORMAT_TEXT, 1700000000123456, "media.0",
			LOG_LEVEL_INFO, "it", &rows[i].field, 1);

		line[size] = '\0';
		snprintf(expected, sizeof(expected), HEAD "it n=%s\n", rows[i].text);
		CHECK_STR(line, expected);
		size = log_format_line(line, LOG_FORMAT_JSON, 1700000000123456, "media.0",
			LOG_LEVEL_INFO, "it", &rows[i].field, 1);
		line[size] = '\0';
		snprintf(
			expected, sizeof(expected), JSON_HEAD "\"event\":\"it\",\"n\":%s}\n", json);
		CHECK_STR(line, expected);
	}
}

TEST(macros_know_the_types)
{
	struct capture capture;
	struct log log;
	const char *name = "cam";
	uint16_t port = 8080;
	bool yes = true;
	size_t size = 7;

	log_to(&log, &capture, LOG_FORMAT_TEXT);
	log_debug(&log, "never", "n", 1);
	CHECK_EQ(capture.lines, 0);
	log_info(&log, "plain");
	CHECK_STR(capture.last, HEAD "plain\n");
	log_warn(&log, "typed", "stream", name, "port", port, "yes", yes, "size", size, "delta", -3,
		"ratio", 0.5);
	assert_non_null(strstr(capture.last,
		" warn  media.0 typed stream=cam port=8080 yes=true size=7 delta=-3 ratio=0.5\n"));
}

TEST(a_site_is_limited_and_says_so)
{
	struct capture capture;
	struct log log;

	log_to(&log, &capture, LOG_FORMAT_TEXT);
	for (int i = 0; i < LOG_BURST + 301; i++) {
		if (i == LOG_BURST + 300)
			capture.now_us += 1000000 / LOG_RATE_PER_S;
		log_info(&log, "flood", "i", i);
		log_info(&log, "other");
	}
	CHECK_EQ(capture.lines, 2 * LOG_BURST + 2);
	CHECK_EQ(log.suppressed, 600);
	assert_non_null(strstr(capture.last, "other suppressed=300\n"));
	log_flush(&log);
	CHECK_EQ(capture.lines, 2 * LOG_BURST + 2);

	for (int i = 0; i < 5; i++)
		log_info(&log, "quiet");
	capture.lines = 0;
	for (int i = 0; i < LOG_BURST + 5; i++)
		log_info(&log, "held");
	log_flush(&log);
	CHECK_EQ(capture.lines, LOG_BURST + 1);
	assert_non_null(strstr(capture.last, "held suppressed=5\n"));
}

TEST(a_clock_set_back_does_not_silence)
{
	struct capture capture;
	struct log log;

	log_to(&log, &capture, LOG_FORMAT_TEXT);
	for (int i = 0; i < 2; i++) {
		log_info(&log, "tick");
		capture.now_us -= 3600ll * 1000000;
	}
	CHECK_EQ(capture.lines, 2);
}

TEST(a_refused_line_is_counted_and_told)
{
	struct capture capture;
	struct log log;

	log_to(&log, &capture, LOG_FORMAT_TEXT);
	capture.refuse = true;
	log_info(&log, "gone");
	log_info(&log, "gone_too");
	capture.refuse = false;
	log_info(&log, "back");
	CHECK_STR(capture.last, HEAD "back lines_lost=2\n");
	log_info(&log, "after");
	CHECK_STR(capture.last, HEAD "after\n");
}

/* Every length around the bound: the line fits, ends in a newline and is valid JSON. */
TEST(long_lines_stay_whole)
{
	char value[LOG_LINE_MAX * 2];
	struct capture capture;
	struct log log;

	log_to(&log, &capture, LOG_FORMAT_JSON);
	memset(value, '"', sizeof(value));
	for (size_t size = 0; size < sizeof(value); size++) {
		json_error_t error;

		value[size] = '\0';
		capture.now_us += 1000000;
		log_info(&log, "long", "first", 1, "value", value, "last", 2);
		json_t *document = json_loads(capture.last, 0, &error);
		CHECK(document != NULL);
		bool whole = json_object_get(document, "last") != NULL;
		CHECK_EQ(whole, json_object_get(document, "truncated") == NULL);
		CHECK(json_object_get(document, "first") != NULL);
		json_decref(document);
		value[size] = '"';
	}
}

TEST(more_sites_than_places_still_log)
{
	static struct log_site sites[LOG_SITES * 4];
	struct capture capture;
	struct log log;

	log_to(&log, &capture, LOG_FORMAT_TEXT);
	for (size_t i = 0; i < sizeof(sites) / sizeof(sites[0]); i++) {
		sites[i] = (struct log_site){LOG_LEVEL_INFO, "many"};
		capture.now_us += 1000000;
		log_write(&log, &sites[i], NULL, 0);
	}
	CHECK_EQ(capture.lines, sizeof(sites) / sizeof(sites[0]));
}
