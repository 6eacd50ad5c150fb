// SPDX-License-Identifier: Apache-2.0
// The live console in use: what goes on (watch, trace), sending, finding out why, draining, and the
// terminal with its completion and history.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { atLeast, check, directory, equal, RUN_ID, test, until } from './harness.mjs';
import { publishRtmp, pushRtmp, watchFlv } from './media.mjs';
import { freshName, millrace, program, sharedNode, startNode } from './node.mjs';
import { spared } from './takeover.mjs';

const sdp = (name) => readFileSync(new URL(`../data/sdp/${name}.sdp`, import.meta.url), 'utf8');
const offer = sdp('chrome156-recvonly');

/** A console that stays: `lines` are the documents it has printed. */
function follow(t, node, command) {
  const child = spawn(program, ['repl', '--connect', node.runDirectory, '--json', '-e', command],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, E2E_RUN: RUN_ID } });
  const state = { lines: [], status: null };
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop();
    for (const line of parts) state.lines.push(JSON.parse(line));
  });
  child.once('exit', (code) => { state.status = code; });
  t.defer(() => child.kill('SIGKILL'));
  return state;
}

async function actorOf(node, type, name) {
  return until(`a ${type} of ${name}`, async () => (await node.repl(`actors ${type} where name ~ ${name}`))[0]);
}

test('lists: conditions, pages, help of one command', async (t) => {
  const node = await sharedNode();
  const name = freshName('lists');
  await publishRtmp(t, node, name);
  const stream = await actorOf(node, 'stream', name);
  equal((await node.repl(`actors stream where name ~ ${name} and viewers < 1`)).length, 1, 'both hold');
  equal((await node.repl(`actors stream where name ~ ${name} and viewers > 1`)).length, 0, 'one does not');
  equal((await node.repl(`actors where addr = ${stream.addr}`)).length, 1, 'by address');
  equal(await node.repl('actors session where rtt_ms > 100000'), [], 'a field in microseconds, asked for in milliseconds');
  const all = (await node.repl('actors')).map((row) => row.addr).sort();
  const paged = [];
  for (let after = ''; ;) {
    const page = await node.console(`actors ${after} limit 3`);
    check(page.ok && page.result.length <= 3, () => JSON.stringify(page));
    paged.push(...page.result.map((row) => row.addr));
    if (!page.next) break;
    after = `after ${page.next}`;
  }
  equal(new Set(paged).size, paged.length, 'no actor twice');
  // offices are always there; sessions of other tests may come and go
  for (const addr of all.filter((one) => /00000000.$/.test(one))) check(paged.includes(addr), `${addr} in a page`);
  const help = await node.repl('help trace');
  check(help.command === 'trace' && help.example.startsWith('trace '), () => JSON.stringify(help));
});

test('the API lists actors in pages', async () => {
  const node = await sharedNode();
  const seen = [];
  for (let path = '/api/v1/actors?limit=4'; ;) {
    const page = await node.json(path);
    check(page.actors.length <= 4, () => JSON.stringify(page));
    seen.push(...page.actors.map((row) => row.addr));
    if (!page.next) break;
    path = `/api/v1/actors?limit=4&after=${page.next}`;
  }
  equal(new Set(seen).size, seen.length, 'no actor twice');
  const one = await node.json('/api/v1/actors?type=directory');
  equal(one.actors.length, 1, 'of one type');
  check(seen.includes(one.actors[0].addr), 'in a page');
});

test('watch: the state, then what changes, then the end; one document a line', async (t) => {
  const node = await sharedNode();
  const name = freshName('watch');
  const publisher = await publishRtmp(t, node, name);
  const stream = await actorOf(node, 'stream', name);
  const watch = follow(t, node, `watch ${stream.addr}`);
  await until('changes', () => watch.lines.length > 3);
  equal(watch.lines[0].result.state.name, name, 'the first document is the whole state');
  check(watch.lines.every((line) => line.ok && line.more), 'more to come');
  check(watch.lines[2].result.changed.packets > watch.lines[1].result.changed.packets, () => JSON.stringify(watch.lines[2]));
  check(!('name' in watch.lines[1].result.changed), 'what did not change is not told');
  const session = await actorOf(node, 'rtmp_session', name);
  const other = follow(t, node, `watch ${session.addr}`);
  await until('the first document', () => other.lines.length);
  publisher.stop();
  await until('the end of the session', () => other.status === 0);
  const last = other.lines.at(-1);
  check(last.ok && last.result.ended && !last.more, () => JSON.stringify(last));
});

test('trace: mail in and out, filtered, secrets blanked', async (t) => {
  const node = await sharedNode();
  const name = freshName('trace');
  await publishRtmp(t, node, name);
  const stream = await actorOf(node, 'stream', name);
  const all = follow(t, node, `trace ${stream.addr}`);
  const some = follow(t, node, `trace ${stream.addr} publish failed`);
  await until('both began', () => all.lines.length && some.lines.length);
  await node.repl(`send ${stream.addr} subscribe stream_name=${name} feed=true`);
  await node.console(`send ${stream.addr} publish stream_name=${name} resume=correct-horse`);
  await until('the answer to publish', () => some.lines.some((line) => line.result.message === 'failed'));
  await until('the answer to subscribe', () => all.lines.some((line) => line.result.message === 'subscribed'));
  const asked = all.lines.find((line) => line.result.message === 'subscribe').result;
  check(asked.direction === 'in' && asked.kind === 'request' && asked.fields.stream_name === name, () => JSON.stringify(asked));
  const publish = some.lines.find((line) => line.result.message === 'publish').result;
  equal(publish.fields.resume, '***', 'a secret');
  check(!JSON.stringify(all.lines).includes('correct-horse'), 'a secret in the trace');
  equal(some.lines.filter((line) => line.result.message && !/^(publish|failed)$/.test(line.result.message)), [], 'not asked for');
});

test('send: checked by the schema, answered', async (t) => {
  const node = await sharedNode();
  const directoryOffice = (await node.repl('actors directory'))[0].addr;
  const name = freshName('send');
  await publishRtmp(t, node, name);
  const found = await node.repl(`send ${directoryOffice} name_lookup name=stream/${name}`);
  check(found.answer === 'name_found' && found.fields.name === `stream/${name}`, () => JSON.stringify(found));
  const missing = await node.console(`send ${directoryOffice} name_lookup name=stream/none`);
  equal(missing.error.code, 'not_found', 'refused by the actor');
});

test('why and paths: of sessions, streams, muxers', async (t) => {
  const node = await sharedNode();
  const name = freshName('why');
  const publisher = await publishRtmp(t, node, name);
  const viewer = watchFlv(t, `${node.url}/${name}.flv`);
  await until('frames', () => viewer.video > 0);
  const response = await node.post(`/whep/${name}`, offer);
  equal(response.status, 201, 'WHEP');
  const session = await actorOf(node, 'session', name);
  const waits = (await node.repl(`why ${session.addr}`)).waits.join('\n');
  check(/^ICE: no connectivity check/m.test(waits), waits);
  for (const type of ['stream', 'flv_mux', 'http_connection', 'rtmp_session']) {
    const field = type === 'http_connection' ? 'stream' : 'name';
    const [actor] = await node.repl(`actors ${type} where ${field} ~ ${name}`);
    const why = await node.repl(`why ${actor.addr}`);
    check(why.type === type && Array.isArray(why.waits) && Array.isArray(why.drops) && why.notes.length,
      () => JSON.stringify(why));
  }
  const [root] = await node.repl(`paths ${name}`);
  check(root.part === 'publisher' && root.type === 'rtmp_session', () => JSON.stringify(root));
  equal(root.children.map((row) => row.part), ['origin'], 'below the publisher');
  const parts = JSON.stringify(root);
  check(/"muxer"/.test(parts) && /"type":"http_connection"/.test(parts) && parts.includes(session.addr), () => parts);
  publisher.stop();
  await until('the stream waits for its publisher', async () => {
    const stream = (await node.repl(`actors stream where name ~ ${name}`))[0];
    return stream && /^publisher: /m.test((await node.repl(`why ${stream.addr}`)).waits.join('\n'));
  });
});

test('drain: no new sessions by any protocol, those there go on; drain off undoes it', async (t) => {
  const node = await startNode(t, { workers: 2 });
  await publishRtmp(t, node, 'live/drain');
  const viewer = watchFlv(t, `${node.url}/live/drain.flv`);
  await until('frames', () => viewer.video > 0);
  equal((await node.repl('drain')).draining, true, 'draining');
  equal((await node.repl('nodes'))[0].state, 'draining', 'state of the node');
  equal((await node.get('/readyz')).status, 503, '/readyz');
  for (const path of ['/whip/live/new', '/whep/live/drain']) {
    const refused = await node.post(path, offer);
    equal(refused.status, 503, path);
    atLeast(Number(refused.headers['retry-after']), 1, 'Retry-After');
  }
  equal((await node.get('/live/drain.flv')).status, 503, 'HTTP-FLV');
  pushRtmp(t, node.rtmp, 'live/new');
  await until('RTMP is refused', async () =>
    (await node.repl('actors rtmp_office where refused_closed > 0')).length);
  const before = viewer.video;
  await until('the viewer goes on', () => viewer.video > before + 10);
  const { pid } = await node.worker('media', 1);
  process.kill(pid, 'SIGKILL');
  await until('a new worker', async () => {
    const worker = await node.worker('media', 1);
    return worker.pid !== pid && worker.state === 'ready';
  });
  await until('which drains too', async () => (await node.repl('actors http_office where closed = true')).length === 2);
  equal((await node.repl('drain off')).draining, false, 'no longer draining');
  await until('/readyz', async () => (await node.get('/readyz')).status === 200);
  // (the publisher may have been at the worker that was killed)
  await until('WHIP again', async () => (await node.post('/whip/live/again', sdp('chrome156-sendonly'))).status === 201);
});

const wrong = [
  ['actors where', 'format'], ['actors session where nothing = 1', 'format'], ['actors stream where resume = x', 'format'],
  ['actors where mailbox = 1 and', 'format'], ['actors limit x', 'format'], ['actors limit 0', 'format'],
  ['actors a b', 'format'], ['nodes x', 'format'], ['tree x', 'format'], ['help nothing', 'not_found'],
  ['top sideways', 'format'], ['paths', 'format'], ['paths live', 'format'], ['paths live/none', 'not_found'],
  ['why', 'format'], ['why x', 'format'], ['why 1/2', 'not_found'], ['watch', 'format'], ['watch x', 'format'],
  ['watch 1/2', 'not_found'], ['watch ADDR x', 'format'], ['trace', 'format'], ['trace 1/2', 'not_found'],
  ['trace ADDR nonsense', 'not_found'], ['send', 'format'], ['send ADDR', 'format'], ['send ADDR nonsense', 'not_found'],
  ['send ADDR place', 'unsupported'], ['send ADDR name_lookup nothing=1', 'format'],
  ['send ADDR name_lookup wait_ms=x', 'format'], ['send ADDR name_lookup name', 'format'],
  ['send ADDR name_lookup name="x', 'format'], ['send 1/2 stop', 'not_found'], ['send DEAD place', 'dead'],
  ['watch DEAD', 'not_found'], ['why DEAD', 'not_found'], ['drain x', 'format'], ['shutdown x', 'format'],
];
test('wrong words are told at once, with what was expected', async () => {
  const node = await sharedNode();
  const address = (await node.repl('actors directory'))[0].addr;
  const dead = address.replace(/0002$/, 'ffff');
  for (const [template, code] of wrong) {
    const command = template.replace('ADDR', address).replace('DEAD', dead);
    const answer = await node.console(command);
    check(!answer.ok && answer.error.code === code && answer.error.message, () => `${command}: ${JSON.stringify(answer)}`);
  }
});

test('no command takes nonsense', async () => {
  const node = await sharedNode();
  const commands = (await node.repl('help')).map(({ command }) => command);
  atLeast(commands.length, 30, 'commands');
  for (const command of commands) {
    const { ok, error } = await node.console(`${command} no/sense "at all" 99999999999999999999 <>`);
    check(!ok && error.code && error.message, () => `${command} took nonsense`);
    check(!['timeout', 'internal'].includes(error.code), () => `${command}: ${JSON.stringify(error)}`);
  }
});

test('top: the busiest first, and by mails', async (t) => {
  const node = await sharedNode();
  await publishRtmp(t, node, freshName('top'));
  const rows = await node.repl('top');
  atLeast(rows.length, 3, 'rows');
  check(rows.every((row, i) => !i || rows[i - 1].cpu >= row.cpu), 'in order of processor time');
  for (const key of ['addr', 'type', 'name', 'cpu', 'mails_per_s', 'mailbox']) check(key in rows[0], `no ${key}`);
  const mails = await node.repl('top mails');
  check(mails.every((row, i) => !i || mails[i - 1].mails_per_s >= row.mails_per_s), 'in order of mails');
});

test('a watch goes on when its worker is killed, ends with an error with a helper; one whose console dies leaves nothing behind', async (t) => {
  const node = await startNode(t, { workers: 1 });
  await spared(node);
  const [office] = await node.repl('actors media_office');
  const watch = follow(t, node, `watch ${office.addr}`);
  const [transcoding] = await node.repl('actors transcode_office');
  const helped = follow(t, node, `watch ${transcoding.addr}`);
  await until('they began', () => watch.lines.length && helped.lines.length);
  process.kill((await node.worker('helper')).pid, 'SIGKILL');
  await until('its end', () => helped.status !== null);
  equal(helped.status, 1, 'exit status');
  equal(helped.lines.at(-1).error?.code, 'dead', 'the last document');
  const { pid } = await node.worker('media', 0);
  const seen = watch.lines.length;
  process.kill(pid, 'SIGKILL');
  await until('the next worker', async () => {
    const now = await node.worker('media', 0);
    return now.pid !== pid && now.state === 'ready';
  });
  await publishRtmp(t, node, freshName('watched'));
  await until('what changed after it', () => watch.lines.length > seen);
  equal(watch.status, null, 'exit status of one that goes on');
  const other = follow(t, node, `trace ${office.addr}`);
  await until('it began', () => other.lines.length);
  const followers = async () => {
    const [row] = await node.repl('actors process_office where role = media');
    return (await node.repl(`inspect ${row.addr}`)).state.follows.length;
  };
  equal(await followers(), 2, 'followers');
  process.kill((await node.worker('control')).pid, 'SIGKILL');
  await until('the console is gone', () => other.status !== null);
  equal(other.status, 3, 'exit status');
  await until('nobody follows', async () => (await followers()) === 0);
});

/** `millrace repl` on a terminal: type() and what is on the screen. */
function terminal(t, node, state) {
  /* exec: a shell that waited for it would be interrupted by each Ctrl-C, too */
  const command = `exec ${program} repl --connect ${node.runDirectory}`;
  const child = spawn('script', ['-qfec', command, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, E2E_RUN: RUN_ID, TERM: 'xterm', XDG_STATE_HOME: state, SHELL: '/bin/sh' },
  });
  const screen = { text: '', ended: false };
  child.stdout.setEncoding('utf8').on('data', (text) => { screen.text += text; });
  child.once('exit', (status) => { screen.ended = true; screen.status = status; });
  t.defer(() => child.kill('SIGKILL'));
  screen.type = async (keys, expected) => {
    const from = screen.text.length;
    child.stdin.write(keys);
    await until(`${JSON.stringify(keys)} shows ${expected}`, () => expected.test(screen.text.slice(from)))
      .catch((error) => { throw new Error(`${error.message}\n${screen.text.slice(from)}`); });
    return screen.text.slice(from);
  };
  return screen;
}

test('on a terminal: Tab, Ctrl-C, history', async (t) => {
  const node = await sharedNode();
  const name = freshName(`t${Date.now().toString(36)}`); // no other begins so
  await publishRtmp(t, node, name);
  const stream = await actorOf(node, 'stream', name);
  const state = mkdtempSync(join(directory, 'state-'));
  const screen = terminal(t, node, state);
  await until('the prompt', () => screen.text.includes('millrace> '));
  // the screen shows what Tab added
  await screen.type('wor\t', /kers /);
  await screen.type('\n', /control/);
  await screen.type('actors http_c\t', /onnection /); // a type
  await screen.type('where requ\t', /est/); // a field of its state
  await screen.type('\x03', /millrace> $/);
  await screen.type(`inspect ${stream.addr.slice(0, 5)}\t`, new RegExp(stream.addr.slice(5, stream.addr.indexOf('/') + 1)));
  await screen.type('\x03', /millrace> $/);
  await screen.type(`inspect ${stream.addr.split('/')[0]}/\t\t`, /office\/directory/); // addresses, with what they are
  await screen.type('\x03', /millrace> $/);
  await screen.type(`send ${stream.addr} name_look\t`, /up /); // a message
  await screen.type('newer\t', /_than=/); // its field
  await screen.type('\x03', /millrace> $/);
  const half = name.indexOf('-');
  await screen.type(`paths ${name.slice(0, half)}\t`, new RegExp(name.slice(half)));
  await screen.type('\x03', /millrace> $/);
  await screen.type(`watch ${stream.addr}\n`, /live maps=|packets=/);
  await screen.type('\x03', /events +\d+[^]*millrace> $/);
  await screen.type(`send ${stream.addr} publish resume=correct-horse\n`, /error: /);
  await screen.type('top\n', /\[2J[^]*cpu/);
  await screen.type('\x03', /millrace> $/);
  await screen.type('exit\n', /exit/);
  await until('the end', () => screen.ended);
  equal(screen.status, 0, 'exit status');
  const file = join(state, 'millrace', 'repl_history');
  equal(statSync(file).mode & 0o777, 0o600, 'mode of the history');
  const kept = readFileSync(file, 'utf8');
  check(kept.includes('workers') && kept.includes('resume=***') && !kept.includes('correct-horse'), kept);
  const again = terminal(t, node, state);
  await until('the prompt', () => again.text.includes('millrace> '));
  await again.type('\x1b[A\x1b[A', /top/); // the line before `exit`
  again.type('\x03exit\n', /exit/);
  await until('the end', () => again.ended);
});

test('from a pipe: a follow is ended by the end of what is followed, the next command runs', async (t) => {
  const node = await sharedNode();
  const name = freshName('pipe');
  const publisher = await publishRtmp(t, node, name);
  const session = await actorOf(node, 'rtmp_session', name);
  const console = millrace(['repl', '--connect', node.runDirectory, '--json'], { input: `watch ${session.addr}\nnodes\n` });
  await until('it is watched', async () => (await node.repl('actors repl where follows > 0')).length);
  publisher.stop();
  const { out, status } = await console;
  equal(status, 0, 'exit status');
  const lines = out.trim().split('\n').map((line) => JSON.parse(line));
  check(lines.at(-2).result.ended && lines.at(-1).result[0].node, () => out.slice(-600));
});
