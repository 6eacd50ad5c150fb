// SPDX-License-Identifier: Apache-2.0
// Who plans the paths of a cluster: one of its nodes, the same for all, and what follows when it dies.

import { atMost, check, patience, test, timeUntil, until } from './harness.mjs';
import { agreed, Cluster } from './cluster.mjs';

const wait = { timeout_ms: 90000 };

const LEASE_MS = 3500; // as etcd ends it
const ELECTED_MS = 1000; // from there to a plan
const YOUNG_MS = 10000; // cluster/brain_actor.c: processes that have just begun wait longer

test('one node of a cluster plans the paths, and another term begins when its control process is killed', async (t) => {
  const cluster = await Cluster.start(t, { nodes: 3 });
  const first = await agreed(cluster.nodes);
  check(first.term > 0 && first.since, () => `no term in ${JSON.stringify(first)}`);
  const ways = await cluster.nodes[1].repl('path a b');
  check(Array.isArray(ways), () => `path a b: ${JSON.stringify(ways)}`);
  const brain = cluster.nodes.find((node) => node.node_id === first.brain);
  process.kill((await brain.worker('control')).pid, 'SIGKILL');
  let second;
  await until('a brain of a later term', async () => (second = await agreed(cluster.nodes)).term > first.term, 60000);
  check(second.nodes >= 3, () => `after ${JSON.stringify(first)}: ${JSON.stringify(second)}`);
}, wait);

test('the node that plans is killed: another plans a second after the lease has ended', async (t) => {
  const began = performance.now();
  const cluster = await Cluster.start(t, { nodes: 4 });
  const first = await agreed(cluster.nodes);
  await until('they have run for a while', () => performance.now() - began > 2 * YOUNG_MS, 3 * YOUNG_MS);
  const brain = cluster.nodes.find((node) => node.node_id === first.brain);
  const [other] = cluster.nodes.filter((node) => node !== brain);
  brain.process.kill('SIGKILL');
  const took_ms = await timeUntil('another plans', async () => {
    const row = await other.repl('brain').catch(() => ({}));
    return row.brain !== first.brain && row.phase === 'planning';
  }, 60000);
  t.note(`another plans ${took_ms} ms after the node that did was killed`);
  atMost(took_ms, (LEASE_MS + ELECTED_MS) * patience(), 'ms until another plans');
  check((await agreed(cluster.nodes.filter((node) => node !== brain))).nodes >= 3, 'it has heard of all');
}, wait);
