/* SPDX-License-Identifier: Apache-2.0
 *
 * People who look on: console pages and consoles of a node, over the WebSockets that the page uses
 * (/api/v1/live, /api/v1/repl). What comes is counted and thrown away.
 */
#ifndef MILLRACE_BENCH_CONSOLE_H
#define MILLRACE_BENCH_CONSOLE_H

#include "tests/bench/bench_node.h"

enum { BENCH_CONSOLES_MAX = 16 };

struct bench_consoles {
	size_t count;
	struct bench_console {
		int fd;
		char what[128];
		size_t bytes; /* that came after the answer to the handshake */
	} of[BENCH_CONSOLES_MAX];
};

/* Four pages, two `top`, four `watch` and two `trace`, of the stream and of sessions; they go on by themselves. */
void bench_consoles_open(struct bench_consoles *consoles, const struct bench_node *node);
/* Takes what has come. */
void bench_consoles_drain(struct bench_consoles *consoles);
/* Ends the program where one was told nothing. */
void bench_consoles_close(struct bench_consoles *consoles);

#endif
