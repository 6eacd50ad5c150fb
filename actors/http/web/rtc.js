// SPDX-License-Identifier: Apache-2.0
// WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): one POST with the offer, one DELETE at the end.
// The offer goes out at once, without candidates: the node is ICE-lite on known addresses, and
// learns ours from the first connectivity check. When the path is lost, or the device has changed its
// network, one PATCH with If-Match: * restarts ICE and keeps session, keys and picture.

import { delay, refusalOf } from './api.js';

const RESTARTS_MAX = 4;

const lineOf = (sdp, name) => sdp.match(new RegExp(`^a=${name}:.*$`, 'm'))?.[0].trim() ?? '';

export class RtcSession {
  #url;
  #token;
  #resume = '';
  #location = null;
  #restarts = 0;
  #restarting = false;
  #online = () => this.#keepPath();

  /** `url` is the end-point. The caller adds transceivers to `pc`, then calls start(). */
  constructor(url, token) {
    this.#url = new URL(url, location.href);
    this.#token = token;
    this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.pc.addEventListener('connectionstatechange', () => {
      if (this.pc.connectionState === 'connected') this.#restarts = 0;
      if (['disconnected', 'failed'].includes(this.pc.connectionState)) this.#keepPath();
    });
    addEventListener('online', this.#online);
  }

  /** False once the session has ended, or its path is lost and restarts did not help. */
  get alive() {
    if (this.pc.connectionState === 'closed') return false;
    return this.pc.connectionState !== 'failed' || this.#restarting;
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

  async #keepPath() {
    if (this.#restarting || !this.#location) return;
    this.#restarting = true;
    try {
      do {
        await this.#restartIce().catch(() => {});
        await delay(3000);
      } while (this.#location && this.pc.connectionState !== 'connected' && ++this.#restarts < RESTARTS_MAX);
    } finally {
      this.#restarting = false;
    }
  }

  async #restartIce() {
    await this.pc.setLocalDescription(await this.pc.createOffer({ iceRestart: true }));
    const mine = this.pc.localDescription.sdp;
    const fragment = ['ice-options', 'group'].map((name) => lineOf(mine, name))
      .concat(mine.match(/^m=.*$/m)[0].trim(), ['mid', 'ice-ufrag', 'ice-pwd'].map((name) => lineOf(mine, name)))
      .filter(Boolean);
    try {
      const response = await fetch(this.#location, {
        method: 'PATCH',
        headers: this.#headers({ 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': '*' }),
        body: `${fragment.join('\r\n')}\r\n`,
        signal: AbortSignal.timeout(5000),
      });
      if (response.status !== 200) throw await refusalOf(response);
      const theirs = await response.text();
      const sdp = this.pc.currentRemoteDescription.sdp
        .replace(/^a=ice-ufrag:.*$/gm, lineOf(theirs, 'ice-ufrag'))
        .replace(/^a=ice-pwd:.*$/gm, lineOf(theirs, 'ice-pwd'));
      await this.pc.setRemoteDescription({ type: 'answer', sdp });
      for (const candidate of theirs.match(/^a=candidate:.*$/gm) ?? [])
        await this.pc.addIceCandidate({ candidate: candidate.slice(2).trim(), sdpMLineIndex: 0 });
    } catch (error) {
      if (this.pc.signalingState === 'have-local-offer') await this.pc.setLocalDescription({ type: 'rollback' });
      throw error;
    }
  }

  /** Ends the session on both sides; also when the page goes away (keepalive). */
  stop() {
    removeEventListener('online', this.#online);
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
