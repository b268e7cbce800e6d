# SPDX-License-Identifier: Apache-2.0
"""LangChain's Qdrant store."""
import asyncio
import hashlib
import uuid

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore, RetrievalMode
from qdrant_client import models

TEXTS = ["a red shirt", "a blue shirt", "a red shoe", "a green hat", "a black coat"]


class Words(Embeddings):
    """A text's vector is the sum of its words', which are made of their hashes."""

    def embed_query(self, text):
        vector = [0.01] * 16
        for word in text.split():
            for i, byte in enumerate(hashlib.sha256(word.encode()).digest()[:16]):
                vector[i] += byte / 255 - 0.5
        return vector

    def embed_documents(self, texts):
        return [self.embed_query(text) for text in texts]


@pytest.fixture(params=["", "dense"])
def store(server, request):
    name = f"lc-{uuid.uuid4().hex[:8]}"
    made = QdrantVectorStore.from_texts(
        TEXTS, Words(), metadatas=[{"number": i, "kind": text.split()[-1]} for i, text in enumerate(TEXTS)],
        url=server.url, collection_name=name, vector_name=request.param, retrieval_mode=RetrievalMode.DENSE)
    yield made
    made.client.delete_collection(name)


def test_searches(store):
    assert store.similarity_search("a red shoe", k=1)[0].page_content == "a red shoe"
    found = store.similarity_search_with_score("a red shirt", k=3)
    assert found[0][0].page_content == "a red shirt" and found[0][1] == pytest.approx(1, abs=1e-5)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    assert found[0][0].metadata["number"] == 0
    assert len(store.similarity_search("a red shirt", k=5, score_threshold=0.999)) == 1
    assert store.similarity_search_by_vector(Words().embed_query("a green hat"), k=1)[0].page_content == "a green hat"
    relevant = store.similarity_search_with_relevance_scores("a green hat", k=2)
    assert relevant[0][1] >= relevant[1][1]


def test_filters(store):
    shirts = models.Filter(must=[models.FieldCondition(key="metadata.kind", match=models.MatchValue(value="shirt"))])
    found = store.similarity_search("a red shoe", k=5, filter=shirts)
    assert sorted(d.page_content for d in found) == ["a blue shirt", "a red shirt"]
    few = models.Filter(must=[models.FieldCondition(key="metadata.number", range=models.Range(gte=3))])
    assert len(store.similarity_search("a", k=5, filter=few)) == 2


def test_marginal_relevance(store):
    found = store.max_marginal_relevance_search("a red shirt", k=3, fetch_k=5, lambda_mult=0.3)
    assert len(found) == 3 and found[0].page_content == "a red shirt"
    assert len({d.page_content for d in found}) == 3


def test_adding_reading_and_deleting(store):
    ids = store.add_documents([Document(page_content="a white sock", metadata={"number": 9})])
    assert store.get_by_ids(ids)[0].page_content == "a white sock"
    assert store.similarity_search("a white sock", k=1)[0].metadata["number"] == 9
    assert store.delete(ids)
    assert store.get_by_ids(ids) == []
    numbers = store.add_texts(["one", "two"], ids=[1, 2])
    assert numbers == [1, 2] and {d.page_content for d in store.get_by_ids([1, 2])} == {"one", "two"}


def test_an_existing_collection(store, server):
    again = QdrantVectorStore.from_existing_collection(store.collection_name, Words(), url=server.url,
                                                       vector_name=store.vector_name)
    assert again.similarity_search("a black coat", k=1)[0].page_content == "a black coat"
    retriever = again.as_retriever(search_kwargs={"k": 2})
    assert retriever.invoke("a black coat")[0].page_content == "a black coat"


def test_async(store):
    async def run():
        found = await asyncio.gather(*[store.asimilarity_search(text, k=1) for text in TEXTS])
        assert [each[0].page_content for each in found] == TEXTS

    asyncio.run(run())


def test_another_dimension_is_noticed(store, server):
    class Longer(Words):
        def embed_query(self, text):
            return super().embed_query(text) + [0.0]

    with pytest.raises(Exception, match="dimension"):
        QdrantVectorStore.from_existing_collection(store.collection_name, Longer(), url=server.url,
                                                   vector_name=store.vector_name)
