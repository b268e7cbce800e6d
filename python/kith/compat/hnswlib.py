# SPDX-License-Identifier: Apache-2.0
"""The names and conventions of hnswlib over kith: `import kith.compat.hnswlib as hnswlib`.

Every answer is exact: M, ef_construction, ef and random_seed are taken, kept to be read back, and change nothing.
Distances are hnswlib's: "l2" squared, "ip" 1 - product, "cosine" 1 - product of the vectors divided by their norms,
which is also how "cosine" stores them (a zero vector stays zero, at distance 1 from all). Labels come as uint64. Errors
are RuntimeError where hnswlib raises it; values that kith refuses (NaN, infinity) raise kith.DataError.

The kith index is built at the first query after an addition: see docs/python-compat.md.

>>> import numpy as np
>>> from kith.compat import hnswlib
>>> p = hnswlib.Index(space="l2", dim=2)
>>> p.init_index(max_elements=10)
>>> p.add_items(np.array([[0, 0], [3, 4], [6, 8]]), [7, 8, 9])
>>> labels, distances = p.knn_query([0, 1], k=2)
>>> labels.tolist(), distances.tolist()
([[7, 8]], [[1.0, 18.0]])
"""
from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

import kith
from kith import FormatError

from ._rows import Rows, as_given, bounded_k, check_finite, read_archive, to_bytes, write_archive

_METRICS: dict[str, Literal["l2", "ip"]] = {"l2": "l2", "ip": "ip", "cosine": "ip"}
_TOO_FEW = ("Cannot return the results in a contiguous 2D array: fewer than k = {k} elements are there, not deleted, "
            "and let through by the filter")


class _Labels:
    """From labels to row numbers. Labels 0, 1, 2, ... in order, the usual case, need no table."""

    def __init__(self) -> None:
        self.array = np.empty(0, np.uint64)
        self._table: dict[int, int] | None = None  # None: label i is row i

    def rows(self, labels: np.ndarray) -> np.ndarray:
        """Row numbers, -1 for labels that are not there."""
        if self._table is None:
            return np.where(labels < len(self.array), labels, np.uint64(0xFFFFFFFFFFFFFFFF)).astype(np.int64)
        return np.fromiter((self._table.get(label, -1) for label in labels.tolist()), np.int64, len(labels))

    def append(self, labels: np.ndarray) -> None:
        """New labels, none of them there yet, for the rows that follow."""
        count = len(self.array)
        if self._table is None and not np.array_equal(labels, np.arange(count, count + len(labels), dtype=np.uint64)):
            self._table = dict(zip(self.array.tolist(), range(count)))
        if self._table is not None:
            self._table.update(zip(labels.tolist(), range(count, count + len(labels))))
        self.array = np.concatenate([self.array, labels])

    def rename(self, row: int, label: int) -> None:
        if self._table is None:
            self._table = dict(zip(self.array.tolist(), range(len(self.array))))
        del self._table[int(self.array[row])]
        self.array[row] = label
        self._table[label] = row

    def replace(self, labels: np.ndarray) -> None:
        self.array, self._table = np.empty(0, np.uint64), None
        self.append(labels)


class _Base:
    """What Index and BFIndex have in common."""

    def __init__(self, space: str, dim: int) -> None:
        if space not in _METRICS:
            raise RuntimeError("Space name must be one of l2, ip, or cosine.")
        if dim < 1:
            raise RuntimeError(f"dim is {dim}; at least 1 was expected")
        self.space, self.dim = space, int(dim)
        self._threads: int | None = None  # None: kith's own choice
        self._max: int | None = None  # None: init_index has not been called
        self._clear()

    def _clear(self) -> None:
        self._rows = Rows(self.dim, _METRICS[self.space])
        self._labels = _Labels()
        self._deleted = np.zeros(0, bool)
        self._alive: tuple[Any, Any] | None = None  # an index and the filter of what is not deleted in it

    def __repr__(self) -> str:
        return f"<kith.compat.hnswlib.{type(self).__name__}(space={self.space!r}, dim={self.dim})>"

    def _begin(self, max_elements: int) -> None:
        if self._max is not None:
            raise RuntimeError("The index is already initiated.")
        self._max = int(max_elements)

    def _started(self) -> int:
        if self._max is None:
            raise RuntimeError("The index is not initiated: call init_index() or load_index() first")
        return self._max

    def get_max_elements(self) -> int:
        """The capacity."""
        return self._started()

    def get_current_count(self) -> int:
        """How many elements there are, deleted ones included."""
        return self._rows.count

    @property
    def num_threads(self) -> int:
        return self._threads or kith.get_threads()

    @num_threads.setter
    def num_threads(self, num_threads: int) -> None:
        self.set_num_threads(num_threads)

    def set_num_threads(self, num_threads: int) -> None:
        """Threads of queries and builds."""
        if num_threads < 1:
            raise RuntimeError(f"set_num_threads: {num_threads} threads; at least 1 was expected")
        self._threads = int(num_threads)

    # ---- Adding

    def _vectors(self, data: Any, what: str) -> np.ndarray:
        """(n, dim) float32, of length one in cosine space."""
        rows = np.ascontiguousarray(as_given(data, what), np.float32)
        if rows.ndim == 1:
            rows = rows.reshape(1, -1)
        if rows.ndim != 2:
            raise RuntimeError(f"Input vector data wrong shape. Number of dimensions {rows.ndim}. Data must be a 1D or "
                               "2D array.")
        if rows.shape[1] != self.dim:
            raise RuntimeError(f"Wrong dimensionality of the vectors: {rows.shape[1]}; the index has dim = {self.dim}")
        check_finite(rows, what)
        if self.space == "cosine":
            return rows / (np.sqrt(np.einsum("ij,ij->i", rows, rows)) + np.float32(1e-30))[:, None]
        return rows

    def _labels_of(self, ids: Any, count: int) -> np.ndarray:
        if ids is None:
            return np.arange(self._rows.count, self._rows.count + count, dtype=np.uint64)
        labels = np.asarray(as_given(ids, "labels"))
        if labels.ndim == 0:
            labels = labels.reshape(1)
        if labels.ndim != 1 or len(labels) != count:
            raise RuntimeError(f"The input label shape {labels.shape} does not match the input data vector shape "
                               f"{count}")
        return _as_labels(labels)

    def _insert(self, vectors: np.ndarray, labels: np.ndarray) -> None:
        """Add what is new, replace what is there. Of a label that comes twice, the last vector counts."""
        labels, vectors = _without_repeats(labels, vectors)
        rows = self._labels.rows(labels)
        new = rows < 0
        if self._rows.count + int(new.sum()) > self._started():
            raise RuntimeError(f"The number of elements exceeds the specified limit: {self._rows.count} are there, "
                               f"{int(new.sum())} are new, max_elements is {self._max}")
        if not new.all():
            self._rows.replace(rows[~new], vectors[~new])
            self._deleted[rows[~new]] = False
        self._labels.append(labels[new])
        self._rows.add(vectors if new.all() else vectors[new])
        self._deleted = np.concatenate([self._deleted, np.zeros(int(new.sum()), bool)])
        self._alive = None

    # ---- Asking

    def knn_query(self, data: Any, k: int = 1, num_threads: int = -1,
                  filter: Callable[[int], bool] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest of each row of data, (n, dim) or (dim,): labels (n, k) uint64 and distances (n, k) float32,
        ascending. filter(label) tells which elements may be returned; it is called once for each element that is not
        deleted. RuntimeError where fewer than k are left."""
        self._started()
        rows = self._vectors(data, "queries")
        if k < 1:
            raise RuntimeError(f"k is {k}; at least 1 was expected")
        if len(rows) == 0:
            return np.empty((0, k), np.uint64), np.empty((0, k), np.float32)
        allowed = None if filter is None else self._filtered(filter)
        available = self._rows.count - int(np.count_nonzero(self._deleted)) if allowed is None else len(allowed)
        if bounded_k(k, available) < k:
            raise RuntimeError(_TOO_FEW.format(k=k))
        threads = num_threads if num_threads > 0 else self._threads
        index = self._rows.index(threads)
        found = index.search(rows, k, allow=self._alive_filter(index) if allowed is None else allowed, threads=threads)
        distances = found.distances
        return self._labels.array[found.ids], distances if self.space == "l2" else distances + np.float32(1)

    def _filtered(self, wanted: Callable[[int], bool]) -> np.ndarray:
        """The rows that are not deleted and wanted."""
        rows = np.flatnonzero(~self._deleted)
        labels = self._labels.array[rows].tolist()
        return rows[np.fromiter((bool(wanted(label)) for label in labels), bool, len(labels))]

    def _alive_filter(self, index: kith.Index) -> Any:
        """None while nothing is deleted; else a filter, made once for each state."""
        if not self._deleted.any():
            return None
        alive = self._alive
        if alive is None or alive[0] is not index:
            alive = self._alive = (index, index.filter(np.flatnonzero(~self._deleted)))
        return alive[1]

    # ---- Files

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        self._started()
        header = {"kind": "hnswlib", "version": 1, "type": type(self).__name__, "space": self.space, "dim": self.dim,
                  "max_elements": self._max, **self._more()}
        return header, {"vectors": self._rows.array(), "labels": self._labels.array, "deleted": self._deleted}

    def _more(self) -> dict[str, Any]:
        return {}

    def _restore(self, header: dict[str, Any], arrays: dict[str, np.ndarray], what: str) -> None:
        if (header.get("type"), header.get("space"), header.get("dim")) != (type(self).__name__, self.space, self.dim):
            raise RuntimeError(f"{what}: holds {header.get('type')}(space={header.get('space')!r}, "
                               f"dim={header.get('dim')}), not {type(self).__name__}(space={self.space!r}, "
                               f"dim={self.dim})")
        try:
            vectors, labels, deleted = arrays["vectors"], arrays["labels"], arrays["deleted"]
            if vectors.shape != (len(labels), self.dim) or deleted.shape != labels.shape or \
                    (labels.dtype, deleted.dtype) != (np.uint64, bool) or len(np.unique(labels)) != len(labels):
                raise ValueError("vectors, labels and marks do not go together")
            check_finite(vectors)
            limit = int(header["max_elements"])
        except (KeyError, ValueError, TypeError) as error:
            raise FormatError(f"{what}: is damaged: {error!r}") from None
        self._clear()
        self._rows.add(vectors)
        self._labels.append(labels)
        self._deleted, self._max = deleted, limit

    def save_index(self, path_to_index: str | os.PathLike[str]) -> None:
        """Write everything to a file of this module's own format, which hnswlib cannot read. It appears whole or not at
        all. RuntimeError where the system refuses."""
        try:
            write_archive(path_to_index, *self._state())
        except OSError as error:
            raise RuntimeError(f"Cannot open file {os.fspath(path_to_index)}: {error.strerror}") from error

    def _load(self, path: str | os.PathLike[str], max_elements: int) -> None:
        try:
            header, arrays = read_archive(path, "hnswlib")
        except OSError as error:
            raise RuntimeError(f"Cannot open file {os.fspath(path)}: {error.strerror}") from error
        self._restore(header, arrays, os.fspath(path))
        if max_elements >= max(1, self._rows.count):
            self._max = int(max_elements)

    def __reduce__(self) -> Any:
        if self._max is None:
            return type(self), (self.space, self.dim)
        return _unpickled, (type(self), self.space, self.dim, to_bytes(*self._state()), self._kept())

    def _kept(self) -> dict[str, Any]:
        return {"_threads": self._threads}


def _without_repeats(labels: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels in their order, each once, with the last vector of each."""
    unique, last = np.unique(labels[::-1], return_index=True)
    if len(unique) == len(labels):
        return labels, vectors
    rows = np.sort(len(labels) - 1 - last)
    return labels[rows], vectors[rows]


def _as_labels(labels: np.ndarray) -> np.ndarray:
    if labels.dtype.kind not in "iu":
        if labels.dtype.kind != "f" or not np.array_equal(labels, np.floor(labels)):
            raise RuntimeError(f"labels of type {labels.dtype}: whole numbers were expected")
    if labels.size and labels.min() < 0:
        raise OverflowError(f"label {labels.min()} is negative; labels are unsigned 64-bit numbers")
    return labels.astype(np.uint64)


def _unpickled(kind: type[_Base], space: str, dim: int, state: bytes, kept: dict[str, Any]) -> _Base:
    index = kind(space, dim)
    header, arrays = read_archive(io.BytesIO(state), "hnswlib")
    index._restore(header, arrays, "(pickle)")
    index.__dict__.update(kept)
    return index


class Index(_Base):
    """hnswlib.Index: elements with labels, which may be marked deleted, updated and asked for.

    space, dim                  as given
    ef, M, ef_construction      kept; nothing depends on them
    max_elements, element_count capacity, and elements there, deleted ones included
    num_threads                 threads of queries and builds
    """

    def __init__(self, space: str, dim: int) -> None:
        super().__init__(space, dim)
        self.ef, self.M, self.ef_construction = 10, 0, 0
        self._replaces = False

    @property
    def max_elements(self) -> int:
        return self._max or 0

    @property
    def element_count(self) -> int:
        return self._rows.count

    def init_index(self, max_elements: int, M: int = 16, ef_construction: int = 200, random_seed: int = 100,
                   allow_replace_deleted: bool = False) -> None:
        """Begin an empty index for up to max_elements. RuntimeError when called again."""
        self._begin(max_elements)
        self.M, self.ef_construction, self._replaces = int(M), int(ef_construction), bool(allow_replace_deleted)

    def set_ef(self, ef: int) -> None:
        """Kept in `ef`. Answers are exact, which is what any ef asks for at most."""
        self.ef = int(ef)

    def add_items(self, data: Any, ids: Any = None, num_threads: int = -1, replace_deleted: bool = False) -> None:
        """Copy data, (n, dim) or (dim,), under labels `ids`, or under the numbers that follow element_count. A label
        that is there gets the new vector, and is no longer deleted. replace_deleted: new labels take the places of
        deleted elements first. RuntimeError beyond max_elements and for shapes that do not fit; then nothing is
        added."""
        self._started()
        vectors = self._vectors(data, "vectors")
        labels = self._labels_of(ids, len(vectors))
        if replace_deleted:
            if not self._replaces:
                raise RuntimeError("Replacement of deleted elements is disabled in constructor")
            self._reuse(labels)
        if len(vectors):
            self._insert(vectors, labels)

    def _reuse(self, labels: np.ndarray) -> None:
        """Give the rows of deleted elements to labels that are new; _insert then replaces their vectors."""
        fresh = np.unique(labels[self._labels.rows(labels) < 0])
        for row, label in zip(np.flatnonzero(self._deleted).tolist(), fresh.tolist()):
            self._labels.rename(row, label)

    def mark_deleted(self, label: int) -> None:
        """Leave an element out of all answers. RuntimeError if there is none, or it is deleted."""
        row = self._row(label)
        if self._deleted[row]:
            raise RuntimeError("The requested to delete element is already deleted")
        self._deleted[row] = True
        self._alive = None

    def unmark_deleted(self, label: int) -> None:
        """Take mark_deleted() back. RuntimeError if the element is not deleted."""
        row = self._row(label)
        if not self._deleted[row]:
            raise RuntimeError("The requested to undelete element is not deleted")
        self._deleted[row] = False
        self._alive = None

    def _row(self, label: int) -> int:
        self._started()
        row = int(self._labels.rows(_as_labels(np.asarray([label])))[0])
        if row < 0:
            raise RuntimeError(f"Label not found: {label}")
        return row

    def get_items(self, ids: Any = None, return_type: str = "numpy") -> np.ndarray | list[list[float]]:
        """The vectors of labels `ids`, (n, dim) float32, or lists with return_type="list"; of length one in cosine
        space. RuntimeError for labels that are not there, or deleted."""
        if return_type not in ("numpy", "list"):
            raise ValueError('return_type should be "numpy" or "list"')
        self._started()
        labels = np.asarray([] if ids is None else as_given(ids, "labels"))
        labels = _as_labels(labels) if labels.size else labels.astype(np.uint64)
        if labels.ndim != 1:
            raise ValueError(f"labels of shape {labels.shape}; one dimension was expected")
        rows = self._labels.rows(labels)
        gone = (rows < 0) | self._deleted[rows] if self._rows.count else rows < 0
        if gone.any():
            raise RuntimeError(f"Label not found: {labels[int(np.argmax(gone))]}")
        items = self._rows.take(rows)
        return items.tolist() if return_type == "list" else items

    def get_ids_list(self) -> list[int]:
        """The labels of all elements, deleted ones included, in the order of addition."""
        return self._labels.array.tolist()

    def resize_index(self, new_size: int) -> None:
        """Set max_elements. RuntimeError below element_count."""
        self._started()
        if new_size < self._rows.count:
            raise RuntimeError("Cannot resize, max element is less than the current number of elements")
        self._max = int(new_size)

    def load_index(self, path_to_index: str | os.PathLike[str], max_elements: int = 0,
                   allow_replace_deleted: bool = False) -> None:
        """Replace everything by what save_index() wrote. max_elements: the new capacity; 0, or fewer than there are:
        the old one. RuntimeError where the system refuses or the file is of another space or dim; kith.FormatError for
        files of another kind, hnswlib's own among them."""
        self._load(path_to_index, max_elements)
        self._replaces = bool(allow_replace_deleted)

    def index_file_size(self) -> int:
        """Bytes that save_index() writes."""
        return len(to_bytes(*self._state()))

    def _more(self) -> dict[str, Any]:
        return {"M": self.M, "ef_construction": self.ef_construction, "replaces": self._replaces}

    def _restore(self, header: dict[str, Any], arrays: dict[str, np.ndarray], what: str) -> None:
        super()._restore(header, arrays, what)
        self.M, self.ef_construction = int(header.get("M", 0)), int(header.get("ef_construction", 0))
        self._replaces = bool(header.get("replaces", False))

    def _kept(self) -> dict[str, Any]:
        return {**super()._kept(), "ef": self.ef}


class BFIndex(_Base):
    """hnswlib.BFIndex: the exact index of hnswlib itself."""

    def init_index(self, max_elements: int) -> None:
        """Begin an empty index for up to max_elements. RuntimeError when called again."""
        self._begin(max_elements)

    def add_items(self, data: Any, ids: Any = None) -> None:
        """See Index.add_items."""
        self._started()
        vectors = self._vectors(data, "vectors")
        labels = self._labels_of(ids, len(vectors))
        if len(vectors):
            self._insert(vectors, labels)

    def delete_vector(self, label: int) -> None:
        """Drop an element, if it is there."""
        self._started()
        row = int(self._labels.rows(_as_labels(np.asarray([label])))[0])
        if row < 0:
            return
        keep = np.arange(self._rows.count) != row
        self._rows.keep(keep)
        self._labels.replace(self._labels.array[keep])
        self._deleted = self._deleted[keep]

    def load_index(self, path_to_index: str | os.PathLike[str], max_elements: int = 0) -> None:
        """See Index.load_index."""
        self._load(path_to_index, max_elements)
