// SPDX-License-Identifier: Apache-2.0
// The tuner: recall against speed, measured here. Some items are asked for exactly and then at several targets, one
// query a call and as batches; an answer counts as right when it is no farther than the exact k-th one (so ties do).
import { h, fill, field, panel, count, figures, duration, percent, short, meter } from './dom.js';
import { api } from './api.js';
import { chart } from './charts.js';
import { sample, vectorOf, byVector } from './sample.js';
import { example } from './console.js';

const TARGETS = [0.8, 0.9, 0.95, 0.98, 0.99, 0.999];

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
    const out = h('div', {});
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
        state.textContent = 'Choosing queries…';
        const vectors = (await sample(info, wanted, ['vector'], signal))
            .map(item => vectorOf(item, using.control.value))
            .filter(Boolean);
        if (!vectors.length) throw new Error('No item with such a vector was found.');
        const ask = {
            k: depth,
            ...(narrowed && { filter: narrowed }),
            ...(using.control.value && { using: using.control.value }),
        };
        const rows = [];
        const truth = await one('exact', { ...ask, exact: true }, null);
        for (const target of TARGETS) {
            if (signal.aborted) return;
            await one(String(target), { ...ask, target }, truth.found);
        }
        fill(bar);
        state.textContent = `${count(vectors.length)} queries each, k = ${depth}${narrowed ? `, ${narrowed}` : ''}.`;

        async function one(words, members, right) {
            state.textContent = words === 'exact' ? 'Asking exactly…' : `Asking for a recall of ${words}…`;
            const found = [],
                times = [];
            for (let at = 0; at < vectors.length; at++) {
                const began = performance.now();
                const told = await api.query(collection, { ...members, ...byVector(vectors[at]) }, signal);
                times.push(performance.now() - began);
                found.push((told.results[0] || []).map(hit => Number(hit.distance)));
                if (at % 10 === 0)
                    fill(bar, meter((rows.length + at / vectors.length) / (TARGETS.length + 1), 'Measured'));
            }
            const began = performance.now();
            await api.query(collection, { ...members, vectors }, signal);
            const batch = performance.now() - began;
            times.sort((a, b) => a - b);
            const row = {
                words,
                recall: right ? recallOf(found, right) : 1,
                mean: times.reduce((sum, t) => sum + t, 0) / times.length,
                p50: times[times.length >> 1],
                p99: times[Math.min(times.length - 1, Math.floor(times.length * 0.99))],
                batch: (1000 * vectors.length) / batch,
                found,
            };
            rows.push(row);
            if (!signal.aborted) drawAll(rows);
            return row;
        }
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
        fill(
            out,
            panel('Recall against speed', drawing.place),
            panel(
                'Measured',
                h(
                    'div.wide',
                    { tabindex: '0', role: 'region', 'aria-label': 'Measured' },
                    h(
                        'table',
                        {},
                        h(
                            'thead',
                            {},
                            h(
                                'tr',
                                {},
                                ['asked for', 'found', 'p50', 'p99', 'one a call', 'in batches'].map((word, at) =>
                                    h(at ? 'th.number' : 'th', {}, word),
                                ),
                            ),
                        ),
                        h(
                            'tbody',
                            {},
                            rows.map(row =>
                                h(
                                    row.words !== 'exact' && row.recall + 1e-9 < Number(row.words) ? 'tr.short' : 'tr',
                                    {},
                                    h('td', {}, row.words),
                                    h('td.number', {}, percent(row.recall, 2)),
                                    h('td.number', {}, duration(row.p50)),
                                    h('td.number', {}, duration(row.p99)),
                                    h('td.number', {}, `${short(1000 / row.mean)}/s`),
                                    h('td.number', {}, `${short(row.batch)}/s`),
                                ),
                            ),
                        ),
                    ),
                ),
            ),
        );
    }
}

export function recallOf(found, right) {
    let share = 0;
    for (const [at, distances] of right.entries()) {
        if (!distances.length) {
            share += 1;
            continue;
        }
        const limit = distances[distances.length - 1];
        share += Math.min(distances.length, found[at].filter(distance => distance <= limit).length) / distances.length;
    }
    return share / right.length;
}
