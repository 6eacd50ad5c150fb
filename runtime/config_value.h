/* SPDX-License-Identifier: Apache-2.0
 *
 * One configuration value from text to its place in struct config and back, and what config.c and
 * config_read.c share. For these alone.
 * Pure, no allocation.
 */
#ifndef MILLRACE_CONFIG_VALUE_H
#define MILLRACE_CONFIG_VALUE_H

#include "runtime/config.h"

/* Parses `text` by the row's type and stores it. False: nothing is stored, and `expected`
 * (CONFIG_TEXT_SIZE bytes) says what would have been right. */
bool config_value_parse(
	const struct config_row *row, struct config *config, const char *text, char *expected);

/* The value as config_value_parse reads it; secrets in clear. Returns `text`. */
const char *config_value_format(
	const struct config_row *row, const struct config *config, char *text, size_t size);

/* Adds an error (or a warning) to the report; the oldest CONFIG_ERRORS_MAX are kept, all counted. */
__attribute__((format(printf, 4, 5))) void config_problem(
	struct config_report *report, bool is_warning, const char *place, const char *format, ...);

/* Sets a key by its index; as config_set. `line` is that of the file, 0 elsewhere. */
enum err config_set_key(struct config *config, enum config_key key, const char *value,
	enum config_source source, uint32_t line, const char *place, struct config_report *report);

/* Reports an unknown key with the nearest known one. `spell` turns a key into the form in which
 * the user wrote it: '.' (file), '-' (flag), '_' (environment). */
void config_unknown(struct config_report *report, bool is_warning, const char *place,
	const char *name, size_t length, char spell);

/* Index of a key by name, taking '.', '-' and '_' as one and not minding case, as flags and
 * variables need; CONFIG_KEY_COUNT when unknown. */
enum config_key config_find_spelled(const char *name, size_t length);

#endif
