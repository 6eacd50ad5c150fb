// SPDX-License-Identifier: Apache-2.0
// WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): one POST with the offer, one DELETE at the end.
// The offer goes out at once, without candidates: the node is ICE-lite on known addresses, and
// learns ours from the first connectivity check.

import { refusalOf } from './api.js';

export class RtcSession {
  #url;
  #token;
  #resume = '';
  #location = null;

  /** `url` is the end-point; `build(pc)` adds the transceivers. */
  constructor(url, token) {
    this.#url = new URL(url, location.href);
    this.#token = token;
    this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  }

  #headers(more) {
    const headers = { ...more };
    if (this.#token) headers.Authorization = `Bearer ${this.#token}`;
    if (this.#resume) headers['Millrace-Resume'] = this.#resume;
    return headers;
  }

  /** Offer and answer. `wait` lets the node hold the request until there is a publisher. */
  async start(signal, wait = false) {
    if (!this.pc.localDescription) await this.pc.setLocalDescription(await this.pc.createOffer());
    const url = new URL(this.#url);
    if (wait) url.searchParams.set('wait', '1');
    const response = await fetch(url, {
      method: 'POST',
      headers: this.#headers({ 'Content-Type': 'application/sdp' }),
      body: this.pc.localDescription.sdp,
      signal,
    });
    if (response.status !== 201) throw await refusalOf(response);
    this.#location = new URL(response.headers.get('Location'), url);
    this.#resume = response.headers.get('Millrace-Resume') ?? '';
    await this.pc.setRemoteDescription({ type: 'answer', sdp: await response.text() });
  }

  /** Ends the session on both sides; also when the page goes away (keepalive). */
  stop() {
    this.pc.close();
    if (!this.#location) return;
    fetch(this.#location, { method: 'DELETE', headers: this.#headers(), keepalive: true }).catch(() => {});
    this.#location = null;
  }
}

/** Resolves when media flows; rejects when it cannot. */
export function connected(pc, signal) {
  return new Promise((resolve, reject) => {
    const look = () => {
      if (pc.connectionState === 'connected') resolve();
      if (pc.connectionState === 'failed')
        reject(new Error('No media path to the node. A firewall may block its UDP and TCP media ports.'));
    };
    pc.addEventListener('connectionstatechange', look);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    look();
  });
}

/** Reads `kind` ("inbound-rtp" or "outbound-rtp") and turns counters into rates since last time. */
export class RtcMeter {
  #last = null;

  constructor(pc, kind) {
    this.pc = pc;
    this.kind = kind;
  }

  async read() {
    const report = await this.pc.getStats();
    const streams = [...report.values()].filter((row) => row.type === this.kind);
    const video = streams.filter((row) => row.kind === 'video').sort((a, b) => (b.frameWidth ?? 0) - (a.frameWidth ?? 0))[0];
    const audio = streams.find((row) => row.kind === 'audio');
    const pair = [...report.values()].find((row) => row.type === 'candidate-pair' && row.nominated);
    const bytes = streams.reduce((sum, row) => sum + (row.bytesReceived ?? row.bytesSent ?? 0), 0);
    const at = performance.now();
    const bps = this.#last ? (bytes - this.#last.bytes) * 8000 / (at - this.#last.at) : NaN;
    this.#last = { bytes, at };
    const codec = report.get(video?.codecId ?? audio?.codecId)?.mimeType?.split('/')[1] ?? '–';
    return { video, audio, pair, bps, codec };
  }
}
