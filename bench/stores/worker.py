# SPDX-License-Identifier: Apache-2.0
"""One store in a process of its own: `python -m stores.worker FD STORE` with commands on stdin, answers on FD.

Commands and answers are JSON, one a line, as those of peers.worker. Standard output belongs to the library.

  {"do": "create", "base": file.npy, "queries": file.npy, "folder": path, "effort": {...}, "cores": n}  -> {"version"}
  {"do": "row", "name": f, "words": [...]}   -> {"values": {...}, "cpu_seconds", "seconds"}, or {"not_offered": text},
                                                or {"failed": text}
  {"do": "done"}                             -> {}

A row that fails ends itself alone; only what `create` raises ends the process, with {"error": text}.
"""
from __future__ import annotations

import importlib.metadata
import os
import pathlib
import sys
import time
import traceback
from typing import Any

import numpy as np

from peers.worker import pin, resident, serve

from . import data, drivers, rows
from .rows import changing, keeping, searching, writing

ROWS = {function.__name__: function for function in (
    writing.inserts, writing.load, writing.sizes, writing.bulk, searching.search, searching.batches, searching.filters,
    searching.segment, searching.opening, searching.large, searching.cached, changing.churn, changing.twice,
    changing.ingest, keeping.states, keeping.flip)}
CHANGING = {"inserts", "churn", "twice", "ingest", "states"}
TOGETHER = {"ingest"}  # two threads of the client: on all processors


class Worker:
    """The state between commands."""

    def __init__(self, name: str):
        self.name = name
        self.cpus = sorted(os.sched_getaffinity(0))

    def create(self, base: str, queries: str, folder: str, effort: dict[str, Any], cores: int) -> dict[str, Any]:
        self.cores = cores
        pin(self.cpus[-cores:])
        known = data.Data(np.load(base), np.load(queries))
        place = pathlib.Path(folder) / self.name
        place.mkdir(parents=True)
        self.desk = rows.Desk(drivers.module(self.name).Driver(cores), known, place, rows.Effort(**effort),
                              drivers.module(self.name).KIND == "kith")
        self.baseline = resident()
        return {"version": self._version()}

    def _version(self) -> str:
        module = drivers.module(self.name)
        package = "kith-search" if module.PACKAGE.startswith(".") else module.PACKAGE.split()[:1]
        if not package:
            import sqlite3

            return f"SQLite {sqlite3.sqlite_version}"
        try:
            return importlib.metadata.version(package if isinstance(package, str) else package[0])
        except importlib.metadata.PackageNotFoundError:
            return "unknown"

    def row(self, name: str, words: list[str]) -> dict[str, Any]:
        pin(self.cpus if name in TOGETHER else self.cpus[-self.cores:])
        start, cpu = time.perf_counter(), time.process_time()
        try:
            if name in CHANGING and not self.desk.store.changes:
                raise drivers.NotOffered("it never changes")
            values = ROWS[name](self.desk, *words)
        except drivers.NotOffered as why:
            return {"not_offered": str(why)}
        except Exception as error:  # whatever a library raises is a result, told beside the others
            traceback.print_exc()
            return {"failed": f"{type(error).__name__}: {error}"}
        if name == "sizes":
            values |= {f"memory.{part}.mb": (size - self.baseline[part]) / 1e6 for part, size in resident().items()}
        return {"values": values, "seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}

    def done(self) -> dict[str, Any]:
        self.desk.store.close()
        return {}


def main(arguments: list[str]) -> int:
    return serve(int(arguments[1]), lambda: Worker(arguments[2]))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
