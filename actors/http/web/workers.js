// SPDX-License-Identifier: Apache-2.0
// The processes of the node and their load.

import { ageText } from './api.js';
import { $, h, keyed, setText, showFigures, spark } from './dom.js';
import { live } from './live.js';

const roles = { media: 'Worker', control: 'Control', helper: 'Helper', holder: 'Holder', spare: 'Spare' };
const order = Object.keys(roles);

function create(key, worker) {
  return h('li', { className: 'card worker' },
    h('p', { className: 'title' }, h('i', { className: 'dot' }),
      h('span', {}, `${roles[worker.role] ?? worker.role} ${worker.worker}`), h('span', { className: 'sub' })),
    h('p', { className: 'cpu' }, h('b'), h('span', { className: 'sub' }, '% of a core')), h('div'), h('dl'));
}

function update1(card, worker, key) {
  const [title, cpu, trend, figures] = card.children;
  title.className = `title ${worker.state}`;
  setText(title.lastChild, `${worker.state} · pid ${worker.pid}`);
  setText(cpu.firstChild, worker.cpu.toFixed(1));
  trend.replaceChildren(spark((live.histories.get(key)?.cpu ?? []).slice(-120), 20));
  showFigures(figures, {
    ...(worker.role === 'media' ? { Sessions: worker.sessions, Streams: worker.streams,
      'Packets / s': worker.packets_per_s.toLocaleString() } : {}),
    Restarts: worker.restarts,
  });
}

export function update() {
  const workers = Object.entries(live.state?.workers ?? {}).sort(([, a], [, b]) =>
    order.indexOf(a.role) - order.indexOf(b.role) || a.worker - b.worker);
  const node = live.state?.node;
  keyed($('workers'), workers, create, update1);
  setText($('workers-facts'), node ? `${node.node} · ${node.state} · up ${ageText(Date.now() - node.started_us / 1000)}` : '');
}
