// SPDX-License-Identifier: Apache-2.0
// A cluster over real ways: each node on a host of its own, delay and loss between them, browsers and ffmpeg
// as its clients. What is killed or cut here is noticed by those who watch only as far as it must be.

import { atMost, check, equal, leeway, patience, test, until } from './harness.mjs';
import { viewerInChromium } from './browser.mjs';
import { checkWhole, Lab } from './lab.mjs';
import { moreVideo } from './media.mjs';
import { parseMetrics } from './metrics.mjs';
import { Network } from './namespaces.mjs';
import { freshName } from './node.mjs';
import { tellStory } from './story.mjs';
import { between } from './topology.mjs';

const skip = Network.lacks();
const wait = { skip, timeout_ms: 150000 };

const RELAY_GONE_MS = 1000; // promise 4
const UNDISTURBED_MS = 500; // no pause at all, but this machine has other work
const SETTLED = 30; // pictures
const PLANNED_MS = 40000; // until a stream comes by the way that is best

/** a and c are edges, far from each other but for b, a core; d is a core that is farther away. */
const nodes = ['a', 'b', 'c', 'd'].map((name) => ({ name, region: 'here', tier: 'ac'.includes(name) ? 'edge' : 'core', cost: 0, capacity_bps: 0 }));
const links = [...between('a', 'b', 10), ...between('b', 'c', 10), ...between('a', 'd', 25), ...between('c', 'd', 25), ...between('b', 'd', 10)];
const farApart = { nodes, links: [...links, ...between('a', 'c', 60, 3, 3)] };
const near = { nodes: nodes.slice(0, 3), links: [...between('a', 'b', 15), ...between('b', 'c', 15), ...between('a', 'c', 15)] };

const freezes = async (peer) => (await peer.look()).video.freezeCount;

/** /metrics of a node that hands a stream on from a to c: its neighbours by name, what the hop takes. */
async function relayIsMeasured(node) {
  const families = await until('neighbours and hops in /metrics', async () => {
    const now = parseMetrics((await node.get('/metrics')).text);
    const sent = now.millrace_neighbour_sent_bytes_per_second.samples.find(({ labels }) => labels.node === 'c');
    const hops = now.millrace_link_hop_seconds.samples.find(({ name }) => name.endsWith('_count'));
    return sent?.value > 10000 && hops.value > 0 && now;
  }, 20000);
  const of = (name, neighbour) => families[`millrace_neighbour_${name}`].samples.find(({ labels }) => labels.node === neighbour);
  equal([of('up', 'a').value, of('up', 'c').value, of('mode', 'c').labels.mode], [1, 1, 'smart'], 'neighbours');
  const rtt_ms = of('round_trip_seconds', 'c').value * 1000;
  check(rtt_ms >= 19, () => `the round trip to c is ${rtt_ms} ms, over a way of 10 ms`);
  const path = families.millrace_neighbour_path_round_trip_seconds.samples.find(({ labels }) => labels.node === 'c' && labels.relayed === 'no');
  check(path && path.value * 1000 >= 19, () => `of the path to c: ${JSON.stringify(path)}`);
  const { samples } = families.millrace_link_hop_seconds;
  const [sum, count] = ['sum', 'count'].map((part) => samples.find(({ name }) => name.endsWith(`_${part}`)).value);
  return `at b: c is ${rtt_ms.toFixed(1)} ms away; a hop takes ${(1000 * sum / count).toFixed(2)} ms (mean of ${count})`;
}

test('published at a, played in Chromium at c: it goes over b, because the straight way is bad; b is killed', async (t) => {
  const lab = await Lab.start(t, { topology: farApart });
  const stream = freshName('far');
  await lab.planIs('a', 'c', ['a', 'b', 'c']);
  await lab.publish(t, 'a', stream);
  const peer = await viewerInChromium(t, lab, 'c', stream);
  const viewer = lab.watch(t, 'c', stream);
  await moreVideo(viewer, SETTLED);
  await lab.chainIs('c', stream, ['c', 'b', 'a'], PLANNED_MS); // (a machine that is busy makes b seem far for a while)
  t.note(`first picture in Chromium ${Math.round((await peer.look()).first_ms)} ms`);
  const before = await freezes(peer);
  viewer.takeAccount();
  await moreVideo(viewer, 3 * SETTLED);
  const quiet = viewer.takeAccount();
  checkWhole(quiet);
  atMost(await freezes(peer) - before, leeway(), 'freezes while nothing happens');
  t.note(await relayIsMeasured(lab.node('b')));

  await lab.kill('b');
  await moreVideo(viewer, SETTLED);
  await peer.moreVideo(SETTLED);
  const { gap_ms, backwards, repeats, step_ms } = viewer.takeAccount();
  t.note(`without b: ${(await lab.chain('c', stream)).join(' < ')}, pause ${gap_ms} ms (before ${quiet.gap_ms}), largest step ${step_ms} ms`);
  equal([backwards, repeats], [0, 0], 'pictures out of order, pictures twice');
  atMost(gap_ms, RELAY_GONE_MS * patience(), 'pause, ms');
  check((await peer.look()).states.every((state) => state !== 'failed'), 'the browser has its session still');
}, wait);

test('the straight way becomes bad while it plays: the stream moves to the one over b, nothing is missing, nothing comes twice', async (t) => {
  const lab = await Lab.start(t, { topology: near });
  const stream = freshName('moves');
  await lab.planIs('a', 'c', ['a', 'c']);
  await lab.publish(t, 'a', stream);
  const peer = await viewerInChromium(t, lab, 'c', stream);
  const viewer = lab.watch(t, 'c', stream);
  await moreVideo(viewer, SETTLED);
  await lab.chainIs('c', stream, ['c', 'a'], PLANNED_MS);
  const before = await freezes(peer);
  viewer.takeAccount();
  await lab.link('a', 'c', { loss: '4%', delay: '40ms' });
  const moved_ms = await lab.chainIs('c', stream, ['c', 'b', 'a'], PLANNED_MS);
  await moreVideo(viewer, SETTLED);
  const account = viewer.takeAccount();
  await peer.moreVideo(SETTLED);
  t.note(`moved after ${(moved_ms / 1000).toFixed(1)} s, longest pause ${account.gap_ms} ms, ${await freezes(peer) - before} freezes`);
  checkWhole(account);
  atMost(account.gap_ms, UNDISTURBED_MS * patience(), 'longest pause, ms');
}, wait);

test('who plans is killed, etcd is killed and comes back: nothing that flows stops, and what is local goes on', async (t) => {
  const lab = await Lab.start(t, { topology: farApart });
  const { etcd } = lab.cluster;
  const [stream, meanwhile] = [freshName('flows'), freshName('meanwhile')];
  await lab.publish(t, 'a', stream);
  const peer = await viewerInChromium(t, lab, 'c', stream);
  const viewer = lab.watch(t, 'c', stream);
  await moreVideo(viewer, SETTLED);
  const undisturbed = async (what) => {
    await moreVideo(viewer, SETTLED);
    await peer.moreVideo(SETTLED);
    const account = viewer.takeAccount();
    t.note(`${what}: pause ${account.gap_ms} ms`);
    checkWhole(account);
    atMost(account.gap_ms, UNDISTURBED_MS * patience(), `${what}: pause, ms`);
  };
  viewer.takeAccount();

  const { node, term } = await lab.brain();
  const began = performance.now();
  await lab.killControl(node.name);
  await lab.brain({ after: term });
  t.note(`another plans after ${((performance.now() - began) / 1000).toFixed(1)} s`);
  await undisturbed('brain killed');

  await etcd.kill();
  await lab.publish(t, 'd', meanwhile);
  await moreVideo(lab.watch(t, 'd', meanwhile), SETTLED);
  await undisturbed('etcd killed');
  await etcd.restart();
  await until('etcd knows both', async () => (await etcd.names()).length === 2, 5000);
  await moreVideo(lab.watch(t, 'a', meanwhile), SETTLED);
  await undisturbed('etcd is back');
}, wait);

test('etcd of three loses its leader: nothing that flows stops, and new streams are found everywhere', async (t) => {
  const lab = await Lab.start(t, { topology: near, etcd: 3 });
  const { etcd } = lab.cluster;
  const [stream, later] = [freshName('flows'), freshName('later')];
  await lab.publish(t, 'a', stream);
  const viewer = lab.watch(t, 'c', stream);
  await moreVideo(viewer, SETTLED);
  viewer.takeAccount();
  await etcd.kill(await until('there is a leader', () => etcd.leader()));
  const began = performance.now();
  await lab.publish(t, 'b', later);
  await until('it plays elsewhere', () => moreVideo(lab.watch(t, 'c', later), SETTLED, 3000), 20000);
  t.note(`a new stream plays elsewhere ${((performance.now() - began) / 1000).toFixed(1)} s after the leader was killed`);
  await moreVideo(viewer, SETTLED);
  const account = viewer.takeAccount();
  t.note(`longest pause ${account.gap_ms} ms`);
  checkWhole(account);
  atMost(account.gap_ms, UNDISTURBED_MS * patience(), 'longest pause, ms');
  await etcd.restart();
}, wait);

test('the short story of ./dev cluster demo', async (t) => {
  await tellStory(t, { short: true, say: (text) => console.log(`        ${text}`) });
}, wait);
