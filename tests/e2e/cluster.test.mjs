// SPDX-License-Identifier: Apache-2.0
// Nodes that see each other: who may come in, and what becomes of it when they are killed, stopped, get
// another key, or strangers speak to their port.

import { randomBytes } from 'node:crypto';
import { cpSync, mkdtempSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { atMost, check, directory, equal, patience, test, timeUntil, until } from './harness.mjs';
import { Cluster, keys, metric } from './cluster.mjs';
import { moreVideo, publishRtmp, watchFlv } from './media.mjs';
import { freshName, millrace, startNode } from './node.mjs';

const wait = { timeout_ms: 90000 };

// ---- keys --------------------------------------------------------------------------------------

const digits = (count, digit = '0') => digit.repeat(count);

const wrong = [
  [[], 2, 'expected: keys init'],
  [['fly'], 2, 'no such command: keys fly'],
  [['init', 'now'], 2, 'expected nothing behind keys init'],
  [['sign', '12ab'], 2, 'expected: keys sign NODE KEY'],
  [['sign', '0', digits(64)], 2, "expected a node's id"],
  [['sign', '-1', digits(64)], 2, 'unexpected "-1"'],
  [['sign', '12345678901234567', digits(64)], 2, "expected a node's id"],
  [['sign', '12ab', digits(63)], 2, 'expected a key of 64 digits'],
  [['sign', '12ab', digits(64, 'g')], 2, 'expected a key of 64 digits'],
  [['install'], 2, 'expected: keys install'],
  [['install', 'certificate'], 2, 'expected a certificate'],
  [['install', digits(242)], 2, 'expected a certificate'],
  [['node', '--days', '0'], 2, 'at least 1'],
  [['node', '--days', 'long'], 2, 'expected days'],
  [['node', '--wait', '3'], 2, 'does not take --wait'],
  [['node', '--connect', '/nowhere'], 2, 'does not take --connect'],
  [['show'], 1, 'no key yet'],
  [['node'], 1, 'there is no cluster key here'],
  [['sign', '12ab', digits(64)], 1, 'there is no cluster key here'],
  [['node', '--cluster-key', '/nowhere'], 1, 'there is no cluster key here'],
  [['node', '--cluster-key', '/dev/null'], 1, 'malformed'],
  [['init', '--cluster-key', '/proc/nothing'], 1, 'No such file'],
];

test('ctl keys: wrong words and missing keys are told', async () => {
  const data = mkdtempSync(join(directory, 'keys-'));
  for (const [args, expected, text] of wrong) {
    const { status, out, err } = await millrace(['ctl', 'keys', ...args, '--data-dir', data]);
    equal([status, out], [expected, ''], `ctl keys ${args.join(' ')}: exit status, output`);
    check(err.includes(text), () => `ctl keys ${args.join(' ')}: no "${text}" in ${err}`);
  }
  const { status, err } = await millrace(['ctl', 'status', '--days', '3']);
  equal(status, 2, 'status --days');
  check(err.includes('does not take --days'), () => err);
});

test('ctl keys: made, signed here and elsewhere, rotated; nobody else can read them', async () => {
  const [home, away] = [mkdtempSync(join(directory, 'keys-')), mkdtempSync(join(directory, 'keys-'))];
  const { cluster_key: key, file } = await keys(['init', '--data-dir', home]);
  equal(statSync(file).mode & 0o777, 0o600, 'mode of the cluster key');
  const again = await millrace(['ctl', 'keys', 'init', '--data-dir', home]);
  equal(again.status, 1, 'a second init');
  const here = await keys(['node', '--data-dir', home]);
  equal(here.signed, true, 'signed');
  for (const name of ['mesh-key', 'mesh-certificate']) equal(statSync(join(home, name)).mode & 0o777, 0o600, `mode of ${name}`);
  const next = await keys(['rotate', '--data-dir', home]);
  check(next.node === here.node && next.key !== here.key && next.signed, () => JSON.stringify(next));
  // where the cluster's key is not
  const first = await keys(['rotate', '--data-dir', away]);
  equal(first.signed, false, 'signed without the cluster key');
  const { certificate } = await keys(['sign', first.node, first.key, '--data-dir', home, '--days', '3']);
  const other = await millrace(['ctl', 'keys', 'install', certificate, '--data-dir', home]);
  equal(other.status, 1, 'a certificate of another node');
  const taken = await keys(['install', certificate, '--data-dir', away]);
  equal([taken.node, taken.key, taken.signed], [first.node, first.key, true], 'installed');
  equal((await keys(['show', '--data-dir', home])).cluster_key, key, 'cluster key shown');
  writeFileSync(join(away, 'mesh-key'), 'nonsense');
  const damaged = await millrace(['ctl', 'keys', 'show', '--data-dir', away]);
  equal(damaged.status, 1, 'a damaged key');
  check(damaged.err.includes('malformed'), () => damaged.err);
});

test('a node by itself has no mesh', async (t) => {
  const node = await startNode(t, { workers: 1 });
  equal([node.ready.mesh, (await node.repl('nodes')).length], [undefined, 1], 'mesh port, nodes');
});

// ---- who is there ------------------------------------------------------------------------------

test('three nodes see each other, with round trips, and one that stops is gone at once', async (t) => {
  const cluster = await Cluster.start(t, { nodes: 3, args: ['--region', 'here', '--tier', 'edge'] });
  const [a, b, c] = cluster.nodes;
  const row = await until('a round trip', async () => { const r = await cluster.row(a, b); return r.rtt_ms > 0 && r; });
  equal([row.node, row.region, row.tier, row.in_store], ['b', 'here', 'edge', true], 'row of b');
  t.note(`rtt ${row.rtt_ms.toFixed(2)} ms`);
  const took = await timeUntil('c is gone', async () => { void c.stop(); return await cluster.state(a, c) !== 'up'; }, 15000);
  t.note(`gone ${took} ms after SIGTERM`);
  equal(await cluster.state(a, b), 'up', 'b');
}, wait);

test('the workers of a node are registered under its lease, as many as it has, and others see how many', async (t) => {
  const cluster = await Cluster.start(t);
  const [a, b] = cluster.nodes;
  const below = `/millrace/default/node/${b.node_id.padStart(16, '0')}/worker/`;
  const registered = async () => (await cluster.etcd.range(below)).filter(({ lease }) => lease !== '0').map(({ key }) => key.slice(below.length));
  const are = (indexes) => until(`workers ${indexes} are registered, and seen from elsewhere`, async () => {
    const { workers, ready } = await cluster.row(a, b);
    return `${await registered()}` === `${indexes}` && workers === indexes.length && ready === indexes.length;
  }, 15000);
  const scale = async (count) => {
    const { status, out } = await millrace(['ctl', '--connect', b.runDirectory, 'workers', `${count}`], { timeout_ms: 60000 });
    equal(status, 0, `ctl workers ${count}: ${out}`);
  };
  await are([0]);
  await scale(3);
  await are([0, 1, 2]);
  await scale(2);
  await are([0, 1]);
  process.kill(b.pid, 'SIGKILL');
  await until('they are gone with the lease', async () => !(await registered()).length, 30000);
}, wait);

test('an actor of one node answers who asks from the other; what is not for other nodes is refused', async (t) => {
  const cluster = await Cluster.start(t);
  const [a, b] = cluster.nodes;
  const directory_of = async (node) => (await node.repl('actors directory'))[0].addr;
  const there = await directory_of(b);
  const lookUp = async (addr) => (await a.console(`send ${addr} name_lookup name=stream/live/nobody`)).error;
  equal(await lookUp(there), { code: 'not_found', message: 'nobody has this name' }, 'what the directory of b says');
  equal((await a.console(`send ${there} store_get key=x`)).error?.code, 'unsupported', 'a message that is not said to other nodes');
  const before = await metric(a, 'mesh_mails_total{role="control",index="0",direction="out"}');
  for (let i = 0; i < 5; i++) await lookUp(there);
  await until('the mails are counted', async () => // at the next look of the process at its counters
    await metric(a, 'mesh_mails_total{role="control",index="0",direction="out"}') >= before + 5);
  // while the other gateway is replaced an answer comes, or a failure; nothing hangs
  process.kill((await b.worker('control')).pid, 'SIGKILL');
  check((await lookUp(there)).code, 'an end of the request');
  await until('the directory of b answers again', async () =>
    (await lookUp(await directory_of(b)))?.message === 'nobody has this name');
}, wait);

test('kill -9 of a control process: it is back under the others within a second or so', async (t) => {
  const cluster = await Cluster.start(t);
  const [a, b] = cluster.nodes;
  const before = await cluster.row(a, b);
  process.kill((await b.worker('control')).pid, 'SIGKILL');
  await until('b knows a again', async () => await cluster.state(b, a) === 'up');
  await cluster.stateIs(a, b, 'up');
  equal((await cluster.row(a, b)).since, before.since, 'up since');
  equal(await metric(a, 'mesh_downs_total'), 0, 'times down');
}, wait);

test('upgrade of a node: the others see it all the time', async (t) => {
  const cluster = await Cluster.start(t);
  const [a, b] = cluster.nodes;
  const { status, out, err } = await millrace(['ctl', '--connect', b.runDirectory, 'upgrade'], { timeout_ms: 60000 });
  equal(status, 0, `ctl upgrade: ${out}${err}`);
  await until('b knows a again', async () => await cluster.state(b, a) === 'up');
  await cluster.stateIs(a, b, 'up');
  equal(await metric(a, 'mesh_downs_total'), 0, 'times b was down at a');
}, wait);

test('a node that stands still is doubtful, then down, then up again', async (t) => {
  const cluster = await Cluster.start(t);
  const [a, b] = cluster.nodes;
  const all = b.processes();
  for (const pid of all) process.kill(pid, 'SIGSTOP');
  const began = performance.now();
  await cluster.stateIs(a, b, 'doubtful');
  const doubtful_ms = performance.now() - began;
  await cluster.stateIs(a, b, 'down');
  const down_ms = performance.now() - began;
  for (const pid of all) process.kill(pid, 'SIGCONT');
  t.note(`doubtful after ${doubtful_ms.toFixed(0)} ms, down after ${down_ms.toFixed(0)}`);
  atMost(doubtful_ms, 1600 * patience(), 'doubtful after ms');
  atMost(down_ms, 3800 * patience(), 'down after ms');
  await cluster.complete();
  await until('doubt and loss are counted', async () => // at the next look of the process at its counters
    await metric(a, 'mesh_doubts_total') >= 1 && await metric(a, 'mesh_downs_total') >= 1);
  equal(await metric(a, 'mesh_warnings_total'), 0, 'two nodes: nobody is told');
}, wait);

test('kill -9 of a node: down after three seconds, though etcd has its lease', async (t) => {
  const cluster = await Cluster.start(t);
  const [a, b] = cluster.nodes;
  process.kill(b.pid, 'SIGKILL');
  const took = await timeUntil('b is down', async () => await cluster.state(a, b) === 'down', 15000);
  t.note(`down after ${took} ms`);
  atMost(took, 3800 * patience(), 'down after ms');
  equal((await cluster.row(a, b)).in_store, true, 'its record is in etcd still');
  await until('its record is gone with its lease', async () => !await cluster.row(a, b), 30000);
}, wait);

// ---- who may not -------------------------------------------------------------------------------

test('a node that etcd knows but the cluster did not sign stays outside, and is counted', async (t) => {
  const cluster = await Cluster.start(t);
  const [a, b] = cluster.nodes;
  const stranger = await cluster.add({ name: 'stranger', signed: false });
  await until('it has written itself into etcd', async () =>
    (await cluster.etcd.range('/millrace/default/node/')).filter(({ key }) => !key.includes('/worker/')).length === 3);
  await until('it was refused', async () => await metric(a, 'mesh_refused_total') > 0);
  await until('the log says so', () => /node_refused .*name=stranger error=auth/.test(a.log));
  equal(await cluster.row(a, stranger), undefined, 'row of the stranger');
  check(await cluster.state(stranger, a) !== 'up', 'the stranger sees nobody up');
  await cluster.complete.call({ nodes: [a, b], stateIs: cluster.stateIs.bind(cluster) });
  // signed while it runs, it is let in
  await cluster.sign('stranger');
  await cluster.complete();
}, wait);

test('two nodes with one id, a copied data directory: the later one is taken, the other says so', async (t) => {
  const cluster = await Cluster.start(t);
  const [a, b] = cluster.nodes;
  cpSync(b.data, join(cluster.home, 'copy'), { recursive: true });
  const copy = await cluster.add({ name: 'copy', signed: false });
  equal(copy.node_id, b.node_id, 'id');
  await until('the first one says that its id is taken', () => /node_id_taken/.test(b.log));
  await until('it is refused by others', async () =>
    await metric(a, 'mesh_refused_total{role="control",index="0",reason="twice"}') > 0);
  await until('others know the later one', async () => (await cluster.row(a, b)).node === 'copy');
  await copy.stop();
  await until('the first one is back', async () => {
    const row = await cluster.row(a, b);
    return row?.node === 'b' && row.state === 'up';
  }, 25000);
}, wait);

test('mesh.peers: listed keys need no certificate', async (t) => {
  const cluster = await Cluster.start(t, { nodes: 0 });
  const listed = [];
  for (const name of ['p', 'q']) listed.push((await keys(['rotate', '--data-dir', join(cluster.home, name)])).key);
  for (const name of ['p', 'q']) await cluster.add({ name, signed: false, key: '', args: ['--mesh-peers', listed.join(',')] });
  await cluster.complete();
}, wait);

const connect = (at) => new Promise((resolve, reject) => {
  const [host, port] = at.split(':');
  const socket = net.connect(Number(port), host, () => resolve(socket)).on('error', reject);
});

test('strangers at the mesh port: garbage, silence, too many; the nodes go on', async (t) => {
  const cluster = await Cluster.start(t);
  const [a, b] = cluster.nodes;
  const downs = await metric(a, 'mesh_downs_total');
  for (let i = 0; i < 8; i++) {
    const socket = await connect(a.ready.mesh);
    socket.on('error', () => {});
    socket.end(i % 2 ? randomBytes(4096) : Buffer.concat([Buffer.from([0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0]), Buffer.from('CURVE'), randomBytes(200)]));
  }
  const silent = [];
  for (let i = 0; i < 150; i++) silent.push(await connect(a.ready.mesh));
  let closed = 0;
  for (const socket of silent) socket.on('error', () => {}).on('close', () => { closed++; }).resume();
  t.defer(() => silent.forEach((socket) => socket.destroy()));
  await until('all who say nothing are let go', () => closed === silent.length, 20000);
  await until('they are counted', async () => await metric(a, 'mesh_connections_left_early_total')
    + await metric(a, 'mesh_connections_ended_total') >= 150);
  equal([await cluster.state(a, b), await metric(a, 'mesh_downs_total')], ['up', downs], 'b, times down');
}, wait);

test('ctl keys rotate while they talk: nobody is lost', async (t) => {
  const cluster = await Cluster.start(t);
  const [a, b] = cluster.nodes;
  for (let round = 0; round < 3; round++) {
    await cluster.sign('b', 'rotate');
    const { key } = await keys(['show', '--data-dir', b.data]);
    await until('it is in use', () => b.log.split('mesh_keys_changed').length === round + 2);
    await until('others know it', async () => (await cluster.etcd.range('/millrace/default/node/'))
      .some((pair) => pair.value.toString('hex').includes(key)));
  }
  await cluster.complete();
  equal(await metric(a, 'mesh_downs_total'), 0, 'times b was down at a');
  equal(await metric(b, 'mesh_downs_total'), 0, 'times a was down at b');
}, wait);

test('etcd is killed and comes back: those who are there stay, a new one is found afterwards', async (t) => {
  const cluster = await Cluster.start(t);
  const [a, b] = cluster.nodes;
  await cluster.etcd.kill();
  await until('the store is noticed to be down', () => /store_down/.test(a.log));
  equal([await cluster.state(a, b), await cluster.state(b, a)], ['up', 'up'], 'states without etcd');
  await cluster.etcd.restart();
  await cluster.add({ name: 'c' });
  await cluster.complete();
  equal(await metric(a, 'mesh_downs_total'), 0, 'times down');
}, wait);

// ---- keys that are let in no more --------------------------------------------------------------

const revoke = (at, key) => keys(['revoke', key, '--data-dir', at.data]);
const linksTo = async (at, of) => (await at.repl('links')).filter((row) => row.peer === of.node_id);

test('ctl keys revoke: wrong words; twice is once', async () => {
  const data = mkdtempSync(join(directory, 'keys-'));
  for (const [args, text] of [[['revoke'], 'keys revoke KEY'], [['revoke', digits(63)], 'expected a key of 64 digits']]) {
    const { status, out, err } = await millrace(['ctl', 'keys', ...args, '--data-dir', data]);
    equal([status, out], [2, ''], `ctl keys ${args.join(' ')}: exit status, output`);
    check(err.includes(text), () => err);
  }
  const { status, out } = await millrace(['ctl', 'keys', 'revoke', digits(64, 'b'), '--data-dir', data]);
  check(status === 0 && out.includes('is let in no more') && out.includes('etcd'), () => `what else is to be done: ${out}`);
  equal((await keys(['revoke', digits(64, 'a'), '--data-dir', data])).new, true, 'the first time');
  equal((await keys(['revoke', digits(64, 'a'), '--data-dir', data])).new, false, 'the second time');
  equal(statSync(join(data, 'mesh-revoked')).mode & 0o777, 0o600, 'mode of the list');
});

test('a revoked key: its node is let go everywhere, media too, and stays outside until it has another', async (t) => {
  const cluster = await Cluster.start(t, { nodes: 3 });
  const [a, b, c] = cluster.nodes, name = freshName('revoked');
  await publishRtmp(t, b, name);
  const viewer = watchFlv(t, `${a.url}/${name}.flv`);
  await moreVideo(viewer, 10);
  check((await linksTo(a, b)).length, 'a link from a to b');
  const { key } = (await a.repl('nodes')).find((row) => row.id === b.node_id);
  equal(key, (await keys(['show', '--data-dir', b.data])).key, 'nodes shows the key');
  await revoke(c, key);
  for (const at of [a, c]) await cluster.stateIs(at, b, 'revoked');
  await until('no link from a to b', async () => (await linksTo(a, b)).length === 0, 15000);
  const { video: before } = viewer;
  await until('b has lost them', async () => (await cluster.state(b, a)) !== 'up' && (await cluster.state(b, c)) !== 'up', 20000);
  await until('it is refused when it comes', async () => await metric(a, 'mesh_refused_total') + await metric(a, 'mesh_connections_left_early_total') > 0, 15000);
  equal(viewer.video, before, 'pictures of the viewer at a since');
  await until('b knows', () => /own_key_revoked/.test(b.log));
  /* who deletes it from etcd lets nobody in */
  await cluster.etcd.remove(`/millrace/default/node/revoked/${key}`);
  equal(await cluster.state(a, b), 'revoked', 'b, at a');
  await cluster.sign('b', 'rotate');
  await cluster.complete();
}, wait);

test('a revoked key while etcd is gone: where it was said at once, elsewhere when etcd is back; a restart keeps it', async (t) => {
  const cluster = await Cluster.start(t, { nodes: 3 });
  const [a, b, c] = cluster.nodes;
  const { key } = await keys(['show', '--data-dir', b.data]);
  await cluster.etcd.kill();
  await until('the store is noticed to be down', () => /store_down/.test(a.log));
  await revoke(a, key);
  await cluster.stateIs(a, b, 'revoked');
  equal(await cluster.state(c, b), 'up', 'b, at c');
  const { pid } = await a.worker('control');
  process.kill(pid, 'SIGKILL');
  await until('its successor knows it', async () => (await a.worker('control').catch(() => null))?.pid > 0
    && a.log.split('mesh_key_revoked').length === 3, 20000);
  await cluster.etcd.restart();
  for (const at of [a, c]) await cluster.stateIs(at, b, 'revoked', 30000);
}, wait);
