// SPDX-License-Identifier: Apache-2.0
// Elements: made by a call, and lists whose rows are made once and kept, so that focus, selection and
// running animations survive every update.

export const $ = (id) => document.getElementById(id);

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name in node && !(node instanceof SVGElement)) node[name] = value;
    else if (value !== null && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** h('li', { className: 'x' }, 'text', child, …) */
export const h = (tag, properties = {}, ...children) => fill(document.createElement(tag), properties, children);

/** The same for SVG. */
export const svg = (tag, properties = {}, ...children) =>
  fill(document.createElementNS('http://www.w3.org/2000/svg', tag), properties, children);

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Makes `parent` hold one element an entry of `entries` ([key, value]), in that order. */
export function keyed(parent, entries, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let at = parent.firstElementChild;
  for (const [key, value] of entries) {
    let node = known.get(key);
    if (node) known.delete(key);
    else {
      node = create(key, value);
      node.dataset.key = key;
    }
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
    update?.(node, value, key);
  }
  for (const node of known.values()) node.remove();
}

/** Shows {label: value} as a list of figures; a value may be [number, unit]. */
export function showFigures(list, figures) {
  keyed(list, Object.entries(figures), (label) => h('div', {}, h('dt', {}, label), h('dd')), (row, value) => {
    const [number, unit = ''] = Array.isArray(value) ? value : [value];
    const text = `${number}${unit && ` ${unit}`}`;
    if (row.lastChild.textContent !== text)
      row.lastChild.replaceChildren(`${number}`, ...(unit ? [h('span', { className: 'unit' }, ` ${unit}`)] : []));
  });
}

export function showMessage(element, text, kind = '') {
  element.hidden = !text;
  setText(element, text);
  element.className = `message ${kind}`;
}

/** A line of the last values, as wide as it gets. */
export function spark(values, top = 0) {
  const most = Math.max(top, ...values) || 1;
  const points = values.map((value, i) =>
    `${(i * 100 / Math.max(1, values.length - 1)).toFixed(2)} ${(27 - 25 * value / most).toFixed(2)}`);
  const line = points.length > 1 ? `M${points.join('L')}` : '';
  return svg('svg', { class: 'spark', viewBox: '0 0 100 28', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    svg('path', { class: 'fill', d: line && `${line}L100 28L0 28Z` }), svg('path', { d: line }));
}
