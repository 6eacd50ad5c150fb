// SPDX-License-Identifier: Apache-2.0
// What a soak (soak.mjs) calls growth, by made-up samples.

import { check, equal, test } from './harness.mjs';
import { draw, growths } from './soak_plot.mjs';

const MOMENTS = 7;

/** Samples a minute apart of one process; held(i) is {figure, pid}. */
const samplesOf = (held) => Array.from({ length: MOMENTS }, (_, i) => ({ at: i * 60, sessions: 0,
  processes: [{ name: 'media.0', pid: held(i).pid ?? 1, descriptors: held(i).descriptors }] }));

const rows = [
  ['what stays', (i) => ({ descriptors: 30 + (i % 2) }), true],
  ['a descriptor a minute', (i) => ({ descriptors: 30 + i }), false],
  ['one burst', (i) => ({ descriptors: i === 3 ? 900 : 30 }), true],
  ['a burst that stays', (i) => ({ descriptors: i >= 3 ? 60 : 30 }), false],
  ['what shrinks', (i) => ({ descriptors: 90 - 10 * i }), true],
];

test('the verdict on growth', async () => {
  for (const [name, held, passes] of rows) {
    const [row] = growths(samplesOf(held), { descriptors: () => 2 });
    equal(row.growth <= row.bound, passes, name);
  }
  equal(growths(samplesOf((i) => ({ descriptors: 30, pid: i })), { descriptors: () => 2 }), [], 'a process that was replaced');
  equal(growths([], { descriptors: () => 2 }), [], 'no sample');
});

test('the picture has a line a process', async () => {
  const picture = draw(samplesOf(() => ({ descriptors: 30 })), [['descriptors', (held) => held.descriptors]], 'head');
  check(picture.match(/<polyline /g).length === 2 && picture.includes('media.0') && !picture.includes('NaN'), picture);
});
