# SPDX-License-Identifier: Apache-2.0
"""mem0's Qdrant store. What remembers, and how texts become vectors, is not asked: these need models."""
import uuid

import pytest
from mem0.vector_stores.qdrant import Qdrant
from qdrant_client import QdrantClient

DIM = 8


def vector(number):
    made = [0.1] * DIM
    made[number % DIM] += 1 + number / 20
    return made


@pytest.fixture
def store(server):
    made = Qdrant(collection_name=f"m0-{uuid.uuid4().hex[:8]}", embedding_model_dims=DIM, url=server.url)
    ids = [str(uuid.UUID(int=i + 1)) for i in range(10)]
    made.insert([vector(i) for i in range(10)], ids=ids, payloads=[
        {"data": f"memory {i}", "user_id": f"user-{i % 2}", "number": i, "created_at": f"2026-01-{i + 1:02d}T00:00:00Z"}
        for i in range(10)])
    yield made
    made.delete_col()


def test_searching(store):
    found = store.search("", vector(3), top_k=2)
    assert found[0].payload["data"] == "memory 3" and len(found) == 2
    found = store.search("", vector(3), top_k=9, filters={"user_id": "user-0"})
    assert {hit.payload["number"] for hit in found} == {0, 2, 4, 6, 8}
    found = store.search_batch(["", ""], [vector(1), vector(2)], top_k=1)
    assert [each[0].payload["number"] for each in found] == [1, 2]


@pytest.mark.parametrize("filters, numbers", [
    ({"user_id": "user-1"}, {1, 3, 5, 7, 9}),
    ({"number": {"gte": 7}}, {7, 8, 9}),
    ({"number": {"gt": 2, "lt": 5}}, {3, 4}),
    ({"data": {"in": ["memory 1", "memory 2"]}}, {1, 2}),
    ({"user_id": {"ne": "user-1"}}, {0, 2, 4, 6, 8}),
    ({"created_at": {"gte": "2026-01-09T00:00:00Z"}}, {8, 9}),
    ({"$or": [{"number": 1}, {"number": 2}]}, {1, 2}),
])
def test_filters(store, filters, numbers):
    points, _ = store.list(filters=filters)
    assert {point.payload["number"] for point in points} == numbers


def test_reading_changing_and_deleting(store):
    first = str(uuid.UUID(int=1))
    assert store.get(first).payload["data"] == "memory 0"
    store.update(first, payload={"data": "changed"})
    assert store.get(first).payload["data"] == "changed" and store.get(first).payload["user_id"] == "user-0"
    store.update(first, vector=vector(7))
    store.update(str(uuid.UUID(int=2)), vector=vector(5), payload={"data": "new", "number": 99})
    assert store.get(str(uuid.UUID(int=2))).payload == {"data": "new", "number": 99}
    store.delete(first)
    assert store.get(first) is None
    assert len(store.list(top_k=100)[0]) == 9
    assert store.col_info().points_count == 9


def test_a_collection_that_is_there_is_used_without_sparse_vectors(store, server):
    again = Qdrant(collection_name=store.collection_name, embedding_model_dims=DIM, client=QdrantClient(url=server.url))
    assert not again._has_bm25_slot
    assert again.search("", vector(3), top_k=1)[0].payload["data"] == "memory 3"
    again.reset()
    assert again.col_info().points_count == 0
