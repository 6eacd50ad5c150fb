// SPDX-License-Identifier: Apache-2.0
// millrace.js in a page: sessions by number, with all that they said.

import { check, equal, until } from './harness.mjs';
import { openPage } from './browser.mjs';

/** A page with the module that `node` serves, and functions around it. */
export async function openClient(t, node, options = {}) {
  const page = await openPage(t, node, '/healthz', options);
  await page.evaluate(async () => {
    const { MillraceError, play, publish } = await import('/millrace.js');
    const sessions = [];
    const keep = (session, more = {}) => {
      const kept = { session, events: [], error: null, ...more };
      for (const name of ['state', 'recovered', 'switched', 'error'])
        session.addEventListener(name, ({ detail }) => kept.events.push({ name, at: performance.now(), ...detail }));
      session.addEventListener('error', ({ detail: { error } }) => {
        kept.error = { code: error.code, status: error.status, message: error.message, retryAfter: error.retryAfter,
          typed: error instanceof MillraceError };
      });
      return sessions.push(kept) - 1;
    };
    globalThis.client = {
      async publish(name, { width = 640, height = 360, ...more }) {
        const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width, height } });
        return keep(publish(media, name, more), { tracks: media.getTracks() });
      },
      play(name, more) {
        const element = document.createElement('video');
        Object.assign(element, { autoplay: true, playsInline: true, muted: true });
        document.body.append(element);
        const session = play(name, { element, ...more });
        const number = keep(session, { element, source: element.srcObject, gap: 0, shown: 0 });
        const kept = sessions[number];
        const onFrame = (now) => {
          if (kept.last) kept.gap = Math.max(kept.gap, now - kept.last);
          kept.last = now;
          kept.shown++;
          element.requestVideoFrameCallback(onFrame);
        };
        element.requestVideoFrameCallback(onFrame);
        for (const name of ['ended', 'emptied', 'error']) element.addEventListener(name, () => kept.events.push({ name: `video ${name}` }));
        return number;
      },
      look(number) {
        const { session, events, error, element, source, shown, gap, tracks } = sessions[number];
        return { state: session.state, stats: session.stats, address: session.address, addresses: session.addresses, events, error, shown, gap,
          same: !element || element.srcObject === source, live: (tracks ?? source.getTracks()).map((track) => track.readyState),
          width: element?.videoWidth, paused: element?.paused };
      },
      stop(number) { sessions[number].session.stop(); },
    };
  });
  return page;
}

export class ClientSession {
  constructor(page, number) {
    this.page = page;
    this.number = number;
  }

  look() { return this.page.evaluate((number) => client.look(number), this.number); }
  stop() { return this.page.evaluate((number) => client.stop(number), this.number); }

  becomes(state, deadline_ms = 15000) {
    return until(`the session is ${state}`, async () => {
      const now = await this.look();
      return now.state === state && now;
    }, deadline_ms);
  }

  /** So many more pictures on the screen. */
  async more(count, deadline_ms = 15000) {
    const from = (await this.look()).shown;
    return until(`${count} more pictures on the screen`, async () => {
      const now = await this.look();
      return now.shown >= from + count && now;
    }, deadline_ms);
  }

  /** The next event `recovered` after those that there were. */
  async recovers(count = 1, deadline_ms = 40000) {
    return until('the session has recovered', async () => {
      const now = await this.look();
      check(now.state !== 'ended', () => `the session has ended: ${JSON.stringify(now.events)}`);
      return now.events.filter((event) => event.name === 'recovered')[count - 1];
    }, deadline_ms);
  }
}

export const clientPublish = async (page, name, options = {}) =>
  new ClientSession(page, await page.evaluate(([stream, more]) => client.publish(stream, more), [name, options]));
export const clientPlay = async (page, name, options = {}) =>
  new ClientSession(page, await page.evaluate(([stream, more]) => client.play(stream, more), [name, options]));

/** Nothing of it showed in the page. */
export function checkUntouched(now, what = 'the page') {
  check(now.same, `${what}: srcObject is the same`);
  check(now.live.length > 0 && now.live.every((state) => state === 'live'), `${what}: tracks are live: ${now.live}`);
  equal(now.events.filter((event) => event.name.startsWith('video')), [], `${what}: events of the element`);
}
