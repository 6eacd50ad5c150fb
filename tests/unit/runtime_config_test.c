/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/config.h"
#include "runtime/config_value.h"
#include "runtime/log.h"
#include "tests/test.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static struct config config;
static struct config_report report;

static const struct config_host host = {.name = "edge-7.example.net",
	.home = "/home/me",
	.processors = 3,
	.uid = 1000,
	.cwd = "/srv"};

static const char *value_of(const char *key)
{
	static char text[CONFIG_VALUE_MAX + 1];

	return config_value_text(&config, config_find(key, strlen(key)), text, sizeof(text));
}

static void check_error(const char *place, const char *part)
{
	for (unsigned i = 0; i < report.count && i < CONFIG_ERRORS_MAX; i++)
		if (!strcmp(report.errors[i].place, place) && strstr(report.errors[i].text, part))
			return;
	for (unsigned i = 0; i < report.count && i < CONFIG_ERRORS_MAX; i++)
		printf("  %s: %s\n", report.errors[i].place, report.errors[i].text);
	fail_msg("no error at %s with \"%s\"", place, part);
}

TEST(every_row_is_sound)
{
	config_init(&config, &report);
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++) {
		const struct config_row *row = config_row(key);
		char text[CONFIG_VALUE_MAX + 1], again[CONFIG_VALUE_MAX + 1];

		CHECK_EQ(config_find(row->key, strlen(row->key)), key);
		/* no two keys share a flag or a variable */
		CHECK_EQ(config_find_spelled(row->key, strlen(row->key)), key);
		CHECK(strlen(row->help) > 10);
		config_value_format(row, &config, text, sizeof(text));
		CHECK_OK(config_set(&config, row->key, text, CONFIG_FROM_FLAG, "test", &report));
		CHECK_STR(config_value_format(row, &config, again, sizeof(again)), text);
	}
	CHECK(config_row(CONFIG_KEY_COUNT) == NULL);
	CHECK_EQ(config.http_port, 8080);
	CHECK_EQ(config.log_level, LOG_LEVEL_INFO);
	CHECK_EQ(config.stream_gop_seconds_max, 10);
	CHECK_EQ(config.worker_stuck_ms, 500);
}

TEST(enums_match_their_headers)
{
	static const struct {
		const char *key;
		const char *text;
		int32_t value;
	} rows[] = {
		{"log.level",	      "debug", LOG_LEVEL_DEBUG   },
		{"log.level",	      "error", LOG_LEVEL_ERROR   },
		{"log.format",      "json",  LOG_FORMAT_JSON   },
		{"token.algorithm", "ES256", CONFIG_TOKEN_ES256},
		{"token.algorithm", "hs512", CONFIG_TOKEN_HS512},
	};

	config_init(&config, &report);
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct config_row *row =
			config_row(config_find(rows[i].key, strlen(rows[i].key)));

		CHECK_OK(config_set(
			&config, rows[i].key, rows[i].text, CONFIG_FROM_FLAG, "t", &report));
		CHECK_EQ(*(int32_t *)((char *)&config + row->offset), rows[i].value);
	}
}

TEST(values)
{
	static const struct {
		const char *key;
		const char *text;
		const char *stored; /* NULL: refused */
	} rows[] = {
		{"http.port",		      "0",			   "0"			      },
		{"http.port",		      "65535",		       "65535"		      },
		{"http.port",		      "65536",		       NULL			   },
		{"http.port",		      "-1",			    NULL			},
		{"http.port",		      "",			  NULL		      },
		{"http.port",		      " 80",			     NULL			 },
		{"http.port",		      "80x",			     NULL			 },
		{"http.port",		      "0x50",		      NULL			  },
		{"http.port",		      "99999999999999999999",     NULL			  },
		{"workers",		    "64",			  "64"		      },
		{"workers",		    "65",			  NULL		      },
		{"workers",		    "two",			   NULL		       },
		{"https.port",		       "off",		      "off"			   },
		{"https.port",		       "OFF",		      "off"			   },
		{"https.port",		       "443",		      "443"			   },
		{"https.port",		       "-1",			     NULL			 },
		{"rtmps.port",		       "0",			    "0"		       },
		{"rtmps.port",		       "65536",			NULL			    },
		{"http.port",		      "off",			     NULL			 },
		{"api.port",		     "off",			    "off"			 },
		{"api.port",		     "0",			  "0"			     },
		{"api.port",		     "65536",		      NULL			  },
		{"stream.publisher_silent_ms", "1500",		       "1500ms"		       },
		{"stream.publisher_silent_ms", "2s",			     "2000ms"		     },
		{"stream.publisher_silent_ms", "1m",			     "60000ms"		      },
		{"stream.publisher_silent_ms", "1h",			     NULL			 },
		{"stream.publisher_silent_ms", "2 s",		      NULL			  },
		{"stream.publisher_silent_ms", "2d",			     NULL			 },
		{"stream.publisher_silent_ms", "9223372036854775807h",     NULL			   },
		{"stream.gop_seconds_max",	   "7",			"7s"			    },
		{"stream.gop_seconds_max",	   "1m",			 "60s"		      },
		{"stream.gop_seconds_max",	   "3000ms",		     "3s"			 },
		{"stream.gop_seconds_max",	   "1500ms",		     NULL			 },
		{"stream.gop_bytes_max",	 "64k",			"65536"		       },
		{"stream.gop_bytes_max",	 "2MiB",			 "2097152"		  },
		{"stream.gop_bytes_max",	 "1G",		       NULL			   },
		{"log.level",		      "WARN",		      "warn"		    },
		{"log.level",		      "loud",		      NULL			  },
		{"log.level",		      "",			  NULL		      },
		{"log.level",		      "debug|info",		    NULL			},
		{"bind",			 "",			     ""			       },
		{"bind",			 "127.0.0.1",		      "127.0.0.1"		 },
		{"bind",			 "::1",			"::1"		     },
		{"bind",			 "127.0.0",		    NULL			},
		{"bind",			 "localhost",		      NULL			  },
		{"bind",			 "[::1]",			  NULL		      },
		{"advertise",		      "192.0.2.1,2001:db8::1",    "192.0.2.1,2001:db8::1"   },
		{"advertise",		      " 192.0.2.1 , 192.0.2.2 ",	 "192.0.2.1,192.0.2.2"     },
		{"advertise",		      "192.0.2.1;192.0.2.2",	     NULL			 },
		{"public_url",		       "https://live.example.net", "https://live.example.net"},
		{"public_url",		       "http://a:8080/base",	     "http://a:8080/base"	 },
		{"public_url",		       "https://",		   NULL		       },
		{"public_url",		       "ftp://a",		  NULL		      },
		{"public_url",		       "http://a?b",		     NULL			 },
		{"coord",			  "local",			   "local"			  },
		{"coord",			  "etcd://a:2379",		   "etcd://a:2379"		  },
		{"coord",			  "etcd://a:2379,b:2379",	  "etcd://a:2379,b:2379"	},
		{"coord",			  "etcd://",		     NULL			 },
		{"coord",			  "etcd://a",		      NULL			  },
		{"coord",			  "etcd://a:0",		NULL			    },
		{"coord",			  "zookeeper://a:1",	     NULL			 },
		{"coord",			  "",			      NULL			  },
		{"node.name",		      "edge-7.a_b",		    "edge-7.a_b"		},
		{"node.name",		      "-x",			    NULL			},
		{"node.name",		      ".x",			    NULL			},
		{"node.name",		      "a/b",			     NULL			 },
		{"node.name",		      "a b",			     NULL			 },
		{"webrtc.codec_order",	       "vp8,h264",		   "VP8,H264"		     },
		{"webrtc.codec_order",	       "H264",		       "H264"		     },
		{"webrtc.codec_order",	       "H264,H264",		    NULL			},
		{"webrtc.codec_order",	       "H264,MPEG2",		     NULL			 },
		{"webrtc.codec_order",	       "",			   NULL		       },
		{"webrtc.codec_order",	       ",",			    NULL			},
		{"admin_token",		"hunter2",		   "(secret)"		     },
		{"admin_token",		"a\tb",			NULL			    },
		{"admin_token",		"",			    ""			      },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char before[CONFIG_VALUE_MAX + 1];

		config_init(&config, &report);
		snprintf(before, sizeof(before), "%s", value_of(rows[i].key));
		enum err err = config_set(
			&config, rows[i].key, rows[i].text, CONFIG_FROM_FLAG, "here", &report);
		if ((err == ERR_OK) != (rows[i].stored != NULL))
			fail_msg("%s = \"%s\": %s", rows[i].key, rows[i].text, err_name(err));
		CHECK_STR(value_of(rows[i].key), rows[i].stored ? rows[i].stored : before);
		CHECK_EQ(report.count, rows[i].stored ? 0 : 1);
		if (err)
			check_error("here", "expected ");
	}
}

TEST(public_keys)
{
	static const char key[] =
		"0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789";
	static const struct {
		const char *name, *text;
		bool good;
	} rows[] = {
	// clang-format off
		{"cluster.key", key, true},
		{"cluster.key", key + 1, false},
		{"cluster.key", "g123456789abcdefABCDEF0123456789abcdef0123456789abcdef012345678", false},
		{"cluster.key", "0123456789abcdefABCDEF0123456789abcdef0123456789abcdef01234567890", false},
		{"mesh.peers", "0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789, ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", true},
		{"mesh.peers", "0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789,192.0.2.1", false},
		{"cluster.node_lost_ms", "1s", false},
		{"tier", "edge", true},
		{"tier", "middle", false},
	// clang-format on
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		config_init(&config, &report);
		CHECK_EQ(config_set(&config, rows[i].name, rows[i].text, CONFIG_FROM_FLAG, "--x",
				 &report) == ERR_OK,
			rows[i].good);
	}
}

TEST(bool_values)
{
	static const struct {
		const char *text;
		int value; /* -1: refused */
	} rows[] = {
		{"true",	 1 },
		     {"No",    0 },
		{"on",    1 },
		   {"0",	 0 },
		     {"",	  -1},
		       {"maybe", -1}
	    };
	struct config_row row = {.key = "x", .type = CONFIG_BOOL, .offset = 0};
	char expected[CONFIG_TEXT_SIZE], text[8];

	for (size_t i = 0; i < COUNT(rows); i++) {
		bool ok = config_value_parse(&row, &config, rows[i].text, expected);

		CHECK_EQ(ok, rows[i].value >= 0);
		if (ok)
			CHECK_STR(config_value_format(&row, &config, text, sizeof(text)),
				rows[i].value ? "true" : "false");
	}
}

TEST(longest_texts_fit_and_one_more_does_not)
{
	char text[CONFIG_VALUE_MAX + 3];

	for (size_t length = 250; length <= CONFIG_VALUE_MAX + 2; length++) {
		config_init(&config, &report);
		memset(text, 'a', length);
		text[length] = '\0';
		CHECK_EQ(config_set(&config, "admin_token", text, CONFIG_FROM_FLAG, "t", &report),
			length <= 255 ? ERR_OK : ERR_CONFIG);
	}
	check_error("t", "a secret that is not shown");
}

static enum err read_yaml(const char *text)
{
	config_init(&config, &report);
	return config_read_yaml(&config, "m.yaml", text, strlen(text), &report);
}

TEST(yaml_that_is_right)
{
	static const struct {
		const char *text;
		const char *key;
		const char *value;
	} rows[] = {
		{"",				       "http.port",  "8080"		},
		{"# nothing\n",				"http.port",  "8080"		   },
		{"---\n",				  "http.port",  "8080"		     },
		{"http.port: 81",			  "http.port",  "81"		   },
		{"http:\n  port: 81\n",			"http.port",  "81"		 },
		{"{http: {port: 81}}",		       "http.port",  "81"			},
		{"http: {}\nworkers: 3",			 "workers",    "3"		       },
		{"http:\n  port: 81\nrtmp:\n  port: 82\n", "rtmp.port",	"82"		    },
		{"http:\n  port: 81\nworkers: 2\n",	    "workers",    "2"		  },
		{"advertise: [192.0.2.1, '::1']\n",	    "advertise",	 "192.0.2.1,::1"	},
		{"advertise:\n- 192.0.2.1\n- 192.0.2.2\n", "advertise",	"192.0.2.1,192.0.2.2"},
		{"advertise: []\n",			    "advertise",	 ""		   },
		{"bind:\n",				"bind",	    ""		      },
		{"node: {name: \"a\\x62c\"}",	      "node.name",  "abc"		},
		{"log:\n  level: debug\n  format: json\n", "log.format", "json"	       },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		if (read_yaml(rows[i].text))
			fail_msg("row %zu: %s", i, report.errors[0].text);
		CHECK_STR(value_of(rows[i].key), rows[i].value);
	}
}

TEST(yaml_that_is_wrong)
{
	static const struct {
		const char *text;
		const char *place;
		const char *part;
	} rows[] = {
		{"http.port: 99999\n",			       "m.yaml:1", "http.port: expected a port number from 0 to"},
		{"\n\nhttp:\n  port: x\n",			   "m.yaml:4", "got \"x\""				  },
		{"htpp.port: 80\n",				    "m.yaml:1", "did you mean http.port?"			 },
		{"http:\n  prot: 80\n",				"m.yaml:2", "did you mean http.port?"		     },
		{"log_level: info\n",			      "m.yaml:1", "did you mean log.level?"			   },
		{"stuck_ms: 5\n",				  "m.yaml:1", "did you mean worker.stuck_ms?"		     },
		{"zebra: 1\n",				     "m.yaml:1", "unknown key \"zebra\""			  },
		{"http: 80\n",				     "m.yaml:1", "unknown key \"http\""			 },
		{"workers: 2\nworkers: 3\n",			     "m.yaml:2", "line 1 has it too"			    },
		{"- a\n- b\n",				     "m.yaml:1", "expected a key"				   },
		{"just text\n",				    "m.yaml:1", "expected keys"				   },
		{"workers: [2]\nhttp: [[1]]\n",			"m.yaml:2", "expected a key or a plain value"	     },
		{"? [a]\n: b\n",				   "m.yaml:1", "expected a key or a plain value"	      },
		{"? {a: b}\n: c\n",				    "m.yaml:1", "expected a key, got a mapping"	       },
		{"a: &x 1\nb: *x\n",				     "m.yaml:2", "aliases"					  },
		{"workers: 1\n---\nworkers: 2\n",		  "m.yaml:2", "one document"				    },
		{"workers: {\n",				   "m.yaml:2", "expected YAML"				    },
		{"\tworkers: 1\n",				   "m.yaml:1", "expected YAML"			      },
		{"workers: \"1\\0\"\n",				"m.yaml:1", "NUL"					 },
		{"{a: {b: {c: {d: {e: {f: {g: {h: {i: 1}}}}}}}}}", "m.yaml:1", "8 levels"					 },
		{"admin_token: [a, b, \"\\n\"]\n",		   "m.yaml:1", "not shown"				  },
		{"\xff\xfe\xff: 1",				    "m.yaml:1", "expected"					  },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		CHECK_EQ(read_yaml(rows[i].text), ERR_CONFIG);
		check_error(rows[i].place, rows[i].part);
	}
}

TEST(yaml_cut_anywhere_is_harmless)
{
	static const char text[] = "http:\n  port: 8081\nadvertise: [192.0.2.1, '::1']\n"
				   "log: {level: \"de\\u0062ug\", format: json}\nnode.name: abc\n";

	for (size_t size = 0; size < sizeof(text); size++) {
		config_init(&config, &report);
		(void)config_read_yaml(&config, "m.yaml", text, size, &report);
	}
	CHECK_OK(read_yaml(text));
	CHECK_EQ(config.log_level, LOG_LEVEL_DEBUG);
}

TEST(all_errors_come_at_once_and_no_more_than_fit)
{
	char text[4096] = "";

	CHECK_EQ(read_yaml("http.port: x\nrtmp.port: y\nnope: 1\nworkers: 4\n"), ERR_CONFIG);
	CHECK_EQ(report.count, 3);
	CHECK_EQ(config.workers, 4);
	for (int i = 0; i < 100; i++)
		sprintf(text + strlen(text), "wrong_key_%d: 1\n", i);
	CHECK_EQ(read_yaml(text), ERR_CONFIG);
	CHECK_EQ(report.count, 100);
}

TEST(no_secret_enters_a_message)
{
	static char *flags[] = {"--admin-token", "hunter2\n", "--set", "token.key=hunter2\n",
		"--admin-tokenn=hunter2", "--tokn-key", "hunter2"};
	static char *variables[] = {"MILLRACE_ADMIN_TOKEN=hunter2\n", NULL};

	CHECK_EQ(read_yaml("admin_token: \"hunter2\\n\"\ntoken: {key: \"hunter2\\n\"}\n"
			   "admin_tokken: hunter2\n"),
		ERR_CONFIG);
	(void)config_read_environment(&config, variables, &report);
	(void)config_read_flags(&config, COUNT(flags), flags, &report);
	CHECK_EQ(report.count, 8);
	for (unsigned i = 0; i < report.count; i++) {
		CHECK(!strstr(report.errors[i].text, "hunter2"));
		CHECK(!strstr(report.errors[i].place, "hunter2"));
	}
}

TEST(flags)
{
	// clang-format off
	static const struct {
		char *argv[4];
		const char *key;
		const char *value; /* NULL: an error at `place` with `part` */
		const char *place;
		const char *part;
	} rows[] = {
		{{"--http-port", "81"}, "http.port", "81"},
		{{"--http-port=81"}, "http.port", "81"},
		{{"--http-port", "80", "--http-port", "81"}, "http.port", "81"},
		{{"--name", "n1"}, "node.name", "n1"},
		{{"--name=n1"}, "node.name", "n1"},
		{{"--node-name", "n1"}, "node.name", "n1"},
		{{"--set", "stream.gop_seconds_max=3"}, "stream.gop_seconds_max", "3s"},
		{{"--set=public_url=http://a/b=c"}, "public_url", "http://a/b=c"},
		{{"--stream-gop-seconds-max", "3"}, "stream.gop_seconds_max", "3s"},
		{{"--config", "x.yaml", "--workers", "2"}, "workers", "2"},
		{{"--admin-token="}, "admin_token", ""},
		{{"--http-port"}, NULL, NULL, "--http-port", "expected a value"},
		{{"--set"}, NULL, NULL, "--set", "expected a value"},
		{{"--set", "workers"}, NULL, NULL, "--set", "expected key=value"},
		{{"--set", "http-port=1"}, NULL, NULL, "--set", "did you mean http.port?"},
		{{"--htp-port", "1"}, NULL, NULL, "--htp-port", "did you mean --http-port?"},
		{{"--"}, NULL, NULL, "arguments", "expected a flag"},
		{{"-p", "1"}, NULL, NULL, "arguments", "expected a flag"},
		{{"node"}, NULL, NULL, "arguments", "got \"node\""},
		{{"--workers", "--http-port"}, NULL, NULL, "--workers", "whole number"},
	};
	// clang-format on

	for (size_t i = 0; i < COUNT(rows); i++) {
		int argc = 0;

		while (argc < 4 && rows[i].argv[argc])
			argc++;
		config_init(&config, &report);
		enum err err = config_read_flags(&config, argc, rows[i].argv, &report);
		if (rows[i].part) {
			CHECK_EQ(err, ERR_CONFIG);
			check_error(rows[i].place, rows[i].part);
		} else if (rows[i].value) {
			CHECK_OK(err);
			CHECK_STR(value_of(rows[i].key), rows[i].value);
		}
	}
}

TEST(environment)
{
	char *variables[] = {"PATH=/bin", "MILLRACE_HTTP_PORT=81", "MILLRACE_CONFIG=/x.yaml",
		"MILLRACE_HTPP_PORT=5", "MILLRACE_", "MILLRACE_NODE_NAME=n2",
		"MILLRACE_STREAM_GOP_SECONDS_MAX=4s", "MILLRACE_WORKERS=lots", NULL};

	config_init(&config, &report);
	CHECK_EQ(config_read_environment(&config, variables, &report), ERR_CONFIG);
	CHECK_EQ(report.count, 1);
	check_error("MILLRACE_WORKERS", "workers: expected a whole number");
	CHECK_EQ(report.warning_count, 1);
	CHECK_STR(report.warnings[0].place, "MILLRACE_HTPP_PORT");
	assert_non_null(strstr(report.warnings[0].text, "did you mean MILLRACE_HTTP_PORT?"));
	CHECK_EQ(config.http_port, 81);
	CHECK_STR(config.node_name, "n2");
	CHECK_EQ(config.stream_gop_seconds_max, 4);
}

TEST(later_sources_win)
{
	char *variables[] = {"MILLRACE_HTTP_PORT=82", "MILLRACE_RTMP_PORT=83", NULL};
	char *flags[] = {"--http-port", "84"};

	CHECK_OK(read_yaml("http.port: 81\nrtmp.port: 81\nrtc.port: 9000\n"));
	CHECK_OK(config_read_environment(&config, variables, &report));
	CHECK_OK(config_read_flags(&config, 2, flags, &report));
	CHECK_EQ(config.http_port, 84);
	CHECK_EQ(config.rtmp_port, 83);
	CHECK_EQ(config.rtc_port, 9000);
	CHECK_EQ(report.origin[CONFIG_KEY_http_port].source, CONFIG_FROM_FLAG);
	CHECK_EQ(report.origin[CONFIG_KEY_rtc_port].line, 3);
}

TEST(file_named)
{
	char *none[] = {"A=1", NULL}, *variable[] = {"MILLRACE_CONFIG=/e.yaml", NULL};
	char *flags[] = {"--workers", "2", "--config", "/f.yaml"}, *glued[] = {"--config=/g.yaml"};

	CHECK(config_file_named(2, flags, none) == NULL);
	CHECK_STR(config_file_named(2, flags, variable), "/e.yaml");
	CHECK_STR(config_file_named(4, flags, variable), "/f.yaml");
	CHECK_STR(config_file_named(1, glued, variable), "/g.yaml");
	CHECK(config_file_named(3, flags, none) == NULL);
}

TEST(ports_may_not_overlap)
{
	static const struct {
		const char *yaml;
		const char *place; /* NULL: fine */
		const char *part;
	} rows[] = {
		{"",								    NULL,	   NULL			       },
		{"http.port: 0\nrtmp.port: 0\nrtc.port: 0\nmesh.port: 0\nlink.port: 0", NULL,	      NULL				  },
		{"http.port: 1935",						     "default",  "overlaps http.port"	   },
		{"rtmp.port: 8080",						     "m.yaml:1", "overlaps http.port"	    },
		{"workers: 4\nhttp.port: 8003",						"default",
			"8000-8003 overlaps http.port 8003-8003"									  },
		{"workers: 4\nhttp.port: 8004",						NULL,	      NULL				  },
		{"workers: 4\nhttp.port: 7999",						NULL,	      NULL				  },
		{"workers: 4\n\nrtc.port: 7497",					 "default",
			"7500-7503 overlaps rtc.port 7497-7500"									   },
		{"http.port: 8443",						     NULL,	  NULL			      },
		{"http.port: 8443\ntls.cert: c\ntls.key: k",			     "default",	"overlaps http.port"	    },
		{"https.port: off\nhttp.port: 8443\ntls.cert: c\ntls.key: k",	      NULL,	    NULL				},
		{"rtmps.port: 1935\ntls.cert: c\ntls.key: k",			      "m.yaml:1", "overlaps rtmp.port"	      },
		{"api.port: 1935",						      "m.yaml:1", "overlaps rtmp.port"	   },
		{"tls.cert: c",							 "m.yaml:1", "tls.cert and tls.key together"},
		{"tls.key: k",							  "m.yaml:1", "tls.cert and tls.key together"},
		{"rtmps.port: 1936",						    "m.yaml:1", "expected a certificate too"   },
		{"mesh.port: 7501\nworkers: 2",						"default",  "overlaps mesh.port 7501"	    },
		{"rtc.port: 65535\nworkers: 1",						NULL,	      NULL				  },
		{"rtc.port: 65535\nworkers: 2",						"m.yaml:1", "room for 2 workers"		},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		CHECK_OK(read_yaml(rows[i].yaml));
		enum err err = config_finish(&config, &host, &report);
		CHECK_EQ(err, rows[i].place ? ERR_CONFIG : ERR_OK);
		if (rows[i].place)
			check_error(rows[i].place, rows[i].part);
	}
}

TEST(finish_fills_from_the_host)
{
	struct config_host root = host, plain = host, bare = {0};
	char base[64];

	config_init(&config, &report);
	CHECK_OK(config_finish(&config, &host, &report));
	CHECK_EQ(config.workers, 3);
	CHECK_STR(config.node_name, "edge-7");
	CHECK_STR(config.run_dir, "/tmp/millrace-1000/edge-7");
	CHECK_STR(config.data_dir, "/home/me/.local/state/millrace/edge-7");

	root.uid = 0;
	config_init(&config, &report);
	CHECK_OK(config_finish(&config, &root, &report));
	CHECK_STR(config.run_dir, "/run/millrace/edge-7");
	CHECK_STR(config.data_dir, "/var/lib/millrace/edge-7");

	plain.run = "/run/user/1000";
	plain.state = "/st";
	CHECK_OK(read_yaml("node.name: n\nworkers: 2"));
	CHECK_OK(config_finish(&config, &plain, &report));
	CHECK_STR(config.run_dir, "/run/user/1000/millrace/n");
	CHECK_STR(config.data_dir, "/st/millrace/n");
	CHECK_EQ(config.workers, 2);

	CHECK_OK(read_yaml("run_dir: run\ndata_dir: /d"));
	CHECK_OK(config_finish(&config, &host, &report));
	CHECK_STR(config.run_dir, "/srv/run");
	CHECK_STR(config.data_dir, "/d");

	bare.uid = 5;
	config_init(&config, &report);
	CHECK_OK(config_finish(&config, &bare, &report));
	CHECK_STR(config.node_name, "millrace");
	CHECK_EQ(config.workers, 1);
	CHECK(!config_run_base(&host, base, 8));

	plain.run = "/a-very-long-directory-name-that-leaves-no-room-for-the-names-of-sockets";
	config_init(&config, &report);
	CHECK_EQ(config_finish(&config, &plain, &report), ERR_CONFIG);
	check_error("default", "run_dir: expected a path of at most 71 bytes");
}

TEST(keys_that_do_not_go_together)
{
	static const struct {
		const char *yaml, *problem; /* NULL: it is fine */
	} rows[] = {
		{"token: {key: k, key_file: /f}",	  "expected one key"					    },
		{"token: {key: k, algorithm: ES256}", "HS256"						     },
		{"coord: etcd://a:2379",		 NULL						      },
		{"etcd: {user: u, password: p}",	 NULL						      },
		{"etcd: {user: u}",		    "etcd.user: expected etcd.user and etcd.password together"},
		{"etcd: {password: p}",		"etcd.password: expected"				 },
		{"etcd: {ca: /a, cert: /c, key: /k}", NULL							  },
		{"etcd: {ca: /a, cert: /c}",	     "etcd.cert and etcd.key together"			      },
		{"etcd: {ca: /a, key: /k}",	    "etcd.key: expected"					},
		{"etcd: {cert: /c, key: /k}",	      "expected etcd.ca too"				    },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_OK(read_yaml(rows[i].yaml));
		CHECK_EQ(config_finish(&config, &host, &report),
			rows[i].problem ? ERR_CONFIG : ERR_OK);
		if (rows[i].problem)
			check_error("m.yaml:1", rows[i].problem);
	}
}

TEST(children_get_the_same)
{
	static struct config copy;
	static uint8_t bytes[CONFIG_ENCODED_MAX];
	struct writer w = writer_of(bytes, sizeof(bytes));
	struct writer small = writer_of(bytes, 20);

	CHECK_OK(read_yaml("admin_token: s3cret\nadvertise: [192.0.2.1, '::1']\nworkers: 2\n"
			   "log.level: debug\nstream.gop_seconds_max: 3\n"));
	CHECK_OK(config_finish(&config, &host, &report));
	config_encode(&config, &w);
	CHECK(!w.bad);
	CHECK_OK(config_decode(&copy, bytes, writer_used(&w)));
	CHECK_MEM(&copy, &config, sizeof(config));
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++)
		CHECK(config_same(&config, &copy, key));
	/* cut anywhere it is either refused or ends at a line */
	for (size_t size = 0; size < writer_used(&w); size++)
		CHECK_EQ(config_decode(&copy, bytes, size),
			size == 0 || bytes[size - 1] == '\n' ? ERR_OK : ERR_FORMAT);
	config_encode(&config, &small);
	CHECK(small.bad);
}

TEST(decode_is_strict_with_values_and_lenient_with_keys)
{
	static const struct {
		const char *text;
		size_t size;
		enum err err;
	} rows[] = {
		{"",			 0,	ERR_OK    },
		{"http.port\t81\n",	    13, ERR_OK    },
		{"of.a.later.release\t81\n", 22, ERR_OK    },
		{"http.port\t81",		  12, ERR_FORMAT},
		{"http.port 81\n",	   13, ERR_FORMAT},
		{"http.port\tx\n",	   12, ERR_FORMAT},
		{"node.name\ta\0b\n",	      14, ERR_FORMAT},
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		CHECK_EQ(config_decode(&config, rows[i].text, rows[i].size), rows[i].err);
}

TEST(reload_takes_only_what_it_may)
{
	static struct config next;

	CHECK_OK(read_yaml("log.level: error\nhttp.port: 81"));
	next = config;
	config_init(&config, &report);
	config_copy_reloadable(&config, &next);
	CHECK_EQ(config.log_level, LOG_LEVEL_ERROR);
	CHECK_EQ(config.http_port, 8080);
	CHECK(!config_same(&config, &next, CONFIG_KEY_http_port));
}

/* What others do not know stays, what may not change does, too; one wrong value, and nothing does. */
TEST(settings_of_another_process_are_applied_whole_or_not)
{
	static const struct {
		const char *lines;
		enum err err;
		const char *level, *modes, *port;
	} rows[] = {
		{"",						ERR_OK,     "info",  "a/*=race", "8080"},
		{"log.level\tdebug\n",			       ERR_OK,     "debug", "a/*=race", "8080"},
		{"log.level\terror\nlink.modes\t\nhttp.port\t81\n", ERR_OK,	    "error", "",	 "8080"},
		{"later.key\tx\nlink.modes\tb=backup\n",		 ERR_OK,	 "info",	 "b=backup", "8080"},
		{"log.level\tdebug\nlink.modes\tb\n",		      ERR_FORMAT, "info",  "a/*=race", "8080"},
		{"log.level\tdebug\nlink.mode",			ERR_FORMAT, "info",  "a/*=race", "8080"},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[CONFIG_VALUE_MAX + 1];

		CHECK_OK(read_yaml("link.modes: a/*=race"));
		CHECK_EQ(config_apply_reloadable(&config, rows[i].lines, strlen(rows[i].lines)),
			rows[i].err);
		CHECK_STR(config_value_text(&config, CONFIG_KEY_log_level, text, sizeof(text)),
			rows[i].level);
		CHECK_STR(config_value_text(&config, CONFIG_KEY_link_modes, text, sizeof(text)),
			rows[i].modes);
		CHECK_STR(config_value_text(&config, CONFIG_KEY_http_port, text, sizeof(text)),
			rows[i].port);
	}
}

TEST(settings_that_may_change_go_to_another_process)
{
	static uint8_t bytes[CONFIG_ENCODED_MAX];
	static struct config before;
	struct writer w = writer_of(bytes, sizeof(bytes));

	CHECK_OK(read_yaml("link.modes: a/*=race\nlink.mode: backup\nlog.level: warn\n"
			   "http.port: 81\nlink.tiers: b/*=relaxed\nlink.redundancy: 7\n"));
	before = config;
	config_encode_reloadable(&config, &w);
	CHECK(!w.bad);
	config_init(&config, &report);
	CHECK_OK(config_apply_reloadable(&config, bytes, writer_used(&w)));
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++) {
		CHECK_EQ(config_same(&config, &before, key), key != CONFIG_KEY_http_port);
		if (config_row(key)->flags & CONFIG_RELOAD)
			CHECK_EQ(config.set_by[key], before.set_by[key]);
	}
}

TEST(lists_step)
{
	char item[8];
	size_t at = 0;

	CHECK(config_list_next("a,bb,", &at, item, sizeof(item)));
	CHECK_STR(item, "a");
	CHECK(config_list_next("a,bb,", &at, item, sizeof(item)));
	CHECK_STR(item, "bb");
	CHECK(!config_list_next("a,bb,", &at, item, sizeof(item)));
}

TEST(packets_of_a_stream_are_asked_for_again_as_its_tier_says)
{
	config_init(&config, &report);
	CHECK_EQ(config_recover_ms(&config, "live/cam"), 400);
	CHECK_EQ(config_recover_longest_ms(&config), 400);
	CHECK_OK(read_yaml("link.tiers: talk/*=interactive,vod/first=live"));
	CHECK_EQ(config_recover_ms(&config, "talk/a"), CONFIG_INTERACTIVE_MS);
	CHECK_EQ(config_recover_ms(&config, "vod/first"), 400);
	CHECK_EQ(config_recover_longest_ms(&config), 400);
	CHECK_OK(read_yaml("link.tiers: talk/*=interactive,vod/first=live,vod/*=relaxed"));
	CHECK_EQ(config_recover_ms(&config, "vod/first"), 400);
	CHECK_EQ(config_recover_ms(&config, "vod/second"), CONFIG_RELAXED_MS);
	CHECK_EQ(config_recover_longest_ms(&config), CONFIG_RELAXED_MS);
	/* what a node is told itself is no worse than a tier, and no better */
	CHECK_OK(read_yaml("link.tiers: a/*=interactive,b/*=relaxed\nlink.recover_ms: 100ms"));
	CHECK_EQ(config_recover_ms(&config, "a/a"), 100);
	CHECK_OK(read_yaml("link.tiers: a/*=interactive,b/*=relaxed\nlink.recover_ms: 3s"));
	CHECK_EQ(config_recover_ms(&config, "b/b"), 3000);
	CHECK_EQ(config_recover_ms(&config, "a/a"), CONFIG_INTERACTIVE_MS);
	CHECK(read_yaml("link.tiers: a/*=slow") != ERR_OK);
}
