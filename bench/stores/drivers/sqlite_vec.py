# SPDX-License-Identifier: Apache-2.0
"""sqlite-vec: a virtual table of SQLite that scans all vectors, so that every answer is exact."""
from __future__ import annotations

import pathlib
from typing import Any, Optional

import numpy as np

from . import Known, Store, Where

PACKAGE = "sqlite-vec pysqlite3-binary"  # the second has what a Python may lack: SQLite that loads extensions
KIND = "peer"
TYPES = {"float": "FLOAT", "int": "INTEGER", "tag": "TEXT"}


class Driver(Store):
    """Fields are metadata columns, by which vec0 filters while it scans. So is the user: as a partition key it would
    make searches of one user's rows a hundred times as fast, and with a hundred rows each everything else, the disk
    too, ten times as dear."""

    synced_by_default = True

    def __init__(self, threads: int):
        super().__init__(threads)
        import pysqlite3
        import sqlite_vec

        self.library, self.sqlite = sqlite_vec, pysqlite3

    def _connect(self) -> Any:
        base = self.sqlite.connect(self.folder / "vec.sqlite", isolation_level=None, check_same_thread=False)
        base.enable_load_extension(True)
        self.library.load(base)
        base.execute("PRAGMA journal_mode=WAL")
        base.execute(f"PRAGMA synchronous={'FULL' if self.synced else 'NORMAL'}")
        return base

    def create(self, folder: pathlib.Path, dim: int, fields: dict[str, str], synced: bool, small: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.synced, self.names, self.known = folder, synced, list(fields), Known()
        self.base = self._connect()
        columns = [f"{name} {TYPES[kind]}" for name, kind in fields.items()]
        self.base.execute("CREATE VIRTUAL TABLE items USING vec0(id INTEGER PRIMARY KEY, "
                          f"vector float[{dim}] distance_metric=l2, {', '.join(columns)})")

    def write(self, ids: np.ndarray, X: np.ndarray, payloads: Any) -> None:
        """vec0 has no replacing insert: what is there is deleted first, in the same transaction."""
        insert = f"INSERT INTO items VALUES ({', '.join('?' * (2 + len(self.names)))})"
        self.base.execute("BEGIN")
        if self.known.any(ids):
            self.base.executemany("DELETE FROM items WHERE id = ?", [(int(i),) for i in ids])
        self.base.executemany(insert, [(int(i), x.tobytes(), *(p[name] for name in self.names))
                                       for i, x, p in zip(ids, X, payloads)])
        self.base.execute("COMMIT")
        self.known.add(ids)

    def remove(self, ids: np.ndarray) -> None:
        self.base.execute("BEGIN")
        self.base.executemany("DELETE FROM items WHERE id = ?", [(int(i),) for i in ids])
        self.base.execute("COMMIT")
        self.known.remove(ids)

    def prepare(self, where: Optional[Where]) -> Any:
        if where is None:
            return "", ()
        if where.kind == "in":
            return f"AND {where.field} IN ({', '.join('?' * len(where.value))})", tuple(where.value)
        return f"AND {where.field} {'<' if where.kind == 'below' else '='} ?", (where.value,)

    def search(self, q: np.ndarray, k: int, setting: Any, where: Any = None) -> Any:
        text, values = where or ("", ())
        found = self.base.execute(f"SELECT id FROM items WHERE vector MATCH ? AND k = ? {text} ORDER BY distance",
                                  (q.tobytes(), k, *values))
        return [row[0] for row in found]

    def writer(self) -> Store:
        """A connection of its own."""
        other = Driver(self.threads)
        other.folder, other.synced, other.names, other.known = self.folder, self.synced, self.names, self.known
        other.base = other._connect()
        return other

    def close(self) -> None:
        self.base.close()

    def open(self, folder: pathlib.Path) -> None:
        self.base = self._connect()
