/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: clients outside of the node that speak real protocols to its shipped edge actors over
 * the simulated network. An edge is one such client; its kind says what it does with a connection.
 *
 *   (none) --connect--> open --input, tick …--> open --the other end closes, misfortune--> (none)
 *      ^------------------------------- after a while, if still wanted ----------------------'
 */
#ifndef MILLRACE_SIM_EDGES_H
#define MILLRACE_SIM_EDGES_H

#include "actors/rtmp/chunk.h"
#include "actors/rtmp/flv.h"
#include "tests/sim/sim.h"

enum {
	SIM_EDGES_MAX = 24,
	SIM_EDGE_TICK_MS = 10,
	SIM_HTTP_HEAD_MAX = 8192,
	SIM_RTC_FRAME_MS = 40,	   /* of a WebRTC publisher, picture and sound */
	SIM_PUBLISHERS_MAX = 1024, /* outside, in one run */
	SIM_STAMP_SIZE =
		4 + 3 * 8, /* "STMP", then publisher, number, milliseconds in hexadecimal */
};

/* In a frame's payload: who made it, the how-manieth of its kind, when on the publisher's clock. */
struct sim_mark {
	uint32_t publisher, number, ms;
};

enum sim_rtmp_phase { SIM_RTMP_SHAKING, SIM_RTMP_ASKING, SIM_RTMP_PUBLISHING, SIM_RTMP_REFUSED };

struct sim_rtmp {
	enum sim_rtmp_phase phase;
	uint32_t number;  /* of this publisher, in the run */
	uint32_t base_ms; /* its clock's beginning: also just before 2^32 */
	int64_t began_us;
	uint32_t videos, audios;
	struct chunk_reader chunks;
};

/* What a reader knows of one publisher's sound or picture. */
struct sim_flv_track {
	uint32_t frames; /* of this connection */
	uint32_t last_ms, last_number;
	uint32_t publisher, ms; /* and when, on its clock */
	int64_t shift_ms;	/* tag time minus that */
};

struct sim_flv {
	bool headed, begun; /* response's head, FLV's header were read; handshake's answer, a tag */
	struct chunk_reader chunks; /* by RTMP */
	bool framed;		    /* by WebSocket */
	uint32_t pongs;
	struct sim_flv_track audio, video;
	int64_t last_us, heard_us; /* a picture, sound came */
};

struct sim_asker {
	bool asked;
	size_t row;
	uint32_t answers;
};

enum { SIM_QUESTIONS_MAX = 4, SIM_CONSOLE_KNOWS = 8, SIM_CONSOLE_LINE = 160 };

struct sim_question {
	uint32_t row; /* of the commands */
	uint64_t id;  /* whom it is about: an actor, a worker */
};

struct sim_console {
	struct sim_question open[SIM_QUESTIONS_MAX]; /* in the order asked */
	uint32_t open_count;
	int64_t since_us; /* the first of them could be answered */
	bool endless;	  /* says a line that does not end: will be hung up on */
	uint32_t half_size;
	char half[SIM_CONSOLE_LINE]; /* rest of a line */
	/* seen in answers */
	uint64_t actors[SIM_CONSOLE_KNOWS], mortals[SIM_CONSOLE_KNOWS];
	uint32_t actor_count, mortal_count;
};

struct sim_edge;
struct sim_rtc;
struct sim_seals;

struct sim_edge_kind {
	const char *name;
	enum net_given listener;
	bool publishes;
	bool watches; /* either: must be together with the others of its stream in the end */
	/* Just connected. */
	void (*begin)(struct sim *sim, struct sim_edge *edge);
	/* edge->in holds what has come; returns how many bytes of it were used. */
	size_t (*input)(struct sim *sim, struct sim_edge *edge);
	/* Every SIM_EDGE_TICK_MS while connected. */
	void (*tick)(struct sim *sim, struct sim_edge *edge);
	/* Says something that makes no sense; NULL: any bytes. */
	void (*rubbish)(struct sim *sim, struct sim_edge *edge);

	/* One that is more than its connection has these two instead: every SIM_EDGE_TICK_MS; a
	 * misfortune of its own. */
	void (*run)(struct sim *sim, struct sim_edge *edge);
	void (*act)(struct sim *sim, struct sim_edge *edge);
};

extern const struct sim_edge_kind sim_rtmp_kind, sim_player_kind, sim_flv_kind, sim_asker_kind,
	sim_console_kind, sim_whip_kind, sim_whep_kind;

struct sim_edge {
	const struct sim_edge_kind *kind; /* NULL: unused */
	bool wanted;
	uint8_t stream;
	uint32_t worker; /* index */
	uint32_t client; /* socket's number, 0 = not connected */
	int64_t retry_us;
	int64_t connected_us;
	int64_t deaf_until_us; /* reads nothing */
	bool sent_here;	       /* by another node (307): this one takes it or refuses it */
	bool spoke_rubbish; /* on this connection: what follows is read as anything, or as nothing */
	uint8_t *in;
	size_t in_size, in_capacity;
	union {
		struct sim_rtmp rtmp;
		struct sim_flv flv;
		struct sim_asker asker;
		struct sim_console console;
	};
	struct sim_rtc *rtc; /* owned; NULL: no session */
};

struct sim_edges {
	struct sim_edge edge[SIM_EDGES_MAX];
	uint64_t frames_sent, tags_read, answers, console_answers, refused;

	struct sim_seals *seals;
	uint32_t sessions; /* WebRTC's, ever asked for */
	uint64_t sent_on;  /* by another node (307) */
	uint64_t rtp_sent, rtp_again, rtp_asked, rtp_read;
	uint8_t stream_of[SIM_PUBLISHERS_MAX]; /* which stream a publisher is of, + 1 */
	/* when each stream had a publisher last, as far as publishers know; 0 = never */
	int64_t published_us[SIM_EDGES_MAX];
};

/* Streams: the first of them are published by RTMP, the others by WebRTC. */
bool sim_edge_by_rtmp(const struct sim *sim, uint8_t stream);
/* Its picture: H.264, or VP8. */
bool sim_edge_is_h264(const struct sim *sim, uint8_t stream);
/* The names that edges publish: "live/e0" … */
void sim_edge_name(const struct sim_edge *edge, char *name, size_t size);
/* A connection to a worker (its index); false: none now. */
bool sim_edge_connect(struct sim *sim, struct sim_edge *edge, uint32_t worker);
/* What has come so far goes to edge->in. */
void sim_edge_read(struct sim *sim, struct sim_edge *edge);
/* Publisher `number` of the run publishes the edge's stream; and whether it did. */
void sim_edge_number(struct sim *sim, const struct sim_edge *edge, uint32_t number);
bool sim_edge_publishes(const struct sim *sim, uint8_t stream, uint32_t number);
/* If it publishes, its stream has a publisher now, as far as it knows. */
void sim_edge_note_published(struct sim *sim, const struct sim_edge *edge);
/* Bytes to the node. */
void sim_edge_write(struct sim *sim, struct sim_edge *edge, const void *bytes, size_t size);

void sim_mark_write(const struct sim_mark *mark, uint8_t out[SIM_STAMP_SIZE]);
/* False: there is none. */
bool sim_mark_find(const uint8_t *bytes, size_t size, struct sim_mark *mark);

/* An HTTP response in edge->in: bytes of its head, 0 = not whole; its body's; its status. */
size_t sim_http_head(const struct sim_edge *edge);
size_t sim_http_length(const struct sim_edge *edge, size_t head);
unsigned sim_http_status(struct sim *sim, const struct sim_edge *edge);
/* A tag that a reader or player has got is checked. */
void sim_flv_take(struct sim *sim, struct sim_edge *edge, const struct flv_tag_view *tag);

struct sim_edges *sim_edges_create(struct sim *sim);
/* As the scenario says: publishers, readers, askers. */
void sim_edges_begin(struct sim *sim);
/* Something happens to one of them. */
void sim_edges_act(struct sim *sim);
/* Faults are over: all that are wanted must find together. */
void sim_edges_calm(struct sim *sim);
void sim_edges_leave(struct sim *sim);
void sim_edges_check_converged(struct sim *sim);
/* No connection is left in a process. */
void sim_edges_check_empty(struct sim *sim, const struct sim_process *process);
/* A muxer that nobody has been answered by yet, a session whose handshake is not over: a successor
 * does without. */
bool sim_edges_is_unborn(const struct actor *actor);
/* References that such a one leaves in each table of the arena. */
void sim_edges_left_by(const struct actor *actor, uint64_t left[ARENA_TABLE_COUNT]);
/* The sessions of a successor that is only tried out (its clock is `elsewhere`'s) say what they have
 * to say, which no index may forbid. */
void sim_edges_try(struct sim *sim, struct sim_process *elsewhere);
/* SIM_PLANT_INDEX, in the successor's memory. */
void sim_edges_plant_index(struct sim_process *process, struct arena *copy);
void sim_edges_destroy(struct sim *sim);

#endif
