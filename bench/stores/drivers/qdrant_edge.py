# SPDX-License-Identifier: Apache-2.0
"""Qdrant Edge: HNSW over float32, fields indexed, the user's index one of tenants. Indexing waits for optimize()."""
from __future__ import annotations

import pathlib
from typing import Any, Optional

import numpy as np

from . import Store, Where

PACKAGE = "qdrant-edge-py"
KIND = "peer"


class Driver(Store):
    settings = (16, 32, 64, 128, 256, 512)

    def __init__(self, threads: int):
        super().__init__(threads)
        import qdrant_edge

        self.library = qdrant_edge

    def create(self, folder: pathlib.Path, dim: int, fields: dict[str, str], synced: bool, small: bool = False) -> None:
        """Its own graph parameters; segments are indexed from some KB on, as small says."""
        lib, folder = self.library, folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        self.synced = synced
        limits = {"indexing_threshold": 1, "vacuum_min_vector_number": 100} if small else {}
        hnsw = lib.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=1 if small else 10_000,
                                   max_indexing_threads=self.threads)
        self.shard = lib.EdgeShard.create(str(folder), lib.EdgeConfig(
            vectors=lib.EdgeVectorParams(size=dim, distance=lib.Distance.Dot), hnsw_config=hnsw,
            optimizers=lib.EdgeOptimizersConfig(default_segment_number=1, **limits), max_search_threads=self.threads))
        kinds = {"float": lib.PayloadSchemaType.Float, "int": lib.PayloadSchemaType.Integer,
                 "tag": lib.PayloadSchemaType.Keyword}
        for name, kind in fields.items():
            schema = lib.KeywordIndexParams(is_tenant=True) if name == "user" else kinds[kind]
            self.shard.update(lib.UpdateOperation.create_field_index(name, schema))

    def write(self, ids: np.ndarray, X: np.ndarray, payloads: Any) -> None:
        lib = self.library
        points = [lib.Point(int(i), x, p) for i, x, p in zip(ids, X.tolist(), payloads)]
        self.shard.update(lib.UpdateOperation.upsert_points(points))
        if self.synced:
            self.shard.flush()

    def remove(self, ids: np.ndarray) -> None:
        self.shard.update(self.library.UpdateOperation.delete_points([int(i) for i in ids]))

    def settle(self) -> None:
        self.shard.optimize()
        self.shard.flush()

    def prepare(self, where: Optional[Where]) -> Any:
        if where is None:
            return None
        lib = self.library
        if where.kind == "below":
            condition = lib.FieldCondition(where.field, range=lib.RangeFloat(lt=where.value))
        else:
            match = lib.MatchAny(list(where.value)) if where.kind == "in" else lib.MatchValue(where.value)
            condition = lib.FieldCondition(where.field, match=match)
        return lib.Filter(must=[condition])

    def _request(self, q: np.ndarray, k: int, ef: int, where: Any) -> Any:
        lib = self.library
        return lib.QueryRequest(limit=k, query=lib.Query.Nearest(q.tolist()), filter=where,
                                params=lib.SearchParams(hnsw_ef=ef))

    def search(self, q: np.ndarray, k: int, setting: Any, where: Any = None) -> Any:
        return [point.id for point in self.shard.query(self._request(q, k, setting, where))]

    def search_batch(self, Q: np.ndarray, k: int, setting: Any) -> Any:
        batch = self.library.QueryBatchRequest([self._request(q, k, setting, None) for q in Q])
        return [[point.id for point in found] for found in self.shard.query_batch(batch)]

    def close(self) -> None:
        self.shard.close()

    def open(self, folder: pathlib.Path) -> None:
        self.shard = self.library.EdgeShard.load(str(folder.absolute()))
