// SPDX-License-Identifier: Apache-2.0
// etcd under test: one member or several on free ports of the loopback, or each on a host of its own
// (internet.mjs), in directories of their own, with or without users and TLS.

import { execFileSync, spawn } from 'node:child_process';
import { createWriteStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check, directory, Failure, RUN_ID, until, within } from './harness.mjs';
import { curl, freePort, request } from './http.mjs';

const READY_MS = 20000;
const STOP_MS = 8000;
const [CLIENT_PORT, PEER_PORT] = [2379, 2380]; // on a host of its own

const base64 = (text) => Buffer.from(text).toString('base64');
const plain = (text) => Buffer.from(text ?? '', 'base64');
/** The first key behind all that begin with `prefix`. */
const endOf = (prefix) => prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);

/** A directory; what etcd has only set aside in its files is not read. */
const copy = (from, to) => execFileSync('cp', ['-a', '--sparse=always', from, to]);

/** An authority, etcd's certificate and a client's: {ca, cert, key, clientCert, clientKey}, paths. */
function makeCertificates(base) {
  const at = (name) => join(base, name);
  const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...key, '-days', '2', '-subj', '/CN=test authority', '-keyout', at('ca.key'), '-out', at('ca.pem'));
  for (const [name, use] of [['server', 'serverAuth,clientAuth'], ['client', 'clientAuth']]) {
    writeFileSync(at(`${name}.ext`), `subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=${use}\n`);
    // no CN: with users, etcd's gateway refuses certificates that have one
    openssl('req', ...key, '-subj', `/O=${name}`, '-keyout', at(`${name}.key`), '-out', at(`${name}.csr`));
    openssl('x509', '-req', '-in', at(`${name}.csr`), '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial',
      '-days', '2', '-extfile', at(`${name}.ext`), '-out', at(`${name}.pem`));
  }
  return { ca: at('ca.pem'), cert: at('server.pem'), key: at('server.key'), clientCert: at('client.pem'), clientKey: at('client.key') };
}

class Member {
  constructor(cluster, number, { prefix = [], address = '127.0.0.1', client, peer }) {
    Object.assign(this, { cluster, number, prefix, address, client, peer, name: `m${number}`, process: null });
    this.data = join(cluster.base, this.name);
  }

  get scheme() { return this.cluster.certificates ? 'https' : 'http'; }
  get url() { return `${this.scheme}://${this.address}:${this.client}`; }
  get peerUrl() { return `http://${this.address}:${this.peer}`; }

  spawn() {
    check(!this.process, `${this.name} runs already`);
    const { members, certificates } = this.cluster;
    const initial = members.map((m) => `${m.name}=${m.peerUrl}`).join(',');
    const [command, ...args] = [...this.prefix, 'etcd', '--name', this.name, '--data-dir', this.data, '--unsafe-no-fsync',
      '--heartbeat-interval', '50', '--election-timeout', '500',
      '--listen-client-urls', this.url, '--advertise-client-urls', this.url,
      '--listen-peer-urls', this.peerUrl, '--initial-advertise-peer-urls', this.peerUrl,
      '--initial-cluster', initial, '--initial-cluster-state', 'new', '--initial-cluster-token', 'test',
      '--logger', 'zap', '--log-outputs', 'stderr',
      ...(certificates ? ['--cert-file', certificates.cert, '--key-file', certificates.key,
        '--trusted-ca-file', certificates.ca, '--client-cert-auth'] : [])];
    this.process = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env.PATH, E2E_RUN: RUN_ID } });
    this.process.stderr.pipe(createWriteStream(join(this.cluster.base, `${this.name}.log`), { flags: 'a' }));
    this.end = new Promise((resolve) => this.process.once('exit', () => { this.process = null; resolve(); }));
    this.process.once('error', () => {});
  }

  async kill() {
    if (!this.process) return;
    this.process.kill('SIGCONT');
    this.process.kill('SIGKILL');
    await within(STOP_MS, this.end, `end of etcd ${this.name}`);
  }
}

export class Etcd {
  /** Resolves once it answers. Options: members (1), or `hosts`, where each of them stands ({ prefix,
   *  address }); tls (false), auth (false: no users). */
  static async start(t, { members = 1, hosts = null, tls = false, auth = false } = {}) {
    const etcd = new Etcd();
    etcd.base = mkdtempSync(join(directory, 'etcd-'));
    etcd.certificates = tls ? makeCertificates(etcd.base) : null;
    etcd.members = [];
    for (let i = 0; i < (hosts?.length ?? members); i++)
      etcd.members.push(new Member(etcd, i, hosts ? { ...hosts[i], client: CLIENT_PORT, peer: PEER_PORT }
        : { client: await freePort(), peer: await freePort() }));
    t.defer(() => etcd.kill());
    etcd.members.forEach((member) => member.spawn());
    await etcd.ready();
    if (auth) await etcd.#enableUsers();
    return etcd;
  }

  /** For --coord, and the other arguments that a node needs. */
  get coord() { return `etcd://${this.members.map((m) => `${m.address}:${m.client}`).join(',')}`; }
  get nodeArguments() {
    const { certificates, user } = this;
    return ['--coord', this.coord,
      ...(certificates ? ['--etcd-ca', certificates.ca, '--etcd-cert', certificates.clientCert, '--etcd-key', certificates.clientKey] : []),
      ...(user ? ['--etcd-user', user.name, '--etcd-password', user.password] : [])];
  }

  /** Until a majority of those that run answers a linearizable read. */
  async ready() {
    await until('etcd answers', () => this.range('/ready/'), READY_MS);
  }

  /** SIGKILL, of one member or all; the data stays. */
  async kill(member) {
    await Promise.all((member ? [member] : this.members).map((m) => m.kill()));
  }

  /** What all members know now, to be restored from: their directories as a loss of power would leave them. */
  backup() {
    const kept = mkdtempSync(join(this.base, 'backup-'));
    this.stop();
    for (const member of this.members) copy(member.data, join(kept, member.name));
    this.go();
    return kept;
  }

  /** Starts what does not run; with `wipe` without what it knew, or with what a `backup` did. */
  async restart({ wipe = false, backup = null, wait = true } = {}) {
    for (const member of this.members) {
      if (member.process) continue;
      if (wipe || backup) rmSync(member.data, { recursive: true, force: true });
      if (backup) copy(join(backup, member.name), member.data);
      member.spawn();
    }
    if (wait) await this.ready();
  }

  /** SIGSTOP and SIGCONT. */
  stop(member) { (member ? [member] : this.members).forEach((m) => m.process?.kill('SIGSTOP')); }
  go(member) { (member ? [member] : this.members).forEach((m) => m.process?.kill('SIGCONT')); }

  /** One call of the gateway, at whichever member answers: its document. */
  async call(path, body) {
    let failure = new Failure('no member of etcd runs');
    for (const member of this.members) {
      if (!member.process) continue;
      try {
        return await this.#post(member, path, body);
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  async #post(member, path, body) {
    const headers = { 'Content-Type': 'application/json', ...(this.token ? { Authorization: this.token } : {}) };
    const options = { method: 'POST', body: JSON.stringify(body), headers, timeout_ms: 3000 };
    const { status, text } = await (member.prefix.length ? curl(member.prefix, member.url + path, options)
      : request(member.url + path, { ...options, tls: this.#tls }));
    check(status === 200, () => `etcd ${path}: ${status} ${text}`);
    return JSON.parse(text);
  }

  get #tls() {
    if (!this.certificates) return {};
    const { ca, clientCert, clientKey } = this.certificates;
    return { ca: readFileSync(ca), cert: readFileSync(clientCert), key: readFileSync(clientKey), rejectUnauthorized: true };
  }

  async #enableUsers() {
    const user = { name: 'millrace', password: 'a "quoted" päss\\word' };
    await this.call('/v3/auth/role/add', { name: 'root' });
    await this.call('/v3/auth/user/add', { name: 'root', password: 'root' });
    await this.call('/v3/auth/user/grant', { user: 'root', role: 'root' });
    await this.call('/v3/auth/role/add', { name: 'mesh' });
    await this.call('/v3/auth/role/grant', { name: 'mesh', perm: {
      permType: 'READWRITE', key: base64('/millrace/'), range_end: base64(endOf('/millrace/')) } });
    await this.call('/v3/auth/user/add', user);
    await this.call('/v3/auth/user/grant', { user: user.name, role: 'mesh' });
    await this.call('/v3/auth/enable', {});
    this.user = user;
    await this.login();
  }

  /** Our own token, as root: it does not outlive a restart of etcd. */
  async login() {
    this.token = '';
    this.token = (await this.call('/v3/auth/authenticate', { name: 'root', password: 'root' })).token;
  }

  /** What lies below a prefix: [{key, value (Buffer), created, modified, lease}]. */
  async range(prefix) {
    const answer = await this.call('/v3/kv/range', { key: base64(prefix), range_end: base64(endOf(prefix)) });
    this.revision = Number(answer.header.revision);
    return (answer.kvs ?? []).map((kv) => ({ key: plain(kv.key).toString(), value: plain(kv.value),
      created: Number(kv.create_revision), modified: Number(kv.mod_revision), lease: kv.lease ?? '0' }));
  }

  /** Names of streams that have an owner, "live/x". */
  async names(cluster = 'default') {
    const prefix = `/millrace/${cluster}/name/stream/`;
    return (await this.range(prefix)).map((pair) => pair.key.slice(prefix.length));
  }

  put(key, value) { return this.call('/v3/kv/put', { key: base64(key), value: base64(value) }); }
  remove(key) { return this.call('/v3/kv/deleterange', { key: base64(key) }); }

  /** Forgets history up to now. */
  async compact() {
    await this.range('/ready/');
    await this.call('/v3/kv/compaction', { revision: `${this.revision}`, physical: true });
  }

  /** The member that leads. */
  async leader() {
    const status = await this.call('/v3/maintenance/status', {});
    const { members } = await this.call('/v3/cluster/member/list', {});
    const name = members.find((m) => m.ID === status.leader)?.name;
    return this.members.find((m) => m.name === name);
  }
}
