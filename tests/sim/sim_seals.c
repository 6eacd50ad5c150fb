/* SPDX-License-Identifier: Apache-2.0
 *
 * simulator: what was ever sealed, by whom it was for, SSRC and index. Two different packets under
 * one of them would give the key stream away (RFC 3711 9.1, RFC 7714 5.1); the same bytes may go out
 * as often as one likes. A client has an address of its own for every session, so that the address
 * stands for the key.
 */
#include "tests/sim/sim_rtc.h"

#include <stdlib.h>

enum { SEALS_FIRST = 4096, AUTH_TAG_SIZE = 10, SRTCP_INDEX_SIZE = 4 };

#define OF_RTCP	  (UINT64_C(1) << 63)
#define ENCRYPTED UINT32_C(0x80000000) /* the bit above SRTCP's index */

struct seal_seen {
	uint64_t stream; /* address << 32 | ssrc; 0 = free */
	uint64_t index;	 /* OF_RTCP with SRTCP's */
	uint64_t content;
};

struct stream_seen {
	uint16_t first;
	uint64_t newest;
};

struct sim_seals {
	struct seal_seen *seen; /* open addressing */
	size_t count, capacity;
	struct idmap streams; /* struct stream_seen */
};

struct sim_seals *sim_seals_create(void)
{
	struct sim_seals *seals = calloc(1, sizeof(*seals));

	MUST(seals);
	seals->capacity = SEALS_FIRST;
	seals->seen = calloc(seals->capacity, sizeof(*seals->seen));
	MUST(seals->seen);
	return seals;
}

void sim_seals_destroy(struct sim_seals **seals_)
{
	struct sim_seals *seals = *seals_;

	if (!seals)
		return;
	for (size_t i = 0; i < seals->streams.capacity; i++)
		free(seals->streams.entries[i].value);
	idmap_fini(&seals->streams);
	free(seals->seen);
	free(seals);
	*seals_ = NULL;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	a = (a ^ b) * UINT64_C(0x9e3779b97f4a7c15);
	return a ^ a >> 29;
}

static uint64_t content_of(const uint8_t *bytes, size_t size)
{
	uint64_t hash = size, word = 0;

	for (; size >= sizeof(word); bytes += sizeof(word), size -= sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		hash = mix(hash, word);
	}
	word = 0;
	memcpy(&word, bytes, size);
	return mix(hash, word);
}

static struct seal_seen *place_of(const struct sim_seals *seals, uint64_t stream, uint64_t index)
{
	size_t at = mix(stream, index) & (seals->capacity - 1);

	while (seals->seen[at].stream &&
		(seals->seen[at].stream != stream || seals->seen[at].index != index))
		at = (at + 1) & (seals->capacity - 1);
	return &seals->seen[at];
}

static void grow(struct sim_seals *seals)
{
	struct sim_seals old = *seals;

	seals->capacity *= 2;
	seals->seen = calloc(seals->capacity, sizeof(*seals->seen));
	MUST(seals->seen);
	for (size_t i = 0; i < old.capacity; i++)
		if (old.seen[i].stream)
			*place_of(seals, old.seen[i].stream, old.seen[i].index) = old.seen[i];
	free(old.seen);
}

static uint32_t word_at(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

static uint64_t stream_key(const struct net_addr *to, uint32_t ssrc)
{
	return (uint64_t)word_at(to->ip) << 32 | ssrc;
}

/* The 48 bits that the sequence number stands for: the nearest to the newest. */
static uint64_t rtp_index(struct sim_seals *seals, uint64_t key, uint16_t sequence, bool trial)
{
	struct stream_seen *stream = idmap_get(&seals->streams, key);
	uint64_t index;

	if (!stream && trial)
		return RTP_EXTEND_SEQUENCE_START + sequence;
	if (!stream) {
		stream = calloc(1, sizeof(*stream));
		MUST(stream && idmap_put(&seals->streams, key, stream) == ERR_OK);
		stream->first = sequence;
		stream->newest = RTP_EXTEND_SEQUENCE_START + sequence;
	}
	index = rtp_extend_sequence(stream->newest, sequence);
	if (index > stream->newest && !trial)
		stream->newest = index;
	return index;
}

bool sim_seals_note(struct sim_seals *seals, uint64_t stream, uint64_t index, const void *bytes,
	size_t size, bool trial)
{
	struct seal_seen *seen = place_of(seals, stream, index);
	uint64_t content = content_of(bytes, size);

	if (seen->stream || trial)
		return !seen->stream || seen->content == content;
	*seen = (struct seal_seen){stream, index, content};
	if (++seals->count * 2 > seals->capacity)
		grow(seals);
	return true;
}

void sim_seals_look(
	struct sim *sim, const struct net_addr *to, const void *bytes_, size_t size, bool trial)
{
	struct sim_seals *seals = sim->edges->seals;
	const struct sim_edge *edge = sim_rtc_at(sim, to);
	const uint8_t *bytes = bytes_;
	enum rtp_class class = rtp_classify_packet(bytes, size);
	uint64_t stream, index;

	if (!edge || (class != RTP_CLASS_RTP && class != RTP_CLASS_RTCP))
		return;
	if (class == RTP_CLASS_RTP) {
		stream = stream_key(to, word_at(bytes + 8));
		index = rtp_index(seals, stream, (uint16_t)(bytes[2] << 8 | bytes[3]), trial);
	} else {
		bool cm = sim_dtls_profile(&edge->rtc->dtls) == SEAL_AES128_CM_SHA1_80;

		stream = stream_key(to, word_at(bytes + 4));
		index = OF_RTCP |
			(word_at(bytes + size - SRTCP_INDEX_SIZE - (cm ? AUTH_TAG_SIZE : 0)) &
				~ENCRYPTED);
	}
	SIM_CHECK(sim, sim_seals_note(seals, stream, index, bytes, size, trial),
		"%s index %llu of SSRC %08x seals two different packets%s",
		index & OF_RTCP ? "SRTCP" : "SRTP", (unsigned long long)(index & ~OF_RTCP),
		(unsigned)stream, trial ? " after a restore" : "");
}

bool sim_seals_first(struct sim *sim, const struct net_addr *to, uint32_t ssrc, uint16_t *sequence)
{
	const struct stream_seen *stream =
		idmap_get(&sim->edges->seals->streams, stream_key(to, ssrc));

	if (stream)
		*sequence = stream->first;
	return stream;
}
