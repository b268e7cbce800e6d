# SPDX-License-Identifier: Apache-2.0
"""What callers of a collection's verbs say: words, numbers and shapes, as the extension and a server take them."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ._errors import ArgumentError
from ._options import dtype as _dtype
from ._options import metric as _metric
from ._options import whole


_FIELD_TYPES = ("tag", "tags", "int", "float", "bool", "time")


def words(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def made(dim: int | None, metric: str | None, dtype: Any, vectors: Mapping[str, Any] | None,
         fields: Mapping[str, Any] | None, ids: str, segment_field: str | None, model: str | None) -> tuple[Any, ...]:
    """(string ids, specs of vectors, fields, segment field, model)"""
    if (dim is None) == (vectors is None):
        raise ArgumentError("a collection needs dim=, for one vector an item, or vectors=, for named ones")
    if ids not in ("number", "string"):
        raise ArgumentError(f"ids {ids!r} is unknown: 'number' and 'string' are")
    if vectors is not None and (metric is not None or dtype is not None):
        raise ArgumentError("vectors= gives each vector its dtype and metric: {name: (dim, dtype, metric)}")
    specs = [spec("", (dim, dtype, metric))] if vectors is None else \
        [spec(name, given) for name, given in vectors.items()]
    if not isinstance(fields or {}, Mapping):
        raise TypeError(f"fields must be a dict of name to type, not {fields!r}")
    return (ids == "string", specs,
            [(word(name, "the name of a field"), field_type(kind)) for name, kind in (fields or {}).items()],
            segment_field if segment_field is None else word(segment_field, "segment_field"),
            model if model is None else word(model, "model"))


def spec(name: str, given: Any) -> tuple[str, int, int, int]:
    """(name, dim, number of the dtype, number of the metric); 0: not said"""
    parts = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    if not 1 <= len(parts) <= 3:
        raise ArgumentError(f"vectors: {name!r} has {given!r}; a dim, or (dim, dtype, metric), was expected")
    dim, kind, metric = (*parts, None, None)[:3]
    return (word(name, "the name of a vector"), whole(dim, "dim", 1, 65536), 0 if kind is None else _dtype(kind),
            0 if metric is None else _metric(metric))


def field_type(kind: Any) -> str:
    known = {str: "tag", list: "tags", int: "int", float: "float", bool: "bool", datetime.datetime: "time"}
    text = known.get(kind, kind) if isinstance(kind, type) else kind
    if not isinstance(text, str):
        raise TypeError(f"the type of a field must be a word, not {kind!r}")
    if word(text, "the type of a field") not in _FIELD_TYPES:
        raise ArgumentError(f"{text!r} is no type of a field: {', '.join(_FIELD_TYPES)} are")
    return text


def word(text: Any, what: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a text, not {text!r}")
    if "\0" in text:
        raise ArgumentError(f"{what}: {text!r} has a null character")
    return text


def real(value: Any, name: str) -> float:
    if isinstance(value, str) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, not {value!r}")
    return float(value)


def recall(target: float) -> float:
    target = real(target, "target_recall")
    if not 0 < target <= 1:
        raise ArgumentError(f"target_recall is {target}, it must be above 0 and at most 1")
    return target


def generation_read(number: int | None, vectors: bool) -> int:
    """The generation of a read; 0: the current one."""
    if number is None:
        return 0
    if not vectors:
        raise ArgumentError("generation= says whose vectors are read: it belongs to vectors=True")
    return whole(number, "generation", 1, 2**32 - 1)


def asked(number: int, user: str | None) -> int:
    """The generation of a search."""
    if user is not None:
        raise ArgumentError("generation= and user= both say which generation is asked: give one of them")
    return whole(number, "generation", 1, 2**32 - 1)


def share(value: float, name: str) -> float:
    if not 0 <= value <= 1:
        raise ArgumentError(f"{name} is {value}, 0 to 1 are possible")
    return float(value)


def half_life_ms(value: datetime.timedelta | float) -> int:
    seconds = value.total_seconds() if isinstance(value, datetime.timedelta) else float(value)
    if not seconds >= 0.001:
        raise ArgumentError(f"half_life is {seconds} seconds, it must be a millisecond at least")
    return 2**64 - 1 if seconds >= 1e13 else int(seconds * 1000)


def event_ms(value: datetime.datetime | float) -> int:
    seconds = value.timestamp() if isinstance(value, datetime.datetime) else float(value)
    if not 0.001 <= seconds < 1e13:
        raise ArgumentError(f"time is {value}, it must be after 1970")
    return int(seconds * 1000)


def nanoseconds(seconds: float) -> int:
    seconds = real(seconds, "timeout")
    if not seconds > 0:
        raise ArgumentError(f"timeout is {seconds}, it must be more than 0 seconds")
    return int(min(math.ceil(min(seconds, 9e9) * 1e9), 9e18))
