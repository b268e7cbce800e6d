# SPDX-License-Identifier: Apache-2.0
"""kith.langchain: LangChain's own tests of vector stores, in a folder and at a server, and what they do not ask."""
import asyncio
import doctest
import itertools

import pytest

pytest.importorskip("langchain_core")
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_tests.integration_tests import VectorStoreIntegrationTests

import kith
import kith.langchain
from kith.langchain import KithVectorStore

EMBEDDING = DeterministicFakeEmbedding(size=6)
NUMBERS = itertools.count()


@pytest.fixture(params=["folder", "server"])
def place(request, tmp_path):
    """Where a new collection lies."""
    if request.param == "folder":
        return tmp_path / "shop"
    return f"{request.getfixturevalue('kith_url')}/langchain-{next(NUMBERS)}"


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:.*is marked with '@pytest.mark.asyncio'")
class TestStandard(VectorStoreIntegrationTests):
    """The tests that every vector store of LangChain must pass, some of which are coroutines."""

    @pytest.fixture
    def vectorstore(self, place):
        store = KithVectorStore.from_texts([], self.get_embeddings(), collection=place)
        yield store
        store.collection.close()


@pytest.fixture
def store(place):
    documents = [Document(id=f"d{i}", page_content=f"text {i}", metadata={"color": ["red", "blue"][i % 2], "price": i,
                                                                          "shop": {"city": "Bern"}}) for i in range(20)]
    made = KithVectorStore.from_documents(documents, EMBEDDING, collection=place, fields={"color": "tag"})
    yield made
    made.collection.close()


def found(documents):
    return [document.id for document in documents]


@pytest.mark.parametrize("wanted, ids", [
    ("color = 'red' and price < 6", {0, 2, 4}), ({"color": "red", "price": {"$lt": 6}}, {0, 2, 4}),
    ({"must": [{"key": "color", "match": {"value": "red"}}, {"key": "price", "range": {"lt": 6}}]}, {0, 2, 4}),
    ({"$or": [{"price": 3}, {"price": {"$gte": 18}}]}, {3, 18, 19}), ({"price": {"$in": [1, 2, 99]}}, {1, 2}),
    ({"price": {"$gte": 4, "$lte": 5}}, {4, 5}), ({"price": {"$between": [4, 5]}}, {4, 5}),
    ({"color": {"$ne": "red"}, "price": {"$gt": 16}}, {17, 19}), ({"$not": {"price": {"$gt": 1}}}, {0, 1}),
    ({"price": {"$nin": list(range(19))}}, {19}), ({"nothing": None, "price": 3}, {3}),
    ({"nothing": {"$exists": True}}, set()), ({"shop.city": "Bern", "price": [7]}, {7}),
    ({"color": {"$prefix": "bl"}, "$and": [{"price": {"$lt": 2}}]}, {1})])
def test_filters(store, wanted, ids):
    assert {int(id[1:]) for id in found(store.similarity_search("text 1", k=20, filter=wanted))} == ids
    store.delete(filter=wanted)
    assert len(store.collection) == 20 - len(ids)


def test_filters_that_are_none(store):
    for wrong, error in (({"price": {"$like": "x"}}, kith.UnsupportedError), ({"$xor": []}, kith.UnsupportedError),
                         ({"price": {}}, kith.ArgumentError), ("price <", kith.ArgumentError), (5, TypeError),
                         ({"$or": []}, kith.ArgumentError)):
        with pytest.raises(error):
            store.similarity_search("text 1", filter=wrong)


def test_documents_come_back_as_they_went(store):
    (document,) = store.get_by_ids(["d3", "none"])
    assert document.page_content == "text 3"
    assert document.metadata == {"color": "blue", "price": 3, "shop": {"city": "Bern"}}
    (document, distance), *_ = store.similarity_search_with_score("text 3", k=2)
    assert document.id == "d3" and distance == pytest.approx(0, abs=1e-6)
    (_, score), *rest = store.similarity_search_with_relevance_scores("text 3", k=20)
    assert score == pytest.approx(1, abs=1e-6) and all(0 <= worse <= score for _, worse in rest)
    vector = EMBEDDING.embed_query("text 3")
    assert found(store.similarity_search_by_vector(vector, k=3)) == found(store.similarity_search("text 3", k=3))
    assert store.as_retriever(search_kwargs={"k": 1, "filter": {"price": 5}}).invoke("text 3")[0].id == "d5"


def test_results_that_differ(store):
    near = found(store.similarity_search("text 3", k=5))
    assert found(store.max_marginal_relevance_search("text 3", k=5, lambda_mult=1)) == near
    other = found(store.max_marginal_relevance_search("text 3", k=5, lambda_mult=0.1))
    assert other[0] == "d3" and len(set(other)) == 5 and other != near
    assert found(asyncio.run(store.amax_marginal_relevance_search("text 3", k=5, lambda_mult=0.1))) == other
    with pytest.raises(kith.ArgumentError, match="lambda_mult is 2"):
        store.max_marginal_relevance_search("text 3", lambda_mult=2)


def test_tenants_see_their_own(place):
    store = KithVectorStore.from_texts(["a"], EMBEDDING, [{"n": 1}], ids=["x"], collection=place, tenant="one",
                                       fields={"user": "tag"}, segment_field="user")
    store.add_texts(["a"], [{"n": 2}], ids=["y"], tenant="two")
    assert found(store.similarity_search("a")) == ["x"] and found(store.similarity_search("a", tenant="two")) == ["y"]
    other = KithVectorStore(store.collection, EMBEDDING, tenant="two")
    for wanted in ("n > 0 or n < 0", {"n": {"$gt": 0}}, None):
        other.add_texts(["a"], [{"n": 2}], ids=["y"])
        other.delete(filter=wanted)
        assert [item.id for item in store.collection.scroll()] == ["x"]
    store.collection.close()


def test_what_somebody_likes(store):
    store.event("ann", like=["d7"])
    assert "d7" not in found(store.similarity_search("text 3", k=19, user="ann"))
    vector = EMBEDDING.embed_query("text 7")
    near = found(store.similarity_search_by_vector(vector, k=3))
    assert found(store.similarity_search("text 3", k=2, user="ann", blend=1e-9)) == near[1:]


def test_mistakes(store):
    with pytest.raises(kith.ArgumentError, match="2 ids"):
        store.add_texts(["a"], ids=["x", "y"])
    with pytest.raises(kith.ArgumentError, match="'page_content'"):
        store.add_texts(["a"], [{"page_content": 1}])
    with pytest.raises(TypeError, match="'batch'"):
        store.add_texts(["a"], batch=3)
    with pytest.raises(kith.ArgumentError, match="no segment field"):
        store.similarity_search("a", tenant="one")
    with pytest.raises(kith.ArgumentError, match="without embedding"):
        KithVectorStore(store.collection).similarity_search("a")
    with pytest.raises(kith.ArgumentError, match='ids="string"'):
        KithVectorStore(kith.Collection.create(None, dim=2))


def test_what_the_module_shows():
    found = doctest.testmod(kith.langchain, extraglobs={"kith": kith})
    assert found.attempted > 3 and not found.failed
