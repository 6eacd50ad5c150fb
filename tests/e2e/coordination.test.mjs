// SPDX-License-Identifier: Apache-2.0
// Three nodes whose etcd loses what it knew: all of it, or what came after a backup. What flows flows on, and
// then etcd knows again who is there, who owns what and who plans.

import { atMost, check, equal, patience, test, timeUntil, until } from './harness.mjs';
import { agreed, Cluster } from './cluster.mjs';
import { checkWhole } from './lab.mjs';
import { moreVideo, publishRtmp, watchFlv } from './media.mjs';
import { freshName } from './node.mjs';

const wait = { timeout_ms: 180000 };
const FIRST_MS = 20000;
const BACK_MS = 5000; // decision 19: after the store's return
const RELEASED_MS = 20000; // what an old backup says of names that were given up since
const UNDISTURBED_MS = 500; // no pause at all, but this machine has other work
const SMALL = { size: '160x90' }; // five encoders
const PREFIX = '/millrace/default/';

const gone = (node) => until(`${node.name} notices that etcd is gone`, async () => {
  const [row] = await node.repl('actors store_etcd');
  return !(await node.repl(`inspect ${row.addr}`)).state.up;
}, 15000);

/** Who owns a stream, as the directory of a node says: that node's name. */
async function ownerSaid(cluster, at, stream) {
  const [{ addr }] = await at.repl('actors directory');
  const { fields: { owner } } = await at.repl(`send ${addr} name_lookup name=stream/${stream}`);
  return cluster.nodes.find((node) => owner.startsWith(node.node_id))?.name;
}

/** Until all nodes, and etcd, have these names and no others, with these owners. */
async function namesAre(cluster, owners, deadline_ms) {
  const names = Object.keys(owners).sort();
  const took_ms = await timeUntil('etcd has all names', async () => {
    const now = (await cluster.etcd.names()).sort();
    return `${now}` === `${names}` || Promise.reject(new Error(`it has ${now.join(', ') || 'none'}`));
  }, deadline_ms);
  for (const at of cluster.nodes)
    for (const [name, owner] of Object.entries(owners))
      await until(`${at.name} takes ${owner} for the owner of ${name}`, async () => await ownerSaid(cluster, at, name) === owner, deadline_ms);
  return took_ms;
}

async function played(t, node, stream) {
  const viewer = watchFlv(t, `${node.url}/${stream}.flv`);
  await moreVideo(viewer, 20, FIRST_MS);
  return viewer;
}

for (const [what, lost] of [
  ['comes back empty', { restart: { wipe: true } }],
  ['is restored from an older backup', { older: true }],
]) {
  test(`etcd ${what}: three nodes play on, and it knows again who is there, who owns what and who plans`, async (t) => {
    const cluster = await Cluster.start(t, { nodes: 3, args: ['--stream-publisher-grace-ms', '1s'] });
    const { etcd, nodes: [a, b, c] } = cluster;
    const [stays, moves, ends, later, meanwhile, after] = ['stays', 'moves', 'ends', 'later', 'meanwhile', 'after'].map(freshName);
    const brain = await agreed(cluster.nodes);
    await publishRtmp(t, a, stays, SMALL);
    const [first, second] = [await publishRtmp(t, a, moves, SMALL), await publishRtmp(t, b, ends, SMALL)];
    await namesAre(cluster, { [stays]: 'a', [moves]: 'a', [ends]: 'b' }, FIRST_MS);
    const viewers = [await played(t, b, stays), await played(t, c, stays)];

    const backup = lost.older && etcd.backup();
    await Promise.all([first.stop(), second.stop()]);
    await namesAre(cluster, { [stays]: 'a' }, FIRST_MS);
    await publishRtmp(t, b, moves, SMALL); // with another owner than the backup says
    await publishRtmp(t, c, later, SMALL); // not in it
    await namesAre(cluster, { [stays]: 'a', [moves]: 'b', [later]: 'c' }, FIRST_MS);
    viewers.push(await played(t, a, later), await played(t, c, moves));
    viewers.forEach((viewer) => viewer.takeAccount());

    await etcd.kill();
    await Promise.all(cluster.nodes.map(gone));
    await publishRtmp(t, b, meanwhile, SMALL);
    await played(t, b, meanwhile);
    await etcd.restart(lost.older ? { backup } : lost.restart);
    const registered_ms = await timeUntil('all nodes are registered', async () => (await etcd.range(`${PREFIX}node/`))
      .filter(({ key, lease }) => lease !== '0' && cluster.nodes.some(({ node_id }) => key.endsWith(node_id))).length === 3, FIRST_MS);
    await until('and a worker of each', async () => (await etcd.range(`${PREFIX}node/`)).filter(({ key }) => key.endsWith('/worker/0')).length === 3, FIRST_MS);
    const named_ms = await namesAre(cluster, { [stays]: 'a', [moves]: 'b', [later]: 'c', [meanwhile]: 'b' }, RELEASED_MS);
    t.note(`nodes after ${registered_ms} ms, names ${named_ms} ms later`);
    if (!lost.older) atMost(registered_ms + named_ms, BACK_MS * patience(), 'ms until etcd has all');

    const planner = await agreed(cluster.nodes);
    equal((await etcd.range(`${PREFIX}brain`)).length, 1, 'keys of who plans');
    t.note(`term ${brain.term} before, ${planner.term} now`);
    const newest = await publishRtmp(t, c, after, SMALL);
    await played(t, a, after);
    await played(t, a, meanwhile);
    for (const viewer of viewers) {
      await moreVideo(viewer, 30, FIRST_MS);
      const account = viewer.takeAccount();
      t.note(`pause ${account.gap_ms} ms`);
      if (patience() === 1) checkWhole(account); // processes that stand still for a second lose datagrams
      equal([account.backwards, account.repeats], [0, 0], 'pictures out of order, pictures twice');
      atMost(account.gap_ms, UNDISTURBED_MS * patience(), 'longest pause, ms');
    }
    await newest.stop();
    await until('the name of who has gone is gone', async () => !(await etcd.names()).includes(after), FIRST_MS);
    await cluster.complete();
    for (const node of cluster.nodes) check(!/name_conflict/.test(node.log), `${node.name} lost a name`);
  }, wait);
}
