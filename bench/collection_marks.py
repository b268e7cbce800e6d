#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a collection costs beside SQLite's own rows and beside one index file: inserts, searches, filters, churn, opening.

Rates are compared within one run; the machine is told. Peers that are installed (sqlite-vec, qdrant-edge-py, ...) are
measured by their own drivers in bench/collection_peers.py.

usage: collection_marks.py BASE.npy QUERIES.npy [--rows N] [--json FILE] [--only NAME ...] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import threading
import time

import numpy as np

import kith

K = 10
CATEGORIES = 200


def machine() -> dict[str, object]:
    cpu = kith.cpu()
    return {"model": cpu["model"], "tier": cpu["tier"], "cores": cpu["cores"], "kith": kith.version}


def best(run, rounds: int = 3) -> float:
    """The least time of several."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


class Data:
    """Vectors, queries, and two fields: `pick`, random, and `place`, which follows the vectors."""

    def __init__(self, base: str, queries: str, rows: int | None) -> None:
        self.X = np.ascontiguousarray(np.load(base).astype(np.float32)[:rows])
        self.Q = np.ascontiguousarray(np.load(queries).astype(np.float32)[:1000])
        n = len(self.X)
        rng = np.random.default_rng(5)
        self.pick = rng.random(n)
        centres = self.X[rng.choice(n, CATEGORIES, replace=False)]
        self.place = np.concatenate([np.argmax(part @ centres.T, axis=1) for part in np.array_split(self.X, 32)])
        self.user = rng.permutation(n) // 100
        self.payloads = [{"pick": float(p), "place": int(c), "user": f"u{u}"}
                         for p, c, u in zip(self.pick, self.place, self.user)]

    def places(self, share: float) -> list[int]:
        """Categories that lie together and hold about a share of the rows."""
        counts = np.bincount(self.place, minlength=CATEGORIES)
        first = int(np.argmin(np.abs(counts - share * len(self.X)))) if share < 0.02 else int(np.argmax(counts))
        near = np.argsort(-(self._centre(first) @ self._centres().T))
        chosen, total = [], 0
        for c in [first, *near.tolist()]:
            if c in chosen:
                continue
            chosen.append(int(c))
            total += counts[c]
            if total >= share * len(self.X):
                break
        return chosen

    def _centres(self) -> np.ndarray:
        if not hasattr(self, "_means"):
            self._means = np.stack([self.X[self.place == c].mean(axis=0) if (self.place == c).any() else
                                    np.zeros(self.X.shape[1], np.float32) for c in range(CATEGORIES)])
        return self._means

    def _centre(self, c: int) -> np.ndarray:
        return self._centres()[c]


FIELDS = {"pick": "float", "place": "int", "user": "tag"}


def create(folder: str, data: Data, **options) -> kith.Collection:
    shutil.rmtree(folder, ignore_errors=True)
    return kith.Collection.create(folder, dim=data.X.shape[1], metric="ip", fields=FIELDS, segment_field="user", **options)


def add_all(shop: kith.Collection, data: Data, batch: int = 1000) -> None:
    for at in range(0, len(data.X), batch):
        shop.add(np.arange(at, min(at + batch, len(data.X))), data.X[at:at + batch], data.payloads[at:at + batch])


def settle(shop: kith.Collection, seconds: float = 120) -> float:
    """Wait until nothing goes on in the background; how long that took."""
    start = quiet = time.perf_counter()
    while time.perf_counter() - start < seconds:
        if shop.info["work"]:
            quiet = time.perf_counter()
        elif time.perf_counter() - quiet > 0.3:
            return quiet - start
        time.sleep(0.01)
    return float("nan")


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / max(1, len(set(b) - {-1})) for a, b in zip(found, truth)]))


# ---- Writing ---------------------------------------------------------------------------------------------------------


def raw_blobs(folder: str, data: Data, rows: int, batch: int, synchronous: str) -> float:
    """SQLite's own: a table of id, blob, two fields; rows a second."""
    path = os.path.join(folder, "raw.sqlite")
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(path + suffix):
            os.remove(path + suffix)
    base = sqlite3.connect(path, isolation_level=None)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute(f"PRAGMA synchronous={synchronous}")
    base.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, v BLOB, pick REAL, place INTEGER)")
    rows_of = [(i, data.X[i].tobytes(), data.payloads[i]["pick"], data.payloads[i]["place"]) for i in range(rows)]
    start = time.perf_counter()
    for at in range(0, rows, batch):
        base.execute("BEGIN")
        base.executemany("INSERT INTO items VALUES (?, ?, ?, ?)", rows_of[at:at + batch])
        base.execute("COMMIT")
    took = time.perf_counter() - start
    base.close()
    return rows / took


def kith_inserts(folder: str, data: Data, rows: int, batch: int, durability: str) -> float:
    two = [{"pick": p["pick"], "place": p["place"]} for p in data.payloads[:rows]]
    shutil.rmtree(folder, ignore_errors=True)
    with kith.Collection.create(folder, dim=data.X.shape[1], metric="ip", fields={"pick": "float", "place": "int"},
                                durability=durability) as shop:
        start = time.perf_counter()
        for at in range(0, rows, batch):
            ids = np.arange(at, min(at + batch, rows))
            shop.add(ids, data.X[at:at + batch], two[at:at + batch])
        return rows / (time.perf_counter() - start)


def inserts(folder: str, data: Data) -> dict[str, float]:
    shop, out = os.path.join(folder, "inserts"), {}
    batched, single = min(60_000, len(data.X)), min(3000, len(data.X))
    for name, rows, batch, sync, durability in (("batches of 1,000, synced", batched, 1000, "FULL", "full"),
                                                ("single, synced", single, 1, "FULL", "full"),
                                                ("single, relaxed", single, 1, "NORMAL", "relaxed")):
        pairs = [(raw_blobs(folder, data, rows, batch, sync), kith_inserts(shop, data, rows, batch, durability))
                 for _ in range(3)]
        out[f"inserts/s, {name}"] = max(ours for _, ours in pairs)
        out[f"inserts/s, {name}, SQLite's raw blobs"] = max(raw for raw, _ in pairs)
    return out


# ---- Searching -------------------------------------------------------------------------------------------------------


def one_by_one(search, Q: np.ndarray) -> float:
    """Queries a second, one a call."""
    def run() -> None:
        for q in Q:
            search(q)

    run()
    return len(Q) / best(run)


def load(folder: str, data: Data) -> dict[str, float]:
    """Everything from here on works on this collection."""
    shop = create(os.path.join(folder, "shop"), data)
    start = time.perf_counter()
    add_all(shop, data)
    added = time.perf_counter() - start
    settled = settle(shop)
    out = {"load: added after s": added, "load: indexed after s": added + settled, "load: segments": shop.info["segments"],
           "disk MB": shop.info["disk_bytes"] / 1e6, "raw MB": data.X.nbytes / 1e6,
           "disk over raw": shop.info["disk_bytes"] / data.X.nbytes, "memory MB": shop.info["memory_bytes"] / 1e6}
    shop.close()
    return out


def searches(folder: str, data: Data) -> dict[str, float]:
    out: dict[str, float] = {}
    index = kith.Index.build(data.X, metric="ip", path=os.path.join(folder, "one.kith"), progress=False)
    truth = index.search(data.Q, k=K).ids
    with kith.Collection(os.path.join(folder, "shop")) as shop:
        settle(shop)
        for target in (0.95, 0.99):
            for name, thing in (("collection", shop), ("index file", index)):
                out[f"{name}: queries/s at {target}"] = one_by_one(
                    lambda q: thing.search(q, K, target_recall=target), data.Q[:500])
                found = np.stack([thing.search(q, K, target_recall=target).ids for q in data.Q[:500]])
                out[f"{name}: recall at {target}"] = recall(found, truth[:500])
        batches = np.array_split(data.Q, max(1, len(data.Q) // 100))
        out["collection: queries/s at 0.95, batches of 100"] = len(data.Q) / best(
            lambda: [shop.search(batch, K, target_recall=0.95) for batch in batches])
        out["index file: queries/s at 0.95, batches of 100"] = len(data.Q) / best(
            lambda: [index.search(batch, K, target_recall=0.95) for batch in batches])
        out["exact, one by one: queries/s"] = one_by_one(lambda q: shop.search(q, K), data.Q[:100])
        same = all(np.array_equal(shop.search(q, K).ids, t) for q, t in zip(data.Q[:100], truth))
        out["exact answers equal the index file's"] = float(same)
        out["one segment of 100 rows: queries/s"] = one_by_one(
            lambda q: shop.search(q, K, segment="u7"), np.repeat(data.Q[:100], 20, axis=0))
    index.close()
    return out


def filters(folder: str, data: Data) -> dict[str, float]:
    out: dict[str, float] = {}
    with kith.Collection(os.path.join(folder, "shop")) as shop:
        settle(shop)
        for share in (0.001, 0.01, 0.1, 0.5):
            texts = {"random": f"pick < {share}",
                     "by place": f"place in ({', '.join(map(str, data.places(share)))})"}
            for name, text in texts.items():
                exact = np.stack([shop.search(q, K, where=text, plan="plain").ids for q in data.Q[:100]])
                found = np.stack([shop.search(q, K, where=text, target_recall=0.99).ids for q in data.Q[:100]])
                label = f"filter {100 * share:g} %, {name}"
                out[f"{label}: queries/s"] = one_by_one(
                    lambda q: shop.search(q, K, where=text, target_recall=0.99), data.Q[:200])
                out[f"{label}: recall"] = recall(found, exact)
    return out


# ---- Changing --------------------------------------------------------------------------------------------------------


def p99(times: list[float]) -> float:
    return float(np.quantile(times, 0.99)) * 1e3


def search_while(shop: kith.Collection, data: Data, busy, seconds: float) -> list[float]:
    """Times of searches one by one while `busy` runs in another thread (at most so long)."""
    done = threading.Event()
    worker = threading.Thread(target=lambda: (busy(), done.set()))
    times: list[float] = []
    worker.start()
    begin = time.perf_counter()
    while not done.is_set() and time.perf_counter() - begin < seconds:
        q = data.Q[len(times) % len(data.Q)]
        start = time.perf_counter()
        shop.search(q, K, target_recall=0.95)
        times.append(time.perf_counter() - start)
    worker.join()
    return times


def churn(folder: str, data: Data) -> dict[str, float]:
    out: dict[str, float] = {}
    n, rng = len(data.X), np.random.default_rng(9)
    X = data.X.copy()
    with kith.Collection(os.path.join(folder, "shop")) as shop:
        settle(shop)
        idle = search_while(shop, data, lambda: time.sleep(2), 2)
        out["idle: queries/s"], out["idle: p99 ms"] = len(idle) / sum(idle), p99(idle)
        before = shop.info["disk_bytes"]
        lowest = float("inf")
        for round_ in range(2):
            chosen = rng.choice(n, n // 5, replace=False)
            moved = rng.permutation(chosen)
            X[chosen] = data.X[moved]

            def replace() -> None:
                for part in np.array_split(chosen, max(1, len(chosen) // 1000)):
                    shop.add(part, X[part], [data.payloads[i] for i in part])

            times = search_while(shop, data, replace, 600)
            lowest = min(lowest, len(times) / sum(times))
            out[f"churn {round_ + 1}: p99 ms"] = p99(times)
        out["churn: queries/s meanwhile"], out["churn: rate over idle"] = lowest, lowest / out["idle: queries/s"]
        out["churn: disk before settling, over raw"] = shop.info["disk_bytes"] / data.X.nbytes
        after = search_while(shop, data, lambda: time.sleep(1), 1)
        out["churn: queries/s right after"] = len(after) / sum(after)
        settle(shop)
        out["churn: disk over before"] = shop.info["disk_bytes"] / before
        late = search_while(shop, data, lambda: time.sleep(1), 1)
        out["churn: queries/s settled"] = len(late) / sum(late)
        truth = np.stack([shop.search(q, K, plan="plain").ids for q in data.Q[:200]])
        found = np.stack([shop.search(q, K, target_recall=0.95).ids for q in data.Q[:200]])
        out["churn: recall at 0.95"] = recall(found, truth)
    return out


def opening(folder: str, data: Data) -> dict[str, float]:
    path, times = os.path.join(folder, "shop"), []
    for _ in range(5):
        start = time.perf_counter()
        with kith.Collection(path, read_only=True) as shop:
            shop.search(data.Q[0], K, target_recall=0.95)
            times.append(time.perf_counter() - start)
    return {"open to first answer, ms": min(times) * 1e3}


PARTS = {"inserts": inserts, "load": load, "searches": searches, "filters": filters, "churn": churn, "opening": opening}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("base")
    parser.add_argument("queries")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--json")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--folder", help="where collections go; it is kept")
    arguments = parser.parse_args()
    data = Data(arguments.base, arguments.queries, arguments.rows)
    folder = arguments.folder or tempfile.mkdtemp(prefix="kith-marks-")
    os.makedirs(folder, exist_ok=True)
    results: dict[str, float] = {}
    print(f"{machine()}: {len(data.X):,} x {data.X.shape[1]}")
    try:
        for name in arguments.only:
            for what, value in PARTS[name](folder, data).items():
                results[what] = value
                print(f"{what:<60} {value:>14,.3f}", flush=True)
    finally:
        if not arguments.folder:
            shutil.rmtree(folder, ignore_errors=True)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine(), "rows": len(data.X), "results": results}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
