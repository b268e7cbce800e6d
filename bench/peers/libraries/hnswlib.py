# SPDX-License-Identifier: Apache-2.0
"""hnswlib: HNSW over float32, built on this machine with its own instruction set, as its package does."""
from typing import Any, Optional

import numpy as np

from ..base.module import BaseANN, choose

PACKAGE = "hnswlib"
ENTRIES = {
    "hnswlib": {"constructor": "Hnswlib", "arguments": [],
                "search": [[ef] for ef in (10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 400, 700)],
                "filters": [[ef] for ef in (10, 20, 40, 80, 160, 320, 640)]},
}


class Hnswlib(BaseANN):
    """M 16 below 200 dimensions and 24 from there, ef_construction 200. A filter is a function of Python, which the
    package calls for each row that it meets: the cheapest there is, a method of bytes."""

    name = "hnswlib"
    filter: Any = None

    def __init__(self, metric: str):
        import hnswlib

        self.hnswlib = hnswlib
        self.space = choose(metric, euclidean="l2", ip="ip")

    def fit(self, X: np.ndarray) -> None:
        rows, dim = X.shape
        self.index = self.hnswlib.Index(self.space, dim)
        self.index.init_index(rows, ef_construction=200, M=16 if dim < 200 else 24)
        self.index.add_items(X, num_threads=self.build_threads or -1)

    def set_query_arguments(self, *arguments: Any) -> None:
        (ef,) = arguments
        self.index.set_ef(ef)

    def set_filter(self, rows: Optional[np.ndarray]) -> None:
        self.filter = None
        if rows is not None:
            allowed = np.zeros(self.index.get_current_count(), dtype=np.uint8)
            allowed[rows] = 1
            self.filter = allowed.tobytes().__getitem__

    def query(self, v: np.ndarray, n: int) -> np.ndarray:
        if self.filter is None:
            return self.index.knn_query(v, n, num_threads=1)[0][0]
        try:
            return self.index.knn_query(v, n, num_threads=1, filter=self.filter)[0][0]
        except RuntimeError:  # it found fewer than n
            return np.empty(0, dtype=np.int64)

    def batch_query(self, X: np.ndarray, n: int) -> None:
        self.res = self.index.knn_query(X, n, num_threads=self.search_threads or -1)[0]
