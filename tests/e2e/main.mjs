// SPDX-License-Identifier: Apache-2.0
// See run.

import { readdirSync } from 'node:fs';
import { killAll, main, processesOf, RUN_ID } from './harness.mjs';

const words = process.argv.slice(2);
const others = { '--proof': 'proof.mjs', '--many': 'many.mjs', '--pictures': 'pictures.mjs', '--hops': 'hops.mjs' };
const files = words[0] in others ? [others[words.shift()]]
  : readdirSync(new URL('.', import.meta.url)).filter((name) => name.endsWith('.test.mjs')).sort();

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    killAll(processesOf(RUN_ID));
    process.exit(1);
  });
}
process.exit(await main(files, words));
