# SPDX-License-Identifier: Apache-2.0
"""Collections, indexes, aliases, and what is said when something is wrong or not offered."""
import asyncio
import uuid

import httpx
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse
from serving import Server

PLAIN = models.VectorParams(size=4, distance=models.Distance.COSINE)


@pytest.fixture
def name(client):
    made = f"n-{uuid.uuid4().hex[:10]}"
    yield made
    client.delete_collection(made)


def said(status, action, *arguments, **options):
    """What is said, in the envelope of errors."""
    with pytest.raises(UnexpectedResponse) as caught:
        action(*arguments, **options)
    assert caught.value.status_code == status, caught.value
    return caught.value.structured()["status"]["error"]


def test_life_of_a_collection(client, name):
    assert not client.collection_exists(name)
    assert client.create_collection(name, vectors_config=PLAIN)
    assert client.collection_exists(name)
    assert name in [c.name for c in client.get_collections().collections]
    assert "already exists" in said(409, client.create_collection, name, vectors_config=PLAIN)
    assert client.delete_collection(name)
    assert not client.delete_collection(name)
    assert said(404, client.get_collection, name) == f"Not found: Collection `{name}` doesn't exist!"
    assert said(404, client.count, name) == f"Not found: Collection `{name}` doesn't exist!"
    assert said(404, client.query_points, name, [0.0] * 4) == f"Not found: Collection `{name}` doesn't exist!"
    for _ in range(2):
        with pytest.warns(DeprecationWarning):
            client.recreate_collection(name, vectors_config=PLAIN)
    assert client.count(name).count == 0


def test_names_that_folders_could_not_have(client):
    for made in ("With Blanks", "straße", "UPPER", "a.b", "x" * 60):
        client.create_collection(made, vectors_config=PLAIN)
        client.upsert(made, [models.PointStruct(id=1, vector=[1.0, 0, 0, 0])])
        assert client.count(made).count == 1
        assert client.delete_collection(made)
    said(400, client.create_collection, "x" * 100, vectors_config=PLAIN)


def test_what_a_collection_was_made_with_is_told_again(client, name):
    client.create_collection(
        name, vectors_config={"a": models.VectorParams(size=4, distance=models.Distance.DOT, on_disk=True,
                                                       datatype=models.Datatype.FLOAT16),
                              "b": models.VectorParams(size=3, distance=models.Distance.EUCLID,
                                                       hnsw_config=models.HnswConfigDiff(m=32))},
        hnsw_config=models.HnswConfigDiff(m=24, ef_construct=77), optimizers_config=models.OptimizersConfigDiff(
            indexing_threshold=5, max_segment_size=1000), shard_number=2, metadata={"owner": "us", "n": [1, 2]},
        quantization_config=models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type="int8")))
    info = client.get_collection(name)
    assert info.status == models.CollectionStatus.GREEN and info.points_count == 0
    vectors = info.config.params.vectors
    assert (vectors["a"].size, vectors["a"].distance, vectors["a"].on_disk) == (4, models.Distance.DOT, True)
    assert vectors["a"].datatype == models.Datatype.FLOAT16
    assert vectors["b"].distance == models.Distance.EUCLID and vectors["b"].hnsw_config.m == 32
    assert info.config.params.shard_number == 2
    assert (info.config.hnsw_config.m, info.config.hnsw_config.ef_construct) == (24, 77)
    assert info.config.optimizer_config.indexing_threshold == 5
    assert info.config.metadata == {"owner": "us", "n": [1, 2]}
    assert info.config.quantization_config.scalar.type == "int8"
    assert client.update_collection(name, hnsw_config=models.HnswConfigDiff(m=8), metadata={"more": 1},
                                    vectors_config={"a": models.VectorParamsDiff(on_disk=False)})
    info = client.get_collection(name)
    assert (info.config.hnsw_config.m, info.config.hnsw_config.ef_construct) == (8, 77)
    assert info.config.metadata == {"owner": "us", "n": [1, 2], "more": 1}
    assert info.config.params.vectors["a"].on_disk is False


def test_indexes(client, name):
    client.create_collection(name, vectors_config=PLAIN)
    client.upsert(name, [models.PointStruct(id=i, vector=[1.0, i, 0, 0], payload={
        "k": "x", "i": i, "f": i / 2, "b": True, "d": "2026-01-01T00:00:00Z",
        "u": str(uuid.uuid4())}) for i in range(5)])
    kinds = {"k": models.PayloadSchemaType.KEYWORD,
             "i": models.IntegerIndexParams(type="integer", lookup=True, range=True),
             "f": "float", "b": "bool", "d": models.DatetimeIndexParams(type="datetime"), "u": "uuid"}
    for field, kind in kinds.items():
        assert client.create_payload_index(name, field, kind).status == models.UpdateStatus.COMPLETED
        client.create_payload_index(name, field, kind)  # twice is fine
    schema = client.get_collection(name).payload_schema
    assert {field: info.data_type.value for field, info in schema.items()} == {
        "k": "keyword", "i": "integer", "f": "float", "b": "bool", "d": "datetime", "u": "uuid"}
    assert all(info.points == 5 for info in schema.values())
    client.delete_payload_index(name, "k")
    assert "k" not in client.get_collection(name).payload_schema
    assert client.count(name, models.Filter(must=[models.FieldCondition(
        key="k", match=models.MatchValue(value="x"))])).count == 5
    assert "text" in said(400, client.create_payload_index, name, "t", "text")
    assert "geo" in said(400, client.create_payload_index, name, "g", "geo")


def test_aliases(client, name):
    client.create_collection(name, vectors_config=PLAIN)
    client.upsert(name, [models.PointStruct(id=1, vector=[1.0, 0, 0, 0])])
    alias, other = f"{name}-alias", f"{name}-other"
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=models.CreateAlias(
        collection_name=name, alias_name=alias))])
    assert client.count(alias).count == 1
    assert client.query_points(alias, [1.0, 0, 0, 0]).points[0].id == 1
    client.update_collection_aliases([models.RenameAliasOperation(rename_alias=models.RenameAlias(
        old_alias_name=alias, new_alias_name=other))])
    assert [a.alias_name for a in client.get_collection_aliases(name).aliases] == [other]
    assert other in [a.alias_name for a in client.get_aliases().aliases]
    client.update_collection_aliases([models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=other))])
    assert client.get_collection_aliases(name).aliases == []
    said(404, client.count, other)


def test_what_is_not_offered_says_so(client, name):
    def made(**options):
        return said(400, client.create_collection, name, **options)

    assert "Manhattan" in made(vectors_config=models.VectorParams(size=4, distance=models.Distance.MANHATTAN))
    assert "multivectors" in made(vectors_config=models.VectorParams(
        size=4, distance=models.Distance.DOT, multivector_config=models.MultiVectorConfig(comparator="max_sim")))
    assert "dense" in made(sparse_vectors_config={"s": models.SparseVectorParams()})
    client.create_collection(name, vectors_config=PLAIN)
    client.upsert(name, [models.PointStruct(id=1, vector=[1.0, 0, 0, 0])])
    sparse = models.SparseVector(indices=[1], values=[1.0])
    assert "sparse" in said(400, client.query_points, name, sparse)
    assert "sparse" in said(400, client.upsert, name, [models.PointStruct(id=2, vector={"s": sparse})])
    assert "multivectors" in said(400, client.query_points, name, [[1.0, 0, 0, 0]])

    def refused(what, **condition):
        for action in (client.count, client.query_points):
            option = "count_filter" if action == client.count else "query_filter"
            assert what in said(400, action, name, **{option: models.Filter(must=[
                condition.get("whole") or models.FieldCondition(key="a", **condition)])})

    refused("text", match=models.MatchText(text="x"))
    refused("geo_radius", geo_radius=models.GeoRadius(center=models.GeoPoint(lon=1, lat=1), radius=1))
    refused("values_count", values_count=models.ValuesCount(gt=1))
    refused("nested", whole=models.NestedCondition(nested=models.Nested(key="a", filter=models.Filter(must=[]))))
    refused("has_vector", whole=models.HasVectorCondition(has_vector=""))
    refused("a[].b", whole=models.FieldCondition(key="a[].b", match=models.MatchValue(value=1)))
    assert "order_by" in said(501, client.scroll, name, order_by="a")
    for query, what in ((models.DiscoverQuery(discover=models.DiscoverInput(target=1, context=[])), "discover"),
                        (models.OrderByQuery(order_by="a"), "order_by"),
                        (models.SampleQuery(sample=models.Sample.RANDOM), "sample"),
                        (models.FormulaQuery(formula=1.0), "formula")):
        assert what in said(400, client.query_points, name, query)
    assert "best_score" in said(400, client.query_points, name, models.RecommendQuery(
        recommend=models.RecommendInput(positive=[1], strategy="best_score")))
    assert "napshots" in said(501, client.create_snapshot, name)
    assert "cluster" in said(501, client.collection_cluster_info, name)
    assert "shard" in said(501, client.create_shard_key, name, "k")
    assert client.cluster_status().status == "disabled"


def test_what_is_wrong_says_so(client, server, name):
    client.create_collection(name, vectors_config=PLAIN)
    client.upsert(name, [models.PointStruct(id=1, vector=[1.0, 0, 0, 0])])
    assert "expected dim: 4, got 3" in said(400, client.query_points, name, [1.0, 2, 3])
    assert "expected dim: 4, got 3" in said(400, client.upsert, name, [models.PointStruct(id=2, vector=[1.0, 2, 3])])
    assert "Not existing vector name" in said(400, client.query_points, name, [1.0] * 4, using="other")
    assert "zero" in said(400, client.upsert, name, [models.PointStruct(id=2, vector=[0.0] * 4)])
    assert "found" in said(404, client.query_points, name, 4711)
    assert "No point" in said(404, client.set_payload, name, {"a": 1}, points=[4711])
    said(404, client.update_vectors, name, [models.PointVectors(id=4711, vector=[1.0] * 4)])
    assert client.retrieve(name, [4711]) == []
    for method, path, body, status in (
            ("PUT", f"/collections/{name}/points", "{", 400),
            ("PUT", f"/collections/{name}/points", "[]", 400),
            ("PUT", f"/collections/{name}/points", '{"points": [{"id": -1, "vector": [1,2,3,4]}]}', 400),
            ("PUT", f"/collections/{name}/points", '{"points": [{"id": 1.5, "vector": [1,2,3,4]}]}', 400),
            ("PUT", f"/collections/{name}/points", '{"points": [{"id": 1, "vector": "x"}]}', 400),
            ("PUT", f"/collections/{name}/points", '{"points": [{"id": 1, "payload": []}]}', 400),
            ("PUT", f"/collections/{name}/points", '{"batch": {"ids": [1, 2], "vectors": [[1,2,3,4]]}}', 400),
            ("POST", f"/collections/{name}/points/query", '{"query": [1,2,3,4], "limt": 3}', 400),
            ("POST", f"/collections/{name}/points/query", '{"query": [1,2,3,4], "limit": 0}', 400),
            ("POST", f"/collections/{name}/points/query", '{"query": [1,2,3,4], "limit": 99999999}', 400),
            ("POST", f"/collections/{name}/points/query", '{"query": [1,2,3,4], "filter": {"mst": []}}', 400),
            ("POST", f"/collections/{name}/points/query", '{"query": {}}', 400),
            ("POST", f"/collections/{name}/points/query/groups", '{"query": [1,2,3,4]}', 400),
            ("POST", f"/collections/{name}/points/delete", "{}", 400),
            ("GET", f"/collections/{name}/points/4711", None, 404),
            ("GET", f"/collections/{name}/nothing", None, 404),
            ("PATCH", f"/collections/{name}/points", None, 405)):
        answer = httpx.request(method, server.url + path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status, (method, path, body, answer.text)
        assert isinstance(answer.json()["status"]["error"], str), answer.text
    assert client.count(name).count == 1


def test_the_old_searches(server, client, name):
    """Gone from the client of today, and still called by older ones."""
    client.create_collection(name, vectors_config=PLAIN)
    client.upsert(name, [models.PointStruct(id=i, vector=[1.0, i, 0, 0], payload={"i": i}) for i in range(5)])
    base = f"{server.url}/collections/{name}/points"
    found = httpx.post(base + "/search", json={"vector": [1, 3, 0, 0], "limit": 2, "with_payload": True}).json()
    assert [p["id"] for p in found["result"]] == [3, 2] or [p["id"] for p in found["result"]] == [3, 4]
    assert found["status"] == "ok" and found["result"][0]["payload"] == {"i": 3}
    named = {"vector": {"name": "", "vector": [1, 3, 0, 0]}, "limit": 1}
    found = httpx.post(base + "/search/batch", json={"searches": [named, named]}).json()
    assert [[p["id"] for p in each] for each in found["result"]] == [[3], [3]]
    found = httpx.post(base + "/recommend", json={"positive": [3], "negative": [0], "limit": 1}).json()
    assert found["result"][0]["id"] == 4
    one = httpx.get(base + "/3").json()["result"]
    assert one["payload"] == {"i": 3} and one["vector"] == [1, 3, 0, 0]


def test_sparse_vectors_that_are_announced_are_a_warning(client, name):
    client.create_collection(name, vectors_config=PLAIN, sparse_vectors_config={"bm25": models.SparseVectorParams()})
    info = client.get_collection(name)
    assert not info.config.params.sparse_vectors
    assert "sparse" in info.warnings[0].message


def test_async_client(server):
    async def run():
        client, name = AsyncQdrantClient(url=server.url, prefer_grpc=False), f"a-{uuid.uuid4().hex[:8]}"
        await client.create_collection(name, vectors_config=PLAIN)
        await asyncio.gather(*[client.upsert(name, [models.PointStruct(id=i, vector=[1.0, i, 0, 0])])
                               for i in range(30)])
        answers = await asyncio.gather(*[client.query_points(name, [1.0, i, 0, 0], limit=1) for i in range(30)])
        assert [a.points[0].id for a in answers] == list(range(30))
        assert (await client.count(name)).count == 30
        await client.delete_collection(name)
        await client.close()

    asyncio.run(run())


def test_many_queries_of_one_call_beside_others(client, name):
    client.create_collection(name, vectors_config=PLAIN)
    client.upsert(name, [models.PointStruct(id=i, vector=[1.0, i, 0, 0]) for i in range(50)])
    for _ in range(20):
        requests = [models.QueryRequest(query=[1.0, i, 0, 0], limit=1 + i % 3) for i in range(50)]
        answers = client.query_batch_points(name, requests)
        assert [a.points[0].id for a in answers] == list(range(50))


def test_ids_up_to_the_largest(client, name):
    client.create_collection(name, vectors_config=PLAIN)
    ids = [0, 2**53 + 1, 2**63 - 1, 2**64 - 1]
    client.upsert(name, [models.PointStruct(id=i, vector=[1.0, 0, 0, 1]) for i in ids])
    assert sorted(p.id for p in client.scroll(name)[0]) == ids
    assert [p.id for p in client.retrieve(name, ids)] == ids
    chosen = models.Filter(must=[models.HasIdCondition(has_id=ids[1:])])
    assert client.count(name, chosen).count == 3


def test_what_was_written_is_there_after_a_restart(tmp_path):
    for round_ in range(2):
        running = Server(tmp_path / "shelf", "--create")
        client = QdrantClient(url=running.url, check_compatibility=False)
        if round_ == 0:
            client.create_collection("kept", vectors_config=PLAIN, metadata={"a": 1})
            client.upsert("kept", [models.PointStruct(id=1, vector=[1.0, 0, 0, 0], payload={"x": "y"})])
        assert client.get_collection("kept").config.metadata == {"a": 1}
        assert client.retrieve("kept", [1])[0].payload == {"x": "y"}
        client.close()
        running.stop()
