/* SPDX-License-Identifier: Apache-2.0
 *
 * The protocol as a page for people, docs/protocol.md, made from the same tables that encode it.
 */
#ifndef MILLRACE_SCHEMA_DOC_H
#define MILLRACE_SCHEMA_DOC_H

#include "schemas/bytes.h"
#include "schemas/err.h"

/* Appends the whole page as Markdown (some kilobytes a topic). ERR_NO_SPACE. */
enum err schema_document(struct writer *out);

#endif
