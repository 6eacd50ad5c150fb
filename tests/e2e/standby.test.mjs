// SPDX-License-Identifier: Apache-2.0
// Publishers that change under their viewers: one who comes back, and one that stood by (decision 15).

import { readFileSync } from 'node:fs';
import { atLeast, atMost, check, equal, patience, test, until } from './harness.mjs';
import { openPage, playWhep, publishWhip } from './browser.mjs';
import { moreVideo, publishRtmp, pushRtmp, watchFlv } from './media.mjs';
import { freshName, sharedNode, startNode } from './node.mjs';

const publishOffer = readFileSync(new URL('../data/sdp/chrome156-sendonly.sdp', import.meta.url), 'utf8');
const SILENT_MS = 500;
const CONNECTED = ['connecting', 'connected']; // states of a connection that was never disturbed

const streamOf = async (node, name) => (await node.streams()).find((stream) => stream.name === name);
const publishers = async (node, name) =>
  (await node.json('/api/v1/sessions')).sessions.filter((row) => row.stream === name && !row.play);

async function showsSize(peer, width, height) {
  return until(`a picture of ${width}x${height}`, async () => {
    const now = await peer.look();
    return now.video?.frameWidth === width && now.video.frameHeight === height && now;
  }, 15000);
}

test('standby: an encoder that hangs gives way to the other one; it comes back and stands by', async (t) => {
  const node = await startNode(t, { args: ['--stream-standby', 'live/hot*'] });
  const name = freshName('hot');
  const first = await publishRtmp(t, node, name, { size: '640x360' });
  const peer = await playWhep(await openPage(t, node), node, name);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  const second = pushRtmp(t, node.rtmp, name, { size: '320x180' });
  await until('one stands by', async () => (await streamOf(node, name))?.standbys === 1);
  equal((await publishers(node, name)).map((row) => row.standby).sort(), [false, true], 'roles');
  check((await node.repl(`paths ${name}`)).some((line) => JSON.stringify(line).includes('"standby"')), 'paths show it');
  await showsSize(peer, 640, 360);
  await moreVideo(viewer, 10);

  first.process.kill('SIGSTOP');
  t.defer(() => first.process.kill('SIGCONT'));
  await showsSize(peer, 320, 180);
  await moreVideo(viewer, 30);
  const switched = await streamOf(node, name);
  equal([switched.switches, switched.standbys, switched.state], [1, 1, 'live'], 'switches, standbys, state');
  t.note(`after ${switched.switched_after_ms} ms`);
  atLeast(switched.switched_after_ms, SILENT_MS, 'milliseconds of silence');
  // a keyframe a second, which RTMP cannot be asked for
  atMost(switched.switched_after_ms, (SILENT_MS + 1500) * patience(), 'milliseconds of silence');

  first.process.kill('SIGCONT');
  await peer.moreVideo(60);
  const now = await streamOf(node, name);
  equal([now.switches, now.standbys], [1, 1], 'switches and standbys when it is back');
  await second.stop();
  await showsSize(peer, 640, 360);
  await moreVideo(viewer, 30);
  equal((await peer.look()).states, CONNECTED, 'states of the connection');
  equal([viewer.closed, viewer.backwards], [false, 0], 'FLV: closed, timestamps going back');
  await until('the switch is told', () => /stream_switched/.test(node.log));
}, { timeout_ms: 90000 });

test('standby: a browser for an encoder; its keyframe is asked for', async (t) => {
  const node = await sharedNode();
  const name = freshName('mixed');
  const first = await publishRtmp(t, node, name, { size: '640x360' });
  equal((await node.post(`/whip/${name}`, publishOffer)).status, 409, 'status of one that may not stand by');
  equal((await node.post(`/whip/${name}?standby=0`, publishOffer)).status, 409, 'status with standby=0');
  const page = await openPage(t, node);
  await publishWhip(page, node, name, { width: 320, height: 180, query: '?standby=1' });
  const peer = await playWhep(await openPage(t, node), node, name);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await showsSize(peer, 640, 360);
  await moreVideo(viewer, 10);
  first.process.kill('SIGSTOP');
  t.defer(() => first.process.kill('SIGCONT'));
  await until('it has been switched', async () => (await streamOf(node, name)).switches === 1);
  const { switched_after_ms: after_ms, protocol } = await streamOf(node, name);
  t.note(`after ${after_ms} ms`);
  equal(protocol, 'whip', 'protocol of who is shown');
  atMost(after_ms, (SILENT_MS + 500) * patience(), 'milliseconds of silence');
  const before = (await peer.look()).video.framesDecoded;
  await until('its pictures', async () => (await peer.look()).video.framesDecoded > before + 20);
  equal((await peer.look()).states, CONNECTED, 'states of the connection');
  await moreVideo(viewer, 20);
  await peer.moreSound();
}, { timeout_ms: 60000 });

test('a publisher moves with its resume token, again and again: viewers stay', async (t) => {
  const node = await sharedNode();
  const name = freshName('moves');
  const sizes = [[640, 360], [320, 180], [480, 270], [320, 240]];
  const peer = async (size, token) => {
    const headers = token ? { 'Millrace-Resume': token } : {};
    const page = await openPage(t, node); // one after the other: the workers take turns
    return publishWhip(page, node, name, { width: size[0], height: size[1], headers });
  };
  let publisher = await peer(sizes[0]);
  const near = await playWhep(await openPage(t, node), node, name);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await near.moreVideo(20);
  await moreVideo(viewer, 10);
  const workers = new Set();
  for (const size of sizes.slice(1)) {
    publisher = await peer(size, publisher.resume);
    await until('the next picture', async () => {
      const { video } = await near.look();
      return Math.abs(video.frameWidth / video.frameHeight - size[0] / size[1]) < 0.05 && video;
    }, 15000);
    await near.moreVideo(20);
    await moreVideo(viewer, 10);
    workers.add((await publishers(node, name))[0].worker);
  }
  t.note(`${workers.size} workers`);
  equal((await near.look()).states, CONNECTED, 'states of the connection');
  equal([viewer.closed, viewer.backwards], [false, 0], 'FLV: closed, timestamps going back');
}, { timeout_ms: 90000 });

test('a publisher comes back with another codec: who cannot show it keeps picture and session', async (t) => {
  const node = await startNode(t, { args: ['--webrtc-codec-order', 'VP8,H264'] });
  const name = freshName('codecs');
  const first = await publishRtmp(t, node, name, { size: '320x180' });
  const peer = await playWhep(await openPage(t, node), node, name);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await peer.moreVideo(20);
  await moreVideo(viewer, 10);
  const page = await openPage(t, node);
  await first.stop();
  const other = await publishWhip(page, node, name);
  const sounds = viewer.audio;
  await peer.moreSound();
  await until('FLV has sound', () => viewer.audio > sounds + 20);
  const held = await peer.look();
  equal([held.video.frameWidth, held.states], [320, CONNECTED], 'picture and states while VP8 is sent');
  const late = watchFlv(t, `${node.url}/${name}.flv`);
  await until('who comes now is told', () => late.status >= 400 && late.status < 500);
  const vp8 = await playWhep(await openPage(t, node), node, name);
  equal((await vp8.moreVideo(20)).video.mimeType, 'video/VP8', 'codec of who comes now by WHEP');
  await other.stop();
  await publishRtmp(t, node, name, { size: '640x360' });
  await showsSize(peer, 640, 360);
  await moreVideo(viewer, 20);
  equal((await peer.look()).states, CONNECTED, 'states of the connection');
  equal([viewer.closed, viewer.backwards], [false, 0], 'FLV: closed, timestamps going back');
}, { timeout_ms: 90000 });
