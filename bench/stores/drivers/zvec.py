# SPDX-License-Identifier: Apache-2.0
"""zvec: HNSW over float32, fields with inverted indexes. The graph of what was written waits for optimize()."""
from __future__ import annotations

import pathlib
from typing import Any, Optional

import numpy as np

from . import Store, Where

PACKAGE = "zvec"
KIND = "peer"


class Driver(Store):
    """Graph parameters are the library's own. Its ids are texts."""

    settings = (16, 32, 64, 128, 256, 512)
    begun = False

    def __init__(self, threads: int):
        super().__init__(threads)
        import zvec

        self.library = zvec
        if not Driver.begun:  # it can be told once in a process
            zvec.init(query_threads=threads, optimize_threads=threads)
            Driver.begun = True

    def create(self, folder: pathlib.Path, dim: int, fields: dict[str, str], synced: bool, small: bool = False) -> None:
        lib = self.library
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.synced = synced
        kinds = {"float": lib.DataType.DOUBLE, "int": lib.DataType.INT64, "tag": lib.DataType.STRING}
        columns = [lib.FieldSchema(name, kinds[kind], nullable=False, index_param=lib.InvertIndexParam(
            enable_range_optimization=kind != "tag")) for name, kind in fields.items()]
        vector = lib.VectorSchema("vector", lib.DataType.VECTOR_FP32, dim,
                                  index_param=lib.HnswIndexParam(metric_type=lib.MetricType.IP))
        self.store = lib.create_and_open(str(folder), lib.CollectionSchema("items", fields=columns, vectors=[vector]))

    def write(self, ids: np.ndarray, X: np.ndarray, payloads: Any) -> None:
        docs = [self.library.Doc(str(i), fields=p, vectors={"vector": x})
                for i, x, p in zip(ids.tolist(), X.tolist(), payloads)]
        for at in range(0, len(docs), 1000):
            for status in self.store.upsert(docs[at:at + 1000]):
                if not status.ok():
                    raise RuntimeError(f"upsert: {status.message()}")
        if self.synced:
            self.store.flush()

    def remove(self, ids: np.ndarray) -> None:
        self.store.delete([str(i) for i in ids.tolist()])

    def settle(self) -> None:
        self.store.optimize(self.library.OptimizeOption(concurrency=self.threads))
        self.store.flush()

    def prepare(self, where: Optional[Where]) -> Any:
        if where is None:
            return None
        if where.kind == "in":
            return f"{where.field} in ({', '.join(map(str, where.value))})"
        return f"{where.field} < {where.value!r}" if where.kind == "below" else f"{where.field} = '{where.value}'"

    def search(self, q: np.ndarray, k: int, setting: Any, where: Any = None) -> Any:
        lib = self.library
        query = lib.Query("vector", vector=q, param=lib.HnswQueryParam(ef=max(setting, k)))
        found = self.store.query(query, topk=k, filter=where, output_fields=[])
        return [int(doc.id) for doc in found]

    def close(self) -> None:
        self.store.close()

    def open(self, folder: pathlib.Path) -> None:
        self.store = self.library.open(str(folder))
