# SPDX-License-Identifier: Apache-2.0
"""ScaNN: a tree of 2 sqrt(n) leaves, anisotropic 4-bit codes, and the best scored again in float32."""
import os
from typing import Any

import numpy as np

from ..base.module import BaseANN, choose

PACKAGE = "scann"
ENTRIES = {
    "scann": {"constructor": "ScaNN", "arguments": [],
              "search": [[leaves, reorder] for reorder in (30, 100, 250)
                         for leaves in (5, 10, 20, 40, 80, 160, 320)]},
}


class ScaNN(BaseANN):
    name = "ScaNN"

    def __init__(self, metric: str):
        from scann.scann_ops.py import scann_ops_pybind  # not scann itself, whose import may look for TensorFlow

        self.scann, self.inner = scann_ops_pybind, choose(metric, euclidean=False, ip=True)

    def fit(self, X: np.ndarray) -> None:
        builder = self.scann.builder(X, 10, "dot_product" if self.inner else "squared_l2")
        builder = builder.set_n_training_threads(self.build_threads or os.cpu_count())
        builder = builder.tree(max(1, int(2 * len(X) ** 0.5)), 1, training_sample_size=min(len(X), 200_000),
                               spherical=self.inner, quantize_centroids=True)
        if self.inner:
            builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2)
        else:
            builder = builder.score_ah(2)
        self.index = builder.reorder(1).build()

    def set_query_arguments(self, *arguments: Any) -> None:
        self.leaves, self.reorder = arguments

    def query(self, v: np.ndarray, n: int) -> np.ndarray:
        return self.index.search(v, n, max(self.reorder, n), self.leaves)[0]

    def batch_query(self, X: np.ndarray, n: int) -> None:
        search = self.index.search_batched if self.search_threads == 1 else self.index.search_batched_parallel
        self.res = search(X, n, max(self.reorder, n), self.leaves)[0]
