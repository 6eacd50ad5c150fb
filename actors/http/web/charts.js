// SPDX-License-Identifier: Apache-2.0
// The last five minutes of a stream, drawn by uPlot.

import uPlot from '/vendor/uplot.js';
import { h } from './dom.js';
import { clock } from './events.js';
import { live } from './live.js';

const charts = [
  { title: 'Rate, Mbit/s', series: [['in', 'in'], ['out', 'out to viewers']], digits: 2 },
  { title: 'Loss, %', series: [['loss', 'mean'], ['lossMost', 'worst']], digits: 1, least: 1 },
  { title: 'Round trip, ms', series: [['rtt', 'median'], ['rttMost', 'worst']], digits: 0, least: 5 },
  { title: 'First picture, ms', series: [['first', 'median'], ['firstMost', 'worst']], digits: 0, least: 50 },
];
const HEIGHT = 132;
const HALF_CLOCK = 26; // px of a time that stands under the right edge
let drawn = null; // { name, plots: [{ plot, series, box }] }

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function options({ digits, least = 0.1 }, width) {
  const axis = { stroke: token('--soft'), font: `11px ${token('--sans')}`, gap: 4, ticks: { show: false },
    grid: { stroke: token('--grid'), width: 1 } };
  const line = (color) => ({ stroke: token(color), width: 1.6, points: { show: false }, spanGaps: false });
  return {
    width, height: HEIGHT, padding: [8, HALF_CLOCK, 0, 0], cursor: { y: false, points: { size: 6 } }, legend: { show: false },
    scales: { y: { range: (_, low, high) => [0, Math.max(least, (high || 0) * 1.15)] } },
    axes: [
      { ...axis, size: 22, space: 70, values: (_, times) => times.map((time) => clock.format(time * 1000)) },
      { ...axis, size: 42, space: 34, values: (_, values) => values.map((value) => value.toFixed(digits)) },
    ],
    series: [{}, line('--series-1'), line('--series-2')],
  };
}

function dataOf(name, series) {
  const history = live.histories.get(name) ?? { at: [] };
  return [history.at, ...series.map(([key]) => history[key] ?? [])];
}

function create(parent, name) {
  forgetCharts();
  const plots = charts.map((chart) => {
    const legend = h('span', { className: 'legend' }, ...chart.series.map(([, label]) => h('span', {}, h('i'), label)));
    const box = h('div', { className: 'plot', role: 'img', ariaLabel: `${chart.title}, over the last minutes` });
    parent.append(h('section', { className: 'card chart' }, h('h2', {}, chart.title, legend), box));
    return { box, chart, plot: new uPlot(options(chart, Math.max(120, box.clientWidth)), dataOf(name, chart.series), box) };
  });
  drawn = { name, parent, plots };
}

/** Makes or refreshes the charts of a stream. */
export function drawCharts(parent, name) {
  if (!live.histories.has(name)) {
    if (drawn && drawn.name !== name) forgetCharts();
    return;
  }
  if (drawn?.name !== name) create(parent, name);
  for (const { box, plot, chart } of drawn.plots) {
    if (box.clientWidth && plot.width !== box.clientWidth) plot.setSize({ width: box.clientWidth, height: HEIGHT });
    plot.setData(dataOf(name, chart.series));
  }
}

export function forgetCharts() {
  for (const { plot } of drawn?.plots ?? []) plot.destroy();
  drawn?.parent.replaceChildren();
  drawn = null;
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  if (drawn) create(drawn.parent, drawn.name);
});
