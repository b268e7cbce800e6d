# SPDX-License-Identifier: Apache-2.0
"""Bad input of every kind raises the documented exception, and its text says what is wrong."""
import builtins

import numpy as np
import pytest

import kith

ZERO = np.zeros((1, 24), np.float32)


def rows(value, at=3):
    array = np.ones((6, 4), np.float32)
    array[at, 2] = value
    return array


BAD_QUERIES = [
    (ZERO[:, :5], kith.ArgumentError, "24"),
    (ZERO.reshape(1, 1, 24), kith.ArgumentError, "shape"),
    (np.float32(1), kith.ArgumentError, ""),
    (None, kith.ArgumentError, "None"),
    (np.full((2, 24), np.nan, "f4"), kith.DataError, "query 0"),
    (np.vstack([ZERO, np.full((1, 24), np.inf, "f4")]), kith.DataError, "query 1"),
    (np.full((1, 24), 1e300), kith.DataError, "range"),
    (np.full((1, 24), 3e38, "f4"), kith.DataError, "2^62"),
    (ZERO.astype("c8"), kith.UnsupportedError, "complex64"),
    (np.full((1, 24), "a"), kith.UnsupportedError, "<U1"),
    (np.full((1, 24), None), kith.UnsupportedError, "object"),
    (ZERO.astype(bool), kith.UnsupportedError, "bool"),
    (ZERO.astype("M8[s]"), kith.UnsupportedError, "datetime"),
    ([[1.0] * 24, [1.0] * 23], kith.ArgumentError, ""),
    (np.full((1, 24), 2**40 + 1), kith.DataError, "exact"),
    (np.empty((1, 0), "f4"), kith.ArgumentError, "0 dimensions"),
    (object(), kith.ArgumentError, "object"),
]


@pytest.mark.parametrize("queries, error, text", BAD_QUERIES)
def test_bad_queries(queries, error, text, index):
    for search in (lambda: index.search(queries, 3), lambda: index.range_search(queries, 1.0)):
        with pytest.raises(error) as caught:
            search()
        assert text in str(caught.value) and isinstance(caught.value, kith.Error)


BAD_OPTIONS = [
    ({"k": 0}, kith.ArgumentError, "k is 0"),
    ({"k": -1}, kith.ArgumentError, "k is -1"),
    ({"k": 10001}, kith.ArgumentError, "10000"),
    ({"k": 2**80}, kith.ArgumentError, "k is"),
    ({"k": 2.0}, TypeError, "whole number"),
    ({"k": "3"}, TypeError, "whole number"),
    ({"k": None}, TypeError, "whole number"),
    ({"target_recall": 0}, kith.ArgumentError, "target_recall"),
    ({"target_recall": 1.01}, kith.ArgumentError, "target_recall"),
    ({"target_recall": float("nan")}, kith.ArgumentError, "target_recall"),
    ({"target_recall": "high"}, TypeError, "target_recall"),
    ({"plan": "fast"}, kith.ArgumentError, "fast"),
    ({"plan": 3}, TypeError, "plan"),
    ({"plan": "gather"}, kith.UnsupportedError, "filter"),
    ({"plan": "levels"}, kith.UnsupportedError, "first level"),
    ({"threads": 0}, kith.ArgumentError, "threads"),
    ({"threads": -2}, kith.ArgumentError, "threads"),
    ({"threads": 257}, kith.ArgumentError, "256"),
    ({"threads": 2**70}, kith.ArgumentError, "threads"),
    ({"threads": "all"}, TypeError, ""),
    ({"timeout": 0}, kith.ArgumentError, "timeout"),
    ({"timeout": -1}, kith.ArgumentError, "timeout"),
    ({"timeout": float("nan")}, kith.ArgumentError, "timeout"),
    ({"timeout": "soon"}, TypeError, "timeout"),
    ({"radius": float("nan")}, kith.ArgumentError, "radius"),
    ({"radius": "far"}, TypeError, "radius"),
    ({"allow": 5}, kith.ArgumentError, "5"),
    ({"allow": "5"}, kith.ArgumentError, "5"),
    ({"allow": [-1]}, kith.DataError, "negative"),
    ({"allow": [1.5]}, kith.DataError, "whole numbers"),
    ({"allow": [[1, 2]]}, kith.ArgumentError, "shape"),
    ({"allow": np.ones(600, bool)}, kith.ArgumentError, "mask"),
    ({"allow": [2**64]}, kith.DataError, "18446744073709551616"),
    ({"allow": [None]}, kith.DataError, "row 0"),
    ({"nothing": 1}, TypeError, "nothing"),
]


@pytest.mark.parametrize("options, error, text", BAD_OPTIONS)
def test_bad_search_options(options, error, text, index):
    with pytest.raises(error) as caught:
        index.search(ZERO, **options)
    assert text in str(caught.value)


def test_arguments_missing_twice_or_too_many(index):
    with pytest.raises(TypeError, match="'Q'"):
        index.search()
    with pytest.raises(TypeError, match="twice"):
        index.search(ZERO, 3, k=3)
    with pytest.raises(TypeError, match="by place"):
        index.search(ZERO, 3, True)
    with pytest.raises(TypeError):
        index.range_search(ZERO)
    with pytest.raises(kith.ArgumentError, match="radius"):
        index.range_search(ZERO, float("nan"))
    with pytest.raises(TypeError, match="radius"):
        index.range_search(ZERO, None)


def test_another_indexs_filter(index, vectors):
    with kith.Index.build(vectors[:9]) as other, pytest.raises(kith.ArgumentError, match="another index"):
        index.search(ZERO, 2, allow=other.filter([1]))


def test_string_labels_for_number_ids_and_the_reverse(index, vectors):
    with pytest.raises(TypeError, match="allow: 'a' is a string, but the ids of this index are numbers"):
        index.filter(["a"])
    with kith.Index.build(vectors[:2], ["a", "b"]) as strings:
        assert len(strings.filter([0])) == 1  # the row number stands for the string


def test_a_search_out_of_time(vectors):
    with kith.Index.build(np.tile(vectors, (60, 1))) as index, pytest.raises(kith.DeadlineError) as caught:
        index.search(np.tile(vectors, (8, 1)), 10, timeout=1e-9, threads=1)
    assert isinstance(caught.value, TimeoutError)


def test_cosine_of_zero(vectors):
    with kith.Index.build(vectors, metric="cosine") as index, pytest.raises(kith.DataError, match="query 1"):
        index.search(np.vstack([vectors[:1], ZERO]), 2)


def test_bit_queries(vectors):
    with kith.Index.build(np.zeros((4, 3), np.uint8), dtype="b1") as index:
        for queries, error in ((vectors[:1, :3], kith.UnsupportedError), (np.zeros((1, 4), "u1"), kith.ArgumentError),
                               (np.zeros((1, 23), bool), kith.ArgumentError)):
            with pytest.raises(error):
                index.search(queries, 1)


BAD_BUILDS = [
    (dict(X=rows(np.nan)), kith.DataError, "row 3"),
    (dict(X=rows(np.inf)), kith.DataError, "row 3"),
    (dict(X=rows(3e38)), kith.DataError, "row 3"),
    (dict(X=rows(1).astype("f8") * 1e300), kith.DataError, "row 0"),
    (dict(X=np.asfortranarray(rows(np.nan))), kith.DataError, "row 3"),
    (dict(X=np.full((3, 4), 2**53)[:, ::2] + 1), kith.DataError, "exact"),
    (dict(X=np.zeros((2, 4), "f4"), metric="cosine"), kith.DataError, "row 0"),
    (dict(X=np.empty((0, 4), "f4")), kith.DataError, "no rows"),
    (dict(X=np.empty((3, 0), "f4")), kith.ArgumentError, "no elements"),
    (dict(X=np.ones(4, "f4")), kith.ArgumentError, "shape"),
    (dict(X=np.ones((2, 2, 2), "f4")), kith.ArgumentError, "shape"),
    (dict(X=np.ones((1, 65537), "f4")), kith.LimitError, "65536"),
    (dict(X=rows(1).astype("c16")), kith.UnsupportedError, "complex128"),
    (dict(X=rows(1).astype(object)), kith.UnsupportedError, "object"),
    (dict(X=rows(1), metric="l3"), kith.ArgumentError, "l3"),
    (dict(X=rows(1), metric=2), TypeError, "metric"),
    (dict(X=rows(1), metric="hamming"), kith.ArgumentError, "hamming"),
    (dict(X=rows(1), dtype="f64"), kith.ArgumentError, "f64"),
    (dict(X=rows(1), dtype=np.float64), kith.ArgumentError, "float64"),
    (dict(X=rows(1), dtype=object()), TypeError, "dtype"),
    (dict(X=rows(1), dtype="i8"), kith.UnsupportedError, "i8"),
    (dict(X=rows(1), dtype="b1"), kith.UnsupportedError, "float32"),
    (dict(X=rows(70000.0), dtype="f16"), kith.DataError, "row 3"),
    (dict(X=np.ones((2, 9), bool)), kith.ArgumentError, "multiple of 8"),
    (dict(X=np.ones((2, 8), "u1"), dtype="b1", originals=False), kith.UnsupportedError, "originals"),
    (dict(X=rows(1), ids=[1, 2]), kith.ArgumentError, "2 for 6"),
    (dict(X=rows(1), ids=[1, 2, 3, 4, 5, 1]), kith.DataError, "1"),
    (dict(X=rows(1), ids=[1, 2, 3, -4, 5, 6]), kith.DataError, "row 3"),
    (dict(X=rows(1), ids=np.array([1, 2, 3, 2**64 - 1, 5, 6], "u8")), kith.DataError, "row 3"),
    (dict(X=rows(1), ids=[0.5] * 6), kith.DataError, "whole numbers"),
    (dict(X=rows(1), ids=list("abcdea")), kith.DataError, "0 and 5"),
    (dict(X=rows(1), ids=["a", "b", "", "d", "e", "f"]), kith.DataError, "row 2"),
    (dict(X=rows(1), ids=["a", "b", 3, "d", "e", "f"]), kith.DataError, "row 2"),
    (dict(X=rows(1), ids=["a", "b", "x" * 4097, "d", "e", "f"]), kith.DataError, "row 2"),
    (dict(X=rows(1), ids=["a", "b", "\ud800", "d", "e", "f"]), kith.DataError, "row 2"),
    (dict(X=rows(1), ids="abcdef"), FileNotFoundError, "abcdef"),
    (dict(X=rows(1), names=["a"]), kith.ArgumentError, "1 for 6"),
    (dict(X=rows(1), names=[1, 2, 3, 4, 5, 6]), kith.DataError, "row 0"),
    (dict(X=rows(1), threads=0), kith.ArgumentError, "threads"),
    (dict(X=rows(1), threads=1.5), TypeError, "threads"),
    (dict(X=rows(1), memory=5), kith.ArgumentError, "memory"),
    (dict(X=rows(1), seed=-1), kith.ArgumentError, "seed"),
    (dict(X=rows(1), originals="yes"), TypeError, "originals"),
    (dict(X=rows(1), progress="bar"), TypeError, "progress"),
    (dict(X=rows(1), path="/nonexistent/folder/x.kith"), kith.Error, "/nonexistent"),
    (dict(X=rows(1), path=3), TypeError, ""),
    (dict(X="/nonexistent.npy"), kith.MissingFileError, "/nonexistent.npy"),
    (dict(X=object()), kith.ArgumentError, "object"),
]


@pytest.mark.parametrize("arguments, error, text", BAD_BUILDS)
def test_bad_builds(arguments, error, text):
    with pytest.raises(error) as caught, np.errstate(all="ignore"):
        kith.Index.build(**arguments)
    assert text in str(caught.value)


def test_bad_builds_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(kith.DataError):
        kith.Index.build(rows(np.nan))
    (tmp_path / "old.kith").write_bytes(b"old")
    with pytest.raises(kith.DataError):
        kith.Index.build(rows(np.nan), path=tmp_path / "old.kith")
    assert [path.name for path in tmp_path.iterdir()] == ["old.kith"]
    assert (tmp_path / "old.kith").read_bytes() == b"old"


@pytest.fixture
def saved(tmp_path):
    kith.Index.build(rows(1)).save(tmp_path / "index.kith").close()
    return tmp_path / "index.kith"


def test_opening_what_is_not_an_index(tmp_path, saved):
    with pytest.raises(kith.MissingFileError) as caught:
        kith.open(tmp_path / "none")
    assert isinstance(caught.value, FileNotFoundError) and isinstance(caught.value, kith.NotFoundError)
    (tmp_path / "text").write_text("hello " * 100)
    whole = saved.read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-1])
    for name in ("text", "cut"):
        with pytest.raises(kith.CorruptError, match=name):
            kith.open(tmp_path / name)
    with pytest.raises(kith.Error):
        kith.open(tmp_path)
    for wrong in (None, 5, object()):
        with pytest.raises(TypeError):
            kith.open(wrong)
    with pytest.raises((ValueError, TypeError)):
        kith.open("a\0b")


def test_verify_names_the_section(saved):
    kith.verify(saved)
    with kith.open(saved, verify=True) as index:
        index.verify(threads=2)
    damaged = bytearray(saved.read_bytes())
    damaged[-20] ^= 1
    saved.write_bytes(damaged)
    for check in (lambda: kith.verify(saved), lambda: kith.open(saved, verify=True)):
        with pytest.raises(kith.CorruptError, match="section|index.kith"):
            check()


def test_unknown_ids(index):
    for wrong in (600, -1, 2**64, "a"):
        for method in (index.vector, lambda i: index.vectors([0, i])):
            with pytest.raises(kith.MissingIdError) as caught:
                method(wrong)
            assert isinstance(caught.value, KeyError) and not str(caught.value).startswith("'")
        assert wrong not in index
    for wrong in (1.5, None, [1]):
        with pytest.raises(TypeError):
            index.vector(wrong)
    with pytest.raises(kith.UnsupportedError, match="names"):
        index.name(1)


def test_the_tree():
    classes = [kith.ArgumentError, kith.DataError, kith.FormatError, kith.CorruptError, kith.VersionError,
               kith.NotFoundError, kith.FileError, kith.NoSpaceError, kith.LimitError, kith.UnsupportedError,
               kith.DeadlineError, kith.BusyError, kith.CancelledError]
    assert all(issubclass(one, kith.Error) and one.__doc__ and one.__module__ == "kith" for one in classes)
    assert len({one.status for one in classes}) == len(classes)
    for one, built_in in ((kith.ArgumentError, ValueError), (kith.FileError, OSError),
                          (kith.DeadlineError, TimeoutError),
                          (kith.MissingIdError, KeyError), (kith.MissingFileError, builtins.FileNotFoundError)):
        assert issubclass(one, built_in)


def test_types_are_not_made_by_hand():
    for make in (kith.Index, kith.Result, kith.Filter, lambda: kith.Index(path="x"), lambda: kith.Index(None)):
        with pytest.raises(TypeError):
            make()


def test_set_threads():
    before = kith.get_threads()
    try:
        kith.set_threads(3)
        assert kith.get_threads() == 3
        for wrong in (0, 257, -1):
            with pytest.raises(kith.ArgumentError):
                kith.set_threads(wrong)
        with pytest.raises(TypeError):
            kith.set_threads("two")
    finally:
        kith.set_threads(before)


def test_distance():
    assert kith.distance("ip", [1, 2], [3, 4]) == -11
    assert kith.distance("hamming", np.uint8([255]), np.uint8([15])) == 4
    assert kith.distance("l2", np.float64([0.5]), np.float16([2.5])) == 4
    with pytest.raises(kith.ArgumentError, match="shapes"):
        kith.distance("l2", [1, 2], [1])
    with pytest.raises(kith.ArgumentError, match="shapes"):
        kith.distance("l2", [[1]], [[1]])
    with pytest.raises(kith.DataError, match="zero"):
        kith.distance("cosine", [0, 0], [1, 1])
    with pytest.raises(kith.DataError, match=r"2\^62"):
        kith.distance("cosine", [1e30, 0], [1, 1])
    with pytest.raises(kith.ArgumentError, match="unknown"):
        kith.distance("manhattan", [1], [1])
