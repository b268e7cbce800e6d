// SPDX-License-Identifier: Apache-2.0
// The shop: a visitor, what is recommended to her, and how each like changes it at once.
import { h, fill, field, panel, empty, note, duration, meter, count } from './dom.js';
import { api } from './api.js';
import { card, frame, nameOf, heldBack, allowElsewhere } from './items.js';
import { sample } from './sample.js';
import { example } from './console.js';

const SHELF = 24;
const options = { interests: 4, threshold: 0.8 };

const heart = () =>
  icon('M10 16.5C4 12.5 2.5 9.5 2.5 7a3.8 3.8 0 0 1 7.5-1 3.8 3.8 0 0 1 7.5 1c0 2.5-1.5 5.5-7.5 9.5z');
const cross = () => icon('M5 5l10 10M15 5 5 15');
function icon(path) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 20 20');
  svg.setAttribute('width', '18');
  svg.setAttribute('height', '18');
  svg.setAttribute('aria-hidden', 'true');
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  line.setAttribute('d', path);
  svg.append(line);
  return svg;
}

export async function show(place, context) {
  const { info, signal, collection } = context;
  const visitor = field('Visitor', 'text', { name: 'visitor', value: remembered(), maxlength: 255, required: true });
  const filter = field('Looks for', 'text', { name: 'filter', placeholder: example(info) });
  const variety = field('Variety', 'range', { min: 0, max: 1, step: 0.1, value: '0', name: 'variety' });
  const shelf = h('section', { 'aria-live': 'polite', 'aria-label': 'Recommended' });
  const taste = h('aside.panel.taste', { 'aria-label': 'What is known of the visitor' });
  const form = h(
    'form.inline',
    {},
    visitor.whole,
    filter.whole,
    variety.whole,
    h('button.main', {}, 'Look'),
    h('button', { type: 'button', onclick: event => context.doing(event.currentTarget, forget) }, 'Begin anew'),
  );
  place.append(form, h('div.split.shop', {}, taste, shelf));
  form.addEventListener('submit', event => {
    event.preventDefault();
    remember(visitor.control.value);
    steps.length = 0;
    context.doing(event.submitter, () => look(null));
  });
  variety.control.addEventListener('change', () => context.doing(null, () => look(null)));

  const steps = []; // what the visitor did here: [verb, item]
  let shown = [];

  async function look(why) {
    const name = visitor.control.value;
    const wanted = filter.control.value.trim();
    const began = performance.now();
    let items,
      known = true;
    try {
      const told = await api.query(
        collection,
        {
          profile: name,
          k: SHELF,
          leave_out_seen: true,
          with: ['payload'],
          ...(wanted && { filter: wanted }),
          ...(Number(variety.control.value) > 0 && { diversity: Number(variety.control.value) }),
        },
        signal,
      );
      items = told.results[0] || [];
    } catch (error) {
      if (error.status !== 404) throw error;
      known = false; // nothing is known that she likes: a window of the shop, as for everybody
      items = await sample(info, SHELF, ['payload'], signal, wanted);
    }
    const ms = performance.now() - began;
    if (signal.aborted) return;
    const before = new Set(shown.map(item => String(item.id)));
    drawShelf(items, { known, ms, why, before: why ? before : null });
    shown = items;
    await drawTaste(name);
  }

  function drawShelf(items, { known, ms, why, before }) {
    const fresh = before ? items.filter(item => !before.has(String(item.id))).length : 0;
    const held = heldBack(items);
    fill(
      shelf,
      h(
        'div.row.spread',
        {},
        h('h2', {}, known ? 'Recommended' : 'In the window'),
        h(
          'p.soft',
          { id: 'answered' },
          why
            ? `${why}: ${fresh} of ${items.length} are new, after ${duration(ms)}`
            : known
              ? `in ${duration(ms)} from here`
              : 'Like something, and this changes',
        ),
      ),
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
                drawShelf(items, { known, ms, why, before });
              },
            },
            'Show them',
          ),
        ),
      items.length
        ? h(
            'ul.cards',
            {},
            items.map(item =>
              card(item, collection, {
                fresh: Boolean(before && !before.has(String(item.id))),
                extra: buttons(item),
              }),
            ),
          )
        : empty(h('p', {}, 'Nothing is left that matches.')),
    );
  }

  function buttons(item) {
    const { text } = nameOf(item);
    return h(
      'div.row.votes',
      {},
      h(
        'button.like',
        {
          type: 'button',
          'aria-label': `Like ${text}`,
          title: 'Like',
          onclick: event => tell(event, 'like', item),
        },
        heart(),
      ),
      h(
        'button.dislike',
        {
          type: 'button',
          'aria-label': `Dislike ${text}`,
          title: 'Not for me',
          onclick: event => tell(event, 'dislike', item),
        },
        cross(),
      ),
    );
  }

  function tell(event, kind, item) {
    return context.doing(event.currentTarget, async () => {
      remember(visitor.control.value);
      await api.events(collection, visitor.control.value, { events: [{ item: item.id, kind }], options }, signal);
      steps.unshift([kind, item]);
      await look(`${kind === 'like' ? 'Liked' : 'Not for her'}: ${nameOf(item).text}`);
    });
  }

  async function drawTaste(name) {
    const profile = await api.profile(collection, name, signal).catch(error => {
      if (error.status === 404) return null;
      throw error;
    });
    if (signal.aborted) return;
    const interests = profile?.interests || [];
    const whole = interests.reduce((sum, one) => sum + Number(one.weight), 0) || 1;
    fill(
      taste,
      h('h2', { dir: 'auto' }, name),
      profile
        ? h(
            'p.soft',
            {},
            `${count(profile.events)} ${one(profile.events) ? 'event' : 'events'}, `,
            `${count(profile.seen)} seen`,
          )
        : h('p.soft', {}, 'A new visitor: nothing is known yet.'),
      interests.length > 0 && [
        h('h3', {}, 'Interests'),
        h(
          'ul.interests',
          {},
          interests.map((one, at) =>
            h(
              'li',
              {},
              h('span', {}, `${at + 1}.`),
              meter(one.weight / whole, `Interest ${at + 1}`),
              h('b', {}, `${Math.round((100 * one.weight) / whole)} %`),
            ),
          ),
        ),
      ],
      steps.length > 0 && [
        h('h3', {}, 'What was said here'),
        h(
          'ul.steps',
          {},
          steps
            .slice(0, 12)
            .map(([kind, item]) =>
              h(
                `li.${kind}`,
                { title: nameOf(item).text },
                frame(item, nameOf(item).text),
                h('span', {}, kind === 'like' ? heart() : cross(), h('span.heard', {}, kind)),
              ),
            ),
        ),
      ],
    );
  }

  async function forget() {
    await api.forget(collection, visitor.control.value).catch(error => {
      if (error.status !== 404) throw error;
    });
    steps.length = 0;
    shown = [];
    note(`${visitor.control.value} is forgotten.`);
    await look(null);
  }
  await look(null);
}

const one = number => Number(number) === 1;

function remembered() {
  try {
    return sessionStorage.getItem('kith-visitor') || 'ann';
  } catch {
    return 'ann';
  }
}
function remember(name) {
  try {
    sessionStorage.setItem('kith-visitor', name);
  } catch {
    /* asked for again, then */
  }
}
