# SPDX-License-Identifier: Apache-2.0
"""Measure searches that may find some of the rows only: single queries of one thread, entry by entry in turns.

KINDS of filters, each for some shares of the rows that it leaves:

  random  rows by a coin: where a vector lies says nothing about whether it may be found
  place   the rows around one of them, as a category or a tenant has them; queries come from anywhere
  near    the same rows, and the queries that lie nearest to their middle, as of a shopper in that department

Of each kind and share there are several filters, which share out the queries; time and recall are those of all of them
together. A row that the filter forbids is no answer. Settings go from fast to thorough, and an entry's sweep ends where
nearly everything is found, unless its settings are recalls that it is asked for.
"""
from __future__ import annotations

import dataclasses
import datetime
import pathlib
import shutil
from typing import Any, Callable, Iterator, Optional

import numpy as np

from . import datasets, machine, runner, truth
from .libraries import Entry

KINDS = {"random": "any rows", "place": "rows around one of them, queries from anywhere",
         "near": "the same rows, queries near them"}
SHARES = (0.5, 0.1, 0.01, 0.001)
ENOUGH = 0.995  # recall that ends a sweep


@dataclasses.dataclass
class Options:
    """How to measure."""

    k: int = 10
    rounds: int = 2
    filters: int = 3  # of each kind and share
    queries: int = 60  # of each filter
    shares: tuple[float, ...] = SHARES
    build_threads: int = 2
    search_threads: int = 1
    timeout: float = 3600.0


@dataclasses.dataclass
class Filter:
    """Rows that may be found, ascending; the queries that are asked, and the true distances of each, (q, k')."""

    rows: np.ndarray
    queries: np.ndarray
    true: np.ndarray


def scores(base: np.ndarray, query: np.ndarray, metric: str) -> np.ndarray:
    """How far each row is from a query, up to a constant, in float32."""
    products = np.concatenate([np.asarray(piece) @ query for piece in pieces(base)])
    if metric == "ip":
        return -products
    norms = np.concatenate([np.einsum("ij,ij->i", piece, piece) for piece in pieces(base)])
    return norms - 2 * products


def pieces(base: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(base), truth.BLOCK):
        yield base[start:start + truth.BLOCK]


def make(data: datasets.Data, kind: str, share: float, options: Options) -> list[Filter]:
    """The filters of a kind and share: the same for all entries, and in every run."""
    count = max(1, round(share * len(data.base)))
    out = []
    for number in range(options.filters):
        rng = np.random.default_rng([7, number, round(1e6 * share)])  # place and near have the same rows
        middle = np.asarray(data.base[rng.integers(len(data.base))])
        start = number * options.queries
        queries = data.queries[np.arange(start, start + options.queries) % len(data.queries)]
        if kind == "random":
            rows = rng.permutation(len(data.base))[:count]
        else:
            rows = np.argsort(scores(data.base, middle, data.metric), kind="stable")[:count]
        if kind == "near":
            nearest = np.argsort(scores(data.queries, middle, data.metric), kind="stable")
            queries = data.queries[np.sort(nearest[:options.queries])]
        rows = np.sort(rows)
        _, true = truth.exact(data.base[rows], queries, data.metric, min(options.k, count))
        out.append(Filter(rows, queries, true))
    return out


def judge(data: datasets.Data, filter_: Filter, ids: np.ndarray) -> tuple[float, int]:
    """Recall of answers, and how many queries got fewer than there are, or what they may not have."""
    wanted = filter_.true.shape[1]
    allowed = np.isin(ids, filter_.rows)
    short = int((allowed.sum(axis=1) < wanted).sum())
    # Answers stand in order: what is not allowed is left out, and the first of the others count.
    ids = np.take_along_axis(np.where(allowed, ids, -1), np.argsort(~allowed, axis=1, kind="stable"), 1)
    return truth.recall(ids, data.base, filter_.queries, filter_.true, data.metric), short


class Measurement:
    """One data set, some entries: their workers, and what each of them reached."""

    def __init__(self, data: datasets.Data, options: Options, folder: pathlib.Path, say: Callable[[str], None]):
        self.data, self.options, self.folder, self.say = data, options, folder, say
        self.scratch = (folder / "filters" / f"work-{data.name}").resolve()  # workers run elsewhere
        self.logs = folder / "logs"
        for path in (self.scratch, self.logs):
            path.mkdir(parents=True, exist_ok=True)

    def start(self, entry: Entry) -> tuple[Optional[runner.Process], dict[str, Any]]:
        """Build an index. (None, result) if that fails."""
        worker = runner.Process(entry, self.logs / f"{self.data.name}.{entry.name}.filters.log", self.options.timeout)
        try:
            made = worker.ask("create", metric=self.data.metric, build_threads=self.options.build_threads,
                              search_threads=self.options.search_threads, filtered=True)
            built = worker.ask("build", base=str(self.data.path.resolve()))
        except runner.Failure as error:
            worker.close()
            self.say(f"{entry.name}: {error}")
            return None, {**runner.failed(entry, error), "cases": []}
        self.say(f"{entry.name}: built in {built['seconds']:.1f} s")
        return worker, {"entry": entry.name, "library": entry.library, "package": entry.package, "status": "ok",
                        "version": made["version"], "name": made["name"], "cases": []}

    def case(self, kind: str, share: float, running: list[tuple[runner.Process, dict[str, Any]]]) -> None:
        """All entries on the filters of a kind and share. A worker that fails leaves the list."""
        made = make(self.data, kind, share, self.options)
        for number, filter_ in enumerate(made):
            np.save(self.scratch / f"rows-{number}.npy", filter_.rows)
            np.save(self.scratch / f"queries-{number}.npy", filter_.queries)
        found: dict[str, list[dict[str, Any]]] = {result["entry"]: [] for _, result in running}
        for round_ in range(self.options.rounds):
            for worker, result in list(running):
                try:
                    self.sweep(worker, made, found[result["entry"]], first=round_ == 0)
                except runner.Failure as error:
                    result.update(status=error.kind, error=str(error))
                    self.say(f"{result['entry']}: {error}")
                    worker.close()
                    running.remove((worker, result))
                    found[result["entry"]] = []
        for _, result in running:
            result["cases"].append({"kind": kind, "share": share, "points": found[result["entry"]]})
        self.say(f"{self.data.name}: {kind} {100 * share:g} %")

    def sweep(self, worker: runner.Process, made: list[Filter], points: list[dict[str, Any]], first: bool) -> None:
        """Each setting over all filters; the first time until enough is found, later those settings again."""
        settings = range(len(worker.entry.filters)) if first else range(len(points))
        for setting in settings:
            seconds, recall, short, tails, making = 0.0, 0.0, 0, [], []
            for number, filter_ in enumerate(made):
                making.append(worker.ask("filter", rows=str(self.scratch / f"rows-{number}.npy"))["seconds"])
                ids = str(self.scratch / "ids.npy") if first else None
                answer = worker.ask("single", setting=setting, queries=str(self.scratch / f"queries-{number}.npy"),
                                    k=filter_.true.shape[1], ids=ids)
                seconds += answer["seconds"]
                tails.append(answer["p99_us"])
                if ids:
                    each, few = judge(self.data, filter_, np.load(ids))
                    recall, short = recall + each / len(made), short + few
            rate = sum(len(filter_.queries) for filter_ in made) / seconds
            if first:
                points.append({"setting": worker.entry.filtered().label(setting), "recall": recall, "short": short,
                               "qps": rate, "rounds": [rate], "p99_us": max(tails), "filter_us": 1e6 * min(making)})
                if recall >= ENOUGH and worker.entry.filters[setting][0] != "target_recall":
                    break
            else:
                point = points[setting]
                point["rounds"].append(rate)
                point.update(qps=max(point["rounds"]), p99_us=min(point["p99_us"], max(tails)),
                             filter_us=min(point["filter_us"], 1e6 * min(making)))


def measure(data: datasets.Data, entries: dict[str, Entry], options: Options, folder: pathlib.Path, command: str,
            say: Callable[[str], None] = print) -> dict[str, Any]:
    """Measure the entries that take filters on a data set; the result is as check() wants it."""
    able = {name: entry for name, entry in entries.items() if entry.filters}
    say(f"{data.name}: {len(data.base):,} x {data.base.shape[1]}, filters, {', '.join(able)}")
    run, results = Measurement(data, options, folder, say), []
    running: list[tuple[runner.Process, dict[str, Any]]] = []
    try:
        for entry in able.values():
            worker, result = run.start(entry)
            results.append(result)
            if worker:
                running.append((worker, result))
        for share in options.shares:
            for kind in KINDS:
                run.case(kind, share, running)
    finally:
        for worker, _ in running:
            worker.close()
        shutil.rmtree(run.scratch)
    return {"format": runner.FORMAT, "date": datetime.date.today().isoformat(), "command": command,
            "machine": machine.describe(),
            "data": {"name": data.name, "source": data.source, "rows": len(data.base), "dim": data.base.shape[1],
                     "metric": data.metric}, "options": dataclasses.asdict(options),
            "versions": {"numpy": np.__version__}, "results": results}


def check(result: Any) -> None:
    """ValueError unless this is a result of measure(): what its report relies on."""
    runner.check_head(result, runner.FORMAT, "results")
    for row in result["results"]:
        runner.need(isinstance(row, dict) and {"entry", "library", "status", "cases"} <= row.keys(),
                    "a row lacks its name")
        for case in row["cases"]:
            runner.need(case.get("kind") in KINDS and 0 < case.get("share", 0) <= 1, f"{row['entry']}: of no kind")
            for point in case["points"]:
                runner.need(0 <= point["recall"] <= 1 and point["qps"] > 0, f"{row['entry']}: no recall and speed")
