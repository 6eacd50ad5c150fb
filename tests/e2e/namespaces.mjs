// SPDX-License-Identifier: Apache-2.0
// Networks of a test's own: namespaces, what joins them, and what goes wrong between them. Each is
// three hosts. The client (a phone, say) has a way by `wifi` and may have another by `cell`; the
// router forwards, as it is or with address translation; the node's address is NODE.
//
//   client --wifi 192.168.7.0/24--> router --trunk 10.77.0.0/24--> node
//          --cell 192.168.8.0/24-->

import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { directory } from './harness.mjs';

export const NODE = '10.77.0.1';
const ROUTER = '10.77.0.2';
const HOSTS = ['client', 'router', 'node'];

const run = (command, args, input = '') => execFileSync(command, args, { input, stdio: 'pipe', encoding: 'utf8' });
const words = (text) => text.trim().split(/\s+/);

/** Masquerading to ports of this range; none: as the client's. */
const translation = (ports) => `table ip nat
delete table ip nat
table ip nat {
  chain out {
    type nat hook postrouting priority srcnat
    oifname "trunk" meta l4proto { tcp, udp } masquerade${ports ? ` to :${ports}` : ''}
  }
}
`;

const nothingPasses = `table inet air {
  chain forward {
    type filter hook forward priority filter
    drop
  }
}
`;

/** A program that is `path` behind `prefix`, for those who start programs by their path. */
export function programInside(prefix, path) {
  const file = join(mkdtempSync(join(directory, 'inside-')), 'program');
  writeFileSync(file, `#!/bin/sh\nexec ${prefix.join(' ')} '${path}' "$@"\n`);
  chmodSync(file, 0o755);
  return file;
}

export class Network {
  #id = randomBytes(3).toString('hex');
  #made = [];

  /** A network that is gone at the end of the test. Option: `translates`, the router hides its clients. */
  static make(t, options = {}) {
    const network = new Network();
    process.once('exit', network.#undo);
    t.defer(() => {
      process.off('exit', network.#undo);
      network.#undo();
    });
    network.#build(options);
    return network;
  }

  /** Why there cannot be one here; empty: there can. What only a test of its own could get wrong is no
   *  reason. */
  static lacks() {
    const network = new Network();
    try {
      network.#add('client');
      network.ip('client', 'link add wifi type veth peer name cell');
      network.exec('client', ['nft', '-f', '-'], translation());
      return '';
    } catch (error) {
      return `network namespaces cannot be made here: ${`${error.stderr || error.message}`.trim().split('\n')[0]}`;
    } finally {
      network.#undo();
    }
  }

  #build({ translates = false }) {
    for (const host of HOSTS) {
      this.#add(host);
      this.ip(host, 'link set lo up');
    }
    this.#join('client', 'router', 'wifi', '192.168.7.2', '192.168.7.1');
    this.#join('client', 'router', 'cell', '192.168.8.2', '192.168.8.1');
    this.#join('node', 'router', 'trunk', NODE, ROUTER);
    this.ip('client', 'link set cell down');
    this.ip('client', 'route add default via 192.168.7.1');
    this.ip('node', `route add 192.168.0.0/16 via ${ROUTER}`);
    this.exec('client', ['sysctl', '-qw', 'net.ipv4.conf.all.promote_secondaries=1']);
    this.exec('router', ['sysctl', '-qw', 'net.ipv4.ip_forward=1']);
    if (translates) this.exec('router', ['nft', '-f', '-'], translation());
  }

  #add(host) {
    run('ip', ['netns', 'add', this.#name(host)]);
    this.#made.push(host);
  }

  #undo = () => {
    for (const host of this.#made.splice(0)) spawnSync('ip', ['netns', 'del', this.#name(host)]);
  };

  #name(host) { return `millrace-${this.#id}-${host}`; }

  #join(host, other, link, address, gateway) {
    run('ip', ['link', 'add', link, 'netns', this.#name(host), 'type', 'veth', 'peer', 'name', link, 'netns', this.#name(other)]);
    this.ip(host, `address add ${address}/24 dev ${link}`);
    this.ip(other, `address add ${gateway}/24 dev ${link}`);
    for (const end of [host, other]) this.ip(end, `link set ${link} up`);
  }

  /** What runs a command inside a host, when it is put in front of it. */
  inside(host) { return ['ip', 'netns', 'exec', this.#name(host)]; }

  exec(host, command, input) {
    const [first, ...rest] = [...this.inside(host), ...command];
    return run(first, rest, input);
  }

  ip(host, text) { return run('ip', ['-n', this.#name(host), ...words(text)]); }

  wrapper(host, program) { return programInside(this.inside(host), program); }

  // ---- what goes wrong

  /** The client's address is another one. */
  changeAddress() {
    this.ip('client', 'address add 192.168.7.3/24 dev wifi');
    this.ip('client', 'address del 192.168.7.2/24 dev wifi');
  }

  /** Out of the house: another interface, address and gateway. */
  changeInterface() {
    this.ip('client', 'link set cell up');
    this.ip('client', 'address del 192.168.7.2/24 dev wifi'); // else it is still sent from
    this.ip('client', 'link set wifi down');
    this.ip('client', 'route add default via 192.168.8.1');
  }

  /** The router forgets what it translated; the same client has other ports from then on (none that
   *  Linux itself chooses, and that would so be kept). */
  forgetTranslations() {
    this.exec('router', ['nft', '-f', '-'], translation('20000-29999'));
    this.ip('router', 'link set trunk down'); // masquerading forgets with its interface
    this.ip('router', 'link set trunk up');
  }

  /** No way out: the client's interface knows (`link`), or nobody does (`air`). */
  cut(how) {
    if (how === 'link') this.ip('client', 'link set wifi down');
    else this.exec('router', ['nft', '-f', '-'], nothingPasses);
  }

  mend(how) {
    if (how !== 'link') return this.exec('router', words('nft delete table inet air'));
    this.ip('client', 'link set wifi up');
    return this.ip('client', 'route add default via 192.168.7.1');
  }
}
