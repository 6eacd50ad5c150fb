// SPDX-License-Identifier: Apache-2.0
// Requests as they are written (no redirects, no pool, no header of its own), and raw connections.

import { execFile } from 'node:child_process';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { patience, within } from './harness.mjs';

/** The module for an URL, and what it needs so that a certificate of one's own is no obstacle. */
export const clientOf = (url) => (`${url}`.startsWith('https:') ? [https, { rejectUnauthorized: false }] : [http, {}]);

/** {status, headers, text}; an own connection each time. `tls`: ca, cert, key where they matter. */
export function request(url, { method = 'GET', headers = {}, body = '', timeout_ms = 10000, tls = {}, localAddress } = {}) {
  return within(timeout_ms, new Promise((resolve, reject) => {
    const length = body || !['GET', 'HEAD', 'OPTIONS', 'DELETE'].includes(method)
      ? { 'Content-Length': Buffer.byteLength(body) } : {};
    const [client, more] = clientOf(url);
    const outgoing = client.request(url, { method, headers: { ...length, ...headers }, agent: false, localAddress, ...more, ...tls }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => resolve(
        { status: response.statusCode, headers: response.headers, text: Buffer.concat(chunks).toString() }));
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  }), `${method} ${url}`);
}

/** {status, text} of a request that is made somewhere else: behind `prefix`, what runs a command there. */
export function curl(prefix, url, { headers = {}, body = '', timeout_ms = 10000 } = {}) {
  const fields = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
  const [command, ...args] = [...prefix, 'curl', '-sS', '-m', `${timeout_ms * patience() / 1000}`, '-w', '\n%{http_code}',
    ...fields, ...(body ? ['--data-binary', body] : []), url];
  return new Promise((resolve, reject) => {
    execFile(command, args, { maxBuffer: 16 << 20 }, (error, out, err) => {
      const at = out.lastIndexOf('\n');
      if (error) reject(new Error(`${url}: ${err.trim()}`));
      else resolve({ status: Number(out.slice(at + 1)), text: out.slice(0, at) });
    });
  });
}

/** Sends bytes to "ip:port", resolves with what came back until the other side closed it, or `ms`. */
export function raw(address, bytes, ms = 3000) {
  const at = address.lastIndexOf(':');
  return new Promise((resolve) => {
    const socket = net.connect({ host: address.slice(0, at).replace(/[[\]]/g, ''), port: Number(address.slice(at + 1)) });
    const chunks = [];
    const done = (closed) => { socket.destroy(); resolve({ closed, bytes: Buffer.concat(chunks) }); };
    const timer = setTimeout(() => done(false), ms * patience());
    socket.on('connect', () => socket.write(bytes));
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', () => {});
    socket.on('close', () => { clearTimeout(timer); done(true); });
  });
}

/** A TCP port of the loopback that nobody has now. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer().once('error', reject).listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
