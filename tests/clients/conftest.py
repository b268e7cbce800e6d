# SPDX-License-Identifier: Apache-2.0
"""What the tests of clients share: how what they start begins, and a server."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from beginnings import begin_as_by_default

begin_as_by_default()

import pytest
from serving import Server


@pytest.fixture(scope="session")
def kith_url(tmp_path_factory):
    """The address of a `kith serve` over an empty folder, for all tests of the session."""
    with Server(tmp_path_factory.mktemp("collections")) as server:
        yield server.url
