/* SPDX-License-Identifier: Apache-2.0
 *
 * Tags travel in different clothes: as they lie in a file (HTTP), one a message (WebSocket), as
 * messages in chunks (RTMP). This is what differs: the few bytes before, between and after what is in
 * the slots.
 *
 * Thread: any. No allocation, no state.
 */
#ifndef MILLRACE_FLV_FRAMING_H
#define MILLRACE_FLV_FRAMING_H

#include "actors/rtmp/flv.h"

enum {
	FLV_FRAMING_MAX = 24,  /* bytes before a tag's body, or between two parts of it */
	FLV_FRAMING_LEAD = 16, /* bytes that a framing may add to the headers */
};

enum flv_way { FLV_AS_FILE, FLV_AS_MESSAGES, FLV_AS_CHUNKS };

/* How tags travel on a connection; static. `tag` has type, time_ms and size (of the body).
 * `channel` is the view's, whatever it means to the framing. */
struct flv_framing {
	enum flv_way way;
	/* The headers that go before tags: a file header, if `begins`, and whole tags. Returns how
	 * many bytes were written, at most `size` + FLV_FRAMING_LEAD. */
	size_t (*headers)(
		uint32_t channel, const uint8_t *bytes, size_t size, bool begins, uint8_t *out);
	/* What stands before a tag's body, at most FLV_FRAMING_MAX bytes. */
	size_t (*head)(uint32_t channel, const struct flv_tag_view *tag, uint8_t *out);
	/* The same between two parts of a body; `size` is not known then. */
	size_t (*between)(uint32_t channel, const struct flv_tag_view *tag, uint8_t *out);
	uint32_t part_max; /* bytes of a body without a `between`, more than a packet; 0: all */
	bool trailer;	   /* the size that ends a tag in a file goes out as well */
};

extern const struct flv_framing flv_as_file;

#endif
