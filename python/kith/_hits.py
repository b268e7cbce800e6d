# SPDX-License-Identifier: Apache-2.0
"""What collections give back: Written, Item and Hits."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from html import escape
from typing import Any, NamedTuple

import numpy as np

from ._errors import ArgumentError
from ._items import LAST_MS, UTC

_SHOWN = 8  # rows of a table that people look at


class Written(NamedTuple):
    """What a write did. `version` is the one that it made (that of the collection, where it changed nothing); `unmet`
    counts items whose version was another one than was asked for, and which are as they were."""

    version: int
    inserted: int
    replaced: int
    removed: int
    unmet: int


class Item(NamedTuple):
    """A stored item. `vectors` is a dict of name to array where vectors were asked for, else None."""

    id: int | str
    payload: dict[str, Any] | None
    version: int
    expires: datetime.datetime | None
    vectors: dict[str, np.ndarray] | None

    @property
    def vector(self) -> np.ndarray | None:
        """The unnamed vector, or the first that the item has; None: it has none, or they were not asked for."""
        if not self.vectors:
            return None
        return self.vectors[""] if "" in self.vectors else next(iter(self.vectors.values()))


class Hits:
    """What a search of a collection found. Unpacks as ``ids, distances = shop.search(...)``.

    ids
        (q, k), or (k,) for a single query: int64 (uint64 where ids are beyond that), an object array of ``str`` with
        string ids. Where fewer than k items match, rows end in -1 (2**64 - 1, None).
    distances
        float32 in the same shape, ascending, ties by id; padded with inf. Of several fused vectors: minus the sum of
        the ranks' reciprocals.

    What else was asked for are `payloads`, `versions`, `vectors` and `explain`.
    """

    __slots__ = ("_answer", "_names", "_bodies")  # the last two are made when they are first asked for
    _names: np.ndarray
    _bodies: list[Any]

    def __init__(self, answer: tuple[Any, ...]) -> None:
        self._answer = answer

    @property
    def ids(self) -> np.ndarray:
        """The ids, in the shape of the distances."""
        numbers, _, ends, texts = self._answer[:4]
        if texts is None:
            return numbers
        if not hasattr(self, "_names"):
            self._names = _spread(unpack(texts), ends, numbers.shape)
        return self._names

    @property
    def distances(self) -> np.ndarray:
        """The distances, ascending."""
        return self._answer[1]

    @property
    def payloads(self) -> list[Any]:
        """A list of payloads for each query; for a single query that list. Search with ``payload=True``."""
        texts = self._asked(4, "payload")
        if not hasattr(self, "_bodies"):
            self._bodies = _rows(bodies(texts), self._answer[2])
        return self._bodies[0] if self.distances.ndim == 1 else self._bodies

    @property
    def vectors(self) -> dict[str, np.ndarray]:
        """name: an array with a row a hit, query after query; NaN (bits: 0) where an item lacks the vector. Search with
        ``vectors=True``."""
        return {name: _blanked(rows, present) for name, (rows, present) in self._asked(7, "vectors").items()}

    @property
    def versions(self) -> np.ndarray:
        """The versions of the hits, query after query. Search with ``versions=True``."""
        return self._asked(5, "versions")

    @property
    def explain(self) -> dict[str, Any]:
        """What the search did: ``version`` of the state, ``generation`` that was asked, ``items`` in it, ``matched`` by
        the filter, ``exact``, how the filter went, times, and under ``search`` the counts of the plan. Search with
        ``explain=True``."""
        return self._asked(8, "explain")

    def _asked(self, part: int, option: str) -> Any:
        found = self._answer[part]
        if found is None:
            raise ArgumentError(f"{option} was not asked for: search(..., {option}=True) reads it")
        return found

    def to_pandas(self) -> Any:
        """A frame with a row a hit: query, rank, id, distance, and a column a key of the payloads, if they were read.

        A key that is called like one of the four gets ``_payload`` behind its name."""
        import pandas

        counts = np.diff(self._answer[2].astype(np.int64), prepend=0)
        ranks = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        queries = np.repeat(np.arange(len(counts)), counts)
        frame = pandas.DataFrame({"query": queries, "rank": ranks + 1, "id": np.atleast_2d(self.ids)[queries, ranks],
                                  "distance": np.atleast_2d(self.distances)[queries, ranks]})
        if self._answer[4] is None:
            return frame
        extra = pandas.DataFrame([body or {} for body in bodies(self._answer[4])], index=frame.index)
        return frame.join(extra.rename(columns={name: f"{name}_payload" for name in frame.columns}))

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.ids, self.distances))

    def __len__(self) -> int:
        return 2

    def __getitem__(self, place: int) -> np.ndarray:
        return (self.ids, self.distances)[place]

    def __reduce__(self) -> tuple:
        return Hits, (self._answer,)

    def __repr__(self) -> str:
        return f"Hits(ids=\n{self.ids!r},\ndistances=\n{self.distances!r})"

    def _repr_html_(self) -> str:
        ids, distances = np.atleast_2d(self.ids), np.atleast_2d(self.distances)
        head = "".join(f"<th>{rank + 1}</th>" for rank in range(min(ids.shape[1], _SHOWN)))
        begins = [0, *self._answer[2].tolist()]
        lines = []
        for number in range(min(len(ids), _SHOWN)):
            found = min(begins[number + 1] - begins[number], _SHOWN)
            cells = "".join(f"<td>{escape(str(i))}<br><small>{d:.6g}</small></td>"
                            for i, d in zip(ids[number, :found], distances[number, :found]))
            lines.append(f"<tr><th>{number}</th>{cells}</tr>")
        note = f"{len(ids):,} queries, up to {ids.shape[1]} hits each"
        return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table><p>{note}</p>"


# ---- Values on their way out -----------------------------------------------------------------------------------------


def items_of(answer: tuple[Any, ...]) -> list[Item]:
    """What the extension read of items."""
    ids, texts, payloads, versions, expiries, vectors = answer
    names = ids.tolist() if texts is None else unpack(texts)
    return [Item(name, body, version, _moment(expiry), None if vectors is None else
                 {key: rows[i] for key, (rows, present) in vectors.items() if present[i]})
            for i, (name, body, version, expiry) in
            enumerate(zip(names, bodies(payloads), versions.tolist(), expiries.tolist()))]


def unpack_bytes(texts: tuple[bytes, np.ndarray]) -> Iterator[bytes]:
    """Texts that lie back to back, and their ends."""
    packed, ends = texts
    begin = 0
    for end in ends.tolist():
        yield packed[begin:end]
        begin = end


def unpack(texts: tuple[bytes, np.ndarray]) -> list[str]:
    return [text.decode("utf-8", "replace") for text in unpack_bytes(texts)]


def bodies(texts: Any) -> list[dict[str, Any] | None]:
    """JSON's objects, parsed in one call, which takes a fraction of many; or parsed already, from a server."""
    if isinstance(texts, list):
        return texts
    return json.loads((b"[" + b",".join([text or b"null" for text in unpack_bytes(texts)]) + b"]").decode())


def _blanked(rows: np.ndarray, present: np.ndarray) -> np.ndarray:
    if rows.dtype == np.uint8 or present.all():
        return rows
    rows = rows.copy()
    rows[present == 0] = np.nan
    return rows


def _spread(values: list[str], ends: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values of the queries one after the other as an array of that shape, None where a query has fewer."""
    table = np.full(shape, None, object)
    begin = 0
    for row, end in zip(np.atleast_2d(table), ends.tolist()):
        row[:end - begin] = values[begin:end]
        begin = end
    return table


def _rows(values: list[Any], ends: np.ndarray) -> list[list[Any]]:
    begins = [0, *ends.tolist()]
    return [values[begin:end] for begin, end in zip(begins, begins[1:])]


def _moment(expires_ms: int) -> datetime.datetime | None:
    """None: never. What datetime has no name for is its last moment."""
    if not expires_ms:
        return None
    seconds, ms = divmod(min(expires_ms, LAST_MS), 1000)
    return datetime.datetime.fromtimestamp(seconds, UTC).replace(microsecond=ms * 1000)
