// SPDX-License-Identifier: Apache-2.0
// Many hosts of a test's own, and the network between them: a namespace a host, joined by the program
// `impair` (tests/net/impair.c), which gives each pair of addresses its own delay, loss, rate …

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { RUN_ID } from './harness.mjs';
import { programInside } from './namespaces.mjs';
import { program } from './node.mjs';

const run = (command, args) => execFileSync(command, args, { stdio: 'pipe', encoding: 'utf8' });
const words = (text) => text.trim().split(/\s+/);

/** { delay: '20ms', loss: '2%' } as the words that impair reads. */
const pairsOf = (rules) => Object.entries(rules).map(([key, value]) => ` ${key}=${value}`).join('');

/** What the names of a run's namespaces begin with. */
export const namespacesOf = (run_id) => `millrace-${run_id.slice(0, 8)}-`;

let made = 0;

export class Internet {
  #prefix = `${namespacesOf(RUN_ID)}${++made}-`;
  #hosts = new Map(); // name -> { netns, addresses }
  #impair;
  #waiting = [];
  #ended = null;

  /** `names`: the hosts. Each has the addresses 10.90.N.1 to 10.90.N.K, in their order from 1. Options:
   *  `addresses` K (1), `host`: this machine is in it too, as 10.90.255.1. `t.defer` undoes it. */
  static async make(t, names, options = {}) {
    const internet = new Internet();
    process.once('exit', internet.#undo);
    t.defer(async () => {
      process.off('exit', internet.#undo);
      internet.#undo();
    });
    internet.#begin();
    let number = 0;
    for (const name of names) await internet.#add(name, ++number, options.addresses ?? 1);
    if (options.host) await internet.#add('host', 255, 1, '-');
    return internet;
  }

  #begin() {
    this.#impair = spawn(program.replace(/[^/]*$/, 'impair'), [], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#impair.once('error', (error) => this.#end(error));
    this.#impair.once('exit', (code, signal) => this.#end(new Error(`impair has ended: ${signal ?? code}`)));
    this.#impair.stdin.on('error', () => {});
    createInterface({ input: this.#impair.stdout }).on('line', (line) => {
      const { resolve, reject, command } = this.#waiting.shift();
      if (line.startsWith('ok')) resolve(line.slice(3));
      else reject(new Error(`impair: ${command}: ${line}`));
    });
  }

  #end(error) {
    this.#ended = error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #undo = () => {
    this.#impair?.kill('SIGKILL');
    for (const { netns } of this.#hosts.values()) if (netns !== '-') spawnSync('ip', ['netns', 'del', netns]);
    this.#hosts.clear();
  };

  async #add(name, number, count, netns = `${this.#prefix}${name}`) {
    const addresses = Array.from({ length: count }, (_, i) => `10.90.${number}.${i + 1}`);
    const inside = netns === '-' ? [] : ['-n', netns];
    if (netns !== '-') run('ip', ['netns', 'add', netns]);
    this.#hosts.set(name, { netns, addresses });
    await this.command(`host ${name} ${netns} ${addresses.join(' ')}`);
    if (netns !== '-') run('ip', [...inside, 'link', 'set', 'lo', 'up']);
    for (const address of addresses) run('ip', [...inside, 'address', 'add', `${address}/16`, 'dev', 'net0']);
    run('ip', [...inside, ...words('link set net0 mtu 1500 txqueuelen 10000 up')]);
  }

  /** One line to impair; its answer. */
  command(command) {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject, command });
      this.#impair.stdin.write(`${command}\n`);
    });
  }

  /** From one to the other, and back. Hosts, addresses or '*'; no rules: nothing is in the way any more. */
  pair(a, b, rules = {}) { return this.command(`pair ${a} ${b}${pairsOf(rules)}`); }

  /** Only from one to the other. */
  path(from, to, rules = {}) { return this.command(`path ${from} ${to}${pairsOf(rules)}`); }

  /** What has gone over each path. */
  async show() { return JSON.parse(await this.command('show')); }

  address(name, number = 0) { return this.#hosts.get(name).addresses[number]; }

  /** The operators' surfaces of what listens at `port` of a host take this machine for its loopback. */
  trust(name, port) {
    const { netns } = this.#hosts.get(name);
    run('ip', ['netns', 'exec', netns, 'nft', 'add table ip trust; ' +
      'add chain ip trust in { type nat hook input priority 100; }; ' +
      `add rule ip trust in ip saddr ${this.address('host')} tcp dport ${port} snat to 127.0.0.1`]);
  }

  /** What runs a command on a host, when it is put in front of it. */
  inside(name) {
    const { netns } = this.#hosts.get(name);
    return netns === '-' ? [] : ['ip', 'netns', 'exec', netns];
  }

  wrapper(name, path) { return programInside(this.inside(name), path); }

  exec(name, command) {
    const [first, ...rest] = [...this.inside(name), ...command];
    return run(first, rest);
  }
}
