# SPDX-License-Identifier: Apache-2.0
"""Python's own SQLite with a table of id, blob and fields: what writing such rows costs at the least."""
from __future__ import annotations

import pathlib
import sqlite3
from typing import Any

import numpy as np

from . import Store

PACKAGE = ""
KIND = "beside"
TYPES = {"float": "REAL", "int": "INTEGER", "tag": "TEXT"}


def connect(folder: pathlib.Path, synced: bool) -> sqlite3.Connection:
    """WAL, as kith's catalog has it."""
    base = sqlite3.connect(folder / "rows.sqlite", isolation_level=None, check_same_thread=False)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute(f"PRAGMA synchronous={'FULL' if synced else 'NORMAL'}")
    return base


class Driver(Store):
    synced_by_default = True
    searched = False

    def create(self, folder: pathlib.Path, dim: int, fields: dict[str, str], synced: bool, small: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.base, self.names = connect(folder, synced), list(fields)
        self.base.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, vector BLOB, "
                          f"{', '.join(f'{name} {TYPES[kind]}' for name, kind in fields.items())})")
        self.insert = f"INSERT OR REPLACE INTO items VALUES ({', '.join('?' * (2 + len(fields)))})"

    def write(self, ids: np.ndarray, X: np.ndarray, payloads: Any) -> None:
        self.base.execute("BEGIN")
        self.base.executemany(self.insert, [(int(i), x.tobytes(), *(p[name] for name in self.names))
                                            for i, x, p in zip(ids, X, payloads)])
        self.base.execute("COMMIT")

    def close(self) -> None:
        self.base.close()

    def open(self, folder: pathlib.Path) -> None:
        self.base = connect(folder, True)
