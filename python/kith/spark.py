# SPDX-License-Identifier: Apache-2.0
"""Joins and builds on PySpark: all users against all items, on a cluster. Needs pyspark 4.1 or later, and pyarrow.

>>> import kith.spark                                                             # doctest: +SKIP
>>> shards = kith.spark.build("items/", "tonight/", shards=8, metric="ip")        # doctest: +SKIP
>>> found = kith.spark.knn_join("users/", "tonight/", k=50, target_recall=0.95)   # doctest: +SKIP
>>> found.write.parquet("recommendations/")                                       # doctest: +SKIP

docs/offline.md has the whole of it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from . import _errors
from ._errors import ArgumentError, UnsupportedError
from ._offline.building import build as _build
from ._offline.building import threads_of
from ._offline.columns import Names, pa
from ._offline.generation import next_generation as _next_generation
from ._offline.joining import knn_join as _knn_join
from ._offline.shards import Shards
from ._offline.shards import load as shards

try:
    from pyspark.errors import PythonException
    from pyspark.sql import DataFrame, SparkSession
except ImportError as error:
    raise ImportError(f"kith.spark needs the package pyspark: {error}") from error

__all__ = ["Shards", "build", "knn_join", "next_generation", "shards"]


def build(items: Any, path: Any, *, shards: int = 1, by: str = "hash", id: str = "id", vector: str = "vector",
          segment: str | None = None, metric: str = "l2", threads: int = 1, seed: int = 0, replace: bool = False,
          **options: Any) -> Shards:
    """Build an index of items as a folder of shards, in parallel, now.

    items
        Paths of Parquet files or folders of them (a list of paths too), anything that fsspec reaches; or a DataFrame.
        One column of ids, integers or strings that all differ; one of vectors, lists of numbers.
    path
        The folder, which all workers must reach. It must not hold shards already, unless `replace`.
    shards
        How many index files. One holds some ten million vectors on machines with enough memory for it.
    by
        ``"hash"`` of the id: shards of one size. ``"cluster"``: what is near lies together. ``"segment"``: each segment
        in one shard, for joins by segment.
    id, vector, segment
        Names of the columns.
    metric, options
        As of :meth:`kith.Index.build`, for each shard: dtype, index, lists, code, memory and so on.
    threads
        Of a shard's build; as many as ``spark.task.cpus`` is set to.
    seed
        Equal items, options and threads give files of equal bytes.

    Returns the shards, whose ``path`` a join takes. DataError names the file and the row of what is refused.
    """
    return _build(_Spark(), items, path, shards, by, Names(id, vector, segment if by == "segment" else None), metric,
                  threads_of(threads), seed, replace, options)


def knn_join(queries: Any, items: Any, k: int = 10, *, target_recall: float | None = None, by: str | None = None,
             id: str = "id", vector: str = "vector", segment: str | None = None, threads: int = 1,
             tasks: int | None = None) -> DataFrame:
    """The k nearest items of each query, as a DataFrame that is computed when it is written or read.

    queries
        Paths of Parquet files or folders of them, or a DataFrame: a column of ids, one of vectors. With several shards
        ids must differ.
    items
        The path of an index or of a folder of shards, or what :func:`build` returned. Workers open files by path, once
        a process, mapped; what is no file of their machine they copy once a machine.
    k
        1 to 10,000.
    target_recall
        The share of the true neighbours that should be found, as of :meth:`kith.Index.search`, asked of each shard;
        None: all, to the bit what one index of all items finds.
    by
        ``"segment"``: each query among the items of its own segment; `segment` names the queries' column. A segment
        without items has empty lists.
    id, vector
        Names of the queries' columns.
    threads
        Of a search; as many as ``spark.task.cpus`` is set to.
    tasks
        Parts in which shards' results are merged, or queries of segments searched; None: by the number of rows.

    The result has the columns id, ids and distances (lists, nearest first, ties by id; shorter than k where there are
    fewer items), by segment also segment. A failure on a worker names the file and the row.
    """
    return _knn_join(_Spark(), queries, items, k, target_recall, by, Names(id, vector, segment), threads_of(threads),
                     tasks)


def next_generation(vectors: Any, collection: Any, *, model: str, id: str = "id", vector: str = "vector",
                    name: str | None = None, min_share: float = 1.0, min_recall: float = 0.0,
                    min_overlap: float = 0.0, drop_previous: bool = False, flip: bool = True) -> dict[str, Any]:
    """Let new vectors be the next generation of a collection: written beside the current one, validated, made current.

    vectors
        Paths of Parquet files, or a DataFrame: ids of items that the collection has, and their new vectors.
    collection
        A :class:`kith.Collection`, or what :func:`kith.connect` gave. It is written from here, batch by batch.
    model, name
        The model of the new generation; which named vector it is about, where there are several.
    min_share, min_recall, min_overlap
        What :meth:`kith.Collection.flip` requires. Where it refuses, the new generation is dropped again, as it is
        when anything else fails.
    drop_previous
        True: the generation that is current no more is dropped; there is no way back to it then.
    flip
        False: leave it to be looked at, and flipped later.

    Returns what the flip, or the check without it, tells, and ``generation``, ``updated`` and ``missing`` (vectors of
    ids that the collection does not have, which are left out).
    """
    return _next_generation(_Spark(), vectors, collection, model, Names(id, vector), name,
                            (min_share, min_recall, min_overlap), drop_previous, flip)


WORDS = {pa.int32(): "int", pa.int64(): "bigint", pa.string(): "string", pa.binary(): "binary", pa.float32(): "float"}
TYPES = {"byte": pa.int8(), "short": pa.int16(), "integer": pa.int32(), "long": pa.int64(), "string": pa.string(),
         "float": pa.float32(), "double": pa.float64()}


class _Spark:
    """Frames are Spark's data frames."""

    wide_numbers = False  # Spark has no unsigned integers

    def __init__(self) -> None:
        session = SparkSession.getActiveSession()
        self.session = session if session is not None else SparkSession.builder.getOrCreate()

    def cores(self) -> int:
        return max(1, int(self.session.sparkContext.defaultParallelism))

    def tasks(self, count: int) -> Any:
        return self.session.range(0, count, 1, count)

    def accept(self, given: Any, columns: list[str], what: str) -> Any:
        if not isinstance(given, DataFrame):
            raise TypeError(f"{what} must be a DataFrame or paths of Parquet files, not {given!r:.100}")
        for name in columns:
            if name not in given.columns:
                raise ArgumentError(f"{what}: has no column {name!r}; it has {', '.join(given.columns)}")
        return given.select(*columns)

    def kind(self, frame: Any, column: str) -> Any:
        kind = frame.schema[column].dataType
        if kind.typeName() == "array" and kind.elementType.typeName() in TYPES:
            return pa.list_(TYPES[kind.elementType.typeName()])
        found = TYPES.get(kind.typeName())
        if found is None:
            raise UnsupportedError(f"column {column!r} is of type {kind.simpleString()}; integers, strings, or arrays "
                                   "of numbers were expected")
        return found

    def map(self, frame: Any, work: Any, columns: Any, threads: int = 1) -> Any:
        return frame.mapInArrow(_named(work), ", ".join(f"`{name}` {_word(kind)}" for name, kind in columns.items()))

    def shuffle(self, frame: Any, column: str, parts: int) -> Any:
        return frame.repartitionById(parts, frame[column])

    def union(self, frames: list[Any]) -> Any:
        found = frames[0]
        for frame in frames[1:]:
            found = found.unionByName(frame)
        return found

    def sample(self, frame: Any, rows: int) -> Any:
        with _kith_errors():
            return frame.limit(rows).toArrow()

    def collect(self, frame: Any, stage: str) -> Any:
        with _kith_errors(), self._stage(stage):
            return frame.toArrow()

    def batches(self, frame: Any, stage: str) -> Iterator[Any]:
        """By way of rows that hold a batch each, as Spark hands out rows one by one."""
        packed = frame.mapInArrow(_pack, "batch binary")
        with _kith_errors(), self._stage(stage):
            for row in packed.toLocalIterator(prefetchPartitions=True):
                yield from pa.ipc.open_stream(bytes(row.batch))

    @contextlib.contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """What Spark's page calls the jobs that are run now."""
        self.session.sparkContext.setJobDescription(name)
        try:
            yield
        finally:
            self.session.sparkContext.setJobDescription(None)


def _word(kind: Any) -> str:
    """What Spark calls an Arrow type."""
    if pa.types.is_list(kind):
        return f"array<{_word(kind.value_type)}>"
    if kind not in WORDS:
        raise UnsupportedError(f"Spark has no type for {kind}: cast the column of ids or segments")
    return WORDS[kind]


def _named(work: Any) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """A function with the name that Spark's page shows."""
    def run(batches: Iterator[Any]) -> Iterator[Any]:
        for batch in work(batches):
            yield from [batch] if isinstance(batch, pa.RecordBatch) else batch.to_batches()

    run.__name__ = run.__qualname__ = work.title.replace(" ", "_")
    return run


def _pack(batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        yield pa.RecordBatch.from_arrays([pa.array([sink.getvalue().to_pybytes()], pa.binary())], ["batch"])


@contextlib.contextmanager
def _kith_errors() -> Iterator[None]:
    """An exception of kith's on a worker, which Spark hands on as text, is one again."""
    try:
        yield
    except PythonException as error:
        found = re.search(r"^kith(?:\._errors)?\.(\w+Error): (.*)$", str(error), re.MULTILINE)
        kind = getattr(_errors, found[1], None) if found else None
        if kind is None:
            raise
        raise kind(found[2]) from None
