# SPDX-License-Identifier: Apache-2.0
"""What this machine can do, the defining distances, and the number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _kith
from ._convert import to_queries
from ._errors import ArgumentError
from ._options import metric as parse_metric


def cpu() -> dict[str, Any]:
    """What the library found and uses here: tier ("scalar", "avx2", "avx512", "amx", "neon"), tier_found, features,
    features_used, setting (the environment variable KITH_CPU), model, cores (usable by this process, by its affinity
    and its control group's quota), threads (that 0 stands for in the library: KITH_THREADS, otherwise one for each core),
    and cache sizes in bytes (0 when unknown). ArgumentError: KITH_CPU has an unknown word, KITH_THREADS is no number of
    threads.

    >>> kith.cpu()["cores"] >= 1
    True
    """
    return _kith.cpu()


def devices() -> list[dict[str, Any]]:
    """The OpenCL devices of this machine, for :func:`kith.open`'s ``device``: dicts of backend, name, driver (its version),
    memory_bytes (0: unknown), units (that compute side by side) and obstacle (why it cannot be used, or "").

    >>> all(device["backend"] == "opencl" for device in kith.devices())
    True
    """
    return _kith.devices()


def distance(metric: str, q: Any, x: Any) -> float:
    """The defining distance between query q and vector x, both (d,): what an exact search returns, to the last bit.

    q becomes float32; x is taken as float32, float16, bfloat16, int8 or uint8. For ``hamming`` and ``jaccard`` both are
    (d/8,) uint8, or (d,) bool. ArgumentError: shapes. DataError: a zero vector under ``cosine``,
    or one longer than 2**62.

    >>> kith.distance("l2", [1, 2, 3], [1, 2, 5])
    4.0
    """
    number = parse_metric(metric)
    bits = number in (_kith.parse_metric("hamming"), _kith.parse_metric("jaccard"))
    one, two = to_queries(q, bits), to_queries(x, bits)
    if one.ndim != 1 or one.shape != two.shape:
        raise ArgumentError(f"distance: shapes {one.shape} and {two.shape}; two of (d,) were expected")
    return _kith.distance(number, one if bits else np.ascontiguousarray(one, np.float32), two, bits)


def set_threads(count: int) -> None:
    """Set how many threads builds and batches use when `threads` is not given. ArgumentError outside 1..256."""
    _kith.set_threads(count)


def get_threads() -> int:
    """How many threads builds and batches use when `threads` is not given: at first as many as the
    environment variable KITH_THREADS says, and where it is unset one for each usable core. ArgumentError: KITH_THREADS is
    no number from 1 to 256."""
    return _kith.get_threads()
