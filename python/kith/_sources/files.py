# SPDX-License-Identifier: Apache-2.0
"""Paths: which reader takes a file. Arrays that lie in a file as kith wants them are mapped; what needs parsing or
checking row by row is left to the C library, which an index is then built from without Python in between."""
from __future__ import annotations

import os
from typing import Any

import numpy as np

from .. import _kith
from .._errors import ArgumentError, Error, FormatError, MissingFileError, UnsupportedError
from .._files import refusals
from .source import Options, Source, refuse_columns, source_of, word_of

HDF5 = (".h5", ".hdf5", ".hdf")
PARQUET = (".parquet", ".pq")
ARROW = (".feather", ".arrow", ".ipc")
TEXT = (".csv", ".tsv", "")  # "": what the C library recognises may be one
TEXT_COLUMNS = ("id_column", "name_column")
TEXT_HINTS = dict.fromkeys((".csv", ".tsv"), "; all columns but those of ids and names are elements") | dict.fromkeys(
    (".jsonl", ".ndjson"), "; the keys id, name and vector (or embedding, values, ...) are read")
MAPPED_BIN = {".fbin": np.float32, ".u8bin": np.uint8, ".i8bin": np.int8}
BIN_HEADER_BYTES = 8
MAGICS = ((b"\x93NUMPY", ".npy"), (b"\x89HDF\r\n\x1a\n", ".h5"), (b"PAR1", ".parquet"), (b"ARROW1", ".arrow"),
          (b"PK\x03\x04", ".npz"))


def open_file(path: str, options: Options) -> Source:
    """The source behind a path, or behind `path::dataset`."""
    path, options = _split(path, options)
    suffix = _suffix(path)
    if suffix in HDF5:
        from . import hdf5
        return hdf5.open_file(path, options)
    if suffix in PARQUET + ARROW:
        from . import arrow
        return arrow.open_file(path, options, suffix in PARQUET)
    if suffix == ".npz":
        raise UnsupportedError(f"{path}: is an archive of arrays; read numpy.load(path)[name] instead")
    columns = TEXT_COLUMNS if suffix in TEXT else ()
    refuse_columns(options, path, columns, TEXT_HINTS.get(suffix, "; such a file holds vectors only"))
    if suffix == ".npy":
        return _open_npy(path, suffix, options)
    return _open_native(path, suffix, options)


def _split(path: str, options: Options) -> tuple[str, Options]:
    """Take `::dataset` off, unless a file is really called so."""
    head, mark, tail = path.rpartition("::")
    if not mark or not head or os.path.exists(path):
        return path, options
    return head, Options(tail, options.id_column, options.name_column, options.dtype)


def _suffix(path: str) -> str:
    """The suffix that says the format, or the one that the first bytes stand for; "" when the C library must tell."""
    suffix = os.path.splitext(path)[1].lower()
    known = HDF5 + PARQUET + ARROW + (".npy", ".npz", ".fvecs", ".bvecs", ".ivecs", ".fbin", ".u8bin", ".i8bin",
                                      ".ibin", ".csv", ".tsv", ".jsonl", ".ndjson")
    with refusals(path), open(path, "rb") as file:
        head = file.read(8)
    if suffix in known:
        return suffix
    return next((found for magic, found in MAGICS if head.startswith(magic)), "")


# ---- .npy ------------------------------------------------------------------------------------------------------------


def _open_npy(path: str, suffix: str, options: Options) -> Source:
    array = load_npy(path)
    converted = word_of(array.dtype) is None and array.dtype.kind in "iuf" and array.dtype.isnative
    if converted and array.flags.c_contiguous and options.dtype is None:
        return _open_native(path, suffix, options)  # converted as it is read, never as a whole
    return source_of(array, options, path, one=f"numpy.load({path!r}).reshape(1, -1)")


def load_npy(path: str) -> np.ndarray:
    """The array of an .npy file, mapped. FormatError where header and size do not go together."""
    try:
        with refusals(path):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (Error, MemoryError):
        raise
    except Exception as error:  # a damaged header fails in NumPy's parser, in Python's, or in between
        raise FormatError(f"{path}: is no well-formed .npy file: {error}") from None
    # np.load would not notice bytes behind the data, the trace of a file that was overwritten in part.
    behind = os.path.getsize(path) - array.offset - array.nbytes if isinstance(array, np.memmap) else 0
    if behind:
        raise FormatError(f"{path}: has {behind} bytes behind the {array.nbytes} of its array")
    return array


# ---- What the C library reads ----------------------------------------------------------------------------------------


def _open_native(path: str, suffix: str, options: Options) -> Source:
    """A file that kith's own reader takes. It checks header and size now, and rows when they are read."""
    choice: dict[str, Any] = {"format": "npy" if suffix == ".npy" else None, "id_column": options.id_column,
              "name_column": options.name_column}

    def reader() -> Any:
        return _kith.Reader.open(path, dtype=options.dtype, **choice)

    try:
        info = reader().info
    except MissingFileError as error:  # the file was opened before: what is missing is a column
        raise ArgumentError(str(error)) from None
    shape, dtype = (info["rows"], info["dim"]), info["dtype"]
    if suffix in MAPPED_BIN and info["rows"] and dtype != "b1":
        return Source(np.memmap(path, MAPPED_BIN[suffix], "r", BIN_HEADER_BYTES, shape), dtype, what=path)
    return Source(None, dtype, rows=shape[0], dim=shape[1], path=path, what=path, load=lambda: reader().read(),
                  **choice)
