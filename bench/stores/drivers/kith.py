# SPDX-License-Identifier: Apache-2.0
"""kith.Collection: searched at a target recall; merges go on in the background."""
from __future__ import annotations

import pathlib
import statistics
import time
from typing import Any, Optional

import numpy as np

from . import NotOffered, Store, Where

PACKAGE = "./python"
KIND = "kith"
PORTION, FLIPS = 1000, 5
QUIET = 0.3  # seconds without work in the background, after which nothing more is expected


def text(where: Where) -> str:
    """kith's language of filters."""
    if where.kind == "below":
        return f"{where.field} < {where.value!r}"
    if where.kind == "in":
        return f"{where.field} in ({', '.join(map(str, where.value))})"
    return f'{where.field} = "{where.value}"'


class Driver(Store):
    synced_by_default = True
    settings = (0.9, 0.95, 0.98, 0.99, 0.995, None)
    target = 0.95

    def __init__(self, threads: int):
        super().__init__(threads)
        import kith

        self.kith = kith
        kith.set_threads(threads)  # which loads and builds go by

    def create(self, folder: pathlib.Path, dim: int, fields: dict[str, str], synced: bool, small: bool = False) -> None:
        self.shop = self.kith.Collection.create(
            folder, dim=dim, metric="ip", fields=fields, segment_field="user" if "user" in fields else None,
            durability="full" if synced else "relaxed", threads=self.threads, head_bytes=4096 if small else None)

    def write(self, ids: np.ndarray, X: np.ndarray, payloads: Any) -> None:
        self.shop.add(ids, X, payloads)

    def remove(self, ids: np.ndarray) -> None:
        self.shop.delete(ids)

    def settle(self) -> None:
        quiet = time.perf_counter()
        while time.perf_counter() - quiet < QUIET:
            about = self.shop.info
            if about["trouble"]:
                raise RuntimeError(about["trouble"])
            if about["work"]:
                quiet = time.perf_counter()
            time.sleep(0.01)

    def merge(self) -> None:
        self.shop.compact(progress=False)

    def prepare(self, where: Optional[Where]) -> dict[str, str]:
        if where is None:
            return {}
        return {"segment": where.value} if where.field == "user" else {"where": text(where)}

    def search(self, q: np.ndarray, k: int, setting: Any, where: Any = None) -> Any:
        return self.shop.search(q, k, target_recall=setting, **(where or {})).ids

    def search_batch(self, Q: np.ndarray, k: int, setting: Any) -> Any:
        return self.shop.search(Q, k, target_recall=setting).ids

    def close(self) -> None:
        self.shop.close()

    def open(self, folder: pathlib.Path, **options: Any) -> None:
        self.shop = self.kith.Collection(folder, threads=self.threads, **options)

    def memory_parts(self) -> dict[str, int]:
        about = self.shop.info
        return {name.removesuffix("_memory_bytes").removesuffix("_bytes"): about[name] for name in sorted(about)
                if name.endswith("memory_bytes") or name == "cache_bytes"}

    # What no other store has.

    def search_cached(self, q: np.ndarray, k: int, setting: Any) -> Any:
        """A search of a store that was opened with cache_bytes."""
        return self.shop.search(q, k, target_recall=setting).ids

    def load_files(self, vectors: pathlib.Path, payloads: pathlib.Path) -> None:
        """Everything from files, in one verb."""
        self.shop.load(vectors, payloads=payloads, progress=False)

    def build_file(self, vectors: pathlib.Path, to: pathlib.Path) -> None:
        """What `kith build` makes of the same vectors."""
        self.kith.Index.build(vectors, metric="ip", threads=self.threads, path=to, progress=False).close()

    def flip_pause(self, X: np.ndarray) -> float:
        """Seconds that writes wait, as the store tells them, when a generation takes over that has the same vectors for
        the first ids: the middle of several flips to it and back."""
        if not hasattr(self.kith.Collection, "flip"):
            raise NotOffered("kith.Collection has no flip")
        number = self.shop.begin_generation("next", dim=X.shape[1])
        for at in range(0, len(X), PORTION):
            part = X[at:at + PORTION]
            self.shop.update(np.arange(at, at + len(part)), part, generation=number)
        self.settle()
        return statistics.median(self.shop.flip(to, min_share=0)["pause_seconds"] for to in (number, None) * FLIPS)
