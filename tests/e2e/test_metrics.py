# SPDX-License-Identifier: Apache-2.0
"""Metrics of `kith serve`: what promtool says of them, who may see them, and whether a real Prometheus that scrapes the
server answers every query of the alerts and of the dashboard in deploy/. Standard library only.

Prometheus is Debian's package; its own service, where that runs, is not touched: the one here has its port and its
folder."""
import json
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

from serving import Server
from test_cli import ROOT, good

DEPLOY = ROOT / "deploy"
DIM = 16


def needs(program):
    """A mark for tests that need a program of the package prometheus."""
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed: apt install prometheus")


class Watched(Server):
    def call(self, path, body=None, method=None, key=None, **headers):
        """Status, text, and the reply's headers."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        status, answered, text = self.ask(method or ("GET" if body is None else "POST"), path, body, key, names)
        return status, text.decode(), answered

    def good(self, path, body=None, method=None, **headers):
        status, text, _ = self.call(path, body, method, **headers)
        assert status in (200, 201), text
        return json.loads(text)

    def metrics(self, **headers):
        status, text, _ = self.call("/metrics", **headers)
        assert status == 200, text
        return text


def value(text, head):
    found = re.search("^" + re.escape(head) + r" (\S+)$", text, re.MULTILINE)
    return float(found.group(1)) if found else None


def points(count, seed):
    rng = random.Random(seed)
    return [{"id": seed * 100000 + i, "vector": [rng.gauss(0, 1) for _ in range(DIM)], "payload": {"user": f"ann-{i}"}}
            for i in range(count)]


def fill(server, name="shop"):
    made = {"vectors": [{"name": "", "dim": DIM}], "fields": [{"name": "user", "type": "tag"}], "segment_field": "user"}
    server.good(f"/v1/collections/{name}", made, "PUT")
    server.good(f"/v1/collections/{name}/points", {"points": points(500, 1)})


def query(server, name="shop", **more):
    vector = [random.gauss(0, 1) for _ in range(DIM)]
    return server.good(f"/v1/collections/{name}/query", {"vector": vector, "k": 5, **more})


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Watched(tmp_path_factory.mktemp("shelf"), "--recall-share", 1, "--log", "json", "--log-level", "debug") as it:
        fill(it)
        yield it


def wait_for(what, seconds=30):
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.1)
    return found


# ---- What is counted -------------------------------------------------------------------------------------------------


@needs("promtool")
def test_promtool_finds_nothing_to_complain_of(server):
    query(server)
    for accept in ("text/plain", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"):
        text = server.metrics(Accept=accept)
        if "openmetrics" in accept:
            assert text.endswith("# EOF\n")
            continue
        checked = subprocess.run(["promtool", "check", "metrics"], input=text, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, check=False)
        assert checked.returncode == 0 and checked.stdout == "", checked.stdout


def test_both_formats_have_the_same_series(server):
    _, plain, headers = server.call("/metrics")
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    _, opened, headers = server.call("/metrics", Accept="application/openmetrics-text")
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")

    def series(text):
        return {line.rsplit(" ", 1)[0] for line in text.splitlines() if not line.startswith("#")}

    assert {name for name in series(plain) if "metrics" not in name} == \
        {name for name in series(opened) if "metrics" not in name}


def test_calls_and_queries_are_counted(server):
    head = 'kith_requests_total{op="query",collection="shop",status="%d"}'
    before = server.metrics()
    for _ in range(7):
        query(server)
    assert server.call("/v1/collections/shop/query", {"vector": [1]})[0] == 400
    assert server.call("/v1/collections/nowhere-at-all/query", {"vector": [1]})[0] == 404
    after = server.metrics()
    assert value(after, head % 200) - (value(before, head % 200) or 0) == 7
    assert value(after, head % 400) - (value(before, head % 400) or 0) == 1
    assert value(after, "kith_queries_total") - value(before, "kith_queries_total") == 7
    assert "nowhere" not in after
    wait_for(lambda: value(server.metrics(), 'kith_items{collection="shop"}'))


def test_no_label_says_who_asks(server):
    server.good("/v1/collections/shop/profiles/secret-bob/events", {"events": [{"item": 100001, "kind": "like"}]})
    query(server, segment="ann-3")
    query(server, user="secret-eve")
    text = server.metrics()
    assert "ann" not in text and "secret" not in text


def test_recall_is_measured_while_it_is_written_to(server):
    checked = 'kith_recall_checked_total{collection="shop"}'
    before = value(server.metrics(), checked) or 0
    for i in range(20):
        query(server, exact=True)
        server.good("/v1/collections/shop/points", {"points": points(1, 50 + i)})
    wait_for(lambda: (value(server.metrics(), checked) or 0) >= before + 5)
    text = server.metrics()
    assert value(text, 'kith_recall_ratio{collection="shop"}') == 1
    assert 0.5 < value(text, 'kith_recall_low_ratio{collection="shop"}') < 1
    assert value(text, 'kith_recall_samples_total{outcome="failed"}') == 0


def test_the_log_says_what_it_should_and_no_more(server):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    body = {"vector": [0.6251953125] * DIM, "k": 3, "filter": 'user = "confidential"'}
    status, _, headers = server.call("/v1/collections/shop/query?secret=1", body, traceparent=trace,
                                     X_Request_Id="r-99", key="hidden")
    assert status in (200, 400)
    assert headers["X-Request-Id"] == "r-99" and headers["traceparent"] == trace
    line = wait_for(lambda: next((line for line in server.log().splitlines() if "r-99" in line), None))
    said = json.loads(line)
    assert said["trace_id"] == trace[3:35] and said["status"] == status
    assert said["path"] == "/v1/collections/shop/query"
    for never in ("0.6251953125", "confidential", "secret=1", "hidden"):
        assert never not in server.log()
    assert all(json.loads(each) for each in server.log().splitlines())


def test_health(server):
    for path in ("/livez", "/healthz", "/readyz"):
        status, _, headers = server.call(path)
        assert status == 200 and headers["Content-Type"].startswith("text/plain")


def test_top_shows_the_same(server):
    query(server)
    said = json.loads(good("top", server.url, "--json").stdout)
    assert [each["name"] for each in said["collections"]] == ["shop"]
    assert "shop" in good("top", server.url).stdout


@pytest.fixture(scope="module")
def front(server):
    """One that forwards to the server."""
    with Watched(f"--backends={server.url}") as it:  # in place of a folder
        yield it


# ---- Who may see them ------------------------------------------------------------------------------------------------


def make_key(path, name, *options):
    """Its secret: the first word of its own line."""
    out = good("key", name, "--role", "read", "--keys", path, *options).stdout
    return re.search(r"\S{40,}", out).group(0)


def test_metrics_take_a_key_that_may_see_all(tmp_path):
    keys = tmp_path / "keys.json"
    whole = make_key(keys, "prometheus")
    tenant = make_key(keys, "tenant", "--segment", "t-1")
    (tmp_path / "shelf").mkdir()
    with Watched(tmp_path / "shelf", "--keys", keys) as it:
        wait_for(lambda: it.call("/readyz")[0] == 200)
        for path in ("/livez", "/healthz"):
            assert it.call(path)[0] == 200
        assert it.call("/metrics")[0] == 401
        assert it.call("/metrics", key="nobody's")[0] == 401
        assert it.call("/metrics", key=tenant)[0] == 403
        assert "kith_build_info" in it.metrics(key=whole)
        (tmp_path / "key").write_text(whole + "\n")
        assert "collections" in good("top", it.url, "--key-file", tmp_path / "key", "--json").stdout


# ---- A real Prometheus -----------------------------------------------------------------------------------------------


def expressions():
    """All that deploy/ asks a Prometheus: (where, expression, whether it must have an answer under load)."""
    # What there is nothing to say of here: nothing is built, no second generation, no trouble.
    silent = ("build_progress", "generation_timestamp", "trouble", "== 1")
    found = []
    dashboard = json.loads((DEPLOY / "grafana" / "kith.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            text = target["expr"].replace("$__rate_interval", "1m")
            text = text.replace("$instance", ".*").replace("$collection", ".*")
            assert "$" not in text, text
            found.append((panel["title"], text, not any(word in text for word in silent)))
    rules = (DEPLOY / "prometheus" / "kith.rules.yml").read_text()
    for alert, text in re.findall(r"- alert: (\w+)\n +expr: (?:>-\n)?((?:.|\n)*?)\n +(?:for|labels):", rules):
        found.append((alert, " ".join(text.split()), False))
    return found


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Prometheus:
    def __init__(self, folder, *targets):
        text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
        assert "127.0.0.1:6333" in text and "scrape_interval: 15s" in text
        text = text.replace("127.0.0.1:6333", '", "'.join(targets)).replace("interval: 15s", "interval: 1s")
        (folder / "prometheus.yml").write_text(text)
        shutil.copy(DEPLOY / "prometheus" / "kith.rules.yml", folder)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = open(folder / "prometheus.log", "w", encoding="utf-8")
        self.process = subprocess.Popen(["prometheus", f"--config.file={folder}/prometheus.yml",
                                         f"--storage.tsdb.path={folder}/tsdb",
                                         f"--web.listen-address=127.0.0.1:{port}"],
                                        stdout=self.log, stderr=self.log, env={**os.environ, "GOMAXPROCS": "1"})
        wait_for(self.is_ready, 60)

    def is_ready(self):
        assert self.process.poll() is None, "prometheus ended: " + pathlib.Path(self.log.name).read_text()
        try:
            with urllib.request.urlopen(self.url + "/-/ready", timeout=5) as reply:
                return reply.status == 200
        except OSError:
            return False

    def get(self, path, **arguments):
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(arguments)}", timeout=20) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as refused:
            pytest.fail(f"{arguments}: {refused.read().decode()}")

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
            self.log.close()


@needs("promtool")
def test_rules_and_configuration_are_valid():
    for command in (["check", "rules", "kith.rules.yml"], ["check", "config", "prometheus.yml"]):
        checked = subprocess.run(["promtool", *command], cwd=DEPLOY / "prometheus", stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, check=False)
        assert checked.returncode == 0, checked.stdout


def test_every_metric_that_is_asked_for_is_documented_and_there(server, front):
    documented = (ROOT / "docs" / "monitoring.md").read_text()
    there = set(re.findall(r"^# TYPE (\w+)", server.metrics() + front.metrics(), re.MULTILINE))
    for name in there:
        assert name in documented or name.startswith("process_"), name
    for where, text, _ in expressions():
        for name in re.findall(r"\b(?:kith|process)_\w+", text):
            assert name in there or re.sub(r"_(bucket|sum|count)$", "", name) in there, (where, name)


@needs("prometheus")
def test_a_real_prometheus_answers_all_queries(server, front, tmp_path):
    asked = expressions()
    assert len(asked) > 40
    stop = threading.Event()

    def load():
        while not stop.wait(0.05):
            query(server)
            query(front)
            server.call("/v1/collections/shop/query", {"vector": [1]})

    loader = threading.Thread(target=load)
    prometheus = Prometheus(tmp_path, f"127.0.0.1:{server.port}", f"127.0.0.1:{front.port}")
    try:
        loader.start()
        # Rates need two scrapes, of series that were there before.
        wait_for(lambda: prometheus.get("/api/v1/query", query="max(rate(kith_queries_total[1m])) > 0")["result"])
        wait_for(lambda: prometheus.get("/api/v1/query", query="kith_recall_ratio")["result"])
        targets = prometheus.get("/api/v1/targets")["activeTargets"]
        assert [(each["health"], each["lastError"]) for each in targets] == [("up", "")] * 2

        def lacking():
            return [(where, text) for where, text, full in asked
                    if not prometheus.get("/api/v1/query", query=text)["result"] and full]

        until = time.monotonic() + 30
        while lacking() and time.monotonic() < until:
            time.sleep(1)
        assert lacking() == []
        groups = wait_for(lambda: [group for group in prometheus.get("/api/v1/rules")["groups"]
                                   if all(rule["health"] == "ok" for rule in group["rules"])])
        assert len(groups[0]["rules"]) == (DEPLOY / "prometheus" / "kith.rules.yml").read_text().count("- alert:")
        firing = [each["labels"]["alertname"] for each in prometheus.get("/api/v1/alerts")["alerts"]
                  if each["state"] == "firing"]
        assert firing == []
    finally:
        stop.set()
        if loader.ident:
            loader.join()
        prometheus.end()
