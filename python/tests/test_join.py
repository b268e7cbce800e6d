# SPDX-License-Identifier: Apache-2.0
"""The join: arrays, files, resuming, and what is refused."""
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import kith

K = 7
RNG = np.random.default_rng(11)
X, Q = RNG.standard_normal((3000, 16), dtype=np.float32), RNG.standard_normal((2500, 16), dtype=np.float32)


@pytest.fixture(scope="module")
def index():
    with kith.Index.build(X, ids=np.arange(3000) * 2 + 5) as built:
        yield built


@pytest.fixture(scope="module")
def expected(index):
    return index.search(Q, K)


def same(result, expected):
    assert np.array_equal(result.ids, expected.ids) and np.array_equal(result.distances, expected.distances)


# ---- Arrays ----------------------------------------------------------------------------------------------------------


def test_arrays_are_those_of_a_search(index, expected):
    found = index.join(Q, K)
    same(found, expected)
    assert isinstance(found.ids, np.memmap) and found.ids.dtype == np.int64 and found.rows is found.ids
    assert found.distances.dtype == np.float32 and len(found) == 2 and len(found.ids) == 2500 and found.paths == ()
    ids, distances = found
    assert ids is found.ids and distances is found.distances
    report = found.report
    assert (report["queries"], report["resumed"], report["restarted"], report["exact"]) == (2500, 0, "", True)
    assert report["seconds"] >= report["search_seconds"] > 0 and "mapped arrays" in repr(found)


def test_a_self_join_leaves_each_vector_out(index):
    found = index.join(k=5)
    full = index.search(X, 6)
    assert np.array_equal(full.ids[:, 0], index.ids)
    assert np.array_equal(found.ids, full.ids[:, 1:]) and np.array_equal(found.distances, full.distances[:, 1:])


def test_nothing_is_left_of_private_files(index, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = index.join(Q, K)
    assert os.listdir(tmp_path) == [] and found.ids.shape == (2500, K)
    with pytest.raises(kith.CancelledError):
        index.join(Q, K, progress=lambda *words: True)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("queries", [
    lambda: Q[::-1][::-1], lambda: Q.astype("f8"), lambda: np.asfortranarray(Q), lambda: kith.read(Q),
    lambda: Q.astype(">f4"),
], ids=["strided", "float64", "columns", "source", "big-endian"])
def test_queries_of_any_layout(index, expected, queries):
    same(index.join(queries(), K, threads=2), expected)


def test_fewer_than_k_and_wide_ids():
    with kith.Index.build(X[:3], ids=np.array([1, 2, 2**64 - 2], np.uint64)) as index:
        found = index.join(Q[:4], 5)
        assert found.ids.dtype == np.uint64 and (found.ids[:, 3:] == 2**64 - 1).all()
    with kith.Index.build(X[:3]) as index:
        found = index.join(Q[:4], 5)
        assert found.ids.dtype == np.int64 and (found.ids[:, 3:] == -1).all() and np.isinf(found.distances[:, 3:]).all()


def test_string_ids():
    with kith.Index.build(X[:200], ids=[f"row {i}" for i in range(200)]) as index:
        expected, found = index.search(Q[:50], K), index.join(Q[:50], K)
        assert np.array_equal(found.ids, expected.ids) and np.array_equal(found.rows, expected.rows)
        assert found.ids is found.ids and isinstance(found.ids[0, 0], str)


def test_bits():
    bits = RNG.integers(0, 256, (500, 8), np.uint8)
    with kith.Index.build(bits, dtype="b1") as index:
        same(index.join(bits[:100], 5), index.search(bits[:100], 5))
        same(index.join(np.unpackbits(bits[:100], axis=1).astype(bool), 5), index.search(bits[:100], 5))


def test_filters(index):
    allow = index.ids[::3]
    same(index.join(Q, K, allow=allow), index.search(Q, K, allow=allow))
    same(index.join(Q, K, allow=index.filter(allow)), index.search(Q, K, allow=allow))


def test_approximate_joins():
    with kith.Index.build(X, lists=30) as index:
        same(index.join(Q, K, nprobe=4, rerank=20), index.search(Q, K, nprobe=4, rerank=20))
        report = index.join(Q, K, nprobe=4).report
        assert report["plan"] == "ivf" and report["exact"] is False
        found, true = index.join(Q, K, target_recall=0.9), index.search(Q, K)
        assert np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found.ids, true.ids)]) >= 0.89


# ---- Files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out", "out.npy"])
def test_a_pair_of_files(index, expected, tmp_path, name):
    found = index.join(Q, K, out=tmp_path / name)
    same(found, expected)
    assert found.paths == (str(tmp_path / "out.ids.npy"), str(tmp_path / "out.distances.npy"))
    assert sorted(os.listdir(tmp_path)) == ["out.distances.npy", "out.ids.npy"]
    assert np.load(found.paths[0]).dtype == np.uint64 and "out.ids.npy" in repr(found)


def test_queries_from_a_file(index, expected, tmp_path):
    np.save(tmp_path / "q.npy", Q)
    same(index.join(tmp_path / "q.npy", K, out=tmp_path / "out"), expected)


def test_ndjson(index, expected, tmp_path):
    users = kith.read(Q, ids=[f"user {i}" for i in range(2500)])
    found = index.join(users, K, out=tmp_path / "out.ndjson")
    assert found.ids is None and found.distances is None and found.paths == (str(tmp_path / "out.ndjson"),)
    lines = [json.loads(line) for line in (tmp_path / "out.ndjson").read_text().splitlines()]
    assert [line["id"] for line in lines[:3]] == ["user 0", "user 1", "user 2"] and len(lines) == 2500
    assert [line["ids"] for line in lines] == expected.ids.tolist()


@pytest.mark.parametrize("kind", ["numbers", "strings", "self", "short", "file"])
def test_parquet(tmp_path, kind):
    pq = pytest.importorskip("pyarrow.parquet")
    ids = [f"item {i}" for i in range(300)] if kind == "strings" else np.arange(300) + 1000
    queries, own, allow = Q[:2000], list(range(2000)), None
    with kith.Index.build(X[:300], ids=ids) as index:
        if kind == "strings":
            own = [f"user {i}" for i in range(2000)]
            queries = kith.read(queries, ids=own)
        elif kind == "self":
            queries, own = None, list(range(1000, 1300))
        elif kind == "file":
            np.save(tmp_path / "q.npy", queries)
            queries = tmp_path / "q.npy"
        elif kind == "short":
            allow = [1001, 1002]
        seen = []
        found = index.join(queries, K, out=tmp_path / "out.parquet", allow=allow,
                           progress=lambda stage, done, total: seen.append(stage))
        assert found.paths == (str(tmp_path / "out.parquet"),) and found.ids is None and "writing" in seen
        assert set(os.listdir(tmp_path)) == {"out.parquet"} | ({"q.npy"} if kind == "file" else set())
        assert found.report["output_bytes"] == os.path.getsize(tmp_path / "out.parquet")
        table = pq.read_table(tmp_path / "out.parquet").to_pydict()
        same_as = index.join(queries, K, allow=allow)
        kept = [[i for i in row if i not in (-1, None)] for row in same_as.ids.tolist()]
        assert table["id"] == own and table["ids"] == kept
        assert table["distances"] == [row[:len(some)] for row, some in zip(same_as.distances.tolist(), kept)]


def test_parquet_is_written_by_batches(index, expected, tmp_path, monkeypatch):
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("kith._join.BATCH_RESULTS", 700)
    index.join(Q, K, out=tmp_path / "out.pq")
    with pq.ParquetFile(tmp_path / "out.pq") as file:
        assert file.metadata.num_row_groups == 25
        assert file.read().column("ids").to_pylist() == expected.ids.tolist()


def test_parquet_that_cannot_be_finished(index, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("kith._join.BATCH_RESULTS", 700)
    with pytest.raises(kith.CancelledError):
        index.join(Q, K, out=tmp_path / "out.parquet", progress=lambda stage, done, total: stage == "writing")
    assert os.listdir(tmp_path) == []


# ---- Stopping and going on -------------------------------------------------------------------------------------------


def stopping(after):
    """A report that asks to stop once so many queries are done."""
    def report(stage, done, total):
        return stage == "joining" and done >= after

    return report


@pytest.mark.parametrize("suffix", ["", ".ndjson"])
def test_a_join_that_was_stopped_goes_on(tmp_path, suffix):
    with kith.Index.build(X) as index:
        many = np.tile(Q, (80, 1))
        index.join(many, K, out=tmp_path / ("whole" + suffix))
        out = tmp_path / ("out" + suffix)
        with pytest.raises(kith.CancelledError):
            index.join(many, K, out=out, progress=stopping(1))
        assert any(name.endswith(".join") for name in os.listdir(tmp_path))
        found = index.join(many, K, out=out)
        assert 0 < found.report["resumed"] < len(many)
        for name in os.listdir(tmp_path):
            if name.startswith("out"):
                assert (tmp_path / name).read_bytes() == (tmp_path / name.replace("out", "whole")).read_bytes()
        assert not any("join" in name or "part" in name for name in os.listdir(tmp_path))


def test_a_parquet_join_that_was_stopped_goes_on(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    with kith.Index.build(X) as index:
        many, out = np.tile(Q, (20, 1)), tmp_path / "out.parquet"
        with pytest.raises(kith.CancelledError):
            index.join(many, K, out=out, progress=stopping(1))
        assert (tmp_path / "out.parquet.arrays.join").exists() and not out.exists()
        assert index.join(many, K, out=out).report["resumed"] > 0
        assert os.listdir(tmp_path) == ["out.parquet"]
        assert pq.read_table(out).column("ids").to_pylist() == index.search(many, K).ids.tolist()


def test_other_options_begin_anew_and_so_does_restart(tmp_path):
    with kith.Index.build(X) as index:
        many = np.tile(Q, (20, 1))
        for options in ({"k": 3}, {"k": K, "restart": True}):
            with pytest.raises(kith.CancelledError):
                index.join(many, K, out=tmp_path / "out", progress=stopping(1))
            found = index.join(many, **options, out=tmp_path / "out")
            assert found.report["resumed"] == 0
            assert bool(found.report["restarted"]) == ("restart" not in options)


def test_ctrl_c_leaves_a_join_that_goes_on(tmp_path):
    script = textwrap.dedent("""
        import os, signal, sys
        import numpy as np, kith
        rows = np.random.default_rng(1).standard_normal((20_000, 64), dtype=np.float32)
        index = kith.Index.build(rows, lists=1)
        pressed = []

        def report(stage, done, total):
            if done and not pressed:
                pressed.append(True)
                os.kill(os.getpid(), signal.SIGINT)

        try:
            index.join(rows, 10, out="out", progress=report)
        except KeyboardInterrupt:
            print("interrupted", os.path.exists("out.join"), os.path.exists("out.ids.npy"))
        found = index.join(rows, 10, out="out")
        print(found.report["resumed"] > 0, bool((found.ids[:, 0] == np.arange(20_000)).all()), sorted(os.listdir()))
    """)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300,
                          check=False)
    assert done.stdout.splitlines() == ["interrupted True False", "True True ['out.distances.npy', 'out.ids.npy']"], \
        done.stderr


def test_a_report_that_raises_and_a_source_that_does(index, tmp_path):
    def report(stage, done, total):
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        index.join(Q, K, out=tmp_path / "out", progress=report)
    wrong = Q.astype("f8")
    wrong[1234, 3] = 1e300
    with pytest.raises(kith.DataError, match="row 1234"):
        index.join(wrong, K, out=tmp_path / "out")


def test_progress_counts_queries(index):
    seen = []
    index.join(Q, K, progress=lambda stage, done, total: seen.append((stage, done, total)))
    assert seen[-1] == ("joining", 2500, 2500) and [done for _, done, _ in seen] == sorted(d for _, d, _ in seen)


# ---- Refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda i, p: i.join(Q, 0), kith.ArgumentError, "k is 0"),
    (lambda i, p: i.join(Q, 10001), kith.ArgumentError, "k is 10001"),
    (lambda i, p: i.join(k=10000), kith.ArgumentError, "9999"),
    (lambda i, p: i.join(Q, 2.5), TypeError, "k"),
    (lambda i, p: i.join(Q[:, :5]), kith.ArgumentError, "dimensions"),
    (lambda i, p: i.join(Q[0]), kith.ArgumentError, "shape"),
    (lambda i, p: i.join(np.where(np.arange(2500)[:, None] == 77, np.nan, Q).astype("f4")), kith.DataError, "77"),
    (lambda i, p: i.join(Q, plan="fast"), kith.ArgumentError, "plan 'fast'"),
    (lambda i, p: i.join(Q, plan="ivf"), kith.UnsupportedError, "one list"),
    (lambda i, p: i.join(Q, target_recall=0), kith.ArgumentError, "target_recall"),
    (lambda i, p: i.join(Q, target_recall=float("nan")), kith.ArgumentError, "target_recall"),
    (lambda i, p: i.join(Q, target_recall="high"), TypeError, "target_recall"),
    (lambda i, p: i.join(Q, memory=5), kith.ArgumentError, "memory"),
    (lambda i, p: i.join(Q, threads=0), kith.ArgumentError, "threads"),
    (lambda i, p: i.join(Q, restart="yes"), TypeError, "restart"),
    (lambda i, p: i.join(Q, allow=5), kith.ArgumentError, "allow"),
    (lambda i, p: i.join(Q, allow=kith.Index.build(X).filter([1])), kith.ArgumentError, "another index"),
    (lambda i, p: i.join(Q, out=""), kith.ArgumentError, "empty"),
    (lambda i, p: i.join(Q, out=p / "no" / "out"), kith.NotFoundError, "no"),
    (lambda i, p: i.join("/nowhere/q.npy"), kith.MissingFileError, "q.npy"),
    (lambda i, p: kith.Index.build(X, originals=False).join(), kith.UnsupportedError, "originals"),
])
def test_refused(index, tmp_path, call, error, words):
    with pytest.raises(error, match=words):
        call(index, tmp_path)
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".npy")]
