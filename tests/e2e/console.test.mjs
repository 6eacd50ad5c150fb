// SPDX-License-Identifier: Apache-2.0
// `millrace repl`: every command, by -e and from a pipe, as JSON and for people.

import { check, equal, test, until } from './harness.mjs';
import { publishRtmp, watchFlv } from './media.mjs';
import { freshName, millrace, sharedNode, startNode } from './node.mjs';

const workerKeys = ['worker', 'pid', 'incarnation', 'role', 'state', 'cpu', 'sessions', 'streams'];
const actorKeys = ['addr', 'type', 'name', 'node', 'worker', 'state', 'mailbox', 'age_ms'];

function hasKeys(row, keys) {
  for (const key of keys) check(key in row, () => `no "${key}" in ${JSON.stringify(row)}`);
}

test('help, workers, actors, tree', async () => {
  const node = await sharedNode();
  check(/workers/.test(JSON.stringify(await node.repl('help'))), 'help lists workers');
  const workers = await node.repl('workers');
  equal(workers.filter((row) => row.role === 'media').length, 2, 'media workers');
  equal(workers.filter((row) => row.role === 'control').length, 1, 'control processes');
  for (const row of workers) hasKeys(row, workerKeys);
  const actors = await node.repl('actors');
  for (const row of actors) hasKeys(row, actorKeys);
  check(actors.some((row) => row.type === 'directory'), 'the directory is among the actors');
  check((await node.repl('actors directory')).every((row) => row.type === 'directory'), 'actors TYPE');
  check(JSON.stringify(await node.repl('tree')).includes('directory'), 'tree');
});

test('inspect: the whole state of every actor, straight from its schema', async (t) => {
  const node = await sharedNode();
  const name = freshName('inspect');
  await publishRtmp(t, node, name);
  const actors = await node.repl('actors');
  check(actors.some((row) => row.type === 'stream' && row.name.includes(name)), 'the stream is among the actors');
  for (const { addr, type } of actors) {
    const answer = await node.console(`inspect ${addr}`);
    if (!answer.ok && answer.error.code === 'not_found') continue; // gone since
    check(answer.ok, () => `inspect ${addr} (${type}): ${JSON.stringify(answer.error)}`);
    equal(answer.result.type, type, 'type');
    check(typeof answer.result.state_name === 'string' && typeof answer.result.state === 'object', () => JSON.stringify(answer));
  }
});

test('secrets are never shown', async (t) => {
  const secret = 'correct-horse-battery-staple-0123456789';
  const node = await startNode(t, { workers: 1, env: { MILLRACE_TOKEN_KEY: secret, MILLRACE_ADMIN_TOKEN: `${secret}-admin` } });
  const texts = [JSON.stringify(await node.repl('tree'))];
  for (const { addr } of await node.repl('actors')) texts.push(JSON.stringify(await node.console(`inspect ${addr}`)));
  check(!texts.join('\n').includes(secret), 'a secret in the console');
  check(!node.log.includes(secret), 'a secret in the log');
});

test('stop ends a stream; its viewer is told', async (t) => {
  const node = await sharedNode();
  const name = freshName('stop');
  const publisher = await publishRtmp(t, node, name);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await until('frames', () => viewer.video > 0);
  // the viewer's worker may have a copy of it: the one beside the publisher is meant
  const publishers = (await node.repl('actors rtmp_session')).filter((row) => row.name.endsWith(name));
  const stream = (await node.repl('actors stream')).find((row) => row.name.endsWith(name) && row.worker === publishers[0].worker);
  await node.repl(`stop ${stream.addr}`);
  await until('the publisher is told', () => publisher.status !== null);
  await until('the viewer is gone', () => viewer.closed, 15000);
});

const wrong = [
  ['', /./], ['fly', /format|unknown|not_found|unsupported/], ['inspect', /./], ['inspect nonsense', /./],
  ['inspect 1:999999999', /./], ['stop 1:999999999', /./], ['kill-worker 99', /./], ['kill-worker x', /./],
  ['x'.repeat(5000), /./],
];
for (const [command, code] of wrong) {
  test(`wrong: "${command.slice(0, 30)}" is an error document and exit status 1`, async () => {
    const node = await sharedNode();
    const result = await millrace(['repl', '--connect', node.runDirectory, '--json', '-e', command]);
    equal(result.status, 1, 'exit status');
    const answer = JSON.parse(result.out);
    equal(answer.ok, false, 'ok');
    check(code.test(answer.error.code) && answer.error.message, () => result.out);
  });
}

test('commands from a pipe, for people; several -e', async () => {
  const node = await sharedNode();
  const piped = await millrace(['repl', '--connect', node.runDirectory], { input: 'workers\nhelp\n' });
  equal(piped.status, 0, 'exit status');
  check(/control/.test(piped.out) && /kill-worker/.test(piped.out), () => piped.out);
  const several = await millrace(['repl', '--connect', node.runDirectory, '--json', '-e', 'workers', '-e', 'fly']);
  equal(several.status, 1, 'exit status when one of them failed');
  equal(several.out.trim().split('\n').length, 2, 'documents');
});
