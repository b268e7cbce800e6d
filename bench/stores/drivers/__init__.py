# SPDX-License-Identifier: Apache-2.0
"""The stores that can be measured. A module here is one store, with a class `Driver`:

PACKAGE    what pip installs, or a path relative to the repository; the empty text: Python itself has it
KIND       "kith", "peer", or "beside": what kith's collection is held against, but which is no store of that kind

The library is imported by the constructor, so that listing the stores needs none of them.
"""
from __future__ import annotations

import dataclasses
import importlib
import pathlib
from typing import Any, Iterable, Optional, Sequence

import numpy as np

# In the order of tables and colours: kith first, then what it is held against, then the peers.
STORES = ("kith", "kith_index", "sqlite_rows", "qdrant_edge", "lancedb", "sqlite_vec", "zvec")


class NotOffered(Exception):
    """A store has no such verb."""


@dataclasses.dataclass(frozen=True)
class Where:
    """A filter before a store has made its own of it: field < value ("below"), field in values ("in"), field = value
    ("is")."""

    kind: str
    field: str
    value: Any


class Known:
    """Which ids are there: to some stores replacing is many times as dear as inserting, and they leave the choice."""

    def __init__(self) -> None:
        self.there = np.zeros(0, bool)

    def any(self, ids: np.ndarray) -> bool:
        return bool(self.there[ids[ids < len(self.there)]].any())

    def add(self, ids: np.ndarray) -> None:
        if ids.max() >= len(self.there):
            self.there = np.concatenate([self.there, np.zeros(int(ids.max()) + 1, bool)])
        self.there[ids] = True

    def remove(self, ids: np.ndarray) -> None:
        self.there[ids] = False


class Store:
    """One store in one folder, empty when it is made. Ids are whole numbers, vectors of unit length: inner product,
    cosine and distance rank alike."""

    synced_by_default = False  # whether a write has reached the disk when it returns, unless one asks for less
    settings: Sequence[Any] = (None,)  # of a search, from fast to thorough
    target: Optional[float] = None  # the setting that asks for a recall, where a store takes one
    changes = True  # whether anything can be written once it has settled
    searched = True  # whether it answers queries at all
    searchable_at_once = True  # before it has settled

    def __init__(self, threads: int):
        self.threads = threads

    def create(self, folder: pathlib.Path, dim: int, fields: dict[str, str], synced: bool, small: bool = False) -> None:
        """Make an empty store and open it. fields: name -> "float", "int" or "tag"; a tag called user divides the
        items. synced: a write returns when it is on the disk. small: some hundred items are expected, and all that the
        store does with more is wanted all the same. NotOffered: writes cannot be synced."""
        raise NotImplementedError

    def write(self, ids: np.ndarray, X: np.ndarray, payloads: Sequence[dict[str, Any]]) -> None:
        """Insert, or replace what is there."""
        raise NotOffered

    def remove(self, ids: np.ndarray) -> None:
        raise NotOffered

    def settle(self) -> None:
        """Return when everything is searchable and indexed."""

    def merge(self) -> None:
        """Everything into one segment, where a store has such."""
        self.settle()

    def prepare(self, where: Optional[Where]) -> Any:
        """A filter in the store's own form."""
        if where is None:
            return None
        raise NotOffered

    def search(self, q: np.ndarray, k: int, setting: Any, where: Any = None) -> Any:
        """The ids of one query's answers, nearest first; where: of prepare()."""
        raise NotOffered

    def search_batch(self, Q: np.ndarray, k: int, setting: Any) -> Any:
        """The ids of many queries' answers in one call."""
        raise NotOffered

    def writer(self) -> Store:
        """What another thread writes through while this one is searched."""
        return self

    def close(self) -> None:
        pass

    def open(self, folder: pathlib.Path) -> None:
        """Open again what was closed."""
        raise NotOffered

    def memory_parts(self) -> dict[str, int]:
        """Bytes by part, as the store tells them."""
        raise NotOffered


def module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")


def package(name: str) -> str:
    """What pip installs for this store."""
    return module(name).PACKAGE


def select(words: Iterable[str]) -> list[str]:
    """kith, what it is held against, and the peers of these names, in the order of STORES; none given: all.
    ValueError: there is none of this name."""
    words = [word.replace("-", "_") for word in words]
    for word in words:
        if word not in STORES:
            raise ValueError(f"no store is called {word!r}; there are {', '.join(STORES)}")
    return [name for name in STORES if name in words or not words or module(name).KIND != "peer"]
