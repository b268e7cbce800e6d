# SPDX-License-Identifier: Apache-2.0
"""What both front ends stand on: rows that grow, and an index that is built when it is next searched.

A kith index is immutable. Vectors that are added are kept in chunks; the first search after a change joins them and
builds an index in a temporary file. Scripts that add everything and then search pay once; a script that alternates
single additions and searches pays for a build each time.

One lock guards the rows and the building; searches of a built index run without it. An addition while another thread
searches is seen by the searches that begin after it.
"""
from __future__ import annotations

import contextlib
import io
import json
import os
import threading
from typing import Any, BinaryIO, Literal

import numpy as np

import kith
from kith import ArgumentError, DataError, FormatError
from kith._convert import refuse_fields, refuse_masks, unmasked
from kith._sources.labels import refuse_unordered

K_MAX = 10000  # KITH_K_MAX
CHECK_ROWS = 1 << 14


class Rows:
    """float32 rows of one dimension and one kith metric ("l2" or "ip"), called by their numbers from 0. lists: those of
    the index; None: kith's choice."""

    def __init__(self, dim: int, metric: Literal["l2", "ip"], lists: int | None = None) -> None:
        self.dim, self.count, self.lists = dim, 0, lists
        self.metric: Literal["l2", "ip"] = metric
        self._chunks: list[np.ndarray] = []
        self._index: kith.Index | None = None
        self._lock = threading.Lock()

    def add(self, rows: np.ndarray) -> None:
        """Keep a copy of `rows`, (n, dim) float32, all finite."""
        with self._lock:
            if len(rows):
                self._chunks.append(np.array(rows, np.float32, order="C"))
                self._changed(self.count + len(rows))

    def replace(self, numbers: np.ndarray, rows: np.ndarray) -> None:
        """Put other vectors, all finite, in the place of those numbered `numbers`."""
        with self._lock:
            self._joined()[numbers] = rows
            self._changed(self.count)

    def keep(self, wanted: np.ndarray) -> None:
        """Drop the rows where the mask is false; the others move up."""
        with self._lock:
            self._chunks = [self._joined()[wanted]]
            self._changed(len(self._chunks[0]))

    def clear(self) -> None:
        with self._lock:
            self._chunks = []
            self._changed(0)

    def take(self, numbers: list[int] | np.ndarray) -> np.ndarray:
        """A copy of the vectors numbered `numbers`, which must exist."""
        with self._lock:
            return self._joined()[numbers]

    def array(self) -> np.ndarray:
        """All rows. Not to be written, and not to be held over a change."""
        with self._lock:
            return self._joined()

    def index(self, threads: int | None = None) -> kith.Index:
        """The index of all rows, built if they changed. There must be rows."""
        with self._lock:
            if self._index is None:
                self._index = kith.Index.build(self._joined(), metric=self.metric, threads=threads, progress=False,
                                                lists=self.lists, spill=False, calibrate=False)
            return self._index

    def _changed(self, count: int) -> None:
        # The old index is not closed here: another thread may be searching it. It goes with its last user.
        self.count, self._index = count, None

    def _joined(self) -> np.ndarray:
        if len(self._chunks) == 1:
            return self._chunks[0]
        joined, at = np.empty((self.count, self.dim), np.float32), 0
        self._chunks.reverse()
        while self._chunks:  # each chunk goes as soon as it is copied
            chunk = self._chunks.pop()
            joined[at:at + len(chunk)] = chunk
            at += len(chunk)
        self._chunks = [joined]
        return joined


def as_given(values: Any, what: str) -> Any:
    """What NumPy may make an array of. Refused by name: what has no order (a set), hides values (a masked array), or is
    several arrays in one (a structured one)."""
    refuse_unordered(values, what)
    if isinstance(values, np.ndarray):
        refuse_fields(values.dtype, what)
        return unmasked(values, what)
    if isinstance(values, (list, tuple)):
        refuse_masks(values, what)
    return values


def check_finite(rows: np.ndarray, what: str = "vectors") -> None:
    """kith refuses what has no distance; better at once than at the first search. DataError names the row."""
    for at in range(0, len(rows), CHECK_ROWS):
        good = np.isfinite(rows[at:at + CHECK_ROWS]).all(axis=1)
        if not good.all():
            raise DataError(f"{what}: row {at + int(np.argmin(good))} has a NaN or an infinity")


def bounded_k(k: int, count: int) -> int:
    """How many neighbours to ask kith for: never more than there are. ArgumentError beyond its limit."""
    if min(k, count) > K_MAX:
        raise ArgumentError(f"k is {k}; {K_MAX} neighbours are the most")
    return min(k, count)


# ---- Files: one .npz archive, with a header in JSON ------------------------------------------------------------------


def write_archive(path: Any, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write whole or not at all. `path`: a path, or a binary file to write to."""
    named: dict[str, Any] = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays}
    if hasattr(path, "write"):
        np.savez(path, **named)
        return
    path = os.fspath(path)
    draft = f"{path}.{os.getpid()}.draft"
    try:
        with open(draft, "xb") as file:
            np.savez(file, **named)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except FileExistsError:
        raise
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise


def read_archive(path: str | os.PathLike[str] | BinaryIO, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a file that write_archive wrote with header["kind"] == kind. FormatError otherwise."""
    name = path if isinstance(path, (str, os.PathLike)) else "(memory)"
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        header = json.loads(arrays.pop("header").tobytes())
        if header["kind"] != kind or header["version"] != 1:
            raise ValueError(f"kind {header['kind']!r}, version {header['version']!r}")
    except OSError:
        raise
    except Exception as error:  # zipfile, zlib, json and NumPy each have their own
        raise FormatError(f"{name}: is no file that kith.compat.{kind} wrote ({error}); files of the library {kind} "
                          "itself cannot be read") from None
    return header, arrays


def to_bytes(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    write_archive(file, header, arrays)
    return file.getvalue()
