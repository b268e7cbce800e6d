# SPDX-License-Identifier: Apache-2.0
"""Joins: queries against shards, and what comes of each shard put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._errors import ArgumentError, DataError, UnsupportedError
from .._options import join_options
from . import parting
from .columns import Names, Part, kind_of, labels, lists, one_piece, order_of, pa, pc, stored_type, unpacked, vectors
from .engine import Engine
from .merging import PART, Merge, parts_of
from .shards import KINDS, Shards, load
from .source import Frame, files_of, is_paths

BATCH_ROWS = 1 << 13  # queries of a search
PART_BYTES = 64 << 20  # of what a task holds at once, where that can be told


def knn_join(engine: Engine, queries: Any, items: Any, k: int, target_recall: float | None, by: str | None,
             names: Names, threads: int, tasks: int | None) -> Any:
    join_options({"k": k, "target_recall": target_recall, "threads": threads})
    shards = load(items)
    _check(shards, by, names)
    if not engine.wide_numbers and shards.id_kind == "uint64":
        raise UnsupportedError(f"{shards.path}: has ids beyond 2**63-1, which this engine has no type for")
    asked = Names(names.id, names.vector, names.segment if by else None)
    source, frame, kinds = _source(engine, queries, asked)
    id_kind = kind_of(kinds[names.id], f"queries: column {names.id!r}")
    if by:
        return _by_segment(engine, source, frame, kinds, id_kind, shards, asked, k, target_recall, threads, tasks)
    found = {"id": id_kind, "ids": pa.list_(KINDS[shards.id_kind]), "distances": pa.list_(pa.float32())}
    searched = [number for number, shard in enumerate(shards.shards) if shard.rows]
    if len(searched) == 1:
        search = Search(source, shards, searched[0], k, target_recall, threads)
        return engine.map(frame, search, found, threads)
    parts = tasks or _parts(engine, source.rows, k * 12 * len(searched))
    partial = {**found, "shard": pa.int32(), PART: pa.int32()}
    works = [Search(source, shards, number, k, target_recall, threads, place, len(searched), parts)
             for place, number in enumerate(searched)]
    searches = [engine.map(frame, work, partial, threads) for work in works]
    return engine.map(engine.shuffle(engine.union(searches), PART, parts), Merge(k, len(searched)), found)


def _check(shards: Shards, by: str | None, names: Names) -> None:
    if by not in (None, "segment"):
        raise ArgumentError(f"by is {by!r}, None and 'segment' are possible")
    if shards.dtype == "b1":
        raise UnsupportedError(f"{shards.path}: holds bits, which lists of numbers cannot be searched for")
    if by and shards.by != "segment":
        raise ArgumentError(f"{shards.path}: was not built by segment, so a join cannot be: build(..., by='segment', "
                            "segment=...)")
    if by and names.segment is None:
        raise ArgumentError("by='segment' needs segment=, the name of the queries' column")


def _source(engine: Engine, queries: Any, names: Names) -> tuple[Any, Any, dict[str, Any]]:
    if is_paths(queries):
        files, kinds = files_of(queries, names, engine.cores(), "queries")
        return files, engine.tasks(len(files.tasks)), kinds
    frame = engine.accept(queries, names.all(), "queries")
    return Frame("queries", names), frame, {name: engine.kind(frame, name) for name in names.all()}


def _parts(engine: Engine, rows: int | None, row_bytes: int) -> int:
    least = 2 * engine.cores()
    return least if rows is None else max(least, -(-rows * row_bytes // PART_BYTES))


def _by_segment(engine: Engine, source: Any, frame: Any, kinds: dict[str, Any], id_kind: Any, shards: Shards,
                names: Names, k: int, target_recall: float | None, threads: int, tasks: int | None) -> Any:
    assert names.segment is not None
    segment_kind = kind_of(kinds[names.segment], f"queries: column {names.segment!r}")
    if str(segment_kind) != shards.segment_kind:
        raise ArgumentError(f"queries: column {names.segment!r} is of type {segment_kind}, but the items' segments are "
                            f"of type {shards.segment_kind}")
    wanted = tasks or _parts(engine, source.rows, shards.dim * 4)
    ways = -(-wanted // len(shards.shards))
    send = parting.Send(source, len(shards.shards), ways, shards.dim, shards.metric)
    sent = engine.map(frame, send, {"id": id_kind, "vector": pa.binary(), "segment": segment_kind,
                                    parting.SHARD: pa.int32()})
    dtype = stored_type(kinds[names.vector], f"queries: column {names.vector!r}")
    parts = engine.shuffle(sent, parting.SHARD, ways * len(shards.shards))
    return engine.map(parts, SearchSegments(shards, ways, dtype, k, target_recall, threads), {
        "id": id_kind, "segment": segment_kind, "ids": pa.list_(KINDS[shards.id_kind]),
        "distances": pa.list_(pa.float32())}, threads)


# ---- On a worker -----------------------------------------------------------------------------------------------------


def found_lists(found: Any, index: Any, kind: Any) -> tuple[Any, Any]:
    """(lists of ids, lists of distances) of what a search found; lists are shorter where there are fewer than k."""
    rows, distances = found.rows, found.distances
    none = np.isinf(distances)
    there, counts = ~none, (~none).sum(1)
    kept = rows[there]
    values = pa.array(index._strings(kept), pa.string()) if pa.types.is_string(kind) else pa.array(
        kept.astype(kind.to_pandas_dtype(), copy=False), kind)
    return lists(counts, values), lists(counts, pa.array(distances[there]))


@dataclass(frozen=True)
class Search:
    """Queries against one shard. parts 0: what it finds is the answer; else one of `of` parts of it."""

    source: Any
    items: Shards
    number: int
    k: int
    target_recall: float | None
    threads: int
    place: int = 0
    of: int = 1
    parts: int = 0

    @property
    def title(self) -> str:
        return "kith search" if self.of == 1 else f"kith search shard {self.place + 1} of {self.of}"

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        index = self.items.open(self.number)
        assert index is not None
        for part in self.source.parts(batches):
            for at in range(0, part.table.num_rows, BATCH_ROWS):
                yield self._search(index, Part(part.table.slice(at, BATCH_ROWS), part.what, part.first_row + at))

    def _search(self, index: Any, part: Part) -> Any:
        names = self.source.names
        ids = labels(part, names.id)
        rows = vectors(part, names.vector, self.items.dim, "the index", self.items.metric)
        found = index.search(rows, min(self.k, len(index)), target_recall=self.target_recall, threads=self.threads)
        near, distances = found_lists(found, index, KINDS[self.items.id_kind])
        columns = {"id": ids, "ids": near, "distances": distances}
        if self.parts:
            columns["shard"] = pa.array(np.full(len(ids), self.place, np.int32))
            columns[PART] = parts_of(ids, self.parts)
        return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


@dataclass(frozen=True)
class SearchSegments:
    """Queries of one part against the items of their own segments, which lie in one shard."""

    items: Shards
    ways: int
    dtype: str  # of the vectors, as NumPy writes it
    k: int
    target_recall: float | None
    threads: int
    title: str = "kith search segments"

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            if batch.num_rows:
                to = one_piece(batch.column(parting.SHARD)).to_numpy() // self.ways
                for shard in np.unique(to).tolist():
                    yield from self._shard(shard, batch.filter(pa.array(to == shard)))

    def _shard(self, number: int, batch: Any) -> Iterator[Any]:
        segments = one_piece(batch.column("segment"))
        batch = batch.take(pa.array(order_of(segments)))
        segments = one_piece(batch.column("segment"))
        index = self.items.open(number)
        known, members = (None, None) if index is None else self.items.segments(number)
        ends = np.flatnonzero(pc.not_equal(segments.slice(1), segments.slice(0, len(segments) - 1)).to_numpy(
            zero_copy_only=False)) + 1
        found = []
        for first, last in zip([0, *ends.tolist()], [*ends.tolist(), len(segments)]):
            place = -1 if known is None else (pc.index(known, segments[first])).as_py()
            own = batch.slice(first, last - first)
            found += [self._blank(own)] if place < 0 else self._search(index, members[place].values, own)
        yield pa.Table.from_batches(found).combine_chunks().to_batches()[0]

    def _columns(self, own: Any, ids: Any, distances: Any) -> Any:
        asked = [one_piece(own.column(name)) for name in ("id", "segment")]
        return pa.RecordBatch.from_arrays([*asked, ids, distances], ["id", "segment", "ids", "distances"])

    def _blank(self, own: Any) -> Any:
        none = np.zeros(own.num_rows, np.int32)
        return self._columns(own, lists(none, pa.array([], KINDS[self.items.id_kind])),
                             lists(none, pa.array([], pa.float32())))

    def _search(self, index: Any, members: Any, own: Any) -> list[Any]:
        allow = index.filter(members.to_pylist() if pa.types.is_string(members.type) else members.to_numpy())
        if len(allow) != len(members):
            raise DataError(f"{self.items.path}: a segment has ids that its index lacks")
        found = []
        for at in range(0, own.num_rows, BATCH_ROWS):
            some = own.slice(at, BATCH_ROWS)
            rows = unpacked(some, self.dtype, "queries")
            got = index.search(rows, min(self.k, len(index)), allow=allow, target_recall=self.target_recall,
                               threads=self.threads)
            found.append(self._columns(some, *found_lists(got, index, KINDS[self.items.id_kind])))
        return found

