// SPDX-License-Identifier: Apache-2.0
// How media travels between nodes is changed for the whole cluster while it plays: links that are open and
// streams that flow follow at once, nobody misses a picture, and a node that etcd cannot reach goes on with
// what it knew.

import { atMost, check, equal, patience, test, until } from './harness.mjs';
import { checkWhole, Lab } from './lab.mjs';
import { moreVideo } from './media.mjs';
import { Network } from './namespaces.mjs';
import { between } from './topology.mjs';

const wait = { skip: Network.lacks(), timeout_ms: 240000 };

const SETTLED = 60; // pictures
const IN_EFFECT_MS = 2000;
const LOOK_MS = 500; // between two looks at counters, which a link renews each second
const ALL = 0.8; // of the packets, copied: race; retransmissions and the like are counted as well
const FEW = 0.5; // smart: sound and keyframes

const nodes = ['a', 'b', 'c'].map((name) => ({ name, region: 'here', tier: 'core', cost: 0, capacity_bps: 0 }));
const three = { nodes, links: [...between('a', 'b', 10), ...between('a', 'c', 10), ...between('b', 'c', 10)] };

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Sums over the links of a node. */
async function sent(node) {
  const rows = await node.repl('actors link');
  const states = (await Promise.all(rows.map(({ addr }) => node.repl(`inspect ${addr}`).catch(() => null)))).filter(Boolean).map(({ state }) => state);
  const sum = (name) => states.reduce((total, state) => total + state[name], 0);
  return { packets: sum('packets_out'), copies: sum('duplicated'), modes: [...new Set(states.map(({ mode }) => mode))] };
}

/** What part of the packets that leave a node leaves twice: of those since `before`, and at least a second's. */
async function copiedShare(node, before) {
  const now = await sent(node);
  return now.packets - before.packets < 30 ? null : (now.copies - before.copies) / (now.packets - before.packets);
}

/** Milliseconds until the part that is copied, of what leaves after that, is as wanted. */
async function copiesBecome(node, what, wanted, deadline_ms = 15000) {
  const began = performance.now();
  let before = await sent(node), share;
  await until(`at ${node.name} ${what}`, async () => {
    await sleep(LOOK_MS);
    const now = await copiedShare(node, before);
    if (now === null) return null;
    share = now;
    before = await sent(node);
    return wanted(share) || Promise.reject(new Error(`${Math.round(100 * share)} % are copied`));
  }, deadline_ms);
  return { ms: Math.round(performance.now() - began), share };
}

const raced = (node) => copiesBecome(node, 'all leave twice', (share) => share > ALL);
const spared = (node) => copiesBecome(node, 'few leave twice', (share) => share < FEW);

const has = (node, key, value, source) => until(`${node.name} has ${key} ${value}`, async () => {
  const row = await node.repl(`config ${key}`);
  return (row.value === value && row.source === source) || Promise.reject(new Error(`${row.value} (${row.source})`));
}, 15000);

async function begin(t, stream) {
  const lab = await Lab.start(t, { topology: three, addresses: 2 });
  const [a, b, c] = ['a', 'b', 'c'].map((name) => lab.node(name));
  await lab.publish(t, 'a', stream);
  const viewers = ['b', 'c'].map((name) => lab.watch(t, name, stream));
  for (const viewer of viewers) await moreVideo(viewer, SETTLED, 30000);
  await until('links with two ways each', async () => (await a.repl('links')).filter((way) => way.state === 'up').length >= 4, 20000);
  viewers.forEach((viewer) => viewer.takeAccount());
  return { lab, a, b, c, viewers };
}

async function nothingMissed(viewers) {
  for (const viewer of viewers) {
    await moreVideo(viewer, SETTLED, 30000);
    checkWhole(viewer.takeAccount());
  }
}

test('the mode of links is changed from smart to race and back for three nodes while they play', async (t) => {
  const { a, b, c, viewers } = await begin(t, 'live/mode');
  const before = await spared(a);
  equal((await sent(a)).modes, ['smart'], 'modes of links at a');
  await c.repl('config set link.mode race');
  const on = await raced(a);
  t.note(`copies: ${Math.round(100 * before.share)} % in smart; ${Math.round(100 * on.share)} % ${on.ms} ms after the word in race`);
  atMost(on.ms, IN_EFFECT_MS * patience() + 2 * LOOK_MS, 'ms until copies flow');
  for (const node of [a, b, c]) await has(node, 'link.mode', 'race', 'cluster');
  equal((await sent(a)).modes, ['race'], 'modes of links at a');
  await b.repl('config unset link.mode');
  const off = await spared(a);
  t.note(`${Math.round(100 * off.share)} % ${off.ms} ms after it was taken back`);
  for (const node of [a, b, c]) await has(node, 'link.mode', 'smart', 'default');
  await nothingMissed(viewers);

  // of one stream; of what fits no pattern nothing changes
  await a.repl('config set link.modes other/*=backup,live/m*=race');
  await raced(a);
  equal((await sent(a)).modes, ['smart'], 'modes of links at a');
  await a.repl('config set link.modes other/*=race');
  await spared(a);
  await nothingMissed(viewers);

  for (const [command, text] of [['link.mode both', 'smart|race|backup'], ['link.modes live', 'PATTERN=WORD'],
    ['link.modes live/*=both', 'PATTERN=WORD'], ['link.tiers live/*=race', 'PATTERN=WORD'], ['link.redundancy 51', 'from 0 to 50'],
    [`link.modes ${'x'.repeat(770)}=race`, 'too long']]) {
    const { ok, error } = await b.console(`config set ${command}`);
    check(!ok && error.code === 'config' && error.message.includes(text), () => `${command}: ${JSON.stringify(error)}`);
  }
  for (const node of [a, b, c]) await has(node, 'link.modes', 'other/*=race', 'cluster');
}, wait);

test('a node that etcd cannot reach goes on as it knew, its control process killed or not, and takes what is newer when it can', async (t) => {
  const { lab, a, b, c, viewers } = await begin(t, 'live/away');
  await b.repl('config set link.mode race');
  for (const node of [a, b, c]) await has(node, 'link.mode', 'race', 'cluster');
  await raced(a);
  await lab.link('a', 'etcd1', { down: 1 });
  await until('a cannot reach etcd', async () => {
    const [row] = await a.repl('actors store_etcd');
    return !(await a.repl(`inspect ${row.addr}`)).state.up;
  }, 30000);
  const { error } = await a.console('config set link.mode backup');
  check(error, 'what cannot be written is set');
  await b.repl('config unset link.mode');
  for (const node of [b, c]) await has(node, 'link.mode', 'smart', 'default');
  await raced(a);
  await lab.killControl('a');
  await until('a has a control process again', () => a.repl('actors settings').then((rows) => rows.length === 1, () => false), 20000);
  await raced(a);
  equal((await a.repl('config link.mode')).value, 'race', 'mode at a');
  await lab.heal('a', 'etcd1');
  const off = await spared(a);
  t.note(`as the others ${off.ms} ms after the way to etcd was there again`);
  await has(a, 'link.mode', 'smart', 'default');
  await nothingMissed(viewers);
}, wait);
