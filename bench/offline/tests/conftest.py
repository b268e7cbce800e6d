# SPDX-License-Identifier: Apache-2.0
"""How the processes that these tests start begin."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tests" / "support"))

from beginnings import begin_as_by_default

begin_as_by_default()
