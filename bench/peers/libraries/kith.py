# SPDX-License-Identifier: Apache-2.0
"""kith, for this bench and, unchanged, for ann-benchmarks: there it is ann_benchmarks/algorithms/kith/module.py."""
from typing import Any, Optional

import numpy as np

from ..base.module import BaseANN

PACKAGE = "./python"
# A setting is pairs of a keyword of Index.search and its value: ["target_recall", 0.9]. An index with lists or a graph
# is an entry of its own, whose argument is a dict of keywords of Index.build: [{"lists": 1024}].
ENTRIES = {
    "kith-exact": {"constructor": "Kith", "arguments": [], "search": [[]]},
}


class Kith(BaseANN):
    """An index in a temporary file. build: keywords of kith.Index.build."""

    build_threads: Optional[int] = None
    search_threads: Optional[int] = None

    def __init__(self, metric: str, build: Optional[dict[str, Any]] = None):
        import kith

        names = {"euclidean": "l2", "angular": "cosine", "ip": "ip"}
        if metric not in names:
            raise NotImplementedError(f"this adapter knows the metrics {', '.join(names)}, not {metric!r}")
        self.kith, self.metric = kith, names[metric]
        self.build = dict(build or {})
        self.search: dict[str, Any] = {}
        self.index: Any = None
        self.name = self._name()

    def _name(self) -> str:
        words = [f"{key}={value}" for key, value in {**self.build, **self.search}.items()]
        return f"kith({', '.join(words) or 'exact'})"

    def fit(self, X: np.ndarray) -> None:
        X = np.ascontiguousarray(X, dtype=np.float32)
        self.index = self.kith.Index.build(X, metric=self.metric, threads=self.build_threads, progress=False,
                                           **self.build)

    def set_query_arguments(self, *arguments: Any) -> None:
        self.search = dict(zip(arguments[::2], arguments[1::2]))
        self.name = self._name()

    def query(self, v: np.ndarray, n: int) -> np.ndarray:
        return self.index.search(v, n, threads=self.search_threads, **self.search).ids

    def batch_query(self, X: np.ndarray, n: int) -> None:
        self.res = self.index.search(X, n, threads=self.search_threads, **self.search).ids

    def get_batch_results(self) -> np.ndarray:
        return self.res

    def done(self) -> None:
        if self.index is not None:
            self.index.close()
            self.index = None

    def __str__(self) -> str:
        return self.name
