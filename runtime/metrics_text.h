/* SPDX-License-Identifier: Apache-2.0
 *
 * The status page as Prometheus reads it (text format 0.0.4). Pure: the page in, text out.
 */
#ifndef MILLRACE_METRICS_TEXT_H
#define MILLRACE_METRICS_TEXT_H

#include <stddef.h>

struct process_page;

/* Room for every process that a node can have, with every number at its longest. */
enum { METRICS_TEXT_MAX = 768 * 1024 };

/* Bytes written; 0 = no room. `page` may be NULL (no node around us): names without values. */
size_t metrics_text(const struct process_page *page, char *out, size_t size);

#endif
