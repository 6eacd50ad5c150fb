/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader takes libyaml's events, one item (a node, a link) at a time:
 *
 *   top --nodes:, links:--> list --{--> item --key--> value    and between: [a, b] inside a link
 */
#include "cluster/topology_file.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

enum { TEXT_MAX = 63, ENDS = 2 };

/* ---- values ---------------------------------------------------------------------------------- */

struct unit {
	const char *name;
	double times;
};

static const struct unit times_us[] = {
	{"us", 1	},
	   {"ms", 1e3},
	{"s",  1e6},
	    {NULL, 0  }
};
static const struct unit shares_ppm[] = {
	{"%",   1e4},
	    {"ppm", 1  },
	{NULL,  0	}
};
static const struct unit shares_permille[] = {
	{"%",  10},
	   {NULL, 0 }
};
static const struct unit rates_bps[] = {
	{"",   1  },
	 {"k",  1e3},
	     {"M",  1e6},
	 {"G",  1e9},
	     {NULL, 0  }
};
static const struct unit plain[] = {
	{"",   1},
	 {NULL, 0}
};

/* A number that is not negative, and one of the units; at most `max`. */
static bool read_number(const char *text, const struct unit *units, double max, double *value)
{
	char digits[TEXT_MAX + 1], *end;
	size_t length = strspn(text, "0123456789.");
	double number;

	if (!isdigit((unsigned char)*text) || length > TEXT_MAX)
		return false;
	memcpy(digits, text, length);
	digits[length] = 0;
	number = strtod(digits, &end);
	while (units->name && strcmp(text + length, units->name))
		units++;
	*value = number * units->times;
	return !*end && units->name && *value <= max;
}

/* ---- items ----------------------------------------------------------------------------------- */

enum item_kind { ITEM_NODE, ITEM_LINK };

/* Keys of an item; their values as text until it is whole. */
enum key {
	KEY_NAME,
	KEY_REGION,
	KEY_TIER,
	KEY_COST,
	KEY_CAPACITY,
	KEY_BUSY,
	KEY_FROM,
	KEY_TO,
	KEY_BETWEEN,
	KEY_DELAY,
	KEY_RTT,
	KEY_JITTER,
	KEY_LOSS,
	KEY_RATE,
	KEY_USED,
	KEYS
};

static const struct {
	const char *name;
	enum item_kind of;
	const char *expected;
	const struct unit *units; /* NULL: text */
	double max;
} keys[KEYS] = {
	[KEY_NAME] = {"name",     ITEM_NODE, "a name",				   NULL,		 0	  },
	[KEY_REGION] = {"region",	  ITEM_NODE, "a name",			       NULL,	     0   },
	[KEY_TIER] = {"tier",     ITEM_NODE, "core or edge",			 NULL,	       0	},
	[KEY_COST] = {"cost",     ITEM_NODE, "a number",			     plain,	    1e6 },
	[KEY_CAPACITY] = {"capacity", ITEM_NODE, "a rate, such as 10G",		rates_bps,	   1e15},
	[KEY_BUSY] = {"busy",     ITEM_NODE, "a share, such as 30%",		 shares_permille, 1000},
	[KEY_FROM] = {"from",     ITEM_LINK, "the name of a node",		       NULL,	     0   },
	[KEY_TO] = {"to",	  ITEM_LINK, "the name of a node",		   NULL,		 0	  },
	[KEY_BETWEEN] = {"between",  ITEM_LINK, "two names of nodes in [ ]",	    NULL,		  0   },
	[KEY_DELAY] = {"delay",	ITEM_LINK, "a time one way, such as 4ms",	  times_us,	    1e9 },
	[KEY_RTT] = {"rtt",	    ITEM_LINK, "a time there and back, such as 8ms", times_us,	       2e9 },
	[KEY_JITTER] = {"jitter",	  ITEM_LINK, "a time, such as 1ms",		    times_us,	      1e9 },
	[KEY_LOSS] = {"loss",     ITEM_LINK, "a share, such as 0.1%",		  shares_ppm,      1e6 },
	[KEY_RATE] = {"rate",     ITEM_LINK, "a rate, such as 1G",		       rates_bps,	  1e15},
	[KEY_USED] = {"used",     ITEM_LINK, "a share of the rate, such as 40%",   shares_permille, 1000},
};

struct item {
	bool has[KEYS];
	double number[KEYS];
	char text[KEYS][TEXT_MAX + 1];
	char ends[ENDS][TEXT_MAX + 1]; /* between */
	unsigned end_count;
};

enum depth { OUTSIDE, TOP, LIST, ITEM, PAIR };

struct reading {
	struct topology *topology;
	struct topology_problem *problem;
	uint32_t line;
	enum depth depth;
	enum item_kind kind;
	bool has_list; /* top: its key was read */
	int key;       /* item: whose value is next; -1 = none */
	uint64_t nodes;
	struct item item;
};

__attribute__((format(printf, 2, 3))) static enum err wrong(
	struct reading *r, const char *format, ...)
{
	va_list arguments;

	r->problem->line = r->line;
	va_start(arguments, format);
	vsnprintf(r->problem->text, sizeof(r->problem->text), format, arguments);
	va_end(arguments);
	return ERR_FORMAT;
}

static enum err refused(struct reading *r, enum err err)
{
	wrong(r, "%s", err_text(err));
	return err;
}

static enum err end_node(struct reading *r)
{
	const struct item *item = &r->item;
	struct topology_about about = {
		.tier = item->has[KEY_TIER] && !strcmp(item->text[KEY_TIER], "core") ? NODE_CORE
										     : NODE_EDGE,
		.cost = (uint32_t)item->number[KEY_COST],
		.capacity_bps = (uint64_t)item->number[KEY_CAPACITY],
		.busy_permille = (uint16_t)item->number[KEY_BUSY],
	};
	struct topology_node *node;
	enum err err;

	if (!item->has[KEY_NAME])
		return wrong(r, "expected a node with a name");
	if (item->has[KEY_TIER] && strcmp(item->text[KEY_TIER], "core") &&
		strcmp(item->text[KEY_TIER], "edge"))
		return wrong(r, "tier: expected core or edge, got \"%.40s\"", item->text[KEY_TIER]);
	if (strlen(item->text[KEY_REGION]) >= sizeof(about.region))
		return wrong(r, "region: expected at most %zu bytes", sizeof(about.region) - 1);
	text_copy(about.name, sizeof(about.name), item->text[KEY_NAME]);
	text_copy(about.region, sizeof(about.region), item->text[KEY_REGION]);
	err = topology_hear(r->topology, ++r->nodes, &about, 0, &node);
	return err ? refused(r, err) : ERR_OK;
}

static struct topology_node *node_named(struct reading *r, const char *name)
{
	for (uint32_t i = 0; i < r->topology->places; i++)
		if (!strcmp(r->topology->nodes[i].about.name, name))
			return &r->topology->nodes[i];
	wrong(r, "expected a node of the list above, got \"%.40s\"", name);
	return NULL;
}

static enum err end_link(struct reading *r)
{
	const struct item *item = &r->item;
	bool is_both = item->has[KEY_BETWEEN];
	const char *names[ENDS] = {is_both ? item->ends[0] : item->text[KEY_FROM],
		is_both ? item->ends[1] : item->text[KEY_TO]};
	struct topology_node *ends[ENDS];
	struct link_row row = {
		.rtt_us = (uint32_t)(item->has[KEY_RTT] ? item->number[KEY_RTT]
							: 2 * item->number[KEY_DELAY]),
		.jitter_us = (uint32_t)item->number[KEY_JITTER],
		.loss_ppm = (uint32_t)item->number[KEY_LOSS],
		.capacity_bps = (uint64_t)item->number[KEY_RATE],
	};
	enum err err = ERR_OK;

	if (is_both ? item->has[KEY_FROM] || item->has[KEY_TO]
		    : !item->has[KEY_FROM] || !item->has[KEY_TO])
		return wrong(r, "expected between: [a, b], or from: a and to: b");
	if (is_both && item->end_count != ENDS)
		return wrong(r, "between: expected %s", keys[KEY_BETWEEN].expected);
	if (item->has[KEY_RTT] && item->has[KEY_DELAY])
		return wrong(r, "expected delay or rtt, not both");
	for (int i = 0; i < ENDS; i++) {
		ends[i] = node_named(r, names[i]);
		if (!ends[i])
			return ERR_FORMAT;
	}
	if (ends[0] == ends[1])
		return wrong(r, "expected two nodes, got \"%.40s\" twice", names[0]);
	row.rate_bps = (uint64_t)(item->number[KEY_RATE] * item->number[KEY_USED] / 1000);
	for (int i = 0; !err && i <= is_both; i++) {
		if (topology_link_to(r->topology, ends[i], ends[!i]))
			return wrong(r, "expected once, but this link is there already");
		row.node = ends[!i]->id;
		err = topology_measured(r->topology, ends[i], &row, 0);
	}
	return err ? refused(r, err) : ERR_OK;
}

/* ---- events ---------------------------------------------------------------------------------- */

static enum err take_key(struct reading *r, const char *text)
{
	for (r->key = 0; r->key < KEYS; r->key++)
		if (keys[r->key].of == r->kind && !strcmp(keys[r->key].name, text))
			break;
	if (r->key == KEYS)
		return wrong(r, "unknown key \"%.40s\" of a %s", text,
			r->kind == ITEM_NODE ? "node" : "link");
	if (r->item.has[r->key])
		return wrong(r, "%s: expected once", text);
	r->item.has[r->key] = true;
	return ERR_OK;
}

static enum err take_value(struct reading *r, const char *text)
{
	int key = r->key;

	r->key = -1;
	if (key == KEY_BETWEEN || !*text ||
		(keys[key].units &&
			!read_number(text, keys[key].units, keys[key].max, &r->item.number[key])))
		return wrong(r, "%s: expected %s, got \"%.40s\"", keys[key].name,
			keys[key].expected, text);
	text_copy(r->item.text[key], sizeof(r->item.text[key]), text);
	return ERR_OK;
}

static enum err take_scalar(struct reading *r, const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;
	size_t length = event->data.scalar.length;

	if (r->depth == OUTSIDE && !length)
		return ERR_OK; /* an empty document */
	if (strlen(text) != length || length > TEXT_MAX)
		return wrong(r, "expected at most %d bytes of text", TEXT_MAX);
	switch (r->depth) {
	case TOP:
		if (r->has_list || (strcmp(text, "nodes") && strcmp(text, "links")))
			return wrong(
				r, "expected nodes: or links: and a list, got \"%.40s\"", text);
		r->kind = strcmp(text, "nodes") ? ITEM_LINK : ITEM_NODE;
		r->has_list = true;
		return ERR_OK;
	case ITEM: return r->key < 0 ? take_key(r, text) : take_value(r, text);
	case PAIR:
		if (r->item.end_count == ENDS)
			return wrong(r, "between: expected %s", keys[KEY_BETWEEN].expected);
		text_copy(r->item.ends[r->item.end_count++], TEXT_MAX + 1, text);
		return ERR_OK;
	default: return wrong(r, "expected { } with keys, got \"%.40s\"", text);
	}
}

static enum err open_list(struct reading *r)
{
	if (r->depth == TOP && r->has_list)
		r->depth = LIST;
	else if (r->depth == ITEM && r->key == KEY_BETWEEN)
		r->depth = PAIR;
	else
		return wrong(r, "expected no list here");
	return ERR_OK;
}

static enum err open_mapping(struct reading *r)
{
	if (r->depth == OUTSIDE)
		r->depth = TOP;
	else if (r->depth == LIST)
		r->depth = ITEM;
	else
		return wrong(r, "expected no keys here");
	r->key = -1;
	memset(&r->item, 0, sizeof(r->item));
	return ERR_OK;
}

static enum err close_any(struct reading *r)
{
	switch (r->depth) {
	case PAIR:
		r->depth = ITEM;
		r->key = -1;
		return ERR_OK;
	case ITEM: r->depth = LIST; return r->kind == ITEM_NODE ? end_node(r) : end_link(r);
	case LIST:
		r->depth = TOP;
		r->has_list = false;
		return ERR_OK;
	default: r->depth = OUTSIDE; return ERR_OK;
	}
}

static enum err take_event(struct reading *r, const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_SCALAR_EVENT: return take_scalar(r, event);
	case YAML_SEQUENCE_START_EVENT: return open_list(r);
	case YAML_MAPPING_START_EVENT: return open_mapping(r);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT: return close_any(r);
	case YAML_ALIAS_EVENT: return wrong(r, "expected no aliases");
	default: return ERR_OK;
	}
}

enum err topology_read(
	struct topology *topology, const void *bytes, size_t size, struct topology_problem *problem)
{
	struct reading r = {.topology = topology, .problem = problem, .key = -1};
	enum err err = ERR_OK;
	yaml_parser_t parser;
	bool is_end = false;

	*problem = (struct topology_problem){0};
	if (size > TOPOLOGY_FILE_BYTES_MAX) {
		wrong(&r, "expected at most %d bytes", TOPOLOGY_FILE_BYTES_MAX);
		return ERR_TOO_LARGE;
	}
	if (!yaml_parser_initialize(&parser))
		return refused(&r, ERR_NO_MEMORY);
	yaml_parser_set_input_string(&parser, bytes ? bytes : (const unsigned char *)"", size);
	while (!err && !is_end) {
		yaml_event_t event;

		if (!yaml_parser_parse(&parser, &event)) {
			r.line = (uint32_t)parser.problem_mark.line + 1;
			err = wrong(&r, "not YAML: %s", parser.problem ? parser.problem : "?");
			break;
		}
		r.line = (uint32_t)event.start_mark.line + 1;
		is_end = event.type == YAML_STREAM_END_EVENT;
		err = take_event(&r, &event);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	return err;
}

/* ---- writing --------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void put(struct writer *out, const char *format, ...)
{
	char line[512];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	MUST(length >= 0 && (size_t)length < sizeof(line));
	write_bytes(out, line, (size_t)length);
}

static void write_link(struct writer *out, const struct topology *topology,
	const struct topology_node *from, const struct topology_link *link)
{
	put(out,
		"  - {from: \"%s\", to: \"%s\", rtt: %" PRIu32 "us, jitter: %" PRIu32
		"us, loss: %" PRIu32 "ppm",
		from->about.name, topology->nodes[link->to].about.name, link->rtt_us,
		link->jitter_us, link->loss_ppm);
	if (link->capacity_bps)
		put(out, ", rate: %" PRIu64 ", used: %.4f%%", link->capacity_bps,
			link->rate_bps >= link->capacity_bps
				? 100.0
				: (double)link->rate_bps * 100 / (double)link->capacity_bps);
	put(out, "}\n");
}

enum err topology_write(const struct topology *topology, struct writer *out)
{
	put(out, "nodes:\n");
	for (uint32_t i = 0; i < topology->places; i++) {
		const struct topology_about *about = &topology->nodes[i].about;

		if (!topology->nodes[i].id)
			continue;
		put(out,
			"  - {name: \"%s\", tier: %s, cost: %" PRIu32 ", capacity: %" PRIu64
			", busy: %.1f%%",
			about->name, about->tier == NODE_CORE ? "core" : "edge", about->cost,
			about->capacity_bps, (double)about->busy_permille / 10);
		if (about->region[0])
			put(out, ", region: \"%s\"", about->region);
		put(out, "}\n");
	}
	put(out, "links:\n");
	for (uint32_t i = 0; i < topology->places; i++)
		for (uint16_t j = 0; j < topology->nodes[i].link_count; j++)
			write_link(
				out, topology, &topology->nodes[i], &topology->nodes[i].links[j]);
	return out->bad ? ERR_NO_SPACE : ERR_OK;
}
