// SPDX-License-Identifier: Apache-2.0
// Sessions over WebRTC that go on at another worker of the node, viewers while they watch and publishers with
// their streams: nobody notices.

import { atLeast, atMost, equal, leeway, test, until } from './harness.mjs';
import { openPage, playWhep, publishWhip } from './browser.mjs';
import { Ledger } from './ledger.mjs';
import { live, Load } from './load.mjs';
import { pushRtmp } from './media.mjs';
import { freshName, millrace, startNode } from './node.mjs';
import { UdpRelay } from './relay.mjs';
import { killWorker, PATIENT } from './takeover.mjs';

const MOVES = Number(process.env.E2E_MOVES ?? 20);
const MOVE_MS = 3000; // what one may take on a busy machine
const RELAY = '127.0.0.2';
const CROWD = 20;

const viewersOf = async (node) => (await node.repl('actors session where play = true')).sort((a, b) => (a.addr < b.addr ? -1 : 1));

const workerOf = async (node, addr) => (await node.repl('actors session')).find((row) => row.addr === addr)?.worker;

/** Moves a session to the worker where it is not; says how long that took. */
async function move(node, addr) {
  const to = 1 - (await workerOf(node, addr));
  const { answer, fields } = await node.repl(`move ${addr} worker ${to}`);
  equal([answer, fields.worker ?? 0], ['session_moved', to], 'answer to a move');
  equal(await workerOf(node, addr), to, 'where it lives');
  return fields.took_us / 1000;
}

/** A machine that is crowded has freezes of its own. */
function compare(before, after, events, what) {
  atMost(after.freezes - before.freezes, leeway(events), `${what}: freezes`);
  equal({ ...after, freezes: before.freezes }, before, `${what}: the rest`);
}

const seen = ({ video, state, dtls, states, path }) => ({
  freezes: video.freezeCount, keyframes: video.keyFramesDecoded, lost: video.packetsLost,
  state, dtls, states: states.join(), port: path?.port,
});

test('a viewer in a browser moves between the workers, and sees nothing of it', async (t) => {
  const node = await startNode(t, { args: PATIENT });
  const name = freshName('rebalance');
  await publishWhip(await openPage(t, node), node, name);
  const viewer = await playWhep(await openPage(t, node), node, name);
  await viewer.moreVideo(60);
  const [{ addr }] = await viewersOf(node);
  const first = await workerOf(node, addr);
  // the copy of the stream on the other worker begins with a keyframe that is asked for; it stays
  for (let i = 0; i < 2; i++) await move(node, addr);
  await viewer.moreVideo(30);
  const before = seen(await viewer.look());
  const took = [];
  for (let i = 0; i < MOVES; i++) {
    took.push(await move(node, addr));
    await viewer.moreVideo(3);
  }
  const after = seen(await viewer.moreVideo(30));
  took.sort((a, b) => a - b);
  t.note(`${MOVES} moves: ${took[MOVES >> 1]} ms (median), ${took.at(-1)} ms (longest)`);
  t.note(`${after.freezes - before.freezes} freezes`);
  compare(before, after, MOVES, 'moves');

  // the worker that it has moved to dies
  if ((await workerOf(node, addr)) === first) await move(node, addr);
  await killWorker(node, await workerOf(node, addr));
  compare(after, seen(await viewer.moreVideo(30)), 1, 'the worker that it had moved to died');
}, { timeout_ms: 60000 + MOVES * MOVE_MS });

test('viewers move and workers die: no index of SRTP or SRTCP seals two packets', async (t) => {
  const node = await startNode(t, { args: [...PATIENT, '--advertise', RELAY] });
  const name = freshName('moved-index');
  const ledger = new Ledger();
  for (const relay of await UdpRelay.beforeWorkers(t, node, RELAY)) relay.observe = (bytes) => ledger.take(bytes);
  await publishWhip(await openPage(t, node), node, name);
  const viewer = await playWhep(await openPage(t, node), node, name);
  await viewer.moreVideo(20);
  const [{ addr }] = await viewersOf(node);
  for (let i = 0; i < 8; i++) {
    await move(node, addr);
    await viewer.moreVideo(2);
    if (i % 2) await killWorker(node, i >> 1 & 1);
    await viewer.moreVideo(2);
  }
  atLeast(ledger.packets, 100, 'packets seen');
  equal(ledger.reused, [], 'indices with two contents');
}, { timeout_ms: 120000 });

test(`${CROWD} viewers all move to one worker and back, none is lost`, async (t) => {
  const node = await startNode(t, { args: PATIENT });
  const name = freshName('moved-crowd');
  const publisher = new Load(t, ['whip', `${node.url}/whip/${name}`]);
  await live(node, name);
  const viewers = new Load(t, ['whep', `${node.url}/whep/${name}`, '--count', `${CROWD}`]);
  await until('all viewers are there', async () => (await viewersOf(node)).filter((row) => row.state === 'up').length === CROWD, 30000);
  for (const to of [0, 1]) {
    for (const { addr, worker } of await viewersOf(node)) {
      if (worker !== to) await until(`${addr} moves`, async () => (await node.console(`move ${addr} worker ${to}`)).ok);
    }
    equal([...new Set((await viewersOf(node)).map((row) => row.worker))], [to], 'where they are');
  }
  const seen = await viewers.stop();
  await publisher.stop();
  equal(seen.sessions, { wanted: CROWD, connected: CROWD, failed: 0, lost: 0 }, 'viewers');
  t.note(`longest gap, ms: p50 ${seen.gap_ms.p50.toFixed(0)}, p99 ${seen.gap_ms.p99.toFixed(0)}; ${seen.missing} packets lost`);
}, { timeout_ms: 120000 });

test('a session that has moved ends by its URL; what cannot move says why', async (t) => {
  const node = await startNode(t, {});
  const name = freshName('moved-end');
  await publishWhip(await openPage(t, node), node, name);
  const viewer = await playWhep(await openPage(t, node), node, name);
  await viewer.moreVideo(10);
  const [{ addr, worker }] = await viewersOf(node);
  const rows = [
    ['move', 'format'], [`move ${addr}`, 'format'], [`move ${addr} worker`, 'format'],
    [`move ${addr} worker x`, 'format'], [`move ${addr} worker -1`, 'format'], [`move ${addr} worker 1 now`, 'format'],
    [`move ${addr} worker 9`, 'not_found'], ['move ffff worker 1', 'not_found'],
    [`move ${addr} worker ${worker}`, 'exists'],
  ];
  for (const [command, code] of rows) equal((await node.console(command)).error?.code, code, command);
  await move(node, addr);
  await viewer.moreVideo(5);
  equal(await viewer.stop(), 200, 'DELETE');
  await until('it has ended', async () => (await viewersOf(node)).length === 0);
  equal((await node.console(`move ${addr} worker 0`)).ok, false, 'one that has ended');
});

test('a worker that drains gives its viewers to the other', async (t) => {
  const node = await startNode(t, { args: PATIENT });
  const name = freshName('drained');
  const publisher = new Load(t, ['whip', `${node.url}/whip/${name}`]);
  await live(node, name);
  const viewers = new Load(t, ['whep', `${node.url}/whep/${name}`, '--count', `${CROWD}`]);
  await until('all viewers are there', async () => (await viewersOf(node)).filter((row) => row.state === 'up').length === CROWD, 30000);
  const giver = (await viewersOf(node))[0].worker;
  await node.repl(`drain worker ${giver}`);
  await until('the other has them all', async () => (await viewersOf(node)).every((row) => row.worker !== giver), 60000);
  const seen = await viewers.stop();
  await publisher.stop();
  equal(seen.sessions, { wanted: CROWD, connected: CROWD, failed: 0, lost: 0 }, 'viewers');
  t.note(`longest gap, ms: p50 ${seen.gap_ms.p50.toFixed(0)}, p99 ${seen.gap_ms.p99.toFixed(0)}; ${seen.missing} packets lost`);
}, { timeout_ms: 120000 });

test('two workers drain: one keeps an encoder over RTMP, and gives its viewers, as the other does', async (t) => {
  const node = await startNode(t, { workers: 3, args: PATIENT });
  const name = freshName('drained-two');
  pushRtmp(t, node.rtmp, name);
  await live(node, name);
  const [{ worker: kept }] = await node.repl('actors rtmp_session');
  const other = (kept + 1) % 3;
  const third = 3 - kept - other;
  const viewers = new Load(t, ['whep', `${node.url}/whep/${name}`, '--count', '6']);
  await until('all viewers are there', async () => (await viewersOf(node)).filter((row) => row.state === 'up').length === 6, 30000);
  for (const [i, { addr, worker }] of (await viewersOf(node)).entries()) {
    const to = i % 2 ? kept : other;
    if (worker !== to) await until(`${addr} moves`, async () => (await node.console(`move ${addr} worker ${to}`)).ok);
  }
  for (const giver of [kept, other]) await node.repl(`drain worker ${giver}`);
  await until('the third has all viewers', async () => (await viewersOf(node)).every((row) => row.worker === third), 60000);
  equal((await node.repl('actors rtmp_session')).map((row) => row.worker), [kept], 'the encoder');
  const seen = await viewers.stop();
  equal(seen.sessions, { wanted: 6, connected: 6, failed: 0, lost: 0 }, 'viewers');
}, { timeout_ms: 120000 });

/** `millrace ctl`, which ends when it is done. */
async function ctl(node, ...args) {
  const { status, out, err } = await millrace(['ctl', '--connect', node.runDirectory, ...args], { timeout_ms: 60000 });
  equal(status, 0, `ctl ${args.join(' ')}: ${out}${err}`);
}

const sessionsAt = async (node, worker) => (await node.repl('actors session')).filter((row) => row.worker === worker);
const originOf = async (node, name) => (await node.repl('actors stream where replica = false')).find((row) => row.name.endsWith(name));

test('a worker that drains gives its publisher away, with the stream, and ends; so does one of two', async (t) => {
  const node = await startNode(t, { args: PATIENT });
  const name = freshName('publisher-drained');
  const publisher = new Load(t, ['whip', `${node.url}/whip/${name}`]);
  await live(node, name);
  const viewers = new Load(t, ['whep', `${node.url}/whep/${name}`, '--count', '8']);
  await until('all viewers are there', async () => (await viewersOf(node)).filter((row) => row.state === 'up').length === 8, 30000);
  const origin = await originOf(node, name);
  const gives = async (giver, ...command) => {
    await ctl(node, ...command, '--wait', '50');
    equal(await sessionsAt(node, giver), [], `sessions left on worker ${giver}`);
    const now = await originOf(node, name);
    equal([now.addr, now.worker], [origin.addr, 1 - giver], 'its stream, and where it is');
  };
  for (const giver of [origin.worker, 1 - origin.worker]) {
    await gives(giver, 'drain', 'worker', `${giver}`);
    await ctl(node, 'drain', 'off', 'worker', `${giver}`);
  }
  await gives(1, 'workers', '1');
  const seen = await viewers.stop();
  const sent = await publisher.stop();
  equal(seen.sessions, { wanted: 8, connected: 8, failed: 0, lost: 0 }, 'viewers');
  equal(sent.sessions, { wanted: 1, connected: 1, failed: 0, lost: 0 }, 'publisher');
  t.note(`longest gap, ms: p50 ${seen.gap_ms.p50.toFixed(0)}, p99 ${seen.gap_ms.p99.toFixed(0)}; ${seen.missing} packets lost`);
}, { timeout_ms: 240000 });

test('a stream leaves a worker that drains when its publisher comes back at another', async (t) => {
  const node = await startNode(t, { args: PATIENT });
  const name = freshName('stream-follows');
  const first = new Load(t, ['whip', `${node.url}/whip/${name}`]);
  await live(node, name);
  const origin = await originOf(node, name);
  await first.stop();
  await ctl(node, 'drain', 'worker', `${origin.worker}`);
  const second = new Load(t, ['whip', `${node.url}/whip/${name}`]);
  await live(node, name);
  await until('the stream is there, too', async () => (await originOf(node, name)).worker === 1 - origin.worker);
  equal((await originOf(node, name)).addr, origin.addr, 'its stream');
  await killWorker(node, origin.worker);
  equal((await second.stop()).sessions, { wanted: 1, connected: 1, failed: 0, lost: 0 }, 'publisher');
}, { timeout_ms: 60000 });

test('a browser publishes, its worker drains, and another browser sees nothing of it', async (t) => {
  const node = await startNode(t, { args: PATIENT });
  const name = freshName('browser-drained');
  const source = await publishWhip(await openPage(t, node), node, name);
  const viewer = await playWhep(await openPage(t, node), node, name);
  await viewer.moreVideo(60);
  const origin = await originOf(node, name);
  if ((await viewersOf(node))[0].worker !== origin.worker) await move(node, (await viewersOf(node))[0].addr);
  await viewer.moreVideo(30);
  const before = seen(await viewer.look());
  await ctl(node, 'drain', 'worker', `${origin.worker}`, '--wait', '50');
  equal((await originOf(node, name)).worker, 1 - origin.worker, 'where the stream is');
  await killWorker(node, 1 - origin.worker);
  const after = seen(await viewer.moreVideo(60));
  compare({ ...before, keyframes: 0 }, { ...after, keyframes: 0 }, 3, 'a drain, and a kill of the worker that has them');
  equal((await source.look()).state, 'connected', 'the publisher');
}, { timeout_ms: 120000 });
