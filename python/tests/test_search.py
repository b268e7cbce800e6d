# SPDX-License-Identifier: Apache-2.0
"""Index.search and Index.range_search: answers, shapes, types, options."""
import numpy as np
import pytest
from conftest import plain
from hypothesis import given
from hypothesis import strategies as st

import kith


def test_answers_are_those_of_the_plain_scan_bit_for_bit(index, vectors):
    queries = vectors[:5] + np.float32(0.25)
    ids, distances = index.search(queries, k=7)
    expected_ids, expected = plain("l2", vectors, queries, 7)
    assert np.array_equal(ids, expected_ids)
    assert np.array_equal(distances.view(np.uint32), expected.view(np.uint32))
    assert ids.dtype == np.int64 and distances.dtype == np.float32
    assert ids.flags.c_contiguous and ids.flags.writeable and ids.flags.owndata


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("dtype", ["f4", "f2", "i1", "u1", "bfloat16"])
def test_stored_types(metric, dtype, vectors):
    rows = np.clip(np.abs(vectors[:80]) * 40, 1, 120)
    rows = rows.astype(pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype)
    with kith.Index.build(rows, metric=metric) as index:
        assert index.dtype == {"f4": "f32", "f2": "f16", "i1": "i8", "u1": "u8", "bfloat16": "bf16"}[dtype]
        found = index.search(rows[:4], k=5)
        expected_ids, expected = plain(metric, rows, rows[:4].astype("f4"), 5)
        assert np.array_equal(found.ids, expected_ids) and np.array_equal(found.distances, expected)
        assert np.array_equal(index.vectors([3, 1]), rows[[3, 1]].astype("f4"))


@pytest.mark.parametrize("metric", ["hamming", "jaccard"])
def test_bits(metric):
    bits = np.random.default_rng(3).integers(0, 2, (70, 48)).astype(bool)
    packed = np.packbits(bits, axis=1)
    with kith.Index.build(packed, dtype="b1", metric=metric) as one, kith.Index.build(bits, metric=metric) as two:
        assert one.dim == two.dim == 48 and one.dtype == two.dtype == "b1"
        for index, queries in ((one, packed), (one, bits), (two, packed[::-1].copy()[::-1])):
            found = index.search(queries[:3], k=4)
            assert np.array_equal(found.ids, plain(metric, packed, packed[:3], 4)[0])
        assert np.array_equal(two.vector(5), packed[5])


def test_one_query_gives_one_row(index, vectors):
    result = index.search(vectors[4], k=3)
    assert result.ids.shape == result.distances.shape == (3,) and len(result) == 2
    assert result.ids[0] == 4 and result.distances[0] == 0


def test_no_queries_give_no_rows(index):
    ids, distances = index.search(np.empty((0, 24), np.float32), k=3)
    assert ids.shape == distances.shape == (0, 3)


def test_k_defaults_to_ten_and_rows_are_padded(vectors):
    with kith.Index.build(vectors[:4]) as index:
        ids, distances = index.search(vectors[:2])
    assert ids.shape == (2, 10)
    assert (ids[:, 4:] == -1).all() and np.isinf(distances[:, 4:]).all() and (ids[:, :4] >= 0).all()


VIEWS = {
    "every second row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "columns of a wider array": lambda a: np.hstack([a, a])[:, : a.shape[1]],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "Fortran order": np.asfortranarray,
    "every second column": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "big endian": lambda a: a.astype(">f4"),
    "unaligned": lambda a: np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(np.float32).reshape(a.shape),
    "read-only": lambda a: np.frombuffer(a.tobytes(), np.float32).reshape(a.shape),
    "float64": lambda a: a.astype("f8"),
    "list": lambda a: a.tolist(),
    "rows as tuples": lambda a: [tuple(row) for row in a.tolist()],
    "memoryview": lambda a: memoryview(a),
    "subclass": lambda a: a.view(np.matrix),
}


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_queries_of_any_layout(view, index, vectors):
    expected = index.search(vectors[:6], k=4)
    found = index.search(VIEWS[view](vectors[:6]), k=4)
    assert np.array_equal(found.ids, expected.ids) and np.array_equal(found.distances, expected.distances)


def test_broadcast_and_single_strided_queries(index, vectors):
    rows = index.search(np.broadcast_to(vectors[7], (5, 24)), k=2).ids
    assert (rows[:, 0] == 7).all()
    assert index.search(np.repeat(vectors[7], 3)[::3], k=2).ids[0] == 7


@pytest.mark.parametrize("dtype", ["f2", "i1", "u1", "i4", "i8", "f8"])
def test_queries_of_other_types(dtype, index):
    queries = (np.arange(48).reshape(2, 24) % 7).astype(dtype)
    found, expected = index.search(queries, k=4), index.search(queries.astype("f4"), k=4)
    assert np.array_equal(found.ids, expected.ids) and np.array_equal(found.distances, expected.distances)


def test_bfloat16_queries(index, vectors):
    queries = vectors[:3].astype(pytest.importorskip("ml_dtypes").bfloat16)
    assert np.array_equal(index.search(queries, k=4).ids, index.search(queries.astype("f4"), k=4).ids)


@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 12), st.integers(0, 2**32 - 1),
       st.sampled_from(["l2", "ip", "cosine"]))
def test_property_plain_scan(rows, dim, k, seed, metric):
    rng = np.random.default_rng(seed)
    X = rng.integers(-3, 4, (rows, dim)).astype("f4") + np.float32(0.5)  # many ties
    Q = rng.integers(-3, 4, (3, dim)).astype("f4") + np.float32(0.5)
    with kith.Index.build(X, metric=metric) as index:
        found = index.search(Q, k=k)
    expected_ids, expected = plain(metric, X, Q, k)
    assert np.array_equal(found.ids, expected_ids) and np.array_equal(found.distances, expected)


# ---- Options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 2}, {"threads": 7}, {"plan": "plain"},
                                     {"plan": "scan"},
                                     {"plan": "auto"}, {"timeout": 60}, {"timeout": 1e300}, {"exact": True},
                                     {"exact": False}, {"target_recall": 0.9}, {"target_recall": 1}, {"allow": None}])
def test_options_do_not_change_answers(options, index, vectors):
    found, expected = index.search(vectors[:40], 5, **options), index.search(vectors[:40], 5)
    assert np.array_equal(found.ids, expected.ids) and np.array_equal(found.distances, expected.distances)
    assert np.array_equal(index.search(vectors[9], 5, **options).ids, expected.ids[9])


def test_one_query_runs_on_the_calling_thread_unless_told(index, vectors):
    assert index.search(vectors[0]).explain.threads == 1
    assert index.search(vectors[:1]).explain.threads == 1
    assert index.search(vectors[0], threads=2).explain.threads == 2
    assert index.search(vectors[:2]).explain.threads == kith.get_threads()


def test_allow(index, vectors):
    allowed = [599, 3, 5, 5, 12, 100000]
    expected_ids, expected = plain("l2", vectors[[3, 5, 12, 599]], vectors[:2], 6, [3, 5, 12, 599])
    for allow in (allowed, np.array(allowed), np.array(allowed, "u4").astype("u8"), set(allowed), index.filter(allowed),
                  (i for i in allowed)):
        ids, distances = index.search(vectors[:2], 6, allow=allow)
        assert np.array_equal(ids, expected_ids) and np.array_equal(distances, expected)
    chosen = index.filter(allowed)
    assert len(chosen) == 4 and chosen.unknown == 1 and "4 allowed" in repr(chosen)
    assert (index.search(vectors[:2], 3, allow=[]).ids == -1).all()
    assert index.search(vectors[0], 1, allow=range(10, 20)).ids[0] in range(10, 20)


def test_a_filter_outlives_its_closed_index(vectors):
    index = kith.Index.build(vectors)
    chosen = index.filter([1])
    index.close()
    del index
    assert len(chosen) == 1


def test_radius_cuts_rows(index, vectors):
    whole = index.search(vectors[:9], 8)
    radius = float(whole.distances[3, 4])
    ids, distances = index.search(vectors[:9], 8, radius=radius)
    inside = whole.distances <= np.float32(radius)
    assert np.array_equal(ids, np.where(inside, whole.ids, -1))
    assert np.array_equal(distances, np.where(inside, whole.distances, np.inf))
    assert ids[3, 4] != -1
    assert (index.search(vectors[:2], 3, radius=-1.0).ids == -1).all()
    assert np.array_equal(index.search(vectors[:2], 3, radius=np.inf).ids, whole.ids[:2, :3])


def test_range_search(index, vectors):
    radius = 20.0
    found = index.range_search(vectors[:6], radius)
    every_ids, every = plain("l2", vectors, vectors[:6], len(vectors))
    assert len(found) == 6 and found.offsets.shape == (7,) and found.offsets[-1] == len(found.ids)
    for query, (ids, distances) in enumerate(found):
        inside = every[query] <= np.float32(radius)
        assert np.array_equal(ids, every_ids[query][inside]) and np.array_equal(distances, every[query][inside])
    assert np.array_equal(found[-1][0], found[5][0])
    with pytest.raises(IndexError):
        found[6]
    assert index.range_search(vectors[0], radius, allow=[0, 1]).ids.tolist()[0] == 0
    assert len(index.range_search(np.empty((0, 24), "f4"), 1.0)) == 0
    assert "6 queries" in repr(found)


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
def test_cosine_of_a_vector_and_itself_is_zero(dtype):
    """Exactly: roots of distances are no NaN, and a radius of 0 finds what is equal."""
    vectors = np.random.default_rng(0).standard_normal((200, 768)).astype("f4")
    with kith.Index.build(vectors, metric="cosine", dtype=dtype) as index:
        stored = np.stack([index.vector(i) for i in range(200)])
        distances = index.search(stored, k=2).distances
        assert (distances[:, 0] == 0).all() and not np.signbit(distances).any() and (distances[:, 1] > 0.5).all()
        for row, (ids, _) in enumerate(index.range_search(stored, 0.0)):
            assert ids.tolist() == [row]
        assert kith.distance("cosine", stored[0], stored[0]) == 0 and kith.distance("cosine", stored[0], -stored[0]) == 2


def test_wide_ids(vectors):
    ids = np.arange(2**63 - 2, 2**63 + 2, dtype=np.uint64)
    with kith.Index.build(vectors[:4], ids) as index:
        found = index.search(vectors[:1], 6)
        assert found.ids.dtype == np.uint64 and found.ids[0, 0] == 2**63 - 2 and found.ids[0, 5] == 2**64 - 1
        assert index.ids.dtype == np.uint64 and np.array_equal(index.ids, ids)
        assert 2**63 + 1 in index and 2**63 + 2 not in index and -1 not in index and 2**70 not in index
        assert np.array_equal(index.vector(2**63), vectors[2])
    with kith.Index.build(vectors[:2], [5, 2**63 - 1]) as index:
        assert index.search(vectors[:1], 3).ids.dtype == np.int64


def test_string_ids(vectors):
    ids = [f"článek-{i}" for i in range(len(vectors))]
    with kith.Index.build(vectors, ids) as index:
        found = index.search(vectors[:3], 4)
        assert found.ids.dtype == object and found.ids[:, 0].tolist() == ids[:3]
        assert found.rows.dtype == np.int64 and found.rows[:, 0].tolist() == [0, 1, 2]
        allowed = index.search(vectors[:1], 3, allow=[ids[8], ids[2], "nobody"])
        assert sorted(allowed.ids[0, :2]) == sorted([ids[8], ids[2]]) and allowed.ids[0, 2] is None
        assert allowed.rows[0, 2] == -1
        ranged = index.range_search(vectors[:2], 0.0)
        assert ranged.ids.tolist() == ids[:2] and ranged.rows.tolist() == [0, 1]
        assert ids[4] in index and "nobody" not in index and np.array_equal(index.vector(ids[4]), vectors[4])
        assert index.ids.tolist() == ids and index.filter(np.array(["nobody", ids[0]])).unknown == 1
    assert found.ids[2, 0] == ids[2]  # a result does not need its index


def test_target_recall_needs_originals(vectors):
    with kith.Index.build(vectors, originals=False) as index:
        assert not index.search(vectors[:2], 3).explain.exact
        assert index.search(vectors[:2], 3, exact=False).ids.shape == (2, 3)
        for promise in ({"exact": True}, {"target_recall": 0.5}, {"plan": "plain"}):
            with pytest.raises(kith.UnsupportedError):
                index.search(vectors[:2], 3, **promise)
        with pytest.raises(kith.UnsupportedError):
            index.vector(3)


# ---- What comes back -------------------------------------------------------------------------------------------------


def test_result_shows_itself(index, vectors):
    result = index.search(vectors[:3], 4)
    assert repr(result).startswith("Result(ids=") and "<table>" in result._repr_html_()
    assert "<td>" in index.search(vectors[0], 2)._repr_html_()
    ids, distances = result
    assert ids is result.ids and distances is result.distances and result.rows is result.ids and len(result) == len(list(result)) == 2
    with pytest.raises(AttributeError):
        result.ids = None


def test_html_of_string_ids_is_escaped(vectors):
    with kith.Index.build(vectors[:2], ["<script>", "&"]) as index:
        html = index.search(vectors[:1], 2)._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html


def test_explain(index, vectors):
    explain = index.search(vectors[:3], 4).explain
    assert explain.plan == explain["plan"] in ("scan", "levels") and explain.exact is True
    assert explain.rows == explain.allowed == 600 and explain.queries == 3 and explain.seconds > 0
    assert set(explain.stage_seconds) == {"prepare", "scan", "rerank", "select"} and dict(explain)["tier"]
    assert "rows  600" in str(explain) and "<pre>" in explain._repr_html_() and "plan" in repr(explain)
    assert index.search(vectors[:3], 4, allow=[1, 2]).explain.allowed == 2
    with pytest.raises(AttributeError):
        explain.nothing


def test_the_signature_is_there():
    import inspect

    names = list(inspect.signature(kith.Index.search).parameters)
    assert names == ["self", "Q", "k", "exact", "target_recall", "allow", "deny", "plan", "nprobe", "rerank",
                     "scan_code", "effort", "threads", "radius", "timeout"]
