// SPDX-License-Identifier: Apache-2.0
// millrace.js, the browser client: publishing, playing, and what it does when the way or the node is lost.

import { createHmac, randomBytes } from 'node:crypto';
import { atLeast, atMost, check, equal, patience, share, test, timeUntil, until } from './harness.mjs';
import { checkUntouched, clientPlay, clientPublish, openClient } from './client.mjs';
import { TcpRelay, UdpRelay } from './relay.mjs';
import { killWorker, PATIENT } from './takeover.mjs';
import { publishRtmp } from './media.mjs';
import { freshName, Node, sharedNode, startNode } from './node.mjs';

const rtcSessions = async (node, name) =>
  (await node.repl('actors')).filter((row) => row.type === 'session' && row.name.endsWith(name));

for (const signalling of ['http', 'ws']) {
  test(`millrace.js publishes and plays, signalling by ${signalling}`, async (t) => {
    const node = await sharedNode();
    const name = freshName('client');
    const publisher = await clientPublish(await openClient(t, node), name, { signalling });
    await publisher.becomes('live');
    const page = await openClient(t, node);
    const viewer = await clientPlay(page, name, { signalling });
    const { stats, width } = await viewer.more(30);
    atLeast(width, 160, 'width of the picture');
    await until('statistics of both', async () => {
      const [sent, seen] = [(await publisher.look()).stats, (await viewer.look()).stats];
      return sent.bitrate > 10000 && sent.frames > 30 && sent.rtt >= 0 && seen.bitrate > 10000 && seen.codec && seen.jitter >= 0;
    });
    equal(stats.sessions, 1, 'sessions');
    checkUntouched(await viewer.look());
    await viewer.stop();
    equal((await viewer.look()).state, 'ended', 'state');
    await publisher.stop();
    check((await publisher.look()).live.every((state) => state === 'live'), 'capture tracks are still the page’s');
    await until('the node has let both go', async () => !(await rtcSessions(node, name)).length, 3000);
    equal(page.problems.filter((text) => !text.startsWith('Failed to load')), [], 'errors in the page');
  });

  test(`a page that goes away ends its session, signalling by ${signalling}`, async (t) => {
    const node = await sharedNode();
    const name = freshName('clientaway');
    await publishRtmp(t, node, name);
    const page = await openClient(t, node);
    const viewer = await clientPlay(page, name, { signalling });
    await viewer.more(5);
    await page.goto('about:blank');
    await until('the session has ended', async () => !(await rtcSessions(node, name)).length, 3000);
  });

  test(`the way is lost: an ICE restart, the same session, signalling by ${signalling}`, async (t) => {
    const node = await startNode(t, { workers: 1, args: ['--advertise', '127.0.0.2'] });
    const [, port] = node.ready.rtc[0].split(':').map(Number);
    const relay = await UdpRelay.start(t, { address: '127.0.0.2', port }, { address: '127.0.0.1', port });
    const name = freshName('clientcut');
    const publisher = await clientPublish(await openClient(t, node), name, { signalling });
    await publisher.becomes('live');
    const viewer = await clientPlay(await openClient(t, node), name, { signalling });
    await viewer.more(20);
    const sessions = (await rtcSessions(node, name)).map((row) => row.addr).sort();
    relay.cut = true;
    await until('both have begun a restart', async () => {
      const states = await Promise.all(sessions.map((addr) => node.repl(`inspect ${addr}`)));
      return states.every(({ state }) => state.generation > 0);
    }, 20000);
    relay.cut = false;
    for (const [what, session] of [['viewer', viewer], ['publisher', publisher]]) {
      await until(`the ${what} has its path back`, async () => (await session.look()).state === 'live', 30000);
      const { stats, events } = await session.look();
      equal(stats.sessions, 1, `sessions of the ${what}`);
      const [{ by, ms }, ...more] = events.filter((event) => event.name === 'recovered');
      equal([by, more], ['restart', []], `how the ${what} recovered`);
      t.note(`${what} ${ms} ms`);
    }
    await viewer.more(30);
    checkUntouched(await viewer.look());
    equal((await rtcSessions(node, name)).map((row) => row.addr).sort(), sessions, 'sessions of the node');
  }, { timeout_ms: 90000 });

  test(`an ended session is followed by another, signalling by ${signalling}`, async (t) => {
    const node = await sharedNode();
    const name = freshName('clientgone');
    const publisher = await clientPublish(await openClient(t, node), name, { signalling });
    await publisher.becomes('live');
    const viewer = await clientPlay(await openClient(t, node), name, { signalling });
    await viewer.more(10);
    for (const row of await rtcSessions(node, name)) await node.repl(`stop ${row.addr}`);
    for (const session of [viewer, publisher]) {
      const { by, ms } = await session.recovers();
      equal(by, 'session', 'recovered by');
      t.note(`${ms} ms`);
    }
    await viewer.more(30);
    for (const session of [viewer, publisher]) checkUntouched(await session.look());
    equal((await viewer.look()).stats.sessions, 2, 'sessions');
    equal((await rtcSessions(node, name)).length, 2, 'sessions of the node');
  }, { timeout_ms: 60000 });

  test(`the node dies and comes back: so do publisher and viewer, signalling by ${signalling}`, async (t) => {
    const home = await sharedNode();
    const first = await startNode(t, { workers: 1 });
    const again = ['--http-port', first.ready.http.split(':')[1]];
    const name = freshName('clientdeath');
    const urls = [first.url];
    const publisher = await clientPublish(await openClient(t, home), name, { signalling, urls });
    await publisher.becomes('live');
    const viewer = await clientPlay(await openClient(t, home), name, { signalling, urls });
    await viewer.more(10);
    process.kill(first.pid, 'SIGKILL');
    await first.end;
    await viewer.becomes('recovering', 15000);
    const second = await Node.start({ workers: 1, args: again });
    t.defer(() => second.stop());
    for (const session of [publisher, viewer]) {
      const { by, ms } = await session.recovers();
      equal(by, 'session', 'recovered by');
      t.note(`${ms} ms`);
    }
    await viewer.more(30, 30000);
    for (const session of [viewer, publisher]) checkUntouched(await session.look());
  }, { timeout_ms: 90000 });

  test(`the node dies: the next address of the list, signalling by ${signalling}`, async (t) => {
    const home = await sharedNode();
    const first = await startNode(t, { workers: 1 });
    const second = await startNode(t, { workers: 1 });
    const name = freshName('clientnext');
    await publishRtmp(t, first, name);
    await publishRtmp(t, second, name);
    const urls = [first.url, second.url];
    const viewer = await clientPlay(await openClient(t, home), name, { signalling, urls });
    await viewer.more(20);
    equal((await viewer.look()).address, `${first.url}/`, 'address');
    process.kill(first.pid, 'SIGKILL');
    const took_ms = await timeUntil('pictures of the second node', async () =>
      (await viewer.look()).events.some((event) => event.name === 'recovered'), 20000);
    const now = await viewer.more(30);
    equal(now.address, `${second.url}/`, 'address');
    equal(now.stats.sessions, 2, 'sessions');
    checkUntouched(now);
    t.note(`noticed and back in ${took_ms} ms`);
    atMost(took_ms, 8000 * patience(), 'milliseconds');
  }, { timeout_ms: 60000 });
}

test('/ws is cut while an answer is under way: it comes by the next connection, once', async (t) => {
  const node = await sharedNode();
  const relay = await TcpRelay.start(t, node.ready.http);
  const name = freshName('clientws');
  const viewer = await clientPlay(await openClient(t, node), name, { signalling: 'ws', urls: [relay.url], wait: true });
  await viewer.becomes('waiting');
  await until('the request is held', async () => (await rtcSessions(node, name)).length === 1);
  for (let cuts = 1; cuts <= 3; cuts++) {
    relay.break();
    await until('another connection', () => relay.accepted > cuts);
  }
  await publishRtmp(t, node, name);
  const { stats } = await viewer.more(20);
  equal(stats.sessions, 1, 'sessions');
  equal((await rtcSessions(node, name)).length, 1, 'sessions of the node');
  t.note(`${relay.accepted} connections`);
});

test('/ws is cut under a session: media does not notice, events still come', async (t) => {
  const node = await sharedNode();
  const relay = await TcpRelay.start(t, node.ready.http);
  const name = freshName('clientwscut');
  const home = await openClient(t, node);
  const publisher = await clientPublish(home, name, { signalling: 'ws' });
  await publisher.becomes('live');
  const viewer = await clientPlay(await openClient(t, node), name, { signalling: 'ws', urls: [relay.url] });
  await viewer.more(20);
  relay.refuse = true;
  relay.break();
  // said while nobody carries it
  await publisher.stop();
  const second = await clientPublish(home, name, { signalling: 'ws', width: 320, height: 240 });
  await second.becomes('live');
  relay.refuse = false;
  const now = await until('the viewer has heard of it', async () => {
    const seen = await viewer.look();
    return seen.events.some((event) => event.name === 'switched') && seen;
  }, 20000);
  equal(now.events.filter((event) => event.name === 'switched').length, 1, 'times told');
  await until('the other picture', async () => (await viewer.look()).width === 320, 15000);
  await viewer.more(20);
  equal((await viewer.look()).stats.sessions, 1, 'sessions');
  equal((await viewer.look()).events.filter((event) => event.state === 'recovering'), [], 'recoveries');
  checkUntouched(await viewer.look());
}, { timeout_ms: 60000 });

test('a viewer over ICE-TCP loses its connection with the worker, and the session goes on over another one', async (t) => {
  const node = await startNode(t, { args: PATIENT });
  const name = freshName('clienttcp');
  await publishRtmp(t, node, name);
  const page = await openClient(t, node);
  await page.evaluate(() => {
    const whole = RTCPeerConnection.prototype.setRemoteDescription;
    RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
      return whole.call(this, { type, sdp: sdp.split('\r\n').filter((line) => !/^a=candidate:.* udp /i.test(line)).join('\r\n') });
    };
  });
  const viewer = await clientPlay(page, name);
  await viewer.more(20);
  const [{ worker, addr }] = await node.repl('actors session where remote_tcp = true');
  await killWorker(node, worker);
  const { stats, state } = await viewer.more(20, 60000);
  equal([state, stats.sessions], ['live', 1], 'state, sessions');
  equal((await node.repl('actors session where remote_tcp = true')).map((row) => row.addr), [addr], 'the session, over another connection');
  check(node.log.includes('ice_tcp_connection_lost'), 'the log names it');
  t.note(`frozen for ${Math.round(stats.freezeMs)} ms`);
}, { timeout_ms: 90000 });

for (const signalling of ['http', 'ws'])
  test(`a node that drains sends its clients elsewhere, signalling by ${signalling}`, async (t) => {
    const second = await startNode(t, { workers: 1 });
    const first = await startNode(t, { workers: 1, args: ['--set', `http.alternatives=${second.url}`] });
    const name = freshName('clientdrain');
    await publishRtmp(t, first, name);
    await publishRtmp(t, second, name);
    const viewer = await clientPlay(await openClient(t, await sharedNode()), name, { signalling, urls: first.url });
    await viewer.more(20);
    await first.repl('drain');
    const { reason, ms } = await viewer.recovers();
    const now = await viewer.more(20);
    equal(now.address, `${second.url}/`, 'address');
    checkUntouched(now);
    await until('its old session has ended', async () => !(await rtcSessions(first, name)).length, 3000);
    t.note(`${reason}: ${ms} ms, gap ${Math.round(now.gap)} ms`);
  }, { timeout_ms: 120000 });

const NOBODY = (port) => `http://127.0.0.1:${port}`; // ports below 10 that nobody listens at

/** The page's WHEP answers name these nodes from now on. */
const nameOthers = (page, lists) => page.route('**/whep/**', async (route) => {
  const response = await route.fetch().catch(() => null);
  if (!response) return route.abort('connectionrefused');
  const [, path] = /(\/whep\/[^/]+\/[^/?]+)/.exec(route.request().url());
  const link = lists.now.map((url) => `<${url}${path}>; rel="alternate"`).join(', ');
  await route.fulfill({ response, headers: { ...response.headers(), ...(link && { link }) } });
});

test('addresses that nodes told of: a list of others takes the place of those that are told of no more', async (t) => {
  const node = await startNode(t, { workers: 1 });
  const name = freshName('told');
  await publishRtmp(t, node, name);
  const page = await openClient(t, node);
  const many = [1, 2, 3, 4, 5, 6, 7, 8].map(NOBODY);
  const lists = { now: many };
  await nameOthers(page, lists);
  const viewer = await clientPlay(page, name, { urls: node.url });
  await viewer.more(10);
  const hrefs = (urls) => [node.url, ...urls].map((url) => `${url}/`);
  equal((await viewer.look()).addresses, hrefs(many), 'as many as there is room for');
  lists.now = [NOBODY(1), NOBODY(9)];
  const now = await until('the others are forgotten', async () => {
    const seen = await viewer.look();
    return seen.addresses.length === 3 && seen;
  }, 60000);
  equal(now.addresses, hrefs(lists.now), 'addresses');
  equal(now.state, 'live', 'state');
  checkUntouched(now);
}, { timeout_ms: 90000 });

test('addresses that nodes told of: one that does not answer again and again is forgotten', async (t) => {
  const node = await startNode(t, { workers: 1 });
  const name = freshName('mute');
  await publishRtmp(t, node, name);
  const page = await openClient(t, await sharedNode());
  await nameOthers(page, { now: [NOBODY(1)] });
  const viewer = await clientPlay(page, name, { urls: node.url });
  await viewer.more(10);
  equal((await viewer.look()).addresses.length, 2, 'addresses');
  await node.stop();
  await viewer.becomes('recovering', 20000);
  await until('it is forgotten', async () => (await viewer.look()).addresses.length === 1, 40000);
  equal((await viewer.look()).address, `${node.url}/`, 'where it goes on looking');
}, { timeout_ms: 90000 });

test('the path stays dead: an ICE restart that comes to nothing, then a new session with the token of the last', async (t) => {
  const node = await startNode(t, { workers: 1, args: ['--advertise', '127.0.0.2'] });
  const [, port] = node.ready.rtc[0].split(':').map(Number);
  const relay = await UdpRelay.start(t, { address: '127.0.0.2', port }, { address: '127.0.0.1', port });
  const name = freshName('clientdead');
  const publisher = await clientPublish(await openClient(t, node), name);
  await publisher.becomes('live');
  const [first] = await rtcSessions(node, name);
  relay.cut = true;
  await until('another session takes its place', async () => {
    const now = await rtcSessions(node, name);
    return now.length === 1 && now[0].addr !== first.addr;
  }, 30000);
  relay.cut = false;
  const { by, ms } = await publisher.recovers();
  equal(by, 'session', 'recovered by');
  const now = await publisher.look();
  equal(now.stats.sessions, 2, 'sessions');
  checkUntouched(now);
  t.note(`${ms} ms`);
}, { timeout_ms: 60000 });

test('the worker of a /ws channel dies: sessions go on, and so does what is said about them', async (t) => {
  const node = await startNode(t, { workers: 1 });
  const name = freshName('clientworker');
  const home = await openClient(t, node);
  const first = await clientPublish(home, name, { signalling: 'ws' });
  await first.becomes('live');
  const viewer = await clientPlay(await openClient(t, node), name, { signalling: 'ws' });
  await viewer.more(20);
  const spare = await until('the worker has a spare', async () =>
    (await node.repl('workers')).find((row) => row.role === 'spare' && row.state === 'ready'));
  process.kill((await node.worker('media')).pid, 'SIGKILL');
  await until('its spare serves', async () => {
    const now = await node.worker('media');
    return now.pid === spare.pid && now.state === 'ready';
  });
  await viewer.more(20);
  await first.stop();
  await until('it was told to the node', async () => (await rtcSessions(node, name)).length === 1);
  const second = await clientPublish(home, name, { signalling: 'ws', width: 320, height: 240 });
  await second.becomes('live');
  await until('the viewer has heard of it', async () =>
    (await viewer.look()).events.some((event) => event.name === 'switched'), 20000);
  await until('the other picture', async () => (await viewer.look()).width === 320, 15000);
  const now = await viewer.look();
  equal(now.stats.sessions, 1, 'sessions');
  equal(now.events.filter((event) => event.state === 'recovering'), [], 'recoveries');
  checkUntouched(now);
}, { timeout_ms: 60000 });

for (const signalling of ['http', 'ws']) {
  test(`who waits for a publisher waits on when the node cannot be reached for a while, signalling by ${signalling}`, async (t) => {
    const node = await sharedNode();
    const relay = await TcpRelay.start(t, node.ready.http);
    const name = freshName('clientwaits');
    const viewer = await clientPlay(await openClient(t, node), name, { signalling, urls: [relay.url], wait: true });
    await viewer.becomes('waiting');
    await until('the request is held', async () => (await rtcSessions(node, name)).length === 1);
    relay.refuse = true;
    relay.break();
    await until('it has tried again and again', () => relay.refused >= 5, 30000);
    equal((await viewer.look()).state, 'waiting', 'state');
    relay.refuse = false;
    await publishRtmp(t, node, name);
    const { stats } = await viewer.more(20, 20000);
    equal(stats.sessions, 1, 'sessions');
    equal((await rtcSessions(node, name)).length, 1, 'sessions of the node');
  }, { timeout_ms: 60000 });

  test(`a name that is taken: a conflict, or a publisher that stands by, signalling by ${signalling}`, async (t) => {
    const node = await sharedNode();
    const name = freshName('clienttaken');
    const home = await openClient(t, node);
    const first = await clientPublish(home, name, { signalling });
    await first.becomes('live');
    const refused = await clientPublish(home, name, { signalling });
    const { error } = await refused.becomes('ended');
    equal([error.code, error.status], ['conflict', 409], 'error');
    const second = await clientPublish(home, name, { signalling, standby: true });
    await second.becomes('live');
    equal((await first.look()).state, 'live', 'state of the first');
    equal((await rtcSessions(node, name)).length, 2, 'sessions of the node');
  });

  test(`a node that takes no sessions: Retry-After is kept to, signalling by ${signalling}`, async (t) => {
    const node = await startNode(t, { workers: 1 });
    const page = await openClient(t, node);
    await node.repl('drain');
    const start = performance.now();
    const viewer = await clientPlay(page, freshName('clientbusy'), { signalling });
    const { error } = await viewer.becomes('ended');
    equal([error.code, error.status], ['unavailable', 503], 'error');
    atLeast(error.retryAfter, 1, 'seconds after which it may try again');
    atLeast(performance.now() - start, 2 * 1000 * error.retryAfter, 'milliseconds for three tries');
  });
}

/* what, options, expected code and status */
const key = randomBytes(32).toString('hex');
const token = (claims) => {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ app: 'live', stream: '*', exp: 4e9, ...claims })}`;
  return `${body}.${createHmac('sha256', key).update(body).digest('base64url')}`;
};
const lockedNode = share(() => Node.start({ workers: 1, env: { MILLRACE_TOKEN_KEY: key } }), (node) => node.stop());

const refused = [
  ['nobody publishes it', {}, 'conflict', 409],
  ['not a name', { name: 'live' }, 'bad_request', 0],
  ['nobody is there', { urls: ['http://127.0.0.1:1'] }, 'network', 0],
  ['without a token', { locked: true }, 'unauthorized', 401],
  ['with a token for something else', { locked: true, token: token({ act: ['publish'] }) }, 'forbidden', 403],
  ['with a token, but nobody publishes it', { locked: true, token: token({ act: ['play'] }) }, 'conflict', 409],
];

for (const [what, { name = freshName('clientno'), locked, ...options }, code, status] of refused) {
  for (const signalling of ['http', 'ws']) {
    test(`playing is refused: ${what}, signalling by ${signalling}`, async (t) => {
      const node = locked ? await lockedNode() : await sharedNode();
      const page = await openClient(t, node);
      const error = await page.evaluate(async ([stream, more]) => {
        const { MillraceError, play } = await import('/millrace.js');
        try {
          await play(stream, more).ready;
        } catch (caught) {
          return { code: caught.code, status: caught.status, typed: caught instanceof MillraceError };
        }
        return null;
      }, [name, { ...options, signalling }]);
      equal(error, { code, status, typed: true }, 'error');
    });
  }
}
