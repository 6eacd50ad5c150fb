// SPDX-License-Identifier: Apache-2.0
// What befalls a cluster while people watch, step by step: each says what it did and how long things took,
// and fails when they did not go as they must. `./dev cluster demo` tells it on a terminal, a row of the
// end-to-end tests runs the short one.

import { atMost, equal, patience, until } from './harness.mjs';
import { Lab } from './lab.mjs';
import { moreVideo } from './media.mjs';
import { usualTopology } from './topology.mjs';

const NODES = 6; // fra1, nyc1, sgp1 are cores; par1, chi1, tok1 edges
const STREAM = 'live/show';
const [AT, NEAR, FAR] = ['par1', 'chi1', 'tok1'];
const SECOND = 30; // pictures
const RELAY_GONE_MS = 1000; // a stream is re-parented in less
const UNDISTURBED_MS = 500; // a pause that is none: jitter of the ways, and a machine that has other work
const RECONCILED_MS = 5000;
const MOVES_MS = 30000;

const arrow = (chain) => chain.toReversed().join(' > ');

class Story {
  #began = performance.now();

  constructor(t, say) {
    Object.assign(this, { t, say });
  }

  /** `text` with the time since the beginning. */
  tell(text) { this.say(`${((performance.now() - this.#began) / 1000).toFixed(1).padStart(6)} s  ${text}`); }

  async open(host) {
    this.lab = await Lab.start(this.t, { topology: usualTopology(NODES), host });
    const { node } = await this.lab.brain();
    this.tell(`${NODES} nodes in three regions see each other, ${node.name} plans the paths`);
    if (host) for (const { name } of this.lab.nodes) this.tell(`  ${name.padEnd(5)} ${this.lab.origin(name)}/`);
  }

  async publish() {
    const { lab, t } = this;
    await lab.publish(t, AT, STREAM);
    this.tell(`ffmpeg publishes ${STREAM} at ${AT}`);
    this.viewers = [];
    for (const name of [NEAR, FAR]) {
      const viewer = lab.watch(t, name, STREAM);
      await moreVideo(viewer, SECOND, 20000);
      this.viewers.push(viewer);
      this.tell(`it plays at ${name}: first picture after ${viewer.first_ms.toFixed(0)} ms`);
    }
    this.far = this.viewers[1];
  }

  async crowd(count) {
    this.crowds = [NEAR, FAR].map((name) => this.lab.crowd(this.t, name, STREAM, count));
    this.tell(`${count} more watch by WebRTC at each of ${NEAR} and ${FAR}`);
  }

  /** Until the stream comes to FAR over others, from the node that is planned (which may have it by a way of
   *  its own). */
  async settle() {
    const { lab } = this;
    let chain;
    await until('the stream comes from the node that is planned', async () => {
      const way = await lab.planned(AT, FAR);
      chain = await lab.chain(FAR, STREAM);
      return (way?.at(-2) === chain[1] && chain.length > 2) || Promise.reject(new Error(`planned ${way}, it comes by ${arrow(chain)}`));
    }, MOVES_MS);
    return chain;
  }

  /** The longest pause of all viewers in what `happens`, and for a second after it. */
  async pauses(happens) {
    this.viewers.forEach((viewer) => viewer.takeAccount());
    await happens();
    for (const viewer of this.viewers) await moreVideo(viewer, SECOND, 15000);
    return this.viewers.map((viewer) => viewer.takeAccount());
  }

  checkOnce(accounts) {
    for (const { backwards, repeats } of accounts) equal([backwards, repeats], [0, 0], 'pictures out of order, pictures twice');
  }
}

const longest = (accounts) => Math.max(...accounts.map((account) => account.gap_ms));

async function begins(story) {
  await until('the straight way is found to be bad', async () => (await story.lab.planned(AT, FAR))?.length > 2, MOVES_MS);
  const chain = await story.settle();
  story.tell(`the straight way from ${AT} to ${FAR} is long and loses; the stream goes ${arrow(chain)}`);
}

/** The link into the relay before the last becomes bad: the brain finds another way. */
async function linkDegrades(story) {
  const { lab } = story;
  const [, to, from] = await lab.chain(FAR, STREAM);
  await lab.link(from, to, { loss: '6%', jitter: '10ms' });
  story.tell(`between ${from} and ${to} 6 % are lost now`);
  let chain;
  const began = performance.now();
  const accounts = await story.pauses(async () => {
    await until('another way', async () => {
      chain = await lab.chain(FAR, STREAM);
      return !`${chain}`.includes(`${to},${from}`);
    }, MOVES_MS);
  });
  story.checkOnce(accounts);
  atMost(longest(accounts), RELAY_GONE_MS * patience(), 'longest pause, ms');
  story.tell(`after ${((performance.now() - began) / 1000).toFixed(1)} s it goes ${arrow(chain)}; longest pause ${longest(accounts)} ms, no picture twice`);
}

async function linkIsCut(story) {
  const { lab } = story;
  const [, to, from] = await story.settle();
  story.tell(`the link between ${from} and ${to}, in use, is cut`);
  const accounts = await story.pauses(() => lab.link(from, to, { down: 1 }));
  story.checkOnce(accounts);
  atMost(longest(accounts), RELAY_GONE_MS * patience(), 'longest pause, ms');
  story.tell(`it goes ${arrow(await lab.chain(FAR, STREAM))}; longest pause ${longest(accounts)} ms`);
}

async function linksHeal(story) {
  await story.lab.heal();
  story.tell('all links are as they were');
}

async function relayDies(story) {
  const { lab } = story;
  const chain = await story.settle();
  const victim = chain[chain.length - 2];
  story.tell(`kill -9 of ${victim}, which relays (${arrow(chain)})`);
  const accounts = await story.pauses(() => lab.kill(victim));
  story.checkOnce(accounts);
  atMost(longest(accounts), RELAY_GONE_MS * patience(), 'longest pause, ms');
  story.tell(`it goes ${arrow(await lab.chain(FAR, STREAM))}; longest pause ${longest(accounts)} ms`);
  await lab.begin(victim);
  await lab.complete();
  story.tell(`${victim} has been started again, and all see it`);
}

async function brainDies(story) {
  const { lab } = story;
  const { node, term } = await lab.brain();
  story.tell(`kill -9 of the control process of ${node.name}, which plans`);
  const began = performance.now();
  let next;
  const accounts = await story.pauses(async () => {
    await lab.killControl(node.name);
    next = await lab.brain({ after: term });
  });
  story.checkOnce(accounts);
  atMost(longest(accounts), UNDISTURBED_MS * patience(), 'longest pause, ms');
  story.tell(`${next.node.name} plans, ${((performance.now() - began) / 1000).toFixed(1)} s later; longest pause ${longest(accounts)} ms`);
}

async function etcdDies(story) {
  const { lab, t } = story;
  const { etcd } = lab.cluster;
  story.tell('kill -9 of etcd');
  const accounts = await story.pauses(async () => {
    await etcd.kill();
    await lab.publish(t, NEAR, 'live/meanwhile');
    await moreVideo(lab.watch(t, NEAR, 'live/meanwhile'), SECOND);
  });
  story.checkOnce(accounts);
  atMost(longest(accounts), UNDISTURBED_MS * patience(), 'longest pause, ms');
  story.tell(`meanwhile live/meanwhile was published and played at ${NEAR}; longest pause of the others ${longest(accounts)} ms`);
  await etcd.restart();
  const began = performance.now();
  await until('etcd knows both names', async () => (await etcd.names()).length === 2, RECONCILED_MS);
  story.tell(`etcd is back and knows what it missed after ${Math.round(performance.now() - began)} ms`);
}

async function end(story) {
  for (const [i, crowd] of story.crowds.entries()) {
    const { sessions, gap_ms } = await crowd.stop();
    equal([sessions.failed, sessions.lost], [0, 0], 'sessions that failed, that were lost');
    story.tell(`viewers by WebRTC at ${[NEAR, FAR][i]}: none was lost; longest pause of each, 99th percentile: ${gap_ms.p99.toFixed(0)} ms`);
  }
}

/** Resolves when all of it went as it must. `say`: a line of text. */
export async function tellStory(t, { short = false, host = false, say }) {
  const story = new Story(t, say);
  await story.open(host);
  await story.publish();
  await story.crowd(short ? 3 : 20);
  await begins(story);
  const steps = short ? [linkIsCut, linksHeal, brainDies, etcdDies]
    : [linkDegrades, linkIsCut, linksHeal, relayDies, brainDies, etcdDies];
  for (const step of steps) await step(story);
  await end(story);
}
