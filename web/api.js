// SPDX-License-Identifier: Apache-2.0
// The server's /v1, as the page calls it.
//
// 1. The key lies in sessionStorage alone: it goes with the tab.
// 2. Ids of 64 bits do not fit a JavaScript number. Long integers are read as Whole, and written as they were.

const base = new URL('../v1', document.baseURI).href;
const mark = `#${Array.from(crypto.getRandomValues(new Uint32Array(4)), n => n.toString(36)).join('')}:`;

export class Whole {
  constructor(digits) {
    this.digits = digits;
  }
  toString() {
    return this.digits;
  }
  toJSON() {
    return mark + this.digits;
  }
}

export function readJson(text) {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, token =>
    /^-?\d{16,}$/.test(token) ? `"${mark}${token}"` : token,
  );
  return JSON.parse(marked, (_, value) =>
    typeof value === 'string' && value.startsWith(mark) ? new Whole(value.slice(mark.length)) : value,
  );
}

export function writeJson(value, indent) {
  const text = JSON.stringify(value, null, indent);
  return text.includes(mark) ? text.replace(new RegExp(`"${mark}(-?\\d+)"`, 'g'), '$1') : text;
}

// An id as somebody typed it: a number where the collection's ids are numbers.
export function idOf(text, kind) {
  const word = String(text).trim();
  if (kind !== 'u64' || !/^\d+$/.test(word)) return word;
  return word.length < 16 ? Number(word) : new Whole(word);
}

export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let secret = null;
try {
  secret = sessionStorage.getItem('kith-key');
} catch {
  /* storage is switched off */
}
export const hasKey = () => Boolean(secret);
export function setKey(key) {
  secret = key || null;
  try {
    if (secret) sessionStorage.setItem('kith-key', secret);
    else sessionStorage.removeItem('kith-key');
  } catch {
    /* it is kept for this page, then */
  }
}

// How a missing key is asked for: an async function that returns whether there is one now.
let ask = async () => false;
export function askKeyBy(how) {
  ask = how;
}

async function send(method, path, body, signal) {
  const headers = { Accept: 'application/json' };
  if (secret) headers.Authorization = `Bearer ${secret}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const sent = body === undefined ? undefined : writeJson(body);
  let reply, text;
  try {
    reply = await fetch(base + path, {
      method,
      headers,
      body: sent,
      signal,
      cache: 'no-store',
      credentials: 'same-origin',
    });
    text = await reply.text();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Refusal(0, 'The server cannot be reached.');
  }
  let said = null;
  try {
    said = text ? readJson(text) : null;
  } catch {
    /* told below */
  }
  if (reply.ok) {
    if (text && said === null) throw new Refusal(reply.status, `The answer to ${method} ${path} is no JSON.`);
    return said;
  }
  throw new Refusal(reply.status, said?.error?.message || `${method} ${path} was refused with ${reply.status}.`);
}

async function call(method, path, body, signal) {
  for (;;) {
    const used = secret;
    try {
      return await send(method, path, body, signal);
    } catch (error) {
      // Another call may have been told the key meanwhile.
      if (error.status !== 401 || signal?.aborted || !(secret !== used || (await ask(error.message)))) throw error;
    }
  }
}

const of = name => `/collections/${encodeURIComponent(name)}`;

export const api = {
  server: signal => call('GET', '', undefined, signal),
  stats: signal => call('GET', '/stats', undefined, signal),
  jobs: signal => call('GET', '/jobs', undefined, signal),
  cancelJob: number => call('DELETE', `/jobs/${number}`),
  collections: async signal => (await call('GET', '/collections', undefined, signal)).collections,
  collection: (name, signal) => call('GET', of(name), undefined, signal),
  create: (name, made) => call('PUT', of(name), made),
  drop: name => call('DELETE', of(name)),
  declare: (name, declared) => call('POST', `${of(name)}/fields`, declared),
  query: async (name, asked, signal) => call('POST', `${of(name)}/query`, asked, signal),
  point: (name, id, parts, signal) =>
    call('GET', `${of(name)}/points/${encodeURIComponent(id)}?with=${parts.join(',')}`, undefined, signal),
  points: async (name, ids, parts, signal) =>
    (await call('POST', `${of(name)}/points/get`, { ids, with: parts }, signal)).points.filter(Boolean),
  scroll: (name, asked, signal) => call('POST', `${of(name)}/points/scroll`, asked, signal),
  events: (name, profile, told, signal) =>
    call('POST', `${of(name)}/profiles/${encodeURIComponent(profile)}/events`, told, signal),
  profile: (name, profile, signal) =>
    call('GET', `${of(name)}/profiles/${encodeURIComponent(profile)}`, undefined, signal),
  forget: (name, profile) => call('DELETE', `${of(name)}/profiles/${encodeURIComponent(profile)}`),
  generations: (name, signal) => call('GET', `${of(name)}/generations`, undefined, signal),
  snapshots: (name, signal) => call('GET', `${of(name)}/snapshots`, undefined, signal),
  snapshot: name => call('POST', `${of(name)}/snapshots`, {}),
  compact: name => call('POST', `${of(name)}/compact`, {}),
  warm: (name, user) => call('POST', `${of(name)}/warm?user=${encodeURIComponent(user)}`),
};
