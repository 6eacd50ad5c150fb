// SPDX-License-Identifier: Apache-2.0
// `./dev bench`: runs the benchmark programs, prints their figures as a table, keeps them in
// build/bench-history.jsonl and draws how the cost of forwarding grows with the viewers. Ends with status 1
// when a figure does not reach its target.
// With MILLRACE_WRITE_DOCS=1 (and all programs) the drawing goes to docs/, and the tables of
// docs/performance.md and README.md are written anew between their markers.

import { execFileSync, spawn } from 'node:child_process';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { createInterface } from 'node:readline';

const PROGRAMS = ['forward_bench', 'setup_bench', 'takeover_bench', 'flv_bench', 'actor_bench', 'link_bench', 'mesh_bench', 'path_bench', 'hops', 'pictures'];
const WRITES_DOCS = process.env.MILLRACE_WRITE_DOCS && process.argv.length === 2;
const DRAWING = WRITES_DOCS ? 'docs/performance.svg' : 'build/bench.svg';
const HISTORY = 'build/bench-history.jsonl';

// What each row is, and what it should reach: at most a ratio to the limit of the run, at most an absolute value,
// at least a value, at least a share of the limit; `at`: the number for which that holds, where not for all. Where
// the goal is none of those, the ratio is what a quiet run has and a third more: a regression is to be seen.
const ROWS = {
  rtp_packet: ['processor time a packet to {n} WebRTC viewers', { ratio: 1.3 }],
  rtp_packet_mb: ['the same beside a limit that encrypts by libipsec-mb too', { ratio: 1.3 }],
  escrow_share: ['writing actors into the escrow, of the processor time for {n} viewers', { value: 3 }],
  looked_at: ['processor time a packet to {n} WebRTC viewers with 4 console pages, 2 top, 4 watch and 2 trace open (limit: without)', { ratio: 1.05 }],
  looked_at_out: ['a frame\'s way out with them, p50 (limit: without)', { ratio: 1.15 }],
  frame_out: ['a frame\'s way out to {n} viewers, first to last packet, p50', { ratio: 1.25 }],
  rtmp_to_rtp_p50: ['RTMP byte in to the first RTP packet out, {n} viewers, p50', { value: 0.2, at: 1 }],
  rtmp_to_rtp_p95: ['the same, p95', { value: 0.3, at: 1 }],
  post_to_connected: ['WHEP POST to DTLS done beside {n} viewers, p50', {}],
  post_to_keyframe: ['WHEP POST to whole keyframe beside {n} viewers, p50', { value: 15, at: 0 }],
  picture_p50: ['WHEP in Chromium, before its offer to the first picture painted, p50 (limit: two ends in one page)', { value: 130 }],
  picture_p95: ['the same, p95', {}],
  set_up_cpu: ['WHEP set-up to first packet beside {n} viewers at rest, processor time (limit: its DTLS handshake)', { ratio: 3, at: 0 }],
  set_ups: ['WHEP set-ups a second of one core, beside {n} viewers at rest', {}],
  memory_a_viewer: ['memory a viewer, of {n} (limit: an OpenSSL connection and two of libsrtp2)', { value: 0.05 }],
  two_workers: ['one stream, {n} viewers over two workers', { least: 1.8 }],
  two_workers_out: ['the same, a frame\'s way out, times as fast as over one (limit: two bare processes)', { share: 0.75 }],
  restore: ['{n} viewers of a killed worker restored, from the fence on, p50', { value: 200 }],
  kill_p50: ['silence of {n} viewers beyond a frame\'s time when their worker is killed (limit: without), p50', {}],
  kill_p99: ['the same, p99', { value: 10 }],
  flv_mbit: ['HTTP-FLV to {n} viewers, processor time a Mbit (limit: bare writes, gathered as much)', { value: 70, ratio: 1.6, at: 500 }],
  flv_gap: ['HTTP-FLV: longest silence of {n} viewers, p95', { value: 80, at: 500 }],
  message_local: ['actor message, same process (limit: a ring and a call)', { value: 150 }],
  message_remote: ['actor message, other process, one way', { ratio: 1.2 }],
  hop_packet: ['a packet over a link between nodes, both ends (limit: bare UDP)', { ratio: 1.7 }],
  hop_frame_p50: ['a frame of {n} packets over it, from the first send to the last packet, p50', { ratio: 1.7 }],
  hop_frame_p99: ['the same, p99', {}],
  relay_one: ['a node that hands {n} streams on to another one, a packet that leaves (limit: bare UDP)', {}],
  relay_eight: ['a node that hands {n} streams on to eight others, a packet that leaves', {}],
  relay_nexts: ['a node that hands 50 streams on to {n} others, a packet that leaves', { ratio: 2 }],
  relay_held_p50: ['how long it holds a frame for {n} others, p50', { ratio: 1.9 }],
  relay_held_p99: ['the same, p99', {}],
  message_node_kernel: ['actor message, other node: the kernel alone, against other process', { ratio: 3.5 }],
  message_node: ['actor message, other node on the same host, one way', { value: 1000 }],
  running_mail_p50: ['mail between actors of two nodes that run, one way, p50 (limit: bare ZeroMQ with CURVE, as seldom)', { value: 1000 }],
  running_mail_p99: ['the same, p99', { value: 1000 }],
  chain_streams_p50: ['a hop of a frame over three nodes that run, {n} streams, p50 (limit: a bare datagram to a process that sleeps)', {}],
  chain_streams_p99: ['the same, p99', {}],
  chain_viewers_p50: ['the hop behind the relay, one stream, {n} viewers there, p50', {}],
  chain_viewers_p99: ['the same, p99', {}],
  plan_tiers: ['a whole plan of paths for {n} nodes, 4 % of them cores', { value: 10000 }],
  plan_tiers_memory: ['memory of the plan for {n} nodes, 4 % of them cores', { value: 1024 }],
  replan_tiers: ['planned again for {n} nodes after one link has changed, median', { value: 10 }],
  replan_tiers_worst: ['the same, worst of 200', {}],
  plan_flat: ['a whole plan for {n} nodes, all of them cores with 32 links', { value: 10000 }],
  plan_flat_memory: ['memory of the plan for {n} nodes, all of them cores', { value: 1024 }],
  replan_flat: ['planned again for {n} nodes, all of them cores, median', { value: 10 }],
  replan_flat_worst: ['the same, worst of 200', {}],
  plan_tiers_step: ['longest time without a look at the mail while it plans for {n} nodes', { value: 20 }],
  plan_flat_step: ['the same, all of them cores', { value: 20 }],
};

function verdict(row, want) {
  if (want.at !== undefined && row.n !== want.at) return '';
  const missed = [
    want.ratio && row.ratio > want.ratio && `${want.ratio} x`,
    want.value && row.value > want.value && want.value,
    want.least && row.value < want.least && want.least,
    want.share && row.ratio < want.share && `${want.share} of it`].filter(Boolean);
  if (missed.length) return `no (${missed.join(', ')})`;
  return want.ratio || want.value || want.least || want.share ? 'yes' : '';
}

const failed = []; // programs; what they said until then stays

async function run(program, rows) {
  console.error(`== ${program}`);
  const [path, words] = ['hops', 'pictures'].includes(program) ? ['tests/e2e/run', [`--${program}`]] : [`build/${program}`, []];
  const child = spawn(path, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  for await (const line of createInterface({ input: child.stdout })) if (line.startsWith('{')) rows.push(JSON.parse(line));
  const status = await ended;
  if (status !== 0) failed.push(`${program} ended with status ${status}`);
}

// ---- tables

const number = (value) => (value === undefined ? '' : Number(value.toPrecision(3)).toString());
const markdown = (head, lines) =>
  [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

function cellsOf(row) {
  const [text, want] = ROWS[row.row] ?? [row.row, {}];
  return [text.replace('{n}', row.n), `${number(row.value)} ${row.unit}`, number(row.limit), number(row.ratio),
    verdict(row, want)];
}

const table = (rows) => markdown(['figure', 'here', 'limit', 'ratio', 'reached'], rows.map(cellsOf));

// What README.md shows: row and, where there are several, number.
const README = [['rtp_packet', 300], ['rtp_packet_mb', 300], ['two_workers', 300], ['two_workers_out', 300], ['frame_out', 300],
  ['rtmp_to_rtp_p50', 1], ['post_to_connected', 0], ['post_to_keyframe', 0], ['picture_p50', 0], ['set_ups', 0],
  ['memory_a_viewer', 300], ['looked_at', 300], ['flv_mbit', 500], ['flv_gap', 500], ['message_local', 0], ['message_remote', 0],
  ['message_node', 0], ['running_mail_p99', 0], ['hop_packet', 0], ['relay_one', 50], ['relay_eight', 50], ['chain_streams_p50', 10]];

function readmeTable(rows) {
  const chosen = README.map(([name, n]) => rows.find((row) => row.row === name && row.n === n)).filter(Boolean);
  return markdown(['figure', 'here', 'limit of the same run', 'ratio'],
    chosen.map((row) => cellsOf(row).slice(0, 4)));
}

function replaceBetweenMarkers(file, text) {
  const [begin, end] = ['<!-- ./dev bench writes from here … -->', '<!-- … to here -->'];
  const whole = readFileSync(file, 'utf8');
  const [from, to] = [whole.indexOf(begin), whole.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${file} has no place for the table of figures`);
  writeFileSync(file, `${whole.slice(0, from + begin.length)}\n${text}\n${whole.slice(to)}`);
}

// ---- the drawing: one panel a figure, lines over the number of viewers, streams or nodes

const WIDTH = 300;
const HEIGHT = 220;
const ACROSS = 4; // panels side by side
const MARGIN = { left: 48, right: 12, top: 34, bottom: 36 };

function panel(title, lines, unit) {
  const points = lines.flatMap((line) => line.points);
  const top = Math.max(...points.map((p) => p.y)) * 1.15;
  const right = Math.max(...points.map((p) => p.n)) * 1.05;
  const x = (n) => MARGIN.left + (n / right) * (WIDTH - MARGIN.left - MARGIN.right);
  const y = (v) => HEIGHT - MARGIN.bottom - (v / top) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const out = [`<text x="${MARGIN.left}" y="18" class="title">${title}</text>`];
  for (let i = 0; i <= 4; i++) {
    const value = (top / 4) * i;
    out.push(`<line x1="${x(0)}" x2="${x(right)}" y1="${y(value)}" y2="${y(value)}" class="grid"/>`,
      `<text x="${x(0) - 6}" y="${y(value) + 4}" class="y">${Number(value.toPrecision(2))}</text>`);
  }
  for (const n of new Set(points.map((p) => p.n)))
    out.push(`<text x="${x(n)}" y="${HEIGHT - 18}" class="x">${n}</text>`);
  out.push(`<text x="${x(right / 2)}" y="${HEIGHT - 4}" class="x">${unit}</text>`);
  const ends = lines.map((line) => line.points.at(-1).y);
  lines.forEach((line, i) => {
    const path = line.points.map((p) => `${x(p.n).toFixed(1)},${y(p.y).toFixed(1)}`).join(' ');
    const last = line.points.at(-1);
    out.push(`<polyline points="${path}" class="l${i}"/>`);
    for (const p of line.points) out.push(`<circle cx="${x(p.n)}" cy="${y(p.y)}" r="3" class="d${i}"/>`);
    out.push(`<text x="${x(last.n)}" y="${y(last.y) + (ends.some((end, j) => end > last.y || (end === last.y && j < i)) ? 16 : -8)}" class="n${i}">${line.name}</text>`);
  });
  return out.join('\n');
}

function draw(rows) {
  const line = (name, row, field, scale = 1) => ({ name,
    points: rows.filter((r) => r.row === row && r[field]).map((r) => ({ n: r.n, y: r[field] * scale })) });
  const panels = [
    ['\u00b5s of processor a packet', [line('Millrace', 'rtp_packet', 'value'), line('limit by EVP', 'rtp_packet', 'limit')]],
    ['ms from a frame\'s first to last packet', [line('Millrace', 'frame_out', 'value'), line('limit', 'frame_out', 'limit')]],
    ['kB of memory a viewer', [line('Millrace', 'memory_a_viewer', 'value', 1024), line('its libraries', 'memory_a_viewer', 'limit', 1024)]],
    ['ms from RTMP in to RTP out', [line('Millrace', 'rtmp_to_rtp_p50', 'value'), line('limit', 'rtmp_to_rtp_p50', 'limit')]],
    ['ms from POST to whole keyframe', [line('Millrace', 'post_to_keyframe', 'value'), line('limit', 'post_to_keyframe', 'limit')], 'viewers there'],
    ['\u00b5s of processor a set-up', [line('Millrace', 'set_up_cpu', 'value'), line('its DTLS', 'set_up_cpu', 'limit')], 'viewers there'],
    ['\u00b5s of processor a Mbit of HTTP-FLV', [line('Millrace', 'flv_mbit', 'value'), line('bare writes', 'flv_mbit', 'limit')]],
    ['\u00b5s a packet that a relay sends', [line('a node after it', 'relay_one', 'value'), line('bare UDP', 'relay_one', 'limit')], 'streams'],
    ['the same, 50 streams', [line('Millrace', 'relay_nexts', 'value'), line('bare UDP', 'relay_nexts', 'limit')], 'nodes after it'],
    ['\u00b5s of a hop, three nodes that run', [line('p99', 'chain_streams_p99', 'value'), line('p50', 'chain_streams_p50', 'value')], 'streams'],
    ['behind a relay, one stream', [line('p99', 'chain_viewers_p99', 'value'), line('p50', 'chain_viewers_p50', 'value')], 'viewers at the relay'],
    ['s to plan all paths', [line('4 % cores', 'plan_tiers', 'value', 0.001), line('all cores', 'plan_flat', 'value', 0.001)], 'nodes'],
    ['ms after one link has changed', [line('4 % cores', 'replan_tiers', 'value'), line('all cores', 'replan_flat', 'value')], 'nodes'],
  ].map(([title, lines, unit = 'viewers']) => ({ title, unit, lines: lines.filter((l) => l.points.length) }))
    .filter(({ lines }) => lines.length)
    .map(({ title, unit, lines }, i) => `<g transform="translate(${(i % ACROSS) * WIDTH} ${Math.floor(i / ACROSS) * HEIGHT})">
${panel(title, lines, unit)}
</g>`);
  const style = `text{font:12px sans-serif;fill:#444}.title{font-weight:bold}.y{text-anchor:end;font-size:11px}
.x{text-anchor:middle;font-size:11px}.grid{stroke:#ddd}polyline{fill:none;stroke-width:2}.l0{stroke:#0b6e99}
.l1{stroke:#b5651d;stroke-dasharray:5 4}.d0{fill:#0b6e99}.d1{fill:#b5651d}.n0{fill:#0b6e99;text-anchor:end}
.n1{fill:#b5651d;text-anchor:end}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH * Math.min(panels.length, ACROSS)} ${HEIGHT * Math.ceil(panels.length / ACROSS)}">
<style>${style}</style><rect width="100%" height="100%" fill="#fff"/>
${panels.join('\n')}
</svg>
`;
}

const rows = [];
for (const program of process.argv.length > 2 ? process.argv.slice(2) : PROGRAMS) await run(program, rows);
console.log(table(rows));
const commit = execFileSync('git', ['describe', '--always', '--dirty'], { encoding: 'utf8' }).trim();
const line = { time: new Date().toISOString(), commit, cpu: cpus()[0].model, cores: cpus().length, load: loadavg()[0], rows };
appendFileSync(HISTORY, `${JSON.stringify(line)}\n`);
if (rows.some((row) => ['rtp_packet', 'set_up_cpu', 'flv_mbit', 'relay_one', 'chain_streams_p50', 'plan_tiers'].includes(row.row))) {
  writeFileSync(DRAWING, draw(rows));
  console.error(`drawn: ${DRAWING}; kept: ${HISTORY}`);
}
if (WRITES_DOCS && !failed.length) {
  const where = `${line.time.slice(0, 10)}, ${line.cores} processors (${line.cpu.trim()}), load ${line.load.toFixed(1)}:`;
  replaceBetweenMarkers('docs/performance.md', `${where}\n\n${table(rows)}`);
  replaceBetweenMarkers('README.md', `${where}\n\n${readmeTable(rows)}`);
}
const missed = rows.filter((row) => verdict(row, ROWS[row.row]?.[1] ?? {}).startsWith('no'));
for (const row of missed) console.error(`not reached: ${cellsOf(row)[0]}`);
for (const text of failed) console.error(`failed: ${text}`);
process.exitCode = missed.length || failed.length ? 1 : 0;
