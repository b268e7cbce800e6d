# SPDX-License-Identifier: Apache-2.0
"""Inserts, loading, and what they take on the disk and in memory."""
from __future__ import annotations

import json
import time

import numpy as np

from .. import data
from ..drivers import NotOffered
from . import BATCH, K, Desk, Values, disk, rate


def inserts(desk: Desk, case: str) -> Values:
    """Rows a second into an empty store; case: batch.synced, batch.relaxed, single.synced or single.relaxed."""
    size, durability = case.split(".")
    count = min(len(desk.data.X), desk.effort.batched if size == "batch" else desk.effort.single)
    step = BATCH if size == "batch" else 1
    desk.store.create(desk.empty("inserts"), desk.data.X.shape[1], data.TWO, durability == "synced")
    ids, wrote, took = np.arange(count), 0, 0.0
    start = time.perf_counter()
    while wrote < count and took < desk.effort.inserting:
        part = slice(wrote, min(count, wrote + step))
        desk.store.write(ids[part], desk.data.X[part], desk.data.two[part])
        wrote, took = part.stop, time.perf_counter() - start
    desk.store.close()
    desk.empty("inserts")
    return {f"inserts.{case}.rate": wrote / took}


def load(desk: Desk) -> Values:
    """Everything, in batches, as durable as the store is by itself; all later rows work on this."""
    store, X, ids = desk.store, desk.data.X, np.arange(len(desk.data.X))
    store.create(desk.empty("shop"), X.shape[1], data.THREE, store.synced_by_default)
    start = time.perf_counter()
    for at in range(0, len(X), BATCH):
        part = slice(at, at + BATCH)
        store.write(ids[part], X[part], desk.data.payloads[part])
    added = time.perf_counter() - start
    if not store.searched:
        return {"load.added.s": added}
    out: Values = {}
    if store.searchable_at_once:
        out = {"load.added.s": added} | _at_once(desk)
    start = time.perf_counter()
    store.settle()
    out["load.indexed.s"] = added + time.perf_counter() - start
    return out


def _at_once(desk: Desk) -> Values:
    """Rate and recall of some queries when all is written and perhaps not yet indexed."""
    setting = desk.store.settings[-1] if desk.store.target is None else desk.store.target
    known = data.Truth(desk.data.X, desk.data.Q[:desk.effort.filtered], K)
    speed, answers = rate(lambda q: desk.store.search(q, K, setting), known.Q, desk.effort.seconds)
    return {"load.unindexed.rate": speed, "load.unindexed.recall": known.recall(answers)}


def sizes(desk: Desk) -> Values:
    """The disk over the vectors as float32, and memory by part, as the store tells it."""
    out: Values = {"disk.times": disk(desk.shop) / desk.data.X.nbytes}
    try:
        for name, size in desk.store.memory_parts().items():
            out[f"memory.part {name}.mb"] = size / 1e6
    except NotOffered:
        pass
    return out


def bulk(desk: Desk) -> Values:
    """A load of everything from files, over an index file of the same vectors."""
    store = desk.store
    if not hasattr(store, "load_files"):
        raise NotOffered
    vectors, payloads = desk.empty("bulk.npy"), desk.folder / "payloads.jsonl"
    np.save(vectors, desk.data.X)
    payloads.write_text("".join(json.dumps(payload) + "\n" for payload in desk.data.payloads), encoding="utf-8")
    start = time.perf_counter()
    store.build_file(vectors, desk.folder / "bulk.kith")
    built = time.perf_counter() - start
    other = type(store)(store.threads)
    other.create(desk.empty("bulk"), desk.data.X.shape[1], data.THREE, True)
    start = time.perf_counter()
    other.load_files(vectors, payloads)
    loaded = time.perf_counter() - start
    other.close()
    for name in ("bulk", "bulk.kith", "bulk.npy", "payloads.jsonl"):
        path = desk.folder / name
        path.unlink() if path.is_file() else desk.empty(name)
    return {"bulk.s": loaded, "bulk.file.s": built, "bulk.times": loaded / built}
