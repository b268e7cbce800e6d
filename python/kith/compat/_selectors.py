# SPDX-License-Identifier: Apache-2.0
"""Which ids a search may return: the selectors of kith.compat.faiss."""
from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np

from ._rows import as_given


class IDSelector:
    """A set of ids. Subclasses tell which of an array of ids belong to it."""

    def matches(self, ids: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class IDSelectorBatch(IDSelector):
    """The ids given."""

    def __init__(self, ids: Any) -> None:
        ids = list(ids) if isinstance(ids, Set) else as_given(ids, "ids")  # their order does not matter
        self.ids = np.asarray(ids, np.int64)

    def matches(self, ids: np.ndarray) -> np.ndarray:
        return np.isin(ids, self.ids)


IDSelectorArray = IDSelectorBatch


class IDSelectorRange(IDSelector):
    """imin <= id < imax"""

    def __init__(self, imin: int, imax: int) -> None:
        self.imin, self.imax = imin, imax

    def matches(self, ids: np.ndarray) -> np.ndarray:
        return (ids >= self.imin) & (ids < self.imax)


class IDSelectorNot(IDSelector):
    """The ids that another selector leaves out."""

    def __init__(self, sel: IDSelector) -> None:
        self.sel = sel

    def matches(self, ids: np.ndarray) -> np.ndarray:
        return ~self.sel.matches(ids)


class SearchParameters:
    """sel restricts a search to some ids. nprobe counts for the types with lists; efSearch and the like are kept, and
    change nothing."""

    def __init__(self, sel: IDSelector | None = None, **more: Any) -> None:
        self.sel = sel
        self.__dict__.update(more)


SearchParametersIVF = SearchParametersHNSW = SearchParameters
