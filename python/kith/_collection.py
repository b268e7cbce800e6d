# SPDX-License-Identifier: Apache-2.0
"""Collection: a folder of items that takes inserts, updates and deletes while it is searched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from html import escape
from typing import Any

from . import _kith
from ._errors import ArgumentError
from ._options import whole
from ._progress import Progress, Report
from ._verbs import Verbs
from ._words import made

_DURABILITY = ("full", "relaxed")


class Collection(Verbs, _kith.Collection):
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
    _at_once = True
    _path: str | None

    def __new__(cls, path: str | os.PathLike[str], *, read_only: bool = False, durability: str = "full",
                background: bool = True, threads: int | None = None, head_bytes: int | None = None,
                cache_bytes: int | None = None, resident_bytes: int | None = None) -> Collection:
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
        resident_bytes
            Memory for copies of graphs, which searches read faster than files; None: nothing is copied.

        MissingFileError, BusyError (another process has it open for writing: the text names it), CorruptError,
        VersionError, FileError.
        """
        options = _open_options(read_only, durability, background, threads, head_bytes=head_bytes,
                                cache_bytes=cache_bytes, resident_bytes=resident_bytes)
        return _opened(super().__new__(cls, path, options, None), os.path.abspath(os.fspath(path)))

    @classmethod
    def create(cls, path: str | os.PathLike[str] | None, *, dim: int | None = None, metric: str | None = None,
               dtype: Any = None, vectors: Mapping[str, Any] | None = None, fields: Mapping[str, Any] | None = None,
               ids: str = "number", segment_field: str | None = None, model: str | None = None,
               durability: str = "full", background: bool = True, threads: int | None = None,
               head_bytes: int | None = None, cache_bytes: int | None = None,
               resident_bytes: int | None = None) -> Collection:
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
        durability, background, threads, head_bytes, cache_bytes, resident_bytes
            As of opening.

        ArgumentError names the option; BusyError: there is something in the folder; FileError, NoSpaceError.

        >>> shop = kith.Collection.create(None, vectors={"image": (4, "f16", "cosine"), "title": 2}, ids="string")
        >>> shop.add(["a", "b"], {"image": [[1, 0, 0, 0], None], "title": [[1, 2], [3, 4]]}).inserted
        2
        >>> shop.search({"image": [1, 0, 0, 0], "title": [3, 4]}, k=2, weights={"title": 2}).ids.tolist()
        ['b', 'a']
        """
        options = _open_options(False, durability, background, threads, head_bytes=head_bytes,
                                cache_bytes=cache_bytes, resident_bytes=resident_bytes)
        shape = made(dim, metric, dtype, vectors, fields, ids, segment_field, model)
        if path is not None:
            _kith.create_collection(path, shape)
        opened = _kith.Collection.__new__(cls, path, options, shape if path is None else None)
        return _opened(opened, None if path is None else os.path.abspath(os.fspath(path)))

    # ---- Keeping -----------------------------------------------------------------------------------------------------

    @property
    def path(self) -> str | None:
        """The folder; None: in memory."""
        return self._path

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

    # ---- Inside ------------------------------------------------------------------------------------------------------

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


# ---- Options ---------------------------------------------------------------------------------------------------------


def _open_options(read_only: bool, durability: str, background: bool, threads: int | None,
                  **sizes: int | None) -> dict[str, Any]:
    if durability not in _DURABILITY:
        raise ArgumentError(f"durability {durability!r} is unknown: 'full' and 'relaxed' are")
    options = {"read_only": int(read_only), "durability": _DURABILITY.index(durability),
               "no_background": int(not background),
               "threads": whole(_kith.get_threads() if threads is None else threads, "threads", 1, _kith.THREADS_MAX)}
    for name, size in sizes.items():
        if size is not None:
            options[name] = whole(size, name, int(name == "head_bytes"), 2**63)
    return options
