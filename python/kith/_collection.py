# SPDX-License-Identifier: Apache-2.0
"""Collection: a folder of items that takes inserts, updates and deletes while it is searched."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from . import _kith
from ._errors import ArgumentError, MissingIdError
from ._hits import Hits, Item, Written, items_of
from ._items import filter_text, is_id, one_row, pack_id, pack_ids, pack_payloads, pack_rows, pack_times, pack_versions
from ._options import dtype as _dtype
from ._options import metric as _metric
from ._options import whole
from ._progress import Progress, Report

_PAYLOAD, _VERSION, _VECTORS = 1, 2, 4
_MODES = ("upsert", "insert", "update", "merge")
_DURABILITY = ("full", "relaxed")
_FLOAT32 = np.dtype(np.float32)
_PORTION = 1000  # items of one read of a scroll


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

    __slots__ = ("_path", "_numbers", "_single", "_strings", "__weakref__")
    _path: str | None
    _numbers: dict[str, int]  # of the vectors
    _single: bool  # there is one vector
    _strings: bool  # ids are

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
               durability: str = "full", background: bool = True, threads: int | None = None,
               head_bytes: int | None = None, cache_bytes: int | None = None) -> Collection:
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
        durability, background, threads, head_bytes, cache_bytes
            As of opening.

        ArgumentError names the option; BusyError: there is something in the folder; FileError, NoSpaceError.

        >>> shop = kith.Collection.create(None, vectors={"image": (4, "f16", "cosine"), "title": 2}, ids="string")
        >>> shop.add(["a", "b"], {"image": [[1, 0, 0, 0], None], "title": [[1, 2], [3, 4]]}).inserted
        2
        >>> shop.search({"image": [1, 0, 0, 0], "title": [3, 4]}, k=2, weights={"title": 2}).ids.tolist()
        ['b', 'a']
        """
        options = _open_options(False, durability, background, threads, head_bytes, cache_bytes)
        made = _made(dim, metric, dtype, vectors, fields, ids, segment_field, model)
        if path is not None:
            _kith.create_collection(path, made)
        opened = _kith.Collection.__new__(cls, path, options, made if path is None else None)
        return _opened(opened, None if path is None else os.path.abspath(os.fspath(path)))

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
        if mode not in _MODES:
            raise ArgumentError(f"mode {mode!r} is unknown: {_words(_MODES)} are")
        if generation is None and generations is None:
            columns = self._columns(vectors, 0) if count else []
        else:
            from . import _generations

            columns = _generations.columns(self, vectors, generation, generations, mode)
        return Written(*self._write(packed, columns if count else [], pack_payloads(payloads, count),
                                    pack_times(expires, count), pack_versions(if_version, count), _MODES.index(mode)))

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

    def load(self, source: Any, ids: Any = None, payloads: Any = None, *, mode: str = "upsert",
             generation: int | None = None, progress: bool | Report | None = None) -> Written:
        """Write the items of a file or a table, some thousand at a time, and say what that did in all.

        source
            What :meth:`export` wrote: a Parquet file, or the ``.npy`` file of a pair. Or a Parquet file, a pandas or
            polars frame or an Arrow table with the columns id and vector (or the vectors' names), perhaps expires, and
            payload, or else a column a key. Or lines of JSON as ``kith add`` reads them. Or anything that
            :func:`kith.read` takes.
        ids, payloads
            With a source of vectors: as of :meth:`add`. Payloads may also be the path of a file with a JSON object a
            line; without ids, those of the source, or the numbers of its rows.
        mode, generation
            As of :meth:`add`.

        Each batch is a write of its own: what is written before an error stays. Needs pyarrow for tables.
        """
        if mode not in _MODES:
            raise ArgumentError(f"mode {mode!r} is unknown: {_words(_MODES)} are")
        from . import _transfer

        with Progress(progress) as watcher:
            return _transfer.load(self, source, ids, payloads, mode, generation, watcher.report)

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
        self._declare(_word(name, "the name of a field"), _field_type(type))

    # ---- Reading -----------------------------------------------------------------------------------------------------

    def get(self, ids: Any, *, vectors: bool = False, generation: int | None = None) -> list[Item]:
        """The items with these ids, in that order; those that are not there are passed over. ``shop[id]`` is one, with
        its vectors, or MissingIdError.

        vectors, generation
            True: read the vectors too, those of the current generation or of this one.
        """
        packed, _ = pack_ids(ids, self._strings)
        return items_of(self._get(packed, _PAYLOAD | _VERSION | (_VECTORS if vectors else 0),
                                  _generation(generation, vectors)))

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
        text, number = filter_text(where), _generation(generation, vectors)
        if vectors:
            number = self._pinned(generation)
        return (item for answer in self._pages(text, self._key(after), vectors, number) for item in items_of(answer))

    def _pages(self, where: str | None, after: int | None, vectors: bool, generation: int) -> Iterator[tuple[Any, ...]]:
        parts = _PAYLOAD | _VERSION | (_VECTORS if vectors else 0)
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
            (profile, 0.0 if blend is None else _share(blend, "blend"), bool(leave_out_seen),
             0.0 if not diversity else _share(diversity, "diversity"))
        legs: Any = None if Q is None else \
            (0, Q) if type(Q) is np.ndarray and self._single and vector is None and weights is None else \
            self._legs(Q, vector, weights)
        return Hits(self._search(legs, k, where if where is None else filter_text(where), segment,
                                 0.0 if target_recall is None else _recall(target_recall), plan,
                                 (_PAYLOAD if payload else 0) | (_VERSION if versions else 0) |
                                 (_VECTORS if vectors else 0),
                                 0 if min_version == 0 else whole(min_version, "min_version", 0, 2**64 - 1),
                                 0 if timeout is None else _nanoseconds(timeout), model, bool(explain), chosen,
                                 0 if generation is None else _asked(generation, user), user))

    # ---- Profiles ----------------------------------------------------------------------------------------------------

    def event(self, name: str, *, like: Any = None, dislike: Any = None, view: Any = None, seen: Any = None,
              weight: float | None = None, time: datetime.datetime | float | None = None, vector: str | None = None,
              interests: int | None = None, remember: int | None = None,
              half_life: datetime.timedelta | float | None = None, threshold: float | None = None) -> None:
        """Tell a profile what was liked; it is made when it is not there. All or nothing, and durable on return.

        like, dislike, view, seen
            Ids, or one. A view is a quarter of a like; `seen` moves nothing. All of them are left out of searches by
            the profile. They happen in the order: seen, view, like, dislike.
        weight
            Of each event, in place of 1, or 0.25.
        time
            When it happened: a datetime, or seconds since 1970. Now, otherwise.
        vector, interests, remember, half_life, threshold
            How the profile is made: which named vector it is of, how many interests it may have (1 to 16; 1), how
            many seen items it remembers (1,000), in which time weights halve (a timedelta or seconds; never), and how
            similar an item must be to an interest not to begin one (0 to 1; 0.7). All but `vector` may be changed
            later.

        >>> shop = kith.Collection.create(None, dim=2, metric="cosine")
        >>> _ = shop.add([1, 2, 3, 4], [[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]])
        >>> shop.event("ann", like=1)
        >>> shop.search(profile="ann", k=1).ids.tolist()
        [2]
        """
        kinds = ((seen, 4), (view, 3), (like, 1), (dislike, 2))
        ids: list[Any] = []
        events = []
        moment = 0 if time is None else _event_time(time)
        for given, kind in kinds:
            some = [] if given is None else [given] if is_id(given) else list(given)
            ids += some
            events += [(kind, 0.0 if weight is None else float(weight), moment)] * len(some)
        packed, _ = pack_ids(ids if ids or self._strings else np.empty(0, np.uint64), self._strings)
        self._event(name, packed, events, vector,
                    0 if interests is None else whole(interests, "interests", 1, 16),
                    0 if remember is None else whole(remember, "remember", 1, 5000),
                    0 if half_life is None else _half_life(half_life),
                    0.0 if threshold is None else _share(threshold, "threshold"))

    def profile(self, name: str) -> dict[str, Any]:
        """A profile: ``vectors``, a row for each interest, and their ``weights``; what it remembers, and how it was
        made. NotFoundError when there is none."""
        about = self._profile(name)
        about["vectors"] = about["vectors"].reshape(-1, about["dim"])
        return about

    def rebuild_profile(self, name: str | None = None, *, progress: bool | Report | None = None) -> dict[str, int]:
        """Make a profile's interests anew of the events that it remembers and the vectors that their items have now;
        without a name, of all profiles. For when vectors of items have changed, which by itself moves no profile.

        Returns how many ``profiles`` and ``events`` that were, and how many of the events were ``skipped`` because
        their item is gone or lacks the vector.
        """
        with Progress(progress) as watcher:
            profiles, events, skipped = self._rebuild_profile(name, watcher.report)
        return {"profiles": profiles, "events": events, "skipped": skipped}

    def forget(self, name: str) -> None:
        """Remove a profile. NotFoundError when there is none."""
        self._forget(name)

    # ---- Generations -------------------------------------------------------------------------------------------------

    def begin_generation(self, model: str | None = None, *, dim: int | None = None, dtype: Any = None,
                         metric: str | None = None, vectors: Mapping[str, Any] | None = None) -> int:
        """Begin a generation: what another model makes of the same items. Returns its number. It has no vectors yet,
        and is filled by ``update(ids, vectors, generation=number)``, while the current one is searched.

        model
            What makes its vectors.
        dim, dtype, metric
            What the vectors are like, where an item has one; dtype and metric are those of the current generation
            unless others are given.
        vectors
            Of which named vectors the generation has its own: name: dim, or a tuple of dim, dtype and metric. It
            shares the others with the current one.

        ArgumentError, NotFoundError (a name), LimitError: there are 16 generations.

        >>> shop = kith.Collection.create(None, dim=2, model="old")
        >>> _ = shop.add([1, 2], [[0, 0], [3, 4]])
        >>> number = shop.begin_generation("new", dim=3)
        >>> _ = shop.update([1, 2], [[0, 0, 1], [0, 1, 0]], generation=number)
        >>> shop.check_generation(number)["lacking"], shop.flip(number)["to"]
        (0, 2)
        >>> shop.search([0, 1, 0], k=1, model="new").ids.tolist()
        [2]
        >>> shop.flip()["to"], shop.search([3, 4], k=1, model="old").ids.tolist()
        (1, [2])
        """
        from . import _generations

        return _generations.begin(self, model, dim, dtype, metric, vectors)

    @property
    def generations(self) -> list[dict[str, Any]]:
        """All generations by their numbers: ``number``, ``state`` ("building", "current", "previous", "former"),
        ``model``, ``share`` of the users that are sent to it, ``vectors`` as in `info`, how many of which are its
        ``own``, and when it was ``created``."""
        from . import _generations

        return _generations.listed(self)

    def check_generation(self, number: int, *, sample: int = 100, k: int = 10, target_recall: float = 0.95,
                         seed: int = 0, lacks: bool = False,
                         progress: bool | Report | None = None) -> dict[str, Any]:
        """Look at a generation beside the current one: how many ``items`` there are, how many of them have its vectors
        (``with_vectors``) and how many are ``lacking`` one; what searches at a target find of what exact ones do
        (``recall``); and what share of the exact neighbours are also the current generation's (``overlap``).

        sample, k, seed
            Stored vectors of each name that are sought, 0: none; their neighbours; and which are chosen.
        target_recall
            Of the searches that are held against exact ones.
        lacks
            True: also ``lacks``, a list of (id, name of the vector).

        Searches and writes go on. NotFoundError: there is no such generation.
        """
        from . import _generations

        options = _generations.check_options(sample, k, target_recall, seed)
        with Progress(progress) as watcher:
            return _generations.check(self, number, options, lacks, watcher.report)

    def flip(self, number: int | None = None, *, min_share: float | None = None, min_recall: float = 0.0,
             min_overlap: float = 0.0, sample: int = 100, k: int = 10, target_recall: float = 0.95, seed: int = 0,
             progress: bool | Report | None = None) -> dict[str, Any]:
        """Make a generation current, for all searches and in all processes at once. Each is answered by one alone.

        number
            None: back to the one that was current before.
        min_share, min_recall, min_overlap
            What :meth:`check_generation` must find, or DataError, and nothing changes: ``with_vectors / items`` (1;
            going back 0), ``recall``, ``overlap``.
        sample, k, target_recall, seed
            How it is checked.

        Returns what was done: ``from``, ``to``, what was found, and for how long writes waited (``pause_seconds``).
        NotFoundError: there is no such generation.
        """
        from . import _generations

        options = _generations.check_options(sample, k, target_recall, seed)
        with Progress(progress) as watcher:
            return _generations.flip(self, number, min_share, min_recall, min_overlap, options, watcher.report)

    def canary(self, number: int, share: float) -> None:
        """Send a share of the users (0 to 1) to a generation that is not current, in searches that name a `user`:
        always the same ones, and those of a smaller share stay with a larger one. 0 ends that.

        BusyError: another generation is the canary, or this one is current.
        """
        from . import _generations

        self._canary(_generations.number_of(number), _generations.share_of(share, "share"))

    def generation_of(self, user: str) -> int:
        """The number of the generation that a user's searches are answered by."""
        return self._generation_of(_word(user, "user"))

    def drop_generation(self, number: int) -> None:
        """Remove a generation that is not current, with the vectors that no other one shares."""
        from . import _generations

        self._drop(_generations.number_of(number))

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

    async def aevent(self, *args: Any, **options: Any) -> None:
        """:meth:`event` in a thread, to be awaited."""
        await _in_thread(self.event, *args, **options)

    async def aadd(self, *args: Any, **options: Any) -> Written:
        """:meth:`add` in a thread, to be awaited. Writes of many tasks share one synchronisation of the disk."""
        return await _in_thread(self.add, *args, **options)

    async def aupdate(self, *args: Any, **options: Any) -> Written:
        """:meth:`update` in a thread, to be awaited."""
        return await _in_thread(self.update, *args, **options)

    async def adelete(self, *args: Any, **options: Any) -> Written:
        """:meth:`delete` in a thread, to be awaited."""
        return await _in_thread(self.delete, *args, **options)

    async def aflip(self, *args: Any, **options: Any) -> dict[str, Any]:
        """:meth:`flip` in a thread, to be awaited."""
        return await _in_thread(self.flip, *args, **options)

    async def aget(self, *args: Any, **options: Any) -> list[Item]:
        """:meth:`get` in a thread, to be awaited."""
        return await _in_thread(self.get, *args, **options)

    # ---- Inside ------------------------------------------------------------------------------------------------------

    def _number(self, name: str | None) -> int:
        """The number of a named vector. None: the only one, or the unnamed one."""
        if name is None:
            if len(self._numbers) == 1:
                return 0
            if "" not in self._numbers:
                raise ArgumentError(f"which vector is meant? There are {_words(self._numbers)}")
            name = ""
        if name not in self._numbers:
            raise ArgumentError(f"vector {name!r} is unknown: {_words(self._numbers)} are")
        return self._numbers[name]

    def _pinned(self, generation: int | None) -> int:
        """A generation that is read page by page: the same to the end."""
        return self._info()["generation"] if generation is None else _generation(generation, True)

    def _columns(self, vectors: Any, generation: int) -> list[tuple[int, int, Any, Any]]:
        if vectors is None and not generation:
            return []
        bits = [dtype == "b1" for _, _, dtype, _ in self._specs(generation)]  # refuses a generation that is not there
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
            if not _real(weight, "weights: a weight") > 0:
                raise ArgumentError(f"weights: that of {name!r} is {weight}, it must be above 0")
        return [(self._number(name), rows, weights.get(name)) for name, rows in Q.items()]

    def __getitem__(self, id: int | str) -> Item:
        found = items_of(self._get(pack_id(id, self._strings), _PAYLOAD | _VERSION | _VECTORS, 0))
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

    def __enter__(self) -> Collection:
        self._check_open()
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __reduce__(self) -> tuple:
        self._check_open()
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


def _words(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _reopen(path: str) -> Collection:
    """What a pickle of a collection becomes: one that reads, since another process has it open for writing."""
    return Collection(path, read_only=True)


def _opened(collection: Collection, path: str | None) -> Collection:
    collection._path = path
    info = collection._info()
    collection._numbers = {name: number for number, (name, *_) in enumerate(info["vectors"])}
    collection._single = len(collection._numbers) == 1
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
    if not isinstance(fields or {}, Mapping):
        raise TypeError(f"fields must be a dict of name to type, not {fields!r}")
    return (ids == "string", specs,
            [(_word(name, "the name of a field"), _field_type(kind)) for name, kind in (fields or {}).items()],
            segment_field if segment_field is None else _word(segment_field, "segment_field"),
            model if model is None else _word(model, "model"))


def _spec(name: str, spec: Any) -> tuple[str, int, int, int]:
    parts = tuple(spec) if isinstance(spec, Sequence) and not isinstance(spec, str) else (spec,)
    if not 1 <= len(parts) <= 3:
        raise ArgumentError(f"vectors: {name!r} has {spec!r}; a dim, or (dim, dtype, metric), was expected")
    dim, kind, metric = (*parts, None, None)[:3]
    return (_word(name, "the name of a vector"), whole(dim, "dim", 1, 65536), 0 if kind is None else _dtype(kind),
            0 if metric is None else _metric(metric))


def _field_type(kind: Any) -> str:
    known = {str: "tag", list: "tags", int: "int", float: "float", bool: "bool", datetime.datetime: "time"}
    word = known.get(kind, kind) if isinstance(kind, type) else kind
    if not isinstance(word, str):
        raise TypeError(f"the type of a field must be a word, not {kind!r}")
    return _word(word, "the type of a field")


def _word(text: Any, what: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a text, not {text!r}")
    if "\0" in text:
        raise ArgumentError(f"{what}: {text!r} has a null character")
    return text


def _real(value: Any, name: str) -> float:
    if isinstance(value, str) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, not {value!r}")
    return float(value)


def _recall(target: float) -> float:
    target = _real(target, "target_recall")
    if not 0 < target <= 1:
        raise ArgumentError(f"target_recall is {target}, it must be above 0 and at most 1")
    return target


def _generation(number: int | None, vectors: bool) -> int:
    """The generation of a read; 0: the current one."""
    if number is None:
        return 0
    if not vectors:
        raise ArgumentError("generation= says whose vectors are read: it belongs to vectors=True")
    return whole(number, "generation", 1, 2**32 - 1)


def _asked(number: int, user: str | None) -> int:
    """The generation of a search."""
    if user is not None:
        raise ArgumentError("generation= and user= both say which generation is asked: give one of them")
    return whole(number, "generation", 1, 2**32 - 1)


def _share(value: float, name: str) -> float:
    if not 0 <= value <= 1:
        raise ArgumentError(f"{name} is {value}, 0 to 1 are possible")
    return float(value)


def _half_life(value: datetime.timedelta | float) -> int:
    seconds = value.total_seconds() if isinstance(value, datetime.timedelta) else float(value)
    if not seconds >= 0.001:
        raise ArgumentError(f"half_life is {seconds} seconds, it must be a millisecond at least")
    return 2**64 - 1 if seconds >= 1e13 else int(seconds * 1000)


def _event_time(value: datetime.datetime | float) -> int:
    seconds = value.timestamp() if isinstance(value, datetime.datetime) else float(value)
    if not 0.001 <= seconds < 1e13:
        raise ArgumentError(f"time is {value}, it must be after 1970")
    return int(seconds * 1000)


def _nanoseconds(seconds: float) -> int:
    seconds = _real(seconds, "timeout")
    if not seconds > 0:
        raise ArgumentError(f"timeout is {seconds}, it must be more than 0 seconds")
    return int(min(math.ceil(min(seconds, 9e9) * 1e9), 9e18))
