// SPDX-License-Identifier: Apache-2.0
// A worker: the two directions in which vectors differ most [Pearson 1901], by power iteration on the covariance, which
// is never written down: each step is two products with the centred rows.
//
// It begins with the same numbers each time, so that a map looks the same each time; of the two signs of a direction
// the one is taken whose largest part is positive.
const ROUNDS = 60;
const STILL = 1e-7;

self.onmessage = ({ data: { rows, dim, vectors } }) => {
  const centred = centre(vectors, rows, dim);
  const directions = [];
  const spread = [];
  for (let axis = 0; axis < 2; axis++) {
    const { direction, variance } = strongest(centred, rows, dim, directions, axis);
    directions.push(direction);
    spread.push(variance);
    self.postMessage({ progress: (axis + 1) / 2 });
  }
  const places = new Float32Array(rows * 2);
  let total = 0;
  for (let row = 0; row < rows; row++) {
    for (let axis = 0; axis < 2; axis++) places[2 * row + axis] = dot(centred, row * dim, directions[axis], dim);
    for (let i = row * dim; i < (row + 1) * dim; i++) total += centred[i] * centred[i];
  }
  const explained = spread.map(variance => (total > 0 ? variance / (total / rows) : 0));
  self.postMessage({ places, explained }, [places.buffer]);
};

function centre(vectors, rows, dim) {
  const mean = new Float64Array(dim);
  for (let row = 0; row < rows; row++) for (let i = 0; i < dim; i++) mean[i] += vectors[row * dim + i] / rows;
  const centred = new Float32Array(rows * dim);
  for (let row = 0; row < rows; row++)
    for (let i = 0; i < dim; i++) centred[row * dim + i] = vectors[row * dim + i] - mean[i];
  return centred;
}

function dot(a, from, b, dim) {
  let sum = 0;
  for (let i = 0; i < dim; i++) sum += a[from + i] * b[i];
  return sum;
}

function strongest(centred, rows, dim, found, seed) {
  let direction = new Float64Array(dim);
  for (let i = 0; i < dim; i++) direction[i] = Math.sin(1 + i * 12.9898 + seed * 78.233);
  let variance = 0;
  normalise(direction, found);
  for (let round = 0; round < ROUNDS; round++) {
    const next = new Float64Array(dim);
    for (let row = 0; row < rows; row++) {
      const along = dot(centred, row * dim, direction, dim) / rows;
      for (let i = 0; i < dim; i++) next[i] += along * centred[row * dim + i];
    }
    const length = normalise(next, found);
    const turned = 1 - Math.abs(dot(next, 0, direction, dim));
    variance = length;
    if (length === 0) break;
    direction = next;
    if (turned < STILL) break;
  }
  let largest = 0;
  for (let i = 1; i < dim; i++) if (Math.abs(direction[i]) > Math.abs(direction[largest])) largest = i;
  if (direction[largest] < 0) for (let i = 0; i < dim; i++) direction[i] = -direction[i];
  return { direction, variance };
}

// Without what lies along the directions found before, and of length 1; returns the length it had.
function normalise(vector, found) {
  const dim = vector.length;
  for (const other of found) {
    const along = dot(vector, 0, other, dim);
    for (let i = 0; i < dim; i++) vector[i] -= along * other[i];
  }
  const length = Math.sqrt(dot(vector, 0, vector, dim));
  if (length > 0) for (let i = 0; i < dim; i++) vector[i] /= length;
  return length;
}
