// SPDX-License-Identifier: Apache-2.0
// Workers that die while their spares are ready: those are started after the node is.

import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { check, until } from './harness.mjs';

export const WORKERS = 2;
/* more deaths in 10 s than a node in service would put up with */
export const PATIENT = ['--worker-restart-intensity', '1000'];

const spareOf = async (node, worker) =>
  (await node.repl('workers')).find((row) => row.role === 'spare' && row.worker === worker && row.state === 'ready');

/** Nothing is left to be started. */
export const spared = (node) => until('each worker has a spare', async () => {
  const rows = await node.repl('workers');
  const workers = rows.filter((row) => row.role === 'media');
  return workers.length && workers.every(({ worker }) =>
    rows.some((row) => row.role === 'spare' && row.worker === worker && row.state === 'ready'));
}, 20000);

/* a jump to itself */
const ROUND = { x64: [0xeb, 0xfe], arm64: [0, 0, 0, 0x14] };

/** The process goes round in one place for ever from its next instruction on, as in a handler that does not
 *  return: that is written over the code behind the system call that it waits in. */
export async function spin(pid) {
  const jump = ROUND[process.arch];
  check(jump, () => `no jump is known for ${process.arch}`);
  const call = () => readFileSync(`/proc/${pid}/syscall`, 'utf8').trim(); // its number, arguments, stack, where it goes on
  const waits = await until(`process ${pid} waits in a system call`, () => { const now = call(); return now !== 'running' && now; });
  const memory = openSync(`/proc/${pid}/mem`, 'r+');
  writeSync(memory, Buffer.from(jump), 0, jump.length, Number(waits.split(' ').at(-1)));
  closeSync(memory);
}

/** Ends worker `number`, whose spare is ready, and waits until somebody serves in its place. `signal`: or what is
 *  done to its process. */
export async function killWorker(node, number, signal = 'SIGKILL') {
  const spare = await until(`worker ${number} has a spare`, () => spareOf(node, number));
  const { pid } = await node.worker('media', number);
  if (typeof signal === 'function') await signal(pid);
  else process.kill(pid, signal);
  await until(`its spare is worker ${number}`, async () => {
    const now = await node.worker('media', number);
    return now.pid === spare.pid && now.state === 'ready';
  });
}
