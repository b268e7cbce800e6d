# SPDX-License-Identifier: Apache-2.0
"""Files that the command has Python read: what it asks Python for, what it does with the answer, and what it leaves behind.
The Python here is a stand-in; the package's own tests hold the real one against the command (python/tests).

Standard library only."""
import json
import math
import os
import pathlib
import signal
import struct
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
KITH = os.environ.get("KITH_BIN") or str(ROOT / "build" / "kith")
OTHER, INPUT, ABSENT, STORAGE, INTERRUPTED = 1, 3, 5, 6, 130
ROWS = [[1, 2, 3], [4, 5, 6], [7, 8, 10], [1, 2, 4]]

STAND_IN = """#!{python}
import json, os, shutil, signal, sys, time
option, program, path, folder, dtype, id_column, name_column = sys.argv[1:]
compile(program, "program", "exec")
assert option == "-c" and os.listdir(folder) == [] and os.stat(folder).st_mode & 0o777 == 0o700
with open({home!r} + "/seen.json", "w") as file:
    json.dump([path, folder, dtype, id_column, name_column], file)
print("said on standard output")
if "broken" in path:
    print("kith: broken.parquet: column 'a': row 3: is missing (null)", file=sys.stderr)
    sys.exit(3)
if "killed" in path:
    os.kill(os.getpid(), signal.SIGKILL)
if "slow" in path:
    time.sleep(600)
sys.exit(97) if "bare" in path else None
sys.exit(0) if "empty" in path else None
for name in os.listdir({home!r} + "/answer"):
    shutil.copy({home!r} + "/answer/" + name, folder)
"""


def npy(rows):
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({len(rows)}, {len(rows[0])}), }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + head.encode() + b"".join(
        struct.pack("<f", x) for row in rows for x in row)


@pytest.fixture
def home(tmp_path):
    """A folder with a stand-in for Python, its answer, and a place for private folders."""
    (tmp_path / "answer").mkdir()
    (tmp_path / "temporary").mkdir()
    (tmp_path / "answer" / "vectors.npy").write_bytes(npy(ROWS))
    (tmp_path / "python").write_text(STAND_IN.format(python=sys.executable, home=str(tmp_path)))
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def environment(home, python=None):
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "KITH_CPU")} | {"LC_ALL": "C.UTF-8"}
    return env | {"KITH_PYTHON": str(python or home / "python"), "TMPDIR": str(home / "temporary")}


def kith(home, *arguments, python=None):
    done = subprocess.run([KITH, *map(str, arguments)], cwd=home, env=environment(home, python), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=120)
    assert os.listdir(home / "temporary") == []
    return done


def good(home, *arguments):
    done = kith(home, *arguments)
    assert done.returncode == 0, done.stderr
    return done


def refused(home, code, *arguments, **options):
    done = kith(home, *arguments, **options)
    assert done.returncode == code and done.stdout == "", (done.returncode, done.stderr)
    return done.stderr


def found(done):
    return [(line["query"], [r["id"] for r in line["results"]]) for line in map(json.loads, done.stdout.splitlines())]


@pytest.mark.parametrize("name", ["x.parquet", "x.PQ", "x.feather", "x.arrow", "x.ipc", "x.h5", "x.hdf5", "x.hdf",
                                  "x.h5::train"])
def test_by_suffix(home, name):
    (home / name.partition("::")[0]).write_bytes(b"PAR1 or whatever")
    done = good(home, "convert", name, "out.npy", "--json")
    assert json.loads(done.stdout)["input"] == name and (home / "out.npy").read_bytes()[-48:] == npy(ROWS)[-48:]
    path, folder, *rest = json.loads((home / "seen.json").read_text())
    assert path == name and folder.startswith(str(home / "temporary")) and rest == ["", "", ""]
    assert "said on standard output" in done.stderr


@pytest.mark.parametrize("head", [b"PAR1", b"ARROW1\0\0", b"\x89HDF\r\n\x1a\n"])
def test_by_first_bytes(home, head):
    (home / "nameless").write_bytes(head + bytes(50))
    good(home, "convert", "nameless", "out.npy")
    assert json.loads((home / "seen.json").read_text())[0] == "nameless"


def test_what_is_none_of_them(home):
    (home / "x.csv").write_text("1,2\n3,4\n")
    good(home, "convert", "x.csv", "out.npy")
    (home / "y.npy").write_bytes(npy(ROWS))
    good(home, "convert", "y.npy", "out.npy")
    (home / "x.parquet").write_text("1,2\n3,4\n")
    good(home, "convert", "x.parquet", "out.npy", "--format", "csv")  # whoever says so, means it
    assert not (home / "seen.json").exists()


def test_ids_and_names_and_columns(home):
    (home / "x.parquet").write_bytes(b"PAR1")
    (home / "answer" / "ids.txt").write_text("red\ngreen\nblue\nwhite\n")
    (home / "answer" / "names.txt").write_text("Rot\nGrün\nBlau\n\n")
    good(home, "build", "x.parquet", "-o", "x.kith", "--id-column", "colour", "--name-column", "Farbe")
    assert json.loads((home / "seen.json").read_text())[2:] == ["", "colour", "Farbe"]
    done = good(home, "search", "x.kith", "x.parquet", "-k", "1", "--json")
    assert [ids for _, ids in found(done)] == [["red"], ["green"], ["blue"], ["white"]]
    assert json.loads(done.stdout.splitlines()[1])["results"][0]["name"] == "Grün"
    (home / "own.txt").write_text("a\nb\nc\nd\n")
    good(home, "build", "x.parquet", "-o", "y.kith", "--ids", "own.txt")
    assert found(good(home, "search", "y.kith", "x.parquet", "-k1", "--json", "--first-row", "2"))[0][1] == ["c"]
    (home / "answer" / "vectors.npy").write_bytes(npy(ROWS).replace(b"'<f4'", b"'|u1'")[:128] + bytes(range(12)))
    good(home, "build", "x.parquet", "-o", "b.kith", "--dtype", "b1")
    assert json.loads((home / "seen.json").read_text())[2:] == ["b1", "", ""]
    assert json.loads(good(home, "info", "b.kith", "--json").stdout)["dim"] == 24


def test_refused_rows_are_told_with_the_name_that_was_given(home):
    (home / "x.parquet").write_bytes(b"PAR1")
    (home / "answer" / "vectors.npy").write_bytes(npy(ROWS[:2] + [[1, math.nan, 2]]))
    assert "/x.parquet.npy: row 2" in refused(home, INPUT, "build", home / "x.parquet", "-o", "x.kith")
    long = "x" * 245 + ".parquet"
    (home / long).write_bytes(b"PAR1")
    assert "/vectors.npy: row 2" in refused(home, INPUT, "build", long, "-o", "x.kith")


def test_joins_and_calibrations(home):
    (home / "x.parquet").write_bytes(b"PAR1")
    good(home, "build", "x.parquet", "-o", "x.kith")
    good(home, "join", "x.parquet", "x.kith", "-k", "2", "-o", "near.ndjson")
    assert json.loads((home / "near.ndjson").read_text().splitlines()[3])["ids"] == [3, 0]


def test_failures(home):
    for name in ("broken", "killed", "bare", "empty"):
        (home / f"{name}.parquet").write_bytes(b"PAR1")
    assert "row 3: is missing" in refused(home, INPUT, "build", "broken.parquet")
    assert "ended while it read" in refused(home, OTHER, "build", "killed.parquet")
    assert "left no vectors" in refused(home, OTHER, "build", "empty.parquet")
    said = refused(home, INPUT, "build", "bare.parquet")
    assert "bare.parquet is a Parquet file" in said and "does not have it" in said and "KITH_PYTHON" in said
    (home / "x.h5").write_bytes(b"")
    said = refused(home, INPUT, "convert", "x.h5", "out.npy", python="/none/such")
    assert "x.h5 is an HDF5 file" in said and "/none/such cannot be run" in said and "h5py" in said
    assert not list(home.glob("*.kith"))
    os.rmdir(home / "temporary")
    (home / "temporary").write_text("")
    done = subprocess.run([KITH, "build", "bare.parquet"], cwd=home, env=environment(home), capture_output=True, text=True)
    assert done.returncode == STORAGE and "no folder can be made" in done.stderr


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_reaches_python_too(home, number, code):
    (home / "slow.parquet").write_bytes(b"PAR1")
    process = subprocess.Popen([KITH, "build", "slow.parquet"], cwd=home, env=environment(home), stderr=subprocess.PIPE,
                               stdout=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    until = time.monotonic() + 60
    while not (home / "seen.json").exists() and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(number)  # to the command alone
    assert process.wait(60) == code
    process.communicate()
    assert os.listdir(home / "temporary") == []
