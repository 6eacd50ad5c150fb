// SPDX-License-Identifier: Apache-2.0
// A soak's samples: does anything still grow at the end, and the picture of it.

const WIDTH = 900;
const PANEL = 200;
const MARGIN = { left: 60, right: 120, top: 34, bottom: 24 };
const COLOURS = ['#0b6e99', '#b5651d', '#3d8b37', '#8a3d8b', '#c23b3b', '#5b5b5b', '#b59b1d', '#1d8fb5'];

const middle = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];

/** Growth a second by the median of all slopes (Theil and Sen): a burst in one sample moves nothing. */
export function slope(points) {
  const slopes = [];
  for (let i = 0; i < points.length; i++)
    for (let j = i + 1; j < points.length; j++)
      slopes.push((points[j].y - points[i].y) / (points[j].x - points[i].x));
  return slopes.length ? middle(slopes) : 0;
}

/** {name, figure, growth, bound, from, to} of every process and figure that was there in all of `samples`
 *  ({at, processes: [{name, pid, figures...}]}). bounds: {figure: (mean) => growth allowed}. */
export function growths(samples, bounds) {
  const key = (process) => `${process.name} ${process.pid}`;
  const everywhere = (samples[0]?.processes ?? []).filter((process) =>
    samples.every((sample) => sample.processes.some((other) => key(other) === key(process))));
  return everywhere.flatMap((process) => Object.entries(bounds).map(([figure, bound]) => {
    const points = samples.map((sample) =>
      ({ x: sample.at, y: sample.processes.find((other) => key(other) === key(process))[figure] }));
    const mean = points.reduce((sum, point) => sum + point.y, 0) / points.length;
    return { name: process.name, figure, growth: slope(points) * (points.at(-1).x - points[0].x), bound: bound(mean),
      from: points[0].y, to: points.at(-1).y };
  }));
}

function panel(index, title, series, end) {
  const top = Math.max(1, ...series.flatMap((line) => line.points.map((point) => point.y))) * 1.1;
  const x = (at) => (MARGIN.left + (at / end) * (WIDTH - MARGIN.left - MARGIN.right)).toFixed(1);
  const y = (value) => (index * PANEL + PANEL - MARGIN.bottom
    - (value / top) * (PANEL - MARGIN.top - MARGIN.bottom)).toFixed(1);
  const out = [`<text x="${MARGIN.left}" y="${index * PANEL + 20}" class="title">${title}</text>`,
    `<rect x="${x(end * 2 / 3)}" y="${y(top)}" width="${x(end) - x(end * 2 / 3)}" height="${y(0) - y(top)}" class="judged"/>`];
  for (let i = 0; i <= 4; i++) {
    const value = (top / 4) * i;
    out.push(`<line x1="${x(0)}" x2="${x(end)}" y1="${y(value)}" y2="${y(value)}" class="grid"/>`,
      `<text x="${x(0) - 6}" y="${+y(value) + 4}" class="y">${Number(value.toPrecision(3))}</text>`,
      `<text x="${x((end / 4) * i)}" y="${+y(0) + 16}" class="x">${Number((end / 240 * i).toPrecision(3))} min</text>`);
  }
  series.forEach((line, i) => {
    const colour = COLOURS[i % COLOURS.length];
    out.push(`<polyline stroke="${colour}" points="${line.points.map((p) => `${x(p.x)},${y(p.y)}`).join(' ')}"/>`,
      `<text x="${WIDTH - MARGIN.right + 8}" y="${index * PANEL + MARGIN.top + 10 + i * 15}" fill="${colour}">${line.name}</text>`);
  });
  return out.join('\n');
}

/** The picture: a panel a figure ([title, (process) => value]), a line a process name, and the sessions. */
export function draw(samples, panels, head) {
  const end = samples.at(-1).at;
  const names = [...new Set(samples.flatMap((sample) => sample.processes.map((process) => process.name)))].sort();
  const drawn = panels.map(([title, value], i) => panel(i, title, names.map((name) => ({ name,
    points: samples.flatMap((sample) => sample.processes.filter((process) => process.name === name)
      .map((process) => ({ x: sample.at, y: value(process) }))) })), end));
  drawn.push(panel(panels.length, 'sessions', [{ name: 'sessions',
    points: samples.map((sample) => ({ x: sample.at, y: sample.sessions })) }], end));
  const height = PANEL * drawn.length + 24;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}">
<style>text{font:12px sans-serif}.title{font-weight:bold}.x,.y{fill:#444;font-size:11px}.x{text-anchor:middle}
.y{text-anchor:end}.grid{stroke:#ddd}polyline{fill:none;stroke-width:1.5}.judged{fill:#f3f6d8}</style>
<rect width="100%" height="100%" fill="#fff"/>
${drawn.join('\n')}
<text x="${MARGIN.left}" y="${height - 8}" class="title">${head}</text>
</svg>
`;
}
