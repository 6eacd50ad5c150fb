/* SPDX-License-Identifier: Apache-2.0
 *
 * Which permits have served (docs/decisions/025): each serves for one session. Whose answer was lost asks
 * again soon, so the same client may use it a second time within seconds; until a session was made, it may
 * as often as it likes, and nobody else meanwhile.
 *
 * A ring: of more than PERMITS_USED_MAX the first are forgotten, and would serve again.
 *
 * Thread: any one. No allocation.
 */
#ifndef MILLRACE_PERMITS_USED_H
#define MILLRACE_PERMITS_USED_H

#include "schemas/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	PERMITS_USED_MAX = 4096,
	PERMITS_AGAIN_MS = 10000, /* to the same client, or to another while nothing came of it */
};

struct permit_used {
	uint64_t number; /* 0 = free */
	uint64_t client;
	int64_t at_us; /* the last time that it was shown, or the session was made */
	bool spent;
};

struct permits_used {
	struct permit_used rows[PERMITS_USED_MAX];
	uint32_t next;
};

/* The client with this "ip:port": its address, without its port, in a number. */
uint64_t permits_used_client(const char *client);

/* A permit is shown. ERR_AUTH: it has served, or serves somebody else just now. */
enum err permits_used_show(
	struct permits_used *used, uint64_t number, uint64_t client, int64_t now_us);

/* A session was made by it. */
void permits_used_spend(
	struct permits_used *used, uint64_t number, uint64_t client, int64_t now_us);

#endif
