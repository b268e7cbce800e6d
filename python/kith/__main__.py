# SPDX-License-Identifier: Apache-2.0
"""The command: ``python -m kith`` and ``kith`` run the program that lies in the package."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Become the command ``kith``, with the arguments of this process."""
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "kith")
    if not os.path.exists(program):
        sys.exit("kith: this package was built without the command (libpng was not there)")
    os.environ.setdefault("KITH_PYTHON", sys.executable or "")  # it asks this package for formats that it cannot read
    os.execv(program, ["kith", *sys.argv[1:]])


if __name__ == "__main__":
    main()
