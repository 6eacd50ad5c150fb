/* SPDX-License-Identifier: Apache-2.0
 *
 * What the first session of a process pays for all that follow: self-tests, the choice of functions by
 * the processor, OpenSSL's tables of ciphers and decoders. A spare does it before it is needed.
 *
 * Thread: any one, before or beside sessions. Blocks for the file system.
 */
#ifndef MILLRACE_WEBRTC_WARM_H
#define MILLRACE_WEBRTC_WARM_H

#include "runtime/process.h"

/* Can this program, on this machine, do what sessions go on with? NULL: yes; else what cannot. */
const char *webrtc_self_test(void);
/* The same, and what newcomers need beside it: whatever of that fails is reported by the port that meets it
 * again, and no reason not to go on with those who are there. */
const char *webrtc_warm(const struct process_env *env);

#endif
