// SPDX-License-Identifier: Apache-2.0
// api.port: what tools written for SRS ask for, in its shape, and nothing else.

import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { atLeast, atMost, check, directory, equal, share, test, until } from './harness.mjs';
import { raw, request } from './http.mjs';
import { publishRtmp, watchFlv } from './media.mjs';
import { freshName, millrace, Node, nodeArguments, startNode } from './node.mjs';

const toolNode = share(() => Node.start({ args: ['--api-port', '0'] }), (node) => node.stop());

const ask = (node, path, options) => request(`http://${node.ready.api}${path}`, options);

/** An answer with the members that all of them have. */
async function answered(node, path, options) {
  const { status, headers, text } = await ask(node, path, options);
  equal([status, headers['content-type']], [200, 'application/json'], path);
  const document = JSON.parse(text);
  equal(document.code, 0, `${path}: code`);
  for (const member of ['server', 'service', 'pid']) check(typeof document[member] === 'string' && document[member], member);
  return document;
}

test('SRS API: versions and summaries', async () => {
  const node = await toolNode();
  check(/^127\.0\.0\.1:\d+$/.test(node.ready.api), 'the ready line names the port');
  for (const method of ['GET', 'POST']) {
    const { data, pid } = await answered(node, '/api/v1/versions', { method });
    equal(`${data.major}.${data.minor}.${data.revision}`, data.version, 'version');
    equal(pid, `${node.pid}`, 'pid');
  }
  const { data } = await answered(node, '/api/v1/summaries');
  equal([data.ok, data.self.pid], [true, node.pid], 'ok, pid');
  check(data.now_ms > 1.6e12 && data.system.cpus_online >= 1, () => JSON.stringify(data));
});

test('SRS API: a stream, its publisher and its viewer', async (t) => {
  const node = await toolNode();
  const name = freshName('tool');
  await publishRtmp(t, node, name);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await until('pictures', () => viewer.video > 10);
  const find = async () => (await answered(node, '/api/v1/streams/?count=1000')).streams.find(({ id }) => id === name);
  await until('two clients and a rate', async () => {
    const stream = await find();
    return stream?.clients === 2 && stream.kbps.recv_30s > 0;
  });
  const stream = await find();
  equal([stream.app, `${stream.app}/${stream.name}`, stream.url], ['live', name, `/${name}`], 'names');
  equal([stream.video.codec, stream.video.width, stream.video.height], ['H264', 640, 360], 'picture');
  equal([stream.audio.codec, stream.audio.channel, stream.publish.active], ['AAC', 2, true], 'sound, publisher');
  atLeast(stream.audio.sample_rate, 44100, 'sample rate');
  check(stream.live_ms > 0 && stream.vhost, () => JSON.stringify(stream));
  const { clients } = await answered(node, '/api/v1/clients/?start=0&count=1000');
  const ours = clients.filter((client) => client.stream === name);
  equal(ours.map(({ type, publish }) => [type, publish]).sort(), [['flv-play', false], ['fmle-publish', true]], 'clients');
  equal(ours.find(({ publish }) => publish).id, stream.publish.cid, 'the publisher is the one named');
  for (const client of ours) {
    equal([client.ip, client.url], ['127.0.0.1', `/${name}`], 'ip, url');
    atLeast(client.alive, 0.001, 'alive');
  }
});

test('SRS API: pictures and bytes of a stream and of its clients', async (t) => {
  const node = await toolNode();
  const name = freshName('count');
  await publishRtmp(t, node, name);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  const streamNow = async () => (await answered(node, '/api/v1/streams/?count=1000')).streams.find(({ id }) => id === name);
  const clientsNow = async () => (await answered(node, '/api/v1/clients/?count=1000')).clients.filter(({ stream }) => stream === name);
  await until('two seconds of pictures', () => viewer.video > 60);
  const [publisher, player] = (await clientsNow()).sort((a, b) => b.publish - a.publish);
  atLeast(publisher.recv_bytes, 50000, 'bytes of the publisher');
  atLeast(player.send_bytes, 30000, 'bytes of the player');
  equal([publisher.send_bytes, player.recv_bytes], [0, 0], 'the other way');
  const before = { seen: viewer.video, ...await streamNow() };
  atLeast(before.frames, before.seen, 'pictures');
  // RTMP's framing and FLV's cost little; clients are summed up each second
  atLeast(before.recv_bytes, publisher.recv_bytes * 0.9, 'bytes in');
  viewer.close();
  await until('the player is gone', async () => (await clientsNow()).length === 1);
  await until('what it was sent is summed up', async () => (await streamNow()).send_bytes >= viewer.bytes);
  const after = await streamNow();
  atMost(after.send_bytes, after.recv_bytes * 1.1, 'bytes out to one player');
  atLeast(after.frames, before.frames + 1, 'pictures go on');
  // on both workers; the copy ends when nobody is left, and what it has sent stays counted
  const { out } = await millrace(['load', 'whep', `${node.url}/whep/${name}`, '--count', '4', '--duration', '3', '--json'], { timeout_ms: 30000 });
  const taken = JSON.parse(out).bytes;
  atLeast(taken, 100000, 'bytes of four viewers');
  await until('no viewer and no copy is left', async () => (await clientsNow()).length === 1
    && !(await node.streams()).find((stream) => stream.name === name).copies.length, 20000);
  // (the rest of a viewer's last second is not summed up any more)
  atLeast((await streamNow()).send_bytes, after.send_bytes + taken / 2, 'bytes out to them');
});

test('SRS API: a part of a list', async (t) => {
  const node = await startNode(t, { workers: 1, args: ['--api-port', '0'] });
  const names = [freshName('part'), freshName('part'), freshName('part')];
  for (const name of names) await publishRtmp(t, node, name, { size: '160x90', rate: 10, audio: false });
  const page = async (query) => (await answered(node, `/api/v1/streams${query}`)).streams.map(({ id }) => id);
  const all = await page('');
  equal([...all].sort(), [...names].sort(), 'all');
  equal(await page('?count=2'), all.slice(0, 2), 'the first two');
  equal(await page('/?start=2&count=2'), all.slice(2), 'from the third');
  equal(await page('?start=3'), [], 'beyond the end');
  equal(await page('?count=0'), [], 'none');
  equal(await page('?start=999999999&count=999999999'), [], 'far beyond it');
});

/* method, path, headers, body, status */
const wrong = [
  ['GET', '/', {}, '', 404],
  ['GET', '/healthz', {}, '', 404],
  ['GET', '/metrics', {}, '', 404],
  ['GET', '/api/v1', {}, '', 404],
  ['GET', '/api/v1/workers', {}, '', 404],
  ['GET', '/api/v1/streams/1', {}, '', 404],
  ['GET', '/live/a.flv', {}, '', 404],
  ['POST', '/whip/live/a', { 'Content-Type': 'application/sdp' }, 'v=0', 404],
  ['GET', '/rtc/v1/play/', {}, '', 405],
  ['DELETE', `/whip/live/a/${'0'.repeat(16)}`, {}, '', 404],
  ['POST', '/api/v1/streams/', {}, '', 405],
  ['DELETE', '/api/v1/clients/', {}, '', 405],
  ['OPTIONS', '/api/v1/versions', {}, '', 405],
  ['POST', '/api/v1/versions', {}, 'x'.repeat(5000), 413],
  ['POST', '/api/v1/versions', { Origin: 'http://elsewhere.example' }, '', 403],
  ['GET', '/api/v1/versions', { 'X-Forwarded-For': '203.0.113.7' }, '', 403],
  ['GET', '/api/v1/streams/', { Host: 'elsewhere.example' }, '', 403],
  ['GET', '/api/v1/streams/?start=-1', {}, '', 400],
  ['GET', '/api/v1/streams/?count=ten', {}, '', 400],
  ['GET', '/api/v1/streams/?count=', {}, '', 400],
  ['GET', '/api/v1/clients/?count=1&count=2', {}, '', 400],
  ['GET', '/api/v1/clients/?start=1234567890', {}, '', 400],
  ['GET', '/api/v1/clients/?start=%zz', {}, '', 400],
];

test('SRS API: wrong requests are answered in its shape', async () => {
  const node = await toolNode();
  for (const [method, path, headers, body, status] of wrong) {
    const answer = await ask(node, path, { method, headers, body });
    equal([answer.status, answer.headers['content-type']], [status, 'application/json'], `${method} ${path}`);
    const { code, pid, error } = JSON.parse(answer.text);
    equal([code, pid], [status, `${node.pid}`], `${method} ${path}: ${answer.text}`);
    check(error.code && error.message, answer.text);
  }
  const { bytes } = await raw(node.ready.api, 'nonsense\r\n\r\n');
  check(/^HTTP\/1\.1 400 [^]*"code":400/.test(bytes), () => bytes.toString());
  equal((await ask(node, '/api/v1/versions', { method: 'HEAD' })).status, 200, 'HEAD');
  for (const path of ['/api/v1/versions', '/api/v1/summaries', '/api/v1/clients'])
    equal((await node.get(path)).status, 404, `${path} on the HTTP port`);
});

test('SRS API: the operators\' token; off unless asked for; a port that means two things', async (t) => {
  const node = await startNode(t, { workers: 1, args: ['--api-port', '0', '--admin-token', 'only-for-tests'] });
  equal((await ask(node, '/api/v1/streams/')).status, 401, 'without the token');
  await answered(node, '/api/v1/streams/', { headers: { Authorization: 'Bearer only-for-tests' } });
  const plain = await startNode(t, { workers: 1 });
  equal(plain.ready.api, undefined, 'not in the ready line');
  const port = plain.ready.http.split(':')[1];
  const base = mkdtempSync(join(directory, 'api-port-'));
  const taken = await millrace([...nodeArguments({ base }), '--api-port', port]);
  check(taken.status === 3 && /api\.port/.test(taken.err), () => `${taken.status}: ${taken.err}`);
  const twice = await millrace([...nodeArguments({ base }), '--http-port', '1985', '--api-port', '1985']);
  check(twice.status === 2 && /overlaps http\.port/.test(twice.err), () => `${twice.status}: ${twice.err}`);
});
