// SPDX-License-Identifier: Apache-2.0
// A release that crashes whenever it restores a session of one kind: a copy of the program in which that
// function begins with an illegal instruction. What the worker crashes of is left out, and the worker lives.

import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { check, directory, equal, test, until } from './harness.mjs';
import { live, Load } from './load.mjs';
import { publishRtmp } from './media.mjs';
import { freshName, millrace, program, startNode } from './node.mjs';
import { PATIENT } from './takeover.mjs';

const run = promisify(execFile);
const VIEWERS = 3;
const CRASHES = 2; // of one actor: then it is left out
const ILLEGAL = { x64: [0x0f, 0x0b], arm64: [0, 0, 0, 0] }[process.arch]; // an instruction that is none

const hex = (text) => Number.parseInt(text, 16);

/** A copy of the program that dies when it calls `name`. */
async function faulty(name) {
  const options = { maxBuffer: 64 << 20 };
  const symbol = (await run('nm', [program], options)).stdout.match(new RegExp(`^([0-9a-f]+) [tT] ${name}$`, 'm'));
  const text = (await run('readelf', ['-SW', program], options)).stdout.match(/ \.text +PROGBITS +([0-9a-f]+) ([0-9a-f]+) /);
  check(symbol && text, `${name}() and .text of ${program}`);
  const bytes = readFileSync(program);
  const path = join(mkdtempSync(join(directory, 'faulty-')), 'millrace');
  bytes.set(ILLEGAL, hex(symbol[1]) - hex(text[1]) + hex(text[2]));
  writeFileSync(path, bytes);
  chmodSync(path, 0o755);
  return path;
}

const linesOf = (node, pattern) => node.log.split('\n').filter((line) => pattern.test(line));

test('a session that its worker crashes of twice is left out and named, the others go on', async (t) => {
  const node = await startNode(t, { workers: 1, args: PATIENT, binary: await faulty('rtmp_session_restore') });
  const [bad, good] = [freshName('bad'), freshName('good')];
  const source = new Load(t, ['whip', `${node.url}/whip/${good}`]);
  await live(node, good);
  const viewers = new Load(t, ['whep', `${node.url}/whep/${good}`, '--count', `${VIEWERS}`]);
  const encoder = await publishRtmp(t, node, bad);
  const connected = async () => (await node.json('/api/v1/sessions')).sessions.filter((row) => row.play && row.state === 'up').length;
  await until('all viewers are connected', async () => await connected() === VIEWERS);
  const sessions = async () => (await node.rows('actors session')).map((row) => row.addr).sort();
  const before = await sessions();
  await until('there is a spare', async () => (await node.repl('workers')).some((row) => row.role === 'spare' && row.state === 'ready'));

  process.kill((await node.worker('media', 0)).pid, 'SIGKILL');
  const worker = await until('the worker goes on without it', async () => {
    const row = await node.worker('media', 0);
    return row.state === 'ready' && row.poisoned && row;
  }, 20000);
  equal([worker.poisoned, worker.poisoned_last], [1, `rtmp/${bad}`], 'who was left out');
  await until('it is counted', async () =>
    /^millrace_takeover_actors_total\{role="media",index="0",result="poisoned"\} 1$/m.test((await node.get('/metrics')).text));
  await until('the log names it', () =>
    linesOf(node, new RegExp(` actor_lost why=poisoned type=rtmp_session actor="?rtmp/${bad}"? `)).length === 1);
  equal(linesOf(node, / process_died .*signal=4 /).length, CRASHES, 'processes that crashed');
  equal(linesOf(node, / actor_lost /).length, 1, 'actors lost');
  const { out } = await millrace(['ctl', 'status', '--connect', node.runDirectory, '--json']);
  equal(JSON.parse(out).result.workers.find((row) => row.role === 'media').poisoned_last, `rtmp/${bad}`, 'ctl status');

  equal(await sessions(), before, 'sessions over WebRTC, by address');
  await until('its encoder hears of it', () => encoder.status !== null);
  await publishRtmp(t, node, bad); // the name is free, and nothing that is restored is in the way
  const seen = await viewers.stop();
  equal([seen.sessions.lost, (await source.stop()).sessions.lost], [0, 0], `sessions lost (${viewers.err.slice(-300)})`);
}, { timeout_ms: 90000 });
