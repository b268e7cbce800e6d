// SPDX-License-Identifier: Apache-2.0
// The collections of the server: what they hold, and making and dropping them where the key may.
import { h, fill, panel, field, count, bytes, note, empty } from './dom.js';
import { api } from './api.js';
import { linkTo } from './items.js';
import { workOf } from './overview.js';

const types = ['tag', 'tags', 'int', 'float', 'bool', 'time'];
const dtypes = ['f32', 'f16', 'bf16', 'i8', 'u8', 'b1'];
const metrics = ['cosine', 'l2', 'ip', 'hamming'];
const MANY = 12; // from here on they can be searched for
const SHOWN = 40; // a call each

export async function show(place, context) {
  const { signal } = context;
  const server = await api.server(signal);
  const list = h('div.stacked', {});
  const find = field('Find', 'search', { name: 'find', placeholder: 'a part of the name' });
  const rest = h('p.soft', {});
  find.whole.hidden = true;
  place.append(h('div.inline', {}, find.whole), list, rest);
  if (!server.read_only) place.append(creation(context));
  const open = new Set();
  find.control.addEventListener('input', () => context.doing(null, refresh));
  await context.every(2500, refresh);

  async function refresh() {
    const all = (await api.collections(signal)).map(one => one.name);
    const part = find.control.value.trim().toLowerCase();
    const names = all.filter(name => name.toLowerCase().includes(part));
    const infos = (await Promise.all(names.slice(0, SHOWN).map(infoOf))).filter(Boolean);
    // What somebody is typing in, or looks at, is not drawn anew under their hands.
    if (part !== find.control.value.trim().toLowerCase()) return; // it was typed on
    if (signal.aborted || list.querySelector('form') || list.contains(document.activeElement)) return;
    find.whole.hidden = all.length <= MANY;
    rest.textContent = names.length > SHOWN ? `and ${count(names.length - SHOWN)} more` : '';
    fill(
      list,
      infos.length
        ? infos.map(info => one(info, open, context, server))
        : empty(h('p', {}, all.length ? 'None has that in its name.' : 'There is no collection yet.')),
    );
  }

  // null: it was dropped meanwhile.
  function infoOf(name) {
    return api.collection(name, signal).then(
      info => ({ ...info, name }),
      error => {
        if (error.status === 404) return null;
        throw error;
      },
    );
  }
}

const vectorWords = vector => `${vector.name || 'unnamed'}: ${count(vector.dim)} ${vector.dtype}, ${vector.metric}`;

function one(info, open, context, server) {
  const views = [
    ['console', 'Query'],
    ['similar', 'Similar'],
    ['map', 'Map'],
    ['tuner', 'Tune'],
    ['segments', 'Segments'],
  ];
  const more = h(
    'details',
    { open: open.has(info.name), ontoggle: () => (more.open ? open.add(info.name) : open.delete(info.name)) },
    h('summary', {}, `Fields and vectors`),
    h(
      'dl.pairs',
      {},
      pair('vectors', (info.vectors || []).map(vectorWords).join('; ')),
      pair(
        'fields',
        (info.fields || []).length
          ? h(
              'span.chips',
              {},
              info.fields.map(f => h('span.chip', { dir: 'auto' }, f.name, h('em', {}, f.type))),
            )
          : 'none declared',
      ),
      pair('segment field', info.segment_field || 'none'),
      pair('model', info.model || 'not said'),
      pair('ids', info.ids),
      pair('generation', `${info.generation} of ${info.generations}`),
      pair('version', count(info.version)),
    ),
    !server.read_only && h('div.row', {}, declaring(info, context), dropping(info, context)),
  );
  return h(
    'article.panel.collection',
    { 'data-name': info.name },
    h(
      'header',
      {},
      h('h2', { dir: 'auto' }, info.name),
      h(
        'nav.row',
        { 'aria-label': `Views of ${info.name}` },
        views.map(([view, words]) => h('a.button', { href: linkTo(view, info.name) }, words)),
      ),
    ),
    info.trouble && h('p.wrong', {}, info.trouble),
    h(
      'dl.tiles.small',
      {},
      tile('items', count(info.items)),
      tile('dimensions', (info.vectors || []).map(v => v.dim).join(', ')),
      tile('segments', count(info.segments)),
      tile('in memory', count(info.head_rows)),
      tile('disk', bytes(info.disk_bytes)),
      tile('memory', bytes(info.memory_bytes)),
      tile('work', workOf(info)),
    ),
    more,
  );
}

const pair = (words, value) => h('div', {}, h('dt', {}, words), h('dd', { dir: 'auto' }, value));
const tile = (words, value) => h('div', {}, h('dt', {}, words), h('dd', {}, value));

function declaring(info, context) {
  const button = h('button', { type: 'button' }, 'Declare a field');
  button.addEventListener('click', () => {
    const name = field('Field', 'text', { required: true, maxlength: 255 });
    const type = field(
      'Type',
      types.map(t => [t, t]),
    );
    const form = h(
      'form.inline',
      {
        onsubmit: async event => {
          event.preventDefault();
          const done = await context.doing(event.submitter, () =>
            api.declare(info.name, { name: name.control.value, type: type.control.value }),
          );
          if (done === undefined) return;
          note(`${name.control.value} is declared.`);
          form.replaceWith(button);
        },
      },
      name.whole,
      type.whole,
      h('button.main', {}, 'Declare'),
      h('button', { type: 'button', onclick: () => form.replaceWith(button) }, 'Cancel'),
    );
    button.replaceWith(form);
    name.control.focus();
  });
  return button;
}

// Dropping is for good: the name is typed first.
function dropping(info, context) {
  const button = h('button.danger', { type: 'button' }, 'Drop…');
  button.addEventListener('click', () => {
    const name = field(`Type ${info.name} to drop it for good`, 'text', {});
    const go = h('button.danger', { disabled: true }, 'Drop it');
    name.control.addEventListener('input', () => {
      go.disabled = name.control.value !== info.name;
    });
    const form = h(
      'form.inline',
      {
        onsubmit: async event => {
          event.preventDefault();
          if (go.disabled) return;
          const done = await context.doing(null, () => api.drop(info.name).then(() => true));
          if (!done) return;
          note(`${info.name} was dropped.`);
          form.closest('article').remove();
          context.refreshCollections();
        },
      },
      name.whole,
      go,
      h('button', { type: 'button', onclick: () => form.replaceWith(button) }, 'Cancel'),
    );
    button.replaceWith(form);
    name.control.focus();
  });
  return button;
}

function creation(context) {
  const name = field('Name', 'text', { required: true, maxlength: 64 });
  const dim = field('Dimensions', 'number', { min: 1, max: 65536, value: '384', required: true });
  const dtype = field(
    'Stored as',
    dtypes.map(t => [t, t]),
  );
  const metric = field(
    'Metric',
    metrics.map(t => [t, t]),
  );
  const ids = field('Ids', [
    ['u64', 'numbers'],
    ['string', 'texts'],
  ]);
  const fields = field('Fields', 'text', {
    placeholder: 'name:tag, price:float',
    hint: 'what filters may use at full speed',
  });
  const form = h(
    'form.form',
    {
      onsubmit: async event => {
        event.preventDefault();
        await context.doing(event.submitter, async () => {
          await api.create(name.control.value, {
            ids: ids.control.value,
            fields: readFields(fields.control.value),
            vectors: [
              {
                name: '',
                dim: Number(dim.control.value),
                dtype: dtype.control.value,
                metric: metric.control.value,
              },
            ],
          });
          note(`${name.control.value} was created.`);
          form.reset();
          details.open = false;
          await context.refreshCollections();
        });
      },
    },
    name.whole,
    dim.whole,
    dtype.whole,
    metric.whole,
    ids.whole,
    fields.whole,
    h('button.main', {}, 'Create'),
  );
  const details = h('details.panel', {}, h('summary', {}, 'Create a collection'), form);
  return details;
}

function readFields(text) {
  return text
    .split(',')
    .map(part => part.trim())
    .filter(Boolean)
    .map(part => {
      const at = part.lastIndexOf(':');
      const type = part.slice(at + 1).trim();
      if (at < 1 || !types.includes(type))
        throw new Error(`“${part}” is no field: say name:type, with one of ${types.join(', ')}.`);
      return { name: part.slice(0, at).trim(), type };
    });
}
