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
INDEX_TYPES = ("auto", "flat", "ivf", "graph", "hnsw", "lsh", "pq")
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
        if value not in words or value == "?":  # a number without a word
            known = [word for word in words if word != "?"]
            raise ArgumentError(f"{name} {value!r} is unknown: {', '.join(map(repr, known))} are")
        return words.index(value)

    return parse


resident_code = _word("resident", ("none", "codes", "all"))  # kith_resident
device_code = _word("device", ("cpu", "auto", "opencl"))  # kith_device_use


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


def _degree(value: Any) -> int:
    number = whole(value, "graph_degree", 1, 2**31)
    if number not in (32, 48, 64):
        raise ArgumentError(f"graph_degree is {number}, 32, 48 and 64 are possible")
    return number


def _graph_bits(value: Any) -> int:
    if isinstance(value, str):
        if value != "auto":
            raise ArgumentError(f"graph_bits is {value!r}: 1, 2, 4 or 'auto' was expected")
        return 0
    number = whole(value, "graph_bits", 1, 2**31)
    if number not in (1, 2, 4):
        raise ArgumentError(f"graph_bits is {number}, 1, 2 and 4 are possible")
    return number


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
    "index": _word("index", INDEX_TYPES),
    "graph_degree": _degree,
    "graph_bits": _graph_bits,
    "lean": _flag("lean"),
    "hnsw_m": lambda value: whole(value, "hnsw_m", 2, 128),
    "hnsw_ef": lambda value: whole(value, "hnsw_ef", 2, 10_000),
    "lsh_tables": lambda value: whole(value, "lsh_tables", 1, 1024),
    "lsh_functions": lambda value: whole(value, "lsh_functions", 1, 64),
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
    "effort": lambda value: whole(value, "effort", 1, 2**40),
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


# Options of one type of index, which others have no use for.
_OF_INDEX = {"graph_degree": "graph", "graph_bits": "graph", "lean": "graph", "links": "graph", "hnsw_m": "hnsw",
             "hnsw_ef": "hnsw", "lsh_tables": "lsh", "lsh_functions": "lsh"}


def leave_graph(options: dict[str, Any], graph: Any, bits: bool, links: bool) -> None:
    """Make of index="auto" what graph=False says, and refuse options of types of index that are not made."""
    auto = options.get("index", 0) == 0
    wanted = _flag("graph")(graph)
    made = INDEX_TYPES[options.get("index", 0)]
    if not wanted and made == "graph":
        raise ArgumentError("graph=False and index='graph' ask for opposites")
    for name, of in _OF_INDEX.items():
        given = links if name == "links" else options.get(name)
        if given and made != of and not (auto and of == "graph" and wanted):
            raise ArgumentError(f"{name} is an option of index={of!r}")
    if options.get("lean") and options.get("graph_bits"):
        raise ArgumentError("lean leaves out the codes of edges that graph_bits is about")
    if auto and not wanted:
        options["index"] = INDEX_TYPES.index("flat" if bits else "ivf")


def join_options(given: dict[str, Any]) -> dict[str, Any]:
    """What `Index._join` takes. nprobe, rerank and scan_code imply plan 'ivf', as in a search."""
    options = {name: JOIN[name](value) for name, value in given.items() if value is not None}
    lists = {"nprobe", "scan_code"} & options.keys()
    ivf = PLANS.index("ivf")
    if "nprobe" in options and "target_recall" in options:
        raise ArgumentError("nprobe and target_recall cannot both be given: a target recall chooses nprobe")
    if "effort" in options and "target_recall" in options:
        raise ArgumentError("effort and target_recall cannot both be given: a target recall chooses the effort")
    if (lists or "rerank" in options) and options.setdefault("plan", ivf) != ivf and lists:
        raise ArgumentError(f"nprobe and scan_code belong to plan 'ivf', not to {given['plan']!r}")
    if "rerank" in options and (options["plan"] < ivf or PLANS[options["plan"]] == "device"):
        raise ArgumentError(f"rerank belongs to plans that are approximate, not to {given['plan']!r}")
    if "effort" in options and PLANS[options.get("plan", 0)] not in ("graph", "hnsw", "lsh"):
        raise ArgumentError("effort belongs to the plans 'graph', 'hnsw' and 'lsh': one of them must be named")
    return options
