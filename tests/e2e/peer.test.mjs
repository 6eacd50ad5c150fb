// SPDX-License-Identifier: Apache-2.0
// A WebRTC implementation that is neither ours nor Chromium's (werift) publishes and views.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { atLeast, check, directory, equal, test, until } from './harness.mjs';
import { openPage, playWhep } from './browser.mjs';
import { decode, moreVideo, publishRtmp, watchFlv } from './media.mjs';
import { freshName, sharedNode } from './node.mjs';
import { WeriftPublisher, WeriftViewer } from './werift.mjs';

const LOSE_ONE_IN = 25;
const FILLED_WITHIN = 40; // packets

test('werift publishes H.264 and Opus: Chromium sees and hears it, FLV too', async (t) => {
  const node = await sharedNode();
  const name = freshName('werift');
  const publisher = await WeriftPublisher.start(t, `${node.url}/whip/${name}`);
  const peer = await playWhep(await openPage(t, node), node, name, { query: '?wait=1' });
  const now = await peer.moreVideo(40);
  await peer.moreSound();
  equal([now.video.mimeType, now.video.frameWidth, now.video.frameHeight], ['video/H264', 320, 240], 'picture');
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await moreVideo(viewer, 20);
  equal((await publisher.restart()).status, 200, 'ICE restart');
  await peer.moreVideo(30);
  equal(await publisher.delete(), 200, 'DELETE');
  t.note(`first picture ${Math.round(now.first_ms)} ms`);
});

test('werift publishes VP8 with packets lost: they are asked for again', async (t) => {
  const node = await sharedNode();
  const name = freshName('werift');
  const publisher = await WeriftPublisher.start(t, `${node.url}/whip/${name}`, { codec: 'VP8' });
  publisher.lose(LOSE_ONE_IN, 'out');
  const viewer = await WeriftViewer.start(t, `${node.url}/whep/${name}?wait=1`, { codec: 'VP8' });
  const peer = await playWhep(await openPage(t, node), node, name);
  equal((await peer.moreVideo(60)).video.mimeType, 'video/VP8', 'codec');
  await viewer.more(60);
  check(viewer.video.timestampsGrow() && viewer.audio.timestampsGrow(), 'timestamps grow');
  await until('nothing of the picture is missing', () => viewer.video.holes(FILLED_WITHIN) === 0);
  const { nackCount, retransmittedPacketsSent } = await publisher.statistics();
  atLeast(publisher.lost, 4, 'packets lost');
  atLeast(nackCount, 1, 'NACKs');
  t.note(`${publisher.lost} lost, ${retransmittedPacketsSent} sent again`);
});

test('werift views RTMP: both tracks without holes, ffmpeg decodes; ICE restart, DELETE', async (t) => {
  const node = await sharedNode();
  const name = freshName('werift');
  await publishRtmp(t, node, name);
  const viewer = await WeriftViewer.start(t, `${node.url}/whep/${name}`);
  await viewer.more(60);
  const { etag } = viewer;
  const answer = await viewer.restart();
  equal(answer.status, 200, 'ICE restart');
  check(answer.headers.etag && answer.headers.etag !== etag, () => `ETag ${etag} then ${answer.headers.etag}`);
  await viewer.more(60);
  equal(viewer.video.holes(), 0, 'holes in the picture');
  equal(viewer.audio.holes(), 0, 'holes in the sound');
  check(viewer.video.timestampsGrow() && viewer.audio.timestampsGrow(), 'timestamps grow');
  const file = join(directory, 'werift.h264');
  writeFileSync(file, viewer.annexB());
  const { frames, width, height, errors } = await decode(file);
  equal([width, height, errors], [640, 360, ''], 'what ffmpeg decodes');
  atLeast(frames, 40, 'decoded frames');
  equal(await viewer.delete(), 200, 'DELETE');
  await until('the session is gone', async () => await viewer.delete() === 404);
});

test('werift views with packets lost: they come again by RTX', async (t) => {
  const node = await sharedNode();
  const name = freshName('werift');
  await publishRtmp(t, node, name);
  const viewer = await WeriftViewer.start(t, `${node.url}/whep/${name}`);
  viewer.lose(LOSE_ONE_IN, 'in');
  await until('packets were lost', () => viewer.lost >= 10);
  await until('nothing of the picture is missing', () => viewer.video.holes(FILLED_WITHIN) === 0);
  t.note(`${viewer.lost} of ${viewer.video.count + viewer.audio.count} lost`);
});

test('werift by ICE over TCP alone, both ways', async (t) => {
  const node = await sharedNode();
  const name = freshName('werift');
  await WeriftPublisher.start(t, `${node.url}/whip/${name}`, { tcp: true });
  const viewer = await WeriftViewer.start(t, `${node.url}/whep/${name}?wait=1`, { tcp: true });
  await viewer.more(60);
  equal([viewer.video.holes(), viewer.audio.holes()], [0, 0], 'holes');
  for (const { addr } of (await node.repl('actors session')).filter((row) => row.name.endsWith(name)))
    check((await node.repl(`inspect ${addr}`)).state.remote_tcp, 'the session goes by TCP');
});
