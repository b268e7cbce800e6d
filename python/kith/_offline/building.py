# SPDX-License-Identifier: Apache-2.0
"""Builds of shards: items are dealt, each shard is gathered by one task and built there, the manifest is written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _files, _kith
from .._errors import ArgumentError, DataError
from .._index import Index
from .._options import METRICS, build_options, whole
from .._sources.source import blank
from . import parting, places
from .columns import Names, Part, kind_of, labels, lists, one_piece, order_of, pa, rows_of, stored_type, unpacked
from .engine import Engine
from .merging import parts_of
from .parting import SHARD
from .shards import KINDS, MANIFEST, MOST_SHARDS, WAYS, Shard, Shards, digest
from .source import Files, Frame, files_of, first_part, is_paths

STRIP_ROWS = 1 << 13  # that are put into order at a time
MADE = {"shard": pa.int32(), "file": pa.string(), "rows": pa.int64(), "bytes": pa.int64(), "hash": pa.string(),
        "segments": pa.string(), "dim": pa.int32(), "dtype": pa.string(), "kind": pa.string(), "own": pa.string()}
OPTIONS = ("dtype", "originals", "lists", "code", "first_level", "index", "graph_degree", "graph_bits", "lean",
           "hnsw_m", "hnsw_ef", "lsh_tables", "lsh_functions", "spill", "calibrate", "memory", "graph")


def build(engine: Engine, items: Any, path: Any, shards: int, by: str, names: Names, metric: str, threads: int,
          seed: int, replace: bool, options: dict[str, Any]) -> Shards:
    path = str(path) if isinstance(path, str) else path.__fspath__()
    _check(shards, by, names, metric, threads, seed, options)
    old = _old(path, replace)
    places.make_folder(path)
    source, frame, kinds, dim = _source(engine, items, names)
    deal = parting.Deal(source, shards, by, dim, metric,
                        _centroids(engine, frame, source, shards, metric, seed) if by == "cluster" else None)
    columns = {"id": kind_of(kinds[names.id], f"items: column {names.id!r}"), "vector": pa.binary()}
    if by == "segment":
        columns["segment"] = kind_of(kinds[names.segment], f"items: column {names.segment!r}")
    dealt = engine.map(frame, deal, {**columns, SHARD: pa.int32()})
    dtype = stored_type(kinds[names.vector], f"items: column {names.vector!r}")
    make = Make(path, shards, dtype, metric, seed, threads, tuple(sorted(options.items())))
    made = engine.collect(engine.map(engine.shuffle(dealt, SHARD, shards), make, MADE, threads), "kith build shards")
    found = _together(made.to_pylist(), path, shards, by, metric, names, columns)
    if by == "cluster":
        _refuse_doubles(engine, source, frame, columns["id"], shards)
    found.save()
    for name in old - {name for shard in found.shards for name in (shard.file, f"{shard.file}.segments")}:
        places.remove(places.join(path, name))
    return found.check()


def _check(shards: int, by: str, names: Names, metric: str, threads: int, seed: int, options: dict[str, Any]) -> None:
    """What each shard's build would refuse, before anything is read."""
    whole(shards, "shards", 1, MOST_SHARDS)
    if by not in WAYS:
        raise ArgumentError(f"by is {by!r}, {', '.join(map(repr, WAYS))} are possible")
    if by == "segment" and names.segment is None:
        raise ArgumentError("by='segment' needs segment=, the name of the column")
    if metric not in METRICS[:3]:
        raise ArgumentError(f"metric is {metric!r}, {', '.join(map(repr, METRICS[:3]))} are possible")
    for name in options:
        if name not in OPTIONS:
            raise ArgumentError(f"{name} is no option of a build of shards; {', '.join(OPTIONS)} are")
    build_options({**{name: value for name, value in options.items() if name != "graph"}, "threads": threads,
                   "seed": seed, "metric": metric})


def _old(path: str, replace: bool) -> set[str]:
    """Files of the shards that a folder has already."""
    manifest = places.join(path, MANIFEST)
    if not places.exists(manifest):
        return set()
    if not replace:
        raise ArgumentError(f"{manifest} is there already: say replace=True, or take another folder")
    from .shards import load

    try:
        return {name for shard in load(path).shards if shard.file for name in (shard.file, f"{shard.file}.segments")}
    except Exception:  # whatever is wrong with it: it goes
        return set()


def _source(engine: Engine, items: Any, names: Names) -> tuple[Any, Any, dict[str, Any], int | None]:
    """(source, frame, Arrow types of columns, dimension where it is known)"""
    if is_paths(items):
        files, kinds = files_of(items, names, engine.cores(), "items")
        part = first_part(files)
        rows = rows_of(part.column(names.vector).slice(0, 1), part.about(names.vector), part.first_row, pa)
        return files, engine.tasks(len(files.tasks)), kinds, rows.shape[1]
    frame = engine.accept(items, names.all(), "items")
    return Frame("items", names), frame, {name: engine.kind(frame, name) for name in names.all()}, None


def _centroids(engine: Engine, frame: Any, source: Any, shards: int, metric: str, seed: int) -> np.ndarray:
    wanted = shards * parting.SAMPLE
    if isinstance(source, Files):
        parts = _sample(source, wanted, seed)
    else:
        parts = [Part(engine.sample(frame, wanted), "items", 0)]
    blocks = [rows_of(part.column(source.names.vector), part.about(source.names.vector), part.first_row, pa)
              for part in parts if part.table.num_rows]
    if not blocks:
        raise DataError("items: have no rows")
    rows = np.concatenate([block.astype(np.float32) for block in blocks])
    return parting.centroids_of(rows, shards, metric, seed)


def _sample(files: Files, wanted: int, seed: int) -> list[Part]:
    """Rows from the beginnings of row groups all over the files."""
    from .source import _read

    pieces = [piece for task in files.tasks for piece in task]
    np.random.default_rng(seed).shuffle(pieces)
    pieces = pieces[:max(1, min(len(pieces), 64))]
    each = -(-wanted // len(pieces))
    found = []
    for piece in pieces:
        held = 0
        for part in _read(piece, files.names):
            found.append(Part(part.table.slice(0, each - held), part.what, part.first_row))
            held += found[-1].table.num_rows
            if held >= each:
                break
    return found


# ---- On a worker -----------------------------------------------------------------------------------------------------


class Spool:
    """Vectors in a file without a name, in the order in which they come."""

    def __init__(self) -> None:
        self.rows = self.dim = 0
        self.dtype: Any = None
        self._file: Any = None

    def add(self, block: np.ndarray, first_id: Any) -> None:
        if self._file is None:
            with _files.refusals(tempfile.gettempdir()):
                self._file = tempfile.TemporaryFile(prefix="kith-")
            self.dim, self.dtype = block.shape[1], block.dtype
        if block.shape[1] != self.dim:
            raise DataError(f"items: the item {first_id!r} has {block.shape[1]} elements, but others have {self.dim}")
        with _files.refusals(tempfile.gettempdir()):
            self._file.write(np.ascontiguousarray(block))
        self.rows += len(block)

    def ordered(self, order: np.ndarray) -> np.ndarray:
        self._file.flush()
        lying = np.memmap(self._file, self.dtype, "r", shape=(self.rows, self.dim))
        rows = blank((self.rows, self.dim), np.dtype(self.dtype))
        for at in range(0, self.rows, STRIP_ROWS):
            rows[at:at + STRIP_ROWS] = lying[order[at:at + STRIP_ROWS]]
        return rows


@dataclass(frozen=True)
class Make:
    """The shards of a part, each built and put into the folder."""

    path: str
    shards: int
    dtype: str  # of the vectors, as NumPy writes it
    metric: str
    seed: int
    threads: int
    options: tuple[tuple[str, Any], ...]
    title: str = "kith build shards"

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        spools: dict[int, Spool] = {}
        labels: dict[int, list[Any]] = {}
        for batch in batches:
            self._gather(batch, spools, labels)
        for number in sorted(spools):
            made = self._make(number, spools.pop(number), pa.Table.from_batches(labels.pop(number)))
            yield pa.RecordBatch.from_pylist([made], pa.schema(MADE))

    def _gather(self, batch: Any, spools: dict[int, Spool], labels: dict[int, list[Any]]) -> None:
        if batch.num_rows == 0:
            return
        of = one_piece(batch.column(SHARD)).to_numpy()
        names = [name for name in ("id", "segment") if name in batch.schema.names]
        for number in np.unique(of).tolist():
            own = batch.filter(pa.array(of == number))
            ids = one_piece(own.column("id"))
            spools.setdefault(number, Spool()).add(unpacked(own, self.dtype, "items"), ids[0].as_py())
            columns = [ids if name == "id" else one_piece(own.column(name)) for name in names]
            labels.setdefault(number, []).append(pa.RecordBatch.from_arrays(columns, names))

    def _make(self, number: int, spool: Spool, labels: Any) -> dict[str, Any]:
        ids = one_piece(labels.column("id"))
        order = order_of(ids)
        ids = ids.take(pa.array(order))
        given = ids.to_pylist() if pa.types.is_string(ids.type) else ids.to_numpy()
        with tempfile.TemporaryDirectory(prefix="kith-") as folder:
            file = os.path.join(folder, "shard.kith")
            with Index.build(spool.ordered(order), given, metric=self.metric, path=file, threads=self.threads,
                             seed=self.seed, progress=False, **dict(self.options)) as index:
                info, wide = index.info, index._wide
            made = {"shard": number, "rows": info["rows"], "bytes": info["file_bytes"], "dim": info["dim"],
                    "hash": f"{info['file_hash']:016x}", "dtype": info["dtype"], "segments": "", "own": "",
                    "kind": "string" if info["ids"] == "string" else "uint64" if wide else "int64"}
            made["file"] = f"shard-{number:05}-of-{self.shards:05}-{made['hash'][:8]}.kith"
            if "segment" in labels.column_names:
                beside = os.path.join(folder, "segments")
                segments = one_piece(labels.column("segment")).take(pa.array(order))
                made["own"] = str(segments.type)
                _write_segments(beside, segments, ids)
                made["segments"] = digest(beside)
                places.put(beside, places.join(self.path, f"{made['file']}.segments"))
            places.put(file, places.join(self.path, made["file"]))
        return made


def _write_segments(path: str, segments: Any, ids: Any) -> None:
    """Each segment once, ascending, and its ids, ascending."""
    order = order_of(segments)
    segments, ids = segments.take(pa.array(order)), ids.take(pa.array(order))
    codes = segments.dictionary_encode()
    table = pa.table({"segment": codes.dictionary,
                      "ids": lists(np.bincount(codes.indices.to_numpy(), minlength=len(codes.dictionary)), ids)})
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


# ---- Together --------------------------------------------------------------------------------------------------------


def _together(made: list[dict[str, Any]], path: str, shards: int, by: str, metric: str, names: Names,
              columns: dict[str, Any]) -> Shards:
    if not made:
        raise DataError("items: have no rows")
    for what in ("dim", "dtype"):
        found = sorted({one[what] for one in made}, key=str)
        if len(found) > 1:
            raise DataError(f"items: have vectors of {found[0]} and of {found[1]} {'elements' if what == 'dim' else ''}"
                            .rstrip())
    entries = [Shard("", 0, 0, "")] * shards
    for one in made:
        if entries[one["shard"]].rows:
            raise DataError(f"shard {one['shard']} was built twice: the engine divided its rows")
        entries[one["shard"]] = Shard(one["file"], one["rows"], one["bytes"], one["hash"], one["segments"])
    kinds = {one["kind"] for one in made}
    kind = "string" if "string" in kinds else "uint64" if "uint64" in kinds else "int64"
    assert kind in KINDS
    return Shards(path, by, sum(one["rows"] for one in made), made[0]["dim"], made[0]["dtype"], metric, kind,
                  names.segment or "" if by == "segment" else "", str(columns.get("segment", "")), tuple(entries))


@dataclass(frozen=True)
class Bare:
    """Ids alone, by their hash."""

    source: Any
    parts: int
    title: str = "kith look for ids that come twice"

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        for part in self.source.parts(batches):
            ids = labels(part, self.source.names.id)
            yield pa.RecordBatch.from_arrays([ids, parts_of(ids, self.parts)], ["id", SHARD])


@dataclass(frozen=True)
class Doubles:
    """One id that comes twice, where there is one."""

    title: str = "kith look for ids that come twice"

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        held = [one_piece(batch.column("id")) for batch in batches if batch.num_rows]
        if held:
            counts = pa.concat_arrays(held).value_counts()
            twice = counts.filter(pa.array(counts.field("counts").to_numpy() > 1))
            yield pa.RecordBatch.from_arrays([twice.field("values").slice(0, 1).cast(pa.string())], ["id"])


def _refuse_doubles(engine: Engine, source: Any, frame: Any, kind: Any, parts: int) -> None:
    """Where shards are chosen by vector, two items of one id may lie in two of them, and neither notices."""
    ids = engine.shuffle(engine.map(frame, Bare(source, parts), {"id": kind, SHARD: pa.int32()}), SHARD, parts)
    found = engine.collect(engine.map(ids, Doubles(), {"id": pa.string()}), Doubles.title)
    if found.num_rows:
        raise DataError(f"items: the id {found.column('id')[0].as_py()!r} comes twice")


def threads_of(value: Any) -> int:
    return whole(value, "threads", 1, _kith.THREADS_MAX)
