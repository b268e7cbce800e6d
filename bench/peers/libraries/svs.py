# SPDX-License-Identifier: Apache-2.0
"""Intel's Scalable Vector Search: a Vamana graph over LVQ codes, over LeanVec's reduced dimensions, and over float16.

Its compressed loaders take files alone, so fit writes one, and its time counts: it is what a user of the package waits
for. The package refuses both compressions on processors that are not Intel's; float16 is left there.
"""
import os
import tempfile
from typing import Any

import numpy as np

from ..base.module import BaseANN, choose

PACKAGE = "scalable-vs"
WINDOWS = [[window] for window in (10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 400, 700)]
ENTRIES = {
    "svs-lvq": {"constructor": "SVS", "arguments": ["lvq"], "search": WINDOWS},
    "svs-leanvec": {"constructor": "SVS", "arguments": ["leanvec"], "search": WINDOWS},
    "svs-f16": {"constructor": "SVS", "arguments": ["f16"], "search": WINDOWS},
}


class SVS(BaseANN):
    """Degree 64, window 200. lvq: 4 bits and 8 of residual above 200 dimensions, 8 bits below. leanvec: half of the
    dimensions in 4 bits to walk the graph, all of them in 8 to rank. f16: no compression beyond float16."""

    def __init__(self, metric: str, compression: str):
        import svs

        self.svs, self.compression = svs, compression
        self.distance = choose(metric, euclidean=svs.DistanceType.L2, ip=svs.DistanceType.MIP)
        self.alpha = choose(metric, euclidean=1.2, ip=0.95)
        self.name = {"lvq": "SVS LVQ", "leanvec": "SVS LeanVec", "f16": "SVS float16"}[compression]

    def loader(self, data: Any, dim: int) -> Any:
        if self.compression == "lvq":
            primary, residual = (4, 8) if dim > 200 else (8, 0)
            return self.svs.LVQLoader(data, primary=primary, residual=residual)
        kinds = self.svs.LeanVecKind
        return self.svs.LeanVecLoader(data, max(dim // 2 // 32 * 32, min(dim, 32)), primary_kind=kinds.lvq4,
                                      secondary_kind=kinds.lvq8)

    def fit(self, X: np.ndarray) -> None:
        threads = self.build_threads or os.cpu_count()
        parameters = self.svs.VamanaBuildParameters(graph_max_degree=64, window_size=200, alpha=self.alpha)
        build, dim = self.svs.Vamana.build, X.shape[1]
        if self.compression == "f16":
            self.index = build(parameters, X.astype(np.float16), self.distance, num_threads=threads)
        else:
            with tempfile.TemporaryDirectory(prefix="peers-svs-") as folder:
                path = os.path.join(folder, "base.fvecs")
                self.svs.write_vecs(X, path)
                data = self.svs.VectorDataLoader(path, self.svs.DataType.float32, dims=dim)
                self.index = build(parameters, self.loader(data, dim), self.distance, num_threads=threads)
        self.index.num_threads = self.search_threads or threads

    def set_query_arguments(self, *arguments: Any) -> None:
        (self.index.search_window_size,) = arguments

    def query(self, v: np.ndarray, n: int) -> np.ndarray:
        return self.index.search(v, n)[0][0]

    def batch_query(self, X: np.ndarray, n: int) -> None:
        self.res = self.index.search(X, n)[0]
