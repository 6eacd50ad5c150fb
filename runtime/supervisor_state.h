/* SPDX-License-Identifier: Apache-2.0
 *
 * What the supervisor hands to the program that it becomes: a sealed memfd whose number is in the
 * environment, with a schema'd state (schemas/supervisor.def: another release's fields are skipped,
 * absent ones are zero) and the node's own configuration, as lines. Descriptors stay open over the
 * exec under their numbers. It is read as untrusted: every number is checked before it is used.
 */
#ifndef MILLRACE_SUPERVISOR_STATE_H
#define MILLRACE_SUPERVISOR_STATE_H

#include "runtime/config.h"
#include "schemas/schema.h"

struct supervisor;

/* What `node --check` of a program prints, before its version, when it could go on with the state that
 * it was shown: another program that ends with status 0 says nothing of the kind. */
#define SUPERVISOR_STATE_FITS "fit to go on: millrace "

/* In the environment of the program to come: the number of the memfd. */
#define SUPERVISOR_STATE_VARIABLE "MILLRACE_SUPERVISOR_STATE"

/* The memfd that this process was handed, close-on-exec from now on and out of the environment; 0 =
 * none: it starts anew. To be called before anything else looks at the environment. */
int supervisor_state_take(void);

/* Could this program go on with what lies there? For a look beforehand, in a process of its own; nothing
 * is changed. `arena_size`: what an arena of this program would have. False: *why says why not. */
bool supervisor_state_suits(int fd, size_t arena_size, const char **why);

#endif
