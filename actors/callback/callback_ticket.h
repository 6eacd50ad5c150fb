/* SPDX-License-Identifier: Apache-2.0
 *
 * The sessions' side of callbacks: what is kept there of each that has asked, for the control process
 * that comes when the one that was asked has died.
 */
#ifndef MILLRACE_CALLBACK_TICKET_H
#define MILLRACE_CALLBACK_TICKET_H

#include "runtime/actor.h"

/* Keeps what `self` is about to ask. Nobody: no office is there to ask, or no memory. */
struct addr callback_ticket_keep(struct actor *self, const struct msg_callback_ask *ask);

#endif
