// SPDX-License-Identifier: Apache-2.0
// The server as it is now: its figures every second, and the last two minutes of them.
import { h, fill, panel, count, short, figures, duration, bytes, percent, meter, table } from './dom.js';
import { api } from './api.js';
import { chart } from './charts.js';
import { linkTo } from './items.js';

const KEPT = 120; // seconds

export async function show(place, context) {
  const { signal } = context;
  const server = await api.server(signal);
  const about = h('p.lead', {});
  const tiles = h('dl.tiles', {});
  const list = panel('Collections');
  const series = { queries: [], p50: [], p99: [], batch: [], recall: [] };
  const labels = Array.from({ length: KEPT }, (_, at) => (at === KEPT - 1 ? 'now' : `${KEPT - 1 - at} s ago`));
  const marks = { 0: '2 min ago', [KEPT / 2 - 1]: '1 min ago', [KEPT - 1]: 'now' };
  for (const list of Object.values(series)) list.push(...Array(KEPT).fill(null));
  const x = {
    labels,
    ticks: { autoSkip: false, align: 'inner', font: { size: 11 }, callback: at => marks[at] ?? null },
  };
  const draw = {
    queries: chart({
      label: 'Queries a second, the last two minutes',
      x,
      sets: [{ data: series.queries, tone: 0, fill: true }],
    }),
    times: chart({
      label: 'Milliseconds a call, median and 99th percentile',
      x,
      legend: true,
      sets: [
        { label: 'p50', data: series.p50, tone: 2 },
        { label: 'p99', data: series.p99, tone: 1 },
      ],
    }),
    batch: chart({
      label: 'Queries that were answered together',
      x,
      sets: [{ data: series.batch, tone: 3, fill: true }],
    }),
    recall: chart({
      label: 'Recall as it was measured live',
      x,
      y: { more: { beginAtZero: false, suggestedMin: 0.9, max: 1 } },
      sets: [{ data: series.recall, tone: 5 }],
    }),
  };
  signal.addEventListener('abort', () => Object.values(draw).forEach(one => one.destroy()));
  const said = {};
  const figure = (name, title, drawn) =>
    h('section.panel.figure', {}, h('h2', {}, title, (said[name] = h('output', {}, '–'))), drawn.place);
  place.append(
    about,
    tiles,
    h(
      'div.grid',
      {},
      figure('queries', 'Queries a second', draw.queries),
      figure('times', 'Time of a call', draw.times),
      figure('batch', 'Queries in a batch', draw.batch),
      figure('recall', 'Live recall', draw.recall),
    ),
    list,
  );

  const since = Date.now() - 1000 * (server.uptime_s || 0);
  function tell(stats) {
    // Without calls there are no times.
    const [p50, p99] = [stats.p50_ms, stats.p99_ms].map(ms => (ms > 0 ? duration(ms) : '–'));
    fill(
      about,
      `kith ${server.version}, up for ${duration(Date.now() - since)}${server.read_only ? ', read only' : ''}`,
    );
    fill(
      tiles,
      [
        ['queries a second', short(stats.queries_per_s)],
        ['calls a second', short(stats.calls_per_s)],
        ['errors a second', short(stats.errors_per_s), stats.errors_per_s > 0 && 'wrong'],
        ['p50', p50],
        ['p99', p99],
        ['waiting', count(stats.queue), stats.queue > 100 && 'wrong'],
        ['busy', percent(stats.busy || 0, 0)],
        ['connections', count(stats.connections)],
        ['memory', bytes(stats.memory_bytes)],
      ].map(([words, value, wrong]) => h(wrong ? 'div.wrong' : 'div', {}, h('dt', {}, words), h('dd', {}, value))),
    );
    const checked = (stats.collections || []).filter(one => one.recall?.checked > 0);
    const mean = checked.length
      ? checked.reduce((sum, one) => sum + one.recall.mean * one.recall.checked, 0) /
        checked.reduce((sum, one) => sum + one.recall.checked, 0)
      : null;
    const now = {
      queries: stats.queries_per_s,
      p50: stats.calls_per_s ? stats.p50_ms : null,
      p99: stats.calls_per_s ? stats.p99_ms : null,
      batch: stats.batch_mean || null,
      recall: mean,
    };
    for (const [name, list] of Object.entries(series)) {
      list.push(now[name]);
      list.shift();
    }
    said.queries.textContent = short(stats.queries_per_s);
    said.times.textContent = `${p50} · ${p99}`;
    said.batch.textContent = figures(stats.batch_mean || 0);
    said.recall.textContent = mean === null ? 'none checked yet' : figures(mean);
    draw.queries.update({ data: [series.queries] });
    draw.times.update({ data: [series.p50, series.p99] });
    draw.batch.update({ data: [series.batch] });
    draw.recall.update({ data: [series.recall] });
    const heads = ['name', '#items', '#segments', '#in memory', '#cache hits', 'recall', 'work'];
    fill(
      list,
      h('h2', {}, 'Collections'),
      table('Collections', heads, (stats.collections || []).slice(0, 100).map(row)),
    );
  }
  await context.every(1000, async () => {
    const stats = await api.stats(signal);
    if (!signal.aborted) tell(stats);
  });
}

function row(one) {
  const asked = (one.cache_hits || 0) + (one.cache_misses || 0);
  const recall =
    one.recall?.checked > 0
      ? `${figures(one.recall.mean)} (${figures(one.recall.low)}–${figures(one.recall.high)}, ` +
        `${count(one.recall.checked)} checked)`
      : '–';
  return [
    h('a', { href: linkTo('segments', one.name), dir: 'auto' }, one.name),
    count(one.items),
    count(one.segments),
    count(one.head_rows),
    asked ? percent(one.cache_hits / asked, 0) : '–',
    recall,
    workOf(one),
  ];
}

export function workOf(one) {
  if (!one.work) return h('span.soft', {}, 'none');
  const share = one.work_total ? one.work_done / one.work_total : 0;
  return h('span.work', {}, h('span', {}, one.work), meter(share, one.work), h('span.soft', {}, percent(share, 0)));
}
