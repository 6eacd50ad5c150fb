// SPDX-License-Identifier: Apache-2.0
// Publishers of a cluster that come back at another node, and nodes that die under them (decision 24).

import { readFileSync } from 'node:fs';
import { atMost, check, equal, patience, test, until } from './harness.mjs';
import { openPage, playWhep, publishWhip } from './browser.mjs';
import { Cluster } from './cluster.mjs';
import { moreVideo, publishRtmp, watchFlv } from './media.mjs';
import { Lab } from './lab.mjs';
import { Network } from './namespaces.mjs';
import { freshName } from './node.mjs';
import { between } from './topology.mjs';

const skip = Network.lacks();
const offer = readFileSync(new URL('../data/sdp/chrome156-sendonly.sdp', import.meta.url), 'utf8');
const CONNECTED = ['connecting', 'connected']; // states of a connection that was never disturbed
const PATIENT_MS = 30000;

/** The row of a stream at a node, as its actor there has it. */
async function copyAt(node, name) {
  for (const { addr } of await node.repl(`actors stream where name ~ ${name}`)) return (await node.repl(`inspect ${addr}`)).state;
  return undefined;
}

/** Who has the stream: the nodes where it is no replica. */
async function ownersOf(nodes, name) {
  const rows = await Promise.all(nodes.map((node) => copyAt(node, name)));
  return nodes.filter((node, i) => rows[i] && !rows[i].replica).map((node) => node.name).sort();
}

const shape = (now) => now.video.frameWidth / now.video.frameHeight;

async function showsShape(peer, width, height) {
  return until(`a picture of the shape ${width}:${height}`, async () => {
    const now = await peer.look();
    return now.video?.frameHeight && Math.abs(shape(now) - width / height) < 0.05 && now;
  }, PATIENT_MS);
}

/** kill -9 of all that is a node. */
function killNode(node) {
  for (const pid of [node.pid, ...node.processes()]) process.kill(pid, 'SIGKILL');
}

test('a publisher comes back at another node with its token: viewers at three nodes play on', async (t) => {
  const cluster = await Cluster.start(t, { nodes: 3 });
  const [a, b, c] = cluster.nodes;
  const name = freshName('wanders');
  let publisher = await publishWhip(await openPage(t, a), a, name, { width: 640, height: 360 });
  const peers = [await playWhep(await openPage(t, a), a, name), await playWhep(await openPage(t, c), c, name)];
  const viewers = cluster.nodes.map((node) => watchFlv(t, `${node.url}/${name}.flv`));
  for (const peer of peers) await peer.moreVideo(20, PATIENT_MS);
  for (const viewer of viewers) await moreVideo(viewer, 20, PATIENT_MS);
  equal((await b.post(`/whip/${name}`, offer)).status, 409, 'without the token');
  equal((await b.post(`/whip/${name}`, offer, { 'Millrace-Resume': publisher.resume.split('').reverse().join('') })).status,
    409, 'with another token');
  for (const [node, width, height] of [[b, 320, 240], [c, 640, 360], [a, 320, 240]]) {
    viewers.forEach((viewer) => viewer.takeGap());
    publisher = await publishWhip(await openPage(t, node), node, name,
      { width, height, headers: { 'Millrace-Resume': publisher.resume } });
    for (const peer of peers) await showsShape(peer, width, height);
    for (const viewer of viewers) await moreVideo(viewer, 20, PATIENT_MS);
    t.note(`to ${node.name}: gaps ${viewers.map((viewer) => viewer.takeGap()).join(', ')} ms`);
    equal(await ownersOf(cluster.nodes, name), [node.name], 'owner');
  }
  equal((await b.post(`/whip/${name}`, offer)).status, 409, 'without the token');
  for (const peer of peers) equal((await peer.look()).states, CONNECTED, 'states of the connection');
  for (const viewer of viewers) equal([viewer.closed, viewer.backwards], [false, 0], 'FLV: closed, timestamps going back');
}, { timeout_ms: 240000 });

test('kill -9 of the node of a publisher: it comes back at another one, viewers there play on', async (t) => {
  const cluster = await Cluster.start(t, { nodes: 3 });
  const [a, b, c] = cluster.nodes;
  const name = freshName('homeless');
  await publishRtmp(t, a, name);
  const peer = await playWhep(await openPage(t, c), c, name);
  const viewers = [b, c].map((node) => watchFlv(t, `${node.url}/${name}.flv`));
  await peer.moreVideo(20, PATIENT_MS);
  for (const viewer of viewers) await moreVideo(viewer, 20, PATIENT_MS);
  viewers.forEach((viewer) => viewer.takeGap());
  killNode(a);
  await publishRtmp(t, b, name); // as soon as an encoder is started
  for (const viewer of viewers) await moreVideo(viewer, 30, PATIENT_MS);
  await peer.moreVideo(30, PATIENT_MS);
  t.note(`gaps ${viewers.map((viewer) => viewer.takeGap()).join(', ')} ms`);
  equal((await peer.look()).states, CONNECTED, 'states of the connection');
  equal(viewers.map((viewer) => [viewer.closed, viewer.backwards]), [[false, 0], [false, 0]], 'FLV: closed, timestamps going back');
}, { timeout_ms: 150000 });

test('kill -9 of the node of a publisher that stays away: viewers are held for its time of grace', async (t) => {
  const cluster = await Cluster.start(t, { args: ['--stream-publisher-grace-ms', '4s'] });
  const [a, b] = cluster.nodes;
  const name = freshName('orphan');
  await publishRtmp(t, a, name);
  const viewer = watchFlv(t, `${b.url}/${name}.flv`);
  await moreVideo(viewer, 20, PATIENT_MS);
  const killed = performance.now();
  killNode(a);
  await until('the viewer hears of the end', () => viewer.closed, PATIENT_MS);
  const held_ms = performance.now() - killed;
  t.note(`held ${Math.round(held_ms)} ms`);
  check(held_ms > 4000, () => `held for ${held_ms} ms`);
  atMost(held_ms, 12000 * patience(), 'milliseconds held');
}, { timeout_ms: 90000 });

// ---- over a network that is not kind -------------------------------------------------------------

const nodes = ['a', 'b', 'c'].map((name) => ({ name, region: 'here', tier: name === 'b' ? 'core' : 'edge', cost: 0, capacity_bps: 0 }));
const ways = [...between('a', 'b', 5), ...between('b', 'c', 5)];

test('a relay that is cut off: its streams come another way within a second', async (t) => {
  const lab = await Lab.start(t, { topology: { nodes, links: [...ways, ...between('a', 'c', 60)] } });
  const name = freshName('relayed');
  await lab.planIs('a', 'c', ['a', 'b', 'c']);
  await lab.publish(t, 'a', name);
  const viewer = lab.watch(t, 'c', name);
  await moreVideo(viewer, 60, PATIENT_MS);
  await lab.chainIs('c', name, ['c', 'b', 'a']);
  viewer.takeGap();
  await Promise.all(['a', 'c'].map((end) => lab.link(end, 'b', { down: 1 })));
  await moreVideo(viewer, 60, PATIENT_MS);
  const gap_ms = viewer.takeGap();
  t.note(`longest silence ${gap_ms} ms`);
  await lab.chainIs('c', name, ['c', 'a']);
  equal([viewer.closed, viewer.backwards], [false, 0], 'FLV: closed, timestamps going back');
  atMost(gap_ms, 1000 * patience(), 'milliseconds without a picture');
}, { timeout_ms: 150000, skip });

test('a network in two, a publisher in each half: one is left when it has healed, and all see that one', async (t) => {
  const lab = await Lab.start(t, { topology: { nodes, links: [...ways, ...between('a', 'c', 5)] } });
  const name = freshName('halves');
  const cut = ['a', 'b', 'etcd1'];
  await Promise.all(cut.map((host) => lab.link(host, 'c', { down: 1 })));
  await lab.publish(t, 'a', name);
  await lab.publish(t, 'c', name);
  const viewers = ['a', 'b', 'c'].map((node) => lab.watch(t, node, name));
  for (const viewer of viewers) await moreVideo(viewer, 20, PATIENT_MS);
  equal(await ownersOf(lab.nodes, name), ['a', 'c'], 'owners while it is in two');
  const healed = performance.now();
  await Promise.all(cut.map((host) => lab.heal(host, 'c')));
  const [winner] = await until('one owner', async () => {
    const owners = await ownersOf(lab.nodes, name);
    return owners.length === 1 && owners;
  }, PATIENT_MS);
  const took_ms = performance.now() - healed;
  t.note(`${winner} is left after ${Math.round(took_ms)} ms`);
  atMost(took_ms, 5000 * patience(), 'milliseconds with two owners');
  const epochs = () => Promise.all(lab.nodes.map(async (node) => (await copyAt(node, name)).epoch));
  await until('all have the same epoch', async () => new Set(await epochs()).size === 1, PATIENT_MS);
  for (const viewer of viewers) await moreVideo(viewer, 60, PATIENT_MS);
  equal(viewers.map((viewer) => [viewer.closed, viewer.backwards]), viewers.map(() => [false, 0]), 'FLV: closed, timestamps going back');
}, { timeout_ms: 180000, skip });
