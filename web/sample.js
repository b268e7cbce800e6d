// SPDX-License-Identifier: Apache-2.0
// Some items of a collection, as evenly picked as the API allows: where ids are numbers, random ones below the number
// of items are asked for (most collections count from 0 or 1); what is missing then comes from the beginning.
import { api } from './api.js';

const PAGE = 1000;

export async function sample(info, wanted, parts, signal, filter = '') {
  const found = new Map();
  if (info.ids === 'u64' && !filter && info.items > wanted) {
    for (let round = 0; round < 2 && found.size < wanted; round++) {
      const ids = new Set();
      while (ids.size < Math.min(wanted, PAGE)) ids.add(Math.floor(Math.random() * info.items));
      for (const item of await api.points(info.name, [...ids], parts, signal))
        if (found.size < wanted) found.set(String(item.id), item);
      if (found.size < wanted / 8) break;
    }
  }
  let after;
  while (found.size < wanted) {
    const page = await api.scroll(
      info.name,
      {
        limit: Math.min(PAGE, wanted - found.size + 1),
        with: parts,
        ...(filter && { filter }),
        ...(after !== undefined && { after }),
      },
      signal,
    );
    for (const item of page.points) if (found.size < wanted) found.set(String(item.id), item);
    after = page.next;
    if (after === null || after === undefined || !page.points.length) break;
  }
  return [...found.values()];
}

// The vector of an item under a name, whether the server says it plainly or by name.
export function vectorOf(item, name) {
  const vector = item.vector;
  if (Array.isArray(vector)) return vector;
  return vector && typeof vector === 'object'
    ? (vector[name] ?? (name ? undefined : Object.values(vector)[0]))
    : undefined;
}

// The members of a query by one vector.
export const byVector = (vector, using) => ({ vector, ...(using && { using }) });
