// SPDX-License-Identifier: Apache-2.0
// Chromium publishes by WHIP, a second Chromium page plays by WHEP; and the rows of RFC 9725 and
// draft-ietf-wish-whep about sessions.

import http from 'node:http';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { atLeast, atMost, check, equal, patience, test, until } from './harness.mjs';
import { request } from './http.mjs';
import { offerWhep, openPage, playWhep, publishWhip } from './browser.mjs';
import { moreVideo, probe, publishRtmp, watchFlv } from './media.mjs';
import { freshName, sharedNode, startNode } from './node.mjs';

const publishOffer = readFileSync(new URL('../data/sdp/chrome156-sendonly.sdp', import.meta.url), 'utf8');
const playOffer = readFileSync(new URL('../data/sdp/chrome156-recvonly.sdp', import.meta.url), 'utf8');
const fragmentType = 'application/trickle-ice-sdpfrag';

test('WHIP to WHEP: H.264 is what the node prefers; picture and sound', async (t) => {
  const node = await sharedNode();
  const name = freshName('whip');
  const publisher = await publishWhip(await openPage(t, node), node, name);
  const peer = await playWhep(await openPage(t, node), node, name);
  const now = await peer.moreVideo(30);
  await peer.moreSound();
  equal(now.video.mimeType, 'video/H264', 'video codec');
  equal((await publisher.look()).dtls, 'connected', 'DTLS');
  t.note(`first picture ${Math.round(now.first_ms)} ms`);
  // Chromium makes the picture smaller when the machine is slow; its shape stays
  equal(Math.round(now.width / now.height * 9), 16, 'shape of the picture, ninths');
});

test('WHIP to WHEP: feedback lets Chromium leave its 300 kbit/s', async (t) => {
  const node = await sharedNode();
  const name = freshName('ramp');
  const publisher = await publishWhip(await openPage(t, node), node, name, { width: 1280, height: 720, audio: false });
  const peer = await playWhep(await openPage(t, node), node, name, { audio: false });
  await peer.moreVideo(10);
  const best = await until('a target rate above 1 Mbit/s', async () => {
    const { sentVideo } = await publisher.look();
    return sentVideo?.targetBitrate > 1e6 && sentVideo.targetBitrate;
  }, 40000);
  t.note(`target ${(best / 1e6).toFixed(2)} Mbit/s`);
}, { timeout_ms: 90000 });

test('WHIP to WHEP: VP8 when the codec order says so', async (t) => {
  const node = await startNode(t, { workers: 1, args: ['--webrtc-codec-order', 'VP8,H264'] });
  const name = freshName('vp8');
  await publishWhip(await openPage(t, node), node, name);
  const peer = await playWhep(await openPage(t, node), node, name);
  const now = await peer.moreVideo(30);
  equal(now.video.mimeType, 'video/VP8', 'video codec');
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await until('FLV cannot carry VP8: refused', () => viewer.status >= 400 && viewer.status < 500);
});

test('WHIP to HTTP-FLV: H.264 and AAC', async (t) => {
  const node = await sharedNode();
  const name = freshName('whipflv');
  await publishWhip(await openPage(t, node), node, name);
  const { streams, packets } = await probe(`${node.url}/${name}.flv`, 4);
  const codecs = streams.map((stream) => stream.codec_name).sort();
  equal(codecs, ['aac', 'h264'], 'codecs');
  for (const kind of ['video', 'audio']) {
    const times = packets.filter((packet) => packet.codec_type === kind).map((packet) => Number(packet.dts_time));
    atLeast(times.length, 30, `${kind} packets`);
    check(times.every((time, i) => !i || time >= times[i - 1]), () => `${kind} timestamps: ${times.join(' ')}`);
  }
});

test('WHEP ?wait=1 is held until there is a publisher', async (t) => {
  const node = await sharedNode();
  const name = freshName('wait');
  const waiting = offerWhep(await openPage(t, node), `${node.url}/whep/${name}?wait=1`);
  let answered = false;
  waiting.then(() => { answered = true; }, () => {});
  await publishRtmp(t, node, name);
  const peer = await waiting;
  check(answered, 'answered');
  equal(peer.status, 201, 'status');
  await peer.moreVideo(20);
});

test('WHEP ?wait=1 ends with 409 when nobody comes', async (t) => {
  const node = await startNode(t, { workers: 1, args: ['--webrtc-wait-max-ms', '1s'] });
  const start = performance.now();
  const answer = await node.post('/whep/live/nobody?wait=1', playOffer);
  equal(answer.status, 409, 'status');
  check(/^\d+$/.test(answer.headers['retry-after'] ?? ''), 'Retry-After');
  atLeast(performance.now() - start, 900, 'milliseconds held');
  atMost(performance.now() - start, 4000 * patience(), 'milliseconds held');
});

test('WHEP ?wait=1: a client that leaves gives its place back at once', async (t) => {
  const node = await startNode(t);
  const sessions = async () => (await node.repl('actors')).filter((row) => row.type === 'session').length;
  const clients = Array.from({ length: 8 }, () => {
    const client = http.request(`${node.url}/whep/live/nobody?wait=1`,
      { method: 'POST', headers: { 'Content-Type': 'application/sdp' } });
    client.on('error', () => {});
    client.end(playOffer);
    return client;
  });
  await until('all of them wait', async () => await sessions() === clients.length);
  clients.forEach((client) => client.destroy());
  // nobody would answer them for half a minute
  await until('nobody waits any more', async () => await sessions() === 0, 5000);
});

test('WHIP publisher leaves and returns: viewers stay and go on', async (t) => {
  const node = await sharedNode();
  const name = freshName('whipreturn');
  const page = await openPage(t, node);
  const first = await publishWhip(page, node, name);
  const peer = await playWhep(await openPage(t, node), node, name);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await peer.moreVideo(20);
  await moreVideo(viewer, 10);
  equal(await first.stop(), 200, 'DELETE');
  await publishWhip(page, node, name, { width: 320, height: 240 });
  const now = await until('the picture of the new publisher', async () => {
    const seen = await peer.look();
    return seen.video?.frameWidth === 320 && seen;
  }, 15000);
  equal(now.states, ['connecting', 'connected'], 'states of the connection');
  await peer.moreVideo(30);
  await peer.moreSound();
  await moreVideo(viewer, 20);
  equal(viewer.backwards, 0, 'FLV timestamps going back');
}, { timeout_ms: 60000 });

test('a busy name is 409; a publisher silent for 2 s is replaced', async (t) => {
  const node = await sharedNode();
  const name = freshName('whipbusy');
  const page = await openPage(t, node);
  const first = await publishWhip(page, node, name);
  const peer = await playWhep(await openPage(t, node), node, name);
  await peer.moreVideo(10);
  equal((await node.post(`/whip/${name}`, publishOffer)).status, 409, 'status while it is busy');
  await peer.moreVideo(10);
  await first.stop(true);
  const second = await until('the newcomer is let in', async () => {
    const answer = await node.post(`/whip/${name}`, publishOffer);
    return answer.status === 201 && answer;
  }, 6000);
  await request(new URL(second.headers.location, node.url), { method: 'DELETE' });
});

test('a resume token replaces its own session, and works once', async () => {
  const node = await sharedNode();
  const name = freshName('resume');
  const first = await node.post(`/whip/${name}`, publishOffer);
  equal(first.status, 201, 'status');
  const token = first.headers['millrace-resume'];
  check(token, 'there is a Millrace-Resume header');
  const second = await node.post(`/whip/${name}`, publishOffer, { 'Millrace-Resume': token });
  equal(second.status, 201, 'status with the token');
  check(second.headers['millrace-resume'] && second.headers['millrace-resume'] !== token, 'a new token');
  equal((await node.post(`/whip/${name}`, publishOffer, { 'Millrace-Resume': token })).status, 409, 'status with the used token');
  equal((await request(new URL(second.headers.location, node.url), { method: 'DELETE' })).status, 200, 'DELETE');
});

test('sessions above the limit get 503 and Retry-After', async (t) => {
  const node = await startNode(t, { workers: 1, args: ['--webrtc-sessions-max', '2'] });
  const answers = [];
  for (let i = 0; i < 3; i++) answers.push(await node.post(`/whip/${freshName('full')}`, publishOffer));
  equal(answers.map(({ status }) => status), [201, 201, 503], 'statuses');
  check(/^\d+$/.test(answers[2].headers['retry-after'] ?? ''), 'Retry-After');
  await request(new URL(answers[0].headers.location, node.url), { method: 'DELETE' });
  await until('there is room again', async () => (await node.post(`/whip/${freshName('full')}`, publishOffer)).status === 201);
});

test('201 has SDP, Location, a strong ETag; DELETE is 200, after it the Location is 404', async () => {
  const node = await sharedNode();
  const name = freshName('delete');
  const answer = await node.post(`/whip/${name}`, publishOffer, { Origin: 'http://other.example' });
  equal(answer.status, 201, 'status');
  check(/^v=0\r\n/.test(answer.text), 'SDP');
  check(/^application\/sdp/.test(answer.headers['content-type']), 'Content-Type');
  check(/^"[^"]+"$/.test(answer.headers.etag), () => `ETag: ${answer.headers.etag}`);
  check(/location/i.test(answer.headers['access-control-expose-headers']), 'exposed headers');
  check(/a=ice-lite/.test(answer.text) && /a=candidate/.test(answer.text), 'ICE-lite and candidates');
  const location = new URL(answer.headers.location, node.url);
  equal((await request(location, { method: 'OPTIONS' })).status, 204, 'OPTIONS');
  equal((await request(location, { method: 'GET' })).status, 405, 'GET');
  const wrongSecret = new URL(location);
  wrongSecret.pathname = wrongSecret.pathname.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A'));
  equal((await request(wrongSecret, { method: 'DELETE' })).status, 404, 'DELETE of a guessed Location');
  equal((await request(location, { method: 'DELETE' })).status, 200, 'DELETE');
  equal((await request(location, { method: 'DELETE' })).status, 404, 'DELETE again');
  const patch = { method: 'PATCH', headers: { 'Content-Type': fragmentType, 'If-Match': '*' }, body: 'a=ice-ufrag:abcd\r\n' };
  check([400, 404].includes((await request(location, patch)).status), 'PATCH after DELETE');
});

test('offers that ask for too much or for nothing known: 422 and 4xx', async () => {
  const node = await sharedNode();
  const lines = publishOffer.split(/(?=^m=)/m);
  const video = lines.find((part) => part.startsWith('m=video'));
  const many = publishOffer.replace(/^a=group:BUNDLE.*$/m, 'a=group:BUNDLE 0 1 2 3 4 5')
    + [2, 3, 4, 5].map((mid) => video.replace(/^a=mid:.*$/m, `a=mid:${mid}`)).join('');
  equal((await node.post(`/whip/${freshName('many')}`, many)).status, 422, 'six tracks');
  const exotic = publishOffer.replace(/(VP8|VP9|AV1|H264|H265|opus)\//gi, 'X$1/');
  const answer = await node.post(`/whip/${freshName('exotic')}`, exotic);
  check(answer.status >= 400 && answer.status < 500, () => `${answer.status} ${answer.text}`);
});

test('a viewer that cannot take the codec gets a 4xx that names it', async (t) => {
  const node = await sharedNode();
  const name = freshName('nocodec');
  await publishRtmp(t, node, name, { audio: false });
  const answer = await node.post(`/whep/${name}`, playOffer.replace(/H264\//g, 'XH264/'));
  check(answer.status >= 400 && answer.status < 500 && /H\.?264/i.test(answer.text), () => `${answer.status} ${answer.text}`);
});

test('PATCH: preconditions of trickle and restart', async (t) => {
  const node = await sharedNode();
  const name = freshName('patch');
  await publishWhip(await openPage(t, node), node, name);
  const peer = await playWhep(await openPage(t, node), node, name);
  await peer.moreVideo(10);
  const sdp = await peer.localSdp();
  const [ufrag, pwd] = ['ufrag', 'pwd'].map((what) => sdp.match(new RegExp(`a=ice-${what}:(\\S+)`))[1]);
  const trickle = `a=ice-ufrag:${ufrag}\r\na=ice-pwd:${pwd}\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n`
    + 'a=candidate:1 1 udp 2122260223 127.0.0.1 40000 typ host\r\na=end-of-candidates\r\n';
  const fresh = trickle.replace(ufrag, 'frsh').replace(pwd, 'p'.repeat(24));
  const rows = [
    ['trickle without If-Match', trickle, {}, 428],
    ['trickle with a stale tag', trickle, { 'If-Match': '"stale"' }, 412],
    ['trickle with the tag', trickle, { 'If-Match': peer.etag }, 204],
    ['restart without If-Match', fresh, {}, 428],
    ['restart with a stale tag', fresh, { 'If-Match': '"stale"' }, 412],
    ['no fragment', 'hello', { 'If-Match': peer.etag }, 400],
    ['an empty body', '', { 'If-Match': peer.etag }, 400],
    ['another media type', trickle, { 'If-Match': peer.etag, 'Content-Type': 'application/sdp' }, 415],
    ['too much', trickle + 'a=x\r\n'.repeat(20000), { 'If-Match': peer.etag }, 413],
  ];
  for (const [what, body, headers, status] of rows) {
    const answer = await request(peer.location, { method: 'PATCH', headers: { 'Content-Type': fragmentType, ...headers }, body });
    check(answer.status === status, () => `${what}: expected ${status}, got ${answer.status} ${answer.text}`);
  }
  await peer.moreVideo(10);
});

test('ICE restart in Chromium: 200, a new ETag, media goes on in the same session', async (t) => {
  const node = await sharedNode();
  const name = freshName('restart');
  const publisher = await publishWhip(await openPage(t, node), node, name);
  const peer = await playWhep(await openPage(t, node), node, name);
  await peer.moreVideo(20);
  for (const one of [peer, publisher]) {
    const refused = await one.restart(null);
    equal(refused.status, 428, 'restart without If-Match');
    const answer = await one.restart('*');
    equal(answer.status, 200, 'restart');
    check(/^"[^"]+"$/.test(answer.etag) && answer.etag !== one.etag, () => `ETag ${one.etag} then ${answer.etag}`);
    await peer.moreVideo(40);
    equal((await one.look()).dtls, 'connected', 'DTLS');
  }
}, { timeout_ms: 60000 });

test('ICE over TCP alone, both ways', async (t) => {
  const node = await sharedNode();
  const name = freshName('icetcp');
  const publisher = await publishWhip(await openPage(t, node), node, name, { tcpOnly: true });
  const peer = await playWhep(await openPage(t, node), node, name, { tcpOnly: true });
  await peer.moreVideo(30);
  await peer.moreSound();
  equal((await peer.look()).path.protocol, 'tcp', 'protocol of the viewer');
  equal((await publisher.look()).path.protocol, 'tcp', 'protocol of the publisher');
});

test('connections that only hold places do not keep viewers from ICE over TCP', async (t) => {
  const node = await startNode(t, { workers: 1 });
  const name = freshName('icefull');
  await publishRtmp(t, node, name);
  const colon = node.ready.rtc[0].lastIndexOf(':');
  const idle = Array.from({ length: 600 }, () => {
    const socket = connect(Number(node.ready.rtc[0].slice(colon + 1)), node.ready.rtc[0].slice(0, colon));
    socket.on('error', () => {}).on('close', () => { socket.gone = true; });
    t.defer(() => socket.destroy());
    return socket;
  });
  await until('there is no place for all of them', () => idle.some(({ gone }) => gone));
  const peer = await playWhep(await openPage(t, node), node, name, { tcpOnly: true });
  await peer.moreVideo(20);
  await until('all of them are closed', () => idle.every(({ gone }) => gone), 20000);
  await peer.moreVideo(20);
});

test('IPv6: publish and play over ::1', async (t) => {
  const node = await startNode(t, { workers: 1, bind: '::1' });
  check(node.ready.http.startsWith('[::1]:'), node.ready.http);
  const name = freshName('v6');
  await publishRtmp(t, node, name);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await moreVideo(viewer, 20);
  const page = await openPage(t, node);
  const peer = await playWhep(page, node, name);
  const now = await peer.moreVideo(20);
  equal(now.path.remote.address ?? now.path.remote.ip, '::1', 'address of the node');
  const camera = freshName('v6');
  await publishWhip(page, node, camera);
  await (await playWhep(page, node, camera)).moreVideo(20);
});

test('sessions are listed and ended by the operator', async (t) => {
  const node = await sharedNode();
  const name = freshName('kick');
  await publishRtmp(t, node, name);
  const peer = await playWhep(await openPage(t, node), node, name);
  await peer.moreVideo(5);
  const { sessions } = await node.json('/api/v1/sessions');
  const mine = sessions.filter((session) => session.stream === name && session.type === 'session');
  check(mine.length === 1, () => JSON.stringify(sessions));
  check(!JSON.stringify(sessions).includes(new URL(peer.location).pathname.split('/').pop()), 'no secret in the list');
  equal((await node.get(`/api/v1/sessions/${mine[0].id}`, { method: 'DELETE' })).status, 200, 'DELETE');
  await until('the session is gone', async () => (await request(peer.location, { method: 'DELETE' })).status === 404);
});
