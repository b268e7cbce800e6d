// SPDX-License-Identifier: Apache-2.0
// What a collection is made of: rows in segments and in memory, its disk, its caches, generations, snapshots, and the
// work that goes on.
import { h, fill, panel, count, bytes, percent, shares, meter, note, field, clock, empty } from './dom.js';
import { api } from './api.js';
import { workOf } from './overview.js';

export async function show(place, context) {
    const { signal, collection } = context;
    const server = await api.server(signal);
    const made = h('div.grid', {}),
        lists = h('div.grid', {}),
        jobs = h('div', {});
    place.append(actions(context, server), made, lists, jobs);
    let round = 0;
    await context.every(1500, async () => {
        const info = await api.collection(collection, signal);
        if (signal.aborted) return;
        fill(made, rows(info), disk(info), memory(info), caches(info));
        // What changes seldom, and needs more calls. Either may be refused to a key.
        if (round++ % 4 === 0) {
            const [generations, snapshots] = await Promise.all([
                api.generations(collection, signal).catch(quiet),
                api.snapshots(collection, signal).catch(quiet),
            ]);
            if (!signal.aborted) fill(lists, generationList(generations), snapshotList(snapshots));
        }
        const told = await api.jobs(signal).catch(quiet);
        if (!signal.aborted && !jobs.contains(document.activeElement)) fill(jobs, jobList(told, context));
    });
}

function quiet(error) {
    if (error.name === 'AbortError' || error.status === 0) throw error;
    return null;
}

function actions(context, server) {
    if (server.read_only) return h('p.soft', {}, 'The server is read only.');
    const { collection } = context;
    const user = field('Somebody', 'text', { placeholder: 'user', name: 'user' });
    const does = (words, work, told) =>
        h(
            'button',
            {
                type: 'button',
                onclick: event => context.doing(event.currentTarget, async () => note(told(await work()))),
            },
            words,
        );
    return h(
        'div.row.actions',
        {},
        does(
            'Compact',
            () => api.compact(collection),
            made => `Compacting is job ${made?.job ?? made?.number ?? ''}.`,
        ),
        does(
            'Take a snapshot',
            () => api.snapshot(collection),
            made => `The snapshot is ${made?.name ?? 'there'}.`,
        ),
        h(
            'form.inline.tight',
            {
                onsubmit: event => {
                    event.preventDefault();
                    context.doing(event.submitter, async () => {
                        await api.warm(collection, user.control.value.trim());
                        note(
                            user.control.value.trim()
                                ? `${user.control.value.trim()} is warm.`
                                : 'The collection is warm.',
                        );
                    });
                },
            },
            user.whole,
            h('button', {}, 'Warm'),
        ),
    );
}

function rows(info) {
    const live = Math.max(0, info.segment_rows - info.dead_rows);
    return panel(
        'Rows',
        h(
            'p.big',
            {},
            count(info.items),
            h(
                'small',
                {},
                ` items in ${count(info.segments)} ${info.segments === 1 ? 'segment' : 'segments'} and memory`,
            ),
        ),
        shares(
            'Rows',
            [
                ['in segments', live, 't0'],
                ['in memory', info.head_rows, 't2'],
                ['dead', info.dead_rows, 't1'],
            ],
            count,
        ),
        h('div.line', {}, h('span.soft', {}, 'work'), workOf(info)),
        info.trouble && h('p.wrong', {}, info.trouble),
    );
}

const disk = info =>
    panel(
        'Disk',
        h('p.big', {}, bytes(info.disk_bytes)),
        shares(
            'Disk',
            [
                ['segments', info.segment_bytes, 't0'],
                ['catalog', info.catalog_bytes, 't3'],
                ['log and others', Math.max(0, info.disk_bytes - info.segment_bytes - info.catalog_bytes), 't7'],
            ],
            bytes,
        ),
    );

const memory = info =>
    panel(
        'Memory',
        h('p.big', {}, bytes(info.memory_bytes)),
        shares(
            'Memory',
            [
                ['rows not sealed yet', info.head_memory_bytes, 't2'],
                ['answers', info.cache_bytes, 't4'],
                ['profiles', info.profile_cache_bytes, 't5'],
                [
                    'the rest',
                    Math.max(
                        0,
                        info.memory_bytes - info.head_memory_bytes - info.cache_bytes - info.profile_cache_bytes,
                    ),
                    't7',
                ],
            ],
            bytes,
        ),
    );

function caches(info) {
    const one = (words, hits, misses, held, evictions) => {
        const asked = hits + misses;
        return h(
            'div.cache',
            {},
            h(
                'div.line',
                {},
                h('b', {}, words),
                h('span', {}, asked ? `${percent(hits / asked, 1)} hits` : 'not asked yet'),
            ),
            meter(asked ? hits / asked : 0, `${words}: share of hits`, 'good'),
            h(
                'p.soft',
                {},
                `${count(hits)} hits, ${count(misses)} misses, ${bytes(held)} held`,
                evictions !== undefined && `, ${count(evictions)} gave way`,
            ),
        );
    };
    return panel(
        'Caches',
        one('Answers', info.cache_hits, info.cache_misses, info.cache_bytes, info.cache_evictions),
        one('Profiles', info.profile_cache_hits, info.profile_cache_misses, info.profile_cache_bytes),
    );
}

const listOf = (told, name) => (Array.isArray(told) ? told : (told?.[name] ?? null));

function generationList(told) {
    const list = listOf(told, 'generations');
    if (!list) return null;
    return panel(
        'Generations',
        h(
            'div.wide',
            { tabindex: '0', role: 'region', 'aria-label': 'Generations' },
            h(
                'table',
                {},
                h('thead', {}, h('tr', {}, h('th.number', {}, 'number'), h('th', {}, 'model'), h('th', {}, 'state'))),
                h(
                    'tbody',
                    {},
                    list.map(one =>
                        h(
                            'tr',
                            {},
                            h('td.number', {}, one.number),
                            h('td', { dir: 'auto' }, one.model || '–'),
                            h('td', {}, stateOf(one)),
                        ),
                    ),
                ),
            ),
        ),
    );
}

function stateOf(one) {
    if (one.current) return h('span.badge.good', {}, 'current');
    if (one.share > 0 || one.canary > 0) return h('span.badge', {}, `canary ${percent(one.share || one.canary, 0)}`);
    return one.state || 'beside';
}

function snapshotList(told) {
    const list = listOf(told, 'snapshots');
    if (!list) return null;
    return panel(
        'Snapshots',
        !list.length
            ? h('p.soft', {}, 'None was taken yet.')
            : h(
                  'ul.plain',
                  {},
                  list.map(one =>
                      h(
                          'li',
                          {},
                          h('span.mono', {}, one.name ?? String(one)),
                          one.bytes ? h('span.soft', {}, ` ${bytes(one.bytes)}`) : null,
                      ),
                  ),
              ),
    );
}

const tones = { failed: '.wrong', done: '.good' };

function jobList(told, context) {
    const list = listOf(told, 'jobs');
    if (!list) return null;
    const ours = list.slice(0, 20);
    return panel(
        'Jobs',
        !ours.length
            ? empty(h('p', {}, 'Nothing was asked for yet.'))
            : h(
                  'div.wide',
                  { tabindex: '0', role: 'region', 'aria-label': 'Jobs' },
                  h(
                      'table',
                      {},
                      h(
                          'thead',
                          {},
                          h(
                              'tr',
                              {},
                              h('th.number', {}, 'job'),
                              ['kind', 'collection', 'state', 'progress', 'began'].map(word => h('th', {}, word)),
                              h('th', {}, h('span.heard', {}, 'stop')),
                          ),
                      ),
                      h(
                          'tbody',
                          {},
                          ours.map(job =>
                              h(
                                  'tr',
                                  {},
                                  h('td.number', {}, job.number),
                                  h('td', {}, job.kind),
                                  h('td', {}, job.collection),
                                  h(
                                      'td',
                                      { title: job.text || job.error || '' },
                                      h(
                                          `span.badge${tones[job.state] ?? ''}`,
                                          {},
                                          job.state,
                                      ),
                                  ),
                                  h(
                                      'td',
                                      {},
                                      job.state === 'running' && job.total
                                          ? h(
                                                'span.work',
                                                {},
                                                h('span', {}, job.stage),
                                                meter(job.done / job.total, job.stage),
                                            )
                                          : '',
                                  ),
                                  h('td.mono', {}, clock(job.started_ms)),
                                  h(
                                      'td',
                                      {},
                                      (job.state === 'running' || job.state === 'waiting') &&
                                          h(
                                              'button',
                                              {
                                                  type: 'button',
                                                  onclick: event =>
                                                      context.doing(event.currentTarget, async () => {
                                                          await api.cancelJob(job.number);
                                                          note(`Job ${job.number} was told to stop.`);
                                                      }),
                                              },
                                              'Stop',
                                          ),
                                  ),
                              ),
                          ),
                      ),
                  ),
              ),
    );
}
