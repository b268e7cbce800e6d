# SPDX-License-Identifier: Apache-2.0
"""Building: from arrays of every layout without a copy of them, options, progress, labels."""
import io
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_search import VIEWS

import kith
from kith import _progress


def same_index(one, two):
    with one, two:
        return bytes(open_bytes(one)) == bytes(open_bytes(two))


def open_bytes(index):
    with open(index._path, "rb") as file:
        return file.read()


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_arrays_of_any_layout_give_the_same_file(view, vectors):
    assert same_index(kith.Index.build(VIEWS[view](vectors), threads=1), kith.Index.build(vectors, threads=1))


@pytest.mark.parametrize("dtype", ["f2", "i1", "u1", "i2", "u4", "i8", "f8", ">i4", ">f2"])
def test_arrays_of_any_type(dtype):
    rows = (np.arange(600).reshape(50, 12) % 100).astype(dtype)
    index = kith.Index.build(rows)
    assert index.dtype == {"f2": "f16", ">f2": "f16", "i1": "i8", "u1": "u8"}.get(dtype, "f32")
    assert np.array_equal(index.vectors(range(50)), rows.astype("f4"))
    strided = kith.Index.build(np.repeat(rows, 2, axis=1)[::-1, ::2][::-1])
    assert np.array_equal(strided.vectors(range(50)), rows.astype("f4")) and strided.dtype == index.dtype


@given(st.integers(1, 30), st.integers(1, 9), st.lists(st.integers(-3, 3).filter(bool), min_size=2, max_size=2),
       st.sampled_from(["f4", "f8", "f2", "i1", "<i4", ">f4"]), st.booleans())
def test_property_strides(rows, dim, steps, dtype, labelled):
    block = np.random.default_rng(rows * 31 + dim).integers(-9, 9, (rows * 3, dim * 3)).astype(dtype)
    view = block[:: steps[0], :: steps[1]][:rows, :dim]
    labels = [f"r{i}" for i in range(len(view))] if labelled else None
    with kith.Index.build(view, labels) as index:
        assert np.array_equal(index.vectors(index.ids), view.astype("f4"))


def test_other_things_than_arrays(vectors, tmp_path):
    np.save(tmp_path / "x.npy", vectors)
    for source in (vectors.tolist(), tmp_path / "x.npy", str(tmp_path / "x.npy"), kith.read(vectors)):
        assert np.array_equal(kith.Index.build(source).search(vectors[:3]).ids[:, 0], [0, 1, 2])
    (tmp_path / "x.csv").write_text("id,name,a,b\nfirst,one,1,2\nsecond,two,3,4\n")
    with kith.Index.build(tmp_path / "x.csv") as index:
        assert index.search([3, 4], 1).ids.tolist() == ["second"] and index.name("first") == "one"
    with kith.Index.build(tmp_path / "x.csv", ids=[7, 8]) as index:
        assert index.search([3, 4], 1).ids.tolist() == [8]


def test_many_rows_with_string_ids_and_names():
    """More rows than one batch, several threads: strings stay with their rows."""
    rows = np.arange(70000, dtype=np.float64).reshape(-1, 1) % 1000
    rows = np.hstack([rows, np.arange(70000).reshape(-1, 1)])
    ids = [f"id-{i}" * (1 + i % 3) for i in range(len(rows))]
    with kith.Index.build(rows, ids, names=[text.upper() for text in ids], threads=4) as index:
        assert index.ids.tolist() == ids
        for row in (0, 1, 4095, 4096, 65535, 69999):
            assert index.name(ids[row]) == ids[row].upper()
            assert np.array_equal(index.vector(ids[row]), rows[row].astype("f4"))


def test_options_are_heard(vectors):
    assert same_index(kith.Index.build(vectors, seed=1, threads=2), kith.Index.build(vectors, seed=1, threads=2))
    small = kith.Index.build(vectors, originals=False)
    assert not small.info["originals"] and small.info["file_bytes"] < kith.Index.build(vectors).info["file_bytes"]
    assert kith.Index.build(vectors, memory=32 << 20, threads=1).info["rows"] == 600
    with pytest.raises(kith.ArgumentError, match="16 MiB"):
        kith.Index.build(vectors, memory=1 << 20)


# ---- Progress --------------------------------------------------------------------------------------------------------


def test_progress_is_told_to_a_function(vectors):
    told = []
    kith.Index.build(vectors, progress=lambda stage, done, total: told.append((stage, done, total)))
    assert told and all(isinstance(stage, str) and 0 <= done <= total for stage, done, total in told)
    assert any(done == total for stage, done, total in told)
    told.clear()
    kith.Index.build(vectors).verify(progress=lambda *now: told.append(now))
    assert told


def test_progress_can_cancel(vectors, tmp_path):
    with pytest.raises(kith.CancelledError):
        kith.Index.build(vectors, path=tmp_path / "x.kith", progress=lambda *now: True)
    assert list(tmp_path.iterdir()) == []


def test_an_exception_of_the_progress_function_is_raised(vectors):
    def fail(*now):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        kith.Index.build(vectors, progress=fail)


def test_an_exception_while_rows_are_converted_is_raised_whatever_thread_it_was_on():
    class Broken(np.ndarray):
        def __getitem__(self, key):
            if isinstance(key, slice) and key.start and key.start > 5000:
                raise ZeroDivisionError("row")
            return super().__getitem__(key)

    rows = np.zeros((30000, 4)).view(Broken)
    for _ in range(4):
        with pytest.raises(ZeroDivisionError, match="row"):
            kith.Index.build(rows, threads=4)


def test_a_bar_appears_when_asked_for(vectors, capsys):
    kith.Index.build(vectors, progress=True)
    assert "%" in capsys.readouterr().err
    kith.Index.build(vectors, progress=False)
    kith.Index.build(vectors)
    assert capsys.readouterr().err == ""


def test_the_bar_of_our_own(vectors, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    kith.Index.build(vectors, progress=True)
    err = capsys.readouterr().err
    assert "100%" in err and "\n" not in err


def test_a_terminal_sees_a_bar_only_when_it_lasts(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    with _progress.Progress(None) as watcher:
        watcher.report("reading", 1, 10)
    assert sys.stderr.getvalue() == ""
    monkeypatch.setattr(_progress, "SHOW_AFTER", -1.0)
    with _progress.Progress(None) as watcher:
        watcher.report("reading", 1, 10)
        watcher.report("writing", 5, 10)
    assert "writing" in sys.stderr.getvalue()
    monkeypatch.setattr(sys, "stderr", None)
    assert _progress.Progress(None).report is None


# ---- Memory ----------------------------------------------------------------------------------------------------------

MEMORY_SCRIPT = """
    import sys
    import numpy as np, kith

    def anonymous_mib():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

    kind = sys.argv[1]
    rows = np.zeros((400_000, 128), np.float64 if kind == "float64" else np.float32)
    rows[:] = np.random.default_rng(1).standard_normal(128)
    rows[:, 0] = np.arange(len(rows)) % 1000
    if kind == "fortran":
        rows = np.asfortranarray(rows)
    if kind == "columns":
        rows = rows[:, ::-1]
    kith.Index.build(rows[:100], threads=2).close()
    before, peak = anonymous_mib(), 0

    def watch(stage, done, total):
        global peak
        peak = max(peak, anonymous_mib())

    kith.Index.build(rows, threads=2, memory=32 << 20, progress=watch).close()
    print(rows.nbytes / 2**20, peak - before)
"""


@pytest.mark.parametrize("kind", ["float32", "float64", "fortran", "columns"])
def test_no_second_copy_while_building(kind, tmp_path):
    """The most anonymous memory that a build adds is its working memory and the ids, not the array's."""
    script = textwrap.dedent(MEMORY_SCRIPT)
    done = subprocess.run([sys.executable, "-c", script, kind], capture_output=True, text=True,
                          check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    array, added = map(float, done.stdout.split())
    assert array >= 195 and added < 90, f"{added:.0f} MiB more for an array of {array:.0f} MiB"
