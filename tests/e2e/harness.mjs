// SPDX-License-Identifier: Apache-2.0
// Tests, one after the other in one process, sharing a browser and a node where they can. A test
// gets `t`, which undoes what it started (in reverse order) whether the test passed or not.
// Nothing sleeps: until() waits for a condition with a deadline.

import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { slowness, watchSlowness } from './slowness.mjs';

const POLL_MS = 25;
const TEST_MS = 40000;
const UNDO_MS = 8000;
const SECOND_TRIES_MAX = 5;
const PATIENCE_MAX = 10;

/** In the environment of every process of this run, so that none is overlooked at the end. */
export const RUN_ID = randomBytes(8).toString('hex');
export const directory = mkdtempSync(join(tmpdir(), 'millrace-e2e-'));

const tests = [];
let file = '';

/** `skip`: why this machine cannot run it; empty when it can. */
export function test(name, body, { timeout_ms = TEST_MS, skip = '' } = {}) {
  tests.push({ name, body, timeout_ms, skip, file });
}

export class Failure extends Error {}

export function check(condition, text) {
  if (!condition) throw new Failure(typeof text === 'function' ? text() : text ?? 'expected something true');
}

export function equal(actual, expected, what = 'value') {
  const [have, want] = [actual, expected].map((value) => JSON.stringify(value));
  check(have === want, () => `${what}: expected ${want}, got ${have}`);
}

export function atLeast(actual, bound, what = 'value') {
  check(actual >= bound, () => `${what}: expected at least ${bound}, got ${actual}`);
}

export function atMost(actual, bound, what = 'value') {
  check(actual <= bound, () => `${what}: expected at most ${bound}, got ${actual}`);
}

const turn = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Bounds and deadlines hold on a machine that has nothing else to do; one that is overloaded or slow gets
 *  this many times as long (1 when each processor has at most three that want it: a node, ffmpeg, Chromium;
 *  or when work takes at most three times as long as alone). */
export const patience = () => Math.min(PATIENCE_MAX, Math.max(1, loadavg()[0] / (3 * cpus().length), slowness() / 3));

/** Of what must not happen at all: how often it may where work waits for a processor, `times` as often as not. */
export const leeway = (times = 1) => (patience() > 1 ? Math.ceil(times * patience()) : 0);

/** Calls `condition` until what it gives is true (or it stops throwing), and returns that. */
export async function until(what, condition, deadline_ms = 10000) {
  const start = performance.now();
  let last;
  for (;;) {
    try {
      last = await condition();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    const passed_ms = performance.now() - start;
    if (passed_ms > deadline_ms && passed_ms > deadline_ms * patience()) {
      const seen = last instanceof Error ? last.message : JSON.stringify(last);
      throw new Failure(`after ${Math.round(passed_ms)} ms still not: ${what} (last: ${seen?.slice(0, 800)})`);
    }
    await turn(POLL_MS);
  }
}

/** Milliseconds until the condition held. */
export async function timeUntil(what, condition, deadline_ms) {
  const start = performance.now();
  await until(what, condition, deadline_ms);
  return Math.round(performance.now() - start);
}

/** Some of the items at a time: what all need at once a small machine does not have. */
export async function inTurns(items, at_once, work) {
  for (let i = 0; i < items.length; i += at_once) await Promise.all(items.slice(i, i + at_once).map(work));
}

/** The same, or it fails when it is not there in time. */
export async function within(ms, promise, what) {
  const start = performance.now();
  let timer;
  const late = new Promise((_, reject) => {
    const look = () => {
      const passed_ms = performance.now() - start;
      const left_ms = ms * patience() - passed_ms;
      if (left_ms > 0) timer = setTimeout(look, left_ms);
      else reject(new Failure(`${what}: not done after ${Math.round(passed_ms)} ms`));
    };
    timer = setTimeout(look, ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What undoes, at the end, whatever was started with it. */
export class Context {
  #undo = [];
  notes = [];

  /** Run at the end of the test, the last one first. */
  defer(undo) {
    this.#undo.push(undo);
  }

  /** A figure worth seeing in the output of a test that passes. */
  note(text) {
    this.notes.push(text);
  }

  async close() {
    const problems = [];
    for (const undo of this.#undo.reverse()) {
      try {
        await within(UNDO_MS, Promise.resolve(undo()), 'cleaning up');
      } catch (error) {
        problems.push(error);
      }
    }
    return problems[0];
  }
}

const shared = [];

/** Something made once for all tests, and given back after the last: () => Promise of it. */
export function share(make, end) {
  let promise = null;
  return async () => {
    if (!promise) {
      promise = make();
      promise.catch(() => { promise = null; });
      shared.unshift(async () => end(await promise));
    }
    return promise;
  };
}

/** Pids of this run other than its own, that carry `id` in their environment. */
export function processesOf(id) {
  const found = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number)) {
    if (pid === process.pid) continue;
    try {
      const status = readFileSync(`/proc/${pid}/stat`, 'utf8');
      if (status.slice(status.lastIndexOf(')') + 2)[0] === 'Z') continue;
      if (readFileSync(`/proc/${pid}/environ`, 'latin1').includes(id)) found.push(pid);
    } catch { /* gone, or not ours */ }
  }
  return found;
}

/** SIGKILL to all of them; whoever has gone meanwhile is fine. */
export function killAll(pids) {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
  }
}

function report(entry, error, took_ms, notes) {
  const name = `${entry.file}: ${entry.name}`;
  const detail = notes.length ? `  [${notes.join(', ')}]` : '';
  console.log(`${error ? 'FAILED' : 'ok    '}  ${name}  (${(took_ms / 1000).toFixed(1)} s)${detail}`);
  if (!error) return;
  console.log(`        work takes ${slowness().toFixed(1)} times as long as usual, load average ${loadavg()[0].toFixed(1)}`);
  const text = error instanceof Failure ? error.message : error.stack;
  const at = error.stack?.split('\n').find((line) => /\/e2e\/(proof|[a-z_]+\.test)\.mjs/.test(line));
  console.log(`${text}${error instanceof Failure && at ? `\n${at}` : ''}`.replace(/^/gm, '        '));
}

async function runOne(entry) {
  const start = performance.now();
  const t = new Context();
  let failed = null;
  try {
    await within(entry.timeout_ms, entry.body(t), `test "${entry.name}"`);
  } catch (error) {
    failed = error;
  }
  failed ??= await t.close();
  if (failed) await t.close();
  report(entry, failed, performance.now() - start, t.notes);
  return !failed;
}

async function nothingLeft() {
  for (const end of shared) await end().catch((error) => console.log(`ending: ${error.message}`));
  await until('every process has ended', () => !processesOf(RUN_ID).length, 5000).catch((error) => {
    for (const pid of processesOf(RUN_ID)) {
      let line = '(it has just gone)';
      try {
        line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').slice(0, 120);
      } catch { /* gone */ }
      console.log(`        left behind: ${pid} ${line}`);
      killAll([pid]);
    }
    throw error;
  });
}

/** Runs the tests of these files, prints a line each; returns the exit status. */
export async function main(files, words) {
  for (const name of files) {
    file = name.replace(/\.test\.mjs$/, '');
    await import(`./${name}`);
  }
  const chosen = tests.filter((entry) =>
    !words.length || words.some((word) => `${entry.file}: ${entry.name}`.includes(word)));
  watchSlowness();
  const count = { passed: 0, failed: 0 };
  const skipped = [];
  const start = performance.now();
  // Browsers, encoders and clocks on two processors: a test that fails is tried once more, a few of
  // them a run, and said so. What fails twice has failed; many failures are not bad luck.
  const again = [];
  let most = 1;
  for (const entry of chosen) {
    if (entry.skip) {
      skipped.push(entry);
      console.log(`SKIPPED ${entry.file}: ${entry.name}\n        ${entry.skip}`);
      continue;
    }
    let passed = await runOne(entry);
    most = Math.max(most, patience());
    if (!passed && again.length < SECOND_TRIES_MAX) {
      again.push(`${entry.file}: ${entry.name}`);
      console.log('        once more');
      passed = await runOne(entry);
    }
    count[passed ? 'passed' : 'failed']++;
  }
  const last = { file: 'run', name: 'no process is left behind', body: nothingLeft, timeout_ms: 30000 };
  count[await runOne(last) ? 'passed' : 'failed']++;
  if (process.env.E2E_KEEP || count.failed) console.log(`logs: ${directory}`);
  else rmSync(directory, { recursive: true });
  if (most > 1) console.log(`this machine is slow or overloaded: bounds were up to ${most.toFixed(1)} times as long`);
  if (again.length) console.log(`tried twice: ${again.join('; ')}`);
  if (skipped.length) console.log(`${skipped.length} SKIPPED: ${[...new Set(skipped.map((entry) => entry.skip))].join('; ')}`);
  console.log(`took ${Math.round((performance.now() - start) / 1000)} s`);
  console.log(`${count.passed} passed, ${count.failed} failed`);
  return count.failed ? 1 : 0;
}
