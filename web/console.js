// SPDX-License-Identifier: Apache-2.0
// The console: a query by an item, by numbers, by a profile or as JSON; what came back as cards, a table or JSON; and
// what the server did for it.
import { h, fill, field, note, count, duration, panel, empty } from './dom.js';
import { api, idOf, readJson, writeJson } from './api.js';
import { cards, tableOf, heldBack, allowElsewhere } from './items.js';
import { draw } from './explain.js';
import { sample, vectorOf } from './sample.js';

const targets = [
  ['', 'as the server has it'],
  ['0.8', '0.8'],
  ['0.9', '0.9'],
  ['0.95', '0.95'],
  ['0.99', '0.99'],
  ['0.999', '0.999'],
  ['exact', 'exact'],
];

export async function show(place, context) {
  const { info, signal, collection } = context;
  const by = field('By', [
    ['item', 'an item'],
    ['vector', 'numbers'],
    ['profile', 'a profile'],
    ['json', 'JSON'],
  ]);
  const asked = field('Item', 'text', { name: 'asked', required: true });
  const numbers = field('Numbers', 'textarea', { rows: 3, placeholder: '0.12, -0.5, …' });
  const body = field('Body of the query', 'textarea', { rows: 9, name: 'body' });
  const filter = field('Filter', 'text', {
    name: 'filter',
    placeholder: example(info),
    hint: 'only what matches is found',
  });
  const k = field('k', 'number', { min: 1, max: 1024, value: '12', name: 'k' });
  const target = field('Recall', targets, { name: 'target' });
  const using = field(
    'Vector',
    (info.vectors || []).map(v => [v.name, v.name || 'the unnamed one']),
    { name: 'using' },
  );
  const explain = h('input', { type: 'checkbox', checked: true, name: 'explain' });
  const go = h('button.main', {}, 'Query');
  const any = h('button', { type: 'button' }, 'Some item');
  const answers = h(
    'div.answers',
    { 'aria-live': 'polite' },
    h('p.soft', {}, `${count(info.items)} items are waiting to be asked for.`),
  );
  const form = h(
    'form.panel.form.ask',
    { 'aria-label': 'Query' },
    by.whole,
    asked.whole,
    numbers.whole,
    body.whole,
    filter.whole,
    using.whole,
    k.whole,
    target.whole,
    h('label.tick', {}, explain, 'Explain'),
    h('div.row', {}, go, any),
  );
  place.append(h('div.split', {}, form, answers));

  k.whole.classList.add('half');
  target.whole.classList.add('half');
  function arrange() {
    const how = by.control.value;
    asked.whole.hidden = how !== 'item' && how !== 'profile';
    asked.control.required = !asked.whole.hidden;
    asked.whole.firstElementChild.textContent = how === 'profile' ? 'Profile' : 'Item';
    numbers.whole.hidden = how !== 'vector';
    body.whole.hidden = how !== 'json';
    any.hidden = how !== 'item' && how !== 'vector';
    for (const one of [filter, k, target]) one.whole.hidden = how === 'json';
    using.whole.hidden = how === 'json' || (info.vectors || []).length < 2;
    if (how === 'json' && !body.control.value)
      body.control.value = writeJson(
        { vector: [0], k: 10, filter: example(info) || undefined, with: ['payload'], explain: true },
        2,
      );
  }
  by.control.addEventListener('change', arrange);
  arrange();

  async function common() {
    const goal = target.control.value;
    return {
      k: Number(k.control.value) || 10,
      with: ['payload'],
      ...(explain.checked && { explain: true }),
      ...(filter.control.value.trim() && { filter: filter.control.value.trim() }),
      ...(using.control.value && by.control.value !== 'profile' && { using: using.control.value }),
      ...(goal === 'exact' ? { exact: true } : goal && { target: Number(goal) }),
    };
  }
  async function query() {
    const how = by.control.value;
    if (how === 'json') {
      try {
        return readJson(body.control.value);
      } catch (error) {
        throw new Error(`The body is no JSON: ${error.message}`);
      }
    }
    if (how === 'profile') return { ...(await common()), profile: asked.control.value };
    if (how === 'vector') return { ...(await common()), vector: readNumbers(numbers.control.value) };
    const item = await api.point(collection, idOf(asked.control.value, info.ids), ['vector'], signal);
    const vector = vectorOf(item, using.control.value);
    if (!vector) throw new Error(`Item ${asked.control.value} has no vector of that name.`);
    return { ...(await common()), vector };
  }
  form.addEventListener('submit', event => {
    event.preventDefault();
    context.doing(go, async () => {
      const sent = await query();
      const began = performance.now();
      const told = await api.query(collection, sent, signal);
      if (!signal.aborted) showAnswer(answers, told, sent, performance.now() - began, context);
    });
  });
  any.addEventListener('click', () =>
    context.doing(any, async () => {
      const [item] = await sample(info, 1, by.control.value === 'vector' ? ['vector'] : [], signal);
      if (!item) throw new Error('The collection is empty.');
      if (by.control.value === 'vector') numbers.control.value = (vectorOf(item, using.control.value) || []).join(', ');
      else asked.control.value = String(item.id);
      form.requestSubmit(go);
    }),
  );
  if (context.rest[1]) {
    asked.control.value = context.rest[1];
    form.requestSubmit(go);
  }
}

export function example(info) {
  const words = {
    tag: '= "…"',
    tags: 'contains "…"',
    int: '> 0',
    float: '< 20',
    bool: '= true',
    time: '> "2026-01-01T00:00:00Z"',
  };
  const first = (info.fields || []).find(f => words[f.type] && /^[A-Za-z_][A-Za-z0-9_.]*$/.test(f.name));
  return first ? `${first.name} ${words[first.type]}` : '';
}

function readNumbers(text) {
  const parts = text
    .replace(/[[\]]/g, ' ')
    .split(/[\s,;]+/)
    .filter(Boolean)
    .map(Number);
  const wrong = parts.findIndex(number => !Number.isFinite(number));
  if (!parts.length || wrong >= 0)
    throw new Error(wrong < 0 ? 'Give the numbers of the vector.' : `Number ${wrong + 1} of the vector is none.`);
  return parts;
}

function showAnswer(place, told, sent, ms, context) {
  const shapes = { cards: 'Cards', table: 'Table', json: 'JSON' };
  const lists = told.results || [];
  const shown = lists.reduce((sum, list) => sum + list.length, 0);
  const results = h('div.results', {});
  const buttons = h('div.tabs', { role: 'group', 'aria-label': 'Show as' });
  let shape = 'cards';
  const drawAll = () => {
    fill(
      buttons,
      Object.entries(shapes).map(([name, words]) =>
        h(
          'button',
          {
            type: 'button',
            'aria-pressed': String(name === shape),
            onclick: () => {
              shape = name;
              drawAll();
            },
          },
          words,
        ),
      ),
    );
    if (shape === 'json') return void fill(results, h('pre', { tabindex: '0' }, pretty(told)));
    const held = heldBack(lists.flat());
    fill(
      results,
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
                drawAll();
              },
            },
            'Show them',
          ),
        ),
      lists.map((list, at) => [
        lists.length > 1 && h('h3', {}, `Query ${at + 1}`),
        !list.length
          ? empty(h('p', {}, 'Nothing matches.'))
          : shape === 'cards'
            ? cards(list, context.collection)
            : tableOf(list, context.collection),
      ]),
    );
  };
  drawAll();
  const curl = h(
    'button',
    {
      type: 'button',
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(writeJson(sent));
          note('The body of the query is in the clipboard.');
        } catch {
          note('The browser does not let this page write to the clipboard.', 'wrong');
        }
      },
    },
    'Copy the query',
  );
  fill(
    place,
    h(
      'div.row.spread',
      {},
      h('p.soft', {}, `${count(shown)} in ${duration(ms)}, state ${count(told.version)}`),
      h('div.row', {}, buttons, curl),
    ),
    told.explain &&
      panel('What was done', draw(Array.isArray(told.explain) ? told.explain[0] : told.explain, { shown, ms })),
    results,
  );
}

// Long texts and vectors as they are would hide the rest.
function pretty(told) {
  const text = writeJson(told, 1)
    .replace(/"data:([^"]{0,40})[^"]*"/g, '"data:$1…"')
    .replace(
      /\[\s+(-?[\d.e+-]+,\s+){7,}-?[\d.e+-]+\s+\]/g,
      numbers =>
        `[${numbers
          .slice(1, -1)
          .split(',')
          .map(n => n.trim())
          .join(', ')}]`,
    );
  return text.length > 200000 ? `${text.slice(0, 200000)}\n…` : text;
}
