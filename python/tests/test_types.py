# SPDX-License-Identifier: Apache-2.0
"""Types of index: built, told of, searched by their plans, tuned; and options that do not belong together."""

import time

import kith
import numpy as np
import pytest

K = 10
rng = np.random.default_rng(3)
CENTRES = rng.standard_normal((40, 24), dtype=np.float32)
X = CENTRES[rng.integers(0, 40, 4000)] + np.float32(0.5) * rng.standard_normal((4000, 24), dtype=np.float32)
Q = CENTRES[rng.integers(0, 40, 100)] + np.float32(0.5) * rng.standard_normal((100, 24), dtype=np.float32)
B = rng.integers(0, 2, (2000, 128)).astype(bool)


def recall(found, exact):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), exact.tolist())])


@pytest.fixture(scope="module")
def exact():
    with kith.Index.build(X, index="flat") as index:
        assert index.info["lists"] == 1 and index.info["graph_degree"] == 0
        return index.search(Q, K).ids


TYPES = [
    ({"index": "graph"}, "graph", {"effort": 300}, "graph_degree", 32),
    ({"index": "graph", "graph_degree": 48, "graph_bits": 4}, "graph", {"effort": 300}, "graph_bits", 4),
    ({"index": "graph", "lean": True}, "graph", {"effort": 300}, "graph_bits", 0),
    ({"index": "hnsw", "hnsw_m": 8, "hnsw_ef": 100}, "hnsw", {"effort": 100}, "hnsw_m", 8),
    ({"index": "lsh", "lsh_tables": 40}, "lsh", {"effort": 40}, "lsh_tables", 40),
    ({"index": "pq"}, "pq", {"rerank": 200}, "second_code", "pq:12x4"),
    ({"index": "pq", "code": "rabitq:2"}, "pq", {"rerank": 200}, "second_code", "rabitq:2"),
]


@pytest.mark.parametrize(("build", "plan", "search", "told", "value"), TYPES)
def test_types(exact, build, plan, search, told, value):
    with kith.Index.build(X, calibrate=False, **build) as index:
        assert index.info[told] == value
        found = index.search(Q, K, plan=plan, **search)
        assert found.explain.plan == plan and not found.explain.exact
        assert recall(found.ids, exact) > 0.9
        assert np.array_equal(index.search(Q, K).ids, exact)  # exact answers as ever
        few = index.search(Q, K, plan=plan, allow=np.arange(0, 4000, 500))
        assert (np.sort(few.ids[:, :8]) == np.arange(0, 4000, 500)).all() and (few.ids[:, 8:] == -1).all()
        assert recall(index.join(Q, K, plan=plan, **search).ids, exact) > 0.9
        index.verify()


def test_without_a_graph():
    with kith.Index.build(X, graph=False, calibrate=False) as index:
        assert index.info["graph_degree"] == 0
    with kith.Index.build(B, graph=False) as index:
        assert index.info["lists"] == 1


def test_a_target_chooses_among_what_there_is(exact):
    with kith.Index.build(X, index="pq") as index:
        assert {"pq"} <= set(index.tuned["plan"].tolist())
        assert recall(index.search(Q, K, target_recall=0.9).ids, exact) > 0.88


def test_hot_rows(tmp_path):
    path = tmp_path / "hot.kith"
    kith.Index.build(X, index="graph", calibrate=False, path=path).close()
    with kith.open(path) as cold:
        assert cold.info["hot_bytes"] == 0
    with kith.open(path, copy_hot=True) as index:
        assert index.search(Q, K, plan="graph").ids.shape == (100, K)
        expected = index.search(Q, K)
    for what in ("codes", "all"):
        with kith.open(path, resident=what) as index:
            for _ in range(1000):
                found = index.search(Q, K)
                if found.explain.hot:
                    break
                time.sleep(0.002)
            assert found.explain.hot and index.info["hot_bytes"] > 0
            assert (found.ids == expected.ids).all() and (found.distances == expected.distances).all()
    with pytest.raises(kith.ArgumentError, match="resident"):
        kith.open(path, resident="some")


def test_a_graph_from_the_links_of_an_hnsw(exact):
    with kith.Index.build(X, index="hnsw", calibrate=False) as linked:
        with kith.Index.build(X, index="graph", links=linked, calibrate=False) as index:
            assert recall(index.search(Q, K, plan="graph").ids, exact) > 0.9
        with pytest.raises(kith.ArgumentError, match="vectors"):
            kith.Index.build(Q, index="graph", links=linked)
        with pytest.raises(kith.ArgumentError, match="links is an option of index='graph'"):
            kith.Index.build(X, index="ivf", links=linked)
    with pytest.raises(TypeError, match="links must be an Index"):
        kith.Index.build(X, index="graph", links=X)
    with pytest.raises(ValueError, match="closed"):
        kith.Index.build(X, index="graph", links=linked)


@pytest.mark.parametrize(("options", "error", "words"), [
    ({"index": "tree"}, kith.ArgumentError, "index 'tree' is unknown"),
    ({"index": 3}, TypeError, "index"),
    ({"graph_degree": 33}, kith.ArgumentError, "32, 48 and 64"),
    ({"graph_bits": 3}, kith.ArgumentError, "1, 2 and 4"),
    ({"graph_bits": "many"}, kith.ArgumentError, "'auto' was expected"),
    ({"index": "hnsw", "lean": True}, kith.ArgumentError, "lean is an option of index='graph'"),
    ({"index": "graph", "lean": True, "graph_bits": 2}, kith.ArgumentError, "lean leaves out"),
    ({"index": "graph", "hnsw_m": 8}, kith.ArgumentError, "hnsw_m is an option of index='hnsw'"),
    ({"hnsw_m": 1, "index": "hnsw"}, kith.ArgumentError, "hnsw_m is 1"),
    ({"lsh_tables": 0, "index": "lsh"}, kith.ArgumentError, "lsh_tables is 0"),
    ({"lsh_functions": 65, "index": "lsh"}, kith.ArgumentError, "lsh_functions is 65"),
    ({"graph": False, "index": "graph"}, kith.ArgumentError, "opposites"),
    ({"graph": False, "graph_degree": 48}, kith.ArgumentError, "graph_degree is an option"),
    ({"graph": 1}, TypeError, "graph must be True or False"),
    ({"index": "pq", "lists": 5}, kith.UnsupportedError, "has one"),
])
def test_options_that_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        kith.Index.build(X[:100], **options)


def test_bits_have_no_product_codes():
    with pytest.raises(kith.UnsupportedError, match="no product codes"):
        kith.Index.build(B, index="pq")
