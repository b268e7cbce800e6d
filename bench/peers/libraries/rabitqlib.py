# SPDX-License-Identifier: Apache-2.0
"""RaBitQ-Library: SymphonyQG, a graph whose edges carry one-bit codes; the vectors in float32, or in 8 bits."""
import os
from typing import Any

import numpy as np

from ..base.module import BaseANN, choose

PACKAGE = "rabitqlib"
EF = [[ef] for ef in (10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 400, 700)]
ENTRIES = {
    "symqg": {"constructor": "SymQG", "arguments": [32, 0], "search": EF},
    "symqg-8bit": {"constructor": "SymQG", "arguments": [32, 8], "search": EF},
}


class SymQG(BaseANN):
    """degree: neighbours of a vertex, a multiple of 32. bits: of a stored vector's element; 0 keeps float32.

    Vectors of unit length are indexed by their distance, which orders them as the product does: its graph reaches more
    recall so (pictures at unit length: .28 by product and .82 by distance at the least effort; word vectors .959 and
    .966)."""

    def __init__(self, metric: str, degree: int, bits: int):
        import rabitqlib

        self.rabitqlib, self.degree, self.bits = rabitqlib, degree, bits
        self.metric = choose(metric, euclidean="l2", ip="ip")
        self.name = f"SymQG R={degree}" + (f", {bits} bits" if bits else "")

    def fit(self, X: np.ndarray) -> None:
        lengths = np.einsum("ij,ij->i", X, X)
        metric = "l2" if np.abs(lengths - 1).max() < 1e-2 else self.metric
        self.index = self.rabitqlib.SymqgIndex(X.shape[1], self.degree, metric, self.bits)
        self.index.build(X, 200, self.build_threads or os.cpu_count())

    def set_query_arguments(self, *arguments: Any) -> None:
        (self.ef,) = arguments

    def query(self, v: np.ndarray, n: int) -> np.ndarray:
        return self.index.search(v[None, :], n, max(self.ef, n), 1)[0][0]

    def batch_query(self, X: np.ndarray, n: int) -> None:
        self.res = self.index.search(X, n, max(self.ef, n), self.search_threads or os.cpu_count())[0]
