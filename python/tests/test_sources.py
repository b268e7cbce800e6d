# SPDX-License-Identifier: Apache-2.0
"""kith.read on arrays, lists, tensors, ids and names, and the files that need no library but NumPy."""
import os
import struct
import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kith
from kith._sources import source as source_module

ROWS = np.arange(24, dtype=np.float32).reshape(6, 4)


def address(array):
    return array.__array_interface__["data"][0]


# ---- Arrays ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype, word", [("f4", "f32"), ("f2", "f16"), ("i1", "i8"), ("u1", "u8")])
def test_stored_types_are_taken_as_they_lie(dtype, word):
    rows = ROWS.astype(dtype)
    source = kith.read(rows)
    assert (source.rows, source.dim, source.dtype, source.ids, source.names, source.path) == (6, 4, word, *[None] * 3)
    assert source.array is rows
    assert len(source) == 6 and source.shape == (6, 4)


def test_bfloat16_is_taken_as_it_lies():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rows = ROWS.astype(ml_dtypes.bfloat16)
    source = kith.read(rows)
    assert source.dtype == "bf16" and source.array is rows


@pytest.mark.parametrize("view", [ROWS[::2], ROWS[::-1], ROWS[:, 1:3], ROWS[:, ::2], np.asfortranarray(ROWS), ROWS.T])
def test_strided_views_are_not_copied(view):
    source = kith.read(view)
    assert np.shares_memory(source.array, view)
    assert source.shape == view.shape and np.array_equal(source.array, view)


def test_mapped_arrays_are_not_loaded(tmp_path):
    mapped = np.memmap(tmp_path / "raw", np.float32, "w+", shape=(6, 4))
    assert kith.read(mapped).array is mapped


@pytest.mark.parametrize("dtype", [">f4", ">f2", ">f8", ">i4"])
def test_other_byte_order_is_swapped(dtype):
    source = kith.read(ROWS.astype(dtype))
    assert source.array.dtype.isnative and np.array_equal(source.array, ROWS)


@pytest.mark.parametrize("dtype", ["f8", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_other_numbers_become_float32(dtype):
    source = kith.read(ROWS.astype(dtype))
    assert source.dtype == "f32" and source.array.dtype == np.float32 and np.array_equal(source.array, ROWS)


def test_float64_is_rounded_to_nearest():
    source = kith.read(np.array([[0.1, -0.1], [1e-50, np.nan]]))
    assert np.array_equal(source.array, np.array([[0.1, -0.1], [0, np.nan]], np.float32), equal_nan=True)


def test_float64_beyond_float32_names_row_and_column():
    rows = ROWS.astype("f8")
    rows[4, 2] = -1e39
    with pytest.raises(kith.DataError, match=r"X: row 4, column 2: -1e\+39 is beyond the range of a 32-bit float"):
        kith.read(rows)


def test_infinity_passes_as_infinity():
    rows = ROWS.astype("f8")
    rows[4, 2] = np.inf
    assert kith.read(rows).array[4, 2] == np.inf  # refused by what uses it, with the row's number


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.sampled_from(["i4", "u4", "i8", "u8", "i2"]), st.data())
def test_integers_pass_where_float32_holds_them(dtype, data):
    limits = np.iinfo(dtype)
    edge = st.builds(lambda shift, off: (1 << shift) + off, st.integers(20, 63), st.integers(-3, 3))
    number = st.one_of(edge, edge.map(lambda v: -v), st.integers(limits.min, limits.max))
    value = data.draw(number.filter(lambda v: limits.min <= v <= limits.max))
    rows = np.zeros((3, 2), dtype)
    rows[1, 1] = value
    magnitude = abs(value)
    while magnitude and magnitude % 2 == 0:
        magnitude //= 2
    if magnitude < 1 << 24:
        assert int(kith.read(rows).array[1, 1]) == value
    else:
        with pytest.raises(kith.DataError, match=f"row 1, column 1: {value} is not exact"):
            kith.read(rows)


def test_conversion_by_strips_names_the_right_row(monkeypatch):
    monkeypatch.setattr(source_module, "STRIP_BYTES", 64)
    rows = np.zeros((100, 4), "i8")
    assert np.array_equal(kith.read(rows + np.arange(100)[:, None]).array[:, 0], np.arange(100))
    rows[77, 3] = (1 << 24) + 1
    with pytest.raises(kith.DataError, match="row 77, column 3: 16777217 is not exact"):
        kith.read(rows)


@pytest.mark.parametrize("rows, error, words", [
    (np.zeros(4, "f4"), kith.ArgumentError, r"shape \(4,\).*reshape"),
    (np.zeros((2, 2, 2), "f4"), kith.ArgumentError, r"shape \(2, 2, 2\)"),
    (np.float32(3).reshape(()), kith.ArgumentError, r"shape \(\)"),
    (np.zeros((2, 0), "f4"), kith.ArgumentError, "no elements"),
    (np.zeros((1, 65537), "u1"), kith.LimitError, "65537 elements, 65536 are the most"),
    (np.zeros((2, 4), bool), kith.ArgumentError, "4 bits; a multiple of 8"),
    (np.zeros((2, 2), complex), kith.UnsupportedError, "complex"),
    (np.zeros((2, 2), "U3"), kith.UnsupportedError, "<U3"),
    (np.zeros((2, 2), object), kith.UnsupportedError, "object"),
    (np.zeros((2, 2), "M8[s]"), kith.UnsupportedError, "datetime"),
    (np.zeros((2, 2), [("a", "f4")]), kith.UnsupportedError, "type"),
])
def test_arrays_that_are_no_vectors(rows, error, words):
    with pytest.raises(error, match=words):
        kith.read(rows)


def test_large_conversions_lie_in_an_unnamed_file(monkeypatch, tmp_path):
    monkeypatch.setattr(source_module, "MEMORY_BYTES", 10)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    source = kith.read(ROWS.astype("f8"))
    assert isinstance(source.array, np.memmap) and np.array_equal(source.array, ROWS)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_an_error(monkeypatch):
    def full(fd, offset, count):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(source_module, "MEMORY_BYTES", 10)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(kith.NoSpaceError, match="No space"):
        kith.read(ROWS.astype("f8"))


# ---- Bits ------------------------------------------------------------------------------------------------------------


def test_packed_bits():
    rows = np.arange(12, dtype="u1").reshape(3, 4)
    source = kith.read(rows, dtype="b1")
    assert (source.dtype, source.dim) == ("b1", 32) and source.array is rows


def test_bools_are_packed():
    bits = np.random.default_rng(1).random((5, 16)) < .5
    source = kith.read(bits)
    assert (source.dtype, source.dim) == ("b1", 16) and np.array_equal(source.array, np.packbits(bits, axis=1))


def test_bits_of_other_kinds():
    with pytest.raises(kith.UnsupportedError, match="float32.*uint8 or"):
        kith.read(ROWS, dtype="b1")
    with pytest.raises(kith.ArgumentError, match="12 bits; a multiple of 8"):
        kith.read(np.zeros((2, 12), bool), dtype="b1")
    with pytest.raises(kith.ArgumentError, match="dtype is 'f16'"):
        kith.read(ROWS, dtype="f16")


# ---- Lists and tensors -----------------------------------------------------------------------------------------------


def test_lists_of_rows():
    assert np.array_equal(kith.read(ROWS.tolist()).array, ROWS)
    assert np.array_equal(kith.read(tuple(ROWS)).array, ROWS)


@pytest.mark.parametrize("rows, error, words", [
    ([[1, 2], [3]], kith.DataError, "row 1 has 1 elements, but row 0 has 2"),
    ([[1, 2], [3, "a"]], kith.Error, "type|row 1"),
    ([[1, 2], None], kith.DataError, "row 1 is missing"),
    ([[1, 2], [[1], 2]], kith.DataError, "row 1 is no list of numbers"),
    ([1, 2], kith.ArgumentError, r"shape \(2,\)"),
    ([], kith.ArgumentError, "shape"),
])
def test_lists_that_are_no_rows(rows, error, words):
    with pytest.raises(error, match=words):
        kith.read(rows)


class Tensor:
    """What PyTorch's tensors show of themselves."""

    def __init__(self, array, device=(1, 0), grad=False):
        self.rows, self.device, self.grad = array, device, grad

    def detach(self):
        return Tensor(self.rows, self.device)

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **options):
        if self.grad:
            raise BufferError("Can't export tensors that require gradient")
        return self.rows.__dlpack__(**options)


class Protocol:
    def __init__(self, array):
        self.rows = array

    def __array__(self, dtype=None, copy=None):
        return self.rows


class NoDlpack(Protocol):
    """An element type that DLPack does not know."""

    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, **options):
        raise BufferError("unsupported")


@pytest.mark.parametrize("wrap", [Tensor, lambda rows: Tensor(rows, grad=True), Protocol, NoDlpack, memoryview])
def test_tensors_are_seen_without_a_copy(wrap):
    rows = ROWS.copy()
    source = kith.read(wrap(rows))
    assert np.shares_memory(source.array, rows) and np.array_equal(source.array, ROWS)


class BrainFloat(Tensor):
    """A PyTorch tensor of bfloat16, which NumPy knows no name for."""

    dtype = "torch.bfloat16"

    def detach(self):
        return self

    def view(self, kind):
        return Tensor(self.rows.view(kind))


def test_tensors_of_bfloat16(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(int16=np.int16))
    rows = (ROWS.view(np.uint32) >> 16).astype(np.uint16)  # small whole numbers are exact
    source = kith.read(BrainFloat(rows))
    assert source.dtype == "bf16" and np.shares_memory(source.array, rows)
    index = kith.Index.build(source)
    assert index.dtype == "bf16" and np.array_equal(index.vectors(range(6)), ROWS)


def test_tensors_elsewhere():
    with pytest.raises(kith.UnsupportedError, match="Tensor: lies in the memory of another device.*type 2, number 1"):
        kith.read(Tensor(ROWS, device=(2, 1)))


@pytest.mark.parametrize("thing", [None, 7, 2.5, {1: 2}, object(), iter([1])])
def test_things_that_are_no_vectors(thing):
    with pytest.raises(kith.ArgumentError, match=f"{type(thing).__name__}: cannot be read as vectors"):
        kith.read(thing)


# ---- Ids and names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids, expected", [
    (range(6), np.int64), (np.arange(6, dtype="i4"), np.int64), (np.arange(6, dtype="u8"), np.uint64),
    ([2**64 - 2, 1, 2, 3, 4, 5], np.uint64), (np.array([1, 2, 3, 4, 5, 2**63], object), np.uint64),
    (list("abcdef"), list), (np.array(list("abcdef")), list), (np.array(list("abcdef"), object), list),
    (tuple("abcdef"), list)])
def test_ids(ids, expected):
    found = kith.read(ROWS, ids).ids
    assert [str(i) for i in found] == [str(i) for i in ids]
    if expected is list:
        assert isinstance(found, list) and all(type(i) is str for i in found)
    else:
        assert found.dtype == expected


def test_eight_byte_ids_are_not_copied():
    ids = np.arange(6)
    assert kith.read(ROWS, ids).ids is ids


@pytest.mark.parametrize("ids, error, words", [
    ([1, 2], kith.ArgumentError, "ids: 2 for 6 rows"),
    ([0, 1, 2, -3, 4, 5], kith.DataError, "ids: row 3: id -3 is negative"),
    ([0, 1, 2, 3, 4, 2**64 - 1], kith.DataError, "ids: row 5"),
    ([0, 1, 2, 3, 2**70, -5], kith.DataError, "ids: row 4: id 1180591620717411303424"),
    (["a", "b", "c", "", "e", "f"], kith.DataError, "ids: row 3: the id is empty"),
    (["a", "b", 3, "d", "e", "f"], kith.DataError, "ids: row 2: 3 is no string"),
    (["a", "b", None, "d", "e", "f"], kith.DataError, "ids: row 2: is missing"),
    ([.5] * 6, kith.DataError, "ids: are of type float64"),
    ([True] * 6, kith.DataError, "ids: are of type bool"),
    (np.zeros((6, 1), int), kith.ArgumentError, r"ids: have the shape \(6, 1\)"),
    ([[1], [2, 3]] * 3, kith.DataError, r"ids: (one whole number or string a row|row 0: \[1\] is no string)"),
    (7, kith.DataError, "ids: one whole number or string a row"),
])
def test_bad_ids(ids, error, words):
    with pytest.raises(error, match=words):
        kith.read(ROWS, ids)


def test_names():
    assert kith.read(ROWS, names=np.array(list("abcdef"))).names == list("abcdef")
    assert kith.read(ROWS, names=[""] * 6).names == [""] * 6
    with pytest.raises(kith.ArgumentError, match="names: 1 for 6 rows"):
        kith.read(ROWS, names=["a"])
    with pytest.raises(kith.DataError, match="names: row 1: 2 is no string"):
        kith.read(ROWS, names=["a", 2, "c", "d", "e", "f"])


def test_labels_from_files(tmp_path):
    np.save(tmp_path / "ids.npy", np.arange(6) + 10)
    (tmp_path / "ids.txt").write_text("".join(f"{i}\n" for i in range(6)))
    (tmp_path / "names.txt").write_text("a\nb\n\nd\ne\nü\n")
    assert kith.read(ROWS, tmp_path / "ids.npy").ids.tolist() == list(range(10, 16))
    source = kith.read(ROWS, str(tmp_path / "ids.txt"), str(tmp_path / "names.txt"))
    assert source.ids.tolist() == list(range(6)) and source.names == ["a", "b", "", "d", "e", "ü"]
    (tmp_path / "bad.txt").write_bytes(b"a\n\xff")
    with pytest.raises(kith.FormatError, match="bad.txt: is not UTF-8 text"):
        kith.read(ROWS, names=tmp_path / "bad.txt")
    with pytest.raises(kith.MissingFileError, match="none.txt"):
        kith.read(ROWS, tmp_path / "none.txt")


def test_a_source_is_read_again_with_other_ids():
    first = kith.read(ROWS, list("abcdef"))
    assert kith.read(first) is first
    second = kith.read(first, names=list("uvwxyz"))
    assert second.ids == list("abcdef") and second.names == list("uvwxyz") and second.array is ROWS
    assert repr(second) == "<kith.Source: 6 x 4 f32, string ids, names>"
    assert np.asarray(second) is ROWS
    assert np.asarray(second, dtype="f8").dtype == np.float64


# ---- Files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype, word", [("f4", "f32"), ("f2", "f16"), ("i1", "i8"), ("u1", "u8")])
def test_npy_is_mapped(tmp_path, dtype, word):
    np.save(tmp_path / "x.npy", ROWS.astype(dtype))
    source = kith.read(tmp_path / "x.npy")
    assert source.dtype == word and isinstance(source.array, np.memmap) and source.path is None
    assert np.array_equal(source.array, ROWS)


def test_npy_is_known_by_its_first_bytes(tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    os.rename(tmp_path / "x.npy", tmp_path / "vectors")
    assert np.array_equal(kith.read(tmp_path / "vectors").array, ROWS)


def test_npy_in_fortran_order_is_mapped(tmp_path):
    np.save(tmp_path / "x.npy", np.asfortranarray(ROWS))
    assert np.array_equal(kith.read(tmp_path / "x.npy").array, ROWS)


def test_npy_of_bits(tmp_path):
    np.save(tmp_path / "x.npy", ROWS.astype("u1"))
    source = kith.read(tmp_path / "x.npy", dtype="b1")
    assert (source.dtype, source.dim) == ("b1", 32)


def test_npy_of_other_numbers_is_left_to_the_library(tmp_path):
    np.save(tmp_path / "x.npy", ROWS.astype("i8"))
    source = kith.read(tmp_path / "x.npy")
    assert (source.rows, source.dim, source.dtype, source.path) == (6, 4, "f32", str(tmp_path / "x.npy"))
    assert np.array_equal(source.array, ROWS) and source.array.dtype == np.float32


def test_npy_of_inexact_float64_follows_the_command(tmp_path):
    np.save(tmp_path / "x.npy", ROWS.astype("f8") + .1)
    with pytest.raises(kith.DataError, match=r"x.npy: row 0, column 0: .* is not exact"):
        kith.read(tmp_path / "x.npy").array


@pytest.mark.parametrize("damage, words", [
    (lambda data: data[:-1], "well-formed|bytes"),
    (lambda data: data[:60], "well-formed"),
    (lambda data: data + b"\0\0\0", "3 bytes behind"),
    (lambda data: data.replace(b"'descr'", b"'dscr' "), "well-formed"),
    (lambda data: b"\x93NUMPY\x09\x00" + data[8:], "well-formed"),
    (lambda data: b"", "well-formed"),
])
def test_damaged_npy(tmp_path, damage, words):
    np.save(tmp_path / "x.npy", ROWS)
    (tmp_path / "x.npy").write_bytes(damage((tmp_path / "x.npy").read_bytes()))
    with pytest.raises(kith.FormatError, match=f"x.npy: .*({words})"):
        kith.read(tmp_path / "x.npy")


def test_npy_is_never_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[object()]]), allow_pickle=True)
    with pytest.raises(kith.FormatError, match="x.npy"):
        kith.read(tmp_path / "x.npy")


def test_npz_says_what_to_do(tmp_path):
    np.savez(tmp_path / "x.npz", ROWS)
    with pytest.raises(kith.UnsupportedError, match="numpy.load"):
        kith.read(tmp_path / "x.npz")


def test_paths_that_cannot_be_opened(tmp_path):
    with pytest.raises(kith.MissingFileError, match="none.npy: No such file") as caught:
        kith.read(tmp_path / "none.npy")
    assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(kith.FileError, match="Is a directory"):
        kith.read(tmp_path)


@pytest.mark.parametrize("suffix, dtype, word", [(".fbin", "f4", "f32"), (".u8bin", "u1", "u8"),
                                                 (".i8bin", "i1", "i8")])
def test_bin_is_mapped(tmp_path, suffix, dtype, word):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(struct.pack("<II", 6, 4) + ROWS.astype(dtype).tobytes())
    source = kith.read(path)
    assert source.dtype == word and isinstance(source.array, np.memmap) and np.array_equal(source.array, ROWS)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(kith.FormatError, match=f"x{suffix}: has"):
        kith.read(path)


@pytest.mark.parametrize("suffix, dtype, word", [(".fvecs", "<f4", "f32"), (".bvecs", "u1", "u8"),
                                                 (".ivecs", "<i4", "f32")])
def test_vecs_are_left_to_the_library(tmp_path, suffix, dtype, word):
    path = tmp_path / f"x{suffix}"
    rows = [struct.pack("<i", 4) + row.astype(dtype).tobytes() for row in ROWS]
    path.write_bytes(b"".join(rows))
    source = kith.read(path)
    assert (source.rows, source.dim, source.dtype, source.path) == (6, 4, word, str(path))
    assert np.array_equal(source.array, ROWS)
    rows[3] = struct.pack("<i", 5) + rows[3][4:]
    path.write_bytes(b"".join(rows))
    with pytest.raises(kith.FormatError, match=f"x{suffix}: row 3 .* has 5 elements, but row 0 has 4"):
        kith.read(path).array


def test_csv(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("key,label,a,b\nu,first,1,2\nv,second,3,4\n")
    source = kith.read(path, id_column="key", name_column="label")
    assert (source.rows, source.dim, source.path) == (2, 2, str(path))
    assert source.ids == ["u", "v"] and source.names == ["first", "second"]
    assert source.array.tolist() == [[1, 2], [3, 4]]
    other = kith.read(path, [7, 8], id_column="key", name_column="label")
    assert other.path is None and other.ids.tolist() == [7, 8] and other.names == ["first", "second"]
    path.write_text("1,2\n3,x\n")
    with pytest.raises(kith.FormatError, match="x.csv: line 2"):
        kith.read(path).array


def test_jsonl(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"id": 18446744073709551614, "vector": [1, 2]}\n{"id": 4, "vector": [3, 4]}\n')
    source = kith.read(path)
    assert source.ids.tolist() == [2**64 - 2, 4] and source.array.tolist() == [[1, 2], [3, 4]]
    index = kith.Index.build(source)
    assert index.search([3, 4], 1).ids.tolist() == [4]


@pytest.mark.parametrize("make", [
    lambda path: np.save(path / "x.npy", ROWS) or path / "x.npy",
    lambda path: ROWS.tolist(),
    lambda path: Tensor(ROWS),
    lambda path: kith.read(ROWS[::-1].astype("f8")[::-1]),
])
def test_an_index_is_built_from_any_source(tmp_path, make):
    index = kith.Index.build(make(tmp_path), names=[f"n{i}" for i in range(6)])
    assert index.search(ROWS[4], 2).ids.tolist() in ([4, 3], [4, 5])
    assert index.name(4) == "n4"
