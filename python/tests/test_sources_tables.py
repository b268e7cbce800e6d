# SPDX-License-Identifier: Apache-2.0
"""kith.read on HDF5, Parquet, Arrow, pandas and polars. What is not installed is skipped."""
import sys

import numpy as np
import pytest

import kith
from kith._sources import arrays as arrays_module
from kith._sources import arrow as arrow_module
from kith._sources import hdf5 as hdf5_module
from kith._sources import source as source_module

ROWS = np.random.default_rng(11).random((50, 8), dtype=np.float32)


def same(source, rows=ROWS, word="f32"):
    assert (source.rows, source.dim, source.dtype) == (*rows.shape, word)
    assert np.array_equal(source.array, rows)
    return source


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("library, name", [("h5py", "x.h5"), ("pyarrow", "x.parquet"), ("pyarrow", "x.arrow")])
def test_a_library_that_is_not_installed(monkeypatch, tmp_path, library, name):
    (tmp_path / name).write_bytes(b"")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(kith.UnsupportedError, match=f"{name}: .*{library}, which is not installed"):
        kith.read(tmp_path / name)


# ---- HDF5 ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py")


@pytest.fixture
def benchmark(h5py, tmp_path):
    """A file in the layout of ann-benchmarks."""
    path = tmp_path / "data.hdf5"
    with h5py.File(path, "w") as file:
        file.attrs["distance"] = "euclidean"
        file["train"] = ROWS
        file["test"] = ROWS[:5] + 1
        file["neighbors"] = np.zeros((5, 10), "i4")
        file["more/deep"] = ROWS[:7]
        file["ragged"] = np.zeros(3)
    return path


def test_hdf5_takes_train_and_maps_it(benchmark):
    assert isinstance(same(kith.read(benchmark)).array, np.memmap)


def test_hdf5_datasets_by_name(benchmark):
    same(kith.read(f"{benchmark}::test"), ROWS[:5] + 1)
    same(kith.read(benchmark, column="more/deep"), ROWS[:7])
    with pytest.raises(kith.ArgumentError, match="data.hdf5: has no dataset 'none'; it has 'more/deep', 'neighbors'"):
        kith.read(f"{benchmark}::none")
    with pytest.raises(kith.ArgumentError, match="no dataset 'more'"):
        kith.read(f"{benchmark}::more")
    with pytest.raises(kith.ArgumentError, match=r"data.hdf5::ragged: has the shape \(3,\)"):
        kith.read(f"{benchmark}::ragged")


def test_hdf5_without_train(h5py, tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["vectors"], file["count"] = ROWS, np.arange(3)
    same(kith.read(tmp_path / "x.h5"))
    with h5py.File(tmp_path / "x.h5", "a") as file:
        file["others"] = ROWS
    with pytest.raises(kith.ArgumentError, match=r"x.h5: has no dataset 'train', and 2 of two dimensions; name one as "
                                                 "x.h5::dataset"):
        kith.read(tmp_path / "x.h5")


@pytest.mark.parametrize("options", [{"chunks": (7, 8)}, {"chunks": (3, 3), "compression": "gzip"},
                                     {"compression": "lzf", "shuffle": True}])
def test_hdf5_in_chunks_is_read_by_strips(h5py, tmp_path, monkeypatch, options):
    monkeypatch.setattr(hdf5_module, "STRIP_BYTES", 10 * ROWS[0].nbytes)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("train", data=ROWS, **options)
    assert not isinstance(same(kith.read(tmp_path / "x.h5")).array, np.memmap)


def test_hdf5_with_a_user_block(h5py, tmp_path):
    with h5py.File(tmp_path / "x.h5", "w", userblock_size=512) as file:
        file["train"] = ROWS
    same(kith.read(tmp_path / "x.h5"))


@pytest.mark.parametrize("dtype, word", [("f8", "f32"), ("f2", "f16"), ("i4", "f32"), ("u1", "u8"), (">f4", "f32")])
def test_hdf5_types(h5py, tmp_path, dtype, word):
    rows = np.arange(24).reshape(6, 4).astype(dtype)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["train"] = rows
    same(kith.read(tmp_path / "x.h5"), rows, word)


def test_hdf5_of_bools(h5py, tmp_path):
    bits = ROWS > .5
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["train"] = bits
    source = kith.read(tmp_path / "x.h5")
    assert (source.dtype, source.dim) == ("b1", 8) and np.array_equal(source.array, np.packbits(bits, axis=1))


def test_hdf5_that_is_not_vectors(h5py, tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["train"] = np.array([b"one", b"two"])
        file["text"] = np.array([["one", "two"]], dtype=h5py.string_dtype())
        file["big"] = np.full((3, 2), (1 << 24) + 1)
        file.create_dataset("wide", (2, 70000), "u1")
    for name, error, words in [("train", kith.ArgumentError, "shape"), ("text", kith.UnsupportedError, "strings"),
                               ("big", kith.DataError, "row 0, column 0: 16777217 is not exact"),
                               ("wide", kith.LimitError, "70000")]:
        with pytest.raises(error, match=f"x.h5::{name}: .*{words}"):
            kith.read(f"{tmp_path}/x.h5::{name}")


def test_hdf5_damaged(h5py, benchmark, tmp_path):
    (tmp_path / "x.h5").write_bytes(benchmark.read_bytes()[:700])
    with pytest.raises(kith.FormatError, match="x.h5: is no HDF5 file, or a damaged one"):
        kith.read(tmp_path / "x.h5")
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file.create_dataset("train", data=ROWS, chunks=(50, 8), compression="gzip", fletcher32=True)
        at = file["train"].id.get_chunk_info(0).byte_offset
    data = bytearray((tmp_path / "y.h5").read_bytes())
    data[at + 20] ^= 255
    (tmp_path / "y.h5").write_bytes(data)
    with pytest.raises(kith.FileError, match="y.h5::train: rows 0 to 49 cannot be read"):
        kith.read(tmp_path / "y.h5")


def test_hdf5_objects(h5py, benchmark):
    with h5py.File(benchmark, "r") as file:
        assert isinstance(same(kith.read(file["train"])).array, np.memmap)
        with pytest.raises(kith.ArgumentError, match="an h5py Dataset was expected"):
            kith.read(file)
    with h5py.File(benchmark, "a") as file:  # pages that are not written yet must not be mapped
        file["train"][0] = 7
        assert (kith.read(file["train"]).array[0] == 7).all()


# ---- Arrow -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pa():
    return pytest.importorskip("pyarrow")


def fixed(pa, rows=ROWS):
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])


def lists(pa, rows=ROWS):
    return pa.ListArray.from_arrays(np.arange(len(rows) + 1, dtype="i4") * rows.shape[1], pa.array(rows.ravel()))


def large(pa, rows=ROWS):
    return pa.LargeListArray.from_arrays(np.arange(len(rows) + 1) * rows.shape[1], pa.array(rows.ravel()))


@pytest.mark.parametrize("make", [fixed, lists, large])
def test_arrow_arrays_are_not_copied(pa, make):
    array = make(pa)
    source = same(kith.read(array))
    assert address(source.array) == array.values.buffers()[1].address
    part = same(kith.read(array[10:20]), ROWS[10:20])
    assert address(part.array) == array.values.buffers()[1].address + 10 * ROWS[0].nbytes


def test_arrow_list_views(pa):
    if not hasattr(pa, "ListViewArray"):
        pytest.skip("this pyarrow has none")
    starts = np.arange(50, dtype="i4")[::-1] * 8
    array = pa.ListViewArray.from_arrays(pa.array(starts), pa.array(np.full(50, 8, "i4")), pa.array(ROWS.ravel()))
    same(kith.read(array), ROWS[::-1])


def test_arrow_tensors(pa):
    if not hasattr(pa, "FixedShapeTensorArray"):
        pytest.skip("this pyarrow has none")
    same(kith.read(pa.FixedShapeTensorArray.from_numpy_ndarray(ROWS)))


@pytest.mark.parametrize("dtype, word", [("f2", "f16"), ("i1", "i8"), ("u1", "u8"), ("f8", "f32"), ("i8", "f32")])
def test_arrow_types(pa, dtype, word):
    rows = np.arange(24).reshape(6, 4).astype(dtype)
    same(kith.read(fixed(pa, rows)), rows, word)


def test_arrow_chunks_are_joined(pa):
    chunks = pa.chunked_array([fixed(pa, ROWS[:20]), fixed(pa, ROWS[:0]), fixed(pa, ROWS[20:])])
    same(kith.read(chunks))
    one = pa.chunked_array([fixed(pa)])
    assert address(kith.read(one).array) == one.chunk(0).values.buffers()[1].address


def table(pa, vectors):
    return pa.table({"id": pa.array(range(100, 150)), "name": [f"n{i}" for i in range(50)], "vector": vectors,
                     "price": pa.array(np.arange(50.0))})


def test_arrow_tables(pa):
    full = table(pa, fixed(pa))
    for thing in (full, full.to_batches()[0], pa.concat_tables([full[:13], full[13:]])):
        source = same(kith.read(thing))
        assert source.ids.tolist() == list(range(100, 150)) and source.names == [f"n{i}" for i in range(50)]
    assert kith.read(full, names=["x"] * 50).names == ["x"] * 50
    keyed = kith.read(full, id_column="name", name_column="name")
    assert keyed.ids == keyed.names == [f"n{i}" for i in range(50)]
    same(kith.read(full, column="price"), np.arange(50, dtype="f4").reshape(-1, 1))
    stream = pa.RecordBatchReader.from_batches(full.schema, full.to_batches(max_chunksize=7))
    same(kith.read(stream))


def test_arrow_dictionary_ids(pa):
    ids = pa.array([f"k{i}" for i in range(50)]).dictionary_encode()
    assert kith.read(pa.table({"id": ids, "v": fixed(pa)})).ids[3] == "k3"


def test_arrow_columns_of_numbers(pa):
    columns = pa.table({"id": list(map(str, range(50))), **{f"x{i}": ROWS[:, i] for i in range(8)}})
    assert same(kith.read(columns)).ids == list(map(str, range(50)))
    same(kith.read(pa.concat_tables([columns[:9], columns[9:]])))
    mixed = pa.table({"a": np.arange(5, dtype="i8"), "b": np.arange(5) / 2, "text": list("abcde")})
    same(kith.read(mixed), np.stack([np.arange(5), np.arange(5) / 2], axis=1).astype("f4"))


def test_arrow_tables_that_are_ambiguous(pa):
    two = pa.table({"a": fixed(pa), "b": fixed(pa)})
    with pytest.raises(kith.ArgumentError, match="Table: has several columns of lists, 'a', 'b'; name one with"):
        kith.read(two)
    same(kith.read(two, column="b"))
    same(kith.read(pa.table({"a": lists(pa, ROWS + 1), "embedding": fixed(pa)})))
    with pytest.raises(kith.ArgumentError, match="has no column 'c'; it has 'a', 'b'"):
        kith.read(two, column="c")
    with pytest.raises(kith.ArgumentError, match="has no column 'key'"):
        kith.read(two, column="a", id_column="key")
    with pytest.raises(kith.ArgumentError, match="no column of vectors among 'text'"):
        kith.read(pa.table({"text": ["a"]}))
    with pytest.raises(kith.ArgumentError, match="column 'text' holds neither"):
        kith.read(pa.table({"text": ["a"], "v": [[1.0]]}), column="text")
    with pytest.raises(kith.ArgumentError, match="several columns 'v'"):
        kith.read(pa.Table.from_arrays([fixed(pa), pa.array(range(50))], names=["v", "v"]))


@pytest.mark.parametrize("make, error, words", [
    (lambda pa: pa.array([[1.0, 2.0], None]), kith.DataError, r"row 1: is missing \(null\)"),
    (lambda pa: pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)), kith.DataError, "row 1: is missing"),
    (lambda pa: pa.array([[1.0, 2.0], [3.0, None]]), kith.DataError, "row 1, element 1: is missing"),
    (lambda pa: pa.array([[1.0, 2.0], [3.0]]), kith.DataError, "row 1 has 1 elements, but row 0 has 2"),
    (lambda pa: pa.array([[], []], pa.list_(pa.float32())), kith.DataError, "row 0 has no elements"),
    (lambda pa: pa.array([], pa.list_(pa.float32())), kith.DataError, "has no rows"),
    (lambda pa: pa.array([["a"]]), kith.UnsupportedError, "holds list<.*string>; lists of numbers"),
    (lambda pa: pa.array([1.0]), kith.UnsupportedError, "holds double"),
    (lambda pa: pa.array([[1e300]]), kith.DataError, r"row 0, column 0: 1e\+300 is beyond"),
    (lambda pa: pa.chunked_array([pa.array([[1.0]]), pa.array([[1.0], None])]), kith.DataError, "row 2: is missing"),
    (lambda pa: pa.chunked_array([pa.array([[1.0]]), pa.array([[1.0, 2.0]])]), kith.DataError,
     "row 1 has 2 elements, but row 0 has 1"),
    (lambda pa: pa.schema([]), kith.ArgumentError, "cannot be read as vectors"),
])
def test_arrow_that_is_no_vectors(pa, make, error, words):
    with pytest.raises(error, match=words):
        kith.read(make(pa))


def test_arrow_columns_with_missing_values(pa):
    with pytest.raises(kith.DataError, match="Table: column 'id': row 1: is missing"):
        kith.read(pa.table({"id": [1, None], "v": [[1.0], [2.0]]}))
    with pytest.raises(kith.DataError, match="Table: column 'b': row 1: is missing"):
        kith.read(pa.table({"a": [1, 2], "b": [1, None]}))
    with pytest.raises(kith.DataError, match="Table: column 'id': row 1: id -2 is negative"):
        kith.read(pa.table({"id": [1, -2], "v": [[1.0], [2.0]]}))
    with pytest.raises(kith.DataError, match="Table: column 'v': row 1 has 2 elements"):
        kith.read(pa.table({"id": [1, 2], "v": [[1.0], [2.0, 3.0]]}))


@pytest.mark.parametrize("make", [fixed, lists])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_parquet(pa, tmp_path, monkeypatch, make, compression):
    import pyarrow.parquet as pq
    monkeypatch.setattr(arrow_module, "BATCH_ROWS", 6)
    full = table(pa, make(pa))
    pq.write_table(full, tmp_path / "x.parquet", row_group_size=17, compression=compression)
    source = same(kith.read(tmp_path / "x.parquet"))
    assert source.ids.tolist() == list(range(100, 150)) and source.names[49] == "n49"
    same(kith.read(f"{tmp_path}/x.parquet::vector"))
    same(kith.read(tmp_path / "x.parquet", column="price"), np.arange(50, dtype="f4").reshape(-1, 1))
    with pytest.raises(kith.ArgumentError, match="x.parquet: has no column 'none'"):
        kith.read(f"{tmp_path}/x.parquet::none")
    index = kith.Index.build(tmp_path / "x.parquet")
    assert index.search(ROWS[7], 1).ids.tolist() == [107] and index.name(107) == "n7"


def test_parquet_of_columns(pa, tmp_path):
    import pyarrow.parquet as pq
    pq.write_table(pa.table({f"x{i}": ROWS[:, i] for i in range(8)}), tmp_path / "x.pq", row_group_size=9)
    same(kith.read(tmp_path / "x.pq"))


def test_parquet_names_file_column_and_row(pa, tmp_path):
    import pyarrow.parquet as pq
    rows = [[1.0, 2.0]] * 30 + [[1.0, None]] + [[1.0, 2.0]] * 5
    pq.write_table(pa.table({"v": rows}), tmp_path / "x.parquet", row_group_size=7)
    with pytest.raises(kith.DataError, match="x.parquet: column 'v': row 30, element 1: is missing"):
        kith.read(tmp_path / "x.parquet")


def test_parquet_damaged(pa, tmp_path):
    import pyarrow.parquet as pq
    pq.write_table(table(pa, fixed(pa)), tmp_path / "x.parquet")
    data = (tmp_path / "x.parquet").read_bytes()
    for damage in (b"", data[:100], data[:-20], b"PAR1" + bytes(100) + b"PAR1", data[:4] + bytes(2000) + data[2004:]):
        (tmp_path / "y.parquet").write_bytes(damage)
        with pytest.raises(kith.Error, match="y.parquet") as caught:
            kith.read(tmp_path / "y.parquet")
        assert isinstance(caught.value, (kith.FormatError, kith.DataError))
    with pytest.raises(kith.MissingFileError, match="z.parquet"):
        kith.read(tmp_path / "z.parquet")


def test_arrow_with_offsets_outside(pa):
    """An array that says more than its buffers hold: nobody else checks it, and reading it would leave them."""
    offsets = pa.py_buffer(np.array([0, 400, 4], "i4"))
    values = pa.array([1, 2, 3, 4], pa.float32())
    wrong = pa.ListArray.from_buffers(pa.list_(pa.float32()), 2, [None, offsets], children=[values])
    with pytest.raises(kith.FormatError, match="ListArray: is malformed"):
        kith.read(wrong)


@pytest.mark.parametrize("stream", [False, True])
def test_ipc_files_are_mapped(pa, tmp_path, stream):
    full = table(pa, fixed(pa))
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(str(tmp_path / "x.arrow"), full.schema) as writer:
        writer.write_table(full)
    before = pa.total_allocated_bytes()
    source = same(kith.read(tmp_path / "x.arrow"))
    assert source.ids.tolist() == list(range(100, 150))
    assert not source.array.flags.owndata and pa.total_allocated_bytes() - before < ROWS.nbytes


def test_feather(pa, tmp_path):
    import pyarrow.feather as feather
    feather.write_feather(table(pa, lists(pa)), str(tmp_path / "x.feather"), chunksize=9)
    same(kith.read(tmp_path / "x.feather"))
    data = (tmp_path / "x.feather").read_bytes()
    for damage in (b"", data[:40], data[:-8], b"ARROW1" + bytes(100)):
        (tmp_path / "y.feather").write_bytes(damage)
        with pytest.raises(kith.FormatError, match="y.feather: is malformed"):
            kith.read(tmp_path / "y.feather")


# ---- pandas ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pd():
    return pytest.importorskip("pandas")


def test_pandas_numbers_are_not_copied(pd):
    frame = pd.DataFrame(ROWS)
    assert np.shares_memory(same(kith.read(frame)).array, frame.to_numpy())


def test_pandas_columns(pd):
    frame = pd.DataFrame(ROWS, columns=[f"x{i}" for i in range(8)], index=range(1000, 1050))
    frame["id"], frame["name"], frame["note"] = range(50), "n", "text"
    source = same(kith.read(frame))
    assert source.ids.tolist() == list(range(50)) and source.names == ["n"] * 50
    frame["x1"] = frame["x1"].astype("f8")
    same(kith.read(frame))
    frame["x2"] = pd.array(frame["x2"], dtype="Float32")
    same(kith.read(frame))
    frame.loc[1004, "x2"] = pd.NA
    with pytest.raises(kith.DataError, match="DataFrame: column 'x2': row 4: is missing"):
        kith.read(frame)


def test_pandas_lists(pd, monkeypatch):
    monkeypatch.setattr(arrays_module, "STRIP_BYTES", 700)
    for rows in (list(ROWS), ROWS.tolist(), [tuple(row) for row in ROWS.tolist()]):
        frame = pd.DataFrame({"key": [f"k{i}" for i in range(50)], "v": rows})
        assert same(kith.read(frame, id_column="key")).ids[49] == "k49"
        same(kith.read(frame["v"]))
    eights = pd.Series(list(np.arange(40, dtype="i1").reshape(10, 4)))
    same(kith.read(eights), np.arange(40).reshape(10, 4), "i8")


def test_pandas_over_arrow(pd, pa):
    series = pd.Series(fixed(pa), dtype=pd.ArrowDtype(fixed(pa).type), name="v")
    same(kith.read(series))
    same(kith.read(series.to_frame()))


@pytest.mark.parametrize("rows, words", [
    ([[1, 2], [3]], "row 1 has 1 elements, but row 0 has 2"),
    ([[1, 2], None], "row 1 is missing"),
    ([[1, 2], float("nan")], "row 1 is missing"),
    ([[1, 2], "ab"], "row 1 is no list of numbers"),
])
def test_pandas_rows_that_do_not_fit(pd, rows, words):
    frame = pd.DataFrame({"v": pd.Series(rows, dtype=object)})
    with pytest.raises(kith.DataError, match=f"DataFrame: column 'v': .*{words}"):
        kith.read(frame)


def test_pandas_without_vectors(pd):
    with pytest.raises(kith.DataError, match="DataFrame: has no rows"):
        kith.read(pd.DataFrame({"a": [], "b": []}, dtype="f4"))
    with pytest.raises(kith.UnsupportedError, match="Series 'a': holds float64; lists of numbers"):
        kith.read(pd.Series([1.0], name="a"))
    with pytest.raises(kith.ArgumentError, match="no column of vectors among 'a'"):
        kith.read(pd.DataFrame({"a": ["x"]}))
    with pytest.raises(kith.DataError, match="column 'id': row 1: is missing"):
        kith.read(pd.DataFrame({"id": ["x", None], "v": [[1], [2]]}))
    with pytest.raises(kith.ArgumentError, match="Index: cannot be read as vectors"):
        kith.read(pd.Index(["a"]))


# ---- polars ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pl():
    return pytest.importorskip("polars")


def test_polars_arrays_are_not_copied(pl):
    series = pl.Series("v", ROWS, dtype=pl.Array(pl.Float32, 8))
    source = same(kith.read(series))
    assert address(source.array) == address(series.to_numpy(allow_copy=False))


def test_polars_lists(pl):
    frame = pl.DataFrame({"id": [f"k{i}" for i in range(50)], "v": ROWS.tolist(), "n": range(50)},
                         schema_overrides={"v": pl.List(pl.Float32)})
    assert same(kith.read(frame)).ids[49] == "k49"
    same(kith.read(frame["v"]))
    same(kith.read(pl.concat([frame[:9], frame[9:]], rechunk=False)))
    same(kith.read(frame["v"][10:20]), ROWS[10:20])
    same(kith.read(frame, column="n"), np.arange(50).reshape(-1, 1))


def test_polars_columns(pl):
    frame = pl.DataFrame({"id": range(50), **{f"x{i}": ROWS[:, i] for i in range(8)}, "text": ["t"] * 50})
    assert same(kith.read(frame)).ids.tolist() == list(range(50))
    same(kith.read(frame.with_columns(pl.col("x3").cast(pl.Float64))))


@pytest.mark.parametrize("make, error, words", [
    (lambda pl: pl.Series("v", [[1.0, 2.0], [3.0]]), kith.DataError, "Series 'v': row 1 has 1 elements"),
    (lambda pl: pl.Series("v", [[1.0, 2.0], None]), kith.DataError, "row 1: is missing"),
    (lambda pl: pl.Series("v", [[1.0, 2.0], [3.0, None]]), kith.DataError, "row 1, element 1: is missing"),
    (lambda pl: pl.Series("v", [[]], dtype=pl.List(pl.Float32)), kith.DataError, "row 0 has no elements"),
    (lambda pl: pl.Series("v", [], dtype=pl.List(pl.Float32)), kith.DataError, "has no rows"),
    (lambda pl: pl.Series("v", [["a"]]), kith.UnsupportedError, "holds List"),
    (lambda pl: pl.Series("v", [1.0]), kith.UnsupportedError, "holds Float64"),
    (lambda pl: pl.DataFrame({"a": [1.0, None]}), kith.DataError, "DataFrame: column 'a': row 1: is missing"),
    (lambda pl: pl.DataFrame({"id": [1, None], "v": [[1], [2]]}), kith.DataError, "column 'id': row 1: is missing"),
    (lambda pl: pl.DataFrame({"a": [1.0]}).lazy(), kith.ArgumentError, r"X.collect\(\)"),
    (lambda pl: pl.DataFrame({"a": ["x"]}), kith.ArgumentError, "no column of vectors"),
    (lambda pl: pl.DataFrame({"v": [[1], [(1 << 24) + 1]]}), kith.DataError,
     "DataFrame: column 'v': row 1, column 0: 16777217 is not exact"),
])
def test_polars_that_is_no_vectors(pl, make, error, words):
    with pytest.raises(error, match=words):
        kith.read(make(pl))


# ---- Many rows -------------------------------------------------------------------------------------------------------


def test_joined_rows_lie_in_a_file_when_they_are_many(pa, monkeypatch):
    monkeypatch.setattr(source_module, "MEMORY_BYTES", 100)
    source = same(kith.read(pa.chunked_array([fixed(pa, ROWS[:20]), fixed(pa, ROWS[20:])])))
    assert isinstance(source.array, np.memmap)


@pytest.mark.parametrize("kind", ["npy", "h5", "parquet", "arrow"])
def test_flipped_bits_are_refused_or_harmless(tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    if kind == "npy":
        np.save(path, ROWS)
    elif kind == "h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file["train"] = ROWS
    else:
        pa = pytest.importorskip("pyarrow")
        if kind == "parquet":
            pytest.importorskip("pyarrow.parquet").write_table(table(pa, lists(pa)), path)
        else:
            pytest.importorskip("pyarrow.feather").write_feather(table(pa, lists(pa)), str(path))
    data, random = path.read_bytes(), np.random.default_rng(5)
    refused = 0
    for _ in range(200):
        wrong = bytearray(data)
        wrong[random.integers(len(wrong))] ^= 1 << int(random.integers(8))
        path.write_bytes(wrong)
        try:
            assert len(kith.read(path).array) > 0
        except (kith.Error, MemoryError) as error:
            refused += 1
            assert f"x.{kind}" in str(error)
    assert refused > 0


# ---- The index of a pandas frame -------------------------------------------------------------------------------------


@pytest.fixture
def pandas():
    pytest.importorskip("pyarrow")
    return pytest.importorskip("pandas")


def everywhere(frame, folder):
    """A frame, and what pandas makes of it in Arrow, Parquet and Feather."""
    import pyarrow as pa
    import pyarrow.feather

    table = pa.Table.from_pandas(frame)
    frame.to_parquet(folder / "x.parquet")
    pyarrow.feather.write_feather(table, folder / "x.feather")
    with pa.OSFile(str(folder / "x.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return frame, table, table.to_batches()[0], folder / "x.parquet", folder / "x.feather", folder / "x.arrow"


def filtered(pandas):
    frame = pandas.DataFrame(ROWS, columns=list("abcdefgh"))
    return frame[frame.a > 0.3]


def test_an_index_is_no_element(pandas, tmp_path):
    frame = filtered(pandas)
    kept = frame.index.to_numpy()
    assert 0 < len(kept) < len(ROWS)
    for named in (frame, frame.rename_axis("item"), frame.set_index([frame.index, kept * 2]),
                  frame.set_index(pandas.MultiIndex.from_arrays([kept, kept + 1], names=["one", "two"])),
                  frame.set_index(kept * 0.5), frame.reset_index(drop=True)):
        for source in everywhere(named, tmp_path):
            assert same(kith.read(source), ROWS[kept]).ids is None


def test_an_index_called_id_gives_ids(pandas, tmp_path):
    frame = filtered(pandas)
    for source in everywhere(frame.rename_axis("id"), tmp_path):
        assert same(kith.read(source), ROWS[frame.index]).ids.tolist() == frame.index.tolist()


def test_an_index_gives_ids_where_it_is_named(pandas, tmp_path):
    frame = filtered(pandas)
    for source in everywhere(frame.rename_axis("item"), tmp_path):
        assert same(kith.read(source, id_column="item"), ROWS[frame.index]).ids.tolist() == frame.index.tolist()
    words = [f"item{k}" for k in frame.index]
    for source in everywhere(frame.set_index(pandas.Index(words, name="item")), tmp_path):
        assert same(kith.read(source, id_column="item"), ROWS[frame.index]).ids == words
        assert kith.read(source, name_column="item").names == words
    twice = pandas.MultiIndex.from_arrays([words, frame.index], names=["word", "row"])
    for source in everywhere(frame.set_index(twice), tmp_path):
        read = same(kith.read(source, id_column="row", name_column="word"), ROWS[frame.index])
        assert read.ids.tolist() == frame.index.tolist() and read.names == words
    _, *stored = everywhere(frame, tmp_path)
    for source in stored:
        assert kith.read(source, id_column="__index_level_0__").ids.tolist() == frame.index.tolist()


def test_an_index_beside_a_column_of_lists(pandas, tmp_path):
    frame = pandas.DataFrame({"embedding": list(ROWS)}, index=np.arange(50) * 2)
    for source in everywhere(frame, tmp_path):
        assert same(kith.read(source)).ids is None


def test_a_column_of_lists_as_an_array(pandas):
    same(kith.read(pandas.DataFrame({"embedding": list(ROWS)})["embedding"].to_numpy()))


@pytest.mark.parametrize("note", [b"", b"{}", b"[]", b"\xff", b'{"index_columns": 5}', b'{"index_columns": [{}, null]}'])
def test_a_note_that_is_not_of_pandas(note):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({name: ROWS[:, at] for at, name in enumerate("abcdefgh")}).replace_schema_metadata({b"pandas": note})
    same(kith.read(table))
