# SPDX-License-Identifier: Apache-2.0
"""A front before backends that are slow, dead, flapping, mad or in the middle of a sentence. The backends are toys of
this process, which do what a test says and remember what they were asked; in the end there are real ones."""
import collections
import http.client
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

KITH = os.environ.get("KITH_BIN", "build/kith")
PATIENCE = 30  # seconds that something may take on a busy machine; nothing here asserts a duration


class Backend:
    """A toy on a port of its own. `behave` is called with the handler and the body, and answers; `ready` is /readyz."""

    def __init__(self, behave=None, port=0):
        self.ready = True
        self.behave = behave or (lambda handler, body: handler.reply(200, str(self.port).encode()))
        self.seen = []
        self.gone = threading.Event()
        self.lock = threading.Lock()
        self.open = set()
        backend = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                super().setup()
                with backend.lock:
                    backend.open.add(self.connection)

            def finish(self):
                with backend.lock:
                    backend.open.discard(self.connection)
                try:
                    super().finish()
                except OSError:
                    pass

            def log_message(self, *_):
                pass

            def reply(self, status, body, **headers):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path == "/readyz":
                    return self.reply(200 if backend.ready else 503, b"")
                with backend.lock:
                    backend.seen.append((self.command, self.path, dict(self.headers), body))
                try:
                    backend.behave(self, body)
                except OSError:
                    backend.gone.set()
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = any

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def stop(self):
        """As a crash would: the port is closed, and so is every connection."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        with self.lock:
            for connection in self.open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


class Front:
    def __init__(self, *options, log):
        self.log = log
        with open(log, "wb") as stderr:
            self.process = subprocess.Popen([KITH, "serve", "--port", "0", *options], stdout=subprocess.PIPE,
                                            stderr=stderr)
        line = self.process.stdout.readline().decode()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, (line, pathlib.Path(log).read_text())
        self.port = int(found.group(1))

    def call(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def get(self, path="/v1/collections/shop", **headers):
        return self.call("GET", path, headers=headers)

    def metrics(self):
        text = self.get("/metrics")[1].decode()
        return {m.group(1): float(m.group(2)) for m in re.finditer(r"^(kith_(?:backend|fleet)\S*) (\S+)$", text, re.M)}

    def wait_until(self, true):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if true(self.metrics()):
                return
            time.sleep(0.05)
        raise AssertionError(f"never came true: {self.metrics()}\n{pathlib.Path(self.log).read_text()}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, pathlib.Path(self.log).read_text()
        self.process.stdout.close()


@pytest.fixture
def made():
    """What a test starts: made.backend(...), made.front(...)."""
    things = []

    class Made:
        @staticmethod
        def backend(behave=None, port=0):
            things.append(Backend(behave, port))
            return things[-1]

    yield Made, things
    for thing in reversed(things):
        thing.stop()


@pytest.fixture
def start(made, tmp_path):
    _, things = made

    def start(*options):
        things.append(Front(*options, log=tmp_path / f"front{len(things)}.log"))
        return things[-1]

    return start


@pytest.fixture
def backend(made):
    return made[0].backend


def up(of):
    return f'kith_backend_up{{backend="{of.url}"}}'


def calls(of, outcome):
    return f'kith_backend_calls_total{{backend="{of.url}",outcome="{outcome}"}}'


def both(*backends):
    return "--backends=" + ",".join(one.url for one in backends)


# ---- What is passed on


def test_everything_that_matters_is_passed_on(backend, start):
    def behave(handler, body):
        handler.reply(404, b'{"error":{"status":404,"message":"No."}}', Content_Type="application/json", ETag='"e"',
                      Retry_After="7", Location="/there", Cache_Control="no-store")

    one = backend(behave)
    front = start(both(one))
    status, body, headers = front.call("PUT", "/v1/collections/a%20b?x=1&y=%2F", b"\x00\xff" * 50000, {
        "Content-Type": "application/x-ndjson", "Authorization": "Bearer s", "api-key": "k", "Accept": "a/b",
        "traceparent": "00-1-2-01"})
    assert (status, body) == (404, b'{"error":{"status":404,"message":"No."}}')
    assert headers["ETag"] == '"e"' and headers["Retry-After"] == "7" and headers["Location"] == "/there"
    assert headers["Content-Type"] == "application/json" and headers["Cache-Control"] == "no-store"
    method, path, seen, sent = one.seen[0]
    assert (method, path, sent) == ("PUT", "/v1/collections/a%20b?x=1&y=%2F", b"\x00\xff" * 50000)
    assert seen["Authorization"] == "Bearer s" and seen["api-key"] == "k" and seen["Accept"] == "a/b"
    assert seen["Content-Type"] == "application/x-ndjson" and seen["traceparent"] == "00-1-2-01"
    assert seen["Host"] == one.url.removeprefix("http://") and 0 < int(seen["Kith-Timeout-Ms"]) <= 10000


def test_answers_in_chunks_and_up_to_the_end(backend, start):
    def chunked(handler, body):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for piece in (b"a" * 100000, b"b" * 70000):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n")

    def closing(handler, body):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(b"c" * 200000)
        handler.close_connection = True

    one = backend(chunked)
    front = start(both(one))
    assert front.get()[1] == b"a" * 100000 + b"b" * 70000
    one.behave = closing
    assert front.get()[1] == b"c" * 200000


def test_connections_are_kept(backend, start):
    one = backend()
    front = start(both(one))
    for _ in range(50):
        assert front.get()[0] == 200
    assert front.metrics()[f'kith_backend_connections{{backend="{one.url}"}}'] <= 2  # one for calls, one for probes


def test_round_robin_is_even(backend, start):
    some = [backend() for _ in range(3)]
    front = start(both(*some), "--policy", "round-robin", "--hedges", "0")
    answers = collections.Counter(front.get()[1] for _ in range(60))
    assert sorted(answers.values()) == [20, 20, 20]


# ---- Writes


def test_writes_are_refused_by_a_front_of_several(backend, start):
    some = [backend() for _ in range(2)]
    front = start(both(*some))
    for method, path in (("PUT", "/v1/collections/x"), ("POST", "/v1/collections/x/points"),
                         ("DELETE", "/collections/x")):
        status, body, _ = front.call(method, path, b"{}")
        assert status == 403 and b"--write-to" in body
    assert not some[0].seen and not some[1].seen


def test_writes_go_where_they_are_told(backend, start):
    some = [backend() for _ in range(2)]
    front = start(both(*some), "--write-to", some[1].url)
    for _ in range(10):
        assert front.call("POST", "/v1/collections/x/points", b"{}")[1] == str(some[1].port).encode()
        assert front.get("/v1/jobs/1")[1] == str(some[1].port).encode()
    assert not some[0].seen


def test_a_write_is_never_sent_twice(backend, start):
    def breaks(handler, body):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        handler.close_connection = True

    some = [backend(breaks), backend()]
    front = start(both(*some), "--write-to", some[0].url)
    status, body, _ = front.call("POST", "/v1/collections/x/points", b"{}")
    assert status == 502 and b"not known" in body and some[0].url.encode() in body
    assert len(some[0].seen) == 1 and not some[1].seen


# ---- Backends in trouble


def test_a_dead_backend_is_passed_over_and_comes_back(made, backend, start):
    dead, alive = backend(), backend()
    front = start(both(dead, alive))
    made[1].remove(dead)
    dead.stop()
    for _ in range(60):
        assert front.get()[1] == str(alive.port).encode()
    front.wait_until(lambda m: m[up(dead)] == 0)
    again = backend(port=dead.port)
    front.wait_until(lambda m: m[up(dead)] == 1)
    end = time.monotonic() + PATIENCE
    while not again.seen and time.monotonic() < end:
        front.get()
    assert again.seen


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of i",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nhalf of a chunk",
    b"HTTP/1.1 2",
    b"",
    b"220 mail.example ESMTP\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20000,
])
def test_a_read_whose_answer_is_broken_is_asked_of_another(backend, start, answer):
    def breaks(handler, body):
        handler.wfile.write(answer)
        handler.close_connection = True

    mad, alive = backend(breaks), backend()
    front = start(both(mad, alive), "--policy", "round-robin", "--hedges", "0")
    for _ in range(6):
        assert front.call("POST", "/v1/collections/shop/query", b"{}")[1] == str(alive.port).encode()
    assert len(mad.seen) == 3


def test_all_broken_is_told(backend, start):
    def breaks(handler, body):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        handler.close_connection = True

    some = [backend(breaks) for _ in range(2)]
    front = start(both(*some))
    status, body, _ = front.get()
    message = json.loads(body)["error"]["message"]
    assert status == 502 and "broke off" in message and message.endswith(".")
    assert front.get("/collections/x")[0] == 502


def test_nobody_there(backend, start, made):
    some = [backend() for _ in range(2)]
    front = start(both(*some))
    for one in some:
        made[1].remove(one)
        one.stop()
    front.wait_until(lambda m: m[up(some[0])] == 0 and m[up(some[1])] == 0)
    status, body, _ = front.get()
    assert status == 502 and b"cannot be reached" in body
    assert front.metrics()["kith_fleet_panics_total"] > 0


def test_not_ready_gets_no_calls(backend, start):
    resting, alive = backend(), backend()
    front = start(both(resting, alive), "--policy", "round-robin")
    resting.ready = False
    front.wait_until(lambda m: m[up(resting)] == 0)
    before = len(resting.seen)
    for _ in range(20):
        assert front.get()[1] == str(alive.port).encode()
    assert len(resting.seen) == before


def test_a_front_without_a_fit_backend_is_not_ready(backend, start):
    one, two = backend(), backend()
    front = start(both(one, two))
    front.wait_until(lambda metrics: metrics[up(one)] and metrics[up(two)])
    assert front.get("/readyz")[0] == 200
    one.ready = False
    front.wait_until(lambda metrics: not metrics[up(one)])
    assert front.get("/readyz")[0] == 200
    two.ready = False
    front.wait_until(lambda metrics: not metrics[up(two)])
    status, text, _ = front.get("/readyz")
    assert status == 503 and b"none of the backends" in text
    assert front.get("/livez")[0] == 200
    assert front.get()[0] == 200  # it is tried: they may be thought unfit wrongly
    one.ready = True
    front.wait_until(lambda metrics: metrics[up(one)])
    assert front.get("/readyz")[0] == 200


def test_failing_calls_put_out(backend, start):
    failing, alive = backend(lambda handler, body: handler.reply(500, b"no")), backend()
    front = start(both(failing, alive), "--policy", "round-robin", "--hedges", "0")
    for _ in range(40):
        front.get()
    # Five failures in a row put it out; it is ready, and may have come back for another five.
    assert front.metrics()[f'kith_backend_ejections_total{{backend="{failing.url}"}}'] >= 1
    assert front.metrics()[calls(failing, "bad")] < 20


def test_flapping(backend, start):
    def flap(handler, body):
        if len(flapping.seen) // 7 % 2:
            handler.close_connection = True
        else:
            handler.reply(200, b"up")

    flapping, alive = backend(), backend()
    flapping.behave = flap
    front = start(both(flapping, alive), "--policy", "round-robin", "--retries", "1", "--hedges", "0")
    assert all(front.get()[0] == 200 for _ in range(200))


# ---- Budgets


def test_retries_are_paid_from_a_budget(backend, start):
    busy, alive = backend(lambda handler, body: handler.reply(503, b"later", Retry_After="9")), backend()
    front = start(both(busy, alive), "--policy", "round-robin", "--hedges", "0")
    answers = collections.Counter(front.get()[0] for _ in range(100))
    metrics = front.metrics()
    assert answers[503] > 0 and answers[200] > 50
    assert metrics["kith_fleet_retries_total"] <= 0.2 * 100 + 3 and metrics["kith_fleet_retries_refused_total"] > 0
    assert metrics[up(busy)] == 1  # too busy is not ill
    status, body, headers = next(a for a in iter(front.get, None) if a[0] == 503)
    assert body == b"later" and headers["Retry-After"] == "9"  # the backend's own words


def test_no_retries(backend, start):
    busy, alive = backend(lambda handler, body: handler.reply(503, b"later")), backend()
    front = start(both(busy, alive), "--policy", "round-robin", "--hedges", "0", "--retries", "0")
    assert collections.Counter(front.get()[0] for _ in range(20)) == {200: 10, 503: 10}


def test_a_slow_answer_is_hedged_and_the_first_wins(backend, start):
    release = threading.Event()

    def slow(handler, body):
        handler.connection.settimeout(PATIENCE)
        try:
            if handler.connection.recv(1) == b"":  # the front closes what it does not wait for
                slow_one.gone.set()
        except OSError:
            slow_one.gone.set()
        release.set()
        handler.close_connection = True

    slow_one, alive = backend(), backend()
    front = start(both(slow_one, alive), "--policy", "round-robin", "--hedges", "1", "--retries", "0")
    for _ in range(60):  # what is usual has to be known first
        assert front.get()[0] == 200
    slow_one.behave = slow
    for _ in range(4):
        assert front.get()[1] == str(alive.port).encode()
    assert slow_one.gone.wait(PATIENCE)
    metrics = front.metrics()
    assert metrics["kith_fleet_hedges_won_total"] >= 1
    assert metrics[calls(slow_one, "stopped")] >= 1


# ---- Time, and clients that go


def test_deadline(backend, start):
    release = threading.Event()
    hanging = backend(lambda handler, body: release.wait(PATIENCE))
    front = start(both(hanging))
    status, body, _ = front.get(**{"Kith-Timeout-Ms": "200"})
    release.set()
    assert status == 504 and b"in time" in body and hanging.url.encode() in body
    assert 0 < int(hanging.seen[0][2]["Kith-Timeout-Ms"]) <= 200


def test_a_client_that_goes_is_not_waited_for(backend, start):
    def hang(handler, body):
        handler.connection.settimeout(PATIENCE)
        if handler.connection.recv(1) == b"":
            hanging.gone.set()
        handler.close_connection = True

    hanging = backend(hang)
    front = start(both(hanging))
    with socket.create_connection(("127.0.0.1", front.port)) as client:
        client.sendall(b"GET /v1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        end = time.monotonic() + PATIENCE
        while not hanging.seen and time.monotonic() < end:
            time.sleep(0.01)
    assert hanging.gone.wait(PATIENCE)


# ---- The list of backends


def test_the_file_is_read_again(backend, start, tmp_path):
    first, second = backend(), backend()
    file = tmp_path / "backends"
    file.write_text(f"# ours\n{first.url}\n")
    front = start("--backends-file", str(file))
    assert front.get()[1] == str(first.port).encode()
    file.write_text(f"{second.url}\n")
    front.process.send_signal(signal.SIGHUP)
    front.wait_until(lambda m: up(second) in m and up(first) not in m)
    assert front.get()[1] == str(second.port).encode()
    file.write_text("nonsense\n")
    front.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + PATIENCE
    while "stay as they were" not in pathlib.Path(front.log).read_text() and time.monotonic() < end:
        time.sleep(0.02)
    assert "stay as they were" in pathlib.Path(front.log).read_text()
    assert front.get()[1] == str(second.port).encode()


def test_reloads_under_load(backend, start, tmp_path):
    some = [backend() for _ in range(3)]
    file = tmp_path / "backends"
    file.write_text("\n".join(one.url for one in some))
    front = start("--backends-file", str(file))
    bad, stop = [], threading.Event()

    def load():
        while not stop.is_set():
            status = front.get()[0]
            if status != 200:
                bad.append(status)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(10):
        file.write_text("\n".join(one.url for i, one in enumerate(some) if i != turn % 3))
        front.process.send_signal(signal.SIGHUP)
        time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join()
    assert not bad


# ---- Real servers


def test_real_servers(start, made, tmp_path):
    def kith(*arguments):
        subprocess.run([KITH, *map(str, arguments)], check=True, capture_output=True, timeout=60)

    items = tmp_path / "items.jsonl"
    items.write_text("\n".join(json.dumps({"id": i, "vector": [i, i * i % 97, 5]}) for i in range(200)))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    kith("create", tmp_path / "a" / "shop", "--dim", "3")
    kith("add", tmp_path / "a" / "shop", items)
    kith("snapshot", tmp_path / "a" / "shop", tmp_path / "b" / "shop")
    servers = [start(str(tmp_path / name)) for name in ("a", "b")]
    urls = [f"http://127.0.0.1:{one.port}" for one in servers]
    front = start("--backends", ",".join(urls), "--policy", "round-robin", "--write-to", urls[0])

    def send(of, path, body):
        status, answer, _ = of.call("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        assert status == 200, answer
        return json.loads(answer)

    def ask(of, k):
        return send(of, "/v1/collections/shop/query", {"vector": [7, 49, 5], "k": k})["results"]

    assert ask(front, 5) == ask(front, 5) == ask(servers[0], 5) == ask(servers[1], 5)
    # Qdrant's API too, and a write where it was told to go.
    found = send(front, "/collections/shop/points/query", {"query": [7, 49, 5], "limit": 3})
    assert len(found["result"]["points"]) == 3
    send(front, "/v1/collections/shop/points", {"points": [{"id": 1000, "vector": [1, 2, 3]}]})
    assert [one.get("/v1/collections/shop/points/1000")[0] for one in servers] == [200, 404]
    told = subprocess.run([KITH, "autoscale", *urls, "--json"], check=True, capture_output=True, timeout=60)
    assert json.loads(told.stdout)["servers"] == 2
    # One is killed in the middle of it: nobody notices.
    servers[1].process.kill()
    servers[1].process.wait()
    servers[1].process.stdout.close()
    made[1].remove(servers[1])
    for k in range(1, 30):
        assert len(ask(front, k)[0]) == k


# ---- The command line


@pytest.mark.parametrize("options, says", [
    ([], "FOLDER"),
    (["shop", "--backends", "http://127.0.0.1:1"], "no folder"),
    (["--backends", "http://127.0.0.1:1", "--keys", "k"], "--keys is for the backends"),
    (["--backends", "http://127.0.0.1:1", "--backends-file", "f"], "exclude"),
    (["shop", "--write-to", "http://127.0.0.1:1"], "--write-to needs --backends"),
    (["--backends", "http://127.0.0.1:1", "--hedges", "2"], "0 to 1"),
])
def test_refused_command_lines(options, says):
    done = subprocess.run([KITH, "serve", *options], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2 and says in done.stderr


@pytest.mark.parametrize("options, says", [
    (["--backends", "https://127.0.0.1:1"], "TLS"),
    (["--backends", "http://127.0.0.1:1,http://127.0.0.1:2", "--write-to", "http://127.0.0.1:3"], "none of the"),
    (["--backends-file", "/nowhere/at/all"], "/nowhere/at/all"),
    (["--backends", "http://127.0.0.1:1", "--address", "0.0.0.0"], "--insecure"),
])
def test_refused_backends(options, says):
    done = subprocess.run([KITH, "serve", "--port", "0", *options], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode != 0 and says in done.stderr
