/* SPDX-License-Identifier: Apache-2.0
 *
 * What a link office hands on for the links of other nodes. Its rows lie in the office's state. Thread: the
 * office's.
 */
#ifndef MILLRACE_LINK_RELAY_H
#define MILLRACE_LINK_RELAY_H

#include "actors/link/link_internal.h"

struct link_relays {
	struct link_relay_row *rows; /* the state's */
	uint16_t *count;
	struct net_addr addresses[LINK_RELAYS_MAX]; /* of the rows */
	struct idmap by_session;		    /* number of the row + 1 */
	int64_t credit_bytes, credit_us;
	uint64_t handed_on, refused; /* datagrams */
};

/* Of the rows that the state has; borrows it until link_relays_fini. ERR_FORMAT, ERR_NO_MEMORY. */
enum err link_relays_init(struct link_relays *r, struct link_office_state *st);
void link_relays_fini(struct link_relays *r);

/* One end announces itself. ERR_FORMAT; ERR_BUSY: another node has that session; ERR_OVERLOAD. */
enum err link_relays_take(
	struct link_relays *r, uint64_t node, const struct msg_link_relay *m, int64_t now_us);
/* Nothing of that node's is handed on any more. */
void link_relays_forget(struct link_relays *r, uint64_t node);
void link_relays_expire(struct link_relays *r, int64_t now_us);

/* Datagrams of one session; false: it is not of a link that is relayed here. */
bool link_relays_hand_on(struct actor *self, struct link_relays *r, uint32_t socket,
	const struct link_input *input, uint32_t session);

#endif
