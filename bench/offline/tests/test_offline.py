# SPDX-License-Identifier: Apache-2.0
"""The bench of joins on clusters: its data, its watch over processes, marks, table and picture. Needs no engine."""
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as xml

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "bench"))

from offline import __main__ as program  # noqa: E402
from offline import joins, marks, processes, report  # noqa: E402

BURN = "import time\nwhile time.process_time() < .3: pass\nprint(flush=True)\ninput()"


def run(cpu, workers, memory=0, recall=0.96):
    return {"seconds": cpu / 2, "cpu": cpu, "cpu_workers": workers, "worker_bytes": memory, "recall": recall}


@pytest.fixture
def result():
    return {"data": "5 queries x 7 x 3 (<made>)", "k": 10, "target": 0.95, "rounds": 3, "date": "2026-12-01",
            "index_bytes": 100 << 20, "failed": {"kith.spark": "no JVM"},
            "machine": {"processor": "P", "tier": "avx2", "kernel": "6.1"},
            "runs": {"kith join": run(10.0, 10.0), "kith.ray": run(13.0, 11.0, 300 << 20),
                     "Faiss on Ray": run(30.0, 29.0, 400 << 20)}}


def test_marks(result):
    found = {mark.title: (round(mark.value, 2), mark.reached) for mark in marks.marks(result)}
    assert found == {"kith.ray: CPU time of workers beside kith join": (1.1, True),
                     "kith.ray: a worker's memory beyond the index": (200.0, True),
                     "Faiss on Ray: CPU time beside kith.ray": (2.31, False)}
    assert marks.marks({**result, "runs": {}}) == []


def test_table_page_and_picture(result, tmp_path):
    text = report.table(result)
    assert "1.1x" in text and "missed" in text and "failed: kith.spark: no JVM" in text
    xml.fromstring(report.picture(result))
    page = tmp_path / "page.md"
    page.write_text(f"a\n{report.BEGIN}\nold\n{report.END}\nb\n")
    report.write_page(result, page)
    written = page.read_text()
    assert "old" not in written and "| kith.ray | 6.5 | 13.0 | 11.0 | 0.960 | 300 |" in written
    assert (tmp_path / "images" / report.PICTURE).exists() and written.endswith("b\n")
    (tmp_path / "empty.md").write_text("")
    with pytest.raises(ValueError, match="has no lines"):
        report.write_page(result, tmp_path / "empty.md")


def test_the_page_of_the_project_has_its_place():
    text = (ROOT / "docs" / "offline.md").read_text()
    assert text.index(report.BEGIN) < text.index(report.END)


def test_queries_are_near_items_and_always_the_same():
    items = np.eye(8, 64, dtype="f4")
    asked = program.queries_of(items, 50)
    assert np.array_equal(asked, program.queries_of(items, 50)) and asked.dtype == np.float32
    assert np.allclose(np.linalg.norm(asked, axis=1), 1, atol=1e-5) and ((asked @ items.T).max(1) > 0.85).all()


def test_watch_counts_children():
    with subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as idle:
        idle.stdout.readline()
        with processes.Watch() as watch, subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE,
                                                          stdout=subprocess.PIPE) as busy:
            busy.stdout.readline()
            watch.stop()  # while it lives; what it used before counts, and of the other one nothing
            busy.communicate(b"\n")
        idle.communicate(b"\n")
    assert watch.cpu >= 0.25 and watch.used[busy.pid] >= 0.25 and watch.used[idle.pid] == 0
    assert watch.cpu_workers == 0 and watch.worker_bytes == 0


def test_laying_out_and_the_command_line(tmp_path):
    bench = joins.Bench(tmp_path, pathlib.Path("kith"), 5, 0.9)
    items = program.unit(np.random.default_rng(1).standard_normal((60, 8)))
    joins.lay_out(bench, items, items[:20])
    assert bench.truth[:, 0].tolist() == list(range(20)) and joins.recall_of(bench, bench.truth.tolist()) == 1
    assert joins.recall_of(bench, [[-1]] * 20) == 0
    np.save(tmp_path / "a.npy", items)
    np.save(tmp_path / "b.npy", items[:, :5])
    with pytest.raises(ValueError, match="do not fit"):
        program.data_of(program.parser().parse_args(["--items", f"{tmp_path}/a.npy", "--queries", f"{tmp_path}/b.npy"]))
