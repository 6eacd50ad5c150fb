// SPDX-License-Identifier: Apache-2.0
// `./dev proof`: viewers of a WHIP and of an RTMP stream, in browsers and many more of `millrace load`,
// while each thing happens to every worker in turn that nobody is to notice. A row of the table is one
// kind of event; its first row is the same time without any. A viewer's longest pause between two
// packets is its gap.
//
//   E2E_VIEWERS=200 E2E_BROWSERS=4   how many
//
// MILLRACE_WRITE_DOCS=1 writes the table into docs/performance.md.

import { copyFileSync, chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { atMost, check, equal, patience, share, test, until } from './harness.mjs';
import { openPage, playWhep } from './browser.mjs';
import { live, Load } from './load.mjs';
import { millrace, Node, program } from './node.mjs';
import { killWorker, PATIENT, WORKERS } from './takeover.mjs';

const VIEWERS = Number(process.env.E2E_VIEWERS ?? 200);
const BROWSERS = Number(process.env.E2E_BROWSERS ?? 2);
const STREAMS = ['live/rtc', 'live/rtmp'];
const GAP_MS = 100; // docs/decisions/014-takeover.md
const STUCK_MS = 550; // worker.stuck_ms and a beat (50): until one that stands still counts as dead
const DRAIN_S = 45; // 5 % of a worker's sessions move a second
const MOVES = 20;
const PICTURES = 60; // watched after the last event of a row
const ROW_MS = 180000;
const document = new URL('../../docs/performance.md', import.meta.url).pathname;

const workers = [...Array(WORKERS).keys()];
let copies = 0;
const table = new Map(); // a row each, also of one tried twice

/** What the tests share instead of making it each: ended with the node. */
class Scene {
  #undo = [];

  defer(undo) { this.#undo.push(undo); }

  static async open() {
    const scene = new Scene();
    scene.node = await Node.start({ args: PATIENT });
    scene.publishers = [
      new Load(scene, ['whip', `${scene.node.url}/whip/${STREAMS[0]}`]),
      new Load(scene, ['rtmp', `${scene.node.rtmp}/${STREAMS[1]}`]),
    ];
    for (const name of STREAMS) await live(scene.node, name);
    scene.peers = [];
    for (let i = 0; i < BROWSERS; i++)
      scene.peers.push(await playWhep(await openPage(scene, scene.node), scene.node, STREAMS[i % STREAMS.length]));
    for (const peer of scene.peers) await peer.moreVideo(PICTURES);
    return scene;
  }

  async close() {
    for (const undo of this.#undo.reverse()) await undo();
    await this.node.stop();
  }
}

const scene = share(() => Scene.open(), (opened) => opened.close());

const ctl = (node, ...args) => millrace(['ctl', '--connect', node.runDirectory, ...args], { timeout_ms: ROW_MS });

async function done(node, ...args) {
  const { status, err } = await ctl(node, ...args);
  equal(status, 0, `ctl ${args.join(' ')}: exit status (${err.slice(-300)})`);
}

const players = async (node) => node.repl('actors session where play = true');
const playersOn = async (node, worker) => (await players(node)).filter((row) => row.worker === worker).length;

/** What a browser counts, and whether it is still the connection that it was. */
const seen = ({ video, state, dtls, states, path }) => ({
  freezes: video.freezeCount, keyframes: video.keyFramesDecoded, frames: video.framesDecoded, lost: video.packetsLost,
  connection: JSON.stringify([state, dtls, states, path?.port]),
});
const look = async (peers) => Promise.all(peers.map(async (peer) => seen(await peer.look())));

const happenings = {
  nothing: async ({ peers }) => { for (const _ of workers) await peers[0].moreVideo(PICTURES); },
  'kill -9': async ({ node }) => { for (const worker of workers) await killWorker(node, worker); },
  'kill -STOP': async ({ node }) => { for (const worker of workers) await killWorker(node, worker, 'SIGSTOP'); },
  upgrade: async ({ node }) => {
    const path = join(node.base, `millrace-${++copies}`);
    copyFileSync(program, path);
    chmodSync(path, 0o755);
    await done(node, 'upgrade', '--binary', path);
  },
  drain: async ({ node }) => {
    for (const worker of workers) {
      const { status, err } = await ctl(node, 'drain', 'worker', `${worker}`, '--wait', `${DRAIN_S}`);
      check(status <= 1, `ctl drain worker ${worker}: exit status ${status} (${err.slice(-300)})`); // publishers stay
      equal(await playersOn(node, worker), 0, `viewers of worker ${worker}, drained`);
      await done(node, 'drain', 'off', 'worker', `${worker}`);
    }
  },
  'one more, one fewer': async ({ node }) => {
    await done(node, 'workers', `${WORKERS + 1}`);
    for (const { addr } of (await players(node)).slice(0, MOVES)) await node.console(`move ${addr} worker ${WORKERS}`);
    check(await playersOn(node, WORKERS) > MOVES / 2, 'the new worker has viewers');
    await done(node, 'workers', `${WORKERS}`);
  },
};

const connected = async (node) => (await node.json('/api/v1/sessions?limit=1000')).sessions.filter((row) => row.play && row.state === 'up').length;

/** Both crowds as one: the worse of their percentiles. */
const worst = (loads, figure) => Math.max(...loads.map((load) => load.gap_ms[figure]));
const sum = (rows, key) => rows.reduce((total, row) => total + row[key], 0);

for (const [name, happen] of Object.entries(happenings)) {
  test(`${name}: ${VIEWERS} viewers and ${BROWSERS} in browsers notice nothing`, async (t) => {
    const { node, peers } = await scene();
    const loads = STREAMS.map((stream) =>
      new Load(t, ['whep', `${node.url}/whep/${stream}`, '--count', `${VIEWERS / STREAMS.length}`, '--ramp', '10']));
    await until('all viewers are connected', async () => await connected(node) >= VIEWERS + BROWSERS, 60000);
    for (const peer of peers) await peer.moreVideo(PICTURES);
    const before = await look(peers);
    await happen({ node, peers });
    for (const peer of peers) await peer.moreVideo(PICTURES);
    const after = await look(peers);
    const results = await Promise.all(loads.map((load) => load.stop()));
    const row = { name, p50: worst(results, 'p50'), p99: worst(results, 'p99'), missing: sum(results, 'missing') };
    for (const key of ['freezes', 'keyframes', 'lost']) row[key] = sum(after, key) - sum(before, key);
    row.pictures = sum(after, 'frames') - sum(before, 'frames');
    table.set(name, row);
    t.note(JSON.stringify(row));
    for (const result of results) equal([result.sessions.failed, result.sessions.lost], [0, 0], 'sessions that failed, that were lost');
    equal(after.map((peer) => peer.connection), before.map((peer) => peer.connection), 'connections of the browsers');
    const noticed_ms = name === 'kill -STOP' ? STUCK_MS : 0;
    const usual_ms = table.get('nothing').p99;
    atMost(row.p99, noticed_ms + Math.max(GAP_MS * patience(), 1.5 * usual_ms), 'gap, ms, 99th percentile');
  }, { timeout_ms: ROW_MS });
}

const lines = () => [
  `| what happens to each of ${WORKERS} workers | gap p50 | gap p99 | packets lost for good | freezes in ${BROWSERS} browsers | their pictures |`,
  '|---|---|---|---|---|---|',
  ...[...table.values()].map((row) => `| ${row.name} | ${row.p50.toFixed(0)} ms | ${row.p99.toFixed(0)} ms | ${row.missing + row.lost} | ${row.freezes} | ${row.pictures} |`),
].join('\n');

test('the table', async () => {
  check(table.size, 'no row');
  console.log(`\n${lines()}\n\n${cpus().length} processors, load average ${loadavg()[0].toFixed(1)}\n`);
  if (!process.env.MILLRACE_WRITE_DOCS) return;
  const text = readFileSync(document, 'utf8');
  const marked = /(<!-- proof -->\n)[^]*?(<!-- \/proof -->)/;
  check(marked.test(text), `no marks in ${document}`);
  writeFileSync(document, text.replace(marked, (_, from, to) => `${from}${lines()}\n${to}`));
});
