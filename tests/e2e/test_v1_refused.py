# SPDX-License-Identifier: Apache-2.0
"""What /v1 refuses: bodies, arguments and names that are wrong, each with its status and a sentence that says so;
nothing changes by them. Standard library only."""

import math
import struct

import pytest

from serving import Server
from v1 import RAW, Shop, make


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
    shop.good(
        "/points",
        {
            "points": [
                {
                    "id": i,
                    "vector": [i, i % 3, 0.5],
                    "payload": {
                        "price": i * 1.5,
                        "color": "red" if i % 2 else "blue",
                        "seen": [1, 2.50, 3],
                        "deep": {"x": [[1, 2], []]},
                    },
                }
                for i in range(1, 13)
            ]
        },
    )
    return shop


QUERY = {"vector": [1, 2, 3]}


def deep(levels):
    """A filter within filters."""
    return {"must": deep(levels - 1)} if levels else {}


BAD = [
    ("/query", b"", 400, "the body is empty"),
    ("/query", b"{", 400, "line 1, column"),
    ("/query", b"[1,2,3]", 400, 'must be an object with a "vector", and is an array'),
    ("/query", b'{"vector": [1,2,3], "vector": [1,2,3]}', 400, "duplicate"),
    ("/query", b'{"vector": [1,2,3]} x', 400, "end of file expected"),
    ("/query", b'{"filter": "\\u0000"}', 400, "U+0000"),
    ("/query", b"[" * 100, 400, "brackets in more than 64"),
    ("/query", {}, 400, 'needs a "vector"'),
    ("/query", {"vector": [1, 2]}, 400, 'has 2 numbers, and the vector "" has 3'),
    ("/query", {"vector": "x"}, 400, "must be an array of 3 numbers"),
    ("/query", {"vector": [1, "x", 3]}, 400, "must be an array of 3 numbers"),
    ("/query", {"vector": []}, 400, "has 0 numbers"),
    ("/query", b'{"vector": [1, 2, 1e39]}', 400, "number 3 is no 32-bit float"),
    ("/query", b'{"vector": [1, 2, NaN]}', 400, "line 1, column"),
    ("/query", {"vector": [1e30, 0, 0]}, 400, "2^62 is the largest"),
    ("/query", {"vector": {"a": [1, 2, 3]}}, 404, 'no vector called "a"'),
    ("/query", {"vector": {"a": [1], "b": [2]}}, 400, "must have one member"),
    ("/query", {"vectors": [1, 2, 3]}, 400, "array of arrays"),
    ("/query", {"vectors": []}, 400, "has 0 queries"),
    ("/query", {"vectors": [[1, 2, 3], [1, 2]]}, 400, "number 2, has 2 numbers"),
    ("/query", {"vectors": [[1, 2, 3]] * 1025}, 413, "1025 queries, and a call takes 1..1024"),
    ("/query", {**QUERY, "vectors": [[1, 2, 3]]}, 400, "both there"),
    ("/query", {"legs": []}, 400, "1..16"),
    ("/query", {"legs": [QUERY] * 17}, 400, "1..16"),
    ("/query", {"legs": [{"weight": 1}]}, 400, 'has no "vector"'),
    ("/query", {"legs": [1]}, 400, "number 1 is none"),
    ("/query", {"legs": [QUERY, {"vectors": [[1, 2, 3]] * 2}]}, 400, "has 2 queries, and the first one has 1"),
    ("/query", {"legs": [QUERY], "vector": [1, 2, 3]}, 400, "both there"),
    ("/query", {**QUERY, "using": "other"}, 404, 'no vector called "other"'),
    ("/query", {**QUERY, "kk": 3}, 400, 'no member "kk"'),
    ("/query", {**QUERY, "k": 0}, 400, '"k" is 0'),
    ("/query", {**QUERY, "k": 1025}, 400, "must be 1..1024"),
    ("/query", {**QUERY, "k": 2**64}, 400, "line 1"),
    ("/query", {**QUERY, "k": -1}, 400, "whole number"),
    ("/query", {**QUERY, "k": "3"}, 400, "whole number"),
    ("/query", {**QUERY, "target": 1.5}, 400, "number of 0..1"),
    ("/query", {**QUERY, "exact": 1}, 400, "true or false"),
    ("/query", {**QUERY, "with": ["all"]}, 400, 'not "all"'),
    ("/query", {**QUERY, "with": "payload"}, 400, "must be an array"),
    ("/query", {**QUERY, "priority": "high"}, 400, "interactive"),
    ("/query", {**QUERY, "budget_ms": 5000}, 400, "0..1000"),
    ("/query", {**QUERY, "filter": "price <"}, 400, "line 1, column"),
    ("/query", {**QUERY, "filter": 7}, 400, "must be a string in the filter language"),
    ("/query", {**QUERY, "filter": [1]}, 400, "must be a string in the filter language"),
    ("/query", {**QUERY, "filter": {"must": [{"key": "price", "match": {"text": "x"}}]}}, 400, "text"),
    ("/query", {**QUERY, "filter": "(" * 40 + "true" + ")" * 40}, 400, "nested more than 32"),
    ("/query", {**QUERY, "filter": deep(33)}, 400, "nested more than 32"),
    ("/query", {**QUERY, "filter": deep(70)}, 400, "brackets in more than 64"),
    ("/query", {**QUERY, "segment": "a"}, 400, "no segment field"),
    ("/query", {**QUERY, "model": "other"}, 400, "model"),
    ("/query", {**QUERY, "generation": 9}, 404, "generation"),
    ("/query", {"profile": "nobody"}, 404, "nobody"),
    ("/query?k=3", QUERY, 400, '"k" stands in the URL'),
    ("/query", {**QUERY, "min_version": 10**9, "timeout_ms": 50}, 504, ""),
    ("/points", {}, 400, '"points" must be an array of 1..100000'),
    ("/points", {"points": []}, 400, "1..100000"),
    ("/points", {"points": [1, 2]}, 400, "point 1 is no object"),
    ("/points", {"points": [{"vector": [1, 2, 3]}]}, 400, 'point 1: "id" must be a whole number'),
    ("/points", {"points": [{"id": "x"}]}, 400, "whole number"),
    ("/points", {"points": [{"id": 2**64 - 1}]}, 400, "whole number"),
    ("/points", {"points": [{"id": 1, "vector": [1, 2]}]}, 400, "point 1: the vector has 2 numbers"),
    ("/points", {"points": [{"id": 1, "vector": {"x": [1]}}]}, 404, 'no vector called "x"'),
    ("/points", {"points": [{"id": 1, "payload": "x"}]}, 400, "must be an object"),
    ("/points", {"points": [{"id": 1, "payload": {"price": "dear"}}]}, 400, "price"),
    ("/points", {"points": [{"id": 1, "vectors": [1, 2, 3]}]}, 400, 'no member "vectors"'),
    ("/points", {"points": [{"id": 1}], "mode": "put"}, 400, '"mode" must be'),
    ("/points", {"points": [{"id": 1}], "mode": "insert"}, 400, ""),
    ("/points", {"points": [{"id": 99}], "mode": "update"}, 404, ""),
    ("/points/get", {}, 400, '"ids" must be an array'),
    ("/points/get", {"ids": ["x"]}, 400, "whole numbers"),
    ("/points/get", {"ids": [1.5]}, 400, "number 1 is none"),
    ("/points/get", {"ids": [1, -1]}, 400, "number 2 is none"),
    ("/points/get", {"ids": list(range(100001))}, 413, "at most 100000"),
    ("/points/exists", {"ids": {}}, 400, "must be an array"),
    ("/points/delete", {}, 400, 'either "ids"'),
    ("/points/delete", {"ids": [1], "filter": "true"}, 400, 'either "ids"'),
    ("/points/delete", {"filter": ""}, 400, 'to delete all points, say "true"'),
    ("/points/delete", {"filter": {}}, 400, 'to delete all points, say "true"'),
    ("/points/delete", {"ids": [1, 2], "if_version": [1]}, 400, "has 1 numbers, and there are 2 ids"),
    ("/points/count", {"filter": "nonsense ="}, 400, "line 1"),
    ("/points/scroll", {"limit": 0}, 400, '"limit"'),
    ("/points/scroll", {"limit": 10001}, 400, '"limit"'),
    ("/points/scroll", {"after": "x"}, 400, '"after"'),
    ("/fields", {"name": "x"}, 400, "type"),
    ("/fields", {"name": "x", "type": "blob"}, 400, "type"),
    ("/fields", {"name": "price", "type": "tag"}, 400, "price"),
    ("/profiles/ann/events", {"events": []}, 400, "1..100000"),
    ("/profiles/ann/events", {"events": [{"item": 1, "kind": "love"}]}, 400, "event 1"),
    ("/profiles/ann/events", {"events": [{"kind": "like"}]}, 400, "item"),
    ("/profiles/ann/events", {"events": [{"item": 99, "kind": "like"}]}, 404, "99"),
    ("/profiles/ann/events", {"events": [{"item": 1, "kind": "like"}], "options": {"interests": 99}}, 400, "0..16"),
    ("/warm", None, 400, '"user"'),
    ("/warm?user=nobody", None, 404, "nobody"),
    ("/generations", {"vectors": []}, 400, "1..64"),
    ("/generations", {"vectors": [{"name": "x", "dim": 2}]}, 404, "x"),
    ("/generations/x/check", {}, 400, "no number of a generation"),
    ("/generations/9/check", {}, 404, "9"),
    ("/generations/9/canary", {"share": 0.5}, 404, "9"),
    ("/generations/1/canary", {}, 400, '"share" is missing'),
    ("/generations/1/canary", {"share": 0.5}, 409, ""),
    ("/flip", {}, 400, '"to" is missing'),
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


@pytest.mark.parametrize(
    "arguments,body,status,words",
    [
        ("", b"", 400, "the body has 0 bytes"),
        ("", b"x" * 13, 400, 'the body has 13 bytes, and a query of the vector "" has 12'),
        ("", struct.pack("<3f", 1, math.nan, 1), 400, "number 2 is not finite"),
        ("", struct.pack("<3f", 1, 1, math.inf), 400, "number 3 is not finite"),
        ("", bytes(12 * 1025), 413, "at most 1024"),
        ("?k=x", bytes(12), 400, '"k" must be a whole number'),
        ("?k=99999999999999999999", bytes(12), 400, '"k"'),
        ("?k=0", bytes(12), 400, '"k" is 0'),
        ("?target=2", bytes(12), 400, '"target"'),
        ("?target=nan", bytes(12), 400, '"target"'),
        ("?exact=yes", bytes(12), 400, "true or false"),
        ("?using=x", bytes(12), 404, 'called "x"'),
        ("?filter=price%20%3C", bytes(12), 400, "line 1"),
        ("?with=all", bytes(12), 400, 'not "all"'),
    ],
)
def test_wrong_raw_queries(shop, arguments, body, status, words):
    found, message = shop.bad("/query" + arguments, body, headers={"Content-Type": RAW})
    assert (found, words in message) == (status, True), (found, message)


def test_raw_answers_have_no_payloads(shop):
    status, message = shop.bad(
        "/query", {**QUERY, "with": ["payload"]}, headers={"Accept": RAW, "Content-Type": "application/json"}
    )
    assert status == 400 and "need JSON" in message


@pytest.mark.parametrize(
    "options,status,words",
    [
        ({}, 400, '"vectors" must be'),
        ({"vectors": [{"dim": 0}]}, 400, '"dim" of 1..65536'),
        ({"vectors": [{"dim": 3, "dtype": "f64x"}]}, 400, '"dtype"'),
        ({"vectors": [{"dim": 3, "metric": "taxi"}]}, 400, '"metric"'),
        ({"vectors": [{"dim": 3}] * 2}, 400, ""),
        ({"vectors": [{"dim": 3}], "ids": "uuid"}, 400, '"ids" must be'),
        ({"vectors": [{"dim": 3}], "fields": [{"name": "x", "type": "y"}]}, 400, "type"),
        ({"vectors": [{"dim": 3}], "segment_field": "x"}, 400, "x"),
        ({"vectors": [{"dim": 3, "metric": "hamming"}]}, 400, ""),
        ({"vectors": [{"dim": 3}], "shards": 2}, 400, 'no member "shards"'),
    ],
)
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
