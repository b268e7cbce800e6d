# SPDX-License-Identifier: Apache-2.0
"""Shards: a folder of index files, and its manifest, which says what belongs together.

``manifest.json`` is written last. It names each file with its size and the hash by which an index knows its content, so
that a file that is missing, or is of another build, is refused before it answers. Names of files have a part of that
hash: a build that is begun again, or twice at once, never writes over another's.

S1. An id lies in one shard. Within a shard ids ascend, strings by their bytes; so equal distances are in the order in
    which one index of all items has them (of strings, where these were given to it in that order).
S2. Beside a shard of a build by segment lies ``<file>.segments``, an Arrow file: each segment of the shard once, and
    the ids of its items."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from .._errors import ArgumentError, CorruptError, MissingFileError, VersionError
from .._index import Index
from .._index import open as open_index
from . import places
from .columns import pa

MANIFEST = "manifest.json"
FORMAT = 1
MOST_BYTES = 64 << 20  # of a manifest
MOST_SHARDS = 65536
KINDS = {"int64": pa.int64(), "uint64": pa.uint64(), "string": pa.string()}
WAYS = ("hash", "cluster", "segment")


@dataclass(frozen=True)
class Shard:
    """One index file. file: its name in the folder, "" where the shard has no rows; of one index, what tells its
    version. segments: hash of the file beside it, or ""."""

    file: str
    rows: int
    bytes: int
    hash: str
    segments: str = ""


@dataclass(frozen=True)
class Shards:
    """A folder of index files that are searched as one, or one index file.

    path
        The folder, or the file.
    by
        How items were parted: "hash", "cluster" or "segment"; "" for one index.
    rows, dim, dtype, metric
        As of an index.
    id_kind
        "int64", "uint64" (some id is beyond an int64) or "string".
    segment, segment_kind
        The column by which items were parted, and its type; "" where they were not.
    """

    path: str
    by: str
    rows: int
    dim: int
    dtype: str
    metric: str
    id_kind: str
    segment: str
    segment_kind: str
    shards: tuple[Shard, ...]

    def __repr__(self) -> str:
        return (f"<Shards: {self.rows:,} x {self.dim} {self.dtype}, {self.metric}, in {len(self.shards)} "
                f"{'shard' if len(self.shards) == 1 else 'shards'} at {self.path}>")

    def file(self, number: int) -> str:
        return places.join(self.path, self.shards[number].file) if self.by else self.path

    def open(self, number: int) -> Index | None:
        """The index of a shard, mapped once a process; None: it has no rows. MissingFileError, CorruptError."""
        shard = self.shards[number]
        return None if shard.rows == 0 else _opened(
            self.file(number), shard.hash if self.by else shard.file, shard, self.dim, self.metric)

    def segments(self, number: int) -> Any:
        """(segments, lists of ids) of a shard of a build by segment."""
        shard = self.shards[number]
        return _segments(f"{self.file(number)}.segments", shard.segments)

    def check(self) -> Shards:
        """Are all files there, and those of this build? Looks at each."""
        for number, shard in enumerate(self.shards):
            path = self.file(number)
            if shard.rows and places.is_local(path):
                self.open(number)
                if shard.segments:
                    self.segments(number)
        return self

    # ---- The manifest ------------------------------------------------------------------------------------------------

    def save(self) -> Shards:
        about = {"kith": "shards", "format": FORMAT, **asdict(self)}
        del about["path"]
        about["hash"] = _hash_of(about)
        places.put_bytes((json.dumps(about, indent=1) + "\n").encode(), places.join(self.path, MANIFEST))
        return self


def _hash_of(about: dict[str, Any]) -> str:
    rest = {name: value for name, value in about.items() if name != "hash"}
    return hashlib.blake2b(json.dumps(rest, sort_keys=True).encode(), digest_size=16).hexdigest()


def load(path: Any) -> Shards:
    """Shards from a path: a folder with a manifest, or one index file."""
    if isinstance(path, Shards):
        return path.check()
    if not isinstance(path, str) and not hasattr(path, "__fspath__"):
        raise TypeError(f"items must be the path of an index or of a folder of shards, not {path!r:.100}; build() "
                        "makes such a folder from a frame")
    path = str(path) if isinstance(path, str) else path.__fspath__()
    return (_load_folder(path) if places.is_folder(path) else _load_index(path)).check()


def _load_index(path: str) -> Shards:
    content = places.version(path)
    index = open_index(places.local(path, content, True))
    kind = "string" if index._names_ids else "uint64" if index._wide else "int64"
    info = index.info
    shard = Shard(content, len(index), info["file_bytes"], f"{info['file_hash']:016x}")
    return Shards(path, "", len(index), index.dim, index.dtype, index.metric, kind, "", "", (shard,))


def _load_folder(path: str) -> Shards:
    where = places.join(path, MANIFEST)
    try:
        text = places.read(where, MOST_BYTES)
    except MissingFileError:
        raise MissingFileError(f"{where}: there is no such file: the folder holds no shards, or their build has not "
                               "ended") from None
    try:
        about = json.loads(text)
        if not isinstance(about, dict) or about.get("kith") != "shards":
            raise CorruptError(f"{where}: is no manifest of shards")
        if about.get("format") != FORMAT:
            raise VersionError(f"{where}: is of the format {about.get('format')!r}, {FORMAT} can be read")
        if about.get("hash") != _hash_of(about):
            raise CorruptError(f"{where}: has been changed: its own hash does not fit")
        return _parse(about, path, where)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise CorruptError(f"{where}: is malformed: {error}") from None


def _parse(about: dict[str, Any], path: str, where: str) -> Shards:
    entries = about["shards"]
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_SHARDS:
        raise CorruptError(f"{where}: has no list of 1 to {MOST_SHARDS} shards")
    shards = tuple(Shard(**entry) for entry in entries)
    for number, shard in enumerate(shards):
        plain = isinstance(shard.file, str) and "/" not in shard.file and not shard.file.startswith(".")
        if not plain or not isinstance(shard.rows, int) or shard.rows < 0 or bool(shard.rows) != bool(shard.file):
            raise CorruptError(f"{where}: shard {number}: is malformed")
    found = Shards(path, shards=shards, **{name: about[name] for name in (
        "by", "rows", "dim", "dtype", "metric", "id_kind", "segment", "segment_kind")})
    if found.by not in WAYS or found.id_kind not in KINDS or bool(found.segment) != (found.by == "segment") or \
            sum(shard.rows for shard in shards) != found.rows or not isinstance(found.dim, int):
        raise CorruptError(f"{where}: does not fit together")
    return found


# ---- Open files ------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _opened(path: str, content: str, shard: Shard, dim: int, metric: str) -> Index:
    """What was opened stays mapped: the next task of this process needs it again."""
    copy = places.local(path, content, True)
    index = open_index(copy)
    info = index.info
    if (f"{info['file_hash']:016x}", info["file_bytes"], len(index)) != (shard.hash, shard.bytes, shard.rows):
        raise CorruptError(f"{path}: is of another build: {len(index):,} rows with the hash {info['file_hash']:016x}, "
                           f"where {shard.rows:,} with {shard.hash} were expected")
    if (index.dim, index.metric) != (dim, metric):
        raise CorruptError(f"{path}: has {index.dim} dimensions under {index.metric}, where {dim} under {metric} were "
                           "expected")
    return index


@functools.lru_cache(maxsize=256)
def _segments(path: str, content: str) -> tuple[Any, Any]:
    copy = places.local(path, content, False)
    found = digest(copy)
    if found != content:
        raise CorruptError(f"{path}: is of another build: its hash is {found}, where {content} was expected")
    table = pa.ipc.open_file(pa.memory_map(copy)).read_all()
    return table.column("segment").combine_chunks(), table.column("ids").combine_chunks()


def digest(path: str) -> str:
    """The hash of a file of this machine that is no index."""
    state = hashlib.blake2b(digest_size=16)
    with places.opened(path) as file:
        while piece := file.read(places.PIECE):
            state.update(piece)
    return state.hexdigest()
