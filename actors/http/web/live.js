// SPDX-License-Identifier: Apache-2.0
// What the node looks like now: one WebSocket that brings the state and then what changes in it (JSON
// merge patches, RFC 7386), and the last minutes of every figure that is drawn.

import { checkOperator, delay, openSocket } from './api.js';

const HISTORY = 300; // seconds
const STREAMS_DRAWN = 200; // histories kept at a time
const EVENTS_MAX = 200;
const SILENCE_MS = 30000; // the node pings every 20 s, and a busy one changes every second

function merge(target, patch) {
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete target[key];
    else if (typeof value === 'object' && !Array.isArray(value))
      target[key] = merge(typeof target[key] === 'object' && !Array.isArray(target[key]) ? target[key] : {}, value);
    else target[key] = value;
  }
  return target;
}

const median = (values) => (values.length ? values.sort((a, b) => a - b)[values.length >> 1] : null);
const most = (values) => (values.length ? Math.max(...values) : null);

/** Milliseconds from the stream's newest packet to a viewer, as far as the node can know. */
export const latencyOf = (session) => (session.lag_us + session.rtt_us / 2) / 1000;

class Live extends EventTarget {
  state = null; // null: nothing known yet
  events = [];
  access = 'unknown'; // unknown, granted, token (one is wanted), denied
  connected = false;
  problem = '';
  histories = new Map(); // "live/demo", "media.0" -> { at: [], … }
  #retry = new AbortController();

  /** For ever; call once. */
  async run() {
    for (let attempt = 0; ; attempt++) {
      try {
        const refusal = await checkOperator();
        this.access = !refusal ? 'granted' : refusal.status === 401 ? 'token' : 'denied';
        this.problem = refusal?.message ?? '';
        if (!refusal) await this.#follow(() => { attempt = 0; });
        else this.state = null;
      } catch { /* the node does not answer: again, soon */ }
      this.connected = false;
      this.#tell();
      const pause = this.access === 'granted' ? Math.min(4000, 250 * 2 ** attempt) : 10000;
      this.#retry = new AbortController();
      await delay(pause * (0.75 + Math.random() / 2), this.#retry.signal).catch(() => {});
    }
  }

  /** There is a new token, or a reason to believe that it goes now. */
  again() {
    this.#retry.abort(new DOMException('again', 'AbortError'));
  }

  sessionsOf(name) {
    return Object.entries(this.state?.sessions ?? {}).filter(([, session]) => session.stream === name);
  }

  /** Whether all viewers of a stream are among the sessions listed: else what is counted of these is not of all. */
  listsAll(name) {
    if (!this.state?.left_out) return true;
    const listed = this.sessionsOf(name).filter(([, session]) => session.play).length;
    return listed >= (this.state.streams[name]?.viewers ?? 0);
  }

  /** Resolves when the socket has closed. */
  #follow(onMessage) {
    return new Promise((resolve) => {
      const socket = openSocket('/api/v1/live');
      let heard = performance.now();
      const watchdog = setInterval(() => {
        if (performance.now() - heard > SILENCE_MS && Object.keys(this.state?.streams ?? {}).length) socket.close();
      }, 5000);
      socket.addEventListener('message', ({ data }) => {
        heard = performance.now();
        onMessage();
        this.#take(JSON.parse(data));
      });
      socket.addEventListener('close', () => { clearInterval(watchdog); resolve(); }, { once: true });
    });
  }

  #take({ type, state, patch, events, at }) {
    if (type === 'state') {
      this.state = state;
      this.events = events;
    } else if (this.state) {
      merge(this.state, patch);
      this.events = this.events.concat(events).slice(-EVENTS_MAX);
      for (const event of events) this.dispatchEvent(new CustomEvent('event', { detail: event }));
    }
    this.connected = true;
    this.#remember(at / 1000);
    this.#tell();
  }

  #tell() { this.dispatchEvent(new Event('change')); }

  #point(key, at, values) {
    let history = this.histories.get(key);
    if (!history) this.histories.set(key, history = { at: [] });
    if (at - history.at.at(-1) < 0.5) return; // a state right behind a patch
    history.at.push(at);
    for (const [name, value] of Object.entries(values)) (history[name] ??= []).push(value);
    if (history.at.length > HISTORY) for (const column of Object.values(history)) column.shift();
  }

  #remember(at) {
    const viewers = new Map();
    for (const session of Object.values(this.state.sessions))
      if (session.play) viewers.set(session.stream, [...viewers.get(session.stream) ?? [], session]);
    for (const [name, stream] of Object.entries(this.state.streams).slice(0, STREAMS_DRAWN)) {
      const mine = viewers.get(name) ?? [];
      const withRtt = mine.filter((session) => session.rtt_us > 0).map((session) => session.rtt_us / 1000);
      const first = mine.filter((session) => session.started_us > 0).map((session) => session.started_us / 1000);
      this.#point(name, at, {
        in: stream.bitrate_bps / 1e6,
        out: this.state.left_out && mine.length < stream.viewers ? null // a sum of some would be wrong
          : mine.reduce((sum, session) => sum + session.bitrate_bps, 0) / 1e6,
        loss: mine.length ? mine.reduce((sum, session) => sum + session.loss_ppm, 0) / mine.length / 1e4 : null,
        lossMost: mine.length ? most(mine.map((session) => session.loss_ppm)) / 1e4 : null,
        rttMost: most(withRtt), rtt: median(withRtt),
        firstMost: most(first), first: median(first),
      });
    }
    for (const [name, worker] of Object.entries(this.state.workers))
      this.#point(name, at, { cpu: worker.cpu, packets: worker.packets_per_s });
    for (const key of this.histories.keys())
      if (!this.state.streams[key] && !this.state.workers[key]) this.histories.delete(key);
  }
}

export const live = new Live();
