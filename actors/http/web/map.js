// SPDX-License-Identifier: Apache-2.0
// The map of the cluster: nodes by region, links between them, a stream's way over them, what changes as it
// happens, and the same as tables.

import { $, h, keyed, setText, showFigures, showMessage } from './dom.js';
import { Cluster, pairsOf } from './cluster.js';
import { showEvents } from './events.js';
import { drawMap, lossOf, mbpsOf, msOf } from './map_draw.js';

const cluster = new Cluster();
let chosen = ''; // id of a node

const nameOf = (id) => cluster.nodes.find((node) => node.id === id)?.node ?? id;
const stateOf = (state) => (state === 'up' || state === 'here' ? '' : state === 'down' ? 'bad' : 'warn');
const cells = (row, values) => values.forEach(([text, kind = ''], i) => {
  setText(row.children[i], text);
  row.children[i].className = kind;
});
const tableRow = (count) => () => h('tr', {}, h('th', { scope: 'row' }), ...Array.from({ length: count - 1 }, () => h('td')));

function showTables() {
  keyed($('map-nodes'), cluster.nodes.map((node) => [node.id, node]), tableRow(6), (row, node) => {
    const copy = cluster.tree[node.node];
    cells(row, [[node.node], [node.region || '–'], [node.tier], [node.state === 'here' ? 'this node' : node.state, stateOf(node.state)], [msOf(node.rtt_ms), 'number'],
      [!copy ? '–' : copy.origin ? 'published here' : copy.from ? `from ${copy.from}${copy.planned && copy.way !== copy.planned ? `, planned ${copy.planned}` : ''}` : 'yes',
        copy?.detour ? 'warn' : '']]);
  });
  const links = cluster.links.filter(({ relay }) => !relay);
  keyed($('map-links'), links.map((link) => [`${link.from} ${link.to}`, link]), tableRow(6), (row, link) =>
    cells(row, [[`${nameOf(link.from)} → ${nameOf(link.to)}`], [msOf(link.rtt_ms), 'number'], [msOf(link.jitter_ms), 'number'],
      [lossOf(link.loss_percent), link.loss_percent > 2 ? 'number warn' : 'number'],
      [mbpsOf(link.mbps) + (link.capacity_mbps ? ` of ${Math.round(link.capacity_mbps)}` : ''), 'number'], [link.state, stateOf(link.state)]]));
  $('map-links-empty').hidden = links.length > 0;
}

function showChosen() {
  const node = cluster.nodes.find(({ id }) => id === chosen);
  $('map-chosen').hidden = !node;
  if (!node) return;
  const copy = cluster.tree[node.node];
  const mine = pairsOf(cluster.links).filter(({ a, b }) => a === node.id || b === node.id);
  setText($('map-chosen-name'), node.node);
  showFigures($('map-chosen-figures'), { Region: node.region || '–', Tier: node.tier, State: node.state === 'here' ? 'this node' : node.state,
    'Round trip': msOf(node.rtt_ms), Links: mine.length,
    ...(copy ? { 'Has the stream': copy.origin ? 'publishes' : copy.way ?? 'yes', Planned: copy.planned ?? '–', Readers: copy.viewers, Workers: copy.workers } : {}) });
}

function showStreams() {
  const select = $('map-stream');
  keyed(select, cluster.streams.map((name) => [name, name]), (name) => h('option', { value: name }, name));
  if (select.value !== cluster.stream) select.value = cluster.stream;
  select.disabled = !cluster.streams.length;
}

function show() {
  showMessage($('map-problem'), cluster.problem, 'warn');
  showStreams();
  drawMap($('map'), cluster, chosen);
  showChosen();
  showTables();
  showEvents($('map-events'), cluster.events);
  $('map-events-empty').hidden = cluster.events.length > 0;
}

function choose(target) {
  const mark = target.closest?.('[data-node]');
  if (!mark) return;
  chosen = chosen === mark.dataset.node ? '' : mark.dataset.node;
  show();
}

export function init() {
  cluster.addEventListener('change', show);
  $('map-stream').addEventListener('change', ({ target }) => cluster.choose(target.value));
  $('map').addEventListener('click', ({ target }) => choose(target));
  $('map').addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    choose(event.target);
  });
  new ResizeObserver(() => { if (!$('view-map').hidden) drawMap($('map'), cluster, chosen); }).observe($('map').parentElement);
}

export const enter = () => cluster.start();
export const leave = () => cluster.stop();
