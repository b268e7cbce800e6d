# SPDX-License-Identifier: Apache-2.0
"""What all tests share: repeatable data, the plain answer to a search, and how what they start begins."""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "support"))
for _name in ("KITH_CPU", "KITH_THREADS"):
    os.environ.pop(_name, None)

from beginnings import begin_as_by_default

begin_as_by_default()

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import kith

settings.register_profile("kith", derandomize=True, deadline=None, max_examples=40, database=None,
                          suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.load_profile("kith")


def plain(metric, X, Q, k, ids=None):
    """The k nearest by the defining distance of every pair, ties by id; padded as Result is."""
    ids = np.arange(len(X)) if ids is None else np.asarray(ids)
    found = np.full((len(Q), k), -1, np.int64)
    distances = np.full((len(Q), k), np.inf, np.float32)
    for row, query in enumerate(Q):
        pairs = sorted((kith.distance(metric, query, x), int(i)) for x, i in zip(X, ids))[:k]
        for place, (distance, i) in enumerate(pairs):
            found[row, place], distances[row, place] = i, distance
    return found, distances


@pytest.fixture(scope="session")
def vectors():
    return np.random.default_rng(20).standard_normal((600, 24), dtype=np.float32)


@pytest.fixture(scope="session")
def index(vectors):
    with kith.Index.build(vectors) as built:
        yield built
