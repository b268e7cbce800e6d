# SPDX-License-Identifier: Apache-2.0
"""Generations of a collection: what Collection's methods about them work out before the extension is called."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from . import _kith
from ._errors import ArgumentError
from ._items import UTC
from ._options import dtype as _dtype
from ._options import metric as _metric
from ._options import whole
from ._words import real, spec, word

MOST = 2**32 - 1


def number_of(value: Any) -> int:
    """The number of a generation."""
    return whole(value, "generation", 1, MOST)


def share_of(value: Any, name: str) -> float:
    share = real(value, name)
    if not 0 <= share <= 1:
        raise ArgumentError(f"{name} is {value}, 0 to 1 are possible")
    return share


def begin(shop: Any, model: str | None, dim: int | None, dtype: Any, metric: str | None,
          vectors: Mapping[str, Any] | None) -> int:
    """Begin a generation. What is not said of a vector is as the current generation has it."""
    if (dim is None) == (vectors is None):
        raise ArgumentError("a generation needs dim=, where an item has one vector, or vectors=, where it has several")
    if vectors is not None and not isinstance(vectors, Mapping):
        raise TypeError(f"vectors must be a dict of name to dim, or to (dim, dtype, metric), not {vectors!r}")
    if vectors is not None and (dtype is not None or metric is not None):
        raise ArgumentError("vectors= gives each vector its dtype and metric: {name: (dim, dtype, metric)}")
    now = shop._specs(0)
    if vectors is None:
        if len(now) > 1:
            raise ArgumentError(f"there are several vectors, {', '.join(repr(name) for name, *_ in now)}: vectors= "
                                "says of which the generation has its own")
        vectors = {now[0][0]: (dim, dtype, metric)}
    current = {name: (_dtype(kind), _metric(measure)) for name, _, kind, measure in now}
    specs = [spec(name, given) for name, given in vectors.items()]
    return shop._begin(model if model is None else word(model, "model"),
                       [(name, size, kind or current.get(name, (0, 0))[0], measure or current.get(name, (0, 0))[1])
                        for name, size, kind, measure in specs])


def listed(shop: Any) -> list[dict[str, Any]]:
    found = shop._generations()
    for one in found:
        ms = one["created"]
        one["created"] = datetime.datetime.fromtimestamp(ms / 1000, UTC) if ms else None
    return found


def check_options(sample: int, k: int, target_recall: float, seed: int) -> dict[str, Any]:
    return {"sample": whole(sample, "sample", 0, 2**40), "k": whole(k, "k", 1, _kith.K_MAX - 1),
            "target_recall": share_of(target_recall, "target_recall"), "seed": whole(seed, "seed", 0, 2**64 - 1)}


def check(shop: Any, number: int, options: dict[str, Any], lacks: bool, report: Any) -> dict[str, Any]:
    about = shop._check(number_of(number), options, bool(lacks), report)
    if not lacks:
        del about["lacks"]
    return about


def flip(shop: Any, number: int | None, min_share: float | None, min_recall: float, min_overlap: float,
         options: dict[str, Any], report: Any) -> dict[str, Any]:
    """number None: back, for which nothing is required that is not asked for."""
    back = number is None
    least = (share_of((0 if back else 1) if min_share is None else min_share, "min_share"),
             share_of(min_recall, "min_recall"), share_of(min_overlap, "min_overlap"))
    return shop._flip(0 if number is None else number_of(number), None if back and not any(least) else least, options,
                      report)


def columns(shop: Any, vectors: Any, generation: int | None, generations: Mapping[int, Any] | None,
            mode: str) -> list[tuple[int, int, Any, Any]]:
    """The vectors of a write, of whichever generations."""
    if generation is not None and mode in ("upsert", "insert"):
        raise ArgumentError(f"generation= adds vectors to items that are there, but mode {mode!r} makes whole items, "
                            "which would have no vectors of other generations: use update(), or give the vectors of "
                            "other generations as generations={number: vectors}")
    if generations is not None and not isinstance(generations, Mapping):
        raise TypeError(f"generations must be a dict of number to vectors, not {generations!r:.100}")
    first = 0 if generation is None else number_of(generation)
    others = {number_of(number): rows for number, rows in (generations or {}).items()}
    if first in others:
        raise ArgumentError(f"generation= and generations= both give vectors of generation {first}")
    return [column for number, rows in {first: vectors, **others}.items() for column in shop._columns(rows, number)]
