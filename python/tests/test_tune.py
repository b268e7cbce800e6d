# SPDX-License-Identifier: Apache-2.0
"""Recall as the parameter: calibration, and searches that ask for a share of the true neighbours."""
import os

import numpy as np
import pytest

import kith

K = 10


def clustered(seed, rows, dim=32, clusters=80):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(98).standard_normal((clusters, dim), dtype=np.float32)
    return centres[rng.integers(0, clusters, rows)] + np.float32(0.7) * rng.standard_normal((rows, dim), np.float32)


X, Q = clustered(1, 12000), clustered(2, 1000)


@pytest.fixture(scope="module")
def calibrated():
    with kith.Index.build(X, lists=100) as index:
        yield index


@pytest.fixture(scope="module")
def exact(calibrated):
    return calibrated.search(Q, 100).ids


def recall(found, true):
    return np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, true)])


@pytest.mark.parametrize("k", [1, 10, 100])
@pytest.mark.parametrize("target", [0.8, 0.9, 0.95, 0.98, 0.99])
def test_the_recall_holds_on_queries_that_were_held_out(calibrated, exact, k, target):
    found = calibrated.search(Q, k, target_recall=target)
    assert recall(found.ids, exact[:, :k]) >= target - 0.01


@pytest.mark.parametrize("k", [3, 37])
def test_other_k(calibrated, exact, k):
    assert recall(calibrated.search(Q, k, target_recall=0.9).ids, exact[:, :k]) >= 0.89


def test_the_explanation_names_what_was_weighed(calibrated):
    explain = calibrated.search(Q, K, target_recall=0.9).explain
    assert explain.plan == explain.considered[0]["plan"]
    for plan in explain.considered:
        assert set(plan) == {"plan", "code", "nprobe", "effort", "rerank", "recall", "query_seconds", "why"}
        assert plan["plan"] in ("ivf", "graph", "scan", "levels") and 0 < plan["recall"] <= 1 and plan["why"]
        assert (plan["code"] is None) == (plan["plan"] != "ivf")
    assert [plan["why"].startswith("chosen") for plan in explain.considered] == \
        [True] + [False] * (len(explain.considered) - 1)
    forced = calibrated.search(Q, K, target_recall=0.9, plan="ivf").explain
    assert forced.plan == "ivf" and forced.nprobe == forced.considered[0]["nprobe"] and not forced.exact


def test_targets_of_one_and_exact_plans(calibrated, exact):
    for options in ({"target_recall": 1}, {"target_recall": 1.0}, {"exact": True}, {},
                    {"target_recall": 0.5, "plan": "scan"}):
        found = calibrated.search(Q[:50], K, **options)
        assert found.explain.exact and np.array_equal(found.ids, exact[:50, :K])


def test_unusual_queries_are_served_more_carefully(calibrated):
    far = np.float32(3) * np.random.default_rng(5).standard_normal((200, 32), dtype=np.float32)
    usual, unusual = (calibrated.search(q, K, target_recall=0.9, plan="ivf").explain for q in (Q[:200], far))
    assert usual.unusual <= 10 and unusual.unusual >= 150
    assert unusual.probed_lists > 2 * usual.probed_lists
    true = calibrated.search(far, K).ids
    careless = calibrated.search(far, K, nprobe=unusual.nprobe, rerank=unusual.rerank).ids
    assert recall(calibrated.search(far, K, target_recall=0.9, plan="ivf").ids, true) >= recall(careless, true)


def test_the_settings(calibrated):
    tuned = calibrated.tuned
    assert tuned.dtype.names == ("plan", "code", "k", "batch", "nprobe", "rerank", "recall", "recall_error",
                                 "query_seconds", "effort")
    assert set(tuned["k"].tolist()) == {1, 10, 100} and {1, 16, 256} <= set(tuned["batch"].tolist())
    assert (tuned["recall"] > 0).all() and (tuned["recall"] <= 1).all() and (tuned["query_seconds"] > 0).all()
    ivf = tuned[tuned["plan"] == "ivf"]
    assert len(ivf) and set(ivf["code"].tolist()) <= {"int8", "second", "levels"} and (ivf["nprobe"] >= 1).all()
    rest = tuned[np.isin(tuned["plan"], ("scan", "levels"))]
    assert (rest["recall"] == 1).all() and set(rest["code"].tolist()) == {""}


# ---- Tuning ----------------------------------------------------------------------------------------------------------


def test_tuning_an_index_without_a_calibration():
    with kith.Index.build(X, lists=50, calibrate=False) as index:
        before, allow = index.search(Q, K).ids, index.filter([1, 2, 3])
        assert index.search(Q, K, target_recall=0.8).explain.exact and index.info["calibration"] == 0
        assert index.tune(Q[:300], seed=3) is index
        assert index.info["calibration"] == len(index.tuned) > 0 and os.path.exists(index._path)
        assert np.array_equal(index.search(Q, K).ids, before)
        index.verify()
        with pytest.raises(kith.ArgumentError, match="filter"):
            index.search(Q, K, allow=allow)
        folder = os.path.dirname(index._path)
        assert os.listdir(folder) == [os.path.basename(index._path)]
    assert not os.path.exists(folder)


def test_near_duplicates():
    """Stored vectors that come twice find each other; new queries find what was promised all the same."""
    with kith.Index.build(np.concatenate([X[:5000], X[:5000] + np.float32(1e-3)]), lists=100) as index:
        assert index.info["near_duplicates"] > 0.95
        for target in (0.9, 0.99):
            nearest = index.search(Q, 1).distances
            assert np.mean(index.search(Q, 1, target_recall=target).distances <= nearest) >= target - 0.01
    with kith.Index.build(X, lists=100) as index:
        assert index.info["near_duplicates"] < 0.05


def test_tuning_an_index_that_has_a_path(tmp_path):
    path = tmp_path / "x.kith"
    with kith.Index.build(X, lists=50, calibrate=False, path=path) as index, kith.open(path) as other:
        found = []
        index.tune(most=200, progress=lambda stage, done, total: found.append(stage))
        assert len(index.tuned) and len(other.tuned) == 0 and {"exact answers", "measuring"} <= set(found)
        assert len(kith.open(path).tuned) == len(index.tuned)
        with pytest.raises(kith.ArgumentError, match="x.kith: has been replaced since this index was opened"):
            other.tune()
        kith.tune(path, Q[:200], threads=1)
        assert len(kith.open(path, verify=True).tuned)
        assert os.listdir(tmp_path) == ["x.kith"]


def test_queries_from_elsewhere(tmp_path):
    np.save(tmp_path / "q.npy", Q[:200])
    with kith.Index.build(X, lists=50, calibrate=False) as index:
        assert len(index.tune(tmp_path / "q.npy").tuned) > 0
        assert len(index.tune(Q[:200, ::-1].astype("f8")[:, ::-1]).tuned) > 0
        assert len(index.tune(Q[:200].tolist(), most=100).tuned) > 0


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda i: i.tune(Q[:, :5]), kith.ArgumentError, "dimensions"),
    (lambda i: i.tune(Q * np.nan), kith.DataError, "row"),
    (lambda i: i.tune(Q[:2]), kith.DataError, "at least"),
    (lambda i: i.tune(most=0), kith.ArgumentError, "most"),
    (lambda i: i.tune(most="all"), TypeError, "most"),
    (lambda i: i.tune(seed=-1), kith.ArgumentError, "seed"),
    (lambda i: i.tune(threads=0), kith.ArgumentError, "threads"),
    (lambda i: i.tune(progress=lambda *words: True), kith.CancelledError, "cancelled"),
    (lambda i: kith.Index.build(X[:500]).tune(), kith.UnsupportedError, "list"),
    (lambda i: kith.Index.build(X, lists=9, originals=False).tune(), kith.UnsupportedError, "originals"),
    (lambda i: kith.tune("/nowhere/x.kith"), kith.MissingFileError, "/nowhere/x.kith"),
])
def test_refused(calibrated, call, error, words):
    count = len(calibrated.tuned)
    with pytest.raises(error, match=words):
        call(calibrated)
    assert len(calibrated.tuned) == count and len(calibrated.search(Q[:3], 3).ids) == 3


def test_a_report_that_raises(calibrated):
    def report(stage, done, total):
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        calibrated.tune(progress=report)


def test_a_closed_index():
    index = kith.Index.build(X[:500])
    index.close()
    for call in (index.tune, index.join, lambda: index.tuned):
        with pytest.raises(kith.ArgumentError, match="closed"):
            call()


def test_a_damaged_calibration_is_none(tmp_path):
    path = tmp_path / "x.kith"
    with kith.Index.build(X, lists=50, path=path) as index:
        expected = index.search(Q, K).ids
    data = bytearray(path.read_bytes())
    data[data.rindex(b"KITHCAL\n") + 40] ^= 0xFF
    path.write_bytes(data)
    with kith.open(path) as index:
        assert index.info["calibration"] == len(index.tuned) == 0
        found = index.search(Q, K, target_recall=0.8)
        assert found.explain.exact and np.array_equal(found.ids, expected)
        with pytest.raises(kith.CorruptError, match="calibration"):
            index.verify()
