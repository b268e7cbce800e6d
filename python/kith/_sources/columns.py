# SPDX-License-Identifier: Apache-2.0
"""Which columns of a table are vectors, ids and names: one rule for Arrow, pandas and polars."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import ArgumentError
from .source import Options

USUAL = ("vector", "embedding")  # what decides between several columns of lists


@dataclass(frozen=True)
class Choice:
    """vectors: one column of lists (is_list) or columns of numbers, in their order; ids, names: a column or None."""

    vectors: list[Any]
    is_list: bool
    ids: Any
    names: Any


def choose(what: str, columns: Sequence[Any], lists: Sequence[Any], numbers: Sequence[Any], options: Options,
           index: Sequence[Any] = ()) -> Choice:
    """From all columns, those of lists and those of numbers. ArgumentError names what is missing or ambiguous.

    index: those of the columns in which pandas keeps a frame's index. They label rows, and are elements only where
    `options.column` says so."""
    for name in (options.column, options.id_column, options.name_column):
        if name is not None and name not in columns:
            raise ArgumentError(f"{what}: has no column {name!r}; it has {_list(columns)}")
    ids = options.id_column if options.id_column is not None else "id" if "id" in columns else None
    names = options.name_column if options.name_column is not None else "name" if "name" in columns else None
    vectors, is_list = _vectors(what, columns, [c for c in lists if c not in (ids, names)],
                                [c for c in numbers if c not in (ids, names)], options.column, index)
    for name in [*vectors, *(c for c in (ids, names) if c is not None)]:
        if list(columns).count(name) > 1:
            raise ArgumentError(f"{what}: has several columns {name!r}")
    return Choice(vectors, is_list, ids, names)


def _vectors(what: str, columns: Sequence[Any], lists: list[Any], numbers: list[Any],
             column: Any, index: Sequence[Any]) -> tuple[list[Any], bool]:
    if column is not None:
        if column in lists:
            return [column], True
        if column in numbers:
            return [column], False
        raise ArgumentError(f"{what}: column {column!r} holds neither lists of numbers nor numbers")
    lists, numbers = ([name for name in kind if name not in index] for kind in (lists, numbers))
    usual = [name for name in USUAL if name in lists]
    if len(lists) > 1 and len(usual) != 1:
        raise ArgumentError(f"{what}: has several columns of lists, {_list(lists)}; name one with column=")
    if lists:
        return [usual[0] if usual else lists[0]], True
    if numbers:
        return numbers, False
    raise ArgumentError(f"{what}: has no column of vectors among {_list(columns)}; lists of numbers, or columns of "
                        "numbers, were expected")


def _list(names: Sequence[Any]) -> str:
    shown = ", ".join(repr(name) for name in list(names)[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "none"
