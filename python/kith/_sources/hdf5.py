# SPDX-License-Identifier: Apache-2.0
"""HDF5, through h5py. A dataset that lies in one piece, without filters, is mapped from its file; others are read by
strips. The layout of ann-benchmarks (train, test, neighbors, distances) is understood as: `train`, unless told."""
from __future__ import annotations

import os
from typing import Any

import numpy as np

from .._errors import ArgumentError, Error, FileError, FormatError, UnsupportedError
from .source import STRIP_BYTES, Gather, Options, Source, check_shape, refuse_columns, source_of, target_dtype


def _h5py(path: str) -> Any:
    try:
        import h5py
    except ImportError:
        raise UnsupportedError(f"{path}: reading HDF5 needs the package h5py, which is not installed") from None
    return h5py


def open_file(path: str, options: Options) -> Source:
    h5py = _h5py(path)
    refuse_columns(options, path, ("column",), "; an HDF5 file has datasets: give ids= and names= what they hold")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FormatError(f"{path}: is no HDF5 file, or a damaged one: {error}") from None
    with file:
        try:
            return _open_dataset(_choose(file, path, options.column, h5py), options, path)
        except Error:
            raise
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise FormatError(f"{path}: is a damaged HDF5 file: {error}") from None


def _choose(file: Any, path: str, name: str | None, h5py: Any) -> Any:
    """The dataset called `name`, or `train`, or the only one of two dimensions."""
    if name is not None:
        found = file.get(name)
        if isinstance(found, h5py.Dataset):
            return found
        raise ArgumentError(f"{path}: has no dataset {name!r}; it has {_names(file, h5py, None)}")
    found = file.get("train")
    if isinstance(found, h5py.Dataset):
        return found
    tables = _tables(file, h5py, 2)
    if len(tables) == 1:
        return file[tables[0]]
    raise ArgumentError(f"{path}: has no dataset 'train', and {len(tables)} of two dimensions; name one as "
                        f"{os.path.basename(path)}::dataset; it has {_names(file, h5py, None)}")


def _tables(file: Any, h5py: Any, dimensions: int | None) -> list[str]:
    names: list[str] = []

    def visit(name: str, thing: Any) -> None:
        if isinstance(thing, h5py.Dataset) and (dimensions is None or thing.ndim == dimensions):
            names.append(name)

    file.visititems(visit)
    return names


def _names(file: Any, h5py: Any, dimensions: int | None) -> str:
    return ", ".join(repr(name) for name in _tables(file, h5py, dimensions)) or "none"


def open_dataset(dataset: Any, options: Options) -> Source:
    """An h5py Dataset."""
    if not hasattr(dataset, "read_direct"):
        raise ArgumentError(f"{type(dataset).__name__}: an h5py Dataset was expected, as file['train']")
    refuse_columns(options, "Dataset")
    return _open_dataset(dataset, options, None)


def _open_dataset(dataset: Any, options: Options, path: str | None) -> Source:
    """`path`: the dataset's file, where that is certain to be a plain one."""
    one = None if path else "X[:].reshape(1, -1)"
    if path is None and dataset.file.mode == "r" and dataset.file.driver == "sec2":
        path = dataset.file.filename
    what = f"{path or dataset.file.filename}::{dataset.name.lstrip('/')}"
    if dataset.dtype.kind == "O":
        raise UnsupportedError(f"{what}: holds rows of different lengths, or strings; a plain array was expected")
    check_shape(dataset, what, one)
    mapped = _map(dataset, path) if path else None
    if mapped is not None:
        return source_of(mapped, options, what)
    return _read(dataset, options, what)


def _map(dataset: Any, path: str) -> np.ndarray | None:
    """The dataset's own bytes in the file, where they are all there in one piece."""
    offset = dataset.id.get_offset()
    if offset is None or dataset.external or dataset.is_virtual or dataset.size == 0:
        return None
    if offset + dataset.size * dataset.dtype.itemsize > os.path.getsize(path):
        return None
    mapped = np.memmap(path, dataset.dtype, "r", offset, dataset.shape)
    # A file with a user block counts offsets in its own way; what h5py itself reads settles it.
    for row in (0, len(mapped) - 1):
        if mapped[row].tobytes() != np.asarray(dataset[row]).tobytes():
            return None
    return mapped


def _read(dataset: Any, options: Options, what: str) -> Source:
    if options.dtype is None:
        target_dtype(dataset.dtype, what)
    rows = len(dataset)
    gather = Gather(rows, options, what)
    step = max(1, STRIP_BYTES // (dataset.shape[1] * dataset.dtype.itemsize))
    if dataset.chunks:  # whole chunks, so that none is decompressed twice
        step = max(1, step // dataset.chunks[0]) * dataset.chunks[0]
    for at in range(0, rows, step):
        try:
            block = dataset[at:at + step]
        except OSError as error:
            raise FileError(f"{what}: rows {at} to {min(at + step, rows) - 1} cannot be read: {error}") from None
        gather.add(block)
    return gather.finish()
