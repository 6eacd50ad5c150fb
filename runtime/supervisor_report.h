/* SPDX-License-Identifier: Apache-2.0
 *
 * What the supervisor tells the world outside of its log: the line on standard output that says
 * the node serves, and the service manager's notifications. Inside of the supervisor only.
 */
#ifndef MILLRACE_SUPERVISOR_REPORT_H
#define MILLRACE_SUPERVISOR_REPORT_H

#include "runtime/listeners.h"

/* Prints {"ready":true,...} with the addresses as bound, one line. A standard output that does not
 * take it is no reason to stop. */
void supervisor_print_ready(const struct config *config, const struct listeners *listeners);

/* Sends a state such as "READY=1" to the service manager, if there is one (sd_notify(3)). */
void supervisor_notify(const char *state);

#endif
