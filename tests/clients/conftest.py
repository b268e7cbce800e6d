# SPDX-License-Identifier: Apache-2.0
"""What the tests of clients share: how what they start begins, a server of each module's own, and the client's local
mode beside it, which says what is right."""
import importlib.metadata
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from beginnings import begin_as_by_default

begin_as_by_default()
# Clients look things up on the network when they are imported or made.
os.environ.setdefault("MEM0_TELEMETRY", "False")
os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")

import pytest
from qdrant_client import QdrantClient
from qdrant_client.common.version_check import is_compatible
from serving import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`kith serve` of a new folder, at a free port of this machine."""
    with Server(tmp_path_factory.mktemp("served") / "shelf", "--create", "--durability", "relaxed") as running:
        yield running
        running.stop()


@pytest.fixture(scope="module")
def kith_url(server):
    return server.url


@pytest.fixture(scope="module")
def client(server):
    made = QdrantClient(url=server.url, prefer_grpc=False, timeout=20)
    # Where this is not so the client warns, from a thread of its own.
    assert is_compatible(importlib.metadata.version("qdrant-client"), made.info().version)
    yield made
    made.close()


@pytest.fixture
def local():
    made = QdrantClient(":memory:")
    yield made
    made.close()
