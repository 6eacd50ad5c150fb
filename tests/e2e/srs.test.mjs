// SPDX-License-Identifier: Apache-2.0
// SRS' signalling, in the words of a page that was written for it: Chromium publishes and plays.

import { readFileSync } from 'node:fs';
import { check, equal, share, test, until } from './harness.mjs';
import { offerWhep, offerWhip, openPage } from './browser.mjs';
import { request } from './http.mjs';
import { playRtmp, publishRtmp } from './media.mjs';
import { freshName, Node } from './node.mjs';

const toolNode = share(() => Node.start({ args: ['--api-port', '0'] }), (node) => node.stop());

/* What an SDK for SRS does: an offer in JSON, an answer in JSON. */
const begin = (page, api, streamurl, publishes) => page.evaluate(async ([url, stream, isPublisher]) => {
  const pc = new RTCPeerConnection();
  globalThis.srs = pc;
  if (isPublisher) {
    const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 320, height: 180 } });
    for (const track of media.getTracks()) pc.addTransceiver(track, { direction: 'sendonly' });
  } else {
    for (const kind of ['audio', 'video']) pc.addTransceiver(kind, { direction: 'recvonly' });
  }
  await pc.setLocalDescription(await pc.createOffer());
  const body = { api: url, tid: '1234567', streamurl: stream, clientip: null, sdp: pc.localDescription.sdp };
  const response = await fetch(url, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!answer.code) await pc.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
  return { status: response.status, ...answer };
}, [api, streamurl, publishes]);

const count = (page, type, field) => page.evaluate(async ([kind, name]) => {
  const rows = [...(await globalThis.srs.getStats()).values()];
  return rows.find((row) => row.type === kind && row.kind === 'video')?.[name] ?? 0;
}, [type, field]);

/* The API's port is of another origin than the page. */
for (const port of ['http', 'api']) {
  test(`SRS signalling, ${port} port: Chromium publishes and plays; the session can be deleted as one of WHIP`, async (t) => {
    const node = await toolNode();
    const url = `http://${node.ready[port]}`;
    const name = freshName('srs');
    const publisher = await openPage(t, node);
    const answer = await begin(publisher, `${url}/rtc/v1/publish/`, `webrtc://localhost/${name}`, true);
    equal([answer.status, answer.code], [200, 0], 'status and code');
    check(answer.sdp && answer.server && answer.service && answer.pid && answer.sessionid, () => JSON.stringify(answer));
    const player = await openPage(t, node);
    const played = await begin(player, `${url}/rtc/v1/play/`, `webrtc://localhost/${name}?wait=1`, false);
    equal([played.status, played.code], [200, 0], 'status and code');
    await until('30 pictures', async () => (await count(player, 'inbound-rtp', 'framesDecoded')) >= 30, 15000);
    const rtmp = playRtmp(t, `${node.rtmp}/${name}`);
    await until('pictures by RTMP', () => rtmp.frames > 5, 15000);
    equal((await request(`${url}/whep/${name}/${played.sessionid}`, { method: 'DELETE' })).status, 200, 'DELETE');
  });
}

test('SRS signalling: its WHIP and WHEP addresses carry picture and sound', async (t) => {
  const node = await toolNode();
  const [app, stream] = freshName('srswhip').split('/');
  const url = (kind) => `${node.url}/rtc/v1/${kind}/?app=${app}&stream=${stream}`;
  const publisher = await offerWhip(await openPage(t, node), url('whip'));
  equal(publisher.status, 201, 'status of WHIP');
  for (const kind of ['whep', 'whip-play']) {
    const viewer = await offerWhep(await openPage(t, node), `${url(kind)}&wait=1`);
    equal(viewer.status, 201, `status of ${kind}`);
    await viewer.moreVideo(20);
    await viewer.moreSound();
  }
});

/* A player from npm that speaks it: it makes its address out of a webrtc:// one, query and all. */
const jswebrtc = readFileSync(new URL('node_modules/jswebrtc/dist/jswebrtc.min.js', import.meta.url), 'utf8');
for (const [port, query] of [['api', ''], ['http', '?vhost=here&wait=1']]) {
  test(`SRS signalling, ${port} port: JSWebrtc plays webrtc://…${query}`, async (t) => {
    const node = await toolNode();
    const name = freshName('js');
    await publishRtmp(t, node, name);
    const page = await openPage(t, node);
    await page.evaluate(jswebrtc);
    await page.evaluate((url) => {
      const video = Object.assign(document.createElement('video'), { muted: true });
      document.body.append(video);
      globalThis.player = new JSWebrtc.Player(url, { video, autoplay: true });
    }, `webrtc://${node.ready[port]}/${name}${query}`);
    await until('30 pictures', () => page.evaluate(() => {
      const video = document.querySelector('video');
      return video.videoWidth === 640 && video.getVideoPlaybackQuality().totalVideoFrames >= 30;
    }), 15000);
  });
}

test('SRS signalling: errors are codes', async (t) => {
  const node = await toolNode();
  const page = await openPage(t, node);
  for (const port of ['http', 'api']) {
    const url = `http://${node.ready[port]}/rtc/v1/play/`;
    const absent = await begin(page, url, `webrtc://localhost/${freshName('absent')}`, false);
    equal([absent.status, absent.code], [200, 409], `${port}: nobody publishes`);
    check(absent.error?.message, () => JSON.stringify(absent));
    for (const streamurl of ['webrtc://localhost', 'live/a', 'webrtc://localhost/live/.x', 'webrtc://localhost/a/b/c']) {
      const wrong = await begin(page, url, streamurl, false);
      equal([wrong.status, wrong.code], [200, 400], `${port}: ${streamurl}`);
    }
    for (const kind of ['publish', 'play']) {
      for (const body of ['', '{', '[]', '{}', '{"sdp":"v=0"}', '{"sdp":7,"streamurl":"webrtc://h/live/a"}', '{"sdp":"v=0","streamurl":"webrtc://h/live/a"}',
        '{"sdp":"a","sdp":"b","streamurl":"webrtc://h/live/a"}']) {
        const { status, text } = await request(`http://${node.ready[port]}/rtc/v1/${kind}/`, { method: 'POST', body });
        const { code, error } = JSON.parse(text);
        equal([status, code], [200, 400], `${port}: ${kind} of ${body}`);
        check(error.code && error.message, () => text);
      }
    }
  }
});
