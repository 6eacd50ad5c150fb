// SPDX-License-Identifier: Apache-2.0
// The console from afar: an operator with a key of the cluster's at the mesh's port, and everybody else.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { atMost, check, directory, equal, patience, RUN_ID, test, until } from './harness.mjs';
import { Cluster, keys, metric } from './cluster.mjs';
import { millrace, program } from './node.mjs';

const wait = { timeout_ms: 90000 };
const CLEAR_MS = 7000; // an error is said within that; 5 s is what a silent host gets

const digits = (count, digit = '0') => digit.repeat(count);

/** An operator's file, signed by that cluster. */
async function operator(cluster, name = 'anna') {
  const file = join(mkdtempSync(join(directory, 'operator-')), name);
  const made = await keys(['operator', name, file, '--data-dir', cluster.home, '--cluster-key', cluster.file]);
  return { name, file, key: made.key };
}

const keyOf = async (node) => (await keys(['show', '--data-dir', node.data])).key;
const addressOf = (node) => `tcp://${node.ready.mesh}`;
const pinned = async (node) => `${addressOf(node)}?key=${await keyOf(node)}`;

/** Commands over that address: {status, out, err, ms}. */
async function far(who, address, commands, args = []) {
  const began = Date.now();
  const result = await millrace(['repl', address, '--operator', who.file, ...commands.flatMap((one) => ['-e', one]), ...args]);
  return { ...result, ms: Date.now() - began };
}

async function ask(who, address, command) {
  const { status, out, err } = await far(who, address, [command], ['--json']);
  equal(status, 0, `${command} at ${address}: exit status, after ${out}${err}`);
  return JSON.parse(out).result;
}

/** A console that stays. */
function follow(t, who, address, command) {
  const child = spawn(program, ['repl', address, '--operator', who.file, '--json', '-e', command],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, E2E_RUN: RUN_ID } });
  const state = { lines: [], status: null, child };
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop();
    for (const line of parts) state.lines.push(JSON.parse(line));
  });
  child.once('exit', (code) => { state.status = code; });
  t.defer(() => child.kill('SIGKILL'));
  return state;
}

test('ctl keys operator: wrong words, a file for nobody else, never over another', async () => {
  const home = mkdtempSync(join(directory, 'keys-'));
  const { file: clusterKey } = await keys(['init', '--data-dir', home]);
  for (const [args, status, text] of [
    [['operator'], 2, 'keys operator NAME FILE'], [['operator', 'anna'], 2, 'keys operator NAME FILE'],
    [['operator', 'an na', join(home, 'x')], 2, 'expected a name'],
    [['operator', '../anna', join(home, 'x')], 2, 'expected a name'],
    [['operator', 'anna', join(home, 'no', 'x')], 1, "the operator's file"],
    [['operator', 'anna', join(home, 'x'), '--cluster-key', '/nowhere'], 1, 'there is no cluster key here'],
  ]) {
    const { status: was, out, err } = await millrace(['ctl', 'keys', ...args, '--data-dir', home]);
    equal([was, out], [status, ''], `ctl keys ${args.join(' ')}: exit status, output`);
    check(err.includes(text), () => `ctl keys ${args.join(' ')}: no "${text}" in ${err}`);
  }
  const { file } = await operator({ home, file: clusterKey });
  equal(statSync(file).mode & 0o777, 0o600, 'its mode');
  const before = readFileSync(file, 'utf8');
  const again = await millrace(['ctl', 'keys', 'operator', 'anna', file, '--data-dir', home]);
  equal(again.status, 1, 'a second time: exit status');
  equal(readFileSync(file, 'utf8'), before, 'the file');
});

test('from afar: as from here; a node is known the second time', async (t) => {
  const cluster = await Cluster.start(t);
  const [a, b] = cluster.nodes, who = await operator(cluster);
  const unknown = await far(who, addressOf(a), ['nodes']);
  equal([unknown.status, unknown.out], [2, ''], 'a node whose key is not known: exit status, output');
  check(unknown.err.includes('its key is not known yet'), () => unknown.err);
  for (const node of [a, b]) {
    const [row] = await ask(who, await pinned(node), 'nodes');
    equal([row.node, row.id], [node.name, node.node_id], 'the node that answers');
    equal((await ask(who, addressOf(node), 'nodes'))[0].node, node.name, 'the second time');
  }
  equal(JSON.stringify(await ask(who, addressOf(a), 'help')), JSON.stringify(await a.repl('help')), 'help from afar, from here');
  const { out: tables } = await far(who, addressOf(a), ['workers', 'nodes']);
  check(/control/.test(tables) && /doubtful|up/.test(tables), () => tables);
  const { status, err } = await far(who, addressOf(a), ['fly']);
  equal(status, 1, 'a command that is none: exit status');
  check(err.includes('no such command'), () => err);
  const piped = await millrace(['repl', addressOf(a), '--operator', who.file], { input: 'nodes\nworkers\nexit\n' });
  equal(piped.status, 0, 'from a pipe: exit status');
  const byEnvironment = await millrace(['repl', '--connect', addressOf(a), '-e', 'nodes'], { env: { MILLRACE_OPERATOR: who.file } });
  equal(byEnvironment.status, 0, 'MILLRACE_OPERATOR: exit status');
  const ctl = await millrace(['ctl', '--connect', addressOf(b), '--json', 'status'], { env: { MILLRACE_OPERATOR: who.file } });
  equal(JSON.parse(ctl.out).result.node.node, 'b', 'ctl status');
  await until('who came is in the log', () => /operator_came.*anna/.test(a.log));
  await until('all have left', async () => await metric(a, 'mesh_operators') === 0);
}, wait);

test('from afar: watch and trace tell what goes on; an end of the connection is said', async (t) => {
  const cluster = await Cluster.start(t, { nodes: 1 });
  const [a] = cluster.nodes, who = await operator(cluster);
  await ask(who, await pinned(a), 'nodes');
  const mesh = (await a.repl('actors mesh'))[0].addr;
  const trace = follow(t, who, addressOf(a), `trace ${mesh}`), watch = follow(t, who, addressOf(a), `watch ${(await a.repl('actors placement'))[0].addr}`);
  await until('messages', () => trace.lines.length > 3, 20000);
  await until('changes', () => watch.lines.length > 2, 20000);
  check(trace.lines.every((line) => line.ok && line.more), 'more to come');
  await until('two operators are counted', async () => await metric(a, 'mesh_operators') === 2);
  const { pid } = await a.worker('control');
  process.kill(pid, 'SIGKILL');
  await until('both say that it is over', () => trace.status !== null && watch.status !== null, 15000);
  for (const one of [trace, watch]) {
    equal(one.status, 3, 'exit status');
    const last = one.lines.at(-1);
    check(!last.ok && last.error.message.includes('connection'), () => JSON.stringify(last));
  }
  await until('the next control process takes them', async () => (await far(who, addressOf(a), ['nodes'])).status === 0, 20000);
}, wait);

test('from afar: a node that stops answering is not waited for for ever', async (t) => {
  const cluster = await Cluster.start(t, { nodes: 1, args: ['--worker-stuck-ms', '60s'] });
  const [a] = cluster.nodes, who = await operator(cluster);
  await ask(who, await pinned(a), 'nodes');
  const trace = follow(t, who, addressOf(a), `trace ${(await a.repl('actors mesh'))[0].addr}`);
  await until('messages', () => trace.lines.length, 20000);
  const { pid } = await a.worker('control');
  process.kill(pid, 'SIGSTOP');
  t.defer(() => { try { process.kill(pid, 'SIGCONT'); } catch { /* it has been replaced */ } });
  await until('it says that it is over', () => trace.status !== null, 20000);
  equal(trace.status, 3, 'exit status');
  const { status, err, ms } = await far(who, addressOf(a), ['nodes']);
  equal(status, 3, 'a new one: exit status');
  check(err.includes('says nothing') || err.includes('cannot be reached'), () => err);
  atMost(ms, CLEAR_MS * patience(), 'until that is said');
}, wait);

test('from afar: who may not, and what is no node, is told within seconds', async (t) => {
  const cluster = await Cluster.start(t);
  const [a, b] = cluster.nodes, who = await operator(cluster);
  const elsewhere = mkdtempSync(join(directory, 'cluster-'));
  const { file } = await keys(['init', '--data-dir', elsewhere]);
  const stranger = await operator({ home: elsewhere, file });
  const damaged = { file: join(elsewhere, 'damaged') };
  writeFileSync(damaged.file, randomBytes(600));
  const server = (said) => new Promise((resolve) => {
    const one = net.createServer((socket) => { socket.on('error', () => {}).resume(); if (said) socket.write(said); });
    t.defer(() => one.close());
    one.listen(0, '127.0.0.1', () => resolve(`tcp://127.0.0.1:${one.address().port}?key=${digits(64, 'a')}`));
  });
  const closed = net.createServer();
  const nobody = await new Promise((resolve) => closed.listen(0, '127.0.0.1', () => resolve(closed.address().port)));
  await new Promise((resolve) => { closed.close(resolve); });
  const refusals = 'mesh_refused_total{role="control",index="0",reason="operator"}';
  const refused = await metric(a, refusals);
  for (const [what, operatorOf, address, expected, text] of [
    ['no address', who, 'tcp://127.0.0.1', 2, 'expected tcp://HOST:PORT'],
    ['no file', { file: join(elsewhere, 'none') }, addressOf(a), 2, "there is no operator's file"],
    ['a damaged file', damaged, addressOf(a), 2, 'malformed'],
    ['a key of the cluster', { file: cluster.file }, addressOf(a), 2, 'malformed'],
    ["a node's key", { file: join(a.data, 'mesh-key') }, await pinned(a), 2, 'malformed'],
    ['another cluster', stranger, await pinned(a), 3, 'another cluster has signed'],
    ["another node's key", who, `${addressOf(a)}?key=${await keyOf(b)}`, 3, 'another key'],
    ['a key of nobody', who, `${addressOf(a)}?key=${digits(64, 'a')}`, 3, 'another key'],
    ['nobody there', who, `tcp://127.0.0.1:${nobody}?key=${digits(64, 'a')}`, 3, 'nobody listens there'],
    ['no host', who, `tcp://nowhere.invalid:7400?key=${digits(64, 'a')}`, 3, 'no such host'],
    ['a silent host', who, await server(''), 3, 'says nothing'],
    ['garbage', who, await server(randomBytes(4096)), 3, 'mesh.port'],
    ['a web server', who, `tcp://${a.ready.http}?key=${await keyOf(a)}`, 3, 'mesh.port'],
  ]) {
    const { status, out, err, ms } = await far(operatorOf, address, ['nodes']);
    equal([status, out], [expected, ''], `${what}: exit status, output, after ${err}`);
    check(err.includes(text), () => `${what}: no "${text}" in ${err}`);
    atMost(ms, CLEAR_MS * patience(), `${what}: until that is said`);
  }
  await until('it is counted', async () => await metric(a, refusals) === refused + 1);
  equal([await cluster.state(a, b), await metric(a, 'mesh_operators')], ['up', 0], 'the other node, operators');
}, wait);

test('from afar: a node without a cluster key lets nobody in', async (t) => {
  const cluster = await Cluster.start(t, { nodes: 0 });
  const who = await operator(cluster);
  const p = await cluster.add({ name: 'p', signed: false, key: '', args: ['--mesh-peers', digits(64, 'b')] });
  const { status, err } = await far(who, await pinned(p), ['nodes']);
  equal(status, 3, 'without a cluster key: exit status');
  check(err.includes('another key') || err.includes('no cluster.key'), () => err);
}, wait);

/** `millrace repl` on a terminal. */
function terminal(t, who, address) {
  const command = `exec ${program} repl ${address} --operator ${who.file}`;
  const child = spawn('script', ['-qfec', command, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, E2E_RUN: RUN_ID, TERM: 'xterm', SHELL: '/bin/sh', XDG_STATE_HOME: mkdtempSync(join(directory, 'state-')) },
  });
  const screen = { text: '', status: null };
  child.stdout.setEncoding('utf8').on('data', (text) => { screen.text += text; });
  child.once('exit', (code) => { screen.status = code; });
  t.defer(() => child.kill('SIGKILL'));
  screen.type = async (typed, expected) => {
    const from = screen.text.length;
    child.stdin.write(typed);
    await until(`${JSON.stringify(typed)} shows ${expected}`, () => expected.test(screen.text.slice(from)))
      .catch((error) => { throw new Error(`${error.message}\n${screen.text.slice(from)}`); });
  };
  return screen;
}

test('from afar, on a terminal: Tab, Ctrl-C ends a trace, a lost connection is made anew', async (t) => {
  const cluster = await Cluster.start(t, { nodes: 1 });
  const [a] = cluster.nodes, who = await operator(cluster);
  await ask(who, await pinned(a), 'nodes');
  const screen = terminal(t, who, addressOf(a));
  await until('the prompt', () => screen.text.includes('millrace> '));
  await screen.type('wor\t', /kers /);
  await screen.type('\n', /control/);
  await screen.type('inspect office/x\x03', /millrace> $/);
  await screen.type(`trace ${(await a.repl('actors mesh'))[0].addr}\n`, /mesh_node|store_|nodes_ask/);
  await screen.type('\x03', /events +\d+[^]*millrace> $/);
  const { pid } = await a.worker('control');
  process.kill(pid, 'SIGKILL');
  await until('another control process', async () => (await a.worker('control').catch(() => null))?.state === 'ready', 20000);
  await screen.type('nodes\n', /connection to the node has ended|has ended|closed/);
  await screen.type('nodes\n', /in_store/);
  await screen.type('exit\n', /exit/);
  await until('it has ended', () => screen.status !== null);
  equal(screen.status, 0, 'exit status');
}, wait);
