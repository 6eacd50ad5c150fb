// SPDX-License-Identifier: Apache-2.0
// What the runner itself promises.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { equal, killAll, test } from './harness.mjs';

test('whoever is to be killed and has gone already keeps nobody else alive', async (t) => {
  const sleepers = [1, 2].map(() => spawn('sleep', ['600']));
  for (const each of sleepers) t.defer(() => each.kill('SIGKILL'));
  const [gone, there] = sleepers;
  const ends = sleepers.map((each) => once(each, 'exit'));
  gone.kill('SIGKILL');
  await ends[0];
  killAll([gone.pid, there.pid]);
  equal((await ends[1])[1], 'SIGKILL', 'the other one ended by');
});
