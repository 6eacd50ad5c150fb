/* SPDX-License-Identifier: Apache-2.0
 *
 * One end of a link: what comes, and what is said of it.
 */
#include "actors/link/link_engine_internal.h"

enum { REPORTS_SEEN = 64 };

/* ---- media ---- */

static void take_media(struct link_engine *e, const struct link_media *media, int64_t now_us)
{
	link_wake(e, now_us);
	e->heard_us = now_us;
	if (!link_receive_take(&e->receive, media->seq, now_us))
		e->ops.deliver(e->ops.context, media);
}

static void restore_rows(struct link_engine *e, int64_t now_us)
{
	uint8_t body[LINK_BODY_MAX];
	struct link_media media;
	size_t size;

	while ((size = link_fec_restore(&e->fec_in, body)))
		if (!link_media_read(body, size, &media))
			take_media(e, &media, now_us);
}

static enum err take_media_body(struct link_engine *e, const struct link_head *head,
	const uint8_t *body, size_t size, int64_t now_us)
{
	struct link_media media;
	enum err err = link_media_read(body, size, &media);

	if (err)
		return err;
	link_meter_take_time(&e->meters[head->path], media.sent_us, now_us);
	if (head->covered)
		link_fec_note(&e->fec_in, media.seq, body, size);
	take_media(e, &media, now_us);
	if (head->covered && e->fec_in.waiting)
		restore_rows(e, now_us);
	return ERR_OK;
}

static enum err take_fec_body(
	struct link_engine *e, const uint8_t *body, size_t size, int64_t now_us)
{
	struct link_fec_row row;
	enum err err = link_fec_read(body, size, &row);

	if (err)
		return err;
	e->heard_us = now_us;
	link_fec_take(&e->fec_in, &row);
	restore_rows(e, now_us);
	return ERR_OK;
}

/* ---- probes ---- */

static enum err take_probe(
	struct link_engine *e, unsigned path, const uint8_t *body, size_t size, int64_t now_us)
{
	struct link_probe probe;
	enum err err = link_probe_read(body, size, &probe);

	if (err)
		return err;
	link_meter_take_time(&e->meters[path], (uint32_t)probe.sent_us, now_us);
	link_receive_take_next(&e->receive, probe.next_seq, now_us);
	if (!probe.number) {
		link_wake(e, now_us);
		e->heard_us = now_us; /* a beat: it wants reports, and no echo */
		return ERR_OK;
	}
	if (!e->paths[path].used)
		return ERR_OK;
	probe.next_seq = 0; /* answered at once: held for nothing */
	link_probe_write(&probe, link_out_body(e, path));
	link_out_commit(e, path, LINK_ECHO, false, LINK_PROBE_SIZE, now_us);
	return ERR_OK;
}

static enum err take_echo(
	struct link_engine *e, unsigned path, const uint8_t *body, size_t size, int64_t now_us)
{
	struct link_probe echo;
	enum err err = link_probe_read(body, size, &echo);

	if (!err && e->paths[path].used)
		link_path_take_echo(&e->paths[path], &echo, now_us);
	return err;
}

/* ---- reports ---- */

static void resend_range(
	struct link_engine *e, const struct link_nack_range *range, unsigned *left, int64_t now_us)
{
	uint64_t first = link_unwrap32(e->send.next, range->first);
	int64_t lately_us = link_rtt_us(e) * 3 / 4;

	for (uint64_t seq = first; seq < first + range->count && *left; seq++) {
		struct link_sent *sent = link_send_find(&e->send, seq);

		e->counters.asked_in++;
		if (!sent) {
			e->counters.not_there++;
			continue;
		}
		if (sent->again_us && now_us - sent->again_us < lately_us)
			continue; /* it is on its way */
		if (now_us - sent->sent_us > sent->age_us + link_rtt_us(e)) {
			e->counters.too_late++; /* the receiver does not know whose it is */
			continue;
		}
		--*left;
		link_send_again(e, sent, false, now_us);
	}
}

static bool is_news(struct link_engine *e, uint32_t number, bool *newest)
{
	uint64_t here = e->peer_report ? link_unwrap32(e->peer_report, number)
				       : (UINT64_C(1) << 32) + number;

	*newest = here > e->peer_report;
	if (*newest) {
		uint64_t ahead = here - e->peer_report;

		e->peer_reports_seen = ahead < REPORTS_SEEN ? e->peer_reports_seen << ahead | 1 : 1;
		e->peer_report = here;
		return true;
	}
	uint64_t behind = e->peer_report - here, bit = UINT64_C(1) << (behind % REPORTS_SEEN);

	if (behind >= REPORTS_SEEN || e->peer_reports_seen & bit)
		return false;
	e->peer_reports_seen |= bit;
	return true;
}

static enum err take_report(
	struct link_engine *e, unsigned via, const uint8_t *body, size_t size, int64_t now_us)
{
	struct link_report report;
	enum err err = link_report_read(body, size, &report);
	unsigned left = LINK_RESEND_MAX;
	bool newest;

	if (err || !is_news(e, report.number, &newest))
		return err;
	e->counters.reports_in++;
	for (unsigned i = 0; newest && i < report.path_count; i++) {
		uint8_t path = report.paths[i].path;

		if (!e->paths[path].used)
			continue;
		link_path_take_report(&e->paths[path], &report.paths[i], &e->paths[via],
			link_is_hurried(e, now_us), now_us);
		link_pace_take_report(&e->paces[path], &e->paths[path], now_us);
	}
	if (newest)
		link_judge(e, now_us);
	for (unsigned i = 0; i < report.nack_count && left; i++)
		resend_range(e, &report.nacks[i], &left, now_us);
	return ERR_OK;
}

static void send_report(
	struct link_engine *e, uint8_t path, const struct link_report *report, int64_t now_us)
{
	if (path == LINK_NO_PATH)
		return;
	size_t size = link_report_write(report, link_out_body(e, path));

	link_out_commit(e, path, LINK_REPORT, false, size, now_us);
	e->counters.reports_out++;
}

/* By two paths: when one of them is cut, that is what the sender must hear of. */
void link_report(struct link_engine *e, int64_t now_us)
{
	struct link_report report = {
		.number = ++e->report_number,
		.highest = (uint32_t)e->receive.highest,
	};

	for (uint8_t i = 0; i < LINK_PATHS_MAX; i++)
		if (link_meter_fill(&e->meters[i], now_us, &report.paths[report.path_count]))
			report.paths[report.path_count++].path = i;
	report.nack_count = (uint8_t)link_receive_ask(
		&e->receive, link_rtt_us(e), now_us, report.nacks, LINK_NACK_RANGES_MAX);
	send_report(e, e->send.best, &report, now_us);
	send_report(e, e->send.second, &report, now_us);
	if (report.nack_count)
		e->nack_us = now_us;
	e->report_us = now_us;
}

/* ---- datagrams ---- */

static enum err refuse(struct link_engine *e, enum err err)
{
	e->counters.bad += err == ERR_FORMAT || err == ERR_VERSION || err == ERR_TOO_LARGE;
	e->counters.unauthentic += err == ERR_AUTH;
	e->counters.replayed += err == ERR_REPLAY;
	return err;
}

static enum err take_body(struct link_engine *e, const struct link_head *head, const uint8_t *body,
	size_t size, int64_t now_us)
{
	switch (head->kind) {
	case LINK_MEDIA: return take_media_body(e, head, body, size, now_us);
	case LINK_REPORT: return take_report(e, head->path, body, size, now_us);
	case LINK_PROBE: return take_probe(e, head->path, body, size, now_us);
	case LINK_ECHO: return take_echo(e, head->path, body, size, now_us);
	case LINK_FEC: return take_fec_body(e, body, size, now_us);
	default: return ERR_FORMAT;
	}
}

enum err link_engine_take(struct link_engine *e, const uint8_t *bytes, size_t size,
	int64_t arrival_us, unsigned *path)
{
	struct link_head head;
	size_t body_size;
	enum err err = link_head_read(bytes, size, &head);

	if (err)
		return refuse(e, err);
	if (!link_seal_is_ready(&e->rx[head.key]))
		return refuse(e, ERR_AUTH);
	err = link_unseal(
		&e->rx[head.key], &e->hot->window, &head, bytes, size, e->out->body, &body_size);
	if (err)
		return refuse(e, err);
	*path = head.path;
	link_note_key(e, head.key, arrival_us);
	if (head.hurry)
		e->hurried_us = arrival_us;
	e->counters.datagrams_in++;
	e->counters.bytes_in += size;
	link_meter_take(&e->meters[head.path], head.path_seq, size, arrival_us);
	/* authentic it is, whatever is in it */
	refuse(e, take_body(e, &head, e->out->body, body_size, arrival_us));
	return ERR_OK;
}
