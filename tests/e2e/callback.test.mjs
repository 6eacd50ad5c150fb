// SPDX-License-Identifier: Apache-2.0
// HTTP callbacks: a server of the operator's is asked and told, by every protocol; and what happens
// when it refuses, is slow, dead or wrong.

import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { atLeast, atMost, check, directory, equal, patience, test, timeUntil, until } from './harness.mjs';
import { openPage, playWhep } from './browser.mjs';
import { request } from './http.mjs';
import { moreVideo, publishRtmp, pushRtmp, watchFlv } from './media.mjs';
import { freshName, millrace, startNode } from './node.mjs';
import { killWorker, spared } from './takeover.mjs';

const publishOffer = readFileSync(new URL('../data/sdp/chrome156-sendonly.sdp', import.meta.url), 'utf8');
const playOffer = readFileSync(new URL('../data/sdp/chrome156-recvonly.sdp', import.meta.url), 'utf8');

/** Keeps what it is asked (`events`); `answer(event)` gives {status, body}, or null: never. */
class CallbackServer {
  events = [];
  answer = () => ({});

  static async start(t, port = 0) {
    const server = new CallbackServer();
    server.http = http.createServer((incoming, outgoing) => server.#take(incoming, outgoing));
    server.http.keepAliveTimeout = 100;
    await new Promise((resolve) => server.http.listen(port, '127.0.0.1', resolve));
    server.port = server.http.address().port;
    t.defer(() => server.stop());
    return server;
  }

  async #take(incoming, outgoing) {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const event = JSON.parse(Buffer.concat(chunks));
    Object.assign(event, { url: incoming.url, method: incoming.method, headers: incoming.headers });
    this.events.push(event);
    const answer = this.answer(event);
    if (!answer) return;
    outgoing.writeHead(answer.status ?? 200, { 'Content-Type': 'application/json' });
    outgoing.end(answer.body ?? '');
  }

  of(action, name) { return this.events.filter((e) => e.action === action && `${e.app}/${e.stream}` === name); }

  stop() {
    this.http.closeAllConnections();
    return new Promise((resolve) => this.http.close(resolve));
  }
}

const urls = (port, actions = ['on_publish', 'on_play', 'on_unpublish', 'on_stop']) =>
  actions.flatMap((action) => ['--set', `callback.${action}=http://127.0.0.1:${port}/hooks/${action}`]);

async function nodeWith(t, { actions, args = [], env } = {}) {
  const server = await CallbackServer.start(t);
  const node = await startNode(t, { workers: 2, args: [...urls(server.port, actions), ...args], env });
  return { server, node };
}

async function metric(node, row) {
  const { text } = await node.get('/metrics');
  const line = text.split('\n').find((each) => each.startsWith('millrace_') && row.test(each));
  return line ? Number(line.slice(line.lastIndexOf(' ') + 1)) : null;
}

test('callbacks: all four, by RTMP, WHIP, WHEP and FLV, with parameters but without tokens', async (t) => {
  const { server, node } = await nodeWith(t, { env: { MILLRACE_CALLBACK_TOKEN: 'server secret' } });
  const name = freshName('called');
  const before = Date.now();

  const publisher = await publishRtmp(t, node, `${name}?user=ann&token=abc&resume=def&n=%20`);
  const [asked] = server.of('on_publish', name);
  check(asked, 'on_publish');
  equal([asked.method, asked.url, asked.headers['content-type']],
    ['POST', '/hooks/on_publish', 'application/json'], 'request');
  equal(asked.headers.authorization, 'Bearer server secret', 'token of the server');
  equal([asked.protocol, asked.param, asked.node], ['rtmp', 'user=ann&n=%20', 'e2e'], 'fields');
  check(/^127\.0\.0\.1:\d+$/.test(asked.client), asked.client);
  atLeast(asked.time, before - 1000, 'time');
  atMost(asked.time, Date.now() + 1000, 'time');

  const viewer = watchFlv(t, `${node.url}/${name}.flv?seat=7`);
  await moreVideo(viewer, 5);
  const whep = await node.post(`/whep/${name}?token=x&seat=8`, playOffer);
  equal(whep.status, 201, 'WHEP');
  const [flvAsked, whepAsked] = server.of('on_play', name);
  equal([flvAsked.protocol, flvAsked.param], ['flv', 'seat=7'], 'FLV');
  equal([whepAsked.protocol, whepAsked.param], ['whep', 'seat=8'], 'WHEP');
  equal((await node.repl(`inspect ${whepAsked.session}`)).type, 'session', 'the session it names');

  await request(new URL(whep.headers.location, node.url), { method: 'DELETE' });
  await until('on_stop of WHEP', () => server.of('on_stop', name).some((e) => e.session === whepAsked.session));
  viewer.request.destroy();
  await until('on_stop of FLV', () => server.of('on_stop', name).some((e) => e.session === flvAsked.session));
  await publisher.stop();
  await until('on_unpublish', () => server.of('on_unpublish', name).some((e) => e.session === asked.session));
  equal(server.of('on_stop', name).length, 2, 'stops');

  const whip = await node.post(`/whip/${freshName('called')}`, publishOffer);
  equal(whip.status, 201, 'WHIP');
  equal(server.events.at(-1).protocol, 'whip', 'protocol');
  await request(new URL(whip.headers.location, node.url), { method: 'DELETE' });
  await until('on_unpublish of WHIP', () => server.events.filter((e) => e.action === 'on_unpublish').length === 2);
  check(!node.log.includes('seat=7') && !node.log.includes('server secret'), 'no parameter in the log');
});

/* what the server says, status of the client's POST when closed, when open */
const verdicts = [
  ['200 and nothing', {}, 201, 201],
  ['200 and {"code":0}', { body: '{"code":0,"msg":"fine"}' }, 201, 201],
  ['204', { status: 204 }, 201, 201],
  ['403', { status: 403 }, 403, 403],
  ['401', { status: 401 }, 401, 401],
  ['200 and {"code":7}', { body: '{"code":7}' }, 403, 403],
  ['500', { status: 500 }, 503, 201],
  ['302', { status: 302 }, 503, 201],
  ['200 and no JSON', { body: 'fine' }, 503, 201],
  ['200 and a code that is no number', { body: '{"code":"0"}' }, 503, 201],
  ['200 and too much', { body: `{"code":0,"x":"${'y'.repeat(8192)}"}` }, 503, 201],
];

for (const [mode, column] of [['closed', 2], ['open', 3]]) {
  test(`callbacks: what answers mean when callback.fail is ${mode}`, async (t) => {
    const { server, node } = await nodeWith(t, { actions: ['on_publish'], args: ['--set', `callback.fail=${mode}`] });
    for (const row of verdicts) {
      server.answer = () => row[1];
      const answer = await node.post(`/whip/${freshName('verdict')}`, publishOffer);
      equal(answer.status, row[column], row[0]);
      if (answer.status === 201) await request(new URL(answer.headers.location, node.url), { method: 'DELETE' });
      if (answer.status === 503) check(answer.headers['retry-after'], 'Retry-After');
    }
  });
}

test('callbacks: a refused RTMP publisher, FLV and WHEP viewer', async (t) => {
  const { server, node } = await nodeWith(t);
  server.answer = ({ action, param }) => ({ status: action.startsWith('on_un') || param.includes('good') ? 200 : 403 });
  const name = freshName('refused');
  const bad = pushRtmp(t, node.rtmp, name);
  await until('ffmpeg is refused', () => bad.status !== null);
  check(bad.status !== 0, 'exit status of ffmpeg');
  await publishRtmp(t, node, `${name}?good=1`);
  equal((await node.get(`/${name}.flv`)).status, 403, 'FLV');
  equal((await node.post(`/whep/${name}`, playOffer)).status, 403, 'WHEP');
  await moreVideo(watchFlv(t, `${node.url}/${name}.flv?good`), 5);
  equal(server.of('on_stop', name).length, 0, 'who was refused does not stop');
  equal(server.of('on_unpublish', name).length, 0, 'nor unpublish');
  await until('counted', async () => (await metric(node, /questions_total.*control.*refused/)) === 3);
});

test('callbacks: HEAD of an FLV address is no viewer: a server with one seat still has it for the GET', async (t) => {
  const { server, node } = await nodeWith(t, { actions: ['on_play', 'on_stop'] });
  server.answer = ({ action }) => ({ status: action === 'on_stop' || server.of('on_play', name).length === 1 ? 200 : 403 });
  const name = freshName('seat');
  const head = (path) => request(`${node.url}/${path}.flv`, { method: 'HEAD' });
  equal((await head(name)).status, 404, 'HEAD before anybody publishes');
  await publishRtmp(t, node, name);
  const answer = await head(name);
  equal([answer.status, answer.headers['content-type']], [200, 'video/x-flv'], 'HEAD');
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await moreVideo(viewer, 5);
  equal((await head(name)).status, 200, 'HEAD while the seat is taken');
  viewer.request.destroy();
  await until('on_stop', () => server.of('on_stop', name).length > 0);
  equal(server.events.map(({ action }) => action), ['on_play', 'on_stop'], 'calls');
});

test('callbacks: a server that never answers holds nobody longer than the timeout', async (t) => {
  const { server, node } = await nodeWith(t, { actions: ['on_publish'], args: ['--set', 'callback.timeout_ms=700ms'] });
  server.answer = () => null;
  let answer;
  const took_ms = await timeUntil('refused', async () => (answer ??= await node.post(`/whip/${freshName('slow')}`, publishOffer)));
  equal(answer.status, 503, 'status');
  check(/callback/.test(answer.text), answer.text);
  atLeast(took_ms, 400, 'took');
  atMost(took_ms, 700 + 500 * patience(), 'took');
});

test('callbacks: nobody listens', async (t) => {
  const server = await CallbackServer.start(t);
  await server.stop();
  for (const [mode, status] of [['closed', 503], ['open', 201]]) {
    const node = await startNode(t, { workers: 1, args: [...urls(server.port), '--set', `callback.fail=${mode}`] });
    equal((await node.post(`/whip/${freshName('dead')}`, publishOffer)).status, status, mode);
    await node.stop();
  }
});

test('callbacks: notifications that fail are tried again, in order', async (t) => {
  const { server, node } = await nodeWith(t, { actions: ['on_unpublish', 'on_stop'] });
  const name = freshName('order');
  let failures = 3;
  server.answer = () => ({ status: failures-- > 0 ? 500 : 200 });
  for (let i = 0; i < 3; i++) {
    const whip = await node.post(`/whip/${name}?n=${i}`, publishOffer);
    equal(whip.status, 201, 'WHIP');
    await request(new URL(whip.headers.location, node.url), { method: 'DELETE' });
  }
  await until('all are told', () => server.of('on_unpublish', name).length === 6, 15000);
  equal(server.of('on_unpublish', name).map((e) => e.param), ['n=0', 'n=0', 'n=0', 'n=0', 'n=1', 'n=2'], 'order');
  equal(new Set(server.of('on_unpublish', name).slice(0, 4).map((e) => e.time)).size, 1, 'the time of the event stays');
  await until('counted', async () => (await metric(node, /retries_total.*control/)) === 3 &&
    (await metric(node, /notifications_total.*control.*told/)) === 3);
});

test('callbacks: who goes on when its worker is killed is told of once, when it ends; so is who is there at the end', async (t) => {
  const { server, node } = await nodeWith(t, { actions: ['on_unpublish'] });
  const name = freshName('killed');
  const publisher = await publishRtmp(t, node, name);
  for (const number of [0, 1]) await killWorker(node, number);
  equal(server.of('on_unpublish', name).length, 0, 'told of while it goes on');
  await publisher.stop();
  await until('on_unpublish', () => server.of('on_unpublish', name).length === 1);
  await publishRtmp(t, node, `${name}-last`);
  equal((await node.stop()).code, 0, 'exit status');
  await until('on_unpublish at the end', () => server.of('on_unpublish', `${name}-last`).length === 1);
  equal(server.of('on_unpublish', name).length, 1, 'told of the one that went on');
});

/** kill -9 of the control process; returns when the next one answers, or at once. */
async function killControl(node, wait = true) {
  const { pid } = await node.worker('control');
  process.kill(pid, 'SIGKILL');
  if (wait) await until('the console answers again', async () => (await node.worker('control')).pid !== pid, 10000);
}

async function upgrade(node) {
  const { status, out, err } = await millrace(['ctl', '--connect', node.runDirectory, 'upgrade'], { timeout_ms: 60000 });
  equal(status, 0, `ctl upgrade: ${out}${err}`);
}

for (const [what, mishap] of [
  ['kill -9 of the control process', (node) => killControl(node)],
  ['kill -9 of two control processes', async (node) => { await killControl(node); await killControl(node); }],
  ['an upgrade', upgrade],
  ['a kill -9 of the control process while they go', (node) => killControl(node, false)],
]) {
  test(`callbacks: after ${what} the server is told of all who were there, once`, async (t) => {
    const { server, node } = await nodeWith(t);
    const name = freshName('outlived');
    const publisher = await publishRtmp(t, node, `${name}?seat=1`);
    const viewer = watchFlv(t, `${node.url}/${name}.flv?seat=2`);
    await moreVideo(viewer, 5);
    const asked = [server.of('on_publish', name)[0], server.of('on_play', name)[0]];
    await mishap(node);
    equal(server.events.length, 2, 'nobody is asked for again, or told of while it goes on');
    viewer.request.destroy();
    await until('on_stop', () => server.of('on_stop', name).length === 1, 15000);
    await publisher.stop();
    await until('on_unpublish', () => server.of('on_unpublish', name).length === 1, 15000);
    const told = [server.of('on_unpublish', name)[0], server.of('on_stop', name)[0]];
    for (const [i, event] of told.entries())
      for (const field of ['session', 'client', 'protocol', 'param', 'node'])
        equal(event[field], asked[i][field], `${event.action}: ${field}`);
    // and who comes afterwards is asked for as ever
    const whip = await node.post(`/whip/${name}-next`, publishOffer);
    equal(whip.status, 201, 'WHIP');
    await request(new URL(whip.headers.location, node.url), { method: 'DELETE' });
    await until('on_unpublish of the next', () => server.of('on_unpublish', `${name}-next`).length === 1);
    equal(server.events.length, 6, 'calls');
  });
}

test('callbacks: a session that has moved is told of after its first worker and the control process are gone', async (t) => {
  const { server, node } = await nodeWith(t, { actions: ['on_stop'] });
  const name = freshName('wanderer');
  await publishRtmp(t, node, name);
  const peer = await playWhep(await openPage(t, node), node, name);
  await peer.moreVideo(10);
  const only = async (type) => (await node.repl(`actors ${type}`))[0];
  const from = (await only('session')).worker;
  await node.repl(`move ${(await only('session')).addr} worker ${1 - from}`);
  await until('its ticket is where it is', async () =>
    (await only('session')).worker === 1 - from && (await only('callback_ticket')).worker === 1 - from);
  await spared(node);
  await node.repl(`kill-worker ${from}`);
  await killControl(node);
  await peer.moreVideo(10);
  equal(server.events.length, 0, 'told of while it goes on');
  await node.repl(`stop ${(await only('session')).addr}`);
  await until('on_stop', () => server.of('on_stop', name).length === 1, 15000);
  await until('no ticket is left', async () => (await node.repl('actors callback_ticket')).length === 0);
}, { timeout_ms: 60000 });

const mistakes = [
  ['a URL of another kind', 'on_publish: ftp://127.0.0.1/x'],
  ['a URL with a password', 'on_publish: "http://me:secret@127.0.0.1/x"'],
  ['a port that is none', 'on_stop: http://127.0.0.1:80x/x'],
  ['a word that is none', 'fail: maybe'],
  ['a time that is too short', 'timeout_ms: 1'],
];

test('callbacks: a wrong configuration is a start error with file and line', async () => {
  for (const [what, line] of mistakes) {
    const file = join(mkdtempSync(join(directory, 'config-')), 'node.yaml');
    writeFileSync(file, `workers: 1\ncallback:\n  ${line}\n`);
    const { status, err } = await millrace(['node', '--config', file]);
    equal(status, 2, what);
    check(err.includes(`${file}:3: callback.`), () => `${what}: ${err}`);
  }
});
