// SPDX-License-Identifier: Apache-2.0
// How much its viewers can take is said up the tree: a publisher in a browser need not send more than one of
// them gets (decision 27).

import { atLeast, atMost, check, test, until } from './harness.mjs';
import { browserInside, openPage, playWhep, publishWhip } from './browser.mjs';
import { Lab } from './lab.mjs';
import { Network } from './namespaces.mjs';
import { freshName } from './node.mjs';
import { between } from './topology.mjs';

const skip = Network.lacks();

const NARROW_BPS = 600000;
const FULL_BPS = 1000000; // a browser sends more than that when it may
const SETTLES_MS = 60000;

/** A stream goes from a to b; at c stands a viewer of b. */
const nodes = ['a', 'b', 'c'].map((name) => ({ name, region: 'here', tier: 'core', cost: 0, capacity_bps: 0 }));
const topology = { nodes, links: [...between('a', 'b', 5), ...between('b', 'c', 5), ...between('a', 'c', 5)] };
const NARROW = { rate: `${NARROW_BPS / 1000}k`, queue: '200ms' };
const WIDE = { rate: '100M', queue: '200ms' };

async function streamAt(node, name) {
  const row = (await node.repl('actors stream')).find((one) => one.name.endsWith(`/${name}`));
  check(row, () => `${name} is not at ${node.name}`);
  return (await node.repl(`inspect ${row.addr}`)).state;
}

const kbits = (bps) => `${Math.round(bps / 1000)} kbit/s`;

/** Until the publisher is as the condition says, for three seconds in a row: what its encoder aims at (a busy
 *  machine makes less of it), what comes of it, how much is taken. */
async function settles(what, node, name, publisher, wanted) {
  const began = performance.now();
  let since = 0, said;
  await until(what, async () => {
    const { bitrate_bps, takes_bps } = await streamAt(node, name);
    const { targetBitrate: aim_bps = 0, qualityLimitationReason: reason } = (await publisher.look()).sentVideo ?? {};
    said = `${kbits(bitrate_bps)} of ${kbits(aim_bps)}${reason === 'none' ? '' : ` (${reason})`}, taken ${takes_bps ? kbits(takes_bps) : 'all'}`;
    if (!wanted({ bitrate_bps, takes_bps, aim_bps })) since = 0;
    else since ||= performance.now();
    return (since && performance.now() - since > 3000) || Promise.reject(new Error(said));
  }, SETTLES_MS);
  return `${what} after ${Math.round((since - began) / 100) / 10} s: ${said}`;
}

test('a browser publishes what its viewers can take: less when all their ways are narrow, all for one whose is not', async (t) => {
  const lab = await Lab.start(t, { topology, args: ['--link-mode', 'smart'] });
  const [a, b] = [lab.node('a'), lab.node('b')];
  const name = freshName('rate');
  const pageAt = async (host, node) => openPage(t, node, '/healthz', { browser: await browserInside(t, lab.internet, host, lab.origin(node.name)) });
  const publisher = await publishWhip(await pageAt('a', a), a, name, { noisy: true });
  const sends = async (what, wanted) => t.note(await settles(what, a, name, publisher, wanted));
  const full = ({ aim_bps, takes_bps }) => aim_bps > FULL_BPS && !takes_bps;
  const less = ({ aim_bps, bitrate_bps, takes_bps }) => takes_bps && aim_bps < NARROW_BPS && bitrate_bps < NARROW_BPS;
  await sends('nobody watches: all is sent', full);
  await lab.link('b', 'c', NARROW);
  const slow = await playWhep(await pageAt('c', b), b, name);
  await slow.moreVideo(5, 30000);
  await sends('a viewer with a narrow way: less', less);
  const before = await slow.look();
  await slow.moreVideo(60, 30000);
  const narrow = await slow.look();
  const lost = narrow.video.packetsLost - before.video.packetsLost, came = narrow.video.packetsReceived - before.video.packetsReceived;
  t.note(`there, ${lost} of ${lost + came} packets are lost`);
  atMost(lost, (lost + came) / 3, 'packets lost once less is sent');
  const fast = await playWhep(await pageAt('b', b), b, name);
  await fast.moreVideo(5, 30000);
  await sends('another one with a wide way: all', full);
  atLeast((await streamAt(b, name)).viewers, 2, 'viewers at b');
  await slow.stop();
  await lab.link('a', 'c', { down: '1' }); // else it goes that way
  await lab.link('a', 'b', NARROW);
  await sends('the way between the nodes is narrow: less', less);
  await lab.link('a', 'b', WIDE);
  await sends('it is wide again: all', full);
  await fast.moreVideo(20, 30000);
}, { skip, timeout_ms: 400000 });
