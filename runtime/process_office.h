/* SPDX-License-Identifier: Apache-2.0
 *
 * process office (OFFICE_PROCESS): one in every process. Tells placement how loaded the process is,
 * keeps sessions and streams in the status page, and answers questions about its actors.
 *
 * console_query to it, by the first word of the command; answers are console_answer:
 *   actors [TYPE] [where …] [after ADDR]   {"rows":[actor_row …],"next":ADDR or null}
 *   sessions, streams                      the same with session_row, stream_row
 *   inspect ADDR                           {"addr","type","name","state_name","state":{…}, …}
 *   stop ADDR                              {"addr","type"}: it was told to
 *   session-delete ID                      {"id"}: the session has ended, or was told to
 *   counters, arena                        {…} of the kernel, of the shared slots
 * An answer carries at most PROCESS_OFFICE_PAGE bytes; `next` says where to go on.
 */
#ifndef MILLRACE_PROCESS_OFFICE_H
#define MILLRACE_PROCESS_OFFICE_H

#include "runtime/actor.h"

enum { PROCESS_OFFICE_PAGE = 300000, PROCESS_OFFICE_REPORT_MS = 500 };

/* Actors that are sessions: of this type, in this phase (NULL = any). */
struct process_session_kind {
	const char *type;
	const char *phase;
};

struct process_office_args {
	const struct process_session_kind *sessions; /* at most 8 are taken */
	size_t session_count;
};

/* Arguments: struct process_office_args, or NULL for a process without sessions. */
extern const struct actor_type process_office_actor;

#endif
