// SPDX-License-Identifier: Apache-2.0
// Publishing and playing without a browser: ffmpeg pushes RTMP, ffprobe and a small FLV reader of
// our own pull HTTP-FLV.

import { execFile, spawn } from 'node:child_process';
import { check, Failure, patience, RUN_ID, until } from './harness.mjs';
import { clientOf } from './http.mjs';

const PROBE_MS = 20000;
const END_MS = 3000;
const FLV_TAG_MAX = 1 << 24;
const environment = () => ({ ...process.env, E2E_RUN: RUN_ID });

const sources = {
  /** A moving picture and a steady tone. */
  moving: ({ size, rate }) => ({
    video: `testsrc2=size=${size}:rate=${rate}`,
    audio: 'sine=frequency=440:sample_rate=48000',
  }),
  /** Once a second, for 100 ms, the black picture is white and the silence a tone. */
  flash: ({ size, rate }) => ({
    video: `color=c=black:size=${size}:rate=${rate},drawbox=w=iw:h=ih:c=white:t=fill:enable='lt(mod(t,1),0.1)'`,
    audio: "aevalsrc='0.8*sin(2000*PI*t)*lt(mod(t,1),0.1)':s=48000",
  }),
};

export class Ffmpeg {
  constructor(args, prefix = []) {
    const [command, ...all] = [...prefix, 'ffmpeg', '-hide_banner', '-nostdin', '-loglevel', 'error', ...args];
    this.errors = '';
    this.status = null;
    this.process = spawn(command, all,
      { stdio: ['ignore', 'ignore', 'pipe'], env: environment() });
    this.process.stderr.setEncoding('utf8').on('data', (text) => { this.errors += text; });
    this.end = new Promise((resolve) => this.process.once('exit', (code, signal) => {
      this.status = code ?? signal;
      resolve(this.status);
    }));
  }

  /** Ends as a person's q does: with an FCUnpublish. A killed one just vanishes. */
  async stop(signal = 'SIGINT') {
    if (this.status === null) this.process.kill(signal);
    const hard = setTimeout(() => this.process.kill('SIGKILL'), END_MS * patience());
    await this.end;
    clearTimeout(hard);
  }
}

/** ffmpeg that publishes `name` ("app/stream") to `rtmp`; stopped at the end of the test. */
export function pushRtmp(t, rtmp, name, options = {}) {
  const { source = 'moving', size = '640x360', rate = 30, gop = 30, video = [], audio = true, prefix } = options;
  const input = sources[source]({ size, rate });
  const publisher = new Ffmpeg([
    '-re', '-f', 'lavfi', '-i', input.video,
    ...(audio ? ['-re', '-f', 'lavfi', '-i', input.audio] : []),
    '-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-pix_fmt', 'yuv420p',
    '-profile:v', 'baseline', '-b:v', '800k', '-g', `${gop}`, '-threads', '1', ...video,
    ...(audio ? ['-c:a', 'aac', '-b:a', '96k', '-ac', '2'] : []),
    ...(rtmp.startsWith('rtmps:') ? ['-tls_verify', '0'] : []), '-f', 'flv', `${rtmp}/${name}`,
  ], prefix);
  t.defer(() => publisher.stop());
  return publisher;
}

/** Publishes "app/stream" or "app/stream?parameters" and waits until the node lists the stream. */
export async function publishRtmp(t, node, key, { rtmp = node.rtmp, ...options } = {}) {
  options.prefix = node.prefix;
  const publisher = pushRtmp(t, rtmp, key, options);
  const [name] = key.split('?');
  await until(`${name} is live`, async () => {
    if (publisher.status !== null) return true;
    return (await node.streams()).some((stream) => stream.name === name && stream.state === 'live' && stream.tracks.length);
  });
  check(publisher.status === null, () => `ffmpeg ended with ${publisher.status}: ${publisher.errors}`);
  return publisher;
}

/** ffmpeg that plays `url` and decodes it; `frames` is how many pictures it has seen. */
export function playRtmp(t, url) {
  const player = new Ffmpeg(['-probesize', '100k', '-i', url, '-threads', '1', '-f', 'null', '-',
    '-progress', 'pipe:2', '-stats_period', '0.1']);
  const said = player.process.stderr;
  player.frames = 0;
  said.removeAllListeners('data');
  said.on('data', (text) => {
    for (const line of text.split('\n')) {
      const [, frames] = /^frame=\s*(\d+)/.exec(line) ?? [];
      if (frames) player.frames = Number(frames);
      else if (line && !/^[a-z0-9_]+=/.test(line)) player.errors += `${line}\n`;
    }
  });
  t.defer(async () => { player.process.kill('SIGCONT'); await player.stop(); });
  return player;
}

/** Streams and packets of `seconds` of an URL, as ffprobe sees them. */
export function probe(url, seconds) {
  const args = ['-v', 'error', ...(url.startsWith('https:') ? ['-tls_verify', '0'] : []), '-show_streams', '-show_packets', '-of', 'json', '-read_intervals', `%+${seconds}`, url];
  return new Promise((resolve, reject) => {
    const options = { timeout: Math.round(PROBE_MS * patience()), killSignal: 'SIGKILL', maxBuffer: 64 << 20, env: environment() };
    execFile('ffprobe', args, options, (error, out, err) => {
      if (error) reject(new Failure(`ffprobe ${url}: ${err || error.message}`));
      else resolve({ ...JSON.parse(out), errors: err });
    });
  });
}

/** What ffmpeg's decoder makes of a file: {frames, width, height, errors}. */
export function decode(file) {
  const args = ['-v', 'error', '-count_frames', '-select_streams', 'v', '-show_streams', '-of', 'json', file];
  return new Promise((resolve, reject) => {
    execFile('ffprobe', args, { timeout: Math.round(PROBE_MS * patience()), killSignal: 'SIGKILL', env: environment() }, (error, out, errors) => {
      if (error) return reject(new Failure(`ffprobe ${file}: ${errors || error.message}`));
      const [{ nb_read_frames, width, height }] = JSON.parse(out).streams;
      return resolve({ frames: Number(nb_read_frames), width, height, errors });
    });
  });
}

const OPENING = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' };
const [BINARY, CLOSE, PONG] = [2, 8, 10];

/** Reads an FLV stream as it comes, over HTTP or WebSocket, and keeps count of what is in it. `prefix`:
 *  what runs a command where it is to be read. */
export class FlvViewer {
  status = 0;
  closed = false;
  error = null;
  bytes = 0;
  video = 0;
  audio = 0;
  keyframes = 0;
  backwards = 0;
  repeats = 0; // two of a track with the same time
  configs = 0;
  gap_ms = 0;
  last_ms = null;
  first_ms = null;
  step_ms = 0; // largest, of the timestamps of a track
  pongs = 0;
  #input = Buffer.alloc(0);
  #frames = Buffer.alloc(0);
  #last = { 8: -1, 9: -1 };
  #started = performance.now();
  #inHeader = true;
  #account = { backwards: 0, repeats: 0, video: 0 };

  constructor(url, headers = {}, { prefix = [], ...options } = {}) {
    if (prefix.length) this.#readElsewhere(prefix, url);
    else this.#read(url, headers, options);
  }

  #readElsewhere(prefix, url) {
    const [command, ...args] = [...prefix, 'curl', '-sSNf', url];
    this.process = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: environment() });
    this.process.stdout.on('data', (chunk) => {
      this.status = 200; // else curl gives nothing
      this.#take(chunk);
    });
    this.process.stderr.setEncoding('utf8').on('data', (text) => { this.error ??= new Failure(text.trim()); });
    this.process.once('exit', () => { this.closed = true; });
  }

  #read(url, headers, { bytes_per_s = Infinity, socket = false }) {
    const [client, more] = clientOf(url);
    this.request = client.get(url, { agent: false, headers: { ...headers, ...(socket && OPENING) }, ...more }, (response) => {
      this.status = response.statusCode;
      this.headers = response.headers;
      this.localPort = response.socket.localPort;
      response.on('data', (chunk) => {
        this.#take(chunk);
        if (bytes_per_s === Infinity) return;
        response.pause();
        setTimeout(() => response.resume(), 1000 * chunk.length / bytes_per_s);
      });
      response.on('error', () => {});
      response.on('close', () => { this.closed = true; });
    });
    this.request.on('error', (error) => { this.error = error; this.closed = true; });
    this.request.on('upgrade', (response, opened, head) => {
      this.status = response.statusCode;
      this.socket = opened;
      this.#takeFrames(head);
      opened.on('data', (chunk) => this.#takeFrames(chunk));
      opened.on('error', () => {});
      opened.on('close', () => { this.closed = true; });
    });
  }

  /** WebSocket: one whose answer is counted, when it is the same. */
  ping() {
    const payload = Buffer.from('ping');
    this.socket.write(Buffer.concat([Buffer.from([0x89, 0x80 | payload.length, 0, 0, 0, 0]), payload]));
  }

  #takeFrames(chunk) {
    this.#frames = Buffer.concat([this.#frames, chunk]);
    for (;;) {
      const have = this.#frames.length;
      const short = have >= 2 ? this.#frames[1] : 0;
      const head = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (have < head) return;
      const size = short < 126 ? short : this.#frames.readUIntBE(head === 4 ? 2 : 4, head === 4 ? 2 : 6);
      if (have < head + size) return;
      this.#message(this.#frames[0], this.#frames.subarray(head, head + size));
      if (this.error) return;
      this.#frames = this.#frames.subarray(head + size);
    }
  }

  #message(first, payload) {
    if (first === (0x80 | BINARY)) this.#take(payload);
    else if (first === (0x80 | PONG) && payload.equals(Buffer.from('ping'))) this.pongs++;
    else this.#bad(first === (0x80 | CLOSE) ? 'closed by the server' : `a frame that begins with ${first}`);
    if (this.#input.length) this.#bad('a message that is not whole tags');
  }

  #take(chunk) {
    this.bytes += chunk.length;
    if (this.status !== 200 && this.status !== 101) return;
    this.#input = Buffer.concat([this.#input, chunk]);
    for (;;) {
      if (this.#inHeader && this.#input.length >= 13) {
        if (this.#input.subarray(0, 3).toString() !== 'FLV') return this.#bad('no FLV signature');
        this.#input = this.#input.subarray(13);
        this.#inHeader = false;
      }
      if (this.#inHeader || this.#input.length < 11) return;
      const size = this.#input.readUIntBE(1, 3);
      if (size > FLV_TAG_MAX || this.#input.length < 11 + size + 4) return;
      if (this.#input.readUInt32BE(11 + size) !== size + 11) return this.#bad('wrong previous tag size');
      this.#tag(this.#input[0], this.#input.readUIntBE(4, 3) | (this.#input[7] << 24), this.#input.subarray(11, 11 + size));
      this.#input = this.#input.subarray(11 + size + 4);
    }
  }

  #bad(text) {
    this.error ??= new Failure(text);
    this.close();
  }

  #tag(type, time_ms, body) {
    if (type !== 8 && type !== 9) return;
    const isConfig = type === 9 ? body[1] === 0 : body[0] >> 4 === 10 && body[1] === 0;
    if (isConfig) { this.configs++; return; }
    if (time_ms < this.#last[type]) this.backwards++;
    if (time_ms === this.#last[type]) this.repeats++;
    if (this.#last[type] >= 0) this.step_ms = Math.max(this.step_ms, time_ms - this.#last[type]);
    this.#last[type] = time_ms;
    const now = performance.now();
    this.first_ms ??= now - this.#started;
    if (type === 8) { this.audio++; return; }
    this.video++;
    if (body[0] >> 4 === 1) this.keyframes++;
    if (this.last_ms !== null) this.gap_ms = Math.max(this.gap_ms, now - this.last_ms);
    this.last_ms = now;
  }

  /** What became of its pictures since the last call. */
  takeAccount() {
    const { step_ms, backwards, repeats, video } = this;
    const before = this.#account;
    this.#account = { backwards, repeats, video };
    this.step_ms = 0;
    return { gap_ms: this.takeGap(), step_ms, backwards: backwards - before.backwards,
      repeats: repeats - before.repeats, video: video - before.video };
  }

  /** Time without a frame so far counts too. */
  takeGap() {
    const gap = Math.max(this.gap_ms, this.last_ms === null ? 0 : performance.now() - this.last_ms);
    this.gap_ms = 0;
    return Math.round(gap);
  }

  /** Bytes of a tag that has not come whole. */
  get left() { return this.#input.length; }

  close() {
    this.process?.kill('SIGKILL');
    this.request?.destroy();
    this.socket?.destroy();
  }
}

/** `options`: bytes_per_s, for one that reads slowly; socket: over WebSocket; prefix. */
export function watchFlv(t, url, headers, options) {
  const viewer = new FlvViewer(url, headers, options);
  t.defer(() => viewer.close());
  return viewer;
}

/** Waits until the viewer has so many more pictures. */
export function moreVideo(viewer, count, deadline_ms) {
  const from = viewer.video;
  return until(`${count} more frames over FLV`, () => {
    check(!viewer.closed, () => `FLV closed: status ${viewer.status} ${viewer.error?.message ?? ''}`);
    return viewer.video >= from + count;
  }, deadline_ms);
}
