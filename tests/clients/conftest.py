# SPDX-License-Identifier: Apache-2.0
"""A server of its own for each module, and the client's local mode beside it, which says what is right."""
import importlib.metadata
import os
import pathlib
import re
import signal
import subprocess

import pytest
from qdrant_client import QdrantClient
from qdrant_client.common.version_check import is_compatible

KITH = os.environ.get("KITH_BIN") or str(pathlib.Path(__file__).resolve().parents[2] / "build" / "kith")
# Clients look things up on the network when they are imported or made.
os.environ.setdefault("MEM0_TELEMETRY", "False")
os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")


class Server:
    """`kith serve` of a new folder, at a free port of this machine."""

    def __init__(self, folder, *options):
        self.process = subprocess.Popen([KITH, "serve", str(folder), "--create", "--port", "0", *options],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = ""
        for line in self.process.stdout:
            said += line
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found.group(1))
                self.url = f"http://127.0.0.1:{self.port}"
                return
        raise AssertionError(f"kith serve did not begin: {said}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=20)
        finally:
            self.process.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("served") / "shelf", "--durability", "relaxed")
    yield running
    running.stop()


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
