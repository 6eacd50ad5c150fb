// SPDX-License-Identifier: Apache-2.0
// Nodes that agree through etcd: names in it, and what becomes of everything when it is killed, stopped,
// compacted, emptied, wants a password, speaks TLS, or loses its leader.

import { atMost, check, equal, patience, test, timeUntil, until } from './harness.mjs';
import { Etcd } from './etcd.mjs';
import { moreVideo, publishRtmp, pushRtmp, watchFlv } from './media.mjs';
import { freshName, startNode } from './node.mjs';

const clusterNode = (t, etcd, options = {}) =>
  startNode(t, { workers: 1, ...options, args: [...etcd.nodeArguments, '--set', 'stream.publisher_grace_ms=500ms', ...(options.args ?? [])] });

/** Until the node's store says that it is up, or down. */
const storeIs = (node, up, deadline_ms = 15000) => until(`the store is ${up ? 'up' : 'down'}`, async () => {
  const [row] = await node.repl('actors store_etcd');
  return (await node.repl(`inspect ${row.addr}`)).state.up === up;
}, deadline_ms);

const named = (etcd, name) => until(`${name} is in etcd`, async () => (await etcd.names()).includes(name), 12000);

for (const [what, options] of [
  ['one member', {}],
  ['users and passwords', { auth: true }],
  ['TLS with certificates of both sides', { tls: true }],
  ['TLS and users', { tls: true, auth: true }],
]) {
  test(`a published name is in etcd: ${what}`, async (t) => {
    const etcd = await Etcd.start(t, options);
    const node = await clusterNode(t, etcd);
    const name = freshName('etcd');
    await storeIs(node, true);
    const publisher = await publishRtmp(t, node, name);
    await named(etcd, name);
    const [pair] = await etcd.range(`/millrace/default/name/stream/${name}`);
    check(pair.lease !== '0', 'the name lies under a lease');
    await publisher.stop();
    await node.stop();
    await until('the name is gone', async () => !(await etcd.names()).length, 15000);
  });
}

test('a wrong password is said in the log, and the node serves all the same', async (t) => {
  const etcd = await Etcd.start(t, { auth: true });
  etcd.user = { ...etcd.user, password: 'wrong' };
  const node = await clusterNode(t, etcd);
  await storeIs(node, false);
  await until('the log says why', () => /store_down .*authentication failed/.test(node.log));
  equal((await node.get('/healthz')).status, 200);
});

/** Viewers of a stream in time: what they get while something happens to etcd is what they always get. */
async function watched(t, node, name) {
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await moreVideo(viewer, 10);
  return viewer;
}

for (const [what, outage] of [
  ['killed', { begin: (etcd) => etcd.kill(), end: (etcd) => etcd.restart() }],
  ['stopped', { begin: (etcd) => etcd.stop(), end: (etcd) => etcd.go() }],
  ['killed, and back without its data', { begin: (etcd) => etcd.kill(), end: (etcd) => etcd.restart({ wipe: true }) }],
  ['killed, and back as one that has users', { auth: true, begin: (etcd) => etcd.kill(), end: async (etcd) => { await etcd.restart({ wait: false }); await until('root may log in', () => etcd.login().then(() => true)); } }],
]) {
  test(`etcd ${what}: what flows flows, new streams begin, and then etcd has all names`, async (t) => {
    const etcd = await Etcd.start(t, { auth: outage.auth });
    const node = await clusterNode(t, etcd);
    const [before, during] = [freshName('before'), freshName('during')];
    await storeIs(node, true);
    await publishRtmp(t, node, before);
    await named(etcd, before);
    const viewer = await watched(t, node, before);

    await outage.begin(etcd);
    await storeIs(node, false);
    await moreVideo(viewer, 30);
    const second = await watched(t, node, before); // a new viewer
    const publisher = await publishRtmp(t, node, during); // and a new publisher
    await moreVideo(await watched(t, node, during), 10);
    const refused = pushRtmp(t, node.rtmp, during); // a name is one's own without etcd too
    await until('a second publisher is refused', () => refused.status !== null);

    await outage.end(etcd);
    const took_ms = await timeUntil('both names are in etcd', async () => {
      const names = await etcd.names();
      return names.includes(before) && names.includes(during);
    }, 15000);
    t.note(`names after ${took_ms} ms`);
    atMost(took_ms, 5000 * patience(), 'time until etcd has the names, ms');
    await moreVideo(viewer, 30);
    await moreVideo(second, 10);
    check(!viewer.closed && !second.closed, 'no viewer was let go');
    equal((await node.streams()).filter((stream) => stream.state === 'live').length, 2, 'live streams');
    await publisher.stop();
    await until('the name of who has gone is gone', async () => !(await etcd.names()).includes(during), 20000);
    check((await etcd.names()).includes(before), 'the other name stays');
  }, { timeout_ms: 90000 });
}

test('etcd forgets its history: nothing is missed', async (t) => {
  const etcd = await Etcd.start(t);
  const node = await clusterNode(t, etcd);
  const name = freshName('compacted');
  await storeIs(node, true);
  for (let i = 0; i < 20; i++) await etcd.put(`/millrace/default/other/${i}`, 'x');
  await etcd.compact();
  await publishRtmp(t, node, name);
  await named(etcd, name);
  etcd.stop();
  await storeIs(node, false);
  etcd.go();
  for (let i = 0; i < 20; i++) await etcd.put(`/millrace/default/other/${i}`, 'y');
  await etcd.compact();
  await storeIs(node, true);
  const [row] = await node.repl('actors store_etcd');
  await until('the copy has them', async () => {
    const { pairs } = (await node.repl(`inspect ${row.addr}`)).state;
    return pairs.filter((pair) => pair.value === Buffer.from('y').toString('hex')).length === 20;
  });
  check((await etcd.names()).includes(name), 'the name is there');
});

test('three members, the leader is killed: publishing goes on', async (t) => {
  const etcd = await Etcd.start(t, { members: 3 });
  const node = await clusterNode(t, etcd);
  const [before, after] = [freshName('leader'), freshName('follower')];
  await storeIs(node, true);
  await publishRtmp(t, node, before);
  await named(etcd, before);
  await etcd.kill(await etcd.leader());
  await publishRtmp(t, node, after);
  await named(etcd, after);
  check((await etcd.names()).includes(before), 'the name from before is there');
  await etcd.restart();
  await storeIs(node, true);
}, { timeout_ms: 60000 });

test('two nodes: a name has one owner, and one who is gone gives it back', async (t) => {
  const etcd = await Etcd.start(t);
  const [a, b] = [await clusterNode(t, etcd), await clusterNode(t, etcd)];
  const name = freshName('shared');
  await storeIs(a, true);
  await storeIs(b, true);
  const publisher = await publishRtmp(t, a, name);
  await named(etcd, name);
  const owner = async (node) => (await node.repl('actors directory'))[0].addr;
  const lookedUp = await b.repl(`send ${await owner(b)} name_lookup name=stream/${name}`);
  check(JSON.stringify(lookedUp).includes((await owner(a)).split('/')[0]), () => `b names a's stream: ${JSON.stringify(lookedUp)}`);
  await publisher.stop();
  await until('the name is free', async () => !(await etcd.names()).includes(name), 20000);
  await publishRtmp(t, b, name);
  await named(etcd, name);
}, { timeout_ms: 60000 });

test('two nodes take the same name while etcd is gone: one keeps it', async (t) => {
  const etcd = await Etcd.start(t);
  const nodes = [await clusterNode(t, etcd), await clusterNode(t, etcd)];
  const name = freshName('split');
  for (const node of nodes) await storeIs(node, true);
  await etcd.kill();
  for (const node of nodes) await storeIs(node, false);
  const first = await publishRtmp(t, nodes[0], name);
  const second = await publishRtmp(t, nodes[1], name);
  await etcd.restart();
  const took_ms = await timeUntil('the first publisher is told to go', () => first.status !== null, 15000);
  t.note(`after ${took_ms} ms`);
  atMost(took_ms, 5000 * patience(), 'time until one owner is left, ms');
  equal(second.status, null, 'the second publisher');
  await named(etcd, name);
  await until('the loser says so in its log', () => /name_conflict/.test(nodes[0].log));
}, { timeout_ms: 60000 });

test('keys of the configuration change while the node runs', async (t) => {
  const etcd = await Etcd.start(t);
  const node = await clusterNode(t, etcd, { args: ['--log-level', 'warn'] });
  const key = '/millrace/default/config/log.level';
  await storeIs(node, true);
  await etcd.put(key, 'debug');
  const settings = async () => (await node.repl(`inspect ${(await node.repl('actors settings'))[0].addr}`)).state;
  await until('the value is taken', async () => (await settings()).taken === 1);
  await node.repl('kill-worker 0');
  await until('the supervisor says more', () => /info +supervisor process_/.test(node.log));
  await etcd.put(key, 'loud');
  await until('a wrong value is refused', () => /setting_refused key=log.level why="[^"]*expected/.test(node.log));
  await etcd.put('/millrace/default/config/http.port', '80');
  await until('so is a key that cannot change', () => /setting_refused key=http.port/.test(node.log));
  await etcd.remove(key);
  await until('the value is given back', () => /setting_gone key=log.level/.test(node.log));
});
