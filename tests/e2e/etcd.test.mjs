// SPDX-License-Identifier: Apache-2.0
// Nodes that agree through etcd: names in it, and what becomes of everything when it is killed, stopped,
// compacted, emptied, wants a password, speaks TLS, or loses its leader.

import { check, equal, test, until } from './harness.mjs';
import { Etcd } from './etcd.mjs';
import { publishRtmp } from './media.mjs';
import { freshName, startNode } from './node.mjs';

const clusterNode = (t, etcd, options = {}) =>
  startNode(t, { workers: 1, ...options, args: [...etcd.nodeArguments, ...(options.args ?? [])] });

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
