// SPDX-License-Identifier: Apache-2.0
// Workers that die while their spares are ready: those are started after the node is.

import { until } from './harness.mjs';

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

/** Ends worker `number`, whose spare is ready, and waits until somebody serves in its place. */
export async function killWorker(node, number, signal = 'SIGKILL') {
  const spare = await until(`worker ${number} has a spare`, () => spareOf(node, number));
  const { pid } = await node.worker('media', number);
  process.kill(pid, signal);
  await until(`its spare is worker ${number}`, async () => {
    const now = await node.worker('media', number);
    return now.pid === spare.pid && now.state === 'ready';
  });
}
