/* SPDX-License-Identifier: Apache-2.0
 *
 * OpenSSL's headers, with its type ERR_STATE under another name: schemas/err.h has an error of that
 * name. Include this instead of any <openssl/…> header, before or after schemas/err.h.
 *
 * SHA-1's block functions, deprecated but the only ones that never allocate, are made visible.
 */
#ifndef MILLRACE_WEBRTC_OPENSSL_H
#define MILLRACE_WEBRTC_OPENSSL_H

#define OPENSSL_SUPPRESS_DEPRECATED
#define ERR_STATE openssl_error_state
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/srtp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#undef ERR_STATE

#endif
