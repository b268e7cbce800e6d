# SPDX-License-Identifier: Apache-2.0
"""The table of marks: what is met, missed, and not measured."""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "bench"))

from peers import marks, report  # noqa: E402


def result(**entries):
    """Of entries (queries a second one a call, seconds of build, memory in units of the vectors)."""
    rows = []
    for entry, (qps, build, memory) in entries.items():
        found = {"recall": 0.95, "qps": qps, "rounds": [qps], "cpus": 1.0}
        point = {"setting": "-", "batch": found, "single": {**found, "p50_us": 10.0, "p99_us": 20.0}, "calls-4": found}
        rows.append({"entry": entry.replace("_", "-"), "library": entry.partition("_")[0], "points": [point],
                     "build_seconds": build, "memory": {"total": (memory + 1) * 1000, "originals": 1000}})
    return {"options": {"calls": [4]}, "data": {"raw_bytes": 1000}, "results": rows}


def cells(rows, what):
    return next(row.split(" | ")[1:] for row in rows if row.startswith(f"| {what} |"))


def test_what_was_not_measured_is_said():
    rows = marks.table({}, {})
    assert all(row.endswith("| not measured |  |") for row in rows[2:]) and len(rows) > 15


def test_marks_are_met_or_missed():
    main = result(kith_graph=(1400, 4, 1.8), kith_graph_lean=(900, 4, 0.6), kith_hnsw=(1100, 9, 1), symqg=(1000, 9, 9),
                  hnswlib=(500, 10, 1))
    rows = marks.table({"wordnet": main, "glove-words": result(kith_graph=(100, 1, 1), symqg=(90, 1, 1))}, {})
    assert cells(rows, "wordnet, one query a call, at 0.95") == [
        ">= 1.3x the best peer", "1.40x: 1,400 (kith-graph) and 1,000 (symqg)", "met |"]
    assert cells(rows, "wordnet, one query a call, at 0.99")[1] == "not measured"
    assert cells(rows, "wordnet, 4 queries a call, at 0.95")[2] == "**missed** |"
    assert cells(rows, "glove-words, one query a call, at 0.95")[2] == "**missed** |"
    assert cells(rows, "wordnet, build of `graph`, two threads")[1:] == ["4.00 s", "met |"]
    assert cells(rows, "wordnet, resident memory of `graph`, originals cold")[1:] == ["1.80x raw", "met |"]
    assert cells(rows, "wordnet, the same, lean")[1:] == ["0.60x raw", "**missed** |"]
    assert cells(rows, "wordnet, build of `hnsw`")[1:] == ["1.11x", "**missed** |"]
    assert cells(rows, "wordnet, `hnsw` at 0.95")[1:] == ["2.20x", "met |"]
    assert cells(rows, "wordnet, p99 / p50 of single queries at 0.95")[1:] == ["2.00", "met |"]


def test_filters_need_speed_and_the_target(tmp_path):
    def case(qps, recall):
        return [{"kind": "place", "share": 0.5, "points": [
            {"setting": "target_recall 0.95", "recall": recall, "qps": qps, "short": 0},
            {"setting": "target_recall 0.99", "recall": 0.99, "qps": qps, "short": 0}]}]

    def found(ours, recall):
        return {"options": {"shares": [0.5]}, "results": [
            {"entry": "kith-recall", "library": "kith", "cases": case(ours, recall)},
            {"entry": "faiss-ivf", "library": "faiss", "cases": case(100, 0.96)}]}

    what = "x, a filter leaves 50 %: rows around one of them, queries from anywhere"
    assert cells(marks.table({}, {"x": found(250, 0.947)}), what)[1:] == ["2.50x; asked for 0.95, found 0.947", "met |"]
    assert cells(marks.table({}, {"x": found(250, 0.93)}), what)[2] == "**missed** |"
    assert cells(marks.table({}, {"x": found(150, 0.95)}), what)[2] == "**missed** |"
    page = tmp_path / "page.md"
    page.write_text(f"top\n{report.LAST}\n")
    for _ in range(2):
        marks.write_page({}, {"x": found(250, 0.95)}, page)
    assert page.read_text().count("### The marks of single queries") == 1
