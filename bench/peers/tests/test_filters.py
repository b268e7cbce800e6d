# SPDX-License-Identifier: Apache-2.0
"""The bench of searches with filters: which rows and queries it takes, how it judges answers, what it writes, and that
each adapter that says it can finds allowed rows only."""
import json
import pathlib
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "bench"))

from peers import datasets, filters, filters_report, libraries, report, runner, truth  # noqa: E402
from peers_copy import copy_bench  # noqa: E402

FAKE = '''
    import numpy as np
    from ..base.module import BaseANN
    PACKAGE = "fake"
    class Fake(BaseANN):
        def __init__(self, metric, fault):
            self.fault = fault
        def fit(self, X):
            self.X, self.rows = X, np.arange(len(X))
        def set_query_arguments(self, share):
            self.share = share
        def set_filter(self, rows):
            if self.fault == "breaks" and len(rows) < 100:
                raise RuntimeError("too few for me")
            self.rows = np.arange(len(self.X)) if rows is None or self.fault == "ignores" else rows
        def query(self, v, n):
            order = np.argsort(((self.X[self.rows] - v) ** 2).sum(1), kind="stable")
            return self.rows[order[:max(1, round(n * self.share))]]
    ENTRIES = {name: {"constructor": "Fake", "arguments": [name], "search": [[1.0]],
                      "filters": [[0.5], [1.0], [0.99]] if name != "unable" else []}
               for name in ("works", "ignores", "breaks", "unable")}
'''
OPTIONS = filters.Options(k=4, rounds=2, filters=2, queries=5, shares=(0.5, 0.1), build_threads=1, timeout=100.0)


def small(tmp_path, metric="l2"):
    rng = np.random.default_rng(8)
    base, queries = rng.standard_normal((400, 6)).astype(np.float32), rng.standard_normal((40, 6)).astype(np.float32)
    np.save(tmp_path / "b.npy", base)
    return datasets.Data("small", "small:b.npy:q.npy:l2", metric, base, queries, tmp_path / "b.npy")


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_filters_by_place_hold_what_is_nearest_to_a_row_and_near_ones_are_asked_from_there(tmp_path, metric):
    data = small(tmp_path, metric)
    place, near = (filters.make(data, kind, 0.1, OPTIONS) for kind in ("place", "near"))
    for a, b in zip(place, near):
        np.testing.assert_array_equal(a.rows, b.rows)
        assert len(a.rows) == 40 and (np.diff(a.rows) > 0).all()
        asked = [truth.exact(data.base, filter_.queries, metric, 40)[0] for filter_ in (a, b)]
        inside = [np.isin(found, a.rows).mean() for found in asked]
        assert inside[1] > inside[0]  # what they would find anyway is allowed more often
    assert not np.array_equal(place[0].rows, place[1].rows) and not np.array_equal(place[0].queries, place[1].queries)
    again = filters.make(data, "place", 0.1, OPTIONS)
    np.testing.assert_array_equal(again[1].rows, place[1].rows)


def test_random_filters_leave_their_share_and_truth_is_among_it(tmp_path):
    data = small(tmp_path)
    for share, count in ((0.5, 200), (0.1, 40), (0.001, 1)):
        for filter_ in filters.make(data, "random", share, OPTIONS):
            assert len(filter_.rows) == count and filter_.true.shape == (5, min(4, count))
            ids, found = truth.exact(data.base[filter_.rows], filter_.queries, "l2", min(4, count))
            np.testing.assert_array_equal(found, filter_.true)
            assert filters.judge(data, filter_, filter_.rows[ids]) == (1.0, 0)


def test_what_is_forbidden_is_no_answer(tmp_path):
    data = small(tmp_path)
    filter_ = filters.make(data, "random", 0.5, OPTIONS)[0]
    ids = filter_.rows[truth.exact(data.base[filter_.rows], filter_.queries, "l2", 4)[0]]
    forbidden = np.setdiff1d(np.arange(400), filter_.rows)
    ids[0, 1], ids[2, 3] = forbidden[0], -1
    assert filters.judge(data, filter_, ids) == (18 / 20, 2)
    assert filters.judge(data, filter_, np.full((5, 4), forbidden[1])) == (0.0, 5)
    wide = np.concatenate([np.full((5, 3), forbidden[2]), ids], axis=1)  # the allowed ones move up
    assert filters.judge(data, filter_, wide)[0] == 18 / 20


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filters")
    copy_bench(folder, "fake", FAKE)
    entries = {name: libraries.Entry(name, "fake", "fake", "Fake", [name], [[1.0]], tuple([[0.5], [1.0], [0.99]]))
               for name in ("works", "ignores", "breaks")}
    entries["unable"] = libraries.Entry("unable", "fake", "fake", "Fake", ["unable"], [[1.0]])
    patch = pytest.MonkeyPatch()
    patch.setattr(runner, "BENCH", folder)
    (folder / "here").mkdir()
    patch.chdir(folder / "here")  # results are told relative to where it is called
    try:
        return filters.measure(small(folder), entries, OPTIONS, pathlib.Path("out"), "make it", print)
    finally:
        patch.undo()


def test_entries_are_measured_on_every_filter_and_a_failure_ends_its_own_only(measured):
    result = json.loads(json.dumps(measured))
    filters.check(result)
    rows = {row["entry"]: row for row in result["results"]}
    assert set(rows) == {"works", "ignores", "breaks"}
    assert [(case["kind"], case["share"]) for case in rows["works"]["cases"]] == [
        (kind, share) for share in (0.5, 0.1) for kind in filters.KINDS]
    for case in rows["works"]["cases"]:
        assert [point["recall"] for point in case["points"]] == [0.5, 1.0]  # then it had found enough
        assert all(len(point["rounds"]) == 2 and point["qps"] == max(point["rounds"]) for point in case["points"])
    assert rows["breaks"]["status"] == "failed" and len(rows["breaks"]["cases"]) == 3
    assert all(case["points"][0]["short"] for case in rows["ignores"]["cases"] if case["kind"] != "near")
    text = filters_report.section(result)
    assert "too few for me" in text and "- ignores gave fewer answers" in text and "| 50 % | any rows | " in text


def test_table_tells_speed_at_a_recall_or_the_highest_there_is():
    points = [{"setting": "target_recall 0.95", "recall": 0.951, "qps": 100.0, "short": 0},
              {"setting": "x", "recall": 0.99, "qps": 50.0, "short": 0}]
    low = [{"setting": "10", "recall": 0.6, "qps": 900.0, "short": 0}]
    assert filters_report.cell(points) == "100" and filters_report.cell(low) == "(0.600)"
    assert filters_report.cell(None) == "-" and filters_report.held(points) == "0.951"
    result = {"options": {"shares": [0.5]}, "results": [
        {"entry": name, "library": library, "cases": [{"kind": "random", "share": 0.5, "points": found}]}
        for name, library, found in (("kith-recall", "kith", points), ("a", "faiss", [{**points[0], "qps": 40.0}]))]}
    assert filters_report.ratio(result, "random", 0.5) == 2.5
    assert filters_report.ratio(result, "place", 0.5) is None
    assert "| 50 % | any rows | 100 | 40 | **2.50x** | 0.951 |" in filters_report.table(result)


def test_sections_go_into_the_page(measured, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"top\n{report.LAST}\n")
    for _ in range(2):
        filters_report.write_page([measured], page)
    assert page.read_text().count("### Filters over small") == 1


@pytest.mark.parametrize("name", [name for name, entry in libraries.entries().items() if entry.filters])
def test_adapters_find_allowed_rows_only(name):
    entry = libraries.entries()[name]
    rng = np.random.default_rng(4)
    base, queries = (rng.standard_normal((rows, 16), dtype=np.float32) for rows in (3000, 12))
    try:
        algo = entry.create("euclidean")
    except ImportError as error:
        pytest.skip(str(error))
    plan = dict(zip(entry.filters[0][::2], entry.filters[0][1::2])).get("plan", "auto")
    if entry.library == "kith" and plan not in algo.kith._options.PLANS:
        pytest.skip(f"this kith has no plan {plan}")
    algo.build_threads = algo.search_threads = 1
    algo.fit(base)
    rows = np.sort(rng.permutation(3000)[:600])
    algo.set_filter(rows)
    algo.set_query_arguments(*entry.filters[-1])
    _, true = truth.exact(base[rows], queries, "l2", 5)
    answers = np.array([algo.query(query, 5) for query in queries], dtype=np.int64)
    assert np.isin(answers, rows).all() and truth.recall(answers, base, queries, true, "l2") > 0.9
    algo.set_filter(None)
    assert not np.isin([algo.query(query, 5) for query in queries], rows).all()
    algo.done()
