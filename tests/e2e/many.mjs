// SPDX-License-Identifier: Apache-2.0
// `tests/e2e/run --many`: more nodes than keep a channel to every other (decision 20), on the loopback: a
// stream of one is played at ten others. Before that: what the nodes cost while nothing happens.
//
//   E2E_NODES=80   how many

import { readdirSync, readFileSync } from 'node:fs';
import { check, inTurns, test, timeUntil, until } from './harness.mjs';
import { Cluster } from './cluster.mjs';
import { moreVideo, publishRtmp, watchFlv } from './media.mjs';
import { freshName } from './node.mjs';

const NODES = Number(process.env.E2E_NODES ?? 80);
const AT_ONCE = 4; // that start
const VIEWERS = 10;
const SMALL = ['--worker-spare', 'false', '--helper-count', '0', '--tier', 'edge'];
const DEADLINE_MS = 300000;
const SETTLE_MS = 20000; // until what a start has set off is over
const REST_MS = 10000; // looked at while nothing happens

/** Resident memory of the nodes without what they share, MB. */
function memory(nodes) {
  let kb = 0;
  for (const pid of nodes.flatMap((node) => node.processes()))
    kb += Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1] ?? 0);
  return Math.round(kb / 1024);
}

/** Processor time that threads of processes have had, us: { name of the process: of all nodes }. */
function used(nodes) {
  const sums = {};
  for (const pid of nodes.flatMap((node) => node.processes())) {
    const [, role = 'supervisor'] = /^mr-([a-z]+)-/.exec(readFileSync(`/proc/${pid}/comm`, 'latin1')) ?? [];
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const [ns] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ');
      sums[role] = (sums[role] ?? 0) + Number(ns) / 1000;
    }
  }
  return sums;
}

const pause = (ms) => {
  const began = performance.now();
  return until('a while', () => performance.now() - began >= ms, 2 * ms);
};

/** Microseconds of processor time a second and node while nothing happens, by process. */
async function restCost(nodes) {
  await pause(SETTLE_MS);
  const [before, began] = [used(nodes), performance.now()];
  await pause(REST_MS);
  const [after, seconds] = [used(nodes), (performance.now() - began) / 1000];
  const roles = Object.keys(after).map((role) => [role, Math.round((after[role] - (before[role] ?? 0)) / seconds / nodes.length)]);
  return `${roles.reduce((sum, [, us]) => sum + us, 0)} us (${roles.map((row) => row.join(' ')).join(', ')})`;
}

test(`${NODES} nodes on the loopback, and a stream of one at ${VIEWERS} others`, async (t) => {
  const cluster = await Cluster.start(t, { nodes: 0, found: false });
  t.defer(() => Promise.all(cluster.nodes.map((node) => node.stop())));
  const began = performance.now();
  await inTurns(Array.from({ length: NODES }, (_, i) => i), AT_ONCE, (i) =>
    cluster.add({ name: `n${i}`, args: i < 3 ? [...SMALL, '--tier', 'core'] : SMALL }));
  t.note(`started in ${((performance.now() - began) / 1000).toFixed(0)} s`);
  const took = await timeUntil('each knows all others', async () => {
    for (const node of cluster.nodes) {
      const rows = await node.repl('nodes');
      if (rows.length !== NODES) throw new Error(`${node.name}: ${rows.length}`);
    }
    return true;
  }, DEADLINE_MS);
  const states = {};
  for (const node of cluster.nodes)
    for (const { state } of (await node.repl('nodes')).slice(1)) states[state] = (states[state] ?? 0) + 1;
  t.note(`known after ${(took / 1000).toFixed(1)} s more: ${JSON.stringify(states)}`);
  t.note(`${memory(cluster.nodes)} MB`);
  t.note(`at rest, processor time a second and node: ${await restCost(cluster.nodes)}`);

  const name = freshName('many');
  const [first] = cluster.nodes;
  await publishRtmp(t, first, name);
  const step = Math.floor((NODES - 1) / VIEWERS);
  const viewers = Array.from({ length: VIEWERS }, (_, i) => watchFlv(t, `${cluster.nodes[1 + i * step].url}/${name}.flv`));
  for (const viewer of viewers) await moreVideo(viewer, 60, 60000);
  t.note(`first picture after ${viewers.map((viewer) => Math.round(viewer.first_ms)).join(' ')} ms`);
  const brain = await until('a brain that has heard of all', async () => {
    const said = await first.repl('brain');
    return said.nodes === NODES ? said : Promise.reject(new Error(JSON.stringify(said)));
  }, DEADLINE_MS);
  t.note(`brain: ${brain.nodes} nodes, ${brain.links} links`);
  check(viewers.every((viewer) => !viewer.backwards), 'no picture out of order');
}, { timeout_ms: 3 * DEADLINE_MS });
