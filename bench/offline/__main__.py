# SPDX-License-Identifier: Apache-2.0
"""python -m offline: see --help."""
from __future__ import annotations

import argparse
import dataclasses
import datetime
import os
import pathlib
import shutil
import sys
from typing import Any, Callable

import numpy as np
from peers import machine, page
from serve.asked import synthetic, unit

from . import joins, report

RESULT = pathlib.Path("build/bench/offline.json")
NAMES = ("kith join", "kith.ray", "kith.ray, 4 shards", "Faiss on Ray", "kith.spark", "kith.spark, 4 shards")
NOISE = 0.35  # length of what is added to an item to make a query of it


def say(text: str) -> None:
    print(f"offline: {text}", file=sys.stderr, flush=True)


def queries_of(items: np.ndarray, count: int) -> np.ndarray:
    """Items that are moved, for there is no file of so many people."""
    rng = np.random.default_rng(23)
    found = items[rng.integers(0, len(items), count)].astype(np.float32)
    return unit(found + rng.standard_normal(found.shape, dtype=np.float32) * np.float32(NOISE / found.shape[1]**0.5))


def data_of(options: argparse.Namespace) -> tuple[str, np.ndarray, np.ndarray]:
    if options.items:
        items = np.load(options.items)[:options.rows]
        name = options.items.stem
    else:
        made = synthetic(options.rows or 100_000, 384, 1)
        items, name = made.base, "synthetic vectors"
    if options.queries:
        queries, asked = np.load(options.queries)[:options.count].astype(np.float32), options.queries.stem
    else:
        queries, asked = queries_of(items, options.count), "made of items by adding noise"
    if items.ndim != 2 or queries.ndim != 2 or items.shape[1] != queries.shape[1]:
        raise ValueError(f"items of the shape {items.shape} and queries of {queries.shape} do not fit")
    return f"{len(queries):,} queries ({asked}) x {len(items):,} x {items.shape[1]} ({name})", items, queries


def measure(options: argparse.Namespace) -> dict[str, Any]:
    os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    name, items, queries = data_of(options)
    say(f"laying out {name}")
    bench = joins.Bench(options.folder.resolve(), options.kith.resolve(), options.k, options.target)
    joins.lay_out(bench, items, queries)
    del items, queries
    runs = prepared(bench, options.only or list(NAMES))
    failed: dict[str, str] = {}
    best: dict[str, joins.Run] = {}
    least: dict[str, int] = {}  # bytes of a worker, which remembers what it has run before
    for round in range(options.rounds + 1):  # the first one only starts workers and fills caches
        for what, run in runs.items():
            try:
                found = run()
            except Exception as error:  # an engine's failure is one of its row
                failed[what] = f"{type(error).__name__}: {str(error)[:300]}"
                continue
            say(f"round {round}: {what}: {found.seconds:.1f} s, CPU {found.cpu:.1f} s, recall {found.recall:.3f}")
            least[what] = min(least.get(what, found.worker_bytes), found.worker_bytes)
            if round and (what not in best or found.cpu < best[what].cpu):
                best[what] = found
    return {"data": name, "k": options.k, "target": options.target, "rounds": options.rounds,
            "date": datetime.date.today().isoformat(), "machine": machine.describe(),
            "index_bytes": os.path.getsize(bench.path("items.kith")), "failed": failed,
            "runs": {what: {**dataclasses.asdict(best[what]), "worker_bytes": least[what]} for what in NAMES
                     if what in best}}


def prepared(bench: joins.Bench, names: list[str]) -> dict[str, Callable[[], joins.Run]]:
    """The joins by name, with engines started and indexes built."""
    if any("4 shards" in name for name in names):
        say("building 4 shards")
        joins.shards_on_ray(bench, 4)
    if any("ay" in name for name in names):
        joins.start_ray()
    if any("spark" in name for name in names):
        joins.start_spark(bench)
    runs: dict[str, Callable[[], joins.Run]] = {
        "kith join": lambda: joins.command(bench), "kith.ray": lambda: joins.on_ray(bench),
        "kith.ray, 4 shards": lambda: joins.on_ray(bench, "shards-4"), "kith.spark": lambda: joins.on_spark(bench),
        "kith.spark, 4 shards": lambda: joins.on_spark(bench, "shards-4")}
    if "Faiss on Ray" in names:
        say("building an index of Faiss's")
        probes = joins.build_faiss(bench)
        say(f"Faiss reaches the recall with {probes} lists")
        runs["Faiss on Ray"] = lambda: joins.faiss_on_ray(bench, probes)
    return {name: runs[name] for name in NAMES if name in names}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m offline", description="Measure joins on Ray and Spark.")
    top.add_argument("--items", type=pathlib.Path, help="an .npy file of vectors of unit length (default: synthetic)")
    top.add_argument("--rows", type=int, help="only the first items, or so many synthetic ones")
    top.add_argument("--queries", type=pathlib.Path, help="another one (default: made of the items)")
    top.add_argument("--count", type=int, default=200_000, help="queries (%(default)s)")
    top.add_argument("-k", type=int, default=10)
    top.add_argument("--target", type=float, default=0.95, help="recall that is asked for (%(default)s)")
    top.add_argument("--rounds", type=int, default=3)
    top.add_argument("--only", nargs="*", choices=NAMES, help="some joins")
    top.add_argument("--kith", type=pathlib.Path, default=pathlib.Path("build/kith"), help="the command")
    top.add_argument("--folder", type=pathlib.Path, default=RESULT.parent / "offline", help="for what is made")
    top.add_argument("--json", type=pathlib.Path, default=RESULT, help="the result (%(default)s), and .svg beside it")
    top.add_argument("--docs", type=pathlib.Path, metavar="PAGE",
                     help="measure nothing: write the table and the picture of the result into a Markdown page")
    return top


def main() -> int:
    return page.run(parser().parse_args(), "offline", measure, report)


if __name__ == "__main__":
    sys.exit(main())
