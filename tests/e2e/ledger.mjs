// SPDX-License-Identifier: Apache-2.0
// What a node seals, seen from outside: an index of SRTP or SRTCP that comes twice must come with the
// same bytes (RFC 3711 9.1, RFC 7714 11).

import { createHash } from 'node:crypto';

const RTP_HEADER = 12;
const RTCP_FIRST = 192; // RFC 5761 4: second byte of RTCP; RTP has 0..127 and 128..255 with marker
const RTCP_LAST = 223;

const hash = (bytes) => createHash('sha1').update(bytes).digest('latin1');

/** RFC 3711 3.3.1: the index of a 16-bit sequence next to the highest seen. */
function indexOf(highest, sequence) {
  if (highest < 0) return 0x10000 + sequence; // room for one that is older than the first
  const base = highest - (highest & 0xffff);
  const candidates = [base - 0x10000 + sequence, base + sequence, base + 0x10000 + sequence];
  return candidates.sort((a, b) => Math.abs(a - highest) - Math.abs(b - highest))[0];
}

/** Of any number of sessions: their SSRCs are random, and differ. */
export class Ledger {
  packets = 0;
  reports = 0;
  again = 0; // the same bytes once more
  reused = []; // an index with other bytes
  #seen = new Map(); // "rtp SSRC" or "rtcp SSRC" -> { highest, hashes: Map index -> hash }

  take(bytes) {
    if (bytes.length < RTP_HEADER || bytes[0] >> 6 !== 2) return; // STUN, DTLS
    const isReport = bytes[1] >= RTCP_FIRST && bytes[1] <= RTCP_LAST;
    const ssrc = bytes.readUInt32BE(isReport ? 4 : 8);
    const key = `${isReport ? 'rtcp' : 'rtp'} ${ssrc}`;
    let row = this.#seen.get(key);
    if (!row) this.#seen.set(key, row = { highest: -1, hashes: new Map() });
    // with AES-GCM the index of SRTCP is the last word
    const index = isReport ? bytes.readUInt32BE(bytes.length - 4) & 0x7fffffff : indexOf(row.highest, bytes.readUInt16BE(2));
    const now = hash(bytes);
    const before = row.hashes.get(index);
    this[isReport ? 'reports' : 'packets']++;
    if (before === now) this.again++;
    else if (before !== undefined) this.reused.push(`${key} index ${index}`);
    row.hashes.set(index, now);
    row.highest = Math.max(row.highest, index);
  }
}
