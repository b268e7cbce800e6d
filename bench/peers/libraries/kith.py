# SPDX-License-Identifier: Apache-2.0
"""kith, for this bench and, unchanged, for ann-benchmarks: there it is ann_benchmarks/algorithms/kith/module.py."""
import os
import re
import tempfile
import time
from typing import Any, Optional

import numpy as np

from ..base.module import BaseANN

PACKAGE = "./python"
# A setting is pairs of a keyword of Index.search and its value: ["target_recall", 0.9]. An entry is an index; its
# argument is a dict of keywords of Index.build. Only the entry that asks for a recall needs a calibration.
PROBES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


def grid(rerank: tuple[int, ...], **more: str) -> list[list[Any]]:
    """Settings of plan ivf: lists that are looked at, and candidates that get their true distance."""
    fixed = [word for pair in more.items() for word in pair]
    return [["nprobe", probes, "rerank", best, *fixed] for best in rerank for probes in PROBES]


def efforts(plan: str, *values: int, word: str = "effort") -> list[list[Any]]:
    """Settings of a plan with one number."""
    return [["plan", plan, word, value] for value in values]


UNTUNED = {"lists": "auto", "graph": False, "calibrate": False}
EF = (10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 400, 700)
SLACK = (5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 450, 700)  # thousandths that a walk looks farther than its best
BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
ENTRIES = {
    "kith-exact": {"constructor": "Kith", "arguments": [UNTUNED], "search": [[]]},
    "kith-recall": {"constructor": "Kith", "arguments": [{"lists": "auto"}],
                    "search": [["target_recall", recall] for recall in (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)],
                    "filters": [["target_recall", recall] for recall in (0.8, 0.9, 0.95, 0.98, 0.99)]},
    # The same, copied to memory with huge pages when it is opened, where what others keep lies too.
    "kith-resident": {"constructor": "Kith", "arguments": [{"lists": "auto", "resident": "all"}],
                      "search": [["target_recall", recall] for recall in (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)]},
    "kith-ivf": {"constructor": "Kith", "arguments": [UNTUNED], "search": grid((10, 20), scan_code="int8")},
    "kith-ivf-first": {"constructor": "Kith", "arguments": [UNTUNED], "search": grid((16, 24, 48), scan_code="first")},
    "kith-ivf-pq": {"constructor": "Kith", "arguments": [{**UNTUNED, "code": "pq:d/2x4"}],
                    "search": grid((50, 150), scan_code="second")},
    "kith-ivf-pq-small": {"constructor": "Kith", "arguments": [{**UNTUNED, "code": "pq:d/4x4"}],
                          "search": grid((100, 400), scan_code="second")},
    "kith-graph": {"constructor": "Kith", "arguments": [{"index": "graph", "lists": "auto", "calibrate": False}],
                   "search": efforts("graph", *SLACK), "filters": efforts("graph", *SLACK[2::2])},
    "kith-graph-lean": {"constructor": "Kith", "arguments": [{"index": "graph", "lists": "auto", "lean": True,
                                                              "calibrate": False}],
                        "search": efforts("graph", *SLACK)},
    "kith-hnsw": {"constructor": "Kith", "arguments": [{"index": "hnsw", "hnsw_m": "16 or 24", "calibrate": False}],
                  "search": efforts("hnsw", *EF), "filters": efforts("hnsw", *EF[::2])},
    "kith-lsh": {"constructor": "Kith", "arguments": [{"index": "lsh", "calibrate": False}],
                 "search": efforts("lsh", *BUCKETS)},
    "kith-pq": {"constructor": "Kith", "arguments": [{"index": "pq", "code": "pq:d/2x4", "calibrate": False}],
                "search": efforts("pq", 10, 20, 50, 100, 200, 500, 1000, word="rerank")},
    # Of vectors that are 0 and 1 and nothing else, as bits; their l2 is the hamming distance.
    "kith-bits": {"constructor": "KithBits", "arguments": [{"index": "flat"}], "search": [[]], "named": True},
    "kith-bits-lsh": {"constructor": "KithBits", "arguments": [{"index": "lsh", "calibrate": False}],
                      "search": efforts("lsh", *BUCKETS), "named": True},
    "kith-bits-hnsw": {"constructor": "KithBits", "arguments": [{"index": "hnsw", "calibrate": False}],
                       "search": efforts("hnsw", *EF), "named": True},
}


def second_code(code: str, dim: int) -> str:
    """"pq:d/2x4" with the number of sub-quantisers for d: the most that divide d and are no more than d/2."""
    def parts(found: re.Match[str]) -> str:
        return str(max(m for m in range(1, max(2, dim // int(found[1]) + 1)) if dim % m == 0))

    return re.sub(r"d/(\d+)", parts, code)


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
        self.keywords: tuple[int, dict[str, Any]] = (0, {})
        self.index: Any = None
        self.allow: Any = None
        self.name = self._name()

    def _name(self) -> str:
        words = [f"{key}={value}" for key, value in {**self.build, **self.search}.items() if key != "calibrate"]
        return f"kith({', '.join(words) or 'exact'})"

    def fit(self, X: np.ndarray) -> None:
        X = np.ascontiguousarray(X, dtype=np.float32)
        build = dict(self.build)
        if "code" in build:
            build["code"] = second_code(build["code"], X.shape[1])
        if build.get("hnsw_m") == "16 or 24":
            build["hnsw_m"] = 16 if X.shape[1] < 200 else 24  # as hnswlib beside it
        resident = build.pop("resident", "none")
        self.index = self.kith.Index.build(X, metric=self.metric, threads=self.build_threads, progress=False, **build)
        if resident != "none":
            self._reopen(X[0], resident)

    def _reopen(self, query: np.ndarray, resident: str) -> None:
        """The same index with copies in memory, once searches read them."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "resident.kith")
            self.index.save(path)
            self.index.close()
            self.index = self.kith.open(path, resident=resident)
        while not self.index.search(query, 1).explain["hot"]:
            time.sleep(0.01)

    def set_query_arguments(self, *arguments: Any) -> None:
        self.search = dict(zip(arguments[::2], arguments[1::2]))
        self.keywords = (0, {})
        self.name = self._name()

    def set_filter(self, rows: Optional[np.ndarray]) -> None:
        """From now on only these rows may be found; None: all."""
        self.allow = None if rows is None else self.index.filter(rows)
        self.keywords = (0, {})

    def _keywords(self, n: int) -> dict[str, Any]:
        """Of Index.search for n neighbours, of which as many at least are scored again."""
        if self.keywords[0] != n:
            more = {"rerank": max(n, self.search["rerank"])} if "rerank" in self.search else {}
            if self.search.get("scan_code") == "first" and not self.index.info["first_level_dim"]:
                more["scan_code"] = "int8"  # vectors of few dimensions have no first level
            if self.allow is not None:
                more["allow"] = self.allow
            self.keywords = (n, {"threads": self.search_threads, **self.search, **more})
        return self.keywords[1]

    def query(self, v: np.ndarray, n: int) -> np.ndarray:
        return self.index.search(v, n, **self._keywords(n)).ids

    def batch_query(self, X: np.ndarray, n: int) -> None:
        self.res = self.index.search(X, n, **self._keywords(n)).ids

    def get_batch_results(self) -> np.ndarray:
        return self.res

    def done(self) -> None:
        if self.index is not None:
            self.index.close()
            self.index = None

    def __str__(self) -> str:
        return self.name


class KithBits(Kith):
    """Vectors of zeros and ones, packed. Those of queries are packed before they are asked, where the caller lets them
    be converted."""

    def fit(self, X: np.ndarray) -> None:
        if self.metric != "l2" or not np.isin(X, (0, 1)).all():
            raise NotImplementedError("bits are zeros and ones, and their distance is l2")
        self.index = self.kith.Index.build(self.convert(X), metric="hamming", dtype="b1", threads=self.build_threads,
                                           progress=False, **self.build)

    def convert(self, X: np.ndarray) -> np.ndarray:
        return np.packbits(X.astype(bool), axis=1)

    def query(self, v: np.ndarray, n: int) -> np.ndarray:
        return super().query(v if v.dtype == np.uint8 else self.convert(v[None, :])[0], n)

    def batch_query(self, X: np.ndarray, n: int) -> None:
        super().batch_query(X if X.dtype == np.uint8 else self.convert(X), n)
