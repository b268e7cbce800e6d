# SPDX-License-Identifier: Apache-2.0
"""What is served and what is asked: vectors, queries, and files of HTTP requests for the loaders."""
from __future__ import annotations

import dataclasses
import json
import pathlib
import struct
from typing import Iterable, Optional

import numpy as np

K, TARGET = 10, 0.95


@dataclasses.dataclass(frozen=True)
class Data:
    name: str
    base: np.ndarray  # float32, of unit length
    queries: np.ndarray


def unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.ascontiguousarray(rows / np.where(lengths > 0, lengths, 1))


def synthetic(rows: int, dim: int, queries: int) -> Data:
    """Clusters of unequal size in a space that is flatter than its dimensions: something like what models make."""
    rng = np.random.default_rng(17)
    axes = rng.standard_normal((max(2, dim // 6), dim)).astype(np.float32)
    centres = rng.standard_normal((max(2, rows // 60), len(axes))).astype(np.float32)
    of = np.minimum((rng.pareto(1.2, rows + queries) * len(centres) / 12).astype(int), len(centres) - 1)
    all_rows = (centres[of] + 0.7 * rng.standard_normal((rows + queries, len(axes))).astype(np.float32)) @ axes
    all_rows += 0.3 * rng.standard_normal(all_rows.shape).astype(np.float32)
    all_rows = unit(all_rows)
    return Data(f"synthetic, {rows:,} x {dim}", all_rows[:rows], all_rows[rows:])


def read(base: pathlib.Path, queries: pathlib.Path, rows: Optional[int]) -> Data:
    """ValueError unless both have rows of finite numbers, of one length."""
    X, Q = (np.load(path, mmap_mode="r") for path in (base, queries))
    if X.ndim != 2 or Q.ndim != 2 or X.shape[1] != Q.shape[1] or len(X) == 0 or len(Q) == 0:
        raise ValueError(f"{base} and {queries}: rows of one length are expected, and they have the shapes {X.shape} "
                         f"and {Q.shape}")
    found = unit(X[:rows]), unit(Q[:2000])
    if not all(np.isfinite(part).all() for part in found):
        raise ValueError(f"{base}, {queries}: a number is not finite")
    return Data(f"{base.stem}, {len(found[0]):,} x {X.shape[1]}", *found)


# ---- Requests


def http(method: str, path: str, body: bytes, kind: str, accept: str = "application/json") -> bytes:
    return (f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nAccept: {accept}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def as_json(collection: str, queries: np.ndarray, **more: object) -> list[bytes]:
    """Numbers as programs print float32: the shortest text that reads back."""
    asked = {"k": K, "target": TARGET, **more}
    return [http("POST", f"/v1/collections/{collection}/query",
                 json.dumps({"vector": [float(str(number)) for number in row], **asked}).encode(), "application/json")
            for row in queries]


def as_raw(collection: str, queries: np.ndarray, **more: object) -> list[bytes]:
    asked = "&".join(f"{name}={value}" for name, value in {"k": K, "target": TARGET, **more}.items())
    octets = "application/octet-stream"
    return [http("POST", f"/v1/collections/{collection}/query?{asked}", row.tobytes(), octets, octets)
            for row in queries]


def write(path: pathlib.Path, requests: Iterable[bytes]) -> pathlib.Path:
    """A file for both loaders: load.c tells its form."""
    requests = list(requests)
    path.write_bytes(struct.pack("<I", len(requests)) +
                     b"".join(struct.pack("<I", len(one)) + one for one in requests))
    return path
