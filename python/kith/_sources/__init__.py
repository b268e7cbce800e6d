# SPDX-License-Identifier: Apache-2.0
"""Where vectors come from: arrays, files, tables and tensors, all seen as a Source.

`read` (public as `kith.read`) and `as_source` are one function under two names: the first for people, the second for
the rest of the package. Libraries that only some sources need (pyarrow, h5py, pandas, polars) are imported when such a
source is met, never before.

Which module reads what:

    files    a path: by suffix, then by first bytes
    hdf5     .h5 files and h5py datasets
    arrow    .parquet, .feather and .arrow files, pyarrow objects, whatever speaks Arrow's C stream
    frames   pandas and polars
    arrays   NumPy arrays, tensors (DLPack, __array__), lists of rows
    labels   ids and names beside them
    source   Source itself; narrow, the rule for numbers; Gather, which joins blocks of rows
"""
from __future__ import annotations

import os
from typing import Any

import numpy as np

from .._errors import ArgumentError
from . import arrays, labels
from .source import Options, Source, narrow, pack_bits, refuse_columns

__all__ = ["Source", "as_source", "narrow", "read"]


def read(source: Any, ids: Any = None, names: Any = None, *, column: str | None = None, id_column: str | None = None,
         name_column: str | None = None, dtype: str | None = None) -> Source:
    """See `source` as rows of vectors, without copying where its memory allows it.

    Parameters
    ----------
    source
        - a NumPy array of shape (rows, elements), of any strides, mapped or not; a list of rows
        - a path: `.npy` (mapped), `.fvecs .bvecs .ivecs .fbin .u8bin .i8bin .ibin .csv .tsv .jsonl .ndjson`;
          `.h5 .hdf5` (needs h5py); `.parquet .pq .feather .arrow .ipc` (needs pyarrow). `file.h5::dataset` and
          `file.parquet::column` name what to take; without it, an HDF5 file's dataset `train` or its only
          two-dimensional one, and a table's only column of lists, or else all its columns of numbers
        - a pyarrow Table, RecordBatch, Array or ChunkedArray, or an object with `__arrow_c_stream__`
        - a pandas or polars DataFrame or Series: one column of lists, or many columns of numbers
        - an h5py Dataset; a tensor in the CPU's memory (`__dlpack__` or `__array__`: PyTorch, JAX and others)
        - a Source, which is returned as it is, or with other ids and names
    ids
        one a row, in their order: whole numbers from 0 to 2**64 - 2, or strings; any one-dimensional array or list, or
        the path of an `.npy` or of a text file with an id a line. None: the source's own (see id_column), or else the
        row numbers.
    names
        one string a row: a list, an array, or the path of a text file with a name a line.
    column
        the column of vectors in a table, or the dataset of an HDF5 file.
    id_column, name_column
        the columns of ids and names in a table, or levels of a pandas index that have such a name. None: those called
        "id" and "name", where the table has them. Otherwise a pandas index is not looked at.
    dtype
        "b1": rows of uint8 are packed bits, eight dimensions a byte. None: what the source holds; rows of bool are
        packed to bits.

    Numbers
    -------
    float32, float16, bfloat16, int8 and uint8 stay what they are. In memory, HDF5 and tables, float64 is rounded to
    float32, and other integers become float32 where that is exact. Files that kith itself reads (`.npy` among them)
    follow the stricter rule of the command: float64 must be exact too.

    Errors
    ------
    kith.ArgumentError: no such column, several that could be meant, or a source that has none; ids or names of another
    length, or in no order (a set).
    kith.DataError: a value that has no place in a float32, a missing or masked value, rows of different lengths, a bad
    id; the message names file, column and row. kith.FormatError: a malformed file. kith.UnsupportedError: element types,
    formats and tensors that are not read, or a library that is not installed. kith.MissingFileError,
    kith.FileError: what the system says.

    >>> source = kith.read([[1, 2], [3, 4]], ids=["a", "b"])
    >>> source
    <kith.Source: 2 x 2 f32, string ids>
    """
    options = Options(column, id_column, name_column, _element(dtype))
    for name in ("column", "id_column", "name_column"):
        _check_name(getattr(options, name), name, source)
    return labels.attach(_open(source, options), ids, names)


as_source = read


def _element(dtype: str | None) -> str | None:
    if dtype in (None, "b1"):
        return dtype
    raise ArgumentError(f"dtype is {dtype!r}; a source is read as what it holds (None), or as packed bits ('b1')")


def _check_name(value: Any, name: str, source: Any) -> None:
    """TypeError unless a column is named as columns are: by strings, but for frames of pandas, which take anything."""
    if value is None or isinstance(value, str) or _families(source) & {"pandas"}:
        return
    raise TypeError(f"{name} must be the name of a column, a string, not {value!r}")


def _families(source: Any) -> set[str]:
    """The libraries that a thing's classes come from."""
    return {base.__module__.partition(".")[0] for base in type(source).__mro__}


def _open(source: Any, options: Options) -> Source:
    if isinstance(source, Source):
        refuse_columns(options, "Source", hint="; name it where the source is read first")
        if options.dtype in (None, source.dtype):
            return source
        return Source(pack_bits(source.array, source.what), "b1", ids=source.ids, names=source.names, what=source.what)
    if isinstance(source, (str, os.PathLike)):
        from . import files
        return files.open_file(os.fspath(source), options)
    if isinstance(source, (np.ndarray, list, tuple)):
        return arrays.open_array(source, options)
    family = _families(source)
    if family & {"pandas", "polars"}:
        from . import frames
        return frames.open_frame(source, options, "pandas" if "pandas" in family else "polars")
    if "h5py" in family:
        from . import hdf5
        return hdf5.open_dataset(source, options)
    if "pyarrow" in family or hasattr(source, "__arrow_c_stream__"):
        from . import arrow
        return arrow.open_object(source, options)
    return arrays.open_tensor(source, options)
