/* SPDX-License-Identifier: Apache-2.0
 *
 * What an operator asked the supervisor for: one at a time, its steps told where everybody sees them.
 */
#include "runtime/supervisor_internal.h"

#include <stdarg.h>
#include <stdio.h>

enum err operation_begin(struct supervisor *s, enum process_operation_kind kind)
{
	if (s->phase != PHASE_RUN || !s->told_ready)
		return ERR_PHASE;
	if (s->operation.go_on)
		return ERR_BUSY;
	s->operation = (struct operation){.began_us = supervisor_now_us()};
	s->operation.since_us = s->operation.began_us;
	process_operation_begin(&s->page->operation, kind);
	return ERR_OK;
}

static const char *name_of(struct supervisor *s)
{
	return process_operation_name(atomic_load(&s->page->operation.kind));
}

/* Tells a step, and with `state` other than running that it was the last one. */
static void tell(struct supervisor *s, enum process_operation_state state, const char *format,
	va_list arguments)
{
	char text[PROCESS_STEP_TEXT_SIZE];

	vsnprintf(text, sizeof(text), format, arguments);
	if (state == PROCESS_OPERATION_RUNS) {
		process_operation_step(&s->page->operation, text);
	} else {
		s->operation.go_on = NULL;
		process_operation_end(&s->page->operation, state == PROCESS_OPERATION_DONE, text);
	}
	log_info(s->log, "operation", "name", name_of(s), "step", text);
}

void operation_step(struct supervisor *s, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	tell(s, PROCESS_OPERATION_RUNS, format, arguments);
	va_end(arguments);
}

void operation_done(struct supervisor *s, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	tell(s, PROCESS_OPERATION_DONE, format, arguments);
	va_end(arguments);
}

void operation_failed(struct supervisor *s, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	tell(s, PROCESS_OPERATION_FAILED, format, arguments);
	va_end(arguments);
	log_error(s->log, "operation_failed", "name", name_of(s));
}

void operation_look(struct supervisor *s, int64_t now)
{
	if (!s->operation.go_on)
		return;
	if (s->phase != PHASE_RUN)
		operation_failed(s, "the node stops");
	else
		s->operation.go_on(s, &s->operation, now);
}
