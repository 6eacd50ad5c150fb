// SPDX-License-Identifier: Apache-2.0
// What stands between a client and a node, and does not always let things through.

import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';

/** Datagrams to one address are taken to another and back. A client's way through is a socket of its
 *  own, as with a NAT. */
export class UdpRelay {
  cut = false;
  observe = () => {}; // (bytes from `to`, whose they are: "address:port")
  hear = () => {}; // (bytes from a client, the same)
  #ways = new Map();

  /** Listens at `from` and sends to `to`, both { address, port }. */
  static async start(t, from, to) {
    const relay = new UdpRelay();
    relay.to = to;
    relay.socket = createSocket('udp4').on('message', (bytes, client) => relay.#forward(bytes, client));
    await new Promise((resolve, reject) => {
      relay.socket.once('error', reject).bind({ ...from, exclusive: true }, resolve);
    });
    t.defer(() => relay.close());
    return relay;
  }

  /** One before each worker of a node that advertises `address`. */
  static async beforeWorkers(t, node, address) {
    return Promise.all(node.ready.rtc.map((worker) => {
      const port = Number(worker.split(':')[1]);
      return UdpRelay.start(t, { address, port }, { address: '127.0.0.1', port });
    }));
  }

  #forward(bytes, client) {
    const key = `${client.address}:${client.port}`;
    this.hear(bytes, key);
    if (this.cut) return;
    let way = this.#ways.get(key);
    if (!way) {
      way = createSocket('udp4').on('message', (answer) => {
        this.observe(answer, key);
        if (!this.cut) this.socket.send(answer, client.port, client.address);
      });
      this.#ways.set(key, way);
    }
    way.send(bytes, this.to.port, this.to.address);
  }

  /** Clients have other ports from now on: all of them, or the one of this local port. */
  rebind(port) {
    for (const [key, way] of this.#ways) {
      if (port !== undefined && !key.endsWith(`:${port}`)) continue;
      way.close();
      this.#ways.delete(key);
    }
  }

  close() {
    this.rebind();
    this.socket.close();
  }
}

/** Connections to a port of the loopback are taken to `to` ("ip:port"), until they are broken. */
export class TcpRelay {
  refuse = false;
  refused = 0;
  accepted = 0;
  /** Called with what the node answers, … */
  observe = null;
  /** … and with what it is sent. */
  hear = null;
  #pairs = new Set();

  static async start(t, to) {
    const relay = new TcpRelay();
    const at = to.lastIndexOf(':');
    relay.to = { host: to.slice(0, at), port: Number(to.slice(at + 1)) };
    relay.server = createServer((client) => relay.#join(client));
    await new Promise((resolve) => relay.server.listen(0, '127.0.0.1', resolve));
    relay.url = `http://127.0.0.1:${relay.server.address().port}`;
    t.defer(() => { relay.break(); relay.server.close(); });
    return relay;
  }

  #join(client) {
    if (this.refuse) {
      this.refused++;
      return client.resetAndDestroy();
    }
    this.accepted++;
    const node = connect(this.to);
    const pair = [client, node];
    this.#pairs.add(pair);
    node.on('data', (bytes) => this.observe?.(bytes));
    client.on('data', (bytes) => this.hear?.(bytes));
    for (const [one, other] of [pair, pair.toReversed()]) {
      one.on('error', () => {}).on('close', () => { other.destroy(); this.#pairs.delete(pair); });
      one.pipe(other);
    }
  }

  /** Every connection ends at once, with a reset; what was on its way is lost. */
  break() {
    for (const [client, node] of this.#pairs) {
      client.resetAndDestroy();
      node.resetAndDestroy();
    }
  }
}
