# SPDX-License-Identifier: Apache-2.0
"""A key with a segment that guesses what is others': through every route of /v1 and of Qdrant's REST that takes an id,
a filter or a vector, an id that another tenant has is answered as one that nobody has, nothing of others is told, and
nothing of others changes. That an id cannot be written because it is taken is all that can be learnt. Standard library
only."""

import json
import re

import pytest

from serving import Server
from test_cli import ROOT, good
from test_serve import make_key

MARK = "only-of-b"  # stands in all payloads of the other tenant
NUMBERS = {"ids": "u64", "mine": [1, 2], "others": [701, 702], "nobody": [801, 802]}
TEXTS = {"ids": "string", "mine": ["m-1", "m-2"], "others": ["o-701", "o-702"], "nobody": ["n-801", "n-802"]}


def reads(i):
    """(method, route, path, body) of calls that read, with an id."""
    v1, qd = "/v1/collections/shop", "/collections/shop"
    one = i[0]
    quoted = json.dumps(one)
    nearest = {"vector": [0, 1, 0], "k": 50, "with": ["payload", "vector", "version"]}
    everything = {"with_payload": True, "with_vector": True, "limit": 50}
    has = {"must": [{"has_id": i}]}
    either = {"should": [{"has_id": i}, {"key": "tenant", "match": {"value": "b"}}]}
    without = {"must_not": [{"key": "tenant", "match": {"value": "a"}}]}
    yield "GET", "/v1/collections/{}/points/{}", f"{v1}/points/{one}?with=payload,vector,version", None
    yield "POST", "/v1/collections/{}/points/get", f"{v1}/points/get", {
        "ids": i,
        "with": ["payload", "vector", "version"],
    }
    yield "POST", "/v1/collections/{}/points/exists", f"{v1}/points/exists", {"ids": i}
    for text in (
        "tenant = \"b\"",
        "not tenant = \"a\"",
        "true",
        "true) or (true",
        "secret = \"only-of-b\"",
        has,
        either,
        without,
    ):
        yield "POST", "/v1/collections/{}/points/count", f"{v1}/points/count", {"filter": text}
        yield "POST", "/v1/collections/{}/points/scroll", f"{v1}/points/scroll", {"filter": text}
        yield "POST", "/v1/collections/{}/query", f"{v1}/query", {**nearest, "filter": text}
        yield "POST", "/v1/collections/{}/query", f"{v1}/query", {**nearest, "filter": text, "exact": True}
    yield "POST", "/v1/collections/{}/points/scroll", f"{v1}/points/scroll", {}
    yield "POST", "/v1/collections/{}/query", f"{v1}/query", {**nearest, "segment": "b"}
    yield "POST", "/v1/collections/{}/query", f"{v1}/query", {"profile": str(one)}
    yield "POST", "/v1/collections/{}/warm", f"{v1}/warm?user={one}", None
    yield "GET", "/v1/collections/{}/profiles/{}", f"{v1}/profiles/{one}", None
    yield "GET", "/v1/collections/{}/generations", f"{v1}/generations", None
    yield "POST", "/collections/{}/points", f"{qd}/points", {"ids": i, "with_payload": True, "with_vector": True}
    yield "GET", "/collections/{}/points/{}", f"{qd}/points/{one}", None
    for text in (
        None,
        has,
        either,
        without,
        {"must": [{"key": "tenant", "match": {"value": "b"}}]},
        {"must": [{"key": "secret", "match": {"value": MARK}}]},
    ):
        yield "POST", "/collections/{}/points/scroll", f"{qd}/points/scroll", {**everything, "filter": text}
        yield "POST", "/collections/{}/points/count", f"{qd}/points/count", {"filter": text}
        yield "POST", "/collections/{}/facet", f"{qd}/facet", {"key": "secret", "filter": text}
        yield "POST", "/collections/{}/points/query", f"{qd}/points/query", {**everything, "filter": text}
        yield "POST", "/collections/{}/points/query", f"{qd}/points/query", {
            **everything,
            "query": [0, 1, 0],
            "filter": text,
        }
        yield "POST", "/collections/{}/points/search", f"{qd}/points/search", {
            **everything,
            "vector": [0, 1, 0],
            "filter": text,
        }
        yield "POST", "/collections/{}/points/query/groups", f"{qd}/points/query/groups", {
            "query": [0, 1, 0],
            "group_by": "secret",
            "filter": text,
            "with_payload": True,
        }
    yield "POST", "/collections/{}/points/scroll", f"{qd}/points/scroll", {**everything, "offset": one}
    yield "POST", "/collections/{}/facet", f"{qd}/facet", {"key": "tenant"}
    for query in (
        one,
        {"nearest": one},
        {"recommend": {"positive": i}},
        {"recommend": {"positive": [[0, 1, 0]], "negative": [one]}},
    ):
        yield "POST", "/collections/{}/points/query", f"{qd}/points/query", {**everything, "query": query}
        yield "POST", "/collections/{}/points/query/batch", f"{qd}/points/query/batch", {
            "searches": [{**everything, "query": query}]
        }
        yield "POST", "/collections/{}/points/query/groups", f"{qd}/points/query/groups", {
            "query": query,
            "group_by": "secret",
        }
        yield "POST", "/collections/{}/points/query", f"{qd}/points/query", {
            **everything,
            "prefetch": [{"query": query, "limit": 20}],
            "query": {"fusion": "rrf"},
        }
        yield "POST", "/collections/{}/points/query", f"{qd}/points/query", {
            **everything,
            "prefetch": [{"query": [0, 1, 0], "limit": 20}],
            "query": query,
        }
    yield "POST", "/collections/{}/points/search/batch", f"{qd}/points/search/batch", {
        "searches": [{**everything, "vector": [0, 1, 0], "filter": has}]
    }
    yield "POST", "/collections/{}/points/recommend", f"{qd}/points/recommend", {**everything, "positive": i}
    yield "POST", "/collections/{}/points/recommend/batch", f"{qd}/points/recommend/batch", {
        "searches": [{**everything, "positive": [i[0]], "negative": [i[1]]}]
    }
    yield "GET", "/collections/{}", qd, None
    yield "GET", "/collections/{}/exists", f"{qd}/exists", None
    yield "GET", "/collections/{}/aliases", f"{qd}/aliases", None
    yield "GET", "/collections", "/collections", None
    yield "GET", "/aliases", "/aliases", None
    assert quoted


def writes(i):
    """The same of calls that would change something."""
    v1, qd = "/v1/collections/shop", "/collections/shop"
    one, mine = i[0], {"tenant": "a", "mine": True}
    by_filter = {"must_not": [{"key": "tenant", "match": {"value": "a"}}]}
    for mode in ("upsert", "insert", "update", "merge"):
        for payload in (mine, {"tenant": "b"}, None):
            point = {"id": one, "vector": [9, 9, 9], **({"payload": payload} if payload else {})}
            yield "POST", "/v1/collections/{}/points", f"{v1}/points", {"mode": mode, "points": [point]}
    yield "POST", "/v1/collections/{}/points", f"{v1}/points", {
        "points": [{"id": one, "vector": [9, 9, 9], "payload": mine, "if_version": 1}]
    }
    yield "POST", "/v1/collections/{}/points/delete", f"{v1}/points/delete", {"ids": i}
    yield "POST", "/v1/collections/{}/points/delete", f"{v1}/points/delete", {"ids": i, "if_version": [1, 1]}
    for text in (
        "tenant = \"b\"",
        "secret = \"only-of-b\"",
        "true) or (true",
        "true",
        by_filter,
        {"must": [{"has_id": i}]},
    ):
        if text != "true":
            yield "POST", "/v1/collections/{}/points/delete", f"{v1}/points/delete", {"filter": text}
    yield "POST", "/v1/collections/{}/profiles/{}/events", f"{v1}/profiles/p/events", {
        "events": [{"item": one, "kind": "like"}]
    }
    yield "DELETE", "/v1/collections/{}/profiles/{}", f"{v1}/profiles/p", None
    point = {"id": one, "vector": [9, 9, 9], "payload": mine}
    yield "PUT", "/collections/{}/points", f"{qd}/points", {"points": [point]}
    yield "PUT", "/collections/{}/points", f"{qd}/points", {
        "batch": {"ids": i, "vectors": [[9, 9, 9]] * 2, "payloads": [mine] * 2}
    }
    yield "PUT", "/collections/{}/points", f"{qd}/points", {"points": [point], "update_filter": by_filter}
    operations = []
    for which in ({"points": i}, {"filter": by_filter}, {"filter": {"must": [{"has_id": i}]}}):
        operations += [
            ("POST", "/payload", "set_payload", {"payload": {"x": 1}, **which}),
            ("POST", "/payload", "set_payload", {"payload": {"tenant": "a"}, **which}),
            ("PUT", "/payload", "overwrite_payload", {"payload": mine, **which}),
            ("POST", "/payload/delete", "delete_payload", {"keys": ["secret"], **which}),
            ("POST", "/payload/clear", "clear_payload", which),
            ("POST", "/delete", "delete", which),
            ("POST", "/vectors/delete", "delete_vectors", {"vector": [""], **which}),
        ]
    operations += [("PUT", "/vectors", "update_vectors", {"points": [{"id": one, "vector": [9, 9, 9]}]})]
    for method, path, name, body in operations:
        yield method, "/collections/{}/points" + path, f"{qd}/points{path}", body
        yield "POST", "/collections/{}/points/batch", f"{qd}/points/batch", {"operations": [{name: body}]}
    yield "PUT", "/collections/{}/index", f"{qd}/index", {"field_name": "secret", "field_schema": "keyword"}
    yield "DELETE", "/collections/{}/index/{}", f"{qd}/index/tenant", None


def all_points(server, key):
    status, _, body = server.ask(
        "POST",
        "/v1/collections/shop/points/scroll",
        {"with": ["payload", "vector", "version"]},
        key=key,
        headers={"Accept": "application/x-ndjson"},
    )
    assert status == 200
    return {point["id"]: point for point in map(json.loads, body.splitlines())}


@pytest.fixture(params=[NUMBERS, TEXTS], ids=["numbers", "texts"])
def shop(request, tmp_path):
    """A server with two tenants, the ids of both, and the keys of the first tenant and of the operator."""
    kind = request.param
    (tmp_path / "shelf").mkdir()
    ops = make_key(tmp_path, "ops", "--role", "admin")
    tenant = make_key(tmp_path, "tenant", "--role", "write", "--segment", "a")
    with Server(tmp_path / "shelf", "--keys", tmp_path / "keys.json") as server:
        options = {
            "ids": kind["ids"],
            "vectors": [{"name": "", "dim": 3}],
            "segment_field": "tenant",
            "fields": [{"name": "tenant", "type": "tag"}, {"name": "secret", "type": "tag"}],
        }
        assert server.ask("PUT", "/v1/collections/shop", options, key=ops)[0] == 201
        points = [
            {"id": i, "vector": [1, n, 0], "payload": {"tenant": "a", "secret": "of-a"}}
            for n, i in enumerate(kind["mine"])
        ]
        points += [
            {"id": i, "vector": [0, 1, n], "payload": {"tenant": "b", "secret": MARK}}
            for n, i in enumerate(kind["others"])
        ]
        assert server.ask("POST", "/v1/collections/shop/points", {"points": points}, key=ops)[0] == 200
        yield server, kind, tenant, ops
        assert server.process.poll() is None


def plain(answer, ids):
    """An answer without what differs from call to call, and without the ids that were asked for."""
    answer = re.sub(r'"time":[0-9.e+-]+', "", answer.decode())
    for at, one in enumerate(ids):
        answer = answer.replace(str(one), f"<{at}>")
    return answer


def test_what_others_have_is_as_what_nobody_has(shop):
    server, kind, tenant, _ = shop
    for there, absent in zip(reads(kind["others"]), reads(kind["nobody"])):
        method, _, path, body = there
        status, _, answer = server.ask(method, path, body, key=tenant)
        assert status != 500 and MARK not in answer.decode().replace(json.dumps(body), ""), (there, answer)
        other, _, otherwise = server.ask(method, absent[2], absent[3], key=tenant)
        assert (status, plain(answer, kind["others"])) == (other, plain(otherwise, kind["nobody"])), there


def test_what_is_others_does_not_change(shop):
    server, kind, tenant, ops = shop
    before = all_points(server, ops)
    for method, _, path, body in writes(kind["others"]):
        status, _, answer = server.ask(method, path, body, key=tenant)
        assert status != 500 and MARK not in answer.decode(), (method, path, body, answer)
        after = all_points(server, ops)
        for one in kind["others"]:
            assert after[one] == before[one], (method, path, body, status, answer)
        for one in set(after) - set(before):
            assert after[one]["payload"]["tenant"] == "a"
    # What is its own it may change, with the same calls.
    for one in set(kind["mine"]):
        assert all_points(server, tenant).keys() <= set(kind["mine"])
    changed = {json.dumps(all_points(server, ops), sort_keys=True)}
    for method, _, path, body in writes(kind["mine"]):
        server.ask(method, path, body, key=tenant)
        changed.add(json.dumps(all_points(server, ops), sort_keys=True))
    assert len(changed) > 5


def test_its_own_may_be_examples_twice(shop):
    server, kind, tenant, _ = shop
    own, other = kind["mine"][0], kind["others"][0]
    for positive, status in (([own, own], 200), ([own, other], 404), ([own, own, kind["nobody"][0]], 404)):
        body = {"query": {"recommend": {"positive": positive}}}
        assert server.ask("POST", "/collections/shop/points/query", body, key=tenant)[0] == status


def test_counts_are_of_its_own(shop):
    server, _, tenant, ops = shop
    for key, count in ((tenant, 2), (ops, 4)):
        result = json.loads(server.ask("GET", "/collections/shop", key=key)[2])["result"]
        assert json.loads(server.ask("GET", "/v1/collections/shop", key=key)[2])["items"] == count
        assert json.loads(server.ask("GET", "/v1/collections", key=key)[2])["collections"][0]["items"] == count
        assert len(json.loads(server.ask("GET", "/v1/stats", key=key)[2])["collections"]) == (count == 4)
        assert result["points_count"] == count and result["payload_schema"]["secret"]["points"] == count


def test_every_route_is_tried(shop):
    server, kind, _, ops = shop
    tried = {(method, route) for method, route, _, _ in list(reads(kind["mine"])) + list(writes(kind["mine"]))}
    spec = json.loads(server.ask("GET", "/v1/openapi.json")[2])
    admin = {"rebuild", "fields", "check", "canary", "flip", "compact", "tune", "join", "snapshots", "jobs"}
    for path, methods in spec["paths"].items():
        route = re.sub(r"\{[^}]*\}", "{}", path)
        for method in methods:
            whole = (
                admin & set(path.split("/"))
                or method in ("put", "parameters")
                or (method == "delete" and "profiles" not in path)
            )
            if "/collections/" not in path or whole or (path.endswith("/generations") and method == "post"):
                continue
            if route != "/v1/collections/{}":
                assert (method.upper(), route) in tried, (method, path)
    text = (ROOT / "server" / "qdrant" / "family.c").read_text()
    for method, prefix, rest, role, op in re.findall(
        r'\{KS_(\w+), (?:(C|P|SS)\b)? ?(?:"([^"]*)")?, KS_(\w+), "(\w+)"', text
    ):
        route = {"": "", "C": "/collections/{}", "P": "/collections/{}/points", "SS": "/"}[prefix] + rest
        if role != "ADMIN" and op not in ("not_offered", "root", "cluster"):
            assert (method, route) in tried, (method, route)


def test_a_key_of_other_collections_sees_nothing(shop, tmp_path):
    server, kind, _, ops = shop
    assert server.ask("PUT", "/v1/collections/mine", {"vectors": [{"dim": 3}]}, key=ops)[0] == 201
    actions = {"actions": [{"create_alias": {"alias_name": "store", "collection_name": "shop"}}]}
    assert server.ask("POST", "/collections/aliases", actions, key=ops)[0] == 200
    bound = make_key(tmp_path, "bound", "--role", "admin", "--collection", "mine", "--collection", "store")
    server.process.send_signal(1)
    server.wait_for_log("3 keys were read anew")
    for method, _, path, body in list(reads(kind["others"])) + list(writes(kind["others"])):
        for name in ("shop", "store"):  # an alias may be named, and leads to what may not
            status, _, answer = server.ask(method, path.replace("/shop", "/" + name), body, key=bound)
            assert MARK not in answer.decode().replace(json.dumps(body), ""), (method, path, body, answer)
            listing = path in ("/collections", "/aliases") or path.endswith("/exists")
            assert status in (403, 404) or listing, (method, path, name, status, answer)
            assert path != "/collections" or b"shop" not in answer
            assert path != "/aliases" or b"store" not in answer
    assert len(all_points(server, ops)) == 4
