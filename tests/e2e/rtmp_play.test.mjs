// SPDX-License-Identifier: Apache-2.0
// ffmpeg and ffprobe play by RTMP what ffmpeg and Chromium publish.

import { createHmac } from 'node:crypto';
import { atLeast, atMost, check, equal, patience, test, until } from './harness.mjs';
import { openPage, publishWhip } from './browser.mjs';
import { moreVideo, playRtmp, probe, publishRtmp, pushRtmp, watchFlv } from './media.mjs';
import { freshName, sharedNode, startNode } from './node.mjs';

const moreFrames = (player, count, deadline_ms = 15000) => {
  const before = player.frames;
  return until(`${count} more pictures by RTMP`, () => {
    check(player.status === null, () => `the player ended with ${player.status}: ${player.errors}`);
    return player.frames >= before + count;
  }, deadline_ms);
};

const ends = (player, what) => until(what, () => player.status !== null);

test('RTMP to RTMP: both tracks decode, timestamps go up, it starts at once from the GOP cache', async (t) => {
  const node = await sharedNode();
  const name = freshName('play');
  await publishRtmp(t, node, name, { gop: 120 });
  await moreVideo(watchFlv(t, `${node.url}/${name}.flv`), 20);
  const { streams, packets } = await probe(`${node.rtmp}/${name}`, 3);
  equal(streams.map((stream) => stream.codec_name).sort(), ['aac', 'h264'], 'codecs');
  const video = streams.find((stream) => stream.codec_type === 'video');
  equal([video.width, video.height], [640, 360], 'size');
  for (const kind of ['video', 'audio']) {
    const times = packets.filter((packet) => packet.codec_type === kind).map((packet) => Number(packet.dts_time));
    atLeast(times.length, 60, `${kind} packets in 3 s`);
    check(times.every((time, i) => !i || time > times[i - 1]), () => `${kind} timestamps: ${times.join(' ')}`);
    atMost(Math.max(...times.slice(1).map((time, i) => time - times[i])), 0.2 * patience(), `largest step of ${kind}, s`);
  }
  check(packets.find((packet) => packet.codec_type === 'video').flags.startsWith('K'), 'begins with a keyframe');
  const player = playRtmp(t, `${node.rtmp}/${name}`);
  await moreFrames(player, 30);
  const [row] = (await node.json('/api/v1/sessions')).sessions.filter((session) => session.stream === name && session.play && session.protocol === 'rtmp');
  check(row, 'the session is listed as a player');
  equal(player.errors, '', 'what the decoder complains about');
});

test('WHIP to RTMP: H.264, and AAC made of Opus', async (t) => {
  const node = await sharedNode();
  const name = freshName('whip-play');
  await publishWhip(await openPage(t, node), node, name);
  const player = playRtmp(t, `${node.rtmp}/${name}?wait=1`);
  await moreFrames(player, 20);
  const { streams, packets } = await probe(`${node.rtmp}/${name}`, 3);
  equal(streams.map((stream) => stream.codec_name).sort(), ['aac', 'h264'], 'codecs');
  const times = packets.filter((packet) => packet.codec_type === 'audio').map((packet) => Number(packet.dts_time));
  atLeast(times.length, 40, 'audio packets in 3 s');
  check(times.every((time, i) => !i || time > times[i - 1]), () => `audio timestamps: ${times.join(' ')}`);
  atMost(times.filter((time) => time < 0.001).length, 1, 'audio packets at time 0');
});

test('RTMP play without a publisher says so; with ?wait=1 it waits', async (t) => {
  const node = await sharedNode();
  const name = freshName('absent');
  const refused = playRtmp(t, `${node.rtmp}/${name}`);
  await ends(refused, 'refused');
  check(refused.status !== 0 && refused.errors.includes('Nobody publishes'), () => refused.errors);
  const waiting = playRtmp(t, `${node.rtmp}/${name}?wait=1`);
  await publishRtmp(t, node, name);
  await moreFrames(waiting, 30);
});

test('RTMP publisher stops and returns: an RTMP player stays and goes on', async (t) => {
  const node = await sharedNode();
  const name = freshName('play-return');
  const first = await publishRtmp(t, node, name);
  const player = playRtmp(t, `${node.rtmp}/${name}`);
  await moreFrames(player, 20);
  await first.stop();
  pushRtmp(t, node.rtmp, name, { source: 'flash' });
  await moreFrames(player, 60);
});

test('an RTMP player that stops reading holds up nobody, and goes on when it reads again', async (t) => {
  const node = await sharedNode();
  const name = freshName('play-slow');
  await publishRtmp(t, node, name);
  const [stopped, fine] = [0, 1].map(() => playRtmp(t, `${node.rtmp}/${name}`));
  await moreFrames(stopped, 20);
  stopped.process.kill('SIGSTOP');
  await moreFrames(fine, 90);
  stopped.process.kill('SIGCONT');
  await moreFrames(stopped, 60);
  equal(stopped.errors, '', 'what its decoder complains about');
});

test('kill -9 of the worker: an RTMP player hears the end, and the next one plays', async (t) => {
  const node = await startNode(t, { workers: 1 });
  const name = freshName('play-kill');
  await publishRtmp(t, node, name);
  const player = playRtmp(t, `${node.rtmp}/${name}`);
  await moreFrames(player, 20);
  const old = await node.worker('media', 0);
  process.kill(old.pid, 'SIGKILL');
  await until('the worker is back', async () => {
    const now = await node.worker('media', 0);
    return now.pid !== old.pid && now.state === 'ready';
  });
  await until('player and publisher are alive or told', async () => {
    if (player.status === null) return moreFrames(player, 10, 1000);
    return true;
  });
  const again = freshName('play-again');
  await publishRtmp(t, node, again);
  await moreFrames(playRtmp(t, `${node.rtmp}/${again}`), 20);
});

test('RTMP play needs a token that allows it', async (t) => {
  const key = 'k'.repeat(32);
  const node = await startNode(t, { env: { MILLRACE_TOKEN_KEY: key } });
  const name = freshName('play-token');
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const token = (...act) => {
    const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ app: 'live', stream: '*', act, exp: Math.floor(Date.now() / 1000) + 600 })}`;
    return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
  };
  pushRtmp(t, node.rtmp, `${name}?token=${token('publish')}`);
  await moreVideo(watchFlv(t, `${node.url}/${name}.flv?wait=1&token=${token('play')}`), 10);
  for (const query of ['', `?token=${token('publish')}`, '?token=rubbish']) {
    const refused = playRtmp(t, `${node.rtmp}/${name}${query}`);
    await ends(refused, `refused with "${query}"`);
    check(refused.status !== 0, 'exit status of ffmpeg');
  }
  await moreFrames(playRtmp(t, `${node.rtmp}/${name}?token=${token('play')}`), 10);
  check(!node.log.includes(token('play').slice(40, 80)), 'no token in the log');
});
