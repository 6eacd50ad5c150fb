// SPDX-License-Identifier: Apache-2.0
// The network between the hosts of a test does what it is told.

import { atLeast, atMost, check, equal, test } from './harness.mjs';
import { Internet } from './internet.mjs';
import { Network } from './namespaces.mjs';

const skip = Network.lacks();

/** { sent, received, min, avg, max } of `count` pings. */
function ping(internet, from, to, count, every_s = 0.01) {
  const text = internet.exec(from, ['sh', '-c', `ping -n -q -i ${every_s} -W 1 -c ${count} ${to} || true`]);
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(text);
  const times = /= ([\d.]+)\/([\d.]+)\/([\d.]+)/.exec(text) ?? [];
  return { sent: Number(sent), received: Number(received), min: Number(times[1]), avg: Number(times[2]), max: Number(times[3]) };
}

test('hosts of a test: delay, loss, a cut, another way, each pair for itself', async (t) => {
  const internet = await Internet.make(t, ['a', 'b', 'c'], { addresses: 2 });
  await internet.pair('a', 'b', { delay: '20ms' });
  await internet.path('a', internet.address('c', 1), { loss: '20%' });
  const far = ping(internet, 'a', internet.address('b'), 50);
  const near = ping(internet, 'a', internet.address('c'), 50);
  t.note(`there and back ${far.avg} and ${near.avg} ms`);
  equal([far.received, near.received], [50, 50], 'answers');
  atLeast(far.min, 40, 'milliseconds there and back');
  atLeast(far.avg - near.avg, 35, 'milliseconds more');
  const lossy = ping(internet, 'a', internet.address('c', 1), 500, 0.002);
  check(lossy.received > 350 && lossy.received < 450, () => `of 500 pings of which a fifth is lost come back: ${lossy.received}`);
  await internet.pair('a', 'b', { down: 1 });
  equal(ping(internet, 'a', internet.address('b'), 5).received, 0, 'answers over a way that is cut');
  await internet.pair('a', 'b');
  const again = ping(internet, 'a', internet.address('b'), 20);
  equal(again.received, 20, 'answers when it is back');
  atMost(again.min, 20, 'milliseconds there and back');
  const { paths } = await internet.show();
  const cut = paths.find(({ from, to }) => from === internet.address('a') && to === internet.address('b'));
  equal([cut.packets, cut.lost], [75, 5], 'packets and losses that it counts');
}, { skip });

test('hosts of a test: what it does not understand', async (t) => {
  const internet = await Internet.make(t, ['a', 'b']);
  const answers = [];
  for (const command of ['host a - 10.90.9.1', 'host d nowhere 10.90.9.1', 'pair a x loss=1', 'pair a b loss=200', 'pair a b speed=1', 'pair a', 'seed no', 'fly'])
    answers.push(await internet.command(command).then(() => `${command}: done`, (error) => /error: expected|error: no/.test(error.message)));
  equal(answers, answers.map(() => true), 'refused');
}, { skip });
