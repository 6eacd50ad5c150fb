// SPDX-License-Identifier: Apache-2.0
// How much longer than usual a piece of work takes here. The load average does not see a slow processor, one
// that a hypervisor shares out, or a quota of the container: a thread that does the same small work again and
// again does, and it sees what it waits for its turn.

import { isMainThread, Worker, workerData } from 'node:worker_threads';

const EACH_MS = 200;
const ROUNDS = 1000000;
const WORK_MS = 1.5; // they take that where the bounds of the tests were chosen, alone on a processor
const KEPT = 100; // times, of the last 20 s

function work() {
  let x = 1;
  for (let i = 0; i < ROUNDS; i++) x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) + i | 0;
  return x;
}

/** For ever: each time from when it was due until it was done. */
function measure(times) {
  const never = new Int32Array(new SharedArrayBuffer(4));
  for (let i = 0; i < 10; i++) work(); // until it is compiled
  for (let i = 0; ; i = (i + 1) % KEPT) {
    const due = performance.now() + EACH_MS;
    Atomics.wait(never, 0, 0, EACH_MS);
    work();
    times[i] = performance.now() - due;
  }
}

let times = null;

/** From now on until this process ends; costs less than one per cent of a processor. */
export function watchSlowness() {
  times = new Float64Array(new SharedArrayBuffer(8 * KEPT));
  new Worker(new URL(import.meta.url), { workerData: { times } }).unref();
}

/** Times that a piece of work takes as long as alone on a usual processor, on average of the last 20 s; 1 if
 *  nobody watches. */
export function slowness() {
  const done = times?.filter((ms) => ms > 0) ?? [];
  return done.length ? Math.max(1, done.reduce((sum, ms) => sum + ms, 0) / done.length / WORK_MS) : 1;
}

if (!isMainThread && workerData?.times) measure(workerData.times);
