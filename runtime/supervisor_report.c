/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/supervisor_report.h"

#include "schemas/net_addr.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void supervisor_print_ready(const struct config *config, const struct listeners *listeners)
{
	const char *address = listeners_local_address(config);
	char http[64], rtmp[64], rtc[64], repl[PROCESS_PATH_SIZE + 32];
	json_t *ports = json_array();

	for (uint32_t i = 0; ports && i < listeners->worker_count; i++) {
		listeners_format(address, listeners->rtc_ports[i], rtc, sizeof(rtc));
		json_array_append_new(ports, json_string(rtc));
	}
	listeners_format(address, listeners->http_port, http, sizeof(http));
	listeners_format(address, listeners->rtmp_port, rtmp, sizeof(rtmp));
	snprintf(repl, sizeof(repl), "%s/repl.sock", config->run_dir);
	json_t *line = json_pack("{s:b, s:s, s:i, s:s, s:s, s:o, s:s}", "ready", 1, "node",
		config->node_name, "pid", (int)getpid(), "http", http, "rtmp", rtmp, "rtc", ports,
		"repl", repl);
	if (line && listeners->https_port)
		json_object_set_new(line, "https",
			json_string(listeners_format(
				address, listeners->https_port, http, sizeof(http))));
	if (line && listeners->rtmps_port)
		json_object_set_new(line, "rtmps",
			json_string(listeners_format(
				address, listeners->rtmps_port, rtmp, sizeof(rtmp))));
	if (line && listeners->api_port)
		json_object_set_new(line, "api",
			json_string(listeners_format(
				address, listeners->api_port, http, sizeof(http))));
	if (line && listeners->mesh_port)
		json_object_set_new(line, "mesh",
			json_string(listeners_format(
				address, listeners->mesh_port, http, sizeof(http))));
	char *text = line ? json_dumps(line, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	if (text) {
		printf("%s\n", text);
		fflush(stdout);
	}
	free(text);
	json_decref(line);
}

void supervisor_warn_open(struct log *log, const struct config *config)
{
	struct net_addr bound;
	bool here = !net_addr_parse(config->bind, &bound) && net_addr_is_loopback(&bound);

	if (!here && !config->token_key[0] && !config->token_key_file[0] &&
		!config->callback_on_publish[0])
		log_warn(log, "publishers_need_no_token", "remedy",
			"token.key, token.key_file or callback.on_publish; "
			"bind 127.0.0.1 for publishers of this host alone");
}
