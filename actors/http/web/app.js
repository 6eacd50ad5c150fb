// SPDX-License-Identifier: Apache-2.0
// The page: which view is shown, and how the node is.

import { fetchReady, operator, pathOf, sentenceOf } from './api.js';
import { $, setText, showMessage } from './dom.js';
import { live } from './live.js';
import * as streams from './streams.js';
import * as stream from './stream.js';
import * as publish from './publish.js';
import * as workers from './workers.js';
import * as events from './events.js';
import * as map from './map.js';
import * as console_ from './console.js';

const views = { streams, stream, publish, map, workers, events, console: console_ };
let shown = null;

/** "#/stream/live/demo" -> the view and what it is about. */
function routeOf(hash) {
  const [, view = '', ...rest] = hash.replace(/^#publish$/, '#/publish').split('/');
  if (view === 'stream') return { view, about: rest.map(decodeURIComponent).join('/') };
  return { view: views[view] ? view : 'streams', about: '' };
}

function show() {
  const { view, about } = routeOf(location.hash);
  if (shown && (shown.view !== view || shown.about !== about)) views[shown.view].leave?.();
  const fresh = !shown || shown.view !== view || shown.about !== about;
  if (fresh && shown) {
    scrollTo(0, 0);
    $('main').focus({ preventScroll: true });
  }
  shown = { view, about };
  for (const name of Object.keys(views)) $(`view-${name}`).hidden = name !== view;
  for (const link of document.querySelectorAll('.nav a')) {
    const on = link.dataset.view === view || (view === 'stream' && link.dataset.view === 'streams');
    if (on) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.title = `${about || $(`view-${view}`).querySelector('h1').textContent} · Millrace`;
  if (fresh) views[view].enter?.(about);
  views[view].update?.(about);
}

function showNode(health) {
  const state = live.connected ? (live.state?.node.state === 'ready' ? 'up' : 'part')
    : live.access === 'granted' ? 'down' : health;
  const texts = { up: 'ready', part: live.state?.node.state ?? 'not ready', down: 'no answer', unknown: 'connecting' };
  const reconnecting = !live.connected && live.access === 'granted' && live.state;
  $('node').className = `node ${state}`;
  setText($('node-name'), [live.state?.node.node, reconnecting ? 'reconnecting' : texts[state]].filter(Boolean).join(' · '));
  $('operator').hidden = live.access !== 'token';
  showMessage($('notice'), live.access === 'token' && operator.token
    ? 'The node does not take this token. Watching and publishing need none of this kind.'
    : live.access === 'token' ? 'What the node does is shown to operators. Watching and publishing need no such token.'
    : live.access === 'denied' ? `${live.problem} Watching by name and publishing go on.` : '', 'warn');
}

let health = 'unknown';
live.addEventListener('change', () => {
  showNode(health);
  document.querySelector('.nav [data-view=map]').hidden = !live.state?.node.mesh_port; // a node by itself has none
  if (shown) views[shown.view].update?.(shown.about);
});
live.addEventListener('event', ({ detail }) => {
  if (detail.level !== 'info') setText($('announcer'), detail.text);
});

$('operator').addEventListener('submit', (event) => {
  event.preventDefault();
  operator.token = $('operator-token').value;
  live.again();
});
$('open').addEventListener('submit', (event) => {
  event.preventDefault();
  try {
    $('open-name').setCustomValidity('');
    location.hash = `#/stream/${pathOf($('open-name').value)}`;
  } catch (error) {
    $('open-name').setCustomValidity(sentenceOf(error));
    $('open-name').reportValidity();
  }
});
$('open-name').addEventListener('input', () => $('open-name').setCustomValidity(''));
/** Links to share: /?play=live/demo&protocol=flv */
function takeLink() {
  const asked = new URLSearchParams(location.search);
  if (!asked.get('play')) return;
  stream.ask({ protocol: asked.get('protocol'), token: asked.get('token') });
  history.replaceState(null, '', `/#/stream/${asked.get('play')}`);
}

/** While nobody tells us how the node is. */
async function pollHealth() {
  for (;;) {
    if (!live.connected && !document.hidden) {
      health = await fetchReady();
      showNode(health);
    }
    await new Promise((resolve) => setTimeout(resolve, 3000));
  }
}

publish.init();
stream.init();
map.init();
takeLink();
addEventListener('hashchange', show);
show();
live.run();
pollHealth();
