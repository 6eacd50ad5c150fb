// SPDX-License-Identifier: Apache-2.0
// A whole cluster on a network of its own: a host for each node and each member of etcd, and between
// them the ways that a topology says (topology.mjs). The end-to-end rows and `./dev cluster` are built on
// it.

import { check, equal, inTurns, patience, until } from './harness.mjs';
import { Cluster } from './cluster.mjs';
import { Internet } from './internet.mjs';
import { Load } from './load.mjs';
import { publishRtmp, watchFlv } from './media.mjs';
import { usualTopology, waysOf } from './topology.mjs';

const PORTS = { http: 8080, rtmp: 1935, rtc: 8000, mesh: 7400, link: 7500 };
const ETCD_APART = { delay: '1ms' }; // its members, and from it to the first core
const HOPS_MAX = 6;
const STARVED = 2; // times patience
const AT_ONCE = 6; // nodes that start
const EACH_MS = 1500; // patience for each node, where two processors do it all
/* more deaths in 10 s than a node in service would put up with */
const PATIENT = ['--worker-restart-intensity', '1000'];

export class Lab {
  #ways;
  changed = new Map(); // "a b" of links that are not as the topology has them -> rules

  /** Resolves when all nodes see each other and one plans for all. Options: `topology`; `etcd`, how many
   *  members (1); `host`, this machine can reach it all, as operator (10.90.N.1:8080); `addresses` of each
   *  host (1), all of which links use; `workers` by node's name (1 each); `args` of nodes; `say`, who hears
   *  how far it is. */
  static async start(t, { topology = usualTopology(5), etcd = 1, host = false, addresses = 1, workers = {}, args = [], say = () => {} } = {}) {
    const lab = new Lab();
    const names = topology.nodes.map((node) => node.name);
    const members = Array.from({ length: etcd }, (_, i) => `etcd${i + 1}`);
    Object.assign(lab, { t, topology, members, host, addresses, workers, args });
    lab.internet = await Internet.make(t, [...names, ...members], { host, addresses });
    await lab.#layWays(names);
    lab.cluster = await Cluster.start(t, { nodes: 0, found: false, etcd: { hosts: members.map((name) => lab.#standing(name)) } });
    t.defer(() => Promise.all(lab.nodes.map((node) => node.stop())));
    await inTurns(topology.nodes, AT_ONCE, async (node) => {
      await lab.begin(node.name);
      say(`${lab.nodes.length} of ${names.length} nodes run`);
    });
    say(`${names.length} nodes run; they look for each other`);
    await lab.complete();
    return lab;
  }

  #standing(name) { return { prefix: this.internet.inside(name), address: this.internet.address(name) }; }

  /** etcd stands beside the first core. */
  async #layWays(names) {
    const { nodes } = this.topology;
    const beside = (nodes.find((node) => node.tier === 'core') ?? nodes[0]).name;
    this.#ways = waysOf(this.topology);
    for (const member of this.members) {
      for (const name of names) {
        this.#ways.set(`${name} ${member}`, this.#ways.get(`${name} ${beside}`) ?? ETCD_APART);
        this.#ways.set(`${member} ${name}`, this.#ways.get(`${beside} ${name}`) ?? ETCD_APART);
      }
      for (const other of this.members) if (other !== member) this.#ways.set(`${member} ${other}`, ETCD_APART);
    }
    await this.heal();
  }

  // ---- the network

  get hosts() { return [...this.topology.nodes.map((node) => node.name), ...this.members]; }

  #known(...names) {
    for (const name of names) check(this.hosts.includes(name), () => `${name}: expected one of ${this.hosts.join(', ')}`);
  }

  /** Both ways between two hosts; what is not named stays. No rules: as the topology has it. */
  async link(a, b, rules = {}) {
    this.#known(a, b);
    if (!Object.keys(rules).length) return this.heal(a, b);
    await this.internet.pair(a, b, rules);
    const key = [a, b].toSorted().join(' ');
    this.changed.set(key, { ...this.changed.get(key), ...rules });
  }

  /** As the topology has it: between two hosts, of one, or everywhere. */
  async heal(a, b) {
    for (const [key, rules] of this.#ways) {
      const [from, to] = key.split(' ');
      if ((a && from !== a && to !== a) || (b && from !== b && to !== b)) continue;
      this.changed.delete(key);
      await this.internet.path(from, to);
      await this.internet.path(from, to, rules);
    }
  }

  // ---- nodes

  get nodes() { return this.cluster.nodes; }
  get running() { return this.nodes.filter((node) => !node.exited); }

  node(name) {
    const node = this.nodes.find((one) => one.name === name);
    check(node, () => `${name}: expected one of ${this.nodes.map((one) => one.name).join(', ')}`);
    return node;
  }

  /** Starts a node, for the first time or again: then it is the same one. */
  async begin(name) {
    const { region, tier, cost, capacity_bps } = this.topology.nodes.find((node) => node.name === name);
    const before = this.nodes.find((node) => node.name === name);
    check(!before || before.exited, `${name} runs already`);
    const ports = Object.entries(PORTS).flatMap(([port, number]) => [`--${port}-port`, `${number}`]);
    const node = await this.cluster.add({ name, ...this.#standing(name), workers: this.workers[name] ?? 1, args: [...ports, ...PATIENT, '--tier', tier,
      ...(region ? ['--region', region] : []), '--node-cost', `${cost}`, '--node-capacity-bps', `${capacity_bps}`,
      '--link-advertise', Array.from({ length: this.addresses }, (_, i) => this.internet.address(name, i)).join(','), ...this.args] });
    if (this.host) this.internet.trust(name, PORTS.http);
    return node;
  }

  /** SIGKILL, the whole node. */
  async kill(name) {
    const node = this.node(name);
    check(!node.exited, `${name} has ended already`);
    node.process.kill('SIGKILL');
    await node.end;
  }

  async killControl(name) { process.kill((await this.node(name).worker('control')).pid, 'SIGKILL'); }

  /** Until those that run have found each other, and one of them plans for all. */
  async complete(deadline_ms = 60000 + EACH_MS * this.running.length) {
    await this.cluster.complete(this.running, deadline_ms);
    return this.brain({ deadline_ms });
  }

  /** The node that plans, as all that run say, once it has heard of them; of a term after `after`. */
  async brain({ after = 0, deadline_ms = 30000 } = {}) {
    const all = this.running;
    const ask = (node) => node.repl('brain').catch(() => ({}));
    return until('all nodes name one brain that has heard of all', async () => {
      const { brain, term, phase, nodes } = await ask(all[0]);
      const node = all.find((one) => one.node_id === brain);
      if (!node || term <= after || phase !== 'planning' || nodes < all.length) return null;
      for (const other of all.slice(1)) {
        const said = await ask(other);
        if (said.brain !== brain || said.term !== term) return null;
      }
      return { node, term };
    }, deadline_ms);
  }

  // ---- ways

  /** Names of the nodes of the way that is planned between two nodes; undefined: none yet. */
  async planned(from, to, at = this.running[0]) {
    const candidates = await at.repl(`path ${from} ${to}`);
    return candidates.find((row) => row.place === 1)?.way.split(' > ');
  }

  async planIs(from, to, way, deadline_ms = 30000) {
    await until(`from ${from} to ${to} is planned over ${way.join(' > ')}`, async () => {
      const now = await this.planned(from, to);
      return `${now}` === `${way}` || Promise.reject(new Error(`planned: ${now}`));
    }, deadline_ms);
  }

  /** By which nodes a stream comes to one, the last first: ['c', 'b', 'a']. */
  async chain(name, stream) {
    const chain = [];
    for (let at = this.node(name); at && chain.length < HOPS_MAX;) {
      chain.push(at.name);
      const states = await this.#streamStates(at, stream);
      check(states.length, () => `${stream} is not at ${at.name} (${chain.join(' < ')})`);
      if (states.some(({ state }) => !state.replica)) return chain;
      const from = states.map(({ state }) => state.source.split('/')[0]).find((id) => id !== at.node_id);
      at = this.nodes.find((node) => node.node_id === from);
    }
    throw new Error(`${stream} does not lead to its origin: ${chain.join(' < ')}`);
  }

  async #streamStates(node, stream) {
    const rows = (await node.repl('actors stream')).filter((row) => row.name.endsWith(stream));
    return Promise.all(rows.map((row) => node.repl(`inspect ${row.addr}`)));
  }

  /** Milliseconds until the stream came that way. */
  async chainIs(name, stream, chain, deadline_ms = 20000) {
    const began = performance.now();
    await until(`${stream} comes to ${name} by ${chain.join(' < ')}`, async () => {
      const now = await this.chain(name, stream);
      return `${now}` === `${chain}` || Promise.reject(new Error(`it comes by ${now.join(' < ')}`));
    }, deadline_ms);
    return Math.round(performance.now() - began);
  }

  // ---- media; who publishes and watches stands at the node's host

  publish(t, name, stream, options) { return publishRtmp(t, this.node(name), stream, { rtmp: `rtmp://127.0.0.1:${PORTS.rtmp}`, ...options }); }

  watch(t, name, stream) {
    return watchFlv(t, `http://127.0.0.1:${PORTS.http}/${stream}.flv`, {}, { prefix: this.internet.inside(name) });
  }

  /** `millrace load whep`, so many viewers. */
  crowd(t, name, stream, count) {
    return new Load(t, ['whep', `http://${this.internet.address(name)}:${PORTS.http}/whep/${stream}`, '--count', `${count}`], this.internet.inside(name));
  }

  origin(name) { return `http://${this.internet.address(name)}:${PORTS.http}`; }
}

/** Nothing is missing and nothing comes twice in what a viewer has seen since it was last asked; where processes
 *  get a sixth of a processor and less, what they could not take in time may be missing. */
export function checkWhole({ step_ms, backwards, repeats, video }, frame_ms = 33.4) {
  check(video > 0, 'no picture');
  check(step_ms < 1.5 * frame_ms || patience() > STARVED, () => `a picture is missing: a step of ${step_ms} ms`);
  equal([backwards, repeats], [0, 0], 'pictures out of order, pictures that came twice');
}
