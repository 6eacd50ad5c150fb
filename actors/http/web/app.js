// SPDX-License-Identifier: Apache-2.0
// The page: tabs, the list of live streams, and the node's health.

import { ageText, fetchReady, fetchStreams, operator, rateText, sentenceOf } from './api.js';
import { initPublish } from './publish.js';
import { initWatch, watch } from './watch.js';

const $ = (id) => document.getElementById(id);
const POLL_MS = 2000;
let watching = '';

function showTab(name) {
  for (const tab of document.querySelectorAll('[role=tab]')) {
    const on = tab.id === `tab-${name}`;
    tab.setAttribute('aria-selected', on);
    tab.tabIndex = on ? 0 : -1;
    $(tab.getAttribute('aria-controls')).hidden = !on;
  }
}

function initTabs() {
  const tabs = [...document.querySelectorAll('[role=tab]')];
  tabs.forEach((tab, i) => {
    tab.addEventListener('click', () => showTab(tab.id.slice(4)));
    tab.addEventListener('keydown', (event) => {
      if (event.key !== 'ArrowRight' && event.key !== 'ArrowLeft') return;
      const next = tabs[(i + (event.key === 'ArrowRight' ? 1 : tabs.length - 1)) % tabs.length];
      showTab(next.id.slice(4));
      next.focus();
    });
  });
}

function element(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function detailOf(stream) {
  const tracks = (stream.tracks ?? []).map(({ kind, codec, width, height }) =>
    (kind === 'video' && width ? `${codec} ${width}×${height}` : codec));
  // a number and its unit stay on one line
  return [...tracks, rateText(stream.bitrate_bps), ageText(stream.age_ms ?? 0)]
    .map((item) => item.replaceAll(' ', '\u00a0')).join(' · ');
}

/** The row of a stream is made once and kept, so that focus and clicks survive the next poll. */
function rowOf(name) {
  const list = $('list');
  let item = [...list.children].find((child) => child.dataset.name === name);
  if (item) return item.firstChild;
  const button = element('button', 'stream', '');
  button.type = 'button';
  button.append(element('b', '', name), element('span', 'viewers', ''), element('span', 'detail', ''));
  button.addEventListener('click', () => { showTab('watch'); watch(name); });
  item = document.createElement('li');
  item.dataset.name = name;
  item.append(button);
  const after = [...list.children].find((child) => child.dataset.name > name);
  list.insertBefore(item, after ?? null);
  return button;
}

function showStreams(streams) {
  const names = new Set(streams.map(({ name }) => name));
  for (const item of [...$('list').children]) if (!names.has(item.dataset.name)) item.remove();
  for (const stream of streams) {
    const row = rowOf(stream.name);
    const [, viewers, detail] = row.children;
    viewers.textContent = stream.viewers === 1 ? '1 viewer' : `${(stream.viewers ?? 0).toLocaleString()} viewers`;
    detail.replaceChildren(element('span', 'tag', stream.protocol || '?'), detailOf(stream));
    row.setAttribute('aria-current', stream.name === watching);
  }
  $('list-count').textContent = streams.length || '';
  $('list-empty').hidden = streams.length > 0;
  $('list-empty').textContent = 'Nothing is live. Publish from this page, or send RTMP with the line below.';
}

async function pollStreams() {
  try {
    showStreams(await fetchStreams());
    $('operator').hidden = true;
  } catch (error) {
    showStreams([]);
    $('list-empty').textContent = error.status === 403
      ? 'The list is shown to operators on the node’s own host. You can still watch by name.'
      : error.status === 401 ? 'The list is for operators.' : sentenceOf(error);
    $('operator').hidden = error.status !== 401;
  }
}

async function pollHealth() {
  const state = await fetchReady();
  $('node').className = `node ${state}`;
  $('node').lastElementChild.textContent = { up: 'ready', part: 'not ready', down: 'no answer' }[state];
}

/** One poll after another, never two at once, and none while nobody looks. */
async function pollForEver() {
  for (;;) {
    if (!document.hidden) await Promise.all([pollStreams(), pollHealth()]);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

document.addEventListener('watching', ({ detail }) => {
  watching = detail;
  for (const item of $('list').children) item.firstChild.setAttribute('aria-current', item.dataset.name === watching);
});
$('operator').addEventListener('submit', (event) => {
  event.preventDefault();
  operator.token = $('operator-token').value;
  pollStreams();
});
$('ffmpeg-line').textContent =
  `ffmpeg -re -i file.mp4 -c:v libx264 -bf 0 -g 60 -c:a aac -f flv rtmp://${location.hostname}/live/demo`;
initTabs();
initPublish();
initWatch();
if (location.hash === '#publish') showTab('publish');
pollForEver();
