# SPDX-License-Identifier: Apache-2.0
"""Columns of Arrow tables as arrays, and back: vectors as they lie, ids and segments in one type each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._errors import ArgumentError, DataError, UnsupportedError

try:
    import pyarrow as pa
    import pyarrow.compute as pc
except ImportError:
    raise ImportError("kith.ray and kith.spark need the package pyarrow, which is not installed") from None

from .._sources.arrow import is_list, refuse_null, rows_of
from .._sources.source import blank, check_shape, fill, target_dtype

PACK_BYTES = 64 << 20
TINY = 2.0**-40  # a norm below it has no direction: the library's bound


@dataclass(frozen=True)
class Names:
    """What the columns are called. segment: None where there is none."""

    id: str = "id"
    vector: str = "vector"
    segment: str | None = None

    def all(self) -> list[str]:
        return [self.id, self.vector] + ([] if self.segment is None else [self.segment])


@dataclass
class Part:
    """Some rows that follow one another, and where they come from."""

    table: Any
    what: str
    first_row: int

    def column(self, name: str) -> Any:
        """A column in one piece."""
        if name not in self.table.column_names:
            raise ArgumentError(f"{self.what}: has no column {name!r}; it has {', '.join(self.table.column_names)}")
        return one_piece(self.table.column(name))

    def about(self, name: str) -> str:
        return f"{self.what}: column {name!r}"


def one_piece(column: Any) -> Any:
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks) if column.num_chunks else \
        pa.array([], column.type)


# ---- Ids and segments ------------------------------------------------------------------------------------------------


def kind_of(kind: Any, what: str) -> Any:
    """In which type ids or segments of an Arrow type are kept: int64, uint64 or string."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if kind == pa.uint64():
        return kind
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or getattr(pa.types, "is_string_view", bool)(kind):
        return pa.string()
    raise UnsupportedError(f"{what}: is of type {kind}; integers or strings were expected")


def labels(part: Part, name: str) -> Any:
    """The ids or segments of some rows, an Array without nulls of one of three types."""
    column, what = part.column(name), part.about(name)
    kind = kind_of(column.type, what)
    refuse_null(column, what, part.first_row)
    return column if column.type == kind else column.cast(kind)


def hashes(values: Any) -> np.ndarray:
    """(n,) uint64 that depend on each value alone, whatever the machine and the run: integers mixed as Steele, Lea and
    Flood's SplitMix64 does, strings by CRC-32 first."""
    if pa.types.is_string(values.type):
        from zlib import crc32

        coded = values.dictionary_encode()  # segments repeat
        of = np.fromiter((crc32(text.encode()) for text in coded.dictionary.to_pylist()), np.uint64)
        mixed = of[coded.indices.to_numpy()]
    else:
        mixed = values.to_numpy().astype(np.uint64)
    mixed = mixed + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def order_of(values: Any) -> np.ndarray:
    """The rows in ascending order of their ids; strings by their bytes."""
    if pa.types.is_string(values.type):
        return pc.sort_indices(values.cast(pa.binary())).to_numpy().astype(np.int64)
    return np.argsort(values.to_numpy(), kind="stable")


# ---- Vectors ---------------------------------------------------------------------------------------------------------


def vectors(part: Part, name: str, dim: int | None, of: str, metric: str | None) -> np.ndarray:
    """The vectors of some rows (at least one), as they lie wherever kith has their type. DataError names the row of
    what no index and no search takes; dim, of: what another length is held against. metric None: bits."""
    column, what = part.column(name), part.about(name)
    if not is_list(column.type, pa):
        raise UnsupportedError(f"{what}: is of type {column.type}; lists of numbers were expected")
    rows = rows_of(column, what, part.first_row, pa)
    check_shape(rows, what)
    if dim is not None and rows.shape[1] != dim:
        raise DataError(f"{what}: row {part.first_row} has {rows.shape[1]} elements, but {of} has {dim}")
    target = target_dtype(rows.dtype, what)
    if rows.dtype != target:
        narrow = blank(rows.shape, target)
        fill(narrow, rows, what, part.first_row)
        rows = narrow
    if rows.dtype.kind == "f":
        _check(rows, what, part.first_row, metric)
    return rows


def stored_type(kind: Any, what: str) -> str:
    """In which NumPy type lists of an Arrow type are kept."""
    if not is_list(kind, pa):
        raise UnsupportedError(f"{what}: is of type {kind}; lists of numbers were expected")
    return target_dtype(np.dtype(kind.value_type.to_pandas_dtype()), what).str


def packs(rows: np.ndarray) -> Iterator[tuple[int, Any]]:
    """Vectors as columns of bytes, where they lie, and the first row of each: what engines shuffle without a look at
    each number, and whatever types of numbers they have. A column's offsets are 32 bits, so that there may be several."""
    step = max(1, PACK_BYTES // (rows.shape[1] * rows.itemsize))
    for at in range(0, len(rows), step):
        yield at, _packed(np.ascontiguousarray(rows[at:at + step]))


def _packed(rows: np.ndarray) -> Any:
    ends = np.arange(len(rows) + 1, dtype=np.int32) * np.int32(rows.shape[1] * rows.itemsize)
    return pa.Array.from_buffers(pa.binary(), len(rows), [None, pa.py_buffer(ends), pa.py_buffer(rows.reshape(-1))])


def unpacked(batch: Any, dtype: str, what: str) -> np.ndarray:
    """The vectors of a batch with at least one row, from `packs`. DataError: they differ in length."""
    column = one_piece(batch.column("vector"))
    _, ends, data = column.buffers()
    wide = np.int64 if pa.types.is_large_binary(column.type) else np.int32
    ends = np.frombuffer(ends, wide)[column.offset:column.offset + len(column) + 1]
    width = int(ends[1] - ends[0])
    odd = np.flatnonzero(np.diff(ends) != width)
    if len(odd):
        size, row = np.dtype(dtype).itemsize, int(odd[0])
        ids = one_piece(batch.column("id"))
        other = int(ends[row + 1] - ends[row])
        raise DataError(f"{what}: the id {ids[row].as_py()!r} has {other // size} elements, but {ids[0].as_py()!r} has "
                        f"{width // size}")
    return np.frombuffer(data, np.uint8)[ends[0]:ends[-1]].view(dtype).reshape(len(column), -1)


def _check(rows: np.ndarray, what: str, first_row: int, metric: str | None) -> None:
    """Numbers that the library refuses too, but by the row of a batch that nobody knows."""
    squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float32)  # NaN or infinite where an element is
    bad = ~np.isfinite(squares)
    if metric == "cosine":
        bad |= squares < np.float32(TINY * TINY)
    for row in np.flatnonzero(bad):
        finite = np.isfinite(rows[row]).all()
        norm = float(np.linalg.norm(rows[row].astype(np.float64))) if finite else 0.0
        if not finite:
            raise DataError(f"{what}: row {first_row + row}: has an element that is not finite")
        if metric == "cosine" and norm < TINY:
            raise DataError(f"{what}: row {first_row + row}: is a zero vector, which has no cosine")


# ---- Lists of results ------------------------------------------------------------------------------------------------


def lists(counts: np.ndarray, values: Any) -> Any:
    """A ListArray of so many values each."""
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), values)

