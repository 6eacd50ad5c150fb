/* SPDX-License-Identifier: Apache-2.0
 *
 * Watch and trace: a follower in the control process, an actor in a worker, the process office
 * between them; and what goes on with lists while actors come and go.
 */
#include "runtime/process_office.h"
#include "tests/unit/cluster_node.h"

#include <jansson.h>
#include <stdio.h>

enum { FOLLOWER_MAX = 64, TEXT_MAX = 400001 /* console_answer.json */, FOLLOWS_MAX = 8 };

struct event {
	uint16_t type;
	enum err err;
	uint64_t follow, left_out;
	struct addr from;
	char json[TEXT_MAX];
};

struct follower {
	struct name_row state;
	struct event *events; /* FOLLOWER_MAX */
	int count;
};

static struct event *new_event(struct follower *s, const struct mail *mail)
{
	struct event *event = &s->events[s->count++ % FOLLOWER_MAX];

	*event = (struct event){.type = mail->type, .from = mail->from};
	return event;
}

static void keep_text(struct event *event, struct slice json)
{
	snprintf(event->json, sizeof(event->json), "%.*s", (int)json.size, json.data);
}

ON(follower, console_answer)
{
	struct event *event = new_event(s, mail);

	event->err = (enum err)m->err;
	keep_text(event, m->json);
	return ERR_OK;
}

ON(follower, console_event)
{
	struct event *event = new_event(s, mail);

	event->follow = m->follow;
	event->left_out = m->left_out;
	keep_text(event, m->json);
	return ERR_OK;
}

ON(follower, console_end)
{
	struct event *event = new_event(s, mail);

	event->follow = m->follow;
	keep_text(event, m->json);
	return ERR_OK;
}

static enum err follower_init(struct actor *self, void *data, const void *args)
{
	(void)self;
	(void)args;
	((struct follower *)data)->events = calloc(FOLLOWER_MAX, sizeof(struct event));
	return ERR_OK;
}

static void follower_stop(struct actor *self, void *data, enum err reason)
{
	(void)self;
	(void)reason;
	free(((struct follower *)data)->events);
}

static const struct handler follower_handlers[] = {
	HANDLER(follower, console_answer, 0),
	HANDLER(follower, console_event, 0),
	HANDLER(follower, console_end, 0),
};

static const struct actor_type follower_actor = {
	.name = "follower",
	.size = sizeof(struct follower),
	.state = &schema_name_row,
	HANDLER_TABLE(follower_handlers),
	.init = follower_init,
	.stop = follower_stop,
};

/* ---- a control process and a worker ---------------------------------------------------------- */

struct place {
	struct node *node;
	struct runtime *control, *worker;
	struct addr follower, subject;
};

static struct place place_create(void)
{
	struct place place = {.node = node_create()};

	place.control = node_start(place.node, 0);
	place.worker = node_start(place.node, 1);
	CHECK_OK(actor_spawn_office(place.worker, OFFICE_PROCESS, &process_office_actor, NULL));
	CHECK_OK(actor_spawn(place.control, NULL, &follower_actor, NULL, &place.follower));
	place.subject = puppet_new(place.worker, "subject");
	node_run_ms(place.node, 20);
	return place;
}

static struct follower *follower_of(const struct place *place)
{
	return actor_data(runtime_find(place->control, place->follower.id));
}

static const struct event *last_event(const struct place *place)
{
	struct follower *s = follower_of(place);

	CHECK(s->count > 0);
	return &s->events[(s->count - 1) % FOLLOWER_MAX];
}

struct request {
	struct addr to;
	const char *command;
	uint64_t follow;
	struct addr follower;
};

static void ask_office(struct actor *self, void *data, void *context)
{
	const struct request *r = context;

	(void)data;
	actor_request(self, r->to, 2000, console_query,
		{
			.command = {r->command, (uint32_t)strlen(r->command)},
			.follow = r->follow,
			.follower = r->follower,
	});
}

static struct addr office_of(const struct place *place)
{
	return (struct addr){NODE_ID,
		place->subject.id >> RUNTIME_BLOCK_SHIFT << RUNTIME_BLOCK_SHIFT | OFFICE_PROCESS};
}

/* "watch", "trace" … of the subject; returns what came at once. */
static const struct event *ask(struct place *place, const char *command, uint64_t follow)
{
	char text[200], address[ADDR_TEXT_SIZE];
	struct request request = {
		.to = office_of(place), .follow = follow, .follower = place->follower};

	snprintf(text, sizeof(text), "%.*s %s%s", (int)strcspn(command, " "), command,
		addr_text(place->subject, address), command + strcspn(command, " "));
	request.command = text;
	CHECK(actor_call(place->control, place->follower, &follower_actor, ask_office, &request));
	node_run_ms(place->node, 10);
	return last_event(place);
}

static void set_epoch(struct actor *self, void *data, void *context)
{
	(void)self;
	((struct puppet *)data)->state.epoch = *(uint64_t *)context;
}

static void change(struct place *place, uint64_t epoch)
{
	CHECK(actor_call(place->worker, place->subject, &puppet_actor, set_epoch, &epoch));
}

static void send_note(struct actor *self, void *data, void *context)
{
	const struct place *place = context;

	(void)data;
	actor_send(self, place->subject, name_granted, {.name = "x", .epoch = 5});
}

static void tell_subject(struct place *place)
{
	CHECK(actor_call(place->control, place->follower, &follower_actor, send_note, place));
}

static void unfollow(struct actor *self, void *data, void *context)
{
	const struct request *r = context;

	(void)data;
	actor_send(self, r->to, console_unfollow, {.follow = r->follow});
}

static int count_of(const struct place *place)
{
	return follower_of(place)->count;
}

/* ---- the rows -------------------------------------------------------------------------------- */

TEST(a_watch_tells_what_changes_and_no_more)
{
	struct place place = place_create();
	const struct event *event = ask(&place, "watch", 77);
	int count;

	CHECK_EQ(event->type, MSG_console_answer);
	CHECK(strstr(event->json, "\"state\":{\"name\""));
	count = count_of(&place);
	node_run_ms(place.node, 500);
	CHECK_EQ(count_of(&place), count); /* nothing happens: nothing is said */
	change(&place, 9);
	node_run_ms(place.node, 150);
	CHECK_EQ(count_of(&place), count + 1);
	event = last_event(&place);
	CHECK_EQ(event->type, MSG_console_event);
	CHECK_EQ(event->follow, 77);
	CHECK(strstr(event->json, "\"changed\":{\"epoch\":9}"));
	change(&place, 9); /* it ran, and is as before */
	node_run_ms(place.node, 300);
	CHECK_EQ(count_of(&place), count + 1);
	/* a hundred changes in a second are at most ten and one events, the last of them complete */
	for (uint64_t i = 10; i < 110; i++) {
		change(&place, i);
		node_run_ms(place.node, 10);
	}
	node_run_ms(place.node, 200);
	CHECK(count_of(&place) - count >= 8 && count_of(&place) - count <= 13);
	CHECK(strstr(last_event(&place)->json, "\"epoch\":109"));
	node_destroy(place.node);
}

TEST(a_trace_shows_mail_in_and_out)
{
	struct place place = place_create();
	const struct event *event = ask(&place, "trace", 5);
	int count;

	CHECK(strstr(event->json, "\"messages\":\"all\""));
	count = count_of(&place);
	tell_subject(&place);
	node_run_ms(place.node, 50);
	CHECK_EQ(count_of(&place), count + 1);
	event = last_event(&place);
	CHECK(strstr(event->json, "\"direction\":\"in\""));
	CHECK(strstr(event->json, "\"message\":\"name_granted\",\"kind\":\"mail\""));
	CHECK(strstr(event->json, "\"fields\":{\"name\":\"x\",\"epoch\":5,\"start_us\":0}"));
	/* what it says itself */
	struct request request = {.to = office_of(&place), .command = "counters"};
	CHECK(actor_call(place.worker, place.subject, &puppet_actor, ask_office, &request));
	node_run_ms(place.node, 50);
	event = last_event(&place);
	CHECK(strstr(event->json, "\"direction\":\"out\"") ||
		strstr(event->json, "console_answer"));
	node_destroy(place.node);
}

TEST(a_trace_of_some_messages)
{
	struct place place = place_create();
	int count;

	CHECK_OK(ask(&place, "trace name_found placed", 5)->err);
	count = count_of(&place);
	tell_subject(&place); /* name_granted */
	node_run_ms(place.node, 100);
	CHECK_EQ(count_of(&place), count);
	CHECK_EQ(ask(&place, "trace nonsense", 6)->err, ERR_NOT_FOUND);
	CHECK_EQ(ask(&place, "trace name_row", 6)->err, ERR_NOT_FOUND); /* no message */
	CHECK_EQ(ask(&place, "trace", 0)->err, ERR_UNSUPPORTED);
	node_destroy(place.node);
}

/* More mail than a trace tells: the rest is counted, the mail itself is not held up. */
TEST(a_flood_is_left_out_and_counted)
{
	enum { MAILS = 5000 };
	struct place place = place_create();
	struct actor_facts facts;

	ask(&place, "trace", 5);
	for (int i = 0; i < MAILS; i++) {
		tell_subject(&place);
		if (i % 250 == 249)
			node_run_ms(place.node, 5);
	}
	node_run_ms(place.node, 200);
	runtime_facts(runtime_find(place.worker, place.subject.id), &facts);
	CHECK(facts.handled >= MAILS);
	tell_subject(&place); /* the count comes with the next event */
	node_run_ms(place.node, 1500);
	tell_subject(&place);
	node_run_ms(place.node, 50);
	const struct event *event = last_event(&place);
	CHECK_EQ(event->type, MSG_console_event);
	CHECK(event->left_out >= MAILS - 1100);
	CHECK(event->left_out < MAILS);
	node_destroy(place.node);
}

TEST(the_end_of_what_is_followed)
{
	struct place place = place_create();

	ask(&place, "watch", 1);
	ask(&place, "trace", 2);
	int count = count_of(&place);
	CHECK(actor_call(place.worker, place.subject, &puppet_actor, puppet_end, NULL));
	node_run_ms(place.node, 20);
	CHECK_EQ(count_of(&place), count + 2);
	CHECK_EQ(last_event(&place)->type, MSG_console_end);
	CHECK(strstr(last_event(&place)->json, "\"ended\":true"));
	CHECK_EQ(ask(&place, "watch", 3)->err, ERR_NOT_FOUND);
	node_destroy(place.node);
}

TEST(the_end_of_a_follower_and_of_a_follow)
{
	struct place place = place_create();
	struct process_office_state *office;
	struct request request = {.to = office_of(&place), .follow = 1};

	office = actor_data(runtime_find(place.worker, office_of(&place).id));
	ask(&place, "watch", 1);
	ask(&place, "trace", 2);
	CHECK_EQ(office->follows_count, 2);
	CHECK(actor_call(place.control, place.follower, &follower_actor, unfollow, &request));
	node_run_ms(place.node, 10);
	CHECK_EQ(office->follows_count, 1);
	int count = count_of(&place);
	change(&place, 3);
	node_run_ms(place.node, 300);
	CHECK_EQ(count_of(&place), count); /* not watched any more */
	tell_subject(&place);
	node_run_ms(place.node, 50);
	CHECK_EQ(count_of(&place), count + 1); /* but traced */
	node_kill(place.node, 0);
	node_run_ms(place.node, 10);
	CHECK_EQ(office->follows_count, 0);
	node_destroy(place.node);
}

TEST(follows_are_bounded)
{
	struct place place = place_create();

	for (uint64_t i = 1; i <= FOLLOWS_MAX; i++)
		CHECK_OK(ask(&place, i % 2 ? "watch" : "trace", i)->err);
	CHECK_EQ(ask(&place, "watch", FOLLOWS_MAX + 1)->err, ERR_OVERLOAD);
	CHECK_EQ(ask(&place, "trace", FOLLOWS_MAX + 1)->err, ERR_OVERLOAD);
	node_destroy(place.node);
}

/* ---- lists in pieces ------------------------------------------------------------------------- */

static void ask_plain(struct place *place, const char *command)
{
	struct request request = {.to = office_of(place), .command = command};

	CHECK(actor_call(place->control, place->follower, &follower_actor, ask_office, &request));
}

/* One of thousands: nobody says anything to it, so it has no room for what it hears. */
struct deaf {
	struct name_row state;
};

static enum err deaf_init(struct actor *self, void *data, const void *args)
{
	(void)data;
	actor_set_name(self, args);
	return ERR_OK;
}

static const struct actor_type deaf_actor = {
	.name = "puppet",
	.size = sizeof(struct deaf),
	.state = &schema_name_row,
	.init = deaf_init,
};

static struct addr deaf_new(struct runtime *rt, const char *name)
{
	struct addr addr;

	CHECK_OK(actor_spawn(rt, NULL, &deaf_actor, name, &addr));
	return addr;
}

TEST(a_long_list_is_made_in_turns_and_survives_who_ends_meanwhile)
{
	enum { MANY = 8000 };
	static struct addr puppets[MANY];
	struct place place = place_create();

	for (int i = 0; i < MANY; i++)
		puppets[i] = deaf_new(place.worker, i == MANY - 1 ? "last" : "one");
	ask_plain(&place, "actors where name = last");
	/* the actor that was looked at last ends between two pieces, with many others */
	node_run_ms(place.node, 3);
	CHECK_EQ(count_of(&place), 0); /* it takes more turns than these */
	for (int i = 0; i < MANY - 1; i++)
		actor_call(place.worker, puppets[i], &deaf_actor, puppet_end, NULL);
	node_run_ms(place.node, 50);
	CHECK_EQ(count_of(&place), 1);
	CHECK(strstr(last_event(&place)->json, "\"name\":\"last\""));
	CHECK(strstr(last_event(&place)->json, "\"next\":null"));
	node_destroy(place.node);
}

/* Thousands of actors in two processes: every one is in exactly one page. */
TEST(pages_through_all_processes)
{
	enum { MANY = 3000 };
	struct place place = place_create();
	struct request request = {
		.to = {NODE_ID, place.follower.id >> RUNTIME_BLOCK_SHIFT << RUNTIME_BLOCK_SHIFT |
					OFFICE_CONSOLE}
	       };
	char command[100] = "actors puppet";
	uint64_t last = 0;
	int seen = 0, pages = 0;
	json_t *document, *row;
	size_t i;

	CHECK_OK(actor_spawn_office(place.control, OFFICE_CONSOLE, &console_actor, NULL));
	CHECK_OK(actor_spawn_office(place.control, OFFICE_PROCESS, &process_office_actor, NULL));
	for (int k = 0; k < MANY; k++)
		deaf_new(k % 2 ? place.worker : place.control, "one of very many indeed");
	do {
		request.command = command;
		CHECK(actor_call(
			place.control, place.follower, &follower_actor, ask_office, &request));
		node_run_ms(place.node, 20);
		CHECK_OK(last_event(&place)->err);
		document = json_loads(last_event(&place)->json, 0, NULL);
		json_array_foreach(json_object_get(document, "result"), i, row)
		{
			struct addr addr;

			CHECK_OK(
				addr_parse(json_string_value(json_object_get(row, "addr")), &addr));
			CHECK(addr.id > last);
			last = addr.id;
			seen++;
		}
		const char *next = json_string_value(json_object_get(document, "next"));
		snprintf(command, sizeof(command), "actors puppet after %s", next ? next : "");
		pages = next ? pages + 1 : -pages - 1;
		CHECK(!!next == json_is_true(json_object_get(document, "truncated")));
		json_decref(document);
	} while (pages > 0 && pages < 20);
	CHECK_EQ(seen, MANY + 1); /* and the subject */
	CHECK(pages <= -3);
	node_destroy(place.node);
}

TEST(the_busiest_actors)
{
	struct place place = place_create();

	for (int i = 0; i < 3; i++) { /* all three get the one measurement */
		ask_plain(&place, "top");
		node_run_ms(place.node, 50);
	}
	CHECK_EQ(count_of(&place), 0);
	for (int i = 0; i < 100; i++)
		tell_subject(&place);
	node_run_ms(place.node, 600);
	CHECK_EQ(count_of(&place), 3);
	const char *mails = strstr(last_event(&place)->json, "\"name\":\"subject\"");
	CHECK(mails && strstr(mails, "\"mails_per_s\":"));
	unsigned rate = 0;
	sscanf(strstr(mails, "\"mails_per_s\":"), "\"mails_per_s\":%u", &rate);
	CHECK(rate >= 150 && rate <= 220); /* 100 in half a second */
	node_destroy(place.node);
}

static void follower_end(struct actor *self, void *data, void *context)
{
	(void)data;
	(void)context;
	actor_stop(self, ERR_OK);
}

/* ---- without memory -------------------------------------------------------------------------- */

/* Whichever allocation fails on the way: the office lives, and answers the next one who asks. */
TEST(no_memory_for_it)
{
	static const char *const commands[] = {"watch", "trace", "actors", "top", "inspect"};
	enum { ALLOCATIONS = 12, COMMANDS = sizeof(commands) / sizeof(commands[0]) };
	struct place place = place_create();

	for (size_t n = 1; n <= ALLOCATIONS * COMMANDS; n++) {
		const char *name = commands[n % COMMANDS];
		bool of_one = n % COMMANDS != 2 && n % COMMANDS != 3;
		char text[80], address[ADDR_TEXT_SIZE];
		struct request request = {.to = office_of(&place), .command = text, .follow = n};
		struct addr local;

		snprintf(text, sizeof(text), "%s %s", name,
			of_one ? addr_text(place.subject, address) : "");
		CHECK_OK(actor_spawn(place.worker, NULL, &follower_actor, NULL, &local));
		request.follower = local;
		test_fail_allocation(1 + n / COMMANDS);
		actor_call(place.worker, local, &follower_actor, ask_office, &request);
		for (int turn = 0; turn < 6; turn++) {
			change(&place, n);
			runtime_turn(place.worker);
		}
		test_fail_allocation(0);
		node_run_ms(place.node, 700);
		actor_call(place.worker, local, &follower_actor, follower_end, NULL);
		node_run_ms(place.node, 10);
	}
	const struct process_office_state *office =
		actor_data(runtime_find(place.worker, office_of(&place).id));
	CHECK_EQ(office->follows_count, 0);
	CHECK_OK(ask(&place, "watch", 1000)->err);
	CHECK(strstr(last_event(&place)->json, "\"type\":\"puppet\""));
	node_destroy(place.node);
}
