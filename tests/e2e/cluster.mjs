// SPDX-License-Identifier: Apache-2.0
// Nodes that form a cluster: one key that signs, etcd between them; on the loopback, or where the
// options of each say (lab.mjs).

import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { check, directory, until } from './harness.mjs';
import { Etcd } from './etcd.mjs';
import { millrace, Node } from './node.mjs';

const EAGER_MAX = 64; // runtime/mesh.h

/** `millrace ctl keys …`, its last document. */
export async function keys(args) {
  const { status, out, err } = await millrace(['ctl', 'keys', ...args, '--json']);
  check(status === 0, () => `ctl keys ${args.join(' ')}: exit status ${status}: ${out}${err}`);
  return JSON.parse(out).result;
}

export class Cluster {
  /** Nodes named a, b, c … that have found each other, unless `found` is false. `etcd`: options of it. */
  static async start(t, { nodes = 2, found = true, etcd = {}, ...options } = {}) {
    const cluster = new Cluster();
    cluster.t = t;
    cluster.etcd = await Etcd.start(t, etcd);
    cluster.home = mkdtempSync(join(directory, 'cluster-'));
    const { cluster_key: key, file } = await keys(['init', '--data-dir', cluster.home]);
    Object.assign(cluster, { key, file, nodes: [] });
    for (let i = 0; i < nodes; i++) await cluster.add({ name: String.fromCharCode(97 + i), ...options });
    if (found) await cluster.complete();
    return cluster;
  }

  /** One more node, or one that has ended again. `signed: false`: without a certificate; `key`: it trusts
   *  another cluster. */
  async add({ name, signed = true, key = this.key, args = [], ...options }) {
    const data = join(this.home, name);
    const { node: id } = signed ? await this.sign(name) : {};
    const node = await Node.start({ workers: 1, ...options, args: ['--name', name, '--data-dir', data, ...(key ? ['--cluster-key', key] : []),
      ...this.etcd.nodeArguments, ...args] });
    this.t.defer(() => node.stop());
    Object.assign(node, { name, data, node_id: id ?? (await node.repl('nodes'))[0].id });
    const before = this.nodes.findIndex((one) => one.name === name);
    this.nodes.splice(before < 0 ? this.nodes.length : before, before < 0 ? 0 : 1, node);
    return node;
  }

  sign(name, command = 'node') { return keys([command, '--data-dir', join(this.home, name), '--cluster-key', this.file]); }

  /** What `at` knows of `of`; undefined when it does not. */
  async row(at, of) { return (await at.repl('nodes')).slice(1).find((row) => row.id === of.node_id); }

  async state(at, of) { return (await this.row(at, of))?.state; }

  stateIs(at, of, state, deadline_ms = 15000) {
    return until(`${at.name} says of ${of.name}: ${state}`, async () => await this.state(at, of) === state, deadline_ms);
  }

  /** Until all are up at each other's; in a large cluster: until each knows all, since not everybody keeps a
   *  channel to everybody. One node after the other: a question costs a process. */
  async complete(nodes = this.nodes, deadline_ms = 15000) {
    const met = nodes.length <= EAGER_MAX ? ({ state }) => state === 'up' : Boolean;
    for (const at of nodes)
      await until(`${at.name} ${nodes.length <= EAGER_MAX ? 'sees' : 'knows'} all others`, async () => {
        const rows = await at.repl('nodes');
        const missing = nodes.filter((of) => of !== at && !rows.some((row) => row.id === of.node_id && met(row)));
        return !missing.length || Promise.reject(new Error(`not ${missing.map(({ name }) => name).join(', ')}`));
      }, deadline_ms);
  }
}

/** What `brain` says at each node, when all say the same and that one has heard of all. */
export async function agreed(nodes) {
  let said;
  await until('all nodes name one brain that has heard of all', async () => {
    said = await Promise.all(nodes.map((node) => node.repl('brain').catch(() => ({}))));
    return said.every((row) => row.brain && row.brain === said[0].brain && row.phase === 'planning' &&
      row.nodes >= nodes.length) && nodes.some((node) => node.node_id === said[0].brain);
  }, 40000);
  return said[0];
}

/** A value of /metrics of the node's control process. */
export async function metric(node, name) {
  const { text } = await node.get('/metrics');
  const line = text.split('\n').find((row) =>
    row.startsWith(`millrace_${name}${name.includes('{') ? '' : '{'}`) && row.includes('role="control"'));
  check(line, () => `no ${name} in /metrics`);
  return Number(line.split(' ').at(-1));
}
