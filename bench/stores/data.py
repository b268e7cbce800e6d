# SPDX-License-Identifier: Apache-2.0
"""What the stores hold and are asked: vectors of unit length, three fields, and filters whose answers are known.

pick    random, so that `pick < 0.01` is one vector in a hundred, anywhere
place   one of 200 categories that follow the vectors, as brands and kinds of things do
user    a hundred vectors each, at random: what one of them asks touches only its own
"""
from __future__ import annotations

import dataclasses
import pathlib
from typing import Any, Iterator, Optional

import numpy as np

from peers import truth

from .drivers import Where

TWO = {"pick": "float", "place": "int"}
THREE = {**TWO, "user": "tag"}
SHARES = (0.001, 0.01, 0.1, 0.5)
PLACES = 200
OF_A_USER = 100


def unit(X: np.ndarray) -> np.ndarray:
    """Rows of length 1 as float32; a row of zeros stays."""
    X = np.asarray(X, dtype=np.float32)
    lengths = np.linalg.norm(X, axis=1, keepdims=True)
    return np.ascontiguousarray(X / np.where(lengths > 0, lengths, 1))


def read(path: pathlib.Path, rows: Optional[int]) -> np.ndarray:
    """ValueError unless the file has rows of finite numbers."""
    X = np.load(path, mmap_mode="r")[:rows]
    if X.ndim != 2 or len(X) == 0 or not np.isfinite(np.asarray(X, dtype=np.float32)).all():
        raise ValueError(f"{path}: rows of finite numbers are expected, and it has the shape {X.shape}")
    return unit(X)


@dataclasses.dataclass(frozen=True)
class Filter:
    """A filter, and which rows it matches."""

    name: str
    where: Where
    mask: np.ndarray


class Data:
    """Vectors and queries, and what follows from them by a fixed seed: every worker has the same."""

    def __init__(self, X: np.ndarray, Q: np.ndarray):
        if len(X) < 2 * PLACES or X.shape[1] != Q.shape[1]:
            raise ValueError(f"{len(X)} vectors of {X.shape[1]} dimensions and queries of {Q.shape[1]}: at least "
                             f"{2 * PLACES} vectors are needed, and queries of as many dimensions")
        self.X, self.Q = X, Q
        rng = np.random.default_rng(5)
        self.pick = rng.random(len(X))
        centres = X[rng.choice(len(X), PLACES, replace=False)]
        self.place = np.concatenate([np.argmax(part @ centres.T, axis=1) for part in np.array_split(X, 32)])
        self.centres = centres
        self.user = rng.permutation(len(X)) // OF_A_USER
        self.payloads = [{"pick": float(p), "place": int(c), "user": f"u{u}"}
                         for p, c, u in zip(self.pick, self.place, self.user)]
        self.two = [{name: payload[name] for name in TWO} for payload in self.payloads]

    def places(self, share: float) -> list[int]:
        """Categories that lie together and hold a share of the rows, or a little more."""
        counts = np.bincount(self.place, minlength=PLACES)
        # A small share is a single category about as large; a larger one begins with the largest.
        first = int(np.argmin(np.abs(counts - share * len(self.X)))) if share < 0.02 else int(np.argmax(counts))
        near = np.argsort(-(self.centres @ self.centres[first]), kind="stable")
        chosen, total = [first], int(counts[first])
        for place in near.tolist():
            if total >= share * len(self.X):
                break
            if place != first:
                chosen.append(place)
                total += int(counts[place])
        return sorted(chosen)

    def filters(self) -> Iterator[Filter]:
        """Each share at random and by category."""
        for share in SHARES:
            yield Filter(f"{100 * share:g}.random", Where("below", "pick", share), self.pick < share)
            places = self.places(share)
            yield Filter(f"{100 * share:g}.category", Where("in", "place", places), np.isin(self.place, places))

    def segment(self, user: int) -> Filter:
        return Filter(f"u{user}", Where("is", "user", f"u{user}"), self.user == user)


class Truth:
    """The right answers to some queries among the rows of a mask, and recall against them."""

    def __init__(self, X: np.ndarray, Q: np.ndarray, k: int, mask: Optional[np.ndarray] = None):
        self.rows = np.arange(len(X)) if mask is None else np.flatnonzero(mask)
        self.k = min(k, len(self.rows))
        self.base, self.Q = X[self.rows], Q
        self.distances = truth.exact(self.base, Q, "ip", self.k)[1] if self.k else np.empty((len(Q), 0))

    def positions(self, answers: list[Any]) -> np.ndarray:
        """Answers as positions among these rows: (q, k) with -1 for what is none of them, or missing."""
        out = np.full((len(answers), max(1, self.k)), -1, dtype=np.int64)
        for row, found in zip(out, answers):
            found = np.asarray(found).astype(np.int64).reshape(-1)[:self.k]
            at = np.minimum(np.searchsorted(self.rows, found), len(self.rows) - 1)
            row[:len(found)] = np.where(self.rows[at] == found, at, -1)
        return out

    def recall(self, answers: list[Any]) -> float:
        """Of the first len(answers) queries."""
        if self.k == 0 or not answers:
            return 1.0
        asked, limit = self.Q[:len(answers)], self.distances[:len(answers)]
        return truth.recall(self.positions(answers), self.base, asked, limit, "ip")

    def short(self, answers: list[Any]) -> int:
        """Answers with fewer than k different rows that match, though there are as many."""
        if self.k == 0:
            return 0
        found = self.positions(answers)
        return sum(len(set(row.tolist()) - {-1}) < self.k for row in found)


def replaced(X: np.ndarray, chosen: np.ndarray, rng: Any) -> np.ndarray:
    """A copy where the chosen rows have changed places: other vectors, and as a whole the same ones."""
    out = X.copy()
    out[chosen] = X[rng.permutation(chosen)]
    return out
