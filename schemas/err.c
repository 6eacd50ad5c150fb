/* SPDX-License-Identifier: Apache-2.0 */
#include "schemas/err.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
	const char *name;
	const char *text;
	int http;
} err_rows[] = {
#define X(name, id, text, http) {id, text, http},
	ERR_TABLE(X)
#undef X
};

const char *err_text(enum err err)
{
	return (unsigned)err < ERR_COUNT ? err_rows[err].text : "unknown error";
}

const char *err_name(enum err err)
{
	return (unsigned)err < ERR_COUNT ? err_rows[err].name : "unknown";
}

int err_http_status(enum err err)
{
	return (unsigned)err < ERR_COUNT ? err_rows[err].http : 500;
}

void must_fail(const char *file, int line, const char *condition)
{
	fprintf(stderr, "%s:%d: invariant violated: %s\n", file, line, condition);
	fflush(stderr);
	abort();
}
