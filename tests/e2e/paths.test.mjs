// SPDX-License-Identifier: Apache-2.0
// Who plans the paths of a cluster: one of its nodes, the same for all, and what follows when it dies.

import { check, test, until } from './harness.mjs';
import { Cluster } from './cluster.mjs';

const wait = { timeout_ms: 90000 };

/** What `brain` says at each node, when all say the same and that one has heard of all. */
async function agreed(nodes) {
  let said;
  await until('all nodes name one brain that has heard of all', async () => {
    said = await Promise.all(nodes.map((node) => node.repl('brain').catch(() => ({}))));
    return said.every((row) => row.brain && row.brain === said[0].brain && row.phase === 'planning' &&
      row.nodes >= nodes.length) && nodes.some((node) => node.node_id === said[0].brain);
  }, 40000);
  return said[0];
}

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
