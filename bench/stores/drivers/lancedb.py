# SPDX-License-Identifier: Apache-2.0
"""LanceDB: the IVF-PQ index that it makes when none is named, with scalar indexes; indexing waits for optimize().

A batch becomes files of its own and a new version. None of them is synced, and there is no verb that does it.
"""
from __future__ import annotations

import datetime
import pathlib
from typing import Any, Optional

import numpy as np

from . import Known, NotOffered, Store, Where

PACKAGE = "lancedb"
KIND = "peer"
LEAST = 1000  # rows below which its quantiser is not trained, and all are scanned


class Driver(Store):
    """A setting is lists that are looked at, and how many times k are scored again with the vectors."""

    settings = ((10, 1), (20, 5), (20, 20), (40, 20), (80, 50), (320, 100))

    def __init__(self, threads: int):
        super().__init__(threads)
        import lancedb
        import pyarrow

        self.library, self.arrow = lancedb, pyarrow

    def create(self, folder: pathlib.Path, dim: int, fields: dict[str, str], synced: bool, small: bool = False) -> None:
        if synced:
            raise NotOffered("LanceDB does not sync what it writes")
        pa = self.arrow
        kinds = {"float": pa.float64(), "int": pa.int64(), "tag": pa.string()}
        self.fields, self.dim, self.least = dict(fields), dim, 256 if small else LEAST
        self.schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), dim)),
                                 *((name, kinds[kind]) for name, kind in fields.items())])
        self.table = self.library.connect(folder).create_table("items", schema=self.schema)
        self.known, self.indexed = Known(), False

    def write(self, ids: np.ndarray, X: np.ndarray, payloads: Any) -> None:
        pa = self.arrow
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(X).reshape(-1)), self.dim)
        rows = pa.Table.from_arrays([pa.array(ids.astype(np.int64)), vectors,
                                     *(pa.array([p[name] for p in payloads], self.schema.field(name).type)
                                       for name in self.fields)], schema=self.schema)
        if self.known.any(ids):
            self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)
        else:
            self.table.add(rows)
        self.known.add(ids)

    def remove(self, ids: np.ndarray) -> None:
        self.table.delete(f"id in ({', '.join(map(str, ids.tolist()))})")
        self.known.remove(ids)

    def settle(self) -> None:
        if not self.indexed and self.table.count_rows() >= self.least:
            self.table.create_index(metric="dot", vector_column_name="vector")
            for name in ("id", *self.fields):
                self.table.create_scalar_index(name, index_type="BITMAP" if name == "place" else "BTREE")
            self.indexed = True
        self.table.optimize(cleanup_older_than=datetime.timedelta(0))

    def prepare(self, where: Optional[Where]) -> Any:
        if where is None:
            return None
        if where.kind == "in":
            return f"{where.field} IN ({', '.join(map(str, where.value))})"
        return f"{where.field} < {where.value!r}" if where.kind == "below" else f"{where.field} = '{where.value}'"

    def _query(self, q: np.ndarray, k: int, setting: Any, where: Any) -> Any:
        query = self.table.search(q, vector_column_name="vector").distance_type("dot").limit(k)
        query = query.select(["id", "_distance"]).nprobes(setting[0]).refine_factor(setting[1])
        return query.where(where, prefilter=True) if where else query

    def search(self, q: np.ndarray, k: int, setting: Any, where: Any = None) -> Any:
        return self._query(q, k, setting, where).to_arrow()["id"].to_numpy()

    def open(self, folder: pathlib.Path) -> None:
        self.table = self.library.connect(folder).open_table("items")
