# SPDX-License-Identifier: Apache-2.0
"""One entry in a process of its own: `python -m peers.worker FD ENTRY` with commands on stdin, answers on FD.

Commands and answers are JSON, one a line. Standard output belongs to the library, which may print what it likes.

  {"do": "create", "metric": m, "build_threads": b, "search_threads": s}  -> {"version", "name"}; with
                   "filtered": true the settings are those for filters
  {"do": "build", "base": file.npy}                 -> {"seconds", "memory": {...}}
  {"do": "touch", "setting": i, "queries": file.npy, "k": k}  -> {"seconds"}: before the first of the next
  {"do": "batch", "setting": i, "queries": file.npy, "k": k, "ids": file.npy or null}  -> {"seconds", "cpu_seconds"}
  {"do": "single", as batch}                        -> the same, and "p50_us", "p99_us"
  {"do": "calls", as batch, "size": n}              -> as batch, of n queries a call
  {"do": "filter", "rows": file.npy or null}        -> {"seconds"}; searches find these rows only
  {"do": "memory"}                                  -> {"total", "file", "anonymous"} in bytes above the baseline, and
                                                       "originals": what of it are vectors as they were given
  {"do": "done"}                                    -> {}

An exception is answered with {"error": its text, "traceback": text} and ends the process.
"""
from __future__ import annotations

import ctypes
import gc
import importlib.metadata
import json
import os
import sys
import time
import traceback
from typing import Any, Callable

import numpy as np

from . import libraries
from .base.module import resident_kib
from .resident import originals

WARM_UP = 32  # queries before a timed call: tables that depend on a setting are allocated then


def resident() -> dict[str, int]:
    """Resident bytes, after what was freed has gone back to the system."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        pass
    return {name: int(value * 1024) for name, value in resident_kib().items()}


def peak_bytes() -> int:
    """Most resident memory since the last reset_peak."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def reset_peak() -> None:
    """Begin anew with the measurement of peak_bytes; where the system refuses, the peak is that of the process."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        pass


def pin(cpus: list[int]) -> None:
    """Keep all threads of this process, and those they start, on these processors."""
    for task in os.listdir("/proc/self/task"):
        try:
            os.sched_setaffinity(int(task), cpus)
        except ProcessLookupError:
            pass


def as_ids(answers: Any, k: int) -> np.ndarray:
    """Whatever a library returns as (q, k) int64, padded with -1."""
    if isinstance(answers, np.ndarray) and answers.ndim == 2 and answers.shape[1] == k:
        return answers.astype(np.int64)
    out = np.full((len(answers), k), -1, dtype=np.int64)
    for row, found in zip(out, answers):
        found = np.asarray(found).astype(np.int64)[:k]
        row[:len(found)] = found
    return out


class Worker:
    """The state between commands."""

    def __init__(self, entry: libraries.Entry):
        self.entry = entry
        self.cpus = sorted(os.sched_getaffinity(0))

    def create(self, metric: str, build_threads: int, search_threads: int, filtered: bool = False) -> dict[str, Any]:
        self.entry = self.entry.filtered() if filtered else self.entry
        self.algo = self.entry.create({"l2": "euclidean"}.get(metric, metric))
        self.algo.build_threads, self.algo.search_threads = build_threads, search_threads
        self.baseline = resident()
        package = "kith-search" if self.entry.library == "kith" else self.entry.package
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "unknown"
        return {"version": version, "name": str(self.algo)}

    def build(self, base: str) -> dict[str, Any]:
        pin(self.cpus[:self.algo.build_threads])
        X = np.array(np.load(base, mmap_mode="r"), dtype=np.float32, order="C")
        reset_peak()
        start = time.perf_counter()
        self.algo.fit(X)
        seconds = time.perf_counter() - start
        peak = peak_bytes() - self.baseline["total"]
        del X
        pin(self.cpus[-self.algo.search_threads:])
        return {"seconds": seconds, "memory": {**self.memory(), "peak": peak}}

    def touch(self, setting: int, queries: str, k: int) -> dict[str, Any]:
        """All queries once, before anything is measured: what is read for the first time is slow."""
        Q = self._prepare(setting, queries, k)
        start = time.perf_counter()
        self.algo.batch_query(Q, k)
        return {"seconds": time.perf_counter() - start}

    def memory(self) -> dict[str, int]:
        """Above the baseline, which was taken when the library was loaded and no data was. The base is let go of
        first: what of it remains is what the library keeps."""
        found = {name: value - self.baseline[name] for name, value in resident().items()}
        return {**found, "originals": originals()}

    def _prepare(self, setting: int, queries: str, k: int) -> np.ndarray:
        Q = self.algo.convert(np.load(queries))
        self.algo.set_query_arguments(*self.entry.search[setting])
        for row in Q[:WARM_UP]:
            self.algo.query(row, k)
        return Q

    def batch(self, setting: int, queries: str, k: int, ids: str | None) -> dict[str, Any]:
        Q = self._prepare(setting, queries, k)
        cpu, start = time.process_time(), time.perf_counter()
        self.algo.batch_query(Q, k)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        if ids:
            np.save(ids, as_ids(self.algo.get_batch_results(), k))
        return {"seconds": seconds, "cpu_seconds": cpu}

    def single(self, setting: int, queries: str, k: int, ids: str | None) -> dict[str, Any]:
        Q = self._prepare(setting, queries, k)
        rows, times, query = list(Q), np.empty(len(Q) + 1, dtype=np.int64), self.algo.query
        answers, clock = [], time.perf_counter_ns
        cpu = time.process_time()
        times[0] = clock()
        for number, row in enumerate(rows, 1):
            answers.append(query(row, k))
            times[number] = clock()
        cpu = time.process_time() - cpu
        if ids:
            np.save(ids, as_ids(answers, k))
        each = np.diff(times) / 1e3
        return {"seconds": float(times[-1] - times[0]) / 1e9, "cpu_seconds": cpu,
                "p50_us": float(np.percentile(each, 50)), "p99_us": float(np.percentile(each, 99))}

    def calls(self, setting: int, queries: str, k: int, ids: str | None, size: int) -> dict[str, Any]:
        Q = self._prepare(setting, queries, k)
        pieces, answers = [Q[at:at + size] for at in range(0, len(Q), size)], []
        cpu, start = time.process_time(), time.perf_counter()
        for piece in pieces:
            self.algo.batch_query(piece, k)
            answers.append(self.algo.get_batch_results())
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        if ids:
            np.save(ids, np.concatenate([as_ids(answer, k) for answer in answers]))
        return {"seconds": seconds, "cpu_seconds": cpu}

    def filter(self, rows: str | None) -> dict[str, Any]:
        allowed = np.load(rows) if rows else None
        start = time.perf_counter()
        self.algo.set_filter(allowed)
        return {"seconds": time.perf_counter() - start}

    def done(self) -> dict[str, Any]:
        self.algo.done()
        return {}


def serve(file: int, make: Callable[[], Any]) -> int:
    """Do what lines of JSON on standard input ask of a worker, and answer each by a line in a file that is open."""
    with open(file, "w", encoding="utf-8") as answers:
        worker = make()
        for line in sys.stdin:
            command = json.loads(line)
            verb = command.pop("do")
            try:
                answer = getattr(worker, verb)(**command)
            except Exception as error:  # whatever a library raises is a result, reported beside the others
                text = f"{type(error).__name__}: {error}"
                answer = {"error": text, "missing": isinstance(error, ImportError), "traceback": traceback.format_exc()}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
            if "error" in answer or verb == "done":
                return 0
    return 0


def main(arguments: list[str]) -> int:
    return serve(int(arguments[1]), lambda: Worker(libraries.entries()[arguments[2]]))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
