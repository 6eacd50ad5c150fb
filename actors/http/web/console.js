// SPDX-License-Identifier: Apache-2.0
// The console: commands of `millrace repl` in a terminal (xterm.js), one line edited at a time, with a
// history, and Tab, for which the node is asked. Answers are tables where they are rows.

import { openSocket } from './api.js';
import { $ } from './dom.js';
import { live } from './live.js';

const HISTORY_MAX = 200;
const CELL_MAX = 42;
const SCROLL_BAR = 14; // pixels
// fields that the schemas call secret, in any message (tests/unit/schemas_doc_test.c compares)
const secrets = new Set([
  'before', 'body', 'bytes', 'channel', 'client', 'datagram', 'headers', 'key', 'name', 'number',
  'other_ufrag', 'param', 'permit', 'record', 'resume', 'runs', 'secret', 'session', 'token', 'ufrag',
  'url',
]);
const prompt = '\x1b[36mmillrace>\x1b[0m ';

let terminal = null;
let socket = null;
let busy = false; // an answer is awaited
let follows = false; // lines come until a key is pressed …
let ending = false; // … and one was: another message would be a command
let completing = false; // the answer that is awaited is about Tab …
let ahead = []; // … and keys were typed meanwhile
let line = '';
let at = 0;
let past = -1; // place in the history, -1: the line that is being written
let draft = '';
const history = JSON.parse(sessionStorage.getItem('commands') ?? '[]');

/* ---- answers ---------------------------------------------------------------------------------- */

/** A list of objects: what they hold without its names, and without what is nothing. */
const inShort = (list) => list.map((item) =>
  Object.values(item).filter((value) => value && /string|number/.test(typeof value)).join(' ')).join(', ');

function cellText(value) {
  if (value === null || value === undefined) return '';
  const isList = Array.isArray(value) && value.every((item) => item && typeof item === 'object');
  const text = isList ? inShort(value) : typeof value === 'object' ? JSON.stringify(value) : String(value);
  return text.length > CELL_MAX ? `${text.slice(0, CELL_MAX - 1)}…` : text;
}

/** A row wider than the terminal: as many of its cells on a line as fit, each with its name. */
function paragraph(names, cells) {
  const lines = [];
  let used = Infinity;
  names.forEach((name, i) => {
    const size = name.length + 1 + cells[i].length;
    const text = `\x1b[2m${name}\x1b[0m ${cells[i]}`;
    if (used + 2 + size <= terminal.cols) {
      lines.push(`${lines.pop()}  ${text}`);
      used += 2 + size;
    } else {
      lines.push(lines.length ? `  ${text}` : text);
      used = (lines.length > 1 ? 2 : 0) + size;
    }
  });
  return lines;
}

function table(rows) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = rows.map((row) => names.map((name) => cellText(row[name])));
  const widths = names.map((name, i) => Math.max(name.length, ...cells.map((row) => row[i].length)));
  if (widths.reduce((sum, width) => sum + width + 2, -2) > terminal.cols) return cells.flatMap((row) => paragraph(names, row));
  const numeric = names.map((_, i) => rows.every((row) => typeof row[names[i]] !== 'string'));
  const format = (row) => row.map((cell, i) => (numeric[i] ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join('  ').trimEnd();
  return [`\x1b[2m${format(names)}\x1b[0m`, ...cells.map(format)];
}

/** Processes and their actors (`tree`), or whoever has a stream, from whom (`paths`): there each has a part in it. */
function tree(nodes, indent = '') {
  return nodes.flatMap(({ process, part, node, name, type, addr, state, role, worker, protocol, client, way, planned, children = [] }) => {
    const where = part ? [part, protocol, client, node && `at ${node}`, way && `by ${way}`, planned && planned !== way && `planned ${planned}`] : [name || type];
    const what = [type, state, part && `${role} ${worker}`, addr];
    return [`${indent}${process ?? `${where.filter(Boolean).join(' ')}  \x1b[2m${what.filter(Boolean).join(' ')}\x1b[0m`}`, ...tree(children, `${indent}  `)];
  });
}

function linesOf({ ok, result, error, truncated, silent }) {
  if (ok === false) return [`\x1b[31m${error?.message ?? 'failed'}\x1b[0m`];
  const rows = Array.isArray(result) && result.every((row) => row && typeof row === 'object' && !Array.isArray(row));
  let lines;
  if (rows && result.some((row) => row.children)) lines = tree(result);
  else if (rows) lines = result.length ? table(result) : ['\x1b[2mnone\x1b[0m'];
  else lines = JSON.stringify(result, null, 2).split('\n');
  if (truncated) lines.push('\x1b[33mthere is more: ask for less (where, after)\x1b[0m');
  if (silent?.length) lines.push(`\x1b[33msilent: ${silent.join(', ')}\x1b[0m`);
  return lines;
}

/* ---- the line --------------------------------------------------------------------------------- */

function redraw() {
  terminal.write(`\r\x1b[K${prompt}${line}${at < line.length ? `\x1b[${line.length - at}D` : ''}`);
}

function setLine(text, place = text.length) {
  line = text;
  at = place;
  redraw();
}

function recall(step) {
  const next = Math.max(-1, Math.min(history.length - 1, past + step));
  if (next === past) return;
  if (past === -1) draft = line;
  past = next;
  setLine(past === -1 ? draft : history[history.length - 1 - past]);
}

/** As it may be remembered: without the values of secret fields, as in the history of `millrace repl`. */
function withoutSecrets(command) {
  if (!/^send\s/.test(command)) return command;
  return command.replace(/([^\s"=]+)=((?:"(?:\\.|[^"])*"?|[^\s"])*)/g, (word, path) =>
    (path.split('.').some((part) => secrets.has(part)) ? `${path}=***` : word));
}

function run() {
  const command = line.trim();
  terminal.write('\r\n');
  line = draft = '';
  at = 0;
  past = -1;
  const kept = withoutSecrets(command);
  if (kept && kept !== history.at(-1)) {
    history.push(kept);
    history.splice(0, history.length - HISTORY_MAX);
    sessionStorage.setItem('commands', JSON.stringify(history));
  }
  if (command === 'clear') terminal.clear();
  else if (command && socket?.readyState === WebSocket.OPEN) {
    busy = true;
    socket.send(command);
    return;
  } else if (command) terminal.writeln('\x1b[31mnot connected\x1b[0m');
  redraw();
}

/** What the text before the cursor may go on with: the node knows its commands, types and addresses. */
function complete() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  busy = completing = true;
  socket.send(`complete ${line.slice(0, at)}|`);
}

/** As `millrace repl` does it: what all candidates begin with is typed, else they are listed. */
function completed({ ok, result }) {
  if (!ok || !result.words.length) return;
  const { word, words, more, common, goes_on: goesOn } = result;
  const rest = common.slice(word.length) + (words.length === 1 && !more && !goesOn ? ' ' : '');
  if (rest) {
    setLine(line.slice(0, at) + rest + line.slice(at), at + rest.length);
    return;
  }
  const width = Math.max(...words.map((one) => one.word.length)) + 2;
  terminal.write('\r\n');
  for (const { word: text, is } of words) terminal.writeln(`${text.padEnd(width)}\x1b[2m${is.slice(0, Math.max(0, terminal.cols - width))}\x1b[0m`);
  if (more) terminal.writeln(`\x1b[2m${more} more\x1b[0m`);
  redraw();
}

const keys = {
  '\r': run,
  '\t': complete,
  '\x7f': () => { if (at) setLine(line.slice(0, at - 1) + line.slice(at), at - 1); },
  '\x1b[3~': () => setLine(line.slice(0, at) + line.slice(at + 1), at),
  '\x1b[D': () => setLine(line, Math.max(0, at - 1)),
  '\x1b[C': () => setLine(line, Math.min(line.length, at + 1)),
  '\x1b[A': () => recall(1),
  '\x1b[B': () => recall(-1),
  '\x1b[H': () => setLine(line, 0), '\x01': () => setLine(line, 0),
  '\x1b[F': () => setLine(line), '\x05': () => setLine(line),
  '\x15': () => setLine(line.slice(at), 0), '\x0b': () => setLine(line.slice(0, at)),
  '\x03': () => { terminal.write('^C\r\n'); setLine(''); },
  '\x0c': () => { terminal.clear(); redraw(); },
};

function type(data) {
  if (follows && !ending) {
    ending = true;
    socket?.send('end');
  }
  if (completing) ahead.push(data);
  if (busy) return;
  if (keys[data]) keys[data]();
  else if (!data.startsWith('\x1b')) {
    const text = data.replace(/[\r\n]+/g, ' ').replace(/[\x00-\x1f]/g, '');
    setLine(line.slice(0, at) + text + line.slice(at), at + text.length);
  }
}

/* ---- the socket ------------------------------------------------------------------------------- */

/** Nothing is awaited any more. */
function forget() {
  busy = follows = ending = completing = false;
  ahead = [];
}

function connect() {
  if (socket || live.access !== 'granted') return;
  const mine = socket = openSocket('/api/v1/repl');
  mine.addEventListener('message', ({ data }) => {
    const answer = JSON.parse(data);
    if (completing) {
      completing = busy = false;
      completed(answer);
      for (const typed of ahead.splice(0)) type(typed);
      return;
    }
    const more = answer.more === true;
    for (const text of follows && more ? eventLines(answer) : linesOf(answer)) terminal.writeln(text);
    if (more && !follows) terminal.writeln('\x1b[2many key ends this\x1b[0m');
    follows = more;
    ending = ending && more;
    busy = more;
    if (!more) redraw();
  });
  mine.addEventListener('close', () => {
    if (socket !== mine) return;
    socket = null;
    forget();
    terminal?.writeln('\r\n\x1b[33mthe connection was lost\x1b[0m');
    if (!$('view-console').hidden) setTimeout(connect, 1500);
  }, { once: true });
  mine.addEventListener('open', redraw, { once: true });
}

/** One event of watch or trace a line. */
function eventLines({ result, left_out: leftOut }) {
  const lines = [JSON.stringify(result)];
  if (leftOut) lines.unshift(`\x1b[33m${leftOut} left out\x1b[0m`);
  return lines;
}

/* ---- the terminal ------------------------------------------------------------------------------ */

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function theme() {
  return { background: token('--card'), foreground: token('--ink'), cursor: token('--accent'), cursorAccent: token('--card'),
    selectionBackground: token('--tint'), red: token('--bad'), yellow: token('--warn'), cyan: token('--accent') };
}

/** xterm.js makes style elements, which the page's policy forbids: what it writes into them goes into
 *  style sheets that are made by script. */
function documentWithoutStyles() {
  const style = () => {
    const sheet = new CSSStyleSheet();
    const element = document.createElement('template');
    document.adoptedStyleSheets.push(sheet);
    Object.defineProperty(element, 'textContent', { set: (text) => sheet.replaceSync(text) });
    return element;
  };
  return new Proxy(document, {
    get(target, name) {
      if (name === 'createElement') return (tag, ...more) => (tag === 'style' ? style() : target.createElement(tag, ...more));
      const value = target[name];
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

function load(tag, properties) {
  return new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement(tag), properties, { onload: resolve, onerror: reject });
    document.head.append(element);
  });
}

/** As many rows and columns as fit. */
function fit() {
  const screen = $('terminal').querySelector('.xterm-screen');
  if (!screen?.clientWidth) return;
  const cell = { width: screen.clientWidth / terminal.cols, height: screen.clientHeight / terminal.rows };
  const box = getComputedStyle($('terminal'));
  const width = $('terminal').clientWidth - 2 * parseFloat(box.paddingLeft) - SCROLL_BAR;
  const height = $('terminal').clientHeight - 2 * parseFloat(box.paddingTop);
  terminal.resize(Math.max(20, Math.floor(width / cell.width)), Math.max(6, Math.floor(height / cell.height)));
}

async function open() {
  await Promise.all([load('link', { rel: 'stylesheet', href: '/vendor/xterm.css' }),
    load('script', { src: '/vendor/xterm.js' })]);
  terminal = new window.Terminal({ documentOverride: documentWithoutStyles(), theme: theme(),
    fontFamily: token('--mono'), fontSize: 13, cursorBlink: true, screenReaderMode: true, scrollback: 5000 });
  terminal.open($('terminal'));
  terminal.onData(type);
  new ResizeObserver(fit).observe($('terminal'));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { terminal.options.theme = theme(); });
  terminal.writeln('Millrace console. \x1b[2mhelp lists the commands.\x1b[0m');
  fit();
}

let opening = null;
export async function enter() {
  await (opening ??= open());
  terminal.focus();
  connect();
}

export function update() {
  if (terminal) connect();
}

export function leave() {
  const mine = socket;
  socket = null;
  forget();
  mine?.close();
}
