/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: the server that HTTP callbacks ask and tell. While there is chaos it refuses, answers
 * rubbish or not at all by chance; when all is quiet it allows everybody.
 *
 * It keeps what it was asked, so that it can tell what must not be: the end of a session that it
 * refused, an end told twice, one never told. A control process that dies takes along what it was just
 * answered, so the next one may tell of who was refused and what was told; it forgets nobody whose
 * worker's line goes on.
 */
#include "tests/sim/sim.h"

#include <jansson.h>
#include <stdlib.h>

enum {
	CALLS_MAX = 4096, /* sessions of a run */
	TIMEOUT_MS = 600,
	FAULT_PPM = 250000, /* of questions and notifications */
	RETRIES = 20,	    /* none is given up */
};

enum sim_call_state {
	CALL_UNKNOWN, /* it was not answered: callback.fail has decided */
	CALL_REFUSED,
	CALL_BEGUN,
	CALL_TOLD,
};

struct sim_call {
	uint64_t session;
	enum sim_call_state state;
	uint32_t control; /* incarnation that asked, or told last */
};

struct sim_callbacks {
	struct sim_call calls[CALLS_MAX];
	size_t count;
	bool open; /* callback.fail */
};

static struct sim_call *find_call(struct sim_callbacks *s, uint64_t session)
{
	for (size_t i = s->count; i-- > 0;)
		if (s->calls[i].session == session)
			return &s->calls[i];
	return NULL;
}

static struct sim_call *call_of(struct sim *sim, uint64_t session)
{
	struct sim_callbacks *s = sim->callbacks;
	struct sim_call *call = find_call(s, session);

	if (call)
		return call;
	MUST(s->count < CALLS_MAX);
	call = &s->calls[s->count++];
	*call = (struct sim_call){.session = session};
	return call;
}

/* What a server may say that is no answer. */
static void stumble(struct sim *sim, struct sim_web_answer *answer)
{
	static const struct sim_web_answer stumbles[] = {
		{.status = 500	      },
		 {.status = 302,	 .headers = "Location: http://elsewhere/\r\n"},
		{.status = 200,			.body = "{\"code\":"},
		       {.status = 404,.body = "no such hook"},
		{.err = ERR_DEAD	},
		   {.err = ERR_AGAIN		    }, /* nothing, ever */
	};

	*answer = stumbles[rng_below(&sim->rng, sizeof(stumbles) / sizeof(stumbles[0]))];
}

static void answer_question(
	struct sim *sim, struct sim_call *call, uint32_t control, struct sim_web_answer *answer)
{
	static const struct sim_web_answer refusals[] = {
		{.status = 403},
		 {		  .status = 401	       },
		  { .status = 200,		  .body = "{\"code\":1}"}
	 };
	static const struct sim_web_answer fine[] = {
		{.status = 200},
		 {		  .status = 204	       },
		  { .status = 200,		  .body = "{\"code\":0}"}
	 };

	call->control = control;
	call->state = CALL_UNKNOWN;
	if (sim->faults_on && rng_chance_ppm(&sim->rng, FAULT_PPM)) {
		stumble(sim, answer);
	} else if (sim->faults_on && rng_chance_ppm(&sim->rng, FAULT_PPM)) {
		*answer = refusals[rng_below(&sim->rng, 3)];
		call->state = CALL_REFUSED;
	} else {
		*answer = fine[rng_below(&sim->rng, 3)];
		call->state = CALL_BEGUN;
	}
}

static void answer_notification(struct sim *sim, struct sim_call *call, uint32_t control,
	const char *action, struct sim_web_answer *answer)
{
	bool knows = call->control == control;

	/* one that was refused may have asked again, unheard, and begun because the node is open */
	SIM_CHECK(sim, call->state != CALL_REFUSED || sim->callbacks->open || !knows,
		"%s of session %llx, which was refused", action, (unsigned long long)call->session);
	SIM_CHECK(sim, call->state != CALL_TOLD || sim->callbacks->open || !knows,
		"%s of session %llx a second time", action, (unsigned long long)call->session);
	*answer = (struct sim_web_answer){.status = 200};
	if (sim->faults_on && rng_chance_ppm(&sim->rng, FAULT_PPM))
		stumble(sim, answer);
	if (answer->status == 200) { /* whatever its body is */
		call->state = CALL_TOLD;
		call->control = control;
	}
}

static void serve(
	struct sim *sim, const struct sim_web_request *request, struct sim_web_answer *answer)
{
	json_t *json = json_loads(request->body, JSON_REJECT_DUPLICATES, NULL);
	const char *action = "", *app = "", *stream = "", *session = "", *client = "", *node = "",
		   *protocol = "", *param = "";
	json_int_t time_ms = 0;
	struct addr addr = {0};
	struct sim_call *call;
	int wrong = json_unpack(json, "{ss ss ss ss ss ss ss ss sI !}", "action", &action, "app",
		&app, "stream", &stream, "session", &session, "client", &client, "node", &node,
		"protocol", &protocol, "param", &param, "time", &time_ms);
	const char *path = strrchr(request->url, '/');

	SIM_CHECK(sim,
		!wrong && !addr_parse(session, &addr) && time_ms > 0 && path &&
			!strcmp(path + 1, action),
		"a callback is not understood: %.200s", request->body);
	if (!sim->failed) {
		call = call_of(sim, addr.id);
		sim_note(sim, action, addr.id, call->state);
		if (!strcmp(action, "on_play") || !strcmp(action, "on_publish"))
			answer_question(sim, call, request->incarnation, answer);
		else
			answer_notification(sim, call, request->incarnation, action, answer);
	}
	json_decref(json);
}

void sim_callbacks_begin(struct sim *sim)
{
	struct config *config = &sim->config;

	sim->callbacks = calloc(1, sizeof(*sim->callbacks));
	MUST(sim->callbacks);
	sim->callbacks->open = rng_below(&sim->rng, 2);
	config->callback_fail =
		sim->callbacks->open ? CONFIG_CALLBACK_OPEN : CONFIG_CALLBACK_CLOSED;
	config->callback_timeout_ms = TIMEOUT_MS;
	config->callback_retries = RETRIES;
	text_copy(config->callback_on_publish, sizeof(config->callback_on_publish),
		"http://hooks/on_publish");
	text_copy(
		config->callback_on_play, sizeof(config->callback_on_play), "http://hooks/on_play");
	text_copy(config->callback_on_unpublish, sizeof(config->callback_on_unpublish),
		"http://hooks/on_unpublish");
	text_copy(
		config->callback_on_stop, sizeof(config->callback_on_stop), "http://hooks/on_stop");
	sim_web_serve(sim, serve);
}

void sim_callbacks_check_empty(struct sim *sim)
{
	const struct sim_callbacks *s = sim->callbacks;
	uint32_t control = sim->processes[0].incarnation;

	for (size_t i = 0; s && i < s->count; i++) {
		const struct sim_call *call = &s->calls[i];
		uint32_t line = sim_birth_of(call->session);

		SIM_CHECK(sim,
			call->state != CALL_BEGUN ||
				(call->control != control && !sim_line_exists(sim, line)),
			"nobody told that session %llx has ended",
			(unsigned long long)call->session);
	}
}

void sim_callbacks_end(struct sim *sim)
{
	free(sim->callbacks);
	sim->callbacks = NULL;
}
