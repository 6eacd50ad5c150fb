// SPDX-License-Identifier: Apache-2.0
// Behind `./dev cluster up`: the process that holds a cluster and does what cluster_command.mjs asks, a
// line of JSON each way on a socket. What it would take to clean up after it when it has crashed is in its
// state file before anything is made.
//
//   node cluster_keeper.mjs STATE-FILE OPTIONS     options as JSON: { count, etcd, topology, apart }

import { rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { check, Context, directory, Failure, RUN_ID } from './harness.mjs';
import { Lab } from './lab.mjs';
import { readTopology, usualTopology } from './topology.mjs';

const [file, text] = process.argv.slice(2);
const options = JSON.parse(text);
const t = new Context();
const state = { phase: 'starting', pid: process.pid, run_id: RUN_ID, directory, socket: join(directory, 'keeper'), nodes: [] };
let lab;

function save(changes) {
  Object.assign(state, changes);
  writeFileSync(file, `${JSON.stringify(state, null, 2)}\n`);
}

const saveNodes = () => save({ nodes: lab.nodes.map((node) => ({ name: node.name, run: node.runDirectory, url: lab.host ? `${lab.origin(node.name)}/` : '' })) });

// ---- what it is asked

const isMember = (name) => lab.members.includes(name);
const memberNamed = (name) => lab.cluster.etcd.members[lab.members.indexOf(name)];

async function nodeRow({ name, region, tier }, brain) {
  const node = lab.node(name);
  const row = { node: name, region, tier, state: node.exited ? 'ended' : 'runs', sees: '', plans: '', page: lab.host ? `${lab.origin(name)}/` : '' };
  if (node.exited) return row;
  const others = (await node.repl('nodes').catch(() => [])).slice(1);
  return { ...row, sees: `${others.filter((other) => other.state === 'up').length} of ${lab.nodes.length - 1}`, plans: node.node_id === brain ? 'plans' : '' };
}

const commands = {
  async status() {
    const [first] = lab.running;
    const { brain = '' } = first ? await first.repl('brain').catch(() => ({})) : {};
    const leader = await lab.cluster.etcd.leader().catch(() => null);
    return {
      nodes: await Promise.all(lab.topology.nodes.map((node) => nodeRow(node, brain))),
      etcd: lab.members.map((name) => ({ etcd: name, state: memberNamed(name).process ? 'runs' : 'ended', leads: memberNamed(name) === leader ? 'leads' : '' })),
      links: [...lab.changed].map(([key, rules]) => ({ link: key.replace(' ', ' - '), ...rules })),
    };
  },
  async link(a, b, ...rules) {
    check(a && b, 'expected: link A B [KEY=VALUE...]');
    await lab.link(a, b, Object.fromEntries(rules.map((rule) => {
      check(/^[a-z]+=.+$/.test(rule), `${rule}: expected KEY=VALUE, such as delay=40ms`);
      return rule.split('=');
    })));
    return `${a} - ${b}: ${rules.join(' ') || 'as the topology has it'}`;
  },
  async kill(name) {
    if (isMember(name)) await lab.cluster.etcd.kill(memberNamed(name));
    else await lab.kill(name);
    return `${name} has been killed`;
  },
  async start(name) {
    if (isMember(name)) {
      check(!memberNamed(name).process, `${name} runs already`);
      memberNamed(name).spawn();
    } else {
      lab.node(name);
      await lab.begin(name);
      saveNodes();
    }
    return `${name} has been started`;
  },
  async heal() {
    await lab.heal();
    return 'all links are as the topology has them';
  },
};

async function answer(line) {
  try {
    const [command, ...args] = JSON.parse(line);
    check(Object.hasOwn(commands, command), `no such command: ${command}`);
    return { ok: true, result: await commands[command](...args) };
  } catch (error) {
    return { ok: false, error: error instanceof Failure ? error.message : `${error.message}` };
  }
}

// ---- its life

let ending = false;

async function end(status) {
  if (ending) return;
  ending = true;
  const problem = await t.close();
  if (problem) console.error(problem);
  if (!status) {
    rmSync(directory, { recursive: true, force: true });
    rmSync(file, { force: true });
  }
  process.exit(status);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => end(0));

save({});
try {
  const topology = options.topology ? readTopology(options.topology) : usualTopology(options.count);
  lab = await Lab.start(t, { topology, etcd: options.etcd, host: !options.apart, say: (progress) => save({ progress }) });
  createServer((socket) => {
    socket.on('error', () => {});
    createInterface({ input: socket }).on('line', async (line) => socket.end(`${JSON.stringify(await answer(line))}\n`));
  }).listen(state.socket, saveNodes);
  save({ phase: 'up' });
} catch (error) {
  save({ phase: 'failed', error: error.message });
  await end(1);
}
