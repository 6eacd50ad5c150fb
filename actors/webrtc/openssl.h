/* SPDX-License-Identifier: Apache-2.0
 *
 * OpenSSL's headers as the engines of this folder need them. SHA-1's block functions, deprecated but
 * the only ones that never allocate, are made visible.
 */
#ifndef MILLRACE_WEBRTC_OPENSSL_H
#define MILLRACE_WEBRTC_OPENSSL_H

#define OPENSSL_SUPPRESS_DEPRECATED
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

#endif
