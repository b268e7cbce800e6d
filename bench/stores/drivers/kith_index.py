# SPDX-License-Identifier: Apache-2.0
"""One index file of kith with the same vectors, which never changes: what a collection costs above it."""
from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from . import Store

PACKAGE = "./python"
KIND = "beside"


class Driver(Store):
    synced_by_default = True
    changes = searchable_at_once = False
    target = 0.95
    settings = (0.9, 0.95, 0.98, 0.99, 0.995, None)

    def __init__(self, threads: int):
        super().__init__(threads)
        import kith

        self.kith = kith

    def create(self, folder: pathlib.Path, dim: int, fields: dict[str, str], synced: bool, small: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.parts: list[np.ndarray] = []

    def write(self, ids: np.ndarray, X: np.ndarray, payloads: Any) -> None:
        """Kept until settle() builds the file: ids are those of the rows."""
        self.parts.append(X)

    def settle(self) -> None:
        self.index = self.kith.Index.build(np.concatenate(self.parts), metric="ip", threads=self.threads,
                                           path=self.folder / "items.kith", progress=False)

    def search(self, q: np.ndarray, k: int, setting: Any, where: Any = None) -> Any:
        return self.index.search(q, k, target_recall=setting, threads=1).ids

    def search_batch(self, Q: np.ndarray, k: int, setting: Any) -> Any:
        return self.index.search(Q, k, target_recall=setting, threads=self.threads).ids

    def close(self) -> None:
        self.index.close()

    def open(self, folder: pathlib.Path) -> None:
        self.index = self.kith.open(folder / "items.kith")
