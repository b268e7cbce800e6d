// SPDX-License-Identifier: Apache-2.0
// The tuner: recall against speed, measured here. Some items are asked for exactly and then at several targets, one
// query a call and as batches; an answer counts as right when it is one of the exact ones, or no farther than the last
// of them.
import { h, fill, field, panel, count, figures, duration, percent, short, meter, table } from './dom.js';
import { api } from './api.js';
import { chart } from './charts.js';
import { sample, vectorOf, byVector } from './sample.js';
import { example } from './console.js';

const TARGETS = [0.8, 0.9, 0.95, 0.98, 0.99, 0.999];
const TIE = 1e-4; // queries are moved by less than this

export async function show(place, context) {
  const { info, signal, collection } = context;
  const queries = field('Queries', 'number', { min: 5, max: 500, value: '100' });
  const k = field('k', 'number', { min: 1, max: 100, value: '10' });
  const filter = field('Filter', 'text', { placeholder: example(info) });
  const using = field(
    'Vector',
    (info.vectors || []).map(v => [v.name, v.name || 'the unnamed one']),
    {},
  );
  using.whole.hidden = (info.vectors || []).length < 2;
  const go = h('button.main', {}, 'Measure');
  const state = h(
    'p.soft',
    { role: 'status' },
    'Items of the collection are the queries. What is measured has the way to the server in it.',
  );
  const bar = h('div', {});
  const out = h('div.stacked', {});
  place.append(
    h(
      'form.inline',
      {
        onsubmit: event => {
          event.preventDefault();
          context.doing(go, measure);
        },
      },
      queries.whole,
      k.whole,
      filter.whole,
      using.whole,
      go,
    ),
    state,
    bar,
    out,
  );

  async function measure() {
    const wanted = Math.max(5, Math.min(500, Number(queries.control.value) || 100));
    const depth = Math.max(1, Math.min(100, Number(k.control.value) || 10));
    const narrowed = filter.control.value.trim();
    const name = using.control.value;
    state.textContent = 'Choosing queries…';
    const vectors = (await sample(info, wanted, ['vector'], signal)).map(item => vectorOf(item, name)).filter(Boolean);
    if (!vectors.length) throw new Error('No item with such a vector was found.');
    const bits = (info.vectors || []).some(v => v.name === name && v.dtype === 'b1');
    const freshly = () => (bits ? vectors : vectors.map(fresh));
    const ask = { k: depth, ...(narrowed && { filter: narrowed }), ...(name && { using: name }) };
    const rows = [];
    const steps = [['exact', { exact: true }], ...TARGETS.map(target => [String(target), { target }])];
    for (const [words, members] of steps) {
      state.textContent = words === 'exact' ? 'Asking exactly…' : `Asking for a recall of ${words}…`;
      const row = await timed({ ...ask, ...members }, freshly, share =>
        fill(bar, meter((rows.length + share) / steps.length, 'Measured')),
      );
      if (signal.aborted) return;
      rows.push({ ...row, words, recall: rows.length ? recallOf(row.found, rows[0].found) : 1 });
      drawAll(rows);
    }
    fill(bar);
    state.textContent = `${count(vectors.length)} queries each, k = ${depth}${narrowed ? `, ${narrowed}` : ''}.`;
  }

  // All vectors, one a call and then together: what was found, and how long it took.
  async function timed(members, freshly, progress) {
    const found = [];
    const times = [];
    const alone = freshly();
    for (const vector of alone) {
      const began = performance.now();
      const told = await api.query(collection, { ...members, ...byVector(vector) }, signal);
      times.push(performance.now() - began);
      found.push(told.results[0] || []);
      if (found.length % 10 === 0) progress(found.length / alone.length);
    }
    const vectors = freshly();
    const began = performance.now();
    await api.query(collection, { ...members, vectors }, signal);
    const together = performance.now() - began;
    times.sort((a, b) => a - b);
    return {
      found,
      mean: times.reduce((sum, time) => sum + time, 0) / times.length,
      p50: times[times.length >> 1],
      p99: times[Math.min(times.length - 1, Math.floor(times.length * 0.99))],
      batch: (1000 * vectors.length) / together,
    };
  }

  let drawing = null;
  signal.addEventListener('abort', () => drawing?.destroy());
  function drawAll(rows) {
    drawing?.destroy();
    const ordered = [...rows].sort((a, b) => a.recall - b.recall || b.batch - a.batch);
    const least = Math.min(...ordered.map(row => row.recall));
    const points = key => ordered.map(row => ({ x: row.recall, y: key(row), words: row.words }));
    drawing = chart({
      label: 'Recall against queries a second',
      type: 'scatter',
      tall: true,
      legend: true,
      sets: [
        { label: 'in batches', data: points(row => row.batch), tone: 0, showLine: true },
        { label: 'one a call', data: points(row => 1000 / row.mean), tone: 1, showLine: true },
      ],
      x: { title: 'recall that was found', more: { min: Math.max(0, least - 0.02), max: 1 } },
      y: {
        title: 'queries a second',
        more: { type: 'logarithmic', beginAtZero: false },
        ticks: { callback: value => (['1', '2', '5'].includes(String(value)[0]) ? short(value) : '') },
      },
      tip: item =>
        `${item.dataset.label}, asked for ${item.raw.words}: ${short(item.raw.y)}/s at ${figures(item.raw.x)}`,
    });
    const heads = ['asked for', '#found', '#p50', '#p99', '#one a call', '#in batches'];
    const told = table('Measured', heads, rows.map(rowOf));
    fill(out, panel('Recall against speed', drawing.place), panel('Measured', told));
  }
}

function rowOf(row) {
  const cells = [
    row.words,
    percent(row.recall, 2),
    duration(row.p50),
    duration(row.p99),
    `${short(1000 / row.mean)}/s`,
    `${short(row.batch)}/s`,
  ];
  cells.tone = row.words !== 'exact' && row.recall + 1e-9 < Number(row.words) ? 'short' : '';
  return cells;
}

// The same query for the eye, and another one for the server: answers that it keeps would be measured otherwise.
function fresh(vector) {
  const own = [...vector];
  const largest = own.reduce((best, value, at) => (Math.abs(value) > Math.abs(own[best]) ? at : best), 0);
  own[largest] *= 1 + 1e-6 * (1 + 9 * Math.random());
  return own;
}

function recallOf(found, right) {
  let sum = 0;
  for (const [at, hits] of right.entries()) {
    const ids = new Set(hits.map(hit => String(hit.id)));
    const last = Number(hits[hits.length - 1]?.distance);
    const limit = last + TIE * Math.abs(last);
    const fine = found[at].filter(hit => ids.has(String(hit.id)) || Number(hit.distance) <= limit).length;
    sum += hits.length ? Math.min(1, fine / hits.length) : 1;
  }
  return sum / right.length;
}
