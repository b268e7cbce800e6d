# SPDX-License-Identifier: Apache-2.0
"""Tests are green however they are started: what they start begins with default signals and open streams.

Guards against: a background job's ignored SIGINT that children inherit, so that an interrupted build goes on for ever;
nohup's ignored SIGHUP; blocked signals; a closed standard input, whose number the first opened file gets.
"""
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get("KITH_BUILD_DIR", SOURCE / "build"))
TIER = BUILD / "bin" / "kith_tier"

WAYS = {
    "plain": "",
    "background": "trap '' INT QUIT; ",
    "nohup": "trap '' HUP; ",
    "all ignored": "trap '' INT QUIT HUP TERM PIPE USR1 ALRM; ",
    "no input": "exec <&-; ",
    "nothing to read": "exec </dev/null; ",
}
PRINT = r"""
import os, signal
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
ours = (1 << 31) - 1  # signals 32 and up: the C library keeps some for itself, and lets nobody change those
ignored = int(status["SigIgn"], 16) & ours & ~(1 << signal.SIGPIPE - 1) & ~(1 << signal.SIGXFSZ - 1)  # Python's own
print(ignored, int(status["SigBlk"], 16) & ours, all(os.path.exists(f"/proc/self/fd/{n}") for n in range(3)))
"""


def started(way, command, **options):
    """Run a command as a shell does that was told to ignore or close something first."""
    done = subprocess.run(["/bin/sh", "-c", WAYS[way] + 'exec "$@"', "sh", *map(str, command)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=300, check=False, **options)
    return done.returncode, done.stdout


@pytest.mark.parametrize("way", WAYS)
def test_programs_of_ctest_begin_with_defaults(way):
    if not TIER.exists():
        pytest.skip("the tests in C were not built")
    assert started(way, [TIER, "-", sys.executable, "-c", PRINT]) == (0, "0 0 True\n")


@pytest.mark.parametrize("way", WAYS)
def test_children_of_python_begin_with_defaults(way):
    script = ("import subprocess, sys; from beginnings import begin_as_by_default; begin_as_by_default(); "
              f"sys.exit(subprocess.run([sys.executable, '-c', {PRINT!r}]).returncode)")
    env = os.environ | {"PYTHONPATH": str(HERE.parent / "support")}
    assert started(way, [sys.executable, "-c", script], env=env) == (0, "0 0 True\n")


def test_interrupts_are_heard_in_the_background():
    """A test of this folder, as a background job runs it."""
    test = HERE / "test_cli.py::test_interrupted_build_leaves_nothing"
    code, said = started("all ignored", [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
                         env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"})
    assert code == 0 and "2 passed" in said, said
