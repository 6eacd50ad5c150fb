/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/supervisor_report.h"
#include "tests/test.h"

static unsigned warnings;

static bool count_warning(void *context, const char *line, size_t size)
{
	(void)context;
	warnings += memmem(line, size, "publishers_need_no_token", 24) != NULL;
	return true;
}

static int64_t no_time(void *context)
{
	(void)context;
	return 0;
}

TEST(a_node_that_anybody_may_publish_to_says_so)
{
	static const struct {
		const char *key, *value;
		unsigned warnings;
	} rows[] = {
		{"http.port",	      "8080",	      1},
		{"bind",		 "::",		       1},
		{"bind",		 "192.0.2.1",	      1},
		{"bind",		 "127.0.0.1",	      0},
		{"bind",		 "::1",		0},
		{"callback.on_play",    "http://127.0.0.1/", 1},
		{"callback.on_publish", "http://127.0.0.1/", 0},
		{"token.key_file",	   "/somewhere",	 0},
		{"token.key",	      "a secret of tests", 0},
	};
	struct config_report report;
	struct log_sink sink = {.now_us = no_time, .write = count_warning};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct config config;
		struct log log;

		log_init(&log, "test", LOG_LEVEL_INFO, LOG_FORMAT_TEXT, &sink);
		config_init(&config, &report);
		CHECK_OK(config_set(
			&config, rows[i].key, rows[i].value, CONFIG_FROM_FLAG, "test", &report));
		warnings = 0;
		supervisor_warn_open(&log, &config);
		CHECK_EQ(warnings, rows[i].warnings);
	}
}
