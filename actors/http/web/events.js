// SPDX-License-Identifier: Apache-2.0
// What has happened, newest first.

import { $, h, keyed } from './dom.js';
import { live } from './live.js';

export const clock = new Intl.DateTimeFormat([],
  { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });

function textOf({ text, stream }) {
  const at = stream ? text.indexOf(stream) : -1;
  if (at < 0) return [text];
  return [text.slice(0, at), h('a', { href: `#/stream/${stream}` }, stream), text.slice(at + stream.length)];
}

export function showEvents(list, events) {
  const seen = new Map();
  const entries = events.map((event) => {
    const same = `${event.at} ${event.text}`;
    seen.set(same, (seen.get(same) ?? 0) + 1);
    return [`${same} ${seen.get(same)}`, event];
  });
  keyed(list, entries.reverse(), (key, event) => h('li', { className: event.level }, h('i', { className: 'dot' }),
    h('time', { dateTime: new Date(event.at).toISOString() }, clock.format(event.at)), h('span', {}, ...textOf(event))));
}

export function update() {
  showEvents($('events'), live.events);
  $('events-empty').hidden = live.events.length > 0;
}
