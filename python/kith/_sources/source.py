# SPDX-License-Identifier: Apache-2.0
"""Source, the one view of all vectors; the rule by which numbers become kith's element types; joining blocks."""
from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._convert import refuse_fields, unmasked
from .._errors import ArgumentError, DataError, LimitError, UnsupportedError
from .._files import refusals

STRIP_BYTES = 16 << 20  # what a conversion works on at a time
MEMORY_BYTES = 256 << 20  # joined rows beyond this lie in an unnamed temporary file, as pages the system may write out
DIM_MAX = 65536
ROWS_MAX = 2**32 - 16
FLOAT_BITS = 24  # significant bits of a float32


@dataclass(frozen=True)
class Options:
    """How a source is to be read: the keywords of `kith.read`."""

    column: str | None = None
    id_column: str | None = None
    name_column: str | None = None
    dtype: str | None = None


def refuse_columns(options: Options, what: str, taken: tuple[str, ...] = (), hint: str = "") -> None:
    """ArgumentError where a column is asked for that this kind of source cannot have; `taken`: those that it can."""
    for name in ("column", "id_column", "name_column"):
        value = getattr(options, name)
        if value is not None and name not in taken:
            raise ArgumentError(f"{what}: {name}={value!r} names nothing here{hint or '; only tables have columns'}")


class Source:
    """Rows of vectors, with ids and names where there are any. Made by `kith.read`.

    rows, dim   shape; dim counts elements, bits for "b1"
    dtype       "f32", "f16", "bf16", "i8", "u8" or "b1"
    ids         None (row numbers), an int64 or uint64 array, or a list of str
    names       None or a list of str
    array       the rows, two-dimensional; it may be strided, mapped from a file and read-only. bf16 rows are of
                ml_dtypes.bfloat16 or of uint16, b1 rows of uint8
    path        a file that the C library can read by itself, with `format` (None: it tells), `id_column` and
                `name_column`; else None. Such a file is loaded when array, ids or names are first asked for
    """

    __slots__ = ("rows", "dim", "dtype", "path", "format", "id_column", "name_column", "what", "_array", "_ids",
                 "_names", "_load")

    def __init__(self, array: np.ndarray | None, dtype: str, *, rows: int | None = None, dim: int | None = None,
                 ids: Any = None, names: list[str] | None = None, path: str | None = None, format: str | None = None,
                 id_column: str | None = None, name_column: str | None = None, what: str = "X",
                 load: Callable[[], tuple[np.ndarray, Any, list[str] | None]] | None = None) -> None:
        self._array, self._ids, self._names, self._load = array, ids, names, load
        height, width = (0, 0) if array is None else array.shape
        self.rows = height if rows is None else rows
        self.dim = width * (8 if dtype == "b1" else 1) if dim is None else dim
        self.dtype, self.what = dtype, what
        self.path, self.format, self.id_column, self.name_column = path, format, id_column, name_column

    def _loaded(self) -> Source:
        if self._load is not None:
            self._array, self._ids, self._names = self._load()
            self._load = None
        return self

    @property
    def array(self) -> np.ndarray:
        array = self._loaded()._array
        assert array is not None
        return array

    @property
    def ids(self) -> np.ndarray | list[str] | None:
        return self._loaded()._ids

    @property
    def names(self) -> list[str] | None:
        return self._loaded()._names

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows, self.dim

    def __len__(self) -> int:
        return self.rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.array
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __repr__(self) -> str:
        kind = "" if self._ids is None else ", string ids" if isinstance(self._ids, list) else ", ids"
        names = "" if self._names is None else ", names"
        file = "" if self.path is None else f" from {self.path}"
        return f"<kith.Source: {self.rows} x {self.dim} {self.dtype}{kind}{names}{file}>"


# ---- Numbers ---------------------------------------------------------------------------------------------------------


def word_of(dtype: np.dtype) -> str | None:
    """kith's word for an element type that is stored as it is, else None."""
    if dtype.type.__name__ == "bfloat16":  # dtype.name would be made anew at each call
        return "bf16"
    return {"f4": "f32", "f2": "f16", "i1": "i8", "u1": "u8"}.get(f"{dtype.kind}{dtype.itemsize}")


def stored_word(dtype: np.dtype) -> str:
    """word_of a type that target_dtype gave."""
    word = word_of(dtype)
    assert word is not None
    return word


def target_dtype(dtype: np.dtype, what: str) -> np.dtype:
    """The element type that numbers of `dtype` are delivered in. UnsupportedError where they are no plain numbers."""
    if word_of(dtype):
        return dtype.newbyteorder("=")
    if dtype.kind in "iuf":
        return np.dtype(np.float32)
    raise UnsupportedError(f"{what}: has elements of type {dtype}; float32, float16, bfloat16, int8, uint8, or "
                           "float64 and integers that fit float32, were expected")


def _exact_integers(block: np.ndarray) -> np.ndarray:
    """Which integers have at most 24 significant bits."""
    magnitude = block.astype(np.uint64)  # two's complement
    if block.dtype.kind == "i":
        magnitude = np.where(block < 0, ~magnitude + np.uint64(1), magnitude)
    lowest = np.maximum(magnitude & (~magnitude + np.uint64(1)), np.uint64(1))
    return magnitude // lowest < np.uint64(1 << FLOAT_BITS)


def _inexact(block: np.ndarray, rounded: np.ndarray) -> np.ndarray | None:
    """Where `rounded`, the float32 of `block`, must not stand for it; None: nowhere."""
    if block.dtype.kind == "f":
        bad = np.isinf(rounded)
        if not bad.any():
            return None
        bad &= np.isfinite(block)
        return bad
    if block.size == 0 or (int(block.max()) <= 1 << FLOAT_BITS and int(block.min()) >= -(1 << FLOAT_BITS)):
        return None
    return ~_exact_integers(block)


def fill(to: np.ndarray, block: np.ndarray, what: str, first_row: int = 0, first_column: int = 0) -> None:
    """Copy rows `block` into `to` of the same shape, converting by strips. DataError names the first value that does
    not fit: rows count from first_row, columns from first_column."""
    if to.dtype == block.dtype.newbyteorder("=") or to.dtype != np.float32:
        to[...] = block
        return
    step = max(1, STRIP_BYTES // max(1, block.shape[1] * block.dtype.itemsize))
    for at in range(0, len(block), step):
        part = block[at:at + step]
        with np.errstate(over="ignore"):
            rounded = part.astype(np.float32)
        bad = _inexact(part, rounded)
        if bad is not None and bad.any():
            row, column = np.argwhere(bad)[0]
            raise DataError(f"{what}: row {first_row + at + row}, column {first_column + column}: "
                            f"{part[row, column]} is {_complaint(part)}")
        to[at:at + step] = rounded


def _complaint(block: np.ndarray) -> str:
    return "beyond the range of a 32-bit float" if block.dtype.kind == "f" else "not exact as a 32-bit float"


def check_shape(array: np.ndarray, what: str, one: str | None = "X.reshape(1, -1)") -> None:
    """Rows of elements? `one`: how the caller writes a single vector as a row, where what was given is one."""
    refuse_fields(array.dtype, what)
    if array.ndim != 2:
        vector = one and array.ndim == 1 and (word_of(array.dtype) or array.dtype.kind in "iufb")
        hint = f": for one vector give {one}" if vector else ""
        raise ArgumentError(f"{what}: has the shape {array.shape}; (rows, elements) was expected{hint}")
    if array.shape[1] == 0:
        raise ArgumentError(f"{what}: its rows have no elements")
    if array.shape[1] > DIM_MAX:
        raise LimitError(f"{what}: rows have {array.shape[1]} elements, {DIM_MAX} are the most")


def narrow(array: np.ndarray, what: str = "X", one: str | None = "X.reshape(1, -1)") -> np.ndarray:
    """`array` (rows, elements) in an element type that kith stores: itself where it has one, else a converted copy.

    float64 is rounded to float32, other integers must be exact as float32. DataError names row and column of the first
    value that does not fit, UnsupportedError the type that is not numbers, ArgumentError a wrong shape."""
    array = unmasked(array, what)
    check_shape(array, what, one)
    target = target_dtype(array.dtype, what)
    if array.dtype == target:
        return array
    rows = blank(array.shape, target)
    fill(rows, array, what)
    return rows


def pack_bits(array: np.ndarray, what: str, one: str | None = "X.reshape(1, -1)") -> np.ndarray:
    """Rows of packed bits, (rows, dim / 8) uint8, from such rows or from bool ones."""
    array = unmasked(array, what)
    check_shape(array, what, one)
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "b":
        raise UnsupportedError(f"{what}: has elements of type {array.dtype}; packed bits (b1) are read from uint8 or "
                               "from bool")
    if array.shape[1] % 8:
        raise ArgumentError(f"{what}: rows have {array.shape[1]} bits; a multiple of 8 was expected")
    return np.packbits(array, axis=1)


def source_of(array: np.ndarray, options: Options, what: str, one: str | None = "X.reshape(1, -1)",
              **more: Any) -> Source:
    """A Source over rows in memory, converted where they must be. one: see check_shape."""
    if options.dtype == "b1" or array.dtype.kind == "b":
        return Source(pack_bits(array, what, one), "b1", what=what, **more)
    rows = narrow(array, what, one)
    return Source(rows, stored_word(rows.dtype), what=what, **more)


# ---- Joining blocks of rows ------------------------------------------------------------------------------------------


def blank(shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Rows to be written: memory, or, for much, a mapped file without a name that goes away with the array."""
    count = shape[0] * shape[1] * dtype.itemsize
    if count <= MEMORY_BYTES:
        return np.empty(shape, dtype)
    with refusals(tempfile.gettempdir()), tempfile.TemporaryFile(prefix="kith-") as file:
        # Reserved now: a full disk must be an error here, and not a SIGBUS at a write through the map.
        os.posix_fallocate(file.fileno(), 0, count)
        return np.memmap(file, dtype, "r+", shape=shape)


class Gather:
    """Joins blocks of rows that come one after another; a single block is taken as it is, without a copy."""

    def __init__(self, rows: int, options: Options, what: str) -> None:
        if rows > ROWS_MAX:
            raise LimitError(f"{what}: {rows} rows, {ROWS_MAX} are the most")
        self.rows, self.what, self.bits = rows, what, options.dtype == "b1"
        self.done = 0
        self.array: np.ndarray | None = None

    def add(self, block: np.ndarray) -> None:
        """The next rows. DataError where their dimension or type is not that of the first."""
        if self.done == 0 and block.dtype.kind == "b":
            self.bits = True
        if self.bits:
            block = pack_bits(block, self.what)
        if self.array is None and len(block) == self.rows:
            self.array = narrow(block, self.what)
        else:
            self._append(block)
        self.done += len(block)

    def _append(self, block: np.ndarray) -> None:
        if self.array is None:
            check_shape(block, self.what)
            self.array = blank((self.rows, block.shape[1]), target_dtype(block.dtype, self.what))
        if block.shape[1] != self.array.shape[1]:
            raise DataError(f"{self.what}: row {self.done} has {block.shape[1]} elements, but row 0 has "
                            f"{self.array.shape[1]}")
        if target_dtype(block.dtype, self.what) != self.array.dtype:
            raise DataError(f"{self.what}: row {self.done} is of {block.dtype}, but row 0 is of {self.array.dtype}")
        if self.done + len(block) > self.rows:
            raise DataError(f"{self.what}: has more than the {self.rows} rows it announced")
        fill(self.array[self.done:self.done + len(block)], block, self.what, self.done)

    def finish(self, **more: Any) -> Source:
        if self.array is None:
            raise DataError(f"{self.what}: has no rows")
        if self.done != self.rows:
            raise DataError(f"{self.what}: has {self.done} rows, but announced {self.rows}")
        return Source(self.array, "b1" if self.bits else stored_word(self.array.dtype), what=self.what, **more)


def gather_columns(columns: list[tuple[Any, np.ndarray]], options: Options, what: str) -> np.ndarray:
    """Rows of which columns are given as (name, one-dimensional array), at least one. Element types that are all the
    same stay; else the rows are float32."""
    targets = {target_dtype(values.dtype, f"{what}: column {name!r}") for name, values in columns}
    dtype = targets.pop() if len(targets) == 1 else np.dtype(np.float32)
    rows = blank((len(columns[0][1]), len(columns)), dtype)
    for at, (name, values) in enumerate(columns):
        fill(rows[:, at:at + 1], values.reshape(-1, 1), what, 0, at)
    return rows
