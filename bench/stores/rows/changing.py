# SPDX-License-Identifier: Apache-2.0
"""Searches while much is replaced and added, and afterwards.

In `churn` one thread writes a batch, searches for a while, and writes the next: a client that does both. What a store
does in the background goes on meanwhile, on the same processors. In `ingest` a second thread writes as fast as it can.
"""
from __future__ import annotations

import sys
import threading
import time
from typing import Any

import numpy as np

from .. import data
from . import BATCH, K, Desk, Values, disk, p99, timed

SHARE = 5  # a fifth is replaced at a time
ROUNDS = 2
LEAST = 3  # searches that a window has at least
HAND_OVER = 1e-4  # seconds after which Python's threads take turns: its usual five milliseconds would be measured


class Windows:
    """Searches at one setting, in windows that are long enough to have a rate."""

    def __init__(self, desk: Desk, setting: Any):
        self.desk, self.setting, self.at = desk, setting, 0
        self.rates: list[float] = []
        self.times: list[float] = []

    def look(self) -> None:
        """One window."""
        asked = np.roll(self.desk.data.Q, -self.at, axis=0)
        _, times = timed(lambda q: self.desk.store.search(q, K, self.setting), asked, self.desk.effort.windows, LEAST)
        self.at += len(times)
        self.rates.append(len(times) / sum(times))
        self.times += times


def _replace(desk: Desk, chosen: np.ndarray, rng: Any, between: Any) -> None:
    """Other vectors for these ids, batch by batch."""
    desk.X = data.replaced(desk.X, chosen, rng)
    for at in range(0, len(chosen), BATCH):
        part = chosen[at:at + BATCH]
        desk.store.write(part, desk.X[part], [desk.data.payloads[i] for i in part])
        between()


def churn(desk: Desk) -> Values:
    """A fifth is replaced, twice, at the setting that had a recall of .95 before."""
    rng, n = np.random.default_rng(9), len(desk.X)
    setting = desk.setting_for(0.95)
    before, during, after = (Windows(desk, setting) for _ in range(3))
    for _ in range(10):
        before.look()
    size, largest = disk(desk.shop), 0

    def between() -> None:
        nonlocal largest
        during.look()
        largest = max(largest, disk(desk.shop))

    for _ in range(ROUNDS):
        _replace(desk, rng.choice(n, n // SHARE, replace=False), rng, between)
    for _ in range(10):  # merging that goes on by itself slows these down too
        between()
    start = time.perf_counter()
    desk.store.settle()
    settled = time.perf_counter() - start
    for _ in range(10):
        after.look()
    usual = float(np.median(before.rates))
    known = data.Truth(desk.X, desk.data.Q[:desk.effort.filtered], K)
    found = timed(lambda q: desk.store.search(q, K, setting), known.Q, desk.effort.seconds, 10)[0]
    return {"churn.before.rate": usual, "churn.least.rate": min(during.rates), "churn.share": min(during.rates) / usual,
            "churn.median share": float(np.median(during.rates)) / usual, "churn.p99.ms": p99(during.times),
            "churn.settling.s": settled, "churn.settled share": float(np.median(after.rates)) / usual,
            "churn.recall": known.recall(found), "churn.disk.times": largest / size,
            "churn.disk settled.times": disk(desk.shop) / size}


def twice(desk: Desk) -> Values:
    """Every vector is replaced twice; then the recall at a setting that had .95 when the store was fresh."""
    rng, n, setting = np.random.default_rng(11), len(desk.X), desk.setting_for(0.95)
    for _ in range(2):
        _replace(desk, rng.permutation(n), rng, lambda: None)
    desk.store.settle()
    asked = desk.data.Q[:desk.effort.queries]
    known = data.Truth(desk.X, asked, K)
    answers = timed(lambda q: desk.store.search(q, K, setting), asked, desk.effort.seconds, 10)[0]
    fresh = next((p["recall"] for p in desk.fresh if p["setting"] == setting), float("nan"))
    return {"twice.fresh": fresh, "twice.recall": known.recall(answers),
            "twice.short": known.short(answers), "twice.lost": fresh - known.recall(answers)}


def ingest(desk: Desk) -> Values:
    """New rows as fast as another thread can write them, in batches, and what the slowest searches take meanwhile."""
    setting, n = desk.setting_for(0.95), len(desk.X)
    idle = _while(desk, setting, lambda: False)
    rng = np.random.default_rng(13)
    fresh = data.unit(desk.X + 0.05 * rng.standard_normal(desk.X.shape[1], dtype=np.float32))
    stop, wrote, trouble = threading.Event(), [0], []

    def write() -> None:
        try:
            other = desk.store.writer()
            while not stop.is_set():
                part = np.arange(wrote[0], wrote[0] + BATCH) % n
                other.write(n + wrote[0] + np.arange(BATCH), fresh[part], [desk.data.payloads[i] for i in part])
                wrote[0] += BATCH
        except Exception as error:  # told by the thread that measures
            trouble.append(error)
            stop.set()

    thread, usual = threading.Thread(target=write), sys.getswitchinterval()
    sys.setswitchinterval(HAND_OVER)
    start = time.perf_counter()
    thread.start()
    busy = _while(desk, setting, stop.is_set)
    took = time.perf_counter() - start
    stop.set()
    thread.join()
    sys.setswitchinterval(usual)
    if trouble:
        raise trouble[0]
    return {"ingest.idle p99.ms": p99(idle), "ingest.p99.ms": p99(busy), "ingest.p99.times": p99(busy) / p99(idle),
            "ingest.rate": wrote[0] / took}


def _while(desk: Desk, setting: Any, over: Any) -> list[float]:
    """Times of searches one after another for some seconds."""
    times, end = [], time.perf_counter() + desk.effort.ingest
    while not over() and (time.perf_counter() < end or len(times) < LEAST):
        q = desk.data.Q[len(times) % len(desk.data.Q)]
        start = time.perf_counter()
        desk.store.search(q, K, setting)
        times.append(time.perf_counter() - start)
    return times
