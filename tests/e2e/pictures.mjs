// SPDX-License-Identifier: Apache-2.0
// How long a viewer in Chromium waits for its first picture, from before it makes its offer until the picture is
// painted; beside two ends in one page of the same browser that have nothing between them but each other.
// `tests/e2e/run --pictures`; each figure is a line of JSON, for `./dev bench`.

import { openPage, playWhep } from './browser.mjs';
import { atMost, patience, test, until } from './harness.mjs';
import { publishRtmp } from './media.mjs';
import { freshName, sharedNode } from './node.mjs';

const JOINS = 20;
const GOAL_MS = 130;

/** In the page: from before the offer to the first painted picture of a camera that is on. */
async function alone() {
  globalThis.camera ??= await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 } });
  const [from, to] = [new RTCPeerConnection(), new RTCPeerConnection()];
  const video = document.createElement('video');
  Object.assign(video, { autoplay: true, muted: true, playsInline: true });
  for (const [one, other] of [[from, to], [to, from]])
    one.addEventListener('icecandidate', ({ candidate }) => other.addIceCandidate(candidate));
  to.addEventListener('track', ({ streams: [stream] }) => { video.srcObject = stream; });
  document.body.append(video);
  const start = performance.now();
  const painted = new Promise((resolve) => {
    video.requestVideoFrameCallback(() => resolve(performance.now() - start));
  });
  from.addTransceiver(globalThis.camera.getVideoTracks()[0], { direction: 'sendonly', streams: [globalThis.camera] });
  await from.setLocalDescription(await from.createOffer());
  await to.setRemoteDescription(from.localDescription);
  await to.setLocalDescription(await to.createAnswer());
  await from.setRemoteDescription(to.localDescription);
  const took_ms = await painted;
  for (const end of [from, to]) end.close();
  video.remove();
  return took_ms;
}

async function through(page, node, name) {
  const peer = await playWhep(page, node, name);
  const took_ms = await until('a picture', async () => (await peer.look()).first_ms);
  await peer.stop();
  return took_ms;
}

function percentile(samples, share) {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.round(share * (sorted.length - 1))];
}

test('first pictures in Chromium', async (t) => {
  const node = await sharedNode();
  const name = freshName('pictures');
  await publishRtmp(t, node, name);
  const page = await openPage(t, node);
  await through(page, node, name);
  await page.evaluate(alone);
  const [here, bare] = [[], []];
  for (let i = 0; i < JOINS; i++) {
    here.push(await through(page, node, name));
    bare.push(await page.evaluate(alone));
  }
  for (const [row, share] of [['picture_p50', 0.5], ['picture_p95', 0.95]]) {
    const [value, limit] = [percentile(here, share), percentile(bare, share)];
    console.log(JSON.stringify({ row, n: 0, unit: 'ms', value, limit, ratio: Math.round((value / limit) * 1000) / 1000 }));
  }
  t.note(here.map(Math.round).join(' '));
  atMost(percentile(here, 0.5), GOAL_MS * patience(), 'milliseconds to the first picture, p50');
}, { timeout_ms: 120000 });
