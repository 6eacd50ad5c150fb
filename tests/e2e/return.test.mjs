// SPDX-License-Identifier: Apache-2.0
// A publisher comes back: how long after its first packet of a picture the first one is sent on to who watches.

import { atLeast, atMost, patience, test, until } from './harness.mjs';
import { pushRtmp } from './media.mjs';
import { freshName, startNode } from './node.mjs';
import { TcpRelay } from './relay.mjs';
import { WeriftPublisher, WeriftViewer } from './werift.mjs';

const RETURNS = 5;
const FORWARDED_MS = 20; // the goal; a publisher that begins does so with a keyframe, so it is not waited for
const STILL_MS = 200;
const KEYFRAME = Buffer.from([0x17, 1, 0, 0, 0]); // FLV: keyframe, AVC NALU, no composition time

/** An encoder; when the first bytes of its first picture have passed on to the node. */
async function encoder(t, node, name) {
  const relay = await TcpRelay.start(t, new URL(node.rtmp).host);
  const came = { first_at: undefined };
  let last = Buffer.alloc(0);
  relay.hear = (bytes) => {
    const both = Buffer.concat([last, bytes]);
    if (both.includes(KEYFRAME)) came.first_at ??= performance.now();
    last = both.subarray(-KEYFRAME.length);
  };
  const ffmpeg = pushRtmp(t, relay.url.replace('http:', 'rtmp:'), name, { size: '320x240' });
  return Object.assign(came, { end: () => ffmpeg.stop('SIGKILL') });
}

/** Nothing that was sent before is on its way any more. */
async function isStill(viewer) {
  let [count, since] = [-1, 0];
  await until('no picture comes any more', () => {
    if (viewer.video.count !== count) [count, since] = [viewer.video.count, performance.now()];
    return performance.now() - since > STILL_MS;
  });
}

async function browserLike(t, node, name) {
  const publisher = await WeriftPublisher.start(t, `${node.url}/whip/${name}`);
  publisher.end = async () => {
    await publisher.ffmpeg.stop('SIGKILL');
    await publisher.delete();
  };
  return publisher;
}

for (const [how, publish] of [['RTMP', encoder], ['WHIP', browserLike]]) {
  test(`${how}: a publisher that comes back is seen ${FORWARDED_MS} ms after its first picture`, async (t) => {
    const node = await startNode(t, { workers: 2 });
    const name = freshName('return');
    const state = async () => (await node.streams()).find((stream) => stream.name === name)?.state;
    let publisher = await publish(t, node, name);
    await until('it is live', async () => await state() === 'live');
    const viewer = await WeriftViewer.start(t, `${node.url}/whep/${name}`);
    const took = [];
    for (let i = 0; i < RETURNS; i++) {
      const before = viewer.video.count;
      await until('pictures', () => viewer.video.count > before + 30);
      await publisher.end();
      await until('it is missed', async () => await state() !== 'live');
      await isStill(viewer);
      const next = viewer.nextPicture();
      publisher = await publish(t, node, name);
      const seen = await next;
      atLeast(seen, publisher.first_at, 'when it is seen, after it was sent');
      took.push(seen - publisher.first_at);
    }
    took.sort((a, b) => a - b);
    t.note(`after ${took.map((ms) => ms.toFixed(1)).join(', ')} ms`);
    atMost(took[RETURNS >> 1], FORWARDED_MS * patience(), 'milliseconds from the first picture to the first that is sent on, median');
  }, { timeout_ms: 120000 });
}
