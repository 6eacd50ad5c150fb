// SPDX-License-Identifier: Apache-2.0
// `./dev cluster`: a cluster is put up, changed, and taken away again, also after a crash of what held it.

import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { check, directory, equal, processesOf, test, until } from './harness.mjs';
import { namespacesOf } from './internet.mjs';
import { Network } from './namespaces.mjs';

const skip = Network.lacks();
const command = fileURLToPath(new URL('cluster_command.mjs', import.meta.url));

/** { status, out, err } of one command; its state is the row's own. */
function cluster(state, ...args) {
  const env = { ...process.env, MILLRACE_CLUSTER_STATE: state };
  return new Promise((resolve) => {
    execFile(process.execPath, [command, ...args], { env, timeout: 90000 }, (error, out, err) => {
      resolve({ status: error ? error.code ?? error.signal : 0, out, err });
    });
  });
}

const fresh = () => join(mkdtempSync(join(directory, 'cluster-')), 'state.json');

async function done(state, ...args) {
  const { status, out, err } = await cluster(state, ...args);
  equal(status, 0, `cluster ${args.join(' ')}: exit status (${err})`);
  return out;
}

const wrong = [
  [['fly'], 2, 'no such command: fly'],
  [['up', 'many'], 2, 'expected a number of nodes'],
  [['up', '0'], 2, 'expected a number of nodes'],
  [['up', '121'], 2, 'expected a number of nodes'],
  [['up', '--etcd', '2'], 2, 'expected a number of nodes'],
  [['up', '--topology'], 2, 'expected a number of nodes'],
  [['link', 'a'], 2, 'a word is missing'],
  [['demo', '--long'], 2, 'unexpected --long'],
  [['status'], 1, 'no cluster is up'],
  [['link', 'a', 'b'], 1, 'no cluster is up'],
  [['repl', 'a'], 1, 'no cluster is up'],
];

test('./dev cluster: wrong words, and nothing there', async () => {
  const state = fresh();
  for (const [args, expected, text] of wrong) {
    const { status, err } = await cluster(state, ...args);
    equal(status, expected, `cluster ${args.join(' ')}: exit status (${err})`);
    check(err.includes(text), () => `cluster ${args.join(' ')}: no "${text}" in ${err}`);
  }
  check((await done(state, 'down')).includes('no cluster is up'), 'down where nothing is up');
});

const topology = `nodes:
  - {name: here, region: eu, tier: core}
  - {name: there}
links:
  - {between: [here, there], delay: 4ms}
`;

test('./dev cluster: a topology file; links are changed, a node killed and started; what crashed is cleared away', async (t) => {
  const state = fresh();
  const file = join(mkdtempSync(join(directory, 'topology-')), 'two.yaml');
  writeFileSync(file, topology.replace('4ms', '4 feet'));
  const bad = await cluster(state, 'up', '--topology', file, '--apart');
  equal(bad.status, 1, 'exit status for a topology that is wrong');
  check(/two\.yaml:5: .*a time one way/.test(bad.err), () => bad.err);
  check(!existsSync(state), 'nothing is left of it');

  writeFileSync(file, topology);
  t.defer(() => cluster(state, 'down'));
  const shown = await done(state, 'up', '--topology', file, '--apart');
  check(/^here +eu +core +runs +1 of 1/m.test(shown), () => shown);
  check(/^etcd1 +runs +leads/m.test(shown), () => shown);
  equal((await cluster(state, 'up', '2')).status, 1, 'a second one');
  await done(state, 'link', 'here', 'there', 'delay=20ms', 'loss=1%');
  check(/here - there +20ms +1%/.test(await done(state, 'status')), 'the link that was changed');
  await until('the node there is 40 ms away', async () => {
    const [, row] = JSON.parse(await done(state, 'repl', 'here', '-e', 'nodes', '--json')).result;
    return row.rtt_ms > 35;
  });
  for (const words of [['here', 'nowhere'], ['here', 'there', 'speed=1'], ['here', 'there', 'fast'], ['here', 'there', 'loss=200']])
    equal((await cluster(state, 'link', ...words)).status, 1, `link ${words.join(' ')}: exit status`);
  await done(state, 'heal');
  await done(state, 'kill', 'there');
  check(/^there +edge +ended/m.test(await done(state, 'status')), 'a node that was killed');
  await done(state, 'start', 'there');
  await until('it is back', async () => /^there +edge +runs +1 of 1/m.test(await done(state, 'status')));

  const { pid, run_id } = JSON.parse(readFileSync(state, 'utf8'));
  process.kill(pid, 'SIGKILL');
  await until('who held it has gone', () => !existsSync(`/proc/${pid}`));
  check((await cluster(state, 'status')).err.includes('has crashed'), 'that is said');
  await done(state, 'down');
  equal(processesOf(run_id), [], 'processes left');
  check(!spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout.includes(namespacesOf(run_id)), 'no namespace is left');
}, { skip, timeout_ms: 150000 });
