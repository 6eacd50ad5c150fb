// SPDX-License-Identifier: Apache-2.0
// A network in two halves, etcd of three members in both: a and b with two of them, c and d with one, which
// can agree to nothing: its nodes go on with the streams that they know, and what is published there
// meanwhile plays at that node alone. When it has healed there is one of everything.

import { atLeast, atMost, check, equal, leeway, patience, test, timeUntil, until } from './harness.mjs';
import { viewerInChromium } from './browser.mjs';
import { agreed } from './cluster.mjs';
import { Lab } from './lab.mjs';
import { moreVideo } from './media.mjs';
import { Network } from './namespaces.mjs';
import { freshName } from './node.mjs';
import { between } from './topology.mjs';

const PATIENT_MS = 30000;
const ONE_OWNER_MS = 5000; // promise 5
const SETTLED = 60; // pictures
const SMALL = { size: '160x90' };
const CONNECTED = ['connecting', 'connected']; // states of a connection that was never disturbed
const HALVES = [['a', 'b', 'etcd1', 'etcd2'], ['c', 'd', 'etcd3']];

const nodes = ['a', 'b', 'c', 'd'].map((name) => ({ name, region: 'here', tier: 'core', cost: 0, capacity_bps: 0 }));
const links = nodes.flatMap((one, i) => nodes.slice(i + 1).flatMap((other) => between(one.name, other.name, 5)));

const acrossTheCut = (work) => Promise.all(HALVES[0].flatMap((one) => HALVES[1].map((other) => work(one, other))));

/** The rows of a stream at all nodes: { node, epoch, replica }. */
async function copies(lab, stream) {
  const found = [];
  for (const node of lab.nodes)
    for (const { addr } of await node.repl(`actors stream where name ~ ${stream}`)) {
      const { state } = await node.repl(`inspect ${addr}`);
      found.push({ node: node.name, epoch: state.epoch, replica: Boolean(state.replica) });
    }
  return found;
}

const owners = async (lab, stream) => (await copies(lab, stream)).filter(({ replica }) => !replica).map(({ node }) => node).sort();

test('two halves, most of etcd in one: each plays on and publishes; healed, there is one owner, one brain, and nobody is stuck', async (t) => {
  const lab = await Lab.start(t, { topology: { nodes, links }, etcd: 3, args: ['--stream-publisher-grace-ms', '600s'] });
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => lab.node(name));
  const [wide, local, both, fresh] = ['wide', 'local', 'both', 'fresh'].map(freshName);
  await lab.publish(t, 'a', wide, SMALL);
  await lab.publish(t, 'c', local);
  const peer = await viewerInChromium(t, lab, 'd', local);
  const near = lab.watch(t, 'b', wide);
  const far = ['c', 'd'].map((name) => lab.watch(t, name, wide));
  const home = lab.watch(t, 'a', local); // its stream is in the other half
  for (const viewer of [near, home, ...far]) await moreVideo(viewer, SETTLED, PATIENT_MS);
  const before = (await peer.look()).video;
  near.takeAccount();

  await acrossTheCut((one, other) => lab.link(one, other, { down: 1 }));
  const gone = async (at, of) => !['up', 'doubtful'].includes(await lab.cluster.state(at, of));
  await until('the halves have lost each other', async () => await gone(a, c) && await gone(b, d) && await gone(c, a) && await gone(d, b), PATIENT_MS);
  const planner = await agreed([a, b]);
  check([a, b].some(({ node_id }) => node_id === planner.brain), 'who plans for the half that has most of etcd is in it');
  await lab.publish(t, 'a', both, SMALL);
  await lab.publish(t, 'c', both, SMALL);
  await lab.publish(t, 'd', fresh, SMALL); // in the half whose etcd agrees to nothing
  const twice = ['a', 'b', 'c'].map((name) => lab.watch(t, name, both));
  for (const viewer of twice) await moreVideo(viewer, SETTLED, PATIENT_MS);
  await moreVideo(lab.watch(t, 'd', fresh), SETTLED, PATIENT_MS);
  equal(await owners(lab, both), ['a', 'c'], 'owners while it is in two');
  for (const viewer of [near, home, ...far, ...twice]) check(!viewer.closed, 'no viewer was let go');

  const began = performance.now();
  await acrossTheCut((one, other) => lab.heal(one, other));
  const one_ms = await timeUntil('one owner', async () => (await owners(lab, both)).length === 1, PATIENT_MS);
  const [winner] = await owners(lab, both);
  t.note(`${winner} is left after ${one_ms} ms`);
  atMost(one_ms, ONE_OWNER_MS * patience(), 'milliseconds with two owners');
  await until('all have the same epoch', async () => new Set((await copies(lab, both)).map(({ epoch }) => epoch)).size === 1, PATIENT_MS);
  twice.push(lab.watch(t, 'd', both));
  for (const viewer of [...far, home, ...twice]) await moreVideo(viewer, SETTLED, PATIENT_MS);
  t.note(`all viewers play ${((performance.now() - began) / 1000).toFixed(1)} s after it has healed`);
  await moreVideo(lab.watch(t, 'a', fresh), SETTLED, PATIENT_MS);
  await lab.cluster.complete();
  await agreed(lab.nodes);
  const names = [wide, local, both, fresh].sort();
  await until(`etcd has ${names}`, async () => {
    const now = (await lab.cluster.etcd.names()).sort();
    return `${now}` === `${names}` || Promise.reject(new Error(`it has ${now}`));
  });

  // who watches a stream of the own half has noticed nothing of any of it
  const { states, video } = await peer.moreVideo(SETTLED, PATIENT_MS);
  const more = (name) => video[name] - before[name];
  t.note(`Chromium at d, of c: ${more('framesDecoded')} pictures, ${more('freezeCount')} freezes, ${more('packetsLost')} packets lost`);
  equal(states, CONNECTED, 'states of the connection');
  atLeast(more('framesDecoded'), 4 * SETTLED, 'pictures in Chromium');
  atMost(more('freezeCount'), leeway(10), 'freezes in Chromium'); // of more than half a minute
  const account = near.takeAccount();
  t.note(`b, of a: longest pause ${account.gap_ms} ms`);
  equal([account.backwards, account.repeats], [0, 0], 'pictures out of order, pictures twice');
  atMost(account.gap_ms, 500 * patience(), 'longest pause within a half, ms');
}, { timeout_ms: 240000, skip: Network.lacks() });
