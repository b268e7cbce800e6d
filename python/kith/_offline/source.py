# SPDX-License-Identifier: Apache-2.0
"""Where rows come from: Parquet files, which tasks read by themselves, or a frame of the engine's.

A task that reads its files itself knows the file and the row of everything it refuses, and hands lists of numbers on as
Parquet's decoder made them. What an engine hands over has lost both, so that ids stand for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .._errors import ArgumentError, DataError, Error, FormatError, MissingFileError
from . import places
from .columns import Names, Part, kind_of, pa, stored_type

PARQUET = (".parquet", ".pq")
TASK_ROWS = 1 << 18  # at most, where a row group has no more
TASKS_A_CORE = 4  # at least, where there are so many row groups: a task that is late holds up less
BATCH_ROWS = 1 << 13
BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class Piece:
    """A row group of a Parquet file."""

    path: str
    group: int
    first_row: int
    rows: int


@dataclass(frozen=True)
class Files:
    """Parquet files, parted into tasks of some row groups each. The frame's rows are numbers of tasks."""

    tasks: tuple[tuple[Piece, ...], ...]
    names: Names
    rows: int

    def parts(self, batches: Iterable[Any]) -> Iterator[Part]:
        for batch in batches:
            for number in batch.column("id").to_pylist():
                for piece in self.tasks[number]:
                    yield from _read(piece, self.names)


@dataclass(frozen=True)
class Frame:
    """A frame of the engine's. what: how it is called in texts."""

    what: str
    names: Names
    rows: None = None

    def parts(self, batches: Iterable[Any]) -> Iterator[Part]:
        for batch in batches:
            if batch.num_rows:
                yield Part(batch, f"{self.what}, {_first_id(batch, self.names.id)}", 0)


def _first_id(batch: Any, name: str) -> str:
    """Says where in a frame some rows lie."""
    if name not in batch.schema.names:
        return "a part"
    return f"counted from the row with the id {batch.column(name)[0].as_py()!r}"


def _read(piece: Piece, names: Names) -> Iterator[Part]:
    import pyarrow.parquet as pq

    try:
        # Through a small buffer, where that costs nothing: a worker's memory is meant for the index.
        near = {"pre_buffer": False, "buffer_size": BUFFER_BYTES} if places.is_local(piece.path) else {"pre_buffer": True}
        with places.opened(piece.path) as file, pq.ParquetFile(file, **near) as parquet:
            first = piece.first_row
            for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[piece.group], columns=names.all(),
                                              use_threads=False):
                if batch.num_rows:
                    yield Part(batch, piece.path, first)
                first += batch.num_rows
    except (pa.ArrowInvalid, pa.ArrowSerializationError) as error:
        raise FormatError(f"{piece.path}: is malformed: {error}") from None
    except OSError as error:
        if isinstance(error, Error):
            raise
        raise FormatError(f"{piece.path}: cannot be read: {error}") from None


# ---- Looking at files ------------------------------------------------------------------------------------------------


def is_paths(given: Any) -> bool:
    return isinstance(given, str) or hasattr(given, "__fspath__") or (
        isinstance(given, (list, tuple)) and bool(given) and all(is_paths(one) for one in given))


def files_of(given: Any, names: Names, cores: int, what: str) -> tuple[Files, dict[str, Any]]:
    """The files of one path or several, and the Arrow types of their columns. Only their footers are read."""
    paths = [place for one in (given if isinstance(given, (list, tuple)) else [given])
             for place in places.listed(str(one) if isinstance(one, str) else one.__fspath__(), PARQUET)]
    if not paths:
        raise MissingFileError(f"{given}: there are no Parquet files ({', '.join(PARQUET)})")
    pieces, types = [], {}
    for path in paths:
        for name, kind in _look(path, names, pieces).items():
            of = stored_type if name == names.vector else kind_of
            if types.setdefault(name, kind) != kind and of(kind, path) != of(types[name], path):
                raise DataError(f"{path}: column {name!r} is of type {kind}, but in {paths[0]} of {types[name]}")
    rows = sum(piece.rows for piece in pieces)
    if rows == 0:
        raise DataError(f"{given}: has no rows, {what} were expected")
    return Files(_tasks(pieces, rows, cores), names, rows), types


def _look(path: str, names: Names, pieces: list[Piece]) -> dict[str, Any]:
    import pyarrow.parquet as pq

    try:
        with places.opened(path) as file, pq.ParquetFile(file) as parquet:
            schema, about = parquet.schema_arrow, parquet.metadata
            for name in names.all():
                if name not in schema.names:
                    raise ArgumentError(f"{path}: has no column {name!r}; it has {', '.join(schema.names)}")
            first = 0
            for group in range(about.num_row_groups):
                rows = about.row_group(group).num_rows
                if rows:
                    pieces.append(Piece(path, group, first, rows))
                first += rows
            return {name: schema.field(name).type for name in names.all()}
    except (pa.ArrowInvalid, pa.ArrowSerializationError) as error:
        raise FormatError(f"{path}: is no Parquet file: {error}") from None


def _tasks(pieces: list[Piece], rows: int, cores: int) -> tuple[tuple[Piece, ...], ...]:
    most = min(TASK_ROWS, -(-rows // (TASKS_A_CORE * cores)))
    tasks: list[list[Piece]] = []
    held = most
    for piece in pieces:
        if held + piece.rows > most:
            tasks.append([])
            held = 0
        tasks[-1].append(piece)
        held += piece.rows
    return tuple(map(tuple, tasks))


def first_part(files: Files) -> Part:
    """Some rows at the beginning."""
    return next(_read(files.tasks[0][0], files.names))
