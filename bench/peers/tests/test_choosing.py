# SPDX-License-Identifier: Apache-2.0
"""The page about types of indexes: its entries, tables and sentences, and bits made of numbers."""
import pathlib
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "bench"))

from peers import choosing, datasets, libraries, report, runner, truth  # noqa: E402


def made_up(name="x", speeds=(("kith-exact", 100, 200), ("kith-ivf", 900, 9000), ("kith-graph", 5000, 4000))):
    """A result of entries with one setting each, which reaches .96: (entry, queries a second one a call, in calls of
    many)."""
    rows = []
    for number, (entry, single, many) in enumerate(speeds, 1):
        found = {"recall": 0.96, "rounds": [1.0], "cpus": 1.0}
        point = {"setting": "-", "arguments": [], "batch": {**found, "qps": many}, "calls-16": {**found, "qps": many},
                 "single": {**found, "qps": single, "p50_us": 10.0, "p99_us": 25.0}}
        rows.append({"entry": entry, "library": "kith", "package": "./python", "status": "ok", "version": "1",
                     "name": entry, "build_seconds": 1.0, "points": [point],
                     "memory": {"total": number * 24000, "file": 0, "originals": 12000, "peak": 0}})
    return {"format": runner.FORMAT, "date": "2026-01-02", "command": "make bench-choosing", "results": rows,
            "machine": {"processor": "P", "cores": 2, "tier": "avx2", "caches": {}, "kernel": "6", "python": "3"},
            "data": {"name": name, "source": name, "rows": 1000, "dim": 6, "queries": 5, "metric": "l2",
                     "raw_bytes": 24000, "fingerprint": ""},
            "options": {"k": 10, "rounds": 1, "search_threads": 1, "build_threads": 2, "alternate": True,
                        "calls": [16]}, "versions": {"numpy": "2"}}


def test_table_and_verdict_tell_what_each_type_costs_and_gives():
    result = made_up()
    lines = choosing.table(result)
    assert len({line.count("|") for line in lines}) == 1
    assert "| flat (exact) | 1.0 | 1.00 | 0.50 | 0.9600 | 2.5 | 100 | 100 | - | 200 | 200 |" in lines
    assert choosing.verdict(result) == ("Fastest at recall 0.95: one query a call graph; 16 queries a call ivf; all "
                                        "queries in one call ivf.")
    result["results"][2]["points"][0]["single"]["recall"] = 0.94
    assert "one query a call ivf" in choosing.verdict(result)
    for row in result["results"]:
        for mode in ("batch", "single", "calls-16"):
            row["points"][0][mode]["recall"] = 0.5
    assert choosing.verdict(result) == "None reached recall 0.95."


def test_what_names_nothing_is_shown_and_does_not_win():
    result = made_up(speeds=(("kith-ivf", 10, 10), ("kith-recall", 99, 99)))
    assert "one query a call ivf" in choosing.verdict(result)
    assert any(line.startswith("| nothing named | ") for line in choosing.table(result))


def test_memory_of_bits_is_held_against_bits():
    result = made_up(speeds=(("kith-bits", 10, 10),))
    assert choosing.times_raw(result, result["results"][0]) == "32.00"


def test_page_is_written_with_pictures(tmp_path):
    page = tmp_path / "choosing.md"
    page.write_text(f"top\n{report.LAST}\n")
    for _ in range(2):
        choosing.write_page([made_up("a"), made_up("b")], page)
    text = page.read_text()
    assert text.count("### a: 1,000 x 6, l2") == text.count("### b: ") == 1
    assert {path.name for path in (tmp_path / "images").iterdir()} == {
        f"choosing-{name}-{mode}.svg" for name in "ab" for mode in ("batch", "single")}


def test_entries_are_those_of_the_library_and_fit_the_data():
    assert choosing.entries_for("signs:glove-words") == choosing.BITS
    assert choosing.entries_for("glove-words") == choosing.NUMBERS
    found = libraries.entries(["kith"])
    for names in (choosing.NUMBERS, choosing.BITS):
        assert list(libraries.select(names)) == [name for name in found if name in names]
        assert set(names) <= set(choosing.NAMES)
    assert all(found[name].named for name in choosing.BITS)
    assert not set(choosing.BITS) & set(libraries.select(["kith"])) and not set(choosing.BITS) & set(
        libraries.select([]))


def test_the_page_of_this_repository_has_its_marker():
    text = (ROOT / "docs/choosing.md").read_text()
    assert text.count(report.LAST) == 1
    assert text.count("<!-- begin of bench/peers: ") == text.count("<!-- end of bench/peers: ")


@pytest.mark.parametrize("dim", [3, 8])
def test_signs_count_bits_that_differ(tmp_path, dim):
    rng = np.random.default_rng(6)
    base, queries = (rng.standard_normal((rows, dim)).astype(np.float32) + 5 for rows in (200, 4))
    np.save(tmp_path / "b.npy", base)
    np.save(tmp_path / "q.npy", queries)
    data = datasets.load(f"signs:mine:{tmp_path}/b.npy:{tmp_path}/q.npy:ip", tmp_path / "work")
    bits, asked = base > base.mean(axis=0), queries > base.mean(axis=0)
    assert (data.name, data.metric, data.base.shape) == ("mine-signs", "l2", (200, 8))
    assert set(np.unique(data.base)) == {0.0, 1.0} and not data.base[:, dim:].any()
    _, found = truth.exact(data.base, data.queries, data.metric, 5)
    np.testing.assert_array_equal(found, np.sort((bits[None] != asked[:, None]).sum(2), axis=1)[:, :5])
