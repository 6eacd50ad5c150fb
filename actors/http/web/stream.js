// SPDX-License-Identifier: Apache-2.0
// A stream's page: player, where it runs, charts, sessions.

import { ageText, msText, pathOf, rateText } from './api.js';
import { drawCharts, forgetCharts } from './charts.js';
import { $, h, keyed, setText, showMessage } from './dom.js';
import { showEvents } from './events.js';
import { latencyOf, live } from './live.js';
import { drawPicture } from './picture.js';
import { isWatching, players, stop, watch } from './player.js';
import { codecsOf, fpsText, videoOf } from './streams.js';

const LATELY = 8;

let name = '';
let asked = null; // by a link: play at once

const protocol = () => document.querySelector('input[name=protocol]:checked').value;

/** What a link asks for: the next stream that is entered plays so. */
export function ask(wish) {
  asked = wish;
  const radio = document.querySelector(`input[name=protocol][value="${players[wish.protocol] ? wish.protocol : 'whep'}"]`);
  radio.checked = true;
  if (wish.token) $('watch-token').value = wish.token;
}

function linkTo() {
  const link = new URL('/', location.href);
  link.searchParams.set('play', name);
  if (protocol() !== 'whep') link.searchParams.set('protocol', protocol());
  return link.href.replaceAll('%2F', '/');
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(linkTo());
    setText($('watch-link'), 'Copied');
    setTimeout(() => setText($('watch-link'), 'Copy link'), 1500);
  } catch {
    showMessage($('watch-message'), linkTo()); // no clipboard without https: shown to be copied by hand
  }
}

const start = () => watch(name, protocol(), $('watch-token').value);

export function init() {
  $('watch-form').addEventListener('submit', (event) => {
    event.preventDefault();
    if (isWatching()) stop();
    else start();
  });
  for (const radio of document.querySelectorAll('input[name=protocol]'))
    radio.addEventListener('change', () => { if (isWatching()) start(); });
  $('watch-link').addEventListener('click', copyLink);
}

export function enter(about) {
  name = about;
  setText($('stream-title'), name);
  stop();
  try {
    pathOf(name);
  } catch (error) {
    showMessage($('watch-message'), error.message, 'bad');
    return;
  }
  // a video that waits for its first picture holds the page's load event back: the tab would spin
  if (asked && document.readyState !== 'complete') addEventListener('load', start, { once: true });
  else if (asked) start();
  asked = null;
}

export function leave() {
  stop();
  forgetCharts();
}

const warnings = [
  [(session) => session.loss_ppm > 50000, 'bad'], [(session) => session.loss_ppm > 10000, 'warn'],
];
export const lossClass = (session) => warnings.find(([holds]) => holds(session))?.[1] ?? '';

const usual = ['up', 'publishing', 'streaming', 'playing'];
const cells = [
  ({ client }) => client.replace(/:\d+$/, ''),
  ({ protocol: spoken, state, standby }) =>
    [spoken, !usual.includes(state) && state, standby && 'standby'].filter(Boolean).join(' · '),
  ({ worker }) => `${worker}`,
  ({ bitrate_bps: bps }) => rateText(bps),
  (session) => (session.rtt_us || session.loss_ppm ? `${(session.loss_ppm / 10000).toFixed(1)} %` : '–'),
  ({ rtt_us: rtt }) => (rtt ? `${(rtt / 1000).toFixed(1)} ms` : '–'),
  (session) => (session.play ? msText(latencyOf(session)) : '–'),
  ({ started_us: started }) => (started ? msText(started / 1000) : '–'),
  ({ since }) => ageText(Date.now() - since * 1000),
];

function showSessions(sessions) {
  const rows = sessions.sort(([, a], [, b]) => a.play - b.play || a.since - b.since);
  keyed($('sessions'), rows, () => h('tr', {}, ...cells.map(() => h('td'))), (row, session) => {
    cells.forEach((text, i) => setText(row.children[i], text(session)));
    row.children[4].className = lossClass(session);
  });
  const viewers = rows.filter(([, session]) => session.play).length;
  const all = live.listsAll(name);
  setText($('sessions-count'), rows.length ? `${rows.length}${all ? '' : '+'}` : '');
  $('sessions-more').hidden = all;
  setText($('sessions-more'), all ? '' : `${viewers.toLocaleString()} of ${live.state.streams[name].viewers.toLocaleString()} viewers are listed: `
    + 'loss, round trip and first picture are theirs; the rate out to all is not known here.');
  $('sessions-card').hidden = !rows.length;
}

function factsOf(stream) {
  return [stream.protocol, codecsOf(stream), videoOf(stream) && fpsText(stream), rateText(stream.bitrate_bps),
    `${stream.viewers} viewer${stream.viewers === 1 ? '' : 's'}`]
    .filter(Boolean).map((fact) => fact.replaceAll(' ', '\u00a0')).join(' · '); // a number and its unit stay on one line
}

export function update() {
  const stream = live.state?.streams[name];
  const sessions = live.sessionsOf(name);
  setText($('stream-facts'), stream ? factsOf(stream) : '');
  const events = live.events.filter((event) => event.stream === name).slice(-LATELY);
  $('side').hidden = !live.state;
  $('stream-lately').hidden = !events.length;
  showEvents($('stream-events'), events);
  $('picture-empty').hidden = Boolean(stream);
  drawPicture($('picture'), stream, live.state?.sessions[stream?.publisher],
    sessions.map(([, session]) => session), live.state?.workers ?? {});
  showSessions(sessions);
  drawCharts($('charts'), name);
}
