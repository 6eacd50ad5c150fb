/* SPDX-License-Identifier: Apache-2.0
 *
 * First byte: what the rest is. 0: YAML file; 1: encoded configuration of a boot memfd; 2: flags,
 * a line each. What was accepted must survive encode and decode unchanged.
 */
#include "runtime/config.h"
#include "runtime/config_value.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FLAGS_MAX = 16 };

static struct config config, copy;
static struct config_report report;
static uint8_t encoded[CONFIG_ENCODED_MAX];

static void read_flags(const uint8_t *data, size_t size)
{
	char text[1024], *argv[FLAGS_MAX], *at = text;
	int argc = 0;

	size = size < sizeof(text) ? size : sizeof(text) - 1;
	memcpy(text, data, size);
	text[size] = '\0';
	while (argc < FLAGS_MAX && at) {
		argv[argc++] = at;
		at = strchr(at, '\n');
		if (at)
			*at++ = '\0';
	}
	(void)config_read_flags(&config, argc, argv, &report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct writer w = writer_of(encoded, sizeof(encoded));

	if (size == 0)
		return 0;
	config_init(&config, &report);
	if (data[0] % 3 == 0)
		(void)config_read_yaml(&config, "f", data + 1, size - 1, &report);
	else if (data[0] % 3 == 1)
		(void)config_decode(&config, data + 1, size - 1);
	else
		read_flags(data + 1, size - 1);
	config_encode(&config, &w);
	MUST(!w.bad);
	MUST(config_decode(&copy, encoded, writer_used(&w)) == ERR_OK);
	for (unsigned key = 0; key < CONFIG_KEY_COUNT; key++)
		MUST(config_same(&config, &copy, key));
	return 0;
}
