# SPDX-License-Identifier: Apache-2.0
"""The same calls to kith and to the client's local mode give the same."""
import math
import uuid

import numpy as np
import pytest
from qdrant_client import models

ROWS, DIM = 120, 12
COLORS = ["red", "green", "blue", "black"]


def value(key, what):
    return models.FieldCondition(key=key, match=models.MatchValue(value=what))


def ranged(key, **ends):
    return models.FieldCondition(key=key, range=models.Range(**ends))


def points(seed=1, named=False, ids=None):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(ROWS, DIM)).astype(np.float32)
    made = []
    for i in range(ROWS):
        payload = {"number": i, "price": i / 4, "color": COLORS[i % 4], "sold": i % 3 == 0,
                   "tags": [COLORS[i % 4], COLORS[(i // 4) % 4]], "shop": {"city": f"city-{i % 5}", "floor": i % 2},
                   "when": f"2026-01-{i % 28 + 1:02d}T12:00:00Z"}
        if i % 7 == 0:
            payload["note"] = f"note {i}"
        vector = vectors[i].tolist()
        if named:
            vector = {"image": vector, "title": vectors[i][:5].tolist()}
        made.append(models.PointStruct(id=ids[i] if ids else i, vector=vector, payload=payload))
    return made


class Pair:
    """kith and local mode, side by side."""

    def __init__(self, kith, local):
        self.name, self.clients = f"c-{uuid.uuid4().hex[:12]}", (kith, local)

    def both(self, method, *arguments, **options):
        return [getattr(each, method)(self.name, *arguments, **options) for each in self.clients]

    def make(self, distance=models.Distance.COSINE, named=False, ids=None):
        config = models.VectorParams(size=DIM, distance=distance)
        if named:
            config = {"image": config, "title": models.VectorParams(size=5, distance=models.Distance.DOT)}
        self.both("create_collection", vectors_config=config)
        self.both("upsert", points(named=named, ids=ids))
        return self


@pytest.fixture
def pair(client, local):
    made = Pair(client, local)
    yield made
    client.delete_collection(made.name)


def close(a, b):
    return math.isclose(a, b, rel_tol=2e-4, abs_tol=2e-5)


def same_points(got, wanted, ordered=True, payload=True):
    assert len(got) == len(wanted)
    if not ordered:
        got, wanted = (sorted(each, key=lambda point: str(point.id)) for each in (got, wanted))
    for a, b in zip(got, wanted):
        assert a.id == b.id
        if payload:
            assert a.payload == b.payload
        if hasattr(b, "score"):
            assert close(a.score, b.score), (a, b)


def query_of(seed=5, dim=DIM):
    return np.random.default_rng(seed).normal(size=dim).astype(np.float32).tolist()


@pytest.mark.parametrize("distance", [models.Distance.COSINE, models.Distance.DOT, models.Distance.EUCLID])
def test_nearest_by_each_distance(pair, distance):
    pair.make(distance)
    for seed in range(5):
        same_points(*[r.points for r in pair.both("query_points", query_of(seed), limit=12)])
    same_points(*[r.points for r in pair.both("query_points", query_of(), limit=5, offset=7)])
    exact = models.SearchParams(exact=True, hnsw_ef=64)
    same_points(*[r.points for r in pair.both("query_points", query_of(), limit=5, search_params=exact)])
    scores = [p.score for p in pair.clients[1].query_points(pair.name, query_of(), limit=20).points]
    threshold = (scores[7] + scores[8]) / 2
    results = pair.both("query_points", query_of(), limit=20, score_threshold=threshold)
    assert len(results[0].points) == 8
    same_points(*[r.points for r in results])


def test_named_vectors(pair):
    pair.make(named=True)
    for using, dim in (("image", DIM), ("title", 5)):
        same_points(*[r.points for r in pair.both("query_points", query_of(dim=dim), using=using, limit=9)])
    got, wanted = pair.both("retrieve", [3, 4], with_vectors=["title"])
    for a, b in zip(got, wanted):
        assert list(a.vector) == ["title"]
        assert np.allclose(a.vector["title"], b.vector["title"], atol=1e-6)
    got, wanted = pair.both("retrieve", [3], with_vectors=True)
    assert set(got[0].vector) == set(wanted[0].vector)


FILTERS = {
    "value": models.Filter(must=[value("color", "red")]),
    "integer": models.Filter(must=[value("number", 17)]),
    "boolean": models.Filter(must=[value("sold", True)]),
    "array": models.Filter(must=[value("tags", "green")]),
    "array with brackets": models.Filter(must=[value("tags[]", "green")]),
    "nested": models.Filter(must=[value("shop.city", "city-2")]),
    "any": models.Filter(must=[models.FieldCondition(key="color", match=models.MatchAny(any=["red", "blue"]))]),
    "any of integers": models.Filter(
        must=[models.FieldCondition(key="number", match=models.MatchAny(any=[1, 5, 99]))]),
    "except": models.Filter(
        must=[models.FieldCondition(key="color", match=models.MatchExcept(**{"except": ["red"]}))]),
    "except of what may be missing": models.Filter(
        must=[models.FieldCondition(key="note", match=models.MatchExcept(**{"except": ["note 7"]}))]),
    "range": models.Filter(must=[ranged("price", gte=3, lt=9.5)]),
    "range gt lte": models.Filter(must=[ranged("number", gt=40, lte=60)]),
    "dates": models.Filter(must=[models.FieldCondition(
        key="when", range=models.DatetimeRange(gte="2026-01-05T00:00:00Z", lt="2026-01-09T00:00:00Z"))]),
    "ids": models.Filter(must=[models.HasIdCondition(has_id=[1, 2, 50, 4711])]),
    "empty": models.Filter(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="note"))]),
    "empty beside a key": models.Filter(must=[models.FieldCondition(key="note", is_empty=False)]),
    "should": models.Filter(should=[value("color", "red"), ranged("number", lt=10)]),
    "must_not": models.Filter(must_not=[value("color", "red"), ranged("number", lt=10)]),
    "all three": models.Filter(must=[value("sold", True)], should=[value("color", "red"), value("color", "blue")],
                               must_not=[ranged("number", gte=90)]),
    "nested filters": models.Filter(must=[models.Filter(should=[value("color", "red"), models.Filter(
        must=[value("color", "blue"), ranged("number", lt=30)])])]),
    "min_should": models.Filter(min_should=models.MinShould(
        conditions=[value("color", "red"), value("sold", True), ranged("number", lt=60)], min_count=2)),
    "min_should and must": models.Filter(must=[ranged("number", gte=12)], min_should=models.MinShould(
        conditions=[value("color", "red"), value("sold", True), ranged("number", lt=60)], min_count=3)),
    "min_should of too many": models.Filter(
        min_should=models.MinShould(conditions=[value("color", "red")], min_count=2)),
    "nothing asked": models.Filter(must=[]),
}


@pytest.mark.parametrize("declared", [False, True], ids=["undeclared", "declared"])
def test_filters(pair, declared):
    pair.make()
    if declared:
        for field, kind in {"color": "keyword", "number": "integer", "price": "float", "sold": "bool",
                            "tags": "keyword", "when": "datetime", "shop.city": "keyword"}.items():
            pair.clients[0].create_payload_index(pair.name, field, kind)
    for name, chosen in FILTERS.items():
        counts = [r.count for r in pair.both("count", count_filter=chosen)]
        assert counts[0] == counts[1], name
        got, wanted = [r.points for r in pair.both("query_points", query_of(), query_filter=chosen, limit=200)]
        assert len(got) == counts[0], name
        same_points(got, wanted)
        got, wanted = [r[0] for r in pair.both("scroll", scroll_filter=chosen, limit=200)]
        same_points(got, wanted, ordered=False)


def test_payload_selectors(pair):
    pair.make()
    for chosen in (True, False, ["color", "shop.city"], models.PayloadSelectorInclude(include=["shop"]),
                   models.PayloadSelectorExclude(exclude=["shop.city", "tags"])):
        same_points(*[r.points for r in pair.both("query_points", query_of(), limit=3, with_payload=chosen)])
        same_points(*pair.both("retrieve", [7, 9], with_payload=chosen))
        same_points(*[r[0] for r in pair.both("scroll", limit=3, with_payload=chosen)])


def test_ids_of_both_kinds_come_back_as_they_went_in(pair):
    ids = [i if i % 2 else str(uuid.UUID(int=i * 7919 + 1)) for i in range(ROWS)]
    pair.make(ids=ids)
    got = {p.id for p in pair.clients[0].scroll(pair.name, limit=500)[0]}
    assert got == set(ids)
    same_points(*pair.both("retrieve", [ids[2], ids[3]]))
    same_points(*[r.points for r in pair.both("query_points", query_of(), limit=20)])
    assert pair.clients[0].retrieve(pair.name, [uuid.UUID(ids[2]).hex])[0].id == ids[2]
    assert pair.clients[0].retrieve(pair.name, ["urn:uuid:" + ids[2]])[0].id == ids[2]
    chosen = models.Filter(must=[models.HasIdCondition(has_id=[ids[2], ids[3]])])
    assert [r.count for r in pair.both("count", count_filter=chosen)] == [2, 2]


def test_scroll_page_by_page(pair):
    pair.make()
    for client in pair.clients:
        seen, offset, pages = [], None, 0
        while True:
            page, offset = client.scroll(pair.name, limit=17, offset=offset, with_payload=False)
            seen += [p.id for p in page]
            pages += 1
            if offset is None:
                break
        assert seen == list(range(ROWS)) and pages == 8


def test_query_by_point_and_recommend(pair):
    pair.make()
    same_points(*[r.points for r in pair.both("query_points", 7, limit=9)])
    for recommend in (models.RecommendInput(positive=[1, 2]), models.RecommendInput(positive=[1, 2], negative=[5]),
                      models.RecommendInput(positive=[3, query_of()], negative=[9, 11])):
        query = models.RecommendQuery(recommend=recommend)
        same_points(*[r.points for r in pair.both("query_points", query, limit=9)])
    red = models.Filter(must=[value("color", "red")])
    same_points(*[r.points for r in pair.both("query_points", 8, query_filter=red, limit=9)])


def test_batches(pair):
    pair.make()
    requests = [models.QueryRequest(query=query_of(i), limit=3 + i, with_payload=True) for i in range(6)]
    requests.append(models.QueryRequest(query=5, limit=2, with_payload=["color"]))
    requests.append(models.QueryRequest(query=query_of(), filter=FILTERS["all three"], limit=4, with_payload=False))
    for got, wanted in zip(*pair.both("query_batch_points", requests)):
        same_points(got.points, wanted.points, payload=False)
    assert pair.clients[0].query_batch_points(pair.name, []) == []


@pytest.mark.parametrize("fusion", [models.FusionQuery(fusion=models.Fusion.RRF),
                                    models.RrfQuery(rrf=models.Rrf(k=20)),
                                    models.RrfQuery(rrf=models.Rrf(weights=[3.0, 1.0])),
                                    models.FusionQuery(fusion=models.Fusion.DBSF)])
def test_fusion(pair, fusion):
    pair.make(named=True)
    prefetch = [models.Prefetch(query=query_of(1), using="image", limit=15),
                models.Prefetch(query=query_of(2, 5), using="title", limit=25, filter=FILTERS["range"])]
    got, wanted = [r.points for r in pair.both("query_points", fusion, prefetch=prefetch, limit=12)]
    assert {p.id: pytest.approx(p.score, rel=1e-4) for p in wanted if p.score > wanted[-1].score + 1e-6}.items() <= \
        {p.id: p.score for p in got}.items()
    assert [pytest.approx(p.score, rel=1e-4) for p in wanted] == [p.score for p in got]


def test_rescoring_what_prefetches_found(pair):
    pair.make(named=True)
    prefetch = [models.Prefetch(query=query_of(1), using="image", limit=15),
                models.Prefetch(query=query_of(2), using="image", limit=15)]
    again = {"query": query_of(3, 5), "using": "title", "limit": 12}
    same_points(*[r.points for r in pair.both("query_points", prefetch=prefetch, **again)])
    same_points(*[r.points for r in pair.both("query_points", prefetch=prefetch[0], query_filter=FILTERS["should"],
                                              **again)])


def test_groups(pair):
    pair.make()
    for key in ("color", "number", "shop.city"):
        got, wanted = pair.both("query_points_groups", group_by=key, query=query_of(), limit=3, group_size=4)
        assert [group.id for group in got.groups] == [group.id for group in wanted.groups]
        for a, b in zip(got.groups, wanted.groups):
            same_points(a.hits, b.hits, payload=False)


def test_facets(pair):
    pair.make()
    pair.clients[0].create_payload_index(pair.name, "color", "keyword")
    for key in ("color", "number", "tags"):
        for chosen in (None, FILTERS["range"]):
            got, wanted = pair.both("facet", key=key, facet_filter=chosen, limit=200)
            assert {str(h.value): h.count for h in got.hits} == {str(h.value): h.count for h in wanted.hits}
            assert [h.count for h in got.hits] == sorted((h.count for h in got.hits), reverse=True)


def all_of(pair):
    same_points(*[r[0] for r in pair.both("scroll", limit=500)], ordered=False)


def test_payload_operations(pair):
    pair.make()
    few, reds = [1, 2, 3], FILTERS["value"]
    pair.both("set_payload", {"new": [1, 2.5, "x"], "color": "white", "shop": {"city": "b"}}, points=few)
    all_of(pair)
    pair.both("set_payload", {"city": "inner", "extra": 1}, points=few, key="shop")
    all_of(pair)
    pair.both("set_payload", {"flag": True}, points=reds)
    all_of(pair)
    pair.both("delete_payload", keys=["price", "note"], points=models.Filter(must=[ranged("number", lt=50)]))
    all_of(pair)
    pair.both("overwrite_payload", {"only": "this"}, points=[10, 11])
    all_of(pair)
    pair.both("clear_payload", points_selector=[12])
    all_of(pair)
    pair.both("clear_payload", points_selector=models.FilterSelector(filter=FILTERS["dates"]))
    all_of(pair)


def test_vector_operations(pair):
    pair.make(models.Distance.DOT, named=True)
    pair.both("update_vectors", [models.PointVectors(id=4, vector={"title": [1.0, 2, 3, 4, 5]})])
    pair.both("delete_vectors", vectors=["image"], points=[5, 6])
    for a, b in zip(*pair.both("retrieve", [4, 5, 6, 7], with_vectors=True)):
        assert a.payload == b.payload and set(a.vector) == set(b.vector)
        for name in a.vector:
            assert np.allclose(a.vector[name], b.vector[name], atol=1e-6)
    got, wanted = [r.points for r in pair.both("query_points", query_of(), using="image", limit=200)]
    assert len(got) == ROWS - 2
    same_points(got, wanted)


def test_delete_points(pair):
    pair.make()
    pair.both("delete", [1, 2, 3, 4711])
    all_of(pair)
    pair.both("delete", FILTERS["value"])
    all_of(pair)
    pair.both("delete", models.FilterSelector(filter=models.Filter(must_not=[value("color", "blue")])))
    all_of(pair)
    pair.both("delete", models.Filter(must=[]))
    assert [r.count for r in pair.both("count")] == [0, 0]


def test_batch_update(pair):
    pair.make()
    new = [models.PointStruct(id=1000, vector=query_of(), payload={"color": "new"})]
    pair.both("batch_update_points", [
        models.UpsertOperation(upsert=models.PointsList(points=new)),
        models.SetPayloadOperation(set_payload=models.SetPayload(payload={"x": 1}, points=[1000, 1])),
        models.DeletePayloadOperation(delete_payload=models.DeletePayload(keys=["color"], points=[1])),
        models.OverwritePayloadOperation(overwrite_payload=models.SetPayload(payload={"y": 1}, points=[2])),
        models.ClearPayloadOperation(clear_payload=models.PointIdsList(points=[3])),
        models.UpdateVectorsOperation(update_vectors=models.UpdateVectors(
            points=[models.PointVectors(id=4, vector=query_of(9))])),
        models.DeleteOperation(delete=models.PointIdsList(points=[5])),
    ])
    all_of(pair)
    same_points(*[r.points for r in pair.both("query_points", query_of(9), limit=5)])


def test_upsert_in_columns_and_modes(pair):
    pair.make()
    pair.both("upsert", models.Batch(ids=[500, 501], vectors=[query_of(1), query_of(2)], payloads=[{"a": 1}, {}]))
    all_of(pair)
    changed = [models.PointStruct(id=i, vector=query_of(i), payload={"mode": 1}) for i in (1, 600)]
    pair.both("upsert", changed, update_mode=models.UpdateMode.INSERT_ONLY)
    all_of(pair)
    changed = [models.PointStruct(id=i, vector=query_of(i), payload={"mode": 2}) for i in (2, 601)]
    pair.both("upsert", changed, update_mode=models.UpdateMode.UPDATE_ONLY)
    all_of(pair)
    changed = [models.PointStruct(id=i, vector=query_of(i), payload={"mode": 3}) for i in (3, 4, 602)]
    pair.both("upsert", changed, update_filter=models.Filter(must=[value("number", 3)]))
    all_of(pair)


def test_upload(pair):
    pair.both("create_collection", vectors_config=models.VectorParams(size=DIM, distance=models.Distance.DOT))
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(300, DIM)).astype(np.float32)
    for client in pair.clients:
        client.upload_collection(pair.name, vectors, payload=[{"i": i} for i in range(300)], ids=range(300), wait=True)
        client.upload_points(pair.name, points(seed=8, ids=list(range(1000, 1000 + ROWS))), wait=True, batch_size=50)
    all_of(pair)
    same_points(*[r.points for r in pair.both("query_points", query_of(), limit=30)])


def test_query_without_a_query_lists_points(pair):
    pair.make()
    got, wanted = [r.points for r in pair.both("query_points", query_filter=FILTERS["value"], limit=5)]
    assert [p.id for p in got] == [p.id for p in wanted]


def test_migrate_from_local_mode(client, local):
    name = f"m-{uuid.uuid4().hex[:8]}"
    local.create_collection(name, vectors_config=models.VectorParams(size=DIM, distance=models.Distance.DOT))
    local.upsert(name, points())
    local.migrate(client, [name])
    same_points(client.scroll(name, limit=500)[0], local.scroll(name, limit=500)[0], ordered=False)
    client.delete_collection(name)
