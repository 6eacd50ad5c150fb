/* SPDX-License-Identifier: Apache-2.0
 *
 * /metrics as text: what the status page holds is there, and it always fits. (The form of every line
 * is checked end to end, tests/e2e/metrics.test.mjs.)
 */
#include "runtime/metrics_text.h"
#include "runtime/process.h"
#include "schemas/bytes.h"
#include "schemas/schema.h"
#include "tests/test.h"

#include <stdlib.h>

static struct process_page page;
static char text[METRICS_TEXT_MAX];

static void put_process(enum process_role role, uint32_t index)
{
	struct process_status *slot = &page.slot[process_slot(role, index)];

	atomic_store(&slot->state, PROCESS_READY);
	atomic_store(&slot->role, role);
	atomic_store(&slot->index, index);
}

static bool has(const char *line)
{
	const char *at = strstr(text, line);

	return at && (at == text || at[-1] == '\n') && at[strlen(line)] == '\n';
}

static void write_text(void)
{
	size_t size = metrics_text(&page, text, sizeof(text));

	CHECK(size > 0 && size < sizeof(text));
	text[size] = 0;
}

TEST(numbers_of_a_process_stand_under_its_role_and_index)
{
	page = (struct process_page){0};
	put_process(PROCESS_MEDIA, 1);
	const struct process_env env = {.role = PROCESS_MEDIA, .index = 1, .page = &page};

	process_metric_set(&env, PROCESS_METRIC_HTTP_REQUESTS, 7);
	process_metric_set(&env, PROCESS_METRIC_SLOTS_LOG, 3);
	process_metric_set(&env, PROCESS_METRIC_CPU, 1250000);
	atomic_store(&page.slot[process_slot(PROCESS_MEDIA, 1)].sessions, 9);
	write_text();
	CHECK(has("millrace_http_requests_total{role=\"media\",index=\"1\"} 7"));
	CHECK(has("millrace_slots_used{role=\"media\",index=\"1\",table=\"log\"} 3"));
	CHECK(has("millrace_process_cpu_seconds_total{role=\"media\",index=\"1\"} 1.250000"));
	CHECK(has("millrace_process_sessions{role=\"media\",index=\"1\"} 9"));
	CHECK(!strstr(text, "index=\"0\""));
}

TEST(times_of_all_processes_are_one_histogram)
{
	static const struct {
		uint32_t worker;
		int64_t us;
	} times[] = {
		{0, -5      },
		 {0, 100	},
		   {1, 101	  },
		     {1, 1000000 },
		   {0, 30000001}
	};

	page = (struct process_page){0};
	put_process(PROCESS_MEDIA, 0); /* worker 1 has gone: what it counted stays */
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		process_observe(
			&(const struct process_env){
				.role = PROCESS_MEDIA, .index = times[i].worker, .page = &page},
			PROCESS_HISTOGRAM_LAG_FLV, times[i].us);
	write_text();
	CHECK(has("millrace_viewer_lag_seconds_bucket{protocol=\"flv\",le=\"0.0001\"} 2"));
	CHECK(has("millrace_viewer_lag_seconds_bucket{protocol=\"flv\",le=\"0.00025\"} 3"));
	CHECK(has("millrace_viewer_lag_seconds_bucket{protocol=\"flv\",le=\"0.5\"} 3"));
	CHECK(has("millrace_viewer_lag_seconds_bucket{protocol=\"flv\",le=\"1\"} 4"));
	CHECK(has("millrace_viewer_lag_seconds_bucket{protocol=\"flv\",le=\"30\"} 4"));
	CHECK(has("millrace_viewer_lag_seconds_bucket{protocol=\"flv\",le=\"+Inf\"} 5"));
	CHECK(has("millrace_viewer_lag_seconds_count{protocol=\"flv\"} 5"));
	CHECK(has("millrace_viewer_lag_seconds_sum{protocol=\"flv\"} 31.000202"));
	CHECK(has("millrace_viewer_lag_seconds_count{protocol=\"webrtc\"} 0"));
}

TEST(a_holder_has_only_what_it_counts)
{
	page = (struct process_page){0};
	put_process(PROCESS_HOLDER, 0);
	write_text();
	CHECK(has("millrace_sockets_held{role=\"holder\",index=\"0\"} 0"));
	CHECK(!strstr(text, "millrace_http_requests_total{role=\"holder\""));
}

#define PATH_1 "{role=\"control\",index=\"0\",node=\"fra1\",path=\"1\",relayed=\"yes\"} "

TEST(neighbours_have_labels_of_their_own)
{
	struct process_neighbours rows = {
		.total = 9,
		.count = 1,
		.named = {{.name = "fra1",
			.up = 1,
			.round_trip_us = 12500,
			.lost_ppm = 20000,
			.bytes_per_s = 500000,
			.repaired_per_s = 3,
			.modes = {[LINK_RACE] = 1}}},
		.other = { .name = "other", .up = 7, .modes = {8, 0, 0}}
	       };
	struct process_paths paths = {
		.count = 1,
		.named = {{.round_trip_us = 12500,
			.sent_kbps = 2000,
			.lost_share = 1310,
			.jitter_16us = 100,
			.path = 1,
			.relayed = 1,
			.state = LINK_UP}},
		.other = {.state = 8},
	};
	const struct process_env env = {.role = PROCESS_CONTROL, .page = &page};

	page = (struct process_page){0};
	put_process(PROCESS_CONTROL, 0);
	write_text();
	CHECK(has("millrace_neighbours{role=\"control\",index=\"0\"} 0"));
	CHECK(has("millrace_neighbour_up{role=\"control\",index=\"0\",node=\"other\"} 0"));
	CHECK(has("millrace_neighbour_path_up{role=\"control\",index=\"0\",node=\"other\",path="
		  "\"other\","
		  "relayed=\"no\"} 0"));
	process_neighbours_set(&env, &rows, &paths);
	write_text();
	CHECK(has("millrace_neighbours{role=\"control\",index=\"0\"} 9"));
	CHECK(has("millrace_neighbour_path_up" PATH_1 "1"));
	CHECK(has("millrace_neighbour_path_round_trip_seconds" PATH_1 "0.012500"));
	CHECK(has("millrace_neighbour_path_lost_ratio" PATH_1 "0.019989"));
	CHECK(has("millrace_neighbour_path_jitter_seconds" PATH_1 "0.001600"));
	CHECK(has("millrace_neighbour_path_sent_bytes_per_second" PATH_1 "250000"));
	CHECK(has("millrace_neighbour_path_up{role=\"control\",index=\"0\",node=\"other\",path="
		  "\"other\","
		  "relayed=\"no\"} 8"));
	CHECK(has("millrace_neighbour_up{role=\"control\",index=\"0\",node=\"fra1\"} 1"));
	CHECK(has("millrace_neighbour_up{role=\"control\",index=\"0\",node=\"other\"} 7"));
	CHECK(has(
		"millrace_neighbour_round_trip_seconds{role=\"control\",index=\"0\",node=\"fra1\"} "
		"0.012500"));
	CHECK(has("millrace_neighbour_lost_ratio{role=\"control\",index=\"0\",node=\"fra1\"} "
		  "0.020000"));
	CHECK(has("millrace_neighbour_sent_bytes_per_second{role=\"control\",index=\"0\",node="
		  "\"fra1\"} "
		  "500000"));
	CHECK(has(
		"millrace_neighbour_mode{role=\"control\",index=\"0\",node=\"fra1\",mode=\"race\"} "
		"1"));
	CHECK(has("millrace_neighbour_mode{role=\"control\",index=\"0\",node=\"other\",mode="
		  "\"smart\"} "
		  "8"));
	CHECK(!strstr(text, "node=\"fra1\",mode=\"smart\""));
	/* a path to nobody: nothing of all this makes sense */
	paths.named[0].neighbour = 1;
	process_neighbours_set(&env, &rows, &paths);
	write_text();
	CHECK(has("millrace_neighbours{role=\"control\",index=\"0\"} 0"));
	CHECK(!strstr(text, "path=\"1\""));
	paths.named[0].neighbour = 0;
	process_neighbours_set(&env, &rows, &paths);
	/* whoever wrote it died over it: nothing is said of it, and the rest is */
	atomic_fetch_or(&page.neighbours.version, 1);
	write_text();
	CHECK(has("millrace_neighbours{role=\"control\",index=\"0\"} 0"));
	CHECK(strstr(text, "millrace_callback_seconds_count"));
}

TEST(the_largest_node_fits)
{
	page = (struct process_page){0};
	put_process(PROCESS_CONTROL, 0);
	for (uint32_t i = 0; i < PROCESS_WORKERS_MAX; i++) {
		put_process(PROCESS_MEDIA, i);
		put_process(PROCESS_HOLDER, i);
		put_process(PROCESS_SPARE, i);
	}
	for (uint32_t i = 0; i < PROCESS_HELPERS_MAX; i++)
		put_process(PROCESS_HELPER, i);
	for (uint32_t i = 0; i < PROCESS_SLOTS_MAX; i++) {
		bool holds = atomic_load(&page.slot[i].role) == PROCESS_HOLDER;

		for (int metric = 0; metric < PROCESS_METRIC_COUNT; metric++)
			if (!holds || metric == PROCESS_METRIC_SOCKETS_HELD)
				atomic_store(&page.metrics[i].value[metric], UINT64_MAX);
	}
	struct process_neighbours rows = {.count = PROCESS_NEIGHBOURS_MAX};

	for (int i = 0; i < PROCESS_NEIGHBOURS_MAX; i++)
		memset(rows.named[i].name, 'n', sizeof(rows.named[i].name) - 1);
	text_copy(rows.other.name, sizeof(rows.other.name), "other");
	struct process_paths paths = {.count = PROCESS_PATHS_MAX};

	process_neighbours_set(&(const struct process_env){.page = &page}, &rows, &paths);
	write_text();
	CHECK(strstr(text, "millrace_callback_seconds_count"));
}

/* An upgrade leaves numbers in the page whose places mean something else now: nobody reads them, and who
 * counts there next begins at 0. */
TEST(numbers_of_another_release_are_not_read)
{
	struct process_metrics *metrics;
	uint32_t slot = process_slot(PROCESS_MEDIA, 0);

	page = (struct process_page){0};
	metrics = &page.metrics[slot];
	process_metrics_begin(metrics);
	atomic_store(&metrics->value[PROCESS_METRIC_CPU], 7);
	atomic_store(&metrics->value[PROCESS_METRICS_ROOM - 1], 8);
	atomic_store(&metrics->times[0].sum_us, 9);
	process_metrics_begin(metrics); /* the next process of the same release goes on */
	CHECK_EQ(process_metrics_of(&page, slot)->value[PROCESS_METRIC_CPU], 7);
	atomic_fetch_add(&metrics->rows, 2);
	CHECK_EQ(process_metrics_of(&page, slot)->value[PROCESS_METRIC_CPU], 0);
	process_metrics_begin(metrics);
	CHECK(process_metrics_of(&page, slot) == metrics);
	CHECK_EQ(metrics->value[PROCESS_METRIC_CPU], 0);
	CHECK_EQ(metrics->value[PROCESS_METRICS_ROOM - 1], 0);
	CHECK_EQ(metrics->times[0].sum_us, 0);
}

TEST(without_room_or_a_node)
{
	static char little[512];

	page = (struct process_page){0};
	CHECK_EQ(metrics_text(&page, little, sizeof(little)), 0);
	size_t size = metrics_text(NULL, text, sizeof(text));

	CHECK(size > 0);
	text[size] = 0;
	CHECK(strstr(text, "# TYPE millrace_http_requests_total counter\n"));
	process_observe(NULL, PROCESS_HISTOGRAM_HTTP, 1);
	process_metric_set(NULL, PROCESS_METRIC_CPU, 1);
}
