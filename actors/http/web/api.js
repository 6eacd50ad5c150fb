// SPDX-License-Identifier: Apache-2.0
// What the page asks of the node besides media, errors as sentences, and numbers as people read them.

import { MillraceError, errorOf } from './millrace.js';

export function sentenceOf(error) {
  if (error instanceof MillraceError) return sentence(error.message);
  if (error instanceof TypeError) return 'The node does not answer. Is it running, and reachable from here?';
  return error?.message || 'Something went wrong.';
}

function sentence(text) {
  const capital = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}

/** "live/demo" as a path, or an exception that says what a name looks like. */
export function pathOf(name) {
  const parts = name.trim().replace(/^\/+/, '').split('/');
  if (parts.length !== 2 || !parts.every((part) => /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}$/.test(part)))
    throw new MillraceError('bad_request', 'A stream’s name is app/stream, such as live/demo.');
  return parts.join('/');
}

export const operator = {
  get token() { return sessionStorage.getItem('operator') ?? ''; },
  set token(value) { sessionStorage.setItem('operator', value); },
};

/** Null when this page may look in, else the error that says why not. Throws without an answer. */
export async function checkOperator() {
  const headers = operator.token ? { Authorization: `Bearer ${operator.token}` } : {};
  const response = await fetch('/api/v1/workers', { headers, cache: 'no-store', signal: AbortSignal.timeout(5000) });
  return response.status === 401 || response.status === 403 ? errorOf(response) : null;
}

/** A WebSocket of the node. A page cannot give it headers: the token is one of the protocols offered. */
export function openSocket(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  const bytes = new TextEncoder().encode(operator.token);
  const token = btoa(String.fromCharCode(...bytes)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
  return new WebSocket(url, token ? ['millrace', `bearer.${token}`] : ['millrace']);
}

export async function fetchReady() {
  try {
    const response = await fetch('/readyz', { cache: 'no-store', signal: AbortSignal.timeout(5000) });
    return response.ok ? 'up' : 'part';
  } catch {
    return 'down';
  }
}

/** [number, unit] */
export function rateOf(bps) {
  if (!(bps >= 0)) return ['–'];
  return bps >= 1e6 ? [(bps / 1e6).toFixed(2), 'Mbit/s'] : [`${Math.round(bps / 1e3)}`, 'kbit/s'];
}

export const rateText = (bps) => rateOf(bps).join(' ');
export const msText = (value) => (value >= 0 ? `${Math.round(value)} ms` : '–');

export function ageText(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  return s < 86400 ? `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min` : `${Math.floor(s / 86400)} d`;
}

export const delay = (ms, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, ms);
  signal?.addEventListener('abort', () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
});
