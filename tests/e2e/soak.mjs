// SPDX-License-Identifier: Apache-2.0
// `./dev soak`: a node under load that changes all the time: publishers and viewers of every protocol
// come, go and vanish, garbage arrives at every port, processes are killed. In rounds of a minute, each
// with a quiet moment at its end; what a process holds in the quiet moments of the last third must not
// grow any more (BOUNDS). Before that third anything is killed, in it only the last worker, so that
// the others have a life long enough to judge.
//
//   node soak.mjs [--minutes N] [--seed N]     default 120 minutes; ends in "N passed, N failed"
//
// Samples go to build/soak.jsonl, the picture to build/soak.svg (MILLRACE_WRITE_DOCS=1: docs/soak.svg).

import { spawn } from 'node:child_process';
import dgram from 'node:dgram';
import { appendFileSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { directory, patience, processesOf, RUN_ID, until } from './harness.mjs';
import { raw } from './http.mjs';
import { Node, program } from './node.mjs';
import { draw, growths } from './soak_plot.mjs';

const ROUND_S = 60;
const BUSY_S = 40;
const SAMPLE_MS = 5000;
const VIEWER_RUNS_MAX = 4;
const QUIET_MS = 30000;
const MIB = 1024;
const build = new URL('../../build/', import.meta.url).pathname;
const drawing = process.env.MILLRACE_WRITE_DOCS ? new URL('../../docs/soak.svg', import.meta.url).pathname : `${build}soak.svg`;

// What quiet moments may differ by over the last third, by the fitted line: the heap by what glibc
// keeps after a burst, shared memory by slots that the first bursts had not touched yet, descriptors
// by a connection that is just closing.
const BOUNDS = {
  anonymous_kb: (mean) => 2 * MIB + 0.03 * mean,
  shared_kb: (mean) => 2 * MIB + 0.05 * mean,
  descriptors: () => 2,
};

function argument(name, fallback) {
  const at = process.argv.indexOf(`--${name}`);
  const value = at < 0 ? fallback : Number(process.argv[at + 1]);
  if (!Number.isInteger(value) || value < 1) {
    console.error(`soak: --${name}: expected a whole number from 1`);
    process.exit(2);
  }
  return value;
}

const minutes = argument('minutes', 120);
const seed = argument('seed', 1 + (Date.now() % 1000000));
if (minutes < 6) {
  console.error('soak: expected at least 6 minutes: the last third needs more than one quiet moment');
  process.exit(2);
}

// mulberry32: a run's choices repeat with its seed (what the machine makes of them does not)
let state = seed;
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const between = (low, high) => low + Math.floor(random() * (high - low + 1));
const pick = (list) => list[between(0, list.length - 1)];
const bytes = (size) => Buffer.from(Array.from({ length: size }, () => between(0, 255)));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// ---- load

const count = { runs: 0, garbage: 0, kills: 0, vanished: 0 };
const running = new Set();

/** `millrace load`; one in eight vanishes without a word. Resolves with its exit status. */
function load(kind, url, seconds, ...more) {
  return start(kind, url, seconds, more, random() < 0.125);
}

function start(kind, url, seconds, more, vanishes) {
  const child = spawn(program, ['load', kind, url, '--duration', `${seconds}s`, ...more],
    { stdio: 'ignore', env: { ...process.env, E2E_RUN: RUN_ID } });
  count.runs++;
  const vanish = vanishes && setTimeout(() => { count.vanished++; child.kill('SIGKILL'); }, seconds * 500);
  running.add(child);
  return new Promise((resolve) => child.once('exit', (status) => {
    clearTimeout(vanish);
    running.delete(child);
    resolve(status);
  }));
}

const STREAMS = ['a', 'b', 'w'];

async function publish(node, name, until_ms) {
  while (performance.now() < until_ms - 5000) {
    const seconds = Math.min(between(8, 40), Math.floor((until_ms - performance.now()) / 1000));
    if (name === 'w') await load('whip', `${node.url}/whip/live/w`, seconds, '--rate', '600k');
    else await load('rtmp', `${node.rtmp}/live/${name}`, seconds, '--rate', '600k');
    await pause(between(100, 3000));
  }
}

async function watch(node, until_ms) {
  while (performance.now() < until_ms - 2000) {
    const name = pick(STREAMS);
    const seconds = Math.min(between(1, 12), Math.floor((until_ms - performance.now()) / 1000));
    const [kind, url, ...more] = pick([
      ['whep', `${node.url}/whep/live/${name}`], ['whep', `${node.url}/whep/live/${name}?wait=1`],
      ['flv', `${node.url}/live/${name}.flv`], ['rtmp', `${node.rtmp}/live/${name}`, '--play']]);
    await load(kind, url, seconds, '--count', `${between(1, 12)}`, ...more);
    await pause(between(50, 1000));
  }
}

async function garbage(node, until_ms) {
  const udp = dgram.createSocket('udp4');
  while (performance.now() < until_ms - 3000) {
    const address = pick([node.ready.http, node.ready.rtmp, ...node.ready.rtc]);
    const head = pick(['', 'GET / HTTP/1.1\r\nHost:', 'POST /whip/live/x HTTP/1.1\r\nContent-Length: 99\r\n\r\n', '\x03', '\x16\xfe\xff']);
    await raw(address, Buffer.concat([Buffer.from(head, 'latin1'), bytes(between(0, 2000))]), between(10, 800));
    const [host, port] = pick(node.ready.rtc).split(':');
    for (let i = between(1, 20); i > 0; i--) udp.send(bytes(between(1, 1400)), Number(port), host);
    count.garbage++;
    await pause(between(50, 800));
  }
  udp.close();
}

async function kill(node, wanted) {
  const victim = sample(node).processes.find((process) => process.name === wanted);
  if (!victim) return;
  process.kill(victim.pid, 'SIGKILL');
  count.kills++;
  await until(`${wanted} is back`, () => sample(node).processes.some((process) =>
    process.name === wanted && process.pid !== victim.pid), 15000);
}

// ---- samples

const started = performance.now();
const samples = [];
let sessions = 0;

function figures(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const number = (key) => Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(status)[1]);
  return { resident_kb: number('VmRSS'), anonymous_kb: number('RssAnon'), shared_kb: number('RssShmem'),
    descriptors: readdirSync(`/proc/${pid}/fd`).length };
}

/** What every process of the node holds now; its children carry their name as the last argument. */
function sample(node) {
  const processes = [];
  for (const pid of node.processes()) {
    try {
      const name = pid === node.pid ? 'supervisor' : readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').at(-2);
      processes.push({ name, pid, ...figures(pid) });
    } catch { /* it has just ended */ }
  }
  return { at: (performance.now() - started) / 1000, sessions, processes };
}

async function countSessions(node) {
  sessions = (await node.json('/api/v1/sessions')).sessions.length;
  return sessions;
}

async function keepSampling(node, going) {
  while (going.on) {
    await countSessions(node).catch(() => {}); // the control process may just be dead
    samples.push(sample(node));
    appendFileSync(`${build}soak.jsonl`, `${JSON.stringify(samples.at(-1))}\n`);
    await pause(SAMPLE_MS);
  }
}

/** Waits until nobody is there, and says what the node holds then. */
async function quiet(node) {
  for (const child of running) child.kill('SIGTERM');
  await until('every client has ended', () => !running.size, QUIET_MS);
  await until('no session and no stream is left', async () =>
    await countSessions(node) === 0 && (await node.streams()).length === 0, QUIET_MS);
  return sample(node);
}

// ---- the run

async function round(node, number, rounds) {
  const end = performance.now() + BUSY_S * 1000;
  const judged = number >= Math.floor(rounds * 2 / 3);
  const work = [...STREAMS.map((name) => publish(node, name, end)), garbage(node, end)];
  for (let i = 0; i < VIEWER_RUNS_MAX; i++) work.push(watch(node, end));
  await pause(between(5, 20) * 1000);
  await kill(node, judged ? 'media.1' : ['media.1', 'helper.0', 'media.0', 'control.0', 'holder.1'][number % 5]);
  await Promise.all(work);
  return quiet(node);
}

const results = [];
function verdict(name, passed, detail = '') {
  results.push(passed);
  console.log(`${passed ? 'ok    ' : 'FAILED'}  soak: ${name}${detail ? `  [${detail}]` : ''}`);
}

function judge(node, moments) {
  const late = moments.slice(Math.floor(moments.length * 2 / 3));
  const rows = growths(late, BOUNDS);
  for (const row of rows) {
    const unit = row.figure === 'descriptors' ? '' : ' kB';
    verdict(`${row.name}: ${row.figure} of ${late.length} quiet moments`, row.growth <= row.bound,
      `${row.from} to ${row.to}${unit}, fitted growth ${Math.round(row.growth)}, at most ${Math.round(row.bound)}`);
  }
  const names = new Set(rows.map((row) => row.name));
  for (const name of ['supervisor', 'control.0', 'media.0', 'holder.0', 'helper.0'])
    if (!names.has(name)) verdict(`${name} lived through the last third`, false);
  const died = (node.log.match(/ process_died /g) ?? []).length;
  const stuck = (node.log.match(/ process_killed .*reason=stuck/g) ?? []).length;
  // a machine with other work can make a healthy process late
  verdict('no process died but those that were killed', died - stuck <= count.kills && (!stuck || patience() > 1),
    `${count.kills} killed here, ${died} died, ${stuck} of them replaced as stuck`);
}

async function soak() {
  const node = await Node.start({ args: ['--webrtc-consent-ms', '5s', '--stream-publisher-grace-ms', '2s',
    '--http-idle-ms', '5s', '--worker-restart-intensity', '1000'] });
  const going = { on: true };
  const sampling = keepSampling(node, going);
  const rounds = Math.floor((minutes * 60) / ROUND_S);
  const moments = [];
  for (let number = 0; number < rounds; number++) {
    const next = performance.now() + ROUND_S * 1000;
    moments.push(await round(node, number, rounds));
    console.error(`round ${number + 1} of ${rounds}: ${JSON.stringify(count)}`);
    await pause(Math.max(0, next - performance.now()));
  }
  const publisher = start('rtmp', `${node.rtmp}/live/last`, 12, [], false);
  await until('the last stream is there', async () => (await node.streams()).length, 10000);
  verdict('it serves as at the beginning', await start('whep', `${node.url}/whep/live/last`, 3, ['--count', '5'], false) === 0
    && await publisher === 0);
  going.on = false;
  await sampling;
  judge(node, moments);
  verdict('it stops in order', (await node.stop()).code === 0);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => {
    for (const pid of processesOf(RUN_ID)) process.kill(pid, 'SIGKILL');
    process.exit(1);
  });
console.log(`soak: ${minutes} minutes, seed ${seed}`);
rmSync(`${build}soak.jsonl`, { force: true });
try {
  await soak();
} catch (error) {
  verdict(error.message, false);
  console.log(`logs: ${directory}`);
}
for (const pid of processesOf(RUN_ID)) process.kill(pid, 'SIGKILL');
if (samples.length) {
  writeFileSync(drawing, draw(samples, [['resident memory, MiB', (p) => p.resident_kb / MIB],
    ['of it the heap, MiB', (p) => p.anonymous_kb / MIB], ['descriptors', (p) => p.descriptors]],
  `${minutes} minutes, ${count.runs} client runs, ${count.vanished} of them vanished, ${count.kills} kills, ${count.garbage} bursts of garbage; judged: the shaded third`));
  console.log(`drawn: ${drawing}`);
}
const failed = results.filter((passed) => !passed).length;
if (!failed) rmSync(directory, { recursive: true });
console.log(`${results.length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
