// SPDX-License-Identifier: Apache-2.0
// Media tokens (JWT) for every protocol, and the operators' token.

import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { check, equal, share, test, until } from './harness.mjs';
import { request } from './http.mjs';
import { openPage, playWhep, publishWhip } from './browser.mjs';
import { moreVideo, pushRtmp, watchFlv } from './media.mjs';
import { freshName, Node } from './node.mjs';

const key = randomBytes(32).toString('hex');
const admin = randomBytes(16).toString('hex');
const publishOffer = readFileSync(new URL('../data/sdp/chrome156-sendonly.sdp', import.meta.url), 'utf8');
const playOffer = readFileSync(new URL('../data/sdp/chrome156-recvonly.sdp', import.meta.url), 'utf8');

const lockedNode = share(
  () => Node.start({ workers: 2, env: { MILLRACE_TOKEN_KEY: key, MILLRACE_ADMIN_TOKEN: admin } }),
  (node) => node.stop(),
);

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const now_s = () => Math.floor(Date.now() / 1000);

function token(claims, { secret = key, alg = 'HS256' } = {}) {
  const body = `${encode({ alg, typ: 'JWT' })}.${encode({ app: 'live', stream: '*', exp: now_s() + 600, ...claims })}`;
  return `${body}.${alg === 'none' ? '' : createHmac('sha256', secret).update(body).digest('base64url')}`;
}

const publish = () => token({ act: ['publish'] });
const play = () => token({ act: ['play'] });

/* what, token, status of a WHIP POST */
const rows = [
  ['none', () => '', 401],
  ['nonsense', () => 'nonsense', 401],
  ['signed with another key', () => token({ act: ['publish'] }, { secret: 'other' }), 401],
  ['unsigned (alg none)', () => token({ act: ['publish'] }, { alg: 'none' }), 401],
  ['expired', () => token({ act: ['publish'], exp: now_s() - 10 }), 401],
  ['without exp', () => token({ act: ['publish'], exp: undefined }), 401],
  ['not valid yet', () => token({ act: ['publish'], nbf: now_s() + 300 }), 401],
  ['for playing', play, 403],
  ['for another app', () => token({ app: 'other', act: ['publish'] }), 403],
  ['for another stream', () => token({ stream: 'other', act: ['publish'] }), 403],
  ['right', publish, 201],
  ['right for both', () => token({ act: ['play', 'publish'] }), 201],
];

for (const [what, make, status] of rows) {
  test(`WHIP, token ${what}: ${status}`, async () => {
    const node = await lockedNode();
    const text = make();
    const answer = await node.post(`/whip/${freshName('token')}`, publishOffer, text ? { Authorization: `Bearer ${text}` } : {});
    equal(answer.status, status, 'status');
    if (status === 401) check(/bearer/i.test(answer.headers['www-authenticate'] ?? ''), 'WWW-Authenticate');
    if (status === 201) await request(new URL(answer.headers.location, node.url), { method: 'DELETE' });
  });
}

test('WHEP, FLV: 401 without, 403 with a wrong one, right by header and by ?token=', async (t) => {
  const node = await lockedNode();
  const name = freshName('locked');
  const without = pushRtmp(t, node.rtmp, name);
  await until('RTMP without a token is refused', () => without.status !== null);
  check(without.status !== 0, 'exit status of ffmpeg');
  const wrong = pushRtmp(t, node.rtmp, `${name}?token=${play()}`);
  await until('RTMP with a wrong token is refused', () => wrong.status !== null);
  pushRtmp(t, node.rtmp, `${name}?token=${publish()}`);
  const bearer = (text) => ({ Authorization: `Bearer ${text}` });
  await until('live', async () => {
    const { text } = await node.get('/api/v1/streams', { headers: bearer(admin) });
    return text.includes(name);
  });
  equal((await node.post(`/whep/${name}`, playOffer)).status, 401, 'WHEP without');
  equal((await node.post(`/whep/${name}`, playOffer, bearer(publish()))).status, 403, 'WHEP with a wrong one');
  equal((await node.get(`/${name}.flv`)).status, 401, 'FLV without');
  equal((await node.get(`/${name}.flv?token=${publish()}`)).status, 403, 'FLV with a wrong one');
  equal((await node.get(`/${name}.flv?token=${play()}&token=${play()}`)).status >= 400, true, 'two tokens');
  await moreVideo(watchFlv(t, `${node.url}/${name}.flv`, bearer(play())), 10);
  await moreVideo(watchFlv(t, `${node.url}/${name}.flv?token=${play()}`), 10);
  const peer = await playWhep(await openPage(t, node), node, name, { headers: bearer(play()) });
  await peer.moreVideo(10);
  check(!node.log.includes(play().slice(0, 40)), 'no token in the log');
});

test('a newcomer with the same subject replaces the publisher', async (t) => {
  const node = await lockedNode();
  const name = freshName('subject');
  const bearer = (sub) => ({ headers: { Authorization: `Bearer ${token({ act: ['publish'], sub })}` } });
  const page = await openPage(t, node);
  await publishWhip(page, node, name, bearer('ann'));
  const other = await node.post(`/whip/${name}`, publishOffer, bearer('bob').headers);
  equal(other.status, 409, 'another subject');
  await publishWhip(page, node, name, bearer('ann'));
});

test('RTMP: an encoder whose token names the same subject comes back, its viewers stay', async (t) => {
  const node = await lockedNode();
  const name = freshName('rtmp-subject');
  const key = (sub) => `${name}?token=${token({ act: ['publish'], sub })}`;
  const first = pushRtmp(t, node.rtmp, key('ann'));
  const viewer = watchFlv(t, `${node.url}/${name}.flv?token=${play()}&wait=1`);
  await moreVideo(viewer, 30);
  const other = pushRtmp(t, node.rtmp, key('bob'));
  check(await other.end !== 0, 'another subject was let in');
  equal(first.status, null, 'the first, after another');
  const second = pushRtmp(t, node.rtmp, key('ann'), { size: '320x180' });
  await until('the first was sent away', () => first.status !== null);
  await moreVideo(viewer, 60);
  equal([viewer.backwards, second.status], [0, null], 'times that ran backwards; the second');
});

test('operators: 401 without the token even from loopback, 200 with it', async () => {
  const node = await lockedNode();
  for (const path of ['/api/v1/streams', '/api/v1/workers', '/metrics']) {
    equal((await node.get(path)).status, 401, path);
    equal((await node.get(path, { headers: { Authorization: 'Bearer wrong' } })).status, 401, path);
    const headers = { Authorization: `Bearer ${admin}`, 'X-Forwarded-For': '203.0.113.7' };
    equal((await node.get(path, { headers })).status, 200, path);
  }
  equal((await node.get('/healthz')).status, 200, '/healthz');
});
