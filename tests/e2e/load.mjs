// SPDX-License-Identifier: Apache-2.0
// `millrace load` beside a test.

import { spawn } from 'node:child_process';
import { RUN_ID, until } from './harness.mjs';
import { program } from './node.mjs';

/** A load that runs until it is stopped; its summary is that of --json. `prefix`: what runs it elsewhere. */
export class Load {
  out = '';
  err = '';

  constructor(t, args, prefix = []) {
    const [command, ...all] = [...prefix, program, 'load', ...args, '--json'];
    this.process = spawn(command, all,
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, E2E_RUN: RUN_ID } });
    this.process.stdout.setEncoding('utf8').on('data', (text) => { this.out += text; });
    this.process.stderr.setEncoding('utf8').on('data', (text) => { this.err += text; });
    this.end = new Promise((resolve) => this.process.once('exit', (code, signal) => resolve(code ?? signal)));
    t.defer(() => this.stop());
  }

  /** Ends it as Ctrl-C does. */
  async stop() {
    this.process.kill('SIGINT');
    const status = await this.end;
    return { status, ...(this.out ? JSON.parse(this.out) : {}) };
  }
}

export const live = (node, name) => until(`${name} is live`,
  async () => (await node.streams()).some((stream) => stream.name === name && stream.state === 'live' && stream.tracks.length));
