// SPDX-License-Identifier: Apache-2.0
// A node goes on with another program while people publish and watch (docs/decisions/017-upgrade-and-scaling.md).
//
//   E2E_OTHER=PROGRAM   another release, instead of build/millrace-other (other_release.c)

import { chmodSync, copyFileSync, readlinkSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { atMost, check, equal, leeway, patience, test, until } from './harness.mjs';
import { openPage, playWhep, publishWhip } from './browser.mjs';
import { Audience, ctl, CTL_MS, done, fails, pidsOf, rowsOf, sessionsOf } from './ctl.mjs';
import { freshName, program, startNode } from './node.mjs';
import { spared } from './takeover.mjs';

const GAP_MS = 100; // docs/decisions/014-takeover.md

const programOf = (pid) => readlinkSync(`/proc/${pid}/exe`);

/** The same program under another name. */
function copyOf(node, name) {
  const path = join(node.base, name);
  copyFileSync(program, path);
  chmodSync(path, 0o755);
  return path;
}

/** Everything that runs is the program at `path`, and none of those that ran before. */
async function checkProgram(node, path, before) {
  equal(programOf(node.pid), path, 'program of the supervisor');
  await spared(node);
  const pids = await pidsOf(node);
  equal(pids.filter((pid) => programOf(pid) !== path), [], `processes of another program than ${path}`);
  equal(pids.filter((pid) => before.includes(pid)), [], 'processes from before');
}

test('upgrade, SIGUSR2: no session ends, a gap is that of a takeover', async (t) => {
  const node = await startNode(t);
  const audience = await Audience.open(t, node, freshName('upgrade'), 20);
  let before = await pidsOf(node);
  const path = copyOf(node, 'millrace-2');
  const { text } = await done(t, node, 'upgrade', '--binary', path);
  check(text.includes(path), () => text);
  await checkProgram(node, path, before);
  await audience.checkSame();

  /* as a package does: the file is another one, under the same name */
  before = await pidsOf(node);
  renameSync(copyOf(node, 'millrace-3'), path);
  process.kill(node.pid, 'SIGUSR2');
  await until('the second one is done', async () => {
    const { number, state } = await node.repl('operation');
    return number === 2 && state === 'done';
  }, CTL_MS);
  await checkProgram(node, path, before);
  await audience.checkSame();

  /* the holders of the new program have what those before them had */
  for (const worker of await rowsOf(node, 'media')) process.kill(worker.pid, 'SIGKILL');
  await checkProgram(node, path, before);
  await audience.checkSame();
  const { gap_ms } = await audience.end();
  t.note(`longest gap of a WHEP viewer: p50 ${gap_ms.p50} ms, p99 ${gap_ms.p99} ms`);
  atMost(gap_ms.p99, GAP_MS * patience(), 'gap of WHEP viewers, p99');
}, { timeout_ms: 120000 });

/** A script that answers for a program. */
function scriptOf(node, name, text) {
  const path = join(node.base, name);
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
}

test('upgrade: what does not pass its check changes nothing', async (t) => {
  const node = await startNode(t);
  await spared(node);
  const before = await pidsOf(node);
  const noProgram = join(node.base, 'text'), noCiphers = join(node.base, 'openssl.cnf');
  writeFileSync(noCiphers, ['openssl_conf = init', '[init]', 'providers = list', '[list]', 'null = on', '[on]', 'activate = 1', ''].join('\n'));
  writeFileSync(noProgram, 'no program\n');
  for (const [path, text] of [
    ['/bin/true', 'its check failed'], ['/bin/false', 'its check failed'], [node.base, 'cannot be started'],
    [noProgram, 'cannot be started'], [scriptOf(node, 'old', 'echo too new for this >&2; exit 1'), 'too new for this'],
    [scriptOf(node, 'dies', 'kill -9 $$'), 'its check did not end'],
    [scriptOf(node, 'unfit', `OPENSSL_CONF=${noCiphers} exec ${program} "$@"`), 'cannot run here'],
  ]) {
    const { code, message } = await fails(t, node, 'upgrade', '--binary', path);
    equal(code, 'failed', path);
    check(message.includes('nothing has changed') && message.includes(text), () => `${path}: ${message}`);
  }
  equal(programOf(node.pid), program, 'program of the supervisor');
  equal(await pidsOf(node), before, 'processes');
});

test('upgrade: a program that stops starting half way leaves the others as they are; the next try goes on', async (t) => {
  const node = await startNode(t);
  const audience = await Audience.open(t, node, freshName('half'), 4);
  const old = await node.worker('media', 1);
  const path = copyOf(node, 'millrace-2');
  const upgrade = ctl(t, node, 'upgrade', '--binary', path);
  await until('worker 0 is new', () => upgrade.steps.some((step) => step.result?.text.startsWith('worker 0: process')), CTL_MS);
  chmodSync(path, 0);
  const { message } = await upgrade.last(1);
  check(message.includes('worker 1') && message.includes('does not start'), () => message);
  equal((await node.worker('media', 1)).pid, old.pid, 'worker 1');
  equal((await node.get('/readyz')).status, 200, 'readyz');
  await audience.checkSame();
  chmodSync(path, 0o755);
  await done(t, node, 'upgrade');
  await checkProgram(node, path, [old.pid]);
  await audience.checkSame();
  await audience.end();
}, { timeout_ms: 120000 });

// ---- another release ---------------------------------------------------------------------------

const other = process.env.E2E_OTHER ?? join(dirname(program), 'millrace-other');

const seen = ({ video, state, dtls, states, path }) => ({
  freezes: video.freezeCount, keyframes: video.keyFramesDecoded, lost: video.packetsLost,
  connection: [state, dtls, states.join(), path?.port].join(' '),
});

/** Nobody was left out when a worker's line went on. */
async function checkWhole(node) {
  const { text } = await node.get('/metrics');
  const left = text.match(/^millrace_(takeover_actors_total\{.*result="(ended|damaged|poisoned)".*\}|not_kept_total.*) [1-9].*$/m);
  check(!left, () => left[0]);
}

test('upgrade from another release, and back to it: what that one wrote is read, nobody notices', async (t) => {
  const node = await startNode(t, { binary: other });
  const audience = await Audience.open(t, node, freshName('release'), 20);
  const name = freshName('releasertc');
  await publishWhip(await openPage(t, node), node, name);
  const viewer = await playWhep(await openPage(t, node), node, name);
  audience.sessions = await sessionsOf(node);
  const before = seen(await viewer.moreVideo(60));
  for (const to of [program, other]) {
    const pids = await pidsOf(node);
    await done(t, node, 'upgrade', '--binary', to);
    await checkProgram(node, to, pids);
    await audience.checkSame();
    await checkWhole(node);
    const now = seen(await viewer.moreVideo(30));
    equal([now.connection, now.keyframes], [before.connection, before.keyframes], 'browser: connection, keyframes');
    atMost(now.freezes - before.freezes, leeway(2), 'browser: freezes');
    atMost(now.lost - before.lost, leeway(10), 'browser: packets lost');
  }
  const { gap_ms, missing } = await audience.end();
  t.note(`longest gap of a WHEP viewer: p50 ${gap_ms.p50} ms, p99 ${gap_ms.p99} ms; ${missing} packets lost`);
  atMost(gap_ms.p99, GAP_MS * patience(), 'gap of WHEP viewers, p99');
}, { timeout_ms: 120000 });
