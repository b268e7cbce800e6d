# SPDX-License-Identifier: Apache-2.0
"""Joins and builds on Ray Data: all users against all items, on a cluster. Needs ray[data] and pyarrow.

>>> import kith.ray                                                               # doctest: +SKIP
>>> shards = kith.ray.build("items/", "tonight/", shards=8, metric="ip")          # doctest: +SKIP
>>> found = kith.ray.knn_join("users/", "tonight/", k=50, target_recall=0.95)     # doctest: +SKIP
>>> found.write_parquet("recommendations/")                                       # doctest: +SKIP

docs/offline.md has the whole of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ._offline.building import build as _build
from ._offline.building import threads_of
from ._offline.columns import Names, pa
from ._offline.generation import next_generation as _next_generation
from ._offline.joining import knn_join as _knn_join
from ._offline.shards import Shards
from ._offline.shards import load as shards

try:
    import ray
    import ray.data
except ImportError as error:
    raise ImportError(f"kith.ray needs the package ray[data]: {error}") from error

__all__ = ["Shards", "build", "knn_join", "next_generation", "shards"]


def build(items: Any, path: Any, *, shards: int = 1, by: str = "hash", id: str = "id", vector: str = "vector",
          segment: str | None = None, metric: str = "l2", threads: int = 1, seed: int = 0, replace: bool = False,
          **options: Any) -> Shards:
    """Build an index of items as a folder of shards, in parallel, now.

    items
        Paths of Parquet files or folders of them (a list of paths too), anything that fsspec reaches; or a Dataset.
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
        Of a shard's build; a task asks Ray for as many cores.
    seed
        Equal items, options and threads give files of equal bytes.

    Returns the shards, whose ``path`` a join takes. DataError names the file and the row of what is refused.
    """
    return _build(_Ray(), items, path, shards, by, Names(id, vector, segment if by == "segment" else None), metric,
                  threads_of(threads), seed, replace, options)


def knn_join(queries: Any, items: Any, k: int = 10, *, target_recall: float | None = None, by: str | None = None,
             id: str = "id", vector: str = "vector", segment: str | None = None, threads: int = 1,
             tasks: int | None = None) -> Any:
    """The k nearest items of each query, as a Dataset that is computed when it is written or read.

    queries
        Paths of Parquet files or folders of them, or a Dataset: a column of ids, one of vectors. With several shards
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
        Of a search; a task asks Ray for as many cores.
    tasks
        Parts in which shards' results are merged, or queries of segments searched; None: by the number of rows.

    The result has the columns id, ids and distances (lists, nearest first, ties by id; shorter than k where there are
    fewer items), by segment also segment. A failure on a worker names the file and the row.
    """
    return _knn_join(_Ray(), queries, items, k, target_recall, by, Names(id, vector, segment), threads_of(threads),
                     tasks)


def next_generation(vectors: Any, collection: Any, *, model: str, id: str = "id", vector: str = "vector",
                    name: str | None = None, min_share: float = 1.0, min_recall: float = 0.0,
                    min_overlap: float = 0.0, drop_previous: bool = False, flip: bool = True) -> dict[str, Any]:
    """Let new vectors be the next generation of a collection: written beside the current one, validated, made current.

    vectors
        Paths of Parquet files, or a Dataset: ids of items that the collection has, and their new vectors.
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
    return _next_generation(_Ray(), vectors, collection, model, Names(id, vector), name,
                            (min_share, min_recall, min_overlap), drop_previous, flip)


class _Ray:
    """Frames are Ray's datasets."""

    wide_numbers = True

    def cores(self) -> int:
        if not ray.is_initialized():
            ray.init()
        return max(1, int(ray.cluster_resources().get("CPU", 1)))

    def tasks(self, count: int) -> Any:
        return ray.data.range(count, override_num_blocks=count)

    def accept(self, given: Any, columns: list[str], what: str) -> Any:
        if not isinstance(given, ray.data.Dataset):
            raise TypeError(f"{what} must be a ray.data.Dataset or paths of Parquet files, not {given!r:.100}")
        return given.select_columns(columns)

    def kind(self, frame: Any, column: str) -> Any:
        return (frame.schema(fetch_if_missing=False) or frame.schema()).base_schema.field(column).type

    def map(self, frame: Any, work: Any, columns: Any, threads: int = 1) -> Any:
        return frame.map_batches(_named(work, columns), batch_size=None, batch_format="pyarrow", zero_copy_batch=True,
                                 num_cpus=threads)

    def shuffle(self, frame: Any, column: str, parts: int) -> Any:
        return frame.repartition(parts, keys=[column])

    def union(self, frames: list[Any]) -> Any:
        return frames[0].union(*frames[1:])

    def sample(self, frame: Any, rows: int) -> Any:
        return self.collect(frame.limit(rows), "kith sample")

    def collect(self, frame: Any, stage: str) -> Any:
        batches = list(self.batches(frame, stage))
        return pa.Table.from_batches(batches) if batches else pa.table({})

    def batches(self, frame: Any, stage: str) -> Iterator[Any]:
        frame.set_name(stage.replace(" ", "_"))
        for table in frame.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from table.to_batches()


def _named(work: Any, columns: Any) -> Callable[[Any], Iterator[Any]]:
    """A function with the name that Ray's page shows."""
    schema = pa.schema(columns)

    def run(table: Any) -> Iterator[Any]:
        nothing = True
        for batch in work(iter([table])):
            nothing = False
            yield batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        if nothing:
            yield schema.empty_table()

    run.__name__ = run.__qualname__ = work.title.replace(" ", "_")
    return run
