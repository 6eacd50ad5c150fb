/* SPDX-License-Identifier: Apache-2.0
 *
 * Configuration: one table (schemas/config.def), four sources, in rising precedence: default, YAML
 * file, environment, flags. All that is wrong is collected in one report, each with its place and
 * with what was expected; nothing is guessed. Values of secret keys never enter a message.
 *
 *	config_init(&config, &report);
 *	config_read_yaml(&config, "millrace.yaml", bytes, size, &report);
 *	config_read_environment(&config, environ, &report);
 *	config_read_flags(&config, argc, argv, &report);
 *	config_finish(&config, &host, &report);
 *	if (report.count) …
 *
 * struct config is plain data without pointers: it is encoded as text lines for the child processes.
 * Pure functions over bytes, no allocation (libyaml allocates for itself), no files, no globals.
 */
#ifndef MILLRACE_CONFIG_H
#define MILLRACE_CONFIG_H

#include "schemas/bytes.h"
#include "schemas/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CONFIG_ERRORS_MAX = 32, /* further ones are only counted */
	CONFIG_PLACE_SIZE = 96,
	CONFIG_TEXT_SIZE = 224,
	CONFIG_VALUE_MAX = 767, /* longest value of any key, bytes */
	CONFIG_FILE_BYTES_MAX = 65536,
	CONFIG_DEPTH_MAX = 8,	    /* nesting of the YAML file */
	CONFIG_ENCODED_MAX = 65536, /* config_encode never writes more */
};

enum config_type {
	CONFIG_TEXT,
	CONFIG_NAME,
	CONFIG_PATH,
	CONFIG_URL,
	CONFIG_COORD,
	CONFIG_ADDRESS,
	CONFIG_ADDRESSES,
	CONFIG_WORDS,
	CONFIG_PUBKEY,
	CONFIG_PUBKEYS,
	CONFIG_RULES,
	CONFIG_PORT,
	CONFIG_INT,
	CONFIG_DURATION,
	CONFIG_SIZE,
	CONFIG_BOOL,
	CONFIG_ENUM,
};

enum config_flags { CONFIG_NONE = 0, CONFIG_SECRET = 1 << 0, CONFIG_RELOAD = 1 << 1 };

/* Index of a key: CONFIG_KEY_http_port … in the order of the table. */
enum config_key {
#define CONFIG(type, member, key, fallback, min, max, extra, flags, help) CONFIG_KEY_##member,
#include "schemas/config.def"
#undef CONFIG
	CONFIG_KEY_COUNT
};

#define CONFIG_STRING_MEMBER_(member, max)   char member[(max) + 1];
#define CONFIG_MEMBER_TEXT(member, max)	     CONFIG_STRING_MEMBER_(member, max)
#define CONFIG_MEMBER_NAME(member, max)	     CONFIG_STRING_MEMBER_(member, max)
#define CONFIG_MEMBER_PATH(member, max)	     CONFIG_STRING_MEMBER_(member, max)
#define CONFIG_MEMBER_URL(member, max)	     CONFIG_STRING_MEMBER_(member, max)
#define CONFIG_MEMBER_COORD(member, max)     CONFIG_STRING_MEMBER_(member, max)
#define CONFIG_MEMBER_ADDRESS(member, max)   CONFIG_STRING_MEMBER_(member, max)
#define CONFIG_MEMBER_ADDRESSES(member, max) CONFIG_STRING_MEMBER_(member, max)
#define CONFIG_MEMBER_WORDS(member, max)     CONFIG_STRING_MEMBER_(member, max)
#define CONFIG_MEMBER_PUBKEY(member, max)    CONFIG_STRING_MEMBER_(member, max)
#define CONFIG_MEMBER_PUBKEYS(member, max)   CONFIG_STRING_MEMBER_(member, max)
#define CONFIG_MEMBER_RULES(member, max)     CONFIG_STRING_MEMBER_(member, max)
#define CONFIG_MEMBER_PORT(member, max)	     int64_t member;
#define CONFIG_MEMBER_INT(member, max)	     int64_t member;
#define CONFIG_MEMBER_DURATION(member, max)  int64_t member;
#define CONFIG_MEMBER_SIZE(member, max)	     int64_t member;
#define CONFIG_MEMBER_BOOL(member, max)	     bool member;
#define CONFIG_MEMBER_ENUM(member, max)	     int32_t member;

/* config->http_port, config->log_level (an enum log_level), config->stream_publisher_grace_ms … */
struct config {
#define CONFIG(type, member, key, fallback, min, max, extra, flags, help) \
	CONFIG_MEMBER_##type(member, max)
#include "schemas/config.def"
#undef CONFIG
	uint8_t set_by[CONFIG_KEY_COUNT]; /* enum config_source of each key */
};

/* config->token_algorithm, in the order of its row */
enum config_token_algorithm {
	CONFIG_TOKEN_AUTO,
	CONFIG_TOKEN_HS256,
	CONFIG_TOKEN_HS384,
	CONFIG_TOKEN_HS512,
	CONFIG_TOKEN_RS256,
	CONFIG_TOKEN_ES256,
};

/* config->callback_fail, in the order of its row */
enum config_callback_fail { CONFIG_CALLBACK_CLOSED, CONFIG_CALLBACK_OPEN };

struct config_row {
	const char *key;
	enum config_type type;
	enum config_flags flags;
	size_t offset; /* in struct config */
	int64_t min;
	int64_t max;
	const char *fallback;
	const char *extra;
	const char *help;
};

/* Row of a key; NULL when the index is out of range. */
const struct config_row *config_row(unsigned key);

/* Index of a key by name such as "http.port"; CONFIG_KEY_COUNT when unknown. */
enum config_key config_find(const char *name, size_t length);

enum config_source {
	CONFIG_FROM_DEFAULT,
	CONFIG_FROM_FILE,
	CONFIG_FROM_ENV,
	CONFIG_FROM_FLAG,
	CONFIG_FROM_CLUSTER
};

struct config_problem {
	char place[CONFIG_PLACE_SIZE]; /* "millrace.yaml:12", "--http-port", "MILLRACE_HTTP_PORT" */
	char text[CONFIG_TEXT_SIZE];
};

struct config_report {
	unsigned count; /* errors; the first CONFIG_ERRORS_MAX are in `errors` */
	unsigned warning_count;
	struct config_problem errors[CONFIG_ERRORS_MAX];
	struct config_problem warnings[CONFIG_ERRORS_MAX];
	/* where each key was set last */
	struct {
		uint8_t source; /* enum config_source */
		uint32_t line;	/* of the file */
	} origin[CONFIG_KEY_COUNT];
	char file[CONFIG_PLACE_SIZE];
};

/* Facts about the host that empty keys are filled from. Strings are borrowed for the call. */
struct config_host {
	const char *name;  /* host name; may be NULL */
	const char *home;  /* $HOME, may be NULL */
	const char *run;   /* $XDG_RUNTIME_DIR, may be NULL */
	const char *state; /* $XDG_STATE_HOME, may be NULL */
	const char *cwd;   /* relative directories are made absolute with it */
	unsigned processors;
	uint32_t uid;
};

/* All defaults, an empty report. */
void config_init(struct config *config, struct config_report *report);

/* Sets one key from text. ERR_NOT_FOUND (unknown key), ERR_CONFIG (bad value; the old one stays).
 * `place` names the source in messages. */
enum err config_set(struct config *config, const char *key, const char *value,
	enum config_source source, const char *place, struct config_report *report);

/* Reads a YAML mapping; nested maps and dotted keys both name a key, a list is a value of a list
 * key. `name` is for messages. ERR_CONFIG when anything was wrong; what is right is still set. */
enum err config_read_yaml(struct config *config, const char *name, const void *bytes, size_t size,
	struct config_report *report);

/* MILLRACE_… of a NULL-terminated environ. An unknown one is a warning: others may use the prefix. */
enum err config_read_environment(
	struct config *config, char *const *environment, struct config_report *report);

/* --key value, --key=value, --name, --set key=value (any number). `--config F` is stepped over.
 * argv without the program and the command. Anything else is an error. */
enum err config_read_flags(
	struct config *config, int argc, char *const *argv, struct config_report *report);

/* The file named by --config, or by MILLRACE_CONFIG, or NULL. Borrowed from argv or environment. */
const char *config_file_named(int argc, char *const *argv, char *const *environment);

/* Fills what is not set from the host, then checks the keys against each other: overlapping ports,
 * two token keys, paths too long for sockets, features of later releases. */
enum err config_finish(
	struct config *config, const struct config_host *host, struct config_report *report);

/* Directory under which each node of this user has its default run directory. False: no room. */
bool config_run_base(const struct config_host *host, char *path, size_t size);

/* "file", "flag" … */
const char *config_source_name(enum config_source source);

/* "key\tvalue\n" lines for another process, secrets included; and who has set them. */
void config_encode(const struct config *config, struct writer *w);

/* Reads what config_encode wrote, as untrusted input: every value passes its row's check; unknown
 * keys (of another release) are skipped, missing ones are defaults. ERR_FORMAT. */
enum err config_decode(struct config *config, const void *bytes, size_t size);

/* Value as text, as the file would have it; a set secret prints as "(secret)". Returns `text`. */
const char *config_value_text(
	const struct config *config, enum config_key key, char *text, size_t size);

/* True when the two have the same value of the key. */
bool config_same(const struct config *a, const struct config *b, enum config_key key);

/* What may change while a node runs (CONFIG_RELOAD), as config_encode writes it … */
void config_encode_reloadable(const struct config *config, struct writer *w);

/* … and into a configuration that has the rest, untrusted: of these keys those that are named are set, if
 * all values pass; nothing else changes. ERR_FORMAT. */
enum err config_apply_reloadable(struct config *config, const void *bytes, size_t size);

/* Copies one key. */
void config_copy_key(struct config *to, const struct config *from, enum config_key key);

/* Copies the keys that may change while a node runs. */
void config_copy_reloadable(struct config *to, const struct config *from);

/* Steps through a value of type ADDRESSES, WORDS, PUBKEYS or RULES: copies the next item to `item` (false at the
 * end). *at is 0 at first. Items are at most size - 1 bytes. */
bool config_list_next(const char *list, size_t *at, char *item, size_t size);

/* What a value of type RULES, the key's, says of `name`: the place of the word of the first pattern that
 * fits it ("*" stands for any text); -1 = no pattern fits. */
int config_rule_find(enum config_key key, const char *rules, const char *name);

enum { CONFIG_INTERACTIVE_MS = 150, CONFIG_RELAXED_MS = 1500 }; /* as link.tiers says */
/* How long a packet of that stream is asked for again between nodes, by link.tiers and link.recover_ms. */
uint32_t config_recover_ms(const struct config *config, const char *stream);
/* The longest of any stream's. */
uint32_t config_recover_longest_ms(const struct config *config);

#endif
