// SPDX-License-Identifier: Apache-2.0
// Viewers over WebRTC that go on at another worker of the node while they watch: nobody notices.

import { equal, test } from './harness.mjs';
import { openPage, playWhep, publishWhip } from './browser.mjs';
import { freshName, startNode } from './node.mjs';
import { killWorker, PATIENT } from './takeover.mjs';

const MOVES = Number(process.env.E2E_MOVES ?? 20);
const MOVE_MS = 3000; // what one may take on a busy machine

const viewersOf = async (node) => (await node.repl('actors session where play = true')).sort((a, b) => (a.addr < b.addr ? -1 : 1));

const workerOf = async (node, addr) => (await node.repl('actors session')).find((row) => row.addr === addr)?.worker;

/** Moves a session to the worker where it is not; says how long that took. */
async function move(node, addr) {
  const to = 1 - (await workerOf(node, addr));
  const { answer, fields } = await node.repl(`move ${addr} worker ${to}`);
  equal([answer, fields.worker ?? 0], ['session_moved', to], 'answer to a move');
  equal(await workerOf(node, addr), to, 'where it lives');
  return fields.took_us / 1000;
}

const seen = ({ video, state, dtls, states, path }) => ({
  freezes: video.freezeCount, keyframes: video.keyFramesDecoded, lost: video.packetsLost,
  state, dtls, states: states.join(), port: path?.port,
});

test('a viewer in a browser moves between the workers, and sees nothing of it', async (t) => {
  const node = await startNode(t, { args: PATIENT });
  const name = freshName('rebalance');
  await publishWhip(await openPage(t, node), node, name);
  const viewer = await playWhep(await openPage(t, node), node, name);
  await viewer.moreVideo(60);
  const [{ addr }] = await viewersOf(node);
  const first = await workerOf(node, addr);
  const before = seen(await viewer.look());
  const took = [];
  for (let i = 0; i < MOVES; i++) {
    took.push(await move(node, addr));
    await viewer.moreVideo(3);
  }
  const after = seen(await viewer.moreVideo(30));
  took.sort((a, b) => a - b);
  t.note(`${MOVES} moves: ${took[MOVES >> 1]} ms (median), ${took.at(-1)} ms (longest)`);
  equal(after, before, 'what the browser counts');

  // the worker that it has moved to dies
  if ((await workerOf(node, addr)) === first) await move(node, addr);
  await killWorker(node, await workerOf(node, addr));
  equal(seen(await viewer.moreVideo(30)), before, 'what it counts after the worker that it had moved to died');
}, { timeout_ms: 60000 + MOVES * MOVE_MS });
