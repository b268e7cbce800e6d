# SPDX-License-Identifier: Apache-2.0
"""pandas and polars: one column of lists, or many columns of numbers.

The index of a pandas frame is never an element. A level of it that has a name is treated as a column of that name for
ids and names, as it is in the files that pandas writes: one called "id" gives the ids."""
from __future__ import annotations

from typing import Any

import numpy as np

from .._errors import ArgumentError, DataError, UnsupportedError
from .arrays import rows_of_objects
from .columns import Choice, choose
from .labels import to_ids, to_strings
from .source import Gather, Options, Source, gather_columns, refuse_columns, source_of


def open_frame(frame: Any, options: Options, library: str) -> Source:
    """A DataFrame or a Series of pandas or of polars."""
    kind = type(frame).__name__
    table: _Pandas | _Polars = _Pandas() if library == "pandas" else _Polars()
    if kind == "Series":
        refuse_columns(options, kind, hint="; a Series is one column of vectors")
        return table.lists(frame, options, "Series" if frame.name is None else f"Series {frame.name!r}")
    if kind == "LazyFrame":
        raise ArgumentError("LazyFrame: has no rows yet; give X.collect()")
    if not hasattr(frame, "columns"):
        raise ArgumentError(f"{kind}: cannot be read as vectors; a DataFrame or a Series was expected")
    columns = list(frame.columns)
    levels = [name for name in table.levels(frame) if name not in columns]
    lists = [name for at, name in enumerate(columns) if table.is_list(table.column(frame, at))]
    numbers = [name for at, name in enumerate(columns) if table.is_number(table.column(frame, at))]
    choice = choose(kind, columns + levels, lists, numbers, options, levels)
    return _read(frame, table, choice, options, kind)


def _read(frame: Any, table: Any, choice: Choice, options: Options, kind: str) -> Source:
    if len(frame) == 0:
        raise DataError(f"{kind}: has no rows")
    columns = list(frame.columns)
    ids = names = None
    if choice.ids is not None:
        what = f"{kind}: column {choice.ids!r}"
        ids = to_ids(table.label_values(table.labels(frame, choice.ids), what), what)
    if choice.names is not None:
        what = f"{kind}: column {choice.names!r}"
        names = to_strings(table.label_values(table.labels(frame, choice.names), what), what)
    if choice.is_list:
        source = table.lists(frame[choice.vectors[0]], options, f"{kind}: column {choice.vectors[0]!r}")
    else:
        at = [columns.index(name) for name in choice.vectors]
        source = source_of(table.numbers(frame, at, choice.vectors, options, kind), options, kind)
    return Source(source.array, source.dtype, ids=ids, names=names, what=kind)


class _Pandas:
    """What differs in pandas."""

    @staticmethod
    def levels(frame: Any) -> list[Any]:
        """The names that levels of the index have."""
        return [name for name in frame.index.names if name is not None]

    @staticmethod
    def labels(frame: Any, name: Any) -> Any:
        """A column, or a level of the index."""
        return frame[name] if name in frame.columns else frame.index.get_level_values(name).to_series()

    @staticmethod
    def column(frame: Any, at: int) -> Any:
        return frame.iloc[:, at]

    @staticmethod
    def _arrow_type(series: Any) -> Any:
        return getattr(series.dtype, "pyarrow_dtype", None)

    def is_number(self, series: Any) -> bool:
        return series.dtype.kind in "iuf" or series.dtype.name == "bfloat16"

    def is_list(self, series: Any) -> bool:
        kind = self._arrow_type(series)
        if kind is not None:
            return "list" in str(kind)
        if series.dtype != object:
            return False
        first = next((value for value in series.array if not _is_missing(value)), None)
        return isinstance(first, (list, tuple)) or getattr(first, "ndim", 0) == 1

    def lists(self, series: Any, options: Options, what: str) -> Source:
        if self._arrow_type(series) is not None:
            from . import arrow
            return arrow.open_chunks(series.array.__arrow_array__(), options, what)
        if series.dtype != object:
            raise UnsupportedError(f"{what}: holds {series.dtype}; lists of numbers were expected")
        return rows_of_objects(series.to_numpy(), options, what)

    def numbers(self, frame: Any, at: list[int], names: list[Any], options: Options, what: str) -> np.ndarray:
        kinds = {frame.dtypes.iloc[i] for i in at}
        if len(kinds) == 1 and isinstance(next(iter(kinds)), np.dtype):
            return frame.iloc[:, at].to_numpy() if len(at) < len(frame.columns) else frame.to_numpy()
        return gather_columns([(name, self._dense(frame.iloc[:, i], f"{what}: column {name!r}"))
                               for i, name in zip(at, names)], options, what)

    @staticmethod
    def _dense(series: Any, what: str) -> np.ndarray:
        if isinstance(series.dtype, np.dtype):
            return series.to_numpy()
        missing = series.isna().to_numpy()
        if missing.any():
            raise DataError(f"{what}: row {int(np.argmax(missing))}: is missing")
        return series.to_numpy(dtype=series.dtype.numpy_dtype)

    @staticmethod
    def label_values(series: Any, what: str) -> Any:
        missing = series.isna().to_numpy()
        if missing.any():
            raise DataError(f"{what}: row {int(np.argmax(missing))}: is missing")
        if series.dtype.kind in "iu" and not isinstance(series.dtype, np.dtype):
            return series.to_numpy(dtype=series.dtype.numpy_dtype)
        return series.to_numpy()


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


class _Polars:
    """What differs in polars."""

    @staticmethod
    def levels(frame: Any) -> list[Any]:
        return []

    @staticmethod
    def labels(frame: Any, name: Any) -> Any:
        return frame[name]

    @staticmethod
    def column(frame: Any, at: int) -> Any:
        return frame.to_series(at)

    def is_number(self, series: Any) -> bool:
        return series.dtype.is_numeric() and not series.dtype.is_decimal()

    def is_list(self, series: Any) -> bool:
        inner = getattr(series.dtype, "inner", None)
        return inner is not None and inner.is_numeric() and not inner.is_decimal()

    def lists(self, series: Any, options: Options, what: str) -> Source:
        if not self.is_list(series):
            raise UnsupportedError(f"{what}: holds {series.dtype}; lists of numbers were expected")
        self._refuse_null(series, what)
        gather = Gather(len(series), options, what)
        for chunk in series.get_chunks():
            if len(chunk):
                gather.add(self._block(chunk, what, gather.done))
        return gather.finish()

    def _block(self, chunk: Any, what: str, first_row: int) -> np.ndarray:
        if hasattr(chunk.dtype, "size"):
            dim = chunk.dtype.size
        else:
            lengths = chunk.list.len().to_numpy()
            dim = int(lengths[0])
            if (lengths != dim).any():
                row = int(np.argmax(lengths != dim))
                raise DataError(f"{what}: row {first_row + row} has {lengths[row]} elements, but row {first_row} has "
                                f"{dim}")
        if dim == 0:
            raise DataError(f"{what}: row {first_row} has no elements")
        values = chunk.explode()
        if values.null_count():
            at = values.is_null().arg_true()[0]
            raise DataError(f"{what}: row {first_row + at // dim}, element {at % dim}: is missing (null)")
        return values.to_numpy().reshape(len(chunk), dim)

    def numbers(self, frame: Any, at: list[int], names: list[Any], options: Options, what: str) -> np.ndarray:
        columns = []
        for i, name in zip(at, names):
            series = frame.to_series(i)
            self._refuse_null(series, f"{what}: column {name!r}")
            columns.append((name, series.to_numpy()))
        return gather_columns(columns, options, what)

    def label_values(self, series: Any, what: str) -> Any:
        self._refuse_null(series, what)
        return series.to_numpy() if series.dtype.is_integer() else series.to_list()

    @staticmethod
    def _refuse_null(series: Any, what: str) -> None:
        if series.null_count():
            raise DataError(f"{what}: row {series.is_null().arg_true()[0]}: is missing (null)")
