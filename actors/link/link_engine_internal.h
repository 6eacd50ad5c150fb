/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the link engine: link_engine.c and link_engine_receive.c only.
 */
#ifndef MILLRACE_LINK_ENGINE_INTERNAL_H
#define MILLRACE_LINK_ENGINE_INTERNAL_H

#include "actors/link/link_engine.h"

/* link_engine.c */
void link_release(struct link_engine *e, struct slot_ref ref);
/* Where the body of the next datagram of a path is to be written (LINK_BODY_MAX bytes) … */
uint8_t *link_out_body(struct link_engine *e, unsigned path);
/* … and that it was: gives it its numbers. Returns the sequence on the path. */
uint64_t link_out_commit(struct link_engine *e, unsigned path, enum link_kind kind, bool covered,
	size_t body_size, int64_t now_us);
/* False: it cannot, or (unless it is `at_once`) the path has no room now. */
bool link_send_again(struct link_engine *e, struct link_sent *sent, bool at_once, int64_t now_us);
/* Chooses paths anew. */
void link_judge(struct link_engine *e, int64_t now_us);
int64_t link_rtt_us(const struct link_engine *e);
/* Media of mode backup has left lately. */
bool link_is_hurried(const struct link_engine *e, int64_t now_us);
/* Media has left or come, or the other end has said that it has some: if the link rested, it does no more. */
void link_wake(struct link_engine *e, int64_t now_us);
/* A datagram sealed by that key has come. */
void link_note_key(struct link_engine *e, uint8_t bit, int64_t now_us);

/* link_engine_receive.c */
void link_report(struct link_engine *e, int64_t now_us);

#endif
