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

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import kith

_inside = pathlib.Path(kith.__file__).parent / "bin" / "kith"  # that of the wheel, unless another one is asked for
if _inside.exists():
    os.environ.setdefault("KITH_BIN", str(_inside))

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


# ---- Where a collection lies -----------------------------------------------------------------------------------------


class Folder:
    """Collections in folders."""

    kind = "folder"

    def __init__(self, path):
        self._path, self._numbers, self._made = path, itertools.count(), []

    def create(self, **options):
        path = self._path / f"somewhere-{next(self._numbers)}"
        self._made.append(kith.Collection.create(path, background=False, threads=1, **options))
        return self._made[-1]

    def close(self):
        for made in self._made:
            made.close()


class AtServer:
    """Collections at a server, which is one for all tests."""

    kind = "server"
    _numbers = itertools.count()

    def __init__(self, url):
        self._server, self._names = kith.connect(url), []

    def create(self, **options):
        self._names.append(f"test-{next(self._numbers)}")
        return self._server.create(self._names[-1], **options)

    def close(self):
        for name in self._names:
            self._server.drop(name)
        self._server.close()


@pytest.fixture(scope="session")
def server_url(tmp_path_factory):
    """The address of a `kith serve` over a folder of collections, for all tests of the session."""
    from serving import Server

    with Server(tmp_path_factory.mktemp("collections")) as server:
        yield server.url


def pytest_configure(config):
    config.addinivalue_line("markers", "folder: of a collection in a folder alone, though it uses `somewhere`")


def pytest_generate_tests(metafunc):
    """What a collection does is tried in a folder and at a server."""
    if "somewhere" in metafunc.fixturenames:
        alone = metafunc.definition.get_closest_marker("folder")
        metafunc.parametrize("somewhere", ["folder"] if alone else ["folder", "server"], indirect=True)


@pytest.fixture
def somewhere(request, tmp_path):
    """Where collections are made: somewhere.create(**options of kith.Collection.create)."""
    made = Folder(tmp_path) if request.param == "folder" else AtServer(request.getfixturevalue("server_url"))
    yield made
    made.close()
