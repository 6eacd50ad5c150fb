// SPDX-License-Identifier: Apache-2.0
// The publish panel: camera and microphone by WHIP.

import { delay, pathOf, rateText, sentenceOf, showMessage, showStats } from './api.js';
import { RtcMeter, RtcSession, connected } from './rtc.js';

const $ = (id) => document.getElementById(`publish-${id}`);
let running = null;

const cameraSentences = {
  NotAllowedError: 'The browser may not use the camera. Allow it in the address bar and try again.',
  NotFoundError: 'There is no camera or microphone on this device.',
  NotReadableError: 'Another program holds the camera.',
  OverconstrainedError: 'The camera cannot do this picture size.',
};

async function openCamera() {
  if (!navigator.mediaDevices)
    throw new Error('Browsers give a camera only to https pages and to localhost. Open this page by one of those.');
  const [width, height] = $('size').value.split('x').map(Number);
  const device = (id) => ($(id).value ? { deviceId: { exact: $(id).value } } : {});
  try {
    return await navigator.mediaDevices.getUserMedia({
      video: { ...device('camera'), width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30 } },
      audio: { ...device('microphone'), echoCancellation: true },
    });
  } catch (error) {
    throw new Error(cameraSentences[error.name] ?? error.message);
  }
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
  showMessage($('message'), 'Opening the camera.');
  const media = await openCamera();
  const session = new RtcSession(`/whip/${path}`, token);
  try {
    if (signal.aborted) return;
    $('video').srcObject = media;
    $('video').play().catch(() => {});
    $('veil').hidden = true;
    await listDevices();
    for (const track of media.getTracks())
      session.pc.addTransceiver(track, { direction: 'sendonly', streams: [media] });
    showMessage($('message'), 'Connecting.');
    await session.start(signal);
    await connected(session.pc, signal);
    $('badge').hidden = false;
    showMessage($('message'), `You are live as ${path}.`);
    const meter = new RtcMeter(session.pc, 'outbound-rtp');
    const start = performance.now();
    while (session.alive) {
      const { video, bps, codec, pair } = await meter.read();
      showStats($('stats'), {
        Picture: video?.frameWidth ? `${video.frameWidth} × ${video.frameHeight}` : '–',
        Frames: video?.framesPerSecond ? `${video.framesPerSecond} fps` : '–',
        Rate: rateText(bps),
        Codec: codec,
        'Round trip': pair?.currentRoundTripTime >= 0 ? `${Math.round(pair.currentRoundTripTime * 1000)} ms` : '–',
        'Limited by': video?.qualityLimitationReason ?? '–',
        'On air': `${Math.round((performance.now() - start) / 1000)} s`,
      });
      await delay(1000, signal);
    }
    throw new Error('The connection to the node was lost.');
  } finally {
    session.stop();
    media.getTracks().forEach((track) => track.stop());
  }
}

function stop() {
  running?.abort(new DOMException('stopped', 'AbortError'));
  running = null;
  $('video').srcObject = null;
  $('veil').hidden = false;
  $('badge').hidden = true;
  $('stats').replaceChildren();
  $('go').textContent = 'Go live';
  $('go').classList.remove('stop');
  showMessage($('message'), '');
}

export function initPublish() {
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
