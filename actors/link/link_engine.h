/* SPDX-License-Identifier: Apache-2.0
 *
 * link_engine: one end of a link between two nodes (decision 21), of bytes and time: packets go in and
 * come out as sealed datagrams of one path or another; datagrams go in and come out as packets, once
 * each. Joins the wire form, sealing, paths, both ends of the link sequence and FEC.
 *
 * What must outlive the process (counter, sequences, replay window, keys) lies in `struct link_hot`, an
 * arena slot; everything else is begun anew by a successor, who goes on at the next counter.
 *
 * Thread: one at a time. Allocates keys (link_engine_set_…) and what is kept of
 * what was sent (link_send.h) only. Never touches sockets or clocks.
 */
#ifndef MILLRACE_LINK_ENGINE_H
#define MILLRACE_LINK_ENGINE_H

#include "actors/link/link_fec.h"
#include "actors/link/link_meter.h"
#include "actors/link/link_pace.h"
#include "actors/link/link_path.h"
#include "actors/link/link_receive.h"
#include "actors/link/link_seal.h"
#include "actors/link/link_send.h"

#include <sys/uio.h>

enum {
	LINK_BATCH = 16,	       /* datagrams of one path in one emit */
	LINK_REPORT_US = 20000,	       /* while media comes … */
	LINK_REPORT_HURRY_US = 10000,  /* … of mode backup: nothing else tells of a cut */
	LINK_REPORT_LAST_US = 300000,  /* and so long after the last: that nothing comes is news */
	LINK_REPORT_IDLE_US = 500000,  /* without media … */
	LINK_REPORT_REST_US = 2000000, /* … and when it rests */
	LINK_REST_US = 3000000,	     /* after it began, or the last packet, either way: it rests */
	LINK_NACK_US = 4000,	     /* between two reports that ask */
	LINK_BEAT_US = 20000,	     /* an active link's best path is not silent for longer */
	LINK_BEAT_HURRY_US = 10000,  /* nor with media of mode backup */
	LINK_ACTIVE_US = 1000000,    /* after the last packet */
	LINK_EXPIRE_US = 50000,	     /* between looks at what is too old to be kept */
	LINK_RESEND_MAX = 512,	     /* packets for one report, or one switch */
	LINK_OLD_KEY_US = 5000000,   /* that a replaced key is taken */
	LINK_HOT_MAGIC = 0x334b4e4c, /* "LNK3" */
};

/* Plain, in an arena slot; secret. */
struct link_hot {
	uint32_t magic;
	uint8_t tx_bit;	  /* tx[tx_bit] is in use */
	uint8_t rx_known; /* bit i: rx[i] is a key */
	uint8_t rx_newest;
	uint8_t reserved;
	uint64_t counter;  /* the last one used; stored before its datagram is sealed */
	uint64_t key_from; /* counter at which the present key began */
	uint64_t next_seq; /* link sequence */
	uint64_t path_seq[LINK_PATHS_MAX];
	struct link_key tx[2], rx[2];
	struct link_window window;
};

/* Where datagrams are written until they are emitted; one a thread is enough for all its links. */
struct link_outbox {
	uint8_t count;
	uint16_t sizes[LINK_BATCH];
	uint8_t bytes[LINK_BATCH][LINK_DATAGRAM_MAX];
};

struct link_out {
	struct link_outbox boxes[LINK_PATHS_MAX];
	uint8_t body[LINK_BODY_MAX]; /* of the datagram that was opened last */
};

struct link_ops {
	void *context;
	/* Datagrams of one path, of which runs are of one size; borrowed for the call. */
	void (*emit)(void *context, unsigned path, const struct iovec *datagrams, size_t count);
	/* A packet of the peer's, once. Borrowed. */
	void (*deliver)(void *context, const struct link_media *media);
	/* What a reference that was given is; NULL = it is gone. */
	const struct packet *(*packet)(void *context, struct slot_ref ref);
	/* A reference that was given is needed no more. */
	void (*release)(void *context, struct slot_ref ref);
};

struct link_options {
	uint32_t session; /* of the peer: in every datagram to it */
	uint32_t redundancy_permille;
	int64_t age_us; /* a packet whose sender says nothing else is sent again so long; 0 = the same … */
	int64_t age_max_us; /* … as packets are asked for, and kept */
	int64_t phase_us; /* at that part of a second a link that rests is looked after, as others here */
};

struct link_counters {
	uint64_t datagrams_in, bytes_in;
	uint64_t bad, unauthentic, replayed; /* datagrams refused */
	uint64_t too_wide;		     /* packets whose header does not fit the wire */
	uint64_t no_path, no_key, no_memory; /* packets that could not leave */
	uint64_t reports_in, reports_out, asked_in, not_there;
	uint64_t too_late; /* packets asked for that are of no use any more to their stream */
	uint64_t beats;
};

struct link_engine {
	struct link_options options;
	struct link_ops ops;
	struct link_hot *hot; /* borrowed */
	struct link_out *out; /* borrowed */
	struct link_seal tx, rx[2];
	int64_t rx_old_until_us; /* a key that is not the newest is taken until then; 0 = for now */
	struct link_path paths[LINK_PATHS_MAX];
	struct link_pace paces[LINK_PATHS_MAX];
	struct link_meter meters[LINK_PATHS_MAX];
	struct link_send send;
	struct link_receive receive;
	struct link_fec_encoder fec_out;
	struct link_fec_decoder fec_in;

	int64_t began_us;
	uint32_t report_number; /* of ours */
	uint64_t peer_report;	/* unwrapped; 0 = none yet */
	uint64_t peer_reports_seen;
	int64_t heard_us;	     /* when media or a beat came last … */
	int64_t hurried_us;	     /* … that wants reports more often */
	int64_t report_us, nack_us;  /* when we reported last, and asked */
	int64_t media_us;	     /* when media left last; 0 = never … */
	int64_t raced_us, backed_us; /* … of mode race, and of mode backup */
	int64_t tight_us,
		tight_at_us; /* the least age that packets have lately, and when one had it */
	int64_t expire_at_us;
	struct link_counters counters;
};

/* A fresh hot part: our key, by which nothing has left, and nothing of the peer. Once for a key. */
void link_hot_init(struct link_hot *hot, const struct link_key *tx);
/* The peer's first key. What left by ours stays counted, and so does what came by theirs: the turn in which
 * this was heard before may be lost with its process, what it sent is not. */
void link_hot_meet(struct link_hot *hot, const struct link_key *rx);
/* Whether that is one: all else of it may be anything. */
bool link_hot_is_valid(const struct link_hot *hot);

/* The struct is zeroed. Borrows `hot` and `out` until link_engine_fini. ERR_NO_MEMORY; ERR_FORMAT. */
enum err link_engine_init(struct link_engine *e, const struct link_options *options,
	const struct link_ops *ops, struct link_hot *hot, struct link_out *out, int64_t now_us);
/* Redundancy and ages are other ones from now on; what is missing, or kept, is judged by them too. */
void link_engine_configure(struct link_engine *e, const struct link_options *options);
/* Gives back every reference. Harmless on a zeroed one. */
void link_engine_fini(struct link_engine *e);

/* A way to the peer, to be probed from now on. */
void link_engine_add_path(struct link_engine *e, unsigned path, uint8_t route, int64_t now_us);
void link_engine_remove_path(struct link_engine *e, unsigned path);

/* From now on: with this key. The peer has it already. */
enum err link_engine_set_tx_key(struct link_engine *e, const struct link_key *key);
/* The peer is about to use this one; `bit` = how it will call it. The present one is taken until
 * LINK_OLD_KEY_US after the first datagram by this. */
enum err link_engine_set_rx_key(struct link_engine *e, uint8_t bit, const struct link_key *key);
/* Enough was sent by the present key. */
bool link_engine_wants_key(const struct link_engine *e);

/* A packet for actor `to` of the peer's node, from `from` of ours. A reference is taken over, whatever
 * comes of it. Leaves at link_engine_flush, at the latest. */
void link_engine_send(struct link_engine *e, struct slot_ref ref, uint64_t to, uint64_t from,
	struct link_terms terms, int64_t now_us);
void link_engine_flush(struct link_engine *e);
/* How many packets that need not leave now may, beside what flows: of the path that is used. */
uint32_t link_engine_room(struct link_engine *e, int64_t now_us);

/* A datagram with our session. `*path` = by which it came, when it is authentic (ERR_OK). */
enum err link_engine_take(struct link_engine *e, const uint8_t *bytes, size_t size,
	int64_t arrival_us, unsigned *path);

/* The next time that is `phase_us` after a whole second. */
static inline int64_t link_next_second_us(int64_t now_us, int64_t phase_us)
{
	return now_us - (now_us + LINK_PROBE_REST_US - phase_us) % LINK_PROBE_REST_US +
	       LINK_PROBE_REST_US;
}

/* Does what is due; the time at which it wants to be called again. */
int64_t link_engine_tick(struct link_engine *e, int64_t now_us);
int64_t link_engine_deadline_us(const struct link_engine *e, int64_t now_us);

#endif
