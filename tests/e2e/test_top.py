# SPDX-License-Identifier: Apache-2.0
"""`kith top` of a server, against a small one that says canned things. Standard library only."""
import fcntl
import http.server
import json
import os
import pty
import select
import signal
import socket
import ssl
import subprocess
import termios
import threading
import time

import pytest

from test_cli import ABSENT, INPUT, KITH, OTHER, USAGE, environment, good, refused

STATS = {"calls_per_s": 1234.5, "queries_per_s": 2345.6, "errors_per_s": 0, "p50_ms": 0.42, "p99_ms": 12.5,
         "batch_mean": 3.25, "queue": 7, "busy": 0.43, "connections": 64, "memory_bytes": 1 << 30,
         "collections": [{"name": "shop", "items": 115659, "segments": 3, "head_rows": 120, "cache_hits": 3,
                          "cache_misses": 1, "work": "merging", "work_done": 40, "work_total": 80,
                          "recall": {"mean": 0.953, "low": 0.947, "high": 0.959, "checked": 1234}}]}


class Canned(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        body = self.server.body
        self.send_response(self.server.status)
        if self.server.chunked:
            self.protocol_version = "HTTP/1.1"
            self.send_header("Transfer-Encoding", "chunked")
            body = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 100]), body[i:i + 100]) for i in range(0, len(body), 100))
            body += b"0\r\n\r\n"
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Canned) as it:
        it.status, it.body, it.asked, it.chunked = 200, json.dumps(STATS).encode(), [], False
        it.url = f"http://127.0.0.1:{it.server_port}"
        thread = threading.Thread(target=it.serve_forever, args=(0.05,))
        thread.start()
        yield it
        it.shutdown()
        thread.join()


def test_once_as_a_table(server):
    out = good("top", server.url).stdout
    for part in ("1,235/s", "2,346/s", "420 us", "12.5 ms", "43 % busy", "64 connections", "115,659",
                 "0.953 (0.947 to 0.959) of 1,234", "merging 50 %"):
        assert part in out
    assert [path for path, _ in server.asked] == ["/v1/stats"]


def test_json_as_often_as_is_asked(server):
    lines = good("top", server.url + "/", "--json", "--limit", 3, "--seconds", 0.01).stdout.splitlines()
    assert [json.loads(line) for line in lines] == [STATS] * 3
    server.chunked = True
    assert json.loads(good("top", server.url, "--json").stdout) == STATS


def test_a_prefix_and_a_key(server, tmp_path):
    (tmp_path / "key").write_text("kith_secret\nmore\n")
    good("top", server.url + "/proxy/kith", "--key-file", tmp_path / "key")
    path, headers = server.asked[0]
    assert path == "/proxy/kith/v1/stats"
    assert headers["Authorization"] == "Bearer kith_secret"
    (tmp_path / "bad").write_text("two words\n")
    assert "a key was expected" in refused(INPUT, "top", server.url, "--key-file", tmp_path / "bad")
    refused(ABSENT, "top", server.url, "--key-file", tmp_path / "none")
    assert len(server.asked) == 1


def test_what_goes_wrong_is_said(server, tmp_path):
    server.status, server.body = 401, b'{"error": {"status": 401, "message": "a key is needed \\u001b[2J"}}'
    text = refused(OTHER, "top", server.url)
    assert "status 401: a key is needed" in text and "\x1b" not in text
    server.status, server.body = 200, b"<html>"
    assert "no server of kith's" in refused(OTHER, "top", server.url)
    server.body = b'{"collections": 5}'
    refused(OTHER, "top", server.url)
    assert "nothing answers" in refused(ABSENT, "top", "http://127.0.0.1:1")
    assert "no URL" in refused(USAGE, "top", "http://:x")
    refused(USAGE, "top", tmp_path, "--key-file", tmp_path / "key")


def read_until(fd, part, seconds=20):
    seen = b""
    until = time.monotonic() + seconds
    while part not in seen and time.monotonic() < until:
        if select.select([fd], [], [], 0.1)[0]:
            try:
                seen += os.read(fd, 65536)
            except OSError:  # the other end is closed
                break
    return seen


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_live_on_a_terminal(server, key):
    ours, theirs = pty.openpty()
    process = subprocess.Popen([KITH, "top", server.url, "--seconds", "0.1"], stdin=theirs, stdout=theirs,
                               stderr=theirs, env=environment(), start_new_session=True,
                               preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(theirs)
    try:
        seen = read_until(ours, b"115,659")
        assert b"115,659" in seen and b"\x1b[?25l" in seen
        server.body = json.dumps({**STATS, "queue": 4711}).encode()
        assert b"4,711" in read_until(ours, b"4,711")
        os.write(ours, key)
        assert b"\x1b[?25h" in read_until(ours, b"\x1b[?25h")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_https_trusts_whom_it_is_told_to(server, tmp_path):
    maker = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"]
    if subprocess.run(maker, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("openssl is not there to make a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = server.url.replace("http:", "https:")
    assert "certificate" in refused(OTHER, "top", url)
    assert "115,659" in good("top", url, "--ca", tmp_path / "cert.pem").stdout
    refused(INPUT, "top", url, "--ca", tmp_path / "key.pem")
    assert "secure" in refused(OTHER, "top", "https://127.0.0.1:" + str(plain_port()))


def plain_port():
    """Of a server that answers anything with nonsense."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()
        listener.close()

    threading.Thread(target=answer, daemon=True).start()
    return listener.getsockname()[1]


def test_a_signal_ends_it(server):
    process = subprocess.Popen([KITH, "top", server.url, "--json", "--limit", "1000"], stdout=subprocess.PIPE,
                               env=environment())
    assert json.loads(process.stdout.readline()) == STATS
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0
