// SPDX-License-Identifier: Apache-2.0
// /metrics by the rules of the text format and the conventions of Prometheus, and the dashboard that
// reads it.

import { readFileSync } from 'node:fs';
import { atLeast, check, equal, test, until } from './harness.mjs';
import { openPage } from './browser.mjs';
import { moreVideo, playRtmp, publishRtmp, watchFlv } from './media.mjs';
import { parseMetrics } from './metrics.mjs';
import { freshName, sharedNode, startNode } from './node.mjs';

const root = new URL('../../', import.meta.url);
const SERIES_A_NAME_MAX = 600;

function checkConventions({ name, type, help, samples }, series = SERIES_A_NAME_MAX) {
  check(/^millrace_/.test(name), `${name}: prefix`);
  check(/^[A-Z].*\.$/.test(help), `${name}: help is a sentence: ${help}`);
  equal(name.endsWith('_total'), type === 'counter', `${name}: _total and counter`);
  check(!/_(count|sum|bucket)$/.test(name), `${name}: reserved ending`);
  check(!/(_ms|_us|_milliseconds|_microseconds|_kb|_minutes)(_|$)/.test(name), `${name}: base units`);
  if (type === 'histogram') check(/_seconds$/.test(name), `${name}: unit`);
  check(samples.length && samples.length <= series, `${name}: ${samples.length} series`);
}

/** Buckets only grow, the last is +Inf and equals the count. */
function checkHistogram({ name, samples }) {
  const series = new Map();
  for (const { name: part, labels: { le, ...labels }, value } of samples) {
    const key = JSON.stringify(labels);
    const one = series.get(key) ?? series.set(key, { buckets: [] }).get(key);
    if (part.endsWith('_bucket')) one.buckets.push([le === '+Inf' ? Infinity : Number(le), value]);
    else one[part.slice(name.length + 1)] = value;
  }
  for (const { buckets, sum, count } of series.values()) {
    for (let i = 1; i < buckets.length; i++)
      check(buckets[i][0] > buckets[i - 1][0] && buckets[i][1] >= buckets[i - 1][1], `${name}: buckets`);
    equal(buckets.at(-1), [Infinity, count].map((each) => each), `${name}: the last bucket`);
    check(sum >= 0 && (count || !sum), `${name}: sum`);
  }
}

test('/metrics: every line, name, type and label as Prometheus has them', async () => {
  const node = await sharedNode();
  const answer = await node.get('/metrics');
  equal(answer.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8', 'content type');
  const families = Object.values(parseMetrics(answer.text));
  atLeast(families.length, 40, 'families');
  for (const family of families) {
    checkConventions(family);
    if (family.type === 'histogram') checkHistogram(family);
    else for (const { labels } of family.samples)
      check(family.name === 'millrace_build_info' || (/^(control|media|spare|helper|holder)$/.test(labels.role) && /^\d+$/.test(labels.index)), family.name);
  }
  const byName = parseMetrics(answer.text);
  for (const [name, roles] of [['mails_out_total', ['control', 'media', 'helper']], ['sockets_held', ['holder']]])
    for (const role of roles)
      check(byName[`millrace_${name}`].samples.some(({ labels }) => labels.role === role), `${name} of ${role}`);
});

test('/metrics: first picture and lag of viewers by RTMP', async (t) => {
  const node = await startNode(t);
  const counts = async () => {
    const families = parseMetrics((await node.get('/metrics')).text);
    return ['first_picture_seconds', 'viewer_lag_seconds'].map((name) => families[`millrace_${name}`].samples.find((sample) =>
      sample.name.endsWith('_count') && sample.labels.protocol === 'rtmp').value);
  };
  const name = freshName('by-rtmp');
  await publishRtmp(t, node, name);
  equal(await counts(), [0, 0], 'before anybody plays');
  playRtmp(t, `${node.rtmp}/${name}`);
  await until('its lag is counted', async () => (await counts())[1] > 1);
  equal((await counts())[0], 1, 'first pictures');
});

test('/metrics: counters only grow, and what happens is counted', async (t) => {
  const node = await sharedNode();
  const read = async () => parseMetrics((await node.get('/metrics')).text);
  const total = (families, name, part = '') => families[`millrace_${name}`].samples
    .filter((sample) => sample.name === `millrace_${name}${part}`).reduce((sum, { value }) => sum + value, 0);
  const name = freshName('counted');
  const before = await read();
  await publishRtmp(t, node, name);
  await Promise.all([0, 1, 2, 3].map(() => moreVideo(watchFlv(t, `${node.url}/${name}.flv`), 5)));
  const after = await until('all is counted', async () => {
    const now = await read();
    return total(now, 'viewer_lag_seconds', '_count') > total(before, 'viewer_lag_seconds', '_count') &&
      total(now, 'process_cpu_seconds_total') > total(before, 'process_cpu_seconds_total') &&
      total(now, 'http_requests_total') > total(before, 'http_requests_total') && now;
  });
  atLeast(total(after, 'first_picture_seconds', '_count') - total(before, 'first_picture_seconds', '_count'), 4, 'first pictures');
  atLeast(total(after, 'http_request_seconds', '_count') - total(before, 'http_request_seconds', '_count'), 4, 'requests');
  atLeast(total(after, 'process_resident_memory_bytes'), 1 << 20, 'memory');
  for (const [key, family] of Object.entries(before).filter(([, each]) => each.type === 'counter'))
    for (const { labels, value } of family.samples) {
      const same = after[key].samples.find((sample) => JSON.stringify(sample.labels) === JSON.stringify(labels));
      atLeast(same?.value ?? -1, value, `${key} ${JSON.stringify(labels)}`);
    }
});

test('docs/grafana.json: a dashboard, and each name it asks for is in /metrics with that kind of use', async () => {
  const board = JSON.parse(readFileSync(new URL('docs/grafana.json', root), 'utf8'));
  check(board.title && board.uid && board.schemaVersion >= 36, 'a dashboard');
  const families = parseMetrics((await (await sharedNode()).get('/metrics')).text);
  const types = {};
  for (const { name, type } of Object.values(families)) {
    types[name] = type;
    if (type === 'histogram') for (const part of ['bucket', 'sum', 'count']) types[`${name}_${part}`] = 'counter';
  }
  const panels = board.panels.filter(({ type }) => type !== 'row');
  atLeast(panels.length, 8, 'panels');
  equal(new Set(board.panels.map(({ id }) => id)).size, board.panels.length, 'ids');
  for (const { title, targets, datasource, gridPos } of panels) {
    check(title && datasource?.uid === '${source}' && gridPos.x + gridPos.w <= 24, `panel ${title}`);
    atLeast(targets.length, 1, title);
    for (const { expr } of targets) {
      const names = expr.match(/millrace_\w+/g);
      check(names, `${title}: ${expr}`);
      for (const name of names) {
        check(types[name], `${title}: there is no ${name}`);
        if (types[name] === 'counter') check(new RegExp(`(rate|increase)\\(${name}`).test(expr), `${title}: ${name} is a counter`);
        else check(!new RegExp(`(rate|increase)\\(${name}\\b`).test(expr), `${title}: ${name} is no counter`);
      }
    }
  }
});

test('a node of 64 workers: /metrics is whole, each process of it is there, and on the page', async (t) => {
  const workers = 64;
  // (a processor or two start them one after the other)
  const node = await startNode(t, { workers, args: ['--worker-start-ms', '60s', '--worker-stuck-ms', '30s'] });
  const spares = async () => (await node.repl('workers')).filter(({ role, state }) => role === 'spare' && state === 'ready').length;
  await until('all spares are there', async () => await spares() === workers, 30000);
  const families = parseMetrics((await node.get('/metrics')).text); // (fails at half a line)
  for (const family of Object.values(families)) checkConventions(family, 64 * SERIES_A_NAME_MAX);
  const rows = await node.repl('workers');
  const wanted = Array.from({ length: workers }, (_, i) => `${i}`);
  for (const role of ['media', 'spare', 'holder']) {
    const listed = rows.filter((row) => row.role === role).map((row) => `${row.worker}`);
    equal(listed.sort((a, b) => a - b), wanted, `${role} processes that are listed`);
  }
  for (const [name, role] of [['mails_out_total', 'media'], ['sockets_held', 'holder']]) {
    const told = families[`millrace_${name}`].samples.filter(({ labels }) => labels.role === role).map(({ labels }) => labels.index);
    equal(told.sort((a, b) => a - b), wanted, `${role} processes in /metrics`);
  }
  equal((await node.json('/api/v1/workers')).workers.length, rows.length, 'processes of the API');
  const name = freshName('sixty-four');
  await publishRtmp(t, node, name);
  await moreVideo(watchFlv(t, `${node.url}/${name}.flv`), 5);
  const page = await openPage(t, node, '/#/workers');
  await until('all of them are on the page', async () => await page.locator('#workers li').count() === rows.length, 20000);
  await until('none is without a state', async () =>
    (await page.locator('#workers li[data-key^="media."]').allInnerTexts()).filter((text) => /ready/.test(text)).length === workers);
  equal(page.problems, [], 'errors in the browser console');
}, { timeout_ms: 90000 });
