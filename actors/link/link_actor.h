/* SPDX-License-Identifier: Apache-2.0
 *
 * The links of a worker: its link office, which owns the UDP socket at link.port + index, and a link
 * for each neighbour node that media goes to or comes from (decision 21).
 */
#ifndef MILLRACE_LINK_ACTOR_H
#define MILLRACE_LINK_ACTOR_H

#include "runtime/actor.h"

extern const struct actor_type link_office_actor;
extern const struct actor_type media_link_actor;

#endif
