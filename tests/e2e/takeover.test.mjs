// SPDX-License-Identifier: Apache-2.0
// kill -9 of the workers that serve, again and again, at moments that nobody chose: whoever
// publishes or watches over WebRTC sees nothing of it. E2E_KILLS=100 for more than the short run.

import { atLeast, atMost, check, equal, leeway, patience, test, until } from './harness.mjs';
import { openPage, playWhep, publishWhip } from './browser.mjs';
import { freshName, startNode } from './node.mjs';
import { Ledger } from './ledger.mjs';
import { live, Load } from './load.mjs';
import { UdpRelay } from './relay.mjs';
import { killWorker, PATIENT, spin, WORKERS } from './takeover.mjs';

const KILLS = Number(process.env.E2E_KILLS ?? 12);
const KILL_MS = 4000; // what one may take on a busy machine
const RELAY = '127.0.0.2';
const CROWD = 60; // fewer than the API has on a page
const CROWD_KILLS = 6;
const GAP_MS = 100; // DESIGN's first promise
const SPINS_MS = 4000; // less than viewers wait for a packet
const CROWDED_GAP_MS = 1000; // on a machine that has no processor for us; far less than anything that reconnects

const sessionsOf = async (node) => (await node.rows('actors session')).map((row) => row.addr).sort();

const seen = ({ video, audio, states, state, dtls, path }) => ({
  freezes: video.freezeCount, keyframes: video.keyFramesDecoded, frames: video.framesDecoded, concealed: audio?.concealedSamples,
  lost: video.packetsLost, nacks: video.nackCount, plis: video.pliCount, state, dtls, states: states.join(), port: path?.port,
});

/** Kills the workers in turn while `viewers` watch; each kill comes a random number of pictures later. */
async function killAll(t, node, viewers, kills = KILLS) {
  for (let i = 0; i < kills; i++) {
    await viewers[0].moreVideo(1 + Math.floor(Math.random() * 20));
    await killWorker(node, i % WORKERS);
    for (const viewer of viewers) await viewer.moreVideo(3);
  }
}

function compare(t, before, after, what) {
  t.note(`${what}: ${after.frames - before.frames} pictures, ${after.lost - before.lost} lost, ${after.nacks - before.nacks} asked for again`);
  equal(after.states, before.states, `${what}: states of the connection`);
  equal([after.state, after.dtls, after.port], [before.state, before.dtls, before.port], `${what}: connection`);
  /* a successor that gets no processor is late: no promise about that */
  atMost(after.freezes - before.freezes, leeway(KILLS), `${what}: freezes`);
  equal(after.keyframes, before.keyframes, `${what}: keyframes decoded`);
  /* both ask for what is missing (NACK): nothing is lost for good */
  atMost(after.lost - before.lost, leeway(KILLS), `${what}: packets lost`);
}

test('kill -9 of the workers: a publisher and viewers in a browser go on', async (t) => {
  const node = await startNode(t, { args: PATIENT });
  const name = freshName('takeover');
  await publishWhip(await openPage(t, node), node, name);
  const viewers = [];
  for (let i = 0; i < 2; i++) viewers.push(await playWhep(await openPage(t, node), node, name));
  for (const viewer of viewers) await viewer.moreVideo(60);
  const sessions = await sessionsOf(node);
  const before = (await Promise.all(viewers.map((viewer) => viewer.look()))).map(seen);
  await killAll(t, node, viewers);
  const after = (await Promise.all(viewers.map((viewer) => viewer.moreVideo(30)))).map(seen);
  viewers.forEach((_, i) => compare(t, before[i], after[i], `viewer ${i}`));
  equal(await sessionsOf(node), sessions, 'sessions, by address');
}, { timeout_ms: 30000 + KILLS * KILL_MS });

/** Of everything that the node sends over UDP. */
async function ledgerOf(t, node) {
  const ledger = new Ledger();
  for (const relay of await UdpRelay.beforeWorkers(t, node, RELAY)) relay.observe = (bytes) => ledger.take(bytes);
  return ledger;
}

test('kill -9 of the workers: no index of SRTP or SRTCP seals two packets', async (t) => {
  const node = await startNode(t, { args: [...PATIENT, '--advertise', RELAY] });
  const name = freshName('index');
  const ledger = await ledgerOf(t, node);
  await publishWhip(await openPage(t, node), node, name);
  const viewers = [];
  for (let i = 0; i < 2; i++) viewers.push(await playWhep(await openPage(t, node), node, name));
  await killAll(t, node, viewers);
  const { packets, reports, again, reused } = ledger;
  t.note(`${packets} packets, ${reports} reports, ${again} the same once more`);
  equal(reused, [], 'indices with two contents');
  atLeast(packets, 300, 'packets that the relays saw');
  atLeast(reports, 3 * KILLS, 'reports that the relays saw');
}, { timeout_ms: 30000 + KILLS * KILL_MS });

const connected = async (node) => (await node.json('/api/v1/sessions')).sessions.filter((row) => row.play && row.state === 'up').length;

/** A publisher and CROWD viewers, all of them connected. */
async function startCrowd(t, node) {
  const name = freshName('crowd');
  const publisher = new Load(t, ['whip', `${node.url}/whip/${name}`]);
  await live(node, name);
  const viewers = new Load(t, ['whep', `${node.url}/whep/${name}`, '--count', `${CROWD}`]);
  await until('all viewers are connected', async () => await connected(node) === CROWD, 30000);
  return { publisher, viewers };
}

test(`kill -9 of the workers: ${CROWD} viewers and their publisher go on, the gap is short`, async (t) => {
  const node = await startNode(t, { args: PATIENT });
  const { publisher, viewers } = await startCrowd(t, node);
  for (let i = 0; i < CROWD_KILLS; i++) await killWorker(node, i % WORKERS);
  const seen = await viewers.stop();
  const sent = await publisher.stop();
  equal(seen.sessions, { wanted: CROWD, connected: CROWD, failed: 0, lost: 0 }, 'viewers');
  equal(sent.sessions, { wanted: 1, connected: 1, failed: 0, lost: 0 }, 'publishers');
  t.note(`longest gap, ms: p50 ${seen.gap_ms.p50.toFixed(0)}, p99 ${seen.gap_ms.p99.toFixed(0)}; ${seen.missing} packets lost`);
  atMost(seen.missing, leeway(CROWD * CROWD_KILLS), 'packets lost');
  atMost(seen.gap_ms.p99, patience() > 1 ? CROWDED_GAP_MS * patience() : GAP_MS, 'longest gap, ms, 99th percentile');
}, { timeout_ms: 60000 + CROWD_KILLS * KILL_MS });

const stuck = (node) => (node.log.match(/ process_killed .*reason=stuck/g) ?? []).length;

/** Ends worker `number` in a way that only its silence tells; says how long that took. */
async function hush(node, number, how) {
  const before = stuck(node);
  const began = performance.now();
  await killWorker(node, number, how);
  await until('it was killed as one that is stuck', () => stuck(node) > before);
  return performance.now() - began;
}

test('a worker that spins is gone on with as one that is killed', async (t) => {
  const node = await startNode(t, { args: PATIENT });
  const { publisher, viewers } = await startCrowd(t, node);
  const sessions = await sessionsOf(node);
  const took_ms = [];
  for (let number = 0; number < WORKERS; number++) took_ms.push(Math.round(await hush(node, number, spin)));
  t.note(`after ${took_ms.join(', ')} ms`);
  for (const ms of took_ms) check(ms < SPINS_MS || patience() > 1, () => `noticed after ${ms} ms`);
  /* what it spins is counted in time that it had of a processor: where that is little, viewers wait no longer */
  if (took_ms.some((ms) => ms > SPINS_MS)) return;
  equal(await sessionsOf(node), sessions, 'sessions, by address');
  equal([(await viewers.stop()).sessions.lost, (await publisher.stop()).sessions.lost], [0, 0], `sessions lost (${viewers.err.slice(-300)})`);
}, { timeout_ms: 60000 + 4 * KILL_MS });

test('a worker that stands still or crashes is gone on with as one that is killed', async (t) => {
  const node = await startNode(t, { args: PATIENT });
  const { publisher, viewers } = await startCrowd(t, node);
  const sessions = await sessionsOf(node);
  for (let number = 0; number < WORKERS; number++) await hush(node, number, 'SIGSTOP');
  for (let number = 0; number < WORKERS; number++) await killWorker(node, number, 'SIGSEGV');
  equal(await sessionsOf(node), sessions, 'sessions, by address');
  const seen = await viewers.stop();
  equal([seen.sessions.lost, (await publisher.stop()).sessions.lost], [0, 0], `sessions lost (${viewers.err.slice(-300)})`);
  const { text } = await node.get('/metrics');
  check(!/^millrace_takeover_actors_total\{.*result="(ended|damaged|poisoned)".*\} [1-9]/m.test(text), 'nobody was left out');
}, { timeout_ms: 60000 + 4 * KILL_MS });
