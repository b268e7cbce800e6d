# SPDX-License-Identifier: Apache-2.0
"""What must hold in every state, and the flip from one generation to the next."""
from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np

from .. import data
from ..drivers import NotOffered, Where
from . import Desk, Values

DIM = 8
LIFE = 1000  # states of one store before the next begins
STARTS = (0, 30, 300, 3000)  # rows that a store begins with
MERGE = 100  # one state in so many follows a merge of everything


class Model:
    """What a small store should hold: the vectors' ids with their field."""

    def __init__(self, rng: Any):
        self.rng = rng
        self.pick: dict[int, float] = {}

    def write(self, store: Any, count: int) -> None:
        """Some new ids and some old ones."""
        ids = np.unique(self.rng.integers(0, 2 * len(self.pick) + 2 * count + 10, count))
        X = data.unit(self.rng.standard_normal((len(ids), DIM)))
        picks = self.rng.random(len(ids))
        store.write(ids, X, [{"pick": float(p)} for p in picks])
        self.pick.update(zip(ids.tolist(), picks.tolist()))

    def remove(self, store: Any, count: int) -> None:
        some = list(self.pick)
        ids = np.unique([some[at] for at in self.rng.integers(len(some), size=count)])
        store.remove(ids)
        for i in ids.tolist():
            del self.pick[i]

    def step(self, store: Any) -> None:
        """From one state to the next."""
        if self.pick and self.rng.random() < 0.45:
            self.remove(store, int(self.rng.integers(1, 12)))
        else:
            self.write(store, int(self.rng.integers(1, 12)))

    def short(self, found: Any, k: int, below: float) -> bool:
        """Whether an answer has fewer than min(k, matches) different ids that live and match."""
        right = {i for i in map(int, np.asarray(found).reshape(-1)) if self.pick.get(i, 2.0) < below}
        matching = (1 for pick in self.pick.values() if pick < below)
        return len(right) < sum(itertools.islice(matching, k))


def states(desk: Desk) -> Values:
    """Random states of small stores after writes, removals and merges, each asked once, some with a filter. The time
    is limited, that of the other stores to a tenth: what was tried is told."""
    rng, tried, short = np.random.default_rng(17), 0, 0
    end = time.perf_counter() + desk.effort.state_seconds * (1 if desk.main else 0.1)
    while tried < desk.effort.states and time.perf_counter() < end:
        store = type(desk.store)(desk.store.threads)
        store.create(desk.empty("states"), DIM, {"pick": "float"}, False, small=True)
        try:
            some = _life(store, rng, min(LIFE, desk.effort.states - tried), end)
        finally:
            store.close()
        tried, short = tried + some[0], short + some[1]
    desk.empty("states")
    return {"states.tried": tried, "states.short": short}


def _life(store: Any, rng: Any, count: int, end: float) -> tuple[int, int]:
    """(states tried, answers short) of one store."""
    model, short = Model(rng), 0
    start = int(rng.choice(STARTS))
    if start:
        model.write(store, start)
    for number in range(count):
        model.step(store)
        if rng.integers(MERGE) == 0:
            store.merge()
        k, below = int(rng.integers(1, 21)), float(rng.choice([2.0, 0.5, 0.1]))
        where = store.prepare(Where("below", "pick", below) if below < 1 else None)
        setting = store.settings[int(rng.integers(len(store.settings)))]
        found = store.search(data.unit(rng.standard_normal((1, DIM)))[0], k, setting, where)
        short += model.short(found, k, below)
        if time.perf_counter() > end:
            return number + 1, short
    return count, short


def flip(desk: Desk) -> Values:
    """How long writes wait when the next generation takes over; searches never do."""
    if not hasattr(desk.store, "flip_pause"):
        raise NotOffered
    return {"flip.pause.ms": desk.store.flip_pause(desk.X) * 1e3}
