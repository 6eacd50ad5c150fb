// SPDX-License-Identifier: Apache-2.0
// A stream that is published at one node of a cluster is played at the others.

import { atMost, check, equal, patience, test, until } from './harness.mjs';
import { offerWhep, openPage, playWhep, publishWhip } from './browser.mjs';
import { Cluster } from './cluster.mjs';
import { moreVideo, playRtmp, publishRtmp, watchFlv } from './media.mjs';
import { freshName } from './node.mjs';

const FIRST_MS = 20000; // of a viewer at another node, on a machine with other work

async function flvPlays(t, node, name) {
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await moreVideo(viewer, 20, FIRST_MS);
  await until(`sound over FLV at ${node.name}`, () => viewer.audio > 20, FIRST_MS);
  equal(viewer.backwards, 0, 'timestamps going back');
  return viewer;
}

async function whepPlays(t, node, name) {
  const peer = await playWhep(await openPage(t, node), node, name);
  await peer.moreVideo(20, FIRST_MS);
  await peer.moreSound(FIRST_MS);
  return peer;
}

async function rtmpPlays(t, node, name) {
  const player = playRtmp(t, `${node.rtmp}/${name}`);
  await until(`pictures over RTMP at ${node.name}`, () => player.frames >= 20, FIRST_MS);
}

test('published by RTMP at one node: WHEP, HTTP-FLV and RTMP at the others; at once, from what they have cached', async (t) => {
  const [a, b, c] = (await Cluster.start(t, { nodes: 3 })).nodes;
  const name = freshName('across');
  await publishRtmp(t, a, name, { gop: 300 }); // a keyframe in ten seconds
  const first = await flvPlays(t, b, name);
  await flvPlays(t, c, name);
  const peer = await whepPlays(t, b, name);
  t.note(`WHEP: first picture ${Math.round(peer.first_ms ?? (await peer.look()).first_ms)} ms`);
  await rtmpPlays(t, b, name);
  await rtmpPlays(t, c, name);
  const second = watchFlv(t, `${b.url}/${name}.flv`);
  await moreVideo(second, 1, FIRST_MS);
  t.note(`second FLV viewer ${Math.round(second.first_ms)} ms`);
  atMost(second.first_ms, 2000 * patience(), 'milliseconds to a first picture that is cached');
  check(second.keyframes >= 1, 'the first picture is a keyframe');
  check(!first.closed, 'the first viewer plays on');
}, { timeout_ms: 150000 });

test('published by WHIP at one node: picture and sound by WHEP and HTTP-FLV at the others', async (t) => {
  const [a, b, c] = (await Cluster.start(t, { nodes: 3 })).nodes;
  const name = freshName('across');
  await publishWhip(await openPage(t, a), a, name, { width: 320, height: 180 });
  await whepPlays(t, b, name);
  await flvPlays(t, c, name);
}, { timeout_ms: 120000 });

test('who waits at another node sees the stream when it begins, and hears when it ends', async (t) => {
  const [a, b] = (await Cluster.start(t, { args: ['--stream-publisher-grace-ms', '2s'] })).nodes;
  const name = freshName('across');
  const waiting = offerWhep(await openPage(t, b), `${b.url}/whep/${name}?wait=1`);
  await until('it waits', async () => (await b.repl('actors session')).length === 1);
  const publisher = await publishRtmp(t, a, name);
  const peer = await waiting;
  equal(peer.status, 201, 'status');
  await peer.moreVideo(20, FIRST_MS);
  const viewer = await flvPlays(t, b, name);
  await publisher.stop();
  await until('the FLV viewer hears of the end', () => viewer.closed, 20000);
  await until('the stream is gone at both', async () => !(await a.streams()).length && !(await b.streams()).length, 20000);
}, { timeout_ms: 120000 });
