/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/client/load_report.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows of the report: name in JSON, for people, unit, member, digits. */
#define SPREAD_TABLE(X)                                                      \
	X("setup_ms", "set-up", "ms", setup_ms, 1)                           \
	X("connected_ms", "connected", "ms", connected_ms, 1)                \
	X("first_packet_ms", "first packet", "ms", first_packet_ms, 1)       \
	X("first_keyframe_ms", "first keyframe", "ms", first_keyframe_ms, 1) \
	X("loss_percent", "loss", "%", loss_percent, 3)                      \
	X("gap_ms", "longest gap", "ms", gap_ms, 1)                          \
	X("jitter_ms", "jitter", "ms", jitter_ms, 2)                         \
	X("reconnects", "reconnects", "", reconnects_each, 0)

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Nearest rank: the smallest value that so many percent do not exceed. */
static double rank(const double *sorted, uint32_t count, uint32_t percent)
{
	uint32_t at = (uint32_t)(((uint64_t)count * percent + 99) / 100);

	return sorted[at ? at - 1 : 0];
}

static void spread(struct load_spread *out, double *values, uint32_t count)
{
	*out = (struct load_spread){.count = count};
	if (!count)
		return;
	qsort(values, count, sizeof(*values), compare);
	out->p50 = rank(values, count, 50);
	out->p95 = rank(values, count, 95);
	out->p99 = rank(values, count, 99);
	out->max = values[count - 1];
}

static bool was_up(const struct client_figures *f)
{
	return f->connected_us != 0;
}

enum figure {
	FIGURE_SETUP,
	FIGURE_CONNECTED,
	FIGURE_PACKET,
	FIGURE_KEYFRAME,
	FIGURE_LOSS,
	FIGURE_GAP,
	FIGURE_JITTER,
	FIGURE_RECONNECTS,
};

/* False: this session does not have the figure. */
static bool figure_of(const struct client_figures *f, enum figure figure, double *value)
{
	uint64_t us = figure == FIGURE_SETUP	   ? f->setup_us
		      : figure == FIGURE_CONNECTED ? f->connected_us
		      : figure == FIGURE_PACKET	   ? f->first_packet_us
						   : f->first_keyframe_us;

	switch (figure) {
	case FIGURE_SETUP:
	case FIGURE_CONNECTED:
	case FIGURE_PACKET:
	case FIGURE_KEYFRAME: *value = (double)us / 1000; return us != 0;
	case FIGURE_LOSS:
		*value = f->expected ? 100.0 * (double)f->lost / (double)f->expected : 0;
		return f->expected != 0;
	case FIGURE_GAP: *value = (double)f->gap_max_us / 1000; return f->packets > 1;
	case FIGURE_JITTER: *value = f->jitter_us / 1000.0; return f->packets > 1;
	case FIGURE_RECONNECTS: *value = f->reconnects; return was_up(f);
	}
	return false;
}

static void count_reason(struct load_summary *s, const struct client_figures *f)
{
	char text[160];
	uint32_t i = 0;

	if (f->status)
		snprintf(text, sizeof(text), "HTTP %u%s%s", f->status, f->text[0] ? ": " : "",
			f->text);
	else
		snprintf(text, sizeof(text), "%s",
			f->text[0] ? f->text : err_text((enum err)f->err));
	while (i < s->reason_count && strcmp(s->reasons[i].text, text))
		i++;
	if (i == LOAD_REASONS_MAX)
		return;
	if (i == s->reason_count) {
		memcpy(s->reasons[i].text, text, sizeof(text));
		s->reason_count++;
	}
	s->reasons[i].count++;
}

static void add(struct load_summary *s, const struct client_figures *f)
{
	s->begun += f->phase != CLIENT_IDLE;
	s->up += f->phase == CLIENT_UP;
	s->connected += was_up(f);
	s->reachable += f->answered;
	s->failed += f->phase == CLIENT_FAILED && !was_up(f);
	/* it stood once, and then did not until the end */
	s->lost += was_up(f) &&
		   (f->reconnects || f->phase == CLIENT_FAILED || f->phase == CLIENT_WAITING);
	s->packets += f->packets;
	s->bytes += f->bytes;
	s->keyframes += f->keyframes;
	s->expected += f->expected;
	s->missing += f->lost;
	s->recovered += f->recovered;
	s->gaps += f->gaps;
	s->reconnects += f->reconnects;
	if (f->err)
		count_reason(s, f);
}

enum err load_summarise(const struct load_result *result, struct load_summary *s)
{
	uint32_t count = result->options->count;
	double *values = malloc(count * sizeof(*values));
	struct load_spread *spreads[] = {&s->setup_ms, &s->connected_ms, &s->first_packet_ms,
		&s->first_keyframe_ms, &s->loss_percent, &s->gap_ms, &s->jitter_ms,
		&s->reconnects_each};

	if (!values)
		return ERR_NO_MEMORY;
	*s = (struct load_summary){
		.wanted = count,
		.seconds = (double)(result->ended_us - result->began_us) / 1e6,
		.cpu_seconds = (double)result->cpu_us / 1e6,
	};
	for (uint32_t i = 0; i < count; i++)
		add(s, &result->figures[i]);
	for (int figure = FIGURE_SETUP; figure <= FIGURE_RECONNECTS; figure++) {
		uint32_t have = 0;

		for (uint32_t i = 0; i < count; i++)
			have += figure_of(&result->figures[i], (enum figure)figure, &values[have]);
		spread(spreads[figure], values, have);
	}
	if (s->seconds > 0)
		s->rate_bps = (double)s->bytes * 8 / s->seconds;
	free(values);
	return ERR_OK;
}

void load_progress(const struct load_summary *s, char *text, size_t size)
{
	snprintf(text, size,
		"%6.1f s  %u of %u up, %u failed, %llu reconnects  %.2f Mbit/s  loss %.3f%%  "
		"%llu gaps  cpu %.2f s",
		s->seconds, s->up, s->wanted, s->failed, (unsigned long long)s->reconnects,
		s->rate_bps / 1e6,
		s->expected ? 100.0 * (double)s->missing / (double)s->expected : 0,
		(unsigned long long)s->gaps, s->cpu_seconds);
}

static const char *direction(const struct load_options *options)
{
	return load_publishes(options) ? "sent" : "received";
}

enum err load_report_text(
	const struct load_result *result, const struct load_summary *s, char **text)
{
	size_t size;
	FILE *out = open_memstream(text, &size);

	if (!out)
		return ERR_NO_MEMORY;
	fprintf(out, "%s: %u of %u connected, %u failed, %u lost, %.1f s\n",
		load_kind_name(result->options->kind), s->connected, s->wanted, s->failed, s->lost,
		s->seconds);
	if (s->connected || s->setup_ms.count)
		fprintf(out, "%-17s %10s %10s %10s %10s\n", "", "p50", "p95", "p99", "max");
#define X(name, title, unit, member, digits)                                                 \
	if (s->member.count)                                                                 \
		fprintf(out, "%-15s%2s %10.*f %10.*f %10.*f %10.*f\n", title, unit, digits,  \
			s->member.p50, digits, s->member.p95, digits, s->member.p99, digits, \
			s->member.max);
	SPREAD_TABLE(X)
#undef X
	fprintf(out,
		"%s %llu packets, %.2f Mbit/s, %llu keyframes; %llu of %llu lost, %llu recovered\n",
		direction(result->options), (unsigned long long)s->packets, s->rate_bps / 1e6,
		(unsigned long long)s->keyframes, (unsigned long long)s->missing,
		(unsigned long long)s->expected, (unsigned long long)s->recovered);
	fprintf(out, "%llu gaps over %d ms; %.2f s of processor time here\n",
		(unsigned long long)s->gaps, CLIENT_GAP_US / 1000, s->cpu_seconds);
	for (uint32_t i = 0; i < s->reason_count; i++)
		fprintf(out, "%u x %s\n", s->reasons[i].count, s->reasons[i].text);
	return fclose(out) ? ERR_NO_MEMORY : ERR_OK;
}

static json_t *json_of(const struct load_spread *spread)
{
	return json_pack("{s:i, s:f, s:f, s:f, s:f}", "count", (int)spread->count, "p50",
		spread->p50, "p95", spread->p95, "p99", spread->p99, "max", spread->max);
}

enum err load_report_json(
	const struct load_result *result, const struct load_summary *s, char **text)
{
	json_t *reasons = json_array();
	json_t *root = json_pack("{s:s, s:s, s:{s:i, s:i, s:i, s:i}, s:f, s:f}", "kind",
		load_kind_name(result->options->kind), "url", result->options->url, "sessions",
		"wanted", (int)s->wanted, "connected", (int)s->connected, "failed", (int)s->failed,
		"lost", (int)s->lost, "seconds", s->seconds, "cpu_seconds", s->cpu_seconds);

#define X(name, title, unit, member, digits) json_object_set_new(root, name, json_of(&s->member));
	SPREAD_TABLE(X)
#undef X
	for (uint32_t i = 0; i < s->reason_count; i++)
		json_array_append_new(reasons, json_pack("{s:s, s:i}", "text", s->reasons[i].text,
						       "count", (int)s->reasons[i].count));
	if (root)
		json_object_update_new(root,
			json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:o}", "packets",
				(json_int_t)s->packets, "bytes", (json_int_t)s->bytes, "keyframes",
				(json_int_t)s->keyframes, "expected", (json_int_t)s->expected,
				"missing", (json_int_t)s->missing, "recovered",
				(json_int_t)s->recovered, "gaps", (json_int_t)s->gaps, "rate_bps",
				s->rate_bps, "errors", reasons));
	*text = root ? json_dumps(root, JSON_REAL_PRECISION(9)) : NULL;
	json_decref(root);
	return *text ? ERR_OK : ERR_NO_MEMORY;
}

int load_status(const struct load_summary *s)
{
	if (s->connected == s->wanted && !s->lost)
		return 0;
	return s->reachable ? 1 : 3;
}
