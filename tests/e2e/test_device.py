# SPDX-License-Identifier: Apache-2.0
"""The command with --device: the processor's bytes, and a clear word where there is no device.

Where this machine has none (Debian's pocl-opencl-icd makes one of any processor), what needs one is skipped."""

import json
import os
import random
import subprocess

import pytest

from test_cli import INPUT, KITH, OTHER, USAGE, environment, write_npy


def run(*arguments, **more):
    return subprocess.run([KITH, *map(str, arguments)], capture_output=True, text=True, timeout=300,
                          env=environment(**more))


def good(*arguments, **more):
    done = run(*arguments, **more)
    assert done.returncode == 0, done.stderr
    return done


def devices():
    return json.loads(good("cpu", "--json").stdout)["devices"]


needs_device = pytest.mark.skipif(not devices(), reason="this machine has no OpenCL device")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("device")
    random.seed(5)
    centres = [[random.gauss(0, 1) for _ in range(24)] for _ in range(30)]
    rows = [[x + random.gauss(0, .3) for x in random.choice(centres)] for _ in range(12000)]
    write_npy(folder / "rows.npy", rows[:11700])
    write_npy(folder / "queries.npy", rows[11700:])
    good("build", folder / "rows.npy", "-o", folder / "rows.kith", "--lists", 60, "--index", "ivf")
    return folder


def answers(home, name, *options, **more):
    """The bytes that a search writes, and what it explains."""
    out = home / name
    done = good("search", home / "rows.kith", home / "queries.npy", "-o", out, "--force", "--explain", *options, **more)
    distances = out.with_name(out.stem + ".distances.npy")
    return (out.read_bytes(), distances.read_bytes()), done.stderr


@needs_device
def test_opencl_gives_the_bytes_of_the_processor(home):
    expected, said = answers(home, "cpu.npy", "-k", 10)
    assert "device " not in said
    found, said = answers(home, "opencl.npy", "-k", 10, "--device", "opencl")
    assert found == expected
    assert devices()[0]["name"].split(":")[0] in said
    for word in ("plan             device", "upload", "compute", "download"):
        assert word in said
    found, _ = answers(home, "small.npy", "-k", 10, "--device", "opencl", "--device-bytes", "64K")
    assert found == expected
    found, said = answers(home, "auto.npy", "-k", 10, "--device", "auto")
    assert found == expected


@needs_device
def test_two_devices_are_one(home):
    two = {"POCL_DEVICES": "pthread pthread"}
    if len(json.loads(good("cpu", "--json", **two).stdout)["devices"]) < 2:
        pytest.skip("only PoCL makes two devices of one")
    expected, _ = answers(home, "cpu.npy", "-k", 10)
    found, said = answers(home, "two.npy", "-k", 10, "--device", "opencl", **two)
    assert found == expected and "and 1 more" in said
    expected, _ = answers(home, "cpu.npy", "-k", 10, "--plan", "ivf", "--nprobe", 5)
    found, said = answers(home, "two.npy", "-k", 10, "--plan", "ivf", "--nprobe", 5, "--device", "opencl", **two)
    assert found == expected and "and 1 more" in said


@needs_device
def test_lists_at_a_target_recall(home):
    good("tune", home / "rows.kith")
    found, said = answers(home, "device.npy", "-k", 10, "--target-recall", ".9", "--device", "opencl")
    assert "plan             ivf" in said and "upload" in said
    lists = said.split("parameters")[1].split()
    nprobe, rerank = lists[0], lists[lists.index("candidates") - 1]
    expected, said = answers(home, "cpu.npy", "-k", 10, "--plan", "ivf", "--code", "int8", "--nprobe", nprobe,
                             "--rerank", rerank)
    assert "upload" not in said
    assert len(found[0]) == len(expected[0])


@needs_device
def test_join_and_bench(home):
    good("join", home / "queries.npy", home / "rows.kith", "-k", 5, "-o", home / "join-cpu")
    good("join", home / "queries.npy", home / "rows.kith", "-k", 5, "-o", home / "join-device", "--device", "opencl")
    for part in ("ids", "distances"):
        assert (home / f"join-cpu.{part}.npy").read_bytes() == (home / f"join-device.{part}.npy").read_bytes()


@pytest.mark.parametrize("more, words", [
    ({"KITH_DEVICE_PATH": "/nowhere"}, "there is no device"),
    ({"KITH_OPENCL": "/nowhere/libOpenCL.so.1"}, "there is no loader"),
    ({"KITH_OPENCL": "libm.so.6"}, "older than OpenCL 1.2"),
    ({"OCL_ICD_VENDORS": "/nowhere"}, "no driver is installed"),
    ({"KITH_OPENCL_OPTIONS": "-Dscan=1"}, "compiler refused the kernels"),
])
def test_without_a_device(home, tmp_path, more, words):
    if not devices() and "DEVICE_PATH" not in "".join(more):
        pytest.skip("this machine has no OpenCL device")
    query = ["search", home / "rows.kith", home / "queries.npy", "-k", 3, "--json"]
    more = {"XDG_CACHE_HOME": str(tmp_path), **more}
    done = run(*query, "--device", "opencl", **more)
    assert done.returncode == INPUT and done.stdout == ""
    said = done.stderr.splitlines()[-1]  # compilers, too, write to stderr
    assert said.startswith("kith: device: ") and words in said
    assert good(*query, "--device", "auto", **more).stdout == good(*query).stdout
    if "compiler" not in words:
        assert json.loads(good("cpu", "--json", **more).stdout)["devices"] == []


def test_words_and_bytes(home):
    done = run("search", home / "rows.kith", "--id", 1, "--device", "cuda")
    assert done.returncode == USAGE and "opencl" in done.stderr
    assert run("search", home / "rows.kith", "--id", 1, "--device-bytes", "many").returncode == USAGE
    done = run("search", home / "rows.kith", "--id", 1, "--plan", "device")
    assert done.returncode == INPUT and "opened without a device" in done.stderr


@needs_device
def test_a_device_without_room(home):
    done = run("search", home / "rows.kith", "--id", 1, "--device", "opencl", "--device-bytes", 100)
    assert done.returncode == OTHER and "no room" in done.stderr
    assert good("search", home / "rows.kith", "--id", 1, "--device", "auto", "--device-bytes", 100).stdout


@needs_device
def test_the_cache_is_used_and_not_needed(home, tmp_path):
    query = ["search", home / "rows.kith", "--id", 7, "--device", "opencl", "--json"]
    expected = good(*query, XDG_CACHE_HOME=str(tmp_path)).stdout
    entries = sorted(os.listdir(tmp_path / "kith"))
    assert len(entries) == 2
    before = [os.stat(tmp_path / "kith" / name).st_mtime_ns for name in entries]
    assert good(*query, XDG_CACHE_HOME=str(tmp_path)).stdout == expected
    assert before == [os.stat(tmp_path / "kith" / name).st_mtime_ns for name in entries]
    for place in ("/dev/null", "/proc", "relative"):
        assert good(*query, XDG_CACHE_HOME=place, POCL_CACHE_DIR=str(tmp_path)).stdout == expected
