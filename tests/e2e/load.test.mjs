// SPDX-License-Identifier: Apache-2.0
// millrace load: as publisher and viewer of a node, against a server that is not ours, and what it
// says when things go wrong.

import { createHmac } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { atLeast, check, directory, equal, patience, share, test, until } from './harness.mjs';
import { checkPicture, openPage, playWhep } from './browser.mjs';
import { freePort } from './http.mjs';
import { Ffmpeg, moreVideo, publishRtmp, watchFlv } from './media.mjs';
import { freshName, millrace, Node, sharedNode } from './node.mjs';
import { live, Load } from './load.mjs';
import { Reflector } from './reflector.mjs';

const LOAD_MS = 30000;

/** A duration in which so many seconds' worth is done, connecting too, where the machine is slow. */
const seconds = (count) => `${Math.ceil(count * patience())}`;

/** A load of a given duration, to its end. */
async function load(...args) {
  const { status, out, err } = await millrace(['load', ...args, '--json'], { timeout_ms: LOAD_MS });
  check(out, () => `exit status ${status}: ${err}`);
  return { status, err, ...JSON.parse(out) };
}

test('load whep: 20 viewers of an RTMP publisher, none lost', async (t) => {
  const node = await sharedNode();
  const name = freshName('load');
  await publishRtmp(t, node, name);
  const result = await load('whep', `${node.url}/whep/${name}`, '--count', '20', '--duration', seconds(4));
  equal(result.sessions, { wanted: 20, connected: 20, failed: 0, lost: 0 }, 'sessions');
  equal(result.status, 0, 'exit status');
  for (const figure of ['setup_ms', 'connected_ms', 'first_packet_ms', 'first_keyframe_ms', 'gap_ms'])
    equal(result[figure].count, 20, figure);
  check(result.setup_ms.p50 <= result.connected_ms.p50, () => JSON.stringify(result));
  check(result.setup_ms.p50 <= result.setup_ms.p95 && result.setup_ms.p95 <= result.setup_ms.max, 'percentiles rise');
  equal(result.missing, 0, 'packets lost');
  atLeast(result.keyframes, 20, 'keyframes');
  atLeast(result.rate_bps, 20 * 300e3 / patience(), 'rate');
  t.note(`keyframe after ${result.first_keyframe_ms.p50.toFixed(0)} ms (p50)`);
  await until('the node has no session left', async () => !(await node.json('/api/v1/sessions')).sessions
    .some((session) => session.stream === name && session.play), 5000);
});

test('load whip: Chromium sees the picture', async (t) => {
  const node = await sharedNode();
  const name = freshName('film');
  const publisher = new Load(t, ['whip', `${node.url}/whip/${name}`, '--rate', '800k']);
  await live(node, name);
  const peer = await playWhep(await openPage(t, node), node, name);
  await checkPicture(peer, 640, 384, 60);
  const result = await publisher.stop();
  equal(result.status, 0, 'exit status');
  equal(result.sessions.lost, 0, 'sessions lost');
  atLeast(result.packets, 100, 'packets');
  await until('the publisher is gone', async () => !(await node.streams()).some((stream) => stream.name === name && stream.state === 'live'), 5000);
});

test('load rtmp to load flv, two streams', async (t) => {
  const node = await sharedNode();
  const name = freshName('pair');
  const publisher = new Load(t, ['rtmp', `${node.rtmp}/${name}`, '--count', '2', '--rate', '500k']);
  await live(node, `${name}-1`);
  await live(node, `${name}-2`);
  const result = await load('flv', `${node.url}/${name}-{n}.flv`, '--count', '2', '--duration', seconds(3));
  equal(result.sessions, { wanted: 2, connected: 2, failed: 0, lost: 0 }, 'sessions');
  equal(result.status, 0, 'exit status');
  atLeast(result.keyframes, 2, 'keyframes');
  atLeast(result.packets, 2 * 60, 'tags');
  const viewer = watchFlv(t, `${node.url}/${name}-1.flv`);
  await moreVideo(viewer, 20);
  equal(viewer.backwards, 0, 'times that go back');
  equal((await publisher.stop()).status, 0, 'exit status of the publishers');
});

test('load rtmp --play: 10 players, none lost', async (t) => {
  const node = await sharedNode();
  const name = freshName('players');
  await publishRtmp(t, node, name);
  const result = await load('rtmp', `${node.rtmp}/${name}`, '--play', '--count', '10', '--duration', seconds(3));
  equal(result.sessions, { wanted: 10, connected: 10, failed: 0, lost: 0 }, 'sessions');
  equal(result.status, 0, 'exit status');
  for (const figure of ['setup_ms', 'connected_ms', 'first_packet_ms', 'first_keyframe_ms'])
    equal(result[figure].count, 10, figure);
  atLeast(result.keyframes, 10, 'keyframes');
  atLeast(result.packets, 10 * 60, 'messages');
  await until('the node has no player left', async () => !(await node.json('/api/v1/sessions')).sessions
    .some((session) => session.stream === name && session.play), 5000);
});

test('a server that is not ours (werift): load whip and load whep', async (t) => {
  const server = await Reflector.start();
  t.defer(() => server.stop());
  const publisher = new Load(t, ['whip', `${server.url}/whip/a`, '--rate', '400k']);
  await until('media arrives', () => server.packets > 50);
  const result = await load('whep', `${server.url}/whep/a`, '--count', '2', '--duration', seconds(4));
  equal(result.sessions, { wanted: 2, connected: 2, failed: 0, lost: 0 }, 'sessions');
  equal(result.status, 0, 'exit status');
  atLeast(result.keyframes, 2, 'keyframes');
  equal(server.deleted, 2, 'sessions deleted');
  equal((await publisher.stop()).status, 0, 'exit status of the publisher');
  equal(server.deleted, 3, 'sessions deleted');
});

/* (A connection that looked would be the one that ffmpeg takes.) */
const listens = (port) => readFileSync('/proc/net/tcp', 'utf8').split('\n')
  .some((line) => line.includes(`:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 0A`));

test('a server that is not ours (ffmpeg): load rtmp', async (t) => {
  const port = await freePort();
  const url = `rtmp://127.0.0.1:${port}/live/a`;
  const file = join(directory, 'from-load.flv');
  const server = new Ffmpeg(['-listen', '1', '-i', url, '-c', 'copy', '-y', file]);
  t.defer(() => server.stop());
  await until('ffmpeg listens', () => listens(port));
  const result = await load('rtmp', url, '--rate', '400k', '--duration', seconds(4));
  equal(result.sessions, { wanted: 1, connected: 1, failed: 0, lost: 0 }, 'sessions');
  equal(result.status, 0, 'exit status');
  await server.end;
  atLeast(statSync(file).size, 4 * 400e3 / 8 / 2, 'bytes that ffmpeg took for media');
});

test('a server that is not ours (ffmpeg): load flv', async (t) => {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/live/a.flv`;
  const server = new Ffmpeg(['-re', '-f', 'lavfi', '-i', 'testsrc2=size=320x180:rate=30', '-c:v', 'libx264',
    '-preset', 'ultrafast', '-g', '30', '-f', 'flv', '-listen', '1', url]);
  t.defer(() => server.stop());
  await until('ffmpeg listens', () => listens(port));
  const result = await load('flv', url, '--duration', seconds(4));
  equal(result.sessions, { wanted: 1, connected: 1, failed: 0, lost: 0 }, 'sessions');
  equal(result.status, 0, 'exit status');
  atLeast(result.keyframes, 2, 'keyframes');
});

test('viewers whose connection breaks come back, and are counted as lost', async (t) => {
  const node = await sharedNode();
  const name = freshName('back');
  await publishRtmp(t, node, name);
  const sockets = new Set();
  let accepted = 0;
  const proxy = net.createServer((socket) => {
    const far = net.connect(Number(new URL(node.url).port), '127.0.0.1');
    accepted++;
    for (const end of [socket, far]) {
      end.on('error', () => {});
      end.on('close', () => { socket.destroy(); far.destroy(); sockets.delete(socket); });
    }
    sockets.add(socket);
    socket.pipe(far).pipe(socket);
  }).listen(0, '127.0.0.1');
  t.defer(() => { for (const socket of sockets) socket.destroy(); proxy.close(); });
  await until('listening', () => proxy.listening);
  const viewers = new Load(t, ['flv', `http://127.0.0.1:${proxy.address().port}/${name}.flv`, '--count', '3']);
  const watching = () => node.json('/api/v1/sessions').then(({ sessions }) => sessions.filter((session) => session.stream === name).length);
  await until('they watch', async () => await watching() >= 4);
  for (const socket of sockets) socket.destroy();
  await until('they watch again', async () => accepted >= 6 && await watching() >= 4, 15000);
  const result = await viewers.stop();
  equal(result.status, 1, 'exit status');
  equal(result.sessions, { wanted: 3, connected: 3, failed: 0, lost: 3 }, 'sessions');
  atLeast(result.reconnects.p50, 1, 'reconnects');
});

const refusals = [
  ['WHEP of a stream that nobody publishes: 409', 'whep', (node) => `${node.url}/whep/live/nobody`, 1, /HTTP 409/],
  ['WHEP of a name that is none: 400', 'whep', (node) => `${node.url}/whep/live/.x`, 1, /HTTP 400/],
  ['a path that is not there: 404', 'whip', (node) => `${node.url}/nothing`, 1, /HTTP 40[45]/],
  ['HTTP-FLV that is not there: 404', 'flv', (node) => `${node.url}/live/nobody.flv`, 1, /HTTP 404/],
  ['RTMP of a name that is none', 'rtmp', (node) => `${node.rtmp}/.x/a`, 1, /NetConnection.Connect.Rejected/],
];

for (const [what, kind, url, status, text] of refusals) {
  test(`load: ${what}, exit status ${status}`, async () => {
    const result = await load(kind, url(await sharedNode()), '--duration', seconds(5));
    equal(result.status, status, 'exit status');
    equal(result.sessions.failed, 1, 'sessions failed');
    check(text.test(result.errors[0]?.text), () => JSON.stringify(result.errors));
  });
}

test('load: a busy name, exit status 1 and 409', async (t) => {
  const node = await sharedNode();
  const name = freshName('busy');
  await publishRtmp(t, node, name);
  const result = await load('whip', `${node.url}/whip/${name}`, '--duration', seconds(5));
  equal(result.status, 1, 'exit status');
  check(/HTTP 409/.test(result.errors[0]?.text), () => JSON.stringify(result.errors));
});

/** Answers every request with this status and body. */
async function oneAnswer(t, status, body) {
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(`HTTP/1.1 ${status} X\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`));
  }).listen(0, '127.0.0.1');
  t.defer(() => server.close());
  await until('listening', () => server.listening);
  return `http://127.0.0.1:${server.address().port}/whep/x`;
}

for (const [what, status, body, text] of [
  ['422 with a problem document', 422, '{"title":"t","detail":"no such codec"}', /HTTP 422: no such codec/],
  ['an answer that is no SDP', 201, 'hello', /line 1|m=|SDP/i],
  ['an answer without a fingerprint', 201, 'v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendonly\r\na=mid:0\r\na=rtpmap:96 H264/90000\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n', /fingerprint/],
]) {
  test(`load whep: ${what}`, async (t) => {
    const result = await load('whep', await oneAnswer(t, status, body), '--duration', seconds(5));
    equal(result.status, 1, 'exit status');
    check(text.test(result.errors[0]?.text), () => JSON.stringify(result.errors));
  });
}

for (const kind of ['whip', 'whep', 'flv', 'rtmp']) {
  test(`load ${kind} to a dead port: exit status 3`, async () => {
    const result = await load(kind, `${kind === 'rtmp' ? 'rtmp' : 'http'}://127.0.0.1:1/live/x`, '--duration', seconds(5));
    equal(result.status, 3, 'exit status');
    check(/connect/i.test(result.errors[0]?.text), () => JSON.stringify(result.errors));
  });
}

const key = 'a key of at least thirty-two bytes!!';
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
function token(claims) {
  const exp = Math.floor(Date.now() / 1000) + 600;
  const body = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ app: 'live', stream: '*', exp, ...claims })}`;
  return `${body}.${createHmac('sha256', key).update(body).digest('base64url')}`;
}
const lockedNode = share(() => Node.start({ workers: 1, env: { MILLRACE_TOKEN_KEY: key } }), (node) => node.stop());

test('load with and without a token: 401, 403, and all four protocols with one', async (t) => {
  const node = await lockedNode();
  const name = freshName('token');
  const publish = token({ act: ['publish'] }), play = token({ act: ['play'] });
  for (const [args, text] of [[[], /HTTP 401/], [['--token', play], /HTTP 403/]]) {
    const refused = await load('whip', `${node.url}/whip/${name}`, '--duration', seconds(5), ...args);
    equal(refused.status, 1, 'exit status');
    check(text.test(refused.errors[0]?.text), () => JSON.stringify(refused.errors));
    check(!refused.err.includes(play) && !JSON.stringify(refused).includes(play), 'the token is not shown');
  }
  const publisher = new Load(t, ['rtmp', `${node.rtmp}/${name}`, '--token', publish]);
  for (const [kind, path] of [['whep', `/whep/${name}`], ['flv', `/${name}.flv`]]) {
    const result = await until(`${kind} is connected`, async () => {
      const now = await load(kind, node.url + path, '--duration', seconds(1), '--token', play);
      return now.sessions.connected && now;
    }, 15000);
    equal(result.status, 0, `exit status of ${kind}`);
  }
  equal((await publisher.stop()).status, 0, 'exit status of rtmp');
});

for (const [what, args, text] of [
  ['nothing', [], /expected whip, whep, rtmp or flv/],
  ['a kind that is none', ['fly', 'http://h/x'], /got "fly"/],
  ['no URL', ['whep'], /expected an URL/],
  ['the wrong kind of URL', ['rtmp', 'http://h/a/b'], /rtmp:\/\/ or rtmps:/],
  ['two URLs', ['flv', 'http://h/a', 'http://h/b'], /unexpected/],
  ['an unknown flag', ['flv', 'http://h/a', '--fly'], /--fly/],
  ['a count of nothing', ['flv', 'http://h/a', '--count', '0'], /--count/],
  ['a flag without its value', ['flv', 'http://h/a', '--ramp'], /--ramp needs a value/],
  ['a ramp of nothing', ['flv', 'http://h/a', '--ramp', '0'], /--ramp/],
  ['a time that is none', ['flv', 'http://h/a', '--duration', 'soon'], /--duration/],
  ['too many', ['flv', 'http://h/a', '--count', '10001'], /--count/],
  ['a player that is none', ['whep', 'http://h/a', '--play'], /--play goes with rtmp/],
  ['half a URL', ['rtmp', 'rtmp://h/app'], /rtmps:\/\/HOST\/APP\/STREAM/],
  ['a switch with a value', ['flv', 'http://h/a', '--json=1'], /--json/],
  ['a rate that is none', ['whip', 'http://h/a', '--rate', 'fast'], /--rate/],
]) {
  test(`load with ${what}: exit status 2`, async () => {
    const { status, out, err } = await millrace(['load', ...args]);
    equal(status, 2, 'exit status');
    equal(out, '', 'standard output');
    check(text.test(err), err);
  });
}

test('load --help', async () => {
  for (const args of [['load', '--help'], ['help', 'load'], ['load', 'whep', '--help']]) {
    const { status, out } = await millrace(args);
    equal(status, 0, 'exit status');
    check(/usage: millrace load whip\|whep\|rtmp\|flv URL/.test(out) && /--ramp/.test(out), out);
  }
});
