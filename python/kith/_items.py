# SPDX-License-Identifier: Apache-2.0
"""What people give as items: ids, vectors, payloads, times and versions, as the extension takes them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from . import _kith
from ._convert import is_single, pack_strings
from ._errors import ArgumentError, DataError, Error

ANY_VERSION = 2**64 - 1
LAST_MS = 253402300799999  # the last one that datetime has a name for
UTC = datetime.timezone.utc


def is_id(value: Any) -> bool:
    """Is this one id, where one may stand for a list of one?"""
    return isinstance(value, (str, int, np.integer)) and not isinstance(value, bool)


def pack_id(id: Any, strings: bool) -> Any:
    """pack_ids() of one."""
    return pack_ids([id], strings)[0]


def pack_ids(ids: Any, strings: bool) -> tuple[Any, int]:
    """(array of uint64, or packed texts; how many)"""
    if strings:
        texts = _kith.pack_texts(ids)
        if texts is not None and len(texts[1]):
            return texts, len(texts[1])
    else:
        numbers = _kith.pack_ids(ids)
        if numbers is not None and len(numbers):
            return numbers, len(numbers)
    from ._sources.labels import refuse_unordered, to_ids

    if is_single(ids) or ids is None:
        raise ArgumentError(f"ids: a list or an array of ids was expected, not {ids!r}")
    refuse_unordered(ids, "ids")
    if not hasattr(ids, "dtype") and not hasattr(ids, "to_numpy"):
        ids = list(ids)
    found = to_ids(ids, "ids")
    if len(found) == 0:
        return ((b"", np.empty(0, np.uint64)) if strings else np.empty(0, np.uint64)), 0
    if strings != isinstance(found, list):
        raise TypeError(f"ids: {found[0]!r} is {'no' if strings else 'a'} string, but the ids of this collection are "
                        f"{'strings' if strings else 'numbers'}")
    if isinstance(found, list):
        return pack_strings(found, "ids"), len(found)
    return np.ascontiguousarray(found).view(np.uint64), len(found)


# ---- Vectors ---------------------------------------------------------------------------------------------------------


def one_row(vectors: Any) -> Any:
    """The vector of one item, or its named vectors, as those of a list of one item."""
    if vectors is None:
        return None
    if isinstance(vectors, Mapping):
        return {name: one_row(row) for name, row in vectors.items() if row is not None}
    if isinstance(vectors, np.ndarray):
        return vectors[None] if vectors.ndim == 1 else vectors
    if hasattr(vectors, "ndim") and hasattr(vectors, "__array__"):  # a tensor, a Series
        return one_row(np.asarray(vectors))
    return [vectors]


def pack_rows(rows: Any, name: str, bits: bool) -> tuple[Any, np.ndarray | None]:
    """(rows that the extension views, which of them are there or None): None in a list stands for an item that lacks
    the vector."""
    what = f"vectors of {name!r}" if name else "vectors"
    present = None
    if isinstance(rows, (list, tuple)) and any(row is None for row in rows):
        rows, present = _without_blanks(rows, what)
    try:
        return _array(rows, what, bits), present
    except Error as error:
        text = str(error)
        raise (type(error)(f"{what}{text[1:]}") if text.startswith("X:") else error) from None


def _without_blanks(rows: Any, what: str) -> tuple[list[Any], np.ndarray]:
    there = next((row for row in rows if row is not None), None)
    if there is None:
        raise ArgumentError(f"{what}: no item has one: leave them out")
    blank = np.zeros_like(np.asarray(there))
    return [blank if row is None else row for row in rows], np.array([row is not None for row in rows], np.uint8)


def _array(rows: Any, what: str, bits: bool) -> np.ndarray:
    from ._sources import as_source
    from ._sources.source import narrow, pack_bits

    if isinstance(rows, (list, tuple)) and len(rows) == 0:
        raise ArgumentError(f"{what}: there are none")
    if not isinstance(rows, np.ndarray) or rows.dtype == object:
        rows = as_source(rows).array
        if bits and _are_bytes(rows):
            rows = rows.astype(np.uint8)
    return pack_bits(rows, what, None) if bits else narrow(rows, what, None)


def _are_bytes(rows: np.ndarray) -> bool:
    """Whole numbers that a list of packed bits became."""
    return rows.dtype.kind in "iuf" and rows.dtype != np.uint8 and rows.size > 0 and \
        bool((rows >= 0).all() and (rows <= 255).all() and (rows == rows.astype(np.uint8)).all())


# ---- Payloads --------------------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """What JSON has no type for, but people have: times, sets, and NumPy's numbers and arrays."""
    if isinstance(value, datetime.datetime):
        return time_text(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else np.datetime_as_string(value.astype("M8[ms]"), timezone="UTC")
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Set):
        return sorted(value, key=str)
    raise TypeError(f"{type(value).__name__} is no type of JSON")


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode


def time_text(time: datetime.datetime) -> str:
    """RFC 3339. Without a zone it is local time, as Python has it; pandas' times are UTC then."""
    if time.tzinfo is None:
        time = time.tz_localize("UTC") if hasattr(time, "tz_localize") else time.astimezone()
    return time.isoformat()


def encode(value: Any, what: str) -> str:
    """JSON; DataError says what has no place in it."""
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{what}: {error}") from None


def pack_payloads(payloads: Any, count: int) -> tuple[bytes, np.ndarray] | None:
    if payloads is None:
        return None
    packed = _kith.pack_payloads(payloads)
    if packed is not None and len(packed[1]) == count:
        return packed
    rows = records(payloads)
    if isinstance(rows, (Mapping, str, bytes)) or not hasattr(rows, "__len__"):
        rows = _rows_of(rows)
    if len(rows) != count:
        raise ArgumentError(f"payloads: there are {len(rows)} for {count} items")
    parts = [_payload(payload, row) for row, payload in enumerate(rows)]
    return b"".join(parts), np.cumsum([len(part) for part in parts], dtype=np.uint64)


def _rows_of(payloads: Any) -> list[Any]:
    if isinstance(payloads, (Mapping, str, bytes)) or not hasattr(payloads, "__iter__"):
        raise ArgumentError(f"payloads: a list with one for each item was expected, not {payloads!r:.100}")
    return list(payloads)


def _payload(payload: Any, row: int) -> bytes:
    if payload is None:
        return b""
    if not isinstance(payload, Mapping):
        raise DataError(f"payloads: row {row}: is {payload!r:.100}; a dict was expected")
    try:
        return encode(payload if isinstance(payload, dict) else dict(payload), f"payloads: row {row}").encode()
    except UnicodeEncodeError as error:
        raise DataError(f"payloads: row {row}: cannot be written as UTF-8: {error.reason}") from None


# ---- Payloads in frames ----------------------------------------------------------------------------------------------


def records(payloads: Any) -> Any:
    """The rows of a frame or a table as dicts, without what is missing (null, NaN, NaT); all else as it is."""
    if hasattr(payloads, "to_pylist"):  # Arrow
        return [_there(row) for row in payloads.to_pylist()]
    if hasattr(payloads, "to_dicts"):  # polars
        return [_there(row) for row in payloads.to_dicts()]
    if hasattr(payloads, "isna") and hasattr(payloads, "columns"):  # pandas
        return _of_pandas(payloads)
    return payloads


def _there(row: Any) -> Any:
    if not isinstance(row, Mapping):
        return row
    return {key: value for key, value in row.items() if value is not None and value == value}


def _of_pandas(frame: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{} for _ in range(len(frame))]
    names = [str(name) for name in frame.columns]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise ArgumentError(f"payloads: there are several columns {name!r}")
        column = frame.iloc[:, at]
        for row, value, missing in zip(rows, column.tolist(), column.isna().tolist()):
            if not missing:
                row[name] = value
    return rows


# ---- Times and versions ----------------------------------------------------------------------------------------------


def pack_times(times: Any, count: int) -> np.ndarray | None:
    """Milliseconds since 1970, 0 for never."""
    if times is None:
        return None
    if isinstance(times, (datetime.datetime, datetime.timedelta, int, float, np.number, np.datetime64)):
        return np.full(count, _time(times, None), np.uint64)
    values = np.asarray(times) if hasattr(times, "dtype") else times
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        values = list(values)
    return np.array([_time(time, row) for row, time in enumerate(values)], np.uint64)


def _time(time: Any, row: int | None) -> int:
    if time is None or (isinstance(time, np.datetime64) and np.isnat(time)):
        return 0
    if isinstance(time, np.datetime64):
        ms: float = int(time.astype("M8[ms]").astype(np.int64))
    elif isinstance(time, datetime.timedelta):
        ms = (datetime.datetime.now(UTC) + time).timestamp() * 1000
    elif isinstance(time, datetime.datetime):
        if time != time:  # NaT
            return 0
        ms = time.timestamp() * 1000
    elif isinstance(time, (int, float, np.number)) and not isinstance(time, bool):
        ms = float(time) * 1000
    else:
        raise TypeError(f"expires: {_place(row)}{time!r} is no time; datetimes and seconds since 1970 are")
    if not 0 <= ms <= LAST_MS:
        raise ArgumentError(f"expires: {_place(row)}{time!r} is not between the years 1970 and 9999")
    return max(1, round(ms)) if ms else 0


def _place(row: int | None) -> str:
    return "" if row is None else f"row {row}: "


def pack_versions(versions: Any, count: int) -> np.ndarray | None:
    if versions is None:
        return None
    if isinstance(versions, (int, np.integer)):
        versions = [versions] * count
    return np.array([_version(version, row) for row, version in enumerate(versions)], np.uint64)


def _version(version: Any, row: int) -> int:
    if version is None:
        return ANY_VERSION
    if isinstance(version, bool) or not isinstance(version, (int, np.integer)):
        raise TypeError(f"if_version: row {row}: {version!r} is no version")
    if not 0 <= version < ANY_VERSION:
        raise ArgumentError(f"if_version: row {row}: {version} is no version; they are counted from 0")
    return int(version)


# ---- Filters ---------------------------------------------------------------------------------------------------------


def filter_text(where: Any) -> str | None:
    if where is None or isinstance(where, str):
        return where
    if isinstance(where, Mapping):
        return encode(where if isinstance(where, dict) else dict(where), "where")
    raise TypeError(f"where: a filter is a text or a dict, not {where!r:.100}")
