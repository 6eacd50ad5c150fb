/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/net/impair_path.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct impair_rules impair_rules_none(void)
{
	return (struct impair_rules){.burst = 1, .queue_us = IMPAIR_QUEUE_US};
}

/* ---- rules ------------------------------------------------------------------------------------ */

struct unit {
	const char *text;
	double factor;
};

static const struct unit times[] = {
	{"",   1000},
	    {"ms", 1000},
	  {"us", 1	  },
	     {"s",  1e6 },
	 {NULL, 0	 }
};
static const struct unit shares[] = {
	{"",   0.01},
	    {"%",  0.01},
	 {NULL, 0	 }
};
static const struct unit rates[] = {
	{"",   1000},
	    {"k",  1000},
	 {"M",  1e6 },
	     {"G",  1e9 },
	 {NULL, 0	 }
};
static const struct unit numbers[] = {
	{"",   1},
	 {NULL, 0}
};

static bool parse(const char *text, const struct unit *units, double most, double *value)
{
	char *end;

	errno = 0;
	*value = strtod(text, &end);
	if (end == text || errno || !isfinite(*value) || *value < 0)
		return false;
	for (; units->text; units++) {
		if (strcmp(end, units->text))
			continue;
		*value *= units->factor;
		return *value <= most;
	}
	return false;
}

static const char a_time[] = "a time from 0 to 60s, such as 20ms";
static const char a_share[] = "a share from 0 to 100, such as 2%";
static const char a_switch[] = "0 or 1";

const char *impair_rules_set(struct impair_rules *rules, const char *key, const char *value)
{
	struct impair_rules r = *rules;
	const char *expected = NULL;
	double number = 0;

	if (!strcmp(key, "delay") || !strcmp(key, "jitter") || !strcmp(key, "queue")) {
		expected = parse(value, times, 60e6, &number) ? NULL : a_time;
		*(key[0] == 'd'		? &r.delay_us
			: key[0] == 'j' ? &r.jitter_us
					: &r.queue_us) = (int64_t)number;
	} else if (!strcmp(key, "loss") || !strcmp(key, "duplicate")) {
		expected = parse(value, shares, 1, &number) ? NULL : a_share;
		*(key[0] == 'l' ? &r.loss : &r.duplicate) = number;
	} else if (!strcmp(key, "burst")) {
		expected = parse(value, numbers, 1000, &number) ? NULL : "packets, up to 1000";
		r.burst = number;
	} else if (!strcmp(key, "rate")) {
		expected = parse(value, rates, 100e9, &number) ? NULL
							       : "a rate, such as 2.5M; 0 = none";
		r.rate_bps = (uint64_t)number;
	} else if (!strcmp(key, "reorder") || !strcmp(key, "down")) {
		expected = parse(value, numbers, 1, &number) ? NULL : a_switch;
		*(key[0] == 'r' ? &r.reorder : &r.down) = number != 0;
	} else {
		return "one of delay, jitter, queue, loss, duplicate, burst, rate, reorder, down";
	}
	if (!expected)
		*rules = r;
	return expected;
}

/* ---- packets ---------------------------------------------------------------------------------- */

/* xorshift64*; 0 up to 1 */
static double chance(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return (double)(x * 0x2545f4914f6cdd1dull >> 11) / 9007199254740992.0;
}

/* Gilbert's two states: bursts of a mean length, as often as the share of losses wants. */
static bool is_lost(struct impair_path *path, uint64_t *random)
{
	const struct impair_rules *r = &path->rules;

	if (r->down || r->loss >= 1)
		return true;
	if (r->loss <= 0)
		return false;
	if (r->burst <= 1)
		return chance(random) < r->loss;
	double ends = 1 / r->burst;
	double begins = r->loss * ends / (1 - r->loss);

	path->in_burst = path->in_burst ? chance(random) >= ends : chance(random) < begins;
	return path->in_burst;
}

static int64_t arrival(struct impair_path *path, int64_t leaves_us, uint64_t *random)
{
	const struct impair_rules *r = &path->rules;
	int64_t at_us = leaves_us + r->delay_us;

	if (r->jitter_us)
		at_us += (int64_t)((chance(random) * 2 - 1) * (double)r->jitter_us);
	if (at_us < leaves_us)
		at_us = leaves_us;
	if (!r->reorder && at_us < path->last_us)
		at_us = path->last_us;
	path->last_us = at_us > path->last_us ? at_us : path->last_us;
	return at_us;
}

int impair_path_packet(struct impair_path *path, size_t size, int64_t now_us, uint64_t *random,
	int64_t at_us[IMPAIR_COPIES_MAX])
{
	const struct impair_rules *r = &path->rules;
	int64_t leaves_us = now_us;
	int copies = 1;

	path->packets++;
	path->bytes += size;
	if (r->rate_bps) {
		if (path->busy_until_us < now_us)
			path->busy_until_us = now_us;
		if (path->busy_until_us - now_us > r->queue_us) {
			path->dropped++;
			return 0;
		}
		path->busy_until_us += (int64_t)((double)size * 8e6 / (double)r->rate_bps);
		leaves_us = path->busy_until_us;
	}
	if (is_lost(path, random)) { /* on the wire: it had its share of the rate */
		path->lost++;
		return 0;
	}
	if (r->duplicate > 0 && chance(random) < r->duplicate)
		copies = 2;
	for (int i = 0; i < copies; i++)
		at_us[i] = arrival(path, leaves_us, random);
	return copies;
}
