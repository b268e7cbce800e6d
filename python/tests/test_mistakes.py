# SPDX-License-Identifier: Apache-2.0
"""What people give by mistake: things without an order or with hidden values, arguments that name nothing. Each is
refused by name, wherever it is given, or taken as it is meant."""
import io
import re

import numpy as np
import pytest

import kith
from kith.compat import faiss, hnswlib

X = np.random.default_rng(3).standard_normal((40, 8), dtype=np.float32)
HIDDEN = np.ma.masked_array(X, mask=np.zeros(X.shape, bool))
HIDDEN[3, 5] = np.ma.masked
LABELS = np.ma.masked_array(np.arange(40), mask=np.arange(40) == 7)


@pytest.fixture(scope="module")
def index():
    with kith.Index.build(X) as built:
        yield built


@pytest.fixture(scope="module")
def named():
    with kith.Index.build(X, ids=[f"item{k}" for k in range(40)]) as built:
        yield built


def filled_faiss():
    made = faiss.IndexIDMap(faiss.IndexFlatL2(8))
    made.add_with_ids(X, np.arange(40))
    return made


def filled_hnswlib():
    made = hnswlib.Index("l2", 8)
    made.init_index(100)
    made.add_items(X)
    return made


# ---- Values that are hidden ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use, where", [
    (lambda: kith.Index.build(HIDDEN), "X: row 3, column 5"),
    (lambda: kith.Index.build(HIDDEN.astype("f8")), "X: row 3, column 5"),
    (lambda: kith.Index.build(HIDDEN > 0), "X: row 3, column 5"),
    (lambda: kith.Index.build((HIDDEN > 0).astype("u1"), dtype="b1"), "X: row 3, column 5"),
    (lambda: kith.Index.build(list(HIDDEN)), "X: row 3"),
    (lambda: kith.Index.build(X, ids=LABELS), "ids: row 7"),
    (lambda: kith.Index.build(X, names=np.ma.masked_array(["a"] * 40, LABELS.mask)), "names: row 7"),
    (lambda: kith.read(HIDDEN), "X: row 3, column 5"),
    (lambda: kith.read(X, ids=LABELS), "ids: row 7"),
    (lambda: kith.distance("l2", HIDDEN[3], X[3]), "queries: row 5"),
    (lambda: filled_faiss().search(HIDDEN, 1), "vectors: row 3, column 5"),
    (lambda: filled_faiss().add_with_ids(X, LABELS), "ids: row 7"),
    (lambda: filled_faiss().reconstruct_batch(LABELS), "keys: row 7"),
    (lambda: faiss.IDSelectorBatch(LABELS), "ids: row 7"),
    (lambda: faiss.knn(X, HIDDEN, 1), "vectors: row 3, column 5"),
    (lambda: faiss.normalize_L2(HIDDEN), "normalize_L2: row 3, column 5"),
    (lambda: filled_hnswlib().add_items(HIDDEN), "vectors: row 3, column 5"),
    (lambda: filled_hnswlib().add_items(X, LABELS), "labels: row 7"),
    (lambda: filled_hnswlib().knn_query(list(HIDDEN)), "queries: row 3"),
    (lambda: filled_hnswlib().get_items(LABELS), "labels: row 7"),
])
def test_a_masked_value_is_no_value(use, where):
    with pytest.raises(kith.DataError, match=f"^{re.escape(where)}: (is masked|has masked elements)"):
        use()


@pytest.mark.parametrize("use", [
    lambda index: index.search(HIDDEN, k=1), lambda index: index.search(HIDDEN[3], k=1),
    lambda index: index.search(list(HIDDEN), k=1), lambda index: index.range_search(HIDDEN, 1.0),
    lambda index: index.join(HIDDEN, k=1), lambda index: index.search(X, k=1, allow=LABELS),
    lambda index: index.search(X, k=1, deny=LABELS), lambda index: index.vectors(LABELS),
    lambda index: index.filter(LABELS), lambda index: index.tune(HIDDEN),
])
def test_searches_refuse_masked_values(index, use):
    with pytest.raises(kith.DataError, match="masked"):
        use(index)


def test_a_mask_that_hides_nothing_is_fine(index):
    plain = np.ma.masked_array(X)
    assert np.array_equal(kith.Index.build(plain, ids=np.ma.masked_array(np.arange(40))).vectors(range(40)), X)
    assert np.array_equal(index.search(plain, k=3).distances, index.search(X, k=3).distances)
    assert np.array_equal(index.search(plain[0], k=3).ids, index.search(X[0], k=3).ids)


# ---- What has no order -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [set, frozenset])
@pytest.mark.parametrize("use, what", [
    (lambda ids: kith.Index.build(X, ids=ids), "ids"),
    (lambda ids: kith.read(X, ids=ids), "ids"),
    (lambda ids: kith.Index.build(X, names={str(i) for i in ids}), "names"),
    (lambda ids: filled_faiss().add_with_ids(X, ids), "ids"),
    (lambda ids: filled_faiss().reconstruct_batch(ids), "keys"),
    (lambda ids: filled_hnswlib().add_items(X, ids), "labels"),
    (lambda ids: filled_hnswlib().get_items(ids), "labels"),
])
def test_what_has_no_order_labels_no_rows(kind, use, what):
    with pytest.raises(kith.ArgumentError, match=f"^{what}: a (set|frozenset) has no order"):
        use(kind(range(40)))


def test_vectors_and_tables_have_an_order(index):
    with pytest.raises(kith.ArgumentError, match="ids: a set has no order"):
        index.vectors({1, 2})
    with pytest.raises(kith.ArgumentError, match="set: cannot be read as vectors"):
        kith.Index.build({1, 2})
    with pytest.raises(kith.ArgumentError, match="ids: a dict was given; give its keys or its values"):
        kith.Index.build(X, ids={k: k for k in range(40)})


def test_keys_and_values_of_a_dict_do(index):
    rows = {f"item{k}": X[k] for k in range(40)}
    built = kith.Index.build(list(rows.values()), ids=rows.keys())
    assert built.search(X, k=1).ids[:, 0].tolist() == list(rows)
    assert np.array_equal(index.vectors({3: 0, 1: 0}.keys()), X[[3, 1]])


def test_a_filter_needs_no_order(index, named):
    for some in ({3, 5}, frozenset((3, 5)), {3: 0, 5: 0}.keys(), np.array([5, 3])):
        assert set(index.search(X[0], k=3, allow=some).ids.tolist()) == {3, 5, -1}
    assert set(named.search(X[0], k=2, allow={"item3", "item5"}).ids.tolist()) == {"item3", "item5"}
    params = faiss.SearchParameters(sel=faiss.IDSelectorBatch({3, 5}))
    assert set(filled_faiss().search(X[:1], 3, params=params)[1][0].tolist()) == {3, 5, -1}
    assert filled_faiss().remove_ids({3, 5, 99}) == 2


@pytest.mark.parametrize("argument", ["allow", "deny"])
def test_strings_among_numbers_are_named(index, argument):
    for some in (["0", "1"], {"0"}, np.array(["0"]), np.array(["0"], object)):
        for use in (index.search, index.range_search):
            with pytest.raises(TypeError, match=f"{argument}: '[01]' is a string, but the ids of this index are numbers"):
                use(X[0], 2, **{argument: some})
        with pytest.raises(TypeError, match=f"{argument}: '[01]' is a string"):
            index.join(X, **{argument: some})
    with pytest.raises(TypeError, match="allow: '0' is a string"):
        index.filter(["0"])


# ---- Arguments that name nothing -------------------------------------------------------------------------------------


COLUMNS = ("column", "id_column", "name_column")


@pytest.mark.parametrize("argument", COLUMNS)
@pytest.mark.parametrize("source", [X, X.tolist(), memoryview(X), kith.read(X)],
                         ids=["array", "list", "memoryview", "Source"])
def test_what_has_no_columns(source, argument):
    with pytest.raises(kith.ArgumentError, match=f"{argument}='a' names nothing here"):
        kith.read(source, **{argument: "a"})


def test_a_source_can_be_taken_for_bits(tmp_path):
    bits = np.random.default_rng(4).integers(0, 256, (20, 4), dtype=np.uint8)
    np.save(tmp_path / "bits.npy", bits)
    for source in (kith.read(bits, ids=range(7, 27)), kith.read(tmp_path / "bits.npy", ids=range(7, 27))):
        built = kith.Index.build(source, dtype="b1")
        assert built.dim == 32 and np.array_equal(built.vectors(range(7, 27)), bits)
        assert built.join(source, k=1).ids.ravel().tolist() == list(range(7, 27))
        assert kith.read(kith.read(source, dtype="b1"), dtype="b1").shape == (20, 32)
    with pytest.raises(kith.UnsupportedError, match="packed bits .* are read from uint8"):
        kith.Index.build(kith.read(X), dtype="b1")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    np.save(folder / "x.npy", X)
    np.save(folder / "wide.npy", X.astype("f8"))
    (folder / "x.csv").write_text("id,a,b\n1,2,3\n5,6,7\n")
    (folder / "x.tsv").write_text("id\ta\tb\n1\t2\t3\n5\t6\t7\n")
    (folder / "x.jsonl").write_text('{"id": 1, "vector": [1, 2]}\n')
    (folder / "x.fbin").write_bytes(np.array([40, 8], "<u4").tobytes() + X.tobytes())
    (folder / "x.fvecs").write_bytes(b"".join(np.array([8], "<i4").tobytes() + row.tobytes() for row in X))
    return folder


@pytest.mark.parametrize("name, taken", [
    ("x.npy", ()), ("wide.npy", ()), ("x.fbin", ()), ("x.fvecs", ()), ("x.jsonl", ()), ("x.csv", COLUMNS[1:]),
    ("x.tsv", COLUMNS[1:])])
def test_files_take_what_they_have(files, name, taken):
    for argument in COLUMNS:
        if argument in taken:
            kith.read(files / name, **{argument: "a"})
            with pytest.raises(kith.ArgumentError, match=f"{name}: line 1: there is no column 'nope'") as caught:
                kith.read(files / name, **{argument: "nope"})
            assert not isinstance(caught.value, OSError)
        else:
            with pytest.raises(kith.ArgumentError, match=f"{name}: {argument}='a' names nothing here"):
                kith.read(files / name, **{argument: "a"})
    if not taken:
        with pytest.raises(kith.ArgumentError, match="column='a' names nothing here"):
            kith.read(f"{files / name}::a")


@pytest.mark.parametrize("argument", COLUMNS)
def test_columns_are_named_by_strings(files, argument):
    with pytest.raises(TypeError, match=f"{argument} must be the name of a column, a string, not 1"):
        kith.read(files / "x.csv", **{argument: 1})


def test_columns_of_objects():
    pa, pd = pytest.importorskip("pyarrow"), pytest.importorskip("pandas")
    for thing in (pa.array(X.tolist()), pd.Series(X.tolist())):
        for argument in COLUMNS:
            with pytest.raises(kith.ArgumentError, match=f"{argument}='a' names nothing here"):
                kith.read(thing, **{argument: "a"})
    frame = pd.DataFrame(X)
    assert kith.read(frame, id_column=None).dim == 8
    assert kith.read(frame.round().astype(int).abs(), id_column=3).dim == 7  # pandas has numbers as names


def test_columns_of_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["train"] = X
        for argument in COLUMNS:
            with pytest.raises(kith.ArgumentError, match=f"Dataset: {argument}='a' names nothing here"):
                kith.read(file["train"], **{argument: "a"})
    for argument in COLUMNS[1:]:
        with pytest.raises(kith.ArgumentError, match=f"x.h5: {argument}='a' names nothing here; an HDF5 file"):
            kith.read(tmp_path / "x.h5", **{argument: "a"})


# ---- Words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word, metric", [
    ("L2", "l2"), ("Cosine", "cosine"), ("IP", "ip"), ("inner_product", "ip"), ("Inner Product", "ip"), ("dot", "ip"),
    ("euclidean", "l2"), ("SqEuclidean", "l2"), ("angular", "cosine")])
def test_metrics_by_their_usual_names(word, metric):
    assert kith.Index.build(X, metric=word).metric == metric
    assert kith.distance(word, X[0], X[1]) == kith.distance(metric, X[0], X[1])


def test_dtypes_by_their_usual_names():
    assert kith.Index.build(X, dtype="Float16").dtype == kith.Index.build(X, dtype="F16").dtype == "f16"
    with pytest.raises(kith.ArgumentError, match="metric 'L3' is unknown"):
        kith.Index.build(X, metric="L3")


# ---- Objects, structures, and files that are open --------------------------------------------------------------------


def objects(rows):
    array = np.empty(len(rows), object)
    array[:] = list(rows)
    return array


@pytest.mark.parametrize("rows", [objects(X), objects(X.tolist()), objects([tuple(row) for row in X.tolist()])],
                         ids=["arrays", "lists", "tuples"])
def test_an_array_of_rows_is_taken(index, rows):
    assert np.array_equal(kith.Index.build(rows).vectors(range(40)), X)
    assert np.array_equal(kith.read(rows).array, X)
    assert np.array_equal(index.search(rows, k=2).ids, index.search(X, k=2).ids)
    assert np.array_equal(index.join(rows, k=2).ids, index.search(X, k=2).ids)


def test_an_array_of_uneven_rows_is_not(index):
    rows = objects([*X[:5], X[0][:3]])
    for use in (kith.Index.build, kith.read):
        with pytest.raises(kith.DataError, match="X: row 5 has 3 elements, but row 0 has 8"):
            use(rows)
    with pytest.raises(kith.ArgumentError, match="queries: cannot be made into an array"):
        index.search(rows)


def test_structures_are_named(index):
    rows = np.zeros(4, [("id", "i8"), ("v", "f4", 8)])
    for use in (kith.Index.build, kith.read, index.search, index.join, faiss.IndexFlatL2(8).add, filled_hnswlib().add_items):
        with pytest.raises(kith.UnsupportedError, match=r"is of a structured type, with the fields 'id', 'v'; .* X\['v'\]"):
            use(rows)
    assert kith.Index.build(rows["v"]).dim == 8


def test_open_files_and_bytes_are_named(files):
    for thing in (io.BytesIO(b""), io.StringIO("")):
        with pytest.raises(kith.ArgumentError, match="(Bytes|String)IO: is an open file, not vectors; give its path"):
            kith.read(thing)
    with open(files / "x.npy", "rb") as file, pytest.raises(kith.ArgumentError, match="is an open file"):
        kith.Index.build(file)
    for thing in (b"abc", bytearray(8)):
        with pytest.raises(kith.ArgumentError, match="cannot be read as vectors"):
            kith.read(thing)


def advice(use):
    with pytest.raises(kith.ArgumentError, match="for one vector give") as caught:
        use()
    return str(caught.value).rpartition("for one vector give ")[2]


def test_advice_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("one.npy", X[0])
    for given in (X[0], X[0].tolist(), X[0].astype("f8"), np.arange(8)):
        for use in (kith.Index.build, kith.read):
            said = advice(lambda: use(given))
            assert kith.read(eval(said, {"X": given, "numpy": np})).shape == (1, 8)  # noqa: S307
    assert kith.read(eval(advice(lambda: kith.read("one.npy")), {"numpy": np})).shape == (1, 8)  # noqa: S307
    for given in (np.array(["a", "b"]), np.zeros(3, "M8[s]"), memoryview(b"abc")):
        with pytest.raises(kith.Error) as caught:
            kith.read(given)
        assert "for one vector" not in str(caught.value)


# ---- Results are pairs -----------------------------------------------------------------------------------------------


def test_a_result_is_a_pair(index, named):
    for found in (index.search(X, k=2), index.search(X[0], k=2), named.search(X, k=2), index.join(X, k=2),
                  named.join(X, k=2)):
        ids, distances = found
        assert len(found) == len(list(found)) == 2
        assert found[0] is ids is found.ids and found[1] is distances is found.distances and found[-1] is distances
        with pytest.raises(IndexError):
            found[2]
    found = index.range_search(X, 1.0)
    assert len(found) == len(list(found)) == 40 and all(np.array_equal(a[0], b[0]) for a, b in zip(found, list(found)))


# ---- Many vectors ----------------------------------------------------------------------------------------------------


def test_vectors_in_any_order(index, named):
    order = np.random.default_rng(0).integers(0, 40, 200)
    for ids in (order, order.tolist(), tuple(order.tolist()), order.astype(np.uint64), order.astype(np.int16),
                iter(order.tolist())):
        found = index.vectors(ids)
        assert found.dtype == np.float32 and np.array_equal(found, X[order])
    assert np.array_equal(named.vectors([f"item{k}" for k in order]), X[order])
    assert np.array_equal(named.vectors(np.array([f"item{k}" for k in order])), X[order])
    assert np.array_equal(named.vectors(order), X[order])  # row numbers, as Result.rows has them
    assert index.vectors([]).shape == (0, 8) and named.vectors([]).shape == (0, 8)
    assert np.array_equal(index.vector(7), X[7]) and index.vector(np.int64(7)).shape == (8,)


def test_vectors_of_bits_and_large_ids():
    bits = np.random.default_rng(1).integers(0, 256, (20, 3), dtype=np.uint8)
    ids = np.arange(20, dtype=np.uint64) * 3 + np.uint64(2**63)
    built = kith.Index.build(bits, ids=ids, dtype="b1")
    assert np.array_equal(built.vectors(ids[::-1]), bits[::-1]) and built.vectors(ids[:2]).dtype == np.uint8
    assert np.array_equal(built.vectors([int(ids[4]), int(ids[4])]), bits[[4, 4]])
    assert built.search(bits[4], k=2, allow=[int(ids[4])]).ids.tolist() == [int(ids[4]), 2**64 - 1]


@pytest.mark.parametrize("ids, place", [
    ([1, 2**64], "row 1: the index has no id 18446744073709551616"), ([-1, 2**63], "row 0: the index has no id -1"),
    (np.array([0, 2**64 - 1], np.uint64), "row 1: the index has no id 18446744073709551615"),
    ([1, 2, 99, 98], "row 2: the index has no id 99"), ([1, -1], "row 1: the index has no id -1"),
    (np.array([40]), "row 0: the index has no id 40"), (["a"], "row 0: the index has no id 'a'")])
def test_an_unknown_id_is_named_with_its_place(index, ids, place):
    with pytest.raises(kith.MissingIdError, match=f"ids: {place}"):
        index.vectors(ids)


def test_an_unknown_string_is_named_with_its_place(named):
    with pytest.raises(kith.MissingIdError, match="ids: row 1: the index has no id 'item40'"):
        named.vectors(["item3", "item40", "item41"])


@pytest.mark.parametrize("ids, error", [
    (5, kith.ArgumentError), ("item", kith.ArgumentError), (np.array([[1]]), kith.ArgumentError),
    (np.array([True] * 40), kith.DataError), ([1.5], kith.DataError)])
def test_ids_that_are_none(index, ids, error):
    with pytest.raises(error):
        index.vectors(ids)


# ---- Denied ids ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", ["auto", "plain", "scan", "gather"])
def test_deny(index, plan):
    denied = [0, 3, 5, 39, 5, 1000]
    rest = [i for i in range(40) if i not in denied]
    expected = index.search(X, k=40, allow=rest)
    for given in (denied, set(denied), np.array(denied), index.filter(denied)):
        found = index.search(X, k=40, deny=given, plan=plan)
        assert np.array_equal(found.ids, expected.ids) and np.array_equal(found.distances, expected.distances)
        assert found.explain.allowed == len(rest)


def test_allow_and_deny(index):
    expected = index.search(X, k=3, allow=[1, 4])
    some, less = index.filter([1, 2, 4, 77]), index.filter([2, 3, 88])
    for allow in ([1, 2, 4], some):
        for deny in ([2, 3], less):
            found = index.search(X, k=3, allow=allow, deny=deny)
            assert np.array_equal(found.ids, expected.ids) and found.ids[0, 2] == -1
            joined = index.join(X, k=3, allow=allow, deny=deny)
            assert np.array_equal(joined.ids, expected.ids)
            ranges, wanted = (index.range_search(X, 1e9, allow=a, deny=d) for a, d in ((allow, deny), ([1, 4], None)))
            assert np.array_equal(ranges.ids, wanted.ids) and np.array_equal(ranges.offsets, wanted.offsets)
    left = index.filter(some, deny=less)
    assert (len(left), left.unknown) == (2, 2) and index.filter(some) is some
    assert np.array_equal(index.search(X, k=3, allow=left).ids, expected.ids)
    assert len(index.filter(deny=[])) == 40 and len(index.filter(deny=range(40))) == 0
    assert (index.search(X[0], k=2, deny=range(40)).ids == -1).all()


def test_deny_strings(named):
    found = named.search(X[0], k=40, deny={"item0", "item5", "nothing"})
    assert set(found.ids.tolist()) == {f"item{k}" for k in range(40) if k not in (0, 5)} | {None}


def test_filters_of_two_indexes_do_not_mix(index, named):
    with pytest.raises(kith.ArgumentError, match="different indexes"):
        index.search(X, k=1, allow=named.filter(["item1"]), deny=[1])
    with pytest.raises(kith.ArgumentError, match="filter"):
        index.search(X, k=1, deny=named.filter(["item1"]))
    with pytest.raises(kith.ArgumentError, match="a filter needs"):
        index.filter()


@pytest.mark.parametrize("deny", [5, "item", np.ones(40, bool), [-1], [1.5]])
def test_what_cannot_be_denied(index, deny):
    with pytest.raises(kith.Error, match="deny"):
        index.search(X, k=1, deny=deny)
