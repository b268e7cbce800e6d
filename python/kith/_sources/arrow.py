# SPDX-License-Identifier: Apache-2.0
"""Parquet, Feather and Arrow files, pyarrow's objects, and whatever speaks Arrow's C stream: through pyarrow.

A column of lists of one length is, in Arrow, one array of numbers: it is taken as it lies when it comes in one chunk,
and joined chunk by chunk otherwise. Parquet files are decoded a record batch at a time."""
from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from .._errors import ArgumentError, DataError, Error, FormatError, UnsupportedError
from .._files import refusals
from .columns import Choice, choose
from .labels import LabelGather
from .source import STRIP_BYTES, Gather, Options, Source, gather_columns, refuse_columns

BATCH_ROWS = 1 << 16


def _pyarrow(what: str) -> Any:
    try:
        import pyarrow
    except ImportError:
        raise UnsupportedError(f"{what}: reading Parquet and Arrow needs the package pyarrow, which is not installed"
                               ) from None
    return pyarrow


# ---- Files -----------------------------------------------------------------------------------------------------------


def open_file(path: str, options: Options, parquet: bool) -> Source:
    pa = _pyarrow(path)
    try:
        return _open_parquet(path, options, pa) if parquet else _open_ipc(path, options, pa)
    except Error:
        raise
    except pa.ArrowNotImplementedError as error:
        raise UnsupportedError(f"{path}: {error}") from None
    except (pa.ArrowInvalid, pa.ArrowSerializationError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: is malformed: {error}") from None
    except MemoryError as error:  # also where a damaged file asks for more than any machine has
        raise MemoryError(f"{path}: {error}") from None
    except OSError as error:
        if error.errno is None:  # so Arrow reports damaged pages
            raise FormatError(f"{path}: is malformed: {error}") from None
        with refusals(path):
            raise


def _open_parquet(path: str, options: Options, pa: Any) -> Source:
    import pyarrow.parquet as pq
    with pq.ParquetFile(path, memory_map=True) as file:
        choice = _choose(file.schema_arrow, path, options, pa)
        wanted = [*choice.vectors, *(c for c in (choice.ids, choice.names) if c is not None)]
        rows = file.metadata.num_rows
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        row_bytes = sum(group.total_byte_size for group in groups) // max(1, rows)  # of all columns, not compressed
        batch_rows = max(1, min(BATCH_ROWS, STRIP_BYTES // max(1, row_bytes)))
        batches = file.iter_batches(batch_size=batch_rows, columns=wanted)
        return _stream(batches, rows, choice, path, options, pa)


def _open_ipc(path: str, options: Options, pa: Any) -> Source:
    with pa.memory_map(path) as mapped:
        magic = mapped.read(6)
        mapped.seek(0)
        # Batches refer to the map, which stays as long as they do.
        reader = pa.ipc.open_file(mapped) if magic == b"ARROW1" else pa.ipc.open_stream(mapped)
        return _open_table(reader.read_all(), path, options, pa)


# ---- Objects ---------------------------------------------------------------------------------------------------------


def open_object(thing: Any, options: Options) -> Source:
    what = type(thing).__name__
    pa = _pyarrow(what)
    if isinstance(thing, pa.RecordBatch):
        thing = pa.Table.from_batches([thing])
    if isinstance(thing, (pa.Array, pa.ChunkedArray)):
        refuse_columns(options, what, hint="; an array is one column of vectors")
        return open_chunks(thing, options, what, pa)
    if not isinstance(thing, pa.Table):
        if not hasattr(thing, "__arrow_c_stream__"):
            raise ArgumentError(f"{what}: cannot be read as vectors; a Table, RecordBatch, Array or ChunkedArray was "
                                "expected")
        thing = pa.RecordBatchReader.from_stream(thing).read_all()
    return _open_table(thing, what, options, pa)


def open_chunks(array: Any, options: Options, what: str, pa: Any = None) -> Source:
    """An Array or ChunkedArray of lists."""
    pa = pa or _pyarrow(what)
    if not is_list(array.type, pa):
        raise UnsupportedError(f"{what}: holds {array.type}; lists of numbers were expected")
    gather = Gather(len(array), options, what)
    for chunk in _chunks(array):
        _add(gather, chunk, what, pa)
    return gather.finish()


def _open_table(table: Any, what: str, options: Options, pa: Any) -> Source:
    choice = _choose(table.schema, what, options, pa)
    if not choice.is_list:
        wanted = [*choice.vectors, *(c for c in (choice.ids, choice.names) if c is not None)]
        return _stream(table.select(wanted).to_batches(), table.num_rows, choice, what, options, pa)
    column = f"{what}: column {choice.vectors[0]!r}"
    source = open_chunks(table.column(choice.vectors[0]), options, column, pa)
    labels = [None if name is None else _labels(table.column(name), what, name, name == choice.ids, pa)
              for name in (choice.ids, choice.names)]
    return Source(source.array, source.dtype, what=what, ids=labels[0], names=labels[1])


def _labels(column: Any, what: str, name: str, ids: bool, pa: Any) -> Any:
    gather = LabelGather(f"{what}: column {name!r}", ids)
    for chunk in _chunks(column):
        _add_labels(gather, chunk, pa)
    return gather.finish()


# ---- Batches ---------------------------------------------------------------------------------------------------------


def _stream(batches: Iterable[Any], rows: int, choice: Choice, what: str, options: Options, pa: Any) -> Source:
    """Record batches, one after another, into rows, ids and names."""
    column = f"{what}: column {choice.vectors[0]!r}" if choice.is_list else what
    gather = Gather(rows, options, column)
    ids = None if choice.ids is None else LabelGather(f"{what}: column {choice.ids!r}", True)
    names = None if choice.names is None else LabelGather(f"{what}: column {choice.names!r}", False)
    for batch in batches:
        if choice.is_list:
            _add(gather, batch.column(choice.vectors[0]), column, pa)
        else:
            gather.add(_numbers(batch, choice, what, gather.done, options, pa))
        for labels, name in ((ids, choice.ids), (names, choice.names)):
            if labels is not None:
                _add_labels(labels, batch.column(name), pa)
    return gather.finish(ids=ids and ids.finish(), names=names and names.finish())


def _numbers(batch: Any, choice: Choice, what: str, first_row: int, options: Options, pa: Any) -> np.ndarray:
    columns = []
    for name in choice.vectors:
        column = batch.column(name)
        _validate(column, f"{what}: column {name!r}", pa)
        refuse_null(column, f"{what}: column {name!r}", first_row)
        columns.append((name, column.to_numpy(zero_copy_only=False)))
    return gather_columns(columns, options, what)


def _add_labels(gather: LabelGather, chunk: Any, pa: Any) -> None:
    _validate(chunk, gather.what, pa)
    if pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_decode()
    refuse_null(chunk, gather.what, gather.rows)
    integers = pa.types.is_integer(chunk.type)
    gather.add(chunk.to_numpy() if integers else chunk.to_pylist())


def _chunks(array: Any) -> list[Any]:
    return [chunk for chunk in array.chunks if len(chunk)] if hasattr(array, "chunks") else [array]


# ---- Lists -----------------------------------------------------------------------------------------------------------


def _choose(schema: Any, what: str, options: Options, pa: Any) -> Choice:
    lists = [field.name for field in schema if is_list(field.type, pa)]
    numbers = [field.name for field in schema if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)]
    return choose(what, schema.names, lists, numbers, options, _pandas_index(schema))


def _pandas_index(schema: Any) -> list[str]:
    """The columns that hold the index of a pandas frame, as the note says that pandas leaves in the schema. (An index
    that is a range is in the note alone.)"""
    try:
        note = json.loads((schema.metadata or {})[b"pandas"])
        return [column for column in note["index_columns"] if isinstance(column, str)]
    except (KeyError, TypeError, ValueError):  # no note, or one that another program wrote in its own way
        return []


def _storage(kind: Any, pa: Any) -> Any:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def is_list(kind: Any, pa: Any) -> bool:
    kind, types = _storage(kind, pa), pa.types
    if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind) or _is_view(kind, pa)):
        return False
    return types.is_integer(kind.value_type) or types.is_floating(kind.value_type)


def _is_view(kind: Any, pa: Any) -> bool:
    return any(getattr(pa.types, test, lambda _: False)(kind) for test in ("is_list_view", "is_large_list_view"))


def _add(gather: Gather, chunk: Any, what: str, pa: Any) -> None:
    if len(chunk):
        gather.add(rows_of(chunk, what, gather.done, pa))


def rows_of(chunk: Any, what: str, first_row: int, pa: Any) -> np.ndarray:
    """The (rows, elements) numbers of an Array of lists with at least one row, as they lie. DataError names the row of
    what is missing or of another length, counted from first_row."""
    if isinstance(chunk.type, pa.BaseExtensionType):
        chunk = chunk.storage
    _validate(chunk, what, pa)
    refuse_null(chunk, what, first_row)
    if pa.types.is_fixed_size_list(chunk.type):
        dim = chunk.type.list_size
        values = chunk.values[chunk.offset * dim:(chunk.offset + len(chunk)) * dim]
    else:
        values, dim = _even_lists(chunk, what, first_row, pa)
    if values.null_count:
        at = int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
        raise DataError(f"{what}: row {first_row + at // dim}, element {at % dim}: is missing (null)")
    return values.to_numpy(zero_copy_only=True).reshape(len(chunk), dim)


def _even_lists(chunk: Any, what: str, first_row: int, pa: Any) -> tuple[Any, int]:
    """The numbers of lists that must be of one length, and that length."""
    view = _is_view(chunk.type, pa)
    lengths = chunk.sizes.to_numpy() if view else np.diff(chunk.offsets.to_numpy())
    if (lengths != lengths[0]).any():
        row = int(np.argmax(lengths != lengths[0]))
        raise DataError(f"{what}: row {first_row + row} has {lengths[row]} elements, but row {first_row} has "
                        f"{lengths[0]}")
    if lengths[0] == 0:
        raise DataError(f"{what}: row {first_row} has no elements")
    return chunk.flatten(), int(lengths[0])


def _validate(array: Any, what: str, pa: Any) -> None:
    """Refuse offsets that point outside: a file's, or another library's, which nobody has looked at yet."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        raise FormatError(f"{what}: is malformed: {error}") from None


def refuse_null(array: Any, what: str, first_row: int) -> None:
    if array.null_count:
        row = int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
        raise DataError(f"{what}: row {first_row + row}: is missing (null)")
