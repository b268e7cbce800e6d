# SPDX-License-Identifier: Apache-2.0
"""Sets of allowed ids."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _kith
from ._convert import is_single
from ._errors import ArgumentError


class Filter(_kith.Filter):
    """The ids that a search may return: made by Index.filter(), used by any number of searches on that index.

    ``len(filter)`` is how many vectors it allows, ``filter.unknown`` how many of the ids the index does not hold.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Filter({len(self)} allowed, {self.unknown} unknown)"

    def __reduce__(self) -> tuple:
        raise TypeError("a filter belongs to its index and cannot be pickled: pickle the ids")


def make_filter(index: _kith.Index, ids: Any) -> Filter:
    """A Filter from numbers, or from the strings of an index with string ids."""
    from ._sources.labels import to_ids

    if is_single(ids):
        raise ArgumentError(f"allow: a list or an array of ids was expected, not {ids!r}")
    if getattr(ids, "dtype", None) == np.bool_:
        raise ArgumentError("allow: a mask of bools is not a list of ids (numpy.flatnonzero makes row numbers of it)")
    found = to_ids(ids, "allow")
    if isinstance(found, list):
        numbers, known, unknown = index._lookup(found)
        return Filter._make(index, numbers[:known], unknown)
    return Filter._make(index, found.astype(np.uint64, copy=False), 0)
