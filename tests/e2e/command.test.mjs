// SPDX-License-Identifier: Apache-2.0
// The command line: exit statuses, configuration errors, one ready line, stopping in order.

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { atLeast, atMost, check, directory, equal, patience, processesOf, test, until } from './harness.mjs';
import { moreVideo, publishRtmp, watchFlv } from './media.mjs';
import { millrace, nodeArguments, startNode } from './node.mjs';

const rows = [
  { name: 'no command', args: [], status: 2, err: /usage: millrace/ },
  { name: 'an unknown command', args: ['fly'], status: 2, err: /unknown command "fly"/ },
  { name: 'help', args: ['help'], status: 0, out: /usage: millrace/ },
  { name: 'help of a command', args: ['help', 'node'], status: 0, out: /--http-port/ },
  { name: 'help of nothing known', args: ['help', 'fly'], status: 2, err: /fly/ },
  { name: 'version', args: ['version'], status: 0, out: /^millrace \d/ },
  { name: 'an unknown flag', args: ['node', '--htpp-port', '1'], status: 2, err: /--htpp-port.*--http-port/s },
  { name: 'a port that is none', args: ['node', '--http-port', '65536'], status: 2, err: /--http-port/ },
  { name: 'ports that overlap', args: ['node', '--http-port', '7000', '--rtmp-port', '7000'], status: 2, err: /7000/ },
  { name: 'help of two words', args: ['help', 'node', 'x'], status: 2, err: /unexpected "x"/ },
  { name: 'version with a word', args: ['version', 'x'], status: 2, err: /unexpected "x"/ },
  { name: 'a flag without its value', args: ['node', '--name'], status: 2, err: /--name: expected a value/ },
  { name: 'a word that is no flag', args: ['node', 'now'], status: 2, err: /now/ },
  { name: 'a token key that is not there', args: ['node', '--check', '--token-key-file', '/nowhere/key'], status: 2, err: /token.key_file: the key file cannot be opened/ },
  { name: 'a token key that is none', args: ['node', '--token-key-file', '/dev/null'], status: 2, err: /token.key_file: / },
  { name: 'an alternative that is no URL', args: ['node', '--http-alternatives', 'http://a https://b/x c:8080'], status: 2, err: /http.alternatives: expected URLs.*got "c:8080"/ },
  { name: 'a pattern that fits no stream', args: ['node', '--stream-standby', 'live/*,main'], status: 2, err: /stream.standby: .*got "main"/ },
  { name: 'repl with --connect alone', args: ['repl', '--connect'], status: 2, err: /expected a value after "--connect"/ },
  { name: 'repl with an address that is none', args: ['repl', 'tcp://nowhere'], status: 2, err: /expected tcp:/ },
  { name: 'repl with a word', args: ['repl', 'workers'], status: 2, err: /unexpected "workers"/ },
  { name: 'repl with an unknown flag', args: ['repl', '--fly'], status: 2, err: /--fly/ },
  { name: 'repl without a node', args: ['repl', '--connect', '/nonexistent', '-e', 'help'], status: 3, err: /./ },
];

for (const { name, args, status, out, err } of rows) {
  test(`${name}: exit status ${status}`, async () => {
    const result = await millrace(args);
    equal(result.status, status, 'exit status');
    if (out) check(out.test(result.out), () => `standard output: ${result.out}`);
    if (err) check(err.test(result.err), () => `standard error: ${result.err}`);
  });
}

// any text will do there, or a path that is made
const anything = ['--admin-token', '--callback-token', '--token-key', '--data-dir', '--run-dir', '--etcd-ca', '--config', '--help', '--check'];
test('no flag of a node takes nonsense', async () => {
  const { out } = await millrace(['help', 'node']);
  const flags = [...new Set(out.match(/^ +--[a-z0-9-]+/gm).map((flag) => flag.trim()))];
  atLeast(flags.length, 80, 'flags');
  for (const flag of flags.filter((one) => !anything.includes(one))) {
    const { status, err, out: said } = await millrace(['node', '--check', flag, 'no sense: "<at all>"']);
    equal([status, said], [2, ''], `${flag}: exit status, output`);
    check(err.includes(flag) || err.includes(flag.slice(2).replace('-', '.').replaceAll('-', '_')), () => `${flag}: ${err}`);
  }
});

const badFiles = [
  { name: 'an unknown key', text: 'node:\n  name: a\nhttp:\n  prot: 80\n', line: 4 },
  { name: 'a value of the wrong kind', text: 'workers: many\n', line: 1 },
  { name: 'a duration without sense', text: '# comment\nworker:\n  stuck_ms: -5\n', line: 3 },
  { name: 'no YAML', text: 'http:\n  port: [80\n', line: '\\d+' },
];

for (const { name, text, line } of badFiles) {
  test(`configuration with ${name}: exit status 2 and the line`, async () => {
    const path = join(mkdtempSync(join(directory, 'config-')), 'millrace.yaml');
    writeFileSync(path, text);
    const result = await millrace(['node', '--config', path]);
    equal(result.status, 2, 'exit status');
    check(new RegExp(`millrace\\.yaml:${line}`).test(result.err), () => `standard error: ${result.err}`);
  });
}

test('a configuration that is not there: exit status 2', async () => {
  const result = await millrace(['node', '--config', join(directory, 'none.yaml')]);
  equal(result.status, 2, 'exit status');
  check(result.err.includes('none.yaml'), result.err);
});

for (const port of ['http', 'rtmp', 'rtc']) {
  test(`${port} port in use: exit status 3 and which`, async (t) => {
    const server = net.createServer().listen(0, '127.0.0.1');
    t.defer(() => server.close());
    await until('listening', () => server.listening);
    const taken = `${server.address().port}`;
    const base = mkdtempSync(join(directory, 'node-'));
    mkdirSync(join(base, 'run'), { mode: 0o700 });
    const result = await millrace([...nodeArguments({ base }), `--${port}-port`, taken]);
    equal(result.status, 3, 'exit status');
    check(result.err.includes(taken), () => `standard error: ${result.err}`);
    equal(result.out, '', 'standard output');
  });
}

test('one ready line, JSON, with every address; standard output has nothing else', async (t) => {
  const node = await startNode(t, { workers: 2 });
  equal(node.ready.ready, true, 'ready');
  equal(node.ready.node, 'e2e', 'node');
  equal(node.ready.pid, node.pid, 'pid');
  equal(node.ready.rtc.length, 2, 'rtc addresses');
  for (const address of [node.ready.http, node.ready.rtmp, ...node.ready.rtc])
    check(/^127\.0\.0\.1:\d+$/.test(address), address);
  const end = await node.stop();
  equal(end, { code: 0, signal: null }, 'end');
  equal(node.out.trim().split('\n').length, 1, 'lines on standard output');
});

test('SIGTERM with a publisher and a viewer: they are let go, all ends within the drain time', async (t) => {
  const node = await startNode(t, { args: ['--drain-ms', '1s'] });
  const publisher = await publishRtmp(t, node, 'live/drain');
  const viewer = watchFlv(t, `${node.url}/live/drain.flv`);
  await moreVideo(viewer, 10);
  const start = performance.now();
  node.process.kill('SIGTERM');
  equal(await node.end, { code: 0, signal: null }, 'end');
  atMost(performance.now() - start, 2500 * patience(), 'milliseconds to stop');
  await until('viewer and publisher are gone', () => viewer.closed && publisher.status !== null, 3000);
  await until('all processes are gone', () => !node.processes().length, 1000);
});

test('a second SIGTERM ends the node at once', async (t) => {
  const node = await startNode(t, { args: ['--drain-ms', '60s'] });
  node.process.kill('SIGTERM');
  await until('it has begun to stop', () => /drain|stop/i.test(node.log), 3000).catch(() => {});
  node.process.kill('SIGTERM');
  const start = performance.now();
  await node.end;
  atMost(performance.now() - start, 1500 * patience(), 'milliseconds to stop');
  await until('all processes are gone', () => !node.processes().length, 1000);
});

test('standard input and output may be closed', async (t) => {
  const base = mkdtempSync(join(directory, 'node-'));
  const id = `closed-${base}`;
  const child = spawn('sh', ['-c', 'exec "$0" "$@" <&- >&- 2>&-', process.env.MILLRACE_BIN, ...nodeArguments({ base })],
    { stdio: 'ignore', env: { ...process.env, E2E_NODE: id } });
  const end = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
  t.defer(() => child.kill('SIGKILL'));
  await until('it answers', async () => (await millrace(['repl', '--connect', join(base, 'run'), '-e', 'help'])).status === 0);
  child.kill('SIGTERM');
  equal(await end, 0, 'exit status');
  await until('all processes are gone', () => !processesOf(id).length, 2000);
});
