// SPDX-License-Identifier: Apache-2.0
// Items as people see them: their picture, their name, the rest of the payload; as cards and as a table.
import { h, figures, count, table } from './dom.js';

const inside = /^data:image\/(png|jpeg|gif|webp|avif|bmp);base64,[A-Za-z0-9+/=]*$/;
const names = ['title', 'name', 'label', 'kind', 'text', 'word', 'caption'];
const pictures = ['image', 'image_url', 'picture', 'thumbnail'];

// Pictures from elsewhere tell their host who looks; they are shown when somebody says so, for as long as the tab is
// open.
let elsewhere = false;
try {
  elsewhere = sessionStorage.getItem('kith-pictures') === 'yes';
} catch {
  /* no, then */
}
export function allowElsewhere() {
  elsewhere = true;
  try {
    sessionStorage.setItem('kith-pictures', 'yes');
  } catch {
    /* for this page */
  }
}

// {src} that may be shown, {held: host} that is held back, or null.
export function pictureOf(payload) {
  for (const key of pictures) {
    const value = payload?.[key];
    if (typeof value !== 'string') continue;
    if (inside.test(value)) return { src: value };
    if (!/^https?:\/\//i.test(value)) continue;
    let url;
    try {
      url = new URL(value);
    } catch {
      continue;
    }
    if (url.username || url.password) continue;
    return elsewhere || url.origin === location.origin ? { src: url.href } : { held: url.host };
  }
  return null;
}

export function nameOf(item) {
  for (const key of names)
    if (typeof item.payload?.[key] === 'string' && item.payload[key]) return { text: item.payload[key], key };
  return { text: `#${item.id}`, key: null };
}

export function frame(item, words) {
  const picture = pictureOf(item.payload);
  if (picture?.src) {
    const image = h('img', {
      src: picture.src,
      alt: words || '',
      loading: 'lazy',
      decoding: 'async',
      referrerpolicy: 'no-referrer',
      draggable: 'false',
    });
    image.addEventListener('error', () =>
      image.replaceWith(h('i.blank', { title: 'The picture cannot be shown' }, '×')),
    );
    return h('span.frame', {}, image);
  }
  return h('span.frame', {}, h('i.blank', { 'aria-hidden': 'true' }, picture?.held ? '⧉' : initial(words)));
}

const initial = words => (/[\p{L}\p{N}]/u.exec(words || '')?.[0] || '·').toUpperCase();

// Values of a payload in few words: a picture that is part of it is not printed.
export function valueText(value) {
  if (typeof value === 'string') {
    const drawn = /^data:([a-z]+\/[a-z0-9.+-]+)/.exec(value);
    return drawn ? `${drawn[1]}, ${count(value.length)} characters` : value;
  }
  if (typeof value === 'number') return Number.isInteger(value) ? String(value) : figures(value);
  if (value && typeof value === 'object' && !value.digits) return shortJson(value);
  return String(value);
}

function shortJson(value) {
  const text = JSON.stringify(value, (_, inner) => inner?.digits ?? inner);
  return text.length > 400 ? `${text.slice(0, 400)}…` : text;
}

export function facts(item, most = 4) {
  const named = nameOf(item).key;
  const entries = Object.entries(item.payload || {}).filter(([key]) => key !== named && !pictures.includes(key));
  return h(
    'dl.facts',
    {},
    entries
      .slice(0, most)
      .map(([key, value]) => h('div', {}, h('dt', {}, key), h('dd', { dir: 'auto' }, clip(valueText(value), 160)))),
  );
}

const clip = (text, most) => (text.length > most ? `${text.slice(0, most)}…` : text);

export function distanceText(item) {
  const value = Number(item.distance);
  return Number.isFinite(value) ? String(Number(value.toPrecision(5))) : '';
}

// A card that leads to what is similar. extra: elements at its foot, instead of how near it is.
export function card(item, collection, { extra = null, fresh = false, rank = 0 } = {}) {
  const { text } = nameOf(item);
  const said = clip(text, 120);
  return h(
    `li.card${fresh ? '.fresh' : ''}`,
    { 'data-id': String(item.id) },
    h('a', { href: linkTo('similar', collection, item.id), 'aria-label': `Similar to ${said}` }, frame(item, said)),
    h(
      'div.words',
      {},
      h('p.name', { dir: 'auto', title: said }, said),
      facts(item),
      extra ??
        h(
          'p.place',
          {},
          rank > 0 && h('span', {}, `${rank}.`),
          h('span.mono', {}, `#${clip(String(item.id), 40)}`),
          item.distance !== undefined && h('span.mono', { title: 'distance' }, distanceText(item)),
        ),
    ),
  );
}

export const cards = (items, collection, options = {}) =>
  h(
    'ul.cards',
    {},
    items.map((item, at) => card(item, collection, { rank: at + 1, ...options })),
  );

export function heldBack(items) {
  return [...new Set(items.map(item => pictureOf(item.payload)?.held).filter(Boolean))];
}

export function tableOf(items, collection) {
  const keys = [];
  for (const item of items)
    for (const key of Object.keys(item.payload || {}))
      if (!keys.includes(key) && keys.length < 12 && !pictures.includes(key)) keys.push(key);
  const pictured = items.some(item => pictureOf(item.payload));
  const heads = [
    '#rank',
    ...(pictured ? ['-picture'] : []),
    'id',
    '#distance',
    ...keys.map(key => h('th', {}, clip(key, 40))),
  ];
  const value = (item, key) => (item.payload && key in item.payload ? clip(valueText(item.payload[key]), 200) : '');
  const row = (item, at) => [
    at + 1,
    ...(pictured ? [h('td.thumb', {}, frame(item, ''))] : []),
    h('td.mono', {}, String(item.id)),
    h('td.number.mono', {}, distanceText(item)),
    ...keys.map(key => h('td', { dir: 'auto' }, value(item, key))),
    h('a', { href: linkTo('similar', collection, item.id) }, 'similar'),
  ];
  return table('Results', [...heads, '-more'], items.map(row));
}

export function linkTo(view, collection, ...rest) {
  return `#/${[view, collection, ...rest]
    .filter(part => part !== undefined && part !== '')
    .map(part => encodeURIComponent(String(part)))
    .join('/')}`;
}
