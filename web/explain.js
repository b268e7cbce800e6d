// SPDX-License-Identifier: Apache-2.0
// An explain drawn: where the time went, how the many became the few, and which plans were weighed. What it does not
// know by name is listed as it came.
import { h, count, short, figures, duration, percent, shares, table } from './dom.js';

const stages = [
  ['filter_ns', 'filter', 't1'],
  ['segments_ns', 'segments', 't0'],
  ['head_ns', 'rows in memory', 't2'],
  ['read_ns', 'reading items', 't3'],
];
const funnel = [
  ['items', 'items'],
  ['matched', 'let through by the filter'],
  ['scanned_rows', 'codes compared'],
  ['level1_survivors', 'after the first level'],
  ['candidates', 'candidates'],
  ['reranked', 'scored with the original'],
];

export function draw(explain, told = {}) {
  if (!explain || typeof explain !== 'object') return null;
  const flat = flatten(explain);
  const known = new Set(['considered', 'total_ns']);
  const total = Number(flat.total_ns) || 0;
  const times = stages
    .filter(([key]) => Number(flat[key]) > 0)
    .map(([key, words, tone]) => {
      known.add(key);
      return [words, Number(flat[key]), tone];
    });
  const rest = total - times.reduce((sum, [, ns]) => sum + ns, 0);
  if (rest > 0 && times.length) times.push(['the rest', rest, 't7']);
  const steps = funnel
    .filter(([key]) => Number.isFinite(Number(flat[key])))
    .map(([key, words]) => {
      known.add(key);
      return [words, Number(flat[key])];
    })
    .filter(([, value]) => value > 0);
  if (told.shown) steps.push(['answered', told.shown]);
  return h(
    'div.explain',
    {},
    h(
      'p.soft',
      {},
      [
        flat.cached ? 'kept from before' : flat.exact ? 'exact' : 'approximate',
        flat.plan && `plan ${flat.plan}`,
        flat.tier && `tier ${flat.tier}`,
        total && `${duration(total / 1e6)} in the server`,
        told.ms && `${duration(told.ms)} from here`,
      ]
        .filter(Boolean)
        .join(' · '),
    ),
    times.length > 0 &&
      total > 0 &&
      h(
        'section',
        {},
        h('h3', {}, 'Where the time went'),
        shares('Time', times, ns => duration(ns / 1e6)),
      ),
    steps.length > 1 && h('section', {}, h('h3', {}, 'From many to few'), funnelOf(steps)),
    Array.isArray(flat.considered) && flat.considered.length > 0 && weighed(flat.considered),
    others(flat, known),
  );
}

function flatten(object, into = {}) {
  for (const [key, value] of Object.entries(object))
    if (
      value &&
      typeof value === 'object' &&
      !Array.isArray(value) &&
      !value.digits &&
      key !== 'stage_ns' &&
      key !== 'stages'
    )
      flatten(value, into);
    else into[key] = value;
  return into;
}

// Each bar on a scale of logarithms: a thousandth of the rows would be no bar at all otherwise.
function funnelOf(steps) {
  const most = Math.log10(1 + Math.max(...steps.map(([, value]) => value)));
  return h(
    'ol.funnel',
    {},
    steps.map(([words, value]) =>
      h(
        'li',
        {},
        h('span', {}, words),
        h('i', {
          'aria-hidden': 'true',
          style: { width: `${Math.max(0.5, (100 * Math.log10(1 + value)) / most)}%` },
        }),
        h('b', {}, short(value)),
      ),
    ),
  );
}

function weighed(plans) {
  const row = plan => [
    `${plan.plan ?? ''}${plan.code && plan.code !== 'none' ? ` (${plan.code})` : ''}`,
    plan.nprobe ? count(plan.nprobe) : '',
    plan.rerank ? count(plan.rerank) : '',
    plan.query_ns ? duration(plan.query_ns / 1e6) : '–',
    plan.recall ? percent(plan.recall, 2) : '–',
    plan.why ?? '',
  ];
  const heads = ['plan', '#lists', '#rerank', '#a query', '#recall', 'why'];
  return h('section.weighed', {}, h('h3', {}, 'Plans that were weighed'), table('Plans', heads, plans.map(row)));
}

function others(flat, known) {
  const left = Object.entries(flat).filter(([key, value]) => !known.has(key) && value !== '' && value !== null);
  if (!left.length) return null;
  return h(
    'details',
    {},
    h('summary', {}, 'All of it'),
    h(
      'dl.pairs',
      {},
      left.map(([key, value]) =>
        h(
          'div',
          {},
          h('dt', {}, key),
          h(
            'dd',
            {},
            typeof value === 'number'
              ? key.endsWith('_ns')
                ? duration(value / 1e6)
                : Number.isInteger(value)
                  ? count(value)
                  : figures(value)
              : typeof value === 'object'
                ? JSON.stringify(value)
                : String(value),
          ),
        ),
      ),
    ),
  );
}
