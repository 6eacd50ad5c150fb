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

/* Whatever fails here is reported by the session or the port that meets it again. */
void webrtc_warm(const struct process_env *env);

#endif
