# SPDX-License-Identifier: Apache-2.0
"""Keys: roles, collections that a key may name, segments that it is bound to; and collections made by `kith create`."""
import hashlib
import json
import os
import subprocess

import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse
from serving import KITH, Server

KEYS = {"boss": {"role": "admin"}, "writer": {"role": "write"}, "reader": {"role": "read"},
        "ann": {"role": "write", "segment": "ann"}, "other": {"role": "admin", "collections": ["elsewhere"]}}


def secret(name):
    return f"the-secret-of-{name}-which-is-long-and-random"


@pytest.fixture(scope="module")
def clients(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    (folder / "shelf").mkdir()
    for ids, name in (([], "numbers"), (["--string-ids"], "texts")):
        subprocess.run([KITH, "create", str(folder / "shelf" / name), "--dim", "4", "--metric", "ip", *ids,
                        "--fields", "user:tag", "--segment-field", "user"], check=True)
    keys = folder / "keys.json"
    keys.write_text(json.dumps({"keys": [{"name": name, "sha256": hashlib.sha256(secret(name).encode()).hexdigest(),
                                          **rest} for name, rest in KEYS.items()]}))
    os.chmod(keys, 0o600)
    server = Server(folder / "shelf", "--keys", str(keys))
    made = {name: QdrantClient(url=server.url, api_key=secret(name), check_compatibility=False) for name in KEYS}
    made["nobody"] = QdrantClient(url=server.url, check_compatibility=False)
    yield made
    for each in made.values():
        each.close()
    server.stop()


def point(number, user):
    return models.PointStruct(id=number, vector=[1.0, number, 0, 0], payload={"user": user, "n": number})


@pytest.fixture(params=["numbers", "texts"])
def shop(clients, request):
    clients["boss"].delete(request.param, models.Filter(must=[]))
    clients["boss"].upsert(request.param, [point(i, "ann" if i % 2 else "bob") for i in range(10)])
    return request.param


def refused(status, action, *arguments, **options):
    with pytest.raises(UnexpectedResponse) as caught:
        action(*arguments, **options)
    assert caught.value.status_code == status, caught.value
    assert caught.value.structured()["status"]["error"]


def test_roles(clients, shop):
    refused(401, clients["nobody"].count, shop)
    assert clients["reader"].count(shop).count == 10
    refused(403, clients["reader"].upsert, shop, [point(1, "x")])
    refused(403, clients["writer"].delete_collection, shop)
    refused(403, clients["other"].count, shop)
    assert [c.name for c in clients["other"].get_collections().collections] == []
    refused(403, clients["other"].update_collection_aliases, [models.CreateAliasOperation(
        create_alias=models.CreateAlias(collection_name=shop, alias_name="elsewhere"))])


def test_a_segment_is_all_that_its_key_sees(clients, shop):
    ann = clients["ann"]
    assert ann.count(shop).count == 5 and ann.get_collection(shop).points_count == 5
    assert {p.id for p in ann.query_points(shop, [1.0] * 4, limit=50).points} == {1, 3, 5, 7, 9}
    assert {p.id for p in ann.query_points(shop, limit=50).points} == {1, 3, 5, 7, 9}
    assert {p.id for p in ann.scroll(shop, limit=50)[0]} == {1, 3, 5, 7, 9}
    assert {p.id for p in ann.retrieve(shop, list(range(10)))} == {1, 3, 5, 7, 9}
    assert {h.value: h.count for h in ann.facet(shop, "user").hits} == {"ann": 5}
    wish = models.Filter(should=[models.FieldCondition(key="user", match=models.MatchValue(value="bob"))])
    assert ann.count(shop, wish).count == 0
    assert ann.query_points(shop, [1.0] * 4, query_filter=wish).points == []
    both = [models.Prefetch(query=[1.0] * 4, limit=50), models.Prefetch(query=[0.0, 1, 0, 0], limit=50)]
    found = ann.query_points(shop, models.FusionQuery(fusion=models.Fusion.RRF), prefetch=both, limit=50).points
    assert {p.id for p in found} == {1, 3, 5, 7, 9}
    groups = ann.query_points_groups(shop, group_by="user", query=[1.0] * 4, limit=5, group_size=9).groups
    assert [g.id for g in groups] == ["ann"]
    refused(404, ann.query_points, shop, 2)
    refused(404, ann.query_points, shop, models.RecommendQuery(
        recommend=models.RecommendInput(positive=[1], negative=[2])))


def test_a_segment_is_all_that_its_key_writes(clients, shop):
    ann, boss = clients["ann"], clients["boss"]
    before = boss.scroll(shop, models.Filter(must_not=[models.FieldCondition(
        key="user", match=models.MatchValue(value="ann"))]), limit=50, with_vectors=True)[0]
    ann.upsert(shop, [point(1, "ann"), point(101, "ann")])
    refused(403, ann.upsert, shop, [point(102, "bob")])
    refused(403, ann.upsert, shop, [point(2, "ann")])  # it is bob's
    refused(403, ann.upsert, shop, [models.PointStruct(id=103, vector=[1.0] * 4)])
    refused(403, ann.set_payload, shop, {"user": "bob"}, points=[1])
    refused(403, ann.overwrite_payload, shop, {"n": 1}, points=[1])
    refused(404, ann.set_payload, shop, {"x": 1}, points=[2])
    refused(403, ann.update_vectors, shop, [models.PointVectors(id=2, vector=[9.0] * 4)])
    ann.delete(shop, [1, 2])
    ann.set_payload(shop, {"flag": True}, points=models.Filter(must=[]))
    ann.delete(shop, models.Filter(must=[models.HasIdCondition(has_id=[3, 4])]))
    refused(403, ann.delete_collection, shop)
    refused(403, ann.create_payload_index, shop, "x", "keyword")
    after = boss.scroll(shop, models.Filter(must_not=[models.FieldCondition(
        key="user", match=models.MatchValue(value="ann"))]), limit=50, with_vectors=True)[0]
    assert before == after
    assert {p.id for p in ann.scroll(shop, limit=50)[0]} == {5, 7, 9, 101}
    assert all(p.payload["flag"] for p in ann.scroll(shop, limit=50)[0])


def test_ids_of_collections_made_otherwise(clients):
    boss = clients["boss"]
    refused(400, boss.upsert, "numbers", [models.PointStruct(id="7f0d2a30-0000-4000-8000-000000000001",
                                                             vector=[1.0] * 4, payload={"user": "x"})])
    refused(400, boss.retrieve, "numbers", ["some text"])
    boss.upsert("texts", [models.PointStruct(id="any text", vector=[1.0] * 4, payload={"user": "x"})])
    assert boss.retrieve("texts", ["any text"])[0].id == "any text"
    assert boss.get_collection("numbers").config.params.vectors.distance == models.Distance.DOT
