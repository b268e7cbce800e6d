# SPDX-License-Identifier: Apache-2.0
"""Ids that a caller names: sets of allowed and of denied ones, and lists of those whose vectors are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from . import _kith
from ._convert import is_single
from ._errors import ArgumentError, MissingIdError

NO_ID = 2**64 - 1  # KITH_ID_NONE


class Filter(_kith.Filter):
    """The ids that a search may return: made by Index.filter(), used by any number of searches on that index.

    ``len(filter)`` is how many vectors it allows, ``filter.unknown`` how many of the ids the index does not hold.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Filter({len(self)} allowed, {self.unknown} unknown)"

    def __reduce__(self) -> tuple:
        raise TypeError("a filter belongs to its index and cannot be pickled: pickle the ids")


def make_filter(index: _kith.Index, allow: Any, deny: Any = None) -> Filter:
    """What `allow` lets through (None: everything), less what `deny` names: each a Filter, or ids in any order."""
    chosen = None if allow is None else _filter_of(index, allow, "allow")
    if deny is not None:
        return Filter._except(chosen, _filter_of(index, deny, "deny"))
    if chosen is None:
        raise ArgumentError("a filter needs the ids that it allows, or those that it denies")
    return chosen


def _filter_of(index: _kith.Index, ids: Any, what: str) -> Filter:
    """A Filter from numbers, or from the strings of an index with string ids."""
    from ._sources.labels import to_ids

    if isinstance(ids, _kith.Filter):
        return ids
    if is_single(ids):
        raise ArgumentError(f"{what}: a list or an array of ids was expected, not {ids!r}")
    if getattr(ids, "dtype", None) == np.bool_:
        raise ArgumentError(f"{what}: a mask of bools is not a list of ids (numpy.flatnonzero makes row numbers of it)")
    found = to_ids(ids, what, any_order=True)
    if not isinstance(found, list):
        return Filter._make(index, found.astype(np.uint64, copy=False), 0)
    if found and not index._names_ids:
        raise TypeError(f"{what}: {found[0]!r} is a string, but the ids of this index are numbers")
    numbers, known, unknown = index._lookup(found)
    return Filter._make(index, numbers[:known], unknown)


def ordered_ids(ids: Any) -> np.ndarray | list[Any]:
    """Ids one after another: (n,) uint64, or a list with strings. MissingIdError for a number that no id can be."""
    from ._sources.labels import refuse_unordered, to_ids

    if is_single(ids):
        raise ArgumentError(f"ids: a list or an array of ids was expected, not {ids!r}")
    refuse_unordered(ids, "ids")
    values = ids if hasattr(ids, "dtype") or not isinstance(ids, Iterable) else list(ids)
    row = _impossible(values)
    if row is not None:
        raise MissingIdError(f"ids: row {row}: the index has no id {values[row]}")
    if isinstance(values, list) and any(isinstance(value, str) for value in values) and \
            all(isinstance(value, (str, int, np.integer)) for value in values):
        return values  # beside strings, numbers are those of rows
    found = to_ids(values, "ids")
    return found if isinstance(found, list) else found.astype(np.uint64, copy=False)


def _impossible(values: Any) -> int | None:
    """The row of the first number that is beyond all ids, as those that fill up results are."""
    if isinstance(values, list):
        return next((row for row, value in enumerate(values)
                     if isinstance(value, (int, np.integer)) and not 0 <= value < NO_ID), None)
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "iu":
        return None
    beyond = values < 0 if values.dtype.kind == "i" else values == np.uint64(NO_ID)
    return int(np.argmax(beyond)) if beyond.any() else None
