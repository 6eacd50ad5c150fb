// SPDX-License-Identifier: Apache-2.0
// A cluster as people see it: a stream's paths and how long its hops take, commands at other nodes, the map
// on the console page.

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { atLeast, atMost, check, directory, equal, patience, test, until } from './harness.mjs';
import { browserInside, openPage } from './browser.mjs';
import { Cluster, metric } from './cluster.mjs';
import { Lab } from './lab.mjs';
import { moreVideo, publishRtmp, watchFlv } from './media.mjs';
import { Network } from './namespaces.mjs';
import { freshName, sharedNode } from './node.mjs';
import { between } from './topology.mjs';

const wait = { timeout_ms: 120000 };
const desk = { viewport: { width: 1280, height: 900 } };
const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

/** Three nodes; a publishes, b and c have a viewer each. */
async function watched(t, { regions = ['eu', 'eu', 'eu'] } = {}) {
  const cluster = await Cluster.start(t, { nodes: 0, found: false });
  for (const [i, region] of regions.entries()) await cluster.add({ name: 'abc'[i], workers: 1, args: ['--region', region] });
  await cluster.complete();
  const [a, b, c] = cluster.nodes;
  const name = freshName('seen');
  await publishRtmp(t, a, name);
  const viewers = [];
  for (const node of [b, c]) {
    const viewer = await watchFlv(t, `${node.url}/${name}.flv`);
    await moreVideo(viewer, 10, 30000);
    viewers.push(viewer);
  }
  return { cluster, name, a, b, c, viewers };
}

const flat = (lines) => lines.flatMap((line) => [line, ...flat(line.children ?? [])]);

test('paths of a stream over three nodes, the same asked at any; trace times its hops', async (t) => {
  const { cluster, name, a, b, c } = await watched(t);
  for (const node of cluster.nodes) {
    const lines = await until(`${node.name} tells of all copies`, async () => {
      const all = flat(await node.repl(`paths ${name}`));
      return [b, c].every((at) => all.some((line) => line.part === 'copy' && line.node === at.name && line.way)) && all;
    }, 20000);
    const origin = lines.find(({ part }) => part === 'origin');
    equal([origin.node, origin.type], ['a', 'stream'], 'origin');
    for (const at of ['b', 'c']) {
      const copy = lines.find((line) => line.part === 'copy' && line.node === at);
      check(copy.way === 'a' || / > a$/.test(copy.way), () => `way of ${at}: ${copy.way}`);
      check(copy.planned, () => `nothing is planned for ${JSON.stringify(copy)}`);
      check(lines.some((line) => line.node === at && line.part === 'reader' && line.protocol === 'flv'), () => `no viewer at ${at}: ${JSON.stringify(lines)}`);
    }
    const hops = await node.repl(`trace ${name}`);
    equal(hops.map(({ to }) => to), ['a.0', ...hops.slice(1).map(({ to }) => to)], 'the origin first');
    for (const at of ['b.0', 'c.0']) {
      const hop = hops.find(({ to }) => to === at);
      check(hop && hop.frames >= 10, () => JSON.stringify(hops));
      check(hop.hop_ms !== null && Math.abs(hop.hop_ms) < 500 * patience() && hop.hop_max_ms >= hop.hop_ms, () => JSON.stringify(hop));
      atMost(hop.accurate_to_ms, 500 * patience(), 'accuracy');
    }
    t.note(`at ${node.name}: ${hops.slice(1).map(({ from, to, hop_ms: ms, accurate_to_ms: right }) => `${from} > ${to} ${ms.toFixed(2)} ms (to ${right.toFixed(2)})`).join(', ')}`);
  }
  equal((await a.console('trace live/nobody')).error.code, 'not_found', 'a stream that is not there');
  equal((await a.console('paths live/nobody')).error.code, 'not_found', 'paths of it');
  await until('relaying is counted', async () => await metric(b, 'relay_streams') === 1 && await metric(b, 'store_up') === 1);
}, wait);

test('commands at other nodes, and at all; a node that does not answer is named', async (t) => {
  const cluster = await Cluster.start(t, { nodes: 3 });
  const [a, b, c] = cluster.nodes;
  const offices = await a.repl('actors directory @all');
  equal(offices.map(({ node }) => node).sort(), ['a', 'b', 'c'], 'directories');
  const [there] = await a.repl('on b actors directory');
  equal((await a.repl(`inspect ${there.addr}`)).addr, there.addr, 'inspected at its node');
  equal((await a.repl(`why ${there.addr}`)).type, 'directory', 'why, there');
  equal((await a.repl(`workers @${b.node_id}`)).length, (await b.repl('workers')).length, 'workers by id of the node');
  equal((await a.console('on b shutdown')).error.code, 'unsupported', 'what changes something');
  equal((await a.console('workers @nowhere')).error.code, 'not_found', 'no such node');
  atLeast((await a.repl('top @all')).length, 5, 'rows of top');
  process.kill((await c.worker('control')).pid, 'SIGSTOP'); // the supervisor replaces it, sooner or later
  const answer = await a.console('actors directory @all');
  check(answer.ok && answer.result.length >= 2, () => JSON.stringify(answer));
  if (answer.result.length === 2) equal(answer.silent, ['c'], 'silent');
}, wait);

test('config: who has set a key, and set for all nodes from any of them', async (t) => {
  const cluster = await Cluster.start(t, { nodes: 2, args: ['--admin-token', 'a-very-long-token-0123456789-0123456789'] });
  const [a, b] = cluster.nodes;
  const of = async (node, key) => { const { value, source } = await node.repl(`config ${key}`); return [value, source]; };
  equal(await of(a, 'node.name'), ['a', 'flag'], 'name');
  equal(await of(a, 'admin_token'), ['(secret)', 'flag'], 'a secret');
  equal((await of(a, 'rtmp.port'))[1], 'flag', 'a port');
  equal(await of(b, 'mesh.advertise'), ['', 'default'], 'what nobody has set');
  equal(await a.repl('config set log.level debug'), { set: 'log.level', in: 'etcd' }, 'set');
  for (const node of [a, b]) await until(`${node.name} has it`, async () => `${await of(node, 'log.level')}` === 'debug,cluster');
  equal((await a.repl('config log.level @all')).map(({ node, value }) => [node, value]).sort(), [['a', 'debug'], ['b', 'debug']], 'of all');
  await b.repl('config unset log.level');
  await until('a has its own again', async () => (await of(a, 'log.level'))[1] === 'default');
  for (const [command, code, text] of [['config set http.port 80', 'config', 'restart'], ['config set admin_token x', 'config', 'secret'],
    ['config set log.level loud', 'config', 'expected'], ['config @nowhere', 'not_found', 'no such node'], ['on b config unset log.level', 'unsupported', 'only tell']]) {
    const { ok, error } = await a.console(command);
    check(!ok && error.code === code && error.message.includes(text), () => `${command}: ${JSON.stringify(error)}`);
  }
}, wait);

async function photograph(page, name) {
  const path = join(directory, `page-map-${name}.png`);
  await page.screenshot({ path, fullPage: true });
  atLeast(statSync(path).size, 10000, `bytes of ${path}`);
}

async function checkLayout(page) {
  const [scroll, client] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  equal(scroll, client, 'width of what scrolls');
}

const counted = (page, selector, count) => until(`${count} of ${selector}`, async () => await page.locator(selector).count() === count, 30000);

test('the map: nodes, links, a stream over them, by keyboard, on a desk and a phone, by light and in the dark', async (t) => {
  const { name, a, b } = await watched(t);
  const page = await openPage(t, b, '/', { ...desk, colorScheme: 'light' });
  await page.locator('.nav a[data-view=map]').click();
  await counted(page, '#map .node-mark', 3);
  await counted(page, '#map-nodes tr', 3);
  await page.selectOption('#map-stream', name);
  await counted(page, '#map .hop', 2);
  await counted(page, '#map .node-mark.origin', 1);
  await until('links are drawn', async () => await page.locator('#map .link').count() >= 2, 30000);
  const table = await page.locator('#map-nodes').innerText();
  check(/a\s+eu\s+core\s+up[^]*published here/.test(table) && /this node[^]*from [ac]/.test(table), () => table);
  check(/a → b\s+[\d.]+ ms/.test(await page.locator('#map-links').innerText()), 'a link in the table');
  // by keyboard
  const mark = page.locator(`#map .node-mark[data-node="${a.node_id}"]`);
  check(/^a, region eu, core/.test(await mark.getAttribute('aria-label')), 'what a reader of screens hears');
  await mark.focus();
  await page.keyboard.press('Enter');
  await page.locator('#map-chosen:not([hidden])').waitFor();
  equal(await page.locator('#map-chosen-name').innerText(), 'a', 'chosen');
  equal(await mark.getAttribute('aria-pressed'), 'true', 'pressed');
  await page.keyboard.press('Enter');
  await page.locator('#map-chosen[hidden]').waitFor({ state: 'attached' });
  await checkLayout(page);
  await photograph(page, 'desk-light');
  equal(page.problems, [], 'errors in the browser console');
  for (const [what, device, colorScheme] of [['phone-dark', phone, 'dark'], ['phone-light', phone, 'light'], ['desk-dark', desk, 'dark']]) {
    const other = await openPage(t, b, '/#/map', { ...device, colorScheme });
    await counted(other, '#map .node-mark', 3);
    await counted(other, '#map .hop', 2);
    await checkLayout(other);
    await photograph(other, what);
    equal(other.problems, [], 'errors in the browser console');
    await other.close();
  }
}, wait);

test('the map: a node that is lost stays on it, and what happens is told', async (t) => {
  const { name, b, c } = await watched(t, { regions: ['eu', 'us', 'asia'] });
  const page = await openPage(t, b, '/#/map', desk);
  await counted(page, '#map .node-mark.has', 3);
  process.kill(c.pid, 'SIGKILL');
  await until('c is down', async () => /c is (doubtful|down)/.test(await page.locator('#map-events').innerText()), 40000);
  await counted(page, '#map .node-mark', 3);
  await until(`c has ${name} no more`, async () => await page.locator('#map .node-mark.has').count() === 2, 40000);
  await photograph(page, 'lost');
}, wait);

const nodes = ['a', 'b', 'c'].map((name) => ({ name, region: 'here', tier: name === 'b' ? 'core' : 'edge', cost: 0, capacity_bps: 0 }));
const overB = { nodes, links: [...between('a', 'b', 10), ...between('b', 'c', 10), ...between('a', 'c', 60, 3, 3)] };

test('that a stream comes another way now, why, and from another publisher: on the map, by `changes`', async (t) => {
  const lab = await Lab.start(t, { topology: overB });
  const name = freshName('switched');
  await lab.planIs('a', 'c', ['a', 'b', 'c']);
  const first = await lab.publish(t, 'a', name);
  await moreVideo(lab.watch(t, 'c', name), 10, 30000);
  await lab.chainIs('c', name, ['c', 'b', 'a']);
  const loopback = `http://127.0.0.1:${lab.node('c').ready.http.split(':').at(-1)}`; // an operator's
  const page = await openPage(t, { url: loopback }, '/#/map', { ...desk, browser: await browserInside(t, lab.internet, 'c', loopback) });
  await counted(page, '#map .node-mark', 3);
  const told = (expected) => until(`the map tells: ${expected}`, async () => expected.test(await page.locator('#map-events').innerText()), 20000);

  await lab.link('b', 'c', { down: 1 });
  await told(new RegExp(`c has ${name} from a now, no longer from b: the (link is (doubtful|down)|node is lost)`));
  await told(/c reaches a straight now, no longer by b > a: the link is (doubtful|down)/);
  await first.stop();
  await lab.publish(t, 'c', name);
  await told(new RegExp(`${name} is published at c now, no longer at a`));
  equal(page.problems, [], 'errors in the browser console');

  const changes = await lab.node('a').repl(`changes ${name}`);
  const ways = changes.filter(({ node }) => node === 'c').map(({ before, after }) => `${before} to ${after}`);
  check(ways.includes('b > a to a') && ways.at(-1) === 'a to c', () => JSON.stringify(changes));
  atMost(Math.abs(Date.now() - Date.parse(changes.at(-1).at)), 60000, 'milliseconds since the last one');
}, { skip: Network.lacks(), timeout_ms: 150000 });

test('a node by itself has no map', async (t) => {
  const node = await sharedNode();
  const page = await openPage(t, node, '/');
  await until('the node is shown', async () => /ready/.test(await page.locator('#node').innerText()));
  equal(await page.locator('.nav a[data-view=map]').isVisible(), false, 'link to the map');
  equal((await node.repl('map')).nodes.length, 1, 'nodes');
});
