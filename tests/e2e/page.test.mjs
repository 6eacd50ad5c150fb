// SPDX-License-Identifier: Apache-2.0
// The console page, as a person uses it, on a desk and on a phone, by light and in the dark.

import { statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { atLeast, check, directory, equal, patience, test, until } from './harness.mjs';
import { openPage } from './browser.mjs';
import { decode, moreVideo, publishRtmp, pushRtmp, watchFlv } from './media.mjs';
import { freshName, sharedNode, startNode } from './node.mjs';
import { spared } from './takeover.mjs';

const desk = { viewport: { width: 1280, height: 800 } };
const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

const playing = (page) => page.evaluate(() => {
  const video = document.getElementById('watch-video');
  return { time: video.currentTime, width: video.videoWidth, frames: video.getVideoPlaybackQuality().totalVideoFrames };
});

async function checkPlays(page, width = 640) {
  const from = await until('a picture', async () => {
    const now = await playing(page);
    return now.width === width && now.frames > 0 && now;
  });
  await until('the picture moves', async () => {
    const now = await playing(page);
    return now.frames > from.frames + 30 && now.time > from.time + 0.5;
  });
}

async function checkLayout(page) {
  const { scroll, client } = await page.evaluate(() => ({
    scroll: document.documentElement.scrollWidth, client: document.documentElement.clientWidth,
  }));
  equal(scroll, client, 'width of what scrolls');
}

/** Of each chart: how many pixels have the colour of each of its two lines. */
const drawnInCharts = (page) => page.evaluate(() => [...document.querySelectorAll('#charts canvas')].map((canvas) =>
  ['--series-1', '--series-2'].map((token) => {
    const context = new OffscreenCanvas(1, 1).getContext('2d');
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(token).trim();
    context.fillRect(0, 0, 1, 1);
    const colour = context.getImageData(0, 0, 1, 1).data;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let i = 0; i < data.length; i += 4)
      if (data[i + 3] > 200 && [0, 1, 2].every((k) => Math.abs(data[i + k] - colour[k]) < 24)) count++;
    return count;
  })));

async function photograph(page, name) {
  const path = join(directory, `page-${name}.png`);
  await page.screenshot({ path, fullPage: true });
  atLeast(statSync(path).size, 10000, `bytes of ${path}`);
}

const textOf = (page, selector) => page.locator(selector).innerText();
const row = (page, name) => page.locator(`#streams li[data-key="${name}"]`);

/** Waits until the text of an element fits. */
const reads = (page, selector, pattern, deadline_ms) =>
  until(`${selector} reads ${pattern}`, async () => pattern.test(await textOf(page, selector)), deadline_ms);

for (const [what, device] of [['desk', desk], ['phone', phone]]) {
  for (const [protocol, scheme] of [['whep', 'light'], ['flv', 'dark'], ['ws-flv', 'light']]) {
    test(`watching by ${protocol} at a ${what}, ${scheme}`, async (t) => {
      const node = await sharedNode();
      const name = freshName('page');
      await publishRtmp(t, node, name);
      const page = await openPage(t, node, '/', { ...device, colorScheme: scheme });
      await row(page, name).waitFor({ timeout: 10000 * patience() });
      await until('the list tells codec and rate', async () =>
        /H264 640×360 · AAC · (29|30) fps[^]*[1-9][\d.]* [kM]bit\/s/.test(await row(page, name).innerText()));
      await checkLayout(page);
      await photograph(page, `list-${what}-${scheme}`);
      await row(page, name).locator('a').click();
      await page.locator('#stream-title').waitFor();
      equal(await textOf(page, '#stream-title'), name, 'title');
      await page.locator(`.choice label:has(input[value="${protocol}"])`).click();
      await page.click('#watch-go');
      await checkPlays(page);
      await page.locator('#watch-stats >> text=First picture').waitFor({ timeout: 5000 * patience() });
      // the viewer is seen: as a dot of the picture, a row of the table and a line of the charts
      await until('the viewer is a dot', () => page.locator('#picture circle.viewer').count());
      await until('the sessions are listed', async () => await page.locator('#sessions tr').count() >= 2);
      check((await textOf(page, '#sessions')).includes(protocol), `a session by ${protocol} is listed`);
      equal(await page.locator('#charts canvas').count(), 4, 'charts');
      // what came in and went out, each a line in its colour; of one viewer the worst lies on the median
      await until('the charts have lines', async () => {
        const [rate, , trip] = await drawnInCharts(page);
        return rate.every((pixels) => pixels > 10) && (protocol !== 'whep' || trip[1] > 10);
      });
      await checkLayout(page);
      await photograph(page, `${what}-${protocol}-${scheme}`);
      await page.click('#watch-go');
      equal(page.problems, [], 'errors in the browser console');
    });
  }
}

/** What is seen but reaches out of the window, other than in what scrolls by itself. */
const outside = (page) => page.evaluate(() => [...document.querySelectorAll('.bar *, main *')].filter((element) => {
  const { left, right, width } = element.getBoundingClientRect();
  return width && !element.closest('.scroll, .quiet, .xterm') && getComputedStyle(element).visibility === 'visible'
    && (right > innerWidth + 1 || left < -1);
}).map((element) => `${element.tagName} #${element.id} .${element.className} ${element.textContent.slice(0, 30)}`));

for (const colorScheme of ['light', 'dark']) {
  test(`no page is wider than a phone, ${colorScheme}`, async (t) => {
    const token = 'correct-horse-battery-staple';
    const node = await startNode(t, { workers: 2, args: ['--admin-token', token] });
    const name = 'a-house-with-many-rooms/and-a-stream-whose-name-somebody-has-thought-about';
    pushRtmp(t, node.rtmp, name);
    const page = await openPage(t, node, '/', { ...phone, colorScheme });
    const fits = async (what) => {
      await checkLayout(page);
      equal(await outside(page), [], `outside of the window: ${what}`);
      await photograph(page, `phone-${what}-${colorScheme}`);
    };
    await page.locator('#operator').waitFor();
    await fits('token');
    await page.fill('#operator-token', 'wrong');
    await page.click('#operator button');
    await reads(page, '#notice', /does not take this token/);
    await fits('token-wrong');
    await page.fill('#operator-token', token);
    await page.click('#operator button');
    await row(page, name).waitFor({ timeout: 10000 * patience() });
    for (const [hash, there] of [['', '#recent li'], [`stream/${name}`, '#charts canvas'], ['publish', '#publish-go'],
      ['workers', '#workers li'], ['events', '#events li'], ['console', '.xterm-rows'], ['map', '#map-nodes tr']]) {
      await page.evaluate((to) => { location.hash = `#/${to}`; }, hash);
      await page.locator(there).first().waitFor({ timeout: 10000 * patience() });
      await fits(hash.split('/')[0] || 'streams');
    }
    equal(page.problems.filter((problem) => !/401/.test(problem)), [], 'errors in the browser console');
  });
}

test('where not all is listed the page says so, and does not count some as all', async (t) => {
  const node = await sharedNode();
  const name = freshName('many');
  await publishRtmp(t, node, name);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await moreVideo(viewer, 5);
  const page = await openPage(t, node, `/#/`, desk);
  await row(page, name).waitFor({ timeout: 10000 * patience() });
  await until('the viewer has a latency', async () => /\d ms/.test(await row(page, name).innerText()));
  check(!/≥/.test(await row(page, name).innerText()), 'all are listed');
  equal(await page.locator('#streams-more').isVisible(), false, 'a remark without reason');
  /* (again and again: a state that comes whole takes it back) */
  const pretend = () => page.evaluate(async (stream) => {
    const { live } = await import('/live.js');
    Object.assign(live.state, { left_out: 999, streams_left_out: 41 });
    live.state.streams[stream].viewers = 1000;
  }, name);
  await until('the latency is that of some', async () => {
    await pretend();
    return /≥ \d+ ms/.test(await row(page, name).innerText());
  });
  await reads(page, '#streams-more', /^41 more/);
  await row(page, name).locator('a').click();
  await reads(page, '#sessions-more', /^1 of 1,000 viewers are listed/);
  await until('the rate out is not drawn', () => page.evaluate(async (stream) =>
    (await import('/live.js')).live.histories.get(stream).out.at(-1) === null, name));
  equal(page.problems, [], 'errors in the browser console');
});

test('publishing from the camera, and watching that', async (t) => {
  const node = await sharedNode();
  const name = freshName('camera');
  const page = await openPage(t, node, '/#/publish');
  await page.fill('#publish-name', name);
  await page.selectOption('#publish-size', '640x480');
  await page.click('#publish-go');
  await page.locator('#publish-badge').waitFor({ timeout: 10000 * patience() });
  const viewer = await openPage(t, node, `/?play=${name}`);
  await checkPlays(viewer);
  await reads(viewer, '#stream-facts', /whip · .*(VP8|H264|VP9|AV1)\s\d+×\d+\s.*fps/, 15000); // the browser does not announce it
  await photograph(page, 'publish');
  await page.click('#publish-go');
  await until('the stream has left the list', async () => !(await node.streams()).some((stream) => stream.name === name && stream.publisher), 15000);
  equal([...page.problems], [], 'errors in the browser console');
});

test('publishing the screen', async (t) => {
  const node = await sharedNode();
  const name = freshName('screen');
  const page = await openPage(t, node, '/#/publish');
  await page.fill('#publish-name', name);
  await page.check('input[name=source][value=screen]', { force: true });
  await page.click('#publish-go'); // (the browser's chooser takes the first screen by itself)
  await page.locator('#publish-badge').waitFor({ timeout: 10000 * patience() });
  const viewer = await openPage(t, node, `/?play=${name}`);
  await checkPlays(viewer, 1280);
  equal([...page.problems], [], 'errors in the browser console');
});

test('publishing a file', async (t) => {
  const node = await sharedNode();
  const name = freshName('file');
  const page = await openPage(t, node, '/#/publish');
  // a clip made here: a canvas, recorded for a moment
  const clip = await page.evaluate(async () => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
    const context = canvas.getContext('2d');
    const recorder = new MediaRecorder(canvas.captureStream(30), { mimeType: 'video/webm;codecs=vp8' });
    const parts = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
    let frames = 0;
    recorder.start();
    await new Promise((resolve) => {
      const draw = () => {
        context.fillStyle = `hsl(${frames * 9} 80% 50%)`;
        context.fillRect(0, 0, 640, 360);
        if (++frames < 60) requestAnimationFrame(draw);
        else resolve();
      };
      draw();
    });
    recorder.stop();
    await stopped;
    return [...new Uint8Array(await new Blob(parts).arrayBuffer())];
  });
  await page.fill('#publish-name', name);
  await page.locator('.choice label:has(input[value="file"])').click();
  await page.setInputFiles('#publish-file', { name: 'clip.webm', mimeType: 'video/webm', buffer: Buffer.from(clip) });
  await page.click('#publish-go');
  await page.locator('#publish-badge').waitFor({ timeout: 10000 * patience() });
  const viewer = await openPage(t, node, `/?play=${name}`);
  await checkPlays(viewer);
  equal([...page.problems], [], 'errors in the browser console');
});

test('watching a stream that is not there yet begins when it is', async (t) => {
  const node = await sharedNode();
  const name = freshName('later');
  const page = await openPage(t, node, `/?play=${name}`);
  await page.locator('text=Nobody publishes').first().waitFor({ timeout: 5000 * patience() });
  await publishRtmp(t, node, name);
  await checkPlays(page);
});

test('a name that is none is said to be none', async (t) => {
  const page = await openPage(t, await sharedNode(), '/');
  await page.fill('#open-name', 'no such/name/here');
  await page.click('#open button');
  check((await page.evaluate(() => document.getElementById('open-name').validationMessage)).includes('app/stream'), 'says what a name looks like');
  const other = await openPage(t, await sharedNode(), '/#/stream/one/two/three');
  await other.locator('#watch-message.bad').waitFor({ timeout: 3000 * patience() });
});

test('a worker that is killed shows, and so does who goes on with it', async (t) => {
  const node = await startNode(t, { workers: 2 });
  const name = freshName('killed');
  await publishRtmp(t, node, name);
  const page = await openPage(t, node, `/?play=${name}`);
  await checkPlays(page);
  const home = (await node.streams())[0].worker;
  await page.evaluate(() => { location.hash = '#/events'; });
  const worker = 1 - home; // the publisher stays
  await spared(node);
  await node.repl(`kill-worker ${worker}`);
  await reads(page, '#events', new RegExp(`media\\.${worker} was taken over: \\d+ sessions, \\d+ ms, 0 left out`));
  await page.evaluate(() => { location.hash = '#/workers'; });
  await reads(page, `#workers li[data-key="media.${worker}"]`, /ready[^]*Restarts\s*1/);
  await reads(page, '#node', /ready/);
  await photograph(page, 'workers');
  // and the player goes on
  await page.evaluate((link) => { location.hash = link; }, `#/stream/${name}`);
  await page.click('#watch-go');
  await checkPlays(page);
  equal(page.problems.filter((problem) => !/WebSocket|ERR_/.test(problem)), [], 'errors in the browser console');
});

test('updates go on when their connection was cut, and when the control process was replaced', async (t) => {
  const node = await startNode(t, { workers: 1 });
  const name = freshName('cut');
  const page = await openPage(t, node, '/');
  await reads(page, '#streams-empty', /Nothing is live/);
  const connections = async () => (await node.repl('actors http_connection where state = socket')).map(({ addr }) => addr);
  const [first] = await until('the page is connected', async () => { const all = await connections(); return all.length && all; });
  await node.repl(`stop ${first}`);
  await until('the page has come back', async () => { const all = await connections(); return all.length && !all.includes(first); });
  await publishRtmp(t, node, name);
  await row(page, name).waitFor({ timeout: 10000 * patience() });
  const { pid } = await node.worker('control');
  process.kill(pid, 'SIGKILL');
  await reads(page, '#node', /ready/);
  await page.evaluate(() => { location.hash = '#/workers'; });
  await until('the new control process is shown', async () =>
    !new RegExp(`pid ${pid}\\b`).test(await textOf(page, '#workers li[data-key="control.0"]')), 15000);
  await page.evaluate(() => { location.hash = '#/'; });
  await row(page, name).waitFor({ timeout: 10000 * patience() });
});

test('commands at the console', async (t) => {
  const page = await openPage(t, await sharedNode(), '/#/console', desk);
  const screen = () => page.evaluate(() => document.querySelector('.xterm-accessibility')?.innerText ?? '');
  const type = async (text) => { await page.keyboard.type(text); await page.keyboard.press('Enter'); };
  const says = (pattern) => until(`the terminal says ${pattern}`, async () => pattern.test(await screen()));
  await says(/millrace>/);
  await type('workers');
  await says(/role\s+state[^]*media\s+ready/);
  await type('nonsense');
  await says(/no such command/);
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('ArrowUp');
  await says(/millrace> workers\s*$/);
  await page.keyboard.press('Home');
  await page.keyboard.type('x');
  await page.keyboard.press('Backspace');
  await page.keyboard.press('Enter');
  await until('it is answered again', async () => (await screen()).match(/media\s+ready/g)?.length >= 2);
  const [{ addr }] = await (await sharedNode()).repl('actors process_office limit 1');
  await type(`watch ${addr}`);
  await says(/any key ends this[^]*"changed"/);
  await page.keyboard.press('q');
  await says(/"events": \d+/);
  // two keys before the answer is there: one ends it, the other is no command
  await type('clear');
  await until('the screen is empty', async () => !(await screen()).includes('any key'));
  await type(`watch ${addr}`);
  await says(/any key ends this/);
  await page.evaluate(() => {
    const input = document.querySelector('.xterm-helper-textarea');
    for (let i = 0; i < 2; i++) input.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', keyCode: 13, bubbles: true }));
  });
  await says(/"events": \d+/);
  // what was sent in a secret field is not kept
  await type('send 1:5 session_patch secret="a hidden word" if_match=shown');
  await says(/if_match=shown\s[^]*\S[^]*millrace>\s*$/);
  check(!/no such command/.test(await screen()), 'the second key was a command');
  equal(JSON.parse(await page.evaluate(() => sessionStorage.getItem('commands'))).at(-1),
    'send 1:5 session_patch secret=*** if_match=shown', 'what is kept');
  await photograph(page, 'console');
  await page.setViewportSize(phone.viewport); // too narrow for the table
  await type('workers');
  await says(/role media\s+state ready/);
  await photograph(page, 'console-narrow');
  equal(page.problems, [], 'errors in the browser console');
});

test('Tab at the console completes as `millrace repl` does', async (t) => {
  const node = await sharedNode();
  const name = freshName(`tab${Date.now().toString(36)}`); // no other begins so
  await publishRtmp(t, node, name);
  const stream = await until('the stream', async () => (await node.repl(`actors stream where name ~ ${name}`))[0]);
  const page = await openPage(t, node, '/#/console', desk);
  const screen = () => page.evaluate(() => document.querySelector('.xterm-accessibility')?.innerText ?? '');
  const says = (pattern) => until(`the terminal says ${pattern}`, async () => pattern.test(await screen()));
  const type = async (text, pattern) => { await page.keyboard.type(text); await page.keyboard.press('Tab'); await says(pattern); };
  const drop = async () => { await page.keyboard.press('Control+c'); await says(/millrace>\s*$/); };
  await says(/millrace>/);
  await type('wor', /millrace> workers\s*$/);
  await page.keyboard.press('Enter'); // (behind the blank)
  await says(/role\s+state[^]*media\s+ready/);
  await type('actors http_c', /http_connection\s*$/); // a type
  await type('where requ', /where request\S*\s*$/); // a field of its state
  await drop();
  await type('dra', /millrace> drain\s*$/);
  await page.keyboard.press('Tab'); // more than one: listed, with what they do, and the line again
  await says(/drain-worker\s+a worker ends[^]*drain node[^]*millrace> drain\s*$/);
  await drop();
  await type(`inspect ${stream.addr.slice(0, 5)}`, new RegExp(`inspect ${stream.addr.slice(0, stream.addr.indexOf('/') + 1)}`));
  await drop();
  await type(`send ${stream.addr} name_look`, /name_lookup\s*$/);
  await type('newer', /newer_than=\s*$/); // its field
  await drop();
  await type(`paths ${name.slice(0, -2)}`, new RegExp(`paths ${name}`));
  await page.keyboard.press('Enter'); // who, by what, from where, and in which process
  await says(new RegExp(`publisher\\srtmp\\s127\\.0\\.0\\.1:\\d+\\sat\\se2e\\s+rtmp_session\\spublishing\\smedia\\s\\d[^]*origin\\sat\\se2e\\s+stream\\slive\\smedia\\s\\d\\s${stream.addr}`));
  await page.keyboard.type('streams');
  await page.keyboard.press('Enter'); // a list in a cell
  await says(/tracks\svideo\sH264\s640\s360\s90000,\saudio\sAAC/);
  await type('nonsense x', /millrace> nonsense x\s*$/); // nothing: nothing happens
  await drop();
  // in the middle of a line: what is behind the cursor stays there
  await page.keyboard.type('act stream');
  for (let i = 0; i < 7; i++) await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('Tab');
  await says(/millrace> actors\s+stream\s*$/);
  equal(page.problems, [], 'errors in the browser console');
});

test('the console asks for the token: a wrong one is refused and said to be wrong', async (t) => {
  const token = 'correct-horse-battery-staple';
  const node = await startNode(t, { workers: 1, args: ['--admin-token', token] });
  const page = await openPage(t, node, '/#/console', desk);
  const screen = () => page.evaluate(() => document.querySelector('.xterm-accessibility')?.innerText ?? '');
  await reads(page, '#notice', /shown to operators/);
  await page.fill('#operator-token', 'wrong');
  await page.click('#operator button');
  await reads(page, '#notice', /does not take this token/);
  check(!/millrace>/.test(await screen()), 'a prompt without the token');
  // nor does the node take a command of a page that does not ask
  const opened = await page.evaluate(() => new Promise((resolve) => {
    const socket = new WebSocket(new URL('/api/v1/repl', location.href.replace('http', 'ws')), ['millrace', `bearer.${btoa('false!')}`]);
    socket.onopen = () => resolve(true);
    socket.onerror = () => resolve(false);
  }));
  check(!opened, 'the console opens to a wrong token');
  await page.fill('#operator-token', token);
  await page.click('#operator button');
  await until('the prompt', async () => /millrace>/.test(await screen()));
  check(!await page.locator('#operator').isVisible() && !await page.locator('#notice').isVisible(), 'the token is still asked for');
  await page.click('#terminal');
  await page.keyboard.type('nod');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await until('an answer', async () => /rtmp_port/.test(await screen()));
  equal(page.problems.filter((problem) => !/401|valid credentials/.test(problem)), [], 'errors in the browser console');
});

test('all of it by keyboard', async (t) => {
  const node = await sharedNode();
  const name = freshName('keys');
  await publishRtmp(t, node, name);
  const page = await openPage(t, node, '/', desk);
  await row(page, name).waitFor({ timeout: 10000 * patience() });
  const seen = [];
  for (let i = 0; i < 40 && !seen.at(-1)?.includes(name); i++) {
    await page.keyboard.press('Tab');
    const { text, outlined } = await page.evaluate(() => {
      const style = getComputedStyle(document.activeElement);
      return { text: document.activeElement.innerText || document.activeElement.id, outlined: style.outlineStyle !== 'none' };
    });
    check(outlined, `the focus is seen at ${text}`);
    seen.push(text);
  }
  equal(seen.slice(0, 3).map((text) => text.trim()), ['Skip to the content', 'Millrace', 'Streams'], 'order');
  check(seen.at(-1).includes(name), 'the stream is reached');
  await page.keyboard.press('Enter');
  await reads(page, '#stream-title', new RegExp(name));
  const unlabelled = await page.evaluate(() => [...document.querySelectorAll('input, select, button, a')]
    .filter((element) => element.offsetParent && !element.labels?.length && !element.innerText.trim() && !element.ariaLabel)
    .map((element) => element.outerHTML));
  equal(unlabelled, [], 'controls without a name');
});

test('a page without the token publishes and watches, and one with it sees the node', async (t) => {
  const token = 'correct horse/battery+staple?';
  const node = await startNode(t, { workers: 1, args: ['--admin-token', token] });
  const name = freshName('secret');
  pushRtmp(t, node.rtmp, name);
  const page = await openPage(t, node, `/?play=${name}`);
  await page.locator('#operator').waitFor({ timeout: 5000 * patience() });
  await checkPlays(page);
  await page.fill('#operator-token', 'wrong');
  await page.click('#operator button');
  await page.locator('#operator').waitFor();
  await page.fill('#operator-token', token);
  await page.click('#operator button');
  await until('the sessions are listed', () => page.locator('#sessions tr').count());
  check(!await page.locator('#operator').isVisible(), 'the token is no longer asked for');
  // refused without the token, and asked to come again while the publisher's first picture was on its way
  equal(page.problems.filter((problem) => !/401|409/.test(problem)), [], 'errors in the browser console');
});

test('pages that do not read hold nothing up, and nothing is kept for them', async (t) => {
  const node = await startNode(t, { workers: 1 });
  await publishRtmp(t, node, freshName('slow'));
  const [host, port] = node.ready.http.split(':');
  const handshake = `GET /api/v1/live HTTP/1.1\r\nHost: ${node.ready.http}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`
    + 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n';
  const socket = net.connect({ host, port: Number(port) });
  t.defer(() => socket.destroy());
  socket.write(handshake);
  let bytes = Buffer.alloc(0);
  socket.on('data', (chunk) => { bytes = Buffer.concat([bytes, chunk]); });
  /** The text messages so far. */
  const messages = () => {
    const found = [];
    for (let at = bytes.indexOf('\r\n\r\n') + 4; at + 4 <= bytes.length;) {
      const short = bytes[at + 1];
      const size = short === 126 ? bytes.readUInt16BE(at + 2) : short === 127 ? Number(bytes.readBigUInt64BE(at + 2)) : short;
      const from = at + (short === 126 ? 4 : short === 127 ? 10 : 2);
      if (from + size > bytes.length) break;
      if (bytes[at] === 0x81) found.push(JSON.parse(bytes.toString('utf8', from, from + size)));
      at = from + size;
    }
    return found;
  };
  await until('the state and a patch', () => messages().some(({ type }) => type === 'patch'));
  const [first, second] = messages();
  equal(first.type, 'state', 'the first message');
  equal(second.seq, first.seq + 1, 'the next one follows it');
  // many pages that stand still cost nothing that grows
  for (let i = 0; i < 30; i++) {
    const quiet = net.connect({ host, port: Number(port) });
    t.defer(() => quiet.destroy());
    quiet.pause();
    quiet.write(handshake);
  }
  await until('all of them are there', async () => (await node.repl('actors http_connection where state = socket')).length >= 31);
  const from = messages().length;
  await until('the page that reads goes on', () => messages().length >= from + 3);
  const { buffer_used: buffers } = (await node.repl('arena')).find(({ process: name }) => name === 'media.0');
  check(buffers <= 4, () => `${buffers} buffers are held by pages that have read or not`);
});

test('WebSocket-FLV is HTTP-FLV in messages, for any origin', async (t) => {
  const node = await sharedNode();
  const name = freshName('ws');
  await publishRtmp(t, node, name);
  await moreVideo(watchFlv(t, `${node.url}/${name}.flv`), 5);
  const page = await openPage(t, node);
  const look = await page.evaluate((path) => new Promise((resolve) => {
    const socket = new WebSocket(new URL(path, location.href.replace('http', 'ws')));
    const messages = [];
    socket.binaryType = 'arraybuffer';
    socket.onmessage = ({ data }) => {
      messages.push([...new Uint8Array(data)]);
      if (messages.length === 120) socket.close();
    };
    socket.onclose = ({ wasClean, code }) => resolve({ messages, wasClean, code });
  }), `/${name}.flv`);
  equal(look.messages.length, 120, 'messages');
  check(look.wasClean, `closed cleanly (${look.code})`);
  equal(String.fromCharCode(...look.messages[0].slice(0, 3)), 'FLV', 'the first message');
  for (const tag of look.messages.slice(1)) {
    check([8, 9, 18].includes(tag[0]), `a tag of type ${tag[0]}`);
    equal(tag.length, 15 + (tag[1] << 16 | tag[2] << 8 | tag[3]), 'bytes of a message that is one tag');
  }
  const file = join(directory, `${name.replace('/', '-')}.flv`);
  writeFileSync(file, Buffer.concat(look.messages.map((message) => Buffer.from(message))));
  const { frames, width, height, errors } = await decode(file);
  equal([width, height, errors], [640, 360, ''], 'what a decoder says of all messages in one file');
  equal(frames, look.messages.filter((tag) => tag[0] === 9 && tag[12] === 1).length, 'pictures');
  const none = await page.evaluate((path) => new Promise((resolve) => {
    const socket = new WebSocket(new URL(path, location.href.replace('http', 'ws')));
    socket.onerror = () => resolve('refused');
    socket.onopen = () => resolve('opened');
  }), '/live/nobody-is-here.flv');
  equal(none, 'refused', 'a stream that is not there');
});
