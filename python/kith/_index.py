# SPDX-License-Identifier: Apache-2.0
"""Index: an immutable file of vectors, opened by mapping it."""

from __future__ import annotations

import os
import weakref
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _files, _kith, _tune
from ._errors import ArgumentError
from ._filter import Filter, make_filter, ordered_ids
from ._options import build_options, device_code, leave_graph, resident_code, whole
from ._progress import Progress, Report
from ._result import RangeResult
from ._rows import make_reader

if TYPE_CHECKING:
    from ._join import JoinResult


class Index(_kith.Index):
    """Vectors of one dimension, and search among them. Made by :meth:`Index.build` or :func:`kith.open`.

    An index is immutable and safe to search from several threads. Close it with :meth:`close` or a ``with`` block, or
    let it be collected.

    >>> import numpy as np, kith
    >>> X = np.random.default_rng(7).standard_normal((1000, 16), dtype=np.float32)
    >>> with kith.Index.build(X) as index:
    ...     ids, distances = index.search(X[:2], k=3)
    >>> ids[:, 0].tolist(), distances[:, 0].tolist()
    ([0, 1], [0.0, 0.0])
    """

    __slots__ = ("_path", "_private", "build_report", "__weakref__")
    _path: str
    _private: weakref.finalize | None  # removes the private file; None: the file is the user's
    build_report: dict[str, Any] | None  # rows, dim, bytes and seconds of the build; None: opened

    @classmethod
    def build(cls, X: Any, ids: Any = None, *, metric: str | None = None, dtype: Any = None,
              path: str | os.PathLike[str] | None = None, names: Any = None, originals: bool = True,
              lists: int | str | None = None, code: str | None = None, first_level: bool | str | None = None,
              index: str | None = None, graph: bool = True, graph_degree: int | None = None,
              graph_bits: int | str | None = None, lean: bool = False, links: Index | None = None,
              hnsw_m: int | None = None, hnsw_ef: int | None = None, lsh_tables: int | None = None,
              lsh_functions: int | None = None, spill: bool = True, calibrate: bool = True,
              threads: int | None = None, memory: int | None = None, seed: int = 0,
              progress: bool | Report | None = None) -> Index:
        """Build an index from vectors, and open it.

        Parameters
        ----------
        X
            (n, d) vectors: an array of any strides, or anything that :func:`kith.read` takes (files, data frames,
            Arrow tables). float32, float16, bfloat16, int8 and uint8 are stored as they are; float64 and other
            integers become float32. bool arrays and ``dtype="b1"`` (uint8, d/8 to a row) are bits. Rows are streamed
            from where they lie: no second copy of X is made.
        ids
            n whole numbers from 0 to 2**64-2, or n strings, in the order of the rows; None: the row numbers. All
            different.
        metric
            ``"l2"`` (squared Euclidean; the default), ``"ip"`` (minus the inner product), ``"cosine"`` (1 - cosine);
            for bits ``"hamming"`` (their default) or ``"jaccard"``.
        dtype
            Stored type when it is not X's: ``"f16"`` or ``"bf16"`` rounds, and the rounded vectors are then what is
            searched exactly.
        path
            The index file. None: a private temporary file, which goes when the index is closed; see :meth:`save`.
        names
            n strings for people to read, or None.
        originals
            False: keep codes only. The file is smaller, and distances are estimates.
        lists
            Into how many lists of near vectors k-means parts the rows, for searches that look at some lists only; exact
            ones gain by them too. None, ``"auto"``: by the number of rows, one below some ten thousand. 1: none. At
            most 65,536; bits have one.
        code
            A second code beside int8 for approximate searches (``scan_code="second"``): ``"pq:MxB"`` or ``"opq:MxB"``
            (M sub-quantisers of B = 4 or 8 bits; M divides d), ``"rabitq:B"`` (B = 1 to 8 bits a dimension). Needs
            two lists or more, or ``index="pq"``. None: no second code.
        first_level
            Leading principal directions that are scanned before the full codes. True, False; None, ``"auto"``: where a
            sample says that it pays.
        index
            What there is for searches besides vectors and codes. None, ``"auto"``: lists by the number of rows, and a
            graph from 20,000 vectors on. ``"flat"``: neither. ``"ivf"``: lists. ``"graph"``: lists, and a graph.
            ``"hnsw"``: layers of graphs. ``"lsh"``: hash tables, of bits too. ``"pq"``: `code`, or one that is chosen,
            of all vectors in one list.
        graph
            False: no graph, however many vectors there are.
        graph_degree
            Neighbours of each vector in a graph: 32 (None), 48 or 64.
        graph_bits
            Bits of a dimension of an edge's code: 1, 2 or 4; None, ``"auto"``: as a sample says.
        lean
            True: a graph whose edges have no codes: a third of the memory, slower searches.
        links
            An open index of type ``"hnsw"`` of the same vectors: the graph is made of its links, and none are
            searched for.
        hnsw_m, hnsw_ef
            Edges that an insertion makes in each layer, 2 to 128 (None: 16), and among how many vectors it chooses
            them, `hnsw_m` to 10,000 (None: 200).
        lsh_tables, lsh_functions
            Hash tables, 1 to 1,024, and functions that make a key, 1 to 64. None: by the number of rows.
        spill
            False: no second lists, in which most vectors are coded once more so that approximate searches find as
            many in fewer lists. A smaller file.
        calibrate
            True: with lists, measure plans at the end, so that searches can be given a ``target_recall``; see
            :attr:`tuned`. False: leave it to :meth:`tune`.
        threads
            None: :func:`kith.get_threads`.
        memory
            Bytes of working memory besides ids; None: 1 GiB.
        seed
            Of the random rotation. Equal input, options and threads give equal files.
        progress
            None: a bar when somebody watches and it lasts. False: none. True: a bar. Or a function
            ``f(stage, done, total)``, which may return True to cancel.

        Raises
        ------
        DataError
            NaN, infinity, a norm beyond 2**62, a zero vector under cosine, a duplicate or negative id, no rows: the
            text names the row.
        ArgumentError, UnsupportedError, LimitError
            Options, shapes or types that do not fit.
        FormatError, MissingFileError, FileError, NoSpaceError
            Input that is malformed or missing; output that cannot be written. An old file at `path` stays as it was.
        CancelledError, KeyboardInterrupt
            `progress` asked to stop, or somebody pressed Ctrl-C.

        >>> kith.Index.build([[1, 2], [3, 4], [5, 6]], ids=["a", "b", "c"]).search([1, 2.5], k=2).ids.tolist()
        ['a', 'b']
        """
        if isinstance(X, np.ndarray) and X.dtype == np.bool_ and dtype is None:
            dtype = "b1"
        options = build_options({"metric": metric, "dtype": dtype, "originals": originals, "memory": memory,
                                 "lists": lists, "code": code, "first_level": first_level, "spill": spill,
                                 "index": index, "graph_degree": graph_degree, "graph_bits": graph_bits,
                                 "lean": lean, "hnsw_m": hnsw_m, "hnsw_ef": hnsw_ef, "lsh_tables": lsh_tables,
                                 "lsh_functions": lsh_functions,
                                 "calibrate": calibrate, "seed": seed,
                                 "threads": _kith.get_threads() if threads is None else threads})
        bits = options.get("dtype") == _kith.parse_dtype("b1")
        leave_graph(options, graph, bits, links is not None)
        with Progress(progress) as watcher:
            reader = make_reader(X, ids, names, "b1" if bits else None)
            if path is not None:
                report = _kith.build(reader, path, options, watcher.report, links)
                built = _open(cls, path)
            else:
                private = _files.new_private()
                try:
                    report = _kith.build(reader, private, options, watcher.report, links)
                    built = _open(cls, private, private=True)
                except BaseException:
                    _files.remove_private(private, os.getpid())
                    raise
        built.build_report = report
        return built

    # ---- Searching ---------------------------------------------------------------------------------------------------

    def range_search(self, Q: Any, radius: float, *, allow: Any = None, deny: Any = None, plan: str | None = None,
                     threads: int | None = None, timeout: float | None = None) -> RangeResult:
        """Find all stored vectors within `radius` of each query: distance <= radius, as float32.

        Q, allow, deny, plan, threads, timeout and errors are those of :meth:`search`. The radius counts in the index's
        metric; for ``l2`` it is a squared distance.

        >>> index = kith.Index.build([[0.0], [1.0], [2.0], [5.0]])
        >>> found = index.range_search([[1.0], [5.0]], 1.0)
        >>> [ids.tolist() for ids, distances in found]
        [[1, 0, 2], [3]]
        """
        offsets, ids, distances, rows, explain = self._range(Q, radius, allow=allow, deny=deny, plan=plan,
                                                             threads=threads, timeout=timeout)
        return RangeResult(offsets, ids, distances, rows, explain)

    def filter(self, ids: Any = None, *, deny: Any = None) -> Filter:
        """The set of ids that searches may return, to be used several times as ``allow=``.

        ids
            Numbers, or strings with string ids, in any order, a set too. None: all of them. Those that the index does
            not hold are counted in ``unknown``.
        deny
            Ids that are left out of these.

        TypeError for strings where the index's ids are numbers.

        >>> index = kith.Index.build([[0.0], [1.0], [2.0]])
        >>> odd = index.filter([1, 3])
        >>> odd, index.search([0.0], k=1, allow=odd).ids.tolist()
        (Filter(1 allowed, 1 unknown), [1])
        >>> index.search([0.0], k=3, allow=index.filter(deny=[0])).ids.tolist()
        [1, 2, -1]
        """
        return make_filter(self, ids, deny)

    def join(self, queries: Any = None, k: int = 10, *, out: str | os.PathLike[str] | None = None,
             target_recall: float | None = None, allow: Any = None, deny: Any = None, plan: str | None = None,
             nprobe: int | None = None, rerank: int | None = None, scan_code: str | None = None,
             effort: int | None = None, threads: int | None = None, memory: int | None = None, restart: bool = False,
             progress: bool | Report | None = None) -> JoinResult:
        """Find the k nearest stored vectors of all of many queries, streamed, into files: the nightly batch.

        Parameters
        ----------
        queries
            (q, d) vectors, as X of :meth:`build`: an array (a mapped one too), a path, a table, or a
            :func:`kith.read` of them with ids. None: a self-join, of every stored vector with the others, itself left
            out, in the order of :attr:`ids`.
        k
            1 to 10,000; one less in a self-join.
        out
            None: the answer is mapped from files that have no name. A path that ends in .ndjson or .jsonl: a line
            ``{"id": 7, "ids": [...], "distances": [...]}`` for each query. In .parquet or .pq: a table of columns id,
            ids and distances (needs pyarrow). Any other: a pair ``<out>.ids.npy`` (uint64, (q, k)) and
            ``<out>.distances.npy`` (float32), where a suffix .npy of `out` is dropped first; string ids as row
            numbers. Files appear when they are whole.
        target_recall, allow, deny, plan, nprobe, rerank, scan_code, effort
            As in :meth:`search`. None of them: exact.
        threads
            None: :func:`kith.get_threads`.
        memory
            Bytes of working memory; None: 256 MiB.
        restart
            True: forget what an interrupted join to `out` had done.
        progress
            As in :meth:`build`.

        A join that was interrupted, cancelled or killed leaves ``<out>.join`` and parts of files behind; the same call
        goes on from there, and writes what an undisturbed one would have. A Parquet file is written from a pair of
        arrays, ``<out>.arrays...``: interrupted in this last stage, the join begins anew.

        Raises
        ------
        DataError, ArgumentError, UnsupportedError
            As in :meth:`search`; the text names the row of a refused query. A self-join needs originals.
        NoSpaceError, FileError
            What was done is kept.
        BusyError
            Another process is at work on `out`.
        CancelledError, KeyboardInterrupt
            `progress` asked to stop, or somebody pressed Ctrl-C: what was done is kept.

        >>> index = kith.Index.build([[0.0], [1.0], [3.0], [7.0]])
        >>> ids, distances = index.join(k=2)
        >>> ids.tolist(), distances.tolist()
        ([[1, 2], [0, 2], [1, 0], [2, 1]], [[1.0, 9.0], [1.0, 4.0], [4.0, 9.0], [16.0, 36.0]])
        """
        from ._join import join

        self._check_open()
        return join(self, queries, out, (allow, deny), progress, {
            "k": k, "target_recall": target_recall, "plan": plan, "nprobe": nprobe, "rerank": rerank,
            "scan_code": scan_code, "effort": effort, "memory": memory, "restart": restart,
            "threads": _kith.get_threads() if threads is None else threads})

    # ---- Choosing plans ----------------------------------------------------------------------------------------------

    @property
    def tuned(self) -> np.ndarray:
        """The settings that calibration measured, those that nothing beats: a structured array with the fields plan,
        code ("" for plans without), k, batch, nprobe, rerank, recall, recall_error (the standard error of recall),
        query_seconds (on one thread) and effort. Empty without a calibration.

        >>> X = np.random.default_rng(5).standard_normal((3000, 16), dtype=np.float32)
        >>> tuned = kith.Index.build(X, lists=20).tuned
        >>> sorted(set(tuned["k"].tolist())), tuned.dtype.names[:3]
        ([1, 10, 100], ('plan', 'code', 'k'))
        """
        return _tune.tuned(self)

    def tune(self, queries: Any = None, *, most: int | None = None, seed: int = 0, threads: int | None = None,
             progress: bool | Report | None = None) -> Index:
        """Calibrate this index anew, as :func:`kith.tune` does with its file, and go on with the new one.

        Parameters and errors are those of :func:`kith.tune`; ArgumentError also when the file has been replaced since
        it was opened. Filters must be made anew. Returns the index.

        >>> X = np.random.default_rng(5).standard_normal((3000, 16), dtype=np.float32)
        >>> index = kith.Index.build(X, lists=20, calibrate=False)
        >>> len(index.tuned), len(index.tune(X[:200] + 0.1).tuned) > 0
        (0, True)
        """
        self._check_open()
        _tune.tune_open(self, self._path, queries,
                        {"most": most, "seed": seed, "threads": threads, "progress": progress})
        return self

    # ---- Looking at it -----------------------------------------------------------------------------------------------

    @property
    def path(self) -> str | None:
        """The index file; None while it is a private temporary one."""
        return None if self._private is not None else self._path

    @property
    def info(self) -> dict[str, Any]:
        """What the file says of itself: rows, dim, dtype, metric, ids ("row", "number" or "string"), names, originals,
        integer_codes, lists, list_rows_max (of the longest), first_level_dim, spilled_rows (vectors with a second
        list), format_version, file_bytes, file_hash, code_error, first_level_error, second_code (None without one),
        second_code_error, second_code_bytes, calibration (the number of settings in :attr:`tuned`; 0: none),
        near_duplicates (the share of the vectors that have another one very near, as calibration found), graph_degree
        (0: no graph), graph_bits (0 beside a degree: lean), hnsw_m, lsh_tables (0: none), hot_bytes (what ``copy_hot``
        of :func:`open` has copied so far), and sections (bytes by name)."""
        return self._info()

    @property
    def ids(self) -> np.ndarray:
        """All ids: (n,) int64 (uint64 where one is beyond it), ascending; string ids as an object array in input
        order."""
        rows = self._rows()
        return self._strings(rows) if self._info()["ids"] == "string" else rows

    def vector(self, id: int | str) -> np.ndarray:
        """The stored vector of an id: (d,) float32, or (d/8,) uint8 for bits. MissingIdError; UnsupportedError without
        originals."""
        return self._vector(id)

    def vectors(self, ids: Any) -> np.ndarray:
        """The stored vectors of (m,) ids, in any order, the same ones several times too: (m, d) float32, or (m, d/8)
        uint8 for bits. Errors as in :meth:`vector`; they name the row of an id that is not there.

        >>> kith.Index.build([[0.0], [1.0], [2.0]], ids=[7, 8, 9]).vectors([9, 7, 9]).tolist()
        [[2.0], [0.0], [2.0]]
        """
        return self._vectors(ordered_ids(ids))

    def name(self, id: int | str) -> str:
        """The name that was given for an id. MissingIdError; UnsupportedError without names."""
        return self._name(id)

    def verify(self, *, threads: int | None = None, progress: bool | Report | None = None) -> None:
        """Check every byte of the index file against its checksums, then its contents: CorruptError names the file and
        section."""
        self._check_open()
        verify(self._path, threads=threads, progress=progress)

    # ---- Keeping it --------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> Index:
        """Give the index file a name: whole or not at all, and synced. A file that bears the name is replaced.

        A private index is linked where `path` is on its file system (nothing is copied), and has the path from then
        on. An index that has a path is copied, and keeps its own. Returns the index. FileError, NoSpaceError.
        """
        self._check_open()
        target = os.path.abspath(os.fspath(path))
        private = self._private
        if private is None and os.path.exists(target) and os.path.samefile(target, self._path):
            return self
        _files.give_name(self._path, target, private is not None)
        if private is not None:
            self._path, self._private = target, None
            private()  # the old name goes; the mapping does not need it
        return self

    def close(self) -> None:
        """Let go of the file. Running searches finish first; later ones raise ArgumentError. Closing twice is fine."""
        self._close()
        if self._private is not None:
            self._private()

    def _check_open(self) -> None:
        if self.closed:
            raise ArgumentError("the index is closed")

    def __enter__(self) -> Index:
        self._check_open()
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __reduce__(self) -> tuple:
        self._check_open()
        if self._private is not None:
            raise ArgumentError("an index in a private file cannot be pickled: save() it first, then its path is")
        return open, (self._path,)

    def __repr__(self) -> str:
        if self.closed:
            return "<kith.Index, closed>"
        where = "in a private file" if self._private is not None else f"at {self._path}"
        return f"<kith.Index: {len(self):,} x {self.dim} {self.dtype}, {self.metric}, {where}>"

    def _repr_html_(self) -> str:
        if self.closed:
            return f"<p>{escape(repr(self))}</p>"
        info = self._info()
        lists = f"{info['lists']:,}" if info["lists"] > 1 else "none"
        shown = {"vectors": f"{info['rows']:,}", "dimensions": info["dim"], "dtype": info["dtype"],
                 "metric": info["metric"], "ids": info["ids"],
                 "exact": "yes" if info["originals"] else "no: codes only", "lists": lists,
                 "second code": info["second_code"] or "none",
                 "calibration": f"{info['calibration']} settings" if info["calibration"] else "none",
                 "file": self.path or "private", "bytes": f"{info['file_bytes']:,}"}
        lines = "".join(f"<tr><th>{escape(key)}</th><td>{escape(str(value))}</td></tr>" for key, value in shown.items())
        return f"<table><caption>kith.Index</caption><tbody>{lines}</tbody></table>"


def _open(cls: type[Index], path: str | os.PathLike[str], populate: bool = False, private: bool = False,
          copy_hot: bool = False, resident: str = "none", device: str = "cpu", device_bytes: int = 0) -> Index:
    index = cls(path, populate, copy_hot, resident_code(resident), device_code(device),
                whole(device_bytes, "device_bytes", 0, 2**64 - 1))
    index._path = os.path.abspath(os.fspath(path))
    index._private = weakref.finalize(index, _files.remove_private, index._path, os.getpid()) if private else None
    index.build_report = None
    return index


def open(path: str | os.PathLike[str], *, verify: bool = False, populate: bool = False,
         copy_hot: bool = False, resident: str = "none", device: str = "cpu", device_bytes: int = 0) -> Index:
    """Open an index file by mapping it, whatever its size. The file must not be changed while it is open.

    verify
        True: check every byte first, as :func:`kith.verify` does.
    populate
        True: ask the system to read the file into memory now.
    copy_hot
        True: copy what searches of a graph read most into memory that the system can back with huge pages, in the
        background. ``info["hot_bytes"]`` says how much is there.
    resident
        What is copied so: ``"none"``; ``"codes"``, all that searches read but the vectors; or ``"all"``. It takes as much
        memory, and every kind of search reads it faster than a mapped file.
    device
        ``"opencl"``: search on all OpenCL devices that can be used (UnsupportedError: there is none); ``"auto"``: on
        those that there are, where that is measured to be faster; ``"cpu"``. Answers are the same. ``devices()`` lists them.
    device_bytes
        Memory to take of each device, 0: most of it. What has no room there is brought for each search.

    MissingFileError, FileError, CorruptError, VersionError, LimitError (4,096 indexes are open).
    """
    if verify:
        _verify(path)
    return _open(Index, path, populate, copy_hot=copy_hot, resident=resident, device=device, device_bytes=device_bytes)


def verify(path: str | os.PathLike[str], threads: int | None = None, *,
           progress: bool | Report | None = None) -> None:
    """Check every byte of an index file against its checksums, then every count, id and order inside.

    CorruptError names the file and section; MissingFileError, FileError, VersionError. threads: None:
    :func:`kith.get_threads`. progress: as in :meth:`Index.build`.
    """
    with Progress(progress) as watcher:
        _kith.verify(path, threads, watcher.report)


_verify = verify
