// SPDX-License-Identifier: Apache-2.0
// HTTPS and RTMPS: everything that works without TLS, a certificate that is renewed under
// connections, and certificates and bytes that are wrong.

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { checkPicture, openPage, playWhep, publishWhip } from './browser.mjs';
import { atLeast, check, directory, equal, patience, share, test, until } from './harness.mjs';
import { raw, request } from './http.mjs';
import { live, Load } from './load.mjs';
import { moreVideo, probe, publishRtmp, watchFlv } from './media.mjs';
import { freshName, millrace, Node, nodeArguments, startNode } from './node.mjs';
import { killWorker } from './takeover.mjs';

const run = promisify(execFile);
const playOffer = new URL('../data/sdp/chrome156-recvonly.sdp', import.meta.url);

/** cert.pem and key.pem in a directory of their own; kind: ec, or rsa. */
async function makePair(kind = 'ec') {
  const folder = mkdtempSync(join(directory, 'tls-'));
  const pair = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
  const key = kind === 'ec' ? ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'] : ['rsa:2048'];
  await run('openssl', ['req', '-x509', '-newkey', ...key, '-nodes', '-days', '30', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', pair.key, '-out', pair.cert]);
  return pair;
}

const withTls = ({ cert, key }) =>
  ['--tls-cert', cert, '--tls-key', key, '--https-port', '0', '--rtmps-port', '0'];

const sharedTls = share(async () => {
  const pair = await makePair();
  return Object.assign(await Node.start({ args: withTls(pair) }), { pair });
}, (node) => node.stop());

/** What curl says, with the certificate checked. */
async function curl(node, ...args) {
  const { stdout } = await run('curl', ['-s', '-i', '--max-time', '10', '--cacert', node.pair.cert, ...args]);
  return stdout;
}

/** Fingerprint of the certificate that a new connection is shown. */
function shownBy(address, options = {}) {
  const [host, port] = address.split(':');
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, rejectUnauthorized: false, ...options }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

const logged = (node, event) => node.log.split('\n').filter((line) => line.includes(` ${event} `));

test('HTTPS serves what HTTP serves', async (t) => {
  const node = await sharedTls();
  check(/^127\.0\.0\.1:\d+$/.test(node.ready.https) && /^127\.0\.0\.1:\d+$/.test(node.ready.rtmps), 'the ready line names both');
  check(/^HTTP\/1\.1 200 OK/.test(await curl(node, `${node.https}/healthz`)), 'curl verifies the certificate');
  for (const path of ['/', '/healthz', '/readyz', '/api/v1/streams', '/live/nobody.flv', '/nothing-here']) {
    const [plain, secure] = await Promise.all([node.get(path), request(node.https + path)]);
    equal(secure.status, plain.status, `status of ${path}`);
    equal(secure.text, plain.text, `body of ${path}`);
  }
  await until('the expiry is told', async () =>
    /tls_certificate_expires_seconds{role="media",index="0"} \d{10}\n/.test((await request(`${node.https}/metrics`)).text));
  const forwarded = await request(`${node.https}/api/v1/streams`, { headers: { 'X-Forwarded-For': '127.0.0.1' } });
  equal(forwarded.status, 403, 'an operator by way of a proxy');
  const cors = await request(`${node.https}/whep/live/x`, { method: 'OPTIONS', headers: { Origin: 'https://other.example' } });
  check(cors.headers['access-control-allow-origin'], 'CORS as over HTTP');
});

test('WHEP over HTTPS by curl: a session, its location, its end', async (t) => {
  const node = await sharedTls();
  const name = freshName('curl');
  const post = () => curl(node, '-H', 'Content-Type: application/sdp', '--data-binary', `@${playOffer.pathname}`, `${node.https}/whep/${name}`);
  check(/^HTTP\/1\.1 409 /.test(await post()), 'nobody publishes yet');
  await publishRtmp(t, node, name, { rtmp: node.rtmps });
  const created = await post();
  check(/^HTTP\/1\.1 201 /.test(created) && /a=fingerprint/.test(created), created.slice(0, 200));
  const location = /^location: (\S+)/im.exec(created)[1];
  check(/^HTTP\/1\.1 200 /.test(await curl(node, '-X', 'DELETE', new URL(location, node.https).href)), 'DELETE');
});

test('RTMPS by ffmpeg, HTTPS-FLV and RTMPS by ffprobe', async (t) => {
  const node = await sharedTls();
  const name = freshName('rtmps');
  await publishRtmp(t, node, name, { rtmp: node.rtmps });
  for (const url of [`${node.https}/${name}.flv`, `${node.rtmps}/${name}`]) {
    const seen = await probe(url, 3);
    equal(seen.streams.map((stream) => stream.codec_name).sort(), ['aac', 'h264'], `codecs of ${url}`);
    check(seen.packets.length > 60, () => `${url}: ${seen.packets.length} packets`);
    equal(seen.errors, '', `errors of ${url}`);
  }
});

test('load by RTMPS: a publisher, two players, and who is not trusted', async (t) => {
  const node = await sharedTls();
  const name = freshName('safe');
  const load = async (...args) => {
    const { status, out, err } = await millrace(['load', 'rtmp', ...args, '--json'], { timeout_ms: 30000 });
    return { status, err, ...(out && JSON.parse(out)) };
  };
  const publisher = new Load(t, ['rtmp', `${node.rtmps}/${name}`, '--ca', node.pair.cert]);
  await live(node, name);
  for (const trust of [['--ca', node.pair.cert], ['--insecure']]) {
    const players = await load(`${node.rtmps}/${name}`, '--play', '--count', '2', '--duration', `${Math.ceil(3 * patience())}`, ...trust);
    equal([players.status, players.sessions], [0, { wanted: 2, connected: 2, failed: 0, lost: 0 }], `players, ${trust}: ${players.err}`);
    atLeast(players.keyframes, 2, 'keyframes');
    atLeast(players.packets, 2 * 60, 'tags');
  }
  const port = node.ready.rtmps.split(':')[1];
  for (const [url, trust, status, why] of [
    [`${node.rtmps}/${name}`, [], 3, /self-signed certificate/],
    [`rtmps://127.0.0.2:${port}/${name}`, ['--ca', node.pair.cert], 3, /connection broke/],
    [`rtmps://${node.ready.rtmp}/${name}`, ['--insecure'], 3, /wrong version number|connection broke/],
    [`${node.rtmps}/${name}`, ['--ca', '/nonexistent'], 2, /--ca: \/nonexistent: expected certificates/],
    [`${node.rtmps}/${name}`, ['--ca', node.pair.key], 2, /expected certificates in PEM form/],
  ]) {
    const refused = await load(url, '--play', '--duration', '3', ...trust);
    check(refused.status === status && why.test(refused.err), () => `${url} ${trust}: ${refused.status}: ${refused.err}`);
  }
  const result = await publisher.stop();
  equal([result.status, result.sessions.lost], [0, 0], 'the publisher');
});

test('a page over HTTPS publishes its camera, and plays it by WHEP and by wss', async (t) => {
  const node = await sharedTls();
  const name = freshName('page');
  const page = await openPage(t, node, '/healthz', { ignoreHTTPSErrors: true });
  equal(await page.evaluate(() => [location.protocol, isSecureContext]), ['https:', true], 'the page');
  const secure = { url: node.https };
  await publishWhip(page, secure, name);
  const viewer = await playWhep(page, secure, name, { query: '?wait=1' });
  await viewer.moreVideo(20);
  await viewer.moreSound();

  const film = freshName('wss');
  await publishRtmp(t, node, film, { rtmp: node.rtmps });
  await checkPicture(await playWhep(page, secure, film), 640, 360);
  const messages = await page.evaluate((path) => new Promise((resolve) => {
    const socket = new WebSocket(new URL(path, location.href.replace('http', 'ws')));
    const heads = [];
    socket.binaryType = 'arraybuffer';
    socket.onmessage = ({ data }) => { if (heads.push([...new Uint8Array(data, 0, 3)]) === 50) socket.close(); };
    socket.onclose = ({ wasClean }) => resolve({ heads, wasClean });
  }), `/${film}.flv`);
  equal(messages.heads.length, 50, 'messages over wss');
  equal(String.fromCharCode(...messages.heads[0]), 'FLV', 'the first message');
  check(messages.wasClean, 'the WebSocket was closed in order');

  const board = await openPage(t, node, '/', { ignoreHTTPSErrors: true });
  await board.locator(`#streams li[data-key="${film}"]`).waitFor({ timeout: 10000 * patience() });
  equal(board.problems, [], 'errors in the console page');
}, { timeout_ms: 60000 });

test('a slow viewer over TLS loses whole frames, and the next one none', async (t) => {
  const node = await sharedTls();
  const name = freshName('slow');
  await publishRtmp(t, node, name, { rtmp: node.rtmps, video: ['-b:v', '2M'] }); // what the kernel buffers is soon full
  const slow = watchFlv(t, `${node.https}/${name}.flv`, {}, { bytes_per_s: 40000 });
  const quick = watchFlv(t, `${node.https}/${name}.flv`);
  await until('it is spared some tags', async () =>
    (await node.repl(`actors http_connection where tags_dropped > 0 and peer ~ :${slow.localPort}`)).length === 1, 40000);
  await moreVideo(slow, 10, 20000); // its reader checks where each tag begins and ends
  await moreVideo(quick, 30);
  equal([slow.error, slow.backwards], [null, 0], 'the slow viewer');
  equal([quick.error, quick.backwards], [null, 0], 'the quick one');
}, { timeout_ms: 90000 });

test('a renewed certificate: who is connected goes on, who comes gets the new one', async (t) => {
  const [pair, renewed, third] = [await makePair('ec'), await makePair('rsa'), await makePair('ec')];
  const node = await startNode(t, { args: withTls(pair) });
  const name = freshName('renewed');
  const publisher = await publishRtmp(t, node, name, { rtmp: node.rtmps });
  const viewer = watchFlv(t, `${node.https}/${name}.flv`);
  await moreVideo(viewer, 10);
  const first = await shownBy(node.ready.https);
  equal(await shownBy(node.ready.rtmps), first, 'one certificate for both');

  // a pair that is no pair leaves the old one in use, and every worker says so
  copyFileSync(renewed.cert, `${pair.cert}.new`);
  renameSync(`${pair.cert}.new`, pair.cert);
  await until('both workers refuse it', () => logged(node, 'tls_certificate_unusable').length === 2);
  check(/is not that of the certificate/.test(logged(node, 'tls_certificate_unusable')[0]), 'the reason is told');
  equal(await shownBy(node.ready.https), first, 'certificate after a broken renewal');

  // the key follows
  copyFileSync(renewed.key, `${pair.key}.new`);
  chmodSync(`${pair.key}.new`, 0o644);
  renameSync(`${pair.key}.new`, pair.key);
  await until('both workers have taken it', () => logged(node, 'tls_certificate_loaded').length === 4);
  const second = await shownBy(node.ready.https);
  check(second !== first, 'a new certificate is shown');
  equal(logged(node, 'tls_key_readable').length, 2, 'warnings of a key that others can read');
  equal(await shownBy(node.ready.rtmps, { maxVersion: 'TLSv1.2' }), second, 'by RTMPS and TLS 1.2');

  // and at SIGHUP, without waiting for a look
  writeFileSync(pair.cert, readFileSync(third.cert));
  writeFileSync(pair.key, readFileSync(third.key), { mode: 0o600 });
  node.process.kill('SIGHUP');
  await until('a third one is shown', async () => ![first, second].includes(await shownBy(node.ready.https)));

  await moreVideo(viewer, 30);
  equal([publisher.status, viewer.closed, viewer.error], [null, false, null], 'who was there all the time');
  check(!node.log.includes('BEGIN'), 'no key in the log');
}, { timeout_ms: 60000 });

test('a worker dies: its publisher and its viewer over TLS end, are named and counted', async (t) => {
  const node = await startNode(t, { workers: 1, args: withTls(await makePair()) });
  const name = freshName('ended');
  const publisher = await publishRtmp(t, node, name, { rtmp: node.rtmps });
  const viewer = watchFlv(t, `${node.https}/${name}.flv`);
  const clear = watchFlv(t, `${node.url}/${name}.flv`);
  await moreVideo(viewer, 5);
  await moreVideo(clear, 5);
  await killWorker(node, 0);
  await until('both are counted', async () =>
    /^millrace_tls_sessions_ended_total\{role="media",index="0"\} 2$/m.test((await node.get('/metrics')).text));
  const lines = (event) => logged(node, event).filter((line) => line.includes('over TLS')).length;
  for (const event of ['rtmp_session_ended', 'flv_viewer_lost']) await until(`the log says ${event}`, () => lines(event) > 0);
  await until('the viewer is closed', () => viewer.closed);
  await until('the encoder has ended', () => publisher.status !== null);
  equal(['rtmp_session_ended', 'flv_viewer_lost'].map(lines), [1, 1], 'lines of the log');
  check(!clear.closed, 'who is not over TLS stays');
});

test('bytes that are wrong for a TLS port, and TLS for a plain one', async () => {
  const node = await sharedTls();
  const plain = await raw(node.ready.https, 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
  check(/^HTTP\/1\.1 400 .*this port speaks HTTPS/s.test(plain.bytes.toString()), () => plain.bytes.toString());
  check(plain.closed, 'closed after that');
  for (const address of [node.ready.https, node.ready.rtmps]) {
    check((await raw(address, randomBytes(3000))).closed, 'garbage is hung up on');
    check((await raw(address, Buffer.from('160301ffff0100', 'hex'))).closed, 'a record that is too long');
  }
  const sdp = await raw(node.ready.rtmps, Buffer.concat([Buffer.from([3]), randomBytes(1536)]));
  check(sdp.closed, 'RTMP in the clear on the RTMPS port');
  for (const address of [node.ready.http, node.ready.rtmp]) {
    const refused = await shownBy(address).then(() => false, () => true);
    check(refused, 'TLS on a plain port');
  }
  const old = await shownBy(node.ready.https, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1' }).then(() => false, () => true);
  check(old, 'TLS 1.1 is refused');
  const h2 = await shownBy(node.ready.https, { ALPNProtocols: ['h2'] }).then(() => false, () => true);
  check(h2, 'HTTP/2 alone is refused');
  equal((await request(`${node.https}/healthz`)).status, 200, 'the node is none the worse for it');
});

test('certificates that end the start: exit status 2', async () => {
  const [pair, other, expired] = [await makePair(), await makePair('rsa'), await makePair()];
  await run('openssl', ['x509', '-in', expired.cert, '-signkey', expired.key, '-days', '-1', '-out', `${expired.cert}.old`]);
  const rows = [
    [[pair.cert, '/nonexistent'], /\/nonexistent cannot be read: No such file/],
    [['/nonexistent', pair.key], /\/nonexistent cannot be read: No such file/],
    [[pair.cert, other.key], /is not that of the certificate/],
    [[`${expired.cert}.old`, expired.key], /expired on 20\d\d-/],
    [[pair.key, pair.key], /expected a certificate in PEM form/],
    [[pair.cert, pair.cert], /expected a private key in PEM form/],
  ];

  for (const [[cert, key], expected] of rows) {
    const base = mkdtempSync(join(directory, 'refused-'));
    mkdirSync(join(base, 'run'), { mode: 0o700 });
    const { status, err, out } = await millrace([...nodeArguments({ base }), ...withTls({ cert, key })]);
    equal([status, out], [2, ''], `exit status and output (${expected})`);
    check(expected.test(err), () => `${expected}: ${err}`);
  }
  const alone = await millrace([...nodeArguments({ base: directory }), '--tls-cert', pair.cert]);
  check(alone.status === 2 && /tls.cert and tls.key together/.test(alone.err), () => alone.err);
  const without = await millrace([...nodeArguments({ base: directory }), '--rtmps-port', '0']);
  check(without.status === 2 && /rtmps.port: expected a certificate/.test(without.err), () => without.err);
});
