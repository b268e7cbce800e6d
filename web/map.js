// SPDX-License-Identifier: Apache-2.0
// The map: some of the vectors, laid flat along the two directions in which they differ most. The colour is that of a
// field; the pointer, or the arrow keys, show an item, and a click leads to what is similar.
import { h, fill, field, count, percent, figures } from './dom.js';
import { sample, vectorOf } from './sample.js';
import { frame, nameOf, facts, linkTo, valueText } from './items.js';
import { tone } from './charts.js';

const NEAR = 14; // pixels from the pointer
const KINDS = 8; // colours; the rarer values share the last

export async function show(place, context) {
  const { info, signal, collection } = context;
  const wanted = field(
    'Items',
    [
      ['500', '500'],
      ['1000', '1,000'],
      ['2000', '2,000'],
      ['4000', '4,000'],
    ],
    { value: '2000', name: 'points' },
  );
  const using = field(
    'Vector',
    (info.vectors || []).filter(v => v.dtype !== 'b1').map(v => [v.name, v.name || 'the unnamed one']),
    {},
  );
  using.whole.hidden = (info.vectors || []).length < 2;
  const colour = field('Colour', [['', 'none']], { name: 'colour' });
  const state = h('p.soft', { role: 'status' }, 'Fetching vectors…');
  const canvas = h('canvas', { tabindex: '0', role: 'img', 'aria-label': 'Map of the vectors' });
  const card = h('aside.panel.found', { 'aria-live': 'polite' }, h('p.soft', {}, 'Point at something.'));
  const legend = h('ul.legend', {});
  place.append(
    h('form.inline', { onsubmit: event => event.preventDefault() }, wanted.whole, using.whole, colour.whole),
    state,
    h('div.split.map', {}, h('div.panel.plot', {}, canvas, legend), card),
  );
  let points = [],
    at = -1;

  async function load() {
    state.textContent = 'Fetching vectors…';
    const items = (await sample(info, Number(wanted.control.value), ['payload', 'vector'], signal))
      .map(item => ({ item, vector: vectorOf(item, using.control.value) }))
      .filter(one => Array.isArray(one.vector));
    if (signal.aborted) return;
    if (items.length < 3) {
      state.textContent = 'There are too few vectors for a map.';
      return;
    }
    state.textContent = 'Laying them flat…';
    const { places, explained } = await flatten(
      items.map(one => one.vector),
      signal,
    );
    if (signal.aborted) return;
    points = items.map((one, row) => ({
      item: { id: one.item.id, payload: one.item.payload },
      x: places[2 * row],
      y: places[2 * row + 1],
    }));
    fit(points);
    at = -1;
    const held = percent(explained[0] + explained[1], 0);
    state.textContent =
      `${count(points.length)} of ${count(info.items)} items; ` + `the two directions hold ${held} of what differs.`;
    offer();
    draw();
    canvas.dataset.drawn = String(points.length);
  }

  function offer() {
    const keys = new Map();
    for (const { item } of points)
      for (const [key, value] of Object.entries(item.payload || {}))
        if (['string', 'number', 'boolean'].includes(typeof value) && !/^data:|^https?:/.test(String(value)))
          keys.set(key, (keys.get(key) || new Set()).add(value));
    const useful = [...keys]
      .filter(([, values]) => values.size > 1 && (values.size <= 40 || typeof [...values][0] === 'number'))
      .map(([key]) => key);
    const before = colour.control.value;
    fill(
      colour.control,
      h('option', { value: '' }, 'none'),
      useful.map(key => h('option', { value: key }, key)),
    );
    colour.control.value = useful.includes(before)
      ? before
      : (useful.find(key => typeof [...keys.get(key)][0] === 'string') ?? useful[0] ?? '');
  }

  // How a point is coloured, and the legend of it.
  function palette() {
    const key = colour.control.value;
    if (!key) return { of: () => tone(0), legend: [] };
    const values = points.map(p => p.item.payload?.[key]).filter(value => value !== undefined && value !== null);
    const numbers = values.length > 0 && values.every(value => typeof value === 'number');
    if (numbers && new Set(values).size > KINDS) {
      const sorted = [...values].sort((a, b) => a - b);
      const low = sorted[Math.floor(sorted.length * 0.02)],
        high = sorted[Math.floor(sorted.length * 0.98)];
      const shade = value => `hsl(${235 - 190 * Math.max(0, Math.min(1, (value - low) / (high - low || 1)))} 68% 52%)`;
      return {
        of: item => (typeof item.payload?.[key] === 'number' ? shade(item.payload[key]) : '#888'),
        legend: [low, (low + high) / 2, high].map(value => [figures(value), shade(value)]),
      };
    }
    const tally = new Map();
    for (const value of values) tally.set(String(value), (tally.get(String(value)) || 0) + 1);
    const ranked = [...tally].sort((a, b) => b[1] - a[1]).map(([value]) => value);
    const hues =
      ranked.length > KINDS
        ? value => `hsl(${Math.round((360 * ranked.indexOf(value)) / ranked.length)} 62% 50%)`
        : value => tone(ranked.indexOf(value));
    return {
      of: item => (item.payload?.[key] === undefined ? '#888' : hues(String(item.payload[key]))),
      legend: ranked.slice(0, 24).map(value => [valueText(value), hues(value)]),
    };
  }

  function draw() {
    const wide = canvas.clientWidth,
      high = canvas.clientHeight,
      ratio = window.devicePixelRatio || 1;
    if (!wide) return;
    canvas.width = Math.round(wide * ratio);
    canvas.height = Math.round(high * ratio);
    const pen = canvas.getContext('2d');
    pen.scale(ratio, ratio);
    const colours = palette();
    const size = points.length > 1500 ? 2.4 : 3.2;
    pen.globalAlpha = 0.8;
    for (const point of points) {
      pen.fillStyle = colours.of(point.item);
      pen.beginPath();
      pen.arc(...spot(point, wide, high), size, 0, 7);
      pen.fill();
    }
    pen.globalAlpha = 1;
    if (at >= 0) {
      pen.lineWidth = 2;
      pen.strokeStyle = getComputedStyle(canvas).color;
      pen.beginPath();
      pen.arc(...spot(points[at], wide, high), 7, 0, 7);
      pen.stroke();
    }
    fill(
      legend,
      colours.legend.map(([words, shade]) =>
        h('li', {}, h('i', { style: { background: shade } }), h('span', { dir: 'auto' }, words)),
      ),
    );
  }

  function choose(next) {
    if (next === at) return;
    at = next;
    draw();
    if (at < 0) return;
    const { item } = points[at];
    const { text } = nameOf(item);
    fill(
      card,
      frame(item, text),
      h('h2', { dir: 'auto' }, text),
      facts(item, 8),
      h('p.soft.mono', {}, `#${item.id}`),
      h('a.button', { href: linkTo('similar', collection, item.id) }, 'Similar to this'),
    );
  }
  function under(event) {
    const box = canvas.getBoundingClientRect();
    let best = -1,
      nearest = NEAR;
    points.forEach((point, row) => {
      const [x, y] = spot(point, box.width, box.height);
      const away = Math.hypot(x - (event.clientX - box.left), y - (event.clientY - box.top));
      if (away < nearest) [best, nearest] = [row, away];
    });
    return best;
  }
  canvas.addEventListener('pointermove', event => {
    if (event.pointerType === 'mouse') {
      const found = under(event);
      canvas.style.cursor = found < 0 ? '' : 'pointer';
      if (found >= 0) choose(found);
    }
  });
  let touched = -1;
  canvas.addEventListener('click', event => {
    const found = under(event);
    if (found < 0) return;
    // A finger cannot point first: its first touch shows, the second follows.
    const follows = event.pointerType === 'mouse' || touched === found;
    touched = found;
    choose(found);
    if (follows) location.hash = linkTo('similar', collection, points[found].item.id);
  });
  canvas.addEventListener('keydown', event => {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key === 'Enter' && at >= 0) location.hash = linkTo('similar', collection, points[at].item.id);
    if (!ways[event.key] || !points.length) return;
    event.preventDefault();
    choose(at < 0 ? 0 : towards(points, at, ways[event.key]));
  });
  wanted.control.addEventListener('change', () => context.doing(null, load));
  using.control.addEventListener('change', () => context.doing(null, load));
  colour.control.addEventListener('change', draw);
  const redraw = () => draw();
  document.addEventListener('kith-theme', redraw);
  const watching = new ResizeObserver(redraw);
  watching.observe(canvas);
  signal.addEventListener('abort', () => {
    watching.disconnect();
    document.removeEventListener('kith-theme', redraw);
  });
  await load();
}

const MARGIN = 16;
function spot(point, wide, high) {
  return [MARGIN + point.u * (wide - 2 * MARGIN), MARGIN + (1 - point.v) * (high - 2 * MARGIN)];
}

// Places as shares of the picture. A few that lie far away must not press the others together: they stand at its edge.
function fit(points) {
  for (const [from, to] of [
    ['x', 'u'],
    ['y', 'v'],
  ]) {
    const sorted = points.map(p => p[from]).sort((a, b) => a - b);
    const low = sorted[Math.floor(sorted.length * 0.005)],
      high = sorted[Math.ceil(sorted.length * 0.995) - 1];
    for (const point of points) point[to] = Math.max(0, Math.min(1, (point[from] - low) / (high - low || 1)));
  }
}

// The nearest point that lies more in this direction than aside of it.
function towards(points, at, [right, down]) {
  let best = at,
    nearest = Infinity;
  points.forEach((point, row) => {
    const along = right * (point.u - points[at].u) - down * (point.v - points[at].v);
    const aside = Math.abs(right ? point.v - points[at].v : point.u - points[at].u);
    if (row === at || along <= 0 || aside > along) return;
    if (along + aside < nearest) [best, nearest] = [row, along + aside];
  });
  return best;
}

function flatten(vectors, signal) {
  const dim = vectors[0].length;
  const flat = new Float32Array(vectors.length * dim);
  vectors.forEach((vector, row) => flat.set(vector, row * dim));
  return new Promise((done, failed) => {
    const worker = new Worker(new URL('pca.js', import.meta.url));
    signal.addEventListener('abort', () => {
      worker.terminate();
      done({ places: [], explained: [0, 0] });
    });
    worker.onmessage = ({ data }) => {
      if (data.places) {
        worker.terminate();
        done(data);
      }
    };
    worker.onerror = event => {
      worker.terminate();
      failed(new Error(`The map could not be computed: ${event.message || 'the worker did not start'}`));
    };
    worker.postMessage({ rows: vectors.length, dim, vectors: flat }, [flat.buffer]);
  });
}
