# SPDX-License-Identifier: Apache-2.0
"""Collections to files and back: a pair of .npy and .jsonl, or Parquet, a few thousand items at a time.

A pair is `x.npy`, the vectors, and `x.jsonl` with a line an item, in their order: {"id": ..., "payload": {...},
"expires": milliseconds since 1970}; payload and expires are left out where there are none. Vectors that have names are
in `x.NAME.npy`; a line has "lacks": [NAME, ...] for those that its item lacks, whose row is zeros. Parquet has the
columns id, payload (JSON text), expires (timestamps) and one of fixed-size lists for each vector, by its name; the
unnamed one is "vector". Numbers are float32 there (which f16, bf16, i8 and u8 are without loss), bits uint8."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from . import _bulk, _files
from ._errors import ArgumentError, DataError, FormatError, MissingFileError, UnsupportedError
from ._hits import Written, unpack
from ._items import pack_ids, records
from ._options import whole
from ._wire import bodies_as_bytes

BATCH = 4096
_NPY_HEADER = 128
_PARQUET = (".parquet", ".pq")
_LINES = (".jsonl", ".ndjson")
_OURS = ("id", "payload", "expires")


def column_of(name: str) -> str:
    """What the vector's column is called in a table."""
    return name or "vector"


# ---- Out -------------------------------------------------------------------------------------------------------------


def export(shop: Any, path: str | os.PathLike[str], where: str | None, generation: int, report: Any) -> int:
    """Write the items that a filter matches. Files appear whole or not at all. Returns how many items there are."""
    text, specs = os.fspath(path), shop._specs(generation)
    total, done = shop.count(where), 0  # first of all it refuses a filter
    writer: Any = (_ParquetOut if text.lower().endswith(_PARQUET) else _PairOut)(text, specs, shop.info["ids"])
    try:
        with _files.refusals(text):
            for answer in shop._pages(where, None, True, generation):
                writer.add(answer)
                done += len(answer[0])
                if report is not None and report("exporting", done, max(total, done)):
                    from ._errors import CancelledError

                    raise CancelledError(f"{text}: exporting was cancelled")
            writer.finish()
    finally:
        writer.drop()
    return done


def _hidden(path: str) -> str:
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(folder, f".{name}.{os.urandom(6).hex()}")


def _npy_header(dtype: np.dtype, rows: int, width: int) -> bytes:
    text = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': ({rows}, {width}), }}"
    return b"\x93NUMPY\x01\x00" + (_NPY_HEADER - 10).to_bytes(2, "little") + \
        text.encode().ljust(_NPY_HEADER - 11) + b"\n"


class _PairOut:
    """.npy files and lines beside them."""

    def __init__(self, path: str, specs: list[tuple[Any, ...]], ids: str) -> None:
        stem = path[:-4] if path.lower().endswith(".npy") else path
        self._names = [name for name, *_ in specs]
        self._targets = [f"{stem}.{name}.npy" if name else f"{stem}.npy" for name in self._names] + [f"{stem}.jsonl"]
        for name in self._names:
            if os.sep in name:
                raise ArgumentError(f"{path}: the vector {name!r} cannot be part of a file's name; write Parquet")
        self._widths = [(np.dtype("u1"), dim // 8) if dtype == "b1" else (np.dtype("<f4"), dim)
                        for _, dim, dtype, _ in specs]
        self._rows = 0
        self._hidden: list[str] = []
        self._files: list[Any] = []
        with _files.refusals(path):
            for target in self._targets:
                self._hidden.append(_hidden(target))
                self._files.append(open(self._hidden[-1], "xb"))
        for file in self._files[:-1]:
            file.write(bytes(_NPY_HEADER))

    def add(self, answer: tuple[Any, ...]) -> None:
        ids, texts, payloads, _, expiries, vectors = answer
        lacks: list[list[str]] = [[] for _ in range(len(ids))]
        for name, file, (dtype, _) in zip(self._names, self._files, self._widths):
            rows, present = vectors[name]
            file.write(rows.astype(dtype, copy=False).tobytes())
            for row in np.flatnonzero(present == 0).tolist():
                lacks[row].append(name)
        names = ids.tolist() if texts is None else unpack(texts)
        for id, body, expires, missing in zip(names, bodies_as_bytes(payloads), expiries.tolist(), lacks):
            line = f'{{"id":{json.dumps(id, ensure_ascii=False)}'.encode()
            line += b',"payload":' + body if body else b""
            line += b',"expires":%d' % expires if expires else b""
            line += b',"lacks":' + json.dumps(missing, ensure_ascii=False).encode() if missing else b""
            self._files[-1].write(line + b"}\n")
        self._rows += len(ids)

    def finish(self) -> None:
        for file, (dtype, width) in zip(self._files, self._widths):
            file.seek(0)
            file.write(_npy_header(dtype, self._rows, width))
        for file in self._files:
            file.close()
        for hidden, target in zip(self._hidden, self._targets):
            _files.publish(hidden, target)

    def drop(self) -> None:
        for file in self._files:
            with contextlib.suppress(OSError):
                file.close()
        for hidden in self._hidden:
            with contextlib.suppress(OSError):
                os.unlink(hidden)


class _ParquetOut:
    """One Parquet file, a row group a batch."""

    def __init__(self, path: str, specs: list[tuple[Any, ...]], ids: str) -> None:
        pa = _pyarrow(path)
        import pyarrow.parquet as parquet

        self._pa, self._target, self._writer = pa, path, None
        self._names = [name for name, *_ in specs]
        columns = [column_of(name) for name in self._names]
        for column in columns:
            if column in _OURS or columns.count(column) > 1:
                raise ArgumentError(f"{path}: the name of the vector {column!r} is that of another column")
        kinds = [(pa.uint8(), dim // 8) if dtype == "b1" else (pa.float32(), dim) for _, dim, dtype, _ in specs]
        self._schema = pa.schema([
            ("id", pa.string() if ids == "string" else pa.uint64()), ("payload", pa.string()),
            ("expires", pa.timestamp("ms", "UTC")),
            *((column, pa.list_(kind, width)) for column, (kind, width) in zip(columns, kinds))])
        self._hidden = _hidden(path)
        with _files.refusals(path):
            self._writer = parquet.ParquetWriter(self._hidden, self._schema)

    def add(self, answer: tuple[Any, ...]) -> None:
        pa = self._pa
        ids, texts, payloads, _, expiries, vectors = answer
        arrays = [pa.array(ids if texts is None else unpack(texts), self._schema.field("id").type),
                  pa.array([body.decode() if body else None for body in bodies_as_bytes(payloads)], pa.string()),
                  pa.array(expiries.astype(np.int64), pa.timestamp("ms", "UTC"), mask=expiries == 0)]
        for name in self._names:
            rows, present = vectors[name]
            kind = self._schema.field(column_of(name)).type
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel(), kind.value_type), kind.list_size))
            if not present.all():
                arrays[-1] = pa.compute.if_else(pa.array(present.astype(bool)), arrays[-1], pa.scalar(None, kind))
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def finish(self) -> None:
        self._writer.close()
        _files.publish(self._hidden, self._target)

    def drop(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(Exception):  # a writer whose disk is full cannot end its file
                self._writer.close()
        with contextlib.suppress(OSError):
            os.unlink(self._hidden)


def _pyarrow(what: str) -> Any:
    try:
        import pyarrow
        import pyarrow.compute
    except ImportError:
        raise UnsupportedError(f"{what}: tables of this kind need pyarrow, which is not installed") from None
    return pyarrow


# ---- In --------------------------------------------------------------------------------------------------------------


class Batch(NamedTuple):
    """Some items, as Collection.add takes them."""

    ids: Any
    vectors: Any
    payloads: Any
    expires: Any


class Wishes(NamedTuple):
    """How a source is loaded."""

    name: str
    mode: str
    generation: int | None
    resume: bool


def load(shop: Any, source: Any, ids: Any, payloads: Any, wishes: Wishes, report: Any) -> Written:
    """Write the items of a source: in one step where that can be, else a batch at a time."""
    generation = wishes.generation
    specs = shop._specs(0 if generation is None else whole(generation, "generation", 1, 2**32 - 1))
    if not shop._at_once:
        return _load_portions(shop, source, ids, payloads, wishes, specs, report)
    bulk = None if wishes.mode not in _bulk.MODES or generation is not None else \
        _bulk_of(source, ids, payloads, wishes, specs)
    if bulk is not None and (bulk[0][0][1].rows > BATCH or wishes.resume or isinstance(source, dict) or wishes.name):
        written = _bulk.load(shop, *bulk, wishes.mode, wishes.resume, report)
        if report is not None:
            report("loading", bulk[0][0][1].rows, bulk[0][0][1].rows)
        return written
    if wishes.resume or wishes.name or isinstance(source, dict):
        raise ArgumentError("name, resume and dicts of vectors go with vectors, upsert and insert, not with what is "
                            "written some thousand at a time")
    return _load_batches(shop, _open(source, ids, payloads, specs, shop._strings), wishes, report)


def _load_portions(shop: Any, source: Any, ids: Any, payloads: Any, wishes: Wishes, specs: list[tuple[Any, ...]],
                   report: Any) -> Written:
    """What _bulk.py would do in one step, where that cannot be."""
    if wishes.resume:
        raise UnsupportedError("resume= is for folders: a server is given some thousand items at a time, and those "
                               "that are there already are replaced by an upsert")
    if not wishes.name and not isinstance(source, dict):
        return _load_batches(shop, _open(source, ids, payloads, specs, shop._strings), wishes, report)
    names = [name for name, *_ in specs]
    sources = _bulk.sources_of(source, ids, wishes.name, specs)
    first = sources[0][1]
    labels: Any = first.ids if first.ids is not None else np.arange(first.rows, dtype=np.int64)
    bodies = _beside(payloads, first.rows)
    pack_ids(labels[:1], shop._strings)

    def batches() -> Iterator[Batch]:
        for at in range(0, first.rows, BATCH):
            part = slice(at, at + BATCH)
            yield Batch(labels[part], {names[number]: rows.array[part] for number, rows in sources},
                        None if bodies is None else bodies[part], None)

    return _load_batches(shop, (first.rows, batches()), wishes, report)


def _beside(payloads: Any, rows: int) -> Any:
    """The payloads of so many rows: dicts, a frame, or the path of a file with a line each."""
    bodies = _lines(os.fspath(payloads)) if isinstance(payloads, (str, os.PathLike)) else records(payloads)
    if bodies is not None and not hasattr(bodies, "__len__"):
        bodies = list(bodies)
    if bodies is not None and len(bodies) != rows:
        raise ArgumentError(f"payloads: there are {len(bodies)} for {rows} items")
    return bodies


def _bulk_of(source: Any, ids: Any, payloads: Any, wishes: Wishes,
             specs: list[tuple[Any, ...]]) -> tuple[list[tuple[int, Any]], Any] | None:
    """(sources of named vectors, payloads); None: such items are written a batch at a time."""
    path = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
    bare = ids is None and payloads is None and not wishes.name
    if path is not None and bare:
        if path.lower().endswith(_LINES) or os.path.exists((path[:-4] if path.lower().endswith(".npy") else path)
                                                           + ".jsonl"):
            return None
        if path.lower().endswith(_PARQUET):
            return _bulk_table(_read_parquet(path), path, specs)
    if path is None and bare and hasattr(source, "columns"):
        return _bulk_table(_to_arrow(source), type(source).__name__, specs)
    return _bulk.sources_of(source, ids, wishes.name, specs), payloads


def _read_parquet(path: str) -> Any:
    pa = _pyarrow(path)
    import pyarrow.parquet as parquet

    with _files.refusals(path), open(path, "rb"):
        pass
    try:
        return parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path}: is no well-formed Parquet file: {error}") from None


def _bulk_table(table: Any, what: str, specs: list[tuple[Any, ...]]) -> tuple[list[tuple[int, Any]], Any] | None:
    """A table whose items have all of its vectors, and do not end."""
    vectors = _vector_columns(what, table.schema.names, specs)
    ends = "expires" in table.schema.names and table.column("expires").null_count < table.num_rows
    if ends or table.num_rows <= BATCH or any(table.column(column).null_count for column in vectors.values()):
        return None
    batch = _table_batch(table, vectors, what, specs)
    name, *_ = vectors
    return _bulk.sources_of(batch.vectors, batch.ids, name, specs), batch.payloads


def _load_batches(shop: Any, opened: tuple[int, Iterator[Batch]], wishes: Wishes, report: Any) -> Written:
    total, batches = opened
    done, sums, version = 0, [0, 0, 0, 0], shop.info["version"]
    for batch in batches:
        try:
            version, *more = shop.add(batch.ids, batch.vectors, batch.payloads, expires=batch.expires, mode=wishes.mode,
                                      generation=wishes.generation)
        except DataError as error:
            raise DataError(f"items {done} to {done + len(batch.ids) - 1}: {error}") from None
        sums = [a + b for a, b in zip(sums, more)]
        done += len(batch.ids)
        if report is not None and report("loading", done, max(total, done)):
            from ._errors import CancelledError

            raise CancelledError(f"loading was cancelled; {done} items are written")
    return Written(version, *sums)


def _open(source: Any, ids: Any, payloads: Any, specs: list[tuple[Any, ...]],
          strings: bool) -> tuple[int, Iterator[Batch]]:
    path = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
    if path is not None and ids is None and payloads is None:
        if path.lower().endswith(_PARQUET):
            return _of_parquet(path, specs)
        if path.lower().endswith(_LINES):
            return _of_lines(path, specs)
        stem = path[:-4] if path.lower().endswith(".npy") else path
        if os.path.exists(f"{stem}.jsonl"):
            return _of_pair(stem, specs)
    if path is None and ids is None and payloads is None and hasattr(source, "columns"):
        return _of_table(source, specs)
    return _of_source(source, ids, payloads, strings)


def _of_source(source: Any, ids: Any, payloads: Any, strings: bool) -> tuple[int, Iterator[Batch]]:
    """Whatever kith.read takes, with payloads beside it."""
    from ._sources import as_source

    read = as_source(source, ids)
    labels: Any = read.ids if read.ids is not None else np.arange(read.rows, dtype=np.int64)
    bodies = _beside(payloads, read.rows)
    pack_ids(labels[:1], strings)  # refuses those of the other kind before anything is written

    def batches() -> Iterator[Batch]:
        for at in range(0, read.rows, BATCH):
            part = slice(at, at + BATCH)
            yield Batch(labels[part], read.array[part], None if bodies is None else bodies[part], None)

    return read.rows, batches()


def _lines(path: str) -> list[Any]:
    with _files.refusals(path), open(path, encoding="utf-8") as file:
        return [_parsed(line, path, number) for number, line in enumerate(file, 1)]


def _parsed(line: str, path: str, number: int) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise FormatError(f"{path}: line {number}: {error}") from None


def _of_pair(stem: str, specs: list[tuple[Any, ...]]) -> tuple[int, Iterator[Batch]]:
    from ._sources.files import load_npy

    arrays = {}
    for name, *_ in specs:
        path = f"{stem}.{name}.npy" if name else f"{stem}.npy"
        if os.path.exists(path):
            arrays[name] = load_npy(path)
            if arrays[name].ndim != 2:
                raise FormatError(f"{path}: has the shape {arrays[name].shape}; a row an item was expected")
    if not arrays:
        raise MissingFileError(f"{stem}.jsonl: there are no vectors beside it: "
                               f"{', '.join(f'{stem}.{name}.npy' if name else f'{stem}.npy' for name, *_ in specs)}")
    rows = {len(array) for array in arrays.values()}
    total, path = max(rows), f"{stem}.jsonl"
    if len(rows) > 1:
        raise FormatError(f"{path}: the vectors beside it have {sorted(rows)} rows, which differ")

    def batches() -> Iterator[Batch]:
        at = 0
        with _files.refusals(path), open(path, encoding="utf-8") as file:
            while lines := [_item(line, path, at + i + 1) for i, line in zip(range(BATCH), file)]:
                if at + len(lines) > total:
                    raise FormatError(f"{path}: line {total + 1}: there are {total} vectors, and no more")
                yield _pair_batch(lines, {name: array[at:at + len(lines)] for name, array in arrays.items()})
                at += len(lines)
        if at < total:
            raise FormatError(f"{path}: has {at} lines for {total} vectors")

    return total, batches()


def _item(line: str, path: str, number: int) -> dict[str, Any]:
    item = _parsed(line, path, number)
    if not isinstance(item, dict) or "id" not in item:
        raise FormatError(f"{path}: line {number}: an object with an id was expected")
    return item


def _pair_batch(lines: list[dict[str, Any]], arrays: dict[str, Any]) -> Batch:
    vectors: dict[str, Any] = {}
    for name, rows in arrays.items():
        there = [name not in item.get("lacks", ()) for item in lines]
        if all(there):
            vectors[name] = rows
        elif any(there):
            vectors[name] = [row if here else None for row, here in zip(rows, there)]
    expires = [item["expires"] / 1000 if item.get("expires") else None for item in lines]
    return Batch([item["id"] for item in lines], vectors or None,
                 [item.get("payload") for item in lines], expires if any(expires) else None)


def _of_lines(path: str, specs: list[tuple[Any, ...]]) -> tuple[int, Iterator[Batch]]:
    """Items as `kith add` reads them: {"id": 7, "vector": [...], "payload": {...}}. Their number is not known."""
    names = [name for name, *_ in specs]

    def batches() -> Iterator[Batch]:
        at = 0
        with _files.refusals(path), open(path, encoding="utf-8") as file:
            while lines := [_item(line, path, at + i + 1) for i, line in zip(range(BATCH), file)]:
                yield _line_batch(lines, names, path, at)
                at += len(lines)

    return 0, batches()


def _line_batch(lines: list[dict[str, Any]], names: list[str], path: str, first: int) -> Batch:
    columns: dict[str, list[Any]] = {}
    bodies = []
    for row, item in enumerate(lines):
        given = dict(item.get("vectors") or {})
        if item.get("vector") is not None:
            given[names[0] if len(names) == 1 else ""] = item["vector"]
        for name, vector in given.items():
            if name not in names:
                raise FormatError(f"{path}: line {first + row + 1}: the collection has no vector called {name!r}")
            columns.setdefault(name, [None] * len(lines))[row] = vector
        rest = {key: value for key, value in item.items() if key not in ("id", "vector", "vectors", "expires")}
        bodies.append(item["payload"] if "payload" in item else rest or None)
    expires = [item["expires"] / 1000 if item.get("expires") else None for item in lines]
    return Batch([item["id"] for item in lines], columns or None, bodies, expires if any(expires) else None)


# ---- Tables ----------------------------------------------------------------------------------------------------------


def _of_parquet(path: str, specs: list[tuple[Any, ...]]) -> tuple[int, Iterator[Batch]]:
    pa = _pyarrow(path)
    import pyarrow.parquet as parquet

    with _files.refusals(path), open(path, "rb"):
        pass
    try:
        file = parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path}: is no well-formed Parquet file: {error}") from None
    vectors = _vector_columns(path, file.schema_arrow.names, specs)

    def batches() -> Iterator[Batch]:
        try:
            for batch in file.iter_batches(BATCH):
                yield _table_batch(pa.Table.from_batches([batch]), vectors, path, specs)
        except pa.ArrowException as error:
            raise FormatError(f"{path}: is malformed: {error}") from None

    return file.metadata.num_rows, batches()


def _of_table(table: Any, specs: list[tuple[Any, ...]]) -> tuple[int, Iterator[Batch]]:
    """A table of Arrow, pandas or polars."""
    what = type(table).__name__
    table = _to_arrow(table)
    vectors = _vector_columns(what, table.schema.names, specs)

    def batches() -> Iterator[Batch]:
        for at in range(0, table.num_rows, BATCH):
            yield _table_batch(table.slice(at, BATCH), vectors, what, specs)

    return table.num_rows, batches()


def _to_arrow(table: Any) -> Any:
    pa = _pyarrow(type(table).__name__)
    if hasattr(table, "to_arrow"):
        table = table.to_arrow()
    elif not hasattr(table, "schema"):
        table = pa.Table.from_pandas(table, preserve_index=[name for name in table.index.names if name is not None]
                                     != [] or None)
    return table if hasattr(table, "combine_chunks") else pa.Table.from_batches([table])


def _vector_columns(what: str, columns: list[str], specs: list[tuple[Any, ...]]) -> dict[str, str]:
    """name of a vector: its column"""
    if "id" not in columns:
        raise ArgumentError(f"{what}: has no column 'id'; it has {', '.join(map(repr, columns))}")
    found = {name: column_of(name) for name, *_ in specs if column_of(name) in columns}
    if not found and len(specs) == 1 and "embedding" in columns:
        found = {specs[0][0]: "embedding"}
    if not found:
        raise ArgumentError(f"{what}: has no column of vectors: "
                            f"{', '.join(repr(column_of(name)) for name, *_ in specs)}")
    return found


def _table_batch(table: Any, vectors: dict[str, str], what: str, specs: list[tuple[Any, ...]]) -> Batch:
    """Without a column called payload, all others are keys of the payloads."""
    from ._sources import as_source

    kinds = {name: dtype for name, _, dtype, _ in specs}
    ids, rows = table.column("id").to_pylist(), {}
    for name, column in vectors.items():
        lists = table.column(column)
        if lists.null_count == len(lists):
            continue
        rows[name] = as_source(lists.combine_chunks()).array if lists.null_count == 0 else lists.to_pylist()
        if kinds[name] == "b1" and not isinstance(rows[name], list):
            rows[name] = rows[name].astype(np.uint8, copy=False)
    others = [name for name in table.schema.names if name not in ("id", "expires", *vectors.values())]
    if others == ["payload"] or "payload" in others:
        bodies = [_body(text, what, id) for text, id in zip(table.column("payload").to_pylist(), ids)]
    else:
        bodies = records(table.select(others)) if others else None
    expires = table.column("expires").to_pylist() if "expires" in table.schema.names else None
    return Batch(ids, rows or None, bodies, expires if expires and any(expires) else None)


def _body(payload: Any, what: str, id: Any) -> Any:
    if not isinstance(payload, str):
        return payload
    try:
        return json.loads(payload)
    except ValueError as error:
        raise DataError(f"{what}: the payload of {id!r}: {error}") from None
