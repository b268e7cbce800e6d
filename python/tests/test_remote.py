# SPDX-License-Identifier: Apache-2.0
"""Servers: reaching one, its collections and jobs, and connections that fail in the ways that connections do.

That a collection at a server does what one in a folder does is tried in test_collection.py and test_generations.py."""
import contextlib
import itertools
import json
import os
import pathlib
import pickle
import re
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

import numpy as np
import pytest
from serving import KITH, Server

import kith
from kith import _http, _wire

DIM = 6
NAMES = itertools.count()


@pytest.fixture
def server(server_url):
    with kith.connect(server_url) as connected:
        yield connected


@pytest.fixture
def shop(server):
    """100 items, the first three of them red."""
    made = server.create(f"remote-{next(NAMES)}", dim=DIM, fields={"color": "tag"})
    made.add(range(100), rows(100), [{"color": "red" if i < 3 else "blue"} for i in range(100)])
    yield made
    if made.name in server:
        server.drop(made.name)


def rows(count, dim=DIM):
    return np.random.default_rng(5).standard_normal((count, dim), dtype=np.float32)


# ---- Servers ---------------------------------------------------------------------------------------------------------


def test_a_server_and_its_collections(server, server_url):
    name = f"ü {next(NAMES)}%"
    assert name not in server and 5 not in server and "" not in server
    with server.create(name, vectors={"image": (4, "f16", "cosine"), "title": 2}, ids="string", fields={"user": str},
                       segment_field="user", model="m") as made:
        assert made.name == name and made.url == f"{server_url}/{urllib.parse.quote(name)}"
        assert kith.connect(made.url).name == name
        assert made.info["vectors"] == [("image", 4, "f16", "cosine"), ("title", 2, "f32", "l2")]
        assert made.info["fields"] == {"user": "tag"} and made.info["ids"] == "string" and made.info["model"] == "m"
        assert repr(made).startswith("<kith.RemoteCollection: 0 items at http://127.0.0.1:")
    assert made.closed and not server.closed and repr(made) == "<kith.RemoteCollection, closed>"
    assert name in server and name in list(server) and len(server) == len(server.collections()) >= 1
    (told,) = [one for one in server.collections() if one["name"] == name]
    assert told["items"] == 0 and told["vectors"][1] == ("title", 2, "f32", "l2")
    with pytest.raises(kith.BusyError, match=re.escape(name)):
        server.create(name, dim=2)
    with pytest.raises(kith.ArgumentError, match="needs dim="):
        server.create("x")
    server.drop(name)
    for call in (lambda: server.drop(name), lambda: server[name]):
        with pytest.raises(kith.NotFoundError, match="no collection|not there|there is no"):
            call()
    assert server.info["name"] == "kith" and server.info["version"] == kith.version and "calls_per_s" in server.stats()
    assert repr(server) == f"<kith.Server at {server_url}>"


def test_one_collection_by_its_address(server, server_url, shop):
    with kith.connect(f"{server_url}/{shop.name}") as one:
        assert isinstance(one, kith.RemoteCollection) and len(one) == 100 and one.path is None
        assert one.url == f"{server_url}/{shop.name}" == shop.url
        assert "<caption>kith.RemoteCollection" in one._repr_html_()
        again = pickle.loads(pickle.dumps(one))
        assert again[5].id == 5 and again.url == one.url
        again.close()
    for call in (lambda: one.search(rows(1)[0]), lambda: len(one), lambda: one.add([1], rows(1)), lambda: one.info,
                 lambda: pickle.dumps(one), lambda: one.__enter__(), lambda: list(one.scroll())):
        with pytest.raises(kith.ArgumentError, match="closed"):
            call()
    again.close()


@pytest.mark.parametrize("url, error, text", [
    ("127.0.0.1:6333", kith.ArgumentError, "http://host:port"), ("ftp://a/b", kith.ArgumentError, "http://host:port"),
    ("http://", kith.ArgumentError, "no address"), ("http://a:b", kith.ArgumentError, "no address"),
    ("http://a:99999", kith.ArgumentError, "no address"), ("http://me:pw@a/x", kith.ArgumentError, "key="),
    ("http://a/x/y", kith.ArgumentError, "only the name"), ("http://a/x?k=1", kith.ArgumentError, "only the name"),
    (5, TypeError, "must be a text"), ("http://127.0.0.1:1", kith.ServerError, "Connection refused")])
def test_addresses_that_are_none(url, error, text):
    with pytest.raises(error, match=text) as refusal:
        kith.connect(url)
    assert "pw" not in str(refusal.value)


def test_options_that_are_none(server_url):
    for options, text in (({"timeout": 0}, "timeout is 0"), ({"patience": -1}, "patience is -1"), ({"key": "ü"}, "key:"),
                          ({"key": "a\r\nb"}, "key:"), ({"ssl": ssl.create_default_context()}, "no https address")):
        with pytest.raises(kith.ArgumentError, match=text):
            kith.connect(server_url, **options)
    with pytest.raises(kith.NotFoundError, match="nothing-of-this-name"):
        kith.connect(f"{server_url}/nothing-of-this-name")


def test_keys(tmp_path):
    keys = tmp_path / "keys"
    made = {role: subprocess.run([KITH, "key", role, "--role", role, "--keys", str(keys)], capture_output=True, text=True,
                                 check=True).stdout.strip() for role in ("admin", "read")}
    with Server(tmp_path, "--keys", str(keys)) as started:
        with kith.connect(started.url, key=made["admin"]) as server:
            server.create("shop", dim=2).add([1], [[1, 2]])
        with kith.connect(f"{started.url}/shop", key=made["read"]) as reader:
            assert reader.search([1, 2], k=1).ids.tolist() == [1]
            with pytest.raises(kith.AccessError) as refusal:
                reader.add([2], [[1, 2]])
            assert isinstance(refusal.value, PermissionError) and made["read"] not in str(refusal.value)
        for key in (None, "wrong"):
            with pytest.raises(kith.AccessError):
                kith.connect(started.url, key=key)
        started.stop()


def test_certificates(tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "key.pem", "-out",
                    tmp_path / "cert.pem", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=IP:127.0.0.1,DNS:localhost"], check=True, capture_output=True)
    (tmp_path / "served").mkdir()
    with Server(tmp_path / "served", "--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem") as started:
        with pytest.raises(kith.ServerError, match="certificate"):
            kith.connect(started.url)
        trusting = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        with kith.connect(started.url, ssl=trusting) as server:
            shop = server.create("shop", dim=2)
            shop.add(range(500), np.arange(1000).reshape(500, 2))
            assert shop.search(np.zeros((300, 2)), k=2).ids[:, 0].tolist() == [0] * 300
            assert len(list(shop.scroll())) == 500
            with pytest.raises(kith.ArgumentError, match="ssl context"):
                pickle.dumps(shop)
        started.stop()


# ---- What goes to and fro --------------------------------------------------------------------------------------------


def test_more_than_one_call_takes(server):
    """Queries beyond 1,024 and items beyond a body are sent in portions; what comes back is one."""
    many = rows(25_000)
    with kith.Collection.create(None, dim=DIM) as local:
        local.add(range(25_000), many)
        shop = server.create(f"remote-{next(NAMES)}", dim=DIM)
        written = shop.add(range(25_000), many, [{"n": i} for i in range(25_000)])
        assert written[1:] == (25_000, 0, 0, 0) and len(shop) == 25_000 and shop[24_999].payload == {"n": 24_999}
        for options in ({}, {"versions": True, "vectors": True, "payload": True}, {"where": "n < 7", "payload": True}):
            hits = shop.search(many[:2500], k=3, **options)
            if "where" not in options:
                there = local.search(many[:2500], k=3)
                assert np.array_equal(hits.ids, there.ids) and np.array_equal(hits.distances, there.distances)
            assert hits.ids.dtype == np.int64 and hits.ids.shape == (2500, 3)
            if "payload" in options:
                assert [[body["n"] for body in bodies] for bodies in hits.payloads] == hits.ids.tolist()
            if "vectors" in options:
                assert np.array_equal(hits.vectors[""], many[hits.ids.ravel()]) and hits.versions.shape == (7500,)
        assert shop.exists(range(25_001)).sum() == 25_000 and len(shop.get(range(25_000))) == 25_000
        shop.add(105_000, many[0])
        with pytest.raises(kith.DataError, match=r"of the items from 10000 on, .*\(id 105000\): is there already"):
            shop.add(range(90_000, 110_000), many[:20_000], mode="insert")
        assert len(shop) == 35_001
        server.drop(shop.name)


def test_answers_are_those_of_a_folder(shop):
    """To the bit, raw and as JSON, with numbers and with strings, whatever the dtype."""
    queries = rows(130)[100:]
    for options in ({"dtype": "f16", "metric": "cosine"}, {"ids": "string"}, {"metric": "ip"}, {"dtype": "i8"}):
        with contextlib.ExitStack() as stack:
            local = stack.enter_context(kith.Collection.create(None, dim=DIM, **options))
            server = kith.connect(shop.url.rsplit("/", 1)[0])
            stack.callback(server.close)
            other = server.create(f"remote-{next(NAMES)}", dim=DIM, **options)
            stack.callback(server.drop, other.name)
            ids = [f"ü{i}" for i in range(100)] if "ids" in options else range(100)
            given = (rows(100) * 20).round() if options.get("dtype") == "i8" else rows(100)
            for made in (local, other):
                made.add(ids, given)
            for asked in ({}, {"versions": True}, {"vectors": True}, {"explain": True}):
                for Q in (queries, queries[0], queries[:0], queries[::2], queries.astype(np.float64), queries.tolist()):
                    here, there = local.search(Q, k=120, **asked), other.search(Q, k=120, **asked)
                    assert here.ids.dtype == there.ids.dtype and np.array_equal(here.ids, there.ids)
                    assert here.distances.tobytes() == there.distances.tobytes()
                    assert there.distances.flags.writeable and here.distances.shape == there.distances.shape
            assert all(np.array_equal(a.vector, b.vector) for a, b in zip(local.scroll(vectors=True),
                                                                         other.scroll(vectors=True), strict=True))


def test_filters_that_are_too_long_for_an_address(shop):
    where = f"color = 'red' and id in ({', '.join(map(str, range(2000)))})"
    hits = shop.search(rows(3), k=5, where=where)
    assert sorted(hits.ids[0].tolist()) == [-1, -1, 0, 1, 2] and shop.count(where) == 3


def test_plans_are_the_servers(shop):
    assert shop.search(rows(1)[0], k=1, plan="auto").ids.tolist() == [0]
    with pytest.raises(kith.UnsupportedError, match="plan='scan' is for folders"):
        shop.search(rows(1)[0], plan="scan")
    told = shop.search(rows(1)[0], k=1, explain=True).explain
    assert told["items"] == 100 and told["exact"] and told["search"]["plan"] and told["seconds"] >= 0
    assert told["batch"] >= 1 and told["waited_seconds"] >= 0


@pytest.mark.parametrize("call, text", [
    (lambda s: s.snapshot("/tmp/x"), "make_snapshot"), (lambda s: s.verify("/tmp/x"), "kith verify"),
    (lambda s: s.repair("/tmp/x"), "kith repair"), (lambda s: s.restore("/tmp/x", "/tmp/y"), "kith restore"),
    (lambda s: s.load(rows(2), resume=True), "resume="), (lambda s: s.flip(sample=5), "for folders")])
def test_what_belongs_to_folders(shop, call, text):
    with pytest.raises(kith.UnsupportedError, match=text):
        call(shop)


def test_long_work(server, shop):
    seen = []
    shop.compact(progress=lambda *told: seen.append(told))
    newest = server.jobs()[0]
    assert newest["collection"] == shop.name and newest["state"] == "done" and newest["kind"] == "compact"
    assert server.job(newest["job"])["job"] == newest["job"] and server.wait(newest["job"])["items"] == 100
    server.cancel(newest["job"])
    assert shop.info["segments"] == 1 and shop.snapshots == []
    assert shop.make_snapshot("first")["name"] == "first"
    assert [one["name"] for one in shop.snapshots] == ["first"]
    with pytest.raises(kith.NotFoundError, match="999999"):
        server.job(999_999)
    shop.event("ann", like=1)
    assert shop.warm("ann")["warmed"]


def test_many_threads(shop):
    """Each has a connection meanwhile, and they are kept."""
    failures = []

    def work(number):
        try:
            for turn in range(20):
                assert shop.search(rows(100)[turn], k=1).ids.tolist() == [turn]
                shop.update(number, payloads={"turn": turn}, merge=True)
                assert shop[number].payload["turn"] == turn
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and 1 <= len(shop._server._idle) <= 8


def test_after_a_fork(shop):
    assert len(shop) == 100
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if shop.search(rows(1)[0], k=1).ids.tolist() == [0] else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert shop.search(rows(1)[0], k=1).ids.tolist() == [0]


def test_the_guides_example(server_url):
    page = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "python.md").read_text()
    block = re.search(r"^```py\n(.*?)^```$", page, flags=re.M | re.S)[1]
    exec(block.replace("http://127.0.0.1:6333", server_url), {"kith": kith, "X": rows(1000, 48)})


# ---- Connections that fail -------------------------------------------------------------------------------------------


class Scripted:
    """A server that says to each request what it was told to; b"" closes the connection without an answer."""

    def __init__(self, *answers):
        self._answers, self.seen, self.connections = list(answers), [], 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                with connection:
                    self._talk(connection)

    def _talk(self, connection):
        file = connection.makefile("rb")
        while self._answers:
            line = file.readline()
            if not line:
                return
            length = 0
            while (header := file.readline()).strip():
                if header.lower().startswith(b"content-length:"):
                    length = int(header.split(b":")[1])
            self.seen.append((line.decode().rsplit(" ", 1)[0], file.read(length)))
            answer = self._answers.pop(0)
            if not answer:
                return
            connection.sendall(answer)
            if b"Connection: close" in answer or answer.endswith(b"CUT"):
                return

    def close(self):
        self._socket.close()


def reply(value, status=200, *headers):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return b"\r\n".join([b"HTTP/1.1 %d x" % status, b"Content-Length: %d" % len(body), *headers, b"", body])


ROOT = reply({"name": "kith", "version": "0", "uptime_s": 1, "read_only": False, "collections": 0})
INFO = reply({"ids": "u64", "items": 0, "version": 1, "segment_field": "", "model": "", "fields": [],
              "vectors": [{"name": "", "dim": 2, "dtype": "f32", "metric": "l2"}]})
LATER = b"Retry-After: 0"


@pytest.fixture
def scripted():
    made = []

    def make(*answers):
        made.append(Scripted(*answers))
        return made[-1]

    yield make
    for one in made:
        one.close()


def wait_until(condition):
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


def test_a_kept_connection_that_has_died(scripted):
    """A read is sent again, once, on a new connection."""
    peer = scripted(ROOT, b"", reply({"calls_per_s": 3}))
    with kith.connect(peer.url) as server:
        assert server.stats() == {"calls_per_s": 3} and peer.connections == 2
    assert [line for line, _ in peer.seen] == ["GET /v1", "GET /v1/stats", "GET /v1/stats"]


def test_a_new_connection_that_dies_is_not_tried_again(scripted):
    peer = scripted(b"", ROOT)
    with pytest.raises(kith.ServerError, match="broken off"):
        kith.connect(peer.url)
    assert len(peer.seen) == 1


def test_a_write_is_never_sent_twice(scripted):
    """The connection is there when it is sent, and goes before the answer: nobody knows whether it was done."""
    peer = scripted(INFO, b"", reply({"version": 1}))
    with kith.connect(f"{peer.url}/shop") as shop:
        with pytest.raises(kith.ServerError, match="not known") as failure:
            shop.add([1], [[1, 2]])
    assert len(peer.seen) == 2 and isinstance(failure.value, ConnectionError)


def test_a_write_does_not_go_out_on_a_connection_that_was_closed(scripted):
    written = reply({"version": 2, "inserted": 1, "replaced": 0, "removed": 0, "unmet": 0})
    peer = scripted(INFO + b"", written)
    with kith.connect(f"{peer.url}/shop") as shop:
        (kept,) = shop._server._idle
        kept.socket.shutdown(socket.SHUT_RDWR)  # as seen from here: the other side has ended it
        wait_until(lambda: _http._readable(kept.socket))
        assert shop.add([1], [[1, 2]]).inserted == 1 and peer.connections == 2


def test_a_busy_server_is_asked_again_when_it_says(scripted):
    busy = reply({"error": {"status": 503, "message": "the server is busy"}}, 503, LATER)
    peer = scripted(ROOT, busy, busy, reply({"calls_per_s": 3}))
    with kith.connect(peer.url) as server:
        assert server.stats() == {"calls_per_s": 3} and len(peer.seen) == 4
    for answers, patience in (([reply({"error": {"status": 503, "message": "the server is busy"}}, 503,
                                      b"Retry-After: 3600")], 5), ([busy] * _http.TRIES, 5),
                              ([reply({"error": {"status": 429, "message": "the server is busy"}}, 429)], 5),
                              ([reply({"error": {"status": 503, "message": "the server is busy"}}, 503,
                                      b"Retry-After: 1")], 0)):
        peer = scripted(ROOT, *answers)
        with kith.connect(peer.url, patience=patience) as server, pytest.raises(kith.BusyError, match="is busy"):
            server.stats()
        assert len(peer.seen) == 1 + len(answers)


@pytest.mark.parametrize("status, kind, error", [
    (400, "data", kith.DataError), (400, None, kith.ArgumentError), (404, None, kith.NotFoundError),
    (409, None, kith.BusyError), (413, None, kith.LimitError), (504, None, kith.DeadlineError),
    (507, None, kith.NoSpaceError), (401, None, kith.AccessError), (500, "corrupt", kith.CorruptError),
    (500, None, kith.ServerError), (418, "unheard of", kith.ServerError), (501, None, kith.UnsupportedError)])
def test_refusals_have_the_exceptions_of_folders(scripted, status, kind, error):
    said = {"status": status, "message": "so it is"} | ({"kind": kind} if kind else {})
    peer = scripted(ROOT, reply({"error": said}, status))
    with kith.connect(peer.url) as server, pytest.raises(error, match="so it is") as refusal:
        server.stats()
    assert type(refusal.value) is error


@pytest.mark.parametrize("answer, text", [
    (b"nonsense\r\n\r\n", "GET"), (reply(b"{"), "no JSON"), (reply(b"[]", 500), "status 500"),
    (reply(b"", 502), "status 502"), (b"HTTP/1.1 200 x\r\nContent-Length: 50\r\n\r\n{CUT", "broken off|Incomplete|answer"),
    (b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{CUT", "broken off|Incomplete|answer")])
def test_answers_that_are_none(scripted, answer, text):
    peer = scripted(ROOT, answer)
    with kith.connect(peer.url) as server, pytest.raises(kith.ServerError, match=text):
        server.stats()


def test_a_server_of_something_else(scripted):
    for answer in (reply({"title": "qdrant"}), reply([])):
        with pytest.raises(kith.ServerError, match="no server of kith"):
            kith.connect(scripted(answer).url)


def test_a_server_that_says_nothing(scripted):
    silent = socket.create_server(("127.0.0.1", 0))
    with silent, pytest.raises(kith.DeadlineError, match="nothing came"):
        kith.connect(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.05)


def chunked(*pieces, end=b"0\r\n\r\n"):
    return b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n" + \
        b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + end


def test_a_stream_that_is_broken_off_goes_on(scripted, monkeypatch):
    monkeypatch.setattr("kith._remote.LINE_PORTION", 2)
    lines = [b'{"id":%d,"payload":null,"version":1}\n' % i for i in range(5)]
    peer = scripted(INFO, chunked(lines[0] + lines[1][:9], lines[1][9:] + lines[2], end=b"CUT"),
                    chunked(*lines[2:]), chunked(end=b"CUT"))
    with kith.connect(f"{peer.url}/shop") as shop:
        assert [item.id for item in shop.scroll()] == [0, 1, 2, 3, 4]
        assert json.loads(peer.seen[2][1])["after"] == 1 and "after" not in json.loads(peer.seen[1][1])
        with pytest.raises(kith.ServerError):
            next(shop.scroll())


def test_who_leaves_a_stream_closes_its_connection(shop):
    shop.add(range(5000), rows(5000))
    pages = shop.scroll(vectors=True)
    assert next(pages).id == 0 and len(shop) == 5000
    pages.close()
    assert len(shop._server._idle) == 1 and [item.id for item in shop.scroll(after=4997)] == [4998, 4999]


@pytest.mark.parametrize("spoil", [
    lambda body: body[:10], lambda body: b"KITHRES2" + body[8:], lambda body: body[:-1],
    lambda body: body[:8] + b"\xff" * 4 + body[12:], lambda body: body[:16] + b"\xff" * 4 + body[20:],
    lambda body: body[:12] + b"\x01" + body[13:]])
def test_raw_answers_that_are_none(spoil):
    body = b"KITHRES1" + np.array([2, 0, 1, 3], "<u4").tobytes() + np.array([7, 8, 9], "<u8").tobytes() + \
        np.array([1, 2, 3], "<f4").tobytes()
    ids, distances, ends, *_ = _wire.raw_hits(bytearray(body), 2, False)
    assert ids.tolist() == [[7, -1], [8, 9]] and distances.tolist() == [[1, np.inf], [2, 3]] and ends.tolist() == [1, 3]
    with pytest.raises(kith.ServerError):
        _wire.raw_hits(bytearray(spoil(body)), 2, False)
