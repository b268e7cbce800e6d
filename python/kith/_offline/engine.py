# SPDX-License-Identifier: Apache-2.0
"""What builds and joins ask of an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

Work = Callable[[Iterable[Any]], Iterator[Any]]
"""From Arrow batches or tables to others, called on a worker; `title` is what the engine's page shows."""

Columns = Mapping[str, Any]
"""Names and Arrow types of what a work gives."""


class Engine(Protocol):
    """Frames are lazy tables in parts, as the engine has them. Rows of a frame have no order."""

    wide_numbers: bool  # are there unsigned integers?

    def cores(self) -> int:
        """How many tasks run beside each other."""

    def tasks(self, count: int) -> Any:
        """A frame of `count` parts, each with one row: its number, as `id`."""

    def accept(self, given: Any, columns: list[str], what: str) -> Any:
        """These columns of the user's frame. TypeError: it is none. ArgumentError: it lacks one."""

    def kind(self, frame: Any, column: str) -> Any:
        """The Arrow type of a column of the user's frame."""

    def map(self, frame: Any, work: Any, columns: Columns, threads: int = 1) -> Any:
        """Each part through `work`, which has it to itself, in one batch or several."""

    def shuffle(self, frame: Any, column: str, parts: int) -> Any:
        """Rows of one value of an int column into one part; at least `parts` parts. Some may be empty."""

    def union(self, frames: list[Any]) -> Any:
        """All rows of these."""

    def sample(self, frame: Any, rows: int) -> Any:
        """About so many rows of a frame, as an Arrow table."""

    def collect(self, frame: Any, stage: str) -> Any:
        """All rows as an Arrow table, now. The works' exceptions are kith's again."""

    def batches(self, frame: Any, stage: str) -> Iterator[Any]:
        """All rows as Arrow batches, one after another."""
