# SPDX-License-Identifier: Apache-2.0
"""/v1 as a client meets it: every kind of body, good and bad; answers held against the library's by the command; keys
with a segment that guess what is others'; lines; scrolls while somebody writes. Standard library only."""
import array
import json
import math
import random
import struct
import subprocess
import threading
import time

import pytest

from serving import KITH, PATIENCE_S, Server

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


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("shelf")) as server:
        yield server
        assert server.process.poll() is None
        assert server.stop() == 0


@pytest.fixture(scope="module")
def shop(server):
    """Twelve points of three numbers, with prices and colors."""
    shop = make(server, "shop", vectors=[{"dim": 3, "metric": "l2"}], fields=[{"name": "price", "type": "float"}])
    shop.good("/points", {"points": [{"id": i, "vector": [i, i % 3, 0.5], "payload": {"price": i * 1.5, "color": "red" if i % 2 else "blue",
                                                                                      "seen": [1, 2.50, 3], "deep": {"x": [[1, 2], []]}}}
                                     for i in range(1, 13)]})
    return shop


# ---- What is refused ---------------------------------------------------------------------------------------------------

QUERY = {"vector": [1, 2, 3]}
BAD = [
    ("/query", b"", 400, "the body is empty"),
    ("/query", b"{", 400, "line 1, column"),
    ("/query", b"[1,2,3]", 400, "must be an object with a \"vector\", and is an array"),
    ("/query", b'{"vector": [1,2,3], "vector": [1,2,3]}', 400, "duplicate"),
    ("/query", b'{"vector": [1,2,3]} x', 400, "end of file expected"),
    ("/query", b'{"filter": "\\u0000"}', 400, "U+0000"),
    ("/query", b"[" * 100, 400, "brackets in more than 64"),
    ("/query", {}, 400, "needs a \"vector\""),
    ("/query", {"vector": [1, 2]}, 400, "has 2 numbers, and the vector \"\" has 3"),
    ("/query", {"vector": "x"}, 400, "must be an array of 3 numbers"),
    ("/query", {"vector": [1, "x", 3]}, 400, "must be an array of 3 numbers"),
    ("/query", {"vector": []}, 400, "has 0 numbers"),
    ("/query", b'{"vector": [1, 2, 1e39]}', 400, "number 3 is no 32-bit float"),
    ("/query", b'{"vector": [1, 2, NaN]}', 400, "line 1, column"),
    ("/query", {"vector": [1e30, 0, 0]}, 400, "2^62 is the largest"),
    ("/query", {"vector": {"a": [1, 2, 3]}}, 404, "no vector called \"a\""),
    ("/query", {"vector": {"a": [1], "b": [2]}}, 400, "must have one member"),
    ("/query", {"vectors": [1, 2, 3]}, 400, "array of arrays"),
    ("/query", {"vectors": []}, 400, "has 0 queries"),
    ("/query", {"vectors": [[1, 2, 3], [1, 2]]}, 400, "number 2, has 2 numbers"),
    ("/query", {"vectors": [[1, 2, 3]] * 1025}, 413, "1025 queries, and a call takes 1..1024"),
    ("/query", {**QUERY, "vectors": [[1, 2, 3]]}, 400, "both there"),
    ("/query", {"legs": []}, 400, "1..16"),
    ("/query", {"legs": [QUERY] * 17}, 400, "1..16"),
    ("/query", {"legs": [{"weight": 1}]}, 400, "has no \"vector\""),
    ("/query", {"legs": [1]}, 400, "number 1 is none"),
    ("/query", {"legs": [QUERY, {"vectors": [[1, 2, 3]] * 2}]}, 400, "has 2 queries, and the first one has 1"),
    ("/query", {"legs": [QUERY], "vector": [1, 2, 3]}, 400, "both there"),
    ("/query", {**QUERY, "using": "other"}, 404, "no vector called \"other\""),
    ("/query", {**QUERY, "kk": 3}, 400, "no member \"kk\""),
    ("/query", {**QUERY, "k": 0}, 400, "\"k\" is 0"),
    ("/query", {**QUERY, "k": 1025}, 400, "must be 1..1024"),
    ("/query", {**QUERY, "k": 2**64}, 400, "line 1"),
    ("/query", {**QUERY, "k": -1}, 400, "whole number"),
    ("/query", {**QUERY, "k": "3"}, 400, "whole number"),
    ("/query", {**QUERY, "target": 1.5}, 400, "number of 0..1"),
    ("/query", {**QUERY, "exact": 1}, 400, "true or false"),
    ("/query", {**QUERY, "with": ["all"]}, 400, "not \"all\""),
    ("/query", {**QUERY, "with": "payload"}, 400, "must be an array"),
    ("/query", {**QUERY, "priority": "high"}, 400, "interactive"),
    ("/query", {**QUERY, "budget_ms": 5000}, 400, "0..1000"),
    ("/query", {**QUERY, "filter": "price <"}, 400, "line 1, column"),
    ("/query", {**QUERY, "filter": 7}, 400, "must be a string in the filter language"),
    ("/query", {**QUERY, "filter": [1]}, 400, "must be a string in the filter language"),
    ("/query", {**QUERY, "filter": {"must": [{"key": "price", "match": {"text": "x"}}]}}, 400, "text"),
    ("/query", {**QUERY, "filter": "(" * 40 + "true" + ")" * 40}, 400, "nested more than 32"),
    ("/query", {**QUERY, "segment": "a"}, 400, "no segment field"),
    ("/query", {**QUERY, "model": "other"}, 400, "model"),
    ("/query", {**QUERY, "generation": 9}, 404, "generation"),
    ("/query", {"profile": "nobody"}, 404, "nobody"),
    ("/query?k=3", QUERY, 400, "\"k\" stands in the URL"),
    ("/query", {**QUERY, "min_version": 10**9, "timeout_ms": 50}, 504, ""),
    ("/points", {}, 400, "\"points\" must be an array of 1..100000"),
    ("/points", {"points": []}, 400, "1..100000"),
    ("/points", {"points": [1, 2]}, 400, "point 1 is no object"),
    ("/points", {"points": [{"vector": [1, 2, 3]}]}, 400, "point 1: \"id\" must be a whole number"),
    ("/points", {"points": [{"id": "x"}]}, 400, "whole number"),
    ("/points", {"points": [{"id": 2**64 - 1}]}, 400, "whole number"),
    ("/points", {"points": [{"id": 1, "vector": [1, 2]}]}, 400, "point 1: the vector has 2 numbers"),
    ("/points", {"points": [{"id": 1, "vector": {"x": [1]}}]}, 404, "no vector called \"x\""),
    ("/points", {"points": [{"id": 1, "payload": "x"}]}, 400, "must be an object"),
    ("/points", {"points": [{"id": 1, "payload": {"price": "dear"}}]}, 400, "price"),
    ("/points", {"points": [{"id": 1, "vectors": [1, 2, 3]}]}, 400, "no member \"vectors\""),
    ("/points", {"points": [{"id": 1}], "mode": "put"}, 400, "\"mode\" must be"),
    ("/points", {"points": [{"id": 1}], "mode": "insert"}, 400, ""),
    ("/points", {"points": [{"id": 99}], "mode": "update"}, 404, ""),
    ("/points/get", {}, 400, "\"ids\" must be an array"),
    ("/points/get", {"ids": ["x"]}, 400, "whole numbers"),
    ("/points/get", {"ids": [1.5]}, 400, "number 1 is none"),
    ("/points/get", {"ids": [1, -1]}, 400, "number 2 is none"),
    ("/points/get", {"ids": list(range(100001))}, 413, "at most 100000"),
    ("/points/exists", {"ids": {}}, 400, "must be an array"),
    ("/points/delete", {}, 400, "either \"ids\""),
    ("/points/delete", {"ids": [1], "filter": "true"}, 400, "either \"ids\""),
    ("/points/delete", {"filter": ""}, 400, "to delete all points, say \"true\""),
    ("/points/delete", {"filter": {}}, 400, "to delete all points, say \"true\""),
    ("/points/delete", {"ids": [1, 2], "if_version": [1]}, 400, "has 1 numbers, and there are 2 ids"),
    ("/points/count", {"filter": "nonsense ="}, 400, "line 1"),
    ("/points/scroll", {"limit": 0}, 400, "\"limit\""),
    ("/points/scroll", {"limit": 10001}, 400, "\"limit\""),
    ("/points/scroll", {"after": "x"}, 400, "\"after\""),
    ("/fields", {"name": "x"}, 400, "type"),
    ("/fields", {"name": "x", "type": "blob"}, 400, "type"),
    ("/fields", {"name": "price", "type": "tag"}, 400, "price"),
    ("/profiles/ann/events", {"events": []}, 400, "1..100000"),
    ("/profiles/ann/events", {"events": [{"item": 1, "kind": "love"}]}, 400, "event 1"),
    ("/profiles/ann/events", {"events": [{"kind": "like"}]}, 400, "item"),
    ("/profiles/ann/events", {"events": [{"item": 99, "kind": "like"}]}, 404, "99"),
    ("/profiles/ann/events", {"events": [{"item": 1, "kind": "like"}], "options": {"interests": 99}}, 400, "0..16"),
    ("/warm", None, 400, "\"user\""),
    ("/warm?user=nobody", None, 404, "nobody"),
    ("/generations", {"vectors": []}, 400, "1..64"),
    ("/generations", {"vectors": [{"name": "x", "dim": 2}]}, 404, "x"),
    ("/generations/x/check", {}, 400, "no number of a generation"),
    ("/generations/9/check", {}, 404, "9"),
    ("/generations/9/canary", {"share": 0.5}, 404, "9"),
    ("/generations/1/canary", {}, 400, "\"share\" is missing"),
    ("/generations/1/canary", {"share": 0.5}, 409, ""),
    ("/flip", {}, 400, "\"to\" is missing"),
    ("/flip", {"to": 9}, 404, "9"),
    ("/flip", {"to": 0}, 404, ""),
    ("/snapshots", {"name": "../up"}, 400, "letters, digits"),
    ("/snapshots", {"name": ".hidden"}, 400, "letters, digits"),
    ("/snapshots", {"name": ""}, 400, "letters, digits"),
    ("/join", {"k": 0}, 400, "at least 1"),
    ("/join", {"k": 100000}, 400, "0..1024"),
    ("/compact", {"fast": True}, 400, "no member"),
]


@pytest.mark.parametrize("path,body,status,words", BAD, ids=[f"{i}-{row[0]}" for i, row in enumerate(BAD)])
def test_wrong_bodies(shop, path, body, status, words):
    before = shop.good("", method="GET")["version"]
    found, message = shop.bad(path, body, headers={"Content-Type": "application/json"} if body else None)
    assert (found, words in message) == (status, True), (found, message)
    assert shop.good("", method="GET")["version"] == before


@pytest.mark.parametrize("arguments,body,status,words", [
    ("", b"", 400, "the body has 0 bytes"),
    ("", b"x" * 13, 400, "the body has 13 bytes, and a query of the vector \"\" has 12"),
    ("", struct.pack("<3f", 1, math.nan, 1), 400, "number 2 is not finite"),
    ("", struct.pack("<3f", 1, 1, math.inf), 400, "number 3 is not finite"),
    ("", bytes(12 * 1025), 413, "at most 1024"),
    ("?k=x", bytes(12), 400, "\"k\" must be a whole number"),
    ("?k=99999999999999999999", bytes(12), 400, "\"k\""),
    ("?k=0", bytes(12), 400, "\"k\" is 0"),
    ("?target=2", bytes(12), 400, "\"target\""),
    ("?target=nan", bytes(12), 400, "\"target\""),
    ("?exact=yes", bytes(12), 400, "true or false"),
    ("?using=x", bytes(12), 404, "called \"x\""),
    ("?filter=price%20%3C", bytes(12), 400, "line 1"),
    ("?with=all", bytes(12), 400, "not \"all\""),
])
def test_wrong_raw_queries(shop, arguments, body, status, words):
    found, message = shop.bad("/query" + arguments, body, headers={"Content-Type": RAW})
    assert (found, words in message) == (status, True), (found, message)


def test_raw_answers_have_no_payloads(shop):
    status, message = shop.bad("/query", {**QUERY, "with": ["payload"]}, headers={"Accept": RAW, "Content-Type": "application/json"})
    assert status == 400 and "need JSON" in message


@pytest.mark.parametrize("options,status,words", [
    ({}, 400, "\"vectors\" must be"),
    ({"vectors": [{"dim": 0}]}, 400, "\"dim\" of 1..65536"),
    ({"vectors": [{"dim": 3, "dtype": "f64x"}]}, 400, "\"dtype\""),
    ({"vectors": [{"dim": 3, "metric": "taxi"}]}, 400, "\"metric\""),
    ({"vectors": [{"dim": 3}] * 2}, 400, ""),
    ({"vectors": [{"dim": 3}], "ids": "uuid"}, 400, "\"ids\" must be"),
    ({"vectors": [{"dim": 3}], "fields": [{"name": "x", "type": "y"}]}, 400, "type"),
    ({"vectors": [{"dim": 3}], "segment_field": "x"}, 400, "x"),
    ({"vectors": [{"dim": 3, "metric": "hamming"}]}, 400, ""),
    ({"vectors": [{"dim": 3}], "shards": 2}, 400, "no member \"shards\""),
])
def test_wrong_collections(server, options, status, words):
    found, message = Shop(server, "wrong").bad("", options, method="PUT")
    assert (found, words in message) == (status, True), (found, message)
    assert Shop(server, "wrong").bad("", method="GET")[0] == 404


def test_names_of_collections(server, shop):
    assert Shop(server, "shop").bad("", {"vectors": [{"dim": 3}]}, method="PUT")[0] == 409
    for name in ["%00", "a%0Ab", "x" * 65]:
        assert Shop(server, name).bad("", {"vectors": [{"dim": 3}]}, method="PUT")[0] == 400
    assert Shop(server, "none").bad("", method="DELETE")[0] == 404
    for path in ["/points/1", "/generations", "/snapshots", "/profiles/x"]:
        assert Shop(server, "none").bad(path, method="GET")[0] == 404


# ---- Points ------------------------------------------------------------------------------------------------------------


def test_payloads_come_back_as_they_were(server):
    shop = make(server, "payloads", vectors=[{"dim": 2}])
    payload = {"a": [1, 2, 3], "b": [1.5, 1e300], "c": 0.1, "d": 3.0, "e": -7, "f": "\"[1,2]\\u0000\n\u00e9", "g": None,
               "h": {"i": [[], [True], {}], "j": [9007199254740993, 18446744073709551615]}, "k": 1e-7, "l": ["x", 1]}
    shop.good("/points", {"points": [{"id": 18446744073709551614, "vector": [0.1, -0.0], "payload": payload}]})
    found = shop.good("/points/18446744073709551614?with=payload,vector", method="GET")
    assert found["id"] == 18446744073709551614
    assert found["payload"] == payload and isinstance(found["payload"]["d"], float)
    assert found["vector"] == [0.1, 0]
    assert shop.bad("/points/7", method="GET")[0] == 404
    assert shop.bad("/points/x", method="GET")[0] == 400


def test_modes_and_versions(server):
    shop = make(server, "modes", vectors=[{"name": "a", "dim": 2}, {"name": "b", "dim": 1}])
    first = shop.good("/points", {"points": [{"id": 1, "vector": {"a": [1, 2], "b": [3]}, "payload": {"x": 1, "y": 2}},
                                             {"id": 2, "vector": {"b": [4]}, "expires_ms": 4102444800000}]})
    assert first == {"version": first["version"], "inserted": 2, "replaced": 0, "removed": 0, "unmet": 0}
    shop.good("/points", {"mode": "merge", "points": [{"id": 1, "payload": {"y": None, "z": 3}}]})
    shop.good("/points", {"mode": "update", "points": [{"id": 2, "vector": {"a": [7, 8]}}]})
    one, two = shop.good("/points/get", {"ids": [1, 2], "with": ["payload", "vector", "version"]})["points"]
    assert one["payload"] == {"x": 1, "z": 3} and one["vector"] == {"a": [1, 2], "b": [3]}
    assert two["vector"] == {"a": [7, 8], "b": [4]} and two["expires_ms"] == 4102444800000
    late = shop.good("/points", {"points": [{"id": 1, "payload": {}, "if_version": first["version"]},
                                            {"id": 3, "if_version": 0}, {"id": 2, "if_version": 0}]})
    assert (late["unmet"], late["inserted"]) == (2, 1)
    assert shop.good("/points/delete", {"ids": [1, 3], "if_version": [one["version"], 99]})["removed"] == 1
    assert shop.good("/points/exists", {"ids": [1, 2, 3, 4]}) == {"exists": [False, True, True, False]}
    assert shop.good("/points/delete", {"filter": "id in (2, 4)"})["removed"] == 1
    assert shop.good("/points/count")["count"] == 1


def test_string_ids(server):
    shop = make(server, "words", ids="string", vectors=[{"dim": 2}])
    names = ["b", "\u00e9t\u00e9", "a/b", "x" * 4096]
    shop.good("/points", {"points": [{"id": name, "vector": [i, 0]} for i, name in enumerate(names)]})
    assert shop.hits(vector=[1, 0], k=2) == [["\u00e9t\u00e9", "b"]]
    assert [p["id"] for p in shop.good("/points/get", {"ids": ["none", "a/b", "b"]})["points"]] == ["a/b", "b"]
    assert shop.good("/points/%C3%A9t%C3%A9?with=vector", method="GET")["vector"] == [1, 0]
    assert shop.bad("/points/get", {"ids": [1, 2]})[0] == 400
    assert shop.bad("/points/get", {"ids": [""]})[0] == 400
    assert shop.bad("/points", {"points": [{"id": 5}]})[0] == 400
    page = shop.good("/points/scroll", {"limit": 3})
    rest = shop.good("/points/scroll", {"limit": 3, "after": page["next"]})
    assert [p["id"] for p in page["points"] + rest["points"]] == names and rest["next"] is None
    status, answer = shop.call("POST", "/query?k=3", struct.pack("<4f", 0, 0, 3, 0), {"Content-Type": RAW, "Accept": RAW})
    assert status == 200 and raw_answer(answer)[0] == [["b", "\u00e9t\u00e9", "a/b"], ["x" * 4096, "a/b", "\u00e9t\u00e9"]]


def test_bits(server):
    shop = make(server, "bits", vectors=[{"dim": 16, "dtype": "b1", "metric": "hamming"}])
    shop.good("/points", {"points": [{"id": 1, "vector": [255, 0]}, {"id": 2, "vector": [255, 255]}]})
    assert shop.good("/query", {"vector": [254, 0], "with": ["vector"]})["results"] == [[
        {"id": 1, "distance": 1, "vector": [255, 0]}, {"id": 2, "distance": 9, "vector": [255, 255]}]]
    assert "byte" in shop.bad("/query", {"vector": [256, 0]})[1] and "byte" in shop.bad("/query", {"vector": [1.5, 0]})[1]
    assert shop.good("/query?k=1", b"\xff\xff", headers={"Content-Type": RAW})["results"][0][0]["id"] == 2


# ---- Lines -------------------------------------------------------------------------------------------------------------


def lines(*points):
    return b"\n".join(p if isinstance(p, bytes) else json.dumps(p).encode() for p in points)


def test_lines(server):
    shop = make(server, "lines", vectors=[{"dim": 1}])
    many = [{"id": i, "vector": [i]} for i in range(10001)]
    report = shop.good("/points", lines(*many, b"", b" \r"), headers={"Content-Type": LINES + "; charset=utf-8"})
    assert report["inserted"] == 10001
    more = [{"id": i, "vector": [i]} for i in range(20000, 30000)]
    status, message = shop.bad("/points?mode=insert", lines(*more, {"id": 1}), headers={"Content-Type": LINES})
    assert status == 400 and message.endswith("(lines 1..10000 were written)")
    assert shop.good("/points/count")["count"] == 20001
    for bad, words in [(b"{", "line 2 of the body: line 1, column"), (b"[1]", "line 2 is no object"), ({"id": -1}, "line 2: \"id\""),
                       ({"id": 1, "vector": [1, 2]}, "line 2: the vector has 2"), (b'{"id": 1}{"id": 2}', "line 2 of the body")]:
        status, message = shop.bad("/points", lines({"id": 99999}, bad), headers={"Content-Type": LINES})
        assert status == 400 and words in message, message
    assert shop.good("/points/exists", {"ids": [99999]}) == {"exists": [False]}
    assert shop.bad("/points", b"\n \n", headers={"Content-Type": LINES}) == (400, "the body has no points")
    status, answer = shop.call("POST", "/points/scroll", {"filter": "id in (0, 1, 2, 3, 4, 29999)", "with": ["vector"]},
                               {"Accept": LINES, "Content-Type": "application/json"})
    assert [json.loads(line) for line in answer.splitlines()] == [{"id": i, "vector": [i]} for i in [0, 1, 2, 3, 4, 29999]]
    status, answer = shop.call("POST", "/points/scroll", {"limit": 130, "with": []}, {"Accept": LINES, "Content-Type": "application/json"})
    assert [json.loads(line)["id"] for line in answer.splitlines()] == list(range(130))
    assert shop.bad("/points/scroll", {"filter": "id ="}, headers={"Accept": LINES, "Content-Type": "application/json"})[0] == 400


def test_scroll_while_somebody_writes(server):
    """Ids that stay come once each, whatever is written and deleted meanwhile; the lines are whole."""
    shop = make(server, "moving", vectors=[{"dim": 1}])
    shop.good("/points", {"points": [{"id": 2 * i, "vector": [i], "payload": {"text": "x" * 500}} for i in range(3000)]})
    stop = threading.Event()
    written = []

    def write():
        while not stop.is_set():
            ids = [2 * random.randrange(3000) + 1 for _ in range(20)]
            shop.good("/points", {"points": [{"id": i, "vector": [0]} for i in ids]})
            shop.good("/points/delete", {"ids": ids[:10]})
            written.extend(ids)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            status, answer = shop.call("POST", "/points/scroll", {}, {"Accept": LINES, "Content-Type": "application/json"})
            ids = [json.loads(line)["id"] for line in answer.splitlines()]
            assert status == 200 and ids == sorted(set(ids))
            assert [i for i in ids if i % 2 == 0] == [2 * i for i in range(3000)]
    finally:
        stop.set()
        writer.join(PATIENCE_S)
    assert written


# ---- Answers -----------------------------------------------------------------------------------------------------------


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
        text = answer[at + 4 * count:]
        ids = [text[begin:end].decode() for begin, end in zip((0, *id_ends), id_ends)]
        at += 4 * count + (id_ends[-1] if count else 0)
    assert at == len(answer)
    cut = list(zip((0, *ends), ends))
    return [ids[a:b] for a, b in cut], [list(distances[a:b]) for a, b in cut]


def as_float(number):
    return struct.unpack("<f", struct.pack("<f", number))[0]


def test_raw_json_and_the_library_agree(server, tmp_path):
    """The same bits by each way: raw and JSON, one at a time and together, and from the folder by the command."""
    random.seed(5)
    shop = make(server, "same", vectors=[{"dim": 24, "metric": "cosine"}])
    rows = [[as_float(random.gauss(0, 1)) for _ in range(24)] for _ in range(2000)]
    shop.good("/points", {"points": [{"id": i, "vector": row, "payload": {"n": i % 7}} for i, row in enumerate(rows)]})
    queries = [[as_float(random.gauss(0, 1)) for _ in range(24)] for _ in range(20)]
    together = shop.good("/query", {"vectors": queries, "k": 5, "exact": True, "filter": "n != 3"})["results"]
    alone = [shop.good("/query", {"vector": query, "k": 5, "exact": True, "filter": {"must_not": {"key": "n", "match": {"value": 3}}}})["results"][0]
             for query in queries]
    body = array.array("f", [number for query in queries for number in query]).tobytes()
    arguments = "/query?k=5&exact=true&filter=n%20!%3D%203"
    by_raw = shop.good(arguments, body, headers={"Content-Type": RAW})["results"]
    status, answer = shop.call("POST", arguments, body, {"Content-Type": RAW, "Accept": RAW})
    ids, distances = raw_answer(answer)
    assert together == alone == by_raw
    assert ids == [[hit["id"] for hit in hits] for hits in together]
    assert distances == [[as_float(hit["distance"]) for hit in hits] for hits in together]
    copy = shop.good("/snapshots", {"name": "copy"}, expect=201)["path"]
    (tmp_path / "queries.csv").write_text("\n".join(",".join(map(repr, query)) for query in queries))
    printed = subprocess.run([KITH, "query", copy, tmp_path / "queries.csv", "-k", "5", "--where", "n != 3", "--json"],
                             capture_output=True, text=True, timeout=PATIENCE_S)
    library = [json.loads(line)["results"] for line in printed.stdout.splitlines()]
    assert [[(hit["id"], hit["distance"]) for hit in hits] for hits in library] == \
        [[(hit["id"], hit["distance"]) for hit in hits] for hits in together], printed.stderr


def test_queries(server, shop):
    assert shop.hits(vector=[3, 0, 0.5], k=2) == [[3, 4]] and shop.hits(vectors=[[1, 1, 0.5], [12, 0, 0.5]], k=1) == [[1], [12]]
    assert shop.hits(vector=[3, 0, 0.5], k=3, filter="color = 'blue' and price > 8") == [[6, 8, 10]]
    assert shop.hits(vector={"": [3, 0, 0.5]}, k=1) == [[3]] and shop.hits(vector=[3, 0, 0.5], using="", k=1) == [[3]]
    full = shop.good("/query", {"vector": [3, 0, 0.5], "k": 1, "with": ["payload", "version", "vector"], "explain": True,
                                "budget_ms": 1, "priority": "batch", "min_version": 1, "target": 0.5})
    hit = full["results"][0][0]
    assert hit["payload"] == {"price": 4.5, "color": "red", "seen": [1, 2.5, 3], "deep": {"x": [[1, 2], []]}}
    assert hit["vector"] == [3, 0, 0.5] and hit["version"] >= 1 and full["explain"]["items"] == 12
    assert shop.hits(vector=[3, 0, 0.5], k=1024) == shop.hits(vector=[3, 0, 0.5], k=12)
    fused = shop.good("/query", {"legs": [{"vector": [3, 0, 0.5]}, {"vector": [5, 2, 0.5], "weight": 2}], "k": 2})["results"][0]
    assert fused[0]["distance"] < 0 and {hit["id"] for hit in fused} <= {3, 4, 5}


def test_profiles(server, shop):
    assert shop.bad("/profiles/bea", method="GET")[0] == 404
    assert shop.good("/profiles/bea/events", {"events": [{"item": 3, "kind": "like"}, {"item": 4, "kind": "seen"}],
                                              "options": {"interests": 3, "half_life_ms": 86400000}}) == {"events": 2}
    profile = shop.good("/profiles/bea?with=vector", method="GET")
    assert profile["interests"][0]["vector"] == [3, 0, 0.5] and profile["half_life_ms"] == 86400000
    assert shop.hits(profile="bea", k=2, leave_out_seen=True) == [[1, 2]]
    assert shop.good("/warm?user=bea&k=2", method="POST")["warmed"]
    assert shop.good("/warm?user=bea&k=2", method="POST")["cached"]
    assert shop.hits(profile="bea", user="bea", k=2) == [[3, 4]]
    assert shop.good("/profiles/bea", method="DELETE") == {"deleted": True}
    assert shop.bad("/profiles/bea", method="DELETE")[0] == 404


def test_generations(server):
    shop = make(server, "generations", vectors=[{"dim": 2}], model="one")
    shop.good("/points", {"points": [{"id": i, "vector": [i, 1]} for i in range(1, 9)]})
    assert shop.good("/generations", {"model": "two", "vectors": [{"dim": 3}]}, expect=201) == {"number": 2}
    assert shop.bad("/flip", {"to": 2})[0] == 400
    shop.good("/points", {"mode": "update", "points": [{"id": i, "vector": [i, 2, 3], "generation": 2} for i in range(1, 8)]})
    checked = shop.good("/generations/2/check", {"sample": 5, "k": 2})
    assert (checked["lacking"], checked["first_lacking"]) == (1, [{"id": 8, "vector": ""}])
    assert shop.hits(vector=[3, 2, 3], k=1, generation=2) == [[3]]
    assert shop.good("/points/get", {"ids": [3], "with": ["vector"], "generation": 2})["points"] == [{"id": 3, "vector": [3, 2, 3]}]
    assert shop.good("/points/scroll", {"limit": 1, "with": ["vector"], "generation": 2})["points"][0]["vector"] == [1, 2, 3]
    assert shop.bad("/query", {"vector": [3, 2, 3]})[0] == 400
    shop.good("/generations/2/canary", {"share": 1})
    assert shop.hits(vector=[3, 2, 3], k=1, user="anybody") == [[3]]
    assert shop.bad("/flip", {"to": 2, "min_share": 1})[0] == 400
    assert shop.good("/flip", {"to": 2, "min_share": 0.5})["to"] == 2
    assert shop.hits(vector=[3, 2, 3], k=1, model="two") == [[3]]
    assert shop.good("/flip", {"to": 0})["to"] == 1
    assert shop.good("/generations/2", method="DELETE") == {"dropped": True}
    assert [g["number"] for g in shop.good("/generations", method="GET")["generations"]] == [1]


# ---- Jobs, snapshots ---------------------------------------------------------------------------------------------------


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


def test_join(server):
    shop = make(server, "pairs", ids="string", vectors=[{"dim": 1}])
    shop.good("/points", {"points": [{"id": f"item {i}", "vector": [i * i]} for i in range(600)] + [{"id": "bare"}]})
    job = job_of(server, shop.good("/join", {"k": 2, "exact": True}, expect=202)["job"])
    assert job["state"] == "done" and job["made"]["items"] == 600 and job["made"]["file"].endswith(".ndjson")
    found = [json.loads(line) for line in open(job["made"]["path"])]
    assert [line["id"] for line in found] == [f"item {i}" for i in range(600)]
    assert found[0]["results"] == [{"id": "item 1", "distance": 1}, {"id": "item 2", "distance": 16}]
    assert [hit["id"] for hit in found[300]["results"]] == ["item 299", "item 301"]
    for wrong in [{"using": "x"}, {"filter": "x ="}, {"generation": 7}]:
        job = job_of(server, shop.good("/join", wrong, expect=202)["job"])
        assert job["state"] == "failed" and job["error"] and job["made"] is None
    assert shop.good("/snapshots", method="GET") == {"snapshots": []}  # files of joins are none


def test_jobs_and_snapshots(server, shop):
    job = job_of(server, shop.good("/compact", expect=202)["job"])
    assert (job["kind"], job["collection"], job["state"], job["made"]["items"]) == ("compact", "shop", "done", 12)
    job = job_of(server, shop.good("/profiles/rebuild", {"profile": "none"}, expect=202)["job"])
    assert job["state"] == "failed" and "none" in job["error"]
    assert json.loads(server.ask("DELETE", f"/v1/jobs/{job['job']}")[2]) == {"cancelled": False}
    for wrong in ["0", "x", "99999", "-1"]:
        assert server.ask("GET", f"/v1/jobs/{wrong}")[0] == 404
    made = shop.good("/snapshots", expect=201)
    assert shop.bad("/snapshots", {"name": made["name"]})[0] == 409
    assert made["name"] in [each["name"] for each in shop.good("/snapshots", method="GET")["snapshots"]]
    assert subprocess.run([KITH, "verify", made["path"]], capture_output=True, timeout=PATIENCE_S).returncode == 0


def test_stats_and_lists(server, shop):
    names = [each["name"] for each in json.loads(server.ask("GET", "/v1/collections")[2])["collections"]]
    assert "shop" in names and names == sorted(names)
    stats = json.loads(server.ask("GET", "/v1/stats")[2])
    assert stats["memory_bytes"] > 0 and [each["name"] for each in stats["collections"]] == names


# ---- Keys --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    """A server with keys: (server, {name: secret})."""
    folder = tmp_path_factory.mktemp("keyed")
    keys, secrets = folder / "keys.json", {}
    for name, *rights in [("admin", "--role", "admin"), ("a", "--role", "write", "--segment", "a"), ("b", "--role", "write", "--segment", "b"),
                          ("reader", "--role", "read"), ("owner-a", "--role", "admin", "--segment", "a"),
                          ("one", "--role", "admin", "--collection", "plain")]:
        made = subprocess.run([KITH, "key", name, *rights, "--keys", keys], capture_output=True, text=True, timeout=PATIENCE_S)
        assert made.returncode == 0, made.stderr
        secrets[name] = made.stdout.split()[0]
    (folder / "shelf").mkdir()
    with Server(folder / "shelf", "--keys", keys) as server:
        yield server, secrets


@pytest.fixture
def tenants(keyed, request):
    """(server, secrets, a collection as admin, a and b see it): ids 1..10, the odd ones a's."""
    server, secrets = keyed
    name = f"t-{abs(hash(request.node.name)) % 10**8}"
    admin = make(server, name, secrets["admin"], vectors=[{"dim": 2}], fields=[{"name": "who.tenant", "type": "tag"}, {"name": "n", "type": "int"}],
                 segment_field="who.tenant")
    admin.good("/points", {"points": [{"id": i, "vector": [i, 0], "payload": {"n": i, "who": {"tenant": "a" if i % 2 else "b"}}}
                                      for i in range(1, 11)]})
    yield server, admin, Shop(server, name, secrets["a"]), Shop(server, name, secrets["b"])
    admin.good("", method="DELETE")


def of(tenant, **more):
    return {"who": {"tenant": tenant}, **more}


def test_a_key_reads_its_segment_alone(tenants):
    server, admin, a, b = tenants
    assert a.hits(vector=[2, 0]) == [[1, 3, 5, 7, 9]] and b.hits(vector=[2, 0], k=2, filter="true") == [[2, 4]]
    assert a.hits(vector=[2, 0], segment="a", k=1) == [[1]]
    assert a.bad("/query", {"vector": [2, 0], "segment": "b"})[0] == 403
    assert a.bad("/query?segment=b", struct.pack("<2f", 2, 0), headers={"Content-Type": RAW})[0] == 403
    assert a.good("/query?k=2", struct.pack("<2f", 2, 0), headers={"Content-Type": RAW})["results"][0][1]["id"] == 3
    assert [p["id"] for p in a.good("/points/get", {"ids": list(range(12, 0, -1))})["points"]] == [9, 7, 5, 3, 1]
    assert a.bad("/points/2", method="GET")[0] == 404 and a.good("/points/3", method="GET")["id"] == 3
    assert a.good("/points/exists", {"ids": [1, 2, 3, 99]}) == {"exists": [True, False, True, False]}
    assert a.good("/points/count")["count"] == 5 and a.good("/points/count", {"filter": "n > 4"})["count"] == 3
    assert a.good("/points/count", {"filter": {"must": [{"key": "n", "range": {"gt": 4}}]}})["count"] == 3
    assert [p["id"] for p in a.good("/points/scroll", {})["points"]] == [1, 3, 5, 7, 9]
    _, answer = b.call("POST", "/points/scroll", {"filter": "n < 7"}, {"Accept": LINES, "Content-Type": "application/json"})
    assert [json.loads(line)["id"] for line in answer.splitlines()] == [2, 4, 6]
    both = a.good("/points/get", {"ids": [3, 2, 1], "with": ["vector", "version"]})["points"]
    assert [(p["id"], p["vector"]) for p in both] == [(3, [3, 0]), (1, [1, 0])]


INJECTIONS = ["true) or (true", "true) or (n > 0", "n > 0 or (true", "{}]}", '{}],"should":[{}', '{"must":[]},{}', "true) --", "true\n) or (\ntrue",
              "(true", "true)", "`", "'", "\"", "n = 1) or n > (0"]


@pytest.mark.parametrize("filter", INJECTIONS)
def test_a_filter_does_not_lead_out_of_the_segment(tenants, filter):
    server, admin, a, b = tenants
    for path in ["/points/count", "/points/scroll", "/points/delete"]:
        assert a.bad(path, {"filter": filter})[0] == 400
    assert a.bad("/query", {"vector": [1, 0], "filter": filter})[0] == 400
    assert admin.good("/points/count")["count"] == 10


def test_a_key_writes_its_segment_alone(tenants):
    server, admin, a, b = tenants
    for points in [[{"id": 50, "payload": of("b")}], [{"id": 50, "payload": {}}], [{"id": 50}], [{"id": 50, "payload": of("a")}, {"id": 51, "payload": of("b")}],
                   [{"id": 50, "payload": {"who": "a"}}], [{"id": 50, "payload": {"who.tenant": "b", "who": {"tenant": "a"}}}],
                   [{"id": 50, "payload": of(["a", "b"])}], [{"id": 2, "payload": of("a")}], [{"id": 1, "payload": of("a")}, {"id": 2, "payload": of("a")}]]:
        for mode in ["upsert", "insert"]:
            status, message = a.bad("/points", {"mode": mode, "points": points})
            assert status == 403, (points, mode, message)
    for mode, points in [("update", [{"id": 2, "vector": [0, 0]}]), ("merge", [{"id": 2, "payload": {"n": 5}}]), ("update", [{"id": 1, "payload": {"n": 1}}]),
                         ("merge", [{"id": 1, "payload": of("b")}]), ("merge", [{"id": 1, "payload": {"who.tenant": None}}]),
                         ("update", [{"id": 2, "vector": [0, 0], "if_version": 1}])]:
        status, message = a.bad("/points", {"mode": mode, "points": points})
        assert status == 403, (mode, points, message)
    assert a.bad("/points", lines({"id": 60, "payload": of("b")}), headers={"Content-Type": LINES})[0] == 403
    state = admin.good("/points/scroll", {"with": ["payload", "vector"]})["points"]
    assert [(p["id"], p["vector"][0], p["payload"]) for p in state] == \
        [(i, i, {"n": i, "who": {"tenant": "a" if i % 2 else "b"}}) for i in range(1, 11)]
    assert a.good("/points", {"points": [{"id": 50, "vector": [1, 1], "payload": of("a")}, {"id": 1, "payload": of("a", n=7)}]})["replaced"] == 1
    assert a.good("/points", {"mode": "merge", "points": [{"id": 1, "payload": {"n": 8}}]})["replaced"] == 1
    assert a.good("/points", {"mode": "update", "points": [{"id": 1, "vector": [4, 4], "if_version": 1}]})["unmet"] == 1
    assert a.bad("/points", {"mode": "update", "points": [{"id": 99, "vector": [4, 4]}]})[0] == 404
    assert a.bad("/points", {"mode": "insert", "points": [{"id": 1, "payload": of("a")}]})[0] == 400


def test_a_key_deletes_its_segment_alone(tenants):
    server, admin, a, b = tenants
    assert a.good("/points/delete", {"ids": [1, 2, 3, 4, 99]})["removed"] == 2
    assert a.good("/points/delete", {"ids": [2], "if_version": [1]})["removed"] == 0
    assert a.good("/points/delete", {"ids": [5], "if_version": [77]})["unmet"] == 1
    assert a.good("/points/delete", {"filter": "n >= 7 or n = 2"})["removed"] == 2
    assert [p["id"] for p in admin.good("/points/scroll", {})["points"]] == [2, 4, 5, 6, 8, 10]
    assert b.good("/points/delete", {"filter": "true"})["removed"] == 5
    assert [p["id"] for p in admin.good("/points/scroll", {})["points"]] == [5]


def test_writes_of_two_tenants_meet(tenants):
    """Two keys race for the same new ids: each id ends with one tenant, and nobody ever overwrites the other's."""
    server, admin, a, b = tenants
    won = {"a": set(), "b": set()}

    def race(shop, tenant):
        for i in range(100, 160):
            status, answer = shop.call("POST", "/points", {"points": [{"id": i, "vector": [i, 1], "payload": of(tenant)}]})
            assert status in (200, 403), answer
            if status == 200:
                assert json.loads(answer)["inserted"] == 1
                won[tenant].add(i)

    threads = [threading.Thread(target=race, args=pair) for pair in [(a, "a"), (b, "b")]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not won["a"] & won["b"] and won["a"] | won["b"] == set(range(100, 160))
    for shop, tenant in [(a, "a"), (b, "b")]:
        assert {p["id"] for p in shop.good("/points/get", {"ids": list(range(100, 160))})["points"]} == won[tenant]


def test_what_is_of_the_whole_is_not_for_a_segment(keyed, tenants):
    server, admin, a, b = tenants
    owner = Shop(server, a.path.rsplit("/", 1)[1], keyed[1]["owner-a"])
    for method, path, body in [("POST", "/profiles/x/events", {"events": [{"item": 2, "kind": "like"}]}), ("GET", "/profiles/x", None),
                               ("DELETE", "/profiles/x", None), ("POST", "/warm?user=x", None), ("POST", "/query", {"profile": "x"}),
                               ("POST", "/compact", None), ("POST", "/join", {}), ("POST", "/snapshots", {}), ("GET", "/snapshots", None),
                               ("POST", "/flip", {"to": 0}), ("POST", "/generations", {"vectors": [{"dim": 2}]}), ("DELETE", "", None),
                               ("POST", "/profiles/rebuild", {}), ("POST", "/fields", {"name": "x", "type": "tag"}),
                               ("POST", "/generations/1/check", {}), ("PUT", "", {"vectors": [{"dim": 2}]})]:
        assert owner.bad(path, body, method=method)[0] == 403, (method, path)


def test_collections_that_a_key_may_not_name(keyed, tenants):
    server, secrets = keyed
    name = tenants[1].path.rsplit("/", 1)[1]
    one = Shop(server, name, secrets["one"])
    for method, path, body in [("GET", "", None), ("POST", "/query", {"vector": [1, 2]}), ("POST", "/points", {"points": [{"id": 1}]}),
                               ("GET", "/points/1", None), ("POST", "/compact", None), ("GET", "/snapshots", None), ("GET", "/generations", None)]:
        status, message = one.bad(path, body, method=method)
        assert (status, message) == (404, f"there is no collection called \"{name}\" here")
    assert one.bad("", method="DELETE")[0] == 403
    plain = make(server, "plain", secrets["one"], vectors=[{"dim": 2}])
    assert [c["name"] for c in json.loads(server.ask("GET", "/v1/collections", key=secrets["one"])[2])["collections"]] == ["plain"]
    assert json.loads(server.ask("GET", "/v1", key=secrets["one"])[2])["collections"] == 1
    assert [c["name"] for c in json.loads(server.ask("GET", "/v1/stats", key=secrets["one"])[2])["collections"]] == ["plain"]
    assert Shop(server, "plain", secrets["a"]).bad("/points/count")[0] == 403  # it has no segment field
    job = tenants[1].good("/compact", expect=202)["job"]
    assert server.ask("GET", f"/v1/jobs/{job}", key=secrets["one"])[0] == 404
    assert job_of(server, job, secrets["admin"])["state"] == "done"
    assert json.loads(server.ask("GET", "/v1/jobs", key=secrets["one"])[2])["jobs"] == []
    plain.good("", method="DELETE")


def test_roles(keyed, tenants):
    server, secrets = keyed
    reader = Shop(server, tenants[1].path.rsplit("/", 1)[1], secrets["reader"])
    assert reader.hits(vector=[1, 0], k=1) == [[1]]
    for method, path in [("POST", "/points"), ("POST", "/points/delete"), ("POST", "/compact"), ("DELETE", ""), ("PUT", ""), ("POST", "/flip")]:
        assert reader.bad(path, {}, method=method)[0] == 403
    assert server.ask("GET", "/v1/openapi.json")[0] == 200 and server.ask("GET", "/v1/collections")[0] == 401


def test_a_server_that_only_reads(tmp_path):
    assert subprocess.run([KITH, "create", tmp_path / "shop", "--dim", "2"], timeout=PATIENCE_S).returncode == 0
    with Server(tmp_path, "--read-only") as server:
        shop = Shop(server, "shop")
        assert shop.hits(vector=[1, 2]) == [[]]
        for method, path, body in [("POST", "/points", {"points": [{"id": 1}]}), ("POST", "/points/delete", {"ids": [1]}), ("DELETE", "", None),
                                   ("PUT", "", {"vectors": [{"dim": 2}]}), ("POST", "/compact", None), ("POST", "/flip", {"to": 0})]:
            status, message = shop.bad(path, body, method=method)
            assert status == 403 and "only reads" in message
