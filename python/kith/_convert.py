# SPDX-License-Identifier: Apache-2.0
"""Queries and labels as the extension takes them. It asks here for what it cannot read as it lies."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np

from ._errors import ArgumentError, DataError, UnsupportedError


def to_queries(values: Any, bits: bool) -> np.ndarray:
    """(q, d) or (d,) queries in C order, of a type that the extension reads."""
    from ._sources.source import narrow, pack_bits

    array = unmasked(values, "queries") if isinstance(values, np.ndarray) else _as_array(values)
    refuse_fields(array.dtype, "queries")
    if array.dtype == object and array.ndim == 1:
        array = _as_array(array.tolist())
    if array.ndim not in (1, 2):
        raise ArgumentError(f"queries: have the shape {array.shape}; (q, d) or (d,) was expected")
    if array.dtype.kind in "OSU":
        raise UnsupportedError(f"queries: have elements of type {array.dtype}, which are no numbers")
    table = np.atleast_2d(np.asarray(array))
    if table.shape[1] == 0:
        raise ArgumentError("queries: have no elements")
    table = np.require(pack_bits(table, "queries") if bits else narrow(table, "queries"), requirements=["C", "A"])
    return table if array.ndim == 2 else table[0]


def _as_array(values: Any) -> np.ndarray:
    """What NumPy makes of a list, and what the sources know: frames, tensors, tables."""
    if isinstance(values, (list, tuple, range)):
        refuse_masks(values, "queries")
        try:
            return np.asarray(values)
        except ValueError as error:
            raise ArgumentError(f"queries: cannot be made into an array: {error}") from None
    if values is None or is_single(values):
        raise ArgumentError(f"queries: vectors were expected, not {values!r}")
    if getattr(values, "ndim", None) == 1 and hasattr(values, "__array__"):
        return np.asarray(values)  # one vector, which as_source would refuse
    from ._sources import as_source

    return as_source(values).array


def unmasked(array: np.ndarray, what: str, first_row: int = 0) -> np.ndarray:
    """A masked array without a masked value as a plain one, any other array as it is. DataError names what is masked:
    the number that lies there is nobody's value."""
    if not isinstance(array, np.ma.MaskedArray):
        return array
    if np.ma.is_masked(array):
        at = np.argwhere(np.ma.getmaskarray(array))[0]
        place = f"row {first_row + int(at[0])}" if len(at) else "it"
        raise DataError(f"{what}: {place}{f', column {at[1]}' if len(at) > 1 else ''}: is masked; it has no value "
                        "(X.filled(value) gives it one)")
    return array.data


def refuse_masks(rows: Iterable[Any], what: str, first_row: int = 0) -> None:
    """DataError where one of several things is a masked array that hides a value: NumPy would take what is hidden."""
    for row, values in enumerate(rows, first_row):
        if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
            raise DataError(f"{what}: row {row}: has masked elements; they have no value")


def refuse_fields(dtype: np.dtype, what: str) -> None:
    """UnsupportedError for a structured array, of which a field has to be named."""
    if dtype.names:
        fields = ", ".join(map(repr, dtype.names[:8]))
        raise UnsupportedError(f"{what}: is of a structured type, with the fields {fields}; give the one that holds "
                               f"the vectors, as X[{dtype.names[-1]!r}]")


def is_single(value: Any) -> bool:
    """Is this one number or one string, where several things are wanted?"""
    return isinstance(value, (str, bytes, np.generic, numbers.Number))


def pack_strings(values: list[str], what: str) -> tuple[bytes, np.ndarray]:
    """Strings back to back in UTF-8, and the (n,) uint64 ends of each."""
    parts = []
    for row, value in enumerate(values):
        try:
            parts.append(value.encode())
        except UnicodeEncodeError as error:
            raise DataError(f"{what}: row {row}: cannot be written as UTF-8: {error.reason}") from None
    return b"".join(parts), np.cumsum([len(part) for part in parts], dtype=np.uint64)
