// SPDX-License-Identifier: Apache-2.0
// kill -9 of the workers, again and again, at moments that nobody chose, under connections over
// plain TCP: an encoder and players by RTMP, FLV over HTTP and over WebSocket. Each of them has one
// unbroken stream of bytes. E2E_KILLS=100 for more than the short run.

import { readFileSync } from 'node:fs';
import { atLeast, atMost, check, equal, test, until } from './harness.mjs';
import { moreVideo, playRtmp, publishRtmp, pushRtmp, watchFlv } from './media.mjs';
import { freshName, startNode } from './node.mjs';
import { killWorker, PATIENT, WORKERS } from './takeover.mjs';

const KILLS = Number(process.env.E2E_KILLS ?? 12);
const KILL_MS = 5000; // what one may take on a busy machine
const OF_EACH = 3; // players of a kind: the workers share them out
const STEP_MS = 150; // pictures are 33 ms apart: none is missing
const STILL = 40; // looks, 25 ms apart, at which nothing more had come: the encoder waits

const rowsOf = async (node) => [...await node.rows('actors rtmp_session'), ...await node.rows('actors http_connection where state = streaming')];
const addressesOf = async (node) => (await rowsOf(node)).map((row) => row.addr).sort();

/* (ffmpeg's output counts in 1/30 s: two pictures that are 32 ms apart may round to the same.) */
const complaints = (player) => player.errors.split('\n').filter((line) => line && !/non monotonically increasing dts/.test(line));

const moreFrames = (player, count) => {
  const before = player.frames;
  return until(`${count} more pictures by RTMP`, () => {
    check(player.status === null, () => `the player ended with ${player.status}: ${player.errors}`);
    return player.frames >= before + count;
  }, 20000);
};

test('kill -9 of the workers: an encoder by RTMP, players by RTMP, HTTP-FLV and WebSocket-FLV go on at the byte', async (t) => {
  const node = await startNode(t, { args: PATIENT });
  const name = freshName('bytes');
  const publisher = await publishRtmp(t, node, name);
  const viewers = [];
  const players = [];
  for (let i = 0; i < OF_EACH; i++) {
    viewers.push(watchFlv(t, `${node.url}/${name}.flv`), watchFlv(t, `${node.url}/${name}.flv`, {}, { socket: true }));
    if (i < WORKERS) players.push(playRtmp(t, `${node.rtmp}/${name}`));
  }
  const sockets = viewers.filter((viewer, i) => i % 2);
  for (const viewer of viewers) await moreVideo(viewer, 30, 20000);
  for (const player of players) await moreFrames(player, 10);
  const before = await addressesOf(node);
  equal(before.length, 1 + viewers.length + players.length, 'connections');
  for (let i = 0; i < KILLS; i++) {
    for (const viewer of sockets) viewer.ping();
    await moreVideo(viewers[i % viewers.length], 1 + Math.floor(Math.random() * 15));
    for (const viewer of sockets) viewer.ping();
    await killWorker(node, i % WORKERS);
    for (const viewer of viewers) await moreVideo(viewer, 3, 20000);
    check(publisher.status === null, () => `after ${i + 1} kills the encoder ended with ${publisher.status}: ${publisher.errors}`);
  }
  for (const player of players) await moreFrames(player, 30);
  t.note(`largest steps: ${viewers.map((viewer) => viewer.step_ms).join(' ')} ms; longest pauses: ${viewers.map((viewer) => viewer.takeGap()).join(' ')} ms`);
  for (const viewer of viewers) {
    equal([viewer.error, viewer.closed, viewer.backwards], [null, false, 0], 'viewer: error, closed, timestamps that go back');
    atMost(viewer.step_ms, STEP_MS, 'viewer: largest step of the timestamps, ms');
  }
  for (const viewer of sockets) atLeast(viewer.pongs, KILLS, 'answers to pings');
  for (const player of players) equal(complaints(player), [], 'what the decoder of a player complains about');
  equal([publisher.status, publisher.errors], [null, ''], 'the encoder');
  equal(await addressesOf(node), before, 'connections, by the addresses of their actors');
}, { timeout_ms: 60000 + KILLS * KILL_MS });

/* Bytes that the worker has not read of connections to this port; null: there is none. */
function unread(port) {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = readFileSync('/proc/net/tcp', 'latin1').split('\n').map((line) => line.trim().split(/\s+/))
    .filter(([, address, , state]) => address?.endsWith(local) && state === '01');
  return rows.length ? rows.reduce((sum, row) => sum + parseInt(row[4].split(':')[1], 16), 0) : null;
}

test('kill -9 of the worker that has asked for a name: its encoder is answered by the successor', async (t) => {
  const node = await startNode(t, { workers: 1, args: ['--worker-stuck-ms', '30000', ...PATIENT] });
  const control = await node.worker('control');
  const media = await node.worker('media', 0);
  const name = freshName('asked');
  const port = Number(node.ready.rtmp.split(':').at(-1));
  await until('there is a spare', async () => (await node.repl('workers')).some((row) => row.role === 'spare' && row.state === 'ready'));
  process.kill(control.pid, 'SIGSTOP'); // who owns a name is asked there
  t.defer(() => process.kill(control.pid, 'SIGCONT'));
  const encoder = pushRtmp(t, node.rtmp, name);
  let still = 0;
  await until('it has said what it wants, and waits', () => {
    still = unread(port) === 0 ? still + 1 : 0;
    return still === STILL;
  }, 20000);
  check(!node.log.includes('rtmp_publishing'), 'nobody has answered yet');
  process.kill(media.pid, 'SIGKILL');
  await until('the successor has its connection', () => node.log.includes('worker_taken_over'));
  process.kill(control.pid, 'SIGCONT');
  await until('it publishes', async () => {
    check(encoder.status === null, () => `the encoder ended with ${encoder.status}: ${encoder.errors}`);
    return (await node.streams()).some((stream) => stream.name === name && stream.state === 'live' && stream.tracks.length);
  }, 20000);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await moreVideo(viewer, 20);
  equal([encoder.status, encoder.errors], [null, ''], 'the encoder');
}, { timeout_ms: 90000 });
