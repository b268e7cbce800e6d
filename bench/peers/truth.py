# SPDX-License-Identifier: Apache-2.0
"""Exact nearest neighbours, and recall against them.

Rows are scored in float32 by matrix products, the best are scored again in float64, and what the rounding of the first
pass could have hidden is searched for in float64 entirely: the k-th distance is right whatever the data.

Recall counts by distance: an answer is right if its distance, in float64, is not above that of the k-th true
neighbour. So of several rows at the same distance any may be given. A row given twice counts once; -1 counts never.
"""
from __future__ import annotations

import hashlib
import pathlib
from typing import Any

import numpy as np

BLOCK = 8192
SPARE = 28  # candidates beyond k that are kept for the second pass


def distances(base: np.ndarray, queries: np.ndarray, ids: np.ndarray, metric: str) -> np.ndarray:
    """Distances in float64 of queries (q, d) to base[ids], ids (q, m): squared for l2, minus the product for ip.
    inf where an id is no row of base."""
    out = np.full(ids.shape, np.inf)
    for start in range(0, len(queries), 64):
        part = slice(start, start + 64)
        chosen = ids[part]
        valid = (chosen >= 0) & (chosen < len(base))
        rows = base[np.where(valid, chosen, 0)].astype(np.float64)
        asked = queries[part, None, :].astype(np.float64)
        if metric == "l2":
            found = np.square(rows - asked).sum(axis=2)
        else:
            found = -(rows * asked).sum(axis=2)
        out[part] = np.where(valid, found, np.inf)
    return out


def _whole_row(base: np.ndarray, query: np.ndarray, metric: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest to one query, every row in float64."""
    found = np.concatenate([
        distances(base, query[None, :], np.arange(start, min(start + BLOCK, len(base)))[None, :], metric)[0]
        for start in range(0, len(base), BLOCK)])
    order = np.argsort(found, kind="stable")[:k]
    return order, found[order]


def exact(base: np.ndarray, queries: np.ndarray, metric: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(ids, distances) of the k nearest, both (q, k), by rising distance, ties by row. metric: l2 or ip.
    ValueError: k above the number of rows, or a value that is not finite."""
    if not 1 <= k <= len(base):
        raise ValueError(f"k is {k}, and the base has {len(base)} rows")
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    keep, count = min(len(base), k + SPARE), len(queries)
    best = np.full((count, keep), np.inf, dtype=np.float32)
    rows = np.full((count, keep), -1, dtype=np.int64)
    largest = 0.0
    for start in range(0, len(base), BLOCK):
        block = np.asarray(base[start:start + BLOCK], dtype=np.float32)
        norms = np.einsum("ij,ij->i", block, block)
        if not np.isfinite(norms).all():
            bad = start + int(np.flatnonzero(~np.isfinite(norms))[0])
            raise ValueError(f"row {bad} of the base has a value that is not finite, or that is too large")
        largest = max(largest, float(norms.max()))
        scores = queries @ block.T
        scores *= -2.0 if metric == "l2" else -1.0
        if metric == "l2":
            scores += norms
        where, column = np.nonzero(scores < best.max(axis=1)[:, None])
        best, rows = _merge(best, rows, where, column + start, scores[where, column], keep)
    ids, found = _rescore(base, queries, rows, metric, k)
    # A row that was dropped scored at least the worst that was kept, less what float32 can lose in d steps.
    query_norms = np.sqrt(np.einsum("ij,ij->i", queries, queries, dtype=np.float64))
    size = query_norms * largest ** 0.5 * 2 + largest
    slack = (queries.shape[1] + 8) * 2.0 ** -23 * size
    shift = query_norms ** 2 if metric == "l2" else 0.0
    unsure = best.max(axis=1) - slack < found[:, -1] - shift
    for row in np.flatnonzero(unsure) if keep < len(base) else ():
        ids[row], found[row] = _whole_row(base, queries[row], metric, k)
    return ids, found


def _merge(best: np.ndarray, rows: np.ndarray, where: np.ndarray, found: np.ndarray, scores: np.ndarray,
           keep: int) -> tuple[np.ndarray, np.ndarray]:
    """Put candidates (query number, row, score), by rising query number, among the best of their queries."""
    counts = np.bincount(where, minlength=len(best))
    width = int(counts.max(initial=0))
    if width == 0:
        return best, rows
    place = np.arange(len(where)) - np.repeat(np.cumsum(counts) - counts, counts)
    more = np.full((len(best), width), np.inf, dtype=np.float32)
    more_rows = np.full((len(best), width), -1, dtype=np.int64)
    more[where, place], more_rows[where, place] = scores, found
    scores, found = np.hstack([best, more]), np.hstack([rows, more_rows])
    order = np.argpartition(scores, keep - 1, axis=1)[:, :keep]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(found, order, 1)


def _rescore(base: np.ndarray, queries: np.ndarray, rows: np.ndarray, metric: str,
             k: int) -> tuple[np.ndarray, np.ndarray]:
    found = distances(base, queries, rows, metric)
    order = np.lexsort((rows, found), axis=1)[:, :k]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(found, order, 1)


def recall(ids: np.ndarray, base: np.ndarray, queries: np.ndarray, truth: np.ndarray, metric: str) -> float:
    """The share of right answers. ids: (q, m), padded with -1; truth: the k true distances of each query, (q, k).
    Only the first k answers of a row count."""
    k = truth.shape[1]
    ids = np.asarray(ids, dtype=np.int64)[:, :k]
    ranks = np.sort(ids, axis=1)
    twice = np.zeros(ids.shape, dtype=bool)
    twice[:, 1:] = ranks[:, 1:] == ranks[:, :-1]
    found = distances(base, queries, np.where(twice, -1, ranks), metric)
    # Two ways of summing the same numbers differ by rounding: that much is no miss.
    limit = truth[:, -1:] + 1e-9 * np.maximum(1.0, np.abs(truth[:, -1:]))
    return float((found <= limit).sum() / (len(ids) * k))


def fingerprint(base: np.ndarray, queries: np.ndarray) -> str:
    """A name for the contents: shapes, and the bytes of up to 4,096 rows of each spread over all."""
    digest = hashlib.blake2b(digest_size=8)
    for array in (base, queries):
        step = max(1, len(array) // 4096)
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array[::step], dtype=np.float32).tobytes())
    return digest.hexdigest()


def cached(data: Any, k: int, folder: pathlib.Path) -> np.ndarray:
    """True distances (q, k) of a data set (datasets.Data), computed once and kept in the folder."""
    name = f"{data.name}-{data.metric}-{len(data.queries)}-{k}-{fingerprint(data.base, data.queries)}.npz"
    path = folder / name
    if path.exists():
        with np.load(path) as file:
            return file["distances"]
    ids, found = exact(data.base, data.queries, data.metric, k)
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(part, ids=ids, distances=found)
    part.replace(path)
    return found
