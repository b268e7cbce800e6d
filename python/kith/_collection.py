# SPDX-License-Identifier: Apache-2.0
"""Collection: a folder of items that takes inserts, updates and deletes while it is searched."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from . import _kith
from ._convert import is_single, pack_strings
from ._errors import ArgumentError, DataError, MissingIdError
from ._options import dtype as _dtype
from ._options import metric as _metric
from ._options import whole
from ._progress import Progress, Report

_PAYLOAD, _VERSION, _VECTORS = 1, 2, 4
_MODES = ("upsert", "insert", "update", "merge")
_DURABILITY = ("full", "relaxed")
_ANY = 2**64 - 1
_PORTION = 1000  # items of one read of a scroll


class Written(NamedTuple):
    """What a write did. `unmet`: items whose version was another one than was asked for, and which are as they were."""

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
        """The only vector, or the unnamed one."""
        if not self.vectors:
            return None
        return self.vectors[""] if "" in self.vectors else next(iter(self.vectors.values()))


class Hits:
    """What a search of a collection found.

    ``ids`` and ``distances`` are arrays of shape (q, k), or (k,) for a single query, ascending by distance, ties by id;
    where fewer than k items match, rows end in -1 (None for string ids) and infinity. ``payloads``, ``versions`` and
    ``vectors`` have one entry a hit, row after row. Iterating gives ids and distances, as a pair.
    """

    __slots__ = ("ids", "distances", "_ends", "_answer", "_payloads")

    def __init__(self, answer: tuple[Any, ...]) -> None:
        ids, self.distances, self._ends, texts = answer[:4]
        self.ids = ids if texts is None else _spread(_unpack(texts), self._ends, ids.shape)
        self._answer = answer
        self._payloads: list[Any] | None = None

    @property
    def payloads(self) -> list[list[dict[str, Any] | None]] | list[dict[str, Any] | None]:
        """A list of payloads for each query; for a single query that list. None: search with ``payload=False``."""
        if self._answer[4] is None:
            raise ArgumentError("payloads were not asked for: search(..., payload=True) reads them")
        if self._payloads is None:
            self._payloads = _rows([json.loads(text) if text else None for text in _unpack_bytes(self._answer[4])],
                                   self._ends)
        return self._payloads[0] if self.ids.ndim == 1 else self._payloads

    @property
    def vectors(self) -> dict[str, np.ndarray]:
        """name: an array with a row a hit, zeros where an item lacks the vector."""
        if self._answer[7] is None:
            raise ArgumentError("vectors were not asked for: search(..., vectors=True) reads them")
        return {name: rows for name, (rows, _) in self._answer[7].items()}

    @property
    def versions(self) -> np.ndarray:
        """The versions of the hits, row after row."""
        if self._answer[5] is None:
            raise ArgumentError("versions were not asked for: search(..., versions=True) reads them")
        return self._answer[5]

    @property
    def explain(self) -> dict[str, Any]:
        """What the search did: search with ``explain=True``."""
        if self._answer[8] is None:
            raise ArgumentError("no report was asked for: search(..., explain=True) makes one")
        return self._answer[8]

    def to_pandas(self) -> Any:
        """A frame with a row a hit: query, rank, id, distance, and a column a key of the payloads, if they were read."""
        import pandas

        counts = np.diff(np.concatenate([[0], self._ends.astype(np.int64)]))
        flat = np.atleast_2d(self.ids), np.atleast_2d(self.distances)
        taken = [np.concatenate([rows[q, :n] for q, n in enumerate(counts)] or [[]]) for rows in flat]
        frame = pandas.DataFrame({"query": np.repeat(np.arange(len(counts)), counts),
                                  "rank": np.concatenate([np.arange(1, n + 1) for n in counts] or [[]]).astype(int),
                                  "id": taken[0], "distance": taken[1]})
        if self._answer[4] is None:
            return frame
        rows = self.payloads if self.ids.ndim == 2 else [self.payloads]
        extra = pandas.DataFrame([payload or {} for row in rows for payload in row], index=frame.index)
        return frame.join(extra, rsuffix="_payload")

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.ids, self.distances))

    def __len__(self) -> int:
        return 2

    def __getitem__(self, place: int) -> np.ndarray:
        return (self.ids, self.distances)[place]

    def __repr__(self) -> str:
        return f"Hits(ids={self.ids!r}, distances={self.distances!r})"


class Collection(_kith.Collection):
    """A folder of items: each an id, a vector or several named ones, and a payload (a dict of JSON's types).

    Made by :meth:`Collection.create`, opened by its path. Any number of threads may use one at once; one process at a
    time opens a folder for writing, any number with ``read_only=True``. What a method that writes has returned from is
    durable, and every search that begins later sees it. Close it, or use a ``with`` block.

    >>> import kith, tempfile
    >>> folder = tempfile.mkdtemp() + "/shop"
    >>> shop = kith.Collection.create(folder, dim=2, fields={"color": "tag", "price": "float"})
    >>> shop.add([1, 2, 3], [[0, 0], [1, 0], [5, 5]], [{"color": "red", "price": 9}, {"color": "blue"}, None]).inserted
    3
    >>> shop.search([0.9, 0], k=2).ids.tolist()
    [2, 1]
    >>> shop.search([0.9, 0], k=2, where='color = "red" and price < 20').ids.tolist()
    [1, -1]
    >>> shop.delete([2]).removed, len(shop), shop[1].payload
    (1, 2, {'color': 'red', 'price': 9})
    >>> shop.close()
    """

    __slots__ = ("_path", "_numbers", "_strings", "__weakref__")
    _path: str | None

    def __new__(cls, path: str | os.PathLike[str], *, read_only: bool = False, durability: str = "full",
                background: bool = True, threads: int | None = None, head_bytes: int | None = None,
                cache_bytes: int | None = None) -> Collection:
        """Open a collection.

        read_only
            True: only read, and follow what another process writes.
        durability
            ``"full"``: what a write returned from survives a crash of the machine. ``"relaxed"``: it survives the
            process; a crash of the machine may take the last second's writes.
        background
            False: nothing is sealed and merged in the background, only by :meth:`compact`.
        threads
            Of batches and merges; None: :func:`kith.get_threads`.
        head_bytes
            Vectors that are kept in memory before they become a segment; None: 16 MiB.
        cache_bytes
            Memory for answers that are asked for often; None: none are kept.

        MissingFileError, BusyError (another process has it open for writing: the text names it), CorruptError,
        VersionError, FileError.
        """
        options = _open_options(read_only, durability, background, threads, head_bytes, cache_bytes)
        return _opened(super().__new__(cls, path, options, None), os.path.abspath(os.fspath(path)))

    @classmethod
    def create(cls, path: str | os.PathLike[str] | None, *, dim: int | None = None, metric: str | None = None,
               dtype: Any = None, vectors: Mapping[str, Any] | None = None, fields: Mapping[str, Any] | None = None,
               ids: str = "number", segment_field: str | None = None, model: str | None = None,
               **options: Any) -> Collection:
        """Make an empty collection, and open it.

        path
            A folder that is not there yet, or empty. None: in memory alone.
        dim, metric, dtype
            One vector an item, as of :meth:`kith.Index.build`.
        vectors
            Several named ones instead: name: dim, or a tuple of dim, dtype and metric.
        fields
            Fields of the payload that filters are fast on: name: "tag", "tags", "int", "float", "bool" or "time" (or
            str, list, int, float, bool, datetime).
        ids
            "number" (0 to 2**64-2) or "string".
        segment_field
            The declared tag that divides the items: a tenant, a user, a region.
        model
            What makes the vectors; searches may name it, and another one is refused.
        options
            As of opening.
        """
        made = _made(dim, metric, dtype, vectors, fields, ids, segment_field, model)
        if path is not None:
            _kith.create_collection(path, made)
            return cls(path, **options)
        opened = _open_options(**{"read_only": False, "durability": "full", "background": True, "threads": None,
                                  "head_bytes": None, "cache_bytes": None, **options})
        return _opened(_kith.Collection.__new__(cls, None, opened, made), None)

    # ---- Writing -----------------------------------------------------------------------------------------------------

    def add(self, ids: Any, vectors: Any = None, payloads: Any = None, *, expires: Any = None, if_version: Any = None,
            mode: str = "upsert") -> Written:
        """Write items, all or none of them.

        ids
            Numbers or strings, as the collection has them; or one, with one vector and one payload. Of an id that is
            there twice the last one stays.
        vectors
            (n, d), as of :meth:`kith.Index.build`; or a dict of name to such. None: no vectors. A dict may hold lists
            with None for items that lack that vector.
        payloads
            n dicts, or None in their place; or a pandas or polars frame, or an Arrow table, with a row an item.
        expires
            When items end: datetimes, or seconds since 1970, or one for all. None: never.
        if_version
            n versions, or one for all: an item is written only if it has that version (0: only if it is not there).
        mode
            "upsert": an item that is there is replaced as a whole. "insert": DataError if it is there. "update": what
            is given replaces what was there, the rest stays. "merge": of payloads only the given keys change; a None
            removes a key. The last two raise NotFoundError for ids that are not there.

        DataError names the item and what is wrong with it; NoSpaceError: nothing was written.
        """
        single = isinstance(ids, (str, int, np.integer)) and not isinstance(ids, bool)
        if single:
            ids, payloads = [ids], None if payloads is None else [payloads]
            vectors = _one_row(vectors)
        packed, count = self._ids(ids)
        if mode not in _MODES:
            raise ArgumentError(f"mode {mode!r} is unknown: {', '.join(map(repr, _MODES))} are")
        return Written(*self._write(packed, self._columns(vectors, count), _pack_payloads(payloads, count),
                                    _pack_times(expires, count), _pack_versions(if_version, count),
                                    _MODES.index(mode)))

    def update(self, ids: Any, vectors: Any = None, payloads: Any = None, *, merge: bool = False,
               **options: Any) -> Written:
        """Change items that are there: vectors, payloads (with ``merge`` only the given keys) or expiry."""
        return self.add(ids, vectors, payloads, mode="merge" if merge else "update", **options)

    def delete(self, ids: Any = None, *, where: Any = None, if_version: Any = None) -> Written:
        """Remove items by their ids (those that are not there are passed over), or all that a filter matches."""
        if (ids is None) == (where is None):
            raise ArgumentError("delete takes ids, or where=")
        if where is not None:
            return Written(*self._delete(_filter_text(where), None))
        packed, count = self._ids([ids] if isinstance(ids, (str, int, np.integer)) else ids)
        return Written(*self._delete(packed, _pack_versions(if_version, count)))

    def declare(self, name: str, type: Any) -> None:
        """Index a field of the payloads, so that filters on it are fast. What is there is indexed in the background."""
        self._declare(name, _field_type(type))

    # ---- Reading -----------------------------------------------------------------------------------------------------

    def get(self, ids: Any, *, vectors: bool = False) -> list[Item]:
        """The items with these ids, in that order; those that are not there are passed over."""
        packed, _ = self._ids(ids)
        return self._items(self._get(packed, _PAYLOAD | _VERSION | (_VECTORS if vectors else 0)))

    def exists(self, ids: Any) -> np.ndarray:
        """Whether there is an item of each id: an array of bools."""
        return self._exists(self._ids(ids)[0]).astype(bool)

    def count(self, where: Any = None) -> int:
        """How many items a filter matches; None: all."""
        return self._count(_filter_text(where))

    def scroll(self, where: Any = None, *, vectors: bool = False, after: int | None = None) -> Iterator[Item]:
        """All items that a filter matches, by ascending id (strings: in the order of their first insertion)."""
        text, portion = _filter_text(where), _PORTION
        while True:
            answer = self._scroll(text, after, portion, _PAYLOAD | _VERSION | (_VECTORS if vectors else 0))
            yield from self._items(answer)
            if len(answer[0]) < portion:
                return
            after = int(answer[0][-1])

    def to_pandas(self, where: Any = None) -> Any:
        """A frame of payloads with the ids as its index."""
        import pandas

        items = list(self.scroll(where))
        return pandas.DataFrame([item.payload or {} for item in items],
                                index=pandas.Index([item.id for item in items], name="id"))

    # ---- Searching ---------------------------------------------------------------------------------------------------

    def search(self, Q: Any, k: int = 10, *, where: Any = None, segment: str | None = None,
               target_recall: float | None = None, vector: str | None = None, weights: Any = None,
               plan: str | None = None, payload: bool = False, versions: bool = False, vectors: bool = False,
               min_version: int = 0, timeout: float | None = None, model: str | None = None,
               explain: bool = False) -> Hits:
        """Find the k items nearest to each query: exactly, unless a target recall is given.

        Q
            (q, d) queries or one of (d,), as of :meth:`kith.Index.search`. Or a dict of name to such: several named
            vectors, whose ranks are fused (reciprocal rank fusion), with ``weights`` by name.
        where
            A filter: text, as ``color = "red" and price < 20``, or a dict of the JSON form. There are always
            min(k, matches) hits.
        segment
            A value of the segment field: only its items.
        vector
            Which named vector, where there are several.
        payload, versions, vectors
            True: read them too.
        min_version
            The state must have at least this version, as :class:`Written` tells it: read your writes, from another
            process too. DeadlineError if it has not in `timeout`, or ten seconds.
        timeout
            Seconds; DeadlineError.
        """
        with_ = (_PAYLOAD if payload else 0) | (_VERSION if versions else 0) | (_VECTORS if vectors else 0)
        legs = [(self._number(vector), Q, None)] if not isinstance(Q, Mapping) else \
            [(self._number(name), rows, (weights or {}).get(name)) for name, rows in Q.items()]
        if not legs:
            raise ArgumentError("search needs queries of one vector at least")
        return Hits(self._search(legs, k, where if where is None else _filter_text(where), segment,
                                 0.0 if target_recall is None else _recall(target_recall), plan, with_, min_version,
                                 0 if timeout is None else _nanoseconds(timeout), model, bool(explain)))

    # ---- Keeping -----------------------------------------------------------------------------------------------------

    @property
    def info(self) -> dict[str, Any]:
        """Items, version, vectors, fields, segments, sizes, and what is going on in the background."""
        return self._info()

    @property
    def path(self) -> str | None:
        """The folder; None: in memory."""
        return self._path

    def compact(self, *, progress: bool | Report | None = None) -> None:
        """Merge everything into one segment without what was deleted. Searches and writes go on."""
        with Progress(progress) as watcher:
            self._compact(watcher.report)

    def snapshot(self, path: str | os.PathLike[str]) -> None:
        """A consistent copy of the current state as a folder that is not there yet; it is a collection too."""
        self._snapshot(path)

    @staticmethod
    def restore(snapshot: str | os.PathLike[str], path: str | os.PathLike[str], *,
                progress: bool | Report | None = None) -> None:
        """Verify a snapshot and copy it to a folder that is not there yet."""
        with Progress(progress) as watcher:
            _kith.restore_collection(snapshot, path, watcher.report)

    @staticmethod
    def verify(path: str | os.PathLike[str], *, progress: bool | Report | None = None) -> None:
        """Check every byte of catalog and segments. CorruptError names the first fault."""
        with Progress(progress) as watcher:
            _kith.verify_collection(path, watcher.report)

    @staticmethod
    def repair(path: str | os.PathLike[str], *, progress: bool | Report | None = None) -> list[tuple[int | str, str]]:
        """Save what can be saved of a damaged collection. Returns what is lost: pairs of id and why."""
        with Progress(progress) as watcher:
            return _kith.repair_collection(path, watcher.report)[3]

    def close(self) -> None:
        """Close it. Calls that run in other threads end first."""
        self._close()

    # ---- Awaitable ---------------------------------------------------------------------------------------------------

    async def asearch(self, *args: Any, **options: Any) -> Hits:
        """:meth:`search` in a thread, to be awaited."""
        return await _in_thread(self.search, *args, **options)

    async def aadd(self, *args: Any, **options: Any) -> Written:
        """:meth:`add` in a thread, to be awaited. Writes of many tasks share one synchronisation of the disk."""
        return await _in_thread(self.add, *args, **options)

    async def aupdate(self, *args: Any, **options: Any) -> Written:
        """:meth:`update` in a thread, to be awaited."""
        return await _in_thread(self.update, *args, **options)

    async def adelete(self, *args: Any, **options: Any) -> Written:
        """:meth:`delete` in a thread, to be awaited."""
        return await _in_thread(self.delete, *args, **options)

    async def aget(self, *args: Any, **options: Any) -> list[Item]:
        """:meth:`get` in a thread, to be awaited."""
        return await _in_thread(self.get, *args, **options)

    # ---- Inside ------------------------------------------------------------------------------------------------------

    def _ids(self, ids: Any) -> tuple[Any, int]:
        if is_single(ids):
            raise ArgumentError(f"ids: a list or an array of ids was expected, not {ids!r}")
        if self._strings:
            texts = list(ids)
            for row, text in enumerate(texts):
                if not isinstance(text, str):
                    raise TypeError(f"ids: row {row}: {text!r} is no string, but the ids of this collection are")
            return pack_strings(texts, "ids"), len(texts)
        return _numbers(ids), len(ids)

    def _number(self, name: str | None) -> int:
        if name is None:
            if len(self._numbers) == 1:
                return 0
            name = ""
        if name not in self._numbers:
            raise ArgumentError(f"vector {name!r} is unknown: {', '.join(map(repr, self._numbers))} are")
        return self._numbers[name]

    def _columns(self, vectors: Any, count: int) -> list[tuple[int, Any, Any]]:
        if vectors is None:
            return []
        if not isinstance(vectors, Mapping):
            return [(self._number(None), _table(vectors, count), None)]
        return [(self._number(name), *_column(rows, name)) for name, rows in vectors.items()]

    def _items(self, answer: tuple[Any, ...]) -> list[Item]:
        ids, texts, payloads, versions, expiries, vectors = answer
        names = ids.tolist() if texts is None else _unpack(texts)
        bodies = [json.loads(text) if text else None for text in _unpack_bytes(payloads)]
        return [Item(name, body, version, _moment(expiry), None if vectors is None else
                     {key: rows[i] for key, (rows, present) in vectors.items() if present[i]})
                for i, (name, body, version, expiry) in
                enumerate(zip(names, bodies, versions.tolist(), expiries.tolist()))]

    def __getitem__(self, id: int | str) -> Item:
        found = self.get([id], vectors=True)
        if not found:
            raise MissingIdError(f"the collection has no item {id!r}")
        return found[0]

    def __contains__(self, id: object) -> bool:
        if self._strings != isinstance(id, str):
            return False
        return bool(self.exists([id])[0])

    def __len__(self) -> int:
        return self.count()

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __reduce__(self) -> tuple:
        if self._path is None:
            raise ArgumentError("a collection in memory cannot be pickled")
        return _reopen, (self._path,)

    def __repr__(self) -> str:
        if self.closed:
            return "<kith.Collection, closed>"
        return f"<kith.Collection: {len(self):,} items, {'in memory' if self._path is None else f'at {self._path}'}>"

    def _repr_html_(self) -> str:
        if self.closed:
            return f"<p>{escape(repr(self))}</p>"
        shown = {key: value for key, value in self.info.items() if value not in (None, "")}
        lines = "".join(f"<tr><th>{escape(key)}</th><td>{escape(str(value))}</td></tr>" for key, value in shown.items())
        return f"<table><caption>kith.Collection</caption><tbody>{lines}</tbody></table>"


def _reopen(path: str) -> Collection:
    return Collection(path, read_only=True)


def _opened(collection: Collection, path: str | None) -> Collection:
    collection._path = path
    info = collection._info()
    collection._numbers = {name: number for number, (name, *_) in enumerate(info["vectors"])}
    collection._strings = info["ids"] == "string"
    return collection


async def _in_thread(call: Any, *args: Any, **options: Any) -> Any:
    import asyncio  # which takes as long to import as all of kith

    return await asyncio.to_thread(call, *args, **options)


# ---- Options ---------------------------------------------------------------------------------------------------------


def _open_options(read_only: bool, durability: str, background: bool, threads: int | None,
                  head_bytes: int | None, cache_bytes: int | None) -> dict[str, Any]:
    if durability not in _DURABILITY:
        raise ArgumentError(f"durability {durability!r} is unknown: 'full' and 'relaxed' are")
    options = {"read_only": int(read_only), "durability": _DURABILITY.index(durability),
               "no_background": int(not background),
               "threads": whole(_kith.get_threads() if threads is None else threads, "threads", 1, _kith.THREADS_MAX)}
    if head_bytes is not None:
        options["head_bytes"] = whole(head_bytes, "head_bytes", 1, 2**63)
    if cache_bytes is not None:
        options["cache_bytes"] = whole(cache_bytes, "cache_bytes", 0, 2**63)
    return options


def _made(dim: int | None, metric: str | None, dtype: Any, vectors: Mapping[str, Any] | None,
          fields: Mapping[str, Any] | None, ids: str, segment_field: str | None, model: str | None) -> tuple[Any, ...]:
    if (dim is None) == (vectors is None):
        raise ArgumentError("a collection needs dim=, for one vector an item, or vectors=, for named ones")
    if ids not in ("number", "string"):
        raise ArgumentError(f"ids {ids!r} is unknown: 'number' and 'string' are")
    if vectors is not None and (metric is not None or dtype is not None):
        raise ArgumentError("vectors= gives each vector its dtype and metric: {name: (dim, dtype, metric)}")
    specs = [_spec("", (dim, dtype, metric))] if vectors is None else \
        [_spec(name, spec) for name, spec in vectors.items()]
    return (ids == "string", specs, [(name, _field_type(kind)) for name, kind in (fields or {}).items()],
            segment_field, model)


def _spec(name: str, spec: Any) -> tuple[str, int, int, int]:
    parts = tuple(spec) if isinstance(spec, Sequence) and not isinstance(spec, str) else (spec,)
    dim, kind, metric = (*parts, None, None)[:3]
    return (name, whole(dim, "dim", 1, 65536), 0 if kind is None else _dtype(kind),
            0 if metric is None else _metric(metric))


def _field_type(kind: Any) -> str:
    known = {str: "tag", list: "tags", int: "int", float: "float", bool: "bool", datetime.datetime: "time"}
    word = known.get(kind, kind) if isinstance(kind, type) else kind
    if not isinstance(word, str):
        raise TypeError(f"the type of a field must be a word, not {kind!r}")
    return word


def _filter_text(where: Any) -> str | None:
    if where is None or isinstance(where, str):
        return where
    if isinstance(where, Mapping):
        return json.dumps(where)
    raise TypeError(f"a filter is a text or a dict, not {where!r}")


def _recall(target: Any) -> float:
    if not 0 < target <= 1:
        raise ArgumentError(f"target_recall is {target}, it must be above 0 and at most 1")
    return float(target)


def _nanoseconds(seconds: float) -> int:
    if not seconds > 0:
        raise ArgumentError(f"timeout is {seconds}, it must be more than 0 seconds")
    return int(min(np.ceil(seconds * 1e9), 9e18))


# ---- Values on their way in ------------------------------------------------------------------------------------------


def _numbers(ids: Any) -> np.ndarray:
    from ._sources.labels import refuse_unordered, to_ids

    refuse_unordered(ids, "ids")
    found = to_ids(ids if hasattr(ids, "dtype") else list(ids), "ids")
    if isinstance(found, list):
        if found:
            raise TypeError(f"ids: {found[0]!r} is a string, but the ids of this collection are numbers")
        found = np.empty(0, np.uint64)
    return np.ascontiguousarray(found).view(np.uint64) if found.dtype.itemsize == 8 else found.astype(np.uint64)


def _one_row(vectors: Any) -> Any:
    if vectors is None:
        return None
    if isinstance(vectors, Mapping):
        return {name: [row] for name, row in vectors.items()}
    return [vectors] if not isinstance(vectors, np.ndarray) else vectors[None] if vectors.ndim == 1 else vectors


def _table(rows: Any, count: int) -> Any:
    """Rows as the extension views them: an array stays as it is."""
    if isinstance(rows, np.ndarray):
        if rows.ndim == 1 and count == 1:
            return rows[None]
        if rows.ndim != 2:
            raise ArgumentError(f"vectors: have the shape {rows.shape}; (n, d) was expected")
        return rows
    if isinstance(rows, (list, tuple)) and len(rows) == 0:
        raise ArgumentError("vectors: there are none")
    from ._sources import as_source

    return rows if isinstance(rows, (list, tuple)) else as_source(rows).array


def _column(rows: Any, name: str) -> tuple[Any, Any]:
    """(rows, which of them are there or None): None stands for an item that lacks the vector."""
    if isinstance(rows, np.ndarray) or not any(row is None for row in rows):
        return _table(rows, len(rows)), None
    there = [row for row in rows if row is not None]
    if not there:
        raise ArgumentError(f"vectors: no item has one of {name!r}: leave the name out")
    blank = np.zeros_like(np.asarray(there[0]))
    return (np.stack([blank if row is None else np.asarray(row) for row in rows]),
            np.array([row is not None for row in rows], np.uint8))


def _pack_payloads(payloads: Any, count: int) -> tuple[bytes, np.ndarray] | None:
    if payloads is None:
        return None
    if hasattr(payloads, "to_pylist"):  # Arrow
        payloads = payloads.to_pylist()
    elif hasattr(payloads, "to_dicts"):  # polars
        payloads = payloads.to_dicts()
    elif hasattr(payloads, "to_dict") and hasattr(payloads, "columns"):  # pandas
        payloads = json.loads(payloads.to_json(orient="records", date_format="iso"))
    if isinstance(payloads, Mapping) or len(payloads) != count:
        raise ArgumentError(f"payloads: {count} are needed, one for each item")
    parts = [_payload(payload, row) for row, payload in enumerate(payloads)]
    return b"".join(parts), np.cumsum([len(part) for part in parts], dtype=np.uint64)


def _payload(payload: Any, row: int) -> bytes:
    if payload is None:
        return b""
    if not isinstance(payload, Mapping):
        raise DataError(f"payloads: row {row}: is {payload!r}; a dict was expected")
    try:
        return json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"),
                          default=_plain).encode()
    except (TypeError, ValueError) as error:
        raise DataError(f"payloads: row {row}: {error}") from None


def _plain(value: Any) -> Any:
    """What JSON has no type for, but people have: times, and NumPy's numbers and arrays."""
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no type of JSON")


def _pack_times(times: Any, count: int) -> np.ndarray | None:
    if times is None:
        return None
    if isinstance(times, (datetime.datetime, int, float, np.number)):
        times = [times] * count
    return np.array([0 if time is None else round((time.timestamp() if isinstance(time, datetime.datetime) else
                                                   float(time)) * 1000) for time in times], np.uint64)


def _pack_versions(versions: Any, count: int) -> np.ndarray | None:
    if versions is None:
        return None
    if isinstance(versions, (int, np.integer)):
        versions = [versions] * count
    return np.array([_ANY if version is None else version for version in versions], np.uint64)


# ---- Values on their way out -----------------------------------------------------------------------------------------


def _unpack_bytes(texts: tuple[bytes, np.ndarray]) -> Iterable[bytes]:
    packed, ends = texts
    begin = 0
    for end in ends.tolist():
        yield packed[begin:end]
        begin = end


def _unpack(texts: tuple[bytes, np.ndarray]) -> list[str]:
    return [text.decode("utf-8", "replace") for text in _unpack_bytes(texts)]


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
    return datetime.datetime.fromtimestamp(expires_ms / 1000, datetime.timezone.utc) if expires_ms else None
