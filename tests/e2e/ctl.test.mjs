// SPDX-License-Identifier: Apache-2.0
// `millrace ctl`: a node is looked at, drained, given more and fewer workers, and goes on with another
// program, while people publish and watch.

import { spawn } from 'node:child_process';
import dgram from 'node:dgram';
import { chmodSync, copyFileSync, readlinkSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { atLeast, atMost, check, equal, patience, RUN_ID, test, until, within } from './harness.mjs';
import { Load } from './load.mjs';
import { moreVideo, playRtmp, publishRtmp, watchFlv } from './media.mjs';
import { freshName, millrace, program, sharedNode, startNode } from './node.mjs';
import { spared } from './takeover.mjs';

const CTL_MS = 60000; // workers one after the other, on a busy machine
const GAP_MS = 100; // docs/decisions/014-takeover.md
const ENCODERS_MAX = 12;

/** One command of ctl; its steps are documents. */
class Ctl {
  out = '';

  constructor(t, node, args) {
    this.process = spawn(program, ['ctl', '--connect', node.runDirectory, '--json', ...args],
      { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, E2E_RUN: RUN_ID } });
    this.process.stdout.setEncoding('utf8').on('data', (text) => { this.out += text; });
    this.end = new Promise((resolve) => this.process.once('close', (code, signal) => resolve(code ?? signal)));
    t.defer(() => this.process.kill('SIGKILL'));
  }

  get steps() { return this.out.split('\n').slice(0, -1).map((line) => JSON.parse(line)); }

  /** Its last document, and that the others announced it. */
  async last(status) {
    const ended = await within(CTL_MS, this.end, 'millrace ctl');
    const steps = this.steps;
    equal(ended, status, `exit status, after ${this.out}`);
    check(steps.slice(0, -1).every((step) => step.ok && step.more), () => `each but the last has more: ${this.out}`);
    check(!steps.at(-1).more, () => `the last has no more: ${this.out}`);
    equal(steps.at(-1).ok, !status, 'ok of the last');
    return status ? steps.at(-1).error : steps.at(-1).result;
  }
}

const ctl = (t, node, ...args) => new Ctl(t, node, args);
const done = (t, node, ...args) => ctl(t, node, ...args).last(0);
const fails = (t, node, ...args) => ctl(t, node, ...args).last(1);

const rowsOf = async (node, role) => (await node.repl('workers')).filter((row) => row.role === role);
const sessionsOn = async (node, worker) => (await node.worker('media', worker)).sessions;
const sessionsOf = async (node) => (await node.repl('actors session')).map((row) => row.addr).sort();
const pidsOf = async (node) => (await node.repl('workers')).map((row) => row.pid).filter((pid) => pid);
const programOf = (pid) => readlinkSync(`/proc/${pid}/exe`);

/** The same program under another name. */
function copyOf(node, name) {
  const path = join(node.base, name);
  copyFileSync(program, path);
  chmodSync(path, 0o755);
  return path;
}

// ---- words -------------------------------------------------------------------------------------

const wrong = [
  [[], 'expected a command'],
  [['fly'], 'no such command: fly'],
  [['status', 'now'], 'unexpected "now"'],
  [['status', '--wait', '1'], 'does not take --wait'],
  [['drain', 'maybe'], 'drain [on|off] [worker N | node NAME]'],
  [['drain', 'worker'], 'drain [on|off] [worker N | node NAME]'],
  [['drain', 'worker', '64'], 'drain [on|off] [worker N | node NAME]'],
  [['drain', 'off', 'worker', '-1'], 'unexpected "-1"'],
  [['drain', '--wait', 'long'], '--wait: expected seconds'],
  [['drain', '--wait'], 'unexpected "--wait"'],
  [['drain', '--binary', '/bin/true'], 'does not take --binary'],
  [['drain', 'node'], 'drain [on|off] [worker N | node NAME]'],
  [['drain', 'off', '--stop'], 'only a whole node'],
  [['drain', 'worker', '0', '--stop'], 'only a whole node'],
  [['status', '--stop'], 'does not take --stop'],
  [['workers'], 'workers N, from 1 to 64'],
  [['workers', '0'], 'workers N, from 1 to 64'],
  [['workers', '65'], 'workers N, from 1 to 64'],
  [['workers', '2x'], 'workers N, from 1 to 64'],
  [['upgrade', '--binary', '/nowhere/millrace'], 'there is no /nowhere/millrace'],
  [['upgrade', 'now'], 'unexpected "now"'],
  [['--colour', 'status'], 'unexpected "--colour"'],
];

test('wrong words are told, with exit status 2', async () => {
  const node = await sharedNode();
  for (const [args, text] of wrong) {
    const { status, out, err } = await millrace(['ctl', '--connect', node.runDirectory, ...args]);
    equal([status, out], [2, ''], `ctl ${args.join(' ')}: exit status, output`);
    check(err.includes(text), () => `ctl ${args.join(' ')}: no "${text}" in ${err}`);
  }
});

test('help, no node there, what the node refuses', async (t) => {
  const node = await sharedNode();
  const help = await millrace(['ctl', '--help']);
  equal(help.status, 0, 'help: exit status');
  for (const word of ['status', 'drain', 'workers', 'upgrade', '--wait', '--json']) check(help.out.includes(word), `no ${word} in the help`);
  const { status, err } = await millrace(['ctl', '--connect', join(node.base, 'nothing'), 'status']);
  equal(status, 3, 'nobody there: exit status');
  check(err.includes('no node runs'), () => err);
  equal((await fails(t, node, 'drain', 'worker', '9')).code, 'not_found', 'a worker that is not there');
  equal((await fails(t, node, 'drain', 'node', 'elsewhere')).code, 'not_found', 'a node that is not there');
  for (const command of ['scale', 'scale 0', 'scale 65', 'scale 3 wait x', 'upgrade millrace', 'upgrade x/y', 'operation before'])
    equal((await node.console(command)).error?.code, 'format', command);
});

test('status', async (t) => {
  const node = await sharedNode();
  const { node: about, workers } = await done(t, node, 'status');
  equal([about.node, about.state, about.pid], ['e2e', 'ready', node.pid], 'node');
  equal(workers.filter((row) => row.role === 'media').map((row) => row.worker), [0, 1], 'workers');
  const { out } = await millrace(['ctl', '--connect', node.runDirectory, 'status']);
  for (const word of ['e2e', 'media', 'holder', 'ready']) check(out.includes(word), () => `no ${word} in ${out}`);
});

// ---- drain -------------------------------------------------------------------------------------

test('drain worker N: takes nothing new, tells what is left, until it is empty', async (t) => {
  const node = await startNode(t);
  const publisher = await publishRtmp(t, node, freshName('drain'));
  const { worker } = await until('a worker has the session',
    async () => (await rowsOf(node, 'media')).find((row) => row.sessions));
  const other = 1 - worker;
  const late = await fails(t, node, 'drain', 'worker', `${worker}`, '--wait', '1');
  equal(late.code, 'timeout', 'sessions are left after a second');
  equal((await fails(t, node, 'drain', 'worker', `${other}`)).code, 'state', 'nobody else would take new ones');
  const drain = ctl(t, node, 'drain', 'worker', `${worker}`);
  await until('what is left', () => drain.steps[0]?.result.sessions === 1);
  await spared(node);
  const { pid } = await node.worker('media', worker);
  process.kill(pid, 'SIGKILL'); // who goes on drains too
  await until('its successor has the session', async () => {
    const row = await node.worker('media', worker);
    return row.pid !== pid && row.state === 'ready' && row.draining && row.sessions === 1;
  });
  for (let i = 0; i < 4; i++) await publishRtmp(t, node, freshName('other'), { audio: false, size: '160x90', rate: 5 });
  await until('new ones are with the other', async () => await sessionsOn(node, other) >= 4);
  equal(await sessionsOn(node, worker), 1, 'sessions of the worker that is drained');
  await publisher.stop();
  equal((await drain.last(0)).sessions, 0, 'sessions at its end');
  await done(t, node, 'drain', 'off', 'worker', `${worker}`);
  equal((await rowsOf(node, 'media')).map((row) => row.draining), [false, false], 'draining');
});

test('drain --stop: who is there is waited for, then the node stops', async (t) => {
  const node = await startNode(t, { workers: 1 });
  const publisher = await publishRtmp(t, node, freshName('drainstop'));
  const drain = ctl(t, node, 'drain', '--stop');
  await until('what is left', () => drain.steps[0]?.result.sessions === 1);
  await publisher.stop();
  const { stopped, sessions } = await drain.last(0);
  equal([stopped, sessions], [true, 0], 'the last step');
  await until('the node has stopped', () => node.exited);
  equal(node.exited.code, 0, 'its exit status');
});

test('drain: the whole node, and off', async (t) => {
  const node = await startNode(t, { workers: 1 });
  await done(t, node, 'drain');
  equal((await node.get('/readyz')).status, 503, 'readyz while it drains');
  await done(t, node, 'drain', 'off');
  equal((await node.get('/readyz')).status, 200, 'readyz');
});

// ---- workers -----------------------------------------------------------------------------------

const watchers = (t, node, name, count) =>
  new Load(t, ['whep', `${node.url}/whep/${name}`, '--count', `${count}`]);
const watching = (node, name, count) => until(`${count} watch`, async () =>
  (await node.streams()).find((stream) => stream.name === name)?.viewers >= count, 20000);

/** Encoders over RTMP, which no worker gives to another: as many as it takes until that worker has one. */
async function encodersUntil(t, node, worker) {
  const encoders = [];
  while (!(await node.repl('actors rtmp_session')).some((row) => row.worker === worker)) {
    check(encoders.length < ENCODERS_MAX, `none of ${ENCODERS_MAX} encoders is at worker ${worker}`);
    encoders.push(await publishRtmp(t, node, freshName('stays'), { audio: false, size: '160x90', rate: 5 }));
  }
  return encoders;
}

test('workers: 2, 3, 2 while people watch', async (t) => {
  const node = await startNode(t);
  const name = freshName('scale');
  const publisher = await publishRtmp(t, node, name);
  const flv = watchFlv(t, `${node.url}/${name}.flv`);
  await moreVideo(flv, 10);
  const early = watchers(t, node, name, 4);
  await watching(node, name, 5);
  equal((await done(t, node, 'workers', '3')).text, '3 workers', 'its last step');
  equal((await node.get('/readyz')).status, 200, 'readyz');
  const late = [];
  /* who starts is busy for a moment, and then the others are preferred */
  await until('the new worker has sessions', async () => {
    late.push(watchers(t, node, name, 3));
    await watching(node, name, 5 + 3 * late.length);
    return (await node.repl('actors session')).some((row) => row.worker === 2);
  }, 20000);
  const staying = await encodersUntil(t, node, 2);
  const fewer = ctl(t, node, 'workers', '2');
  await until('what is left is told', () => fewer.steps.some((step) => /^[1-9]\d* sessions? left$/.test(step.result?.text)), 20000);
  equal((await fails(t, node, 'workers', '4')).code, 'busy', 'one operation at a time');
  await Promise.all(staying.map((encoder) => encoder.stop()));
  for (const load of late) equal((await load.stop()).sessions.lost, 0, 'sessions lost of those that came late');
  equal((await fewer.last(0)).text, '2 workers', 'its last step');
  equal((await rowsOf(node, 'media')).length, 2, 'workers');
  equal((await rowsOf(node, 'holder')).length, 2, 'holders');
  equal((await node.get('/readyz')).status, 200, 'readyz');
  await moreVideo(flv, 10);
  equal((await early.stop()).sessions, { wanted: 4, connected: 4, failed: 0, lost: 0 }, 'those who were there all the time');
  equal([publisher.status, flv.backwards], [null, 0], 'publisher, FLV viewer');
}, { timeout_ms: 90000 });

/** A port P so that P and P + 1 are free and P + 2 is taken. */
async function takenPort(t) {
  const socket = dgram.createSocket('udp4');
  await new Promise((resolve) => { socket.bind(0, '127.0.0.1', resolve); });
  t.defer(() => socket.close());
  return socket.address().port - 2;
}

test('workers: a port that is taken changes nothing', async (t) => {
  const port = await takenPort(t);
  const node = await startNode(t, { args: ['--rtc-port', `${port}`] });
  const before = await pidsOf(node);
  const { message } = await fails(t, node, 'workers', '3');
  check(message.includes(`${port + 2}`), () => `no ${port + 2} in "${message}"`);
  equal((await rowsOf(node, 'media')).length, 2, 'workers');
  const after = await pidsOf(node);
  equal(before.filter((pid) => !after.includes(pid)), [], 'processes that went');
  equal((await node.get('/readyz')).status, 200, 'readyz');
});

// ---- upgrade -----------------------------------------------------------------------------------

/** Everything that runs is the program at `path`, and none of those that ran before. */
async function checkProgram(node, path, before) {
  equal(programOf(node.pid), path, 'program of the supervisor');
  await spared(node);
  const pids = await pidsOf(node);
  equal(pids.filter((pid) => programOf(pid) !== path), [], `processes of another program than ${path}`);
  equal(pids.filter((pid) => before.includes(pid)), [], 'processes from before');
}

/** A publisher over RTMP and viewers over RTMP, HTTP-FLV and WebRTC. */
class Audience {
  static async open(t, node, name, viewers) {
    const audience = new Audience();
    Object.assign(audience, { node, name, viewers });
    audience.publisher = await publishRtmp(t, node, name);
    audience.player = playRtmp(t, `${node.rtmp}/${name}`);
    audience.flv = watchFlv(t, `${node.url}/${name}.flv`);
    audience.load = watchers(t, node, name, viewers);
    await watching(node, name, viewers + 2);
    await audience.more();
    audience.sessions = await sessionsOf(node);
    return audience;
  }

  /** Further pictures are there. */
  async more() {
    const from = this.player.frames;
    await until('pictures over RTMP', () => this.player.frames > from + 10 || this.player.status !== null);
    equal([this.publisher.status, this.player.status], [null, null], 'RTMP publisher, RTMP player');
    await moreVideo(this.flv, 10);
    equal(this.flv.backwards, 0, 'times that ran backwards in FLV');
  }

  async checkSame() {
    equal(await sessionsOf(this.node), this.sessions, 'sessions, by address');
    await this.more();
  }

  /** The summary of those over WebRTC: all were there all the time. */
  async end() {
    const { viewers } = this, summary = await this.load.stop();
    equal(summary.sessions, { wanted: viewers, connected: viewers, failed: 0, lost: 0 }, 'WHEP viewers');
    return summary;
  }
}

test('upgrade, SIGUSR2: no session ends, a gap is that of a takeover', async (t) => {
  const node = await startNode(t);
  const audience = await Audience.open(t, node, freshName('upgrade'), 20);
  let before = await pidsOf(node);
  const path = copyOf(node, 'millrace-2');
  const { text } = await done(t, node, 'upgrade', '--binary', path);
  check(text.includes(path), () => text);
  await checkProgram(node, path, before);
  await audience.checkSame();

  /* as a package does: the file is another one, under the same name */
  before = await pidsOf(node);
  renameSync(copyOf(node, 'millrace-3'), path);
  process.kill(node.pid, 'SIGUSR2');
  await until('the second one is done', async () => {
    const { number, state } = await node.repl('operation');
    return number === 2 && state === 'done';
  }, CTL_MS);
  await checkProgram(node, path, before);
  await audience.checkSame();

  /* the holders of the new program have what those before them had */
  for (const worker of await rowsOf(node, 'media')) process.kill(worker.pid, 'SIGKILL');
  await checkProgram(node, path, before);
  await audience.checkSame();
  const { gap_ms } = await audience.end();
  t.note(`longest gap of a WHEP viewer: p50 ${gap_ms.p50} ms, p99 ${gap_ms.p99} ms`);
  atMost(gap_ms.p99, GAP_MS * patience(), 'gap of WHEP viewers, p99');
}, { timeout_ms: 120000 });

/** A script that answers for a program. */
function scriptOf(node, name, text) {
  const path = join(node.base, name);
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
}

test('upgrade: what does not pass its check changes nothing', async (t) => {
  const node = await startNode(t);
  await spared(node);
  const before = await pidsOf(node);
  const noProgram = join(node.base, 'text'), noCiphers = join(node.base, 'openssl.cnf');
  writeFileSync(noCiphers, ['openssl_conf = init', '[init]', 'providers = list', '[list]', 'null = on', '[on]', 'activate = 1', ''].join('\n'));
  writeFileSync(noProgram, 'no program\n');
  for (const [path, text] of [
    ['/bin/true', 'its check failed'], ['/bin/false', 'its check failed'], [node.base, 'cannot be started'],
    [noProgram, 'cannot be started'], [scriptOf(node, 'old', 'echo too new for this >&2; exit 1'), 'too new for this'],
    [scriptOf(node, 'dies', 'kill -9 $$'), 'its check did not end'],
    [scriptOf(node, 'unfit', `OPENSSL_CONF=${noCiphers} exec ${program} "$@"`), 'cannot run here'],
  ]) {
    const { code, message } = await fails(t, node, 'upgrade', '--binary', path);
    equal(code, 'failed', path);
    check(message.includes('nothing has changed') && message.includes(text), () => `${path}: ${message}`);
  }
  equal(programOf(node.pid), program, 'program of the supervisor');
  equal(await pidsOf(node), before, 'processes');
});

test('upgrade: a program that stops starting half way leaves the others as they are; the next try goes on', async (t) => {
  const node = await startNode(t);
  const audience = await Audience.open(t, node, freshName('half'), 4);
  const old = await node.worker('media', 1);
  const path = copyOf(node, 'millrace-2');
  const upgrade = ctl(t, node, 'upgrade', '--binary', path);
  await until('worker 0 is new', () => upgrade.steps.some((step) => step.result?.text.startsWith('worker 0: process')), CTL_MS);
  chmodSync(path, 0);
  const { message } = await upgrade.last(1);
  check(message.includes('worker 1') && message.includes('does not start'), () => message);
  equal((await node.worker('media', 1)).pid, old.pid, 'worker 1');
  equal((await node.get('/readyz')).status, 200, 'readyz');
  await audience.checkSame();
  chmodSync(path, 0o755);
  await done(t, node, 'upgrade');
  await checkProgram(node, path, [old.pid]);
  await audience.checkSame();
  await audience.end();
}, { timeout_ms: 120000 });
