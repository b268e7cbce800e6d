# SPDX-License-Identifier: Apache-2.0
"""New vectors as the next generation of a collection: written beside the current one, validated, made current.

A collection has one writer, which is whoever calls this; workers only make the vectors. Whatever fails, the generation
that was begun is dropped, so that the collection is as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._errors import ArgumentError, DataError
from .columns import Names, Part, labels, pa, vectors
from .engine import Engine
from .source import Frame, files_of, is_paths

STAGE = "kith write the next generation"
WRITE_ROWS = 1 << 14  # of one transaction


def next_generation(engine: Engine, given: Any, collection: Any, model: str, names: Names, name: str | None,
                    least: tuple[float, float, float], drop_previous: bool, flip: bool) -> dict[str, Any]:
    if not hasattr(collection, "begin_generation"):
        raise TypeError(f"collection must be a kith.Collection or what kith.connect() gave, not {collection!r:.100}")
    if drop_previous and not flip:
        raise ArgumentError("drop_previous needs flip=True: a generation that is current cannot be dropped")
    previous = collection.info["generation"]
    number, counts = None, {"updated": 0, "missing": 0}
    try:
        for part in _parts(engine, given, names):
            rows = vectors(part, names.vector, None, "", None)
            if number is None:
                dim = rows.shape[1]
                number = collection.begin_generation(model, **({"dim": dim} if name is None else
                                                               {"vectors": {name: dim}}))
            if rows.shape[1] != dim:
                raise DataError(f"{part.about(names.vector)}: row {part.first_row} has {rows.shape[1]} elements, but "
                                f"the first vector has {dim}")
            _write(collection, number, name, labels(part, names.id), rows, counts)
        if number is None:
            raise DataError("vectors: have no rows")
        about = _end(collection, number, least, flip)
    except BaseException:
        if number is not None:
            collection.drop_generation(number)
        raise
    if drop_previous:
        collection.drop_generation(previous)
    return {**about, **counts, "generation": number}


def _parts(engine: Engine, given: Any, names: Names) -> Iterator[Part]:
    if is_paths(given):
        files, _ = files_of(given, names, 1, "vectors")
        for number in range(len(files.tasks)):
            yield from files.parts([pa.record_batch({"id": pa.array([number])})])
    else:
        frame = engine.accept(given, names.all(), "vectors")
        yield from Frame("vectors", names).parts(engine.batches(frame, STAGE))


def _write(collection: Any, number: int, name: str | None, ids: Any, rows: np.ndarray, counts: dict[str, int]) -> None:
    for at in range(0, len(rows), WRITE_ROWS):
        some = ids.slice(at, WRITE_ROWS)
        some = some.to_pylist() if pa.types.is_string(some.type) else some.to_numpy()
        there = np.asarray(collection.exists(some))
        own = [id for id, known in zip(some, there) if known] if isinstance(some, list) else some[there]
        counts["updated"] += len(own)
        counts["missing"] += len(there) - len(own)
        if len(own):
            block = rows[at:at + WRITE_ROWS][there]
            collection.update(own, block if name is None else {name: block}, generation=number)


def _end(collection: Any, number: int, least: tuple[float, float, float], flip: bool) -> dict[str, Any]:
    if not flip:
        return dict(collection.check_generation(number))
    share, recall, overlap = least
    return dict(collection.flip(number, min_share=share, min_recall=recall, min_overlap=overlap))
