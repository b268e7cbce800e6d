# SPDX-License-Identifier: Apache-2.0
"""What this process and all that came of it have used, as /proc says it: engines do their work in other processes."""
from __future__ import annotations

import os
import pathlib
import threading
from types import TracebackType
from typing import Optional

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PROC = pathlib.Path("/proc")


def _stat(pid: int) -> Optional[tuple[int, float]]:
    """(parent, seconds of a processor) of a process; None: it is gone."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS


def tree(root: Optional[int] = None) -> dict[int, float]:
    """Seconds of a processor, by process: `root` (this one) and its descendants."""
    root = os.getpid() if root is None else root
    seen = {int(entry.name): found for entry in PROC.iterdir() if entry.name.isdigit()
            and (found := _stat(int(entry.name)))}
    inside = {root}
    grown = True
    while grown:
        more = {pid for pid, (parent, _) in seen.items() if parent in inside} - inside
        inside |= more
        grown = bool(more)
    return {pid: seen[pid][1] for pid in inside if pid in seen}


def is_worker(pid: int) -> bool:
    """A process of Python's that an engine computes in: Ray gives them names, Spark's come of a daemon."""
    try:
        line = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return False
    return line.startswith("ray::") or "pyspark.daemon" in line or "pyspark/daemon" in line


class Watch:
    """While it is entered, processes are looked at five times a second. Afterwards `cpu` are the seconds of a processor
    that all of them used, `cpu_workers` those of workers, and `worker_bytes` is the most that one worker had in memory,
    pages of files that it maps included."""

    def __init__(self) -> None:
        self.cpu = self.cpu_workers = 0.0
        self.worker_bytes = 0
        self.used: dict[int, float] = {}  # by process
        self._stop = threading.Event()

    def __enter__(self) -> Watch:
        self._began = tree()
        self._last = dict(self._began)
        self._workers: set[int] = set()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            self._look()

    def _look(self) -> None:
        self._last.update(tree())
        for pid in self._last:
            if is_worker(pid):
                self._workers.add(pid)
                try:
                    held = int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE
                except (OSError, IndexError):
                    continue
                self.worker_bytes = max(self.worker_bytes, held)

    def __exit__(self, kind: Optional[type], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        if not self._stop.is_set():
            self.stop()

    def stop(self) -> None:
        """The end, for who wants it before the block's."""
        self._stop.set()
        self._thread.join()
        self._look()
        self.used = {pid: seconds - self._began.get(pid, 0.0) for pid, seconds in self._last.items()}
        self.cpu = sum(self.used.values())
        self.cpu_workers = sum(seconds for pid, seconds in self.used.items() if pid in self._workers)
