// SPDX-License-Identifier: Apache-2.0
// A node under test: `millrace node` on free ports of the loopback, in directories of its own.

import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createWriteStream, mkdirSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { curl, request } from './http.mjs';
import { check, directory, Failure, killAll, patience, processesOf, RUN_ID, share, until, within } from './harness.mjs';
import { spared } from './takeover.mjs';

const READY_MS = 15000;
const STOP_MS = 9000;

export const program = process.env.MILLRACE_BIN;

/** Runs a command of the program to its end: {status, out, err}. */
export function millrace(args, { input = '', env = {}, timeout_ms = 10000 } = {}) {
  return new Promise((resolve) => {
    const options = { timeout: Math.round(timeout_ms * patience()), killSignal: 'SIGKILL', maxBuffer: 16 << 20, env: environment(env) };
    const child = execFile(program, args, options, (error, out, err) => {
      resolve({ status: error ? error.code ?? error.signal : 0, out, err });
    });
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

function environment(more) {
  const clean = Object.entries(process.env).filter(([name]) => !name.startsWith('MILLRACE_'));
  return { ...Object.fromEntries(clean), E2E_RUN: RUN_ID, ...more };
}

/** Arguments of a node that disturbs nobody: free ports, own directories. */
export function nodeArguments({ bind = '127.0.0.1', workers = 2, base }) {
  const ports = ['http', 'rtmp', 'rtc', 'mesh', 'link'].flatMap((name) => [`--${name}-port`, '0']);
  return ['node', '--name', 'e2e', '--bind', bind, '--advertise', bind, '--workers', `${workers}`, ...ports,
    '--run-dir', join(base, 'run'), '--data-dir', join(base, 'data')];
}

export class Node {
  /** Resolves once the node has said that it is ready. Options: bind, workers, args, env; `prefix` and
   *  `address` where it stands in a network of its own; `binary` where it is not the one under test. */
  static async start(options = {}) {
    const node = new Node(options);
    await node.#ready();
    return node;
  }

  constructor({ args = [], env = {}, prefix = [], address, binary = program, ...options }) {
    this.prefix = prefix;
    this.address = address;
    this.id = randomBytes(8).toString('hex');
    this.base = mkdtempSync(join(directory, 'node-'));
    this.runDirectory = join(this.base, 'run');
    mkdirSync(this.runDirectory, { mode: 0o700 });
    this.log = '';
    this.out = '';
    this.exited = null;
    if (address) options.bind = '0.0.0.0';
    const [command, ...all] = [...prefix, binary, ...nodeArguments({ ...options, base: this.base }),
      ...(address ? ['--advertise', address] : []), ...args];
    this.process = spawn(command, all,
      { stdio: ['ignore', 'pipe', 'pipe'], env: environment({ E2E_NODE: this.id, ...env }) });
    const file = createWriteStream(join(this.base, 'log'));
    this.process.stderr.setEncoding('utf8').on('data', (text) => { this.log += text; file.write(text); });
    this.process.stdout.setEncoding('utf8').on('data', (text) => { this.out += text; });
    this.end = new Promise((resolve) => this.process.once('exit', (code, signal) => {
      this.exited = { code, signal };
      resolve(this.exited);
    }));
  }

  async #ready() {
    try {
      await until('the node is ready', () => this.out.includes('\n') || this.exited, READY_MS);
      check(this.out.includes('\n'), `the node ended: ${JSON.stringify(this.exited)}`);
      this.ready = JSON.parse(this.out.slice(0, this.out.indexOf('\n')));
      await until('/readyz says 200', async () => (await this.get('/readyz')).status === 200, READY_MS);
    } catch (error) {
      await this.stop().catch(() => {});
      throw new Failure(`${error.message}\n${this.log.slice(-2000)}`);
    }
  }

  get pid() { return this.process.pid; }
  get url() { return `http://${this.#seen(this.ready.http)}`; }
  get rtmp() { return `rtmp://${this.#seen(this.ready.rtmp)}`; }
  get https() { return `https://${this.ready.https}`; }
  get rtmps() { return `rtmps://${this.ready.rtmps}`; }

  #seen(at) { return this.address ? `${this.address}:${at.split(':')[1]}` : at; }

  get(path, options = {}) {
    if (this.address) return curl(this.prefix, `http://${this.ready.http}${path}`);
    return request(this.url + path, options);
  }
  post(path, body, headers = {}) {
    return request(this.url + path, { method: 'POST', body, headers: { 'Content-Type': 'application/sdp', ...headers } });
  }

  async json(path) {
    const response = await this.get(path);
    check(response.status === 200, () => `${path}: ${response.status} ${response.text}`);
    return JSON.parse(response.text);
  }

  async streams() { return (await this.json('/api/v1/streams')).streams; }

  /** The answer of the console to one command: the whole document. */
  async console(command) {
    const { out, status, err } = await millrace(['repl', '--connect', this.runDirectory, '-e', command, '--json']);
    check(out, () => `repl "${command}": exit status ${status}: ${err}`);
    return JSON.parse(out);
  }

  async repl(command) {
    const answer = await this.console(command);
    check(answer.ok, () => `repl "${command}": ${JSON.stringify(answer.error)}`);
    return answer.result;
  }

  /** The rows of a list, of all processes: it is asked for again while one of them has not answered in time. */
  async rows(command) {
    const answer = await until(`all processes answer "${command}"`, async () => {
      const { ok, silent, ...rest } = await this.console(command);
      check(ok && !silent, () => `"${command}": ${JSON.stringify(rest.error ?? silent)}`);
      return rest;
    });
    return answer.result;
  }

  async worker(role, number = 0) {
    const rows = (await this.repl('workers')).filter((row) => row.role === role);
    return role === 'media' ? rows.find((row) => row.worker === number) : rows[0];
  }

  /** Every process of this node that lives. */
  processes() { return processesOf(this.id); }

  /** SIGTERM, and the exit status; SIGKILL when that does not help. */
  async stop() {
    if (!this.exited) this.process.kill('SIGTERM');
    try {
      return await within(STOP_MS, this.end, 'stopping the node');
    } catch (error) {
      killAll([this.pid, ...this.processes()]);
      await this.end;
      throw new Failure(`${error.message}\n${this.log.slice(-2000)}`);
    }
  }
}

/** The node that tests share, all its processes ready; they use stream names of their own. */
export const sharedNode = share(async () => {
  const node = await Node.start();
  await spared(node);
  return node;
}, (node) => node.stop());

/** A node of this test alone. */
export async function startNode(t, options) {
  const node = await Node.start(options);
  t.defer(() => node.stop());
  return node;
}

let names = 0;
export const freshName = (word = 's') => `live/${word}-${++names}`;
