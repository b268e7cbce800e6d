# SPDX-License-Identifier: Apache-2.0
"""The join: the neighbours of many queries, written to files, or to private ones that are mapped."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _files, _kith
from ._errors import UnsupportedError
from ._filter import make_filter
from ._options import join_options
from ._progress import Progress, Report
from ._rows import make_reader

if TYPE_CHECKING:
    from ._index import Index

PARQUET = (".parquet", ".pq")
TEXT = (".ndjson", ".jsonl")
BATCH_RESULTS = 1 << 20  # results of one batch of a Parquet file


class JoinResult:
    """What a join found. Unpacks as ``ids, distances = index.join(...)``.

    ids, distances
        (q, k) arrays mapped from the files, as those of Result; None where NDJSON or Parquet was written. Row i
        belongs to query i; in a self-join to ``index.ids[i]``. With string ids an object array, made when it is first
        asked for, from the row numbers in `rows`.
    rows
        The mapped row numbers behind string ids; otherwise the same as ids.
    paths
        The files that were written, (ids, distances) or one; () with ``out=None``.
    report
        A dict: queries, resumed (queries that an interrupted join had done), restarted (why what such a join had done
        was not used, or ""), plan (of the last search), exact, output_bytes, seconds, search_seconds.

    It is a pair: ``len(result)`` is 2, ``result[0]`` the ids and ``result[1]`` the distances. How many queries there
    were is ``report["queries"]``.
    """

    __slots__ = ("rows", "distances", "paths", "report", "_ids", "_strings")

    def __init__(self, rows: np.ndarray | None, distances: np.ndarray | None, paths: tuple[str, ...],
                 report: dict[str, Any], strings: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
        self.rows, self.distances, self.paths, self.report = rows, distances, paths, report
        self._ids, self._strings = None if strings else rows, strings

    @property
    def ids(self) -> np.ndarray | None:
        """(q, k) ids, or None."""
        if self._ids is None and self._strings is not None and self.rows is not None:
            self._ids = self._strings(np.asarray(self.rows))
        return self._ids

    def __len__(self) -> int:
        return 2

    def __getitem__(self, place: int) -> np.ndarray | None:
        return (self.ids, self.distances)[place]

    def __iter__(self) -> Iterator[np.ndarray | None]:
        return iter((self.ids, self.distances))

    def __repr__(self) -> str:
        where = " and ".join(self.paths) or "mapped arrays"
        return f"<kith.JoinResult: {self.report['queries']:,} queries, {where}>"


JoinResult.__module__ = "kith"  # where people find it


def join(index: Index, queries: Any, out: str | os.PathLike[str] | None, filters: tuple[Any, Any],
         progress: bool | Report | None, given: dict[str, Any]) -> JoinResult:
    """What Index.join documents. filters: what is allowed, and what is denied."""
    options = join_options(given)
    path = None if out is None else os.fspath(out)
    parquet = path is not None and path.lower().endswith(PARQUET)
    if parquet:
        _pyarrow()
    source, reader = _queries(index, queries)
    chosen = None if all(given is None for given in filters) else make_filter(index, *filters)
    with Progress(progress) as watcher:
        def run(to: str) -> dict[str, Any]:
            return index._join(reader, to, options, chosen, watcher.report)

        if path is None:
            return _mapped(index, run)
        if parquet:
            return _parquet(index, path, run, source, watcher.report)
        report = run(path)
        if path.lower().endswith(TEXT):
            return JoinResult(None, None, (path,), report)
        pair = _pair(path)
        return _arrays(index, pair, pair, report)


def _queries(index: Index, queries: Any) -> tuple[Any, _kith.Reader | None]:
    """Where the queries' ids are (None: they have none), and a reader of the queries (None: a self-join)."""
    if queries is None:
        return index, None
    bits = "b1" if index.dtype == "b1" else None
    if isinstance(queries, np.ndarray):
        return None, make_reader(queries, None, None, bits)
    from ._sources import as_source

    source = as_source(queries, dtype=bits)
    return source, make_reader(source, None, None, bits)


# ---- Arrays ----------------------------------------------------------------------------------------------------------


def _pair(path: str) -> tuple[str, str]:
    stem = path[:-4] if path.lower().endswith(".npy") else path
    return f"{stem}.ids.npy", f"{stem}.distances.npy"


def _map(path: str) -> np.ndarray:
    with _files.refusals(path):
        try:
            return np.load(path, mmap_mode="r")
        except ValueError:  # nothing can be mapped of an array without elements
            return np.load(path)


def _arrays(index: Index, pair: tuple[str, str], paths: tuple[str, ...], report: dict[str, Any]) -> JoinResult:
    rows, distances = _map(pair[0]), _map(pair[1])
    if not index._wide:
        rows = rows.view(np.int64)  # the number that fills becomes -1
    return JoinResult(rows, distances, paths, report, index._strings if index.info["ids"] == "string" else None)


def _mapped(index: Index, run: Callable[[str], dict[str, Any]]) -> JoinResult:
    """In files that have lost their names by the time the user sees them."""
    private = _files.new_private("join")
    try:
        report = run(private)
        return _arrays(index, _pair(private), (), report)
    finally:
        _files.remove_folder(os.path.dirname(private))


# ---- Parquet ---------------------------------------------------------------------------------------------------------


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UnsupportedError("out: writing Parquet needs the package pyarrow, which is not installed") from None
    return pyarrow


def _parquet(index: Index, path: str, run: Callable[[str], dict[str, Any]], source: Any,
             report: Report | None) -> JoinResult:
    """A pair of arrays first, which is what an interrupted join goes on with, then the table."""
    stem = f"{path}.arrays"
    done = run(stem)
    pair = _arrays(index, _pair(stem), (), done)
    hidden = os.path.join(os.path.dirname(os.path.abspath(path)), f".{os.path.basename(path)}.{os.urandom(6).hex()}")
    try:
        with _files.refusals(path):
            _write_table(hidden, index, pair, _query_ids(source), report)
            _files.publish(hidden, path)
    finally:
        for name in (hidden, *_pair(stem)):
            with contextlib.suppress(OSError):
                os.unlink(name)
    return JoinResult(None, None, (path,), {**done, "output_bytes": os.path.getsize(path)})


def _query_ids(source: Any) -> Any:
    """Ids of the queries: an array, a list of strings, or None for their row numbers."""
    path = getattr(source, "path", None)
    if path is not None and not hasattr(source, "range_search"):
        info = _kith.Reader.open(path, format=source.format, id_column=source.id_column,
                                 name_column=source.name_column).info
        if info["ids"] == "row":
            return None  # without loading the file
    return None if source is None else source.ids


def _write_table(path: str, index: Index, pair: JoinResult, names: Any, report: Report | None) -> None:
    pa = _pyarrow()
    rows, distances = pair.rows, pair.distances
    assert rows is not None and distances is not None
    text = pair._strings
    id_type = pa.string() if text else pa.int64() if rows.dtype == np.int64 else pa.uint64()
    schema = pa.schema([("id", _id_type(pa, names)), ("ids", pa.list_(id_type)),
                        ("distances", pa.list_(pa.float32()))])
    step = max(1, BATCH_RESULTS // rows.shape[1])
    with pa.parquet.ParquetWriter(path, schema) as writer:
        for at in range(0, len(rows), step):
            part = slice(at, min(at + step, len(rows)))
            found = np.asarray(rows[part])
            there = found != found.dtype.type(-1) if found.dtype == np.int64 else found != np.uint64(2**64 - 1)
            ends = np.concatenate([[0], np.cumsum(np.count_nonzero(there, axis=1))]).astype(np.int32)
            kept = found[there]
            values = pa.array(text(kept), id_type) if text else pa.array(kept, id_type)
            near = pa.array(np.asarray(distances[part])[there])
            own = np.arange(part.start, part.stop) if names is None else names[part]
            writer.write_table(pa.Table.from_arrays([
                pa.array(own, schema.field("id").type), pa.ListArray.from_arrays(ends, values),
                pa.ListArray.from_arrays(ends, near)], schema=schema))
            if report and report("writing", part.stop, len(rows)):
                from ._errors import CancelledError

                raise CancelledError(f"{path}: writing was cancelled")


def _id_type(pa: Any, names: Any) -> Any:
    if names is None:
        return pa.int64()
    if isinstance(names, list) or names.dtype == object:
        return pa.string()
    return pa.uint64() if names.dtype == np.uint64 else pa.int64()
