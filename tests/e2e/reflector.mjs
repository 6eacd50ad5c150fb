// SPDX-License-Identifier: Apache-2.0
// A small WHIP and WHEP server that is not ours: werift, a full ICE agent in TypeScript. What is
// published at /whip/NAME is passed on to everybody who plays /whep/NAME.

import http from 'node:http';
import { randomBytes } from 'node:crypto';
import { newConnection } from './werift.mjs';

const read = async (request) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
};

export class Reflector {
  sessions = new Map();
  published = new Map(); // name -> { tracks: {kind: track} }
  deleted = 0;
  packets = 0;

  static async start() {
    const reflector = new Reflector();
    reflector.server = http.createServer((request, response) => {
      reflector.#answer(request, response).catch((error) => {
        response.writeHead(500).end(error.message);
      });
    });
    await new Promise((resolve) => reflector.server.listen(0, '127.0.0.1', resolve));
    reflector.url = `http://127.0.0.1:${reflector.server.address().port}`;
    return reflector;
  }

  async stop() {
    for (const peer of this.sessions.values()) await peer.close();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  async #answer(request, response) {
    const [, action, name] = request.url.split('/');
    if (request.method === 'DELETE' && action === 'session') {
      this.deleted++;
      await this.sessions.get(name)?.close();
      this.sessions.delete(name);
      return response.writeHead(200).end();
    }
    if (request.method !== 'POST') return response.writeHead(405).end();
    if (action === 'whep' && !this.published.has(name)) return response.writeHead(404).end('nobody publishes this');
    const peer = newConnection();
    if (action === 'whip') this.#receive(peer, name);
    await peer.setRemoteDescription({ type: 'offer', sdp: await read(request) });
    if (action === 'whep') await this.#send(peer, name);
    await peer.setLocalDescription(await peer.createAnswer());
    const id = randomBytes(8).toString('hex');
    this.sessions.set(id, peer);
    return response.writeHead(201, { 'Content-Type': 'application/sdp', Location: `/session/${id}` })
      .end(peer.localDescription.sdp);
  }

  #receive(peer, name) {
    const entry = { tracks: {} };
    this.published.set(name, entry);
    peer.onTrack.subscribe((track) => {
      entry.tracks[track.kind] = track;
      track.onReceiveRtp.subscribe(() => { this.packets++; });
    });
  }

  async #send(peer, name) {
    const entry = this.published.get(name);
    for (const transceiver of peer.getTransceivers()) {
      const track = entry.tracks[transceiver.kind];
      if (!track) continue;
      transceiver.setDirection('sendonly');
      await transceiver.sender.replaceTrack(track);
    }
  }
}
