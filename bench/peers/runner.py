# SPDX-License-Identifier: Apache-2.0
"""Measure entries on one data set: every entry in a process of its own, built one after another, then taking turns.

In each round every worker sweeps all its settings: all queries in one call, some of them one a call, and a few a call.
The best time of all rounds counts. Where the indexes would not fit into memory side by side, each entry does its rounds
alone. What a call costs at least, conversions of Python included, is told by an index of FEW rows.

I1  At any time at most one worker computes.
I2  A worker that fails, dies or is late ends its own entry only, and the result says so.
"""
from __future__ import annotations

import collections
import dataclasses
import datetime
import json
import os
import pathlib
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Iterable, Optional

import numpy as np

from . import datasets, machine, truth
from .libraries import Entry

FORMAT = 1
BENCH = pathlib.Path(__file__).resolve().parents[1]
DEAR = 20.0  # seconds for all queries in one call, beyond which an entry's further settings are left out
FEW = 256  # rows that any search has done with at once, and that are enough for what some libraries train


@dataclasses.dataclass
class Options:
    """How to measure."""

    k: int = 10
    rounds: int = 3
    single: int = 500  # queries sent one a call, or a few a call
    calls: tuple[int, ...] = (4, 16, 64)  # how many these few are
    build_threads: int = 2
    search_threads: int = 1
    timeout: float = 3600.0  # seconds that one step of a worker may take
    alternate: Optional[bool] = None  # None: if memory allows


def modes(options: dict[str, Any]) -> dict[str, Optional[int]]:
    """Ways to ask, and how many queries they send a call; None: all."""
    few = sorted(options.get("calls", ()), reverse=True)
    return {"batch": None, **{f"calls-{size}": size for size in few}, "single": 1}


class Failure(Exception):
    """A worker that cannot go on. kind: 'missing' (not installed), 'failed', 'died' or 'late'."""

    def __init__(self, kind: str, text: str):
        super().__init__(text)
        self.kind = kind


class Process:
    """A worker as its parent sees it. Of the entry it needs the name; module: that of the worker."""

    def __init__(self, entry: Any, log: pathlib.Path, timeout: float, module: str = "peers.worker"):
        self.entry, self.log, self.timeout = entry, log, timeout
        env = dict(os.environ, PYTHONPATH=str(BENCH), PYTHONDONTWRITEBYTECODE="1")
        self.read_end, write_end = os.pipe()
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, str(write_end), entry.name], stdin=subprocess.PIPE,
                stdout=output, stderr=output, pass_fds=[write_end], env=env, cwd=BENCH)
        os.close(write_end)
        self.buffer = b""

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for its answer. Failure: as the worker's end has it."""
        try:
            assert self.process.stdin is not None
            self.process.stdin.write(json.dumps({"do": verb, **arguments}).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it is gone: reading tells how
        answer = json.loads(self._line(verb))
        if "error" in answer:
            with open(self.log, "a", encoding="utf-8") as log:
                log.write(answer["traceback"])
            raise Failure("missing" if answer["missing"] else "failed", answer["error"])
        return answer

    def _line(self, verb: str) -> bytes:
        limit = time.monotonic() + self.timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self.read_end, selectors.EVENT_READ)
            while b"\n" not in self.buffer:
                if not selector.select(max(0.0, limit - time.monotonic())):
                    self.process.kill()
                    raise Failure("late", f"{verb} took more than {self.timeout:g} s")
                piece = os.read(self.read_end, 65536)
                if not piece:
                    raise Failure("died", self._end(verb))
                self.buffer += piece
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    def _end(self, verb: str) -> str:
        code = self.process.wait()
        said = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        return f"{how} during {verb}" + (f"; it said: {said[-1].strip()}" if said else "")

    def close(self) -> None:
        """End the process, kindly if it answers."""
        try:
            if self.process.poll() is None:
                self.timeout = min(self.timeout, 30.0)
                self.ask("done")
                self.process.wait(10)
        except (Failure, subprocess.TimeoutExpired):
            pass
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            if self.process.stdin:
                try:
                    self.process.stdin.close()
                except BrokenPipeError:
                    pass
            os.close(self.read_end)


def failed(entry: Entry, error: Failure) -> dict[str, Any]:
    """The result of an entry that could not be measured."""
    return {"entry": entry.name, "library": entry.library, "package": entry.package, "status": error.kind,
            "error": str(error), "points": []}


class Measurement:
    """One data set, some entries."""

    def __init__(self, data: datasets.Data, true: np.ndarray, options: Options, folder: pathlib.Path,
                 say: Callable[[str], None]):
        self.data, self.true, self.options, self.folder, self.say = data, true, options, folder, say
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="peers-"))
        self.modes = modes(dataclasses.asdict(options))
        few = min(options.single, len(data.queries))
        self.counts = {mode: few if size else len(data.queries) for mode, size in self.modes.items()}
        for count in {few, len(data.queries)}:
            np.save(self._queries(count), data.queries[:count])
        np.save(self.scratch / "few.npy", data.base[:FEW])

    def _queries(self, count: int) -> str:
        return str(self.scratch / f"queries-{count}.npy")

    def start(self, entry: Entry) -> tuple[Optional[Process], dict[str, Any]]:
        """Build an index. (None, result) if that fails."""
        logs = self.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        worker = Process(entry, logs / f"{self.data.name}.{entry.name}.log", self.options.timeout)
        try:
            made = worker.ask("create", metric=self.data.metric, build_threads=self.options.build_threads,
                              search_threads=self.options.search_threads)
            built = worker.ask("build", base=str(self.data.path.resolve()))
        except Failure as error:
            worker.close()
            self.say(f"{entry.name}: {error}")
            return None, failed(entry, error)
        self.say(f"{entry.name}: built in {built['seconds']:.1f} s, {built['memory']['total'] >> 20} MiB")
        points = [{"setting": entry.label(number), "arguments": arguments, **dict.fromkeys(self.modes)}
                  for number, arguments in enumerate(entry.search)]
        return worker, {"entry": entry.name, "library": entry.library, "package": entry.package, "status": "ok",
                        "version": made["version"], "name": made["name"], "build_arguments": entry.arguments,
                        "build_seconds": built["seconds"], "memory": built["memory"], "points": points,
                        "call_us": self.least_call(entry)}

    def least_call(self, entry: Entry) -> Optional[float]:
        """Microseconds of a query over a few rows, by another process; None where a library cannot have so few."""
        worker = Process(entry, self.folder / "logs" / f"{self.data.name}.{entry.name}.few.log", self.options.timeout)
        queries = self._queries(self.counts["single"])
        try:
            worker.ask("create", metric=self.data.metric, build_threads=1, search_threads=1)
            worker.ask("build", base=str(self.scratch / "few.npy"))
            return min(worker.ask("single", setting=0, queries=queries, k=self.options.k, ids=None)["p50_us"]
                       for _ in range(3))
        except Failure:
            return None
        finally:
            worker.close()

    def round(self, worker: Process, result: dict[str, Any]) -> bool:
        """One sweep. False if the worker failed: the result then says so, and keeps the points it had."""
        try:
            if "first_us" not in result:
                count = self.counts["single"]
                touched = worker.ask("touch", setting=len(result["points"]) - 1, queries=self._queries(count),
                                     k=self.options.k)
                result["first_us"] = touched["seconds"] / count * 1e6
            for number, point in enumerate(result["points"]):
                for mode in self.modes:
                    point[mode] = self._point(worker, number, mode, point[mode])
                if self.counts["batch"] > DEAR * point["batch"]["qps"] and number + 1 < len(result["points"]):
                    self.say(f"{worker.entry.name}: {point['setting']} takes more than {DEAR:g} s; "
                             "what is beyond is left out")
                    del result["points"][number + 1:]
                    break
            memory = worker.ask("memory")
            result["memory"].update({name: max(value, result["memory"][name]) for name, value in memory.items()})
            return True
        except Failure as error:
            result.update(status=error.kind, error=str(error))
            result["points"] = [p for p in result["points"] if all(p[mode] for mode in self.modes)]
            self.say(f"{worker.entry.name}: {error}")
            return False

    def _point(self, worker: Process, number: int, mode: str, before: Optional[dict[str, Any]]) -> dict[str, Any]:
        ids = None if before else str(self.scratch / f"{worker.entry.name}.npy")
        count, size = self.counts[mode], self.modes[mode]
        verb, more = ("calls", {"size": size}) if mode.startswith("calls") else (mode, {})
        found = worker.ask(verb, setting=number, queries=self._queries(count), k=self.options.k, ids=ids, **more)
        rate = count / found["seconds"]
        if before is None:
            recall = truth.recall(np.load(str(ids)), self.data.base, self.data.queries[:count], self.true[:count],
                                  self.data.metric)
            before = {"recall": recall, "qps": 0.0, "rounds": [], "cpus": 0.0}
        before["rounds"].append(rate)
        # Time on processors over time on the clock: what exceeds the threads allowed was not one thread's work.
        before["cpus"] = max(before["cpus"], found["cpu_seconds"] / found["seconds"] if found["seconds"] > 0.02 else 0)
        if rate > before["qps"]:
            before.update(qps=rate, **{name: found[name] for name in ("p50_us", "p99_us") if name in found})
        return before

    def alternating(self, entries: Iterable[Entry]) -> list[dict[str, Any]]:
        """Build all, then let them take turns."""
        results: list[dict[str, Any]] = []
        running: collections.deque[tuple[Process, dict[str, Any]]] = collections.deque()
        try:
            for entry in entries:
                worker, result = self.start(entry)
                results.append(result)
                if worker:
                    running.append((worker, result))
            for number in range(self.options.rounds):
                for worker, result in list(running):
                    if not self.round(worker, result):
                        running.remove((worker, result))
                        worker.close()
                running.rotate(1)  # nobody is always first, on a processor that has rested
                self.say(f"{self.data.name}: round {number + 1} of {self.options.rounds}")
        finally:
            for worker, _ in running:
                worker.close()
        return results

    def one_by_one(self, entries: Iterable[Entry]) -> list[dict[str, Any]]:
        """All rounds of an entry before the next is built."""
        results = []
        for entry in entries:
            worker, result = self.start(entry)
            results.append(result)
            if worker:
                try:
                    for _ in range(self.options.rounds):
                        if not self.round(worker, result):
                            break
                finally:
                    worker.close()
        return results


def fits(data: datasets.Data, entries: int) -> bool:
    """Whether all indexes are likely to fit at once: each about three times the vectors, in 0.7 of the free memory."""
    with open("/proc/meminfo", encoding="ascii") as file:
        free = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    return 3 * data.base.size * 4 * entries < 0.7 * free


def measure(data: datasets.Data, entries: dict[str, Entry], options: Options, folder: pathlib.Path, command: str,
            say: Callable[[str], None] = print, absent: Optional[dict[str, str]] = None) -> dict[str, Any]:
    """Measure entries on a data set. absent: why a library could not be installed, by library. Returns the result as
    check() wants it."""
    say(f"{data.name}: {len(data.base):,} x {data.base.shape[1]}, {data.metric}, {len(data.queries):,} queries")
    true = truth.cached(data, options.k, folder / "truth")
    alternate = fits(data, len(entries)) if options.alternate is None else options.alternate
    run = Measurement(data, true, options, folder, say)
    try:
        results = (run.alternating if alternate else run.one_by_one)(entries.values())
    finally:
        shutil.rmtree(run.scratch)
    for result in results:
        reason = (absent or {}).get(result["library"])
        if result["status"] == "missing" and reason:
            result["error"] = reason
    return {"format": FORMAT, "date": datetime.date.today().isoformat(), "command": command,
            "machine": machine.describe(),
            "data": {"name": data.name, "source": data.source, "rows": len(data.base), "dim": data.base.shape[1],
                     "queries": len(data.queries), "metric": data.metric, "raw_bytes": data.base.size * 4,
                     "fingerprint": truth.fingerprint(data.base, data.queries)},
            "options": {**dataclasses.asdict(options), "alternate": alternate},
            "versions": {"numpy": np.__version__}, "results": results}


def need(condition: bool, text: str) -> None:
    """ValueError unless a condition of results holds."""
    if not condition:
        raise ValueError(f"not a result of this bench: {text}")


def check_head(result: Any, version: int, rows: str) -> None:
    """ValueError unless a result has this format, and what stands beside its rows."""
    need(isinstance(result, dict) and result.get("format") == version, f"format is not {version}")
    for name, kind in (("date", str), ("command", str), ("machine", dict), ("data", dict), ("options", dict),
                       (rows, list)):
        need(isinstance(result.get(name), kind), f"{name} is missing")


def check(result: Any) -> None:
    """ValueError unless this is a result of measure(): what report and plot rely on."""
    check_head(result, FORMAT, "results")
    for row in result["results"]:
        need(isinstance(row, dict) and {"entry", "library", "status", "points"} <= row.keys(), "a row lacks its name")
        if row["status"] != "ok":
            need(bool(row.get("error")), f"{row['entry']}: {row['status']}, and no reason")
            continue
        need({"build_seconds", "memory", "version"} <= row.keys(), f"{row['entry']}: build, memory or version missing")
        for point in row["points"]:
            for mode in modes(result["options"]):
                found = point.get(mode)
                need(isinstance(found, dict) and 0 <= found["recall"] <= 1 and found["qps"] > 0,
                     f"{row['entry']} {point.get('setting')}: {mode} has no recall and speed")
