// SPDX-License-Identifier: Apache-2.0
// `./dev cluster`: a cluster on this machine, each node in a network namespace, with real etcd and a
// network between them that does what it is told. `up` leaves a process behind that holds it
// (cluster_keeper.mjs); `down` takes everything away, also what one that has crashed has left.

import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Context, directory, Failure, processesOf, RUN_ID, until } from './harness.mjs';
import { namespacesOf } from './internet.mjs';
import { Network } from './namespaces.mjs';
import { program } from './node.mjs';
import { tellStory } from './story.mjs';

const UP_MS = 180000;
const UP_EACH_MS = 6000; // and for each node
const NODES_MAX = 120; // impair takes 160 hosts
const ANSWER_MS = 60000;
const END_MS = 60000;
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const file = process.env.MILLRACE_CLUSTER_STATE ?? here('../../build/cluster/state.json');
const log = `${file.replace(/\.json$/, '')}.log`;

const USAGE = `usage: ./dev cluster COMMAND

  up [N] [--etcd 1|3] [--topology FILE] [--apart]
                       N nodes (6) in three regions, or those of a topology file (docs/cluster.md), each on a
                       host of its own; --apart: this machine does not reach them
  status               nodes, members of etcd, links that were changed
  link A B [KEY=VALUE...]
                       changes the way between two hosts: delay=40ms jitter=5ms loss=2% burst=3 rate=5M down=1 …;
                       without any: as it was
  heal                 all links as they were
  kill HOST, start HOST
                       a node or a member of etcd (etcd1 …): kill -9; the same one again
  repl NODE [ARGUMENTS]
                       its console
  down                 takes everything away
  demo [--short]       a cluster of its own, and what befalls it while people watch
`;

class Usage extends Error {}

const readState = () => (existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : null);

function isAlive(state) {
  try {
    return /cluster_(keeper|command)\.mjs/.test(readFileSync(`/proc/${state.pid}/cmdline`, 'latin1'));
  } catch {
    return false;
  }
}

/** The cluster that is up. */
function theCluster() {
  const state = readState();
  if (!state) throw new Failure('no cluster is up: ./dev cluster up');
  if (!isAlive(state)) throw new Failure('who held the cluster has crashed: ./dev cluster down');
  if (state.phase !== 'up') throw new Failure(`the cluster is ${state.phase}: ${log}`);
  return state;
}

function ask(command, ...args) {
  const { socket } = theCluster();
  return new Promise((resolve, reject) => {
    let text = '';
    const connection = net.connect(socket, () => connection.write(`${JSON.stringify([command, ...args])}\n`));
    connection.setTimeout(ANSWER_MS, () => connection.destroy(new Failure(`no answer after ${ANSWER_MS / 1000} s`)));
    connection.setEncoding('utf8').on('data', (more) => { text += more; }).on('error', reject).on('close', () => {
      if (!text) return reject(new Failure(`no answer: ${log}`));
      const { ok, result, error } = JSON.parse(text);
      return ok ? resolve(result) : reject(new Failure(error));
    });
  });
}

function table(rows) {
  if (!rows.length) return;
  const names = [...new Set(rows.flatMap(Object.keys))];
  const lines = [names, ...rows.map((row) => names.map((name) => `${row[name] ?? ''}`))];
  const widths = names.map((_, i) => Math.max(...lines.map((line) => line[i].length)));
  for (const line of lines) console.log(line.map((word, i) => word.padEnd(widths[i])).join('  ').trimEnd());
  console.log();
}

async function showStatus() {
  const { nodes, etcd, links } = await ask('status');
  for (const rows of [nodes, etcd, links]) table(rows);
}

/** Ends everything that a run has started: by what its processes carry in their environment, and its
 *  namespaces by their names. */
async function sweep({ run_id, directory: left }) {
  for (const pid of processesOf(run_id)) process.kill(pid, 'SIGKILL');
  await until('all its processes have ended', () => !processesOf(run_id).length, END_MS);
  const { stdout } = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' });
  for (const line of stdout.split('\n')) {
    const [name] = line.split(' ');
    if (name.startsWith(namespacesOf(run_id))) spawnSync('ip', ['netns', 'del', name]);
  }
  rmSync(left, { recursive: true, force: true });
  rmSync(file, { force: true });
}

// ---- commands

function optionsOf(words) {
  const options = { count: 6, etcd: 1, topology: '', apart: false };
  while (words.length) {
    const word = words.shift();
    if (word === '--apart') options.apart = true;
    else if (word === '--etcd' && ['1', '3'].includes(words[0])) options.etcd = Number(words.shift());
    else if (word === '--topology' && words.length) options.topology = words.shift();
    else if (/^\d+$/.test(word) && word >= 1 && word <= NODES_MAX) options.count = Number(word);
    else throw new Usage(`up: ${word}: expected a number of nodes from 1 to ${NODES_MAX}, --etcd 1 or 3, --topology FILE, --apart`);
  }
  return options;
}

/** Room for a cluster: none is there, and namespaces can be made. */
function prepare() {
  const lacks = Network.lacks();
  if (lacks) throw new Failure(lacks);
  if (readState()) throw new Failure('there is a cluster already: ./dev cluster down');
  mkdirSync(dirname(file), { recursive: true });
}

async function up(words) {
  const options = optionsOf(words);
  prepare();
  const out = openSync(log, 'w');
  const keeper = spawn(process.execPath, [here('cluster_keeper.mjs'), file, JSON.stringify(options)], { detached: true, stdio: ['ignore', out, out] });
  closeSync(out);
  let told = '';
  await until('the cluster is up', () => {
    const { phase, progress = '' } = readState() ?? {};
    if (progress !== told) console.log(progress);
    told = progress;
    return keeper.exitCode !== null || phase === 'up';
  }, UP_MS + UP_EACH_MS * (options.topology ? NODES_MAX : options.count));
  if (keeper.exitCode === null) {
    keeper.unref();
    return showStatus();
  }
  const state = readState();
  if (state) await sweep(state);
  throw new Failure(`${state?.error ?? 'it has ended'}\n${readFileSync(log, 'utf8').slice(-2000)}`);
}

async function down() {
  const state = readState();
  if (!state) return console.log('no cluster is up');
  if (isAlive(state)) {
    process.kill(state.pid, 'SIGTERM');
    await until('who holds it has ended', () => !isAlive(state), END_MS).catch(() => process.kill(state.pid, 'SIGKILL'));
  }
  await sweep(state);
  return console.log('the cluster is down');
}

function repl([name, ...args]) {
  const node = theCluster().nodes.find((one) => one.name === name);
  if (!node) throw new Usage(`repl: expected the name of a node, got "${name ?? ''}"`);
  const { status } = spawnSync(program, ['repl', '--connect', node.run, ...args], { stdio: 'inherit' });
  process.exitCode = status ?? 1;
}

async function demo(words) {
  const short = words[0] === '--short';
  if (words.length > Number(short)) throw new Usage(`demo: unexpected ${words.at(-1)}`);
  prepare();
  writeFileSync(file, JSON.stringify({ phase: 'a demo', pid: process.pid, run_id: RUN_ID, directory }));
  const t = new Context();
  t.defer(() => rmSync(file));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => t.close().then(() => process.exit(1)));
  try {
    await tellStory(t, { short, host: true, say: (text) => console.log(text) });
  } finally {
    await t.close();
  }
}

/** A command of at least so many words, that is asked for. */
function asking(count, run) {
  return async (args) => {
    if (args.length < count) throw new Usage('a word is missing');
    console.log(await run(...args));
  };
}

const commands = {
  up, down, repl, demo,
  status: showStatus,
  heal: asking(0, () => ask('heal')),
  link: asking(2, (...args) => ask('link', ...args)),
  kill: asking(1, (name) => ask('kill', name)),
  start: asking(1, (name) => ask('start', name)),
};

process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
const [command = 'help', ...args] = process.argv.slice(2);
try {
  if (['help', '--help', '-h'].includes(command)) process.stdout.write(USAGE);
  else if (!Object.hasOwn(commands, command)) throw new Usage(`no such command: ${command}`);
  else await commands[command](args);
} catch (error) {
  if (error instanceof Usage) console.error(`${USAGE}\ndev: cluster: ${error.message}`);
  else console.error(`dev: cluster: ${error instanceof Failure ? error.message : error.stack}`);
  process.exitCode = error instanceof Usage ? 2 : 1;
}
