// SPDX-License-Identifier: Apache-2.0
// kill -9 of every kind of process, while streams flow.

import { atMost, check, equal, leeway, patience, test, timeUntil, until } from './harness.mjs';
import { openPage, playWhep } from './browser.mjs';
import { moreVideo, publishRtmp, watchFlv } from './media.mjs';
import { killWorker, spared } from './takeover.mjs';
import { freshName, startNode } from './node.mjs';

const BACK_MS = 1000;
/* Chromium counts one from an average interval + 150 ms on; a publisher that paused as long is to blame itself */
const FREEZE_MS = 150;
/* far less than anything that reconnects; a busy machine has gaps of its own, seen before the kill */
const UNTOUCHED_MS = 400;
const untouched = (usual_ms) => Math.max(UNTOUCHED_MS * patience(), 3 * usual_ms);
/* 500 ms to notice (more when the supervisor itself was not running), then as any other death */
const HUNG_MS = 3000;
const STREAMS_MAX = 16;
const VIEWERS_MAX = 10;
const OTHERS = 20;

async function workerOf(node, name) {
  return (await node.repl('actors')).find((row) => row.name === name)?.worker;
}

/** A viewer whose connection is on this worker, or null: the kernel deals connections out as it likes. */
async function watchOn(t, node, name, worker) {
  for (let i = 0; i < VIEWERS_MAX; i++) {
    const viewer = watchFlv(t, `${node.url}/${name}.flv`);
    await moreVideo(viewer, 5);
    if (await workerOf(node, `http/127.0.0.1:${viewer.localPort}`) === worker) return viewer;
    viewer.close();
  }
  return null;
}

/** A stream on each worker, with publisher and viewer there: [{name, publisher, viewer}, …]. */
async function streamOnEachWorker(t, node) {
  const found = [];
  const others = []; // they stay for a while, so that the next publisher goes to the other worker
  for (let i = 0; i < STREAMS_MAX && !(found[0] && found[1]); i++) {
    const name = freshName('death');
    const publisher = await publishRtmp(t, node, name, { size: '160x90', rate: 30 });
    const worker = await workerOf(node, `rtmp/${name}`);
    const viewer = found[worker] ? null : await watchOn(t, node, name, worker);
    if (viewer) found[worker] = { name, publisher, viewer };
    else others.push(publisher);
  }
  await Promise.all(others.map((publisher) => publisher.stop()));
  check(found[0] && found[1], `no worker of its own for two of ${STREAMS_MAX} streams`);
  return found;
}

async function checkWorkerDies(t, kill) {
  const node = await startNode(t);
  const streams = await streamOnEachWorker(t, node);
  await spared(node);
  const before = await node.repl('workers');
  const old = await node.worker('media', 0);
  streams[1].viewer.takeGap();
  await moreVideo(streams[1].viewer, 30);
  const usual_ms = streams[1].viewer.takeGap();
  await kill(node, old);
  const back_ms = await timeUntil('worker 0 is ready again', async () => {
    const now = await node.worker('media', 0);
    return now && now.pid !== old.pid && now.state === 'ready';
  });
  t.note(`back after ${back_ms} ms`);
  atMost(back_ms, BACK_MS * patience(), 'milliseconds until the worker is back');
  await until('/readyz says 200', async () => (await node.get('/readyz')).status === 200, BACK_MS);
  await moreVideo(streams[1].viewer, 30);
  atMost(streams[1].viewer.takeGap(), untouched(usual_ms), 'largest gap at the other worker, ms');
  const pids = (rows) => rows.filter((row) => !(['media', 'spare'].includes(row.role) && row.worker === 0)).map((row) => row.pid);
  equal(pids(await node.repl('workers')), pids(before), 'pids of the others');
  const name = streams[0].name;
  await streams[0].publisher.stop();
  await publishRtmp(t, node, name);
  await moreVideo(watchFlv(t, `${node.url}/${name}.flv`), 10);
}

test('kill-worker of the console: the other worker is untouched, this one is back within a second', (t) =>
  checkWorkerDies(t, (node) => node.repl('kill-worker 0')), { timeout_ms: 60000 });

test('kill -9 of a worker: the other worker is untouched, this one is back within a second', (t) =>
  checkWorkerDies(t, (_, { pid }) => process.kill(pid, 'SIGKILL')), { timeout_ms: 60000 });

test('a worker that hangs is replaced', async (t) => {
  const node = await startNode(t);
  await spared(node);
  const { pid } = await node.worker('media', 0);
  process.kill(pid, 'SIGSTOP');
  const ms = await timeUntil('it is replaced', async () => {
    const now = await node.worker('media', 0);
    return now && now.pid !== pid && now.state === 'ready';
  });
  t.note(`${ms} ms`);
  atMost(ms, HUNG_MS * patience(), 'milliseconds until it is replaced');
});

test('kill -9 of the control process: media flows on, names are known again', async (t) => {
  const node = await startNode(t);
  const name = freshName('control');
  await publishRtmp(t, node, name);
  const peer = await playWhep(await openPage(t, node), node, name);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await moreVideo(viewer, 20);
  await peer.moreVideo(20);
  const { pid } = await node.worker('control');
  viewer.takeGap();
  await moreVideo(viewer, 30);
  const usual_ms = viewer.takeGap();
  const { freezeCount } = (await peer.look()).video;
  process.kill(pid, 'SIGKILL');
  await until('the console answers again', async () => (await node.worker('control')).pid !== pid, 5000);
  await until('/readyz says 200', async () => (await node.get('/readyz')).status === 200);
  await moreVideo(viewer, 60);
  const gap_ms = viewer.takeGap();
  atMost(gap_ms, untouched(usual_ms), 'largest gap, ms');
  const now = await peer.moreVideo(60);
  if (gap_ms < FREEZE_MS) atMost(now.video.freezeCount - freezeCount, leeway(), 'freezes');
  equal(now.states, ['connecting', 'connected'], 'states of the connection');
  await until('the stream is listed again', async () => (await node.streams()).some((stream) => stream.name === name));
  await (await playWhep(await openPage(t, node), node, name)).moreVideo(10);
});

test('kill -9 of the helper: sound comes back, the picture never stops', async (t) => {
  const node = await startNode(t);
  const name = freshName('helper');
  await publishRtmp(t, node, name);
  const peer = await playWhep(await openPage(t, node), node, name);
  await peer.moreVideo(20);
  await peer.moreSound();
  const { pid } = await node.worker('helper');
  process.kill(pid, 'SIGKILL');
  await until('there is a new helper', async () => {
    const row = await node.worker('helper');
    return row && row.pid !== pid && row.state === 'ready';
  });
  await peer.moreVideo(30);
  const from = (await peer.look()).audio;
  await until('a second of real sound', async () => {
    const { audio } = await peer.look();
    const samples = audio.totalSamplesReceived - from.totalSamplesReceived;
    const invented = audio.concealedSamples - from.concealedSamples;
    return samples - invented > 48000 && audio.totalAudioEnergy > from.totalAudioEnergy;
  });
});

/** {worker: connections that its holder keeps} */
async function held(node) {
  const { text } = await node.get('/metrics');
  const rows = [...text.matchAll(/^millrace_sockets_held\{role="holder",index="(\d+)"\} (\d+)$/gm)];
  return Object.fromEntries(rows.map(([, worker, count]) => [worker, Number(count)]));
}

test('holders: every TCP connection, again after kill -9 of a holder, and for who goes on when a worker is killed', async (t) => {
  const node = await startNode(t);
  const name = freshName('held');
  await publishRtmp(t, node, name);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await moreVideo(viewer, 10);
  // (viewers: a connection that says nothing is closed after 5 s, however long this takes)
  const others = Array.from({ length: OTHERS }, () => watchFlv(t, `${node.url}/${name}.flv`));
  await Promise.all(others.map((each) => moreVideo(each, 5)));
  const sum = (rows) => Object.values(rows).reduce((a, b) => a + b, 0);
  const all = OTHERS + 2; // publisher and viewer
  await until('all connections are held', async () => sum(await held(node)) >= all);

  const holders = (await node.repl('workers')).filter((row) => row.role === 'holder');
  equal(holders.map((row) => row.worker), [0, 1], 'holders');
  viewer.takeGap();
  await moreVideo(viewer, 30);
  const usual_ms = viewer.takeGap();
  for (const { pid } of holders) process.kill(pid, 'SIGKILL');
  await until('there are new holders', async () => {
    const now = (await node.repl('workers')).filter((row) => row.role === 'holder' && row.state === 'ready');
    return now.length === 2 && now.every((row, i) => row.pid !== holders[i].pid);
  });
  await until('they have been given all again', async () => sum(await held(node)) >= all);
  await moreVideo(viewer, 30);
  atMost(viewer.takeGap(), untouched(usual_ms), 'largest gap while the holders died, ms');
  check(others.every((each) => !each.closed), 'nobody lost a connection');

  for (const number of [0, 1]) await killWorker(node, number);
  await until('who goes on has them held', async () => sum(await held(node)) >= all);
  await moreVideo(viewer, 30);
  await Promise.all(others.map((each) => moreVideo(each, 10))); // nor with its worker
});

test('kill -9 of the supervisor: no process is left', async (t) => {
  const node = await startNode(t);
  const name = freshName('orphan');
  await publishRtmp(t, node, name);
  check(node.processes().length >= 4, 'control, two workers, helper');
  process.kill(node.pid, 'SIGKILL');
  const ms = await timeUntil('all processes are gone', () => !node.processes().length, 3000);
  t.note(`${ms} ms`);
});

test('a worker that keeps dying: the node gives up with exit status 1 instead of spinning', async (t) => {
  const node = await startNode(t, { args: ['--worker-restart-intensity', '3'] });
  const seen = new Set();
  await until('the node has given up', async () => {
    if (node.exited) return true;
    for (const pid of node.processes()) {
      if (pid === node.pid || seen.size > 8) continue;
      seen.add(pid);
      process.kill(pid, 'SIGKILL');
    }
    return false;
  }, 15000);
  equal(node.exited, { code: 1, signal: null }, 'end');
  await until('all processes are gone', () => !node.processes().length, 2000);
});
