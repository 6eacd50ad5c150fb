// SPDX-License-Identifier: Apache-2.0
// The cluster as a drawing. Where a node stands follows from the names of all regions and nodes, so that the
// map looks alike on every page and moves only when somebody joins or leaves: regions on an ellipse, the
// nodes of each on a circle of their own. A link is as thick as its load and coloured by how it is.

import { healthOf, pairsOf } from './cluster.js';
import { svg } from './dom.js';

const NODE = 15; // radius
const LABELS_MAX = 14; // links that are labelled
const GOLD = -Math.PI / 2; // the first stands on top

const ring = (i, count, x, y, rx, ry) => {
  const angle = GOLD + 2 * Math.PI * i / count;
  return { x: x + rx * Math.cos(angle), y: y + ry * Math.sin(angle) };
};

/** As much room above as below, and there for the names. */
function centre(places, middles, height) {
  const all = [...new Set([...Object.values(places), ...middles])];
  const ys = Object.values(places).map(({ y }) => y);
  const shift = (height - Math.min(...ys) - Math.max(...ys)) / 2 - NODE / 2;
  for (const place of all) place.y += shift;
}

/** {id: {x, y}}, and the regions with their middle. */
export function layOut(nodes, width, height) {
  const regions = [...new Set(nodes.map(({ region }) => region))].sort();
  const places = {}, middles = [];
  const one = regions.length < 2;
  regions.forEach((region, i) => {
    const mine = nodes.filter((node) => node.region === region).sort((a, b) => (a.node < b.node ? -1 : a.node > b.node ? 1 : a.id < b.id ? -1 : 1));
    const middle = one ? { x: width / 2, y: height / 2 } : ring(i, regions.length, width / 2, height / 2, width * 0.33, height * 0.31);
    const room = one ? [width * 0.36, height * 0.34] : [Math.min(width * 0.13, 18 + 11 * mine.length), Math.min(height * 0.14, 16 + 10 * mine.length)];
    middles.push({ region, ...middle, rx: room[0] + 3 * NODE, ry: room[1] + 3 * NODE });
    mine.forEach((node, k) => {
      places[node.id] = mine.length === 1 ? { ...middle } : ring(k, mine.length, middle.x, middle.y, ...room);
    });
  });
  centre(places, middles, height);
  return { places, middles: one ? [] : middles };
}

const number = (value) => value.toFixed(1);

/** A little bent, so that a line between two nodes does not run through a third one on the way. */
function lineOf(from, to, bend = 0.1) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const middle = { x: (from.x + to.x) / 2 - dy * bend, y: (from.y + to.y) / 2 + dx * bend };
  return { d: `M${number(from.x)} ${number(from.y)}Q${number(middle.x)} ${number(middle.y)} ${number(to.x)} ${number(to.y)}`,
    x: (from.x + to.x) / 4 + middle.x / 2, y: (from.y + to.y) / 4 + middle.y / 2 };
}

export const msOf = (ms) => (ms > 0 ? `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms` : '–');
export const lossOf = (percent) => `${percent < 1 ? percent.toFixed(2) : percent.toFixed(1)} %`;
export const mbpsOf = (mbps) => `${mbps < 10 ? mbps.toFixed(2) : Math.round(mbps)} Mbit/s`;

function drawLink(pair, places) {
  const [a, b] = [places[pair.a], places[pair.b]];
  if (!a || !b) return [];
  const health = healthOf(pair), line = lineOf(a, b);
  return [svg('path', { class: `link ${health.level}${health.state === 'down' ? ' down' : ''}`, d: line.d,
    'stroke-width': number(Math.min(9, 1.5 + 1.6 * Math.log2(1 + health.mbps))) },
  svg('title', {}, `${msOf(health.rtt_ms)} · ${lossOf(health.loss_percent)} lost · ${mbpsOf(health.mbps)} · ${health.state}`))];
}

/** Over what flows there. */
function drawDelay(pair, places) {
  const [a, b] = [places[pair.a], places[pair.b]];
  if (!a || !b) return [];
  const line = lineOf(a, b);
  return [svg('text', { class: 'delay', x: number(line.x), y: number(line.y + 4), 'text-anchor': 'middle' }, msOf(healthOf(pair).rtt_ms))];
}

/** From the node that is copied to the one that copies, over the link between them if there is one. */
function drawHop(from, to, detour) {
  const forth = from.id < to.id;
  const { d } = forth ? lineOf(from, to) : lineOf(from, to, -0.1);
  return [svg('path', { class: `hop${detour ? ' detour' : ''}`, d }), svg('path', { class: 'flow', d })];
}

function drawNode(node, place, copy, chosen) {
  const state = node.state === 'here' || node.state === 'up' ? 'up' : node.state === 'down' ? 'down' : 'part';
  const words = [node.node, node.region && `region ${node.region}`, node.tier, node.state === 'here' ? 'this node' : node.state,
    node.rtt_ms > 0 && `${msOf(node.rtt_ms)} away`, copy && (copy.origin ? 'publishes the stream' : copy.from ? `copies it from ${copy.from}` : 'has the stream')];
  const label = words.filter(Boolean).join(', ');
  return svg('g', { class: `node-mark ${state}${copy ? ' has' : ''}${copy?.origin ? ' origin' : ''}${chosen ? ' chosen' : ''}`,
    transform: `translate(${number(place.x)} ${number(place.y)})`, tabindex: 0, role: 'button', 'aria-label': label, 'aria-pressed': `${chosen}`, 'data-node': node.id },
  svg('circle', { r: node.tier === 'core' ? NODE : NODE - 3 }),
  copy ? svg('text', { class: 'inside', y: 4, 'text-anchor': 'middle' }, copy.origin ? '▲' : `${copy.viewers || ''}`) : null,
  svg('text', { class: 'name', y: NODE + 14, 'text-anchor': 'middle' }, node.node), svg('title', {}, label));
}

/** `tree` as treeOf() has it, by names of nodes; `chosen` is an id. */
export function drawMap(box, { nodes, links, tree }, chosen) {
  const width = Math.max(300, box.clientWidth), height = Math.max(300, Math.min(560, width * 0.62));
  const { places, middles } = layOut(nodes, width, height);
  const byName = Object.fromEntries(nodes.map(({ node, id }) => [node, { id, ...places[id] }]));
  const pairs = pairsOf(links);
  const hops = Object.entries(tree).filter(([name, { from }]) => byName[name] && byName[from])
    .flatMap(([name, { from, detour }]) => drawHop(byName[from], byName[name], detour));
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.node : null;
  const drawing = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'group',
    'aria-label': `Map of ${nodes.length} nodes and ${pairs.length} links; the tables below say the same` },
  ...middles.flatMap(({ region, x, y, rx, ry }) => [svg('ellipse', { class: 'region', cx: number(x), cy: number(y), rx: number(rx), ry: number(ry) }),
    svg('text', { class: 'region-name', x: number(x), y: number(y - ry - 5), 'text-anchor': 'middle' }, region || 'no region')]),
  ...pairs.flatMap((pair) => drawLink(pair, places)), ...hops, ...(pairs.length > LABELS_MAX ? [] : pairs.flatMap((pair) => drawDelay(pair, places))),
  ...nodes.map((node) => drawNode(node, places[node.id], tree[node.node], node.id === chosen)));
  if (box.firstChild?.outerHTML === drawing.outerHTML) return; // what moves goes on where it is
  box.replaceChildren(drawing);
  if (focused) box.querySelector(`[data-node="${focused}"]`)?.focus({ preventScroll: true });
}
