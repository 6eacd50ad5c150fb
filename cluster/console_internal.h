/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the console: console_actor.c (questions: asking, merging, answering, life),
 * console_commands.c (the table of commands and how each begins), console_node.c (those about the
 * node and its processes), console_nodes.c (nodes of the cluster), console_standing.c (how
 * busy they are, sending sessions from one to another), console_paths.c (what the brain
 * plans), console_far.c (asking other nodes), console_copies.c (a stream over the whole cluster),
 * console_trace.c (how long its hops take), console_ping.c (how long mail takes), console_map.c (nodes and links), console_changes.c (which ways
 * are others now),
 * console_config.c (keys of the configuration), console_complete.c (what a line may go on with).
 */
#ifndef MILLRACE_CONSOLE_INTERNAL_H
#define MILLRACE_CONSOLE_INTERNAL_H

#include "cluster/console_view.h"
#include "runtime/actor_filter.h"
#include "runtime/runtime.h"

struct question;

enum {
	CONSOLE_MS = 1000, /* microseconds */
	CONSOLE_ASK_MS = 2000,
	CONSOLE_QUESTIONS_MAX = 64,
	CONSOLE_PROCESSES_MAX = RUNTIME_PEERS_MAX + 1,
	CONSOLE_COMMAND_MAX = 4096,
	CONSOLE_COMMAND_POLL_MS = 5,
	CONSOLE_TIMER_COMMANDS = 0,
	CONSOLE_TIMER_PING = 1,
};

struct expected {
	uint64_t request; /* 0 = has answered, or will not */
	uint8_t role;
	uint32_t index;
	size_t size;	  /* of the answer, as it came */
	json_t *document; /* the answer */
};

/* A node that is asked, and what it said. */
struct far_node {
	uint64_t node;
	char name[64], region[32];
	enum mesh_state state;
	enum node_tier tier;
	int64_t rtt_us, offset_us; /* its clock is ahead of ours by that */
	uint64_t request;	   /* 0 = has answered, or will not */
	enum err err;
	json_t *answer; /* its whole document; NULL = none came */
};

struct far {
	char command[CONSOLE_COMMAND_MAX];
	char wanted[64]; /* a node's name or id; "all" */
	struct far_node *nodes;
	uint32_t count, room, waiting;
	/* All have answered, or their time is up: finishes the question, or asks on. */
	void (*gathered)(struct actor *self, struct question *q);
	struct trace *trace; /* `trace STREAM`: the copies that are asked then (console_trace.c) */
	struct ping *ping;   /* `ping` (console_ping.c) */
};

struct question {
	bool used;
	const struct command *command;
	struct asker asker;
	uint64_t follow; /* watch, trace: what further answers carry, and to whom they go */
	struct addr follower;
	struct addr source; /* who sends them */
	struct expected asked[CONSOLE_PROCESSES_MAX];
	uint32_t asked_count;
	uint32_t waiting;
	bool from_afar;		   /* another node asks */
	bool went_on;		   /* the command's second round */
	bool as_it_is;		   /* the document is the result, whatever the command's view */
	struct far *far;	   /* other nodes are asked */
	const struct schema *sent; /* send: the message */
	/* Takes what came for `sent` instead (schema NULL: no answer came): asks again or finishes. */
	void (*answered)(struct actor *self, struct question *q, const struct schema *schema,
		const void *message);
	struct addr session;	     /* move: the one that goes to another node */
	struct msg_node_drain drain; /* drain node: what is wanted */
	struct console_reply reply;
	size_t taken;	     /* bytes of the answers kept */
	uint32_t command_id; /* to the supervisor, 0 = none … */
	uint8_t command_op;  /* enum process_command_op */
	int64_t until_us;    /* for its reply */
};

struct console {
	struct console_state st;

	struct question *questions;
	uint32_t last_command;
};

struct command {
	/* Begins the question: answers it by console_finish, or has asked somebody. */
	void (*begin)(struct actor *self, struct question *q, const char *arguments);
	console_view *view; /* of what was gathered; NULL = the one document that came */
	const char *name;   /* "api …": its document stands alone, without {"ok":…} around it */
	const char *arguments;
	const char *does;
	const char *example;
	/* When all have answered: true = it has asked again. May set reply.err. */
	bool (*go_on)(struct actor *self, struct question *q);
	bool tells; /* and changes nothing: other nodes may ask for it, too */
};

/* console_actor.c */
void console_finish(struct actor *self, struct question *q);
/* problem "" = the error's own text. */
void console_fail(struct actor *self, struct question *q, enum err err, const char *problem);
void console_ask_everybody(struct actor *self, struct question *q, const char *text);
/* The process in which `who` lives; fails the question when there is none. */
void console_ask_home_of(struct actor *self, struct question *q, struct addr who, const char *text);
/* The media worker of that index; fails the question when there is none. */
void console_ask_worker(struct actor *self, struct question *q, uint32_t worker, const char *text);
/* An office of this process; `answered` hears of it. */
void console_ask_office(struct actor *self, struct question *q, enum office office,
	const struct schema *schema, const void *message);

/* console_node.c */
typedef void console_begin(struct actor *self, struct question *q, const char *arguments);
/* The word `name` and a number behind it, both taken off *at; false: *at begins with something else. */
bool console_take_number(const char **at, const char *name, long max, long *number);
console_begin console_begin_kill_worker, console_begin_drain_worker, console_begin_drain,
	console_begin_scale, console_begin_upgrade, console_begin_operation, console_begin_shutdown;
struct process_reply;
void console_supervisor_replied(
	struct actor *self, struct question *q, const struct process_reply *reply);

/* console_nodes.c */
console_begin console_begin_nodes;

/* console_standing.c */
console_begin console_begin_load, console_begin_drain_node;
void console_move_to_node(
	struct actor *self, struct question *q, struct addr session, const char *name);

/* console_paths.c */
console_begin console_begin_brain, console_begin_path;

/* console_far.c */
console_begin console_begin_on;
/* Is there more than this node? */
bool console_in_cluster(struct actor *self);
/* An actor of another node: that one is asked instead. */
bool console_is_far(struct actor *self, struct addr who);
/* Asks the node of that name or id, or (all) every one; this one by mail to itself. */
void console_far_begin(struct actor *self, struct question *q, const char *wanted,
	const char *command, void (*gathered)(struct actor *self, struct question *q));
/* That node's answer is the question's. */
void console_far_pass(struct actor *self, struct question *q, uint64_t node, const char *command);
/* Is this about a node that was asked? message NULL: it does not answer. */
bool console_far_answered(struct actor *self, struct console *s, uint64_t request,
	const struct msg_console_answer *message);
void console_far_forget(struct actor *self, struct question *q);
/* Of a node that was asked, by its id, which stays when it was none of them. */
const char *console_far_name(const struct far *far, const char *id);
/* "b > a", of an array of ids: copied from b, which copies a. A new reference. */
json_t *console_way_text(const struct far *far, const json_t *way);
/* The result that a node gave; NULL = none. */
const json_t *console_far_result(const struct far_node *node);
/* Notes of a list that this node's part, or some process of it, is missing. */
void console_far_remark(struct question *q, const struct far_node *node);

/* console_changes.c */
console_begin console_begin_changed, console_begin_changes;
/* This node's relay office is asked; mapped: for the last few only. */
void console_ask_changes(struct actor *self, struct question *q, bool mapped,
	void (*answered)(struct actor *, struct question *, const struct schema *, const void *));
/* What is older is not drawn any more. */
int64_t console_changes_mapped_since_us(struct actor *self);
/* Rows by ids of nodes; none without an answer (NULL). A new reference. */
json_t *console_changes_document(const struct msg_relay_changes_told *told, int64_t since_us);
/* Those rows, as one node said them, are added to `rows` with that node's name and those of the others. */
void console_changes_join(
	const struct far *far, const struct far_node *node, const json_t *changes, json_t *rows);

/* console_ping.c */
console_begin console_begin_ping;
/* Those that wait for it send another one. */
void console_ping_due(struct actor *self, struct console *s);

/* console_copies.c */
console_begin console_begin_copies, console_begin_paths;
/* `copies` of every node, about the stream that the arguments name. */
void console_copies_of_all(struct actor *self, struct question *q, const char *arguments,
	void (*gathered)(struct actor *self, struct question *q));
console_view console_view_copies;
bool console_copies_go_on(struct actor *self, struct question *q);
/* What all nodes have of a stream (`copies`) as rows of one list, each with the name of its node. */
void console_copies_join(struct question *q);

/* console_map.c */
console_begin console_begin_neighbours, console_begin_map;

/* console_config.c */
console_begin console_begin_config;

/* console_complete.c */
console_begin console_begin_complete;
bool console_complete_go_on(struct actor *self, struct question *q);

/* console_trace.c */
console_begin console_begin_trace_stream;
/* As console_far_answered, about a copy of a stream. */
bool console_trace_answered(struct actor *self, struct console *s, uint64_t request,
	const struct msg_stream_traced *message);
void console_trace_forget(struct actor *self, struct trace *trace);

/* console_commands.c */
const char *console_skip_blanks(const char *text);
/* The next word of *at; false when there is none or it is too long. */
bool console_next_word(const char **at, char *word, size_t size);
bool console_has_words(const char *arguments);
/* The row whose name the text begins with, and what follows it; NULL = none. */
const struct command *console_find_command(const char *text, const char **arguments);
/* Without "api ": what the process offices are asked. */
const char *console_bare_name(const struct command *command);
/* The answer to `help`: a new reference. */
json_t *console_help(void);
/* An answer to `send`: of that type, or (schema NULL) none came in time. */
void console_sent_answered(
	struct actor *self, struct question *q, const struct schema *schema, const void *message);

#endif
