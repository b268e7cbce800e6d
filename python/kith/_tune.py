# SPDX-License-Identifier: Apache-2.0
"""Calibration: what plans cost and find, measured and kept in the index file."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from . import _kith
from ._errors import ArgumentError
from ._options import whole
from ._progress import Progress, Report
from ._rows import make_reader

TUNED = np.dtype([("plan", "U8"), ("code", "U8"), ("k", np.int64), ("batch", np.int64), ("nprobe", np.int64),
                  ("rerank", np.int64), ("recall", np.float64), ("recall_error", np.float64),
                  ("query_seconds", np.float64), ("effort", np.int64)])
LEAST = 2  # queries


def tune(path: str | os.PathLike[str], queries: Any = None, *, most: int | None = None, seed: int = 0,
         threads: int | None = None, progress: bool | Report | None = None) -> None:
    """Measure the plans of an index against exact search, and store the frontier in the file: what searches with
    ``target_recall`` choose from.

    A build does this at its end with rows of its own; worth repeating with queries as they really come, when the file
    moves to another machine, and where a build was told ``calibrate=False``.

    Parameters
    ----------
    path
        The index file, which is replaced as a whole. Indexes that are open keep the old one: open it again, or use
        :meth:`Index.tune`.
    queries
        (q, d) vectors that are not in the index, as of :meth:`Index.build`: a few hundred or more. None: stored
        vectors, each of which is left out of the index meanwhile, together with its near-duplicates.
    most
        Queries measured at most; None: 1,000.
    seed
        Of the sample.
    threads
        None: :func:`kith.get_threads`. Costs are those of one thread always.
    progress
        As in :meth:`Index.build`.

    Raises
    ------
    UnsupportedError
        The index has one list, or no originals.
    DataError, ArgumentError
        Queries that are refused, too few or of another dimension.
    FileError, NoSpaceError, CorruptError, CancelledError, KeyboardInterrupt
        The file stays as it was.

    >>> import os, tempfile
    >>> X = np.random.default_rng(5).standard_normal((3000, 16), dtype=np.float32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "x.kith")
    ...     before = len(kith.Index.build(X, lists=20, calibrate=False, path=path).tuned)
    ...     kith.tune(path, most=100)
    ...     before, len(kith.open(path).tuned) > 0
    (0, True)
    """
    count = 0 if most is None else whole(most, "most", LEAST, 2**40)
    number = whole(seed, "seed", 0, 2**64 - 1)
    reader = None if queries is None else make_reader(queries, None, None, None)
    with Progress(progress) as watcher:
        _kith.tune(path, reader, count, number, threads, watcher.report)


def tune_open(index: Any, path: str, queries: Any, options: dict[str, Any]) -> None:
    """tune() for an open index, which takes over the new file."""
    before = _kith.Index(path, False)._info()["file_hash"]
    if before != index._info()["file_hash"]:
        raise ArgumentError(f"{path}: has been replaced since this index was opened: open it again")
    tune(path, queries, **options)
    index._become(_kith.Index(path, False))


def tuned(index: Any) -> np.ndarray:
    """The settings of an index's calibration as a structured array."""
    return np.array(index._tuned(), TUNED)
