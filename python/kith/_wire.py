# SPDX-License-Identifier: Apache-2.0
"""Between what the verbs of a collection pack and unpack, and what goes to a server and comes back: JSON, lines of it,
raw vectors and raw answers.

A raw answer is "KITHRES1", u32 queries, u32 flags (1: ids are strings), u32 ends[queries], padding to 8 bytes, u64
ids[count], f32 distances[count], and with string ids u32 ends[count] and the bytes; all little-endian. Its arrays are
views of the body, wherever the hits of all queries are as many as were asked for."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from ._convert import to_queries
from ._errors import ArgumentError, DataError, ServerError
from ._hits import unpack_bytes
from ._items import ANY_VERSION

BODY_BYTES = 16 << 20  # of a write: a quarter of what a server takes unless it was told otherwise
BODY_POINTS = 10_000  # which it writes in one step, all of them or none
_MAGIC, _HEAD = b"KITHRES1", 16
_STRINGS = 1
_NO_ID = 2**64 - 1


# ---- Out: items ------------------------------------------------------------------------------------------------------


def ids_of(packed: Any) -> list[Any]:
    """Numbers or texts, as JSON has them."""
    if isinstance(packed, tuple):
        return [text.decode() for text in unpack_bytes(packed)]
    return packed.tolist()


def floats(rows: Any, what: str) -> np.ndarray:
    """Rows as (n, d) float32 in C order: themselves where they are that."""
    table = np.asarray(rows)
    if table.ndim != 2:
        raise ArgumentError(f"{what}: have the shape {table.shape}; (n, d) was expected")
    return np.ascontiguousarray(table, np.float32)


def vector_texts(rows: Any, bits: bool, what: str, names: list[str] | None = None) -> list[str]:
    """A JSON array a row; nine digits say which float32 it is. JSON has no NaN, so DataError names the row, and the id
    that names has for it."""
    if bits:
        return [json.dumps(row, separators=(",", ":")) for row in np.asarray(rows).tolist()]
    table = floats(rows, what)
    good = np.isfinite(table).all(axis=1)
    if not good.all():
        row = int(np.argmin(good))
        raise DataError(f"{what}: row {row}{'' if names is None else f' (id {names[row]})'} holds a NaN or an infinity")
    pattern = "[" + ",".join(["%.9g"] * table.shape[1]) + "]"
    return [pattern % tuple(row) for row in table.tolist()]


class Column:
    """The vectors of one name and generation."""

    __slots__ = ("name", "generation", "rows", "present", "bits")

    def __init__(self, name: str, generation: int, rows: Any, present: Any, bits: bool) -> None:
        self.name, self.generation, self.rows, self.present, self.bits = name, generation, rows, present, bits


def point_lines(ids: Any, columns: list[Column], payloads: Any, expires: Any, versions: Any) -> Iterator[bytes]:
    """The lines of a write, {"id": ..., "vector": ..., "payload": ..., "expires_ms": ..., "if_version": ...}, each
    with its end. A few hundred are made at once, so that memory stays small beside the vectors."""
    names = [json.dumps(id, ensure_ascii=False) for id in ids_of(ids)]
    bodies = None if payloads is None else list(unpack_bytes(payloads))
    for first in range(0, len(names), _STEP):
        part = slice(first, min(first + _STEP, len(names)))
        for row, vectors in zip(range(part.start, part.stop), _vectors(columns, part, names)):
            line = f'{{"id":{names[row]}{vectors}'
            if expires is not None:
                line += f',"expires_ms":{int(expires[row])}'
            if versions is not None and int(versions[row]) != ANY_VERSION:
                line += f',"if_version":{int(versions[row])}'
            if bodies is not None and bodies[row]:
                yield line.encode() + b',"payload":' + bodies[row] + b"}\n"
            else:
                yield line.encode() + b"}\n"


_STEP = 256


def _vectors(columns: list[Column], part: slice, names: list[str]) -> Iterator[str]:
    """The members of each point that are its vectors: those of one generation, and of others beside them."""
    groups: dict[int, list[Column]] = {}
    for column in columns:
        groups.setdefault(column.generation, []).append(column)
    own, *others = groups or [0]
    texts = {number: list(_values(group, part, names)) for number, group in groups.items()}
    for row in range(part.stop - part.start):
        said = ""
        if (value := texts[own][row] if groups else "") != "":
            said = f',"vector":{value}' + (f',"generation":{own}' if own else "")
        beside = [f'"{number}":{texts[number][row]}' for number in others if texts[number][row] != ""]
        yield f'{said},"generations":{{{",".join(beside)}}}' if beside else said


def _values(group: list[Column], part: slice, names: list[str]) -> Iterator[str]:
    """The vectors of a generation, for each item: one array, or an object of such by their names; "": none."""
    tables = [(json.dumps(column.name, ensure_ascii=False), _texts(column, part, names[part])) for column in group]
    bare = len(group) == 1 and group[0].name == ""
    for texts in zip(*(table for _, table in tables)):
        there = [f"{name}:{text}" for (name, _), text in zip(tables, texts) if text is not None]
        yield (texts[0] or "") if bare else f"{{{','.join(there)}}}" if there else ""


def _texts(column: Column, part: slice, names: list[str]) -> list[str | None]:
    what = f"vectors of {column.name!r}" if column.name else "vectors"
    texts: list[str | None] = list(vector_texts(column.rows[part], column.bits, what, names))
    if column.present is not None:
        texts = [text if here else None for text, here in zip(texts, column.present[part].tolist())]
    return texts


def portions(lines: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """(how many, lines one after the other): bodies of writes that a server takes."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        if held and (size + len(line) > BODY_BYTES or len(held) >= BODY_POINTS):
            yield len(held), b"".join(held)
            held, size = [], 0
        held.append(line)
        size += len(line)
    if held:
        yield len(held), b"".join(held)


# ---- Out: queries ----------------------------------------------------------------------------------------------------


def queries_of(Q: Any, bits: bool) -> tuple[np.ndarray, bool]:
    """((q, d) queries as they are sent, whether there is one alone)"""
    if type(Q) is np.ndarray and Q.dtype == np.float32 and Q.ndim in (1, 2) and Q.flags.c_contiguous and not bits and \
            Q.size:
        return (Q, False) if Q.ndim == 2 else (Q[None], True)
    table = to_queries(Q, bits)
    single = table.ndim == 1
    table = table[None] if single else table
    return (table if bits else np.ascontiguousarray(table, np.float32)), single


# ---- In: raw answers -------------------------------------------------------------------------------------------------


def raw_hits(body: bytearray, k: int, single: bool) -> tuple[Any, ...]:
    """The answer that Hits is made of."""
    if len(body) < _HEAD or body[:8] != _MAGIC:
        raise ServerError("the server's answer is no raw answer")
    queries, flags = struct.unpack_from("<II", body, 8)
    at = _HEAD + 4 * queries
    at += -at % 8
    if at > len(body):
        raise ServerError("the server's raw answer is too short")
    ends = np.frombuffer(body, "<u4", queries, _HEAD).astype(np.uint64)
    count = int(ends[-1]) if queries else 0
    most = count if queries == 1 else max(np.diff(ends.astype(np.int64), prepend=0).tolist(), default=0)
    if at + 12 * count > len(body) or most > k:
        raise ServerError("the server's raw answer is too short")
    ids = np.frombuffer(body, "<u8", count, at)
    distances = np.frombuffer(body, "<f4", count, at + 8 * count)
    texts = _raw_texts(body, at + 12 * count, count) if flags & _STRINGS else None
    numbers, near = shaped(ids, distances, ends, queries, k, single)
    return numbers, near, ends, texts, None, None, None, None, None


def _raw_texts(body: bytearray, at: int, count: int) -> tuple[bytes, np.ndarray]:
    if at + 4 * count > len(body):
        raise ServerError("the server's raw answer is too short")
    ends = np.frombuffer(body, "<u4", count, at).astype(np.uint64)
    return bytes(memoryview(body)[at + 4 * count:]), ends


def shaped(ids: np.ndarray, distances: np.ndarray, ends: np.ndarray, queries: int, k: int,
           single: bool) -> tuple[np.ndarray, np.ndarray]:
    """Hits one after the other as (q, k), or (k,) for a single query; what is missing is filled up."""
    if len(ids) != queries * k:
        counts = np.diff(ends.astype(np.int64), prepend=0)
        there = np.arange(k) < counts[:, None]
        table, near = np.full((queries, k), _NO_ID, np.uint64), np.full((queries, k), np.inf, np.float32)
        table[there], near[there] = ids, distances
    else:
        table, near = ids.reshape(queries, k), distances.reshape(queries, k)
    signed = table.view(np.int64)
    if not len(ids) or ids.view(np.int64).min() >= 0:
        table = signed
    return (table[0], near[0]) if single and queries == 1 else (table, near)


# ---- In: JSON --------------------------------------------------------------------------------------------------------


def hits_of(reply: dict[str, Any], k: int, single: bool, strings: bool, parts: dict[str, Any]) -> tuple[Any, ...]:
    """The answer that Hits is made of. parts: "payload", "versions", and "vectors" with specs as vectors_of()
    takes them; what was not asked for is not there."""
    results = reply["results"]
    found = [hit for hits in results for hit in hits]
    ends = np.cumsum([len(hits) for hits in results], dtype=np.uint64)
    distances = np.array([hit["distance"] for hit in found], np.float32)
    texts = pack_texts([hit["id"] for hit in found]) if strings else None
    ids = np.zeros(len(found), np.uint64) if strings else np.array([hit["id"] for hit in found], np.uint64)
    numbers, near = shaped(ids, distances, ends, len(results), k, single)
    return (numbers, near, ends, texts,
            [hit.get("payload") for hit in found] if "payload" in parts else None,
            np.array([hit["version"] for hit in found], np.uint64) if "versions" in parts else None, None,
            vectors_of(found, parts["vectors"]) if "vectors" in parts else None,
            explained(reply["explain"]) if "explain" in reply else None)


def explained(told: dict[str, Any]) -> dict[str, Any]:
    """What a server tells of a search, in the words of a folder's: seconds, and under "search" what concerns the plan.
    "batch", "waited_seconds" and "searched_seconds" are the server's own."""
    found: dict[str, Any] = {}
    for name, value in told.items():
        found["seconds" if name == "total_ns" else name[:-3] + "_seconds" if name.endswith("_ns") else name] = \
            value / 1e9 if name.endswith("_ns") else value
    found["search"] = {name: found.pop(name) for name in _OF_PLAN if name in found}
    return found


_OF_PLAN = ("plan", "tier", "scanned_rows", "scanned_bytes", "probed_lists", "candidates", "reranked", "visited",
            "hot", "unusual", "considered")


def items(points: list[dict[str, Any]], strings: bool, specs: list[tuple[Any, ...]] | None) -> tuple[Any, ...]:
    """The answer that items_of() takes."""
    names = [point["id"] for point in points]
    return (np.zeros(len(points), np.uint64) if strings else np.array(names, np.uint64),
            pack_texts(names) if strings else None, [point.get("payload") for point in points],
            np.array([point.get("version") or 0 for point in points], np.uint64),
            np.array([point.get("expires_ms") or 0 for point in points], np.uint64),
            None if specs is None else vectors_of(points, specs))


def pack_texts(names: list[str]) -> tuple[bytes, np.ndarray]:
    texts = [name.encode() for name in names]
    return b"".join(texts), np.cumsum([len(text) for text in texts], dtype=np.uint64)


def vectors_of(points: list[dict[str, Any]], specs: list[tuple[Any, ...]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """name: (rows, which are there), from what each item has under "vector": an array, or one for each name. specs:
    (name, dim where no item has one, whether it is bits) of each."""
    found = {}
    for name, dim, bits in specs:
        vectors = [_named(point.get("vector"), name, len(specs) == 1) for point in points]
        width = next((len(vector) for vector in vectors if vector is not None), dim // 8 if bits else dim)
        rows = np.zeros((len(points), width), np.uint8 if bits else np.float32)
        present = np.array([vector is not None for vector in vectors], np.uint8)
        for row, vector in enumerate(vectors):
            if vector is None:
                continue
            if len(vector) != width:
                raise ServerError(f"the server gave vectors {name!r} of {width} and of {len(vector)} elements")
            rows[row] = vector
        found[name] = rows, present
    return found


def _named(vector: Any, name: str, only: bool) -> Any:
    if isinstance(vector, dict):
        return vector.get(name)
    return vector if only or name == "" else None


def bodies_as_bytes(payloads: Any) -> list[bytes]:
    """The payloads of an answer as texts of JSON, b"" for none."""
    if isinstance(payloads, list):
        return [b"" if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
                for body in payloads]
    return list(unpack_bytes(payloads))


def merged(answers: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The answers to portions of the queries as one; what explains them is that of the last portion."""
    if len(answers) == 1:
        return answers[0]
    columns = list(zip(*answers))
    wide = any(numbers.dtype == np.uint64 for numbers in columns[0])
    numbers = np.concatenate([table.view(np.uint64) for table in columns[0]])
    vectors = None if columns[7][0] is None else {
        name: tuple(map(np.concatenate, zip(*(part[name] for part in columns[7])))) for name in columns[7][0]}
    return (numbers if wide else numbers.view(np.int64), np.concatenate(columns[1]), _one_after_another(columns[2]),
            None if columns[3][0] is None else (b"".join(texts for texts, _ in columns[3]),
                                                _one_after_another([ends for _, ends in columns[3]])),
            None if columns[4][0] is None else [body for part in columns[4] for body in part],
            None if columns[5][0] is None else np.concatenate(columns[5]), None, vectors, columns[8][-1])


def _one_after_another(parts: Any) -> np.ndarray:
    """Ends of things that lie one after the other."""
    begins = np.cumsum([0, *(int(ends[-1]) if len(ends) else 0 for ends in parts[:-1])], dtype=np.uint64)
    return np.concatenate([ends + begin for ends, begin in zip(parts, begins)])
