/* SPDX-License-Identifier: Apache-2.0
 *
 * Between tls.c and tls_context.c: what a context needs of the connections' side.
 */
#ifndef MILLRACE_TLS_INTERNAL_H
#define MILLRACE_TLS_INTERNAL_H

#include <openssl/err.h>
#include <openssl/ssl.h>

/* NULL: no memory. */
BIO_METHOD *tls_bio_method_create(void);

void tls_set_callbacks(SSL_CTX *ssl);

#endif
