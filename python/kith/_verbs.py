# SPDX-License-Identifier: Apache-2.0
"""The verbs of a collection, wherever it lies: in a folder (_collection.py) or at a server (_remote.py).

They check and pack what people give, and unpack what comes back. Where a collection lies says how these are done, with
what is packed: _write, _delete, _declare, _get, _exists, _count, _scroll or _pages, _search, _specs, _info, _compact,
and what _verbs_models.py names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from ._errors import ArgumentError, MissingIdError
from ._hits import Hits, Item, Written, items_of
from ._items import filter_text, is_id, one_row, pack_id, pack_ids, pack_payloads, pack_rows, pack_times, pack_versions
from ._options import whole
from ._progress import Progress, Report
from ._verbs_models import ModelVerbs, in_thread
from ._words import asked, field_type, generation_read, nanoseconds, real, recall, share, word, words

_Self = TypeVar("_Self", bound="Verbs")
PAYLOAD, VERSION, VECTORS = 1, 2, 4
MODES = ("upsert", "insert", "update", "merge")
_FLOAT32 = np.dtype(np.float32)
_PORTION = 1000  # items of one read of a scroll


class Verbs(ModelVerbs):
    """What kith.Collection and kith.RemoteCollection have in common."""

    __slots__ = ()
    closed: bool
    _at_once: bool  # much is loaded in one step
    close: Any
    _numbers: dict[str, int]  # of the vectors
    _single: bool  # there is one vector
    _strings: bool  # ids are
    _write: Any
    _delete: Any
    _declare: Any
    _get: Any
    _exists: Any
    _count: Any
    _scroll: Any
    _search: Any
    _specs: Any
    _info: Any
    _compact: Any

    # ---- Writing -----------------------------------------------------------------------------------------------------

    def add(self, ids: Any, vectors: Any = None, payloads: Any = None, *, expires: Any = None, if_version: Any = None,
            mode: str = "upsert", generation: int | None = None,
            generations: Mapping[int, Any] | None = None) -> Written:
        """Write items, all or none of them.

        ids
            Numbers or strings, as the collection has them; or one, with one vector and one payload. Of an id that is
            there twice the last one stays.
        vectors
            (n, d), an array or anything that :func:`kith.read` takes; or a dict of name to such. None: no vectors. In
            a list None stands for an item that lacks the vector.
        payloads
            n dicts, or None in their place; or a pandas or polars frame, or an Arrow table, with a row an item, of
            which values that are missing (null, NaN) are left out. Times become RFC 3339 texts; those without a zone
            are local time, as Python has it, but UTC where they come from pandas or NumPy.
        expires
            When items end: datetimes, or seconds since 1970, or timedeltas from now, or one for all. None: never.
        if_version
            n versions, or one for all: an item is written only if it has that version (0: only if it is not there).
        mode
            "upsert": an item that is there is replaced as a whole. "insert": DataError if it is there. "update": what
            is given replaces what was there, the rest stays. "merge": of payloads only the given keys change; a None
            removes a key. The last two raise NotFoundError for ids that are not there.
        generation
            With "update" and "merge": whose vectors these are, beside those of the others. None: the current one's.
        generations
            Vectors of other generations too: number: vectors. An item that is replaced as a whole has no vectors of
            generations for which none are given.

        DataError names the item and what is wrong with it, and ArgumentError, TypeError what does not fit; LimitError:
        more than a million items; NoSpaceError: nothing was written.

        >>> shop = kith.Collection.create(None, dim=2)
        >>> first = shop.add(7, [1, 2], {"name": "salmon", "price": 9.5})
        >>> shop.add(7, [1, 3], {"name": "coral"}, if_version=first.version).replaced
        1
        >>> shop.add([7, 8], [[0, 0], [0, 0]], if_version=[first.version, 0])[1:]
        (1, 0, 0, 1)
        """
        if is_id(ids):
            payloads, vectors = None if payloads is None else [payloads], one_row(vectors)
            if generations is not None:
                generations = {number: one_row(rows) for number, rows in generations.items()}
            packed, count = pack_id(ids, self._strings), 1
        else:
            packed, count = pack_ids(ids, self._strings)
        if mode not in MODES:
            raise ArgumentError(f"mode {mode!r} is unknown: {words(MODES)} are")
        if generation is None and generations is None:
            columns = self._columns(vectors, 0) if count else []
        else:
            from . import _generations

            columns = _generations.columns(self, vectors, generation, generations, mode)
        return Written(*self._write(packed, columns if count else [], pack_payloads(payloads, count),
                                    pack_times(expires, count), pack_versions(if_version, count), MODES.index(mode)))

    def update(self, ids: Any, vectors: Any = None, payloads: Any = None, *, expires: Any = None,
               if_version: Any = None, merge: bool = False, generation: int | None = None,
               generations: Mapping[int, Any] | None = None) -> Written:
        """Change items that are there: vectors, payloads or expiry; what is not given stays.

        merge
            True: of the payloads only the given keys change; a None removes a key.

        Everything else is as of :meth:`add`. NotFoundError names an item that is not there, and nothing is changed.

        >>> shop = kith.Collection.create(None, dim=2)
        >>> _ = shop.add([1, 2], [[1, 2], [3, 4]], [{"price": 9, "sold": False}, {"price": 8}])
        >>> _ = shop.update(1, payloads={"sold": True, "price": None}, merge=True)
        >>> shop[1].payload, shop[1].vector.tolist()
        ({'sold': True}, [1.0, 2.0])
        """
        return self.add(ids, vectors, payloads, expires=expires, if_version=if_version,
                        mode="merge" if merge else "update", generation=generation, generations=generations)

    def delete(self, ids: Any = None, *, where: Any = None, if_version: Any = None) -> Written:
        """Remove items by their ids (those that are not there are passed over), or all that a filter matches.

        if_version
            As of :meth:`add`; only with ids.
        """
        if (ids is None) == (where is None):
            raise ArgumentError("delete takes ids, or where=")
        if where is not None:
            if if_version is not None:
                raise ArgumentError("if_version belongs to ids, not to where=")
            return Written(*self._delete(filter_text(where), None))
        packed, count = (pack_id(ids, self._strings), 1) if is_id(ids) else pack_ids(ids, self._strings)
        return Written(*self._delete(packed, pack_versions(if_version, count)))

    def load(self, source: Any, ids: Any = None, payloads: Any = None, *, name: str = "", mode: str = "upsert",
             generation: int | None = None, resume: bool = False, progress: bool | Report | None = None) -> Written:
        """Write the items of a file or a table, and say what that did.

        source
            Vectors: anything that :func:`kith.read` takes, or a dict of such by the vectors' names. Or what
            :meth:`export` wrote: a Parquet file, or the ``.npy`` file of a pair. Or a Parquet file, a pandas or polars
            frame or an Arrow table with the columns id and vector (or the vectors' names), perhaps expires, and
            payload, or else a column a key. Or lines of JSON as ``kith add`` reads them.
        ids, payloads
            With a source of vectors: as of :meth:`add`; a frame or a table of payloads has a column a key. Payloads
            may also be the path of a file with a JSON object a line; without ids, those of the source, or the numbers
            of its rows.
        name
            Which named vector the rows are, where there are several.
        mode, generation
            As of :meth:`add`.
        resume
            Go on with what a load of the same source left that was stopped or killed.

        With ``upsert`` and ``insert``, vectors and tables whose items all have their vectors are built into one segment
        beside the collection, as fast as an index, which takes its place in one step: all items are there or none.
        Anything else (lines, pairs, items that lack vectors or expire, other modes) is written some thousand at a
        time: what is written before an error stays. Needs pyarrow for tables.
        """
        if mode not in MODES:
            raise ArgumentError(f"mode {mode!r} is unknown: {words(MODES)} are")
        from . import _transfer

        with Progress(progress) as watcher:
            wishes = _transfer.Wishes(name, mode, generation, resume)
            return _transfer.load(self, source, ids, payloads, wishes, watcher.report)

    def export(self, path: str | os.PathLike[str], where: Any = None, *, generation: int | None = None,
               progress: bool | Report | None = None) -> int:
        """Write the items that a filter matches to files, some thousand at a time; returns how many.

        path
            ``x.parquet``: the columns id, payload (JSON), expires, and a list a vector, which needs pyarrow. Anything
            else, as ``x`` or ``x.npy``: ``x.npy`` with the vectors (``x.NAME.npy`` for named ones) and ``x.jsonl`` with
            a line an item. Files appear whole or not at all, and replace older ones.
        generation
            Whose vectors; None: those of the one that is current when this begins.

        What is written meanwhile may be among them or not: a snapshot is a state.
        """
        from . import _transfer

        with Progress(progress) as watcher:
            return _transfer.export(self, path, filter_text(where), self._pinned(generation), watcher.report)

    def declare(self, name: str, type: Any) -> None:
        """Index a field of the payloads, so that filters on it are fast. What is there is indexed in the background."""
        self._declare(word(name, "the name of a field"), field_type(type))

    # ---- Reading -----------------------------------------------------------------------------------------------------

    def get(self, ids: Any, *, vectors: bool = False, generation: int | None = None) -> list[Item]:
        """The items with these ids, in that order; those that are not there are passed over. ``shop[id]`` is one, with
        its vectors, or MissingIdError.

        vectors, generation
            True: read the vectors too, those of the current generation or of this one.
        """
        packed, _ = pack_ids(ids, self._strings)
        return items_of(self._get(packed, PAYLOAD | VERSION | (VECTORS if vectors else 0),
                                  generation_read(generation, vectors)))

    def exists(self, ids: Any) -> np.ndarray:
        """Whether there is an item of each id: an array of bools."""
        return self._exists(pack_ids(ids, self._strings)[0]).astype(bool)

    def count(self, where: Any = None) -> int:
        """How many items a filter matches; None: all."""
        return self._count(filter_text(where))

    def scroll(self, where: Any = None, *, vectors: bool = False, after: int | str | None = None,
               generation: int | None = None) -> Iterator[Item]:
        """All items that a filter matches, by ascending id (strings: in the order of their first insertion).

        after
            Begin behind this id: that of the last item that was seen.
        generation
            Whose vectors; None: those of the one that is current when this begins.

        Items are read a thousand at a time: what is written meanwhile may be among them or not.
        """
        text, number = filter_text(where), generation_read(generation, vectors)
        if vectors:
            number = self._pinned(generation)
        return (item for answer in self._pages(text, self._key(after), vectors, number) for item in items_of(answer))

    def _pages(self, where: str | None, after: int | None, vectors: bool, generation: int) -> Iterator[tuple[Any, ...]]:
        parts = PAYLOAD | VERSION | (VECTORS if vectors else 0)
        while True:
            answer = self._scroll(where, after, _PORTION, parts, generation)
            yield answer
            if len(answer[0]) < _PORTION:
                return
            after = int(answer[0][-1])

    def _key(self, id: int | str | None) -> int | None:
        """The number that stands for an id."""
        if id is None:
            return None
        packed = pack_id(id, self._strings)
        if not self._strings:
            return int(packed[0])
        found = self._get(packed, 0, 0)[0]
        if len(found) == 0:
            raise MissingIdError(f"after: the collection has no item {id!r}")
        return int(found[0])

    def to_pandas(self, where: Any = None) -> Any:
        """A frame with a row an item: the ids are its index, the keys of the payloads its columns."""
        import pandas

        items = list(self.scroll(where))
        return pandas.DataFrame([item.payload or {} for item in items],
                                index=pandas.Index([item.id for item in items], name="id"))

    # ---- Searching ---------------------------------------------------------------------------------------------------

    def search(self, Q: Any = None, k: int = 10, *, where: Any = None, segment: str | None = None,
               target_recall: float | None = None, vector: str | None = None, weights: Any = None,
               plan: str | None = None, payload: bool = False, versions: bool = False, vectors: bool = False,
               min_version: int = 0, timeout: float | None = None, model: str | None = None,
               explain: bool = False, profile: str | None = None, blend: float | None = None,
               leave_out_seen: bool | None = None, diversity: float = 0.0, generation: int | None = None,
               user: str | None = None) -> Hits:
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
        model
            What made the queries: ArgumentError when that of the generation that is asked is another.
        explain
            True: ``hits.explain`` tells what was done.
        profile
            What the profile of this name likes, in place of queries; a single query beside it is the context, towards
            which it is moved by `blend` (0 to 1; 0.5). Without what it has seen, unless `leave_out_seen` is False.
        diversity
            More than 0, up to 1: results are chosen so that they differ; distances do not ascend then.
        generation, user
            Which generation is asked, or who asks: a canary's users are sent to it. None: the current one.

        >>> shop = kith.Collection.create(None, dim=2, fields={"price": "float"})
        >>> _ = shop.add(range(100), [[i, 0] for i in range(100)], [{"price": i % 10} for i in range(100)])
        >>> hits = shop.search([50, 0], k=3, where="price < 2", payload=True)
        >>> hits.ids.tolist(), hits.distances.tolist(), hits.payloads[0]
        ([50, 51, 41], [0.0, 1.0, 81.0], {'price': 0})
        """
        if Q is None and profile is None:
            raise ArgumentError("search needs queries, or profile=")
        if profile is not None and leave_out_seen is None:
            leave_out_seen = True
        chosen = None if profile is None and not diversity and blend is None and not leave_out_seen else \
            (profile, 0.0 if blend is None else share(blend, "blend"), bool(leave_out_seen),
             0.0 if not diversity else share(diversity, "diversity"))
        legs: Any = None if Q is None else \
            (0, Q) if type(Q) is np.ndarray and self._single and vector is None and weights is None else \
            self._legs(Q, vector, weights)
        return Hits(self._search(legs, k, where if where is None else filter_text(where), segment,
                                 0.0 if target_recall is None else recall(target_recall), plan,
                                 (PAYLOAD if payload else 0) | (VERSION if versions else 0) |
                                 (VECTORS if vectors else 0),
                                 0 if min_version == 0 else whole(min_version, "min_version", 0, 2**64 - 1),
                                 0 if timeout is None else nanoseconds(timeout), model, bool(explain), chosen,
                                 0 if generation is None else asked(generation, user), user))


    # ---- Keeping -----------------------------------------------------------------------------------------------------

    @property
    def info(self) -> dict[str, Any]:
        """Items, version, vectors, fields, segments, sizes, and what is going on in the background."""
        return self._info()

    def compact(self, *, progress: bool | Report | None = None) -> None:
        """Merge everything into one segment without what was deleted. Searches and writes go on."""
        with Progress(progress) as watcher:
            self._compact(watcher.report)

    # ---- Awaitable ---------------------------------------------------------------------------------------------------

    async def asearch(self, *args: Any, **options: Any) -> Hits:
        """:meth:`search` in a thread, to be awaited."""
        return await in_thread(self.search, *args, **options)

    async def aadd(self, *args: Any, **options: Any) -> Written:
        """:meth:`add` in a thread, to be awaited. Writes of many tasks share one synchronisation of the disk."""
        return await in_thread(self.add, *args, **options)

    async def aupdate(self, *args: Any, **options: Any) -> Written:
        """:meth:`update` in a thread, to be awaited."""
        return await in_thread(self.update, *args, **options)

    async def adelete(self, *args: Any, **options: Any) -> Written:
        """:meth:`delete` in a thread, to be awaited."""
        return await in_thread(self.delete, *args, **options)

    async def aget(self, *args: Any, **options: Any) -> list[Item]:
        """:meth:`get` in a thread, to be awaited."""
        return await in_thread(self.get, *args, **options)

    # ---- Inside ------------------------------------------------------------------------------------------------------

    def _number(self, name: str | None) -> int:
        """The number of a named vector. None: the only one, or the unnamed one."""
        if name is None:
            if len(self._numbers) == 1:
                return 0
            if "" not in self._numbers:
                raise ArgumentError(f"which vector is meant? There are {words(self._numbers)}")
            name = ""
        if name not in self._numbers:
            raise ArgumentError(f"vector {name!r} is unknown: {words(self._numbers)} are")
        return self._numbers[name]

    def _pinned(self, generation: int | None) -> int:
        """A generation that is read page by page: the same to the end."""
        return self._info()["generation"] if generation is None else generation_read(generation, True)

    def _columns(self, vectors: Any, generation: int) -> list[tuple[int, int, Any, Any]]:
        if vectors is None and not generation:
            return []
        bits = self._bits(generation)  # refuses a generation that is not there
        if vectors is None:
            return []
        if type(vectors) is np.ndarray and vectors.dtype is _FLOAT32 and vectors.ndim == 2 and self._single and \
                not bits[0] and vectors.flags.c_contiguous:  # what pack_rows would leave as it is
            return [(0, generation, vectors, None)]
        if not isinstance(vectors, Mapping):
            number = self._number(None)
            return [(number, generation, *pack_rows(vectors, "", bits[number]))]
        numbers = {name: self._number(name) for name in vectors}
        return [(number, generation, *pack_rows(vectors[name], name, bits[number])) for name, number in numbers.items()]

    def _bits(self, generation: int) -> list[bool]:
        """Which vectors are bits."""
        return [dtype == "b1" for _, _, dtype, _ in self._specs(generation)]

    def _legs(self, Q: Any, vector: str | None, weights: Any) -> Any:
        if not isinstance(Q, Mapping):
            if weights is not None:
                raise ArgumentError("weights belong to queries of several vectors: a dict of name to queries")
            return self._number(vector), Q
        if vector is not None:
            raise ArgumentError("vector= and a dict of queries cannot both be given: the dict names the vectors")
        if not Q:
            raise ArgumentError("search needs queries of one vector at least")
        weights = {} if weights is None else weights
        if not isinstance(weights, Mapping):
            raise TypeError(f"weights must be a dict of name to number, not {weights!r}")
        for name, weight in weights.items():
            if name not in Q:
                raise ArgumentError(f"weights: there are no queries of {name!r}")
            if not real(weight, "weights: a weight") > 0:
                raise ArgumentError(f"weights: that of {name!r} is {weight}, it must be above 0")
        return [(self._number(name), rows, weights.get(name)) for name, rows in Q.items()]

    def __getitem__(self, id: int | str) -> Item:
        found = items_of(self._get(pack_id(id, self._strings), PAYLOAD | VERSION | VECTORS, 0))
        if not found:
            raise MissingIdError(f"the collection has no item {id!r}")
        return found[0]

    def __contains__(self, id: object) -> bool:
        if not is_id(id) or self._strings != isinstance(id, str):
            return False
        if id == "" if self._strings else not 0 <= id < 2**64 - 1:  # type: ignore[operator]
            return False
        return bool(self._exists(pack_id(id, self._strings))[0])

    def __len__(self) -> int:
        return self._count(None)

    def _check_open(self) -> None:
        if self.closed:
            raise ArgumentError("the collection is closed")

    def __enter__(self: _Self) -> _Self:
        self._check_open()
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()
