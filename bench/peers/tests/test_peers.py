# SPDX-License-Identifier: Apache-2.0
"""The bench beside other libraries: its arithmetic, data, pictures and pages, and what it does when a library fails.

No library is measured here: the workers that run are of a library of this test's own.
"""
import json
import math
import mmap
import pathlib
import random
import struct
import sys
import xml.etree.ElementTree as xml

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "bench"))

from peers import datasets, frontier, libraries, machine, plot, report, resident, runner, truth  # noqa: E402
from peers.base.module import BaseANN  # noqa: E402
from peers_copy import copy_bench  # noqa: E402


# ---- Frontier --------------------------------------------------------------------------------------------------------

def test_pareto_keeps_what_nothing_beats():
    points = [(0.9, 100.0), (0.8, 90.0), (0.95, 50.0), (0.95, 60.0), (0.99, 60.0), (0.7, 300.0)]
    assert frontier.pareto(points) == [(0.7, 300.0), (0.9, 100.0), (0.99, 60.0)]
    assert frontier.pareto([]) == []


def test_pareto_against_its_definition():
    rng = random.Random(1)
    for _ in range(50):
        points = [(rng.randrange(10) / 10, rng.randrange(1, 12)) for _ in range(rng.randrange(1, 20))]
        kept = frontier.pareto(points)
        for p in points:
            beaten = any(o != p and o[0] >= p[0] and o[1] >= p[1] for o in points)
            assert (p in kept) == (not beaten)
        assert kept == sorted(set(kept))


def test_speed_between_points_is_linear_in_the_logarithm():
    points = [(0.8, 1000.0), (0.9, 100.0)]
    assert frontier.speed_at(points, 0.85) == pytest.approx(math.sqrt(1000 * 100))
    assert frontier.speed_at(points, 0.8) == pytest.approx(1000)
    assert frontier.speed_at(points, 0.9) == pytest.approx(100)


def test_nothing_is_made_up_outside_of_the_frontier():
    points = [(0.8, 1000.0), (0.9, 100.0)]
    assert frontier.speed_at(points, 0.5) == 1000.0
    assert frontier.speed_at(points, 0.901) is None
    assert frontier.speed_at([], 0.5) is None


def test_a_dominated_point_does_not_bend_the_curve():
    assert frontier.speed_at([(0.8, 1000.0), (0.85, 10.0), (0.9, 100.0)], 0.85) == pytest.approx(math.sqrt(1e5))


def test_points_of_different_indexes_are_not_joined():
    indexes = {"fast": [(0.9, 1000.0)], "exact": [(1.0, 10.0)]}
    assert frontier.best_at(indexes, 0.95) == ("exact", 10.0)
    assert frontier.best_at(indexes, 0.9) == ("fast", 1000.0)
    assert frontier.best_at({"fast": [(0.9, 1000.0)]}, 0.95) is None


# ---- Truth and recall ------------------------------------------------------------------------------------------------

def plain(base, queries, metric, k):
    base, queries = base.astype(np.float64), queries.astype(np.float64)
    found = ((base[None] - queries[:, None]) ** 2).sum(2) if metric == "l2" else -(queries @ base.T)
    return np.sort(found, axis=1)[:, :k]


@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("rows", [10, 40, 3000, 20000])
def test_truth_is_the_plain_scan(metric, rows):
    rng = np.random.default_rng(rows)
    base, queries = (rng.standard_normal((n, 7)).astype(np.float32) for n in (rows, 9))
    ids, found = truth.exact(base, queries, metric, 10)
    np.testing.assert_allclose(found, plain(base, queries, metric, 10), rtol=1e-12)
    np.testing.assert_allclose(truth.distances(base, queries, ids, metric), found)


def test_truth_where_single_precision_cannot_tell_rows_apart():
    """All rows lie far away and close together: the first pass ranks them by its own rounding."""
    rng = np.random.default_rng(5)
    base = (1000 + 1e-3 * rng.standard_normal((5000, 6))).astype(np.float32)
    queries = base[:8] + np.float32(1e-3)
    ids, found = truth.exact(base, queries, "l2", 10)
    np.testing.assert_allclose(found, plain(base, queries, "l2", 10), rtol=1e-9)


def test_recall_counts_ties_and_ignores_padding_and_repeats():
    base = np.array([[0], [1], [1], [1], [5], [9]], dtype=np.float32)
    queries = np.zeros((1, 1), dtype=np.float32)
    _, true = truth.exact(base, queries, "l2", 2)

    def recall(*ids):
        return truth.recall(np.array([ids]), base, queries, true, "l2")

    assert recall(0, 1) == recall(0, 3) == recall(3, 0) == recall(1, 2) == 1.0  # any of the rows at distance 1
    assert recall(0, 4) == 0.5
    assert recall(0, -1) == recall(0, 0) == 0.5
    assert recall(-1, -1) == recall(4, 5) == recall(99, -7) == 0.0
    assert recall(0, 4, 1) == 0.5  # beyond the k-th answer nothing counts


def test_recall_does_not_pass_near_misses():
    base = np.array([[1.0], [1.0001], [2]], dtype=np.float32)
    queries = np.zeros((1, 1), dtype=np.float32)
    _, true = truth.exact(base, queries, "l2", 1)
    assert truth.recall(np.array([[1]]), base, queries, true, "l2") == 0.0


def test_truth_refuses_what_it_cannot_answer():
    base = np.zeros((5, 2), dtype=np.float32)
    with pytest.raises(ValueError, match="k is 6"):
        truth.exact(base, base, "l2", 6)
    base[3, 1] = np.nan
    with pytest.raises(ValueError, match="row 3"):
        truth.exact(base, base[:1], "l2", 1)


def test_truth_is_kept_and_not_taken_for_other_data(tmp_path, monkeypatch):
    rng = np.random.default_rng(2)
    base, queries = rng.standard_normal((50, 3)).astype(np.float32), rng.standard_normal((4, 3)).astype(np.float32)
    data = datasets.Data("small", "", "l2", base, queries, tmp_path)
    first = truth.cached(data, 5, tmp_path)
    calls, real = [], truth.exact
    monkeypatch.setattr(truth, "exact", lambda *words: calls.append(1) or real(*words))
    np.testing.assert_array_equal(truth.cached(data, 5, tmp_path), first)
    assert not calls
    data.base = base + 1
    assert not np.array_equal(truth.cached(data, 5, tmp_path), first)
    assert len(calls) == 1


# ---- Data sets -------------------------------------------------------------------------------------------------------

def intrinsic_dimension(rows, k=15):
    """The maximum likelihood estimate of Levina and Bickel (2004), averaged as MacKay and Ghahramani do."""
    _, found = truth.exact(rows, rows[:300], "l2", k + 1)
    found = np.sqrt(found[:, 1:])
    return 1 / np.mean(np.log(found[:, -1:] / found[:, :-1]))


@pytest.mark.parametrize("wanted", [3, 6, 10])
def test_generator_has_the_intrinsic_dimension_asked_for(wanted):
    made = datasets.Clustered(rows=30000, dim=48, intrinsic=wanted, clusters=50, noise=0.0, seed=3)
    found = intrinsic_dimension(np.concatenate(list(made.chunks(30000, 1))))
    assert 0.75 * wanted < found < 1.15 * wanted


def test_generator_repeats_itself_and_depends_on_its_seed(tmp_path):
    made = datasets.Clustered(rows=70000, queries=20, dim=8, intrinsic=3, clusters=10, seed=4)
    for name in ("a", "b"):
        made.write(tmp_path / f"{name}.npy", tmp_path / f"{name}-q.npy")
    a, b = (np.load(tmp_path / f"{name}.npy") for name in "ab")
    assert a.shape == (70000, 8) and a.dtype == np.float32
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.load(tmp_path / "a-q.npy"), np.load(tmp_path / "b-q.npy"))
    fewer = np.concatenate(list(datasets.Clustered(rows=500, dim=8, intrinsic=3, clusters=10, seed=4).chunks(500, 1)))
    np.testing.assert_array_equal(a[:500], fewer)
    other = next(datasets.Clustered(rows=500, dim=8, intrinsic=3, clusters=10, seed=5).chunks(500, 1))
    assert not np.array_equal(a[:500], other)
    chunk = datasets.CHUNK
    assert not (a[:70000 - chunk] == a[chunk:]).all(axis=1).any()  # the second chunk does not repeat the first


@pytest.mark.parametrize("text, words", [
    ("clustered:rows=0", "rows is 0"), ("clustered:rows=20000000", "10,000,000"),
    ("clustered:row=5", "'row' is not one"), ("clustered:dim=4,intrinsic=8", "exceeds"),
    ("clustered:seed=x", "must be a number"), ("clustered:metric=hamming", "hamming"),
    ("nonsense", "no such data set"), ("a:b.npy:c.npy:l3", "'l3'"),
    ("a:/nowhere/b.npy:/nowhere/c.npy:l2", "/nowhere/b.npy")])
def test_bad_data_sets_are_named(text, words, tmp_path):
    with pytest.raises(datasets.DataError) as caught:
        datasets.load(text, tmp_path)
    assert words in str(caught.value)


def save_pair(folder, base, queries):
    np.save(folder / "b.npy", base)
    np.save(folder / "q.npy", queries)
    return f"mine:{folder}/b.npy:{folder}/q.npy:"


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1"])
def test_npy_of_any_numbers_comes_out_as_float32(tmp_path, dtype):
    base = np.arange(60).reshape(20, 3).astype(dtype)
    data = datasets.load(save_pair(tmp_path, base, base[:5]) + "l2", tmp_path / "work", queries=4)
    assert (data.name, data.metric, data.base.dtype, data.queries.dtype) == ("mine", "l2", np.float32, np.float32)
    np.testing.assert_array_equal(data.base, base.astype(np.float32))
    np.testing.assert_array_equal(np.load(data.path), data.base)
    assert data.queries.shape == (4, 3)
    assert (data.path == tmp_path / "b.npy") == (dtype == "f4")  # no second copy of what is right already


def test_cosine_becomes_products_of_unit_vectors(tmp_path):
    rng = np.random.default_rng(6)
    base = rng.standard_normal((30, 4)).astype(np.float32)
    base[7] = 0
    data = datasets.load(save_pair(tmp_path, base, base[:3]) + "cosine", tmp_path / "work")
    assert data.metric == "ip"
    np.testing.assert_allclose(np.linalg.norm(np.delete(data.base, 7, 0), axis=1), 1, rtol=1e-6)
    assert not data.base[7].any()


def test_rows_cuts_the_base_and_changes_its_name_and_a_changed_file_is_read_again(tmp_path):
    base = np.arange(40, dtype=np.float32).reshape(20, 2)
    text = save_pair(tmp_path, base, base[:2]) + "ip"
    assert datasets.load(text, tmp_path / "work", rows=8).name == "mine-8"
    np.save(tmp_path / "b.npy", base + 100)
    assert datasets.load(text, tmp_path / "work", rows=8).base[0, 0] == 100


def test_dimensions_must_agree_and_matrices_be_matrices(tmp_path):
    with pytest.raises(datasets.DataError, match="2 dimensions, the queries have 3"):
        datasets.load(save_pair(tmp_path, np.zeros((4, 2)), np.zeros((4, 3))) + "l2", tmp_path)
    with pytest.raises(datasets.DataError, match="expected a matrix"):
        datasets.load(save_pair(tmp_path, np.zeros(4), np.zeros((4, 3))) + "l2", tmp_path)


def test_hdf5_of_ann_benchmarks(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "set.hdf5", "w") as file:
        file["train"], file["test"] = np.eye(5, dtype=np.float32), np.eye(5, dtype=np.float32)[:2]
        file.attrs["distance"] = "angular"
    data = datasets.load(str(tmp_path / "set.hdf5"), tmp_path / "work")
    assert (data.name, data.metric, data.base.shape, data.queries.shape) == ("set", "ip", (5, 5), (2, 5))


def test_word_vectors_are_read_past_brackets_in_words():
    text = json.dumps({"precision": 8, "size": 3, "dimensions": 2, "words": ["[1,2]", "vectors", "["],
                       "vectors": {"[1,2]": [1, -2.5, 9, 0], "vectors": [3, 4e-1, 9, 1], "[": [5, 6, 9, 2]},
                       "unkVector": [0, 0, 0, -1]}, separators=(",", ":")).encode()
    np.testing.assert_allclose(datasets.parse_wink(text), [[1, -2.5], [3, 0.4], [5, 6]])
    with pytest.raises(datasets.DataError, match="expected 4 vectors, found 3"):
        datasets.parse_wink(text.replace(b'"size":3', b'"size":4'))


# ---- Adapters --------------------------------------------------------------------------------------------------------

def test_every_entry_is_whole_and_no_library_is_needed_to_list_them():
    found = libraries.entries()
    assert {entry.library for entry in found.values()} == set(libraries.LIBRARIES)
    assert len(plot.COLOURS) == len(libraries.LIBRARIES)
    for name, entry in found.items():
        module = sys.modules[f"peers.libraries.{entry.library}"]
        assert issubclass(getattr(module, entry.constructor), BaseANN), name
        assert entry.search and len({entry.label(i) for i in range(len(entry.search))}) == len(entry.search)
        json.dumps([entry.arguments, entry.search])
    assert libraries.source_folder() == ROOT


def test_select_takes_libraries_and_entries_and_refuses_others():
    plain = {name: entry for name, entry in libraries.entries().items() if not entry.named}
    assert list(libraries.select(["faiss-hnsw", "kith"])) == [n for n, e in plain.items()
                                                              if e.library == "kith" or n == "faiss-hnsw"]
    assert libraries.select([]) == plain != libraries.entries()
    assert list(libraries.select(["kith-bits"])) == ["kith-bits"]
    with pytest.raises(ValueError, match="'feiss'"):
        libraries.select(["feiss"])


def test_kith_file_serves_in_ann_benchmarks(tmp_path, monkeypatch):
    """Laid out as theirs, with their BaseANN, the file loads as it is."""
    home = tmp_path / "ann_benchmarks" / "algorithms"
    for part in (home / "base", home / "kith"):
        part.mkdir(parents=True)
        (part / "__init__.py").touch()
    for part in (home, home.parent):
        (part / "__init__.py").touch()
    (home / "base" / "module.py").write_text("class BaseANN(object):\n    pass\n")
    (home / "kith" / "module.py").write_bytes((ROOT / "bench/peers/libraries/kith.py").read_bytes())
    monkeypatch.syspath_prepend(str(tmp_path))
    from ann_benchmarks.algorithms.kith import module
    assert {"fit", "query", "batch_query", "get_batch_results", "set_query_arguments", "done", "__str__"} <= vars(
        module.Kith).keys()


KITH_ENTRIES = [name for name, entry in libraries.entries().items() if entry.library == "kith"]


def test_kith_has_an_entry_for_each_way_to_search():
    assert KITH_ENTRIES == ["kith-exact", "kith-recall", "kith-resident", "kith-ivf", "kith-ivf-first", "kith-ivf-pq",
                            "kith-ivf-pq-small", "kith-graph", "kith-graph-lean", "kith-hnsw", "kith-lsh", "kith-pq",
                            "kith-bits", "kith-bits-lsh", "kith-bits-hnsw"]
    module = sys.modules["peers.libraries.kith"]
    codes = [module.second_code("pq:d/2x4", dim) for dim in (96, 100, 7, 1)]
    assert codes == ["pq:48x4", "pq:50x4", "pq:1x4", "pq:1x4"]
    assert module.second_code("pq:d/4x4", 100) == "pq:25x4" and module.second_code("rabitq:4", 96) == "rabitq:4"


@pytest.mark.parametrize("name", KITH_ENTRIES)
def test_entries_of_kith_answer_each_setting(name):
    kith = pytest.importorskip("kith")
    rng = np.random.default_rng(4)
    base, queries = (rng.standard_normal((rows, 24), dtype=np.float32) for rows in (4000, 30))
    if "bits" in name:
        base, queries = (base > 0).astype(np.float32), (queries > 0).astype(np.float32)
    _, true = truth.exact(base, queries, "l2", 40)
    entry = libraries.entries()[name]
    plan = dict(zip(entry.search[0][::2], entry.search[0][1::2])).get("plan", "auto")
    if plan not in kith._options.PLANS:
        pytest.skip(f"this kith has no plan {plan}")
    algo = entry.create("euclidean")
    algo.build_threads = algo.search_threads = 1
    for key, value in algo.build.items():
        assert key != "lists" or value == "auto"
    if "lists" in algo.build:
        algo.build["lists"] = 30  # by itself so small an index has one
    algo.fit(base)
    recalls, asked = [], algo.convert(queries)
    for setting in entry.search:
        algo.set_query_arguments(*setting)
        algo.batch_query(asked, 40)  # more than some settings score again
        recalls.append(truth.recall(algo.get_batch_results(), base, queries, true, "l2"))
        assert algo.query(queries[0], 10).shape == (10,)
    algo.done()
    exact = name in ("kith-exact", "kith-bits")
    assert max(recalls) > 0.9 and (not exact or recalls == [1.0])
    # An HNSW of so few bits finds nearly all at any effort.
    assert exact or name in ("kith-recall", "kith-resident", "kith-bits-hnsw") or min(recalls) < max(recalls) - 0.01
    assert "ivf" not in name or min(recalls) < 0.5


def test_bits_are_zeros_and_ones():
    pytest.importorskip("kith")
    algo = libraries.entries()["kith-bits"].create("euclidean")
    with pytest.raises(NotImplementedError, match="zeros and ones"):
        algo.fit(np.full((10, 8), 0.5, np.float32))


def test_config_for_ann_benchmarks_has_each_entry():
    text = report.ann_benchmarks("faiss")
    for line in ("constructor: FastScan", "faiss-ivfpq:", "query_args: [[4, 8, 16, 32, 64, 128, 256], [5, 20]]",
                 "args: [[32], [200]]"):
        assert line in text


# ---- Runner ----------------------------------------------------------------------------------------------------------

FAKE = '''
    import os, time
    import numpy as np
    from ..base.module import BaseANN
    PACKAGE = "fake"
    class Fake(BaseANN):
        def __init__(self, metric, fault):
            self.fault = fault
            if fault == "absent":
                raise ModuleNotFoundError("No module named 'fake'")
        def fit(self, X):
            print("noise on standard output")
            if self.fault == "raises":
                raise RuntimeError("no such luck")
            if self.fault == "dies":
                print("last words", flush=True)
                os.abort()
            if self.fault == "sleeps":
                time.sleep(60)
            self.X = X
        def set_query_arguments(self, share):
            self.share = share
            if self.fault == "breaks" and share == 1.0:
                raise RuntimeError("broke in search")
        def query(self, v, n):
            order = np.argsort(((self.X - v) ** 2).sum(1), kind="stable")
            return order[:max(1, round(n * self.share))]
    ENTRIES = {name: {"constructor": "Fake", "arguments": [name], "search": [[0.5], [1.0]]}
               for name in ("works", "absent", "raises", "dies", "sleeps", "breaks")}
'''


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A result of a copy of the bench whose only library is this test's, with every fault a library can have."""
    folder = tmp_path_factory.mktemp("bench")
    copy_bench(folder, "fake", FAKE)
    rng = np.random.default_rng(8)
    base, queries = rng.standard_normal((200, 6)).astype(np.float32), rng.standard_normal((40, 6)).astype(np.float32)
    np.save(folder / "b.npy", base)
    data = datasets.Data("small", "small:b.npy:q.npy:l2", "l2", base, queries, folder / "b.npy")
    entries = {name: libraries.Entry(name, "fake", "fake", "Fake", [name], [[0.5], [1.0]])
               for name in ("works", "absent", "raises", "dies", "sleeps", "breaks")}
    patch = pytest.MonkeyPatch()
    patch.setattr(runner, "BENCH", folder)
    try:
        results = {}
        slow = {"sleeps": entries.pop("sleeps")}
        for key, some, alternate, timeout in ((True, entries, True, 100.0), (False, entries, False, 100.0),
                                              ("late", slow, None, 3.0)):
            options = runner.Options(rounds=2, single=15, build_threads=1, timeout=timeout, alternate=alternate)
            results[key] = runner.measure(data, some, options, folder / "out", "make it", print,
                                          {"fake": "pip install fake: no matching distribution"})
        patch.setattr(runner, "DEAR", 0.0)
        results["dear"] = runner.measure(data, {"works": entries["works"]}, runner.Options(rounds=2, single=15),
                                         folder / "out", "make it", print, {})
    finally:
        patch.undo()
    return results


def test_resident_originals_are_counted_and_nothing_else(tmp_path):
    """A file with a section table of three sections, so far from each other that a look at one brings none of another
    (systems map some pages around the one that is needed)."""
    page, path = mmap.PAGESIZE, tmp_path / "x.kith"
    table = b"".join(struct.pack("<2I3Q", family, 256, offset * page, size, 0)
                     for family, offset, size in ((3, 4, page), (7, 2048, 9 * page - 100), (9, 4096, page)))
    with open(path, "wb") as file:
        file.write(bytes(4096) + table.ljust(8192, b"\0"))
        file.truncate(5000 * page)
    assert resident.originals_place(path) == (2048 * page, 9 * page - 100)
    before = resident.originals()
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as opened:
        assert opened[4 * page] == opened[4096 * page] == 0 and resident.originals() == before
        assert opened[2048 * page] == 0 and page <= resident.originals() - before <= 9 * page
        assert not any(opened[number * page] for number in range(2048, 2057))
        assert resident.originals() - before == 9 * page
    assert resident.originals() == before


def row(result, name):
    return next(row for row in result["results"] if row["entry"] == name)


@pytest.mark.parametrize("alternate", [True, False])
def test_a_library_that_works_is_measured_beside_those_that_fail(measured, alternate):
    result = json.loads(json.dumps(measured[alternate]))
    runner.check(result)
    good = row(result, "works")
    assert good["status"] == "ok" and len(good["points"]) == 2
    assert list(runner.modes(result["options"])) == ["batch", "calls-64", "calls-16", "calls-4", "single"]
    for mode, counts in ((mode, 2) for mode in runner.modes(result["options"])):
        assert [point[mode]["recall"] for point in good["points"]] == [0.5, 1.0]
        assert all(len(point[mode]["rounds"]) == counts for point in good["points"])
        assert all(point[mode]["qps"] == max(point[mode]["rounds"]) for point in good["points"])
    assert good["points"][0]["single"]["p50_us"] <= good["points"][0]["single"]["p99_us"]
    assert good["first_us"] > 0
    assert good["call_us"] > 0 and row(result, "breaks")["call_us"] > 0  # what breaks in search does so later


def test_settings_beyond_one_that_takes_very_long_are_left_out(measured):
    runner.check(json.loads(json.dumps(measured["dear"])))
    dear = row(measured["dear"], "works")
    assert dear["status"] == "ok" and [point["setting"] for point in dear["points"]] == [
        row(measured[True], "works")["points"][0]["setting"]]
    assert all(len(dear["points"][0][mode]["rounds"]) == 2 for mode in runner.modes(measured["dear"]["options"]))


def test_single_queries_are_told_by_the_fastest_setting_that_finds_enough(measured):
    result = measured[True]
    single = row(result, "works")["points"][1]["single"]
    assert report.latency(row(result, "works"), 0.95) == (single["p50_us"], single["p99_us"])
    assert report.latency({"points": []}, 0.95) is None
    line = next(line for line in report.few_table(result) if line.startswith("| works |"))
    assert len(line.split("|")) == 2 + 6 + 9 and f"| {single['p50_us']:.1f} | {single['p99_us']:.1f} |" in line
    assert report.few_table(made_up()) == []  # results of a time before calls of a few


def test_each_failure_is_reported_with_its_reason(measured):
    result = {**measured[True], "results": measured[True]["results"] + measured["late"]["results"]}
    expected = {"absent": ("missing", "no matching distribution"), "raises": ("failed", "no such luck"),
                "dies": ("died", "SIGABRT during build"), "sleeps": ("late", "took more than 3 s"),
                "breaks": ("failed", "broke in search")}
    text = report.section(result, None)
    for name, (status, words) in expected.items():
        found = row(result, name)
        assert (found["status"], words in found["error"]) == (status, True), found
        assert f"- {name} (fake)" in text and words in text
    assert "last words" in row(result, "dies")["error"]
    assert "| works |" in text


def test_check_refuses_what_is_not_a_result(measured):
    for change in ({"format": 2}, {"data": None}, {"results": [{"entry": "x"}]},
                   {"results": [{"entry": "x", "library": "x", "status": "failed", "points": []}]}):
        with pytest.raises(ValueError, match="not a result"):
            runner.check({**measured[True], **change})


def test_tiers_follow_the_flags_of_the_processor():
    avx2 = {"avx2", "fma"}
    avx512 = avx2 | {"avx512f", "avx512bw", "avx512vl", "avx512_vnni"}
    assert machine.tier(set()) == "scalar" and machine.tier(avx2) == "avx2" and machine.tier(avx512) == "avx512"
    assert machine.tier(avx512 | {"amx_tile", "amx_int8"}) == "amx" and machine.tier({"asimd"}) == "neon"
    assert {"processor", "cores", "tier", "caches", "kernel", "python"} <= machine.describe().keys()


# ---- Pages and pictures ----------------------------------------------------------------------------------------------

def made_up(names=("kith-exact", "faiss-flat", "faiss-hnsw", "hnswlib", "scann")):
    """A result of many entries whose curves end close together."""
    entries, rows = libraries.entries(), []
    for number, name in enumerate(names):
        recalls = [1.0] if name in ("kith-exact", "faiss-flat") else [0.8, 0.93, 0.97, 0.995]
        points = []
        for r in recalls:
            speed = (1 + number / 50) * 1000 * (1.2 - r)
            found = {"recall": r, "qps": speed, "rounds": [speed], "cpus": 1.0}
            points.append({"setting": str(r), "arguments": [r], "batch": found,
                           "single": {**found, "p50_us": 1, "p99_us": 2}})
        rows.append({"entry": name, "library": entries[name].library, "package": entries[name].package, "status": "ok",
                     "version": "1", "name": name, "build_seconds": number + 0.5,
                     "memory": {"total": number << 20, "file": 0, "anonymous": number << 20, "peak": number << 21},
                     "points": points})
    return {"format": runner.FORMAT, "date": "2026-01-02", "command": "make bench-peers DATA=x", "results": rows,
            "machine": {"processor": "<Fast & Co>", "cores": 2, "tier": "avx2", "caches": {"L2": 1 << 20},
                        "kernel": "6", "python": "3", "memory_bytes": 1},
            "data": {"name": "x", "source": "x", "rows": 10, "dim": 3, "queries": 5, "metric": "l2",
                     "raw_bytes": 1 << 20, "fingerprint": ""},
            "options": {"k": 10, "rounds": 1, "search_threads": 1, "build_threads": 2, "alternate": True},
            "versions": {"numpy": "2"}}


def test_ratio_of_kith_to_the_best_peer():
    result = made_up()
    found = report.ratios(result, "batch", 0.99)
    assert found["kith"][0] == "kith-exact" and found["peer"][0] == "scann"
    assert found["ratio"] == pytest.approx(found["kith"][1] / found["peer"][1])
    assert report.ratios(result, "batch", 0.999)["peer"][0] == "faiss-flat"
    assert f"**{found['ratio']:.2f}x**" in report.section(result, "images")
    assert report.ratios(made_up(("hnswlib",)), "batch", 0.9)["ratio"] is None
    assert report.ratios(made_up(("kith-exact",)), "batch", 0.9)["ratio"] is None


def test_a_library_that_used_more_threads_is_named():
    result = made_up()
    result["results"][3]["points"][0]["batch"]["cpus"] = 1.9
    assert "hnswlib kept 1.9 processors busy" in report.section(result, None)
    assert "processors busy" not in report.section(made_up(), None)


def text_boxes(svg):
    """(x range, y range, text) of the names in the right margin."""
    root = xml.fromstring(svg)
    return [(float(t.get("x")), float(t.get("y")), t.text) for t in root.iter("{http://www.w3.org/2000/svg}text")
            if t.get("style")]


def test_pictures_are_well_formed_and_names_do_not_cover_each_other(tmp_path):
    result = made_up(tuple(libraries.entries()))
    for path in report.pictures(result, tmp_path):
        root = xml.fromstring(path.read_text())
        assert root.tag.endswith("svg")
        assert "<Fast & Co>" in "".join(root.itertext()) or path.stem.endswith("memory")
        assert "prefers-color-scheme:dark" in path.read_text()
    boxes = text_boxes((tmp_path / "peers-x-batch.svg").read_text())
    assert {text for _, _, text in boxes} == set(libraries.entries())
    heights = sorted(y for _, y, _ in boxes)
    assert all(b - a >= plot.LINE - 0.2 for a, b in zip(heights, heights[1:]))
    height = float(xml.fromstring((tmp_path / "peers-x-batch.svg").read_text()).get("height"))
    assert heights[0] > 44 and heights[-1] < height


def test_spread_moves_no_more_than_needed():
    assert plot.spread([10, 50, 90], 15, 0, 100) == [10, 50, 90]
    assert plot.spread([50, 50], 10, 0, 100) == [45, 55]
    assert plot.spread([0, 0, 0], 10, 0, 100) == [0, 10, 20]
    assert plot.spread([100, 99], 10, 0, 100) == [100, 90]
    assert plot.spread([], 10, 0, 100) == []
    rng = random.Random(3)
    for _ in range(100):
        wanted = [rng.uniform(0, 300) for _ in range(rng.randrange(1, 20))]
        placed = sorted(plot.spread(wanted, 15, 0, 300))
        assert placed[0] >= -1e-9 and placed[-1] <= 300 + 1e-9
        assert all(b - a >= 15 - 1e-9 for a, b in zip(placed, placed[1:]))


def test_a_plot_of_nothing_and_of_perfect_recall_alone():
    for curves in ([], [plot.Curve("kith-exact", "kith", [(1.0, 5.0)])], [plot.Curve("a", "faiss", [(0.2, 5.0)])]):
        assert xml.fromstring(plot.recall_speed(curves, "t", "s")).tag.endswith("svg")
    assert xml.fromstring(plot.bars([], "s", "t", "s")).tag.endswith("svg")


def luminance(colour):
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("colour", plot.COLOURS)
@pytest.mark.parametrize("background", plot.BACKGROUNDS)
def test_colours_are_seen_on_light_and_dark(colour, background):
    bright, dark = sorted((luminance(colour), luminance(background)), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= 3.0


def test_sections_of_the_page_are_replaced_or_added(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"top\n\n{report.LAST}\nbottom\n")
    report.write_page([made_up()], page, tmp_path / "images")
    once = page.read_text()
    assert once.startswith("top\n") and once.endswith("bottom\n") and "images/peers-x-batch.svg" in once
    report.write_page([made_up()], page, tmp_path / "images")
    assert page.read_text() == once
    with pytest.raises(ValueError, match="no line"):
        report.put_section("nothing here", "x", "text")
    with pytest.raises(ValueError, match="not its end"):
        report.put_section(report.BEGIN.format("x"), "x", "text")


def test_the_page_of_this_repository_has_its_markers():
    text = (ROOT / "docs/benchmarks.md").read_text()
    assert text.count(report.LAST) == 1
    assert text.count("<!-- begin of bench/peers: ") == text.count("<!-- end of bench/peers: ")
