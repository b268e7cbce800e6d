# SPDX-License-Identifier: Apache-2.0
"""kith autoscale: what it says of servers, what it tells who asks, and its simulator."""
import http.client
import http.server
import json
import math
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest

KITH = os.environ.get("KITH_BIN", "build/kith")
PATIENCE = 30  # seconds that something may take on a busy machine; nothing here asserts a duration


@pytest.fixture
def server():
    """server(stats): a toy whose /v1/stats says that; a function to be called, or bytes as they are."""
    running = []

    def start(stats, status=200, key=None):
        class Handler(http.server.BaseHTTPRequestHandler):
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def do_GET(self):
                allowed = key is None or self.headers.get("Authorization") == "Bearer " + key
                body = stats() if callable(stats) else stats
                self.send_response(404 if self.path != "/v1/stats" else status if allowed else 401)
                self.end_headers()
                self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        toy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        toy.daemon_threads = True
        running.append(toy)
        threading.Thread(target=toy.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return f"http://127.0.0.1:{toy.server_address[1]}"

    yield start
    for toy in running:
        toy.shutdown()
        toy.server_close()


def kith(*arguments, code=0):
    done = subprocess.run([KITH, "autoscale", *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def look(*arguments):
    return json.loads(kith("--json", *arguments).stdout)


def stats(busy=0.3, queue=0, p99_ms=5):
    return {"busy": busy, "queue": queue, "p99_ms": p99_ms, "calls_per_s": 1, "collections": []}


# ---- One look


@pytest.mark.parametrize("said, options, desired", [
    ([stats(busy=0.6)] * 2, [], 2),
    ([stats(busy=0.9)] * 2, [], 3),
    ([stats(busy=0.9), stats(busy=0.3)], [], 2),
    ([stats(busy=0.1)] * 2, [], 1),
    ([stats(busy=0.1)] * 2, ["--min", "2"], 2),
    ([stats(busy=1)] * 2, ["--max", "3"], 3),
    ([stats(busy=0.9)] * 2, ["--busy", "0.9"], 2),
    ([stats(busy=0.3, queue=40)] * 2, [], 8),
    ([stats(busy=0.3, queue=40)] * 2, ["--queue", "0"], 1),
    ([stats(busy=0.3, p99_ms=30)] * 2, ["--p99", "20ms"], 3),
    ([stats(busy=0.3, p99_ms=10), stats(busy=0.3, p99_ms=100)], ["--p99", "20ms"], 4),
    ([stats(busy=0.6, p99_ms=None)], ["--p99", "20ms"], 1),
])
def test_what_one_look_says(server, said, options, desired):
    told = look(*[server(one) for one in said], *options)
    assert told["desired"] == desired and told["servers"] == told["asked"] == len(said)
    assert told["busy"] == pytest.approx(sum(one["busy"] for one in said) / len(said))


def test_for_people(server):
    out = kith(server(stats(busy=0.9))).stdout
    assert out.startswith("2  servers are busier than they should be (1 of 1 answer, busy 90 %")


def test_who_does_not_answer_is_left_out(server):
    done = kith("--json", server(stats(busy=0.6)), server(b"", 500), "http://127.0.0.1:1", server(b"{}"), server(b"no"))
    told = json.loads(done.stdout)
    assert told["servers"] == 1 and told["asked"] == 5 and told["desired"] == 1 and "left out" in done.stderr
    assert "no server answers" in kith("http://127.0.0.1:1", code=5).stderr


def test_keys(server, tmp_path):
    file = tmp_path / "key"
    file.write_text("secret\n")
    url = server(stats(), key="secret")
    assert look(url, "--key-file", file)["servers"] == 1
    assert "--key-file" in kith(url, code=5).stderr
    file.write_text("two words\n")
    assert "no key" in kith(url, "--key-file", file, code=3).stderr


@pytest.mark.parametrize("arguments, says", [
    ([], "URLs"),
    (["http://a", "--simulate", "x"], "not at servers"),
    (["http://127.0.0.1:1", "--busy", "0"], "utilisation"),
    (["http://127.0.0.1:1", "--min", "5", "--max", "4"], "min <= max"),
    (["https://127.0.0.1:1"], "TLS"),
])
def test_refused(arguments, says):
    assert says in kith(*arguments, code=2).stderr


# ---- Again and again


def test_the_figure_for_who_asks(server):
    now = {"busy": 0.6}
    url = server(lambda: stats(busy=now["busy"]))
    process = subprocess.Popen([KITH, "autoscale", url, "--port", "0", "--interval", "1s"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    try:
        port = int(re.search(r"port (\d+)", process.stderr.readline().decode()).group(1))

        def get(path):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode()
            connection.close()
            return answer.status, body

        def wait_for(desired):
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end and json.loads(get("/")[1])["desired"] != desired:
                time.sleep(0.05)
            assert json.loads(get("/")[1])["desired"] == desired

        wait_for(1)
        assert get("/readyz")[0] == 200 and get("/livez")[0] == 200 and get("/nothing")[0] == 404
        now["busy"] = 1
        wait_for(2)
        now["busy"] = 0.1
        status, body = get("/metrics")
        assert status == 200 and "\nkith_desired_replicas 2\n" in body and "# TYPE kith_desired_replicas gauge" in body
        looks = json.loads(get("/")[1])
        assert looks["desired"] == 2  # not fewer at once
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        process.stdout.close()
        process.stderr.close()


# ---- The simulator


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """A day in minutes, with a burst at noon."""
    file = tmp_path_factory.mktemp("autoscale") / "day.csv"
    lines = ["time,calls"]
    for minute in range(1440):
        calls = 300 * (1 + 0.8 * math.sin(minute / 1440 * 6.283)) * (5 if 720 <= minute < 740 else 1)
        lines.append(f"{60 * minute},{calls:.0f}")
    file.write_text("\n".join(lines))
    return file


def simulate(day, *options):
    settings = ("--service-time", "200ms", "--p99", "1s", "--max", "20")
    return json.loads(kith("--simulate", day, "--json", *settings, *options).stdout)


def test_simulated_day(day):
    told = simulate(day)
    scale, oracle, mean, peak = told["runs"]
    assert told["hours"] == pytest.approx(24) and scale["calls"] == told["calls"] > 400000
    assert oracle["server_hours"] <= scale["server_hours"] < peak["server_hours"] / 2
    assert scale["flaps"] <= 1 and peak["changes"] == 0
    assert (scale["late"] + scale["refused"]) / scale["calls"] < 0.02
    assert mean["late"] + mean["refused"] > 2 * (scale["late"] + scale["refused"])
    assert simulate(day) == told  # the same file, the same figures
    assert simulate(day, "--fixed", "3")["runs"][2]["most"] == 3


def test_simulated_picture(day, tmp_path):
    picture = tmp_path / "day.svg"
    table = kith("--simulate", day, "--service-time", "200ms", "--svg", picture).stdout
    assert table.splitlines()[0].startswith("servers") and "autoscale" in table
    text = picture.read_text()
    assert text.startswith("<svg") and "an oracle" in text and "NaN" not in text


def test_trace_of_the_generator(tmp_path):
    generator = pathlib.Path(KITH).parent / "bench" / "kith-traffic"
    if not generator.exists():
        pytest.skip("kith-traffic was not built")
    trace = tmp_path / "hour.trace"
    subprocess.run([generator, "generate", "-o", trace, "--days", "0.05", "--rate", "5", "--items", "1000"], check=True,
                   capture_output=True)
    described = subprocess.run([generator, "describe", trace, "--json"], check=True, capture_output=True)
    summary = json.loads(described.stdout)
    told = json.loads(kith("--simulate", trace, "--json", "--times", "3").stdout)
    queries = sum(n for kind, n in summary["kinds"].items() if kind.startswith("query"))
    assert told["calls"] == 3 * queries


def test_bad_traffic(tmp_path):
    file = tmp_path / "x"
    for text, says in (("", "no calls"), ("0,1\n-5,1\n", "line 2 is earlier"), ("a\nb\n", "line 2 is not")):
        file.write_text(text)
        assert says in kith("--simulate", file, code=3).stderr
    kith("--simulate", tmp_path / "none", code=5)
