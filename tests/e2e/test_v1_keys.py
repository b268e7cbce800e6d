# SPDX-License-Identifier: Apache-2.0
"""/v1 under keys: what one with a segment sees and changes, whatever ids and filters it guesses; collections that a key
may not name; roles; a server that only reads. Standard library only."""

import json
import struct
import subprocess
import threading

import pytest

from serving import KITH, PATIENCE_S, Server
from v1 import LINES, RAW, Shop, job_of, lines, make


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    """A server with keys: (server, {name: secret})."""
    folder = tmp_path_factory.mktemp("keyed")
    keys, secrets = folder / "keys.json", {}
    for name, *rights in [
        ("admin", "--role", "admin"),
        ("a", "--role", "write", "--segment", "a"),
        ("b", "--role", "write", "--segment", "b"),
        ("reader", "--role", "read"),
        ("owner-a", "--role", "admin", "--segment", "a"),
        ("one", "--role", "admin", "--collection", "plain"),
    ]:
        made = subprocess.run(
            [KITH, "key", name, *rights, "--keys", keys], capture_output=True, text=True, timeout=PATIENCE_S
        )
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
    admin = make(
        server,
        name,
        secrets["admin"],
        vectors=[{"dim": 2}],
        fields=[{"name": "who.tenant", "type": "tag"}, {"name": "n", "type": "int"}],
        segment_field="who.tenant",
    )
    admin.good(
        "/points",
        {
            "points": [
                {"id": i, "vector": [i, 0], "payload": {"n": i, "who": {"tenant": "a" if i % 2 else "b"}}}
                for i in range(1, 11)
            ]
        },
    )
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
    _, answer = b.call(
        "POST", "/points/scroll", {"filter": "n < 7"}, {"Accept": LINES, "Content-Type": "application/json"}
    )
    assert [json.loads(line)["id"] for line in answer.splitlines()] == [2, 4, 6]
    both = a.good("/points/get", {"ids": [3, 2, 1], "with": ["vector", "version"]})["points"]
    assert [(p["id"], p["vector"]) for p in both] == [(3, [3, 0]), (1, [1, 0])]


INJECTIONS = [
    "true) or (true",
    "true) or (n > 0",
    "n > 0 or (true",
    "{}]}",
    '{}],"should":[{}',
    '{"must":[]},{}',
    "true) --",
    "true\n) or (\ntrue",
    "(true",
    "true)",
    "`",
    "'",
    '"',
    "n = 1) or n > (0",
]


@pytest.mark.parametrize("filter", INJECTIONS)
def test_a_filter_does_not_lead_out_of_the_segment(tenants, filter):
    server, admin, a, b = tenants
    for path in ["/points/count", "/points/scroll", "/points/delete"]:
        assert a.bad(path, {"filter": filter})[0] == 400
    assert a.bad("/query", {"vector": [1, 0], "filter": filter})[0] == 400
    assert admin.good("/points/count")["count"] == 10


def test_a_key_writes_its_segment_alone(tenants):
    server, admin, a, b = tenants
    for points in [
        [{"id": 50, "payload": of("b")}],
        [{"id": 50, "payload": {}}],
        [{"id": 50}],
        [{"id": 50, "payload": of("a")}, {"id": 51, "payload": of("b")}],
        [{"id": 50, "payload": {"who": "a"}}],
        [{"id": 50, "payload": {"who.tenant": "b", "who": {"tenant": "a"}}}],
        [{"id": 50, "payload": of(["a", "b"])}],
        [{"id": 2, "payload": of("a")}],
        [{"id": 1, "payload": of("a")}, {"id": 2, "payload": of("a")}],
    ]:
        for mode in ["upsert", "insert"]:
            status, message = a.bad("/points", {"mode": mode, "points": points})
            assert status == 403, (points, mode, message)
    for mode, points in [
        ("update", [{"id": 2, "vector": [0, 0]}]),
        ("merge", [{"id": 2, "payload": {"n": 5}}]),
        ("update", [{"id": 1, "payload": {"n": 1}}]),
        ("merge", [{"id": 1, "payload": of("b")}]),
        ("merge", [{"id": 1, "payload": {"who.tenant": None}}]),
        ("update", [{"id": 2, "vector": [0, 0], "if_version": 1}]),
    ]:
        status, message = a.bad("/points", {"mode": mode, "points": points})
        assert status == 403, (mode, points, message)
    assert a.bad("/points", lines({"id": 60, "payload": of("b")}), headers={"Content-Type": LINES})[0] == 403
    state = admin.good("/points/scroll", {"with": ["payload", "vector"]})["points"]
    assert [(p["id"], p["vector"][0], p["payload"]) for p in state] == [
        (i, i, {"n": i, "who": {"tenant": "a" if i % 2 else "b"}}) for i in range(1, 11)
    ]
    assert (
        a.good(
            "/points",
            {"points": [{"id": 50, "vector": [1, 1], "payload": of("a")}, {"id": 1, "payload": of("a", n=7)}]},
        )["replaced"]
        == 1
    )
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
            status, answer = shop.call(
                "POST", "/points", {"points": [{"id": i, "vector": [i, 1], "payload": of(tenant)}]}
            )
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
    for method, path, body in [
        ("POST", "/profiles/x/events", {"events": [{"item": 2, "kind": "like"}]}),
        ("GET", "/profiles/x", None),
        ("DELETE", "/profiles/x", None),
        ("POST", "/warm?user=x", None),
        ("POST", "/query", {"profile": "x"}),
        ("POST", "/compact", None),
        ("POST", "/join", {}),
        ("POST", "/snapshots", {}),
        ("GET", "/snapshots", None),
        ("POST", "/flip", {"to": 0}),
        ("POST", "/generations", {"vectors": [{"dim": 2}]}),
        ("DELETE", "", None),
        ("POST", "/profiles/rebuild", {}),
        ("POST", "/fields", {"name": "x", "type": "tag"}),
        ("POST", "/generations/1/check", {}),
        ("PUT", "", {"vectors": [{"dim": 2}]}),
    ]:
        assert owner.bad(path, body, method=method)[0] == 403, (method, path)


def test_collections_that_a_key_may_not_name(keyed, tenants):
    server, secrets = keyed
    name = tenants[1].path.rsplit("/", 1)[1]
    one = Shop(server, name, secrets["one"])
    for method, path, body in [
        ("GET", "", None),
        ("POST", "/query", {"vector": [1, 2]}),
        ("POST", "/points", {"points": [{"id": 1}]}),
        ("GET", "/points/1", None),
        ("POST", "/compact", None),
        ("GET", "/snapshots", None),
        ("GET", "/generations", None),
    ]:
        status, message = one.bad(path, body, method=method)
        assert (status, message) == (404, f'there is no collection called "{name}" here')
    assert one.bad("", method="DELETE")[0] == 403
    plain = make(server, "plain", secrets["one"], vectors=[{"dim": 2}])
    assert [
        c["name"] for c in json.loads(server.ask("GET", "/v1/collections", key=secrets["one"])[2])["collections"]
    ] == ["plain"]
    assert json.loads(server.ask("GET", "/v1", key=secrets["one"])[2])["collections"] == 1
    assert [c["name"] for c in json.loads(server.ask("GET", "/v1/stats", key=secrets["one"])[2])["collections"]] == [
        "plain"
    ]
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
    for method, path in [
        ("POST", "/points"),
        ("POST", "/points/delete"),
        ("POST", "/compact"),
        ("DELETE", ""),
        ("PUT", ""),
        ("POST", "/flip"),
    ]:
        assert reader.bad(path, {}, method=method)[0] == 403
    assert server.ask("GET", "/v1/openapi.json")[0] == 200 and server.ask("GET", "/v1/collections")[0] == 401


def test_a_server_that_only_reads(tmp_path):
    assert subprocess.run([KITH, "create", tmp_path / "shop", "--dim", "2"], timeout=PATIENCE_S).returncode == 0
    with Server(tmp_path, "--read-only") as server:
        shop = Shop(server, "shop")
        assert shop.hits(vector=[1, 2]) == [[]]
        for method, path, body in [
            ("POST", "/points", {"points": [{"id": 1}]}),
            ("POST", "/points/delete", {"ids": [1]}),
            ("DELETE", "", None),
            ("PUT", "", {"vectors": [{"dim": 2}]}),
            ("POST", "/compact", None),
            ("POST", "/flip", {"to": 0}),
        ]:
            status, message = shop.bad(path, body, method=method)
            assert status == 403 and "only reads" in message
