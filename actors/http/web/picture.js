// SPDX-License-Identifier: Apache-2.0
// Where a stream runs, as a picture: the publisher's session, the stream on its worker, its copies on
// the others, and every viewer a dot at the worker that serves it. What flows moves.

import { rateText } from './api.js';
import { svg } from './dom.js';

const DOTS_MAX = 60; // a worker; the rest is a number
const ROW_MIN = 74, GAP = 14, DOT = 15;

function healthOf(session) {
  if (!['up', 'streaming', 'playing'].includes(session.state)) return 'idle';
  if (session.loss_ppm > 50000) return 'bad';
  return session.loss_ppm > 10000 || session.lag_us > 1500000 ? 'warn' : '';
}

function describe(session) {
  const facts = [session.protocol, session.client, rateText(session.bitrate_bps)];
  if (session.rtt_us) facts.push(`${(session.rtt_us / 1000).toFixed(1)} ms round trip`);
  if (session.loss_ppm) facts.push(`${(session.loss_ppm / 10000).toFixed(1)} % lost`);
  if (session.dropped) facts.push(`${session.dropped} left out`);
  return facts.join(' · ');
}

/** A pipe with something moving in it while there is something to move. */
function pipe(d, flows) {
  return [svg('path', { class: 'pipe', d }), ...(flows ? [svg('path', { class: 'flow', d })] : [])];
}

function text(x, y, words, kind = '', anchor = 'start') {
  return svg('text', { x, y, class: kind, 'text-anchor': anchor }, words);
}

/** One row a worker that has the stream: the origin first. */
function rowsOf(stream, sessions, workers) {
  const numbers = new Set([stream.worker, ...(stream.copies ?? []).map((copy) => copy.worker),
    ...sessions.filter((session) => session.play).map((session) => session.worker)]);
  return [...numbers].map((worker) => {
    const viewers = sessions.filter((session) => session.play && session.worker === worker);
    const copy = stream.copies?.find((candidate) => candidate.worker === worker);
    const counted = worker === stream.worker
      ? stream.viewers - (stream.copies ?? []).reduce((sum, one) => sum + one.viewers, 0) : copy?.viewers ?? 0;
    return { worker, viewers, copy, count: Math.max(counted, viewers.length), process: workers[`media.${worker}`] };
  });
}

function drawViewers(row, x, y, columns) {
  const dots = row.viewers.slice(0, DOTS_MAX).map((session, i) =>
    svg('circle', { class: `viewer ${healthOf(session)}`, cx: x + (i % columns) * DOT, cy: y + Math.floor(i / columns) * DOT, r: 5.5 },
      svg('title', {}, describe(session))));
  const more = row.count - dots.length;
  const lines = Math.ceil(dots.length / columns);
  if (more > 0) dots.push(text(x - 5, y + lines * DOT + (lines ? 2 : 4), `${lines ? '+ ' : ''}${more.toLocaleString()} viewers`, 'soft'));
  return dots;
}

const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;

function inWords(stream, publisher, rows) {
  return [publisher ? `published by ${publisher.protocol}` : 'without a publisher',
    `on ${plural(rows.length, 'worker')}`, plural(stream.viewers, 'viewer')].join(', ');
}

/** `publisher`: the session that brings it, or nothing. */
export function drawPicture(box, stream, publisher, sessions, workers) {
  const width = Math.max(280, box.clientWidth);
  if (!stream || !box.clientWidth) {
    box.replaceChildren();
    return;
  }
  const rows = rowsOf(stream, sessions, workers);
  const left = Math.min(112, width * 0.27), boxWidth = Math.min(104, width * 0.26);
  const workerX = left + Math.min(46, width * 0.09);
  const dotsX = workerX + boxWidth + Math.min(58, width * 0.12);
  const columns = Math.max(3, Math.floor((width - dotsX - 12) / DOT));
  const nodes = [], pipes = [];
  let y = 0, origin = null;
  for (const row of rows) {
    const lines = Math.ceil(Math.min(row.viewers.length, DOTS_MAX) / columns) + (row.count > row.viewers.length ? 1 : 0);
    const height = Math.max(ROW_MIN, 44 + lines * DOT);
    const middle = y + height / 2 + 6;
    const dead = row.process && row.process.state !== 'ready';
    const isOrigin = row.worker === stream.worker;
    nodes.push(svg('rect', { class: `worker${dead ? ' dead' : ''}`, x: workerX - 10, y, width: width - workerX + 10, height, rx: 10 }),
      text(workerX - 1, y + 15, `worker ${row.worker}`, 'soft'),
      text(width - 8, y + 15, row.process ? `${row.process.cpu.toFixed(0)} %` : '', 'soft', 'end'),
      svg('rect', { class: `box${stream.publisher ? '' : ' lost'}`, x: workerX, y: middle - 17, width: boxWidth, height: 34, rx: 8 }),
      text(workerX + boxWidth / 2, middle - 2, isOrigin ? 'stream' : 'copy', 'strong', 'middle'),
      text(workerX + boxWidth / 2, middle + 11, rateText(isOrigin ? stream.bitrate_bps : row.copy?.bitrate_bps ?? 0), 'soft', 'middle'));
    if (isOrigin) {
      origin = middle;
      pipes.push(...pipe(`M${left} ${middle}H${workerX}`, Boolean(publisher)));
      nodes.push(svg('rect', { class: `box${publisher ? '' : ' lost'}`, x: 0.5, y: middle - 22, width: left - 0.5, height: 44, rx: 8 },
        svg('title', {}, publisher ? describe(publisher) : 'nobody publishes now')),
        text(left / 2, middle - 4, publisher ? `${publisher.protocol} in` : 'waiting', 'strong', 'middle'),
        text(left / 2, middle + 11, publisher ? publisher.client.replace(/:\d+$/, '') : 'for a publisher', 'soft', 'middle'));
    } else {
      const turn = workerX - 20;
      pipes.push(...pipe(`M${turn} ${origin}V${middle - 8}Q${turn} ${middle} ${turn + 8} ${middle}H${workerX}`, Boolean(publisher)));
    }
    if (row.count) pipes.push(...pipe(`M${workerX + boxWidth} ${middle}H${dotsX - 9}`, Boolean(publisher)));
    nodes.push(...drawViewers(row, dotsX, middle - ((lines - 1) * DOT) / 2, columns));
    y += height + GAP;
  }
  const frames = nodes.filter((node) => node.classList.contains('worker'));
  const others = nodes.filter((node) => !node.classList.contains('worker'));
  const picture = svg('svg', { viewBox: `0 0 ${width} ${y - GAP}`, height: y - GAP, role: 'img',
    'aria-label': inWords(stream, publisher, rows) }, ...frames, ...pipes, ...others);
  // moving pipes go on where they are: the drawing is changed only when it differs
  if (box.firstChild?.outerHTML !== picture.outerHTML) box.replaceChildren(picture);
}
