# SPDX-License-Identifier: Apache-2.0
"""The command on files that this package reads for it: the same vectors, ids and names as kith.read gives."""
import os
import subprocess
import sys

import numpy as np
import pytest

import kith

ROWS = np.random.default_rng(7).random((60, 6), dtype=np.float32)
NAMES = [f"Größe {k}" for k in range(60)]
INPUT, ABSENT = 3, 5


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments):
    done = subprocess.run([sys.executable, "-m", "kith", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert os.listdir("temporary") == []
    return done


def good(*arguments):
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    return done


def refused(code, *arguments):
    done = command(*arguments)
    assert done.returncode == code and done.stdout == "", done.stderr
    return done.stderr


def parquet(path, **columns):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    pa.parquet.write_table(pa.table(columns), path)


def same(path, ids, names=None, rows=ROWS):
    with kith.open(path) as index:
        assert np.array_equal(index.vectors(ids), rows)
        assert names is None or [index.name(i) for i in ids] == names


@pytest.mark.parametrize("ids", [list(range(100, 160)), np.arange(2**63, 2**63 + 60, dtype=np.uint64), [f"item-{k}" for k in range(60)],
                                 [str(k) if k else "zero" for k in range(60)]])
def test_parquet_with_ids_and_names(folder, ids):
    parquet("x.parquet", id=ids, embedding=ROWS.tolist(), name=NAMES)
    good("build", "x.parquet", "-o", "x.kith")
    same("x.kith", ids, NAMES)
    good("build", "x.parquet::embedding", "-o", "y.kith", "--name-column", "id" if isinstance(ids[0], str) else "name")
    same("y.kith", ids)


def test_pandas_writes_its_index_and_it_is_no_element(folder):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(ROWS, columns=list("abcdef"), index=np.arange(60) * 3)
    frame.to_parquet("x.parquet")
    good("convert", "x.parquet", "x.npy")
    assert np.array_equal(np.load("x.npy"), ROWS)
    good("build", "x.parquet", "--id-column", "__index_level_0__")
    same("x.kith", frame.index)


def test_hdf5_and_queries(folder):
    h5py = pytest.importorskip("h5py")
    with h5py.File("x.h5", "w") as file:
        file["train"], file["test"] = ROWS, ROWS[:9]
    good("build", "x.h5", "-o", "x.kith")
    good("search", "x.kith", "x.h5::test", "-k", "3", "-o", "near.npy")
    assert np.array_equal(np.load("near.npy"), kith.open("x.kith").search(ROWS[:9], 3).ids)
    good("join", "x.h5::test", "x.kith", "-k", "3", "-o", "joined")
    assert np.array_equal(np.load("joined.ids.npy"), np.load("near.npy"))


@pytest.mark.parametrize("dtype", ["f2", "i1", "u1", "f8", "i4"])
def test_types(folder, dtype):
    rows = np.round(ROWS * 100).astype(dtype)
    h5py = pytest.importorskip("h5py")
    with h5py.File("x.h5", "w") as file:
        file["train"] = rows
    good("build", "x.h5")
    assert kith.open("x.kith").dtype == kith.read("x.h5").dtype
    same("x.kith", range(60), rows=rows.astype("f4"))


def test_bits(folder):
    h5py = pytest.importorskip("h5py")
    bits = np.random.default_rng(2).integers(0, 256, (60, 4), dtype=np.uint8)
    with h5py.File("x.h5", "w") as file:
        file["train"], file["flags"] = bits, np.unpackbits(bits, axis=1).astype(bool)
    for name in ("x.h5", "x.h5::flags"):
        good("build", name, "--dtype", "b1", "-o", "x.kith", "--force")
        same("x.kith", range(60), rows=bits)
    assert "holds bits; say so, with --dtype b1" in refused(INPUT, "build", "x.h5::flags", "-o", "y.kith")


def test_what_lines_cannot_hold(folder):
    parquet("digits.parquet", id=[str(k) for k in range(60)], v=ROWS.tolist())
    assert "its ids are strings of digits" in refused(INPUT, "build", "digits.parquet")
    parquet("lines.parquet", id=list(range(60)), name=["a\nb", *NAMES[1:]], v=ROWS.tolist())
    assert r"names: row 0: 'a\nb' does not fit into a line" in refused(INPUT, "build", "lines.parquet")


def test_refusals_are_the_package_s(folder):
    parquet("x.parquet", id=list(range(60)), v=ROWS.tolist())
    assert "has no column 'nope'" in refused(INPUT, "build", "x.parquet", "--id-column", "nope")
    (folder / "bad.parquet").write_bytes(b"PAR1 and nothing more")
    assert refused(INPUT, "build", "bad.parquet").startswith("kith: bad.parquet: is malformed")
    assert "none.parquet" in refused(ABSENT, "build", "none.parquet")


def test_the_library_names_what_python_reads(folder):
    """A program over kith.h is told how to go on, also where a name says nothing."""
    parquet("nameless", v=ROWS.tolist())
    with pytest.raises(kith.UnsupportedError, match="nameless: is a Parquet file.*python3 -m kith convert nameless OUT.npy"):
        kith._kith.Reader.open("nameless")
    good("convert", "nameless", "out.npy")
    assert np.array_equal(np.load("out.npy"), ROWS)


def test_a_module_in_the_current_folder_is_not_run(folder):
    (folder / "kith.py").write_text("raise SystemExit('hijacked')")
    (folder / "sysconfig.py").write_text("raise SystemExit('hijacked')")
    parquet("x.parquet", v=ROWS.tolist())
    program = os.path.join(os.path.dirname(kith.__file__), "bin", "kith")
    environment = os.environ | {"KITH_PYTHON": sys.executable}
    done = subprocess.run([program, "convert", "x.parquet", "out.npy"], env=environment, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
