# SPDX-License-Identifier: Apache-2.0
"""/v1 as a client meets it: points of every kind, lines, scrolls while somebody writes, profiles, generations, jobs;
and answers held against the library's by the command. Standard library only."""

import array
import json
import random
import re
import struct
import subprocess
import threading

import pytest

from serving import KITH, PATIENCE_S, Server
from v1 import LINES, RAW, as_float, job_of, lines, make, raw_answer


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


# ---- Points ----------------------------------------------------------------------------------------------------------


def test_payloads_come_back_as_they_were(server):
    shop = make(server, "payloads", vectors=[{"dim": 2}])
    payload = {
        "a": [1, 2, 3],
        "b": [1.5, 1e300],
        "c": 0.1,
        "d": 3.0,
        "e": -7,
        "f": '"[1,2]\\u0000\n\u00e9',
        "g": None,
        "h": {"i": [[], [True], {}], "j": [9007199254740993, 18446744073709551615]},
        "k": 1e-7,
        "l": ["x", 1],
    }
    shop.good("/points", {"points": [{"id": 18446744073709551614, "vector": [0.1, -0.0], "payload": payload}]})
    found = shop.good("/points/18446744073709551614?with=payload,vector", method="GET")
    assert found["id"] == 18446744073709551614
    assert found["payload"] == payload and isinstance(found["payload"]["d"], float)
    assert found["vector"] == [0.1, 0]
    assert shop.bad("/points/7", method="GET")[0] == 404
    assert shop.bad("/points/x", method="GET")[0] == 400


def test_modes_and_versions(server):
    shop = make(server, "modes", vectors=[{"name": "a", "dim": 2}, {"name": "b", "dim": 1}])
    first = shop.good(
        "/points",
        {
            "points": [
                {"id": 1, "vector": {"a": [1, 2], "b": [3]}, "payload": {"x": 1, "y": 2}},
                {"id": 2, "vector": {"b": [4]}, "expires_ms": 4102444800000},
            ]
        },
    )
    assert first == {"version": first["version"], "inserted": 2, "replaced": 0, "removed": 0, "unmet": 0}
    shop.good("/points", {"mode": "merge", "points": [{"id": 1, "payload": {"y": None, "z": 3}}]})
    shop.good("/points", {"mode": "update", "points": [{"id": 2, "vector": {"a": [7, 8]}}]})
    one, two = shop.good("/points/get", {"ids": [1, 2], "with": ["payload", "vector", "version"]})["points"]
    assert one["payload"] == {"x": 1, "z": 3} and one["vector"] == {"a": [1, 2], "b": [3]}
    assert two["vector"] == {"a": [7, 8], "b": [4]} and two["expires_ms"] == 4102444800000
    late = shop.good(
        "/points",
        {
            "points": [
                {"id": 1, "payload": {}, "if_version": first["version"]},
                {"id": 3, "if_version": 0},
                {"id": 2, "if_version": 0},
            ]
        },
    )
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
    status, answer = shop.call(
        "POST", "/query?k=3", struct.pack("<4f", 0, 0, 3, 0), {"Content-Type": RAW, "Accept": RAW}
    )
    assert status == 200 and raw_answer(answer)[0] == [
        ["b", "\u00e9t\u00e9", "a/b"],
        ["x" * 4096, "a/b", "\u00e9t\u00e9"],
    ]


def test_bits(server):
    shop = make(server, "bits", vectors=[{"dim": 16, "dtype": "b1", "metric": "hamming"}])
    shop.good("/points", {"points": [{"id": 1, "vector": [255, 0]}, {"id": 2, "vector": [255, 255]}]})
    assert shop.good("/query", {"vector": [254, 0], "with": ["vector"]})["results"] == [
        [{"id": 1, "distance": 1, "vector": [255, 0]}, {"id": 2, "distance": 9, "vector": [255, 255]}]
    ]
    assert (
        "byte" in shop.bad("/query", {"vector": [256, 0]})[1] and "byte" in shop.bad("/query", {"vector": [1.5, 0]})[1]
    )
    assert shop.good("/query?k=1", b"\xff\xff", headers={"Content-Type": RAW})["results"][0][0]["id"] == 2


# ---- Lines -----------------------------------------------------------------------------------------------------------
def test_lines(server):
    shop = make(server, "lines", vectors=[{"dim": 1}])
    many = [{"id": i, "vector": [i]} for i in range(10001)]
    report = shop.good("/points", lines(*many, b"", b" \r"), headers={"Content-Type": LINES + "; charset=utf-8"})
    assert report["inserted"] == 10001
    more = [{"id": i, "vector": [i]} for i in range(20000, 30000)]
    status, message = shop.bad("/points?mode=insert", lines(*more, {"id": 1}), headers={"Content-Type": LINES})
    assert status == 400 and message.endswith("(lines 1..10000 were written)")
    assert shop.good("/points/count")["count"] == 20001
    for bad, words in [
        (b"{", "line 2 of the body: line 1, column"),
        (b"[1]", "line 2 is no object"),
        ({"id": -1}, 'line 2: "id"'),
        ({"id": 1, "vector": [1, 2]}, "line 2: the vector has 2"),
        (b'{"id": 1}{"id": 2}', "line 2 of the body"),
    ]:
        status, message = shop.bad("/points", lines({"id": 99999}, bad), headers={"Content-Type": LINES})
        assert status == 400 and words in message, message
    assert shop.good("/points/exists", {"ids": [99999]}) == {"exists": [False]}
    assert shop.bad("/points", b"\n \n", headers={"Content-Type": LINES}) == (400, "the body has no points")
    status, answer = shop.call(
        "POST",
        "/points/scroll",
        {"filter": "id in (0, 1, 2, 3, 4, 29999)", "with": ["vector"]},
        {"Accept": LINES, "Content-Type": "application/json"},
    )
    assert [json.loads(line) for line in answer.splitlines()] == [
        {"id": i, "vector": [i]} for i in [0, 1, 2, 3, 4, 29999]
    ]
    status, answer = shop.call(
        "POST", "/points/scroll", {"limit": 130, "with": []}, {"Accept": LINES, "Content-Type": "application/json"}
    )
    assert [json.loads(line)["id"] for line in answer.splitlines()] == list(range(130))
    assert (
        shop.bad("/points/scroll", {"filter": "id ="}, headers={"Accept": LINES, "Content-Type": "application/json"})[0]
        == 400
    )


def test_scroll_while_somebody_writes(server):
    """Ids that stay come once each, whatever is written and deleted meanwhile; the lines are whole."""
    shop = make(server, "moving", vectors=[{"dim": 1}])
    shop.good(
        "/points", {"points": [{"id": 2 * i, "vector": [i], "payload": {"text": "x" * 500}} for i in range(3000)]}
    )
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
            status, answer = shop.call(
                "POST", "/points/scroll", {}, {"Accept": LINES, "Content-Type": "application/json"}
            )
            ids = [json.loads(line)["id"] for line in answer.splitlines()]
            assert status == 200 and ids == sorted(set(ids))
            assert [i for i in ids if i % 2 == 0] == [2 * i for i in range(3000)]
    finally:
        stop.set()
        writer.join(PATIENCE_S)
    assert written


# ---- Answers ---------------------------------------------------------------------------------------------------------
def test_raw_json_and_the_library_agree(server, tmp_path):
    """The same bits by each way: raw and JSON, one at a time and together, and from the folder by the command."""
    random.seed(5)
    shop = make(server, "same", vectors=[{"dim": 24, "metric": "cosine"}])
    rows = [[as_float(random.gauss(0, 1)) for _ in range(24)] for _ in range(2000)]
    shop.good("/points", {"points": [{"id": i, "vector": row, "payload": {"n": i % 7}} for i, row in enumerate(rows)]})
    queries = [[as_float(random.gauss(0, 1)) for _ in range(24)] for _ in range(20)]
    together = shop.good("/query", {"vectors": queries, "k": 5, "exact": True, "filter": "n != 3"})["results"]
    alone = [
        shop.good(
            "/query",
            {"vector": query, "k": 5, "exact": True, "filter": {"must_not": {"key": "n", "match": {"value": 3}}}},
        )["results"][0]
        for query in queries
    ]
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
    printed = subprocess.run(
        [KITH, "query", copy, tmp_path / "queries.csv", "-k", "5", "--where", "n != 3", "--json"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    library = [json.loads(line)["results"] for line in printed.stdout.splitlines()]
    assert [[(hit["id"], hit["distance"]) for hit in hits] for hits in library] == [
        [(hit["id"], hit["distance"]) for hit in hits] for hits in together
    ], printed.stderr


def test_queries(server, shop):
    assert shop.hits(vector=[3, 0, 0.5], k=2) == [[3, 4]] and shop.hits(vectors=[[1, 1, 0.5], [12, 0, 0.5]], k=1) == [
        [1],
        [12],
    ]
    assert shop.hits(vector=[3, 0, 0.5], k=3, filter="color = 'blue' and price > 8") == [[6, 8, 10]]
    assert shop.hits(vector={"": [3, 0, 0.5]}, k=1) == [[3]] and shop.hits(vector=[3, 0, 0.5], using="", k=1) == [[3]]
    assert shop.hits(vector=[3, 0, 0.5], k=1, filter="color != '" + "(" * 50 + "'") == [[3]]
    full = shop.good(
        "/query",
        {
            "vector": [3, 0, 0.5],
            "k": 1,
            "with": ["payload", "version", "vector"],
            "explain": True,
            "budget_ms": 1,
            "priority": "batch",
            "min_version": 1,
            "target": 0.5,
        },
    )
    hit = full["results"][0][0]
    assert hit["payload"] == {"price": 4.5, "color": "red", "seen": [1, 2.5, 3], "deep": {"x": [[1, 2], []]}}
    assert hit["vector"] == [3, 0, 0.5] and hit["version"] >= 1 and full["explain"]["items"] == 12
    assert shop.hits(vector=[3, 0, 0.5], k=1024) == shop.hits(vector=[3, 0, 0.5], k=12)
    fused = shop.good("/query", {"legs": [{"vector": [3, 0, 0.5]}, {"vector": [5, 2, 0.5], "weight": 2}], "k": 2})[
        "results"
    ][0]
    assert fused[0]["distance"] < 0 and {hit["id"] for hit in fused} <= {3, 4, 5}


def test_profiles(server, shop):
    assert shop.bad("/profiles/bea", method="GET")[0] == 404
    assert shop.good(
        "/profiles/bea/events",
        {
            "events": [{"item": 3, "kind": "like"}, {"item": 4, "kind": "seen"}],
            "options": {"interests": 3, "half_life_ms": 86400000},
        },
    ) == {"events": 2}
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
    shop.good(
        "/points", {"mode": "update", "points": [{"id": i, "vector": [i, 2, 3], "generation": 2} for i in range(1, 8)]}
    )
    checked = shop.good("/generations/2/check", {"sample": 5, "k": 2})
    assert (checked["lacking"], checked["first_lacking"]) == (1, [{"id": 8, "vector": ""}])
    assert shop.hits(vector=[3, 2, 3], k=1, generation=2) == [[3]]
    assert shop.good("/points/get", {"ids": [3], "with": ["vector"], "generation": 2})["points"] == [
        {"id": 3, "vector": [3, 2, 3]}
    ]
    assert shop.good("/points/scroll", {"limit": 1, "with": ["vector"], "generation": 2})["points"][0]["vector"] == [
        1,
        2,
        3,
    ]
    assert shop.bad("/query", {"vector": [3, 2, 3]})[0] == 400
    shop.good("/generations/2/canary", {"share": 1})
    assert shop.hits(vector=[3, 2, 3], k=1, user="anybody") == [[3]]
    told = shop.good("/generations?user=anybody", method="GET")
    assert told["asked"] == 2 and [g["number"] for g in told["generations"]] == [1, 2]
    for wrong in ({"2": [1]}, {"x": [1, 2, 3]}, {"0": [1, 2]}, {"9": [1, 2]}, [1], {"2": {"y": [1, 2, 3]}}):
        status, _ = shop.bad("/points", {"points": [{"id": 9, "vector": [9, 1], "generations": wrong}]})
        assert status in (400, 404)
    shop.good("/points", {"points": [{"id": 9, "vector": [9, 1], "generations": {"2": [9, 2, 3]}}]})
    assert shop.hits(vector=[9, 2, 3], k=1, generation=2) == shop.hits(vector=[9, 1], k=1) == [[9]]
    assert shop.bad("/flip", {"to": 2, "min_share": 1})[0] == 400
    assert shop.good("/flip", {"to": 2, "min_share": 0.5})["to"] == 2
    assert shop.hits(vector=[3, 2, 3], k=1, model="two") == [[3]]
    assert shop.good("/flip", {"to": 0})["to"] == 1
    assert shop.good("/generations/2", method="DELETE") == {"dropped": True}
    assert [g["number"] for g in shop.good("/generations", method="GET")["generations"]] == [1]


def test_errors_say_what_the_library_refused_by(server):
    shop = make(server, "kinds", vectors=[{"dim": 2}], fields=[{"name": "price", "type": "float"}])
    shop.good("/points", {"points": [{"id": 1, "vector": [1, 1]}]})
    for path, body, kind in (("/points", {"mode": "insert", "points": [{"id": 1, "vector": [1, 1]}]}, "data"),
                             ("/points", {"points": [{"id": 2, "payload": {"price": "dear"}}]}, "data"),
                             ("/points", {"mode": "update", "points": [{"id": 9, "vector": [1, 1]}]}, "notfound"),
                             ("/points/count", {"filter": "price <"}, "argument"), ("/points/count", {"filter": 5}, None)):
        _, answer = shop.call("POST", path, body)
        assert json.loads(answer)["error"].get("kind") == kind
    number = shop.good("/profiles/rebuild", {"profile": "nobody"}, expect=202)["job"]
    assert job_of(server, number)["error_kind"] == "notfound"


# ---- Jobs, snapshots -------------------------------------------------------------------------------------------------
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


def batches_of(server):
    text = server.ask("GET", "/metrics")[2].decode()
    return sum(float(number) for number in re.findall(r"^kith_batch_size_count(?:\{[^}]*\})? (\S+)$", text, re.M))


def test_clients_at_once_get_their_own_answers(server):
    """Searches that are answered in one batch: each gets what it gets alone, as JSON and as bytes."""
    random.seed(9)
    shop = make(server, "crowd", ids="string", vectors=[{"dim": 16}])
    points = [{"id": f"item-{i}" * (1 + i % 3), "vector": [random.random() for _ in range(16)]} for i in range(500)]
    shop.good("/points", {"points": points})
    queries = [[[random.random() for _ in range(16)] for _ in range(1 + i % 3)] for i in range(48)]
    right = [shop.good("/query", {"vectors": several, "k": 3, "exact": True})["results"] for several in queries]
    failures = []

    def ask(first):
        for i in range(first, len(queries), 8):
            body = array.array("f", [number for query in queries[i] for number in query]).tobytes()
            _, answer = shop.call(
                "POST", "/query?k=3&exact=true&budget_ms=30", body, {"Content-Type": RAW, "Accept": RAW}
            )
            ids, distances = raw_answer(answer)
            json_answer = shop.good("/query", {"vectors": queries[i], "k": 3, "exact": True, "budget_ms": 30})[
                "results"
            ]
            if json_answer != right[i] or ids != [[hit["id"] for hit in hits] for hits in right[i]]:
                failures.append(i)
            if distances != [[as_float(hit["distance"]) for hit in hits] for hits in right[i]]:
                failures.append(i)

    batches = batches_of(server)
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not failures
    assert 0 < batches_of(server) - batches < 2 * len(queries)
