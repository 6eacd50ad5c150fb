/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: the etcd of a cluster, the model that the unit rows have (tests/etcd_model.h), asked by the
 * shipped store_etcd of every control process. Nodes on the other side of a network that has fallen in
 * two do not reach it; it can be gone, or silent, for a while, and loses answers to what took place.
 * When all is well it can go away and come back as it was, with an empty disk or with an older backup.
 *
 *   net_http --until it is due--> model_run --> answers, changes to whoever watches
 */
#include "tests/etcd_model.h"
#include "tests/sim/sim.h"

enum {
	SLOW_US = 4 * SIM_MS,	/* most of an answer's way */
	TICK_US = 100 * SIM_MS, /* leases are looked at so often */
	LOST_PPM = 5000,
	OUTAGE_MAX_MS = 5000,
};

struct sim_etcd {
	struct sim *sim;
	struct etcd_model *model;
	int64_t run_us;		     /* when it runs next */
	struct model_backup *backup; /* NULL = none */
	bool has_left;		     /* and is back when it returns, not when an outage is over */
};

static void run(struct sim *sim, uint64_t argument);

static void run_at(struct sim *sim, int64_t at_us)
{
	if (at_us >= sim->etcd->run_us)
		return;
	sim->etcd->run_us = at_us;
	sim_at(sim, at_us, run, 0);
}

/* Answers that are due when this one's changes have been made, and changes that it has made. */
static void run(struct sim *sim, uint64_t argument)
{
	struct etcd_model *model = sim->etcd->model;
	int64_t next_us = sim->now_us + TICK_US;
	uint64_t revision;

	(void)argument;
	if (sim->now_us < sim->etcd->run_us)
		return; /* it ran since */
	sim->etcd->run_us = INT64_MAX;
	model->now_us = sim->now_us;
	model->lost_ppm = sim->faults_on ? LOST_PPM : 0;
	revision = model->revision;
	model_run(model);
	if (model->revision != revision)
		next_us = sim->now_us + SIM_MS;
	for (int i = 0; i < MODEL_TRANSFERS; i++)
		if (model->transfers[i].id && !model->transfers[i].answered &&
			model->transfers[i].due_us > sim->now_us &&
			model->transfers[i].due_us < next_us)
			next_us = model->transfers[i].due_us;
	run_at(sim, next_us);
}

static struct sim_process *process_of(const struct runtime *rt)
{
	return runtime_options(rt)->context;
}

static bool reaches(void *context, const struct runtime *rt)
{
	const struct sim_process *process = process_of(rt);
	const struct sim *sim = context;

	return process->alive && process->paused_until_us <= sim->now_us &&
	       sim_wide_reaches_etcd(sim, process->node);
}

static void about_to_give(void *context, struct runtime *rt)
{
	struct sim *sim = context;

	sim_note(sim, "etcd", process_of(rt)->incarnation, sim->etcd->model->revision);
	runtime_tick(rt);
	sim_wake(sim, process_of(rt));
}

struct sim_etcd *sim_etcd_create(struct sim *sim)
{
	struct sim_etcd *etcd = calloc(1, sizeof(*etcd));

	MUST(etcd);
	etcd->sim = sim;
	etcd->run_us = INT64_MAX;
	etcd->model = model_create(rng_u64(&sim->rng));
	etcd->model->slow_us = SLOW_US;
	etcd->model->reaches = reaches;
	etcd->model->gives = about_to_give;
	etcd->model->context = sim;
	return etcd;
}

void sim_etcd_destroy(struct sim_etcd **etcd)
{
	if (!*etcd)
		return;
	model_destroy((*etcd)->model);
	free((*etcd)->backup);
	free(*etcd);
	*etcd = NULL;
}

void sim_etcd_process_gone(struct sim *sim, const struct runtime *rt)
{
	if (sim->etcd)
		model_forget(sim->etcd->model, rt);
}

/* ---- an outage ------------------------------------------------------------------------------------ */

/* A restarted etcd renews every lease to its full time. */
static void come_back(struct sim *sim, uint64_t argument)
{
	struct etcd_model *model = sim->etcd->model;

	(void)argument;
	if (sim->etcd->has_left)
		return;
	for (int i = 0; model->gone && i < MODEL_LEASES; i++)
		model->leases[i].until_us = sim->now_us + model->leases[i].ttl_us;
	model->gone = model->silent = false;
	run_at(sim, sim->now_us + 1);
}

void sim_etcd_outage(struct sim *sim)
{
	struct etcd_model *model = sim->etcd->model;

	if (model->gone || model->silent)
		return;
	model->gone = rng_below(&sim->rng, 2);
	model->silent = !model->gone;
	sim_note(sim, "outage", model->gone, model->revision);
	sim_at(sim, sim->now_us + rng_between(&sim->rng, 100, OUTAGE_MAX_MS) * SIM_MS, come_back,
		0);
}

void sim_etcd_heal(struct sim *sim)
{
	if (sim->etcd)
		come_back(sim, 0);
}

void sim_etcd_save(struct sim *sim)
{
	free(sim->etcd->backup);
	sim->etcd->backup = model_save(sim->etcd->model);
}

void sim_etcd_leave(struct sim *sim)
{
	sim_note(sim, "etcd leaves", 0, sim->etcd->model->revision);
	sim->etcd->has_left = true;
	sim->etcd->model->gone = true;
}

void sim_etcd_return(struct sim *sim, enum sim_etcd_disk disk)
{
	struct etcd_model *model = sim->etcd->model;

	sim_note(sim, "etcd returns", disk, model->revision);
	sim->disk = 1 + disk;
	sim->etcd->has_left = false;
	if (disk == SIM_ETCD_EMPTY)
		model_wipe(model);
	else if (disk == SIM_ETCD_OLDER)
		model_load(model, sim->etcd->backup);
	come_back(sim, 0);
}

enum { KEY_SIZE = 192 };

static void whole_key(const struct sim *sim, const char *key, char whole[KEY_SIZE])
{
	snprintf(whole, KEY_SIZE, "/millrace/%s/%s", sim->config.cluster_name, key);
}

void sim_etcd_set(struct sim *sim, const char *key, const char *value)
{
	char whole[KEY_SIZE];

	whole_key(sim, key, whole);
	if (value)
		model_put(sim->etcd->model, whole, value, strlen(value), 0);
	else
		model_delete(sim->etcd->model, whole, false);
	run_at(sim, sim->now_us + 1);
}

bool sim_etcd_get(const struct sim *sim, const char *key, char *value, size_t size)
{
	const struct model_pair *pair;
	char whole[KEY_SIZE];

	whole_key(sim, key, whole);
	pair = model_find(sim->etcd->model, whole);
	if (pair)
		snprintf(value, size, "%.*s", (int)pair->size, (const char *)pair->value);
	return pair != NULL;
}

bool sim_etcd_knows(const struct sim *sim, const char *name)
{
	const struct etcd_model *model = sim->etcd->model;
	size_t size = strlen(name);

	for (size_t i = 0; i < model->pair_count; i++) {
		size_t length = strlen(model->pairs[i].key);

		if (length > size && !strcmp(model->pairs[i].key + length - size, name) &&
			strstr(model->pairs[i].key, "/name/"))
			return true;
	}
	return false;
}

/* ---- what processes ask ----------------------------------------------------------------------------- */

enum err sim_http_start(
	void *context, uint64_t request, uint64_t owner, const struct net_http_request *what)
{
	struct sim_process *process = context;
	struct sim *sim = process->sim;
	enum err err;

	if (!sim->etcd)
		return sim_web_start(context, request, owner, what);
	if (!process->alive)
		return ERR_DEAD;
	sim->etcd->model->now_us = sim->now_us;
	err = model_start(sim->etcd->model, process->rt, request, owner, what);
	/* (once it is due, and after it: whoever is asked anew may not be answered in the same call) */
	run_at(sim, sim->now_us + 1);
	return err;
}

enum err sim_http_read(void *context, uint64_t stream, uint64_t owner, uint64_t request)
{
	struct sim_process *process = context;
	enum err err;

	if (!process->sim->etcd)
		return sim_web_read(context, stream, owner, request);
	err = model_read(process->sim->etcd->model, process->rt, stream, owner, request);
	run_at(process->sim, process->sim->now_us + 1);
	return err;
}

void sim_http_cancel(void *context, uint64_t owner, uint64_t id)
{
	struct sim_process *process = context;

	if (!process->sim->etcd)
		sim_web_cancel(context, owner, id);
	else
		model_cancel(process->sim->etcd->model, process->rt, owner, id);
}
