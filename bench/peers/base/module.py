# SPDX-License-Identifier: Apache-2.0
"""The interface that ann-benchmarks asks of a library, under the same name and in the same place.

An adapter says `from ..base.module import BaseANN`, which finds this class here and theirs there.
"""
from __future__ import annotations

from typing import Any, Optional

import numpy as np


def resident_kib() -> dict[str, float]:
    """Resident memory of this process in KiB: 'total', and of it 'file' (mapped files) and 'anonymous'."""
    found = {}
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            name, _, rest = line.partition(":")
            if name in ("VmRSS", "RssFile", "RssAnon"):
                found[name] = float(rest.split()[0])
    return {"total": found["VmRSS"], "file": found["RssFile"], "anonymous": found["RssAnon"]}


class BaseANN:
    """A library with one index. The order of calls: the constructor, fit, then any number of times
    set_query_arguments and queries, then done.

    build_threads and search_threads are set by the runner before fit; None leaves the library's own default.
    """

    build_threads: Optional[int] = None
    search_threads: Optional[int] = None
    name = "BaseANN"
    res: Any = None

    def fit(self, X: np.ndarray) -> None:
        """Index the rows of X: float32, shape (n, d), C order."""
        raise NotImplementedError

    def set_query_arguments(self, *arguments: Any) -> None:
        """Choose what the following queries trade of recall for speed: one row of the adapter's settings."""

    def convert(self, X: np.ndarray) -> np.ndarray:
        """Queries as this library wants them; not timed. Not of ann-benchmarks."""
        return X

    def set_filter(self, rows: Optional[np.ndarray]) -> None:
        """From now on only these rows may be found, which ascend; None: all. Not of ann-benchmarks."""
        raise NotImplementedError(f"{self} has no filters here")

    def query(self, v: np.ndarray, n: int) -> np.ndarray:
        """The rows of the n nearest to v: float32, shape (d,)."""
        raise NotImplementedError

    def batch_query(self, X: np.ndarray, n: int) -> None:
        """Answer all rows of X: float32, shape (q, d). What came out is fetched with get_batch_results, so that its
        conversion is not timed. A library without a call for many queries gets them one by one."""
        self.res = [self.query(row, n) for row in X]

    def get_batch_results(self) -> Any:
        """The answers of the last batch_query: shape (q, n), or a list of rows."""
        return self.res

    def get_memory_usage(self) -> Optional[float]:
        """Resident memory of the process in KiB, or None where that is not known."""
        return resident_kib()["total"]

    def get_additional(self) -> dict[str, Any]:
        """What else is worth storing with a result."""
        return {}

    def done(self) -> None:
        """Let go of the index and its files."""

    def __str__(self) -> str:
        return self.name


def choose(metric: str, **names: Any) -> Any:
    """What a library calls this metric: choose("ip", euclidean="l2", ip="ip")."""
    if metric not in names:
        raise ValueError(f"metric {metric!r} is not one of {', '.join(names)}")
    return names[metric]
