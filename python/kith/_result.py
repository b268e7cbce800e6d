# SPDX-License-Identifier: Apache-2.0
"""What a search gives back: Result, RangeResult and Explain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import numpy as np

from . import _kith

_SHOWN = 8  # rows of a table that people look at


class Explain(Mapping):
    """What a search did: a mapping with the plan that ran, its counts and its times in seconds.

    ``plan``, ``tier``, ``exact`` (False: an approximate plan, or an index without originals), ``threads``,
    ``queries``, ``rows``, ``allowed`` (rows the filter let through); of approximate plans ``nprobe`` (ivf), ``effort``
    (graph, hnsw, lsh), ``rerank``, ``code`` (None for plans without) and ``unusual`` (queries that differ from those of
    the calibration, and were served more carefully);
    ``probed_lists`` and ``scanned_rows`` (pairs of query and list, query and vector), ``scanned_bytes``,
    ``level1_survivors``, ``candidates`` (pairs of query and vector that the bounds could not rule out), ``reranked``
    (pairs scored by the defining distance), ``visited`` (pairs whose edges or buckets were looked at), ``hot`` (True: in
    the copy that :func:`kith.open` makes with ``copy_hot``), ``device`` (on which it ran, or "") with ``device_seconds``
    (a dict of upload, compute and download), ``seconds`` and ``stage_seconds`` (a dict; summed over
    threads).

    ``considered`` lists the plans that were weighed, the chosen one first: dicts of plan, code, nprobe, effort, rerank,
    the expected recall and query_seconds (on one thread; None: not known), and why. Empty where the caller named a
    plan.
    """

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        try:
            return object.__getattribute__(self, "_values")[name]
        except KeyError:
            raise AttributeError(f"Explain has no {name!r}") from None

    def __reduce__(self) -> tuple:
        return Explain, (self._values,)

    def __repr__(self) -> str:
        return f"Explain({self._values!r})"

    def __str__(self) -> str:
        lines = []
        for key, value in self._values.items():
            if isinstance(value, dict):
                value = ", ".join(f"{stage} {_duration(seconds)}" for stage, seconds in value.items())
            elif isinstance(value, list):
                value = f"\n{'':19}".join(map(_weighed, value))
            elif key == "seconds":
                value = _duration(value)
            elif isinstance(value, int) and not isinstance(value, bool):
                value = f"{value:,}"
            lines.append(f"{key:>17}  {value}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _weighed(plan: dict[str, Any]) -> str:
    words = [plan["plan"]]
    if plan["plan"] == "ivf":
        words.append(f"{plan['code']}, nprobe {plan['nprobe']}, rerank {plan['rerank']}")
    elif plan["effort"]:
        words.append(f"effort {plan['effort']}")
    words.append(f"recall {plan['recall']:.4f}")
    if plan["query_seconds"] is not None:
        words.append(f"{_duration(plan['query_seconds'])} a query")
    return f"{', '.join(words)}: {plan['why']}"


def _duration(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.0f} ns"


class Result(_kith.Result):
    """Neighbours of queries, nearest first. Unpacks as ``ids, distances = index.search(...)``.

    ids
        (q, k) int64, or (k,) when the query had one axis. uint64 when the index holds ids beyond int64. With string
        ids an object array of ``str``. Rows with fewer than k results end in -1 (2**64 - 1, None).
    distances
        float32 in the same shape, ascending, in the index's metric (``l2``: squared); padded with inf.
    rows
        With string ids, the int64 row numbers behind them; otherwise the same as ids.
    explain
        What the search did: see Explain.

    It is a pair: ``len(result)`` is 2, ``result[0]`` the ids and ``result[1]`` the distances. How many queries there
    were is ``len(result.ids)``.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple:
        rows = self.rows if self.rows is not self.ids else None
        return _kith.make_result, (self.ids, self.distances, rows, self.explain)

    def __repr__(self) -> str:
        return f"Result(ids=\n{self.ids!r},\ndistances=\n{self.distances!r})"

    def _repr_html_(self) -> str:
        ids, distances = np.atleast_2d(self.ids), np.atleast_2d(self.distances)
        head = "".join(f"<th>{rank + 1}</th>" for rank in range(min(ids.shape[1], _SHOWN)))
        lines = []
        for number in range(min(len(ids), _SHOWN)):
            cells = "".join(
                f"<td>{escape(str(i))}<br><small>{d:.6g}</small></td>"
                for i, d in zip(ids[number, :_SHOWN], distances[number, :_SHOWN])
            )
            lines.append(f"<tr><th>{number}</th>{cells}</tr>")
        note = f"{len(ids):,} queries, {ids.shape[1]} results each"
        return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table><p>{note}</p>"


class RangeResult:
    """All neighbours within a radius. Query i has ``ids[offsets[i]:offsets[i + 1]]``, nearest first.

    offsets
        (q + 1,) int64.
    ids, distances
        (total,) of the types that Result has.
    rows
        With string ids, the int64 row numbers behind them; otherwise the same as ids.
    explain
        What the search did: see Explain.

    ``len(result)`` is the number of queries, ``result[i]`` the pair (ids, distances) of query i, and iterating gives
    these pairs.
    """

    __slots__ = ("offsets", "ids", "distances", "rows", "explain")

    def __init__(self, offsets: np.ndarray, ids: np.ndarray, distances: np.ndarray, rows: np.ndarray | None,
                 explain: Mapping) -> None:
        self.offsets = offsets
        self.ids = ids
        self.distances = distances
        self.rows = ids if rows is None else rows
        self.explain = explain if isinstance(explain, Explain) else Explain(dict(explain))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        count = len(self)
        if not -count <= number < count:
            raise IndexError(f"query {number} of {count}")
        first, last = self.offsets[number % count], self.offsets[number % count + 1]
        return self.ids[first:last], self.distances[first:last]

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (self[number] for number in range(len(self)))

    def __reduce__(self) -> tuple:
        rows = self.rows if self.rows is not self.ids else None
        return RangeResult, (self.offsets, self.ids, self.distances, rows, self.explain)

    def __repr__(self) -> str:
        return f"RangeResult({len(self)} queries, {len(self.ids)} results)"
