# SPDX-License-Identifier: Apache-2.0
"""Ids and names: from arrays, lists, columns and side files to an integer array or a list of str."""
from __future__ import annotations

import os
from collections.abc import Iterable, KeysView, Mapping, Set
from typing import Any

import numpy as np

from .._convert import refuse_fields, unmasked
from .._errors import ArgumentError, DataError, FormatError
from .._files import refusals
from .source import Source

ID_MAX = 2**64 - 2  # 2**64 - 1 marks the absence of a result


def attach(source: Source, ids: Any, names: Any) -> Source:
    """`source` with the ids and names given, if any, in place of its own."""
    if ids is None and names is None:
        return source
    if ids is not None:
        ids = _checked_length(to_ids(_from_file(ids, True), "ids"), source, "ids")
    if names is not None:
        names = _checked_length(to_strings(_from_file(names, False), "names"), source, "names")
    return Source(source.array, source.dtype, rows=source.rows, dim=source.dim, what=source.what,
                  ids=source.ids if ids is None else ids, names=source.names if names is None else names)


def _checked_length(labels: Any, source: Source, what: str) -> Any:
    if len(labels) != source.rows:
        raise ArgumentError(f"{what}: {len(labels)} for {source.rows} rows")
    return labels


def _from_file(labels: Any, may_be_array: bool) -> Any:
    if not isinstance(labels, (str, os.PathLike)):
        return labels
    path = os.fspath(labels)
    if may_be_array and path.endswith(".npy"):
        from . import files
        return files.load_npy(path)
    try:
        with refusals(path), open(path, encoding="utf-8", newline=None) as file:
            lines = file.read().split("\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    if lines and lines[-1] == "":
        lines.pop()
    return [int(line) for line in lines] if may_be_array and all(map(_is_number, lines)) else lines


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def refuse_unordered(labels: Any, what: str) -> None:
    """ArgumentError for what has no order, so that none of it belongs to a row: a set, or a dict as a whole. (The keys
    and the values of a dict do have one.)"""
    if isinstance(labels, Mapping):
        raise ArgumentError(f"{what}: a {type(labels).__name__} was given; give its keys or its values as a list")
    if isinstance(labels, Set) and not isinstance(labels, KeysView):
        raise ArgumentError(f"{what}: a {type(labels).__name__} has no order, so that none of it belongs to a row; "
                            "give a list or an array")


def to_ids(labels: Any, what: str, first_row: int = 0, any_order: bool = False) -> np.ndarray | list[str]:
    """An int64 or uint64 array, or a list of str. DataError names the row of a bad id. any_order: sets are fine."""
    if not any_order:
        refuse_unordered(labels, what)
    if isinstance(labels, np.ndarray):
        labels = unmasked(labels, what, first_row)
        refuse_fields(labels.dtype, what)
    array = _one_dimensional(labels, what)
    if array.dtype.kind in "iu":
        return _checked_integers(array, what, first_row)
    if array.dtype.kind in "UT":
        return to_strings(array.tolist(), what, first_row)
    if array.dtype.kind == "O":
        values = array.tolist()
        if values and all(isinstance(value, (int, np.integer)) and not isinstance(value, bool) for value in values):
            return _big_integers(values, what, first_row)
        return to_strings(values, what, first_row)
    if array.size == 0:
        return np.empty(0, np.int64)
    raise DataError(f"{what}: are of type {array.dtype}; whole numbers or strings were expected")


def _one_dimensional(labels: Any, what: str) -> np.ndarray:
    try:
        if hasattr(labels, "to_numpy") and not isinstance(labels, np.ndarray):
            try:
                labels = labels.to_numpy()
            except (TypeError, ValueError):  # a pyarrow array that would have to be copied
                labels = labels.to_numpy(zero_copy_only=False)
        if not hasattr(labels, "dtype"):
            labels = list(labels)
            if any(isinstance(value, str) for value in labels):
                return _objects(labels)  # NumPy would turn numbers among strings into strings
        array = np.asarray(labels)
        if array.dtype.kind == "f" and isinstance(labels, list) and all(isinstance(v, int) for v in labels):
            return _objects(labels)  # and whole numbers, some of them beyond 2**63, into floats
    except (ValueError, TypeError):
        raise DataError(f"{what}: one whole number or string a row was expected") from None
    if array.ndim != 1:
        raise ArgumentError(f"{what}: have the shape {array.shape}; one a row was expected")
    return array


def _objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _checked_integers(array: np.ndarray, what: str, first_row: int) -> np.ndarray:
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        row = int(np.argmax(array < 0))
        raise DataError(f"{what}: row {first_row + row}: id {array[row]} is negative; ids are whole numbers from 0, or "
                        "strings")
    if array.dtype == np.uint64 and array.size and array.max() > ID_MAX:
        raise DataError(f"{what}: row {first_row + int(np.argmax(array))}: id 2**64 - 1 is reserved")
    return array.astype(np.uint64 if array.dtype == np.uint64 else np.int64, copy=False)


def _big_integers(values: list[int], what: str, first_row: int) -> np.ndarray:
    """Python numbers that NumPy kept as objects: some are beyond 64 bits, or they mix signs with large ones."""
    for row, value in enumerate(values, first_row):
        if not 0 <= value <= ID_MAX:
            raise DataError(f"{what}: row {row}: id {value} is not in 0 to 2**64 - 2")
    return np.array(values, np.uint64)


def to_strings(labels: Any, what: str, first_row: int = 0) -> list[str]:
    """A list of str. DataError names the row of what is none."""
    refuse_unordered(labels, what)
    if isinstance(labels, np.ndarray):
        labels = unmasked(labels, what, first_row)
    if isinstance(labels, np.ndarray) or hasattr(labels, "tolist"):
        labels = labels.tolist()
    elif hasattr(labels, "to_list"):
        labels = labels.to_list()
    if not isinstance(labels, Iterable):
        raise ArgumentError(f"{what}: one string a row was expected")
    values = list(labels)
    for row, value in enumerate(values, first_row):
        if type(value) is not str and not isinstance(value, str):
            missing = value is None or value != value
            raise DataError(f"{what}: row {row}: {'is missing' if missing else f'{value!r} is no string'}")
        if value == "" and what.endswith("ids"):
            raise DataError(f"{what}: row {row}: the id is empty")
    return values


class LabelGather:
    """Joins the ids of one column that comes in pieces."""

    def __init__(self, what: str, ids: bool) -> None:
        self.what, self.ids, self.rows = what, ids, 0
        self.pieces: list[Any] = []

    def add(self, labels: Any) -> None:
        piece = to_ids(labels, self.what, self.rows) if self.ids else to_strings(labels, self.what, self.rows)
        self.rows += len(piece)
        self.pieces.append(piece)

    def finish(self) -> Any:
        if self.pieces and isinstance(self.pieces[0], np.ndarray):
            return self.pieces[0] if len(self.pieces) == 1 else np.concatenate(self.pieces)
        return [label for piece in self.pieces for label in piece]
