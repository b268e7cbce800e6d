# SPDX-License-Identifier: Apache-2.0
"""The names and conventions of Faiss over kith: `import kith.compat.faiss as faiss`.

IndexIVFFlat and IndexIVFPQ have lists, of which a search looks at nprobe. Everything else is exact: IndexHNSWFlat takes
its parameters, keeps them to be read back, and answers as IndexFlat does. Vectors are float32; ids int64, -1 where
there are fewer than k; distances are squared for METRIC_L2 (ascending) and products for METRIC_INNER_PRODUCT
(descending), with the largest float, or the smallest, beside -1. Wrong shapes raise AssertionError or ValueError and
wrong states RuntimeError, as in Faiss; values that kith refuses (NaN, infinity) raise kith.DataError.

The kith index is built at the first search after a change: see docs/python-compat.md.

>>> import numpy as np
>>> from kith.compat import faiss
>>> index = faiss.index_factory(2, "IVF1,Flat")
>>> x = np.array([[0, 0], [3, 4], [6, 8]], "float32")
>>> index.train(x); index.add(x)
>>> D, I = index.search(x[:1], 2)
>>> I.tolist(), D.tolist()
([[0, 1]], [[0.0, 25.0]])
"""
from __future__ import annotations

import io
import os
import re
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np

import kith
from kith import FormatError, UnsupportedError

from ._rows import Rows, as_given, bounded_k, check_finite, read_archive, to_bytes, write_archive
from ._selectors import (IDSelector, IDSelectorArray, IDSelectorBatch, IDSelectorNot, IDSelectorRange, SearchParameters,
                         SearchParametersHNSW, SearchParametersIVF)

__all__ = [
    "METRIC_INNER_PRODUCT", "METRIC_L1", "METRIC_L2", "METRIC_Linf", "IDSelector", "IDSelectorArray", "IDSelectorBatch",
    "IDSelectorNot", "IDSelectorRange", "Index", "IndexFlat", "IndexFlatIP", "IndexFlatL2", "IndexHNSWFlat",
    "IndexIDMap", "IndexIDMap2", "IndexIVF", "IndexIVFFlat", "IndexIVFPQ", "ParameterSpace", "SearchParameters",
    "SearchParametersHNSW", "SearchParametersIVF", "deserialize_index", "extract_index_ivf", "index_factory", "knn",
    "normalize_L2", "omp_get_max_threads", "omp_set_num_threads", "read_index", "serialize_index", "write_index"]

METRIC_INNER_PRODUCT, METRIC_L2, METRIC_L1, METRIC_Linf = 0, 1, 2, 3

_WORDS: dict[int, Literal["l2", "ip"]] = {METRIC_L2: "l2", METRIC_INNER_PRODUCT: "ip"}
_FLOAT_MAX = np.finfo(np.float32).max
_LISTS_MAX = 65536  # KITH_LISTS_MAX
_threads: int | None = None


# ---- Threads and vectors ---------------------------------------------------------------------------------------------


def omp_set_num_threads(n: int) -> None:
    """Threads of the searches and builds of this module. There is no OpenMP behind it."""
    global _threads
    if n < 1:
        raise ValueError(f"omp_set_num_threads: {n} threads; at least 1 was expected")
    _threads = int(n)


def omp_get_max_threads() -> int:
    return _threads if _threads is not None else kith.get_threads()


def normalize_L2(x: np.ndarray) -> None:
    """Divide each row of x, (n, d) float32 in C order, by its norm, in place. Zero rows stay."""
    if not isinstance(x, np.ndarray) or x.dtype != np.float32 or x.ndim != 2 or not x.flags.c_contiguous:
        raise TypeError("normalize_L2: a two-dimensional float32 array in C order was expected")
    as_given(x, "normalize_L2")
    norms = np.sqrt(np.einsum("ij,ij->i", x, x))
    norms[norms == 0] = 1
    x /= norms[:, None]


def _matrix(x: Any, d: int) -> np.ndarray:
    """(n, d) float32, or the error that Faiss's wrapper gives."""
    x = np.ascontiguousarray(as_given(x, "vectors"), np.float32)
    if x.ndim != 2:
        raise ValueError(f"the vectors have the shape {x.shape}; (n, {d}) was expected")
    assert x.shape[1] == d, f"the vectors have {x.shape[1]} elements; the index has d = {d}"
    return x


# ---- Indexes ---------------------------------------------------------------------------------------------------------


class Index:
    """What all indexes have in common.

    d             elements of a vector
    ntotal        vectors held
    metric_type   METRIC_L2 or METRIC_INNER_PRODUCT
    is_trained    whether add() may be called
    """

    _takes_ids = False
    _kept: tuple[str, ...] = ()  # constructor's parameters beside d and metric, for files

    def __init__(self, d: int, metric: int = METRIC_L2) -> None:
        if metric not in _WORDS:
            raise UnsupportedError(f"{type(self).__name__}: metric {metric} is not offered; METRIC_L2 and "
                                   "METRIC_INNER_PRODUCT are")
        if d < 1:
            raise ValueError(f"{type(self).__name__}: d is {d}; at least 1 was expected")
        self.d, self.metric_type, self.is_trained, self.verbose = int(d), int(metric), True, False
        self._rows = Rows(self.d, _WORDS[metric], self._lists())
        self._ids: np.ndarray | None = None  # None: the row numbers

    def _lists(self) -> int | None:
        """Lists of the kith index; None: kith's choice."""
        return None

    def _how(self, index: kith.Index, params: SearchParameters | None) -> dict[str, Any]:
        """Keywords of kith.Index.search that make it less than exact."""
        return {}

    @property
    def ntotal(self) -> int:
        return self._rows.count

    def train(self, x: Any) -> None:
        """Look at x, (n, d): nothing is learned, as nothing needs to be. Types that must be trained in Faiss must be
        here."""
        _matrix(x, self.d)
        self.is_trained = True

    def add(self, x: Any) -> None:
        """Copy x, (n, d). Row i gets the id ntotal + i. RuntimeError before train(); kith.DataError for NaN."""
        self._append(_matrix(x, self.d), None)

    def add_with_ids(self, x: Any, ids: Any) -> None:
        """Copy x, (n, d), with n int64 ids. RuntimeError for types without ids: wrap them in IndexIDMap."""
        if not self._takes_ids:
            raise RuntimeError(f"add_with_ids not implemented for {type(self).__name__}: use IndexIDMap")
        x = _matrix(x, self.d)
        self._append(x, _ids_of(ids, len(x)))

    def _append(self, x: np.ndarray, ids: np.ndarray | None) -> None:
        if not self.is_trained:
            raise RuntimeError(f"{type(self).__name__}: 'is_trained' failed: call train() before add()")
        check_finite(x)
        if ids is not None or self._ids is not None:
            before = self.ntotal
            new = np.arange(before, before + len(x)) if ids is None else ids
            self._ids = np.concatenate([self._all_ids(), new])  # first: a search meanwhile finds an id for each row
        self._rows.add(x)

    def search(self, x: Any, k: int, *, params: SearchParameters | None = None, D: np.ndarray | None = None,
               I: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:  # noqa: E741
        """The k nearest of each row of x, (n, d): D (n, k) float32, I (n, k) int64."""
        x = self._queries(x)
        assert k > 0, f"k is {k}; at least 1 was expected"
        D = _output(D, (len(x), k), np.float32, "D")
        I = _output(I, (len(x), k), np.int64, "I")  # noqa: E741
        sign = 1 if self.metric_type == METRIC_L2 else -1
        D[...], I[...] = sign * _FLOAT_MAX, -1
        asked = bounded_k(k, self.ntotal)
        allow = self._allowed(params)
        if asked == 0 or len(x) == 0 or (allow is not None and len(allow) == 0):
            return D, I
        index = self._rows.index(_threads)
        found = index.search(x, asked, allow=allow, threads=_threads, **self._how(index, params))
        I[:, :asked] = self._outer(found.ids)
        np.copyto(D[:, :asked], sign * found.distances, where=found.ids >= 0)
        return D, I

    def range_search(self, x: Any, thresh: float, *,
                     params: SearchParameters | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All vectors nearer than thresh (METRIC_L2: squared distance below it; METRIC_INNER_PRODUCT: product above
        it): lims (n + 1), D, I. Query i has the entries lims[i] to lims[i + 1], the nearest first."""
        x = self._queries(x)
        allow = self._allowed(params)
        sign = 1 if self.metric_type == METRIC_L2 else -1
        if self.ntotal == 0 or len(x) == 0 or (allow is not None and len(allow) == 0):
            return np.zeros(len(x) + 1, np.uint64), np.empty(0, np.float32), np.empty(0, np.int64)
        # kith includes the radius, Faiss does not.
        radius = float(np.nextafter(np.float32(sign * thresh), np.float32(-np.inf)))
        found = self._rows.index(_threads).range_search(x, radius, allow=allow, threads=_threads)
        return found.offsets.astype(np.uint64), sign * found.distances, self._outer(found.ids)

    def assign(self, x: Any, k: int = 1) -> np.ndarray:
        """The ids that search(x, k) gives."""
        return self.search(x, k)[1]

    def _queries(self, x: Any) -> np.ndarray:
        x = _matrix(x, self.d)
        if not self.is_trained:
            raise RuntimeError(f"{type(self).__name__}: '!(is_trained)' failed: call train() before search()")
        check_finite(x, "queries")
        return x

    def _outer(self, rows: np.ndarray) -> np.ndarray:
        """Ids from row numbers; -1 stays -1."""
        if self._ids is None:
            return rows.astype(np.int64, copy=False)
        return np.where(rows < 0, -1, self._ids[rows])

    def _all_ids(self) -> np.ndarray:
        return np.arange(self.ntotal) if self._ids is None else self._ids

    def _allowed(self, params: SearchParameters | None) -> np.ndarray | None:
        sel = getattr(params, "sel", None)
        return None if sel is None else np.flatnonzero(sel.matches(self._all_ids()))

    def reset(self) -> None:
        """Drop all vectors. Training stays."""
        self._rows.clear()
        self._ids = None

    def remove_ids(self, ids: Any) -> int:
        """Drop the vectors with these ids (an array or an IDSelector); how many there were. Where ids are row numbers,
        the later ones move up."""
        sel = ids if isinstance(ids, IDSelector) else IDSelectorBatch(ids)
        drop = sel.matches(self._all_ids())
        removed = int(drop.sum())
        if removed:
            self._rows.keep(~drop)
            self._ids = None if self._ids is None else self._ids[~drop]
        return removed

    def _row_of(self, key: int) -> int:
        if self._ids is None:
            if 0 <= key < self.ntotal:
                return int(key)
        else:
            rows = np.flatnonzero(self._ids == key)
            if len(rows):
                return int(rows[0])
        raise RuntimeError(f"reconstruct: the index has no vector with id {key}; ntotal is {self.ntotal}")

    def reconstruct(self, key: int) -> np.ndarray:
        """The vector with that id, (d,). RuntimeError where there is none."""
        return self._rows.take([self._row_of(key)])[0]

    def reconstruct_batch(self, keys: Any) -> np.ndarray:
        """The vectors with these ids, (n, d)."""
        keys = np.asarray(as_given(keys, "keys"), np.int64)
        if len(keys) == 0:
            return np.empty((0, self.d), np.float32)
        return self._rows.take([self._row_of(key) for key in keys.tolist()])

    def reconstruct_n(self, n0: int = 0, ni: int = -1) -> np.ndarray:
        """The vectors of ni ids from n0 on; ni = -1: all that follow."""
        ni = self.ntotal - n0 if ni == -1 else ni
        return self.reconstruct_batch(np.arange(n0, n0 + ni))

    def search_and_reconstruct(self, x: Any, k: int, *,
                               params: SearchParameters | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """D and I of search(), and the vectors found, (n, k, d); NaN beside -1."""
        D, I = self.search(x, k, params=params)  # noqa: E741
        found = np.full((*I.shape, self.d), np.nan, np.float32)
        found[I >= 0] = self.reconstruct_batch(I[I >= 0])
        return D, I, found

    def _header(self) -> dict[str, Any]:
        return {"type": type(self).__name__, "d": self.d, "metric": self.metric_type, "trained": self.is_trained,
                "kept": {name: getattr(self, name) for name in self._kept}}

    def __reduce__(self) -> Any:
        return deserialize_index, (serialize_index(self),)


def _ids_of(ids: Any, count: int) -> np.ndarray:
    ids = np.ascontiguousarray(as_given(ids, "ids"), np.int64)
    assert ids.shape == (count,), "not same nb of vectors as ids"
    return ids


def _output(given: np.ndarray | None, shape: tuple[int, int], dtype: Any, name: str) -> np.ndarray:
    if given is None:
        return np.empty(shape, dtype)
    assert given.shape == shape and given.dtype == dtype, f"{name}: {shape} of {np.dtype(dtype)} was expected"
    return given


class IndexFlat(Index):
    """A plain list of vectors."""


class IndexFlatL2(IndexFlat):
    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_L2)


class IndexFlatIP(IndexFlat):
    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_INNER_PRODUCT)


class IndexHNSWFlat(Index):
    """Exact here: there is no graph, so that no efSearch is too small. hnsw.efSearch and efConstruction are kept."""

    _kept = ("M", "efSearch", "efConstruction")

    def __init__(self, d: int, M: int = 32, metric: int = METRIC_L2) -> None:
        super().__init__(d, metric)
        self.M = int(M)
        self.hnsw = SimpleNamespace(efSearch=16, efConstruction=40)

    @property
    def efSearch(self) -> int:
        return self.hnsw.efSearch

    @property
    def efConstruction(self) -> int:
        return self.hnsw.efConstruction

    def remove_ids(self, ids: Any) -> int:
        raise RuntimeError("remove_ids not implemented for IndexHNSWFlat")


class IndexIVF(Index):
    """nlist lists of near vectors, of which a search looks at the nprobe that are nearest to the query. kith makes them
    from all vectors that were added, at the first search: train() must be called, with at least nlist vectors, and
    learns nothing. Where nprobe lists hold fewer than k vectors, more are looked at. range_search() is exact."""

    _takes_ids = True
    _kept: tuple[str, ...] = ("nlist", "nprobe")
    _scan: dict[str, Any] = {"scan_code": "levels"}  # what the lists hold is found exactly

    def __init__(self, quantizer: Any, d: int, nlist: int, metric: int = METRIC_L2) -> None:
        if nlist < 1:
            raise RuntimeError(f"{type(self).__name__}: nlist is {nlist}; at least 1 was expected")
        self.nlist = int(nlist)
        super().__init__(d, metric)
        self.quantizer, self.nprobe, self.is_trained = quantizer, 1, False

    def _lists(self) -> int:
        return min(self.nlist, _LISTS_MAX)

    def _how(self, index: kith.Index, params: SearchParameters | None) -> dict[str, Any]:
        nprobe = int(getattr(params, "nprobe", self.nprobe))
        if nprobe < 1:
            raise RuntimeError(f"nprobe is {nprobe}; at least 1 was expected")
        return {} if nprobe >= index.info["lists"] else {"nprobe": nprobe, **self._scan}

    def train(self, x: Any) -> None:
        x = _matrix(x, self.d)
        if len(x) < self.nlist:
            raise RuntimeError(f"Number of training points ({len(x)}) should be at least as large as number of "
                               f"clusters ({self.nlist})")
        check_finite(x, "training vectors")
        self.is_trained = True

    def make_direct_map(self, new_maintain_direct_map: bool = True) -> None:
        """Nothing to do: reconstruct() always works."""

    set_direct_map_type = make_direct_map


class IndexIVFFlat(IndexIVF):
    """See IndexIVF."""


class IndexIVFPQ(IndexIVF):
    """See IndexIVF. Codes are kith's own, of 8 bits an element, and what they rank first gets its true distance: M and
    nbits are kept, and reconstruct() gives the vector itself."""

    _kept = ("nlist", "nprobe", "M", "nbits")
    _scan = {"scan_code": "int8"}

    def __init__(self, quantizer: Any, d: int, nlist: int, M: int, nbits_per_idx: int = 8,
                 metric: int = METRIC_L2) -> None:
        super().__init__(quantizer, d, nlist, metric)
        if M < 1 or d % M:
            raise RuntimeError(f"The dimension of the vector (d = {d}) should be a multiple of the number of "
                               f"subquantizers (M = {M})")
        self.M, self.nbits = int(M), int(nbits_per_idx)


class IndexIDMap(Index):
    """Gives vectors of an index without ids the ids of the caller: any int64, repeated ones too."""

    _takes_ids = True

    def __init__(self, index: Index) -> None:
        if index.ntotal:
            raise RuntimeError("'!(index_->ntotal == 0)' failed: index must be empty on input")
        super().__init__(index.d, index.metric_type)
        self.index, self._rows, self.is_trained = index, index._rows, index.is_trained
        self._ids = np.empty(0, np.int64)

    def _how(self, index: kith.Index, params: SearchParameters | None) -> dict[str, Any]:
        return self.index._how(index, params)

    @property
    def id_map(self) -> np.ndarray:
        """The id of each row."""
        return self._all_ids()

    def train(self, x: Any) -> None:
        self.index.train(x)
        self.is_trained = self.index.is_trained

    def add(self, x: Any) -> None:
        raise RuntimeError("add does not make sense with IndexIDMap, use add_with_ids")

    def reset(self) -> None:
        super().reset()
        self._ids = np.empty(0, np.int64)


class IndexIDMap2(IndexIDMap):
    """IndexIDMap; in Faiss this one reconstructs, here both do."""


# ---- From a description, or a name -----------------------------------------------------------------------------------


_FACTORY = re.compile(r"(?:(?P<flat>Flat)|HNSW(?P<M>\d+)?(?:,Flat)?|"
                      r"IVF(?P<nlist>\d+)(?:_HNSW\d+)?,(?:(?P<ivfflat>Flat)|PQ(?P<m>\d+)(?:x(?P<nbits>\d+))?(?:np)?))")


def index_factory(d: int, description: str, metric: int = METRIC_L2) -> Index:
    """The index of a description: "Flat", "HNSW32", "IVF100,Flat", "IVF100,PQ8x8" (also "IVF100_HNSW32,..."), with
    "IDMap," or "IDMap2," before it or after. RuntimeError for others."""
    inner, wrapper = description.strip(), None
    for word, kind in (("IDMap2", IndexIDMap2), ("IDMap", IndexIDMap)):
        if inner.startswith(word + ","):
            inner, wrapper = inner[len(word) + 1:], kind
        elif inner.endswith("," + word):
            inner, wrapper = inner[:-len(word) - 1], kind
    parts = _FACTORY.fullmatch(inner)
    if not parts:
        raise RuntimeError(f"could not parse index string {description}: offered are Flat, HNSW<M>, IVF<n>,Flat and "
                           "IVF<n>,PQ<m>, with IDMap or IDMap2")
    if parts["flat"]:
        index: Index = IndexFlat(d, metric)
    elif parts["nlist"]:
        nlist, quantizer = int(parts["nlist"]), IndexFlat(d, metric)
        index = (IndexIVFFlat(quantizer, d, nlist, metric) if parts["ivfflat"] else
                 IndexIVFPQ(quantizer, d, nlist, int(parts["m"]), int(parts["nbits"] or 8), metric))
    else:
        index = IndexHNSWFlat(d, int(parts["M"] or 32), metric)
    return wrapper(index) if wrapper else index


class ParameterSpace:
    """Sets parameters by name, as "nprobe=16,efSearch=64". nprobe counts; efSearch is kept, and changes nothing."""

    def set_index_parameter(self, index: Index, name: str, value: float) -> None:
        index = index.index if isinstance(index, IndexIDMap) else index
        if name in ("efSearch", "efConstruction") and isinstance(index, IndexHNSWFlat):
            setattr(index.hnsw, name, int(value))
        elif name in ("nprobe", "verbose") and hasattr(index, name):
            setattr(index, name, int(value))
        else:
            raise RuntimeError(f"ParameterSpace::set_index_parameter: could not set parameter {name}")

    def set_index_parameters(self, index: Index, text: str) -> None:
        for part in filter(None, text.split(",")):
            name, mark, value = part.partition("=")
            if not mark:
                raise RuntimeError(f"could not parse parameters {text}")
            self.set_index_parameter(index, name, float(value))


def extract_index_ivf(index: Index) -> IndexIVF:
    """The IndexIVF inside an index. RuntimeError where there is none."""
    index = index.index if isinstance(index, IndexIDMap) else index
    if not isinstance(index, IndexIVF):
        raise RuntimeError(f"{type(index).__name__} is no IndexIVF")
    return index


def knn(xq: Any, xb: Any, k: int, metric: int = METRIC_L2) -> tuple[np.ndarray, np.ndarray]:
    """D and I of the k rows of xb, (n, d), nearest to each row of xq, (q, d)."""
    index = IndexFlat(np.shape(xb)[1], metric)
    index.add(xb)
    return index.search(xq, k)


# ---- Files -----------------------------------------------------------------------------------------------------------


def _parts(index: Index) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    header: dict[str, Any] = {"kind": "faiss", "version": 1, **index._header()}
    if isinstance(index, IndexIDMap):
        header["index"] = index.index._header()
    arrays = {"vectors": index._rows.array()}
    if index._ids is not None:
        arrays["ids"] = index._ids
    return header, arrays


def write_index(index: Index, path: str | os.PathLike[str]) -> None:
    """Write vectors, ids and parameters to a file of this module's own format, which Faiss cannot read. It appears
    whole or not at all. RuntimeError where the system refuses."""
    try:
        write_archive(path, *_parts(index))
    except OSError as error:
        raise RuntimeError(f"could not open {os.fspath(path)} for writing: {error.strerror}") from error


def read_index(path: str | os.PathLike[str]) -> Index:
    """Read what write_index() wrote. kith.FormatError for other files, Faiss's own among them; RuntimeError where the
    system refuses."""
    try:
        return _index_of(*read_archive(path, "faiss"), os.fspath(path))
    except OSError as error:
        raise RuntimeError(f"could not open {os.fspath(path)} for reading: {error.strerror}") from error


def serialize_index(index: Index) -> np.ndarray:
    """What write_index() writes, as uint8."""
    return np.frombuffer(to_bytes(*_parts(index)), np.uint8)


def deserialize_index(data: np.ndarray) -> Index:
    """The index of serialize_index()."""
    return _index_of(*read_archive(io.BytesIO(data.tobytes()), "faiss"), "(memory)")


_TYPES = {kind.__name__: kind for kind in (IndexFlat, IndexFlatL2, IndexFlatIP, IndexHNSWFlat, IndexIVFFlat, IndexIVFPQ,
                                           IndexIDMap, IndexIDMap2)}


def _index_of(header: dict[str, Any], arrays: dict[str, np.ndarray], what: str) -> Index:
    try:
        index = _made(header)
        vectors, ids = arrays["vectors"], arrays.get("ids")
        if vectors.shape != (len(vectors), index.d) or (ids is not None and ids.shape != (len(vectors),)):
            raise ValueError("vectors and ids do not go together")
        check_finite(vectors)
        index._rows.add(vectors)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise FormatError(f"{what}: is damaged: {error!r}") from None
    if ids is not None:
        index._ids = ids.astype(np.int64, copy=False)
    return index


def _made(header: dict[str, Any]) -> Index:
    """An empty index of the type and parameters in a header."""
    kind: Any = _TYPES[header["type"]]
    index: Any
    d, metric, kept = header["d"], header["metric"], header["kept"]
    if issubclass(kind, IndexIDMap):
        return kind(_made(header["index"]))
    if kind in (IndexFlatL2, IndexFlatIP):
        return kind(d)
    if kind is IndexFlat:
        return kind(d, metric)
    if kind is IndexHNSWFlat:
        index = kind(d, kept["M"], metric)
        index.hnsw = SimpleNamespace(efSearch=kept["efSearch"], efConstruction=kept["efConstruction"])
        return index
    quantizer = IndexFlat(d, metric)
    index = (kind(quantizer, d, kept["nlist"], kept["M"], kept["nbits"], metric) if kind is IndexIVFPQ else
             kind(quantizer, d, kept["nlist"], metric))
    index.nprobe, index.is_trained = kept["nprobe"], header["trained"]
    return index
