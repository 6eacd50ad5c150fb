// SPDX-License-Identifier: Apache-2.0
// The publish view: camera, screen or a file by WHIP.

import { msText, pathOf, rateText, sentenceOf } from './api.js';
import { showFigures, showMessage } from './dom.js';
import { publish } from './millrace.js';

const $ = (id) => document.getElementById(`publish-${id}`);
let running = null;

const cameraSentences = {
  NotAllowedError: 'The browser may not use the camera. Allow it in the address bar and try again.',
  NotFoundError: 'There is no camera or microphone on this device.',
  NotReadableError: 'Another program holds the camera.',
  OverconstrainedError: 'The camera cannot do this picture size.',
};

const pictureSize = () => {
  const [width, height] = $('size').value.split('x').map(Number);
  return { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30 } };
};

async function openCamera() {
  const device = (id) => ($(id).value ? { deviceId: { exact: $(id).value } } : {});
  try {
    return await navigator.mediaDevices.getUserMedia({
      video: { ...device('camera'), ...pictureSize() },
      audio: { ...device('microphone'), echoCancellation: true },
    });
  } catch (error) {
    throw new Error(cameraSentences[error.name] ?? error.message);
  }
}

async function openScreen() {
  try {
    return await navigator.mediaDevices.getDisplayMedia({ video: pictureSize(), audio: true });
  } catch (error) {
    throw new Error(error.name === 'NotAllowedError' ? 'No screen was chosen.' : error.message);
  }
}

/** Plays the file here, and sends what is played; from the start again when it has ended. */
async function openFile() {
  const [file] = $('file').files;
  const video = $('video');
  if (!file) throw new Error('Choose a file first.');
  if (!video.captureStream && !video.mozCaptureStream) throw new Error('This browser cannot publish a file.');
  video.srcObject = null;
  video.src = URL.createObjectURL(file);
  video.loop = true;
  video.muted = true;
  try {
    await video.play();
  } catch {
    throw new Error('This browser cannot play that file.');
  }
  return (video.captureStream ?? video.mozCaptureStream).call(video);
}

const sources = { camera: openCamera, screen: openScreen, file: openFile };
const source = () => document.querySelector('input[name=source]:checked').value;

function openSource(kind) {
  if (kind !== 'file' && !navigator.mediaDevices)
    throw new Error('Browsers give camera and screen only to https pages and to localhost. Open this page by one of those.');
  return sources[kind]();
}

/** Device names are known only after permission: fill the lists once the camera is open. */
async function listDevices() {
  for (const device of await navigator.mediaDevices.enumerateDevices()) {
    const select = { videoinput: $('camera'), audioinput: $('microphone') }[device.kind];
    if (!select || !device.deviceId || [...select.options].some((option) => option.value === device.deviceId)) continue;
    select.add(new Option(device.label || 'Unnamed', device.deviceId));
  }
}

async function run(name, token, signal) {
  const path = pathOf(name);
  const kind = source();
  showMessage($('message'), `Opening the ${kind}.`);
  const media = await openSource(kind);
  let session = null;
  try {
    if (signal.aborted) return;
    if (kind !== 'file') {
      $('video').srcObject = media;
      $('video').play().catch(() => {});
    }
    $('veil').hidden = true;
    if (kind === 'camera') await listDevices();
    if (!media.getTracks().length) throw new Error('There is neither picture nor sound in it.');
    // the browser's own "stop sharing"
    media.getVideoTracks()[0]?.addEventListener('ended', () => { if (!signal.aborted) stop(); });
    showMessage($('message'), 'Connecting.');
    session = publish(media, path, { token });
    signal.addEventListener('abort', () => session.stop(), { once: true });
    const lost = new Promise((_, reject) => session.addEventListener('error', ({ detail }) => reject(detail.error)));
    lost.catch(() => {});
    await session.ready;
    showLive(path);
    session.addEventListener('state', ({ detail: { state } }) => {
      if (state === 'live') showLive(path);
      else if (state === 'recovering') showMessage($('message'), 'The path to the node is lost. Finding another.', 'warn');
    });
    const start = performance.now();
    session.addEventListener('stats', () => showStats(session.stats, performance.now() - start));
    await Promise.race([lost, new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))]);
  } finally {
    session?.stop();
    media.getTracks().forEach((track) => track.stop());
  }
}

function showLive(path) {
  $('badge').hidden = false;
  showMessage($('message'), `You are live as ${path}.`);
}

function showStats(stats, ms) {
  showFigures($('stats'), {
    Picture: stats.width ? `${stats.width} × ${stats.height}` : '–',
    Frames: stats.fps ? `${stats.fps} fps` : '–',
    Rate: rateText(stats.bitrate),
    Codec: stats.codec ?? '–',
    'Round trip': msText(stats.rtt),
    'Limited by': stats.limitedBy ?? '–',
    'On air': `${Math.round(ms / 1000)} s`,
  });
}

function stop() {
  running?.abort(new DOMException('stopped', 'AbortError'));
  running = null;
  $('video').srcObject = null;
  $('video').removeAttribute('src');
  $('video').load();
  $('veil').hidden = false;
  $('badge').hidden = true;
  $('stats').replaceChildren();
  $('go').textContent = 'Go live';
  $('go').classList.remove('stop');
  showMessage($('message'), '');
}

function showSource() {
  for (const label of document.querySelectorAll('[data-source]'))
    label.hidden = !label.dataset.source.split(' ').includes(source());
}

export function init() {
  for (const radio of document.querySelectorAll('input[name=source]')) radio.addEventListener('change', showSource);
  $('form').addEventListener('submit', (event) => {
    event.preventDefault();
    if (running) return stop();
    const controller = running = new AbortController();
    $('go').textContent = 'Stop';
    $('go').classList.add('stop');
    run($('name').value, $('token').value, controller.signal).catch((error) => {
      if (running !== controller) return;
      stop();
      showMessage($('message'), sentenceOf(error), 'bad');
    });
  });
  addEventListener('pagehide', () => running?.abort());
}
