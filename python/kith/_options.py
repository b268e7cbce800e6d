# SPDX-License-Identifier: Apache-2.0
"""Options of a build and of a join: each keyword, and how its value becomes what the C library takes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _kith
from ._errors import ArgumentError

METRICS = ("l2", "ip", "cosine", "hamming", "jaccard")
DTYPES = ("f32", "f16", "bf16", "i8", "u8", "b1")
PLANS, CODES = _kith.PLANS, _kith.CODES


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


def _flag(name: str) -> Callable[[Any], bool]:
    def parse(value: Any) -> bool:
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, not {value!r}")
        return bool(value)

    return parse


def _word(name: str, words: tuple[str, ...]) -> Callable[[Any], int]:
    """The place of a word in its list."""
    def parse(value: Any) -> int:
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a word, not {value!r}")
        if value not in words:
            raise ArgumentError(f"{name} {value!r} is unknown: {', '.join(map(repr, words))} are")
        return words.index(value)

    return parse


def _lists(value: Any) -> int:
    if isinstance(value, str):
        if value != "auto":
            raise ArgumentError(f"lists is {value!r}: a number or 'auto' was expected")
        return 0
    return whole(value, "lists", 1, _kith.LISTS_MAX)


def _first_level(value: Any) -> int:
    if isinstance(value, str):
        if value != "auto":
            raise ArgumentError(f"first_level is {value!r}: True, False or 'auto' was expected")
        return 0
    return 2 if _flag("first_level")(value) else 1


def _text(name: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a word, not {value!r}")
        if "\0" in value:
            raise ArgumentError(f"{name} {value!r} has a NUL")
        return value

    return parse


def _share(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"target_recall must be a number, not {value!r}") from None
    if not 0 < number <= 1:
        raise ArgumentError(f"target_recall is {value}, it must be above 0 and at most 1")
    return number


def _threads(value: Any) -> int:
    return whole(value, "threads", 1, _kith.THREADS_MAX)


def _memory(value: Any) -> int:
    return whole(value, "memory", 1, 2**63)


Parser = Callable[[Any], Any]

# None is the library's default for each of them.
BUILD: dict[str, Parser] = {
    "metric": metric,
    "dtype": dtype,
    "originals": lambda value: 0 if _flag("originals")(value) else 1,
    "first_level": _first_level,
    "lists": _lists,
    "code": _text("code"),
    "spill": lambda value: 0 if _flag("spill")(value) else 1,
    "calibrate": lambda value: 0 if _flag("calibrate")(value) else 1,
    "threads": _threads,
    "memory": _memory,
    "seed": lambda value: whole(value, "seed", 0, 2**64 - 1),
}
JOIN: dict[str, Parser] = {
    "k": lambda value: whole(value, "k", 1, _kith.K_MAX),
    "plan": _word("plan", PLANS),
    "target_recall": _share,
    "nprobe": lambda value: whole(value, "nprobe", 1, 2**40),
    "rerank": lambda value: whole(value, "rerank", 1, 2**40),
    "scan_code": _word("scan_code", CODES),
    "restart": _flag("restart"),
    "threads": _threads,
    "memory": _memory,
}


def build_options(given: dict[str, Any]) -> dict[str, Any]:
    """What `_kith.build` takes."""
    options = {name: BUILD[name](value) for name, value in given.items() if value is not None}
    if "spill" in options:
        options["no_spill"] = options.pop("spill")
    if "calibrate" in options:
        options["no_calibration"] = options.pop("calibrate")
    return options


def join_options(given: dict[str, Any]) -> dict[str, Any]:
    """What `Index._join` takes. nprobe, rerank and scan_code imply plan 'ivf', as in a search."""
    options = {name: JOIN[name](value) for name, value in given.items() if value is not None}
    lists = {"nprobe", "rerank", "scan_code"} & options.keys()
    if "nprobe" in options and "target_recall" in options:
        raise ArgumentError("nprobe and target_recall cannot both be given: a target recall chooses nprobe")
    if lists and options.setdefault("plan", PLANS.index("ivf")) != PLANS.index("ivf"):
        raise ArgumentError(f"nprobe, rerank and scan_code belong to plan 'ivf', not to {given['plan']!r}")
    return options
