// SPDX-License-Identifier: Apache-2.0
// Plays a stream by WHEP, HTTP-FLV or WebSocket-FLV, says what is happening, and tries again where that
// makes sense (no publisher yet, node restarting, path lost).

import { delay, msText, pathOf, rateText, sentenceOf } from './api.js';
import { $, showFigures, showMessage } from './dom.js';
import { MillraceError, errorOf, play as playRtc } from './millrace.js';

const video = $('watch-video');
let running = null;
let figures = {};

function veil(text, busy = false) {
  $('watch-veil').hidden = !text;
  $('watch-veil').classList.toggle('busy', busy);
  $('watch-veil-text').textContent = text;
}

function show(more) {
  Object.assign(figures, more);
  showFigures($('watch-stats'), figures);
}

/** Calls `done` with the milliseconds from now to the first picture on the screen. */
function timeFirstPicture(signal, done) {
  const start = performance.now();
  const first = () => { if (!signal.aborted) done(performance.now() - start); };
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(first);
  else video.addEventListener('loadeddata', first, { once: true });
}

async function play() {
  video.muted = false;
  try {
    await video.play();
  } catch (error) {
    if (error.name !== 'NotAllowedError') return;
    video.muted = true; // browsers want a gesture before sound
    $('watch-sound').hidden = false;
    await video.play().catch(() => {});
  }
}

async function playWhep(path, token, signal, onPicture) {
  const session = playRtc(path, { token, wait: true, element: video });
  const lost = new Promise((_, reject) => session.addEventListener('error', ({ detail }) => reject(detail.error)));
  lost.catch(() => {});
  signal.addEventListener('abort', () => session.stop(), { once: true });
  session.addEventListener('state', ({ detail: { state } }) => {
    if (state === 'waiting') {
      showMessage($('watch-message'), `Nobody publishes ${path} yet. Waiting for it.`, 'warn');
      veil('Waiting for a publisher', true);
    } else {
      showMessage($('watch-message'), state === 'recovering' ? 'The path to the node is lost. Finding another.' : '', 'warn');
    }
  });
  session.addEventListener('stats', () => {
    const { stats } = session;
    show({
      Picture: stats.width ? `${stats.width} × ${stats.height}` : '–',
      Frames: stats.fps ? `${stats.fps} fps` : '–',
      Rate: rateText(stats.bitrate),
      Codec: stats.codec ?? '–',
      Jitter: msText(stats.jitter),
      Lost: `${stats.lost}`,
      Freezes: `${stats.freezes}`,
      'Round trip': msText(stats.rtt),
    });
  });
  timeFirstPicture(signal, onPicture);
  await session.ready;
  play();
  await lost;
}

let library = null;
function loadMpegts() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = '/vendor/mpegts.js';
    script.onload = () => resolve(window.mpegts);
    script.onerror = () => { library = null; reject(new Error('The FLV player could not be loaded.')); };
    document.head.append(script);
  });
  return library;
}

/** HTTP-FLV says 404 where WHEP says 409. */
const notPublished = new MillraceError('conflict', 'Nobody publishes this stream.', { status: 409, retryAfter: 1 });

/** A WebSocket that is refused does not say why; a request for the head does. */
async function checkFlv(url, signal) {
  const response = await fetch(url, { method: 'HEAD', signal, cache: 'no-store' });
  if (response.ok) return;
  throw response.status === 404 ? notPublished : await errorOf(response);
}

async function playFlv(path, token, signal, onPicture, overWebSocket = false) {
  const mpegts = await loadMpegts();
  if (!mpegts.getFeatureList().mseLivePlayback)
    throw new MillraceError('unsupported', 'This browser cannot play FLV (no Media Source). Use WebRTC.');
  mpegts.LoggingControl.enableAll = false;
  const url = new URL(`/${path}.flv`, location.href);
  if (token) url.searchParams.set('token', token);
  await checkFlv(url, signal);
  if (overWebSocket) url.protocol = url.protocol.replace('http', 'ws');
  const player = mpegts.createPlayer({ type: 'flv', isLive: true, url: url.href },
    { enableStashBuffer: false, liveBufferLatencyChasing: true, liveBufferLatencyMaxLatency: 1.2, liveBufferLatencyMinRemain: 0.3 });
  let rate = NaN;
  let lost;
  const ended = new Promise((_, reject) => { lost = reject; });
  ended.catch(() => {});
  player.on(mpegts.Events.STATISTICS_INFO, (info) => { rate = info.speed * 8192; });
  player.on(mpegts.Events.LOADING_COMPLETE, () => lost(new Error('The stream has ended.')));
  player.on(mpegts.Events.ERROR, (_, detail, info) => {
    if (detail === 'HttpStatusCodeInvalid')
      lost(info.code === 404 ? notPublished : new MillraceError('refused', `The node answered ${info.code}.`, { status: info.code }));
    else
      lost(new Error(info?.msg || 'The stream could not be played.'));
  });
  // at once: while the element still has the source that the player hears of
  let ended_by_us = false;
  const end = () => {
    if (!ended_by_us) player.destroy();
    ended_by_us = true;
  };
  signal.addEventListener('abort', end, { once: true });
  try {
    player.attachMediaElement(video);
    timeFirstPicture(signal, onPicture);
    player.load();
    play();
    let last = { frames: 0, at: performance.now() };
    for (;;) {
      await Promise.race([delay(1000, signal), ended]);
      const quality = video.getVideoPlaybackQuality();
      const at = performance.now();
      const buffered = video.buffered.length ? video.buffered.end(video.buffered.length - 1) - video.currentTime : 0;
      show({
        Picture: video.videoWidth ? `${video.videoWidth} × ${video.videoHeight}` : '–',
        Frames: `${Math.max(0, Math.round((quality.totalVideoFrames - last.frames) * 1000 / (at - last.at)))} fps`,
        Rate: rateText(rate),
        Buffer: msText(buffered * 1000),
        Dropped: `${quality.droppedVideoFrames}`,
      });
      last = { frames: quality.totalVideoFrames, at };
    }
  } finally {
    signal.removeEventListener('abort', end);
    end();
  }
}

export const players = {
  whep: { play: playWhep, name: 'WebRTC' },
  flv: { play: playFlv, name: 'HTTP-FLV' },
  'ws-flv': { play: (path, token, signal, onPicture) => playFlv(path, token, signal, onPicture, true), name: 'WS-FLV' },
};

/** One attempt after another until it is stopped, or refused for a reason that will not pass. */
async function run(name, protocol, token, signal) {
  const path = pathOf(name);
  for (let attempt = 0; ; attempt++) {
    veil(attempt ? 'Trying again' : 'Connecting', true);
    try {
      await players[protocol].play(path, token, signal, (time) => {
        attempt = 0;
        veil('');
        showMessage($('watch-message'), '');
        $('watch-badge').hidden = false;
        show({ 'First picture': msText(time) });
      });
    } catch (error) {
      $('watch-badge').hidden = true;
      if (signal.aborted) return;
      const passing = !(error instanceof MillraceError) || error.code === 'lost' || [409, 429, 503].includes(error.status);
      if (!passing) throw error;
      showMessage($('watch-message'), `${sentenceOf(error)} Trying again.`, 'warn');
      veil('Trying again', true);
      await delay(Math.max(error.retryAfter * 1000 || 0, Math.min(8000, 500 * 2 ** attempt)), signal).catch(() => {});
      if (signal.aborted) return;
    }
  }
}

export function stop() {
  running?.abort(new DOMException('stopped', 'AbortError'));
  running = null;
  figures = {};
  video.srcObject = null;
  video.removeAttribute('src');
  video.load();
  $('watch-stats').replaceChildren();
  $('watch-badge').hidden = $('watch-sound').hidden = true;
  $('watch-go').textContent = 'Watch';
  $('watch-go').classList.remove('stop');
  showMessage($('watch-message'), '');
  veil('Press Watch to play this stream.');
}

export function watch(name, protocol, token) {
  stop();
  const controller = running = new AbortController();
  $('watch-go').textContent = 'Stop';
  $('watch-go').classList.add('stop');
  $('watch-badge').textContent = players[protocol].name;
  run(name, protocol, token, controller.signal).catch((error) => {
    if (running !== controller) return;
    stop();
    showMessage($('watch-message'), sentenceOf(error), 'bad');
  });
}

export const isWatching = () => running !== null;

$('watch-sound').addEventListener('click', () => { video.muted = false; $('watch-sound').hidden = true; });
addEventListener('pagehide', () => running?.abort());
