# SPDX-License-Identifier: Apache-2.0
"""Indexes with lists and second codes, and searches that look at some of the lists only."""
import numpy as np
import pytest

import kith

K = 10


def clustered(seed, rows, dim=24, clusters=60):
    """Rows around a few centres, so that lists mean something."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((clusters, dim), dtype=np.float32)
    return centres[rng.integers(0, clusters, rows)] + np.float32(0.5) * rng.standard_normal((rows, dim), np.float32)


X, Q = clustered(1, 6000), clustered(2, 200)


@pytest.fixture(scope="module")
def listed():
    with kith.Index.build(X, lists=40, code="pq:12x4") as index:
        yield index


def recall(found, exact):
    return np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, exact)])


# ---- Building --------------------------------------------------------------------------------------------------------


def test_info_says_what_was_built(listed):
    info = listed.info
    assert info["lists"] == listed.build_report["lists"] == 40
    assert 6000 / 40 <= info["list_rows_max"] <= 4 * 6000 / 40 + 1
    assert info["second_code"] == "pq:12x4" and 0 < info["second_code_error"] < 1 and info["second_code_bytes"] > 0
    assert info["code_error"] < info["second_code_error"]
    assert info["calibration"] == len(listed.tuned) > 0
    assert "<th>lists</th><td>40</td>" in listed._repr_html_() and "pq:12x4" in listed._repr_html_()
    with kith.Index.build(X, lists=1) as plain:
        info = plain.info
        assert (info["lists"], info["second_code"], info["calibration"]) == (1, None, 0)
        assert "<th>lists</th><td>none</td>" in plain._repr_html_()
        assert len(plain.tuned) == 0


def test_lists_by_the_number_of_rows():
    small, auto, none = (kith.Index.build(X[:500], lists=lists).info["lists"] for lists in (None, "auto", 1))
    assert small == auto == none == 1


def test_calibrate_and_first_level():
    wide = np.random.default_rng(4).standard_normal((2000, 256), dtype=np.float32)
    wide[:, 40:] *= np.float32(0.05)
    with kith.Index.build(wide, lists=20, calibrate=False, first_level=True) as index:
        assert index.info["calibration"] == 0 and index.info["first_level_dim"] > 0
        found = index.search(wide[:50], K, target_recall=0.8)
        assert found.explain.exact and "no calibration" in found.explain.considered[0]["why"]
    with kith.Index.build(wide, lists=20, calibrate=False, first_level=False) as index:
        assert index.info["first_level_dim"] == 0
    with kith.Index.build(X, lists=20, calibrate=False, first_level="auto") as index:
        assert index.info["lists"] == 20


def test_second_lists_and_the_first_level():
    rows = np.random.default_rng(8).standard_normal((6000, 24), dtype=np.float32)  # lists of these miss many
    asked = np.random.default_rng(9).standard_normal((200, 24), dtype=np.float32)
    with kith.Index.build(rows, lists=60, calibrate=False) as index:
        assert 5000 < index.info["spilled_rows"] <= 6000
        exact = index.search(asked, K).ids
        with kith.Index.build(rows, lists=60, calibrate=False, spill=False) as once:
            assert once.info["spilled_rows"] == 0
            few = {"nprobe": 3, "rerank": 4 * K, "scan_code": "int8"}
            with_seconds, without = (recall(i.search(asked, K, **few).ids, exact) for i in (index, once))
            assert with_seconds > without + 0.1
        with pytest.raises(kith.UnsupportedError, match="no first level"):
            index.search(asked, K, nprobe=3, scan_code="first")
    wide = clustered(5, 4000, dim=128)
    with kith.Index.build(wide, lists=40, calibrate=False, first_level=True) as index:
        found = index.search(wide[:100], K, nprobe=20, rerank=100, scan_code="first")
        assert found.explain.code == "first" and recall(found.ids, index.search(wide[:100], K).ids) > 0.9
    with pytest.raises(TypeError, match="spill"):
        kith.Index.build(X, spill="yes")


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_exact_answers_do_not_depend_on_lists(metric):
    with kith.Index.build(X, metric=metric, lists=1) as plain, \
            kith.Index.build(X, metric=metric, lists=50, calibrate=False) as index:
        expected, found = plain.search(Q, K), index.search(Q, K, exact=True)
        assert found.explain.exact
        assert np.array_equal(found.ids, expected.ids) and np.array_equal(found.distances, expected.distances)
        assert np.array_equal(index.vectors(index.ids[:50]), X[:50])


def test_bits_have_one_list():
    bits = np.random.default_rng(3).integers(0, 256, (2000, 8), np.uint8)
    with kith.Index.build(bits, dtype="b1") as index:
        assert index.info["lists"] == 1
        with pytest.raises(kith.UnsupportedError, match="one list"):
            index.search(bits[:2], plan="ivf")
    with pytest.raises(kith.UnsupportedError, match="list"):
        kith.Index.build(bits, dtype="b1", lists=4)


@pytest.mark.parametrize(("options", "error", "words"), [
    ({"lists": 0}, kith.ArgumentError, "lists"),
    ({"lists": 65537}, kith.ArgumentError, "lists"),
    ({"lists": "many"}, kith.ArgumentError, "lists"),
    ({"lists": 2.5}, TypeError, "lists"),
    ({"lists": 4, "code": "pq:5x4"}, kith.Error, "5"),
    ({"lists": 4, "code": "zip"}, kith.ArgumentError, "zip"),
    ({"lists": 4, "code": "pq:12x4\0"}, kith.ArgumentError, "NUL"),
    ({"lists": 4, "code": 7}, TypeError, "code"),
    ({"lists": 1, "code": "pq:12x4"}, kith.Error, "list"),
    ({"first_level": "maybe"}, kith.ArgumentError, "first_level"),
    ({"first_level": 3}, TypeError, "first_level"),
    ({"calibrate": "no"}, TypeError, "calibrate"),
])
def test_refused_options(options, error, words):
    with pytest.raises(error, match=words):
        kith.Index.build(X[:100], **options)


def test_fewer_different_rows_than_lists():
    same = np.ones((500, 8), np.float32)
    same[:3] = np.arange(24).reshape(3, 8)
    with kith.Index.build(same, lists=100) as index:
        assert 1 <= index.info["lists"] <= 4
        assert index.search(same[0], 1).ids.tolist() == [0]


# ---- Searching some of the lists -------------------------------------------------------------------------------------


def test_more_lists_find_more(listed):
    exact = listed.search(Q, K).ids
    shares, scanned = [], []
    for nprobe in (1, 2, 4, 8, 20, 40):
        found = listed.search(Q, K, nprobe=nprobe, rerank=4 * K)
        explain = found.explain
        assert (explain.plan, explain.nprobe, explain.rerank, explain.code) == ("ivf", nprobe, 40, "int8")
        assert explain.probed_lists >= nprobe * len(Q) and not explain.exact and explain.considered == []
        shares.append(recall(found.ids, exact))
        scanned.append(explain.scanned_rows)
    assert shares == sorted(shares) and shares[0] > 0.5 and shares[3] > 0.97 and shares[-1] > 0.999
    assert scanned == sorted(scanned) and scanned[0] < len(Q) * 6000 / 8


@pytest.mark.parametrize(("code", "floor"), [("int8", 0.999), ("levels", 1.0), ("second", 0.9)])
def test_every_code(listed, code, floor):
    exact = listed.search(Q, K)
    found = listed.search(Q, K, nprobe=40, rerank=20 * K, scan_code=code)
    assert found.explain.code == code and recall(found.ids, exact.ids) >= floor
    for row in range(0, 200, 20):  # what is found has its true distance
        true = [kith.distance("l2", Q[row], X[i]) for i in found.ids[row]]
        assert found.distances[row].tolist() == pytest.approx(true, abs=0)


def test_parameters_imply_the_plan(listed):
    for options in ({"nprobe": 3}, {"rerank": 30}, {"scan_code": "int8"}, {"plan": "ivf"},
                    {"plan": "ivf", "nprobe": 3, "rerank": None}):
        explain = listed.search(Q[:5], K, **options).explain
        assert explain.plan == "ivf" and explain.nprobe == options.get("nprobe", 16)


def test_one_query_and_a_batch_agree(listed):
    batch = listed.search(Q, K, nprobe=3)
    for row in range(0, 200, 40):
        one = listed.search(Q[row], K, nprobe=3)
        assert one.ids.shape == (K,) and np.array_equal(one.ids, batch.ids[row])
        assert np.array_equal(one.distances, batch.distances[row])
    for threads in (1, 3):
        assert np.array_equal(listed.search(Q, K, nprobe=3, threads=threads).ids, batch.ids)


def test_filters_and_radius(listed):
    some = listed.filter(np.arange(0, 6000, 3))
    exact = listed.search(Q, K, allow=some).ids
    found = listed.search(Q, K, allow=some, nprobe=8)
    assert (found.ids % 3 == 0).all() and recall(found.ids, exact) > 0.9 and found.explain.allowed == 2000
    near = listed.search(Q, K, nprobe=8, radius=8.0)
    assert (near.distances[near.ids >= 0] <= 8.0).all() and np.isinf(near.distances[near.ids < 0]).all()


def test_string_ids():
    with kith.Index.build(X, ids=[f"row {i}" for i in range(len(X))], lists=30, calibrate=False) as index:
        found = index.search(X[:20], 1, nprobe=2)
        assert found.ids[:, 0].tolist() == [f"row {i}" for i in range(20)]


@pytest.mark.parametrize(("options", "error", "words"), [
    ({"exact": True, "target_recall": 0.9}, kith.ArgumentError, "exact=True and target_recall"),
    ({"exact": True, "nprobe": 3}, kith.ArgumentError, "exact=True and plan 'ivf'"),
    ({"exact": True, "plan": "ivf"}, kith.ArgumentError, "exact=True and plan 'ivf'"),
    ({"nprobe": 3, "target_recall": 0.9}, kith.ArgumentError, "nprobe and target_recall"),
    ({"nprobe": 3, "plan": "scan"}, kith.ArgumentError, "belong to plan 'ivf', not to 'scan'"),
    ({"rerank": 30, "plan": "auto"}, kith.ArgumentError, "rerank belongs to plans that are approximate, not to 'auto'"),
    ({"effort": 3}, kith.ArgumentError, "effort belongs to the plans 'graph', 'hnsw' and 'lsh'"),
    ({"effort": 3, "plan": "ivf"}, kith.ArgumentError, "effort belongs to the plans"),
    ({"effort": 3, "plan": "graph", "target_recall": 0.9}, kith.ArgumentError, "effort and target_recall"),
    ({"effort": 0, "plan": "graph"}, kith.ArgumentError, "effort is 0"),
    ({"plan": "graph"}, kith.UnsupportedError, "no graph"),
    ({"nprobe": 0}, kith.ArgumentError, "nprobe is 0"),
    ({"nprobe": -1}, kith.ArgumentError, "nprobe is -1"),
    ({"nprobe": 2**80}, kith.ArgumentError, "nprobe"),
    ({"nprobe": 1.5}, TypeError, "nprobe"),
    ({"rerank": 9}, kith.ArgumentError, "rerank is 9"),
    ({"rerank": "all"}, TypeError, "rerank"),
    ({"scan_code": "zip"}, kith.ArgumentError, "scan_code 'zip' is unknown"),
    ({"scan_code": 3}, TypeError, "scan_code"),
    ({"plan": "walk"}, kith.ArgumentError, "plan 'walk' is unknown"),
])
def test_arguments_that_are_refused(listed, options, error, words):
    with pytest.raises(error, match=words):
        listed.search(Q, K, **options)
    options = {key: value for key, value in options.items() if key != "exact"}
    if len(options) > 1 or "exact" not in words:
        with pytest.raises(error, match=words.replace("exact=True and ", "")):
            listed.join(Q, K, **options)


def test_what_an_index_does_not_have(listed):
    with kith.Index.build(X[:500]) as plain:
        for options in ({"plan": "ivf"}, {"nprobe": 2}):
            with pytest.raises(kith.UnsupportedError, match="one list"):
                plain.search(Q, K, **options)
    with kith.Index.build(X, lists=20, calibrate=False) as index, pytest.raises(kith.UnsupportedError, match="second"):
        index.search(Q, K, scan_code="second")
    with pytest.raises(kith.UnsupportedError, match="range search"):
        listed.range_search(Q, 1.0, plan="ivf")
    with pytest.raises(TypeError, match="nprobe"):
        listed.range_search(Q, 1.0, nprobe=3)


def test_lists_without_originals():
    with kith.Index.build(X, lists=30, originals=False) as index:
        exact = kith.Index.build(X, lists=1).search(Q, K).ids
        found = index.search(Q, K, nprobe=10)
        assert not found.explain.exact and recall(found.ids, exact) > 0.9
        with pytest.raises(kith.UnsupportedError, match="recall"):
            index.search(Q, K, target_recall=0.9)


def test_the_explanation_as_text(listed):
    text = str(listed.search(Q, K, target_recall=0.9).explain)
    assert "considered" in text and "chosen: " in text and "probed_lists" in text


def test_saved_and_opened(listed, tmp_path):
    with kith.Index.build(X, lists=25, code="rabitq:2", path=tmp_path / "x.kith") as index:
        expected = index.search(Q, K, nprobe=4, scan_code="second")
        with kith.open(tmp_path / "x.kith", verify=True) as again:
            assert again.info == index.info and np.array_equal(again.tuned, index.tuned)
            assert np.array_equal(again.search(Q, K, nprobe=4, scan_code="second").ids, expected.ids)
