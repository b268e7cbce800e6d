# SPDX-License-Identifier: Apache-2.0
"""kith.compat.faiss beside Faiss: the same functions are run with either module, and their answers compared. Where
Faiss is not installed, what it is known to answer is still checked on kith's side."""
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import kith
from kith.compat import faiss as ours
from kith.compat import hnswlib

D, N, Q, K = 24, 1200, 40, 10
RNG = np.random.default_rng(3)
X = RNG.standard_normal((N, D), dtype=np.float32)
QUERIES = RNG.standard_normal((Q, D), dtype=np.float32)
IDS = RNG.permutation(10 * N)[:N].astype(np.int64) - 5000  # some are negative
FLOAT_MAX = np.finfo(np.float32).max


@pytest.fixture(scope="module")
def real():
    module = pytest.importorskip("faiss")
    module.omp_set_num_threads(1)
    return module


def both(real, script):
    """What a script answers with Faiss, and with kith."""
    return script(real), script(ours)


def agree(found, expected, tolerance=2e-5):
    """Ids equal, but where two distances are as good as equal; distances equal within float32's error."""
    for (D1, I1), (D2, I2) in zip(found, expected, strict=True):
        assert (D1.dtype, I1.dtype, D1.shape, I1.shape) == (D2.dtype, I2.dtype, D2.shape, I2.shape)
        assert np.allclose(D1, D2, rtol=tolerance, atol=tolerance)
        assert np.count_nonzero(I1 != I2) <= I1.size // 1000
        assert np.array_equal(I1 < 0, I2 < 0)


# ---- Scripts that must answer alike ----------------------------------------------------------------------------------


def flat_l2(faiss):
    index = faiss.IndexFlatL2(D)
    index.add(X[:700])
    first = index.search(QUERIES, K)
    index.add(X[700:])
    assert index.ntotal == N and index.d == D and index.is_trained and index.metric_type == faiss.METRIC_L2
    return [first, index.search(QUERIES, K), index.search(x=QUERIES, k=1), index.search(QUERIES[:1], 50)]


def flat_ip(faiss):
    index = faiss.IndexFlatIP(D)
    index.add(X)
    return [index.search(QUERIES, K)]


def flat_by_metric(faiss):
    answers = []
    for metric in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT):
        index = faiss.IndexFlat(D, metric)
        index.add(X)
        assert index.metric_type == metric
        answers.append(index.search(QUERIES, K))
    return answers


def cosine(faiss):
    x, q = X.copy(), QUERIES.copy()
    x[17] = 0
    faiss.normalize_L2(x)
    faiss.normalize_L2(q)
    assert np.allclose((np.delete(x, 17, 0) ** 2).sum(1), 1, atol=1e-5) and not x[17].any()
    index = faiss.index_factory(D, "Flat", faiss.METRIC_INNER_PRODUCT)
    index.add(x)
    return [index.search(q, K)]


def fewer_than_k(faiss):
    answers = []
    for make in (faiss.IndexFlatL2, faiss.IndexFlatIP):
        index = make(D)
        answers.append(index.search(QUERIES, 3))
        index.add(X[:2])
        answers.append(index.search(QUERIES, 5))
        answers.append(index.search(QUERIES[:0], 5))
    return answers


def id_map(faiss):
    answers = []
    for wrap in (faiss.IndexIDMap, faiss.IndexIDMap2):
        index = wrap(faiss.IndexFlatL2(D))
        index.add_with_ids(X[:700], IDS[:700])
        index.add_with_ids(X[700:], IDS[700:])
        answers.append(index.search(QUERIES, K))
        index.remove_ids(IDS[:100])
        assert index.ntotal == N - 100
        answers.append(index.search(QUERIES, K))
    assert np.array_equal(index.reconstruct(int(IDS[800])), X[800])
    return answers


def repeated_ids(faiss):
    index = faiss.index_factory(D, "IDMap,Flat")
    index.add_with_ids(X[:3], np.array([7, 7, -5]))
    return [index.search(X[:3], 2)]


def selected(faiss):
    index = faiss.IndexFlatL2(D)
    index.add(X)
    some = np.arange(5, N, 7)
    return [index.search(QUERIES, K, params=faiss.SearchParameters(sel=sel)) for sel in (
        faiss.IDSelectorBatch(some), faiss.IDSelectorRange(100, 200), faiss.IDSelectorNot(faiss.IDSelectorBatch(some)),
        faiss.IDSelectorRange(100, 103), faiss.IDSelectorRange(N, N + 5))]


def selected_by_id(faiss):
    index = faiss.IndexIDMap(faiss.IndexFlatL2(D))
    index.add_with_ids(X, IDS)
    return [index.search(QUERIES, K, params=faiss.SearchParameters(sel=faiss.IDSelectorBatch(IDS[::3])))]


def removed(faiss):
    index = faiss.IndexFlatL2(D)
    index.add(X)
    assert index.remove_ids(np.array([3, 5, N - 1, N])) == 3
    assert index.ntotal == N - 3 and np.array_equal(index.reconstruct(4), X[6])
    first = index.search(QUERIES, K)
    assert index.remove_ids(faiss.IDSelectorRange(0, 100)) == 100
    return [first, index.search(QUERIES, K)]


def reset(faiss):
    index = faiss.IndexFlatL2(D)
    index.add(X)
    index.search(QUERIES, K)
    index.reset()
    assert index.ntotal == 0
    index.add(X[500:])
    return [index.search(QUERIES, K)]


def every_list_probed(faiss):
    answers = []
    for metric, quantizer in ((faiss.METRIC_L2, faiss.IndexFlatL2(D)),
                              (faiss.METRIC_INNER_PRODUCT, faiss.IndexFlatIP(D))):
        index = faiss.IndexIVFFlat(quantizer, D, 16, metric)
        assert not index.is_trained and index.nlist == 16 and index.nprobe == 1
        index.train(X)
        assert index.is_trained and index.ntotal == 0
        index.add(X)
        index.nprobe = 16
        answers.append(index.search(QUERIES, K))
    return answers


def lists_with_ids(faiss):
    index = faiss.index_factory(D, "IVF16,Flat")
    index.train(X)
    index.add_with_ids(X, IDS)
    faiss.extract_index_ivf(index).nprobe = 16
    return [index.search(QUERIES, K)]


def other_inputs(faiss):
    """Types and strides that Faiss's wrapper converts."""
    index = faiss.IndexFlatL2(D)
    index.add(np.asfortranarray(X))
    wide = np.zeros((Q, 2 * D))
    wide[:, ::2] = QUERIES
    return [index.search(wide[:, ::2], K), index.search(QUERIES[::-1], K), index.search(QUERIES.astype("f2"), K)]


def given_outputs(faiss):
    index = faiss.IndexFlatL2(D)
    index.add(X)
    distances, ids = np.empty((Q, K), np.float32), np.empty((Q, K), np.int64)
    found = index.search(QUERIES, K, D=distances, I=ids)
    assert found[0] is distances and found[1] is ids
    return [found]


def function(faiss):
    return [faiss.knn(QUERIES, X, K), faiss.knn(QUERIES, X, K, metric=faiss.METRIC_INNER_PRODUCT)]


def assigned(faiss):
    index = faiss.IndexFlatL2(D)
    index.add(X[:100])
    ids = index.assign(QUERIES, 2)
    return [(np.zeros(ids.shape, "f4"), ids)]


def with_vectors(faiss):
    index = faiss.IndexFlatL2(D)
    index.add(X)
    distances, ids, found = index.search_and_reconstruct(QUERIES, 3)
    assert np.array_equal(found, X[ids])
    assert np.array_equal(index.reconstruct_batch([5, 2]), X[[5, 2]])
    assert np.array_equal(index.reconstruct_n(10, 4), X[10:14]) and np.array_equal(index.reconstruct_n(), X)
    return [(distances, ids)]


def kept(faiss, folder):
    index = faiss.index_factory(D, "IDMap2,Flat")
    index.add_with_ids(X, IDS)
    faiss.write_index(index, str(folder / "index"))
    copy = faiss.read_index(str(folder / "index"))
    again = faiss.deserialize_index(faiss.serialize_index(index))
    assert copy.ntotal == N and type(copy).__name__ == type(index).__name__
    return [copy.search(QUERIES, K), again.search(QUERIES, K)]


EXACT = [flat_l2, flat_ip, flat_by_metric, cosine, fewer_than_k, id_map, repeated_ids, selected, selected_by_id,
         removed, reset, every_list_probed, lists_with_ids, other_inputs, given_outputs, function, assigned,
         with_vectors]


@pytest.mark.parametrize("script", EXACT)
def test_the_same_script(real, script):
    agree(*both(real, script))


PROGRAM = """
import numpy as np
import faiss
from faiss import IndexFlatL2

d, nb, nq, k = 32, 2000, 20, 4
rng = np.random.default_rng(1234)
xb = rng.random((nb, d), dtype="float32")
xb[:, 0] += np.arange(nb) / 1000.0
xq = rng.random((nq, d), dtype="float32")
index = IndexFlatL2(d)
index.add(xb)
print(index.is_trained, index.ntotal)
D, I = index.search(xb[:5], k)
print(I.tolist(), np.round(D, 3).tolist())
D, I = index.search(xq, k)
print(I[-5:].tolist())
quantizer = faiss.IndexFlatL2(d)
index = faiss.IndexIVFFlat(quantizer, d, 8)
assert not index.is_trained
index.train(xb)
assert index.is_trained
index.add(xb)
index.nprobe = 8
print(index.search(xq, k)[1].tolist())
"""


def test_a_program_changes_one_word(real):
    def run(module):
        text = PROGRAM.replace("import faiss", f"import {module} as faiss", 1).replace("from faiss", f"from {module}")
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("kith.compat.faiss") == run("faiss")


@pytest.mark.parametrize("script", EXACT)
def test_a_script_alone(script):
    script(ours)


def test_the_same_script_with_files(real, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    agree(kept(real, tmp_path / "a"), kept(ours, tmp_path / "b"))


@pytest.mark.parametrize("metric", ["METRIC_L2", "METRIC_INNER_PRODUCT"])
def test_range_search(real, metric):
    def script(faiss):
        index = faiss.IndexFlat(D, getattr(faiss, metric))
        index.add(X)
        limits = ([0.0, 20.0, 25.0, 1e9] if metric == "METRIC_L2" else [8.0, 12.0, 1e9])
        return [index.range_search(QUERIES, limit) for limit in limits] + [index.range_search(QUERIES[:0], 1.0)]

    for (lims, distances, ids), (lims1, distances1, ids1) in zip(*both(real, script), strict=True):
        assert np.array_equal(lims, lims1) and lims.dtype == lims1.dtype
        assert (distances1.dtype, ids1.dtype) == (np.float32, np.int64)
        for q in range(len(lims) - 1):
            part = slice(int(lims[q]), int(lims[q + 1]))
            order, order1 = np.argsort(ids[part]), np.argsort(ids1[part])
            assert np.array_equal(ids[part][order], ids1[part][order1])
            assert np.allclose(distances[part][order], distances1[part][order1], atol=1e-4)


def test_range_search_leaves_the_radius_out():
    index = ours.IndexFlatL2(1)
    index.add(np.array([[0], [1], [2]], "f4"))
    lims, distances, ids = index.range_search(np.zeros((1, 1), "f4"), 1.0)
    assert (lims.tolist(), distances.tolist(), ids.tolist()) == ([0, 1], [0], [0])


# ---- Approximate types: at the same parameters, kith finds as much ---------------------------------------------------

CENTRES = RNG.standard_normal((40, D), dtype=np.float32) * 2
CLUSTERED = CENTRES[RNG.integers(0, 40, 6000)] + RNG.standard_normal((6000, D), dtype=np.float32)
NEAR = CENTRES[RNG.integers(0, 40, 200)] + RNG.standard_normal((200, D), dtype=np.float32)


def recall(found, exact):
    return np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, exact)])


@pytest.mark.parametrize("description", ["HNSW16", "HNSW16,Flat", "IVF16,Flat", "IVF16,PQ8x4", "IVF16_HNSW8,Flat",
                                         "HNSW"])
def test_approximate_types(real, description):
    def script(faiss):
        index = faiss.index_factory(D, description)
        index.train(X)
        index.add(X)
        if "IVF" in description:
            faiss.ParameterSpace().set_index_parameters(index, "nprobe=4")
            assert index.nprobe == 4
        else:
            faiss.ParameterSpace().set_index_parameter(index, "efSearch", 32)
            assert index.hnsw.efSearch == 32
        return type(index).__name__, index.search(QUERIES, K)

    (kind, (_, theirs)), (kind1, (_, ids)) = both(real, script)
    exact = flat_l2(real)[1][1]
    assert kind == kind1
    if "IVF" in description:
        assert 1 > recall(ids, exact) >= recall(theirs, exact) - 0.05 and recall(theirs, exact) > .2
    else:
        assert recall(ids, exact) == 1 >= recall(theirs, exact) > .2


@pytest.mark.parametrize("metric", ["METRIC_L2", "METRIC_INNER_PRODUCT"])
@pytest.mark.parametrize("description", ["IVF64,Flat", "IVF64,PQ8x8", "IDMap,IVF64,Flat"])
def test_recall_at_equal_nprobe(real, description, metric):
    def script(faiss):
        index = faiss.index_factory(D, description, getattr(faiss, metric))
        index.train(CLUSTERED)
        if "IDMap" in description:
            index.add_with_ids(CLUSTERED, np.arange(6000))
        else:
            index.add(CLUSTERED)
        found = []
        for nprobe in (1, 2, 4, 8, 16, 64):
            faiss.extract_index_ivf(index).nprobe = nprobe
            found.append(index.search(NEAR, K)[1])
        return found

    exact = real.knn(NEAR, CLUSTERED, K, metric=getattr(real, metric))[1]
    theirs, shares = ([recall(ids, exact) for ids in found] for found in both(real, script))
    assert all(share >= floor - 0.03 for share, floor in zip(shares, theirs)), (shares, theirs)
    assert shares[0] < 0.98 and shares[-1] == 1 and shares == sorted(shares)


def test_nprobe_of_one_search():
    index = ours.index_factory(D, "IVF64,Flat")
    index.train(CLUSTERED)
    index.add(CLUSTERED)
    exact = ours.knn(NEAR, CLUSTERED, K)[1]
    assert recall(index.search(NEAR, K)[1], exact) < 0.98 and index.nprobe == 1
    assert recall(index.search(NEAR, K, params=ours.SearchParametersIVF(nprobe=64))[1], exact) == 1
    sel = ours.IDSelectorRange(0, 3000)
    distances, ids = index.search(NEAR, K, params=ours.SearchParametersIVF(sel=sel, nprobe=4))
    assert ((ids >= 0) & (ids < 3000)).all() and (np.diff(distances, axis=1) >= 0).all()
    index.nprobe = 0
    with pytest.raises(RuntimeError, match="nprobe is 0"):
        index.search(NEAR, K)


def test_constructors_of_approximate_types(real):
    def script(faiss):
        graph = faiss.IndexHNSWFlat(D, 16, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = 60
        codes = faiss.IndexIVFPQ(faiss.IndexFlatL2(D), D, 16, 8, 4)
        codes.train(X)
        codes.nprobe = 16
        graph.add(X), codes.add(X)
        assert codes.nlist == 16 and graph.hnsw.efConstruction == 60
        assert graph.metric_type == faiss.METRIC_INNER_PRODUCT
        return graph.search(QUERIES, K)[1], codes.search(QUERIES, K)[1]

    script(real)
    products, near = script(ours)
    assert recall(products, flat_ip(real)[0][1]) == recall(near, flat_l2(real)[1][1]) == 1


# ---- Errors: of the same kind ----------------------------------------------------------------------------------------


def filled(faiss):
    index = faiss.IndexFlatL2(D)
    index.add(X)
    return index


def untrained(faiss):
    return faiss.IndexIVFFlat(faiss.IndexFlatL2(D), D, 16)


WRONG = {
    "add: dimension": (lambda f: filled(f).add(X[:, :5]), AssertionError),
    "add: one vector": (lambda f: filled(f).add(X[0]), ValueError),
    "search: dimension": (lambda f: filled(f).search(X[:, :5], 3), AssertionError),
    "search: one vector": (lambda f: filled(f).search(X[0], 3), ValueError),
    "search: k = 0": (lambda f: filled(f).search(X[:1], 0), AssertionError),
    "search: k = -1": (lambda f: filled(f).search(X[:1], -1), AssertionError),
    "search: shape of D": (lambda f: filled(f).search(X[:1], 2, D=np.empty((2, 2), "f4")), AssertionError),
    "add_with_ids: flat": (lambda f: filled(f).add_with_ids(X, IDS), RuntimeError),
    "add_with_ids: count": (lambda f: f.IndexIDMap(f.IndexFlatL2(D)).add_with_ids(X, IDS[:5]), AssertionError),
    "add: id map": (lambda f: f.IndexIDMap(f.IndexFlatL2(D)).add(X), RuntimeError),
    "id map: not empty": (lambda f: f.IndexIDMap(filled(f)), RuntimeError),
    "add: untrained": (lambda f: untrained(f).add(X), RuntimeError),
    "search: untrained": (lambda f: untrained(f).search(X, 3), RuntimeError),
    "train: too few": (lambda f: untrained(f).train(X[:5]), RuntimeError),
    "train: dimension": (lambda f: untrained(f).train(X[:, :5]), AssertionError),
    "PQ: M": (lambda f: f.IndexIVFPQ(f.IndexFlatL2(D), D, 16, 7, 4), RuntimeError),
    "factory": (lambda f: f.index_factory(D, "Nope"), RuntimeError),
    "reconstruct": (lambda f: filled(f).reconstruct(N), RuntimeError),
    "reconstruct: id": (lambda f: f.IndexIDMap2(f.IndexFlatL2(D)).reconstruct(3), RuntimeError),
    "write": (lambda f: f.write_index(filled(f), "/nowhere/index"), RuntimeError),
    "read": (lambda f: f.read_index("/nowhere/index"), RuntimeError),
    "normalize: type": (lambda f: f.normalize_L2(X.astype("f8")), TypeError),
    "remove: graph": (lambda f: f.IndexHNSWFlat(D, 8).remove_ids(np.array([1])), RuntimeError),
    "parameter": (lambda f: f.ParameterSpace().set_index_parameter(filled(f), "nonsense", 3), RuntimeError),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_errors(wrong):
    script, error = WRONG[wrong]
    with pytest.raises(error) as caught:
        script(ours)
    assert str(caught.value)  # Faiss's assertions say nothing; these do


@pytest.mark.parametrize("wrong", WRONG)
def test_errors_are_those_of_faiss(real, wrong):
    script, error = WRONG[wrong]
    with pytest.raises(error):
        script(real)


@pytest.mark.parametrize("script, error, words", [
    (lambda bad: filled(ours).add(bad), kith.DataError, "vectors: row 1 has a NaN or an infinity"),
    (lambda bad: filled(ours).search(bad, 1), kith.DataError, "queries: row 1 has"),
    (lambda bad: untrained(ours).train(np.tile(bad, (20, 1))), kith.DataError, "training vectors: row 1"),
    (lambda bad: ours.IndexFlat(D, ours.METRIC_L1), kith.UnsupportedError, "metric 2 is not offered"),
    (lambda bad: ours.IndexFlatL2(0), ValueError, "d is 0"),
    (lambda bad: ours.omp_set_num_threads(0), ValueError, "0 threads"),
    (lambda bad: ours.index_factory(D, "OPQ8,IVF16,PQ8"), RuntimeError, "could not parse .* OPQ8"),
])
def test_errors_of_our_own(script, error, words):
    bad = X[:3].copy()
    bad[1, 4] = np.nan
    with pytest.raises(error, match=words):
        script(bad)


def test_k_beyond_the_limit():
    index = ours.IndexFlatL2(1)
    index.add(np.zeros((10001, 1), "f4"))
    with pytest.raises(kith.ArgumentError, match="k is 10001; 10000"):
        index.search(np.zeros((1, 1), "f4"), 10001)
    index.reset()
    index.add(X[:5, :1])
    distances, ids = index.search(X[:1, :1], 20000)
    assert (ids >= 0).sum() == 5 and (distances[0, 5:] == FLOAT_MAX).all()


def test_nothing_is_added_by_an_addition_that_fails():
    index = filled(ours)
    bad = X.copy()
    bad[-1, 0] = np.inf
    with pytest.raises(kith.DataError):
        index.add(bad)
    assert index.ntotal == N and index.search(X[:1], 1)[1].tolist() == [[0]]


# ---- State -----------------------------------------------------------------------------------------------------------


def test_vectors_are_copied():
    x = X.copy()
    index = ours.IndexFlatL2(D)
    index.add(x)
    x[:] = 0
    found = index.reconstruct(5)
    found[:] = 7
    assert index.search(X[5:6], 1)[1].tolist() == [[5]] and np.array_equal(index.reconstruct(5), X[5])


def test_an_index_is_built_once(monkeypatch):
    builds = []
    build = kith.Index.build.__func__
    monkeypatch.setattr(kith.Index, "build", classmethod(lambda *a, **b: builds.append(len(a[1])) or build(*a, **b)))
    index = ours.IndexFlatL2(D)
    for part in np.array_split(X, 10):
        index.add(part)
    index.search(QUERIES, 1), index.search(QUERIES, 2), index.range_search(QUERIES, 1.0)
    assert builds == [N]
    index.add(X[:1])
    assert builds == [N]
    index.search(QUERIES, 1)
    assert builds == [N, N + 1]


def test_threads(monkeypatch):
    monkeypatch.setattr(ours, "_threads", None)
    assert ours.omp_get_max_threads() == kith.get_threads()
    expected = filled(ours).search(QUERIES, K)
    ours.omp_set_num_threads(1)
    assert ours.omp_get_max_threads() == 1
    found = filled(ours).search(QUERIES, K)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected))


def test_additions_beside_searches():
    """Every search sees a state that was: the ids of a whole number of additions."""
    index = ours.IndexFlatL2(D)
    index.add(X[:100])
    wrong, done = [], threading.Event()

    def search():
        while not done.is_set():
            ids = index.search(QUERIES[:2], 5)[1]
            if not (ids >= 0).all():
                wrong.append(ids)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for at in range(100, 600, 50):
        index.add(X[at:at + 50])
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong and index.ntotal == 600


@pytest.mark.parametrize("make", [
    lambda: ours.IndexFlatIP(D), lambda: ours.IndexFlat(D, ours.METRIC_INNER_PRODUCT),
    lambda: ours.IndexHNSWFlat(D, 8), lambda: ours.index_factory(D, "IVF8,Flat"),
    lambda: ours.index_factory(D, "IVF8,PQ4x6"), lambda: ours.index_factory(D, "IDMap,IVF8,Flat"),
    lambda: ours.index_factory(D, "HNSW8,IDMap2")])
def test_indexes_are_written_read_and_pickled(tmp_path, make):
    index = make()
    index.train(X)
    if isinstance(index, ours.IndexIDMap):
        index.add_with_ids(X, IDS)
    else:
        index.add(X)
    ours.write_index(index, tmp_path / "index")
    assert os.listdir(tmp_path) == ["index"]
    for copy in (ours.read_index(tmp_path / "index"), pickle.loads(pickle.dumps(index))):
        assert type(copy) is type(index) and copy._header() == index._header() and copy.ntotal == N
        assert all(np.array_equal(a, b) for a, b in zip(copy.search(QUERIES, K), index.search(QUERIES, K)))


def test_files_of_others(tmp_path):
    ours.write_index(filled(ours), tmp_path / "index")
    data = (tmp_path / "index").read_bytes()
    other = hnswlib.Index("l2", 2)
    other.init_index(3)
    other.save_index(tmp_path / "other")
    with pytest.raises(kith.FormatError, match="other: is no file that kith.compat.faiss wrote"):
        ours.read_index(tmp_path / "other")
    for damage in (b"", b"IxF2" + bytes(100), data[:1000], data[:-30], data[:5000] + b"x" + data[5001:]):
        (tmp_path / "damaged").write_bytes(damage)
        with pytest.raises(kith.FormatError, match="damaged: is no file that kith.compat.faiss wrote"):
            ours.read_index(tmp_path / "damaged")


def test_faiss_files_are_refused_by_name(real, tmp_path):
    real.write_index(filled(real), str(tmp_path / "index"))
    with pytest.raises(kith.FormatError, match="files of the library faiss itself cannot be read"):
        ours.read_index(tmp_path / "index")
