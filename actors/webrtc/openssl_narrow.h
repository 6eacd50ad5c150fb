/* SPDX-License-Identifier: Apache-2.0
 *
 * A library context of OpenSSL for DTLS, with the kinds of keys that WebRTC has and no others.
 *
 * OpenSSL 3.0 looks anew for somebody who can decode the public key of each certificate that it
 * reads, among everything that its providers can decode and every kind of key that they know: a
 * quarter of a server's handshake (docs/performance.md). Here there is less to look at.
 */
#ifndef MILLRACE_WEBRTC_OPENSSL_NARROW_H
#define MILLRACE_WEBRTC_OPENSSL_NARROW_H

/* The process's one, made at the first call; NULL (OpenSSL's own default, which does the same more
 * slowly) when it cannot be made. Never freed: providers last as long as the process. Thread: any. */
struct ossl_lib_ctx_st *openssl_narrow_context(void);

#endif
