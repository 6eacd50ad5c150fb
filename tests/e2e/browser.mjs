// SPDX-License-Identifier: Apache-2.0
// Chromium: one for the whole run, a fresh context for each page. A page stands on the node's own
// origin (a secure one, so that it may have a camera) and holds page.js.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { atLeast, check, RUN_ID, share, until } from './harness.mjs';

const FIRST_MS = 10000;

const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream',
  '--autoplay-policy=no-user-gesture-required', '--allow-loopback-in-peer-connection',
  '--disable-features=WebRtcHideLocalIpsWithMdns'];

function findChromium() {
  const folder = process.env.PATH.split(':').find((candidate) => existsSync(`${candidate}/chromium`));
  return `${folder}/chromium`;
}

const launch = (executablePath, more = []) =>
  chromium.launch({ executablePath, args: [...flags, ...more], env: { ...process.env, E2E_RUN: RUN_ID } });

export const sharedBrowser = share(() => launch(findChromium()), (browser) => browser.close());

/** A browser inside a host of `network`; pages of `origin` may use the camera. */
export async function browserInside(t, network, host, origin) {
  const browser = await launch(network.wrapper(host, findChromium()), [`--unsafely-treat-insecure-origin-as-secure=${origin}`]);
  t.defer(() => browser.close());
  return browser;
}

const script = fileURLToPath(new URL('page.js', import.meta.url));

/** A page on the node's origin. Its errors end up in page.problems. */
export async function openPage(t, node, path = '/healthz', { browser = null, ...options } = {}) {
  browser ??= await sharedBrowser();
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  t.defer(() => context.close());
  const page = await context.newPage();
  page.problems = [];
  page.on('pageerror', (error) => page.problems.push(error.stack || `${error.name}: ${error.message}`));
  page.on('console', (message) => { if (message.type() === 'error') page.problems.push(message.text()); });
  await page.addInitScript({ path: script });
  // a video that waits for its first picture holds back the load event
  await page.goto((options.ignoreHTTPSErrors ? node.https : node.url) + path, { waitUntil: 'domcontentloaded' });
  return page;
}

/** One publisher or viewer in a page. */
export class Peer {
  constructor(page, result) {
    this.page = page;
    Object.assign(this, result);
  }

  look() { return this.page.evaluate((id) => e2e.look(id), this.id); }
  restart(ifMatch) { return this.page.evaluate(([id, header]) => e2e.restart(id, header), [this.id, ifMatch]); }
  stop(silently) { return this.page.evaluate(([id, quiet]) => e2e.stop(id, quiet), [this.id, silently]); }
  localSdp() { return this.page.evaluate((id) => e2e.local(id), this.id); }
  observe() { return this.page.evaluate((id) => e2e.observe(id), this.id); }
  observed() { return this.page.evaluate((id) => e2e.observed(id), this.id); }

  /** Waits for so many more decoded pictures; returns the statistics then. */
  async moreVideo(count, deadline_ms = FIRST_MS) {
    const from = (await this.look()).video?.framesDecoded ?? 0;
    return until(`${count} more decoded pictures`, async () => {
      const now = await this.look();
      return now.video?.framesDecoded >= from + count && now;
    }, deadline_ms);
  }

  /** Waits until sound that is not silence has been played; returns the energy. */
  async moreSound(deadline_ms = FIRST_MS) {
    const from = (await this.look()).audio?.totalAudioEnergy ?? 0;
    return until('audio energy grows', async () => {
      const energy = (await this.look()).audio?.totalAudioEnergy ?? 0;
      return energy > from + 1e-5 && energy;
    }, deadline_ms);
  }

  async connected(deadline_ms = FIRST_MS) {
    return until('the peer connection is connected', async () => {
      const now = await this.look();
      return now.state === 'connected' && now;
    }, deadline_ms);
  }
}

async function call(action, page, url, options) {
  const result = await page.evaluate(([name, target, more]) => e2e[name](target, more), [action, url, options]);
  return new Peer(page, result);
}

/** Whatever the node answers; see .status. */
export const offerWhip = (page, url, options = {}) => call('publish', page, url, options);
export const offerWhep = (page, url, options = {}) => call('play', page, url, options);

export async function publishWhip(page, node, name, { query = '', ...options } = {}) {
  const peer = await offerWhip(page, `${node.url}/whip/${name}${query}`, options);
  check(peer.status === 201, () => `WHIP ${name}: ${peer.status} ${peer.text}`);
  await peer.connected();
  return peer;
}

export async function playWhep(page, node, name, { query = '', ...options } = {}) {
  const peer = await offerWhep(page, `${node.url}/whep/${name}${query}`, options);
  check(peer.status === 201, () => `WHEP ${name}: ${peer.status} ${peer.text}`);
  await peer.connected();
  return peer;
}

/** Picture that moves, of this size. */
export async function checkPicture(peer, width, height, frames = 20) {
  const now = await peer.moreVideo(frames);
  check(now.video.frameWidth === width && now.video.frameHeight === height,
    () => `picture is ${now.video.frameWidth}x${now.video.frameHeight}, not ${width}x${height}`);
  atLeast(now.video.framesDecoded, frames, 'decoded frames');
  return now;
}

/** Chromium on the host of a lab's node (lab.mjs), which plays a stream of 640x360 there. */
export async function viewerInChromium(t, lab, name, stream) {
  const node = lab.node(name);
  const browser = await browserInside(t, lab.internet, name, lab.origin(name));
  const peer = await playWhep(await openPage(t, node, '/healthz', { browser }), node, stream);
  await checkPicture(peer, 640, 360);
  return peer;
}
