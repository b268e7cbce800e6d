# SPDX-License-Identifier: Apache-2.0
"""What the vector stores of LangChain and LlamaIndex share: where a collection is, and filters in the words of others
as kith's JSON form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ._collection import Collection
from ._errors import ArgumentError, BusyError, MissingFileError, NotFoundError, UnsupportedError

_CLAUSES = {"must", "should", "must_not"}
_CONDITIONS = {"key", "is_empty", "is_null", "has_id", *_CLAUSES}
_RANGES = {"$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}


def opened(at: Any, **options: Any) -> Any:
    """A collection: itself, a folder, or "http://host:port/name"."""
    if not isinstance(at, str) or not at.startswith(("http://", "https://")):
        return at if hasattr(at, "search") else Collection(at, **options)
    from ._server import connect

    return connect(at, **options)


def opened_or_made(at: Any, shape: dict[str, Any], **options: Any) -> Any:
    """The collection that is there, or else an empty one of that shape; None: in memory."""
    if at is None:
        return Collection.create(None, **shape, **options)
    if hasattr(at, "search"):
        return at
    try:
        return opened(at, **options)
    except (MissingFileError, NotFoundError):
        pass
    if not isinstance(at, str) or not at.startswith(("http://", "https://")):
        return Collection.create(at, **shape, **options)
    from ._server import connect

    url, _, name = at.rstrip("/").rpartition("/")
    server = connect(url, **options)
    try:
        server.create(name, **shape)
    except BusyError:
        pass  # somebody else was quicker
    finally:
        server.close()
    return connect(at, **options)


def refuse_numbers(collection: Any, whose: str) -> None:
    if collection.info["ids"] != "string":
        raise ArgumentError(f"{whose} names its items by texts, and the ids of this collection are numbers: make it "
                            'with ids="string"')


def metric_of(collection: Any, vector: str | None) -> str:
    """Of the vector of that name; None: the only one, or the unnamed one."""
    specs = collection.info["vectors"]
    return next((metric for name, _, _, metric in specs if name == (vector or "") or len(specs) == 1), "l2")


def relevance(metric: str, distance: float) -> float:
    """A distance as a score that is higher the nearer it is, from 0 to 1; of inner products that of unit vectors."""
    if metric == "cosine":
        return 1.0 - distance / 2.0
    if metric == "ip":
        return (1.0 - distance) / 2.0
    return 1.0 / (1.0 + distance)


def both(filters: Any, field: str, value: str | None) -> Any:
    """A filter, and that a field has a value unless that is None."""
    if value is None:
        return filters
    if isinstance(filters, str) and filters.strip() and not filters.lstrip().startswith("{"):
        name = field.replace("`", "``")
        return f"({filters}\n) and `{name}` = {json.dumps(value)}"
    if isinstance(filters, str):
        filters = json.loads(filters) if filters.strip() else None
    one = {"key": field, "match": {"value": value}}
    return one if filters is None else {"must": [filters, one]}


# ---- Filters in the words of others ----------------------------------------------------------------------------------


def condition(given: Any) -> Any:
    """A filter as LangChain's users write them, {"color": "red", "price": {"$lt": 5}, "$or": [...]}, in kith's JSON
    form. What is text, or has that form already, stays."""
    if given is None or isinstance(given, str):
        return given
    if not isinstance(given, Mapping):
        raise TypeError(f"filter: a text or a dict was expected, not {given!r:.100}")
    if given and set(given) <= _CLAUSES or set(given) & _CONDITIONS and _is_condition(given):
        return dict(given)
    return {"must": [_one(key, value) for key, value in given.items()]}


def _is_condition(given: Mapping[str, Any]) -> bool:
    return set(given) in ({"key", "match"}, {"key", "range"}, {"is_empty"}, {"is_null"}, {"has_id"})


def _one(key: str, value: Any) -> dict[str, Any]:
    if key in ("$and", "$or", "$not"):
        parts = [condition(part) for part in (value if isinstance(value, (list, tuple)) else [value])]
        if key == "$or" and not parts:
            raise ArgumentError("filter: $or has no conditions")
        return {{"$and": "must", "$or": "should", "$not": "must_not"}[key]: parts}
    if key.startswith("$"):
        raise UnsupportedError(f"filter: {key} is unknown: $and, $or and $not are")
    if not isinstance(value, Mapping):
        return _equal(key, value)
    if not value:
        raise ArgumentError(f"filter: {key!r} has no condition")
    return {"must": [compared(key, operator, operand) for operator, operand in value.items()]}


def _equal(key: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {"is_empty": {"key": key}}
    if isinstance(value, (list, tuple, set, frozenset)):
        return {"key": key, "match": {"any": list(value)}}
    return {"key": key, "match": {"value": value}}


def compared(key: str, operator: str, operand: Any) -> dict[str, Any]:
    """A field compared with something: $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $all, $between, $exists."""
    if operator in _RANGES:
        return {"key": key, "range": {_RANGES[operator]: operand}}
    if operator == "$eq":
        return _equal(key, operand)
    if operator == "$ne":
        return {"must_not": [_equal(key, operand)]}
    if operator == "$in":
        return {"key": key, "match": {"any": list(operand)}}
    if operator == "$nin":
        return {"must_not": [{"key": key, "match": {"any": list(operand)}}]}
    if operator == "$all":
        return {"must": [_equal(key, value) for value in operand]}
    if operator == "$between":
        low, high = operand
        return {"key": key, "range": {"gte": low, "lte": high}}
    if operator == "$exists":
        return {"must_not" if operand else "must": [{"is_empty": {"key": key}}]}
    if operator == "$prefix":
        return {"key": key, "match": {"prefix": operand}}
    raise UnsupportedError(f"filter: {operator} of {key!r} is not offered: $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, "
                           "$all, $between, $exists and $prefix are")
