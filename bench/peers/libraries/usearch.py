# SPDX-License-Identifier: Apache-2.0
"""USearch: HNSW over bfloat16."""
from typing import Any

import numpy as np

from ..base.module import BaseANN, choose

PACKAGE = "usearch"
ENTRIES = {
    "usearch-bf16": {"constructor": "USearch", "arguments": ["bf16", 24, 200],
                     "search": [[ef] for ef in (10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 400, 700)]},
}


class USearch(BaseANN):
    def __init__(self, metric: str, dtype: str, connectivity: int, expansion: int):
        from usearch.index import Index

        self.make, self.metric = Index, choose(metric, euclidean="l2sq", ip="ip")
        self.dtype, self.connectivity, self.expansion = dtype, connectivity, expansion
        self.name = f"USearch {dtype}"

    def fit(self, X: np.ndarray) -> None:
        self.index = self.make(ndim=X.shape[1], metric=self.metric, dtype=self.dtype, connectivity=self.connectivity,
                               expansion_add=self.expansion)
        self.index.add(np.arange(len(X)), X, threads=self.build_threads or 0)

    def set_query_arguments(self, *arguments: Any) -> None:
        (self.index.expansion_search,) = arguments

    def query(self, v: np.ndarray, n: int) -> np.ndarray:
        return self.index.search(v, n, threads=1).keys

    def batch_query(self, X: np.ndarray, n: int) -> None:
        self.res = self.index.search(X, n, threads=self.search_threads or 0)

    def get_batch_results(self) -> np.ndarray:
        return self.res.keys
