# SPDX-License-Identifier: Apache-2.0
"""kith.compat.hnswlib beside hnswlib: the same functions are run with either module, and their answers compared. The
graph of hnswlib is searched with an ef that makes it exact on this data; BFIndex is exact by itself."""
import pickle
import subprocess
import sys

import numpy as np
import pytest

import kith
from kith.compat import hnswlib as ours

D, N, Q, K = 16, 400, 30, 8
RNG = np.random.default_rng(4)
X = RNG.standard_normal((N, D), dtype=np.float32)
QUERIES = RNG.standard_normal((Q, D), dtype=np.float32)
LABELS = RNG.permutation(10 * N)[:N]
SPACES = ["l2", "ip", "cosine"]


@pytest.fixture(scope="module")
def real():
    return pytest.importorskip("hnswlib")


def agree(found, expected):
    for (labels1, distances1), (labels2, distances2) in zip(found, expected, strict=True):
        assert (labels1.dtype, labels1.shape) == (labels2.dtype, labels2.shape) == (np.uint64, distances2.shape)
        assert distances1.dtype == distances2.dtype == np.float32
        assert np.allclose(distances1, distances2, rtol=1e-5, atol=1e-5)
        assert np.count_nonzero(labels1 != labels2) <= labels1.size // 1000


def graph(module, space="l2", capacity=2 * N, **options):
    index = module.Index(space=space, dim=D)
    index.init_index(max_elements=capacity, ef_construction=100, M=16, **options)
    index.set_ef(N)
    index.set_num_threads(2)
    return index


# ---- Scripts that must answer alike ----------------------------------------------------------------------------------


def plain(module, space):
    index = graph(module, space)
    index.add_items(X)
    assert (index.element_count, index.get_current_count(), index.max_elements) == (N, N, 2 * N)
    assert (index.ef, index.M, index.ef_construction, index.dim, index.space) == (N, 16, 100, D, space)
    return [index.knn_query(QUERIES, k=K), index.knn_query(QUERIES[0], k=3), index.knn_query(QUERIES),
            index.knn_query(QUERIES.astype("f8")[::-1], K, num_threads=1), index.knn_query(QUERIES[:0], k=2)]


def labelled(module, space):
    index = graph(module, space)
    index.add_items(X[:300], LABELS[:300])
    first = index.knn_query(QUERIES, k=K)
    index.add_items(X[300:].tolist(), LABELS[300:].tolist())
    assert sorted(index.get_ids_list()) == sorted(LABELS.tolist())
    return [first, index.knn_query(QUERIES, k=K)]


def filtered(module, space):
    index = graph(module, space)
    index.add_items(X, LABELS)
    return [index.knn_query(QUERIES, k=K, filter=lambda label: label % 3 == 0),
            index.knn_query(QUERIES[:3], k=1, filter=lambda label: label == LABELS[77])]


def deleted(module, space):
    index = graph(module, space)
    index.add_items(X, LABELS)
    for label in LABELS[:100]:
        index.mark_deleted(label)
    assert index.element_count == N
    first = index.knn_query(QUERIES, k=K)
    for label in LABELS[:50]:
        index.unmark_deleted(label)
    second = index.knn_query(QUERIES, k=K)
    return [first, second, index.knn_query(QUERIES, k=K, filter=lambda label: label % 2 == 0)]


def updated(module, space):
    index = graph(module, space)
    index.add_items(X, LABELS)
    index.mark_deleted(LABELS[3])
    index.add_items(QUERIES[:10], LABELS[:10])
    assert index.element_count == N
    return [index.knn_query(QUERIES[:10], k=1), index.knn_query(QUERIES, k=K)]


def replaced(module, space):
    index = graph(module, space, N, allow_replace_deleted=True)
    index.add_items(X, LABELS)
    for label in LABELS[:5]:
        index.mark_deleted(label)
    index.add_items(QUERIES[:5], np.arange(5) + 10**12, replace_deleted=True)
    assert index.element_count == N and not set(LABELS[:5].tolist()) & set(index.get_ids_list())
    return [index.knn_query(QUERIES[:5], k=1)]


def resized(module, space):
    index = graph(module, space, 100)
    index.add_items(X[:100])
    index.resize_index(N)
    index.add_items(X[100:])
    assert index.get_max_elements() == N
    return [index.knn_query(QUERIES, k=K)]


def pickled(module, space):
    index = graph(module, space)
    index.add_items(X, LABELS)
    index.mark_deleted(LABELS[0])
    copy = pickle.loads(pickle.dumps(index))
    assert (copy.space, copy.dim, copy.ef, copy.max_elements) == (space, D, N, 2 * N)
    return [copy.knn_query(QUERIES, k=K)]


def brute_force(module, space):
    index = module.BFIndex(space, D)
    index.init_index(max_elements=N)
    index.add_items(X, LABELS)
    # hnswlib's BFIndex does not bring queries to length one under cosine; with such queries it agrees.
    queries = QUERIES / np.linalg.norm(QUERIES, axis=1, keepdims=True) if space == "cosine" else QUERIES
    first = index.knn_query(queries, k=K)
    index.delete_vector(LABELS[1])
    assert index.get_current_count() == N - 1 and index.get_max_elements() == N
    return [first, index.knn_query(queries, k=K), index.knn_query(queries, k=K, filter=lambda label: label % 2 == 0)]


SCRIPTS = [plain, labelled, filtered, deleted, updated, replaced, resized, pickled, brute_force]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_same_script(real, script, space):
    agree(script(ours, space), script(real, space))


PROGRAM = """
import pickle
import hnswlib
import numpy as np

rng = np.random.default_rng(5)
data, ids = rng.random((500, 16), dtype="float32"), np.arange(500) * 3
p = hnswlib.Index(space="l2", dim=16)
p.init_index(max_elements=600, ef_construction=200, M=16)
p.set_num_threads(1)
p.add_items(data, ids)
p.set_ef(500)
labels, distances = p.knn_query(data, k=3)
print((labels[:, 0] == ids).mean(), labels[:9].tolist(), np.round(distances[:9], 3).tolist())
p.mark_deleted(3)
copy = pickle.loads(pickle.dumps(p))
copy.set_ef(500)
print(copy.knn_query(data[1], k=2)[0].tolist(), p.get_current_count(), p.max_elements, p.space, p.dim)
print(p.knn_query(data[:4], k=2, filter=lambda label: label % 2 == 0)[0].tolist())
"""


def test_a_program_changes_one_word(real):
    def run(module):
        text = PROGRAM.replace("import hnswlib", f"import {module} as hnswlib")
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("kith.compat.hnswlib") == run("hnswlib")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_alone(script):
    script(ours, "l2")


@pytest.mark.parametrize("space", SPACES)
def test_items(real, space):
    def script(module):
        index = graph(module, space)
        index.add_items(X, LABELS)
        lists = index.get_items(LABELS[:4].tolist(), return_type="list")
        assert isinstance(lists, list) and np.allclose(lists, index.get_items(LABELS[:4]))
        return np.asarray(index.get_items(LABELS[5:50]))

    found, expected = script(ours), script(real)
    assert found.dtype == expected.dtype and np.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("space", SPACES)
def test_files(real, space, tmp_path):
    def script(module, path):
        index = graph(module, space)
        index.add_items(X, LABELS)
        index.mark_deleted(LABELS[9])
        index.save_index(str(path))
        copy = module.Index(space=space, dim=D)
        copy.load_index(str(path))
        assert (copy.max_elements, copy.element_count) == (2 * N, N)
        larger = module.Index(space=space, dim=D)
        larger.load_index(str(path), max_elements=3 * N)
        assert larger.max_elements == 3 * N
        copy.set_ef(N)
        with pytest.raises(RuntimeError):
            copy.mark_deleted(LABELS[9])
        copy.add_items(QUERIES[:1], [10**9])
        return [copy.knn_query(QUERIES, k=K)]

    agree(script(ours, tmp_path / "ours"), script(real, tmp_path / "real"))
    with pytest.raises(kith.FormatError, match="real: is no file that kith.compat.hnswlib wrote"):
        ours.Index(space, D).load_index(tmp_path / "real")


def test_a_zero_vector_under_cosine(real):
    def script(module):
        index = graph(module, "cosine")
        index.add_items(np.concatenate([X[:20], np.zeros((1, D), "f4")]))
        assert not np.asarray(index.get_items([20])).any()
        return [index.knn_query(X[:5], k=21)[::1], index.knn_query(X[:5] * 1e-3, k=3)], \
            index.knn_query(np.zeros(D), k=3)[1]

    (found, zero), (expected, zero1) = script(ours), script(real)
    agree(found, expected)
    assert zero.tolist() == zero1.tolist() == [[1, 1, 1]]


# ---- Errors ----------------------------------------------------------------------------------------------------------


def filled(module, **options):
    index = graph(module, **options)
    index.add_items(X, LABELS)
    return index


WRONG = {
    "space": (lambda m: m.Index("l1", D), RuntimeError),
    "no dim": (lambda m: m.Index("l2"), TypeError),
    "init twice": (lambda m: filled(m).init_index(5), RuntimeError),
    "too many": (lambda m: graph(m, "l2", 10).add_items(X), RuntimeError),
    "labels: count": (lambda m: filled(m).add_items(X[:2], [1]), RuntimeError),
    "labels: shape": (lambda m: filled(m).add_items(X[:2], np.zeros((2, 1), int)), RuntimeError),
    "add: dimension": (lambda m: filled(m).add_items(X[:, :3]), RuntimeError),
    "add: axes": (lambda m: filled(m).add_items(X[None]), RuntimeError),
    "query: dimension": (lambda m: filled(m).knn_query(X[:1, :3]), RuntimeError),
    "query: axes": (lambda m: filled(m).knn_query(X[None]), RuntimeError),
    "query: empty index": (lambda m: graph(m).knn_query(X[:1]), RuntimeError),
    "query: too few": (lambda m: filled(m).knn_query(X[:1], k=N + 1), RuntimeError),
    "query: filter": (lambda m: filled(m).knn_query(X[:1], k=2, filter=lambda i: i == LABELS[0]), RuntimeError),
    "filter fails": (lambda m: filled(m).knn_query(X[:1], filter=lambda label: 1 // 0), ZeroDivisionError),
    "items: unknown": (lambda m: filled(m).get_items([10**9]), RuntimeError),
    "items: kind": (lambda m: filled(m).get_items([1], return_type="tuple"), ValueError),
    "delete: unknown": (lambda m: filled(m).mark_deleted(10**9), RuntimeError),
    "undelete": (lambda m: filled(m).unmark_deleted(LABELS[0]), RuntimeError),
    "resize": (lambda m: filled(m).resize_index(10), RuntimeError),
    "replace": (lambda m: filled(m).add_items(X[:1], replace_deleted=True), RuntimeError),
    "load": (lambda m: m.Index("l2", D).load_index("/nowhere/index"), RuntimeError),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_errors(wrong):
    script, error = WRONG[wrong]
    with pytest.raises(error) as caught:
        script(ours)
    assert str(caught.value)


@pytest.mark.parametrize("wrong", [w for w in WRONG if w not in ("query: dimension", "query: axes")])
def test_errors_are_those_of_hnswlib(real, wrong):
    script, error = WRONG[wrong]
    with pytest.raises(error):
        script(real)


def _deleted_twice(index):
    index.mark_deleted(LABELS[0])
    index.mark_deleted(LABELS[0])


@pytest.mark.parametrize("script, error, words", [
    (lambda bad: ours.Index("l2", D).knn_query(bad), RuntimeError, "not initiated"),
    (lambda bad: ours.Index("l2", D).add_items(bad), RuntimeError, "not initiated"),
    (lambda bad: ours.Index("l2", D).save_index("x"), RuntimeError, "not initiated"),
    (lambda bad: ours.Index("l2", 0), RuntimeError, "dim is 0"),
    (lambda bad: filled(ours).add_items(bad), kith.DataError, "vectors: row 1 has a NaN or an infinity"),
    (lambda bad: filled(ours).knn_query(bad), kith.DataError, "queries: row 1 has a NaN"),
    (lambda bad: filled(ours).knn_query(X[:1], k=0), RuntimeError, "k is 0"),
    (lambda bad: filled(ours).add_items(X[:2], [1.5, 2]), RuntimeError, "float64: whole numbers"),
    (lambda bad: filled(ours).add_items(X[:2], ["a", "b"]), RuntimeError, "<U1: whole numbers"),
    (lambda bad: filled(ours).add_items(X[:2], [-1, 2]), OverflowError, "label -1 is negative"),
    (lambda bad: filled(ours).set_num_threads(0), RuntimeError, "0 threads"),
    (lambda bad: _deleted_twice(filled(ours)), RuntimeError, "already deleted"),
    (lambda bad: filled(ours).get_items([[1]]), ValueError, r"shape \(1, 1\)"),
])
def test_errors_of_our_own(script, error, words):
    bad = X[:3].copy()
    bad[1, 2] = np.inf
    with pytest.raises(error, match=words):
        script(bad)


def test_nothing_is_added_by_an_addition_that_fails():
    index = filled(ours, capacity=N)
    with pytest.raises(RuntimeError, match=f"{N} are there, 1 are new, max_elements is {N}"):
        index.add_items(QUERIES[:2], [LABELS[0], 10**9])
    assert index.element_count == N and np.array_equal(index.get_items(LABELS[:1]), X[:1])


# ---- State -----------------------------------------------------------------------------------------------------------


def test_labels_over_the_whole_range():
    index = graph(ours)
    labels = np.array([2**64 - 1, 2**63, 0], np.uint64)
    index.add_items(X[:3], labels)
    assert index.knn_query(X[:3], k=1)[0][:, 0].tolist() == labels.tolist()
    index.mark_deleted(2**64 - 1)
    assert index.knn_query(X[:1], k=2)[0].tolist() != [[2**64 - 1, 0]]


def test_the_last_vector_of_a_repeated_label_counts():
    index = graph(ours)
    index.add_items(X[:4], [5, 6, 5, 7])
    assert index.get_ids_list() == [6, 5, 7] and np.array_equal(index.get_items([5, 6, 7]), X[[2, 1, 3]])


def test_default_labels_go_on(real):
    def script(module):
        index = graph(module)
        index.add_items(X[:3])
        index.add_items(X[3])
        index.add_items(X[4:5], 77)
        index.add_items(X[5:6])
        return sorted(index.get_ids_list())

    assert script(ours) == script(real) == [0, 1, 2, 3, 5, 77]


def test_vectors_are_copied():
    x = X.copy()
    index = graph(ours)
    index.add_items(x)
    x[:] = 0
    index.get_items([1])[:] = 0
    index.knn_query(X[:1])
    assert np.array_equal(index.get_items(range(N)), X)


def test_deletions_do_not_build_again(monkeypatch):
    builds = []
    build = kith.Index.build.__func__
    monkeypatch.setattr(kith.Index, "build", classmethod(lambda *a, **b: builds.append(len(a[1])) or build(*a, **b)))
    index = graph(ours)
    index.add_items(X[:300]), index.add_items(X[300:])
    nearest = int(index.knn_query(QUERIES[:1])[0][0, 0])
    index.mark_deleted(nearest)
    assert index.knn_query(QUERIES[:1])[0][0, 0] != nearest
    index.unmark_deleted(nearest)
    assert index.knn_query(QUERIES[:1])[0][0, 0] == nearest and builds == [N]


def test_files_of_other_spaces(tmp_path):
    filled(ours).save_index(tmp_path / "index")
    for other in (ours.Index("ip", D), ours.Index("l2", D + 1), ours.BFIndex("l2", D)):
        with pytest.raises(RuntimeError, match=rf"index: holds Index\(space='l2', dim={D}\), not"):
            other.load_index(tmp_path / "index")
    data = (tmp_path / "index").read_bytes()
    for damage in (b"", data[:300], data[:-40], data[:2000] + b"x" + data[2001:]):
        (tmp_path / "damaged").write_bytes(damage)
        with pytest.raises(kith.FormatError, match="damaged: is no file that kith.compat.hnswlib wrote"):
            ours.Index("l2", D).load_index(tmp_path / "damaged")


def test_loading_replaces_what_was_there(tmp_path):
    filled(ours).save_index(tmp_path / "index")
    index = graph(ours)
    index.add_items(QUERIES)
    index.load_index(tmp_path / "index")
    assert index.element_count == N and index.knn_query(X[:1])[0].tolist() == [[LABELS[0]]]
    assert index.index_file_size() == (tmp_path / "index").stat().st_size


def test_an_index_without_elements_is_pickled():
    assert repr(pickle.loads(pickle.dumps(ours.Index("ip", 3)))) == "<kith.compat.hnswlib.Index(space='ip', dim=3)>"
    index = pickle.loads(pickle.dumps(graph(ours)))
    index.add_items(X[:1])
    assert index.element_count == 1
