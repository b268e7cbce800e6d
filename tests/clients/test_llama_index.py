# SPDX-License-Identifier: Apache-2.0
"""LlamaIndex's Qdrant store, of dense vectors."""
import asyncio
import uuid

import pytest
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (FilterCondition, FilterOperator, MetadataFilter, MetadataFilters,
                                                  VectorStoreQuery)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient


def nodes():
    made = []
    for i in range(12):
        vector = [0.1] * 6
        vector[i % 6] += 1 + i / 10
        made.append(TextNode(id_=str(uuid.UUID(int=i + 1)), text=f"text {i}", embedding=vector,
                             metadata={"number": i, "kind": "even" if i % 2 == 0 else "odd"},
                             relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc-{i // 4}")}))
    return made


@pytest.fixture
def store(server):
    name = f"li-{uuid.uuid4().hex[:8]}"
    client = QdrantClient(url=server.url)
    made = QdrantVectorStore(name, client=client, aclient=AsyncQdrantClient(url=server.url))
    made.add(nodes())
    yield made
    client.delete_collection(name)


def query(store, number, **options):
    return store.query(VectorStoreQuery(query_embedding=nodes()[number].embedding, similarity_top_k=3, **options))


def filters(*conditions, condition=FilterCondition.AND):
    return MetadataFilters(filters=[MetadataFilter(key=key, operator=operator, value=value)
                                    for key, operator, value in conditions], condition=condition)


def test_queries(store):
    found = query(store, 3)
    assert found.nodes[0].text in ("text 3", "text 9") and len(found.nodes) == 3
    assert found.similarities == sorted(found.similarities, reverse=True)
    assert found.nodes[0].metadata["kind"] == "odd"
    assert found.ids[0] == found.nodes[0].node_id


@pytest.mark.parametrize("chosen, numbers", [
    (filters(("kind", FilterOperator.EQ, "even")), {0, 2, 4, 6, 8, 10}),
    (filters(("kind", FilterOperator.NE, "even")), {1, 3, 5, 7, 9, 11}),
    (filters(("number", FilterOperator.GTE, 8), ("kind", FilterOperator.EQ, "odd")), {9, 11}),
    (filters(("number", FilterOperator.LT, 2), ("number", FilterOperator.EQ, 7), condition=FilterCondition.OR),
     {0, 1, 7}),
    (filters(("number", FilterOperator.IN, [1, 5])), {1, 5}),
    (filters(("kind", FilterOperator.NIN, ["odd"])), {0, 2, 4, 6, 8, 10}),
    (filters(("nothing", FilterOperator.IS_EMPTY, None)), set(range(12))),
])
def test_filters(store, chosen, numbers):
    assert {node.metadata["number"] for node in store.get_nodes(filters=chosen)} == numbers
    found = store.query(VectorStoreQuery(query_embedding=[0.5] * 6, similarity_top_k=12, filters=chosen))
    assert {node.metadata["number"] for node in found.nodes} == numbers


def test_reading_and_deleting(store):
    ids = [node.node_id for node in nodes()[:3]]
    assert {node.text for node in store.get_nodes(node_ids=ids)} == {"text 0", "text 1", "text 2"}
    store.delete_nodes(node_ids=ids[:1])
    assert len(store.get_nodes(node_ids=ids)) == 2
    store.delete("doc-1")  # all nodes of a document
    left = {node.metadata["number"] for node in query(store, 5).nodes}
    assert not left & {4, 5, 6, 7}
    store.delete_nodes(filters=filters(("kind", FilterOperator.EQ, "even")))
    found = store.query(VectorStoreQuery(query_embedding=[0.5] * 6, similarity_top_k=12))
    assert {node.metadata["number"] for node in found.nodes} == {1, 3, 9, 11}
    store.clear()
    assert not store._collection_exists(store.collection_name)


def test_a_collection_that_is_there_is_used(store, server):
    again = QdrantVectorStore(store.collection_name, client=QdrantClient(url=server.url))
    again.add(nodes()[:1])
    assert len(again.query(VectorStoreQuery(query_embedding=[0.5] * 6, similarity_top_k=50)).nodes) == 12
    again._create_collection(store.collection_name, 6)  # "already exists" is fine


def test_async(store):
    async def run():
        extra = nodes()[0]
        extra.id_ = str(uuid.UUID(int=77))
        await store.async_add([extra])
        found = await asyncio.gather(*[store.aquery(VectorStoreQuery(query_embedding=nodes()[i].embedding,
                                                                     similarity_top_k=2)) for i in range(6)])
        assert all(len(each.nodes) == 2 for each in found)
        await store.adelete("doc-2")

    asyncio.run(run())
    found = store.query(VectorStoreQuery(query_embedding=[0.5] * 6, similarity_top_k=50))
    assert len(found.nodes) == 9


def test_text_match_says_that_it_is_not_offered(store):
    with pytest.raises(Exception, match="text.*not offered"):
        store.get_nodes(filters=filters(("kind", FilterOperator.TEXT_MATCH, "even")))
