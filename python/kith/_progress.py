# SPDX-License-Identifier: Apache-2.0
"""Progress of long work: a bar where somebody watches, or a function of the user's."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

Report = Callable[[str, int, int], Any]

SHOW_AFTER = 0.5  # seconds: what is done sooner needs no bar


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return shell is not None and hasattr(shell, "kernel")


def _watched() -> bool:
    try:
        return sys.stderr.isatty() or _in_notebook()
    except (AttributeError, ValueError):  # no stderr, or a closed one
        return False


class Progress:
    """A context manager whose `report` is the function that the extension calls, or None.

    progress
        None: a bar when stderr is a terminal or in a notebook, and the work lasts. False: none. True: a bar always.
        A function ``f(stage, done, total)``: called instead, and may return True to cancel.
    """

    def __init__(self, progress: bool | Report | None) -> None:
        self._bar: _Bar | None = None
        if callable(progress):
            self.report: Report | None = progress
            return
        if progress not in (None, True, False):
            raise TypeError(f"progress must be None, True, False or a function, not {progress!r}")
        if progress or (progress is None and _watched()):
            self._bar = _Bar(0.0 if progress else SHOW_AFTER)
        self.report = self._bar.report if self._bar else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._bar:
            self._bar.close()


class _Bar:
    """tqdm's bar when it is installed, else one line of ours; nothing before `wait` seconds have passed."""

    def __init__(self, wait: float) -> None:
        self._show_at = time.monotonic() + wait
        self._stage = ""
        self._bar: Any = None

    def report(self, stage: str, done: int, total: int) -> None:
        if time.monotonic() < self._show_at:
            return
        if self._bar is None or stage != self._stage:
            self.close()
            self._stage = stage
            self._bar = _new_bar(stage, total)
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _new_bar(stage: str, total: int) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _Line(stage, total)
    return tqdm(desc=stage, total=total, unit_scale=True, leave=False)


class _Line:
    """What of tqdm's interface a bar uses, on one line of stderr."""

    WIDTH = 30

    def __init__(self, stage: str, total: int) -> None:
        self.stage, self.total, self.n = stage, total, 0

    def update(self, more: int) -> None:
        self.n += more
        share = min(1.0, self.n / self.total) if self.total else 1.0
        full = int(share * self.WIDTH)
        sys.stderr.write(f"\r{self.stage:>10} [{'#' * full}{'.' * (self.WIDTH - full)}] {share:4.0%}")
        sys.stderr.flush()

    def close(self) -> None:
        sys.stderr.write("\r" + " " * (self.WIDTH + 20) + "\r")
        sys.stderr.flush()
