# SPDX-License-Identifier: Apache-2.0
"""Searches of what does not change meanwhile."""
from __future__ import annotations

import pathlib
import shutil
import time
from typing import Any, Optional

import numpy as np

from ..data import OF_A_USER, Filter, Truth
from ..drivers import NotOffered
from . import K, Desk, Values, rate

CALL = 100  # queries of a batch
ENOUGH = 0.99  # recall that a filter is asked for


def search(desk: Desk) -> Values:
    """One query a call, at all settings."""
    store, asked = desk.store, desk.data.Q[:desk.effort.queries]
    known = Truth(desk.X, asked, K)
    points = []
    for setting in store.settings:
        speed, answers = rate(lambda q: store.search(q, K, setting), asked, desk.effort.seconds, 10)
        points.append({"setting": setting, "recall": known.recall(answers), "rate": speed})
    desk.fresh = points
    out: Values = {"search.points": points}
    for target in (0.95, 0.99) if store.target is not None else ():
        point = next(p for p in points if p["setting"] == target)
        out |= {f"target {target}.recall": point["recall"], f"target {target}.rate": point["rate"]}
    return out


def batches(desk: Desk) -> Values:
    """A hundred queries a call, at all settings."""
    store, Q = desk.store, desk.data.Q
    parts = [Q[at:at + CALL] for at in range(0, max(1, len(Q) - CALL + 1), CALL)]
    known = Truth(desk.X, Q[:len(parts) * CALL], K)
    points = []
    for setting in store.settings:
        speed, answers = rate(lambda part: store.search_batch(part, K, setting), parts, desk.effort.seconds, 1)
        flat = [row for found in answers for row in found]
        points.append({"setting": setting, "recall": known.recall(flat), "rate": speed * min(CALL, len(Q))})
    return {"batches.points": points}


def filters(desk: Desk) -> Values:
    """Each filter at the first setting whose answers under it have the recall that is asked."""
    out: Values = {}
    for chosen in desk.data.filters():
        known = Truth(desk.X, desk.data.Q[:desk.effort.filtered], K, chosen.mask)
        speed, found, short = _filtered(desk, known, desk.store.prepare(chosen.where))
        name = f"filter {chosen.name}"
        out |= {f"{name}.recall": found, f"{name}.short": short}
        if found >= ENOUGH:
            out[f"{name}.rate"] = speed
    return out


def _filtered(desk: Desk, known: Truth, where: Any) -> tuple[float, float, int]:
    """(rate, recall, short answers) of the first setting that is good enough, or of the best."""
    best = (0.0, -1.0, 0)
    start = desk.store.settings.index(ENOUGH) if ENOUGH in desk.store.settings else 0
    for setting in desk.store.settings[start:]:
        speed, answers = rate(lambda q: desk.store.search(q, K, setting, where), known.Q, desk.effort.seconds, 10)
        found = known.recall(answers)
        if found > best[1]:
            best = (speed, found, known.short(answers))
        if found >= ENOUGH:
            break
    return best


def _segment(desk: Desk) -> Filter:
    return desk.data.segment(min(7, len(desk.data.X) // OF_A_USER - 1))


def segment(desk: Desk) -> Values:
    """A hundred rows of one user, at the most thorough setting: exactly, where a store can."""
    chosen, asked = _segment(desk), desk.data.Q[:desk.effort.queries]
    where, setting = desk.store.prepare(chosen.where), desk.store.settings[-1]
    speed, answers = rate(lambda q: desk.store.search(q, K, setting, where), asked, desk.effort.seconds)
    known = Truth(desk.X, asked[:len(answers)], K, chosen.mask)
    return {"segment.rate": speed, "segment.recall": known.recall(answers)}


def opening(desk: Desk) -> Values:
    """From a closed store to its first answer; the library is loaded, the files are in the page cache."""
    return {"open.ms": _open(desk, desk.shop, desk.data.Q[0])}


def _open(desk: Desk, folder: pathlib.Path, q: np.ndarray, rounds: int = 3) -> float:
    times = []
    for _ in range(rounds):
        desk.store.close()
        start = time.perf_counter()
        desk.store.open(folder)
        desk.store.search(q, K, desk.store.settings[0])
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def large(desk: Desk, rows: str) -> Values:
    """Opening many vectors of eight dimensions, loaded from a file; only where there is such a verb."""
    store = desk.store
    if not hasattr(store, "load_files"):
        raise NotOffered
    other, folder = type(store)(store.threads), desk.empty("large")
    rng = np.random.default_rng(3)
    X = rng.standard_normal((int(rows), 8), dtype=np.float32)
    np.save(desk.folder / "large.npy", X)
    other.create(folder, 8, {}, False)
    start = time.perf_counter()
    other.load_files(desk.folder / "large.npy", None)
    loaded = time.perf_counter() - start
    other.settle()
    found = _open(Desk(other, desk.data, desk.folder, desk.effort), folder, X[0], 5)
    other.close()
    shutil.rmtree(folder)
    (desk.folder / "large.npy").unlink()
    return {"large.rows": int(rows), "large.load.s": loaded, "large.open.ms": found}


def cached(desk: Desk) -> Values:
    """A question that was asked before, of a store that keeps answers."""
    store = desk.store
    if not hasattr(store, "search_cached"):
        raise NotOffered
    store.close()
    store.open(desk.shop, cache_bytes=64 << 20)
    q, count = desk.data.Q[0], max(100, desk.effort.queries * 20)
    for _ in range(50):  # what is asked for once is not kept
        store.search_cached(q, K, 0.95)
    best: Optional[float] = None
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(count):
            store.search_cached(q, K, 0.95)
        took = (time.perf_counter() - start) / count
        best = took if best is None else min(best, took)
    hits = store.shop.info["cache_hits"]
    store.close()
    store.open(desk.shop)
    return {"cached.us": best * 1e6, "cached.hits": hits}
