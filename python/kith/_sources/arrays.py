# SPDX-License-Identifier: Apache-2.0
"""NumPy arrays, lists of rows, and tensors that show their memory through DLPack or __array__."""
from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .._convert import refuse_masks, unmasked
from .._errors import ArgumentError, DataError, UnsupportedError
from .source import STRIP_BYTES, Gather, Options, Source, check_shape, refuse_columns, source_of

DEVICE_CPU = 1  # DLPack's kDLCPU


def open_array(rows: Any, options: Options) -> Source:
    """An ndarray as it lies, or a list of rows: a list of Python's, or an array of objects that are rows."""
    refuse_columns(options, "X")
    if isinstance(rows, np.ndarray) and not (rows.dtype == object and rows.ndim == 1):
        return source_of(rows, options, "X")
    if isinstance(rows, np.ndarray):
        return rows_of_objects(unmasked(rows, "X"), options, "X")
    return source_of(array_of_rows(rows, "X"), options, "X")


def rows_of_objects(rows: np.ndarray, options: Options, what: str) -> Source:
    """Python objects, a list or an array each."""
    if len(rows) == 0:
        raise DataError(f"{what}: has no rows")
    gather = Gather(len(rows), options, what)
    width = len(rows[0]) if hasattr(rows[0], "__len__") else 1
    step = max(1, STRIP_BYTES // max(1, 8 * width))
    for at in range(0, len(rows), step):
        gather.add(array_of_rows(rows[at:at + step].tolist(), what, at))
    return gather.finish()


def array_of_rows(rows: Any, what: str, first_row: int = 0) -> np.ndarray:
    """A two-dimensional array from a sequence of rows. DataError names the row that is none, or of another length."""
    refuse_masks(rows, what, first_row)
    try:
        array = np.asarray(rows)
    except ValueError:
        array = None
    if array is not None and array.ndim == 2 and array.dtype.kind != "O":
        return array
    if array is not None and array.ndim != 2 and (array.dtype.kind != "O" or array.ndim != 1):
        check_shape(array, what, "[X]")
    _blame_row(rows, what, first_row)
    raise DataError(f"{what}: its rows do not make an array of numbers")


def _blame_row(rows: Any, what: str, first_row: int) -> None:
    """Raise for the first row that does not go with the others."""
    length = None
    for number, row in enumerate(rows, first_row):
        try:
            values = np.asarray(row)
        except ValueError:
            raise DataError(f"{what}: row {number} is no list of numbers") from None
        if values.ndim != 1 or values.dtype.kind not in "iufbV":
            missing = values.ndim == 0 and (row is None or row != row)
            raise DataError(f"{what}: row {number} is {'missing' if missing else 'no list of numbers'}")
        if length is None:
            length = len(values)
        if len(values) != length:
            raise DataError(f"{what}: row {number} has {len(values)} elements, but row {first_row} has {length}")


def open_tensor(tensor: Any, options: Options) -> Source:
    """Anything else that shows an array. UnsupportedError for what does not, or lies on another device."""
    what = type(tensor).__name__
    if hasattr(tensor, "read") and not hasattr(tensor, "__array__"):
        raise ArgumentError(f"{what}: is an open file, not vectors; give its path, or what it holds, as "
                            "numpy.load(file)")
    refuse_columns(options, what)
    if hasattr(tensor, "detach"):  # PyTorch refuses to export what is part of a graph of gradients
        tensor = tensor.detach()
    if str(getattr(tensor, "dtype", "")) == "torch.bfloat16":
        rows = _exported(tensor.view(sys.modules["torch"].int16), what).view(np.uint16)
        check_shape(rows, what)
        return Source(rows, "bf16", what=what)
    one = "X.reshape(1, -1)" if hasattr(tensor, "reshape") else None
    return source_of(_exported(tensor, what), options, what, one)


def _exported(tensor: Any, what: str) -> np.ndarray:
    if hasattr(tensor, "__dlpack__"):
        device = tensor.__dlpack_device__()
        if int(device[0]) != DEVICE_CPU:
            raise UnsupportedError(f"{what}: lies in the memory of another device (DLPack type {int(device[0])}, "
                                   f"number {int(device[1])}); copy it to the CPU first, as X.cpu() does in PyTorch")
        try:
            return np.from_dlpack(tensor)
        except (BufferError, RuntimeError, TypeError):
            pass  # an element type that DLPack or NumPy does not know: perhaps __array__ does
    if hasattr(tensor, "__array__") or hasattr(tensor, "__array_interface__"):
        return np.asarray(tensor)
    try:
        if not isinstance(tensor, (bytes, bytearray)):  # which have no rows
            return np.asarray(memoryview(tensor))
    except TypeError:
        pass
    raise ArgumentError(f"{what}: cannot be read as vectors; an array, a path, a table or a data frame was expected")
