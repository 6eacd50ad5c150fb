/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose datagram is this? Three kinds of key lead to a session: the remote address (learnt from a
 * connectivity check that authenticated), our own ICE user name fragment (to find the session of a
 * first check) and an incoming SSRC (to find a publisher whose address changed).
 *
 * The table is bounded by its creation: rows for sessions, RTC_TABLE_KEYS keys a session, so many of
 * them addresses. A session that has them all loses its oldest of that kind for a new one: however
 * often its client moves, its user name fragment and its SSRCs find it. A key belongs to whoever put
 * it last.
 *
 * Thread: one at a time. Allocates in rtc_table_init only.
 */
#ifndef MILLRACE_RTC_TABLE_H
#define MILLRACE_RTC_TABLE_H

#include "schemas/err.h"
#include "schemas/net_addr.h"

#include <stddef.h>

enum {
	RTC_TABLE_KEYS = 16,	 /* a session, on average and at most */
	RTC_TABLE_ADDRESSES = 8, /* of them; as many as ICE remembers (ICE_PAIRS_MAX) */
	RTC_TABLE_KEY_SIZE = 20, /* bytes: struct net_addr */
	RTC_TABLE_NONE = 0,
};

enum rtc_key_kind { RTC_KEY_ADDRESS = 1, RTC_KEY_UFRAG, RTC_KEY_SSRC };

struct rtc_key {
	uint8_t kind; /* 0 = free */
	uint8_t size;
	uint8_t bytes[RTC_TABLE_KEY_SIZE];
	uint32_t row;
	uint32_t next;	      /* in its bucket, or in the list of free ones */
	uint32_t next_of_row; /* in order of age, newest first */
};

struct rtc_row {
	uint64_t session; /* actor id; 0 = free */
	uint32_t keys;	  /* newest key; of a free row: the next free one */
	uint32_t key_count;
	uint32_t next; /* in its bucket */
};

struct rtc_table {
	uint64_t seed; /* keeps strangers from aiming at one bucket */
	uint32_t sessions_max;
	uint32_t session_count;
	uint32_t bucket_mask;
	uint32_t free_key;
	uint32_t free_row;
	uint32_t *buckets;
	uint32_t *row_buckets;
	struct rtc_key *keys; /* places from 1; 0 = none, as with rows */
	struct rtc_row *rows;
};

/* ERR_NO_MEMORY: the table is then as after rtc_table_fini. */
enum err rtc_table_init(struct rtc_table *t, uint32_t sessions_max, uint64_t seed);
/* Harmless on a zeroed table and when repeated. */
void rtc_table_fini(struct rtc_table *t);

/* A row for a session (id not 0); RTC_TABLE_NONE when all are taken. */
uint32_t rtc_table_add(struct rtc_table *t, uint64_t session);
/* Forgets the row and its keys; RTC_TABLE_NONE and free rows have no effect. */
void rtc_table_remove(struct rtc_table *t, uint32_t row);
/* The row of a session. */
uint32_t rtc_table_row_of(const struct rtc_table *t, uint64_t session);

/* `size` bytes, at most RTC_TABLE_KEY_SIZE (longer keys are ignored). */
void rtc_table_put(
	struct rtc_table *t, uint32_t row, enum rtc_key_kind kind, const void *bytes, size_t size);
void rtc_table_forget(struct rtc_table *t, enum rtc_key_kind kind, const void *bytes, size_t size);
/* Actor id; 0 = nobody. */
uint64_t rtc_table_find(
	const struct rtc_table *t, enum rtc_key_kind kind, const void *bytes, size_t size);

#endif
