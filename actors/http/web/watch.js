// SPDX-License-Identifier: Apache-2.0
// The watch panel: plays a stream by WHEP or by HTTP-FLV, says what is happening, and tries again
// where that makes sense (no publisher yet, node restarting, path lost).

import { Refusal, delay, pathOf, rateText, sentenceOf, showMessage, showStats } from './api.js';
import { RtcMeter, RtcSession, connected } from './rtc.js';

const $ = (id) => document.getElementById(`watch-${id}`);
const video = $('video');
let running = null;

const ms = (value) => (value >= 0 ? `${Math.round(value)} ms` : '–');

function veil(text, busy = false) {
  $('veil').hidden = !text;
  $('veil').classList.toggle('busy', busy);
  $('veil-text').textContent = text;
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
    $('sound').hidden = false;
    await video.play().catch(() => {});
  }
}

async function playWhep(path, token, signal, onPicture) {
  const session = new RtcSession(`/whep/${path}`, token);
  signal.addEventListener('abort', () => session.stop(), { once: true });
  const media = new MediaStream();
  session.pc.addTransceiver('video', { direction: 'recvonly' });
  session.pc.addTransceiver('audio', { direction: 'recvonly' });
  session.pc.addEventListener('track', ({ track }) => media.addTrack(track));
  video.srcObject = media;
  timeFirstPicture(signal, onPicture);
  try {
    await session.start(signal).catch(async (error) => {
      if (error.status !== 409) throw error;
      showMessage($('message'), `Nobody publishes ${path} yet. Waiting for it.`, 'warn');
      veil('Waiting for a publisher', true);
      await session.start(signal, true);
      showMessage($('message'), '');
    });
    play();
    await connected(session.pc, signal);
    const meter = new RtcMeter(session.pc, 'inbound-rtp');
    while (session.alive) {
      const { video: v, audio, bps, codec, pair } = await meter.read();
      showStats($('stats'), {
        Picture: v?.frameWidth ? `${v.frameWidth} × ${v.frameHeight}` : '–',
        Frames: v?.framesPerSecond ? `${v.framesPerSecond} fps` : '–',
        Rate: rateText(bps),
        Codec: codec,
        Jitter: ms((v ?? audio)?.jitter * 1000),
        Lost: `${(v?.packetsLost ?? 0) + (audio?.packetsLost ?? 0)}`,
        Freezes: `${v?.freezeCount ?? 0}`,
        'Round trip': ms(pair?.currentRoundTripTime * 1000),
      });
      await delay(1000, signal);
    }
    throw new Error('The connection was lost.');
  } finally {
    session.stop();
  }
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

async function playFlv(path, token, signal, onPicture) {
  const mpegts = await loadMpegts();
  if (!mpegts.getFeatureList().mseLivePlayback)
    throw new Refusal(0, 'unsupported', 'This browser cannot play FLV (no Media Source). Use WebRTC.');
  mpegts.LoggingControl.enableAll = false;
  const url = new URL(`/${path}.flv`, location.href);
  if (token) url.searchParams.set('token', token);
  const player = mpegts.createPlayer({ type: 'flv', isLive: true, url: url.href },
    { enableStashBuffer: false, liveBufferLatencyChasing: true, liveBufferLatencyMaxLatency: 1.2, liveBufferLatencyMinRemain: 0.3 });
  let rate = NaN;
  let lost;
  const ended = new Promise((_, reject) => { lost = reject; });
  ended.catch(() => {});
  player.on(mpegts.Events.STATISTICS_INFO, (info) => { rate = info.speed * 8192; });
  player.on(mpegts.Events.LOADING_COMPLETE, () => lost(new Error('The stream has ended.')));
  player.on(mpegts.Events.ERROR, (_, detail, info) => {
    if (detail === 'HttpStatusCodeInvalid' && (info.code === 404 || info.code === 409))
      lost(new Refusal(409, 'not_found', `Nobody publishes ${path}.`, 2));
    else if (detail === 'HttpStatusCodeInvalid')
      lost(new Refusal(info.code, '', `The node answered ${info.code} ${info.msg ?? ''}`.trim() + '.'));
    else
      lost(new Error(info?.msg || 'The stream could not be played.'));
  });
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
      showStats($('stats'), {
        Picture: video.videoWidth ? `${video.videoWidth} × ${video.videoHeight}` : '–',
        Frames: `${Math.max(0, Math.round((quality.totalVideoFrames - last.frames) * 1000 / (at - last.at)))} fps`,
        Rate: rateText(rate),
        Buffer: ms(buffered * 1000),
        Dropped: `${quality.droppedVideoFrames}`,
      });
      last = { frames: quality.totalVideoFrames, at };
    }
  } finally {
    player.destroy();
  }
}

const players = { whep: playWhep, flv: playFlv };

/** One attempt after another until it is stopped, or refused for a reason that will not pass. */
async function run(name, protocol, token, signal) {
  const path = pathOf(name);
  for (let attempt = 0; ; attempt++) {
    veil(attempt ? 'Trying again' : 'Connecting', true);
    try {
      await players[protocol](path, token, signal, (time) => {
        attempt = 0;
        veil('');
        showMessage($('message'), '');
        $('badge').hidden = false;
        showStats($('stats'), { 'First picture': ms(time) });
      });
    } catch (error) {
      $('badge').hidden = true;
      if (signal.aborted) return;
      const passing = !(error instanceof Refusal) || error.status === 409 || error.status === 503 || error.status === 429;
      if (!passing) throw error;
      showMessage($('message'), `${sentenceOf(error)} Trying again.`, 'warn');
      veil('Trying again', true);
      await delay(Math.max(error.retryAfter * 1000 || 0, Math.min(8000, 500 * 2 ** attempt)), signal).catch(() => {});
      if (signal.aborted) return;
    }
  }
}

function stop() {
  running?.abort(new DOMException('stopped', 'AbortError'));
  running = null;
  video.srcObject = null;
  video.removeAttribute('src');
  video.load();
  $('stats').replaceChildren();
  $('badge').hidden = $('sound').hidden = true;
  $('go').textContent = 'Watch';
  $('go').classList.remove('stop');
  showMessage($('message'), '');
  veil('Choose a stream, or type its name.');
  document.dispatchEvent(new CustomEvent('watching', { detail: '' }));
}

export function watch(name) {
  stop();
  $('name').value = name;
  const protocol = $('protocol').value;
  const controller = running = new AbortController();
  $('go').textContent = 'Stop';
  $('go').classList.add('stop');
  $('badge').textContent = protocol === 'flv' ? 'HTTP-FLV' : 'WebRTC';
  document.dispatchEvent(new CustomEvent('watching', { detail: name }));
  history.replaceState(null, '', linkOf(name, protocol));
  run(name, protocol, $('token').value, controller.signal).catch((error) => {
    if (running !== controller) return;
    stop();
    showMessage($('message'), sentenceOf(error), 'bad');
  });
}

function linkOf(name, protocol) {
  const link = new URL('/', location.href);
  link.searchParams.set('play', name);
  if (protocol !== 'whep') link.searchParams.set('protocol', protocol);
  return link.href.replaceAll('%2F', '/');
}

export function initWatch() {
  $('form').addEventListener('submit', (event) => {
    event.preventDefault();
    if (running) stop();
    else watch($('name').value.trim());
  });
  $('protocol').addEventListener('change', () => { if (running) watch($('name').value.trim()); });
  $('sound').addEventListener('click', () => { video.muted = false; $('sound').hidden = true; });
  $('link').addEventListener('click', async () => {
    const link = linkOf($('name').value.trim(), $('protocol').value);
    try {
      await navigator.clipboard.writeText(link);
      $('link').textContent = 'Copied';
      setTimeout(() => { $('link').textContent = 'Copy link'; }, 1500);
    } catch {
      showMessage($('message'), link); // no clipboard without https: show it to be copied by hand
    }
  });
  addEventListener('pagehide', () => running?.abort());
  const asked = new URLSearchParams(location.search);
  if (players[asked.get('protocol')]) $('protocol').value = asked.get('protocol');
  if (asked.get('token')) $('token').value = asked.get('token');
  // a video that waits for its first picture holds the page's load event back: the tab would spin
  if (asked.get('play')) addEventListener('load', () => watch(asked.get('play')), { once: true });
}
