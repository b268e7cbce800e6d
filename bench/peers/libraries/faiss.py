# SPDX-License-Identifier: Apache-2.0
"""Faiss: the flat index (exact), IVF with 4-bit product quantisation scanned in registers and refined, IVF over
float32, and HNSW. The last two take filters, as bitmaps."""
from typing import Any, Optional

import numpy as np

from ..base.module import BaseANN, choose

PACKAGE = "faiss-cpu"
ENTRIES = {
    "faiss-flat": {"constructor": "Flat", "arguments": [], "search": [[]]},
    "faiss-ivfpq": {"constructor": "FastScan", "arguments": [],
                    "search": [[probes, factor] for factor in (5, 20) for probes in (4, 8, 16, 32, 64, 128, 256)]},
    "faiss-ivf": {"constructor": "IVF", "arguments": [], "search": [[probes] for probes in (2, 4, 8, 16, 32, 64, 128)],
                  "filters": [[probes] for probes in (4, 8, 16, 32, 64, 128, 256)]},
    "faiss-hnsw": {"constructor": "HNSW", "arguments": [32, 200],
                   "search": [[ef] for ef in (10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 400, 700)],
                   "filters": [[ef] for ef in (10, 20, 40, 80, 160, 320, 640)]},
}


class Faiss(BaseANN):
    """What the three indexes share. Subclasses make self.index in fit."""

    def __init__(self, metric: str):
        import faiss

        self.faiss = faiss
        self.metric = choose(metric, euclidean=faiss.METRIC_L2, ip=faiss.METRIC_INNER_PRODUCT)
        self.index: Any = None
        self.selector: Any = None  # of the rows that may be found
        self.bits: Any = None  # what it points at
        self.params: Any = None  # of searches, where there is a selector

    def create(self, rows: int, dim: int) -> Any:
        raise NotImplementedError

    def fit(self, X: np.ndarray) -> None:
        if self.build_threads:
            self.faiss.omp_set_num_threads(self.build_threads)
        self.index = self.create(*X.shape)
        self.train(X)
        self.index.add(X)
        if self.search_threads:
            self.faiss.omp_set_num_threads(self.search_threads)

    def train(self, X: np.ndarray) -> None:
        """Nothing, where an index needs no training."""

    def parameters(self) -> Any:
        """What a filtered search is told beside the query."""
        raise NotImplementedError

    def set_filter(self, rows: Optional[np.ndarray]) -> None:
        self.selector = None
        if rows is not None:
            allowed = np.zeros(self.index.ntotal, dtype=np.uint8)
            allowed[rows] = 1
            self.bits = np.packbits(allowed, bitorder="little")
            self.selector = self.faiss.IDSelectorBitmap(self.bits)
        self.params = None if rows is None else self.parameters()

    def query(self, v: np.ndarray, n: int) -> np.ndarray:
        if self.params is not None:
            return self.index.search(v[None, :], n, params=self.params)[1][0]
        return self.index.search(v[None, :], n)[1][0]

    def batch_query(self, X: np.ndarray, n: int) -> None:
        self.res = self.index.search(X, n)[1]


class Flat(Faiss):
    name = "Faiss flat"

    def create(self, rows: int, dim: int) -> Any:
        return self.faiss.IndexFlat(dim, self.metric)


class FastScan(Faiss):
    """IVF with 4 sqrt(n) lists; 4 bits for every two dimensions; the k_factor * k best scored again in float32."""

    name = "Faiss IVF-PQ fast scan + refine"

    def create(self, rows: int, dim: int) -> Any:
        lists = max(1, int(4 * rows ** 0.5))
        parts = max(m for m in range(1, max(2, dim // 2 + 1)) if dim % m == 0)
        return self.faiss.index_factory(dim, f"IVF{lists},PQ{parts}x4fsr,RFlat", self.metric)

    def train(self, X: np.ndarray) -> None:
        lists = self.faiss.extract_index_ivf(self.index).nlist
        sample = np.sort(np.random.default_rng(0).permutation(len(X))[:lists * 40])
        self.index.train(X[sample])

    def set_query_arguments(self, *arguments: Any) -> None:
        probes, factor = arguments
        self.faiss.extract_index_ivf(self.index).nprobe = probes
        self.index.k_factor = factor


class IVF(Faiss):
    """IVF with 2 sqrt(n) lists of the vectors themselves."""

    name = "Faiss IVF"

    def create(self, rows: int, dim: int) -> Any:
        return self.faiss.index_factory(dim, f"IVF{max(1, int(2 * rows ** 0.5))},Flat", self.metric)

    def train(self, X: np.ndarray) -> None:
        sample = np.sort(np.random.default_rng(0).permutation(len(X))[:self.index.nlist * 40])
        self.index.train(X[sample])

    def set_query_arguments(self, *arguments: Any) -> None:
        (self.index.nprobe,) = arguments
        self.params = None if self.selector is None else self.parameters()

    def parameters(self) -> Any:
        return self.faiss.SearchParametersIVF(nprobe=self.index.nprobe, sel=self.selector)


class HNSW(Faiss):
    name = "Faiss HNSW"

    def __init__(self, metric: str, neighbours: int, construction: int):
        super().__init__(metric)
        self.neighbours, self.construction = neighbours, construction

    def create(self, rows: int, dim: int) -> Any:
        index = self.faiss.IndexHNSWFlat(dim, self.neighbours, self.metric)
        index.hnsw.efConstruction = self.construction
        return index

    def set_query_arguments(self, *arguments: Any) -> None:
        (self.index.hnsw.efSearch,) = arguments
        self.params = None if self.selector is None else self.parameters()

    def parameters(self) -> Any:
        return self.faiss.SearchParametersHNSW(efSearch=self.index.hnsw.efSearch, sel=self.selector)
