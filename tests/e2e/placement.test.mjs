// SPDX-License-Identifier: Apache-2.0
// Clients among the nodes of a cluster: sent on by a node that is full or drains, told where to go, and back
// elsewhere when their node dies.

import { createHmac } from 'node:crypto';
import { atMost, check, equal, patience, test, until } from './harness.mjs';
import { checkUntouched, clientPlay, clientPublish, openClient } from './client.mjs';
import { Cluster } from './cluster.mjs';
import { request } from './http.mjs';
import { moreVideo, playRtmp, publishRtmp, watchFlv } from './media.mjs';
import { freshName, millrace } from './node.mjs';

const wait = { timeout_ms: 120000 };
const secret = 'a secret of thirty-two bytes or more';
const withTokens = ['--token-key', secret];

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
function tokenFor(name, more = {}) {
  const [app, stream] = name.split('/');
  const claims = { app, stream, act: ['publish', 'play'], exp: Math.floor(Date.now() / 1000) + 300, ...more };
  const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
}

/** `load` at a node, by name. */
const loads = async (node) => Object.fromEntries((await node.repl('load')).map((row) => [row.node, row]));

/** Until `node` can tell its clients where else they may go: it has heard how each of `others` stands. */
const knowsWhereToGo = (node, others) => until(`${node.name} knows where to go`, async () => {
  const rows = await loads(node);
  return others.every((other) => rows[other.name] && !rows[other.name].draining);
});

/** A cluster whose nodes all know where to send their clients. */
async function startCluster(t, options = {}) {
  const cluster = await Cluster.start(t, options);
  for (const node of cluster.nodes) await knowsWhereToGo(node, cluster.nodes.filter((other) => other !== node));
  return cluster;
}

/** A cluster whose node a takes no session beside the publisher that it has; the stream's name. */
async function fullNode(t, { args = [] } = {}) {
  const cluster = await Cluster.start(t, { nodes: 0 });
  await cluster.add({ name: 'a', args: ['--placement-sessions-max', '1', ...args] });
  await cluster.add({ name: 'b', args });
  await cluster.complete();
  const [a, b] = cluster.nodes;
  const name = freshName('full');
  await publishRtmp(t, a, args === withTokens ? `${name}?token=${tokenFor(name)}` : name);
  await until('a says that it is full, b knows it, and a knows b', async () =>
    (await loads(a)).a.full && (await loads(b)).a?.full && (await loads(a)).b);
  return { cluster, a, b, name };
}

// ---- a node that is full -----------------------------------------------------------------------

test('a full node sends WebRTC clients to another one, and nobody twice', async (t) => {
  const { a, b, name } = await fullNode(t);
  const rows = [
    [`/whep/${name}?wait=1&seat=7`, `/whep/${name}?wait=1&seat=7&redirected=1`],
    [`/whip/${freshName()}`, null],
    [`/rtc/v1/whep/?app=live&stream=x`, '/rtc/v1/whep/?app=live&stream=x&redirected=1'],
  ];
  for (const [path, there] of rows) {
    const answer = await a.post(path, 'v=0\r\n');
    equal(answer.status, 307, path);
    equal(answer.headers.location, b.url + (there ?? `${path}?redirected=1`), `Location of ${path}`);
    check(answer.headers['access-control-expose-headers'].includes('Location'), 'CORS exposes Location');
    equal(answer.headers['access-control-allow-origin'], '*', 'any origin may read it');
  }
  const srs = await a.post('/rtc/v1/play/', JSON.stringify({ streamurl: `webrtc://x/${name}`, sdp: 'v=0' }), { 'Content-Type': 'application/json' });
  equal([srs.status, srs.headers.location], [307, `${b.url}/rtc/v1/play/?redirected=1`], 'SRS’ words');
  const again = await a.post(`/whep/${name}?redirected=1`, 'v=0\r\n');
  equal(again.status, 503, 'who was sent here by another node');
  check(Number(again.headers['retry-after']) >= 1, 'Retry-After');
  equal((await a.get(`/whep/${name}`, { method: 'OPTIONS' })).status, 204, 'OPTIONS');
  // what cannot be sent on is served
  await moreVideo(await watchFlv(t, `${a.url}/${name}.flv`), 30, 15000);
  const other = freshName('fulltoo');
  await publishRtmp(t, a, other);
  await until('RTMP plays at the full node', async () => playRtmp(t, `${a.rtmp}/${name}`).errors === '');
}, wait);

test('a browser that asks the full node plays from the other one, its token known there', async (t) => {
  const { a, b, name } = await fullNode(t, { args: withTokens });
  for (const signalling of ['http', 'ws']) {
    const viewer = await clientPlay(await openClient(t, a), name, { signalling, urls: [a.url], token: tokenFor(name) });
    const { address, stats } = await viewer.more(20, 30000);
    equal([address, stats.sessions], [`${b.url}/`, 1], `address and sessions, signalling by ${signalling}`);
    await viewer.stop();
  }
}, wait);

test('permits: good at every node, for what they say and for nothing else', async (t) => {
  const { a, b, name } = await fullNode(t, { args: withTokens });
  const Authorization = `Bearer ${tokenFor(name)}`;
  const { status, headers } = await a.post(`/whep/${name}`, 'v=0\r\n', { Authorization });
  equal(status, 307, 'with a token');
  const there = new URL(headers.location);
  const permit = there.searchParams.get('permit');
  check(permit && !headers.location.includes('token='), () => headers.location);
  const ask = async (path) => (await b.post(path, 'v=0\r\n')).status;
  check(![401, 403].includes(await ask(there.pathname + there.search)), 'the permit is good at b');
  const rows = [
    [`/whep/${name}`, 401, 'nothing'],
    [`/whep/${name}2?permit=${permit}`, 401, 'another stream'],
    [`/whip/${name}?permit=${permit}`, 401, 'to publish'],
    [`/whep/${name}?permit=${permit.slice(0, -1)}${permit.endsWith('A') ? 'B' : 'A'}`, 401, 'a letter changed'],
    [`/whep/${name}?permit=p1.AAAA`, 401, 'no permit'],
    [`/whep/${name}?permit=${permit}&permit=${permit}`, 401, 'two of them'],
  ];
  for (const [path, expected, what] of rows) equal(await ask(path), expected, what);
  equal((await a.post(`/whep/${name}`, 'v=0\r\n', { Authorization: 'Bearer x.y.z' })).status, 401, 'a bad token at the full node');
  const tokenInQuery = await a.post(`/whep/${name}?token=${tokenFor(name)}`, 'v=0\r\n');
  check(!tokenInQuery.headers.location.includes('permit='), 'a token in the query goes along by itself');
}, wait);

test('nobody has room: 503 with Retry-After, not a circle', async (t) => {
  const { a, b, name } = await fullNode(t, { args: ['--placement-full-percent', '100'] });
  await b.repl('drain');
  await until('a knows that b drains', async () => (await loads(a)).b.draining);
  for (const node of [a, b]) {
    const answer = await node.post(`/whep/${name}`, 'v=0\r\n');
    equal(answer.status, 503, `at ${node.name}`);
    check(Number(answer.headers['retry-after']) >= 1, 'Retry-After');
  }
}, wait);

// ---- draining ----------------------------------------------------------------------------------

test('drain node: viewers are at the other one before they leave, and the node stops', async (t) => {
  const cluster = await startCluster(t);
  const [a, b] = cluster.nodes;
  const name = freshName('drained');
  await publishRtmp(t, b, name);
  const viewers = [];
  for (let i = 0; i < 3; i++)
    viewers.push(await clientPlay(await openClient(t, b), name, { signalling: 'ws', urls: [a.url] }));
  for (const viewer of viewers) await viewer.more(20, 30000);
  equal((await b.repl('drain node a stop')).draining, true, 'a drains');
  for (const viewer of viewers) {
    const { by, address, reason } = await viewer.recovers();
    equal([by, address, reason], ['session', `${b.url}/`, 'the node will stop'], 'recovered');
    checkUntouched(await viewer.more(20));
  }
  const gaps = await Promise.all(viewers.map(async (viewer) => Math.round((await viewer.look()).gap)));
  t.note(`longest gaps between pictures: ${gaps.join(', ')} ms`);
  for (const gap of gaps) atMost(gap, 500 * patience(), 'gap in ms');
  await until('a has stopped', () => a.exited, 20000);
  equal(a.exited.code, 0, 'its exit status');
}, wait);

test('drain node: a publisher goes on at the other node, its viewers stay', async (t) => {
  const cluster = await startCluster(t);
  const [a, b] = cluster.nodes;
  const name = freshName('drainpub');
  const publisher = await clientPublish(await openClient(t, b), name, { signalling: 'ws', urls: [a.url] });
  await publisher.becomes('live');
  const viewer = await clientPlay(await openClient(t, b), name, { signalling: 'ws', urls: [b.url], wait: true });
  await viewer.more(20, 30000);
  await b.repl('drain node a');
  const { address } = await publisher.recovers();
  equal(address, `${b.url}/`, 'address of the publisher');
  const now = await viewer.more(30, 20000);
  checkUntouched(now);
  equal(now.stats.sessions, 1, 'sessions of the viewer');
  t.note(`longest gap of its viewer ${Math.round(now.gap)} ms`);
  await until('nobody is left at a', async () => (await a.repl('drain node ask')).sessions === 0, 20000);
}, wait);

test('ctl drain node --stop: those who go elsewhere, those who are waited for, then the node stops', async (t) => {
  const cluster = await startCluster(t);
  const [a, b] = cluster.nodes;
  const name = freshName('ctldrain');
  const publisher = await publishRtmp(t, a, name);
  const viewer = await clientPlay(await openClient(t, b), name, { signalling: 'ws', urls: [a.url] });
  await viewer.more(10, 30000);
  const ctl = (...args) => millrace(['ctl', '--connect', b.runDirectory, 'drain', ...args, '--json'], { timeout_ms: 60000 });
  const late = await ctl('node', 'a', '--wait', '8');
  const steps = late.out.trim().split('\n').map((line) => JSON.parse(line));
  equal([late.status, steps.at(-1).error?.code], [1, 'timeout'], 'RTMP does not go by itself');
  equal(steps.filter((step) => step.result).map((step) => step.result.sessions), [2, 1], 'sessions left, step by step');
  checkUntouched(await viewer.more(10));
  const all = ctl('node', 'a', '--stop');
  await publisher.stop();
  const { status, out } = await all;
  equal([status, JSON.parse(out.trim().split('\n').at(-1)).result.stopped], [0, true], 'at the end');
  equal((await ctl('node', 'a')).status, 1, 'it is not there any more');
  await until('a has stopped', () => a.exited, 20000);
}, wait);

test('drain node: RTMP and FLV are served on, and undoing it', async (t) => {
  const cluster = await startCluster(t);
  const [a, b] = cluster.nodes;
  await a.repl('drain node');
  const name = freshName('drainrtmp');
  await publishRtmp(t, a, name);
  await moreVideo(await watchFlv(t, `${a.url}/${name}.flv`), 30, 15000);
  equal((await a.post(`/whep/${name}`, 'v=0\r\n')).status, 307, 'WHEP');
  equal((await a.repl('drain node ask')).draining, true, 'it drains');
  equal((await b.repl('drain node a off')).draining, false, 'undone from the other node');
  await until('WHEP is taken again', async () => (await a.post(`/whep/${name}`, 'v=0\r\n')).status !== 307);
  for (const [command, code] of [['drain node nobody', 'not_found'], ['drain node a b c', 'format'], ['move 1 node', 'format'],
    ['move 77 node b', 'not_found']])
    equal((await a.console(command)).error?.code, code, command);
}, wait);

test('move SESSION node: one viewer goes on there, the other stays', async (t) => {
  const cluster = await startCluster(t);
  const [a, b] = cluster.nodes;
  const name = freshName('moved');
  await publishRtmp(t, a, name);
  const play = async (signalling) => clientPlay(await openClient(t, a), name, { signalling, urls: [a.url] });
  const first = await play('ws');
  await first.more(10, 30000);
  const [{ addr }] = (await a.repl('actors session'));
  const second = await play('http');
  await second.more(10, 30000);
  const [{ addr: other }] = (await a.repl('actors session')).filter((row) => row.addr !== addr);
  equal((await a.console(`move ${other.split('/')[1]} node b`)).error?.code, 'unsupported', 'a client that cannot be told');
  equal((await a.console(`move ${addr.split('/')[1]} node a`)).error?.code, 'exists', 'to where it is');
  equal((await a.repl(`move ${addr.split('/')[1]} node b`)).told, true, 'told');
  const { address } = await first.recovers();
  equal(address, `${b.url}/`, 'address');
  const now = await first.more(20);
  checkUntouched(now);
  t.note(`longest gap between pictures ${Math.round(now.gap)} ms`);
  equal((await second.look()).stats.sessions, 1, 'sessions of the other one');
}, wait);

// ---- a node that dies --------------------------------------------------------------------------

for (const signalling of ['http', 'ws'])
  test(`kill -9 of a node: its viewer is back at another within two seconds, its token too old by now, signalling by ${signalling}`, async (t) => {
    const cluster = await startCluster(t, { nodes: 3, args: withTokens });
    const [a, b, c] = cluster.nodes;
    const name = freshName('killed');
    await publishRtmp(t, b, `${name}?token=${tokenFor(name)}`);
    const exp = Math.floor(Date.now() / 1000) + 15;
    const viewer = await clientPlay(await openClient(t, c), name, { signalling, urls: [a.url], token: tokenFor(name, { exp }) });
    await viewer.more(30, 30000);
    await until('the token is too old', () => Date.now() / 1000 > exp + 1, 20000);
    const before = await viewer.look();
    for (const pid of [a.pid, ...a.processes()]) process.kill(pid, 'SIGKILL');
    const { address, by } = await viewer.recovers();
    const now = await viewer.more(20, 20000);
    equal(by, 'session', 'recovered by');
    check([`${b.url}/`, `${c.url}/`].includes(address), () => address);
    checkUntouched(now);
    t.note(`${Math.round(now.gap)} ms between two pictures`);
    check(now.gap > before.gap, 'there was a gap');
    atMost(now.gap, 2000 * patience(), 'ms between two pictures');
  }, wait);

test('kill -9 of a node: its publisher is back at another, viewers elsewhere keep their sessions', async (t) => {
  const cluster = await startCluster(t);
  const [a, b] = cluster.nodes;
  const name = freshName('killedpub');
  const publisher = await clientPublish(await openClient(t, b), name, { signalling: 'ws', urls: [a.url] });
  await publisher.becomes('live');
  const viewer = await clientPlay(await openClient(t, b), name, { signalling: 'ws', urls: [b.url], wait: true });
  await viewer.more(20, 30000);
  for (const pid of [a.pid, ...a.processes()]) process.kill(pid, 'SIGKILL');
  const { address, ms } = await publisher.recovers();
  equal(address, `${b.url}/`, 'address of the publisher');
  atMost(ms, 5000 * patience(), 'ms until the publisher is back'); // cluster.node_lost_ms and a try
  const now = await viewer.more(30, 20000);
  checkUntouched(now);
  equal(now.stats.sessions, 1, 'sessions of the viewer');
  t.note(`publisher ${ms} ms, longest gap of its viewer ${Math.round(now.gap)} ms`);
}, wait);

test('a node that comes while a session lives is where it goes when its own is killed', async (t) => {
  const cluster = await Cluster.start(t, { nodes: 1 });
  const [a] = cluster.nodes;
  const name = freshName('later');
  const publisher = await clientPublish(await openClient(t, a), name, { signalling: 'ws', urls: [a.url] });
  const { addresses } = await publisher.becomes('live');
  equal(addresses, [`${a.url}/`], 'what it knows at first');
  const b = await cluster.add({ name: 'b' });
  const since = performance.now();
  await until('the client knows the other node', async () => (await publisher.look()).addresses.includes(`${b.url}/`));
  t.note(`the client knew the other node ${Math.round(performance.now() - since)} ms after it was ready`);
  for (const pid of [a.pid, ...a.processes()]) process.kill(pid, 'SIGKILL');
  equal((await publisher.recovers()).address, `${b.url}/`, 'address');
}, wait);

test('a viewer resumes at another node in one request, without its token', async (t) => {
  const cluster = await startCluster(t, { args: withTokens });
  const [a, b] = cluster.nodes;
  const name = freshName('resume');
  await publishRtmp(t, a, `${name}?token=${tokenFor(name)}`);
  const page = await openClient(t, a);
  const offer = () => page.evaluate(async () => {
    const pc = new RTCPeerConnection();
    pc.addTransceiver('video', { direction: 'recvonly' });
    await pc.setLocalDescription(await pc.createOffer());
    return pc.localDescription.sdp;
  });
  const first = await a.post(`/whep/${name}`, await offer(), { Authorization: `Bearer ${tokenFor(name)}` });
  equal(first.status, 201, 'with the token');
  const resume = first.headers['millrace-resume'];
  check(resume, 'it may resume');
  check(first.headers.link?.includes(`<${b.url}/whep/${name}>; rel="alternate"`), () => `Link: ${first.headers.link}`);
  let fresh;
  for (const node of [b, a]) {
    const next = await node.post(`/whep/${name}`, await offer(), { 'Millrace-Resume': resume });
    equal(next.status, 201, `at ${node.name}`);
    check(next.headers['millrace-resume'], 'it may resume again');
    fresh = next.headers['millrace-resume'];
  }
  // the same client twice, in case that the first answer was lost; nobody else
  for (const node of [a, b])
    equal((await request(new URL(`/whep/${name}`, node.url), { method: 'POST', body: await offer(), localAddress: '127.0.0.2',
      headers: { 'Millrace-Resume': resume, 'Content-Type': 'application/sdp' } })).status, 401, `it has served, at ${node.name}`);
  equal((await b.post(`/whep/${name}x`, await offer(), { 'Millrace-Resume': resume })).status, 401, 'another stream');
  // good though the node that said so is gone
  await a.stop();
  const after = await b.post(`/whep/${name}`, await offer(), { 'Millrace-Resume': fresh });
  check(after.status !== 401, 'the issuing node is gone');
}, wait);
