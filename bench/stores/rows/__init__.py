# SPDX-License-Identifier: Apache-2.0
"""What is measured: a row is a function of a desk (and perhaps a word) that returns named values.

A name says how values of several rounds become one: rates (`.rate`) are the highest, times (`.ms`, `.s`, `.us`) and
what is counted in times of something (`.times`) the lowest, recalls the lowest too, all else the last. `points` are
(setting, recall, rate), of which each setting keeps its highest rate.

I1  Truths are computed outside of what is timed.
I2  Rows that change what is there come after those that do not, in the order of runner.STEPS.
"""
from __future__ import annotations

import dataclasses
import pathlib
import shutil
import stat
import time
from typing import Any, Callable, Optional

import numpy as np

from peers import frontier

from ..data import Data
from ..drivers import Store

K = 10
BATCH = 1000  # rows of a write
Values = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long and how much."""

    seconds: float = 1.0  # of one rate
    queries: int = 500
    filtered: int = 100  # queries of a recall under a filter
    batched: int = 60_000  # rows of batched inserts
    single: int = 3000
    inserting: float = 5.0  # seconds after which inserts have been enough
    windows: float = 0.2  # seconds of a window of searches
    ingest: float = 4.0
    states: int = 100_000
    state_seconds: float = 300.0


QUICK = Effort(seconds=0.05, queries=20, filtered=10, batched=1000, single=50, inserting=0.1, windows=0.02, ingest=0.2,
               states=100, state_seconds=10.0)


class Desk:
    """A store, its data, a folder, and what former rows left for later ones."""

    def __init__(self, store: Store, data: Data, folder: pathlib.Path, effort: Effort, main: bool = True):
        self.store, self.data, self.folder, self.effort = store, data, folder, effort
        self.main = main  # what the others are measured for
        self.X = data.X  # as the store has it now
        self.fresh: list[dict[str, Any]] = []  # points of the search before anything was replaced

    @property
    def shop(self) -> pathlib.Path:
        """Where the store of all rows is."""
        return self.folder / "shop"

    def empty(self, name: str) -> pathlib.Path:
        """A folder that is not there yet."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return self.folder / name

    def setting_for(self, recall: float) -> Any:
        """The fastest setting that reached this recall when all was fresh, else the most thorough one."""
        good = [point for point in self.fresh if point["recall"] >= recall]
        return max(good, key=lambda point: point["rate"])["setting"] if good else self.store.settings[-1]


def disk(folder: pathlib.Path) -> int:
    """Bytes that all files take. What is removed meanwhile counts no more; what has two names counts once."""
    sizes = {}
    for path in folder.rglob("*"):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        if stat.S_ISREG(found.st_mode):
            sizes[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(sizes.values())


def timed(call: Callable[[Any], Any], asked: Any, seconds: float, least: int = 3) -> tuple[list[Any], list[float]]:
    """(answers to each that was asked, times): one after another, and again from the first, until the time is over."""
    answers, times = [], []
    end = time.perf_counter() + seconds
    done = 0.0
    while done < end or len(times) < min(least, len(asked)):
        q = asked[len(times) % len(asked)]
        start = time.perf_counter()
        found = call(q)
        done = time.perf_counter()
        times.append(done - start)
        if len(answers) < len(asked):
            answers.append(found)
    return answers, times


def rate(call: Callable[[Any], Any], asked: Any, seconds: float, least: int = 3) -> tuple[float, list[Any]]:
    """(calls a second, answers). Of several passes over all that is asked the fastest counts."""
    for q in asked[:2]:
        call(q)
    answers, times = timed(call, asked, seconds, least)
    n = len(asked)
    passes = [times[at:at + n] for at in range(0, len(times) - n + 1, n)] or [times]
    return max(len(some) / sum(some) for some in passes), answers


def p99(times: list[float]) -> float:
    """In milliseconds."""
    return float(np.quantile(times, 0.99)) * 1e3


def at_recall(points: list[dict[str, Any]], recall: float) -> Optional[float]:
    """Queries a second at a recall, interpolated as in bench/peers; None where it is not reached."""
    return frontier.speed_at([(point["recall"], point["rate"]) for point in points], recall)


def merged(before: Values, now: Values) -> Values:
    """Values of several rounds as one."""
    out = {**before, **now}
    for name in before.keys() & now.keys():
        old, new = before[name], now[name]
        if name.endswith("points"):
            rates = {str(p["setting"]): p["rate"] for p in old}
            out[name] = [{**p, "rate": max(p["rate"], rates.get(str(p["setting"]), 0))} for p in new]
        elif name.endswith(".rate"):
            out[name] = max(old, new)
        elif name.endswith((".ms", ".s", ".us", ".times", ".recall")):
            out[name] = min(old, new)
    return out
