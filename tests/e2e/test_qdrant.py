# SPDX-License-Identifier: Apache-2.0
"""Qdrant's REST, byte by byte as its clients send it, without them (tests/clients has those)."""
import itertools
import json

import pytest
from serving import Server

ROWS = 200
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("qdrant") / "shelf", "--create", "--durability", "relaxed") as running:
        yield running


@pytest.fixture
def ask(server):
    def one(method, path, body=None, status=200):
        got, headers, text = server.ask(method, path, body)
        assert got == status, text
        assert headers["Content-Type"].startswith("application/json")
        answer = json.loads(text)
        assert answer["time"] >= 0
        if status == 200:
            assert answer["status"] == "ok"
            return answer["result"]
        return answer["status"]["error"]
    return one


def vector(number):
    return [1.0, number / ROWS, number % 7 / 7, 0.0]


@pytest.fixture
def shop(ask):
    name = f"shop-{next(NUMBERS)}"
    assert ask("PUT", f"/collections/{name}", {"vectors": {"size": 4, "distance": "Euclid"}}) is True
    points = [{"id": i, "vector": vector(i), "payload": {"n": i, "kind": "ab"[i % 2], "o": {"p": i % 3}}}
              for i in range(ROWS)]
    done = ask("PUT", f"/collections/{name}/points?wait=true", {"points": points})
    assert done["status"] == "completed" and done["operation_id"] > 0
    yield name
    assert ask("DELETE", f"/collections/{name}") is True


def test_the_root_says_what_it_is(server):
    status, _, text = server.ask("GET", "/")
    answer = json.loads(text)
    assert status == 200 and "qdrant" in answer["title"] and answer["version"].count(".") == 2


def test_nearest(ask, shop):
    found = ask("POST", f"/collections/{shop}/points/query", {"query": vector(50), "limit": 3, "with_payload": True})
    assert found["points"][0] == {"id": 50, "version": 1, "score": 0, "payload": {"n": 50, "kind": "a", "o": {"p": 2}}}
    scores = [point["score"] for point in found["points"]]
    assert scores == sorted(scores) and len(scores) == 3
    old = ask("POST", f"/collections/{shop}/points/search", {"vector": {"name": "", "vector": vector(50)}, "limit": 3})
    assert [p["id"] for p in old] == [p["id"] for p in found["points"]] and "payload" not in old[0]
    many = ask("POST", f"/collections/{shop}/points/query/batch", {"searches": [
        {"query": vector(i), "limit": 1} for i in range(40)]})
    assert [each["points"][0]["id"] for each in many] == list(range(40))


@pytest.mark.parametrize("chosen, count", [
    ({"must": [{"key": "kind", "match": {"value": "a"}}]}, 100),
    ({"must": {"key": "o.p", "match": {"any": [0, 2]}}, "must_not": [{"key": "n", "range": {"lt": 100}}]}, 66),
    ({"should": [{"has_id": [1, 2, 777]}, {"key": "n", "range": {"gte": 195}}]}, 7),
    ({"min_should": {"conditions": [{"key": "kind", "match": {"value": "a"}}, {"key": "n", "range": {"lt": 10}},
                                    {"key": "o.p", "match": {"value": 0}}], "min_count": 3}}, 2)])
def test_filters(ask, shop, chosen, count):
    assert ask("POST", f"/collections/{shop}/points/count", {"filter": chosen}) == {"count": count}
    found = ask("POST", f"/collections/{shop}/points/query", {"query": vector(3), "limit": 500, "filter": chosen})
    assert len(found["points"]) == count
    assert ask("POST", f"/collections/{shop}/points/delete", {"filter": chosen})["status"] == "completed"
    assert ask("POST", f"/collections/{shop}/points/count", {}) == {"count": ROWS - count}


def test_pages(ask, shop):
    seen, offset = [], None
    while True:
        body = {"limit": 30, "with_payload": False, **({"offset": offset} if offset is not None else {})}
        page = ask("POST", f"/collections/{shop}/points/scroll", body)
        seen += [point["id"] for point in page["points"]]
        offset = page["next_page_offset"]
        if offset is None:
            break
        assert offset == len(seen)
    assert seen == list(range(ROWS))


def test_two_rankings_become_one(ask, shop):
    legs = [{"query": vector(10), "limit": 4}, {"query": vector(11), "limit": 4}]
    found = ask("POST", f"/collections/{shop}/points/query", {"prefetch": legs, "query": {"fusion": "rrf"}, "limit": 8})
    ranks = {}
    for leg in legs:
        for rank, point in enumerate(ask("POST", f"/collections/{shop}/points/query", leg)["points"]):
            ranks[point["id"]] = ranks.get(point["id"], 0) + 1 / (rank + 2)
    assert {p["id"]: pytest.approx(p["score"]) for p in found["points"]} == ranks
    again = ask("POST", f"/collections/{shop}/points/query", {"prefetch": legs, "query": vector(100), "limit": 8})
    assert {p["id"] for p in again["points"]} == set(ranks)


def test_groups_look_as_deep_as_they_must(ask, shop):
    """The nearest hundred are all of one kind: the other group is behind them."""
    ask("POST", f"/collections/{shop}/points/payload", {"payload": {"kind": "a"}, "filter": {"must": [
        {"key": "n", "range": {"lt": 190}}]}})
    ask("POST", f"/collections/{shop}/points/payload", {"payload": {"kind": "b"}, "filter": {"must": [
        {"key": "n", "range": {"gte": 190}}]}})
    found = ask("POST", f"/collections/{shop}/points/query/groups", {"query": vector(0), "group_by": "kind",
                                                                     "group_size": 5, "limit": 2})
    assert [(group["id"], len(group["hits"])) for group in found["groups"]] == [("a", 5), ("b", 5)]


def test_ids_come_back_as_they_went_in(ask, shop):
    ids = [2**64 - 1, "0123abcd-4567-89ab-cdef-0123456789ab", "a shoe"]
    sent = [ids[0], "0123ABCD456789ABCDEF0123456789AB", ids[2]]
    ask("PUT", f"/collections/{shop}/points", {"points": [{"id": i, "vector": vector(1)} for i in sent]})
    got = ask("POST", f"/collections/{shop}/points", {"ids": sent, "with_vector": True})
    assert [point["id"] for point in got] == ids and got[0]["vector"] == pytest.approx(vector(1))
    assert ask("GET", f"/collections/{shop}/points/a%20shoe")["id"] == "a shoe"


@pytest.mark.parametrize("method, path, body, status, said", [
    ("GET", "/collections/nowhere", None, 404, "Not found: Collection `nowhere` doesn't exist!"),
    ("PUT", "/collections/{}", {"vectors": {"size": 4, "distance": "Dot"}}, 409, "already exists"),
    ("PUT", "/collections/other", {"vectors": {"size": 4, "distance": "Manhattan"}}, 400, "Manhattan"),
    ("PUT", "/collections/other", {"sparse_vectors": {"s": {}}}, 400, "sparse vectors"),
    ("POST", "/collections/{}/points/query", {"query": [1, 2]}, 400, "expected dim: 4, got 2"),
    ("POST", "/collections/{}/points/query", {"query": {"indices": [1], "values": [1]}}, 400, "sparse vectors"),
    ("POST", "/collections/{}/points/query", {"query": {"sample": "random"}}, 400, "sample"),
    ("POST", "/collections/{}/points/query", {"query": 4711}, 404, "found"),
    ("POST", "/collections/{}/points/query", {"query": [1, 2, 3, 4], "filter": {"must": [
        {"key": "a", "match": {"text": "x"}}]}}, 400, "text"),
    ("POST", "/collections/{}/points/scroll", {"order_by": "n"}, 501, "order_by"),
    ("POST", "/collections/{}/points/payload", {"payload": {"a": 1}, "points": [4711]}, 404, "No point"),
    ("POST", "/collections/{}/snapshots", {}, 501, "snapshots"),
    ("GET", "/collections/{}/cluster", None, 501, "cluster"),
    ("GET", "/collections/{}/nothing/here", None, 404, "")])
def test_what_is_refused_says_why(ask, shop, method, path, body, status, said):
    assert said in ask(method, path.format(shop), body, status)
    assert ask("POST", f"/collections/{shop}/points/count", {}) == {"count": ROWS}
