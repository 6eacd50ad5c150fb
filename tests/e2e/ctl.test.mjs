// SPDX-License-Identifier: Apache-2.0
// `millrace ctl`: a node is looked at, drained, and given more and fewer workers, while people publish
// and watch. (upgrade.test.mjs: it goes on with another program.)

import dgram from 'node:dgram';
import { join } from 'node:path';
import { check, equal, test, until } from './harness.mjs';
import { ctl, done, fails, pidsOf, rowsOf, sessionsOn, watchers, watching } from './ctl.mjs';
import { moreVideo, publishRtmp, watchFlv } from './media.mjs';
import { freshName, millrace, sharedNode, startNode } from './node.mjs';
import { spared } from './takeover.mjs';

const ENCODERS_MAX = 12;

// ---- words -------------------------------------------------------------------------------------

const wrong = [
  [[], 'expected a command'],
  [['fly'], 'no such command: fly'],
  [['status', 'now'], 'unexpected "now"'],
  [['status', '--wait', '1'], 'does not take --wait'],
  [['drain', 'maybe'], 'drain [on|off] [worker N | node NAME]'],
  [['drain', 'worker'], 'drain [on|off] [worker N | node NAME]'],
  [['drain', 'worker', '64'], 'drain [on|off] [worker N | node NAME]'],
  [['drain', 'off', 'worker', '-1'], 'unexpected "-1"'],
  [['drain', '--wait', 'long'], '--wait: expected seconds'],
  [['drain', '--wait'], 'unexpected "--wait"'],
  [['drain', '--binary', '/bin/true'], 'does not take --binary'],
  [['drain', 'node'], 'drain [on|off] [worker N | node NAME]'],
  [['drain', 'off', '--stop'], 'only a whole node'],
  [['drain', 'worker', '0', '--stop'], 'only a whole node'],
  [['status', '--stop'], 'does not take --stop'],
  [['workers'], 'workers N, from 1 to 64'],
  [['workers', '0'], 'workers N, from 1 to 64'],
  [['workers', '65'], 'workers N, from 1 to 64'],
  [['workers', '2x'], 'workers N, from 1 to 64'],
  [['upgrade', '--binary', '/nowhere/millrace'], 'there is no /nowhere/millrace'],
  [['upgrade', 'now'], 'unexpected "now"'],
  [['--colour', 'status'], 'unexpected "--colour"'],
];

test('wrong words are told, with exit status 2', async () => {
  const node = await sharedNode();
  for (const [args, text] of wrong) {
    const { status, out, err } = await millrace(['ctl', '--connect', node.runDirectory, ...args]);
    equal([status, out], [2, ''], `ctl ${args.join(' ')}: exit status, output`);
    check(err.includes(text), () => `ctl ${args.join(' ')}: no "${text}" in ${err}`);
  }
});

test('help, no node there, what the node refuses', async (t) => {
  const node = await sharedNode();
  const help = await millrace(['ctl', '--help']);
  equal(help.status, 0, 'help: exit status');
  for (const word of ['status', 'drain', 'workers', 'upgrade', '--wait', '--json']) check(help.out.includes(word), `no ${word} in the help`);
  const { status, err } = await millrace(['ctl', '--connect', join(node.base, 'nothing'), 'status']);
  equal(status, 3, 'nobody there: exit status');
  check(err.includes('no node runs'), () => err);
  equal((await fails(t, node, 'drain', 'worker', '9')).code, 'not_found', 'a worker that is not there');
  equal((await fails(t, node, 'drain', 'node', 'elsewhere')).code, 'not_found', 'a node that is not there');
  for (const command of ['scale', 'scale 0', 'scale 65', 'scale 3 wait x', 'upgrade millrace', 'upgrade x/y', 'operation before'])
    equal((await node.console(command)).error?.code, 'format', command);
});

test('status', async (t) => {
  const node = await sharedNode();
  const { node: about, workers } = await done(t, node, 'status');
  equal([about.node, about.state, about.pid], ['e2e', 'ready', node.pid], 'node');
  equal(workers.filter((row) => row.role === 'media').map((row) => row.worker), [0, 1], 'workers');
  const { out } = await millrace(['ctl', '--connect', node.runDirectory, 'status']);
  for (const word of ['e2e', 'media', 'holder', 'ready']) check(out.includes(word), () => `no ${word} in ${out}`);
});

// ---- drain -------------------------------------------------------------------------------------

test('drain worker N: takes nothing new, tells what is left, until it is empty', async (t) => {
  const node = await startNode(t);
  const publisher = await publishRtmp(t, node, freshName('drain'));
  const { worker } = await until('a worker has the session',
    async () => (await rowsOf(node, 'media')).find((row) => row.sessions));
  const other = 1 - worker;
  const late = await fails(t, node, 'drain', 'worker', `${worker}`, '--wait', '1');
  equal(late.code, 'timeout', 'sessions are left after a second');
  equal((await fails(t, node, 'drain', 'worker', `${other}`)).code, 'state', 'nobody else would take new ones');
  const drain = ctl(t, node, 'drain', 'worker', `${worker}`);
  await until('what is left', () => drain.steps[0]?.result.sessions === 1);
  await spared(node);
  const { pid } = await node.worker('media', worker);
  process.kill(pid, 'SIGKILL'); // who goes on drains too
  await until('its successor has the session', async () => {
    const row = await node.worker('media', worker);
    return row.pid !== pid && row.state === 'ready' && row.draining && row.sessions === 1;
  });
  for (let i = 0; i < 4; i++) await publishRtmp(t, node, freshName('other'), { audio: false, size: '160x90', rate: 5 });
  await until('new ones are with the other', async () => await sessionsOn(node, other) >= 4);
  equal(await sessionsOn(node, worker), 1, 'sessions of the worker that is drained');
  await publisher.stop();
  equal((await drain.last(0)).sessions, 0, 'sessions at its end');
  await done(t, node, 'drain', 'off', 'worker', `${worker}`);
  equal((await rowsOf(node, 'media')).map((row) => row.draining), [false, false], 'draining');
});

test('drain --stop: who is there is waited for, then the node stops', async (t) => {
  const node = await startNode(t, { workers: 1 });
  const publisher = await publishRtmp(t, node, freshName('drainstop'));
  const drain = ctl(t, node, 'drain', '--stop');
  await until('what is left', () => drain.steps[0]?.result.sessions === 1);
  await publisher.stop();
  const { stopped, sessions } = await drain.last(0);
  equal([stopped, sessions], [true, 0], 'the last step');
  await until('the node has stopped', () => node.exited);
  equal(node.exited.code, 0, 'its exit status');
});

test('drain: the whole node, and off', async (t) => {
  const node = await startNode(t, { workers: 1 });
  await done(t, node, 'drain');
  equal((await node.get('/readyz')).status, 503, 'readyz while it drains');
  await done(t, node, 'drain', 'off');
  equal((await node.get('/readyz')).status, 200, 'readyz');
});

// ---- workers -----------------------------------------------------------------------------------

/** Encoders over RTMP, which no worker gives to another: as many as it takes until that worker has one. */
async function encodersUntil(t, node, worker) {
  const encoders = [];
  while (!(await node.repl('actors rtmp_session')).some((row) => row.worker === worker)) {
    check(encoders.length < ENCODERS_MAX, `none of ${ENCODERS_MAX} encoders is at worker ${worker}`);
    encoders.push(await publishRtmp(t, node, freshName('stays'), { audio: false, size: '160x90', rate: 5 }));
  }
  return encoders;
}

test('workers: 2, 3, 2 while people watch', async (t) => {
  const node = await startNode(t);
  const name = freshName('scale');
  const publisher = await publishRtmp(t, node, name);
  const flv = watchFlv(t, `${node.url}/${name}.flv`);
  await moreVideo(flv, 10);
  const early = watchers(t, node, name, 4);
  await watching(node, name, 5);
  equal((await done(t, node, 'workers', '3')).text, '3 workers', 'its last step');
  equal((await node.get('/readyz')).status, 200, 'readyz');
  const late = [];
  /* who starts is busy for a moment, and then the others are preferred */
  await until('the new worker has sessions', async () => {
    late.push(watchers(t, node, name, 3));
    await watching(node, name, 5 + 3 * late.length);
    return (await node.repl('actors session')).some((row) => row.worker === 2);
  }, 20000);
  const staying = await encodersUntil(t, node, 2);
  const fewer = ctl(t, node, 'workers', '2');
  await until('what is left is told', () => fewer.steps.some((step) => /^[1-9]\d* sessions? left$/.test(step.result?.text)), 20000);
  equal((await fails(t, node, 'workers', '4')).code, 'busy', 'one operation at a time');
  await Promise.all(staying.map((encoder) => encoder.stop()));
  for (const load of late) equal((await load.stop()).sessions.lost, 0, 'sessions lost of those that came late');
  equal((await fewer.last(0)).text, '2 workers', 'its last step');
  equal((await rowsOf(node, 'media')).length, 2, 'workers');
  equal((await rowsOf(node, 'holder')).length, 2, 'holders');
  equal((await node.get('/readyz')).status, 200, 'readyz');
  await moreVideo(flv, 10);
  equal((await early.stop()).sessions, { wanted: 4, connected: 4, failed: 0, lost: 0 }, 'those who were there all the time');
  equal([publisher.status, flv.backwards], [null, 0], 'publisher, FLV viewer');
}, { timeout_ms: 90000 });

/** A port P so that P and P + 1 are free and P + 2 is taken. */
async function takenPort(t) {
  const socket = dgram.createSocket('udp4');
  await new Promise((resolve) => { socket.bind(0, '127.0.0.1', resolve); });
  t.defer(() => socket.close());
  return socket.address().port - 2;
}

test('workers: a port that is taken changes nothing', async (t) => {
  const port = await takenPort(t);
  const node = await startNode(t, { args: ['--rtc-port', `${port}`] });
  const before = await pidsOf(node);
  const { message } = await fails(t, node, 'workers', '3');
  check(message.includes(`${port + 2}`), () => `no ${port + 2} in "${message}"`);
  equal((await rowsOf(node, 'media')).length, 2, 'workers');
  const after = await pidsOf(node);
  equal(before.filter((pid) => !after.includes(pid)), [], 'processes that went');
  equal((await node.get('/readyz')).status, 200, 'readyz');
});
