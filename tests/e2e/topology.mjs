// SPDX-License-Identifier: Apache-2.0
// Topologies that are put up for real: nodes, and what each way between two hosts does to packets. From
// a file (docs/cluster.md), or the usual one. One is { nodes: [{ name, region, tier, cost, capacity_bps }],
// links: [{ from, to, delay_us, jitter_us, loss_ppm, rate_bps }] }, links one way each.

import { execFileSync } from 'node:child_process';
import { check, Failure } from './harness.mjs';
import { program } from './node.mjs';

const NAME = /^[A-Za-z0-9][A-Za-z0-9-]{0,15}$/; // it becomes part of the name of a namespace

/** A link there and back: milliseconds one way, percent. */
export const between = (a, b, delay, loss = 0, jitter = 0) => [[a, b], [b, a]].map(([from, to]) =>
  ({ from, to, delay_us: delay * 1000, jitter_us: jitter * 1000, loss_ppm: loss * 10000, rate_bps: 0 }));

export function readTopology(file) {
  try {
    const out = execFileSync(program.replace(/[^/]*$/, 'topology_json'), [file], { encoding: 'utf8', stdio: 'pipe', maxBuffer: 64 << 20 });
    return checked(JSON.parse(out));
  } catch (error) {
    throw new Failure(`${error.stderr || error.message}`.trim());
  }
}

function checked(topology) {
  const names = topology.nodes.map((node) => node.name);
  check(names.length, 'no node in it');
  for (const name of names) check(NAME.test(name), `${name}: expected letters, digits and -, at most 16`);
  check(new Set(names).size === names.length, 'two nodes of one name');
  return topology;
}

const REGIONS = [
  ['eu', ['fra', 'par', 'lon', 'mad', 'ams', 'mil']],
  ['us', ['nyc', 'chi', 'dal', 'sjc', 'mia', 'sea']],
  ['ap', ['sgp', 'tok', 'syd', 'bom', 'hkg', 'sel']],
];
const OCEANS = [[0, 40, 80], [40, 0, 75], [80, 75, 0]]; // between regions, ms one way, bought
const CORE_EVERY = 5; // the first of a region is a core, and each fifth from there

/** What a way of the public internet adds to a bought one: [delay ms, loss %, jitter ms] by how many of
 *  its ends are edges. Far away it is so bad that two relays are better. */
const FAR = [[0, 0, 1], [8, 0.3, 2], [30, 2, 4]];
const NEAR = [[2, 0, 0], [4, 0, 0], [8, 0.1, 1]];

/** `count` nodes in three regions: a core each, which the others, edges, do well to go over. */
export function usualTopology(count) {
  const nodes = [];
  for (let i = 0; i < count; i++) {
    const [region, cities] = REGIONS[i % REGIONS.length];
    const place = Math.floor(i / REGIONS.length);
    nodes.push({ name: `${cities[place % cities.length]}${1 + Math.floor(place / cities.length)}`, region, at: i % REGIONS.length,
      tier: place % CORE_EVERY ? 'edge' : 'core', cost: 0, capacity_bps: 0 });
  }
  const links = [];
  nodes.forEach((a, i) => nodes.slice(i + 1).forEach((b) => {
    const edges = [a, b].filter((node) => node.tier === 'edge').length;
    const [delay, loss, jitter] = (a.at === b.at ? NEAR : FAR)[edges];
    links.push(...between(a.name, b.name, OCEANS[a.at][b.at] + delay, loss, jitter));
  }));
  return checked({ nodes, links });
}

/** From each host to each other, as { delay, jitter, loss, rate } for impair: the link, or, where there is
 *  none, the quickest way over links; `down` when there is no way. Map of "from to". */
export function waysOf({ nodes, links }) {
  const names = nodes.map((node) => node.name);
  const key = (from, to) => `${from} ${to}`;
  const ways = new Map(links.map((link) => [key(link.from, link.to), link]));
  const direct = new Set(ways.keys());
  for (const over of names) for (const from of names) for (const to of names) {
    const [first, second, now] = [[from, over], [over, to], [from, to]].map((pair) => ways.get(key(...pair)));
    if (!first || !second || from === to || direct.has(key(from, to)) || now?.delay_us <= first.delay_us + second.delay_us) continue;
    const rates = [first, second].map((way) => way.rate_bps).filter(Boolean);
    ways.set(key(from, to), { delay_us: first.delay_us + second.delay_us, jitter_us: first.jitter_us + second.jitter_us,
      loss_ppm: Math.min(1e6, first.loss_ppm + second.loss_ppm), rate_bps: rates.length ? Math.min(...rates) : 0 });
  }
  return new Map(names.flatMap((from) => names.filter((to) => to !== from).map((to) => [key(from, to), rulesOf(ways.get(key(from, to)))])));
}

const rulesOf = (way) => (way ? { delay: `${way.delay_us}us`, jitter: `${way.jitter_us}us`, loss: `${way.loss_ppm / 10000}%`,
  rate: `${way.rate_bps / 1000}k` } : { down: 1 });
