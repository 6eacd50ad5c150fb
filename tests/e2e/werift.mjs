// SPDX-License-Identifier: Apache-2.0
// WebRTC that is neither ours nor a browser's: werift, a full ICE agent in TypeScript. A publisher
// sends what ffmpeg has packetised, a viewer keeps all packets that come.

import { createSocket } from 'node:dgram';
import {
  dePacketizeRtpPackets, MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters, useAbsSendTime,
  useNACK, usePLI, useSdesMid, useTransportWideCC, useTWCC,
} from 'werift';
import { check, until } from './harness.mjs';
import { request } from './http.mjs';
import { Ffmpeg } from './media.mjs';

const CONNECTED_MS = 10000;
const RTP_BYTES = 1200; // ffmpeg's packets

/** Not RTCP, nor STUN or DTLS (RFC 5761 4, RFC 7983 7). */
const isRtp = (bytes) => bytes[0] >> 6 === 2 && (bytes[1] < 192 || bytes[1] > 223);

const h264 = 'level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f';
const picture = (name, parameters) => new RTCRtpCodecParameters({
  mimeType: `video/${name}`, clockRate: 90000, payloadType: 96, parameters,
  rtcpFeedback: [useNACK(), usePLI(), useTWCC()],
});
const rtx = new RTCRtpCodecParameters({ mimeType: 'video/rtx', clockRate: 90000, payloadType: 97, parameters: 'apt=96' });
const opus = new RTCRtpCodecParameters({
  mimeType: 'audio/opus', clockRate: 48000, channels: 2, payloadType: 111, rtcpFeedback: [useTWCC()],
});
const extensions = () => [useSdesMid(), useAbsSendTime(), useTransportWideCC()];

/** A connection on the loopback; `tcp`: it can do ICE over TCP as well. */
export const newConnection = ({ codec = 'H264', tcp = false } = {}) => new RTCPeerConnection({
  codecs: { video: [picture(codec, codec === 'H264' ? h264 : undefined), rtx], audio: [opus] },
  headerExtensions: { video: extensions(), audio: extensions() },
  iceAdditionalHostAddresses: ['127.0.0.1'], iceUseIpv6: false, iceUseTcp: tcp,
});

const line = (sdp, name) => sdp.match(new RegExp(`^a=${name}:.*$`, 'm'))[0].trim();

/** One session of WHIP or WHEP, as a client. */
class Session {
  constructor(t, direction, options = {}) {
    this.options = options;
    this.pc = newConnection(options);
    t.defer(() => this.pc.close());
    this.transceivers = Object.fromEntries(['video', 'audio'].map((kind) =>
      [kind, this.pc.addTransceiver(this.makeTrack?.(kind) ?? kind, { direction })]));
  }

  get transport() { return this.pc.dtlsTransports[0]; }

  async open(url) {
    await this.pc.setLocalDescription(await this.pc.createOffer());
    const answer = await request(url, {
      method: 'POST', headers: { 'Content-Type': 'application/sdp' }, body: this.pc.localDescription.sdp,
    });
    check(answer.status === 201, () => `${url}: ${answer.status} ${answer.text}`);
    this.location = new URL(answer.headers.location, url).href;
    this.etag = answer.headers.etag;
    const sdp = this.options.tcp ? answer.text.replace(/^a=candidate:\S+ 1 udp .*\r\n/gm, '') : answer.text;
    await this.pc.setRemoteDescription({ type: 'answer', sdp });
    await this.connected();
  }

  async connected() {
    await until('werift is connected', () => this.pc.connectionState === 'connected'
      && this.pc.iceTransports[0].state !== 'checking' && this.transport.state === 'connected', CONNECTED_MS);
  }

  /** Every so-manieth packet of media that is sent (or comes) is lost. */
  lose(one_in, direction) {
    const { connection } = this.transport.iceTransport;
    const [owner, name] = direction === 'out' ? [connection, 'send'] : [connection.onData, 'execute'];
    const pass = owner[name].bind(owner);
    let count = 0;
    owner[name] = async (bytes) => {
      if (!isRtp(bytes) || ++count % one_in) await pass(bytes);
      else this.lost = (this.lost ?? 0) + 1;
    };
  }

  /** An ICE restart as RFC 9725 4.3.2 has it. */
  async restart() {
    await this.pc.setLocalDescription(await this.pc.createOffer({ iceRestart: true }));
    const mine = this.pc.localDescription.sdp;
    const answer = await request(this.location, {
      method: 'PATCH', headers: { 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': '*' },
      body: `${line(mine, 'ice-ufrag')}\r\n${line(mine, 'ice-pwd')}\r\n`,
    });
    if (answer.status !== 200) return answer;
    const sdp = this.pc.currentRemoteDescription.sdp
      .replace(/^a=ice-ufrag:.*$/gm, line(answer.text, 'ice-ufrag'))
      .replace(/^a=ice-pwd:.*$/gm, line(answer.text, 'ice-pwd'));
    await this.pc.setRemoteDescription({ type: 'answer', sdp });
    await this.pc.iceTransports[0].start(); // with keys there already it does not by itself
    await this.connected();
    return answer;
  }

  async delete() { return (await request(this.location, { method: 'DELETE' })).status; }
}

/** RTP of ffmpeg, one socket a track: calls `take` with each packet. */
async function receive(t, take) {
  const socket = createSocket('udp4');
  t.defer(() => new Promise((resolve) => socket.close(resolve)));
  socket.on('message', (bytes) => { if (isRtp(bytes)) take(bytes); });
  await new Promise((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  return `rtp://127.0.0.1:${port}?pkt_size=${RTP_BYTES}&rtcpport=${port}`;
}

const encoders = {
  H264: ['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-profile:v', 'baseline', '-pix_fmt', 'yuv420p'],
  VP8: ['-c:v', 'libvpx', '-deadline', 'realtime', '-cpu-used', '8'],
};

export class WeriftPublisher extends Session {
  makeTrack(kind) {
    this.tracks = { ...this.tracks, [kind]: new MediaStreamTrack({ kind }) };
    return this.tracks[kind];
  }

  static async start(t, url, { codec = 'H264', tcp } = {}) {
    const publisher = new WeriftPublisher(t, 'sendonly', { codec, tcp });
    const to = {};
    for (const kind of ['video', 'audio']) {
      to[kind] = await receive(t, (bytes) => {
        if (kind === 'video') publisher.first_at ??= performance.now();
        publisher.tracks[kind].writeRtp(bytes);
      });
    }
    await publisher.open(url);
    publisher.ffmpeg = new Ffmpeg([
      '-re', '-f', 'lavfi', '-i', 'testsrc2=size=320x240:rate=30', '-re', '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000',
      '-map', '0:v', ...encoders[codec], '-b:v', '600k', '-g', '30', '-threads', '1', '-f', 'rtp', to.video,
      '-map', '1:a', '-c:a', 'libopus', '-b:a', '64k', '-ac', '2', '-f', 'rtp', to.audio,
    ]);
    t.defer(() => publisher.ffmpeg.stop());
    return publisher;
  }

  /** Of the video sender: {nackCount, retransmittedPacketsSent, pliCount, …}. */
  async statistics() {
    const report = await this.transceivers.video.sender.getStats();
    return [...report.values()].find((row) => row.type === 'outbound-rtp');
  }
}

/** What came of one track, in the order of the numbers. */
class Heard {
  packets = new Map();
  #newest = null;

  take(packet) {
    const { sequenceNumber } = packet.header;
    this.#newest ??= sequenceNumber + 65536;
    const position = this.#newest + ((sequenceNumber - this.#newest) << 16 >> 16);
    this.#newest = Math.max(this.#newest, position);
    this.packets.set(position, packet);
  }

  get count() { return this.packets.size; }
  get inOrder() { return [...this.packets.keys()].sort((a, b) => a - b).map((position) => this.packets.get(position)); }

  /** Missing between the first and the newest but `pending`, which may still be on their way. */
  holes(pending = 0) {
    const first = Math.min(...this.packets.keys());
    let missing = 0;
    for (let at = first; at <= this.#newest - pending; at++) missing += !this.packets.has(at);
    return missing;
  }

  timestampsGrow() {
    const times = this.inOrder.map((packet) => packet.header.timestamp);
    return times.every((time, i) => !i || ((time - times[i - 1]) | 0) >= 0);
  }
}

export class WeriftViewer extends Session {
  video = new Heard();
  audio = new Heard();

  static async start(t, url, options) {
    const viewer = new WeriftViewer(t, 'recvonly', options);
    viewer.pc.onTrack.subscribe((track) => track.onReceiveRtp.subscribe((packet) => {
      if (track.kind === 'video') viewer.next?.();
      viewer[track.kind].take(packet);
    }));
    await viewer.open(url);
    return viewer;
  }

  /** When the next packet of the picture comes. */
  nextPicture() {
    return new Promise((resolve) => {
      this.next = () => { this.next = null; resolve(performance.now()); };
    });
  }

  /** Waits for so many more packets of picture and sound. */
  async more(count, deadline_ms = CONNECTED_MS) {
    const from = [this.video.count, this.audio.count];
    await until(`${count} more packets of each track`, () =>
      this.video.count >= from[0] + count && this.audio.count >= from[1] + count, deadline_ms);
  }

  /** The H.264 that came, as a decoder reads it. */
  annexB() { return dePacketizeRtpPackets('MPEG4/ISO/AVC', this.video.inOrder).data; }
}
