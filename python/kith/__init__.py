# SPDX-License-Identifier: Apache-2.0
"""kith: nearest neighbours of vectors.

>>> import numpy as np, kith
>>> X = np.random.default_rng(1).standard_normal((5000, 32), dtype=np.float32)
>>> index = kith.Index.build(X, metric="cosine")
>>> ids, distances = index.search(X[:3], k=5)
>>> ids.shape, ids[:, 0].tolist()
((3, 5), [0, 1, 2])

Index.build makes an index from vectors, open() maps one from a file, Index.search finds neighbours. Answers are exact,
to the last bit of each distance, unless a target recall is given. Index.join answers many queries into files. A
Collection is a folder of items that change while they are searched, and connect() reaches one at a server.
"""

from __future__ import annotations

from typing import Any

from . import _kith
from ._collection import Collection
from ._convert import to_queries as _to_queries
from ._cpu import cpu, devices, distance, get_threads, set_threads
from ._errors import (
    BY_STATUS,
    AccessError,
    ArgumentError,
    BusyError,
    CancelledError,
    CorruptError,
    DataError,
    DeadlineError,
    Error,
    FileError,
    FormatError,
    LimitError,
    MissingFileError,
    MissingIdError,
    NoSpaceError,
    NotFoundError,
    ServerError,
    UnsupportedError,
    VersionError,
)
from ._filter import Filter
from ._filter import make_filter as _make_filter
from ._hits import Hits, Item, Written
from ._index import Index, open, verify
from ._result import Explain, RangeResult, Result
from ._tune import tune

_kith._register(BY_STATUS, MissingIdError, Result, _to_queries, _make_filter, Explain)

version = __version__ = _kith.version

__all__ = [
    "AccessError", "ArgumentError", "BusyError", "CancelledError", "Collection", "CorruptError", "DataError",
    "DeadlineError", "Error", "Explain", "FileError", "Filter", "FormatError", "Hits", "Index", "Item", "JoinResult",
    "LimitError", "MissingFileError", "MissingIdError", "NoSpaceError", "NotFoundError", "RangeResult",
    "RemoteCollection", "Result", "Server", "ServerError", "Source", "UnsupportedError", "VersionError", "Written",
    "connect", "cpu", "devices", "distance", "get_threads", "open", "read", "set_threads", "tune", "verify", "version",
]


for _public in (Collection, Hits, Item, Written, Index, Filter, Result, RangeResult, Explain, open, tune, verify, cpu, devices,
                distance, get_threads, set_threads, Error, *Error.__subclasses__(), MissingFileError, MissingIdError,
                NoSpaceError):
    _public.__module__ = "kith"  # where people find it, and where pickles look
del _public


def __getattr__(name: str) -> Any:
    """Sources, joins and servers are imported when they are first used: most searches need none."""
    if name in ("connect", "RemoteCollection", "Server"):
        from . import _server

        return getattr(_server, name)
    if name in ("read", "Source"):
        from . import _sources

        return getattr(_sources, name)
    if name == "JoinResult":
        from ._join import JoinResult

        return JoinResult
    raise AttributeError(f"module 'kith' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "JoinResult", "RemoteCollection", "Server", "Source", "connect", "read"})
