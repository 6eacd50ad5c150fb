// SPDX-License-Identifier: Apache-2.0
// Reads /metrics as strictly as Prometheus does.

import { check } from './harness.mjs';

/** Families of an exposition: {name: {type, help, samples: [{name, labels, value}]}}; throws on anything
 *  that a strict reader would not take. */
export function parseMetrics(text) {
  const families = {};
  const seen = new Set();
  let current = null;
  check(text.endsWith('\n'), 'the last line is whole');
  for (const line of text.slice(0, -1).split('\n')) {
    const told = /^# (HELP|TYPE) ([a-z][a-z0-9_]*) (.+)$/.exec(line);
    if (told) {
      const [, what, name, rest] = told;
      if (what === 'HELP') {
        check(!families[name], `${name} is told twice`);
        current = families[name] = { help: rest, samples: [] };
      } else {
        check(families[name] === current && !current.type && !current.samples.length, `${line}: out of place`);
        check(['counter', 'gauge', 'histogram'].includes(rest), line);
        current.type = rest;
      }
      current.name = name;
      continue;
    }
    const sample = /^([a-z][a-z0-9_]*)(?:\{([^{}]*)\})? (\d+(?:\.\d+)?)$/.exec(line);
    check(sample, `not a line of the format: ${line}`);
    const [, name, list = '', value] = sample;
    const labels = {};
    for (const label of list ? list.split(',') : []) {
      const pair = /^([a-z_]+)="([^"\\]*)"$/.exec(label);
      check(pair && !(pair[1] in labels), `labels: ${line}`);
      labels[pair[1]] = pair[2];
    }
    const own = current?.type === 'histogram' ? [`${current.name}_bucket`, `${current.name}_sum`, `${current.name}_count`] : [current?.name];
    check(current?.type && own.includes(name), `${line}: not under its own head`);
    check(!seen.has(`${name}{${list}}`), `${line}: twice`);
    seen.add(`${name}{${list}}`);
    current.samples.push({ name, labels, value: Number(value) });
  }
  return families;
}
