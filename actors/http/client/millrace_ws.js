// SPDX-License-Identifier: Apache-2.0
// millrace.js' signalling over one WebSocket; loaded by a session that asks for it (signalling: 'ws').
// Messages are msgpack, described in the node's schemas/signal.def (docs/protocol.md).

import { ANSWER_MS, BACKOFF_MS, HOLD_MS, noAnswer, refusal } from './millrace.js';

// ---- msgpack: as much of it as the node's schemas use ---------------------------------------------

const utf8 = { from: new TextDecoder(), to: new TextEncoder() };

/** Bytes of a map { tag: value }; what is 0, false or empty is left out, as the node does. */
function pack(map) {
  const out = [];
  const number = (value) => {
    if (value < 0x80) out.push(value);
    else if (value <= 0xffff) out.push(0xcd, value >> 8, value & 0xff);
    else if (value <= 0xffffffff) out.push(0xce, value >>> 24, value >> 16 & 0xff, value >> 8 & 0xff, value & 0xff);
    else out.push(0xcf, ...[56n, 48n, 40n, 32n, 24n, 16n, 8n, 0n].map((shift) => Number(BigInt(value) >> shift & 0xffn)));
  };
  const entries = Object.entries(map).filter(([, value]) => value);
  out.push(0x80 | entries.length);
  for (const [tag, value] of entries) {
    number(Number(tag));
    if (value === true) out.push(0xc3);
    else if (typeof value === 'number') number(value);
    else {
      const bytes = utf8.to.encode(value);
      out.push(0xdb, bytes.length >>> 24, bytes.length >> 16 & 0xff, bytes.length >> 8 & 0xff, bytes.length & 0xff);
      for (const byte of bytes) out.push(byte);
    }
  }
  return out;
}

/** Reads one value; the next one begins at reader.at. */
function unpack(reader) {
  const { view } = reader;
  const take = (size) => { const { at } = reader; reader.at += size; return at; };
  const text = (size) => utf8.from.decode(new Uint8Array(view.buffer, view.byteOffset + take(size), size));
  const list = (count) => Array.from({ length: count }, () => unpack(reader));
  const map = (count) => Object.fromEntries(Array.from({ length: count }, () => [unpack(reader), unpack(reader)]));
  const lead = view.getUint8(take(1));
  if (lead < 0x80) return lead;
  if (lead < 0x90) return map(lead & 0xf);
  if (lead < 0xa0) return list(lead & 0xf);
  if (lead < 0xc0) return text(lead & 0x1f);
  switch (lead) {
    case 0xc0: return null;
    case 0xc2: return false;
    case 0xc3: return true;
    case 0xc4: case 0xd9: return text(view.getUint8(take(1)));
    case 0xc5: case 0xda: return text(view.getUint16(take(2)));
    case 0xc6: case 0xdb: return text(view.getUint32(take(4)));
    case 0xcc: return view.getUint8(take(1));
    case 0xcd: return view.getUint16(take(2));
    case 0xce: return view.getUint32(take(4));
    case 0xcf: return Number(view.getBigUint64(take(8)));
    case 0xdc: return list(view.getUint16(take(2)));
    case 0xde: return map(view.getUint16(take(2)));
    default: throw new RangeError(`msgpack: ${lead}`);
  }
}

// ---- signalling over one WebSocket ----------------------------------------------------------------

/** The messages of schemas/signal.def: id, and names of their fields by tag. */
const messages = {
  hello: [0x2301, 'channel'],
  welcome: [0x2302, 'channel', 'resumed', 'lingerMs'],
  alive: [0x2303],
  open: [0x2304, 'play', 'stream', 'offer', 'token', 'resume', 'wait', 'standby', 'permit'],
  opened: [0x2305, 'session', 'answer', 'etag', 'resume', 'alternatives'],
  patch: [0x2306, 'session', 'ifMatch', 'fragment'],
  patched: [0x2307, 'status', 'etag', 'fragment', 'sentMs'],
  stop: [0x2308, 'session', 'open'],
  done: [0x2309],
  refused: [0x230a, 'status', 'code', 'text', 'retryAfterMs', 'url', 'permit'],
  ended: [0x230b, 'session', 'reason'],
  switched: [0x230c, 'session'],
  reconnect: [0x230d, 'addresses', 'session', 'withinMs'],
  alternatives: [0x230e, 'addresses'],
};
const nameOf = Object.fromEntries(Object.entries(messages).map(([name, [id]]) => [id, name]));

const ALIVE_MS = 8000; // between two signs of life
const PROBE_MS = 1000; // so long where nothing else comes in, either
const ACK_MS = 2000; // whatever is said is acknowledged at once; a connection that does not is dead
const LEAVE_TRIES = 8; // to say what is left to say: about 20 s

/** What all sessions at one address share: a numbered line of messages that outlives its connections.
 *  What the node has not acknowledged is sent again, what comes twice is dropped. */
class Channel {
  static #open = new Map(); // by address

  #url;
  #users = 0;
  #socket = null;
  #name = '';
  #welcomed = false;
  #sent = 0;
  #acked = 0;
  #seen = 0;
  #kept = []; // { seq, name, fields, written, resolve, reject }, in order
  #asked = new Map(); // by number: the messages that wait for an answer
  #watchers = new Map(); // by session
  #attempt = 0;
  #timer = null;
  #late = null;
  #doubted = false; // what was said to see that it works has not been answered yet

  static at(address) {
    const channel = this.#open.get(address.href) ?? new Channel(address);
    this.#open.set(address.href, channel);
    channel.#users++;
    return channel;
  }

  constructor(address) {
    this.#url = new URL('ws', address);
    this.#url.protocol = this.#url.protocol.replace('http', 'ws');
  }

  /** A user less; nobody left: the line ends once it has nothing more to say. */
  leave() {
    if (--this.#users) return;
    if (!this.#kept.length) this.#end();
  }

  #end() {
    this.#welcomed = false;
    const { href } = new URL('.', this.#url);
    Channel.#open.delete(href.replace('ws', 'http'));
    clearTimeout(this.#timer);
    this.#expect(0);
    this.#socket?.close();
    this.#socket = null;
  }

  /** The answer to a message; `network` when there is none in time (it may still be executed). */
  async ask(name, fields, { ms = ANSWER_MS, signal = null } = {}) {
    if (this.#attempt) throw noAnswer(); // it is being tried, and sessions hear when there is an answer
    const message = { name, fields };
    const late = AbortSignal.timeout(ms);
    const answer = new Promise((resolve, reject) => {
      Object.assign(message, { resolve, reject });
      late.addEventListener('abort', () => reject(noAnswer()));
      signal?.addEventListener('abort', () => reject(signal.reason));
    }).finally(() => { if (this.#asked.get(message.seq) === message) this.#asked.delete(message.seq); });
    answer.catch((error) => { // not wanted any more, should it still be executed
      if (name === 'open' && !error.status && message.written) this.tell('stop', { open: message.seq });
    });
    this.#keep(message);
    return answer;
  }

  /** A message whose answer is of no interest; it is said as soon as there is somebody to say it to. */
  tell(name, fields) { this.#keep({ name, fields }); }

  /** Looks whether the connection still works, which is in doubt. */
  probe() {
    if (!this.#welcomed) return;
    this.#write(0, 'alive');
    if (!this.#doubted) this.#expect(PROBE_MS);
    this.#doubted = true;
  }

  watch(session, listener) { this.#watchers.set(session, listener); }
  unwatch(session) { this.#watchers.delete(session); }

  // ---- connections

  #number(message) {
    message.seq = ++this.#sent;
    if (message.resolve) this.#asked.set(message.seq, message);
  }

  #keep(message) {
    this.#number(message);
    this.#kept.push(message);
    if (this.#welcomed) this.#writeKept(message);
    else if (!this.#attempt) this.#connect();
  }

  #writeKept(message) {
    message.written = true;
    this.#write(message.seq, message.name, message.fields);
  }

  #write(seq, name, fields = {}) {
    const [id, ...names] = messages[name];
    const body = Object.fromEntries(names.map((field, i) => [i + 1, fields[field]]));
    this.#socket.send(new Uint8Array([...pack({ 1: seq, 2: this.#seen, 4: id }), ...pack(body)]));
    if (!this.#late) this.#expect(ACK_MS);
  }

  #connect() {
    if (this.#socket) return;
    const socket = this.#socket = new WebSocket(this.#url);
    socket.binaryType = 'arraybuffer';
    this.#expect(ANSWER_MS);
    socket.onopen = () => { if (this.#socket === socket) this.#write(0, 'hello', { channel: this.#name }); };
    socket.onmessage = ({ data }) => { if (this.#socket === socket) this.#take(data); };
    socket.onclose = () => { if (this.#socket === socket) this.#lose(); };
  }

  #lose() {
    const reached = this.#welcomed;
    this.#socket = null;
    this.#welcomed = false;
    clearTimeout(this.#timer);
    this.#expect(0);
    if (!reached && (this.#attempt || !this.#name)) this.#giveUpAsking();
    this.#attempt = reached ? 0 : this.#attempt + 1;
    if (!this.#users && (!this.#kept.length || this.#attempt > LEAVE_TRIES)) return this.#end();
    if (!this.#kept.length && !this.#asked.size && !this.#watchers.size) { // nobody misses it
      this.#attempt = 0;
      return;
    }
    if (!reached) for (const listener of this.#watchers.values()) listener({ name: 'unreachable' });
    const most = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** this.#attempt);
    this.#timer = setTimeout(() => this.#connect(), reached ? 0 : most * (0.5 + Math.random() / 2));
  }

  /** Nobody answers there: who asks may ask elsewhere. Questions that were never on their way are taken
   *  back, and their numbers with them; what was told is told later. */
  #giveUpAsking() {
    const asked = [...this.#asked.values()];
    this.#kept = this.#kept.filter(({ written, reject }) => written || !reject);
    for (const { seq, written } of asked) if (!written) this.#asked.delete(seq);
    this.#sent = this.#kept.findLast(({ written }) => written)?.seq ?? this.#acked;
    for (const message of this.#kept) if (!message.written) this.#number(message);
    for (const { reject } of asked) reject(noAnswer());
  }

  /** Says that we live. */
  #beat() {
    this.#timer = setTimeout(() => {
      this.#write(0, 'alive');
      this.#beat();
    }, ALIVE_MS);
  }

  /** Something comes within `ms` (0: nothing has to), or the connection is dead. */
  #expect(ms) {
    const socket = this.#socket;
    clearTimeout(this.#late);
    this.#doubted = false;
    this.#late = ms && setTimeout(() => {
      socket.close();
      if (this.#socket === socket) this.#lose();
    }, ms);
  }

  #take(data) {
    const reader = { view: new DataView(data), at: 0 };
    const envelope = unpack(reader);
    const body = unpack(reader);
    const name = nameOf[envelope[4]];
    const fields = Object.fromEntries((messages[name] ?? []).slice(1).map((field, i) => [field, body[i + 1]]));
    this.#expect(0);
    if (name === 'welcome') return this.#begin(fields, envelope[2] ?? 0);
    this.#acknowledged(envelope[2] ?? 0);
    const seq = envelope[1] ?? 0;
    if (!seq || seq <= this.#seen) return;
    this.#seen = seq;
    this.#act(name, fields, envelope[3] ?? 0);
    // said again soon by what we send anyway; a node that waits for it holds no more than its bound
    if (this.#welcomed) this.#write(0, 'alive');
  }

  #acknowledged(ack) {
    this.#acked = Math.max(this.#acked, ack);
    this.#kept = this.#kept.filter(({ seq }) => seq > ack);
    if (!this.#users && !this.#kept.length) this.#end();
  }

  #begin({ channel, resumed }, ack) {
    this.#welcomed = true;
    this.#attempt = 0;
    this.#beat();
    if (resumed) this.#acknowledged(ack);
    else if (this.#name) this.#beginAnew();
    this.#name = channel;
    for (const message of this.#kept) this.#writeKept(message);
  }

  /** The node has forgotten the line. What it never acknowledged is asked anew; who waits for anything
   *  else asks again; sessions look whether they are still there, and are watched from then on. */
  #beginAnew() {
    const lost = new Set(this.#asked.values());
    this.#kept = this.#kept.filter((message) => (message.name === 'open' ? lost.has(message) : !message.fields.open));
    for (const message of this.#kept) lost.delete(message);
    this.#asked = new Map();
    this.#sent = this.#seen = this.#acked = 0;
    for (const message of this.#kept) this.#number(message);
    for (const message of lost) {
      message.written = false; // there is nothing to take back
      message.reject(noAnswer());
    }
    for (const listener of this.#watchers.values()) listener({ name: 'forgotten' });
  }

  #act(name, fields, answers) {
    const asked = this.#asked.get(answers);
    this.#asked.delete(answers);
    if (name === 'refused') {
      const elsewhere = fields.url ? { url: fields.url, permit: fields.permit } : null;
      asked?.reject(refusal(fields.status, fields.text, Math.ceil((fields.retryAfterMs ?? 0) / 1000), elsewhere));
    }
    else if (answers) asked?.resolve(fields);
    else if (['reconnect', 'alternatives'].includes(name) && !fields.session)
      for (const listener of this.#watchers.values()) listener({ ...fields, name });
    else this.#watchers.get(fields.session)?.({ ...fields, name });
    if (name === 'ended') this.#watchers.delete(fields.session);
  }
}

/** The same verbs as HttpSignalling, over the channel of an address. */
export class SocketSignalling {
  #address;
  #token;
  #channel = null;

  constructor(address, token) {
    this.#address = address;
    this.#token = token;
  }

  get #line() { return this.#channel ??= Channel.at(this.#address); }

  async open(role, stream, { offer, resume, wait, standby, permit, signal }) {
    const token = typeof this.#token === 'function' ? await this.#token() : this.#token;
    const fields = { play: role === 'play', stream, offer, resume, token, wait, standby, permit };
    const opened = await this.#line.ask('open', fields, { ms: wait ? HOLD_MS : ANSWER_MS, signal });
    const path = `${role === 'publish' ? 'whip' : 'whep'}/${stream}/${opened.session}`;
    return {
      handle: { session: opened.session, etag: opened.etag, url: new URL(path, this.#address) },
      resume: opened.resume ?? '',
      alternatives: (opened.alternatives ?? '').split(' ').filter(Boolean),
      answer: opened.answer,
    };
  }

  async #patch(handle, fragment, ifMatch, ms = ANSWER_MS) {
    const patched = await this.#line.ask('patch', { session: handle.session, ifMatch, fragment }, { ms }).catch((error) => {
      if (error.code === 'not_found') this.#channel?.unwatch(handle.session);
      throw error;
    });
    handle.etag = patched.etag ?? handle.etag;
    handle.sent = patched.sentMs ? patched.sentMs - 1 : null;
    return patched.fragment ?? '';
  }

  restart(handle, fragment) { return this.#patch(handle, fragment, '*'); }
  ask(handle, fragment, ms) { return this.#patch(handle, fragment, handle.etag, ms); }

  /** A page that goes away takes its WebSocket with it, but not a request that may outlive it. */
  stop(handle, leaving) {
    this.#channel?.unwatch(handle.session);
    if (leaving) fetch(handle.url, { method: 'DELETE', keepalive: true }).catch(() => {});
    else this.#line.tell('stop', { session: handle.session });
  }

  probe() { this.#channel?.probe(); }
  watch(handle, listener) { this.#line.watch(handle.session, listener); }

  close() {
    this.#channel?.leave();
    this.#channel = null;
  }
}
