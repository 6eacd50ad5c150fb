/* SPDX-License-Identifier: Apache-2.0
 *
 * What the supervisor tells a service manager (systemd: sd_notify(3), Type=notify): ready, reloading,
 * stopping, one line of what goes on, and a sign of life when one is asked for. Datagrams to the
 * socket that NOTIFY_SOCKET names; without one, or when it does not take them, nothing happens.
 * Inside of the supervisor only.
 */
#ifndef MILLRACE_SUPERVISOR_SERVICE_H
#define MILLRACE_SUPERVISOR_SERVICE_H

#include "runtime/process.h"

struct service {
	int64_t beat_us; /* between two signs of life, 0 = none is asked for */
	int64_t beat_due_us;
	int64_t status_due_us;
	uint64_t shown; /* what the last line said: sessions and streams */
};

/* Reads NOTIFY_SOCKET's companions WATCHDOG_USEC and WATCHDOG_PID. */
void service_init(struct service *service, int64_t now_us);

/* Sends "KEY=value", several by newlines. */
__attribute__((format(printf, 1, 2))) void service_tell(const char *format, ...);

/* The sign of life when it is due, and how many sessions there are when that has changed; call it at
 * least every 100 ms. Numbers of the page are a child's words: they are only shown. */
void service_tick(struct service *service, int64_t now_us, const struct process_page *page);

/* True for what the environment says to us alone, not to our children. */
bool service_variable(const char *variable);

#endif
