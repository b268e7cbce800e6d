# SPDX-License-Identifier: Apache-2.0
"""What the network and the machine do to a server: clients that are slow, half there or hostile, connections without
end, bytes that are no request, peers that speak no TLS, a process that is killed while it writes, a disk that is full.
Who asks meanwhile is answered, what was acknowledged is there, and memory has a bound. Standard library only."""

import http.client
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

from serving import PATIENCE_S, Server
from test_cli import good
from test_serve import certificate  # noqa: F401: a fixture

MIB = 1 << 20
REQUEST_LIMIT_S = 15  # that a request may take to come
LINES = "application/x-ndjson"


def peak(server):
    """The most memory that the server ever had, in bytes."""
    lines = open(f"/proc/{server.process.pid}/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), PATIENCE_S)


def read_all(connection):
    """What comes until the other side closes or resets."""
    answer = b""
    try:
        while more := connection.recv(65536):
            answer += more
    except ConnectionError:
        pass
    return answer


def read_one(connection):
    """An answer, or what of it comes before the other side closes."""
    answer = b""
    try:
        while more := connection.recv(65536):
            answer += more
            head, _, body = answer.partition(b"\r\n\r\n")
            length = re.search(rb"\r\nContent-Length: (\d+)", head)
            if length and len(body) >= int(length[1]):
                break
    except ConnectionError:
        pass
    return answer


def said(server, *pieces):
    """What is answered first to these bytes."""
    with connect(server) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except ConnectionError:
            pass
        return read_one(connection)


def is_well(server):
    status, _, body = server.ask("POST", "/v1/collections/shop/query", {"vector": [1, 2, 3], "k": 1})
    assert status == 200 and json.loads(body)["results"][0][0]["id"] == 1
    assert server.process.poll() is None


@pytest.fixture
def folder(tmp_path):
    good("create", "shop", "--dim", 3, cwd=tmp_path)
    return tmp_path


@pytest.fixture
def server(folder):
    with Server(folder) as server:
        points = [{"id": i, "vector": [i, 2, 3]} for i in range(1, 50)]
        assert server.ask("POST", "/v1/collections/shop/points", {"points": points})[0] == 200
        is_well(server)
        yield server
        is_well(server)
        assert server.stop() == 0


# ---- Killed ------------------------------------------------------------------------------------------------------------


class Writer(threading.Thread):
    """Writes batches until the server is gone. Ids of a batch are its own; what a batch says is known from its number."""

    def __init__(self, server, base, qdrant):
        super().__init__()
        self.server, self.base, self.qdrant, self.deleted = server, base, qdrant, set()
        self.asked, self.told, self.refused, self.random = {}, set(), [], random.Random(base)

    def batch(self, number):
        count = self.random.randint(1, 30)
        return [
            {
                "id": self.base + number * 100 + i,
                "vector": [number % 97, i, 1],
                "payload": {"batch": number, "count": count},
            }
            for i in range(count)
        ]

    def send(self, method, path, body):
        status, _, answer = self.server.ask(method, path, body)
        if status != 200:
            self.refused.append(answer)

    def run(self):
        try:
            for number in range(1000):
                points = self.asked[number] = self.batch(number)
                self.send(
                    *(
                        ["PUT", "/collections/tea/points?wait=true"]
                        if self.qdrant
                        else ["POST", "/v1/collections/tea/points"]
                    ),
                    {"points": points},
                )
                self.told.add(number)
                if number % 5 == 4:
                    self.told.discard(number - 1)  # from here on it may be gone
                    ids = [point["id"] for point in self.asked[number - 1]]
                    path, member = (
                        ("/collections/tea/points/delete?wait=true", "points")
                        if self.qdrant
                        else ("/v1/collections/tea/points/delete", "ids")
                    )
                    self.send("POST", path, {member: ids})
                    self.deleted |= set(ids)
        except (OSError, http.client.HTTPException):
            pass  # the server was killed


def everything(server, name="tea"):
    """All points of a collection by id."""
    status, _, body = server.ask(
        "POST", f"/v1/collections/{name}/points/scroll", {"with": ["payload", "vector"]}, headers={"Accept": LINES}
    )
    assert status == 200
    return {point["id"]: point for point in map(json.loads, body.splitlines())}


def check_survivors(there, writer):
    assert not writer.refused
    assert not writer.deleted & set(there), "what was deleted is there again"
    for number, points in writer.asked.items():
        found = [there.get(point["id"]) for point in points]
        if number in writer.told:
            assert all(found), f"batch {number} of {writer.base} was acknowledged, and is lost"
        assert all(found) or not any(found), f"batch {number} of {writer.base} is there in part"
        for point, one in zip(points, found):
            assert not one or (one["payload"] == point["payload"] and one["vector"] == point["vector"])


def test_killed_under_load_it_loses_nothing_that_was_acknowledged(tmp_path):
    good("create", "tea", "--dim", 3, cwd=tmp_path)
    chance, writers, told = random.Random(17), [], 0
    for turn in range(7):
        with Server(tmp_path) as server:
            there = everything(server)
            for writer in writers:
                check_survivors(there, writer)
            asked = {point["id"] for writer in writers for points in writer.asked.values() for point in points}
            assert set(there) <= asked
            mine = [Writer(server, (turn * 10 + i + 1) * 1000000, i % 2 == 1) for i in range(4)]
            writers += mine
            for writer in mine:
                writer.start()
            time.sleep(chance.uniform(0.02, 0.5))
            server.process.send_signal(signal.SIGKILL)
            for writer in mine:
                writer.join(PATIENCE_S)
            server.wait()
            told += sum(len(writer.told) for writer in mine)
    assert told > 20
    with Server(tmp_path) as server:
        there = everything(server)
        for writer in writers:
            check_survivors(there, writer)
    assert "tea: good" in good("verify", "tea", cwd=tmp_path).stdout


# ---- Without room ------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("no file system of a size can be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(place):
    """Take the room but for a little, which writes use up in a moment."""
    with open(place / "filler", "wb") as file:
        left = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
        file.write(bytes(left - 65536))


def test_a_full_disk_refuses_writes_and_goes_on_reading(small_disk):
    good("create", "shop", "--dim", 3, cwd=small_disk)
    with Server(small_disk) as server:

        def write(first, qdrant=False):
            points = [{"id": i, "vector": [i, 2, 3], "payload": {"text": "x" * 2000}} for i in range(first, first + 50)]
            if qdrant:
                return server.ask("PUT", "/collections/shop/points?wait=true", {"points": points})
            return server.ask("POST", "/v1/collections/shop/points", {"points": points})

        assert write(1)[0] == 200
        fill(small_disk)
        acknowledged, status = 50, 200
        while status == 200:
            status, _, body = write(acknowledged + 1)
            acknowledged += 50 if status == 200 else 0
        assert status == 507 and json.loads(body)["error"]["message"]
        assert write(acknowledged + 1, qdrant=True)[0] == 507
        is_well(server)
        assert server.ask("POST", "/collections/shop/points/scroll", {"limit": 5})[0] == 200
        assert len(everything(server, "shop")) == acknowledged
        os.unlink(small_disk / "filler")
        until = time.monotonic() + PATIENCE_S
        while write(acknowledged + 1)[0] != 200:
            assert time.monotonic() < until, "there is room again, and writes are refused"
            time.sleep(0.05)
        assert write(acknowledged + 51, qdrant=True)[0] == 200
        assert len(everything(server, "shop")) == acknowledged + 100
        assert server.stop() == 0
    with Server(small_disk) as server:
        assert len(everything(server, "shop")) == acknowledged + 100


# ---- Slow --------------------------------------------------------------------------------------------------------------


class Drip(threading.Thread):
    """A client that sends a beginning, and then a byte now and then, until the other side closes."""

    def __init__(self, server, begin, drop=b""):
        super().__init__()
        self.connection, self.drop, self.answer = connect(server), drop, b""
        self.connection.sendall(begin)
        self.since = time.monotonic()

    def run(self):
        self.connection.settimeout(1)
        while time.monotonic() < self.since + REQUEST_LIMIT_S + PATIENCE_S:
            try:
                more = self.connection.recv(4096)
                self.answer += more
                if not more:
                    break
            except socket.timeout:
                try:
                    self.connection.sendall(self.drop)
                except OSError:
                    break
            except OSError:
                break
        self.took = time.monotonic() - self.since
        self.connection.close()


def test_clients_that_are_slow_are_told_so_and_keep_nobody_waiting(server, folder, certificate, tmp_path):  # noqa: F811
    (tmp_path / "other").mkdir()
    tls = ["--tls-cert", certificate / "cert.pem", "--tls-key", certificate / "key.pem"]
    with Server(tmp_path / "other", *tls) as secret:
        post = b"POST /v1/collections/shop/query HTTP/1.1\r\nHost: localhost\r\n"
        drips = [
            Drip(server, b"GET /heal", b"t"),
            Drip(server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", b"X-A: b\r\n"),
            Drip(server, post + b"Content-Length: 60000\r\n\r\n{", b" "),
            Drip(server, post + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n"),
            Drip(server, post + b"Content-Length: 60000\r\n\r\n{"),
            Drip(server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /heal", b"t"),
        ]
        hello = bytes.fromhex("16030102000100") + b"\x01\xfc\x03\x03"
        drips += [Drip(secret, hello), Drip(secret, hello, b"\0"), Drip(secret, hello[:3])]
        for drip in drips:
            drip.start()
        until = time.monotonic() + REQUEST_LIMIT_S - 2
        while time.monotonic() < until:
            is_well(server)
            assert secret.ask("GET", "/healthz", cafile=certificate / "cert.pem")[0] == 200
            time.sleep(0.5)
        for drip in drips:
            drip.join(REQUEST_LIMIT_S + PATIENCE_S)
            assert not drip.is_alive()
        for drip in drips[:5]:
            assert drip.answer.startswith(b"HTTP/1.1 408 ") and drip.took > REQUEST_LIMIT_S - 2
        assert b" 200 OK" in drips[5].answer
        assert secret.stop() == 0


# ---- Many --------------------------------------------------------------------------------------------------------------


def raise_descriptors(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"{count} sockets cannot be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))


def test_idle_connections_cost_little_and_keep_nobody_waiting(server):
    raise_descriptors(3000)
    before = peak(server)
    idle = [connect(server) for _ in range(2000)]
    for connection in idle[:1000]:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for connection in idle[:1000]:
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    for _ in range(20):
        is_well(server)
    assert json.loads(server.ask("GET", "/v1/stats")[2])["connections"] >= 2000
    assert peak(server) < before + 192 * MIB
    for connection in idle:
        connection.close()
    is_well(server)


def test_connections_beyond_the_most_are_told_to_come_back(folder):
    with Server(folder, "--connections-max", 20) as server:
        held = [connect(server) for _ in range(20)]
        answers = [said(server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") for _ in range(5)]
        assert all(answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After" in answer for answer in answers)
        for connection in held:
            connection.close()
        until = time.monotonic() + PATIENCE_S
        while b" 200 OK" not in said(server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"):
            assert time.monotonic() < until
        assert server.stop() == 0


def test_pipelined_requests_are_answered_in_order(server):
    count = 500
    asked = b"".join(
        b"GET /v1/collections/shop/points/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % (i % 49 + 1) for i in range(count)
    )
    asked += b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with connect(server) as connection:
        sender = threading.Thread(target=connection.sendall, args=(asked,))
        sender.start()
        answer = read_all(connection)
        sender.join(PATIENCE_S)
    pieces = answer.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert len(pieces) == count + 1
    assert [json.loads(piece.split(b"\r\n\r\n", 1)[1])["id"] for piece in pieces[:-1]] == [
        i % 49 + 1 for i in range(count)
    ]


def test_clients_that_leave_in_the_middle_leave_nothing_behind(server):
    before = peak(server)
    body = json.dumps({"vector": [1, 2, 3], "k": 10}).encode()
    head = b"POST /v1/collections/shop/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    chance = random.Random(3)
    for i in range(600):
        connection = connect(server)
        connection.sendall((head + body)[: chance.randint(1, len(head + body))])
        if i % 3 == 0:  # half open: it sends no more, and still reads
            connection.shutdown(socket.SHUT_WR)
        elif i % 3 == 1:  # reset
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    half = connect(server)
    half.sendall(head + body)
    half.shutdown(socket.SHUT_WR)
    assert b" 500 " not in read_all(half)  # it ends, with an answer or without
    half.close()
    until = time.monotonic() + PATIENCE_S
    while json.loads(server.ask("GET", "/v1/stats")[2])["connections"] > 5:
        assert time.monotonic() < until, "connections of clients that left are still there"
        time.sleep(0.05)
    assert peak(server) < before + 64 * MIB


# ---- Large and wrong ---------------------------------------------------------------------------------------------------


def test_header_floods_are_refused(server):
    before = peak(server)
    begin = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    floods = [
        begin + b"".join(b"X-%d: y\r\n" % i for i in range(300)) + b"\r\n",
        begin + b"X-Long: " + b"a" * MIB + b"\r\n\r\n",
        begin + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 1000) for i in range(2000)) + b"\r\n",
        b"GET /" + b"a" * MIB + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz?" + b"a=b&" * 200 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"A" * MIB,
    ]
    for flood in floods * 3:
        answer = said(server, flood)
        assert b" 200 OK" not in answer
        assert not answer or int(answer.split(b" ")[1]) in (400, 404, 413, 414, 431, 501)
    assert peak(server) < before + 32 * MIB


def test_oversized_bodies_are_refused(server):
    before = peak(server)
    post = b"POST /v1/collections/shop/points HTTP/1.1\r\nHost: localhost\r\n"
    for length in (b"67108865", b"9999999999999999999", b"18446744073709551617", b"-1", b"0x10", b"1, 1", b""):
        answer = said(server, post + b"Content-Length: " + length + b"\r\n\r\n", b"x" * 1000)
        assert not answer or int(answer.split(b" ")[1]) in (400, 413), (length, answer)
    chunk = b"%x\r\n%s\r\n" % (MIB, b"x" * MIB)
    answer = said(server, post + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 70)
    assert not answer or b" 413 " in answer
    held = []
    for _ in range(40):  # what has not come takes no room
        held.append(connect(server))
        held[-1].sendall(post + b"Content-Length: 60000000\r\n\r\n" + b"x" * 1000)
    is_well(server)
    assert peak(server) < before + 256 * MIB
    for connection in held:
        connection.close()


def test_a_body_that_two_could_read_differently_is_refused(server):
    post = b"POST /v1/collections/shop/points/count HTTP/1.1\r\nHost: localhost\r\n"
    hidden = b"0\r\n\r\nDELETE /v1/collections/shop HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for way in (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Content-Length: 0\r\nContent-Length: 60\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Content-Length: +5\r\n",
    ):
        answer = said(server, post + way + b"\r\n" + hidden)
        assert b" 200 OK" not in answer, way
    assert server.ask("GET", "/v1/collections/shop")[0] == 200


def test_garbage_is_refused(server):
    chance = random.Random(11)
    before = peak(server)
    for i in range(150):
        garbage = chance.randbytes(chance.randint(1, 3000)) + (b"\r\n\r\n" if i % 2 else b"")
        with connect(server) as connection:
            try:
                connection.sendall(garbage)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            answer = read_all(connection)
        assert b" 200 OK" not in answer
    request = b"POST /v1/collections/shop/query?k=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n"
    request += b"{\"vector\":[1,2,3]}  "
    for _ in range(300):
        broken = bytearray(request)
        for _ in range(chance.randint(1, 4)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        with connect(server) as connection:
            try:
                connection.sendall(bytes(broken))
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            read_all(connection)
        assert server.process.poll() is None
    assert peak(server) < before + 64 * MIB


def test_bodies_that_are_no_json_or_too_deep_are_refused(server):
    bodies = [
        b"[" * MIB,
        b"{\"a\":" * 200000,
        b"\xff\xfe",
        b"{\"vector\":[1,2,3],\"vector\":[1,2,3]}",
        b"{\"vector\":[1e999,2,3]}",
        b"nul",
        b"\0",
        b"{\"filter\":\"" + b"(" * 500000 + b"\"}",
        b"{\"vector\":[1,2,3],\"k\":1e30}",
        b"{\"vector\":[1,2,3],\"k\":-1}",
        b"{\"vector\":" + b"[1," * 1000 + b"]}",
    ]
    for body in bodies:
        for path in (
            "/v1/collections/shop/query",
            "/v1/collections/shop/points",
            "/v1/collections/shop/points/scroll",
            "/collections/shop/points/query",
            "/collections/shop/points/scroll",
            "/collections/shop/points/search",
        ):
            status, _, answer = server.ask("POST", path, body)
            assert 400 <= status < 500, (path, body[:40], status, answer[:200])


def test_replies_have_a_bound_too(server):
    """A small request must not make a reply of any size."""
    queries = [[1, 2, 3]] * 1000
    body = {"vectors": queries, "k": 101, "with": ["payload"]}
    assert server.ask("POST", "/v1/collections/shop/query", body)[0] == 413
    assert server.ask("POST", "/v1/collections/shop/query", {**body, "k": 100})[0] == 200
    assert server.ask("POST", "/v1/collections/shop/query", {**body, "with": []})[0] == 200
    searches = [{"query": [1, 2, 3], "limit": 101, "with_payload": True}] * 1000
    assert server.ask("POST", "/collections/shop/points/query/batch", {"searches": searches})[0] == 413
    searches = [{"query": [1, 2, 3], "limit": 101}] * 1000
    assert server.ask("POST", "/collections/shop/points/query/batch", {"searches": searches})[0] == 200
    for path in ("/v1/collections/shop/points/get", "/collections/shop/points"):
        assert 400 <= server.ask("POST", path, {"ids": [1] * 100001})[0] < 500


def test_clients_that_do_not_read_hold_a_bounded_memory(server):
    payload = {"text": "x" * 200000}
    points = [{"id": i, "vector": [1, 2, 3], "payload": payload} for i in range(1000, 1050)]
    assert server.ask("POST", "/v1/collections/shop/points", {"points": points})[0] == 200
    before, deaf = peak(server), []
    body = json.dumps({"ids": list(range(1000, 1050))}).encode()
    for _ in range(90):  # 10 MB each: 900 MB, if there were no bound
        deaf.append(connect(server))
        deaf[-1].sendall(
            b"POST /v1/collections/shop/points/get HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )
    refused = 0
    for connection in deaf:
        refused += connection.recv(12) == b"HTTP/1.1 503"
    assert refused > 20
    is_well(server)
    assert peak(server) < before + 800 * MIB
    for connection in deaf:
        connection.close()
    until = time.monotonic() + PATIENCE_S
    while server.ask("POST", "/v1/collections/shop/points/get", {"ids": [1000] * 50})[0] != 200:
        assert time.monotonic() < until


def test_payloads_with_very_many_values_are_counted(server):
    values = list(range(60000)) * 2
    points = [{"id": i, "vector": [1, 2, 3], "payload": {"many": values}} for i in (101, 102)]
    assert server.ask("POST", "/v1/collections/shop/points", {"points": points})[0] == 200
    status, _, body = server.ask("POST", "/collections/shop/facet", {"key": "many", "limit": 5})
    assert status == 200
    assert json.loads(body)["result"]["hits"] == [{"value": value, "count": 2} for value in (0, 1, 10, 100, 1000)]


# ---- TLS ---------------------------------------------------------------------------------------------------------------


def test_peers_that_speak_tls_badly(folder, certificate):  # noqa: F811
    tls = ["--tls-cert", certificate / "cert.pem", "--tls-key", certificate / "key.pem"]
    with Server(folder, *tls) as server:

        def is_well():
            assert server.ask("GET", "/healthz", cafile=certificate / "cert.pem")[0] == 200

        for plain in (
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"\x16\x03\x01",
            b"\x16\x03\x01\xff\xff" + b"\0" * 70000,
            b"\x80\x2e\x01\x00\x02" + b"\0" * 60,
            b"\x15\x03\x01\x00\x02\x02\x28",
        ):
            with connect(server) as connection:
                try:
                    connection.sendall(plain)
                    connection.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                assert b"HTTP/1.1 200" not in read_all(connection)
            is_well()
        # A whole greeting, and gone at any byte of it.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        greeting = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            greeting.do_handshake()
        hello = outgoing.read()
        for count in range(1, len(hello), 13):
            with connect(server) as connection:
                connection.sendall(hello[:count])
        is_well()
        # One that knows another authority, and one that renews its mind after the handshake.
        for _ in range(5):
            with pytest.raises(ssl.SSLError):
                server.ask("GET", "/healthz")
        trusting = ssl.create_default_context(cafile=certificate / "cert.pem")
        for sent in (b"", b"GET /hea", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            with connect(server) as raw:
                inside = trusting.wrap_socket(raw, server_hostname="localhost")
                inside.sendall(sent) if sent else None
                raw_end = inside.detach()
                os.close(raw_end)
        is_well()
        assert server.stop() == 0


# ---- Names that climb --------------------------------------------------------------------------------------------------

CLIMBS = [
    "..",
    "../secret",
    "%2e%2e",
    "%2e%2e%2fsecret",
    "..%2fsecret",
    "%2e%2e/secret",
    "..%5csecret",
    "%252e%252e%252fsecret",
    "....//secret",
    "%c0%ae%c0%ae%c0%afsecret",
    "%ef%bc%8e%ef%bc%8e/secret",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    ".",
    "%2e",
    "shop%00",
    "shop%00/../secret",
    "shop/..%2f..%2fsecret",
    ".shelf",
    "%2eshelf",
    ".shelf%2fsnapshots",
    "=2e2e",
    "%u002e%u002e",
    "..;/secret",
    "~",
    "shop%0d%0aX-A: b",
    "file:%2f%2f%2fetc%2fpasswd",
]


def files_of(place):
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if ".shelf" not in path.parts)


def test_names_do_not_lead_out_of_the_folder(tmp_path):
    (tmp_path / "shelf").mkdir()
    good("create", "shop", "--dim", 3, cwd=tmp_path / "shelf")
    good("create", "secret", "--dim", 3, cwd=tmp_path)
    secret = tmp_path / "secret"
    outside = files_of(secret)
    with Server(tmp_path / "shelf") as server:
        for name in CLIMBS:
            for method, path, body in [
                ("GET", f"/v1/collections/{name}", None),
                ("GET", f"/collections/{name}", None),
                ("POST", f"/v1/collections/{name}/query", {"vector": [1, 2, 3]}),
                ("POST", f"/collections/{name}/points/scroll", {}),
                ("DELETE", f"/v1/collections/{name}", None),
                ("GET", f"/v1/collections/shop/profiles/{name}", None),
                ("GET", f"/ui/{name}", None),
                ("GET", f"/v1/collections/shop/points/{name}", None),
                ("POST", f"/v1/collections/{name}/snapshots", {}),
                ("GET", f"/collections/{name}/exists", None),
            ]:
                target = path.replace(" ", "%20")
                status, _, answer = server.ask(method, target, body)
                there = (
                    status == 200
                    and b'"exists":false' in answer.replace(b" ", b"")
                    or status == 200
                    and b'"result":true' in answer
                )
                assert status >= 400 or there or path.startswith("/ui"), (method, path, status, answer[:200])
                assert b"root:" not in answer and b"%PDF" not in answer
        names = [
            "..",
            "../secret2",
            "a/../../secret2",
            "/tmp/secret2",
            "..\\secret2",
            ".",
            "",
            "a\0b",
            ".shelf",
            "\uff0e\uff0e/secret2",
            "x" * 65,
        ]
        for name in names:
            status, _, answer = server.ask("POST", "/v1/collections/shop/snapshots", {"name": name})
            assert status in (400, 403), (name, status, answer)
            actions = {"actions": [{"create_alias": {"alias_name": name, "collection_name": "shop"}}]}
            status, _, answer = server.ask("POST", "/collections/aliases", actions)
            assert status >= 400 or name == ".shelf", (name, status, answer)
            actions = {"actions": [{"create_alias": {"alias_name": "q" + str(len(name)), "collection_name": name}}]}
            assert server.ask("POST", "/collections/aliases", actions)[0] >= 400
        assert server.ask("PUT", "/v1/collections/%2e%2e%2fsecret2", {"vectors": [{"dim": 3}]})[0] >= 400
        assert server.ask("PUT", "/collections/%2e%2e%2fsecret2", {"vectors": {"size": 3, "distance": "Dot"}})[0] >= 400
        assert server.ask("GET", "/v1/collections/shop")[0] == 200
        assert server.stop() == 0
    assert files_of(secret) == outside
    assert sorted(os.listdir(tmp_path)) == ["secret", "shelf"]


# ---- An optional one ---------------------------------------------------------------------------------------------------


def test_slowhttptest(server):
    tool = shutil.which("slowhttptest")
    if not tool:
        pytest.skip("slowhttptest is not there")
    for way in ("-H", "-B", "-R"):
        subprocess.run(
            [tool, way, "-c", "200", "-r", "200", "-i", "1", "-l", "1", "-u", f"{server.url}/v1"],
            check=False,
            capture_output=True,
            timeout=PATIENCE_S,
        )
        is_well(server)
