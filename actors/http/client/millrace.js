// SPDX-License-Identifier: Apache-2.0
// millrace.js: publish to and play from Millrace nodes, and stay there. When the device changes its
// network, the path is lost or the node goes away, the session is mended under the page: an ICE
// restart first, then a new session with the resume token, at the same or the next address. The page
// keeps its MediaStream, its <video> and its capture tracks. No dependencies; docs/client.md.
//
//   connecting --media flows--> live --path lost--> recovering --media flows--> live
//       | '--nobody publishes--> waiting                 |
//       '----------------------- ended <-----------------'  stop(), refused for good, given up

export const ANSWER_MS = 5000; // for the node to answer
export const HOLD_MS = 35000; // … when it holds the request until somebody publishes
const CONNECT_MS = 10000; // for media to flow through a new session
const RESTART_MS = 6000; // … after an ICE restart: Chromium gathers for a second first
const LOOK_MS = 1000; // between two looks at the statistics
const SILENT_LOOKS = 2; // so many without a packet, and the node is asked
const PULSE_MS = 350; // between two looks whether anything comes in
const SILENT_PULSES = 2; // so many without a packet, and the node is asked …
const SUSPECT_MS = 1000; // … and given so long to answer
const FLIGHT_MS = 300; // so long a packet may take that the node has sent
const USUAL_PULSES = 4; // so many tell how seldom a publisher hears of the node
const HANDOVER_MS = 5000; // for a new session to have something to show before the old one is ended
const INQUIRY_LOOKS = 10; // over HTTP a node tells nothing by itself: it is asked after so many looks
const CUT = 'nothing comes in any more';
const NAMED_MAX = 8; // addresses that nodes have told of …
const NAMED_FAILURES = 3; // … is forgotten one that has failed so many times in a row, …
const NAMED_MISSED = 3; // … or that so many lists did not have any more
const QUIET_MS = 1200; // more of it, and the path is dead: Chromium checks one that works every 2.5 s
export const BACKOFF_MS = { first: 250, most: 4000 };
const RECOVER_S = 60;
const HELD_STATUS = 409; // to play what nobody publishes

// ---- errors -------------------------------------------------------------------------------------

const codes = {
  307: 'elsewhere',
  400: 'bad_request', 401: 'unauthorized', 403: 'forbidden', 404: 'not_found', 406: 'unsupported', 409: 'conflict',
  412: 'precondition', 415: 'unsupported', 422: 'unsupported', 428: 'precondition', 429: 'rate_limited', 503: 'unavailable',
};

/** What went wrong: `code` says it to programs, `message` to people, `status` is HTTP's (0: no answer). */
export class MillraceError extends Error {
  constructor(code, message, { status = 0, retryAfter = 0, elsewhere = null } = {}) {
    super(message);
    this.name = 'MillraceError';
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
    this.elsewhere = elsewhere; // 307: { url, permit }
  }
}

export const refusal = (status, message, retryAfter = 0, elsewhere = null) =>
  new MillraceError(codes[status] ?? 'refused', message || `The node answered ${status}.`, { status, retryAfter, elsewhere });

/** The error that a response tells of (RFC 9457); never fails. */
export async function errorOf(response) {
  let message = '';
  try {
    const document = await response.json();
    message = document.error?.message ?? document.detail ?? '';
  } catch { /* no document: the status has to do */ }
  return refusal(response.status, message, Number(response.headers.get('Retry-After')) || 0);
}

export const noAnswer = () => new MillraceError('network', 'The node does not answer.');
const stopped = () => new MillraceError('stopped', 'The session was stopped.');

/** Will the same request be answered otherwise later, or elsewhere? */
const passes = (error) => ['network', 'no_path', 'rate_limited', 'unavailable', 'conflict', 'gone'].includes(error.code) ||
  error.status >= 500;

// ---- small things -------------------------------------------------------------------------------

const lineOf = (sdp, name) => sdp.match(new RegExp(`^a=${name}:.*$`, 'm'))?.[0].trim() ?? '';

/** What a PATCH carries (RFC 8840): credentials of the one transport that there is. */
function fragmentOf(sdp) {
  const lines = ['ice-options', 'group'].map((name) => lineOf(sdp, name))
    .concat(sdp.match(/^m=.*$/m)[0].trim(), ['mid', 'ice-ufrag', 'ice-pwd'].map((name) => lineOf(sdp, name)));
  return `${lines.filter(Boolean).join('\r\n')}\r\n`;
}

/** Resolves after `ms`, or at once when `wake` says so; rejects when `signal` aborts. */
const pause = (ms, signal, wake) => new Promise((resolve, reject) => {
  const end = (settle) => {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    settle();
  };
  const onAbort = () => end(() => reject(signal.reason));
  const timer = setTimeout(() => end(resolve), ms);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  wake?.(() => end(resolve));
});

/** An address of a node, as URLs of its end-points are resolved against it. */
const baseOf = (url) => new URL(`${url}`.replace(/\/?$/, '/'), location.href);

/** Addresses as nodes write them: separated by spaces. */
const listOf = (addresses = '') => addresses.split(' ').filter(Boolean);

/** Addresses of the Link header's alternates (RFC 8288); `path` is the end-point's there. */
const alternatesOf = (link, path) => [...(link ?? '').matchAll(/<([^>]*)>\s*;\s*rel="?alternate"?/g)]
  .map(([, url]) => url).filter((url) => url.endsWith(`/${path}`)).map((url) => url.slice(0, -path.length));

// ---- addresses ----------------------------------------------------------------------------------

/** Where a session may be: a place (its signalling) an address, the page's own first. Those that nodes have
 *  told of are forgotten when they fail again and again, or are not told of any more, but never one that is
 *  `inUse`. */
class Places {
  #rows; // { href, place, own, failures, missed }
  #make;
  #inUse;

  constructor(hrefs, make, inUse) {
    this.#make = make;
    this.#inUse = inUse;
    this.#rows = hrefs.map((href) => this.#row(href, true));
  }

  #row(href, own) { return { href, own, place: this.#make(new URL(href)), failures: 0, missed: 0 }; }
  #of(place) { return this.#rows.find((row) => row.place === place); }

  get addresses() { return this.#rows.map(({ href }) => href); }
  get count() { return this.#rows.length; }
  get own() { return this.#rows.filter(({ own }) => own).map(({ place }) => place); }
  get named() { return this.#rows.filter(({ own }) => !own).map(({ place }) => place); }

  addressOf(place) { return this.#of(place)?.href; }

  after(place) {
    const at = this.#rows.findIndex((row) => row.place === place);
    return this.#rows[(at + 1) % this.#rows.length].place;
  }

  /** The place of an address that a node has told of; null: this page may not go there, or enough are known. */
  at(url) {
    if (!URL.canParse(url, location.href)) return null;
    const { href, protocol } = baseOf(url);
    const known = this.#rows.find((row) => row.href === href);
    if (known) return known.place;
    const allowed = protocol === 'https:' || (protocol === 'http:' && location.protocol !== 'https:');
    if (!allowed) return null;
    if (this.named.length >= NAMED_MAX) this.#forget(({ failures, missed }) => failures + missed > 0);
    if (this.named.length >= NAMED_MAX) return null;
    this.#rows.push(this.#row(href, false));
    return this.#rows.at(-1).place;
  }

  /** A list of all that a node knows, said at `place`: their places. */
  told(urls, place) {
    const heard = urls.map((url) => this.at(url)).filter(Boolean);
    if (urls.length) for (const row of this.#rows) row.missed = heard.includes(row.place) ? 0 : row.missed + 1;
    this.#forget((row) => row.missed >= NAMED_MISSED && row.place !== place);
    return heard;
  }

  served(place) { if (this.#of(place)) this.#of(place).failures = 0; }

  failed(place) {
    const row = this.#of(place);
    if (row) row.failures++;
    this.#forget(({ failures }) => failures >= NAMED_FAILURES);
  }

  close() { for (const { place } of this.#rows) place.close(); }

  #forget(condition) {
    const used = this.#inUse();
    const stays = (row) => row.own || used.includes(row.place) || !condition(row);
    for (const row of this.#rows) if (!stays(row)) row.place.close();
    this.#rows = this.#rows.filter(stays);
  }
}

// ---- signalling by WHIP and WHEP ----------------------------------------------------------------

/** Verbs of one address. A handle says where a session is; what is wrong comes as a MillraceError. */
class HttpSignalling {
  #address;
  #token;

  constructor(address, token) {
    this.#address = address;
    this.#token = token;
  }

  async #fetch(url, method, headers = {}, body = undefined, { ms = ANSWER_MS, signal = null, keepalive = false } = {}) {
    const token = typeof this.#token === 'function' ? await this.#token() : this.#token;
    if (token) headers.Authorization = `Bearer ${token}`;
    const late = AbortSignal.timeout(ms);
    try {
      return await fetch(url, { method, headers, body, keepalive, signal: signal ? AbortSignal.any([signal, late]) : late });
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw error instanceof MillraceError ? error : noAnswer();
    }
  }

  /** → { handle, answer, resume, address, alternatives }; `address`: another node serves it (307). */
  async open(role, stream, { offer, resume, wait, standby, signal }) {
    const path = `${role === 'publish' ? 'whip' : 'whep'}/${stream}`;
    const url = new URL(path, this.#address);
    if (wait) url.searchParams.set('wait', '1');
    if (standby) url.searchParams.set('standby', '1');
    const headers = { 'Content-Type': 'application/sdp', ...(resume && { 'Millrace-Resume': resume }) };
    const response = await this.#fetch(url, 'POST', headers, offer, { ms: wait ? HOLD_MS : ANSWER_MS, signal });
    if (response.status !== 201) throw await errorOf(response);
    const [there] = response.url.split('?');
    return {
      handle: { url: new URL(response.headers.get('Location'), there), etag: response.headers.get('ETag'), path },
      address: response.redirected && there.endsWith(path) ? there.slice(0, -path.length) : '',
      alternatives: alternatesOf(response.headers.get('Link'), path),
      resume: response.headers.get('Millrace-Resume') ?? '',
      answer: await response.text(),
    };
  }

  async #patch(handle, fragment, ifMatch, ms = ANSWER_MS) {
    const headers = { 'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': ifMatch };
    const response = await this.#fetch(handle.url, 'PATCH', headers, fragment, { ms });
    if (!response.ok) throw await errorOf(response);
    handle.etag = response.headers.get('ETag') ?? handle.etag;
    handle.sent = response.headers.has('Millrace-Sent') ? Number(response.headers.get('Millrace-Sent')) : null;
    const addresses = alternatesOf(response.headers.get('Link'), handle.path).join(' ');
    if (addresses) handle.listener?.({ name: response.headers.has('Millrace-Reconnect') ? 'reconnect' : 'alternatives', addresses });
    return response.text();
  }

  /** New credentials for old ones. */
  restart(handle, fragment) { return this.#patch(handle, fragment, '*'); }

  /** Is the session there? A fragment that says nothing new asks. */
  ask(handle, fragment, ms) { return this.#patch(handle, fragment, handle.etag, ms); }

  stop(handle) { this.#fetch(handle.url, 'DELETE', {}, undefined, { keepalive: true }).catch(() => {}); }

  /** Over HTTP the node says nothing unless it is asked, and there is no connection to look after. */
  inquires = true;
  watch(handle, listener) { handle.listener = listener; }
  probe() {}
  close() {}
}

// ---- statistics ---------------------------------------------------------------------------------

const empty = { frames: 0, freezes: 0, freezeMs: 0, lost: 0, packets: 0 };

/** Reads one peer connection; rates are those since the last reading. */
class Meter {
  #pc;
  #last = null;
  counted = { ...empty };

  constructor(pc) { this.#pc = pc; }

  async read() {
    const report = await this.#pc.getStats();
    const rows = [...report.values()];
    const receives = this.#pc.getTransceivers().some((one) => one.direction === 'recvonly');
    const media = rows.filter((row) => row.type === (receives ? 'inbound-rtp' : 'outbound-rtp'));
    const told = receives ? media : rows.filter((row) => row.type === 'remote-inbound-rtp');
    const video = media.filter((row) => row.kind === 'video').sort((a, b) => (b.frameWidth ?? 0) - (a.frameWidth ?? 0))[0];
    const audio = media.find((row) => row.kind === 'audio');
    const transport = rows.find((row) => row.type === 'transport');
    const pair = report.get(transport?.selectedCandidatePairId) ?? rows.find((row) => row.type === 'candidate-pair' && row.nominated);
    const sum = (list, name) => list.reduce((total, row) => total + (row[name] ?? 0), 0);
    const now = {
      at: performance.now(),
      bytes: sum(media, receives ? 'bytesReceived' : 'bytesSent'),
      packets: sum(media, receives ? 'packetsReceived' : 'packetsSent'),
      lost: sum(told, 'packetsLost'),
      heard: (transport?.packetsReceived ?? 0) + (pair?.responsesReceived ?? 0),
      shown: receives ? (video?.framesDecoded ?? audio?.totalSamplesReceived ?? 0) : sum(media, 'packetsSent'),
    };
    const last = this.#last ?? now;
    this.#last = now;
    this.counted = {
      packets: now.packets,
      lost: now.lost,
      frames: video?.framesDecoded ?? video?.framesEncoded ?? 0,
      freezes: video?.freezeCount ?? 0,
      freezeMs: Math.round((video?.totalFreezesDuration ?? 0) * 1000),
    };
    const packets = now.packets - last.packets + (receives ? now.lost - last.lost : 0);
    return {
      heard: now.heard,
      sent: receives ? 0 : now.packets,
      shown: now.shown,
      figures: {
        bitrate: now.at > last.at ? Math.round((now.bytes - last.bytes) * 8000 / (now.at - last.at)) : 0,
        lossRate: packets > 0 ? Math.max(0, (now.lost - last.lost) / packets) : 0,
        rtt: pair?.currentRoundTripTime >= 0 ? pair.currentRoundTripTime * 1000 : undefined,
        jitter: (video ?? audio)?.jitter >= 0 ? (video ?? audio).jitter * 1000 : undefined,
        width: video?.frameWidth,
        height: video?.frameHeight,
        fps: video?.framesPerSecond,
        codec: report.get(video?.codecId ?? audio?.codecId)?.mimeType?.split('/')[1],
        limitedBy: video?.qualityLimitationReason,
      },
    };
  }
}

// ---- what differs between publishing and playing ------------------------------------------------

/** Sends the tracks of `media`, which stay the page's: nothing here stops them. */
class PublishRole {
  name = 'publish';

  constructor(media) { this.media = media; }

  dress(pc) {
    for (const track of this.media.getTracks())
      if (track.readyState === 'live') pc.addTransceiver(track, { direction: 'sendonly', streams: [this.media] });
  }

  /** Media flows through `pc` now: the one before it is of no use any more. */
  adopt(pc, before) { before?.close(); }

  leave() {}
}

/** One MediaStream for as long as the session lives. Tracks of a new connection come in beside the old
 *  ones, which leave only then: a <video> never sees the stream end, and holds the last picture. */
class PlayRole {
  name = 'play';
  media = new MediaStream();
  #kinds;
  #shown = null;
  #tracks = new Map();

  constructor(kinds) { this.#kinds = kinds; }

  dress(pc) {
    const tracks = [];
    this.#tracks.set(pc, tracks);
    this.#shown ??= pc;
    pc.addEventListener('track', ({ track }) => {
      tracks.push(track);
      if (this.#shown === pc) this.media.addTrack(track);
    });
    for (const kind of this.#kinds) pc.addTransceiver(kind, { direction: 'recvonly' });
  }

  adopt(pc) {
    if (this.#shown === pc) return;
    for (const track of this.#tracks.get(pc)) this.media.addTrack(track);
    this.#shown = pc;
    for (const [other, tracks] of this.#tracks) {
      if (other === pc) continue;
      for (const track of tracks) this.media.removeTrack(track);
      other.close();
      this.#tracks.delete(other);
    }
  }

  /** An attempt that came to nothing. */
  leave(pc) {
    for (const track of this.#tracks.get(pc) ?? []) this.media.removeTrack(track);
    this.#tracks.delete(pc);
    if (this.#shown === pc) this.#shown = null;
  }

  close() { for (const pc of this.#tracks.keys()) pc.close(); }
}

// ---- a session ----------------------------------------------------------------------------------

/** Made by publish() and play(). Events: state, recovered, switched, stats, error. */
export class Session extends EventTarget {
  #role;
  #stream;
  #options;
  #urls; // that the page has named
  #places = null; // they, and what nodes have told of
  #place = null; // which of them the session is at
  #newPlace = (address) => new HttpSignalling(address, this.#options.token);
  #pc = null;
  #meter = null;
  #handle = null;
  #retired = null; // the handle of the session before, which shows the picture until the new one has one
  #resume = '';
  #state = 'connecting';
  #stopping = new AbortController();
  #wake = null;
  #heard = { packets: -1, silent: 0 };
  #past = { ...empty };
  #counts = { sessions: 0, restarts: 0, recoveries: 0 };
  #figures = {};
  #timer = null;
  #looks = Math.floor(Math.random() * INQUIRY_LOOKS); // at the statistics: not all pages ask at once

  /** Resolves when media flows for the first time; rejects when it never will. */
  ready;

  constructor(role, stream, options) {
    super();
    if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}\/[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}$/.test(stream))
      throw new MillraceError('bad_request', 'A stream’s name is app/stream, such as live/demo.');
    this.#role = role;
    this.#stream = stream;
    this.#options = { recoverFor: RECOVER_S, ...options };
    this.#urls = [options.urls ?? location.origin].flat().map((url) => baseOf(url).href);
    addEventListener('online', this.#onNetwork);
    addEventListener('pagehide', this.#onLeave);
    navigator.connection?.addEventListener('change', this.#onNetwork);
    this.ready = this.#start();
    this.ready.catch(() => {});
  }

  get state() { return this.#state; }

  /** Play: what a <video> shows. Publish: what the page gave. The same object for ever. */
  get media() { return this.#role.media; }

  /** The address that serves the session. */
  get address() { return this.#places?.addressOf(this.#place) ?? this.#urls[0]; }

  /** Where it may be: the page's own, then those that nodes have told of. */
  get addresses() { return this.#places?.addresses ?? this.#urls; }

  /** Figures of the last second, and counters over everything since the beginning. */
  get stats() {
    const counted = this.#meter?.counted ?? empty;
    const total = Object.fromEntries(Object.keys(empty).map((name) => [name, this.#past[name] + counted[name]]));
    return { ...this.#figures, ...total, ...this.#counts };
  }

  /** Ends the session here and at the node. The page's tracks go on. */
  stop() { this.#end(stopped()); }

  // ---- events

  #tell(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }

  #become(state, reason = '') {
    if (this.#state === state) return;
    this.#state = state;
    this.#tell('state', { state, reason });
  }

  #end(error, leaving = false) {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort(error);
    removeEventListener('online', this.#onNetwork);
    removeEventListener('pagehide', this.#onLeave);
    navigator.connection?.removeEventListener('change', this.#onNetwork);
    clearTimeout(this.#timer);
    for (const handle of [this.#handle, this.#retired]) if (handle) handle.place.stop(handle, leaving);
    this.#handle = this.#retired = null;
    this.#pc?.close();
    this.#role.close?.();
    this.#places?.close();
    if (error.code !== 'stopped') this.#tell('error', { error });
    this.#become('ended', error.message);
  }

  #onLeave = () => this.#end(stopped(), true);

  /** Perhaps nothing has changed for us: one look at what comes in tells. */
  #onNetwork = async () => {
    this.#wake?.();
    const pc = this.#pc;
    if (this.#state !== 'live' || await this.#flows(pc, 1500).catch(() => true)) return;
    if (pc === this.#pc) this.#recover(CUT);
  };

  // ---- a path

  /** Does anything come in within `ms`? */
  async #flows(pc, ms) {
    const meter = new Meter(pc);
    const { heard } = await meter.read();
    for (const end = performance.now() + ms; performance.now() < end;) {
      await pause(100, this.#stopping.signal);
      if (pc.connectionState === 'connected' && (await meter.read()).heard > heard) return true;
    }
    return false;
  }

  async #until(what, ms, condition) {
    for (const end = performance.now() + ms; ;) {
      if (await condition()) return;
      if (performance.now() > end) throw new MillraceError('no_path', what);
      await pause(50, this.#stopping.signal);
    }
  }

  // ---- sessions

  #next() { this.#place = this.#places.after(this.#place); }

  /** Opens at this.#place, or where the node sends us instead: this.#place is where it was opened. */
  async #openThere(options) {
    try {
      const opened = await this.#place.open(this.#role.name, this.#stream, options);
      this.#place = (opened.address && this.#places.at(opened.address)) || this.#place;
      return opened;
    } catch (error) {
      const place = error.elsewhere && this.#places.at(error.elsewhere.url);
      if (!place) throw error;
      this.#place = place;
      return place.open(this.#role.name, this.#stream, { ...options, permit: error.elsewhere.permit });
    }
  }

  /** A new session at this.#place; returns when media may flow through it. */
  async #open(wait) {
    const { signal } = this.#stopping;
    let place = this.#place;
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle', ...this.#options.rtc });
    let handle = null;
    try {
      this.#role.dress(pc);
      await pc.setLocalDescription(await pc.createOffer());
      const { standby } = this.#options;
      const options = { offer: pc.localDescription.sdp, resume: this.#resume, wait, standby, signal };
      const opened = await this.#openThere(options);
      place = this.#place;
      handle = opened.handle;
      this.#places.told(opened.alternatives, place);
      this.#resume = opened.resume || this.#resume;
      await pc.setRemoteDescription({ type: 'answer', sdp: opened.answer });
      await this.#until('No media path to the node. A firewall may block its UDP and TCP media ports.', CONNECT_MS, () => {
        if (pc.connectionState === 'failed') throw new MillraceError('no_path', 'No media path to the node.');
        return pc.connectionState === 'connected';
      });
    } catch (error) {
      this.#role.leave(pc);
      pc.close();
      if (handle) place.stop(handle);
      if (['network', 'no_path'].includes(error.code)) this.#places.failed(this.#place);
      throw error;
    }
    this.#places.served(place);
    this.#take(place, pc, handle);
  }

  #take(place, pc, handle) {
    const before = this.#pc;
    const old = this.#handle;
    for (const name of Object.keys(empty)) this.#past[name] += this.#meter?.counted[name] ?? 0;
    this.#pc = pc;
    this.#meter = new Meter(pc);
    this.#heard = { packets: -1, silent: 0 };
    this.#handle = Object.assign(handle, { place });
    this.#counts.sessions++;
    place.watch(handle, (event) => this.#onEvent(pc, event));
    pc.addEventListener('connectionstatechange', () => {
      if (this.#pc !== pc) return;
      this.#wake?.();
      if (['disconnected', 'failed'].includes(pc.connectionState)) this.#recover('the path is lost');
    });
    this.#adopt(pc, before, old);
    clearTimeout(this.#timer);
    this.#look();
    this.#pulse(pc).catch(() => {}); // stopped
  }

  /** What was shown until now stays, and the session that it comes by, until the new connection has
   *  something to show. */
  async #adopt(pc, before, old) {
    const meter = new Meter(pc);
    const late = performance.now() + HANDOVER_MS;
    const end = () => {
      if (!old) return;
      old.place.stop(old);
      if (this.#retired === old) this.#retired = null;
      old = null;
    };
    if (this.#retired) this.#retired.place.stop(this.#retired);
    this.#retired = old;
    try {
      while (before && this.#pc === pc && !(await meter.read()).shown) {
        if (performance.now() > late) end();
        await pause(40, this.#stopping.signal);
      }
    } catch {
      return; // stopped
    }
    end();
    if (this.#pc === pc) this.#role.adopt(pc, before);
    else if (before) before.close();
  }

  async #useSockets() {
    try {
      const { SocketSignalling } = await import('./millrace_ws.js');
      this.#newPlace = (address) => new SocketSignalling(address, this.#options.token);
    } catch {
      this.#end(noAnswer());
      throw noAnswer();
    }
  }

  async #start() {
    const { signal } = this.#stopping;
    let wait = false;
    let held = 0;
    const triedEnough = (attempt) =>
      (wait ? performance.now() - held > this.#options.recoverFor * 1000 : attempt >= 2 * this.#places.count);
    if (this.#options.signalling === 'ws') await this.#useSockets();
    const inUse = () => [this.#handle?.place, this.#retired?.place];
    this.#places = new Places(this.#urls, this.#newPlace, inUse);
    [this.#place] = this.#places.own;
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#open(wait);
        this.#become('live');
        return this;
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        if (this.#role.name === 'play' && error.status === HELD_STATUS && this.#options.wait) {
          this.#become('waiting', error.message);
          wait = true;
          held = performance.now();
          attempt = 0;
        } else if (!passes(error) || error.status === HELD_STATUS || triedEnough(attempt)) {
          this.#end(error);
          throw error;
        } else {
          this.#next();
        }
        await this.#rest(error, attempt);
      }
    }
  }

  // ---- recovery

  /** Full jitter around an exponential back-off, or what the node asked for. */
  #rest(error, attempt) {
    const most = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** attempt);
    const asked = Math.min(error.retryAfter ?? 0, this.#options.recoverFor);
    const ms = Math.max(asked * 1000, most * (0.5 + Math.random() / 2));
    return pause(ms, this.#stopping.signal, (wake) => { this.#wake = error.retryAfter ? null : wake; });
  }

  /** `gone`: the node does not answer either, another one is tried first. */
  async #recover(reason, gone = false) {
    if (this.#state !== 'live') return;
    const start = performance.now();
    let last = noAnswer();
    this.#become('recovering', reason);
    for (let attempt = 0; performance.now() - start < this.#options.recoverFor * 1000; attempt++) {
      try {
        return this.#recovered(start, await this.#mend(gone && !attempt, reason === CUT && !attempt), reason);
      } catch (error) {
        if (this.#stopping.signal.aborted) return;
        if (!passes(error)) return this.#end(error);
        last = error;
      }
      await this.#rest(last, attempt).catch(() => {});
      if (this.#stopping.signal.aborted) return;
    }
    this.#end(new MillraceError('lost', `The session was lost: ${last.message}`));
  }

  #recovered(start, by, reason) {
    this.#counts.recoveries++;
    this.#become('live');
    this.#tell('recovered', { ms: Math.round(performance.now() - start), by, reason, address: this.address });
  }

  /** One round: the path may have come back by itself; a restart keeps the session; a new session does
   *  not. A node that does not answer may be cut off from us, not gone: its session stays ours, and is
   *  asked for first in the next round, too. */
  async #mend(gone, cut) {
    if (gone) this.#next();
    else if (this.#handle) {
      if (!cut && this.#pc.connectionState === 'connected' && await this.#flows(this.#pc, FLIGHT_MS)) return 'itself';
      try {
        await this.#restartIce();
        return 'restart';
      } catch (error) {
        if (this.#stopping.signal.aborted) throw error;
        if (error.code === 'network' && this.#places.count < 2) throw error;
        if (error.code === 'network') this.#next();
        if (error.code === 'not_found') this.#handle = null;
      }
    }
    try {
      await this.#open(this.#role.name === 'play');
      return 'session';
    } catch (error) {
      if (this.#handle) this.#place = this.#handle.place;
      else if (['network', 'no_path', 'unavailable'].includes(error.code)) this.#next();
      throw error;
    }
  }

  async #restartIce() {
    const { place } = this.#handle;
    const pc = this.#pc;
    this.#place = place;
    await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }));
    try {
      const theirs = await place.restart(this.#handle, fragmentOf(pc.localDescription.sdp));
      const sdp = pc.currentRemoteDescription.sdp
        .replace(/^a=ice-ufrag:.*$/gm, lineOf(theirs, 'ice-ufrag'))
        .replace(/^a=ice-pwd:.*$/gm, lineOf(theirs, 'ice-pwd'));
      await pc.setRemoteDescription({ type: 'answer', sdp });
      for (const candidate of theirs.match(/^a=candidate:.*$/gm) ?? [])
        await pc.addIceCandidate({ candidate: candidate.slice(2).trim(), sdpMLineIndex: 0 });
    } catch (error) {
      if (pc.signalingState === 'have-local-offer') await pc.setLocalDescription({ type: 'rollback' });
      throw error;
    }
    if (!await this.#flows(pc, RESTART_MS)) throw new MillraceError('no_path', 'No media path to the node.');
    this.#counts.restarts++;
  }

  // ---- looking after a session that lives

  #look = async () => {
    const pc = this.#pc;
    try {
      const { heard, figures } = await this.#meter.read();
      this.#figures = figures;
      this.#tell('stats', this.stats);
      this.#heard = { packets: heard, silent: heard === this.#heard.packets ? this.#heard.silent + 1 : 0 };
      if (this.#heard.silent) this.#handle?.place.probe();
      if (this.#heard.silent === SILENT_LOOKS) this.#doubt(pc);
      else if (++this.#looks % INQUIRY_LOOKS === 0) this.#inquire(pc);
    } catch { /* closed meanwhile */ }
    if (this.#stopping.signal.aborted || this.#pc !== pc) return;
    this.#timer = setTimeout(this.#look, LOOK_MS);
  };

  /** A way that has broken, and a node that has died, are noticed as soon as they can be. */
  async #pulse(pc) {
    const meter = new Meter(pc);
    let last = { heard: -1, sent: 0, at: 0 };
    let usual = 0; // pulses between two that heard something
    for (let silent = 0, pulses = 0; this.#pc === pc; pulses++) {
      await pause(PULSE_MS, this.#stopping.signal);
      if (this.#pc !== pc) return;
      const { heard, sent } = await meter.read();
      if (heard !== last.heard) {
        usual = pulses && Math.max(usual, silent);
        silent = 0;
        last = { heard, sent, at: performance.now() };
      } else {
        silent++;
      }
      if (silent === 1) this.#handle?.place.probe();
      const most = this.#role.name === 'play' ? SILENT_PULSES : Math.max(SILENT_PULSES, 2 * usual + 1);
      if (silent === most || (silent === SILENT_PULSES && this.#places.count > 1))
        this.#suspect(pc, last.at, silent >= most && sent > last.sent && pulses > USUAL_PULSES);
    }
  }

  /** Nothing came in since `since`. That alone means little: perhaps nobody publishes. But a node that does
   *  not answer either is gone; and where it has sent something meanwhile, or has not answered media of ours
   *  (`unanswered`), the way to it has changed. */
  async #suspect(pc, since, unanswered) {
    const handle = this.#handle;
    if (this.#state !== 'live' || !handle) return;
    const alone = this.#places.count < 2;
    const ask = () => handle.place.ask(handle, fragmentOf(pc.localDescription.sdp), alone ? ANSWER_MS : SUSPECT_MS);
    const flows = this.#flows(pc, FLIGHT_MS).catch(() => true);
    const start = performance.now();
    try {
      // a change of networks breaks a request that is under way: the next one has a connection of its own
      await ask().catch((error) => (error.code === 'network' && performance.now() - start < SUSPECT_MS / 2 ? ask() : Promise.reject(error)));
      const sent = handle.sent !== null && handle.sent < performance.now() - since;
      if ((sent || unanswered) && !await flows && this.#pc === pc) this.#recover(CUT);
    } catch (error) {
      if (this.#pc !== pc || this.#handle !== handle) return;
      if (error.code === 'not_found') this.#handle = null;
      if (error.code === 'not_found' || (error.code === 'network' && !await flows && this.#pc === pc))
        this.#recover(error.message, error.code === 'network' && !alone);
    }
  }

  /** Nothing comes in any more: is the session still there? Where the node answers that it is, the way
   *  to it has changed; browsers take five seconds to see that by themselves. */
  async #doubt(pc) {
    const handle = this.#handle;
    if (this.#state !== 'live' || !handle) return;
    const flows = this.#flows(pc, QUIET_MS).catch(() => true);
    try {
      await handle.place.ask(handle, fragmentOf(pc.localDescription.sdp));
      if (!await flows && this.#pc === pc) this.#recover(CUT);
    } catch (error) {
      if (this.#pc !== pc || this.#handle !== handle) return;
      if (error.code === 'not_found') this.#handle = null;
      if (['not_found', 'network'].includes(error.code)) this.#recover(error.message);
    }
  }

  /** Whether the session is there, and whether the node would have it elsewhere: the answer comes as an event. */
  async #inquire(pc) {
    const handle = this.#handle;
    if (this.#state !== 'live' || !handle?.place.inquires) return;
    try {
      await handle.place.ask(handle, fragmentOf(pc.localDescription.sdp));
    } catch (error) {
      if (this.#pc !== pc || this.#handle !== handle || error.code !== 'not_found') return;
      this.#handle = null;
      this.#recover(error.message);
    }
  }

  /** Said by the node. */
  #onEvent(pc, { name, ...detail }) {
    if (this.#pc !== pc || this.#stopping.signal.aborted) return;
    if (name === 'switched') this.#tell('switched', {});
    if (name === 'forgotten') this.#doubt(pc);
    if (name === 'unreachable') this.#onUnreachable(pc);
    if (name === 'reconnect') this.#onReconnect(pc, detail);
    if (name === 'alternatives') this.#places.told(listOf(detail.addresses), this.#place);
    if (name !== 'ended') return;
    this.#handle = null;
    this.#recover(detail.reason ?? 'the session has ended');
  }

  /** Its signalling is refused. If nothing comes in either it is gone. */
  async #onUnreachable(pc) {
    if (this.#places.count < 2) return this.#onNetwork();
    if (this.#state !== 'live' || await this.#flows(pc, PULSE_MS).catch(() => true)) return;
    if (this.#pc === pc) this.#recover('the node does not answer', true);
  }

  /** The node will stop: another address serves the session from now on, if it can: the page's before
   *  those that the node names. Or an operator has this session alone go on at the one named. */
  async #onReconnect(pc, { addresses, withinMs = 0, session = '' }) {
    const named = this.#places.told(listOf(addresses), this.#place);
    const order = session ? named : [...this.#places.own, ...named, ...this.#places.named];
    const others = [...new Set(order)].filter((place) => place !== this.#place);
    await pause(Math.random() * withinMs, this.#stopping.signal).catch(() => {});
    if (!others.length || this.#state !== 'live' || this.#pc !== pc) return;
    const start = performance.now();
    const reason = session ? 'it goes on at another node' : 'the node will stop';
    const from = this.#place;
    this.#become('recovering', reason);
    for (const place of others) {
      if (!this.#places.addressOf(place)) continue; // forgotten meanwhile
      this.#place = place;
      try {
        await this.#open(false);
        return this.#recovered(start, 'session', reason);
      } catch {
        if (this.#stopping.signal.aborted) return;
      }
    }
    this.#place = from;
    this.#become('live');
  }
}

/** Publishes the tracks of `media` as `stream` ("app/stream"). */
export const publish = (media, stream, options = {}) => new Session(new PublishRole(media), stream, options);

/** Plays `stream`; `session.media` is what a <video> shows. */
export const play = (stream, options = {}) => {
  const kinds = ['video', 'audio'].filter((kind) => options[kind] !== false);
  const session = new Session(new PlayRole(kinds), stream, options);
  if (options.element) options.element.srcObject = session.media;
  return session;
};
