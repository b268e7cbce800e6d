// SPDX-License-Identifier: Apache-2.0
// The page: its views, which one the address names, and what all of them share (key, collection, light and dark).
//
// A view is a module with show(place, context). The context is gone when another view is shown: context.signal is
// aborted, what context.every() started ends, and nothing of it is drawn any more.
import { h, fill, note, empty, ready, field } from './dom.js';
import { api, askKeyBy, hasKey, setKey } from './api.js';
import { recolour } from './charts.js';
import { linkTo } from './items.js';
import * as overview from './overview.js';
import * as collections from './collections.js';
import * as consoles from './console.js';
import * as similar from './similar.js';
import * as shop from './shop.js';
import * as map from './map.js';
import * as tuner from './tuner.js';
import * as segments from './segments.js';

const views = {
  overview: { title: 'Overview', view: overview },
  collections: { title: 'Collections', view: collections },
  console: { title: 'Console', view: consoles, of: true },
  similar: { title: 'Similar', view: similar, of: true },
  shop: { title: 'Shop', view: shop, of: true },
  map: { title: 'Map', view: map, of: true },
  tuner: { title: 'Tuner', view: tuner, of: true },
  segments: { title: 'Segments', view: segments, of: true },
};
const main = document.getElementById('main');
const nav = document.getElementById('nav');
const pick = document.getElementById('pick');
const chooser = document.getElementById('collection');
const pulse = document.getElementById('pulse');
let chosen = '';
let ending = new AbortController();

// ---- Which view
// -------------------------------------------------------------------------------------------------------

function address() {
  const [name, ...rest] = location.hash
    .replace(/^#\/?/, '')
    .split('/')
    .map(part => {
      try {
        return decodeURIComponent(part);
      } catch {
        return part;
      }
    });
  return { name: Object.hasOwn(views, name) ? name : 'overview', rest };
}

function drawNav(current) {
  fill(
    nav,
    Object.entries(views).map(([name, { title, of }]) =>
      h('a', { href: linkTo(name, of ? chosen : ''), 'aria-current': name === current && 'page' }, title),
    ),
  );
  const strip = nav.querySelector('[aria-current]');
  if (strip) nav.scrollLeft = Math.max(0, strip.offsetLeft - nav.offsetLeft - 60);
}

function contextOf(name, rest) {
  ending.abort();
  ending = new AbortController();
  const { signal } = ending;
  return {
    name,
    rest,
    signal,
    collection: rest[0],
    // Run now and again until the view goes. What fails is told by the pulse, and tried again.
    async every(milliseconds, work) {
      while (!signal.aborted) {
        if (!document.hidden) await work().then(() => beat(true), trouble);
        await ready(milliseconds, signal);
      }
    },
    // Have a button's work done: it is off meanwhile, and a failure is told.
    async doing(button, work) {
      if (button) button.disabled = true;
      try {
        return await work();
      } catch (error) {
        if (error.name !== 'AbortError') note(error.message, 'wrong');
        if (error instanceof TypeError) reportError(error);
        return undefined;
      } finally {
        if (button) button.disabled = false;
      }
    },
    refreshCollections: () => readCollections(),
  };
}

async function readCollections() {
  const all = (await api.collections()).map(one => one.name);
  if (!all.includes(chosen)) chosen = all[0] ?? '';
  fill(
    chooser,
    all.map(name => h('option', { value: name, selected: name === chosen }, name)),
  );
  return all;
}

async function route() {
  const { name, rest } = address();
  const { title, view, of } = views[name];
  const context = contextOf(name, rest);
  document.title = `${title} – kith`;
  pick.hidden = !of;
  drawNav(name);
  fill(main, h('p.loading', {}, 'Loading…'));
  try {
    const all = await readCollections();
    beat(true);
    if (context.signal.aborted) return;
    if (of && !all.length) {
      fill(
        main,
        empty(
          h('h2', {}, 'No collection yet'),
          h(
            'p',
            {},
            'Create one under ',
            h('a', { href: '#/collections' }, 'Collections'),
            ', or fill one with ',
            h('code', {}, 'kith load'),
            '.',
          ),
        ),
      );
      return;
    }
    if (of && rest[0] && !all.includes(rest[0])) {
      fill(main, empty(h('h2', {}, 'Not here'), h('p', {}, `There is no collection “${rest[0]}” on this server.`)));
      return;
    }
    if (of) {
      chosen = rest[0] || chosen;
      context.collection = chosen;
      chooser.value = chosen;
      drawNav(name);
      context.info = await api.collection(chosen, context.signal);
      context.info.name = chosen;
    }
    if (context.signal.aborted) return;
    const place = h('div.view', {}, h('h1', {}, title, of && h('small', {}, chosen)));
    fill(main, place);
    await view.show(place, context);
  } catch (error) {
    if (error.name === 'AbortError' || context.signal.aborted) return;
    beat(error.status !== 0, error);
    fill(
      main,
      empty(
        h('h2', {}, 'That did not work'),
        h('p', {}, error.message),
        h('button', { type: 'button', onclick: () => route() }, 'Try again'),
      ),
    );
    if (error instanceof TypeError) reportError(error); // a fault of the page: let the console have it
  }
}

// ---- The head of the page -------------------------------------------------------------------------------------------

function beat(fine, error) {
  const words = fine ? 'live' : error?.status ? 'refused' : 'no answer';
  if (pulse.dataset.state !== (fine ? 'live' : 'lost')) {
    pulse.dataset.state = fine ? 'live' : 'lost';
    pulse.lastElementChild.textContent = words;
  }
  pulse.title = fine ? '' : error?.message || '';
}

function trouble(error) {
  if (error.name === 'AbortError') return;
  beat(false, error);
  if (error.status === undefined) reportError(error); // a fault of the page
}

chooser.addEventListener('change', () => {
  chosen = chooser.value;
  location.hash = linkTo(address().name, chosen);
});

const dark = () =>
  (document.documentElement.dataset.theme ||
    (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark';
document.getElementById('theme').addEventListener('click', () => {
  const next = dark() ? 'light' : 'dark';
  document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem('kith-theme', next);
  } catch {
    /* for this page */
  }
  recolour();
  document.dispatchEvent(new Event('kith-theme'));
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  recolour();
  document.dispatchEvent(new Event('kith-theme'));
});

let asking = null;
function askKey(why) {
  asking ??= new Promise(done => {
    const { whole, control } = field('API key', 'password', { name: 'key', autocomplete: 'off', required: true });
    const box = h(
      'dialog',
      { 'aria-labelledby': 'key-title' },
      h(
        'form',
        { method: 'dialog', onsubmit: () => setKey(control.value.trim()) },
        h('h2', { id: 'key-title' }, 'Which key?'),
        h('p.soft', {}, why || 'This server asks for an API key.', ' It is kept in this tab only.'),
        whole,
        h(
          'div.row',
          {},
          h('button.main', { value: 'use' }, 'Use it'),
          hasKey() &&
            h(
              'button',
              {
                type: 'button',
                onclick: () => {
                  setKey('');
                  box.close('gone');
                },
              },
              'Forget the one in use',
            ),
          h('button', { type: 'button', onclick: () => box.close('') }, 'Cancel'),
        ),
      ),
    );
    box.addEventListener('close', () => {
      const given = box.returnValue === 'use' && hasKey();
      const gone = box.returnValue === 'gone';
      box.remove();
      asking = null;
      done(given);
      if (gone) route();
    });
    document.body.append(box);
    box.showModal();
  });
  return asking;
}
askKeyBy(askKey);
document.getElementById('key').addEventListener('click', async () => {
  if (await askKey('Read, write or administer as somebody else.')) route();
});

// ---- Begin ----------------------------------------------------------------------------------------------------------

if (window.top !== window.self) {
  // Inside of somebody else's page a click could be made to mean something else.
  fill(
    main,
    empty(
      h(
        'p',
        {},
        'This page is not shown inside of others. ',
        h('a', { href: location.href, target: '_blank', rel: 'noopener' }, 'Open it by itself'),
        '.',
      ),
    ),
  );
} else {
  window.addEventListener('hashchange', () => {
    route();
    main.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  });
  route();
}
