// SPDX-License-Identifier: Apache-2.0
// "Similar to this": an item, and those nearest to it. Each leads on to its own.
import { h, fill, field, panel, empty, duration } from './dom.js';
import { api, idOf } from './api.js';
import { cards, frame, nameOf, facts, linkTo, heldBack, allowElsewhere } from './items.js';
import { sample, vectorOf, byVector } from './sample.js';
import { example } from './console.js';

const NEAR = 24;

export async function show(place, context) {
  const { rest, info, signal, collection } = context;
  const asked = field('Item', 'text', {
    name: 'item',
    value: rest[1] || '',
    placeholder: info.ids === 'u64' ? '42' : 'an id',
  });
  const filter = field('Filter', 'text', { name: 'filter', placeholder: example(info), value: rest[2] || '' });
  const using = field(
    'Vector',
    (info.vectors || []).map(v => [v.name, v.name || 'the unnamed one']),
    {},
  );
  using.whole.hidden = (info.vectors || []).length < 2;
  const below = h('div', { 'aria-live': 'polite' });
  const form = h(
    'form.inline',
    { role: 'search' },
    asked.whole,
    filter.whole,
    using.whole,
    h('button.main', {}, 'Show'),
    h('button', { type: 'button', onclick: event => context.doing(event.target, () => others()) }, 'Others'),
  );
  place.append(form, below);
  form.addEventListener('submit', event => {
    event.preventDefault();
    const next = asked.control.value.trim()
      ? linkTo('similar', collection, asked.control.value.trim(), filter.control.value.trim())
      : linkTo('similar', collection);
    if (location.hash === next) context.doing(null, () => near());
    else location.hash = next;
  });
  using.control.addEventListener('change', () => context.doing(null, () => near()));

  async function others() {
    const items = await sample(info, NEAR, ['payload'], signal, filter.control.value.trim());
    if (signal.aborted) return;
    drawWith(
      () => [
        panel(
          'Begin with one of these',
          items.length ? cards(items, collection, {}) : empty(h('p', {}, 'Nothing is there.')),
        ),
      ],
      items,
    );
  }
  function drawWith(make, items) {
    const held = heldBack(items);
    fill(
      below,
      held.length > 0 &&
        h(
          'p.held',
          {},
          `Pictures lie on ${held.slice(0, 3).join(', ')}. `,
          h(
            'button',
            {
              type: 'button',
              onclick: () => {
                allowElsewhere();
                drawWith(make, items);
              },
            },
            'Show them',
          ),
        ),
      make(),
    );
  }
  async function near() {
    if (!asked.control.value.trim()) return others();
    const id = idOf(asked.control.value, info.ids);
    const item = await api.point(collection, id, ['payload', 'vector'], signal);
    const vector = vectorOf(item, using.control.value);
    if (!vector) {
      drawWith(() => [self(item, null), empty(h('p', {}, 'It has no vector, so nothing is near it.'))], [item]);
      return;
    }
    const began = performance.now();
    const told = await api.query(
      collection,
      {
        ...byVector(vector, using.control.value),
        k: NEAR + 1,
        with: ['payload'],
        ...(filter.control.value.trim() && { filter: filter.control.value.trim() }),
      },
      signal,
    );
    const ms = performance.now() - began;
    if (signal.aborted) return;
    const found = (told.results[0] || []).filter(hit => String(hit.id) !== String(id)).slice(0, NEAR);
    drawWith(
      () => [self(item, ms), found.length ? cards(found, collection) : empty(h('p', {}, 'Nothing else matches.'))],
      [item, ...found],
    );
  }
  function self(item, ms) {
    const { text } = nameOf(item);
    return h(
      'section.panel.self',
      {},
      frame(item, text),
      h(
        'div',
        {},
        h('h2', { dir: 'auto' }, text),
        facts(item, 12),
        h(
          'p.soft',
          {},
          h('span.mono', {}, `#${item.id}`),
          ms !== null && ` · its nearest in ${duration(ms)} from here`,
        ),
        h(
          'div.row',
          {},
          h('a.button', { href: linkTo('console', collection, item.id) }, 'Explain'),
          h('a.button', { href: linkTo('map', collection) }, 'On the map'),
        ),
      ),
    );
  }
  await near();
}
