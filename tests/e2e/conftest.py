# SPDX-License-Identifier: Apache-2.0
"""What all tests of the command share: how what they start begins."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from beginnings import begin_as_by_default

begin_as_by_default()
