# SPDX-License-Identifier: Apache-2.0
"""The life of an index: private files, saving, opening, pickling, closing; and what it tells of itself."""
import copy
import gc
import os
import pickle
import shutil

import numpy as np
import pytest

import kith


@pytest.fixture
def private_folder(tmp_path, monkeypatch):
    folder = tmp_path / "private"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_private_file_goes_with_its_index(private_folder, vectors):
    index = kith.Index.build(vectors)
    assert index.path is None and len(files_in(private_folder)) == 1
    index.close()
    assert os.listdir(private_folder) == []
    index = kith.Index.build(vectors)
    del index
    gc.collect()
    assert os.listdir(private_folder) == []


def test_nobody_else_may_read_a_private_file(private_folder, vectors):
    with kith.Index.build(vectors):
        (folder,) = private_folder.iterdir()
        assert folder.stat().st_mode & 0o077 == 0


def test_saving_a_private_index_gives_its_file_a_name(private_folder, tmp_path, vectors):
    target = tmp_path / "saved.kith"
    target.write_bytes(b"old")
    with kith.Index.build(vectors) as index:
        before = index.search(vectors[:4])
        (file,) = [path for path in private_folder.rglob("*") if path.is_file()]
        number = file.stat().st_ino
        assert index.save(target) is index
        assert index.path == str(target) and os.listdir(private_folder) == []
        assert target.stat().st_ino == number, "the file was copied"
        assert np.array_equal(index.search(vectors[:4]).ids, before.ids)
        index.save(target)
    assert files_in(tmp_path) == ["saved.kith"]
    with kith.open(target, verify=True, populate=True) as index:
        assert np.array_equal(index.search(vectors[:4]).distances, before.distances)


def test_saving_to_another_file_system_copies(tmp_path, vectors, monkeypatch):
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("/dev/shm is no file system of its own")
    with kith.Index.build(vectors) as index:
        before = index.search(vectors[:4])
        folder = f"/dev/shm/kith-test-{os.getpid()}"
        os.mkdir(folder)
        try:
            index.save(f"{folder}/x.kith")
            kith.verify(f"{folder}/x.kith")
            assert np.array_equal(index.search(vectors[:4]).ids, before.ids)
        finally:
            shutil.rmtree(folder)


def test_saving_an_index_with_a_path_copies(tmp_path, vectors):
    with kith.Index.build(vectors, path=tmp_path / "a.kith") as index:
        index.save(str(tmp_path / "b.kith"))
        assert index.path == str(tmp_path / "a.kith")
    one, two = (tmp_path / name for name in ("a.kith", "b.kith"))
    assert one.read_bytes() == two.read_bytes() and one.stat().st_ino != two.stat().st_ino
    assert one.stat().st_mode & 0o777 == two.stat().st_mode & 0o777


def test_saving_where_nothing_can_be(tmp_path, vectors):
    with kith.Index.build(vectors) as index:
        with pytest.raises(kith.MissingFileError, match="none"):
            index.save(tmp_path / "none" / "x.kith")
        (tmp_path / "folder").mkdir()
        with pytest.raises(kith.FileError, match="folder"):
            index.save(tmp_path / "folder")
        with pytest.raises(TypeError):
            index.save(5)
        assert index.path is None and index.search(vectors[0]).ids[0] == 0
    assert files_in(tmp_path) == []


def test_closing(vectors, tmp_path):
    index = kith.Index.build(vectors)
    with index as same:
        assert same is index and not index.closed
    index.close()
    assert index.closed and repr(index) == "<kith.Index, closed>" and "closed" in index._repr_html_()
    for use in (lambda: index.search(vectors[0]), lambda: len(index), lambda: index.dim, lambda: index.dtype,
                lambda: index.metric, lambda: index.info, lambda: index.ids, lambda: index.vector(0),
                lambda: 0 in index, lambda: index.filter([1]), lambda: index.verify(), lambda: index.save(tmp_path / "x"),
                lambda: index.name(1),
                lambda: index.range_search(vectors[0], 1.0), lambda: index.__enter__(), lambda: pickle.dumps(index)):
        with pytest.raises(kith.ArgumentError, match="closed"):
            use()


def test_closing_while_python_code_of_an_argument_runs(vectors):
    """An argument whose conversion closes the index: the call fails or finishes, and nothing is freed under it."""
    for use in (lambda i, evil: i.search(evil), lambda i, evil: i.search(vectors[0], allow=evil),
                lambda i, evil: i.vectors([evil]), lambda i, evil: evil in i):
        index = kith.Index.build(vectors)

        class Evil:
            def __array__(self, dtype=None, copy=None):
                index.close()
                return vectors[0]

            def __index__(self):
                index.close()
                return 3

            def __iter__(self):
                index.close()
                return iter([1, 2])

        try:
            use(index, Evil())
        except kith.Error:
            pass
        assert index.closed


def test_pickling_an_index_is_pickling_its_path(vectors, tmp_path):
    with kith.Index.build(vectors, path=tmp_path / "x.kith") as index:
        other = pickle.loads(pickle.dumps(index))
        assert other.path == index.path and other is not index
        assert np.array_equal(other.search(vectors[:3]).ids, index.search(vectors[:3]).ids)
        other.close()
        assert len(copy.copy(index)) == 600
    with kith.Index.build(vectors) as private, pytest.raises(kith.ArgumentError, match="save"):
        pickle.dumps(private)


@pytest.mark.parametrize("ids", [None, "strings"])
def test_pickling_results(ids, vectors):
    labels = None if ids is None else [f"x{i}" for i in range(len(vectors))]
    with kith.Index.build(vectors, labels) as index:
        for result in (index.search(vectors[:3]), index.search(vectors[0]), index.range_search(vectors[:3], 9.0)):
            again = pickle.loads(pickle.dumps(result))
            assert type(again) is type(result) and np.array_equal(again.ids, result.ids)
            assert np.array_equal(again.distances, result.distances) and np.array_equal(again.rows, result.rows)
            assert dict(again.explain) == dict(result.explain)
        with pytest.raises(TypeError, match="pickle the ids"):
            pickle.dumps(index.filter([1]))


def test_what_an_index_tells(vectors, tmp_path):
    names = [f"name {i}" for i in range(len(vectors))]
    with kith.Index.build(vectors, np.arange(600)[::-1] * 3, names=names, metric="cosine", dtype="f16",
                          path=tmp_path / "<x>.kith") as index:
        assert (len(index), index.dim, index.dtype, index.metric) == (600, 24, "f16", "cosine")
        assert index.info["ids"] == "number" and index.info["names"] and index.info["originals"]
        assert index.info["file_bytes"] == os.path.getsize(index.path) and "codes/codes" in index.info["sections"]
        assert index.build_report["rows"] == 600 and index.build_report["seconds"] > 0
        assert np.array_equal(index.ids, np.arange(600) * 3)
        assert index.name(0) == "name 599" and index.name(np.int64(1797)) == "name 0"
        assert np.array_equal(index.vector(1797), vectors[0].astype("f2").astype("f4"))
        assert index.vectors([]).shape == (0, 24) and index.vectors(np.array([3, 0])).shape == (2, 24)
        assert 3 in index and np.uint64(3) in index and 4 not in index
        assert "600 x 24 f16, cosine" in repr(index) and "&lt;x&gt;" in index._repr_html_()
        with pytest.raises(kith.MissingIdError):
            index.name(1)
    assert kith.open(tmp_path / "<x>.kith").build_report is None


def test_dtype_takes_numpy_types(vectors):
    assert kith.Index.build(vectors, dtype=np.float16).dtype == "f16"
    assert kith.Index.build(vectors, dtype=np.dtype("f2")).dtype == "f16"
    assert kith.Index.build(vectors, dtype="float32", metric="dot").metric == "ip"


def test_attributes_cannot_be_set(index):
    with pytest.raises(AttributeError):
        index.dim = 5
    with pytest.raises(AttributeError):
        index.something = 5
