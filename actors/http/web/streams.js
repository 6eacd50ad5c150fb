// SPDX-License-Identifier: Apache-2.0
// The list of live streams, and the node in a row of figures.

import { ageText, rateOf, rateText } from './api.js';
import { $, h, keyed, setText, showFigures, spark } from './dom.js';
import { showEvents } from './events.js';
import { latencyOf, live } from './live.js';

const LATELY = 6;

export function videoOf(stream) {
  return stream.tracks?.find(({ kind }) => kind === 'video');
}

/** "H264 1280×720 · AAC" */
export function codecsOf(stream) {
  return (stream.tracks ?? []).map(({ kind, codec, width, height }) =>
    (kind === 'video' && width ? `${codec} ${width}×${height}` : codec)).join(' · ');
}

export const fpsText = (stream) =>
  (stream.frame_rate_milli ? `${Math.round(stream.frame_rate_milli / 1000)} fps` : '');

/** To the slowest viewer; where not all are listed, that it is no less. */
function latencyText(name) {
  const all = live.sessionsOf(name).map(([, session]) => session).filter((session) => session.play);
  if (!all.length) return '–';
  return `${live.listsAll(name) ? '' : '≥ '}${Math.round(Math.max(...all.map(latencyOf)))} ms`;
}

function figure(label) {
  return h('span', { className: 'number' }, h('span', { className: 'label' }, label), h('span'));
}

function createRow(name) {
  return h('li', {}, h('a', { className: 'stream', href: `#/stream/${name}` },
    h('span', { className: 'name' }, h('b', {}, name), h('span', { className: 'sub' })),
    h('span', { className: 'trend' }), figure('Rate'), figure('Viewers'), figure('Latency'), figure('On air')));
}

function updateRow(item, stream, name) {
  const [title, trend, rate, viewers, latency, since] = item.firstChild.children;
  const tags = [h('span', { className: 'tag' }, stream.protocol || '?')];
  if (stream.b_frames) tags.push(h('span', { className: 'tag warn', title: 'WebRTC viewers see it less smoothly' }, 'B-frames'));
  if (stream.standbys) tags.push(h('span', { className: 'tag', title: 'Publishers that take over when this one is silent' }, `+${stream.standbys} standby`));
  if (stream.state !== 'live') tags.push(h('span', { className: 'tag warn' }, stream.state));
  title.lastChild.replaceChildren(...tags.flatMap((tag) => [tag, ' ']),
    [codecsOf(stream), videoOf(stream) && fpsText(stream)].filter(Boolean).join(' · '));
  trend.replaceChildren(spark((live.histories.get(name)?.in ?? []).slice(-60)));
  setText(rate.lastChild, rateText(stream.bitrate_bps));
  setText(viewers.lastChild, (stream.viewers ?? 0).toLocaleString());
  setText(latency.lastChild, latencyText(name));
  setText(since.lastChild, ageText(Date.now() - stream.since * 1000));
}

function showTiles({ streams, sessions, workers, left_out: leftOut, streams_left_out: streamsLeftOut }) {
  const players = Object.values(sessions).filter((session) => session.play);
  const processes = Object.values(workers);
  const media = processes.filter((worker) => worker.role === 'media');
  showFigures($('tiles'), {
    Streams: `${Object.keys(streams).length.toLocaleString()}${streamsLeftOut ? '+' : ''}`,
    Viewers: (streamsLeftOut ? '≥ ' : '') + Object.values(streams).reduce((sum, stream) => sum + (stream.viewers ?? 0), 0).toLocaleString(),
    Out: rateOf(leftOut ? NaN : players.reduce((sum, session) => sum + session.bitrate_bps, 0)),
    Workers: [`${media.filter((worker) => worker.state === 'ready').length} of ${media.length}`, 'ready'],
    Processor: [processes.reduce((sum, worker) => sum + worker.cpu, 0).toFixed(0), '% of a core'],
  });
}

function emptyText() {
  if (live.access === 'token' || live.access === 'denied') return 'The list is shown to operators.';
  if (!live.state) return live.access === 'granted' ? 'The node does not answer. Trying again.' : 'Looking…';
  return 'Nothing is live.';
}

function ffmpegLine(port) {
  const host = port && port !== 1935 ? `${location.hostname}:${port}` : location.hostname;
  return `ffmpeg -re -i file.mp4 -c:v libx264 -bf 0 -g 60 -c:a aac -f flv rtmp://${host}/live/demo`;
}

export function update() {
  const streams = Object.entries(live.state?.streams ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  keyed($('streams'), streams, createRow, updateRow);
  const more = live.state?.streams_left_out ?? 0;
  $('streams-more').hidden = !more;
  setText($('streams-more'), `${more.toLocaleString()} more are not listed (copies on other workers count). Console: streams`);
  $('streams-empty').hidden = streams.length > 0;
  $('streams-hint').hidden = $('ffmpeg-line').hidden = !live.state;
  setText($('streams-empty-text'), emptyText());
  if (live.state) setText($('ffmpeg-line'), ffmpegLine(live.state.node.rtmp_port));
  if (live.state) showTiles(live.state);
  else $('tiles').replaceChildren();
  $('recent').hidden = !live.events.length || !live.state;
  showEvents($('recent-events'), live.events.slice(-LATELY));
}
