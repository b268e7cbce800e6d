# SPDX-License-Identifier: Apache-2.0
"""The bench of kith serve: its requests, marks, table and picture; its loader on a server that is right, slow, wrong or
too busy on purpose; and all of it for a moment, where its programs are built."""
import http.server
import json
import os
import pathlib
import socketserver
import struct
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as xml

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("KITH_BUILD_DIR", ROOT / "build"))
LOAD = BUILD / "bench/serve/bin/load"
sys.path.insert(0, str(ROOT / "bench"))

from serve import asked, marks, report, rows  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the loader waits by epoll")
loads = pytest.mark.skipif(not LOAD.exists(), reason="the loader is not built (KITH_BENCH)")


# ---- Requests and data


def test_files_of_requests_are_as_the_loaders_read_them(tmp_path):
    queries = asked.unit(np.arange(12).reshape(3, 4))
    for make in (asked.as_raw, asked.as_json):
        text = asked.write(tmp_path / "requests", make("shop", queries, timeout_ms=50)).read_bytes()
        count, at, found = struct.unpack_from("<I", text)[0], 4, []
        while at < len(text):
            size = struct.unpack_from("<I", text, at)[0]
            found.append(text[at + 4:at + 4 + size])
            at += 4 + size
        assert count == len(found) == 3
        head, _, body = found[1].partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        if make is asked.as_raw:
            assert b"?k=10&target=0.95&timeout_ms=50 HTTP/1.1" in head and body == queries[1].tobytes()
        else:
            told = json.loads(body)
            assert np.array_equal(np.float32(told["vector"]), queries[1])
            assert (told["k"], told["target"], told["timeout_ms"]) == (10, 0.95, 50)


def test_data_that_is_none_is_refused(tmp_path):
    np.save(tmp_path / "base.npy", np.ones((5, 3)))
    np.save(tmp_path / "asked.npy", np.ones((5, 4)))
    with pytest.raises(ValueError, match="rows of one length"):
        asked.read(tmp_path / "base.npy", tmp_path / "asked.npy", None)
    np.save(tmp_path / "asked.npy", np.full((5, 3), np.nan))
    with pytest.raises(ValueError, match="finite"):
        asked.read(tmp_path / "base.npy", tmp_path / "asked.npy", None)
    made = asked.synthetic(500, 16, 20)
    assert made.base.shape == (500, 16) and made.queries.shape == (20, 16)
    assert np.allclose(np.linalg.norm(made.base, axis=1), 1, atol=1e-5)
    assert np.array_equal(made.base, asked.synthetic(500, 16, 20).base)


# ---- Table and picture


def result_of(values):
    curve = [{"offered": rate, "rate": rate, "kept": 1.0, "p50_ms": 0.2, "p90_ms": 0.5, "p99_ms": 1 + rate / 100,
              "p999_ms": 20.0} for rate in (100.0, 500.0, 900.0)]
    machine = {"processor": "p & q", "tier": "avx2", "kernel": "6.1"}
    return {"data": "a < b", "date": "2026-01-01", "machine": machine, "effort": {"seconds": 5, "rounds": 3},
            "values": values, "curve": curve, "failed": {"idle": "why not"}}


def test_marks_are_judged():
    text = report.table(result_of({"recall": 0.96, "wrk raw.rate": 29_999.0, "closed raw 1.cpu_us": 100.0,
                                   "chroma 1.cpu_us": 1400.0, "idle.growth": 1.11}))
    lines = {line.strip().split("  ")[0]: line for line in text.splitlines()}
    assert lines["recall at a target of .95"].endswith("reached")
    assert lines["raw f32 bodies"].endswith("missed") and "29,999/s" in lines["raw f32 bodies"]
    assert lines["ours beside it, 1 client"].endswith("reached")
    assert lines["growth of p99"].endswith("missed")
    assert "failed: idle: why not" in text and "twice the load" not in text.lower()


def test_names_are_told_once():
    names = [row.title for _, part in marks.PARTS for row in part if not row.of]
    values = [row.name for _, part in marks.PARTS for row in part if not row.of]
    assert len(set(values)) == len(values) and all(names)


def test_the_picture_is_one():
    for result in (result_of({}), {**result_of({}), "curve": []}):
        tree = xml.fromstring(report.picture(result))
        lines = tree.findall(".//{http://www.w3.org/2000/svg}polyline")
        assert len(lines) == (4 if result["curve"] else 0)


def test_the_page_has_what_was_measured(tmp_path):
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    result = result_of({"recall": 0.97, "wrk raw.rate": 29_999.0})
    (tmp_path / "serve.json").write_text(json.dumps({**result, "command": "make bench-serve"}))
    words = [sys.executable, "-m", "serve", "--json", tmp_path / "serve.json", "--docs", page]
    told = {**os.environ, "PYTHONPATH": str(ROOT / "bench")}
    subprocess.run(words, env=told, check=True)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert f'"{result["machine"]["processor"]}"' in text and "\nmake bench-serve\n" in text
    assert "| recall at a target of .95 | 0.970 | >= .95 | **reached** |" in text
    assert "| raw f32 bodies | 29,999/s | >= 30,000/s | missed |" in text
    assert "- not measured: idle: why not" in text
    assert (tmp_path / "images" / "serve.svg").read_text().startswith("<svg")
    page.write_text("no place")
    assert subprocess.run(words, env=told, stderr=subprocess.DEVNULL, check=False).returncode == 1


# ---- The loader


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers by the plan of its server: a status for the number of a request."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            number, self.server.asked = self.server.asked, self.server.asked + 1
        status = self.server.plan(number)
        if status is None:  # it breaks off
            self.close_connection = True
            return
        body = b"x" * 3000
        self.send_response(status)
        if status == 503 and self.server.says_when:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Planned(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128


@pytest.fixture
def served(tmp_path):
    """A function: a plan by number of the request -> what the loader saw."""
    asked.write(tmp_path / "requests", [asked.http("POST", "/", b"x" * 100, "text/plain")])
    started = []

    def see(plan, *words, says_when=True):
        server = Planned(("127.0.0.1", 0), Answers)
        server.lock, server.asked, server.plan, server.says_when = threading.Lock(), 0, plan, says_when
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        done = subprocess.run([LOAD, "--port", str(server.server_address[1]), "--requests", tmp_path / "requests",
                               "--warm", "0", *map(str, words)], text=True, capture_output=True, timeout=60, check=True)
        return json.loads(done.stdout), server.asked

    yield see
    for server in started:
        server.shutdown()
        server.server_close()


@loads
def test_a_closed_loop_counts_all(served):
    seen, count = served(lambda number: (200, 503, 504, 404)[number % 4], "--connections", 3, "--seconds", 0.4)
    assert seen["all"] == seen["due"] == count > 8 and seen["lost"] == seen["broken"] == 0
    parts = [seen[name] for name in ("ok", "refused", "late", "others")]
    assert sum(parts) == count and max(parts) - min(parts) <= 1
    assert seen["other_status"] == 404 and seen["refused_without_retry_after"] == 0
    assert seen["answered"]["count"] == seen["ok"] and seen["refusals"]["count"] == seen["refused"]
    times = seen["answered"]
    assert 0 < times["p50_us"] <= times["p90_us"] <= times["p99_us"] <= times["max_us"]


@loads
def test_connections_that_break_are_counted_and_made_anew(served):
    seen, count = served(lambda number: None if number % 3 == 2 else 503, "--seconds", 0.4, says_when=False)
    assert seen["all"] == count and seen["broken"] > 0 and seen["lost"] == 0
    assert seen["refused"] == seen["refused_without_retry_after"] == count - seen["broken"]


@loads
def test_an_open_loop_counts_from_when_a_request_was_due(served):
    """The first answer takes half a second; what was due meanwhile is late by so much, though each was quick."""
    def plan(number):
        if number == 0:
            time.sleep(0.5)
        return 200

    seen, count = served(plan, "--connections", 1, "--rate", 100, "--seconds", 1)
    assert seen["ok"] == count and 0 < count + seen["never_sent"] <= 101
    assert seen["answered"]["p50_us"] > 50_000 and seen["answered"]["max_us"] >= 490_000


@loads
def test_idle_connections_are_watched(served):
    seen, _ = served(lambda number: 200, "--idle", 20, "--seconds", 0.2)
    assert (seen["idle"], seen["idle_closed"]) == (20, 0)


# ---- All of it


@loads
@pytest.mark.skipif(not (BUILD / "kith").exists(), reason="the command is not built")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core serves, one loads")
def test_everything_runs_for_a_moment(tmp_path):
    done = subprocess.run([sys.executable, "-m", "serve", "--quick", "--build", BUILD, "--folder", tmp_path / "work",
                           "--json", tmp_path / "out/serve.json", "--only", *rows.ROWS],
                          text=True, capture_output=True, check=False,
                          env=dict(os.environ, PYTHONPATH=str(ROOT / "bench"), PYTHONDONTWRITEBYTECODE="1"))
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "out/serve.json").read_text())
    assert result["failed"] == {} and result["values"]["recall"] > 0.9
    missing = {row.name for _, part in marks.PARTS for row in part
               if row.value(result["values"]) is None and not row.name.startswith(("chroma", "wrk", "open 10,000"))
               and row.name}
    assert not missing
    assert "<svg" in (tmp_path / "out/serve.svg").read_text()
