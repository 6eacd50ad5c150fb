// SPDX-License-Identifier: Apache-2.0
// `millrace ctl` beside a test, and people who watch meanwhile.

import { spawn } from 'node:child_process';
import { check, equal, RUN_ID, until, within } from './harness.mjs';
import { Load } from './load.mjs';
import { moreVideo, playRtmp, publishRtmp, watchFlv } from './media.mjs';
import { program } from './node.mjs';

export const CTL_MS = 60000; // workers one after the other, on a busy machine

/** One command of ctl; its steps are documents. */
class Ctl {
  out = '';

  constructor(t, node, args) {
    this.process = spawn(program, ['ctl', '--connect', node.runDirectory, '--json', ...args],
      { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, E2E_RUN: RUN_ID } });
    this.process.stdout.setEncoding('utf8').on('data', (text) => { this.out += text; });
    this.end = new Promise((resolve) => this.process.once('close', (code, signal) => resolve(code ?? signal)));
    t.defer(() => this.process.kill('SIGKILL'));
  }

  get steps() { return this.out.split('\n').slice(0, -1).map((line) => JSON.parse(line)); }

  /** Its last document, and that the others announced it. */
  async last(status) {
    const ended = await within(CTL_MS, this.end, 'millrace ctl');
    const steps = this.steps;
    equal(ended, status, `exit status, after ${this.out}`);
    check(steps.slice(0, -1).every((step) => step.ok && step.more), () => `each but the last has more: ${this.out}`);
    check(!steps.at(-1).more, () => `the last has no more: ${this.out}`);
    equal(steps.at(-1).ok, !status, 'ok of the last');
    return status ? steps.at(-1).error : steps.at(-1).result;
  }
}

export const ctl = (t, node, ...args) => new Ctl(t, node, args);
export const done = (t, node, ...args) => ctl(t, node, ...args).last(0);
export const fails = (t, node, ...args) => ctl(t, node, ...args).last(1);

export const rowsOf = async (node, role) => (await node.repl('workers')).filter((row) => row.role === role);
export const sessionsOn = async (node, worker) => (await node.worker('media', worker)).sessions;
export const sessionsOf = async (node) => (await node.rows('actors session')).map((row) => row.addr).sort();
export const pidsOf = async (node) => (await node.repl('workers')).map((row) => row.pid).filter((pid) => pid);

export const watchers = (t, node, name, count) =>
  new Load(t, ['whep', `${node.url}/whep/${name}`, '--count', `${count}`]);
export const watching = (node, name, count) => until(`${count} watch`, async () =>
  (await node.streams()).find((stream) => stream.name === name)?.viewers >= count, 20000);

/** A publisher over RTMP and viewers over RTMP, HTTP-FLV and WebRTC. */
export class Audience {
  static async open(t, node, name, viewers) {
    const audience = new Audience();
    Object.assign(audience, { node, name, viewers });
    audience.publisher = await publishRtmp(t, node, name);
    audience.player = playRtmp(t, `${node.rtmp}/${name}`);
    audience.flv = watchFlv(t, `${node.url}/${name}.flv`);
    audience.load = watchers(t, node, name, viewers);
    await watching(node, name, viewers + 2);
    await audience.more();
    audience.sessions = await sessionsOf(node);
    return audience;
  }

  /** Further pictures are there. */
  async more() {
    const from = this.player.frames;
    await until('pictures over RTMP', () => this.player.frames > from + 10 || this.player.status !== null);
    equal([this.publisher.status, this.player.status], [null, null], 'RTMP publisher, RTMP player');
    await moreVideo(this.flv, 10);
    equal(this.flv.backwards, 0, 'times that ran backwards in FLV');
  }

  async checkSame() {
    equal(await sessionsOf(this.node), this.sessions, 'sessions, by address');
    await this.more();
  }

  /** The summary of those over WebRTC: all were there all the time. */
  async end() {
    const { viewers } = this, summary = await this.load.stop();
    equal(summary.sessions, { wanted: viewers, connected: viewers, failed: 0, lost: 0 }, 'WHEP viewers');
    return summary;
  }
}
