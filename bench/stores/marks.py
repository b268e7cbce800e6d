# SPDX-License-Identifier: Apache-2.0
"""The rows of the table, and what kith set itself to reach in each: a floor, or a ratio inside the same run."""
from __future__ import annotations

import dataclasses
from typing import Any, Callable, Optional

Stores = dict[str, dict[str, float]]  # values by store
BESIDE = ("kith", "kith_index", "sqlite_rows")


def value(stores: Stores, store: str, name: str) -> Optional[float]:
    return stores.get(store, {}).get(name)


def best_peer(stores: Stores, *names: str) -> Optional[float]:
    """The highest of the peers' values of these names."""
    return max((values[name] for store, values in stores.items() if store not in BESIDE for name in names
                if name in values), default=None)


def ratio(a: Optional[float], b: Optional[float]) -> Optional[float]:
    return a / b if a is not None and b else None


@dataclasses.dataclass(frozen=True)
class Mark:
    """What is asked of kith in a row. limit: with "least", the measure must not be below it; with "most", not above."""

    text: str
    measure: Callable[[Stores], Optional[float]]
    limit: float
    sense: str = "least"
    times: bool = True  # whether the measure is a ratio

    def reached(self, stores: Stores) -> Optional[bool]:
        found = self.measure(stores)
        if found is None:
            return None
        return found >= self.limit if self.sense == "least" else found <= self.limit

    def words(self, stores: Stores) -> str:
        """The measure, and whether that is enough."""
        found = self.measure(stores)
        if found is None:
            return "not measured"
        number = f"{found:.2f}x" if self.times else plain(found)
        return f"**{number}**" if self.reached(stores) else f"{number}, missed"


def plain(number: float) -> str:
    """Three digits that count."""
    if number == 0 or abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def at_least(name: str, limit: float, text: str) -> Mark:
    return Mark(text, lambda stores: value(stores, "kith", name), limit, times=False)


def at_most(name: str, limit: float, text: str, times: bool = False) -> Mark:
    return Mark(text, lambda stores: value(stores, "kith", name), limit, "most", times)


def of_peer(name: str, limit: float, *others: str) -> Mark:
    """others: what a peer may do instead."""
    return Mark(f"≥ {limit:g}x the best peer",
                lambda stores: ratio(value(stores, "kith", name), best_peer(stores, name, *others)), limit)


def of_store(name: str, store: str, limit: float, who: str) -> Mark:
    return Mark(f"≥ {limit:g}x {who}",
                lambda stores: ratio(value(stores, "kith", name), value(stores, store, name)), limit)


@dataclasses.dataclass(frozen=True)
class Row:
    """A value of the stores, and the marks on it. recall: the name of what must be told beside a rate."""

    name: str
    title: str
    unit: str
    marks: tuple[Mark, ...] = ()
    recall: Optional[str] = None
    drawn: bool = True


@dataclasses.dataclass(frozen=True)
class Part:
    """Some rows under a head."""

    title: str
    rows: tuple[Row, ...]


def _inserts() -> tuple[Row, ...]:
    blobs, rows = "SQLite's own rows", "SQLite's"
    return (
        Row("inserts.batch.synced.rate", "durable inserts, batches of 1,000", "/s",
            (at_least("inserts.batch.synced.rate", 50_000, "≥ 50,000/s"),
             of_store("inserts.batch.synced.rate", "sqlite_rows", 0.7, blobs))),
        Row("inserts.batch.relaxed.rate", "batches of 1,000, not synced", "/s"),
        Row("inserts.single.synced.rate", "single durable inserts", "/s",
            (of_store("inserts.single.synced.rate", "sqlite_rows", 0.8, rows),)),
        Row("inserts.single.relaxed.rate", "single inserts, not synced", "/s",
            (at_least("inserts.single.relaxed.rate", 40_000, "≥ 40,000/s"),)))


def _filters() -> tuple[Row, ...]:
    rows = []
    for share, limit in (("0.1", 2), ("1", 3), ("10", 6), ("50", 8)):
        for kind, words in (("random", "at random"), ("category", "by category")):
            name = f"filter {share}.{kind}"
            rows.append(Row(f"{name}.rate", f"filter of {share} %, {words}", "/s",
                            (of_peer(f"{name}.rate", limit), at_least(f"{name}.recall", 0.99, "recall ≥ .99")),
                            f"{name}.recall"))
    return tuple(rows)


def _flip() -> Row:
    return Row("flip.pause.ms", "flip to the next generation: pause", "ms", (at_most("flip.pause.ms", 1, "≤ 1 ms"),))


PARTS = (
    Part("Writing", (
        *_inserts(),
        Row("load.added.s", "everything written", "s"),
        Row("load.indexed.s", "searchable and indexed", "s", (at_most("load.indexed.s", 8, "≤ 8 s"),)),
        Row("load.unindexed.recall", "recall when written, before that", "",
            (at_least("load.unindexed.recall", 0.95, "≥ .95"),), drawn=False),
        Row("bulk.s", "bulk load from files", "s",
            (at_most("bulk.times", 1.2, "≤ 1.2x an index file", True),)))),
    Part("Searching", (
        Row("search at 0.95.rate", "one query a call at .95", "/s",
            (of_store("search at 0.95.rate", "kith_index", 0.7, "one index file"), of_peer("search at 0.95.rate", 8))),
        Row("search at 0.99.rate", "one query a call at .99", "/s",
            (of_store("search at 0.99.rate", "kith_index", 0.7, "one index file"), of_peer("search at 0.99.rate", 8))),
        Row("target 0.95.recall", "recall at a target of .95", "",
            (at_least("target 0.95.recall", 0.95, "≥ .95"),), drawn=False),
        Row("target 0.99.recall", "recall at a target of .99", "",
            (at_least("target 0.99.recall", 0.99, "≥ .99"),), drawn=False),
        Row("batches at 0.95.rate", "batches of 100 at .95", "/s",
            (of_peer("batches at 0.95.rate", 20, "search at 0.95.rate"),)),
        *_filters(),
        Row("segment.rate", "one segment of 100 rows", "/s", (at_least("segment.rate", 100_000, "≥ 100,000/s"),),
            "segment.recall"),
        Row("open.ms", "open to first answer", "ms", (at_most("open.ms", 10, "≤ 10 ms"),)),
        Row("large.open.ms", "open many vectors of 8 dimensions", "ms",
            (at_most("large.open.ms", 50, "≤ 50 ms"),)),
        Row("cached.us", "an answer that was kept", "us", (at_most("cached.us", 3, "≤ 3 us"),)))),
    Part("Changing", (
        Row("churn.before.rate", "one query a call at .95, before changes", "/s"),
        Row("churn.least.rate", "while 20 % are replaced: slowest window", "/s",
            (at_least("churn.share", 0.6, "≥ 0.6x of before"),)),
        Row("churn.settling.s", "then until indexed again", "s"),
        Row("churn.disk.times", "most disk meanwhile, over before", "x",
            (at_most("churn.disk.times", 1.6, "≤ 1.6x", True),)),
        Row("churn.recall", "recall afterwards at the same setting", "", drawn=False),
        Row("twice.recall", "recall when every vector was replaced twice", "",
            (at_most("twice.lost", 0.01, "within .01 of fresh"),), drawn=False),
        Row("ingest.idle p99.ms", "search, p99, idle", "ms"),
        Row("ingest.p99.ms", "search, p99, during a full-rate ingest", "ms",
            (at_most("ingest.p99.times", 2, "≤ 2x idle", True),)),
        Row("ingest.rate", "rows a second of that ingest", "/s"),
        _flip(),
        Row("states.short", "answers short of k, of the states tried", "",
            (at_most("states.short", 0, "0"), at_least("states.tried", 100_000, "of 100,000 states")), drawn=False))),
    Part("Space", (
        Row("disk.times", "disk, over the vectors as float32", "x", (at_most("disk.times", 1.7, "≤ 1.7x", True),)),
        Row("memory.total.mb", "resident memory", "MB"),
        Row("memory.file.mb", "of it pages of files", "MB", drawn=False),
        Row("memory.anonymous.mb", "of it the process's own", "MB", drawn=False))),
)


def values_of(result: dict[str, Any]) -> Stores:
    """Values by store, of those that have any."""
    return {store["store"]: store["values"] for store in result["stores"] if store["values"]}
