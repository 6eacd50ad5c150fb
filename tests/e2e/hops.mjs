// SPDX-License-Identifier: Apache-2.0
// What nodes that run add to the network's own delay: mail from an actor of one to an actor of another and back
// (`ping`), and frames from a stream's log at one node to that at the next, over a chain of three: a, b, c. They share
// a clock and a loopback of their own, on which no datagram of a link passes between a and c, so the network itself
// adds next to nothing. Beside each stands the same over bare sockets, in the same run.
// `tests/e2e/run --hops`; each figure is a line of JSON, for `./dev bench`.

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { atLeast, atMost, RUN_ID, test, until } from './harness.mjs';
import { Cluster, agreed } from './cluster.mjs';
import { namespacesOf } from './internet.mjs';
import { Load } from './load.mjs';
import { Network } from './namespaces.mjs';
import { program } from './node.mjs';

const SMALL = ['--worker-spare', 'false', '--helper-count', '0', '--region', 'here',
  '--webrtc-sessions-per-address-max', '5000', '--http-requests-per-s-max', '100000'];
const LINK_PORTS = { a: 7501, b: 7521, c: 7541 };
const STREAMS = [1, 10, 50];
const VIEWERS = [50, 200]; // of one stream, at b; besides none
const TRACED = 4; // streams at most; more would be seen in what they cost
const TRACE_MS = 1500;
const ROUNDS_MAX = 40;
const HOPS = 500; // of frames, at least, for a figure
const PINGS = 400;
const SETTLE_MS = 2000;
const JOIN_MS = 20000;

const percentile = (samples, share) => [...samples].sort((a, b) => a - b)[Math.round(share * (samples.length - 1))];
const pause = (ms) => {
  const began = performance.now();
  return until('a while', () => performance.now() - began >= ms, 2 * ms);
};

/** A network that is one host, and gone at the end of the test: what runs a command in it. */
function ownLoopback(t) {
  const name = `${namespacesOf(RUN_ID)}hops`;
  const undo = () => spawnSync('ip', ['netns', 'del', name]);
  execFileSync('ip', ['netns', 'add', name]);
  process.once('exit', undo);
  t.defer(() => { process.off('exit', undo); undo(); });
  execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  return ['ip', 'netns', 'exec', name];
}

const apart = (a, b) => `table inet hops {
  chain out {
    type filter hook output priority filter
    udp sport ${LINK_PORTS[a]} udp dport ${LINK_PORTS[b]} drop
    udp sport ${LINK_PORTS[b]} udp dport ${LINK_PORTS[a]} drop
  }
}
`;

/** a, b, c in it: what c gets of a goes over b. */
async function chain(t) {
  const prefix = ownLoopback(t);
  const [command, ...rest] = prefix;
  execFileSync(command, [...rest, 'nft', '-f', '-'], { input: apart('a', 'c') });
  const place = { prefix, address: '127.0.0.1' };
  const cluster = await Cluster.start(t, { nodes: 0, found: false, etcd: { hosts: [place] } });
  for (const name of ['a', 'b', 'c'])
    await cluster.add({ name, ...place, args: [...SMALL, '--link-port', `${LINK_PORTS[name]}`, '--tier', name === 'b' ? 'core' : 'edge'] });
  await cluster.complete();
  await agreed(cluster.nodes);
  await until('a > b > c is planned', async () => (await cluster.nodes[0].repl('path a c')).find(({ place }) => place === 1)?.way === 'a > b > c', 30000);
  return { cluster, prefix };
}

/** { row: value } of a benchmark program. */
function measured(prefix, name, args = []) {
  const [command, ...rest] = [...prefix, program.replace(/[^/]*$/, name), ...args];
  const out = execFileSync(command, rest, { encoding: 'utf8' });
  return Object.fromEntries(out.trim().split('\n').map((line) => JSON.parse(line)).map(({ row, value }) => [row, value]));
}

function report(row, n, value, limit) {
  console.log(JSON.stringify({ row, n, unit: 'us', value, limit, ratio: Math.round((value / limit) * 1000) / 1000 }));
}

/** Microseconds one way, of mail from a to b, p50 and p99 of several hundred. */
async function mail({ nodes }) {
  const rounds = [];
  for (let sent = 0; sent < PINGS; sent += 200) {
    const round = await nodes[0].repl('ping b 200');
    atLeast(round.answered, 50, `answers to ${round.sent} pings`);
    rounds.push(round);
  }
  return ['p50_ms', 'p99_ms'].map((key) => 500 * percentile(rounds.map((round) => round[key]), 0.5));
}

// ---- frames

/** Addresses of the stream at a, b and c, once it comes to c over b. */
async function copies({ nodes }, name) {
  return until(`${name} comes to c over b`, async () => {
    const rows = await Promise.all(nodes.map((node) => node.repl(`actors stream where name = stream/${name}`)));
    if (!rows.every((of) => of.length === 1)) return null;
    const states = await Promise.all(nodes.map((node, i) => node.repl(`inspect ${rows[i][0].addr}`)));
    const from = states.map(({ state }) => state.source.split('/')[0]);
    return from[1] === nodes[0].node_id && from[2] === nodes[1].node_id && rows.map(([row]) => row.addr);
  }, 60000);
}

/** A console that stays open: to start one for each question would be seen in what is measured. */
class Asker {
  #waiting = [];

  constructor(t, node) {
    this.process = spawn(program, ['repl', '--connect', node.runDirectory, '--json'],
      { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, E2E_RUN: RUN_ID } });
    this.process.stdin.on('error', () => {});
    this.process.once('exit', () => this.#waiting.splice(0).forEach(({ reject }) => reject(new Error('the console has ended'))));
    createInterface({ input: this.process.stdout }).on('line', (line) => this.#waiting.shift().resolve(JSON.parse(line)));
    t.defer(() => this.process.kill());
  }

  ask(command) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.process.stdin.write(`${command}\n`);
    });
  }
}

/** When frames came to a node: { capture: microseconds }. One that could not say so in time has seen none. */
async function trace(asker, addr) {
  const { result } = await asker.ask(`send ${addr} stream_trace for_ms=${TRACE_MS}`);
  return new Map((result?.fields?.frames ?? []).map(({ capture_us: capture, at_us: at }) => [capture, at]));
}

/** Microseconds of hops, from a to b and from b to c, of so many frames together. */
async function hops(cluster, askers, names) {
  const traced = await Promise.all(names.slice(0, TRACED).map((name) => copies(cluster, name)));
  const spent = [[], []];
  for (let round = 0; spent.flat().length < HOPS; round++) {
    atMost(round, ROUNDS_MAX, 'rounds of tracing');
    const rounds = await Promise.all(traced.map((addrs, k) => Promise.all(addrs.map((addr, i) => trace(askers[k][i], addr)))));
    for (const came of rounds)
      for (const hop of [0, 1])
        for (const [capture, at] of came[hop + 1]) if (came[hop].has(capture)) spent[hop].push(at - came[hop].get(capture));
    if (rounds.flat().some((came) => !came.size)) await pause(TRACE_MS); // what it began is over then
  }
  return spent;
}

test('what nodes that run add: mail, hops over streams and viewers', async (t) => {
  const { cluster, prefix } = await chain(t);
  const [a, b, c] = cluster.nodes;
  const askers = Array.from({ length: TRACED }, () => cluster.nodes.map((node) => new Asker(t, node)));
  const portOf = (address) => address.split(':').at(-1);
  await pause(SETTLE_MS); // what a start sets off is over
  const bareMail = measured(prefix, 'mesh_bench', ['paced']);
  const [p50, p99] = await mail(cluster);
  report('running_mail_p50', 0, p50, bareMail.bare_mail_p50);
  report('running_mail_p99', 0, p99, bareMail.bare_mail_p99);

  const both = (row, n, spent, bare) => {
    report(`${row}_p50`, n, percentile(spent, 0.5), bare.bare_hop_p50);
    report(`${row}_p99`, n, percentile(spent, 0.99), bare.bare_hop_p99);
    t.note(`${row} ${n}: ${spent.length} hops, worst ${Math.max(...spent)} us`);
  };
  const withViewers = async (viewers, name) => {
    const crowd = new Load(t, ['whep', `http://127.0.0.1:${portOf(b.ready.http)}/whep/${name}`, '--count', `${viewers}`, '--ramp', '100'], prefix);
    const there = await until('viewers', async () => (await b.repl('streams')).some((row) => row.name === name && row.viewers >= viewers), JOIN_MS).catch(() => false);
    if (there) {
      await pause(SETTLE_MS);
      const bare = measured(prefix, 'hop_bench');
      both('chain_viewers', viewers, (await hops(cluster, askers, [name]))[1], bare);
    } else {
      t.note(`a machine too busy for ${viewers} viewers`);
    }
    await crowd.stop();
  };
  for (const [i, count] of STREAMS.entries()) {
    const name = (n) => `live/hop${i}${count > 1 ? `-${n}` : ''}`;
    const names = Array.from({ length: count }, (_, k) => name(k + 1));
    const source = new Load(t, ['rtmp', `rtmp://127.0.0.1:${portOf(a.ready.rtmp)}/live/hop${i}`, '--count', `${count}`, '--rate', '2M'], prefix);
    await until('they are published', async () => (await a.repl('streams')).length >= count, 30000);
    const watching = new Load(t, ['flv', `http://127.0.0.1:${portOf(c.ready.http)}/${name('{n}')}.flv`, '--count', `${count}`], prefix);
    await Promise.all(names.slice(0, TRACED).map((one) => copies(cluster, one)));
    await pause(SETTLE_MS);
    const bare = measured(prefix, 'hop_bench'); // beside what it is the limit of
    const spent = await hops(cluster, askers, names);
    both('chain_streams', count, spent.flat(), bare);
    if (count === 1) {
      both('chain_viewers', 0, spent[1], bare);
      for (const viewers of VIEWERS) await withViewers(viewers, names[0]);
    }
    await watching.stop();
    await source.stop();
    await until('they have ended', async () => !(await b.repl('actors stream')).length, 60000);
  }
}, { skip: Network.lacks(), timeout_ms: 240000 });
