// SPDX-License-Identifier: Apache-2.0
// Runs in the browser, in a page that the node serves: a plain WHIP and WHEP client that shows
// everything a test wants to know. Independent of the console page, which has tests of its own.

globalThis.e2e = (() => {
  const NOISE_PICTURES_PER_S = 15;
  const NOISE_BPS = 2000000; // said, else a browser that has made the picture smaller aims at less for good
  const sessions = [];

  async function post(url, session, headers) {
    const { pc } = session;
    await pc.setLocalDescription(await pc.createOffer());
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/sdp', ...headers },
      body: pc.localDescription.sdp,
    });
    session.status = response.status;
    session.text = await response.text();
    session.etag = response.headers.get('ETag');
    session.resume = response.headers.get('Millrace-Resume');
    session.location = response.headers.get('Location') && new URL(response.headers.get('Location'), url).href;
    return response.status === 201;
  }

  function newSession({ tcpOnly = false }) {
    const session = { id: sessions.length, pc: new RTCPeerConnection({ bundlePolicy: 'max-bundle' }), tcpOnly, states: [] };
    session.pc.addEventListener('connectionstatechange', () => session.states.push(session.pc.connectionState));
    sessions.push(session);
    return session;
  }

  const without = (sdp, transport) => sdp.split('\r\n')
    .filter((line) => !line.startsWith('a=candidate:') || line.split(' ')[2].toLowerCase() !== transport)
    .join('\r\n');

  async function answer(session) {
    const sdp = session.tcpOnly ? without(session.text, 'udp') : session.text;
    await session.pc.setRemoteDescription({ type: 'answer', sdp });
  }

  const outcome = ({ id, status, text, etag, resume, location }) => ({ id, status, text, etag, resume, location });

  function prefer(transceiver, mimeTypes) {
    const { codecs } = RTCRtpSender.getCapabilities('video');
    const chosen = mimeTypes.flatMap((mime) => codecs.filter((codec) => codec.mimeType === mime));
    transceiver.setCodecPreferences([...chosen, ...codecs.filter((codec) => /rtx/.test(codec.mimeType))]);
  }

  /** A picture of which no encoder can make little: pieces of one heap of random bytes. */
  function noise(width, height) {
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const context = canvas.getContext('2d');
    const picture = context.createImageData(width, height);
    const heap = new Uint8ClampedArray(2 * picture.data.length).map(() => 256 * Math.random());
    setInterval(() => {
      const from = 4 * Math.floor(Math.random() * picture.data.length / 4);
      picture.data.set(heap.subarray(from, from + picture.data.length));
      context.putImageData(picture, 0, 0);
    }, 1000 / NOISE_PICTURES_PER_S);
    return canvas.captureStream(NOISE_PICTURES_PER_S).getVideoTracks()[0];
  }

  async function publish(url, { width = 640, height = 360, audio = true, video = true, noisy = false, codecs, headers = {}, ...options } = {}) {
    const session = newSession(options);
    const media = await navigator.mediaDevices.getUserMedia({ audio, video: video && !noisy && { width, height } });
    if (noisy) media.addTrack(noise(width, height));
    session.media = media;
    for (const track of media.getTracks()) {
      const transceiver = session.pc.addTransceiver(track, { direction: 'sendonly', streams: [media], sendEncodings: noisy && track.kind === 'video' ? [{ maxBitrate: NOISE_BPS }] : [] });
      if (track.kind === 'video' && codecs) prefer(transceiver, codecs);
    }
    if (await post(url, session, headers)) await answer(session);
    return outcome(session);
  }

  async function play(url, { audio = true, video = true, headers = {}, ...options } = {}) {
    const session = newSession(options);
    const start = performance.now();
    if (video) session.pc.addTransceiver('video', { direction: 'recvonly' });
    if (audio) session.pc.addTransceiver('audio', { direction: 'recvonly' });
    session.media = new MediaStream();
    session.pc.addEventListener('track', ({ track }) => session.media.addTrack(track));
    session.video = document.createElement('video');
    Object.assign(session.video, { autoplay: true, playsInline: true, srcObject: session.media });
    session.video.requestVideoFrameCallback(() => { session.first_ms = performance.now() - start; });
    document.body.append(session.video);
    if (await post(url, session, headers)) {
      await answer(session);
      session.video.play().catch(() => {});
    }
    return outcome(session);
  }

  async function look(id) {
    const session = sessions[id];
    const report = await session.pc.getStats();
    const rows = [...report.values()];
    const pair = rows.find((row) => row.type === 'candidate-pair' && row.nominated && row.state === 'succeeded');
    const of = (type, kind) => {
      const row = rows.find((candidate) => candidate.type === type && candidate.kind === kind);
      return row && { ...row, mimeType: report.get(row.codecId)?.mimeType };
    };
    return {
      state: session.pc.connectionState,
      states: session.states,
      first_ms: session.first_ms,
      at: performance.now(),
      video: of('inbound-rtp', 'video'),
      audio: of('inbound-rtp', 'audio'),
      sentVideo: of('outbound-rtp', 'video'),
      sentAudio: of('outbound-rtp', 'audio'),
      rtt_s: pair?.currentRoundTripTime,
      path: pair && { ...report.get(pair.localCandidateId), remote: report.get(pair.remoteCandidateId) },
      width: session.video?.videoWidth,
      height: session.video?.videoHeight,
      dtls: rows.find((row) => row.type === 'transport')?.dtlsState,
    };
  }

  const line = (sdp, name) => sdp.match(new RegExp(`^a=${name}:.*$`, 'm'))?.[0].trim();

  /** An ICE restart as RFC 9725 4.3.2 has it; `ifMatch` null leaves the header out. */
  async function restart(id, ifMatch = '*') {
    const session = sessions[id];
    const { pc } = session;
    await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }));
    const mine = pc.localDescription.sdp;
    const fragment = [line(mine, 'group'), mine.match(/^m=.*$/m)[0].trim(), line(mine, 'mid'),
      line(mine, 'ice-ufrag'), line(mine, 'ice-pwd')].filter(Boolean).join('\r\n') + '\r\n';
    const headers = { 'Content-Type': 'application/trickle-ice-sdpfrag', ...(ifMatch && { 'If-Match': ifMatch }) };
    const response = await fetch(session.location, { method: 'PATCH', headers, body: fragment });
    const theirs = await response.text();
    const result = { status: response.status, etag: response.headers.get('ETag'), text: theirs };
    if (response.status !== 200) {
      await pc.setLocalDescription({ type: 'rollback' });
      return result;
    }
    const sdp = pc.currentRemoteDescription.sdp.replace(/^a=ice-ufrag:.*$/gm, line(theirs, 'ice-ufrag'))
      .replace(/^a=ice-pwd:.*$/gm, line(theirs, 'ice-pwd'));
    await pc.setRemoteDescription({ type: 'answer', sdp });
    for (const candidate of theirs.match(/^a=candidate:.*$/gm) ?? [])
      await pc.addIceCandidate({ candidate: candidate.slice(2).trim(), sdpMLineIndex: 0 });
    return result;
  }

  /** Ends a session; `silently` without telling the node. */
  async function stop(id, silently = false) {
    const session = sessions[id];
    session.media?.getTracks().forEach((track) => track.stop());
    session.pc.close();
    session.video?.remove();
    if (silently || !session.location) return 0;
    return (await fetch(session.location, { method: 'DELETE' })).status;
  }

  /** Watches and listens for flashes and beeps: times on one clock, in ms. */
  function observe(id) {
    const session = sessions[id];
    const seen = { flashes: [], beeps: [] };
    session.seen = seen;
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = 4;
    const context = canvas.getContext('2d', { willReadFrequently: true });
    let bright = false;
    const onFrame = (_, { expectedDisplayTime }) => {
      context.drawImage(session.video, 0, 0, 4, 4);
      const now = context.getImageData(1, 1, 1, 1).data[1] > 128;
      if (now && !bright) seen.flashes.push(expectedDisplayTime);
      bright = now;
      session.video.requestVideoFrameCallback(onFrame);
    };
    session.video.requestVideoFrameCallback(onFrame);
    const audio = new AudioContext({ latencyHint: 'interactive' });
    const listener = audio.createScriptProcessor(256, 1, 1);
    let quietSince = 0;
    listener.onaudioprocess = ({ inputBuffer }) => {
      const now = performance.now();
      const loud = inputBuffer.getChannelData(0).some((sample) => Math.abs(sample) > 0.2);
      if (loud && now - quietSince > 300) seen.beeps.push(now);
      if (loud) quietSince = now;
    };
    audio.createMediaStreamSource(session.media).connect(listener).connect(audio.destination);
  }

  const observed = (id) => sessions[id].seen;
  const local = (id) => sessions[id].pc.localDescription.sdp;

  return { publish, play, look, restart, stop, observe, observed, local };
})();
