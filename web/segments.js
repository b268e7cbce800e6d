// SPDX-License-Identifier: Apache-2.0
// What a collection is made of: rows in segments and in memory, its disk, its caches, generations, snapshots, and the
// work that goes on.
import { h, fill, panel, count, bytes, percent, shares, meter, note, field, clock, table } from './dom.js';
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
  const user = field('Visitor to warm for', 'text', { placeholder: 'visitor', name: 'user', required: true });
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
      made => `Compacting is job ${made?.job ?? ''}.`,
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
            note(`What ${user.control.value.trim()} asks next is in memory.`);
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
      h('small', {}, ` items in ${count(info.segments)} ${info.segments === 1 ? 'segment' : 'segments'} and memory`),
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

const apart = info => info.head_memory_bytes + info.cache_bytes + info.profile_cache_bytes + info.resident_bytes;

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
        ['copies of graphs', info.resident_bytes, 't0'],
        ['the rest', Math.max(0, info.memory_bytes - apart(info)), 't7'],
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
      h('div.line', {}, h('b', {}, words), h('span', {}, asked ? `${percent(hits / asked, 1)} hits` : 'not asked yet')),
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
  const row = one => [one.number, h('td', { dir: 'auto' }, one.model || '–'), stateOf(one), clock(one.created_ms)];
  return panel('Generations', table('Generations', ['#number', 'model', 'state', 'begun'], list.map(row)));
}

function stateOf(one) {
  const canary = one.share > 0 && one.share < 1 && h('span.badge', {}, `canary, ${percent(one.share, 0)}`);
  return [h(one.state === 'current' ? 'span.badge.good' : 'span.badge', {}, one.state), canary && ' ', canary];
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
            h('li', {}, h('span.mono', {}, one.name ?? String(one)), h('span.soft', {}, ` ${clock(one.created_ms)}`)),
          ),
        ),
  );
}

const tones = { failed: '.wrong', done: '.good' };

function jobList(told, context) {
  const list = listOf(told, 'jobs');
  if (!list) return null;
  if (!list.length) return panel('Jobs', h('p.soft', {}, 'Nothing was asked for yet.'));
  const heads = ['#job', 'kind', 'collection', 'state', 'progress', 'began', '-stop'];
  return panel(
    'Jobs',
    table(
      'Jobs',
      heads,
      list.slice(0, 20).map(job => jobRow(job, context)),
    ),
  );
}

function jobRow(job, context) {
  const goes = job.state === 'running' || job.state === 'waiting';
  const share = job.total ? job.done / job.total : 0;
  const stop = event =>
    context.doing(event.currentTarget, async () => {
      await api.cancelJob(job.job);
      note(`Job ${job.job} was told to stop.`);
    });
  return [
    job.job,
    job.kind,
    h('td', { dir: 'auto' }, job.collection),
    h('span', { title: job.error || '' }, h(`span.badge${tones[job.state] ?? ''}`, {}, job.state)),
    job.error || (goes ? h('span.work', {}, h('span', {}, job.stage), meter(share, job.stage || job.kind)) : ''),
    h('td.mono', {}, clock(job.started_ms)),
    goes && h('button', { type: 'button', onclick: stop }, 'Stop'),
  ];
}
