# SPDX-License-Identifier: Apache-2.0
"""VSAG: HGraph over 8-bit codes, re-ranked in float32. Its Python package takes one query a call."""
import json
import os
from typing import Any

import numpy as np

from ..base.module import BaseANN, choose

PACKAGE = "pyvsag"
ENTRIES = {
    "vsag-hgraph": {"constructor": "HGraph", "arguments": ["sq8_uniform", 32, 300],
                    "search": [[ef] for ef in (10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 400, 700)]},
}


class HGraph(BaseANN):
    def __init__(self, metric: str, codes: str, degree: int, construction: int):
        import pyvsag

        pyvsag.set_logger_off()
        self.make, self.metric = pyvsag.Index, choose(metric, euclidean="l2", ip="ip")
        self.codes, self.degree, self.construction = codes, degree, construction
        self.name = f"VSAG HGraph {codes}"

    def fit(self, X: np.ndarray) -> None:
        rows, dim = X.shape
        index = {"base_quantization_type": self.codes, "use_reorder": True, "precise_quantization_type": "fp32",
                 "max_degree": self.degree, "ef_construction": self.construction,
                 "build_thread_count": self.build_threads or os.cpu_count()}
        self.index = self.make("hgraph", json.dumps({"dtype": "float32", "metric_type": self.metric, "dim": dim,
                                                     "index_param": index}))
        self.index.build(vectors=X.reshape(-1), ids=np.arange(rows, dtype=np.int64), num_elements=rows, dim=dim)

    def set_query_arguments(self, *arguments: Any) -> None:
        (ef,) = arguments
        self.parameters = json.dumps({"hgraph": {"ef_search": ef}})

    def query(self, v: np.ndarray, n: int) -> np.ndarray:
        return self.index.knn_search(vector=v, k=n, parameters=self.parameters)[0]
