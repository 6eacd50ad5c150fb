// SPDX-License-Identifier: Apache-2.0
// Nodes of a cluster that have one, two and three workers: a link joins a worker with the one of the same
// number, or with the first where there is none.

import { atMost, check, equal, patience, test, until } from './harness.mjs';
import { Cluster } from './cluster.mjs';
import { checkWhole, Lab } from './lab.mjs';
import { moreVideo, publishRtmp, watchFlv } from './media.mjs';
import { Network } from './namespaces.mjs';
import { freshName } from './node.mjs';
import { spared } from './takeover.mjs';
import { between } from './topology.mjs';

const WORKERS = { a: 1, b: 2, c: 3 };
const SMALL = { size: '160x90' }; // many encoders
const FIRST_MS = 20000;
const TRIES_MAX = 40; // publishers, until each of three workers has one: all but once in a million rounds
const SETTLED = 30; // pictures
const UNDISTURBED_MS = 500; // no pause at all, but this machine has other work

/** The actors of a stream at a node: { worker, replica, source }. */
async function copies(node, name) {
  const rows = await node.repl(`actors stream where name ~ ${name}`);
  return Promise.all(rows.filter((row) => row.name.endsWith(name)).map(async ({ addr, worker }) =>
    ({ worker, ...(await node.repl(`inspect ${addr}`)).state })));
}

/** A stream at each worker of a node, which spreads its publishers: names by worker. */
async function publishEverywhere(t, node, workers) {
  const names = [];
  for (let i = 0; i < TRIES_MAX && Object.keys(names).length < workers; i++) {
    const name = freshName(`of-${node.name}`);
    const publisher = await publishRtmp(t, node, name, SMALL);
    const [{ worker }] = await copies(node, name);
    if (names[worker]) await publisher.stop();
    else names[worker] = name;
  }
  equal(Object.keys(names).length, workers, `workers of ${node.name} that took a publisher`);
  return names;
}

test('nodes of one, two and three workers: what is published at any worker plays at all nodes, copied there once', async (t) => {
  const cluster = await Cluster.start(t, { nodes: 0 });
  for (const [name, workers] of Object.entries(WORKERS)) await cluster.add({ name, workers });
  await cluster.complete();
  for (const from of cluster.nodes) {
    const names = await publishEverywhere(t, from, WORKERS[from.name]);
    const others = cluster.nodes.filter((node) => node !== from);
    const viewers = others.flatMap((node) => names.flatMap((name) =>
      Array.from({ length: WORKERS[node.name] }, () => watchFlv(t, `${node.url}/${name}.flv`))));
    for (const viewer of viewers) await moreVideo(viewer, SETTLED, FIRST_MS);
    equal(viewers.filter((viewer) => viewer.closed || viewer.backwards || viewer.repeats).length, 0, 'viewers that ended, saw a picture twice or out of order');
    for (const node of others)
      for (const name of names) {
        const all = await copies(node, name);
        const outside = all.filter(({ source }) => !source.startsWith(node.node_id));
        equal(outside.length, 1, `of ${all.length} copies of ${name} at ${node.name} those that come from another node`);
      }
    t.note(`${from.name}: ${names.length} streams, ${viewers.length} viewers`);
    viewers.forEach((viewer) => viewer.close());
  }
}, { timeout_ms: 240000 });

const nodes = ['a', 'b', 'c'].map((name) => ({ name, region: 'here', tier: name === 'b' ? 'core' : 'edge', cost: 0, capacity_bps: 0 }));
const overB = { nodes, links: [...between('a', 'b', 10), ...between('b', 'c', 10), ...between('a', 'c', 60, 3, 3)] };

test('a worker of the relay is killed, and then the one that the viewers have: each time nothing is missing', async (t) => {
  const lab = await Lab.start(t, { topology: overB, workers: WORKERS });
  const stream = freshName('relayed');
  await lab.planIs('a', 'c', ['a', 'b', 'c']);
  await lab.publish(t, 'a', stream, SMALL);
  const viewer = lab.watch(t, 'c', stream);
  await moreVideo(viewer, SETTLED, FIRST_MS);
  await lab.chainIs('c', stream, ['c', 'b', 'a']);
  for (const name of ['b', 'c']) {
    const node = lab.node(name);
    const entry = (await copies(node, stream)).find(({ source }) => !source.startsWith(node.node_id));
    check(entry, () => `${name} has no copy from another node`);
    const { pid } = await node.worker('media', entry.worker);
    await spared(node);
    viewer.takeAccount();
    process.kill(pid, 'SIGKILL');
    await until('another process is that worker', async () => {
      const row = await node.worker('media', entry.worker);
      return row?.pid > 0 && row.pid !== pid;
    });
    await moreVideo(viewer, SETTLED, FIRST_MS);
    const account = viewer.takeAccount();
    t.note(`${name}: worker ${entry.worker} killed, pause ${account.gap_ms} ms, largest step ${account.step_ms} ms`);
    checkWhole(account);
    atMost(account.gap_ms, UNDISTURBED_MS * patience(), 'pause, ms');
    equal(viewer.closed, false, 'the viewer has been let go');
  }
  await lab.chainIs('c', stream, ['c', 'b', 'a']);
}, { timeout_ms: 180000, skip: Network.lacks() });
