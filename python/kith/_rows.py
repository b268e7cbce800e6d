# SPDX-License-Identifier: Apache-2.0
"""From what the user gives as vectors to a reader of the C library, without a second copy of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _kith
from ._convert import pack_strings, unmasked
from ._errors import ArgumentError, LimitError

DIM_MAX = 65536


def make_reader(rows: Any, ids: Any, names: Any, dtype: str | None) -> _kith.Reader:
    """A reader over an array, or over whatever `kith.read` takes."""
    from ._sources import as_source
    from ._sources.source import check_shape

    if not isinstance(rows, np.ndarray) or rows.dtype == object:
        return _source_reader(as_source(rows, ids, names, dtype="b1" if dtype == "b1" else None))
    rows = unmasked(rows, "X")
    check_shape(rows, "X")
    labels = _labels(rows, ids, names)
    return _array_reader(rows, "b1" if dtype == "b1" else None, *labels)


def _labels(rows: np.ndarray, ids: Any, names: Any) -> tuple[Any, Any]:
    if ids is None and names is None:
        return None, None
    from ._sources import as_source

    blank = as_source(np.broadcast_to(np.zeros(1, np.uint8), (len(rows), 1)), ids, names)
    return blank.ids, blank.names


def _source_reader(source: Any) -> _kith.Reader:
    if source.path is not None:
        return _kith.Reader.open(source.path, format=source.format, dtype="b1" if source.dtype == "b1" else None,
                                 id_column=source.id_column, name_column=source.name_column)
    return _array_reader(source.array, source.dtype, source.ids, source.names)


def _array_reader(array: np.ndarray, word: str | None, ids: Any, names: Any) -> _kith.Reader:
    """word: the element type as kith names it; None: as the array has it, converted where kith has none."""
    from ._sources.source import stored_word, target_dtype

    if word == "b1":
        return _bits_reader(array, ids, names)
    target = target_dtype(array.dtype, "X") if word is None else array.dtype
    word = word or stored_word(target)
    numbers, strings, texts = _pack(ids, names)
    if array.dtype == target and strings is None and texts is None and _lies_in_rows(array):
        return _kith.Reader.memory(array, word, numbers)
    sample = np.empty((0, array.shape[1]), target)
    return _kith.Reader.source(_filler(array), sample, word, len(array), numbers, strings, texts)


def _bits_reader(array: np.ndarray, ids: Any, names: Any) -> _kith.Reader:
    from ._sources.source import pack_bits

    width = array.shape[1]
    if array.dtype == np.bool_ and width % 8 == 0:
        width //= 8
    else:
        pack_bits(array[:0], "X")  # refuses other types
    if width * 8 > DIM_MAX:
        raise LimitError(f"X: rows have {width * 8} bits, {DIM_MAX} are the most")
    numbers, strings, texts = _pack(ids, names)
    if array.dtype == np.uint8 and strings is None and texts is None and _lies_in_rows(array):
        return _kith.Reader.memory(array, "b1", numbers)

    def read(first: int, to: np.ndarray) -> None:
        to[...] = pack_bits(array[first:first + len(to)], "X")

    return _kith.Reader.source(read, np.empty((0, width), np.uint8), "b1", len(array), numbers, strings, texts)


def _lies_in_rows(array: np.ndarray) -> bool:
    row = array.shape[1] * array.itemsize
    return (array.shape[1] <= 1 or array.strides[1] == array.itemsize) and (len(array) <= 1 or array.strides[0] >= row)


def _filler(array: np.ndarray) -> Any:
    from ._sources.source import fill

    def read(first: int, to: np.ndarray) -> None:
        fill(to, array[first:first + len(to)], "X", first)

    return read


def _pack(ids: Any, names: Any) -> tuple[Any, Any, Any]:
    """(numbers or None, packed string ids or None, packed names or None)"""
    texts = None if names is None else pack_strings(names, "names")
    if ids is None:
        return None, None, texts
    if isinstance(ids, list):
        return None, pack_strings(ids, "ids"), texts
    if not isinstance(ids, np.ndarray):
        raise ArgumentError(f"ids: an array or a list was expected, not {type(ids).__name__}")
    return np.ascontiguousarray(ids).view(np.uint64), None, texts
