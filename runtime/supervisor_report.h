/* SPDX-License-Identifier: Apache-2.0
 *
 * What the supervisor tells the world outside of its log: the line on standard output that says
 * the node serves. (supervisor_service.h: what a service manager is told.) Inside of the supervisor
 * only.
 */
#ifndef MILLRACE_SUPERVISOR_REPORT_H
#define MILLRACE_SUPERVISOR_REPORT_H

#include "runtime/listeners.h"

/* Prints {"ready":true,...} with the addresses as bound, one line. A standard output that does not
 * take it is no reason to stop. */
void supervisor_print_ready(const struct config *config, const struct listeners *listeners);

#endif
