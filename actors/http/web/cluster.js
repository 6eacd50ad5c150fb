// SPDX-License-Identifier: Apache-2.0
// What the nodes of the cluster are, how their links stand and how a stream runs over them: asked at the
// node's console every two seconds while somebody looks, and what has changed in between, in words.

import { openSocket } from './api.js';

const EVENTS_MAX = 60;
const TOLD_MAX = 4000; // more than all nodes show at a time
const ANSWER_MS = 8000;

/** Commands of the console, one after the other. */
class Questions {
  #socket = null;
  #last = Promise.resolve();

  ask(command) {
    const answer = this.#last.then(() => this.#send(command));
    this.#last = answer.catch(() => {});
    return answer;
  }

  close() {
    this.#socket?.close();
    this.#socket = null;
  }

  async #open() {
    if (this.#socket?.readyState === WebSocket.OPEN) return this.#socket;
    const socket = this.#socket = openSocket('/api/v1/repl');
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve, { once: true });
      socket.addEventListener('close', () => reject(new Error('the node does not answer')), { once: true });
    });
    return socket;
  }

  async #send(command) {
    const socket = await this.#open();
    return new Promise((resolve, reject) => {
      const end = new AbortController();
      const fail = (why) => { end.abort(); this.close(); reject(new Error(why)); };
      const timer = setTimeout(() => fail('the node does not answer in time'), ANSWER_MS);
      end.signal.addEventListener('abort', () => clearTimeout(timer));
      socket.addEventListener('close', () => fail('the connection was lost'), { signal: end.signal });
      socket.addEventListener('message', ({ data }) => { end.abort(); resolve(JSON.parse(data)); }, { signal: end.signal });
      socket.send(command);
    });
  }
}

/** The lines of `paths` that are streams on a worker, each with the node it copies from. */
function copiesOf(lines, from = null) {
  return lines.flatMap((line) => {
    const isStream = line.type === 'stream';
    return [...(isStream ? [{ ...line, from }] : []), ...copiesOf(line.children ?? [], isStream ? line.node : from)];
  });
}

/** Sessions that read, through muxers too; not those of copies. */
const readersOf = (line) => (line.children ?? []).filter(({ type }) => type !== 'stream')
  .reduce((sum, child) => sum + (child.part === 'reader') + readersOf(child), 0);

/** One entry a node that has the stream: {from, way, planned, detour, viewers, workers}. */
export function treeOf(lines) {
  const tree = {};
  for (const copy of copiesOf(lines)) {
    const one = tree[copy.node] ??= { from: null, origin: false, workers: 0, viewers: 0 };
    one.workers++;
    one.origin ||= copy.part === 'origin';
    one.viewers += readersOf(copy);
    if (copy.from !== null && copy.from !== copy.node)
      Object.assign(one, { from: copy.from, way: copy.way, planned: copy.planned, detour: copy.detour });
  }
  return tree;
}

/** Both directions of a link as one: {key, a, b, there, back}, ends in the order of their ids. */
export function pairsOf(links) {
  const pairs = new Map();
  for (const link of links.filter(({ relay }) => !relay)) {
    const [a, b] = [link.from, link.to].sort();
    const pair = pairs.get(`${a} ${b}`) ?? pairs.set(`${a} ${b}`, { key: `${a} ${b}`, a, b }).get(`${a} ${b}`);
    pair[link.from === a ? 'there' : 'back'] = link;
  }
  return [...pairs.values()];
}

const whys = { doubtful: 'the link is doubtful', down: 'the link is down', lost: 'the node is lost', failed: 'nothing came from there',
  circle: 'it led in a circle', better: 'that is better', over: 'the trouble is over', owner: 'the publisher is there' };

/** What a node says of a way that is another one now: {level, text, stream}. */
export function changeText({ node, stream, to, before, after, why }) {
  const level = why in whys && !['better', 'over', 'owner'].includes(why) ? 'warn' : 'info';
  const [was, now] = [before, after].map((way) => way.split(' > '));
  const because = whys[why] ? `: ${whys[why]}` : '';
  const by = (way) => (way === to ? 'straight' : `by ${way}`);
  if (!stream) return { level, text: `${node} reaches ${to} ${by(after)} now, no longer ${by(before)}${because}` };
  if (after === node) return { level: 'warn', text: `${stream} is published at ${node} now, no longer at ${was.at(-1)}`, stream };
  if (now[0] === was[0]) return { level, text: `${node} has ${stream} ${by(after)} now, no longer ${by(before)}`, stream };
  return { level, text: `${node} has ${stream} from ${now[0]} now, no longer from ${was[0]}${because}`, stream };
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const worst = ['up', 'closed', 'doubtful', 'down'];

/** What a pair looks like: the worse of its two directions. */
export function healthOf({ there, back }) {
  const both = [there, back].filter(Boolean);
  const state = both.reduce((sum, { state: one }) => (worst.indexOf(one) > worst.indexOf(sum) ? one : sum), 'up');
  const most = (name) => Math.max(...both.map((link) => link[name]));
  const load = Math.max(...both.map(({ mbps, capacity_mbps: capacity }) => (capacity ? mbps / capacity : 0)));
  return {
    state, load, rtt_ms: most('rtt_ms'), loss_percent: most('loss_percent'), mbps: both.reduce((sum, { mbps }) => sum + mbps, 0),
    level: state === 'down' ? 'bad' : state !== 'up' || most('loss_percent') > 2 || load > 0.8 ? 'warn' : 'good',
  };
}

export class Cluster extends EventTarget {
  nodes = [];
  links = [];
  streams = []; // names
  stream = ''; // that is drawn
  tree = {};
  events = [];
  problem = '';
  #questions = new Questions();
  #told = new Set(); // changes that are among the events
  #looks = 0; // nobody looks: even

  start() {
    if (this.#looks % 2) return;
    this.#follow(++this.#looks);
  }

  stop() {
    if (this.#looks % 2) this.#looks++;
    this.#questions.close();
  }

  choose(stream) {
    this.stream = stream;
    this.tree = {};
    this.#look().catch(() => {}).finally(() => this.#tell());
  }

  async #follow(look) {
    while (this.#looks === look) {
      try {
        await this.#look();
        this.problem = '';
      } catch (error) {
        this.problem = `The map stands still: ${error.message}.`;
      }
      if (this.#looks !== look) return;
      this.#tell();
      await new Promise((resolve) => setTimeout(resolve, document.hidden ? 10000 : 2000));
    }
  }

  #tell() { this.dispatchEvent(new Event('change')); }

  async #result(command) {
    const { ok, result, error } = await this.#questions.ask(command);
    if (!ok && error.code !== 'not_found') throw new Error(error.message);
    return ok ? result : null;
  }

  async #look() {
    const { nodes, links, changes } = await this.#result('map') ?? { nodes: [], links: [], changes: [] };
    nodes.sort((a, b) => compare(`${a.region} ${a.node} ${a.id}`, `${b.region} ${b.node} ${b.id}`));
    const place = new Map(nodes.map(({ id }, i) => [id, i]));
    links.sort((a, b) => place.get(a.from) - place.get(b.from) || place.get(a.to) - place.get(b.to));
    this.#compareNodes(nodes);
    this.#takeChanges(changes);
    Object.assign(this, { nodes, links });
    const rows = await this.#result('streams @all') ?? [];
    this.streams = [...new Set(rows.map(({ name }) => name))].sort();
    if (!this.stream || !this.streams.includes(this.stream)) {
      const spread = rows.filter(({ publisher }, i) => !publisher && rows.some(({ name }, k) => k !== i && name === rows[i].name));
      this.stream = spread[0]?.name ?? this.streams[0] ?? '';
      this.tree = {};
    }
    const asked = this.stream;
    const tree = asked ? treeOf(await this.#result(`paths ${asked}`) ?? []) : {};
    if (asked !== this.stream) return;
    this.#compareTrees(tree);
    this.tree = tree;
  }

  #happened(level, text, stream, at = Date.now()) {
    this.events = [...this.events.filter((event) => event.at <= at), { at, level, text, stream },
      ...this.events.filter((event) => event.at > at)].slice(-EVENTS_MAX);
  }

  /** Nodes remember for a while what they did, so each is told once. */
  #takeChanges(changes) {
    for (const change of changes) {
      const key = `${change.node} ${change.at} ${change.number}`;
      if (this.#told.has(key)) continue;
      this.#told.add(key);
      const { level, text, stream } = changeText(change);
      this.#happened(level, text, stream, Date.parse(change.at));
    }
    for (const key of this.#told) if (this.#told.size > TOLD_MAX) this.#told.delete(key); // the oldest first
  }

  #compareNodes(nodes) {
    const before = new Map(this.nodes.map((node) => [node.id, node]));
    for (const node of nodes) {
      const was = before.get(node.id);
      before.delete(node.id);
      if (this.nodes.length && !was) this.#happened('good', `${node.node} has joined`);
      else if (was && was.state !== node.state)
        this.#happened(node.state === 'down' ? 'bad' : node.state === 'up' ? 'good' : 'warn', `${node.node} is ${node.state}`);
    }
    for (const node of before.values()) this.#happened('warn', `${node.node} has left`);
  }

  #compareTrees(tree) {
    const name = this.stream;
    if (!Object.keys(this.tree).length) return;
    for (const [node, { from }] of Object.entries(tree))
      if (!this.tree[node]) this.#happened('info', `${node} has ${name}${from ? ` from ${from}` : ''}`, name);
    for (const node of Object.keys(this.tree))
      if (!tree[node]) this.#happened('info', `${node} has ${name} no more`, name);
  }
}
