# SPDX-License-Identifier: Apache-2.0
"""Haystack's Qdrant document store, of dense embeddings."""
import asyncio
import uuid

import pytest
from haystack import Document
from haystack.dataclasses import SparseEmbedding
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack_integrations.components.retrievers.qdrant import QdrantEmbeddingRetriever
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

DIM = 8


def documents():
    made = []
    for i in range(10):
        vector = [0.1] * DIM
        vector[i % DIM] += 1 + i / 10
        made.append(Document(id=f"document {i}", content=f"text {i}", embedding=vector,
                             meta={"number": i, "kind": "even" if i % 2 == 0 else "odd", "name": f"n{i}"}))
    return made


def make(server, **options):
    return QdrantDocumentStore(url=server.url, index=f"hs-{uuid.uuid4().hex[:8]}", embedding_dim=DIM,
                               return_embedding=True, wait_result_from_api=True, **options)


@pytest.fixture
def store(server):
    made = make(server)
    made.write_documents(documents())
    yield made
    made._client.delete_collection(made.index)


def numbers(found):
    return {document.meta["number"] for document in found}


def test_writing(store):
    assert store.count_documents() == 10
    first = store.filter_documents({"field": "meta.number", "operator": "==", "value": 0})[0]
    assert first == documents()[0] and first.embedding == pytest.approx(documents()[0].embedding)
    with pytest.raises(DuplicateDocumentError):
        store.write_documents(documents()[:1], DuplicatePolicy.FAIL)
    assert store.write_documents(documents()[:2], DuplicatePolicy.OVERWRITE) == 2
    store.write_documents(documents()[:2], DuplicatePolicy.SKIP)
    assert store.count_documents() == 10
    store.delete_documents(["document 3", "document 4", "nobody"])
    assert numbers(store.filter_documents()) == {0, 1, 2, 5, 6, 7, 8, 9}


@pytest.mark.parametrize("chosen, wanted", [
    ({"field": "meta.kind", "operator": "==", "value": "odd"}, {1, 3, 5, 7, 9}),
    ({"field": "meta.kind", "operator": "!=", "value": "odd"}, {0, 2, 4, 6, 8}),
    ({"field": "meta.number", "operator": ">", "value": 7}, {8, 9}),
    ({"field": "meta.number", "operator": "<=", "value": 1}, {0, 1}),
    ({"field": "meta.name", "operator": "in", "value": ["n1", "n4"]}, {1, 4}),
    ({"field": "meta.name", "operator": "not in", "value": ["n1", "n4"]}, {0, 2, 3, 5, 6, 7, 8, 9}),
    ({"operator": "AND", "conditions": [{"field": "meta.kind", "operator": "==", "value": "odd"},
                                        {"field": "meta.number", "operator": ">=", "value": 5}]}, {5, 7, 9}),
    ({"operator": "OR", "conditions": [{"field": "meta.number", "operator": "==", "value": 0},
                                       {"field": "meta.number", "operator": "==", "value": 9}]}, {0, 9}),
    ({"operator": "NOT", "conditions": [{"field": "meta.kind", "operator": "==", "value": "odd"}]}, {0, 2, 4, 6, 8}),
])
def test_filters(store, chosen, wanted):
    assert numbers(store.filter_documents(chosen)) == wanted
    retriever = QdrantEmbeddingRetriever(store, top_k=20)
    assert numbers(retriever.run(query_embedding=[0.5] * DIM, filters=chosen)["documents"]) == wanted


def test_retrieving(store):
    retriever = QdrantEmbeddingRetriever(store, top_k=3, scale_score=False)
    found = retriever.run(query_embedding=documents()[4].embedding)["documents"]
    assert found[0].content == "text 4" and found[0].score == pytest.approx(1, abs=1e-5) and len(found) == 3
    grouped = QdrantEmbeddingRetriever(store, top_k=2, group_by="meta.kind", group_size=2)
    found = grouped.run(query_embedding=documents()[4].embedding)["documents"]
    assert len(found) == 4 and {d.meta["kind"] for d in found} == {"even", "odd"}


def test_changing_by_filter(store):
    odd = {"field": "meta.kind", "operator": "==", "value": "odd"}
    assert store.update_by_filter(odd, {"seen": True}) == 5
    assert numbers(store.filter_documents({"field": "meta.seen", "operator": "==", "value": True})) == {1, 3, 5, 7, 9}
    assert store.delete_by_filter(odd) == 5
    assert store.count_documents() == 5
    assert store.count_documents_by_filter({"field": "meta.number", "operator": "<", "value": 3}) == 2


def test_indexes_and_a_second_look(server):
    indexed = [{"field_name": "meta.kind", "field_schema": "keyword"}]
    store = make(server, payload_fields_to_index=indexed, similarity="dot_product")
    store.write_documents(documents())
    again = QdrantDocumentStore(url=server.url, index=store.index, embedding_dim=DIM, similarity="dot_product")
    assert again.count_documents() == 10
    wrong = QdrantDocumentStore(url=server.url, index=store.index, embedding_dim=DIM, similarity="l2")
    with pytest.raises(ValueError, match="similarity"):
        wrong.count_documents()
    assert numbers(again.filter_documents({"field": "meta.kind", "operator": "==", "value": "odd"})) == {1, 3, 5, 7, 9}
    again.recreate_index, wrong.recreate_index = True, True
    store._client.delete_collection(store.index)


def test_async(server):
    async def run():
        store = make(server)
        await store.write_documents_async(documents())
        assert await store.count_documents_async() == 10
        retriever = QdrantEmbeddingRetriever(store, top_k=1)
        found = await asyncio.gather(*[retriever.run_async(query_embedding=d.embedding) for d in documents()])
        assert [each["documents"][0].content for each in found] == [f"text {i}" for i in range(10)]
        await store.delete_documents_async(["document 1"])
        assert await store.count_documents_async() == 9

    asyncio.run(run())


def test_sparse_embeddings_say_that_they_are_not_offered(server):
    store = make(server, use_sparse_embeddings=True)
    with pytest.raises(Exception, match="sparse"):
        store.write_documents([Document(id="s", content="x", embedding=[1.0] * DIM, sparse_embedding=SparseEmbedding(
            indices=[1], values=[1.0]))])
