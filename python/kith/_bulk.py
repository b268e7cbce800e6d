# SPDX-License-Identifier: Apache-2.0
"""Loading much at once: sources of vectors as readers of the C library, payloads beside them, and one call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ._errors import ArgumentError
from ._hits import Written
from ._items import pack_ids, pack_payloads
from ._rows import make_reader
from ._sources import Source, as_source

MODES = ("upsert", "insert")


def sources_of(vectors: Any, ids: Any, name: str, specs: list[tuple[Any, ...]]) -> list[tuple[int, Source]]:
    """(number of the named vector, its rows); ids go with the first of them."""
    names = [spec[0] for spec in specs]
    given = vectors if isinstance(vectors, Mapping) else {name: vectors}
    if not given:
        raise ArgumentError("vectors: there are none")
    found = []
    for each, rows in given.items():
        if each == "" and len(names) == 1:
            each = names[0]
        if each not in names:
            raise ArgumentError(f"the collection has no vector {each!r}: there is {', '.join(map(repr, names))}")
        number = names.index(each)
        bits = specs[number][2] == "b1"
        found.append((number, as_source(rows, None if found else ids, dtype="b1" if bits else None)))
    rows = {source.rows for _, source in found}
    if len(rows) > 1:
        raise ArgumentError(f"vectors: there are {' and '.join(map(str, sorted(rows)))} rows, which differ")
    return found


def load(shop: Any, sources: list[tuple[int, Source]], payloads: Any, mode: str, resume: bool, report: Any) -> Written:
    """Load all rows in one step."""
    from ._cpu import get_threads

    rows = sources[0][1].rows
    options: dict[str, Any] = {"mode": MODES.index(mode), "resume": int(resume), "threads": get_threads()}
    packed = None
    if isinstance(payloads, (str, os.PathLike)):
        options["payloads_path"] = os.fspath(payloads)
    elif payloads is not None:
        packed = pack_payloads(payloads, rows)
    readers = [(number, _reader(source)) for number, source in sources]
    _refuse_other_ids(readers[0][1], sources[0][1], shop._strings)
    version, inserted, replaced, _ = shop._load(readers, packed, options, report)
    return Written(version, inserted, replaced, 0, 0)


def _reader(source: Source) -> Any:
    return make_reader(source, None, None, "b1" if source.dtype == "b1" else None)


def _refuse_other_ids(reader: Any, source: Source, strings: bool) -> None:
    """The words of a write, where the ids are at hand."""
    if source.path is None:
        pack_ids((np.arange(1) if source.ids is None else source.ids)[:1], strings)
