/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of `millrace load`: words in, options or a sentence out. Pure.
 */
#ifndef MILLRACE_CLIENT_LOAD_OPTIONS_H
#define MILLRACE_CLIENT_LOAD_OPTIONS_H

#include "schemas/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	LOAD_COUNT_MAX = 10000, /* sessions; a viewer by WebRTC is one UDP socket of 20,000 */
	LOAD_URL_MAX = 900,	/* bytes, room left for a number and a token */
	LOAD_TOKEN_MAX = 2047,
	LOAD_RAMP_DEFAULT = 50, /* sessions begun a second */
	LOAD_RATE_MIN = 64000,
	LOAD_RATE_MAX = 50000000,
	LOAD_RATE_DEFAULT = 1000000,
	LOAD_DURATION_MAX = 30 * 24 * 3600, /* seconds */
	LOAD_WHY_MAX = 256,
};

enum load_kind { LOAD_WHIP, LOAD_WHEP, LOAD_RTMP, LOAD_FLV, LOAD_KIND_COUNT };

struct load_options {
	enum load_kind kind;
	bool play; /* LOAD_RTMP: watch instead of publishing */
	bool insecure;
	bool json;
	bool help;
	uint32_t count;
	uint32_t ramp;	     /* sessions a second */
	uint32_t duration_s; /* 0 = until a signal */
	uint32_t rate_bps;   /* of a publisher */
	const char *url;     /* borrowed from the command line, as are these */
	const char *token;   /* NULL = none */
	const char *ca_file; /* NULL = the system's */
};

/* The words behind "millrace load". ERR_CONFIG: `why` (LOAD_WHY_MAX bytes) says what is wrong. */
enum err load_options_read(
	struct load_options *options, int argc, char *const *argv, char why[LOAD_WHY_MAX]);

/* The name of a kind on the command line. */
const char *load_kind_name(enum load_kind kind);
bool load_publishes(const struct load_options *options);
/* Over TLS: port 443 where the URL has none. */
bool load_is_rtmps(const struct load_options *options);

/* The URL of session `number` (from 1): "{n}" becomes the number; publishers, of whom there is more
 * than one, get "-number" behind the stream's name when there is no "{n}". ERR_TOO_LARGE. */
enum err load_url(const struct load_options *options, uint32_t number, char *url, size_t size);

/* What `millrace load --help` prints. */
extern const char load_help[];

#endif
