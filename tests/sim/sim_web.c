/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: web servers outside of the node, asked through runtime/net_http.h. What they say is a
 * function of the scenario; when it comes, and whether it comes at all, is chance.
 *
 *   net_http --a while--> fn(request) --a while--> http_response | failed
 *                              '-- with a stream: sim_web_push, any number; sim_web_end
 *
 * With the scenario's faults on, a request is lost now and then on its way (its asker meets the
 * deadline) or refused at once (DEAD).
 */
#include "tests/sim/sim.h"

#include <stdlib.h>

enum {
	TRANSFERS_MAX = 256,
	WAY_US = 3000,
	FAULT_PPM = 50000,
};

struct sim_transfer {
	uint64_t id, owner, read; /* id 0 = free */
	uint32_t incarnation;
	uint32_t order; /* tells one use of the place from the next */
	bool stream, answered, end;
	struct sim_web_request request; /* texts are ours */
	char *bytes;			/* pushed, not yet read */
	size_t size;
};

struct sim_web {
	struct sim_transfer transfers[TRANSFERS_MAX];
	uint32_t next_order;
	sim_web_server *server;
};

struct sim_web *sim_web_create(void)
{
	struct sim_web *web = calloc(1, sizeof(*web));

	MUST(web);
	return web;
}

static char *copy_of(const void *bytes, size_t size)
{
	char *copy = malloc(size + 1);

	MUST(copy);
	if (size)
		memcpy(copy, bytes, size);
	copy[size] = 0;
	return copy;
}

static void free_transfer(struct sim_transfer *t)
{
	free(t->bytes);
	free(t->request.method);
	free(t->request.url);
	free(t->request.body);
	*t = (struct sim_transfer){0};
}

void sim_web_destroy(struct sim_web **web)
{
	for (size_t i = 0; *web && i < TRANSFERS_MAX; i++)
		free_transfer(&(*web)->transfers[i]);
	free(*web);
	*web = NULL;
}

void sim_web_serve(struct sim *sim, sim_web_server *server)
{
	sim->web->server = server;
}

static struct sim_transfer *find(struct sim *sim, uint32_t incarnation, uint64_t owner, uint64_t id)
{
	for (size_t i = 0; id && i < TRANSFERS_MAX; i++) {
		struct sim_transfer *t = &sim->web->transfers[i];

		if (t->id && t->incarnation == incarnation && t->owner == owner &&
			(t->id == id || t->read == id))
			return t;
	}
	return NULL;
}

void sim_web_process_gone(struct sim_web *web, uint32_t incarnation)
{
	for (size_t i = 0; i < TRANSFERS_MAX; i++)
		if (web->transfers[i].incarnation == incarnation)
			free_transfer(&web->transfers[i]);
}

static void give(struct sim *sim, struct sim_transfer *t)
{
	struct sim_process *process = sim_process_of(sim, t->incarnation);
	uint64_t read = t->read;

	if (!process || !read || (!t->size && !t->end))
		return;
	struct msg_http_piece piece = {.end = !t->size};
	size_t size = t->size < NET_HTTP_PIECE_MAX ? t->size : NET_HTTP_PIECE_MAX;

	piece.bytes = (struct slice){t->bytes, (uint32_t)size};
	t->read = 0;
	sim_note(sim, "http piece", t->incarnation, size);
	runtime_tick(process->rt);
	runtime_http_piece(process->rt, read, &piece);
	if (size)
		memmove(t->bytes, t->bytes + size, t->size -= size);
	if (piece.end)
		free_transfer(t);
	sim_wake(sim, process);
}

/* The argument names a place and its use, so that an event of a transfer that is gone does nothing. */
static struct sim_transfer *event_transfer(struct sim *sim, uint64_t argument)
{
	struct sim_transfer *t = &sim->web->transfers[(uint32_t)argument % TRANSFERS_MAX];

	return t->id && t->order == argument >> 32 ? t : NULL;
}

static uint64_t event_argument(struct sim *sim, const struct sim_transfer *t)
{
	return (uint64_t)t->order << 32 | (uint64_t)(t - sim->web->transfers);
}

static void answer(struct sim *sim, uint64_t argument)
{
	struct sim_transfer *t = event_transfer(sim, argument);
	struct sim_process *process = t ? sim_process_of(sim, t->incarnation) : NULL;
	struct sim_web_answer said = {.err = ERR_DEAD};

	if (!process)
		return;
	if (sim->web->server)
		sim->web->server(sim, &t->request, &said);
	sim_note(sim, "http answer", t->incarnation, said.err ? 0 : said.status);
	if (said.err == ERR_AGAIN)
		return; /* its asker's deadline ends it */
	runtime_tick(process->rt);
	if (said.err) {
		runtime_http_failed(process->rt, t->id, said.err, "");
	} else {
		struct msg_http_response response = {
			.status = said.status,
			.stream = t->stream ? t->id : 0,
			.headers = {said.headers,
				    said.headers ? (uint32_t)strlen(said.headers) : 0	 },
			.body = {said.body,
				    said.body && !t->stream ? (uint32_t)strlen(said.body) : 0},
			.url = {t->request.url, (uint32_t)strlen(t->request.url)		}
		 };

		t->answered = true;
		runtime_http_response(process->rt, t->id, &response);
	}
	if (said.err || !t->stream)
		free_transfer(t);
	sim_wake(sim, process);
}

/* ---- the actor's side ---------------------------------------------------------------------- */

enum err sim_web_start(
	void *context, uint64_t request, uint64_t owner, const struct net_http_request *what)
{
	struct sim_process *process = context;
	struct sim *sim = process->sim;
	struct sim_transfer *t = sim->web->transfers;

	while (t < sim->web->transfers + TRANSFERS_MAX && t->id)
		t++;
	if (t == sim->web->transfers + TRANSFERS_MAX)
		return ERR_OVERLOAD;
	*t = (struct sim_transfer){
		.id = request,
		.owner = owner,
		.incarnation = process->incarnation,
		.order = ++sim->web->next_order,
		.stream = what->stream,
		.request = {.method = copy_of(what->method ? what->method : "GET",
			    what->method ? strlen(what->method) : 3),
			    .url = copy_of(what->url, strlen(what->url)),
			    .body = copy_of(what->body, what->body_size),
			    .stream = what->stream ? request : 0,
			    .incarnation = process->incarnation},
	};
	sim_note(sim, "http", process->incarnation, what->body_size);
	if (sim->faults_on && rng_chance_ppm(&sim->rng, FAULT_PPM))
		return ERR_OK; /* lost */
	sim_at(sim, sim->now_us + rng_between(&sim->rng, 50, WAY_US), answer,
		event_argument(sim, t));
	return ERR_OK;
}

static void give_later(struct sim *sim, uint64_t argument)
{
	struct sim_transfer *t = event_transfer(sim, argument);

	if (t)
		give(sim, t);
}

enum err sim_web_read(void *context, uint64_t stream, uint64_t owner, uint64_t request)
{
	struct sim_process *process = context;
	struct sim_transfer *t = find(process->sim, process->incarnation, owner, stream);

	if (!t || t->id != stream || !t->answered)
		return ERR_NOT_FOUND;
	if (t->read)
		return ERR_PHASE;
	t->read = request;
	sim_at(process->sim, process->sim->now_us + 1, give_later, event_argument(process->sim, t));
	return ERR_OK;
}

void sim_web_cancel(void *context, uint64_t owner, uint64_t id)
{
	struct sim_process *process = context;
	struct sim_transfer *t = find(process->sim, process->incarnation, owner, id);

	if (t)
		free_transfer(t);
	for (size_t i = 0; !id && i < TRANSFERS_MAX; i++) {
		t = &process->sim->web->transfers[i];
		if (t->id && t->incarnation == process->incarnation && t->owner == owner)
			free_transfer(t);
	}
}

/* ---- the server's side --------------------------------------------------------------------- */

bool sim_web_push(
	struct sim *sim, const struct sim_web_request *request, const char *text, bool end)
{
	size_t size = strlen(text);

	for (size_t i = 0; i < TRANSFERS_MAX; i++) {
		struct sim_transfer *t = &sim->web->transfers[i];

		if (t->id != request->stream || t->incarnation != request->incarnation || !t->id)
			continue;
		t->bytes = realloc(t->bytes, t->size + size + 1);
		MUST(t->bytes);
		memcpy(t->bytes + t->size, text, size);
		t->size += size;
		t->end = end;
		sim_at(sim, sim->now_us + rng_between(&sim->rng, 50, WAY_US), give_later,
			event_argument(sim, t));
		return true;
	}
	return false;
}
