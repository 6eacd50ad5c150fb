// SPDX-License-Identifier: Apache-2.0
// What every end-point says to wrong input, and that the node is none the worse for it.

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { promisify } from 'node:util';
import { check, equal, RUN_ID, test, until } from './harness.mjs';
import { raw, request } from './http.mjs';
import { publishRtmp } from './media.mjs';
import { freshName, sharedNode, startNode } from './node.mjs';

const sdp = (name) => readFileSync(new URL(`../data/sdp/${name}.sdp`, import.meta.url), 'utf8');
const publishOffer = sdp('chrome156-sendonly');
const playOffer = sdp('chrome156-recvonly');
const asSdp = { 'Content-Type': 'application/sdp' };
const noSession = 'A'.repeat(22);

const upgrade = { Connection: 'Upgrade', Upgrade: 'websocket' };
const wsKey = { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' };

/* method, path, headers, body, status; then a header or text the answer must have */
const rows = [
  ['GET', '/healthz', {}, '', 200],
  ['HEAD', '/healthz', {}, '', 200],
  ['GET', '/readyz', {}, '', 200],
  ['POST', '/healthz', {}, '', 405, { allow: /GET/ }],
  ['GET', '/', {}, '', 200, { 'content-type': /text\/html/ }],
  ['GET', '/nothing-here', {}, '', 404],
  ['GET', '/../etc/passwd', {}, '', [400, 404]],
  ['GET', '/%2e%2e/etc/passwd', {}, '', [400, 404]],
  ['GET', '/live/%00.flv', {}, '', 400],
  ['GET', '/live/%zz.flv', {}, '', 400],
  ['GET', '/live/.hidden.flv', {}, '', 400],
  ['GET', `/live/${'n'.repeat(64)}.flv`, {}, '', 400],
  ['GET', '/live/nobody.flv', {}, '', [404, 409]],
  ['POST', '/live/nobody.flv', {}, '', 405],
  ['GET', '/live/nobody.m3u8', {}, '', 404],
  ['OPTIONS', '/live/nobody.flv', { Origin: 'http://other.example' }, '', 204, { 'access-control-allow-origin': /./ }],

  ['GET', '/whip/live/x', {}, '', 405, { allow: /POST/ }],
  ['PUT', '/whep/live/x', {}, '', 405, { allow: /POST/ }],
  ['POST', '/whip/live/x', {}, publishOffer, 415],
  ['POST', '/whip/live/x', { 'Content-Type': 'text/plain' }, publishOffer, 415],
  ['POST', '/whip/live/x', { 'Content-Type': 'application/json' }, '{}', 415],
  ['POST', '/whep/live/x', { 'Content-Type': 'text/plain' }, playOffer, 415],
  ['POST', '/whip/live/x', asSdp, '', 400],
  ['POST', '/whip/live/x', asSdp, 'hello', 400],
  ['POST', '/whip/live/x', asSdp, 'v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n', [400, 422]],
  ['POST', '/whip/live/x', asSdp, publishOffer.replace(/a=ice-pwd:.*\r?\n/g, ''), 400],
  ['POST', '/whip/live/x', asSdp, publishOffer.replace(/a=fingerprint:.*\r?\n/g, ''), 400],
  ['POST', '/whip/live/x', asSdp, publishOffer.replace(/a=fingerprint:sha-256 .*/g, 'a=fingerprint:sha-256 00:11'), 400],
  ['POST', '/whip/live/x', asSdp, playOffer, [400, 422]],
  ['POST', '/whip/live/x', asSdp, `${publishOffer}${'a=x\r\n'.repeat(20000)}`, 413],
  ['POST', '/whip/live', asSdp, publishOffer, 404],
  ['POST', '/whip/api/x', asSdp, publishOffer, 400],
  ['POST', '/whip/whip/x', asSdp, publishOffer, 400],
  ['POST', '/whip/live/.x', asSdp, publishOffer, 400],
  ['POST', '/whip/live/x%20y', asSdp, publishOffer, 400],
  ['POST', `/whip/live/${'n'.repeat(64)}`, asSdp, publishOffer, 400],
  ['POST', '/whep/live/nobody', asSdp, 'hello', 400],
  ['POST', '/whep/live/nobody', asSdp, playOffer, 409, { 'retry-after': /^\d+$/, 'access-control-expose-headers': /retry-after/i }],
  ['OPTIONS', '/whip/live/x', {}, '', 204, { 'accept-post': /application\/sdp/ }],
  ['OPTIONS', '/whep/live/x', {}, '', 204, { 'accept-post': /application\/sdp/ }],
  ['OPTIONS', '/whip/live/x',
    { Origin: 'http://other.example', 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type,authorization' },
    '', 204, { 'access-control-allow-methods': /POST/, 'access-control-allow-headers': /authorization/i }],
  ['DELETE', `/whip/live/x/${noSession}`, {}, '', 404],
  ['DELETE', `/whep/live/x/${noSession}`, {}, '', 404],
  ['DELETE', '/whip/live/x/short', {}, '', [400, 404]],
  ['PATCH', `/whip/live/x/${noSession}`, { 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': '*' }, 'a=ice-ufrag:a\r\n', [400, 404]],
  ['PATCH', `/whip/live/x/${noSession}`, { 'Content-Type': 'text/plain' }, 'x', 415],
  ['GET', `/whip/live/x/${noSession}`, {}, '', 405],

  ['POST', '/readyz', {}, '', 405, { allow: /GET/ }],
  ['POST', '/metrics', {}, '', 405, { allow: /GET/ }],
  ['POST', '/', {}, '', 405, { allow: /GET/ }],
  ['DELETE', '/millrace.js', {}, '', 405, { allow: /GET/ }],
  ['PUT', '/millrace_ws.js', {}, '', 405, { allow: /GET/ }],
  ['PUT', '/millrace.d.ts', {}, '', 405, { allow: /GET/ }],
  ['POST', '/live/nobody.m3u8', {}, '', 405],
  ['GET', '/millrace.css', {}, '', 404],
  ['GET', '/ws', {}, '', [400, 426]],
  ['GET', '/ws', { ...upgrade, 'Sec-WebSocket-Version': '13' }, '', 400], // no key
  ['GET', '/ws', { ...upgrade, 'Sec-WebSocket-Key': 'short', 'Sec-WebSocket-Version': '13' }, '', 400],
  ['GET', '/ws', { ...upgrade, ...wsKey, 'Sec-WebSocket-Version': '12' }, '', [400, 426], { 'sec-websocket-version': /13/ }],
  ['POST', '/ws', {}, '', 405, { allow: /GET/ }],
  ['GET', '/ws/x', {}, '', 404],
  ['GET', '/api/v1/live', {}, '', [400, 426]],
  ['GET', '/api/v1/repl', {}, '', [400, 426]],
  ['GET', '/api/v1/repl', { ...upgrade, ...wsKey, 'Sec-WebSocket-Version': '13', Origin: 'http://attacker.example' }, '', 403],
  ['GET', '/api/v1/live', { ...upgrade, ...wsKey, 'Sec-WebSocket-Version': '13', Origin: 'http://attacker.example' }, '', 403],
  ['POST', '/api/v1/repl', {}, 'workers', 405],
  ['GET', '/rtc/v1/publish/', {}, '', 405, { allow: /POST/ }],
  ['GET', '/rtc/v1/whip/', {}, '', 405, { allow: /POST/ }],
  ['POST', '/rtc/v1/whip/?app=live', asSdp, publishOffer, 400],
  ['POST', '/rtc/v1/whep/?stream=x', asSdp, playOffer, 400],
  ['POST', '/rtc/v1/whip/?app=live&stream=.x', asSdp, publishOffer, 400],
  ['POST', '/rtc/v1/whip/?app=live&stream=x', { 'Content-Type': 'text/plain' }, publishOffer, 415],
  ['POST', '/rtc/v1/whep/?app=live&stream=nobody', asSdp, playOffer, 409],
  ['POST', '/rtc/v1/nack/', {}, '{}', 404],
  ['GET', '/api/v1/streams', {}, '', 200, { 'content-type': /json/ }],
  ['GET', '/api/v1/sessions', {}, '', 200],
  ['GET', '/api/v1/workers', {}, '', 200],
  ['GET', '/api/v1/actors', {}, '', 200],
  ['GET', '/metrics', {}, '', 200],
  ['GET', '/api/v1/actors?limit=2', {}, '', 200],
  ['GET', '/api/v1/actors?type=stream&limit=1000000', {}, '', 200],
  ['GET', '/api/v1/actors?type=nothing', {}, '', 200],
  ['GET', '/api/v1/sessions?after=1/2', {}, '', 200],
  ['GET', '/api/v1/streams?limit=1&other=x', {}, '', 200],
  ['GET', '/api/v1/actors?limit=0', {}, '', 400],
  ['GET', '/api/v1/actors?limit=-1', {}, '', 400],
  ['GET', '/api/v1/actors?limit=99999999999999999999', {}, '', 400],
  ['GET', '/api/v1/actors?limit=', {}, '', 400],
  ['GET', '/api/v1/actors?limit=1&limit=2', {}, '', 400],
  ['GET', '/api/v1/actors?after=nobody', {}, '', 400],
  ['GET', '/api/v1/actors?after=zz/zz', {}, '', 400],
  ['GET', '/api/v1/actors?type=a%20b', {}, '', 400],
  ['GET', '/api/v1/actors?type=%00', {}, '', 400],
  ['GET', '/api/v1/actors?type=%zz', {}, '', 400],
  ['GET', `/api/v1/actors?type=${'x'.repeat(100)}`, {}, '', 400],
  ['GET', `/api/v1/actors?type=${'x'.repeat(40)}`, {}, '', 400],
  ['POST', '/api/v1/actors', {}, '', 405],
  ['DELETE', '/api/v1/workers', {}, '', 405],
  ['GET', '/api/v1/nothing', {}, '', 404],
  ['POST', '/api/v1/streams', {}, '', 405],
  ['DELETE', `/api/v1/sessions/${noSession}`, {}, '', [400, 404]],
  ['DELETE', '/api/v1/sessions/00000900000000ff', {}, '', 404],
  ['GET', '/api/v1/streams', { 'X-Forwarded-For': '203.0.113.7' }, '', 403],
  ['GET', '/metrics', { 'X-Forwarded-For': '127.0.0.1' }, '', 403],
  ['GET', '/api/v1/streams', { Host: 'attacker.example' }, '', 403],
  ['DELETE', `/api/v1/sessions/${noSession}`, { Origin: 'http://attacker.example' }, '', 403],
];

for (const [method, path, headers, body, status, wanted = {}] of rows) {
  const kind = headers['Content-Type'] ? `, ${headers['Content-Type']}` : '';
  const size = body ? `, ${body.length} bytes` : '';
  const extra = Object.keys(headers).filter((name) => name !== 'Content-Type').map((name) => `, ${name}`).join('');
  test(`${method} ${path.slice(0, 60)}${kind}${size}${extra}: ${status}`, async () => {
    const node = await sharedNode();
    const answer = await request(node.url + path, { method, headers, body });
    check([status].flat().includes(answer.status), () => `expected ${status}, got ${answer.status}: ${answer.text.slice(0, 300)}`);
    for (const [name, pattern] of Object.entries(wanted))
      check(pattern.test(answer.headers[name] ?? ''), () => `${name}: ${answer.headers[name]}`);
    if (answer.status >= 400 && method !== 'HEAD') {
      const problem = JSON.parse(answer.text);
      check(problem.error.code && problem.error.message, () => `no problem document: ${answer.text}`);
      check(!problem.detail?.startsWith('{'), () => `a document in a document: ${answer.text}`);
    }
    check(!/^30/.test(answer.status), 'a redirect');
  });
}

test('heads that are too large, incomplete or no HTTP are answered or closed, never kept', async () => {
  const node = await sharedNode();
  const cases = [
    [`GET /${'a'.repeat(20000)} HTTP/1.1\r\nHost: x\r\n\r\n`, /^HTTP\/1\.1 4(14|31)/],
    [`GET / HTTP/1.1\r\nHost: x\r\n${`X-A: ${'b'.repeat(1000)}\r\n`.repeat(40)}\r\n`, /^HTTP\/1\.1 431/],
    ['POST /whip/live/x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n', /^HTTP\/1\.1 400/],
    ['POST /whip/live/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', /^HTTP\/1\.1 400/],
    ['POST /whip/live/x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\nContent-Type: application/sdp\r\n\r\n', /^HTTP\/1\.1 413/],
    [Buffer.from('16030102000100', 'hex'), /^(HTTP\/1\.1 400|$)/],
    [randomBytes(4096), /^(HTTP\/1\.1 [45]|$)/],
  ];
  for (const [bytes, expected] of cases) {
    const answer = await raw(node.ready.http, bytes);
    const text = answer.bytes.toString('latin1');
    check(expected.test(text), () => `${JSON.stringify(bytes.toString('latin1').slice(0, 50))}: ${text.slice(0, 200)}`);
    check(answer.closed, () => `still open after ${JSON.stringify(bytes.toString('latin1').slice(0, 50))}`);
  }
});

test('several requests on one connection, in order; HTTP/1.0; chunked bodies', async () => {
  const node = await sharedNode();
  const one = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n';
  const answer = await raw(node.ready.http, `${one}\r\n${one}\r\nGET /none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
  const statuses = [...answer.bytes.toString().matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1]);
  equal(statuses, ['200', '200', '404'], 'statuses');
  const old = await raw(node.ready.http, 'GET /healthz HTTP/1.0\r\n\r\n');
  check(/^HTTP\/1\.[01] 200/.test(old.bytes.toString()) && old.closed, () => old.bytes.toString());
  const chunked = await raw(node.ready.http, 'POST /whep/live/nobody HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n'
    + 'Content-Type: application/sdp\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n');
  check(/^HTTP\/1\.1 400/.test(chunked.bytes.toString()), () => chunked.bytes.toString());
});

test('curl speaks to the node', async () => {
  const node = await sharedNode();
  const options = { env: { ...process.env, E2E_RUN: RUN_ID }, timeout: 10000 };
  const { stdout } = await promisify(execFile)('curl', ['-sS', '-m', '5', '-i', `${node.url}/healthz`], options);
  check(/^HTTP\/1\.1 200/.test(stdout), stdout);
});

test('garbage at every port harms nobody: a viewer sees nothing of it', async (t) => {
  const node = await sharedNode();
  const name = freshName('garbage');
  await publishRtmp(t, node, name);
  const before = await node.repl('workers');
  const udp = createSocket('udp4');
  t.defer(() => udp.close());
  for (const address of node.ready.rtc) {
    const [host, port] = address.split(':');
    for (let i = 0; i < 300; i++) {
      const bytes = randomBytes(1 + (i * 37) % 1400);
      // first bytes of STUN, DTLS, RTP and RTCP, so that each reader gets its share
      bytes[0] = [0, 22, 0x80, 0x81, bytes[0]][i % 5];
      if (i % 5 === 3 && bytes.length > 1) bytes[1] = 200 + i % 8;
      udp.send(bytes, Number(port), host);
    }
  }
  const targets = [node.ready.http, node.ready.rtmp, ...node.ready.rtc];
  const rtmp = Buffer.concat([Buffer.from([3]), randomBytes(1536)]);
  await Promise.all(targets.flatMap((address) =>
    [randomBytes(3000), Buffer.alloc(3000), rtmp, Buffer.concat([rtmp, randomBytes(6000)])].map((bytes) => raw(address, bytes, 1000))));
  equal((await node.get('/healthz')).status, 200, '/healthz');
  const after = await node.repl('workers');
  equal(after.map((row) => row.pid), before.map((row) => row.pid), 'pids');
  check((await node.streams()).some((stream) => stream.name === name), 'the stream is still there');
});

test('too many requests of one address get 429 and Retry-After, and then are served again', async (t) => {
  // 100 at once and 20 a second, of the node: by itself each worker would take so many
  const node = await startNode(t, { workers: 2, args: ['--http-requests-per-s-max', '20'] });
  const began = Date.now();
  const answers = await Promise.all(Array.from({ length: 250 }, () => node.post('/whep/live/nobody', 'hello')));
  const taken = answers.filter(({ status }) => status !== 429).length;
  // asked at the same moment, each may take one too many
  check(taken <= 140 + (Date.now() - began) / 50, () => `${taken} were taken`);
  const refused = answers.filter(({ status }) => status === 429);
  check(refused.length > 0, () => `statuses: ${answers.map(({ status }) => status).join(' ')}`);
  check(/^\d+$/.test(refused[0].headers['retry-after'] ?? ''), 'Retry-After');
  await until('served again', async () => (await node.post('/whep/live/nobody', 'hello')).status === 400, 5000);
});

test('one address has so many HTTP connections; whoever closes one makes room', async (t) => {
  // the workers count together; asked at the same moment, each may let in one too many
  const node = await startNode(t, { workers: 2, args: ['--http-connections-per-address-max', '5'] });
  const colon = node.ready.http.lastIndexOf(':');
  const held = Array.from({ length: 40 }, () => {
    const socket = connect(Number(node.ready.http.slice(colon + 1)), node.ready.http.slice(0, colon));
    socket.on('error', () => {}).on('data', (bytes) => { socket.said = bytes.toString(); });
    t.defer(() => socket.destroy());
    return socket;
  });
  const refused = () => held.filter(({ said }) => /^HTTP\/1.1 429 /.test(said ?? '')).length;
  // a request of the waiting itself would need a place: none is asked for here
  await until('those beyond the limit are refused', () => refused() >= 40 - 5 - 1);
  held.forEach((socket) => socket.destroy());
  await until('served again', async () => (await node.get('/healthz')).status === 200, 5000);
});

test('whoever allows RTMP only small messages takes no room from HTTP connections and FLV viewers', async (t) => {
  const node = await startNode(t, { workers: 1, args: ['--set', 'rtmp.message_bytes_max=65536'] });
  const folder = `/proc/${(await node.worker('media', 0)).pid}/fd`;
  const largest = await until('its descriptors are read', () => // (one that is closed meanwhile is an error)
    Math.max(...readdirSync(folder).map((fd) => `${folder}/${fd}`)
      .filter((path) => readlinkSync(path).startsWith('/memfd:')).map((path) => statSync(path).size)));
  // of the 2048 buffers each holds a picture of 4 MiB for FLV
  check(largest > 2048 * (4 << 20), () => `the shared memory has ${largest} bytes`);
});
