/* SPDX-License-Identifier: Apache-2.0
 *
 * What the program says of itself: help for a terminal, and from the same texts and the same table
 * of keys the files that a package carries (manual page, bash completion, configuration file), so
 * that none of them can say anything else.
 */
#ifndef MILLRACE_CLI_HELP_H
#define MILLRACE_CLI_HELP_H

#include "runtime/cli.h"

/* Help texts have one form: "usage: " lines, paragraphs, and "  TERM   meaning" whose meaning goes on
 * in lines that begin with more spaces. */
extern const char cli_overview[];
extern const char cli_node_help[]; /* without the keys */
extern const char cli_repl_help[];

/* Prints help about a command or topic (NULL: the overview) on standard output. The exit status. */
int cli_help(const struct cli *cli, const char *topic);

/* The flag of a key, without dashes before it: "http.port" is "http-port". Returns `text`. */
const char *cli_flag(const struct config_row *row, char *text, size_t size);

/* What kind of value a key wants, for people: "PORT", "text|json". */
const char *cli_value_kind(const struct config_row *row);

/* Bytes of `text` that go into a line of `width`, broken between words. */
size_t cli_line_length(const char *text, size_t width);

/* A manual page for man(1), a completion for bash(1), a configuration file with every key as a
 * comment with its default; on standard output. */
void cli_print_man(const struct cli *cli);
void cli_print_completion(const struct cli *cli);
void cli_print_config(void);

#endif
