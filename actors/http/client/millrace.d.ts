// SPDX-License-Identifier: Apache-2.0

export type State = 'connecting' | 'waiting' | 'live' | 'recovering' | 'ended';

export type ErrorCode =
  | 'bad_request' | 'unauthorized' | 'forbidden' | 'not_found' | 'conflict' | 'precondition' | 'unsupported'
  | 'rate_limited' | 'unavailable' | 'refused' // the node's answer
  | 'network' // no answer
  | 'no_path' // an answer, but no media
  | 'lost' // recovery was given up
  | 'stopped';

export class MillraceError extends Error {
  readonly code: ErrorCode;
  /** HTTP's; 0: there was no answer. */
  readonly status: number;
  /** Seconds; 0: the node did not say. */
  readonly retryAfter: number;
}

export interface Options {
  /** Addresses of nodes, the preferred one first. Default: where the page came from. */
  urls?: string | string[];
  /** Access token; a function is asked for each request. */
  token?: string | (() => string | Promise<string>);
  /** By one request each (WHIP, WHEP: the default), or all over one WebSocket. */
  signalling?: 'http' | 'ws';
  /** Seconds after which a lost session is given up. Default 60. */
  recoverFor?: number;
  /** Handed to each RTCPeerConnection. */
  rtc?: RTCConfiguration;
}

export interface PublishOptions extends Options {
  /** Stand by where somebody else publishes, instead of failing with `conflict`. */
  standby?: boolean;
}

export interface PlayOptions extends Options {
  /** Its srcObject becomes the session's media, once and for all. */
  element?: HTMLMediaElement;
  /** Hold on until somebody publishes, instead of failing with `conflict`. */
  wait?: boolean;
  video?: boolean;
  audio?: boolean;
}

export interface Stats {
  /** Of the last second. */
  bitrate: number;
  lossRate: number;
  rtt?: number;
  jitter?: number;
  width?: number;
  height?: number;
  fps?: number;
  codec?: string;
  limitedBy?: string;
  /** Since the beginning, whatever connections there were. */
  packets: number;
  lost: number;
  frames: number;
  freezes: number;
  freezeMs: number;
  sessions: number;
  restarts: number;
  recoveries: number;
}

export interface SessionEventMap {
  state: CustomEvent<{ state: State; reason: string }>;
  recovered: CustomEvent<{ ms: number; by: 'itself' | 'restart' | 'session'; reason: string; address: string }>;
  /** Another publisher is behind the stream now (signalling by WebSocket). */
  switched: CustomEvent<{}>;
  stats: CustomEvent<Stats>;
  /** The session has ended by itself. */
  error: CustomEvent<{ error: MillraceError }>;
}

export class Session extends EventTarget {
  private constructor();
  readonly state: State;
  readonly media: MediaStream;
  readonly stats: Stats;
  readonly address: string;
  readonly addresses: string[];
  readonly ready: Promise<Session>;
  stop(): void;
  addEventListener<K extends keyof SessionEventMap>(
    type: K, listener: (event: SessionEventMap[K]) => void, options?: boolean | AddEventListenerOptions): void;
  addEventListener(
    type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
}

/** `stream` is "app/stream". The tracks of `media` stay the caller's. */
export function publish(media: MediaStream, stream: string, options?: PublishOptions): Session;
export function play(stream: string, options?: PlayOptions): Session;
/** The error that a response of a node tells of. */
export function errorOf(response: Response): Promise<MillraceError>;
