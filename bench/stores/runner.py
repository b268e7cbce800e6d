# SPDX-License-Identifier: Apache-2.0
"""Measure stores on one set of vectors: each in a process of its own, a row at a time, taking turns.

I1  At any time at most one worker is asked for something. (What a store does in the background by itself goes on, on
    the processors that it has; every row ends with it having settled, or begins so.)
I2  A row that fails is told as such and ends nothing else; a worker that dies or is late ends its own store only.
I3  Of a row with several rounds all stores have the first before one has the second, and nobody is always first.
"""
from __future__ import annotations

import collections
import dataclasses
import datetime
import pathlib
import shutil
import tempfile
from typing import Any, Callable, Iterable, Optional

import numpy as np

from peers import machine, truth
from peers.runner import Failure, Process, check_head, need

from . import data, drivers, rows

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Step:
    """A row of worker.ROWS with its words. rounds: whether it is repeated."""

    row: str
    words: tuple[str, ...] = ()
    repeated: bool = False


STEPS = (
    *(Step("inserts", (case,), True) for case in ("batch.synced", "batch.relaxed", "single.synced", "single.relaxed")),
    Step("load"), Step("search", repeated=True), Step("batches", repeated=True), Step("filters", repeated=True),
    Step("segment", repeated=True), Step("sizes"),  # the memory is that after searches
    Step("opening", repeated=True), Step("cached"), Step("bulk", repeated=True),
    Step("churn"), Step("twice"), Step("ingest"), Step("flip"), Step("states"),
)
NAMES = tuple(dict.fromkeys(step.row for step in STEPS))


@dataclasses.dataclass
class Options:
    """How to measure."""

    rounds: int = 3
    cores: int = 1  # processors that each store has, except where two threads of a client work at once
    only: tuple[str, ...] = NAMES
    large: Optional[int] = None  # rows of a synthetic store that is opened
    timeout: float = 3600.0  # seconds that one row of one store may take
    effort: rows.Effort = dataclasses.field(default_factory=rows.Effort)

    def steps(self) -> list[Step]:
        """Rows that stand on the load bring it along."""
        alone = {"inserts", "bulk", "states"}
        wanted = {*self.only, *(["load"] if set(self.only) - alone else [])}
        if wanted & {"churn", "twice", "ingest"}:
            wanted.add("search")  # which says at what setting
        some = [step for step in STEPS if step.row in wanted]
        return some + ([Step("large", (str(self.large),))] if self.large else [])


@dataclasses.dataclass(frozen=True)
class Named:
    """What Process wants of an entry."""

    name: str


class Measurement:
    """Some stores, and what is known of each."""

    def __init__(self, X: np.ndarray, Q: np.ndarray, options: Options, scratch: pathlib.Path, logs: pathlib.Path,
                 say: Callable[[str], None]):
        self.options, self.scratch, self.logs, self.say = options, scratch, logs, say
        self.running: collections.deque[tuple[Process, dict[str, Any]]] = collections.deque()
        np.save(scratch / "base.npy", X)
        np.save(scratch / "queries.npy", Q)

    def start(self, name: str) -> dict[str, Any]:
        """The result of a store, which is filled later unless it cannot be had."""
        module = drivers.module(name)
        result: dict[str, Any] = {"store": name, "kind": module.KIND, "package": module.PACKAGE, "status": "ok",
                                  "values": {}, "not_offered": {}, "failed": {}}
        self.logs.mkdir(parents=True, exist_ok=True)
        worker = Process(Named(name), self.logs / f"{name}.log", self.options.timeout, "stores.worker")
        try:
            result |= worker.ask("create", base=str(self.scratch / "base.npy"), folder=str(self.scratch / "stores"),
                                 queries=str(self.scratch / "queries.npy"), cores=self.options.cores,
                                 effort=dataclasses.asdict(self.options.effort))
            self.running.append((worker, result))
        except Failure as error:
            result |= {"status": error.kind, "error": str(error)}
            self.say(f"{name}: {error}")
            worker.close()
        return result

    def ask(self, worker: Process, result: dict[str, Any], step: Step) -> None:
        """One row of one store. Failure: the store is gone."""
        name = " ".join((step.row, *step.words))
        if name in result["not_offered"] or name in result["failed"]:
            return
        answer = worker.ask("row", name=step.row, words=list(step.words))
        for kind in ("not_offered", "failed"):
            if kind in answer:
                result[kind][name] = answer[kind]
                if kind == "failed":
                    self.say(f"{result['store']}: {name}: {answer[kind]}")
                return
        result["values"] = rows.merged(result["values"], answer["values"])
        self.say(f"{result['store']}: {name}, {answer['seconds']:.1f} s")

    def turn(self, step: Step) -> None:
        """One row of all stores."""
        for worker, result in list(self.running):
            try:
                self.ask(worker, result, step)
            except Failure as error:
                result |= {"status": error.kind, "error": f"{' '.join((step.row, *step.words))}: {error}"}
                self.say(f"{result['store']}: {result['error']}")
                self.running.remove((worker, result))
                worker.close()
        self.running.rotate(1)

    def run(self, names: Iterable[str]) -> list[dict[str, Any]]:
        """All rows of all stores."""
        try:
            results = [self.start(name) for name in names]
            for step in self.options.steps():
                for _ in range(self.options.rounds if step.repeated else 1):
                    self.turn(step)
        finally:
            for worker, _ in self.running:
                worker.close()
        return results


def derived(values: dict[str, Any]) -> dict[str, Any]:
    """With the rates at given recalls that follow from points."""
    out = dict(values)
    for name in ("search", "batches"):
        for recall in (0.95, 0.99):
            found = rows.at_recall(values.get(f"{name}.points", []), recall)
            if found is not None:
                out[f"{name} at {recall}.rate"] = found
    return out


def measure(base: pathlib.Path, asked: pathlib.Path, count: Optional[int], names: list[str], options: Options,
            folder: pathlib.Path, command: str, say: Callable[[str], None] = print,
            absent: Optional[dict[str, str]] = None) -> dict[str, Any]:
    """Measure stores on the first rows of a file of vectors. absent: why a store could not be installed. Returns the
    result as check() wants it."""
    X, Q = data.read(base, count), data.read(asked, 1000)
    data.Data(X, Q)  # refuses what no worker could use
    folder = folder.resolve()  # workers have a folder of their own
    folder.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="stores-", dir=folder))
    try:
        found = Measurement(X, Q, options, scratch, folder / "logs", say).run(names)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for result in found:
        result["values"] = derived(result["values"])
        if result["status"] == "missing" and (absent or {}).get(result["store"]):
            result["error"] = (absent or {})[result["store"]]
    return {"format": FORMAT, "date": datetime.date.today().isoformat(), "command": command, "machine": told(),
            "data": {"name": base.stem, "rows": len(X), "dim": X.shape[1], "queries": len(Q), "raw_bytes": X.nbytes,
                     "fingerprint": truth.fingerprint(X, Q)},
            "options": {**dataclasses.asdict(options), "only": list(options.only)},
            "versions": {"numpy": np.__version__}, "stores": found}


def told() -> dict[str, Any]:
    """The machine, and the tier that kith uses on it, where kith is installed here."""
    about = machine.describe()
    try:
        import kith

        cpu = kith.cpu()
        return {**about, "tier_used": cpu["tier"], "model": cpu["model"]}
    except ImportError:
        return about


def check(result: Any) -> None:
    """ValueError unless this is a result of measure(): what report and picture rely on."""
    check_head(result, FORMAT, "stores")
    for store in result["stores"]:
        need(isinstance(store, dict) and {"store", "kind", "status", "values"} <= store.keys(), "a store has no name")
        need(store["status"] == "ok" or bool(store.get("error")), f"{store['store']}: {store['status']}, and no reason")
        numbers = [v for name, v in store["values"].items() if not name.endswith("points")]
        need(all(isinstance(v, (int, float)) for v in numbers), f"{store['store']}: a value is no number")
