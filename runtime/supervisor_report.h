/* SPDX-License-Identifier: Apache-2.0
 *
 * What the supervisor tells at the start: the line on standard output that says the node serves,
 * and in the log what is unwise about how it is configured. (supervisor_service.h: what a service
 * manager is told.) Inside of the supervisor only.
 */
#ifndef MILLRACE_SUPERVISOR_REPORT_H
#define MILLRACE_SUPERVISOR_REPORT_H

#include "runtime/listeners.h"
#include "runtime/log.h"

/* Prints {"ready":true,...} with the addresses as bound, one line. A standard output that does not
 * take it is no reason to stop. */
void supervisor_print_ready(const struct config *config, const struct listeners *listeners);

/* Warns where anybody who reaches the node may publish: no token is asked for, nobody is asked, and
 * it listens beyond this host. */
void supervisor_warn_open(struct log *log, const struct config *config);

#endif
