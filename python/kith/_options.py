# SPDX-License-Identifier: Apache-2.0
"""Options of a build: each keyword, and how its value becomes the number that the C library takes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _kith
from ._errors import ArgumentError

METRICS = ("l2", "ip", "cosine", "hamming", "jaccard")
DTYPES = ("f32", "f16", "bf16", "i8", "u8", "b1")


def whole(value: Any, name: str, least: int, most: int) -> int:
    """A whole number in a range; TypeError for what is none, ArgumentError outside."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None
    if not least <= number <= most:
        raise ArgumentError(f"{name} is {number}, {least} to {most} are possible")
    return number


def metric(value: Any) -> int:
    if not isinstance(value, str):
        raise TypeError(f"metric must be a word, not {value!r}")
    number = _kith.parse_metric(value)
    if not number:
        raise ArgumentError(f"metric {value!r} is unknown: {', '.join(METRICS)} are")
    return number


def dtype(value: Any) -> int:
    """From a word of kith's, or a NumPy type."""
    word = value
    if not isinstance(word, str):
        try:
            word = np.dtype(value).name
        except TypeError:
            raise TypeError(f"dtype must be a word or a NumPy type, not {value!r}") from None
    number = _kith.parse_dtype(word)
    if not number:
        raise ArgumentError(f"dtype {word!r} is unknown: {', '.join(DTYPES)} are")
    return number


def _originals(value: Any) -> int:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"originals must be True or False, not {value!r}")
    return 0 if value else 1


# None is the library's default for each of them.
BUILD: dict[str, Callable[[Any], int]] = {
    "metric": metric,
    "dtype": dtype,
    "originals": _originals,
    "threads": lambda value: whole(value, "threads", 1, _kith.THREADS_MAX),
    "memory": lambda value: whole(value, "memory", 1, 2**63),
    "seed": lambda value: whole(value, "seed", 0, 2**64 - 1),
}


def build_options(given: dict[str, Any]) -> dict[str, int]:
    """The numbers for `_kith.build`."""
    return {name: BUILD[name](value) for name, value in given.items() if value is not None}
