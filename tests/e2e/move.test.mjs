// SPDX-License-Identifier: Apache-2.0
// Clients whose address changes under their session, and a publisher that is another one: seen from
// between the clients and the node.

import { atMost, check, equal, patience, test, until } from './harness.mjs';
import { openPage, playWhep, publishWhip } from './browser.mjs';
import { moreVideo, watchFlv } from './media.mjs';
import { freshName, startNode } from './node.mjs';
import { UdpRelay } from './relay.mjs';

const RELAY = '127.0.0.2';
const CONNECTED = ['connecting', 'connected']; // states of a connection that was never disturbed
const COUNTS_MS = 1000; // of a publisher whose port is another one: its next packet counts
const FORWARDED_MS = 20; // from a new publisher's first packet to the first that goes out

const sessionsOf = async (node) => (await node.json('/api/v1/sessions')).sessions;
const identitiesOf = async (node) => (await sessionsOf(node)).filter((row) => row.type === 'session').map((row) => row.id).sort();
/* Of its socket; the other one is what the node sees. */
const portOf = async (peer) => (await peer.look()).path.relatedPort;

test('other ports under a publisher and a viewer in Chromium: same sessions, no ICE restart', async (t) => {
  const node = await startNode(t, { args: ['--advertise', RELAY] });
  const relays = await UdpRelay.beforeWorkers(t, node, RELAY);
  const name = freshName('rebind');
  const publisher = await publishWhip(await openPage(t, node), node, name);
  const peer = await playWhep(await openPage(t, node), node, name);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await peer.moreVideo(20);
  await moreVideo(viewer, 20);
  const sessions = await identitiesOf(node);
  const moved = () => node.log.match(/session_moved/g)?.length ?? 0;

  viewer.takeGap();
  const publisherPort = await portOf(publisher);
  for (const relay of relays) relay.rebind(publisherPort);
  await moreVideo(viewer, 20);
  const gap_ms = viewer.takeGap();
  await until('the node sends to the publisher where its check came from', () => moved() === 1);
  await moreVideo(viewer, 20);

  const viewerPort = await portOf(peer);
  for (const relay of relays) relay.rebind(viewerPort);
  const start = performance.now();
  await until('the node sends to the viewer where its check came from', () => moved() === 2);
  await peer.moreVideo(20);
  t.note(`publisher: ${gap_ms} ms between two pictures; viewer: found after ${Math.round(performance.now() - start)} ms`);
  atMost(gap_ms, COUNTS_MS * patience(), 'milliseconds between two pictures of the publisher');
  for (const one of [publisher, peer]) equal((await one.look()).states, CONNECTED, 'states of the connection');
  equal(await identitiesOf(node), sessions, 'sessions');
}, { timeout_ms: 60000 });

/* RTP, as RFC 7983 and RFC 5761 tell it from all else. */
const isRtp = (bytes) => bytes[0] >> 6 === 2 && !(bytes[1] >= 192 && bytes[1] <= 223);

/* What Chromium begins with is padding, to measure its path; its first picture may be a while behind that. */
const isPadding = (bytes) => (bytes[0] & 0x20) !== 0;

/** When the first media of a client that was not `known` came in, and the first to `viewer` after it. */
function timing(relays, known, viewer) {
  const seen = {};
  for (const relay of relays) {
    relay.hear = (bytes, key) => {
      if (!known.has(key) && isRtp(bytes) && !isPadding(bytes)) seen.in_ms ??= performance.now();
    };
    relay.observe = (bytes, key) => {
      if (seen.in_ms && key.endsWith(`:${viewer}`) && isRtp(bytes)) seen.out_ms ??= performance.now();
    };
  }
  return seen;
}

test('a new publisher: its first packets are sent on at once', async (t) => {
  const node = await startNode(t, { args: ['--advertise', RELAY] });
  const relays = await UdpRelay.beforeWorkers(t, node, RELAY);
  const name = freshName('first');
  const known = new Set();
  for (const relay of relays) relay.hear = (_, key) => known.add(key);
  const options = { audio: false, width: 320, height: 180 }; // the first packet is a keyframe's
  let publisher = await publishWhip(await openPage(t, node), node, name, options);
  const peer = await playWhep(await openPage(t, node), node, name, { audio: false });
  await peer.moreVideo(20);
  const port = await portOf(peer);
  const took_ms = [];
  const workers = new Set();
  for (let i = 0; i < 5; i++) {
    const page = await openPage(t, node);
    const seen = timing(relays, known, port);
    publisher = await publishWhip(page, node, name, { ...options, headers: { 'Millrace-Resume': publisher.resume } });
    await peer.moreVideo(20);
    check(seen.out_ms, 'no packet was sent on');
    took_ms.push(seen.out_ms - seen.in_ms);
    workers.add((await sessionsOf(node)).find((row) => row.stream === name && !row.play).worker);
    for (const relay of relays) relay.hear = (_, key) => known.add(key);
    await peer.moreVideo(5);
  }
  t.note(`${took_ms.map((ms) => ms.toFixed(1)).join(' ')} ms, ${workers.size} workers`);
  // the least of five is what a busy machine disturbs least: measured at the socket with the node before all
  // others (chrt -f), each took 0.2 to 2 ms on one that was crowded; the rest is the wait for a processor
  atMost(Math.min(...took_ms), FORWARDED_MS * patience(), 'milliseconds from its first packet to the first that was sent on');
  equal((await peer.look()).states, CONNECTED, 'states of the connection');
}, { timeout_ms: 90000 });
