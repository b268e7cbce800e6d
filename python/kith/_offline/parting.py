# SPDX-License-Identifier: Apache-2.0
"""Which shard an item belongs to, and which part of a join a query.

By hash: of the id, so that shards are of one size. By cluster: of the nearest of as many centroids, by Lloyd's k-means
over a sample; shards then differ in size, and each holds what lies together. By segment: of the segment's hash, so that
whole segments lie together, and the queries of a segment go where its items are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .columns import Part, hashes, labels, pa, packs, vectors

SHARD = "kith_shard"  # the column that parts are made by; no user's column is called so
SAMPLE = 256  # vectors for each centroid
ROUNDS = 12


@dataclass(frozen=True)
class Deal:
    """Items with the number of their shard. The works of a build begin with it, and it looks at every vector: behind
    it, nobody knows files and rows any more."""

    source: Any
    shards: int
    by: str
    dim: int | None
    metric: str
    centroids: Any = None
    title: str = "kith deal items to shards"

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        names = self.source.names
        for part in self.source.parts(batches):
            ids = labels(part, names.id)
            rows = vectors(part, names.vector, self.dim, "the first item", self.metric)
            more = {"segment": labels(part, names.segment)} if self.by == "segment" else {}
            shard = pa.array(self._shard(more.get("segment", ids), rows))
            yield from _packed(rows, {"id": ids}, {**more, SHARD: shard})

    def _shard(self, of: Any, rows: np.ndarray) -> np.ndarray:
        if self.by == "cluster":
            return nearest(rows, self.centroids, self.metric)
        return (hashes(of) % np.uint64(self.shards)).astype(np.int32)


def _packed(rows: np.ndarray, before: dict[str, Any], behind: dict[str, Any]) -> Iterator[Any]:
    """Batches of the columns before, the vectors, and the columns behind."""
    for at, vector in packs(rows):
        columns = {**before, "vector": vector, **behind}
        yield pa.RecordBatch.from_arrays([column if name == "vector" else column.slice(at, len(vector))
                                          for name, column in columns.items()], list(columns))


def nearest(rows: np.ndarray, centroids: np.ndarray, metric: str) -> np.ndarray:
    """The nearest centroid of each row, the first of equal ones. Under ip and cosine directions count."""
    found = np.empty(len(rows), np.int32)
    half = (centroids * centroids).sum(1) / 2
    for at in range(0, len(rows), 4096):
        part = _directed(rows[at:at + 4096].astype(np.float32), metric)
        found[at:at + 4096] = (half - part @ centroids.T).argmin(1)
    return found


def _directed(rows: np.ndarray, metric: str) -> np.ndarray:
    if metric == "l2":
        return rows
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-30))


def centroids_of(sample: np.ndarray, count: int, metric: str, seed: int) -> np.ndarray:
    """Lloyd's k-means. A centroid that loses all its rows begins anew at one of the others'."""
    rows = _directed(sample.astype(np.float32), metric)
    rng = np.random.default_rng(seed)
    centroids = rows[rng.choice(len(rows), count, replace=len(rows) < count)].copy()
    for _ in range(ROUNDS):
        of = nearest(rows, centroids, "l2")
        held = np.bincount(of, minlength=count)
        sums = np.zeros_like(centroids)
        np.add.at(sums, of, rows)
        full = held > 0
        centroids[full] = sums[full] / held[full, None]
        centroids[~full] = rows[rng.choice(len(rows), int((~full).sum()))]
    return centroids


@dataclass(frozen=True)
class Send:
    """Queries with the part of a join by segment that answers them: `ways` parts for each shard, so that one large
    segment does not wait for one task."""

    source: Any
    shards: int
    ways: int
    dim: int
    metric: str
    title: str = "kith send queries to their segments"

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        names = self.source.names
        for part in self.source.parts(batches):
            yield from self._send(part, names)

    def _send(self, part: Part, names: Any) -> Iterator[Any]:
        ids, segments = labels(part, names.id), labels(part, names.segment)
        rows = vectors(part, names.vector, self.dim, "the index", self.metric)
        shard = hashes(segments) % np.uint64(self.shards)
        to = shard * np.uint64(self.ways) + hashes(ids) % np.uint64(self.ways)
        return _packed(rows, {"id": ids}, {"segment": segments, SHARD: pa.array(to.astype(np.int32))})
