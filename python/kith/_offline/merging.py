# SPDX-License-Identifier: Apache-2.0
"""The k nearest of all shards from those of each: by distance, then by id, as one index has them.

Partial results of a query come as one row for each shard. A query that lacks one, or has one twice, is refused: two
queries of one id would else answer for each other, and a part that an engine lost would be missed by nobody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._errors import DataError
from .columns import hashes, lists, one_piece, order_of, pa, pc

PART = "kith_part"  # the column by which partial results of one query come together
STRIP = 1 << 20  # results that are put in order at a time


def parts_of(ids: Any, parts: int) -> Any:
    """The part of each query."""
    return pa.array((hashes(ids) % np.uint64(parts)).astype(np.int32))


@dataclass(frozen=True)
class Merge:
    """Partial results of whole queries into results, ordered by the queries' ids."""

    k: int
    shards: int
    title: str = "kith merge shards"

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        held = [batch for batch in batches if batch.num_rows]
        if not held:
            return
        columns = [pa.concat_arrays([one_piece(batch.column(name)) for batch in held])
                   for name in ("id", "shard", "ids", "distances")]
        order = self._order(columns[0], columns[1].to_numpy())
        step = max(1, STRIP // (self.k * self.shards)) * self.shards
        for at in range(0, len(order), step):
            yield self._merge([column.take(pa.array(order[at:at + step])) for column in columns])

    def _order(self, ids: Any, shard: np.ndarray) -> np.ndarray:
        """Rows by query and shard, each query's together."""
        by_id = order_of(ids)
        order = by_id[np.argsort(_runs(ids.take(pa.array(by_id))) * self.shards + shard[by_id], kind="stable")]
        right = len(order) % self.shards == 0
        if right:
            table = shard[order].reshape(-1, self.shards)
            sorted_ids = ids.take(pa.array(order))
            same = _runs(sorted_ids).reshape(-1, self.shards)
            right = (table == np.arange(self.shards)).all() and (same == same[:, :1]).all() and \
                len(np.unique(same[:, 0])) == len(same)
        if not right:
            self._refuse(ids, shard)
        return order

    def _refuse(self, ids: Any, shard: np.ndarray) -> None:
        counts = ids.value_counts()
        wrong = counts.filter(pc.not_equal(counts.field("counts"), self.shards))
        entry = (wrong if len(wrong) else counts)[0].as_py()
        if entry["counts"] > self.shards or len(wrong) == 0:
            raise DataError(f"queries: the id {entry['values']!r} comes twice: with several shards, queries need ids "
                            "that differ")
        raise DataError(f"queries: the id {entry['values']!r} has answers of {entry['counts']} of {self.shards} "
                        "shards: the engine lost some")

    def _merge(self, columns: list[Any]) -> Any:
        queries, _, ids, distances = columns
        rows = len(queries) // self.shards
        near, found = _padded(distances, np.float32(np.inf), self.k, rows), ids.flatten()
        where = _padded(pa.ListArray.from_arrays(_ends(ids), pa.array(np.arange(len(found)))), 0, self.k, rows)
        # Ids in order first, then distances by a sort that leaves equal ones as they are.
        order = np.argsort(_ranks(found)[where] if len(found) else where, axis=1)
        near, where = np.take_along_axis(near, order, 1), np.take_along_axis(where, order, 1)
        order = np.argsort(near, axis=1, kind="stable")[:, :self.k]
        near, where = np.take_along_axis(near, order, 1), np.take_along_axis(where, order, 1)
        there = near != np.inf
        counts = there.sum(1)
        return pa.RecordBatch.from_arrays(
            [queries.take(pa.array(np.arange(rows) * self.shards)), lists(counts, found.take(pa.array(where[there]))),
             lists(counts, pa.array(near[there]))], ["id", "ids", "distances"])


def _runs(values: Any) -> np.ndarray:
    """(n,) int64 that grows by one wherever a value differs from the one before."""
    if len(values) == 0:
        return np.empty(0, np.int64)
    changes = pc.not_equal(values.slice(1), values.slice(0, len(values) - 1)).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(changes)])


def _ranks(ids: Any) -> np.ndarray:
    """Numbers in the order of the ids: numbers themselves, strings by their bytes."""
    if not pa.types.is_string(ids.type):
        return ids.to_numpy()
    order = order_of(ids)
    ranks = np.empty(len(ids), np.int64)
    ranks[order] = np.arange(len(ids))
    return ranks


def _ends(column: Any) -> Any:
    return pa.array(np.concatenate([[0], np.cumsum(column.value_lengths().to_numpy())]).astype(np.int32))


def _padded(column: Any, blank: Any, k: int, rows: int) -> np.ndarray:
    """(rows, results of all shards) from lists of at most k each."""
    lengths = column.value_lengths().to_numpy()
    values = column.flatten().to_numpy()
    if (lengths == k).all():
        return values.reshape(rows, -1)
    table = np.full((len(lengths), k), blank, values.dtype)
    table[np.arange(k) < lengths[:, None]] = values
    return table.reshape(rows, -1)
