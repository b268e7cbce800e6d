// SPDX-License-Identifier: Apache-2.0
// Elements and words. All text from outside becomes a text node or an attribute's value here: nothing in this page is
// ever parsed as HTML, so nothing in a payload can be.

// h('p.soft', {title: 'x'}, 'text', child): properties that begin with "on" are listeners, `style` is an object (set
// property by property, as the content security policy allows), the rest are attributes; false, null and undefined are
// left out.
export function h(what, properties, ...children) {
  const [tag, ...classes] = what.split('.');
  const element = document.createElement(tag || 'div');
  if (classes.length) element.className = classes.join(' ');
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'style') for (const [key, set] of Object.entries(value)) element.style.setProperty(key, set);
    else if (name === 'value' || name === 'checked' || name === 'disabled') element[name] = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  add(element, children);
  return element;
}

export function add(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

export function fill(element, ...children) {
  element.replaceChildren();
  return add(element, children);
}

const counts = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
export const count = number => counts.format(Number(number) || 0);

export function short(number) {
  const value = Number(number) || 0;
  if (value >= 1e9) return `${figures(value / 1e9)} G`;
  if (value >= 1e6) return `${figures(value / 1e6)} M`;
  if (value >= 1e4) return `${figures(value / 1e3)} k`;
  return value >= 100 || Number.isInteger(value) ? counts.format(value) : figures(value);
}

// Three figures, without an exponent: 0.0123, 1.23, 12.3, 123.
export function figures(value) {
  if (!Number.isFinite(value)) return '–';
  if (value === 0) return '0';
  const digits = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(Math.abs(value)))));
  const text = value.toFixed(digits);
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

export function bytes(number) {
  const value = Number(number) || 0;
  for (const [size, unit] of [
    [2 ** 40, 'TiB'],
    [2 ** 30, 'GiB'],
    [2 ** 20, 'MiB'],
    [1024, 'KiB'],
  ])
    if (value >= size) return `${figures(value / size)} ${unit}`;
  return `${value} B`;
}

export function duration(ms) {
  if (!Number.isFinite(ms)) return '–';
  if (ms < 0.001) return `${figures(ms * 1e6)} ns`;
  if (ms < 1) return `${figures(ms * 1e3)} µs`;
  if (ms < 1000) return `${figures(ms)} ms`;
  if (ms < 120e3) return `${figures(ms / 1000)} s`;
  if (ms < 7200e3) return `${Math.round(ms / 60e3)} min`;
  return ms < 172800e3 ? `${Math.round(ms / 3600e3)} h` : `${Math.round(ms / 86400e3)} days`;
}

export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits).replace(/\.0+$/, '')} %`;

export function clock(ms) {
  return ms ? new Date(Number(ms)).toISOString().replace('T', ' ').slice(0, 19) : '–';
}

export function ready(milliseconds, signal) {
  return new Promise(done => {
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        done();
      },
      { once: true },
    );
  });
}

// A labelled input. kind: 'text', 'number', 'range', 'textarea', or a list of [value, words] to choose from.
export function field(label, kind, properties = {}) {
  const { hint, ...rest } = properties;
  const control = Array.isArray(kind)
    ? h(
        'select',
        rest,
        kind.map(([value, words]) => h('option', { value, selected: value === rest.value }, words)),
      )
    : kind === 'textarea'
      ? h('textarea', { spellcheck: 'false', ...rest })
      : h('input', { type: kind, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off', ...rest });
  const whole = h('label.field', {}, h('span', {}, label), control, hint && h('small', {}, hint));
  return { whole, control };
}

export function meter(share, label, tone) {
  const wide = Math.max(0, Math.min(1, Number(share) || 0));
  return h(
    `div.meter${tone ? '.' + tone : ''}`,
    {
      role: 'meter',
      'aria-label': label,
      'aria-valuemin': 0,
      'aria-valuemax': 100,
      'aria-valuenow': Math.round(wide * 100),
    },
    h('i', { style: { width: `${wide * 100}%` } }),
  );
}

// Shares of a whole, with a legend: [[words, amount, tone]].
export function shares(label, parts, write) {
  const total = parts.reduce((sum, [, amount]) => sum + amount, 0);
  return h(
    'div.shares',
    {},
    h(
      'div.stack',
      { role: 'img', 'aria-label': `${label}: ${parts.map(([w, a]) => `${w} ${write(a)}`).join(', ')}` },
      parts.map(([, amount, tone]) => amount > 0 && h(`i.${tone}`, { style: { 'flex-grow': String(amount / total) } })),
    ),
    h(
      'ul.legend',
      {},
      parts.map(([words, amount, tone]) =>
        h('li', {}, h(`i.${tone}`, { 'aria-hidden': 'true' }), h('span', {}, words), h('b', {}, write(amount))),
      ),
    ),
  );
}

// A table that scrolls by itself where it is too wide. heads: cells, or words: those of numbers begin with '#', those
// that are only read aloud with '-'. rows: lists of cells, or of what is in them; a row's `tone` is its class.
export function table(label, heads, rows) {
  const number = heads.map(head => head[0] === '#');
  const headOf = head => {
    if (head instanceof Node) return head;
    if (head[0] === '-') return h('th', {}, h('span.heard', {}, head.slice(1)));
    return head[0] === '#' ? h('th.number', {}, head.slice(1)) : h('th', {}, head);
  };
  const cellOf = (cell, at) =>
    cell instanceof HTMLTableCellElement ? cell : h(number[at] ? 'td.number' : 'td', {}, cell);
  const rowOf = row => h(row.tone ? `tr.${row.tone}` : 'tr', {}, row.map(cellOf));
  return h(
    'div.wide',
    { tabindex: '0', role: 'region', 'aria-label': label },
    h('table', {}, h('thead', {}, h('tr', {}, heads.map(headOf))), h('tbody', {}, rows.map(rowOf))),
  );
}

export function panel(title, ...content) {
  return h('section.panel', {}, title && h('h2', {}, title), content);
}

export function empty(...content) {
  return h('div.empty', {}, content);
}

let notes = null;
export function note(text, tone = '') {
  notes ??= document.getElementById('notes');
  const line = h(`p${tone ? '.' + tone : ''}`, {}, text);
  notes.append(line);
  while (notes.childElementCount > 3) notes.firstElementChild.remove();
  setTimeout(() => line.remove(), tone === 'wrong' ? 9000 : 4000);
}
