/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/client/load_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char load_help[] =
	"usage: millrace load whip|whep|rtmp|flv URL [--count N] [--duration TIME] ...\n"
	"\n"
	"Publishes to or watches any standard server, with as many sessions as wanted, and says "
	"how\n"
	"that went.\n"
	"\n"
	"  whip http://HOST:PORT/whip/APP/STREAM    publishes over WebRTC\n"
	"  whep http://HOST:PORT/whep/APP/STREAM    watches over WebRTC\n"
	"  rtmp rtmp://HOST[:PORT]/APP/STREAM       publishes over RTMP; with --play: watches.\n"
	"                                           rtmps:// too, port 443 where none is given\n"
	"  flv  http://HOST:PORT/APP/STREAM.flv     watches HTTP-FLV\n"
	"\n"
	"  --count N         sessions (default 1). {n} in the URL becomes the number of the "
	"session;\n"
	"                    without it each of several publishers gets -1, -2 ... behind its "
	"name\n"
	"  --ramp N          sessions begun a second (default 50)\n"
	"  --duration TIME   such as 30, 30s, 5m, 1h; default: until Ctrl-C\n"
	"  --rate BPS        of a publisher's picture, such as 800k or 2.5M (default 1M)\n"
	"  --token TOKEN     Authorization: Bearer; with RTMP ?token= (or set "
	"MILLRACE_LOAD_TOKEN)\n"
	"  --ca FILE         PEM of the certificates to trust; default: the system's\n"
	"  --insecure        take any certificate\n"
	"  --play            rtmp: watch\n"
	"  --json            the summary as one JSON document on standard output\n"
	"\n"
	"Exit status: 0 all sessions were connected and none was lost; 1 not all, or some were "
	"lost;\n"
	"2 usage; 3 the server could not be reached at all.\n";

static const char *const kind_names[LOAD_KIND_COUNT] = {
	[LOAD_WHIP] = "whip",
	[LOAD_WHEP] = "whep",
	[LOAD_RTMP] = "rtmp",
	[LOAD_FLV] = "flv",
};

const char *load_kind_name(enum load_kind kind)
{
	return kind_names[kind];
}

bool load_publishes(const struct load_options *options)
{
	return options->kind == LOAD_WHIP || (options->kind == LOAD_RTMP && !options->play);
}

bool load_is_rtmps(const struct load_options *options)
{
	return options->kind == LOAD_RTMP && !strncmp(options->url, "rtmps://", 8);
}

static bool number_of(const char *text, double min, double max, uint32_t *value)
{
	char *end;
	double number = strtod(text, &end);

	if (end == text || *end || !(number >= min && number <= max) ||
		number != (double)(uint32_t)number)
		return false;
	*value = (uint32_t)number;
	return true;
}

/* A number and perhaps a unit; the last unit has an empty name. */
struct unit {
	const char *name;
	double factor;
};

static bool amount_of(
	const char *text, const struct unit *units, double min, double max, uint32_t *value)
{
	char *end;
	double number = strtod(text, &end);

	while (units->name[0] && strcmp(units->name, end))
		units++;
	number *= units->factor;
	if (end == text || strcmp(units->name, end) || !(number >= min && number <= max))
		return false;
	*value = (uint32_t)number;
	return true;
}

static bool read_value(struct load_options *o, const char *flag, const char *value, char *why)
{
	static const struct unit times[] = {
		{"h", 3600},
		     {"m", 60  },
		{"s", 1   },
		  {"",  1	}
	 };
	static const struct unit rates[] = {
		{"k", 1e3},
		    {"K", 1e3},
		{"m", 1e6},
		    {"M", 1e6},
		{"",  1  }
	       };
	const char *wanted = NULL;

	if (!strcmp(flag, "--count")) {
		if (!number_of(value, 1, LOAD_COUNT_MAX, &o->count))
			wanted = "a number from 1 to 10000";
	} else if (!strcmp(flag, "--ramp")) {
		if (!number_of(value, 1, LOAD_COUNT_MAX, &o->ramp))
			wanted = "sessions a second, from 1 to 10000";
	} else if (!strcmp(flag, "--duration")) {
		if (!amount_of(value, times, 1, LOAD_DURATION_MAX, &o->duration_s))
			wanted = "a time from 1s, such as 30, 30s, 5m or 1h";
	} else if (!strcmp(flag, "--rate")) {
		if (!amount_of(value, rates, LOAD_RATE_MIN, LOAD_RATE_MAX, &o->rate_bps))
			wanted = "bits a second from 64k to 50M";
	} else if (!strcmp(flag, "--token")) {
		o->token = value;
		if (!value[0] || strlen(value) > LOAD_TOKEN_MAX || strpbrk(value, " \t\r\n"))
			wanted = "a token";
	} else if (!strcmp(flag, "--ca")) {
		o->ca_file = value;
	}
	if (wanted && !strcmp(flag, "--token")) /* never shown */
		snprintf(why, LOAD_WHY_MAX, "--token: expected %s", wanted);
	else if (wanted)
		snprintf(why, LOAD_WHY_MAX, "%s: expected %s, got \"%.60s\"", flag, wanted, value);
	return !wanted;
}

static bool read_switch(struct load_options *o, const char *flag)
{
	bool *is = !strcmp(flag, "--json")			    ? &o->json
		   : !strcmp(flag, "--insecure")		    ? &o->insecure
		   : !strcmp(flag, "--play")			    ? &o->play
		   : !strcmp(flag, "--help") || !strcmp(flag, "-h") ? &o->help
								    : NULL;

	if (is)
		*is = true;
	return is != NULL;
}

static bool has_value(const char *flag)
{
	static const char *const flags[] = {
		"--count", "--ramp", "--duration", "--rate", "--token", "--ca"};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (!strcmp(flag, flags[i]))
			return true;
	return false;
}

static enum err check_url(const struct load_options *o, char *why)
{
	const char *rest = strstr(o->url, "://");
	const char *wanted =
		o->kind == LOAD_RTMP ? "rtmp:// or rtmps://HOST/APP/STREAM" : "http:// or https://";
	bool good = rest && rest[3] && rest[3] != '/' && strlen(o->url) <= LOAD_URL_MAX &&
		    !strpbrk(o->url, " \t\r\n\"<>");

	if (o->kind == LOAD_RTMP) {
		const char *app = good ? strchr(rest + 3, '/') : NULL;
		const char *stream = app ? strchr(app + 1, '/') : NULL;

		good = good && (!strncmp(o->url, "rtmp://", 7) || load_is_rtmps(o)) && stream &&
		       stream > app + 1 && stream[1];
	} else {
		good = good && (!strncmp(o->url, "http://", 7) || !strncmp(o->url, "https://", 8));
	}
	if (!good) {
		snprintf(why, LOAD_WHY_MAX, "expected %s, got \"%.100s\"", wanted, o->url);
		return ERR_CONFIG;
	}
	return ERR_OK;
}

/* "--flag value" or "--flag=value" at *i; false: `why` says what is wrong. */
static bool read_word(struct load_options *o, int argc, char *const *argv, int *i, char *why)
{
	const char *word = argv[*i], *equals = strchr(word, '=');
	char flag[32];

	if (word[0] != '-') {
		if (o->url) {
			snprintf(why, LOAD_WHY_MAX, "unexpected \"%.100s\"", word);
			return false;
		}
		o->url = word;
		return true;
	}
	snprintf(flag, sizeof(flag), "%.*s", equals ? (int)(equals - word) : 31, word);
	if (!has_value(flag)) {
		if (!equals && read_switch(o, flag))
			return true;
		snprintf(why, LOAD_WHY_MAX, "unknown flag %.60s", flag);
		return false;
	}
	if (!equals && *i + 1 == argc) {
		snprintf(why, LOAD_WHY_MAX, "%s needs a value", flag);
		return false;
	}
	return read_value(o, flag, equals ? equals + 1 : argv[++*i], why);
}

enum err load_options_read(
	struct load_options *options, int argc, char *const *argv, char why[LOAD_WHY_MAX])
{
	int kind = 0;

	*options = (struct load_options){
		.count = 1, .ramp = LOAD_RAMP_DEFAULT, .rate_bps = LOAD_RATE_DEFAULT};
	why[0] = '\0';
	if (argc && read_switch(options, argv[0]) && options->help)
		return ERR_OK;
	while (argc && kind < LOAD_KIND_COUNT && strcmp(argv[0], kind_names[kind]))
		kind++;
	if (!argc || kind == LOAD_KIND_COUNT) {
		snprintf(why, LOAD_WHY_MAX, "expected whip, whep, rtmp or flv%s%.60s%s",
			argc ? ", got \"" : "", argc ? argv[0] : "", argc ? "\"" : "");
		return ERR_CONFIG;
	}
	options->kind = (enum load_kind)kind;
	for (int i = 1; i < argc; i++)
		if (!read_word(options, argc, argv, &i, why))
			return ERR_CONFIG;
	if (options->help)
		return ERR_OK;
	if (!options->url) {
		snprintf(why, LOAD_WHY_MAX, "expected an URL");
		return ERR_CONFIG;
	}
	if (options->play && kind != LOAD_RTMP) {
		snprintf(why, LOAD_WHY_MAX, "--play goes with rtmp");
		return ERR_CONFIG;
	}
	return check_url(options, why);
}

enum err load_url(const struct load_options *options, uint32_t number, char *url, size_t size)
{
	const char *place = strstr(options->url, "{n}");
	const char *query = strchr(options->url, '?');
	size_t head = place   ? (size_t)(place - options->url)
		      : query ? (size_t)(query - options->url)
			      : strlen(options->url);
	int length;

	if (place)
		length =
			snprintf(url, size, "%.*s%u%s", (int)head, options->url, number, place + 3);
	else if (load_publishes(options) && options->count > 1)
		length = snprintf(url, size, "%.*s-%u%s", (int)head, options->url, number,
			query ? query : "");
	else
		length = snprintf(url, size, "%s", options->url);
	return length < 0 || (size_t)length >= size ? ERR_TOO_LARGE : ERR_OK;
}
