// SPDX-License-Identifier: Apache-2.0
// A browser whose network changes under it, in network namespaces: another address, another interface,
// another port behind a NAT, no network at all. Whoever watches or publishes keeps the session.

import { atMost, check, equal, patience, test, until } from './harness.mjs';
import { browserInside } from './browser.mjs';
import { checkUntouched, clientPlay, clientPublish, openClient } from './client.mjs';
import { publishRtmp } from './media.mjs';
import { Network, NODE } from './namespaces.mjs';
import { freshName, startNode } from './node.mjs';

const skip = Network.lacks();
const OUTAGE_MS = 8000;
const BACK_MS = 4000; // after a change, or when the network is back, until pictures come again
const NOTICED_MS = 2000; // until millrace.js is sure that a path is dead: Chromium alone takes 5 s and more

const sessionsOf = async (node) => (await node.rows('actors session')).map((row) => row.addr).sort();

/** Where the node sends each of them. */
const remotesOf = (node, sessions) =>
  Promise.all(sessions.map(async (addr) => (await node.repl(`inspect ${addr}`)).state.remote));

/** A node, and a browser that reaches it over a network of this test's own. */
async function makeScene(t, options) {
  const network = Network.make(t, options);
  const node = await startNode(t, { workers: 1, prefix: network.inside('node'), address: NODE });
  const browser = await browserInside(t, network, 'client', node.url);
  return { network, node, browser };
}

async function outage(network, how) {
  network.cut(how);
  const start = performance.now();
  await until('the outage is over', () => performance.now() - start >= OUTAGE_MS, 2 * OUTAGE_MS);
  network.mend(how);
}

/** From the last picture until millrace.js began to mend the path. */
function checkNoticed({ gap }, { events }, noticed_ms) {
  const mended_ms = events.filter(({ name }) => name === 'recovered').reduce((sum, { ms }) => sum + ms, 0);
  if (noticed_ms) atMost(Math.round(gap - mended_ms), noticed_ms * patience(), 'milliseconds until it was noticed');
}

const recoveries = ({ events }) =>
  events.filter((event) => event.name === 'recovered').map(({ by, ms, reason }) => `${by} ${ms} ms: ${reason}`).join('; ');

/* what happens, options of the network, how, for how long nothing can come at least, until it is seen */
const changes = [
  ['another address', {}, (network) => network.changeAddress(), 0, NOTICED_MS],
  ['another interface', {}, (network) => network.changeInterface(), 0, NOTICED_MS],
  ['another port behind a NAT', { translates: true }, (network) => network.forgetTranslations(), 0, 0],
  ['8 s without a network, and the device knows', {}, (network) => outage(network, 'link'), OUTAGE_MS, 0],
  ['8 s in which nothing passes', {}, (network) => outage(network, 'air'), OUTAGE_MS, 0],
];

const viewers = [...changes.map((row) => ['http', row]), ...changes.slice(0, 2).map((row) => ['ws', row])];

for (const [signalling, [what, options, change, gone_ms, noticed_ms]] of viewers) {
  test(`a viewer, signalling by ${signalling}: ${what}`, async (t) => {
    const { network, node, browser } = await makeScene(t, options);
    const name = freshName('net');
    await publishRtmp(t, node, name);
    const viewer = await clientPlay(await openClient(t, node, { browser }), name, { signalling });
    await viewer.more(30);
    const sessions = await sessionsOf(node);
    const before = await remotesOf(node, sessions);
    await change(network);
    const { shown } = await viewer.look();
    await until('pictures again', async () => (await viewer.look()).shown > shown + 30, 20000);
    const now = await viewer.becomes('live', 20000);
    t.note(`gap ${Math.round(now.gap)} ms, frozen ${now.stats.freezeMs} ms in ${now.stats.freezes}, lost ${now.stats.lost}`);
    t.note(recoveries(now));
    equal(now.stats.sessions, 1, 'sessions of the viewer');
    equal(await sessionsOf(node), sessions, 'sessions of the node');
    const after = await remotesOf(node, sessions);
    check(gone_ms || `${after}` !== `${before}`, () => `the client is somewhere else: ${before}, ${after}`);
    checkUntouched(now);
    checkNoticed(now, now, noticed_ms);
    atMost(now.gap, (gone_ms + noticed_ms + BACK_MS) * patience(), 'milliseconds without a picture');
    atMost(now.stats.freezeMs, now.gap + 500 * patience(), 'milliseconds frozen');
    atMost(now.stats.freezes, 3 * patience(), 'freezes');
  }, { timeout_ms: 60000, skip });
}

for (const [what, options, change, , noticed_ms] of changes.slice(0, 3)) {
  test(`a publisher: ${what}`, async (t) => {
    const { network, node, browser } = await makeScene(t, options);
    const name = freshName('netpub');
    const publisher = await clientPublish(await openClient(t, node, { browser }), name, { width: 320, height: 240 });
    await publisher.becomes('live');
    const beside = await browserInside(t, network, 'node', node.url);
    const viewer = await clientPlay(await openClient(t, node, { browser: beside }), name);
    await viewer.more(30);
    const sessions = await sessionsOf(node);
    const before = await remotesOf(node, sessions);
    await change(network);
    const { shown } = await viewer.look();
    await until('pictures again', async () => (await viewer.look()).shown > shown + 30, 20000);
    const sends = await publisher.becomes('live', 20000);
    const sees = await viewer.look();
    t.note(`gap ${Math.round(sees.gap)} ms`);
    t.note(recoveries(sends));
    equal([sends.stats.sessions, sees.stats.sessions], [1, 1], 'sessions of both');
    equal(await sessionsOf(node), sessions, 'sessions of the node');
    // its media is taken at once, from wherever it comes; answers follow the browser's next check, all 2.5 s
    await until('the node answers to where the client is', async () => `${await remotesOf(node, sessions)}` !== `${before}`, 10000);
    for (const one of [sends, sees]) checkUntouched(one);
    equal(recoveries(sees), '', 'recoveries of the viewer');
    checkNoticed(sees, sends, noticed_ms);
    atMost(sees.gap, (noticed_ms + BACK_MS) * patience(), 'milliseconds without a picture');
  }, { timeout_ms: 60000, skip });
}
