# SPDX-License-Identifier: Apache-2.0
"""A collection of a running server, asked by /v1; and what its answers are read with. Standard library only."""

import json
import struct
import time

from serving import PATIENCE_S

RAW = "application/octet-stream"
LINES = "application/x-ndjson"


class Shop:
    """A collection of a server, asked with one key."""

    def __init__(self, server, name, key=None):
        self.server, self.path, self.key = server, f"/v1/collections/{name}", key

    def call(self, method, path, body=None, headers=None):
        status, _, answer = self.server.ask(method, self.path + path, body, self.key, headers)
        return status, answer

    def good(self, path, body=None, method="POST", expect=200, **headers):
        status, answer = self.call(method, path, body, headers.get("headers"))
        assert status == expect, (path, status, answer)
        return json.loads(answer)

    def bad(self, path, body=None, method="POST", headers=None):
        status, answer = self.call(method, path, body, headers)
        assert status >= 400, (path, answer)
        error = json.loads(answer)["error"]
        assert error["status"] == status and error["message"]
        return status, error["message"]

    def hits(self, **query):
        return [[hit["id"] for hit in hits] for hits in self.good("/query", query)["results"]]


def make(server, name, key=None, **options):
    shop = Shop(server, name, key)
    shop.good("", options, method="PUT", expect=201)
    return shop


def lines(*points):
    return b"\n".join(p if isinstance(p, bytes) else json.dumps(p).encode() for p in points)


def raw_answer(answer):
    """([ids of a query], [distances of a query]) of the bytes of a raw answer."""
    assert answer[:8] == b"KITHRES1"
    queries, flags = struct.unpack_from("<II", answer, 8)
    ends = struct.unpack_from(f"<{queries}I", answer, 16)
    at = (16 + 4 * queries + 7) // 8 * 8
    count = ends[-1] if ends else 0
    ids = list(struct.unpack_from(f"<{count}Q", answer, at))
    distances = struct.unpack_from(f"<{count}f", answer, at + 8 * count)
    at += 12 * count
    if flags & 1:
        id_ends = struct.unpack_from(f"<{count}I", answer, at)
        text = answer[at + 4 * count :]
        ids = [text[begin:end].decode() for begin, end in zip((0, *id_ends), id_ends)]
        at += 4 * count + (id_ends[-1] if count else 0)
    assert at == len(answer)
    cut = list(zip((0, *ends), ends))
    return [ids[a:b] for a, b in cut], [list(distances[a:b]) for a, b in cut]


def as_float(number):
    return struct.unpack("<f", struct.pack("<f", number))[0]


def job_of(server, number, key=None):
    until = time.monotonic() + PATIENCE_S
    while True:
        status, _, answer = server.ask("GET", f"/v1/jobs/{number}", key=key)
        assert status == 200, answer
        job = json.loads(answer)
        if job["ended_ms"]:
            return job
        assert time.monotonic() < until, job
        time.sleep(0.01)
